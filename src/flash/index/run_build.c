/* SPDX-License-Identifier: ISC */
/* Writing a run. Pages are gathered in a buffer and sealed when their place is known. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/index/filter.h"
#include "flash/index/page.h"
#include "flash/index/run_private.h"

enum {
	BUILD_PAGES = 16,      /* programmed at once */
	BUILD_PAGES_SMALL = 4, /* where memory is limited; one, when it is short */
	BUILD_FENCES_FIRST = 64,
	BUILD_CHUNKS_FIRST = 4,
};

static size_t buffer_pages(const struct flash_run_builder *b)
{
	return (size_t)b->buf_pages + 1;
}

static void open_filter(struct flash_run_builder *b, uint64_t rows_max)
{
	uint32_t blocks = bole_flash_filter_blocks(rows_max);
	size_t bytes = (size_t)blocks * FILTER_BLOCK_BYTES;

	/* To read the one page of rows is as good. */
	bool lone = rows_max <= b->run->page_rows && b->v->short_runs;
	if (blocks == 0 || lone)
		return;
	b->filter = bole_flash_cache_reserve(b->v->cache, bytes);
	if (b->filter == NULL)
		return;
	memset(b->filter, 0, bytes);
	b->run->blocks = blocks;
}

enum bole_status bole_flash_run_begin(struct flash_run_builder *b, struct flash_volume *v,
                                      const struct flash_run_shape *shape, uint64_t rows_max,
                                      bool filter, enum flash_purpose purpose)
{
	BOLE_ASSERT(bole_flash_run_shape_ok(shape));
	*b = (struct flash_run_builder){
	        .v = v,
	        .purpose = purpose,
	        .open = {.segment = SEGMENT_NONE, .kind = FLASH_SEGMENT_INDEX},
	        .buf_pages = v->budget.limit == SIZE_MAX ? BUILD_PAGES : BUILD_PAGES_SMALL,
	};
	b->run = bole_flash_run_open(v, shape);
	if (b->run == NULL)
		return BOLE_E_NO_MEMORY;
	b->buf = bole_alloc_array(v->alloc, buffer_pages(b), v->page_bytes);
	if (b->buf == NULL) {
		b->buf_pages = 1;
		b->buf = bole_alloc_array(v->alloc, buffer_pages(b), v->page_bytes);
	}
	if (b->buf == NULL) {
		bole_flash_run_abort(b);
		return BOLE_E_NO_MEMORY;
	}
	if (filter)
		open_filter(b, rows_max);
	bole_flash_lock(v);
	b->run->id = v->next_extent++;
	bole_flash_unlock(v);
	return BOLE_OK;
}

/* -- Pages out -- */

/* Notes that the next n pages of the run are at place; they are held from now on. */
static enum bole_status add_chunk(struct flash_run_builder *b, const struct flash_page_place *place,
                                  uint32_t start, uint32_t n)
{
	struct flash_run *run = b->run;
	struct flash_run_chunk *c = run->chunks == 0 ? NULL : &run->chunk[run->chunks - 1];

	if (c != NULL && c->segment == place->segment && c->first + c->pages == place->index) {
		c->pages += n;
		return BOLE_OK;
	}
	if (run->chunks == b->chunks_cap) {
		uint32_t cap = b->chunks_cap == 0 ? BUILD_CHUNKS_FIRST : b->chunks_cap * 2;
		void *p = bole_alloc_resize(b->v->alloc, run->chunk, b->chunks_cap, cap, sizeof *c);
		if (p == NULL)
			return BOLE_E_NO_MEMORY;
		run->chunk = p;
		b->chunks_cap = cap;
	}
	run->chunk[run->chunks++] = (struct flash_run_chunk){
	        .sequence = place->sequence,
	        .start = start,
	        .segment = place->segment,
	        .first = place->index,
	        .pages = n,
	};
	return BOLE_OK;
}

/* The last n pages that were noted are not where they should be. */
static void take_back(struct flash_run_builder *b, uint32_t n)
{
	struct flash_run *run = b->run;
	struct flash_run_chunk *c = &run->chunk[run->chunks - 1];

	bole_flash_lock(b->v);
	bole_flash_hold_end(b->v, c->segment, (uint64_t)n * b->v->page_bytes);
	bole_flash_unlock(b->v);
	c->pages -= n;
	if (c->pages == 0)
		run->chunks--;
}

/* Programs n pages, the first of them at from, into the open segment at page start. The page before
 * from is room for the segment's head. */
