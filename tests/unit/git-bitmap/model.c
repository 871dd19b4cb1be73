/* SPDX-License-Identifier: ISC */
/* Sets of what commits reach beside a model that walks plain tables: random histories through packs
 * and records, branches that vanish, collections, cleaning, restarts; indexes made anew and from
 * old ones, and read from the store; random wants and haves. What is picked must be exactly what
 * the wants reach and the haves do not; the pack of it must resolve, link and hash in a store that
 * has the haves. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/bytes.h"
#include "bole/block_sim.h"
#include "bole/repack.h"
#include "git/bitmap/pick.h"
#include "git/bitmap/rehearse.h"
#include "git/fetch/pack_emit.h"
#include "git/fetch/reach.h"
#include "git/negotiate.h"
#include "support/gcworld.h"
#include "support/packworld.h"
#include "support/suite_help.h"

enum { TIPS = 3 };

static struct gcworld w;
static struct bole_bitmap *bitmap;
static unsigned picks;  /* by sets */
static unsigned behind; /* with objects that came after the index */
static unsigned loads;  /* from the store */
static unsigned sums;   /* that came along */
static unsigned repacks;
static unsigned whole;   /* packs that are an extent as it is */
static unsigned wholes;  /* objects that were kept whole */
static unsigned near;    /* picks where history ends */
static unsigned refused; /* the index does not fit any more */

static void rebuild(bool afresh)
{
	struct bole_snapshot *snapshot;
	struct bole_bitmap *made = NULL;

	cr_assert_eq(bole_snapshot_open(w.store, w.repo.id, &snapshot), BOLE_OK);
	struct bole_bitmap_job job = {.platform = &w.test.base,
	                              .alloc = &w.test.alloc,
	                              .snapshot = snapshot,
	                              .old = afresh ? NULL : bitmap};
	cr_assert_eq(bole_bitmap_build(&job, &made), BOLE_OK);
	bole_snapshot_close(snapshot);
	bole_bitmap_release(bitmap);
	bitmap = made;
}

static void save_wholes(void)
{
	struct bole_snapshot *snapshot;
	struct bole_wholes made;

	cr_assert_eq(bole_snapshot_open(w.store, w.repo.id, &snapshot), BOLE_OK);
	struct bole_bitmap_job job = {
	        .platform = &w.test.base, .alloc = &w.test.alloc, .snapshot = snapshot};
	cr_assert_eq(bole_wholes_open(&made, bitmap, &w.test.alloc, WHOLES_BYTES_MAX), BOLE_OK);
	cr_assert_eq(bole_bitmap_rehearse_near(&job, bitmap, &made), BOLE_OK);
	cr_assert_eq(bole_bitmap_save(bitmap, &made, w.store, w.repo.id), BOLE_OK);
	wholes += (unsigned)(made.items.len / sizeof(struct bole_wholes_item));
	bole_wholes_close(&made);
	bole_snapshot_close(snapshot);
}

/* The index is what comes back from the store, from now on. */
static void save_and_load(void)
{
	struct bole_snapshot *snapshot;
	struct bole_bitmap *loaded;

	bool summed = atomic_load(&bitmap->sum_state) == BITMAP_SUM_SET;

	save_wholes();
	if (summed)
		cr_assert_eq(bole_bitmap_save_sum(bitmap, w.store, w.repo.id), BOLE_OK);
	cr_assert_eq(bole_snapshot_open(w.store, w.repo.id, &snapshot), BOLE_OK);
	cr_assert_eq(bole_bitmap_load(&w.test.base, &w.test.alloc, snapshot, &loaded), BOLE_OK);
	bole_snapshot_close(snapshot);
	if (summed && bitmap->sum_extent == atomic_load(&bitmap->verbatim)) {
		const uint8_t *sum = bole_bitmap_sum(loaded, bitmap->sum_extent);

		cr_assert_not_null(sum);
		cr_assert_eq(memcmp(sum, bitmap->sum, bitmap->key_bytes), 0);
		sums++;
	}
	cr_assert_eq(loaded->positions, bitmap->positions);
	cr_assert_eq(loaded->set_count, bitmap->set_count);
	cr_assert_eq(loaded->tips.len, bitmap->tips.len);
	cr_assert_eq(loaded->closure_count, bitmap->closure_count);
	cr_assert_eq(loaded->type_words > 0, bitmap->type_words > 0);
	for (uint32_t i = 0; i < loaded->positions; i++)
		cr_assert((loaded->blobs[i / 64] >> i % 64 & 1) ==
		                  (bitmap->blobs[i / 64] >> i % 64 & 1) &&
		          (loaded->trees[i / 64] >> i % 64 & 1) ==
		                  (bitmap->trees[i / 64] >> i % 64 & 1));
	if (loaded->offset_count > 0)
		cr_assert_arr_eq(loaded->offsets, bitmap->offsets,
		                 loaded->offset_count * sizeof *loaded->offsets);
	bole_bitmap_release(bitmap);
	bitmap = loaded;
	loads++;
}

