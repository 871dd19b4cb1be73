/* SPDX-License-Identifier: ISC */
/* Where history ends after a fetch. The server's words are judged by what is here once the pack
 * has come: an end that is here must be a commit, one that is none any more have its parents.
 * Unless the user said where history is to end, no server makes history end that goes on here. */
#include "base/bytes.h"
#include "base/check.h"
#include "git/client/fetch.h"
#include "git/object/object.h"

enum { VISITS_MAX = 1 << 22 }; /* commits looked at to see which ends are visible */

bool bole_fetch_deepens(const struct fetching *f)
{
	const struct bole_client_deepen *d = &f->job->deepen;

	return d->depth > 0 || d->deepen > 0 || d->unshallow || d->since_s > 0 ||
	       d->exclude_count > 0;
}

/* History may become shorter. */
static bool may_cut(const struct fetching *f)
{
	const struct bole_client_deepen *d = &f->job->deepen;

	return d->depth > 0 || d->since_s > 0 || d->exclude_count > 0;
}

enum bole_status bole_fetch_check_deepen(struct fetching *f)
{
	const struct bole_client_deepen *d = &f->job->deepen;
	const struct bole_remote_caps *caps = &f->r->caps;
	int ways = (d->depth > 0) + (d->deepen > 0) + d->unshallow +
	           (d->since_s > 0 || d->exclude_count > 0);

	if (ways > 1 || (ways > 0 && f->job->batch_refs > 0) || d->depth > INT32_MAX ||
	    d->deepen > INT32_MAX || d->since_s < 0)
		return bole_remote_fail(f->r, BOLE_E_INVALID,
		                        "what history is to end at contradicts itself");
	if (d->unshallow && f->session.boundary.ends.count == 0)
		return bole_remote_fail(f->r, BOLE_E_INVALID,
		                        "%s is no shallow repository: its history is whole",
		                        f->job->repo);
	if ((ways > 0 || f->session.boundary.ends.count > 0) && !caps->shallow)
		return bole_remote_fail(f->r, BOLE_E_UNSUPPORTED,
		                        "the server knows no shallow clones");
	if ((d->deepen > 0 && !caps->deepen_relative) || (d->since_s > 0 && !caps->deepen_since) ||
	    (d->exclude_count > 0 && !caps->deepen_not))
		return bole_remote_fail(f->r, BOLE_E_UNSUPPORTED,
		                        "the server cannot end history in this way");
	return BOLE_OK;
}

/* *parents: it has any. *here: and all of them are here, as commits. */
static enum bole_status look(struct fetching *f, const struct bole_oid *oid, bool *parents,
                             bool *here)
{
	struct bole_object_reader *reader;
	char hex[BOLE_OID_HEX_MAX + 1];
	struct bole_commit commit;
	struct bole_entry entry;
	struct bole_bytes data;
	struct bole_oid parent;

	*parents = false;
	*here = true;
	enum bole_status rc = bole_odb_find(f->tx->view, oid, &entry);
	/* Servers name ends that lie behind other ends, too, and do not send them. */
	if (rc == BOLE_E_NOT_FOUND)
		return BOLE_OK;
	if (rc == BOLE_OK && entry.type != BOLE_OBJECT_COMMIT)
		return bole_remote_fail(f->r, BOLE_E_INVALID,
		                        "the server says that history ends at %s, which is no "
		                        "commit",
		                        bole_oid_format(oid, hex));
	BOLE_TRY(rc);
	BOLE_TRY(bole_session_tick(&f->session));
	BOLE_TRY(bole_session_reader(&f->session, f->tx->view, &reader));
	BOLE_TRY(bole_object_read_entry(reader, &entry, &data));
	if (bole_commit_parse(data, f->repo.algo, &commit) != BOLE_OK)
		return BOLE_E_CORRUPT;
	*parents = commit.parent_count > 0;
	for (size_t i = 0; i < commit.parent_count; i++) {
		bole_commit_parent(&commit, f->repo.algo, i, &parent);
		rc = bole_odb_find(f->tx->view, &parent, &entry);
		if (rc != BOLE_OK && rc != BOLE_E_NOT_FOUND)
			return rc;
		*here = *here && rc == BOLE_OK && entry.type == BOLE_OBJECT_COMMIT;
	}
	return BOLE_OK;
}

/* Which of the server's ends our references reach now, before their own ends. */
static enum bole_status find_visible(struct fetching *f, uint8_t *found)
{
	struct bole_bytes after = {NULL, 0};
	struct bole_id_list tips;
	enum bole_status rc;
	struct bole_ref ref;

