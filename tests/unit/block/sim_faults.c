/* SPDX-License-Identifier: ISC */
/* What goes wrong on the simulated device without a power cut. */
#include "unit/block/sim.h"

enum { NAND_PAGE = 2048, NAND_BLOCK = 128 << 10 };

static uint8_t bytes[NAND_BLOCK];

/* -- The n-th call -- */

Test(sim_faults, the_nth_call_of_its_kind_fails_once)
{
	sim_setup();
	for (uint64_t n = 1; n <= 3; n++) {
		struct bole_block *block = sim_named("nor4k", 1);
		for (int f = BOLE_SIM_READ_ERROR; f <= BOLE_SIM_FLUSH_ERROR; f++)
			bole_block_sim_plan_fault(block, (enum bole_block_sim_fault)f, n, 0);
		for (uint64_t i = 1; i <= 4; i++) {
			enum bole_status want = i == n ? BOLE_E_IO : BOLE_OK;
			check_eq(bole_block_erase(block, 0, 4096), want);
			check_eq(bole_block_program(block, i * 16, sim_bytes_of(1, 16), 16), want);
			check_eq(bole_block_read(block, 0, bytes, 16), want);
			check_eq(bole_block_flush(block), want);
			/* A call that failed did nothing. */
			if (i == n)
				check_eq(sim_count_other(block, i * 16, 16, 0xff), 0);
		}
		check_eq(sim_counters(block).operations, 9);
		check_eq(bole_block_sim_erases(block, 0), 3);
		bole_block_close(block);
	}
	sim_teardown();
}

/* -- Other places, other times -- */

Test(sim_faults, a_lost_write_says_done)
{
	sim_setup();
	struct bole_block *block = sim_named("virtio", 1);
	OK(bole_block_program(block, 0, sim_bytes_of(1, 1024), 1024));
	bole_block_sim_plan_fault(block, BOLE_SIM_PROGRAM_LOST, 2, 0);
	OK(bole_block_program(block, 1024, sim_bytes_of(2, 1024), 1024));
	OK(bole_block_program(block, 0, sim_bytes_of(3, 1024), 1024));
	OK(bole_block_flush(block));
	check_eq(sim_count_other(block, 0, 1024, 1), 0);
	check_eq(sim_count_other(block, 1024, 1024, 2), 0);
	bole_block_close(block);
	sim_teardown();
}

Test(sim_faults, a_misdirected_write_hits_another_place)
{
	sim_setup();
	struct bole_block *block = sim_named("virtio", 1);
	OK(bole_block_program(block, 0, sim_bytes_of(1, 65536), 65536));
	bole_block_sim_plan_fault(block, BOLE_SIM_PROGRAM_MISDIRECTED, 1, 8192);
	OK(bole_block_program(block, 0, sim_bytes_of(2, 512), 512));
	check_eq(sim_count_other(block, 0, 8192, 1), 0);
	check_eq(sim_count_other(block, 8192, 512, 2), 0);
	check_eq(sim_count_other(block, 8704, 8192, 1), 0);
	/* A drawn place lies on the device. */
	for (uint64_t seed = 0; seed < 100; seed++) {
		bole_block_sim_seed(block, seed);
		bole_block_sim_plan_fault(block, BOLE_SIM_PROGRAM_MISDIRECTED, 1, UINT64_MAX);
		OK(bole_block_program(block, 0, sim_bytes_of(3, 4096), 4096));
	}
	bole_block_close(block);

	/* Over programmed cells bits can only be cleared. */
	block = sim_named("slcnand", 1);
	OK(bole_block_program(block, NAND_BLOCK, sim_bytes_of(0xf1, NAND_PAGE), NAND_PAGE));
	bole_block_sim_plan_fault(block, BOLE_SIM_PROGRAM_MISDIRECTED, 1, NAND_BLOCK);
	OK(bole_block_program(block, 0, sim_bytes_of(0x1f, NAND_PAGE), NAND_PAGE));
	check_eq(sim_count_other(block, 0, NAND_PAGE, 0xff), 0);
	check_eq(sim_count_other(block, NAND_BLOCK, NAND_PAGE, 0x11), 0);
	check_eq(sim_counters(block).violations, 0);
	bole_block_close(block);
	sim_teardown();
}

