/* SPDX-License-Identifier: ISC */
/* Sweeps that are drafted while commits go on: rows that are to die are dropped, moved and written
 * out as runs before the sweep is published. Afterwards exactly those are gone that should be, and
 * every segment counts exactly the bytes that live in it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "bole/block_sim.h"
#include "flash/index/levels.h"
#include "flash/log/tx.h"
#include "flash/space/clean.h"
#include "flash/space/mark.h"
#include "support/platform.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

enum { IDS = 3000, LIVE = 900, LEN_MAX = 900, TX = 20, ROUNDS = 12, SEGMENTS_MAX = 1024 };

static struct {
	struct test_platform test;
	struct bole_block *device;
	struct flash_volume *v;
	struct bole_repo repo;
	bool present[IDS];
	bool before[IDS]; /* present when the mark began */
	bool marked[IDS];
	uint64_t random;
	uint32_t dropped; /* while drafted, of those that were to die */
} w;

static uint32_t draw(uint32_t below)
{
	return (uint32_t)(test_random(&w.random) % below);
}

static struct bole_oid oid_of(uint32_t id)
{
	struct bole_oid oid = {.algo = BOLE_HASH_SHA1};
	uint64_t state = id + UINT64_C(77);

	test_random_bytes(&state, oid.bytes, 20);
	return oid;
}

static void put(struct flash_tx *tx, uint32_t id)
{
	static uint8_t bytes[LEN_MAX];
	uint64_t state = ~(uint64_t)id;
	struct bole_bytes piece = {bytes, 50 + test_random(&state) % (LEN_MAX - 50)};
	struct bole_oid oid = oid_of(id);

	test_random_bytes(&state, bytes, piece.len);
	OK(bole_flash_tx_put(tx, &oid, BOLE_OBJECT_BLOB, &piece, 1));
}

static uint32_t count(void)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < IDS; i++)
		n += w.present[i];
	return n;
}

/* Puts what the mark does not know, drops what it knows and what not. */
static void change(uint32_t puts, uint32_t drops)
{
	struct flash_tx *tx;
	size_t failed;

	OK(bole_flash_tx_begin(w.v, w.repo.id, &tx));
	for (uint32_t i = 0; i < puts; i++) {
		uint32_t id = draw(IDS);
		if (w.present[id] || w.before[id])
			continue;
		put(tx, id);
		w.present[id] = true;
	}
	for (uint32_t i = 0; i < drops; i++) {
		uint32_t id = draw(IDS);
		struct bole_oid oid = oid_of(id);
		if (!w.present[id])
			continue;
		OK(bole_flash_tx_drop(tx, &oid));
		w.present[id] = false;
		w.dropped += w.before[id] && !w.marked[id];
	}
	OK(bole_flash_tx_commit(tx, NULL, 0, &failed));
}

static void anything(uint32_t times)
{
	const struct bole_maintain_options eager = {.eagerness = 2};

	for (uint32_t i = 0; i < times; i++) {
		uint32_t what = draw(8);
		if (what < 5)
			change(draw(TX), draw(5));
		else if (what == 5)
			OK(bole_flash_checkpoint(w.v));
		else
			for (uint32_t steps = draw(12); steps > 0; steps--)
				if (bole_flash_maintain(w.v, &eager, NULL) != BOLE_OK)
					break;
	}
}

static enum bole_status add_live(void *ctx, const struct flash_walk_row *row)
{
	uint64_t *live = ctx;

	live[bole_flash_place_segment(row->place)] +=
	        bole_flash_record_live(w.repo.algo == BOLE_HASH_SHA1 ? 20 : 32, row->stored);
	return BOLE_OK;
}

