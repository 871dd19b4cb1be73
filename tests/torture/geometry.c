/* SPDX-License-Identifier: ISC */
/* The devices that the regime runs on, small ones of each kind, and the manners in which power
 * leaves them. */
#include <stdlib.h>
#include <string.h>

#include "torture/torture.h"

enum { KIB = 1 << 10, MIB = 1 << 20 };

/* 256 segments and a few more. */
const struct torture_geometry torture_geometries[] = {
        {"nor4k", 4 * MIB + 128 * KIB, false},  {"nor64k", 16 * MIB + 512 * KIB, false},
        {"slcnand", 288 * 128 * KIB, false},    {"sd", 4 * MIB + 128 * KIB, false},
        {"virtio", 4 * MIB + 128 * KIB, false},
};
const unsigned torture_geometry_count = sizeof torture_geometries / sizeof *torture_geometries;

const struct torture_geometry *torture_geometry_of(uint64_t number)
{
	return &torture_geometries[number % torture_geometry_count];
}

struct bole_block *torture_device(struct lean *memory, const struct torture_geometry *g,
                                  uint64_t seed)
{
	struct bole_block_sim_options o;
	struct bole_block *device;

	if (bole_block_sim_geometry(g->name, &o) != BOLE_OK)
		abort();
	o.size_bytes = g->size_bytes;
	o.seed = seed;
	o.can_discard = o.can_discard && !g->no_discard;
	if (bole_block_sim_open(&memory->alloc, &o, &device) != BOLE_OK)
		abort();
	return device;
}

struct bole_block *torture_twin(struct lean *memory, struct bole_block *device)
{
	struct bole_block *twin;

	if (bole_block_sim_fork(&memory->alloc, device, &twin) != BOLE_OK)
		abort();
	return twin;
}

/* -- Cuts -- */

enum { DEVICE_ANY = 0, DEVICE_CACHED };

static const struct mode {
	const char *name;
	enum bole_block_sim_tear tear;
	enum bole_block_sim_unflushed unflushed;
	int device;
	bool torn; /* something must be under way that can be torn */
} modes[] = {
        {"none", BOLE_SIM_TEAR_NONE, BOLE_SIM_UNFLUSHED_RANDOM, DEVICE_ANY, false},
        {"done", BOLE_SIM_TEAR_DONE, BOLE_SIM_UNFLUSHED_RANDOM, DEVICE_ANY, true},
        {"prefix", BOLE_SIM_TEAR_PREFIX, BOLE_SIM_UNFLUSHED_RANDOM, DEVICE_ANY, true},
        {"bits", BOLE_SIM_TEAR_BITS, BOLE_SIM_UNFLUSHED_RANDOM, DEVICE_ANY, true},
        {"sectors", BOLE_SIM_TEAR_SECTORS, BOLE_SIM_UNFLUSHED_RANDOM, DEVICE_ANY, true},
        {"unstable-program", BOLE_SIM_TEAR_UNSTABLE_PROGRAM, BOLE_SIM_UNFLUSHED_RANDOM, DEVICE_ANY,
         true},
        {"unstable-erase", BOLE_SIM_TEAR_UNSTABLE_ERASE, BOLE_SIM_UNFLUSHED_RANDOM, DEVICE_ANY,
         true},
        {"drop", BOLE_SIM_TEAR_SECTORS, BOLE_SIM_UNFLUSHED_DROP, DEVICE_CACHED, false},
        {"keep", BOLE_SIM_TEAR_SECTORS, BOLE_SIM_UNFLUSHED_KEEP, DEVICE_CACHED, false},
};
const unsigned torture_mode_count = sizeof modes / sizeof *modes;

const char *torture_mode_name(unsigned mode)
{
	return modes[mode].name;
}

bool torture_mode_applies(const struct bole_block *device, unsigned mode, enum tap_kind kind)
{
	const struct mode *m = &modes[mode];

	if (!device->info.volatile_cache) {
		/* A finished program is durable: before one is after the one before. */
		if (kind == TAP_FLUSH)
			return false;
		return m->device != DEVICE_CACHED;
	}
	/* A flush is under way or not: what is torn is what was unflushed. */
	return kind != TAP_FLUSH || !m->torn || m->tear == BOLE_SIM_TEAR_DONE;
}

struct bole_block *torture_interrupt(struct lean *memory, struct bole_block *device,
                                     const struct tap_op *op, const struct torture_cut *cut,
                                     uint64_t seed)
{
	struct bole_block *twin = torture_twin(memory, device);
	struct bole_block_sim_cut how = {modes[cut->mode].tear, modes[cut->mode].unflushed, 0};

	if (cut->subset) {
		how.tear = BOLE_SIM_TEAR_NONE;
		how.unflushed =
		        cut->torn ? BOLE_SIM_UNFLUSHED_SUBSET_TORN : BOLE_SIM_UNFLUSHED_SUBSET;
		how.survivors = cut->survivors;
	}
	bole_block_sim_seed(twin, seed);
	bole_block_sim_plan_cut(twin, 1, &how);
	if (tap_issue(twin, op) == BOLE_OK && !bole_block_sim_is_off(twin))
		abort();
	/* An operation that fails for another reason is not counted: the cut would come later. */
	bole_block_sim_plan_cut(twin, 0, &how);
	bole_block_sim_power_on(twin);
	return twin;
}
