/* SPDX-License-Identifier: ISC */
/* The index of a domain in a checkpoint. */
#include "base/bytes.h"
#include "base/check.h"
#include "flash/save.h"

static enum bole_status put_run(struct flash_save *s, const struct flash_rows *run, uint32_t owner,
                                uint8_t flags)
{
	uint32_t width = (uint32_t)bole_flash_rows_width(run->key_len);
	uint32_t step = SAVE_CHUNK / width;
	struct flash_record r = {.kind = FLASH_RECORD_RUN, .flags = flags, .owner = owner};

	for (uint32_t i = 0; i < run->count; i += step) {
		uint32_t n = run->count - i < step ? run->count - i : step;
		BOLE_TRY(bole_flash_save_record(
		        s, r, bole_bytes_of(bole_flash_rows_key(run, i), n * width)));
	}
	return BOLE_OK;
}

static enum bole_status put_extent(struct flash_save *s, const struct flash_extent *e,
                                   uint8_t flags)
{
	struct flash_record r = {.kind = FLASH_RECORD_EXTENT, .flags = flags, .owner = e->domain};
	size_t len = bole_flash_extent_body(e, NULL);
	uint8_t *body = bole_alloc_array(s->v->alloc, len, 1);

	if (body == NULL)
		return BOLE_E_NO_MEMORY;
	(void)bole_flash_extent_body(e, body);
	enum bole_status rc = bole_flash_save_record(s, r, bole_bytes_of(body, len));
	bole_alloc_free(s->v->alloc, body, len, 1);
	return rc;
}

enum bole_status bole_flash_index_save(struct flash_save *s, const struct flash_domain *domain,
                                       const struct flash_index *index,
                                       const struct flash_index *before)
{
	(void)before;
	if (index == NULL)
		return BOLE_OK;
	/* Runs first: while loading, rows that are findable already are dropped, and extents may
	 * hold ids that older records hold too. */
	for (uint32_t i = 0; i < index->runs; i++)
		BOLE_TRY(put_run(s, index->run[i], domain->id, 0));
	for (uint32_t i = 0; i < index->extents; i++)
		BOLE_TRY(put_extent(s, index->extent[i], 0));
	return BOLE_OK;
}

enum bole_status bole_flash_index_save_prepared(struct flash_save *s,
                                                const struct flash_domain *domain,
                                                const struct flash_rows *run,
                                                struct flash_extent *const *extent,
                                                uint32_t extents)
{
	for (uint32_t i = 0; i < extents; i++)
		BOLE_TRY(put_extent(s, extent[i], FLASH_FLAG_PREPARED));
	return run == NULL ? BOLE_OK : put_run(s, run, domain->id, FLASH_FLAG_PREPARED);
}
