/* SPDX-License-Identifier: ISC */
/* Runs when things go wrong: bytes that changed, reads that fail, memory that is not there. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

static uint64_t page_position(const struct flash_run *run, uint32_t number)
{
	struct flash_page_place place;

	(void)bole_flash_run_place(run, number, &place);
	return bole_flash_position(run->v, place.segment, place.index * run->v->page_bytes);
}

static struct flash_run *again(struct world *w, struct flash_run *run)
{
	size_t len = bole_flash_run_encoded(run);
	uint8_t *buf = malloc(len);
	struct flash_run *out;
	size_t used;

	bole_flash_run_encode(run, buf);
	bole_flash_run_release(run);
	OK(bole_flash_run_decode(w->v, (struct bole_bytes){buf, len}, &out, &used));
	free(buf);
	return out;
}

/* A key's answer is the oracle's, or the damage is told. */
static bool same_or_corrupt(struct flash_run *run, const struct rows *r, const uint8_t *key)
{
	uint32_t len = r->shape.search_len;
	uint64_t hash = bole_flash_run_hash(run->v, key, len);
	uint32_t want = rows_lower(r, key, len);
	bool there = want < r->count && memcmp(row_of(r, want), key, len) == 0;
	struct flash_run_match m;
	uint32_t at;

	enum bole_status rc = bole_flash_run_find(run, key, hash, &m);
	if (rc == BOLE_E_CORRUPT)
		return false;
	check_eq(rc, there ? BOLE_OK : BOLE_E_NOT_FOUND);
	if (there)
		cr_assert(memcmp(m.rows, row_of(r, want), r->shape.width) == 0);
	rc = bole_flash_run_seek(run, key, len, &at);
	if (rc == BOLE_E_CORRUPT)
		return false;
	check_eq(at, want);
	return true;
}

/* Goal: a changed byte never changes an answer. Method: flip a byte in each page of a run in turn;
 * ask all keys. Pages of rows are told of; without fences or filter the answers are the same. */
Test(flash_run, a_damaged_page_never_gives_a_wrong_row)
{
	uint64_t random = test_seed(21);
	static struct world w;

	for (unsigned g = 0; g < WORLD_GEOMETRIES; g++) {
		struct flash_run *run;
		struct rows r;
		world_open(&w, g, NULL);
		rows_make(&r, g % 2 == 0 ? &shape_index : &shape_table, 2500, 0, &random);
		OK(rows_write(&w, &r, true, &run));
		uint32_t pages = bole_flash_run_pages(run);
		for (uint32_t page = 0; page < pages; page++) {
			uint64_t at =
			        page_position(run, page) + test_random(&random) % w.v->page_bytes;
			uint8_t mask = (uint8_t)(1u << test_random(&random) % 8);
			uint32_t told = 0;
			run = again(&w, run);
			bole_block_sim_flip(w.device, at, mask);
			for (uint32_t i = 0; i < r.count; i += 7)
				told += !same_or_corrupt(run, &r, row_of(&r, i));
			bool rows = page < run->row_pages;
			cr_assert(rows ? told > 0 : told == 0, "page %u: told %u times", page,
			          told);
			check_eq(bole_flash_run_verify(run), BOLE_E_CORRUPT);
			bole_block_sim_flip(w.device, at, mask);
		}
		run = again(&w, run);
		OK(bole_flash_run_verify(run));
		run_drop(run);
		rows_free(&r);
		world_close(&w);
	}
}

/* Goal: a page in the place of another one is not taken for it. */
Test(flash_run, pages_that_changed_places_are_told)
{
	uint64_t random = test_seed(22);
	static struct world w;
	struct flash_run *run;
	struct rows r;

	world_open(&w, 1, NULL);
	rows_make(&r, &shape_index, 2000, 0, &random);
	OK(rows_write(&w, &r, false, &run));
	run = again(&w, run);
	uint8_t page[4096];
	bole_block_sim_peek(w.device, page_position(run, 2), page, w.v->page_bytes);
	bole_block_sim_poke(w.device, page_position(run, 1), page, w.v->page_bytes);
	uint32_t told = 0;
	for (uint32_t i = 0; i < r.count; i++)
		told += !same_or_corrupt(run, &r, row_of(&r, i));
	cr_assert_gt(told, run->page_rows);
	run_drop(run);
	rows_free(&r);
	world_close(&w);
}

/* Goal: a read that fails is an error of that call only. */
Test(flash_run, a_failed_read_is_not_remembered)
{
	uint64_t random = test_seed(23);
	static struct world w;
	struct flash_run_match m;
	struct flash_run *run;
	struct rows r;

	world_open(&w, 1, NULL);
	rows_make(&r, &shape_index, 2000, 0, &random);
	OK(rows_write(&w, &r, false, &run));
	uint64_t hash = bole_flash_run_hash(w.v, row_of(&r, 5), 6);
	bole_block_sim_fail_read(w.device, 1);
	check_eq(bole_flash_run_find(run, row_of(&r, 5), hash, &m), BOLE_E_IO);
	OK(bole_flash_run_find(run, row_of(&r, 5), hash, &m));
	run_drop(run);
	rows_free(&r);
	world_close(&w);
}

static uint64_t live_bytes(const struct world *w)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < w->v->segments; i++)
		sum += (uint64_t)w->v->segment[i].live + w->v->segment[i].held;
	return sum;
}

/* Goal: no memory is an error that leaves nothing behind, or costs only time. Method: fail the n-th
 * allocation, and all after it, of writing, decoding, asking and going through, for every n. */
