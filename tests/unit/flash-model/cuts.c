/* SPDX-License-Identifier: ISC */
/* Power cuts against the model. Environment: SEED, CUTS (how many times more; default 1). */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "unit/flash-model/model.h"

static uint64_t times(uint64_t n)
{
	const char *cuts = getenv("CUTS");

	return cuts == NULL ? n : n * strtoull(cuts, NULL, 10);
}

/* Goal: nothing acknowledged is lost and nothing half done is seen, wherever power goes. Method:
 * cut at every operation of short workloads, in every manner of tearing. */
Test(flash_model, a_cut_at_every_operation_leaves_before_or_after)
{
	uint64_t seed = test_seed(1);
	uint64_t runs = 0;

	for (uint64_t n = 0; n < times(3); n++) {
		static struct model m;
		model_open(&m, seed + n, 12, true);
		for (int tear = BOLE_SIM_TEAR_RANDOM; tear <= BOLE_SIM_TEAR_KEEP; tear++) {
			struct model_cut c = {.disk = model_disk,
			                      .tear = (enum bole_block_sim_tear)tear};
			bool more = true;
			for (c.cut = 1; more; c.cut++, runs++) {
				c.torn_seed = seed ^ c.cut << 20;
				more = model_run_cut(&m, &c);
			}
		}
		model_close(&m);
	}
	printf("%llu cuts\n", (unsigned long long)runs);
}

Test(flash_model, a_second_cut_during_recovery_changes_nothing)
{
	uint64_t seed = test_seed(2);

	for (uint64_t n = 0; n < times(150); n++) {
		static struct model m;
		uint64_t random = seed + n;
		if (n % 50 == 0) {
			if (n != 0)
				model_close(&m);
			model_open(&m, seed + n, 14, true);
		}
		struct model_cut c = {
		        .disk = model_disk,
		        .cut = 1 + test_random(&random) % 60,
		        .cut_again = 1 + test_random(&random) % 6,
		        .torn_seed = random,
		};
		(void)model_run_cut(&m, &c);
		if (n + 1 == times(150))
			model_close(&m);
	}
}

Test(flash_model, sampled_cuts_of_long_work_leave_before_or_after)
{
	uint64_t seed = test_seed(3);

	for (uint64_t n = 0; n < times(4); n++) {
		static struct model m;
		uint64_t random = seed * 77 + n;
		model_open(&m, seed + n, 120, false);
		for (uint64_t k = 0; k < 12; k++) {
			struct model_cut c = {
			        .disk = model_disk,
			        .cut = 1 + test_random(&random) % 1200,
			        .torn_seed = random,
			};
			(void)model_run_cut(&m, &c);
		}
		model_close(&m);
	}
}

/* The tests above can fail: without flushes they do. */
Test(flash_model, a_store_without_flushes_is_caught)
{
	static struct model m;
	unsigned caught = 0;
	unsigned runs = 0;

	model_open(&m, 4, 12, true);
	bool more = true;
	for (uint64_t cut = 1; more; cut++, runs++) {
		bool violated = false;
		struct model_cut c = {.disk = model_disk,
		                      .cut = cut,
		                      .no_flush = true,
		                      .violated = &violated,
		                      .torn_seed = cut};
		more = model_run_cut(&m, &c);
		caught += violated;
	}
	model_close(&m);
	printf("%u of %u cuts are caught\n", caught, runs);
	cr_assert_gt(caught, runs / 2);
}

static const struct bole_block_sim_options nor = {
        .kind = BOLE_BLOCK_NOR,
        .size_bytes = (4 << 20) + (64 << 10),
        .read_unit = 1,
        .program_unit = 16,
        .erase_unit = 4096,
};

static const struct bole_block_sim_options nand = {
        .kind = BOLE_BLOCK_NAND,
        .size_bytes = 300 * (32 << 10),
        .read_unit = 2048,
        .program_unit = 2048,
        .erase_unit = 32 << 10,
};

/* Goal: raw flash is kept to its rules (erase before program, a unit once) and survives cuts. */
Test(flash_model, raw_flash_is_used_by_its_rules)
{
	const struct bole_block_sim_options *disks[] = {&nor, &nand};
	uint64_t seed = test_seed(7);

	for (size_t d = 0; d < 2; d++) {
		static struct model m;
		bool more = true;
		model_open(&m, seed + d, 12, true);
		for (uint64_t cut = 1; more; cut += 1 + d) {
			struct model_cut c = {
			        .disk = *disks[d], .cut = cut, .torn_seed = seed ^ cut};
			more = model_run_cut(&m, &c);
		}
		model_close(&m);
	}
}
