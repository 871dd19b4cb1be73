/* SPDX-License-Identifier: ISC */
/* Cuts: the work runs once; before each operation of the device a twin of it is made, power goes on
 * the twin within that operation, and what is left there is mounted, compared, written on and
 * mounted again. Within that recovery power may go again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "torture/torture.h"

enum { SUBSETS_OF = 12 };

static void recover(struct cut_run *);

__attribute__((format(printf, 2, 3))) static bool failed(struct cut_run *r, const char *format, ...)
{
	char text[320];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof text, format, args);
	va_end(args);
	torture_finding(r->plan.unit, r->plan.geometry->name, r->path, "%s%s%s", text,
	                r->world.lean.last_error[0] != 0 ? "; log: " : "",
	                r->world.lean.last_error);
	return false;
}

/* -- Which cuts -- */

static bool only_this(const struct cut_run *r, const char *path)
{
	const char *only = r->plan.unit->only;
	size_t len = strlen(path);

	return strncmp(only, path, len) == 0 && (only[len] == 0 || only[len] == '>');
}

static bool describe(const struct cut_run *r, const struct torture_cut *cut, char *path, size_t cap)
{
	const char *then = r->level == 0 ? "" : ">";
	unsigned long long op = r->tap.ops;
	int n;

	if (cut->subset)
		n = snprintf(path, cap, "%s%s%llu@%s%llx", r->path, then, op,
		             cut->torn ? "torn" : "set", (unsigned long long)cut->survivors);
	else
		n = snprintf(path, cap, "%s%s%llu@%s", r->path, then, op,
		             torture_mode_name(cut->mode));
	return n > 0 && (size_t)n < cap;
}

static void cut_one(struct cut_run *r, const struct tap_op *op, const struct torture_cut *cut)
{
	char path[sizeof r->path];

	if (!describe(r, cut, path, sizeof path) ||
	    (r->plan.unit->only != NULL && !only_this(r, path)))
		return;
	struct cut_run *inner = calloc(1, sizeof *inner);
	inner->plan = r->plan;
	inner->level = r->level + 1;
	inner->outer = r;
	inner->seed = torture_mix(r->seed, r->tap.ops << 8 | cut->mode) ^ cut->survivors;
	memcpy(inner->path, path, sizeof path);
	world_init(&inner->world, NULL, inner->seed);
	lean_init(&inner->disk, inner->seed);
	inner->world.lean.loud = r->plan.unit->verbose;
	inner->world.small = r->world.small;
	inner->world.maintain_most = r->world.maintain_most;
	inner->world.now = r->world.now;
	inner->world.next = r->world.next;
	memcpy(inner->world.prepared, r->world.prepared, sizeof inner->world.prepared);
	torture_progress(r->plan.unit, r->plan.geometry->name, path);
	inner->device = torture_interrupt(&inner->disk, r->device, op, cut, inner->seed);
	r->plan.unit->count.cuts++;
	recover(inner);
	for (unsigned i = 0; i < WORK_OPS; i++) {
		r->plan.unit->done[i] += inner->world.done[i];
		r->plan.unit->skipped[i] += inner->world.skipped[i];
	}
	bole_block_close(inner->device);
	free(inner);
}

/* Which of the writes that were not flushed are there: all subsets, or as many as are allowed. */
static void cut_subsets(struct cut_run *r, const struct tap_op *op)
{
	size_t writes = bole_block_sim_unflushed(r->device);
	bool all = writes <= SUBSETS_OF;
	uint64_t count = all ? 1ull << writes : 1ull << SUBSETS_OF;

	if (op->kind != TAP_FLUSH)
		return;
	for (uint64_t i = 0; i < count; i++) {
		struct torture_cut cut = {.subset = true, .survivors = i};
		if (!all) {
			cut.survivors = torture_mix(r->seed ^ r->tap.ops, i);
			/* Mostly kept and mostly lost, too. */
			if (i % 4 == 1)
				cut.survivors |= torture_mix(cut.survivors, 1) |
				                 torture_mix(cut.survivors, 2);
			if (i % 4 == 2)
				cut.survivors &= torture_mix(cut.survivors, 1) &
				                 torture_mix(cut.survivors, 2);
		}
		cut_one(r, op, &cut);
		cut.torn = true;
		if (!all || i % 4 == 0)
			cut_one(r, op, &cut);
	}
}

