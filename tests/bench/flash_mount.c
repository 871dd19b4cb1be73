/* SPDX-License-Identifier: ISC */
/* Mounting a NAND of 1 GiB that holds 10^6 objects, in 2 MiB of memory; lookups after 100,000 small
 * pushes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/load.h"
#include "support/suite_help.h"

enum {
	MEMORY = 2 << 20,
	LEN_MIN = 100,
	LEN_MAX = 500,
	BATCH = 100,
	PUSH_OBJECTS = 3,
	PUSH_BRANCHES = 200,
	PUSH_COUNT = 100000,
	PHASES = 40,
	PHASE_OBJECTS = 1500, /* at most, between two stops */
	LOOKUPS = 3000,
};

/* Pages that mounts read, the least and the most, after stops at different times. */
struct span {
	double least;
	double most;
};

struct seen {
	double mount_pages;
	struct span clean;
	struct span cut;
	double mount_ms;
	double lookup_pages;
	double miss_pages;
	double memory_peak;
};

static void lookups(struct load *l, struct keyed *k, struct flashdev *dev, struct seen *seen)
{
	struct flashdev_counters start;
	struct bole_snapshot *s;

	for (unsigned i = 0; i < LOOKUPS; i++) {
		if (i == LOOKUPS / 10)
			flashdev_counters(dev, &start);
		OK(keyed_bole.get(k, &l->items[bench_below(&l->random, l->count)]));
	}
	seen->lookup_pages = (double)flashdev_since(dev, &start).reads / (LOOKUPS - LOOKUPS / 10);
	flashdev_counters(dev, &start);
	OK(bole_snapshot_open(keyed_store(k), keyed_repo(k), &s));
	for (unsigned i = 0; i < LOOKUPS; i++) {
		const struct keyed_item none = {.key = bench_random(&l->random), .version = 9};
		struct bole_entry entry;
		struct bole_oid oid;
		keyed_oid(&none, &oid);
		check_eq(bole_odb_find(s, &oid, &entry), BOLE_E_NOT_FOUND);
	}
	bole_snapshot_close(s);
	seen->miss_pages = (double)flashdev_since(dev, &start).reads / LOOKUPS;
}

static void measure(struct load *l, struct keyed **k, struct flashdev *dev, struct seen *seen)
{
	const struct keyed_options o = {.memory_bytes_max = MEMORY};
	struct flashdev_counters start;

	seen->memory_peak = (double)keyed_allocated(*k);
	keyed_bole.close(*k);
	flashdev_counters(dev, &start);
	*k = keyed_bole.open(dev, &o);
	struct flashdev_counters mount = flashdev_since(dev, &start);
	uint32_t page = flashdev_block(dev)->info.read_unit;
	seen->mount_pages = (double)mount.read_bytes / page;
	seen->mount_ms = (double)mount.ns * 1e-6;
	lookups(l, *k, dev, seen);
	if ((double)keyed_allocated(*k) > seen->memory_peak)
		seen->memory_peak = (double)keyed_allocated(*k);
}

static double pages_since(struct flashdev *dev, const struct flashdev_counters *start)
{
	return (double)flashdev_since(dev, start).read_bytes / flashdev_block(dev)->info.read_unit;
}

static void widen(struct span *span, double pages)
{
	span->least = span->least == 0 || pages < span->least ? pages : span->least;
	span->most = pages > span->most ? pages : span->most;
}

/* What a mount reads depends on how much was written since the last checkpoint, and since the last
 * whole one: stops at many times, clean and by cutting the power. */
static void phases(struct load *l, struct keyed **k, struct flashdev *dev, struct seen *seen)
{
	const struct keyed_options o = {.memory_bytes_max = MEMORY};
	struct flashdev_counters start;

	for (unsigned i = 0; i < PHASES; i++) {
		size_t more = 1 + (size_t)bench_below(&l->random, PHASE_OBJECTS);
		OK(load_write(l, &keyed_bole, *k, false, more, 0, BATCH));
		struct flashdev *cut = flashdev_clone(dev);
		flashdev_counters(cut, &start);
		struct keyed *other = keyed_bole.open(cut, &o);
		widen(&seen->cut, pages_since(cut, &start));
		keyed_bole.close(other);
		flashdev_close(cut);
		if (i % 4 != 3)
			continue;
		keyed_bole.close(*k);
		flashdev_counters(dev, &start);
		*k = keyed_bole.open(dev, &o);
		widen(&seen->clean, pages_since(dev, &start));
	}
}

static void note(const char *what, const struct load *l, const struct seen *s, struct keyed *k)
{
	struct bole_store_stats stats;

	OK(bole_store_stats(keyed_store(k), &stats));
	bench_note("%s: %zu objects, %.1f MB; mount %.0f pages, %.1f ms; %.2f reads a get, %.3f a "
	           "miss; RAM %.0f KiB at most; %u runs",
	           what, l->count, (double)l->bytes * 1e-6, s->mount_pages, s->mount_ms,
	           s->lookup_pages, s->miss_pages, s->memory_peak / 1024, stats.index_runs);
}

static struct seen mount_of(uint64_t size, size_t objects, uint64_t seed)
{
	struct flashdev *dev = flashdev_open("slcnand", size, false);
	const struct keyed_options o = {.format = true, .memory_bytes_max = MEMORY};
	struct keyed *k = keyed_bole.open(dev, &o);
	struct seen seen = {0};
	struct load l;
	char what[64];

