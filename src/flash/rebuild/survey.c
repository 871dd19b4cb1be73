/* SPDX-License-Identifier: ISC */
/* What lies on the device: heads of segments, and fragments of checkpoints. */
#include "flash/rebuild/rebuild.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/log/stream.h"

enum { SURVEY_FIRST_PIECES = 64 };

static enum bole_status read_head(struct rebuild *rb, uint32_t segment, uint8_t *buf)
{
	struct flash_volume *v = rb->v;
	struct rebuild_segment *s = &rb->segment[segment];
	const uint8_t *p;

	enum bole_status rc = bole_flash_read(v, segment, 0, SEGMENT_HEAD_BYTES, buf, &p);
	/* What is free is not refreshed: it decays until it cannot be read. */
	if (rc == BOLE_E_IO || rc == BOLE_E_CORRUPT)
		return BOLE_OK;
	BOLE_TRY(rc);
	s->sequence = bole_get_le64(p + SEGMENT_SEQUENCE_AT);
	s->kind = bole_get_le32(p + SEGMENT_KIND_AT);
	s->erases = bole_get_le32(p + SEGMENT_ERASES_AT);
	s->head =
	        bole_get_le32(p + SEGMENT_MAGIC_AT) == SEGMENT_MAGIC &&
	        bole_get_le32(p + SEGMENT_NUMBER_AT) == segment &&
	        bole_get_le64(p + SEGMENT_CHECKSUM_AT) ==
	                bole_flash_sum(p + SEGMENT_MAGIC_AT, SEGMENT_HEAD_BYTES - SEGMENT_MAGIC_AT,
	                               bole_flash_seed(v->key, segment, s->sequence, 0));
	if (!s->head)
		return BOLE_OK;
	uint64_t planned =
	        s->kind == FLASH_SEGMENT_LOG ? bole_get_le64(p + SEGMENT_NEXT_SEQUENCE_AT) : 0;
	uint64_t highest = planned > s->sequence ? planned : s->sequence;
	if (highest >> 32 > v->opened)
		v->opened = (uint32_t)(highest >> 32);
	return BOLE_OK;
}

static enum bole_status add_piece(struct rebuild *rb, uint64_t stream,
                                  const struct flash_fragment *f)
{
	if (rb->pieces == rb->pieces_cap) {
		uint32_t cap = rb->pieces_cap == 0 ? SURVEY_FIRST_PIECES : rb->pieces_cap * 2;
		void *list = bole_alloc_resize(rb->v->alloc, rb->piece, rb->pieces_cap, cap,
		                               sizeof *rb->piece);
		if (list == NULL)
			return BOLE_E_NO_MEMORY;
		rb->piece = list;
		rb->pieces_cap = cap;
	}
	rb->piece[rb->pieces++] = (struct rebuild_piece){stream, *f};
	if (stream > rb->extent_max && stream >> 60 == 0)
		rb->extent_max = stream;
	return BOLE_OK;
}

/* The fragment that starts at a place, if one that verifies does; *bytes it is long. */
static enum bole_status piece_at(struct rebuild *rb, uint32_t segment, uint32_t offset,
                                 const uint8_t *p, uint32_t *bytes)
{
	struct flash_volume *v = rb->v;
	uint64_t sequence = rb->segment[segment].sequence;
	struct flash_record r;

	*bytes = 0;
	if (!bole_flash_record_parse((struct bole_bytes){p, v->segment_bytes - offset}, &r) ||
	    r.kind < FLASH_FRAGMENT_DATA || r.key.len != 0 || r.body.len < FRAGMENT_HEAD_BYTES ||
	    !bole_flash_record_verify(p, &r, bole_flash_seed(v->key, segment, sequence, offset)))
		return BOLE_OK;
	*bytes = r.bytes;
	if (r.kind != FLASH_FRAGMENT_CHECKPOINT || r.body.len == FRAGMENT_HEAD_BYTES)
		return BOLE_OK;
	struct flash_fragment f = {
	        .logical = bole_get_le64(r.body.ptr + FRAGMENT_LOGICAL_AT),
	        .sequence = sequence,
	        .checksum = r.checksum,
	        .segment = segment,
	        .offset = offset,
	        .length = (uint32_t)(r.body.len - FRAGMENT_HEAD_BYTES),
	        .stream = r.kind,
	};
	return add_piece(rb, bole_get_le64(r.body.ptr + FRAGMENT_EXTENT_AT), &f);
}

static enum bole_status read_pieces(struct rebuild *rb, uint32_t segment, uint8_t *buf)
{
	struct flash_volume *v = rb->v;
	const uint8_t *p;
	uint32_t bytes;

	enum bole_status rc = bole_flash_read(v, segment, 0, v->segment_bytes, buf, &p);
	if (rc == BOLE_E_IO || rc == BOLE_E_CORRUPT)
		return BOLE_OK;
	BOLE_TRY(rc);
	for (uint32_t at = SEGMENT_HEAD_BYTES; at + RECORD_HEAD_BYTES <= v->segment_bytes;) {
		BOLE_TRY(piece_at(rb, segment, at, p + at, &bytes));
		at = (uint32_t)bole_round_up((uint64_t)at + (bytes == 0 ? 1 : bytes), v->unit);
	}
	return BOLE_OK;
}

static int order_pieces(const void *a, const void *b)
{
	const struct rebuild_piece *x = a;
	const struct rebuild_piece *y = b;

	if (x->stream != y->stream)
		return x->stream < y->stream ? -1 : 1;
	return x->f.logical < y->f.logical ? -1 : x->f.logical > y->f.logical;
}

enum bole_status bole_flash_rebuild_survey(struct rebuild *rb)
{
	struct flash_volume *v = rb->v;
	size_t room = v->segment_bytes + bole_flash_read_slack(v);
	uint8_t *buf = bole_alloc_array(v->alloc, room, 1);
	enum bole_status rc = buf == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;

	rb->segment = bole_alloc_zeroed(v->alloc, v->segments, sizeof *rb->segment);
	if (rb->segment == NULL)
		rc = BOLE_E_NO_MEMORY;
	for (uint32_t i = 0; i < v->segments && rc == BOLE_OK; i++) {
		if (v->segment[i].state != SEGMENT_BAD)
			rc = read_head(rb, i, buf);
		if (rc == BOLE_OK && rb->segment[i].head &&
		    rb->segment[i].kind == FLASH_SEGMENT_CHECKPOINT)
			rc = read_pieces(rb, i, buf);
		bole_flash_yield(v);
	}
	bole_alloc_free(v->alloc, buf, room, 1);
	if (rb->pieces != 0)
		qsort(rb->piece, rb->pieces, sizeof *rb->piece, order_pieces);
	return rc;
}

void bole_flash_rebuild_survey_end(struct rebuild *rb)
{
	struct flash_volume *v = rb->v;

	bole_alloc_free(v->alloc, rb->segment, v->segments, sizeof *rb->segment);
	bole_alloc_free(v->alloc, rb->piece, rb->pieces_cap, sizeof *rb->piece);
}
