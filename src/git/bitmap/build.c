/* SPDX-License-Identifier: ISC */
/* Selected are commits of HEAD's first-parent chain: all of the newest, then every NEAR-th, then
 * every FAR-th; each is the base of the next. One more set is of all that branches and tags reach.
 * A new index begins as a copy of the old one, so its cost follows what is new. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bole/store.h"
#include "git/bitmap/walk.h"
#include "git/boundary.h"
#include "git/promise.h"

enum {
	ALL_WITHIN = 128, /* commits from HEAD */
	NEAR_WITHIN = 2048,
	NEAR = 8,
	FAR = 64,
	CHAIN_MAX = 1 << 22,
	SYMBOLIC_MAX = 5,
};

struct build {
	const struct bole_bitmap_job *job;
	struct bole_bitmap *b;
	const struct bole_bitmap *old;
	struct bitmap_walk walk;
	struct bitmap_bits set;
	struct bitmap_bits fresh;
	struct bole_buffer chain; /* raw ids, the newest first */
	uint32_t base;            /* the set that `set` holds */
};

/* -- Copies -- */

static void *copied(struct bole_alloc *alloc, const void *from, uint32_t count, size_t size)
{
	void *to = bole_alloc_array(alloc, count, size);

	if (to != NULL && count > 0)
		memcpy(to, from, count * size);
	return to;
}

static enum bole_status copy(const struct bole_bitmap *old, struct bole_bitmap *b)
{
	uint32_t ids = (uint32_t)(old->ids.len / old->key_bytes);

	if (old->segment_count > 0) {
		b->segments =
		        copied(b->alloc, old->segments, old->segment_count, sizeof *b->segments);
		b->segment_cap = b->segments == NULL ? 0 : old->segment_count;
	}
	if (old->offset_count > 0) {
		b->offsets = copied(b->alloc, old->offsets, old->offset_count, sizeof *b->offsets);
		b->offset_cap = b->offsets == NULL ? 0 : old->offset_count;
	}
	if (old->type_words > 0) {
		b->blobs = copied(b->alloc, old->blobs, (uint32_t)old->type_words,
		                  2 * sizeof *b->blobs);
		b->type_words = b->blobs == NULL ? 0 : old->type_words;
		b->trees = b->blobs == NULL ? NULL : b->blobs + b->type_words;
	}
	if (old->name_cap > 0) {
		b->names = copied(b->alloc, old->names, old->name_cap, sizeof *b->names);
		b->name_cap = b->names == NULL ? 0 : old->name_cap;
	}
	if (old->set_count > 0) {
		b->sets = copied(b->alloc, old->sets, old->set_count, sizeof *b->sets);
		b->set_cap = b->sets == NULL ? 0 : old->set_count;
	}
	if (b->segment_cap < old->segment_count || b->offset_cap < old->offset_count ||
	    b->type_words < old->type_words || b->name_cap < old->name_cap ||
	    b->set_cap < old->set_count)
		return BOLE_E_NO_MEMORY;
	b->segment_count = old->segment_count;
	b->offset_count = old->offset_count;
	b->set_count = old->set_count;
	b->positions = old->positions;
	atomic_store(&b->generation, atomic_load(&old->generation));
	atomic_store(&b->verbatim, atomic_load(&old->verbatim));
	if (atomic_load_explicit(&old->sum_state, memory_order_acquire) == BITMAP_SUM_SET) {
		b->sum_extent = old->sum_extent;
		memcpy(b->sum, old->sum, sizeof b->sum);
		atomic_store(&b->sum_saved, atomic_load(&old->sum_saved));
		atomic_store(&b->sum_state, BITMAP_SUM_SET);
	}
	bole_buffer_append(&b->ids, old->ids.ptr, old->ids.len);
	/* The set of everything comes last, and anew. */
	bole_buffer_append(&b->runs, old->runs.ptr, old->all.at);
	BOLE_TRY(b->ids.rc);
	BOLE_TRY(b->runs.rc);
	for (uint32_t i = 0; i < ids; i++)
		BOLE_TRY(bole_oid_index_add(&b->by_id, i));
	for (uint32_t i = 0; i < b->set_count; i++)
		BOLE_TRY(bole_oid_index_add(&b->by_commit, i));
	return BOLE_OK;
}

static enum bole_status new_extents(struct build *build, struct bole_snapshot *snapshot)
{
	struct bole_bitmap *b = build->b;
	struct bole_extent_info info = {.extent = 0};
	enum bole_status rc;

