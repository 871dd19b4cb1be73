/* SPDX-License-Identifier: ISC */
#include "git/object/oid_map.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"

enum {
	SLOTS_MIN = 64,
	CHUNK_SHIFT = 10, /* items in a chunk of a map, as a power of two */
	CHUNK_ITEMS = 1 << CHUNK_SHIFT,
	ITEMS_MAX = 1 << 30,
	REHASH_YIELD_MASK = (1 << 12) - 1,
};

__extension__ typedef unsigned __int128 wide;

static uint64_t fold(uint64_t a, uint64_t b)
{
	wide product = (wide)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* A call of memcmp costs more than the comparison, in the hottest loop of a walk. */
static inline bool key_equal(const struct bole_oid_index *index, const uint8_t *x, const uint8_t *y)
{
	size_t tail = index->key_bytes - 8;
	uint64_t a[4], b[4];

	memcpy(a, x, 16);
	memcpy(b, y, 16);
	memcpy(&a[2], x + tail, 8);
	memcpy(&b[2], y + tail, 8);
	if (((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2])) != 0)
		return false;
	if (index->key_bytes != 32)
		return true;
	memcpy(&a[3], x + 16, 8);
	memcpy(&b[3], y + 16, 8);
	return a[3] == b[3];
}

/* Every byte of the key counts, else ids that differ only in the rest would share a slot. */
static inline uint64_t key_hash(const struct bole_oid_index *index, const uint8_t *key)
{
	uint64_t a, b, c, d = 0;

	memcpy(&a, key, 8);
	memcpy(&b, key + 8, 8);
	memcpy(&c, key + index->key_bytes - 8, 8);
	if (index->key_bytes == 32)
		memcpy(&d, key + 16, 8);
	return fold(a ^ index->secret[0], b ^ index->secret[1]) ^
	       fold(c ^ index->secret[2], d ^ index->secret[3]);
}

void bole_oid_index_init(struct bole_oid_index *index, struct bole_platform *platform,
                         struct bole_alloc *alloc, uint8_t algo, bole_oid_key_fn *key_of,
                         const void *items)
{
	*index = (struct bole_oid_index){.platform = platform, .alloc = alloc};
	index->key_of = key_of;
	index->items = items;
	index->key_bytes = bole_hash_bytes(algo);
	BOLE_ASSERT(index->key_bytes == 20 || index->key_bytes == 32);
}

void bole_oid_index_release(struct bole_oid_index *index)
{
	bole_alloc_free(index->alloc, index->slots, index->slot_count, sizeof *index->slots);
	bole_alloc_free(index->alloc, index->tags, index->slot_count, sizeof *index->tags);
	index->slots = NULL;
	index->tags = NULL;
	index->slot_count = 0;
	index->used = 0;
}

/* Never that of an empty slot. */
static uint8_t tag_of(uint64_t hash)
{
	return (uint8_t)(hash >> 57 | 0x80);
}

static const uint8_t *key_at(const struct bole_oid_index *index, uint32_t slot)
{
	return index->key_of(index->items, index->slots[slot]);
}

static uint32_t home_slot(const struct bole_oid_index *index, uint32_t slot)
{
	return (uint32_t)key_hash(index, key_at(index, slot)) & (index->slot_count - 1);
}

/* The slot that holds key, or the empty one where it belongs. */
static uint32_t slot_of(const struct bole_oid_index *index, const uint8_t *key, uint64_t hash)
{
	uint32_t mask = index->slot_count - 1;
	uint32_t slot = (uint32_t)hash & mask;
	uint8_t tag = tag_of(hash);

	for (; index->tags[slot] != 0; slot = (slot + 1) & mask)
		if (index->tags[slot] == tag && key_equal(index, key_at(index, slot), key))
			break;
	return slot;
}

static void slot_fill(struct bole_oid_index *index, uint32_t slot, uint32_t item, uint64_t hash)
{
	BOLE_ASSERT(index->tags[slot] == 0);
	index->slots[slot] = item;
	index->tags[slot] = tag_of(hash);
	index->used++;
}

static enum bole_status index_grow(struct bole_oid_index *index)
{
	struct bole_oid_index bigger = *index;

