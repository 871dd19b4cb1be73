/* SPDX-License-Identifier: ISC */
/* Several runs as one. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "flash/index/objects.h"
#include "world.h"

enum { RUNS_MAX = 16 };

struct item {
	uint8_t row[12];
	uint32_t run;
};

static int compare(const void *a, const void *b)
{
	const struct item *x = a;
	const struct item *y = b;
	int order = memcmp(x->row, y->row, 11);

	return order != 0 ? order : (x->run > y->run) - (x->run < y->run);
}

static void check_merge(struct world *w, unsigned count, uint64_t spread, uint64_t *random)
{
	static struct rows r[RUNS_MAX];
	struct flash_run *run[RUNS_MAX];
	struct flash_merge m;
	const uint8_t *row;
	uint32_t which;
	uint32_t all = 0;
	uint32_t n = 0;

	for (unsigned i = 0; i < count; i++) {
		rows_make(&r[i], &shape_index, (uint32_t)(1 + test_random(random) % 3000), spread,
		          random);
		/* The same keys in several runs, and only there: equal ones would be in doubt. */
		if (i > 0)
			for (uint32_t k = 0; k < r[i].count && k < r[i - 1].count; k += 3)
				memcpy(r[i].row + (size_t)k * 12, row_of(&r[i - 1], k), 11);
		qsort(r[i].row, r[i].count, 12, compare);
		all += r[i].count;
		OK(rows_write(w, &r[i], false, &run[i]));
	}
	struct item *item = malloc(all * sizeof *item);
	for (unsigned i = 0; i < count; i++)
		for (uint32_t k = 0; k < r[i].count; k++, n++) {
			memcpy(item[n].row, row_of(&r[i], k), 12);
			item[n].run = i;
		}
	qsort(item, all, sizeof *item, compare);
	OK(bole_flash_merge_open(&m, w->v, run, count, count % 5));
	for (n = 0; n < all; n++) {
		OK(bole_flash_merge_next(&m, &row, &which));
		cr_assert(memcmp(row, item[n].row, 11) == 0);
		check_eq(which, item[n].run);
	}
	check_eq(bole_flash_merge_next(&m, &row, &which), BOLE_END);
	bole_flash_merge_close(&m);
	for (unsigned i = 0; i < count; i++) {
		run_drop(run[i]);
		rows_free(&r[i]);
	}
	free(item);
}

/* Goal: a merge shows all rows of all runs, by key, the newest first among equals. */
Test(flash_merge, runs_merge_like_one_sorted_array)
{
	uint64_t random = test_seed(31);
	static struct world w;

	world_open(&w, 1, NULL);
	for (unsigned count = 1; count <= RUNS_MAX; count++) {
		check_merge(&w, count, 0, &random);
		check_merge(&w, count, 40, &random);
	}
	world_close(&w);
}

Test(flash_merge, no_runs_are_an_empty_merge)
{
	static struct world w;
	struct flash_merge m;
	const uint8_t *row;
	uint32_t which;

	world_open(&w, 1, NULL);
	OK(bole_flash_merge_open(&m, w.v, NULL, 0, 0));
	check_eq(bole_flash_merge_next(&m, &row, &which), BOLE_END);
	bole_flash_merge_close(&m);
	world_close(&w);
}

/* Goal: the cache stays within its bytes, evicts, and does not mix pages up. Method: many more
 * pages than it has room for, asked for unevenly. */
Test(flash_cache, a_small_cache_serves_what_is_asked_for_often)
{
	const struct bole_flash_open_options few = {.cache_bytes = 3 * 40 * 4200};
	uint64_t random = test_seed(32);
	static struct world w;
	struct flash_cache_stats stats;
	struct flash_run *run;
	struct rows r;
	uint8_t row[RUN_WIDTH_MAX];

	world_open(&w, 0, &few);
	rows_make(&r, &shape_table, 50000, 0, &random);
	OK(rows_write(&w, &r, false, &run));
	for (int i = 0; i < 20000; i++) {
		uint32_t at = (uint32_t)(test_random(&random) % r.count);
		if (i % 10 != 0)
			at %= 2000; /* 18 pages */
		OK(bole_flash_run_row(run, at, row));
		cr_assert(memcmp(row, row_of(&r, at), r.shape.width) == 0);
	}
	bole_flash_cache_stats(w.v->cache, &stats);
	check_eq(stats.hits + stats.misses, 20000);
	cr_assert_gt(stats.hits, 17000, "%llu hits", (unsigned long long)stats.hits);
	cr_assert_lt(stats.bytes, 48 * 4200);
	run_drop(run);
	rows_free(&r);
	world_close(&w);
}

static void fill_record(uint8_t *p, uint64_t number, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(number * 31 + i);
}

/* Goal: what is kept comes back as it was, within the bytes that were allowed; what is asked for
 * often stays. Method: many more records than there is room for, of all lengths, a few asked for
 * all the time; with and without memory. */
Test(flash_objects, records_come_back_as_they_were_and_hot_ones_stay)
{
	static const size_t sizes[] = {0, 20 << 10, 64 << 10, 6 << 20};
	uint64_t random = test_seed(33);
	struct test_platform test;
	static uint8_t record[OBJECTS_RECORD_MAX + 1];
	static uint8_t got[OBJECTS_RECORD_MAX + 1];
	struct flash_objects_stats stats;

	for (unsigned s = 0; s < 4; s++) {
		struct flash_objects *o;
		uint64_t hot = 0;
		test_platform_init(&test, 1);
		OK(bole_flash_objects_open(&test.base, &test.alloc, sizes[s], &o));
		size_t tables = test.bytes;
		for (uint64_t i = 0; i < 60000; i++) {
			bool often = i % 4 == 0;
			uint64_t n = often ? test_random(&random) % 20 : 100 + i;
			size_t len = n % 97 == 3 ? n % (OBJECTS_RECORD_MAX + 2) : n % 200;
			uint64_t sequence = n / 7;
			uint32_t offset = (uint32_t)(n % 7);
			fill_record(record, n, len);
			test.fail_at = i % 1000 < 10 ? test.grows + 1 : 0;
			if (bole_flash_objects_get(o, sequence, offset, got, len)) {
				cr_assert(memcmp(record, got, len) == 0);
				cr_assert(often);
				hot++;
			} else {
				bole_flash_objects_put(o, sequence, offset, record, len, true);
			}
			cr_assert(!bole_flash_objects_get(o, sequence, offset, got, len + 1));
		}
		test.fail_at = 0;
		bole_flash_objects_stats(o, &stats);
		cr_assert_leq(test.bytes - tables, sizes[s] + 64 + sizes[s] / 64);
		cr_assert_leq(stats.bytes, sizes[s] + 64 + sizes[s] / 64);
		if (s > 0)
			cr_assert_gt(hot, s == 1 ? 9000 : 14500, "%llu", (unsigned long long)hot);
		bole_flash_objects_close(o);
		test_platform_release(&test);
	}
}
