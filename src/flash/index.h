/* SPDX-License-Identifier: ISC */
/* The object index of one domain, in memory: immutable sorted runs of records in tiers, and the
 * tables of extents as runs of their own. A version (struct flash_index) is never changed once it
 * is published; a snapshot holds one and reads it without any lock.
 *
 * No id is in two record runs, nor in a record run that is younger than an extent that has it:
 * ids that are findable already are dropped when they are published. So the oldest entry of an id
 * is the one in a record run, else the one in the oldest extent. */
#ifndef BOLE_FLASH_INDEX_H
#define BOLE_FLASH_INDEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/oid.h"
#include "bole/status.h"
#include "flash/rows.h"

enum {
	/* So many runs of one tier are merged into one of the next. In memory a merge is a copy and
	 * each run costs every lookup a cache miss or two, so 2 beats the 8 that suits a device. */
	INDEX_TIER_RUNS = 2,
};

/* One fragment of an extent, as the map names it. */
struct flash_fragment {
	uint64_t logical;
	uint64_t sequence;
	uint64_t checksum;
	uint32_t segment;
	uint32_t offset;
	uint32_t length;
	uint32_t stream;
};

struct flash_extent {
	_Atomic uint32_t refs;
	struct bole_alloc *alloc;
	uint64_t id;
	uint64_t data_bytes;
	uint64_t table_bytes;
	uint64_t table_digest;
	uint32_t domain;
	uint32_t key_len;
	uint32_t rows;
	bool damaged;       /* the table or map did not verify: a miss is not a "not found" */
	uint32_t fragments; /* data first, then table, then map */
	uint32_t data_fragments;
	uint32_t map_fragments;
	struct flash_fragment *fragment;
	uint8_t *table;      /* rows as stored, sorted by id */
	uint32_t *by_offset; /* rows in the order of their offsets */
	struct flash_fan fan;
};

struct flash_domain;

struct flash_index {
	_Atomic uint32_t refs;
	struct flash_domain *domain;
	uint32_t runs;
	uint32_t extents;
	struct flash_rows **run;
	struct flash_extent **extent; /* in the order of publication */
	struct flash_extent **extent_by_id;
	uint64_t rows; /* of all runs and tables, duplicates included */
	size_t memory_bytes;
};

/* The first row of an extent whose id is key (the smallest offset). */
bool bole_flash_extent_find(const struct flash_extent *, const uint8_t *key, uint32_t *row);
/* The row that starts at offset; *order is its place in by_offset. */
bool bole_flash_extent_at(const struct flash_extent *, uint64_t offset, uint32_t *row,
                          uint32_t *order);
const uint8_t *bole_flash_extent_row(const struct flash_extent *, uint32_t row);
uint64_t bole_flash_row_offset(const struct flash_extent *, uint32_t row);
uint64_t bole_flash_row_stored(const struct flash_extent *, uint32_t row);
uint8_t bole_flash_row_type(const struct flash_extent *, uint32_t row);
uint32_t bole_flash_row_checksum(const struct flash_extent *, uint32_t row);
void bole_flash_row_put(uint8_t *row, uint32_t key_len, uint64_t offset, uint64_t stored,
                        uint8_t type, uint32_t checksum);
/* The data fragment that holds a logical position (< data_bytes). */
uint32_t bole_flash_extent_fragment(const struct flash_extent *, uint64_t logical);
/* Checks the table's grammar and builds by_offset and the fan-out. BOLE_E_CORRUPT. */
BOLE_MUST_USE enum bole_status bole_flash_extent_index(struct flash_extent *, void (*yield)(void *),
                                                       void *ctx);
/* The body of its EXTENT record; returns its length (dst may be NULL). */
size_t bole_flash_extent_body(const struct flash_extent *, uint8_t *dst);
struct flash_extent *bole_flash_extent_open(struct bole_alloc *);
void bole_flash_extent_release(struct flash_extent *);

/* A new version: base (may be NULL) plus a run and extents (each may be absent). Takes over the
 * caller's references to run and extents only when it returns BOLE_OK. */
BOLE_MUST_USE enum bole_status bole_flash_index_extend(struct bole_alloc *, struct flash_domain *,
                                                       const struct flash_index *base,
                                                       struct flash_rows *run,
                                                       struct flash_extent *const *extents,
                                                       uint32_t count, struct flash_index **out);
/* A version with the fullest tiers merged; *out is NULL when nothing needs it. */
BOLE_MUST_USE enum bole_status bole_flash_index_merge(struct bole_alloc *,
                                                      const struct flash_index *base,
                                                      void (*yield)(void *), void *ctx,
                                                      struct flash_index **out);
struct flash_index *bole_flash_index_retain(struct flash_index *);
/* True when that was the last owner and the version is gone; its domain is for the caller. */
bool bole_flash_index_release(struct bole_alloc *, struct flash_index *);

/* BOLE_OK: a record when *extent is NULL (*home is set), else a row of *extent. */
BOLE_MUST_USE enum bole_status bole_flash_index_find(const struct flash_index *, const uint8_t *key,
                                                     struct flash_home *home,
                                                     struct flash_extent **extent, uint32_t *row);
struct flash_extent *bole_flash_index_extent(const struct flash_index *, uint64_t id);

#endif /* BOLE_FLASH_INDEX_H */
