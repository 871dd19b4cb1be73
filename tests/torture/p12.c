/* SPDX-License-Identifier: ISC */
/* P12: the n-th allocation, read, write or flush of an operation fails, for n = 1, 2, ... until the
 * operation runs through. A refused allocation leaves the state as it was; an error of the device
 * leaves, after a new mount, all or nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "torture/programs.h"

enum { STEPS = 12, BACK = 2, KINDS = 4, PATH = 64 };
static const char *const kinds[KINDS] = {"alloc", "read", "write", "flush"};

/* The state before a step, as a device that is not mounted and an oracle. */
struct stand {
	struct bole_block *device;
	struct world world;
	enum work_op op; /* that came next */
};

struct fault {
	struct torture_unit *u;
	const struct torture_geometry *g;
	struct lean disk;
	struct world world;
	struct bole_block *device;
	struct tap tap;
	bool unswept; /* a sweep was short of memory */
	char where[PATH];
};

static void bad(struct fault *f, const char *what, enum bole_status rc)
{
	torture_finding(f->u, f->g->name, f->where, "%s: %s %s; log: %s", what,
	                bole_status_text(rc), f->world.why, f->world.lean.last_error);
}

/* Reads everything; 0 = as before, 1 = as after, 2 = a finding. */
static int state_of(struct fault *f)
{
	struct model_reader reader = {.alloc = &f->world.lean.alloc};
	struct model_state seen;
	char why[160];
	enum bole_status rc = model_read(&reader, f->world.store, &seen);

	if (rc != BOLE_OK) {
		(void)snprintf(f->world.why, sizeof f->world.why, "%s", reader.why);
		bad(f, "reading after the fault", rc);
		return 2;
	}
	if (memcmp(&seen, &f->world.now, sizeof seen) == 0)
		return 0;
	if (memcmp(&seen, &f->world.next, sizeof seen) == 0)
		return 1;
	if (f->unswept && memcmp(&seen, &f->world.unswept, sizeof seen) == 0) {
		f->world.now = seen;
		return 0;
	}
	model_difference(&f->world.now, &seen, why, sizeof why);
	(void)snprintf(f->world.why, sizeof f->world.why, "%s", why);
	bad(f, "neither before nor after", rc);
	return 2;
}

/* The store is still open, or closed by the operation; it opens (again) and shows `now` or `next`,
 * and takes writes. */
static bool recover(struct fault *f, bool strict)
{
	struct world *w = &f->world;
	enum bole_status rc;

	if (w->store != NULL && strict) {
		int is = state_of(f);
		if (is == 1)
			bad(f, "refused, but done", BOLE_OK);
		if (is != 0)
			return false;
	}
	if (w->store != NULL)
		(void)world_close(w);
	rc = world_open(w);
	if (rc != BOLE_OK) {
		bad(f, "mounting after the fault", rc);
		return false;
	}
	int is = state_of(f);
	if (is == 1)
		w->now = w->next;
	if (is == 2)
		return false;
	w->why[0] = 0;
	rc = world_do(w, WORK_PUT);
	if (rc == BOLE_OK)
		rc = world_close(w);
	if (rc == BOLE_OK)
		rc = world_open(w);
	if (rc != BOLE_OK)
		bad(f, "going on after the fault", rc);
	else if (state_of(f) == 0)
		return true;
	return false;
}

static void arm(struct fault *f, unsigned kind, uint64_t n)
{
	struct lean *l = &f->world.lean;

	l->fail_at = kind == 0 && n != 0 ? l->grows + n : 0;
	f->tap.fail_read = kind == 1 ? n : 0;
	f->tap.fail_write = kind == 2 ? n : 0;
	f->tap.fail_flush = kind == 3 ? n : 0;
}

/* The fault has happened (the countdown has run out). */
static bool hit(const struct fault *f, unsigned kind)
{
	const struct lean *l = &f->world.lean;

	switch (kind) {
	case 0: return l->grows >= l->fail_at;
	case 1: return f->tap.fail_read == 0;
	case 2: return f->tap.fail_write == 0;
	default: return f->tap.fail_flush == 0;
	}
}

