/* SPDX-License-Identifier: ISC */
/* Power cuts of the simulated device: every way to leave the interrupted operation, every fate of
 * what was not flushed, exploring by forks. */
#include "unit/block/sim.h"

enum { SEEDS = 64, NAND_PAGE = 2048, NAND_BLOCK = 128 << 10 };

/* What seeds left of an operation, by looks. */
struct looks {
	unsigned old;
	unsigned new;
	unsigned mixed;
	unsigned unstable; /* two reads of it differ */
	unsigned beside;   /* something beside it changed */
};

struct cut_case {
	const char *name;
	size_t len;     /* of the write, at START */
	bool erase;     /* erase a written block instead */
	uint64_t start; /* of the write */
};

/* Bytes: 0x0f was written, blank is old (an erase: the other way round). */
static void look(struct bole_block *block, const struct cut_case *c, struct looks *l)
{
	static uint8_t a[NAND_BLOCK];
	static uint8_t b[NAND_BLOCK];
	uint8_t blank = block->info.needs_erase ? 0xff : 0;
	size_t differ = 0;

	for (unsigned turn = 0; turn < 8 && differ == 0; turn++) {
		OK(bole_block_read(block, c->start, a, c->len));
		OK(bole_block_read(block, c->start, b, c->len));
		differ += memcmp(a, b, c->len) != 0;
	}
	l->unstable += differ != 0;
	size_t written = 0;
	size_t blanks = 0;
	for (size_t i = 0; i < c->len; i++) {
		written += a[i] == 0x0f;
		blanks += a[i] == blank;
	}
	size_t new = c->erase ? blanks : written;
	size_t old = c->erase ? written : blanks;
	l->new += new == c->len;
	l->old += old == c->len;
	l->mixed += new != c->len &&old != c->len;
	if (!c->erase && sim_count_other(block, c->start + c->len, 16384, blank) != 0)
		l->beside++;
}

static struct looks cut_everywhere(const struct cut_case *c, enum bole_block_sim_tear tear)
{
	struct looks l = {0};

	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct bole_block *block = sim_named(c->name, seed * 7919 + 1);
		if (c->erase)
			for (size_t at = 0; at < c->len; at += block->info.program_unit)
				OK(bole_block_program(block, c->start + at,
				                      sim_bytes_of(0x0f, block->info.program_unit),
				                      block->info.program_unit));
		OK(bole_block_flush(block));
		bole_block_sim_cut_at(block, 1, tear);
		if (c->erase)
			check_eq(bole_block_erase(block, c->start, c->len), BOLE_E_IO);
		else
			check_eq(bole_block_program(block, c->start, sim_bytes_of(0x0f, c->len),
			                            c->len),
			         BOLE_E_IO);
		check(bole_block_sim_is_off(block));
		check_eq(bole_block_flush(block), BOLE_E_IO);
		bole_block_sim_power_on(block);
		look(block, c, &l);
		bole_block_close(block);
	}
	return l;
}

static const struct cut_case cases[] = {
        {.name = "slcnand", .len = NAND_PAGE, .start = 4 * NAND_PAGE},
        {.name = "slcnand", .len = 8 * NAND_PAGE, .start = 4 * NAND_PAGE},
        {.name = "slcnand", .len = NAND_BLOCK, .start = NAND_BLOCK, .erase = true},
        {.name = "nor4k", .len = 16, .start = 64},
        {.name = "nor4k", .len = 2048, .start = 80},
        {.name = "nor4k", .len = 4096, .start = 8192, .erase = true},
        {.name = "sd", .len = 512, .start = 1024},
        {.name = "sd", .len = 8192, .start = 1024},
        {.name = "virtio4k", .len = 8192, .start = 4096},
        {.name = "zoned", .len = 16384, .start = 0},
};

#define EACH_CASE(c) \
	for (const struct cut_case *c = cases; c < cases + sizeof cases / sizeof *cases; c++)

Test(sim_power, none_leaves_what_was)
{
	sim_setup();
	EACH_CASE(c)
	{
		struct looks l = cut_everywhere(c, BOLE_SIM_TEAR_NONE);
		check_eq(l.old, SEEDS);
		check_eq(l.unstable + l.beside, 0);
	}
	sim_teardown();
}

Test(sim_power, done_leaves_what_came)
{
	sim_setup();
	EACH_CASE(c)
	{
		struct looks l = cut_everywhere(c, BOLE_SIM_TEAR_DONE);
		check_eq(l.new, SEEDS);
		check_eq(l.unstable + l.beside, 0);
	}
	sim_teardown();
}

