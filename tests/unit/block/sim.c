/* SPDX-License-Identifier: ISC */
/* The simulated device: geometries, memory, clones, time. */
#include "unit/block/sim.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { BYTES_MAX = 256 << 10 };

struct test_platform sim_platform;

struct bole_block_sim_options sim_options(const char *name, uint64_t seed)
{
	struct bole_block_sim_options o;

	OK(bole_block_sim_geometry(name, &o));
	o.seed = seed;
	o.factory_bad_ppm = 0;
	o.size_bytes = 4 << 20;
	return o;
}

struct bole_block *sim_open(const struct bole_block_sim_options *o)
{
	struct bole_block *block;

	OK(bole_block_sim_open(&sim_platform.alloc, o, &block));
	return block;
}

struct bole_block *sim_named(const char *name, uint64_t seed)
{
	struct bole_block_sim_options o = sim_options(name, seed);

	return sim_open(&o);
}

const uint8_t *sim_bytes_of(uint8_t value, size_t len)
{
	static uint8_t bytes[BYTES_MAX];

	check(len <= BYTES_MAX);
	memset(bytes, value, len);
	return bytes;
}

size_t sim_count_other(struct bole_block *block, uint64_t off, size_t len, uint8_t value)
{
	static uint8_t bytes[BYTES_MAX];
	size_t n = 0;

	check(len <= BYTES_MAX);
	OK(bole_block_read(block, off, bytes, len));
	for (size_t i = 0; i < len; i++)
		n += bytes[i] != value;
	return n;
}

struct bole_block_sim_counters sim_counters(const struct bole_block *block)
{
	struct bole_block_sim_counters c;

	bole_block_sim_counters(block, &c);
	return c;
}

struct bole_block_sim_cut sim_cut(enum bole_block_sim_tear tear)
{
	return (struct bole_block_sim_cut){.tear = tear};
}

Test(sim, every_named_geometry_opens_writes_and_reads)
{
	const char *name;
	size_t count = 0;

	sim_setup();
	for (; (name = bole_block_sim_geometry_name(count)) != NULL; count++) {
		struct bole_block *block = sim_named(name, 1);
		size_t unit = block->info.program_unit;
		OK(bole_block_program(block, 0, sim_bytes_of(7, unit), unit));
		OK(bole_block_flush(block));
		check_eq(sim_count_other(block, 0, unit, 7), 0);
		check_eq(sim_count_other(block, unit, unit, block->info.needs_erase ? 0xff : 0), 0);
		check_eq(sim_counters(block).violations, 0);
		cr_assert_gt(bole_block_sim_time_ns(block), 0, "%s", name);
		bole_block_close(block);
	}
	cr_assert_geq(count, 8);
	struct bole_block_sim_options o;
	check_eq(bole_block_sim_geometry("floppy", &o), BOLE_E_NOT_FOUND);
	sim_teardown();
}

Test(sim, options_that_do_not_fit_are_refused)
{
	struct bole_block *block;

	sim_setup();
	struct bole_block_sim_options good = sim_options("nor4k", 1);
	struct bole_block_sim_options o = good;
	o.program_unit = 24;
	check_eq(bole_block_sim_open(&sim_platform.alloc, &o, &block), BOLE_E_INVALID);
	o = good;
	o.erase_unit = 0;
	check_eq(bole_block_sim_open(&sim_platform.alloc, &o, &block), BOLE_E_INVALID);
	o = good;
	o.size_bytes += 16;
	check_eq(bole_block_sim_open(&sim_platform.alloc, &o, &block), BOLE_E_INVALID);
	for (unsigned n = 1; n <= 2; n++) {
		sim_platform.fail_at = sim_platform.grows + n;
		check_eq(bole_block_sim_open(&sim_platform.alloc, &good, &block), BOLE_E_NO_MEMORY);
	}
	sim_teardown();
}

