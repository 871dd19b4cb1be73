/* SPDX-License-Identifier: ISC */
/* Repacking a volume whose graph of objects the test knows: what is there afterwards, after power
 * cuts and failures on the way, and while others go on. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "bole/block_sim.h"
#include "bole/repack.h"
#include "git/object/object.h"
#include "git/object/read.h"
#include "support/gcworld.h"
#include "support/suite_help.h"

static struct gcworld w;

static enum bole_status repack(const struct bole_repack_options *options,
                               struct bole_repack_result *result)
{
	return bole_repack(&w.test.base, &w.test.alloc, w.store, w.repo.id, options, result);
}

static void maintain(unsigned eagerness, unsigned steps)
{
	struct bole_maintain_options options = {.eagerness = eagerness};
	enum bole_status rc = BOLE_OK;

	for (unsigned i = 0; i < steps && rc == BOLE_OK; i++)
		rc = bole_store_maintain(w.store, &options, NULL);
	cr_assert(rc == BOLE_OK || rc == BOLE_END);
}

static struct bole_block *open_world(struct test_platform *test, const char *geometry,
                                     uint64_t bytes, uint64_t seed)
{
	struct bole_block_sim_options options;
	struct bole_block *device;

	test_platform_init(test, seed);
	cr_assert_eq(bole_block_sim_geometry(geometry, &options), BOLE_OK);
	if (bytes != 0 && options.size_bytes > bytes)
		options.size_bytes = bytes;
	options.seed = seed;
	cr_assert_eq(bole_block_sim_open(&test->alloc, &options, &device), BOLE_OK);
	gcworld_open(&w, device, test_algo(), seed);
	return device;
}

static void close_world(struct test_platform *test, struct bole_block *device)
{
	gcworld_close(&w);
	bole_block_close(device);
	test_platform_release(test);
}

static unsigned count_packs(uint64_t *longest)
{
	struct bole_extent_info info = {.extent = 0};
	struct bole_snapshot *snapshot;
	unsigned count = 0;

	*longest = 0;
	cr_assert_eq(bole_snapshot_open(w.store, w.repo.id, &snapshot), BOLE_OK);
	for (; bole_extent_next(snapshot, info.extent, &info) == BOLE_OK; count++)
		if (info.rows > *longest)
			*longest = info.rows;
	bole_snapshot_close(snapshot);
	return count;
}

static void random_step(uint64_t *seed)
{
	struct bole_repack_options options = {.all = test_random(seed) % 3 == 0,
	                                      .fresh = test_random(seed) % 2 == 0,
	                                      .window = (unsigned)(test_random(seed) % 5),
	                                      .depth = (unsigned)(test_random(seed) % 8)};
	struct bole_repack_result result;
	int branch = (int)(test_random(seed) % GC_BRANCHES);
	int from = w.branch[test_random(seed) % GC_BRANCHES];
	int commits = 1 + (int)(test_random(seed) % 12);
	struct bole_gc_result collected;
	enum bole_status rc;

	/* With memory for few deltas some are made twice. */
	options.memory_bytes = test_random(seed) % 2 == 0 ? 0 : 64 << 10;
	switch (test_random(seed) % 9) {
	case 0: gcworld_delete(&w, branch); break;
	case 1: gcworld_write(&w, branch, from, commits); break;
	case 2:
	case 3: gcworld_push(&w, branch, from, commits * 4, true); break;
	case 4: gcworld_push(&w, branch, GC_NONE, commits * 3, false); break;
	case 5: gcworld_reopen(&w); break;
	case 6: maintain(2, (unsigned)(test_random(seed) % 40)); break;
	case 7:
		rc = gcworld_collect(&w, NULL, &collected);
		cr_assert_eq(rc, BOLE_OK, "%s", collected.error);
		break;
	default:
		rc = repack(&options, &result);
		cr_assert(rc == BOLE_OK || rc == BOLE_END || rc == BOLE_E_NO_SPACE, "%s",
		          result.error);
		(void)gcworld_check(&w, false);
		break;
	}
}

Test(repack, random_branches_are_the_same_afterwards)
{
	static const char *const geometries[] = {"virtio", "nor4k", "slcnand", "sd"};
	uint64_t seed = test_seed(50);

	for (size_t i = 0; i < sizeof geometries / sizeof geometries[0]; i++) {
		struct bole_repack_options all = {.all = true};
		struct bole_repack_result result;
		struct test_platform test;
		struct bole_block *device = open_world(&test, geometries[i], 16 << 20, seed + i);
		uint64_t longest;

		for (unsigned step = 0; step < 40; step++)
			random_step(&seed);
		enum bole_status rc = repack(&all, &result);
		cr_assert(rc == BOLE_OK || rc == BOLE_END, "%s", result.error);
		cr_assert_leq(count_packs(&longest), 1);
		(void)gcworld_check(&w, false);
		gcworld_reopen(&w);
		(void)gcworld_check(&w, false);
		maintain(2, 1000);
		gcworld_reopen(&w);
		(void)gcworld_check(&w, false);
		close_world(&test, device);
	}
}

