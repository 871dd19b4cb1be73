/* SPDX-License-Identifier: ISC */
/* Negotiation and the pack, into the transaction. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/client/fetch.h"

enum { PACK_BUFFER = 64 * 1024 };
#define MEMORY_BYTES_MAX ((size_t)512 << 20)

static enum bole_status is_here(struct fetching *f, const struct bole_oid *oid, bool *out)
{
	struct bole_entry entry;
	enum bole_status rc = bole_odb_find(f->tx->view, oid, &entry);

	*out = rc == BOLE_OK;
	return rc == BOLE_E_NOT_FOUND ? BOLE_OK : rc;
}

/* By its name where the server takes that: it may have moved since it was listed. */
static enum bole_status want(struct fetching *f, const struct fetch_item *item)
{
	struct bole_remote *r = f->r;

	f->asks = true;
	if (r->caps.ref_in_want && !item->follows && r->ref_count <= BOLE_WANTED_REFS_MAX) {
		struct bole_remote_ref *ref = &r->refs[item->from - r->refs];

		r->wanted += ref->wanted == BOLE_REF_UNWANTED;
		ref->wanted = BOLE_REF_WANTED;
		return BOLE_OK;
	}
	enum bole_status rc = bole_id_list_add_once(&f->wants, &item->from->oid, BOLE_WANTS_MAX);
	return rc == BOLE_OK ? rc
	                     : bole_remote_fail(r, rc, "more than %d references are wanted",
	                                        (int)BOLE_WANTS_MAX);
}

/* A repository is closed under its links: what is found is there with all that it reaches, as far
 * as its history goes. To move its ends is to ask for what is here, too. */
static enum bole_status choose_wants(struct fetching *f)
{
	bool here;

	for (size_t i = 0; i < f->count; i++) {
		const struct fetch_item *item = &f->items[i];

		if (item->from == NULL || item->later)
			continue;
		if (item->follows) {
			/* Those of new commits the server adds by itself. */
			const struct bole_remote_ref *tag = item->from;

			BOLE_TRY(is_here(f, tag->has_peeled ? &tag->peeled : &tag->oid, &here));
			if (!here)
				continue;
		}
		BOLE_TRY(is_here(f, &item->from->oid, &here));
		if (here && (item->follows || !bole_fetch_deepens(f)))
			continue;
		BOLE_TRY(want(f, item));
	}
	return BOLE_OK;
}

static enum bole_status list_remote_ids(struct fetching *f, struct bole_id_list *out)
{
	for (size_t i = 0; i < f->r->ref_count; i++) {
		const struct bole_remote_ref *ref = &f->r->refs[i];

		BOLE_TRY(bole_id_list_add_once(out, ref->has_peeled ? &ref->peeled : &ref->oid,
		                               BOLE_REMOTE_REFS_MAX));
	}
	return BOLE_OK;
}