static enum bole_status program(struct flash_run_builder *b, uint8_t *from, uint32_t start,
                                uint32_t n)
{
	struct flash_volume *v = b->v;
	struct flash_open *open = &b->open;
	uint32_t end = (start + n) * v->page_bytes;
	uint32_t at = start * v->page_bytes;

	bole_flash_lock(v);
	bole_flash_hold(v, open->segment, (uint64_t)n * v->page_bytes);
	if (open->pos == 0) {
		from -= v->page_bytes;
		at = 0;
		memset(from, 0, v->page_bytes);
		bole_flash_segment_head(v, open->segment, open->sequence, FLASH_SEGMENT_INDEX,
		                        from);
	}
	bole_flash_unlock(v);
	enum bole_status rc = bole_flash_program(v, open->segment, at, from, end - at);
	open->pos = end;
	atomic_fetch_add_explicit(&v->counters.index, end - at, memory_order_relaxed);
	return rc;
}

/* Programs the whole pages in the buffer. */
static enum bole_status put_out(struct flash_run_builder *b)
{
	struct flash_volume *v = b->v;
	uint32_t number = b->pages - b->done;
	uint8_t *page = b->buf + v->page_bytes;

	while (b->done > 0) {
		struct flash_open *open = &b->open;
		if (open->segment == SEGMENT_NONE)
			BOLE_TRY(bole_flash_open_take(v, open, b->purpose));
		uint32_t start = open->pos == 0 ? 1 : (open->pos - 1) / v->page_bytes + 1;
		uint32_t all = v->segment_bytes / v->page_bytes;
		if (start >= all) {
			bole_flash_open_close(v, open);
			continue;
		}
		uint32_t n = b->done < all - start ? b->done : all - start;
		struct flash_page_place place = {open->sequence, open->segment, start};
		BOLE_TRY(add_chunk(b, &place, number, n));
		for (uint32_t i = 0; i < n; i++, place.index++)
			bole_flash_page_seal(v, page + (size_t)i * v->page_bytes, &place);
		enum bole_status rc = program(b, page, start, n);
		if (rc == BOLE_E_IO && !atomic_load(&v->failed)) {
			/* A bad block: the same once more, elsewhere. */
			take_back(b, n);
			bole_flash_open_close(v, open);
			BOLE_TRY(bole_flash_open_new(v, open, b->purpose));
			continue;
		}
		BOLE_TRY(rc);
		page += (size_t)n * v->page_bytes;
		number += n;
		b->done -= n;
	}
	return BOLE_OK;
}

/* Where the page that is being filled lies. */
static uint8_t *page_now(const struct flash_run_builder *b)
{
	return b->buf + (size_t)(b->done + 1) * b->v->page_bytes;
}

/* The page that is being filled is whole. */
static enum bole_status end_page(struct flash_run_builder *b, enum flash_page_part part,
                                 uint32_t count, uint32_t width)
{
	bole_flash_page_head(b->v, page_now(b), b->pages, part, count, width);
	b->pages++;
	b->done++;
	b->filled = 0;
	return b->done == b->buf_pages ? put_out(b) : BOLE_OK;
}

/* -- Rows -- */

static enum bole_status begin_page(struct flash_run_builder *b, const uint8_t *row)
{
	if (b->pages == b->fences_cap) {
		uint32_t cap = b->fences_cap == 0 ? BUILD_FENCES_FIRST : b->fences_cap * 2;
		void *p = bole_alloc_resize(b->v->alloc, b->fence, b->fences_cap, cap,
		                            sizeof *b->fence);
		if (p == NULL)
			return BOLE_E_NO_MEMORY;
		b->fence = p;
		b->fences_cap = cap;
	}
	b->fence[b->pages] = bole_flash_fence_of(&b->run->shape, row);
	return BOLE_OK;
}

static bool in_order(const struct flash_run_builder *b, const uint8_t *row)
{
	const struct flash_run_shape *s = &b->run->shape;

	for (uint32_t i = 0; i < s->zeros; i++)
		if (row[i] != 0)
			return false;
	return b->run->rows == 0 || memcmp(b->last, row, s->key_len) <= 0;
}

static enum bole_status append_row(struct flash_run_builder *b, const uint8_t *row)
{
	struct flash_run *run = b->run;
	const struct flash_run_shape *s = &run->shape;

	if (!in_order(b, row))
		return BOLE_E_CORRUPT;
	if (run->rows == UINT32_MAX)
		return BOLE_E_LIMIT;
	if (b->filled == 0)
		BOLE_TRY(begin_page(b, row));
	if (b->filter != NULL && (run->rows == 0 || memcmp(b->last, row, s->search_len) != 0))
		bole_flash_filter_add(b->filter, run->blocks,
		                      bole_flash_run_hash(b->v, row, s->search_len));
	memcpy(page_now(b) + PAGE_HEAD_BYTES + (size_t)b->filled * s->width, row, s->width);
	memcpy(b->last, row, s->width);
	b->filled++;
	run->rows++;
	if (b->filled == run->page_rows)
		return end_page(b, FLASH_PAGE_ROWS, b->filled, s->width);
	return BOLE_OK;
}

