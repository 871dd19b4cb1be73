/* SPDX-License-Identifier: ISC */
/* Looking an id up: from the newest part of the index to the oldest, collecting what is killed on
 * the way. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/reader.h"
#include "flash/volume.h"

enum {
	PROBE_KILLS = 16, /* without memory of their own */
};
#define KILL_OF_EXTENT (UINT64_C(1) << FLASH_PLACE_BITS)

/* One lookup. */
struct probe {
	struct flash_volume *v;
	const struct flash_index *index;
	const uint8_t *key;
	struct flash_reader *reader;
	enum bole_status (*row)(void *ctx, const struct flash_found *);
	void *ctx;
	uint64_t *kill; /* places, KILL_OF_EXTENT for those of extents */
	size_t kills;
	size_t cap;
	uint64_t few[PROBE_KILLS];
};

static enum bole_status add_kill(struct probe *p, uint64_t place, uint8_t type)
{
	if (p->kills == p->cap) {
		size_t cap = p->cap * 2;
		uint64_t *more = bole_alloc_array(p->v->alloc, cap, sizeof *more);
		if (more == NULL)
			return BOLE_E_NO_MEMORY;
		memcpy(more, p->kill, p->kills * sizeof *more);
		if (p->kill != p->few)
			bole_alloc_free(p->v->alloc, p->kill, p->cap, sizeof *more);
		p->kill = more;
		p->cap = cap;
	}
	p->kill[p->kills++] = place | ((type & INDEX_EXTENT_ROW) != 0 ? KILL_OF_EXTENT : 0);
	return BOLE_OK;
}

static bool killed(const struct probe *p, uint64_t place)
{
	for (size_t i = 0; i < p->kills; i++)
		if (p->kill[i] == place)
			return true;
	return false;
}

static enum bole_status ask_mem(struct probe *p, const struct flash_table *mem,
                                enum flash_found_where where)
{
	struct bole_bytes key = {p->key, p->index->domain->key_len};
	struct flash_mem_row row;

	if (!bole_flash_mem_get(mem, key, &row))
		return BOLE_OK;
	if (row.has && !killed(p, row.place)) {
		struct flash_found found = {
		        .place = row.place,
		        .stored = row.stored,
		        .type = row.type,
		        .moved = row.moved,
		        .from = row.from,
		        .generation = row.generation,
		        .where = where,
		};
		BOLE_TRY(p->row(p->ctx, &found));
	}
	for (uint32_t i = 0; i < row.kills; i++) {
		const uint8_t *kill = row.kill + (size_t)i * MEM_KILL_BYTES;
		BOLE_TRY(add_kill(p, bole_flash_kill_place(kill), bole_flash_kill_type(kill)));
	}
	return BOLE_OK;
}

/* All rows of the id in one extent, by offset. */
static enum bole_status ask_extent(struct probe *p, struct flash_extent *e)
{
	uint32_t row;

	if (e->damaged)
		return BOLE_OK;
	if (!bole_flash_extent_find(e, p->key, &row))
		return BOLE_OK;
	for (; row < e->rows && memcmp(bole_flash_extent_row(e, row), p->key, e->key_len) == 0;
	     row++) {
		struct flash_found found = {
		        .extent = e,
		        .place = bole_flash_place(e->slot, row),
		        .offset = bole_flash_row_offset(e, row),
		        .stored = bole_flash_row_stored(e, row),
		        .row = row,
		        .checksum = bole_flash_row_checksum(e, row),
		        .type = bole_flash_row_type(e, row),
		        .where = FOUND_EXTENT,
		};
		if (!killed(p, found.place | KILL_OF_EXTENT))
			BOLE_TRY(p->row(p->ctx, &found));
	}
	return BOLE_OK;
}

static enum bole_status ask_all(struct probe *p)
{
	bool damaged = false;

	BOLE_TRY(ask_mem(p, p->index->mem, FOUND_MEM));
	BOLE_TRY(ask_mem(p, p->index->frozen, FOUND_FROZEN));
	for (uint32_t i = 0; i < bole_flash_index_extents(p->index); i++) {
		struct flash_extent *e = p->index->extents->extent[i];
		BOLE_TRY(ask_extent(p, e));
		damaged |= e->damaged;
	}
	return damaged ? BOLE_E_CORRUPT : BOLE_OK;
}

enum bole_status bole_flash_index_each(struct flash_volume *v, const struct flash_index *index,
                                       const uint8_t *key, struct flash_reader *reader,
                                       enum bole_status (*row)(void *, const struct flash_found *),
                                       void *ctx)
{
	struct probe p = {.v = v,
	                  .index = index,
	                  .key = key,
	                  .reader = reader,
	                  .row = row,
	                  .ctx = ctx,
	                  .cap = PROBE_KILLS};

	if (index == NULL)
		return BOLE_OK;
	p.kill = p.few;
	enum bole_status rc = ask_all(&p);
	if (p.kill != p.few)
		bole_alloc_free(v->alloc, p.kill, p.cap, sizeof *p.kill);
	return rc;
}

static enum bole_status first_row(void *ctx, const struct flash_found *found)
{
	*(struct flash_found *)ctx = *found;
	return BOLE_END; /* enough */
}

enum bole_status bole_flash_index_find(struct flash_volume *v, const struct flash_index *index,
                                       const uint8_t *key, struct flash_reader *reader,
                                       struct flash_found *out)
{
	enum bole_status rc = bole_flash_index_each(v, index, key, reader, first_row, out);

	if (rc == BOLE_END)
		return BOLE_OK;
	return rc == BOLE_OK ? BOLE_E_NOT_FOUND : rc;
}
