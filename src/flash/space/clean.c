/* SPDX-License-Identifier: ISC */
/* Which segment is cleaned, and the steps of doing it. */
#include "flash/space/clean.h"

#include "base/check.h"
#include "base/memory.h"
#include "flash/index/extent.h"
#include "flash/index/levels.h"
#include "flash/volume/open.h"

enum {
	READ_TIMES = 8,      /* bytes read in a step for each that may be programmed */
	AGE_MAX = 1 << 20,   /* openings since a segment was written, that count */
	SCORE_ONE = 1 << 10, /* fixed point */
	FRAGMENT_SHARE = 32, /* of a segment of records are heads and padding, about */
};

/* -- The victim -- */

/* Lock held. */
static bool candidate(const struct flash_volume *v, uint32_t segment)
{
	const struct flash_segment *s = &v->segment[segment];

	return s->state == SEGMENT_USED && !s->open && s->held == 0 && s->live != 0 && !s->stuck &&
	       s->kind != FLASH_SEGMENT_CHECKPOINT && s->moved <= v->anchor.checkpoint;
}

/* What moving would give. Heads and padding of fragments and pages come with them wherever they go;
 * records of the log, which had a unit each, are packed. */
static uint64_t gain(const struct flash_volume *v, uint32_t segment)
{
	const struct flash_segment *s = &v->segment[segment];
	uint64_t room = v->segment_bytes;

	if (s->kind == FLASH_SEGMENT_DATA && s->parts)
		room = s->lived + (uint64_t)v->segment_bytes - s->written;
	/* Records that were moved in short fragments come into longer ones. */
	if (s->kind == FLASH_SEGMENT_DATA && !s->parts)
		room = v->segment_bytes - v->segment_bytes / FRAGMENT_SHARE;
	if (s->kind == FLASH_SEGMENT_INDEX)
		room = s->lived < v->segment_bytes - v->page_bytes
		               ? s->lived
		               : v->segment_bytes - v->page_bytes;
	uint64_t bytes = room > s->live ? room - s->live : 0;
	/* To move a fragment, or a page of an extent, rewrites a map, which is garbage next: it
	 * must be worth it. Merges free pages by themselves. */
	bool parts = s->kind == FLASH_SEGMENT_INDEX || s->parts;
	return parts && bytes < v->segment_bytes / 2 ? 0 : bytes;
}

/* The same when space is wanted now: pages of runs are moved for any of them. Lock held. */
static uint64_t gain_now(const struct flash_volume *v, uint32_t segment, bool extents)
{
	const struct flash_segment *s = &v->segment[segment];

	if (s->kind != FLASH_SEGMENT_INDEX || extents)
		return gain(v, segment);
	uint32_t room = v->segment_bytes - v->page_bytes;
	return room > s->live ? room - s->live : 0;
}

static bool any_extents(const struct flash_volume *v)
{
	for (uint32_t i = 0; i < v->repos; i++)
		if (v->repo[i]->domain->index != NULL &&
		    bole_flash_index_extents(v->repo[i]->domain->index) != 0)
			return true;
	return false;
}

/* Age x (1 - u) / (1 + u): what died long ago and will not go on dying is worth more. */
static uint64_t score(const struct flash_volume *v, uint32_t segment)
{
	uint64_t age = v->opened - (v->segment[segment].sequence >> 32);
	uint64_t u = (uint64_t)v->segment[segment].live * SCORE_ONE / v->segment_bytes;

	if (age > AGE_MAX)
		age = AGE_MAX;
	return (age + 1) * (SCORE_ONE - (u < SCORE_ONE ? u : SCORE_ONE)) * SCORE_ONE /
	       (SCORE_ONE + u);
}

/* The best one that has at least half of the most that can be gained; in a hurry, the most. */
static uint32_t choose_for_space(const struct flash_volume *v, const struct flash_clean_step *step)
{
	uint64_t least = (uint64_t)v->segment_bytes * step->garbage / 100;
	uint64_t most = 0;
	uint64_t best_score = 0;
	uint32_t best = SEGMENT_NONE;
	bool parts = !step->hurry || any_extents(v);

	for (uint32_t i = 0; i < v->segments; i++) {
		if (!candidate(v, i) || gain_now(v, i, parts) <= most)
			continue;
		most = gain_now(v, i, parts);
		best = i;
	}
	if (best == SEGMENT_NONE || most < least || most <= v->unit)
		return SEGMENT_NONE;
	if (step->hurry)
		return best;
	for (uint32_t i = 0; i < v->segments; i++) {
		if (!candidate(v, i) || gain(v, i) < most / 2 || gain(v, i) < least ||
		    score(v, i) <= best_score)
			continue;
		best_score = score(v, i);
		best = i;
	}
	return best;
}