/* Damaged bytes are an error, or an index that can be asked without harm. */
static void load_damaged(uint64_t *seed)
{
	uint8_t number = 0;
	struct bole_aux_key key = {BOLE_AUX_DERIVED, 1, {&number, 1}};
	struct bole_snapshot *snapshot;
	struct bole_bitmap *loaded;
	uint8_t *value;
	size_t len, failed;

	cr_assert_eq(bole_bitmap_save(bitmap, NULL, w.store, w.repo.id), BOLE_OK);
	cr_assert_eq(bole_snapshot_open(w.store, w.repo.id, &snapshot), BOLE_OK);
	cr_assert_eq(w.store->aux->get(snapshot, &key, &w.test.alloc, &value, &len), BOLE_OK);
	bole_snapshot_close(snapshot);
	for (int i = 0; i < 20; i++) {
		struct bole_tx *tx = gcworld_begin(&w);
		size_t at = test_random(seed) % (i % 2 == 0 && len > 100 ? 100 : len);
		uint8_t before = value[at];

		value[at] ^= (uint8_t)(1 + test_random(seed) % 255);
		size_t shown = i % 5 == 0 ? test_random(seed) % len + 1 : len;
		cr_assert_eq(w.store->aux->put(tx, &key, bole_bytes_of(value, shown)), BOLE_OK);
		cr_assert_eq(bole_tx_commit(tx, NULL, 0, &failed), BOLE_OK);
		value[at] = before;
		cr_assert_eq(bole_snapshot_open(w.store, w.repo.id, &snapshot), BOLE_OK);
		if (bole_bitmap_load(&w.test.base, &w.test.alloc, snapshot, &loaded) == BOLE_OK) {
			size_t words = loaded->positions / 64 + 1;
			struct bitmap_bits bits = {calloc(words, 8), words};

			for (uint32_t s = 0; s < loaded->set_count; s++)
				(void)!bole_bitmap_unite(loaded, &loaded->sets[s], &bits);
			(void)!bole_bitmap_unite(loaded, &loaded->all, &bits);
			for (uint32_t s = 0; s < loaded->closure_count; s++)
				(void)!bole_bitmap_unite_closure(loaded, &loaded->closures[s],
				                                 &bits);
			free(bits.words);
			bole_bitmap_release(loaded);
		}
		bole_snapshot_close(snapshot);
	}
	bole_alloc_free(&w.test.alloc, value, len, 1);
}

/* What nodes reach, by the model. */
static void reach_to(const int *tips, int count, const bool *ends, bool *set)
{
	int *stack = calloc((size_t)w.count * GC_LINKS_MAX + TIPS, sizeof *stack);
	int at = 0;

	cr_assert_not_null(stack);
	for (int i = 0; i < count; i++)
		stack[at++] = tips[i];
	while (at > 0) {
		int n = stack[--at];

		if (set[n])
			continue;
		set[n] = true;
		for (int i = 0; i < w.nodes[n].link_count; i++)
			if (ends == NULL || !ends[n] ||
			    w.nodes[w.nodes[n].links[i]].type != BOLE_OBJECT_COMMIT)
				stack[at++] = w.nodes[n].links[i];
	}
	free(stack);
}

