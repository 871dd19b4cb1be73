/* SPDX-License-Identifier: ISC */
/* From memory to the device: the rows of a domain since the last checkpoint become a run. */
#include "flash/index/levels.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/checkpoint/save.h"
#include "flash/index/page.h"
#include "flash/volume/mount.h"

enum { LEVEL_ROWS_AHEAD = 8 /* that are brought near */ };

const struct flash_run_shape bole_flash_index_shape = {
        .width = INDEX_ROW_BYTES,
        .key_len = INDEX_KEY_BYTES,
        .search_len = INDEX_PREFIX_BYTES,
};

bool bole_flash_net_add(struct flash_net *n, const uint8_t *row)
{
	if (n->any && memcmp(n->key, row, INDEX_KEY_BYTES) != 0)
		return false;
	if (!n->any) {
		memset(n, 0, sizeof *n);
		memcpy(n->key, row, INDEX_KEY_BYTES);
		n->any = true;
	}
	bool kill = (row[INDEX_TYPE_AT] & INDEX_KILL) != 0;
	if (kill && (row[INDEX_TYPE_AT] & INDEX_EXTENT_ROW) != 0) {
		memcpy(n->kill_extent, row, INDEX_ROW_BYTES);
		n->kills_extent = true;
	} else if (kill) {
		memcpy(n->kill, row, INDEX_ROW_BYTES);
		n->kills = true;
	} else if (n->kills) {
		n->kills = false; /* both are done with */
	} else if (!n->has) {
		memcpy(n->row, row, INDEX_ROW_BYTES);
		n->has = true;
	}
	return true;
}

/* -- The pin -- */

/* Fewer rows are not worth pages of their own: they go into the checkpoint as they are. */
static uint64_t least_rows(const struct flash_volume *v)
{
	uint64_t page = bole_flash_page_fit(v, FLASH_PAGE_ROWS, INDEX_ROW_BYTES);

	return page < v->segment_bytes / 1024 ? page : v->segment_bytes / 1024;
}

/* Pages of the runs that the next checkpoint writes for a domain. Each item may be a row and a
 * kill.
 */
static uint64_t level_pages(const struct flash_volume *v, const struct flash_index *index)
{
	uint64_t frozen = index == NULL ? 0 : bole_flash_memory_rows(&index->frozen);
	uint64_t items = bole_flash_index_mem_rows(index) < least_rows(v)
	                         ? 0
	                         : bole_flash_index_mem_rows(index);

	/* What is frozen comes first, when it could not be written. */
	return bole_flash_run_pages_for(v, 2 * items) + bole_flash_run_pages_for(v, 2 * frozen);
}

/* Rows that go into it as they are. */
static uint64_t few(const struct flash_volume *v, const struct flash_index *index)
{
	return bole_flash_index_mem_rows(index) < least_rows(v) ? bole_flash_index_mem_rows(index)
	                                                        : 0;
}

void bole_flash_mem_count(struct flash_volume *v, const struct flash_index *old,
                          const struct flash_index *index)
{
	uint64_t less = bole_flash_index_mem_rows(old);
	uint64_t pages = level_pages(v, old);

	v->mem_rows += bole_flash_index_mem_rows(index);
	v->mem_rows -= less < v->mem_rows ? less : v->mem_rows;
	v->mem_few += few(v, index);
	v->mem_few -= few(v, old) < v->mem_few ? few(v, old) : v->mem_few;
	v->mem_pages += level_pages(v, index);
	v->mem_pages -= pages < v->mem_pages ? pages : v->mem_pages;
}

struct flash_index *bole_flash_index_swap(struct flash_volume *v, struct flash_domain *domain,
                                          struct flash_index *index)
{
	struct flash_index *old = domain->index;

	BOLE_ASSERT(domain->draft == NULL);
	domain->index = index;
	bole_flash_mem_count(v, old, index);
	return old;
}

