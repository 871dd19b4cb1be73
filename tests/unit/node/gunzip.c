/* SPDX-License-Identifier: ISC */
#include <criterion/criterion.h>
#include <string.h>
#include <zlib.h>

#include "node/gunzip.h"
#include "tests/support/platform.h"

enum { PLAIN = 50000, CAP = 60000 };

/* Packs with zlib's own gzip framing: the other side of ours. */
static size_t pack(const uint8_t *plain, size_t len, uint8_t *out, gz_header *head)
{
	z_stream z = {0};

	cr_assert_eq(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	if (head != NULL)
		cr_assert_eq(deflateSetHeader(&z, head), Z_OK);
	z.next_in = (Bytef *)(uintptr_t)plain;
	z.avail_in = (unsigned)len;
	z.next_out = out;
	z.avail_out = CAP;
	cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return CAP - z.avail_out;
}

static enum bole_status unpack(struct bole_alloc *alloc, const uint8_t *in, size_t len, size_t step,
                               uint8_t *out, size_t *made, size_t *taken)
{
	struct bole_gunzip *g = NULL;
	enum bole_status rc = BOLE_OK;

	cr_assert_eq(bole_gunzip_open(alloc, &g), BOLE_OK);
	*made = 0;
	*taken = 0;
	while (rc == BOLE_OK) {
		size_t in_len = len - *taken < step ? len - *taken : step;
		size_t out_len = CAP - *made < step ? CAP - *made : step;
		bool dry = in_len == 0;
		rc = bole_gunzip_step(g, in + *taken, &in_len, out + *made, &out_len);
		*taken += in_len;
		*made += out_len;
		if (dry && out_len == 0 && rc == BOLE_OK)
			break;
	}
	bole_gunzip_close(g);
	return rc;
}

static void fill(uint8_t *plain, uint64_t seed)
{
	for (size_t i = 0; i < PLAIN; i++)
		plain[i] = (uint8_t)("0123456789abcdef"[test_random(&seed) % 16]);
}

Test(gunzip, bodies_survive_any_framing_and_step)
{
	static uint8_t plain[PLAIN];
	static uint8_t packed[CAP];
	static uint8_t out[CAP];
	struct test_platform platform;
	gz_header head = {
	        .name = (Bytef *)(uintptr_t) "name",
	        .comment = (Bytef *)(uintptr_t) "comment",
	        .extra = (Bytef *)(uintptr_t) "xx\2\0yy",
	        .extra_len = 6,
	        .hcrc = 1,
	};

	test_platform_init(&platform, 1);
	fill(plain, test_seed(7));
	for (int framed = 0; framed < 2; framed++) {
		size_t len = pack(plain, PLAIN, packed, framed == 1 ? &head : NULL);
		for (size_t step = 1; step < CAP; step = step * 3 + 1) {
			size_t made = 0;
			size_t taken = 0;
			cr_assert_eq(unpack(&platform.alloc, packed, len, step, out, &made, &taken),
			             BOLE_END);
			cr_assert_eq(taken, len);
			cr_assert_eq(made, PLAIN);
			cr_assert_arr_eq(out, plain, PLAIN);
		}
	}
	test_platform_release(&platform);
}

Test(gunzip, every_truncation_waits_and_every_damage_is_seen)
{
	static uint8_t packed[CAP];
	static uint8_t out[CAP];
	struct test_platform platform;
	static const uint8_t plain[] = "0032want 0123456789012345678901234567890123456789\n";
	size_t made = 0;
	size_t taken = 0;

	test_platform_init(&platform, 1);
	size_t len = pack(plain, sizeof plain, packed, NULL);
	for (size_t cut = 0; cut < len; cut++)
		cr_assert_eq(unpack(&platform.alloc, packed, cut, 7, out, &made, &taken), BOLE_OK);
	for (size_t i = 0; i < len; i++) {
		if (i >= 4 && i < 10) /* time, flags and system say nothing about the data */
			continue;
		for (int bit = 0; bit < 8; bit++) {
			packed[i] ^= (uint8_t)(1 << bit);
			enum bole_status rc =
			        unpack(&platform.alloc, packed, len, 7, out, &made, &taken);
			/* Bits that pad the last byte say nothing either. */
			if (rc == BOLE_END) {
				cr_assert_eq(made, sizeof plain);
				cr_assert_arr_eq(out, plain, sizeof plain);
			} else {
				cr_assert(rc == BOLE_E_INVALID || rc == BOLE_OK, "byte %zu", i);
			}
			packed[i] ^= (uint8_t)(1 << bit);
		}
	}
	test_platform_release(&platform);
}

Test(gunzip, an_endless_header_is_refused)
{
	static uint8_t packed[5000] = {0x1f, 0x8b, 8, 8};
	static uint8_t out[CAP];
	struct test_platform platform;
	size_t made = 0;
	size_t taken = 0;

	test_platform_init(&platform, 1);
	memset(packed + 10, 'n', sizeof packed - 10);
	cr_assert_eq(unpack(&platform.alloc, packed, sizeof packed, 100, out, &made, &taken),
	             BOLE_E_LIMIT);
	test_platform_release(&platform);
}
