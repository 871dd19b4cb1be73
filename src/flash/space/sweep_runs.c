/* SPDX-License-Identifier: ISC */
/* The rows of a sweep that are in runs: all runs are gone through as one sequence. A row that dies
 * gets a kill in a new run, in front of the others. Where most of a run dies, as of those that came
 * since the last sweep, what is left of it is shorter than its kills: so the newest runs are
 * written again, without what dies, and the new run takes their place. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/index/levels.h"
#include "flash/space/sweep.h"

enum {
	SWEEP_AHEAD_SMALL = 2,
	/* A dead row that stays, and its kill, are written again in each merge until they meet. */
	SWEEP_PAIR_WEIGHT = 4,
	SWEEP_CHECK_ROWS = 4096,
};

/* -- Candidates that are in no run of the mark's version -- */

static enum bole_status add_other(struct flash_sweep *s, struct bole_bytes key, uint64_t place)
{
	if (s->others == s->others_cap) {
		uint32_t cap = s->others_cap == 0 ? 64 : s->others_cap * 2;
		void *more = bole_alloc_resize(s->m->v->alloc, s->other, s->others_cap, cap,
		                               sizeof *s->other);
		if (more == NULL)
			return BOLE_E_NO_MEMORY;
		s->other = more;
		s->others_cap = cap;
	}
	struct sweep_row *r = &s->other[s->others++];
	*r = (struct sweep_row){.place = place};
	memcpy(r->key, key.ptr, key.len);
	return BOLE_OK;
}

static enum bole_status add_memory(struct flash_sweep *s, const struct flash_memory *m)
{
	struct bole_bytes after = {NULL, 0};

	for (const struct flash_item *item = bole_flash_table_next(m->mem, after, true);
	     item != NULL; item = bole_flash_table_next(m->mem, after, false)) {
		struct flash_mem_row row;
		after = bole_flash_item_key(item);
		bool ok = bole_flash_mem_parse(bole_flash_item_value(item), &row);
		BOLE_ASSERT(ok);
		if (row.has && bole_flash_table_find(s->m->mem, after) == NULL)
			BOLE_TRY(add_other(s, after, row.place));
	}
	for (uint32_t i = 0; i < m->rows; i++) {
		struct flash_fresh_row row = bole_flash_fresh_row(m->fresh, i);
		struct bole_bytes key = {row.key, s->m->domain->key_len};
		if (bole_flash_table_find(s->m->mem, key) == NULL)
			BOLE_TRY(add_other(s, key, row.place));
	}
	return BOLE_OK;
}

struct sweep_probe {
	const struct flash_mark *m;
	uint64_t place;
	uint64_t stored;
	bool any_part;
	bool found;
	bool marked;
};

static enum bole_status was_marked(void *ctx, const struct flash_found *found)
{
	struct sweep_probe *p = ctx;
	bool in_run = found->where == FOUND_RUN;

	if (found->extent != NULL || found->place != p->place || !(in_run || p->any_part))
		return BOLE_OK;
	p->found = true;
	p->stored = found->stored;
	p->marked = in_run && bole_flash_mark_has(p->m, found->run, found->row);
	return BOLE_OK;
}

enum bole_status bole_flash_sweep_unmarked(struct flash_sweep *s, const uint8_t *key,
                                           uint64_t place, bool any_part, uint32_t *stored)
{
	struct flash_mark *m = s->m;
	struct sweep_probe p = {.m = m, .place = place, .any_part = any_part};

	BOLE_TRY(bole_flash_index_each(m->v, m->index, key, &m->reader, true, was_marked, &p));
	*stored = (uint32_t)p.stored;
	return p.found && !p.marked ? BOLE_OK : BOLE_E_NOT_FOUND;
}

/* What the cleaner moved since has its mark, or none, where it was. */
static enum bole_status add_moves(struct flash_sweep *s)
{
	struct bole_bytes after = {NULL, 0};
	uint32_t stored;

	for (const struct flash_item *item = bole_flash_table_next(s->moves, after, true);
	     item != NULL; item = bole_flash_table_next(s->moves, after, false)) {
		after = bole_flash_item_key(item);
		const uint8_t *value = bole_flash_item_value(item).ptr;
		enum bole_status rc = bole_flash_sweep_unmarked(
		        s, after.ptr, bole_flash_get_be40(value), true, &stored);
		if (rc == BOLE_OK && bole_flash_table_find(s->m->mem, after) == NULL)
			rc = add_other(s, after, bole_flash_get_be40(value + 5));
		if (rc != BOLE_OK && rc != BOLE_E_NOT_FOUND)
			return rc;
	}
	return BOLE_OK;
}

