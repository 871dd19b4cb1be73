/* SPDX-License-Identifier: ISC */
#include "bench/flashdev.h"

#include <stdlib.h>
#include <string.h>

#include "bole/block_sim.h"
#include "support/suite_help.h"

struct flashdev {
	struct bole_block *block;
	struct bole_block_sim_options o;
};

/* Memory of the simulation itself, apart from the store's. */
static void *plain_resize(void *ctx, void *ptr, size_t old_size, size_t new_size, size_t align)
{
	(void)ctx;
	if (new_size == 0) {
		free(ptr);
		return NULL;
	}
	if (align <= sizeof(max_align_t))
		return realloc(ptr, new_size);
	void *moved = aligned_alloc(align, (new_size + align - 1) / align * align);
	if (moved != NULL && ptr != NULL)
		memcpy(moved, ptr, old_size < new_size ? old_size : new_size);
	if (moved != NULL)
		free(ptr);
	return moved;
}
static struct bole_alloc plain = {.resize = plain_resize};

struct flashdev *flashdev_open(const char *name, uint64_t size, bool perfect)
{
	struct flashdev *d = calloc(1, sizeof *d);

	check(d != NULL);
	OK(bole_block_sim_geometry(name, &d->o));
	if (size != 0)
		d->o.size_bytes = size;
	if (perfect)
		d->o.factory_bad_ppm = 0;
	d->o.seed = 1;
	OK(bole_block_sim_open(&plain, &d->o, &d->block));
	return d;
}

struct flashdev *flashdev_clone(const struct flashdev *d)
{
	struct flashdev *clone = calloc(1, sizeof *clone);

	check(clone != NULL);
	clone->o = d->o;
	OK(bole_block_sim_clone(&plain, d->block, &clone->block));
	return clone;
}

void flashdev_close(struct flashdev *d)
{
	struct bole_block_sim_counters c;

	bole_block_sim_counters(d->block, &c);
	check_eq(c.violations, 0);
	bole_block_close(d->block);
	free(d);
}

struct bole_block *flashdev_block(struct flashdev *d)
{
	return d->block;
}

bool flashdev_is_raw(const struct flashdev *d)
{
	return d->block->info.needs_erase;
}

void flashdev_counters(const struct flashdev *d, struct flashdev_counters *out)
{
	struct bole_block_sim_counters c;

	bole_block_sim_counters(d->block, &c);
	*out = (struct flashdev_counters){
	        .reads = c.reads,
	        .read_bytes = c.read_bytes,
	        .programs = c.programs,
	        .programmed = c.programmed_bytes,
	        .erases = c.erases,
	        .erased = c.erased_bytes,
	        .discarded = c.discarded_bytes,
	        .flushes = c.flushes,
	        .ns = c.device_ns,
	};
}

struct flashdev_counters flashdev_since(const struct flashdev *d,
                                        const struct flashdev_counters *before)
{
	struct flashdev_counters now;

	flashdev_counters(d, &now);
	return (struct flashdev_counters){
	        .reads = now.reads - before->reads,
	        .read_bytes = now.read_bytes - before->read_bytes,
	        .programs = now.programs - before->programs,
	        .programmed = now.programmed - before->programmed,
	        .erases = now.erases - before->erases,
	        .erased = now.erased - before->erased,
	        .discarded = now.discarded - before->discarded,
	        .flushes = now.flushes - before->flushes,
	        .ns = now.ns - before->ns,
	};
}

void flashdev_wear(const struct flashdev *d, struct flashdev_wear *out)
{
	struct bole_block_sim_wear w;

	*out = (struct flashdev_wear){0, 0, 0};
	if (!d->block->info.needs_erase)
		return;
	bole_block_sim_wear(d->block, &w);
	*out = (struct flashdev_wear){w.max, (double)w.sum / w.blocks, w.min};
}

double flashdev_erase_ms(const struct flashdev *d)
{
	return (double)d->o.times.erase_ns * 1e-6;
}
