/* SPDX-License-Identifier: ISC */
/* Going through all live rows of records of an index. */
#include "base/bytes.h"
#include "base/check.h"
#include "flash/volume.h"

enum { WALK_YIELD_ROWS = 4096 };

static bool killed_by(const struct flash_table *newer, struct bole_bytes key, uint64_t place)
{
	struct flash_mem_row r;

	if (!bole_flash_mem_get(newer, key, &r))
		return false;
	for (uint32_t i = 0; i < r.kills; i++) {
		const uint8_t *kill = r.kill + (size_t)i * MEM_KILL_BYTES;
		if (bole_flash_kill_place(kill) == place &&
		    (bole_flash_kill_type(kill) & INDEX_EXTENT_ROW) == 0)
			return true;
	}
	return false;
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
		if (!r.has || killed_by(newer, after, r.place))
			continue;
		struct flash_walk_row out = {after.ptr, after.ptr, r.place, r.stored, r.type};
		BOLE_TRY(row(ctx, &out));
		if (++n % WALK_YIELD_ROWS == 0)
			bole_flash_yield(v);
	}
	return BOLE_OK;
}

enum bole_status
bole_flash_index_walk(struct flash_volume *v, const struct flash_index *index,
                      enum bole_status (*row)(void *, const struct flash_walk_row *), void *ctx)
{
	if (index == NULL)
		return BOLE_OK;
	BOLE_TRY(walk_mem(v, index->mem, NULL, row, ctx));
	return walk_mem(v, index->frozen, index->mem, row, ctx);
}
