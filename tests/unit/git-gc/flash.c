/* SPDX-License-Identifier: ISC */
/* Collections on a volume: over restarts, cleaning, and power cuts. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "bole/block_sim.h"
#include "support/gcworld.h"
#include "support/suite_help.h"

static struct gcworld w;

static void collect(void)
{
	struct bole_gc_result result;
	enum bole_status rc = gcworld_collect(&w, NULL, &result);

	cr_assert_eq(rc, BOLE_OK, "%s", result.error);
}

static void maintain(unsigned eagerness, unsigned steps)
{
	struct bole_maintain_options options = {.eagerness = eagerness};
	enum bole_status rc = BOLE_OK;

	for (unsigned i = 0; i < steps && rc == BOLE_OK; i++)
		rc = bole_store_maintain(w.store, &options, NULL);
	cr_assert(rc == BOLE_OK || rc == BOLE_END);
}

static void random_step(uint64_t *seed)
{
	int branch = (int)(test_random(seed) % GC_BRANCHES);
	int from = w.branch[test_random(seed) % GC_BRANCHES];
	int commits = 1 + (int)(test_random(seed) % 12);

	switch (test_random(seed) % 9) {
	case 0:
	case 1: gcworld_delete(&w, branch); break;
	case 2: gcworld_write(&w, branch, from, commits); break;
	case 3: gcworld_push(&w, branch, from, commits * 4, true); break;
	case 4: gcworld_push(&w, branch, GC_NONE, commits, true); break;
	case 5: gcworld_push(&w, branch, from, commits, false); break;
	case 6: gcworld_reopen(&w); break;
	case 7: maintain(2, (unsigned)(test_random(seed) % 40)); break;
	default:
		collect();
		(void)gcworld_check(&w, true);
		break;
	}
}

Test(gc_flash, random_branches_are_collected_cleaned_and_mounted_again)
{
	static const char *const geometries[] = {"virtio", "nor4k", "slcnand", "sd"};
	uint64_t seed = test_seed(20);

	for (size_t i = 0; i < sizeof geometries / sizeof geometries[0]; i++) {
		struct bole_block_sim_options options;
		struct test_platform test;
		struct bole_block *device;

		test_platform_init(&test, seed);
		cr_assert_eq(bole_block_sim_geometry(geometries[i], &options), BOLE_OK);
		if (options.size_bytes > 16 << 20)
			options.size_bytes = 16 << 20;
		options.seed = seed;
		cr_assert_eq(bole_block_sim_open(&test.alloc, &options, &device), BOLE_OK);
		gcworld_open(&w, device, test_algo(), seed + i);
		for (unsigned step = 0; step < 40; step++)
			random_step(&seed);
		collect();
		(void)gcworld_check(&w, true);
		gcworld_reopen(&w);
		(void)gcworld_check(&w, false);
		gcworld_close(&w);
		bole_block_close(device);
		test_platform_release(&test);
	}
}

/* One collection that loses power at its n-th operation; false once it has fewer. */
static bool cut_run(struct test_platform *test, struct bole_block *base, uint64_t n,
                    enum bole_block_sim_tear tear, int before)
{
	struct bole_gc_result result;
	struct bole_block *device;
	int findable;

	cr_assert_eq(bole_block_sim_clone(&test->alloc, base, &device), BOLE_OK);
	bole_block_sim_seed(device, n);
	gcworld_attach(&w, device);
	bole_block_sim_cut_at(device, n, tear);
	enum bole_status rc = gcworld_collect(&w, NULL, &result);
	maintain(2, rc == BOLE_OK && !bole_block_sim_is_off(device) ? 1000 : 0);
	gcworld_detach(&w);
	bool cut = bole_block_sim_is_off(device);
	bole_block_sim_cut_at(device, 0, BOLE_SIM_TEAR_RANDOM);
	bole_block_sim_power_on(device);
	gcworld_attach(&w, device);
	(void)gcworld_garbage(&w, &findable);
	cr_assert(findable == 0 || findable == before, "%d of %d are left", findable, before);
	/* What was answered holds. */
	cr_assert(rc != BOLE_OK || findable == 0);
	(void)gcworld_check(&w, false);
	collect();
	maintain(2, 1000);
	(void)gcworld_check(&w, true);
	gcworld_detach(&w);
	bole_block_close(device);
	return cut;
}

