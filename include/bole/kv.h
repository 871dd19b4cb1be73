/* SPDX-License-Identifier: ISC */
/* Keys and values with branches and history, over any store. Values are blobs, keys are
 * slash-separated paths in trees, every change is a commit: Git clients see and clone all of it.
 *
 * A bole_kv is one repository. A view is the state at one commit and never changes. A transaction
 * gathers changes and publishes them as one commit on a branch; when others moved the branch in the
 * meantime it is redone on top of theirs, unless what it read or wrote changed. */
#ifndef BOLE_KV_H
#define BOLE_KV_H

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

struct bole_kv;
struct bole_kv_view;
struct bole_kv_cursor;
struct bole_kv_log;
struct bole_kv_tx;

/* 1..BOLE_PATH_BYTES_MAX bytes; components between slashes, none empty, none that some client takes
 * for ".", ".." or ".git". */
bool bole_kv_key_valid(struct bole_bytes key);

/* -- The repository -- */

struct bole_kv_options {
	const char *repo;   /* NULL = "main" */
	const char *branch; /* short name of the default branch; NULL = the one that HEAD names */
	bool create;        /* make the repository when it is missing */
	uint8_t algo;       /* of a repository that is made; 0 = SHA-1 */
};

/* store, platform and alloc are borrowed until close. The handle may be used from many fibers and
 * threads. options may be NULL. BOLE_E_NOT_FOUND (no such repository), BOLE_E_INVALID (a name),
 * BOLE_E_UNSUPPORTED (HEAD is detached and no branch was named). */
BOLE_MUST_USE enum bole_status bole_kv_open(struct bole_platform *, struct bole_alloc *,
                                            struct bole_store *, const struct bole_kv_options *,
                                            struct bole_kv **out);
/* NULL is fine. Views, cursors, logs and transactions are closed before. */
void bole_kv_close(struct bole_kv *);
/* Borrowed from the handle. */
const struct bole_repo *bole_kv_repo(const struct bole_kv *);
/* The default branch, short; borrowed from the handle. */
const char *bole_kv_branch(const struct bole_kv *);

/* -- Views -- */

/* at: NULL (the default branch; empty when it has no commit yet), a branch, "refs/…", a tag, "HEAD"
 * or a commit's full id in hex. Used by one fiber at a time. BOLE_E_NOT_FOUND. */
BOLE_MUST_USE enum bole_status bole_kv_view_open(struct bole_kv *, const char *at,
                                                 struct bole_kv_view **out);
void bole_kv_view_close(struct bole_kv_view *);
/* What the last call on this view that returned BOLE_E_PROMISED lacked (client.h); false if none
 * did. */
bool bole_kv_view_missing(const struct bole_kv_view *, struct bole_oid *out);
/* The commit; false when there is none yet. */
bool bole_kv_view_commit(const struct bole_kv_view *, struct bole_oid *out);

struct bole_kv_item {
	struct bole_bytes key;
	struct bole_oid oid; /* of the value's blob */
	uint32_t mode;       /* as in Git's trees: 0100644, 0100755, 0120000, 0160000 */
};

/* The value, borrowed until the next call on this view. BOLE_E_NOT_FOUND (also for a directory),
 * BOLE_E_PROMISED (of a partial repository, and not here), BOLE_E_INVALID (no key),
 * BOLE_E_UNSUPPORTED (a submodule), BOLE_E_LIMIT (stream it instead). */
BOLE_MUST_USE enum bole_status bole_kv_get(struct bole_kv_view *, struct bole_bytes key,
                                           struct bole_bytes *value);
/* The same for a value of any size. */
BOLE_MUST_USE enum bole_status bole_kv_get_stream(struct bole_kv_view *, struct bole_bytes key,
                                                  struct bole_writer *);
/* Without reading the value. item->key is the caller's. */
BOLE_MUST_USE enum bole_status bole_kv_stat(struct bole_kv_view *, struct bole_bytes key,
                                            struct bole_kv_item *out);

/* -- Cursors -- */

struct bole_kv_range {
	struct bole_bytes prefix; /* keys that start with it; empty = all */
	struct bole_bytes from;   /* keys >= from; empty = the first */
	struct bole_bytes to;     /* keys < to; empty = to the end */
};

/* range may be NULL: everything. Uses the view: one cursor or other call at a time. */
BOLE_MUST_USE enum bole_status bole_kv_cursor_open(struct bole_kv_view *,
                                                   const struct bole_kv_range *,
                                                   struct bole_kv_cursor **out);
/* The next key in byte order; item->key is borrowed until the next call. BOLE_END. */
BOLE_MUST_USE enum bole_status bole_kv_cursor_next(struct bole_kv_cursor *, struct bole_kv_item *);
/* NULL is fine; so it is below. */
void bole_kv_cursor_close(struct bole_kv_cursor *);

