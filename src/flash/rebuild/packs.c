/* SPDX-License-Identifier: ISC */
/* Packs whose record is gone, or names places where they are not any more: fragments of data say of
 * which pack they are, and where in it; rows of a table are told by the checksum of the entry that
 * they name. What is found so gets a new table and map, before the new state is durable. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/index/extent.h"
#include "flash/log/stream.h"
#include "flash/rebuild/rebuild.h"

enum { PACKS_FIRST = 16 };

/* -- Lists -- */

static struct rebuild_pack *find_pack(const struct rebuild_packs *p, uint64_t id)
{
	for (uint32_t i = 0; i < p->count; i++)
		if (p->pack[i].id == id)
			return &p->pack[i];
	return NULL;
}

enum bole_status bole_flash_packs_add(struct rebuild_packs *p, uint32_t domain, uint64_t id,
                                      uint32_t key_len, struct flash_extent *old)
{
	if (id == 0 || id >> 60 != 0 || find_pack(p, id) != NULL)
		return BOLE_OK;
	if (p->count == p->cap) {
		uint32_t cap = p->cap == 0 ? PACKS_FIRST : p->cap * 2;
		void *list = bole_alloc_resize(p->v->alloc, p->pack, p->cap, cap, sizeof *p->pack);
		if (list == NULL)
			return BOLE_E_NO_MEMORY;
		p->pack = list;
		p->cap = cap;
	}
	p->pack[p->count++] =
	        (struct rebuild_pack){.id = id, .domain = domain, .key_len = key_len, .old = old};
	return BOLE_OK;
}

enum bole_status bole_flash_packs_want(struct rebuild_packs *p, uint32_t domain, uint64_t id,
                                       struct flash_extent *old)
{
	const struct flash_domain *d = bole_flash_domain_find(p->v, domain);

	return d == NULL ? BOLE_OK : bole_flash_packs_add(p, domain, id, d->key_len, old);
}

enum bole_status bole_flash_packs_piece(struct rebuild_packs *p, uint64_t id,
                                        const struct flash_fragment *f)
{
	struct rebuild_pack *pack = find_pack(p, id);

	if (pack == NULL || f->length == 0 || f->logical >> 48 != 0)
		return BOLE_OK;
	if (pack->pieces == pack->pieces_cap) {
		uint32_t cap = pack->pieces_cap == 0 ? PACKS_FIRST : pack->pieces_cap * 2;
		void *list = bole_alloc_resize(p->v->alloc, pack->piece, pack->pieces_cap, cap,
		                               sizeof *pack->piece);
		if (list == NULL)
			return BOLE_E_NO_MEMORY;
		pack->piece = list;
		pack->pieces_cap = cap;
	}
	pack->piece[pack->pieces++] = *f;
	return BOLE_OK;
}

void bole_flash_packs_forget(struct rebuild_packs *p)
{
	struct bole_alloc *alloc = p->v->alloc;

	for (uint32_t i = 0; i < p->count; i++) {
		struct rebuild_pack *pack = &p->pack[i];
		bole_alloc_free(alloc, pack->piece, pack->pieces_cap, sizeof *pack->piece);
		bole_alloc_free(alloc, pack->row, pack->rows_cap, pack->key_len + ROW_BYTES);
	}
	bole_alloc_free(alloc, p->pack, p->cap, sizeof *p->pack);
	p->pack = NULL;
	p->count = 0;
	p->cap = 0;
}

void bole_flash_packs_close(struct rebuild_packs *p)
{
	bole_flash_packs_forget(p);
	bole_flash_table_release(&p->v->plain, p->hashes);
	bole_flash_table_release(&p->v->plain, p->doubt);
	p->hashes = NULL;
	p->doubt = NULL;
}

static int order_pieces(const void *a, const void *b)
{
	const struct flash_fragment *x = a;
	const struct flash_fragment *y = b;

	if (x->logical != y->logical)
		return x->logical < y->logical ? -1 : 1;
	return x->length > y->length ? -1 : x->length < y->length;
}

