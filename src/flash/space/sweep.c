/* SPDX-License-Identifier: ISC */
/* The end of a mark: one version of the index without what is unmarked. Rows of runs die by runs of
 * kills, rows in memory by changes of the memtable, extents without a live row leave the list. No
 * record in the log says so: the version counts as a whole when a checkpoint holds it. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/index/levels.h"
#include "flash/space/mark.h"

enum {
	SWEEP_KILLS = 1 << 16, /* rows of extents, gathered for one run */
	SWEEP_KILLS_SMALL = 1 << 12,
	SWEEP_AHEAD_SMALL = 2,
};

struct flash_sweep {
	struct flash_mark *m;
	struct flash_index *index; /* the new version, then the old one */
	uint32_t *dead;            /* bytes of each segment */
	struct bole_mark_result *result;
	struct flash_run **kills; /* runs of kills */
	uint32_t runs;
	uint8_t *row; /* kills of extents' rows */
	uint32_t rows;
	uint32_t rows_cap;
	uint8_t **killed;          /* a bit for each row of each extent: dead before */
	uint32_t slot;             /* of the extent whose rows are gone through */
	uint32_t number;           /* of it */
	struct flash_extent **old; /* versions that others took the place of; held */
	struct flash_extent **made;
	uint32_t mades;
	struct flash_extent **gone; /* held */
	uint32_t gones;
	uint32_t gone_cap;
};

static void die(struct flash_sweep *s, uint64_t place, uint64_t stored)
{
	uint64_t bytes = bole_flash_record_live(s->m->domain->key_len, (uint32_t)stored);

	s->dead[bole_flash_place_segment(place)] += (uint32_t)bytes;
	s->result->objects_dropped++;
	s->result->bytes_dropped += stored;
	s->index->objects -= s->index->objects != 0;
}

static enum bole_status keep_run(struct flash_sweep *s, struct flash_run *run)
{
	struct bole_alloc *alloc = s->m->v->alloc;
	void *list = bole_alloc_resize(alloc, s->kills, s->runs, s->runs + 1, sizeof *s->kills);

	if (list == NULL) {
		bole_flash_run_change(run, FLASH_HELD_DROPPED, false);
		bole_flash_run_release(run);
		return BOLE_E_NO_MEMORY;
	}
	s->kills = list;
	s->kills[s->runs++] = run;
	return BOLE_OK;
}

/* -- Rows of runs -- */

/* The list of the mark's version is the end of the one now: newer runs came before it. */
static uint32_t newer_runs(const struct flash_sweep *s)
{
	const struct flash_runs *now = s->index->runs;
	const struct flash_runs *then = s->m->index == NULL ? NULL : s->m->index->runs;
	uint32_t old = then == NULL ? 0 : then->count;

	BOLE_ASSERT(now == NULL ? old == 0 : now->count >= old);
	return now == NULL ? 0 : now->count - old;
}

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

/* What remains of one key: it dies if it is of the mark's version, without a mark. */
static enum bole_status sweep_net(struct flash_sweep *s, struct flash_run_builder *b,
                                  const struct flash_net *n, uint32_t run, uint32_t number)
{
	uint64_t place = bole_flash_get_be40(n->key + INDEX_PLACE_AT);
	uint32_t newer = newer_runs(s);
	uint8_t row[INDEX_ROW_BYTES];

	if (n->kills_extent)
		killed_before(s, place);
	if (!n->has || run < newer || bole_flash_mark_has(s->m, run - newer, number) ||
	    in_memory(s->index, n->key, place))
		return BOLE_OK;
	memcpy(row, n->row, INDEX_ROW_BYTES);
	row[INDEX_TYPE_AT] |= INDEX_KILL;
	die(s, place,
	    (uint64_t)row[INDEX_STORED_AT] | (uint64_t)row[INDEX_STORED_AT + 1] << 8 |
	            (uint64_t)row[INDEX_STORED_AT + 2] << 16);
	return bole_flash_run_append(b, row, 1);
}

static enum bole_status sweep_merge(struct flash_sweep *s, struct flash_merge *m,
                                    struct flash_run_builder *b)
{
	struct flash_net net = {.any = false};
	uint32_t run = 0;
	uint32_t number = 0;
	const uint8_t *row;
	uint32_t which;
	enum bole_status rc;

	while ((rc = bole_flash_merge_next(m, &row, &which)) == BOLE_OK) {
		if (net.any && memcmp(net.key, row, INDEX_KEY_BYTES) != 0) {
			BOLE_TRY(sweep_net(s, b, &net, run, number));
			net.any = false;
		}
		bool had = net.any && net.has;
		(void)bole_flash_net_add(&net, row);
		if (!had && net.has) {
			run = which;
			number = m->cursor[which].next - 1;
		}
	}
	if (rc != BOLE_END)
		return rc;
	return net.any ? sweep_net(s, b, &net, run, number) : BOLE_OK;
}

