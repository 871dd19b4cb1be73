/* SPDX-License-Identifier: ISC */
/* What a collection keeps and what it removes, on a graph that the test knows. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/memory.h"
#include "bole/devices.h"
#include "support/gcworld.h"
#include "support/packmaker.h"
#include "support/suite_help.h"

static struct gcworld w;

static void open_world(uint64_t seed)
{
	gcworld_open(&w, NULL, test_algo(), seed);
}

static void collect(struct bole_gc_result *result)
{
	enum bole_status rc = gcworld_collect(&w, NULL, result);

	cr_assert_eq(rc, BOLE_OK, "%s", result->error);
}

Test(gc, a_deleted_branch_goes_and_what_others_reach_stays)
{
	struct bole_gc_result result;

	open_world(1);
	int main_tip = gcworld_write(&w, 0, GC_NONE, 10);
	gcworld_write(&w, 1, main_tip, 5);
	gcworld_write(&w, 2, main_tip, 7);
	collect(&result);
	cr_assert_eq(result.store.objects_dropped, 0);
	cr_assert_eq(gcworld_check(&w, true), 22 * 6);
	gcworld_delete(&w, 1);
	collect(&result);
	cr_assert_eq(result.store.objects_dropped, 5 * 6);
	cr_assert_eq(result.store.objects_live, 17 * 6);
	cr_assert_eq(result.commits, 17);
	cr_assert_eq(result.trees, 34);
	cr_assert_eq(result.blobs, 51);
	cr_assert_eq(gcworld_check(&w, true), 17 * 6);
	/* The branch that others stand on may go. */
	gcworld_delete(&w, 0);
	collect(&result);
	cr_assert_eq(result.store.objects_dropped, 0);
	gcworld_delete(&w, 2);
	collect(&result);
	cr_assert_eq(result.store.objects_live, 0);
	cr_assert_eq(gcworld_check(&w, true), 0);
	gcworld_close(&w);
}

Test(gc, tags_keep_what_they_name_whatever_it_is)
{
	struct bole_gc_result result;

	open_world(2);
	struct bole_tx *tx = gcworld_begin(&w);
	int blob = gcworld_blob(&w, tx, "one");
	int files[2] = {blob, gcworld_blob(&w, tx, "two")};
	int tree = gcworld_tree(&w, tx, files, 2);
	int lonely = gcworld_blob(&w, tx, "three");
	int commit = gcworld_commit(&w, tx, tree, NULL, 0);
	int of_commit = gcworld_tag(&w, tx, commit);
	int of_tag = gcworld_tag(&w, tx, of_commit);
	int of_tree = gcworld_tag(&w, tx, tree);
	int of_blob = gcworld_tag(&w, tx, lonely);
	(void)gcworld_blob(&w, tx, "garbage");
	gcworld_end(&w, tx, 1, of_tag);
	gcworld_end(&w, gcworld_begin(&w), 2, of_tree);
	gcworld_end(&w, gcworld_begin(&w), 3, of_blob);
	collect(&result);
	cr_assert_eq(result.tags, 4);
	cr_assert_eq(result.store.objects_dropped, 1);
	gcworld_delete(&w, 1);
	collect(&result);
	cr_assert_not(gcworld_has(&w, commit));
	cr_assert(gcworld_has(&w, tree));
	cr_assert(gcworld_has(&w, lonely));
	gcworld_delete(&w, 2);
	collect(&result);
	cr_assert_not(gcworld_has(&w, tree));
	cr_assert_eq(result.store.objects_live, 2);
	gcworld_close(&w);
}

/* The base is a tree that no reference reaches: what it links to has to stay with it, because a
 * push may rely on an object that it finds. */
