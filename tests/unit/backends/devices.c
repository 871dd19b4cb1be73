/* SPDX-License-Identifier: ISC */
/* RAM, window, file and simulated devices. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bole/block_sim.h"
#include "bole/devices.h"
#include "support/platform.h"
#include "support/suite_help.h"

static struct test_platform test;
static char path[64];

static void setup(void)
{
	test_platform_init(&test, 1);
	(void)snprintf(path, sizeof path, "/tmp/bole-device-%ld", (long)getpid());
	(void)unlink(path);
}

static void teardown(void)
{
	(void)unlink(path);
	test_platform_release(&test);
}

/* Any device: what is written is read, in pieces too, and nothing beside it changes. */
static void exercise(struct bole_block *block)
{
	static uint8_t a[16384];
	static uint8_t b[16384];
	uint64_t random = 5;

	test_random_bytes(&random, a, sizeof a);
	OK(bole_block_program(block, 0, a, sizeof a));
	struct bole_bytes pieces[] = {{a + 100, 1000}, {NULL, 0}, {a, 3096}};
	OK(bole_block_programv(block, 8192, pieces, 3));
	OK(bole_block_flush(block));
	OK(bole_block_read(block, 0, b, sizeof b));
	check(memcmp(b, a, 8192) == 0);
	check(memcmp(b + 8192, a + 100, 1000) == 0);
	check(memcmp(b + 9192, a, 3096) == 0);
	check(memcmp(b + 12288, a + 12288, 4096) == 0);
	OK(bole_block_discard(block, 4096, 4096));
	OK(bole_block_read(block, 0, b, 4096));
	check(memcmp(b, a, 4096) == 0);
}

Test(devices, ram_and_windows_keep_what_is_written)
{
	struct bole_block *ram;
	struct bole_block *window;

	setup();
	check_eq(bole_block_ram_open(&test.alloc, 65536, 1000, &ram), BOLE_E_INVALID);
	OK(bole_block_ram_open(&test.alloc, 65536, 512, &ram));
	exercise(ram);
	check_eq(bole_block_window_open(&test.alloc, ram, 100, 4096, &window), BOLE_E_INVALID);
	check_eq(bole_block_window_open(&test.alloc, ram, 32768, 65536, &window), BOLE_E_INVALID);
	OK(bole_block_window_open(&test.alloc, ram, 32768, 32768, &window));
	exercise(window);
	uint8_t sector[512];
	uint8_t first[512];
	OK(bole_block_read(ram, 32768, sector, 512));
	OK(bole_block_read(window, 0, first, 512));
	check(memcmp(sector, first, 512) == 0);
	bole_block_close(window);
	bole_block_close(ram);
	teardown();
}

Test(devices, a_file_is_made_sparse_and_keeps_what_is_written)
{
	struct bole_block_file_options create = {.create_bytes = 64 << 20};
	struct bole_block_file_options open = {.read_only = false};
	struct bole_block *file;
	struct stat st;
	uint8_t first[4096];
	uint8_t again[4096];

	setup();
	check_eq(bole_block_file_open(&test.alloc, path, &open, NULL, 0, &file), BOLE_E_NOT_FOUND);
	OK(bole_block_file_open(&test.alloc, path, &create, NULL, 0, &file));
	check_eq(file->info.size_bytes, 64 << 20);
	exercise(file);
	OK(bole_block_read(file, 0, first, sizeof first));
	bole_block_close(file);
	check(stat(path, &st) == 0);
	cr_assert_lt(st.st_blocks * 512, 1 << 20);
	check_eq(bole_block_file_open(&test.alloc, path, &create, NULL, 0, &file), BOLE_E_EXISTS);
	OK(bole_block_file_open(&test.alloc, path, &open, NULL, 0, &file));
	OK(bole_block_read(file, 0, again, sizeof again));
	check(memcmp(first, again, sizeof first) == 0);
	bole_block_close(file);
	open.read_only = true;
	OK(bole_block_file_open(&test.alloc, path, &open, NULL, 0, &file));
	check_eq(bole_block_program(file, 0, first, sizeof first), BOLE_E_READ_ONLY);
	bole_block_close(file);
	teardown();
}

/* Opens in a process of its own and exits with the status. */
static enum bole_status open_elsewhere(bool read_only, const char *expected)
{
	pid_t child = fork();

	if (child == 0) {
		struct bole_block_file_options o = {.read_only = read_only};
		struct bole_block *file;
		char owner[64] = "";
		enum bole_status rc =
		        bole_block_file_open(&test.alloc, path, &o, owner, sizeof owner, &file);
		if (rc == BOLE_E_BUSY && expected != NULL && strcmp(owner, expected) != 0)
			_exit(99);
		_exit(-(int)rc);
	}
	int status;
	check(waitpid(child, &status, 0) == child);
	check(WIFEXITED(status));
	return (enum bole_status)(-WEXITSTATUS(status));
}

