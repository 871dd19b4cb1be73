/* SPDX-License-Identifier: ISC */
/* Extents: the table and the order of the entries are sorted runs, the map says where the fragments
 * of the data are. The map is read when it is first needed. */
#include "flash/index/extent.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/index/sort.h"
#include "flash/volume/checksum.h"
#include "flash/volume/mount.h"

/* -- Rows -- */

static uint64_t get48(const uint8_t *p)
{
	return (uint64_t)bole_get_le16(p + 4) << 32 | bole_get_le32(p);
}

static uint64_t get40(const uint8_t *p)
{
	return (uint64_t)p[4] << 32 | bole_get_le32(p);
}

static void put48be(uint8_t *p, uint64_t n)
{
	for (int i = 5; i >= 0; i--, n >>= 8)
		p[i] = (uint8_t)n;
}

static uint64_t get48be(const uint8_t *p)
{
	return (uint64_t)bole_get_be16(p) << 32 | bole_get_be32(p + 2);
}

void bole_flash_row_put(uint8_t *row, uint32_t key_len, uint64_t offset, uint64_t stored,
                        uint8_t type, uint32_t checksum)
{
	uint8_t *p = row + key_len;

	bole_put_le32(p + ROW_OFFSET_AT, (uint32_t)offset);
	bole_put_le16(p + ROW_OFFSET_AT + 4, (uint16_t)(offset >> 32));
	bole_put_le32(p + ROW_STORED_AT, (uint32_t)stored);
	p[ROW_STORED_AT + 4] = (uint8_t)(stored >> 32);
	p[ROW_TYPE_AT] = type;
	bole_put_le32(p + ROW_CHECKSUM_AT, checksum);
}

static void table_row(const uint8_t *fields, uint32_t number, struct flash_extent_row *out)
{
	*out = (struct flash_extent_row){
	        .offset = get48(fields + ROW_OFFSET_AT),
	        .stored = get40(fields + ROW_STORED_AT),
	        .number = number,
	        .checksum = bole_get_le32(fields + ROW_CHECKSUM_AT),
	        .type = fields[ROW_TYPE_AT],
	};
}

static void order_row(const uint8_t *p, struct flash_extent_row *out)
{
	*out = (struct flash_extent_row){
	        .offset = get48be(p + ORDER_OFFSET_AT),
	        .stored = get40(p + ORDER_STORED_AT),
	        .number = bole_get_be32(p + ORDER_NUMBER_AT),
	        .checksum = bole_get_le32(p + ORDER_CHECKSUM_AT),
	        .type = p[ORDER_TYPE_AT],
	};
}

/* Numbers come from the device: its checksum does not make them sane. */
static enum bole_status sane(const struct flash_extent *e, const struct flash_extent_row *row)
{
	return row->stored != 0 && row->number < e->rows &&
	                       bole_in_bounds(row->offset, row->stored, e->data_bytes)
	               ? BOLE_OK
	               : BOLE_E_CORRUPT;
}

enum bole_status bole_flash_extent_find(const struct flash_extent *e, const uint8_t *key,
                                        uint32_t nth, struct flash_extent_row *out)
{
	struct flash_run_match match;
	uint8_t row[RUN_WIDTH_MAX];
	const uint8_t *p = row;

	if (e->damaged)
		return BOLE_E_CORRUPT;
	if (e->table == NULL)
		return BOLE_E_NOT_FOUND;
	uint64_t hash = bole_flash_run_hash(e->v, key, e->key_len);
	BOLE_TRY(bole_flash_run_find(e->table, key, hash, &match));
	if (nth < match.count) {
		p = match.rows + (size_t)nth * e->table->shape.width;
	} else {
		if (!match.more || match.row + nth >= e->rows)
			return BOLE_E_NOT_FOUND;
		BOLE_TRY(bole_flash_run_row(e->table, match.row + nth, row));
		if (memcmp(row, key, e->key_len) != 0)
			return BOLE_E_NOT_FOUND;
	}
	table_row(p + e->key_len, match.row + nth, out);
	return sane(e, out);
}

