/* SPDX-License-Identifier: ISC */
/* Runs: their life and their descriptors. */
#include "flash/index/run.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/index/filter.h"
#include "flash/index/page.h"
#include "flash/index/run_private.h"

static size_t fence_bytes(const struct flash_run *run)
{
	return (size_t)run->row_pages * sizeof(uint32_t);
}

static size_t filter_bytes(const struct flash_run *run)
{
	return (size_t)run->blocks * FILTER_BLOCK_BYTES;
}

uint64_t bole_flash_run_bytes(const struct flash_run *run)
{
	return (uint64_t)bole_flash_run_pages(run) * run->v->page_bytes;
}

size_t bole_flash_run_memory(const struct flash_run *run)
{
	size_t bytes = 0;

	if (atomic_load_explicit(&run->fence, memory_order_relaxed) != NULL)
		bytes += fence_bytes(run);
	if (atomic_load_explicit(&run->filter, memory_order_relaxed) != NULL)
		bytes += filter_bytes(run);
	return bytes;
}

struct flash_run *bole_flash_run_open(struct flash_volume *v, const struct flash_run_shape *shape)
{
	struct flash_run *run = bole_alloc_zeroed(v->alloc, 1, sizeof *run);

	if (run == NULL)
		return NULL;
	atomic_init(&run->refs, 1);
	run->v = v;
	run->shape = *shape;
	run->page_rows = bole_flash_page_fit(v, FLASH_PAGE_ROWS, shape->width);
	return run;
}

bool bole_flash_run_shape_ok(const struct flash_run_shape *s)
{
	return s->width <= RUN_WIDTH_MAX && s->key_len <= s->width && s->search_len <= s->key_len &&
	       s->search_len >= RUN_FENCE_BYTES && s->zeros <= s->search_len - RUN_FENCE_BYTES;
}

struct flash_run *bole_flash_run_retain(struct flash_run *run)
{
	atomic_fetch_add_explicit(&run->refs, 1, memory_order_relaxed);
	return run;
}

void bole_flash_run_release(struct flash_run *run)
{
	if (run == NULL || atomic_fetch_sub_explicit(&run->refs, 1, memory_order_acq_rel) != 1)
		return;
	struct flash_cache *cache = run->v->cache;
	/* Of a run that is longer than the cache few pages are there: others will push them out. */
	bool drop = bole_flash_run_pages(run) <= bole_flash_cache_slots(cache);
	for (uint32_t i = 0; i < run->chunks && drop; i++)
		bole_flash_cache_drop(cache, run->chunk[i].sequence, run->chunk[i].first,
		                      run->chunk[i].pages);
	bole_flash_cache_return(cache, atomic_load(&run->fence), fence_bytes(run));
	bole_flash_cache_return(cache, atomic_load(&run->filter), filter_bytes(run));
	bole_alloc_free(run->v->alloc, run->chunk, run->chunks, sizeof *run->chunk);
	bole_alloc_free(run->v->alloc, run, 1, sizeof *run);
}

void bole_flash_run_change(struct flash_run *run, enum flash_change change, bool locked)
{
	struct flash_volume *v = run->v;

	if (!locked)
		bole_flash_lock(v);
	for (uint32_t i = 0; i < run->chunks; i++) {
		uint32_t segment = run->chunk[i].segment;
		uint64_t bytes = (uint64_t)run->chunk[i].pages * v->page_bytes;
		if (change == FLASH_HELD_PUBLISHED)
			v->segment[segment].published = true;
		if (change == FLASH_HELD_PUBLISHED)
			bole_flash_live_add(v, segment, bytes);
		if (change == FLASH_LIVE_DROPPED)
			bole_flash_live_sub(v, segment, bytes);
		else
			bole_flash_hold_end(v, segment, bytes);
	}
	if (!locked)
		bole_flash_unlock(v);
}

/* -- Descriptors -- */

size_t bole_flash_run_encoded(const struct flash_run *run)
{
	return RUN_HEAD_BYTES + (size_t)run->chunks * CHUNK_BYTES;
}

void bole_flash_run_encode(const struct flash_run *run, uint8_t *dst)
{
	bole_put_le64(dst + RUN_ID_AT, run->id);
	bole_put_le32(dst + RUN_ROWS_AT, run->rows);
	bole_put_le32(dst + RUN_BLOCKS_AT, run->blocks);
	bole_put_le32(dst + RUN_CHUNKS_AT, run->chunks);
	dst[RUN_WIDTH_AT] = run->shape.width;
	dst[RUN_KEY_AT] = run->shape.key_len;
	dst[RUN_SEARCH_AT] = run->shape.search_len;
	dst[RUN_ZEROS_AT] = run->shape.zeros;
	dst += RUN_HEAD_BYTES;
	for (uint32_t i = 0; i < run->chunks; i++, dst += CHUNK_BYTES) {
		const struct flash_run_chunk *c = &run->chunk[i];
		bole_put_le16(dst + CHUNK_SEGMENT_AT, (uint16_t)c->segment);
		bole_put_le16(dst + CHUNK_FIRST_AT, (uint16_t)c->first);
		bole_put_le16(dst + CHUNK_PAGES_AT, (uint16_t)c->pages);
	}
}

