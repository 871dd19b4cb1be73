/* SPDX-License-Identifier: ISC */
/* The waist, part 2: references. Read on a snapshot (odb.h), changed by a transaction's commit. */
#ifndef BOLE_REFS_H
#define BOLE_REFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/oid.h"
#include "bole/status.h"
#include "bole/types.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bole_snapshot;
struct bole_store;

/* A reference as a snapshot shows it. name and target are borrowed until the snapshot closes.
 * Symbolic: target is the full name it points to and oid is null. Otherwise oid is set and, for an
 * annotated tag whose writer knew it, peeled is the object the tag finally names. */
struct bole_ref {
	struct bole_bytes name;
	struct bole_bytes target;
	struct bole_oid oid;
	struct bole_oid peeled;
	bool symbolic;
	bool has_peeled;
};

/* What the references of a repository were at some moment, held beyond the snapshot. */
struct bole_ref_version;

/* Where a comparison of versions is. Zero it to begin. */
struct bole_ref_cursor {
	uint64_t opaque[8];
};

struct bole_refs_ops {
	/* BOLE_OK or BOLE_E_NOT_FOUND; does not follow symbolic references. Never blocks. */
	enum bole_status (*get)(struct bole_snapshot *, struct bole_bytes name,
	                        struct bole_ref *out);
	/* The first reference whose name is > after (all of them when after.len is 0) and starts
	 * with prefix, in byte order; BOLE_END. HEAD is listed like any other. Never blocks. */
	enum bole_status (*next)(struct bole_snapshot *, struct bole_bytes prefix,
	                         struct bole_bytes after, struct bole_ref *out);

	/* Versions; all three are NULL in a store that cannot tell them apart. None blocks. */

	/* Holds what a snapshot shows. NULL: it has no references. While it is held, the same
	 * pointer means the same references. It pins memory alone, no space of the store. */
	struct bole_ref_version *(*version_hold)(struct bole_snapshot *);
	/* Before the store is closed; any thread. NULL is fine. */
	void (*version_release)(struct bole_store *, struct bole_ref_version *);
	/* The next name, in byte order, that stands for something else in a version held than in
	 * the snapshot, or is in one of them alone; BOLE_END. name is borrowed from either. Costs
	 * what differs, and a little. */
	enum bole_status (*version_next)(struct bole_snapshot *, struct bole_ref_version *,
	                                 struct bole_ref_cursor *, struct bole_bytes *name);
};

enum bole_ref_expect {
	BOLE_EXPECT_ANY = 0, /* no compare */
	BOLE_EXPECT_ABSENT = 1,
	BOLE_EXPECT_OID = 2, /* must hold `expected` now */
};

enum bole_ref_action {
	BOLE_REF_SET = 1,      /* to oid (and peeled) */
	BOLE_REF_SYMBOLIC = 2, /* to target */
	BOLE_REF_DELETE = 3,
	BOLE_REF_VERIFY = 4, /* compare only */
};

/* One compare-and-set of a commit. All strings are borrowed for the call. */
struct bole_ref_update {
	struct bole_bytes name;
	enum bole_ref_expect expect;
	struct bole_oid expected;
	enum bole_ref_action action;
	struct bole_oid oid;
	struct bole_oid peeled;
	bool has_peeled;
	struct bole_bytes target;
};

/* As the members of struct bole_refs_ops. */
BOLE_MUST_USE enum bole_status bole_ref_get(struct bole_snapshot *, struct bole_bytes name,
                                            struct bole_ref *out);
BOLE_MUST_USE enum bole_status bole_ref_next(struct bole_snapshot *, struct bole_bytes prefix,
                                             struct bole_bytes after, struct bole_ref *out);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_REFS_H */
