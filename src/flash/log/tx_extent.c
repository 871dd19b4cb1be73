/* SPDX-License-Identifier: ISC */
/* Extents of a transaction: a pack streams in, then its table is made. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/index/extent.h"
#include "flash/index/sort.h"
#include "flash/log/tx.h"
#include "flash/space/mark.h"

enum bole_status bole_flash_extent_begin(struct flash_tx *tx, uint64_t *extent)
{
	struct flash_volume *v = tx->v;

	if (tx->streaming || tx->given)
		return BOLE_E_INVALID;
	BOLE_TRY(tx->broken);
	bole_flash_lock(v);
	*extent = v->next_extent++;
	bole_flash_unlock(v);
	bole_flash_stream_init(&tx->stream, v, *extent, tx->repo->domain->id, FLASH_SEGMENT_DATA,
	                       FLASH_FOR_DATA);
	tx->streaming = true;
	tx->window_len = 0;
	return bole_flash_stream_select(&tx->stream, FLASH_FRAGMENT_DATA);
}

enum bole_status bole_flash_extent_append(struct flash_tx *tx, struct bole_bytes bytes)
{
	if (!tx->streaming)
		return BOLE_E_INVALID;
	BOLE_TRY(tx->broken);
	enum bole_status rc = bole_flash_stream_append(&tx->stream, bytes.ptr, bytes.len);
	if (rc != BOLE_OK)
		tx->broken = rc;
	return rc;
}

/* -- Reading back before the table exists -- */

static const struct flash_fragment *fragment_of(const struct flash_stream *s, uint64_t logical)
{
	uint32_t low = 0;
	uint32_t high = s->fragments;

	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;
		if (s->fragment[mid].logical <= logical)
			low = mid;
		else
			high = mid;
	}
	return &s->fragment[low];
}

enum { PENDING_READ_BYTES = 16 << 10 };

/* Bytes of one fragment through a small window: a delta base is read in order. Not verified here:
 * finish verifies every byte before anything is published. */
static enum bole_status read_fragment(struct flash_tx *tx, const struct flash_fragment *f,
                                      uint64_t logical, uint8_t *dst, size_t len)
{
	struct flash_volume *v = tx->v;
	size_t cap = v->fragment_bytes + bole_flash_read_slack(v);
	const uint8_t *p;

	if (tx->window == NULL)
		tx->window = bole_alloc_array(v->alloc, cap, 1);
	if (tx->window == NULL)
		return BOLE_E_NO_MEMORY;
	if (tx->window_len == 0 || logical < tx->window_at ||
	    !bole_in_bounds(logical - tx->window_at, len, tx->window_len)) {
		uint64_t skip = logical - f->logical;
		size_t want = len > PENDING_READ_BYTES ? len : PENDING_READ_BYTES;
		if (want > f->length - skip)
			want = (size_t)(f->length - skip);
		tx->window_len = 0;
		BOLE_TRY(bole_flash_read(v, f->segment,
		                         f->offset + RECORD_HEAD_BYTES + FRAGMENT_HEAD_BYTES +
		                                 (uint32_t)skip,
		                         want, tx->window, &p));
		if (p != tx->window)
			memmove(tx->window, p, want);
		tx->window_at = logical;
		tx->window_len = (uint32_t)want;
	}
	memcpy(dst, tx->window + (logical - tx->window_at), len);
	return BOLE_OK;
}

enum bole_status bole_flash_extent_read(struct flash_tx *tx, uint64_t offset, void *dst, size_t len)
{
	const struct flash_stream *s = &tx->stream;
	uint8_t *out = dst;

	if (!tx->streaming || !bole_in_bounds(offset, len, s->logical + s->len))
		return BOLE_E_INVALID;
	BOLE_TRY(tx->broken);
	while (len > 0) {
		size_t n;
		if (offset >= s->logical) {
			memcpy(out,
			       s->buf + SEGMENT_HEAD_BYTES + RECORD_HEAD_BYTES +
			               FRAGMENT_HEAD_BYTES + (offset - s->logical),
			       len);
			return BOLE_OK;
		}
		const struct flash_fragment *f = fragment_of(s, offset);
		uint64_t rest = f->logical + f->length - offset;
		n = rest < len ? (size_t)rest : len;
		BOLE_TRY(read_fragment(tx, f, offset, out, n));
		out += n;
		offset += n;
		len -= n;
	}
	return BOLE_OK;
}

/* -- The table -- */