enum bole_status bole_flash_extent_at(const struct flash_extent *e, uint64_t offset,
                                      struct flash_extent_row *out, uint32_t *order)
{
	struct flash_run_match match;
	uint8_t key[6];

	if (e->damaged)
		return BOLE_E_CORRUPT;
	if (e->order == NULL || offset >> 48 != 0)
		return BOLE_E_NOT_FOUND;
	put48be(key, offset);
	BOLE_TRY(bole_flash_run_find(e->order, key, bole_flash_run_hash(e->v, key, ORDER_KEY_BYTES),
	                             &match));
	*order = match.row;
	order_row(match.rows, out);
	return sane(e, out);
}

enum bole_status bole_flash_extent_nth(const struct flash_extent *e, uint32_t order,
                                       struct flash_extent_row *out)
{
	uint8_t row[RUN_WIDTH_MAX];

	if (e->damaged)
		return BOLE_E_CORRUPT;
	BOLE_ASSERT(order < e->rows);
	BOLE_TRY(bole_flash_run_row(e->order, order, row));
	order_row(row, out);
	return sane(e, out);
}

enum bole_status bole_flash_extent_row_of(const struct flash_extent *e, const uint8_t *p,
                                          struct flash_extent_row *out)
{
	order_row(p, out);
	return sane(e, out);
}

enum bole_status bole_flash_extent_key(const struct flash_extent *e, uint32_t number, uint8_t *key)
{
	uint8_t row[RUN_WIDTH_MAX];

	BOLE_TRY(bole_flash_run_row(e->table, number, row));
	memcpy(key, row, e->key_len);
	return BOLE_OK;
}

enum bole_status bole_flash_extent_each(struct flash_volume *v, const struct flash_extent *e,
                                        enum bole_status (*row)(void *, uint32_t, const uint8_t *),
                                        void *ctx)
{
	struct flash_run_cursor c;
	const uint8_t *p;
	enum bole_status rc = BOLE_END;

	if (e->table == NULL)
		return BOLE_OK;
	bole_flash_run_cursor_init(&c, e->table, v->budget.limit == SIZE_MAX ? 0 : 2);
	while ((rc = bole_flash_run_next(&c, &p)) == BOLE_OK) {
		rc = row(ctx, c.next - 1, p);
		if (rc != BOLE_OK)
			break;
		if (c.next % SORT_YIELD_ROWS == 0)
			bole_flash_yield(v);
	}
	bole_flash_run_cursor_close(&c);
	return rc == BOLE_END ? BOLE_OK : rc;
}

enum bole_status
bole_flash_extent_in_order(struct flash_volume *v, const struct flash_extent *e,
                           enum bole_status (*row)(void *, const struct flash_extent_row *),
                           void *ctx)
{
	struct flash_extent_row r;
	struct flash_run_cursor c;
	const uint8_t *p;
	enum bole_status rc;

	if (e->order == NULL)
		return BOLE_OK;
	bole_flash_run_cursor_init(&c, e->order, v->budget.limit == SIZE_MAX ? 0 : 2);
	while ((rc = bole_flash_run_next(&c, &p)) == BOLE_OK) {
		order_row(p, &r);
		rc = sane(e, &r);
		if (rc == BOLE_OK)
			rc = row(ctx, &r);
		if (rc != BOLE_OK)
			break;
		if (c.next % SORT_YIELD_ROWS == 0)
			bole_flash_yield(v);
	}
	bole_flash_run_cursor_close(&c);
	return rc == BOLE_END ? BOLE_OK : rc;
}

/* -- Runs of a new extent -- */