static int order(const uint8_t *prefix, uint64_t place, const struct sweep_row *r)
{
	int by_prefix = memcmp(prefix, r->key, INDEX_PREFIX_BYTES);

	if (by_prefix != 0)
		return by_prefix;
	return place < r->place ? -1 : place > r->place;
}

static int order_rows(const void *a, const void *b)
{
	const struct sweep_row *r = a;

	return order(r->key, r->place, b);
}

struct sweep_row *bole_flash_sweep_other(const struct flash_sweep *s, const uint8_t *prefix,
                                         uint64_t place)
{
	uint32_t low = 0;
	uint32_t high = s->others;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		int side = order(prefix, place, &s->other[mid]);
		if (side == 0)
			return &s->other[mid];
		if (side < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

static enum bole_status find_others(struct flash_sweep *s)
{
	if (s->m->index != NULL) {
		BOLE_TRY(add_memory(s, &s->m->index->now));
		BOLE_TRY(add_memory(s, &s->m->index->frozen));
	}
	BOLE_TRY(add_moves(s));
	if (s->others != 0)
		qsort(s->other, s->others, sizeof *s->other, order_rows);
	return BOLE_OK;
}

/* -- What is dead already -- */

static bool in_memory(const struct flash_index *index, const uint8_t *prefix, uint64_t place)
{
	return bole_flash_mem_kills(index->now.mem, prefix, place) ||
	       bole_flash_mem_kills(index->frozen.mem, prefix, place);
}

/* A row of an extent was killed before: it is neither alive nor to be killed again. */
static void killed_before(struct flash_sweep *s, uint64_t place)
{
	uint32_t row = bole_flash_place_offset(place);

	for (uint32_t i = 0; i < bole_flash_index_extents(s->m->index); i++) {
		const struct flash_extent *e = s->m->index->extents->extent[i];
		if (e->slot != bole_flash_place_segment(place) || row >= e->rows)
			continue;
		s->killed[i][row / 8] |= (uint8_t)(1u << row % 8);
		return;
	}
}

static void killed_in_memory(struct flash_sweep *s, const struct flash_table *mem)
{
	struct bole_bytes after = {NULL, 0};

	for (const struct flash_item *item = bole_flash_table_next(mem, after, true); item != NULL;
	     item = bole_flash_table_next(mem, after, false)) {
		struct flash_mem_row row;
		after = bole_flash_item_key(item);
		bool ok = bole_flash_mem_parse(bole_flash_item_value(item), &row);
		BOLE_ASSERT(ok);
		for (uint32_t i = 0; i < row.kills; i++) {
			const uint8_t *kill = row.kill + (size_t)i * MEM_KILL_BYTES;
			if ((bole_flash_kill_type(kill) & INDEX_EXTENT_ROW) != 0)
				killed_before(s, bole_flash_kill_place(kill));
		}
	}
}

/* -- Runs -- */

/* Rows of one key, from the newest run to the oldest. */
struct sweep_key {
	struct flash_net all;
	struct flash_net top; /* of the runs that are written again */
	uint32_t run;         /* where the row that lives is */
	uint32_t number;
};

static uint32_t stored_of(const uint8_t *row)
{
	return (uint32_t)row[INDEX_STORED_AT] | (uint32_t)row[INDEX_STORED_AT + 1] << 8 |
	       (uint32_t)row[INDEX_STORED_AT + 2] << 16;
}

static bool is_dead(struct flash_sweep *s, const struct sweep_key *k)
{
	uint64_t place = bole_flash_get_be40(k->all.key + INDEX_PLACE_AT);
	struct sweep_row *other = NULL;

	if (!k->all.has || in_memory(s->then, k->all.key, place))
		return false;
	if (k->run >= s->newer)
		return !bole_flash_mark_has(s->m, k->run - s->newer, k->number);
	other = bole_flash_sweep_other(s, k->all.key, place);
	if (other == NULL)
		return false;
	other->done = true;
	other->stored = stored_of(k->all.row);
	return true;
}

/* Writes what remains of one key in the runs that are written again, and the kill of a row in an
 * older one. Kills in front of that may kill what is no longer there; they end with the merge that
 * would have ended both. */
static enum bole_status sweep_key(struct flash_sweep *s, struct flash_run_builder *b,
                                  const struct sweep_key *k)
{
	const struct flash_net *top = &k->top;
	bool dead = is_dead(s, k);
	uint8_t row[INDEX_ROW_BYTES];

	if (k->all.kills_extent)
		killed_before(s, bole_flash_get_be40(k->all.key + INDEX_PLACE_AT));
	if (dead)
		bole_flash_sweep_dies(s, bole_flash_get_be40(k->all.key + INDEX_PLACE_AT),
		                      stored_of(k->all.row));
	if (top->any && top->has && !dead)
		BOLE_TRY(bole_flash_run_append(b, top->row, 1));
	if (dead && k->run >= s->top) {
		memcpy(row, k->all.row, INDEX_ROW_BYTES);
		row[INDEX_TYPE_AT] |= INDEX_KILL;
		BOLE_TRY(bole_flash_run_append(b, row, 1));
	} else if (top->any && top->kills && s->top != s->then->runs->count) {
		BOLE_TRY(bole_flash_run_append(b, top->kill, 1));
	}
	return top->any && top->kills_extent ? bole_flash_run_append(b, top->kill_extent, 1)
	                                     : BOLE_OK;
}

/* Runs of the domain may be merged again: there is nothing to come of this. */
static bool given_up(struct flash_sweep *s)
{
	bole_flash_lock(s->m->v);
	bool lost = s->m->lost;
	bole_flash_unlock(s->m->v);
	return lost;
}

static enum bole_status go_through(struct flash_sweep *s, struct flash_merge *m,
                                   struct flash_run_builder *b)
{
	struct sweep_key k = {.all = {.any = false}};
	const uint8_t *row;
	uint32_t which;
	uint32_t n = 0;
	enum bole_status rc;

	while ((rc = bole_flash_merge_next(m, &row, &which)) == BOLE_OK) {
		if (++n % SWEEP_CHECK_ROWS == 0 && given_up(s))
			return BOLE_E_GONE;
		if (k.all.any && memcmp(k.all.key, row, INDEX_KEY_BYTES) != 0) {
			BOLE_TRY(sweep_key(s, b, &k));
			k.all.any = k.top.any = false;
		}
		bool had = k.all.any && k.all.has;
		(void)bole_flash_net_add(&k.all, row);
		if (!had && k.all.has) {
			k.run = which;
			k.number = m->cursor[which].next - 1;
		}
		if (which < s->top)
			(void)bole_flash_net_add(&k.top, row);
	}
	if (rc != BOLE_END)
		return rc;
	return k.all.any ? sweep_key(s, b, &k) : BOLE_OK;
}

/* -- Which runs are written again -- */

/* Counts by how many of the newest runs are written again: as sums of differences. */
struct sweep_plan {
	int64_t *written; /* rows of the new run */
	int64_t *pairs;   /* rows that stay although they are dead, each with its kill */
	uint32_t runs;
};

/* So much more for each choice in [from, to]. */
static void plan_add(int64_t *count, uint32_t from, uint32_t to)
{
	if (from > to)
		return;
	count[from]++;
	count[to + 1]--;
}

/* A kill in one run, 0 = it is to be made, and its row in another. */
static void plan_pair(struct sweep_plan *p, uint32_t first, uint32_t run)
{
	plan_add(p->written, first, run);
	plan_add(p->pairs, 0, run);
}

/* Rows of one key, from the newest run to the oldest. */
struct plan_key {
	struct sweep_key k;
	uint32_t kill; /* the run of a kill that waits for its row, from 1 on; 0 = none */
};

static void plan_row(struct sweep_plan *p, struct plan_key *key, const uint8_t *row, uint32_t which,
                     uint32_t number)
{
	uint8_t type = row[INDEX_TYPE_AT];

	(void)bole_flash_net_add(&key->k.all, row);
	if ((type & INDEX_KILL) != 0 && (type & INDEX_EXTENT_ROW) != 0) {
		plan_add(p->written, which + 1, p->runs);
	} else if ((type & INDEX_KILL) != 0) {
		key->kill = key->kill == 0 ? which + 1 : key->kill;
	} else if (key->kill != 0) {
		plan_pair(p, key->kill, which);
		key->kill = 0;
	} else {
		key->k.run = which;
		key->k.number = number;
	}
}

static void plan_end(struct flash_sweep *s, struct sweep_plan *p, const struct plan_key *key)
{
	if (key->kill != 0)
		plan_add(p->written, key->kill, p->runs - 1);
	if (is_dead(s, &key->k))
		plan_pair(p, 0, key->k.run);
	else if (key->k.all.has)
		plan_add(p->written, key->k.run + 1, p->runs);
}

static enum bole_status plan_rows(struct flash_sweep *s, struct sweep_plan *p,
                                  struct flash_merge *m)
{
	struct plan_key key = {.kill = 0};
	const uint8_t *row;
	uint32_t which;
	uint32_t n = 0;
	enum bole_status rc;

	while ((rc = bole_flash_merge_next(m, &row, &which)) == BOLE_OK) {
		if (++n % SWEEP_CHECK_ROWS == 0 && given_up(s))
			return BOLE_E_GONE;
		if (key.k.all.any && memcmp(key.k.all.key, row, INDEX_KEY_BYTES) != 0) {
			plan_end(s, p, &key);
			key = (struct plan_key){.kill = 0};
		}
		plan_row(p, &key, row, which, m->cursor[which].next - 1);
	}
	if (key.k.all.any)
		plan_end(s, p, &key);
	return rc == BOLE_END ? BOLE_OK : rc;
}

/* The least of what is written now and, about, later. Where space is short the new run is no longer
 * than the kills alone would be. Returns its rows. */
static uint64_t choose_top(struct flash_sweep *s, const struct sweep_plan *p)
{
	struct flash_volume *v = s->m->v;
	int64_t written = 0;
	int64_t pairs = 0;
	int64_t kills = p->written[0];
	int64_t best = INT64_MAX;
	int64_t rows = 0;

	bole_flash_lock(v);
	uint32_t floor = bole_flash_floor(v, FLASH_FOR_CLEANING) + 2;
	uint64_t room = v->free > floor ? (uint64_t)(v->free - floor) * v->segment_bytes : 0;
	bole_flash_unlock(v);
	for (uint32_t top = 0; top <= p->runs; top++) {
		written += p->written[top];
		pairs += p->pairs[top];
		uint64_t bytes = bole_flash_run_pages_for(v, (uint64_t)written) * v->page_bytes;
		int64_t cost = written + pairs * SWEEP_PAIR_WEIGHT;
		if ((bytes > room && written > kills) || cost >= best)
			continue;
		best = cost;
		rows = written;
		s->top = top;
	}
	return (uint64_t)rows;
}

static enum bole_status open_merge(struct flash_sweep *s, struct flash_merge *m)
{
	struct flash_volume *v = s->m->v;
	const struct flash_runs *runs = s->then->runs;

	return bole_flash_merge_open(m, v, runs->run, runs->count,
	                             v->budget.limit == SIZE_MAX ? 0 : SWEEP_AHEAD_SMALL);
}

static enum bole_status plan(struct flash_sweep *s, uint64_t *rows)
{
	struct bole_alloc *alloc = s->m->v->alloc;
	struct sweep_plan p = {.runs = s->then->runs->count};
	struct flash_merge m;

	BOLE_TRY(open_merge(s, &m));
	p.written = bole_alloc_zeroed(alloc, p.runs + 2, sizeof *p.written);
	p.pairs = bole_alloc_zeroed(alloc, p.runs + 2, sizeof *p.pairs);
	enum bole_status rc =
	        p.written == NULL || p.pairs == NULL ? BOLE_E_NO_MEMORY : plan_rows(s, &p, &m);
	bole_flash_merge_close(&m);
	if (rc == BOLE_OK)
		*rows = choose_top(s, &p);
	if (p.written != NULL)
		bole_alloc_free(alloc, p.written, p.runs + 2, sizeof *p.written);
	if (p.pairs != NULL)
		bole_alloc_free(alloc, p.pairs, p.runs + 2, sizeof *p.pairs);
	return rc;
}

enum bole_status bole_flash_sweep_runs(struct flash_sweep *s)
{
	struct flash_volume *v = s->m->v;
	const struct flash_runs *runs = s->then->runs;
	const struct flash_index *marked = s->m->index;
	struct flash_run_builder b;
	struct flash_merge m;
	uint64_t rows;

	killed_in_memory(s, s->then->now.mem);
	killed_in_memory(s, s->then->frozen.mem);
	BOLE_TRY(find_others(s));
	if (runs == NULL)
		return BOLE_OK;
	/* The mark's list is the end of the one now. */
	uint32_t old = marked == NULL || marked->runs == NULL ? 0 : marked->runs->count;
	if (runs->count < old)
		return BOLE_E_GONE;
	s->newer = runs->count - old;
	BOLE_TRY(plan(s, &rows));
	BOLE_TRY(open_merge(s, &m));
	enum bole_status rc =
	        bole_flash_run_begin(&b, v, &bole_flash_index_shape, rows, true, FLASH_FOR_MERGING);
	if (rc == BOLE_OK) {
		rc = go_through(s, &m, &b);
		if (rc != BOLE_OK)
			bole_flash_run_abort(&b);
		else
			rc = bole_flash_run_finish(&b, &s->run);
	}
	bole_flash_merge_close(&m);
	return rc;
}
