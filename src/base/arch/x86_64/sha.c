/* SPDX-License-Identifier: ISC */
/* SHA-1 and SHA-256 with the SHA extensions (Intel SDM volume 2, SHA1RNDS4 .. SHA256MSG2). Only
 * these functions are compiled for them; the choice is made by cpuid at run time. */
#include "base/sha.h"

#include <cpuid.h>
#include <immintrin.h>
#include <stdbool.h>

#include "bole/oid.h"

#define SHA_TARGET __attribute__((target("sha,sse4.1,ssse3")))

/* A typed load without a cast that changes alignment. */
SHA_TARGET static inline __m128i load(const void *src)
{
	return _mm_loadu_si128((const __m128i *)src);
}

/* Four new message words into m0 from the sixteen before. */
#define SHA1_EXPAND(m0, m1, m2, m3) \
	((m0) = _mm_sha1msg2_epu32(_mm_xor_si128(_mm_sha1msg1_epu32((m0), (m1)), (m2)), (m3)))
/* Steps 4i to 4i + 3. now holds the rotated e that they begin with, next gets the one after; the
 * very first four add e as it is. */
#define SHA1_FOUR(i, f, now, next)                                                   \
	do {                                                                         \
		if ((i) < 4)                                                         \
			m[(i)&3] = _mm_shuffle_epi8(load(src + 16 * ((i)&3)), swap); \
		else                                                                 \
			SHA1_EXPAND(m[(i)&3], m[((i) + 1) & 3], m[((i) + 2) & 3],    \
			            m[((i) + 3) & 3]);                               \
		(now) = (i) == 0 ? _mm_add_epi32((now), m[0])                        \
		                 : _mm_sha1nexte_epu32((now), m[(i)&3]);             \
		(next) = *abcd;                                                      \
		*abcd = _mm_sha1rnds4_epu32(*abcd, (now), f);                        \
	} while (0)
#define SHA1_TWENTY(i, f, a, b)              \
	do {                                 \
		SHA1_FOUR((i), f, a, b);     \
		SHA1_FOUR((i) + 1, f, b, a); \
		SHA1_FOUR((i) + 2, f, a, b); \
		SHA1_FOUR((i) + 3, f, b, a); \
		SHA1_FOUR((i) + 4, f, a, b); \
	} while (0)

SHA_TARGET __attribute__((always_inline)) static inline void sha1_block(__m128i *abcd, __m128i *e,
                                                                        const uint8_t *src)
{
	const __m128i swap = _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f);
	const __m128i abcd_before = *abcd;
	const __m128i e_before = *e;
	__m128i e0 = *e;
	__m128i e1;
	__m128i m[4];

	SHA1_TWENTY(0, 0, e0, e1);
	SHA1_TWENTY(5, 1, e1, e0);
	SHA1_TWENTY(10, 2, e0, e1);
	SHA1_TWENTY(15, 3, e1, e0);
	*e = _mm_sha1nexte_epu32(e0, e_before);
	*abcd = _mm_add_epi32(*abcd, abcd_before);
}

SHA_TARGET static void sha1_blocks_ni(uint32_t *state, const uint8_t *src, size_t count)
{
	__m128i abcd = _mm_shuffle_epi32(load(state), 0x1b);
	__m128i e = _mm_set_epi32((int)state[4], 0, 0, 0);

	for (; count > 0; count--, src += 64)
		sha1_block(&abcd, &e, src);
	_mm_storeu_si128((__m128i *)(void *)state, _mm_shuffle_epi32(abcd, 0x1b));
	state[4] = (uint32_t)_mm_extract_epi32(e, 3);
}

SHA_TARGET static void sha256_blocks_ni(uint32_t *state, const uint8_t *src, size_t count)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
	/* The instructions want the state as {f,e,b,a} and {h,g,d,c}, lowest lane first. */
	__m128i badc = _mm_shuffle_epi32(load(state), 0xb1);
	__m128i hgfe = _mm_shuffle_epi32(load(state + 4), 0x1b);
	__m128i abef = _mm_alignr_epi8(badc, hgfe, 8);
	__m128i cdgh = _mm_blend_epi16(hgfe, badc, 0xf0);

	for (; count > 0; count--, src += 64) {
		const __m128i abef_before = abef;
		const __m128i cdgh_before = cdgh;
		__m128i m[4];

		for (unsigned i = 0; i < 4; i++)
			m[i] = _mm_shuffle_epi8(load(src + 16 * i), swap);
		for (unsigned i = 0; i < 16; i++) {
			__m128i now = m[i & 3];

			if (i >= 4) {
				/* w[t] = s1(w[t-2]) + w[t-7] + s0(w[t-15]) + w[t-16] */
				__m128i seven = _mm_alignr_epi8(m[(i + 3) & 3], m[(i + 2) & 3], 4);

				now = _mm_add_epi32(_mm_sha256msg1_epu32(now, m[(i + 1) & 3]),
				                    seven);
				now = _mm_sha256msg2_epu32(now, m[(i + 3) & 3]);
				m[i & 3] = now;
			}
			now = _mm_add_epi32(now, load(bole_sha256_k + 4 * i));
			cdgh = _mm_sha256rnds2_epu32(cdgh, abef, now);
			abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(now, 0x0e));
		}
		abef = _mm_add_epi32(abef, abef_before);
		cdgh = _mm_add_epi32(cdgh, cdgh_before);
	}
	__m128i feba = _mm_shuffle_epi32(abef, 0x1b);
	__m128i dchg = _mm_shuffle_epi32(cdgh, 0xb1);
	_mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(feba, dchg, 0xf0));
	_mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

static bool has_sha(void)
{
	enum { SSSE3 = 1 << 9, SSE41 = 1 << 19, SHA = 1 << 29 };
	unsigned a;
	unsigned b;
	unsigned c;
	unsigned d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || (c & SSSE3) == 0 || (c & SSE41) == 0)
		return false;
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & SHA) != 0;
}

bole_sha_blocks_fn *bole_sha_blocks_native(uint8_t algo)
{
	if (!has_sha())
		return NULL;
	return algo == BOLE_HASH_SHA1 ? sha1_blocks_ni : sha256_blocks_ni;
}
