/* SPDX-License-Identifier: ISC */
#include "bench/flashdev.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bole/block_sim.h"
#include "support/suite_help.h"

/* Nanoseconds of each operation: a start and a rate. */
struct times {
	uint32_t read_start;
	uint32_t read_kib;
	uint32_t program_start;
	uint32_t program_kib;
	uint32_t erase;
	uint32_t flush;
};

struct geometry {
	const char *name;
	uint64_t size;
	struct bole_block_sim_options o;
	struct times t;
};

static const struct geometry geometries[] = {
        {"nor4k",
         8 << 20,
         {.kind = BOLE_BLOCK_NOR, .read_unit = 1, .program_unit = 16, .erase_unit = 4096},
         {2000, 30000, 10000, 1600000, 45000000, 0}},
        {"nor64k",
         32 << 20,
         {.kind = BOLE_BLOCK_NOR, .read_unit = 1, .program_unit = 16, .erase_unit = 65536},
         {2000, 30000, 10000, 1600000, 150000000, 0}},
        {"slcnand",
         128 << 20,
         {.kind = BOLE_BLOCK_NAND, .read_unit = 2048, .program_unit = 2048, .erase_unit = 131072},
         {0, 37500, 0, 125000, 2000000, 0}},
        {"sd",
         128 << 20,
         {.kind = BOLE_BLOCK_MANAGED,
          .read_unit = 512,
          .program_unit = 512,
          .volatile_cache = true,
          .can_discard = true},
         {300000, 50000, 800000, 100000, 0, 1000000}},
        {"virtio",
         128 << 20,
         {.kind = BOLE_BLOCK_MANAGED,
          .read_unit = 512,
          .program_unit = 512,
          .volatile_cache = true,
          .can_discard = true},
         {60000, 1000, 20000, 1000, 0, 100000}},
};

struct flashdev {
	struct bole_block block;
	struct bole_block *base;
	const struct geometry *g;
	struct flashdev_counters count;
	uint32_t *wear;
	size_t blocks;
	void (*before)(void *ctx);
	void *ctx;
};

/* Memory of the simulation itself: plain, so that untouched pages cost nothing. */
static void *plain_resize(void *ctx, void *ptr, size_t old_size, size_t new_size, size_t align)
{
	(void)ctx;
	(void)old_size;
	(void)align;
	if (new_size == 0) {
		free(ptr);
		return NULL;
	}
	return realloc(ptr, new_size);
}
static struct bole_alloc plain = {.resize = plain_resize};

static struct flashdev *of(struct bole_block *block)
{
	return (struct flashdev *)block;
}

static void spend(struct flashdev *d, uint32_t start, uint32_t kib, uint64_t len)
{
	if (d->before != NULL)
		d->before(d->ctx);
	d->count.ns += start + kib * len / 1024;
}

static enum bole_status meter_read(struct bole_block *block, uint64_t off, void *dst, size_t len)
{
	struct flashdev *d = of(block);

	spend(d, d->g->t.read_start, d->g->t.read_kib, len);
	d->count.reads++;
	d->count.read_bytes += len;
	d->count.read_units += len / block->info.read_unit;
	return bole_block_read(d->base, off, dst, len);
}

static enum bole_status meter_programv(struct bole_block *block, uint64_t off,
                                       const struct bole_bytes *pieces, size_t count)
{
	struct flashdev *d = of(block);
	uint64_t len = 0;

	for (size_t i = 0; i < count; i++)
		len += pieces[i].len;
	spend(d, d->g->t.program_start, d->g->t.program_kib, len);
	d->count.programs++;
	d->count.programmed += len;
	return bole_block_programv(d->base, off, pieces, count);
}

static enum bole_status meter_erase(struct bole_block *block, uint64_t off, uint64_t len)
{
	struct flashdev *d = of(block);
	uint64_t first = off / block->info.erase_unit;
	uint64_t n = len / block->info.erase_unit;

	for (uint64_t i = 0; i < n; i++) {
		spend(d, d->g->t.erase, 0, 0);
		d->wear[first + i]++;
	}
	d->count.erases += n;
	d->count.erased += len;
	return bole_block_erase(d->base, off, len);
}

