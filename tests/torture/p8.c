/* SPDX-License-Identifier: ISC */
/* P8: a write that never arrives or arrives elsewhere, a read that brings bytes of another place,
 * of another time or with a wrong bit; each at the n-th call while mounting, working or reading.
 * What is read is right or an error, nothing acknowledged is lost without one, and a fault of a
 * read passes. */
#include <stdio.h>
#include <string.h>

#include "torture/programs.h"

enum { STEPS = 10, OPS = 3, TRIALS = 160, FIRST_MANAGED = 3, MANAGED = 2 };

static const struct kind {
	const char *name;
	enum bole_block_sim_fault fault;
	bool read;
} kinds[] = {
        {"lost", BOLE_SIM_PROGRAM_LOST, false},
        {"misdirected", BOLE_SIM_PROGRAM_MISDIRECTED, false},
        {"read-misdirected", BOLE_SIM_READ_MISDIRECTED, true},
        {"read-stale", BOLE_SIM_READ_STALE, true},
        {"read-flip", BOLE_SIM_READ_FLIP, true},
};
enum { KINDS = sizeof kinds / sizeof *kinds, WHENS = 3 };
static const char *const whens[WHENS] = {"mount", "work", "look"};

struct trial {
	struct torture_unit *u;
	const struct torture_geometry *g;
	struct lean disk;
	struct bole_block *device;
	struct world world;
	const struct kind *kind;
	char where[64];
	bool noticed;
};

#define BAD(t, ...) torture_finding((t)->u, (t)->g->name, (t)->where, __VA_ARGS__)

/* sound: nothing may be wrong or missing. */
static void look(struct trial *t, bool sound)
{
	char why[400];
	/* What the store has said when it was opened is excused. */
	bool excused = !sound && t->world.lost != 0;

	if (!world_look(&t->world, sound, excused, &t->noticed, why, sizeof why))
		BAD(t, "%s", why);
}

static bool open_world(struct trial *t, bool sound)
{
	enum bole_status rc = world_open(&t->world);

	if (rc == BOLE_OK && t->world.lost != 0) {
		t->noticed = true;
		if (sound)
			BAD(t, "something is lost; log: %s", t->world.lean.last_error);
		return true;
	}
	if (rc == BOLE_OK)
		return true;
	t->noticed = true;
	if (sound || !world_may_say(rc))
		BAD(t, "mounting: %s; log: %s", bole_status_text(rc), t->world.lean.last_error);
	return false;
}

static void work(struct trial *t, uint64_t number)
{
	struct world *w = &t->world;

	w->random = torture_mix(number, 8);
	for (unsigned i = 0; i < OPS; i++) {
		enum work_op op = world_draw(w, (unsigned)number);
		enum bole_status rc = op == WORK_PREPARE ? BOLE_OK : world_do(w, op);
		if (rc == BOLE_OK && w->lost == 0)
			continue;
		t->noticed = true;
		if (rc == BOLE_OK)
			return; /* a new mount found damage, and said so */
		t->u->extra[2]++;
		/* That something is damaged is a good answer here, for any operation. */
		bool damaged = strstr(w->why, bole_status_text(BOLE_E_CORRUPT)) != NULL;
		if ((w->why[0] != 0 && !damaged) || !world_may_say(rc))
			BAD(t, "%s: %s %s", work_names[op], bole_status_text(rc), w->why);
		return; /* now or next */
	}
	w->next = w->now;
}

static void arm(struct trial *t, uint64_t n)
{
	for (int f = 0; f < BOLE_SIM_FAULTS; f++)
		bole_block_sim_plan_fault(t->device, (enum bole_block_sim_fault)f, 0, 0);
	bole_block_sim_plan_fault(t->device, t->kind->fault, n, UINT64_MAX);
}

