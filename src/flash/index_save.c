/* SPDX-License-Identifier: ISC */
/* The index of a domain in a checkpoint. */
#include "base/bytes.h"
#include "base/check.h"
#include "flash/save.h"

/* The longest item: an id with all kills that it may have. */
enum { SAVE_ITEM_MAX = BOLE_OID_BYTES_MAX + MEM_MOVED_BYTES + MEM_KILLS_MAX * MEM_KILL_BYTES };

static enum bole_status put_run(struct flash_save *s, const struct flash_rows *run, uint32_t owner,
                                uint8_t flags)
{
	uint32_t width = (uint32_t)bole_flash_rows_width(run->key_len);
	uint32_t step = SAVE_CHUNK / width;
	struct flash_record r = {.kind = FLASH_RECORD_ROWS, .flags = flags, .owner = owner};

	for (uint32_t i = 0; i < run->count; i += step) {
		uint32_t n = run->count - i < step ? run->count - i : step;
		BOLE_TRY(bole_flash_save_record(
		        s, r, bole_bytes_of(bole_flash_rows_key(run, i), n * width)));
	}
	return BOLE_OK;
}

/* Items as they are, one after another: key, value. */
static enum bole_status put_mem(struct flash_save *s, const struct flash_table *mem, uint32_t owner)
{
	struct flash_record r = {.kind = FLASH_RECORD_ROWS, .owner = owner};
	struct bole_bytes after = {NULL, 0};
	struct bole_buffer body;
	enum bole_status rc = BOLE_OK;

	bole_buffer_init(&body, s->v->alloc, SAVE_CHUNK + SAVE_ITEM_MAX);
	for (const struct flash_item *item = bole_flash_table_next(mem, after, true);
	     item != NULL && rc == BOLE_OK; item = bole_flash_table_next(mem, after, false)) {
		after = bole_flash_item_key(item);
		struct bole_bytes value = bole_flash_item_value(item);
		bole_buffer_append(&body, after.ptr, after.len);
		bole_buffer_append(&body, value.ptr, value.len);
		rc = body.rc;
		if (rc == BOLE_OK && body.len >= SAVE_CHUNK) {
			rc = bole_flash_save_record(s, r, bole_bytes_of(body.ptr, body.len));
			body.len = 0;
		}
	}
	if (rc == BOLE_OK && body.len != 0)
		rc = bole_flash_save_record(s, r, bole_bytes_of(body.ptr, body.len));
	bole_buffer_release(&body);
	return rc;
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
	BOLE_TRY(put_mem(s, index->mem, domain->id));
	for (uint32_t i = 0; i < bole_flash_index_extents(index); i++)
		BOLE_TRY(put_extent(s, index->extents->extent[i], 0));
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
