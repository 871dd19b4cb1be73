/* SPDX-License-Identifier: ISC */
/* Which free segment is written next, how it is erased, and what becomes of one that fails.
 *
 * What is written often (the log, checkpoints, indexes) goes into the least worn segments, what
 * stays for long (survivors of cleaning, packs) into worn ones, so that wear evens out by itself as
 * far as it goes; the cleaner's levelling does the rest. A few segments are erased ahead, one erase
 * block at a time, so that commits need not wait for erases. */
#include "base/check.h"
#include "flash/log/tx.h"

enum {
	/* What is written next may have so much of the mean wear, in percent, and some more:
	 * levelling costs a copy of a segment for each fresh one that comes into use. */
	WEAR_MOST_PERCENT = 120,
	WEAR_MOST_MORE = 180,
	FRESH_SEGMENTS = 8,     /* that may be written before wear is too uneven */
	READY_SEGMENTS = 4,     /* erased ahead */
	READY_FOR_LOG = 2,      /* of them, which others leave alone while there is any else */
	OPENED_SPARE = 1 << 16, /* openings that stay for what is under way at the end */
	FAILURES_MAX = 4,       /* programs in a row: not a bad block here and there */
	END_BAD_PERCENT = 20,   /* of the segments are bad: the others will soon be, too */
	/* Of what is left beyond the floor: where cleaning first comes to nothing. Volumes that
	 * were filled to 30 to 60 % and worn out ended with 77 to 90 % (segments of 16 KiB, 11
	 * runs), 92 to 97 % (64 KiB): the low end, so that the next mount knows what the one before
	 * it met. */
	END_LIVE_PERCENT = 78,
	ERASE_FAILURES_MAX = 32, /* worn blocks fail in rows */
};

/* Erases beyond which a segment should rest. */
static uint64_t wear_limit(const struct flash_volume *v)
{
	uint64_t sum = 0;
	uint32_t good = 0;

	for (uint32_t i = 0; i < v->segments; i++) {
		if (v->segment[i].state == SEGMENT_BAD)
			continue;
		good++;
		sum += v->segment[i].erases;
	}
	return good == 0 ? 0 : (sum * WEAR_MOST_PERCENT / good + WEAR_MOST_MORE) / 100;
}

bool bole_flash_wear_apart(const struct flash_volume *v)
{
	uint64_t limit = wear_limit(v);
	uint32_t fresh = 0;
	uint32_t worn = 0;

	for (uint32_t i = 0; i < v->segments; i++) {
		const struct flash_segment *s = &v->segment[i];
		bool comes = s->state == SEGMENT_FREE || s->state == SEGMENT_FREED ||
		             s->state == SEGMENT_FREEING || s->state == SEGMENT_PINNED;
		fresh += comes && s->erases <= limit;
		worn += comes && s->erases > limit;
	}
	return fresh < FRESH_SEGMENTS && worn != 0;
}

/* Where wear does not matter: one after another, which suits disks and cards. */
static uint32_t choose_next(struct flash_volume *v)
{
	for (uint32_t i = 0; i < v->segments; i++) {
		uint32_t at = v->cursor;
		v->cursor = v->cursor + 1 == v->segments ? 0 : v->cursor + 1;
		if (v->segment[at].state == SEGMENT_FREE)
			return at;
	}
	BOLE_UNREACHABLE();
}

static bool is_ready(const struct flash_volume *v, uint32_t segment)
{
	return v->segment[segment].erased == v->segment_bytes;
}

/* Blank ones are so few that they are kept for the log. */
static bool scarce(const struct flash_volume *v)
{
	uint32_t ready = 0;
	uint32_t others = 0;

	for (uint32_t i = 0; i < v->segments; i++) {
		if (v->segment[i].state != SEGMENT_FREE)
			continue;
		ready += is_ready(v, i);
		others += !is_ready(v, i);
	}
	return ready <= READY_FOR_LOG && others != 0;
}

