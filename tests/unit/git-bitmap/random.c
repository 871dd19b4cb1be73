/* SPDX-License-Identifier: ISC */
/* What a fetch sends, beside a walk of all objects that shares no code with it. Random histories
 * (support/dagworld.h) are pushed, amended, deleted, brought back, collected, repacked, cleaned,
 * reopened; indexes of sets are made from nothing and from older ones, cut in the middle, starved
 * of memory, kept in the store and read when they are old; fetches with random wants, haves, ends
 * of history and filters are planned on one state of the store and sent on another. Every pack is
 * taken apart here: each object once, each delta on a base that the receiver has, all that it lacks
 * and, where sets answered, nothing else.
 *
 * SEED and EPISODES (of STEPS) in the environment make it another run or a longer one. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "bole/block_sim.h"
#include "bole/gc.h"
#include "bole/repack.h"
#include "git/bitmap/pick.h"
#include "git/bitmap/rehearse.h"
#include "git/fetch/pack_emit.h"
#include "git/fetch/reach.h"
#include "git/negotiate.h"
#include "support/dagpack.h"
#include "support/dagworld.h"
#include "support/suite_help.h"

enum { STEPS = 60, WANTS_MAX = DAG_REFS, HAVES_MAX = 4, ENDS_MAX = 4, SPARE = 1 << 14 };

static struct dagworld w;
static struct bole_bitmap *bitmap;

/* How often each kind of thing happened. */
static struct {
	unsigned fetches, picks, near, tags, filtered, all, deltas, thin, verbatim, moved;
	unsigned builds, starved, cut, loads, stale, gone, repacks, collections, back, lacking,
	        races, full;
} seen;

/* One fetch. */
struct request {
	int wants[WANTS_MAX];
	int want_count;
	int haves[HAVES_MAX];
	int have_count;
	struct bole_id_list ends;
	bool *end; /* by node; NULL: history has none */
	struct bole_filter filter;
	bool filtered;
	bool tags;
	bool thin;
	bool ofs;
};

/* A flag for each node, also of those that come soon. */
static bool *flags(void)
{
	bool *set = calloc((size_t)w.count + SPARE, 1);

	check(set != NULL);
	return set;
}

/* -- What is right -- */

/* What a wanted tag names: git lets it through where it walks, and not where it has bitmaps. */
static bool is_named(const struct request *r, int node)
{
	for (int i = 0; i < r->want_count; i++) {
		int at = r->wants[i];

		while (w.nodes[at].type == BOLE_OBJECT_TAG)
			at = w.nodes[at].links[0];
		if (at == node)
			return true;
	}
	return false;
}

static bool passes(const struct request *r, int node)
{
	const struct dag_node *n = &w.nodes[node];

	for (int i = 0; i < r->want_count; i++)
		if (r->wants[i] == node)
			return true;
	if (!r->filtered)
		return true;
	if (r->filter.tree_depth == 0 &&
	    (n->type == BOLE_OBJECT_TREE || n->type == BOLE_OBJECT_BLOB))
		return false;
	return n->type != BOLE_OBJECT_BLOB || n->text.len < r->filter.blob_limit;
}

/* The chain of tags on top of something that is sent. */
static void add_tags(const struct request *r, const bool *base, bool *set)
{
	for (int ref = DAG_HEADS; ref < DAG_TAGS && r->tags; ref++) {
		int node = w.refs[ref];

		while (node != DAG_NONE && w.nodes[node].type == BOLE_OBJECT_TAG)
			node = w.nodes[node].links[0];
		if (node == DAG_NONE || node == w.refs[ref] || !base[node])
			continue;
		for (int at = w.refs[ref]; at != node; at = w.nodes[at].links[0])
			set[at] = true;
	}
}

static void fail(const struct request *r, int node, bool picked, const char *what)
{
	fprintf(stderr, "%s: node %d of type %u of %d%s%s%s%s\n", what, node, w.nodes[node].type,
	        w.count, picked ? ", by sets" : "", r->tags ? ", tags" : "",
	        r->filtered ? ", filtered" : "", r->end != NULL ? ", near" : "");
	for (int i = 0; i < r->want_count; i++)
		fprintf(stderr, "want %d of type %u\n", r->wants[i], w.nodes[r->wants[i]].type);
	for (int i = 0; i < r->have_count; i++)
		fprintf(stderr, "have %d of type %u\n", r->haves[i], w.nodes[r->haves[i]].type);
	abort();
}

