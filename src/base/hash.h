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
	bole_sha_pair_fn *sha1_pair; /* NULL: one at a time is as good */
	bole_sha_pair_fn *sha256_pair;
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

/* -- Many messages -- */

enum { BOLE_MESSAGE_HEAD_MAX = 48 }; /* "commit 18446744073709551615" */

/* A message of two parts. rc is BOLE_E_CORRUPT when it is a collision attack. */
struct bole_message {
	uint8_t head[BOLE_MESSAGE_HEAD_MAX];
	size_t head_len;
	struct bole_bytes data; /* borrowed until all are hashed */
	struct bole_oid oid;
	enum bole_status rc; /* BOLE_AGAIN: not begun */
};
/* That of an object: "type len\0" + data. */
void bole_message_of_object(struct bole_message *, unsigned type, struct bole_bytes data);

/* Several messages being hashed as identities: side by side where the processor gains by it. */
struct bole_hash_lane {
	size_t message;
	uint64_t at;    /* block */
	uint64_t whole; /* blocks before the padded end */
	uint64_t count; /* blocks */
	uint32_t state[8];
	uint8_t first[64];
	uint8_t last[128];
};
struct bole_hash_many {
	const struct bole_hashing *with;
	uint8_t algo;
	struct bole_message *messages;
	size_t count;
	size_t left; /* messages that have had no lane yet */
	struct bole_hash_lane lanes[2];
	size_t busy; /* lanes */
	struct bole_sha1_suspect suspects[BOLE_SHA1_LANES_MAX];
	size_t owner[BOLE_SHA1_LANES_MAX]; /* message */
	uint8_t blocks[BOLE_SHA1_LANES_MAX][64];
	size_t suspect_count;
};
void bole_hash_many_begin(struct bole_hash_many *, uint8_t algo, const struct bole_hashing *,
                          struct bole_message *, size_t count);
/* Hashes about so many bytes. True: there are more; else every message has its oid and rc. */
bool bole_hash_many_step(struct bole_hash_many *, size_t bytes);

#endif /* BOLE_BASE_HASH_H */