	while ((rc = bole_extent_next(snapshot, info.extent, &info)) == BOLE_OK) {
		bool known = false;

		for (uint32_t i = 0; i < b->segment_count && !known; i++)
			known = b->segments[i].extent == info.extent;
		if (!known)
			BOLE_TRY(bole_bitmap_add_extent(b, snapshot, &info));
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

/* An object that has its position by its id lies in an extent that is new: records were packed, or
 * it was collected and came back. Walks meet it at another position than the sets have it at. */
static enum bole_status ids_moved(const struct build *build, struct bole_snapshot *snapshot,
                                  bool *moved)
{
	const struct bole_bitmap *b = build->b;
	const struct bole_bitmap_job *job = build->job;
	uint32_t count = (uint32_t)(b->ids.len / b->key_bytes);
	struct bole_entry entry;
	struct bole_oid oid;
	uint32_t position;

	*moved = false;
	for (uint32_t i = 0; i < count && !*moved; i++) {
		bole_oid_from_raw(b->ids.ptr + (size_t)i * b->key_bytes, b->algo, &oid);
		enum bole_status rc = bole_odb_find(snapshot, &oid, &entry);

		if (rc != BOLE_OK && rc != BOLE_E_NOT_FOUND)
			return rc;
		if (rc == BOLE_OK && entry.extent != 0) {
			BOLE_TRY(bole_bitmap_position(b, snapshot, &oid, &entry, &position));
			*moved = position != BITMAP_NONE &&
			         bole_bitmap_segment(b, position)->extent != 0;
		}
		if (i % 256 == 255) {
			b->platform->ops->yield(b->platform);
			if (job->tick != NULL)
				BOLE_TRY(job->tick(job->tick_ctx));
		}
	}
	return BOLE_OK;
}

/* A new index with all positions of the old one, if that serves, and those of new extents. */
static enum bole_status begin(struct build *build, struct bole_snapshot *snapshot)
{
	const struct bole_bitmap_job *job = build->job;
	bool moved = false;

	do {
		if (moved)
			build->old = NULL;
		bole_bitmap_release(build->b);
		build->b = bole_bitmap_new(job->platform, job->alloc, snapshot->repo.algo);
		if (build->b == NULL)
			return BOLE_E_NO_MEMORY;
		if (build->old != NULL)
			BOLE_TRY(copy(build->old, build->b));
		uint32_t segments = build->b->segment_count;
		BOLE_TRY(new_extents(build, snapshot));
		moved = false;
		if (build->old != NULL && build->b->segment_count != segments)
			BOLE_TRY(ids_moved(build, snapshot, &moved));
	} while (moved);
	return BOLE_OK;
}

/* -- The chain -- */

static enum bole_status head_of(struct bole_snapshot *snapshot, struct bole_oid *out)
{
	struct bole_bytes name = bole_bytes_z("HEAD");
	struct bole_ref ref;

	for (int i = 0; i < SYMBOLIC_MAX; i++) {
		BOLE_TRY(bole_ref_get(snapshot, name, &ref));
		if (!ref.symbolic) {
			*out = ref.oid;
			return BOLE_OK;
		}
		name = ref.target;
	}
	return BOLE_E_NOT_FOUND;
}

/* From HEAD's commit back to one that has a set (whose number is then the base), or to the root. */
static enum bole_status follow_chain(struct build *build, struct bole_oid at)
{
	struct bole_bitmap *b = build->b;
	struct bole_commit commit;
	struct bole_bytes content;
	uint8_t type;

	for (size_t n = 0; n < CHAIN_MAX; n++) {
		const struct bitmap_set *set = bole_bitmap_find(b, &at);

		if (set != NULL) {
			build->base = (uint32_t)(set - b->sets);
			return BOLE_OK;
		}
		BOLE_TRY(bole_object_read(build->walk.reader, &at, &type, &content));
		if (type != BOLE_OBJECT_COMMIT)
			return n == 0 ? BOLE_OK : BOLE_E_CORRUPT;
		if (bole_commit_parse(content, b->algo, &commit) != BOLE_OK)
			return BOLE_E_CORRUPT;
		bole_buffer_append(&build->chain, at.bytes, b->key_bytes);
		BOLE_TRY(build->chain.rc);
		if (commit.parent_count == 0)
			return BOLE_OK;
		bole_commit_parent(&commit, b->algo, 0, &at);
		if (n % 256 == 255)
			b->platform->ops->yield(b->platform);
	}
	return BOLE_E_LIMIT;
}

static void forget(struct bitmap_bits *bits)
{
	if (bits->count > 0)
		memset(bits->words, 0, bits->count * sizeof *bits->words);
}

static enum bole_status select_commit(struct build *build, const struct bole_oid *oid)
{
	struct bitmap_reach reach = {.set = &build->set, .fresh = &build->fresh};

	forget(&build->fresh);
	BOLE_TRY(bole_bitmap_reach(&build->walk, &reach, oid));
	BOLE_TRY(bole_bitmap_bits_grow(&build->walk, &build->fresh));
	BOLE_TRY(bole_bitmap_add_set(build->b, oid, build->base, &build->fresh));
	build->base = build->b->set_count - 1;
	return BOLE_OK;
}

/* Of the i-th commit (from 1) of a chain of count. */
static bool selected(size_t i, size_t count)
{
	if (count - i < ALL_WITHIN)
		return true;
	return i % (count - i < NEAR_WITHIN ? NEAR : FAR) == 0;
}

static enum bole_status select_chain(struct build *build)
{
	struct bole_bitmap *b = build->b;
	size_t count = build->chain.len / b->key_bytes;

	BOLE_TRY(bole_bitmap_bits_grow(&build->walk, &build->set));
	if (build->base != BITMAP_NONE)
		BOLE_TRY(bole_bitmap_unite(b, &b->sets[build->base], &build->set));
	for (size_t i = 1; i <= count; i++) {
		struct bole_oid oid;

		if (!selected(i, count))
			continue;
		bole_oid_from_raw(build->chain.ptr + (count - i) * b->key_bytes, b->algo, &oid);
		BOLE_TRY(select_commit(build, &oid));
	}
	return BOLE_OK;
}

/* -- All branches and tags -- */

/* The tips of two indexes beside each other, and the next one that one of them alone has. */
struct tips_apart {
	const struct bole_bitmap *old;
	const struct bole_bitmap *now;
	size_t old_at;
	size_t now_at;
};

static const uint8_t *next_apart(struct tips_apart *d, bool *gone)
{
	size_t width = d->now->key_bytes;

	while (d->old_at < d->old->tips.len || d->now_at < d->now->tips.len) {
		const uint8_t *was = d->old->tips.ptr + d->old_at;
		const uint8_t *is = d->now->tips.ptr + d->now_at;
		int order = d->old_at == d->old->tips.len   ? 1
		            : d->now_at == d->now->tips.len ? -1
		                                            : memcmp(was, is, width);
		d->old_at += order <= 0 ? width : 0;
		d->now_at += order >= 0 ? width : 0;
		*gone = order < 0;
		if (order != 0)
			return order < 0 ? was : is;
	}
	return NULL;
}

/* Adds what new tips reach beyond what the old index knew of all. *holds: that still is reached,
 * because every tip that is gone was met on the way: a branch that moved on. */
static enum bole_status reach_new(struct build *build, const struct bitmap_bits *known, bool *holds)
{
	struct bitmap_reach reach = {.set = &build->set, .skip = known, .fresh = &build->fresh};
	struct tips_apart d = {.old = build->old, .now = build->b};
	struct bole_oid oid;
	const uint8_t *id;
	bool gone;

	while ((id = next_apart(&d, &gone)) != NULL) {
		bole_oid_from_raw(id, build->b->algo, &oid);
		if (!gone)
			BOLE_TRY(bole_bitmap_reach(&build->walk, &reach, &oid));
	}
	d = (struct tips_apart){.old = build->old, .now = build->b};
	*holds = true;
	while (*holds && (id = next_apart(&d, &gone)) != NULL) {
		bole_oid_from_raw(id, build->b->algo, &oid);
		*holds = !gone || bole_oid_map_find(&build->walk.met, oid.bytes) != BOLE_OID_NONE;
	}
	return BOLE_OK;
}

static enum bole_status from_old(struct build *build, bool *holds)
{
	struct bitmap_bits known = {.words = NULL};
	struct bole_bitmap *b = build->b;

	enum bole_status rc = bole_bitmap_bits_grow(&build->walk, &known);
	if (rc == BOLE_OK)
		rc = bole_bitmap_unite(build->old, &build->old->all, &known);
	if (rc == BOLE_OK)
		rc = reach_new(build, &known, holds);
	/* Objects that were met have made the index longer. */
	if (rc == BOLE_OK)
		rc = bole_bitmap_bits_grow(&build->walk, &known);
	if (rc == BOLE_OK)
		rc = bole_bitmap_bits_grow(&build->walk, &build->set);
	if (rc == BOLE_OK)
		rc = bole_bitmap_bits_grow(&build->walk, &build->fresh);
	for (size_t i = 0; rc == BOLE_OK && *holds && i < (b->positions + (size_t)63) / 64; i++) {
		uint64_t more = known.words[i] & ~build->set.words[i];

		build->fresh.words[i] |= more;
		build->set.words[i] |= more;
	}
	bole_bitmap_bits_free(&build->walk, &known);
	return rc;
}

/* Takes back what a walk added: what it met stands for more than it followed. */
static void take_back(struct build *build)
{
	size_t n = build->fresh.count < build->set.count ? build->fresh.count : build->set.count;

	for (size_t i = 0; i < n; i++)
		build->set.words[i] &= ~build->fresh.words[i];
	forget(&build->fresh);
}

static enum bole_status select_all(struct build *build)
{
	struct bitmap_reach reach = {.set = &build->set, .fresh = &build->fresh};
	struct bole_bitmap *b = build->b;
	struct bole_oid oid;
	bool done = false;

	forget(&build->fresh);
	if (build->old != NULL)
		BOLE_TRY(from_old(build, &done));
	if (!done)
		take_back(build);
	for (size_t at = 0; at < b->tips.len && !done; at += b->key_bytes) {
		bole_oid_from_raw(b->tips.ptr + at, b->algo, &oid);
		BOLE_TRY(bole_bitmap_reach(&build->walk, &reach, &oid));
	}
	BOLE_TRY(bole_bitmap_bits_grow(&build->walk, &build->fresh));
	return bole_bitmap_add_set(b, NULL, build->base, &build->fresh);
}

static enum bole_status make(struct build *build, struct bole_snapshot *snapshot)
{
	struct bole_oid head;

	BOLE_TRY(begin(build, snapshot));
	struct bole_bitmap *b = build->b;
	BOLE_TRY(bole_bitmap_list_tips(b, snapshot));
	BOLE_TRY(bole_bitmap_walk_open(&build->walk, b->platform, b->alloc, snapshot, b));
	build->walk.making = b;
	build->walk.tick = build->job->tick;
	build->walk.tick_ctx = build->job->tick_ctx;
	bool has_head = head_of(snapshot, &head) == BOLE_OK;
	if (has_head)
		BOLE_TRY(follow_chain(build, head));
	BOLE_TRY(select_chain(build));
	BOLE_TRY(select_all(build));
	return bole_bitmap_close_tips(&build->walk, build->old, has_head ? &head : NULL);
}

/* Nothing came since. */
static bool same(const struct bole_bitmap *old, const struct bole_bitmap *b)
{
	return old != NULL && old->set_count == b->set_count && old->positions == b->positions &&
	       old->tips.len == b->tips.len && old->all.objects == b->all.objects &&
	       old->closure_count == b->closure_count &&
	       (b->tips.len == 0 || memcmp(old->tips.ptr, b->tips.ptr, b->tips.len) == 0);
}

enum bole_status bole_bitmap_build(const struct bole_bitmap_job *job, struct bole_bitmap **out)
{
	struct build build = {.base = BITMAP_NONE, .job = job};

	bool shallow;
	bool partial;

	*out = NULL;
	/* Sets are of whole histories, and a boundary may move; what is missing has no position. */
	BOLE_TRY(bole_boundary_any(job->snapshot, &shallow));
	BOLE_TRY(bole_promise_any(job->snapshot, &partial));
	if (shallow || partial)
		return BOLE_E_NOT_FOUND;
	if (job->old != NULL && bole_bitmap_fits(job->old, job->snapshot))
		build.old = job->old;
	bole_buffer_init(&build.chain, job->alloc, SIZE_MAX);
	enum bole_status rc = make(&build, job->snapshot);
	if (build.walk.index != NULL) {
		bole_bitmap_bits_free(&build.walk, &build.set);
		bole_bitmap_bits_free(&build.walk, &build.fresh);
		bole_bitmap_walk_close(&build.walk);
	}
	bole_buffer_release(&build.chain);
	if (rc == BOLE_OK && same(build.old, build.b)) {
		bole_bitmap_release(build.b);
		build.b = bole_bitmap_retain(job->old);
	}
	if (rc != BOLE_OK) {
		bole_bitmap_release(build.b);
		return rc;
	}
	*out = build.b;
	return BOLE_OK;
}