Test(sim_faults, reads_come_from_another_place_or_time)
{
	sim_setup();
	struct bole_block *block = sim_named("virtio", 1);
	OK(bole_block_program(block, 0, sim_bytes_of(1, 4096), 4096));
	OK(bole_block_program(block, 4096, sim_bytes_of(2, 4096), 4096));
	bole_block_sim_plan_fault(block, BOLE_SIM_READ_MISDIRECTED, 2, 4096);
	check_eq(sim_count_other(block, 0, 512, 1), 0);
	check_eq(sim_count_other(block, 0, 512, 2), 0);
	check_eq(sim_count_other(block, 0, 512, 1), 0);
	OK(bole_block_sim_remember(block));
	OK(bole_block_program(block, 0, sim_bytes_of(3, 4096), 4096));
	bole_block_sim_plan_fault(block, BOLE_SIM_READ_STALE, 2, 0);
	check_eq(sim_count_other(block, 0, 4096, 3), 0);
	check_eq(sim_count_other(block, 0, 4096, 1), 0);
	check_eq(sim_count_other(block, 0, 4096, 3), 0);
	OK(bole_block_sim_remember(block));
	bole_block_sim_plan_fault(block, BOLE_SIM_READ_STALE, 1, 0);
	check_eq(sim_count_other(block, 0, 4096, 3), 0);
	bole_block_close(block);
	sim_teardown();
}

Test(sim_faults, a_read_may_bring_one_wrong_bit)
{
	sim_setup();
	struct bole_block *block = sim_named("sd", 1);
	bole_block_sim_plan_fault(block, BOLE_SIM_READ_FLIP, 1, 0);
	check_eq(sim_count_other(block, 0, 4096, 0), 1);
	check_eq(sim_count_other(block, 0, 4096, 0), 0);
	bole_block_close(block);
	sim_teardown();
}

/* -- Codes -- */

static struct bole_block *written_nand(enum bole_block_sim_uncorrectable how)
{
	struct bole_block_sim_options o = sim_options("slcnand", 1);

	o.uncorrectable = how;
	struct bole_block *block = sim_open(&o);
	OK(bole_block_program(block, 0, sim_bytes_of(0x55, 4 * NAND_PAGE), 4 * NAND_PAGE));
	return block;
}

Test(sim_faults, the_code_corrects_as_many_bits_as_it_says)
{
	sim_setup();
	for (int how = BOLE_SIM_WRONG_BYTES; how <= BOLE_SIM_READ_FAILS; how++) {
		struct bole_block *block = written_nand((enum bole_block_sim_uncorrectable)how);
		/* Four in one piece of 512 bytes, and four in the next. */
		for (unsigned i = 0; i < 8; i++)
			bole_block_sim_flip(block, 512 + i * 128, 4);
		check_eq(sim_count_other(block, 0, NAND_PAGE, 0x55), 0);
		check_eq(sim_counters(block).corrected, 2);
		check_eq(sim_counters(block).uncorrectable, 0);
		bole_block_sim_flip(block, 1000, 2);
		if (how == BOLE_SIM_READ_FAILS)
			check_eq(bole_block_read(block, 0, bytes, NAND_PAGE), BOLE_E_IO);
		else
			check_eq(sim_count_other(block, 0, NAND_PAGE, 0x55), 5);
		check_eq(sim_counters(block).uncorrectable, 1);
		/* Other pages are none the worse, and erasing heals. */
		check_eq(sim_count_other(block, NAND_PAGE, NAND_PAGE, 0x55), 0);
		OK(bole_block_erase(block, 0, NAND_BLOCK));
		check_eq(sim_count_other(block, 0, NAND_PAGE, 0xff), 0);
		bole_block_close(block);
	}
	sim_teardown();
}

