/* SPDX-License-Identifier: ISC */
/* The references of a repository that a client gets to see, by the names that it knows: those of
 * one namespace (gitnamespaces(7)), less those that are hidden (git-config(1),
 * "transfer.hideRefs"). */
#ifndef BOLE_GIT_REF_VIEW_H
#define BOLE_GIT_REF_VIEW_H

#include <stdbool.h>
#include <stddef.h>

#include "bole/odb.h"
#include "bole/refs.h"

enum {
	BOLE_NAMESPACE_MAX = 512, /* bytes of the whole prefix */
	BOLE_SYMREF_DEPTH_MAX = 5,
};

/* All zero is everything. Borrowed by whoever uses it. */
struct bole_ref_view {
	const char *space; /* NULL, or "refs/namespaces/a/" */
	/* Each is a prefix in whole components; "!" shows again, then "^" looks at the whole name.
	 * The last that fits counts. */
	const char *const *hide;
	size_t hide_count;
};

/* A reference as clients see it. */
struct bole_listed_ref {
	struct bole_bytes name;
	struct bole_bytes target; /* empty unless symbolic; the name it finally points to */
	struct bole_oid oid;      /* null when unborn */
	struct bole_oid peeled;
	bool has_peeled;
};

/* Writes "refs/namespaces/a/refs/namespaces/b/" for "a/b". False: no valid namespace. */
bool bole_namespace_prefix(const char *name, char dst[BOLE_NAMESPACE_MAX + 1]);
/* What a stored name has before the name that clients know; "" without a namespace. */
struct bole_bytes bole_ref_view_space(const struct bole_ref_view *);
/* name: without the namespace. */
bool bole_ref_hidden(const struct bole_ref_view *, struct bole_bytes name);
/* As bole_ref_next and bole_ref_get. */
BOLE_MUST_USE enum bole_status bole_ref_view_next(const struct bole_ref_view *,
                                                  struct bole_snapshot *, struct bole_bytes prefix,
                                                  struct bole_bytes after, struct bole_ref *out);
BOLE_MUST_USE enum bole_status bole_ref_view_get(const struct bole_ref_view *,
                                                 struct bole_snapshot *, struct bole_bytes name,
                                                 struct bole_ref *out);
/* Follows symbolic references. BOLE_E_NOT_FOUND: dangling; then only name and target are set. */
BOLE_MUST_USE enum bole_status bole_ref_resolve(const struct bole_ref_view *,
                                                struct bole_snapshot *, const struct bole_ref *,
                                                struct bole_listed_ref *out);

#endif /* BOLE_GIT_REF_VIEW_H */