Test(gc, a_delta_base_stays_with_all_that_it_reaches)
{
	struct maker_bytes old_tree = {0};
	struct maker_bytes new_tree = {0};
	struct maker_bytes delta = {0};
	struct bole_gc_result result;
	struct bole_oid oid;

	open_world(3);
	struct bole_tx *tx = gcworld_begin(&w);
	int one = gcworld_blob(&w, tx, "one");
	int two = gcworld_blob(&w, tx, "two");
	int both[2] = {one, two};
	int base = gcworld_tree(&w, tx, both, 2);
	tree_entry(&old_tree, "100644", "n00", &w.nodes[one].oid);
	tree_entry(&old_tree, "100644", "n01", &w.nodes[two].oid);
	tree_entry(&new_tree, "100644", "n00", &w.nodes[one].oid);
	delta_begin(&delta, old_tree.len, new_tree.len);
	delta_copy(&delta, 0, (uint32_t)new_tree.len);
	struct packmaker pack;
	packmaker_init(&pack, test_algo());
	uint64_t at = packmaker_ref(&pack, &w.nodes[base].oid, &delta);
	cr_assert_eq(bole_object_id(test_algo(), BOLE_OBJECT_TREE,
	                            bole_bytes_of(new_tree.ptr, new_tree.len), false, &oid),
	             BOLE_OK);
	struct bole_bytes piece = bole_bytes_of(pack.out.ptr + at, pack.out.len - at);
	cr_assert_eq(bole_tx_put(tx, &oid, BOLE_OBJECT_TREE, &piece, 1), BOLE_OK);
	int tree = gcworld_tree(&w, tx, both, 1);
	cr_assert(bole_oid_equal(&w.nodes[tree].oid, &oid));
	w.nodes[tree].base = base;
	int commit = gcworld_commit(&w, tx, tree, NULL, 0);
	(void)gcworld_blob(&w, tx, "garbage");
	gcworld_end(&w, tx, 0, commit);
	collect(&result);
	cr_assert_eq(result.store.objects_dropped, 1);
	cr_assert(gcworld_has(&w, base));
	cr_assert(gcworld_has(&w, two));
	cr_assert_eq(gcworld_check(&w, true), 5);
	packmaker_release(&pack);
	maker_release(&old_tree);
	maker_release(&new_tree);
	maker_release(&delta);
	gcworld_close(&w);
}

/* In the pack: a, b on a, c on b. b is a record already, so no lookup leads to the b that c needs,
 * nor from it to a. */
Test(gc, a_base_that_no_lookup_returns_keeps_its_own_base)
{
	static const char *const text[3] = {"a", "ab", "abc"};
	struct bole_extent_row rows[3];
	struct bole_gc_result result;
	struct packmaker pack;
	uint64_t extent;
	int blobs[3];

	open_world(13);
	packmaker_init(&pack, test_algo());
	for (int i = 0; i < 3; i++) {
		struct maker_bytes delta = {0};
		struct bole_oid oid;

		cr_assert_eq(bole_object_id(test_algo(), BOLE_OBJECT_BLOB, bole_bytes_z(text[i]),
		                            false, &oid),
		             BOLE_OK);
		uint64_t at;
		if (i == 0) {
			at = packmaker_object(&pack, BOLE_OBJECT_BLOB, text[0], 1, NULL);
		} else {
			delta_begin(&delta, (uint64_t)i, (uint64_t)i + 1);
			delta_copy(&delta, 0, (uint32_t)i);
			delta_insert(&delta, text[i] + i, 1);
			at = packmaker_ofs(&pack, rows[i - 1].offset, &delta);
			maker_release(&delta);
		}
		rows[i] = (struct bole_extent_row){oid, BOLE_OBJECT_BLOB, at, pack.out.len - at};
	}
	struct bole_tx *tx = gcworld_begin(&w);
	blobs[1] = gcworld_blob(&w, tx, text[1]);
	gcworld_end(&w, tx, 1, GC_NONE);
	tx = gcworld_begin(&w);
	OK(bole_tx_extent_begin(tx, &extent));
	OK(bole_tx_extent_append(tx, bole_bytes_of(pack.out.ptr, pack.out.len)));
	OK(bole_tx_extent_finish(tx, rows, 3));
	blobs[0] = gcworld_blob(&w, tx, text[0]);
	blobs[2] = gcworld_blob(&w, tx, text[2]);
	int tree = gcworld_tree(&w, tx, &blobs[2], 1);
	gcworld_end(&w, tx, 0, gcworld_commit(&w, tx, tree, NULL, 0));
	collect(&result);
	cr_assert_eq(result.store.objects_dropped, 0);
	cr_assert(gcworld_has(&w, blobs[0]));
	cr_assert_eq(gcworld_check(&w, false), 5);
	packmaker_release(&pack);
	gcworld_close(&w);
}

