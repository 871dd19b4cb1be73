/* SPDX-License-Identifier: ISC */
/* Reading a checkpoint: from the newest element back to the base, then all of them in order. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/checkpoint/checkpoint.h"
#include "flash/volume/mount.h"

/* First fragments of at most so many bytes are kept between the two ways. */
enum {
	CHAIN_KEEP_BYTES = 4096,
	CHAIN_RECORD_MAX = RECORD_HEAD_BYTES + CHAIN_PLACES_AT + CHAIN_PLACES_MAX * PLACE_BYTES,
};

struct chain {
	struct flash_volume *v;
	struct flash_apply apply;
	struct bole_buffer bytes; /* of the stream, not taken yet */
	uint8_t *buf;             /* for one fragment */
	size_t room;
	bool ended;
	struct flash_element element[CHECKPOINT_ELEMENTS]; /* newest first */
	uint8_t *first[CHECKPOINT_ELEMENTS];
	uint32_t first_bytes[CHECKPOINT_ELEMENTS];
	uint32_t elements;
};

/* -- Backwards -- */

static bool place_ok(const struct flash_volume *v, const struct flash_fragment *f)
{
	return f->segment < v->segments && f->length != 0 && f->length <= v->fragment_bytes &&
	       (f->stream == FLASH_FRAGMENT_MAP || f->stream == FLASH_FRAGMENT_CHECKPOINT) &&
	       bole_in_bounds(f->offset, bole_flash_fragment_live(f->length), v->segment_bytes);
}

/* All fragments of an element from the places that name it. */
static enum bole_status list_fragments(struct chain *c, struct flash_element *e,
                                       struct flash_fragment *named, uint32_t count)
{
	struct flash_volume *v = c->v;
	uint64_t logical = 0;

	if (count == 0 || count > CHAIN_PLACES_MAX)
		return BOLE_E_CORRUPT;
	for (uint32_t i = 0; i < count; i++) {
		if (!place_ok(v, &named[i]) || named[i].stream != named[0].stream)
			return BOLE_E_CORRUPT;
		named[i].logical = logical;
		logical += named[i].length;
	}
	e->named = count;
	if (named[0].stream == FLASH_FRAGMENT_MAP) {
		BOLE_TRY(bole_flash_map_load(v, e->stream, named, count, logical, &e->fragment,
		                             &e->fragments));
		e->fragments_cap = e->fragments;
		return BOLE_OK;
	}
	e->fragment = bole_alloc_array(v->alloc, count, sizeof *e->fragment);
	if (e->fragment == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(e->fragment, named, count * sizeof *named);
	e->fragments = count;
	e->fragments_cap = count;
	return BOLE_OK;
}

/* The first record of an element, if it is a CHAIN, names the one before. */
static enum bole_status parse_chain(struct bole_bytes first, struct flash_element *before,
                                    uint32_t *depth, struct flash_fragment *named, uint32_t *count)
{
	struct flash_record r;

	*depth = 0;
	if (!bole_flash_record_parse(first, &r) || r.kind != FLASH_RECORD_CHAIN)
		return BOLE_OK;
	if (r.body.len < CHAIN_PLACES_AT)
		return BOLE_E_CORRUPT;
	*depth = bole_get_le32(r.body.ptr + CHAIN_DEPTH_AT);
	*count = bole_get_le32(r.body.ptr + CHAIN_COUNT_AT);
	before->stream = bole_get_le64(r.body.ptr + CHAIN_STREAM_AT);
	before->bytes = bole_get_le64(r.body.ptr + CHAIN_BYTES_AT);
	before->digest = bole_get_le64(r.body.ptr + CHAIN_DIGEST_AT);
	if (*depth == 0 || *depth >= CHECKPOINT_ELEMENTS || *count > CHAIN_PLACES_MAX ||
	    r.body.len != CHAIN_PLACES_AT + (size_t)*count * PLACE_BYTES)
		return BOLE_E_CORRUPT;
	for (uint32_t i = 0; i < *count; i++)
		bole_flash_place_get(r.body.ptr + CHAIN_PLACES_AT + (size_t)i * PLACE_BYTES,
		                     &named[i]);
	return BOLE_OK;
}

static void keep_first(struct chain *c, const uint8_t *p, uint32_t len)
{
	uint8_t *copy = bole_alloc_array(c->v->alloc, len, 1);

	if (copy != NULL)
		memcpy(copy, p, len);
	c->first[c->elements - 1] = copy;
	c->first_bytes[c->elements - 1] = copy == NULL ? 0 : len;
}

/* Finds out about one element, and where the one before it is. */
static enum bole_status look_back(struct chain *c, struct flash_element *e,
                                  struct flash_fragment *named, uint32_t *count, uint32_t *depth,
                                  struct flash_element *before)
{
	struct flash_volume *v = c->v;
	uint8_t head[CHAIN_RECORD_MAX];
	size_t have = 0;
	const uint8_t *p;

