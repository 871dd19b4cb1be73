/* SPDX-License-Identifier: ISC */
/* Compact hash tables keyed by object ids, for sets of a million ids inside a budget.
 *
 * struct bole_oid_index is only the table: slots of 5 bytes that name items which live elsewhere (a
 * row, a list head). struct bole_oid_map keeps the items too: raw id + a small value, in chunks, so
 * that growing never copies them. About id bytes + value bytes + 10 an item.
 *
 * Ids come from peers who may choose them, so the hash is keyed with random words: a crowd of ids
 * that falls into one slot cannot be prepared. Growing the table yields on the way. */
#ifndef BOLE_GIT_OID_MAP_H
#define BOLE_GIT_OID_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/oid.h"
#include "bole/platform.h"
#include "bole/types.h"

/* Not an enumerator: those are ints. */
#define BOLE_OID_NONE UINT32_MAX

/* Shows the raw id of an item. */
typedef const uint8_t *bole_oid_key_fn(const void *items, uint32_t item);

enum { BOLE_OID_SLOT_BYTES = 5 };

struct bole_oid_index {
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	bole_oid_key_fn *key_of;
	const void *items;
	size_t key_bytes;
	uint64_t secret[4];
	uint32_t *slots; /* items */
	uint8_t *tags;   /* of their hashes, so that others' keys are not looked at; 0 = empty */
	uint32_t slot_count;
	uint32_t used;
};

void bole_oid_index_init(struct bole_oid_index *, struct bole_platform *, struct bole_alloc *,
                         uint8_t algo, bole_oid_key_fn *key_of, const void *items);
void bole_oid_index_release(struct bole_oid_index *);
/* The item with this id, or BOLE_OID_NONE. */
uint32_t bole_oid_index_find(const struct bole_oid_index *, const uint8_t *key);
/* Adds an item whose key is not there yet. BOLE_E_NO_MEMORY. */
BOLE_MUST_USE enum bole_status bole_oid_index_add(struct bole_oid_index *, uint32_t item);
/* Finds the item with the id of this one, or adds this one and is BOLE_OID_NONE. */
BOLE_MUST_USE enum bole_status bole_oid_index_put(struct bole_oid_index *, uint32_t item,
                                                  uint32_t *there);
/* Says that the id will be looked for soon. */
void bole_oid_index_prefetch(const struct bole_oid_index *, const uint8_t *key);
/* Removes the item with this id; false when there is none. */
bool bole_oid_index_remove(struct bole_oid_index *, const uint8_t *key);
/* Makes the slot of key name another item with the same key. */
void bole_oid_index_replace(struct bole_oid_index *, const uint8_t *key, uint32_t item);

struct bole_oid_map {
	struct bole_oid_index index;
	struct bole_alloc *alloc;
	size_t key_bytes;
	size_t stride;
	uint8_t **chunks;
	uint32_t chunk_count;
	uint32_t chunk_cap;
	uint32_t count;
};

/* value_bytes is a multiple of 4; values are aligned to 4. */
void bole_oid_map_init(struct bole_oid_map *, struct bole_platform *, struct bole_alloc *,
                       uint8_t algo, size_t value_bytes);
/* Safe on a zeroed struct. The map must not be moved in memory while it is in use. */
void bole_oid_map_release(struct bole_oid_map *);
static inline uint32_t bole_oid_map_find(const struct bole_oid_map *map, const uint8_t *key)
{
	return bole_oid_index_find(&map->index, key);
}
/* Finds or adds. A new value is zeroed and *added is true. BOLE_E_NO_MEMORY, BOLE_E_LIMIT. */
BOLE_MUST_USE enum bole_status bole_oid_map_put(struct bole_oid_map *, const uint8_t *key,
                                                uint32_t *item, bool *added);
/* Removes an item; the last item takes its number. */
void bole_oid_map_remove(struct bole_oid_map *, uint32_t item);
const uint8_t *bole_oid_map_key(const struct bole_oid_map *, uint32_t item);
void *bole_oid_map_value(const struct bole_oid_map *, uint32_t item);
/* Of memory. */
size_t bole_oid_map_bytes(const struct bole_oid_map *);

#endif /* BOLE_GIT_OID_MAP_H */
