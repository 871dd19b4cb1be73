/* SPDX-License-Identifier: ISC */
/* SHA-1 and SHA-256 with ARMv8's cryptographic extension (Arm ARM, C7.2: SHA1C .. SHA256SU1). This
 * file alone is compiled for it; the choice is made at run time. */
#include "base/sha.h"

#include <arm_neon.h>
#include <stdbool.h>

#include "bole/oid.h"

/* Four words of a message, which are big-endian. */
static inline uint32x4_t load_words(const uint8_t *src)
{
	return vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(src)));
}

static void sha1_blocks_ce(uint32_t *state, const uint8_t *src, size_t count)
{
	static const uint32_t k[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
	uint32x4_t abcd = vld1q_u32(state);
	uint32_t e = state[4];

	for (; count > 0; count--, src += 64) {
		const uint32x4_t abcd_before = abcd;
		const uint32_t e_before = e;
		uint32x4_t m[4];

		for (unsigned i = 0; i < 4; i++)
			m[i] = load_words(src + 16 * i);
		/* Four steps at a time; e after them is a before them, rotated. */
		for (unsigned i = 0; i < 20; i++) {
			if (i >= 4)
				m[i & 3] = vsha1su1q_u32(
				        vsha1su0q_u32(m[i & 3], m[(i + 1) & 3], m[(i + 2) & 3]),
				        m[(i + 3) & 3]);
			uint32x4_t words = vaddq_u32(m[i & 3], vdupq_n_u32(k[i / 5]));
			uint32_t e_next = vsha1h_u32(vgetq_lane_u32(abcd, 0));

			if (i < 5)
				abcd = vsha1cq_u32(abcd, e, words);
			else if (i < 10 || i >= 15)
				abcd = vsha1pq_u32(abcd, e, words);
			else
				abcd = vsha1mq_u32(abcd, e, words);
			e = e_next;
		}
		abcd = vaddq_u32(abcd, abcd_before);
		e += e_before;
	}
	vst1q_u32(state, abcd);
	state[4] = e;
}

static void sha256_blocks_ce(uint32_t *state, const uint8_t *src, size_t count)
{
	uint32x4_t abcd = vld1q_u32(state);
	uint32x4_t efgh = vld1q_u32(state + 4);

	for (; count > 0; count--, src += 64) {
		const uint32x4_t abcd_before = abcd;
		const uint32x4_t efgh_before = efgh;
		uint32x4_t m[4];

		for (unsigned i = 0; i < 4; i++)
			m[i] = load_words(src + 16 * i);
		for (unsigned i = 0; i < 16; i++) {
			if (i >= 4)
				m[i & 3] =
				        vsha256su1q_u32(vsha256su0q_u32(m[i & 3], m[(i + 1) & 3]),
				                        m[(i + 2) & 3], m[(i + 3) & 3]);
			uint32x4_t words = vaddq_u32(m[i & 3], vld1q_u32(bole_sha256_k + 4 * i));
			uint32x4_t abcd_now = abcd;

			abcd = vsha256hq_u32(abcd, efgh, words);
			efgh = vsha256h2q_u32(efgh, abcd_now, words);
		}
		abcd = vaddq_u32(abcd, abcd_before);
		efgh = vaddq_u32(efgh, efgh_before);
	}
	vst1q_u32(state, abcd);
	vst1q_u32(state + 4, efgh);
}

/* Reading the register traps outside the kernel; Linux answers since 4.11. */
uint64_t bole_sha_features(void)
{
	uint64_t features;

	__asm__("mrs %0, id_aa64isar0_el1" : "=r"(features));
	return features;
}

bole_sha_blocks_fn *bole_sha_blocks_native(uint64_t features, uint8_t algo)
{
	enum { SHA1_AT = 8, SHA2_AT = 12, FIELD = 15 };

	if (algo == BOLE_HASH_SHA1)
		return (features >> SHA1_AT & FIELD) != 0 ? sha1_blocks_ce : NULL;
	return (features >> SHA2_AT & FIELD) != 0 ? sha256_blocks_ce : NULL;
}

/* One message at a time is what was measured. */
bole_sha_pair_fn *bole_sha_pair_native(uint64_t features, uint8_t algo)
{
	(void)features;
	(void)algo;
	return NULL;
}
