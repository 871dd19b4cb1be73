/* SPDX-License-Identifier: ISC */
/* Background work: checkpoints, cleaning, erasing ahead, levelling, moving what decays, sealing an
 * idle volume. Somebody calls maintain, step after step; where nobody does, commits do after their
 * answer what cannot wait, in proportion to what they wrote. */
#include "base/check.h"
#include "flash/index/levels.h"
#include "flash/log/batch.h"
#include "flash/space/clean.h"
#include "flash/space/decay.h"
#include "flash/space/mark.h"

enum {
	LATE_SEGMENTS = 32,  /* of log since a checkpoint: commits do not wait for maintain */
	AMPLE_SEGMENTS = 4,  /* above the floor: nothing is urgent */
	AMPLE_SHARE = 24,    /* or this part of the volume */
	LOOK_SEGMENTS = 512, /* are counted in no time: that share of commits counts */
	GARBAGE_MIN = 9,     /* percent of a segment, at the floor */
	GARBAGE_LEAST = 4,
	DELETED_PERCENT = 92,  /* of what is promised lives, at most, when much was deleted */
	FOREVER_PERCENT = 97,  /* of what is promised can be full of what is updated */
	GARBAGE_SURE = 75,     /* whatever the moves cost, there is a gain */
	GARBAGE_EASY = 50,     /* where nothing is urgent */
	GARBAGE_EAGER = 10,    /* level 2 cleans whatever has so much */
	STEP_BYTES = 64 << 10, /* programmed by a step, about */
	STEP_BYTES_RAW = 8 << 10,
	STEP_UNITS = 16,       /* so many at least */
	STEP_UNITS_COMMIT = 8, /* after a commit: less is put together */
	DEBT_TIMES = 4,        /* bytes cleaned for each byte written, when space is short */
	DEBT_TIMES_MAX = 16,
	READY_IN_COMMITS = 2, /* segments erased ahead where commits do it */
	COMMITS_AT_FIRST = 16,
	MERGE_ROWS = 512,     /* of a merge, after one commit */
	MERGE_ROW_BYTES = 32, /* and one for so many bytes of it: merges keep up with long ones */
	MERGE_ROWS_MAX = 16384,
	HELPERS_MIN = 4, /* segments that a checkpoint made for space should free */
	SPACE_ROUNDS = 4096,
	IDLE_CHECKPOINTS = 3, /* in a row: there is nothing to gain any more */
	MERGE_PERCENT = 33,   /* of what it leaves, that a merge should gain to come before moves */
	MERGE_PERCENT_LAST = 5,
	SPARE_SEGMENTS = 4, /* above the floor of references, which cleaning for data leaves */
};
#define IDLE_NS     UINT64_C(1000000000)
#define ATTENDED_NS UINT64_C(2000000000) /* maintain was called so recently: somebody does */

/* -- How much space there is -- */

struct room {
	uint32_t free;  /* and what the next checkpoint frees */
	uint32_t helps; /* that it frees */
	uint32_t held;  /* dead, but pinned */
	uint32_t floor; /* of data */
	uint32_t ample;
};

/* Counts what is dead. Lock held. */
static void count_dead(struct flash_volume *v)
{
	v->looked.freed = v->freed;
	v->looked.pinned = v->pinned;
	v->looked.helps = 0;
	v->looked.held = 0;
	v->looked.uses = 0;
	for (uint32_t i = 0; i < v->segments; i++) {
		bool dead = bole_flash_segment_dead(v, i);
		bool pinned =
		        v->segment[i].state == SEGMENT_PINNED || (dead && bole_flash_pinned(v, i));
		v->looked.held += pinned;
		v->looked.helps += dead && !pinned;
	}
}

/* roughly: for what is done a little earlier or later, after each commit: where there are many
 * segments, what was counted lately will do. Lock held. */
static struct room look(struct flash_volume *v, bool roughly)
{
	struct room room = {.floor = bole_flash_floor(v, FLASH_FOR_DATA)};
	uint32_t share = v->segments / AMPLE_SHARE;
	bool known = v->looked.freed == v->freed && v->looked.pinned == v->pinned &&
	             ++v->looked.uses <= v->segments / LOOK_SEGMENTS;

	if (!roughly || !known)
		count_dead(v);
	room.helps = v->looked.helps;
	room.held = v->looked.held;
	room.free = v->free + room.helps;
	/* What is held back for merges is of this, too. */
	uint32_t held =
	        bole_flash_floor(v, FLASH_FOR_CLEANING) - bole_flash_floor(v, FLASH_FOR_MERGING);
	share = share > held ? share - held : 0;
	room.ample = room.floor + (share > AMPLE_SEGMENTS ? share : AMPLE_SEGMENTS);
	return room;
}

