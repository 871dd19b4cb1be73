/* SPDX-License-Identifier: ISC */
/* Which segments are free, and for whom.
 *
 * The reserve: a checkpoint must always be writable next to the old one, because it is what makes
 * freed segments free again; and the log must be able to take reference updates and deletes until
 * that happens. Both are held back from data. Below them lies what a mount after a cut needs before
 * its checkpoint: two segments for the log, of which the first takes what the cut left in doubt. */
#include "base/bytes.h"
#include "base/check.h"
#include "flash/index/levels.h"
#include "flash/log/tx.h"

enum {
	RESERVE_SEGMENTS = 6,    /* for references and deletes */
	RESERVE_PER_MILLE = 8,   /* and a share of the volume */
	CAPACITY_PERCENT = 92,   /* of the segments is promised */
	FULL_PERCENT = 98,       /* of what is promised: live bytes beyond which no data is taken */
	CLEAN_SEGMENTS = 2,      /* for survivors of cleaning */
	RECOVERY_SEGMENTS = 2,   /* where the log goes on after a cut, and what was in doubt */
	CHECKPOINT_SLACK = 2,    /* segments that a checkpoint may leave half empty */
	FEW_ROW_BYTES = 64,      /* of it for a row in memory, where they are few */
	CHECKPOINT_FIXED = 4096, /* bytes of it that do not grow */
};

/* Segments that a checkpoint written now would fill. */
static uint32_t checkpoint_segments(const struct flash_volume *v)
{
	uint64_t bytes = v->base_bytes + v->growth + v->mem_few * FEW_ROW_BYTES +
	                 (uint64_t)v->segments * SEGMENT_ROW_BYTES + CHECKPOINT_FIXED;
	uint64_t usable = v->segment_bytes - v->unit;
	uint64_t pages = v->segment_bytes / v->page_bytes - 1;

	/* Heads of fragments and padding cost less than a quarter. */
	bytes += bytes / 4;
	return (uint32_t)(bytes / usable + (v->mem_pages + pages - 1) / pages) + CHECKPOINT_SLACK;
}

/* What is held back for a merge of the index. What one under way has written is of this, and what
 * the next checkpoint frees may be: it can always be written. */
static uint32_t merge_segments(const struct flash_volume *v)
{
	uint32_t there = v->merge_written + v->freed;

	return v->merge_room > there ? v->merge_room - there : 0;
}

uint32_t bole_flash_floor(const struct flash_volume *v, enum flash_purpose purpose)
{
	uint32_t floor = v->recovering ? 0 : RECOVERY_SEGMENTS;

	if (purpose == FLASH_FOR_LOG)
		return 0;
	if (purpose == FLASH_FOR_CHECKPOINT)
		return floor;
	floor += checkpoint_segments(v);
	if (purpose == FLASH_FOR_MERGING)
		return floor;
	floor += merge_segments(v);
	if (purpose == FLASH_FOR_CLEANING)
		return floor;
	floor += CLEAN_SEGMENTS;
	if (purpose == FLASH_FOR_REFS)
		return floor;
	uint32_t share = (uint32_t)((uint64_t)v->segments * RESERVE_PER_MILLE / 1000);
	return floor + (share > RESERVE_SEGMENTS ? share : RESERVE_SEGMENTS);
}

uint64_t bole_flash_capacity(const struct flash_volume *v)
{
	return (uint64_t)v->segments * v->segment_bytes / 100 * CAPACITY_PERCENT;
}

bool bole_flash_is_full(const struct flash_volume *v)
{
	return bole_flash_lives(v, FULL_PERCENT);
}

bool bole_flash_lives(const struct flash_volume *v, uint32_t percent)
{
	uint64_t most = bole_flash_capacity(v) / 100 * percent;

	/* What a merge takes out of the index is no reason to refuse anything. */
	return v->live > most && v->live > most + bole_flash_merge_gain(v);
}

uint64_t bole_flash_segment_open(struct flash_volume *v, uint32_t segment)
{
	struct flash_segment *s = &v->segment[segment];
	uint32_t salt;

	/* The salt keeps what was written before a cut, under the same count, from verifying. */
	v->platform->ops->random(v->platform, &salt, sizeof salt);
	v->opened++;
	s->changed = true;
	s->sequence = (uint64_t)v->opened << 32 | salt;
	s->written = 0;
	s->lived = 0;
	s->parts = false;
	s->kind = 0;
	s->moved = 0;
	s->stuck = false;
	s->decaying = false;
	return s->sequence;
}

void bole_flash_segment_settle(struct flash_volume *v, uint32_t segment)
{
	struct flash_segment *s = &v->segment[segment];

	if (s->state != SEGMENT_USED || s->live != 0 || s->held != 0 || s->open)
		return;
	if (s->published) {
		s->state = SEGMENT_FREED;
		v->freed++;
	} else {
		bole_flash_segment_release(v, segment);
	}
}

bool bole_flash_segment_dead(const struct flash_volume *v, uint32_t segment)
{
	const struct flash_segment *s = &v->segment[segment];

	return s->state == SEGMENT_FREED || (s->state == SEGMENT_TAIL && s->live == 0 &&
	                                     s->held == 0 && segment != v->log.segment);
}

