/* SPDX-License-Identifier: ISC */
/* Runs on the device against sorted arrays. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

static const struct flash_run_shape *const shapes[] = {&shape_index, &shape_table, &shape_order};
static const uint32_t counts[] = {1, 2, 63, 84, 85, 340, 341, 1000, 20000};

static void check_keys(struct flash_run *run, const struct rows *r, uint64_t *random)
{
	uint8_t key[RUN_WIDTH_MAX] = {0};

	for (int i = 0; i < 60; i++) {
		memcpy(key, row_of(r, (uint32_t)(test_random(random) % r->count)),
		       r->shape.key_len);
		if (i % 3 == 1) /* next to one that is there */
			key[test_random(random) % r->shape.search_len] ^= 1;
		if (i % 3 == 2)
			test_random_bytes(random, key, sizeof key);
		if (i % 6 == 5)
			memset(key, 0, r->shape.zeros);
		check_key(run, r, key);
	}
	memset(key, 0, sizeof key);
	check_key(run, r, key);
	memset(key, 0xff, sizeof key);
	check_key(run, r, key);
	check_key(run, r, row_of(r, 0));
	check_key(run, r, row_of(r, r->count - 1));
}

/* Goal: every lookup in every kind of run answers what a sorted array does. */
Test(flash_run, runs_answer_like_sorted_arrays)
{
	uint64_t random = test_seed(11);
	static struct world w;

	for (unsigned g = 0; g < WORLD_GEOMETRIES; g++) {
		world_open(&w, g, NULL);
		for (unsigned n = 0; n < sizeof counts / sizeof *counts; n++) {
			for (unsigned k = 0; k < 6; k++) {
				struct flash_run *run;
				struct rows r;
				rows_make(&r, shapes[k % 3], counts[n], k < 3 ? 0 : 300, &random);
				OK(rows_write(&w, &r, k % 2 == 0, &run));
				cr_assert(run != NULL);
				check_eq(run->rows, r.count);
				check_keys(run, &r, &random);
				check_order(run, &r, k % 4);
				OK(bole_flash_run_verify(run));
				run_drop(run);
				rows_free(&r);
			}
		}
		world_close(&w);
	}
}

/* Goal: what a descriptor says is enough. Method: forget a run and make it from its descriptor. */
Test(flash_run, a_run_comes_back_from_its_descriptor)
{
	uint64_t random = test_seed(12);
	static struct world w;

	for (unsigned g = 0; g < WORLD_GEOMETRIES; g++) {
		world_open(&w, g, NULL);
		for (unsigned k = 0; k < 3; k++) {
			struct flash_run *run;
			struct rows r;
			uint8_t buf[4096];
			size_t used;
			rows_make(&r, shapes[k], 30000, 0, &random);
			OK(rows_write(&w, &r, true, &run));
			size_t len = bole_flash_run_encoded(run);
			cr_assert(len < sizeof buf);
			bole_flash_run_encode(run, buf);
			bole_flash_run_release(run);
			OK(bole_flash_run_decode(w.v, (struct bole_bytes){buf, sizeof buf}, &run,
			                         &used));
			check_eq(used, len);
			cr_assert(atomic_load(&run->fence) == NULL);
			check_keys(run, &r, &random);
			check_keys(run, &r, &random);
			cr_assert(atomic_load(&run->fence) != NULL);
			cr_assert(atomic_load(&run->filter) != NULL);
			check_order(run, &r, 5);
			for (size_t cut = 0; cut < len; cut++) {
				struct flash_run *bad = NULL;
				check_eq(bole_flash_run_decode(w.v, (struct bole_bytes){buf, cut},
				                               &bad, &used),
				         BOLE_E_CORRUPT);
			}
			run_drop(run);
			rows_free(&r);
		}
		world_close(&w);
	}
}

/* Goal: without memory for fences and filters, and with one page of cache, answers stay right. */
Test(flash_run, without_fences_and_with_one_page_of_cache_answers_stay_right)
{
	const struct bole_flash_open_options tight = {.cache_bytes = 1, .filter_bytes_max = 1};
	uint64_t random = test_seed(13);
	static struct world w;

	for (unsigned g = 0; g < WORLD_GEOMETRIES; g++) {
		world_open(&w, g, &tight);
		for (unsigned k = 0; k < 6; k++) {
			struct flash_run *run;
			struct rows r;
			rows_make(&r, shapes[k % 3], 9000, k < 3 ? 0 : 20, &random);
			OK(rows_write(&w, &r, true, &run));
			cr_assert(atomic_load(&run->fence) == NULL);
			check_eq(run->blocks, 0);
			check_keys(run, &r, &random);
			check_eq(bole_flash_run_memory(run), 0);
			run_drop(run);
			rows_free(&r);
		}
		world_close(&w);
	}
}

/* Goal: one lookup is one page read, and a miss is none, whatever the number of pages. */
Test(flash_run, a_lookup_reads_one_page)
{
	const struct bole_flash_open_options tight = {.cache_bytes = 1};
	uint64_t random = test_seed(14);
	static struct world w;
	struct flash_run_match m;
	struct flash_run *run;
	struct rows r;
	uint8_t key[20];

	world_open(&w, 0, &tight);
	rows_make(&r, &shape_index, 100000, 0, &random);
	OK(rows_write(&w, &r, true, &run));
	uint64_t before = atomic_load(&w.v->counters.reads);
	for (uint32_t i = 0; i < 1000; i++) {
		const uint8_t *row = row_of(&r, (uint32_t)(test_random(&random) % r.count));
		OK(bole_flash_run_find(run, row, bole_flash_run_hash(w.v, row, 6), &m));
	}
	uint64_t reads = atomic_load(&w.v->counters.reads) - before;
	cr_assert(reads <= 1010, "%llu reads for 1000 hits", (unsigned long long)reads);
	before = atomic_load(&w.v->counters.reads);
	for (uint32_t i = 0; i < 10000; i++) {
		test_random_bytes(&random, key, sizeof key);
		(void)!bole_flash_run_find(run, key, bole_flash_run_hash(w.v, key, 6), &m);
	}
	reads = atomic_load(&w.v->counters.reads) - before;
	cr_assert(reads < 600, "%llu reads for 10000 misses", (unsigned long long)reads);
	run_drop(run);
	rows_free(&r);
	world_close(&w);
}

/* Goal: rows that are not in order, or not as the shape says, are refused. */
Test(flash_run, rows_out_of_order_are_refused)
{
	static struct world w;
	struct flash_run_builder b;
	struct flash_run *run;
	uint8_t rows[3][10] = {{0, 0, 1}, {0, 0, 2}, {0, 0, 1, 9}};
	uint8_t wide[10] = {0, 1, 1};

	world_open(&w, 1, NULL);
	OK(bole_flash_run_begin(&b, w.v, &shape_order, 10, true, FLASH_FOR_CHECKPOINT));
	check_eq(bole_flash_run_append(&b, rows[0], 3), BOLE_E_CORRUPT);
	check_eq(bole_flash_run_finish(&b, &run), BOLE_E_CORRUPT);
	OK(bole_flash_run_begin(&b, w.v, &shape_order, 10, true, FLASH_FOR_CHECKPOINT));
	check_eq(bole_flash_run_append(&b, wide, 1), BOLE_E_CORRUPT);
	bole_flash_run_abort(&b);
	OK(bole_flash_run_begin(&b, w.v, &shape_order, 10, true, FLASH_FOR_CHECKPOINT));
	OK(bole_flash_run_finish(&b, &run));
	cr_assert(run == NULL);
	world_close(&w);
}