Test(gc_flash, a_cut_at_every_operation_leaves_all_of_the_garbage_or_none)
{
	static const char *const geometries[] = {"virtio", "nor64k"};
	uint64_t seed = test_seed(30);
	unsigned cuts = 0;

	for (size_t i = 0; i < sizeof geometries / sizeof geometries[0]; i++) {
		struct bole_block_sim_options options;
		struct test_platform test;
		struct bole_block *base;

		test_platform_init(&test, seed);
		cr_assert_eq(bole_block_sim_geometry(geometries[i], &options), BOLE_OK);
		options.seed = seed;
		cr_assert_eq(bole_block_sim_open(&test.alloc, &options, &base), BOLE_OK);
		gcworld_open(&w, base, test_algo(), seed + i);
		int tip = gcworld_push(&w, 0, GC_NONE, 30, true);
		(void)gcworld_push(&w, 1, tip, 60, true);
		(void)gcworld_write(&w, 2, tip, 4);
		(void)gcworld_write(&w, 3, tip, 4);
		gcworld_delete(&w, 1);
		gcworld_delete(&w, 2);
		gcworld_reopen(&w);
		collect();
		/* That one collected: what dies is made again. */
		(void)gcworld_push(&w, 1, tip, 60, true);
		(void)gcworld_write(&w, 2, tip, 4);
		gcworld_delete(&w, 1);
		gcworld_delete(&w, 2);
		int garbage;
		(void)gcworld_garbage(&w, &garbage);
		gcworld_detach(&w);
		bool more = true;
		for (uint64_t n = 1; more; n += 1 + n / 40)
			for (int tear = 0; more && tear < BOLE_SIM_TEARS; tear++, cuts++)
				more = cut_run(&test, base, n, (enum bole_block_sim_tear)tear,
				               garbage);
		gcworld_attach(&w, base);
		gcworld_close(&w);
		bole_block_close(base);
		test_platform_release(&test);
	}
	printf("%u cuts\n", cuts);
}

/* Somebody looks things up all the time, far more than a small volume keeps as roots at once. */
struct busy {
	unsigned calls;
	uint64_t looked_up;
};

static bool look_up_many(void *ctx)
{
	enum { LOOKUPS = 1500 };
	struct busy *busy = ctx;
	struct bole_entry entry;
	struct bole_tx *tx = gcworld_begin(&w);

	busy->calls++;
	for (int i = 0; i < LOOKUPS; i++, busy->looked_up++)
		cr_assert_geq(bole_odb_find(tx->view, &w.nodes[i % w.count].oid, &entry),
		              BOLE_E_NOT_FOUND);
	bole_tx_abort(tx);
	return false;
}

Test(gc_flash, a_small_volume_collects_however_much_is_looked_up_meanwhile)
{
	static const struct bole_flash_open_options small = {.memory_bytes_max = 4 << 20};
	struct busy busy = {.calls = 0};
	struct bole_gc_options options = {.cancelled = look_up_many, .ctx = &busy};
	struct bole_block_sim_options sim;
	struct bole_gc_result result;
	struct test_platform test;
	struct bole_block *device;

	test_platform_init(&test, 1);
	cr_assert_eq(bole_block_sim_geometry("virtio", &sim), BOLE_OK);
	sim.size_bytes = 16 << 20;
	cr_assert_eq(bole_block_sim_open(&test.alloc, &sim, &device), BOLE_OK);
	gcworld_open(&w, device, test_algo(), 40);
	w.options = &small;
	gcworld_reopen(&w);
	int tip = gcworld_push(&w, 0, GC_NONE, 250, true);
	tip = gcworld_push(&w, 0, tip, 250, true);
	(void)gcworld_push(&w, 1, tip, 20, true);
	gcworld_delete(&w, 1);
	enum bole_status rc = gcworld_collect(&w, &options, &result);
	cr_assert_eq(rc, BOLE_OK, "%s", result.error);
	cr_assert_gt(busy.looked_up, 8192, "only %u calls", busy.calls);
	(void)gcworld_check(&w, false);
	gcworld_close(&w);
	bole_block_close(device);
	test_platform_release(&test);
}