Test(sim_faults, without_a_code_flips_are_read)
{
	sim_setup();
	struct bole_block *block = sim_named("nor4k", 1);
	OK(bole_block_program(block, 0, sim_bytes_of(0x55, 64), 64));
	bole_block_sim_flip(block, 5, 1);
	OK(bole_block_read(block, 0, bytes, 64));
	check_eq(bytes[5], 0x54);
	check_eq(sim_count_other(block, 0, 64, 0x55), 1);
	bole_block_close(block);
	sim_teardown();
}

Test(sim_faults, what_needed_correction_is_reported_once_until_erased)
{
	uint64_t off;

	sim_setup();
	struct bole_block *block = written_nand(BOLE_SIM_READ_FAILS);
	OK(bole_block_program(block, 5 * NAND_BLOCK, sim_bytes_of(1, NAND_PAGE), NAND_PAGE));
	bole_block_sim_flip(block, 5 * NAND_BLOCK + 9, 1);
	check_eq(bole_block_next_decaying(block, &off), BOLE_END);
	check_eq(sim_count_other(block, 0, NAND_PAGE, 0x55), 0);
	check_eq(bole_block_next_decaying(block, &off), BOLE_END);
	check_eq(sim_count_other(block, 5 * NAND_BLOCK, NAND_PAGE, 1), 0);
	OK(bole_block_next_decaying(block, &off));
	check_eq(off, 5 * NAND_BLOCK);
	check_eq(bole_block_next_decaying(block, &off), BOLE_END);
	check_eq(sim_count_other(block, 5 * NAND_BLOCK, NAND_PAGE, 1), 0);
	check_eq(bole_block_next_decaying(block, &off), BOLE_END);
	/* Nor because another block follows. */
	bole_block_sim_flip(block, 7 * NAND_BLOCK, 1);
	check_eq(sim_count_other(block, 7 * NAND_BLOCK, NAND_PAGE, 0xff), 0);
	OK(bole_block_next_decaying(block, &off));
	check_eq(off, 7 * NAND_BLOCK);
	check_eq(bole_block_next_decaying(block, &off), BOLE_END);
	/* Who drives it forgets over a power cut, the cells do not. */
	bole_block_sim_cut_now(block, BOLE_SIM_TEAR_KEEP);
	bole_block_sim_power_on(block);
	check_eq(bole_block_next_decaying(block, &off), BOLE_END);
	check_eq(sim_count_other(block, 5 * NAND_BLOCK, NAND_PAGE, 1), 0);
	OK(bole_block_next_decaying(block, &off));
	check_eq(off, 5 * NAND_BLOCK);
	OK(bole_block_erase(block, 5 * NAND_BLOCK, NAND_BLOCK));
	OK(bole_block_program(block, 5 * NAND_BLOCK, sim_bytes_of(1, NAND_PAGE), NAND_PAGE));
	check_eq(sim_count_other(block, 5 * NAND_BLOCK, NAND_PAGE, 1), 0);
	check_eq(bole_block_next_decaying(block, &off), BOLE_END);
	bole_block_close(block);
	sim_teardown();
}

Test(sim_faults, retention_flips_as_many_bits_as_asked)
{
	sim_setup();
	struct bole_block_sim_options o = sim_options("slcnand", 1);
	o.ecc_bits = 0;
	struct bole_block *block = sim_open(&o);
	OK(bole_block_program(block, 0, sim_bytes_of(0x55, NAND_BLOCK), NAND_BLOCK));
	bole_block_sim_age(block, 0);
	check_eq(sim_count_other(block, 0, NAND_BLOCK, 0x55), 0);
	bole_block_sim_age(block, 500000);
	size_t wrong = sim_count_other(block, 0, NAND_BLOCK, 0x55);
	cr_assert_gt(wrong, 90);
	cr_assert_lt(wrong, 166);
	check_eq(sim_count_other(block, NAND_BLOCK, NAND_BLOCK, 0xff), 0);
	bole_block_close(block);
	sim_teardown();
}

