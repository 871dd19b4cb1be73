/* SPDX-License-Identifier: ISC */
/* Identities: hashes of bytes that others may have chosen, so SHA-1 watches for collision attacks.
 *
 * sha1dc tests each block's expanded message against the conditions that every known attack must
 * meet, and looks closer at the few blocks that meet some. The test needs only the message: so
 * where the processor has SHA instructions they do the hashing, and sha1dc itself gets the
 * suspicious blocks (about one in twenty) with the same state. What is found is exactly the same.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/sha.h"
#include "sha1dc/sha1.h"
#include "sha1dc/ubc_check.h"

enum {
	BLOCK_BYTES = 64,
	PROBE_BYTES = 16 * 1024, /* see hash.c */
};

_Static_assert(sizeof(SHA1_CTX) <= sizeof((struct bole_identity *)0)->opaque, "grow opaque");
_Static_assert(sizeof(struct bole_hash) <= sizeof((struct bole_identity *)0)->opaque,
               "grow opaque");

static SHA1_CTX *detecting(struct bole_identity *identity)
{
	return (SHA1_CTX *)(void *)identity->opaque;
}

static struct bole_hash *plain(struct bole_identity *identity)
{
	return (struct bole_hash *)(void *)identity->opaque;
}

void bole_identity_init(struct bole_identity *identity, uint8_t algo)
{
	identity->algo = algo;
	identity->expand = NULL;
	identity->probed = false;
	if (algo == BOLE_HASH_SHA1)
		SHA1DCInit(detecting(identity));
	else
		bole_hash_init(plain(identity), algo);
}

/* The plain case of one block; false: it is for sha1dc to look at. */
static bool block_fast(struct bole_identity *identity, SHA1_CTX *sha1, const uint8_t *block)
{
	uint32_t state[5];
	uint32_t w[80];
	uint32_t suspicious[DVMASKSIZE];

	memcpy(state, sha1->ihv, sizeof state);
	identity->expand(state, block, w);
	ubc_check(w, suspicious);
	if (CHECK_DVMASK(suspicious))
		return false;
	memcpy(sha1->ihv, state, sizeof state);
	sha1->total += BLOCK_BYTES;
	return true;
}

static void update_detecting(struct bole_identity *identity, const uint8_t *src, size_t len)
{
	SHA1_CTX *sha1 = detecting(identity);

	if (!identity->probed && sha1->total + len >= PROBE_BYTES) {
		identity->probed = true;
		identity->expand = bole_sha1_expand_native();
	}
	if (identity->expand != NULL && len >= BLOCK_BYTES) {
		size_t held = (size_t)(sha1->total % BLOCK_BYTES);
		size_t fill = held == 0 ? 0 : BLOCK_BYTES - held;

		SHA1DCUpdate(sha1, (const char *)src, fill);
		src += fill;
		len -= fill;
		for (; len >= BLOCK_BYTES; src += BLOCK_BYTES, len -= BLOCK_BYTES)
			if (!block_fast(identity, sha1, src))
				SHA1DCUpdate(sha1, (const char *)src, BLOCK_BYTES);
	}
	SHA1DCUpdate(sha1, (const char *)src, len);
}

void bole_identity_update(struct bole_identity *identity, const void *src, size_t len)
{
	if (identity->algo == BOLE_HASH_SHA1)
		update_detecting(identity, src, len);
	else
		bole_hash_update(plain(identity), src, len);
}

enum bole_status bole_identity_final(struct bole_identity *identity, struct bole_oid *out)
{
	if (identity->algo != BOLE_HASH_SHA1) {
		bole_hash_final(plain(identity), out);
		return BOLE_OK;
	}
	uint8_t raw[20];
	bool attack = SHA1DCFinal(raw, detecting(identity)) != 0;

	bole_oid_from_raw(raw, BOLE_HASH_SHA1, out);
	return attack ? BOLE_E_CORRUPT : BOLE_OK;
}

enum bole_status bole_object_id(uint8_t algo, unsigned type, struct bole_bytes data, bool checked,
                                struct bole_oid *out)
{
	const char *name = bole_object_type_name(type);
	char head[32];

	BOLE_ASSERT(name != NULL);
	/* The NUL belongs to the head. */
	size_t head_len = (size_t)snprintf(head, sizeof head, "%s %zu", name, data.len) + 1;
	if (!checked) {
		struct bole_hash hash;

		bole_hash_init(&hash, algo);
		bole_hash_update(&hash, head, head_len);
		bole_hash_update(&hash, data.ptr, data.len);
		bole_hash_final(&hash, out);
		return BOLE_OK;
	}
	struct bole_identity identity;

	bole_identity_init(&identity, algo);
	bole_identity_update(&identity, head, head_len);
	bole_identity_update(&identity, data.ptr, data.len);
	return bole_identity_final(&identity, out);
}