static void reach(const int *tips, int count, bool *set)
{
	reach_to(tips, count, NULL, set);
}

static void oids_of(const int *tips, int count, struct bole_oid *out)
{
	for (int i = 0; i < count; i++)
		out[i] = w.nodes[tips[i]].oid;
}

/* Deltas that name their base by id: clients that read a pack once cannot follow them forwards. */
static unsigned named_bases(const struct bole_buffer *pack)
{
	uint32_t count = bole_get_be32(pack->ptr + 8);
	size_t at = 12;
	unsigned named = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct bole_entry_head head;
		uint8_t out[4096];
		z_stream z = {.next_in = NULL};
		int rc;

		cr_assert_eq(bole_entry_head_parse(bole_bytes_of(pack->ptr + at, pack->len - at),
		                                   w.repo.algo, &head),
		             BOLE_OK);
		named += head.type == BOLE_ENTRY_REF_DELTA;
		at += head.head_bytes;
		cr_assert_eq(inflateInit(&z), Z_OK);
		z.next_in = pack->ptr + at;
		z.avail_in = (uInt)(pack->len - at);
		do {
			z.next_out = out;
			z.avail_out = sizeof out;
			rc = inflate(&z, Z_NO_FLUSH);
		} while (rc == Z_OK);
		cr_assert_eq(rc, Z_STREAM_END);
		at = pack->len - z.avail_in;
		inflateEnd(&z);
	}
	return named;
}

/* Emits the pack and puts it into the target, which says whether it is whole and right. */
static void transfer_to(struct packworld *target, const struct bole_id_list *ends, const int *wants,
                        int want_count, const int *haves, int have_count, uint64_t expected)
{
	struct bole_oid want[GC_BRANCHES + TIPS], have[TIPS];
	struct bole_buffer_writer writer;
	struct bole_buffer pack;
	struct bole_snapshot *snapshot;
	struct bole_pack_plan *plan;

	oids_of(wants, want_count, want);
	oids_of(haves, have_count, have);
	cr_assert_eq(bole_snapshot_open(w.store, w.repo.id, &snapshot), BOLE_OK);
	struct bole_reach job = {.platform = &w.test.base,
	                         .alloc = &w.test.alloc,
	                         .snapshot = snapshot,
	                         .wants = want,
	                         .want_count = (size_t)want_count,
	                         .haves = have,
	                         .have_count = (size_t)have_count,
	                         .grafts = ends,
	                         .thin = true,
	                         .ofs_delta = true,
	                         .bitmap = bitmap};
	bole_buffer_init(&pack, &w.test.alloc, SIZE_MAX);
	bole_buffer_writer_init(&writer, &pack);
	cr_assert_eq(bole_pack_plan_open(&job, &plan), BOLE_OK);
	if (expected != 0)
		cr_assert_eq(bole_pack_plan_objects(plan), expected);
	cr_assert_eq(bole_pack_emit(plan, &writer.writer), BOLE_OK);
	if (plan->pick != NULL && have_count == 0)
		cr_assert_eq(named_bases(&pack), 0);
	bole_pack_plan_close(plan);
	bole_snapshot_close(snapshot);
	enum bole_status rc = packworld_push(target, pack.ptr, pack.len, NULL, &want[0]);
	cr_assert_eq(rc, BOLE_OK, "%s", target->report.error);
	bole_buffer_release(&pack);
}

static void transfer(struct packworld *target, const int *wants, int want_count, const int *haves,
                     int have_count, uint64_t expected)
{
	transfer_to(target, NULL, wants, want_count, haves, have_count, expected);
}

