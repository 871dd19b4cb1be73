/* SPDX-License-Identifier: ISC */
/* Anchors under bad blocks, failures and cuts: the newest durable one is always found. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "bole/block_sim.h"
#include "bole/store.h"
#include "flash/log/tx.h"
#include "support/platform.h"
#include "support/suite_help.h"

static struct test_platform test;
static struct bole_block *device;

static void open_device(const char *name, uint64_t size)
{
	struct bole_block_sim_options o;

	test_platform_init(&test, 1);
	test.quiet = true;
	OK(bole_block_sim_geometry(name, &o));
	o.factory_bad_ppm = 0;
	if (size != 0)
		o.size_bytes = size;
	OK(bole_block_sim_open(&test.alloc, &o, &device));
}

static void close_device(void)
{
	bole_block_close(device);
	test_platform_release(&test);
}

/* Anchors alone, without a volume around them. */
struct anchors {
	struct bole_block *dev;
	struct flash_anchor a;
	struct flash_anchor_place place;
};

static void make(struct anchors *n, struct bole_block *dev)
{
	*n = (struct anchors){.dev = dev};
	OK(bole_flash_geometry(dev, 0, &n->a.geometry));
	OK(bole_flash_anchor_wipe(dev, &test.alloc, &n->a.geometry));
	uint32_t last = n->a.geometry.slots - 1;
	n->place = (struct flash_anchor_place){.at = {last, last}, .stale = {true, true}};
	n->a.volume[0] = 7;
}

static enum bole_status store(struct anchors *n)
{
	n->a.generation++;
	enum bole_status rc =
	        bole_flash_anchor_store(n->dev, &test.base, &test.alloc, &n->a, &n->place);
	if (rc != BOLE_OK)
		n->a.generation--;
	return rc;
}

/* As a mount does. Returns the generation that is found, 0 = none. */
static uint64_t find(struct anchors *n)
{
	struct flash_anchor a;

	if (bole_flash_anchor_load(n->dev, NULL, &test.alloc, &a, &n->place) != BOLE_OK)
		return 0;
	bole_flash_anchor_release(&test.alloc, &a);
	check_eq(memcmp(a.volume, n->a.volume, sizeof a.volume), 0);
	return a.generation;
}

static uint32_t violations(struct bole_block *dev)
{
	struct bole_block_sim_counters c;

	bole_block_sim_counters(dev, &c);
	return (uint32_t)c.violations;
}

static const struct {
	const char *name;
	uint64_t size;
} devices[] = {{"nor4k", 0}, {"nor64k", 0}, {"slcnand", 64 << 20}, {"sd", 8 << 20}};

/* Goal: the newest anchor is found at every point of the rings' rounds, with few reads. */
Test(flash_anchors, the_newest_is_found_wherever_the_ring_stands)
{
	for (size_t d = 0; d < 4; d++) {
		struct anchors n;
		struct bole_block_sim_counters before;
		struct bole_block_sim_counters after;
		uint64_t most = 0;
		open_device(devices[d].name, devices[d].size);
		make(&n, device);
		check_eq(find(&n), 0);
		n.a.generation = 1;
		OK(bole_flash_anchor_first(device, &test.base, &test.alloc, &n.a));
		check_eq(find(&n), 1);
		for (uint32_t i = 0; i < 3 * n.a.geometry.slots; i++) {
			OK(store(&n));
			if (i % 7 != 3)
				continue;
			bole_block_sim_counters(device, &before);
			check_eq(find(&n), n.a.generation);
			bole_block_sim_counters(device, &after);
			uint64_t reads = after.reads - before.reads;
			most = reads > most ? reads : most;
		}
		printf("%s: %u slots an area, %llu reads at most\n", devices[d].name,
		       n.a.geometry.slots, (unsigned long long)most);
		check(most <= 44);
		check_eq(violations(device), 0);
		close_device();
	}
}

/* Goal: a block of an area that is bad, unreadable, or dies under the ring costs nothing. Method:
 * every block of both areas, in each way, then as many anchors as two rounds need. */
