/* SPDX-License-Identifier: ISC */
/* A repository that a push created has a HEAD that was a guess. After a push, a HEAD that leads
 * nowhere is pointed at a branch that exists, so that a clone has something to check out. The same
 * for the HEAD of a namespace. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "node/internal.h"

enum { NAME_MAX = BOLE_NAMESPACE_MAX + 32 };

/* A name of ours in the namespace. */
static struct bole_bytes inside(const char *space, const char *name, char full[NAME_MAX])
{
	int len = snprintf(full, NAME_MAX, "%s%s", space, name);

	BOLE_ASSERT(len > 0 && len < NAME_MAX);
	return bole_bytes_of(full, (size_t)len);
}

/* Picks main, master, or the first branch. BOLE_END: there is none, or HEAD is fine. */
static enum bole_status pick_branch(struct bole_snapshot *snapshot, const char *space,
                                    struct bole_bytes *out)
{
	static const char *const likely[] = {"refs/heads/main", "refs/heads/master"};
	char full[NAME_MAX];
	struct bole_ref head;
	struct bole_ref ref;
	enum bole_status rc = bole_ref_get(snapshot, inside(space, "HEAD", full), &head);

	/* A namespace has a HEAD only if somebody has set it. */
	if (rc != BOLE_OK && (rc != BOLE_E_NOT_FOUND || space[0] == '\0'))
		return rc;
	if (rc == BOLE_OK &&
	    (!head.symbolic || bole_ref_get(snapshot, head.target, &ref) != BOLE_E_NOT_FOUND))
		return BOLE_END;
	for (size_t i = 0; i < sizeof likely / sizeof likely[0]; i++) {
		if (bole_ref_get(snapshot, inside(space, likely[i], full), &ref) == BOLE_OK) {
			*out = ref.name;
			return BOLE_OK;
		}
	}
	rc = bole_ref_next(snapshot, inside(space, "refs/heads/", full), bole_bytes_of(NULL, 0),
	                   &ref);
	*out = ref.name;
	return rc;
}

void bole_node_settle_head(struct bole_platform *platform, struct bole_store *store,
                           const struct bole_repo *repo, const char *space)
{
	struct bole_snapshot *snapshot = NULL;
	struct bole_bytes target = {NULL, 0};
	struct bole_tx *tx = NULL;
	char name[NAME_MAX];
	size_t failed = 0;

	enum bole_status rc = bole_snapshot_open(store, repo->id, &snapshot);
	if (rc == BOLE_OK)
		rc = pick_branch(snapshot, space, &target);
	if (rc == BOLE_OK)
		rc = bole_tx_begin(store, repo->id, &tx);
	if (rc == BOLE_OK) {
		struct bole_ref_update update = {
		        .name = inside(space, "HEAD", name),
		        .action = BOLE_REF_SYMBOLIC,
		        .target = target,
		};
		rc = bole_tx_commit(tx, &update, 1, &failed);
		if (rc == BOLE_E_CONFLICT) /* of no use here: give up */
			bole_tx_abort(tx);
	}
	if (rc == BOLE_OK)
		bole_log(platform, BOLE_LOG_INFO, "%s: HEAD is now %.*s", repo->name,
		         (int)target.len, (const char *)target.ptr);
	else if (rc != BOLE_END)
		bole_log(platform, BOLE_LOG_WARN, "%s: HEAD not set: %s", repo->name,
		         bole_status_text(rc));
	bole_snapshot_close(snapshot);
}
