/* SPDX-License-Identifier: ISC */
/* Sorted runs of records. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/index.h"

static size_t run_bytes(const struct flash_run *run)
{
	return sizeof *run + (size_t)run->count * bole_flash_run_width(run->key_len);
}

struct flash_run *bole_flash_run_open(struct bole_alloc *alloc, uint32_t key_len, uint32_t count)
{
	size_t bytes;
	struct flash_run *run;

	if (__builtin_mul_overflow((size_t)count, bole_flash_run_width(key_len), &bytes) ||
	    __builtin_add_overflow(bytes, sizeof *run, &bytes))
		return NULL;
	run = bole_alloc_array(alloc, bytes, 1);
	if (run == NULL)
		return NULL;
	atomic_init(&run->refs, 1);
	run->count = count;
	run->key_len = key_len;
	run->tier = 0;
	for (uint64_t n = count; n >= INDEX_TIER_RUNS; n /= INDEX_TIER_RUNS)
		run->tier++;
	return run;
}

const uint8_t *bole_flash_run_key(const struct flash_run *run, uint32_t at)
{
	return run->rows + at * bole_flash_run_width(run->key_len);
}

void bole_flash_run_set(struct flash_run *run, uint32_t at, const uint8_t *key,
                        const struct flash_home *home)
{
	uint8_t *row = run->rows + at * bole_flash_run_width(run->key_len);

	memmove(row, key, run->key_len);
	row += run->key_len;
	bole_put_le32(row + RUN_SEGMENT_AT, home->segment);
	bole_put_le32(row + RUN_OFFSET_AT, home->offset);
	bole_put_le32(row + RUN_STORED_AT, home->stored);
	row[RUN_TYPE_AT] = home->type;
}

struct flash_home bole_flash_run_home(const struct flash_run *run, uint32_t at)
{
	const uint8_t *row = bole_flash_run_key(run, at) + run->key_len;

	return (struct flash_home){
	        .segment = bole_get_le32(row + RUN_SEGMENT_AT),
	        .offset = bole_get_le32(row + RUN_OFFSET_AT),
	        .stored = bole_get_le32(row + RUN_STORED_AT) & 0xffffffu,
	        .type = row[RUN_TYPE_AT],
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

static bool sorted(const struct flash_run *run)
{
	for (uint32_t i = 1; i < run->count; i++)
		if (memcmp(bole_flash_run_key(run, i - 1), bole_flash_run_key(run, i),
		           run->key_len) > 0)
			return false;
	return true;
}

void bole_flash_run_finish(struct flash_run *run)
{
	BOLE_ASSERT(run->key_len == 20 || run->key_len == 32);
	if (!sorted(run))
		qsort(run->rows, run->count, bole_flash_run_width(run->key_len),
		      run->key_len == 20 ? order20 : order32);
	if (run->count < INDEX_FAN_ROWS)
		return;
	memset(run->fan, 0, sizeof run->fan);
	for (uint32_t i = 0; i < run->count; i++)
		run->fan[bole_flash_run_key(run, i)[0] + 1]++;
	for (size_t i = 1; i < INDEX_FAN; i++)
		run->fan[i] += run->fan[i - 1];
}

void bole_flash_run_release(struct bole_alloc *alloc, struct flash_run *run)
{
	if (run == NULL || atomic_fetch_sub_explicit(&run->refs, 1, memory_order_acq_rel) != 1)
		return;
	bole_alloc_free(alloc, run, run_bytes(run), 1);
}

bool bole_flash_run_find(const struct flash_run *run, const uint8_t *key, uint32_t *at)
{
	uint32_t low = run->count < INDEX_FAN_ROWS ? 0 : run->fan[key[0]];
	uint32_t high = run->count < INDEX_FAN_ROWS ? run->count : run->fan[key[0] + 1];

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		int order = memcmp(bole_flash_run_key(run, mid), key, run->key_len);
		if (order == 0) {
			*at = mid;
			return true;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}
