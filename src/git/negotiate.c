/* SPDX-License-Identifier: ISC */
#include "git/negotiate.h"

#include <string.h>

#include <xxhash.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

enum { ID_MAP_CAP_MIN = 64, ID_LIST_CAP_MIN = 32 };

void bole_id_map_init(struct bole_id_map *map, struct bole_platform *platform,
                      struct bole_alloc *alloc, size_t limit)
{
	*map = (struct bole_id_map){.alloc = alloc, .limit = limit};
	/* Clients choose the ids: an unseeded table could be filled with one chain. */
	platform->ops->random(platform, &map->seed, sizeof map->seed);
}

void bole_id_map_release(struct bole_id_map *map)
{
	bole_alloc_free(map->alloc, map->rows, map->cap, sizeof *map->rows);
	map->rows = NULL;
	map->cap = map->count = 0;
}

/* The row of the id, or the free one where it belongs. There is always a free row. */
static struct bole_id_row *probe(struct bole_id_row *rows, size_t cap, uint64_t seed,
                                 const struct bole_oid *oid)
{
	size_t at = (size_t)XXH3_64bits_withSeed(oid->bytes, sizeof oid->bytes, seed) & (cap - 1);

	while (rows[at].used && !bole_oid_equal(&rows[at].oid, oid))
		at = (at + 1) & (cap - 1);
	return &rows[at];
}

struct bole_id_row *bole_id_map_find(const struct bole_id_map *map, const struct bole_oid *oid)
{
	if (map->cap == 0)
		return NULL;
	struct bole_id_row *row = probe(map->rows, map->cap, map->seed, oid);
	return row->used ? row : NULL;
}

static enum bole_status map_grow(struct bole_id_map *map)
{
	size_t cap = map->cap == 0 ? ID_MAP_CAP_MIN : map->cap * 2;
	struct bole_id_row *rows = bole_alloc_zeroed(map->alloc, cap, sizeof *rows);

	if (rows == NULL)
		return BOLE_E_NO_MEMORY;
	for (size_t i = 0; i < map->cap; i++)
		if (map->rows[i].used)
			*probe(rows, cap, map->seed, &map->rows[i].oid) = map->rows[i];
	bole_alloc_free(map->alloc, map->rows, map->cap, sizeof *rows);
	map->rows = rows;
	map->cap = cap;
	return BOLE_OK;
}

enum bole_status bole_id_map_add(struct bole_id_map *map, const struct bole_oid *oid,
                                 struct bole_id_row **row, bool *fresh)
{
	*fresh = false;
	*row = bole_id_map_find(map, oid);
	if (*row != NULL)
		return BOLE_OK;
	if (map->count >= map->limit)
		return BOLE_E_LIMIT;
	if (map->count + map->count / 2 >= map->cap)
		BOLE_TRY(map_grow(map));
	*row = probe(map->rows, map->cap, map->seed, oid);
	**row = (struct bole_id_row){.oid = *oid, .used = true};
	map->count++;
	*fresh = true;
	return BOLE_OK;
}

enum bole_status bole_id_list_add(struct bole_id_list *list, const struct bole_oid *oid)
{
	if (list->count == list->cap) {
		size_t cap = list->cap == 0 ? ID_LIST_CAP_MIN : list->cap * 2;
		struct bole_oid *ids =
		        bole_alloc_resize(list->alloc, list->ids, list->cap, cap, sizeof *ids);
		if (ids == NULL)
			return BOLE_E_NO_MEMORY;
		list->ids = ids;
		list->cap = cap;
	}
	list->ids[list->count++] = *oid;
	return BOLE_OK;
}

void bole_id_list_release(struct bole_id_list *list)
{
	bole_alloc_free(list->alloc, list->ids, list->cap, sizeof *list->ids);
	list->ids = NULL;
	list->count = list->cap = 0;
}
