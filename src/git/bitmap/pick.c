/* SPDX-License-Identifier: ISC */
#include "git/bitmap/pick.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bole/store.h"
#include "git/negotiate.h"

/* Ids are spread evenly, so the first guess is near. */
static bool is_tip(const struct bole_bitmap *b, const struct bole_oid *oid)
{
	size_t width = b->key_bytes;
	uint64_t count = b->tips.len / width;
	uint64_t low = 0;
	uint64_t high = count;
	uint64_t at = bole_get_be32(oid->bytes) * count >> 32;

	while (low < high) {
		int order = memcmp(b->tips.ptr + at * width, oid->bytes, width);

		if (order == 0)
			return true;
		if (order < 0)
			low = at + 1;
		else
			high = at;
		/* A few steps from the guess, then halves. */
		uint64_t near = order < 0 ? at + 4 : at - (at < 4 ? at : 4);
		at = near >= low && near < high && high - low > 64 ? near : low + (high - low) / 2;
	}
	return false;
}

/* The wants name every branch and tag that the index knows. (One that has moved on since the index
 * was made is not looked for: a walk that meets its old tip has met other things, too, and takes
 * them for sent.) */
static bool wants_all(const struct bole_pick_job *job)
{
	size_t tips = job->bitmap->tips.len / job->bitmap->key_bytes;
	size_t found = 0;

	if (tips == 0 || job->want_count < tips)
		return false;
	for (size_t i = 0; i < job->want_count; i++)
		found += is_tip(job->bitmap, &job->wants[i]);
	return found == tips; /* each is wanted once */
}

/* Where the wants name every branch and tag that the index knows, what all of these reach is known.
 */
static enum bole_status reach_wants(struct bole_pick *pick, const struct bole_pick_job *job)
{
	struct bitmap_reach reach = {.set = &pick->send, .skip = &pick->have, .sets = true};
	bool all = wants_all(job);

	if (all)
		BOLE_TRY(bole_bitmap_unite(job->bitmap, &job->bitmap->all, &pick->send));
	for (size_t i = 0; i < job->want_count; i++)
		if (!all || !is_tip(job->bitmap, &job->wants[i]))
			BOLE_TRY(bole_bitmap_reach(&pick->walk, &reach, &job->wants[i]));
	return BOLE_OK;
}

enum bole_status bole_pick_position(struct bole_pick *pick, const struct bole_oid *oid,
                                    uint32_t *out)
{
	uint32_t item = bole_oid_map_find(&pick->walk.met, oid->bytes);
	struct bole_entry entry;

	*out = BITMAP_NONE;
	if (item != BOLE_OID_NONE) {
		*out = bitmap_met(&pick->walk, item)->position;
		return BOLE_OK;
	}
	enum bole_status rc = bole_odb_find(pick->walk.snapshot, oid, &entry);
	if (rc == BOLE_E_NOT_FOUND)
		return BOLE_OK;
	BOLE_TRY(rc);
	return bole_bitmap_position(pick->bitmap, pick->walk.snapshot, oid, &entry, out);
}

static bool in_set(const struct bitmap_bits *bits, uint32_t position)
{
	return position != BITMAP_NONE && position / 64 < bits->count && bitmap_has(bits, position);
}

static void subtract_have(struct bole_pick *pick)
{
	size_t n = pick->send.count < pick->have.count ? pick->send.count : pick->have.count;

	for (size_t i = 0; i < n; i++)
		pick->send.words[i] &= ~pick->have.words[i];
}

/* Annotated tags of what is sent come along. */
static enum bole_status reach_tags(struct bole_pick *pick)
{
	struct bitmap_reach reach = {.set = &pick->send, .skip = &pick->have};
	struct bole_bytes prefix = bole_bytes_z("refs/tags/");
	struct bole_ref ref = {.name = bole_bytes_of("", 0)};
	enum bole_status rc;
	uint32_t position;

