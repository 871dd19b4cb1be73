/* SPDX-License-Identifier: ISC */
/* Identities: hashes of bytes that others may have chosen, so SHA-1 watches for collision attacks.
 *
 * sha1dc tests each block's expanded message against the conditions that every known attack must
 * meet, and looks closer at the few blocks that meet some. The test needs only the message, not the
 * state: so the blocks are tested several at a time in the processor's vectors, hashed by its SHA
 * instructions, and sha1dc itself gets the suspicious ones (about one in twenty) with the same
 * state. What is found is exactly the same.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "sha1dc/sha1.h"

enum {
	BLOCK_BYTES = 64,
	PROBE_BYTES = 16 * 1024, /* see hash.c */
	HEAD_BYTES = 48,         /* "commit 18446744073709551615" */
};

void bole_identity_init(struct bole_identity *identity, uint8_t algo)
{
	bole_hash_init(&identity->hash, algo);
	identity->suspects = bole_sha1_suspects_generic;
	identity->attack = false;
}

void bole_identity_init_with(struct bole_identity *identity, uint8_t algo,
                             const struct bole_hashing *hashing)
{
	bole_hash_init_with(&identity->hash, algo, hashing);
	identity->suspects = hashing->suspects;
	identity->attack = false;
}

/* sha1dc's own way of one block. */
static void block_closely(struct bole_identity *identity, const uint8_t *block)
{
	SHA1_CTX sha1;

	SHA1DCInit(&sha1);
	memcpy(sha1.ihv, identity->hash.state, sizeof sha1.ihv);
	SHA1DCUpdate(&sha1, (const char *)block, BLOCK_BYTES);
	memcpy(identity->hash.state, sha1.ihv, sizeof sha1.ihv);
	identity->attack |= sha1.found_collision != 0;
}

static void blocks_detecting(struct bole_identity *identity, const uint8_t *src, size_t count)
{
	uint32_t masks[BOLE_SHA1_SUSPECTS_MAX];

	while (count > 0) {
		size_t n = count < BOLE_SHA1_SUSPECTS_MAX ? count : BOLE_SHA1_SUSPECTS_MAX;
		uint32_t suspects = identity->suspects(src, n, masks);
		size_t done = 0;

		while (suspects != 0) {
			size_t at = (size_t)__builtin_ctz(suspects);

			identity->hash.blocks(identity->hash.state, src + done * BLOCK_BYTES,
			                      at - done);
			block_closely(identity, src + at * BLOCK_BYTES);
			suspects &= suspects - 1;
			done = at + 1;
		}
		identity->hash.blocks(identity->hash.state, src + done * BLOCK_BYTES, n - done);
		src += n * BLOCK_BYTES;
		count -= n;
	}
}

static void probe(struct bole_identity *identity)
{
	struct bole_hashing hashing;

	bole_hashing_probe(&hashing);
	identity->hash.blocks = hashing.sha1;
	identity->hash.probed = true;
	identity->suspects = hashing.suspects;
}

static void update_detecting(struct bole_identity *identity, const uint8_t *src, size_t len)
{
	struct bole_hash *hash = &identity->hash;
	size_t held = (size_t)(hash->len % BLOCK_BYTES);

	hash->len += len;
	if (!hash->probed && hash->len >= PROBE_BYTES)
		probe(identity);
	if (held > 0) {
		size_t n = BLOCK_BYTES - held < len ? BLOCK_BYTES - held : len;

		memcpy(hash->block + held, src, n);
		src += n;
		len -= n;
		if (held + n < BLOCK_BYTES)
			return;
		blocks_detecting(identity, hash->block, 1);
	}
	blocks_detecting(identity, src, len / BLOCK_BYTES);
	if (len % BLOCK_BYTES > 0)
		memcpy(hash->block, src + len / BLOCK_BYTES * BLOCK_BYTES, len % BLOCK_BYTES);
}

void bole_identity_update(struct bole_identity *identity, const void *src, size_t len)
{
	if (len == 0)
		return;
	if (identity->hash.algo == BOLE_HASH_SHA1)
		update_detecting(identity, src, len);
	else
		bole_hash_update(&identity->hash, src, len);
}

enum bole_status bole_identity_final(struct bole_identity *identity, struct bole_oid *out)
{
	struct bole_hash *hash = &identity->hash;
	uint64_t bits = hash->len * 8;
	uint8_t tail[2 * BLOCK_BYTES] = {0x80};
	uint8_t raw[20];

	if (hash->algo != BOLE_HASH_SHA1) {
		bole_hash_final(hash, out);
		return BOLE_OK;
	}
	size_t held = (size_t)(hash->len % BLOCK_BYTES);
	size_t pad = (held < BLOCK_BYTES - 8 ? BLOCK_BYTES : 2 * BLOCK_BYTES) - held;

	bole_put_be64(tail + pad - 8, bits);
	update_detecting(identity, tail, pad);
	for (size_t i = 0; i < 5; i++)
		bole_put_be32(raw + 4 * i, hash->state[i]);
	bole_oid_from_raw(raw, BOLE_HASH_SHA1, out);
	return identity->attack ? BOLE_E_CORRUPT : BOLE_OK;
}

static size_t object_head(unsigned type, size_t len, char *head)
{
	const char *name = bole_object_type_name(type);

	BOLE_ASSERT(name != NULL);
	/* The NUL belongs to the head. */
	return (size_t)snprintf(head, HEAD_BYTES, "%s %zu", name, len) + 1;
}

static enum bole_status identify(struct bole_identity *identity, unsigned type,
                                 struct bole_bytes data, struct bole_oid *out)
{
	char head[HEAD_BYTES];
	size_t head_len = object_head(type, data.len, head);

	bole_identity_update(identity, head, head_len);
	bole_identity_update(identity, data.ptr, data.len);
	return bole_identity_final(identity, out);
}

enum bole_status bole_object_id_with(const struct bole_hashing *hashing, uint8_t algo,
                                     unsigned type, struct bole_bytes data, struct bole_oid *out)
{
	struct bole_identity identity;

	bole_identity_init_with(&identity, algo, hashing);
	return identify(&identity, type, data, out);
}

enum bole_status bole_object_id(uint8_t algo, unsigned type, struct bole_bytes data, bool checked,
                                struct bole_oid *out)
{
	char head[HEAD_BYTES];

	if (checked) {
		struct bole_identity identity;

		bole_identity_init(&identity, algo);
		return identify(&identity, type, data, out);
	}
	struct bole_hash hash;

	bole_hash_init(&hash, algo);
	bole_hash_update(&hash, head, object_head(type, data.len, head));
	bole_hash_update(&hash, data.ptr, data.len);
	bole_hash_final(&hash, out);
	return BOLE_OK;
}