static void compare(const struct request *r, const bool *sent, const bool *had, bool picked)
{
	bool *may = flags();
	bool *must = flags();

	dag_reach(&w, r->wants, r->want_count, r->end, may);
	for (int i = 0; i < w.count; i++)
		must[i] = may[i] && !had[i];
	if (picked && !r->filtered)
		add_tags(r, must, must);
	add_tags(r, may, may);
	for (int i = 0; i < w.count; i++) {
		must[i] = must[i] && !had[i] && passes(r, i);
		if (must[i] && !sent[i])
			fail(r, i, picked, "lacks an object");
		if (sent[i] && !may[i])
			fail(r, i, picked, "sends what is not reached");
		if (sent[i] && !must[i] && picked && !(r->filtered && r->tags))
			fail(r, i, picked, "sends too much");
		if (sent[i] && !passes(r, i) && !is_named(r, i) && !(r->tags && r->filtered))
			fail(r, i, picked, "sends what the filter keeps out");
	}
	free(may);
	free(must);
}

/* -- Asking -- */

static void draw_request(struct request *r)
{
	bool all = dag_draw(&w, 3) == 0;

	*r = (struct request){.thin = dag_draw(&w, 3) != 0,
	                      .ofs = dag_draw(&w, 10) != 0,
	                      .tags = dag_draw(&w, 3) == 0};
	bole_filter_init(&r->filter);
	for (int i = 0; i < DAG_REFS; i++) {
		int node = w.refs[i];
		bool again = node == DAG_NONE;

		for (int k = 0; k < r->want_count && !again; k++)
			again = r->wants[k] == node;
		if (!again && (all ? i < DAG_TAGS || dag_draw(&w, 4) == 0 : dag_draw(&w, 4) == 0))
			r->wants[r->want_count++] = node;
	}
	if (r->want_count < WANTS_MAX && dag_draw(&w, 5) == 0) {
		int node = dag_pick(&w, 0);
		bool again = node == DAG_NONE;

		for (int k = 0; k < r->want_count && !again; k++)
			again = r->wants[k] == node;
		if (!again)
			r->wants[r->want_count++] = node;
	}
	while (r->have_count < HAVES_MAX && dag_draw(&w, all ? 5 : 2) == 0) {
		int node = dag_pick(&w, dag_draw(&w, 4) == 0 ? 0 : BOLE_OBJECT_COMMIT);
		if (node != DAG_NONE)
			r->haves[r->have_count++] = node;
	}
	seen.all += all;
}

static void end_at(struct request *r, int node)
{
	if (node == DAG_NONE || w.nodes[node].type != BOLE_OBJECT_COMMIT)
		return;
	r->end[node] = true;
	check_eq(bole_id_list_add_once(&r->ends, &w.nodes[node].oid, SIZE_MAX), BOLE_OK);
}

/* Ends of history, at wants, at their parents, at haves, anywhere; or a filter. */
static void draw_rest(struct request *r)
{
	int kind = dag_draw(&w, 6);

	bole_id_list_init(&r->ends, &w.test.base, &w.test.alloc, w.repo.algo);
	if (kind < 2) {
		r->end = flags();
		for (int i = 0; i < r->want_count; i++) {
			const struct dag_node *n = &w.nodes[r->wants[i]];
			int k = dag_draw(&w, 3);

			if (k == 0)
				end_at(r, r->wants[i]);
			for (int l = 1; l < n->link_count && k == 1; l++)
				end_at(r, n->links[l]);
		}
		for (int i = 0; i < r->have_count; i++)
			if (dag_draw(&w, 4) != 0)
				end_at(r, r->haves[i]);
		for (int i = 0; i < ENDS_MAX && dag_draw(&w, 3) == 0; i++)
			end_at(r, dag_pick(&w, BOLE_OBJECT_COMMIT));
	} else if (kind == 2) {
		r->filtered = true;
		static const char *const filters[] = {"blob:none", "tree:0", "blob:limit=500"};
		const char *why;

		OK(bole_filter_parse(&r->filter, &w.test.alloc,
		                     bole_bytes_z(filters[dag_draw(&w, 3)]), &why));
	}
}