static enum bole_status write_table(struct flash_volume *v, const uint8_t *table, uint32_t rows,
                                    uint32_t key_len, struct flash_run **out)
{
	struct flash_run_shape shape = {.width = (uint8_t)(key_len + ROW_BYTES),
	                                .key_len = (uint8_t)key_len,
	                                .search_len = (uint8_t)key_len};
	struct flash_run_builder b;

	BOLE_TRY(bole_flash_run_begin(&b, v, &shape, rows, true, FLASH_FOR_DATA));
	for (uint32_t i = 0; i < rows; i += SORT_YIELD_ROWS) {
		uint32_t n = rows - i < SORT_YIELD_ROWS ? rows - i : SORT_YIELD_ROWS;
		enum bole_status rc = bole_flash_run_append(&b, table + (size_t)i * shape.width, n);
		if (rc != BOLE_OK) {
			bole_flash_run_abort(&b);
			return rc;
		}
		bole_flash_yield(v);
	}
	return bole_flash_run_finish(&b, out);
}

/* Entries may not overlap. */
static enum bole_status append_order(struct flash_run_builder *b, const uint8_t *table,
                                     const struct flash_sort_item *items, uint32_t rows,
                                     uint32_t key_len, uint64_t data_bytes)
{
	size_t width = (size_t)key_len + ROW_BYTES;
	uint8_t row[ORDER_BYTES];
	uint64_t end = 0;

	for (uint32_t i = 0; i < rows; i++) {
		const uint8_t *fields = table + items[i].row * width + key_len;
		uint64_t stored = get40(fields + ROW_STORED_AT);
		if (items[i].key < end || stored == 0 ||
		    !bole_in_bounds(items[i].key, stored, data_bytes))
			return BOLE_E_INVALID;
		end = items[i].key + stored;
		put48be(row + ORDER_OFFSET_AT, items[i].key);
		memcpy(row + ORDER_STORED_AT, fields + ROW_STORED_AT, 5);
		row[ORDER_TYPE_AT] = fields[ROW_TYPE_AT];
		memcpy(row + ORDER_CHECKSUM_AT, fields + ROW_CHECKSUM_AT, 4);
		bole_put_be32(row + ORDER_NUMBER_AT, items[i].row);
		BOLE_TRY(bole_flash_run_append(b, row, 1));
		if (i % SORT_YIELD_ROWS == SORT_YIELD_ROWS - 1)
			bole_flash_yield(b->v);
	}
	return BOLE_OK;
}

static enum bole_status write_order(struct flash_volume *v, const uint8_t *table, uint32_t rows,
                                    uint32_t key_len, uint64_t data_bytes, struct flash_run **out)
{
	struct flash_run_shape shape = {
	        .width = ORDER_BYTES,
	        .key_len = ORDER_KEY_BYTES,
	        .search_len = ORDER_KEY_BYTES,
	        .zeros = data_bytes >> 32 == 0   ? 2
	                 : data_bytes >> 40 == 0 ? 1
	                                         : 0,
	};
	struct bole_alloc *alloc = v->alloc;
	struct flash_run_builder b;

	struct flash_sort_item *items = bole_alloc_array(alloc, rows, sizeof *items);
	struct flash_sort_item *spare = bole_alloc_array(alloc, rows, sizeof *spare);
	enum bole_status rc = items == NULL || spare == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
	for (uint32_t i = 0; i < rows && rc == BOLE_OK; i++)
		items[i] = (struct flash_sort_item){
		        get48(table + i * ((size_t)key_len + ROW_BYTES) + key_len + ROW_OFFSET_AT),
		        i};
	if (rc == BOLE_OK)
		bole_flash_sort(items, spare, rows, bole_flash_yield, v);
	bole_alloc_free(alloc, spare, rows, sizeof *spare);
	if (rc == BOLE_OK)
		rc = bole_flash_run_begin(&b, v, &shape, rows, false, FLASH_FOR_DATA);
	if (rc == BOLE_OK) {
		rc = append_order(&b, table, items, rows, key_len, data_bytes);
		if (rc == BOLE_OK)
			rc = bole_flash_run_finish(&b, out);
		else
			bole_flash_run_abort(&b);
	}
	bole_alloc_free(alloc, items, rows, sizeof *items);
	return rc;
}

enum bole_status bole_flash_extent_write(struct flash_extent *e, const uint8_t *table,
                                         uint32_t rows)
{
	e->rows = rows;
	if (rows == 0)
		return BOLE_OK;
	BOLE_TRY(write_table(e->v, table, rows, e->key_len, &e->table));
	return write_order(e->v, table, rows, e->key_len, e->data_bytes, &e->order);
}

