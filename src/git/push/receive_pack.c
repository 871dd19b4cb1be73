/* SPDX-License-Identifier: ISC */
/* receive-pack (gitprotocol-pack(5), "Pushing data to a server"): advertisement, commands, the
 * pack into a transaction, checks, hooks, one commit, the report. Whatever fails before the commit
 * leaves nothing behind. */
#include <inttypes.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/push/push.h"

enum { TEXT_CHUNK_BYTES = 4096 };

static enum bole_status advertise(struct bole_push *p)
{
	struct bole_session *s = p->s;
	struct bole_platform *platform = s->svc->platform;
	char caps[400];
	uint64_t id[2];

	bole_push_nonce(p);
	int len = snprintf(caps, sizeof caps,
	                   "report-status report-status-v2 delete-refs side-band-64k quiet atomic "
	                   "ofs-delta%s%s%s%s",
	                   s->partial ? " no-thin" : "", /* a base may be missing */
	                   p->nonce[0] == '\0' ? "" : " push-cert=", p->nonce,
	                   p->policy->no_options ? "" : " push-options");
	if (p->policy->session_id) {
		platform->ops->random(platform, id, sizeof id);
		len += snprintf(caps + len, sizeof caps - (size_t)len,
		                " session-id=%016" PRIx64 "%016" PRIx64, id[0], id[1]);
	}
	bool sha1 = s->svc->repo.algo == BOLE_HASH_SHA1;
	/* One that a push will create takes the client's format. */
	snprintf(caps + len, sizeof caps - (size_t)len, " object-format=%s%s agent=%s",
	         bole_hash_name(s->svc->repo.algo),
	         s->svc->repo.id != 0 ? ""
	         : sha1               ? " object-format=sha256"
	                              : " object-format=sha1",
	         BOLE_GIT_AGENT);
	return bole_advertise_refs(s, caps, false);
}

/* -- The pack -- */

/* While the pack is on its way the client counts for itself; what follows is ours to show. */
static void on_progress(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	if (!bole_bytes_start(bole_bytes_z(phase), bole_bytes_z("Receiving")))
		bole_sideband_on_progress(ctx, phase, done, total);
}

static void on_warning(void *ctx, const char *line)
{
	struct bole_push *p = ctx;
	char text[240];

	snprintf(text, sizeof text, "warning: %s\n", line);
	bole_sideband_say(&p->s->band, text);
}

static void note_failure(struct bole_push *p, enum bole_status rc, const char *why)
{
	if (rc == BOLE_E_NO_SPACE)
		why = "no space";
	else if (rc == BOLE_E_GONE)
		why = bole_push_failure_text(rc);
	snprintf(p->unpack, sizeof p->unpack, "%s", why[0] != '\0' ? why : bole_status_text(rc));
}

static enum bole_status ingest(struct bole_push *p)
{
	struct bole_service *svc = p->s->svc;
	struct bole_ingest_report report = {.objects = 0};
	struct bole_fsck_options usual;
	struct bole_ingest job = {
	        .platform = svc->platform,
	        .alloc = svc->alloc,
	        .tx = p->tx,
	        .limits = svc->policy->ingest,
	        .progress = on_progress,
	        .progress_ctx = &p->s->band,
	        .cancelled = svc->cancelled,
	        .cancelled_ctx = svc->cancelled_ctx,
	        .fsck = svc->policy->fsck == NULL ? &usual : svc->policy->fsck,
	        .warning = on_warning,
	        .warning_ctx = p,
	        .ends = &p->s->boundary.ends,
	        .shallow = &p->shallow,
	        .cut = &p->cut,
	};

	bole_fsck_options_init(&usual, BOLE_FSCK_PUSH);
	enum bole_status rc = bole_pack_ingest(&job, svc->in, &report);
	if (rc != BOLE_OK) {
		note_failure(p, rc, report.error);
		return rc;
	}
	for (size_t i = 0; i < p->cut.count && p->policy->allow_shallow; i++)
		BOLE_TRY(bole_id_list_add_once(&p->s->boundary.ends, &p->cut.ids[i],
		                               BOLE_BOUNDARY_MAX));
	if (report.deltas > 0)
		on_progress(&p->s->band, "Resolving deltas", report.deltas, report.deltas);
	bole_log(svc->platform, BOLE_LOG_INFO,
	         "git: %s: %s: received %" PRIu64 " objects, %" PRIu64 " bytes",
	         svc->peer == NULL ? "-" : svc->peer, svc->repo.name, report.objects,
	         report.pack_bytes);
	return BOLE_OK;
}

static bool pack_follows(const struct bole_push *p)
{
	for (size_t i = 0; i < p->count; i++)
		if (!bole_oid_is_null(&p->commands[i].new_oid))
			return true;
	return false;
}

/* What may have left objects behind that nobody reaches. */
static void count_changes(const struct bole_push *p)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct bole_command *c = &p->commands[i];

		if (c->error != NULL || bole_oid_is_null(&c->old_oid))
			continue;
		if (bole_oid_is_null(&c->new_oid))
			p->s->svc->refs_deleted++;
		else
			p->s->svc->refs_moved++;
	}
}

