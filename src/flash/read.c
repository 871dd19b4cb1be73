/* SPDX-License-Identifier: ISC */
/* Showing stored bytes. A get reads what it needs and no more; a snapshot that goes through the
 * log in order reads ahead, so a clone becomes large sequential reads. Every byte shown was
 * verified: a small entry by the checksum in its extent's table or its record, a part of a large
 * one by its fragment's. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bole/limits.h"
#include "flash/record.h"
#include "flash/tx.h"

enum {
	AHEAD_FIRST = 32 << 10,
	AHEAD_MAX = 256 << 10,
	AHEAD_SKIP = 64 << 10, /* a gap that still counts as going on */
	NEAR_BYTES = 32 << 10, /* read around a request in the neighbourhood of others */
};

static bool covers(const struct flash_window *w, uint32_t segment, uint32_t offset, size_t len)
{
	return w->segment == segment && offset >= w->offset &&
	       bole_in_bounds(offset - w->offset, len, w->len);
}

/* The request goes on where the window ends, perhaps at the start of another segment. */
static bool goes_on(const struct flash_window *w, const struct flash_volume *v, uint32_t segment,
                    uint32_t offset)
{
	uint32_t end = w->offset + w->len;

	if (w->len == 0)
		return false;
	if (w->segment == segment)
		return offset >= w->offset && offset <= end + AHEAD_SKIP;
	return w->ahead != 0 && offset <= v->unit + SEGMENT_HEAD_BYTES &&
	       v->segment_bytes - end <= AHEAD_SKIP;
}

/* Near a window, but no scan: a walk that resolves deltas goes back and forth like that. */
static bool is_near(const struct flash_window *w, uint32_t segment, uint32_t offset)
{
	uint32_t end = w->offset + w->len;

	return w->len != 0 && w->segment == segment && offset + AHEAD_SKIP >= w->offset &&
	       offset <= end + AHEAD_SKIP;
}

static struct flash_window *choose(struct flash_snapshot *s, uint32_t segment, uint32_t offset,
                                   bool *around)
{
	struct flash_window *best = &s->window[0];

	for (size_t i = 0; i < SNAPSHOT_WINDOWS; i++) {
		struct flash_window *w = &s->window[i];
		*around |= is_near(w, segment, offset);
		if (w->used == s->clock - 1 && goes_on(w, s->v, segment, offset)) {
			w->ahead = w->ahead == 0 ? AHEAD_FIRST : w->ahead * 2;
			if (w->ahead > AHEAD_MAX)
				w->ahead = AHEAD_MAX;
			return w;
		}
		if (w->used < best->used)
			best = w;
	}
	best->ahead = 0;
	return best;
}

/* Device bytes of a segment, unverified; valid until the next call. */
static enum bole_status fetch(struct flash_snapshot *s, uint32_t segment, uint32_t offset,
                              size_t len, const uint8_t **out)
{
	struct flash_volume *v = s->v;
	const uint8_t *p;

	BOLE_ASSERT(bole_in_bounds(offset, len, v->segment_bytes));
	s->clock++;
	for (size_t i = 0; i < SNAPSHOT_WINDOWS; i++) {
		struct flash_window *w = &s->window[i];
		if (!covers(w, segment, offset, len))
			continue;
		w->used = s->clock;
		*out = w->buf + (offset - w->offset);
		return BOLE_OK;
	}
	bool around = false;
	struct flash_window *w = choose(s, segment, offset, &around);
	size_t want = len > w->ahead ? len : w->ahead;
	uint32_t start = offset;
	if (w->ahead == 0 && around) {
		start -= offset % NEAR_BYTES;
		want = offset - start + len;
		want = want < NEAR_BYTES ? NEAR_BYTES : want;
	}
	/* Nothing beyond what is asked for is read where somebody may be writing. */
	bole_flash_lock(v);
	uint64_t end = v->segment[segment].written;
	bole_flash_unlock(v);
	if (end < offset + len)
		end = offset + len;
	if (want > end - start)
		want = (size_t)(end - start);
	size_t cap = want + bole_flash_read_slack(v);
	w->len = 0;
	w->used = s->clock;
	/* Grown for a scan, a window shrinks again: there are many, and memory is for one. */
	if (w->cap < cap || w->cap - cap > AHEAD_FIRST) {
		uint8_t *buf = bole_alloc_resize(v->alloc, w->buf, w->cap, cap, 1);
		if (buf == NULL && w->cap < cap)
			return BOLE_E_NO_MEMORY;
		if (buf != NULL) {
			w->buf = buf;
			w->cap = cap;
		}
	}
	BOLE_TRY(bole_flash_read(v, segment, start, want, w->buf, &p));
	if (p != w->buf)
		memmove(w->buf, p, want);
	w->segment = segment;
	w->offset = start;
	w->len = (uint32_t)want;
	*out = w->buf + (offset - start);
	return BOLE_OK;
}

