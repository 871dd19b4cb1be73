/* SPDX-License-Identifier: ISC */
/* The index of a domain out of a checkpoint, and extents out of the log. */
#include "base/bytes.h"
#include "base/check.h"
#include "flash/index/levels.h"
#include "flash/volume/mount.h"

#include <string.h>

static bool place_ok(const struct flash_volume *v, uint32_t segment, uint32_t offset,
                     uint32_t key_len, uint32_t stored)
{
	return segment < v->segments && stored != 0 && stored <= v->record_max &&
	       bole_in_bounds(offset, bole_flash_record_live(key_len, stored), v->segment_bytes);
}

static void touch(struct flash_volume *v, uint32_t segment)
{
	v->segment[segment].published = true;
}

/* Rows of a prepared transaction. */
static enum bole_status load_prepared(struct flash_apply *a, const struct flash_record *r)
{
	struct flash_domain *domain = bole_flash_domain_find(a->v, r->owner);
	size_t width = domain == NULL ? 1 : bole_flash_rows_width(domain->key_len);

	if (domain == NULL || r->body.len % width != 0)
		return BOLE_E_CORRUPT;
	for (size_t at = 0; at < r->body.len; at += width) {
		const uint8_t *p = r->body.ptr + at + domain->key_len;
		uint32_t segment = bole_get_le32(p + ROWS_SEGMENT_AT);
		uint32_t stored = bole_get_le32(p + ROWS_STORED_AT) & 0xffffffu;
		if (!place_ok(a->v, segment, bole_get_le32(p + ROWS_OFFSET_AT), domain->key_len,
		              stored))
			return BOLE_E_CORRUPT;
		touch(a->v, segment);
	}
	return bole_flash_apply_prepared(a, r->owner, r->body.ptr, (uint32_t)(r->body.len / width));
}

/* Items of mem; none: those before are forgotten. */
static enum bole_status load_rows(struct flash_apply *a, const struct flash_record *r)
{
	struct bole_bytes rest = r->body;
	struct flash_index *index;
	struct flash_mem_row row;

	BOLE_TRY(bole_flash_apply_index(a, r->owner, &index));
	uint32_t key_len = index->domain->key_len;
	if (rest.len == 0) {
		bole_flash_memory_release(a->v, &index->now);
	}
	while (rest.len > key_len) {
		struct bole_bytes key = {rest.ptr, key_len};
		rest.ptr += key_len;
		rest.len -= key_len;
		struct bole_bytes value = {rest.ptr, bole_flash_mem_value_bytes(rest)};
		if (value.len == 0 || !bole_flash_mem_parse(value, &row))
			return BOLE_E_CORRUPT;
		if (row.has) {
			uint32_t segment = bole_flash_place_segment(row.place);
			if (!place_ok(a->v, segment, bole_flash_place_offset(row.place), key_len,
			              row.stored))
				return BOLE_E_CORRUPT;
			touch(a->v, segment);
		}
		BOLE_TRY(bole_flash_table_set(&a->v->plain, &index->now.mem, key, value));
		rest.ptr += value.len;
		rest.len -= value.len;
	}
	return rest.len == 0 ? BOLE_OK : BOLE_E_CORRUPT;
}

static enum bole_status load_runs(struct flash_apply *a, const struct flash_record *r)
{
	struct bole_bytes rest = r->body;
	struct flash_index *index;
	struct flash_run *run;
	size_t used;

	BOLE_TRY(bole_flash_apply_index(a, r->owner, &index));
	if (rest.len < RUNS_HEAD_BYTES)
		return BOLE_E_CORRUPT;
	uint32_t count = bole_get_le32(rest.ptr + RUNS_COUNT_AT);
	index->domain->next_slot = bole_get_le32(rest.ptr + RUNS_SLOT_AT);
	uint64_t objects = bole_get_le64(rest.ptr + RUNS_OBJECTS_AT);
	rest.ptr += RUNS_HEAD_BYTES;
	rest.len -= RUNS_HEAD_BYTES;
	uint32_t old = index->runs == NULL ? 0 : index->runs->count;
	BOLE_TRY(bole_flash_index_runs(a->v, index, 0, old, NULL));
	for (uint32_t i = 0; i < count; i++) {
		BOLE_TRY(bole_flash_run_decode(a->v, rest, &run, &used));
		enum bole_status rc = bole_flash_index_runs(a->v, index, i, 0, run);
		for (uint32_t n = 0; n < run->chunks; n++)
			touch(a->v, run->chunk[n].segment);
		bool ok = memcmp(&run->shape, &bole_flash_index_shape, sizeof run->shape) == 0;
		bole_flash_run_release(run);
		if (rc != BOLE_OK || !ok)
			return rc != BOLE_OK ? rc : BOLE_E_CORRUPT;
		rest.ptr += used;
		rest.len -= used;
	}
	index->objects = objects;
	return rest.len == 0 ? BOLE_OK : BOLE_E_CORRUPT;
}

static enum bole_status extent_gone(struct flash_apply *a, const struct flash_record *r)
{
	struct flash_index *index;

