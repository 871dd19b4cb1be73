/* SPDX-License-Identifier: ISC */
#include "flash/index/sort.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/bytes.h"
#include "support/platform.h"

enum { ROWS_MAX = 20000, WIDTH = 36, KEY = 20 };

static void count_yield(void *ctx)
{
	++*(uint32_t *)ctx;
}

/* Few distinct first bytes, so that many keys agree in eight bytes, and some altogether. */
static void fill(uint8_t *rows, uint32_t n, unsigned spread, uint64_t *state)
{
	for (uint32_t i = 0; i < n; i++) {
		uint8_t *row = rows + (size_t)i * WIDTH;

		for (size_t b = 0; b < KEY; b++)
			row[b] = (uint8_t)(test_random(state) % spread);
		if (spread < 4)
			memset(row, 7, 12);
		bole_put_le32(row + KEY, i);
	}
}

static void check(const uint8_t *rows, uint32_t n, bool *seen)
{
	memset(seen, 0, n * sizeof *seen);
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *row = rows + (size_t)i * WIDTH;
		uint32_t number = bole_get_le32(row + KEY);

		cr_assert(number < n && !seen[number], "row %u is there twice", number);
		seen[number] = true;
		if (i == 0)
			continue;
		int order = memcmp(row - WIDTH, row, KEY);
		cr_assert(order < 0 || (order == 0 && bole_get_le32(row - WIDTH + KEY) < number),
		          "rows %u and %u of %u", i - 1, i, n);
	}
}

Test(sort, rows_come_out_in_order_equal_ones_as_they_were)
{
	static const uint32_t counts[] = {0, 1, 2, 3, 255, 4097, ROWS_MAX};
	static const unsigned spreads[] = {256, 16, 2, 1};
	static uint8_t rows[ROWS_MAX * WIDTH];
	static bool seen[ROWS_MAX];
	struct test_platform test;
	uint64_t state = test_seed(42);

	test_platform_init(&test, 1);

	for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
		for (size_t s = 0; s < sizeof spreads / sizeof spreads[0]; s++) {
			uint32_t n = spreads[s] == 2 && counts[c] > 500 ? 500 : counts[c];
			uint32_t yields = 0;

			fill(rows, n, spreads[s], &state);
			cr_assert(bole_flash_sort_rows(&test.alloc, rows, n, WIDTH, KEY,
			                               count_yield, &yields) == BOLE_OK);
			check(rows, n, seen);
			cr_assert(n < ROWS_MAX || yields >= n / SORT_YIELD_ROWS);
		}
	}
	test_platform_release(&test);
}