/* Bytes that failed their checksum are not kept: a later try reads the device again. */
static enum bole_status damaged(struct flash_snapshot *s, const char *what, uint64_t extent,
                                uint64_t offset)
{
	for (size_t i = 0; i < SNAPSHOT_WINDOWS; i++)
		s->window[i].len = 0;
	if (bole_flash_pin_gone(&s->pin))
		return BOLE_E_GONE;
	bole_log(s->v->platform, BOLE_LOG_ERROR, "%s: %s %#llx at %llu is damaged",
	         s->v->dev->info.name, what, (unsigned long long)extent,
	         (unsigned long long)offset);
	return BOLE_E_CORRUPT;
}

static enum bole_status view_record(struct flash_snapshot *s, const struct bole_entry *e,
                                    struct bole_bytes *out)
{
	struct flash_volume *v = s->v;
	uint32_t segment = (uint32_t)((e->extent & ~FLASH_HOME_RECORD) >> 32);
	uint32_t offset = (uint32_t)e->extent;
	uint32_t key_len = (uint32_t)bole_hash_bytes(s->pub.repo.algo);
	struct flash_record r;
	const uint8_t *p;

	if (segment >= v->segments || e->stored_bytes > v->record_max || e->offset != 0)
		return BOLE_E_INVALID;
	size_t len = (size_t)RECORD_HEAD_BYTES + key_len + (size_t)e->stored_bytes;
	if (!bole_in_bounds(offset, len, v->segment_bytes))
		return BOLE_E_INVALID;
	bole_flash_lock(v);
	uint64_t sequence = v->segment[segment].sequence;
	bole_flash_unlock(v);
	BOLE_TRY(fetch(s, segment, offset, len, &p));
	uint64_t seed = bole_flash_seed(v->key, segment, sequence, offset);
	if (!bole_flash_record_parse((struct bole_bytes){p, len}, &r) || r.bytes != len ||
	    r.kind != FLASH_RECORD_OBJECT || r.key.len != key_len ||
	    r.owner != s->pub.repo.domain || !bole_flash_record_verify(p, &r, seed))
		return damaged(s, "record", segment, offset);
	*out = r.body;
	return BOLE_OK;
}

static enum bole_status scratch(struct flash_snapshot *s, size_t len)
{
	if (s->scratch_cap >= len)
		return BOLE_OK;
	uint8_t *p = bole_alloc_resize(s->v->alloc, s->scratch, s->scratch_cap, len, 1);
	if (p == NULL)
		return BOLE_E_NO_MEMORY;
	s->scratch = p;
	s->scratch_cap = len;
	return BOLE_OK;
}

static uint32_t payload_at(const struct flash_fragment *f)
{
	return f->offset + RECORD_HEAD_BYTES + FRAGMENT_HEAD_BYTES;
}

/* The map's numbers come from the device; its checksum does not make them sane. */
static bool place_ok(const struct flash_volume *v, const struct flash_fragment *f)
{
	return f->segment < v->segments &&
	       bole_in_bounds(f->offset,
	                      (uint64_t)RECORD_HEAD_BYTES + FRAGMENT_HEAD_BYTES + f->length,
	                      v->segment_bytes);
}

/* A whole small entry, in one piece when it lies in one fragment. */
static enum bole_status view_small(struct flash_snapshot *s, const struct flash_extent *extent,
                                   uint64_t offset, size_t len, struct bole_bytes *out)
{
	uint32_t at = bole_flash_extent_fragment(extent, offset);
	size_t done = 0;

	while (done < len) {
		if (at >= extent->data_fragments)
			return BOLE_E_CORRUPT;
		const struct flash_fragment *f = &extent->fragment[at];
		const uint8_t *p;
		if (!place_ok(s->v, f) || offset + done < f->logical)
			return BOLE_E_CORRUPT;
		uint64_t skip = offset + done - f->logical;
		if (skip >= f->length)
			return BOLE_E_CORRUPT;
		size_t n = f->length - skip < len - done ? (size_t)(f->length - skip) : len - done;
		BOLE_TRY(fetch(s, f->segment, payload_at(f) + (uint32_t)skip, n, &p));
		if (n == len) {
			*out = (struct bole_bytes){p, len};
			return BOLE_OK;
		}
		BOLE_TRY(scratch(s, len));
		memcpy(s->scratch + done, p, n);
		done += n;
		at++;
	}
	*out = (struct bole_bytes){s->scratch, len};
	return BOLE_OK;
}

