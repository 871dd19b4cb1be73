/* SPDX-License-Identifier: ISC */
/* Extents: the entries of a pack, or puts that were spilled. */
#ifndef BOLE_FLASH_EXTENT_H
#define BOLE_FLASH_EXTENT_H

#include "flash/index/run.h"
#include "flash/volume/volume.h"

/* One entry. */
struct flash_extent_row {
	uint64_t offset;
	uint64_t stored;
	uint32_t number; /* in the table */
	uint32_t checksum;
	uint8_t type;
};

/* Fragments of data; those of the map follow them in the list. */
static inline uint32_t bole_flash_extent_data(const struct flash_extent *e)
{
	return e->fragments - e->map_fragments;
}

/* -- Entries -- */

/* The nth row of an id, by offset. BOLE_E_NOT_FOUND, BOLE_E_CORRUPT, errors of reading. */
BOLE_MUST_USE enum bole_status bole_flash_extent_find(const struct flash_extent *,
                                                      const uint8_t *key, uint32_t nth,
                                                      struct flash_extent_row *out);
/* The row that starts at offset; *order is its number in the order of offsets. */
BOLE_MUST_USE enum bole_status bole_flash_extent_at(const struct flash_extent *, uint64_t offset,
                                                    struct flash_extent_row *out, uint32_t *order);
/* A row (< rows) by its number in the order of offsets. */
BOLE_MUST_USE enum bole_status bole_flash_extent_nth(const struct flash_extent *, uint32_t order,
                                                     struct flash_extent_row *out);
/* From a row of its order that a cursor shows. */
BOLE_MUST_USE enum bole_status bole_flash_extent_row_of(const struct flash_extent *,
                                                        const uint8_t *row,
                                                        struct flash_extent_row *out);
/* The id of a row by its number in the table. */
BOLE_MUST_USE enum bole_status bole_flash_extent_key(const struct flash_extent *, uint32_t number,
                                                     uint8_t *key);
/* Shows all rows in the order of offsets. */
BOLE_MUST_USE enum bole_status
bole_flash_extent_in_order(struct flash_volume *, const struct flash_extent *,
                           enum bole_status (*row)(void *ctx, const struct flash_extent_row *),
                           void *ctx);
void bole_flash_row_put(uint8_t *row, uint32_t key_len, uint64_t offset, uint64_t stored,
                        uint8_t type, uint32_t checksum);

/* -- Fragments -- */

/* All fragments: of the data, then of the map. Read when they are first asked for, borrowed as long
 * as the extent is held. */
BOLE_MUST_USE enum bole_status bole_flash_extent_map(const struct flash_extent *,
                                                     const struct flash_fragment **out);
/* The number of the data fragment that holds a logical position (< data_bytes). */
uint32_t bole_flash_extent_fragment(const struct flash_extent *, const struct flash_fragment *list,
                                    uint64_t logical);
/* What becomes of everything that it occupies. Where the map may not have been read, not locked. */
void bole_flash_extent_change(const struct flash_extent *, enum flash_change, bool locked);
/* Every fragment and page verifies. */
BOLE_MUST_USE enum bole_status bole_flash_extent_verify(struct flash_volume *,
                                                        const struct flash_extent *);

/* -- Versions (extent_move.c) -- */

/* A version of the extent that has nothing in a segment (SEGMENT_NONE: wherever it is) and no data
 * in fragments that are dead (a bit for each, or NULL). What is new is held; the rest is shared. */
BOLE_MUST_USE enum bole_status bole_flash_extent_remake(const struct flash_extent *,
                                                        uint32_t segment, const uint8_t *dead,
                                                        enum flash_purpose,
                                                        struct flash_extent **out);
/* What becomes of the places in which the two differ: HELD_PUBLISHED: it takes the old one's place;
 * HELD_DROPPED: it does not. Lock held. */
void bole_flash_extent_moved(const struct flash_extent *old, const struct flash_extent *,
                             enum flash_change);

/* -- Making -- */

struct flash_extent *bole_flash_extent_open(struct flash_volume *);
/* Writes table and order from rows that are sorted by id (key, then ROW_...). key_len and
 * data_bytes are set. BOLE_E_INVALID: entries overlap. */
BOLE_MUST_USE enum bole_status bole_flash_extent_write(struct flash_extent *, const uint8_t *table,
                                                       uint32_t rows);
/* The body of its EXTENT record; returns its length (dst may be NULL). */
size_t bole_flash_extent_body(const struct flash_extent *, uint8_t *dst);
/* From the body of an EXTENT record; reads nothing else. key_len 0: whatever it says. */
BOLE_MUST_USE enum bole_status bole_flash_extent_load(struct flash_volume *, uint32_t domain,
                                                      uint32_t key_len, struct bole_bytes body,
                                                      struct flash_extent **out);

#endif /* BOLE_FLASH_EXTENT_H */