static void mutate(void);

static enum bole_status plan(const struct request *r, struct bole_alloc *alloc,
                             struct bole_snapshot *snapshot, struct bole_pack_plan **out)
{
	static struct bole_oid want[WANTS_MAX], have[HAVES_MAX];

	for (int i = 0; i < r->want_count; i++)
		want[i] = w.nodes[r->wants[i]].oid;
	for (int i = 0; i < r->have_count; i++)
		have[i] = w.nodes[r->haves[i]].oid;
	struct bole_reach job = {
	        .platform = &w.test.base,
	        .alloc = alloc,
	        .snapshot = snapshot,
	        .wants = want,
	        .want_count = (size_t)r->want_count,
	        .haves = have,
	        .have_count = (size_t)r->have_count,
	        .grafts = r->end == NULL ? NULL : &r->ends,
	        .filter = r->filtered ? &r->filter : NULL,
	        .include_tags = r->tags,
	        .thin = r->thin,
	        .ofs_delta = r->ofs,
	        .bitmap = bitmap,
	};
	return bole_pack_plan_open(&job, out);
}

static void judge(const struct request *r, const bool *had, struct bole_bytes pack, bool picked)
{
	bool *sent = flags();
	struct dag_arrival a = {
	        .pack = pack, .sent = sent, .had = had, .thin = r->thin, .ofs_delta = r->ofs};

	dag_take_apart(&w, &a);
	seen.deltas += a.deltas;
	seen.thin += a.on_had;
	compare(r, sent, had, picked);
	free(sent);
	seen.fetches++;
	seen.picks += picked;
	seen.near += picked && r->end != NULL;
	seen.filtered += picked && r->filtered;
	seen.tags += picked && r->tags;
}

/* Plans on one state of the store and sends on another, if they are to be moved. */
static enum bole_status transfer(const struct request *r, struct bole_alloc *alloc, bool moved,
                                 struct bole_writer *writer, bool *picked)
{
	struct bole_bitmap *held = bitmap == NULL ? NULL : bole_bitmap_retain(bitmap);
	struct bole_pack_plan *p = NULL;
	struct bole_snapshot *snapshot;

	OK(bole_snapshot_open(w.store, w.repo.id, &snapshot));
	if (moved && dag_draw(&w, 2) == 0)
		mutate();
	enum bole_status rc = plan(r, alloc, snapshot, &p);
	*picked = rc == BOLE_OK && p->pick != NULL;
	if (moved && rc == BOLE_OK)
		mutate();
	if (rc == BOLE_OK)
		rc = bole_pack_emit(p, writer);
	bole_pack_plan_close(p);
	bole_snapshot_close(snapshot);
	bole_bitmap_release(held);
	return rc;
}

/* budget: bytes of memory. */
static void fetch(const struct request *r, size_t budget, bool moved)
{
	struct bole_buffer_writer writer;
	struct bole_budget limited;
	struct bole_buffer pack;
	bool *had = flags();
	bool picked;

	dag_reach(&w, r->haves, r->have_count, r->end, had);
	bole_budget_init(&limited, &w.test.alloc, budget);
	bole_buffer_init(&pack, &w.test.alloc, SIZE_MAX);
	bole_buffer_writer_init(&writer, &pack);
	enum bole_status rc = transfer(r, &limited.alloc, moved, &writer.writer, &picked);
	if (rc != BOLE_OK && !(budget != SIZE_MAX && rc == BOLE_E_NO_MEMORY) &&
	    !(moved && rc == BOLE_E_GONE))
		fail(r, r->wants[0], picked, bole_status_text(rc));
	/* Which tags came along when is not known where they moved meanwhile. */
	if (rc == BOLE_OK && !(moved && r->tags))
		judge(r, had, bole_bytes_of(pack.ptr, pack.len), picked);
	seen.moved += moved;
	bole_buffer_release(&pack);
	free(had);
}

