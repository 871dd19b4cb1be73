/* SPDX-License-Identifier: ISC */
/* Large files as auxiliary records; docs/FORMAT.md, "Large files". Private to src/git/lfs.
 *   store.c    objects and their chunks
 *   upload.c   the way in
 *   prune.c    pointers, and what nothing points to
 *   lock.c     locks
 */
#ifndef BOLE_GIT_LFS_LFS_H
#define BOLE_GIT_LFS_LFS_H

#include "bole/lfs.h"

enum {
	LFS_KIND_OBJECT = 2,
	LFS_KIND_CHUNK = 3,
	LFS_KIND_LOCK = 4,
	LFS_OID_BYTES = 32,
	LFS_OBJECT_BYTES = 32, /* of an object's record */
	LFS_CHUNK_KEY_BYTES = LFS_OID_BYTES + 8 + 4,
	LFS_CHUNKS_MAX = 1 << 22, /* of an object: 2 TiB, more than a volume holds */
};

struct bole_aux_key bole_lfs_object_key(const uint8_t *oid);
/* dst is part of the key. */
struct bole_aux_key bole_lfs_chunk_key(uint8_t dst[LFS_CHUNK_KEY_BYTES], const struct bole_oid *oid,
                                       uint64_t upload, uint32_t index);
void bole_lfs_object_encode(const struct bole_lfs_object *, uint8_t dst[LFS_OBJECT_BYTES]);
/* What the view of a transaction or a snapshot has; BOLE_E_NOT_FOUND. */
BOLE_MUST_USE enum bole_status bole_lfs_object_get(struct bole_snapshot *, struct bole_alloc *,
                                                   const uint8_t *oid, struct bole_lfs_object *out);
/* Removes chunks 0 to count - 1, in several transactions. */
BOLE_MUST_USE enum bole_status bole_lfs_chunks_remove(struct bole_store *, uint32_t repo,
                                                      const struct bole_oid *, uint64_t upload,
                                                      uint32_t count);
static inline uint32_t bole_lfs_chunk_count(uint64_t size_bytes)
{
	return (uint32_t)((size_bytes + BOLE_LFS_CHUNK_BYTES - 1) / BOLE_LFS_CHUNK_BYTES);
}

#endif /* BOLE_GIT_LFS_LFS_H */