/* Goal: a big device costs what was written, and gives it back. */
Test(sim, memory_is_spent_on_what_is_written)
{
	sim_setup();
	struct bole_block_sim_options o = sim_options("slcnand", 1);
	o.size_bytes = 1 << 30;
	struct bole_block *block = sim_open(&o);
	size_t empty = sim_platform.bytes;
	cr_assert_lt(empty, 256 << 10);
	for (uint64_t b = 0; b < 16; b++)
		for (uint64_t at = 0; at < o.erase_unit; at += 2048)
			OK(bole_block_program(block, b * 512 * o.erase_unit + at,
			                      sim_bytes_of((uint8_t)b, 2048), 2048));
	cr_assert_lt(sim_platform.bytes - empty, 16 * (o.erase_unit + (o.erase_unit >> 4)));
	cr_assert_leq(bole_block_sim_memory(block), sim_platform.bytes);
	for (uint64_t b = 0; b < 16; b++) {
		check_eq(sim_count_other(block, b * 512 * o.erase_unit, o.erase_unit, (uint8_t)b),
		         0);
		OK(bole_block_erase(block, b * 512 * o.erase_unit, o.erase_unit));
	}
	cr_assert_lt(sim_platform.bytes - empty, 32 << 10);
	bole_block_close(block);

	o = sim_options("virtio", 1);
	block = sim_open(&o);
	empty = sim_platform.bytes;
	for (uint64_t at = 0; at < 1 << 20; at += 4096)
		OK(bole_block_program(block, at, sim_bytes_of(1, 4096), 4096));
	OK(bole_block_flush(block));
	OK(bole_block_discard(block, 0, 1 << 20));
	OK(bole_block_flush(block));
	cr_assert_lt(sim_platform.bytes - empty, 32 << 10);
	cr_assert_gt(sim_count_other(block, 4096, 4096, 1), 2048);
	bole_block_close(block);
	sim_teardown();
}

Test(sim, clones_go_their_own_ways)
{
	struct bole_block *copy[3];
	uint64_t random = test_seed(3);

	sim_setup();
	struct bole_block *block = sim_named("nor4k", 1);
	for (uint64_t at = 0; at < 1 << 20; at += 4096)
		OK(bole_block_program(block, at, sim_bytes_of(1, 4096), 4096));
	for (size_t i = 0; i < 3; i++)
		OK(bole_block_sim_clone(&sim_platform.alloc, block, &copy[i]));
	for (unsigned turn = 0; turn < 300; turn++) {
		size_t i = (size_t)(test_random(&random) % 3);
		uint64_t at = test_random(&random) % 256 * 4096;
		OK(bole_block_erase(copy[i], at, 4096));
		OK(bole_block_program(copy[i], at, sim_bytes_of((uint8_t)(2 + i), 4096), 4096));
	}
	check_eq(sim_count_other(block, 0, BYTES_MAX, 1), 0);
	bole_block_close(block);
	for (size_t i = 0; i < 3; i++) {
		uint32_t changed = 0;
		for (uint64_t at = 0; at < 1 << 20; at += 4096) {
			bool mine = bole_block_sim_erases(copy[i], at) != 0;
			check_eq(sim_count_other(copy[i], at, 4096, mine ? (uint8_t)(2 + i) : 1),
			         0);
			changed += mine;
		}
		cr_assert_gt(changed, 40);
		bole_block_close(copy[i]);
	}
	sim_teardown();
}

static double seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Goal: exploring may clone at every operation. Limits are wide: sanitizers are slow. */
Test(sim, a_clone_of_16_mib_costs_microseconds)
{
	enum { TURNS = 2000 };
	struct bole_block *copy;

	sim_setup();
	struct bole_block_sim_options o = sim_options("nor4k", 1);
	o.size_bytes = 16 << 20;
	struct bole_block *block = sim_open(&o);
	for (uint64_t at = 0; at < o.size_bytes; at += 4096)
		OK(bole_block_program(block, at, sim_bytes_of(1, 4096), 4096));
	double start = seconds();
	for (unsigned i = 0; i < TURNS; i++) {
		OK(bole_block_sim_clone(&sim_platform.alloc, block, &copy));
		bole_block_close(copy);
	}
	double each = (seconds() - start) / TURNS;
	start = seconds();
	for (unsigned i = 0; i < TURNS; i++) {
		OK(bole_block_sim_clone(&sim_platform.alloc, block, &copy));
		OK(bole_block_erase(copy, 4096 * (i % 4096), 4096));
		OK(bole_block_program(copy, 4096 * (i % 4096), sim_bytes_of(1, 16), 16));
		bole_block_close(copy);
	}
	double written = (seconds() - start) / TURNS;
	(void)fprintf(stderr, "clone %.1f us, with an erase and a program %.1f us\n", each * 1e6,
	              written * 1e6);
	cr_assert_lt(each, 200e-6);
	cr_assert_lt(written, 400e-6);
	bole_block_close(block);
	sim_teardown();
}

