/* SPDX-License-Identifier: ISC */
#include <inttypes.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "git/bitmap/cache.h"
#include "git/fetch/pack_emit.h"
#include "git/fetch/upload_pack_impl.h"
#include "git/pack/cache.h"

#define COUNTING "Counting objects" /* the emission's phase before the first byte */

enum {
	WANTED_REFS_FIRST = 16,
	CACHED_SLICE = 1 << 18,       /* of a kept pack, between two yields */
	CACHED_OBJECTS_MAX = 1 << 15, /* a pack of more would be too long to keep */
};

void bole_fetch_init(struct bole_fetch *f, struct bole_session *s)
{
	struct bole_alloc *alloc = s->svc->alloc;

	*f = (struct bole_fetch){.s = s};
	bole_id_list_init(&f->wants, s->svc->platform, alloc, s->svc->repo.algo);
	bole_id_list_init(&f->tips, s->svc->platform, alloc, s->svc->repo.algo);
	bole_id_list_init(&f->haves, s->svc->platform, alloc, s->svc->repo.algo);
	bole_history_init(&f->history, s, s->snapshot);
	bole_shallow_init(&f->shallow, s);
	bole_filter_init(&f->filter);
	f->history.grafts = &f->shallow.client;
}

void bole_fetch_release(struct bole_fetch *f)
{
	bole_history_release(&f->history);
	bole_shallow_release(&f->shallow);
	bole_alloc_free(f->s->svc->alloc, f->wanted_refs, f->wanted_ref_cap,
	                sizeof *f->wanted_refs);
	bole_alloc_free(f->s->svc->alloc, f->uris,
	                f->uris == NULL ? 0 : f->s->svc->policy->fetch.packfile_uri_count,
	                sizeof *f->uris);
	bole_path_patterns_release(&f->patterns);
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

enum bole_status bole_fetch_want_ref(struct bole_fetch *f, struct bole_bytes name)
{
	struct bole_session *s = f->s;
	struct bole_listed_ref listed;
	struct bole_ref ref;
	char shown[80];

	enum bole_status rc = bole_ref_view_get(&s->refs, s->snapshot, name, &ref);
	if (rc == BOLE_OK)
		rc = bole_ref_resolve(&s->refs, s->snapshot, &ref, &listed);
	if (rc == BOLE_E_NOT_FOUND)
		return bole_session_refuse(s, rc, "upload-pack: unknown ref %s",
		                           bole_printable(shown, sizeof shown, name));
	if (rc == BOLE_OK && f->wanted_ref_count == BOLE_WANTED_REFS_MAX)
		rc = BOLE_E_LIMIT;
	if (rc == BOLE_OK && f->wanted_ref_count == f->wanted_ref_cap) {
		size_t cap = f->wanted_ref_cap == 0 ? WANTED_REFS_FIRST : 2 * f->wanted_ref_cap;
		struct bole_wanted_ref *grown = bole_alloc_resize(
		        s->svc->alloc, f->wanted_refs, f->wanted_ref_cap, cap, sizeof *grown);
		if (grown == NULL)
			return bole_session_check(s, BOLE_E_NO_MEMORY, "upload-pack: want-ref");
		f->wanted_refs = grown;
		f->wanted_ref_cap = cap;
	}
	if (rc == BOLE_OK) {
		f->wanted_refs[f->wanted_ref_count++] =
		        (struct bole_wanted_ref){ref.name, listed.oid};
		rc = bole_id_list_add_once(&f->wants, &listed.oid, BOLE_WANTS_MAX);
	}
	return bole_session_check(s, rc, "upload-pack: want-ref");
}

/* Tips whose ancestry negotiation looks at: a clone has none. A tag of a tree or blob has no
 * ancestry. */
static enum bole_status find_tips(struct bole_fetch *f)
{
	if (f->tips_found)
		return BOLE_OK;
	f->tips_found = true;
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
	size_t refused = 0;
	enum bole_status rc = bole_wants_check(f->s, &f->wants, NULL, &refused);
	char hex[BOLE_OID_HEX_MAX + 1];

	/* One answer for every id that may not be wanted: whether it exists in another repository,
	 * here but unreferenced, or nowhere, nothing is learnt. */
	if (rc == BOLE_E_DENIED)
		return bole_session_refuse(f->s, rc, "upload-pack: not our ref %s",
		                           bole_oid_format(&f->wants.ids[refused], hex));
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

static bool is_allowed(const struct bole_fetch_policy *policy, const struct bole_filter *filter)
{
	bool deep = (filter->kinds & BOLE_FILTER_TREE) != 0 &&
	            filter->tree_depth > policy->tree_depth_max;

	return (filter->kinds & ~policy->filters) == 0 && !deep;
}

enum bole_status bole_fetch_filter(struct bole_fetch *f, struct bole_bytes spec)
{
	const char *why = NULL;
	char shown[80];

	if (f->filter.active)
		return bole_session_refuse(f->s, BOLE_E_INVALID,
		                           "upload-pack: more than one filter line");
	enum bole_status rc = bole_filter_parse(&f->filter, f->s->svc->alloc, spec, &why);
	if (rc == BOLE_OK && !is_allowed(&f->s->svc->policy->fetch, &f->filter)) {
		rc = BOLE_E_DENIED;
		why = "not allowed here";
	}
	if (rc != BOLE_OK && why != NULL)
		return bole_session_refuse(f->s, rc, "upload-pack: filter '%s': %s",
		                           bole_printable(shown, sizeof shown, spec), why);
	BOLE_TRY(bole_session_check(f->s, rc, "upload-pack: cannot read the filter"));
	return f->filter.sparse_len == 0 ? BOLE_OK : bole_fetch_sparse(f);
}

enum bole_status bole_fetch_deepen(struct bole_fetch *f)
{
	enum bole_status rc = BOLE_OK;

	if (bole_shallow_deepens(&f->shallow) || f->shallow.client.count > 0 ||
	    f->s->boundary.ends.count > 0)
		rc = find_tips(f);
	BOLE_TRY(bole_session_check(f->s, rc, "upload-pack: cannot read what is wanted"));
	BOLE_TRY(bole_shallow_settle(&f->shallow, &f->tips));
	f->history.grafts = &f->shallow.grafts;
	return BOLE_OK;
}

/* Nothing is checked for what the client gets back: what was allowed reaches it. */
static enum bole_status join_shallow(struct bole_fetch *f)
{
	const struct bole_shallow *d = &f->shallow;

	for (size_t i = 0; i < d->wants.count; i++)
		BOLE_TRY(bole_id_list_add_once(&f->wants, &d->wants.ids[i], SIZE_MAX));
	for (size_t i = 0; i < d->edges.count; i++)
		BOLE_TRY(bole_id_list_add(&f->haves, &d->edges.ids[i]));
	return BOLE_OK;
}

enum bole_status bole_fetch_enough(struct bole_fetch *f, bool *out)
{
	enum bole_status rc = find_tips(f);

	if (rc == BOLE_OK)
		rc = bole_history_enough(&f->history, f->tips.ids, f->tips.count, out);

	return bole_session_check(f->s, rc, "upload-pack: cannot walk the history");
}

/* While the pack is on its way the client counts for itself. */
static void on_progress(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	if (bole_bytes_equal(bole_bytes_z(phase), bole_bytes_z(COUNTING)))
		bole_sideband_on_progress(ctx, phase, done, total);
}

static enum bole_status end_pack(struct bole_fetch *f, uint64_t objects, uint64_t start,
                                 const char *how)
{
	struct bole_service *svc = f->s->svc;

	bole_sideband_push(&f->s->band);
	if (f->band != BOLE_SIDEBAND_NONE)
		bole_pkt_flush(svc->out);
	BOLE_TRY(bole_session_flush(f->s));
	bole_log(svc->platform, BOLE_LOG_INFO,
	         "git: %s: %s: sent %" PRIu64 " objects, %" PRIu64 " bytes%s",
	         svc->peer == NULL ? "-" : svc->peer, svc->repo.name, objects,
	         svc->out->written - start, how);
	return BOLE_OK;
}

static void count_objects(struct bole_fetch *f, uint64_t objects)
{
	if (objects > 0)
		bole_sideband_on_progress(&f->s->band, COUNTING, objects, objects);
}

static enum bole_status send_plan(struct bole_fetch *f, struct bole_pack_plan *plan,
                                  const uint8_t *key)
{
	struct bole_pack_cache *packs = f->s->svc->packs;
	struct bole_writer *writer = &f->s->band.writer;
	uint64_t objects = bole_pack_plan_objects(plan);
	uint64_t start = f->s->svc->out->written;
	struct bole_pack_tee tee;

	count_objects(f, objects);
	if (key == NULL || objects > CACHED_OBJECTS_MAX) {
		if (key != NULL)
			bole_pack_cache_forget(packs, key);
		BOLE_TRY(bole_pack_emit(plan, writer));
		return end_pack(f, objects, start, "");
	}
	bole_pack_tee_init(&tee, packs, writer);
	enum bole_status rc = bole_pack_emit(plan, &tee.writer);
	if (rc == BOLE_OK && !tee.lost)
		bole_pack_cache_keep(packs, f->s->svc->repo.id, f->s->changes, key, objects,
		                     &tee.kept);
	else
		bole_pack_cache_forget(packs, key);
	bole_buffer_release(&tee.kept);
	return rc == BOLE_OK ? end_pack(f, objects, start, "") : rc;
}

/* Slices, so that others have their turns and one that hung up is noticed. */
static enum bole_status send_cached(struct bole_fetch *f, struct bole_cached_pack *pack)
{
	struct bole_writer *writer = &f->s->band.writer;
	uint64_t start = f->s->svc->out->written;
	enum bole_status rc = BOLE_OK;

	count_objects(f, pack->objects);
	for (size_t at = 0; at < pack->bytes.len && rc == BOLE_OK; at += CACHED_SLICE) {
		size_t left = pack->bytes.len - at;

		rc = writer->write(writer, pack->bytes.ptr + at,
		                   left < CACHED_SLICE ? left : CACHED_SLICE);
		if (rc == BOLE_OK)
			rc = bole_session_yield(f->s);
	}
	uint64_t objects = pack->objects;
	bole_cached_pack_release(f->s->svc->packs, pack);
	BOLE_TRY(rc);
	return end_pack(f, objects, start, ", kept from before");
}

/* From here on everything is in the side-band. */
static enum bole_status begin_pack(struct bole_fetch *f)
{
	struct bole_session *s = f->s;
	struct bole_service *svc = s->svc;

	if (f->sections) {
		bole_fetch_tell_uris(f);
		bole_session_text(s, "packfile\n");
	}
	BOLE_TRY(bole_sideband_open(&s->band, svc->out, svc->platform, svc->alloc, f->band,
	                            f->no_progress));
	s->band_open = true;
	return BOLE_OK;
}

static enum bole_status send_made(struct bole_fetch *f, struct bole_reach *reach,
                                  const uint8_t *key)
{
	struct bole_service *svc = f->s->svc;
	struct bole_pack_plan *plan = NULL;

	/* Sets may be from before history ended here, or objects were missing. */
	if (f->s->boundary.ends.count == 0 && !f->s->partial)
		reach->bitmap = bole_git_cache_bitmap(svc->cache, reach->snapshot);
	enum bole_status rc;

	do {
		rc = bole_pack_plan_open(reach, &plan);
	} while (rc == BOLE_E_NO_MEMORY && svc->starved != NULL && svc->starved(svc->starved_ctx));
	if (rc != BOLE_OK && key != NULL)
		bole_pack_cache_forget(svc->packs, key);
	if (rc == BOLE_E_LIMIT && reach->filter != NULL && reach->filter->patterns != NULL)
		rc = bole_session_refuse(f->s, rc,
		                         "upload-pack: sparse:oid costs too much here; "
		                         "use blob:none");
	if (reach->bitmap != NULL && plan != NULL && bole_pack_plan_behind(plan))
		bole_git_cache_changed(svc->cache, svc->repo.id);
	if (rc == BOLE_OK && !f->s->band_open)
		rc = begin_pack(f);
	if (rc == BOLE_OK)
		rc = send_plan(f, plan, key);
	if (plan != NULL)
		bole_pack_plan_close(plan);
	bole_bitmap_release(reach->bitmap);
	return rc;
}

enum bole_status bole_fetch_send(struct bole_fetch *f)
{
	struct bole_session *s = f->s;
	struct bole_service *svc = s->svc;
	bool bare = f->band == BOLE_SIDEBAND_NONE;

	/* The walk has its own sets; negotiation's memory is of no more use. */
	bole_history_release(&f->history);
	bole_session_drop_reader(s);
	BOLE_TRY(bole_session_check(s, join_shallow(f), "upload-pack"));
	/* Which blobs come from elsewhere is told before the pack, and known when it is planned. */
	BOLE_TRY(bole_session_check(s, bole_fetch_find_uris(f), "upload-pack"));
	if (f->uri_count == 0)
		BOLE_TRY(begin_pack(f));
	struct bole_reach reach = {
	        .platform = svc->platform,
	        .alloc = svc->alloc,
	        .snapshot = s->snapshot,
	        .wants = f->wants.ids,
	        .want_count = f->wants.count,
	        .haves = f->haves.ids,
	        .have_count = f->haves.count,
	        .grafts = &f->shallow.grafts,
	        .filter = f->filter.active ? &f->filter : NULL,
	        .refs = &s->refs,
	        .include_tags = f->include_tag,
	        .thin = f->thin,
	        .ofs_delta = f->ofs_delta,
	        .elsewhere = f->uris,
	        .elsewhere_count = f->uri_count,
	        .progress = bare || f->uri_count > 0 ? NULL : on_progress,
	        .progress_ctx = &s->band,
	        .cancelled = svc->cancelled,
	        .cancelled_ctx = svc->cancelled_ctx,
	};
	uint8_t key[PACK_CACHE_KEY_BYTES];
	bool keyed = svc->packs != NULL && f->uri_count == 0 &&
	             bole_pack_cache_key(&reach, svc->repo.id, key);
	struct bole_cached_pack *pack = keyed ? bole_pack_cache_get(svc->packs, key) : NULL;
	enum bole_status rc =
	        pack != NULL ? send_cached(f, pack) : send_made(f, &reach, keyed ? key : NULL);

	rc = bole_session_check(s, rc, "upload-pack: cannot send the pack");
	if (s->band_open)
		bole_sideband_close(&s->band);
	s->band_open = false;
	return rc;
}

enum bole_status bole_upload_pack(struct bole_service *svc)
{
	struct bole_session s;
	enum bole_status rc = bole_session_open_view(&s, svc);

	s.refs = svc->policy->fetch.refs;
	if (rc == BOLE_OK && svc->version != 2)
		rc = bole_session_ends(&s);
	if (rc == BOLE_OK)
		rc = svc->version == 2 ? bole_upload_pack_v2(&s) : bole_upload_pack_v0(&s);
	rc = bole_session_check(&s, rc, "upload-pack");
	if (s.refused)
		bole_session_drain(&s);
	bole_session_close(&s);
	return rc;
}