	BOLE_TRY(list_fragments(c, e, named, *count));
	/* At the end of a segment a fragment may be shorter than the record. */
	for (uint32_t i = 0; i < e->fragments && have < sizeof head; i++) {
		const struct flash_fragment *f = &e->fragment[i];
		if (f->stream != FLASH_FRAGMENT_CHECKPOINT && i == 0)
			return BOLE_E_CORRUPT;
		if (f->stream != FLASH_FRAGMENT_CHECKPOINT)
			break;
		BOLE_TRY(bole_flash_fragment_read(v, e->stream, f, c->buf, &p));
		if (i == 0 && f->length <= CHAIN_KEEP_BYTES)
			keep_first(c, p, f->length);
		size_t n = f->length < sizeof head - have ? f->length : sizeof head - have;
		memcpy(head + have, p, n);
		have += n;
	}
	return parse_chain((struct bole_bytes){head, have}, before, depth, named, count);
}

static enum bole_status follow(struct chain *c)
{
	struct flash_volume *v = c->v;
	struct flash_fragment named[CHAIN_PLACES_MAX];
	struct flash_element next = {
	        .stream = v->anchor.stream,
	        .bytes = v->anchor.stream_bytes,
	        .digest = v->anchor.stream_digest,
	};
	uint32_t count = v->anchor.map_count;
	uint32_t expect = UINT32_MAX;
	uint32_t depth;

