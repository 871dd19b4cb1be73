/* SPDX-License-Identifier: ISC */
/* The shallow boundary of a repository: commits that are here and whose parents may not be. Every
 * walk takes them for commits without parents; whatever is not on the boundary is whole.
 *
 * It is kept as auxiliary records (docs/FORMAT.md, "Shallow boundary"), written in the transaction
 * that makes it true. Each transaction that changes it writes the whole new set under keys of its
 * own and removes the records that it read, so two at once leave the union: more commits count as
 * ends than need to, never fewer. A record of a commit that is not here counts for nothing; a
 * collection of garbage may leave such, and who commits next takes them away.
 *
 * A commit leaves the boundary only in a transaction through whose view all its parents were found:
 * so they live on, and since a domain is closed, with all that they reach. Private to src. */
#ifndef BOLE_GIT_BOUNDARY_H
#define BOLE_GIT_BOUNDARY_H

#include "bole/odb.h"
#include "git/negotiate.h"
#include "git/object/object.h"

enum {
	BOLE_BOUNDARY_MAX = 1 << 20, /* commits on it */
};

struct bole_boundary {
	struct bole_platform *platform;
	struct bole_id_list ends;
	bool stale; /* there are records of commits that are not here */
};

void bole_boundary_init(struct bole_boundary *, struct bole_platform *, struct bole_alloc *,
                        uint8_t algo);
void bole_boundary_release(struct bole_boundary *);
/* Reads it, in place of what it held. For a transaction: through its view, before anything is put.
 * BOLE_E_CORRUPT, BOLE_E_LIMIT, BOLE_E_NO_MEMORY. */
BOLE_MUST_USE enum bole_status bole_boundary_load(struct bole_boundary *, struct bole_snapshot *);
/* Stages exactly these commits as the boundary. tx's view must still be as it was for load. */
BOLE_MUST_USE enum bole_status bole_boundary_stage(const struct bole_boundary *, struct bole_tx *);
/* Takes records of commits that are not here away, in a transaction of its own. */
BOLE_MUST_USE enum bole_status bole_boundary_tidy(struct bole_platform *, struct bole_alloc *,
                                                  struct bole_store *, uint32_t repo);
/* Whether a repository has one, at the cost of one look. */
BOLE_MUST_USE enum bole_status bole_boundary_any(struct bole_snapshot *, bool *out);
/* A commit of it gets no parents. */
static inline void bole_boundary_cut(const struct bole_id_list *ends, const struct bole_oid *oid,
                                     struct bole_commit *commit)
{
	if (ends->count > 0 && bole_id_list_find(ends, oid) != BOLE_OID_NONE)
		commit->parent_count = 0;
}

#endif /* BOLE_GIT_BOUNDARY_H */
