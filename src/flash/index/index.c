/* SPDX-License-Identifier: ISC */
/* Versions of a domain's index. */
#include "flash/index/index.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/index/run.h"
#include "flash/space/mark.h"
#include "flash/volume/volume.h"

static void retain(_Atomic uint32_t *refs)
{
	atomic_fetch_add_explicit(refs, 1, memory_order_relaxed);
}

static bool last(_Atomic uint32_t *refs)
{
	return atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel) == 1;
}

static struct bole_bytes key_of(const struct flash_index *index, const uint8_t *key)
{
	return (struct bole_bytes){key, index->domain->key_len};
}

/* -- Lists -- */

static size_t extents_bytes(uint32_t count)
{
	return sizeof(struct flash_extents) + 2 * (size_t)count * sizeof(struct flash_extent *);
}

static void extents_release(struct bole_alloc *alloc, struct flash_extents *list)
{
	if (list == NULL || !last(&list->refs))
		return;
	for (uint32_t i = 0; i < list->count; i++)
		bole_flash_extent_release(list->extent[i]);
	bole_alloc_free(alloc, list, extents_bytes(list->count), 1);
}

static size_t runs_bytes(uint32_t count)
{
	return sizeof(struct flash_runs) + (size_t)count * sizeof(struct flash_run *);
}

static void runs_release(struct bole_alloc *alloc, struct flash_runs *list)
{
	if (list == NULL || !last(&list->refs))
		return;
	for (uint32_t i = 0; i < list->count; i++)
		bole_flash_run_release(list->run[i]);
	bole_alloc_free(alloc, list, runs_bytes(list->count), 1);
}

enum bole_status bole_flash_index_runs(struct flash_volume *v, struct flash_index *index,
                                       uint32_t at, uint32_t count, struct flash_run *run)
{
	uint32_t old = index->runs == NULL ? 0 : index->runs->count;
	uint32_t n = old - count + (run != NULL);
	struct flash_runs *list = NULL;

	BOLE_ASSERT(at + count <= old);
	if (n != 0) {
		list = bole_alloc_zeroed(v->alloc, runs_bytes(n), 1);
		if (list == NULL)
			return BOLE_E_NO_MEMORY;
		atomic_init(&list->refs, 1);
	}
	for (uint32_t i = 0; i <= old && list != NULL; i++) {
		if (i == at && run != NULL)
			list->run[list->count++] = bole_flash_run_retain(run);
		if (i < old && (i < at || i >= at + count))
			list->run[list->count++] = bole_flash_run_retain(index->runs->run[i]);
	}
	runs_release(v->alloc, index->runs);
	index->runs = list;
	return BOLE_OK;
}

static void extents_push(struct flash_extents *list, struct flash_extent *extent)
{
	uint32_t at = list->count;

	retain(&extent->refs);
	list->extent[list->count++] = extent;
	for (; at > 0 && list->by_id[at - 1]->id > extent->id; at--)
		list->by_id[at] = list->by_id[at - 1];
	list->by_id[at] = extent;
}

enum bole_status bole_flash_index_add(struct flash_volume *v, struct flash_index *index,
                                      struct flash_extent *const *extents, uint32_t count)
{
	uint32_t old = bole_flash_index_extents(index);

	if (count == 0)
		return BOLE_OK;
	struct flash_extents *list = bole_alloc_zeroed(v->alloc, extents_bytes(old + count), 1);
	if (list == NULL)
		return BOLE_E_NO_MEMORY;
	atomic_init(&list->refs, 1);
	list->by_id = list->extent + old + count;
	for (uint32_t i = 0; i < old; i++)
		extents_push(list, index->extents->extent[i]);
	for (uint32_t i = 0; i < count; i++) {
		extents_push(list, extents[i]);
		index->objects += extents[i]->rows;
	}
	extents_release(v->alloc, index->extents);
	index->extents = list;
	return BOLE_OK;
}

