/* SPDX-License-Identifier: ISC */
/* Power cuts on raw flash, where what was programmed once must not be programmed again. */
#include <criterion/criterion.h>

#include "unit/flash-model/model.h"

static const struct bole_block_sim_options raw_disk = {
        .kind = BOLE_BLOCK_NOR,
        .size_bytes = (4 << 20) + (128 << 10),
        .read_unit = 16,
        .program_unit = 16,
        .erase_unit = 4096,
};

static void cut_everywhere(unsigned clean_stop)
{
	static struct model m;
	uint64_t seed = test_seed(7);

	model_open(&m, seed, 12, true);
	for (int tear = BOLE_SIM_TEAR_RANDOM; tear <= BOLE_SIM_TEAR_KEEP; tear++) {
		struct model_cut c = {.disk = raw_disk,
		                      .tear = (enum bole_block_sim_tear)tear,
		                      .clean_stop = clean_stop};
		bool more = true;
		for (c.cut = 1; more; c.cut++) {
			c.torn_seed = seed ^ c.cut << 20;
			more = model_run_cut(&m, &c);
		}
	}
	model_close(&m);
}

/* Goal: recovery never programs a unit that the interrupted write may have reached. */
Test(flash_raw, a_cut_at_every_operation_leaves_before_or_after)
{
	cut_everywhere(0);
}

/* The log goes on behind a seal: what a cut left there must not be written over. */
Test(flash_raw, a_cut_after_a_clean_stop_leaves_before_or_after)
{
	cut_everywhere(6);
}