/* Percent of garbage that makes a victim worth it: less, the less space is left. */
static uint32_t worth(const struct room *room)
{
	if (room->free <= room->floor)
		return GARBAGE_MIN;
	if (room->free >= room->ample)
		return GARBAGE_EASY;
	return GARBAGE_MIN + (GARBAGE_EASY - GARBAGE_MIN) * (room->free - room->floor) /
	                             (room->ample - room->floor);
}

/* A checkpoint is worth it for what it frees: some segments, or any when there are few. Lock held.
 */
static bool frees(const struct flash_volume *v, const struct room *room)
{
	if (v->checkpointing || room->helps == 0)
		return false;
	return v->free <= room->floor + 1 ||
	       (v->free < room->floor + (room->ample - room->floor) / 3 &&
	        room->helps >= HELPERS_MIN);
}

/* What a step moves is padded to a unit: that must be a small part of it. */
static uint32_t step_bytes(const struct flash_volume *v)
{
	uint32_t least =
	        v->unit * STEP_UNITS < v->segment_bytes ? v->unit * STEP_UNITS : v->segment_bytes;
	uint32_t bytes = v->dev->info.needs_erase ? STEP_BYTES_RAW : STEP_BYTES;

	return bytes > least ? bytes : least;
}

/* -- For want of space -- */

/* Cleans until a checkpoint would free some segments. Lock held, given up meanwhile. */
static enum bole_status clean_now(struct flash_volume *v, bool leading, uint32_t garbage)
{
	struct flash_clean_step step = {
	        .leading = leading, .hurry = true, .budget = v->segment_bytes, .garbage = garbage};

	bole_flash_unlock(v);
	enum bole_status rc = bole_flash_clean(v, &step);
	bole_flash_lock(v);
	if (rc != BOLE_AGAIN)
		return rc;
	if (v->clean != NULL && v->clean->busy)
		(void)v->platform->ops->cond_wait(v->platform, &v->cond, &v->lock, BOLE_NEVER);
	return BOLE_OK;
}

static enum bole_status checkpoint_now(struct flash_volume *v, bool leading)
{
	bole_flash_unlock(v);
	enum bole_status rc = leading ? bole_flash_checkpoint_leading(v) : bole_flash_checkpoint(v);
	bole_flash_lock(v);
	/* Somebody else's came first. */
	return rc != BOLE_OK && v->checkpointing ? BOLE_OK : rc;
}

/* Percent of garbage that a victim must have. The cleaner takes segments before it gives them back,
 * and near the end what it gains may be less than what the index of the moves costs. For data it
 * begins no victim of doubtful gain that could cost references and deletes their room; but as long
 * as no more lives than what is to work for ever, it goes to any length. Lock held.
 */
static uint32_t garbage_for(const struct flash_volume *v, enum flash_purpose purpose,
                            const struct room *room)
{
	if (purpose != FLASH_FOR_DATA)
		return GARBAGE_MIN;
	/* Much was deleted: that is not doubtful, though it cost what there was. */
	if (room->free <= bole_flash_floor(v, FLASH_FOR_REFS) + SPARE_SEGMENTS)
		return bole_flash_lives(v, DELETED_PERCENT) ? GARBAGE_SURE : GARBAGE_MIN;
	return bole_flash_lives(v, FOREVER_PERCENT) ? GARBAGE_MIN : GARBAGE_LEAST;
}

/* What has been tried since the last checkpoint. */
struct tried {
	bool merged;   /* where much is gained */
	bool cleaned;  /* the cleaner ends for want of victims, or of space for them */
	bool all;      /* merges of any gain */
	uint32_t most; /* free after a checkpoint, so far */
	uint32_t idle; /* checkpoints that did not free more than that */
};

/* Moves that come to nothing end; a merge always gains what it says. */
static void try_again(struct tried *t)
{
	t->merged = t->all = false;
	t->cleaned = t->idle >= IDLE_CHECKPOINTS;
}

/* After a checkpoint that came to something everything is tried again. Lock held. */
static enum bole_status checkpoint_for_space(struct flash_volume *v, bool leading, struct tried *t)
{
	enum bole_status rc = checkpoint_now(v, leading);

	t->idle = v->free > t->most ? 0 : t->idle + 1;
	t->most = v->free > t->most ? v->free : t->most;
	try_again(t);
	return rc;
}

