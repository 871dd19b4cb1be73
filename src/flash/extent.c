/* SPDX-License-Identifier: ISC */
/* The table and map of an extent in memory. */
#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/flash_format.h"
#include "flash/index.h"
#include "flash/sort.h"
#include "flash/volume.h"

#include <string.h>

static uint64_t get48(const uint8_t *p)
{
	return (uint64_t)bole_get_le16(p + 4) << 32 | bole_get_le32(p);
}

static uint64_t get40(const uint8_t *p)
{
	return (uint64_t)p[4] << 32 | bole_get_le32(p);
}

const uint8_t *bole_flash_extent_row(const struct flash_extent *extent, uint32_t row)
{
	return extent->table + (size_t)row * (extent->key_len + ROW_BYTES);
}

static const uint8_t *fields(const struct flash_extent *extent, uint32_t row)
{
	return bole_flash_extent_row(extent, row) + extent->key_len;
}

uint64_t bole_flash_row_offset(const struct flash_extent *extent, uint32_t row)
{
	return get48(fields(extent, row) + ROW_OFFSET_AT);
}

uint64_t bole_flash_row_stored(const struct flash_extent *extent, uint32_t row)
{
	return get40(fields(extent, row) + ROW_STORED_AT);
}

uint8_t bole_flash_row_type(const struct flash_extent *extent, uint32_t row)
{
	return fields(extent, row)[ROW_TYPE_AT];
}

uint32_t bole_flash_row_checksum(const struct flash_extent *extent, uint32_t row)
{
	return bole_get_le32(fields(extent, row) + ROW_CHECKSUM_AT);
}

void bole_flash_row_put(uint8_t *row, uint32_t key_len, uint64_t offset, uint64_t stored,
                        uint8_t type, uint32_t checksum)
{
	uint8_t *p = row + key_len;

	bole_put_le32(p + ROW_OFFSET_AT, (uint32_t)offset);
	bole_put_le16(p + ROW_OFFSET_AT + 4, (uint16_t)(offset >> 32));
	bole_put_le32(p + ROW_STORED_AT, (uint32_t)stored);
	p[ROW_STORED_AT + 4] = (uint8_t)(stored >> 32);
	p[ROW_TYPE_AT] = type;
	bole_put_le32(p + ROW_CHECKSUM_AT, checksum);
}

bool bole_flash_extent_find(const struct flash_extent *extent, const uint8_t *key, uint32_t *row)
{
	uint32_t low = bole_flash_rows_lower(&extent->fan, extent->table,
	                                     (size_t)extent->key_len + ROW_BYTES, extent->rows, key,
	                                     extent->key_len);

	if (low == extent->rows ||
	    memcmp(bole_flash_extent_row(extent, low), key, extent->key_len) != 0)
		return false;
	*row = low;
	return true;
}

enum { GUESSES = 8 };

/* Where in [low, high) of by_offset an offset between from and to probably is. */
static uint32_t guess(uint32_t low, uint32_t high, uint64_t from, uint64_t to, uint64_t offset)
{
	if (to - from > UINT32_MAX || offset < from || offset >= to)
		return low + (high - low) / 2;
	return low + (uint32_t)((offset - from) * (high - low) / (to - from));
}

/* Each step is two reads far apart, so the first ones go where the offset should be: entries are of
 * similar sizes, and a few such steps do what takes halving sixteen. */
bool bole_flash_extent_at(const struct flash_extent *extent, uint64_t offset, uint32_t *row,
                          uint32_t *order)
{
	uint32_t low = 0;
	uint32_t high = extent->damaged ? 0 : extent->rows;
	uint64_t from = 0;
	uint64_t to = extent->data_bytes;

	for (unsigned step = 0; low < high; step++) {
		uint32_t mid = low + (high - low) / 2;
		if (step < GUESSES)
			mid = guess(low, high, from, to, offset);
		uint64_t at = bole_flash_row_offset(extent, extent->by_offset[mid]);
		if (at == offset) {
			*row = extent->by_offset[mid];
			*order = mid;
			return true;
		}
		if (at < offset) {
			low = mid + 1;
			from = at;
		} else {
			high = mid;
			to = at;
		}
	}
	return false;
}

uint32_t bole_flash_extent_fragment(const struct flash_extent *extent, uint64_t logical)
{
	uint32_t low = 0;
	uint32_t high = extent->data_fragments;

	BOLE_ASSERT(high > 0);
	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;
		if (extent->fragment[mid].logical <= logical)
			low = mid;
		else
			high = mid;
	}
	return low;
}