static uint64_t pages_of(const struct flash_volume *v, enum flash_page_part part, uint32_t width,
                         uint64_t items)
{
	uint64_t fit = bole_flash_page_fit(v, part, width);

	return (items + fit - 1) / fit;
}

static uint64_t pages_for(const struct flash_run *run, enum flash_page_part part, uint64_t items)
{
	return pages_of(run->v, part, run->shape.width, items);
}

/* The numbers of pages follow from those of rows and blocks. */
bool bole_flash_run_count(struct flash_run *run)
{
	uint64_t rows = pages_for(run, FLASH_PAGE_ROWS, run->rows);
	bool lone = rows <= 1 && run->v->short_runs;
	uint64_t fences = lone ? 0 : pages_for(run, FLASH_PAGE_FENCES, rows);
	uint64_t filter = pages_for(run, FLASH_PAGE_FILTER, run->blocks);

	run->row_pages = (uint32_t)rows;
	run->fence_pages = (uint32_t)fences;
	run->filter_pages = (uint32_t)filter;
	return rows + fences + filter <= UINT32_MAX;
}

uint64_t bole_flash_run_pages_for(const struct flash_volume *v, uint64_t rows)
{
	uint64_t pages = pages_of(v, FLASH_PAGE_ROWS, INDEX_ROW_BYTES, rows);

	if (pages <= 1 && v->short_runs)
		return pages;
	return pages + pages_of(v, FLASH_PAGE_FENCES, 0, pages) +
	       pages_of(v, FLASH_PAGE_FILTER, 0, bole_flash_filter_blocks(rows));
}

static bool decode_chunks(struct flash_run *run, const uint8_t *p)
{
	const struct flash_volume *v = run->v;
	uint64_t pages = 0;

	for (uint32_t i = 0; i < run->chunks; i++, p += CHUNK_BYTES) {
		struct flash_run_chunk *c = &run->chunk[i];
		c->segment = bole_get_le16(p + CHUNK_SEGMENT_AT);
		c->first = bole_get_le16(p + CHUNK_FIRST_AT);
		c->pages = bole_get_le16(p + CHUNK_PAGES_AT);
		c->start = (uint32_t)pages;
		/* The first page of a segment is its head. */
		if (c->segment >= v->segments || c->pages == 0 || c->first == 0 ||
		    !bole_in_bounds(c->first, c->pages, v->segment_bytes / v->page_bytes))
			return false;
		c->sequence = v->segment[c->segment].sequence;
		pages += c->pages;
		if (pages > bole_flash_run_pages(run))
			return false;
	}
	return pages == bole_flash_run_pages(run);
}

enum bole_status bole_flash_run_decode(struct flash_volume *v, struct bole_bytes src,
                                       struct flash_run **out, size_t *used)
{
	if (src.len < RUN_HEAD_BYTES)
		return BOLE_E_CORRUPT;
	struct flash_run_shape shape = {
	        .width = src.ptr[RUN_WIDTH_AT],
	        .key_len = src.ptr[RUN_KEY_AT],
	        .search_len = src.ptr[RUN_SEARCH_AT],
	        .zeros = src.ptr[RUN_ZEROS_AT],
	};
	uint32_t chunks = bole_get_le32(src.ptr + RUN_CHUNKS_AT);
	uint32_t rows = bole_get_le32(src.ptr + RUN_ROWS_AT);
	if (!bole_flash_run_shape_ok(&shape) || rows == 0 || chunks == 0 ||
	    chunks > (src.len - RUN_HEAD_BYTES) / CHUNK_BYTES)
		return BOLE_E_CORRUPT;
	struct flash_run *run = bole_flash_run_open(v, &shape);
	if (run == NULL)
		return BOLE_E_NO_MEMORY;
	run->id = bole_get_le64(src.ptr + RUN_ID_AT);
	run->rows = rows;
	run->blocks = bole_get_le32(src.ptr + RUN_BLOCKS_AT);
	run->chunk = bole_alloc_array(v->alloc, chunks, sizeof *run->chunk);
	enum bole_status rc = run->chunk == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
	if (rc == BOLE_OK) {
		run->chunks = chunks;
		if (!bole_flash_run_count(run) || !decode_chunks(run, src.ptr + RUN_HEAD_BYTES))
			rc = BOLE_E_CORRUPT;
	}
	if (rc != BOLE_OK) {
		run->chunks = 0;
		bole_alloc_free(v->alloc, run->chunk, chunks, sizeof *run->chunk);
		bole_alloc_free(v->alloc, run, 1, sizeof *run);
		return rc;
	}
	*out = run;
	*used = bole_flash_run_encoded(run);
	return BOLE_OK;
}
