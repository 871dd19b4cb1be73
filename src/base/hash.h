/* SPDX-License-Identifier: ISC */
/* SHA-1 (FIPS 180-4, plain and with collision detection) and SHA-256. Which instructions are used
 * is found at run time (src/base/arch); all give the same bytes. Contexts may be copied to fork a
 * running hash. */
#ifndef BOLE_BASE_HASH_H
#define BOLE_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/oid.h"
#include "bole/types.h"

/* Plain, fast: pack trailers, caches, never the identity of received objects. */
struct bole_hash {
	uint8_t algo;
	uint32_t state[8];
	uint64_t len;
	uint8_t block[64];
	/* The compression function in use; the processor is asked only once enough came in. */
	void (*blocks)(uint32_t *state, const uint8_t *src, size_t count);
	bool probed;
};
void bole_hash_init(struct bole_hash *, uint8_t algo);
void bole_hash_update(struct bole_hash *, const void *src, size_t len);
void bole_hash_final(struct bole_hash *, struct bole_oid *out);

/* Identities of received objects: for SHA-1 with collision detection (Stevens, "Counter-
 * cryptanalysis", 2013), for SHA-256 plain. final returns BOLE_E_CORRUPT when the input is a
 * collision attack. Opaque: large enough for sha1dc's context. */
struct bole_identity {
	uint64_t opaque[304];
	/* One block and its expanded message, by the processor; NULL = the reference code. */
	void (*expand)(uint32_t *state, const uint8_t *src, uint32_t *w);
	uint8_t algo;
	bool probed;
};
void bole_identity_init(struct bole_identity *, uint8_t algo);
void bole_identity_update(struct bole_identity *, const void *src, size_t len);
BOLE_MUST_USE enum bole_status bole_identity_final(struct bole_identity *, struct bole_oid *out);

/* The id of a whole object: "type len\0" + data. Checked = with collision detection. */
BOLE_MUST_USE enum bole_status bole_object_id(uint8_t algo, unsigned type, struct bole_bytes data,
                                              bool checked, struct bole_oid *out);

#endif /* BOLE_BASE_HASH_H */
