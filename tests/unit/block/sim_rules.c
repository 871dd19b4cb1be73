/* SPDX-License-Identifier: ISC */
/* The rules of raw flash: each one broken is refused and counted, and nothing else is. */
#include "unit/block/sim.h"

#include <signal.h>

static void broken(struct bole_block *block, enum bole_block_sim_rule rule, uint64_t times)
{
	struct bole_block_sim_counters c = sim_counters(block);

	for (int r = 0; r < BOLE_SIM_RULES; r++)
		check_eq(c.broken[r], r == (int)rule ? times : 0);
	check_eq(c.violations, times);
}

Test(sim_rules, a_nand_page_is_programmed_once)
{
	sim_setup();
	struct bole_block *block = sim_named("slcnand", 1);
	OK(bole_block_program(block, 0, sim_bytes_of(0xf0, 2048), 2048));
	check_eq(bole_block_program(block, 0, sim_bytes_of(0, 2048), 2048), BOLE_E_IO);
	broken(block, BOLE_SIM_RULE_ERASED, 1);
	check_eq(sim_count_other(block, 0, 2048, 0xf0), 0);
	OK(bole_block_erase(block, 0, 128 << 10));
	OK(bole_block_program(block, 0, sim_bytes_of(0, 2048), 2048));
	broken(block, BOLE_SIM_RULE_ERASED, 1);
	bole_block_close(block);
	sim_teardown();
}

Test(sim_rules, nand_pages_are_programmed_in_ascending_order)
{
	sim_setup();
	struct bole_block *block = sim_named("slcnand", 1);
	OK(bole_block_program(block, 3 * 2048, sim_bytes_of(1, 2048), 2048));
	check_eq(bole_block_program(block, 2 * 2048, sim_bytes_of(1, 2048), 2048), BOLE_E_IO);
	broken(block, BOLE_SIM_RULE_ORDER, 1);
	OK(bole_block_program(block, 5 * 2048, sim_bytes_of(1, 2048), 2048));
	OK(bole_block_program(block, 128 << 10, sim_bytes_of(1, 2048), 2048));
	broken(block, BOLE_SIM_RULE_ORDER, 1);
	bole_block_close(block);
	sim_teardown();
}

Test(sim_rules, a_zone_is_written_without_gaps)
{
	sim_setup();
	struct bole_block *block = sim_named("zoned", 1);
	OK(bole_block_program(block, 0, sim_bytes_of(1, 4096), 4096));
	check_eq(bole_block_program(block, 8192, sim_bytes_of(1, 4096), 4096), BOLE_E_IO);
	broken(block, BOLE_SIM_RULE_ORDER, 1);
	OK(bole_block_program(block, 4096, sim_bytes_of(1, 4096), 4096));
	OK(bole_block_erase(block, 0, 1 << 20));
	OK(bole_block_program(block, 0, sim_bytes_of(2, 4096), 4096));
	broken(block, BOLE_SIM_RULE_ORDER, 1);
	bole_block_close(block);
	sim_teardown();
}

Test(sim_rules, nor_bits_are_only_cleared)
{
	sim_setup();
	struct bole_block *block = sim_named("nor4k", 1);
	OK(bole_block_program(block, 0, sim_bytes_of(0xf0, 64), 64));
	OK(bole_block_program(block, 16, sim_bytes_of(0x30, 16), 16));
	broken(block, BOLE_SIM_RULE_ERASED, 0);
	check_eq(sim_count_other(block, 16, 16, 0x30), 0);
	check_eq(bole_block_program(block, 16, sim_bytes_of(0x31, 16), 16), BOLE_E_IO);
	check_eq(sim_count_other(block, 16, 16, 0x30), 0);
	broken(block, BOLE_SIM_RULE_ERASED, 1);
	/* Any order. */
	OK(bole_block_program(block, 1024, sim_bytes_of(1, 16), 16));
	OK(bole_block_program(block, 512, sim_bytes_of(1, 16), 16));
	broken(block, BOLE_SIM_RULE_ERASED, 1);
	bole_block_close(block);
	sim_teardown();
}

