/* SPDX-License-Identifier: ISC */
/* The bytes of a pack that is being received: hashed and put away as they arrive (in memory while
 * the pack is short, in a pending extent of the transaction once it is long), then read back by
 * offset in large aligned pieces, because every read of an extent may be a request to a device. */
#ifndef BOLE_GIT_PACK_SOURCE_H
#define BOLE_GIT_PACK_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/memory.h"
#include "bole/odb.h"
#include "bole/types.h"

enum {
	PACK_SOURCE_STAGE_BYTES = 64 * 1024,
	PACK_SOURCE_CHUNK_BYTES = 128 * 1024, /* unit of reading back; the longest view */
	PACK_SOURCE_CHUNKS = 12,
};

struct pack_chunk {
	uint64_t number;
	uint64_t stamp; /* of the last use; 0 = empty */
	uint8_t *bytes;
};

struct pack_source {
	struct bole_tx *tx;
	struct bole_alloc *alloc;
	struct bole_hash hash;
	uint64_t len; /* bytes taken so far: the offset of the next one */
	uint64_t extent_bytes_min;
	bool in_extent;
	uint8_t *staging;
	size_t staged;
	struct bole_buffer kept; /* while not in_extent */
	struct pack_chunk chunks[PACK_SOURCE_CHUNKS];
	uint64_t clock;
	uint8_t *joined; /* a view across two chunks */
};

/* Zero the struct first; release is then always safe. */
BOLE_MUST_USE enum bole_status bole_pack_source_init(struct pack_source *, struct bole_tx *,
                                                     struct bole_alloc *, uint8_t algo);
void bole_pack_source_release(struct pack_source *);

BOLE_MUST_USE enum bole_status bole_pack_source_take(struct pack_source *, const void *src,
                                                     size_t len);
/* No more bytes follow; *sum is the hash of all of them. Reading may begin. */
BOLE_MUST_USE enum bole_status bole_pack_source_seal(struct pack_source *, struct bole_oid *sum);
/* What is in memory so far goes into an extent, however short it is. After seal. */
BOLE_MUST_USE enum bole_status bole_pack_source_to_extent(struct pack_source *);
/* More bytes behind those of the pack, into its extent. After to_extent. */
BOLE_MUST_USE enum bole_status bole_pack_source_append(struct pack_source *, struct bole_bytes);
/* Shows len (<= PACK_SOURCE_CHUNK_BYTES) bytes at offset, all taken before. Borrowed until the next
 * call. */
BOLE_MUST_USE enum bole_status bole_pack_source_view(struct pack_source *, uint64_t offset,
                                                     size_t len, struct bole_bytes *out);

#endif /* BOLE_GIT_PACK_SOURCE_H */
