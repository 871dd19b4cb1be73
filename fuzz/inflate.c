/* SPDX-License-Identifier: ISC */
/* What the patched libdeflate accepts zlib accepts, with the same bytes and the same end; and whole
 * or in steps, the same streams are accepted. The input is raw deflate data (RFC 1951), or text
 * that zlib deflates and of which then bits are flipped; zlib itself says what it inflates to, so
 * that the checksum at the end is right. */
#include <libdeflate.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/deflate.h"
#include "support/platform.h"

enum { IN_MAX = 4096, OUT_MAX = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t whole[OUT_MAX];
static uint8_t steps[OUT_MAX + 1];
static uint8_t framed[IN_MAX + 6];

/* The length, or -1. *cut = zlib would go on if there were more. */
static long in_steps(struct bole_inflater *inflater, struct bole_bytes in, size_t cap, size_t *used,
                     bool *cut)
{
	size_t at = 0;
	size_t made = 0;

	bole_inflate_begin(inflater);
	for (;;) {
		size_t took = in.len - at;
		size_t room = cap + 1 - made;
		enum bole_status rc =
		        bole_inflate_step(inflater, in.ptr + at, &took, steps + made, &room);

		BOLE_ASSERT(took <= in.len - at && room <= cap + 1 - made);
		at += took;
		made += room;
		*used = at;
		*cut = rc == BOLE_OK;
		if (rc == BOLE_END)
			return (long)made;
		if (rc != BOLE_OK || (took == 0 && room == 0) || made > cap)
			return -1;
	}
}

/* A zlib stream of the raw data, with the checksum of what zlib makes of it, if it does. */
static size_t frame(const uint8_t *raw, size_t len)
{
	z_stream z = {.next_in = (Bytef *)(uintptr_t)(const void *)raw,
	              .avail_in = (unsigned)len,
	              .next_out = whole,
	              .avail_out = OUT_MAX};

	BOLE_ASSERT(inflateInit2(&z, -15) == Z_OK);
	(void)inflate(&z, Z_FINISH);
	size_t used = len - z.avail_in;
	uLong sum = adler32(1, whole, (unsigned)z.total_out);
	inflateEnd(&z);
	framed[0] = 0x78;
	framed[1] = 0x9c;
	memcpy(framed + 2, raw, used);
	bole_put_be32(framed + 2 + used, (uint32_t)sum);
	memcpy(framed + 6 + used, raw + used, len - used);
	return len + 6;
}

/* No checksum, no length that was told before: every wrong yes shows here. */
static void compare_raw(const uint8_t *raw, size_t len)
{
	static struct libdeflate_decompressor *decompressor;
	size_t used, made;

	if (decompressor == NULL)
		decompressor = libdeflate_alloc_decompressor();
	enum libdeflate_result rc = libdeflate_deflate_decompress_ex(decompressor, raw, len, steps,
	                                                             OUT_MAX, &used, &made);
	z_stream z = {.next_in = (Bytef *)(uintptr_t)(const void *)raw,
	              .avail_in = (unsigned)len,
	              .next_out = whole,
	              .avail_out = OUT_MAX};

	if (rc != LIBDEFLATE_SUCCESS)
		return;
	BOLE_ASSERT(inflateInit2(&z, -15) == Z_OK);
	BOLE_ASSERT(inflate(&z, Z_FINISH) == Z_STREAM_END);
	BOLE_ASSERT(len - z.avail_in == used && z.total_out == made);
	BOLE_ASSERT(memcmp(steps, whole, made) == 0);
	inflateEnd(&z);
}

/* Deflates size bytes behind four that say how, and which bits to flip. */
static size_t deflate_and_damage(const uint8_t *data, size_t size, uint8_t *raw)
{
	z_stream z = {.next_in = (Bytef *)(uintptr_t)(const void *)(data + 4),
	              .avail_in = (unsigned)(size - 4),
	              .next_out = raw,
	              .avail_out = IN_MAX};
	uint64_t seed = bole_get_be32(data);

	BOLE_ASSERT(deflateInit2(&z, data[0] >> 4 & 7, Z_DEFLATED, -15, 1 + (data[1] & 7),
	                         data[0] >> 1 & 3) == Z_OK);
	(void)deflate(&z, Z_FINISH);
	size_t len = z.total_out;
	deflateEnd(&z);
	for (unsigned flips = data[2] & 3; flips > 0 && len > 0; flips--) {
		/* Headers are where most is said. */
		uint64_t bit = test_random(&seed) % (flips == 1 ? 8 * len : 200);

		if (bit / 8 < len)
			raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t raw[IN_MAX];
	static struct test_platform test;
	static struct bole_inflater *inflater;
	size_t used_strict;
	size_t used_whole;
	size_t used_steps;
	bool cut;

	if (inflater == NULL) {
		test_platform_init(&test, 1);
		BOLE_ASSERT(bole_inflater_open(&test.alloc, &inflater) == BOLE_OK);
	}
	if (size > IN_MAX)
		return 0;
	if (size > 4 && (data[0] & 1) != 0) {
		size = deflate_and_damage(data, size, raw);
		data = raw;
	}
	compare_raw(data, size);
	size_t in_len = frame(data, size);
	struct bole_bytes in = {framed, in_len};
	long made = in_steps(inflater, in, OUT_MAX - 1, &used_steps, &cut);
	size_t len = made >= 0 ? (size_t)made : size;
	enum bole_status rc = bole_inflate_strict(inflater, in, whole, len, &used_strict);
	BOLE_ASSERT(rc == BOLE_OK || rc == BOLE_E_CORRUPT || rc == BOLE_AGAIN);
	BOLE_ASSERT((rc == BOLE_OK) == (made >= 0));
	/* More is asked for only where zlib has seen no mistake either. */
	BOLE_ASSERT(rc != BOLE_AGAIN || cut);
	if (rc == BOLE_OK) {
		BOLE_ASSERT(used_strict == used_steps);
		BOLE_ASSERT(memcmp(whole, steps, len) == 0);
		memset(whole, 0, len);
	}
	rc = bole_inflate_whole(inflater, in, whole, len, &used_whole);
	BOLE_ASSERT(rc == BOLE_OK || rc == BOLE_E_CORRUPT);
	BOLE_ASSERT((rc == BOLE_OK) == (made >= 0));
	if (made >= 0) {
		BOLE_ASSERT(used_whole == used_steps);
		BOLE_ASSERT(memcmp(whole, steps, len) == 0);
	}
	return 0;
}