Test(sim_power, bits_and_sectors_and_prefixes_are_stable_mixtures)
{
	static const enum bole_block_sim_tear tears[] = {BOLE_SIM_TEAR_PREFIX, BOLE_SIM_TEAR_BITS,
	                                                 BOLE_SIM_TEAR_SECTORS};

	sim_setup();
	EACH_CASE(c)
	{
		for (unsigned i = 0; i < 3; i++) {
			struct looks l = cut_everywhere(c, tears[i]);
			check_eq(l.unstable + l.beside, 0);
			cr_assert_gt(l.mixed, SEEDS / 8, "%s %zu tear %d", c->name, c->len,
			             (int)tears[i]);
		}
	}
	sim_teardown();
}

Test(sim_power, unstable_units_read_differently)
{
	sim_setup();
	EACH_CASE(c)
	{
		for (int tear = BOLE_SIM_TEAR_UNSTABLE_PROGRAM;
		     tear <= BOLE_SIM_TEAR_UNSTABLE_ERASE; tear++) {
			struct looks l = cut_everywhere(c, (enum bole_block_sim_tear)tear);
			cr_assert_geq(l.unstable, SEEDS - 2, "%s %zu tear %d: %u", c->name, c->len,
			              tear, l.unstable);
			check_eq(l.beside, 0);
		}
	}
	sim_teardown();
}

Test(sim_power, the_old_ways_tear_too)
{
	sim_setup();
	EACH_CASE(c)
	{
		for (int tear = 0; tear <= BOLE_SIM_TEAR_KEEP; tear++) {
			struct looks l = cut_everywhere(c, (enum bole_block_sim_tear)tear);
			cr_assert_gt(l.old, 8);
			cr_assert_gt(l.new, 8);
			cr_assert_gt(l.mixed, 0);
			check_eq(l.unstable, 0);
		}
	}
	sim_teardown();
}

/* Goal: a prefix is one, at any byte. */
Test(sim_power, a_prefix_ends_somewhere)
{
	unsigned inside = 0;

	sim_setup();
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		uint8_t bytes[4096];
		struct bole_block *block = sim_named("sd", seed);
		bole_block_sim_cut_at(block, 1, BOLE_SIM_TEAR_PREFIX);
		(void)!bole_block_program(block, 0, sim_bytes_of(9, 4096), 4096);
		bole_block_sim_power_on(block);
		OK(bole_block_read(block, 0, bytes, sizeof bytes));
		size_t n = 0;
		while (n < sizeof bytes && bytes[n] == 9)
			n++;
		inside += n % 512 != 0;
		for (; n < sizeof bytes; n++)
			check_eq(bytes[n], 0);
		bole_block_close(block);
	}
	cr_assert_gt(inside, SEEDS / 2);
	sim_teardown();
}

/* Goal: bits go from old to new only. */
Test(sim_power, torn_bits_are_between_old_and_new)
{
	sim_setup();
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		uint8_t bytes[NAND_PAGE];
		struct bole_block *block = sim_named("slcnand", seed);
		bole_block_sim_cut_at(block, 1, BOLE_SIM_TEAR_BITS);
		(void)!bole_block_program(block, 0, sim_bytes_of(0x3c, NAND_PAGE), NAND_PAGE);
		bole_block_sim_power_on(block);
		OK(bole_block_read(block, 0, bytes, sizeof bytes));
		for (size_t i = 0; i < sizeof bytes; i++)
			check_eq(bytes[i] & 0x3c, 0x3c);
		bole_block_close(block);
	}
	sim_teardown();
}

/* Goal: a program of many pages is interrupted in one: those before are whole, those behind
 * blank. */
Test(sim_power, pages_before_the_interrupted_one_are_whole)
{
	unsigned where[8] = {0};

	sim_setup();
	for (uint64_t seed = 0; seed < 4 * SEEDS; seed++) {
		struct bole_block *block = sim_named("slcnand", seed);
		bole_block_sim_cut_at(block, 1, BOLE_SIM_TEAR_BITS);
		(void)!bole_block_program(block, 0, sim_bytes_of(0x3c, 8 * NAND_PAGE),
		                          8 * NAND_PAGE);
		bole_block_sim_power_on(block);
		unsigned page = 0;
		while (sim_count_other(block, page * NAND_PAGE, NAND_PAGE, 0x3c) == 0)
			page++;
		check_lt(page, 8);
		where[page]++;
		check_eq(sim_count_other(block, (page + 1) * NAND_PAGE, (7 - page) * NAND_PAGE,
		                         0xff),
		         0);
		bole_block_close(block);
	}
	for (unsigned i = 0; i < 8; i++)
		cr_assert_gt(where[i], 8);
	sim_teardown();
}

