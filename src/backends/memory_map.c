/* SPDX-License-Identifier: ISC */
/* Open addressing with linear probing; nothing is ever removed from a map. */
#include "backends/memory_store.h"

#include "base/check.h"

enum { MAP_FIRST = 64 };

void *bole_mem_map_find(const struct mem_map *map, const struct mem_map_kind *kind,
                        const void *probe)
{
	if (map->count == 0)
		return NULL;
	for (size_t i = (size_t)kind->hash(probe);; i++) {
		void *item = map->slots[i & (map->cap - 1)];

		if (item == NULL || kind->same(item, probe))
			return item;
	}
}

static void map_insert(void **slots, size_t cap, const struct mem_map_kind *kind, void *item)
{
	size_t i = (size_t)kind->hash(item);

	while (slots[i & (cap - 1)] != NULL)
		i++;
	slots[i & (cap - 1)] = item;
}

enum bole_status bole_mem_map_reserve(struct mem_map *map, const struct mem_map_kind *kind,
                                      struct bole_alloc *alloc, size_t more)
{
	size_t cap = map->cap == 0 ? MAP_FIRST : map->cap;

	/* At most two thirds full. */
	while (map->count + more > cap / 3 * 2)
		cap *= 2;
	if (cap == map->cap)
		return BOLE_OK;
	void **slots = bole_alloc_zeroed(alloc, cap, sizeof *slots);
	if (slots == NULL)
		return BOLE_E_NO_MEMORY;
	for (size_t i = 0; i < map->cap; i++)
		if (map->slots[i] != NULL)
			map_insert(slots, cap, kind, map->slots[i]);
	bole_alloc_free(alloc, map->slots, map->cap, sizeof *slots);
	map->slots = slots;
	map->cap = cap;
	return BOLE_OK;
}

void bole_mem_map_add(struct mem_map *map, const struct mem_map_kind *kind, void *item)
{
	BOLE_ASSERT(map->count < map->cap);
	map_insert(map->slots, map->cap, kind, item);
	map->count++;
}

void bole_mem_map_release(struct mem_map *map, struct bole_alloc *alloc)
{
	bole_alloc_free(alloc, map->slots, map->cap, sizeof *map->slots);
	*map = (struct mem_map){0};
}
