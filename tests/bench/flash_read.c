/* SPDX-License-Identifier: ISC */
/* Reading on a device that is 80 % full, with a small cache: gets of 550-byte objects from records
 * and from inside a large pack; then a clean close, mount, and the first write. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/load.h"
#include "support/suite_help.h"

enum {
	VALUE = 550,
	PACK_HEAD_BYTES = 12,
	LOAD_BATCH_SIZE = 64,
	WARM = 300,
	PEER_FILES = 200,
	MEMORY = 1 << 20, /* of the store, cache included */
	CACHE = 64 << 10,
};

struct seen {
	double record_bytes;
	double record_reads;
	double pack_bytes;
	double pack_reads;
	double mount_ms;
	double mount_reads;
	double mount_bytes;
	double first_ms; /* the first write after the mount */
	size_t memory;
};

/* A pack of count blobs in one extent; the model gets its items. */
static void write_pack(struct load *l, struct keyed *k, size_t count)
{
	static uint8_t entry[KEYED_VALUE_MAX + KEYED_ENTRY_HEAD];
	uint8_t head[PACK_HEAD_BYTES] = {'P', 'A', 'C', 'K', 0, 0, 0, 2};
	struct bole_extent_row *rows = calloc(count, sizeof *rows);
	uint64_t at = sizeof head;
	uint64_t extent;
	struct bole_tx *tx;
	size_t failed;

	check(rows != NULL);
	for (int i = 0; i < 4; i++)
		head[8 + i] = (uint8_t)(count >> (24 - 8 * i));
	OK(bole_tx_begin(keyed_store(k), keyed_repo(k), &tx));
	OK(bole_tx_extent_begin(tx, &extent));
	OK(bole_tx_extent_append(tx, (struct bole_bytes){head, sizeof head}));
	for (size_t i = 0; i < count; i++) {
		struct keyed_item *item = load_add(l);
		size_t len = keyed_entry(item, entry);
		keyed_oid(item, &rows[i].oid);
		rows[i].offset = at;
		rows[i].stored_bytes = len;
		rows[i].type = BOLE_OBJECT_BLOB;
		OK(bole_tx_extent_append(tx, (struct bole_bytes){entry, len}));
		at += len;
	}
	OK(bole_tx_extent_finish(tx, rows, count));
	OK(bole_tx_commit(tx, NULL, 0, &failed));
	free(rows);
}

/* Device bytes and reads of a get, at random, once the little cache is in its usual state. */
static void get_some(const struct keyed_ops *ops, struct keyed *k, struct flashdev *dev,
                     struct load *l, size_t count, double *bytes, double *reads)
{
	struct flashdev_counters start;

	for (size_t i = 0; i < WARM + count; i++) {
		if (i == WARM)
			flashdev_counters(dev, &start);
		enum bole_status rc = ops->get(k, &l->items[bench_below(&l->random, l->count)]);
		if (rc != BOLE_OK && ops != &keyed_bole) {
			bench_note("  %s: a get ends with status %d", ops->name, (int)rc);
			*bytes = *reads = (double)NAN;
			return;
		}
		OK(rc);
	}
	struct flashdev_counters seen = flashdev_since(dev, &start);
	*bytes = (double)seen.read_bytes / (double)count / VALUE;
	*reads = (double)seen.reads / (double)count;
}

static void reopen(const struct keyed_ops *ops, struct keyed **k, struct flashdev *dev,
                   struct seen *seen)
{
	const struct keyed_options small = {
	        .memory_bytes_max = MEMORY, .cache_bytes = CACHE, .background = true};
	const struct keyed_item item = {.key = 77, .len = VALUE};
	struct flashdev_counters start;

	ops->close(*k);
	flashdev_counters(dev, &start);
	*k = ops->open(dev, &small);
	struct flashdev_counters mount = flashdev_since(dev, &start);
	seen->mount_ms = (double)mount.ns * 1e-6;
	seen->mount_reads = (double)mount.reads;
	seen->mount_bytes = (double)mount.read_bytes;
	flashdev_counters(dev, &start);
	OK(ops->write(*k, &item, NULL, 1));
	seen->first_ms = (double)flashdev_since(dev, &start).ns * 1e-6;
}

static struct seen run_bole(const char *geometry, const struct bench_args *args)
{
	struct flashdev *dev = flashdev_open(geometry, 0, false);
	struct keyed *k = keyed_bole.open(dev, &(struct keyed_options){.format = true});
	size_t pack = (size_t)(flashdev_block(dev)->info.size_bytes / 5 / VALUE);
	struct load records;
	struct load packed;
	struct seen seen = {0};