	if (index->slot_count == 0) /* many stay empty */
		index->platform->ops->random(index->platform, bigger.secret, sizeof bigger.secret);

	bigger.used = 0;
	bigger.slot_count = index->slot_count == 0 ? SLOTS_MIN : index->slot_count * 2;
	bigger.slots = bole_alloc_array(index->alloc, bigger.slot_count, sizeof *bigger.slots);
	bigger.tags = bole_alloc_zeroed(index->alloc, bigger.slot_count, sizeof *bigger.tags);
	if (bigger.slots == NULL || bigger.tags == NULL) {
		bole_oid_index_release(&bigger);
		return BOLE_E_NO_MEMORY;
	}
	for (uint32_t i = 0; i < index->slot_count; i++) {
		if ((i & REHASH_YIELD_MASK) == REHASH_YIELD_MASK)
			index->platform->ops->yield(index->platform);
		if (index->tags[i] == 0)
			continue;
		uint64_t hash = key_hash(index, key_at(index, i));
		uint32_t slot = (uint32_t)hash & (bigger.slot_count - 1);

		while (bigger.tags[slot] != 0)
			slot = (slot + 1) & (bigger.slot_count - 1);
		slot_fill(&bigger, slot, index->slots[i], hash);
	}
	bole_oid_index_release(index);
	*index = bigger;
	return BOLE_OK;
}

uint32_t bole_oid_index_find(const struct bole_oid_index *index, const uint8_t *key)
{
	if (index->slot_count == 0)
		return BOLE_OID_NONE;
	uint32_t slot = slot_of(index, key, key_hash(index, key));

	return index->tags[slot] != 0 ? index->slots[slot] : BOLE_OID_NONE;
}

enum bole_status bole_oid_index_put(struct bole_oid_index *index, uint32_t item, uint32_t *there)
{
	const uint8_t *key = index->key_of(index->items, item);

	/* At most three quarters full. */
	if (index->used >= index->slot_count / 4 * 3)
		BOLE_TRY(index_grow(index));
	uint64_t hash = key_hash(index, key);
	uint32_t slot = slot_of(index, key, hash);

	*there = index->tags[slot] != 0 ? index->slots[slot] : BOLE_OID_NONE;
	if (*there == BOLE_OID_NONE)
		slot_fill(index, slot, item, hash);
	return BOLE_OK;
}

enum bole_status bole_oid_index_add(struct bole_oid_index *index, uint32_t item)
{
	uint32_t there;

	BOLE_TRY(bole_oid_index_put(index, item, &there));
	BOLE_ASSERT(there == BOLE_OID_NONE);
	return BOLE_OK;
}

void bole_oid_index_prefetch(const struct bole_oid_index *index, const uint8_t *key)
{
	if (index->slot_count == 0)
		return;
	uint32_t slot = (uint32_t)key_hash(index, key) & (index->slot_count - 1);

	__builtin_prefetch(&index->tags[slot]);
	__builtin_prefetch(&index->slots[slot]);
}

bool bole_oid_index_remove(struct bole_oid_index *index, const uint8_t *key)
{
	if (index->slot_count == 0)
		return false;
	uint32_t mask = index->slot_count - 1;
	uint32_t hole = slot_of(index, key, key_hash(index, key));

	if (index->tags[hole] == 0)
		return false;
	/* Close the hole: whoever follows and would no longer be found moves back into it. */
	for (uint32_t slot = (hole + 1) & mask; index->tags[slot] != 0; slot = (slot + 1) & mask) {
		if (((slot - home_slot(index, slot)) & mask) < ((slot - hole) & mask))
			continue;
		index->slots[hole] = index->slots[slot];
		index->tags[hole] = index->tags[slot];
		hole = slot;
	}
	index->tags[hole] = 0;
	index->used--;
	return true;
}

void bole_oid_index_replace(struct bole_oid_index *index, const uint8_t *key, uint32_t item)
{
	uint32_t slot = slot_of(index, key, key_hash(index, key));

	BOLE_ASSERT(index->tags[slot] != 0);
	index->slots[slot] = item;
}

/* -- The map -- */