static enum bole_status sweep_runs(struct flash_sweep *s)
{
	struct flash_volume *v = s->m->v;
	const struct flash_runs *runs = s->index->runs;
	struct flash_run_builder b;
	struct flash_run *kills;
	struct flash_merge m;
	uint64_t rows = 0;

	if (runs == NULL)
		return BOLE_OK;
	for (uint32_t i = 0; i < runs->count; i++)
		rows += runs->run[i]->rows;
	BOLE_TRY(bole_flash_merge_open(&m, v, runs->run, runs->count,
	                               v->budget.limit == SIZE_MAX ? 0 : SWEEP_AHEAD_SMALL));
	enum bole_status rc = bole_flash_run_begin(&b, v, &bole_flash_index_shape, rows / 4 + 1,
	                                           true, FLASH_FOR_MERGING);
	if (rc == BOLE_OK) {
		rc = sweep_merge(s, &m, &b);
		if (rc != BOLE_OK)
			bole_flash_run_abort(&b);
		else
			rc = bole_flash_run_finish(&b, &kills);
		if (rc == BOLE_OK && kills != NULL)
			rc = keep_run(s, kills);
	}
	bole_flash_merge_close(&m);
	return rc;
}

/* -- Extents -- */

static int order_rows(const void *a, const void *b)
{
	return memcmp(a, b, INDEX_KEY_BYTES);
}

static enum bole_status kill_rows(struct flash_sweep *s)
{
	struct flash_volume *v = s->m->v;
	struct flash_run_builder b;
	struct flash_run *run;

	if (s->rows == 0)
		return BOLE_OK;
	qsort(s->row, s->rows, INDEX_ROW_BYTES, order_rows);
	BOLE_TRY(bole_flash_run_begin(&b, v, &bole_flash_index_shape, s->rows, true,
	                              FLASH_FOR_MERGING));
	enum bole_status rc = bole_flash_run_append(&b, s->row, s->rows);
	s->rows = 0;
	if (rc != BOLE_OK) {
		bole_flash_run_abort(&b);
		return rc;
	}
	BOLE_TRY(bole_flash_run_finish(&b, &run));
	return run == NULL ? BOLE_OK : keep_run(s, run);
}

static bool is_killed(const struct flash_sweep *s, uint32_t number, uint32_t row)
{
	return (s->killed[number][row / 8] & 1u << row % 8) != 0;
}

static enum bole_status sweep_row(void *ctx, uint32_t number, const uint8_t *key)
{
	struct flash_sweep *s = ctx;

	if (bole_flash_mark_has_row(s->m, s->number, number) || is_killed(s, s->number, number))
		return BOLE_OK;
	if (s->rows == s->rows_cap)
		BOLE_TRY(kill_rows(s));
	uint8_t *p = s->row + (size_t)s->rows++ * INDEX_ROW_BYTES;
	memset(p, 0, INDEX_ROW_BYTES);
	memcpy(p, key, INDEX_PREFIX_BYTES);
	bole_flash_put_be40(p + INDEX_PLACE_AT, bole_flash_place(s->slot, number));
	p[INDEX_TYPE_AT] = INDEX_KILL | INDEX_EXTENT_ROW;
	s->result->objects_dropped++;
	s->index->objects -= s->index->objects != 0;
	return BOLE_OK;
}

/* Rows that are alive, and those of them that are marked. */
static uint32_t count_rows(const struct flash_sweep *s, uint32_t number, uint32_t rows,
                           uint32_t *marked)
{
	uint32_t alive = 0;

	*marked = 0;
	for (uint32_t i = 0; i < rows; i++) {
		if (is_killed(s, number, i))
			continue;
		alive++;
		*marked += bole_flash_mark_has_row(s->m, number, i);
	}
	return alive;
}

static enum bole_status keep_made(struct flash_sweep *s, struct flash_extent *old,
                                  struct flash_extent *made)
{
	struct flash_volume *v = s->m->v;
	enum bole_status rc = bole_flash_index_replace(v, s->index, old, made);

	if (rc != BOLE_OK) {
		bole_flash_lock(v);
		bole_flash_extent_moved(old, made, FLASH_HELD_DROPPED);
		bole_flash_unlock(v);
		bole_flash_extent_release(made);
		return rc;
	}
	atomic_fetch_add_explicit(&old->refs, 1, memory_order_relaxed);
	s->made[s->mades] = made;
	s->old[s->mades++] = old;
	return BOLE_OK;
}

