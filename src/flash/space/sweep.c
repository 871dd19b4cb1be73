/* SPDX-License-Identifier: ISC */
/* The end of a mark: one version of the index without what is unmarked. Rows of runs die by a run
 * of kills, rows in memory by changes of the memtable, extents without a live row leave the list.
 * No record in the log says so: the version counts as a whole when a checkpoint holds it.
 *
 * What takes long, to read the index and to write runs and maps, is done beside commits, on the
 * version of the beginning. Whoever leads then puts it into the version that is published by then;
 * what was dropped or moved in between is known one by one (sweep_meanwhile.c). A cut before that,
 * and before the checkpoint behind it, leaves everything findable. */
#include "flash/space/sweep.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/index/levels.h"

enum {
	SWEEP_KILLS = 1 << 16, /* rows of extents, gathered for one run */
	SWEEP_KILLS_SMALL = 1 << 12,
};

void bole_flash_sweep_dies(struct flash_sweep *s, uint64_t place, uint64_t stored)
{
	uint64_t bytes = bole_flash_record_live(s->m->domain->key_len, (uint32_t)stored);

	s->dead[bole_flash_place_segment(place)] += (uint32_t)bytes;
	s->result.objects_dropped++;
	s->result.bytes_dropped += stored;
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
	s->result.objects_dropped++;
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

/* It takes the place of old when all is published, if that is the one that counts still. */
static void keep_made(struct flash_sweep *s, struct flash_extent *old, struct flash_extent *made)
{
	atomic_fetch_add_explicit(&old->refs, 1, memory_order_relaxed);
	s->made[s->mades] = made;
	s->old[s->mades++] = old;
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
			keep_made(s, e, made);
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
	struct flash_extent *e = bole_flash_index_extent(s->then, was->id);

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
	/* Read now: whoever leads would wait for it. */
	const struct flash_fragment *list;
	BOLE_TRY(bole_flash_extent_map(e, &list));
	atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
	s->gone[s->gones++] = e;
	s->result.extents_dropped++;
	s->result.objects_dropped += alive;
	s->result.bytes_dropped += e->data_bytes;
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

/* -- Beside commits -- */

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

enum bole_status bole_flash_sweep_begin(struct flash_mark *m, struct flash_sweep **out)
{
	struct flash_volume *v = m->v;
	struct flash_sweep *s = bole_alloc_zeroed(v->alloc, 1, sizeof *s);

	*out = s;
	if (s == NULL)
		return BOLE_E_NO_MEMORY;
	s->m = m;
	bole_flash_sweep_watch(s);
	s->dead = bole_alloc_zeroed(v->alloc, v->segments, sizeof *s->dead);
	if (s->dead == NULL)
		return BOLE_E_NO_MEMORY;
	BOLE_TRY(bole_flash_index_fork(v, m->domain, m->domain->index, &s->then));
	s->moves = bole_flash_table_retain(m->moves);
	return BOLE_OK;
}

enum bole_status bole_flash_sweep_draft(struct flash_sweep *s)
{
	BOLE_TRY(make_killed(s));
	BOLE_TRY(bole_flash_sweep_runs(s));
	return sweep_extents(s);
}

/* -- For the leader -- */

/* The record of that id at that place, if it is still the one that counts. */
enum bole_status bole_flash_sweep_kill(struct flash_sweep *s, const uint8_t *key, uint64_t place)
{
	struct flash_volume *v = s->m->v;
	struct flash_found found;

	enum bole_status rc = bole_flash_index_current(v, s->index, key, place, &found);
	if (rc != BOLE_OK)
		return rc == BOLE_E_NOT_FOUND ? BOLE_OK : rc;
	uint64_t objects = s->index->objects;
	BOLE_TRY(bole_flash_index_kill(v, s->index, key, &found));
	s->index->objects = objects; /* all at once, below */
	bole_flash_sweep_dies(s, place, found.stored);
	return BOLE_OK;
}

/* The cleaner may have made other versions of them. */
static enum bole_status install_gone(struct flash_sweep *s)
{
	struct flash_volume *v = s->m->v;
	const struct flash_fragment *list;

	for (uint32_t i = 0; i < s->gones; i++) {
		struct flash_extent *now = bole_flash_index_extent(s->index, s->gone[i]->id);
		if (now == NULL)
			return BOLE_E_GONE;
		/* It is needed under the lock. */
		BOLE_TRY(bole_flash_extent_map(now, &list));
		atomic_fetch_add_explicit(&now->refs, 1, memory_order_relaxed);
		bole_flash_extent_release(s->gone[i]);
		s->gone[i] = now;
		BOLE_TRY(bole_flash_index_remove(v, s->index, now->id));
	}
	return BOLE_OK;
}

/* One that was made of a version that is no longer the last one comes to nothing: its holes come
 * with the next mark. */
static enum bole_status install_made(struct flash_sweep *s)
{
	struct flash_volume *v = s->m->v;

	for (uint32_t i = 0; i < s->mades;) {
		if (bole_flash_index_extent(s->index, s->old[i]->id) == s->old[i]) {
			BOLE_TRY(bole_flash_index_replace(v, s->index, s->old[i], s->made[i]));
			i++;
			continue;
		}
		bole_flash_lock(v);
		bole_flash_extent_moved(s->old[i], s->made[i], FLASH_HELD_DROPPED);
		bole_flash_unlock(v);
		bole_flash_extent_release(s->old[i]);
		bole_flash_extent_release(s->made[i]);
		s->mades--;
		s->old[i] = s->old[s->mades];
		s->made[i] = s->made[s->mades];
	}
	return BOLE_OK;
}

/* The list that it was drafted on is the end of the one now. */
static enum bole_status install_runs(struct flash_sweep *s)
{
	struct flash_volume *v = s->m->v;
	uint32_t then = s->then->runs == NULL ? 0 : s->then->runs->count;
	uint32_t now = s->index->runs == NULL ? 0 : s->index->runs->count;

	if (now < then)
		return BOLE_E_GONE;
	s->at = now - then;
	BOLE_TRY(bole_flash_index_runs(v, s->index, s->at, s->top, s->run));
	for (uint32_t i = 0; i < s->runs; i++)
		BOLE_TRY(bole_flash_index_runs(v, s->index, s->at, 0, s->kills[i]));
	return BOLE_OK;
}

static enum bole_status install(struct flash_sweep *s)
{
	BOLE_TRY(bole_flash_sweep_meanwhile(s));
	for (uint32_t i = 0; i < s->others; i++)
		if (!s->other[i].done)
			BOLE_TRY(bole_flash_sweep_kill(s, s->other[i].key, s->other[i].place));
	BOLE_TRY(install_gone(s));
	BOLE_TRY(install_made(s));
	BOLE_TRY(install_runs(s));
	uint64_t dropped = s->result.objects_dropped;
	s->index->objects -= dropped < s->index->objects ? dropped : s->index->objects;
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
	if (s->run != NULL)
		bole_flash_run_change(s->run, FLASH_HELD_PUBLISHED, true);
	for (uint32_t i = 0; i < s->top; i++)
		bole_flash_run_change(s->index->runs->run[s->at + i], FLASH_LIVE_DROPPED, true);
	v->epoch = v->stamp;
	v->unlogged = true;
	bole_flash_unlock(v);
	s->published = true;
}

enum bole_status bole_flash_sweep_install(struct flash_sweep *s, struct bole_mark_result *out)
{
	struct flash_volume *v = s->m->v;
	struct flash_domain *domain = s->m->domain;

	BOLE_TRY(bole_flash_index_fork(v, domain, domain->index, &s->index));
	BOLE_TRY(install(s));
	publish(s);
	*out = s->result;
	return BOLE_OK;
}

/* -- The end -- */

static void drop_drafts(struct flash_volume *v, struct flash_sweep *s)
{
	for (uint32_t i = 0; i < s->runs; i++)
		bole_flash_run_change(s->kills[i], FLASH_HELD_DROPPED, false);
	if (s->run != NULL)
		bole_flash_run_change(s->run, FLASH_HELD_DROPPED, false);
	bole_flash_lock(v);
	for (uint32_t i = 0; i < s->mades; i++)
		bole_flash_extent_moved(s->old[i], s->made[i], FLASH_HELD_DROPPED);
	bole_flash_unlock(v);
}

static void free_extents(struct flash_volume *v, struct flash_sweep *s)
{
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
}

void bole_flash_sweep_free(struct flash_volume *v, struct flash_sweep *s)
{
	if (s == NULL)
		return;
	if (!s->published)
		drop_drafts(v, s);
	free_killed(s);
	for (uint32_t i = 0; i < s->runs; i++)
		bole_flash_run_release(s->kills[i]);
	bole_alloc_free(v->alloc, s->kills, s->runs, sizeof *s->kills);
	bole_flash_run_release(s->run);
	free_extents(v, s);
	bole_alloc_free(v->alloc, s->other, s->others_cap, sizeof *s->other);
	bole_alloc_free(v->alloc, s->event, s->events, sizeof *s->event);
	bole_buffer_release(&s->noted);
	bole_alloc_free(v->alloc, s->dead, v->segments, sizeof *s->dead);
	bole_flash_table_release(&v->plain, s->moves);
	bole_flash_index_drop(v, s->then);
	bole_flash_index_drop(v, s->index);
	bole_alloc_free(v->alloc, s, 1, sizeof *s);
}