/* Copies of one fragment are alike. A part that lies twice in other pieces counts once. */
static void sort_pieces(struct rebuild_pack *pack)
{
	uint64_t end = 0;
	uint32_t n = 0;

	if (pack->pieces == 0)
		return;
	qsort(pack->piece, pack->pieces, sizeof *pack->piece, order_pieces);
	for (uint32_t i = 0; i < pack->pieces; i++) {
		if (pack->piece[i].logical < end)
			continue;
		end = pack->piece[i].logical + pack->piece[i].length;
		pack->piece[n++] = pack->piece[i];
	}
	pack->pieces = n;
	pack->data_bytes =
	        pack->old != NULL && pack->old->data_bytes > end ? pack->old->data_bytes : end;
}

/* -- Rows -- */

struct search {
	struct rebuild_packs *p;
	uint8_t *page;
	uint8_t *buf; /* a fragment */
	size_t room;
	const struct flash_fragment *shown; /* in buf */
	const uint8_t *payload;
};

static enum bole_status show(struct search *s, const struct rebuild_pack *pack,
                             const struct flash_fragment *f)
{
	if (s->shown == f)
		return BOLE_OK;
	s->shown = NULL;
	BOLE_TRY(bole_flash_fragment_read(s->p->v, pack->id, f, s->buf, &s->payload));
	s->shown = f;
	return BOLE_OK;
}

/* The last piece that begins there or before, or the first one. */
static uint32_t piece_at(const struct rebuild_pack *pack, uint64_t offset)
{
	uint32_t at = 0;
	uint32_t high = pack->pieces;

	while (high - at > 1) {
		uint32_t mid = at + (high - at) / 2;
		if (pack->piece[mid].logical <= offset)
			at = mid;
		else
			high = mid;
	}
	return at;
}

bool bole_flash_packs_cover(const struct rebuild_packs *p, uint64_t id, uint64_t offset,
                            uint64_t bytes)
{
	const struct rebuild_pack *pack = find_pack(p, id);
	uint64_t end = offset + bytes;

	if (pack == NULL)
		return true;
	if (pack->pieces == 0)
		return false;
	for (uint32_t at = piece_at(pack, offset); offset < end; at++) {
		const struct flash_fragment *f = &pack->piece[at];
		if (at == pack->pieces || f->logical > offset || f->logical + f->length <= offset)
			return false;
		offset = f->logical + f->length;
	}
	return true;
}

/* The row is one of this pack: the bytes that it names have its checksum. */
static bool is_row(struct search *s, const struct rebuild_pack *pack, const uint8_t *row,
                   uint32_t key_len)
{
	const uint8_t *p = row + key_len;
	uint64_t offset = (uint64_t)bole_get_le16(p + ROW_OFFSET_AT + 4) << 32 |
	                  bole_get_le32(p + ROW_OFFSET_AT);
	uint64_t stored = (uint64_t)p[ROW_STORED_AT + 4] << 32 | bole_get_le32(p + ROW_STORED_AT);
	uint64_t end = offset + stored;
	struct flash_sum sum;

	if (stored == 0 || end > pack->data_bytes || pack->pieces == 0)
		return false;
	uint32_t at = piece_at(pack, offset);
	bole_flash_sum_begin(&sum, pack->id);
	for (; offset < end; at++) {
		const struct flash_fragment *f = &pack->piece[at];
		if (at == pack->pieces || f->logical > offset || f->logical + f->length <= offset ||
		    show(s, pack, f) != BOLE_OK)
			return false;
		uint64_t n = f->logical + f->length - offset;
		n = n < end - offset ? n : end - offset;
		bole_flash_sum_add(&sum, s->payload + (offset - f->logical), (size_t)n);
		offset += n;
	}
	return (uint32_t)bole_flash_sum_end(&sum) == bole_get_le32(p + ROW_CHECKSUM_AT);
}

static enum bole_status add_row(struct search *s, struct rebuild_pack *pack, const uint8_t *row)
{
	size_t width = pack->key_len + ROW_BYTES;

	if (pack->rows == pack->rows_cap) {
		uint32_t cap = pack->rows_cap == 0 ? 64 : pack->rows_cap * 2;
		void *list =
		        bole_alloc_resize(s->p->v->alloc, pack->row, pack->rows_cap, cap, width);
		if (list == NULL)
			return BOLE_E_NO_MEMORY;
		pack->row = list;
		pack->rows_cap = cap;
	}
	memcpy(pack->row + pack->rows++ * width, row, width);
	return BOLE_OK;
}