Test(flash_anchors, any_one_block_of_the_areas_may_fail)
{
	for (size_t d = 0; d < 3; d++) {
		struct anchors first;
		open_device(devices[d].name, devices[d].size);
		make(&first, device);
		uint32_t unit = device->info.erase_unit;
		uint32_t round = unit / first.a.geometry.slot_bytes;
		for (uint32_t i = 0; i < 2 * round + 3; i++)
			OK(store(&first));
		uint64_t bytes = (uint64_t)first.a.geometry.slots * first.a.geometry.slot_bytes;
		for (uint64_t at = first.a.geometry.first; at < first.a.geometry.second + bytes;
		     at += unit) {
			for (int how = 0; how < 3; how++) {
				struct anchors n = first;
				uint8_t noise[4096];
				OK(bole_block_sim_clone(&test.alloc, device, &n.dev));
				memset(noise, 0x3c, sizeof noise);
				enum bole_status marked = BOLE_OK;
				if (how == 0)
					marked = bole_block_mark_bad(n.dev, at);
				check(marked == BOLE_OK || marked == BOLE_E_UNSUPPORTED);
				for (uint32_t p = 0; how == 1 && p < unit; p += sizeof noise)
					bole_block_sim_poke(n.dev, at + p, noise, sizeof noise);
				if (how == 2)
					bole_block_sim_kill_block(n.dev, at);
				check_eq(find(&n), n.a.generation);
				for (uint32_t i = 0; i < 3 * round; i++) {
					OK(store(&n));
					if (i % 5 == 0)
						check_eq(find(&n), n.a.generation);
				}
				check_eq(find(&n), n.a.generation);
				bole_block_close(n.dev);
			}
		}
		close_device();
	}
}

/* Goal: any one failing program or erase is survived, and the write that met it succeeds. */
Test(flash_anchors, any_one_failing_write_is_survived)
{
	static const enum bole_block_sim_fault faults[] = {
	        BOLE_SIM_PROGRAM_ERROR, BOLE_SIM_ERASE_ERROR, BOLE_SIM_PROGRAM_KILLS,
	        BOLE_SIM_ERASE_KILLS};

	for (size_t d = 0; d < 3; d++) {
		struct anchors first;
		open_device(devices[d].name, devices[d].size);
		make(&first, device);
		uint32_t round = device->info.erase_unit / first.a.geometry.slot_bytes;
		OK(store(&first));
		for (uint32_t k = 0; k<4 * (2 * round + 2); k += round> 16 ? 5 : 1) {
			struct anchors n = first;
			OK(bole_block_sim_clone(&test.alloc, device, &n.dev));
			bole_block_sim_plan_fault(n.dev, faults[k % 4], 1 + k / 4, UINT64_MAX);
			for (uint32_t i = 0; i < 2 * round; i++) {
				OK(store(&n));
				if (i % 3 == 0)
					check_eq(find(&n), n.a.generation);
			}
			check_eq(find(&n), n.a.generation);
			check_eq(violations(n.dev), 0);
			bole_block_close(n.dev);
		}
		close_device();
	}
}

/* Goal: a cut at any operation leaves the newest durable anchor, or the one in flight; nothing that
 * it interrupted is used again. Method: every operation of some rounds, every way of tearing, then
 * go on. */
Test(flash_anchors, cuts_at_every_operation_leave_the_newest)
{
	uint32_t cuts = 0;

	for (size_t d = 0; d < 4; d++) {
		struct anchors first;
		open_device(devices[d].name, devices[d].size);
		make(&first, device);
		for (uint32_t i = 0; i < 5; i++)
			OK(store(&first));
		for (uint64_t at = 1; at < 40; at++) {
			for (int tear = 0; tear < BOLE_SIM_TEARS; tear++) {
				struct anchors n = first;
				OK(bole_block_sim_clone(&test.alloc, device, &n.dev));
				bole_block_sim_cut_at(n.dev, at, (enum bole_block_sim_tear)tear);
				while (store(&n) == BOLE_OK)
					;
				bole_block_sim_power_on(n.dev);
				uint64_t found = find(&n);
				check(found == n.a.generation || found == n.a.generation + 1);
				n.a.generation = found;
				/* As a mount after an unclean stop does before anything else. */
				OK(store(&n));
				check_eq(find(&n), n.a.generation);
				for (uint32_t i = 0; i < 12; i++)
					OK(store(&n));
				check_eq(find(&n), n.a.generation);
				check_eq(violations(n.dev), 0);
				bole_block_close(n.dev);
				cuts++;
			}
		}
		close_device();
	}
	printf("%u cuts\n", cuts);
}