static void verify(void)
{
	uint64_t live[SEGMENTS_MAX] = {0};
	const struct flash_index *index = w.v->repo[0]->domain->index;
	struct flash_snapshot *s;

	OK(bole_flash_snapshot_open(w.v, w.repo.id, &s));
	for (uint32_t i = 0; i < IDS; i++) {
		struct bole_oid oid = oid_of(i);
		struct bole_entry e;
		enum bole_status rc = bole_flash_find(s, &oid, &e);
		cr_assert_eq(rc, w.present[i] ? BOLE_OK : BOLE_E_NOT_FOUND, "id %u: %s", i,
		             bole_status_text(rc));
	}
	bole_flash_snapshot_close(s);
	OK(bole_flash_index_walk(w.v, index, add_live, live));
	for (uint32_t i = 0; index->runs != NULL && i < index->runs->count; i++) {
		const struct flash_run *run = index->runs->run[i];
		for (uint32_t k = 0; k < run->chunks; k++)
			live[run->chunk[k].segment] +=
			        (uint64_t)run->chunk[k].pages * w.v->page_bytes;
	}
	check_eq(w.v->repos, 1);
	check(w.v->segments <= SEGMENTS_MAX);
	for (uint32_t i = 0; i < w.v->segments; i++)
		check_eq(w.v->segment[i].live, live[i]);
	check_eq(index->objects, count());
}

static void open_it(void)
{
	const struct bole_flash_open_options options = {.no_background = true};

	OK(bole_flash_volume_open(w.device, &w.test.base, &w.test.alloc, &options, &w.v));
}

static void sweep(void)
{
	struct bole_mark_result result;
	struct flash_sweep *s;
	struct flash_mark *m;
	struct bole_oid oid;
	bool fresh;

	OK(bole_flash_mark_begin(w.v, w.repo.id, &m));
	memcpy(w.before, w.present, sizeof w.before);
	for (uint32_t i = 0; i < IDS; i++) {
		w.marked[i] = w.present[i] && draw(3) != 0;
		oid = oid_of(i);
		if (w.marked[i])
			OK(bole_flash_mark_object(m, &oid, &fresh));
		if (i % 512 == 0)
			anything(1);
	}
	check_eq(bole_flash_mark_root(m, &oid), BOLE_END);
	w.dropped = 0;
	bole_flash_lead_begin(w.v);
	OK(bole_flash_sweep_begin(m, &s));
	bole_flash_lead_end(w.v);
	anything(draw(4));
	OK(bole_flash_sweep_draft(s));
	anything(draw(10));
	OK(bole_flash_sweep_catch_up(s));
	anything(draw(10));
	check_eq(bole_flash_mark_root(m, &oid), BOLE_END);
	bole_flash_lead_begin(w.v);
	OK(bole_flash_sweep_install(s, &result));
	bole_flash_lead_end(w.v);
	bole_flash_sweep_free(w.v, s);
	bole_flash_mark_abort(m);
	for (uint32_t i = 0; i < IDS; i++)
		w.present[i] = w.present[i] && (!w.before[i] || w.marked[i]);
	memset(w.before, 0, sizeof w.before);
	memset(w.marked, 0, sizeof w.marked);
}

/* A new volume with one repository. */
static void world_open(uint64_t seed)
{
	static const struct bole_block_sim_options nor = {
	        .kind = BOLE_BLOCK_NOR,
	        .size_bytes = 2 << 20,
	        .read_unit = 16,
	        .program_unit = 16,
	        .erase_unit = 4096,
	};
	struct flash_request create = {.kind = FLASH_REQUEST_CREATE,
	                               .name = "r",
	                               .algo = BOLE_HASH_SHA1,
	                               .head = "refs/heads/a"};

	memset(&w, 0, sizeof w);
	w.random = seed;
	test_platform_init(&w.test, 1);
	OK(bole_block_sim_open(&w.test.alloc, &nor, &w.device));
	OK(bole_flash_format(w.device, &w.test.base, NULL));
	open_it();
	OK(bole_flash_submit(w.v, &create));
	w.repo = create.created;
}

static void world_close(void)
{
	OK(bole_flash_volume_close(w.v));
	bole_block_close(w.device);
	test_platform_release(&w.test);
}