void bole_flash_index_freeze(struct flash_volume *v, struct flash_domain *domain)
{
	struct flash_index *index;

	bole_flash_index_settle(v, domain);
	const struct flash_index *now = domain->index;
	if (now == NULL || bole_flash_index_frozen(now) || domain->draft != NULL ||
	    bole_flash_memory_rows(&now->now) < least_rows(v) ||
	    bole_flash_index_fork(v, domain, now, &index) != BOLE_OK)
		return;
	domain->fresh_rows = now->now.rows;
	index->frozen = index->now;
	index->now = (struct flash_memory){.rows = 0};
	/* Nothing was shown or hidden by this, so the last reference may go under the lock. */
	bole_flash_index_drop(v, bole_flash_index_swap(v, domain, index));
}

/* -- Writing -- */

/* Rows that share a prefix, to be put in order. */
struct level_group {
	uint8_t *row;
	uint32_t rows;
	uint32_t cap;
	struct flash_volume *v;
	struct bole_alloc *alloc;
	struct flash_run_builder *builder;
};

static enum bole_status group_add(struct level_group *g, const uint8_t *key, uint64_t place,
                                  uint8_t type, uint32_t stored)
{
	if (g->rows == g->cap) {
		uint32_t cap = g->cap == 0 ? 8 : g->cap * 2;
		uint8_t *more = bole_alloc_resize(g->alloc, g->row, g->cap, cap, INDEX_ROW_BYTES);
		if (more == NULL)
			return BOLE_E_NO_MEMORY;
		g->row = more;
		g->cap = cap;
	}
	uint8_t *p = g->row + (size_t)g->rows++ * INDEX_ROW_BYTES;
	memcpy(p, key, INDEX_PREFIX_BYTES);
	bole_flash_put_be40(p + INDEX_PLACE_AT, place);
	p[INDEX_TYPE_AT] = type;
	p[INDEX_STORED_AT] = (uint8_t)stored;
	p[INDEX_STORED_AT + 1] = (uint8_t)(stored >> 8);
	p[INDEX_STORED_AT + 2] = (uint8_t)(stored >> 16);
	return BOLE_OK;
}

/* By prefix and place; a row comes before a kill of an older one at the same place. */
static int order_rows(const void *a, const void *b)
{
	return memcmp(a, b, INDEX_TYPE_AT + 1);
}

static enum bole_status group_out(struct level_group *g)
{
	if (g->rows == 0)
		return BOLE_OK;
	qsort(g->row, g->rows, INDEX_ROW_BYTES, order_rows);
	enum bole_status rc = bole_flash_run_append(g->builder, g->row, g->rows);
	g->rows = 0;
	return rc;
}

/* The rows of a group begin like its key; another one ends it. */
static enum bole_status group_for(struct level_group *g, const uint8_t *key)
{
	return g->rows != 0 && memcmp(g->row, key, INDEX_PREFIX_BYTES) != 0 ? group_out(g)
	                                                                    : BOLE_OK;
}

/* A row of fresh and the kill of it cancel each other: neither is written. */
static enum bole_status add_item(struct level_group *g, const struct flash_item *item,
                                 const struct flash_memory *m)
{
	struct bole_bytes key = bole_flash_item_key(item);
	struct flash_fresh_row fresh;
	struct flash_mem_row row;

	bool ok = bole_flash_mem_parse(bole_flash_item_value(item), &row);
	BOLE_ASSERT(ok);
	bool below = bole_flash_memory_row(g->v, m, key, &fresh);
	BOLE_TRY(group_for(g, key.ptr));
	if (row.has)
		BOLE_TRY(group_add(g, key.ptr, row.place, row.type, row.stored));
	for (uint32_t i = 0; i < row.kills; i++) {
		const uint8_t *kill = row.kill + (size_t)i * MEM_KILL_BYTES;
		if (below && bole_flash_kill_of(kill, fresh.place))
			continue;
		BOLE_TRY(group_add(g, key.ptr, bole_flash_kill_place(kill),
		                   bole_flash_kill_type(kill) | INDEX_KILL, 0));
	}
	return BOLE_OK;
}

