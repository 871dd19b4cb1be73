/* SPDX-License-Identifier: ISC */
/* What things cost in calls of the device. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "bole/block_sim.h"
#include "bole/store.h"
#include "support/platform.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

static struct test_platform test;
static struct bole_block *device;
static struct bole_store *store;
static struct bole_repo repo;

static void setup(void)
{
	const struct bole_block_sim_options o = {
	        .kind = BOLE_BLOCK_MANAGED,
	        .size_bytes = 300 << 20,
	        .read_unit = 512,
	        .program_unit = 512,
	        .volatile_cache = true,
	};

	test_platform_init(&test, 1);
	OK(bole_block_sim_open(&test.alloc, &o, &device));
	OK(bole_flash_format(device, &test.base, NULL));
	OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
	OK(bole_repo_create(store, "r", BOLE_HASH_SHA1, "refs/heads/a", &repo));
}

static void teardown(void)
{
	OK(bole_store_close(store));
	bole_block_close(device);
	test_platform_release(&test);
}

static void publish(uint64_t number)
{
	struct store_suite suite = {.store = store, .platform = &test.base};
	struct suite_blob blob;

	suite_blob_make(&blob, BOLE_HASH_SHA1, number);
	suite_publish(&suite, repo.id, &blob, "refs/heads/a");
}

Test(flash_costs, a_commit_is_one_write_and_one_flush)
{
	struct bole_block_sim_counters before;
	struct bole_block_sim_counters after;

	setup();
	for (uint64_t i = 0; i < 100; i++) {
		bole_block_sim_counters(device, &before);
		publish(i);
		bole_block_sim_counters(device, &after);
		check_eq(after.programs - before.programs, 1);
		check_eq(after.flushes - before.flushes, 1);
		check_eq(after.reads, before.reads);
		check_eq(after.programmed_bytes - before.programmed_bytes, 512);
	}
	teardown();
}

static void get(struct bole_snapshot *s, uint64_t number)
{
	struct suite_blob blob;
	struct bole_entry entry;
	struct bole_bytes bytes;

	suite_blob_make(&blob, BOLE_HASH_SHA1, number);
	OK(bole_odb_find(s, &blob.oid, &entry));
	OK(bole_odb_view(s, &entry, 0, &bytes));
}

Test(flash_costs, a_get_is_a_page_and_a_read_at_most)
{
	enum { PACK = 3000, RECORDS = 200 };
	struct bole_block_sim_counters before;
	struct bole_block_sim_counters after;
	struct bole_snapshot *s;
	struct suite_pack pack;
	struct bole_tx *tx;
	uint64_t random = 1;

	setup();
	for (uint64_t i = 0; i < RECORDS; i++)
		publish(i);
	OK(bole_tx_begin(store, repo.id, &tx));
	suite_pack_make(&pack, BOLE_HASH_SHA1, 1000, PACK);
	(void)suite_pack_append(tx, &pack);
	suite_pack_free(&pack);
	suite_commit(tx, NULL, 0);
	for (unsigned i = 0; i < 400; i++) {
		uint64_t n = test_random(&random);
		OK(bole_snapshot_open(store, repo.id, &s));
		bole_block_sim_counters(device, &before);
		get(s, i % 2 == 0 ? n % RECORDS : 1000 + n % PACK);
		bole_block_sim_counters(device, &after);
		bole_snapshot_close(s);
		/* A page of the extent's table, until it is cached; an entry that lies across two
		 * fragments needs a second read. The first lookup of all reads fences, filter and
		 * map. */
		cr_assert_leq(after.reads - before.reads, i < 2 ? 8 : 3);
		cr_assert_leq(after.read_bytes - before.read_bytes,
		              i < 2 ? 16 * 4096 : 4096 + 3 * 512);
	}
	teardown();
}

/* Goal: going through the log in order costs few, large reads. */
Test(flash_costs, a_scan_reads_ahead)
{
	enum { PACK = 6000 };
	struct bole_block_sim_counters before;
	struct bole_block_sim_counters after;
	struct bole_snapshot *s;
	struct suite_pack pack;
	struct bole_tx *tx;
	struct bole_oid oid;
	struct bole_entry e;
	struct bole_bytes bytes;
	uint64_t cursor = 0;

	setup();
	OK(bole_tx_begin(store, repo.id, &tx));
	suite_pack_make(&pack, BOLE_HASH_SHA1, 0, PACK);
	(void)suite_pack_append(tx, &pack);
	suite_commit(tx, NULL, 0);
	OK(bole_snapshot_open(store, repo.id, &s));
	bole_block_sim_counters(device, &before);
	while (bole_odb_next(s, &cursor, &oid, &e) == BOLE_OK)
		OK(bole_odb_view(s, &e, 0, &bytes));
	bole_block_sim_counters(device, &after);
	bole_snapshot_close(s);
	printf("%zu bytes in %llu reads of %llu\n", pack.len,
	       (unsigned long long)(after.reads - before.reads),
	       (unsigned long long)(after.read_bytes - before.read_bytes));
	/* And each page of the table and of the order once. */
	size_t index = PACK * (size_t)(36 + 20) / 4000 + 8;
	cr_assert_lt(after.reads - before.reads, 8 + pack.len / (128 << 10) + index);
	cr_assert_lt(after.read_bytes - before.read_bytes,
	             pack.len + pack.len / 4 + (256 << 10) + index * 4096);
	suite_pack_free(&pack);
	teardown();
}

Test(flash_costs, a_clean_mount_reads_little_and_writes_nothing)
{
	struct bole_store_stats stats;
	struct bole_block_sim_counters before;
	struct bole_block_sim_counters after;

	setup();
	for (uint64_t i = 0; i < 100; i++)
		publish(i);
	OK(bole_store_close(store));
	bole_block_sim_counters(device, &before);
	OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
	bole_block_sim_counters(device, &after);
	OK(bole_store_stats(store, &stats));
	check_eq(after.programs, before.programs);
	printf("%llu reads of %llu bytes\n", (unsigned long long)stats.mount_reads,
	       (unsigned long long)stats.read_bytes);
	cr_assert_lt(stats.mount_reads, 40);
	teardown();
}
