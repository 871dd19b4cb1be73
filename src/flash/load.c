/* SPDX-License-Identifier: ISC */
/* Reading what streams hold: maps and tables of extents. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/mount.h"

/* -- Maps -- */

struct map_reader {
	struct flash_volume *v;
	struct flash_fragment *list;
	uint32_t count;
	uint32_t at;
	uint64_t logical;
	uint32_t stream;
};

static bool map_row(struct map_reader *m, const uint8_t *p)
{
	struct flash_fragment f;
	const struct flash_volume *v = m->v;

	bole_flash_place_get(p, &f);
	if (f.stream != m->stream) {
		m->stream = f.stream;
		m->logical = 0;
	}
	f.logical = m->logical;
	if (f.length == 0 || f.length > v->fragment_bytes || f.segment >= v->segments ||
	    !bole_in_bounds(f.offset, bole_flash_fragment_live(f.length), v->segment_bytes) ||
	    __builtin_add_overflow(m->logical, f.length, &m->logical))
		return false;
	m->list[m->at++] = f;
	return true;
}

/* Reads the map's own fragments one after another; rows do not straddle them by accident only. */
static enum bole_status read_map(struct map_reader *m, uint64_t extent,
                                 const struct flash_fragment *map, uint32_t map_count, uint8_t *buf)
{
	uint8_t row[PLACE_BYTES];
	size_t have = 0;

	for (uint32_t i = 0; i < map_count; i++) {
		const uint8_t *p;
		BOLE_TRY(bole_flash_fragment_read(m->v, extent, &map[i], buf, &p));
		for (size_t n = 0; n < map[i].length;) {
			size_t take = PLACE_BYTES - have;
			if (take > map[i].length - n)
				take = map[i].length - n;
			memcpy(row + have, p + n, take);
			have += take;
			n += take;
			if (have < PLACE_BYTES)
				break;
			have = 0;
			if (m->at == m->count - map_count || !map_row(m, row))
				return BOLE_E_CORRUPT;
		}
	}
	return m->at == m->count - map_count ? BOLE_OK : BOLE_E_CORRUPT;
}

enum bole_status bole_flash_map_load(struct flash_volume *v, uint64_t extent,
                                     const struct flash_fragment *map, uint32_t map_count,
                                     uint64_t map_bytes, struct flash_fragment **out,
                                     uint32_t *count)
{
	uint64_t total = 0;
	uint64_t rows = map_bytes / PLACE_BYTES;

	/* The numbers must fit together before memory is taken for them. */
	for (uint32_t i = 0; i < map_count; i++)
		total += map[i].length;
	if (total != map_bytes || map_bytes % PLACE_BYTES != 0 ||
	    rows + map_count > UINT32_MAX / 2 || rows + map_count == 0)
		return BOLE_E_CORRUPT;
	struct map_reader m = {.v = v, .count = (uint32_t)rows + map_count};
	size_t room = bole_flash_fragment_room(v);
	uint8_t *buf = bole_alloc_array(v->alloc, room, 1);
	m.list = bole_alloc_zeroed(v->alloc, m.count, sizeof *m.list);
	enum bole_status rc = buf == NULL || m.list == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
	if (rc == BOLE_OK)
		rc = read_map(&m, extent, map, map_count, buf);
	bole_alloc_free(v->alloc, buf, room, 1);
	if (rc != BOLE_OK) {
		bole_alloc_free(v->alloc, m.list, m.count, sizeof *m.list);
		return rc;
	}
	memcpy(m.list + m.at, map, map_count * sizeof *map);
	*out = m.list;
	*count = m.count;
	return BOLE_OK;
}

/* -- Extents -- */

