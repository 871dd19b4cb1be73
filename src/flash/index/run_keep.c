/* SPDX-License-Identifier: ISC */
/* Loading what lookups would like to have in memory. Nothing here is an error: without fences and
 * filters a lookup reads more pages. */
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "flash/index/page.h"
#include "flash/index/run_private.h"

enum {
	KEEP_PAGES = 16, /* read at once */
	/* A filter is worth reading after so many lookups as it has pages, divided by this; some
	 * lookups only ever want one row. */
	KEEP_FILTER_SHARE = 8,
	KEEP_FILTER_ASKED = 64, /* or after so many */
};

/* In place of a number of returns, which is odd: never again. */
#define KEEP_DAMAGED (UINT32_MAX - 1)

static void take_fences(uint32_t *dst, const uint8_t *page, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		dst[i] = bole_get_be32(page + PAGE_HEAD_BYTES + (size_t)i * RUN_FENCE_BYTES);
}

/* Reads pages [first, first + pages) of a run into dst. */
static enum bole_status load(struct flash_run *run, uint32_t first, uint32_t pages, uint8_t *dst,
                             uint8_t *buf, uint32_t cap)
{
	struct flash_volume *v = run->v;
	uint32_t got;
	uint32_t count;

	for (uint32_t at = first; at < first + pages; at += got) {
		uint32_t left = first + pages - at;
		BOLE_TRY(bole_flash_pages_read(run, at, left < cap ? left : cap, buf, &got));
		for (uint32_t i = 0; i < got; i++) {
			const uint8_t *page = buf + (size_t)i * v->page_bytes;
			enum flash_page_part part = bole_flash_run_part(run, at + i, &count);
			size_t bytes = (size_t)count * FILTER_BLOCK_BYTES;
			if (part == FLASH_PAGE_FENCES) {
				/* In dst they are numbers of this machine. */
				bytes = (size_t)count * sizeof(uint32_t);
				take_fences((uint32_t *)(void *)dst, page, count);
			} else {
				memcpy(dst, page + PAGE_HEAD_BYTES, bytes);
			}
			dst += bytes;
		}
		v->platform->ops->yield(v->platform);
	}
	return BOLE_OK;
}

static void *load_part(struct flash_run *run, uint32_t first, uint32_t pages, size_t bytes,
                       _Atomic uint32_t *refused)
{
	struct flash_volume *v = run->v;
	uint32_t returns = bole_flash_cache_returns(v->cache);
	uint32_t before = atomic_load_explicit(refused, memory_order_relaxed);
	uint32_t cap = pages < KEEP_PAGES ? pages : KEEP_PAGES;

	if (before == returns || before == KEEP_DAMAGED)
		return NULL;
	void *dst = bole_flash_cache_reserve(v->cache, bytes);
	uint8_t *buf = dst == NULL ? NULL : bole_alloc_array(v->alloc, cap, v->page_bytes);
	if (dst != NULL && buf == NULL && cap > 1) {
		cap = 1;
		buf = bole_alloc_array(v->alloc, cap, v->page_bytes);
	}
	enum bole_status rc = BOLE_E_NO_MEMORY;
	if (buf != NULL)
		rc = load(run, first, pages, dst, buf, cap);
	bole_alloc_free(v->alloc, buf, cap, v->page_bytes);
	if (rc == BOLE_OK)
		return dst;
	bole_flash_cache_return(v->cache, dst, bytes);
	/* What the device refused it may give the next time. */
	if (rc == BOLE_E_IO)
		return NULL;
	returns = rc == BOLE_E_NO_MEMORY ? bole_flash_cache_returns(v->cache) : KEEP_DAMAGED;
	atomic_store_explicit(refused, returns, memory_order_relaxed);
	return NULL;
}

const uint32_t *bole_flash_run_fences(struct flash_run *run)
{
	uint32_t *fence = atomic_load_explicit(&run->fence, memory_order_acquire);
	uint32_t *none = NULL;
	size_t bytes = (size_t)run->row_pages * sizeof(uint32_t);

	if (fence != NULL || run->row_pages < 2 || run->fence_pages == 0)
		return fence;
	/* The first lookup guesses: most runs are asked once after a mount and say no. */
	if (atomic_load_explicit(&run->sought, memory_order_relaxed) == 0) {
		atomic_store_explicit(&run->sought, 1, memory_order_relaxed);
		return NULL;
	}
	fence = load_part(run, run->row_pages, run->fence_pages, bytes, &run->fence_refused);
	if (fence == NULL || atomic_compare_exchange_strong(&run->fence, &none, fence))
		return fence;
	bole_flash_cache_return(run->v->cache, fence, bytes);
	return none;
}

const uint8_t *bole_flash_run_filter(struct flash_run *run)
{
	uint8_t *filter = atomic_load_explicit(&run->filter, memory_order_acquire);
	uint8_t *none = NULL;
	size_t bytes = (size_t)run->blocks * FILTER_BLOCK_BYTES;

	if (filter != NULL || run->blocks == 0)
		return filter;
	uint32_t asked = atomic_load_explicit(&run->asked, memory_order_relaxed);
	if (asked < KEEP_FILTER_ASKED && asked < run->filter_pages / KEEP_FILTER_SHARE) {
		atomic_store_explicit(&run->asked, asked + 1, memory_order_relaxed);
		return NULL;
	}
	filter = load_part(run, run->row_pages + run->fence_pages, run->filter_pages, bytes,
	                   &run->filter_refused);
	if (filter == NULL || atomic_compare_exchange_strong(&run->filter, &none, filter))
		return filter;
	bole_flash_cache_return(run->v->cache, filter, bytes);
	return none;
}
