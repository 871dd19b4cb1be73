/* SPDX-License-Identifier: ISC */
#include <criterion/criterion.h>
#include <string.h>

#include "base/bytes.h"
#include "base/deflate.h"
#include "base/memory.h"
#include "support/platform.h"

enum { DATA_MAX = 300000 };
static uint8_t data[DATA_MAX];
static uint8_t packed[DATA_MAX + 4096];
static uint8_t back[DATA_MAX];

static struct test_platform test;
static struct bole_inflater *inflater;
static struct bole_deflater *deflater;

static void open_all(int level)
{
	test_platform_init(&test, 1);
	cr_assert_eq(bole_inflater_open(&test.alloc, &inflater), BOLE_OK);
	cr_assert_eq(bole_deflater_open(&test.alloc, level, &deflater), BOLE_OK);
}

static void close_all(void)
{
	bole_inflater_close(inflater);
	bole_deflater_close(deflater);
	test_platform_release(&test);
}

/* Half of it repeats, so that there is something to find. */
static void fill(uint64_t *seed, size_t len)
{
	for (size_t i = 0; i < len; i++)
		data[i] = i > 100 && i % 64 < 32 ? data[i - 64] : (uint8_t)test_random(seed);
}

static size_t deflate_in_steps(uint64_t *seed, size_t len)
{
	size_t in_at = 0;
	size_t out_at = 0;
	enum bole_status rc = BOLE_OK;

	bole_deflate_begin(deflater);
	while (rc == BOLE_OK) {
		size_t in_len = test_random(seed) % 5000;
		size_t out_len = test_random(seed) % 5000;

		in_len = in_len < len - in_at ? in_len : len - in_at;
		rc = bole_deflate_step(deflater, data + in_at, &in_len, packed + out_at, &out_len,
		                       in_at + in_len == len);
		in_at += in_len;
		out_at += out_len;
	}
	cr_assert_eq(rc, BOLE_END);
	cr_assert_eq(in_at, len);
	return out_at;
}

static enum bole_status inflate_in_steps(uint64_t *seed, size_t packed_len, size_t *len)
{
	size_t in_at = 0;
	size_t out_at = 0;
	enum bole_status rc = BOLE_OK;

	bole_inflate_begin(inflater);
	for (unsigned idle = 0; rc == BOLE_OK && idle < 50; idle++) {
		size_t in_len = test_random(seed) % 3000;
		size_t out_len = test_random(seed) % 3000;

		in_len = in_len < packed_len - in_at ? in_len : packed_len - in_at;
		out_len = out_len < sizeof back - out_at ? out_len : sizeof back - out_at;
		rc = bole_inflate_step(inflater, packed + in_at, &in_len, back + out_at, &out_len);
		in_at += in_len;
		out_at += out_len;
		if (in_len > 0 || out_len > 0)
			idle = 0;
	}
	*len = out_at;
	return rc;
}

Test(deflate, whole_and_stepped_streams_read_each_other)
{
	uint64_t seed = test_seed(1);
	static const size_t lens[] = {0, 1, 2, 100, 4096, 65535, 65536, DATA_MAX};

	for (int level = 0; level <= 9; level += 3) {
		open_all(level);
		for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
			size_t len = lens[i];
			size_t used;
			size_t got;

			fill(&seed, len);
			size_t n = bole_deflate_whole(deflater, bole_bytes_of(data, len), packed,
			                              bole_deflate_bound(len));
			cr_assert_gt(n, 0);
			cr_assert_leq(n, bole_deflate_bound(len));
			cr_assert_eq(inflate_in_steps(&seed, n, &got), BOLE_END);
			cr_assert_eq(got, len);
			cr_assert_arr_eq(back, data, len);

			n = deflate_in_steps(&seed, len);
			memset(packed + n, 0x5a, 50);
			cr_assert_eq(bole_inflate_whole(inflater, bole_bytes_of(packed, n + 50),
			                                back, len, &used),
			             BOLE_OK);
			cr_assert_eq(used, n);
			cr_assert_arr_eq(back, data, len);
			/* Another length than promised is damage. */
			cr_assert_eq(bole_inflate_whole(inflater, bole_bytes_of(packed, n), back,
			                                len + 1, &used),
			             BOLE_E_CORRUPT);
			if (len > 0)
				cr_assert_eq(bole_inflate_whole(inflater, bole_bytes_of(packed, n),
				                                back, len - 1, &used),
				             BOLE_E_CORRUPT);
		}
		close_all();
	}
}

