/* SPDX-License-Identifier: ISC */
/* P6: one bit of every byte of a small sealed volume is flipped, once. What is read is right or an
 * error; what the flip does not touch is right; nothing is lost without an error, and the check
 * finds what reading found. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "torture/programs.h"

enum { STEPS = 18, SLICES = 8, GROUP = 64, CHECK_EVERY = 4, REPAIR_EVERY = 3 };

struct image {
	struct torture_unit *u;
	const struct torture_geometry *g;
	struct lean disk;
	struct bole_block *device;
	struct model_state want;
	uint8_t *bytes;
	uint8_t *in_entry; /* one byte a group: it lies within entries of objects, entirely */
	uint64_t size;
	uint64_t refused; /* mounts */
	char where[64];
};

static void note(void *ctx, bool error, const char *text)
{
	uint64_t *count = ctx;

	(void)error;
	(void)text;
	++*count;
}

/* Findings of any kind; 1 also when the check cannot run. */
static uint64_t check(struct image *m, struct lean *l)
{
	uint64_t findings = 0;
	struct bole_flash_check_report report = {.finding = note, .ctx = &findings};
	struct bole_flash_check_result result = {.errors = 0};
	enum bole_status rc = bole_flash_check(m->device, &l->base, &l->alloc, &report, &result);

	return findings + result.errors + result.warnings + (rc != BOLE_OK);
}

static unsigned objects_lost(const struct model_state *want, const struct model_state *seen)
{
	unsigned lost = 0;

	for (unsigned i = 0; i < MODEL_REPOS; i++)
		for (unsigned n = 0; n < MODEL_OBJECTS; n++)
			lost += want->repo[i].present[n] != seen->repo[i].present[n];
	return lost;
}

#define BAD(m, ...) torture_finding((m)->u, (m)->g->name, (m)->where, __VA_ARGS__)

/* True: reading noticed. */
static bool look(struct image *m, struct bole_store *store, struct lean *l, bool in_entry,
                 bool said)
{
	struct model_reader reader = {.alloc = &l->alloc, .thorough = true, .tolerant = true};
	struct model_state seen;
	char why[160];
	enum bole_status rc = model_read(&reader, store, &seen);

	if (reader.why[0] != 0) {
		BAD(m, "reading %s: %s", reader.at, reader.why);
		return true;
	}
	if (rc != BOLE_OK)
		return true;
	bool same = memcmp(&seen, &m->want, sizeof seen) == 0;
	if (!same && reader.errors == 0 && !said) {
		model_difference(&m->want, &seen, why, sizeof why);
		BAD(m, "lost without an error: %s", why);
	}
	if (in_entry && (reader.things > 1 || objects_lost(&m->want, &seen) > 1))
		BAD(m, "one object is damaged, %u things cannot be read, %u objects are lost",
		    reader.things, objects_lost(&m->want, &seen));
	return reader.errors != 0;
}

/* A repair on a copy: then it can be written, and no more than was said is missing. */
static void mend(struct image *m, struct lean *l, bool in_entry)
{
	struct bole_flash_check_result result;
	struct bole_store_stats stats = {.lost = 0};
	struct bole_store *store;
	struct bole_block *device = m->device;
	struct lean disk;

	lean_init(&disk, 1);
	m->device = torture_twin(&disk, device);
	enum bole_status rc = bole_flash_repair(m->device, &l->base, &l->alloc, NULL, &result);
	if (rc == BOLE_OK)
		rc = bole_flash_open(m->device, &l->base, &l->alloc, NULL, &store);
	if (rc == BOLE_OK)
		rc = bole_store_stats(store, &stats);
	if (rc != BOLE_OK)
		BAD(m, "repairing: %s; log: %s", bole_status_text(rc), l->last_error);
	else if (stats.lost != 0 || store->info.read_only)
		BAD(m, "after a repair %llu things are lost", (unsigned long long)stats.lost);
	if (rc == BOLE_OK) {
		(void)look(m, store, l, in_entry, true);
		if (bole_store_close(store) != BOLE_OK)
			BAD(m, "closing after a repair; log: %s", l->last_error);
	}
	bole_block_close(m->device);
	m->device = device;
}