	while ((rc = bole_ref_next(pick->walk.snapshot, prefix, ref.name, &ref)) == BOLE_OK) {
		if (ref.symbolic)
			continue;
		if (!ref.has_peeled) {
			struct bole_entry entry;

			BOLE_TRY(bole_odb_find(pick->walk.snapshot, &ref.oid, &entry));
			if (entry.type == BOLE_OBJECT_TAG)
				return BOLE_E_UNSUPPORTED; /* the walk reads tags */
			continue;
		}
		BOLE_TRY(bole_pick_position(pick, &ref.peeled, &position));
		if (in_set(&pick->send, position))
			BOLE_TRY(bole_bitmap_reach(&pick->walk, &reach, &ref.oid));
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

/* Blobs and trees that something reaches are left out. BOLE_E_UNSUPPORTED: one is a want itself. */
static enum bole_status drop_types(struct bole_pick *pick, const struct bole_pick_job *job)
{
	const struct bole_bitmap *b = pick->bitmap;
	const struct bitmap_walk *walk = &pick->walk;

	for (size_t i = 0; i < job->want_count; i++) {
		struct bole_entry entry;

		BOLE_TRY(bole_odb_find(walk->snapshot, &job->wants[i], &entry));
		if (entry.type != BOLE_OBJECT_COMMIT && entry.type != BOLE_OBJECT_TAG)
			return BOLE_E_UNSUPPORTED;
	}
	for (size_t i = 0; i < b->positions / 64; i++)
		pick->send.words[i] &= ~(b->blobs[i] | (job->no_trees ? b->trees[i] : 0));
	for (uint32_t at = b->positions / 64 * 64; at < b->positions; at++)
		if (((b->blobs[at / 64] | (job->no_trees ? b->trees[at / 64] : 0)) >> at % 64 &
		     1) != 0)
			pick->send.words[at / 64] &= ~(UINT64_C(1) << at % 64);
	for (size_t i = 0; i < walk->extra_count; i++) {
		uint32_t at = b->positions + (uint32_t)i;
		uint32_t type = bitmap_met(walk, walk->extra[i])->type;

		if (type == BOLE_OBJECT_BLOB || (type == BOLE_OBJECT_TREE && job->no_trees))
			pick->send.words[at / 64] &= ~(UINT64_C(1) << at % 64);
	}
	return BOLE_OK;
}

/* A receiver whose history ends: what it has is of its ends alone, or it is for the walk, which
 * goes no further back than it must. */
static enum bole_status reach_near(struct bole_pick *pick, const struct bole_pick_job *job)
{
	struct bitmap_reach haves = {.set = &pick->have};
	struct bitmap_reach wants = {.set = &pick->send, .skip = &pick->have};

	for (size_t i = 0; i < job->have_count; i++)
		if (bole_id_list_find(job->ends, &job->haves[i]) == BOLE_OID_NONE)
			return BOLE_E_UNSUPPORTED;
	for (size_t i = 0; i < job->have_count; i++)
		BOLE_TRY(bole_bitmap_reach_near(&pick->walk, &haves, job->ends, &job->haves[i]));
	for (size_t i = 0; i < job->want_count; i++)
		BOLE_TRY(bole_bitmap_reach_near(&pick->walk, &wants, job->ends, &job->wants[i]));
	return BOLE_OK;
}

static enum bole_status reach_far(struct bole_pick *pick, const struct bole_pick_job *job)
{
	struct bitmap_reach haves = {.set = &pick->have, .sets = true};

	for (size_t i = 0; i < job->have_count; i++)
		BOLE_TRY(bole_bitmap_reach(&pick->walk, &haves, &job->haves[i]));
	return reach_wants(pick, job);
}

static enum bole_status fill(struct bole_pick *pick, const struct bole_pick_job *job)
{
	BOLE_TRY(bole_bitmap_bits_grow(&pick->walk, &pick->send));
	BOLE_TRY(bole_bitmap_bits_grow(&pick->walk, &pick->have));
	BOLE_TRY(job->ends != NULL ? reach_near(pick, job) : reach_far(pick, job));
	subtract_have(pick);
	if (job->include_tags)
		BOLE_TRY(reach_tags(pick));
	subtract_have(pick);
	BOLE_TRY(bole_bitmap_bits_grow(&pick->walk, &pick->send));
	BOLE_TRY(bole_bitmap_bits_grow(&pick->walk, &pick->have));
	if (job->no_blobs || job->no_trees)
		BOLE_TRY(drop_types(pick, job));
	for (size_t i = 0; i < pick->send.count; i++)
		pick->count += bitmap_ones(pick->send.words[i]);
	return BOLE_OK;
}

enum bole_status bole_pick_open(const struct bole_pick_job *job, struct bole_pick **out)
{
	*out = NULL;
	if (!bole_bitmap_fits(job->bitmap, job->snapshot))
		return BOLE_E_NOT_FOUND;
	struct bole_pick *pick = bole_alloc_zeroed(job->alloc, 1, sizeof *pick);
	if (pick == NULL)
		return BOLE_E_NO_MEMORY;
	pick->bitmap = bole_bitmap_retain(job->bitmap);
	enum bole_status rc = bole_bitmap_walk_open(&pick->walk, job->platform, job->alloc,
	                                            job->snapshot, job->bitmap);
	pick->walk.tick = job->tick;
	pick->walk.tick_ctx = job->tick_ctx;
	if (rc == BOLE_OK)
		rc = fill(pick, job);
	if (rc != BOLE_OK) {
		bole_pick_close(pick);
		return rc;
	}
	*out = pick;
	return BOLE_OK;
}

void bole_pick_close(struct bole_pick *pick)
{
	if (pick == NULL)
		return;
	struct bole_alloc *alloc = pick->walk.alloc;

	bole_bitmap_bits_free(&pick->walk, &pick->send);
	bole_bitmap_bits_free(&pick->walk, &pick->have);
	bole_bitmap_walk_close(&pick->walk);
	bole_bitmap_release(pick->bitmap);
	bole_alloc_free(alloc, pick, 1, sizeof *pick);
}