static enum bole_status add_fresh(struct level_group *g, const struct flash_fresh_row *row,
                                  const struct flash_memory *m, uint32_t key_len)
{
	struct bole_bytes key = {row->key, key_len};

	if (bole_flash_mem_kills_row(m->mem, key, row->place))
		return BOLE_OK;
	BOLE_TRY(group_for(g, row->key));
	return group_add(g, row->key, row->place, row->type, row->stored);
}

/* Items and rows in the order of their prefixes. */
static enum bole_status add_rows(struct level_group *g, const struct flash_memory *m,
                                 const struct flash_sort_item *order, uint32_t key_len)
{
	struct bole_bytes after = {NULL, 0};
	const struct flash_item *item = bole_flash_table_next(m->mem, after, true);

	for (uint32_t i = 0; i < m->rows || item != NULL;) {
		struct flash_fresh_row row = {.key = NULL};
		/* In order they lie anywhere. */
		if (i + LEVEL_ROWS_AHEAD < m->rows)
			bole_flash_fresh_row_prefetch(m->fresh, order[i + LEVEL_ROWS_AHEAD].row);
		if (i < m->rows)
			row = bole_flash_fresh_row(m->fresh, order[i].row);
		if (row.key == NULL || (item != NULL && memcmp(bole_flash_item_key(item).ptr,
		                                               row.key, INDEX_PREFIX_BYTES) <= 0)) {
			after = bole_flash_item_key(item);
			BOLE_TRY(add_item(g, item, m));
			item = bole_flash_table_next(m->mem, after, false);
		} else {
			BOLE_TRY(add_fresh(g, &row, m, key_len));
			i++;
		}
	}
	return group_out(g);
}

static enum bole_status add_sorted(struct level_group *g, const struct flash_memory *m,
                                   uint32_t key_len)
{
	struct bole_alloc *alloc = g->alloc;
	struct flash_sort_item *order = NULL;
	struct flash_sort_item *spare = NULL;
	enum bole_status rc = BOLE_OK;

	if (m->rows != 0) {
		order = bole_alloc_array(alloc, m->rows, sizeof *order);
		spare = bole_alloc_array(alloc, m->rows, sizeof *spare);
		rc = order == NULL || spare == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
	}
	if (rc == BOLE_OK && m->rows != 0)
		bole_flash_fresh_sort(m->fresh, m->rows, order, spare, bole_flash_yield, g->v);
	bole_alloc_free(alloc, spare, m->rows, sizeof *spare);
	if (rc == BOLE_OK)
		rc = add_rows(g, m, order, key_len);
	bole_alloc_free(alloc, order, m->rows, sizeof *order);
	return rc;
}

static enum bole_status write_level(struct flash_volume *v, const struct flash_memory *m,
                                    uint32_t key_len, struct flash_run **out)
{
	struct flash_run_builder b;
	struct level_group g = {.v = v, .alloc = v->alloc, .builder = &b};

	*out = NULL;
	BOLE_TRY(bole_flash_run_begin(&b, v, &bole_flash_index_shape, bole_flash_memory_rows(m),
	                              true, FLASH_FOR_CHECKPOINT));
	enum bole_status rc = add_sorted(&g, m, key_len);
	bole_alloc_free(v->alloc, g.row, g.cap, INDEX_ROW_BYTES);
	if (rc != BOLE_OK) {
		bole_flash_run_abort(&b);
		return rc;
	}
	return bole_flash_run_finish(&b, out);
}

enum bole_status bole_flash_index_write(struct flash_save *s, struct flash_domain *domain,
                                        struct flash_index *index)
{
	/* One that is there already waits to be installed: an element names it. */
	if (index == NULL || !bole_flash_index_frozen(index) || domain->level0 != NULL)
		return BOLE_OK;
	BOLE_TRY(write_level(s->v, &index->frozen, domain->key_len, &domain->level0));
	const struct flash_run *run = domain->level0;
	domain->level0_none = run == NULL;
	for (uint32_t i = 0; run != NULL && i < run->chunks; i++) {
		const struct flash_run_chunk *c = &run->chunk[i];
		BOLE_TRY(bole_flash_save_written(s, c->segment, c->sequence,
		                                 (uint64_t)c->pages * s->v->page_bytes));
	}
	return BOLE_OK;
}

