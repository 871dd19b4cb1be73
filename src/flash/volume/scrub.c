/* SPDX-License-Identifier: ISC */
/* One pass over what is stored, a segment a call: whatever a reader could be given is read and
 * verified, which also lets the device see what it has to correct. Nothing is changed: what decays
 * is moved by maintenance.
 *
 * Batches are found by their trailers, so that damage in one does not hide those behind it.
 * Fragments and pages of runs are those that the published state names: what a cut left is not
 * looked at. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/index/page.h"
#include "flash/log/batch.h"
#include "flash/log/tx.h"
#include "flash/volume/mount.h"

enum { SCRUB_LINE = 160 };

struct scrub {
	struct flash_volume *v;
	struct bole_scrub_report *report;
	uint32_t segment;
	uint64_t sequence;
	uint32_t written; /* what lies behind is being written, or nothing */
	uint8_t *buf;     /* room for a segment */
	size_t cap;
};

/* What was freed meanwhile may be anything by now. */
static bool still_there(struct scrub *s)
{
	struct flash_volume *v = s->v;

	bole_flash_lock(v);
	const struct flash_segment *g = &v->segment[s->segment];
	bool same = g->sequence == s->sequence && (g->live != 0 || g->held != 0);
	bole_flash_unlock(v);
	return same;
}

__attribute__((format(printf, 2, 3))) static void finding(struct scrub *s, const char *format, ...)
{
	char line[SCRUB_LINE];
	va_list args;

	if (!still_there(s))
		return;
	s->report->damaged++;
	if (s->report->finding == NULL)
		return;
	va_start(args, format);
	(void)vsnprintf(line, sizeof line, format, args);
	va_end(args);
	s->report->finding(s->report->ctx, line);
}

/* -- Batches -- */

/* The records of a damaged batch that do not verify; a broken length hides those behind it. */
static void name_records(struct scrub *s, uint32_t from, uint32_t to)
{
	const struct flash_volume *v = s->v;
	uint32_t at = from;
	struct flash_record r;

	while (at < to && bole_flash_record_parse((struct bole_bytes){s->buf + at, to - at}, &r)) {
		if (!bole_flash_record_verify(
		            s->buf + at, &r,
		            bole_flash_seed(v->key, s->segment, s->sequence, at))) {
			finding(s, "segment %u: the record at %u (%u bytes) is damaged", s->segment,
			        at, r.bytes);
			return;
		}
		at += r.bytes;
	}
	finding(s, "segment %u: the batch from %u to %u is damaged", s->segment, from, to);
}

/* The published state names the record at that place. */
static enum bole_status named(struct scrub *s, const struct flash_record *r, uint32_t offset,
                              bool *yes)
{
	struct flash_volume *v = s->v;
	struct flash_reader reader = {.clock = 0};
	struct flash_found found;

	*yes = false;
	bole_flash_lock(v);
	struct flash_domain *domain = bole_flash_domain_find(v, r->owner);
	struct flash_index *index = domain == NULL ? NULL : bole_flash_index_retain(domain->index);
	bole_flash_unlock(v);
	if (index == NULL || r->key.len != index->domain->key_len) {
		bole_flash_index_drop(v, index);
		return BOLE_OK;
	}
	enum bole_status rc = bole_flash_index_find(v, index, r->key.ptr, &reader, &found);
	*yes = rc == BOLE_OK && found.extent == NULL &&
	       found.place == bole_flash_place(s->segment, offset);
	bole_flash_reader_close(v, &reader);
	bole_flash_index_drop(v, index);
	return rc == BOLE_E_NO_MEMORY ? rc : BOLE_OK;
}

/* Records without a trailer behind them: what a cut left, unless somebody names them. */
static enum bole_status check_rest(struct scrub *s, uint32_t from)
{
	const struct flash_volume *v = s->v;
	struct flash_record r;

	for (uint32_t at = from;
	     at < s->written &&
	     bole_flash_record_parse((struct bole_bytes){s->buf + at, s->written - at}, &r);
	     at += r.bytes) {
		bool yes = false;
		uint64_t seed = bole_flash_seed(v->key, s->segment, s->sequence, at);
		if (r.kind != FLASH_RECORD_OBJECT ||
		    !bole_flash_record_verify(s->buf + at, &r, seed))
			continue;
		BOLE_TRY(named(s, &r, at, &yes));
		if (yes) {
			finding(s, "segment %u: the batch from %u on has no trailer", s->segment,
			        from);
			return BOLE_OK;
		}
	}
	return BOLE_OK;
}