/* The pick itself, object by object. */
static bool check_pick(const struct bole_id_list *ends, const int *wants, int want_count,
                       const int *haves, int have_count, const bool *send, unsigned without)
{
	struct bole_oid want[GC_BRANCHES + TIPS], have[TIPS];
	struct bole_snapshot *snapshot;
	struct bole_pick *pick;
	uint64_t count = 0;

	oids_of(wants, want_count, want);
	oids_of(haves, have_count, have);
	cr_assert_eq(bole_snapshot_open(w.store, w.repo.id, &snapshot), BOLE_OK);
	struct bole_pick_job job = {.platform = &w.test.base,
	                            .alloc = &w.test.alloc,
	                            .snapshot = snapshot,
	                            .bitmap = bitmap,
	                            .wants = want,
	                            .want_count = (size_t)want_count,
	                            .haves = have,
	                            .have_count = (size_t)have_count,
	                            .ends = ends,
	                            .no_blobs = without > 0,
	                            .no_trees = without > 1};
	enum bole_status rc = bole_pick_open(&job, &pick);
	if (rc == BOLE_E_NOT_FOUND) {
		bole_snapshot_close(snapshot);
		refused++; /* after a restart or a collection */
		return false;
	}
	cr_assert_eq(rc, BOLE_OK);
	for (int i = 0; i < w.count; i++) {
		uint32_t position;

		bool left_out = (without > 0 && w.nodes[i].type == BOLE_OBJECT_BLOB) ||
		                (without > 1 && w.nodes[i].type == BOLE_OBJECT_TREE);
		bool expected = send[i] && !left_out;
		count += expected;
		cr_assert_eq(bole_pick_position(pick, &w.nodes[i].oid, &position), BOLE_OK);
		bool in = position != BITMAP_NONE && bitmap_has(&pick->send, position);
		cr_assert_eq(in, expected, "node %d of type %u", i, w.nodes[i].type);
	}
	cr_assert_eq(pick->count, count);
	picks++;
	behind += pick->walk.extra_count > 0;
	bole_pick_close(pick);
	bole_snapshot_close(snapshot);
	return true;
}

static void compare(uint64_t *seed)
{
	int wants[GC_BRANCHES + TIPS], haves[TIPS];
	int want_count = 0, have_count = 0;
	bool *live = calloc((size_t)w.count + 1, 1);
	bool *send = calloc((size_t)w.count + 1, 1);
	bool *have = calloc((size_t)w.count + 1, 1);
	bool all = test_random(seed) % 3 == 0;

	cr_assert(live != NULL && send != NULL && have != NULL);
	for (int i = 0; i < GC_BRANCHES; i++) {
		bool again = false;
		if (w.branch[i] == GC_NONE)
			continue;
		reach(&w.branch[i], 1, live);
		for (int k = 0; k < want_count; k++)
			again |= wants[k] == w.branch[i];
		if (!again && (all || test_random(seed) % 4 == 0))
			wants[want_count++] = w.branch[i];
	}
	/* Anything live may be there already. */
	for (int tries = 0; tries < 200 && w.count > 0 && !all; tries++) {
		int n = (int)(test_random(seed) % (uint64_t)w.count);
		if (live[n] && have_count < TIPS && w.nodes[n].type == BOLE_OBJECT_COMMIT &&
		    tries % 50 == 0)
			haves[have_count++] = n;
	}
	uint64_t count = 0;
	reach(haves, have_count, have);
	reach(wants, want_count, send);
	for (int i = 0; i < w.count; i++) {
		send[i] = send[i] && !have[i];
		count += send[i];
	}
	if (want_count > 0) {
		bool picked = check_pick(NULL, wants, want_count, haves, have_count, send, 0);
		(void)check_pick(NULL, wants, want_count, haves, have_count, send, 1);
		(void)check_pick(NULL, wants, want_count, haves, have_count, send, 2);
		struct packworld target;

		packworld_open(&target, w.repo.algo, 1);
		if (have_count > 0)
			transfer(&target, haves, have_count, NULL, 0, 0);
		transfer(&target, wants, want_count, haves, have_count, picked ? count : 0);
		(void)packworld_verify(&target);
		packworld_close(&target);
		/* Again, with what the first time has found out. */
		if (have_count == 0) {
			packworld_open(&target, w.repo.algo, 1);
			transfer(&target, wants, want_count, NULL, 0, picked ? count : 0);
			packworld_close(&target);
		}
	}
	free(live);
	free(send);
	free(have);
}