	BOLE_TRY(bole_flash_apply_index(a, r->owner, &index));
	if (r->body.len != 8)
		return BOLE_E_CORRUPT;
	return bole_flash_index_remove(a->v, index, bole_get_le64(r->body.ptr));
}

static void name_fragment(struct flash_apply *a, const struct flash_fragment *f)
{
	struct flash_volume *v = a->v;

	if (f->segment == SEGMENT_NONE)
		return; /* a hole */
	touch(v, f->segment);
	if (f->sequence >> 32 > v->opened)
		v->opened = (uint32_t)(f->sequence >> 32);
	/* The newest opening of a segment is what a new one must differ from. */
	if (f->sequence > v->segment[f->segment].sequence)
		v->segment[f->segment].sequence = f->sequence;
	bole_flash_apply_lives(a, f->segment, bole_flash_fragment_live(f->length));
}

static void name_run(struct flash_apply *a, const struct flash_run *run)
{
	for (uint32_t i = 0; run != NULL && i < run->chunks; i++) {
		touch(a->v, run->chunk[i].segment);
		bole_flash_apply_lives(a, run->chunk[i].segment,
		                       (uint64_t)run->chunk[i].pages * a->v->page_bytes);
	}
}

/* What an extent occupies. A checkpoint has counted it: there the map is not read. A map that could
 * not be read this time must not give its data up: only one that is damaged does. */
static enum bole_status name_extent(struct flash_apply *a, struct flash_extent *e)
{
	const struct flash_fragment *list = e->map;
	uint32_t count = e->map_fragments;

	if (!a->checkpoint) {
		enum bole_status rc = bole_flash_extent_map(e, &list);
		if (rc != BOLE_OK && rc != BOLE_E_CORRUPT)
			return rc;
		e->damaged = rc != BOLE_OK;
		if (rc == BOLE_OK)
			count = e->fragments;
		else
			bole_log(a->v->platform, BOLE_LOG_WARN, "%s: extent %llu is damaged: %s",
			         a->v->dev->info.name, (unsigned long long)e->id,
			         bole_status_text(rc));
	}
	for (uint32_t i = 0; i < count; i++)
		name_fragment(a, &list[i]);
	name_run(a, e->table);
	name_run(a, e->order);
	return BOLE_OK;
}

static enum bole_status apply_extent(struct flash_apply *a, const struct flash_record *r)
{
	struct flash_volume *v = a->v;
	struct flash_domain *domain = bole_flash_domain_find(v, r->owner);
	struct flash_prepared *p = a->prepared;
	struct flash_extent *extent;

	if (domain == NULL)
		return BOLE_E_CORRUPT;
	BOLE_TRY(bole_flash_extent_load(v, domain->id, domain->key_len, r->body, &extent));
	enum bole_status rc = name_extent(a, extent);
	if (rc != BOLE_OK) {
		bole_flash_extent_release(extent);
		return rc;
	}
	if (domain->next_slot <= extent->slot)
		domain->next_slot = extent->slot + 1;
	if (extent->id >= v->next_extent)
		v->next_extent = extent->id + 1;
	if ((r->flags & FLASH_FLAG_PREPARED) == 0) {
		struct flash_index *index;
		rc = bole_flash_apply_index(a, domain->id, &index);
		uint64_t objects = rc == BOLE_OK ? index->objects : 0;
		/* Another version keeps its place: the order decides which entry counts. */
		const struct flash_extent *was =
		        rc == BOLE_OK && a->checkpoint ? bole_flash_index_extent(index, extent->id)
		                                       : NULL;
		if (rc == BOLE_OK)
			rc = was != NULL ? bole_flash_index_replace(v, index, was, extent)
			                 : bole_flash_index_add(v, index, &extent, 1);
		if (rc == BOLE_OK && a->checkpoint)
			index->objects = objects; /* RUN says how many there are */
		bole_flash_extent_release(extent);
		return rc;
	} else if (p == NULL || p->repo->domain != domain) {
		rc = BOLE_E_CORRUPT;
	} else {
		void *list = p->extents == 0 ? bole_alloc_array(v->alloc, 1, sizeof *p->extent)
		                             : bole_alloc_resize(v->alloc, p->extent, p->extents,
		                                                 p->extents + 1, sizeof *p->extent);
		rc = list == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
		if (rc == BOLE_OK) {
			p->extent = list;
			p->extent[p->extents++] = extent;
		}
	}
	if (rc != BOLE_OK)
		bole_flash_extent_release(extent);
	return rc;
}

enum bole_status bole_flash_index_load(struct flash_apply *a, const struct flash_record *r)
{
	switch (r->kind) {
	case FLASH_RECORD_ROWS:
		return (r->flags & FLASH_FLAG_PREPARED) != 0 ? load_prepared(a, r)
		                                             : load_rows(a, r);
	case FLASH_RECORD_RUN: return load_runs(a, r);
	case FLASH_RECORD_EXTENT_GONE: return extent_gone(a, r);
	case FLASH_RECORD_EXTENT: return apply_extent(a, r);
	default: return BOLE_E_CORRUPT;
	}
}