/* Goal: what else lies in the damage unit suffers now and then, and nothing else does. */
Test(sim_power, damage_reaches_the_damage_unit)
{
	unsigned spoiled = 0;

	sim_setup();
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct bole_block_sim_options o = sim_options("sd", seed);
		o.damage_unit = 16384;
		struct bole_block *block = sim_open(&o);
		OK(bole_block_program(block, 0, sim_bytes_of(3, 65536), 65536));
		OK(bole_block_flush(block));
		bole_block_sim_cut_at(block, 1, BOLE_SIM_TEAR_BITS);
		(void)!bole_block_program(block, 20480, sim_bytes_of(4, 512), 512);
		bole_block_sim_power_on(block);
		check_eq(sim_count_other(block, 0, 16384, 3), 0);
		check_eq(sim_count_other(block, 32768, 32768, 3), 0);
		spoiled += sim_count_other(block, 16384, 4096, 3) > 3000 &&
		           sim_count_other(block, 20992, 11776, 3) > 10000;
		bole_block_close(block);
	}
	cr_assert_gt(spoiled, SEEDS / 4);
	cr_assert_lt(spoiled, SEEDS * 3 / 4);
	sim_teardown();
}

Test(sim_power, unstable_units_settle_when_erased_or_written)
{
	sim_setup();
	struct bole_block *block = sim_named("slcnand", 4);
	bole_block_sim_cut_at(block, 1, BOLE_SIM_TEAR_UNSTABLE_PROGRAM);
	(void)!bole_block_program(block, 0, sim_bytes_of(0x3c, NAND_PAGE), NAND_PAGE);
	bole_block_sim_power_on(block);
	OK(bole_block_erase(block, 0, NAND_BLOCK));
	for (unsigned i = 0; i < 32; i++)
		check_eq(sim_count_other(block, 0, NAND_PAGE, 0xff), 0);
	bole_block_close(block);

	block = sim_named("sd", 4);
	bole_block_sim_cut_at(block, 1, BOLE_SIM_TEAR_UNSTABLE_ERASE);
	(void)!bole_block_program(block, 0, sim_bytes_of(1, 512), 512);
	bole_block_sim_power_on(block);
	OK(bole_block_program(block, 0, sim_bytes_of(2, 512), 512));
	for (unsigned i = 0; i < 32; i++)
		check_eq(sim_count_other(block, 0, 512, 2), 0);
	cr_assert_eq(sim_counters(block).unstable_reads, 0);
	bole_block_close(block);
	sim_teardown();
}

/* Goal: a store can be shown the read errors that real codes give for such pages. */
Test(sim_power, unstable_pages_may_fail_to_read)
{
	unsigned failed = 0;
	unsigned good = 0;
	uint8_t bytes[NAND_PAGE];

	sim_setup();
	struct bole_block_sim_options o = sim_options("slcnand", 4);
	o.uncorrectable = BOLE_SIM_READ_FAILS;
	struct bole_block *block = sim_open(&o);
	bole_block_sim_cut_at(block, 1, BOLE_SIM_TEAR_UNSTABLE_PROGRAM);
	(void)!bole_block_program(block, 0, sim_bytes_of(0x3c, NAND_PAGE), NAND_PAGE);
	bole_block_sim_power_on(block);
	for (unsigned i = 0; i < 200; i++) {
		enum bole_status rc = bole_block_read(block, 0, bytes, sizeof bytes);
		failed += rc == BOLE_E_IO;
		good += rc == BOLE_OK &&
		        memcmp(bytes, sim_bytes_of(0x3c, NAND_PAGE), sizeof bytes) == 0;
	}
	cr_assert_gt(failed, 40);
	cr_assert_gt(good, 20);
	bole_block_close(block);
	sim_teardown();
}

/* -- The volatile cache -- */

/* Writes i + 1 to place i, unflushed, for four places; a flushed 9 lies behind them. */
static struct bole_block *four_unflushed(uint64_t seed)
{
	struct bole_block *block = sim_named("sd", seed);

	OK(bole_block_program(block, 0, sim_bytes_of(9, 16384), 16384));
	OK(bole_block_flush(block));
	for (uint8_t i = 0; i < 4; i++)
		OK(bole_block_program(block, i * 2048u, sim_bytes_of((uint8_t)(i + 1), 2048),
		                      2048));
	check_eq(bole_block_sim_unflushed(block), 4);
	return block;
}

