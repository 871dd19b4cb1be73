/* SPDX-License-Identifier: ISC */
/* Inside of src/kv: views, finding paths in trees, building trees out of edits. */
#ifndef BOLE_KV_KV_H
#define BOLE_KV_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "bole/kv.h"
#include "bole/limits.h"
#include "bole/odb.h"
#include "git/object/object.h"
#include "git/object/read.h"
#include "git/object/write.h"

struct bole_kv {
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	struct bole_store *store;
	struct bole_repo repo;
	char branch[BOLE_REF_NAME_MAX + 1]; /* full name */
};

/* "refs/heads/" + name, checked. dst has room for BOLE_REF_NAME_MAX + 1. */
enum bole_status bole_kv_branch_name(const char *name, char *dst);

struct bole_kv_view {
	struct bole_kv *kv;
	struct bole_snapshot *snapshot;
	struct bole_object_reader *reader;
	bool has_commit;
	struct bole_oid commit;
	struct bole_oid tree;
	int64_t time; /* of the commit */
};

/* A view of what a reference (full name) holds now; empty when there is none. */
enum bole_status bole_kv_view_of_ref(struct bole_kv *, const char *ref, struct bole_kv_view **out);

/* -- Paths -- */

enum kv_kind {
	KV_ABSENT = 0,
	KV_VALUE = 1,
	KV_DIRECTORY = 2,
	KV_BLOCKED = 3, /* a part of the path is a value */
};
struct kv_place {
	enum kv_kind kind;
	uint32_t mode;
	struct bole_oid oid;
};
/* What a valid key names below a tree. root NULL = an empty tree. */
enum bole_status bole_kv_find(struct bole_object_reader *, uint8_t algo,
                              const struct bole_oid *root, struct bole_bytes key,
                              struct kv_place *out);

/* The component of key that starts at `at`; *last = nothing follows it. */
struct bole_bytes bole_kv_component(struct bole_bytes key, size_t at, bool *last);

/* -- Building trees -- */

struct kv_edit {
	struct bole_bytes key;
	bool remove;
	struct bole_oid oid;
	uint32_t mode; /* 0 = as it was, or a file */
};
/* Writes the tree that edits (sorted by key, no key twice) make of root (NULL = empty); directories
 * without entries are left out. BOLE_E_EXISTS: a name would be a value and a directory. */
enum bole_status bole_kv_tree_build(struct bole_object_reader *, struct bole_object_writer *,
                                    struct bole_alloc *, uint8_t algo, const struct bole_oid *root,
                                    const struct kv_edit *, size_t count, struct bole_oid *out);

#endif /* BOLE_KV_KV_H */