struct table_maker {
	const struct bole_extent_row *rows;
	size_t count;
	uint8_t *table;
	uint32_t key_len;
	uint64_t extent;
	size_t at;         /* the row in progress */
	uint64_t expected; /* the next byte of it */
	struct flash_sum sum;
};

/* Takes the bytes [from, from + len) of the extent and finishes the rows that end there. */
static void table_feed(struct table_maker *m, uint64_t from, const uint8_t *p, size_t len)
{
	while (m->at < m->count) {
		const struct bole_extent_row *row = &m->rows[m->at];
		if (m->expected == row->offset)
			bole_flash_sum_begin(&m->sum, m->extent);
		if (m->expected >= from + len)
			return;
		uint64_t end = row->offset + row->stored_bytes;
		uint64_t stop = end < from + len ? end : from + len;
		bole_flash_sum_add(&m->sum, p + (m->expected - from), (size_t)(stop - m->expected));
		m->expected = stop;
		if (stop < end)
			return;
		uint8_t *out = m->table + m->at * (m->key_len + ROW_BYTES);
		memcpy(out, row->oid.bytes, m->key_len);
		bole_flash_row_put(out, m->key_len, row->offset, row->stored_bytes, row->type,
		                   (uint32_t)bole_flash_sum_end(&m->sum));
		m->at++;
		m->expected = m->at < m->count ? m->rows[m->at].offset : 0;
	}
}

/* Reads everything back: each entry gets its checksum from what the device really holds. */
static enum bole_status read_back(struct flash_tx *tx, struct table_maker *m)
{
	struct flash_volume *v = tx->v;
	const struct flash_stream *s = &tx->stream;
	size_t room = bole_flash_fragment_room(v);
	uint8_t *buf = bole_alloc_array(v->alloc, room, 1);
	enum bole_status rc = BOLE_OK;
	const uint8_t *payload;

	if (buf == NULL)
		return BOLE_E_NO_MEMORY;
	for (uint32_t i = 0; i < s->fragments && rc == BOLE_OK; i++) {
		const struct flash_fragment *f = &s->fragment[i];
		if (f->stream != FLASH_FRAGMENT_DATA)
			break;
		rc = bole_flash_fragment_read(v, s->extent, f, buf, &payload);
		if (rc == BOLE_OK)
			table_feed(m, f->logical, payload, f->length);
		bole_flash_yield(v);
	}
	bole_alloc_free(v->alloc, buf, room, 1);
	return rc;
}

static bool rows_ok(const struct bole_extent_row *rows, size_t count, uint64_t data)
{
	uint64_t end = 0;

	if (count > UINT32_MAX / 2)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (rows[i].offset < end || rows[i].stored_bytes == 0 ||
		    rows[i].stored_bytes >> 40 != 0 || rows[i].offset >> 48 != 0 ||
		    !bole_in_bounds(rows[i].offset, rows[i].stored_bytes, data))
			return false;
		end = rows[i].offset + rows[i].stored_bytes;
	}
	return true;
}