/* Goal: a block that is read too often is reported at half of what it stands, then its bits go. */
Test(sim_faults, reads_disturb_a_block)
{
	uint64_t reported = 0;
	uint64_t corrected = 0;
	uint64_t failed = 0;

	sim_setup();
	struct bole_block_sim_options o = sim_options("slcnand", 1);
	o.disturb_reads = 1000;
	o.uncorrectable = BOLE_SIM_READ_FAILS;
	struct bole_block *block = sim_open(&o);
	OK(bole_block_program(block, 0, sim_bytes_of(0x55, NAND_BLOCK), NAND_BLOCK));
	for (uint64_t n = 1; n <= 200000 && failed == 0; n++) {
		uint64_t off;
		enum bole_status rc = bole_block_read(block, n % 64 * NAND_PAGE, bytes, NAND_PAGE);
		if (rc != BOLE_OK)
			failed = n;
		else if (corrected == 0 && sim_counters(block).corrected != 0)
			corrected = n;
		if (bole_block_next_decaying(block, &off) == BOLE_OK) {
			check_eq(reported, 0);
			reported = n;
		}
	}
	check_eq(reported, 500);
	cr_assert_geq(corrected, 1000);
	cr_assert_lt(corrected, 2000);
	cr_assert_gt(failed, 2 * corrected);
	OK(bole_block_erase(block, 0, NAND_BLOCK));
	OK(bole_block_program(block, 0, sim_bytes_of(0x55, NAND_BLOCK), NAND_BLOCK));
	corrected = sim_counters(block).corrected;
	for (unsigned n = 0; n < 900; n++)
		check_eq(sim_count_other(block, 0, NAND_PAGE, 0x55), 0);
	check_eq(sim_counters(block).corrected, corrected);
	bole_block_close(block);
	sim_teardown();
}

/* -- Blocks that die -- */

Test(sim_faults, a_program_or_an_erase_may_kill_its_block)
{
	sim_setup();
	struct bole_block *block = sim_named("slcnand", 1);
	OK(bole_block_program(block, 0, sim_bytes_of(1, NAND_PAGE), NAND_PAGE));
	bole_block_sim_plan_fault(block, BOLE_SIM_PROGRAM_KILLS, 1, 0);
	check_eq(bole_block_program(block, NAND_PAGE, sim_bytes_of(0, NAND_PAGE), NAND_PAGE),
	         BOLE_E_IO);
	/* What was there before can be read; the page that failed holds garbage. */
	check_eq(sim_count_other(block, 0, NAND_PAGE, 1), 0);
	cr_assert_gt(sim_count_other(block, NAND_PAGE, NAND_PAGE, 0), 1000);
	check_eq(bole_block_program(block, 2 * NAND_PAGE, sim_bytes_of(1, NAND_PAGE), NAND_PAGE),
	         BOLE_E_IO);
	check_eq(bole_block_erase(block, 0, NAND_BLOCK), BOLE_E_IO);

	OK(bole_block_program(block, NAND_BLOCK, sim_bytes_of(1, NAND_PAGE), NAND_PAGE));
	bole_block_sim_plan_fault(block, BOLE_SIM_ERASE_KILLS, 1, 0);
	check_eq(bole_block_erase(block, NAND_BLOCK, NAND_BLOCK), BOLE_E_IO);
	check_eq(sim_count_other(block, NAND_BLOCK, NAND_PAGE, 1), 0);
	check_eq(bole_block_erase(block, NAND_BLOCK, NAND_BLOCK), BOLE_E_IO);
	check_eq(sim_counters(block).dead_blocks, 2);
	check_eq(sim_counters(block).violations, 0);
	bool bad;
	OK(bole_block_is_bad(block, NAND_BLOCK, &bad));
	check(!bad);
	OK(bole_block_mark_bad(block, NAND_BLOCK));
	OK(bole_block_is_bad(block, NAND_BLOCK, &bad));
	check(bad);
	bole_block_close(block);
	sim_teardown();
}