Test(devices, a_file_has_one_writer_or_many_readers)
{
	struct bole_block_file_options create = {.create_bytes = 1 << 20};
	struct bole_block_file_options reader = {.read_only = true};
	struct bole_block *file;
	char owner[64];

	setup();
	OK(bole_block_file_open(&test.alloc, path, &create, NULL, 0, &file));
	(void)snprintf(owner, sizeof owner, "process %ld", (long)getpid());
	check_eq(open_elsewhere(false, owner), BOLE_E_BUSY);
	check_eq(open_elsewhere(true, owner), BOLE_E_BUSY);
	bole_block_close(file);
	OK(bole_block_file_open(&test.alloc, path, &reader, NULL, 0, &file));
	check_eq(open_elsewhere(false, owner), BOLE_E_BUSY);
	check_eq(open_elsewhere(true, NULL), BOLE_OK);
	bole_block_close(file);
	check_eq(open_elsewhere(false, NULL), BOLE_OK);
	teardown();
}

/* -- The simulated device -- */

static struct bole_block *sim(uint64_t seed)
{
	struct bole_block_sim_options o = {
	        .kind = BOLE_BLOCK_MANAGED,
	        .size_bytes = 1 << 20,
	        .read_unit = 512,
	        .program_unit = 512,
	        .volatile_cache = true,
	        .seed = seed,
	};
	struct bole_block *block;

	OK(bole_block_sim_open(&test.alloc, &o, &block));
	return block;
}

Test(devices, the_simulated_device_loses_only_what_was_not_flushed)
{
	unsigned kept = 0;
	unsigned torn = 0;

	setup();
	for (uint64_t seed = 0; seed < 200; seed++) {
		struct bole_block *block = sim(seed);
		uint8_t ones[4096];
		uint8_t twos[4096];
		uint8_t seen[4096];
		memset(ones, 1, sizeof ones);
		memset(twos, 2, sizeof twos);
		OK(bole_block_program(block, 0, ones, sizeof ones));
		OK(bole_block_flush(block));
		OK(bole_block_program(block, 4096, twos, sizeof twos));
		bole_block_sim_cut_now(block, BOLE_SIM_TEAR_RANDOM);
		check_eq(bole_block_read(block, 0, seen, sizeof seen), BOLE_E_IO);
		bole_block_sim_power_on(block);
		OK(bole_block_read(block, 0, seen, sizeof seen));
		check(memcmp(seen, ones, sizeof seen) == 0);
		OK(bole_block_read(block, 4096, seen, sizeof seen));
		unsigned sectors = 0;
		for (size_t at = 0; at < sizeof seen; at += 512) {
			check(seen[at] == 0 || seen[at] == 2);
			check(memcmp(seen + at, seen + at + 1, 511) == 0);
			sectors += seen[at] == 2;
		}
		kept += sectors == 8;
		torn += sectors != 0 && sectors != 8;
		bole_block_close(block);
	}
	cr_assert_gt(kept, 20);
	cr_assert_gt(torn, 20);
	teardown();
}

Test(devices, the_simulated_device_fails_when_told)
{
	struct bole_block *block;
	struct bole_block *copy;
	uint8_t bytes[512] = {7};
	struct bole_block_sim_counters count;

	setup();
	block = sim(1);
	bole_block_sim_fail_program(block, 2);
	OK(bole_block_program(block, 0, bytes, 512));
	check_eq(bole_block_program(block, 0, bytes, 512), BOLE_E_IO);
	OK(bole_block_program(block, 0, bytes, 512));
	bole_block_sim_fail_flush(block, 1);
	check_eq(bole_block_flush(block), BOLE_E_IO);
	OK(bole_block_flush(block));
	bole_block_sim_cut_at(block, 2, BOLE_SIM_TEAR_DROP);
	OK(bole_block_program(block, 512, bytes, 512));
	check_eq(bole_block_flush(block), BOLE_E_IO);
	check(bole_block_sim_is_off(block));
	bole_block_sim_power_on(block);
	OK(bole_block_read(block, 512, bytes, 512));
	check_eq(bytes[0], 0);
	OK(bole_block_sim_clone(&test.alloc, block, &copy));
	OK(bole_block_read(copy, 0, bytes, 512));
	check_eq(bytes[0], 7);
	bole_block_sim_flip(copy, 0, 8);
	OK(bole_block_read(copy, 0, bytes, 512));
	check_eq(bytes[0], 15);
	bole_block_sim_counters(block, &count);
	check_eq(count.programs, 3);
	check_eq(count.flushes, 2);
	bole_block_close(copy);
	bole_block_close(block);
	teardown();
}