static void ask(void)
{
	struct request r;

	draw_request(&r);
	if (r.want_count == 0)
		return;
	draw_rest(&r);
	fetch(&r, dag_draw(&w, 12) == 0 ? (size_t)dag_draw(&w, 1 << 20) + 1000 : SIZE_MAX,
	      dag_draw(&w, 6) == 0);
	free(r.end);
	bole_id_list_release(&r.ends);
	if (bitmap != NULL)
		seen.verbatim += atomic_load(&bitmap->sum_state) == BITMAP_SUM_SET;
}

/* -- Indexes -- */

static int ticks_left = INT_MAX;

static enum bole_status tick(void *ctx)
{
	(void)ctx;
	return ticks_left-- > 0 ? BOLE_OK : BOLE_E_CLOSED;
}

/* starve: memory ends after so many allocations; 0 = it does not. */
static enum bole_status make_index(bool afresh, unsigned starve)
{
	struct bole_snapshot *snapshot;
	struct bole_bitmap *made = NULL;

	OK(bole_snapshot_open(w.store, w.repo.id, &snapshot));
	w.test.fail_after = true;
	w.test.fail_at = starve == 0 ? 0 : w.test.grows + starve;
	struct bole_bitmap_job job = {.platform = &w.test.base,
	                              .alloc = &w.test.alloc,
	                              .snapshot = snapshot,
	                              .old = afresh ? NULL : bitmap,
	                              .tick = tick};
	enum bole_status rc = bole_bitmap_build(&job, &made);
	w.test.fail_at = 0;
	if (rc == BOLE_OK)
		bole_bitmap_rehearse(&job, made);
	bole_snapshot_close(snapshot);
	if (rc == BOLE_OK) {
		bole_bitmap_release(bitmap);
		bitmap = made;
	}
	return rc;
}

/* Without memory, or called off, what there was stays. */
static void build(void)
{
	bool poor = dag_draw(&w, 8) == 0;
	bool cut = !poor && dag_draw(&w, 8) == 0;

	ticks_left = cut ? dag_draw(&w, 3) : INT_MAX;
	enum bole_status rc =
	        make_index(dag_draw(&w, 5) == 0, poor ? 1 + (unsigned)dag_draw(&w, 200) : 0);
	check(rc == BOLE_OK || (poor && rc == BOLE_E_NO_MEMORY) || (cut && rc == BOLE_E_CLOSED));
	seen.starved += rc == BOLE_E_NO_MEMORY;
	seen.cut += rc == BOLE_E_CLOSED;
	seen.builds += rc == BOLE_OK;
	ticks_left = INT_MAX;
}

static void save(void)
{
	struct bole_snapshot *snapshot;
	struct bole_wholes wholes;
	bool whole = dag_draw(&w, 3) != 0;

	if (bitmap == NULL)
		return;
	OK(bole_snapshot_open(w.store, w.repo.id, &snapshot));
	struct bole_bitmap_job job = {
	        .platform = &w.test.base, .alloc = &w.test.alloc, .snapshot = snapshot};
	OK(bole_wholes_open(&wholes, bitmap, &w.test.alloc, WHOLES_BYTES_MAX));
	enum bole_status rc = bole_bitmap_rehearse_near(&job, bitmap, &wholes);
	if (rc == BOLE_OK)
		rc = bole_bitmap_save(bitmap, whole ? &wholes : NULL, w.store, w.repo.id);
	check(rc == BOLE_OK || rc == BOLE_E_NO_SPACE);
	bole_wholes_close(&wholes);
	bole_snapshot_close(snapshot);
	if (rc == BOLE_OK && atomic_load(&bitmap->sum_state) == BITMAP_SUM_SET) {
		rc = bole_bitmap_save_sum(bitmap, w.store, w.repo.id);
		check(rc == BOLE_OK || rc == BOLE_E_NO_SPACE);
	}
}