static bool lucky(const struct cut_run *r, uint64_t luck)
{
	const struct cut_plan *p = &r->plan;

	if (p->unit->only != NULL)
		return true;
	if (p->cuts_max != 0 && p->unit->count.cuts >= p->cuts_max)
		return false;
	return luck % 1024 < p->chance[r->level];
}

static void hook(struct tap *tap, const struct tap_op *op)
{
	struct cut_run *r = tap->ctx;
	uint64_t luck = torture_mix(r->seed, tap->ops * 2);
	unsigned drawn = (unsigned)(luck >> 32) % torture_mode_count;

	if (!lucky(r, luck) || torture_over(r->plan.unit))
		return;
	if (r->plan.subsets && r->level == 0) {
		cut_subsets(r, op);
		return;
	}
	for (unsigned mode = 0; mode < torture_mode_count; mode++) {
		struct torture_cut cut = {.mode = mode};
		if (torture_mode_applies(r->device, mode, op->kind) &&
		    (r->plan.every_mode || r->plan.unit->only != NULL || mode == drawn))
			cut_one(r, op, &cut);
	}
}

/* -- Recovery -- */

static bool read_state(struct cut_run *r, bool thorough, struct model_state *seen)
{
	struct model_reader reader = {.alloc = &r->world.lean.alloc, .thorough = thorough};
	enum bole_status rc = model_read(&reader, r->world.store, seen);

	if (rc == BOLE_OK)
		return true;
	return failed(r, "reading %s: %s %s", reader.at, bole_status_text(rc), reader.why);
}

/* What is there is what was acknowledged, with all or nothing of what was under way. */
static bool compare(struct cut_run *r, bool thorough)
{
	struct world *w = &r->world;
	struct model_state seen;
	char why[160];
	char why_next[160];

	if (!read_state(r, thorough, &seen))
		return false;
	if (memcmp(&seen, &w->now, sizeof seen) == 0)
		return true;
	if (memcmp(&seen, &w->next, sizeof seen) == 0) {
		w->now = w->next;
		return true;
	}
	model_difference(&w->now, &seen, why, sizeof why);
	model_difference(&w->next, &seen, why_next, sizeof why_next);
	return failed(r, "neither before (%s) nor after (%s)", why, why_next);
}

struct check_text {
	char first[160];
};

static void note_finding(void *ctx, bool error, const char *text)
{
	struct check_text *t = ctx;

	if (error && t->first[0] == 0)
		(void)snprintf(t->first, sizeof t->first, "%s", text);
}

/* The device check finds no error. */
static bool device_check(struct cut_run *r)
{
	struct check_text text = {{0}};
	struct bole_flash_check_report report = {.finding = note_finding, .ctx = &text};
	struct bole_flash_check_result result;
	struct lean *l = &r->world.lean;
	enum bole_status rc = bole_flash_check(r->device, &l->base, &l->alloc, &report, &result);

	if (rc == BOLE_OK && result.errors == 0)
		return true;
	return failed(r, "the check: %s, %llu errors: %s", bole_status_text(rc),
	              (unsigned long long)result.errors, text.first);
}

static bool go_on(struct cut_run *r)
{
	struct world *w = &r->world;
	unsigned flavour = (unsigned)(w->random >> 20) % WORK_FLAVOURS;

	for (unsigned i = 0; i <= r->plan.go_on + MODEL_PREPARED; i++) {
		enum work_op op = i == 0              ? WORK_PUT
		                  : i > r->plan.go_on ? WORK_RESUME
		                                      : world_draw(w, flavour);
		if (r->plan.unit->verbose)
			(void)fprintf(stderr, "%s: then %s\n", r->path, work_names[op]);
		enum bole_status rc = world_do(w, op);
		if (rc != BOLE_OK)
			return failed(r, "going on with %s: %s %s", work_names[op],
			              bole_status_text(rc), w->why);
	}
	w->next = w->now;
	return true;
}

