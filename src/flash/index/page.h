/* SPDX-License-Identifier: ISC */
/* Pages of runs: their bytes, and reading them through the cache. */
#ifndef BOLE_FLASH_PAGE_H
#define BOLE_FLASH_PAGE_H

#include "flash/index/cache.h"
#include "flash/index/run.h"

/* Where a page is. */
struct flash_page_place {
	uint64_t sequence;
	uint32_t segment;
	uint32_t index; /* in the segment */
};

/* Bytes of a page for a volume of such a unit. */
uint32_t bole_flash_page_size(const struct flash_volume *);
static inline size_t bole_flash_page_room(const struct flash_volume *v)
{
	return (size_t)v->page_bytes - PAGE_HEAD_BYTES;
}
/* Rows, fences or blocks in each page of a part but its last. */
uint32_t bole_flash_page_fit(const struct flash_volume *, enum flash_page_part, uint32_t width);

/* Where page number of a run is, and how many pages follow it without a gap, itself included. */
uint32_t bole_flash_run_place(const struct flash_run *, uint32_t number,
                              struct flash_page_place *out);
/* The part that a page belongs to, and how many items are in it. */
enum flash_page_part bole_flash_run_part(const struct flash_run *, uint32_t number,
                                         uint32_t *count);

/* Fills in the head of a page whose content is there, and zeros what is behind it. */
void bole_flash_page_head(const struct flash_volume *, uint8_t *page, uint32_t number,
                          enum flash_page_part, uint32_t count, uint32_t width);
/* Its checksum, when its place is known. */
void bole_flash_page_seal(const struct flash_volume *, uint8_t *page,
                          const struct flash_page_place *);
/* Reads up to count pages of a run, those that lie without a gap, past the cache, and verifies
 * them. *got says how many. buf has room for count pages. BOLE_E_CORRUPT, BOLE_E_IO. */
BOLE_MUST_USE enum bole_status bole_flash_pages_read(const struct flash_run *, uint32_t number,
                                                     uint32_t count, uint8_t *buf, uint32_t *got);
/* One page through the cache, pinned: give it back with bole_flash_cache_unpin. */
BOLE_MUST_USE enum bole_status bole_flash_page_get(const struct flash_run *, uint32_t number,
                                                   struct flash_slot **out);

#endif /* BOLE_FLASH_PAGE_H */
