/* SPDX-License-Identifier: ISC */
/* The object index of one domain: a version is a small struct that names its parts, from the newest
 * to the oldest: rows in memory (mem: kills, moves and rows beside them; below it fresh: what was
 * just put), those that a checkpoint is writing out (the same two, frozen), sorted runs on the
 * device, and the extents. A version is never changed once it is published; a snapshot holds one
 * and reads it without any lock.
 *
 * A row in a run is INDEX_ROW_BYTES: prefix of the id, place, type, stored bytes. A row with
 * INDEX_KILL says that the row with this prefix and exactly this place in an older part is dead;
 * nothing else ever hides a row. A prefix is never believed: the whole id is compared with the one
 * that the record carries. No id has two live rows of records, for ids that are findable already
 * are dropped when they are published; extents bring what they like, and are asked last, the oldest
 * first. */
#ifndef BOLE_FLASH_INDEX_H
#define BOLE_FLASH_INDEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/oid.h"
#include "bole/status.h"
#include "flash/index/fresh.h"
#include "flash/index/mem.h"
#include "flash/index/rows.h"

enum {
	INDEX_PREFIX_BYTES = 6,
	INDEX_PLACE_AT = 6, /* 5, big-endian */
	INDEX_KEY_BYTES = 11,
	INDEX_TYPE_AT = 11,   /* u8: object type, and bits */
	INDEX_STORED_AT = 12, /* u24: bytes of the entry */
	INDEX_ROW_BYTES = 15,
	INDEX_KILL = 0x80,
	INDEX_EXTENT_ROW = 0x40, /* the place is one of an extent's row */
	INDEX_TYPE_MASK = 0x3f,
	INDEX_SLOTS = 65536,
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

struct flash_volume;
struct flash_run;

struct flash_extent {
	_Atomic uint32_t refs;
	struct flash_volume *v;
	uint64_t id;
	uint64_t data_bytes;
	uint32_t domain;
	uint32_t key_len;
	uint32_t rows;
	uint32_t slot;           /* unique among the live extents of the domain */
	bool damaged;            /* found at mount: a miss is not a "not found" */
	struct flash_run *table; /* rows by id; NULL = there is none */
	struct flash_run *order; /* and by offset */
	uint32_t fragments;      /* data first, then map */
	uint32_t map_fragments;
	struct flash_fragment *map;                /* the map's own */
	_Atomic(struct flash_fragment *) fragment; /* all of them; NULL = not read yet */
};

struct flash_domain;
struct flash_volume;
struct flash_reader;
struct flash_run;

/* Runs of a version, newest first; shared by versions until it changes. */
struct flash_runs {
	_Atomic uint32_t refs;
	uint32_t count;
	struct flash_run *run[];
};

/* Extents of a version, in the order of publication. */
struct flash_extents {
	_Atomic uint32_t refs;
	uint32_t count;
	struct flash_extent **by_id;
	struct flash_extent *extent[];
};

/* Rows in memory; either part may be NULL. */
struct flash_memory {
	struct flash_table *mem;
	struct flash_fresh *fresh;
	uint32_t rows; /* of fresh, that the version shows */
};

struct flash_index {
	_Atomic uint32_t refs;
	struct flash_domain *domain; /* outlives its versions */
	struct flash_memory now;
	struct flash_memory frozen;
	struct flash_runs *runs;       /* NULL = none */
	struct flash_extents *extents; /* NULL = none */
	uint64_t objects;              /* rows that live, duplicates in extents included */
	/* Of a state that a checkpoint saved: what was frozen is gone from it, but the element
	 * names the run of that, which no list here has. */
	bool slim;
};

/* What a lookup finds: a record, or a row of an extent. */
struct flash_found {
	struct flash_extent *extent; /* NULL = a record */
	uint64_t place;              /* of the record; of an extent: slot and row */
	uint64_t offset;             /* in the extent */
	uint64_t stored;
	uint32_t row;      /* in its extent or run */
	uint32_t run;      /* number of the run in the version's list */
	uint32_t checksum; /* in the extent's table */
	uint8_t type;
	bool moved; /* the row is in mem and was moved there: from and generation say so */
	uint64_t from;
	uint32_t generation;
	enum flash_found_where {
		FOUND_MEM,
		FOUND_FRESH,
		FOUND_FROZEN,
		FOUND_RUN,
		FOUND_EXTENT
	} where;
};

/* -- Extents (extent.h) -- */

/* Shows the ids of all rows in the order of the table. */
BOLE_MUST_USE enum bole_status
bole_flash_extent_each(struct flash_volume *, const struct flash_extent *,
                       enum bole_status (*row)(void *ctx, uint32_t number, const uint8_t *key),
                       void *ctx);

void bole_flash_extent_release(struct flash_extent *);

/* -- Versions (index.c) -- */

/* A version like base (NULL = an empty one) that is the caller's alone, to be changed by the calls
 * below, each of which leaves it as it was when it fails. */
BOLE_MUST_USE enum bole_status bole_flash_index_fork(struct flash_volume *, struct flash_domain *,
                                                     const struct flash_index *base,
                                                     struct flash_index **out);
/* A record for an id that is not findable. */
BOLE_MUST_USE enum bole_status bole_flash_index_put(struct flash_volume *, struct flash_index *,
                                                    const uint8_t *key, uint64_t place,
                                                    uint32_t stored, uint8_t type);
/* The same without a place yet, for the leader's draft. hash: bole_flash_key_hash. *row is for
 * place, which must follow before the draft is published. */
BOLE_MUST_USE enum bole_status bole_flash_index_put_fresh(struct flash_volume *,
                                                          struct flash_index *, const uint8_t *key,
                                                          uint64_t hash, uint32_t stored,
                                                          uint8_t type, uint32_t *row);
void bole_flash_index_place(struct flash_index *, const uint8_t *key, uint32_t row, uint64_t place);
/* Seeded: ids may be chosen by whoever pushes. */
uint64_t bole_flash_key_hash(const struct flash_volume *, const uint8_t *key, uint32_t key_len);
/* A row that was found is dead. */
BOLE_MUST_USE enum bole_status bole_flash_index_kill(struct flash_volume *, struct flash_index *,
                                                     const uint8_t *key,
                                                     const struct flash_found *);
/* Adds extents behind the others; retains them. */
BOLE_MUST_USE enum bole_status bole_flash_index_add(struct flash_volume *, struct flash_index *,
                                                    struct flash_extent *const *, uint32_t count);
/* Takes an extent out; nothing happens when it is not there. Rows that it had are not counted. */
BOLE_MUST_USE enum bole_status bole_flash_index_remove(struct flash_volume *, struct flash_index *,
                                                       uint64_t id);
/* Puts a version of an extent where the old one is; retained. */
BOLE_MUST_USE enum bole_status bole_flash_index_replace(struct flash_volume *, struct flash_index *,
                                                        const struct flash_extent *old,
                                                        struct flash_extent *extent);
/* Puts run (NULL = nothing; retained) where count runs from number `at` on were. */
BOLE_MUST_USE enum bole_status bole_flash_index_runs(struct flash_volume *, struct flash_index *,
                                                     uint32_t at, uint32_t count,
                                                     struct flash_run *run);
struct flash_index *bole_flash_index_retain(struct flash_index *);
/* NULL is fine. */
void bole_flash_index_drop(struct flash_volume *, struct flash_index *);

/* Items and rows in memory. */
static inline uint64_t bole_flash_memory_rows(const struct flash_memory *m)
{
	return (m->mem == NULL ? 0 : m->mem->items) + m->rows;
}
/* NULL is fine. */
static inline uint64_t bole_flash_index_mem_rows(const struct flash_index *index)
{
	return index == NULL ? 0 : bole_flash_memory_rows(&index->now);
}
static inline bool bole_flash_index_frozen(const struct flash_index *index)
{
	return index->frozen.mem != NULL || index->frozen.fresh != NULL;
}
/* Gives it back and leaves it empty. */
void bole_flash_memory_release(struct flash_volume *, struct flash_memory *);

static inline uint32_t bole_flash_index_extents(const struct flash_index *index)
{
	return index == NULL || index->extents == NULL ? 0 : index->extents->count;
}
struct flash_extent *bole_flash_index_extent(const struct flash_index *, uint64_t id);
/* A number for an extent that is about to be published; marks it as used. The leader's. */
uint32_t bole_flash_slot_take(struct flash_domain *);

/* -- Lookups (find.c) -- */

/* The row that counts for an id. BOLE_E_NOT_FOUND; BOLE_E_CORRUPT and others: nobody can tell.
 * index may be NULL. reader: for records' heads; its buffers change. */
BOLE_MUST_USE enum bole_status bole_flash_index_find(struct flash_volume *,
                                                     const struct flash_index *, const uint8_t *key,
                                                     struct flash_reader *,
                                                     struct flash_found *out);
/* The same with the id's bole_flash_key_hash. */
BOLE_MUST_USE enum bole_status
bole_flash_index_find_hashed(struct flash_volume *, const struct flash_index *, const uint8_t *key,
                             uint64_t hash, struct flash_reader *, struct flash_found *out);
/* The same for an id that was not found in another version: only what that one has not is asked,
 * and of rows of fresh the first ones: the others are for other ids, the caller says. */
BOLE_MUST_USE enum bole_status
bole_flash_index_find_since(struct flash_volume *, const struct flash_index *, uint32_t rows,
                            const struct flash_index *then, const uint8_t *key, uint64_t hash,
                            struct flash_reader *, struct flash_found *out);
/* Shows every live row of an id, the one that counts first. trust: rows of runs that start like the
 * id are taken for its rows, without a look at the records. */
BOLE_MUST_USE enum bole_status
bole_flash_index_each(struct flash_volume *, const struct flash_index *, const uint8_t *key,
                      struct flash_reader *, bool trust,
                      enum bole_status (*row)(void *ctx, const struct flash_found *), void *ctx);

/* -- Moves, for the cleaner -- */

/* The record at place is the one that counts for its id; *out says in which part its row is. Reads
 * no record. BOLE_E_NOT_FOUND. */
BOLE_MUST_USE enum bole_status bole_flash_index_current(struct flash_volume *,
                                                        const struct flash_index *,
                                                        const uint8_t *key, uint64_t place,
                                                        struct flash_found *out);
/* In a draft: the record of that row is at place now. generation: of the anchor that will say so.
 */
BOLE_MUST_USE enum bole_status bole_flash_index_move(struct flash_volume *, struct flash_index *,
                                                     const uint8_t *key, const struct flash_found *,
                                                     uint64_t place, uint32_t generation);

/* -- All rows (walk.c) -- */

/* Some item of an id that starts with the prefix kills the record at place. */
bool bole_flash_mem_kills(const struct flash_table *, const uint8_t *prefix, uint64_t place);

/* The table kills the record of that very id at place. */
bool bole_flash_mem_kills_row(const struct flash_table *, struct bole_bytes key, uint64_t place);
/* The kill (mem.h) is of a record at that place. */
static inline bool bole_flash_kill_of(const uint8_t *kill, uint64_t place)
{
	return bole_flash_kill_place(kill) == place &&
	       (bole_flash_kill_type(kill) & INDEX_EXTENT_ROW) == 0;
}
/* The id's row in fresh, dead or not. */
bool bole_flash_memory_row(const struct flash_volume *, const struct flash_memory *,
                           struct bole_bytes key, struct flash_fresh_row *out);

/* A live row of a record. Rows of mem and frozen come with their whole id, those of runs with its
 * prefix only (key NULL). */
struct flash_walk_row {
	const uint8_t *key;
	const uint8_t *prefix;
	uint64_t place;
	uint32_t stored;
	uint8_t type;
};
/* Shows every live row of records; those of runs in the order of ids' prefixes. Reads the runs past
 * the cache and yields now and then. An error of row ends it. */
BOLE_MUST_USE enum bole_status
bole_flash_index_walk(struct flash_volume *, const struct flash_index *,
                      enum bole_status (*row)(void *ctx, const struct flash_walk_row *), void *ctx);

#endif /* BOLE_FLASH_INDEX_H */
