/* SPDX-License-Identifier: ISC */
/* The flash store under ThreadSanitizer: readers on snapshots while several committers share
 * flushes, repositories come and go, and checkpoints are written. What a snapshot shows is whole:
 * each reference names an object that is found and reads as it was stored. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bole/devices.h"
#include "bole/store.h"
#include "support/platform.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

enum {
	WRITERS = 3,
	READERS = 4,
	COMMITS = 150,
	DEVICE_BYTES = 8 << 20,
	DEPTH = 10,
};

static struct test_platform test;
static struct bole_store *store;
static uint32_t shared_repo;
static _Atomic unsigned writers_left;
static _Atomic unsigned snapshots;

static void commit(uint64_t writer, uint64_t n)
{
	struct suite_blob blob;
	struct bole_tx *tx;
	char name[40];
	size_t failed;

	(void)snprintf(name, sizeof name, "refs/heads/w%u", (unsigned)writer);
	OK(bole_tx_begin(store, shared_repo, &tx));
	for (uint64_t i = 0; i < 5; i++) {
		suite_blob_make(&blob, BOLE_HASH_SHA1, n * 5 + i);
		suite_put_blob(tx, &blob);
	}
	if (n % DEPTH == 0) {
		struct suite_pack pack;
		suite_pack_make(&pack, BOLE_HASH_SHA1, writer * 1000 + n, 40);
		(void)suite_pack_append(tx, &pack);
		suite_pack_free(&pack);
	}
	if (n % 7 == 3) {
		bole_tx_abort(tx);
		return;
	}
	struct bole_ref_update u = suite_set(name, &blob.oid);
	OK(bole_tx_commit(tx, &u, 1, &failed));
}

static void come_and_go(uint64_t writer, uint64_t n)
{
	struct bole_repo repo;
	struct suite_blob blob;
	struct store_suite suite = {.store = store, .platform = &test.base};
	char name[40];

	(void)snprintf(name, sizeof name, "temporary/%u", (unsigned)writer);
	OK(bole_repo_create(store, name, BOLE_HASH_SHA256, "refs/heads/main", &repo));
	suite_blob_make(&blob, BOLE_HASH_SHA256, n);
	suite_publish(&suite, repo.id, &blob, "refs/heads/main");
	OK(bole_repo_remove(store, repo.id));
}

static void write_some(void *arg)
{
	uint64_t writer = (uint64_t)(uintptr_t)arg;

	for (uint64_t n = 0; n < COMMITS; n++) {
		commit(writer, n);
		if (n % 25 == 24)
			come_and_go(writer, n);
	}
	atomic_fetch_sub(&writers_left, 1);
}

static void read_snapshot(struct bole_snapshot *s)
{
	struct bole_bytes none = {NULL, 0};
	struct bole_bytes after = none;
	struct bole_ref ref;

	while (bole_ref_next(s, none, after, &ref) == BOLE_OK) {
		struct bole_entry entry;
		struct bole_bytes bytes;
		after = ref.name;
		if (ref.symbolic)
			continue;
		OK(bole_odb_find(s, &ref.oid, &entry));
		OK(bole_odb_view(s, &entry, 0, &bytes));
	}
	atomic_fetch_add(&snapshots, 1);
}

static void read_some(void *arg)
{
	(void)arg;
	while (atomic_load(&writers_left) != 0) {
		struct bole_repo repo = {.id = 0};
		struct bole_store_stats stats;
		while (bole_repo_next(store, repo.name, &repo) == BOLE_OK) {
			struct bole_snapshot *s;
			if (bole_snapshot_open(store, repo.id, &s) != BOLE_OK)
				continue; /* removed meanwhile */
			read_snapshot(s);
			bole_snapshot_close(s);
		}
		OK(bole_store_stats(store, &stats));
	}
}

int main(void)
{
	struct bole_flash_check_result result;
	struct bole_block *device;
	struct bole_repo repo;

	test_platform_init(&test, 1);
	OK(bole_block_ram_open(&test.alloc, DEVICE_BYTES, 4096, &device));
	OK(bole_flash_format(device, &test.base, NULL));
	OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
	OK(bole_repo_create(store, "shared", BOLE_HASH_SHA1, "refs/heads/w0", &repo));
	shared_repo = repo.id;
	atomic_store(&writers_left, WRITERS);
	for (uintptr_t i = 0; i < WRITERS; i++)
		OK(test.base.ops->fiber_start(&test.base, "writer", write_some, (void *)i, 0));
	for (int i = 0; i < READERS; i++)
		OK(test.base.ops->fiber_start(&test.base, "reader", read_some, NULL, 0));
	while (atomic_load(&writers_left) != 0)
		test.base.ops->sleep_until(&test.base,
		                           test.base.ops->now_ns(&test.base) + 10000000);
	for (size_t i = 0; i < test.fiber_count; i++)
		(void)pthread_join(test.fibers[i], NULL);
	test.fiber_count = 0;
	struct bole_store_stats stats;
	OK(bole_store_stats(store, &stats));
	printf("%u snapshots, %llu commits, %llu flushes\n", atomic_load(&snapshots),
	       (unsigned long long)stats.commits, (unsigned long long)stats.flushes);
	OK(bole_store_close(store));
	OK(bole_flash_check(device, &test.base, &test.alloc, NULL, &result));
	check_eq(result.errors, 0);
	bole_block_close(device);
	test_platform_release(&test);
	return 0;
}