/* Goal: the areas wear less than the mean. Method: one checkpoint for every four segments of log
 * costs four erases. */
Test(flash_anchors, areas_wear_less_than_the_mean)
{
	for (size_t d = 0; d < 3; d++) {
		struct anchors n;
		open_device(devices[d].name, devices[d].size);
		make(&n, device);
		uint32_t rounds = 6 * n.a.geometry.slots;
		for (uint32_t i = 0; i < rounds; i++)
			OK(store(&n));
		uint32_t most = 0;
		for (uint64_t at = 0; at < n.a.geometry.area; at += device->info.erase_unit) {
			uint32_t erases = bole_block_sim_erases(device, at);
			most = erases > most ? erases : most;
		}
		double mean = (double)rounds * 4 / n.a.geometry.segments;
		printf("%s: %u anchors, %u erases at most, mean of the segments %.1f\n",
		       devices[d].name, rounds, most, mean);
		/* One is the wipe. */
		cr_assert_leq((double)most - 1, mean + 1);
		close_device();
	}
}

static uint64_t generation_of(struct bole_block *dev, uint8_t volume[ANCHOR_ID_BYTES])
{
	struct flash_anchor_place place;
	struct flash_anchor a;

	if (bole_flash_anchor_load(dev, NULL, &test.alloc, &a, &place) != BOLE_OK)
		return 0;
	memcpy(volume, a.volume, ANCHOR_ID_BYTES);
	bole_flash_anchor_release(&test.alloc, &a);
	return a.generation;
}

/* Goal: a format with another geometry leaves no older anchor that wins; cut anywhere, the device
 * holds the old volume at its newest, nothing, or the new one. */
Test(flash_anchors, a_format_leaves_nothing_older)
{
	for (size_t d = 0; d < 4; d++) {
		const struct bole_flash_format_options small = {.segment_bytes = 0};
		struct bole_flash_format_options large = {.segment_bytes = 0};
		uint8_t old[ANCHOR_ID_BYTES];
		uint8_t now[ANCHOR_ID_BYTES];
		struct flash_volume *v;
		struct flash_geometry g;
		open_device(devices[d].name, devices[d].size);
		OK(bole_flash_geometry(device, 0, &g));
		large.segment_bytes = d == 3 ? g.segment_bytes : 2 * g.segment_bytes;
		OK(bole_flash_format(device, &test.base, &small));
		OK(bole_flash_volume_open(device, &test.base, &test.alloc, NULL, &v));
		for (int i = 0; i < 20; i++)
			OK(bole_flash_checkpoint(v));
		OK(bole_flash_volume_close(v));
		uint64_t newest = generation_of(device, old);
		check(newest > 20);
		for (uint64_t at = 1;; at++) {
			struct bole_block *copy;
			OK(bole_block_sim_clone(&test.alloc, device, &copy));
			bole_block_sim_cut_at(copy, at, BOLE_SIM_TEAR_RANDOM);
			bool done = bole_flash_format(copy, &test.base, &large) == BOLE_OK;
			bole_block_sim_power_on(copy);
			uint64_t generation = generation_of(copy, now);
			bool same = memcmp(old, now, sizeof old) == 0;
			cr_assert(generation == 0 ||
			                  (same ? generation == newest && !done : generation == 1),
			          "%s: cut %llu: generation %llu", devices[d].name,
			          (unsigned long long)at, (unsigned long long)generation);
			check(!done || generation == 1);
			bole_block_close(copy);
			if (done)
				break;
		}
		close_device();
	}
}