struct holes {
	const struct flash_sweep *s;
	const struct flash_extent *e;
	const struct flash_fragment *list;
	uint8_t *dead;
};

/* The fragments that a living row lies in stay. */
static enum bole_status spare_row(void *ctx, const struct flash_extent_row *row)
{
	struct holes *h = ctx;
	const struct flash_sweep *s = h->s;

	if (!bole_flash_mark_has_row(s->m, s->number, row->number) ||
	    is_killed(s, s->number, row->number))
		return BOLE_OK;
	uint32_t i = bole_flash_extent_fragment(h->e, h->list, row->offset);
	for (; i < bole_flash_extent_data(h->e) && h->list[i].logical < row->offset + row->stored;
	     i++)
		h->dead[i / 8] &= (uint8_t) ~(1u << i % 8);
	return BOLE_OK;
}

/* Fragments without a living row become holes. */
static enum bole_status make_holes(struct flash_sweep *s, struct flash_extent *e)
{
	struct flash_volume *v = s->m->v;
	uint32_t count = bole_flash_extent_data(e);
	struct holes h = {.s = s, .e = e};
	struct flash_extent *made;
	bool any = false;

	BOLE_TRY(bole_flash_extent_map(e, &h.list));
	h.dead = bole_alloc_array(v->alloc, count / 8 + 1, 1);
	if (h.dead == NULL)
		return BOLE_E_NO_MEMORY;
	memset(h.dead, 0xff, count / 8 + 1);
	enum bole_status rc = bole_flash_extent_in_order(v, e, spare_row, &h);
	for (uint32_t i = 0; i < count; i++)
		any |= (h.dead[i / 8] & 1u << i % 8) != 0 && h.list[i].segment != SEGMENT_NONE;
	if (rc == BOLE_OK && any) {
		rc = bole_flash_extent_remake(e, SEGMENT_NONE, h.dead, FLASH_FOR_MERGING, &made);
		if (rc == BOLE_OK)
			rc = keep_made(s, e, made);
		/* The holes come with the next mark, then: what else dies makes space. */
		else if (rc == BOLE_E_NO_SPACE)
			rc = BOLE_OK;
	}
	bole_alloc_free(v->alloc, h.dead, count / 8 + 1, 1);
	return rc;
}

static enum bole_status sweep_extent(struct flash_sweep *s, uint32_t number)
{
	struct flash_volume *v = s->m->v;
	struct flash_extent *was = s->m->index->extents->extent[number];
	struct flash_extent *e = bole_flash_index_extent(s->index, was->id);

	if (e == NULL || e->damaged)
		return BOLE_OK;
	uint32_t marked;
	uint32_t alive = count_rows(s, number, e->rows, &marked);
	if (marked == alive && marked != 0)
		return BOLE_OK;
	if (marked != 0) {
		s->slot = e->slot;
		s->number = number;
		BOLE_TRY(bole_flash_extent_each(v, e, sweep_row, s));
		return make_holes(s, e);
	}
	/* Read now: it is needed under the lock. */
	const struct flash_fragment *list;
	BOLE_TRY(bole_flash_extent_map(e, &list));
	BOLE_TRY(bole_flash_index_remove(v, s->index, e->id));
	atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
	s->gone[s->gones++] = e;
	s->index->objects -= alive < s->index->objects ? alive : s->index->objects;
	s->result->extents_dropped++;
	s->result->objects_dropped += alive;
	s->result->bytes_dropped += e->data_bytes;
	return BOLE_OK;
}

static enum bole_status sweep_extents(struct flash_sweep *s)
{
	struct flash_volume *v = s->m->v;
	uint32_t count = bole_flash_index_extents(s->m->index);

	if (count == 0)
		return BOLE_OK;
	s->rows_cap = v->budget.limit == SIZE_MAX ? SWEEP_KILLS : SWEEP_KILLS_SMALL;
	s->row = bole_alloc_array(v->alloc, s->rows_cap, INDEX_ROW_BYTES);
	s->gone = bole_alloc_zeroed(v->alloc, count, sizeof(struct flash_extent *));
	s->gone_cap = count;
	s->old = bole_alloc_zeroed(v->alloc, count, sizeof(struct flash_extent *));
	s->made = bole_alloc_zeroed(v->alloc, count, sizeof(struct flash_extent *));
	if (s->row == NULL || s->gone == NULL || s->old == NULL || s->made == NULL)
		return BOLE_E_NO_MEMORY;
	for (uint32_t i = 0; i < count; i++)
		BOLE_TRY(sweep_extent(s, i));
	return kill_rows(s);
}