	if (count == 0 || count > CHAIN_PLACES_MAX)
		return BOLE_E_CORRUPT;
	memcpy(named, v->anchor.map, count * sizeof *named);
	do {
		struct flash_element before = {.stream = 0};
		if (c->elements == CHECKPOINT_ELEMENTS)
			return BOLE_E_CORRUPT;
		struct flash_element *e = &c->element[c->elements++];
		*e = next;
		BOLE_TRY(look_back(c, e, named, &count, &depth, &before));
		if ((expect != UINT32_MAX && depth != expect) ||
		    (depth != 0 && before.stream >= e->stream))
			return BOLE_E_CORRUPT;
		expect = depth - 1;
		next = before;
	} while (depth != 0);
	return BOLE_OK;
}

/* -- Forwards -- */

static enum bole_status load_counters(struct flash_volume *v, struct bole_bytes body)
{
	if (body.len != COUNTERS_BYTES)
		return BOLE_E_CORRUPT;
	v->next_extent = bole_get_le64(body.ptr + COUNTERS_EXTENT_AT);
	v->next_repo = bole_get_le32(body.ptr + COUNTERS_REPO_AT);
	v->next_domain = bole_get_le32(body.ptr + COUNTERS_DOMAIN_AT);
	return v->next_extent == 0 || v->next_extent >> 60 != 0 || v->next_repo == 0 ||
	                       v->next_domain == 0
	               ? BOLE_E_CORRUPT
	               : BOLE_OK;
}

static void load_row(struct flash_volume *v, uint32_t segment, const uint8_t *p)
{
	struct flash_segment *s = &v->segment[segment];

	s->sequence = bole_get_le64(p + SEGMENT_ROW_SEQUENCE_AT);
	s->erases = bole_get_le32(p + SEGMENT_ROW_ERASES_AT);
	v->live -= s->live;
	s->live = bole_get_le32(p + SEGMENT_ROW_LIVE_AT);
	v->live += s->live;
	s->named = s->live != 0;
	s->published = s->named;
	s->retiring = (p[SEGMENT_ROW_FLAGS_AT] & FLASH_ROW_RETIRING) != 0;
	s->state = (p[SEGMENT_ROW_FLAGS_AT] & FLASH_ROW_BAD) != 0 ? SEGMENT_BAD : SEGMENT_FREE;
	s->retiring &= s->state != SEGMENT_BAD;
}

static enum bole_status load_segments(struct flash_volume *v, struct bole_bytes body)
{
	while (body.len != 0) {
		if (body.len < SEGMENTS_ROWS_AT)
			return BOLE_E_CORRUPT;
		uint64_t first = bole_get_le32(body.ptr + SEGMENTS_FIRST_AT);
		uint64_t n = bole_get_le32(body.ptr + SEGMENTS_COUNT_AT);
		if (first + n > v->segments ||
		    n > (body.len - SEGMENTS_ROWS_AT) / SEGMENT_ROW_BYTES)
			return BOLE_E_CORRUPT;
		for (uint64_t i = 0; i < n; i++)
			load_row(v, (uint32_t)(first + i),
			         body.ptr + SEGMENTS_ROWS_AT + i * SEGMENT_ROW_BYTES);
		body.ptr += SEGMENTS_ROWS_AT + n * SEGMENT_ROW_BYTES;
		body.len -= SEGMENTS_ROWS_AT + n * SEGMENT_ROW_BYTES;
	}
	return BOLE_OK;
}

/* What only checkpoints say in this way: an empty name, an empty list. */
static enum bole_status load_change(struct flash_apply *a, const struct flash_record *r)
{
	if (r->kind == FLASH_RECORD_PREPARE && r->body.len == 0)
		return bole_flash_apply_forget(a);
	return bole_flash_apply(a, r, 0, 0);
}

enum bole_status bole_flash_chain_record(struct flash_apply *a, const struct flash_record *r)
{
	switch (r->kind) {
	case FLASH_RECORD_CHAIN: return BOLE_OK; /* seen on the way back, by the same digest */
	case FLASH_RECORD_COUNTERS: return load_counters(a->v, r->body);
	case FLASH_RECORD_SEGMENTS: return load_segments(a->v, r->body);
	case FLASH_RECORD_OBJECT:
	case FLASH_RECORD_AUX:
	case FLASH_RECORD_RESOLVE: return BOLE_E_CORRUPT;
	case FLASH_RECORD_REPO:
	case FLASH_RECORD_REMOVE:
	case FLASH_RECORD_RENAME:
	case FLASH_RECORD_REFS:
	case FLASH_RECORD_AUX_PLACE:
	case FLASH_RECORD_PREPARE: return load_change(a, r);
	case FLASH_RECORD_DROP:
		return (r->flags & FLASH_FLAG_PREPARED) != 0 ? load_change(a, r) : BOLE_E_CORRUPT;
	default: return bole_flash_index_load(a, r);
	}
}

static enum bole_status load_record(struct chain *c, const struct flash_record *r)
{
	if (c->ended)
		return BOLE_E_CORRUPT;
	c->ended = r->kind == FLASH_RECORD_END;
	return c->ended ? BOLE_OK : bole_flash_chain_record(&c->apply, r);
}

/* Takes the whole records at the front of the buffer. */
static enum bole_status load_records(struct chain *c)
{
	struct flash_record r;
	size_t at = 0;

	while (bole_flash_record_parse((struct bole_bytes){c->bytes.ptr + at, c->bytes.len - at},
	                               &r)) {
		BOLE_TRY(load_record(c, &r));
		at += r.bytes;
	}
	if (at != 0)
		memmove(c->bytes.ptr, c->bytes.ptr + at, c->bytes.len - at);
	c->bytes.len -= at;
	return BOLE_OK;
}

static enum bole_status load_element(struct chain *c, uint32_t at)
{
	struct flash_volume *v = c->v;
	const struct flash_element *e = &c->element[at];
	uint64_t total = 0;
	struct flash_sum sum;