/* -- After the anchor -- */

/* The run takes the place of what was frozen. Until the anchor was durable that had to stay: it
 * knows where moved records were before. */
static enum bole_status install(struct flash_volume *v, struct flash_domain *domain,
                                struct flash_index **old)
{
	struct flash_index *index;

	BOLE_TRY(bole_flash_index_fork(v, domain, domain->index, &index));
	enum bole_status rc = bole_flash_index_runs(v, index, 0, 0, domain->level0);
	if (rc != BOLE_OK) {
		bole_flash_index_drop(v, index);
		return rc;
	}
	bole_flash_memory_release(v, &index->frozen);
	*old = bole_flash_index_swap(v, domain, index);
	return BOLE_OK;
}

void bole_flash_index_settle(struct flash_volume *v, struct flash_domain *domain)
{
	struct flash_index *old;

	if (!domain->level0_durable || domain->draft != NULL || install(v, domain, &old) != BOLE_OK)
		return; /* it stays frozen, and is tried again */
	bole_flash_run_release(domain->level0);
	domain->level0 = NULL;
	domain->level0_none = false;
	domain->level0_durable = false;
	/* What goes with it are rows and lists in memory. */
	bole_flash_index_drop(v, old);
}

void bole_flash_levels_settle(struct flash_volume *v)
{
	for (uint32_t i = 0; i < v->repos && v->unsettled; i++)
		bole_flash_index_settle(v, v->repo[i]->domain);
	v->unsettled = false;
	for (uint32_t i = 0; i < v->repos; i++)
		v->unsettled |= v->repo[i]->domain->level0_durable;
}

/* What the next element is compared with needs no rows that are in a run now. */
static void slim(struct flash_volume *v, struct flash_domain *domain, struct flash_index **pinned)
{
	struct flash_index *index;

	if (*pinned == NULL || !bole_flash_index_frozen(*pinned) ||
	    bole_flash_index_fork(v, domain, *pinned, &index) != BOLE_OK)
		return;
	bole_flash_memory_release(v, &index->frozen);
	index->slim = true;
	bole_flash_index_drop(v, *pinned);
	*pinned = index;
}

void bole_flash_index_saved(struct flash_volume *v, struct flash_domain *domain,
                            struct flash_index **pinned, bool ok)
{
	struct flash_run *run = domain->level0;

	slim(v, domain, pinned);
	if ((run == NULL && !domain->level0_none) || domain->level0_durable)
		return;
	bole_flash_lock(v);
	/* A durable element names it, even if nothing else does. */
	if (run != NULL)
		bole_flash_run_change(run, ok ? FLASH_HELD_PUBLISHED : FLASH_HELD_DROPPED, true);
	if (ok && bole_flash_domain_find(v, domain->id) == domain) {
		domain->level0_durable = true;
		v->unsettled = true;
		run = NULL;
		if (!v->leading)
			bole_flash_levels_settle(v);
	} else {
		if (ok && run != NULL)
			bole_flash_run_change(run, FLASH_LIVE_DROPPED, true);
		domain->level0 = NULL;
		domain->level0_none = false;
	}
	bole_flash_unlock(v);
	bole_flash_run_release(run);
}

void bole_flash_runs_forget(struct flash_domain *domain)
{
	const struct flash_runs *runs = domain->index == NULL ? NULL : domain->index->runs;

	for (uint32_t i = 0; runs != NULL && i < runs->count; i++)
		bole_flash_run_change(runs->run[i], FLASH_LIVE_DROPPED, false);
	if (!domain->level0_durable)
		return;
	if (domain->level0 != NULL)
		bole_flash_run_change(domain->level0, FLASH_LIVE_DROPPED, false);
	bole_flash_run_release(domain->level0);
	domain->level0 = NULL;
	domain->level0_none = false;
	domain->level0_durable = false;
}
