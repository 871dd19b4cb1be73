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
	struct flashdev *dev = flashdev_open(geometry, 0);
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

int main(int argc, char **argv)
{
	/* The peer's published figures: FLASH.md 5.2, an append of 100 bytes and a sync. */
	static const struct {
		const char *geometry;
		double bar;
		double wa;
		double erased;
	} cases[] = {
	        {"nor4k", 3, 25, 44},
	        {"nor64k", 3, 279, 655},
	        {"slcnand", NAN, 531, 1317},
	        {"sd", 6, 29, NAN},
	};
	const struct keyed_ops *peer = keyed_littlefs();
	const char *peer_name = peer != NULL ? "littlefs" : "littlefs, published";
	struct bench_args args;
	char name[96];

	bench_args(&args, argc, argv, "Durable appends of 100 bytes on simulated flash.");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *g = cases[i].geometry;

		if (!bench_wanted(&args, g))
			continue;
		struct seen ours = run(&keyed_bole, g, args.quick ? 2000 : 20000);
		struct seen theirs = {.wa = cases[i].wa,
		                      .erased = cases[i].erased,
		                      .ms = (double)NAN,
		                      .worst_ms = (double)NAN};
		if (peer != NULL)
			theirs = run(peer, g, args.quick ? 200 : 2000);
		bench_row(&(struct bench_row){bench_name(name, "append 100 B, %s: WA", g), ours.wa,
		                              "x", peer_name, theirs.wa,
		                              isnan(cases[i].bar) ? BENCH_NO_BAR : BENCH_AT_MOST,
		                              cases[i].bar});
		if (strcmp(g, "sd") != 0)
			bench_row(&(struct bench_row){
			        bench_name(name, "append 100 B, %s: erased/user", g), ours.erased,
			        "x", peer_name, theirs.erased, BENCH_NO_BAR, 0});
		bench_row(&(struct bench_row){bench_name(name, "append 100 B, %s: device time", g),
		                              ours.ms, "ms", peer_name, theirs.ms, BENCH_NO_BAR,
		                              0});
	}
	return 0;
}