/* Each entry is whole or the delta of one before it in the same pack, no chain is too long. */
static void check_chains(unsigned most)
{
	struct bole_extent_info info = {.extent = 0};
	struct bole_extent_place places[4096];
	static uint8_t depth[4096];
	struct bole_snapshot *snapshot;
	size_t count = 4096;
	unsigned deltas = 0;

	cr_assert_eq(bole_snapshot_open(w.store, w.repo.id, &snapshot), BOLE_OK);
	cr_assert_eq(bole_extent_next(snapshot, 0, &info), BOLE_OK);
	cr_assert_eq(bole_extent_rows(snapshot, info.extent, 0, places, &count), BOLE_OK);
	cr_assert_eq(count, info.rows);
	for (size_t i = 0; i < count; i++) {
		struct bole_entry entry = {info.extent, places[i].offset, places[i].stored_bytes,
		                           places[i].type};
		struct bole_entry_head head;
		struct bole_bytes shown;
		size_t base = 0;

		cr_assert_eq(bole_odb_view(snapshot, &entry, 0, &shown), BOLE_OK);
		cr_assert_eq(bole_entry_head_parse(shown, w.repo.algo, &head), BOLE_OK);
		cr_assert_neq(head.type, BOLE_ENTRY_REF_DELTA);
		depth[i] = 0;
		if (head.type != BOLE_ENTRY_OFS_DELTA)
			continue;
		while (base < i && places[base].offset != places[i].offset - head.base_distance)
			base++;
		cr_assert_lt(base, i);
		depth[i] = (uint8_t)(depth[base] + 1);
		cr_assert_leq(depth[i], most);
		deltas++;
	}
	cr_assert_gt(deltas, count / 8);
	bole_snapshot_close(snapshot);
}

Test(repack, bases_come_first_and_chains_are_bounded)
{
	struct bole_repack_options options = {.all = true, .depth = 3};
	struct bole_repack_result result;
	struct test_platform test;
	struct bole_block *device = open_world(&test, "virtio", 0, test_seed(60));

	int tip = gcworld_push(&w, 0, GC_NONE, 200, true);
	tip = gcworld_push(&w, 0, tip, 100, false);
	(void)gcworld_write(&w, 0, tip, 20);
	cr_assert_eq(repack(&options, &result), BOLE_OK, "%s", result.error);
	cr_assert_gt(result.kept, 0);
	cr_assert_gt(result.records, 0);
	/* Nothing here has a shorter delta, and of those that stay some have their base further
	 * away: less than a byte for each. */
	cr_assert_lt(result.bytes_after, result.bytes_before + result.kept);
	check_chains(3);
	options.fresh = true;
	options.depth = 0;
	cr_assert_eq(repack(&options, &result), BOLE_OK, "%s", result.error);
	/* What has nothing shorter stays; lengths are compared before they are deflated. */
	cr_assert_leq(result.bytes_after, result.bytes_before + result.bytes_before / 1000);
	check_chains(50);
	(void)gcworld_check(&w, true);
	close_world(&test, device);
}

/* What a client fetches next lies behind what it has, and is no base of that. */
Test(repack, what_is_new_comes_last)
{
	struct bole_repack_options options = {.all = true, .fresh = true};
	struct bole_object_reader *reader;
	struct bole_repack_result result;
	struct bole_snapshot *snapshot;
	struct bole_entry entry;
	struct bole_oid oid;
	struct test_platform test;
	uint64_t cursor = 0;
	unsigned count = 0;
	enum bole_status rc;
	struct bole_block *device = open_world(&test, "virtio", 0, test_seed(61));

	int tip = gcworld_push(&w, 0, GC_NONE, 100, true);
	(void)gcworld_write(&w, 0, tip, 20);
	cr_assert_eq(repack(&options, &result), BOLE_OK, "%s", result.error);
	cr_assert_eq(bole_snapshot_open(w.store, w.repo.id, &snapshot), BOLE_OK);
	cr_assert_eq(bole_object_reader_open(snapshot, &w.test.alloc, NULL, &reader), BOLE_OK);
	while ((rc = bole_odb_next(snapshot, &cursor, &oid, &entry)) == BOLE_OK) {
		struct bole_commit commit;
		struct bole_bytes content;
		struct bole_entry before;
		uint8_t type;

		if (entry.type != BOLE_OBJECT_COMMIT)
			continue;
		count++;
		cr_assert_eq(bole_object_read(reader, &oid, &type, &content), BOLE_OK);
		cr_assert_eq(bole_commit_parse(content, w.repo.algo, &commit), BOLE_OK);
		for (size_t i = 0; i < commit.parent_count; i++) {
			bole_commit_parent(&commit, w.repo.algo, i, &oid);
			cr_assert_eq(bole_odb_find(snapshot, &oid, &before), BOLE_OK);
			cr_assert_lt(before.offset, entry.offset);
		}
	}
	cr_assert_eq(rc, BOLE_END);
	cr_assert_eq(count, 120);
	bole_object_reader_close(reader);
	bole_snapshot_close(snapshot);
	close_world(&test, device);
}

