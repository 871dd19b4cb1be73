/* SPDX-License-Identifier: ISC */
#include "flash/log/batch.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/log/tx.h"

enum {
	BATCH_SMALL = 16 << 10, /* kept between commits */
	BATCH_KEPT = 1 << 20,   /* the same where memory is not limited */
	BATCH_ROOM = 64 << 10,  /* beside one record of the longest kind */
};

uint32_t bole_flash_trailer_at(uint32_t unit, uint32_t pos)
{
	return (uint32_t)bole_round_up((uint64_t)pos + TRAILER_BYTES, unit) - TRAILER_BYTES;
}

/* A batch with its head, padding and trailer, for records of so many bytes. */
static size_t batch_bytes(const struct flash_volume *v, uint64_t bytes)
{
	return (size_t)bole_round_up(bytes + SEGMENT_HEAD_BYTES + TRAILER_BYTES, v->unit);
}

static enum bole_status grow(struct flash_volume *v, size_t cap)
{
	struct flash_batch *b = &v->batch;

	if (b->cap >= cap)
		return BOLE_OK;
	uint8_t *buf = bole_alloc_resize(v->alloc, b->buf, b->cap, cap, 1);
	if (buf == NULL)
		return BOLE_E_NO_MEMORY;
	b->buf = buf;
	b->cap = cap;
	return BOLE_OK;
}

/* Segments that the log opens for so many bytes, in the worst case. */
static uint32_t segments_for(const struct flash_volume *v, uint64_t bytes, uint32_t longest)
{
	uint64_t room = v->segment_bytes;
	uint64_t batch = (uint64_t)v->record_max + BATCH_ROOM;

	/* Of every segment and every full batch up to one record's room stays empty. */
	room -= longest < room / 2 ? longest : room / 2;
	bytes += (bytes / batch + 1) * (uint64_t)(SEGMENT_HEAD_BYTES + TRAILER_BYTES + v->unit);
	return (uint32_t)(bytes / room) + 1;
}

enum bole_status bole_flash_batch_reserve(struct flash_volume *v, uint64_t bytes, uint32_t longest,
                                          enum flash_purpose purpose)
{
	uint64_t most = (uint64_t)v->record_max + BATCH_ROOM;
	uint64_t wanted = v->batch.open ? v->batch.len + bytes : bytes;

	if (wanted > most)
		wanted = most;
	BOLE_TRY(grow(v, batch_bytes(v, wanted)));
	bole_flash_lock(v);
	v->purpose = purpose;
	v->refused_full = purpose == FLASH_FOR_DATA && bole_flash_is_full(v);
	bole_flash_unlock(v);
	if (v->refused_full)
		return BOLE_E_NO_SPACE;
	uint64_t pos = (uint64_t)v->log.pos + (v->batch.open ? v->batch.len : 0);
	bool here =
	        !v->log.stale && bytes < most && pos + batch_bytes(v, bytes) <= v->segment_bytes;
	if (here && v->log.paid)
		return BOLE_OK; /* no new segment */
	bole_flash_lock(v);
	uint64_t wanted_free = (uint64_t)bole_flash_floor(v, purpose) +
	                       (here ? 0 : 1 + segments_for(v, bytes, longest));
	bool fits = v->free >= wanted_free;
	bole_flash_unlock(v);
	return fits ? BOLE_OK : BOLE_E_NO_SPACE;
}

enum bole_status bole_flash_batch_room(struct flash_volume *v, uint64_t bytes)
{
	return grow(v, batch_bytes(v, bytes));
}

/* A segment for the log, in state RESERVED. It is blank if one was, else it is erased ahead, block
 * by block, or when it is entered. */
static enum bole_status reserve_next(struct flash_volume *v, uint32_t *next, uint64_t *sequence)
{
	BOLE_TRY(bole_flash_segment_get(v, FLASH_FOR_LOG, FLASH_LOG, next, sequence));
	bole_flash_lock(v);
	v->segment[*next].state = SEGMENT_RESERVED;
	v->segment[*next].open = false;
	bole_flash_unlock(v);
	return BOLE_OK;
}

/* A blank one. One that cannot be erased is replaced: no head names it. */
static enum bole_status reserve_blank(struct flash_volume *v, uint32_t *next, uint64_t *sequence)
{
	enum bole_status rc;

	do {
		BOLE_TRY(reserve_next(v, next, sequence));
		rc = bole_flash_erase(v, *next);
	} while (rc == BOLE_E_IO && !atomic_load(&v->failed));
	return rc;
}

/* Lock held. */
static void enter(struct flash_volume *v, uint32_t segment, uint64_t sequence)
{
	v->segment[segment].state = SEGMENT_TAIL;
	v->segment[segment].sequence = sequence;
	v->log.segment = segment;
	v->log.sequence = sequence;
	v->log.pos = 0;
	v->log.stale = false;
	v->log.paid = false;
}

