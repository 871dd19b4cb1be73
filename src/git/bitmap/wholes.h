/* SPDX-License-Identifier: ISC */
/* Objects of closures that are stored as deltas of something outside of them: old versions that a
 * clone of depth 1 does not get. To send them they must be made whole, which costs more than all
 * the rest of it; so they are kept whole, too, beside the index and under its positions.
 *
 * They are auxiliary records of the generation of an index that was saved with them: positions are
 * for good, so they serve what grew out of that index as well. What is missing or damaged is made
 * as ever. */
#ifndef BOLE_GIT_BITMAP_WHOLES_H
#define BOLE_GIT_BITMAP_WHOLES_H

#include "base/deflate.h"
#include "git/bitmap/bitmap.h"

enum {
	WHOLE_CONTENT_MAX = 4 << 20,   /* of an object; larger ones are made each time */
	WHOLE_BYTES_MAX = 512 * 1024,  /* of its entry; the same */
	WHOLES_BYTES_MAX = 16 << 20,   /* of one repository, as they are kept */
	WHOLES_OBJECTS_MAX = 1 << 17,  /* the same */
	WHOLES_CLOSURES_MAX = 1 << 15, /* objects of all closures that are looked through */
};

/* -- Making -- */

struct bole_wholes_item {
	uint32_t position;
	uint32_t len;
	size_t at; /* in bytes */
};

struct bole_wholes {
	struct bole_bitmap *bitmap; /* borrowed */
	struct bole_alloc *alloc;
	struct bole_deflater *deflater;
	struct bole_buffer bytes; /* entries */
	struct bole_buffer items; /* struct bole_wholes_item */
	struct bitmap_bits have;
	size_t made; /* bytes that did not come from the store */
};

BOLE_MUST_USE enum bole_status bole_wholes_open(struct bole_wholes *, struct bole_bitmap *,
                                                struct bole_alloc *, size_t bytes_max);
void bole_wholes_close(struct bole_wholes *);
bool bole_wholes_has(const struct bole_wholes *, uint32_t position);
/* Keeps an entry as it is. What finds no room is left out. */
BOLE_MUST_USE enum bole_status bole_wholes_keep(struct bole_wholes *, uint32_t position,
                                                struct bole_bytes entry);
/* Makes an entry of an object and keeps it. */
BOLE_MUST_USE enum bole_status bole_wholes_make(struct bole_wholes *, uint32_t position,
                                                uint8_t type, struct bole_bytes content);
/* Writes them in place of those that were there. */
BOLE_MUST_USE enum bole_status bole_wholes_put(struct bole_wholes *, struct bole_tx *,
                                               uint64_t generation);

/* -- Reading -- */

/* Goes through them in the order of positions, a piece in memory at a time. */
struct bole_wholes_reader {
	struct bole_snapshot *snapshot;
	struct bole_alloc *alloc;
	uint64_t generation;
	uint32_t next; /* piece */
	uint32_t pieces;
	uint8_t *value;
	size_t len;
	size_t at;
	bool ended;
};

void bole_wholes_reader_init(struct bole_wholes_reader *, const struct bole_bitmap *,
                             struct bole_snapshot *, struct bole_alloc *);
void bole_wholes_reader_close(struct bole_wholes_reader *);
/* The entry of a position, borrowed until the next call; positions below one that was asked for
 * before are not found. Ends what is borrowed from the snapshot. */
bool bole_wholes_find(struct bole_wholes_reader *, uint32_t position, struct bole_bytes *out);

#endif /* BOLE_GIT_BITMAP_WHOLES_H */
