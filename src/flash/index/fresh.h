/* SPDX-License-Identifier: ISC */
/* Rows of records that were put since the last checkpoint's pin, by whole id: a hash table that
 * only grows. It is part of the memtable of a domain, below the table of kills and moves (mem.h),
 * which hides rows of it by their place as it hides those of runs.
 *
 * All versions of an index share one table and each knows how many rows it may see: what was
 * published is never changed, so a version costs nothing. There is one writer, the leader; readers
 * take no lock: a slot is read atomically and says a number of a row, and rows below a version's
 * number were written before that version was published under the volume's lock. Arrays that grew
 * too small stay until the table goes, for those who are still looking into them.
 *
 * No id has two rows: a put of an id that mem has an item for goes into mem. */
#ifndef BOLE_FLASH_FRESH_H
#define BOLE_FLASH_FRESH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/status.h"
#include "flash/index/sort.h"

enum { FRESH_ROWS_MAX = (1 << 24) - 64 };
#define FRESH_NONE UINT32_MAX

struct flash_fresh;

struct flash_fresh_row {
	uint64_t place;
	uint32_t stored;
	uint8_t type;
	const uint8_t *key;
};

/* For ids of key_len bytes and, to begin with, about so many rows. */
BOLE_MUST_USE enum bole_status bole_flash_fresh_open(struct bole_alloc *, uint32_t key_len,
                                                     uint32_t rows, struct flash_fresh **out);
/* NULL is fine for both. */
struct flash_fresh *bole_flash_fresh_retain(struct flash_fresh *);
void bole_flash_fresh_release(struct flash_fresh *);

/* The number of the id's row among [from, rows), FRESH_NONE = there is none. hash: a seeded one of
 * the id, ids may be chosen by whoever pushes. */
uint32_t bole_flash_fresh_find(const struct flash_fresh *, uint32_t from, uint32_t rows,
                               const uint8_t *key, uint64_t hash);
/* Brings what find will touch near. */
void bole_flash_fresh_prefetch(const struct flash_fresh *, uint64_t hash);
/* The same for a row. */
void bole_flash_fresh_row_prefetch(const struct flash_fresh *, uint32_t row);
struct flash_fresh_row bole_flash_fresh_row(const struct flash_fresh *, uint32_t row);

/* Adds row number `rows`, for an id that has none; rows that a draft left behind it are forgotten.
 * The leader's. BOLE_E_LIMIT: it is full. */
BOLE_MUST_USE enum bole_status bole_flash_fresh_add(struct flash_fresh *, uint32_t rows,
                                                    const uint8_t *key, uint64_t hash,
                                                    uint32_t stored, uint8_t type);
/* Fills in the place of a row that nobody has seen. */
void bole_flash_fresh_place(struct flash_fresh *, uint32_t row, uint64_t place);

/* The first `rows` rows in the order of the first eight bytes of their ids: items[i].row. spare has
 * room for as many. */
void bole_flash_fresh_sort(const struct flash_fresh *, uint32_t rows, struct flash_sort_item *items,
                           struct flash_sort_item *spare, void (*yield)(void *), void *ctx);

#endif /* BOLE_FLASH_FRESH_H */
