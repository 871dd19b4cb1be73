/* SPDX-License-Identifier: ISC */
/* SHA-1 and SHA-256 with the SHA extensions (Intel SDM volume 2, SHA1RNDS4 .. SHA256MSG2). Only
 * these functions are compiled for them; the choice is made by cpuid at run time. */
#include "base/sha.h"

#include <cpuid.h>
#include <immintrin.h>

#include "base/arch/x86_64/features.h"
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
/* Steps 4i to 4i + 3 of each lane. now holds the rotated e that they begin with, next gets the one
 * after; the very first four add e as it is. */
#define SHA1_FOUR(i, f, now, next)                                                         \
	EACH_LANE                                                                          \
	{                                                                                  \
		if ((i) < 4)                                                               \
			m[l][(i)&3] = _mm_shuffle_epi8(load(src[l] + 16 * ((i)&3)), swap); \
		else                                                                       \
			SHA1_EXPAND(m[l][(i)&3], m[l][((i) + 1) & 3], m[l][((i) + 2) & 3], \
			            m[l][((i) + 3) & 3]);                                  \
		(now)[l] = (i) == 0 ? _mm_add_epi32((now)[l], m[l][0])                     \
		                    : _mm_sha1nexte_epu32((now)[l], m[l][(i)&3]);          \
		(next)[l] = abcd[l];                                                       \
		abcd[l] = _mm_sha1rnds4_epu32(abcd[l], (now)[l], f);                       \
	}
#define SHA1_TWENTY(i, f, a, b)     \
	SHA1_FOUR((i), f, a, b)     \
	SHA1_FOUR((i) + 1, f, b, a) \
	SHA1_FOUR((i) + 2, f, a, b) \
	SHA1_FOUR((i) + 3, f, b, a) \
	SHA1_FOUR((i) + 4, f, a, b)
/* The instructions take several times longer to give their result than until the next can begin. */
#define EACH_LANE _Pragma("GCC unroll 2") for (size_t l = 0; l < lanes; l++)

/* A block of each lane (2 at most). */
SHA_TARGET __attribute__((always_inline)) static inline void
sha1_block(size_t lanes, __m128i *abcd, __m128i *e, const uint8_t *const *src)
{
	const __m128i swap = _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f);
	__m128i abcd_before[2];
	__m128i e_before[2];
	__m128i e0[2];
	__m128i e1[2];
	__m128i m[2][4];

	EACH_LANE
	{
		abcd_before[l] = abcd[l];
		e_before[l] = e[l];
		e0[l] = e[l];
	}
	SHA1_TWENTY(0, 0, e0, e1)
	SHA1_TWENTY(5, 1, e1, e0)
	SHA1_TWENTY(10, 2, e0, e1)
	SHA1_TWENTY(15, 3, e1, e0)
	EACH_LANE
	{
		e[l] = _mm_sha1nexte_epu32(e0[l], e_before[l]);
		abcd[l] = _mm_add_epi32(abcd[l], abcd_before[l]);
	}
}

SHA_TARGET static inline void sha1_store(uint32_t *state, __m128i abcd, __m128i e)
{
	_mm_storeu_si128((__m128i *)(void *)state, _mm_shuffle_epi32(abcd, 0x1b));
	state[4] = (uint32_t)_mm_extract_epi32(e, 3);
}

SHA_TARGET static void sha1_blocks_ni(uint32_t *state, const uint8_t *src, size_t count)
{
	__m128i abcd = _mm_shuffle_epi32(load(state), 0x1b);
	__m128i e = _mm_set_epi32((int)state[4], 0, 0, 0);

	for (; count > 0; count--, src += 64)
		sha1_block(1, &abcd, &e, &src);
	sha1_store(state, abcd, e);
}

SHA_TARGET static void sha1_pair_ni(uint32_t *const *states, const uint8_t *const *blocks,
                                    size_t count, uint32_t (*before)[2][8])
{
	const size_t lanes = 2;
	__m128i abcd[2];
	__m128i e[2];

	EACH_LANE
	{
		abcd[l] = _mm_shuffle_epi32(load(states[l]), 0x1b);
		e[l] = _mm_set_epi32((int)states[l][4], 0, 0, 0);
	}
	for (size_t i = 0; i < count; i++) {
		const uint8_t *src[2] = {blocks[i], blocks[count + i]};

		EACH_LANE
		sha1_store(before[i][l], abcd[l], e[l]);
		sha1_block(2, abcd, e, src);
	}
	EACH_LANE
	sha1_store(states[l], abcd[l], e[l]);
}

/* The instructions want the state as {f,e,b,a} and {h,g,d,c}, lowest lane first. */
SHA_TARGET static inline void sha256_load(const uint32_t *state, __m128i *abef, __m128i *cdgh)
{
	__m128i badc = _mm_shuffle_epi32(load(state), 0xb1);
	__m128i hgfe = _mm_shuffle_epi32(load(state + 4), 0x1b);

	*abef = _mm_alignr_epi8(badc, hgfe, 8);
	*cdgh = _mm_blend_epi16(hgfe, badc, 0xf0);
}

