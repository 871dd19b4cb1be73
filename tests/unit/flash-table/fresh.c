/* SPDX-License-Identifier: ISC */
/* Rows that were just put: what each version may see of a table that all of them share. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/bytes.h"
#include "flash/index/fresh.h"
#include "support/platform.h"
#include "support/suite_help.h"

static struct test_platform test;

enum { KEY = 20, ROWS = 20000 };

static void key_of(uint32_t n, uint8_t *key)
{
	memset(key, 0, KEY);
	bole_put_le32(key + 12, n);
	bole_put_be64(key, n * UINT64_C(0x9e3779b97f4a7c15));
}

/* Few values, so that slots and their tags collide all the time. */
static uint64_t hash_of(uint32_t n)
{
	return (uint64_t)(n % 7) << 56 | (uint64_t)(n % 1013) << 32;
}

static void nothing(void *ctx)
{
	(void)ctx;
}

static void add(struct flash_fresh *f, uint32_t rows, uint32_t n)
{
	uint8_t key[KEY];

	key_of(n, key);
	cr_assert_eq(bole_flash_fresh_add(f, rows, key, hash_of(n), n + 1, (uint8_t)(n % 5)),
	             BOLE_OK);
	bole_flash_fresh_place(f, rows, UINT64_C(0xff00000000) | n);
}

static uint32_t find(const struct flash_fresh *f, uint32_t from, uint32_t rows, uint32_t n)
{
	uint8_t key[KEY];

	key_of(n, key);
	return bole_flash_fresh_find(f, from, rows, key, hash_of(n));
}

Test(fresh, each_version_sees_its_rows_and_no_later_ones)
{
	struct flash_fresh *f;

	test_platform_init(&test, 1);
	OK(bole_flash_fresh_open(&test.alloc, KEY, 0, &f));
	for (uint32_t n = 0; n < ROWS; n++) {
		cr_assert_eq(find(f, 0, n, n), FRESH_NONE);
		add(f, n, n);
		cr_assert_eq(find(f, 0, n, n), FRESH_NONE);
		cr_assert_eq(find(f, 0, n + 1, n), n);
		cr_assert_eq(find(f, n + 1, n + 1, n), FRESH_NONE);
	}
	for (uint32_t n = 0; n < ROWS; n++) {
		struct flash_fresh_row row = bole_flash_fresh_row(f, n);
		cr_assert_eq(find(f, n, ROWS, n), n);
		cr_assert_eq(row.place, UINT64_C(0xff00000000) | n);
		cr_assert_eq(row.stored, n + 1);
		cr_assert_eq(row.type, n % 5);
	}
	cr_assert_eq(find(f, 0, ROWS, ROWS), FRESH_NONE);
	bole_flash_fresh_release(f);
	test_platform_release(&test);
}

Test(fresh, what_a_draft_left_behind_is_forgotten_when_the_next_one_adds)
{
	struct flash_fresh *f;
	uint64_t random = test_seed(11);
	uint32_t rows = 0;
	uint32_t next = 0;
	static uint32_t number[ROWS];

	test_platform_init(&test, 1);
	OK(bole_flash_fresh_open(&test.alloc, KEY, 0, &f));
	while (rows < ROWS / 10) {
		uint32_t more = (uint32_t)(test_random(&random) % 400);
		for (uint32_t i = 0; i < more; i++)
			add(f, rows + i, next + i);
		for (uint32_t i = 0; i < rows; i++)
			cr_assert_eq(find(f, 0, rows + more, number[i]), i);
		if (test_random(&random) % 3 != 0) { /* else nothing of it is published */
			for (uint32_t i = 0; i < more; i++)
				number[rows + i] = next + i;
			rows += more;
		}
		next += more;
	}
	for (uint32_t n = 0, at = 0; n < next; n++) {
		uint32_t row = find(f, 0, rows, n);
		cr_assert_eq(row, at < rows && number[at] == n ? at : FRESH_NONE);
		at += at < rows && number[at] == n;
	}
	bole_flash_fresh_release(f);
	test_platform_release(&test);
}

Test(fresh, rows_sort_by_the_first_bytes_of_their_ids)
{
	struct flash_fresh *f;
	static struct flash_sort_item items[ROWS];
	static struct flash_sort_item spare[ROWS];

	test_platform_init(&test, 1);
	OK(bole_flash_fresh_open(&test.alloc, KEY, ROWS, &f));
	for (uint32_t n = 0; n < ROWS; n++)
		add(f, n, n);
	bole_flash_fresh_sort(f, ROWS, items, spare, nothing, NULL);
	for (uint32_t i = 1; i < ROWS; i++)
		cr_assert_lt(memcmp(bole_flash_fresh_row(f, items[i - 1].row).key,
		                    bole_flash_fresh_row(f, items[i].row).key, 8),
		             0);
	bole_flash_fresh_release(f);
	test_platform_release(&test);
}

Test(fresh, without_memory_the_table_stays_as_it_was)
{
	struct flash_fresh *f;
	uint8_t key[KEY];
	uint32_t rows = 0;
	uint32_t failed = 0;

	test_platform_init(&test, 1);
	for (uint64_t fail = 1; fail <= 2; fail++) {
		atomic_store(&test.fail_at, atomic_load(&test.grows) + fail);
		check_eq(bole_flash_fresh_open(&test.alloc, KEY, 0, &f), BOLE_E_NO_MEMORY);
	}
	OK(bole_flash_fresh_open(&test.alloc, KEY, 0, &f));
	while (rows < ROWS) {
		/* Every addition that needs memory fails once. */
		atomic_store(&test.fail_at, atomic_load(&test.grows) + 1);
		key_of(rows, key);
		enum bole_status rc = bole_flash_fresh_add(f, rows, key, hash_of(rows), 1, 1);
		atomic_store(&test.fail_at, 0);
		if (rc != BOLE_OK) {
			check_eq(rc, BOLE_E_NO_MEMORY);
			check_eq(find(f, 0, rows + 1, rows), FRESH_NONE);
			OK(bole_flash_fresh_add(f, rows, key, hash_of(rows), 1, 1));
			failed++;
		}
		rows++;
	}
	cr_assert_gt(failed, 10);
	for (uint32_t n = 0; n < ROWS; n++)
		check_eq(find(f, 0, rows, n), n);
	bole_flash_fresh_release(f);
	test_platform_release(&test);
}
