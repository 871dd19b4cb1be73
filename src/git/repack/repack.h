/* SPDX-License-Identifier: ISC */
/* Inside of a repack: repack.c drives; choose.c decides what is taken, items.c reads the heads of
 * its entries, names.c gives paths to what trees name, judge.c says whether
 * deltas that are there are any good, window.c looks for deltas, write.c writes
 * the pack, check.c reads it back. */
#ifndef BOLE_GIT_REPACK_H
#define BOLE_GIT_REPACK_H

#include "base/deflate.h"
#include "bole/repack.h"
#include "git/object/object.h"
#include "git/object/oid_map.h"
#include "git/object/read.h"

enum { REPACK_NONE = -1, REPACK_PACK_HEAD_BYTES = 12, REPACK_WORK_YIELD = 32 * 1024 };

/* One object that is taken. Its number is that of its id in the map. */
struct repack_item {
	uint64_t extent; /* where it is */
	uint64_t offset;
	uint64_t stored;
	uint64_t size;      /* inflated, of those that are compared */
	uint64_t payload;   /* inflated, of what is stored: the object, or a delta */
	uint8_t *deflated;  /* the delta that was made, while there is memory for it */
	uint32_t delta_len; /* of that, inflated */
	uint32_t deflated_len;
	uint32_t name; /* hash of its path */
	uint32_t rank; /* in time, from 1; 0 = unknown */
	int32_t base;  /* in the new pack, REPACK_NONE = whole */
	int32_t was;   /* the base of what is stored; REPACK_NONE = it is no delta, or of something
	                  else */
	int32_t row;   /* in the new pack, REPACK_NONE = not written yet */
	uint8_t type;
	uint8_t head_bytes;
	uint8_t depth;  /* of the chain below it */
	uint8_t height; /* of the highest chain on it */
	bool delta;     /* stored as one */
	bool kept;      /* as a delta of base */
	bool walked;    /* a tree whose names were given out */
	bool turned;    /* its versions go from the longest to the shortest */
	bool judged;    /* nothing about its base changes any more */
	uint8_t state;  /* while chains are settled */
};

struct repack {
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	struct bole_store *store;
	uint32_t repo;
	struct bole_repack_options options; /* without zeros */
	struct bole_repack_result *result;
	struct bole_snapshot *snapshot;
	struct bole_object_reader *reader;
	uint8_t algo;
	struct bole_extent_info *packs; /* all of them, by number */
	size_t pack_count;
	size_t pack_cap;
	uint64_t *taken; /* numbers, ascending */
	size_t taken_count;
	struct bole_oid_map map;
	struct repack_item *items;
	uint32_t item_cap;
	size_t cached; /* bytes of deltas that wait */
	struct bole_deflater *deflater;
	struct bole_tx *tx;
	uint64_t extent; /* of the new pack */
	uint64_t written;
	struct bole_extent_row *rows;
	uint32_t row_count;
	uint64_t work;
	uint64_t tick_ns;
	const char *phase;
	uint64_t done;
	uint64_t total;
};

/* Counts work (in bytes, roughly), yields, reports and asks whether to go on. */
BOLE_MUST_USE enum bole_status bole_repack_spend(struct repack *, uint64_t work);
void bole_repack_phase(struct repack *, const char *phase, uint64_t total);
enum bole_status bole_repack_fail(struct repack *, enum bole_status rc, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
struct bole_entry bole_repack_entry(const struct repack_item *);

/* Sets taken. BOLE_END: nothing is worth it. */
BOLE_MUST_USE enum bole_status bole_repack_choose(struct repack *);
/* Remembers in the store that the new pack needs no other look. */
BOLE_MUST_USE enum bole_status bole_repack_note_made(struct repack *);
/* An extent that is not taken and has an id of the items, but for the new pack, or 0. */
BOLE_MUST_USE enum bole_status bole_repack_shared(struct repack *, struct bole_snapshot *,
                                                  uint64_t *extent);
void bole_repack_take(struct repack *, uint64_t extent);
bool bole_repack_is_pack(const struct repack *, uint64_t extent);
bool bole_repack_is_taken(const struct repack *, uint64_t extent);
/* The items, and which deltas stay. */
BOLE_MUST_USE enum bole_status bole_repack_items(struct repack *);
/* No delta is kept. */
void bole_repack_items_anew(struct repack *);
void bole_repack_items_release(struct repack *);
BOLE_MUST_USE enum bole_status bole_repack_names(struct repack *);
/* Keeps no deltas when those that are there leave much more than they need to. */
BOLE_MUST_USE enum bole_status bole_repack_judge(struct repack *);
BOLE_MUST_USE enum bole_status bole_repack_deltas(struct repack *);
BOLE_MUST_USE enum bole_status bole_repack_write(struct repack *);
/* Every object of the new pack reads as what its id says. */
BOLE_MUST_USE enum bole_status bole_repack_check(struct repack *);

#endif /* BOLE_GIT_REPACK_H */
