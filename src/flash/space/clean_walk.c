/* SPDX-License-Identifier: ISC */
/* What a segment holds, record by record. A segment of the log is batches: records, padding, a
 * trailer; a segment of data is fragments, those of survivors again full of records. Where
 * something does not verify, the walk goes on at the next unit: whatever verifies there is real,
 * because checksums are seeded with the place and the volume's key. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/log/batch.h"
#include "flash/space/clean.h"

enum { WALK_BYTES = 16 << 10 };

/* Makes bytes [offset, offset + least) available, with some more behind them. */
static enum bole_status show(struct flash_walk *w, uint32_t offset, uint32_t least,
                             const uint8_t **out)
{
	struct flash_volume *v = w->v;
	const uint8_t *p;

	if (w->len == 0 || offset < w->from || !bole_in_bounds(offset - w->from, least, w->len)) {
		uint32_t want = least < WALK_BYTES ? WALK_BYTES : least;
		if (want > v->segment_bytes - offset)
			want = v->segment_bytes - offset;
		size_t cap = want + bole_flash_read_slack(v);
		w->len = 0;
		if (cap > w->cap) {
			uint8_t *buf = bole_alloc_resize(v->alloc, w->buf, w->cap, cap, 1);
			if (buf == NULL)
				return BOLE_E_NO_MEMORY;
			w->buf = buf;
			w->cap = cap;
		}
		BOLE_TRY(bole_flash_read(v, w->segment, offset, want, w->buf, &p));
		if (p != w->buf)
			memmove(w->buf, p, want);
		w->from = offset;
		w->len = want;
		w->read += want;
	}
	*out = w->buf + (offset - w->from);
	return BOLE_OK;
}

void bole_flash_walk_rest(struct flash_walk *w)
{
	if (w->v != NULL)
		bole_alloc_free(w->v->alloc, w->buf, w->cap, 1);
	w->buf = NULL;
	w->cap = 0;
	w->len = 0;
}

enum bole_status bole_flash_walk_begin(struct flash_walk *w, struct flash_volume *v,
                                       uint32_t segment)
{
	const uint8_t *p;

	*w = (struct flash_walk){.v = v, .segment = segment, .pos = SEGMENT_HEAD_BYTES};
	BOLE_TRY(show(w, 0, SEGMENT_HEAD_BYTES, &p));
	w->sequence = bole_get_le64(p + SEGMENT_SEQUENCE_AT);
	w->kind = bole_get_le32(p + SEGMENT_KIND_AT);
	w->batch = bole_get_le64(p + SEGMENT_BATCH_AT);
	uint64_t sum = bole_flash_sum(p + SEGMENT_MAGIC_AT, SEGMENT_HEAD_BYTES - SEGMENT_MAGIC_AT,
	                              bole_flash_seed(v->key, segment, w->sequence, 0));
	bole_flash_lock(v);
	uint64_t sequence = v->segment[segment].sequence;
	bole_flash_unlock(v);
	/* Even without its head it may be walked: the sequence is known, and the kind is a guess
	 * that the padding's look decides. */
	bool ok = bole_get_le32(p + SEGMENT_MAGIC_AT) == SEGMENT_MAGIC &&
	          bole_get_le64(p + SEGMENT_CHECKSUM_AT) == sum && w->sequence == sequence;
	w->damaged = !ok;
	w->sequence = sequence;
	if (!ok)
		w->kind = FLASH_SEGMENT_LOG;
	return w->kind == FLASH_SEGMENT_LOG || w->kind == FLASH_SEGMENT_DATA ? BOLE_OK
	                                                                     : BOLE_E_NOT_FOUND;
}

static void resync(struct flash_walk *w)
{
	w->damaged = true;
	w->inner = 0;
	w->pos = (uint32_t)bole_round_up((uint64_t)w->pos + 1, w->v->unit);
}

/* Behind what starts at pos. */
static void pass(struct flash_walk *w, uint32_t bytes, bool fragment)
{
	w->pos += bytes;
	if (fragment)
		w->pos = (uint32_t)bole_round_up(w->pos, w->v->unit);
	if (w->inner != 0 && w->pos >= w->inner) {
		w->pos = w->pad;
		w->inner = 0;
	}
}

/* Passes the padding and the trailer of a batch that ends at pos, if one does. A record may lie
 * where a trailer could: only its checksum tells. */
static enum bole_status skip_trailer(struct flash_walk *w, bool *skipped)
{
	const struct flash_volume *v = w->v;
	uint32_t at = bole_flash_trailer_at(v->unit, w->pos);
	const uint8_t *p;

	*skipped = false;
	if (w->inner != 0 || w->kind != FLASH_SEGMENT_LOG || at + TRAILER_BYTES > v->segment_bytes)
		return BOLE_OK;
	BOLE_TRY(show(w, w->pos, at + TRAILER_BYTES - w->pos, &p));
	if (at - w->pos >= RECORD_HEAD_BYTES && p[RECORD_KIND_AT] != 0)
		return BOLE_OK;
	p += at - w->pos;
	if (bole_get_le32(p + TRAILER_MAGIC_AT) != TRAILER_MAGIC ||
	    bole_flash_sum(p, TRAILER_LINK_AT,
	                   bole_flash_seed(v->key, w->segment, w->sequence, at)) !=
	            bole_get_le64(p + TRAILER_LINK_AT))
		return BOLE_OK;
	w->pos = at + TRAILER_BYTES;
	*skipped = true;
	return BOLE_OK;
}

static bool enters(struct flash_walk *w, const struct flash_record *r)
{
	if (r->kind != FLASH_FRAGMENT_MOVED || w->inner != 0)
		return false;
	w->inner = w->pos + r->bytes;
	w->pad = (uint32_t)bole_round_up(w->inner, w->v->unit);
	w->pos += RECORD_HEAD_BYTES + FRAGMENT_HEAD_BYTES;
	return true;
}

enum bole_status bole_flash_walk_next(struct flash_walk *w, struct flash_record *out,
                                      const uint8_t **bytes, uint32_t *offset)
{
	struct flash_volume *v = w->v;

	while ((uint64_t)w->pos + RECORD_HEAD_BYTES <= v->segment_bytes) {
		const uint8_t *p;
		bool skipped;
		BOLE_TRY(skip_trailer(w, &skipped));
		if (skipped)
			continue;
		BOLE_TRY(show(w, w->pos, RECORD_HEAD_BYTES, &p));
		uint64_t total = (uint64_t)RECORD_HEAD_BYTES + p[RECORD_KEY_BYTES_AT] +
		                 bole_get_le32(p + RECORD_BODY_BYTES_AT);
		uint32_t end = w->inner != 0 ? w->inner : v->segment_bytes;
		if (p[RECORD_KIND_AT] == 0 || total > end - w->pos) {
			resync(w);
			continue;
		}
		BOLE_TRY(show(w, w->pos, (uint32_t)total, &p));
		if (!bole_flash_record_parse((struct bole_bytes){p, (size_t)total}, out) ||
		    !bole_flash_record_verify(
		            p, out, bole_flash_seed(v->key, w->segment, w->sequence, w->pos))) {
			resync(w);
			continue;
		}
		if (enters(w, out))
			continue;
		*bytes = p;
		*offset = w->pos;
		pass(w, out->bytes, out->kind >= FLASH_FRAGMENT_DATA);
		if (w->all || out->kind == FLASH_RECORD_OBJECT || out->kind == FLASH_RECORD_AUX ||
		    out->kind >= FLASH_FRAGMENT_DATA)
			return BOLE_OK;
	}
	return BOLE_END;
}
