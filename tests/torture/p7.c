/* SPDX-License-Identifier: ISC */
/* P7: raw flash with blocks that are bad from the factory, at every place near the start and at
 * drawn ones, and blocks that die at the n-th program or erase; power goes now and then all the
 * while. One block that dies costs nobody anything. */
#include "torture/programs.h"

enum {
	RAW_GEOMETRIES = 3,
	STEPS = 14,
	PLACES = 64, /* of one factory-bad block */
	DEATHS_MAX = 6,
	DEATH_WITHIN = 90, /* operations of the first death */
	DEATH_AGAIN = 40,
};

/* What a unit is about. */
enum { ABOUT_FACTORY, ABOUT_PROGRAM, ABOUT_ERASE, ABOUTS };

static void factory(struct cut_run *r)
{
	const struct bole_block_info *info = &r->device->info;
	uint64_t round = r->plan.unit->number / RAW_GEOMETRIES / ABOUTS;
	uint64_t blocks = info->size_bytes / info->erase_unit;
	uint64_t random = r->seed;

	if (r->plan.unit->number / RAW_GEOMETRIES % ABOUTS != ABOUT_FACTORY)
		return;
	if (round % 2 == 0) {
		bole_block_sim_factory_bad(r->device, (1 + round / 2 % PLACES) * info->erase_unit);
		return;
	}
	/* Up to 2 %. */
	for (uint64_t n = torture_random(&random) % (blocks / 50 + 1); n > 0; n--)
		bole_block_sim_factory_bad(r->device, (1 + torture_random(&random) % (blocks - 1)) *
		                                              info->erase_unit);
}

static uint64_t deaths(const struct cut_run *r)
{
	struct bole_block_sim_counters count;

	bole_block_sim_counters(r->device, &count);
	return count.dead_blocks;
}

void torture_p7(struct torture_unit *u)
{
	static struct cut_run r;
	uint64_t about = u->number / RAW_GEOMETRIES % ABOUTS;
	uint64_t round = u->number / RAW_GEOMETRIES / ABOUTS;
	enum bole_block_sim_fault fault =
	        about == ABOUT_PROGRAM ? BOLE_SIM_PROGRAM_KILLS : BOLE_SIM_ERASE_KILLS;
	struct cut_plan plan = {.unit = u,
	                        .geometry = torture_geometry_of(u->number % RAW_GEOMETRIES),
	                        .depth = 2,
	                        .chance = {128, 32},
	                        .go_on = 2,
	                        .check_every = 4,
	                        .blank = factory};
	uint64_t seen = 0;

	if (!cut_start(&r, &plan, torture_mix(u->seed, 7 << 20 | u->number)))
		return;
	r.world.small = round % 4 != 3;
	if (about != ABOUT_FACTORY)
		bole_block_sim_plan_fault(r.device, fault, 1 + round % DEATH_WITHIN, 0);
	for (unsigned i = 0; i < STEPS; i++) {
		if (!cut_do(&r, world_draw(&r.world, (unsigned)round)))
			break;
		if (deaths(&r) == seen || deaths(&r) >= DEATHS_MAX)
			continue;
		u->count.trials += deaths(&r) - seen;
		seen = deaths(&r);
		bole_block_sim_plan_fault(r.device, fault,
		                          1 + torture_random(&r.world.random) % DEATH_AGAIN, 0);
	}
	u->extra[0] += seen;
	u->extra[about == ABOUT_PROGRAM ? 1 : 2] += about == ABOUT_FACTORY ? 0 : seen;
	cut_end(&r);
}