Test(deflate, every_truncation_and_every_flipped_bit_is_noticed)
{
	uint64_t seed = test_seed(2);
	size_t used;
	size_t got;

	open_all(6);
	fill(&seed, 300);
	size_t n = bole_deflate_whole(deflater, bole_bytes_of(data, 300), packed,
	                              bole_deflate_bound(300));
	for (size_t cut = 0; cut < n; cut++) {
		cr_assert_eq(
		        bole_inflate_whole(inflater, bole_bytes_of(packed, cut), back, 300, &used),
		        BOLE_E_CORRUPT);
		cr_assert_neq(inflate_in_steps(&seed, cut, &got), BOLE_END);
	}
	for (size_t bit = 0; bit < n * 8; bit++) {
		packed[bit / 8] ^= (uint8_t)(1u << bit % 8);
		enum bole_status rc =
		        bole_inflate_whole(inflater, bole_bytes_of(packed, n), back, 300, &used);
		/* The compression level in the head says nothing: the data must be right then. */
		cr_assert(rc == BOLE_E_CORRUPT || memcmp(back, data, 300) == 0);
		rc = inflate_in_steps(&seed, n, &got);
		cr_assert(rc != BOLE_END || (got == 300 && memcmp(back, data, 300) == 0));
		packed[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	close_all();
}

Test(deflate, no_memory_is_an_answer_and_leaks_nothing)
{
	for (uint64_t n = 1; n < 12; n++) {
		struct bole_inflater *in = NULL;
		size_t used = 11;
		size_t room = 100;

		test_platform_init(&test, 1);
		test.fail_at = n;
		if (bole_inflater_open(&test.alloc, &in) == BOLE_OK) {
			bole_inflate_begin(in);
			enum bole_status rc = bole_inflate_step(
			        in, (const uint8_t *)"x\x9cKLJNIMK\x07\0", &used, back, &room);
			cr_assert(rc == BOLE_E_NO_MEMORY || rc == BOLE_OK || rc == BOLE_E_CORRUPT);
		}
		bole_inflater_close(in);
		test_platform_release(&test);
	}
}

Test(deflate, nothing_takes_symbols_that_zlib_refuses)
{
	/* Fixed codes; the fourth symbol is 286, which RFC 1951 reserves. */
	static const uint8_t reserved[] = {0x78, 0x01, 0x4b, 0x1c, 0x03, 0x44,
	                                   0x03, 0x00, 0xd8, 0xa8, 0x71, 0xad};
	uint64_t seed = test_seed(3);
	size_t used;

	open_all(6);
	struct bole_bytes in = {reserved, sizeof reserved};
	cr_assert_eq(bole_inflate_whole(inflater, in, back, 300, &used), BOLE_E_CORRUPT);
	cr_assert_eq(bole_inflate_strict(inflater, in, back, 300, &used), BOLE_E_CORRUPT);
	for (size_t len = 0; len < 100000; len = len * 3 + 1) {
		fill(&seed, len);
		size_t n = bole_deflate_whole(deflater, bole_bytes_of(data, len), packed,
		                              bole_deflate_bound(len));
		memset(packed + n, 0xff, 20);
		in = bole_bytes_of(packed, n + 20);
		cr_assert_eq(bole_inflate_strict(inflater, in, back, len, &used), BOLE_OK);
		cr_assert_eq(used, n);
		cr_assert_arr_eq(back, data, len);
		cr_assert_eq(bole_inflate_strict(inflater, in, back, len + 1, &used),
		             BOLE_E_CORRUPT);
		if (len > 0)
			cr_assert_eq(bole_inflate_strict(inflater, in, back, len - 1, &used),
			             BOLE_E_CORRUPT);
		/* As long as bytes of the content are missing, more is asked for. */
		in.len = n - 1;
		cr_assert_neq(bole_inflate_strict(inflater, in, back, len, &used), BOLE_OK);
		for (size_t cut = n / 2; len > 100 && cut < n; cut += 1 + cut / 2) {
			in.len = n - cut;
			cr_assert_eq(bole_inflate_strict(inflater, in, back, len, &used),
			             BOLE_AGAIN);
		}
	}
	close_all();
}

/* Goal: whole or in steps, what is said of a stream is the same, for any bit that flips. */
Test(deflate, the_strict_way_and_the_stepped_one_agree_on_damaged_streams)
{
	uint64_t seed = test_seed(4);
	size_t used, got;

	open_all(6);
	for (size_t round = 0; round < 5000; round++) {
		size_t len = test_random(&seed) % 3000;

		if (round % 100 == 0)
			fill(&seed, DATA_MAX);
		size_t n = bole_deflate_whole(deflater, bole_bytes_of(data, len), packed,
		                              bole_deflate_bound(len));
		packed[test_random(&seed) % n] ^= (uint8_t)(1 << test_random(&seed) % 8);
		enum bole_status steps = inflate_in_steps(&seed, n, &got);
		size_t want = steps == BOLE_END ? got : len;
		enum bole_status rc =
		        bole_inflate_strict(inflater, bole_bytes_of(packed, n), back, want, &used);

		cr_assert_eq(rc == BOLE_OK, steps == BOLE_END);
		cr_assert(rc != BOLE_AGAIN || steps == BOLE_OK);
	}
	close_all();
}
