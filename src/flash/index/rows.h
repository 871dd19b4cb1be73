/* SPDX-License-Identifier: ISC */
/* Sorted rows in memory: a whole key and where its record is. */
#ifndef BOLE_FLASH_ROWS_H
#define BOLE_FLASH_ROWS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"

enum {
	INDEX_FAN_ROWS = 8,      /* rows a bucket of a fan-out, about */
	INDEX_FAN_BITS_MAX = 24, /* of the key that choose the bucket */
	ROWS_SEGMENT_AT = 0,     /* u32; positions after the key */
	ROWS_OFFSET_AT = 4,      /* u32: of the record head in the segment */
	ROWS_STORED_AT = 8,      /* u24 */
	ROWS_TYPE_AT = 11,       /* u8 */
	ROWS_HOME_BYTES = 12,
};

/* Where the rows start whose keys begin with certain bits. Ids are spread evenly, so a bucket holds
 * a few rows; where somebody chose them otherwise a search in it costs no more than one in all. */
struct flash_fan {
	uint32_t bits;   /* 0 = one bucket */
	uint32_t *start; /* 2^bits + 1 of them, or NULL */
};

/* Where a record is. */
struct flash_home {
	uint32_t segment;
	uint32_t offset;
	uint32_t stored;
	uint8_t type;
};

struct flash_rows {
	_Atomic uint32_t refs;
	uint32_t count;
	uint32_t key_len;
	struct flash_fan fan;
	uint8_t rows[]; /* key, segment, offset, stored, type; sorted by key */
};

static inline size_t bole_flash_rows_width(uint32_t key_len)
{
	return (size_t)key_len + ROWS_HOME_BYTES;
}

struct flash_rows *bole_flash_rows_open(struct bole_alloc *, uint32_t key_len, uint32_t count);
void bole_flash_rows_set(struct flash_rows *, uint32_t at, const uint8_t *key,
                         const struct flash_home *);
struct flash_home bole_flash_rows_home(const struct flash_rows *, uint32_t at);
const uint8_t *bole_flash_rows_key(const struct flash_rows *, uint32_t at);
/* Sorts by key and fills the fan-out. */
void bole_flash_rows_finish(struct flash_rows *);
void bole_flash_rows_release(struct bole_alloc *, struct flash_rows *);
/* Buckets for so many rows. */
uint32_t bole_flash_fan_bits(uint32_t rows);
static inline size_t bole_flash_fan_count(uint32_t bits)
{
	return bits == 0 ? 0 : ((size_t)1 << bits) + 1;
}
/* Fills start (bole_flash_fan_count of them) from sorted rows. */
void bole_flash_fan_fill(struct flash_fan *, const uint8_t *rows, size_t width, uint32_t count);
/* The first of count sorted rows whose key is >= key; count if there is none. */
uint32_t bole_flash_rows_lower(const struct flash_fan *, const uint8_t *rows, size_t width,
                               uint32_t count, const uint8_t *key, uint32_t key_len);
bool bole_flash_rows_find(const struct flash_rows *, const uint8_t *key, uint32_t *at);

#endif /* BOLE_FLASH_ROWS_H */
