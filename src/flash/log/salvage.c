/* SPDX-License-Identifier: ISC */
/* What damage has left of the log. The trailers that verify behind a hole say where batches begin
 * and which ones they are; up to the last one that was durable they are taken up again, so that a
 * damaged batch harms itself alone, and in it a damaged record itself alone. Nothing is shown that
 * does not verify, and whatever is missing is said. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/index/index.h"
#include "flash/log/scan.h"
#include "flash/volume/repair.h"

enum {
	SALVAGE_SEARCH_BYTES = 32 << 20, /* hashed for one batch in search of whole records */
	SALVAGE_NAMES = 240,
	SALVAGE_HEX = 2 * BOLE_OID_BYTES_MAX + 1,
};

/* The last batch that is looked for. */
static uint64_t limit_of(const struct flash_log_scan *s)
{
	const struct flash_repair *r = s->v->repair;
	uint64_t limit = s->seen_durable > s->ahead_last ? s->seen_durable : s->ahead_last;

	return r != NULL && r->newest.batch > limit ? r->newest.batch - 1 : limit;
}

static void hole(struct flash_log_scan *s, uint64_t last)
{
	bole_flash_lost(s->v,
	                "batches %llu to %llu are gone, with all that they held (segment %u, "
	                "offset %u)",
	                (unsigned long long)s->expect, (unsigned long long)last, s->segment,
	                s->pos);
}

/* The first trailer of a batch that is wanted. */
static enum bole_status find_trailer(struct flash_log_scan *s, uint32_t segment, uint64_t sequence,
                                     uint32_t from, struct flash_trailer *t, uint32_t *end)
{
	const struct flash_volume *v = s->v;
	uint64_t limit = limit_of(s);
	struct bole_bytes bytes;

	for (uint64_t at = bole_round_up((uint64_t)from + TRAILER_BYTES, v->unit);
	     at <= v->segment_bytes; at += v->unit) {
		*end = (uint32_t)at;
		BOLE_TRY(bole_flash_scan_show(s, segment, *end - TRAILER_BYTES, TRAILER_BYTES,
		                              &bytes));
		if (bole_flash_scan_trailer(v, segment, sequence, *end - TRAILER_BYTES, bytes.ptr,
		                            t) &&
		    t->sequence >= s->expect && t->sequence <= limit && t->durable < t->sequence &&
		    (t->flags & FLASH_BATCH_CONFIRM) == 0)
			return BOLE_OK;
	}
	return BOLE_E_NOT_FOUND;
}

/* Takes up the log in a segment behind from. BOLE_E_NOT_FOUND: there is nothing. */
static enum bole_status resume(struct flash_log_scan *s, uint32_t segment, uint64_t sequence,
                               uint32_t from)
{
	struct flash_trailer t;
	struct bole_bytes bytes;
	uint32_t before = s->batches;
	uint32_t end;

	BOLE_TRY(find_trailer(s, segment, sequence, from, &t, &end));
	uint32_t start = t.bytes <= end - from ? end - t.bytes : from;
	if (t.sequence > s->expect)
		hole(s, t.sequence - 1);
	s->segment = segment;
	s->segment_sequence = sequence;
	s->pos = start;
	s->expect = t.sequence;
	s->link = t.chain;
	BOLE_TRY(bole_flash_scan_follow(s));
	if (s->batches == before) {
		t.bytes = end - start;
		BOLE_TRY(bole_flash_scan_show(s, segment, start, t.bytes, &bytes));
		if (bytes.len < t.bytes)
			return BOLE_E_CORRUPT;
		BOLE_TRY(bole_flash_scan_keep(s, &t, bytes.ptr));
		s->batch[s->batches - 1].damaged = true;
	}
	return bole_flash_scan_walk(s);
}

/* Where the log said that it would go on; without its head the segment ends there. */
static enum bole_status resume_next(struct flash_log_scan *s)
{
	struct flash_log_head h;
	uint32_t segment = s->next;
	uint32_t was_next = s->next;
	uint64_t was_sequence = s->next_sequence;