static enum bole_status check_batches(struct scrub *s)
{
	const struct flash_volume *v = s->v;
	uint32_t from = SEGMENT_HEAD_BYTES;

	for (uint64_t end = bole_round_up(from + TRAILER_BYTES, v->unit); end <= s->written;
	     end += v->unit) {
		uint32_t at = (uint32_t)end - TRAILER_BYTES;
		const uint8_t *t = s->buf + at;
		uint64_t seed = bole_flash_seed(v->key, s->segment, s->sequence, at);
		if (bole_get_le32(t + TRAILER_MAGIC_AT) != TRAILER_MAGIC ||
		    bole_flash_sum(t, TRAILER_LINK_AT, seed) != bole_get_le64(t + TRAILER_LINK_AT))
			continue;
		uint32_t bytes = bole_get_le32(t + TRAILER_BYTES_AT);
		uint32_t start = bytes > end - from ? from : (uint32_t)end - bytes;
		if (start > from)
			name_records(s, from, start);
		seed = bole_flash_seed(v->key, s->segment, s->sequence, start);
		if (bole_flash_sum(s->buf + start, at - start, seed) !=
		    bole_get_le64(t + TRAILER_DIGEST_AT))
			name_records(s, start, at);
		from = (uint32_t)end;
	}
	return check_rest(s, from);
}

static enum bole_status check_log(struct scrub *s)
{
	struct flash_volume *v = s->v;
	const uint8_t *p;

	enum bole_status rc = bole_flash_read(v, s->segment, 0, v->segment_bytes, s->buf, &p);
	s->report->bytes_read += v->segment_bytes;
	if (rc == BOLE_E_IO) {
		finding(s, "segment %u: cannot be read whole", s->segment);
		return BOLE_OK;
	}
	BOLE_TRY(rc);
	if (p != s->buf)
		memmove(s->buf, p, v->segment_bytes);
	const uint8_t *head = s->buf + SEGMENT_MAGIC_AT;
	if (s->written != 0 &&
	    bole_flash_sum(head, SEGMENT_HEAD_BYTES - SEGMENT_MAGIC_AT,
	                   bole_flash_seed(v->key, s->segment, s->sequence, 0)) !=
	            bole_get_le64(s->buf + SEGMENT_CHECKSUM_AT))
		finding(s, "segment %u: its head is damaged", s->segment);
	/* Only the trailers of a log verify. */
	return check_batches(s);
}

/* -- Fragments and pages -- */

static enum bole_status check_list(struct scrub *s, uint64_t stream,
                                   const struct flash_fragment *list, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *p;
		if (list[i].segment != s->segment)
			continue;
		enum bole_status rc = bole_flash_fragment_read(s->v, stream, &list[i], s->buf, &p);
		if (rc == BOLE_E_NO_MEMORY)
			return rc;
		if (rc != BOLE_OK)
			finding(s, "segment %u: the fragment of stream %llu at %u (%u bytes): %s",
			        s->segment, (unsigned long long)stream, list[i].offset,
			        list[i].length, bole_status_text(rc));
		s->report->bytes_read += list[i].length;
	}
	return BOLE_OK;
}

static enum bole_status check_run(struct scrub *s, const struct flash_run *run)
{
	for (uint32_t i = 0; i < run->chunks; i++) {
		const struct flash_run_chunk *k = &run->chunk[i];
		for (uint32_t n = 0; n < k->pages && k->segment == s->segment;) {
			uint32_t got = 0;
			enum bole_status rc = bole_flash_pages_read(run, k->start + n, k->pages - n,
			                                            s->buf, &got);
			if (rc == BOLE_E_NO_MEMORY)
				return rc;
			if (rc != BOLE_OK) {
				finding(s, "segment %u: pages %u to %u of index run %llu: %s",
				        s->segment, k->start + n, k->start + k->pages - 1,
				        (unsigned long long)run->id, bole_status_text(rc));
				break;
			}
			s->report->bytes_read += (uint64_t)got * s->v->page_bytes;
			n += got;
		}
	}
	return BOLE_OK;
}

