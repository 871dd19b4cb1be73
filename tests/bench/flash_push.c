/* SPDX-License-Identifier: ISC */
/* Cleaning under load: pushes as a Git server sees them, on an SD card that is 90 % full. Three of
 * ten branches are temporary and go within 1,000 pushes, with what only they held; every 5,000
 * pushes what came since and stays is copied into one new extent and the old records are dropped.
 * Old repositories go as new data comes, so the device stays 90 % full. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/load.h"
#include "support/suite_help.h"

enum {
	PUSHES = 100000,
	REPACK_EVERY = 5000,
	TEMPORARY_LIFE = 1000,
	OBJECTS_MAX = 8,
	LEN_MIN = 60,
	LEN_MAX = 1200,
	BRANCHES = 100,
	OLD_OBJECTS = 1500, /* of an old repository, in one extent */
	OLD_MAX = 4096,
	FILL_CHECK = 32,
	STEPS = 4, /* of maintenance between two pushes, at most */
	PACK_HEAD_BYTES = 12,
};

struct temporary {
	uint64_t push;
	uint64_t dies;
	struct keyed_item items[OBJECTS_MAX];
	size_t count;
};

struct state {
	const struct bench_args *args;
	struct flashdev *dev;
	struct keyed *k;
	struct load fresh;  /* permanent, since the last repack */
	struct load packed; /* permanent, repacked */
	struct temporary *temporary;
	size_t temporaries;
	uint64_t random;
	unsigned old_first;
	unsigned old_next;
	uint64_t user;     /* pushed */
	uint64_t repacked; /* handed over by repacks */
	double *commit_ms;
	size_t commits;
	bool drops_work;
	uint64_t stalls;
};

static double now_ms(struct state *s)
{
	struct flashdev_counters c;

	flashdev_counters(s->dev, &c);
	return (double)c.ns * 1e-6;
}

static void append_pack(struct bole_tx *tx, const struct keyed_item *items, size_t count)
{
	static uint8_t entry[KEYED_VALUE_MAX + KEYED_ENTRY_HEAD];
	uint8_t head[PACK_HEAD_BYTES] = {'P', 'A', 'C', 'K', 0, 0, 0, 2};
	struct bole_extent_row *rows = calloc(count, sizeof *rows);
	uint64_t at = sizeof head;
	uint64_t extent;

	check(rows != NULL);
	for (int i = 0; i < 4; i++)
		head[8 + i] = (uint8_t)(count >> (24 - 8 * i));
	OK(bole_tx_extent_begin(tx, &extent));
	OK(bole_tx_extent_append(tx, (struct bole_bytes){head, sizeof head}));
	for (size_t i = 0; i < count; i++) {
		size_t len = keyed_entry(&items[i], entry);
		keyed_oid(&items[i], &rows[i].oid);
		rows[i].offset = at;
		rows[i].stored_bytes = len;
		rows[i].type = BOLE_OBJECT_BLOB;
		OK(bole_tx_extent_append(tx, (struct bole_bytes){entry, len}));
		at += len;
	}
	OK(bole_tx_extent_finish(tx, rows, count));
	free(rows);
}

/* One more old repository: an extent in a domain of its own. */
static void add_old(struct state *s)
{
	struct load l;
	struct bole_repo repo;
	struct bole_tx *tx;
	char name[32];
	size_t failed;

	load_init(&l, s->old_next + 1000, LEN_MIN, LEN_MAX);
	for (unsigned i = 0; i < OLD_OBJECTS; i++)
		(void)load_add(&l);
	OK(bole_repo_create(keyed_store(s->k), bench_name(name, "old-%u", s->old_next),
	                    BOLE_HASH_SHA1, "refs/heads/main", &repo));
	OK(bole_tx_begin(keyed_store(s->k), repo.id, &tx));
	append_pack(tx, l.items, l.count);
	OK(bole_tx_commit(tx, NULL, 0, &failed));
	s->old_next++;
	load_free(&l);
}

static void remove_old(struct state *s)
{
	struct bole_repo repo;
	char name[32];

	if (s->old_first == s->old_next)
		return;
	OK(bole_repo_find(keyed_store(s->k), bench_name(name, "old-%u", s->old_first), &repo));
	OK(bole_repo_remove(keyed_store(s->k), repo.id));
	s->old_first++;
}

