/* SPDX-License-Identifier: ISC */
/* Cleaning segments of packs and of the index: what lives in them moves, whatever is cut. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bole/block_sim.h"
#include "bole/store.h"
#include "support/platform.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

enum { PACKS = 24, BLOBS = 60 };

static struct test_platform test;
static struct bole_block *device;
static struct bole_store *store;
static struct bole_repo keep;
static struct bole_repo gone;

static void push(uint32_t repo, uint64_t first)
{
	struct suite_pack pack;
	struct bole_tx *tx;

	suite_pack_make(&pack, BOLE_HASH_SHA1, first, BLOBS);
	OK(bole_tx_begin(store, repo, &tx));
	(void)suite_pack_append(tx, &pack);
	suite_commit(tx, NULL, 0);
	suite_pack_free(&pack);
}

static const struct bole_block_sim_options managed = {
        .kind = BOLE_BLOCK_MANAGED,
        .size_bytes = (8 << 20) + (128 << 10),
        .read_unit = 512,
        .program_unit = 512,
        .volatile_cache = true,
};

/* Packs of two repositories side by side, then one of them goes. */
static void setup(const struct bole_block_sim_options *o)
{
	test_platform_init(&test, 1);
	test.quiet = getenv("VERBOSE") == NULL;
	OK(bole_block_sim_open(&test.alloc, o, &device));
	OK(bole_flash_format(device, &test.base, NULL));
	OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
	OK(bole_repo_create(store, "keep", BOLE_HASH_SHA1, "refs/heads/a", &keep));
	OK(bole_repo_create(store, "gone", BOLE_HASH_SHA1, "refs/heads/a", &gone));
	for (uint64_t i = 0; i < PACKS; i++) {
		push(keep.id, i * 1000);
		push(gone.id, 100000 + i * 1000);
		push(gone.id, 100000 + i * 1000 + 500);
	}
	OK(bole_repo_remove(store, gone.id));
}

static void teardown(void)
{
	OK(bole_store_close(store));
	bole_block_close(device);
	test_platform_release(&test);
}

static void expect_all(void)
{
	struct bole_snapshot *s;

	OK(bole_snapshot_open(store, keep.id, &s));
	for (uint64_t i = 0; i < PACKS * (uint64_t)BLOBS; i++) {
		struct suite_blob blob;
		struct bole_entry e;
		suite_blob_make(&blob, BOLE_HASH_SHA1, i / BLOBS * 1000 + i % BLOBS);
		OK(bole_odb_find(s, &blob.oid, &e));
		suite_expect_stored(s, &e, (struct bole_bytes){blob.entry, blob.entry_len});
	}
	bole_snapshot_close(s);
}

static void print_finding(void *ctx, bool error, const char *text)
{
	(void)ctx;
	(void)fprintf(stderr, "check: %s %s\n", error ? "error" : "warning", text);
}

static void expect_sound(void)
{
	struct bole_flash_check_report report = {.finding = print_finding};
	struct bole_flash_check_result result;

	OK(bole_store_close(store));
	OK(bole_flash_check(device, &test.base, &test.alloc, &report, &result));
	check_eq(result.errors, 0);
	OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
}

/* Returns how many steps moved something. */
static unsigned clean(unsigned most)
{
	const struct bole_maintain_options options = {.eagerness = 2};
	struct bole_maintain_report report;
	unsigned moved = 0;

	for (unsigned i = 0; i < most; i++) {
		enum bole_status rc = bole_store_maintain(store, &options, &report);
		if (rc != BOLE_OK)
			break;
		moved += report.did == BOLE_MAINTAIN_CLEAN && report.bytes != 0;
	}
	return moved;
}

Test(flash_parts, what_lives_in_packs_and_pages_moves_out_of_victims)
{
	struct bole_store_stats before;
	struct bole_store_stats after;

	setup(&managed);
	expect_sound(); /* a stop makes a checkpoint, which frees what is dead */
	memset(&before, 0, sizeof before);
	memset(&after, 0, sizeof after);
	OK(bole_store_stats(store, &before));
	unsigned moved = clean(2000);
	expect_all();
	expect_sound();
	OK(bole_store_stats(store, &after));
	printf("%u steps, free %u -> %u of %u, live %llu\n", moved, before.segments_free,
	       after.segments_free, after.segments, (unsigned long long)after.live_bytes);
	cr_assert_gt(moved, 0);
	cr_assert_gt(after.segments_free, before.segments_free);
	/* No more is in use than twice what lives, and some segments that are open. */
	cr_assert_lt((uint64_t)(after.segments - after.segments_free) * after.segment_bytes,
	             2 * after.live_bytes + 40 * (uint64_t)after.segment_bytes);
	expect_all();
	cr_assert_lt(clean(2000), moved);
	teardown();
}

Test(flash_parts, a_cut_while_parts_move_loses_nothing)
{
	bool over = false;

	for (uint64_t cut = 1; !over; cut += 7) {
		setup(&managed);
		bole_block_sim_cut_at(device, cut, BOLE_SIM_TEAR_KEEP);
		(void)clean(300);
		over = !bole_block_sim_is_off(device);
		(void)bole_store_close(store);
		bole_block_sim_power_on(device);
		OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
		expect_all();
		expect_sound();
		teardown();
	}
}
