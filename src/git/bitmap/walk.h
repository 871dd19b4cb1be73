/* SPDX-License-Identifier: ISC */
/* Adds what objects reach to a set of positions. Objects without a position get one: in the index
 * that is being made, or behind it, for this walk alone. */
#ifndef BOLE_GIT_BITMAP_WALK_H
#define BOLE_GIT_BITMAP_WALK_H

#include "git/bitmap/bitmap.h"
#include "git/object/object.h"
#include "git/object/read.h"

/* An object that was met. Words, so that it packs behind an id of 20 bytes. */
struct bitmap_met {
	uint32_t position;
	uint32_t type;
};

struct bitmap_walk {
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	struct bole_snapshot *snapshot;
	struct bole_object_reader *reader;
	const struct bole_bitmap *index;
	struct bole_bitmap *making; /* the same, or NULL */
	struct bole_oid_map met;
	uint32_t *stack; /* of items */
	size_t stack_count;
	size_t stack_cap;
	uint32_t *extra; /* items of objects behind the index, in the order of their positions */
	size_t extra_count;
	size_t extra_cap;
	uint64_t work;
	uint64_t objects;     /* met so far */
	uint64_t objects_max; /* BOLE_E_LIMIT beyond; 0 = any */
	/* NULL, or asked at each yield: BOLE_E_CLOSED ends the walk. */
	enum bole_status (*tick)(void *ctx);
	void *tick_ctx;
};

BOLE_MUST_USE enum bole_status bole_bitmap_walk_open(struct bitmap_walk *, struct bole_platform *,
                                                     struct bole_alloc *, struct bole_snapshot *,
                                                     const struct bole_bitmap *);
void bole_bitmap_walk_close(struct bitmap_walk *);

/* Room for every position that there is now. */
BOLE_MUST_USE enum bole_status bole_bitmap_bits_grow(const struct bitmap_walk *,
                                                     struct bitmap_bits *);
void bole_bitmap_bits_free(const struct bitmap_walk *, struct bitmap_bits *);

/* The item of an object. type 0 = any. BOLE_E_NOT_FOUND; BOLE_E_CORRUPT: of another type. */
BOLE_MUST_USE enum bole_status bole_bitmap_meet(struct bitmap_walk *, const struct bole_oid *,
                                                uint8_t type, uint32_t *item);
static inline struct bitmap_met *bitmap_met(const struct bitmap_walk *walk, uint32_t item)
{
	return bole_oid_map_value(&walk->met, item);
}

/* What goes where: everything that an object reaches and that is neither in set nor in skip is
 * added to set, and to fresh. */
struct bitmap_reach {
	struct bitmap_bits *set;
	const struct bitmap_bits *skip; /* may be NULL */
	struct bitmap_bits *fresh;      /* may be NULL */
	bool sets;                      /* those of the index may be used */
};
BOLE_MUST_USE enum bole_status bole_bitmap_reach(struct bitmap_walk *, const struct bitmap_reach *,
                                                 const struct bole_oid *);

/* The same where history ends: at commits whose parents nobody sees. Goes to the commits in
 * between, with sets of none but with closures. BOLE_E_LIMIT: too many. */
struct bole_id_list;
BOLE_MUST_USE enum bole_status bole_bitmap_reach_near(struct bitmap_walk *,
                                                      const struct bitmap_reach *,
                                                      const struct bole_id_list *ends,
                                                      const struct bole_oid *);
/* Fills b->closures of the index that is being made (closure.c). head may be NULL. */
BOLE_MUST_USE enum bole_status bole_bitmap_close_tips(struct bitmap_walk *,
                                                      const struct bole_bitmap *old,
                                                      const struct bole_oid *head);
/* Fills b->tips (tips.c). */
BOLE_MUST_USE enum bole_status bole_bitmap_list_tips(struct bole_bitmap *, struct bole_snapshot *);

#endif /* BOLE_GIT_BITMAP_WALK_H */
