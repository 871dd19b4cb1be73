/* SPDX-License-Identifier: ISC */
/* Versions of an extent: fragments and pages of its runs that are elsewhere, fragments that are
 * holes because nothing in them lives. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/index/extent.h"
#include "flash/log/stream.h"

struct remake {
	const struct flash_extent *from;
	const struct flash_fragment *list; /* of it */
	uint32_t segment;
	const uint8_t *dead; /* a bit for each data fragment, or NULL */
	struct flash_stream stream;
	struct flash_fragment *made; /* data, then map */
	uint32_t count;
	uint32_t cap;
};

static bool is_dead(const struct remake *r, uint32_t i)
{
	return r->dead != NULL && (r->dead[i / 8] & 1u << i % 8) != 0;
}

/* Copies the fragments that are to leave their segment. */
static enum bole_status copy_data(struct remake *r)
{
	struct flash_volume *v = r->from->v;
	size_t room = bole_flash_fragment_room(v);
	uint8_t *buf = bole_alloc_array(v->alloc, room, 1);
	enum bole_status rc = buf == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
	const uint8_t *payload;

	for (uint32_t i = 0; i < bole_flash_extent_data(r->from) && rc == BOLE_OK; i++) {
		const struct flash_fragment *f = &r->list[i];
		if (f->segment != r->segment || f->segment == SEGMENT_NONE || is_dead(r, i))
			continue;
		rc = bole_flash_fragment_read(v, r->from->id, f, buf, &payload);
		if (rc == BOLE_OK)
			rc = bole_flash_stream_select(&r->stream, FLASH_FRAGMENT_DATA);
		r->stream.logical = f->logical;
		if (rc == BOLE_OK)
			rc = bole_flash_stream_append(&r->stream, payload, f->length);
		if (rc == BOLE_OK)
			rc = bole_flash_stream_end(&r->stream);
		bole_flash_yield(v);
	}
	bole_alloc_free(v->alloc, buf, room, 1);
	return rc;
}

/* The new list of data: a copy may have become several fragments. */
static enum bole_status merge_list(struct remake *r)
{
	uint32_t copied = r->stream.fragments;
	uint32_t at = 0;

	r->cap = bole_flash_extent_data(r->from) + copied;
	r->made = bole_alloc_zeroed(r->from->v->alloc, r->cap == 0 ? 1 : r->cap, sizeof *r->made);
	if (r->made == NULL)
		return BOLE_E_NO_MEMORY;
	for (uint32_t i = 0; i < bole_flash_extent_data(r->from); i++) {
		const struct flash_fragment *f = &r->list[i];
		uint64_t end = f->logical + f->length;
		if (is_dead(r, i) && f->segment != SEGMENT_NONE) {
			r->made[r->count++] = (struct flash_fragment){
			        .logical = f->logical,
			        .segment = SEGMENT_NONE,
			        .length = f->length,
			        .stream = FLASH_FRAGMENT_DATA,
			};
			continue;
		}
		if (at == copied || r->stream.fragment[at].logical != f->logical) {
			r->made[r->count++] = *f;
			continue;
		}
		while (at < copied && r->stream.fragment[at].logical < end)
			r->made[r->count++] = r->stream.fragment[at++];
	}
	return BOLE_OK;
}

static enum bole_status put_map(struct remake *r)
{
	uint8_t place[PLACE_BYTES];

	BOLE_TRY(bole_flash_stream_select(&r->stream, FLASH_FRAGMENT_MAP));
	for (uint32_t i = 0; i < r->count; i++) {
		bole_flash_place_put(place, &r->made[i]);
		BOLE_TRY(bole_flash_stream_append(&r->stream, place, sizeof place));
	}
	return bole_flash_stream_end(&r->stream);
}

/* The lists of the new version. */
static enum bole_status fill(struct remake *r, struct flash_extent *e, uint32_t copied)
{
	struct bole_alloc *alloc = e->v->alloc;
	uint32_t map = r->stream.fragments - copied;
	struct flash_fragment *list = bole_alloc_array(alloc, (size_t)r->count + map, sizeof *list);

