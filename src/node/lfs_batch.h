/* SPDX-License-Identifier: ISC */
/* A batch request, read. */
#ifndef BOLE_NODE_LFS_BATCH_H
#define BOLE_NODE_LFS_BATCH_H

#include "node/lfs.h"

struct lfs_wanted {
	struct bole_bytes id; /* as it came; borrowed from the batch's document */
	struct bole_oid oid;
	uint64_t size_bytes;
	bool fine; /* oid and size_bytes are what they should be */
};

struct lfs_batch {
	struct lfs_wanted *wanted; /* the caller's, cap of them */
	struct yyjson_doc *doc;    /* the caller gives it to yyjson_doc_free, in any case */
	size_t cap;
	size_t count;
	char ref[BOLE_REF_NAME_MAX + 1]; /* "" = none */
	bool download;
	bool upload;
	bool basic;      /* is among the transfers */
	bool other_only; /* there are transfers, and it is not */
	bool other_hash;
};

/* Zeroed, but for wanted and cap. BOLE_E_INVALID: no batch; BOLE_E_LIMIT: more objects than cap, a
 * name too long, nested too deep; BOLE_E_NO_MEMORY. */
BOLE_MUST_USE enum bole_status bole_lfs_batch_parse(struct bole_alloc *, struct bole_bytes text,
                                                    struct lfs_batch *);
/* May this caller make or move this reference? */
bool bole_lfs_may_write_ref(struct lfs_call *, const char *ref);

#endif /* BOLE_NODE_LFS_BATCH_H */
