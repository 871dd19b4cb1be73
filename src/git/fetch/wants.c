/* SPDX-License-Identifier: ISC */
/* What may be wanted. The tips that are listed always; what else, the policy and the version of the
 * protocol say. */
#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "git/fetch/upload_pack_impl.h"
#include "git/refs/cache.h"

enum { REACH_COMMITS_MAX = 1 << 16 }; /* looked at for a want that is no tip */

/* One byte for each want. */
struct allowing {
	struct bole_session *s;
	const struct bole_id_list *wants;
	uint8_t *allowed;
	size_t left; /* not allowed so far */
};

static void allow(struct allowing *a, const struct bole_oid *oid)
{
	uint32_t at = bole_id_list_find(a->wants, oid);

	if (at == BOLE_OID_NONE || a->allowed[at] != 0)
		return;
	a->allowed[at] = 1;
	a->left--;
}

/* peel: also find out what tags name whose writer did not say. That reads objects, so only a
 * second pass for wants that the first left over does it. */
static enum bole_status allow_refs(struct allowing *a, const struct bole_ref_view *view, bool peel)
{
	struct bole_session *s = a->s;
	struct bole_bytes after = bole_bytes_of("", 0);
	struct bole_ref ref;
	enum bole_status rc = BOLE_OK;

	while (a->left > 0 && rc == BOLE_OK) {
		struct bole_listed_ref listed;
		rc = bole_ref_view_next(view, s->snapshot, bole_bytes_of("", 0), after, &ref);
		if (rc != BOLE_OK)
			break;
		after = ref.name;
		BOLE_TRY(bole_session_tick(s));
		if (!peel && !ref.symbolic) {
			allow(a, &ref.oid);
			if (ref.has_peeled)
				allow(a, &ref.peeled);
			continue;
		}
		if (bole_ref_resolve(view, s->snapshot, &ref, &listed) != BOLE_OK)
			continue;
		allow(a, &listed.oid);
		if (peel)
			BOLE_TRY(bole_ref_fill_peeled(s, &listed));
		if (listed.has_peeled)
			allow(a, &listed.peeled);
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

static void count_left(struct allowing *a)
{
	a->left = 0;
	for (size_t i = 0; i < a->wants->count; i++)
		a->left += a->allowed[i] == 0;
}

/* What is kept of the references. */
static enum bole_status allow_kept(struct allowing *a, bool *sure)
{
	if (a->s->svc->lists == NULL)
		return BOLE_OK;
	BOLE_TRY(bole_ref_cache_tips(a->s, a->wants, a->allowed, sure));
	count_left(a);
	return BOLE_OK;
}

enum bole_status bole_session_tips(struct bole_session *s, struct bole_id_list *tips)
{
	struct bole_bytes after = bole_bytes_of("", 0);
	struct bole_ref ref;
	enum bole_status rc;

	while ((rc = bole_ref_view_next(&s->refs, s->snapshot, bole_bytes_of("", 0), after,
	                                &ref)) == BOLE_OK) {
		struct bole_listed_ref listed;
		after = ref.name;
		BOLE_TRY(bole_session_tick(s));
		if (bole_ref_resolve(&s->refs, s->snapshot, &ref, &listed) != BOLE_OK)
			continue;
		BOLE_TRY(bole_ref_fill_peeled(s, &listed));
		BOLE_TRY(bole_id_list_add_once(
		        tips, listed.has_peeled ? &listed.peeled : &listed.oid, SIZE_MAX));
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

/* Allows what is here by its id alone. *hopeless: something is wanted that no walk can find. */
static enum bole_status allow_present(struct allowing *a, bool *hopeless)
{
	const struct bole_fetch_policy *policy = &a->s->svc->policy->fetch;
	bool lazy = policy->lazy_fetch && a->s->svc->version == 2;

	*hopeless = false;
	for (size_t i = 0; i < a->wants->count; i++) {
		struct bole_entry entry;
		if (a->allowed[i] != 0)
			continue;
		BOLE_TRY(bole_session_tick(a->s));
		enum bole_status rc = bole_odb_find(a->s->snapshot, &a->wants->ids[i], &entry);
		if (rc != BOLE_OK && rc != BOLE_E_NOT_FOUND)
			return rc;
		if (rc == BOLE_OK &&
		    (policy->allow_any || (lazy && entry.type != BOLE_OBJECT_COMMIT)))
			allow(a, &a->wants->ids[i]);
		else if (rc == BOLE_E_NOT_FOUND || entry.type != BOLE_OBJECT_COMMIT)
			*hopeless = true;
	}
	return BOLE_OK;
}

/* In a stateless session the client read the list of references in an earlier request; a push in
 * between may have moved a tip on. What it still reaches may be wanted. */
static enum bole_status allow_reachable(struct allowing *a)
{
	struct bole_service *svc = a->s->svc;
	struct bole_history history; /* the whole: the client's may end early */
	struct bole_id_list tips;

	bole_history_init(&history, a->s, a->s->snapshot);
	bole_id_list_init(&tips, svc->platform, svc->alloc, svc->repo.algo);
	enum bole_status rc = bole_session_tips(a->s, &tips);
	if (rc == BOLE_OK)
		rc = bole_history_reach(&history, &tips, a->wants, a->allowed, REACH_COMMITS_MAX);
	bole_id_list_release(&tips);
	bole_history_release(&history);
	if (rc == BOLE_E_NO_MEMORY || rc == BOLE_E_LIMIT)
		rc = BOLE_OK; /* too far away: what was found counts */
	count_left(a);
	return rc;
}

/* all: one that may not be wanted spoils everything, so ids that are not here (of another
 * repository, or of nothing) are sorted out before any walk. */
static enum bole_status check(struct allowing *a, bool all)
{
	struct bole_service *svc = a->s->svc;
	const struct bole_fetch_policy *policy = &svc->policy->fetch;
	struct bole_ref_view unhidden = {.space = policy->refs.space};
	bool hopeless = false;
	bool sure = false; /* what is left is no tip that is listed */

	BOLE_TRY(allow_kept(a, &sure));
	if (!sure)
		BOLE_TRY(allow_refs(a, &a->s->refs, false));
	if (a->left > 0 && policy->allow_hidden_tips)
		BOLE_TRY(allow_refs(a, &unhidden, true));
	if (a->left > 0)
		BOLE_TRY(allow_present(a, &hopeless));
	if (a->left > 0 && !sure)
		BOLE_TRY(allow_refs(a, &a->s->refs, true));
	bool reach = svc->stateless || svc->version == 2 || policy->allow_reachable;
	if (a->left > 0 && reach && !(all && hopeless))
		BOLE_TRY(allow_reachable(a));
	return BOLE_OK;
}

enum bole_status bole_wants_check(struct bole_session *s, const struct bole_id_list *wants,
                                  uint8_t *allowed, size_t *refused)
{
	struct bole_alloc *alloc = s->svc->alloc;
	struct allowing a = {.s = s, .wants = wants, .allowed = allowed, .left = wants->count};

	if (wants->count == 0)
		return BOLE_OK;
	if (allowed == NULL)
		a.allowed = bole_alloc_zeroed(alloc, wants->count, 1);
	if (a.allowed == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = check(&a, allowed == NULL);
	if (rc == BOLE_OK && a.left > 0 && allowed == NULL) {
		rc = BOLE_E_DENIED;
		for (*refused = 0; a.allowed[*refused] != 0;)
			++*refused;
	}
	if (allowed == NULL)
		bole_alloc_free(alloc, a.allowed, wants->count, 1);
	return rc;
}
