/* SPDX-License-Identifier: ISC */
/* What a session learns about history: lists of ids, a lazily loaded graph of commits, and the two
 * questions that the protocol asks of it: "have we heard of enough common commits?" and "is
 * this a fast-forward?". Everything is bounded by the session's memory. */
#ifndef BOLE_GIT_NEGOTIATE_H
#define BOLE_GIT_NEGOTIATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/odb.h"
#include "bole/oid.h"
#include "bole/platform.h"
#include "git/object/oid_map.h"

struct bole_session;

/* A growing list of ids, with an index where each may be in it only once. Must not be moved in
 * memory while it is in use. */
struct bole_id_list {
	struct bole_alloc *alloc;
	struct bole_oid *ids;
	size_t count;
	size_t cap;
	struct bole_oid_index index;
};
void bole_id_list_init(struct bole_id_list *, struct bole_platform *, struct bole_alloc *,
                       uint8_t algo);
BOLE_MUST_USE enum bole_status bole_id_list_add(struct bole_id_list *, const struct bole_oid *);
/* Adds an id unless it is there. BOLE_E_LIMIT when the list has limit ids. */
BOLE_MUST_USE enum bole_status bole_id_list_add_once(struct bole_id_list *, const struct bole_oid *,
                                                     size_t limit);
/* Its position among those added once, or BOLE_OID_NONE. */
uint32_t bole_id_list_find(const struct bole_id_list *, const struct bole_oid *);
void bole_id_list_release(struct bole_id_list *);

/* Commits that were looked at. Everything else (trees, blobs, ids that are not here) is a node
 * without parents. */
struct bole_history_node {
	struct bole_oid oid;
	int64_t date;
	uint32_t parents; /* index of the first in history.links */
	uint32_t parent_count;
	uint32_t epoch; /* flags are of this question, else 0 */
	uint8_t flags;
	bool loaded;
	bool is_commit;
	bool common; /* both sides have it */
};
struct bole_history {
	struct bole_session *session;
	struct bole_snapshot *view;
	/* Commits that count as having no parents, beside the boundary of the session; or NULL. */
	const struct bole_id_list *grafts;
	struct bole_oid_index index; /* id -> node */
	struct bole_history_node *nodes;
	size_t node_count;
	size_t node_cap;
	uint32_t *links;
	size_t link_count;
	size_t link_cap;
	uint32_t *queue; /* stack or heap of the question in progress */
	size_t queue_count;
	size_t queue_cap;
	uint32_t epoch;
	uint64_t visits; /* of all questions so far */
	int64_t oldest_common;
	bool any_common;
	bool changed; /* commons were added since the last question */
	bool enough;
};
void bole_history_init(struct bole_history *, struct bole_session *, struct bole_snapshot *view);
void bole_history_release(struct bole_history *);
/* The node of an id that is findable here, loaded. */
BOLE_MUST_USE enum bole_status bole_history_meet(struct bole_history *, const struct bole_oid *,
                                                 uint32_t *at);
/* Both sides have oid (findable here); *fresh when it was not known to be. */
BOLE_MUST_USE enum bole_status bole_history_common(struct bole_history *, const struct bole_oid *,
                                                   bool *fresh);
/* Can every tip (a wanted commit, tags peeled) reach a commit that both sides have? Sticky once
 * true. When the answer would cost too much it is false: the client then goes on, which is right,
 * only longer. */
BOLE_MUST_USE enum bole_status
bole_history_enough(struct bole_history *, const struct bole_oid *tips, size_t count, bool *out);
/* Is `older` an ancestor of `newer` (or the same)? Both are commits. BOLE_E_NO_MEMORY when history
 * does not fit the budget, BOLE_E_LIMIT when the session's questions have cost too much. */
BOLE_MUST_USE enum bole_status bole_history_ancestor(struct bole_history *,
                                                     const struct bole_oid *older,
                                                     const struct bole_oid *newer, bool *out);
/* Sets found[i] to 1 for each target that is a commit reachable from one of the starts; found comes
 * in zeroed. Looks at no more than commits_max commits, newest first, so that what was a tip a
 * moment ago is found soon; beyond that a target counts as not reachable. */
BOLE_MUST_USE enum bole_status bole_history_reach(struct bole_history *,
                                                  const struct bole_id_list *starts,
                                                  const struct bole_id_list *targets,
                                                  uint8_t *found, size_t commits_max);
/* Walks from the wants, newest first, and leaves out whatever `excluded` or a commit older than
 * since_s reaches. Afterwards bole_history_selected tells of each node, until the next question. */
BOLE_MUST_USE enum bole_status bole_history_select(struct bole_history *,
                                                   const struct bole_id_list *wants,
                                                   const struct bole_id_list *excluded,
                                                   int64_t since_s);
bool bole_history_selected(const struct bole_history *, uint32_t at);

#endif /* BOLE_GIT_NEGOTIATE_H */