size_t bole_flash_extent_body(const struct flash_extent *e, uint8_t *dst)
{
	size_t len = EXTENT_MAP_AT + (size_t)e->map_fragments * PLACE_BYTES;
	uint32_t first = e->fragments - e->map_fragments;
	uint64_t map_bytes = 0;

	if (dst == NULL)
		return len;
	memset(dst, 0, EXTENT_MAP_AT);
	for (uint32_t i = 0; i < e->map_fragments; i++) {
		map_bytes += e->fragment[first + i].length;
		bole_flash_place_put(dst + EXTENT_MAP_AT + (size_t)i * PLACE_BYTES,
		                     &e->fragment[first + i]);
	}
	bole_put_le64(dst + EXTENT_ID_AT, e->id);
	bole_put_le64(dst + EXTENT_DATA_BYTES_AT, e->data_bytes);
	bole_put_le64(dst + EXTENT_ROWS_AT, e->rows);
	bole_put_le64(dst + EXTENT_TABLE_BYTES_AT, e->table_bytes);
	bole_put_le64(dst + EXTENT_MAP_BYTES_AT, map_bytes);
	bole_put_le64(dst + EXTENT_TABLE_DIGEST_AT, e->table_digest);
	bole_put_le32(dst + EXTENT_MAP_COUNT_AT, e->map_fragments);
	bole_put_le32(dst + EXTENT_SLOT_AT, e->slot);
	return len;
}

/* Map fragments as the body names them. */
static enum bole_status body_map(struct flash_volume *v, struct bole_bytes body,
                                 struct flash_fragment **out, uint32_t *count)
{
	uint32_t n = bole_get_le32(body.ptr + EXTENT_MAP_COUNT_AT);
	uint64_t logical = 0;

	if (n == 0 || body.len != EXTENT_MAP_AT + (uint64_t)n * PLACE_BYTES)
		return BOLE_E_CORRUPT;
	struct flash_fragment *map = bole_alloc_zeroed(v->alloc, n, sizeof *map);
	if (map == NULL)
		return BOLE_E_NO_MEMORY;
	bool ok = true;
	for (uint32_t i = 0; i < n; i++) {
		struct flash_fragment *f = &map[i];
		bole_flash_place_get(body.ptr + EXTENT_MAP_AT + (size_t)i * PLACE_BYTES, f);
		f->logical = logical;
		logical += f->length;
		ok &= f->segment < v->segments && f->length != 0 &&
		      f->length <= v->fragment_bytes && f->stream == FLASH_FRAGMENT_MAP &&
		      bole_in_bounds(f->offset, bole_flash_fragment_live(f->length),
		                     v->segment_bytes);
	}
	if (!ok) {
		bole_alloc_free(v->alloc, map, n, sizeof *map);
		return BOLE_E_CORRUPT;
	}
	*out = map;
	*count = n;
	return BOLE_OK;
}

static bool sizes_ok(const struct flash_extent *e, uint64_t rows)
{
	uint64_t data = 0;
	uint64_t table = 0;
	uint32_t i = 0;

	for (; i < e->fragments && e->fragment[i].stream == FLASH_FRAGMENT_DATA; i++)
		data += e->fragment[i].length;
	for (; i < e->fragments && e->fragment[i].stream == FLASH_FRAGMENT_TABLE; i++)
		table += e->fragment[i].length;
	return i == e->fragments - e->map_fragments && data == e->data_bytes &&
	       table == e->table_bytes && rows <= UINT32_MAX / 2 &&
	       table == rows * (e->key_len + ROW_BYTES);
}

static enum bole_status read_table(struct flash_volume *v, struct flash_extent *e)
{
	size_t room = bole_flash_fragment_room(v);
	uint8_t *buf = bole_alloc_array(v->alloc, room, 1);
	enum bole_status rc = BOLE_OK;
	struct flash_sum sum;
	size_t done = 0;

	bole_flash_sum_begin(&sum, e->id);
	if (e->table_bytes != 0)
		e->table = bole_alloc_array(v->alloc, (size_t)e->table_bytes, 1);
	if (buf == NULL || (e->table == NULL && e->table_bytes != 0))
		rc = BOLE_E_NO_MEMORY;
	for (uint32_t i = e->data_fragments; i < e->fragments - e->map_fragments && rc == BOLE_OK;
	     i++) {
		const uint8_t *p;
		rc = bole_flash_fragment_read(v, e->id, &e->fragment[i], buf, &p);
		if (rc == BOLE_OK) {
			memcpy(e->table + done, p, e->fragment[i].length);
			bole_flash_sum_add(&sum, p, e->fragment[i].length);
		}
		done += e->fragment[i].length;
		bole_flash_yield(v);
	}
	bole_alloc_free(v->alloc, buf, room, 1);
	BOLE_TRY(rc);
	if (bole_flash_sum_end(&sum) != e->table_digest)
		return BOLE_E_CORRUPT;
	return bole_flash_extent_index(e, bole_flash_yield, v);
}

