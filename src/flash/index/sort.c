/* SPDX-License-Identifier: ISC */
/* A radix sort, least significant byte first. Ids are evenly spread, so their first eight bytes
 * order nearly all of them; what is left in disorder is a few neighbours. */
#include "flash/index/sort.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

enum { DIGITS = 256, ROW_MAX = 128 };

static void breathe(uint32_t i, void (*yield)(void *), void *ctx)
{
	if (i % SORT_YIELD_ROWS == SORT_YIELD_ROWS - 1)
		yield(ctx);
}

/* One pass. False: all digits are the same and nothing was moved. */
static bool pass(const struct flash_sort_item *from, struct flash_sort_item *to, uint32_t count,
                 unsigned shift, void (*yield)(void *), void *ctx)
{
	uint32_t at[DIGITS] = {0};
	uint32_t sum = 0;

	for (uint32_t i = 0; i < count; i++) {
		at[from[i].key >> shift & (DIGITS - 1)]++;
		breathe(i, yield, ctx);
	}
	if (at[from[0].key >> shift & (DIGITS - 1)] == count)
		return false;
	for (size_t i = 0; i < DIGITS; i++) {
		uint32_t n = at[i];
		at[i] = sum;
		sum += n;
	}
	for (uint32_t i = 0; i < count; i++) {
		to[at[from[i].key >> shift & (DIGITS - 1)]++] = from[i];
		breathe(i, yield, ctx);
	}
	return true;
}

void bole_flash_sort(struct flash_sort_item *items, struct flash_sort_item *spare, uint32_t count,
                     void (*yield)(void *), void *ctx)
{
	struct flash_sort_item *from = items;
	struct flash_sort_item *to = spare;
	bool sorted = true;

	for (uint32_t i = 1; i < count && sorted; i++) {
		sorted = items[i - 1].key <= items[i].key;
		breathe(i, yield, ctx);
	}
	if (sorted)
		return;
	for (unsigned shift = 0; shift < 64; shift += 8) {
		if (!pass(from, to, count, shift, yield, ctx))
			continue;
		struct flash_sort_item *swap = from;
		from = to;
		to = swap;
	}
	if (from != items)
		memcpy(items, from, count * sizeof *items);
}

/* Items that agree in eight bytes, by the rest of their keys. */
static void order_ties(struct flash_sort_item *items, uint32_t count, const uint8_t *rows,
                       size_t width, uint32_t key_len, void (*yield)(void *), void *ctx)
{
	for (uint32_t i = 1; i < count; i++) {
		struct flash_sort_item item = items[i];
		const uint8_t *key = rows + item.row * width;
		uint32_t at = i;

		while (at > 0 && items[at - 1].key == item.key &&
		       memcmp(rows + items[at - 1].row * width, key, key_len) > 0) {
			items[at] = items[at - 1];
			at--;
		}
		items[at] = item;
		breathe(i, yield, ctx);
	}
}

/* Moves every row to its place, round by round. */
static void move_rows(struct flash_sort_item *items, uint32_t count, uint8_t *rows, size_t width,
                      void (*yield)(void *), void *ctx)
{
	uint8_t first[ROW_MAX];
	uint32_t moved = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = i;

		if (items[i].row == i)
			continue;
		memcpy(first, rows + i * width, width);
		while (items[at].row != i) {
			uint32_t from = items[at].row;

			memcpy(rows + at * width, rows + from * width, width);
			items[at].row = at;
			at = from;
			breathe(moved++, yield, ctx);
		}
		memcpy(rows + at * width, first, width);
		items[at].row = at;
	}
}

enum bole_status bole_flash_sort_rows(struct bole_alloc *alloc, uint8_t *rows, uint32_t count,
                                      size_t width, uint32_t key_len, void (*yield)(void *),
                                      void *ctx)
{
	BOLE_ASSERT(key_len >= 8);
	BOLE_ASSERT(width >= key_len && width <= ROW_MAX);
	if (count < 2)
		return BOLE_OK;
	struct flash_sort_item *items = bole_alloc_array(alloc, count, sizeof *items);
	struct flash_sort_item *spare = bole_alloc_array(alloc, count, sizeof *spare);
	enum bole_status rc = items == NULL || spare == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;

	if (rc == BOLE_OK) {
		for (uint32_t i = 0; i < count; i++) {
			items[i] = (struct flash_sort_item){bole_get_be64(rows + i * width), i};
			breathe(i, yield, ctx);
		}
		bole_flash_sort(items, spare, count, yield, ctx);
		order_ties(items, count, rows, width, key_len, yield, ctx);
		move_rows(items, count, rows, width, yield, ctx);
	}
	bole_alloc_free(alloc, spare, count, sizeof *spare);
	bole_alloc_free(alloc, items, count, sizeof *items);
	return rc;
}