/* Rows of that length fit the page: the last one holds something, and nothing is behind it. Where
 * they are of another length, the end of the last one is elsewhere. */
static bool fits(const struct search *s, uint32_t count, uint32_t key_len)
{
	size_t room = s->p->v->page_bytes - PAGE_HEAD_BYTES;
	size_t end = (size_t)count * (key_len + ROW_BYTES);
	const uint8_t *rows = s->page + PAGE_HEAD_BYTES;

	if (count == 0 || end > room)
		return false;
	const uint8_t *last = rows + end - ROW_BYTES;
	if (bole_get_le32(last + ROW_STORED_AT) == 0 && last[ROW_STORED_AT + 4] == 0)
		return false;
	while (end < room && rows[end] == 0)
		end++;
	return end == room;
}

static enum bole_status take_rows(struct search *s, struct rebuild_pack *pack, uint32_t count,
                                  uint32_t key_len, bool *taken)
{
	const uint8_t *rows = s->page + PAGE_HEAD_BYTES;
	size_t width = key_len + ROW_BYTES;

	for (uint32_t k = 0; k < count; k++) {
		if (!is_row(s, pack, rows + k * width, key_len))
			continue;
		*taken = true;
		if (s->p->hashes_only)
			return BOLE_OK;
		BOLE_TRY(add_row(s, pack, rows + k * width));
	}
	return BOLE_OK;
}

/* Nothing told the length of its ids before. */
static void decide(struct rebuild_packs *p, uint32_t domain, uint32_t key_len)
{
	for (uint32_t i = 0; i < p->count; i++)
		if (p->pack[i].domain == domain)
			p->pack[i].key_len = key_len;
}

/* A page belongs to one run: its first row that is there decides. */
static enum bole_status take_page(struct search *s)
{
	static const uint32_t lengths[] = {20, 32};
	uint32_t count = bole_get_le16(s->page + PAGE_COUNT_AT);
	bool taken = false;

	for (uint32_t i = 0; i < 2 * s->p->count && !taken; i++) {
		struct rebuild_pack *pack = &s->p->pack[i / 2];
		uint32_t key_len = lengths[i % 2];
		if (pack->pieces == 0 || pack->whole_table ||
		    (pack->key_len != 0 && (s->p->hashes_only || pack->key_len != key_len)) ||
		    !fits(s, count, key_len))
			continue;
		BOLE_TRY(take_rows(s, pack, count, key_len, &taken));
		if (taken && pack->key_len == 0)
			decide(s->p, pack->domain, key_len);
	}
	return BOLE_OK;
}

static enum bole_status take_pages(struct search *s, uint32_t segment, uint64_t sequence)
{
	struct flash_volume *v = s->p->v;
	const uint8_t *p;

	for (uint32_t at = v->page_bytes; at + v->page_bytes <= v->segment_bytes;
	     at += v->page_bytes) {
		enum bole_status rc = bole_flash_read(v, segment, at, v->page_bytes, s->page, &p);
		if (rc == BOLE_E_IO || rc == BOLE_E_CORRUPT)
			continue;
		BOLE_TRY(rc);
		if (p != s->page)
			memmove(s->page, p, v->page_bytes);
		if (s->page[PAGE_PART_AT] != FLASH_PAGE_ROWS ||
		    bole_get_le64(s->page + PAGE_CHECKSUM_AT) !=
		            bole_flash_sum(s->page + PAGE_NUMBER_AT, v->page_bytes - PAGE_NUMBER_AT,
		                           bole_flash_seed(v->key, segment, sequence, at)))
			continue;
		BOLE_TRY(take_page(s));
	}
	return BOLE_OK;
}

static uint64_t offset_of(const uint8_t *row, uint32_t key_len)
{
	return (uint64_t)bole_get_le16(row + key_len + ROW_OFFSET_AT + 4) << 32 |
	       bole_get_le32(row + key_len + ROW_OFFSET_AT);
}

