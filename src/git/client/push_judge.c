/* SPDX-License-Identifier: ISC */
/* What may be asked of the server: it will judge again, but it cannot know what was meant. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/client/push.h"
#include "git/object/object.h"

/* Whether a lease holds; NULL: there is none for it. */
static const struct bole_push_lease *lease_of(const struct pushing *p, const struct push_item *item)
{
	struct bole_bytes heads = bole_bytes_z("refs/heads/");

	for (size_t i = 0; i < p->job->lease_count; i++) {
		struct bole_bytes name = bole_bytes_z(p->job->leases[i].name);
		struct bole_bytes whole = item->name;

		if (bole_bytes_start(whole, heads) &&
		    !bole_bytes_start(name, bole_bytes_z("refs/"))) {
			whole.ptr += heads.len;
			whole.len -= heads.len;
		}
		if (bole_bytes_equal(name, whole))
			return &p->job->leases[i];
	}
	return NULL;
}

static bool lease_holds(const struct pushing *p, const struct bole_push_lease *lease,
                        const struct push_item *item)
{
	struct bole_oid oid;
	size_t len = strlen(lease->oid);

	if (len == 0 || strspn(lease->oid, "0") == len)
		return bole_oid_is_null(&item->old_oid);
	return bole_oid_parse(lease->oid, len, p->repo.algo, &oid) == BOLE_OK &&
	       bole_oid_equal(&oid, &item->old_oid);
}

static enum bole_status judge_move(struct pushing *p, struct push_item *item)
{
	struct bole_entry from;
	struct bole_entry to;
	bool forward = false;

	item->what = BOLE_CHANGE_FORCED;
	if (bole_bytes_start(item->name, bole_bytes_z("refs/tags/"))) {
		if (!item->force)
			bole_push_refuse(item, "the server has another tag of that name");
		return BOLE_OK;
	}
	enum bole_status rc = bole_odb_find(p->snapshot, &item->old_oid, &from);
	if (rc == BOLE_E_NOT_FOUND) {
		if (!item->force)
			bole_push_refuse(item, "the server has what is not here; fetch first");
		return BOLE_OK;
	}
	BOLE_TRY(rc);
	BOLE_TRY(bole_odb_find(p->snapshot, &item->new_oid, &to));
	if (from.type == BOLE_OBJECT_COMMIT && to.type == BOLE_OBJECT_COMMIT) {
		rc = bole_history_ancestor(&p->history, &item->old_oid, &item->new_oid, &forward);
		if (rc != BOLE_OK && rc != BOLE_E_LIMIT)
			return rc;
	}
	if (forward)
		item->what = BOLE_CHANGE_FORWARD;
	else if (!item->force)
		bole_push_refuse(item, "no fast-forward");
	return BOLE_OK;
}

static enum bole_status judge(struct pushing *p, struct push_item *item)
{
	const struct bole_remote_ref *theirs = bole_remote_find(p->r, item->name);
	const struct bole_push_lease *lease = lease_of(p, item);
	struct bole_entry entry;

	if (theirs != NULL)
		item->old_oid = theirs->oid;
	if (item->name.len > BOLE_REF_NAME_MAX || !bole_ref_name_valid(item->name) ||
	    !bole_bytes_start(item->name, bole_bytes_z("refs/"))) {
		bole_push_refuse(item, "no name for a reference");
		return BOLE_OK;
	}
	if (bole_oid_equal(&item->old_oid, &item->new_oid)) {
		if (bole_oid_is_null(&item->new_oid))
			bole_push_refuse(item, "the server has no such reference");
		return BOLE_OK;
	}
	if (lease != NULL && !lease_holds(p, lease, item)) {
		bole_push_refuse(item, "the server has something else there than expected");
		return BOLE_OK;
	}
	item->force = item->force || lease != NULL;
	if (bole_oid_is_null(&item->new_oid)) {
		item->what = BOLE_CHANGE_DELETED;
		if (!p->r->caps.delete_refs)
			bole_push_refuse(item, "the server deletes no references");
		return BOLE_OK;
	}
	BOLE_TRY(bole_odb_find(p->snapshot, &item->new_oid, &entry));
	if (entry.type != BOLE_OBJECT_COMMIT &&
	    bole_bytes_start(item->name, bole_bytes_z("refs/heads/"))) {
		bole_push_refuse(item, "a branch must point to a commit");
		return BOLE_OK;
	}
	item->what = BOLE_CHANGE_NEW;
	return bole_oid_is_null(&item->old_oid) ? BOLE_OK : judge_move(p, item);
}

enum bole_status bole_push_judge(struct pushing *p)
{
	for (size_t i = 0; i < p->count; i++) {
		BOLE_TRY(judge(p, &p->items[i]));
		BOLE_TRY(bole_session_tick(&p->session));
	}
	return BOLE_OK;
}