enum bole_status bole_flash_index_remove(struct flash_volume *v, struct flash_index *index,
                                         uint64_t id)
{
	uint32_t old = bole_flash_index_extents(index);

	if (bole_flash_index_extent(index, id) == NULL)
		return BOLE_OK;
	struct flash_extents *list = NULL;
	if (old > 1) {
		list = bole_alloc_zeroed(v->alloc, extents_bytes(old - 1), 1);
		if (list == NULL)
			return BOLE_E_NO_MEMORY;
		atomic_init(&list->refs, 1);
		list->by_id = list->extent + old - 1;
		for (uint32_t i = 0; i < old; i++)
			if (index->extents->extent[i]->id != id)
				extents_push(list, index->extents->extent[i]);
	}
	extents_release(v->alloc, index->extents);
	index->extents = list;
	return BOLE_OK;
}

enum bole_status bole_flash_index_replace(struct flash_volume *v, struct flash_index *index,
                                          const struct flash_extent *old,
                                          struct flash_extent *extent)
{
	uint32_t count = bole_flash_index_extents(index);
	struct flash_extents *list = bole_alloc_zeroed(v->alloc, extents_bytes(count), 1);

	if (list == NULL)
		return BOLE_E_NO_MEMORY;
	atomic_init(&list->refs, 1);
	list->by_id = list->extent + count;
	for (uint32_t i = 0; i < count; i++)
		extents_push(list,
		             index->extents->extent[i] == old ? extent : index->extents->extent[i]);
	extents_release(v->alloc, index->extents);
	index->extents = list;
	return BOLE_OK;
}

