/* SPDX-License-Identifier: ISC */
/* A full device: objects of random sizes until "no space", many times over. At once a reference
 * must move and another go, deleting must work (by drop, or by a mark), and a push of less than
 * what was deleted. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/load.h"
#include "support/suite_help.h"

enum {
	GROUP = 4,
	LEN_SMALL = 2000,
	LEN_LARGE = 30000,
	MARK_EVERY = 4,
	CYCLES = 1000,
	SECONDS_MAX = 3600
};

struct full_case {
	const struct bench_args *args;
	const char *geometry;
	uint64_t size;
};

struct state {
	struct flashdev *dev;
	struct keyed *k;
	struct load l;
	uint64_t random;
	uint64_t refused;
	uint32_t large; /* length of an object, at most */
	double usable;  /* the least part of the capacity that user bytes had */
	double worst_ms;
};

/* Mostly small ones, some large. */
static struct keyed_item *draw(struct state *s)
{
	bool large = bench_below(&s->random, 8) == 0;

	s->l.len_min = 1;
	s->l.len_max = large ? s->large : LEN_SMALL;
	return load_add(&s->l);
}

static enum bole_status put_some(struct state *s, size_t n, uint64_t *bytes)
{
	size_t first = s->l.count;

	for (size_t i = 0; i < n; i++)
		(void)draw(s);
	enum bole_status rc = keyed_bole.write(s->k, s->l.items + first, NULL, n);
	if (rc != BOLE_OK) {
		s->l.count = first;
		return rc;
	}
	*bytes = 0;
	for (size_t i = 0; i < n; i++)
		*bytes += load_user(&s->l.items[first + i]);
	s->l.bytes += *bytes;
	return BOLE_OK;
}

static void fill(struct state *s)
{
	struct bole_store_stats stats;
	uint64_t bytes;
	enum bole_status rc;

	while ((rc = put_some(s, GROUP, &bytes)) == BOLE_OK)
		;
	while (rc == BOLE_E_NO_SPACE && put_some(s, 1, &bytes) == BOLE_OK)
		;
	check_eq(rc, BOLE_E_NO_SPACE);
	OK(bole_store_stats(keyed_store(s->k), &stats));
	double part = (double)s->l.bytes / (double)stats.capacity_bytes;
	s->usable = part < s->usable ? part : s->usable;
}

static void expect(struct state *s, enum bole_status rc, const char *what)
{
	if (rc == BOLE_OK)
		return;
	if (s->refused++ < 5)
		bench_note("  full: %s: status %d", what, (int)rc);
}

static enum bole_status move_reference(struct state *s, const char *name, bool remove)
{
	struct bole_ref_update update = {
	        .name = {(const uint8_t *)name, strlen(name)},
	        .action = remove ? BOLE_REF_DELETE : BOLE_REF_SET,
	};
	struct bole_tx *tx;
	size_t failed;

	keyed_oid(&s->l.items[bench_below(&s->random, s->l.count)], &update.oid);
	enum bole_status rc = bole_tx_begin(keyed_store(s->k), keyed_repo(s->k), &tx);
	return rc != BOLE_OK ? rc : bole_tx_commit(tx, &update, 1, &failed);
}

/* Takes a tenth of the bytes out of the model, at random; the others stay in order. */
static uint64_t forget(struct state *s, struct load *gone)
{
	uint64_t bytes = 0;
	size_t kept = 0;

	for (size_t i = 0; i < s->l.count; i++) {
		if (bench_below(&s->random, 10) == 0) {
			*load_add(gone) = s->l.items[i];
			bytes += load_user(&s->l.items[i]);
		} else {
			s->l.items[kept++] = s->l.items[i];
		}
	}
	s->l.count = kept;
	s->l.bytes -= bytes;
	return bytes;
}

static enum bole_status drop_all(struct state *s, const struct load *gone)
{
	struct bole_tx *tx;
	size_t failed;
	enum bole_status rc = bole_tx_begin(keyed_store(s->k), keyed_repo(s->k), &tx);

