/* SPDX-License-Identifier: ISC */
#include "flash/log/stream.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/log/record.h"
#include "flash/log/tx.h"
#include "flash/volume/open.h"

enum {
	FRAGMENT_OVERHEAD = RECORD_HEAD_BYTES + FRAGMENT_HEAD_BYTES,
	STREAM_FIRST_FRAGMENTS = 8,
	FRAGMENT_TRIES = 2,
};

uint64_t bole_flash_fragment_live(uint32_t length)
{
	return (uint64_t)length + FRAGMENT_OVERHEAD;
}

void bole_flash_fragments_change(struct flash_volume *v, const struct flash_fragment *fragment,
                                 uint32_t count, enum flash_change change, bool locked)
{
	if (!locked)
		bole_flash_lock(v);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t bytes = bole_flash_fragment_live(fragment[i].length);
		uint32_t segment = fragment[i].segment;
		if (segment == SEGMENT_NONE)
			continue; /* a hole */
		if (change == FLASH_HELD_PUBLISHED) {
			v->segment[segment].published = true;
			bole_flash_live_add(v, segment, bytes);
		}
		if (change == FLASH_LIVE_DROPPED)
			bole_flash_live_sub(v, segment, bytes);
		else
			bole_flash_hold_end(v, segment, bytes);
	}
	if (!locked)
		bole_flash_unlock(v);
}

void bole_flash_stream_init(struct flash_stream *s, struct flash_volume *v, uint64_t extent,
                            uint32_t owner, enum flash_segment_kind kind,
                            enum flash_purpose purpose)
{
	*s = (struct flash_stream){
	        .v = v,
	        .extent = extent,
	        .owner = owner,
	        .purpose = purpose,
	        .open = {.segment = SEGMENT_NONE,
	                 .kind = (uint32_t)kind,
	                 .cold = kind == FLASH_SEGMENT_DATA},
	};
}

static size_t buffer_bytes(const struct flash_volume *v)
{
	return (size_t)v->fragment_bytes + SEGMENT_HEAD_BYTES + v->unit;
}

/* Payload that a fragment starting at pos of the open segment could take. */
static uint32_t room_at(const struct flash_volume *v, const struct flash_open *open)
{
	uint32_t start = open->pos == 0 ? SEGMENT_HEAD_BYTES : open->pos;
	uint32_t end = open->pos + v->fragment_bytes;

	if (end > v->segment_bytes)
		end = v->segment_bytes;
	return end < start + FRAGMENT_OVERHEAD + v->unit / 2 ? 0 : end - start - FRAGMENT_OVERHEAD;
}

/* Finds a place for the next fragment, so that its capacity is known before it is filled. */
static enum bole_status begin_fragment(struct flash_stream *s)
{
	struct flash_volume *v = s->v;

	if (s->buf == NULL)
		s->buf = bole_alloc_array(v->alloc, buffer_bytes(v), 1);
	if (s->buf == NULL)
		return BOLE_E_NO_MEMORY;
	if (s->fragments == s->fragments_cap) {
		uint32_t cap =
		        s->fragments_cap == 0 ? STREAM_FIRST_FRAGMENTS : s->fragments_cap * 2;
		void *p = bole_alloc_resize(v->alloc, s->fragment, s->fragments_cap, cap,
		                            sizeof *s->fragment);
		if (p == NULL)
			return BOLE_E_NO_MEMORY;
		s->fragment = p;
		s->fragments_cap = cap;
	}
	for (;;) {
		if (s->open.segment == SEGMENT_NONE)
			BOLE_TRY(bole_flash_open_take(v, &s->open, s->purpose));
		s->cap = room_at(v, &s->open);
		if (s->cap != 0)
			break;
		bole_flash_open_close(v, &s->open);
	}
	s->len = 0;
	return BOLE_OK;
}

/* Programs the buffered fragment where the stream stands; *f is what it became. */
static enum bole_status write_fragment(struct flash_stream *s, struct flash_fragment *f)
{
	struct flash_volume *v = s->v;
	struct flash_open *open = &s->open;
	uint8_t *record = s->buf + SEGMENT_HEAD_BYTES;
	uint32_t offset = open->pos == 0 ? SEGMENT_HEAD_BYTES : open->pos;
	uint32_t bytes = FRAGMENT_OVERHEAD + s->len;
	uint32_t end = (uint32_t)bole_round_up((uint64_t)offset + bytes, v->unit);
	uint64_t seed = bole_flash_seed(v->key, open->segment, open->sequence, offset);
	uint8_t *from = record;

	*f = (struct flash_fragment){
	        .logical = s->logical,
	        .sequence = open->sequence,
	        .checksum = bole_flash_record_seal(record, bytes, seed),
	        .segment = open->segment,
	        .offset = offset,
	        .length = s->len,
	        .stream = s->kind,
	};
	memset(record + bytes, 0, end - offset - bytes);
	bole_flash_lock(v);
	if (open->pos == 0) {
		from = s->buf;
		bole_flash_segment_head(v, open->segment, open->sequence,
		                        (enum flash_segment_kind)open->kind, s->buf);
	}
	bole_flash_hold(v, open->segment, bole_flash_fragment_live(s->len));
	v->segment[open->segment].parts = true;
	bole_flash_unlock(v);
	enum bole_status rc =
	        bole_flash_program(v, open->segment, open->pos, from, end - open->pos);
	open->pos = end;
	if (rc == BOLE_OK)
		return BOLE_OK;
	bole_flash_lock(v);
	bole_flash_hold_end(v, open->segment, bole_flash_fragment_live(s->len));
	bole_flash_unlock(v);
	return rc;
}

