/* SPDX-License-Identifier: ISC */
/* From the scanned log to the catalog, and what an unclean stop asks for. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
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
	a->batch = b->sequence;
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

void bole_flash_tail(struct flash_volume *v, uint32_t segment)
{
	struct flash_segment *s = &v->segment[segment];

	s->retiring |= s->state == SEGMENT_BAD;
	s->state = SEGMENT_TAIL;
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
		bole_flash_tail(v, s->batch[i].segment);
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

/* What is written once more, and where. */
struct repeat {
	struct flash_log_scan *s;
	uint64_t *place; /* of the records that are wanted, in the order of each_wanted */
	uint32_t count;
	uint32_t cap;
	uint32_t at;
	bool least; /* only of the last write */
};

static enum bole_status
each_of(struct repeat *t, const struct flash_batch_at *b,
        enum bole_status (*one)(struct repeat *, const struct flash_record *, uint64_t place))
{
	struct flash_record r;
	uint32_t pos = 0;
	uint32_t offset;
	enum bole_status rc;

	while ((rc = bole_flash_batch_next(t->s, b, &pos, &r, &offset)) == BOLE_OK)
		if (bole_flash_repeat_wanted(t->s->v, &r, b->segment, offset))
			BOLE_TRY(one(t, &r, bole_flash_place(b->segment, offset)));
	return rc == BOLE_END ? BOLE_OK : rc;
}

/* The records in doubt that something names: those of the last write first. */
static enum bole_status
each_wanted(struct repeat *t,
            enum bole_status (*one)(struct repeat *, const struct flash_record *, uint64_t place))
{
	const struct flash_log_scan *s = t->s;

	for (uint32_t i = s->batches; i > 0 && s->batch[i - 1].sequence > s->durable; i--) {
		if (t->least && i < s->batches)
			break;
		if (!s->batch[i - 1].damaged)
			BOLE_TRY(each_of(t, &s->batch[i - 1], one));
	}
	return BOLE_OK;
}

static enum bole_status note_place(struct repeat *t, uint64_t place)
{
	struct bole_alloc *alloc = t->s->v->alloc;

	if (t->count == t->cap) {
		uint32_t cap = t->cap == 0 ? 64 : t->cap * 2;
		void *list = bole_alloc_resize(alloc, t->place, t->cap, cap, sizeof *t->place);
		if (list == NULL)
			return BOLE_E_NO_MEMORY;
		t->place = list;
		t->cap = cap;
	}
	t->place[t->count++] = place;
	return BOLE_OK;
}

static enum bole_status repeat(struct repeat *t, const struct flash_record *r, uint64_t place)
{
	struct flash_volume *v = t->s->v;
	const struct flash_batch_at *last = &t->s->batch[t->s->batches - 1];
	struct bole_bytes body = r->body;
	uint32_t segment;
	uint32_t offset;

	/* The last write fits into the segment that the log jumped to: it has been in one, too.
	 * Nothing else was under way when power went. For what the device held back before it,
	 * there may be no room: the checkpoint that comes next needs it more. */
	if (bole_flash_place_segment(place) == last->segment &&
	    bole_flash_place_offset(place) >= last->offset)
		BOLE_TRY(bole_flash_batch_room(v, last->bytes));
	else
		BOLE_TRY(bole_flash_batch_reserve(v, r->bytes, r->bytes, FLASH_FOR_MERGING));
	BOLE_TRY(bole_flash_batch_add(v, r, &body, 1, &segment, &offset));
	return note_place(t, bole_flash_place(segment, offset));
}

static enum bole_status move(struct repeat *t, const struct flash_record *r, uint64_t place)
{
	if (t->at == t->count)
		return BOLE_OK;
	return bole_flash_repeat_move(t->s->v, r, place, t->place[t->at++]);
}

static enum bole_status left(struct repeat *t, const struct flash_record *r, uint64_t place)
{
	(void)r;
	(void)place;
	t->s->v->in_doubt++;
	return BOLE_OK;
}

static enum bole_status repeat_all(struct repeat *t)
{
	struct flash_volume *v = t->s->v;

	v->batch.flags = FLASH_BATCH_AGAIN;
	enum bole_status rc = each_wanted(t, repeat);
	if (rc == BOLE_E_NO_SPACE)
		rc = BOLE_OK;
	if (rc == BOLE_OK && t->count != 0)
		rc = bole_flash_batch_end(v, 0);
	v->batch.flags = 0;
	if (rc == BOLE_OK)
		rc = bole_flash_flush(v);
	/* Nothing names the other places before they are there. */
	if (rc == BOLE_OK)
		rc = each_wanted(t, move);
	t->least = true;
	return rc == BOLE_OK ? each_wanted(t, left) : rc;
}

enum bole_status bole_flash_recover(struct flash_log_scan *s)
{
	struct flash_volume *v = s->v;
	/* Without a cache a write that has ended is safe. */
	struct repeat t = {.s = s, .least = !v->dev->info.volatile_cache};

	v->in_doubt = 0;
	enum bole_status rc = repeat_all(&t);

	bole_alloc_free(v->alloc, t.place, t.cap, sizeof *t.place);
	if (rc == BOLE_OK && v->in_doubt != 0)
		bole_log(v->platform, BOLE_LOG_WARN,
		         "%s: %llu records that a cut left in doubt stay where they are",
		         v->dev->info.name, (unsigned long long)v->in_doubt);
	if (rc == BOLE_OK)
		v->log.durable = v->log.batch - 1;
	return rc;
}
