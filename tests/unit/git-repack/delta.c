/* SPDX-License-Identifier: ISC */
/* The delta encoder beside the decoder, over random edits. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "git/delta.h"
#include "git/repack/delta_encode.h"
#include "support/platform.h"

enum { BYTES_MAX = 1 << 18 };

static struct test_platform test;
static uint64_t seed;

static void setup(void)
{
	seed = test_seed(20);
	test_platform_init(&test, seed);
}

static void teardown(void)
{
	test_platform_release(&test);
}

TestSuite(delta_encode, .init = setup, .fini = teardown);

/* Encodes within cap, checks what comes out, returns the length; 0 = it does not fit. */
static size_t check(struct bole_bytes base, struct bole_bytes target, size_t cap)
{
	struct bole_delta_index *index;
	uint8_t *delta = malloc(cap);
	uint8_t *result = malloc(target.len + 1);
	size_t len;

	cr_assert_eq(bole_delta_index_open(test.base.alloc, base, &index), BOLE_OK);
	cr_assert_eq(test.bytes, bole_delta_index_bytes(base.len));
	enum bole_status rc = bole_delta_encode(index, target, delta, cap, &len);
	cr_assert(rc == BOLE_OK || rc == BOLE_E_LIMIT);
	if (rc == BOLE_OK) {
		cr_assert_leq(len, cap);
		cr_assert_eq(bole_delta_apply(base, bole_bytes_of(delta, len), result, target.len),
		             BOLE_OK);
		cr_assert_eq(memcmp(result, target.ptr, target.len), 0);
	}
	bole_delta_index_close(index);
	free(result);
	free(delta);
	return rc == BOLE_OK ? len : 0;
}

static size_t worst(size_t len)
{
	return len + len / 64 + 64;
}

/* A few pieces of base in some order, with noise or runs between them. */
static size_t edit(const uint8_t *base, size_t base_len, uint8_t *out)
{
	size_t len = 0;

	for (uint64_t n = test_random(&seed) % 12; n > 0; n--) {
		size_t from = base_len == 0 ? 0 : (size_t)(test_random(&seed) % base_len);
		size_t some = base_len == 0 ? 0 : (size_t)(test_random(&seed) % (base_len - from));
		size_t noise = (size_t)(test_random(&seed) % 40);

		if (len + some + noise > BYTES_MAX)
			break;
		memcpy(out + len, base + from, some);
		len += some;
		if (test_random(&seed) % 3 == 0)
			memset(out + len, (int)(test_random(&seed) & 0xff), noise);
		else
			test_random_bytes(&seed, out + len, noise);
		len += noise;
	}
	return len;
}

Test(delta_encode, what_is_encoded_is_what_is_decoded)
{
	uint8_t *base = malloc(BYTES_MAX);
	uint8_t *target = malloc(BYTES_MAX);

	for (int round = 0; round < 400; round++) {
		static const size_t most[] = {0, 15, 16, 17, 300, 5000, 70000, 200000};
		size_t len = most[round % 8];
		/* Few letters, so that blocks come up again. */
		uint8_t mask = (uint8_t)(round % 5 == 0 ? 0 : round % 5 == 1 ? 1 : 0xff);

		test_random_bytes(&seed, base, len);
		for (size_t i = 0; i < len; i++)
			base[i] &= mask;
		size_t n = edit(base, len, target);
		(void)check(bole_bytes_of(base, len), bole_bytes_of(target, n), worst(n));
	}
	free(target);
	free(base);
}

