/* SPDX-License-Identifier: ISC */
/* The compression functions under base/hash.h: count 64-byte blocks into a state. */
#ifndef BOLE_BASE_SHA_H
#define BOLE_BASE_SHA_H

#include <stddef.h>
#include <stdint.h>

typedef void bole_sha_blocks_fn(uint32_t *state, const uint8_t *src, size_t count);

/* Portable C (src/base/arch/generic). */
void bole_sha1_blocks_generic(uint32_t *state, const uint8_t *src, size_t count);
void bole_sha256_blocks_generic(uint32_t *state, const uint8_t *src, size_t count);

/* What this processor does best for algo, asked anew at each call (which costs microseconds under
 * a hypervisor); NULL = nothing better than the generic code. One per architecture. */
bole_sha_blocks_fn *bole_sha_blocks_native(uint8_t algo);

/* One SHA-1 block that also shows its expanded message, w[80]: what the search for collision
 * attacks looks at. NULL = this processor has nothing better than the reference code. */
typedef void bole_sha1_expand_fn(uint32_t *state, const uint8_t *src, uint32_t *w);
bole_sha1_expand_fn *bole_sha1_expand_native(void);

#endif /* BOLE_BASE_SHA_H */
