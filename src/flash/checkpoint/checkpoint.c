/* SPDX-License-Identifier: ISC */
/* Checkpoints: everything that a mount needs but the end of the log. The state is pinned (published
 * versions are immutable), what changed since the last element is written while commits go on, and
 * the anchor makes it the one that counts. Only then is what it no longer names free.
 *
 * One is due when the log has grown by a few segments, which bounds what a mount reads. After
 * CHECKPOINT_DELTAS deltas, or when they are longer than their base, the next one is a base. */
#include "flash/checkpoint/checkpoint.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/checkpoint/save.h"
#include "flash/index/levels.h"
#include "flash/log/batch.h"
#include "flash/space/decay.h"

enum {
	/* Where segments are short, a few more of them: each checkpoint costs pages that are not
	 * full. */
	CHECKPOINT_LOG_BYTES = 192 << 10,
	CHECKPOINT_SHARE = 40, /* of the volume, at most */
	/* Where reading is fast and memory is not limited: longer runs, so fewer of them. */
	CHECKPOINT_LOG_LARGE = 32 << 20,
	CHECKPOINT_SHARE_LARGE = 16,
	/* Segments more than the base's that deltas may keep. */
	CHECKPOINT_SPREAD = 2,
	/* Beside a base, a mount after a clean stop reads so much of deltas and log, at most: this
	 * part of the base. */
	CHECKPOINT_EXTRA = 8,
	CHECKPOINT_EXTRA_MIN = 16 << 10,
	CHECKPOINT_EXTRA_UNITS = 8,
};

struct checkpoint {
	struct flash_volume *v;
	struct flash_anchor anchor; /* the next one */
	struct flash_state state;
	struct flash_save save;
	struct flash_element element;
	bool base;
	bool adrift;     /* the log, before */
	uint64_t growth; /* before */
	uint64_t tail;
};

bool bole_flash_checkpoint_due(const struct flash_volume *v)
{
	bool large = v->budget.limit == SIZE_MAX && !v->dev->info.needs_erase;
	uint32_t share = v->segments / (large ? CHECKPOINT_SHARE_LARGE : CHECKPOINT_SHARE);
	uint64_t wanted = large ? CHECKPOINT_LOG_LARGE : CHECKPOINT_LOG_BYTES;
	uint64_t most = (uint64_t)v->segment_bytes * CHECKPOINT_SEGMENTS;

	if (most < wanted && share > CHECKPOINT_SEGMENTS)
		most = (uint64_t)v->segment_bytes * share < wanted
		               ? (uint64_t)v->segment_bytes * share
		               : wanted;
	return !v->checkpointing && !v->read_only &&
	       (v->tail_bytes > most || v->mem_rows > v->mem_rows_max ||
	        atomic_load(&v->checkpoint_wanted));
}

void bole_flash_element_release(struct flash_volume *v, struct flash_element *e)
{
	bole_alloc_free(v->alloc, e->fragment, e->fragments_cap, sizeof *e->fragment);
	*e = (struct flash_element){.fragment = NULL};
}

/* -- The pin -- */

struct flash_segment_row bole_flash_segment_row(const struct flash_volume *v, uint32_t segment)
{
	const struct flash_segment *s = &v->segment[segment];

	return (struct flash_segment_row){
	        .segment = segment,
	        .sequence = s->sequence,
	        .erases = s->erases,
	        .live = s->live,
	        .flags = (uint8_t)((s->state == SEGMENT_BAD ? FLASH_ROW_BAD : 0) |
	                           (s->retiring ? FLASH_ROW_RETIRING : 0)),
	};
}

static enum bole_status pin_rows(struct checkpoint *c)
{
	struct flash_volume *v = c->v;
	uint32_t rows = 0;

	for (uint32_t i = 0; i < v->segments; i++)
		rows += c->base || v->segment[i].changed;
	if (rows == 0)
		return BOLE_OK;
	c->save.row = bole_alloc_array(v->alloc, rows, sizeof *c->save.row);
	if (c->save.row == NULL)
		return BOLE_E_NO_MEMORY;
	c->save.rows_cap = rows;
	return BOLE_OK;
}

/* What is dead now is dead for the new checkpoint; what of the log it covers is data like any
 * other. Nothing of it is free before the anchor is written. */
static void pin_segments(struct checkpoint *c)
{
	struct flash_volume *v = c->v;

	for (uint32_t i = 0; i < v->segments; i++) {
		struct flash_segment *s = &v->segment[i];
		if (c->base || s->changed)
			c->save.row[c->save.rows++] = bole_flash_segment_row(v, i);
		s->changed = false;
		if (s->state == SEGMENT_TAIL && i != v->log.segment) {
			s->state = SEGMENT_USED;
			s->published = true;
			bole_flash_segment_settle(v, i);
		}
		if (s->state == SEGMENT_FREED) {
			s->state = SEGMENT_FREEING;
			v->freed--;
		}
	}
}

