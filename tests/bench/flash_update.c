/* SPDX-License-Identifier: ISC */
/* Updates of values of 100 to 1000 bytes on a device that is 50, 80 or 95 % full: each one puts the
 * new object and drops the old one. A hot set of 200 keys, four fifths of the updates in a fifth of
 * it; the rest of the device never changes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/load.h"
#include "support/suite_help.h"

enum {
	UPDATES_AT_80 = 200000,
	WEAR_MEAN = 15,
	HOT = 200,
	HOT_OF_HOT = 40,
	BATCH_MAX = 10,
	LOAD_BATCH = 64,
	LEN_MIN = 100,
	LEN_MAX = 1000,
	MEMORY = 2 << 20,
	UPDATES_FOR_WEAR = 3000000,
	STEPS = 2 /* of background work after an update, at most */
};

struct work {
	const struct keyed_ops *ops;
	const char *geometry;
	double fill;
	uint64_t updates;
	size_t batch;
	bool marks;    /* liveness is known from marks only */
	uint64_t size; /* of the device; 0 = its own */
	/* Wear is compared when blocks were erased so often in the mean. */
	double wear_mean;
	uint64_t seed;
};

struct seen {
	enum bole_status rc;
	uint64_t done;
	double wa;
	double erased;
	double ms;
	double worst_ms;
	struct flashdev_wear wear;
	uint64_t worn; /* updates that made the wear */
};

struct state {
	const struct work *w;
	struct flashdev *dev;
	struct keyed *k;
	struct load cold;
	struct load hot;
	struct phase phase;
	uint64_t unmarked; /* bytes of garbage that the store does not know of */
	uint64_t mark_at;
};

static size_t pick(struct state *s)
{
	if (bench_below(&s->hot.random, 5) != 0)
		return (size_t)bench_below(&s->hot.random, HOT_OF_HOT);
	return (size_t)bench_below(&s->hot.random, s->hot.count);
}

/* One transaction of batch updates of distinct keys. */
static enum bole_status update(struct state *s)
{
	const struct work *w = s->w;
	struct keyed_item put[BATCH_MAX];
	struct keyed_item drop[BATCH_MAX];
	size_t at[BATCH_MAX];
	struct phase_mark step;
	uint64_t user = 0;

	for (size_t i = 0; i < w->batch; i++) {
		bool again = true;
		while (again) {
			at[i] = pick(s);
			again = false;
			for (size_t j = 0; j < i; j++)
				again = again || at[j] == at[i];
		}
		drop[i] = put[i] = s->hot.items[at[i]];
		put[i].version++;
		put[i].len = LEN_MIN + (uint32_t)bench_below(&s->hot.random, LEN_MAX - LEN_MIN + 1);
		user += load_user(&put[i]);
		s->unmarked += load_user(&drop[i]);
	}
	phase_step(s->dev, &step);
	enum bole_status rc = w->ops->write(s->k, put, w->marks ? NULL : drop, w->batch);
	phase_stepped(&s->phase, s->dev, &step, rc == BOLE_OK ? user : 0);
	for (size_t i = 0; i < w->batch && rc == BOLE_OK; i++)
		s->hot.items[at[i]] = put[i];
	return rc;
}

static enum bole_status mark(struct state *s)
{
	const struct load *const loads[] = {&s->cold, &s->hot};
	struct bole_mark_result result;

	s->unmarked = 0;
	return load_mark(loads, 2, s->k, &result);
}

static enum bole_status fill(struct state *s)
{
	const struct work *w = s->w;
	/* Where a file takes a large block at least, 200 of them do not fit. */
	bool few = w->ops != &keyed_bole && strcmp(w->geometry, "nor64k") == 0;
	enum bole_status rc =
	        load_write(&s->hot, w->ops, s->k, false, few ? HOT_OF_HOT : HOT, 0, BATCH_MAX);

	if (rc == BOLE_OK)
		rc = load_write(&s->cold, w->ops, s->k, true, 0, w->fill, LOAD_BATCH);
	return rc;
}

static void verify(struct state *s)
{
	for (size_t i = 0; i < s->hot.count; i++) {
		enum bole_status rc = s->w->ops->get(s->k, &s->hot.items[i]);
		if (rc != BOLE_OK)
			bench_note("  hot object %zu, version %u: status %d", i,
			           s->hot.items[i].version, (int)rc);
		OK(rc);
	}
	if (s->w->ops == &keyed_bole)
		for (size_t i = 0; i < s->cold.count; i += 7)
			OK(s->w->ops->get(s->k, &s->cold.items[i]));
}

/* On until blocks were erased often enough for a comparison; what the phase counted stays. */
static enum bole_status wear_on(struct state *s, struct seen *seen)
{
	const struct phase counted = s->phase;
	enum bole_status rc = BOLE_OK;