Test(sim_power, exactly_the_chosen_subset_survives)
{
	sim_setup();
	struct bole_block *block = four_unflushed(1);
	for (uint64_t mask = 0; mask < 16; mask++) {
		struct bole_block *fork;
		struct bole_block_sim_cut cut = {.tear = BOLE_SIM_TEAR_NONE,
		                                 .unflushed = BOLE_SIM_UNFLUSHED_SUBSET,
		                                 .survivors = mask};
		OK(bole_block_sim_fork(&sim_platform.alloc, block, &fork));
		check_eq(bole_block_sim_unflushed(fork), 4);
		bole_block_sim_interrupt(fork, NULL, &cut);
		bole_block_sim_power_on(fork);
		for (unsigned i = 0; i < 4; i++)
			check_eq(sim_count_other(fork, i * 2048, 2048,
			                         (mask >> i & 1) != 0 ? (uint8_t)(i + 1) : 9),
			         0);
		bole_block_close(fork);
	}
	OK(bole_block_flush(block));
	check_eq(bole_block_sim_unflushed(block), 0);
	bole_block_sim_cut_now(block, BOLE_SIM_TEAR_DROP);
	bole_block_sim_power_on(block);
	check_eq(sim_count_other(block, 6144, 2048, 4), 0);
	bole_block_close(block);
	sim_teardown();
}

/* Goal: a later write of the same place may arrive without an earlier one elsewhere; those not
 * chosen may be torn. */
Test(sim_power, others_are_torn_when_asked)
{
	unsigned torn = 0;

	sim_setup();
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct bole_block *block = four_unflushed(seed);
		struct bole_block_sim_cut cut = {.tear = BOLE_SIM_TEAR_NONE,
		                                 .unflushed = BOLE_SIM_UNFLUSHED_SUBSET_TORN,
		                                 .survivors = 8};
		bole_block_sim_interrupt(block, NULL, &cut);
		bole_block_sim_power_on(block);
		check_eq(sim_count_other(block, 6144, 2048, 4), 0);
		size_t old = 2048 - sim_count_other(block, 0, 2048, 9);
		size_t new = 2048 - sim_count_other(block, 0, 2048, 1);
		check_eq(old + new, 2048);
		torn += old != 0 && new != 0;
		bole_block_close(block);
	}
	cr_assert_gt(torn, SEEDS / 2);
	sim_teardown();
}

Test(sim_power, a_cut_during_a_flush_decides_for_each_write)
{
	unsigned mixed = 0;

	sim_setup();
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct bole_block *block = four_unflushed(seed);
		bole_block_sim_cut_at(block, 1, BOLE_SIM_TEAR_NONE);
		check_eq(bole_block_flush(block), BOLE_E_IO);
		bole_block_sim_power_on(block);
		unsigned kept = 0;
		for (unsigned i = 0; i < 4; i++)
			kept += sim_count_other(block, i * 2048, 2048, (uint8_t)(i + 1)) == 0;
		mixed += kept != 0 && kept != 4;
		bole_block_close(block);
	}
	cr_assert_gt(mixed, SEEDS / 2);
	sim_teardown();
}

Test(sim_power, unflushed_discards_and_erases_come_undone)
{
	sim_setup();
	struct bole_block *block = four_unflushed(1);
	OK(bole_block_flush(block));
	OK(bole_block_discard(block, 0, 8192));
	cr_assert_gt(sim_count_other(block, 0, 2048, 1), 1024);
	bole_block_sim_cut_now(block, BOLE_SIM_TEAR_DROP);
	bole_block_sim_power_on(block);
	check_eq(sim_count_other(block, 0, 2048, 1), 0);
	bole_block_close(block);

	block = sim_named("zoned", 1);
	OK(bole_block_program(block, 0, sim_bytes_of(1, 8192), 8192));
	OK(bole_block_flush(block));
	OK(bole_block_erase(block, 0, 1 << 20));
	OK(bole_block_program(block, 0, sim_bytes_of(2, 4096), 4096));
	bole_block_sim_cut_now(block, BOLE_SIM_TEAR_DROP);
	bole_block_sim_power_on(block);
	check_eq(sim_count_other(block, 0, 8192, 1), 0);
	/* The write pointer went back too. */
	check_eq(bole_block_program(block, 4096, sim_bytes_of(3, 4096), 4096), BOLE_E_IO);
	OK(bole_block_program(block, 8192, sim_bytes_of(3, 4096), 4096));
	bole_block_close(block);
	sim_teardown();
}

Test(sim_power, an_ignored_flush_keeps_nothing_safe)
{
	sim_setup();
	struct bole_block *block = sim_named("sd", 1);
	bole_block_sim_ignore_flush(block, true);
	OK(bole_block_program(block, 0, sim_bytes_of(1, 512), 512));
	OK(bole_block_flush(block));
	bole_block_sim_cut_now(block, BOLE_SIM_TEAR_DROP);
	bole_block_sim_power_on(block);
	check_eq(sim_count_other(block, 0, 512, 0), 0);
	bole_block_close(block);
	sim_teardown();
}

