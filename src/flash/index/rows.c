/* SPDX-License-Identifier: ISC */
/* Sorted rows in memory. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/index/index.h"

static size_t run_bytes(const struct flash_rows *run)
{
	/* The fan-out lies behind the rows. */
	return sizeof *run +
	       (size_t)bole_round_up((uint64_t)run->count * bole_flash_rows_width(run->key_len),
	                             4) +
	       bole_flash_fan_count(run->fan.bits) * sizeof(uint32_t);
}

struct flash_rows *bole_flash_rows_open(struct bole_alloc *alloc, uint32_t key_len, uint32_t count)
{
	struct flash_rows shape = {
	        .count = count, .key_len = key_len, .fan.bits = bole_flash_fan_bits(count)};
	struct flash_rows *run = bole_alloc_array(alloc, run_bytes(&shape), 1);

	if (run == NULL)
		return NULL;
	atomic_init(&run->refs, 1);
	run->count = count;
	run->key_len = key_len;
	run->fan.bits = shape.fan.bits;
	run->fan.start = NULL;
	if (run->fan.bits != 0)
		run->fan.start = (uint32_t *)(void *)((uint8_t *)run + run_bytes(run) -
		                                      bole_flash_fan_count(run->fan.bits) *
		                                              sizeof(uint32_t));
	return run;
}

const uint8_t *bole_flash_rows_key(const struct flash_rows *run, uint32_t at)
{
	return run->rows + at * bole_flash_rows_width(run->key_len);
}

void bole_flash_rows_set(struct flash_rows *run, uint32_t at, const uint8_t *key,
                         const struct flash_home *home)
{
	uint8_t *row = run->rows + at * bole_flash_rows_width(run->key_len);

	memmove(row, key, run->key_len);
	row += run->key_len;
	bole_put_le32(row + ROWS_SEGMENT_AT, home->segment);
	bole_put_le32(row + ROWS_OFFSET_AT, home->offset);
	bole_put_le32(row + ROWS_STORED_AT, home->stored);
	row[ROWS_TYPE_AT] = home->type;
}

struct flash_home bole_flash_rows_home(const struct flash_rows *run, uint32_t at)
{
	const uint8_t *row = bole_flash_rows_key(run, at) + run->key_len;

	return (struct flash_home){
	        .segment = bole_get_le32(row + ROWS_SEGMENT_AT),
	        .offset = bole_get_le32(row + ROWS_OFFSET_AT),
	        .stored = bole_get_le32(row + ROWS_STORED_AT) & 0xffffffu,
	        .type = row[ROWS_TYPE_AT],
	};
}

static int order20(const void *a, const void *b)
{
	return memcmp(a, b, 20);
}

static int order32(const void *a, const void *b)
{
	return memcmp(a, b, 32);
}

static bool sorted(const struct flash_rows *run)
{
	for (uint32_t i = 1; i < run->count; i++)
		if (memcmp(bole_flash_rows_key(run, i - 1), bole_flash_rows_key(run, i),
		           run->key_len) > 0)
			return false;
	return true;
}

void bole_flash_rows_finish(struct flash_rows *run)
{
	BOLE_ASSERT(run->key_len == 20 || run->key_len == 32);
	if (!sorted(run))
		qsort(run->rows, run->count, bole_flash_rows_width(run->key_len),
		      run->key_len == 20 ? order20 : order32);
	bole_flash_fan_fill(&run->fan, run->rows, bole_flash_rows_width(run->key_len), run->count);
}

void bole_flash_rows_release(struct bole_alloc *alloc, struct flash_rows *run)
{
	if (run == NULL || atomic_fetch_sub_explicit(&run->refs, 1, memory_order_acq_rel) != 1)
		return;
	bole_alloc_free(alloc, run, run_bytes(run), 1);
}

/* -- Fan-outs -- */

uint32_t bole_flash_fan_bits(uint32_t rows)
{
	uint32_t bits = 0;

	while (bits < INDEX_FAN_BITS_MAX && rows >> bits > INDEX_FAN_ROWS)
		bits++;
	return bits;
}

static uint32_t bucket(const struct flash_fan *fan, const uint8_t *key)
{
	return bole_get_be32(key) >> (32 - fan->bits);
}

void bole_flash_fan_fill(struct flash_fan *fan, const uint8_t *rows, size_t width, uint32_t count)
{
	uint32_t at = 0;

	if (fan->bits == 0)
		return;
	for (uint32_t i = 0; i < count; i++)
		for (uint32_t b = bucket(fan, rows + i * width); at <= b; at++)
			fan->start[at] = i;
	for (; at < bole_flash_fan_count(fan->bits); at++)
		fan->start[at] = count;
}

uint32_t bole_flash_rows_lower(const struct flash_fan *fan, const uint8_t *rows, size_t width,
                               uint32_t count, const uint8_t *key, uint32_t key_len)
{
	uint32_t low = 0;
	uint32_t high = count;

	if (fan->bits != 0) {
		low = fan->start[bucket(fan, key)];
		high = fan->start[bucket(fan, key) + 1];
	}
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (memcmp(rows + mid * width, key, key_len) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool bole_flash_rows_find(const struct flash_rows *run, const uint8_t *key, uint32_t *at)
{
	*at = bole_flash_rows_lower(&run->fan, run->rows, bole_flash_rows_width(run->key_len),
	                            run->count, key, run->key_len);
	return *at < run->count && memcmp(bole_flash_rows_key(run, *at), key, run->key_len) == 0;
}