	flashdev_wear(s->dev, &seen->wear);
	bench_note("after %llu updates: wear max/mean/min %.0f/%.1f/%.0f",
	           (unsigned long long)seen->done, seen->wear.max, seen->wear.mean, seen->wear.min);
	while (rc == BOLE_OK && seen->wear.mean < s->w->wear_mean &&
	       seen->worn < UPDATES_FOR_WEAR) {
		for (unsigned i = 0; i < 1000 && rc == BOLE_OK; i++) {
			rc = update(s);
			if (s->w->ops->background != NULL)
				s->w->ops->background(s->k, STEPS);
			seen->worn += s->w->batch;
		}
		flashdev_wear(s->dev, &seen->wear);
	}
	s->phase = counted;
	return rc;
}

static struct seen run(const struct work *w)
{
	struct state s = {.w = w,
	                  .dev = flashdev_open(w->geometry, w->size, w->ops != &keyed_bole)};
	struct phase_mark start;
	struct seen seen = {0};
	char what[64];

	const struct keyed_options options = {
	        .format = true, .memory_bytes_max = MEMORY, .background = true};

	s.k = w->ops->open(s.dev, &options);
	load_init(&s.cold, w->seed, LEN_MIN, LEN_MAX);
	load_init(&s.hot, w->seed + 1, LEN_MIN, LEN_MAX);
	/* Marks come when the unknown garbage is a third of what is free, at most 5 %. */
	double part = (1 - w->fill) / 3 < 0.05 ? (1 - w->fill) / 3 : 0.05;
	s.mark_at = (uint64_t)(part * (double)flashdev_block(s.dev)->info.size_bytes);
	seen.rc = fill(&s);
	phase_begin(&s.phase, s.dev, &start);
	while (seen.rc == BOLE_OK && seen.done < w->updates) {
		seen.rc = update(&s);
		if (seen.rc == BOLE_OK)
			seen.done += w->batch;
		if (w->ops->background != NULL)
			w->ops->background(s.k, STEPS);
		if (seen.rc == BOLE_OK && w->marks && s.unmarked >= s.mark_at)
			seen.rc = mark(&s);
	}
	phase_end(&s.phase, s.dev, &start);
	if (w->wear_mean > 0 && seen.rc == BOLE_OK)
		seen.rc = wear_on(&s, &seen);
	if (seen.done > 0)
		verify(&s);
	bench_name(what, "update, %.0f %% full, %s", 100 * w->fill, w->geometry);
	phase_note(&s.phase, what, s.dev, w->ops, s.k);
	if (seen.rc != BOLE_OK)
		bench_note("  ended after %llu updates, %zu cold ones: status %d",
		           (unsigned long long)seen.done, s.cold.count, (int)seen.rc);
	seen.wa = (double)s.phase.device.programmed / (double)s.phase.user;
	seen.erased = (double)s.phase.device.erased / (double)s.phase.user;
	seen.ms = (double)s.phase.device.ns * 1e-6 / (double)seen.done;
	seen.worst_ms = s.phase.worst_ms;
	flashdev_wear(s.dev, &seen.wear);
	seen.worn += seen.done;
	if (seen.rc == BOLE_OK)
		w->ops->close(s.k);
	load_free(&s.cold);
	load_free(&s.hot);
	flashdev_close(s.dev);
	return seen;
}

/* What is asked of each geometry, and the peer's published figures at 80 % (FLASH.md 5.2). */
struct geometry_case {
	const char *name;
	size_t batch;
	double wa_bar; /* NAN = none */
	double erased_bar;
	double wa;
	double erased;
	double wear;
};

/* Small ones will do for a check. */
static uint64_t size_of(const struct bench_args *args, const char *geometry)
{
	bool nor = strncmp(geometry, "nor", 3) == 0;

	return args->quick && !nor ? 40 << 20 : 0;
}

static void row(const char *name, double value, const char *unit, const char *peer, double theirs,
                double bar)
{
	bench_row(&(struct bench_row){name, value, unit, peer, theirs,
	                              isnan(bar) ? BENCH_NO_BAR : BENCH_AT_MOST, bar});
}