/* -- Exploring -- */

struct explorer {
	uint64_t next;
	unsigned kinds[4];
	unsigned old;
	unsigned new;
};

static void explore(void *ctx, struct bole_block *block, const struct bole_block_sim_operation *op)
{
	struct explorer *e = ctx;
	struct bole_block *fork;

	check_eq(op->number, ++e->next);
	e->kinds[op->kind]++;
	for (int done = 0; done < 2; done++) {
		struct bole_block_sim_cut cut = {.tear = done ? BOLE_SIM_TEAR_DONE
		                                              : BOLE_SIM_TEAR_NONE,
		                                 .unflushed = BOLE_SIM_UNFLUSHED_KEEP};
		OK(bole_block_sim_fork(&sim_platform.alloc, block, &fork));
		bole_block_sim_interrupt(fork, op, &cut);
		check(bole_block_sim_is_off(fork));
		check_eq(bole_block_flush(fork), BOLE_E_IO);
		bole_block_sim_power_on(fork);
		if (op->kind == BOLE_SIM_PROGRAM) {
			uint8_t value = *(const uint8_t *)op->pieces->ptr;
			bool is = sim_count_other(fork, op->off, (size_t)op->len, value) == 0;
			check_eq(is, done == 1);
			e->old += !is;
			e->new += is;
		}
		bole_block_close(fork);
	}
}

/* Goal: one run, with a fork before each of its operations. */
Test(sim_power, a_hook_sees_every_operation_before_it_begins)
{
	struct explorer e = {0};

	sim_setup();
	struct bole_block *block = sim_named("sd", 1);
	bole_block_sim_set_hook(block, explore, &e);
	for (uint8_t i = 1; i <= 50; i++) {
		struct bole_bytes pieces[] = {{sim_bytes_of(i, 1024), 100},
		                              {sim_bytes_of(i, 1024), 924}};
		OK(bole_block_programv(block, i * 512u, pieces, 2));
		if (i % 5 == 0)
			OK(bole_block_flush(block));
		if (i % 10 == 0)
			OK(bole_block_discard(block, 100 << 10, 8192));
	}
	check_eq(e.kinds[BOLE_SIM_PROGRAM], 50);
	check_eq(e.kinds[BOLE_SIM_FLUSH], 10);
	check_eq(e.kinds[BOLE_SIM_DISCARD], 5);
	check_eq(e.old, 50);
	check_eq(e.new, 50);
	check_eq(sim_counters(block).operations, 65);
	check_eq(sim_count_other(block, 50 * 512, 1024, 50), 0);
	bole_block_close(block);
	sim_teardown();
}

static void cut_this(void *ctx, struct bole_block *block, const struct bole_block_sim_operation *op)
{
	if (op->number == *(const uint64_t *)ctx)
		bole_block_sim_cut_at(block, 1, BOLE_SIM_TEAR_DONE);
}

Test(sim_power, a_hook_may_cut_the_operation_that_it_sees)
{
	uint64_t when = 3;

	sim_setup();
	struct bole_block *block = sim_named("nor4k", 1);
	bole_block_sim_set_hook(block, cut_this, &when);
	OK(bole_block_program(block, 0, sim_bytes_of(1, 16), 16));
	OK(bole_block_program(block, 16, sim_bytes_of(1, 16), 16));
	check_eq(bole_block_program(block, 32, sim_bytes_of(1, 16), 16), BOLE_E_IO);
	check(bole_block_sim_is_off(block));
	bole_block_sim_power_on(block);
	check_eq(sim_count_other(block, 0, 48, 1), 0);
	bole_block_close(block);
	sim_teardown();
}

Test(sim_power, the_same_seed_gives_the_same_tears)
{
	static uint8_t a[16384];
	static uint8_t b[16384];

	sim_setup();
	for (int tear = 0; tear < BOLE_SIM_TEARS; tear++) {
		for (unsigned twice = 0; twice < 2; twice++) {
			struct bole_block *block = sim_named("nand4k", 77);
			bole_block_sim_cut_at(block, 1, (enum bole_block_sim_tear)tear);
			(void)!bole_block_program(block, 0, sim_bytes_of(1, 16384), 16384);
			bole_block_sim_power_on(block);
			OK(bole_block_read(block, 0, twice ? b : a, 16384));
			bole_block_close(block);
		}
		check(memcmp(a, b, sizeof a) == 0);
	}
	sim_teardown();
}