/* From position at of a large entry to the end of its fragment. */
static enum bole_status view_large(struct flash_snapshot *s, const struct flash_extent *extent,
                                   uint64_t at, uint64_t end, struct bole_bytes *out)
{
	const struct flash_fragment *f = &extent->fragment[bole_flash_extent_fragment(extent, at)];
	const uint8_t *p;

	if (!place_ok(s->v, f) || at < f->logical || at - f->logical >= f->length)
		return BOLE_E_CORRUPT;
	size_t len = (size_t)RECORD_HEAD_BYTES + FRAGMENT_HEAD_BYTES + f->length;
	BOLE_TRY(fetch(s, f->segment, f->offset, len, &p));
	if (!bole_flash_fragment_verify(s->v, extent->id, f, p))
		return damaged(s, "fragment of extent", extent->id, f->logical);
	uint64_t last = f->logical + f->length < end ? f->logical + f->length : end;
	out->ptr = p + (payload_at(f) - f->offset) + (at - f->logical);
	out->len = (size_t)(last - at);
	return BOLE_OK;
}

/* The row at an offset; entries asked for in order are found without a search. */
static bool find_row(struct flash_snapshot *s, const struct flash_extent *extent, uint64_t offset,
                     uint32_t *row)
{
	uint32_t order = s->last_order + 1;

	if (s->found == extent && bole_flash_row_offset(extent, s->found_row) == offset) {
		*row = s->found_row;
		return true;
	}
	if (s->last == extent && order < extent->rows &&
	    bole_flash_row_offset(extent, extent->by_offset[order]) == offset) {
		s->last_order = order;
		*row = extent->by_offset[order];
		return true;
	}
	if (!bole_flash_extent_at(extent, offset, row, &order))
		return false;
	s->last = extent;
	s->last_order = order;
	return true;
}

static enum bole_status view_extent(struct flash_snapshot *s, const struct flash_extent *extent,
                                    uint64_t offset, uint64_t pos, struct bole_bytes *out)
{
	uint32_t row;

	if (!find_row(s, extent, offset, &row))
		return extent->damaged ? BOLE_E_CORRUPT : BOLE_E_INVALID;
	uint64_t stored = bole_flash_row_stored(extent, row);
	if (pos >= stored)
		return BOLE_E_INVALID;
	if (stored > BOLE_VIEW_BYTES)
		return view_large(s, extent, offset + pos, offset + stored, out);
	BOLE_TRY(view_small(s, extent, offset, (size_t)stored, out));
	uint32_t sum = (uint32_t)bole_flash_sum(out->ptr, out->len, extent->id);
	if (sum != bole_flash_row_checksum(extent, row))
		return damaged(s, "extent", extent->id, offset);
	out->ptr += pos;
	out->len -= (size_t)pos;
	return BOLE_OK;
}

/* A put of this transaction: in memory, or in the extent that it was spilled to. */
static enum bole_status view_put(struct flash_snapshot *s, uint64_t number, uint64_t pos,
                                 struct bole_bytes *out)
{
	const struct flash_tx *tx = s->tx;

	if (tx == NULL || number >= tx->first_put + tx->puts)
		return BOLE_E_INVALID;
	if (number >= tx->first_put) {
		const struct flash_put *put = &tx->put[number - tx->first_put];
		if (pos >= put->stored)
			return BOLE_E_INVALID;
		*out = (struct bole_bytes){tx->data.ptr + put->at + pos, put->stored - (size_t)pos};
		return BOLE_OK;
	}
	uint32_t i = tx->spills - 1;
	while (tx->spill[i].first > number)
		i--;
	const struct flash_extent *extent = tx->spill[i].extent;
	uint32_t row = extent->by_offset[number - tx->spill[i].first];
	return view_extent(s, extent, bole_flash_row_offset(extent, row), pos, out);
}

static enum bole_status view(struct flash_snapshot *s, const struct bole_entry *e, uint64_t pos,
                             struct bole_bytes *out)
{
	enum bole_status rc;

	if (pos >= e->stored_bytes)
		return BOLE_E_INVALID;
	if ((e->extent & FLASH_HOME_RECORD) != 0) {
		rc = view_record(s, e, out);
		if (rc == BOLE_OK) {
			out->ptr += pos;
			out->len -= (size_t)pos;
		}
		return rc;
	}
	if ((e->extent & FLASH_HOME_PUT) != 0)
		return view_put(s, e->extent & ~FLASH_HOME_PUT, pos, out);
	const struct flash_extent *extent = bole_flash_snapshot_extent(s, e->extent);
	if (extent == NULL)
		return BOLE_E_INVALID;
	return view_extent(s, extent, e->offset, pos, out);
}

enum bole_status bole_flash_view(struct flash_snapshot *s, const struct bole_entry *e, uint64_t pos,
                                 struct bole_bytes *out)
{
	*out = (struct bole_bytes){NULL, 0};
	enum bole_status rc = bole_flash_pin_gone(&s->pin) ? BOLE_E_GONE : view(s, e, pos, out);
	/* Revoked meanwhile: what was read may be somebody else's, whole and right as it is. */
	return rc == BOLE_OK && bole_flash_pin_gone(&s->pin) ? BOLE_E_GONE : rc;
}