/* Lock held, given up meanwhile. */
static bool merge_for_space(struct flash_volume *v, uint32_t percent, bool leading)
{
	bole_flash_unlock(v);
	enum bole_status rc = bole_flash_merge_now(v, percent, leading);
	bole_flash_lock(v);
	return rc == BOLE_OK;
}

/* The next thing to try. Lock held, given up meanwhile. */
static enum bole_status try_next(struct flash_volume *v, enum flash_purpose purpose,
                                 uint32_t wanted, bool leading, struct tried *t)
{
	struct room room = look(v, false);

	if (room.free >= wanted + HELPERS_MIN || (room.helps != 0 && t->all))
		return checkpoint_for_space(v, leading, t);
	if (room.held != 0 && bole_flash_pin_revoke(v)) {
		t->merged = t->cleaned = t->all = false;
	} else if (!t->merged) {
		t->merged = !merge_for_space(v, MERGE_PERCENT, leading);
	} else if (!t->cleaned) {
		t->cleaned = clean_now(v, leading, garbage_for(v, purpose, &room)) != BOLE_OK;
	} else if (!t->all) {
		t->all = !merge_for_space(v, MERGE_PERCENT_LAST, leading);
	} else if (v->elements > 1) {
		v->base_wanted = true;
		return checkpoint_now(v, leading);
	} else if (room.held != 0 && v->clean != NULL && v->clean->busy) {
		/* Its pin goes with it. */
		(void)v->platform->ops->cond_wait(v->platform, &v->cond, &v->lock, BOLE_NEVER);
		try_again(t);
	} else if (purpose == FLASH_FOR_REFS && bole_flash_mark_give_up(v)) {
		try_again(t);
	} else {
		return BOLE_E_NO_SPACE;
	}
	return BOLE_OK;
}

enum bole_status bole_flash_make_space(struct flash_volume *v, enum flash_purpose purpose,
                                       uint32_t wanted, bool leading)
{
	enum bole_status rc = BOLE_OK;
	struct tried tried = {.most = v->free};

	for (int round = 0; round < SPACE_ROUNDS && rc == BOLE_OK && v->free < wanted; round++) {
		if (v->checkpointing) /* It may be what is missing. */
			(void)v->platform->ops->cond_wait(v->platform, &v->cond, &v->lock,
			                                  BOLE_NEVER);
		else
			rc = try_next(v, purpose, wanted, leading, &tried);
	}
	if (v->free >= wanted)
		return BOLE_OK;
	bole_flash_check_end(v, true);
	return BOLE_E_NO_SPACE;
}

/* -- Commits -- */

/* What a commit did not leave for later: one kind of work, the most urgent. */
enum chore { CHORE_NONE, CHORE_CHECKPOINT, CHORE_CLEAN, CHORE_MERGE, CHORE_LEVEL };

/* Levelling is thought of once for each segment that was opened, and gone on with. Lock held. */
static bool level_due(struct flash_volume *v)
{
	if (v->uneven)
		v->uneven = bole_flash_wear_apart(v);
	if (v->uneven || (v->clean != NULL && v->clean->walking))
		return true;
	if (!v->dev->info.needs_erase || v->opened == v->levelled)
		return false;
	v->levelled = v->opened;
	v->uneven = bole_flash_wear_apart(v);
	return v->uneven;
}

/* Lock held. */
static enum chore choose_chore(struct flash_volume *v, const struct room *room, bool attended)
{
	bool short_of = room->free < room->ample;
	/* Who maintains makes it in time, as a rule. */
	bool urgent = !attended || v->free <= bole_flash_floor(v, FLASH_FOR_REFS) + SPARE_SEGMENTS;

	if (urgent && frees(v, room))
		return CHORE_CHECKPOINT;
	/* Whoever maintains does not keep up, and rows in memory and the log's tail are bounded. */
	bool late = bole_flash_checkpoint_due(v) &&
	            (v->mem_rows > v->mem_rows_max + v->mem_rows_max / 2 ||
	             v->tail_bytes > (uint64_t)v->segment_bytes * LATE_SEGMENTS);
	if (late)
		return CHORE_CHECKPOINT;
	if (attended)
		return room->free <= room->floor + 1 ? CHORE_CLEAN : CHORE_NONE;
	if (bole_flash_checkpoint_due(v))
		return CHORE_CHECKPOINT;
	bool due[] = {short_of, bole_flash_merge_due(v), level_due(v)};
	static const enum chore chore[] = {CHORE_CLEAN, CHORE_MERGE, CHORE_LEVEL};
	/* By turns. */
	for (uint32_t i = 0; i < 3; i++) {
		uint32_t at = v->turn++ % 3;
		if (due[at])
			return chore[at];
	}
	return CHORE_NONE;
}

