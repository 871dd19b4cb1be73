/* SPDX-License-Identifier: ISC */
/* Eight lanes with AVX2, sixteen with AVX-512. Blocks become lanes by transposing: 4 by 4 words
 * within quarters of the registers, then the quarters. */
#include "base/sha.h"

#include <immintrin.h>
#include <stdbool.h>

#include "base/arch/x86_64/features.h"

#define TARGET_AVX2   __attribute__((target("avx2")))
#define TARGET_AVX512 __attribute__((target("avx512f,avx512bw")))

enum { EIGHT = 8, SIXTEEN = 16 };

TARGET_AVX2 static void load_eight(const uint8_t *const *blocks, void *words)
{
	const __m256i swap = _mm256_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203,
	                                       0x0c0d0e0f08090a0b, 0x0405060700010203);
	__m256i *w = words;

	for (size_t half = 0; half < 2; half++) {
		__m256i r[8];
		__m256i u[2][4];

		for (size_t i = 0; i < 8; i++)
			r[i] = _mm256_shuffle_epi8(
			        _mm256_loadu_si256(
			                (const __m256i *)(const void *)(blocks[i] + 32 * half)),
			        swap);
		for (size_t g = 0; g < 2; g++) {
			__m256i t0 = _mm256_unpacklo_epi32(r[4 * g], r[4 * g + 1]);
			__m256i t1 = _mm256_unpackhi_epi32(r[4 * g], r[4 * g + 1]);
			__m256i t2 = _mm256_unpacklo_epi32(r[4 * g + 2], r[4 * g + 3]);
			__m256i t3 = _mm256_unpackhi_epi32(r[4 * g + 2], r[4 * g + 3]);

			u[g][0] = _mm256_unpacklo_epi64(t0, t2);
			u[g][1] = _mm256_unpackhi_epi64(t0, t2);
			u[g][2] = _mm256_unpacklo_epi64(t1, t3);
			u[g][3] = _mm256_unpackhi_epi64(t1, t3);
		}
		for (size_t k = 0; k < 4; k++) {
			w[8 * half + k] = _mm256_permute2x128_si256(u[0][k], u[1][k], 0x20);
			w[8 * half + 4 + k] = _mm256_permute2x128_si256(u[0][k], u[1][k], 0x31);
		}
	}
}

TARGET_AVX512 static void load_sixteen(const uint8_t *const *blocks, void *words)
{
	const __m512i swap = _mm512_set4_epi32(0x0c0d0e0f, 0x08090a0b, 0x04050607, 0x00010203);
	__m512i *w = words;
	__m512i r[16];
	__m512i u[4][4];

	for (size_t i = 0; i < 16; i++)
		r[i] = _mm512_shuffle_epi8(_mm512_loadu_si512(blocks[i]), swap);
	for (size_t g = 0; g < 4; g++) {
		__m512i t0 = _mm512_unpacklo_epi32(r[4 * g], r[4 * g + 1]);
		__m512i t1 = _mm512_unpackhi_epi32(r[4 * g], r[4 * g + 1]);
		__m512i t2 = _mm512_unpacklo_epi32(r[4 * g + 2], r[4 * g + 3]);
		__m512i t3 = _mm512_unpackhi_epi32(r[4 * g + 2], r[4 * g + 3]);

		u[g][0] = _mm512_unpacklo_epi64(t0, t2);
		u[g][1] = _mm512_unpackhi_epi64(t0, t2);
		u[g][2] = _mm512_unpacklo_epi64(t1, t3);
		u[g][3] = _mm512_unpackhi_epi64(t1, t3);
	}
	for (size_t k = 0; k < 4; k++) {
		__m512i a = _mm512_shuffle_i32x4(u[0][k], u[1][k], 0x44);
		__m512i b = _mm512_shuffle_i32x4(u[0][k], u[1][k], 0xee);
		__m512i c = _mm512_shuffle_i32x4(u[2][k], u[3][k], 0x44);
		__m512i d = _mm512_shuffle_i32x4(u[2][k], u[3][k], 0xee);

		w[k] = _mm512_shuffle_i32x4(a, c, 0x88);
		w[4 + k] = _mm512_shuffle_i32x4(a, c, 0xdd);
		w[8 + k] = _mm512_shuffle_i32x4(b, d, 0x88);
		w[12 + k] = _mm512_shuffle_i32x4(b, d, 0xdd);
	}
}

#define LANES      8
#define TARGET     TARGET_AVX2
#define NAME(part) sha1_eight##part
#define LOAD_WORDS load_eight
#include "base/arch/sha1_suspects.inc"

#define LANES      16
#define TARGET     TARGET_AVX512
#define NAME(part) sha1_sixteen##part
#define LOAD_WORDS load_sixteen
#include "base/arch/sha1_suspects.inc"

static uint32_t set_of(const uint32_t *masks, size_t count)
{
	uint32_t suspects = 0;

	for (size_t i = 0; i < count; i++)
		suspects |= (uint32_t)(masks[i] != 0) << i;
	return suspects;
}

static uint32_t suspects_avx2(const uint8_t *const *src, size_t count, uint32_t *masks)
{
	uint32_t suspects = 0;

	for (size_t at = 0; at < count; at += EIGHT) {
		size_t n = count - at < EIGHT ? count - at : EIGHT;

		if (n <= EIGHT / 2) {
			suspects |= bole_sha1_suspects_generic(src + at, n, masks + at) << at;
			continue;
		}
		sha1_eight_masks(src + at, n, masks + at);
		suspects |= set_of(masks + at, n) << at;
	}
	return suspects;
}

static uint32_t suspects_avx512(const uint8_t *const *src, size_t count, uint32_t *masks)
{
	if (count <= EIGHT / 2)
		return bole_sha1_suspects_generic(src, count, masks);
	if (count <= EIGHT)
		sha1_eight_masks(src, count, masks);
	else
		sha1_sixteen_masks(src, count, masks);
	return set_of(masks, count);
}

static bool attack_avx512(const struct bole_sha1_suspect *suspects, size_t count)
{
	return count <= EIGHT ? sha1_eight_attack(suspects, count)
	                      : sha1_sixteen_attack(suspects, count);
}

static const struct bole_sha1_detector avx2 = {suspects_avx2, sha1_eight_attack, EIGHT};
static const struct bole_sha1_detector avx512 = {suspects_avx512, attack_avx512, SIXTEEN};

const struct bole_sha1_detector *bole_sha1_detector_native(uint64_t features)
{
	if ((features & X86_AVX512) != 0)
		return &avx512;
	return (features & X86_AVX2) != 0 ? &avx2 : NULL;
}