/* -- Rows in memory, and rows that moved -- */

/* The record of that id at that place, if it is still the one that counts. */
static enum bole_status kill_record(struct flash_sweep *s, struct bole_bytes key, uint64_t place)
{
	struct flash_volume *v = s->m->v;
	struct flash_found found;

	enum bole_status rc = bole_flash_index_current(v, s->index, key.ptr, place, &found);
	if (rc != BOLE_OK)
		return rc == BOLE_E_NOT_FOUND ? BOLE_OK : rc;
	uint64_t objects = s->index->objects;
	BOLE_TRY(bole_flash_index_kill(v, s->index, key.ptr, &found));
	s->index->objects = objects;
	die(s, place, found.stored);
	return BOLE_OK;
}

static enum bole_status sweep_fresh(struct flash_sweep *s, const struct flash_memory *m)
{
	for (uint32_t i = 0; i < m->rows; i++) {
		struct flash_fresh_row row = bole_flash_fresh_row(m->fresh, i);
		struct bole_bytes key = {row.key, s->m->domain->key_len};
		if (bole_flash_table_find(s->m->mem, key) == NULL)
			BOLE_TRY(kill_record(s, key, row.place));
	}
	return BOLE_OK;
}

static enum bole_status sweep_mem(struct flash_sweep *s, const struct flash_memory *m)
{
	const struct flash_table *mem = m->mem;
	struct bole_bytes after = {NULL, 0};

	for (const struct flash_item *item = bole_flash_table_next(mem, after, true); item != NULL;
	     item = bole_flash_table_next(mem, after, false)) {
		struct flash_mem_row row;
		after = bole_flash_item_key(item);
		bool ok = bole_flash_mem_parse(bole_flash_item_value(item), &row);
		BOLE_ASSERT(ok);
		if (row.has && bole_flash_table_find(s->m->mem, after) == NULL)
			BOLE_TRY(kill_record(s, after, row.place));
	}
	return sweep_fresh(s, m);
}

struct sweep_probe {
	const struct flash_mark *m;
	uint64_t place;
	bool found;
	bool marked;
};

static enum bole_status was_marked(void *ctx, const struct flash_found *found)
{
	struct sweep_probe *p = ctx;

	if (found->extent != NULL || found->place != p->place)
		return BOLE_OK;
	p->found = true;
	p->marked = found->where == FOUND_RUN && bole_flash_mark_has(p->m, found->run, found->row);
	return BOLE_OK;
}

/* What the cleaner moved meanwhile has its mark, or none, where it was. */
static enum bole_status sweep_moves(struct flash_sweep *s)
{
	const struct flash_mark *m = s->m;
	struct bole_bytes after = {NULL, 0};

	for (const struct flash_item *item = bole_flash_table_next(m->moves, after, true);
	     item != NULL; item = bole_flash_table_next(m->moves, after, false)) {
		after = bole_flash_item_key(item);
		const uint8_t *value = bole_flash_item_value(item).ptr;
		struct sweep_probe p = {.m = m, .place = bole_flash_get_be40(value)};
		BOLE_TRY(bole_flash_index_each(m->v, m->index, after.ptr, &s->m->reader, true,
		                               was_marked, &p));
		p.marked |= bole_flash_table_find(m->mem, after) != NULL;
		if (p.found && !p.marked)
			BOLE_TRY(kill_record(s, after, bole_flash_get_be40(value + 5)));
	}
	return BOLE_OK;
}

/* -- The whole -- */

static enum bole_status make_killed(struct flash_sweep *s)
{
	struct bole_alloc *alloc = s->m->v->alloc;
	uint32_t count = bole_flash_index_extents(s->m->index);

	if (count == 0)
		return BOLE_OK;
	s->killed = bole_alloc_zeroed(alloc, count, sizeof *s->killed);
	if (s->killed == NULL)
		return BOLE_E_NO_MEMORY;
	for (uint32_t i = 0; i < count; i++) {
		s->killed[i] =
		        bole_alloc_zeroed(alloc, s->m->index->extents->extent[i]->rows / 8 + 1, 1);
		if (s->killed[i] == NULL)
			return BOLE_E_NO_MEMORY;
	}
	return BOLE_OK;
}

static void free_killed(struct flash_sweep *s)
{
	struct bole_alloc *alloc = s->m->v->alloc;
	uint32_t count = bole_flash_index_extents(s->m->index);

	for (uint32_t i = 0; s->killed != NULL && i < count; i++)
		bole_alloc_free(alloc, s->killed[i], s->m->index->extents->extent[i]->rows / 8 + 1,
		                1);
	if (s->killed != NULL)
		bole_alloc_free(alloc, s->killed, count, sizeof *s->killed);
}

