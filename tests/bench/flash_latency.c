/* SPDX-License-Identifier: ISC */
/* How long commits take while background work goes on: updates arrive at random times, the device
 * does cleaning, merging and checkpoints whenever it is not wanted. Compared with the same arrivals
 * on a device that was empty, where there is next to nothing to do. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/load.h"
#include "bench/turns.h"
#include "support/suite_help.h"

enum {
	HOT = 200,
	LOAD_BATCH_SIZE = 64,
	LEN_MIN = 100,
	LEN_MAX = 1000,
	LOAD_PART = 3,
	IDLE_COMMITS = 300,
	GARBAGE = 200,       /* objects that a collection removes */
	OLD_SHARE = 4,       /* of the device: what it keeps */
	COLLECT_COMMITS = 5, /* times fewer than beside cleaning */
	WORST_MANAGED_MS = 50,
};

struct latency_case {
	const struct bench_args *args;
	const char *geometry;
	uint64_t size;
	bool worst; /* the bar is on the worst commit, else on the p99 */
};

struct seen {
	double p50;
	double p99;
	double worst;
	uint64_t count;
};

struct state {
	struct flashdev *dev;
	struct turns *turns;
	struct keyed *k;
	struct load cold;
	struct load hot;
	uint64_t random;
	double *ms;
	uint64_t steps;
	struct bole_repo other; /* that is collected */
	struct load old;
	uint64_t collections;
};

static bool maintain(void *ctx)
{
	const struct bole_maintain_options o = {.eagerness = 1};
	struct state *s = ctx;
	struct bole_maintain_report report;

	s->steps++;
	return bole_store_maintain(keyed_store(s->k), &o, &report) == BOLE_OK;
}

static void update(struct state *s)
{
	size_t at = (size_t)bench_below(&s->random, HOT);
	struct keyed_item drop = s->hot.items[at];
	struct keyed_item put = drop;

	put.version++;
	put.len = LEN_MIN + (uint32_t)bench_below(&s->random, LEN_MAX - LEN_MIN + 1);
	OK(keyed_bole.write(s->k, &put, &drop, 1));
	s->hot.items[at] = put;
}

/* Exponential, with this mean. */
static uint64_t gap(struct state *s, double mean_ns)
{
	double u = (double)(bench_below(&s->random, 1 << 20) + 1) / (1 << 20);

	return (uint64_t)(-log(u) * mean_ns);
}

static struct seen commits(struct state *s, uint64_t count, double mean_ns)
{
	uint64_t at = turns_now_ns(s->turns);

	for (uint64_t i = 0; i < count; i++) {
		at += gap(s, mean_ns);
		turns_idle_until(s->turns, at);
		update(s);
		s->ms[i] = (double)(turns_now_ns(s->turns) - at) * 1e-6;
	}
	return (struct seen){.p50 = bench_quantile(s->ms, count, 0.5),
	                     .p99 = bench_quantile(s->ms, count, 0.99),
	                     .worst = bench_quantile(s->ms, count, 1),
	                     .count = count};
}

static void start(struct state *s, const struct latency_case *c, double fill, uint64_t count)
{
	const struct keyed_options o = {.format = true, .background = true};

	s->dev = flashdev_open(c->geometry, c->size, false);
	s->turns = turns_open(flashdev_block(s->dev));
	s->k = keyed_bole_open_on(turns_block(s->turns), &o);
	s->random = c->args->seed;
	s->steps = 0;
	s->ms = calloc(count, sizeof *s->ms);
	check(s->ms != NULL);
	load_init(&s->hot, 1, LEN_MIN, LEN_MAX);
	load_init(&s->cold, 2, LEN_MIN, LEN_MAX);
	OK(load_write(&s->hot, &keyed_bole, s->k, false, HOT, 0, 10));
	if (fill > 0)
		OK(load_write(&s->cold, &keyed_bole, s->k, true, 0, fill, LOAD_BATCH_SIZE));
}

static void end(struct state *s)
{
	keyed_bole.close(s->k);
	turns_close(s->turns);
	flashdev_close(s->dev);
	load_free(&s->cold);
	load_free(&s->hot);
	free(s->ms);
}

/* -- Collections -- */

static void put_other(struct state *s, const struct keyed_item *items, size_t count, size_t batch)
{
	static uint8_t entry[KEYED_VALUE_MAX + KEYED_ENTRY_HEAD];
	struct bole_oid oid;
	struct bole_tx *tx;
	size_t failed;

	for (size_t done = 0; done < count; done += batch) {
		OK(bole_tx_begin(keyed_store(s->k), s->other.id, &tx));
		for (size_t i = done; i < count && i < done + batch; i++) {
			struct bole_bytes piece = {entry, keyed_entry(&items[i], entry)};
			keyed_oid(&items[i], &oid);
			OK(bole_tx_put(tx, &oid, BOLE_OBJECT_BLOB, &piece, 1));
		}
		OK(bole_tx_commit(tx, NULL, 0, &failed));
	}
}