enum bole_status bole_flash_run_append(struct flash_run_builder *b, const uint8_t *rows,
                                       size_t count)
{
	for (size_t i = 0; i < count && b->rc == BOLE_OK; i++)
		b->rc = append_row(b, rows + i * b->run->shape.width);
	return b->rc;
}

/* -- The end -- */

static enum bole_status put_fences(struct flash_run_builder *b, uint32_t count)
{
	uint32_t fit = bole_flash_page_fit(b->v, FLASH_PAGE_FENCES, 0);

	for (uint32_t at = 0; at < count; at += fit) {
		uint32_t n = count - at < fit ? count - at : fit;
		uint8_t *p = page_now(b) + PAGE_HEAD_BYTES;
		for (uint32_t i = 0; i < n; i++)
			bole_put_be32(p + (size_t)i * RUN_FENCE_BYTES, b->fence[at + i]);
		BOLE_TRY(end_page(b, FLASH_PAGE_FENCES, n, RUN_FENCE_BYTES));
	}
	return BOLE_OK;
}

static enum bole_status put_filter(struct flash_run_builder *b)
{
	uint32_t fit = bole_flash_page_fit(b->v, FLASH_PAGE_FILTER, 0);

	for (uint32_t at = 0; at < b->run->blocks; at += fit) {
		uint32_t n = b->run->blocks - at < fit ? b->run->blocks - at : fit;
		memcpy(page_now(b) + PAGE_HEAD_BYTES, b->filter + (size_t)at * FILTER_BLOCK_BYTES,
		       (size_t)n * FILTER_BLOCK_BYTES);
		BOLE_TRY(end_page(b, FLASH_PAGE_FILTER, n, FILTER_BLOCK_BYTES));
	}
	return BOLE_OK;
}

static enum bole_status put_rest(struct flash_run_builder *b)
{
	struct flash_run *run = b->run;

	if (b->filled != 0)
		BOLE_TRY(end_page(b, FLASH_PAGE_ROWS, b->filled, run->shape.width));
	if (!bole_flash_run_count(run))
		return BOLE_E_LIMIT;
	if (run->fence_pages != 0)
		BOLE_TRY(put_fences(b, run->row_pages));
	BOLE_TRY(put_filter(b));
	BOLE_TRY(put_out(b));
	if (run->chunks == b->chunks_cap)
		return BOLE_OK;
	void *p = bole_alloc_resize(b->v->alloc, run->chunk, b->chunks_cap, run->chunks,
	                            sizeof *run->chunk);
	if (p == NULL)
		return BOLE_E_NO_MEMORY;
	run->chunk = p;
	b->chunks_cap = run->chunks;
	return BOLE_OK;
}

/* What lookups want is at hand: it stays if the budget allows. */
static void keep(struct flash_run_builder *b)
{
	struct flash_run *run = b->run;
	size_t bytes = (size_t)run->row_pages * sizeof(uint32_t);
	uint32_t *fence =
	        run->fence_pages == 0 ? NULL : bole_flash_cache_reserve(b->v->cache, bytes);

	if (fence != NULL)
		memcpy(fence, b->fence, bytes);
	atomic_store_explicit(&run->fence, fence, memory_order_release);
	atomic_store_explicit(&run->filter, b->filter, memory_order_release);
	b->filter = NULL;
}

/* Frees the builder's own; the run, unless it was taken, with its places. */
static void release(struct flash_run_builder *b)
{
	struct flash_volume *v = b->v;
	struct flash_run *run = b->run;
	bool useful = b->open.segment != SEGMENT_NONE &&
	              v->segment_bytes - b->open.pos >= (v->short_runs ? 1u : 2u) * v->page_bytes;

	bole_flash_open_give(v, &b->open, useful);
	bole_alloc_free(v->alloc, b->buf, buffer_pages(b), v->page_bytes);
	bole_alloc_free(v->alloc, b->fence, b->fences_cap, sizeof *b->fence);
	b->fence = NULL;
	b->buf = NULL;
	b->run = NULL;
	if (run == NULL)
		return;
	bole_flash_cache_return(v->cache, b->filter, (size_t)run->blocks * FILTER_BLOCK_BYTES);
	b->filter = NULL;
	bole_alloc_free(v->alloc, run->chunk, b->chunks_cap, sizeof *run->chunk);
	bole_alloc_free(v->alloc, run, 1, sizeof *run);
}

enum bole_status bole_flash_run_finish(struct flash_run_builder *b, struct flash_run **out)
{
	struct flash_run *run = b->run;