Test(gc, a_missing_link_ends_it_and_nothing_is_removed)
{
	struct bole_gc_result result;

	for (int what = 0; what < 3; what++) {
		open_world(4);
		struct bole_tx *tx = gcworld_begin(&w);
		int garbage = gcworld_blob(&w, tx, "garbage");
		int blob = gcworld_blob(&w, tx, "here");
		int files[2] = {blob, blob};
		/* A node of which the store knows nothing. */
		struct bole_tx *other = gcworld_begin(&w);
		int missing = what == 0 ? gcworld_blob(&w, other, "missing")
		                        : gcworld_tree(&w, other, files, 2);
		bole_tx_abort(other);
		files[1] = missing;
		int tree = gcworld_tree(&w, tx, files, 2);
		int commit = gcworld_commit(&w, tx, what == 2 ? missing : tree, NULL, 0);
		gcworld_end(&w, tx, 0, commit);
		cr_assert_eq(gcworld_collect(&w, NULL, &result), BOLE_E_CORRUPT);
		cr_assert_not_null(strstr(result.error, "which is missing"), "%s", result.error);
		cr_assert(gcworld_has(&w, garbage));
		/* It can be tried again. */
		cr_assert_eq(gcworld_collect(&w, NULL, &result), BOLE_E_CORRUPT);
		gcworld_close(&w);
	}
}

Test(gc, a_submodule_is_not_followed)
{
	struct maker_bytes text = {0};
	struct bole_gc_result result;
	struct bole_oid oid;

	open_world(5);
	struct bole_tx *tx = gcworld_begin(&w);
	int blob = gcworld_blob(&w, tx, "x");
	(void)gcworld_blob(&w, tx, "garbage");
	memset(&oid, 0, sizeof oid);
	oid = w.nodes[blob].oid;
	tree_entry(&text, "100644", "a", &oid);
	oid.bytes[3] ^= 1;
	tree_entry(&text, "160000", "b", &oid);
	struct packmaker pack;
	packmaker_init(&pack, test_algo());
	uint64_t at = packmaker_object(&pack, BOLE_OBJECT_TREE, text.ptr, text.len, &oid);
	struct bole_bytes piece = bole_bytes_of(pack.out.ptr + at, pack.out.len - at);
	cr_assert_eq(bole_tx_put(tx, &oid, BOLE_OBJECT_TREE, &piece, 1), BOLE_OK);
	struct bole_ref_update update = suite_set("refs/heads/x", &oid);
	suite_commit(tx, &update, 1);
	collect(&result);
	cr_assert_eq(result.store.objects_live, 2);
	cr_assert_eq(result.store.objects_dropped, 1);
	packmaker_release(&pack);
	maker_release(&text);
	gcworld_close(&w);
}

