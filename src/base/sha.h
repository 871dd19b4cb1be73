/* SPDX-License-Identifier: ISC */
/* The compression functions under base/hash.h: count 64-byte blocks into a state. */
#ifndef BOLE_BASE_SHA_H
#define BOLE_BASE_SHA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef void bole_sha_blocks_fn(uint32_t *state, const uint8_t *src, size_t count);

/* Two messages at once, which takes little longer than one of them where one waits for its own
 * results: count blocks into each of two states. blocks has those of the first, then those of the
 * second. before (only SHA-1): the states that they begin with. */
typedef void bole_sha_pair_fn(uint32_t *const *states, const uint8_t *const *blocks, size_t count,
                              uint32_t (*before)[2][8]);

/* -- Collision detection, see base/identity.c -- */

enum { BOLE_SHA1_LANES_MAX = 16 };

/* Which of count (1 .. BOLE_SHA1_LANES_MAX) blocks may be part of a collision attack on SHA-1:
 * a bit for each. masks (BOLE_SHA1_LANES_MAX of them) says by which disturbance vectors. */
typedef uint32_t bole_sha1_suspects_fn(const uint8_t *const *blocks, size_t count, uint32_t *masks);

/* A block that meets the conditions of a disturbance vector. */
struct bole_sha1_suspect {
	const uint8_t *block;
	const uint32_t *difference; /* of the 80 words of the other block's expanded message */
	unsigned step;              /* 58 or 65: before it both blocks have the same state */
	uint32_t before[5];         /* chaining values */
	uint32_t after[5];
};

/* True if the other block of any of count (1 .. lanes) suspects ends in the same chaining value. */
typedef bool bole_sha1_attack_fn(const struct bole_sha1_suspect *, size_t count);

struct bole_sha1_detector {
	bole_sha1_suspects_fn *suspects;
	bole_sha1_attack_fn *attack;
	size_t lanes; /* of attack */
};

/* Portable C (src/base/arch/generic). */
void bole_sha1_blocks_generic(uint32_t *state, const uint8_t *src, size_t count);
void bole_sha256_blocks_generic(uint32_t *state, const uint8_t *src, size_t count);
extern const uint32_t bole_sha256_k[64];
uint32_t bole_sha1_suspects_generic(const uint8_t *const *blocks, size_t count, uint32_t *masks);
extern const struct bole_sha1_detector bole_sha1_detector_generic;

/* What this processor has: bits that mean something to the functions below. Asked anew at each
 * call, which traps under a hypervisor (25 us seen). One per architecture. */
uint64_t bole_sha_features(void);
/* What a processor with these features does best; NULL = nothing better than the generic code. */
bole_sha_blocks_fn *bole_sha_blocks_native(uint64_t features, uint8_t algo);
bole_sha_pair_fn *bole_sha_pair_native(uint64_t features, uint8_t algo);
const struct bole_sha1_detector *bole_sha1_detector_native(uint64_t features);

#endif /* BOLE_BASE_SHA_H */