/* What fails for want of memory or space is tried again after the next commit. */
static void clean_for_commit(struct flash_volume *v, const struct room *room, uint64_t bytes,
                             bool level)
{
	uint64_t budget = bytes * DEBT_TIMES;
	struct flash_clean_step step = {
	        .worst = level ? FLASH_CLEAN_LEVEL : FLASH_CLEAN_RETIRE,
	        .garbage = level ? 101 : worth(room),
	};

	if (!level && room->free < room->ample)
		budget += bytes * (DEBT_TIMES_MAX - DEBT_TIMES) * (room->ample - room->free) /
		          (room->ample - room->floor + 1);
	bole_flash_lock(v);
	v->debt += budget;
	bool enough = v->debt >= (uint64_t)v->unit * STEP_UNITS_COMMIT;
	step.budget = v->debt < step_bytes(v) ? (uint32_t)v->debt : step_bytes(v);
	if (enough)
		v->debt = 0;
	bole_flash_unlock(v);
	if (!enough)
		return;
	enum bole_status rc = bole_flash_clean(v, &step);
	(void)rc;
}

static uint32_t merge_rows(uint64_t bytes)
{
	uint64_t more = bytes / MERGE_ROW_BYTES;

	return more < MERGE_ROWS_MAX - MERGE_ROWS ? MERGE_ROWS + (uint32_t)more : MERGE_ROWS_MAX;
}

void bole_flash_after(struct flash_volume *v, uint64_t bytes)
{
	uint64_t now = v->platform->ops->now_ns(v->platform);
	/* Whoever says that he will maintain may need a moment to begin. */
	bool attended = !v->no_background && (now - atomic_load(&v->attended_ns) < ATTENDED_NS ||
	                                      atomic_load(&v->counters.commits) < COMMITS_AT_FIRST);
	bool did = true;

	atomic_store(&v->active_ns, now);
	if (!bole_flash_writable(v))
		return;
	bole_flash_lock(v);
	struct room room = look(v, true);
	enum chore chore = choose_chore(v, &room, attended);
	bole_flash_unlock(v);
	enum bole_status rc = BOLE_OK;
	switch (chore) {
	case CHORE_CHECKPOINT: rc = bole_flash_checkpoint(v); break;
	case CHORE_MERGE: rc = bole_flash_merge_step(v, merge_rows(bytes), &did); break;
	case CHORE_CLEAN: clean_for_commit(v, &room, bytes, false); break;
	case CHORE_LEVEL: clean_for_commit(v, &room, bytes, true); break;
	case CHORE_NONE: break;
	}
	/* Where space is short every commit ends with a checkpoint, and so with one more run. */
	bole_flash_lock(v);
	bool many = chore == CHORE_CHECKPOINT && !attended && bole_flash_merge_due(v);
	bole_flash_unlock(v);
	if (rc == BOLE_OK && many)
		rc = bole_flash_merge_step(v, MERGE_ROWS_MAX, &did);
	if (rc != BOLE_OK)
		bole_log(v->platform, BOLE_LOG_DEBUG, "%s: work put off: %s", v->dev->info.name,
		         bole_status_text(rc));
	/* Blocks are used up as bytes are written. */
	if (attended && bole_flash_erase_late(v))
		(void)bole_flash_erase_ahead(v, 0);
	if (attended || !v->dev->info.needs_erase)
		return;
	/* The first ones after a mount find one that is blank. */
	uint32_t wanted =
	        atomic_load(&v->counters.commits) < COMMITS_AT_FIRST ? 1 : READY_IN_COMMITS;
	for (uint64_t n = 0; n <= bytes; n += v->dev->info.erase_unit)
		if (!bole_flash_erase_ahead(v, wanted))
			break;
}

/* -- Idle -- */

/* A batch that says that all before it is durable, and that nothing was going on. */
static enum bole_status seal(struct flash_volume *v)
{
	bole_flash_lead_begin(v);
	enum bole_status rc = BOLE_END;
	if (v->dirty && !atomic_load(&v->failed)) {
		rc = bole_flash_log_mend(v);
		if (rc == BOLE_OK)
			rc = bole_flash_batch_reserve(v, 0, 0, FLASH_FOR_CHECKPOINT);
		if (rc == BOLE_OK)
			rc = bole_flash_batch_end(v, FLASH_BATCH_SEAL);
		if (rc == BOLE_OK)
			rc = bole_flash_flush(v);
		if (rc == BOLE_OK)
			v->log.durable = v->log.batch - 1;
	}
	bole_flash_lead_end(v);
	return rc;
}

