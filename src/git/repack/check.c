/* SPDX-License-Identifier: ISC */
/* Before anything old goes, every object is read out of the new pack alone. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/memory.h"
#include "git/repack/repack.h"

enum { WHOLE_MAX = 64 << 20, CHECK_WORK = 4 };

/* Too long to be held: it was not compared with others, so it is stored as it was. */
static enum bole_status compare_stored(struct repack *r, struct bole_snapshot *snapshot,
                                       const struct repack_item *item,
                                       const struct bole_extent_row *row)
{
	struct bole_entry old = bole_repack_entry(item);
	struct bole_entry new = {r->extent, row->offset, row->stored_bytes, row->type};
	uint64_t shift = row->stored_bytes - (item->stored - item->head_bytes);
	struct bole_bytes a, b;
	size_t n;

	for (uint64_t pos = item->head_bytes; pos < item->stored; pos += n) {
		BOLE_TRY(bole_odb_view(r->snapshot, &old, pos, &a));
		BOLE_TRY(bole_odb_view(snapshot, &new, pos - item->head_bytes + shift, &b));
		n = a.len < b.len ? a.len : b.len;
		if (memcmp(a.ptr, b.ptr, n) != 0)
			return BOLE_E_CORRUPT;
		BOLE_TRY(bole_repack_spend(r, n));
	}
	return BOLE_OK;
}

static enum bole_status check_one(struct repack *r, struct bole_snapshot *snapshot,
                                  struct bole_object_reader *reader, uint32_t number)
{
	const struct repack_item *item = &r->items[number];
	const struct bole_extent_row *row = &r->rows[item->row];
	struct bole_entry entry = {r->extent, row->offset, row->stored_bytes, row->type};
	struct bole_bytes content;
	struct bole_oid oid;

	if (!item->delta && item->base == REPACK_NONE && item->size > WHOLE_MAX)
		return compare_stored(r, snapshot, item, row);
	BOLE_TRY(bole_object_read_entry(reader, &entry, &content));
	BOLE_TRY(bole_object_id(r->algo, row->type, content, false, &oid));
	BOLE_TRY(bole_repack_spend(r, content.len * CHECK_WORK));
	return bole_oid_equal(&oid, &row->oid) ? BOLE_OK : BOLE_E_CORRUPT;
}

static enum bole_status check_all(struct repack *r, struct bole_snapshot *snapshot,
                                  struct bole_object_reader *reader)
{
	char hex[BOLE_OID_HEX_MAX + 1];

	for (uint32_t i = 0; i < r->map.count; i++) {
		r->done = i;
		enum bole_status rc = check_one(r, snapshot, reader, i);
		if (rc == BOLE_E_CORRUPT)
			return bole_repack_fail(
			        r, rc, "object %s does not read as it was",
			        bole_oid_format(&r->rows[r->items[i].row].oid, hex));
		BOLE_TRY(rc);
	}
	return BOLE_OK;
}

enum bole_status bole_repack_check(struct repack *r)
{
	struct bole_object_reader_options options = {.cache_bytes = r->options.cache_bytes};
	struct bole_object_reader *reader;
	struct bole_snapshot *snapshot;

	bole_repack_phase(r, "verifying", r->map.count);
	BOLE_TRY(bole_snapshot_open(r->store, r->repo, &snapshot));
	enum bole_status rc = bole_object_reader_open(snapshot, r->alloc, &options, &reader);
	if (rc == BOLE_OK) {
		rc = check_all(r, snapshot, reader);
		bole_object_reader_close(reader);
	}
	bole_snapshot_close(snapshot);
	return rc;
}