/* Insertion into a heap of width bytes would do; packs that were lost have few rows. */
static void sort_rows(struct rebuild_pack *pack, uint8_t *swap, bool by_offset)
{
	size_t width = pack->key_len + ROW_BYTES;

	for (uint32_t gap = pack->rows / 2; gap > 0; gap /= 2) {
		for (uint32_t i = gap; i < pack->rows; i++) {
			memcpy(swap, pack->row + i * width, width);
			uint64_t offset = offset_of(swap, pack->key_len);
			uint32_t at = i;
			for (; at >= gap; at -= gap) {
				const uint8_t *q = pack->row + (size_t)(at - gap) * width;
				int c = by_offset ? 0 : memcmp(q, swap, pack->key_len);
				uint64_t other = offset_of(q, pack->key_len);
				if (c < 0 || (c == 0 && other <= offset))
					break;
				memcpy(pack->row + at * width, q, width);
			}
			memcpy(pack->row + at * width, swap, width);
		}
	}
}

/* Entries do not overlap; copies of a page brought rows twice. */
static void settle_rows(struct rebuild_pack *pack)
{
	uint8_t swap[RUN_WIDTH_MAX];
	size_t width = pack->key_len + ROW_BYTES;
	uint64_t end = 0;
	uint32_t n = 0;

	sort_rows(pack, swap, true);
	for (uint32_t i = 0; i < pack->rows; i++) {
		uint8_t *row = pack->row + i * width;
		const uint8_t *p = row + pack->key_len;
		uint64_t offset = offset_of(row, pack->key_len);
		if (offset < end)
			continue;
		end = offset +
		      ((uint64_t)p[ROW_STORED_AT + 4] << 32 | bole_get_le32(p + ROW_STORED_AT));
		memmove(pack->row + n++ * width, row, width);
	}
	pack->rows = n;
	sort_rows(pack, swap, false);
}

void bole_flash_packs_spare(const struct rebuild_packs *p)
{
	for (uint32_t i = 0; i < p->count; i++)
		for (uint32_t n = 0; n < p->pack[i].pieces; n++)
			p->v->segment[p->pack[i].piece[n].segment].published = true;
}

enum bole_status bole_flash_packs_search(struct rebuild_packs *p,
                                         bool (*pages)(void *ctx, uint32_t segment), void *ctx)
{
	struct flash_volume *v = p->v;
	struct search s = {.p = p, .room = bole_flash_fragment_room(v)};
	size_t page_room = v->page_bytes + bole_flash_read_slack(v);

	if (p->count == 0)
		return BOLE_OK;
	for (uint32_t i = 0; i < p->count; i++) {
		struct rebuild_pack *pack = &p->pack[i];
		sort_pieces(pack);
		pack->whole_table = pack->old != NULL && pack->old->rows != 0 &&
		                    bole_flash_run_verify(pack->old->table) == BOLE_OK &&
		                    bole_flash_run_verify(pack->old->order) == BOLE_OK;
	}
	s.page = bole_alloc_array(v->alloc, page_room, 1);
	s.buf = bole_alloc_array(v->alloc, s.room, 1);
	enum bole_status rc = s.page == NULL || s.buf == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
	for (uint32_t i = 0; i < v->segments && rc == BOLE_OK; i++) {
		if (!pages(ctx, i))
			continue;
		rc = take_pages(&s, i, v->segment[i].sequence);
		bole_flash_yield(v);
	}
	bole_alloc_free(v->alloc, s.page, page_room, 1);
	bole_alloc_free(v->alloc, s.buf, s.room, 1);
	for (uint32_t i = 0; i < p->count; i++)
		settle_rows(&p->pack[i]);
	return rc;
}

/* -- A new version -- */

static enum bole_status put_place(struct flash_stream *s, const struct flash_fragment *f,
                                  struct flash_fragment *list, uint32_t *count)
{
	uint8_t place[PLACE_BYTES];

	bole_flash_place_put(place, f);
	list[(*count)++] = *f;
	return bole_flash_stream_append(s, place, sizeof place);
}