Test(flash_space_sweeps, what_is_dropped_and_moved_meanwhile_is_counted_once)
{
	uint32_t dropped = 0;

	world_open(test_seed(17));
	for (uint32_t round = 0; round < ROUNDS; round++) {
		while (count() < LIVE)
			change(TX, 1);
		anything(5);
		sweep();
		dropped += w.dropped;
		verify();
		anything(3);
		verify();
		if (round % 4 == 3) {
			OK(bole_flash_volume_close(w.v));
			open_it();
			verify();
		}
	}
	check(dropped != 0);
	world_close();
}

/* Nothing of it is worth a run: what was frozen goes all the same, and the next rows are frozen. */
Test(flash_space_sweeps, rows_that_come_and_go_between_checkpoints_leave_nothing)
{

	world_open(1);
	for (uint32_t i = 0; i < 5; i++)
		change(TX, 0);
	for (uint32_t i = 0; i < IDS; i += TX) {
		struct flash_tx *tx;
		size_t failed;
		OK(bole_flash_tx_begin(w.v, w.repo.id, &tx));
		for (uint32_t k = i; k < i + TX; k++) {
			struct bole_oid oid = oid_of(k);
			if (w.present[k])
				OK(bole_flash_tx_drop(tx, &oid));
			w.present[k] = false;
		}
		OK(bole_flash_tx_commit(tx, NULL, 0, &failed));
	}
	check(bole_flash_memory_rows(&w.v->repo[0]->domain->index->now) > 100);
	OK(bole_flash_checkpoint(w.v));
	check(!bole_flash_index_frozen(w.v->repo[0]->domain->index));
	verify();
	for (uint32_t i = 0; i < 20; i++)
		change(TX, 1);
	OK(bole_flash_checkpoint(w.v));
	check(w.v->repo[0]->domain->index->runs != NULL);
	check(bole_flash_memory_rows(&w.v->repo[0]->domain->index->now) == 0);
	verify();
	OK(bole_flash_volume_close(w.v));
	open_it();
	verify();
	world_close();
}

static void sweep_all(void)
{
	struct bole_mark_result result;
	struct flash_mark *m;
	struct bole_oid oid;

	OK(bole_flash_mark_begin(w.v, w.repo.id, &m));
	while (bole_flash_mark_root(m, &oid) == BOLE_OK)
		continue;
	OK(bole_flash_mark_end(m, &result));
	memset(w.present, 0, sizeof w.present);
}

/* So many that a checkpoint of everything is larger than what changes after it. */
static void many_refs(void)
{
	static struct bole_ref_update updates[300];
	static char names[300][32];
	struct bole_oid oid = oid_of(0);
	struct flash_tx *tx;
	size_t failed;

	OK(bole_flash_tx_begin(w.v, w.repo.id, &tx));
	for (uint32_t i = 0; i < 300; i++) {
		snprintf(names[i], sizeof names[i], "refs/tags/reference-%u", (unsigned)i);
		updates[i] = (struct bole_ref_update){.name = bole_bytes_z(names[i]),
		                                      .expect = BOLE_EXPECT_ANY,
		                                      .action = BOLE_REF_SET,
		                                      .oid = oid};
	}
	OK(bole_flash_tx_commit(tx, updates, 300, &failed));
}

/* The last checkpoint names a run of what was frozen, which no list in memory had then. When all in
 * it has died, the next one, of what changed, must say that there is none. */
Test(flash_space_sweeps, what_dies_to_the_last_row_stays_dead)
{
	world_open(1);
	many_refs();
	OK(bole_flash_checkpoint(w.v));
	OK(bole_flash_checkpoint(w.v));
	for (uint32_t i = 0; i < 3; i++)
		change(TX, 0);
	uint32_t elements = w.v->elements;
	OK(bole_flash_checkpoint(w.v));
	check_eq(w.v->elements, elements + 1);
	check(w.v->repo[0]->domain->index->runs != NULL);
	sweep_all();
	check_eq(w.v->elements, elements + 2);
	check(w.v->repo[0]->domain->index->runs == NULL);
	verify();
	OK(bole_flash_volume_close(w.v));
	open_it();
	verify();
	world_close();
}