/* What is on the least worn segment stays there: let it go where wear is. */
static uint32_t choose_to_level(const struct flash_volume *v)
{
	uint32_t best = SEGMENT_NONE;

	if (!v->dev->info.needs_erase || !bole_flash_wear_apart(v))
		return SEGMENT_NONE;
	for (uint32_t i = 0; i < v->segments; i++)
		if (candidate(v, i) &&
		    (best == SEGMENT_NONE || v->segment[i].erases < v->segment[best].erases))
			best = i;
	return best;
}

static uint32_t choose_flagged(const struct flash_volume *v, enum flash_clean_why why)
{
	for (uint32_t i = 0; i < v->segments; i++) {
		const struct flash_segment *s = &v->segment[i];
		if ((why == FLASH_CLEAN_RETIRE ? s->retiring : s->decaying) && candidate(v, i))
			return i;
	}
	return SEGMENT_NONE;
}

/* Lock held. */
static uint32_t choose(struct flash_volume *v, struct flash_clean_step *step)
{
	uint32_t best = SEGMENT_NONE;

	if (step->hurry) {
		step->why = FLASH_CLEAN_SPACE;
		return choose_for_space(v, step);
	}
	for (step->why = FLASH_CLEAN_RETIRE; step->why <= FLASH_CLEAN_LEVEL && best == SEGMENT_NONE;
	     step->why++) {
		if (step->why > step->worst)
			break;
		best = step->why == FLASH_CLEAN_LEVEL ? choose_to_level(v)
		                                      : choose_flagged(v, step->why);
		if (best != SEGMENT_NONE)
			return best;
	}
	step->why = FLASH_CLEAN_SPACE;
	return step->garbage > 100 ? SEGMENT_NONE : choose_for_space(v, step);
}

/* -- Leading without a request -- */

/* Lock held. */
static void lead(struct flash_volume *v)
{
	v->leading = true;
	v->stamp = v->epoch + 1;
}

void bole_flash_lead_begin(struct flash_volume *v)
{
	bole_flash_lock(v);
	while (v->leading)
		(void)v->platform->ops->cond_wait(v->platform, &v->cond, &v->lock, BOLE_NEVER);
	lead(v);
	bole_flash_unlock(v);
}

void bole_flash_lead_end(struct flash_volume *v)
{
	bole_flash_lock(v);
	if (!v->checkpointing)
		bole_flash_levels_settle(v);
	v->leading = false;
	v->stamp = v->epoch;
	v->platform->ops->cond_broadcast(v->platform, &v->cond);
	bole_flash_unlock(v);
}

/* -- Steps -- */

/* The leader may wait for us, so we do not wait for it while we are busy; nor does our pin keep
 * what it may want to use: what is read behind this is of a state that is published then. False:
 * somebody else went on meanwhile. Lock held, given up meanwhile. */
static bool wait_for_lead(struct flash_volume *v, struct flash_clean *c)
{
	struct flash_pin *pin = c->pin;

	c->busy = false;
	bole_flash_pin_rest(v, pin);
	v->platform->ops->cond_broadcast(v->platform, &v->cond);
	while (v->leading)
		(void)v->platform->ops->cond_wait(v->platform, &v->cond, &v->lock, BOLE_NEVER);
	if (c->busy)
		return false;
	c->pin = pin;
	bole_flash_pin_set(v, pin);
	return true;
}

static bool lead_for_install(struct flash_volume *v, struct flash_clean *c)
{
	bool ours = true;

	bole_flash_lock(v);
	if (v->leading)
		ours = wait_for_lead(v, c) && c->written != 0;
	if (ours)
		c->busy = true;
	if (ours)
		lead(v);
	bole_flash_unlock(v);
	return ours;
}

