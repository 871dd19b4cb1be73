/* SPDX-License-Identifier: ISC */
/* Blocks that die under the log: nobody notices. The work has references, objects, aux, drops,
 * extents and what is prepared. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "support/suite_help.h"
#include "unit/flash-model/model.h"

/* A device that fails programs or erases from the n-th on, some in a row. */
struct flaky {
	struct bole_block block;
	struct bole_block *under;
	uint64_t program; /* countdowns, 0 = never */
	uint64_t erase;
	unsigned row;
	bool does; /* what fails is done nevertheless */
	unsigned failed;
};

static struct model m;
static struct flaky flaky;

static const struct bole_block_sim_options raw_disk = {
        .kind = BOLE_BLOCK_NOR,
        .size_bytes = (4 << 20) + (128 << 10),
        .read_unit = 16,
        .program_unit = 16,
        .erase_unit = 4096,
};

/* Fails now: the countdown has come to 1, and stays there for the whole row. */
static bool due(uint64_t *countdown)
{
	if (*countdown == 0)
		return false;
	if (*countdown > 1) {
		--*countdown;
		return false;
	}
	flaky.failed++;
	if (--flaky.row == 0)
		*countdown = 0;
	return true;
}

static enum bole_status flaky_read(struct bole_block *b, uint64_t off, void *dst, size_t len)
{
	(void)b;
	return bole_block_read(flaky.under, off, dst, len);
}

static enum bole_status flaky_programv(struct bole_block *b, uint64_t off,
                                       const struct bole_bytes *pieces, size_t count)
{
	bool fails = due(&flaky.program);
	enum bole_status rc = BOLE_OK;

	(void)b;
	if (!fails || flaky.does)
		rc = bole_block_programv(flaky.under, off, pieces, count);
	return fails ? BOLE_E_IO : rc;
}

static enum bole_status flaky_erase(struct bole_block *b, uint64_t off, uint64_t len)
{
	(void)b;
	return due(&flaky.erase) ? BOLE_E_IO : bole_block_erase(flaky.under, off, len);
}

static enum bole_status flaky_discard(struct bole_block *b, uint64_t off, uint64_t len)
{
	(void)b;
	return bole_block_discard(flaky.under, off, len);
}

static enum bole_status flaky_flush(struct bole_block *b)
{
	(void)b;
	return bole_block_flush(flaky.under);
}

static enum bole_status flaky_is_bad(struct bole_block *b, uint64_t off, bool *bad)
{
	(void)b;
	return bole_block_is_bad(flaky.under, off, bad);
}

static enum bole_status flaky_mark_bad(struct bole_block *b, uint64_t off)
{
	(void)b;
	return bole_block_mark_bad(flaky.under, off);
}

static void flaky_close(struct bole_block *b)
{
	(void)b;
}

static const struct bole_block_ops flaky_ops = {
        .read = flaky_read,
        .programv = flaky_programv,
        .erase = flaky_erase,
        .discard = flaky_discard,
        .flush = flaky_flush,
        .is_bad = flaky_is_bad,
        .mark_bad = flaky_mark_bad,
        .close = flaky_close,
};

static void fresh(struct model_volume *v)
{
	flaky = (struct flaky){.block = {.ops = &flaky_ops}};
	OK(bole_block_sim_open(&m.disk.alloc, &raw_disk, &flaky.under));
	flaky.block.info = flaky.under->info;
	*v = (struct model_volume){.device = &flaky.block};
	OK(bole_flash_format(v->device, &m.test.base, NULL));
	OK(model_mount(&m, v));
}

static void expect(struct model_volume *v, unsigned step, unsigned or_step)
{
	uint64_t digest;

	OK(model_digest(v->store, &m.test.alloc, &digest));
	if (digest != m.digest[step] && digest != m.digest[or_step])
		(void)fprintf(stderr, "seed %llu: not what it was after step %u\n",
		              (unsigned long long)m.seed, step);
	check(digest == m.digest[step] || digest == m.digest[or_step]);
	check_eq(model_check(&m, v->device), 0);
}