	c->ended = false;
	bole_flash_sum_begin(&sum, e->stream);
	for (uint32_t i = 0; i < e->fragments; i++) {
		const struct flash_fragment *f = &e->fragment[i];
		const uint8_t *p = i == 0 ? c->first[at] : NULL;
		if (f->stream == FLASH_FRAGMENT_MAP)
			break;
		if (f->stream != FLASH_FRAGMENT_CHECKPOINT)
			return BOLE_E_CORRUPT;
		if (p == NULL)
			BOLE_TRY(bole_flash_fragment_read(v, e->stream, f, c->buf, &p));
		bole_flash_sum_add(&sum, p, f->length);
		total += f->length;
		bole_buffer_append(&c->bytes, p, f->length);
		BOLE_TRY(c->bytes.rc);
		BOLE_TRY(load_records(c));
		bole_flash_yield(v);
	}
	return c->ended && c->bytes.len == 0 && total == e->bytes &&
	                       bole_flash_sum_end(&sum) == e->digest
	               ? BOLE_OK
	               : BOLE_E_CORRUPT;
}

/* An element's own segments may have been opened after its rows were pinned. */
static void adopt_place(struct flash_volume *v, const struct flash_fragment *f)
{
	struct flash_segment *s = &v->segment[f->segment];

	bole_flash_hold(v, f->segment, bole_flash_fragment_live(f->length));
	if (f->sequence <= s->sequence)
		return;
	s->sequence = f->sequence;
	s->erases += v->dev->info.needs_erase;
	s->changed = true;
}

/* The volume takes the elements over, the base first. */
static enum bole_status adopt(struct chain *c)
{
	struct flash_volume *v = c->v;

	v->bad = 0;
	for (uint32_t i = 0; i < v->segments; i++) {
		v->segment[i].changed = false;
		v->bad += v->segment[i].state == SEGMENT_BAD;
	}
	for (uint32_t i = 0; i < c->elements; i++) {
		struct flash_element *e = &v->element[i];
		*e = c->element[c->elements - 1 - i];
		c->element[c->elements - 1 - i] = (struct flash_element){.fragment = NULL};
		v->base_bytes += e->bytes;
		for (uint32_t n = 0; n < e->fragments; n++)
			adopt_place(v, &e->fragment[n]);
	}
	v->elements = c->elements;
	v->saved = bole_alloc_zeroed(v->alloc, 1, sizeof *v->saved);
	return v->saved == NULL ? BOLE_E_NO_MEMORY : bole_flash_state_take(v, v->saved, true);
}

static enum bole_status load(struct chain *c)
{
	struct flash_volume *v = c->v;

	c->room = bole_flash_fragment_room(v);
	c->buf = bole_alloc_array(v->alloc, c->room, 1);
	if (c->buf == NULL)
		return BOLE_E_NO_MEMORY;
	BOLE_TRY(follow(c));
	for (uint32_t i = c->elements; i > 0; i--)
		BOLE_TRY(load_element(c, i - 1));
	return adopt(c);
}

enum bole_status bole_flash_chain_load(struct flash_volume *v)
{
	struct chain c = {.v = v};

	if (v->anchor.stream == 0)
		return BOLE_OK;
	bole_flash_apply_init(&c.apply, v);
	c.apply.checkpoint = true;
	bole_buffer_init(&c.bytes, v->alloc,
	                 (size_t)v->record_max + 4 * (size_t)FLASH_FRAGMENT_BYTES);
	enum bole_status rc = load(&c);
	bole_buffer_release(&c.bytes);
	bole_flash_apply_release(&c.apply);
	for (uint32_t i = 0; i < c.elements; i++) {
		bole_alloc_free(v->alloc, c.first[i], c.first_bytes[i], 1);
		bole_flash_element_release(v, &c.element[i]);
	}
	bole_alloc_free(v->alloc, c.buf, c.room, 1);
	if (rc == BOLE_E_CORRUPT)
		bole_log(v->platform, BOLE_LOG_ERROR, "%s: the checkpoint is damaged; run fsck",
		         v->dev->info.name);
	if (rc == BOLE_OK && v->anchor.stream >= v->next_extent)
		v->next_extent = v->anchor.stream + 1;
	return rc;
}
