/* SPDX-License-Identifier: ISC */
/* receive-pack (gitprotocol-pack(5), "Pushing data to a server"): advertisement, commands, the
 * pack into a transaction, checks, one commit, the report. Whatever fails before the commit leaves
 * nothing behind. */
#include <inttypes.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/receive_pack_impl.h"

enum {
	COMMAND_CAP_MIN = 16,
	COMMAND_NAME_MAX = 2 * BOLE_REF_NAME_MAX, /* longer ones cannot even be reported */
	TEXT_CHUNK_BYTES = 4096,
	REPORT_BYTES = 4096,
};

static enum bole_status advertise(struct bole_session *s)
{
	char caps[240];

	bool sha1 = s->svc->repo.algo == BOLE_HASH_SHA1;

	/* One that a push will create takes the client's format. */
	snprintf(caps, sizeof caps,
	         "report-status delete-refs side-band-64k quiet atomic ofs-delta "
	         "object-format=%s%s agent=%s",
	         bole_hash_name(s->svc->repo.algo),
	         s->svc->repo.id != 0 ? ""
	         : sha1               ? " object-format=sha256"
	                              : " object-format=sha1",
	         BOLE_GIT_AGENT);
	return bole_advertise_refs(s, caps, false);
}

/* From here on refusals go where the client listens: a client that asked for the side-band takes an
 * ERR packet for a broken band. */
static enum bole_status open_band(struct bole_push *p)
{
	struct bole_session *s = p->s;
	struct bole_service *svc = s->svc;

	if (s->band_open)
		return BOLE_OK;
	BOLE_TRY(bole_sideband_open(&s->band, svc->out, svc->platform, svc->alloc,
	                            p->side_band ? BOLE_SIDEBAND_LARGE : BOLE_SIDEBAND_NONE,
	                            p->quiet));
	s->band_open = p->side_band;
	return BOLE_OK;
}

static enum bole_status take_caps(struct bole_push *p, struct bole_bytes rest)
{
	struct bole_session *s = p->s;
	const char *format = bole_hash_name(s->svc->repo.algo);
	struct bole_bytes word;
	struct bole_bytes value;
	bool options = false;
	bool foreign = false;

	while (bole_caps_next(&rest, &word)) {
		if (bole_pkt_is(word, "report-status"))
			p->report_status = true;
		else if (bole_pkt_is(word, "side-band-64k"))
			p->side_band = true;
		else if (bole_pkt_is(word, "quiet"))
			p->quiet = true;
		else if (bole_pkt_is(word, "atomic"))
			p->atomic = true;
		else if (bole_pkt_is(word, "push-options"))
			options = true;
		else if (bole_caps_value(word, "object-format", &value))
			foreign = !bole_pkt_is(value, format);
	}
	BOLE_TRY(open_band(p));
	if (options)
		return bole_session_refuse(s, BOLE_E_UNSUPPORTED,
		                           "receive-pack: push options are not supported");
	if (foreign)
		return bole_session_refuse(s, BOLE_E_UNSUPPORTED,
		                           "receive-pack: this repository's object format is %s",
		                           format);
	return BOLE_OK;
}

static enum bole_status add_command(struct bole_push *p, const struct bole_command *c)
{
	if (p->count == BOLE_REF_UPDATES_MAX)
		return bole_session_refuse(p->s, BOLE_E_LIMIT,
		                           "receive-pack: more than %d reference updates in one "
		                           "push",
		                           (int)BOLE_REF_UPDATES_MAX);
	if (p->count == p->cap) {
		size_t cap = p->cap == 0 ? COMMAND_CAP_MIN : p->cap * 2;
		struct bole_command *grown = bole_alloc_resize(p->s->svc->alloc, p->commands,
		                                               p->cap, cap, sizeof *grown);
		if (grown == NULL)
			return BOLE_E_NO_MEMORY;
		p->commands = grown;
		p->cap = cap;
	}
	uint8_t *name = bole_arena_alloc(&p->text, c->name.len, 1);
	if (name == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(name, c->name.ptr, c->name.len);
	p->commands[p->count] = *c;
	p->commands[p->count++].name.ptr = name;
	return BOLE_OK;
}

/* "<old> <new> <name>" */
static enum bole_status take_command(struct bole_push *p, struct bole_bytes line)
{
	uint8_t algo = p->s->svc->repo.algo;
	size_t hex = 2 * bole_hash_bytes(algo);
	const char *text = (const char *)line.ptr;
	struct bole_command c = {.error = NULL};
	char shown[80];

	if (line.len < 2 * hex + 3 || text[hex] != ' ' || text[2 * hex + 1] != ' ' ||
	    bole_oid_parse(text, hex, algo, &c.old_oid) != BOLE_OK ||
	    bole_oid_parse(text + hex + 1, hex, algo, &c.new_oid) != BOLE_OK)
		return bole_session_refuse(p->s, BOLE_E_INVALID,
		                           "receive-pack: expected old, new and name, got '%s'",
		                           bole_printable(shown, sizeof shown, line));
	c.name = bole_bytes_of(line.ptr + 2 * hex + 2, line.len - 2 * hex - 2);
	if (c.name.len > COMMAND_NAME_MAX)
		return bole_session_refuse(p->s, BOLE_E_LIMIT,
		                           "receive-pack: a reference name is too long");
	return bole_session_check(p->s, add_command(p, &c), "receive-pack");
}

static enum bole_status take_line(struct bole_push *p, const struct bole_pkt *pkt)
{
	struct bole_bytes line = pkt->line;
	struct bole_bytes rest;

