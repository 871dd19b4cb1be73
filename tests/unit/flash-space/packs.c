/* SPDX-License-Identifier: ISC */
/* Packs are moved, too: their fragments go elsewhere, the extents stay what they were. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "bole/block_sim.h"
#include "support/platform.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

static struct test_platform test;
static struct bole_block *device;
static struct bole_store *store;
static struct bole_repo keep;
static struct bole_repo gone;

enum { ROWS = 24, ROW_BYTES_MAX = 700, PACKS = 40 };

static const struct bole_block_sim_options nor = {
        .kind = BOLE_BLOCK_NOR,
        .size_bytes = 4 << 20,
        .read_unit = 16,
        .program_unit = 16,
        .erase_unit = 4096,
};

static void open_store(void)
{
	struct bole_flash_open_options options = {.no_background = true};

	enum bole_status rc = bole_flash_open(device, &test.base, &test.alloc, &options, &store);
	if (rc != BOLE_OK)
		(void)fprintf(stderr, "mount: %s\n", bole_status_text(rc));
	OK(rc);
}

static void setup(void)
{
	test_platform_init(&test, 1);
	test.quiet = getenv("VERBOSE") == NULL;
	OK(bole_block_sim_open(&test.alloc, &nor, &device));
	OK(bole_flash_format(device, &test.base, NULL));
	open_store();
	OK(bole_repo_create(store, "keep", BOLE_HASH_SHA1, "refs/heads/a", &keep));
	OK(bole_repo_create(store, "gone", BOLE_HASH_SHA1, "refs/heads/a", &gone));
}

static void teardown(void)
{
	OK(bole_store_close(store));
	bole_block_close(device);
	test_platform_release(&test);
}

static struct bole_oid oid_of(uint32_t pack, uint32_t row)
{
	struct bole_oid oid = {.algo = BOLE_HASH_SHA1};
	uint64_t state = (uint64_t)pack << 32 | row;

	test_random_bytes(&state, oid.bytes, 20);
	return oid;
}

static size_t bytes_of(uint32_t pack, uint32_t row, uint8_t *dst)
{
	uint64_t state = ~((uint64_t)pack << 32 | row);
	size_t len = 50 + test_random(&state) % (ROW_BYTES_MAX - 50);

	test_random_bytes(&state, dst, len);
	return len;
}

static enum bole_status push(uint32_t repo, uint32_t pack)
{
	static uint8_t bytes[ROW_BYTES_MAX];
	struct bole_extent_row rows[ROWS];
	struct bole_tx *tx;
	uint64_t extent;
	uint64_t at = 12;
	size_t failed;

	enum bole_status rc = bole_tx_begin(store, repo, &tx);
	if (rc != BOLE_OK)
		return rc;
	rc = bole_tx_extent_begin(tx, &extent);
	if (rc == BOLE_OK)
		rc = bole_tx_extent_append(tx, bole_bytes_of("PACK........", 12));
	for (uint32_t i = 0; i < ROWS && rc == BOLE_OK; i++) {
		size_t len = bytes_of(pack, i, bytes);
		rows[i] = (struct bole_extent_row){oid_of(pack, i), BOLE_OBJECT_BLOB, at, len};
		at += len;
		rc = bole_tx_extent_append(tx, (struct bole_bytes){bytes, len});
	}
	if (rc == BOLE_OK)
		rc = bole_tx_extent_finish(tx, rows, ROWS);
	if (rc != BOLE_OK) {
		bole_tx_abort(tx);
		return rc;
	}
	return bole_tx_commit(tx, NULL, 0, &failed);
}

static void verify_in(struct bole_snapshot *snapshot)
{
	static uint8_t bytes[ROW_BYTES_MAX];
	struct bole_entry entry;
	struct bole_bytes seen;

	for (uint32_t pack = 0; pack < PACKS; pack++) {
		for (uint32_t i = 0; i < ROWS; i++) {
			struct bole_oid oid = oid_of(pack, i);
			size_t len = bytes_of(pack, i, bytes);
			OK(bole_odb_find(snapshot, &oid, &entry));
			check_eq(entry.stored_bytes, len);
			OK(bole_odb_view(snapshot, &entry, 0, &seen));
			check_eq(seen.len, len);
			check_eq(memcmp(seen.ptr, bytes, len), 0);
		}
	}
}

static void verify(void)
{
	struct bole_snapshot *snapshot;

	OK(bole_snapshot_open(store, keep.id, &snapshot));
	verify_in(snapshot);
	bole_snapshot_close(snapshot);
}

static uint32_t free_segments(void)
{
	struct bole_store_stats stats;

	OK(bole_store_stats(store, &stats));
	return stats.segments_free;
}

/* Packs of both repositories share segments; one of the two goes. */
static void mix(void)
{
	for (uint32_t i = 0; i < PACKS; i++) {
		OK(push(keep.id, i));
		OK(push(gone.id, 1000 + i));
	}
	OK(bole_repo_remove(store, gone.id));
}

