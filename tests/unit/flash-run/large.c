/* SPDX-License-Identifier: ISC */
/* Caches that are long enough for slabs of large pages: what is in them is what was put there, they
 * stay below their limit, and without memory they keep less. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/bytes.h"
#include "flash/index/cache.h"
#include "flash/index/objects.h"
#include "support/platform.h"
#include "support/suite_help.h"

enum { PAGE = 4096, BYTES = 72 << 20, PAGES = 20000, RECORDS = 500000, RECORD = 150 };

static struct test_platform test;

static void keep(struct flash_cache *c, uint32_t page)
{
	struct flash_slot *s = bole_flash_cache_claim(c, 7, page);

	if (s == NULL)
		return;
	bole_put_le32(s->data, page);
	bole_put_le32(s->data + PAGE - 4, ~page);
	s = bole_flash_cache_keep(c, s);
	bole_flash_cache_unpin(c, s);
}

static uint32_t there(struct flash_cache *c)
{
	uint32_t found = 0;

	for (uint32_t page = 0; page < PAGES; page++) {
		struct flash_slot *s = bole_flash_cache_get(c, 7, page);
		if (s == NULL)
			continue;
		check_eq(bole_get_le32(s->data), page);
		check_eq(bole_get_le32(s->data + PAGE - 4), ~page);
		bole_flash_cache_unpin(c, s);
		found++;
	}
	return found;
}

Test(large, pages_in_slabs_are_found_evicted_and_bounded)
{
	struct flash_cache_stats stats;
	struct flash_cache *c;

	test_platform_init(&test, 1);
	OK(bole_flash_cache_open(&test.base, &test.alloc, PAGE, BYTES, 1 << 20, &c));
	for (uint32_t page = 0; page < PAGES; page++)
		keep(c, page);
	cr_assert_geq(there(c), bole_flash_cache_slots(c) - bole_flash_cache_slots(c) / 50);
	bole_flash_cache_stats(c, &stats);
	cr_assert_leq(stats.bytes, BYTES);
	cr_assert_geq(stats.bytes, BYTES / 10 * 8);
	bole_flash_cache_close(c);
	test_platform_release(&test);
}

Test(large, without_memory_for_a_slab_pages_still_come_and_go)
{
	struct flash_cache *c;

	test_platform_init(&test, 1);
	OK(bole_flash_cache_open(&test.base, &test.alloc, PAGE, BYTES, 1 << 20, &c));
	for (uint32_t page = 0; page < PAGES / 4; page++)
		keep(c, page);
	uint32_t before = there(c);
	check_eq(before, PAGES / 4);
	test.fail_after = true;
	atomic_store(&test.fail_at, atomic_load(&test.grows) + 1);
	for (uint32_t page = PAGES / 4; page < PAGES; page++)
		keep(c, page);
	cr_assert_geq(there(c), before);
	atomic_store(&test.fail_at, 0);
	for (uint32_t page = 0; page < PAGES; page++)
		if (page % 3 == 0)
			bole_flash_cache_drop(c, 7, page, 1);
	for (uint32_t page = 0; page < PAGES; page++)
		keep(c, page);
	cr_assert_geq(there(c), before);
	bole_flash_cache_close(c);
	test_platform_release(&test);
}

static void record_of(uint32_t n, uint8_t *record)
{
	memset(record, (int)(n & 0xff), RECORD);
	bole_put_le32(record, n);
}

Test(large, records_in_slabs_are_found_or_not_but_never_others)
{
	struct flash_objects_stats stats;
	struct flash_objects *o;
	uint8_t record[RECORD];
	uint8_t got[RECORD];
	uint32_t found = 0;

	test_platform_init(&test, 1);
	OK(bole_flash_objects_open(&test.base, &test.alloc, BYTES, &o));
	for (uint32_t n = 0; n < RECORDS; n++) {
		record_of(n, record);
		bole_flash_objects_put(o, n % 13, n * 8, record, RECORD, true);
	}
	for (uint32_t n = 0; n < RECORDS; n++) {
		if (!bole_flash_objects_get(o, n % 13, n * 8, got, RECORD))
			continue;
		record_of(n, record);
		check_eq(memcmp(record, got, RECORD), 0);
		found++;
	}
	cr_assert_geq(found, BYTES / (RECORD + 64));
	bole_flash_objects_stats(o, &stats);
	cr_assert_leq(stats.bytes, BYTES);
	bole_flash_objects_close(o);
	test_platform_release(&test);
}