Test(gc, random_branches_are_pushed_forced_deleted_and_collected)
{
	uint64_t seed = test_seed(6);

	for (unsigned round = 0; round < 6; round++) {
		gcworld_open(&w, NULL, round % 2 == 0 ? BOLE_HASH_SHA1 : BOLE_HASH_SHA256,
		             seed + round);
		for (unsigned step = 0; step < 30; step++) {
			struct bole_gc_result result;
			int branch = (int)(test_random(&seed) % GC_BRANCHES);
			int from = w.branch[test_random(&seed) % GC_BRANCHES];
			int commits = 1 + (int)(test_random(&seed) % 20);

			switch (test_random(&seed) % 6) {
			case 0: gcworld_delete(&w, branch); break;
			case 1: gcworld_write(&w, branch, from, commits); break;
			case 2: gcworld_push(&w, branch, from, commits * 4, true); break;
			case 3: gcworld_push(&w, branch, GC_NONE, commits, true); break;
			case 4: gcworld_push(&w, branch, from, commits, false); break;
			default:
				collect(&result);
				(void)gcworld_check(&w, true);
				break;
			}
		}
		gcworld_close(&w);
	}
}

/* A push during the walk that stands on what nobody reaches: found, or put again. */
struct during {
	unsigned calls;
	unsigned at;
	int old;      /* a commit that no branch reaches */
	bool by_pack; /* else by looking it up */
	bool done;
};

static bool push_during(void *ctx)
{
	struct during *d = ctx;

	if (d->calls++ != d->at)
		return false;
	d->done = true;
	if (gcworld_has(&w, d->old))
		(void)gcworld_push(&w, 5, d->old, 2, true);
	return false;
}

Test(gc, a_push_that_stands_on_garbage_during_the_mark_keeps_it)
{
	for (unsigned at = 0; at < 12; at++) {
		struct during d = {.at = at};
		struct bole_gc_options options = {.cancelled = push_during, .ctx = &d};
		struct bole_gc_result result;

		open_world(7);
		int tip = gcworld_push(&w, 0, GC_NONE, 250, true);
		d.old = gcworld_push(&w, 1, tip, 20, true);
		(void)gcworld_push(&w, 2, tip, 20, true);
		gcworld_delete(&w, 1);
		gcworld_delete(&w, 2);
		enum bole_status rc = gcworld_collect(&w, &options, &result);
		cr_assert_eq(rc, BOLE_OK, "%s", result.error);
		cr_assert(d.done || at > 4, "the walk asked %u times", d.calls);
		(void)gcworld_check(&w, true);
		cr_assert_eq(gcworld_has(&w, d.old), d.done);
		gcworld_close(&w);
	}
}

static bool always(void *ctx)
{
	(void)ctx;
	return true;
}

Test(gc, a_cancelled_one_removes_nothing)
{
	struct bole_gc_options options = {.cancelled = always};
	struct bole_gc_result result;

	open_world(8);
	(void)gcworld_push(&w, 0, GC_NONE, 250, true);
	int old = gcworld_push(&w, 1, GC_NONE, 20, true);
	gcworld_delete(&w, 1);
	cr_assert_eq(gcworld_collect(&w, &options, &result), BOLE_E_CLOSED);
	cr_assert(gcworld_has(&w, old));
	collect(&result);
	cr_assert_not(gcworld_has(&w, old));
	gcworld_close(&w);
}

Test(gc, an_undecided_transaction_makes_it_say_busy)
{
	struct bole_gc_result result;
	struct bole_tx_token token;

	open_world(9);
	int old = gcworld_write(&w, 1, GC_NONE, 3);
	gcworld_delete(&w, 1);
	struct bole_tx *tx = gcworld_begin(&w);
	cr_assert_eq(bole_tx_prepare(tx, &token), BOLE_OK);
	cr_assert_eq(gcworld_collect(&w, NULL, &result), BOLE_E_BUSY);
	cr_assert(gcworld_has(&w, old));
	bole_tx_abort(tx);
	collect(&result);
	cr_assert_eq(result.store.objects_live, 0);
	gcworld_close(&w);
}

