/* SPDX-License-Identifier: ISC */
/* Images whose host runs out of room. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "bole/devices.h"
#include "bole/store.h"
#include "support/platform.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

enum { FOREVER = 1000000, PUSHES = 60, CHUNK = 4000 };

static struct test_platform test;
static struct bole_store *store;
static struct bole_repo repo;

/* A device that refuses what is written while the host is full. */
struct host_block {
	struct bole_block block;
	struct bole_block *ram;
	unsigned refused;   /* programs yet to be refused */
	unsigned countdown; /* programs until then */
};

static struct host_block host;

static enum bole_status host_read(struct bole_block *b, uint64_t off, void *dst, size_t len)
{
	(void)b;
	return bole_block_read(host.ram, off, dst, len);
}

static enum bole_status host_programv(struct bole_block *b, uint64_t off,
                                      const struct bole_bytes *pieces, size_t count)
{
	(void)b;
	if (host.countdown > 0) {
		host.countdown--;
	} else if (host.refused > 0) {
		host.refused--;
		return BOLE_E_NO_SPACE;
	}
	return bole_block_programv(host.ram, off, pieces, count);
}

static enum bole_status host_flush(struct bole_block *b)
{
	(void)b;
	return BOLE_OK;
}

static const struct bole_block_ops host_ops = {
        .read = host_read, .programv = host_programv, .flush = host_flush};

static void setup(void)
{
	test_platform_init(&test, 1);
	test.quiet = true;
	test.manual_clock = true;
	host = (struct host_block){.block.ops = &host_ops};
	OK(bole_block_ram_open(&test.alloc, 8 << 20, 4096, &host.ram));
	host.block.info = host.ram->info;
	host.block.info.can_discard = false;
	OK(bole_flash_format(&host.block, &test.base, NULL));
	OK(bole_flash_open(&host.block, &test.base, &test.alloc, NULL, &store));
	OK(bole_repo_create(store, "r", BOLE_HASH_SHA1, "refs/heads/a", &repo));
}

static void teardown(void)
{
	OK(bole_store_close(store));
	bole_block_close(host.ram);
	test_platform_release(&test);
}

/* One object of ten chunks. */
static enum bole_status push(uint64_t number)
{
	static uint8_t chunk[CHUNK];
	struct bole_extent_row row = {
	        .offset = 12, .type = BOLE_OBJECT_BLOB, .stored_bytes = 10 * CHUNK - 12};
	struct bole_tx *tx;
	uint64_t extent;
	size_t failed;

	row.oid.algo = BOLE_HASH_SHA1;
	memcpy(row.oid.bytes, &number, sizeof number);
	memset(chunk, (int)number, sizeof chunk);
	enum bole_status rc = bole_tx_begin(store, repo.id, &tx);
	if (rc != BOLE_OK)
		return rc;
	rc = bole_tx_extent_begin(tx, &extent);
	for (unsigned i = 0; i < 10 && rc == BOLE_OK; i++)
		rc = bole_tx_extent_append(tx, (struct bole_bytes){chunk, sizeof chunk});
	if (rc == BOLE_OK)
		rc = bole_tx_extent_finish(tx, &row, 1);
	if (rc == BOLE_OK)
		return bole_tx_commit(tx, NULL, 0, &failed);
	bole_tx_abort(tx);
	return rc;
}

static bool stored(uint64_t number)
{
	struct bole_snapshot *snapshot;
	struct bole_oid oid = {.algo = BOLE_HASH_SHA1};
	struct bole_entry entry;

	memcpy(oid.bytes, &number, sizeof number);
	OK(bole_snapshot_open(store, repo.id, &snapshot));
	enum bole_status rc = bole_odb_find(snapshot, &oid, &entry);
	bole_snapshot_close(snapshot);
	check(rc == BOLE_OK || rc == BOLE_E_NOT_FOUND);
	return rc == BOLE_OK;
}

static unsigned segments_bad(void)
{
	struct bole_store_stats stats;

	OK(bole_store_stats(store, &stats));
	return stats.segments_bad;
}

/* Goal: room that comes back in time costs nobody anything. Method: at each of the first writes of
 * some pushes the host refuses a few times. */
Test(flash_host_full, a_host_that_makes_room_is_waited_for)
{
	setup();
	for (unsigned i = 0; i < PUSHES; i++) {
		host.countdown = i % 7;
		host.refused = 1 + i % 5;
		OK(push(i));
	}
	OK(bole_store_close(store));
	OK(bole_flash_open(&host.block, &test.base, &test.alloc, NULL, &store));
	for (unsigned i = 0; i < PUSHES; i++)
		check(stored(i));
	check_eq(segments_bad(), 0);
	teardown();
}

/* Goal: a host that stays full is no bad block: writing ends with the word for it, what was
 * acknowledged stays readable, and with room again a volume that is opened has lost nothing.
 * Method: for every program until pushes succeed, the host is full from there on. */
Test(flash_host_full, a_host_that_stays_full_costs_no_segment)
{
	for (unsigned n = 0, failed = 1; failed > 0; n++) {
		unsigned done = 0;

		setup();
		OK(push(FOREVER));
		host.countdown = n;
		host.refused = FOREVER;
		enum bole_status rc = BOLE_OK;
		while (done < 4 && (rc = push(done)) == BOLE_OK)
			done++;
		failed = done < 4;
		check(!failed || rc == BOLE_E_NO_SPACE || rc == BOLE_E_IO);
		check(!failed || push(5) != BOLE_OK);
		for (unsigned i = 0; i < done; i++)
			check(stored(i));
		host.refused = 0;
		rc = bole_store_close(store);
		check(rc == BOLE_OK || failed);
		OK(bole_flash_open(&host.block, &test.base, &test.alloc, NULL, &store));
		check(stored(FOREVER));
		for (unsigned i = 0; i < done; i++)
			check(stored(i));
		for (unsigned i = 10; i < 10 + PUSHES; i++)
			OK(push(i));
		check_eq(segments_bad(), 0);
		teardown();
	}
}
