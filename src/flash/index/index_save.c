/* SPDX-License-Identifier: ISC */
/* The index of a domain in a checkpoint. */
#include "base/bytes.h"
#include "base/check.h"
#include "flash/checkpoint/save.h"
#include "flash/index/run.h"

#include <string.h>

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

/* Items of a ROWS record, one after another: key, value. */
struct save_items {
	struct flash_save *s;
	struct flash_record r;
	struct bole_buffer body;
};

static enum bole_status items_out(struct save_items *o)
{
	if (o->body.rc != BOLE_OK || o->body.len == 0)
		return o->body.rc;
	enum bole_status rc =
	        bole_flash_save_record(o->s, o->r, bole_bytes_of(o->body.ptr, o->body.len));
	o->body.len = 0;
	return rc;
}

static enum bole_status items_add(struct save_items *o, struct bole_bytes key,
                                  struct bole_bytes value)
{
	bole_buffer_append(&o->body, key.ptr, key.len);
	bole_buffer_append(&o->body, value.ptr, value.len);
	return o->body.rc != BOLE_OK || o->body.len >= SAVE_CHUNK ? items_out(o) : BOLE_OK;
}

/* What is written of an item, at value: without the kill of a row of fresh, which is not written,
 * or was under this id; with that row, if the item only kills others. *len: of the value. */
static void merge_fresh(const struct flash_mem_row *row, const struct flash_fresh_row *fresh,
                        uint8_t *value, size_t *len)
{
	uint8_t *kill = value + (*len - (size_t)row->kills * MEM_KILL_BYTES);

	for (uint32_t i = 0; i < row->kills; i++, kill += MEM_KILL_BYTES) {
		if (!bole_flash_kill_of(kill, fresh->place))
			continue;
		memmove(kill, kill + MEM_KILL_BYTES, (size_t)(row->kills - i - 1) * MEM_KILL_BYTES);
		bole_put_le16(value + MEM_KILLS_AT, (uint16_t)(row->kills - 1));
		*len -= MEM_KILL_BYTES;
		return;
	}
	if (row->has)
		return;
	bole_flash_mem_value(value, fresh->place, fresh->stored, fresh->type);
	bole_put_le16(value + MEM_KILLS_AT, (uint16_t)row->kills);
}

static enum bole_status put_item(struct save_items *o, const struct flash_memory *m,
                                 const struct flash_item *item)
{
	struct bole_bytes key = bole_flash_item_key(item);
	struct bole_bytes value = bole_flash_item_value(item);
	struct flash_fresh_row fresh;
	struct flash_mem_row row;
	size_t len = value.len;

	bole_buffer_append(&o->body, key.ptr, key.len);
	bole_buffer_append(&o->body, value.ptr, value.len);
	BOLE_TRY(o->body.rc);
	if (bole_flash_memory_row(o->s->v, m, key, &fresh)) {
		bool ok = bole_flash_mem_parse(value, &row);
		BOLE_ASSERT(ok);
		merge_fresh(&row, &fresh, o->body.ptr + o->body.len - len, &len);
		o->body.len -= value.len - len;
	}
	return o->body.len >= SAVE_CHUNK ? items_out(o) : BOLE_OK;
}

static enum bole_status put_rows(struct save_items *o, const struct flash_memory *m, uint32_t from,
                                 uint32_t key_len)
{
	uint8_t value[MEM_HEAD_BYTES];

	for (uint32_t i = from; i < m->rows; i++) {
		struct flash_fresh_row row = bole_flash_fresh_row(m->fresh, i);
		struct bole_bytes key = {row.key, key_len};
		if (bole_flash_table_find(m->mem, key) != NULL)
			continue;
		bole_flash_mem_value(value, row.place, row.stored, row.type);
		BOLE_TRY(items_add(o, key, bole_bytes_of(value, sizeof value)));
	}
	return BOLE_OK;
}

/* What changed, unless something is gone: then everything. */
static enum bole_status put_mem(struct flash_save *s, const struct flash_memory *m,
                                const struct flash_memory *before,
                                const struct flash_domain *domain)
{
	struct save_items o = {.s = s, .r = {.kind = FLASH_RECORD_ROWS, .owner = domain->id}};
	struct flash_table_diff diff = {.before = before->mem, .after = m->mem};
	uint32_t from = before->rows;
	const struct flash_item *was;
	const struct flash_item *is;
	enum bole_status rc = BOLE_OK;

	if (mem_lost(before->mem, m->mem) || (from != 0 && before->fresh != m->fresh)) {
		diff.before = NULL;
		from = 0;
		BOLE_TRY(bole_flash_save_record(s, o.r, (struct bole_bytes){NULL, 0}));
	}
	bole_buffer_init(&o.body, s->v->alloc, SAVE_CHUNK + SAVE_ITEM_MAX);
	while (rc == BOLE_OK && bole_flash_table_diff(&diff, &was, &is))
		rc = put_item(&o, m, is);
	if (rc == BOLE_OK)
		rc = put_rows(&o, m, from, domain->key_len);
	if (rc == BOLE_OK)
		rc = items_out(&o);
	bole_buffer_release(&o.body);
	return rc;
}

static const struct flash_run *run_number(const struct flash_domain *domain,
                                          const struct flash_index *index, uint32_t i)
{
	uint32_t first = bole_flash_index_frozen(index) && domain->level0 != NULL;

	return i < first ? domain->level0 : index->runs->run[i - first];
}

/* The list as it is with the run that this checkpoint has written. */
static enum bole_status put_runs(struct flash_save *s, const struct flash_domain *domain,
                                 const struct flash_index *index)
{
	struct flash_record r = {.kind = FLASH_RECORD_RUN, .owner = domain->id};
	uint32_t count = (index->runs == NULL ? 0 : index->runs->count) +
	                 (bole_flash_index_frozen(index) && domain->level0 != NULL);
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

/* Not where the element before names a run of what was frozen: its list here does not. */
static bool same(const struct flash_index *index, const struct flash_index *before)
{
	return before != NULL && !bole_flash_index_frozen(index) &&
	       !bole_flash_index_frozen(before) && !before->slim &&
	       index->now.mem == before->now.mem && index->now.fresh == before->now.fresh &&
	       index->now.rows == before->now.rows && index->runs == before->runs &&
	       index->extents == before->extents;
}

enum bole_status bole_flash_index_save(struct flash_save *s, const struct flash_domain *domain,
                                       const struct flash_index *index,
                                       const struct flash_index *before)
{
	static const struct flash_memory none;

	if (index == NULL || same(index, before))
		return BOLE_OK;
	BOLE_TRY(put_mem(s, &index->now, before == NULL ? &none : &before->now, domain));
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
