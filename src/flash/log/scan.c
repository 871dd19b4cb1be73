/* SPDX-License-Identifier: ISC */
/* Reading the log from where the anchor says. Batch after batch must carry the next sequence, the
 * link of the one before and a right digest; at the end of a segment the log goes on in the one
 * that the segment's head names. Where that stops, valid trailers further on decide: if one of them
 * says that what is bad had been flushed, it is corruption, else a torn tail. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/log/batch.h"
#include "flash/log/scan.h"
#include "flash/rebuild/rebuild.h"

enum {
	SCAN_BYTES = 1 << 20,
	SCAN_STEP = 128 << 10,
	SCAN_FIRST = 8 << 10,
	SCAN_KEEP_BYTES = 8 << 20, /* of batches in memory, where there is no limit */
	SCAN_KEEP_SHARE = 4,
	SCAN_FIRST_BATCHES = 64,
	SCAN_TRIES = 3,
	SCAN_ERASED = 0xff
};

void bole_flash_log_scan_release(struct flash_log_scan *s)
{
	bole_alloc_free(s->v->alloc, s->buf, s->buf_cap, 1);
	bole_alloc_free(s->v->alloc, s->batch, s->cap, sizeof *s->batch);
	while (s->copies != NULL) {
		struct flash_batch_copy *next = s->copies->next;
		bole_alloc_free(s->v->alloc, s->copies, s->copies->bytes, 1);
		s->copies = next;
	}
	s->buf = NULL;
	s->batch = NULL;
}