	if (pkt->type != BOLE_PKT_DATA)
		return bole_session_refuse(p->s, BOLE_E_INVALID,
		                           "protocol error: unexpected special packet");
	if (bole_pkt_word(line, "shallow", &rest)) {
		p->shallow = true; /* refused once it is known how to tell */
		return BOLE_OK;
	}
	if (bole_bytes_start(line, bole_bytes_z("push-cert")))
		return bole_session_refuse(p->s, BOLE_E_UNSUPPORTED,
		                           "receive-pack: signed pushes are not supported");
	const uint8_t *nul = line.len == 0 ? NULL : memchr(line.ptr, 0, line.len);
	if (nul == NULL)
		return take_command(p, line);
	size_t len = (size_t)(nul - line.ptr);
	if (p->count > 0)
		return bole_session_refuse(p->s, BOLE_E_INVALID,
		                           "receive-pack: capabilities after the first command");
	BOLE_TRY(take_caps(p, bole_bytes_of(nul + 1, line.len - len - 1)));
	return take_command(p, bole_bytes_of(line.ptr, len));
}

static enum bole_status read_commands(struct bole_push *p)
{
	for (;;) {
		struct bole_pkt pkt;
		enum bole_status rc = bole_session_read(p->s, &pkt);
		if (rc == BOLE_END && p->count > 0)
			return BOLE_E_CLOSED;
		if (rc != BOLE_OK)
			return rc;
		if (pkt.type == BOLE_PKT_FLUSH)
			return BOLE_OK;
		BOLE_TRY(take_line(p, &pkt));
	}
}

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
	bole_sideband_progress(&p->s->band, text);
}

static enum bole_status ingest(struct bole_push *p)
{
	struct bole_service *svc = p->s->svc;
	struct bole_fsck_options strict;
	struct bole_ingest_report report = {.objects = 0};
	struct bole_ingest job = {
	        .platform = svc->platform,
	        .alloc = svc->alloc,
	        .tx = p->tx,
	        .limits = svc->policy->ingest,
	        .progress = on_progress,
	        .progress_ctx = &p->s->band,
	        .cancelled = svc->cancelled,
	        .cancelled_ctx = svc->cancelled_ctx,
	        .fsck = svc->policy->fsck == NULL ? &strict : svc->policy->fsck,
	        .warning = on_warning,
	        .warning_ctx = p,
	};

	bole_fsck_options_init(&strict, BOLE_FSCK_STRICT);
	enum bole_status rc = bole_pack_ingest(&job, svc->in, &report);
	if (rc == BOLE_OK) {
		if (report.deltas > 0)
			on_progress(&p->s->band, "Resolving deltas", report.deltas, report.deltas);
		bole_log(svc->platform, BOLE_LOG_INFO,
		         "git: %s: %s: received %" PRIu64 " objects, %" PRIu64 " bytes",
		         svc->peer == NULL ? "-" : svc->peer, svc->repo.name, report.objects,
		         report.pack_bytes);
		return BOLE_OK;
	}
	if (rc == BOLE_E_NO_SPACE)
		snprintf(p->unpack, sizeof p->unpack, "no space");
	else
		snprintf(p->unpack, sizeof p->unpack, "%s",
		         report.error[0] != '\0' ? report.error : bole_status_text(rc));
	return rc;
}

static void report_lines(struct bole_push *p, struct bole_output *out)
{
	struct bole_pkt_line line;

	bole_pkt_line_init(&line);
	bole_pkt_line_text(&line, "unpack ");
	bole_pkt_line_text(&line, p->unpack);
	bole_pkt_line_text(&line, "\n");
	bole_pkt_line_write(&line, out);
	for (size_t i = 0; i < p->count; i++) {
		const struct bole_command *c = &p->commands[i];
		bole_pkt_line_init(&line);
		bole_pkt_line_text(&line, c->error == NULL ? "ok " : "ng ");
		bole_pkt_line_bytes(&line, c->name);
		bole_pkt_line_text(&line, c->error == NULL ? "" : " ");
		bole_pkt_line_text(&line, c->error == NULL ? "" : c->error);
		bole_pkt_line_text(&line, "\n");
		bole_pkt_line_write(&line, out);
	}
	bole_pkt_flush(out);
}

/* Who did not ask for the report still gets to read why a push failed. */
static void tell_errors(struct bole_push *p)
{
	char text[400];
	char shown[120];

	if (p->unpack[0] != 'o') {
		snprintf(text, sizeof text, "error: unpack: %s\n", p->unpack);
		bole_sideband_progress(&p->s->band, text);
	}
	for (size_t i = 0; i < p->count; i++) {
		const struct bole_command *c = &p->commands[i];
		if (c->error == NULL)
			continue;
		snprintf(text, sizeof text, "error: %s: %s\n",
		         bole_printable(shown, sizeof shown, c->name), c->error);
		bole_sideband_progress(&p->s->band, text);
	}
}