/* *lost: busy is somebody else's now, or nobody's. */
static enum bole_status install(struct flash_volume *v, struct flash_clean *c, bool leading,
                                bool *lost)
{
	if (leading) {
		/* Beside the commits that come before and after in this turn. */
		bole_flash_lock(v);
		v->stamp = v->epoch + 1;
		bole_flash_unlock(v);
	} else if (!lead_for_install(v, c)) {
		*lost = true;
		return BOLE_OK;
	}
	bole_flash_lock(v);
	v->segment[c->target].moved = v->generation + 1;
	bole_flash_unlock(v);
	enum bole_status rc = bole_flash_move_install(v, c);
	if (leading) {
		bole_flash_lock(v);
		v->stamp = v->epoch + 1;
		bole_flash_unlock(v);
	} else {
		bole_flash_lead_end(v);
	}
	return rc;
}

bool bole_flash_clean_lead(struct flash_volume *v, struct flash_clean *c, bool leading)
{
	bool ours = true;

	bole_flash_lock(v);
	if (!leading && v->leading)
		ours = wait_for_lead(v, c);
	if (ours)
		c->busy = true;
	if (ours && !leading)
		lead(v);
	if (ours)
		v->stamp = v->epoch + 1;
	bole_flash_unlock(v);
	return ours;
}

void bole_flash_clean_follow(struct flash_volume *v, bool leading)
{
	if (!leading) {
		bole_flash_lead_end(v);
		return;
	}
	/* Beside the commits that come after in this turn. */
	bole_flash_lock(v);
	v->stamp = v->epoch + 1;
	bole_flash_unlock(v);
}

static void end_victim(struct flash_volume *v, struct flash_clean *c, bool over)
{
	struct flash_segment *s = &v->segment[c->walk.segment];

	bole_flash_lock(v);
	/* What is left cannot be moved: not now, or not read. */
	if (over) {
		s->stuck = s->live != 0;
		s->decaying = false;
	}
	bole_flash_unlock(v);
	bole_flash_walk_rest(&c->walk);
	c->walking = false;
	c->moves = 0;
	c->len = 0;
}

static enum bole_status write_and_install(struct flash_volume *v, struct flash_clean *c,
                                          bool leading, bool *lost)
{
	while (!*lost && (c->moves != 0 || c->written != 0)) {
		if (c->written == 0)
			BOLE_TRY(bole_flash_move_write(v, c));
		BOLE_TRY(install(v, c, leading, lost));
	}
	return BOLE_OK;
}

/* There are parts of extents in the victim: is it one still? */
static bool worth_it(struct flash_volume *v, uint32_t segment)
{
	bole_flash_lock(v);
	bool known = v->segment[segment].parts;
	v->segment[segment].parts = true;
	bool worth = known || gain(v, segment) != 0;
	bole_flash_unlock(v);
	return worth;
}

/* Goes on with the victim until the budget is used or it ends. */
static enum bole_status go_on(struct flash_volume *v, struct flash_clean *c,
                              const struct flash_clean_step *step, bool *lost)
{
	uint64_t read = c->walk.read + (uint64_t)step->budget * READ_TIMES;
	struct flash_record r;
	const uint8_t *bytes;
	uint32_t offset;
	enum bole_status rc = write_and_install(v, c, step->leading, lost);

	if (rc == BOLE_OK && !*lost && c->walk.kind == FLASH_SEGMENT_INDEX) {
		bool moved;
		rc = bole_flash_clean_pages(v, c, step->leading, &moved, lost);
		return rc == BOLE_OK && !moved ? BOLE_END : rc;
	}
	while (rc == BOLE_OK && !*lost && c->len < step->budget && c->walk.read < read) {
		rc = bole_flash_walk_next(&c->walk, &r, &bytes, &offset);
		if (rc != BOLE_OK)
			break;
		bool moved;
		if (r.kind >= FLASH_FRAGMENT_DATA && !worth_it(v, c->walk.segment))
			return BOLE_AGAIN;
		rc = bole_flash_clean_fragment(v, c, &r, offset, step->leading, &moved, lost);
		if (rc != BOLE_OK || moved || *lost)
			break;
		if (!bole_flash_move_current(v, c, &r, c->walk.segment, offset, &rc))
			continue;
		rc = bole_flash_move_add(v, c, &r, bytes, offset);
		if (rc == BOLE_END)
			rc = write_and_install(v, c, step->leading, lost);
	}
	if ((rc == BOLE_OK || rc == BOLE_END) && !*lost) {
		enum bole_status end = write_and_install(v, c, step->leading, lost);
		rc = end == BOLE_OK ? rc : end;
	}
	return rc;
}

