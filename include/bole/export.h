/* SPDX-License-Identifier: ISC */
/* Writes a repository of a store as files that Git reads. */
#ifndef BOLE_EXPORT_H
#define BOLE_EXPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/folder.h"
#include "bole/odb.h"
#include "bole/platform.h"
#include "bole/status.h"
#include "bole/types.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bole_export_options {
	/* Phases as of a fetch; total 0 = not known. May be NULL. */
	void (*progress)(void *ctx, const char *phase, uint64_t done, uint64_t total);
	void *progress_ctx;
};

struct bole_export_report {
	uint64_t objects;
	uint64_t refs;
	uint64_t pack_bytes;
};

/* Writes a bare repository into an empty folder: one pack of everything that references reach with
 * its index and reverse index, a commit graph, packed-refs, symbolic references, HEAD and config.
 * HEAD comes last, so a folder that is not complete is no repository. Entries are copied as they
 * are stored; whoever doubts them runs `git fsck`. Any status of the store and the folder. */
BOLE_MUST_USE enum bole_status bole_export(struct bole_platform *, struct bole_alloc *,
                                           struct bole_snapshot *, struct bole_folder *,
                                           const struct bole_export_options *,
                                           struct bole_export_report *);

/* -- Bundles (gitformat-bundle(5)) -- */

struct bole_bundle_options {
	/* References to put in, full names; 0 = all below refs/, and HEAD. */
	const struct bole_bytes *refs;
	size_t ref_count;
	/* Commits that the receiver has: prerequisites. Found in the snapshot. */
	const struct bole_oid *have;
	size_t have_count;
	void (*progress)(void *ctx, const char *phase, uint64_t done, uint64_t total);
	void *progress_ctx;
};
/* BOLE_E_NOT_FOUND: no such reference or prerequisite; BOLE_E_INVALID: nothing to put in;
 * BOLE_E_UNSUPPORTED: the repository is shallow, which a bundle cannot say. */
BOLE_MUST_USE enum bole_status bole_bundle_create(struct bole_platform *, struct bole_alloc *,
                                                  struct bole_snapshot *,
                                                  const struct bole_bundle_options *,
                                                  struct bole_writer *,
                                                  struct bole_export_report *);

struct bole_store;
struct bole_repo;
struct bole_unbundle_options {
	const char *repo; /* where to; made when it is not there */
	/* The bundle is only read and checked, nothing is stored. */
	bool verify;
	size_t memory_bytes_max; /* 0 = the ingestion's default */
	/* Every reference of the bundle. May be NULL. */
	void (*reference)(void *ctx, struct bole_bytes name, const struct bole_oid *);
	void (*progress)(void *ctx, const char *phase, uint64_t done, uint64_t total);
	void *ctx;
};
struct bole_unbundle_report {
	uint64_t objects;
	uint64_t refs;
	uint64_t pack_bytes;
	char error[256]; /* why it failed, one line; "" when BOLE_OK */
};
/* Takes a bundle in: its objects are verified like a push, then every branch and tag of it is set;
 * HEAD of a new repository is the branch that the bundle's HEAD is on. A branch that is there moves
 * only forward (BOLE_E_CONFLICT). BOLE_E_INVALID (malformed, or a prerequisite is missing),
 * BOLE_E_UNSUPPORTED (another version, a filter: such a bundle lacks objects), BOLE_E_CONFLICT (the
 * repository has another object format), … */
BOLE_MUST_USE enum bole_status bole_bundle_take(struct bole_platform *, struct bole_alloc *,
                                                struct bole_store *, struct bole_reader *,
                                                const struct bole_unbundle_options *,
                                                struct bole_unbundle_report *);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_EXPORT_H */