SHA_TARGET static inline void sha256_store(uint32_t *state, __m128i abef, __m128i cdgh)
{
	__m128i feba = _mm_shuffle_epi32(abef, 0x1b);
	__m128i dchg = _mm_shuffle_epi32(cdgh, 0xb1);

	_mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(feba, dchg, 0xf0));
	_mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

/* Four message words from the sixteen before. */
SHA_TARGET static inline __m128i sha256_expand(const __m128i *m, unsigned i)
{
	/* w[t] = s1(w[t-2]) + w[t-7] + s0(w[t-15]) + w[t-16] */
	__m128i seven = _mm_alignr_epi8(m[(i + 3) & 3], m[(i + 2) & 3], 4);
	__m128i now = _mm_add_epi32(_mm_sha256msg1_epu32(m[i & 3], m[(i + 1) & 3]), seven);

	return _mm_sha256msg2_epu32(now, m[(i + 3) & 3]);
}

SHA_TARGET __attribute__((always_inline)) static inline void
sha256_block(size_t lanes, __m128i *abef, __m128i *cdgh, const uint8_t *const *src)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
	__m128i abef_before[2];
	__m128i cdgh_before[2];
	__m128i m[2][4];

	EACH_LANE
	{
		abef_before[l] = abef[l];
		cdgh_before[l] = cdgh[l];
	}
	for (unsigned i = 0; i < 16; i++) {
		EACH_LANE
		{
			m[l][i & 3] = i < 4 ? _mm_shuffle_epi8(load(src[l] + 16 * i), swap)
			                    : sha256_expand(m[l], i);
			__m128i now = _mm_add_epi32(m[l][i & 3], load(bole_sha256_k + 4 * i));

			cdgh[l] = _mm_sha256rnds2_epu32(cdgh[l], abef[l], now);
			abef[l] = _mm_sha256rnds2_epu32(abef[l], cdgh[l],
			                                _mm_shuffle_epi32(now, 0x0e));
		}
	}
	EACH_LANE
	{
		abef[l] = _mm_add_epi32(abef[l], abef_before[l]);
		cdgh[l] = _mm_add_epi32(cdgh[l], cdgh_before[l]);
	}
}

SHA_TARGET static void sha256_blocks_ni(uint32_t *state, const uint8_t *src, size_t count)
{
	__m128i abef;
	__m128i cdgh;

	sha256_load(state, &abef, &cdgh);
	for (; count > 0; count--, src += 64)
		sha256_block(1, &abef, &cdgh, &src);
	sha256_store(state, abef, cdgh);
}

SHA_TARGET static void sha256_pair_ni(uint32_t *const *states, const uint8_t *const *blocks,
                                      size_t count, uint32_t (*before)[2][8])
{
	const size_t lanes = 2;
	__m128i abef[2];
	__m128i cdgh[2];

	(void)before;
	EACH_LANE
	sha256_load(states[l], &abef[l], &cdgh[l]);
	for (size_t i = 0; i < count; i++) {
		const uint8_t *src[2] = {blocks[i], blocks[count + i]};

		sha256_block(2, abef, cdgh, src);
	}
	EACH_LANE
	sha256_store(states[l], abef[l], cdgh[l]);
}

/* Three leaves of cpuid, each of which traps (Intel SDM volume 2, CPUID; volume 1, 14.3 and 15.2:
 * vectors can be used when the system keeps their registers). */
uint64_t bole_sha_features(void)
{
	enum { SSSE3 = 1 << 9, SSE41 = 1 << 19, OSXSAVE = 1 << 27, AVX = 1 << 28 };
	enum { AVX2 = 1 << 5, SHA = 1 << 29, KEPT = 6, KEPT_512 = 0xe6 };
	const unsigned f_and_bw = 1u << 16 | 1u << 30;
	unsigned a, b, c, d, first, kept = 0;
	uint64_t found = 0;

	__cpuid(0, a, b, c, d);
	if (a < 7)
		return 0;
	__cpuid(1, a, b, first, d);
	__cpuid_count(7, 0, a, b, c, d);
	if ((first & OSXSAVE) != 0 && (first & AVX) != 0)
		__asm__ volatile("xgetbv" : "=a"(kept), "=d"(d) : "c"(0));
	if ((first & SSSE3) != 0 && (first & SSE41) != 0 && (b & SHA) != 0)
		found |= X86_SHA;
	if ((kept & KEPT) == KEPT && (b & AVX2) != 0)
		found |= X86_AVX2;
	if ((found & X86_AVX2) != 0 && (kept & KEPT_512) == KEPT_512 && (b & f_and_bw) == f_and_bw)
		found |= X86_AVX512;
	return found;
}

bole_sha_blocks_fn *bole_sha_blocks_native(uint64_t features, uint8_t algo)
{
	if ((features & X86_SHA) == 0)
		return NULL;
	return algo == BOLE_HASH_SHA1 ? sha1_blocks_ni : sha256_blocks_ni;
}

bole_sha_pair_fn *bole_sha_pair_native(uint64_t features, uint8_t algo)
{
	if ((features & X86_SHA) == 0)
		return NULL;
	return algo == BOLE_HASH_SHA1 ? sha1_pair_ni : sha256_pair_ni;
}
