/* SPDX-License-Identifier: ISC */
/* Memory that ends while sets, closures and what is kept whole are made, kept, read and sent: a
 * status, no leak, and the next one that has memory succeeds. */
#include <criterion/criterion.h>
#include <string.h>

#include "bole/block_sim.h"
#include "git/bitmap/rehearse.h"
#include "git/fetch/pack_emit.h"
#include "git/negotiate.h"
#include "support/gcworld.h"
#include "support/suite_help.h"

static struct gcworld w;
static struct bole_snapshot *snapshot;
static struct bole_bitmap *bitmap;

static enum bole_status build(void)
{
	struct bole_bitmap_job job = {
	        .platform = &w.test.base, .alloc = &w.test.alloc, .snapshot = snapshot};

	bole_bitmap_release(bitmap);
	return bole_bitmap_build(&job, &bitmap);
}

static enum bole_status save(void)
{
	struct bole_bitmap_job job = {
	        .platform = &w.test.base, .alloc = &w.test.alloc, .snapshot = snapshot};
	struct bole_wholes wholes;
	enum bole_status rc = bole_wholes_open(&wholes, bitmap, &w.test.alloc, WHOLES_BYTES_MAX);

	if (rc == BOLE_OK)
		rc = bole_bitmap_rehearse_near(&job, bitmap, &wholes);
	if (rc == BOLE_OK)
		rc = bole_bitmap_save(bitmap, &wholes, w.store, w.repo.id);
	if (rc == BOLE_OK)
		cr_assert_gt(wholes.items.len, 0);
	bole_wholes_close(&wholes);
	return rc;
}

static enum bole_status load(void)
{
	struct bole_bitmap *loaded;
	enum bole_status rc = bole_bitmap_load(&w.test.base, &w.test.alloc, snapshot, &loaded);

	if (rc == BOLE_OK) {
		bole_bitmap_release(bitmap);
		bitmap = loaded;
	}
	return rc;
}

/* A clone of depth 1. */
static enum bole_status fetch(struct bole_buffer *pack)
{
	struct bole_oid tip = w.nodes[w.branch[0]].oid;
	struct bole_buffer_writer writer;
	struct bole_pack_plan *plan = NULL;
	struct bole_id_list ends;

	bole_id_list_init(&ends, &w.test.base, &w.test.alloc, w.repo.algo);
	enum bole_status rc = bole_id_list_add_once(&ends, &tip, 1);
	struct bole_reach job = {.platform = &w.test.base,
	                         .alloc = &w.test.alloc,
	                         .snapshot = snapshot,
	                         .wants = &tip,
	                         .want_count = 1,
	                         .grafts = &ends,
	                         .ofs_delta = true,
	                         .bitmap = bitmap};
	pack->len = 0;
	pack->rc = BOLE_OK;
	bole_buffer_writer_init(&writer, pack);
	if (rc == BOLE_OK)
		rc = bole_pack_plan_open(&job, &plan);
	if (rc == BOLE_OK)
		rc = bole_pack_emit(plan, &writer.writer);
	bole_pack_plan_close(plan);
	bole_id_list_release(&ends);
	return rc;
}

static enum bole_status fetch_away(void)
{
	struct bole_buffer pack;

	bole_buffer_init(&pack, &w.test.alloc, SIZE_MAX);
	enum bole_status rc = fetch(&pack);
	/* The header, an entry at least, and the trailer. */
	if (rc == BOLE_OK)
		cr_assert_gt(pack.len, 32);
	bole_buffer_release(&pack);
	return rc;
}

/* Every allocation of it fails once, then all from there on. */
static unsigned each_fails(enum bole_status (*run)(void))
{
	unsigned failed = 0;

	for (int after = 0; after < 2; after++) {
		for (uint64_t n = 1;; n += 1 + n / 16) {
			uint64_t before = w.test.grows;

			w.test.fail_after = after != 0;
			w.test.fail_at = before + n;
			enum bole_status rc = run();
			bool met = w.test.grows >= before + n;
			w.test.fail_at = 0;
			w.test.fail_after = false;
			cr_assert(rc == BOLE_OK || rc == BOLE_E_NO_MEMORY || rc == BOLE_E_NOT_FOUND,
			          "%d", rc);
			failed += rc != BOLE_OK;
			if (!met)
				break;
		}
	}
	cr_assert_eq(run(), BOLE_OK);
	return failed;
}

Test(bitmap_faults, without_memory_nothing_is_made_and_nothing_is_lost)
{
	struct bole_block_sim_options options;
	struct bole_block *device;
	struct test_platform test;
	uint64_t seed = test_seed(5);

	test_platform_init(&test, seed);
	cr_assert_eq(bole_block_sim_geometry("virtio", &options), BOLE_OK);
	options.size_bytes = 16 << 20;
	cr_assert_eq(bole_block_sim_open(&test.alloc, &options, &device), BOLE_OK);
	gcworld_open(&w, device, test_algo(), seed);
	gcworld_push(&w, 0, GC_NONE, 150, true);
	gcworld_push(&w, 0, w.branch[0], 40, true);
	gcworld_push(&w, 1, w.branch[0], 20, true);
	cr_assert_eq(bole_snapshot_open(w.store, w.repo.id, &snapshot), BOLE_OK);
	cr_assert_gt(each_fails(build), 5);
	cr_assert_eq(save(), BOLE_OK);
	bole_snapshot_close(snapshot);
	cr_assert_eq(bole_snapshot_open(w.store, w.repo.id, &snapshot), BOLE_OK);
	cr_assert_gt(each_fails(load), 5);
	cr_assert_gt(each_fails(fetch_away), 5);
	cr_assert_gt(each_fails(save), 5);
	bole_snapshot_close(snapshot);
	bole_bitmap_release(bitmap);
	gcworld_close(&w);
	bole_block_close(device);
	test_platform_release(&test);
}