void bole_flash_segment_release(struct flash_volume *v, uint32_t segment)
{
	struct flash_segment *s = &v->segment[segment];

	s->published = false;
	s->erased = 0;
	if (bole_flash_pinned(v, segment)) {
		s->state = SEGMENT_PINNED;
		v->pinned++;
	} else if (s->retiring) {
		s->state = SEGMENT_BAD;
		s->changed = true;
		v->bad++;
		v->retired++;
	} else {
		s->state = SEGMENT_FREE;
		v->free++;
	}
}

void bole_flash_live_add(struct flash_volume *v, uint32_t segment, uint64_t bytes)
{
	struct flash_segment *s = &v->segment[segment];

	/* Only bytes that lie about themselves name more than there is. */
	if (bytes > UINT32_MAX - s->live)
		bytes = UINT32_MAX - s->live;
	s->live += (uint32_t)bytes;
	v->live += bytes;
	s->lived =
	        bytes > v->segment_bytes - s->lived ? v->segment_bytes : s->lived + (uint32_t)bytes;
	s->changed = true;
}

void bole_flash_live_sub(struct flash_volume *v, uint32_t segment, uint64_t bytes)
{
	struct flash_segment *s = &v->segment[segment];

	/* What added these bytes may be among what is gone: better too many live than too few. */
	if (v->salvage || v->repair != NULL)
		return;
	if (s->live < bytes) {
		/* Counts come from the device: what it says is wrong, and nothing is freed. */
		bole_flash_fail(v, "counting what lives");
		return;
	}
	s->live -= (uint32_t)bytes;
	v->live -= bytes;
	s->changed = true;
	s->freed = v->stamp;
	s->stuck = false;
	bole_flash_segment_settle(v, segment);
}

static uint32_t sum_of(uint32_t a, uint64_t b)
{
	return b > UINT32_MAX - a ? UINT32_MAX : a + (uint32_t)b;
}

void bole_flash_live_draft(struct flash_volume *v, uint32_t segment, uint64_t more, uint64_t less)
{
	struct flash_segment *s = &v->segment[segment];

	/* The leader's own: others only look at what is published. */
	if (!s->drafted) {
		s->drafted = true;
		s->next_drafted = v->drafted;
		v->drafted = segment;
	}
	s->more = sum_of(s->more, more);
	s->less = sum_of(s->less, less);
}

static void draft_end(struct flash_volume *v, bool publish)
{
	while (v->drafted != SEGMENT_NONE) {
		uint32_t at = v->drafted;
		struct flash_segment *s = &v->segment[at];
		uint32_t more = s->more;
		uint32_t less = s->less;
		v->drafted = s->next_drafted;
		s->drafted = false;
		s->more = 0;
		s->less = 0;
		if (publish && more != 0)
			bole_flash_live_add(v, at, more);
		if (publish && less != 0)
			bole_flash_live_sub(v, at, less);
	}
}

void bole_flash_live_publish(struct flash_volume *v)
{
	draft_end(v, true);
}

void bole_flash_live_forget(struct flash_volume *v)
{
	draft_end(v, false);
}

void bole_flash_hold(struct flash_volume *v, uint32_t segment, uint64_t bytes)
{
	struct flash_segment *s = &v->segment[segment];

	s->held = bytes > UINT32_MAX - s->held ? UINT32_MAX : s->held + (uint32_t)bytes;
	s->lived =
	        bytes > v->segment_bytes - s->lived ? v->segment_bytes : s->lived + (uint32_t)bytes;
}

void bole_flash_hold_end(struct flash_volume *v, uint32_t segment, uint64_t bytes)
{
	struct flash_segment *s = &v->segment[segment];

	BOLE_ASSERT(s->held >= bytes);
	s->held -= (uint32_t)bytes;
	bole_flash_segment_settle(v, segment);
}

void bole_flash_segment_head(const struct flash_volume *v, uint32_t segment, uint64_t sequence,
                             enum flash_segment_kind kind, uint8_t *head)
{
	memset(head, 0, SEGMENT_HEAD_BYTES);
	bole_put_le32(head + SEGMENT_MAGIC_AT, SEGMENT_MAGIC);
	bole_put_le32(head + SEGMENT_NUMBER_AT, segment);
	bole_put_le64(head + SEGMENT_SEQUENCE_AT, sequence);
	bole_put_le32(head + SEGMENT_KIND_AT, (uint32_t)kind);
	bole_put_le32(head + SEGMENT_ERASES_AT, v->segment[segment].erases);
	if (kind == FLASH_SEGMENT_LOG) {
		bole_put_le32(head + SEGMENT_NEXT_AT, v->log.next);
		bole_put_le64(head + SEGMENT_NEXT_SEQUENCE_AT, v->log.next_sequence);
		bole_put_le64(head + SEGMENT_BATCH_AT, v->log.batch);
		bole_put_le64(head + SEGMENT_LINK_AT, v->log.link);
	}
	bole_put_le64(head + SEGMENT_CHECKSUM_AT,
	              bole_flash_sum(head + SEGMENT_MAGIC_AT, SEGMENT_HEAD_BYTES - SEGMENT_MAGIC_AT,
	                             bole_flash_seed(v->key, segment, sequence, 0)));
}
