/* SPDX-License-Identifier: ISC */
/* The compression functions under base/hash.h: count 64-byte blocks into a state. */
#ifndef BOLE_BASE_SHA_H
#define BOLE_BASE_SHA_H

#include <stddef.h>
#include <stdint.h>

enum { BOLE_SHA1_SUSPECTS_MAX = 8 };

typedef void bole_sha_blocks_fn(uint32_t *state, const uint8_t *src, size_t count);

/* Which of count (1 .. BOLE_SHA1_SUSPECTS_MAX) blocks may be part of a collision attack on SHA-1:
 * a bit for each. masks (BOLE_SHA1_SUSPECTS_MAX of them) says by which disturbance vectors. */
typedef uint32_t bole_sha1_suspects_fn(const uint8_t *src, size_t count, uint32_t *masks);

/* Portable C (src/base/arch/generic). */
void bole_sha1_blocks_generic(uint32_t *state, const uint8_t *src, size_t count);
void bole_sha256_blocks_generic(uint32_t *state, const uint8_t *src, size_t count);
uint32_t bole_sha1_suspects_generic(const uint8_t *src, size_t count, uint32_t *masks);

/* What this processor does best for algo, asked anew at each call (which costs microseconds under
 * a hypervisor); NULL = nothing better than the generic code. One per architecture. */
bole_sha_blocks_fn *bole_sha_blocks_native(uint8_t algo);
bole_sha1_suspects_fn *bole_sha1_suspects_native(void);

#endif /* BOLE_BASE_SHA_H */
