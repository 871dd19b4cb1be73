/* SPDX-License-Identifier: ISC */
/* What the tests of the simulated device share. */
#ifndef BOLE_TESTS_SIM_H
#define BOLE_TESTS_SIM_H

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "bole/block_sim.h"
#include "support/platform.h"
#include "support/suite_help.h"

extern struct test_platform sim_platform;

/* A named device, small, without factory-bad blocks; the seed as given. */
struct bole_block_sim_options sim_options(const char *name, uint64_t seed);
struct bole_block *sim_open(const struct bole_block_sim_options *);
struct bole_block *sim_named(const char *name, uint64_t seed);
/* len bytes (up to 256 KiB) made of one value. */
const uint8_t *sim_bytes_of(uint8_t value, size_t len);
/* Bytes of [off, off + len) that are not this value. */
size_t sim_count_other(struct bole_block *, uint64_t off, size_t len, uint8_t value);
struct bole_block_sim_counters sim_counters(const struct bole_block *);
struct bole_block_sim_cut sim_cut(enum bole_block_sim_tear tear);

static inline void sim_setup(void)
{
	test_platform_init(&sim_platform, 1);
}

static inline void sim_teardown(void)
{
	test_platform_release(&sim_platform);
}

#endif /* BOLE_TESTS_SIM_H */