static enum bole_status load(struct flash_volume *v, struct flash_extent *e, struct bole_bytes body,
                             struct flash_fragment *map, uint32_t map_count)
{
	uint64_t rows = bole_get_le64(body.ptr + EXTENT_ROWS_AT);

	e->data_bytes = bole_get_le64(body.ptr + EXTENT_DATA_BYTES_AT);
	e->table_digest = bole_get_le64(body.ptr + EXTENT_TABLE_DIGEST_AT);
	uint64_t table = bole_get_le64(body.ptr + EXTENT_TABLE_BYTES_AT);
	enum bole_status rc = bole_flash_map_load(v, e->id, map, map_count,
	                                          bole_get_le64(body.ptr + EXTENT_MAP_BYTES_AT),
	                                          &e->fragment, &e->fragments);
	if (rc != BOLE_OK) {
		/* At least the map's own segments stay occupied. */
		e->fragment = bole_alloc_zeroed(v->alloc, map_count, sizeof *map);
		if (e->fragment == NULL)
			return BOLE_E_NO_MEMORY;
		memcpy(e->fragment, map, map_count * sizeof *map);
		e->fragments = map_count;
		e->map_fragments = map_count;
		return rc;
	}
	e->map_fragments = map_count;
	for (uint32_t i = 0; i < e->fragments; i++)
		e->data_fragments += e->fragment[i].stream == FLASH_FRAGMENT_DATA;
	e->table_bytes = table;
	if (!sizes_ok(e, rows)) {
		e->table_bytes = 0;
		return BOLE_E_CORRUPT;
	}
	e->rows = (uint32_t)rows;
	return read_table(v, e);
}

enum bole_status bole_flash_extent_load(struct flash_volume *v, uint32_t domain, uint32_t key_len,
                                        struct bole_bytes body, struct flash_extent **out)
{
	struct flash_fragment *map;
	uint32_t map_count;

	if (body.len < EXTENT_MAP_AT)
		return BOLE_E_CORRUPT;
	BOLE_TRY(body_map(v, body, &map, &map_count));
	struct flash_extent *e = bole_flash_extent_open(v->alloc);
	enum bole_status rc = e == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
	if (rc == BOLE_OK) {
		e->id = bole_get_le64(body.ptr + EXTENT_ID_AT);
		e->domain = domain;
		e->key_len = key_len;
		e->slot = bole_get_le32(body.ptr + EXTENT_SLOT_AT) % INDEX_SLOTS;
		rc = (e->id >> 60) != 0 || e->id == 0 ? BOLE_E_CORRUPT
		                                      : load(v, e, body, map, map_count);
	}
	bole_alloc_free(v->alloc, map, map_count, sizeof *map);
	if (rc != BOLE_OK && rc != BOLE_E_CORRUPT && rc != BOLE_E_IO) {
		bole_flash_extent_release(e);
		return rc;
	}
	if (rc != BOLE_OK) {
		bole_log(v->platform, BOLE_LOG_WARN, "%s: extent %llu is damaged: %s",
		         v->dev->info.name, (unsigned long long)e->id, bole_status_text(rc));
		e->damaged = true;
	}
	*out = e;
	return BOLE_OK;
}

enum bole_status bole_flash_extent_verify(struct flash_volume *v, const struct flash_extent *e)
{
	size_t room = bole_flash_fragment_room(v);
	uint8_t *buf = bole_alloc_array(v->alloc, room, 1);
	enum bole_status rc = buf == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
	const uint8_t *p;

	for (uint32_t i = 0; i < e->fragments && rc == BOLE_OK; i++) {
		rc = bole_flash_fragment_read(v, e->id, &e->fragment[i], buf, &p);
		bole_flash_yield(v);
	}
	bole_alloc_free(v->alloc, buf, room, 1);
	return rc;
}