Test(delta_encode, small_changes_make_small_deltas)
{
	enum { LEN = 100000 };
	uint8_t *base = malloc(LEN + 100);
	uint8_t *target = malloc(LEN + 100);

	test_random_bytes(&seed, base, LEN);
	memcpy(target, base, LEN);
	struct bole_bytes b = {base, LEN};
	/* The same: two sizes and two copies. */
	cr_assert_leq(check(b, bole_bytes_of(target, LEN), 64), 24);
	target[50000] ^= 1;
	cr_assert_leq(check(b, bole_bytes_of(target, LEN), 64), 32);
	/* An insertion moves what follows. */
	memmove(target + 20100, target + 20000, LEN - 20000);
	test_random_bytes(&seed, target + 20000, 100);
	size_t len = check(b, bole_bytes_of(target, LEN + 100), 256);
	cr_assert(len > 100 && len < 160);
	/* Halves change places. */
	memcpy(target, base + LEN / 2, LEN / 2);
	memcpy(target + LEN / 2, base, LEN / 2);
	cr_assert_leq(check(b, bole_bytes_of(target, LEN), 64), 32);
	free(target);
	free(base);
}

/* Two numbers in a line: what is between them is copied, from the same line. */
Test(delta_encode, changes_near_each_other_leave_what_is_between_them)
{
	enum { LEN = 600, LINE = 60, FIRST = 245, SECOND = 263, CHANGED = 8 };
	uint8_t base[LEN];
	uint8_t target[LEN];

	test_random_bytes(&seed, base, LEN);
	for (size_t at = LINE; at < LEN; at += LINE)
		memcpy(base + at + 13, base + 13, 10); /* the same words in each */
	memcpy(target, base, LEN);
	for (size_t i = 0; i < CHANGED; i++) {
		target[FIRST + i] ^= 0x55;
		target[SECOND + i] ^= 0x55;
	}
	/* Lengths, a copy, 8 bytes, a copy of 10, 8 bytes, a copy. */
	cr_assert_leq(check(bole_bytes_of(base, LEN), bole_bytes_of(target, LEN), worst(LEN)),
	              4 + 3 + 1 + CHANGED + 4 + 1 + CHANGED + 5);
}

Test(delta_encode, what_would_be_too_long_is_given_up)
{
	enum { LEN = 5000 };
	uint8_t base[LEN];
	uint8_t target[LEN];

	test_random_bytes(&seed, base, LEN);
	test_random_bytes(&seed, target, LEN);
	struct bole_bytes b = {base, LEN};
	struct bole_bytes t = {target, LEN};
	size_t len = check(b, t, worst(LEN));
	cr_assert(len > LEN && len < LEN + LEN / 64);
	for (size_t cap = 1; cap < len; cap += 1 + cap / 3)
		cr_assert_eq(check(b, t, cap), 0);
	cr_assert_eq(check(b, t, len - 1), 0);
	cr_assert_eq(check(b, t, len), len);
}

/* Every block of the base has the same hash, or two do in turn: the work stays bounded. */
Test(delta_encode, repetition_costs_no_time)
{
	uint8_t *base = malloc(BYTES_MAX);
	uint8_t *target = malloc(BYTES_MAX);

	for (size_t period = 1; period <= 64; period = period * 2 + 1) {
		for (size_t i = 0; i < BYTES_MAX; i++) {
			base[i] = (uint8_t)(i % period);
			target[i] = (uint8_t)((i + 1) % period + (i % 9973 == 0));
		}
		(void)check(bole_bytes_of(base, BYTES_MAX), bole_bytes_of(target, BYTES_MAX),
		            worst(BYTES_MAX));
	}
	free(target);
	free(base);
}

Test(delta_encode, without_memory_there_is_no_index)
{
	static const uint8_t base[200];
	struct bole_delta_index *index;

	for (uint64_t n = 1; n <= 3; n++) {
		atomic_store(&test.fail_at, atomic_load(&test.grows) + n);
		cr_assert_eq(bole_delta_index_open(test.base.alloc,
		                                   bole_bytes_of(base, sizeof base), &index),
		             BOLE_E_NO_MEMORY);
		cr_assert_null(index);
	}
	atomic_store(&test.fail_at, 0);
	cr_assert_eq(bole_delta_index_open(test.base.alloc, bole_bytes_of(base, 0), &index),
	             BOLE_OK);
	bole_delta_index_close(index);
}
