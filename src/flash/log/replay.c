/* SPDX-License-Identifier: ISC */
/* From the scanned log to the catalog, and what an unclean stop asks for. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/log/batch.h"
#include "flash/log/scan.h"
#include "flash/volume/repair.h"

/* The extents that a batch publishes verify to the last fragment. */
static enum bole_status batch_complete(struct flash_log_scan *s, const struct flash_batch_at *b,
                                       bool *complete)
{
	struct flash_volume *v = s->v;
	struct flash_record r;
	uint32_t pos = 0;
	uint32_t offset;
	enum bole_status rc;

	*complete = true;
	while ((rc = bole_flash_batch_next(s, b, &pos, &r, &offset)) == BOLE_OK) {
		struct flash_extent *extent;
		if (r.kind != FLASH_RECORD_EXTENT)
			continue;
		/* The domain may be made in this very log; any key length that fits will do. */
		rc = bole_flash_extent_load(v, r.owner, 0, r.body, &extent);
		if (rc == BOLE_OK) {
			rc = bole_flash_extent_verify(v, extent);
			bole_flash_extent_release(extent);
		}
		if (rc == BOLE_E_CORRUPT)
			*complete = false;
		if (rc != BOLE_OK)
			return rc == BOLE_E_CORRUPT ? BOLE_OK : rc;
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

/* Back to the last whole group, at most `count` batches. */
static void cut_to(struct flash_log_scan *s, uint32_t count)
{
	while (count > 0 && (s->batch[count - 1].flags & FLASH_BATCH_CONTINUES) != 0)
		count--;
	s->batches = count;
	if (count == 0) {
		const struct flash_anchor *a = &s->v->anchor;
		s->segment = a->log_segment;
		s->pos = a->log_offset;
		s->segment_sequence = a->log_sequence;
		s->next = a->log_offset == 0 ? a->log_segment : a->log_next;
		s->next_sequence = a->log_offset == 0 ? a->log_sequence : a->log_next_sequence;
		s->expect = a->batch;
		s->link = a->link;
		return;
	}
	const struct flash_batch_at *b = &s->batch[count - 1];
	s->segment = b->segment;
	s->pos = b->offset + b->bytes;
	s->segment_sequence = b->segment_sequence;
	s->next = b->next;
	s->next_sequence = b->next_sequence;
	s->expect = b->sequence + 1;
	s->link = b->link;
}

/* The end of the log: what was not flushed counts only if all of it is there. */
static enum bole_status settle_end(struct flash_log_scan *s)
{
	uint32_t end = s->batches;
	bool complete;

	for (uint32_t i = 0; i < s->batches; i++) {
		if (s->batch[i].sequence <= s->durable || s->batch[i].damaged)
			continue;
		enum bole_status rc = bole_flash_batch_hold(s, &s->batch[i]);
		if (rc != BOLE_OK && rc != BOLE_E_CORRUPT)
			return rc;
		complete = rc == BOLE_OK;
		if (complete)
			BOLE_TRY(batch_complete(s, &s->batch[i], &complete));
		if (!complete) {
			end = i;
			break;
		}
	}
	uint32_t found = s->batches;
	cut_to(s, end);
	if (s->batches != found)
		bole_log(s->v->platform, BOLE_LOG_INFO,
		         "%s: %u unfinished batches at the end of the log are dropped",
		         s->v->dev->info.name, found - s->batches);
	return BOLE_OK;
}

static enum bole_status apply_batch(struct flash_log_scan *s, struct flash_apply *a,
                                    const struct flash_batch_at *b)
{
	struct flash_record r;
	uint32_t pos = 0;
	uint32_t offset;
	enum bole_status rc;

	a->again = (b->flags & FLASH_BATCH_AGAIN) != 0;
	if (b->damaged)
		return bole_flash_batch_salvage(s, a, b);
	while ((rc = bole_flash_batch_next(s, b, &pos, &r, &offset)) == BOLE_OK) {
		enum bole_status applied = bole_flash_apply(a, &r, b->segment, offset);
		if (applied != BOLE_E_CORRUPT || !s->v->salvage)
			BOLE_TRY(applied);
		else
			bole_flash_lost(s->v,
			                "batch %llu: the record of kind %u in segment %u at offset "
			                "%u does not fit what is left",
			                (unsigned long long)b->sequence, r.kind, b->segment,
			                offset);
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

enum bole_status bole_flash_replay(struct flash_log_scan *s, bool *sealed)
{
	struct flash_volume *v = s->v;
	struct flash_apply a;
	uint32_t found = s->batches;
	enum bole_status rc = settle_end(s);

	/* Behind a seal lies nothing: what was dropped there must never be found again. */
	*sealed = s->sealed && s->batches == found;
	if (s->opened > v->opened)
		v->opened = s->opened;
	bole_flash_apply_init(&a, v);
	for (uint32_t i = 0; i < s->batches && rc == BOLE_OK; i++) {
		v->segment[s->batch[i].segment].state = SEGMENT_TAIL;
		v->segment[s->batch[i].segment].sequence = s->batch[i].segment_sequence;
		rc = apply_batch(s, &a, &s->batch[i]);
		if (rc == BOLE_E_CORRUPT)
			bole_log(v->platform, BOLE_LOG_ERROR,
			         "%s: batch %llu in segment %u does not make sense; run fsck",
			         v->dev->info.name, (unsigned long long)s->batch[i].sequence,
			         s->batch[i].segment);
		v->tail_bytes += s->batch[i].bytes;
	}
	bole_flash_apply_release(&a);
	return rc;
}

/* -- After an unclean stop -- */

/* Copies the objects and aux records of one batch to the head of the log. */
static enum bole_status copy_batch(struct flash_log_scan *s, const struct flash_batch_at *b,
                                   struct flash_apply *a, bool *any)
{
	struct flash_volume *v = s->v;
	struct flash_record r;
	uint32_t pos = 0;
	uint32_t offset;
	enum bole_status rc;

	while ((rc = bole_flash_batch_next(s, b, &pos, &r, &offset)) == BOLE_OK) {
		uint32_t segment;
		if (r.kind != FLASH_RECORD_OBJECT && r.kind != FLASH_RECORD_AUX)
			continue;
		struct bole_bytes body = r.body;
		/* What a cut left unstable may be gone the next time: only the checkpoint that
		 * comes next needs room more. */
		BOLE_TRY(bole_flash_batch_reserve(v, r.bytes, r.bytes, FLASH_FOR_MERGING));
		BOLE_TRY(bole_flash_batch_add(v, &r, &body, 1, &segment, &offset));
		*any = true;
		if (r.kind == FLASH_RECORD_AUX && bole_flash_repo_find_any(v, r.owner) == NULL)
			continue; /* removed within the batches in doubt */
		if (r.kind == FLASH_RECORD_OBJECT && bole_flash_domain_find(v, r.owner) == NULL)
			continue;
		if (r.kind == FLASH_RECORD_AUX && (r.flags & FLASH_FLAG_PREPARED) != 0)
			continue; /* its places are found by replay, not moved */
		BOLE_TRY(bole_flash_apply(a, &r, segment, offset));
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

enum bole_status bole_flash_recover(struct flash_log_scan *s)
{
	struct flash_volume *v = s->v;
	struct flash_apply a;
	enum bole_status rc = BOLE_OK;
	bool any = false;

	bole_flash_apply_init(&a, v);
	a.again = true;
	v->batch.flags = FLASH_BATCH_AGAIN;
	for (uint32_t i = 0; i < s->batches && rc == BOLE_OK; i++)
		if (s->batch[i].sequence > s->durable && !s->batch[i].damaged)
			rc = copy_batch(s, &s->batch[i], &a, &any);
	bole_flash_apply_release(&a);
	/* A full volume: what is left stays where it is. It verified, and the checkpoint that
	 * comes next needs the room more. */
	if (rc == BOLE_E_NO_SPACE)
		rc = BOLE_OK;
	if (rc == BOLE_OK && any)
		rc = bole_flash_batch_end(v, 0);
	v->batch.flags = 0;
	if (rc == BOLE_OK)
		rc = bole_flash_flush(v);
	if (rc == BOLE_OK)
		v->log.durable = v->log.batch - 1;
	return rc;
}
