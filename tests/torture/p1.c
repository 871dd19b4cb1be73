/* SPDX-License-Identifier: ISC */
/* P1 to P3: workloads of mixed operations on five kinds of device; power goes at every operation of
 * the device, and again while it recovers. */
#include "torture/programs.h"

enum { WORKLOADS = 64, STEPS = 16, STEPS_BULK = 28 };

/* Unit n is workload n / geometries % 64 on geometry n % geometries; then the next round. */
static void run(struct torture_unit *u, struct cut_plan *plan)
{
	static struct cut_run r;
	uint64_t workload = u->number / torture_geometry_count % WORKLOADS;
	uint64_t round = u->number / torture_geometry_count / WORKLOADS;
	unsigned flavour = (unsigned)workload % WORK_FLAVOURS;
	unsigned steps = flavour == 5 ? STEPS_BULK : STEPS;

	plan->unit = u;
	if (plan->geometry == NULL)
		plan->geometry = torture_geometry_of(u->number);
	if (!cut_start(&r, plan, torture_mix(u->seed, round << 16 | workload << 8 | u->number % 5)))
		return;
	r.world.small = flavour != 5;
	for (unsigned i = 0; i < steps; i++)
		if (!cut_do(&r, world_draw(&r.world, flavour)))
			break;
	cut_end(&r);
}

void torture_p1(struct torture_unit *u)
{
	struct cut_plan plan = {
	        .depth = 1, .chance = {1024}, .every_mode = true, .go_on = 2, .check_every = 4};

	run(u, &plan);
}

void torture_p2(struct torture_unit *u)
{
	struct cut_plan plan = {
	        .depth = 2, .chance = {64, 1024}, .every_mode = true, .go_on = 1, .check_every = 4};

	run(u, &plan);
}

void torture_p3(struct torture_unit *u)
{
	struct cut_plan plan = {
	        .depth = 3, .chance = {256, 512, 512}, .go_on = 2, .check_every = 4};

	run(u, &plan);
}

/* P4: what survives of the writes that were not flushed, all subsets of up to 12. */
void torture_p4(struct torture_unit *u)
{
	struct cut_plan plan = {.depth = 1,
	                        .chance = {1024},
	                        .subsets = true,
	                        .go_on = 1,
	                        .check_every = 4,
	                        .cuts_max = 1500};

	/* The last two geometries have a cache. */
	plan.geometry = &torture_geometries[3 + u->number % 2];
	run(u, &plan);
}