/* From the stand some steps back up to the one that suffers. */
static bool approach(struct fault *f, const struct stand *from, const struct stand *stand)
{
	struct world *w = &f->world;
	enum bole_status rc;

	*w = from->world;
	lean_init(&w->lean, torture_mix(f->u->seed, f->u->number));
	lean_init(&f->disk, 1);
	w->lean.loud = f->u->verbose;
	w->store = NULL;
	f->device = torture_twin(&f->disk, from->device);
	tap_init(&f->tap, f->device);
	w->device = &f->tap.block;
	rc = world_open(w);
	for (; rc == BOLE_OK && from != stand; from++)
		rc = world_do(w, from->op);
	if (rc == BOLE_OK)
		return true;
	bad(f, "without a fault", rc);
	return false;
}

static void finish(struct fault *f)
{
	if (f->world.store != NULL)
		(void)world_close(&f->world);
	if (f->world.lean.blocks != 0)
		bad(f, "memory is never given back", BOLE_OK);
	bole_block_close(f->device);
}

/* One operation with one fault. False: the operation was over before it. */
static bool run_one(struct fault *f, const struct stand *from, const struct stand *stand,
                    unsigned kind, uint64_t n)
{
	struct world *w = &f->world;
	bool more = false;

	torture_progress(f->u, f->g->name, f->where);
	f->unswept = stand->op == WORK_GC && kind == 0;
	if (approach(f, from, stand)) {
		arm(f, kind, n);
		enum bole_status rc = world_do(w, stand->op);
		more = hit(f, kind);
		arm(f, kind, 0);
		if (f->u->verbose)
			(void)fprintf(stderr, "%s: %s, %s\n", f->where, bole_status_text(rc),
			              w->store == NULL ? "closed" : "open");
		f->u->count.trials += more;
		/* A mark that is short of memory is given up. */
		bool refused = stand->op == WORK_GC && w->status == BOLE_E_GONE;
		if (w->status == BOLE_E_CORRUPT)
			bad(f, "an error of the device is told as damage", w->status);
		else if (rc == BOLE_E_CORRUPT && w->why[0] != 0 && !refused)
			bad(f, "a wrong answer", rc);
		else if (rc != BOLE_OK && !more)
			bad(f, "refused without a fault", rc);
		else if (rc == BOLE_OK && w->store == NULL)
			bad(f, "the handle is gone", rc);
		else
			(void)recover(f, kind == 0 && rc != BOLE_OK);
	}
	finish(f);
	return more;
}

static void all_faults(struct fault *f, const struct stand *stands, unsigned i)
{
	const struct stand *from = &stands[i < BACK ? 0 : i - BACK];

	for (unsigned kind = 0; kind < KINDS; kind++) {
		uint64_t before = f->u->count.failures;
		bool more = true;
		for (uint64_t n = 1; more && f->u->count.failures < before + 3; n++) {
			(void)snprintf(f->where, sizeof f->where, "%u.%s.%s@%llu", i,
			               work_names[stands[i].op], kinds[kind],
			               (unsigned long long)n);
			const char *only = f->u->only;
			if (only == NULL || strcmp(only, f->where) == 0)
				more = run_one(f, from, &stands[i], kind, n);
			else if (n > 100000)
				more = false;
		}
	}
}

/* The workload without faults; notes where it stands before each step. */
static unsigned walk(struct torture_unit *u, const struct torture_geometry *g, struct stand *stands,
                     struct lean *disk)
{
	static struct cut_run r;
	struct cut_plan plan = {.unit = u, .geometry = g};
	unsigned flavour = (unsigned)(u->number / torture_geometry_count) % WORK_FLAVOURS;
	unsigned n = 0;

	if (!cut_start(&r, &plan, torture_mix(u->seed, u->number)))
		return 0;
	r.tap.hook = NULL;
	for (; n < STEPS; n++) {
		stands[n].device = torture_twin(disk, r.device);
		stands[n].op = world_draw(&r.world, flavour);
		stands[n].world = r.world;
		if (!cut_do(&r, stands[n].op))
			break;
	}
	cut_end(&r);
	return n;
}

void torture_p12(struct torture_unit *u)
{
	static struct stand stands[STEPS + 1];
	static struct fault f;
	struct lean disk;

	f = (struct fault){.u = u, .g = torture_geometry_of(u->number)};
	lean_init(&disk, 1);
	unsigned n = walk(u, f.g, stands, &disk);
	for (unsigned i = 0; i < n; i++)
		all_faults(&f, stands, i);
	for (unsigned i = 0; i < n; i++)
		bole_block_close(stands[i].device);
}
