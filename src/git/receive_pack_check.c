/* SPDX-License-Identifier: ISC */
/* What a push may do to references: names, types, policy; and the commit. The texts are those that
 * users know from Git where Git has one. */
#include "base/bytes.h"
#include "base/check.h"
#include "base/sort.h"
#include "git/object.h"
#include "git/receive_pack_impl.h"

enum { CONFLICTS_MAX = 64 }; /* commits tried again without the one that clashed */

void bole_push_fail_all(struct bole_push *p, const char *error)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->commands[i].error == NULL)
			p->commands[i].error = error;
}

static bool is_branch(const struct bole_command *c)
{
	return bole_bytes_start(c->name, bole_bytes_z("refs/heads/"));
}

/* Full names below refs/ with at least two components more; so HEAD is never one. */
static bool name_allowed(struct bole_bytes name)
{
	struct bole_bytes refs = bole_bytes_z("refs/");

	return name.len <= BOLE_REF_NAME_MAX && bole_ref_name_valid(name) &&
	       bole_bytes_start(name, refs) &&
	       memchr(name.ptr + refs.len, '/', name.len - refs.len) != NULL;
}

static int compare_names(const void *a, const void *b)
{
	const struct bole_command *const *x = a;
	const struct bole_command *const *y = b;

	return bole_bytes_compare((*x)->name, (*y)->name);
}

static enum bole_status check_names(struct bole_push *p)
{
	struct bole_alloc *alloc = p->s->svc->alloc;
	struct bole_command **sorted =
	        bole_alloc_array(alloc, p->count, sizeof(struct bole_command *));

	if (sorted == NULL)
		return BOLE_E_NO_MEMORY;
	for (size_t i = 0; i < p->count; i++) {
		sorted[i] = &p->commands[i];
		if (!name_allowed(sorted[i]->name))
			sorted[i]->error = "funny refname";
	}
	enum bole_status rc = bole_sort(p->s->svc->platform, alloc, sorted, p->count,
	                                sizeof(struct bole_command *), compare_names);
	for (size_t i = 1; i < p->count && rc == BOLE_OK; i++)
		if (compare_names(&sorted[i - 1], &sorted[i]) == 0)
			sorted[i - 1]->error = sorted[i]->error =
			        "multiple updates for one reference not allowed";
	bole_alloc_free(alloc, sorted, p->count, sizeof(struct bole_command *));
	return rc;
}

static enum bole_status check_delete(struct bole_push *p, struct bole_command *c)
{
	struct bole_ref head;

	if (p->s->svc->policy->deny_delete) {
		c->error = "deletion prohibited";
		return BOLE_OK;
	}
	enum bole_status rc = bole_ref_get(p->tx->view, bole_bytes_z("HEAD"), &head);
	if (rc == BOLE_OK && head.symbolic && bole_bytes_equal(head.target, c->name))
		c->error = "deletion of the current branch prohibited";
	return rc == BOLE_E_NOT_FOUND ? BOLE_OK : rc;
}

/* The new tip is in the pack or in this domain. What a domain publishes is closed under links, so
 * that is the connectivity check. */
static enum bole_status check_tip(struct bole_push *p, struct bole_command *c)
{
	struct bole_entry entry;
	uint8_t type;

	enum bole_status rc = bole_odb_find(p->tx->view, &c->new_oid, &entry);
	if (rc == BOLE_E_NOT_FOUND) {
		c->error = "missing necessary objects";
		return BOLE_OK;
	}
	if (rc != BOLE_OK)
		return rc;
	if (is_branch(c) && entry.type != BOLE_OBJECT_COMMIT) {
		c->error = "a branch must point to a commit";
		return BOLE_OK;
	}
	if (entry.type != BOLE_OBJECT_TAG)
		return BOLE_OK;
	rc = bole_session_peel(p->s, p->tx->view, &c->new_oid, &c->peeled, &type);
	if (rc == BOLE_E_LIMIT) {
		c->error = "too many nested tags";
		return BOLE_OK;
	}
	c->has_peeled = rc == BOLE_OK;
	return rc;
}

static enum bole_status check_fast_forward(struct bole_push *p, struct bole_command *c)
{
	struct bole_entry entry;
	bool forward;

	if (!p->s->svc->policy->deny_non_fast_forward || !is_branch(c) ||
	    bole_oid_is_null(&c->old_oid))
		return BOLE_OK;
	/* A branch that does not hold a commit (an import made it) has no history to keep. */
	BOLE_TRY(bole_odb_find(p->tx->view, &c->old_oid, &entry));
	if (entry.type != BOLE_OBJECT_COMMIT)
		return BOLE_OK;
	enum bole_status rc =
	        bole_history_ancestor(&p->history, &c->old_oid, &c->new_oid, &forward);
	if (rc == BOLE_E_NO_MEMORY || rc == BOLE_E_LIMIT) {
		c->error = "history too large to check for fast-forward";
		return BOLE_OK;
	}
	if (rc == BOLE_OK && !forward)
		c->error = "non-fast-forward";
	return rc;
}

/* The value that the client believes in, before any work is spent. The commit compares again. */
static enum bole_status check_old(struct bole_push *p, struct bole_command *c)
{
	struct bole_ref ref;
	enum bole_status rc = bole_ref_get(p->tx->view, c->name, &ref);