static void flip(struct image *m, uint64_t at)
{
	struct bole_flash_open_options options = {.read_only = true};
	bool in_entry = m->in_entry[at] != 0;
	struct bole_store *store;
	struct lean l;
	uint8_t wrong = m->bytes[at] ^ (uint8_t)(1u << torture_mix(m->u->seed, at) % 8);

	(void)snprintf(m->where, sizeof m->where, "byte%llu", (unsigned long long)at);
	if (m->u->only != NULL && strcmp(m->u->only, m->where) != 0)
		return;
	torture_progress(m->u, m->g->name, m->where);
	lean_init(&l, at);
	l.loud = m->u->verbose;
	bole_block_sim_poke(m->device, at, &wrong, 1);
	m->u->count.trials++;
	enum bole_status rc = bole_flash_open(m->device, &l.base, &l.alloc, &options, &store);
	bool noticed = rc != BOLE_OK;
	struct bole_store_stats stats = {.lost = 0};
	if (rc == BOLE_OK)
		rc = bole_store_stats(store, &stats);
	if (rc == BOLE_OK) {
		noticed = look(m, store, &l, in_entry, stats.lost != 0) || stats.lost != 0;
		(void)bole_store_close(store);
		if (stats.lost != 0 && at % REPAIR_EVERY == 0)
			mend(m, &l, in_entry);
	} else if (rc != BOLE_E_CORRUPT) {
		BAD(m, "mounting: %s", bole_status_text(rc));
	}
	m->u->extra[0] += rc != BOLE_OK;
	m->u->extra[1] += noticed;
	if (noticed || in_entry || at % CHECK_EVERY == 0) {
		bool found = check(m, &l) != 0;
		m->u->extra[2] += found;
		/* Bytes of an entry that every object is read rightly without are of a dead copy:
		 * the live one has the head of a fragment in its midst. */
		if (noticed && !found)
			BAD(m, "reading fails, and the check finds nothing");
	}
	bole_block_sim_poke(m->device, at, &m->bytes[at], 1);
	if (l.blocks != 0)
		BAD(m, "memory is never given back");
}

/* Where live objects lie: their entries are long and random, so what looks like one is one. An
 * older copy of the same entry may be dead: a copy counts where there is only one. */
static void find_entries(struct image *m)
{
	for (unsigned i = 0; i < MODEL_REPOS; i++) {
		const struct model_repo *r = &m->want.repo[i];
		for (unsigned n = 0; n < MODEL_OBJECTS; n++) {
			const uint8_t *at = NULL;
			unsigned copies = 0;
			size_t len = 0;
			if (r->algo == 0 || r->present[n] == 0)
				continue;
			for (unsigned k = 0; k < 2; k++) {
				struct bole_bytes e = model_object(r->algo, n)->entry[k];
				const uint8_t *from = m->bytes;
				if (e.len < 64)
					continue;
				while ((from = memmem(from, m->size - (uint64_t)(from - m->bytes),
				                      e.ptr, e.len)) != NULL) {
					at = from++;
					len = e.len;
					copies++;
				}
			}
			if (copies == 1)
				memset(m->in_entry + (at - m->bytes), 1, len);
		}
	}
}

static bool make(struct image *m)
{
	static struct cut_run r;
	struct cut_plan plan = {.unit = m->u, .geometry = m->g};
	uint64_t image = m->u->number / torture_geometry_count / SLICES;
	bool good = cut_start(&r, &plan, torture_mix(m->u->seed, image * 8 + m->u->number % 5));

	if (!good)
		return false;
	r.tap.hook = NULL;
	for (unsigned i = 0; i < STEPS && good; i++) {
		enum work_op op = world_draw(&r.world, (unsigned)image);
		/* What is prepared is not visible, so not compared. */
		good = op == WORK_PREPARE || cut_do(&r, op);
	}
	/* Every other image ends with a checkpoint: little is in the log then. */
	if (good && image % 2 == 1)
		good = cut_do(&r, WORK_CHECKPOINT);
	if (good && world_close(&r.world) != BOLE_OK)
		good = false;
	m->want = r.world.now;
	m->size = r.device->info.size_bytes;
	if (good)
		m->device = torture_twin(&m->disk, r.device);
	cut_end(&r);
	return good;
}

void torture_p6(struct torture_unit *u)
{
	static struct image m;
	uint64_t slice = u->number / torture_geometry_count % SLICES;

	struct torture_geometry geometry = *torture_geometry_of(u->number);

	geometry.no_discard = true;
	m = (struct image){.u = u, .g = &geometry};
	lean_init(&m.disk, 1);
	if (!make(&m))
		return;
	m.bytes = malloc(m.size);
	m.in_entry = calloc(1, m.size);
	bole_block_sim_peek(m.device, 0, m.bytes, m.size);
	find_entries(&m);
	uint64_t used = 0;
	for (uint64_t from = 0; from < m.size; from += GROUP) {
		static const uint8_t zero[GROUP];
		static uint8_t erased[GROUP];
		memset(erased, 0xff, sizeof erased);
		if (memcmp(m.bytes + from, zero, GROUP) == 0 ||
		    memcmp(m.bytes + from, erased, GROUP) == 0)
			continue; /* never written */
		if (used++ % SLICES == slice)
			for (unsigned i = 0; i < GROUP; i++)
				flip(&m, from + i);
	}
	if (u->verbose)
		(void)fprintf(stderr, "%llu of %llu bytes were written\n",
		              (unsigned long long)used * GROUP, (unsigned long long)m.size);
	free(m.bytes);
	free(m.in_entry);
	bole_block_close(m.device);
}
