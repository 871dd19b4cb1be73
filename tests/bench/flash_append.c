/* SPDX-License-Identifier: ISC */
/* Durable appends of 100 bytes, each a commit of its own, beside littlefs. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/keyed.h"
#include "support/suite_help.h"

enum { APPEND_BYTES = 100, APPEND_USER = APPEND_BYTES + KEYED_KEY_BYTES };

struct seen {
	double wa;
	double erased;
	double ms;
	double worst_ms;
};

static struct seen run(const struct keyed_ops *ops, const char *geometry, uint64_t count)
{
	struct flashdev *dev = flashdev_open(geometry, 0, ops != &keyed_bole);
	struct keyed *k = ops->open(dev, &(struct keyed_options){.format = true});
	struct flashdev_counters start;
	struct seen seen = {0};
	uint64_t done = 0;

	flashdev_counters(dev, &start);
	for (; done < count; done++) {
		struct flashdev_counters before;
		const struct keyed_item item = {.key = done, .len = APPEND_BYTES};

		flashdev_counters(dev, &before);
		if (ops->append(k, &item) != BOLE_OK)
			break;
		double ms = (double)flashdev_since(dev, &before).ns * 1e-6;
		seen.worst_ms = ms > seen.worst_ms ? ms : seen.worst_ms;
	}
	struct flashdev_counters all = flashdev_since(dev, &start);
	double user = (double)(done * APPEND_USER);
	seen.wa = (double)all.programmed / user;
	seen.erased = (double)all.erased / user;
	seen.ms = (double)all.ns * 1e-6 / (double)done;
	bench_note(
	        "%s on %s: %llu appends, %.2f programmed and %.2f erased a user byte, %.3f ms each "
	        "(worst %.1f), %zu bytes of RAM",
	        ops->name, geometry, (unsigned long long)done, seen.wa, seen.erased, seen.ms,
	        seen.worst_ms, ops->memory(k));
	ops->close(k);
	flashdev_close(dev);
	return seen;
}

/* What is asked of each geometry, and the peer's published figures (FLASH.md 5.2: an append of 100
 * bytes and a sync). */
struct append_case {
	const char *geometry;
	double bar;
	double wa;
	double erased;
	uint64_t count;
};

static void one(const void *ctx)
{
	const struct append_case *c = ctx;
	const struct keyed_ops *peer = keyed_littlefs();
	const char *who = peer != NULL ? "littlefs" : "littlefs, published";
	const char *g = c->geometry;
	struct seen theirs = {c->wa, c->erased, (double)NAN, (double)NAN};
	char name[96];

	struct seen ours = run(&keyed_bole, g, c->count);
	if (peer != NULL)
		theirs = run(peer, g, c->count / 10);
	bench_row(&(struct bench_row){bench_name(name, "append 100 B, %s: WA", g), ours.wa, "x",
	                              who, theirs.wa, isnan(c->bar) ? BENCH_NO_BAR : BENCH_AT_MOST,
	                              c->bar});
	if (strcmp(g, "sd") != 0)
		bench_row(&(struct bench_row){bench_name(name, "append 100 B, %s: erased/user", g),
		                              ours.erased, "x", who, theirs.erased, BENCH_NO_BAR,
		                              0});
	bench_row(&(struct bench_row){bench_name(name, "append 100 B, %s: device time", g), ours.ms,
	                              "ms", who, theirs.ms, BENCH_NO_BAR, 0});
	bench_row(&(struct bench_row){bench_name(name, "append 100 B, %s: worst", g), ours.worst_ms,
	                              "ms", who, theirs.worst_ms, BENCH_NO_BAR, 0});
}

int main(int argc, char **argv)
{
	static const struct append_case cases[] = {
	        {"nor4k", 3, 25, 44, 0},
	        {"nor64k", 3, 279, 655, 0},
	        {"slcnand", NAN, 531, 1317, 0},
	        {"sd", 6, 29, NAN, 0},
	};
	struct bench_args args;
	char name[96];

	bench_args(&args, argc, argv, "Durable appends of 100 bytes on simulated flash.");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct append_case c = cases[i];

		c.count = args.quick ? 2000 : 20000;
		if (bench_wanted(&args, c.geometry))
			bench_case(bench_name(name, "append 100 B, %s", c.geometry), 600, one, &c);
	}
	return 0;
}