/* -- The map -- */

enum bole_status bole_flash_extent_map(const struct flash_extent *extent,
                                       const struct flash_fragment **out)
{
	/* What is filled in here is the same whoever does it. */
	struct flash_extent *e = (struct flash_extent *)(uintptr_t)extent;
	struct flash_fragment *list = atomic_load(&e->fragment);
	struct flash_fragment *none = NULL;
	uint32_t count;

	if (list == NULL) {
		uint64_t bytes = 0;
		for (uint32_t i = 0; i < e->map_fragments; i++)
			bytes += e->map[i].length;
		BOLE_TRY(bole_flash_map_load(e->v, e->id, e->map, e->map_fragments, bytes, &list,
		                             &count));
		uint64_t data = 0;
		bool ok = count == e->fragments;
		for (uint32_t i = 0; ok && i < count - e->map_fragments; i++) {
			ok = list[i].stream == FLASH_FRAGMENT_DATA && list[i].logical == data;
			data += list[i].length;
		}
		if (!ok || data != e->data_bytes) {
			bole_alloc_free(e->v->alloc, list, count, sizeof *list);
			return BOLE_E_CORRUPT;
		}
		if (!atomic_compare_exchange_strong(&e->fragment, &none, list)) {
			bole_alloc_free(e->v->alloc, list, count, sizeof *list);
			list = none;
		}
	}
	*out = list;
	return BOLE_OK;
}

uint32_t bole_flash_extent_fragment(const struct flash_extent *extent,
                                    const struct flash_fragment *list, uint64_t logical)
{
	uint32_t low = 0;
	uint32_t high = bole_flash_extent_data(extent);

	BOLE_ASSERT(high > 0);
	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;
		if (list[mid].logical <= logical)
			low = mid;
		else
			high = mid;
	}
	return low;
}

void bole_flash_extent_change(const struct flash_extent *e, enum flash_change change, bool locked)
{
	struct flash_volume *v = e->v;
	const struct flash_fragment *list = atomic_load(&e->fragment);

	if (list == NULL && !locked && bole_flash_extent_map(e, &list) != BOLE_OK)
		bole_log(v->platform, BOLE_LOG_WARN,
		         "%s: the map of extent %llu cannot be read: its data stays occupied",
		         v->dev->info.name, (unsigned long long)e->id);
	if (list != NULL)
		bole_flash_fragments_change(v, list, e->fragments, change, locked);
	else
		bole_flash_fragments_change(v, e->map, e->map_fragments, change, locked);
	if (e->table != NULL)
		bole_flash_run_change(e->table, change, locked);
	if (e->order != NULL)
		bole_flash_run_change(e->order, change, locked);
}

enum bole_status bole_flash_extent_verify(struct flash_volume *v, const struct flash_extent *e)
{
	const struct flash_fragment *list;
	size_t room = bole_flash_fragment_room(v);
	const uint8_t *p;

	BOLE_TRY(bole_flash_extent_map(e, &list));
	uint8_t *buf = bole_alloc_array(v->alloc, room, 1);
	enum bole_status rc = buf == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
	for (uint32_t i = 0; i < e->fragments && rc == BOLE_OK; i++) {
		if (list[i].segment != SEGMENT_NONE)
			rc = bole_flash_fragment_read(v, e->id, &list[i], buf, &p);
		bole_flash_yield(v);
	}
	bole_alloc_free(v->alloc, buf, room, 1);
	if (rc == BOLE_OK && e->table != NULL)
		rc = bole_flash_run_verify(e->table);
	if (rc == BOLE_OK && e->order != NULL)
		rc = bole_flash_run_verify(e->order);
	return rc;
}

/* -- Its record -- */

static size_t runs_body(const struct flash_extent *e)
{
	if (e->rows == 0)
		return 0;
	return bole_flash_run_encoded(e->table) + bole_flash_run_encoded(e->order) +
	       ((size_t)e->table->chunks + e->order->chunks) * EXTENT_SEQUENCE_BYTES;
}