Test(flash_run, without_memory_nothing_is_wrong_and_nothing_is_lost)
{
	uint64_t random = test_seed(24);
	static struct world w;
	struct rows r;
	enum bole_status rc = BOLE_E_NO_MEMORY;
	bool done = false;

	world_open(&w, 2, NULL);
	rows_make(&r, &shape_index, 3000, 0, &random);
	uint64_t before = live_bytes(&w);
	for (uint64_t n = 1; !done; n++) {
		struct flash_run *run = NULL;
		w.test.fail_after = n % 2 == 0;
		w.test.fail_at = atomic_load(&w.test.grows) + n;
		rc = rows_write(&w, &r, true, &run);
		for (uint32_t i = 0; i < r.count && rc == BOLE_OK; i += 50) {
			struct flash_run_match m;
			const uint8_t *key = row_of(&r, i);
			rc = bole_flash_run_find(run, key, bole_flash_run_hash(w.v, key, 6), &m);
			if (rc == BOLE_OK)
				cr_assert(memcmp(m.rows, key, 12) == 0);
		}
		struct flash_merge m;
		const uint8_t *row;
		uint32_t which;
		uint32_t i = 0;
		if (rc == BOLE_OK)
			rc = bole_flash_merge_open(&m, w.v, &run, 1, 0);
		if (rc == BOLE_OK) {
			while ((rc = bole_flash_merge_next(&m, &row, &which)) == BOLE_OK)
				cr_assert(memcmp(row, row_of(&r, i++), 12) == 0);
			bole_flash_merge_close(&m);
			rc = rc == BOLE_END ? BOLE_OK : rc;
		}
		cr_assert(rc == BOLE_OK || rc == BOLE_E_NO_MEMORY, "%s", bole_status_text(rc));
		done = atomic_load(&w.test.grows) < w.test.fail_at;
		w.test.fail_at = 0;
		if (run != NULL) {
			run = again(&w, run);
			OK(bole_flash_run_verify(run));
			run_drop(run);
		}
		check_eq(live_bytes(&w), before);
		cr_assert_lt(n, 1000);
	}
	OK(rc);
	rows_free(&r);
	world_close(&w);
}

/* Goal: what was written for a run that is given up is free again. Method: far more such bytes than
 * the volume has; failing writes among them. */
Test(flash_run, a_run_that_is_given_up_leaves_no_trace)
{
	uint64_t random = test_seed(25);
	static struct world w;
	struct rows r;

	world_open(&w, 2, NULL);
	rows_make(&r, &shape_table, 5000, 0, &random);
	uint64_t before = live_bytes(&w);
	for (int i = 0; i < 120; i++) {
		struct flash_run_builder b;
		OK(bole_flash_run_begin(&b, w.v, &r.shape, r.count, true, FLASH_FOR_CHECKPOINT));
		OK(bole_flash_run_append(&b, r.row, r.count));
		bole_flash_run_abort(&b);
		check_eq(live_bytes(&w), before);
	}
	rows_free(&r);
	world_close(&w);
}

/* Goal: bytes of a run that is published live until a state does not name it any more. */
Test(flash_run, a_published_run_lives_until_it_is_dropped)
{
	uint64_t random = test_seed(26);
	static struct world w;
	struct flash_run *run;
	struct rows r;

	world_open(&w, 3, NULL);
	rows_make(&r, &shape_table, 20000, 0, &random);
	uint64_t before = live_bytes(&w);
	OK(rows_write(&w, &r, true, &run));
	check_eq(live_bytes(&w), before + bole_flash_run_bytes(run));
	bole_flash_run_change(run, FLASH_HELD_PUBLISHED, false);
	check_eq(live_bytes(&w), before + bole_flash_run_bytes(run));
	bole_flash_run_change(run, FLASH_LIVE_DROPPED, false);
	check_eq(live_bytes(&w), before);
	bole_flash_run_release(run);
	rows_free(&r);
	world_close(&w);
}

/* Goal: a block that goes bad costs a run nothing but another place. Method: the n-th write fails
 * and leaves garbage, for every n of a run's writes. */
Test(flash_run, a_run_goes_on_elsewhere_when_a_block_goes_bad)
{
	uint64_t random = test_seed(27);
	static struct world w;
	struct rows r;

	rows_make(&r, &shape_table, 4000, 0, &random);
	for (unsigned g = 1; g < WORLD_GEOMETRIES; g++) {
		bool failed = true;
		for (uint64_t n = 1; failed; n++) {
			struct bole_block_sim_counters before;
			struct bole_block_sim_counters after;
			struct flash_run *run;
			world_open(&w, g, NULL);
			uint64_t live = live_bytes(&w);
			bole_block_sim_counters(w.device, &before);
			bole_block_sim_plan_fault(w.device, BOLE_SIM_PROGRAM_KILLS, n, UINT64_MAX);
			OK(rows_write(&w, &r, true, &run));
			bole_block_sim_plan_fault(w.device, BOLE_SIM_PROGRAM_KILLS, 0, UINT64_MAX);
			bole_block_sim_counters(w.device, &after);
			failed = after.dead_blocks != before.dead_blocks;
			OK(bole_flash_run_verify(run));
			check_order(run, &r, 0);
			check_eq(live_bytes(&w), live + bole_flash_run_bytes(run));
			run_drop(run);
			check_eq(live_bytes(&w), live);
			world_close(&w);
		}
	}
	rows_free(&r);
}
