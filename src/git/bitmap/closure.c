/* SPDX-License-Identifier: ISC */
/* Closures: of HEAD's commit, of the first branches, and of what an older index had, the newest
 * first, because who cloned a tip a while ago says so when it fetches the next. Those that are
 * known are copied: positions are for good. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bole/store.h"
#include "git/bitmap/walk.h"

enum {
	TIPS_MAX = 16,
	BRANCHES_MAX = 256, /* looked at: many may name one commit */
	OBJECTS_MAX =
	        1 << 21, /* of all closures that one index makes anew, each counted by itself */
};

struct closing {
	struct bitmap_walk *walk;
	struct bole_bitmap *b;
	const struct bole_bitmap *old; /* or NULL */
	struct bitmap_bits bits;
	uint64_t objects;
};

static enum bole_status copy(struct closing *c, const struct bitmap_set *set)
{
	struct bole_bitmap *b = c->b;
	struct bitmap_set *to = &b->closures[b->closure_count];

	*to = *set;
	to->at = (uint32_t)b->closure_runs.len;
	bole_buffer_append(&b->closure_runs, c->old->closure_runs.ptr + set->at, set->len);
	BOLE_TRY(b->closure_runs.rc);
	b->closure_count++;
	return BOLE_OK;
}

static enum bole_status make(struct closing *c, const struct bole_oid *oid)
{
	struct bitmap_reach reach = {.set = &c->bits};
	struct bole_bytes content;
	struct bole_commit commit;
	uint32_t item;
	uint8_t type;

	BOLE_TRY(bole_object_read(c->walk->reader, oid, &type, &content));
	if (type != BOLE_OBJECT_COMMIT)
		return BOLE_OK;
	if (bole_commit_parse(content, c->b->algo, &commit) != BOLE_OK)
		return BOLE_E_CORRUPT;
	BOLE_TRY(bole_bitmap_meet(c->walk, oid, BOLE_OBJECT_COMMIT, &item));
	BOLE_TRY(bole_bitmap_bits_grow(c->walk, &c->bits));
	memset(c->bits.words, 0, c->bits.count * sizeof *c->bits.words);
	bitmap_add(&c->bits, bitmap_met(c->walk, item)->position);
	BOLE_TRY(bole_bitmap_reach(c->walk, &reach, &commit.tree));
	BOLE_TRY(bole_bitmap_bits_grow(c->walk, &c->bits));
	BOLE_TRY(bole_bitmap_add_closure(c->b, oid, &c->bits));
	c->objects += c->b->closures[c->b->closure_count - 1].objects;
	return BOLE_OK;
}

static enum bole_status close_commit(struct closing *c, const struct bole_oid *oid)
{
	const struct bitmap_set *set = c->old == NULL ? NULL : bole_bitmap_closure(c->old, oid);

	if (bole_bitmap_closure(c->b, oid) != NULL)
		return BOLE_OK;
	if (set != NULL)
		return copy(c, set);
	return c->objects < OBJECTS_MAX ? make(c, oid) : BOLE_OK;
}

static enum bole_status close_tips(struct closing *c, const struct bole_oid *head)
{
	struct bole_bytes prefix = bole_bytes_z("refs/heads/");
	struct bole_ref ref = {.name = bole_bytes_of("", 0)};
	struct bole_oid oid;
	enum bole_status rc;

	if (head != NULL)
		BOLE_TRY(close_commit(c, head));
	for (int i = 0; i < BRANCHES_MAX && c->b->closure_count < TIPS_MAX; i++) {
		rc = bole_ref_next(c->walk->snapshot, prefix, ref.name, &ref);
		if (rc != BOLE_OK)
			return rc == BOLE_END ? BOLE_OK : rc;
		oid = ref.oid;
		if (!ref.symbolic)
			BOLE_TRY(close_commit(c, &oid));
	}
	return BOLE_OK;
}

enum bole_status bole_bitmap_close_tips(struct bitmap_walk *walk, const struct bole_bitmap *old,
                                        const struct bole_oid *head)
{
	struct closing c = {.walk = walk, .b = walk->making, .old = old};
	enum bole_status rc = close_tips(&c, head);

	for (uint32_t i = 0; rc == BOLE_OK && old != NULL && i < old->closure_count &&
	                     c.b->closure_count < BITMAP_CLOSURES_MAX;
	     i++) {
		struct bole_oid oid;

		bole_oid_from_raw(old->closures[i].commit, old->algo, &oid);
		rc = close_commit(&c, &oid);
	}
	bole_bitmap_bits_free(walk, &c.bits);
	return rc;
}