/* -- Maintenance -- */

static enum bole_maintenance did_clean(enum flash_clean_why why)
{
	return why == FLASH_CLEAN_LEVEL   ? BOLE_MAINTAIN_LEVEL
	       : why == FLASH_CLEAN_DECAY ? BOLE_MAINTAIN_SCRUB
	                                  : BOLE_MAINTAIN_CLEAN;
}

static enum bole_status clean_step(struct flash_volume *v, unsigned eagerness,
                                   const struct room *room, struct bole_maintain_report *report)
{
	struct flash_clean_step step = {
	        .budget = step_bytes(v),
	        .worst = eagerness == 0 ? FLASH_CLEAN_DECAY : FLASH_CLEAN_LEVEL,
	        .garbage = eagerness >= 2 ? GARBAGE_EAGER : worth(room),
	};

	if (eagerness < 2 && room->free >= room->ample)
		step.garbage = 101; /* space is no reason */
	enum bole_status rc = bole_flash_clean(v, &step);
	if (rc != BOLE_OK)
		return rc == BOLE_AGAIN ? BOLE_OK : BOLE_END;
	report->did = did_clean(step.why);
	report->bytes = step.programmed;
	return BOLE_OK;
}

static enum bole_status step(struct flash_volume *v, unsigned eagerness,
                             struct bole_maintain_report *report)
{
	uint64_t now = v->platform->ops->now_ns(v->platform);

	atomic_store(&v->attended_ns, now);
	bole_flash_mark_retired(v);
	bole_flash_decay_note(v);
	bole_flash_lock(v);
	struct room room = look(v, true);
	bool due = bole_flash_checkpoint_due(v) || frees(v, &room);
	bole_flash_unlock(v);
	/* First of all: a commit that finds nothing blank erases a whole segment. */
	report->did = BOLE_MAINTAIN_CLEAN;
	if (bole_flash_erase_ahead(v, UINT32_MAX)) {
		report->bytes = v->dev->info.erase_unit;
		return BOLE_OK;
	}
	report->did = BOLE_MAINTAIN_CHECKPOINT;
	if (due && bole_flash_checkpoint(v) == BOLE_OK)
		return BOLE_OK;
	uint64_t written = atomic_load(&v->counters.index);
	bool did;
	report->did = BOLE_MAINTAIN_MERGE;
	if (bole_flash_merge_step(v, 0, &did) == BOLE_OK && did) {
		report->bytes = atomic_load(&v->counters.index) - written;
		return BOLE_OK;
	}
	report->did = BOLE_MAINTAIN_SCRUB;
	if (bole_flash_decay_step(v))
		return BOLE_OK;
	report->did = BOLE_MAINTAIN_CLEAN;
	enum bole_status rc = clean_step(v, eagerness, &room, report);
	if (rc != BOLE_END)
		return rc;
	report->did = BOLE_MAINTAIN_NOTHING;
	uint64_t active = atomic_load(&v->active_ns);
	if (active == 0 || now < active || now - active < IDLE_NS)
		return BOLE_END;
	rc = seal(v);
	report->did = rc == BOLE_OK ? BOLE_MAINTAIN_CHECKPOINT : BOLE_MAINTAIN_NOTHING;
	report->bytes = rc == BOLE_OK ? v->unit : 0;
	return rc == BOLE_OK ? BOLE_OK : BOLE_END;
}

enum bole_status bole_flash_maintain(struct flash_volume *v,
                                     const struct bole_maintain_options *options,
                                     struct bole_maintain_report *report)
{
	struct bole_maintain_report unread = {.bytes = 0};
	uint64_t since = v->platform->ops->now_ns(v->platform);

	if (report == NULL)
		report = &unread;
	*report = (struct bole_maintain_report){.bytes = 0};
	if (!bole_flash_writable(v))
		return BOLE_END;
	enum bole_status rc = step(v, options == NULL ? 1 : options->eagerness, report);
	uint64_t ns = v->platform->ops->now_ns(v->platform) - since;
	uint64_t worst = atomic_load(&v->counters.operation_ns_max);
	while (ns > worst &&
	       !atomic_compare_exchange_weak(&v->counters.operation_ns_max, &worst, ns))
		;
	return rc;
}
