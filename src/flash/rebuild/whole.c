/* SPDX-License-Identifier: ISC */
/* Is everything still there that an older checkpoint and the log behind it name? What the cleaner
 * moved since is in no log, and what was there may be written over: then more is left by a rebuild
 * than by that checkpoint. */
#include "flash/rebuild/rebuild.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/index/auxtable.h"
#include "flash/index/extent.h"
#include "flash/log/reader.h"

struct looking {
	struct flash_volume *v;
	const struct flash_domain *domain;
	struct flash_reader reader;
};

static enum bole_status record_there(struct looking *l, uint32_t segment, uint32_t offset,
                                     uint64_t bytes, struct flash_record *r)
{
	struct flash_volume *v = l->v;

	if (segment >= v->segments || !bole_in_bounds(offset, bytes, v->segment_bytes))
		return BOLE_E_CORRUPT;
	enum bole_status rc =
	        bole_flash_fetch_record(v, &l->reader, segment, offset, (size_t)bytes, r);
	/* What the device does not give this time is no reason to give an anchor up. */
	return rc;
}

static enum bole_status look(void *ctx, const struct flash_walk_row *row)
{
	struct looking *l = ctx;
	struct flash_record r = {.kind = 0};

	if (row->type == 0)
		return BOLE_OK; /* it was damaged in the log */
	BOLE_TRY(record_there(l, bole_flash_place_segment(row->place),
	                      bole_flash_place_offset(row->place),
	                      bole_flash_record_live(l->domain->key_len, row->stored), &r));
	return r.owner == l->domain->id && r.key.len == l->domain->key_len &&
	                       memcmp(r.key.ptr, row->prefix, INDEX_PREFIX_BYTES) == 0
	               ? BOLE_OK
	               : BOLE_E_CORRUPT;
}

static enum bole_status aux_there(struct looking *l, const struct flash_table *table)
{
	struct bole_bytes after = {NULL, 0};
	struct flash_record r;

	for (const struct flash_item *item = bole_flash_table_next(table, after, true);
	     item != NULL; item = bole_flash_table_next(table, after, false)) {
		struct bole_bytes value = bole_flash_item_value(item);
		after = bole_flash_item_key(item);
		for (uint32_t i = 0; i < bole_flash_aux_parts(value); i++) {
			struct flash_aux_part part = bole_flash_aux_part(value, i);
			if (part.bytes != 0)
				BOLE_TRY(
				        record_there(l, part.segment, part.offset, part.bytes, &r));
		}
	}
	return BOLE_OK;
}

static enum bole_status index_there(struct looking *l, const struct flash_index *index)
{
	struct flash_volume *v = l->v;

	for (uint32_t i = 0; index->runs != NULL && i < index->runs->count; i++)
		BOLE_TRY(bole_flash_run_verify(index->runs->run[i]));
	for (uint32_t i = 0; i < bole_flash_index_extents(index); i++)
		BOLE_TRY(bole_flash_extent_verify(v, index->extents->extent[i]));
	return bole_flash_index_walk(v, index, look, l);
}

enum bole_status bole_flash_rebuild_whole(struct flash_volume *v)
{
	enum bole_status rc = BOLE_OK;

	for (uint32_t i = 0; i < v->repos && rc == BOLE_OK; i++) {
		struct looking l = {.v = v, .domain = v->repo[i]->domain};
		rc = aux_there(&l, v->repo[i]->auxtable);
		if (rc == BOLE_OK && l.domain->index != NULL)
			rc = index_there(&l, l.domain->index);
		bole_flash_reader_close(v, &l.reader);
	}
	return rc;
}
