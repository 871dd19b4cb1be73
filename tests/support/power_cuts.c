/* SPDX-License-Identifier: ISC */
#include "support/power_cuts.h"

#include "bole/block_sim.h"
#include "flash/checkpoint/anchor.h"
#include "support/suite_help.h"

static uint64_t ro_compat_of(struct power_cuts *p, struct bole_block *device)
{
	struct flash_anchor_place place;
	struct flash_anchor anchor;

	OK(bole_flash_anchor_load(device, &p->test->base, &p->test->alloc, &anchor, &place));
	bole_flash_anchor_release(&p->test->alloc, &anchor);
	return anchor.ro_compat;
}

/* False: the change was over before the operation that was to be cut. */
static bool cut_one(struct power_cuts *p, struct bole_block *base, uint32_t repo, uint64_t n,
                    enum bole_block_sim_tear tear)
{
	struct test_platform *test = p->test;
	struct bole_block *device;
	struct bole_store *store;

	OK(bole_block_sim_clone(&test->alloc, base, &device));
	bole_block_sim_seed(device, n);
	OK(bole_flash_open(device, &test->base, &test->alloc, NULL, &store));
	bole_block_sim_cut_at(device, n, tear);
	enum bole_status rc = p->change(store, repo);
	bool cut = bole_block_sim_is_off(device);
	(void)bole_store_close(store);
	bole_block_sim_cut_at(device, 0, BOLE_SIM_TEAR_RANDOM);
	bole_block_sim_power_on(device);
	uint64_t ro_compat = ro_compat_of(p, device);
	OK(bole_flash_open(device, &test->base, &test->alloc, NULL, &store));
	bool happened = p->happened(store, repo, ro_compat);
	check(happened || rc != BOLE_OK);
	p->cuts++;
	p->after += happened;
	OK(bole_store_close(store));
	bole_block_close(device);
	return cut;
}

void power_cuts_run(struct power_cuts *p, const char *geometry)
{
	struct test_platform *test = p->test;
	struct bole_block_sim_options options;
	struct bole_block *base;
	struct bole_store *store;
	struct bole_repo repo;

	test_platform_init(test, 5);
	test->quiet = true;
	OK(bole_block_sim_geometry(geometry, &options));
	options.seed = 3;
	OK(bole_block_sim_open(&test->alloc, &options, &base));
	OK(bole_flash_format(base, &test->base, NULL));
	OK(bole_flash_open(base, &test->base, &test->alloc, NULL, &store));
	OK(bole_repo_create(store, "r", test_algo(), "refs/heads/main", &repo));
	if (p->before != NULL)
		OK(p->before(store, repo.id));
	OK(bole_store_close(store));
	bool on = true;
	for (uint64_t n = 1; on; n++)
		for (int tear = 0; on && tear < BOLE_SIM_TEARS; tear++)
			on = cut_one(p, base, repo.id, n, (enum bole_block_sim_tear)tear);
	bole_block_close(base);
	test_platform_release(test);
}