enum bole_status bole_flash_stream_end(struct flash_stream *s)
{
	struct flash_volume *v = s->v;
	struct flash_record head = {
	        .kind = (uint8_t)s->kind,
	        .owner = s->owner,
	        .body = {NULL, (size_t)FRAGMENT_HEAD_BYTES + s->len},
	};

	if (s->cap == 0 || s->len == 0)
		return BOLE_OK;
	uint8_t *record = s->buf + SEGMENT_HEAD_BYTES;
	bole_flash_record_head(record, &head);
	bole_put_le64(record + RECORD_HEAD_BYTES + FRAGMENT_EXTENT_AT, s->extent);
	bole_put_le64(record + RECORD_HEAD_BYTES + FRAGMENT_LOGICAL_AT, s->logical);
	struct flash_fragment *f = &s->fragment[s->fragments];
	enum bole_status rc = write_fragment(s, f);
	/* A bad block: the same once more, elsewhere. */
	while (rc == BOLE_E_IO && !atomic_load(&v->failed)) {
		bole_flash_open_close(v, &s->open);
		rc = bole_flash_open_new(v, &s->open, s->purpose);
		if (rc == BOLE_OK)
			rc = write_fragment(s, f);
	}
	s->fragments += rc == BOLE_OK;
	s->logical += s->len;
	s->len = 0;
	s->cap = 0;
	return rc;
}

enum bole_status bole_flash_stream_select(struct flash_stream *s, uint32_t kind)
{
	BOLE_TRY(bole_flash_stream_end(s));
	s->cap = 0;
	s->kind = kind;
	s->logical = 0;
	return BOLE_OK;
}

enum bole_status bole_flash_stream_append(struct flash_stream *s, const void *src, size_t len)
{
	const uint8_t *p = src;

	while (len > 0) {
		if (s->cap == 0)
			BOLE_TRY(begin_fragment(s));
		size_t n = s->cap - s->len < len ? s->cap - s->len : len;
		memcpy(s->buf + SEGMENT_HEAD_BYTES + FRAGMENT_OVERHEAD + s->len, p, n);
		s->len += (uint32_t)n;
		p += n;
		len -= n;
		if (s->len == s->cap)
			BOLE_TRY(bole_flash_stream_end(s));
	}
	return BOLE_OK;
}

void bole_flash_stream_close(struct flash_stream *s)
{
	bool useful = s->open.segment != SEGMENT_NONE && room_at(s->v, &s->open) != 0;
	bole_flash_open_give(s->v, &s->open, useful);
	if (s->buf != NULL)
		bole_alloc_free(s->v->alloc, s->buf, buffer_bytes(s->v), 1);
	s->buf = NULL;
	s->cap = 0;
	s->len = 0;
}

void bole_flash_stream_release(struct flash_stream *s, bool keep)
{
	if (s->v == NULL)
		return;
	if (!keep && s->fragments != 0)
		bole_flash_fragments_change(s->v, s->fragment, s->fragments, FLASH_HELD_DROPPED,
		                            false);
	bole_flash_stream_close(s);
	bole_alloc_free(s->v->alloc, s->fragment, s->fragments_cap, sizeof *s->fragment);
	s->fragment = NULL;
	s->fragments = 0;
	s->fragments_cap = 0;
}

/* -- Reading -- */

size_t bole_flash_fragment_room(const struct flash_volume *v)
{
	return (size_t)v->fragment_bytes + bole_flash_read_slack(v);
}

bool bole_flash_fragment_verify(const struct flash_volume *v, uint64_t extent,
                                const struct flash_fragment *f, const uint8_t *record)
{
	struct flash_record r;
	struct bole_bytes bytes = {record, (size_t)FRAGMENT_OVERHEAD + f->length};

	if (!bole_flash_record_parse(bytes, &r) || r.bytes != bytes.len || r.key.len != 0 ||
	    r.kind != f->stream || r.checksum != f->checksum ||
	    bole_get_le64(r.body.ptr + FRAGMENT_EXTENT_AT) != extent ||
	    bole_get_le64(r.body.ptr + FRAGMENT_LOGICAL_AT) != f->logical)
		return false;
	return bole_flash_record_verify(
	        record, &r, bole_flash_seed(v->key, f->segment, f->sequence, f->offset));
}

enum bole_status bole_flash_fragment_read(struct flash_volume *v, uint64_t extent,
                                          const struct flash_fragment *f, uint8_t *buf,
                                          const uint8_t **payload)
{
	const uint8_t *record;

	if (f->segment >= v->segments || f->length > v->fragment_bytes - FRAGMENT_OVERHEAD ||
	    !bole_in_bounds(f->offset, (uint64_t)FRAGMENT_OVERHEAD + f->length, v->segment_bytes))
		return BOLE_E_CORRUPT;
	bool good = false;
	/* Once more before it is believed: a mount gives up what a damaged map named. */
	for (unsigned tries = 0; tries < FRAGMENT_TRIES && !good; tries++) {
		BOLE_TRY(bole_flash_read(v, f->segment, f->offset,
		                         (size_t)FRAGMENT_OVERHEAD + f->length, buf, &record));
		good = bole_flash_fragment_verify(v, extent, f, record);
	}
	if (!good) {
		bole_log(v->platform, BOLE_LOG_ERROR,
		         "%s: fragment of extent %llu at segment %u offset %u is damaged",
		         v->dev->info.name, (unsigned long long)extent, f->segment, f->offset);
		return BOLE_E_CORRUPT;
	}
	*payload = record + FRAGMENT_OVERHEAD;
	return BOLE_OK;
}