static void maintain(struct state *s)
{
	const struct bole_maintain_options o = {.eagerness = 1};
	struct bole_maintain_report report;

	for (unsigned i = 0; i < STEPS; i++)
		if (bole_store_maintain(keyed_store(s->k), &o, &report) != BOLE_OK)
			return;
}

static void push(struct state *s, uint64_t n)
{
	bool stays = bench_below(&s->random, 10) >= 3;
	struct temporary t = {.push = n,
	                      .dies = n + 1 + bench_below(&s->random, TEMPORARY_LIFE),
	                      .count = 1 + (size_t)bench_below(&s->random, OBJECTS_MAX)};
	static uint8_t entry[KEYED_VALUE_MAX + KEYED_ENTRY_HEAD];
	struct bole_ref_update update = {.action = BOLE_REF_SET};
	struct bole_tx *tx;
	char name[32];
	size_t failed;

	bench_name(name, stays ? "refs/heads/b%u" : "refs/heads/t%u",
	           (unsigned)(stays ? n % BRANCHES : n));
	update.name = (struct bole_bytes){(const uint8_t *)name, strlen(name)};
	double start = now_ms(s);
	OK(bole_tx_begin(keyed_store(s->k), keyed_repo(s->k), &tx));
	for (size_t i = 0; i < t.count; i++) {
		struct keyed_item *item = &t.items[i];
		*item = *load_add(&s->fresh);
		struct bole_bytes piece = {entry, keyed_entry(item, entry)};
		keyed_oid(item, &update.oid);
		OK(bole_tx_put(tx, &update.oid, BOLE_OBJECT_BLOB, &piece, 1));
		s->user += load_user(item);
	}
	OK(bole_tx_commit(tx, &update, 1, &failed));
	s->commit_ms[s->commits++] = now_ms(s) - start;
	s->user += update.name.len + KEYED_KEY_BYTES;
	if (!stays) {
		s->fresh.count -= t.count;
		s->temporary[s->temporaries++] = t;
	}
}

/* The branch goes, and with it what only it held. */
static void end_branch(struct state *s, const struct temporary *t)
{
	struct bole_ref_update update = {.action = BOLE_REF_DELETE};
	struct bole_tx *tx;
	char name[32];
	size_t failed;

	bench_name(name, "refs/heads/t%u", (unsigned)t->push);
	update.name = (struct bole_bytes){(const uint8_t *)name, strlen(name)};
	double start = now_ms(s);
	OK(bole_tx_begin(keyed_store(s->k), keyed_repo(s->k), &tx));
	for (size_t i = 0; i < t->count; i++) {
		struct bole_oid oid;
		keyed_oid(&t->items[i], &oid);
		OK(bole_tx_drop(tx, &oid));
	}
	OK(bole_tx_commit(tx, &update, 1, &failed));
	s->commit_ms[s->commits++] = now_ms(s) - start;
}

static void end_branches(struct state *s, uint64_t n)
{
	for (size_t i = 0; i < s->temporaries;) {
		if (s->temporary[i].dies > n) {
			i++;
			continue;
		}
		end_branch(s, &s->temporary[i]);
		s->temporary[i] = s->temporary[--s->temporaries];
	}
}

/* What came since and stays, in one extent; its records are dropped by the same commit. */
static void repack(struct state *s)
{
	struct bole_tx *tx;
	size_t failed;

	if (s->fresh.count == 0)
		return;
	OK(bole_tx_begin(keyed_store(s->k), keyed_repo(s->k), &tx));
	for (size_t i = 0; i < s->fresh.count; i++) {
		struct bole_oid oid;
		keyed_oid(&s->fresh.items[i], &oid);
		OK(bole_tx_drop(tx, &oid));
	}
	append_pack(tx, s->fresh.items, s->fresh.count);
	double start = now_ms(s);
	OK(bole_tx_commit(tx, NULL, 0, &failed));
	s->commit_ms[s->commits++] = now_ms(s) - start;
	for (size_t i = 0; i < s->fresh.count; i++) {
		s->repacked += load_user(&s->fresh.items[i]);
		*load_add(&s->packed) = s->fresh.items[i];
		if (i % 64 == 0)
			OK(keyed_bole.get(s->k, &s->fresh.items[i]));
	}
	s->fresh.count = 0;
}