/* Objects that nobody marks come and go; the others are marked one by one. */
static bool collect(void *ctx)
{
	struct state *s = ctx;
	struct bole_mark_result result;
	struct bole_mark *mark;
	struct bole_oid oid;
	bool fresh;

	if (maintain(s))
		return true;
	size_t keep = s->old.count;
	for (unsigned i = 0; i < GARBAGE; i++)
		(void)load_add(&s->old);
	for (size_t i = 0; i < GARBAGE; i++) {
		put_other(s, s->old.items + keep + i, 1, 1);
		while (maintain(s))
			;
	}
	s->old.count = keep;
	OK(bole_mark_begin(keyed_store(s->k), s->other.id, &mark));
	for (size_t i = 0; i < keep; i++) {
		keyed_oid(&s->old.items[i], &oid);
		OK(bole_mark_object(mark, &oid, &fresh));
	}
	OK(bole_mark_end(mark, &result));
	check_eq(result.objects_dropped, GARBAGE);
	s->collections++;
	return true;
}

/* Device time that an update takes in the long run, all work included. */
static double work_ns(struct state *s, uint64_t count)
{
	uint64_t before = turns_now_ns(s->turns);

	for (uint64_t i = 0; i < count; i++) {
		update(s);
		while (i % 16 == 0 && maintain(s))
			;
	}
	return (double)(turns_now_ns(s->turns) - before) / (double)count;
}

static void one(const void *ctx)
{
	const struct latency_case *c = ctx;
	uint64_t count = c->args->quick ? 3000 : 20000;
	struct state s;
	char name[96];

	start(&s, c, 0.8, count);
	double mean = LOAD_PART * work_ns(&s, count);
	turns_background(s.turns, maintain, &s);
	struct seen busy = commits(&s, count, mean);
	turns_stop(s.turns);
	double erase = flashdev_erase_ms(s.dev);
	uint64_t steps = s.steps;
	end(&s);
	start(&s, c, 0, count);
	turns_background(s.turns, maintain, &s);
	struct seen idle = commits(&s, IDLE_COMMITS, mean);
	turns_stop(s.turns);
	end(&s);
	bench_note(
	        "commits on %s every %.2f ms: p50 %.3f, p99 %.3f, worst %.3f ms with %llu steps of "
	        "background work; idle p50 %.3f, p99 %.3f, worst %.3f",
	        c->geometry, mean * 1e-6, busy.p50, busy.p99, busy.worst, (unsigned long long)steps,
	        idle.p50, idle.p99, idle.worst);
	bench_row(&(struct bench_row){
	        bench_name(name, "p99 of commits beside cleaning, %s", c->geometry), busy.p99, "ms",
	        "idle", idle.p99, c->worst ? BENCH_NO_BAR : BENCH_PEER_AT_MOST, 3});
	bench_row(&(struct bench_row){
	        bench_name(name, "worst commit beside cleaning, %s", c->geometry), busy.worst, "ms",
	        "idle", idle.worst, c->worst ? BENCH_AT_MOST : BENCH_NO_BAR, erase + 10});
}

static void one_collecting(const void *ctx)
{
	const struct latency_case *c = ctx;
	uint64_t count = (c->args->quick ? 3000 : 20000) / COLLECT_COMMITS;
	struct state s;
	char name[96];

	start(&s, c, 0, count);
	OK(bole_repo_create(keyed_store(s.k), "other", BOLE_HASH_SHA1, "refs/heads/a", &s.other));
	s.collections = 0;
	load_init(&s.old, 3, LEN_MIN, LEN_MAX);
	uint64_t size = flashdev_block(s.dev)->info.size_bytes / OLD_SHARE;
	for (uint64_t bytes = 0; bytes < size; bytes += load_user(&s.old.items[s.old.count - 1]))
		(void)load_add(&s.old);
	put_other(&s, s.old.items, s.old.count, LOAD_BATCH_SIZE);
	double mean = LOAD_PART * work_ns(&s, count);
	turns_background(s.turns, collect, &s);
	struct seen busy = commits(&s, count, mean);
	turns_stop(s.turns);
	bench_note("commits on %s every %.2f ms: p50 %.3f, p99 %.3f, worst %.3f ms with %llu "
	           "collections of %zu objects",
	           c->geometry, mean * 1e-6, busy.p50, busy.p99, busy.worst,
	           (unsigned long long)s.collections, s.old.count);
	bench_row(&(struct bench_row){
	        bench_name(name, "p99 of commits beside collections, %s", c->geometry), busy.p99,
	        "ms", NULL, 0, BENCH_NO_BAR, 0});
	bench_row(&(struct bench_row){
	        bench_name(name, "worst commit beside collections, %s", c->geometry), busy.worst,
	        "ms", NULL, 0, BENCH_AT_MOST,
	        c->worst ? flashdev_erase_ms(s.dev) + 10 : WORST_MANAGED_MS});
	load_free(&s.old);
	end(&s);
}

int main(int argc, char **argv)
{
	static const struct latency_case cases[] = {
	        {NULL, "sd", 64 << 20, false}, {NULL, "virtio", 64 << 20, false},
	        {NULL, "slcnand", 0, false},   {NULL, "nor4k", 0, true},
	        {NULL, "nor64k", 0, true},
	};
	struct bench_args args;
	char name[96];

	bench_args(&args, argc, argv, "Commits while the store cleans, merges and checkpoints.");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct latency_case c = cases[i];

		c.args = &args;
		bench_name(name, "commits beside cleaning, %s", c.geometry);
		if (bench_wanted(&args, name))
			bench_case(name, 900, one, &c);
		bench_name(name, "commits beside collections, %s", c.geometry);
		if (bench_wanted(&args, name))
			bench_case(name, 900, one_collecting, &c);
	}
	return 0;
}