	if (rc == BOLE_E_NOT_FOUND) {
		if (!bole_oid_is_null(&c->old_oid))
			c->error = "reference does not exist";
		return BOLE_OK;
	}
	if (rc != BOLE_OK)
		return rc;
	if (ref.symbolic)
		c->error = "is a symbolic reference";
	else if (bole_oid_is_null(&c->old_oid))
		c->error = "reference already exists";
	else if (!bole_oid_equal(&ref.oid, &c->old_oid))
		c->error = "reference has changed; fetch first";
	return BOLE_OK;
}

static enum bole_status check_one(struct bole_push *p, struct bole_command *c)
{
	BOLE_TRY(bole_session_tick(p->s));
	if (c->error == NULL)
		BOLE_TRY(check_old(p, c));
	if (c->error != NULL)
		return BOLE_OK;
	if (bole_oid_is_null(&c->new_oid))
		return check_delete(p, c);
	BOLE_TRY(check_tip(p, c));
	return c->error == NULL ? check_fast_forward(p, c) : BOLE_OK;
}

enum bole_status bole_push_check(struct bole_push *p)
{
	BOLE_TRY(check_names(p));
	for (size_t i = 0; i < p->count; i++)
		BOLE_TRY(check_one(p, &p->commands[i]));
	return BOLE_OK;
}

static struct bole_ref_update update_of(const struct bole_command *c)
{
	struct bole_ref_update u = {.name = c->name,
	                            .expected = c->old_oid,
	                            .oid = c->new_oid,
	                            .peeled = c->peeled,
	                            .has_peeled = c->has_peeled};
	bool absent = bole_oid_is_null(&c->old_oid);

	u.expect = absent ? BOLE_EXPECT_ABSENT : BOLE_EXPECT_OID;
	if (!bole_oid_is_null(&c->new_oid))
		u.action = BOLE_REF_SET;
	else
		u.action = absent ? BOLE_REF_VERIFY : BOLE_REF_DELETE;
	return u;
}

/* Why a compare failed: a rival changed the reference, or its name needs a directory to be a
 * reference or the other way round. */
static const char *conflict_text(struct bole_push *p, const struct bole_command *c)
{
	struct bole_service *svc = p->s->svc;
	struct bole_snapshot *now = NULL;
	struct bole_ref ref;
	const char *text = "reference has changed; fetch first";

	if (bole_snapshot_open(svc->store, svc->repo.id, &now) != BOLE_OK)
		return text;
	enum bole_status rc = bole_ref_get(now, c->name, &ref);
	bool as_expected = rc == BOLE_OK ? bole_oid_equal(&ref.oid, &c->old_oid)
	                                 : bole_oid_is_null(&c->old_oid);
	bole_snapshot_close(now);
	return as_expected ? "name conflicts with another reference (directory/file)" : text;
}

static const char *failure_text(enum bole_status rc)
{
	if (rc == BOLE_E_NO_SPACE)
		return "no space on the volume";
	if (rc == BOLE_E_IO)
		return "storage failure; outcome unknown";
	return bole_status_text(rc);
}

/* rows[i] is the index of the command of updates[i]. */
static enum bole_status commit_rows(struct bole_push *p, struct bole_ref_update *updates,
                                    size_t *rows)
{
	for (unsigned conflicts = 0;; conflicts++) {
		size_t failed = 0;
		size_t n = 0;
		for (size_t i = 0; i < p->count; i++) {
			if (p->commands[i].error != NULL)
				continue;
			updates[n] = update_of(&p->commands[i]);
			rows[n++] = i;
		}
		if (n == 0 || conflicts > CONFLICTS_MAX)
			break;
		enum bole_status rc = bole_tx_commit(p->tx, updates, n, &failed);
		if (rc != BOLE_E_CONFLICT) {
			p->tx = NULL;
			if (rc != BOLE_OK)
				bole_push_fail_all(p, failure_text(rc));
			return rc;
		}
		struct bole_command *c = &p->commands[rows[failed]];
		c->error = conflict_text(p, c);
		if (p->atomic)
			break;
	}
	bole_push_fail_all(p, p->atomic ? "atomic push failure" : "too many conflicts in one push");
	bole_tx_abort(p->tx);
	p->tx = NULL;
	return BOLE_OK;
}

enum bole_status bole_push_commit(struct bole_push *p)
{
	struct bole_alloc *alloc = p->s->svc->alloc;
	struct bole_ref_update *updates = bole_alloc_array(alloc, p->count, sizeof *updates);
	size_t *rows = bole_alloc_array(alloc, p->count, sizeof *rows);
	enum bole_status rc = BOLE_E_NO_MEMORY;

	/* Nothing may look at the view once the transaction ends. */
	bole_history_release(&p->history);
	bole_session_drop_reader(p->s);
	if (updates != NULL && rows != NULL)
		rc = commit_rows(p, updates, rows);
	bole_alloc_free(alloc, rows, rows == NULL ? 0 : p->count, sizeof *rows);
	bole_alloc_free(alloc, updates, updates == NULL ? 0 : p->count, sizeof *updates);
	return rc;
}
