/* SPDX-License-Identifier: ISC */
#include <inttypes.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "git/fetch/pack_emit.h"
#include "git/fetch/upload_pack_impl.h"

#define COUNTING "Counting objects" /* the emission's phase before the first byte */

enum { REACH_COMMITS_MAX = 1 << 16 }; /* looked at for a want that is no tip */

void bole_fetch_init(struct bole_fetch *f, struct bole_session *s)
{
	struct bole_alloc *alloc = s->svc->alloc;

	*f = (struct bole_fetch){.s = s};
	bole_id_list_init(&f->wants, s->svc->platform, alloc, s->svc->repo.algo);
	bole_id_list_init(&f->tips, s->svc->platform, alloc, s->svc->repo.algo);
	bole_id_list_init(&f->haves, s->svc->platform, alloc, s->svc->repo.algo);
	bole_history_init(&f->history, s, s->snapshot);
}

void bole_fetch_release(struct bole_fetch *f)
{
	bole_history_release(&f->history);
	bole_id_list_release(&f->haves);
	bole_id_list_release(&f->tips);
	bole_id_list_release(&f->wants);
}

static enum bole_status parse_id(struct bole_fetch *f, struct bole_bytes hex, const char *what,
                                 struct bole_oid *oid)
{
	char shown[80];

	if (bole_oid_parse((const char *)hex.ptr, hex.len, f->s->svc->repo.algo, oid) == BOLE_OK)
		return BOLE_OK;
	return bole_session_refuse(f->s, BOLE_E_INVALID,
	                           "upload-pack: %s line without an object id: '%s'", what,
	                           bole_printable(shown, sizeof shown, hex));
}

enum bole_status bole_fetch_want(struct bole_fetch *f, struct bole_bytes hex)
{
	struct bole_oid oid;

	BOLE_TRY(parse_id(f, hex, "want", &oid));
	enum bole_status rc = bole_id_list_add_once(&f->wants, &oid, BOLE_WANTS_MAX);
	return bole_session_check(f->s, rc, "upload-pack: too many wants");
}

/* Which wants may be served: one byte for each. */
struct allowing {
	struct bole_fetch *f;
	uint8_t *allowed;
	size_t left; /* not allowed so far */
};

static void allow(struct allowing *a, const struct bole_oid *oid)
{
	uint32_t at = bole_id_list_find(&a->f->wants, oid);

	if (at == BOLE_OID_NONE || a->allowed[at] != 0)
		return;
	a->allowed[at] = 1;
	a->left--;
}

/* peel: also find out what tags name whose writer did not say. That reads objects, so only a
 * second pass for wants that the first left over does it. */
static enum bole_status allow_refs(struct allowing *a, bool peel)
{
	struct bole_fetch *f = a->f;
	struct bole_bytes after = bole_bytes_of("", 0);
	struct bole_ref ref;
	enum bole_status rc = BOLE_OK;