static unsigned maintain(void)
{
	struct bole_maintain_options options = {.eagerness = 2};
	unsigned steps = 0;

	while (steps < 5000 && bole_store_maintain(store, &options, NULL) == BOLE_OK)
		steps++;
	return steps;
}

Test(flash_space_packs, what_lives_of_packs_is_moved_and_stays_what_it_was)
{
	struct bole_snapshot *old;

	setup();
	mix();
	verify();
	OK(bole_snapshot_open(store, keep.id, &old));
	uint32_t before = free_segments();
	cr_assert_lt(maintain(), 5000, "the work ends");
	verify();
	verify_in(old);
	bole_snapshot_close(old);
	OK(bole_store_close(store));
	open_store();
	cr_assert_gt(free_segments(), before + 10, "%u, %u", before, free_segments());
	verify();
	/* What was cleaned is written again. */
	for (uint32_t round = 0; round < 8; round++) {
		enum bole_status rc = BOLE_OK;
		OK(bole_repo_create(store, "gone", BOLE_HASH_SHA1, "refs/heads/a", &gone));
		for (uint32_t i = 0; rc == BOLE_OK; i++)
			rc = push(gone.id, 2000 + i);
		check_eq(rc, BOLE_E_NO_SPACE);
		verify();
		OK(bole_repo_remove(store, gone.id));
	}
	verify();
	teardown();
}

/* The mount after a cut finds the extents where they were, or where they went. */
Test(flash_space_packs, a_cut_while_packs_are_moved_loses_nothing)
{
	struct bole_block *base;
	uint64_t n = 1;
	bool more = true;

	setup();
	mix();
	OK(bole_store_close(store));
	base = device;
	for (; more; n += getenv("CUTS") != NULL ? 1 : 5) {
		OK(bole_block_sim_clone(&test.alloc, base, &device));
		bole_block_sim_seed(device, n);
		open_store();
		bole_block_sim_cut_at(device, n, (enum bole_block_sim_tear)(n % BOLE_SIM_TEARS));
		(void)maintain();
		more = bole_block_sim_is_off(device);
		(void)bole_store_close(store);
		bole_block_sim_power_on(device);
		bole_block_sim_cut_at(device, 0, BOLE_SIM_TEAR_RANDOM);
		open_store();
		verify();
		(void)maintain();
		verify();
		OK(bole_store_close(store));
		bole_block_close(device);
	}
	printf("%llu operations\n", (unsigned long long)n);
	cr_assert_gt(n, 50);
	device = base;
	open_store();
	teardown();
}

/* Goal: a block that fails costs a segment and nothing else. Method: blocks that cannot be erased,
 * or programmed, any more, while packs come in. */
Test(flash_space_packs, blocks_that_fail_are_given_up)
{
	struct bole_store_stats stats;

	setup();
	for (uint32_t i = 0; i < PACKS; i++) {
		/* The first program of a push is one of its data. */
		if (i % 10 == 3)
			bole_block_sim_plan_fault(device, BOLE_SIM_PROGRAM_KILLS, 1, UINT64_MAX);
		if (i % 10 == 6)
			bole_block_sim_plan_fault(device, BOLE_SIM_ERASE_KILLS, 1, UINT64_MAX);
		OK(push(keep.id, i));
	}
	verify();
	(void)maintain();
	OK(bole_store_stats(store, &stats));
	cr_assert_geq(stats.segments_bad, 3, "%u", stats.segments_bad);
	OK(bole_store_close(store));
	open_store();
	verify();
	uint32_t bad = stats.segments_bad;
	OK(bole_store_stats(store, &stats));
	cr_assert_geq(stats.segments_bad, bad, "they are known after a mount");
	check(!stats.end_of_life);
	teardown();
}