	*out = NULL;
	if (b->rc == BOLE_OK && run->rows != 0)
		b->rc = put_rest(b);
	if (b->rc != BOLE_OK || run->rows == 0) {
		bole_flash_run_abort(b);
		return b->rc;
	}
	keep(b);
	b->run = NULL;
	release(b);
	*out = run;
	return BOLE_OK;
}

void bole_flash_run_abort(struct flash_run_builder *b)
{
	if (b->run != NULL)
		bole_flash_run_change(b->run, FLASH_HELD_DROPPED, false);
	release(b);
}

/* -- Moving -- */

/* Copies the pages of one chunk to where there is room. */
static enum bole_status copy_chunk(struct flash_run_builder *b, const struct flash_run *from,
                                   const struct flash_run_chunk *c)
{
	for (uint32_t done = 0; done < c->pages;) {
		uint32_t n = c->pages - done < b->buf_pages ? c->pages - done : b->buf_pages;
		uint32_t got = 0;
		BOLE_TRY(bole_flash_pages_read(from, c->start + done, n, b->buf + b->v->page_bytes,
		                               &got));
		done += got;
		b->done = got;
		b->pages = c->start + done;
		BOLE_TRY(put_out(b));
	}
	return BOLE_OK;
}

static enum bole_status copy_chunks(struct flash_run_builder *b, const struct flash_run *from,
                                    uint32_t segment)
{
	for (uint32_t i = 0; i < from->chunks; i++) {
		const struct flash_run_chunk *c = &from->chunk[i];
		struct flash_page_place place = {c->sequence, c->segment, c->first};
		if (c->segment == segment)
			BOLE_TRY(copy_chunk(b, from, c));
		else
			BOLE_TRY(add_chunk(b, &place, c->start, c->pages));
	}
	return BOLE_OK;
}

/* Pages of a chunk that the other run does not name at the same places. */
static uint32_t pages_alone(const struct flash_run_chunk *c, const struct flash_run *other)
{
	uint32_t alone = c->pages;

	for (uint32_t i = 0; i < other->chunks; i++) {
		const struct flash_run_chunk *k = &other->chunk[i];
		uint32_t from = c->first > k->first ? c->first : k->first;
		uint32_t end = c->first + c->pages;
		if (k->segment != c->segment || k->sequence != c->sequence)
			continue;
		if (end > k->first + k->pages)
			end = k->first + k->pages;
		if (end > from)
			alone -= end - from;
	}
	return alone;
}

void bole_flash_run_moved(const struct flash_run *old, const struct flash_run *run,
                          enum flash_change change)
{
	struct flash_volume *v = run->v;

	for (uint32_t i = 0; i < run->chunks; i++) {
		const struct flash_run_chunk *c = &run->chunk[i];
		uint64_t bytes = (uint64_t)pages_alone(c, old) * v->page_bytes;
		if (bytes == 0)
			continue;
		if (change == FLASH_HELD_PUBLISHED) {
			v->segment[c->segment].published = true;
			bole_flash_live_add(v, c->segment, bytes);
		}
		bole_flash_hold_end(v, c->segment, bytes);
	}
	for (uint32_t i = 0; change == FLASH_HELD_PUBLISHED && i < old->chunks; i++) {
		const struct flash_run_chunk *c = &old->chunk[i];
		uint64_t bytes = (uint64_t)pages_alone(c, run) * v->page_bytes;
		if (bytes != 0)
			bole_flash_live_sub(v, c->segment, bytes);
	}
}

enum bole_status bole_flash_run_evacuate(const struct flash_run *from, uint32_t segment,
                                         enum flash_purpose purpose, struct flash_run **out)
{
	struct flash_volume *v = from->v;
	struct flash_run_builder b;

	BOLE_TRY(bole_flash_run_begin(&b, v, &from->shape, 0, false, purpose));
	b.run->id = from->id;
	b.run->rows = from->rows;
	b.run->blocks = from->blocks;
	enum bole_status rc = bole_flash_run_count(b.run) ? BOLE_OK : BOLE_E_CORRUPT;
	if (rc == BOLE_OK)
		rc = copy_chunks(&b, from, segment);
	struct flash_run *run = b.run;
	if (rc == BOLE_OK && run->chunks != b.chunks_cap) {
		void *p = bole_alloc_resize(v->alloc, run->chunk, b.chunks_cap, run->chunks,
		                            sizeof *run->chunk);
		rc = p == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
		if (p != NULL) {
			run->chunk = p;
			b.chunks_cap = run->chunks;
		}
	}
	if (rc != BOLE_OK) {
		bole_flash_lock(v);
		bole_flash_run_moved(from, run, FLASH_HELD_DROPPED);
		bole_flash_unlock(v);
		/* The builder owns no filter of this run. */
		run->blocks = 0;
		release(&b);
		return rc;
	}
	b.run = NULL;
	release(&b);
	*out = run;
	return BOLE_OK;
}