static void rows(const struct geometry_case *g, double fill, const struct seen *ours,
                 const struct seen *theirs, const char *peer, const char *how)
{
	bool bars = fill == 0.8;
	bool raw = strcmp(g->name, "sd") != 0;
	double none = (double)NAN;
	bool whole = ours->rc == BOLE_OK;
	char name[96];

#define NAME(what) bench_name(name, "update, %.0f %% full, %s%s: " what, 100 * fill, g->name, how)
	row(NAME("WA"), whole ? ours->wa : none, "x", peer, theirs->wa, bars ? g->wa_bar : none);
	if (raw)
		row(NAME("erased/user"), whole ? ours->erased : none, "x", peer, theirs->erased,
		    bars ? g->erased_bar : none);
	if (raw && bars)
		bench_note("%s: wear %.0f/%.1f/%.0f after %llu updates", g->name, ours->wear.max,
		           ours->wear.mean, ours->wear.min, (unsigned long long)ours->worn);
	if (raw && bars && peer != NULL && (!whole || ours->worn >= UPDATES_AT_80))
		row(NAME("wear max/mean"), whole ? ours->wear.max / ours->wear.mean : none, "x",
		    peer, theirs->wear.max / theirs->wear.mean, 1.5);
	row(NAME("device time"), ours->ms, "ms", peer, theirs->ms, none);
	row(NAME("worst commit"), ours->worst_ms, "ms", peer, theirs->worst_ms, none);
#undef NAME
}

struct update_case {
	const struct bench_args *args;
	const struct geometry_case *g;
	double fill;
};

static void one(const void *ctx)
{
	const struct update_case *c = ctx;
	const struct bench_args *args = c->args;
	const struct geometry_case *g = c->g;
	double fill = c->fill;
	const struct keyed_ops *peer = keyed_littlefs();
	uint64_t updates = fill == 0.8 ? UPDATES_AT_80 : UPDATES_AT_80 / 2;
	struct work w = {.ops = &keyed_bole,
	                 .geometry = g->name,
	                 .fill = fill,
	                 .updates = args->quick ? updates / 20 : updates,
	                 .batch = g->batch,
	                 .wear_mean = fill == 0.8 && !args->quick ? WEAR_MEAN : 0,
	                 .size = size_of(args, g->name),
	                 .seed = args->seed};
	struct seen theirs = {.ms = (double)NAN,
	                      .worst_ms = (double)NAN,
	                      .wa = g->wa,
	                      .erased = g->erased,
	                      .wear = {g->wear, 1, 0}};
	char name[96];

	struct seen ours = run(&w);
	if (peer != NULL) {
		struct work p = w;
		p.ops = peer;
		p.wear_mean = 0;
		p.updates = w.updates / (strcmp(g->name, "nor64k") == 0 ? 40 : 10);
		theirs = run(&p);
		if (theirs.rc != BOLE_OK)
			theirs.wa = theirs.erased = theirs.wear.max = (double)NAN;
	}
	rows(g, fill, &ours, &theirs, peer != NULL ? "littlefs" : "littlefs, published at 80 %",
	     g->batch > 1 ? ", 10 a commit" : "");
	if (fill == 0.95)
		bench_row(&(struct bench_row){
		        bench_name(name, "update, 95 %% full, %s: done of what was asked", g->name),
		        100.0 * (double)ours.done / (double)w.updates, "%", NULL, 0, BENCH_AT_LEAST,
		        100});
}

static void one_marked(const void *ctx)
{
	const struct update_case *c = ctx;
	const struct work w = {.ops = &keyed_bole,
	                       .geometry = c->g->name,
	                       .fill = c->fill,
	                       .updates = c->args->quick ? 5000 : 50000,
	                       .batch = c->g->batch,
	                       .marks = true,
	                       .size = size_of(c->args, c->g->name),
	                       .seed = c->args->seed};
	const struct seen none = {.wa = (double)NAN};

	struct seen ours = run(&w);
	rows(c->g, c->fill, &ours, &none, NULL,
	     w.batch > 1 ? ", 10 a commit, marks only" : ", marks only");
}

int main(int argc, char **argv)
{
	static const struct geometry_case cases[] = {
	        {"nor4k", 1, 1.5, 1.6, 1.58, 4.7, 4.8},   {"nor64k", 1, 1.5, 1.6, 1.56, 64, 5.3},
	        {"slcnand", 10, 1.7, NAN, 5.2, 5.2, 205}, {"slcnand", 1, NAN, NAN, 5.2, 5.2, 205},
	        {"sd", 1, NAN, NAN, 2.15, NAN, NAN},
	};
	static const double fills[] = {0.5, 0.8, 0.95};
	struct bench_args args;
	char name[96];

	bench_args(&args, argc, argv, "Skewed updates on a simulated flash device that is full.");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		for (size_t f = 0; f < 3; f++) {
			const struct update_case c = {&args, &cases[i], fills[f]};

			bench_name(name, "update, %.0f %% full, %s, %zu a commit", 100 * fills[f],
			           cases[i].name, cases[i].batch);
			if (!bench_wanted(&args, name))
				continue;
			bench_case(name, 900, one, &c);
			if (fills[f] == 0.8)
				bench_case(name, 900, one_marked, &c);
		}
	}
	return 0;
}