/* Every step answers as if nothing had happened. Returns false when nothing failed any more. */
static bool run(uint64_t program, uint64_t erase, unsigned row, bool does)
{
	struct model_volume v;

	fresh(&v);
	flaky.row = row;
	flaky.program = program;
	flaky.erase = erase;
	flaky.does = does;
	for (unsigned i = 0; i < m.steps; i++) {
		enum bole_status rc = model_step(&m, v.store, i);
		if (rc != m.rc[i])
			(void)fprintf(stderr, "program %u erase %u row %u: step %u: %s\n",
			              (unsigned)program, (unsigned)erase, row, i,
			              bole_status_text(rc));
		check_eq(rc, m.rc[i]);
	}
	bool hit = flaky.failed != 0;
	expect(&v, m.steps, m.steps);
	OK(bole_store_close(v.store));
	flaky.program = 0;
	flaky.erase = 0;
	OK(model_mount(&m, &v));
	expect(&v, m.steps, m.steps);
	OK(bole_store_close(v.store));
	bole_block_close(flaky.under);
	return hit;
}

static void run_all(bool program, unsigned row, bool does)
{
	uint64_t n = 1;

	model_open(&m, test_seed(11), 14, true);
	while (run(program ? n : 0, program ? 0 : n, row, does))
		n++;
	cr_assert_gt(n, program ? 30 : 5);
	model_close(&m);
}

Test(flash_badlog, a_program_that_fails_is_noticed_by_nobody)
{
	run_all(true, 1, false);
}

Test(flash_badlog, a_program_that_fails_although_it_was_done_is_noticed_by_nobody)
{
	run_all(true, 1, true);
}

Test(flash_badlog, two_programs_in_a_row_that_fail_are_noticed_by_nobody)
{
	run_all(true, 2, false);
	run_all(true, 2, true);
}

Test(flash_badlog, erases_that_fail_are_noticed_by_nobody)
{
	run_all(false, 1, false);
	run_all(false, 3, false);
}

/* Power goes some operations after the failure. */
static bool run_cut(uint64_t program, uint64_t later)
{
	struct model_volume v;
	enum bole_status rc = BOLE_OK;
	bool cut = false;
	unsigned i;

	fresh(&v);
	flaky.row = 1;
	flaky.program = program;
	flaky.does = true;
	for (i = 0; i < m.steps && rc != BOLE_E_IO && rc != BOLE_E_READ_ONLY; i++) {
		/* From the step on in which it fails. */
		if (!cut && flaky.program <= 6 && flaky.program != 0) {
			bole_block_sim_cut_at(flaky.under, flaky.program + later,
			                      BOLE_SIM_TEAR_RANDOM);
			cut = true;
		}
		rc = model_step(&m, v.store, i);
	}
	unsigned step = rc == BOLE_E_IO || rc == BOLE_E_READ_ONLY ? i - 1 : i;
	bool off = bole_block_sim_is_off(flaky.under);
	(void)bole_store_close(v.store);
	off |= bole_block_sim_is_off(flaky.under);
	bole_block_sim_power_on(flaky.under);
	bole_block_sim_cut_at(flaky.under, 0, BOLE_SIM_TEAR_NONE);
	flaky.program = 0;
	OK(model_mount(&m, &v));
	expect(&v, step, step == m.steps ? step : step + 1);
	OK(bole_store_close(v.store));
	OK(model_mount(&m, &v));
	expect(&v, step, step == m.steps ? step : step + 1);
	OK(bole_store_close(v.store));
	bole_block_close(flaky.under);
	return off;
}

Test(flash_badlog, power_that_goes_after_a_program_failed_leaves_before_or_after)
{
	unsigned cuts = 0;

	model_open(&m, test_seed(11), 10, true);
	for (uint64_t n = 1; n < 60; n++)
		for (uint64_t later = 0; later < 12; later++)
			cuts += run_cut(n, later);
	(void)fprintf(stderr, "%u cuts\n", cuts);
	cr_assert_gt(cuts, 100);
	model_close(&m);
}
