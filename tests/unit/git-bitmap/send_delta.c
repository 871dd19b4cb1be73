/* SPDX-License-Identifier: ISC */
/* Deltas that are made for one request. A file of noise in records, so nothing is a delta in the
 * store; its newest version must cost little to whoever has the one before, be what it was, and go
 * out whole when the client takes no thin packs, when there is no version, and when memory fails.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "bole/limits.h"
#include "git/bitmap/bitmap.h"
#include "git/fetch/pack_emit.h"
#include "support/gcworld.h"
#include "support/packworld.h"
#include "support/suite_help.h"

enum { VERSIONS = 3, TEXT_BYTES = 6000, SMALL = 800, LARGE = 2500 };

static struct gcworld w;
static struct bole_bitmap *bitmap;
static int commits[VERSIONS];

static void noise(char *text, uint64_t seed)
{
	for (size_t i = 0; i < TEXT_BYTES; i++)
		text[i] = (char)(i % 60 == 59 ? '\n' : 'A' + test_random(&seed) % 50);
	text[TEXT_BYTES] = '\0';
}

static void fill(uint8_t algo)
{
	char text[TEXT_BYTES + 1];
	int parent = GC_NONE;

	gcworld_open(&w, NULL, algo, 5);
	noise(text, 3);
	for (int i = 0; i < VERSIONS; i++) {
		struct bole_tx *tx = gcworld_begin(&w);

		memcpy(text + 1000 * (i + 1), "changed", 7);
		int blob = gcworld_blob(&w, tx, text);
		int tree = gcworld_tree(&w, tx, &blob, 1);
		int commit = gcworld_commit(&w, tx, tree, &parent, parent == GC_NONE ? 0 : 1);
		gcworld_end(&w, tx, 0, commit);
		parent = commits[i] = commit;
	}
}

static void rebuild(void)
{
	struct bole_snapshot *snapshot;
	struct bole_bitmap *made;

	cr_assert_eq(bole_snapshot_open(w.store, w.repo.id, &snapshot), BOLE_OK);
	struct bole_bitmap_job job = {.platform = &w.test.base,
	                              .alloc = &w.test.alloc,
	                              .snapshot = snapshot,
	                              .old = bitmap};
	cr_assert_eq(bole_bitmap_build(&job, &made), BOLE_OK);
	bole_snapshot_close(snapshot);
	bole_bitmap_release(bitmap);
	bitmap = made;
}

static enum bole_status fetch(int want, int have, bool thin, struct bole_buffer *pack)
{
	struct bole_buffer_writer writer;
	struct bole_snapshot *snapshot;
	struct bole_pack_plan *plan;

	enum bole_status rc = bole_snapshot_open(w.store, w.repo.id, &snapshot);
	if (rc != BOLE_OK)
		return rc;
	struct bole_reach job = {.platform = &w.test.base,
	                         .alloc = &w.test.alloc,
	                         .snapshot = snapshot,
	                         .wants = &w.nodes[want].oid,
	                         .want_count = 1,
	                         .haves = have == GC_NONE ? NULL : &w.nodes[have].oid,
	                         .have_count = have == GC_NONE ? 0 : 1,
	                         .thin = thin,
	                         .ofs_delta = true,
	                         .bitmap = bitmap};
	pack->len = 0;
	pack->rc = BOLE_OK;
	bole_buffer_writer_init(&writer, pack);
	rc = bole_pack_plan_open(&job, &plan);
	if (rc == BOLE_OK) {
		rc = bole_pack_emit(plan, &writer.writer);
		bole_pack_plan_close(plan);
	}
	bole_snapshot_close(snapshot);
	return rc;
}

static void transfer(int want, int have, bool thin, size_t least, size_t most)
{
	struct packworld target;
	struct bole_buffer pack;

	/* The world's allocator fails on demand; what the test keeps must not. */
	packworld_open(&target, w.repo.algo, 1);
	bole_buffer_init(&pack, &target.platform.alloc, SIZE_MAX);
	if (have != GC_NONE) {
		cr_assert_eq(fetch(have, GC_NONE, thin, &pack), BOLE_OK);
		cr_assert_eq(packworld_push(&target, pack.ptr, pack.len, NULL, NULL), BOLE_OK);
	}
	cr_assert_eq(fetch(want, have, thin, &pack), BOLE_OK);
	cr_assert_geq(pack.len, least);
	cr_assert_leq(pack.len, most);
	cr_assert_eq(packworld_push(&target, pack.ptr, pack.len, NULL, NULL), BOLE_OK, "%s",
	             target.report.error);
	(void)packworld_verify(&target);
	bole_buffer_release(&pack);
	packworld_close(&target);
}

