/* SPDX-License-Identifier: ISC */
/* Showing stored bytes. A get reads what it needs and no more; a snapshot that goes through the
 * log in order reads ahead, so a clone becomes large sequential reads. Every byte shown was
 * verified: a small entry by the checksum in its extent's table or its record, a part of a large
 * one by its fragment's. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bole/limits.h"
#include "flash/log/record.h"
#include "flash/log/tx.h"

/* Bytes that failed their checksum are not kept: a later try reads the device again. */
static enum bole_status damaged(struct flash_snapshot *s, const char *what, uint64_t extent,
                                uint64_t offset)
{
	bole_flash_reader_reset(&s->reader);
	if (bole_flash_pin_gone(&s->pin))
		return BOLE_E_GONE;
	bole_log(s->v->platform, BOLE_LOG_ERROR, "%s: %s %#llx at %llu is damaged",
	         s->v->dev->info.name, what, (unsigned long long)extent,
	         (unsigned long long)offset);
	return BOLE_E_CORRUPT;
}

static enum bole_status read_record(struct flash_snapshot *s, const struct bole_entry *e,
                                    struct flash_record *out)
{
	struct flash_volume *v = s->v;
	uint32_t segment = (uint32_t)((e->extent & ~FLASH_HOME_RECORD) >> 32);
	uint32_t offset = (uint32_t)e->extent;
	uint32_t key_len = (uint32_t)bole_hash_bytes(s->pub.repo.algo);

	if (segment >= v->segments || e->stored_bytes > v->record_max || e->offset != 0)
		return BOLE_E_INVALID;
	size_t len = (size_t)RECORD_HEAD_BYTES + key_len + (size_t)e->stored_bytes;
	if (!bole_in_bounds(offset, len, v->segment_bytes))
		return BOLE_E_INVALID;
	enum bole_status rc = bole_flash_fetch_record(v, &s->reader, segment, offset, len, out);
	if (rc != BOLE_OK && rc != BOLE_E_CORRUPT)
		return rc;
	if (rc != BOLE_OK || out->kind != FLASH_RECORD_OBJECT || out->key.len != key_len ||
	    out->owner != s->pub.repo.domain)
		return damaged(s, "record", segment, offset);
	return BOLE_OK;
}

static enum bole_status view_record(struct flash_snapshot *s, const struct bole_entry *e,
                                    struct bole_bytes *out)
{
	struct flash_record r;

	BOLE_TRY(read_record(s, e, &r));
	*out = r.body;
	return BOLE_OK;
}

enum bole_status bole_flash_record_of(struct flash_snapshot *s, const struct bole_entry *e,
                                      struct bole_bytes *key, uint8_t *type)
{
	struct flash_record r;

	BOLE_TRY(read_record(s, e, &r));
	*key = r.key;
	*type = r.type;
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
	const struct flash_fragment *list;
	size_t done = 0;