/* Segments that elements keep: they lie one behind the other, mostly. A
 * mount begins a new one, so a few short deltas may keep many. */
static uint32_t kept(const struct flash_volume *v, uint32_t from, uint32_t to)
{
	uint32_t last = SEGMENT_NONE;
	uint32_t count = 0;

	for (uint32_t i = from; i < to; i++) {
		for (uint32_t n = 0; n < v->element[i].fragments; n++) {
			uint32_t segment = v->element[i].fragment[n].segment;
			count += segment != last;
			last = segment;
		}
	}
	return count;
}

/* What an element takes of the device. */
static uint64_t occupied(const struct flash_volume *v, const struct flash_element *e)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < e->fragments; i++)
		bytes += bole_round_up(bole_flash_fragment_live(e->fragment[i].length), v->unit);
	return bytes;
}

static uint64_t deltas_occupy(const struct flash_volume *v)
{
	uint64_t bytes = 0;

	for (uint32_t i = 1; i < v->elements; i++)
		bytes += occupied(v, &v->element[i]);
	return bytes;
}

static bool base_due(const struct flash_volume *v)
{
	if (v->base_wanted || v->saved == NULL || v->elements == 0 ||
	    v->elements == CHECKPOINT_ELEMENTS || bole_flash_decay_elements(v))
		return true;
	return deltas_occupy(v) > occupied(v, &v->element[0]) ||
	       kept(v, 1, v->elements) > kept(v, 0, 1) + CHECKPOINT_SPREAD;
}

bool bole_flash_checkpoint_last(struct flash_volume *v)
{
	uint64_t most = v->elements == 0 ? 0 : occupied(v, &v->element[0]) / CHECKPOINT_EXTRA;

	if (most < CHECKPOINT_EXTRA_MIN)
		most = CHECKPOINT_EXTRA_MIN;
	if (most < (uint64_t)v->unit * CHECKPOINT_EXTRA_UNITS)
		most = (uint64_t)v->unit * CHECKPOINT_EXTRA_UNITS;
	v->base_wanted = v->tail_bytes + deltas_occupy(v) > most;
	return v->base_wanted || v->unlogged;
}

/* The leader calls it between groups: the published versions are the log up to its head. */
static enum bole_status pin(struct checkpoint *c)
{
	struct flash_volume *v = c->v;

	BOLE_ASSERT(!v->batch.open);
	c->base = base_due(v);
	v->base_wanted = false;
	v->merge_room = bole_flash_merge_room(v);
	BOLE_TRY(bole_flash_state_take(v, &c->state, false));
	BOLE_TRY(pin_rows(c));
	pin_segments(c);
	atomic_store(&v->checkpoint_wanted, false);
	c->anchor = v->anchor;
	c->anchor.map = NULL;
	c->anchor.map_count = 0;
	c->anchor.generation++;
	c->anchor.ro_compat |= v->ro_compat;
	/* One that fails uses its number up: moves rely on that. */
	c->anchor.checkpoint = ++v->generation;
	c->anchor.log_segment = v->log.segment;
	c->anchor.log_offset = v->log.pos;
	c->anchor.log_sequence = v->log.sequence;
	c->anchor.log_next = v->log.next;
	c->anchor.log_next_sequence = v->log.next_sequence;
	c->anchor.batch = v->log.batch;
	c->anchor.link = v->log.link;
	c->adrift = v->log.adrift;
	c->growth = v->growth;
	c->tail = v->tail_bytes;
	c->anchor.stream = v->next_extent++;
	c->save.v = v;
	c->save.state = &c->state;
	c->save.before = c->base ? NULL : v->saved;
	c->save.next_extent = v->next_extent;
	c->save.next_repo = v->next_repo;
	c->save.next_domain = v->next_domain;
	return BOLE_OK;
}

/* -- Writing -- */

/* The places of a few fragments fit into the anchor; those of many are a stream of their own. */
static enum bole_status put_map(struct checkpoint *c)
{
	struct flash_stream *s = &c->save.stream;
	uint32_t most = bole_flash_anchor_map_max(&c->v->geometry);
	uint8_t place[PLACE_BYTES];
	uint32_t count;