	BOLE_TRY(bole_flash_scan_head(s, segment, &h));
	if (h.ok && (h.batch < s->expect || h.batch > limit_of(s)))
		return BOLE_E_NOT_FOUND;
	s->next = h.ok ? h.next : segment;
	s->next_sequence = h.ok ? h.next_sequence : 0;
	enum bole_status rc =
	        resume(s, segment, h.ok ? h.sequence : was_sequence, SEGMENT_HEAD_BYTES);
	if (rc == BOLE_E_NOT_FOUND) {
		s->next = was_next;
		s->next_sequence = was_sequence;
	}
	return rc;
}

/* The segment of log with the lowest number of a batch from `from` on, the younger of two. */
static enum bole_status lowest(struct flash_log_scan *s, uint64_t from, uint32_t *segment,
                               struct flash_log_head *out)
{
	bool found = false;

	for (uint32_t i = 0; i < s->v->segments; i++) {
		struct flash_log_head h;
		if (s->v->segment[i].state == SEGMENT_BAD)
			continue;
		BOLE_TRY(bole_flash_scan_head(s, i, &h));
		if (!h.ok || h.batch < from || h.batch > limit_of(s) ||
		    (found && (h.batch > out->batch ||
		               (h.batch == out->batch && h.sequence < out->sequence))))
			continue;
		*out = h;
		*segment = i;
		found = true;
	}
	return found ? BOLE_OK : BOLE_E_NOT_FOUND;
}

/* In any segment of log: the heads between here and there are gone. */
static enum bole_status resume_anywhere(struct flash_log_scan *s)
{
	struct flash_log_head h = {.ok = false};
	uint32_t was_next = s->next;
	uint64_t was_sequence = s->next_sequence;
	uint64_t from = s->expect;
	uint32_t segment = 0;

	for (;;) {
		enum bole_status rc = lowest(s, from, &segment, &h);
		if (rc == BOLE_OK) {
			s->next = h.next;
			s->next_sequence = h.next_sequence;
			rc = resume(s, segment, h.sequence, SEGMENT_HEAD_BYTES);
			if (rc != BOLE_E_NOT_FOUND)
				return rc;
			from = h.batch + 1;
			continue;
		}
		s->next = was_next;
		s->next_sequence = was_sequence;
		return rc;
	}
}

/* The head of the segment is gone, and with it the name of the next one: the youngest that names
 * the last batch and its link. What was not known to be flushed yet counts as in any log. */
static enum bole_status join(struct flash_log_scan *s)
{
	struct flash_log_head h;
	uint64_t youngest = 0;
	uint32_t segment = s->segment;
	bool entered = false;

	for (uint32_t i = 0; i < s->v->segments; i++) {
		if (s->v->segment[i].state == SEGMENT_BAD)
			continue;
		BOLE_TRY(bole_flash_scan_head(s, i, &h));
		if (!bole_flash_scan_later(s->v, &h) || h.batch != s->expect || h.link != s->link ||
		    h.sequence < youngest)
			continue;
		youngest = h.sequence;
		segment = i;
	}
	if (segment == s->segment) {
		bole_flash_lost(s->v,
		                "segment %u does not say where the log goes on: what follows batch "
		                "%llu is gone, if there was more",
		                segment, (unsigned long long)s->expect - 1);
		return BOLE_E_NOT_FOUND;
	}
	BOLE_TRY(bole_flash_scan_enter(s, segment, &entered));
	return entered ? bole_flash_scan_walk(s) : BOLE_E_NOT_FOUND;
}

/* From an older anchor: where the newest one says that the log went on. */
static enum bole_status resume_newest(struct flash_log_scan *s)
{
	const struct flash_repair *r = s->v->repair;

	if (r == NULL || s->expect > r->newest.batch || s->newest)
		return BOLE_E_NOT_FOUND;
	s->newest = true;
	if (s->expect < r->newest.batch)
		hole(s, r->newest.batch - 1);
	s->segment = r->newest.log_segment;
	s->pos = r->newest.log_offset;
	s->segment_sequence = r->newest.log_sequence;
	s->next = s->pos == 0 ? r->newest.log_segment : r->newest.log_next;
	s->next_sequence = s->pos == 0 ? r->newest.log_sequence : r->newest.log_next_sequence;
	s->expect = r->newest.batch;
	s->link = r->newest.link;
	return bole_flash_scan_walk(s);
}