static void keep_fill(struct state *s)
{
	while (keyed_bole.fill(s->k) > 0.9 && s->old_first < s->old_next)
		remove_old(s);
}

static void results(struct state *s, uint64_t pushes, const struct flashdev_counters *d)
{
	double handed = (double)(s->user + s->repacked);
	char name[96];

	bench_note("pushes: %llu of %.1f MB, repacks of %.1f MB; programmed %.1f MB; %u old "
	           "repositories of %u left",
	           (unsigned long long)pushes, (double)s->user * 1e-6, (double)s->repacked * 1e-6,
	           (double)d->programmed * 1e-6, s->old_next - s->old_first, s->old_next);
	bench_row(&(struct bench_row){
	        bench_name(name, "%llu pushes at 90 %% on sd: WA, of all that was handed over",
	                   (unsigned long long)pushes),
	        (double)d->programmed / handed, "x", NULL, 0, BENCH_AT_MOST, 1.3});
	bench_row(&(struct bench_row){"pushes at 90 % on sd: WA, repacks not counted as user bytes",
	                              (double)d->programmed / (double)s->user, "x", NULL, 0,
	                              BENCH_NO_BAR, 0});
	double median = bench_quantile(s->commit_ms, s->commits, 0.5);
	double p99 = bench_quantile(s->commit_ms, s->commits, 0.99);
	double worst = bench_quantile(s->commit_ms, s->commits, 1);
	bench_row(&(struct bench_row){"pushes at 90 % on sd: worst commit", worst, "ms", NULL, 0,
	                              BENCH_AT_MOST, 50});
	bench_row(&(struct bench_row){"pushes at 90 % on sd: p99 of commits", p99, "ms", "median",
	                              median, BENCH_NO_BAR, 0});
}

static void run(const void *ctx)
{
	struct state s = {.args = ctx, .random = 11};
	uint64_t pushes = s.args->quick ? PUSHES / 20 : PUSHES;
	uint64_t repack_every = s.args->quick ? REPACK_EVERY / 5 : REPACK_EVERY;
	struct flashdev_counters start;
	struct phase p = {0};

	s.dev = flashdev_open("sd", s.args->quick ? 48 << 20 : 320 << 20, false);
	s.k = keyed_bole.open(s.dev, &(struct keyed_options){.format = true, .background = true});
	load_init(&s.fresh, s.args->seed, LEN_MIN, LEN_MAX);
	load_init(&s.packed, 0, 1, 1);
	s.temporary = calloc(TEMPORARY_LIFE * 2, sizeof *s.temporary);
	s.commit_ms = calloc(pushes * 2 + pushes / repack_every + 1, sizeof *s.commit_ms);
	check(s.temporary != NULL && s.commit_ms != NULL);
	while (keyed_bole.fill(s.k) < 0.9 && s.old_next < OLD_MAX)
		add_old(&s);
	flashdev_counters(s.dev, &start);
	for (uint64_t n = 0; n < pushes; n++) {
		push(&s, n);
		end_branches(&s, n);
		if (n % repack_every == repack_every - 1)
			repack(&s);
		maintain(&s);
		if (n % FILL_CHECK == 0)
			keep_fill(&s);
	}
	p.device = flashdev_since(s.dev, &start);
	p.user = s.user;
	p.operations = s.commits;
	phase_note(&p, "pushes", s.dev, &keyed_bole, s.k);
	results(&s, pushes, &p.device);
	for (size_t i = 0; i < s.packed.count; i += 11)
		OK(keyed_bole.get(s.k, &s.packed.items[i]));
	keyed_bole.close(s.k);
	flashdev_close(s.dev);
	free(s.temporary);
	free(s.commit_ms);
	load_free(&s.fresh);
	load_free(&s.packed);
}

int main(int argc, char **argv)
{
	struct bench_args args;

	bench_args(&args, argc, argv, "Pushes like Git's on an SD card that is 90 % full.");
	if (bench_wanted(&args, "pushes at 90 % on sd"))
		bench_case("pushes at 90 % on sd", 1800, run, &args);
	return 0;
}
