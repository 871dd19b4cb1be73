/* SPDX-License-Identifier: ISC */
/* SHA-1 and SHA-256 in portable C, after the description in FIPS 180-4. */
#include "base/sha.h"

#include <string.h>

#include "base/bytes.h"

static inline uint32_t rotl(uint32_t v, unsigned n)
{
	return v << n | v >> (32 - n);
}

static inline uint32_t rotr(uint32_t v, unsigned n)
{
	return v >> n | v << (32 - n);
}

/* One SHA-1 step; the rotation of the five variables is in the order of the arguments. What does
 * not wait for the step before is added first. */
#define SHA1_STEP(f, k, a, b, c, d, e, w)   \
	do {                                \
		(e) += (uint32_t)(k) + (w); \
		(e) += (f);                 \
		(e) += rotl((a), 5);        \
		(b) = rotl((b), 30);        \
	} while (0)
#define SHA1_CHOOSE(b, c, d)   ((d) ^ ((b) & ((c) ^ (d))))
#define SHA1_PARITY(b, c, d)   ((b) ^ (c) ^ (d))
#define SHA1_MAJORITY(b, c, d) (((b) & (c)) | ((d) & ((b) | (c))))
/* The message word of a step, in a ring of sixteen; i is a constant everywhere. */
#define SHA1_WORD(i)                                                                               \
	((i) < 16 ? w[(i)&15]                                                                      \
	          : (w[(i)&15] = rotl(w[((i) + 13) & 15] ^ w[((i) + 8) & 15] ^ w[((i) + 2) & 15] ^ \
	                                      w[(i)&15],                                           \
	                              1)))
#define SHA1_FIVE(F, k, i)                                                   \
	do {                                                                 \
		SHA1_STEP(F(b, c, d), k, a, b, c, d, e, SHA1_WORD(i));       \
		SHA1_STEP(F(a, b, c), k, e, a, b, c, d, SHA1_WORD((i) + 1)); \
		SHA1_STEP(F(e, a, b), k, d, e, a, b, c, SHA1_WORD((i) + 2)); \
		SHA1_STEP(F(d, e, a), k, c, d, e, a, b, SHA1_WORD((i) + 3)); \
		SHA1_STEP(F(c, d, e), k, b, c, d, e, a, SHA1_WORD((i) + 4)); \
	} while (0)
#define SHA1_TWENTY(F, k, i)               \
	do {                               \
		SHA1_FIVE(F, k, (i));      \
		SHA1_FIVE(F, k, (i) + 5);  \
		SHA1_FIVE(F, k, (i) + 10); \
		SHA1_FIVE(F, k, (i) + 15); \
	} while (0)

static void sha1_block(uint32_t *state, const uint8_t *src)
{
	uint32_t w[16];
	uint32_t a = state[0];
	uint32_t b = state[1];
	uint32_t c = state[2];
	uint32_t d = state[3];
	uint32_t e = state[4];

	for (unsigned i = 0; i < 16; i++)
		w[i] = bole_get_be32(src + 4 * i);
	SHA1_TWENTY(SHA1_CHOOSE, 0x5a827999, 0);
	SHA1_TWENTY(SHA1_PARITY, 0x6ed9eba1, 20);
	SHA1_TWENTY(SHA1_MAJORITY, 0x8f1bbcdc, 40);
	SHA1_TWENTY(SHA1_PARITY, 0xca62c1d6, 60);
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
	state[4] += e;
}

void bole_sha1_blocks_generic(uint32_t *state, const uint8_t *src, size_t count)
{
	for (size_t i = 0; i < count; i++)
		sha1_block(state, src + 64 * i);
}

const uint32_t bole_sha256_k[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
        0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
        0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
        0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
        0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
        0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
        0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
        0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
        0xc67178f2,
};

static void sha256_block(uint32_t *state, const uint8_t *src)
{
	uint32_t w[64];
	uint32_t v[8];

	for (unsigned i = 0; i < 16; i++)
		w[i] = bole_get_be32(src + 4 * i);
	for (unsigned i = 16; i < 64; i++) {
		uint32_t s0 = rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
		uint32_t s1 = rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ w[i - 2] >> 10;

		w[i] = w[i - 16] + s0 + w[i - 7] + s1;
	}
	memcpy(v, state, sizeof v);
	for (unsigned i = 0; i < 64; i++) {
		uint32_t s1 = rotr(v[4], 6) ^ rotr(v[4], 11) ^ rotr(v[4], 25);
		uint32_t choose = (v[4] & v[5]) ^ (~v[4] & v[6]);
		uint32_t t1 = v[7] + s1 + choose + bole_sha256_k[i] + w[i];
		uint32_t s0 = rotr(v[0], 2) ^ rotr(v[0], 13) ^ rotr(v[0], 22);
		uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);

		memmove(v + 1, v, 7 * sizeof v[0]);
		v[4] += t1;
		v[0] = t1 + s0 + majority;
	}
	for (unsigned i = 0; i < 8; i++)
		state[i] += v[i];
}

void bole_sha256_blocks_generic(uint32_t *state, const uint8_t *src, size_t count)
{
	for (size_t i = 0; i < count; i++)
		sha256_block(state, src + 64 * i);
}
