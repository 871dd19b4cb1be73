/* SPDX-License-Identifier: ISC */
/* Packs that have an object in common: a client sent again what was there. */
#include <criterion/criterion.h>
#include <string.h>

#include "bole/block_sim.h"
#include "bole/repack.h"
#include "support/dagworld.h"
#include "support/suite_help.h"

static struct dagworld w;

/* A pack with some history on a branch of its own, and with one object more if it is given. */
static int push_some(int ref, int pieces, int again)
{
	int node = DAG_NONE;

	for (int i = 0; i < pieces; i++)
		node = dag_grow(&w, 4);
	if (again != DAG_NONE)
		dag_take(&w, again);
	cr_assert(dag_push(&w, true, ref, node));
	return node;
}

static unsigned count_packs(void)
{
	struct bole_extent_info info = {.extent = 0};
	struct bole_snapshot *snapshot;
	unsigned count = 0;

	OK(bole_snapshot_open(w.store, w.repo.id, &snapshot));
	while (bole_extent_next(snapshot, info.extent, &info) == BOLE_OK)
		count++;
	bole_snapshot_close(snapshot);
	return count;
}

/* Goal: two short packs are to be written anew, and one of them shares an object with a long one:
 * the choice is made again with that one in it. */
Test(repack, a_pack_that_shares_an_object_with_what_is_taken_is_taken_too)
{
	const struct bole_repack_options options = {.packs_min = 2};
	struct bole_block_sim_options sim;
	struct bole_repack_result result;
	struct test_platform test;
	struct bole_block *device;

	test_platform_init(&test, 1);
	OK(bole_block_sim_geometry("virtio", &sim));
	sim.size_bytes = 32 << 20;
	OK(bole_block_sim_open(&test.alloc, &sim, &device));
	dag_open(&w, device, test_algo(), 1);
	int shared = push_some(0, 60, DAG_NONE);
	push_some(1, 60, DAG_NONE);
	push_some(2, 400, shared);
	cr_assert_eq(count_packs(), 3);
	enum bole_status rc =
	        bole_repack(&w.test.base, &w.test.alloc, w.store, w.repo.id, &options, &result);
	cr_assert_eq(rc, BOLE_OK, "%s", result.error);
	cr_assert_eq(result.packs, 3);
	cr_assert_eq(count_packs(), 1);
	dag_close(&w);
	bole_block_close(device);
	test_platform_release(&test);
}
