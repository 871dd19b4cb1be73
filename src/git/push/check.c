/* SPDX-License-Identifier: ISC */
/* What a push may do to references: names, types, policy. The texts are those that users know from
 * Git where Git has one. */
#include "base/check.h"
#include "base/bytes.h"
#include "base/sort.h"
#include "git/object/object.h"
#include "git/push/push.h"

void bole_push_fail_all(struct bole_push *p, const char *error)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->commands[i].error == NULL && !p->commands[i].done)
			p->commands[i].error = error;
}

bool bole_push_any_error(const struct bole_push *p)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->commands[i].error != NULL)
			return true;
	return false;
}

static bool may(const struct bole_push *p, const struct bole_command *c,
                enum bole_push_action action)
{
	return p->policy->may == NULL || p->policy->may(p->policy->may_ctx, c->name, action);
}

static bool is_branch(const struct bole_command *c)
{
	return bole_bytes_start(c->name, bole_bytes_z("refs/heads/"));
}

/* Full names below refs/ with at least two components more; so HEAD is never one. */
static bool name_allowed(const struct bole_command *c)
{
	struct bole_bytes refs = bole_bytes_z("refs/");
	struct bole_bytes name = c->name;

	return c->stored.len <= BOLE_REF_NAME_MAX && bole_ref_name_valid(name) &&
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
		if (!name_allowed(sorted[i]))
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

/* The repository's own HEAD, and that of the namespace, whatever hides them. */
static enum bole_status is_current(struct bole_push *p, const struct bole_command *c, bool *out)
{
	struct bole_bytes names[] = {bole_bytes_z("HEAD"), {NULL, 0}};
	struct bole_bytes shown;
	struct bole_ref head;

	*out = false;
	BOLE_TRY(bole_push_name(p, names[0], &shown, &names[1]));
	for (size_t i = 0; i < 2 && !*out; i++) {
		enum bole_status rc = bole_ref_get(p->tx->view, names[i], &head);

		if (rc != BOLE_OK && rc != BOLE_E_NOT_FOUND)
			return rc;
		*out = rc == BOLE_OK && head.symbolic && bole_bytes_equal(head.target, c->stored);
	}
	return BOLE_OK;
}

static enum bole_status check_delete(struct bole_push *p, struct bole_command *c)
{
	bool current;

	/* The transaction would publish the commits that lack parents with it. */
	if (p->cut.count > 0 && !p->policy->allow_shallow) {
		c->error = "shallow update not allowed";
		return BOLE_OK;
	}
	if (p->s->svc->policy->deny_delete || !may(p, c, BOLE_PUSH_DELETE)) {
		c->error = "deletion prohibited";
		return BOLE_OK;
	}
	if (p->policy->allow_current)
		return BOLE_OK;
	BOLE_TRY(is_current(p, c, &current));
	if (current)
		c->error = "deletion of the current branch prohibited";
	return BOLE_OK;
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

/* Not a fast-forward, as far as it matters here; only commits have a history to keep. */
static enum bole_status is_forced(struct bole_push *p, const struct bole_command *c, bool *out)
{
	struct bole_entry from;
	struct bole_entry to;
	bool forward;

	BOLE_TRY(bole_odb_find(p->tx->view, &c->old_oid, &from));
	BOLE_TRY(bole_odb_find(p->tx->view, &c->new_oid, &to));
	*out = true;
	if (from.type != BOLE_OBJECT_COMMIT || to.type != BOLE_OBJECT_COMMIT) {
		/* A branch that does not hold a commit: an import made it. */
		*out = !is_branch(c);
		return BOLE_OK;
	}
	BOLE_TRY(bole_history_ancestor(&p->history, &c->old_oid, &c->new_oid, &forward));
	*out = !forward;
	return BOLE_OK;
}

static enum bole_status check_fast_forward(struct bole_push *p, struct bole_command *c)
{
	bool denied = p->s->svc->policy->deny_non_fast_forward && is_branch(c);
	bool forced = false;

	if (bole_oid_is_null(&c->old_oid) || (!denied && may(p, c, BOLE_PUSH_FORCE)))
		return BOLE_OK;
	enum bole_status rc = is_forced(p, c, &forced);
	if (rc == BOLE_E_NO_MEMORY || rc == BOLE_E_LIMIT) {
		c->error = "history too large to check for fast-forward";
		return BOLE_OK;
	}
	if (rc == BOLE_OK && forced)
		c->error = "non-fast-forward";
	return rc;
}

static void check_allowed(struct bole_push *p, struct bole_command *c)
{
	bool fresh = bole_oid_is_null(&c->old_oid);

	if (!may(p, c, fresh ? BOLE_PUSH_CREATE : BOLE_PUSH_UPDATE))
		c->error = fresh ? "creation of this reference is not allowed"
		                 : "protected reference: not allowed to update it";
	else if (p->cut.count > 0 && !p->policy->allow_shallow)
		c->error = "shallow update not allowed";
}

/* The value that the client believes in, before any work is spent. The commit compares again. */
static enum bole_status check_old(struct bole_push *p, struct bole_command *c)
{
	struct bole_ref ref;
	enum bole_status rc = bole_ref_get(p->tx->view, c->stored, &ref);

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
	/* Before anything that depends on whether it is there. */
	if (bole_ref_hidden(&p->s->refs, c->name))
		c->error = "deny updating a hidden ref";
	if (c->error == NULL)
		BOLE_TRY(check_old(p, c));
	if (c->error != NULL)
		return BOLE_OK;
	if (bole_oid_is_null(&c->new_oid))
		return check_delete(p, c);
	check_allowed(p, c);
	if (c->error != NULL)
		return BOLE_OK;
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