/* A node among the ends of history. */
static void end_at(struct bole_id_list *ends, bool *at, int node)
{
	at[node] = true;
	cr_assert_eq(bole_id_list_add_once(ends, &w.nodes[node].oid, SIZE_MAX), BOLE_OK);
}

/* History ends at a tip, or at its parents, and at what the receiver has, which is a clone of the
 * same kind, of something older. */
static void compare_near(uint64_t *seed)
{
	int want = w.branch[test_random(seed) % GC_BRANCHES];
	int have = w.branch[test_random(seed) % GC_BRANCHES];
	bool deeper = test_random(seed) % 3 == 0;
	struct bole_id_list ends;
	struct packworld target;

	for (int i = 0; i < GC_BRANCHES && want == GC_NONE; i++)
		want = w.branch[i];
	if (want == GC_NONE || w.nodes[want].type != BOLE_OBJECT_COMMIT)
		return;
	if (have != GC_NONE && (w.nodes[have].type != BOLE_OBJECT_COMMIT || have == want ||
	                        test_random(seed) % 2 == 0))
		have = GC_NONE;
	bool *end = calloc((size_t)w.count + 1, 1);
	bool *send = calloc((size_t)w.count + 1, 1);
	bool *had = calloc((size_t)w.count + 1, 1);
	uint64_t count = 0;

	cr_assert(end != NULL && send != NULL && had != NULL);
	bole_id_list_init(&ends, &w.test.base, &w.test.alloc, w.repo.algo);
	if (have != GC_NONE)
		end_at(&ends, end, have);
	for (int i = 0; i < w.nodes[want].link_count && deeper; i++)
		if (w.nodes[w.nodes[want].links[i]].type == BOLE_OBJECT_COMMIT)
			end_at(&ends, end, w.nodes[want].links[i]);
	if (!deeper || ends.count == 0)
		end_at(&ends, end, want);
	reach_to(&have, have == GC_NONE ? 0 : 1, end, had);
	reach_to(&want, 1, end, send);
	for (int i = 0; i < w.count; i++) {
		send[i] = send[i] && !had[i];
		count += send[i];
	}
	int haves = have == GC_NONE ? 0 : 1;
	bool picked = check_pick(&ends, &want, 1, &have, haves, send, 0);
	(void)check_pick(&ends, &want, 1, &have, haves, send, 1 + test_random(seed) % 2);
	near += picked;
	packworld_open(&target, w.repo.algo, 1);
	target.shallow = &ends;
	if (haves > 0)
		transfer_to(&target, &ends, &have, 1, NULL, 0, 0);
	transfer_to(&target, &ends, &want, 1, &have, haves, picked ? count : 0);
	(void)packworld_verify(&target);
	packworld_close(&target);
	bole_id_list_release(&ends);
	free(end);
	free(send);
	free(had);
}