/* What the store has may be old. */
static void load(void)
{
	struct bole_snapshot *snapshot;
	struct bole_bitmap *loaded;

	OK(bole_snapshot_open(w.store, w.repo.id, &snapshot));
	enum bole_status rc = bole_bitmap_load(&w.test.base, &w.test.alloc, snapshot, &loaded);
	bole_snapshot_close(snapshot);
	check(rc == BOLE_OK || rc == BOLE_E_NOT_FOUND);
	seen.gone += rc == BOLE_E_NOT_FOUND;
	seen.loads += rc == BOLE_OK;
	bole_bitmap_release(bitmap);
	bitmap = rc == BOLE_OK ? loaded : NULL;
}

/* What a node does after a collection. */
static void forget(const struct bole_gc_result *result)
{
	if (result->store.objects_dropped == 0)
		return;
	bole_bitmap_release(bitmap);
	bitmap = NULL;
}

/* -- Changes -- */

static int any_ref(void)
{
	return dag_draw(&w, 2) == 0 ? 0 : dag_draw(&w, DAG_REFS);
}

static void amend(void)
{
	int ref = any_ref();
	int node = w.refs[ref];

	/* The tip goes, or some of what it stands on: another takes its place. */
	while (node != DAG_NONE && w.nodes[node].type == BOLE_OBJECT_COMMIT &&
	       w.nodes[node].link_count > 1 && dag_draw(&w, 3) != 0)
		node = w.nodes[node].links[1];
	if (node != DAG_NONE)
		seen.full += !dag_push(&w, false, ref, node);
	if (dag_draw(&w, 2) == 0) {
		node = dag_grow(&w, 3);
		seen.full += !dag_push(&w, dag_draw(&w, 2) == 0, ref, node);
	}
}

/* Anything, or a commit, which more likely was a tip once. */
static void bring_back(void)
{
	int node = dag_draw(&w, w.count + 1);

	for (int tries = 0; tries < 20 && node != w.count; tries++) {
		if (w.nodes[node].type == BOLE_OBJECT_COMMIT && !dag_has(&w, node))
			break;
		node = dag_draw(&w, w.count + 1);
	}
	if (node == w.count)
		return;
	dag_bring_back(&w, node);
	seen.full += !dag_push(&w, dag_draw(&w, 2) == 0, any_ref(), node);
	seen.back++;
}

static void collect(void)
{
	const struct bole_gc_options options = {.cache_bytes = 1 << 16, .wait_ns = 1};
	struct bole_gc_result result;
	enum bole_status rc =
	        bole_gc(&w.test.base, &w.test.alloc, w.store, w.repo.id, &options, &result);

	check(rc == BOLE_OK || rc == BOLE_E_NO_SPACE || rc == BOLE_E_GONE || rc == BOLE_E_BUSY);
	seen.collections += rc == BOLE_OK;
	if (rc == BOLE_OK)
		forget(&result);
}

static void repack(void)
{
	const struct bole_repack_options options = {.all = dag_draw(&w, 3) == 0,
	                                            .fresh = dag_draw(&w, 2) == 0,
	                                            .wait_ns = 1,
	                                            .packs_min = 1 + (unsigned)dag_draw(&w, 3),
	                                            .depth = 1 + (unsigned)dag_draw(&w, 60)};
	struct bole_repack_result result;
	enum bole_status rc =
	        bole_repack(&w.test.base, &w.test.alloc, w.store, w.repo.id, &options, &result);

	if (rc != BOLE_OK && rc != BOLE_END && rc != BOLE_E_UNSUPPORTED && rc != BOLE_E_NO_SPACE &&
	    rc != BOLE_E_BUSY)
		bole_panic(result.error, (int)rc, bole_status_text(rc));
	seen.repacks += rc == BOLE_OK;
	if (rc == BOLE_OK)
		forget(&result.gc);
}