	if (list == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(list, r->made, r->count * sizeof *list);
	memcpy(list + r->count, r->stream.fragment + copied, map * sizeof *list);
	e->fragments = r->count + map;
	atomic_store(&e->fragment, list);
	e->map = bole_alloc_array(alloc, map, sizeof *e->map);
	if (e->map == NULL)
		return BOLE_E_NO_MEMORY;
	e->map_fragments = map;
	memcpy(e->map, list + r->count, map * sizeof *e->map);
	return BOLE_OK;
}

static bool in_segment(const struct flash_run *run, uint32_t segment)
{
	for (uint32_t i = 0; run != NULL && i < run->chunks; i++)
		if (run->chunk[i].segment == segment)
			return true;
	return false;
}

static enum bole_status move_run(struct flash_run *run, uint32_t segment,
                                 enum flash_purpose purpose, struct flash_run **out)
{
	if (in_segment(run, segment))
		return bole_flash_run_evacuate(run, segment, purpose, out);
	*out = run == NULL ? NULL : bole_flash_run_retain(run);
	return BOLE_OK;
}

static enum bole_status make(struct remake *r, struct flash_extent *e, enum flash_purpose purpose)
{
	const struct flash_extent *from = r->from;

	e->id = from->id;
	e->domain = from->domain;
	e->key_len = from->key_len;
	e->data_bytes = from->data_bytes;
	e->rows = from->rows;
	e->slot = from->slot;
	BOLE_TRY(copy_data(r));
	uint32_t copied = r->stream.fragments;
	BOLE_TRY(merge_list(r));
	BOLE_TRY(put_map(r));
	BOLE_TRY(fill(r, e, copied));
	BOLE_TRY(move_run(from->table, r->segment, purpose, &e->table));
	BOLE_TRY(move_run(from->order, r->segment, purpose, &e->order));
	return bole_flash_extent_body(e, NULL) > e->v->record_max ? BOLE_E_LIMIT : BOLE_OK;
}

static void runs_moved(const struct flash_extent *old, const struct flash_extent *e,
                       enum flash_change change)
{
	if (e->table != NULL && e->table != old->table)
		bole_flash_run_moved(old->table, e->table, change);
	if (e->order != NULL && e->order != old->order)
		bole_flash_run_moved(old->order, e->order, change);
}

enum bole_status bole_flash_extent_remake(const struct flash_extent *from, uint32_t segment,
                                          const uint8_t *dead, enum flash_purpose purpose,
                                          struct flash_extent **out)
{
	struct flash_volume *v = from->v;
	struct remake r = {.from = from, .segment = segment, .dead = dead};

	BOLE_TRY(bole_flash_extent_map(from, &r.list));
	struct flash_extent *e = bole_flash_extent_open(v);
	if (e == NULL)
		return BOLE_E_NO_MEMORY;
	bole_flash_stream_init(&r.stream, v, from->id, from->domain, FLASH_SEGMENT_DATA, purpose);
	enum bole_status rc = make(&r, e, purpose);
	if (rc != BOLE_OK) {
		bole_flash_lock(v);
		runs_moved(from, e, FLASH_HELD_DROPPED);
		bole_flash_unlock(v);
	}
	bole_flash_stream_release(&r.stream, rc == BOLE_OK);
	bole_alloc_free(v->alloc, r.made, r.cap == 0 ? 1 : r.cap, sizeof *r.made);
	if (rc != BOLE_OK) {
		bole_flash_extent_release(e);
		return rc;
	}
	*out = e;
	return BOLE_OK;
}

/* Both lists have it. */
static bool has(const struct flash_extent *e, const struct flash_fragment *list,
                const struct flash_fragment *f)
{
	if (bole_flash_extent_data(e) == 0)
		return false;
	const struct flash_fragment *k = &list[bole_flash_extent_fragment(e, list, f->logical)];
	return k->logical == f->logical && k->segment == f->segment && k->offset == f->offset &&
	       k->sequence == f->sequence;
}

void bole_flash_extent_moved(const struct flash_extent *old, const struct flash_extent *e,
                             enum flash_change change)
{
	struct flash_volume *v = e->v;
	const struct flash_fragment *was = atomic_load(&old->fragment);
	const struct flash_fragment *is = atomic_load(&e->fragment);

	for (uint32_t i = 0; i < bole_flash_extent_data(e); i++)
		if (!has(old, was, &is[i]))
			bole_flash_fragments_change(v, &is[i], 1, change, true);
	bole_flash_fragments_change(v, e->map, e->map_fragments, change, true);
	runs_moved(old, e, change);
	if (change != FLASH_HELD_PUBLISHED)
		return;
	for (uint32_t i = 0; i < bole_flash_extent_data(old); i++)
		if (!has(e, is, &was[i]))
			bole_flash_fragments_change(v, &was[i], 1, FLASH_LIVE_DROPPED, true);
	bole_flash_fragments_change(v, old->map, old->map_fragments, FLASH_LIVE_DROPPED, true);
}