/* The least worn one. blank: those first; dirty: no others. */
static uint32_t choose_hot(const struct flash_volume *v, bool blank, bool dirty)
{
	uint32_t best = SEGMENT_NONE;

	for (uint32_t i = 0; i < v->segments; i++) {
		if (v->segment[i].state != SEGMENT_FREE || (dirty && is_ready(v, i)))
			continue;
		if (best == SEGMENT_NONE) {
			best = i;
			continue;
		}
		bool sooner = blank && is_ready(v, i) && !is_ready(v, best);
		bool later = blank && !is_ready(v, i) && is_ready(v, best);
		if (sooner || (!later && v->segment[i].erases < v->segment[best].erases))
			best = i;
	}
	return best;
}

/* The most worn one that is not far beyond the limit. */
static uint32_t choose_cold(const struct flash_volume *v, bool dirty)
{
	uint64_t limit = wear_limit(v);
	limit += limit / 8 > 2 ? limit / 8 : 2;
	uint32_t best = SEGMENT_NONE;

	for (uint32_t i = 0; i < v->segments; i++) {
		uint32_t erases = v->segment[i].erases;
		if (v->segment[i].state != SEGMENT_FREE || erases > limit ||
		    (dirty && is_ready(v, i)))
			continue;
		if (best == SEGMENT_NONE || erases > v->segment[best].erases)
			best = i;
	}
	return best == SEGMENT_NONE ? choose_hot(v, true, dirty) : best;
}

static uint32_t choose(struct flash_volume *v, enum flash_heat heat)
{
	if (!v->dev->info.needs_erase)
		return choose_next(v);
	if (heat == FLASH_LOG)
		return choose_hot(v, true, false);
	bool dirty = scarce(v);
	return heat == FLASH_HOT ? choose_hot(v, true, dirty) : choose_cold(v, dirty);
}

/* Sequences must not repeat: they keep old bytes from being taken for new ones. */
static bool used_up(struct flash_volume *v)
{
	if (v->opened < UINT32_MAX - OPENED_SPARE)
		return false;
	if (!atomic_exchange(&v->worn, true))
		bole_log(v->platform, BOLE_LOG_ERROR,
		         "%s: the volume has used up its numbers of segments: read-only for good, "
		         "copy it to a new one",
		         v->dev->info.name);
	return v->opened >= UINT32_MAX - 1;
}

enum bole_status bole_flash_segment_take(struct flash_volume *v, enum flash_purpose purpose,
                                         enum flash_heat heat, uint32_t *out)
{
	if (v->free <= bole_flash_floor(v, purpose) || used_up(v))
		return BOLE_E_NO_SPACE;
	uint32_t at = choose(v, heat);
	BOLE_ASSERT(at != SEGMENT_NONE);
	struct flash_segment *s = &v->segment[at];
	BOLE_ASSERT(s->live == 0 && s->held == 0);
	s->state = SEGMENT_USED;
	s->published = false;
	s->open = true;
	v->free--;
	*out = at;
	return BOLE_OK;
}

enum bole_status bole_flash_segment_get(struct flash_volume *v, enum flash_purpose purpose,
                                        enum flash_heat heat, uint32_t *out, uint64_t *sequence)
{
	for (;;) {
		bole_flash_lock(v);
		enum bole_status rc = bole_flash_segment_take(v, purpose, heat, out);
		if (rc == BOLE_OK)
			*sequence = bole_flash_segment_open(v, *out);
		bole_flash_unlock(v);
		if (rc != BOLE_OK || heat == FLASH_LOG)
			return rc;
		rc = bole_flash_erase(v, *out);
		/* One that cannot be erased is bad, and there are others. */
		if (rc != BOLE_E_IO || atomic_load(&v->failed))
			return rc;
	}
}

/* -- Erasing -- */

static void segment_bad(struct flash_volume *, uint32_t segment, bool tell);

