/* SPDX-License-Identifier: ISC */
/* Object ids: SHA-1 (20 bytes) or SHA-256 (32 bytes), chosen per repository.
 * Source: gitformat-pack(5), hash-function-transition in Git's documentation. */
#ifndef BOLE_OID_H
#define BOLE_OID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum bole_hash_algo {
	BOLE_HASH_SHA1 = 1,
	BOLE_HASH_SHA256 = 2,
};

enum { BOLE_OID_BYTES_MAX = 32, BOLE_OID_HEX_MAX = 64 };

/* algo is an enum bole_hash_algo; bytes past its length are zero, so two ids of one repository
 * compare with memcmp over the whole array. An all-zero struct is the null id of no algorithm. */
struct bole_oid {
	uint8_t bytes[BOLE_OID_BYTES_MAX];
	uint8_t algo;
};

/* Git's object types with their numbers in pack entries. */
enum bole_object_type {
	BOLE_OBJECT_COMMIT = 1,
	BOLE_OBJECT_TREE = 2,
	BOLE_OBJECT_BLOB = 3,
	BOLE_OBJECT_TAG = 4,
};

/* 20 or 32; 0 for an unknown algorithm. */
size_t bole_hash_bytes(uint8_t algo);
/* "sha1", "sha256" or NULL. */
const char *bole_hash_name(uint8_t algo);
/* "commit", "tree", "blob", "tag" or NULL. */
const char *bole_object_type_name(unsigned type);

/* Parses exactly 2 * bole_hash_bytes(algo) lower- or upper-case hex digits. BOLE_OK or
 * BOLE_E_INVALID (then *out is untouched). */
BOLE_MUST_USE enum bole_status bole_oid_parse(const char *hex, size_t len, uint8_t algo,
                                              struct bole_oid *out);
/* Writes lower-case hex and a NUL; hex has room for BOLE_OID_HEX_MAX + 1. Returns hex. */
char *bole_oid_format(const struct bole_oid *oid, char *hex);
/* Fills *out from raw bytes (bole_hash_bytes(algo) of them). */
void bole_oid_from_raw(const uint8_t *raw, uint8_t algo, struct bole_oid *out);
/* Below, at or above 0, by the bytes of the ids. */
int bole_oid_compare(const struct bole_oid *a, const struct bole_oid *b);
bool bole_oid_equal(const struct bole_oid *a, const struct bole_oid *b);
/* All id bytes are zero (whatever the algorithm). */
bool bole_oid_is_null(const struct bole_oid *oid);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_OID_H */