	pack = pack > 40000 ? 40000 : pack;
	load_init(&records, args->seed, VALUE, VALUE);
	load_init(&packed, args->seed + 1, VALUE, VALUE);
	write_pack(&packed, k, pack);
	OK(load_write(&records, &keyed_bole, k, false, 0, args->quick ? 0.4 : 0.8,
	              LOAD_BATCH_SIZE));
	reopen(&keyed_bole, &k, dev, &seen);
	size_t count = args->quick ? 500 : 3000;
	get_some(&keyed_bole, k, dev, &records, count, &seen.record_bytes, &seen.record_reads);
	get_some(&keyed_bole, k, dev, &packed, count, &seen.pack_bytes, &seen.pack_reads);
	seen.memory = keyed_bole.memory(k);
	bench_note(
	        "read, %s: %zu records, %zu objects in one pack; %.2f reads a get (pack %.2f); RAM "
	        "%zu; mount %.0f reads, %.0f bytes, %.2f ms",
	        geometry, records.count, packed.count, seen.record_reads, seen.pack_reads,
	        seen.memory, seen.mount_reads, seen.mount_bytes, seen.mount_ms);
	keyed_bole.close(k);
	load_free(&records);
	load_free(&packed);
	flashdev_close(dev);
	return seen;
}

static struct seen run_peer(const struct keyed_ops *ops, const char *geometry,
                            const struct bench_args *args)
{
	struct flashdev *dev = flashdev_open(geometry, 0, true);
	struct keyed *k = ops->open(dev, &(struct keyed_options){.format = true});
	size_t files = strcmp(geometry, "nor64k") == 0 ? PEER_FILES / 5 : PEER_FILES;
	struct load values;
	struct load cold;
	struct seen seen = {0};

	load_init(&values, args->seed, VALUE, VALUE);
	load_init(&cold, args->seed + 1, VALUE, VALUE);
	OK(load_write(&values, ops, k, false, files, 0, 1));
	OK(load_write(&cold, ops, k, true, 0, args->quick ? 0.4 : 0.7, LOAD_BATCH_SIZE));
	reopen(ops, &k, dev, &seen);
	get_some(ops, k, dev, &values, 300, &seen.record_bytes, &seen.record_reads);
	ops->close(k);
	load_free(&values);
	load_free(&cold);
	flashdev_close(dev);
	return seen;
}

/* What is asked of each geometry, and the peer's published figures (FLASH.md 5.2). */
struct read_case {
	const struct bench_args *args;
	const char *geometry;
	double bar; /* of the read amplification; NAN = none */
	double get;
	double mount_ms;
	double first_ms;
};

static void one(const void *ctx)
{
	const struct read_case *c = ctx;
	const struct keyed_ops *peer = keyed_littlefs();
	const char *who = peer != NULL ? "littlefs" : "littlefs, published";
	const char *g = c->geometry;
	enum bench_bar_kind kind = isnan(c->bar) ? BENCH_NO_BAR : BENCH_AT_MOST;
	struct seen theirs = {
	        .record_bytes = c->get, .mount_ms = c->mount_ms, .first_ms = c->first_ms};
	char name[96];

	struct seen ours = run_bole(g, c->args);
	if (peer != NULL)
		theirs = run_peer(peer, g, c->args);
	bench_row(&(struct bench_row){bench_name(name, "get 550 B, %s: bytes read/value", g),
	                              ours.record_bytes, "x", who, theirs.record_bytes, kind,
	                              c->bar});
	bench_row(&(struct bench_row){
	        bench_name(name, "get 550 B inside a large pack, %s: bytes read/value", g),
	        ours.pack_bytes, "x", who, theirs.record_bytes, kind, c->bar});
	bench_row(&(struct bench_row){bench_name(name, "mount, 80 %% full, %s", g), ours.mount_ms,
	                              "ms", who, theirs.mount_ms, BENCH_NO_BAR, 0});
	bench_row(&(struct bench_row){bench_name(name, "first write after it, %s", g),
	                              ours.first_ms, "ms", who, theirs.first_ms, BENCH_AT_MOST, 5});
}

int main(int argc, char **argv)
{
	static const struct read_case cases[] = {
	        {NULL, "nor4k", 10, 135, 9, 76},
	        {NULL, "nor64k", 10, 158, 6, 169},
	        {NULL, "slcnand", 12, 871, 162, 1380},
	        {NULL, "sd", NAN, 211, 94, 3370},
	};
	struct bench_args args;
	char name[96];

	bench_args(&args, argc, argv, "Gets, mount and first write on simulated flash, 80 % full.");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct read_case c = cases[i];

		c.args = &args;
		if (bench_wanted(&args, c.geometry))
			bench_case(bench_name(name, "read, %s", c.geometry), 600, one, &c);
	}
	return 0;
}