static enum bole_status check_index(struct scrub *s, const struct flash_index *index)
{
	for (uint32_t i = 0; i < bole_flash_index_extents(index); i++) {
		const struct flash_extent *e = index->extents->extent[i];
		const struct flash_fragment *list = e->map;
		enum bole_status rc = bole_flash_extent_map(e, &list);
		if (rc == BOLE_E_NO_MEMORY)
			return rc;
		BOLE_TRY(check_list(s, e->id, list,
		                    rc == BOLE_OK ? e->fragments : e->map_fragments));
		if (e->rows == 0)
			continue;
		BOLE_TRY(check_run(s, e->table));
		BOLE_TRY(check_run(s, e->order));
	}
	for (uint32_t i = 0; index != NULL && index->runs != NULL && i < index->runs->count; i++)
		BOLE_TRY(check_run(s, index->runs->run[i]));
	return BOLE_OK;
}

static enum bole_status check_named(struct scrub *s)
{
	struct flash_volume *v = s->v;
	enum bole_status rc = BOLE_OK;

	for (uint32_t i = 0; rc == BOLE_OK; i++) {
		bole_flash_lock(v);
		struct flash_index *index =
		        i < v->repos ? bole_flash_index_retain(v->repo[i]->domain->index) : NULL;
		bool end = i >= v->repos;
		bole_flash_unlock(v);
		if (end)
			break;
		rc = check_index(s, index);
		bole_flash_index_drop(v, index);
	}
	return rc;
}

/* Elements belong to whoever checkpoints. */
static enum bole_status check_elements(struct scrub *s)
{
	struct flash_volume *v = s->v;
	enum bole_status rc = BOLE_OK;

	bole_flash_lock(v);
	while (v->checkpointing)
		(void)v->platform->ops->cond_wait(v->platform, &v->cond, &v->lock, BOLE_NEVER);
	v->checkpointing = true;
	bole_flash_unlock(v);
	for (uint32_t i = 0; i < v->elements && rc == BOLE_OK; i++)
		rc = check_list(s, v->element[i].stream, v->element[i].fragment,
		                v->element[i].fragments);
	bole_flash_lock(v);
	v->checkpointing = false;
	v->platform->ops->cond_broadcast(v->platform, &v->cond);
	bole_flash_unlock(v);
	return rc;
}

/* The newest anchor of each area. */
static enum bole_status check_anchors(struct flash_volume *v, struct bole_scrub_report *report)
{
	const struct flash_geometry *g = &v->geometry;
	uint8_t *slot = bole_alloc_array(v->alloc, g->slot_bytes, 1);

	if (slot == NULL)
		return BOLE_E_NO_MEMORY;
	for (uint32_t area = 0; area < 2; area++) {
		bole_flash_lock(v);
		uint64_t at = bole_flash_anchor_at(g, area, v->anchor_place.at[area]);
		bool there = !v->anchor_place.missing[area] && !v->anchor_place.dead[area];
		bole_flash_unlock(v);
		if (!there)
			continue;
		report->bytes_read += g->slot_bytes;
		if (bole_block_read(v->dev, at, slot, g->slot_bytes) == BOLE_OK)
			continue;
		report->damaged++;
		if (report->finding != NULL)
			report->finding(report->ctx, "an anchor cannot be read");
	}
	bole_alloc_free(v->alloc, slot, g->slot_bytes, 1);
	return BOLE_OK;
}

enum bole_status bole_flash_scrub(struct flash_volume *v, struct bole_scrub_report *report)
{
	struct scrub s = {.v = v, .report = report};

	bole_flash_lock(v);
	report->segments = v->segments;
	/* What holds nothing is passed over. */
	while (report->segment < v->segments && v->segment[report->segment].live == 0 &&
	       v->segment[report->segment].held == 0)
		report->segment++;
	s.segment = report->segment;
	if (s.segment < v->segments) {
		s.sequence = v->segment[s.segment].sequence;
		s.written = v->segment[s.segment].written;
	}
	bole_flash_unlock(v);
	if (s.segment >= report->segments) {
		BOLE_TRY(check_anchors(v, report));
		return BOLE_END;
	}
	s.cap = v->segment_bytes + bole_flash_read_slack(v);
	if (s.cap < bole_flash_fragment_room(v))
		s.cap = bole_flash_fragment_room(v);
	s.buf = bole_alloc_array(v->alloc, s.cap, 1);
	if (s.buf == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = check_log(&s);
	if (rc == BOLE_OK)
		rc = check_named(&s);
	if (rc == BOLE_OK)
		rc = check_elements(&s);
	bole_alloc_free(v->alloc, s.buf, s.cap, 1);
	if (rc == BOLE_OK)
		report->segment++;
	return rc;
}
