/* SPDX-License-Identifier: ISC */
/* Identities: hashes of bytes that others may have chosen, so SHA-1 watches for collision attacks.
 *
 * sha1dc tests each block's expanded message against the conditions that every known attack must
 * meet. Of the few blocks that meet some, it makes the block that would collide with it, and looks
 * whether it does. The test needs only the message: so blocks are tested several at a time in the
 * processor's vectors and hashed by its SHA instructions. Suspicious ones (about one in twenty) are
 * collected, with the states before and after, and tried several at a time as well. What is found
 * is exactly the same.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "sha1dc/ubc_check.h"

enum {
	BLOCK_BYTES = 64,
	PROBE_BYTES = 16 * 1024, /* see hash.c */
	HEAD_BYTES = 48,         /* "commit 18446744073709551615" */
};

void bole_identity_init(struct bole_identity *identity, uint8_t algo)
{
	bole_hash_init(&identity->hash, algo);
	identity->detector = &bole_sha1_detector_generic;
	identity->attack = false;
}

void bole_identity_init_with(struct bole_identity *identity, uint8_t algo,
                             const struct bole_hashing *hashing)
{
	bole_hash_init_with(&identity->hash, algo, hashing);
	identity->detector = hashing->detector;
	identity->attack = false;
}

/* Suspects of one update, whose bytes they point to. */
struct suspects {
	struct bole_sha1_suspect list[BOLE_SHA1_LANES_MAX];
	size_t count;
};

static void try_suspects(struct bole_identity *identity, struct suspects *s)
{
	if (s->count > 0)
		identity->attack |= identity->detector->attack(s->list, s->count);
	s->count = 0;
}

/* One for each disturbance vector in mask, all of one block. */
static void add_suspects(struct bole_identity *identity, struct suspects *s, const uint8_t *block,
                         const uint32_t *before, uint32_t mask)
{
	for (; mask != 0; mask &= mask - 1) {
		const dv_info_t *dv = sha1_dvs;
		struct bole_sha1_suspect *suspect = &s->list[s->count];

		while (dv->maskb != __builtin_ctz(mask))
			dv++;
		*suspect = (struct bole_sha1_suspect){
		        .block = block, .difference = dv->dm, .step = (unsigned)dv->testt};
		memcpy(suspect->before, before, sizeof suspect->before);
		memcpy(suspect->after, identity->hash.state, sizeof suspect->after);
		if (++s->count == identity->detector->lanes)
			try_suspects(identity, s);
	}
}

static void blocks_detecting(struct bole_identity *identity, const uint8_t *src, size_t count)
{
	uint32_t masks[BOLE_SHA1_LANES_MAX];
	uint32_t before[5];
	struct suspects found;
	struct bole_hash *hash = &identity->hash;

	found.count = 0;
	while (count > 0) {
		size_t n = count < BOLE_SHA1_LANES_MAX ? count : BOLE_SHA1_LANES_MAX;
		const uint8_t *blocks[BOLE_SHA1_LANES_MAX];
		size_t done = 0;

		for (size_t i = 0; i < n; i++)
			blocks[i] = src + i * BLOCK_BYTES;
		uint32_t suspects = identity->detector->suspects(blocks, n, masks);

		for (; suspects != 0; suspects &= suspects - 1) {
			size_t at = (size_t)__builtin_ctz(suspects);

			hash->blocks(hash->state, src + done * BLOCK_BYTES, at - done);
			memcpy(before, hash->state, sizeof before);
			hash->blocks(hash->state, src + at * BLOCK_BYTES, 1);
			add_suspects(identity, &found, src + at * BLOCK_BYTES, before, masks[at]);
			done = at + 1;
		}
		hash->blocks(hash->state, src + done * BLOCK_BYTES, n - done);
		src += n * BLOCK_BYTES;
		count -= n;
	}
	try_suspects(identity, &found);
}

static void probe(struct bole_identity *identity)
{
	struct bole_hashing hashing;

	bole_hashing_probe(&hashing);
	identity->hash.blocks = hashing.sha1;
	identity->hash.probed = true;
	identity->detector = hashing.detector;
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
