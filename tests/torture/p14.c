/* SPDX-License-Identifier: ISC */
/* P14: what else happens to a disk. Bytes of it change under a mounted volume, those of its anchors
 * too; it is cut short; its host has no room for what lies beyond some place; reads end early, the
 * rest is zero; it says that it has flushed and has not, and power goes; two mount it at once. What
 * is read is right or an error, nothing is missing in silence (but what a flush that was none has
 * lost), and a repair makes what is left a volume that takes writes. */
#include <stdio.h>
#include <string.h>

#include "flash/checkpoint/anchor.h"
#include "torture/programs.h"

enum { STEPS = 10, OPS = 4, TRIALS = 100, FLIPS_MAX = 4, FLIP_TRIES = 64, FLIP_GROUP = 64 };

enum about {
	ABOUT_LIVE,
	ABOUT_ANCHORS,
	ABOUT_TRUNCATED,
	ABOUT_FULL,
	ABOUT_SHORT,
	ABOUT_LIES,
	ABOUT_TWICE,
	ABOUTS
};
static const char *const abouts[ABOUTS] = {"live",  "anchors", "truncated", "full",
                                           "short", "lies",    "twice"};

struct attack {
	struct torture_unit *u;
	const struct torture_geometry *g;
	struct lean disk;
	struct bole_block *device;
	struct tap tap;
	struct world world;
	struct flash_geometry layout;
	enum about about;
	uint64_t random;
	uint64_t flip_in; /* operations */
	bool noticed;
	char where[64];
};

#define BAD(t, ...) torture_finding((t)->u, (t)->g->name, (t)->where, __VA_ARGS__)

static uint64_t draw(struct attack *t, uint64_t below)
{
	return torture_random(&t->random) % below;
}

/* One bit of something that was written. */
static void flip(struct attack *t)
{
	const struct flash_geometry *g = &t->layout;
	uint64_t size = t->device->info.size_bytes;
	uint64_t area = (uint64_t)g->slots * g->slot_bytes;

	for (unsigned i = 0; i < FLIP_TRIES; i++) {
		uint8_t seen[FLIP_GROUP];
		uint64_t from = draw(t, size / FLIP_GROUP) * FLIP_GROUP;
		if (t->about == ABOUT_ANCHORS)
			from = (draw(t, 2) == 0 ? g->first : g->second) +
			       draw(t, area / FLIP_GROUP) * FLIP_GROUP;
		bole_block_sim_peek(t->device, from, seen, sizeof seen);
		if (bole_flash_anchor_blank(seen, sizeof seen))
			continue;
		bole_block_sim_flip(t->device, from + draw(t, FLIP_GROUP),
		                    (uint8_t)(1u << draw(t, 8)));
		return;
	}
}

static void hook(struct tap *tap, const struct tap_op *op)
{
	struct attack *t = tap->ctx;

	(void)op;
	if (t->flip_in != 0 && --t->flip_in == 0)
		for (uint64_t n = 1 + draw(t, FLIPS_MAX); n > 0; n--)
			flip(t);
}

/* sound: nothing may be wrong or missing. */
static void look(struct attack *t, bool sound)
{
	char why[400];
	/* A flush that was none, or another writer, may have lost anything; else it was said. */
	bool excused =
	        !sound && (t->world.lost != 0 || t->about == ABOUT_LIES || t->about == ABOUT_TWICE);

	if (!world_look(&t->world, sound, excused, &t->noticed, why, sizeof why))
		BAD(t, "%s", why);
}

static bool open_world(struct attack *t, bool sound)
{
	enum bole_status rc = world_open(&t->world);
	bool lost = rc == BOLE_OK && t->world.lost != 0;

	t->noticed |= rc != BOLE_OK || lost;
	if (sound && (rc != BOLE_OK || lost))
		BAD(t, "mounting: %s, %llu lost; log: %s", bole_status_text(rc),
		    (unsigned long long)t->world.lost, t->world.lean.last_error);
	bool cut_short = t->about == ABOUT_TRUNCATED && rc == BOLE_E_NOT_FOUND;
	if (rc != BOLE_OK && !world_may_say(rc) && !cut_short)
		BAD(t, "mounting: %s; log: %s", bole_status_text(rc), t->world.lean.last_error);
	return rc == BOLE_OK;
}

static void work(struct attack *t, uint64_t number)
{
	struct world *w = &t->world;

	w->random = torture_mix(number, 14);
	for (unsigned i = 0; i < OPS && w->store != NULL; i++) {
		enum work_op op = world_draw(w, (unsigned)number);
		enum bole_status rc = op == WORK_PREPARE ? BOLE_OK : world_do(w, op);
		if (rc == BOLE_OK && w->lost == 0)
			continue;
		t->noticed = true;
		t->u->extra[2]++;
		/* After a new mount of its own it may go on from what the other one wrote. */
		bool damaged = strstr(w->why, bole_status_text(BOLE_E_CORRUPT)) != NULL ||
		               t->about == ABOUT_TWICE;
		if (rc != BOLE_OK && ((w->why[0] != 0 && !damaged) || !world_may_say(rc)))
			BAD(t, "%s: %s %s", work_names[op], bole_status_text(rc), w->why);
		return; /* now or next */
	}
	w->next = w->now;
}

/* What is left becomes a volume again. */
static void mend(struct attack *t)
{
	struct world *w = &t->world;
	struct bole_flash_check_result result;
	enum bole_status rc =
	        bole_flash_repair(w->device, &w->lean.base, &w->lean.alloc, NULL, &result);

	if (rc == BOLE_OK)
		rc = world_open(w);
	if (rc != BOLE_OK) {
		BAD(t, "repairing: %s; log: %s", bole_status_text(rc), w->lean.last_error);
		return;
	}
	if (w->lost != 0 || w->store->info.read_only)
		BAD(t, "after a repair %llu things are lost; log: %s", (unsigned long long)w->lost,
		    w->lean.last_error);
	w->lost = 1; /* it was said before */
	look(t, false);
	(void)world_close(w);
}

