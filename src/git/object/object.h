/* SPDX-License-Identifier: ISC */
/* The grammar of Git objects: trees, commits, tags, pack entry heads. Pure parsers over bytes that
 * may be hostile: BOLE_E_INVALID, never an assertion. Sources: gitformat-pack(5),
 * git-commit-tree(1), git-mktag(1) in Git's documentation. */
#ifndef BOLE_GIT_OBJECT_H
#define BOLE_GIT_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/oid.h"
#include "bole/types.h"

enum {
	BOLE_MODE_TREE = 0040000,
	BOLE_MODE_FILE = 0100644,
	BOLE_MODE_EXECUTABLE = 0100755,
	BOLE_MODE_SYMLINK = 0120000,
	BOLE_MODE_SUBMODULE = 0160000,
};

struct bole_tree_entry {
	uint32_t mode;
	struct bole_bytes name;
	struct bole_oid oid;
};
/* Cuts the next entry off *rest. BOLE_OK, BOLE_END (nothing left), BOLE_E_INVALID. */
BOLE_MUST_USE enum bole_status bole_tree_next(struct bole_bytes *rest, uint8_t algo,
                                              struct bole_tree_entry *out);
/* False for names that some client would take for ".", ".." or its ".git" folder: case, code points
 * that HFS+ ignores, NTFS short names, streams and trailing dots; and for an empty name or one with
 * '/' or NUL. */
bool bole_tree_name_safe(struct bole_bytes name);
/* Git's order of tree entries: a directory compares as if its name ended in '/'. */
int bole_tree_entry_compare(const struct bole_tree_entry *a, const struct bole_tree_entry *b);

/* Goes on with the hash of a path, part by part, "/" between them. The last sixteen characters
 * count, the last ones most: versions of a file come together, also of one that was moved, and of a
 * family of files (gitpacking's advice for sorting by name). Spaces do not count. Begins with 0. */
uint32_t bole_path_hash(uint32_t hash, struct bole_bytes part);

/* All borrowed from the object's bytes. parents is the raw run of "parent <hex>\n" lines. */
struct bole_commit {
	struct bole_oid tree;
	struct bole_bytes parents;
	size_t parent_count;
	struct bole_bytes author;    /* "Name <mail> time zone" */
	struct bole_bytes committer; /* the same */
	int64_t commit_time;         /* of the committer line, 0 if unreadable */
	struct bole_bytes extra;     /* header lines after committer, raw */
	struct bole_bytes message;
};
BOLE_MUST_USE enum bole_status bole_commit_parse(struct bole_bytes data, uint8_t algo,
                                                 struct bole_commit *out);
/* The i-th parent (i < parent_count). */
void bole_commit_parent(const struct bole_commit *, uint8_t algo, size_t i, struct bole_oid *out);

struct bole_tag {
	struct bole_oid target;
	uint8_t target_type;
	struct bole_bytes name;
	struct bole_bytes tagger; /* may be empty */
	struct bole_bytes message;
};
BOLE_MUST_USE enum bole_status bole_tag_parse(struct bole_bytes data, uint8_t algo,
                                              struct bole_tag *out);

/* The head of a pack entry: type 1-4, 6 (offset delta) or 7 (id delta). */
enum { BOLE_ENTRY_OFS_DELTA = 6, BOLE_ENTRY_REF_DELTA = 7, BOLE_ENTRY_HEAD_MAX = 64 };
struct bole_entry_head {
	uint8_t type;
	uint64_t inflated_bytes; /* of the object, or of the delta instructions */
	uint64_t base_distance;  /* OFS: base starts this far before the entry, > 0 */
	struct bole_oid base;    /* REF */
	size_t head_bytes;       /* where the deflated bytes begin */
};
/* BOLE_AGAIN: more bytes are needed (never with BOLE_ENTRY_HEAD_MAX of them). */
BOLE_MUST_USE enum bole_status bole_entry_head_parse(struct bole_bytes data, uint8_t algo,
                                                     struct bole_entry_head *out);
/* Writes type, size and base; head_bytes is ignored. Returns the length, <= BOLE_ENTRY_HEAD_MAX. */
size_t bole_entry_head_format(const struct bole_entry_head *, uint8_t algo, uint8_t *dst);

/* check-ref-format(1): a full name such as "refs/heads/x", or "HEAD". */
bool bole_ref_name_valid(struct bole_bytes name);

#endif /* BOLE_GIT_OBJECT_H */