/* A pack that lacks an object is refused, unless nothing that comes names it. */
static void push_cut(void)
{
	(void)dag_grow(&w, 10);
	int at = dag_draw(&w, w.piece_count);
	int node = w.piece[at];
	bool whole = true;

	w.piece[at] = w.piece[--w.piece_count];
	for (int i = 0; i < w.piece_count; i++)
		for (int k = 0; k < w.nodes[w.piece[i]].link_count; k++)
			whole &= w.nodes[w.piece[i]].links[k] != node;
	enum bole_status rc = dag_try(&w);
	check(rc == (whole ? BOLE_OK : BOLE_E_INVALID) || rc == BOLE_E_NO_SPACE);
	seen.lacking += rc == BOLE_E_INVALID;
}

/* All goes, and one pack comes that is all there is. */
static void start_over(void)
{
	int tip = DAG_NONE;

	for (int i = 0; i < DAG_REFS; i++)
		if (w.refs[i] != DAG_NONE)
			seen.full += !dag_push(&w, false, i, DAG_NONE);
	collect();
	for (int i = 0; i < 20 || w.nodes[tip].type != BOLE_OBJECT_COMMIT; i++)
		tip = dag_grow(&w, 8);
	w.plain = true;
	seen.full += !dag_push(&w, true, 0, tip);
	w.plain = false;
	build();
}

/* While a push is under way, which relies on what it found. */
static void meanwhile(void)
{
	struct bole_maintain_options eager = {.eagerness = 2};

	switch (dag_draw(&w, 4)) {
	case 0: repack(); break;
	case 1:
		for (int i = 0; i < 20; i++)
			if (bole_store_maintain(w.store, &eager, NULL) != BOLE_OK)
				break;
		break;
	default: collect();
	}
}

/* A push on what may be garbage, beside collections; then all that references reach is there. */
static void race(void)
{
	bool *live = flags();
	int node = dag_draw(&w, 3) == 0 ? dag_pick(&w, 0) : dag_grow(&w, 6);

	w.meanwhile = meanwhile;
	if (node != DAG_NONE)
		seen.full += !dag_push(&w, dag_draw(&w, 2) == 0, any_ref(), node);
	w.meanwhile = NULL;
	for (int i = 0; i < DAG_REFS; i++)
		if (w.refs[i] != DAG_NONE)
			dag_reach(&w, &w.refs[i], 1, NULL, live);
	for (int i = 0; i < w.count; i++)
		check(!live[i] || dag_has(&w, i));
	free(live);
	seen.races++;
}

static void mutate(void)
{
	struct bole_maintain_options eager = {.eagerness = 2};

	switch (dag_draw(&w, 20)) {
	case 0: seen.full += !dag_push(&w, false, any_ref(), DAG_NONE); break;
	case 1:
	case 2: amend(); break;
	case 3: bring_back(); break;
	case 4: collect(); break;
	case 5:
	case 6: repack(); break;
	case 7:
		for (int i = 0; i < 20; i++)
			if (bole_store_maintain(w.store, &eager, NULL) != BOLE_OK)
				break;
		break;
	case 8: build(); break;
	case 9: save(); break;
	case 13: push_cut(); break;
	case 15:
	case 16: race(); break;
	case 14:
		if (dag_draw(&w, 3) == 0)
			start_over();
		else
			seen.full += !dag_push(&w, dag_draw(&w, 2) == 0, 0,
			                       dag_chain(&w, 20 + dag_draw(&w, 250)));
		break;
	case 11: /* goes, and comes back before anybody looks */
	case 12:
		amend();
		collect();
		bring_back();
		break;
	case 10: seen.full += !dag_push(&w, true, any_ref(), dag_grow(&w, 80)); break;
	default: seen.full += !dag_push(&w, dag_draw(&w, 2) == 0, any_ref(), dag_grow(&w, 8));
	}
}

static void step(void)
{
	switch (dag_draw(&w, 16)) {
	case 0:
		if (dag_draw(&w, 2) == 0)
			dag_reopen(&w);
		load();
		break;
	case 1:
	case 2:
		build();
		ask();
		break;
	case 3:
	case 4:
	case 5:
	case 6:
		if (bitmap == NULL && dag_draw(&w, 2) == 0)
			build();
		ask();
		break;
	default: mutate();
	}
}

