/* SPDX-License-Identifier: ISC */
#include "bole/oid.h"

#include <string.h>

#include "base/check.h"
#include "base/hex.h"

size_t bole_hash_bytes(uint8_t algo)
{
	switch (algo) {
	case BOLE_HASH_SHA1: return 20;
	case BOLE_HASH_SHA256: return 32;
	}
	return 0;
}

const char *bole_hash_name(uint8_t algo)
{
	switch (algo) {
	case BOLE_HASH_SHA1: return "sha1";
	case BOLE_HASH_SHA256: return "sha256";
	}
	return NULL;
}

const char *bole_object_type_name(unsigned type)
{
	switch (type) {
	case BOLE_OBJECT_COMMIT: return "commit";
	case BOLE_OBJECT_TREE: return "tree";
	case BOLE_OBJECT_BLOB: return "blob";
	case BOLE_OBJECT_TAG: return "tag";
	}
	return NULL;
}

enum bole_status bole_oid_parse(const char *hex, size_t len, uint8_t algo, struct bole_oid *out)
{
	struct bole_oid oid = {.algo = algo};
	const uint8_t *digits = (const uint8_t *)hex;
	bool right = false;

	/* Of a known length each, so that no loop is left. */
	if (algo == BOLE_HASH_SHA1 && len == 40)
		right = bole_hex_decode(oid.bytes, digits, 20);
	else if (algo == BOLE_HASH_SHA256 && len == 64)
		right = bole_hex_decode(oid.bytes, digits, 32);
	if (!right)
		return BOLE_E_INVALID;
	*out = oid;
	return BOLE_OK;
}

char *bole_oid_format(const struct bole_oid *oid, char *hex)
{
	size_t bytes = bole_hash_bytes(oid->algo);

	bole_hex_encode((uint8_t *)hex, oid->bytes, bytes);
	hex[2 * bytes] = '\0';
	return hex;
}

void bole_oid_from_raw(const uint8_t *raw, uint8_t algo, struct bole_oid *out)
{
	size_t bytes = bole_hash_bytes(algo);

	BOLE_ASSERT(bytes != 0);
	memset(out, 0, sizeof *out);
	memcpy(out->bytes, raw, bytes);
	out->algo = algo;
}

int bole_oid_compare(const struct bole_oid *a, const struct bole_oid *b)
{
	int order = memcmp(a->bytes, b->bytes, sizeof a->bytes);

	return order != 0 ? order : (int)a->algo - (int)b->algo;
}

bool bole_oid_equal(const struct bole_oid *a, const struct bole_oid *b)
{
	return bole_oid_compare(a, b) == 0;
}

bool bole_oid_is_null(const struct bole_oid *oid)
{
	for (size_t i = 0; i < sizeof oid->bytes; i++)
		if (oid->bytes[i] != 0)
			return false;
	return true;
}
