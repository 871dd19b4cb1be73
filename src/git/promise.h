/* SPDX-License-Identifier: ISC */
/* What a partial repository lacks: trees and blobs that something here links to, and that the
 * server it was fetched from, its origin, keeps. Every link of every object leads to an object or
 * to an id that is promised as an object of that type; commits and tags are never promised.
 *
 * Promises are kept as auxiliary records (docs/FORMAT.md, "Partial repositories"), written in the
 * transaction that brings the links. Each transaction that relies on one records it again, under a
 * key of its own; so one that tidies up may drop what it found to be here together with the records
 * that it read: whoever relied on them meanwhile has a record of its own. Promised ids may be here
 * all the same: an object goes before its promise. Private to src. */
#ifndef BOLE_GIT_PROMISE_H
#define BOLE_GIT_PROMISE_H

#include "bole/odb.h"
#include "git/object/oid_map.h"

enum {
	BOLE_ORIGIN_URL_MAX = 2000,
	BOLE_ORIGIN_FILTER_MAX = 2000,
	BOLE_PROMISES_MAX = 1 << 26, /* ids of one repository */
};

/* The server that promised. */
struct bole_origin {
	bool there;
	char url[BOLE_ORIGIN_URL_MAX + 1];       /* without credentials */
	char filter[BOLE_ORIGIN_FILTER_MAX + 1]; /* of later fetches from it; "": none */
	bool mixed; /* not all that is missing is so because of this filter */
};
/* BOLE_E_CORRUPT, BOLE_E_NO_MEMORY. */
BOLE_MUST_USE enum bole_status bole_origin_load(struct bole_snapshot *, struct bole_alloc *,
                                                struct bole_origin *);
/* BOLE_E_LIMIT: too long. */
BOLE_MUST_USE enum bole_status bole_origin_stage(const struct bole_origin *, struct bole_alloc *,
                                                 struct bole_tx *);

/* Whether a repository is partial, at the cost of a look. */
BOLE_MUST_USE enum bole_status bole_promise_any(struct bole_snapshot *, bool *out);
/* Whether one id is promised (its type), by reading the records: for where that is rare.
 * BOLE_E_NOT_FOUND. */
BOLE_MUST_USE enum bole_status bole_promise_one(struct bole_snapshot *, struct bole_alloc *,
                                                const struct bole_oid *, uint8_t *type);

/* All of them, for many questions: read at the first one. view is borrowed. Must not be moved in
 * memory. About 30 bytes an id. */
struct bole_promises {
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	struct bole_snapshot *view;
	bool loaded;
	struct bole_oid_map ids; /* -> type, u32 */
	uint64_t records;
};
void bole_promises_init(struct bole_promises *, struct bole_platform *, struct bole_alloc *,
                        struct bole_snapshot *view);
/* Safe on a zeroed struct. */
void bole_promises_release(struct bole_promises *);
BOLE_MUST_USE enum bole_status bole_promises_load(struct bole_promises *);
/* BOLE_E_NOT_FOUND: it is not promised as such a type (0 = any). */
BOLE_MUST_USE enum bole_status bole_promises_find(struct bole_promises *, const struct bole_oid *,
                                                  uint8_t type);

/* Stages promises; ids is sorted by it. */
BOLE_MUST_USE enum bole_status bole_promise_stage(struct bole_tx *, struct bole_platform *,
                                                  struct bole_alloc *, uint8_t type,
                                                  struct bole_oid *ids, size_t count);

/* Promised blobs to which a tree gives a meaning, so that they are judged when they come: ids ->
 * kinds of them (BOLE_FSCK_MODULES, ...), u32. Staged by who brings the tree. */
BOLE_MUST_USE enum bole_status bole_promise_stage_special(struct bole_tx *, struct bole_platform *,
                                                          struct bole_alloc *,
                                                          const struct bole_oid_map *);
/* Adds all that are recorded. */
BOLE_MUST_USE enum bole_status bole_promise_special(struct bole_snapshot *, struct bole_alloc *,
                                                    struct bole_oid_map *);

/* Takes promises of what is here away and makes few records of many, in a transaction of its own;
 * a repository that lacks nothing any more is whole again and forgets its origin, unless that one
 * has a filter and keep_origin is set. *left: what is still missing. */
BOLE_MUST_USE enum bole_status bole_promises_tidy(struct bole_platform *, struct bole_alloc *,
                                                  struct bole_store *, uint32_t repo,
                                                  bool keep_origin, uint64_t *left);

#endif /* BOLE_GIT_PROMISE_H */