static bool stop_and_start(struct cut_run *r)
{
	struct world *w = &r->world;
	enum bole_status rc = world_close(w);

	if (rc != BOLE_OK)
		return failed(r, "closing: %s", bole_status_text(rc));
	rc = world_open(w);
	if (rc != BOLE_OK)
		return failed(r, "mounting after a clean stop: %s", bole_status_text(rc));
	return compare(r, true);
}

static bool survive(struct cut_run *r)
{
	struct world *w = &r->world;
	uint64_t number = r->plan.unit->count.cuts;

	if (r->level < r->plan.depth)
		r->tap.hook = hook;
	enum bole_status rc = world_open(w);
	r->tap.hook = NULL;
	if (rc != BOLE_OK)
		return failed(r, "mounting: %s", bole_status_text(rc));
	if (!compare(r, false))
		return false;
	if (r->plan.check_every != 0 && number % r->plan.check_every == 0 && !device_check(r))
		return false;
	return go_on(r) && stop_and_start(r);
}

static void finish(struct cut_run *r)
{
	struct world *w = &r->world;
	struct bole_block_sim_counters count;

	if (w->store != NULL)
		(void)world_close(w);
	if (w->lean.blocks != 0)
		(void)failed(r, "%llu bytes are never given back",
		             (unsigned long long)w->lean.bytes);
	bole_block_sim_counters(r->device, &count);
	if (count.violations != 0)
		(void)failed(r, "%llu writes against the rules of the flash",
		             (unsigned long long)count.violations);
}

static void recover(struct cut_run *r)
{
	tap_init(&r->tap, r->device);
	r->tap.ctx = r;
	r->world.device = &r->tap.block;
	(void)survive(r);
	finish(r);
}

/* -- The run that is cut -- */

bool cut_start(struct cut_run *r, const struct cut_plan *plan, uint64_t seed)
{
	memset(r, 0, sizeof *r);
	r->plan = *plan;
	r->seed = seed;
	lean_init(&r->disk, seed);
	r->device = torture_device(&r->disk, plan->geometry, seed);
	tap_init(&r->tap, r->device);
	r->tap.ctx = r;
	world_init(&r->world, &r->tap.block, seed);
	r->world.lean.loud = plan->unit->verbose;
	r->world.small = true;
	if (plan->blank != NULL)
		plan->blank(r);
	enum bole_status rc = bole_flash_format(&r->tap.block, &r->world.lean.base, NULL);
	if (rc == BOLE_OK)
		rc = world_open(&r->world);
	if (rc != BOLE_OK)
		return failed(r, "format and first mount: %s", bole_status_text(rc));
	r->tap.ops = 0;
	r->tap.hook = hook;
	return true;
}

bool cut_do(struct cut_run *r, enum work_op op)
{
	if (r->plan.unit->verbose)
		(void)fprintf(stderr, "at %llu: %s\n", (unsigned long long)r->tap.ops,
		              work_names[op]);
	enum bole_status rc = world_do(&r->world, op);
	if (rc == BOLE_OK)
		return true;
	return failed(r, "without a cut, %s: %s %s", work_names[op], bole_status_text(rc),
	              r->world.why);
}

void cut_end(struct cut_run *r)
{
	r->tap.hook = NULL;
	r->world.next = r->world.now;
	if (r->world.store != NULL && stop_and_start(r))
		(void)device_check(r);
	finish(r);
	for (unsigned i = 0; i < WORK_OPS; i++) {
		r->plan.unit->done[i] += r->world.done[i];
		r->plan.unit->skipped[i] += r->world.skipped[i];
	}
	bole_block_close(r->device);
}