	load_init(&l, seed, LEN_MIN, LEN_MAX);
	OK(load_write(&l, &keyed_bole, k, false, objects, 0, BATCH));
	measure(&l, &k, dev, &seen);
	note(bench_name(what, "mount of %llu MiB", (unsigned long long)size >> 20), &l, &seen, k);
	phases(&l, &k, dev, &seen);
	bench_note("  after %u stops: clean %.0f to %.0f pages, cut %.0f to %.0f", (unsigned)PHASES,
	           seen.clean.least, seen.clean.most, seen.cut.least, seen.cut.most);
	keyed_bole.close(k);
	load_free(&l);
	flashdev_close(dev);
	return seen;
}

/* A push: a few new objects and a branch that moves to the last. */
static void push(struct load *l, struct keyed *k, uint64_t n)
{
	static uint8_t entry[KEYED_VALUE_MAX + KEYED_ENTRY_HEAD];
	struct bole_ref_update update = {.action = BOLE_REF_SET};
	struct bole_tx *tx;
	char name[32];
	size_t failed;

	OK(bole_tx_begin(keyed_store(k), keyed_repo(k), &tx));
	for (unsigned i = 0; i < PUSH_OBJECTS; i++) {
		struct keyed_item *item = load_add(l);
		struct bole_bytes piece = {entry, keyed_entry(item, entry)};
		l->bytes += load_user(item);
		keyed_oid(item, &update.oid);
		OK(bole_tx_put(tx, &update.oid, BOLE_OBJECT_BLOB, &piece, 1));
	}
	update.name.ptr =
	        (const uint8_t *)bench_name(name, "refs/heads/b%u", (unsigned)(n % PUSH_BRANCHES));
	update.name.len = strlen(name);
	OK(bole_tx_commit(tx, &update, 1, &failed));
}

static struct seen pushes(const char *geometry, uint64_t size, uint64_t count, uint64_t seed)
{
	struct flashdev *dev = flashdev_open(geometry, size, false);
	const struct keyed_options o = {.format = true, .memory_bytes_max = MEMORY};
	struct keyed *k = keyed_bole.open(dev, &o);
	struct seen seen = {0};
	struct load l;
	char what[64];

	load_init(&l, seed, LEN_MIN, LEN_MAX);
	for (uint64_t n = 0; n < count; n++)
		push(&l, k, n);
	measure(&l, &k, dev, &seen);
	note(bench_name(what, "%llu pushes on %s", (unsigned long long)count, geometry), &l, &seen,
	     k);
	keyed_bole.close(k);
	load_free(&l);
	flashdev_close(dev);
	return seen;
}

static void row(const char *name, double value, const char *unit, double bar)
{
	bench_row(&(struct bench_row){name, value, unit, NULL, 0,
	                              isnan(bar) ? BENCH_NO_BAR : BENCH_AT_MOST, bar});
}

static void mounts(const void *ctx)
{
	const struct bench_args *args = ctx;
	uint64_t size = args->quick ? 128 << 20 : 1 << 30;
	size_t many = args->quick ? 100000 : 1000000;
	char name[96];

	struct seen few = mount_of(size, many / 10, args->seed);
	struct seen all = mount_of(size, many, args->seed);
	row(bench_name(name, "mount of a NAND, %zu objects", many), all.mount_pages, "pages", 700);
	row(bench_name(name, "mount of a NAND, %zu objects", many / 10), few.mount_pages, "pages",
	    700);
	row("mount of a NAND, ten times the objects", all.mount_pages / few.mount_pages, "x", 1.1);
	double least = few.clean.least < all.clean.least ? few.clean.least : all.clean.least;
	double most = few.clean.most > all.clean.most ? few.clean.most : all.clean.most;
	row("mount of a NAND, most / least whatever the number and the time", most / least, "x",
	    1.1);
	row("mount of a NAND after a cut, at most", all.cut.most, "pages", 700);
	row("mount of a NAND: device time", all.mount_ms, "ms", (double)NAN);
	row(bench_name(name, "memory of the store, %zu objects", many), all.memory_peak, "bytes",
	    MEMORY);
	row(bench_name(name, "get among %zu objects: reads", many), all.lookup_pages, "reads",
	    (double)NAN);
	row(bench_name(name, "miss among %zu objects: reads", many), all.miss_pages, "reads",
	    (double)NAN);
}

struct push_case {
	const struct bench_args *args;
	const char *geometry;
};

static void small_pushes(const void *ctx)
{
	const struct push_case *c = ctx;
	uint64_t count = c->args->quick ? PUSH_COUNT / 10 : PUSH_COUNT;
	uint64_t size = c->args->quick ? 128 << 20 : 640 << 20;
	char name[96];

	struct seen s = pushes(c->geometry, size, count, c->args->seed);
	row(bench_name(name, "get after %llu pushes, %s: page reads", (unsigned long long)count,
	               c->geometry),
	    s.lookup_pages, "reads", 3);
}

int main(int argc, char **argv)
{
	static const char *const geometries[] = {"slcnand", "sd"};
	struct bench_args args;
	char name[96];

	bench_args(&args, argc, argv, "Mount of a large NAND; lookups after many small pushes.");
	if (bench_wanted(&args, "mount"))
		bench_case("mount of a NAND", 1200, mounts, &args);
	for (size_t i = 0; i < 2; i++) {
		const struct push_case c = {&args, geometries[i]};

		bench_name(name, "small pushes, %s", c.geometry);
		if (bench_wanted(&args, name))
			bench_case(name, 900, small_pushes, &c);
	}
	return 0;
}