static uint8_t *put_sequences(const struct flash_run *run, uint8_t *p)
{
	for (uint32_t i = 0; i < run->chunks; i++, p += EXTENT_SEQUENCE_BYTES)
		bole_put_le64(p, run->chunk[i].sequence);
	return p;
}

size_t bole_flash_extent_body(const struct flash_extent *e, uint8_t *dst)
{
	size_t len = EXTENT_MAP_AT + (size_t)e->map_fragments * PLACE_BYTES + runs_body(e);
	uint64_t map_bytes = 0;

	if (dst == NULL)
		return len;
	memset(dst, 0, EXTENT_MAP_AT);
	uint8_t *p = dst + EXTENT_MAP_AT;
	for (uint32_t i = 0; i < e->map_fragments; i++, p += PLACE_BYTES) {
		map_bytes += e->map[i].length;
		bole_flash_place_put(p, &e->map[i]);
	}
	bole_put_le64(dst + EXTENT_ID_AT, e->id);
	bole_put_le64(dst + EXTENT_DATA_BYTES_AT, e->data_bytes);
	bole_put_le64(dst + EXTENT_ROWS_AT, e->rows);
	bole_put_le64(dst + EXTENT_MAP_BYTES_AT, map_bytes);
	bole_put_le32(dst + EXTENT_MAP_COUNT_AT, e->map_fragments);
	bole_put_le32(dst + EXTENT_SLOT_AT, e->slot);
	if (e->rows == 0)
		return len;
	bole_flash_run_encode(e->table, p);
	p += bole_flash_run_encoded(e->table);
	bole_flash_run_encode(e->order, p);
	p += bole_flash_run_encoded(e->order);
	(void)put_sequences(e->order, put_sequences(e->table, p));
	return len;
}

/* The sequences of a run's segments as the record says: those of segments that were opened since
 * the checkpoint are known from nowhere else. */
static bool get_sequences(struct flash_volume *v, struct flash_run *run, struct bole_bytes *rest)
{
	if (rest->len < (size_t)run->chunks * EXTENT_SEQUENCE_BYTES)
		return false;
	for (uint32_t i = 0; i < run->chunks; i++) {
		struct flash_run_chunk *c = &run->chunk[i];
		c->sequence = bole_get_le64(rest->ptr);
		rest->ptr += EXTENT_SEQUENCE_BYTES;
		rest->len -= EXTENT_SEQUENCE_BYTES;
		if (c->sequence > v->segment[c->segment].sequence)
			v->segment[c->segment].sequence = c->sequence;
		if (c->sequence >> 32 > v->opened)
			v->opened = (uint32_t)(c->sequence >> 32);
	}
	return true;
}

static enum bole_status load_runs(struct flash_extent *e, struct bole_bytes rest)
{
	size_t used;

	if (e->rows == 0)
		return rest.len == 0 ? BOLE_OK : BOLE_E_CORRUPT;
	BOLE_TRY(bole_flash_run_decode(e->v, rest, &e->table, &used));
	rest.ptr += used;
	rest.len -= used;
	BOLE_TRY(bole_flash_run_decode(e->v, rest, &e->order, &used));
	rest.ptr += used;
	rest.len -= used;
	if (e->key_len == 0 && e->table->shape.width > ROW_BYTES)
		e->key_len = e->table->shape.width - (uint32_t)ROW_BYTES;
	return get_sequences(e->v, e->table, &rest) && get_sequences(e->v, e->order, &rest) &&
	                       rest.len == 0 && e->table->rows == e->rows &&
	                       e->order->rows == e->rows &&
	                       e->table->shape.width == e->key_len + ROW_BYTES &&
	                       e->table->shape.key_len == e->key_len &&
	                       e->table->shape.search_len == e->key_len &&
	                       e->order->shape.width == ORDER_BYTES &&
	                       e->order->shape.search_len == ORDER_KEY_BYTES
	               ? BOLE_OK
	               : BOLE_E_CORRUPT;
}