/* -- The course -- */

/* Judges and commits; what went wrong is in the commands then. */
static enum bole_status apply(struct bole_push *p)
{
	struct bole_service *svc = p->s->svc;

	enum bole_status rc = bole_push_check(p);
	if (rc == BOLE_OK && p->signed_push)
		rc = bole_push_keep_cert(p);
	if (rc == BOLE_OK && p->atomic && bole_push_any_error(p))
		bole_push_fail_all(p, "atomic push failure");
	if (rc == BOLE_OK)
		rc = bole_push_ask_hooks(p);
	if (rc == BOLE_OK && p->atomic && bole_push_any_error(p))
		bole_push_fail_all(p, "atomic push failure");
	if (rc == BOLE_OK && svc->cancelled != NULL && svc->cancelled(svc->cancelled_ctx))
		rc = BOLE_E_CLOSED;
	if (rc == BOLE_OK)
		rc = bole_push_commit(p);
	if (rc != BOLE_OK)
		bole_push_fail_all(p, bole_push_failure_text(rc));
	count_changes(p);
	return rc;
}

static enum bole_status run(struct bole_push *p)
{
	struct bole_service *svc = p->s->svc;
	enum bole_status rc = bole_tx_begin(svc->store, svc->repo.id, &p->tx);

	if (rc != BOLE_OK) {
		snprintf(p->unpack, sizeof p->unpack, "%s", bole_push_failure_text(rc));
		bole_push_fail_all(p, bole_push_failure_text(rc));
		return rc;
	}
	snprintf(p->unpack, sizeof p->unpack, "ok");
	bole_history_init(&p->history, p->s, p->tx->view);
	rc = bole_session_boundary(p->s, p->tx->view);
	if (rc == BOLE_OK && pack_follows(p))
		rc = ingest(p);
	if (rc != BOLE_OK)
		bole_push_fail_all(p, rc == BOLE_E_NO_SPACE ? "no space on the volume"
		                                            : "unpacker error");
	else
		rc = apply(p);
	bole_history_release(&p->history);
	bole_session_drop_reader(p->s);
	bole_tx_abort(p->tx);
	p->tx = NULL;
	return rc;
}

static enum bole_status serve(struct bole_push *p)
{
	struct bole_session *s = p->s;
	enum bole_status rc = bole_push_read(p);

	if (rc == BOLE_END)
		return BOLE_OK; /* nothing to do, or a probe */
	if (rc == BOLE_OK)
		rc = bole_push_open_band(p);
	if (rc != BOLE_OK)
		return rc;
	s->band_open = true;
	rc = run(p);
	bole_push_log(p);
	if (rc == BOLE_E_CLOSED)
		return rc; /* nobody is there to read a report */
	enum bole_status told = bole_push_report(p);
	s->refused = rc != BOLE_OK; /* it has been told why */
	return rc == BOLE_OK ? told : rc;
}

static void push_open(struct bole_push *p)
{
	struct bole_alloc *alloc = p->s->svc->alloc;

	bole_arena_init(&p->text, alloc, TEXT_CHUNK_BYTES);
	bole_id_list_init(&p->shallow, p->s->svc->platform, alloc, p->s->svc->repo.algo);
	bole_id_list_init(&p->cut, p->s->svc->platform, alloc, p->s->svc->repo.algo);
	bole_buffer_init(&p->cert_text, alloc, BOLE_PUSH_CERT_BYTES_MAX);
}

static void push_close(struct bole_push *p)
{
	struct bole_alloc *alloc = p->s->svc->alloc;

	bole_alloc_free(alloc, p->commands, p->cap, sizeof *p->commands);
	bole_id_list_release(&p->cut);
	bole_id_list_release(&p->shallow);
	bole_alloc_free(alloc, p->options, p->options == NULL ? 0 : BOLE_PUSH_OPTIONS_MAX,
	                sizeof *p->options);
	bole_buffer_release(&p->cert_text);
	bole_arena_release(&p->text);
}

enum bole_status bole_receive_pack(struct bole_service *svc)
{
	struct bole_session s;
	struct bole_push p = {.s = &s, .policy = &svc->policy->push};
	enum bole_status rc = bole_session_open(&s, svc);

	if (rc == BOLE_OK && !svc->policy->receive_enable)
		rc = bole_session_refuse(&s, BOLE_E_DENIED, "receive-pack: this node is read-only");
	s.refs = svc->policy->fetch.refs;
	if (rc == BOLE_OK && (svc->advertise || !svc->stateless))
		rc = advertise(&p);
	if (rc == BOLE_OK && !svc->advertise) {
		/* A push may take long; nothing below needs the state of its beginning. */
		bole_snapshot_close(s.snapshot);
		s.snapshot = NULL;
		push_open(&p);
		rc = serve(&p);
		push_close(&p);
	}
	rc = bole_session_check(&s, rc, "receive-pack");
	if (s.refused)
		bole_session_drain(&s);
	bole_session_close(&s);
	return rc;
}