static enum bole_status fill_fan(struct flash_extent *extent, void (*yield)(void *), void *ctx)
{
	size_t width = (size_t)extent->key_len + ROW_BYTES;
	struct flash_fan fan = {.bits = bole_flash_fan_bits(extent->rows)};

	for (uint32_t i = 1; i < extent->rows; i++) {
		if (memcmp(bole_flash_extent_row(extent, i - 1), bole_flash_extent_row(extent, i),
		           extent->key_len) > 0)
			return BOLE_E_CORRUPT;
		if (i % SORT_YIELD_ROWS == 0)
			yield(ctx);
	}
	if (fan.bits == 0)
		return BOLE_OK;
	fan.start =
	        bole_alloc_array(extent->alloc, bole_flash_fan_count(fan.bits), sizeof *fan.start);
	if (fan.start == NULL)
		return BOLE_E_NO_MEMORY;
	extent->fan = fan;
	bole_flash_fan_fill(&extent->fan, extent->table, width, extent->rows);
	return BOLE_OK;
}

/* Fills by_offset from items; they may not overlap. */
static enum bole_status fill_order(struct flash_extent *extent, const struct flash_sort_item *items,
                                   void (*yield)(void *), void *ctx)
{
	enum bole_status rc = BOLE_OK;
	uint64_t end = 0;

	for (uint32_t i = 0; i < extent->rows; i++) {
		uint64_t stored = bole_flash_row_stored(extent, items[i].row);
		if (items[i].key < end || stored == 0 ||
		    !bole_in_bounds(items[i].key, stored, extent->data_bytes))
			rc = BOLE_E_CORRUPT;
		end = items[i].key + stored;
		extent->by_offset[i] = items[i].row;
		if (i % SORT_YIELD_ROWS == SORT_YIELD_ROWS - 1)
			yield(ctx);
	}
	return rc;
}

enum bole_status bole_flash_extent_index(struct flash_extent *extent, void (*yield)(void *),
                                         void *ctx)
{
	enum bole_status rc = fill_fan(extent, yield, ctx);
	uint32_t n = extent->rows;

	if (rc != BOLE_OK || n == 0)
		return rc;
	struct flash_sort_item *items = bole_alloc_array(extent->alloc, n, sizeof *items);
	struct flash_sort_item *spare = bole_alloc_array(extent->alloc, n, sizeof *spare);
	extent->by_offset = bole_alloc_array(extent->alloc, n, sizeof *extent->by_offset);
	if (items == NULL || spare == NULL || extent->by_offset == NULL)
		rc = BOLE_E_NO_MEMORY;
	for (uint32_t i = 0; i < n && rc == BOLE_OK; i++)
		items[i] = (struct flash_sort_item){bole_flash_row_offset(extent, i), i};
	if (rc == BOLE_OK) {
		yield(ctx);
		bole_flash_sort(items, spare, n, yield, ctx);
	}
	bole_alloc_free(extent->alloc, spare, n, sizeof *spare);
	if (rc == BOLE_OK)
		rc = fill_order(extent, items, yield, ctx);
	bole_alloc_free(extent->alloc, items, n, sizeof *items);
	return rc;
}

struct flash_extent *bole_flash_extent_open(struct bole_alloc *alloc)
{
	struct flash_extent *extent = bole_alloc_zeroed(alloc, 1, sizeof *extent);

	if (extent == NULL)
		return NULL;
	atomic_init(&extent->refs, 1);
	extent->alloc = alloc;
	return extent;
}

void bole_flash_extent_release(struct flash_extent *extent)
{
	if (extent == NULL ||
	    atomic_fetch_sub_explicit(&extent->refs, 1, memory_order_acq_rel) != 1)
		return;
	bole_alloc_free(extent->alloc, extent->fragment, extent->fragments,
	                sizeof *extent->fragment);
	bole_alloc_free(extent->alloc, extent->table, (size_t)extent->table_bytes, 1);
	bole_alloc_free(extent->alloc, extent->by_offset, extent->rows, sizeof *extent->by_offset);
	bole_alloc_free(extent->alloc, extent->fan.start, bole_flash_fan_count(extent->fan.bits),
	                sizeof *extent->fan.start);
	bole_alloc_free(extent->alloc, extent, 1, sizeof *extent);
}

enum bole_status bole_flash_extent_each(struct flash_volume *v, const struct flash_extent *extent,
                                        enum bole_status (*row)(void *, uint32_t, const uint8_t *),
                                        void *ctx)
{
	for (uint32_t i = 0; i < extent->rows; i++) {
		BOLE_TRY(row(ctx, i, bole_flash_extent_row(extent, i)));
		if (i % SORT_YIELD_ROWS == SORT_YIELD_ROWS - 1)
			bole_flash_yield(v);
	}
	return BOLE_OK;
}