Test(sim_rules, what_a_cut_interrupted_is_erased_first)
{
	const char *const names[] = {"nor4k", "slcnand"};

	sim_setup();
	for (unsigned n = 0; n < 2; n++) {
		for (int tear = 0; tear < BOLE_SIM_TEARS; tear++) {
			struct bole_block *block = sim_named(names[n], (uint64_t)tear);
			struct bole_block_sim_cut cut = sim_cut((enum bole_block_sim_tear)tear);
			size_t unit = block->info.program_unit;
			bole_block_sim_plan_cut(block, 1, &cut);
			check_eq(bole_block_program(block, 0, sim_bytes_of(5, unit), unit),
			         BOLE_E_IO);
			bole_block_sim_power_on(block);
			check_eq(bole_block_program(block, 0, sim_bytes_of(0xa, unit), unit),
			         BOLE_E_IO);
			check_eq(sim_counters(block).violations, 1);
			if (tear >= BOLE_SIM_TEAR_NONE && tear != BOLE_SIM_TEAR_DONE)
				broken(block, BOLE_SIM_RULE_INTERRUPTED, 1);
			OK(bole_block_erase(block, 0, block->info.erase_unit));
			OK(bole_block_program(block, 0, sim_bytes_of(0xa, unit), unit));
			check_eq(sim_count_other(block, 0, unit, 0xa), 0);
			check_eq(sim_counters(block).violations, 1);
			bole_block_close(block);
		}
	}
	sim_teardown();
}

/* Goal: a block whose erase was cut is erased again, even where it looks blank. */
Test(sim_rules, an_interrupted_erase_is_done_again)
{
	unsigned refused = 0;

	sim_setup();
	for (uint64_t seed = 0; seed < 64; seed++) {
		enum bole_block_sim_tear tear =
		        (enum bole_block_sim_tear)(BOLE_SIM_TEAR_PREFIX + seed % 5);
		struct bole_block *block = sim_named("nor4k", seed);
		OK(bole_block_program(block, 0, sim_bytes_of(0, 4096), 4096));
		bole_block_sim_cut_at(block, 1, tear);
		check_eq(bole_block_erase(block, 0, 4096), BOLE_E_IO);
		bole_block_sim_power_on(block);
		refused += bole_block_program(block, 0, sim_bytes_of(0, 16), 16) == BOLE_E_IO;
		refused += bole_block_program(block, 4080, sim_bytes_of(0, 16), 16) == BOLE_E_IO;
		check_eq(bole_block_sim_erases(block, 0), 1);
		OK(bole_block_erase(block, 0, 4096));
		OK(bole_block_program(block, 0, sim_bytes_of(0, 4096), 4096));
		bole_block_close(block);
	}
	check_eq(refused, 2 * 64);
	sim_teardown();
}

Test(sim_rules, a_factory_bad_block_loses_its_marker_when_touched)
{
	unsigned bad = 0;

	sim_setup();
	struct bole_block_sim_options o = sim_options("slcnand", 11);
	o.size_bytes = 256 << 20;
	o.factory_bad_ppm = 20000;
	struct bole_block *block = sim_open(&o);
	for (uint64_t at = 0; at < o.size_bytes; at += o.erase_unit) {
		bool is_bad;
		OK(bole_block_is_bad(block, at, &is_bad));
		if (!is_bad)
			continue;
		check(at != 0);
		bad++;
		if (bad % 2 == 0)
			check_eq(bole_block_erase(block, at, o.erase_unit), BOLE_E_IO);
		else
			check_eq(bole_block_program(block, at, sim_bytes_of(1, 2048), 2048),
			         BOLE_E_IO);
		broken(block, BOLE_SIM_RULE_BAD_BLOCK, bad);
		OK(bole_block_is_bad(block, at, &is_bad));
		check(!is_bad);
	}
	cr_assert_gt(bad, 20);
	cr_assert_lt(bad, 65);
	bole_block_close(block);
	sim_teardown();
}

Test(sim_rules, a_violation_may_end_the_program, .signal = SIGABRT)
{
	sim_setup();
	struct bole_block_sim_options o = sim_options("slcnand", 1);
	o.panic_on_violation = true;
	struct bole_block *block = sim_open(&o);
	OK(bole_block_program(block, 0, sim_bytes_of(1, 2048), 2048));
	(void)!bole_block_program(block, 0, sim_bytes_of(0, 2048), 2048);
}