	if (most > CHAIN_PLACES_MAX)
		most = CHAIN_PLACES_MAX;
	BOLE_TRY(bole_flash_stream_end(s));
	count = s->fragments;
	c->element.named = count;
	if (count > most) {
		BOLE_TRY(bole_flash_stream_select(s, FLASH_FRAGMENT_MAP));
		for (uint32_t i = 0; i < count; i++) {
			bole_flash_place_put(place, &s->fragment[i]);
			BOLE_TRY(bole_flash_stream_append(s, place, sizeof place));
		}
		BOLE_TRY(bole_flash_stream_end(s));
		c->element.named = s->fragments - count;
	}
	if (c->element.named > most)
		return BOLE_E_LIMIT;
	c->anchor.map = s->fragment + (s->fragments - c->element.named); /* borrowed */
	c->anchor.map_count = c->element.named;
	return BOLE_OK;
}

static enum bole_status write_all(struct checkpoint *c)
{
	struct flash_volume *v = c->v;

	bole_flash_stream_init(&c->save.stream, v, c->anchor.stream, 0, FLASH_SEGMENT_CHECKPOINT,
	                       FLASH_FOR_CHECKPOINT);
	bole_flash_sum_begin(&c->save.sum, c->anchor.stream);
	BOLE_TRY(bole_flash_stream_select(&c->save.stream, FLASH_FRAGMENT_CHECKPOINT));
	BOLE_TRY(bole_flash_save_all(&c->save));
	BOLE_TRY(put_map(c));
	c->anchor.stream_bytes = c->save.bytes;
	c->anchor.stream_digest = bole_flash_sum_end(&c->save.sum);
	return bole_flash_flush(v);
}

void bole_flash_anchors_check(struct flash_volume *v)
{
	const struct flash_anchor_place *place = &v->anchor_place;

	if (!v->dev->info.needs_erase || !place->dead[0] || !place->dead[1] ||
	    atomic_exchange(&v->worn, true))
		return;
	bole_log(v->platform, BOLE_LOG_ERROR,
	         "%s: end of life: no block is left that takes an anchor; the volume is read-only "
	         "for good, everything in it stays readable",
	         v->dev->info.name);
}

static enum bole_status store(struct checkpoint *c)
{
	struct flash_volume *v = c->v;
	struct flash_anchor_place *place = &v->anchor_place;
	uint64_t programmed = place->programmed;
	uint64_t erased = place->erased;

	bole_flash_lock(v);
	for (uint32_t i = 0; i < 2; i++) {
		place->stale[i] |= v->decay.anchor[i];
		v->decay.anchor[i] = false;
	}
	c->anchor.opened = v->opened;
	bole_flash_unlock(v);
	enum bole_status rc =
	        bole_flash_anchor_store(v->dev, v->platform, v->alloc, &c->anchor, place);
	atomic_fetch_add(&v->counters.programmed, place->programmed - programmed);
	atomic_fetch_add(&v->counters.erased, place->erased - erased);
	atomic_fetch_add(&v->counters.flushes, 1);
	if (rc != BOLE_OK)
		bole_flash_anchors_check(v);
	/* Which anchor a mount would find is unknown now. */
	if (rc != BOLE_OK && rc != BOLE_E_NO_MEMORY)
		bole_flash_fail(v, "writing an anchor");
	return rc;
}

/* -- The end -- */

/* Segments that were dead at the pin. */
static void settle_freeing(struct flash_volume *v, bool ok)
{
	for (uint32_t i = 0; i < v->segments; i++) {
		bole_flash_lock(v);
		bool free = v->segment[i].state == SEGMENT_FREEING;
		bool pinned = bole_flash_pinned(v, i);
		bole_flash_unlock(v);
		if (!free)
			continue;
		/* What a snapshot may still read keeps its bytes until it is written over. */
		if (ok && !pinned)
			bole_flash_discard(v, i);
		bole_flash_lock(v);
		if (ok) {
			bole_flash_segment_release(v, i);
		} else {
			v->segment[i].state = SEGMENT_FREED;
			v->freed++;
		}
		bole_flash_unlock(v);
	}
}

/* Which segments the durable checkpoint says something lives in. Lock held. */
static void note_named(struct checkpoint *c)
{
	for (uint32_t i = 0; i < c->save.rows; i++)
		c->v->segment[c->save.row[i].segment].named = c->save.row[i].live != 0;
}

/* An element that nothing durable names any more. What else is in its segments is named by
 * checkpoints only, never by the log. */
static void drop_element(struct flash_volume *v, struct flash_element *e)
{
	bole_flash_lock(v);
	for (uint32_t i = 0; i < e->fragments; i++) {
		const struct flash_fragment *f = &e->fragment[i];
		v->segment[f->segment].published = v->segment[f->segment].named;
		bole_flash_hold_end(v, f->segment, bole_flash_fragment_live(f->length));
	}
	bole_flash_unlock(v);
	bole_flash_element_release(v, e);
}