static enum bole_status draft(struct flash_sweep *s)
{
	struct flash_mark *m = s->m;

	BOLE_TRY(make_killed(s));
	/* Rows of runs first: what is killed in memory below is not counted again. */
	killed_in_memory(s, s->index->now.mem);
	killed_in_memory(s, s->index->frozen.mem);
	BOLE_TRY(sweep_runs(s));
	BOLE_TRY(sweep_extents(s));
	if (m->index != NULL) {
		BOLE_TRY(sweep_mem(s, &m->index->now));
		BOLE_TRY(sweep_mem(s, &m->index->frozen));
	}
	BOLE_TRY(sweep_moves(s));
	for (uint32_t i = 0; i < s->runs; i++)
		BOLE_TRY(bole_flash_index_runs(m->v, s->index, 0, 0, s->kills[i]));
	return BOLE_OK;
}

static void publish(struct flash_sweep *s)
{
	struct flash_volume *v = s->m->v;

	bole_flash_lock(v);
	v->stamp = v->epoch + 1;
	s->index = bole_flash_index_swap(v, s->m->domain, s->index);
	for (uint32_t i = 0; i < v->segments; i++)
		if (s->dead[i] != 0)
			bole_flash_live_sub(v, i, s->dead[i]);
	for (uint32_t i = 0; i < s->gones; i++)
		bole_flash_extent_change(s->gone[i], FLASH_LIVE_DROPPED, true);
	for (uint32_t i = 0; i < s->mades; i++)
		bole_flash_extent_moved(s->old[i], s->made[i], FLASH_HELD_PUBLISHED);
	for (uint32_t i = 0; i < s->runs; i++)
		bole_flash_run_change(s->kills[i], FLASH_HELD_PUBLISHED, true);
	v->epoch = v->stamp;
	bole_flash_unlock(v);
}

enum bole_status bole_flash_sweep(struct flash_mark *m, struct bole_mark_result *result,
                                  struct flash_sweep **out)
{
	struct flash_volume *v = m->v;
	struct flash_sweep *s = bole_alloc_zeroed(v->alloc, 1, sizeof *s);

	*out = s;
	if (s == NULL)
		return BOLE_E_NO_MEMORY;
	s->m = m;
	s->result = result;
	s->dead = bole_alloc_zeroed(v->alloc, v->segments, sizeof *s->dead);
	if (s->dead == NULL)
		return BOLE_E_NO_MEMORY;
	BOLE_TRY(bole_flash_index_fork(v, m->domain, m->domain->index, &s->index));
	enum bole_status rc = draft(s);
	if (rc == BOLE_OK) {
		publish(s);
		return BOLE_OK;
	}
	for (uint32_t i = 0; i < s->runs; i++)
		bole_flash_run_change(s->kills[i], FLASH_HELD_DROPPED, false);
	bole_flash_lock(v);
	for (uint32_t i = 0; i < s->mades; i++)
		bole_flash_extent_moved(s->old[i], s->made[i], FLASH_HELD_DROPPED);
	bole_flash_unlock(v);
	return rc;
}

void bole_flash_sweep_free(struct flash_volume *v, struct flash_sweep *s)
{
	if (s == NULL)
		return;
	free_killed(s);
	for (uint32_t i = 0; i < s->runs; i++)
		bole_flash_run_release(s->kills[i]);
	bole_alloc_free(v->alloc, s->kills, s->runs, sizeof *s->kills);
	for (uint32_t i = 0; i < s->gones; i++)
		bole_flash_extent_release(s->gone[i]);
	for (uint32_t i = 0; i < s->mades; i++) {
		bole_flash_extent_release(s->old[i]);
		bole_flash_extent_release(s->made[i]);
	}
	if (s->old != NULL)
		bole_alloc_free(v->alloc, s->old, s->gone_cap, sizeof *s->old);
	if (s->made != NULL)
		bole_alloc_free(v->alloc, s->made, s->gone_cap, sizeof *s->made);
	if (s->gone != NULL)
		bole_alloc_free(v->alloc, s->gone, s->gone_cap, sizeof *s->gone);
	bole_alloc_free(v->alloc, s->row, s->rows_cap, INDEX_ROW_BYTES);
	bole_alloc_free(v->alloc, s->dead, v->segments, sizeof *s->dead);
	bole_flash_index_drop(v, s->index);
	bole_alloc_free(v->alloc, s, 1, sizeof *s);
}
