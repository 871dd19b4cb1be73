/* SPDX-License-Identifier: ISC */
/* Sets after a collection: what is gone may come back elsewhere, and then they name places where
 * nothing is. */
#include <criterion/criterion.h>

#include "bole/block_sim.h"
#include "bole/gc.h"
#include "git/bitmap/bitmap.h"
#include "git/bitmap/cache.h"
#include "support/dagworld.h"
#include "support/suite_help.h"

static struct dagworld w;
static struct bole_git_cache *cache;

static struct bole_bitmap *cached(void)
{
	struct bole_snapshot *snapshot;

	OK(bole_snapshot_open(w.store, w.repo.id, &snapshot));
	struct bole_bitmap *bitmap = bole_git_cache_bitmap(cache, snapshot);
	bole_snapshot_close(snapshot);
	return bitmap;
}

static enum bole_status load(struct bole_bitmap **out)
{
	struct bole_snapshot *snapshot;

	OK(bole_snapshot_open(w.store, w.repo.id, &snapshot));
	enum bole_status rc = bole_bitmap_load(&w.test.base, &w.test.alloc, snapshot, out);
	bole_snapshot_close(snapshot);
	return rc;
}

/* Until one is at hand, within so many seconds. */
static struct bole_bitmap *make(int seconds)
{
	struct bole_bitmap *bitmap = NULL;

	for (int i = 0; i < seconds && bitmap == NULL; i++) {
		w.test.now += UINT64_C(1000000000);
		(void)!bole_git_cache_work(cache, w.store, NULL, NULL);
		bitmap = cached();
	}
	cr_assert_not_null(bitmap);
	return bitmap;
}

static uint64_t collect(void)
{
	struct bole_gc_result result;

	OK(bole_gc(&w.test.base, &w.test.alloc, w.store, w.repo.id, NULL, &result));
	if (result.store.objects_dropped > 0)
		bole_git_cache_collected(cache, w.repo.id);
	return result.store.objects_dropped;
}

/* What was saved is gone when objects that it may know are: the tip, which it does. */
static bool agree(int tip)
{
	struct bole_bitmap *bitmap;
	enum bole_status rc = load(&bitmap);

	cr_assert(rc == BOLE_OK || rc == BOLE_E_NOT_FOUND);
	bole_bitmap_release(bitmap);
	return rc == BOLE_E_NOT_FOUND || dag_has(&w, tip);
}

/* A collection of what is on a copy of the device, which loses power at the n-th operation, or
 * (memory) gets none from the n-th allocation on. False: it ended before. */
static bool collect_badly(struct bole_block *device, int tip, uint64_t n, bool memory)
{
	struct bole_gc_result result;

	OK(bole_block_sim_clone(&w.test.alloc, device, &w.device));
	OK(bole_flash_open(w.device, &w.test.base, &w.test.alloc, NULL, &w.store));
	uint64_t grows = w.test.grows;
	w.test.fail_after = memory;
	w.test.fail_at = memory ? grows + n : 0;
	bole_block_sim_cut_at(w.device, memory ? 0 : n, BOLE_SIM_TEAR_RANDOM);
	(void)!bole_gc(&w.test.base, &w.test.alloc, w.store, w.repo.id, NULL, &result);
	bool met = memory ? w.test.grows >= grows + n : bole_block_sim_is_off(w.device);
	w.test.fail_after = false;
	w.test.fail_at = 0;
	if (!bole_block_sim_is_off(w.device))
		cr_assert(agree(tip), "%s %d", memory ? "memory" : "power", (int)n);
	bole_block_sim_cut_now(w.device, BOLE_SIM_TEAR_RANDOM);
	(void)!bole_store_close(w.store);
	bole_block_sim_power_on(w.device);
	OK(bole_flash_open(w.device, &w.test.base, &w.test.alloc, NULL, &w.store));
	cr_assert(agree(tip), "%s %d", memory ? "memory" : "power", (int)n);
	OK(bole_store_close(w.store));
	bole_block_close(w.device);
	return met;
}

/* Goal: what a volume without room keeps of sets does not keep it from being collected. */
struct disk {
	struct test_platform test;
	struct bole_block *device;
};

static void disk_open(struct disk *disk, uint64_t bytes)
{
	struct bole_block_sim_options sim;

	test_platform_init(&disk->test, 1);
	OK(bole_block_sim_geometry("virtio", &sim));
	sim.size_bytes = bytes;
	OK(bole_block_sim_open(&disk->test.alloc, &sim, &disk->device));
	dag_open(&w, disk->device, test_algo(), 1);
}

static void disk_close(struct disk *disk)
{
	dag_close(&w);
	bole_block_close(disk->device);
	test_platform_release(&disk->test);
}