/* Nothing of the group that is under way counts, and nothing more goes where the log is now. */
static void broken(struct flash_volume *v)
{
	struct flash_log *log = &v->log;

	log->broken = true;
	log->batch = log->whole;
	log->link = log->whole_link;
	v->batch.open = false;
	v->batch.len = 0;
	v->batch.records = 0;
}

enum bole_status bole_flash_log_blank(struct flash_volume *v)
{
	enum bole_status rc = bole_flash_erase(v, v->log.next);

	if (rc == BOLE_E_IO && !atomic_load(&v->failed))
		broken(v);
	return rc;
}

enum bole_status bole_flash_log_advance(struct flash_volume *v)
{
	struct flash_log *log = &v->log;
	uint64_t sequence;
	uint32_t next;

	BOLE_ASSERT(!v->batch.open);
	BOLE_TRY(bole_flash_log_blank(v));
	BOLE_TRY(reserve_next(v, &next, &sequence));
	bole_flash_lock(v);
	enter(v, log->next, log->next_sequence);
	log->next = next;
	log->next_sequence = sequence;
	bole_flash_unlock(v);
	return BOLE_OK;
}

enum bole_status bole_flash_log_jump(struct flash_volume *v)
{
	struct flash_log *log = &v->log;
	uint64_t sequence[2];
	uint32_t at[2];

	BOLE_ASSERT(!v->batch.open);
	BOLE_TRY(reserve_blank(v, &at[0], &sequence[0]));
	enum bole_status rc = reserve_next(v, &at[1], &sequence[1]);
	bole_flash_lock(v);
	if (rc != BOLE_OK) {
		bole_flash_segment_release(v, at[0]);
		bole_flash_unlock(v);
		return rc;
	}
	bole_flash_erase_wait(v, log->next);
	if (v->segment[log->next].state == SEGMENT_RESERVED)
		bole_flash_segment_release(v, log->next);
	enter(v, at[0], sequence[0]);
	log->next = at[1];
	log->next_sequence = sequence[1];
	log->broken = false;
	log->adrift = true;
	bole_flash_unlock(v);
	/* A stop in the old place says nothing any more. */
	log->sealed = false;
	v->dirty = true;
	return BOLE_OK;
}

enum bole_status bole_flash_log_mend(struct flash_volume *v)
{
	if (v->log.broken) {
		enum bole_status rc = bole_flash_log_jump(v);
		/* What was written where it broke may be read as a part of the log. */
		if (rc != BOLE_OK)
			bole_flash_fail(v, "finding another place for the log");
		BOLE_TRY(rc);
	}
	bole_flash_lock(v);
	bool adrift = v->log.adrift;
	/* The one under way tells the old place. */
	while (adrift && v->checkpointing)
		(void)v->platform->ops->cond_wait(v->platform, &v->cond, &v->lock, BOLE_NEVER);
	v->recovering = adrift;
	bole_flash_unlock(v);
	if (!adrift)
		return BOLE_OK;
	enum bole_status rc = bole_flash_checkpoint_leading(v);
	bole_flash_lock(v);
	v->recovering = false;
	if (rc == BOLE_E_NO_SPACE)
		bole_flash_check_end(v, true);
	bole_flash_unlock(v);
	return rc;
}

/* `more` bytes of records and the trailer still fit behind what the batch has. */
static bool fits(const struct flash_volume *v, uint32_t more)
{
	const struct flash_batch *b = &v->batch;
	uint64_t len = b->open ? b->len : v->log.pos == 0 ? SEGMENT_HEAD_BYTES : 0;
	uint64_t end = bole_round_up((uint64_t)v->log.pos + len + more + TRAILER_BYTES, v->unit);

	return end <= v->segment_bytes && end - v->log.pos <= b->cap;
}

static enum bole_status begin(struct flash_volume *v, uint32_t more)
{
	struct flash_batch *b = &v->batch;

	if (v->log.pos != 0 && (v->log.stale || !fits(v, more))) {
		BOLE_TRY(bole_flash_log_advance(v));
		v->log.paid = true;
	}
	b->start = v->log.pos;
	b->len = 0;
	b->records = 0;
	b->open = true;
	if (b->start == 0) {
		bole_flash_lock(v);
		bole_flash_segment_head(v, v->log.segment, v->log.sequence, FLASH_SEGMENT_LOG,
		                        b->buf);
		bole_flash_unlock(v);
		b->len = SEGMENT_HEAD_BYTES;
	}
	BOLE_ASSERT(fits(v, more));
	return BOLE_OK;
}

