/* SPDX-License-Identifier: ISC */
#include "base/hmac.h"

#include <string.h>

#include "base/hash.h"

enum { BLOCK_BYTES = 64, SHA256_BYTES = 32, INNER = 0x36, OUTER = 0x5c };

static void begin(struct bole_hash *hash, const uint8_t *key, uint8_t mask)
{
	uint8_t pad[BLOCK_BYTES];

	for (size_t i = 0; i < BLOCK_BYTES; i++)
		pad[i] = (uint8_t)(key[i] ^ mask);
	bole_hash_init(hash, BOLE_HASH_SHA256);
	bole_hash_update(hash, pad, sizeof pad);
}

void bole_hmac_sha256(struct bole_bytes key, struct bole_bytes text, struct bole_oid *out)
{
	uint8_t block[BLOCK_BYTES] = {0};
	struct bole_hash hash;
	struct bole_oid inner;

	if (key.len > BLOCK_BYTES) {
		bole_hash_init(&hash, BOLE_HASH_SHA256);
		bole_hash_update(&hash, key.ptr, key.len);
		bole_hash_final(&hash, &inner);
		memcpy(block, inner.bytes, SHA256_BYTES);
	} else if (key.len > 0) {
		memcpy(block, key.ptr, key.len);
	}
	begin(&hash, block, INNER);
	bole_hash_update(&hash, text.ptr, text.len);
	bole_hash_final(&hash, &inner);
	begin(&hash, block, OUTER);
	bole_hash_update(&hash, inner.bytes, SHA256_BYTES);
	bole_hash_final(&hash, out);
}