/* Goal: two anchors of one number that tell of different checkpoints are in doubt. Method: one area
 * has what a cut left unstable, the other one what the mount after it wrote, which did not see it
 * and was cut, too. */
Test(flash_anchors, two_of_one_number_are_in_doubt)
{
	for (size_t d = 0; d < 4; d++) {
		struct anchors n;
		uint8_t slot[4096];
		open_device(devices[d].name, devices[d].size);
		make(&n, device);
		OK(store(&n));
		struct anchors other = n;
		OK(bole_block_sim_clone(&test.alloc, device, &other.dev));
		other.a.checkpoint++;
		OK(store(&other));
		OK(store(&n));
		check_eq(find(&n), n.a.generation);
		check(!n.place.doubt);
		uint32_t bytes = n.a.geometry.slot_bytes;
		uint64_t at = bole_flash_anchor_at(&n.a.geometry, 0, n.place.at[0]);
		check(bytes <= sizeof slot);
		OK(bole_block_read(other.dev, at, slot, bytes));
		bole_block_sim_poke(n.dev, at, slot, bytes);
		check_eq(find(&n), n.a.generation);
		check(n.place.doubt);
		OK(store(&n));
		check_eq(find(&n), n.a.generation);
		check(!n.place.doubt);
		bole_block_close(other.dev);
		close_device();
	}
}

/* -- What a cut left unstable --
 *
 * Slots that a cut may have reached hover: at each mount some of them read as what was written, and
 * others as nothing or as something else, until they are erased (managed: written) again. */

enum { HOVER_MAX = 256, SLOT_MAX = 4096 };

struct safe {
	struct bole_block *twin; /* the device when all that it was told until then was safe */
	bool flushed;
};

static struct {
	struct {
		uint64_t at;
		uint8_t bytes[SLOT_MAX];
	} slot[HOVER_MAX];
	unsigned count;
	uint32_t slot_bytes;
	uint64_t serial;   /* no two that are written are the same */
	struct safe *safe; /* while power may go */
} hover;

static void show(struct bole_block *dev, uint64_t seen, uint64_t blank)
{
	uint8_t bytes[SLOT_MAX];

	for (unsigned i = 0; i < hover.count; i++) {
		memcpy(bytes, hover.slot[i].bytes, hover.slot_bytes);
		if ((seen >> i % 64 & 1) == 0 && (blank >> i % 64 & 1) != 0)
			memset(bytes, 0xff, hover.slot_bytes);
		else if ((seen >> i % 64 & 1) == 0)
			bytes[hover.slot_bytes - 1] ^= 1;
		bole_block_sim_poke(dev, hover.slot[i].at, bytes, hover.slot_bytes);
	}
}

/* What is erased or written does not hover any more. */
static void hook(void *ctx, struct bole_block *dev, const struct bole_block_sim_operation *op)
{
	(void)ctx;
	if (hover.safe != NULL && (hover.safe->flushed || !dev->info.volatile_cache)) {
		bole_block_close(hover.safe->twin);
		OK(bole_block_sim_fork(&test.alloc, dev, &hover.safe->twin));
	}
	if (hover.safe != NULL)
		hover.safe->flushed = op->kind == BOLE_SIM_FLUSH;
	if (op->kind == BOLE_SIM_FLUSH)
		return;
	for (unsigned i = 0; i < hover.count;) {
		if (hover.slot[i].at >= op->off && hover.slot[i].at < op->off + op->len)
			hover.slot[i] = hover.slot[--hover.count];
		else
			i++;
	}
}

/* Every slot that is another one than before. */
static void note_written(const struct anchors *n, struct bole_block *before)
{
	const struct flash_geometry *g = &n->a.geometry;
	uint8_t was[SLOT_MAX];
	uint8_t is[SLOT_MAX];

	hover.slot_bytes = g->slot_bytes;
	for (uint32_t i = 0; i < 2 * g->slots; i++) {
		uint64_t at = bole_flash_anchor_at(g, i % 2, i / 2);
		bole_block_sim_peek(before, at, was, g->slot_bytes);
		bole_block_sim_peek(n->dev, at, is, g->slot_bytes);
		if (memcmp(was, is, g->slot_bytes) == 0 || bole_get_le64(is + 16) == 0 ||
		    memcmp(is, FLASH_ANCHOR_MAGIC, 8) != 0)
			continue;
		check(hover.count < HOVER_MAX);
		hover.slot[hover.count].at = at;
		memcpy(hover.slot[hover.count++].bytes, is, g->slot_bytes);
	}
}

