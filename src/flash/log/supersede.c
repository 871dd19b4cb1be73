/* SPDX-License-Identifier: ISC */
/* Replay over a state that the log was not written over: an older anchor counts, or part of the log
 * is gone. Then a row may be there that was removed by a sweep, moved, or dropped in what is gone,
 * and a record that the log brings or drops concerns it, although it does not name it. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/index/index.h"
#include "flash/volume/mount.h"

struct hunt {
	struct flash_apply *apply;
	const struct flash_index *index;
	const uint8_t *key;
	bool extents;
	struct flash_found found;
};

/* Rows of runs know the start of their id only. One whose record does not verify stays: another id
 * may start alike, and it is nowhere listed. */
static enum bole_status is_its_own(struct hunt *h, const struct flash_found *found, bool *yes)
{
	struct flash_volume *v = h->apply->v;
	const struct flash_domain *domain = h->index->domain;
	uint32_t segment = bole_flash_place_segment(found->place);
	uint32_t offset = bole_flash_place_offset(found->place);
	uint64_t bytes = bole_flash_record_live(domain->key_len, (uint32_t)found->stored);
	struct flash_record r;

	*yes = false;
	if (segment >= v->segments || !bole_in_bounds(offset, bytes, v->segment_bytes))
		return BOLE_OK;
	enum bole_status rc =
	        bole_flash_fetch_record(v, &h->apply->reader, segment, offset, (size_t)bytes, &r);
	if (rc == BOLE_E_CORRUPT)
		return BOLE_OK;
	BOLE_TRY(rc);
	*yes = r.kind == FLASH_RECORD_OBJECT && r.owner == domain->id &&
	       r.key.len == domain->key_len && memcmp(r.key.ptr, h->key, r.key.len) == 0;
	return BOLE_OK;
}

static enum bole_status hunt_row(void *ctx, const struct flash_found *found)
{
	struct hunt *h = ctx;
	bool its = true;

	if (found->extent != NULL && !h->extents)
		return BOLE_OK;
	if (found->where == FOUND_RUN)
		BOLE_TRY(is_its_own(h, found, &its));
	if (!its)
		return BOLE_OK;
	h->found = *found;
	return BOLE_END;
}

enum bole_status bole_flash_apply_supersede(struct flash_apply *a, struct flash_index *index,
                                            const uint8_t *key, bool extents)
{
	struct hunt h = {.apply = a, .index = index, .key = key, .extents = extents};

	if (a->v->repair == NULL || a->checkpoint)
		return BOLE_OK;
	for (;;) {
		enum bole_status rc =
		        bole_flash_index_each(a->v, index, key, &a->reader, true, hunt_row, &h);
		/* What a damaged part of the index has, nobody is shown. */
		if (rc != BOLE_END)
			return rc == BOLE_E_CORRUPT ? BOLE_OK : rc;
		BOLE_TRY(bole_flash_index_kill(a->v, index, key, &h.found));
	}
}