static uint32_t places_of(const struct flash_volume *v, const struct rebuild_pack *pack)
{
	uint64_t pos = 0;
	uint64_t n = pack->pieces;

	for (uint32_t i = 0; i <= pack->pieces; i++) {
		uint64_t next = i == pack->pieces ? pack->data_bytes : pack->piece[i].logical;
		n += (next - pos + v->unit - 1) / v->unit; /* holes, at most */
		pos = i == pack->pieces ? next : next + pack->piece[i].length;
	}
	return n > UINT32_MAX / 2 ? 0 : (uint32_t)n;
}

/* Fragments that are there, holes between them. */
static enum bole_status put_map(struct flash_volume *v, const struct rebuild_pack *pack,
                                struct flash_stream *s, struct flash_fragment *list,
                                uint32_t *count)
{
	uint64_t pos = 0;

	BOLE_TRY(bole_flash_stream_select(s, FLASH_FRAGMENT_MAP));
	for (uint32_t i = 0; i <= pack->pieces; i++) {
		uint64_t next = i == pack->pieces ? pack->data_bytes : pack->piece[i].logical;
		while (pos < next) {
			uint64_t n = next - pos < v->unit ? next - pos : v->unit;
			struct flash_fragment hole = {.logical = pos,
			                              .segment = SEGMENT_NONE,
			                              .length = (uint32_t)n,
			                              .stream = FLASH_FRAGMENT_DATA};
			BOLE_TRY(put_place(s, &hole, list, count));
			pos += n;
		}
		if (i == pack->pieces)
			break;
		BOLE_TRY(put_place(s, &pack->piece[i], list, count));
		pos += pack->piece[i].length;
	}
	return bole_flash_stream_end(s);
}

static enum bole_status make_map(struct rebuild_pack *pack, struct flash_extent *e)
{
	struct flash_volume *v = e->v;
	uint32_t cap = places_of(v, pack);
	uint32_t count = 0;
	struct flash_stream s;
	struct flash_fragment *data = bole_alloc_array(v->alloc, cap, sizeof *data);

	if (data == NULL)
		return BOLE_E_NO_MEMORY;
	bole_flash_stream_init(&s, v, pack->id, pack->domain, FLASH_SEGMENT_DATA,
	                       FLASH_FOR_MERGING);
	enum bole_status rc = put_map(v, pack, &s, data, &count);
	uint32_t map = s.fragments;
	struct flash_fragment *list = NULL;
	if (rc == BOLE_OK) {
		list = bole_alloc_array(v->alloc, (size_t)count + map, sizeof *list);
		e->map = bole_alloc_array(v->alloc, map, sizeof *e->map);
		rc = list == NULL || e->map == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
	}
	if (rc == BOLE_OK) {
		memcpy(list, data, count * sizeof *list);
		memcpy(list + count, s.fragment, map * sizeof *list);
		memcpy(e->map, s.fragment, map * sizeof *list);
		e->map_fragments = map;
		e->fragments = count + map;
		atomic_store(&e->fragment, list);
	}
	bole_flash_stream_release(&s, rc == BOLE_OK);
	bole_alloc_free(v->alloc, data, cap, sizeof *data);
	return rc;
}

/* What is new is held; data that it takes over lives from now on. */
static void publish(struct rebuild_pack *pack, struct flash_extent *e)
{
	struct flash_volume *v = e->v;

	bole_flash_fragments_change(v, e->map, e->map_fragments, FLASH_HELD_PUBLISHED, false);
	if (!pack->whole_table) {
		bole_flash_run_change(e->table, FLASH_HELD_PUBLISHED, false);
		bole_flash_run_change(e->order, FLASH_HELD_PUBLISHED, false);
	}
	bole_flash_lock(v);
	for (uint32_t i = 0; i < pack->pieces; i++) {
		struct flash_segment *s = &v->segment[pack->piece[i].segment];
		v->free -= s->state == SEGMENT_FREE;
		v->freed -= s->state == SEGMENT_FREED;
		if (s->state == SEGMENT_FREE || s->state == SEGMENT_FREED)
			s->state = SEGMENT_USED;
		s->published = true;
		bole_flash_live_add(v, pack->piece[i].segment,
		                    bole_flash_fragment_live(pack->piece[i].length));
	}
	bole_flash_unlock(v);
}

