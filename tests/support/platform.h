/* SPDX-License-Identifier: ISC */
/* A platform for tests: threads for fibers, a counting allocator that can fail on demand, random
 * bytes from a seed, a clock that is real or by hand. */
#ifndef BOLE_TESTS_PLATFORM_H
#define BOLE_TESTS_PLATFORM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bole/oid.h"
#include "bole/platform.h"

enum { TEST_FIBERS_MAX = 256 };

struct test_platform {
	struct bole_platform base; /* hand &base (or test.platform) to the code under test */
	struct bole_alloc alloc;

	_Atomic size_t bytes;   /* allocated now */
	_Atomic size_t blocks;  /* allocated now */
	_Atomic uint64_t grows; /* allocations and enlargements so far: what fail_at counts */
	/* The allocation with this number (from 1) fails; with fail_after all later ones too. 0 =
	 * none. */
	_Atomic uint64_t fail_at;
	bool fail_after;

	bool manual_clock; /* now_ns moves only by sleep_until and by 1 us a call */
	_Atomic uint64_t now;
	int64_t wall; /* what wall_s answers; negative = BOLE_E_UNSUPPORTED */

	unsigned processors; /* what the platform answers; 0 = 1 */

	bool quiet;           /* do not print the log */
	_Atomic size_t lines; /* of log, so far */
	char last_line[512];

	pthread_mutex_t lock;
	uint64_t random_state;
	pthread_t fibers[TEST_FIBERS_MAX];
	size_t fiber_count;
};

void test_platform_init(struct test_platform *, uint64_t seed);
/* Waits for every fiber that was started. */
void test_platform_join(struct test_platform *);
/* The same; then ends the program when memory leaked. */
void test_platform_release(struct test_platform *);

/* The object format that a suite runs for: GIT_DEFAULT_HASH as git knows it, else SHA-1. */
uint8_t test_algo(void);
/* Digits of an id of that format. */
int test_hex(void);
/* Environment SEED, else `otherwise`; prints it so that a failure can be repeated. */
uint64_t test_seed(uint64_t otherwise);
/* splitmix64: the next number of a sequence. */
uint64_t test_random(uint64_t *state);
void test_random_bytes(uint64_t *state, void *dst, size_t len);

#endif /* BOLE_TESTS_PLATFORM_H */