static uint64_t cost(struct bole_block *block, uint64_t *last)
{
	uint64_t before = *last;

	*last = bole_block_sim_time_ns(block);
	return *last - before;
}

Test(sim, device_time_is_what_the_data_sheet_says)
{
	uint64_t last = 0;

	sim_setup();
	struct bole_block *block = sim_named("slcnand", 1);
	OK(bole_block_program(block, 0, sim_bytes_of(1, 4096), 4096));
	check_eq(cost(block, &last), 2 * 250000 + 2 * (2048 + 64) * 25);
	check_eq(sim_count_other(block, 2048, 2048, 1), 0);
	check_eq(cost(block, &last), 25000 + (2048 + 64) * 25);
	OK(bole_block_erase(block, 0, 256 << 10));
	check_eq(cost(block, &last), 4000000);
	check_eq(sim_counters(block).worst_ns, 4000000);
	bole_block_sim_reset_worst(block);
	check_eq(sim_count_other(block, 0, 6144, 0xff), 0);
	check_eq(sim_counters(block).worst_ns, 3 * (25000 + 2112 * 25));
	check_eq(sim_counters(block).read_steps, 4);
	bole_block_close(block);

	block = sim_named("nor4k", 1);
	last = 0;
	OK(bole_block_program(block, 240, sim_bytes_of(1, 32), 32)); /* in two pages */
	check_eq(cost(block, &last), 2 * 30000 + 32 * 1450);
	check_eq(sim_counters(block).program_steps, 2);
	bole_block_close(block);

	block = sim_named("virtio", 1);
	last = 0;
	OK(bole_block_flush(block));
	check_eq(cost(block, &last), 100000);
	bole_block_close(block);
	sim_teardown();
}

Test(sim, wear_is_told_by_block)
{
	struct bole_block_sim_wear wear;

	sim_setup();
	struct bole_block *block = sim_named("nor64k", 1);
	for (uint64_t b = 0; b < 64; b++)
		for (uint64_t n = 0; n <= b % 3; n++)
			OK(bole_block_erase(block, b << 16, 1 << 16));
	bole_block_sim_kill_block(block, 63 << 16);
	bole_block_sim_wear(block, &wear);
	check_eq(wear.blocks, 64);
	check_eq(wear.min, 1);
	check_eq(wear.max, 3);
	check_eq(wear.sum, 22 * 1 + 21 * 2 + 21 * 3);
	check_eq(wear.squares, 22 * 1 + 21 * 4 + 21 * 9);
	check_eq(wear.bad, 1);
	check_eq(bole_block_sim_erases(block, 5 << 16), 3);
	check_eq(sim_counters(block).erased_bytes, wear.sum << 16);
	bole_block_close(block);
	sim_teardown();
}

/* -- Threads -- */

enum { THREADS = 4, TURNS = 2000 };

static void *work(void *arg)
{
	struct bole_block *block = arg;
	static atomic_uint next;
	uint64_t mine = atomic_fetch_add(&next, 1) * (1 << 20);
	struct bole_block *copy;
	uint8_t bytes[512];

	for (unsigned i = 0; i < TURNS; i++) {
		uint64_t at = mine + i % 64 * 512;
		memset(bytes, (int)i, sizeof bytes);
		OK(bole_block_program(block, at, bytes, 512));
		OK(bole_block_sim_clone(&sim_platform.alloc, block, &copy));
		memset(bytes, 0, sizeof bytes);
		OK(bole_block_program(copy, at, bytes, 512));
		bole_block_close(copy);
		OK(bole_block_read(block, at, bytes, 512));
		check_eq(bytes[511], (uint8_t)i);
	}
	return NULL;
}

Test(sim, threads_share_a_device_and_its_clones)
{
	pthread_t thread[THREADS];

	sim_setup();
	struct bole_block_sim_options o = sim_options("virtio", 1);
	o.volatile_cache = false;
	struct bole_block *block = sim_open(&o);
	for (size_t i = 0; i < THREADS; i++)
		check(pthread_create(&thread[i], NULL, work, block) == 0);
	for (size_t i = 0; i < THREADS; i++)
		check(pthread_join(thread[i], NULL) == 0);
	bole_block_close(block);
	sim_teardown();
}