/* Packs of 60, 30, ... commits: only the small ones are taken. */
Test(repack, only_what_is_not_in_progression_is_written)
{
	struct bole_repack_options options = {.packs_min = 3};
	struct bole_repack_result result;
	struct test_platform test;
	struct bole_block *device = open_world(&test, "virtio", 0, test_seed(61));
	uint64_t longest;
	unsigned packs;

	int tip = gcworld_push(&w, 0, GC_NONE, 600, false);
	cr_assert_eq(repack(&options, &result), BOLE_END);
	for (int i = 0; i < 4; i++)
		tip = gcworld_push(&w, 0, tip, 60, false);
	cr_assert_eq(count_packs(&longest), 5);
	cr_assert_eq(bole_repack_due(&w.test.alloc, w.store, w.repo.id, &options, &packs), BOLE_OK);
	cr_assert_eq(packs, 4);
	cr_assert_eq(repack(&options, &result), BOLE_OK, "%s", result.error);
	cr_assert_eq(result.packs, 4);
	cr_assert_eq(count_packs(&longest), 2);
	cr_assert_eq(longest, 600 * 5);
	(void)gcworld_check(&w, true);
	cr_assert_eq(bole_repack_due(&w.test.alloc, w.store, w.repo.id, &options, &packs), BOLE_OK);
	cr_assert_eq(packs, 0);
	cr_assert_eq(repack(&options, &result), BOLE_END);
	close_world(&test, device);
}

/* -- Others go on meanwhile -- */

struct meanwhile {
	unsigned calls;
	unsigned at;
	int tip;
	bool write;
};

static bool push_meanwhile(void *ctx)
{
	struct meanwhile *m = ctx;

	if (m->calls++ % 16 == m->at)
		m->tip = m->write ? gcworld_write(&w, 2, m->tip, 3)
		                  : gcworld_push(&w, 2, m->tip, 12, true);
	return false;
}

Test(repack, pushes_and_readers_go_on_meanwhile)
{
	for (unsigned at = 0; at < 16; at += 5) {
		struct meanwhile m = {.at = at, .write = at % 2 == 0};
		struct bole_repack_options options = {
		        .all = true, .fresh = true, .cancelled = push_meanwhile, .ctx = &m};
		struct bole_repack_result result;
		struct bole_snapshot *snapshot;
		struct bole_object_reader *reader;
		struct test_platform test;
		struct bole_block *device = open_world(&test, "virtio", 0, test_seed(70) + at);

		m.tip = gcworld_push(&w, 0, GC_NONE, 100, true);
		m.tip = gcworld_push(&w, 0, m.tip, 100, true);
		(void)gcworld_write(&w, 0, m.tip, 3);
		int count = w.count;
		cr_assert_eq(bole_snapshot_open(w.store, w.repo.id, &snapshot), BOLE_OK);
		cr_assert_eq(bole_object_reader_open(snapshot, &w.test.alloc, NULL, &reader),
		             BOLE_OK);
		cr_assert_eq(repack(&options, &result), BOLE_OK, "%s", result.error);
		cr_assert_gt(m.calls, m.at);
		maintain(2, 1000);
		/* Who began before reads on as if nothing had been. */
		for (int i = 0; i < count; i++) {
			struct bole_bytes content;
			uint8_t type;
			cr_assert_eq(bole_object_read(reader, &w.nodes[i].oid, &type, &content),
			             BOLE_OK);
		}
		bole_object_reader_close(reader);
		bole_snapshot_close(snapshot);
		(void)gcworld_check(&w, true);
		gcworld_reopen(&w);
		(void)gcworld_check(&w, true);
		close_world(&test, device);
	}
}

static bool cancel_later(void *ctx)
{
	unsigned *left = ctx;

	return (*left)-- == 0;
}