/* The anchor is durable. */
static void settle(struct checkpoint *c)
{
	struct flash_volume *v = c->v;
	struct flash_state *old = v->saved;

	bole_flash_lock(v);
	note_named(c);
	bole_flash_unlock(v);
	settle_freeing(v, true);
	for (uint32_t i = 0; c->base && i < v->elements; i++)
		drop_element(v, &v->element[i]);
	if (c->base)
		v->elements = 0;
	v->element[v->elements++] = c->element;
	for (uint32_t i = 0; i < c->state.repos; i++)
		bole_flash_index_saved(v, c->state.repo[i].repo->domain, &c->state.repo[i].index,
		                       true);
	if (old == NULL)
		old = bole_alloc_zeroed(v->alloc, 1, sizeof *old);
	else
		bole_flash_state_release(v, old);
	v->saved = old;
	/* Without memory for it the next one is a base. */
	if (old != NULL)
		*old = c->state;
	else
		bole_flash_state_release(v, &c->state);
	bole_flash_lock(v);
	c->anchor.map = NULL;
	c->anchor.map_count = 0;
	v->anchor = c->anchor;
	atomic_store(&v->anchored, c->anchor.checkpoint);
	if (c->adrift)
		v->log.adrift = false;
	v->tail_bytes -= c->tail;
	v->growth -= c->growth;
	v->base_bytes = (c->base ? 0 : v->base_bytes) + c->save.bytes;
	bole_flash_unlock(v);
	atomic_fetch_add(&v->counters.checkpoint_bytes, c->save.bytes);
	bole_flash_mark_retired(v);
}

static void give_up(struct checkpoint *c, enum bole_status why)
{
	struct flash_volume *v = c->v;

	settle_freeing(v, false);
	bole_flash_lock(v);
	for (uint32_t i = 0; i < c->save.rows; i++)
		v->segment[c->save.row[i].segment].changed = true;
	bole_flash_unlock(v);
	for (uint32_t i = 0; i < c->state.repos; i++)
		bole_flash_index_saved(v, c->state.repo[i].repo->domain, &c->state.repo[i].index,
		                       false);
	bole_flash_stream_release(&c->save.stream, false);
	bole_flash_state_release(v, &c->state);
	bole_log(v->platform, BOLE_LOG_WARN, "%s: no checkpoint: %s", v->dev->info.name,
	         bole_status_text(why));
}

/* Everything after the pin. */
static enum bole_status complete(struct checkpoint *c)
{
	struct flash_volume *v = c->v;
	enum bole_status rc = write_all(c);

	if (rc == BOLE_OK)
		rc = store(c);
	bole_flash_stream_close(&c->save.stream);
	c->element.stream = c->anchor.stream;
	c->element.bytes = c->anchor.stream_bytes;
	c->element.digest = c->anchor.stream_digest;
	c->element.fragment = c->save.stream.fragment;
	c->element.fragments = c->save.stream.fragments;
	c->element.fragments_cap = c->save.stream.fragments_cap;
	if (rc == BOLE_OK)
		settle(c);
	else
		give_up(c, rc);
	bole_alloc_free(v->alloc, c->save.row, c->save.rows_cap, sizeof *c->save.row);
	return rc;
}

/* Pins and completes. Lock held on entry and exit; nobody leads, or the caller does. */
static enum bole_status run(struct flash_volume *v)
{
	struct checkpoint c = {.v = v};
	enum bole_status rc = pin(&c);

	v->checkpointing = rc == BOLE_OK;
	bole_flash_unlock(v);
	if (rc == BOLE_OK) {
		rc = complete(&c);
	} else {
		bole_flash_state_release(v, &c.state);
		bole_alloc_free(v->alloc, c.save.row, c.save.rows_cap, sizeof *c.save.row);
	}
	bole_flash_lock(v);
	v->checkpointing = false;
	v->platform->ops->cond_broadcast(v->platform, &v->cond);
	return rc;
}

enum bole_status bole_flash_checkpoint_leading(struct flash_volume *v)
{
	bole_flash_lock(v);
	enum bole_status rc =
	        v->checkpointing || atomic_load(&v->failed) ? BOLE_E_READ_ONLY : run(v);
	bole_flash_unlock(v);
	return rc;
}

enum bole_status bole_flash_checkpoint(struct flash_volume *v)
{
	bole_flash_lock(v);
	while (v->leading)
		(void)v->platform->ops->cond_wait(v->platform, &v->cond, &v->lock, BOLE_NEVER);
	enum bole_status rc = v->checkpointing || atomic_load(&v->failed) ? BOLE_OK : run(v);
	bole_flash_unlock(v);
	return rc;
}

bool bole_flash_space_helps(const struct flash_volume *v)
{
	for (uint32_t i = 0; i < v->segments; i++)
		if (bole_flash_segment_dead(v, i) && !bole_flash_pinned(v, i))
			return true;
	return false;
}