static uint8_t *map_item(const struct bole_oid_map *map, uint32_t item)
{
	return map->chunks[item >> CHUNK_SHIFT] + (item & (CHUNK_ITEMS - 1)) * map->stride;
}

static const uint8_t *map_key_of(const void *items, uint32_t item)
{
	const struct bole_oid_map *map = items;

	return map_item(map, item);
}

void bole_oid_map_init(struct bole_oid_map *map, struct bole_platform *platform,
                       struct bole_alloc *alloc, uint8_t algo, size_t value_bytes)
{
	BOLE_ASSERT(value_bytes % 4 == 0);
	*map = (struct bole_oid_map){.alloc = alloc};
	map->key_bytes = bole_hash_bytes(algo);
	map->stride = map->key_bytes + value_bytes;
	bole_oid_index_init(&map->index, platform, alloc, algo, map_key_of, map);
}

void bole_oid_map_release(struct bole_oid_map *map)
{
	if (map->alloc == NULL)
		return;
	for (uint32_t i = 0; i < map->chunk_count; i++)
		bole_alloc_free(map->alloc, map->chunks[i], CHUNK_ITEMS, map->stride);
	bole_alloc_free(map->alloc, map->chunks, map->chunk_cap, sizeof(*map->chunks));
	bole_oid_index_release(&map->index);
	map->chunks = NULL;
	map->chunk_count = 0;
	map->chunk_cap = 0;
	map->count = 0;
}

static enum bole_status map_add_chunk(struct bole_oid_map *map)
{
	if (map->chunk_count == map->chunk_cap) {
		uint32_t cap = map->chunk_cap == 0 ? 16 : map->chunk_cap * 2;
		uint8_t **chunks = bole_alloc_resize(map->alloc, map->chunks, map->chunk_cap, cap,
		                                     sizeof(*chunks));

		if (chunks == NULL)
			return BOLE_E_NO_MEMORY;
		map->chunks = chunks;
		map->chunk_cap = cap;
	}
	uint8_t *chunk = bole_alloc_array(map->alloc, CHUNK_ITEMS, map->stride);
	if (chunk == NULL)
		return BOLE_E_NO_MEMORY;
	map->chunks[map->chunk_count++] = chunk;
	return BOLE_OK;
}

enum bole_status bole_oid_map_put(struct bole_oid_map *map, const uint8_t *key, uint32_t *item,
                                  bool *added)
{
	*added = false;
	*item = bole_oid_map_find(map, key);
	if (*item != BOLE_OID_NONE)
		return BOLE_OK;
	if (map->count >= ITEMS_MAX)
		return BOLE_E_LIMIT;
	if (map->count >> CHUNK_SHIFT == map->chunk_count)
		BOLE_TRY(map_add_chunk(map));
	uint8_t *place = map_item(map, map->count);

	memcpy(place, key, map->key_bytes);
	memset(place + map->key_bytes, 0, map->stride - map->key_bytes);
	BOLE_TRY(bole_oid_index_add(&map->index, map->count));
	*item = map->count++;
	*added = true;
	return BOLE_OK;
}

void bole_oid_map_remove(struct bole_oid_map *map, uint32_t item)
{
	BOLE_ASSERT(item < map->count);
	uint32_t last = map->count - 1;

	bole_oid_index_remove(&map->index, map_item(map, item));
	if (item != last) {
		bole_oid_index_replace(&map->index, map_item(map, last), item);
		memcpy(map_item(map, item), map_item(map, last), map->stride);
	}
	map->count--;
}

const uint8_t *bole_oid_map_key(const struct bole_oid_map *map, uint32_t item)
{
	BOLE_ASSERT(item < map->count);
	return map_item(map, item);
}

void *bole_oid_map_value(const struct bole_oid_map *map, uint32_t item)
{
	BOLE_ASSERT(item < map->count);
	return map_item(map, item) + map->key_bytes;
}

size_t bole_oid_map_bytes(const struct bole_oid_map *map)
{
	return (size_t)map->chunk_count * CHUNK_ITEMS * map->stride +
	       map->chunk_cap * sizeof *map->chunks +
	       (size_t)map->index.slot_count * BOLE_OID_SLOT_BYTES;
}
