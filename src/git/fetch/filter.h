/* SPDX-License-Identifier: ISC */
/* Object filters of partial clones (git-rev-list(1), "--filter"). A combination is a conjunction
 * and every filter narrows one of few bounds, so any number of them becomes one of constant size.
 */
#ifndef BOLE_GIT_FILTER_H
#define BOLE_GIT_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/oid.h"
#include "bole/types.h"

enum {
	BOLE_FILTER_PARTS_MAX = 256,  /* of a "combine:", nested ones included */
	BOLE_FILTER_NESTING_MAX = 16, /* of "combine:" in "combine:" */
	BOLE_FILTER_SPARSE_MAX = 255, /* bytes of the name of a sparse:oid */
};

/* Kinds of filters, for whoever allows only some; bits. */
enum bole_filter_kind {
	BOLE_FILTER_BLOB_NONE = 1,
	BOLE_FILTER_BLOB_LIMIT = 2,
	BOLE_FILTER_TREE = 4,
	BOLE_FILTER_OBJECT_TYPE = 8,
	BOLE_FILTER_SPARSE = 16,
	BOLE_FILTER_COMBINE = 32,
};

struct bole_path_patterns;

struct bole_filter {
	bool active;
	uint8_t kinds;       /* that were asked for */
	uint8_t types;       /* 1 << type: what may be sent */
	uint64_t blob_limit; /* blobs of so many bytes or more stay out */
	uint32_t tree_depth; /* trees and blobs so deep or deeper stay out; 0 is a commit's tree */
	size_t sparse_len;   /* of the name of a blob with patterns; 0 = none */
	char sparse[BOLE_FILTER_SPARSE_MAX + 1];
	const struct bole_path_patterns *patterns; /* what that blob holds; borrowed */
};

/* Lets everything through. */
void bole_filter_init(struct bole_filter *);
/* BOLE_E_INVALID, BOLE_E_UNSUPPORTED, BOLE_E_LIMIT: *why says it in static text. BOLE_E_NO_MEMORY.
 */
BOLE_MUST_USE enum bole_status bole_filter_parse(struct bole_filter *, struct bole_alloc *,
                                                 struct bole_bytes spec, const char **why);
/* The receiver may lack objects of this type that it should have by what it has said. */
bool bole_filter_may_drop(const struct bole_filter *, uint8_t type);

#endif /* BOLE_GIT_FILTER_H */