static void choose_head(struct flash_clean *c)
{
	bool cold = c->why != FLASH_CLEAN_SPACE || c->walk.kind == FLASH_SEGMENT_DATA;

	if (cold == c->cold)
		return;
	struct flash_open other = c->parked;
	c->parked = c->open;
	c->open = other;
	c->cold = cold;
}

static enum bole_status begin(struct flash_volume *v, struct flash_clean *c,
                              struct flash_clean_step *step)
{
	bole_flash_lock(v);
	uint32_t victim = choose(v, step);
	bole_flash_unlock(v);
	if (victim == SEGMENT_NONE)
		return BOLE_END;
	c->why = step->why;
	c->walking = true;
	enum bole_status rc = bole_flash_walk_begin(&c->walk, v, victim);
	if (rc == BOLE_OK || (rc == BOLE_E_NOT_FOUND && c->walk.kind == FLASH_SEGMENT_INDEX)) {
		bole_flash_lock(v);
		bool known = v->segment[victim].kind == c->walk.kind;
		v->segment[victim].kind = (uint8_t)c->walk.kind;
		bole_flash_unlock(v);
		choose_head(c);
		/* What would be gained is known better now: choose again. */
		if (!known)
			end_victim(v, c, false);
		return BOLE_OK;
	}
	bole_flash_lock(v);
	/* Another kind: it is not asked again. */
	if (rc == BOLE_E_NOT_FOUND)
		v->segment[victim].kind = (uint8_t)c->walk.kind;
	bole_flash_unlock(v);
	end_victim(v, c, rc != BOLE_E_NO_MEMORY);
	return rc == BOLE_E_NO_MEMORY ? rc : BOLE_OK;
}

static enum bole_status one_step(struct flash_volume *v, struct flash_clean *c,
                                 struct flash_clean_step *step, bool *lost)
{
	struct flash_pin pin = {.firm = true};

	bole_flash_reader_reset(&c->reader);
	c->programmed = 0;
	if (c->open.segment != SEGMENT_NONE && c->written == 0 &&
	    v->segment[c->open.segment].decaying)
		bole_flash_open_close(v, &c->open);
	if (!c->walking)
		BOLE_TRY(begin(v, c, step));
	if (!c->walking)
		return BOLE_OK;
	step->why = c->why;
	bole_flash_lock(v);
	c->pin = &pin;
	bole_flash_pin_set(v, &pin);
	bole_flash_unlock(v);
	enum bole_status rc = go_on(v, c, step, lost);
	bole_flash_pin_end(v, &pin);
	if (*lost)
		return BOLE_OK;
	step->programmed = c->programmed;
	if (rc == BOLE_OK)
		return BOLE_OK;
	if (rc == BOLE_AGAIN) {
		end_victim(v, c, false);
		return BOLE_OK;
	}
	bool transient = rc == BOLE_E_NO_MEMORY || rc == BOLE_E_NO_SPACE;
	end_victim(v, c, !transient);
	return transient ? rc : BOLE_OK;
}

enum bole_status bole_flash_clean(struct flash_volume *v, struct flash_clean_step *step)
{
	bool lost = false;

	if (v->read_only || atomic_load(&v->failed))
		return BOLE_E_READ_ONLY;
	bole_flash_lock(v);
	if (v->clean == NULL) {
		v->clean = bole_alloc_zeroed(v->alloc, 1, sizeof *v->clean);
		if (v->clean != NULL)
			v->clean->open.segment = v->clean->parked.segment = SEGMENT_NONE;
	}
	struct flash_clean *c = v->clean;
	bool busy = c != NULL && c->busy;
	if (c != NULL)
		c->busy = true;
	bole_flash_unlock(v);
	if (c == NULL || busy)
		return c == NULL ? BOLE_E_NO_MEMORY : BOLE_AGAIN;
	enum bole_status rc = one_step(v, c, step, &lost);
	bole_flash_lock(v);
	if (!lost)
		c->busy = false;
	v->platform->ops->cond_broadcast(v->platform, &v->cond);
	bole_flash_unlock(v);
	return rc;
}

void bole_flash_clean_close(struct flash_volume *v)
{
	struct flash_clean *c = v->clean;

	if (c == NULL)
		return;
	bole_flash_walk_rest(&c->walk);
	bole_flash_reader_close(v, &c->reader);
	bole_alloc_free(v->alloc, c->buf, c->cap, 1);
	bole_alloc_free(v->alloc, c, 1, sizeof *c);
	v->clean = NULL;
}
