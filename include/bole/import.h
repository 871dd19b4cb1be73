/* SPDX-License-Identifier: ISC */
/* Copies a Git repository of the host's file system into a store (host only). */
#ifndef BOLE_IMPORT_H
#define BOLE_IMPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/platform.h"
#include "bole/status.h"
#include "bole/store.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bole_import_options {
	const char *repo; /* the name in the store; must not exist yet */
	bool all_refs;    /* everything below refs/, not only branches and tags */
	/* phase: "counting", "compressing", "writing", "resolving" …; total 0 = not known. May be
	 * NULL. Called on the caller's thread or on one that import started, never on both at once.
	 */
	void (*progress)(void *ctx, const char *phase, uint64_t done, uint64_t total);
	void *progress_ctx;
	size_t memory_bytes_max; /* of the ingestion; 0 = its default */
};

struct bole_import_report {
	uint64_t objects;
	uint64_t refs;
	uint64_t pack_bytes;
	char error[256]; /* why it failed, one line; "" when BOLE_OK */
};

/* Creates the repository and copies every branch and tag (refs/heads/, refs/tags/) with all that
 * they reach, and HEAD: to the branch it names, or where it is detached to a branch that holds the
 * same commit. git_dir: a bare repository, a .git folder, or a work tree, also a linked one, that
 * has one; SHA-1 or SHA-256. Entries of packs are taken as they are. Objects are verified like a
 * push. On failure the repository is removed again. Blocks the thread; not for fibers.
 * BOLE_E_NOT_FOUND (no Git repository there), BOLE_E_EXISTS (repo), BOLE_E_UNSUPPORTED (a format
 * that is not known), BOLE_E_INVALID (it is damaged or shallow), BOLE_E_NO_SPACE, … */
BOLE_MUST_USE enum bole_status bole_import_git(struct bole_platform *, struct bole_alloc *,
                                               struct bole_store *, const char *git_dir,
                                               const struct bole_import_options *,
                                               struct bole_import_report *out);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_IMPORT_H */