static void step(uint64_t *seed)
{
	const struct bole_repack_options all = {.all = true, .fresh = test_random(seed) % 2 == 0};
	struct bole_repack_result repacked;
	enum bole_status rc;
	int branch = (int)(test_random(seed) % GC_BRANCHES);
	int from = w.branch[test_random(seed) % GC_BRANCHES];
	int commits = 1 + (int)(test_random(seed) % 12);
	struct bole_maintain_options eager = {.eagerness = 2};
	struct bole_gc_result result;

	switch (test_random(seed) % 12) {
	case 0: gcworld_delete(&w, branch); break;
	case 1: gcworld_write(&w, branch, from, commits); break;
	case 2:
	case 3: gcworld_push(&w, branch, from, commits * 6, true); break;
	case 4: gcworld_push(&w, 0, w.branch[0], commits * 12, true); break;
	case 5: gcworld_write(&w, 0, w.branch[0], commits); break;
	case 6:
		if (test_random(seed) % 2 == 0) {
			cr_assert_eq(gcworld_collect(&w, NULL, &result), BOLE_OK);
			break;
		}
		rc = bole_repack(&w.test.base, &w.test.alloc, w.store, w.repo.id, &all, &repacked);
		repacks += rc == BOLE_OK;
		cr_assert(rc == BOLE_OK || rc == BOLE_END || rc == BOLE_E_UNSUPPORTED, "%s",
		          repacked.error);
		/* What bases are is another matter now: any that live need no other. */
		for (int i = 0; rc == BOLE_OK && i < w.count; i++)
			w.nodes[i].base = GC_NONE;
		break;
	case 7:
		for (int i = 0; i < 30; i++)
			if (bole_store_maintain(w.store, &eager, NULL) != BOLE_OK)
				break;
		break;
	case 8:
		rebuild(test_random(seed) % 3 == 0);
		if (test_random(seed) % 4 == 0)
			load_damaged(seed);
		save_and_load();
		compare(seed);
		compare_near(seed);
		break;
	case 9: /* one pack, and all of it */
		for (int i = 0; i < GC_BRANCHES; i++)
			if (w.branch[i] != GC_NONE)
				gcworld_delete(&w, i);
		cr_assert_eq(gcworld_collect(&w, NULL, &result), BOLE_OK);
		gcworld_push(&w, 0, GC_NONE, 150, true);
		rebuild(true);
		compare(seed);
		whole += bitmap->sum_state == BITMAP_SUM_SET;
		compare(seed);
		save_and_load();
		compare(seed);
		break;
	default:
		if (bitmap == NULL)
			rebuild(true);
		compare(seed);
		compare_near(seed);
		compare_near(seed);
	}
}

static void play(const char *geometry, uint8_t algo, uint64_t seed, unsigned steps)
{
	struct bole_block_sim_options options;
	struct bole_block *device = NULL;
	struct test_platform test;

	test_platform_init(&test, seed);
	if (geometry != NULL) {
		cr_assert_eq(bole_block_sim_geometry(geometry, &options), BOLE_OK);
		if (options.size_bytes > 16 << 20)
			options.size_bytes = 16 << 20;
		options.seed = seed;
		cr_assert_eq(bole_block_sim_open(&test.alloc, &options, &device), BOLE_OK);
	}
	gcworld_open(&w, device, algo, seed);
	for (unsigned i = 0; i < steps; i++)
		step(&seed);
	bole_bitmap_release(bitmap);
	bitmap = NULL;
	gcworld_close(&w);
	if (device != NULL)
		bole_block_close(device);
	test_platform_release(&test);
}

Test(bitmap, what_is_picked_is_what_the_walk_of_a_model_reaches)
{
	uint64_t seed = test_seed(61);

	play(NULL, BOLE_HASH_SHA1, seed, 50);
	play("virtio", BOLE_HASH_SHA1, seed + 1, 80);
	play("nor4k", BOLE_HASH_SHA256, seed + 2, 60);
	fprintf(stderr,
	        "%u picks, %u of them of newer objects, %u near, %u without the index, %u whole\n",
	        picks, behind, near, refused, wholes);
	cr_assert_gt(picks, 20);
	cr_assert_gt(behind, 3);
	cr_assert_gt(whole, 0);
	cr_assert_gt(loads, 2);
	cr_assert_gt(sums, 0);
	cr_assert_gt(wholes, 0);
	cr_assert_gt(near, 20);
	cr_assert_gt(repacks, 0);
}

/* Goal: an index of nothing has a set, but no bytes that it could lie in. */
Test(bitmap, the_set_of_an_empty_repository_is_empty)
{
	struct bole_bitmap b = {.all = {.base = BITMAP_NONE}};
	uint64_t word = 0;
	struct bitmap_bits bits = {&word, 1};

	cr_assert_eq(bole_bitmap_unite(&b, &b.all, &bits), BOLE_OK);
	cr_assert_eq(word, 0);
}
