/* SPDX-License-Identifier: ISC */
/* A full volume under ThreadSanitizer: committers fill it and delete again while another thread
 * maintains it, so that merges, moves and checkpoints for want of space meet those of the
 * background. Deletes and references always work; nobody waits for ever. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bole/devices.h"
#include "bole/store.h"
#include "support/platform.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

enum {
	WRITERS = 3,
	DEVICE_BYTES = (4 << 20) + (128 << 10),
	FILLS = 3, /* of each writer */
	GROUP = 24,
	LEN_MIN = 200,
	LEN_SPAN = 1200,
	NUMBER_LAST = 1 << 20,
	SECONDS_MAX = 120,
};

static struct test_platform test;
static struct bole_store *store;
static struct bole_repo repo[WRITERS];
static _Atomic unsigned left;
static _Atomic unsigned refused;

static struct bole_oid oid_of(uint64_t writer, uint64_t n)
{
	struct bole_oid oid = {.algo = BOLE_HASH_SHA1};
	uint64_t state = writer << 32 | n;

	test_random_bytes(&state, oid.bytes, 20);
	return oid;
}

static enum bole_status put(struct bole_tx *tx, uint64_t writer, uint64_t n)
{
	uint8_t bytes[LEN_MIN + LEN_SPAN];
	uint64_t state = writer << 33 | n;
	struct bole_bytes piece = {bytes, LEN_MIN + test_random(&state) % LEN_SPAN};
	struct bole_oid oid = oid_of(writer, n);

	test_random_bytes(&state, bytes, piece.len);
	return bole_tx_put(tx, &oid, BOLE_OBJECT_BLOB, &piece, 1);
}

/* Puts [from, from + puts) or drops [from, from + drops). */
static enum bole_status change(uint64_t writer, uint64_t from, unsigned puts, unsigned drops)
{
	struct bole_oid oid = oid_of(writer, from);
	struct bole_ref_update update = suite_set("refs/heads/a", &oid);
	struct bole_tx *tx;
	size_t failed;

	enum bole_status rc = bole_tx_begin(store, repo[writer].id, &tx);
	if (rc != BOLE_OK)
		return rc;
	for (unsigned i = 0; i < puts && rc == BOLE_OK; i++)
		rc = put(tx, writer, from + i);
	for (unsigned i = 0; i < drops && rc == BOLE_OK; i++) {
		oid = oid_of(writer, from + i);
		rc = bole_tx_drop(tx, &oid);
	}
	if (rc == BOLE_OK)
		return bole_tx_commit(tx, &update, 1, &failed);
	bole_tx_abort(tx);
	return rc;
}

/* Others may want the space that a view pins: then once more. */
static void must(uint64_t writer, uint64_t from, unsigned drops, const char *what)
{
	enum bole_status rc = BOLE_E_GONE;

	while (rc == BOLE_E_GONE)
		rc = change(writer, from, 0, drops);
	if (rc != BOLE_OK)
		(void)fprintf(stderr, "%s: %s\n", what, bole_status_text(rc));
	check_eq(rc, BOLE_OK);
}

static void write_some(void *arg)
{
	uint64_t writer = (uint64_t)(uintptr_t)arg;
	uint64_t first = 0; /* objects that are there */
	uint64_t next = 0;

	for (unsigned fills = 0; fills < FILLS;) {
		enum bole_status rc = change(writer, next, GROUP, 0);
		if (rc == BOLE_OK) {
			next += GROUP;
			continue;
		}
		/* A view may have been in the way. */
		if (rc != BOLE_E_GONE)
			check_eq(rc, BOLE_E_NO_SPACE);
		atomic_fetch_add(&refused, 1);
		fills++;
		must(writer, next, 0, "a reference");
		for (uint64_t end = first + (next - first) / 3; first + GROUP <= end;
		     first += GROUP)
			must(writer, first, GROUP, "a delete");
	}
	atomic_fetch_sub(&left, 1);
}

static void maintain(void *arg)
{
	const struct bole_maintain_options options = {.eagerness = 1};

	(void)arg;
	while (atomic_load(&left) != 0)
		if (bole_store_maintain(store, &options, NULL) != BOLE_OK)
			test.base.ops->sleep_until(&test.base,
			                           test.base.ops->now_ns(&test.base) + 1000000);
}

static void say(void *ctx, bool error, const char *text)
{
	(void)ctx;
	(void)fprintf(stderr, "%s%s\n", error ? "error: " : "", text);
}

int main(void)
{
	const struct bole_flash_check_report report = {.finding = say};
	struct bole_flash_check_result result;
	struct bole_block *device;

	(void)alarm(SECONDS_MAX);
	test_platform_init(&test, 1);
	test.quiet = true;
	OK(bole_block_ram_open(&test.alloc, DEVICE_BYTES, 4096, &device));
	OK(bole_flash_format(device, &test.base, NULL));
	OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
	atomic_store(&left, WRITERS);
	for (uintptr_t i = 0; i < WRITERS; i++) {
		char name[16];
		(void)snprintf(name, sizeof name, "r%u", (unsigned)i);
		OK(bole_repo_create(store, name, BOLE_HASH_SHA1, "refs/heads/a", &repo[i]));
	}
	for (uintptr_t i = 0; i < WRITERS; i++)
		OK(test.base.ops->fiber_start(&test.base, "writer", write_some, (void *)i, 0));
	OK(test.base.ops->fiber_start(&test.base, "maintainer", maintain, NULL, 0));
	for (size_t i = 0; i < test.fiber_count; i++)
		(void)pthread_join(test.fibers[i], NULL);
	test.fiber_count = 0;
	printf("%u times refused\n", atomic_load(&refused));
	/* References that name something. */
	for (uint64_t i = 0; i < WRITERS; i++)
		OK(change(i, NUMBER_LAST, 1, 0));
	OK(bole_store_close(store));
	OK(bole_flash_check(device, &test.base, &test.alloc, &report, &result));
	check_eq(result.errors, 0);
	bole_block_close(device);
	test_platform_release(&test);
	return 0;
}