/* One line: a push may name ten thousand references. */
static void log_errors(struct bole_push *p)
{
	struct bole_service *svc = p->s->svc;
	const struct bole_command *first = NULL;
	size_t errors = 0;
	char shown[80];

	for (size_t i = 0; i < p->count; i++) {
		if (p->commands[i].error == NULL)
			continue;
		first = first == NULL ? &p->commands[i] : first;
		errors++;
	}
	if (errors > 0)
		bole_log(svc->platform, BOLE_LOG_WARN,
		         "git: %s: %s: push refused for %zu of %zu references: unpack %s; %s: %s",
		         svc->peer == NULL ? "-" : svc->peer, svc->repo.name, errors, p->count,
		         p->unpack, bole_printable(shown, sizeof shown, first->name), first->error);
}

static enum bole_status report(struct bole_push *p)
{
	struct bole_service *svc = p->s->svc;
	struct bole_sideband *band = &p->s->band;
	uint8_t buf[REPORT_BYTES];
	struct bole_output nested;

	log_errors(p);
	if (p->report_status) {
		bole_output_init(&nested, &band->writer, buf, sizeof buf);
		report_lines(p, &nested);
		BOLE_TRY(bole_output_flush(&nested));
	} else {
		tell_errors(p);
	}
	if (p->side_band)
		bole_pkt_flush(svc->out);
	return bole_session_flush(p->s);
}

static bool pack_follows(const struct bole_push *p)
{
	for (size_t i = 0; i < p->count; i++)
		if (!bole_oid_is_null(&p->commands[i].new_oid))
			return true;
	return false;
}

static bool any_error(const struct bole_push *p)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->commands[i].error != NULL)
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

/* Judges and commits; what went wrong is in the commands then. */
static enum bole_status apply(struct bole_push *p)
{
	struct bole_service *svc = p->s->svc;

	enum bole_status rc = bole_push_check(p);
	if (rc == BOLE_OK && p->atomic && any_error(p))
		bole_push_fail_all(p, "atomic push failure");
	if (rc == BOLE_OK && svc->cancelled != NULL && svc->cancelled(svc->cancelled_ctx))
		rc = BOLE_E_CLOSED;
	if (rc == BOLE_OK)
		rc = bole_push_commit(p);
	if (rc != BOLE_OK)
		bole_push_fail_all(p, bole_status_text(rc));
	count_changes(p);
	return rc;
}

static enum bole_status run(struct bole_push *p)
{
	struct bole_service *svc = p->s->svc;
	enum bole_status rc = bole_tx_begin(svc->store, svc->repo.id, &p->tx);

	if (rc != BOLE_OK) {
		snprintf(p->unpack, sizeof p->unpack, "%s", bole_status_text(rc));
		bole_push_fail_all(p, bole_status_text(rc));
		return rc;
	}
	snprintf(p->unpack, sizeof p->unpack, "ok");
	bole_history_init(&p->history, p->s, p->tx->view);
	if (pack_follows(p))
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
	enum bole_status rc = read_commands(p);

	if (rc == BOLE_END || (rc == BOLE_OK && p->count == 0))
		return BOLE_OK; /* nothing to do, or a probe */
	if (rc == BOLE_OK && p->shallow)
		rc = bole_session_refuse(s, BOLE_E_UNSUPPORTED,
		                         "receive-pack: pushing from a shallow clone is not "
		                         "supported");
	if (rc == BOLE_OK)
		rc = open_band(p);
	if (rc != BOLE_OK)
		return rc;
	s->band_open = true;
	rc = run(p);
	if (rc == BOLE_E_CLOSED)
		return rc; /* nobody is there to read a report */
	enum bole_status told = report(p);
	s->refused = rc != BOLE_OK; /* it has been told why */
	return rc == BOLE_OK ? told : rc;
}

enum bole_status bole_receive_pack(struct bole_service *svc)
{
	struct bole_session s;
	struct bole_push p = {.s = &s};
	enum bole_status rc = bole_session_open(&s, svc);

	if (rc == BOLE_OK && !svc->policy->receive_enable)
		rc = bole_session_refuse(&s, BOLE_E_DENIED, "receive-pack: this node is read-only");
	if (rc == BOLE_OK && (svc->advertise || !svc->stateless))
		rc = advertise(&s);
	if (rc == BOLE_OK && !svc->advertise) {
		/* A push may take long; nothing below needs the state of its beginning. */
		bole_snapshot_close(s.snapshot);
		s.snapshot = NULL;
		bole_arena_init(&p.text, svc->alloc, TEXT_CHUNK_BYTES);
		rc = serve(&p);
		bole_alloc_free(svc->alloc, p.commands, p.cap, sizeof *p.commands);
		bole_arena_release(&p.text);
	}
	rc = bole_session_check(&s, rc, "receive-pack");
	if (s.refused)
		bole_session_drain(&s);
	bole_session_close(&s);
	return rc;
}
