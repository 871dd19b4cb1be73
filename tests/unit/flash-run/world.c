/* SPDX-License-Identifier: ISC */
#include "world.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

const struct flash_run_shape shape_index = {.width = 12, .key_len = 11, .search_len = 6};
const struct flash_run_shape shape_table = {.width = 36, .key_len = 20, .search_len = 20};
const struct flash_run_shape shape_order = {.width = 10, .key_len = 6, .search_len = 6, .zeros = 2};

const char *const world_names[WORLD_GEOMETRIES] = {
        "managed 4096", "managed 512", "nor 1/4K", "nand 2048/128K", "nand 512/16K",
};

static const struct bole_block_sim_options geometries[WORLD_GEOMETRIES] = {
        {.kind = BOLE_BLOCK_MANAGED,
         .size_bytes = 32 << 20,
         .read_unit = 4096,
         .program_unit = 4096},
        {.kind = BOLE_BLOCK_MANAGED,
         .size_bytes = 8 << 20,
         .read_unit = 512,
         .program_unit = 512,
         .volatile_cache = true,
         .can_discard = true},
        {.kind = BOLE_BLOCK_NOR,
         .size_bytes = 8 << 20,
         .read_unit = 1,
         .program_unit = 1,
         .erase_unit = 4096,
         .damage_unit = 256},
        {.kind = BOLE_BLOCK_NAND,
         .size_bytes = 48 << 20,
         .read_unit = 2048,
         .program_unit = 2048,
         .erase_unit = 128 << 10},
        {.kind = BOLE_BLOCK_NAND,
         .size_bytes = 8 << 20,
         .read_unit = 512,
         .program_unit = 512,
         .erase_unit = 16 << 10},
};

void world_open(struct world *w, unsigned geometry, const struct bole_flash_open_options *options)
{
	test_platform_init(&w->test, 1);
	w->test.quiet = true;
	test_platform_init(&w->outside, 1);
	OK(bole_block_sim_open(&w->outside.alloc, &geometries[geometry], &w->device));
	OK(bole_flash_volume_format(w->device, &w->test.base, NULL));
	OK(bole_flash_volume_open(w->device, &w->test.base, &w->test.alloc, options, &w->v));
}

void world_close(struct world *w)
{
	OK(bole_flash_volume_close(w->v));
	bole_block_close(w->device);
	test_platform_release(&w->outside);
	test_platform_release(&w->test);
}

static size_t width_now;
static int compare(const void *a, const void *b)
{
	return memcmp(a, b, width_now);
}

void rows_make(struct rows *r, const struct flash_run_shape *shape, uint32_t count, uint64_t spread,
               uint64_t *random)
{
	r->shape = *shape;
	r->count = count;
	r->row = malloc((size_t)count * shape->width + 1);
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *row = r->row + (size_t)i * shape->width;
		test_random_bytes(random, row, shape->width);
		if (spread != 0) {
			uint64_t n = test_random(random) % spread;
			memset(row, 0x5a, shape->search_len);
			/* Near each other: fences of many pages are equal. */
			for (int b = 0; b < 2; b++)
				row[shape->search_len - 1 - b] = (uint8_t)(n >> 8 * b);
		}
		memset(row, 0, shape->zeros);
	}
	width_now = shape->width;
	qsort(r->row, count, shape->width, compare);
}

void rows_free(struct rows *r)
{
	free(r->row);
}

uint32_t rows_lower(const struct rows *r, const uint8_t *key, uint32_t len)
{
	uint32_t low = 0;
	uint32_t high = r->count;

	while (low < high) {
		uint32_t mid = (low + high) / 2;
		if (memcmp(row_of(r, mid), key, len) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

enum bole_status rows_write(struct world *w, const struct rows *r, bool filter,
                            struct flash_run **out)
{
	struct flash_run_builder b;
	uint32_t at = 0;
	uint32_t step = 1;

	enum bole_status rc =
	        bole_flash_run_begin(&b, w->v, &r->shape, r->count, filter, FLASH_FOR_CHECKPOINT);
	if (rc != BOLE_OK)
		return rc;
	while (at < r->count && rc == BOLE_OK) {
		uint32_t n = r->count - at < step ? r->count - at : step;
		rc = bole_flash_run_append(&b, row_of(r, at), n);
		at += n;
		step = step * 3 % 1000 + 1;
	}
	return bole_flash_run_finish(&b, out);
}

void run_drop(struct flash_run *run)
{
	bole_flash_run_change(run, FLASH_HELD_DROPPED, false);
	bole_flash_run_release(run);
}

static void check_find(struct flash_run *run, const struct rows *r, const uint8_t *key)
{
	uint32_t len = r->shape.search_len;
	uint32_t at = rows_lower(r, key, len);
	uint32_t end = at;
	struct flash_run_match m;

	while (end < r->count && memcmp(row_of(r, end), key, len) == 0)
		end++;
	enum bole_status rc =
	        bole_flash_run_find(run, key, bole_flash_run_hash(run->v, key, len), &m);
	if (at == end) {
		check_eq(rc, BOLE_E_NOT_FOUND);
		return;
	}
	OK(rc);
	check_eq(m.row, at);
	uint32_t count = end - at < RUN_MATCH_ROWS ? end - at : RUN_MATCH_ROWS;
	check_eq(m.count, count);
	cr_assert(m.more == (end - at > count));
	cr_assert(memcmp(m.rows, row_of(r, at), (size_t)count * r->shape.width) == 0);
}

void check_key(struct flash_run *run, const struct rows *r, const uint8_t *key)
{
	uint8_t row[RUN_WIDTH_MAX];
	uint32_t at;

	check_find(run, r, key);
	for (uint32_t len = 0; len <= r->shape.key_len; len++) {
		OK(bole_flash_run_seek(run, key, len, &at));
		check_eq(at, rows_lower(r, key, len));
	}
	if (at == r->count)
		return;
	OK(bole_flash_run_row(run, at, row));
	cr_assert(memcmp(row, row_of(r, at), r->shape.width) == 0);
}

void check_order(struct flash_run *run, const struct rows *r, uint32_t ahead)
{
	struct flash_run_cursor c;
	const uint8_t *row;

	bole_flash_run_cursor_init(&c, run, ahead);
	for (uint32_t i = 0; i < r->count; i++) {
		OK(bole_flash_run_next(&c, &row));
		cr_assert(memcmp(row, row_of(r, i), r->shape.width) == 0, "row %u", i);
	}
	check_eq(bole_flash_run_next(&c, &row), BOLE_END);
	bole_flash_run_cursor_close(&c);
}