/* What is lost is given up: the volume goes on without it. */
static void mend(struct trial *t)
{
	struct world *w = &t->world;
	struct bole_flash_check_result result;
	enum bole_status rc =
	        bole_flash_repair(t->device, &w->lean.base, &w->lean.alloc, NULL, &result);

	if (rc != BOLE_OK) {
		BAD(t, "repairing: %s; log: %s", bole_status_text(rc), w->lean.last_error);
		return;
	}
	rc = world_open(w);
	if (rc == BOLE_OK && (w->lost != 0 || w->store->info.read_only))
		BAD(t, "after a repair %llu things are lost; log: %s", (unsigned long long)w->lost,
		    w->lean.last_error);
	else if (rc != BOLE_OK)
		BAD(t, "mounting after a repair: %s; log: %s", bole_status_text(rc),
		    w->lean.last_error);
	if (rc != BOLE_OK)
		return;
	w->lost = 1; /* what is missing was said before */
	look(t, false);
	(void)world_close(w);
}

/* The fault comes at the n-th call from the given moment on. */
static void go(struct trial *t, unsigned when, uint64_t n, uint64_t number)
{
	if (bole_block_sim_remember(t->device) != BOLE_OK)
		return;
	if (when == 0)
		arm(t, n);
	bool open = open_world(t, false);
	if (when == 1)
		arm(t, n);
	if (open)
		work(t, number);
	if (when == 2)
		arm(t, n);
	if (open && t->world.store != NULL) {
		look(t, false);
		(void)world_close(&t->world);
	}
	/* A fault of a read is over; what a write spoiled stays. */
	arm(t, 0);
	if (!open_world(t, t->kind->read))
		return;
	look(t, t->kind->read);
	(void)world_close(&t->world);
	if (t->world.lost != 0)
		mend(t);
}

static void attempt(struct trial *t, struct bole_block *stand, const struct world *before,
                    uint64_t number)
{
	uint64_t draw = torture_mix(t->u->seed ^ t->u->number << 20, number);
	unsigned when = (unsigned)(draw % WHENS);
	uint64_t n = 1 + (draw >> 8) % (draw % 5 == 0 ? 200 : 24);

	t->kind = &kinds[number % KINDS];
	if (!t->kind->read && when == 2)
		when = 1;
	(void)snprintf(t->where, sizeof t->where, "%llu@%s-%s-%llu", (unsigned long long)number,
	               t->kind->name, whens[when], (unsigned long long)n);
	if (t->u->only != NULL && strcmp(t->u->only, t->where) != 0)
		return;
	torture_progress(t->u, t->g->name, t->where);
	lean_init(&t->disk, number);
	t->device = torture_twin(&t->disk, stand);
	bole_block_sim_seed(t->device, draw);
	world_init(&t->world, t->device, number);
	t->world.lean.loud = t->u->verbose;
	t->world.small = true;
	t->world.damaged = true;
	t->world.now = before->now;
	t->world.next = before->now;
	t->noticed = false;
	t->u->count.trials++;
	go(t, when, n, number);
	if (t->world.lean.blocks != 0)
		BAD(t, "memory is never given back");
	t->u->extra[t->noticed ? 0 : 1]++;
	bole_block_close(t->device);
}

void torture_p8(struct torture_unit *u)
{
	static struct cut_run r;
	static struct trial t;
	struct cut_plan plan = {
	        .unit = u, .geometry = &torture_geometries[FIRST_MANAGED + u->number % MANAGED]};
	bool good = cut_start(&r, &plan, torture_mix(u->seed, 8 << 20 | u->number));

	if (!good)
		return;
	r.tap.hook = NULL;
	for (unsigned i = 0; i < STEPS && good; i++) {
		enum work_op op = world_draw(&r.world, (unsigned)u->number);
		good = op == WORK_PREPARE || cut_do(&r, op);
	}
	if (good && world_close(&r.world) == BOLE_OK) {
		t = (struct trial){.u = u, .g = plan.geometry};
		for (uint64_t i = 0; i < TRIALS; i++)
			attempt(&t, r.device, &r.world, i);
	}
	cut_end(&r);
}