struct flash_extent *bole_flash_index_extent(const struct flash_index *index, uint64_t id)
{
	uint32_t low = 0;
	uint32_t high = bole_flash_index_extents(index);

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (index->extents->by_id[mid]->id == id)
			return index->extents->by_id[mid];
		if (index->extents->by_id[mid]->id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

uint32_t bole_flash_slot_take(struct flash_domain *domain)
{
	const struct flash_index *index = domain->draft != NULL ? domain->draft : domain->index;

	/* Round and round, so that a number rests long before it names another extent. */
	for (uint32_t tries = 0; tries <= INDEX_SLOTS; tries++) {
		uint32_t slot = domain->next_slot++ % INDEX_SLOTS;
		uint32_t i = 0;
		while (i < bole_flash_index_extents(index) &&
		       index->extents->extent[i]->slot != slot)
			i++;
		if (i == bole_flash_index_extents(index))
			return slot;
	}
	return INDEX_SLOTS;
}

/* -- Rows in memory -- */

static struct flash_memory memory_retain(const struct flash_memory *m)
{
	return (struct flash_memory){
	        .mem = bole_flash_table_retain(m->mem),
	        .fresh = bole_flash_fresh_retain(m->fresh),
	        .rows = m->rows,
	};
}

void bole_flash_memory_release(struct flash_volume *v, struct flash_memory *m)
{
	bole_flash_table_release(&v->plain, m->mem);
	bole_flash_fresh_release(m->fresh);
	*m = (struct flash_memory){.rows = 0};
}

uint64_t bole_flash_key_hash(const struct flash_volume *v, const uint8_t *key, uint32_t key_len)
{
	return bole_flash_sum(key, key_len, bole_get_le64(v->key));
}

/* -- Versions -- */

enum bole_status bole_flash_index_fork(struct flash_volume *v, struct flash_domain *domain,
                                       const struct flash_index *base, struct flash_index **out)
{
	struct flash_index *index = bole_alloc_zeroed(v->alloc, 1, sizeof *index);

	if (index == NULL)
		return BOLE_E_NO_MEMORY;
	if (base != NULL) {
		*index = (struct flash_index){
		        .now = memory_retain(&base->now),
		        .frozen = memory_retain(&base->frozen),
		        .runs = base->runs,
		        .extents = base->extents,
		        .objects = base->objects,
		};
		if (index->runs != NULL)
			retain(&index->runs->refs);
		if (index->extents != NULL)
			retain(&index->extents->refs);
	}
	atomic_init(&index->refs, 1);
	index->domain = domain;
	*out = index;
	return BOLE_OK;
}

enum bole_status bole_flash_index_put(struct flash_volume *v, struct flash_index *index,
                                      const uint8_t *key, uint64_t place, uint32_t stored,
                                      uint8_t type)
{
	BOLE_TRY(bole_flash_mem_put(&v->plain, &index->now.mem, key_of(index, key), place, stored,
	                            type));
	index->objects++;
	return BOLE_OK;
}

enum bole_status bole_flash_index_put_fresh(struct flash_volume *v, struct flash_index *index,
                                            const uint8_t *key, uint64_t hash, uint32_t stored,
                                            uint8_t type, uint32_t *row)
{
	struct flash_memory *m = &index->now;

	*row = FRESH_NONE;
	/* Kills name places, and the place to come may be one that the id had before. */
	if (m->rows == FRESH_ROWS_MAX || bole_flash_table_find(m->mem, key_of(index, key)) != NULL)
		return bole_flash_index_put(v, index, key, 0, stored, type);
	if (m->fresh == NULL)
		BOLE_TRY(bole_flash_fresh_open(v->alloc, index->domain->key_len,
		                               index->domain->fresh_rows, &m->fresh));
	BOLE_TRY(bole_flash_fresh_add(m->fresh, m->rows, key, hash, stored, type));
	*row = m->rows++;
	index->objects++;
	return BOLE_OK;
}

void bole_flash_index_place(struct flash_index *index, const uint8_t *key, uint32_t row,
                            uint64_t place)
{
	if (row == FRESH_NONE)
		bole_flash_mem_set_place(index->now.mem, key_of(index, key), place);
	else
		bole_flash_fresh_place(index->now.fresh, row, place);
}

enum bole_status bole_flash_index_kill(struct flash_volume *v, struct flash_index *index,
                                       const uint8_t *key, const struct flash_found *found)
{
	uint8_t type = found->type;

	if (found->where == FOUND_MEM) {
		BOLE_TRY(bole_flash_mem_unput(&v->plain, &index->now.mem, key_of(index, key),
		                              found->place));
	} else {
		if (found->where == FOUND_EXTENT)
			type |= INDEX_EXTENT_ROW;
		BOLE_TRY(bole_flash_mem_kill(&v->plain, &index->now.mem, key_of(index, key),
		                             found->place, type));
	}
	index->objects -= index->objects != 0; /* a number from the device */
	if (index->domain->mark != NULL && found->where != FOUND_EXTENT)
		bole_flash_mark_killed(index->domain->mark, key, found->place);
	return BOLE_OK;
}

enum bole_status bole_flash_index_move(struct flash_volume *v, struct flash_index *index,
                                       const uint8_t *key, const struct flash_found *found,
                                       uint64_t place, uint32_t generation)
{
	BOLE_TRY(bole_flash_mem_move(&v->plain, &index->now.mem, key_of(index, key), found->place,
	                             place, (uint32_t)found->stored, found->type, generation,
	                             found->where != FOUND_MEM));
	if (index->domain->mark != NULL)
		bole_flash_mark_moved(index->domain->mark, key, found->place, place);
	return BOLE_OK;
}

struct flash_index *bole_flash_index_retain(struct flash_index *index)
{
	if (index != NULL)
		retain(&index->refs);
	return index;
}

void bole_flash_index_drop(struct flash_volume *v, struct flash_index *index)
{
	if (index == NULL || !last(&index->refs))
		return;
	bole_flash_memory_release(v, &index->now);
	bole_flash_memory_release(v, &index->frozen);
	runs_release(v->alloc, index->runs);
	extents_release(v->alloc, index->extents);
	bole_alloc_free(v->alloc, index, 1, sizeof *index);
}
