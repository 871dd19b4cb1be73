/* SPDX-License-Identifier: ISC */
/* Trees, and what is in them, by a name that a client gives. */
#ifndef BOLE_GIT_TREEISH_H
#define BOLE_GIT_TREEISH_H

#include "git/service/service_impl.h"

struct bole_treeish {
	struct bole_oid oid;
	uint32_t mode;          /* as in a tree: BOLE_MODE_TREE, … */
	struct bole_oid commit; /* whose tree it is; null: a tree or a path was named */
	int64_t time_s;         /* of the commit that was named, 0 = of none */
};

/* "<reference>" or "<reference>:<path>", of references that the client sees; no bare ids
 * (git-upload-archive(1)). BOLE_E_NOT_FOUND, or as bole_object_read. */
BOLE_MUST_USE enum bole_status bole_treeish_find(struct bole_session *, struct bole_object_reader *,
                                                 struct bole_bytes text, struct bole_treeish *out);
/* Follows a path from *oid, of *mode, on. BOLE_E_NOT_FOUND. */
BOLE_MUST_USE enum bole_status bole_tree_path(struct bole_session *, struct bole_object_reader *,
                                              struct bole_oid *oid, uint32_t *mode,
                                              struct bole_bytes path);

#endif /* BOLE_GIT_TREEISH_H */
