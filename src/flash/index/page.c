/* SPDX-License-Identifier: ISC */
#include "flash/index/page.h"

#include "base/bytes.h"
#include "base/check.h"
#include "flash/volume/checksum.h"

uint32_t bole_flash_page_size(const struct flash_volume *v)
{
	bool small = v->dev->info.needs_erase || v->short_runs;
	uint32_t least = small ? PAGE_BYTES_RAW_MIN : PAGE_BYTES_MANAGED;

	return v->unit > least ? v->unit : least;
}

uint32_t bole_flash_page_fit(const struct flash_volume *v, enum flash_page_part part,
                             uint32_t width)
{
	if (part == FLASH_PAGE_FENCES)
		width = RUN_FENCE_BYTES;
	else if (part == FLASH_PAGE_FILTER)
		width = FILTER_BLOCK_BYTES;
	return (uint32_t)(bole_flash_page_room(v) / width);
}

uint32_t bole_flash_run_place(const struct flash_run *run, uint32_t number,
                              struct flash_page_place *out)
{
	uint32_t low = 0;
	uint32_t high = run->chunks;

	/* The last chunk that starts at number or before. */
	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;
		if (run->chunk[mid].start <= number)
			low = mid;
		else
			high = mid;
	}
	const struct flash_run_chunk *c = &run->chunk[low];
	uint32_t at = number - c->start;
	BOLE_ASSERT(at < c->pages);
	*out = (struct flash_page_place){c->sequence, c->segment, c->first + at};
	return c->pages - at;
}

enum flash_page_part bole_flash_run_part(const struct flash_run *run, uint32_t number,
                                         uint32_t *count)
{
	enum flash_page_part part = FLASH_PAGE_ROWS;
	uint32_t items = run->rows;

	if (number >= run->row_pages) {
		number -= run->row_pages;
		part = FLASH_PAGE_FENCES;
		items = run->row_pages;
		if (number >= run->fence_pages) {
			number -= run->fence_pages;
			part = FLASH_PAGE_FILTER;
			items = run->blocks;
		}
	}
	uint32_t fit =
	        part == FLASH_PAGE_ROWS ? run->page_rows : bole_flash_page_fit(run->v, part, 0);
	uint32_t before = number * fit;
	*count = items - before < fit ? items - before : fit;
	return part;
}

static uint64_t sum_of(const struct flash_volume *v, const uint8_t *page,
                       const struct flash_page_place *place)
{
	uint64_t seed = bole_flash_seed(v->key, place->segment, place->sequence,
	                                place->index * v->page_bytes);

	return bole_flash_sum(page + PAGE_NUMBER_AT, v->page_bytes - PAGE_NUMBER_AT, seed);
}

void bole_flash_page_head(const struct flash_volume *v, uint8_t *page, uint32_t number,
                          enum flash_page_part part, uint32_t count, uint32_t width)
{
	size_t used = PAGE_HEAD_BYTES + (size_t)count * width;

	bole_put_le32(page + PAGE_NUMBER_AT, number);
	bole_put_le16(page + PAGE_COUNT_AT, (uint16_t)count);
	page[PAGE_PART_AT] = (uint8_t)part;
	page[PAGE_PART_AT + 1] = 0;
	memset(page + used, 0, v->page_bytes - used);
}

void bole_flash_page_seal(const struct flash_volume *v, uint8_t *page,
                          const struct flash_page_place *place)
{
	bole_put_le64(page + PAGE_CHECKSUM_AT, sum_of(v, page, place));
}

static bool verify(const struct flash_run *run, const uint8_t *page,
                   const struct flash_page_place *place, uint32_t number)
{
	uint32_t count;
	enum flash_page_part part = bole_flash_run_part(run, number, &count);

	return bole_get_le32(page + PAGE_NUMBER_AT) == number &&
	       bole_get_le16(page + PAGE_COUNT_AT) == count && page[PAGE_PART_AT] == part &&
	       bole_get_le64(page + PAGE_CHECKSUM_AT) == sum_of(run->v, page, place);
}

enum bole_status bole_flash_pages_read(const struct flash_run *run, uint32_t number, uint32_t count,
                                       uint8_t *buf, uint32_t *got)
{
	struct flash_volume *v = run->v;
	struct flash_page_place place;
	uint32_t straight = bole_flash_run_place(run, number, &place);
	const uint8_t *p;

	if (count > straight)
		count = straight;
	/* Pages are aligned to whatever the device reads. */
	BOLE_TRY(bole_flash_read(v, place.segment, place.index * v->page_bytes,
	                         (size_t)count * v->page_bytes, buf, &p));
	BOLE_ASSERT(p == buf);
	for (uint32_t i = 0; i < count; i++, place.index++) {
		if (verify(run, buf + (size_t)i * v->page_bytes, &place, number + i))
			continue;
		bole_log(v->platform, BOLE_LOG_ERROR,
		         "%s: page %u of run %llu at segment %u offset %u is damaged",
		         v->dev->info.name, number + i, (unsigned long long)run->id, place.segment,
		         place.index * v->page_bytes);
		return BOLE_E_CORRUPT;
	}
	*got = count;
	return BOLE_OK;
}

enum bole_status bole_flash_page_get(const struct flash_run *run, uint32_t number,
                                     struct flash_slot **out)
{
	struct flash_cache *cache = run->v->cache;
	struct flash_page_place place;
	uint32_t got;

	(void)bole_flash_run_place(run, number, &place);
	*out = bole_flash_cache_get(cache, place.sequence, place.index);
	if (*out != NULL)
		return BOLE_OK;
	struct flash_slot *slot = bole_flash_cache_claim(cache, place.sequence, place.index);
	if (slot == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = bole_flash_pages_read(run, number, 1, slot->data, &got);
	if (rc != BOLE_OK) {
		bole_flash_cache_unpin(cache, slot);
		return rc;
	}
	*out = bole_flash_cache_keep(cache, slot);
	return BOLE_OK;
}