static enum bole_status finish(struct flash_tx *tx, const struct bole_extent_row *rows,
                               size_t count)
{
	uint32_t key_len = tx->repo->domain->key_len;
	size_t width = (size_t)key_len + ROW_BYTES;
	struct flash_stream *s = &tx->stream;

	BOLE_TRY(bole_flash_stream_end(s));
	if (!rows_ok(rows, count, s->logical))
		return BOLE_E_INVALID;
	struct table_maker m = {
	        .rows = rows,
	        .count = count,
	        .key_len = key_len,
	        .extent = s->extent,
	        .expected = count == 0 ? 0 : rows[0].offset,
	};
	if (count != 0)
		m.table = bole_alloc_array(tx->v->alloc, count, width);
	if (count != 0 && m.table == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = read_back(tx, &m);
	if (rc == BOLE_OK && m.at != count)
		rc = BOLE_E_CORRUPT;
	if (rc == BOLE_OK)
		rc = bole_flash_sort_rows(tx->v->alloc, m.table, (uint32_t)count, width, key_len,
		                          bole_flash_yield, tx->v);
	if (rc == BOLE_OK)
		rc = bole_flash_extent_seal(tx, s, s->logical, m.table, (uint32_t)count);
	bole_alloc_free(tx->v->alloc, m.table, count, width);
	return rc;
}

enum bole_status bole_flash_extent_finish(struct flash_tx *tx, const struct bole_extent_row *rows,
                                          size_t count)
{
	if (!tx->streaming)
		return BOLE_E_INVALID;
	enum bole_status rc = tx->broken;
	if (rc == BOLE_OK)
		rc = finish(tx, rows, count);
	bole_flash_stream_release(&tx->stream, rc == BOLE_OK);
	tx->streaming = false;
	if (rc == BOLE_OK)
		bole_flash_mark_extent(tx, tx->extent[tx->extents - 1]);
	if (rc == BOLE_OK)
		rc = bole_flash_tx_again(tx, tx->extent[tx->extents - 1]);
	if (rc != BOLE_OK)
		tx->broken = rc;
	return rc;
}

/* -- Table and map, and the extent in memory -- */

static enum bole_status write_map(struct flash_stream *s)
{
	uint8_t place[PLACE_BYTES];

	/* The last of the data may still be in memory: the map names it, too. */
	BOLE_TRY(bole_flash_stream_end(s));
	uint32_t count = s->fragments;
	BOLE_TRY(bole_flash_stream_select(s, FLASH_FRAGMENT_MAP));
	for (uint32_t i = 0; i < count; i++) {
		bole_flash_place_put(place, &s->fragment[i]);
		BOLE_TRY(bole_flash_stream_append(s, place, sizeof place));
	}
	return bole_flash_stream_end(s);
}

/* Table, order, map: what makes an extent of data that is written. */
static enum bole_status make_extent(struct flash_extent *e, struct flash_stream *s,
                                    const uint8_t *table, uint32_t rows)
{
	struct bole_alloc *alloc = e->v->alloc;

	BOLE_TRY(bole_flash_extent_write(e, table, rows));
	BOLE_TRY(write_map(s));
	struct flash_fragment *list = bole_alloc_array(alloc, s->fragments, sizeof *list);
	if (list == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(list, s->fragment, s->fragments * sizeof *list);
	e->fragments = s->fragments;
	for (uint32_t i = 0; i < s->fragments; i++)
		e->map_fragments += list[i].stream == FLASH_FRAGMENT_MAP;
	atomic_store(&e->fragment, list);
	uint32_t map = e->map_fragments;
	e->map = bole_alloc_array(alloc, map, sizeof *e->map);
	if (e->map == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(e->map, list + s->fragments - map, map * sizeof *e->map);
	return bole_flash_extent_body(e, NULL) > e->v->record_max ? BOLE_E_LIMIT : BOLE_OK;
}

static void drop_runs(const struct flash_extent *e)
{
	if (e->table != NULL)
		bole_flash_run_change(e->table, FLASH_HELD_DROPPED, false);
	if (e->order != NULL)
		bole_flash_run_change(e->order, FLASH_HELD_DROPPED, false);
}

enum bole_status bole_flash_extent_seal(struct flash_tx *tx, struct flash_stream *s,
                                        uint64_t data_bytes, const uint8_t *table, uint32_t rows)
{
	struct flash_volume *v = tx->v;

	void *list = tx->extents == 0 ? bole_alloc_array(v->alloc, 1, sizeof(struct flash_extent *))
	                              : bole_alloc_resize(v->alloc, tx->extent, tx->extents,
	                                                  tx->extents + 1, sizeof *tx->extent);
	if (list == NULL)
		return BOLE_E_NO_MEMORY;
	tx->extent = list;
	struct flash_extent *e = bole_flash_extent_open(v);
	tx->extent[tx->extents] = e;
	enum bole_status rc = e == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
	if (rc == BOLE_OK) {
		e->id = s->extent;
		e->domain = tx->repo->domain->id;
		e->key_len = tx->repo->domain->key_len;
		e->data_bytes = data_bytes;
		rc = make_extent(e, s, table, rows);
		if (rc != BOLE_OK)
			drop_runs(e);
	}
	if (rc == BOLE_OK) {
		tx->extents++;
		return BOLE_OK;
	}
	/* The list goes back to its old length. */
	bole_flash_extent_release(e);
	if (tx->extents == 0) {
		bole_alloc_free(v->alloc, tx->extent, 1, sizeof *tx->extent);
		tx->extent = NULL;
	} else {
		tx->extent = bole_alloc_resize(v->alloc, tx->extent, tx->extents + 1, tx->extents,
		                               sizeof *tx->extent);
		BOLE_ASSERT(tx->extent != NULL);
	}
	return rc == BOLE_E_CORRUPT ? BOLE_E_INVALID : rc;
}