	BOLE_TRY(bole_flash_extent_map(extent, &list));
	uint32_t at = bole_flash_extent_fragment(extent, list, offset);
	while (done < len) {
		if (at >= bole_flash_extent_data(extent))
			return BOLE_E_CORRUPT;
		const struct flash_fragment *f = &list[at];
		const uint8_t *p;
		if (f->segment == SEGMENT_NONE)
			return BOLE_E_NOT_FOUND; /* collected */
		if (!place_ok(s->v, f) || offset + done < f->logical)
			return BOLE_E_CORRUPT;
		uint64_t skip = offset + done - f->logical;
		if (skip >= f->length)
			return BOLE_E_CORRUPT;
		size_t n = f->length - skip < len - done ? (size_t)(f->length - skip) : len - done;
		BOLE_TRY(bole_flash_fetch(s->v, &s->reader, f->segment,
		                          payload_at(f) + (uint32_t)skip, n, &p));
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
	const struct flash_fragment *list;
	const uint8_t *p;

	BOLE_TRY(bole_flash_extent_map(extent, &list));
	const struct flash_fragment *f = &list[bole_flash_extent_fragment(extent, list, at)];

	if (f->segment == SEGMENT_NONE)
		return BOLE_E_NOT_FOUND; /* collected */
	if (!place_ok(s->v, f) || at < f->logical || at - f->logical >= f->length)
		return BOLE_E_CORRUPT;
	size_t len = (size_t)RECORD_HEAD_BYTES + FRAGMENT_HEAD_BYTES + f->length;
	BOLE_TRY(bole_flash_fetch(s->v, &s->reader, f->segment, f->offset, len, &p));
	/* Who looks at entries beside it comes back for every stretch of it. */
	if (!bole_flash_reader_knows(&s->reader, f->segment, f->offset, len, extent->id)) {
		if (!bole_flash_fragment_verify(s->v, extent->id, f, p))
			return damaged(s, "fragment of extent", extent->id, f->logical);
		bole_flash_reader_note(&s->reader, f->segment, f->offset, len, extent->id);
	}
	uint64_t last = f->logical + f->length < end ? f->logical + f->length : end;
	out->ptr = p + (payload_at(f) - f->offset) + (at - f->logical);
	out->len = (size_t)(last - at);
	return BOLE_OK;
}

/* The row at an offset; entries asked for in order are found without a search. */
static enum bole_status find_row(struct flash_snapshot *s, const struct flash_extent *extent,
                                 uint64_t offset, struct flash_extent_row *row)
{
	uint32_t order = s->last_order + 1;

	if (s->found == extent && s->found_row.offset == offset) {
		*row = s->found_row;
		return BOLE_OK;
	}
	if (s->last == extent && order < extent->rows) {
		BOLE_TRY(bole_flash_extent_nth(extent, order, row));
		if (row->offset == offset) {
			s->last_order = order;
			return BOLE_OK;
		}
	}
	BOLE_TRY(bole_flash_extent_at(extent, offset, row, &order));
	s->last = extent;
	s->last_order = order;
	return BOLE_OK;
}

static enum bole_status view_extent(struct flash_snapshot *s, const struct flash_extent *extent,
                                    uint64_t offset, uint64_t pos, struct bole_bytes *out)
{
	struct flash_extent_row row;

	enum bole_status rc = find_row(s, extent, offset, &row);
	if (rc != BOLE_OK)
		return rc == BOLE_E_NOT_FOUND ? BOLE_E_INVALID : rc;
	if (pos >= row.stored)
		return BOLE_E_INVALID;
	if (row.stored > BOLE_VIEW_BYTES)
		return view_large(s, extent, offset + pos, offset + row.stored, out);
	BOLE_TRY(view_small(s, extent, offset, (size_t)row.stored, out));
	uint32_t sum = (uint32_t)bole_flash_sum(out->ptr, out->len, extent->id);
	if (sum != row.checksum)
		return damaged(s, "extent", extent->id, offset);
	out->ptr += pos;
	out->len -= (size_t)pos;
	return BOLE_OK;
}

/* -- Extents as such -- */

enum bole_status bole_flash_extent_next(struct flash_snapshot *s, uint64_t after,
                                        struct bole_extent_info *out)
{
	uint32_t count = bole_flash_index_extents(s->index);
	uint32_t low = 0;
	uint32_t high = count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (s->index->extents->by_id[mid]->id <= after)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == count)
		return BOLE_END;
	const struct flash_extent *extent = s->index->extents->by_id[low];
	*out = (struct bole_extent_info){
	        .extent = extent->id, .data_bytes = extent->data_bytes, .rows = extent->rows};
	return BOLE_OK;
}

enum bole_status bole_flash_extent_rows(struct flash_snapshot *s, uint64_t id, uint32_t first,
                                        struct bole_extent_place *rows, size_t *count)
{
	enum { AHEAD = 8 };
	const struct flash_extent *extent = bole_flash_index_extent(s->index, id);
	struct flash_run_cursor c;
	const uint8_t *p;
	size_t n = 0;
	enum bole_status rc = BOLE_OK;

	if (bole_flash_pin_gone(&s->pin))
		return BOLE_E_GONE;
	if (extent == NULL || first > extent->rows)
		return BOLE_E_NOT_FOUND;
	if (extent->damaged)
		return BOLE_E_CORRUPT;
	size_t most = *count < extent->rows - first ? *count : extent->rows - first;
	*count = 0;
	if (most == 0)
		return BOLE_OK;
	bole_flash_run_cursor_init(&c, extent->order, AHEAD);
	for (c.next = first; n < most && rc == BOLE_OK; n++) {
		struct flash_extent_row row;
		rc = bole_flash_run_next(&c, &p);
		if (rc == BOLE_OK)
			rc = bole_flash_extent_row_of(extent, p, &row);
		if (rc == BOLE_OK)
			rows[n] = (struct bole_extent_place){row.offset, row.stored, row.type};
	}
	bole_flash_run_cursor_close(&c);
	*count = n;
	return rc == BOLE_OK && bole_flash_pin_gone(&s->pin) ? BOLE_E_GONE : rc;
}

enum bole_status bole_flash_extent_order(struct flash_snapshot *s, uint64_t id, uint64_t offset,
                                         uint32_t *order)
{
	const struct flash_extent *extent = bole_flash_index_extent(s->index, id);
	struct flash_extent_row row;

	return extent == NULL ? BOLE_E_NOT_FOUND
	                      : bole_flash_extent_at(extent, offset, &row, order);
}

enum bole_status bole_flash_extent_view(struct flash_snapshot *s, uint64_t id, uint64_t offset,
                                        struct bole_bytes *out)
{
	const struct flash_extent *extent = bole_flash_index_extent(s->index, id);

	if (bole_flash_pin_gone(&s->pin))
		return BOLE_E_GONE;
	if (extent == NULL || offset >= extent->data_bytes)
		return BOLE_E_NOT_FOUND;
	enum bole_status rc = view_large(s, extent, offset, extent->data_bytes, out);
	return rc == BOLE_OK && bole_flash_pin_gone(&s->pin) ? BOLE_E_GONE : rc;
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
	struct flash_extent_row row;
	BOLE_TRY(bole_flash_extent_nth(extent, (uint32_t)(number - tx->spill[i].first), &row));
	return view_extent(s, extent, row.offset, pos, out);
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