/* Shows the segment from offset on: at least `least` bytes unless it ends before. */
enum bole_status bole_flash_scan_show(struct flash_log_scan *s, uint32_t segment, uint32_t offset,
                                      uint32_t least, struct bole_bytes *out)
{
	struct flash_volume *v = s->v;
	uint32_t rest = v->segment_bytes - offset;
	const uint8_t *p;

	if (least > rest)
		least = rest;
	if (s->buf_len == 0 || s->buf_segment != segment || offset < s->buf_from ||
	    !bole_in_bounds(offset - s->buf_from, least, s->buf_len)) {
		/* The log may end after a page, or fill the segment: each read is longer. */
		s->step = s->buf_segment != segment || s->step == 0 ? SCAN_FIRST
		          : s->step < SCAN_STEP                     ? 2 * s->step
		                                                    : SCAN_STEP;
		uint32_t want = least < s->step ? s->step : least;
		if (want > rest)
			want = rest;
		s->buf_len = 0;
		s->shown = 0;
		BOLE_TRY(bole_flash_read(v, segment, offset, want, s->buf, &p));
		if (p != s->buf)
			memmove(s->buf, p, want);
		s->buf_segment = segment;
		s->buf_from = offset;
		s->buf_len = want;
	}
	*out = (struct bole_bytes){s->buf + (offset - s->buf_from),
	                           s->buf_from + s->buf_len - offset};
	return BOLE_OK;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* A trailer that verifies by itself. */
bool bole_flash_scan_trailer(const struct flash_volume *v, uint32_t segment, uint64_t sequence,
                             uint32_t at, const uint8_t *p, struct flash_trailer *out)
{
	if (bole_get_le32(p + TRAILER_MAGIC_AT) != TRAILER_MAGIC)
		return false;
	*out = (struct flash_trailer){
	        .flags = bole_get_le32(p + TRAILER_FLAGS_AT),
	        .bytes = bole_get_le32(p + TRAILER_BYTES_AT),
	        .records = bole_get_le32(p + TRAILER_RECORDS_AT),
	        .sequence = bole_get_le64(p + TRAILER_SEQUENCE_AT),
	        .durable = bole_get_le64(p + TRAILER_DURABLE_AT),
	        .chain = bole_get_le64(p + TRAILER_CHAIN_AT),
	        .digest = bole_get_le64(p + TRAILER_DIGEST_AT),
	        .link = bole_get_le64(p + TRAILER_LINK_AT),
	};
	return bole_flash_sum(p, TRAILER_LINK_AT, bole_flash_seed(v->key, segment, sequence, at)) ==
	       out->link;
}

/* A batch that was written after a checkpoint whose anchor is nowhere to be found. */
static void note_anchor(struct flash_log_scan *s, const struct flash_trailer *t)
{
	const struct flash_volume *v = s->v;
	uint32_t newest = v->repair == NULL ? v->anchor.checkpoint : v->repair->newest.checkpoint;
	uint32_t after = t->flags >> FLASH_BATCH_AFTER_SHIFT;
	uint32_t ahead = (after - newest) & FLASH_BATCH_AFTER_MASK;

	if (after == 0 || ahead == 0 || ahead > FLASH_BATCH_AFTER_MASK / 2)
		return;
	s->ahead = ahead > s->ahead ? ahead : s->ahead;
	s->ahead_last = larger(s->ahead_last, t->sequence);
}

enum parse { PARSE_OK, PARSE_SHORT, PARSE_BAD };

/* Walks the records that start at offset and checks the batch as a whole. SHORT: the bytes end
 * before the batch does. */
static enum parse parse_batch(const struct flash_volume *v, uint32_t segment, uint64_t sequence,
                              uint32_t offset, struct bole_bytes bytes, struct flash_trailer *t)
{
	uint32_t pos = offset;
	uint32_t records = 0;

	for (;;) {
		uint32_t at = bole_flash_trailer_at(v->unit, pos);
		const uint8_t *p = bytes.ptr + (pos - offset);
		if (at + TRAILER_BYTES > v->segment_bytes)
			return PARSE_BAD;
		if (at + TRAILER_BYTES - offset > bytes.len)
			return PARSE_SHORT;
		bool end = at - pos < RECORD_HEAD_BYTES || p[RECORD_KIND_AT] == 0;
		if (end &&
		    bole_flash_scan_trailer(v, segment, sequence, at, bytes.ptr + (at - offset),
		                            t) &&
		    t->bytes == at + TRAILER_BYTES - offset) {
			uint64_t seed = bole_flash_seed(v->key, segment, sequence, offset);
			return t->records == records && bole_flash_sum(bytes.ptr, at - offset,
			                                               seed) == t->digest
			               ? PARSE_OK
			               : PARSE_BAD;
		}
		struct flash_record r;
		struct bole_bytes rest = {p, bytes.len - (pos - offset)};
		if (!bole_flash_record_parse(rest, &r)) {
			uint64_t need = rest.len < RECORD_HEAD_BYTES || p[RECORD_KIND_AT] == 0
			                        ? 0
			                        : (uint64_t)RECORD_HEAD_BYTES +
			                                  p[RECORD_KEY_BYTES_AT] +
			                                  bole_get_le32(p + RECORD_BODY_BYTES_AT);
			return need > rest.len && need <= v->segment_bytes - pos ? PARSE_SHORT
			                                                         : PARSE_BAD;
		}
		pos += r.bytes;
		records++;
	}
}

static const uint8_t *copy_batch(struct flash_log_scan *s, const uint8_t *bytes, size_t len)
{
	size_t size = sizeof(struct flash_batch_copy) + len;
	struct flash_batch_copy *copy = bole_alloc_array(s->v->alloc, size, 1);

	if (copy == NULL)
		return NULL;
	copy->next = s->copies;
	copy->bytes = size;
	memcpy(copy->data, bytes, len);
	s->copies = copy;
	return copy->data;
}

/* Batches are kept for replay while there is memory, so that the log is read once. */
enum bole_status bole_flash_scan_keep(struct flash_log_scan *s, const struct flash_trailer *t,
                                      const uint8_t *bytes)
{
	const uint8_t *copy = NULL;

	if (s->batches == s->cap) {
		uint32_t cap = s->cap == 0 ? SCAN_FIRST_BATCHES : s->cap * 2;
		void *list =
		        bole_alloc_resize(s->v->alloc, s->batch, s->cap, cap, sizeof *s->batch);
		if (list == NULL)
			return BOLE_E_NO_MEMORY;
		s->batch = list;
		s->cap = cap;
	}
	if (s->kept + t->bytes <= s->keep_max)
		copy = copy_batch(s, bytes, t->bytes);
	s->kept += copy != NULL ? t->bytes : 0;
	s->batch[s->batches++] = (struct flash_batch_at){
	        .copy = copy,
	        .sequence = t->sequence,
	        .segment_sequence = s->segment_sequence,
	        .durable = t->durable,
	        .link = t->link,
	        .segment = s->segment,
	        .offset = s->pos,
	        .bytes = t->bytes,
	        .records = t->records,
	        .flags = t->flags,
	        .next = s->next,
	        .next_sequence = s->next_sequence,
	};
	s->pos += t->bytes;
	s->expect = t->sequence + 1;
	s->link = t->link;
	if (t->durable > s->durable)
		s->durable = t->durable;
	if (s->durable > s->seen_durable)
		s->seen_durable = s->durable;
	return BOLE_OK;
}

/* Accepts the batches from the position on, to the first one that is not next. */
enum bole_status bole_flash_scan_follow(struct flash_log_scan *s)
{
	static const uint32_t least[] = {1, 2 * SCAN_FIRST, SCAN_STEP, SCAN_BYTES};
	struct flash_volume *v = s->v;
	struct bole_bytes bytes;
	struct flash_trailer t;

	while (s->pos + TRAILER_BYTES <= v->segment_bytes) {
		enum parse got = PARSE_SHORT;
		/* Most batches are short and lie in what was read for the one before. */
		for (size_t i = 0; got == PARSE_SHORT && i < 4; i++) {
			BOLE_TRY(bole_flash_scan_show(s, s->segment, s->pos, least[i], &bytes));
			got = parse_batch(v, s->segment, s->segment_sequence, s->pos, bytes, &t);
		}
		if (got != PARSE_OK || t.sequence != s->expect || t.chain != s->link ||
		    t.durable >= t.sequence)
			return BOLE_OK;
		note_anchor(s, &t);
		if ((t.flags & FLASH_BATCH_CONFIRM) != 0) {
			/* No part of the log: it goes on in its place. */
			s->sealed = true;
			s->durable = t.durable;
			s->seen_durable = larger(s->seen_durable, t.durable);
			return BOLE_OK;
		}
		s->sealed = false;
		BOLE_TRY(bole_flash_scan_keep(s, &t, bytes.ptr));
	}
	return BOLE_OK;
}

/* The head of a segment, if it is one of a log. */
enum bole_status bole_flash_scan_head(struct flash_log_scan *s, uint32_t segment,
                                      struct flash_log_head *h)
{
	struct flash_volume *v = s->v;
	size_t cap = SEGMENT_HEAD_BYTES + bole_flash_read_slack(v);
	const uint8_t *p;

	/* The scan's own buffer: the head is looked at between segments. */
	BOLE_ASSERT(cap <= s->buf_cap);
	s->buf_len = 0;
	BOLE_TRY(bole_flash_read(v, segment, 0, SEGMENT_HEAD_BYTES, s->buf, &p));
	*h = (struct flash_log_head){
	        .sequence = bole_get_le64(p + SEGMENT_SEQUENCE_AT),
	        .next_sequence = bole_get_le64(p + SEGMENT_NEXT_SEQUENCE_AT),
	        .batch = bole_get_le64(p + SEGMENT_BATCH_AT),
	        .link = bole_get_le64(p + SEGMENT_LINK_AT),
	        .next = bole_get_le32(p + SEGMENT_NEXT_AT),
	};
	h->ok = bole_get_le32(p + SEGMENT_MAGIC_AT) == SEGMENT_MAGIC &&
	        bole_get_le32(p + SEGMENT_NUMBER_AT) == segment &&
	        bole_get_le32(p + SEGMENT_KIND_AT) == FLASH_SEGMENT_LOG && h->next < v->segments &&
	        h->next != segment &&
	        bole_get_le64(p + SEGMENT_CHECKSUM_AT) ==
	                bole_flash_sum(p + SEGMENT_MAGIC_AT, SEGMENT_HEAD_BYTES - SEGMENT_MAGIC_AT,
	                               bole_flash_seed(v->key, segment, h->sequence, 0));
	return BOLE_OK;
}

bool bole_flash_scan_later(const struct flash_volume *v, const struct flash_log_head *h)
{
	const struct flash_anchor *a = &v->anchor;
	uint64_t planned = a->log_offset == 0 ? a->log_sequence : a->log_next_sequence;

	return h->ok && (h->sequence == planned || h->sequence >> 32 > planned >> 32);
}

enum bole_status bole_flash_scan_enter(struct flash_log_scan *s, uint32_t segment, bool *entered)
{
	uint32_t was = s->batches;
	uint32_t was_segment = s->segment;
	uint32_t was_pos = s->pos;
	uint32_t was_next = s->next;
	uint64_t was_sequence = s->segment_sequence;
	uint64_t was_next_sequence = s->next_sequence;
	struct flash_log_head h;

	BOLE_TRY(bole_flash_scan_head(s, segment, &h));
	*entered = h.ok && h.batch == s->expect && h.link == s->link;
	if (!*entered)
		return BOLE_OK;
	s->segment = segment;
	s->segment_sequence = h.sequence;
	s->next = h.next;
	s->next_sequence = h.next_sequence;
	s->pos = SEGMENT_HEAD_BYTES;
	BOLE_TRY(bole_flash_scan_follow(s));
	if (s->batches == was) {
		/* A head without a batch: the segment will be opened again. */
		s->segment = was_segment;
		s->segment_sequence = was_sequence;
		s->next = was_next;
		s->next_sequence = was_next_sequence;
		s->pos = was_pos;
		s->confirmed_ahead = s->sealed;
		*entered = false;
		return BOLE_OK;
	}
	if (h.sequence >> 32 > s->opened)
		s->opened = (uint32_t)(h.sequence >> 32);
	if (h.next_sequence >> 32 > s->opened)
		s->opened = (uint32_t)(h.next_sequence >> 32);
	return BOLE_OK;
}

/* Trailers behind the end, in one segment. */
static enum bole_status look_behind(struct flash_log_scan *s, uint32_t segment, uint64_t sequence,
                                    uint32_t from)
{
	struct flash_volume *v = s->v;
	struct bole_bytes bytes;
	struct flash_trailer t;

	for (uint64_t end = bole_round_up((uint64_t)from + TRAILER_BYTES, v->unit);
	     end <= v->segment_bytes; end += v->unit) {
		uint32_t at = (uint32_t)end - TRAILER_BYTES;
		BOLE_TRY(bole_flash_scan_show(s, segment, at, TRAILER_BYTES, &bytes));
		if (bole_flash_scan_trailer(v, segment, sequence, at, bytes.ptr, &t) &&
		    t.sequence >= s->expect) {
			s->behind = true;
			s->seen_durable = larger(s->seen_durable, t.durable);
			note_anchor(s, &t);
			/* What was dropped behind a seal must never be found again. */
			s->sealed &= t.sequence == s->expect;
		}
	}
	return BOLE_OK;
}

/* A seal does not count when something was begun in the next segment: it may read right the next
 * time. */
static enum bole_status look_ahead(struct flash_log_scan *s)
{
	const uint8_t *p;

	s->buf_len = 0;
	BOLE_TRY(bole_flash_read(s->v, s->next, 0, SEGMENT_HEAD_BYTES, s->buf, &p));
	for (uint32_t i = 0; i < SEGMENT_HEAD_BYTES; i++)
		s->sealed &= p[i] == SCAN_ERASED;
	return BOLE_OK;
}

/* An anchor in doubt may hide that there was a newer one, which told of another place of the log.
 * Batches were written there after it was durable, never before. A head that is damaged hides where
 * the log went on. */
enum bole_status bole_flash_scan_heads(struct flash_log_scan *s)
{
	struct flash_volume *v = s->v;

	for (uint32_t i = 0; i < v->segments; i++) {
		struct flash_log_head h;
		if (v->segment[i].state == SEGMENT_BAD)
			continue;
		enum bole_status rc = bole_flash_scan_head(s, i, &h);
		/* What is free is not refreshed: it decays until it cannot be read. */
		if (rc == BOLE_E_IO)
			continue;
		BOLE_TRY(rc);
		if (!h.ok)
			continue;
		s->opened = (uint32_t)larger(s->opened, larger(h.sequence, h.next_sequence) >> 32);
		if (bole_flash_scan_later(v, &h) && h.batch >= s->expect)
			BOLE_TRY(look_behind(s, i, h.sequence, SEGMENT_HEAD_BYTES));
	}
	return BOLE_OK;
}

static enum bole_status judge(struct flash_log_scan *s)
{
	struct flash_volume *v = s->v;
	uint32_t segment = s->next;
	uint64_t last = s->segment_sequence;
	uint64_t planned = s->next_sequence;
	bool beheaded = false;

	/* Raw flash goes on in another segment once a seal was confirmed. */
	if (s->pos != 0 && !(s->sealed && v->dev->info.needs_erase))
		BOLE_TRY(look_behind(s, s->segment, s->segment_sequence, s->pos));
	/* Later segments of the same life: their heads name later batches. */
	for (uint32_t n = 0; n < v->segments; n++) {
		struct flash_log_head h;
		BOLE_TRY(bole_flash_scan_head(s, segment, &h));
		/* Without a head that verifies, the one before tells what it was to be. */
		s->behind = false;
		BOLE_TRY(look_behind(s, segment, h.ok ? h.sequence : planned, SEGMENT_HEAD_BYTES));
		beheaded = !h.ok && s->behind;
		if (!h.ok || h.batch < s->expect || h.sequence >> 32 <= last >> 32)
			break;
		segment = h.next;
		last = h.sequence;
		planned = h.next_sequence;
	}
	if (v->anchor_place.doubt || beheaded)
		BOLE_TRY(bole_flash_scan_heads(s));
	if (s->sealed && !s->confirmed_ahead && v->dev->info.needs_erase)
		BOLE_TRY(look_ahead(s));
	if (s->seen_durable >= s->expect) {
		bole_log(v->platform, BOLE_LOG_ERROR,
		         "%s: batch %llu in segment %u at offset %u is damaged, although batch "
		         "%llu was durable: not a power cut; run fsck",
		         v->dev->info.name, (unsigned long long)s->expect, s->segment, s->pos,
		         (unsigned long long)s->seen_durable);
		return BOLE_E_CORRUPT;
	}
	if (s->ahead != 0) {
		bole_log(
		        v->platform, BOLE_LOG_ERROR,
		        "%s: the anchors of the newest %u checkpoints are lost, although they were "
		        "durable: not a power cut; run fsck",
		        v->dev->info.name, s->ahead);
		return v->anchor_place.unread ? BOLE_E_IO : BOLE_E_CORRUPT;
	}
	return BOLE_OK;
}

/* From the position to where the log ends. The end is looked at again with fresh eyes: to take one
 * wrong read for it would lose what was acknowledged. */
enum bole_status bole_flash_scan_walk(struct flash_log_scan *s)
{
	uint32_t before;

	do {
		bool entered = true;
		before = s->batches;
		s->buf_len = 0;
		s->step = 0;
		if (s->pos != 0)
			BOLE_TRY(bole_flash_scan_follow(s));
		for (uint32_t n = 0; n < s->v->segments && entered; n++)
			BOLE_TRY(bole_flash_scan_enter(s, s->next, &entered));
	} while (s->batches != before);
	return BOLE_OK;
}

/* From an older anchor, the log goes on where the newest one says, whoever names that place. */
static enum bole_status go_on(struct flash_log_scan *s, const struct flash_anchor *newest)
{
	/* A log that could not be written goes on elsewhere, under the same number. */
	for (uint32_t i = 0; i < s->batches; i++) {
		const struct flash_batch_at *b = &s->batch[i];
		if (b->sequence != newest->batch)
			continue;
		if (b->segment_sequence == newest->log_sequence ||
		    (newest->log_offset != 0 && b->segment_sequence == newest->log_next_sequence))
			return BOLE_OK;
		s->batches = i;
		s->expect = newest->batch;
		s->link = i == 0 ? s->v->anchor.link : s->batch[i - 1].link;
	}
	if (s->expect != newest->batch || s->link != newest->link)
		return BOLE_E_CORRUPT;
	s->segment = newest->log_segment;
	s->pos = newest->log_offset;
	s->segment_sequence = newest->log_sequence;
	s->next = s->pos == 0 ? newest->log_segment : newest->log_next;
	s->next_sequence = s->pos == 0 ? newest->log_sequence : newest->log_next_sequence;
	return bole_flash_scan_walk(s);
}

enum bole_status bole_flash_log_scan(struct flash_log_scan *s, struct flash_volume *v)
{
	const struct flash_anchor *a = &v->anchor;

	*s = (struct flash_log_scan){
	        .v = v,
	        .segment = a->log_segment,
	        .pos = a->log_offset,
	        .segment_sequence = a->log_sequence,
	        .next = a->log_offset == 0 ? a->log_segment : a->log_next,
	        .next_sequence = a->log_offset == 0 ? a->log_sequence : a->log_next_sequence,
	        .expect = a->batch,
	        .link = a->link,
	        .opened = a->opened,
	};
	s->keep_max =
	        v->budget.limit == SIZE_MAX ? SCAN_KEEP_BYTES : v->budget.limit / SCAN_KEEP_SHARE;
	/* What the checkpoint covers is durable. */
	s->durable = a->batch - 1;
	s->seen_durable = s->durable;
	s->buf_cap = (v->segment_bytes < SCAN_BYTES ? v->segment_bytes : SCAN_BYTES) +
	             bole_flash_read_slack(v);
	s->buf = bole_alloc_array(v->alloc, s->buf_cap, 1);
	if (s->buf == NULL)
		return BOLE_E_NO_MEMORY;
	if (v->repair != NULL && v->repair->archive != NULL)
		return bole_flash_archive_scan(s);
	enum bole_status rc = bole_flash_scan_walk(s);
	if (rc == BOLE_OK && v->repair != NULL && v->repair->newest.generation != a->generation)
		rc = go_on(s, &v->repair->newest);
	if (rc == BOLE_OK)
		rc = judge(s);
	return rc == BOLE_E_CORRUPT && v->salvage ? bole_flash_log_salvage(s) : rc;
}

/* Shows a batch that was accepted. It is verified whole whenever it was read again: other bytes
 * than before must not pass for a shorter batch. */
static enum bole_status show_batch(struct flash_log_scan *s, const struct flash_batch_at *b,
                                   struct bole_bytes *out)
{
	struct flash_trailer t;

	*out = (struct bole_bytes){b->copy, b->bytes};
	if (b->copy != NULL)
		return BOLE_OK;
	for (unsigned tries = 0; tries < SCAN_TRIES; tries++) {
		BOLE_TRY(bole_flash_scan_show(s, b->segment, b->offset, b->bytes, out));
		if (s->shown == b->sequence)
			return BOLE_OK;
		if (parse_batch(s->v, b->segment, b->segment_sequence, b->offset, *out, &t) ==
		            PARSE_OK &&
		    t.link == b->link) {
			s->shown = b->sequence;
			return BOLE_OK;
		}
		s->buf_len = 0;
	}
	return BOLE_E_CORRUPT;
}

enum bole_status bole_flash_batch_hold(struct flash_log_scan *s, struct flash_batch_at *b)
{
	struct bole_bytes bytes;

	if (b->copy != NULL)
		return BOLE_OK;
	BOLE_TRY(show_batch(s, b, &bytes));
	b->copy = copy_batch(s, bytes.ptr, b->bytes);
	return b->copy == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
}

enum bole_status bole_flash_batch_next(struct flash_log_scan *s, const struct flash_batch_at *b,
                                       uint32_t *pos, struct flash_record *out, uint32_t *offset)
{
	struct bole_bytes bytes;

	if (*pos == 0)
		*pos = b->offset;
	uint32_t trailer = b->offset + b->bytes - TRAILER_BYTES;
	if (trailer - *pos < RECORD_HEAD_BYTES || *pos >= trailer)
		return BOLE_END;
	BOLE_TRY(show_batch(s, b, &bytes));
	const uint8_t *p = bytes.ptr + (*pos - b->offset);
	if (p[RECORD_KIND_AT] == 0)
		return BOLE_END;
	uint64_t seed = bole_flash_seed(s->v->key, b->segment, b->segment_sequence, *pos);
	if (!bole_flash_record_parse((struct bole_bytes){p, trailer - *pos}, out) ||
	    !bole_flash_record_verify(p, out, seed))
		return BOLE_E_CORRUPT;
	*offset = *pos;
	*pos += out->bytes;
	return BOLE_OK;
}