/* -- History -- */

struct bole_kv_commit {
	struct bole_oid oid;
	struct bole_oid tree;
	size_t parent_count;
	struct bole_bytes author;    /* "Name <mail> time zone", as the commit has it */
	struct bole_bytes committer; /* the same */
	int64_t time;                /* of the committer, seconds since 1970 */
	struct bole_bytes message;
};

/* From the view's commit backwards: the first parents only, or all ancestors, the newest commit
 * time among the known ones first, as `git log` does. Uses the view like a cursor. */
BOLE_MUST_USE enum bole_status bole_kv_log_open(struct bole_kv_view *, bool first_parent,
                                                struct bole_kv_log **out);
/* *out is borrowed until the next call. BOLE_END. */
BOLE_MUST_USE enum bole_status bole_kv_log_next(struct bole_kv_log *, struct bole_kv_commit *out);
void bole_kv_log_close(struct bole_kv_log *);

/* -- Branches -- */

/* The first branch after `after` (empty = the first) in byte order; name is short and borrowed
 * until the view is closed. BOLE_END. */
BOLE_MUST_USE enum bole_status bole_kv_branch_next(struct bole_kv_view *, struct bole_bytes after,
                                                   struct bole_bytes *name, struct bole_oid *oid);
/* from as in bole_kv_view_open. BOLE_E_EXISTS, BOLE_E_NOT_FOUND (from), BOLE_E_CONFLICT (the name
 * is a directory of another branch, or below one), BOLE_E_INVALID. */
BOLE_MUST_USE enum bole_status bole_kv_branch_create(struct bole_kv *, const char *name,
                                                     const char *from);
/* BOLE_E_NOT_FOUND; BOLE_E_DENIED for the branch that HEAD names; BOLE_E_CONFLICT when it moved. */
BOLE_MUST_USE enum bole_status bole_kv_branch_delete(struct bole_kv *, const char *name);

/* -- Transactions -- */

/* Who and why. Strings are NUL-terminated; no '<', '>' or newline in name and mail. */
struct bole_kv_info {
	const char *message; /* NULL = "update" */
	const char *name;    /* NULL = "bole" */
	const char *mail;    /* NULL = "bole@localhost" */
	int64_t time;        /* 0 = the platform's clock, or one second after the parent */
	int zone_minutes;    /* east of UTC */
	bool allow_empty;    /* commit even when nothing changed */
};

/* branch: short name, NULL = the default; it need not exist yet. Used by one fiber at a time.
 * BOLE_E_READ_ONLY, BOLE_E_INVALID. */
BOLE_MUST_USE enum bole_status bole_kv_begin(struct bole_kv *, const char *branch,
                                             struct bole_kv_tx **out);
/* Like bole_kv_get, with what this transaction wrote; the commit fails when others change the key.
 */
BOLE_MUST_USE enum bole_status bole_kv_tx_get(struct bole_kv_tx *, struct bole_bytes key,
                                              struct bole_bytes *value);
/* Values are written to the store at once. BOLE_E_INVALID (no key), BOLE_E_EXISTS (the key is a
 * directory of other keys, or a part of it is a key; found here or by the commit), BOLE_E_NO_SPACE.
 */
BOLE_MUST_USE enum bole_status bole_kv_tx_set(struct bole_kv_tx *, struct bole_bytes key,
                                              struct bole_bytes value);
/* BOLE_E_NOT_FOUND: there is no such key. Directories vanish with their last key. */
BOLE_MUST_USE enum bole_status bole_kv_tx_remove(struct bole_kv_tx *, struct bole_bytes key);
/* Publishes and frees the transaction, whatever is returned. *out (may be NULL) is the commit, or
 * the branch's present one when nothing changed. BOLE_E_CONFLICT: somebody else changed what this
 * transaction read or wrote: begin again. BOLE_E_IO: outcome unknown. */
BOLE_MUST_USE enum bole_status bole_kv_tx_commit(struct bole_kv_tx *, const struct bole_kv_info *,
                                                 struct bole_oid *out);
/* NULL is fine. */
void bole_kv_tx_abort(struct bole_kv_tx *);

/* One key in a transaction of its own, on the default branch. info and out may be NULL. */
BOLE_MUST_USE enum bole_status bole_kv_set(struct bole_kv *, struct bole_bytes key,
                                           struct bole_bytes value, const struct bole_kv_info *,
                                           struct bole_oid *out);
BOLE_MUST_USE enum bole_status bole_kv_remove(struct bole_kv *, struct bole_bytes key,
                                              const struct bole_kv_info *, struct bole_oid *out);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_KV_H */
