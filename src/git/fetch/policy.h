/* SPDX-License-Identifier: ISC */
/* What an operator allows fetches, by the names of git-config(1). */
#ifndef BOLE_GIT_FETCH_POLICY_H
#define BOLE_GIT_FETCH_POLICY_H

#include <stdbool.h>
#include <stddef.h>

#include "git/fetch/filter.h"
#include "git/refs/ref_view.h"

struct bole_fetch_policy {
	struct bole_ref_view refs;
	bool allow_filter;
	uint8_t filters;         /* the kinds of filters that are allowed (filter.h) */
	uint64_t tree_depth_max; /* of a filter tree:N */
	/* What may be wanted beyond the tips that are listed: the tips of hidden references, the
	 * commits that listed tips reach, everything in the repository. */
	bool allow_hidden_tips;
	bool allow_reachable;
	bool allow_any;
	/* Protocol version 2 always allows what is reachable; and any tree, blob or tag of the
	 * repository, which a partial clone fetches when it needs it. */
	bool lazy_fetch;
	bool ref_in_want;
	bool sideband_all;
	bool object_info;
	bool session_id;
	bool archive;
	bool dumb; /* plain GET of references and objects; never where references are hidden */
	const char *const *bundle_uris; /* where a clone may get a bundle first */
	size_t bundle_uri_count;
	const char *const *packfile_uris; /* "<blob> <pack> <uri>" */
	size_t packfile_uri_count;
};

static inline void bole_fetch_policy_init(struct bole_fetch_policy *policy)
{
	*policy = (struct bole_fetch_policy){
	        .allow_filter = true,
	        .filters = (uint8_t)~BOLE_FILTER_SPARSE,
	        .tree_depth_max = UINT64_MAX,
	        .lazy_fetch = true,
	        .ref_in_want = true,
	        .object_info = true,
	        .archive = true,
	        .dumb = true,
	};
}

#endif /* BOLE_GIT_FETCH_POLICY_H */
