/* SPDX-License-Identifier: ISC */
/* Going through all live rows of records of an index. */
#include "base/bytes.h"
#include "base/check.h"
#include "flash/index/levels.h"
#include "flash/volume/volume.h"

#include <string.h>

enum { WALK_YIELD_ROWS = 4096 };

bool bole_flash_mem_kills_row(const struct flash_table *newer, struct bole_bytes key,
                              uint64_t place)
{
	struct flash_mem_row r;

	if (!bole_flash_mem_get(newer, key, &r))
		return false;
	for (uint32_t i = 0; i < r.kills; i++)
		if (bole_flash_kill_of(r.kill + (size_t)i * MEM_KILL_BYTES, place))
			return true;
	return false;
}

bool bole_flash_memory_row(const struct flash_volume *v, const struct flash_memory *m,
                           struct bole_bytes key, struct flash_fresh_row *out)
{
	if (m->rows == 0)
		return false;
	uint32_t row = bole_flash_fresh_find(m->fresh, 0, m->rows, key.ptr,
	                                     bole_flash_key_hash(v, key.ptr, (uint32_t)key.len));
	if (row == FRESH_NONE)
		return false;
	*out = bole_flash_fresh_row(m->fresh, row);
	return true;
}

/* Rows of fresh; newer tables may hide them. */
static enum bole_status walk_fresh(struct flash_volume *v, const struct flash_memory *m,
                                   const struct flash_table *newer, uint32_t key_len,
                                   enum bole_status (*row)(void *, const struct flash_walk_row *),
                                   void *ctx)
{
	for (uint32_t i = 0; i < m->rows; i++) {
		struct flash_fresh_row r = bole_flash_fresh_row(m->fresh, i);
		struct bole_bytes key = {r.key, key_len};
		if (bole_flash_mem_kills_row(m->mem, key, r.place) ||
		    bole_flash_mem_kills_row(newer, key, r.place))
			continue;
		struct flash_walk_row out = {r.key, r.key, r.place, r.stored, r.type};
		BOLE_TRY(row(ctx, &out));
		if (i % WALK_YIELD_ROWS == WALK_YIELD_ROWS - 1)
			bole_flash_yield(v);
	}
	return BOLE_OK;
}

static enum bole_status walk_mem(struct flash_volume *v, const struct flash_table *mem,
                                 const struct flash_table *newer,
                                 enum bole_status (*row)(void *, const struct flash_walk_row *),
                                 void *ctx)
{
	struct bole_bytes after = {NULL, 0};
	uint32_t n = 0;

	for (const struct flash_item *item = bole_flash_table_next(mem, after, true); item != NULL;
	     item = bole_flash_table_next(mem, after, false)) {
		struct flash_mem_row r;
		after = bole_flash_item_key(item);
		bool ok = bole_flash_mem_parse(bole_flash_item_value(item), &r);
		BOLE_ASSERT(ok);
		if (!r.has || bole_flash_mem_kills_row(newer, after, r.place))
			continue;
		struct flash_walk_row out = {after.ptr, after.ptr, r.place, r.stored, r.type};
		BOLE_TRY(row(ctx, &out));
		if (++n % WALK_YIELD_ROWS == 0)
			bole_flash_yield(v);
	}
	return BOLE_OK;
}

bool bole_flash_mem_kills(const struct flash_table *mem, const uint8_t *prefix, uint64_t place)
{
	struct bole_bytes after = {prefix, INDEX_PREFIX_BYTES};

	for (const struct flash_item *item = bole_flash_table_next(mem, after, true);
	     item != NULL && memcmp(item->bytes, prefix, INDEX_PREFIX_BYTES) == 0;
	     item = bole_flash_table_next(mem, after, false)) {
		after = bole_flash_item_key(item);
		if (bole_flash_mem_kills_row(mem, after, place))
			return true;
	}
	return false;
}

static enum bole_status show_net(const struct flash_index *index, const struct flash_net *n,
                                 enum bole_status (*row)(void *, const struct flash_walk_row *),
                                 void *ctx)
{
	uint64_t place = bole_flash_get_be40(n->key + INDEX_PLACE_AT);
	const uint8_t *p = n->row;

	if (!n->has || bole_flash_mem_kills(index->now.mem, n->key, place) ||
	    bole_flash_mem_kills(index->frozen.mem, n->key, place))
		return BOLE_OK;
	struct flash_walk_row out = {
	        .prefix = n->key,
	        .place = place,
	        .stored = (uint32_t)p[INDEX_STORED_AT] | (uint32_t)p[INDEX_STORED_AT + 1] << 8 |
	                  (uint32_t)p[INDEX_STORED_AT + 2] << 16,
	        .type = p[INDEX_TYPE_AT] & INDEX_TYPE_MASK,
	};
	return row(ctx, &out);
}

static enum bole_status walk_runs(struct flash_volume *v, const struct flash_index *index,
                                  enum bole_status (*row)(void *, const struct flash_walk_row *),
                                  void *ctx)
{
	struct flash_net net = {.any = false};
	struct flash_merge m;
	const uint8_t *p;
	uint32_t which;
	enum bole_status rc;

	BOLE_TRY(bole_flash_merge_open(&m, v, index->runs->run, index->runs->count, 0));
	while ((rc = bole_flash_merge_next(&m, &p, &which)) == BOLE_OK) {
		if (bole_flash_net_add(&net, p))
			continue;
		rc = show_net(index, &net, row, ctx);
		if (rc != BOLE_OK)
			break;
		net.any = false;
		(void)bole_flash_net_add(&net, p);
	}
	if (rc == BOLE_END)
		rc = net.any ? show_net(index, &net, row, ctx) : BOLE_OK;
	bole_flash_merge_close(&m);
	return rc;
}

enum bole_status
bole_flash_index_walk(struct flash_volume *v, const struct flash_index *index,
                      enum bole_status (*row)(void *, const struct flash_walk_row *), void *ctx)
{
	if (index == NULL)
		return BOLE_OK;
	const struct flash_table *mem = index->now.mem;
	uint32_t key_len = index->domain->key_len;
	BOLE_TRY(walk_mem(v, mem, NULL, row, ctx));
	BOLE_TRY(walk_fresh(v, &index->now, NULL, key_len, row, ctx));
	BOLE_TRY(walk_mem(v, index->frozen.mem, mem, row, ctx));
	BOLE_TRY(walk_fresh(v, &index->frozen, mem, key_len, row, ctx));
	return index->runs == NULL ? BOLE_OK : walk_runs(v, index, row, ctx);
}