static enum bole_status meter_discard(struct bole_block *block, uint64_t off, uint64_t len)
{
	of(block)->count.discarded += len;
	return bole_block_discard(of(block)->base, off, len);
}

static enum bole_status meter_flush(struct bole_block *block)
{
	struct flashdev *d = of(block);

	if (block->info.volatile_cache)
		spend(d, d->g->t.flush, 0, 0);
	d->count.flushes++;
	return bole_block_flush(d->base);
}

static enum bole_status meter_is_bad(struct bole_block *block, uint64_t off, bool *bad)
{
	return bole_block_is_bad(of(block)->base, off, bad);
}

static enum bole_status meter_mark_bad(struct bole_block *block, uint64_t off)
{
	return bole_block_mark_bad(of(block)->base, off);
}

static enum bole_status meter_decaying(struct bole_block *block, uint64_t *off)
{
	return bole_block_next_decaying(of(block)->base, off);
}

static const struct bole_block_ops meter_ops = {
        .read = meter_read,
        .programv = meter_programv,
        .erase = meter_erase,
        .discard = meter_discard,
        .flush = meter_flush,
        .is_bad = meter_is_bad,
        .mark_bad = meter_mark_bad,
        .next_decaying = meter_decaying,
};

struct flashdev *flashdev_open(const char *name, uint64_t size)
{
	const struct geometry *g = geometries;
	struct flashdev *d = calloc(1, sizeof *d);

	while (strcmp(g->name, name) != 0)
		check(++g < geometries + sizeof geometries / sizeof *geometries);
	check(d != NULL);
	struct bole_block_sim_options o = g->o;
	o.size_bytes = size == 0 ? g->size : size;
	OK(bole_block_sim_open(&plain, &o, &d->base));
	d->g = g;
	d->block.ops = &meter_ops;
	d->block.info = d->base->info;
	if (o.erase_unit != 0) {
		d->blocks = (size_t)(o.size_bytes / o.erase_unit);
		d->wear = calloc(d->blocks, sizeof *d->wear);
		check(d->wear != NULL);
	}
	return d;
}

void flashdev_close(struct flashdev *d)
{
	bole_block_close(d->base);
	free(d->wear);
	free(d);
}

struct bole_block *flashdev_block(struct flashdev *d)
{
	return &d->block;
}

bool flashdev_is_raw(const struct flashdev *d)
{
	return d->block.info.needs_erase;
}

void flashdev_counters(const struct flashdev *d, struct flashdev_counters *out)
{
	*out = d->count;
}

struct flashdev_counters flashdev_since(const struct flashdev *d,
                                        const struct flashdev_counters *before)
{
	const struct flashdev_counters *now = &d->count;

	return (struct flashdev_counters){
	        .reads = now->reads - before->reads,
	        .read_bytes = now->read_bytes - before->read_bytes,
	        .read_units = now->read_units - before->read_units,
	        .programs = now->programs - before->programs,
	        .programmed = now->programmed - before->programmed,
	        .erases = now->erases - before->erases,
	        .erased = now->erased - before->erased,
	        .discarded = now->discarded - before->discarded,
	        .flushes = now->flushes - before->flushes,
	        .ns = now->ns - before->ns,
	};
}

void flashdev_wear(const struct flashdev *d, struct flashdev_wear *out)
{
	uint64_t sum = 0;
	uint32_t max = 0;
	uint32_t min = UINT32_MAX;

	for (size_t i = 0; i < d->blocks; i++) {
		sum += d->wear[i];
		max = d->wear[i] > max ? d->wear[i] : max;
		min = d->wear[i] < min ? d->wear[i] : min;
	}
	*out = (struct flashdev_wear){0, 0, 0};
	if (d->blocks != 0)
		*out = (struct flashdev_wear){max, (double)sum / (double)d->blocks, min};
}

void flashdev_wear_reset(struct flashdev *d)
{
	memset(d->wear, 0, d->blocks * sizeof *d->wear);
}

void flashdev_hook(struct flashdev *d, void (*before)(void *ctx), void *ctx)
{
	d->before = before;
	d->ctx = ctx;
}

double flashdev_erase_ms(const struct flashdev *d)
{
	return d->g->t.erase * 1e-6;
}
