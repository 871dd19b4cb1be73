/* SPDX-License-Identifier: ISC */
/* Plain SHA-1 and SHA-256 (FIPS 180-4): padding and buffering around the block functions. */
#include "base/hash.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/sha.h"

enum {
	BLOCK_BYTES = 64,
	/* Asking the processor traps in a virtual machine (25 us seen); below this many bytes the
	 * generic code is done sooner. Nothing is cached between hashes: no global state. */
	PROBE_BYTES = 16 * 1024,
};

static const uint32_t sha1_start[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
static const uint32_t sha256_start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

void bole_hash_init(struct bole_hash *hash, uint8_t algo)
{
	BOLE_ASSERT(bole_hash_bytes(algo) != 0);
	memset(hash, 0, sizeof *hash);
	hash->algo = algo;
	if (algo == BOLE_HASH_SHA1) {
		memcpy(hash->state, sha1_start, sizeof sha1_start);
		hash->blocks = bole_sha1_blocks_generic;
	} else {
		memcpy(hash->state, sha256_start, sizeof sha256_start);
		hash->blocks = bole_sha256_blocks_generic;
	}
}

void bole_hashing_probe(struct bole_hashing *hashing)
{
	uint64_t features = bole_sha_features();
	bole_sha_blocks_fn *sha1 = bole_sha_blocks_native(features, BOLE_HASH_SHA1);
	bole_sha_blocks_fn *sha256 = bole_sha_blocks_native(features, BOLE_HASH_SHA256);
	const struct bole_sha1_detector *detector = bole_sha1_detector_native(features);

	*hashing = (struct bole_hashing){
	        .sha1 = sha1 != NULL ? sha1 : bole_sha1_blocks_generic,
	        .sha256 = sha256 != NULL ? sha256 : bole_sha256_blocks_generic,
	        .sha1_pair = bole_sha_pair_native(features, BOLE_HASH_SHA1),
	        .sha256_pair = bole_sha_pair_native(features, BOLE_HASH_SHA256),
	        .detector = detector != NULL ? detector : &bole_sha1_detector_generic,
	};
}

void bole_hash_init_with(struct bole_hash *hash, uint8_t algo, const struct bole_hashing *hashing)
{
	bole_hash_init(hash, algo);
	hash->probed = true;
	hash->blocks = algo == BOLE_HASH_SHA1 ? hashing->sha1 : hashing->sha256;
}

static void hash_probe(struct bole_hash *hash)
{
	bole_sha_blocks_fn *native = bole_sha_blocks_native(bole_sha_features(), hash->algo);

	hash->probed = true;
	if (native != NULL)
		hash->blocks = native;
}

void bole_hash_update(struct bole_hash *hash, const void *src, size_t len)
{
	const uint8_t *from = src;
	size_t held = (size_t)(hash->len % BLOCK_BYTES);

	if (len == 0)
		return;
	hash->len += len;
	if (!hash->probed && hash->len >= PROBE_BYTES)
		hash_probe(hash);
	if (held > 0) {
		size_t n = BLOCK_BYTES - held < len ? BLOCK_BYTES - held : len;

		memcpy(hash->block + held, from, n);
		from += n;
		len -= n;
		if (held + n < BLOCK_BYTES)
			return;
		hash->blocks(hash->state, hash->block, 1);
	}
	if (len >= BLOCK_BYTES)
		hash->blocks(hash->state, from, len / BLOCK_BYTES);
	if (len % BLOCK_BYTES > 0)
		memcpy(hash->block, from + len / BLOCK_BYTES * BLOCK_BYTES, len % BLOCK_BYTES);
}

void bole_hash_final(struct bole_hash *hash, struct bole_oid *out)
{
	uint64_t bits = hash->len * 8;
	size_t held = (size_t)(hash->len % BLOCK_BYTES);
	uint8_t raw[32];

	hash->block[held++] = 0x80;
	memset(hash->block + held, 0, BLOCK_BYTES - held);
	if (held > BLOCK_BYTES - 8) {
		hash->blocks(hash->state, hash->block, 1);
		memset(hash->block, 0, BLOCK_BYTES);
	}
	bole_put_be64(hash->block + BLOCK_BYTES - 8, bits);
	hash->blocks(hash->state, hash->block, 1);
	for (size_t i = 0; i < 8; i++)
		bole_put_be32(raw + 4 * i, hash->state[i]);
	bole_oid_from_raw(raw, hash->algo, out);
}