/* Map fragments as the body names them. */
static enum bole_status load_places(struct flash_extent *e, struct bole_bytes body)
{
	const struct flash_volume *v = e->v;
	uint32_t n = bole_get_le32(body.ptr + EXTENT_MAP_COUNT_AT);
	uint64_t bytes = bole_get_le64(body.ptr + EXTENT_MAP_BYTES_AT);
	uint64_t logical = 0;
	bool ok = true;

	if (n == 0 || n > (body.len - EXTENT_MAP_AT) / PLACE_BYTES)
		return BOLE_E_CORRUPT;
	e->map = bole_alloc_zeroed(v->alloc, n, sizeof *e->map);
	if (e->map == NULL)
		return BOLE_E_NO_MEMORY;
	e->map_fragments = n;
	for (uint32_t i = 0; i < n; i++) {
		struct flash_fragment *f = &e->map[i];
		bole_flash_place_get(body.ptr + EXTENT_MAP_AT + (size_t)i * PLACE_BYTES, f);
		f->logical = logical;
		logical += f->length;
		ok &= f->segment < v->segments && f->length != 0 &&
		      f->length <= v->fragment_bytes && f->stream == FLASH_FRAGMENT_MAP &&
		      bole_in_bounds(f->offset, bole_flash_fragment_live(f->length),
		                     v->segment_bytes);
	}
	if (!ok || logical != bytes || bytes % PLACE_BYTES != 0 ||
	    bytes / PLACE_BYTES > (uint64_t)v->segments * (v->segment_bytes / v->unit))
		return BOLE_E_CORRUPT;
	e->fragments = (uint32_t)(bytes / PLACE_BYTES) + n;
	return BOLE_OK;
}

enum bole_status bole_flash_extent_load(struct flash_volume *v, uint32_t domain, uint32_t key_len,
                                        struct bole_bytes body, struct flash_extent **out)
{
	if (body.len < EXTENT_MAP_AT)
		return BOLE_E_CORRUPT;
	struct flash_extent *e = bole_flash_extent_open(v);
	if (e == NULL)
		return BOLE_E_NO_MEMORY;
	uint64_t rows = bole_get_le64(body.ptr + EXTENT_ROWS_AT);
	e->id = bole_get_le64(body.ptr + EXTENT_ID_AT);
	e->domain = domain;
	e->key_len = key_len;
	e->rows = (uint32_t)rows;
	e->data_bytes = bole_get_le64(body.ptr + EXTENT_DATA_BYTES_AT);
	e->slot = bole_get_le32(body.ptr + EXTENT_SLOT_AT) % INDEX_SLOTS;
	enum bole_status rc = e->id >> 60 != 0 || e->id == 0 || rows > UINT32_MAX / 2
	                              ? BOLE_E_CORRUPT
	                              : load_places(e, body);
	if (rc == BOLE_OK) {
		size_t at = EXTENT_MAP_AT + (size_t)e->map_fragments * PLACE_BYTES;
		rc = load_runs(e, (struct bole_bytes){body.ptr + at, body.len - at});
	}
	if (rc != BOLE_OK) {
		bole_flash_extent_release(e);
		return rc;
	}
	*out = e;
	return BOLE_OK;
}

/* -- In memory -- */

struct flash_extent *bole_flash_extent_open(struct flash_volume *v)
{
	struct flash_extent *e = bole_alloc_zeroed(v->alloc, 1, sizeof *e);

	if (e == NULL)
		return NULL;
	atomic_init(&e->refs, 1);
	atomic_init(&e->fragment, NULL);
	e->v = v;
	return e;
}

void bole_flash_extent_release(struct flash_extent *e)
{
	if (e == NULL || atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) != 1)
		return;
	struct bole_alloc *alloc = e->v->alloc;
	bole_alloc_free(alloc, atomic_load(&e->fragment), e->fragments,
	                sizeof(struct flash_fragment));
	bole_alloc_free(alloc, e->map, e->map_fragments, sizeof *e->map);
	bole_flash_run_release(e->table);
	bole_flash_run_release(e->order);
	bole_alloc_free(alloc, e, 1, sizeof *e);
}