/* Erases the next block of a segment that is the caller's. */
static enum bole_status erase_block(struct flash_volume *v, uint32_t segment)
{
	struct flash_segment *s = &v->segment[segment];
	uint32_t block = v->dev->info.erase_unit;
	uint64_t at = bole_flash_position(v, segment, s->erased);
	bool bad = false;

	if (atomic_load(&v->failed))
		return BOLE_E_READ_ONLY;
	/* A mark from the factory goes with the first erase. */
	enum bole_status rc = s->erases == 0 ? bole_block_is_bad(v->dev, at, &bad) : BOLE_OK;
	if (rc == BOLE_OK)
		rc = bad ? BOLE_E_IO : bole_block_erase(v->dev, at, block);
	if (rc != BOLE_OK) {
		segment_bad(v, segment, !bad);
		bole_flash_lock(v);
		bool often = !bad && ++v->erase_failures >= ERASE_FAILURES_MAX;
		bole_flash_unlock(v);
		if (often)
			bole_flash_fail(v, "erasing, again and again,");
		return BOLE_E_IO;
	}
	atomic_fetch_add(&v->counters.erased, block);
	atomic_fetch_add(&v->counters.erases, 1);
	bole_flash_lock(v);
	v->erase_failures = 0;
	s->erased += block;
	s->erases += s->erased == v->segment_bytes;
	s->changed = true;
	bole_flash_unlock(v);
	return BOLE_OK;
}

/* Lock held. */
static void erase_end(struct flash_volume *v, uint32_t segment)
{
	v->segment[segment].erasing = false;
	v->platform->ops->cond_broadcast(v->platform, &v->cond);
}

void bole_flash_erase_wait(struct flash_volume *v, uint32_t segment)
{
	while (v->segment[segment].erasing)
		(void)v->platform->ops->cond_wait(v->platform, &v->cond, &v->lock, BOLE_NEVER);
}

enum bole_status bole_flash_erase(struct flash_volume *v, uint32_t segment)
{
	enum bole_status rc = BOLE_OK;

	if (!v->dev->info.needs_erase)
		return BOLE_OK;
	bole_flash_lock(v);
	/* The log's next may be erased ahead at this moment. */
	bole_flash_erase_wait(v, segment);
	if (v->segment[segment].state == SEGMENT_BAD)
		rc = BOLE_E_IO;
	v->segment[segment].erasing = rc == BOLE_OK;
	bole_flash_unlock(v);
	BOLE_TRY(rc);
	while (v->segment[segment].erased < v->segment_bytes && rc == BOLE_OK)
		rc = erase_block(v, segment);
	bole_flash_lock(v);
	erase_end(v, segment);
	bole_flash_unlock(v);
	return rc;
}

/* Lock held. */
static bool next_waits(const struct flash_volume *v)
{
	const struct flash_segment *s = &v->segment[v->log.next];

	return s->state == SEGMENT_RESERVED && !s->erasing && !is_ready(v, v->log.next);
}

bool bole_flash_erase_late(struct flash_volume *v)
{
	if (!v->dev->info.needs_erase || v->read_only || atomic_load(&v->failed))
		return false;
	bole_flash_lock(v);
	bool late = next_waits(v) && v->segment[v->log.segment].written > v->segment_bytes / 2;
	bole_flash_unlock(v);
	return late;
}