	while (a->left > 0 && rc == BOLE_OK) {
		struct bole_listed_ref listed;
		rc = bole_ref_next(f->s->snapshot, bole_bytes_of("", 0), after, &ref);
		if (rc != BOLE_OK)
			break;
		after = ref.name;
		BOLE_TRY(bole_session_tick(f->s));
		if (bole_ref_resolve(f->s->snapshot, &ref, &listed) != BOLE_OK)
			continue;
		allow(a, &listed.oid);
		if (peel)
			BOLE_TRY(bole_ref_fill_peeled(f->s, &listed));
		if (listed.has_peeled)
			allow(a, &listed.peeled);
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

/* The peeled tips of every reference. */
static enum bole_status list_tips(struct bole_fetch *f, struct bole_id_list *tips)
{
	struct bole_bytes after = bole_bytes_of("", 0);
	struct bole_ref ref;
	enum bole_status rc;

	while ((rc = bole_ref_next(f->s->snapshot, bole_bytes_of("", 0), after, &ref)) == BOLE_OK) {
		struct bole_listed_ref listed;
		after = ref.name;
		BOLE_TRY(bole_session_tick(f->s));
		if (bole_ref_resolve(f->s->snapshot, &ref, &listed) != BOLE_OK)
			continue;
		BOLE_TRY(bole_ref_fill_peeled(f->s, &listed));
		BOLE_TRY(bole_id_list_add_once(
		        tips, listed.has_peeled ? &listed.peeled : &listed.oid, SIZE_MAX));
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

/* In a stateless session the client read the list of references in an earlier request; a push in
 * between may have moved a tip on. What it still reaches may be wanted. Ids that are not here (of
 * another repository, or of nothing) are sorted out before any work. */
static enum bole_status allow_reachable(struct allowing *a)
{
	struct bole_fetch *f = a->f;
	struct bole_service *svc = f->s->svc;
	struct bole_id_list tips;
	enum bole_status rc = BOLE_OK;

	for (size_t i = 0; i < f->wants.count; i++) {
		struct bole_entry entry;
		if (a->allowed[i] != 0)
			continue;
		rc = bole_odb_find(f->s->snapshot, &f->wants.ids[i], &entry);
		if (rc == BOLE_E_NOT_FOUND || (rc == BOLE_OK && entry.type != BOLE_OBJECT_COMMIT))
			return BOLE_OK; /* refused anyway */
		BOLE_TRY(rc);
	}
	bole_id_list_init(&tips, svc->platform, svc->alloc, svc->repo.algo);
	rc = list_tips(f, &tips);
	if (rc == BOLE_OK)
		rc = bole_history_reach(&f->history, &tips, &f->wants, a->allowed,
		                        REACH_COMMITS_MAX);
	bole_id_list_release(&tips);
	if (rc == BOLE_E_NO_MEMORY || rc == BOLE_E_LIMIT)
		rc = BOLE_OK; /* too far away: what was found counts */
	a->left = 0;
	for (size_t i = 0; i < f->wants.count; i++)
		a->left += a->allowed[i] == 0;
	return rc;
}

/* One answer for every id that may not be wanted: whether it exists in another repository, here but
 * unreferenced, or nowhere, nothing is learnt. */
static enum bole_status refuse_want(struct allowing *a)
{
	char hex[BOLE_OID_HEX_MAX + 1];
	size_t i = 0;

	while (a->allowed[i] != 0)
		i++;
	return bole_session_refuse(a->f->s, BOLE_E_DENIED, "upload-pack: not our ref %s",
	                           bole_oid_format(&a->f->wants.ids[i], hex));
}

/* Tips whose ancestry negotiation looks at. A tag of a tree or blob has none. */
static enum bole_status find_tips(struct bole_fetch *f)
{
	for (size_t i = 0; i < f->wants.count; i++) {
		struct bole_oid peeled;
		uint8_t type;
		BOLE_TRY(bole_session_peel(f->s, f->s->snapshot, &f->wants.ids[i], &peeled, &type));
		if (type == BOLE_OBJECT_COMMIT)
			BOLE_TRY(bole_id_list_add(&f->tips, &peeled));
	}
	return BOLE_OK;
}

enum bole_status bole_fetch_check_wants(struct bole_fetch *f)
{
	struct bole_alloc *alloc = f->s->svc->alloc;
	struct allowing a = {.f = f, .left = f->wants.count};
	enum bole_status rc = BOLE_E_NO_MEMORY;

	if (f->wants.count == 0)
		return BOLE_OK;
	a.allowed = bole_alloc_zeroed(alloc, f->wants.count, 1);
	if (a.allowed != NULL)
		rc = allow_refs(&a, false);
	if (rc == BOLE_OK && a.left > 0)
		rc = allow_refs(&a, true);
	if (rc == BOLE_OK && a.left > 0 && (f->s->svc->stateless || f->s->svc->version == 2))
		rc = allow_reachable(&a);
	if (rc == BOLE_OK && a.left > 0)
		rc = refuse_want(&a);
	bole_alloc_free(alloc, a.allowed, a.allowed == NULL ? 0 : f->wants.count, 1);
	if (rc == BOLE_OK)
		rc = find_tips(f);
	return bole_session_check(f->s, rc, "upload-pack: cannot read what is wanted");
}

enum bole_status bole_fetch_have(struct bole_fetch *f, struct bole_bytes hex, struct bole_oid *oid,
                                 bool *known)
{
	struct bole_entry entry;
	bool fresh;

	*known = false;
	BOLE_TRY(parse_id(f, hex, "have", oid));
	enum bole_status rc = bole_odb_find(f->s->snapshot, oid, &entry);
	if (rc == BOLE_E_NOT_FOUND)
		return BOLE_OK;
	if (rc == BOLE_OK && f->haves.count >= BOLE_HAVES_MAX)
		rc = BOLE_E_LIMIT;
	if (rc == BOLE_OK)
		rc = bole_history_common(&f->history, oid, &fresh);
	if (rc == BOLE_OK && fresh)
		rc = bole_id_list_add(&f->haves, oid);
	*known = rc == BOLE_OK;
	return bole_session_check(f->s, rc, "upload-pack: cannot use a have line");
}

enum bole_status bole_fetch_enough(struct bole_fetch *f, bool *out)
{
	enum bole_status rc = bole_history_enough(&f->history, f->tips.ids, f->tips.count, out);

	return bole_session_check(f->s, rc, "upload-pack: cannot walk the history");
}

/* While the pack is on its way the client counts for itself. */
static void on_progress(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	if (bole_bytes_equal(bole_bytes_z(phase), bole_bytes_z(COUNTING)))
		bole_sideband_on_progress(ctx, phase, done, total);
}

static enum bole_status send_plan(struct bole_fetch *f, struct bole_pack_plan *plan)
{
	struct bole_service *svc = f->s->svc;
	uint64_t start = svc->out->written;

	if (bole_pack_plan_objects(plan) > 0)
		bole_sideband_on_progress(&f->s->band, COUNTING, bole_pack_plan_objects(plan),
		                          bole_pack_plan_objects(plan));
	BOLE_TRY(bole_pack_emit(plan, &f->s->band.writer));
	bole_sideband_push(&f->s->band);
	if (f->band != BOLE_SIDEBAND_NONE)
		bole_pkt_flush(svc->out);
	BOLE_TRY(bole_session_flush(f->s));
	bole_log(svc->platform, BOLE_LOG_INFO,
	         "git: %s: %s: sent %" PRIu64 " objects, %" PRIu64 " bytes",
	         svc->peer == NULL ? "-" : svc->peer, svc->repo.name, bole_pack_plan_objects(plan),
	         svc->out->written - start);
	return BOLE_OK;
}

enum bole_status bole_fetch_send(struct bole_fetch *f)
{
	struct bole_session *s = f->s;
	struct bole_service *svc = s->svc;
	struct bole_pack_plan *plan = NULL;
	bool bare = f->band == BOLE_SIDEBAND_NONE;

	/* The walk has its own sets; negotiation's memory is of no more use. */
	bole_history_release(&f->history);
	bole_session_drop_reader(s);
	BOLE_TRY(bole_sideband_open(&s->band, svc->out, svc->platform, svc->alloc, f->band,
	                            f->no_progress));
	s->band_open = true;
	struct bole_reach reach = {
	        .platform = svc->platform,
	        .alloc = svc->alloc,
	        .snapshot = s->snapshot,
	        .wants = f->wants.ids,
	        .want_count = f->wants.count,
	        .haves = f->haves.ids,
	        .have_count = f->haves.count,
	        .include_tags = f->include_tag,
	        .thin = f->thin,
	        .ofs_delta = f->ofs_delta,
	        .progress = bare ? NULL : on_progress,
	        .progress_ctx = &s->band,
	        .cancelled = svc->cancelled,
	        .cancelled_ctx = svc->cancelled_ctx,
	};
	enum bole_status rc = bole_pack_plan_open(&reach, &plan);
	if (rc == BOLE_OK)
		rc = send_plan(f, plan);
	if (plan != NULL)
		bole_pack_plan_close(plan);
	rc = bole_session_check(s, rc, "upload-pack: cannot send the pack");
	bole_sideband_close(&s->band);
	s->band_open = false;
	return rc;
}

enum bole_status bole_upload_pack(struct bole_service *svc)
{
	struct bole_session s;
	enum bole_status rc = bole_session_open(&s, svc);

	if (rc == BOLE_OK)
		rc = svc->version == 2 ? bole_upload_pack_v2(&s) : bole_upload_pack_v0(&s);
	rc = bole_session_check(&s, rc, "upload-pack");
	if (s.refused)
		bole_session_drain(&s);
	bole_session_close(&s);
	return rc;
}
