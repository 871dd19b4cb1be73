/* SPDX-License-Identifier: ISC */
/* Finds the Git repository that a path of the host means, with all its folders. */
#ifndef BOLE_BACKENDS_HOST_GITDIR_HOST_H
#define BOLE_BACKENDS_HOST_GITDIR_HOST_H

#include <stdbool.h>

#include "bole/folder.h"
#include "bole/gitdir.h"

enum { BOLE_GITDIR_ALTERNATES_MAX = 31 };

struct bole_host_gitdir {
	struct bole_store *store;
	bool shallow; /* some history is missing on purpose */
	struct bole_folder *git;
	struct bole_folder *common; /* of a linked work tree, else NULL */
	struct bole_folder *alternates[BOLE_GITDIR_ALTERNATES_MAX];
	size_t alternate_count;
};
/* path: a bare repository, a .git folder, a work tree that has one or a linked work tree. Statuses
 * as bole_gitdir_open. */
BOLE_MUST_USE enum bole_status bole_host_gitdir_open(struct bole_platform *, struct bole_alloc *,
                                                     const char *path,
                                                     struct bole_host_gitdir *out);
/* Safe after a failed open. */
void bole_host_gitdir_close(struct bole_host_gitdir *);

#endif /* BOLE_BACKENDS_HOST_GITDIR_HOST_H */