Test(sim_faults, blocks_die_about_their_endurance)
{
	uint32_t least = UINT32_MAX;
	uint32_t most = 0;

	sim_setup();
	struct bole_block_sim_options o = sim_options("nor4k", 1);
	o.endurance = 200;
	struct bole_block *block = sim_open(&o);
	for (uint64_t at = 0; at < 64 * 4096; at += 4096) {
		while (bole_block_erase(block, at, 4096) == BOLE_OK)
			;
		uint32_t n = bole_block_sim_erases(block, at);
		least = n < least ? n : least;
		most = n > most ? n : most;
	}
	cr_assert_geq(least, 180);
	cr_assert_lt(least, 200);
	cr_assert_gt(most, 230);
	cr_assert_leq(most, 260);
	check_eq(sim_counters(block).dead_blocks, 64);
	bole_block_close(block);
	sim_teardown();
}

/* -- Looking in -- */

Test(sim_faults, peek_and_poke_pass_by_the_rules)
{
	sim_setup();
	struct bole_block *block = sim_named("slcnand", 1);
	OK(bole_block_program(block, 0, sim_bytes_of(0, NAND_PAGE), NAND_PAGE));
	bole_block_sim_poke(block, 100, sim_bytes_of(0xaa, 5000), 5000);
	bole_block_sim_peek(block, 0, bytes, 8192);
	check_eq(bytes[99], 0);
	check_eq(bytes[100], 0xaa);
	check_eq(bytes[5099], 0xaa);
	check_eq(bytes[5100], 0xff);
	check_eq(sim_count_other(block, NAND_PAGE, NAND_PAGE, 0xaa), 0);
	check_eq(sim_counters(block).violations, 0);
	check_eq(sim_counters(block).programs, 1);
	bole_block_close(block);
	sim_teardown();
}

Test(sim_faults, a_fork_takes_what_pends_and_a_clone_does_not)
{
	struct bole_block *fork;
	struct bole_block *clone;

	sim_setup();
	struct bole_block *block = sim_named("sd", 1);
	OK(bole_block_program(block, 0, sim_bytes_of(1, 512), 512));
	OK(bole_block_sim_remember(block));
	bole_block_sim_plan_fault(block, BOLE_SIM_READ_ERROR, 1, 0);
	bole_block_sim_cut_at(block, 2, BOLE_SIM_TEAR_DROP);
	OK(bole_block_sim_fork(&sim_platform.alloc, block, &fork));
	OK(bole_block_sim_clone(&sim_platform.alloc, block, &clone));
	bole_block_close(block);
	check_eq(bole_block_read(fork, 0, bytes, 512), BOLE_E_IO);
	OK(bole_block_read(clone, 0, bytes, 512));
	for (unsigned i = 0; i < 2; i++) {
		enum bole_status rc = bole_block_program(fork, 512, sim_bytes_of(2, 512), 512);
		check_eq(rc, i == 0 ? BOLE_OK : BOLE_E_IO);
		OK(bole_block_program(clone, 512, sim_bytes_of(3, 512), 512));
	}
	bole_block_sim_power_on(fork);
	check_eq(sim_count_other(fork, 0, 512, 0), 0);
	check_eq(sim_counters(clone).operations, 2);
	bole_block_sim_cut_now(clone, BOLE_SIM_TEAR_DROP);
	bole_block_sim_power_on(clone);
	check_eq(sim_count_other(clone, 0, 512, 1), 0);
	bole_block_close(fork);
	bole_block_close(clone);
	sim_teardown();
}
