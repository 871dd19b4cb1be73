/* SPDX-License-Identifier: ISC */
/* SHA-1 (FIPS 180-4, plain and with collision detection) and SHA-256. Which instructions are used
 * is found at run time (src/base/arch); all give the same bytes. Contexts may be copied to fork a
 * running hash. */
#ifndef BOLE_BASE_HASH_H
#define BOLE_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sha.h"
#include "bole/oid.h"
#include "bole/types.h"

/* The functions of the processor at hand. To ask it costs microseconds under a hypervisor, so who
 * hashes many short things asks once and hands the answer on; hashes that are begun without it ask
 * when enough has come in. */
struct bole_hashing {
	bole_sha_blocks_fn *sha1;
	bole_sha_blocks_fn *sha256;
	const struct bole_sha1_detector *detector;
};
void bole_hashing_probe(struct bole_hashing *);

/* Plain, fast: pack trailers, caches, never the identity of received objects. */
struct bole_hash {
	uint8_t algo;
	uint32_t state[8];
	uint64_t len;
	uint8_t block[64];
	bole_sha_blocks_fn *blocks;
	bool probed;
};
void bole_hash_init(struct bole_hash *, uint8_t algo);
void bole_hash_init_with(struct bole_hash *, uint8_t algo, const struct bole_hashing *);
void bole_hash_update(struct bole_hash *, const void *src, size_t len);
void bole_hash_final(struct bole_hash *, struct bole_oid *out);

/* Identities of received objects: for SHA-1 with collision detection (Stevens, "Counter-
 * cryptanalysis", 2013), for SHA-256 plain. final returns BOLE_E_CORRUPT when the input is a
 * collision attack. */
struct bole_identity {
	struct bole_hash hash;
	const struct bole_sha1_detector *detector;
	bool attack;
};
void bole_identity_init(struct bole_identity *, uint8_t algo);
void bole_identity_init_with(struct bole_identity *, uint8_t algo, const struct bole_hashing *);
void bole_identity_update(struct bole_identity *, const void *src, size_t len);
BOLE_MUST_USE enum bole_status bole_identity_final(struct bole_identity *, struct bole_oid *out);

/* The id of a whole object: "type len\0" + data. Checked = with collision detection. */
BOLE_MUST_USE enum bole_status bole_object_id(uint8_t algo, unsigned type, struct bole_bytes data,
                                              bool checked, struct bole_oid *out);
/* The same, checked, with the processor asked already. */
BOLE_MUST_USE enum bole_status bole_object_id_with(const struct bole_hashing *, uint8_t algo,
                                                   unsigned type, struct bole_bytes data,
                                                   struct bole_oid *out);

#endif /* BOLE_BASE_HASH_H */