enum bole_status bole_flash_log_salvage(struct flash_log_scan *s)
{
	struct flash_volume *v = s->v;
	enum bole_status rc = bole_flash_scan_heads(s);

	if (s->ahead != 0)
		bole_flash_lost(v,
		                "the anchors of the newest %u checkpoints are lost: what "
		                "collections removed since is back, what was moved since may be "
		                "damaged",
		                s->ahead);
	while (rc == BOLE_OK) {
		if (s->expect > limit_of(s)) {
			/* Where the head is gone the segment ends the log (resume_next). */
			if (s->pos == 0 || s->next != s->segment)
				break;
			rc = join(s);
			continue;
		}
		rc = s->pos == 0 ? BOLE_E_NOT_FOUND
		                 : resume(s, s->segment, s->segment_sequence, s->pos);
		if (rc == BOLE_E_NOT_FOUND)
			rc = resume_next(s);
		if (rc == BOLE_E_NOT_FOUND)
			rc = resume_anywhere(s);
		if (rc == BOLE_E_NOT_FOUND)
			rc = resume_newest(s);
	}
	if (rc != BOLE_OK && rc != BOLE_E_NOT_FOUND)
		return rc;
	if (s->expect <= s->seen_durable)
		hole(s, s->seen_durable);
	if (s->durable < s->seen_durable)
		s->durable = s->seen_durable < s->expect ? s->seen_durable : s->expect - 1;
	s->sealed = false;
	return BOLE_OK;
}

/* -- A damaged batch -- */

struct debris {
	struct flash_log_scan *s;
	const struct flash_batch_at *b;
	const uint8_t *bytes;
	uint32_t end; /* of the records, in the batch */
	uint64_t hashed;
};

static bool sound(struct debris *d, uint32_t at, struct flash_record *out)
{
	const struct flash_batch_at *b = d->b;

	if (!bole_flash_record_parse((struct bole_bytes){d->bytes + at, d->end - at}, out) ||
	    out->kind > FLASH_RECORD_DROP || d->hashed > SALVAGE_SEARCH_BYTES)
		return false;
	d->hashed += out->bytes;
	return bole_flash_record_verify(
	        d->bytes + at, out,
	        bole_flash_seed(d->s->v->key, b->segment, b->segment_sequence, b->offset + at));
}

/* Nothing but padding from here on: a kind that is 0 may be damage. */
static bool padding(const struct debris *d, uint32_t at)
{
	while (at < d->end && d->bytes[at] == 0)
		at++;
	return at == d->end;
}

/* Names as they may have been: they did not verify. */
static void append_names(struct bole_bytes body, char *out)
{
	size_t at = 0;

	while (body.len >= REF_HEAD_BYTES) {
		size_t name = bole_get_le16(body.ptr + REF_NAME_BYTES_AT);
		size_t target = bole_get_le16(body.ptr + REF_TARGET_BYTES_AT);
		if (name > body.len - REF_HEAD_BYTES || target > body.len - REF_HEAD_BYTES - name)
			return;
		if (at + name + 2 >= SALVAGE_NAMES)
			return;
		out[at++] = ' ';
		for (size_t i = 0; i < name; i++) {
			uint8_t c = body.ptr[REF_HEAD_BYTES + i];
			out[at++] = c > ' ' && c < 0x7f ? (char)c : '?';
		}
		out[at] = '\0';
		body.ptr += REF_HEAD_BYTES + name + target;
		body.len -= REF_HEAD_BYTES + name + target;
	}
}

static const char *name_of(struct flash_volume *v, const struct flash_record *r)
{
	for (uint32_t i = 0; i < v->repos; i++)
		if (r->kind == FLASH_RECORD_OBJECT || r->kind == FLASH_RECORD_DROP ||
		                    r->kind == FLASH_RECORD_EXTENT
		            ? v->repo[i]->domain->id == r->owner
		            : v->repo[i]->id == r->owner)
			return v->repo[i]->name;
	return "?";
}