Test(gc, the_walk_needs_little_memory_however_deep_the_history)
{
	struct bole_gc_options options = {.cache_bytes = 64 * 1024};
	struct bole_gc_result result;
	struct bole_budget budget;

	open_world(10);
	int tip = GC_NONE;
	for (unsigned i = 0; i < 10; i++)
		tip = gcworld_push(&w, 0, tip, 300, true);
	bole_budget_init(&budget, &w.test.alloc, SIZE_MAX);
	cr_assert_eq(bole_gc(&w.test.base, &budget.alloc, w.store, w.repo.id, &options, &result),
	             BOLE_OK);
	cr_assert_eq(result.commits, 3000);
	cr_assert_eq(atomic_load(&budget.used), 0);
	cr_assert_lt(atomic_load(&budget.peak), 512 * 1024, "%zu",
	             (size_t)atomic_load(&budget.peak));
	gcworld_close(&w);
}

Test(gc, every_failed_allocation_ends_it_and_nothing_is_removed)
{
	struct bole_gc_result result;
	bool done = false;

	open_world(11);
	(void)gcworld_write(&w, 0, GC_NONE, 2);
	int old = gcworld_write(&w, 1, GC_NONE, 2);
	gcworld_delete(&w, 1);
	for (uint64_t n = 1; !done; n++) {
		uint64_t before = w.test.grows;

		w.test.fail_at = before + n;
		enum bole_status rc = gcworld_collect(&w, NULL, &result);
		done = w.test.grows < before + n;
		w.test.fail_at = 0;
		/* Sorting does without. */
		if (rc == BOLE_OK && !gcworld_has(&w, old))
			break;
		cr_assert_eq(rc, BOLE_E_NO_MEMORY);
		cr_assert(gcworld_has(&w, old));
	}
	collect(&result);
	(void)gcworld_check(&w, true);
	gcworld_close(&w);
}

/* -- Others at work meanwhile -- */

enum { WORKERS = 3, WORK_STEPS = 60 };
static _Atomic int workers_left;

/* On a branch of its own; sometimes on top of a commit that it saw once and that may be gone. */
static void worker(void *arg)
{
	int branch = (int)(intptr_t)arg;
	uint64_t seed = (uint64_t)branch + 100;
	int seen[WORK_STEPS];
	int count = 0;

	for (int i = 0; i < WORK_STEPS; i++) {
		int from = count == 0 ? GC_NONE : seen[test_random(&seed) % (uint64_t)count];
		struct bole_entry entry;

		if (test_random(&seed) % 4 == 0) {
			gcworld_delete(&w, branch);
			continue;
		}
		struct bole_tx *tx = gcworld_begin(&w);
		pthread_mutex_lock(&w.lock);
		struct bole_oid oid = from == GC_NONE ? (struct bole_oid){.algo = test_algo()}
		                                      : w.nodes[from].oid;
		pthread_mutex_unlock(&w.lock);
		if (from != GC_NONE && bole_odb_find(tx->view, &oid, &entry) != BOLE_OK)
			from = GC_NONE;
		int blob = gcworld_blob(&w, tx, i % 3 == 0 ? "again" : "and again");
		int tree = gcworld_tree(&w, tx, &blob, 1);
		int commit = gcworld_commit(&w, tx, tree, &from, from == GC_NONE ? 0 : 1);
		gcworld_end(&w, tx, branch, commit);
		seen[count++] = commit;
	}
	workers_left--;
}

Test(gc, collections_go_on_beside_pushes_and_deletions)
{
	struct bole_gc_result result;
	unsigned collections = 0;

	open_world(12);
	(void)gcworld_push(&w, 0, GC_NONE, 50, true);
	workers_left = WORKERS;
	for (int i = 0; i < WORKERS; i++)
		cr_assert_eq(w.test.base.ops->fiber_start(&w.test.base, "worker", worker,
		                                          (void *)(intptr_t)(i + 1), 0),
		             BOLE_OK);
	do {
		collect(&result);
		collections++;
	} while (workers_left > 0);
	printf("%u collections\n", collections);
	(void)gcworld_check(&w, false);
	collect(&result);
	(void)gcworld_check(&w, true);
	gcworld_close(&w);
}