static enum bole_status finish(struct flash_volume *v, uint32_t flags)
{
	struct flash_batch *b = &v->batch;
	struct flash_log *log = &v->log;
	uint32_t first = b->start == 0 ? SEGMENT_HEAD_BYTES : 0; /* of the batch, in buf */
	uint32_t trailer = bole_flash_trailer_at(v->unit, b->start + b->len);
	uint8_t *t = b->buf + (trailer - b->start);
	uint32_t end = trailer + TRAILER_BYTES;

	uint32_t after = atomic_load(&v->anchored) & FLASH_BATCH_AFTER_MASK;

	memset(b->buf + b->len, 0, trailer - b->start - b->len);
	bole_put_le32(t + TRAILER_MAGIC_AT, TRAILER_MAGIC);
	bole_put_le32(t + TRAILER_FLAGS_AT, flags | b->flags | after << FLASH_BATCH_AFTER_SHIFT);
	bole_put_le32(t + TRAILER_BYTES_AT, end - b->start - first);
	bole_put_le32(t + TRAILER_RECORDS_AT, b->records);
	bole_put_le64(t + TRAILER_SEQUENCE_AT, log->batch);
	bole_put_le64(t + TRAILER_DURABLE_AT, log->durable);
	bole_put_le64(t + TRAILER_CHAIN_AT, log->link);
	uint64_t seed = bole_flash_seed(v->key, log->segment, log->sequence, b->start + first);
	bole_put_le64(t + TRAILER_DIGEST_AT,
	              bole_flash_sum(b->buf + first, (size_t)(t - b->buf) - first, seed));
	seed = bole_flash_seed(v->key, log->segment, log->sequence, trailer);
	log->link = bole_flash_sum(t, TRAILER_LINK_AT, seed);
	bole_put_le64(t + TRAILER_LINK_AT, log->link);
	enum bole_status rc = bole_flash_program(v, log->segment, b->start, b->buf, end - b->start);
	if (rc != BOLE_OK) {
		broken(v);
		return rc;
	}
	bole_flash_lock(v);
	v->tail_bytes += end - b->start;
	bole_flash_unlock(v);
	log->pos = end;
	log->batch++;
	if ((flags & FLASH_BATCH_CONTINUES) == 0) {
		log->whole = log->batch;
		log->whole_link = log->link;
	}
	b->open = false;
	b->len = 0;
	b->records = 0;
	v->dirty = (flags & (FLASH_BATCH_SEAL | FLASH_BATCH_CONFIRM)) == 0;
	log->sealed = (flags & FLASH_BATCH_SEAL) != 0;
	return rc;
}

enum bole_status bole_flash_batch_add(struct flash_volume *v, const struct flash_record *record,
                                      const struct bole_bytes *pieces, size_t count,
                                      uint32_t *segment, uint32_t *offset)
{
	struct flash_batch *b = &v->batch;
	struct flash_record r = *record;
	size_t body = 0;

	for (size_t i = 0; i < count; i++)
		body += pieces[i].len;
	r.body.len = body;
	uint32_t bytes = (uint32_t)(RECORD_HEAD_BYTES + r.key.len + body);
	if (b->open && !fits(v, bytes))
		BOLE_TRY(finish(v, FLASH_BATCH_CONTINUES));
	if (!b->open)
		BOLE_TRY(begin(v, bytes));
	uint8_t *p = b->buf + b->len;
	uint32_t at = b->start + b->len;
	bole_flash_record_head(p, &r);
	if (r.key.len != 0)
		memcpy(p + RECORD_HEAD_BYTES, r.key.ptr, r.key.len);
	uint8_t *dst = p + RECORD_HEAD_BYTES + r.key.len;
	for (size_t i = 0; i < count; i++) {
		if (pieces[i].len != 0)
			memcpy(dst, pieces[i].ptr, pieces[i].len);
		dst += pieces[i].len;
	}
	(void)bole_flash_record_seal(p, bytes,
	                             bole_flash_seed(v->key, v->log.segment, v->log.sequence, at));
	b->len += bytes;
	b->records++;
	if (segment != NULL) {
		*segment = v->log.segment;
		*offset = at;
	}
	return BOLE_OK;
}

enum bole_status bole_flash_batch_end(struct flash_volume *v, uint32_t flags)
{
	if (!v->batch.open && flags == 0)
		return BOLE_OK;
	if (!v->batch.open) {
		BOLE_TRY(grow(v, batch_bytes(v, 0)));
		BOLE_TRY(begin(v, 0));
	}
	return finish(v, flags);
}

void bole_flash_batch_close(struct flash_volume *v)
{
	bole_alloc_free(v->alloc, v->batch.buf, v->batch.cap, 1);
	v->batch = (struct flash_batch){.buf = NULL};
}

void bole_flash_batch_rest(struct flash_volume *v)
{
	size_t kept = v->budget.limit == SIZE_MAX ? BATCH_KEPT : BATCH_SMALL;

	if (!v->batch.open && v->batch.cap > kept + v->unit)
		bole_flash_batch_close(v);
}