static void release(void)
{
	bole_bitmap_release(bitmap);
	bitmap = NULL;
	gcworld_close(&w);
}

Test(send_delta, a_new_version_costs_what_has_changed)
{
	for (uint8_t algo = BOLE_HASH_SHA1; algo <= BOLE_HASH_SHA256; algo++) {
		fill(algo);
		rebuild();
		transfer(commits[2], commits[1], true, 1, SMALL);
		transfer(commits[2], commits[0], true, 1, 2 * SMALL);
		transfer(commits[2], commits[1], false, LARGE, TEXT_BYTES);
		transfer(commits[2], GC_NONE, true, LARGE, SIZE_MAX);
		release();
	}
}

/* Goal: names survive the store and further building, and an index that is behind does no harm. */
Test(send_delta, what_the_index_does_not_know_goes_whole)
{
	struct bole_snapshot *snapshot;
	struct bole_bitmap *loaded;

	fill(test_algo());
	rebuild();
	rebuild();
	cr_assert_eq(bole_bitmap_save(bitmap, NULL, w.store, w.repo.id), BOLE_OK);
	cr_assert_eq(bole_snapshot_open(w.store, w.repo.id, &snapshot), BOLE_OK);
	cr_assert_eq(bole_bitmap_load(&w.test.base, &w.test.alloc, snapshot, &loaded), BOLE_OK);
	bole_snapshot_close(snapshot);
	bole_bitmap_release(bitmap);
	bitmap = loaded;
	transfer(commits[2], commits[1], true, 1, SMALL);

	struct bole_tx *tx = gcworld_begin(&w);
	char text[TEXT_BYTES + 1];
	noise(text, 4);
	int blob = gcworld_blob(&w, tx, text);
	int tree = gcworld_tree(&w, tx, &blob, 1);
	int commit = gcworld_commit(&w, tx, tree, &commits[2], 1);
	gcworld_end(&w, tx, 0, commit);
	transfer(commit, commits[2], true, LARGE, TEXT_BYTES);
	rebuild();
	transfer(commit, commits[2], true, LARGE, TEXT_BYTES); /* nothing in common */
	transfer(commits[2], commits[1], true, 1, SMALL);
	release();
}

Test(send_delta, a_failed_allocation_costs_at_most_the_delta)
{
	struct packworld target;
	struct bole_buffer pack, first;
	unsigned smaller = 0, larger = 0;
	bool done = false;

	fill(test_algo());
	rebuild();
	packworld_open(&target, w.repo.algo, 1);
	bole_buffer_init(&pack, &target.platform.alloc, SIZE_MAX);
	bole_buffer_init(&first, &target.platform.alloc, SIZE_MAX);
	cr_assert_eq(fetch(commits[1], GC_NONE, true, &first), BOLE_OK);
	for (uint64_t n = 1; !done; n++) {
		struct packworld taker;
		size_t blocks = w.test.blocks;

		w.test.fail_at = w.test.grows + n;
		enum bole_status rc = fetch(commits[2], commits[1], true, &pack);
		done = w.test.grows < w.test.fail_at;
		w.test.fail_at = 0;
		cr_assert_eq(w.test.blocks, blocks);
		cr_assert(rc == BOLE_OK || rc == BOLE_E_NO_MEMORY, "%d", (int)rc);
		if (rc != BOLE_OK)
			continue;
		smaller += pack.len <= SMALL;
		larger += pack.len > SMALL;
		packworld_open(&taker, w.repo.algo, 1);
		cr_assert_eq(packworld_push(&taker, first.ptr, first.len, NULL, NULL), BOLE_OK);
		cr_assert_eq(packworld_push(&taker, pack.ptr, pack.len, NULL, NULL), BOLE_OK);
		packworld_close(&taker);
	}
	cr_assert_gt(smaller, 0);
	cr_assert_gt(larger, 0);
	bole_buffer_release(&pack);
	bole_buffer_release(&first);
	packworld_close(&target);
	release();
}