Test(repack, what_is_cancelled_changed_nothing)
{
	struct test_platform test;
	struct bole_block *device = open_world(&test, "virtio", 0, test_seed(71));
	enum bole_status rc = BOLE_E_CLOSED;

	int tip = gcworld_push(&w, 0, GC_NONE, 60, true);
	(void)gcworld_push(&w, 0, tip, 60, true);
	for (unsigned n = 0; rc != BOLE_OK; n += 1 + n) {
		unsigned left = n;
		struct bole_repack_options options = {
		        .all = true, .cancelled = cancel_later, .ctx = &left};
		struct bole_repack_result result;

		rc = repack(&options, &result);
		cr_assert(rc == BOLE_OK || rc == BOLE_E_CLOSED, "%s", result.error);
		(void)gcworld_check(&w, true);
	}
	close_world(&test, device);
}

Test(repack, a_failed_allocation_changes_nothing)
{
	struct bole_repack_options options = {.all = true};
	struct bole_repack_result result;
	struct test_platform test;
	struct bole_block *device = open_world(&test, "virtio", 0, test_seed(72));
	enum bole_status rc = BOLE_E_NO_MEMORY;

	int tip = gcworld_push(&w, 0, GC_NONE, 40, true);
	(void)gcworld_push(&w, 0, tip, 40, true);
	for (uint64_t n = 1; rc != BOLE_OK; n += 1 + n / 6) {
		size_t blocks;

		atomic_store(&w.test.fail_at, atomic_load(&w.test.grows) + n);
		rc = repack(&options, &result);
		bool met = atomic_load(&w.test.grows) >= atomic_load(&w.test.fail_at);
		atomic_store(&w.test.fail_at, 0);
		/* Some work goes on without: a cache, a checkpoint that comes later. */
		cr_assert(rc == BOLE_E_NO_MEMORY || rc == BOLE_OK || rc == BOLE_E_GONE, "%s",
		          result.error);
		(void)gcworld_check(&w, true);
		blocks = atomic_load(&w.test.blocks);
		cr_assert_gt(blocks, 0);
		if (rc == BOLE_OK && met)
			rc = BOLE_E_NO_MEMORY;
	}
	gcworld_reopen(&w);
	(void)gcworld_check(&w, true);
	close_world(&test, device);
}

/* -- Power -- */

static bool cut_run(struct test_platform *test, struct bole_block *base, uint64_t n,
                    enum bole_block_sim_tear tear)
{
	struct bole_repack_options options = {.all = true};
	struct bole_repack_result result;
	struct bole_block *device;
	uint64_t longest;

	cr_assert_eq(bole_block_sim_clone(&test->alloc, base, &device), BOLE_OK);
	bole_block_sim_seed(device, n);
	gcworld_attach(&w, device);
	bole_block_sim_cut_at(device, n, tear);
	enum bole_status rc = repack(&options, &result);
	maintain(2, rc == BOLE_OK && !bole_block_sim_is_off(device) ? 1000 : 0);
	gcworld_detach(&w);
	bool cut = bole_block_sim_is_off(device);
	bole_block_sim_cut_at(device, 0, BOLE_SIM_TEAR_RANDOM);
	bole_block_sim_power_on(device);
	gcworld_attach(&w, device);
	(void)gcworld_check(&w, true);
	/* What a cut left over is gone with the next one. */
	rc = repack(&options, &result);
	cr_assert_eq(rc, BOLE_OK, "%s", result.error);
	cr_assert_eq(count_packs(&longest), 1);
	(void)gcworld_check(&w, true);
	gcworld_detach(&w);
	bole_block_close(device);
	return cut;
}

Test(repack, a_cut_at_every_operation_leaves_every_object)
{
	static const char *const geometries[] = {"virtio", "nor64k"};
	unsigned cuts = 0;

	for (size_t i = 0; i < sizeof geometries / sizeof geometries[0]; i++) {
		struct test_platform test;
		struct bole_block *base = open_world(&test, geometries[i], 0, test_seed(80) + i);
		int tip = gcworld_push(&w, 0, GC_NONE, 60, true);
		tip = gcworld_push(&w, 0, tip, 60, false);
		(void)gcworld_write(&w, 0, tip, 4);
		gcworld_detach(&w);
		bool more = true;
		for (uint64_t n = 1; more; n += 1 + n / 10, cuts++)
			more = cut_run(&test, base, n,
			               (enum bole_block_sim_tear)(cuts % BOLE_SIM_TEARS));
		gcworld_attach(&w, base);
		close_world(&test, base);
	}
	printf("%u cuts\n", cuts);
}

Test(repack, a_store_without_packs_says_so)
{
	struct bole_repack_result result;

	gcworld_open(&w, NULL, test_algo(), 1);
	(void)gcworld_write(&w, 0, GC_NONE, 3);
	cr_assert_eq(repack(NULL, &result), BOLE_E_UNSUPPORTED);
	gcworld_close(&w);
}