static const char *what_of(uint8_t kind)
{
	switch (kind) {
	case FLASH_RECORD_OBJECT: return "object";
	case FLASH_RECORD_EXTENT: return "pack";
	case FLASH_RECORD_REFS: return "references";
	case FLASH_RECORD_AUX: return "aux record";
	case FLASH_RECORD_REPO: return "creation of the repository";
	case FLASH_RECORD_RENAME: return "renaming";
	case FLASH_RECORD_REMOVE: return "removal of the repository";
	case FLASH_RECORD_PREPARE: return "prepared transaction";
	case FLASH_RECORD_RESOLVE: return "end of a prepared transaction";
	case FLASH_RECORD_DROP: return "removal of object";
	default: return "record";
	}
}

/* One record whose place and length are known, but not its content. */
static void name_record(struct debris *d, uint32_t at, const struct flash_record *r,
                        const char *why)
{
	char names[SALVAGE_NAMES] = "";
	char hex[SALVAGE_HEX] = "";

	for (size_t i = 0; i < r->key.len && i < BOLE_OID_BYTES_MAX; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", r->key.ptr[i]);
	if (r->kind == FLASH_RECORD_REFS)
		append_names(r->body, names);
	bole_flash_lost(d->s->v, "%s: %s %s%s of batch %llu (segment %u, offset %u) %s",
	                name_of(d->s->v, r), what_of(r->kind), hex, names,
	                (unsigned long long)d->b->sequence, d->b->segment, d->b->offset + at, why);
}

/* Its row makes a lookup say "damaged" instead of "not there". */
static enum bole_status show_damaged(struct debris *d, struct flash_apply *a, uint32_t at,
                                     const struct flash_record *r)
{
	struct flash_record untyped = *r;
	enum bole_status rc = BOLE_E_CORRUPT;

	untyped.type = 0;
	if (r->kind == FLASH_RECORD_OBJECT && r->flags == 0)
		rc = bole_flash_apply(a, &untyped, d->b->segment, d->b->offset + at);
	return rc == BOLE_E_CORRUPT ? BOLE_OK : rc;
}

/* The record at `at` does not verify: where does the next one begin? */
static enum bole_status pass(struct debris *d, struct flash_apply *a, uint32_t *at)
{
	struct bole_bytes rest = {d->bytes + *at, d->end - *at};
	struct flash_record r;
	struct flash_record next;
	uint32_t to = *at + 1;

	if (bole_flash_record_parse(rest, &r) && r.kind <= FLASH_RECORD_DROP) {
		uint32_t behind = *at + r.bytes;
		bool last = padding(d, behind);
		if (last || sound(d, behind, &next)) {
			name_record(d, *at, &r, "is damaged");
			BOLE_TRY(show_damaged(d, a, *at, &r));
			*at = behind;
			return BOLE_OK;
		}
	}
	while (to < d->end && !sound(d, to, &next))
		to++;
	bole_flash_lost(
	        d->s->v, "batch %llu: %u bytes of records are damaged (segment %u, offset %u)",
	        (unsigned long long)d->b->sequence, to - *at, d->b->segment, d->b->offset + *at);
	*at = to;
	return BOLE_OK;
}

enum bole_status bole_flash_batch_salvage(struct flash_log_scan *s, struct flash_apply *a,
                                          const struct flash_batch_at *b)
{
	struct bole_bytes bytes = {b->copy, b->bytes};
	struct flash_record r;
	uint32_t at = 0;

	if (b->copy == NULL)
		BOLE_TRY(bole_flash_scan_show(s, b->segment, b->offset, b->bytes, &bytes));
	BOLE_ASSERT(bytes.len >= b->bytes && b->bytes >= TRAILER_BYTES);
	struct debris d = {.s = s, .b = b, .bytes = bytes.ptr, .end = b->bytes - TRAILER_BYTES};
	uint64_t before = s->v->lost;
	while (b->records != 0 && !padding(&d, at)) {
		if (!sound(&d, at, &r)) {
			BOLE_TRY(pass(&d, a, &at));
			continue;
		}
		enum bole_status rc = bole_flash_apply(a, &r, b->segment, b->offset + at);
		if (rc == BOLE_E_CORRUPT)
			name_record(&d, at, &r, "does not fit what is left");
		else
			BOLE_TRY(rc);
		at += r.bytes;
	}
	if (s->v->lost == before)
		bole_flash_lost(s->v,
		                "batch %llu: bytes that hold nothing are damaged (segment %u)",
		                (unsigned long long)b->sequence, b->segment);
	return BOLE_OK;
}