bool bole_flash_erase_ahead(struct flash_volume *v, uint32_t wanted)
{
	uint32_t ready = 0;
	uint32_t at = SEGMENT_NONE;

	if (!v->dev->info.needs_erase || v->read_only || atomic_load(&v->failed))
		return false;
	bole_flash_lock(v);
	bool next = next_waits(v);
	for (uint32_t i = 0; i < v->segments && !next; i++) {
		const struct flash_segment *s = &v->segment[i];
		if (s->state != SEGMENT_FREE)
			continue;
		ready += is_ready(v, i);
		/* One that is begun comes first. */
		if (s->erased != 0 && !is_ready(v, i))
			at = i;
	}
	if (next)
		at = v->log.next;
	else if (at == SEGMENT_NONE && ready < READY_SEGMENTS && ready < wanted)
		at = choose_hot(v, false, true);
	if (at != SEGMENT_NONE && !next) {
		v->segment[at].state = SEGMENT_USED;
		v->segment[at].open = true;
		v->free--;
	}
	if (at != SEGMENT_NONE)
		v->segment[at].erasing = true;
	bole_flash_unlock(v);
	if (at == SEGMENT_NONE)
		return false;
	/* One that fails is bad now: that is progress, too. */
	enum bole_status rc = erase_block(v, at);
	bole_flash_lock(v);
	if (rc == BOLE_OK && !next) {
		v->segment[at].open = false;
		v->segment[at].state = SEGMENT_FREE;
		v->free++;
	}
	erase_end(v, at);
	bole_flash_unlock(v);
	return true;
}

/* -- Segments that fail -- */

void bole_flash_check_end(struct flash_volume *v, bool refused)
{
	uint64_t live = 0;

	/* With fewer it is full, no more. */
	if ((uint64_t)v->bad * 100 < (uint64_t)v->segments * END_BAD_PERCENT)
		return;
	for (uint32_t i = 0; i < v->segments; i++)
		live += v->segment[i].live;
	uint64_t need = live / v->segment_bytes * 100 / END_LIVE_PERCENT + 1 +
	                bole_flash_floor(v, FLASH_FOR_DATA);
	if ((!refused && v->segments - v->bad > need) || atomic_exchange(&v->worn, true))
		return;
	bole_log(v->platform, BOLE_LOG_ERROR,
	         "%s: end of life: %u of %u segments are bad; the volume is read-only for good, "
	         "everything in it stays readable",
	         v->dev->info.name, v->bad, v->segments);
}

/* Nothing is ever written to it again; nothing lives in it. tell: the device does not know. */
static void segment_bad(struct flash_volume *v, uint32_t segment, bool tell)
{
	bole_flash_lock(v);
	v->segment[segment].state = SEGMENT_BAD;
	v->segment[segment].open = false;
	v->segment[segment].changed = true;
	v->segment[segment].retiring = tell;
	v->retired += tell;
	v->bad++;
	bole_flash_check_end(v, false);
	bole_flash_unlock(v);
	bole_log(v->platform, BOLE_LOG_WARN, "%s: segment %u is bad", v->dev->info.name, segment);
}

void bole_flash_mark_retired(struct flash_volume *v)
{
	for (;;) {
		uint32_t at = SEGMENT_NONE;
		bole_flash_lock(v);
		for (uint32_t i = 0; i < v->segments && v->retired != 0; i++) {
			if (v->segment[i].state != SEGMENT_BAD || !v->segment[i].retiring)
				continue;
			at = i;
			v->segment[i].retiring = false;
			v->segment[i].changed = true;
			v->retired--;
			break;
		}
		bole_flash_check_end(v, false);
		bole_flash_unlock(v);
		if (at == SEGMENT_NONE || atomic_load(&v->failed))
			return;
		/* Where the device keeps no marks, the checkpoint does. */
		enum bole_status hint = bole_block_mark_bad(v->dev, bole_flash_position(v, at, 0));
		(void)hint;
	}
}

void bole_flash_program_failed(struct flash_volume *v, uint32_t segment)
{
	bole_flash_lock(v);
	v->segment[segment].retiring = true;
	v->segment[segment].changed = true;
	/* So often in a row that it is the device, not a block. */
	bool often = ++v->failures >= FAILURES_MAX;
	bole_flash_unlock(v);
	bole_log(v->platform, BOLE_LOG_WARN, "%s: writing to segment %u failed: it is given up",
	         v->dev->info.name, segment);
	if (often)
		bole_flash_fail(v, "writing, again and again,");
}
