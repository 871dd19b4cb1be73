/* SPDX-License-Identifier: ISC */
/* Large files (Git LFS): content by its SHA-256 beside a repository's history, and locks on paths.
 *
 * They belong to one repository and are never shared with another: whoever knows an id must not get
 * at what somebody else has stored under it. Removing a repository removes them, renaming it does
 * not touch them. Collections of garbage do not look at them: a file stays until bole_lfs_prune
 * finds that no blob of the repository points to it, or until it is removed by name.
 *
 * Content is kept in chunks, each a durable auxiliary record that checks itself. Chunks belong to
 * the upload that brought them, and are not seen before its last transaction, which publishes the
 * object; what an upload leaves behind that did not end is removed by bole_lfs_sweep.
 *
 * Calls may block on the device. */
#ifndef BOLE_LFS_H
#define BOLE_LFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/oid.h"
#include "bole/platform.h"
#include "bole/status.h"
#include "bole/store.h"
#include "bole/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
	BOLE_LFS_CHUNK_BYTES = 512 * 1024,
	BOLE_LFS_PATH_MAX = 4096,   /* bytes of a locked path */
	BOLE_LFS_OWNER_MAX = 64,    /* bytes of a name, with its NUL */
	BOLE_LFS_LOCK_ID_MAX = 49,  /* bytes of a lock's id, with its NUL */
	BOLE_LFS_LOCKS_MAX = 65536, /* of a repository */
};

/* -- Objects -- */

struct bole_lfs_object {
	struct bole_oid oid; /* SHA-256 of the content */
	uint64_t size_bytes;
	int64_t stored_s; /* since 1970; 0 = there was no clock */
	uint64_t upload;  /* that brought it */
	bool removed;     /* it was here, and was removed on purpose */
};

/* BOLE_E_NOT_FOUND; an object that was removed is found, and says so. */
BOLE_MUST_USE enum bole_status bole_lfs_find(struct bole_store *, uint32_t repo,
                                             struct bole_alloc *, const struct bole_oid *,
                                             struct bole_lfs_object *out);
/* The first object with an id after `after` (NULL = first) in byte order; BOLE_END. */
BOLE_MUST_USE enum bole_status bole_lfs_next(struct bole_store *, uint32_t repo,
                                             struct bole_alloc *, const struct bole_oid *after,
                                             struct bole_lfs_object *out);

/* Content from position pos (< size_bytes) to the end of its chunk. *out, within *block, is the
 * caller's to free: block_len bytes of alloc, align 1. Holds nothing of the store between calls, so
 * that a slow reader keeps no space from being reused. BOLE_E_NOT_FOUND: removed meanwhile. */
BOLE_MUST_USE enum bole_status bole_lfs_read(struct bole_store *, uint32_t repo,
                                             struct bole_alloc *, const struct bole_lfs_object *,
                                             uint64_t pos, struct bole_bytes *out, uint8_t **block,
                                             size_t *block_len);

struct bole_lfs_upload;
/* Begins to store an object. Memory: one chunk and a little of alloc, and as much of the store's.
 */
BOLE_MUST_USE enum bole_status bole_lfs_upload_open(struct bole_platform *, struct bole_alloc *,
                                                    struct bole_store *, uint32_t repo,
                                                    const struct bole_oid *,
                                                    struct bole_lfs_upload **out);
/* The next bytes. BOLE_E_NO_SPACE, BOLE_E_READ_ONLY, BOLE_E_IO, … */
BOLE_MUST_USE enum bole_status bole_lfs_upload_write(struct bole_lfs_upload *, const void *src,
                                                     size_t len);
/* Publishes it, durably, if what was written has this id; BOLE_E_INVALID if not. That it is there
 * already is BOLE_OK. The upload is gone, whatever is returned, and nothing is left of one that
 * failed. */
BOLE_MUST_USE enum bole_status bole_lfs_upload_finish(struct bole_lfs_upload *);
/* NULL is fine. */
void bole_lfs_upload_abort(struct bole_lfs_upload *);

/* Removes an object. keep_note: later questions learn that it was removed, not that it never was;
 * it may be uploaded again. BOLE_E_NOT_FOUND. Readers in the middle of it fail. */
BOLE_MUST_USE enum bole_status bole_lfs_remove(struct bole_store *, uint32_t repo,
                                               struct bole_alloc *, const struct bole_oid *,
                                               bool keep_note);
/* Removes chunks of uploads that did not end, in every repository. No upload may be under way.
 * *removed counts them. */
BOLE_MUST_USE enum bole_status bole_lfs_sweep(struct bole_store *, struct bole_alloc *,
                                              uint64_t *removed);

struct bole_lfs_prune_options {
	/* Objects that were stored later than this (seconds since 1970) stay, and so do those whose
	 * time nobody knows: the push that names them may be yet to come. INT64_MAX: none do. */
	int64_t before_s;
	bool dry_run;
};
struct bole_lfs_prune_result {
	uint64_t kept;
	uint64_t pruned;
	uint64_t pruned_bytes;
};
/* Removes the objects of a repository that no blob in it points to, whether a reference reaches the
 * blob or not (collect garbage first). */
BOLE_MUST_USE enum bole_status bole_lfs_prune(struct bole_platform *, struct bole_alloc *,
                                              struct bole_store *, uint32_t repo,
                                              const struct bole_lfs_prune_options *,
                                              struct bole_lfs_prune_result *out);

/* The id and size that a blob names if it is a pointer (git-lfs, "The Pointer"). */
bool bole_lfs_pointer_parse(struct bole_bytes blob, struct bole_oid *oid, uint64_t *size_bytes);

/* -- Locks -- */

/* A lock holds for a path in the whole repository, whatever the branch. */
struct bole_lfs_lock {
	char id[BOLE_LFS_LOCK_ID_MAX];
	char owner[BOLE_LFS_OWNER_MAX];
	int64_t locked_s; /* since 1970; 0 = there was no clock */
	char path[BOLE_LFS_PATH_MAX + 1];
};

/* Fills in id and locked_s. BOLE_E_EXISTS: it is locked, and *lock is that lock; BOLE_E_INVALID: no
 * path; BOLE_E_LIMIT: too many locks. Not to be called at the same time as itself and lock_remove
 * for one repository. */
BOLE_MUST_USE enum bole_status bole_lfs_lock_create(struct bole_platform *, struct bole_alloc *,
                                                    struct bole_store *, uint32_t repo,
                                                    struct bole_lfs_lock *lock);
/* BOLE_E_NOT_FOUND. */
BOLE_MUST_USE enum bole_status bole_lfs_lock_by_path(struct bole_store *, uint32_t repo,
                                                     struct bole_alloc *, const char *path,
                                                     struct bole_lfs_lock *out);
BOLE_MUST_USE enum bole_status bole_lfs_lock_by_id(struct bole_store *, uint32_t repo,
                                                   struct bole_alloc *, const char *id,
                                                   struct bole_lfs_lock *out);
/* The first lock with an id after `after` ("" = first) in byte order; BOLE_END; BOLE_E_INVALID:
 * after is no id. */
BOLE_MUST_USE enum bole_status bole_lfs_lock_next(struct bole_store *, uint32_t repo,
                                                  struct bole_alloc *, const char *after,
                                                  struct bole_lfs_lock *out);
/* BOLE_E_NOT_FOUND, BOLE_E_READ_ONLY, BOLE_E_IO. */
BOLE_MUST_USE enum bole_status bole_lfs_lock_remove(struct bole_store *, uint32_t repo,
                                                    struct bole_alloc *, const char *id);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_LFS_H */