static enum bole_status install(struct rebuild_pack *pack, struct flash_extent *e)
{
	struct flash_volume *v = e->v;
	struct flash_index *index;
	struct flash_apply a;

	bole_flash_apply_init(&a, v);
	BOLE_TRY(bole_flash_apply_index(&a, pack->domain, &index));
	struct flash_extent *old = bole_flash_index_extent(index, pack->id);
	if (old != NULL) {
		e->slot = old->slot;
		return bole_flash_index_replace(v, index, old, e);
	}
	e->slot = bole_flash_slot_take(index->domain);
	return e->slot == INDEX_SLOTS ? BOLE_E_LIMIT : bole_flash_index_add(v, index, &e, 1);
}

static enum bole_status hide(struct rebuild_pack *pack, const struct flash_extent *e)
{
	struct flash_volume *v = e->v;
	struct flash_index *index;
	struct flash_apply a;
	uint64_t gone;

	bole_flash_apply_init(&a, v);
	BOLE_TRY(bole_flash_apply_index(&a, pack->domain, &index));
	BOLE_TRY(bole_flash_rebuild_holes(v, index, e, &gone));
	if (gone != 0)
		bole_flash_lost(v, "pack %llu: %llu entries were removed, or are gone",
		                (unsigned long long)pack->id, (unsigned long long)gone);
	return BOLE_OK;
}

static enum bole_status write_pack(struct rebuild_pack *pack, struct flash_volume *v)
{
	struct flash_extent *e = bole_flash_extent_open(v);

	if (e == NULL)
		return BOLE_E_NO_MEMORY;
	e->id = pack->id;
	e->domain = pack->domain;
	e->key_len = pack->key_len;
	e->data_bytes = pack->data_bytes;
	enum bole_status rc = BOLE_OK;
	if (pack->whole_table) {
		e->rows = pack->old->rows;
		e->table = bole_flash_run_retain(pack->old->table);
		e->order = bole_flash_run_retain(pack->old->order);
	} else {
		rc = bole_flash_extent_write(e, pack->row, pack->rows);
	}
	if (rc == BOLE_OK)
		rc = make_map(pack, e);
	if (rc == BOLE_OK) {
		publish(pack, e);
		rc = install(pack, e);
		if (rc == BOLE_OK)
			rc = hide(pack, e);
	}
	bole_flash_extent_release(e);
	return rc;
}

bool bole_flash_packs_have(const struct rebuild_packs *p, uint32_t domain, const uint8_t *key)
{
	for (uint32_t i = 0; i < p->count; i++) {
		const struct rebuild_pack *pack = &p->pack[i];
		size_t width = pack->key_len + ROW_BYTES;
		for (uint32_t n = 0; n < pack->rows && pack->domain == domain; n++)
			if (memcmp(pack->row + n * width, key, pack->key_len) == 0)
				return true;
	}
	return false;
}

bool bole_flash_pack_found(const struct rebuild_pack *pack)
{
	return pack->pieces != 0 && (pack->whole_table || pack->rows != 0);
}

/* The log behind the checkpoint may have removed the repository, or published the pack. */
static bool is_wanted(struct flash_volume *v, const struct rebuild_pack *pack)
{
	const struct flash_domain *d = bole_flash_domain_find(v, pack->domain);

	return d != NULL && d->index != NULL && !bole_flash_rebuild_is_prepared(v, pack->id) &&
	       bole_flash_index_extent(d->index, pack->id) == pack->old;
}

enum bole_status bole_flash_packs_write(struct rebuild_packs *p)
{
	for (uint32_t i = 0; i < p->count; i++)
		if (bole_flash_pack_found(&p->pack[i]) && is_wanted(p->v, &p->pack[i])) {
			enum bole_status rc = write_pack(&p->pack[i], p->v);
			if (rc != BOLE_OK)
				bole_log(p->v->platform, BOLE_LOG_ERROR,
				         "%s: pack %llu cannot be written anew: %s",
				         p->v->dev->info.name, (unsigned long long)p->pack[i].id,
				         bole_status_text(rc));
			BOLE_TRY(rc);
		}
	return BOLE_OK;
}