static enum bole_status add_tips(struct fetching *f, struct bole_skipper *skipper,
                                 const struct bole_id_list *theirs)
{
	struct bole_bytes after = {NULL, 0};
	struct bole_entry entry;
	enum bole_status rc;
	struct bole_ref ref;

	while ((rc = bole_ref_next(f->tx->view, bole_bytes_z(""), after, &ref)) == BOLE_OK) {
		after = ref.name;
		if (ref.symbolic)
			continue;
		const struct bole_oid *tip = ref.has_peeled ? &ref.peeled : &ref.oid;
		BOLE_TRY(bole_odb_find(f->tx->view, tip, &entry));
		if (entry.type == BOLE_OBJECT_COMMIT)
			BOLE_TRY(bole_skipper_tip(skipper, tip,
			                          bole_id_list_find(theirs, tip) != BOLE_OID_NONE));
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

/* -- The pack -- */

static void on_progress(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	const struct bole_client_options *options = ((struct fetching *)ctx)->r->options;

	if (options->progress != NULL)
		options->progress(options->ctx, phase, done, total);
}

static void on_warning(void *ctx, const char *line)
{
	bole_remote_warn(((struct fetching *)ctx)->r, "%s", line);
}

size_t bole_fetch_memory(const struct bole_client_fetch *job)
{
	return job->memory_bytes_max == 0 ? MEMORY_BYTES_MAX : job->memory_bytes_max;
}

/* What is missing the server must be able to send by its id. */
static bool may_keep(const struct fetching *f)
{
	return f->job->resume && !f->job->atomic && !f->job->dry_run && f->r->version == 2 &&
	       f->r->caps.filter && f->r->url != NULL && strlen(f->r->url) <= BOLE_ORIGIN_URL_MAX &&
	       (!f->origin.there || f->promisor) && !bole_fetch_deepens(f) &&
	       f->session.boundary.ends.count == 0 && f->shallow.count == 0 && f->later == NULL &&
	       (f->bundled == NULL || f->bundled[0] == '\0'); /* they would go with their tips */
}

static struct bole_ingest ingest_job(struct fetching *f, struct bole_tx *tx,
                                     struct bole_fsck_options *fsck)
{
	struct bole_client_fetch *job = f->job;

	bole_fsck_options_init(fsck, job->lenient ? BOLE_FSCK_STRUCTURE : BOLE_FSCK_PUSH);
	return (struct bole_ingest){
	        .platform = f->r->platform,
	        .alloc = f->r->alloc,
	        .tx = tx,
	        .limits = {.pack_bytes_max =
	                           job->pack_bytes_max == 0 ? UINT64_MAX : job->pack_bytes_max,
	                   .object_bytes_max = job->object_bytes_max,
	                   .objects_max = UINT32_MAX,
	                   .time_ns_max = UINT64_MAX,
	                   .memory_bytes_max = bole_fetch_memory(job)},
	        .progress = on_progress,
	        .progress_ctx = f,
	        .fsck = fsck,
	        .warning = on_warning,
	        .warning_ctx = f,
	        .ends = &f->session.boundary.ends,
	        .shallow = &f->shallow,
	        .cut = &f->cut,
	        .promisor = f->promisor,
	};
}

static void count(struct fetching *f, const struct bole_ingest_report *report)
{
	f->job->objects += report->objects;
	f->job->pack_bytes += report->pack_bytes;
	f->job->promised += report->promised;
}

/* The beginning of a pack is taken as one of its own; what it lacks is promised. */
static void keep(void *ctx, struct bole_reader *pack)
{
	struct bole_ingest_report report = {.objects = 0};
	struct bole_fsck_options fsck;
	struct fetching *f = ctx;
	struct bole_input in;
	struct bole_tx *tx;

	uint8_t *buffer = bole_alloc_array(f->r->alloc, PACK_BUFFER, 1);
	if (buffer == NULL)
		return;
	bole_input_init(&in, pack, buffer, PACK_BUFFER);
	enum bole_status rc = bole_tx_begin(f->store, f->repo.id, &tx);
	if (rc == BOLE_OK) {
		struct bole_ingest work = ingest_job(f, tx, &fsck);

		work.promisor = true;
		rc = bole_pack_ingest(&work, &in, &report);
		if (rc == BOLE_OK)
			f->kept = tx;
		else
			bole_tx_abort(tx);
	}
	bole_alloc_free(f->r->alloc, buffer, PACK_BUFFER, 1);
	if (rc == BOLE_OK)
		count(f, &report);
}

static void go_on_with_kept(struct fetching *f)
{
	f->dropped = f->tx;
	f->tx = f->kept;
	f->kept = NULL;
	f->cut_off = true;
	f->new_origin = f->new_origin || !f->origin.there;
	f->promisor = f->partial = true;
	if (f->origin.there)
		return;
	f->origin.there = true;
	memcpy(f->origin.url, f->r->url, strlen(f->r->url) + 1);
	f->origin.filter[0] = '\0';
}

/* One of the packs of a fetch. in: NULL = none more comes, and nothing may be missing. */
static enum bole_status ingest(struct fetching *f, struct bole_input *in,
                               struct bole_ingest_later *later, struct bole_ingest_report *report)
{
	struct bole_fsck_options fsck;
	struct bole_ingest work = ingest_job(f, f->tx, &fsck);

	work.later = later;
	work.cut_off = may_keep(f) ? keep : NULL;
	work.cut_off_ctx = f;
	enum bole_status rc = in == NULL ? bole_ingest_settle(&work, report)
	                                 : bole_pack_ingest(&work, in, report);
	/* What was kept of one that was cut off has been counted. */
	if (f->kept == NULL)
		count(f, report);
	if (rc != BOLE_OK && report->error[0] == '\0')
		snprintf(report->error, sizeof report->error, "%s", bole_status_text(rc));
	return rc;
}

static enum bole_status ingest_own(struct fetching *f, struct bole_input *in)
{
	struct bole_ingest_report report;
	enum bole_status rc = ingest(f, in, f->later, &report);

	if (rc == BOLE_OK)
		return rc;
	(void)bole_remote_fail(f->r, rc, "the server's pack: %s", report.error);
	if (f->kept == NULL)
		return rc;
	go_on_with_kept(f);
	return BOLE_OK;
}

static enum bole_status at_end(struct bole_input *in)
{
	struct bole_bytes rest;
	enum bole_status rc = bole_input_peek(in, &rest);

	return rc == BOLE_OK ? BOLE_E_INVALID : rc == BOLE_END ? BOLE_OK : rc;
}

/* -- Packs from elsewhere -- */

static enum bole_status bring(struct fetching *f, const struct bole_remote_uri *uri,
                              uint8_t *buffer, struct bole_ingest_report *report)
{
	struct bole_download *d = f->r->download;
	struct bole_reader *reader = NULL;
	struct bole_input in;

	*report = (struct bole_ingest_report){0};
	BOLE_TRY(d->ops->open(d, (const char *)uri->uri.ptr,
	                      d->ops->secure(d) ? BOLE_DOWNLOAD_SECURE : 0, &reader));
	bole_input_init(&in, reader, buffer, PACK_BUFFER);
	BOLE_TRY(ingest(f, &in, f->later, report));
	BOLE_TRY(at_end(&in));
	if (bole_oid_equal(&report->checksum, &uri->checksum))
		return BOLE_OK;
	snprintf(report->error, sizeof report->error, "it is not the one that was announced");
	return BOLE_E_INVALID;
}

static enum bole_status bring_all(struct fetching *f)
{
	struct bole_ingest_report report;
	struct bole_remote *r = f->r;
	enum bole_status rc = BOLE_OK;
	char shown[200];

	if (r->uri_count == 0)
		return BOLE_OK;
	uint8_t *buffer = bole_alloc_array(r->alloc, PACK_BUFFER, 1);
	if (buffer == NULL)
		return BOLE_E_NO_MEMORY;
	for (size_t i = 0; rc == BOLE_OK && i < r->uri_count; i++) {
		rc = bring(f, &r->uris[i], buffer, &report);
		if (rc != BOLE_OK)
			(void)bole_remote_fail(r, rc, "the pack at %s: %s",
			                       bole_printable(shown, sizeof shown, r->uris[i].uri),
			                       r->download->why[0] != '\0' ? r->download->why
			                       : report.error[0] != '\0'   ? report.error
			                                                   : "it cannot be used");
		r->download->ops->close(r->download);
	}
	bole_alloc_free(r->alloc, buffer, PACK_BUFFER, 1);
	if (rc != BOLE_OK)
		return rc;
	rc = ingest(f, NULL, f->later, &report);
	return rc == BOLE_OK ? rc : bole_remote_fail(r, rc, "the server's packs: %s", report.error);
}

static enum bole_status take_band(struct fetching *f)
{
	struct bole_demux demux;
	struct bole_input in;

	uint8_t *buffer = bole_alloc_array(f->r->alloc, PACK_BUFFER, 1);
	if (buffer == NULL)
		return BOLE_E_NO_MEMORY;
	bole_demux_init(&demux, f->r);
	bole_input_init(&in, &demux.reader, buffer, PACK_BUFFER);
	enum bole_status rc = ingest_own(f, &in);
	if (rc == BOLE_OK && !f->cut_off) {
		rc = at_end(&in);
		if (rc == BOLE_E_INVALID)
			(void)bole_remote_fail(f->r, rc, "the server sends more after its pack");
	}
	bole_alloc_free(f->r->alloc, buffer, PACK_BUFFER, 1);
	return rc;
}

static enum bole_status take_pack(struct fetching *f, struct bole_negotiation *n)
{
	struct bole_ingest_later later;

	/* What a partial clone lacks and what is to come cannot be told apart. */
	f->r->packfile_uris = f->job->packfile_uris && !f->promisor && !f->partial;
	enum bole_status rc = bole_negotiate(n);
	f->job->rounds += n->rounds;
	f->job->haves += n->haves;
	if (rc != BOLE_OK)
		return rc;
	bole_ingest_later_init(&later, f->r->platform, f->r->alloc, f->repo.algo);
	f->later = f->r->uri_count > 0 ? &later : NULL;
	rc = n->band ? take_band(f) : ingest_own(f, &f->r->in);
	if (rc == BOLE_OK)
		rc = bring_all(f);
	f->later = NULL;
	bole_ingest_later_release(&later);
	return rc;
}

static enum bole_status negotiate(struct fetching *f, struct bole_skipper *skipper,
                                  struct bole_id_list *theirs)
{
	struct bole_negotiation n = {
	        .remote = f->r,
	        .wants = &f->wants,
	        .skipper = skipper,
	        .ends = &f->session.boundary.ends,
	        .deepen = bole_fetch_deepens(f) ? &f->job->deepen : NULL,
	        .shallow = &f->shallow,
	        .unshallow = &f->unshallow,
	        .include_tag = f->job->tags == BOLE_TAGS_FOLLOW,
	        .filter = f->promisor && f->origin.filter[0] != '\0' ? f->origin.filter : NULL,
	        .thin = !f->partial}; /* a base may be missing */

	/* Versions 0 and 1 say it in the advertisement. */
	for (size_t i = 0; f->r->shallow_open && i < f->r->shallow.count; i++)
		if (!bole_fetch_deepens(f))
			BOLE_TRY(bole_id_list_add_once(&f->shallow, &f->r->shallow.ids[i],
			                               BOLE_REMOTE_SHALLOWS_MAX));
	BOLE_TRY(list_remote_ids(f, theirs));
	BOLE_TRY(add_tips(f, skipper, theirs));
	return take_pack(f, &n);
}

enum bole_status bole_fetch_pack(struct fetching *f, const char *filter)
{
	struct bole_skipper none;
	struct bole_negotiation n = {.remote = f->r,
	                             .wants = &f->wants,
	                             .skipper = &none,
	                             .ends = &f->session.boundary.ends,
	                             .shallow = &f->shallow,
	                             .unshallow = &f->unshallow,
	                             .filter = filter};

	bole_skipper_init(&none, &f->history, f->r->alloc);
	enum bole_status rc = take_pack(f, &n);
	bole_skipper_release(&none);
	return rc;
}

enum bole_status bole_fetch_receive(struct fetching *f)
{
	struct bole_skipper skipper;
	struct bole_id_list theirs;

	BOLE_TRY(choose_wants(f));
	if (!f->asks)
		return BOLE_OK;
	bole_skipper_init(&skipper, &f->history, f->r->alloc);
	bole_id_list_init(&theirs, f->r->platform, f->r->alloc, f->repo.algo);
	enum bole_status rc = negotiate(f, &skipper, &theirs);
	bole_id_list_release(&theirs);
	bole_skipper_release(&skipper);
	return rc;
}
