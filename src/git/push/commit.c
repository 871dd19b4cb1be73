/* SPDX-License-Identifier: ISC */
/* The commit of a push: compare-and-sets of its references. One transaction carries everything but
 * what goes beyond its limit of references: the rest follows in further ones, when the push is not
 * atomic; the objects are published by the first. */
#include "base/bytes.h"
#include "base/check.h"
#include "git/push/push.h"

enum { CONFLICTS_MAX = 64 }; /* commits tried again without the one that clashed */

static struct bole_ref_update update_of(const struct bole_command *c)
{
	struct bole_ref_update u = {.name = c->stored,
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
	enum bole_status rc = bole_ref_get(now, c->stored, &ref);
	bool as_expected = rc == BOLE_OK ? bole_oid_equal(&ref.oid, &c->old_oid)
	                                 : bole_oid_is_null(&c->old_oid);
	bole_snapshot_close(now);
	return as_expected ? "name conflicts with another reference (directory/file)" : text;
}

const char *bole_push_failure_text(enum bole_status rc)
{
	if (rc == BOLE_E_NO_SPACE)
		return "no space on the volume";
	if (rc == BOLE_E_GONE) /* a full volume takes back what readers hold */
		return "no space for what this push reads meanwhile; try again";
	return bole_status_text(rc);
}

/* rows[i] is the index of the command of updates[i]. */
struct batch {
	struct bole_ref_update *updates;
	size_t *rows;
	size_t cap;
	size_t count;
	unsigned conflicts; /* of the whole push */
};

/* Publishing has lifted what kept the new tips alive: they count as found only when looked up. */
static enum bole_status find_again(struct bole_push *p, struct bole_command *c)
{
	struct bole_entry entry;

	if (bole_oid_is_null(&c->new_oid))
		return BOLE_OK;
	enum bole_status rc = bole_odb_find(p->tx->view, &c->new_oid, &entry);
	if (rc != BOLE_E_NOT_FOUND)
		return rc;
	c->error = "missing necessary objects";
	return BOLE_OK;
}

static enum bole_status gather(struct bole_push *p, struct batch *b, bool again)
{
	b->count = 0;
	for (size_t i = 0; i < p->count && b->count < b->cap; i++) {
		struct bole_command *c = &p->commands[i];

		if (c->error != NULL || c->done)
			continue;
		if (again)
			BOLE_TRY(find_again(p, c));
		if (c->error != NULL)
			continue;
		b->updates[b->count] = update_of(c);
		b->rows[b->count++] = i;
	}
	return BOLE_OK;
}

/* Ends the transaction. */
static enum bole_status commit_batch(struct bole_push *p, struct batch *b, bool again)
{
	const struct bole_push_policy *policy = p->policy;

	for (bool staged = false;; staged = true) {
		size_t failed = 0;
		enum bole_status rc = gather(p, b, again);

		if (rc != BOLE_OK || b->count == 0 || b->conflicts > CONFLICTS_MAX) {
			bole_tx_abort(p->tx);
			p->tx = NULL;
			return rc;
		}
		/* The objects are published by the first transaction, and so is this. */
		if (!staged && !again && (p->cut.count > 0 || p->s->boundary.stale))
			rc = bole_boundary_stage(&p->s->boundary, p->tx);
		if (rc != BOLE_OK) {
			bole_tx_abort(p->tx);
			p->tx = NULL;
			return rc;
		}
		if (policy->stage != NULL)
			policy->stage(policy->stage_ctx, p->tx, b->updates, b->count, staged);
		rc = bole_tx_commit(p->tx, b->updates, b->count, &failed);
		if (rc != BOLE_E_CONFLICT) {
			p->tx = NULL;
			for (size_t i = 0; i < b->count && rc == BOLE_OK; i++)
				p->commands[b->rows[i]].done = true;
			return rc;
		}
		struct bole_command *c = &p->commands[b->rows[failed]];
		c->error = conflict_text(p, c);
		b->conflicts++;
		if (p->atomic)
			bole_push_fail_all(p, "atomic push failure");
	}
}

static bool any_left(const struct bole_push *p)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->commands[i].error == NULL && !p->commands[i].done)
			return true;
	return false;
}

static enum bole_status commit_all(struct bole_push *p, struct batch *b)
{
	struct bole_service *svc = p->s->svc;
	enum bole_status rc = commit_batch(p, b, false);

	while (rc == BOLE_OK && any_left(p) && b->conflicts <= CONFLICTS_MAX) {
		rc = bole_session_yield(p->s);
		if (rc == BOLE_OK)
			rc = bole_tx_begin(svc->store, svc->repo.id, &p->tx);
		if (rc == BOLE_OK)
			rc = commit_batch(p, b, true);
	}
	if (rc != BOLE_OK)
		bole_push_fail_all(p, rc == BOLE_E_IO ? "storage failure; outcome unknown"
		                                      : bole_push_failure_text(rc));
	else
		bole_push_fail_all(p, "too many conflicts in one push");
	return rc;
}

enum bole_status bole_push_commit(struct bole_push *p)
{
	struct bole_alloc *alloc = p->s->svc->alloc;
	size_t cap = p->count < BOLE_REF_UPDATES_MAX ? p->count : BOLE_REF_UPDATES_MAX;
	struct batch b = {.cap = cap};
	enum bole_status rc = BOLE_E_NO_MEMORY;

	/* Nothing may look at the view once the transaction ends. */
	bole_history_release(&p->history);
	bole_session_drop_reader(p->s);
	b.updates = bole_alloc_array(alloc, cap, sizeof *b.updates);
	b.rows = bole_alloc_array(alloc, cap, sizeof *b.rows);
	if (b.updates != NULL && b.rows != NULL)
		rc = commit_all(p, &b);
	bole_alloc_free(alloc, b.rows, b.rows == NULL ? 0 : cap, sizeof *b.rows);
	bole_alloc_free(alloc, b.updates, b.updates == NULL ? 0 : cap, sizeof *b.updates);
	if (rc == BOLE_OK)
		bole_push_tell_hooks(p);
	return rc;
}