	if (rc != BOLE_OK)
		return rc;
	for (size_t i = 0; i < gone->count && rc == BOLE_OK; i++) {
		struct bole_oid oid;
		keyed_oid(&gone->items[i], &oid);
		rc = bole_tx_drop(tx, &oid);
	}
	if (rc == BOLE_OK)
		return bole_tx_commit(tx, NULL, 0, &failed);
	bole_tx_abort(tx);
	return rc;
}

static void cycle(struct state *s, uint64_t n)
{
	const struct load *const loads[] = {&s->l};
	struct bole_mark_result result;
	struct load gone;
	uint64_t bytes;
	char name[32];

	fill(s);
	expect(s, move_reference(s, bench_name(name, "refs/heads/b%u", (unsigned)(n % 50)), false),
	       "a reference");
	if (n % 50 == 49)
		expect(s, move_reference(s, name, true), "removal of a reference");
	load_init(&gone, n, 1, 1);
	uint64_t room = forget(s, &gone) / 2;
	if (n % MARK_EVERY == 0)
		expect(s, load_mark(loads, 1, s->k, &result), "a mark");
	else
		expect(s, drop_all(s, &gone), "drops");
	for (uint64_t done = 0; done < room; done += bytes) {
		enum bole_status rc = put_some(s, 1, &bytes);
		expect(s, rc, "a push");
		if (rc != BOLE_OK)
			break;
	}
	load_free(&gone);
}

static void one(const void *ctx)
{
	const struct full_case *c = ctx;
	uint64_t cycles = c->args->quick ? 10 : CYCLES;
	struct state s = {.usable = 1, .random = c->args->seed};
	char name[96];
	uint64_t n = 0;

	s.dev = flashdev_open(c->geometry, c->size, false);
	s.k = keyed_bole.open(s.dev, &(struct keyed_options){.format = true});
	uint64_t most = keyed_store(s.k)->info.record_bytes_max - KEYED_ENTRY_HEAD;
	s.large = most < LEN_LARGE ? (uint32_t)most : LEN_LARGE;
	load_init(&s.l, c->args->seed, 1, LEN_SMALL);
	for (; n < cycles && s.refused == 0; n++)
		cycle(&s, n);
	for (size_t i = 0; i < s.l.count; i++)
		OK(keyed_bole.get(s.k, &s.l.items[i]));
	struct flashdev_wear wear;
	flashdev_wear(s.dev, &wear);
	bench_note(
	        "full, %s: %llu times, at least %.1f %% of the capacity were keys and values; wear "
	        "%.0f/%.1f/%.0f",
	        c->geometry, (unsigned long long)n, 100 * s.usable, wear.max, wear.mean, wear.min);
	bench_row(&(struct bench_row){
	        bench_name(name, "full device, %s: refused deletes, references and pushes",
	                   c->geometry),
	        (double)s.refused, "of all", NULL, 0, BENCH_AT_MOST, 0});
	bench_row(&(struct bench_row){
	        bench_name(name, "full device, %s: keys and values of the capacity", c->geometry),
	        100 * s.usable, "%", NULL, 0, BENCH_NO_BAR, 0});
	keyed_bole.close(s.k);
	load_free(&s.l);
	flashdev_close(s.dev);
}

int main(int argc, char **argv)
{
	static const struct full_case cases[] = {
	        {NULL, "nor4k", 0},
	        {NULL, "nor64k", 0},
	        {NULL, "slcnand", 48 << 20},
	        {NULL, "sd", 48 << 20},
	};
	struct bench_args args;
	char name[96];

	bench_args(&args, argc, argv, "Fill to no space, delete, push at once.");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct full_case c = cases[i];

		c.args = &args;
		bench_name(name, "full device, %s", c.geometry);
		if (bench_wanted(&args, name))
			bench_case(name, SECONDS_MAX, one, &c);
	}
	return 0;
}
