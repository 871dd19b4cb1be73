/* SPDX-License-Identifier: ISC */
/* The index of a domain in a checkpoint. */
#include "base/bytes.h"
#include "base/check.h"
#include "flash/checkpoint/save.h"
#include "flash/index/run.h"

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

static const struct flash_run *run_number(const struct flash_domain *domain,
                                          const struct flash_index *index, uint32_t i)
{
	uint32_t first = index->frozen != NULL && domain->level0 != NULL;

	return i < first ? domain->level0 : index->runs->run[i - first];
}

/* The list as it is with the run that this checkpoint has written. */
static enum bole_status put_runs(struct flash_save *s, const struct flash_domain *domain,
                                 const struct flash_index *index)
{
	struct flash_record r = {.kind = FLASH_RECORD_RUN, .owner = domain->id};
	uint32_t count = (index->runs == NULL ? 0 : index->runs->count) +
	                 (index->frozen != NULL && domain->level0 != NULL);
	size_t len = RUNS_HEAD_BYTES;

	for (uint32_t i = 0; i < count; i++)
		len += bole_flash_run_encoded(run_number(domain, index, i));
	uint8_t *body = bole_alloc_zeroed(s->v->alloc, len, 1);
	if (body == NULL)
		return BOLE_E_NO_MEMORY;
	bole_put_le32(body + RUNS_SLOT_AT, domain->next_slot);
	bole_put_le32(body + RUNS_COUNT_AT, count);
	bole_put_le64(body + RUNS_OBJECTS_AT, index->objects);
	size_t at = RUNS_HEAD_BYTES;
	for (uint32_t i = 0; i < count; i++) {
		const struct flash_run *run = run_number(domain, index, i);
		bole_flash_run_encode(run, body + at);
		at += bole_flash_run_encoded(run);
	}
	enum bole_status rc = bole_flash_save_record(s, r, bole_bytes_of(body, len));
	bole_alloc_free(s->v->alloc, body, len, 1);
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

static enum bole_status put_extents(struct flash_save *s, const struct flash_domain *domain,
                                    const struct flash_index *index,
                                    const struct flash_index *before)
{
	struct flash_record r = {.kind = FLASH_RECORD_EXTENT_GONE, .owner = domain->id};
	uint8_t id[8];

	if (before != NULL && before->extents == index->extents)
		return BOLE_OK;
	for (uint32_t i = 0; i < bole_flash_index_extents(before); i++) {
		const struct flash_extent *e = before->extents->extent[i];
		if (bole_flash_index_extent(index, e->id) != NULL)
			continue;
		bole_put_le64(id, e->id);
		BOLE_TRY(bole_flash_save_record(s, r, bole_bytes_of(id, sizeof id)));
	}
	for (uint32_t i = 0; i < bole_flash_index_extents(index); i++) {
		const struct flash_extent *e = index->extents->extent[i];
		if (bole_flash_index_extent(before, e->id) != e)
			BOLE_TRY(put_extent(s, e, 0));
	}
	return BOLE_OK;
}

static bool same(const struct flash_index *index, const struct flash_index *before)
{
	return before != NULL && index->frozen == NULL && index->mem == before->mem &&
	       index->runs == before->runs && index->extents == before->extents;
}

enum bole_status bole_flash_index_save(struct flash_save *s, const struct flash_domain *domain,
                                       const struct flash_index *index,
                                       const struct flash_index *before)
{
	if (index == NULL || same(index, before))
		return BOLE_OK;
	BOLE_TRY(put_mem(s, index->mem, before == NULL ? NULL : before->mem, domain->id));
	BOLE_TRY(put_extents(s, domain, index, before));
	/* Last: it says how many objects there are. */
	return put_runs(s, domain, index);
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