static void save_sets(void)
{
	struct bole_snapshot *snapshot;
	struct bole_bitmap *bitmap;

	OK(bole_snapshot_open(w.store, w.repo.id, &snapshot));
	struct bole_bitmap_job job = {
	        .platform = &w.test.base, .alloc = &w.test.alloc, .snapshot = snapshot};
	OK(bole_bitmap_build(&job, &bitmap));
	bole_snapshot_close(snapshot);
	OK(bole_bitmap_save(bitmap, NULL, w.store, w.repo.id));
	bole_bitmap_release(bitmap);
}

Test(bitmap, sets_of_a_full_volume_go_with_what_is_collected)
{
	struct bole_bitmap *bitmap;
	struct disk disk;
	struct bole_gc_result result;
	int tip = DAG_NONE;
	int pushes = 0;

	disk_open(&disk, 8 << 20);
	for (int i = 0; i < 20; i++)
		tip = dag_grow(&w, 4);
	cr_assert(dag_push(&w, true, 0, tip));
	save_sets();
	do {
		for (int i = 0; i < 20; i++)
			tip = dag_grow(&w, 4);
		pushes++;
	} while (dag_push(&w, pushes % 2 == 0, 1, tip));
	cr_assert_gt(pushes, 4);
	cr_assert(dag_push(&w, true, 1, DAG_NONE));
	OK(bole_gc(&w.test.base, &w.test.alloc, w.store, w.repo.id, NULL, &result));
	cr_assert_gt(result.store.objects_dropped, 0);
	cr_assert_eq(load(&bitmap), BOLE_E_NOT_FOUND);
	disk_close(&disk);
}

/* Goal: no cut and no lack of memory leaves sets of objects that are gone. */
Test(bitmap, no_failure_leaves_sets_of_what_was_collected)
{
	struct disk disk;
	int tip = DAG_NONE;

	disk_open(&disk, 16 << 20);
	for (int i = 0; i < 20; i++)
		tip = dag_grow(&w, 4);
	cr_assert(dag_push(&w, true, 0, tip));
	cr_assert(dag_push(&w, true, 1, w.nodes[tip].links[0]));
	save_sets();
	cr_assert(dag_push(&w, true, 0, DAG_NONE));
	OK(bole_store_close(w.store));
	for (uint64_t n = 1; collect_badly(disk.device, tip, n, false); n++)
		;
	for (uint64_t n = 1; collect_badly(disk.device, tip, n, true); n += 1 + n / 16)
		;
	w.device = disk.device;
	OK(bole_flash_open(disk.device, &w.test.base, &w.test.alloc, NULL, &w.store));
	disk_close(&disk);
}

/* Other repositories take all places of the cache. */
static void forget_all(void)
{
	for (uint32_t i = 0; i < 100; i++)
		bole_git_cache_changed(cache, 1000 + i);
}

/* Goal: a branch goes, is collected and comes back, partly at other places. Nobody uses the sets of
 * before, neither those in memory nor those in the store, where a snapshot of before sees them. */
Test(bitmap, sets_from_before_a_collection_are_gone)
{
	struct bole_bitmap *bitmap;
	struct disk disk;
	struct bole_snapshot *before;
	int tip = DAG_NONE;

	disk_open(&disk, 32 << 20);
	w.test.manual_clock = true;
	OK(bole_git_cache_open(&w.test.base, &w.test.alloc, 64 << 20, &cache));
	for (int i = 0; i < 40; i++)
		tip = dag_grow(&w, 4);
	cr_assert(dag_push(&w, true, 0, tip));
	cr_assert(dag_push(&w, true, 1, w.nodes[tip].links[0]));
	(void)collect();
	cr_assert_null(cached());
	bitmap = make(2);
	OK(bole_bitmap_save(bitmap, NULL, w.store, w.repo.id));
	bole_bitmap_release(bitmap);
	cr_assert_eq(collect(), 0);
	OK(load(&bitmap));
	bole_bitmap_release(bitmap);
	OK(bole_snapshot_open(w.store, w.repo.id, &before));
	cr_assert(dag_push(&w, true, 0, DAG_NONE));
	cr_assert_gt(collect(), 0);
	cr_assert_null(cached());
	cr_assert_eq(load(&bitmap), BOLE_E_NOT_FOUND);
	forget_all();
	cr_assert_null(bole_git_cache_bitmap(cache, before));
	bole_snapshot_close(before);
	dag_bring_back(&w, tip);
	cr_assert(dag_push(&w, false, 0, tip));
	cr_assert_null(cached());
	bole_bitmap_release(make(100));
	bole_git_cache_close(cache);
	disk_close(&disk);
}
