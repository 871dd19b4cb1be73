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

/* An item that was there is gone: it is in a run now. */
static bool mem_lost(const struct flash_table *before, const struct flash_table *mem)
{
	struct flash_table_diff diff = {.before = before, .after = mem};
	const struct flash_item *was;
	const struct flash_item *is;

	while (bole_flash_table_diff(&diff, &was, &is))
		if (is == NULL)
			return true;
	return false;
}

/* Items as they are, one after another: key, value. Those that changed, unless some are gone. */
static enum bole_status put_mem(struct flash_save *s, const struct flash_table *mem,
                                const struct flash_table *before, uint32_t owner)
{
	struct flash_record r = {.kind = FLASH_RECORD_ROWS, .owner = owner};
	struct flash_table_diff diff = {.before = before, .after = mem};
	const struct flash_item *was;
	const struct flash_item *is;
	struct bole_buffer body;
	enum bole_status rc = BOLE_OK;

	if (mem_lost(before, mem)) {
		diff.before = NULL;
		BOLE_TRY(bole_flash_save_record(s, r, (struct bole_bytes){NULL, 0}));
	}
	bole_buffer_init(&body, s->v->alloc, SAVE_CHUNK + SAVE_ITEM_MAX);
	while (rc == BOLE_OK && bole_flash_table_diff(&diff, &was, &is)) {
		struct bole_bytes key = bole_flash_item_key(is);
		struct bole_bytes value = bole_flash_item_value(is);
		bole_buffer_append(&body, key.ptr, key.len);
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

enum bole_status bole_flash_index_write(struct flash_save *s, struct flash_domain *domain,
                                        struct flash_index *index)
{
	(void)s;
	(void)domain;
	(void)index;
	return BOLE_OK;
}

void bole_flash_index_saved(struct flash_volume *v, struct flash_domain *domain,
                            struct flash_index *index, bool ok)
{
	(void)v;
	(void)domain;
	(void)index;
	(void)ok;
}

enum bole_status bole_flash_index_save(struct flash_save *s, const struct flash_domain *domain,
                                       const struct flash_index *index,
                                       const struct flash_index *before)
{
	if (index == NULL || index == before)
		return BOLE_OK;
	BOLE_TRY(put_mem(s, index->mem, before == NULL ? NULL : before->mem, domain->id));
	for (uint32_t i = 0; i < bole_flash_index_extents(index); i++) {
		const struct flash_extent *e = index->extents->extent[i];
		if (before == NULL || bole_flash_index_extent(before, e->id) == NULL)
			BOLE_TRY(put_extent(s, e, 0));
	}
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