/* Power goes in one of the first operations. True: it did. */
static bool cut_in(struct anchors *n, enum bole_status (*call)(struct anchors *), uint64_t *random)
{
	struct safe safe = {.flushed = true};

	hover.safe = &safe;
	bole_block_sim_cut_at(n->dev, 1 + test_random(random) % 8, BOLE_SIM_TEAR_DONE);
	enum bole_status rc = call(n);
	bool off = bole_block_sim_is_off(n->dev);
	check(off || rc == BOLE_OK);
	hover.safe = NULL;
	bole_block_sim_cut_at(n->dev, 0, BOLE_SIM_TEAR_NONE);
	bole_block_sim_power_on(n->dev);
	if (off)
		note_written(n, safe.twin);
	bole_block_close(safe.twin);
	return off;
}

static void load(struct anchors *n)
{
	OK(bole_flash_anchor_load(n->dev, NULL, &test.alloc, &n->a, &n->place));
	bole_flash_anchor_release(&test.alloc, &n->a);
}

static enum bole_status settle(struct anchors *n)
{
	n->a.compat = ++hover.serial;
	return bole_flash_anchor_settle(n->dev, &test.base, &test.alloc, &n->a, &n->place);
}

static enum bole_status checkpoint(struct anchors *n)
{
	n->a.compat = ++hover.serial;
	return store(n);
}

/* Cuts in an anchor and in the mounts after it, then a mount that is not cut, and a session. */
static void live(struct anchors *n, const char *name, uint64_t *random)
{
	enum { CUTS = 4, LOOKS = 6 };

	hover.count = 0;
	for (uint64_t k = test_random(random) % 9; k > 0; k--)
		OK(checkpoint(n));
	bool cut = cut_in(n, checkpoint, random);
	for (unsigned i = 0; i < CUTS && cut; i++) {
		show(n->dev, test_random(random) | test_random(random), test_random(random));
		load(n);
		cut = cut_in(n, settle, random);
	}
	show(n->dev, test_random(random) & test_random(random) & test_random(random),
	     test_random(random));
	load(n);
	OK(settle(n));
	for (uint64_t k = test_random(random) % 3; k > 0; k--)
		OK(checkpoint(n));
	for (unsigned i = 0; i < LOOKS; i++) {
		struct anchors seen = *n;
		show(n->dev, i == 0 ? UINT64_MAX : test_random(random), test_random(random));
		load(&seen);
		cr_assert(seen.a.compat == n->a.compat, "%s: anchor %llu, not %llu", name,
		          (unsigned long long)seen.a.generation,
		          (unsigned long long)n->a.generation);
	}
	/* What still hovers stays as it is: the next life begins. */
	show(n->dev, 0, test_random(random));
	load(n);
}

/* Goal: once a mount has settled an anchor, none of those that cuts before it have left is found
 * instead, ever. */
Test(flash_anchors, what_a_mount_settled_is_found_whatever_cuts_have_left)
{
	enum { LIVES = 200 };
	uint64_t random = test_seed(9);

	for (size_t d = 0; d < 4; d++) {
		struct anchors n;
		open_device(devices[d].name, d == 2 ? 16 << 20 : 8 << 20);
		make(&n, device);
		n.a.generation = 1;
		OK(bole_flash_anchor_first(device, &test.base, &test.alloc, &n.a));
		load(&n);
		hover.count = 0;
		bole_block_sim_set_hook(device, hook, NULL);
		for (unsigned i = 0; i < LIVES; i++)
			live(&n, devices[d].name, &random);
		check_eq(violations(device), 0);
		close_device();
	}
}