	bole_id_list_init(&tips, f->r->platform, f->r->alloc, f->repo.algo);
	while ((rc = bole_ref_next(f->tx->view, bole_bytes_z(""), after, &ref)) == BOLE_OK) {
		after = ref.name;
		if (!ref.symbolic)
			rc = bole_id_list_add_once(&tips, ref.has_peeled ? &ref.peeled : &ref.oid,
			                           SIZE_MAX);
		if (rc != BOLE_OK)
			break;
	}
	if (rc == BOLE_END)
		rc = bole_history_reach(&f->history, &tips, &f->shallow, found, VISITS_MAX);
	bole_id_list_release(&tips);
	return rc;
}

/* The ends that the server told of. */
static enum bole_status add_told(struct fetching *f, const uint8_t *visible,
                                 struct bole_id_list *out)
{
	bool parents, here;

	for (size_t i = 0; i < f->shallow.count; i++) {
		BOLE_TRY(look(f, &f->shallow.ids[i], &parents, &here));
		if (parents && (!here || may_cut(f) || visible[i] == 0))
			BOLE_TRY(bole_id_list_add_once(out, &f->shallow.ids[i], BOLE_BOUNDARY_MAX));
	}
	return BOLE_OK;
}

static enum bole_status take_told(struct fetching *f, struct bole_id_list *out)
{
	struct bole_alloc *alloc = f->r->alloc;
	uint8_t *visible = bole_alloc_zeroed(alloc, f->shallow.count + 1, 1);

	if (visible == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = may_cut(f) ? BOLE_OK : find_visible(f, visible);
	if (rc == BOLE_OK)
		rc = add_told(f, visible, out);
	bole_alloc_free(alloc, visible, f->shallow.count + 1, 1);
	return rc;
}

/* The new boundary, into `out`. */
static enum bole_status collect(struct fetching *f, struct bole_id_list *out)
{
	const struct bole_id_list *ours = &f->session.boundary.ends;
	char hex[BOLE_OID_HEX_MAX + 1];
	bool parents, here;

	for (size_t i = 0; i < ours->count; i++) {
		const struct bole_oid *oid = &ours->ids[i];

		if (bole_id_list_find(&f->unshallow, oid) == BOLE_OID_NONE) {
			BOLE_TRY(bole_id_list_add_once(out, oid, BOLE_BOUNDARY_MAX));
			continue;
		}
		BOLE_TRY(look(f, oid, &parents, &here));
		if (!here)
			return bole_remote_fail(f->r, BOLE_E_INVALID,
			                        "the server's pack lacks parents of %s, where "
			                        "history is to go on",
			                        bole_oid_format(oid, hex));
	}
	for (size_t i = 0; i < f->cut.count; i++)
		BOLE_TRY(bole_id_list_add_once(out, &f->cut.ids[i], BOLE_BOUNDARY_MAX));
	return bole_fetch_deepens(f) && f->shallow.count > 0 ? take_told(f, out) : BOLE_OK;
}

static bool same(const struct bole_id_list *a, const struct bole_id_list *b)
{
	for (size_t i = 0; i < a->count; i++)
		if (bole_id_list_find(b, &a->ids[i]) == BOLE_OID_NONE)
			return false;
	return a->count == b->count;
}

enum bole_status bole_fetch_ends(struct fetching *f)
{
	struct bole_id_list *ours = &f->session.boundary.ends;
	struct bole_id_list ends;

	if (f->cut.count > 0 && !f->created && !f->job->update_shallow && !bole_fetch_deepens(f))
		return bole_remote_fail(f->r, BOLE_E_DENIED,
		                        "the server's history is shallow, and that of %s would "
		                        "be (allow it with --update-shallow)",
		                        f->job->repo);
	bole_id_list_init(&ends, f->r->platform, f->r->alloc, f->repo.algo);
	enum bole_status rc = collect(f, &ends);
	if (rc == BOLE_OK && !same(&ends, ours)) {
		bole_id_list_release(ours);
		bole_id_list_init(ours, f->r->platform, f->r->alloc, f->repo.algo);
		for (size_t i = 0; rc == BOLE_OK && i < ends.count; i++)
			rc = bole_id_list_add_once(ours, &ends.ids[i], BOLE_BOUNDARY_MAX);
		f->moved = true;
		if (!bole_fetch_deepens(f))
			bole_remote_warn(f->r, "the server's history is shallow, and so is %s now",
			                 f->job->repo);
	}
	if (rc == BOLE_OK && f->job->deepen.unshallow && ours->count > 0)
		bole_remote_warn(f->r, "history still ends at %zu commits: the server has no more",
		                 ours->count);
	f->job->ends = ours->count;
	bole_id_list_release(&ends);
	return rc;
}