static void play(const char *geometry, uint8_t algo, uint64_t seed, unsigned steps)
{
	struct bole_block_sim_options options;
	struct bole_block *device = NULL;
	struct test_platform test;

	test_platform_init(&test, seed);
	if (geometry != NULL) {
		OK(bole_block_sim_geometry(geometry, &options));
		if (options.size_bytes > 24 << 20)
			options.size_bytes = 24 << 20;
		options.seed = seed;
		OK(bole_block_sim_open(&test.alloc, &options, &device));
	}
	dag_open(&w, device, algo, seed);
	for (unsigned i = 0; i < steps; i++)
		step();
	bole_bitmap_release(bitmap);
	bitmap = NULL;
	dag_close(&w);
	if (device != NULL)
		bole_block_close(device);
	test_platform_release(&test);
}

static void report(void)
{
	fprintf(stderr,
	        "%u fetches, %u by sets (%u near, %u with tags, %u filtered), %u of all, %u moved; "
	        "%u deltas, %u of what is had, %u with a hash; %u indexes, %u starved, %u cut, "
	        "%u read, %u gone; %u repacks, %u collections, %u back, %u lacking, %u races, "
	        "%u refused\n",
	        seen.fetches, seen.picks, seen.near, seen.tags, seen.filtered, seen.all, seen.moved,
	        seen.deltas, seen.thin, seen.verbatim, seen.builds, seen.starved, seen.cut,
	        seen.loads, seen.gone, seen.repacks, seen.collections, seen.back, seen.lacking,
	        seen.races, seen.full);
}

static unsigned number_of(const char *variable, unsigned otherwise)
{
	const char *text = getenv(variable);

	return text == NULL ? otherwise : (unsigned)strtoul(text, NULL, 10);
}

Test(bitmap, what_is_sent_is_what_a_walk_of_all_objects_says)
{
	static const char *const geometries[] = {"virtio", NULL, "virtio", "nor4k", "sd"};
	uint64_t seed = test_seed(4711);
	bool more = number_of("EPISODES", 0) != 0;
	unsigned episodes = number_of("EPISODES", 5);
	unsigned steps = number_of("STEPS", STEPS);

	for (unsigned i = 0; i < episodes; i++) {
		if (more)
			fprintf(stderr, "episode %u: SEED=%" PRIu64 "\n", i, seed + i);
		play(geometries[(seed + i) % 5],
		     (seed + i) % 4 == 3 ? BOLE_HASH_SHA256 : test_algo(), seed + i, steps);
	}
	report();
	if (more)
		return;
	cr_assert_gt(seen.picks, 10);
	cr_assert_gt(seen.repacks, 1);
	cr_assert_gt(seen.collections, 1);
}

/* As records, on the first branch. */
static void push_commits(int pieces)
{
	for (int i = 0; i < pieces || w.nodes[w.refs[0]].type != BOLE_OBJECT_COMMIT; i++)
		w.refs[0] = dag_grow(&w, 4);
	cr_assert(dag_push(&w, false, 0, w.refs[0]));
}

/* Goal: objects that were records when the index was made and are packed when it is made again are
 * not known twice: a clone of all gets each of them once. */
Test(bitmap, records_that_were_packed_are_sent_once)
{
	const struct bole_repack_options options = {.all = true};
	struct bole_block_sim_options sim;
	struct bole_repack_result result;
	struct request r = {.thin = true, .ofs = true};
	struct test_platform test;
	struct bole_block *device;

	test_platform_init(&test, 1);
	OK(bole_block_sim_geometry("virtio", &sim));
	sim.size_bytes = 32 << 20;
	OK(bole_block_sim_open(&test.alloc, &sim, &device));
	dag_open(&w, device, test_algo(), 1);
	push_commits(30);
	OK(make_index(false, 0));
	OK(bole_repack(&w.test.base, &w.test.alloc, w.store, w.repo.id, &options, &result));
	push_commits(3);
	OK(make_index(false, 0));
	r.wants[r.want_count++] = w.refs[0];
	fetch(&r, SIZE_MAX, false);
	bole_bitmap_release(bitmap);
	bitmap = NULL;
	dag_close(&w);
	bole_block_close(device);
	test_platform_release(&test);
}
