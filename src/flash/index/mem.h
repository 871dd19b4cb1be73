/* SPDX-License-Identifier: ISC */
/* The memtable of a domain: rows since the pin of the last checkpoint, by whole id. It is a
 * persistent table, so a commit makes a version that shares nearly everything with the one before.
 *
 * An item says where the object's record is (`has`), and which rows in older places of the index it
 * kills: rows that were dropped, or moved. An item that has no row and only kills means that the
 * object is gone: a lookup ends there. */
#ifndef BOLE_FLASH_MEM_H
#define BOLE_FLASH_MEM_H

#include <stdbool.h>
#include <stdint.h>

#include "flash/index/table.h"

/* A place names bytes: segment (16 bits), offset in it (24). For a row of an extent: slot (16),
 * number of the row (24). */
#define FLASH_PLACE_BITS 40

enum {
	MEM_FLAGS_AT = 0,  /* u8 */
	MEM_TYPE_AT = 1,   /* u8: object type */
	MEM_KILLS_AT = 2,  /* u16 */
	MEM_STORED_AT = 4, /* u32 */
	MEM_PLACE_AT = 8,  /* 5, big-endian */
	MEM_HEAD_BYTES = 13,
	/* Only with MEM_MOVED. */
	MEM_FROM_AT = 13,       /* 5: the place before the move */
	MEM_GENERATION_AT = 18, /* u32: of the anchor that makes the move durable */
	MEM_MOVED_BYTES = 22,
	MEM_KILL_BYTES = 6, /* place, type */
	MEM_KILLS_MAX = 16384,
};
enum {
	MEM_HAS = 1,
	MEM_MOVED = 2,
};

static inline uint64_t bole_flash_place(uint32_t segment, uint32_t offset)
{
	return (uint64_t)segment << 24 | offset;
}

static inline uint32_t bole_flash_place_segment(uint64_t place)
{
	return (uint32_t)(place >> 24);
}

static inline uint32_t bole_flash_place_offset(uint64_t place)
{
	return (uint32_t)place & 0xffffffu;
}

static inline void bole_flash_put_be40(uint8_t *p, uint64_t place)
{
	for (int i = 4; i >= 0; i--, place >>= 8)
		p[i] = (uint8_t)place;
}

static inline uint64_t bole_flash_get_be40(const uint8_t *p)
{
	uint64_t place = 0;

	for (int i = 0; i < 5; i++)
		place = place << 8 | p[i];
	return place;
}

/* Bytes of the value at the start of bytes; 0 when they are too few. */
size_t bole_flash_mem_value_bytes(struct bole_bytes bytes);

/* The value of an item with a row that kills nothing: MEM_HEAD_BYTES. */
void bole_flash_mem_value(uint8_t *value, uint64_t place, uint32_t stored, uint8_t type);

/* One item taken apart; kill points into it. */
struct flash_mem_row {
	uint64_t place;
	uint64_t from; /* the place before the last move; only when moved */
	uint32_t generation;
	uint32_t stored;
	uint8_t type;
	bool has;
	bool moved;
	uint32_t kills;
	const uint8_t *kill; /* MEM_KILL_BYTES each */
};

/* False when the bytes cannot be an item's value. */
bool bole_flash_mem_parse(struct bole_bytes value, struct flash_mem_row *out);
bool bole_flash_mem_get(const struct flash_table *, struct bole_bytes key,
                        struct flash_mem_row *out);
static inline uint64_t bole_flash_kill_place(const uint8_t *kill)
{
	return bole_flash_get_be40(kill);
}
static inline uint8_t bole_flash_kill_type(const uint8_t *kill)
{
	return kill[5];
}

/* The object is at place now. Kills stay. */
BOLE_MUST_USE enum bole_status bole_flash_mem_put(const struct flash_table_kind *,
                                                  struct flash_table **, struct bole_bytes key,
                                                  uint64_t place, uint32_t stored, uint8_t type);
/* Fills in the place of an item that was put into a table of our own. */
void bole_flash_mem_set_place(struct flash_table *, struct bole_bytes key, uint64_t place);
/* The row at place, which lies in an older part of the index, is dead. */
BOLE_MUST_USE enum bole_status bole_flash_mem_kill(const struct flash_table_kind *,
                                                   struct flash_table **, struct bole_bytes key,
                                                   uint64_t place, uint8_t type);
/* The object's row in this very table is dead. Nothing happens when it is not at place. */
BOLE_MUST_USE enum bole_status bole_flash_mem_unput(const struct flash_table_kind *,
                                                    struct flash_table **, struct bole_bytes key,
                                                    uint64_t place);
/* The record went from one place to another; generation: of the anchor that will say so. older:
 * the row that named the old place lies in an older part of the index and is killed. */
BOLE_MUST_USE enum bole_status bole_flash_mem_move(const struct flash_table_kind *,
                                                   struct flash_table **, struct bole_bytes key,
                                                   uint64_t from, uint64_t to, uint32_t stored,
                                                   uint8_t type, uint32_t generation, bool older);

#endif /* BOLE_FLASH_MEM_H */
