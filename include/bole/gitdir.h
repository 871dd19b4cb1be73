/* SPDX-License-Identifier: ISC */
/* A Git repository in a folder as a store of one repository ("git", number 1) that is only read:
 * loose objects, packs with their indexes, the multi-pack index, alternates; loose and packed
 * references or a reftable stack; SHA-1 and SHA-256. So whatever works on a store works on it.
 *
 * The folder must not change meanwhile. Bytes of packs are not verified here: inflating and hashing
 * them does that (an import does both). One thread uses a store at a time. */
#ifndef BOLE_GITDIR_H
#define BOLE_GITDIR_H

#include <stddef.h>

#include "bole/alloc.h"
#include "bole/folder.h"
#include "bole/platform.h"
#include "bole/status.h"
#include "bole/store.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bole_gitdir_options {
	/* Object folders beside the repository's own ("pack/…", "12/34…" in them); borrowed. */
	struct bole_folder *const *alternates;
	size_t alternate_count;
	/* Where HEAD is, when not in the repository's own folder (a work tree of many). */
	struct bole_folder *head;
};

/* folder: what holds HEAD, objects and refs; borrowed until the store is closed. options may be
 * NULL. BOLE_E_NOT_FOUND (no Git repository), BOLE_E_UNSUPPORTED (a format that is not known),
 * BOLE_E_INVALID (damaged), BOLE_E_IO, BOLE_E_NO_MEMORY; logged. */
BOLE_MUST_USE enum bole_status bole_gitdir_open(struct bole_platform *, struct bole_alloc *,
                                                struct bole_folder *folder,
                                                const struct bole_gitdir_options *options,
                                                struct bole_store **out);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_GITDIR_H */