static void prepare(struct attack *t)
{
	const struct bole_block_info *info = &t->device->info;
	uint64_t step = info->needs_erase ? info->erase_unit : 4096;
	uint64_t place = draw(t, info->size_bytes / step) * step;

	if (t->about == ABOUT_TRUNCATED)
		t->tap.block.info.size_bytes = place + step;
	if (t->about == ABOUT_FULL)
		t->tap.full_from = place + step;
	if (t->about == ABOUT_LIES)
		bole_block_sim_ignore_flush(t->device, true);
	if (t->about == ABOUT_SHORT)
		t->tap.short_read = 1 + draw(t, 60);
	if (t->about == ABOUT_LIVE || t->about == ABOUT_ANCHORS)
		t->flip_in = 1 + draw(t, 30);
}

/* The fault is over; what it has done stays. */
static void recover(struct attack *t)
{
	if (t->about == ABOUT_LIES) {
		bole_block_sim_cut_now(t->device, BOLE_SIM_TEAR_RANDOM);
		(void)world_close(&t->world);
		bole_block_sim_power_on(t->device);
		bole_block_sim_ignore_flush(t->device, false);
	}
	t->tap.full_from = 0;
	t->tap.short_read = 0;
	t->flip_in = 0;
}

/* Somebody else mounts the disk and writes, too: a virtual disk that two machines were given. */
static void intrude(struct attack *t, uint64_t number)
{
	static struct world other;

	world_init(&other, t->device, number + 1);
	other.small = true;
	other.damaged = true;
	other.now = t->world.now;
	other.next = t->world.now;
	if (world_open(&other) != BOLE_OK)
		return;
	for (unsigned i = 0; i < OPS && other.store != NULL; i++)
		if (world_do(&other, world_draw(&other, (unsigned)number)) != BOLE_OK)
			break;
	for (unsigned i = 0; i < MODEL_PREPARED; i++)
		other.tx[i] = NULL;
	if (other.store != NULL)
		(void)world_close(&other);
	if (other.lean.blocks != 0)
		BAD(t, "memory of the other is never given back");
}

static void go(struct attack *t, uint64_t number)
{
	struct world *w = &t->world;
	bool sound = t->about == ABOUT_FULL || t->about == ABOUT_SHORT;

	prepare(t);
	if (open_world(t, false)) {
		if (t->about == ABOUT_TWICE)
			intrude(t, number);
		if (w->lost == 0)
			work(t, number);
		if (t->about != ABOUT_LIES && w->store != NULL) {
			look(t, false);
			(void)world_close(w);
		}
	}
	recover(t);
	if (w->store != NULL)
		(void)world_close(w);
	/* A volume whose reads were cut short believed that it was damaged, and changed nothing. */
	if (!open_world(t, sound))
		return;
	look(t, sound);
	bool lost = w->lost != 0;
	(void)world_close(w);
	if (lost && t->about != ABOUT_TRUNCATED)
		mend(t);
}

static void attempt(struct attack *t, struct bole_block *stand, const struct world *before,
                    uint64_t number)
{
	struct flash_anchor_place place;
	struct flash_anchor a;

	t->random = torture_mix(t->u->seed ^ t->u->number << 20, number);
	t->about = (enum about)(number % ABOUTS);
	(void)snprintf(t->where, sizeof t->where, "%llu@%s", (unsigned long long)number,
	               abouts[t->about]);
	if (t->u->only != NULL && strcmp(t->u->only, t->where) != 0)
		return;
	torture_progress(t->u, t->g->name, t->where);
	lean_init(&t->disk, number);
	t->device = torture_twin(&t->disk, stand);
	bole_block_sim_seed(t->device, t->random);
	tap_init(&t->tap, t->device);
	t->tap.hook = hook;
	t->tap.ctx = t;
	world_init(&t->world, &t->tap.block, number);
	t->world.lean.loud = t->u->verbose;
	t->world.small = true;
	t->world.damaged = true;
	t->world.now = before->now;
	t->world.next = before->now;
	t->noticed = false;
	t->flip_in = 0;
	t->u->count.trials++;
	if (bole_flash_anchor_load(t->device, NULL, &t->world.lean.alloc, &a, &place) == BOLE_OK) {
		t->layout = a.geometry;
		bole_flash_anchor_release(&t->world.lean.alloc, &a);
		go(t, number);
	}
	if (t->world.lean.blocks != 0)
		BAD(t, "memory is never given back");
	t->u->extra[t->noticed ? 0 : 1]++;
	bole_block_close(t->device);
}

void torture_p14(struct torture_unit *u)
{
	static struct cut_run r;
	static struct attack t;
	struct cut_plan plan = {.unit = u, .geometry = torture_geometry_of(u->number)};
	bool good = cut_start(&r, &plan, torture_mix(u->seed, 14 << 20 | u->number));

	if (!good)
		return;
	r.tap.hook = NULL;
	for (unsigned i = 0; i < STEPS && good; i++) {
		enum work_op op = world_draw(&r.world, (unsigned)u->number);
		good = op == WORK_PREPARE || cut_do(&r, op);
	}
	if (good && world_close(&r.world) == BOLE_OK) {
		t = (struct attack){.u = u, .g = plan.geometry};
		for (uint64_t i = 0; i < TRIALS; i++)
			attempt(&t, r.device, &r.world, i);
	}
	cut_end(&r);
}
