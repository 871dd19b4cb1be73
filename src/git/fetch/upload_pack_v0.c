/* SPDX-License-Identifier: ISC */
/* upload-pack in protocol versions 0 and 1 (gitprotocol-pack(5)): advertisement, wants, rounds of
 * haves, the pack. A stateless session (HTTP) is one round: the client repeats what is common. */
#include <stdio.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/fetch/upload_pack_impl.h"

static void format_caps(struct bole_session *s, char *caps, size_t cap)
{
	struct bole_listed_ref head;
	struct bole_ref ref;
	char symref[BOLE_REF_NAME_MAX + 16] = "";

	if (s->snapshot != NULL &&
	    bole_ref_view_get(&s->refs, s->snapshot, bole_bytes_z("HEAD"), &ref) == BOLE_OK &&
	    ref.symbolic && bole_ref_resolve(&s->refs, s->snapshot, &ref, &head) == BOLE_OK &&
	    head.target.len <= BOLE_REF_NAME_MAX)
		snprintf(symref, sizeof symref, " symref=HEAD:%.*s", (int)head.target.len,
		         (const char *)head.target.ptr);
	const struct bole_fetch_policy *policy = &s->svc->policy->fetch;
	char session_id[BOLE_SESSION_ID_MAX + 1];

	snprintf(
	        caps, cap,
	        "multi_ack thin-pack side-band side-band-64k ofs-delta shallow deepen-since "
	        "deepen-not deepen-relative no-progress include-tag multi_ack_detailed%s%s%s%s%s%s "
	        "object-format=%s agent=%s",
	        policy->allow_filter ? " filter" : "",
	        policy->allow_hidden_tips || policy->allow_any ? " allow-tip-sha1-in-want" : "",
	        policy->allow_reachable || policy->allow_any ? " allow-reachable-sha1-in-want" : "",
	        s->svc->stateless || s->svc->advertise ? " no-done" : "", symref,
	        bole_session_id(s, " session-id=", session_id), bole_hash_name(s->svc->repo.algo),
	        BOLE_GIT_AGENT);
}

static enum bole_status take_cap(struct bole_fetch *f, struct bole_bytes word)
{
	struct bole_session *s = f->s;
	struct bole_bytes value;
	char shown[40];

	if (bole_pkt_is(word, "multi_ack") && f->acks == BOLE_ACK_SINGLE)
		f->acks = BOLE_ACK_MULTI;
	else if (bole_pkt_is(word, "multi_ack_detailed"))
		f->acks = BOLE_ACK_DETAILED;
	else if (bole_pkt_is(word, "no-done"))
		f->no_done = true;
	else if (bole_pkt_is(word, "thin-pack"))
		f->thin = true;
	else if (bole_pkt_is(word, "ofs-delta"))
		f->ofs_delta = true;
	else if (bole_pkt_is(word, "include-tag"))
		f->include_tag = true;
	else if (bole_pkt_is(word, "deepen-relative"))
		f->shallow.relative = true;
	else if (bole_pkt_is(word, "no-progress"))
		f->no_progress = true;
	else if (bole_caps_value(word, "object-format", &value) &&
	         !bole_pkt_is(value, bole_hash_name(s->svc->repo.algo)))
		return bole_session_refuse(s, BOLE_E_UNSUPPORTED,
		                           "upload-pack: object format '%s' is not this "
		                           "repository's (%s)",
		                           bole_printable(shown, sizeof shown, value),
		                           bole_hash_name(s->svc->repo.algo));
	else if (bole_pkt_is(word, "side-band") || bole_pkt_is(word, "side-band-64k")) {
		if (f->band != BOLE_SIDEBAND_NONE)
			return bole_session_refuse(s, BOLE_E_INVALID,
			                           "upload-pack: side-band and side-band-64k "
			                           "exclude each other");
		f->band =
		        bole_pkt_is(word, "side-band") ? BOLE_SIDEBAND_SMALL : BOLE_SIDEBAND_LARGE;
	}
	return BOLE_OK; /* what is unknown was not offered and means nothing here */
}

/* "want <id>", the first one followed by capabilities. */
static enum bole_status take_want(struct bole_fetch *f, struct bole_bytes rest)
{
	size_t hex = 2 * bole_hash_bytes(f->s->svc->repo.algo);
	struct bole_bytes id = rest;
	struct bole_bytes word;
	bool first = f->wants.count == 0;

	if (rest.len > hex)
		id.len = hex;
	BOLE_TRY(bole_fetch_want(f, id));
	rest = bole_bytes_of(rest.ptr + id.len, rest.len - id.len);
	while (first && bole_caps_next(&rest, &word))
		BOLE_TRY(take_cap(f, word));
	return BOLE_OK;
}

static enum bole_status refuse_line(struct bole_fetch *f, const char *expected,
                                    const struct bole_pkt *pkt)
{
	char shown[80];

	if (pkt->type != BOLE_PKT_DATA)
		return bole_session_refuse(f->s, BOLE_E_INVALID,
		                           "upload-pack: unexpected special packet, expected %s",
		                           expected);
	return bole_session_refuse(f->s, BOLE_E_INVALID, "upload-pack: expected %s, got '%s'",
	                           expected, bole_printable(shown, sizeof shown, pkt->line));
}

static enum bole_status read_wants(struct bole_fetch *f)
{
	for (;;) {
		struct bole_pkt pkt;
		struct bole_bytes rest;
		enum bole_status rc = bole_session_read(f->s, &pkt);
		if (rc == BOLE_END && f->wants.count > 0)
			return BOLE_E_CLOSED;
		if (rc != BOLE_OK)
			return rc;
		if (pkt.type == BOLE_PKT_FLUSH)
			return BOLE_OK;
		if (pkt.type != BOLE_PKT_DATA)
			return refuse_line(f, "want", &pkt);
		bool taken = false;
		BOLE_TRY(bole_shallow_take(&f->shallow, pkt.line, &taken));
		if (taken)
			continue;
		if (f->s->svc->policy->fetch.allow_filter &&
		    bole_pkt_word(pkt.line, "filter", &rest)) {
			BOLE_TRY(bole_fetch_filter(f, rest));
			continue;
		}
		if (!bole_pkt_word(pkt.line, "want", &rest))
			return refuse_line(f, "want", &pkt);
		BOLE_TRY(take_want(f, rest));
	}
}

static void send_ack(struct bole_fetch *f, const struct bole_oid *oid, const char *status)
{
	struct bole_pkt_line line;

	bole_pkt_line_init(&line);
	bole_pkt_line_text(&line, "ACK ");
	bole_pkt_line_oid(&line, oid);
	bole_pkt_line_text(&line, status);
	bole_pkt_line_text(&line, "\n");
	bole_pkt_line_write(&line, f->s->svc->out);
}

struct rounds {
	struct bole_fetch *f;
	struct bole_oid last; /* the last common id */
	bool common_seen;     /* in this round */
	bool unknown_seen;    /* in this round */
	bool ready_sent;
};

static enum bole_status take_have(struct rounds *r, struct bole_bytes hex)
{
	struct bole_fetch *f = r->f;
	size_t before = f->haves.count;
	struct bole_oid oid;
	bool known = false;
	bool enough = false;

	BOLE_TRY(bole_fetch_have(f, hex, &oid, &known));
	if (known) {
		r->common_seen = true;
		r->last = oid;
		if (f->acks == BOLE_ACK_DETAILED)
			send_ack(f, &oid, " common");
		else if (f->acks == BOLE_ACK_MULTI)
			send_ack(f, &oid, " continue");
		else if (before == 0)
			send_ack(f, &oid, "");
		return BOLE_OK;
	}
	r->unknown_seen = true;
	if (f->acks == BOLE_ACK_SINGLE)
		return BOLE_OK;
	/* Once there is enough, unknown ids are acknowledged blindly: the client stops digging. */
	BOLE_TRY(bole_fetch_enough(f, &enough));
	if (enough && f->acks == BOLE_ACK_DETAILED) {
		r->ready_sent = true;
		send_ack(f, &oid, " ready");
	} else if (enough) {
		send_ack(f, &oid, " continue");
	}
	return BOLE_OK;
}

/* A flush packet ends a round. *send: the pack follows at once (no-done). */
static enum bole_status end_round(struct rounds *r, bool *send)
{
	struct bole_fetch *f = r->f;
	bool enough = false;

	*send = false;
	if (f->acks == BOLE_ACK_DETAILED && r->common_seen && !r->unknown_seen) {
		BOLE_TRY(bole_fetch_enough(f, &enough));
		if (enough) {
			r->ready_sent = true;
			send_ack(f, &r->last, " ready");
		}
	}
	if (f->haves.count == 0 || f->acks != BOLE_ACK_SINGLE)
		bole_pkt_text(f->s->svc->out, "NAK\n");
	/* ready_sent implies that something was common, so last is set. */
	if (f->no_done && r->ready_sent) {
		send_ack(f, &r->last, "");
		*send = true;
	}
	r->common_seen = r->unknown_seen = false;
	return bole_session_flush(f->s);
}

/* BOLE_OK: send the pack. BOLE_END: the stateless request is answered. */
static enum bole_status negotiate(struct bole_fetch *f)
{
	struct rounds r = {.f = f};

	for (;;) {
		struct bole_pkt pkt;
		struct bole_bytes rest;
		enum bole_status rc = bole_session_read(f->s, &pkt);
		bool send;
		if (rc == BOLE_END)
			return f->s->svc->stateless ? BOLE_END : BOLE_E_CLOSED;
		if (rc != BOLE_OK)
			return rc;
		if (pkt.type == BOLE_PKT_FLUSH) {
			BOLE_TRY(end_round(&r, &send));
			if (send)
				return BOLE_OK;
			if (f->s->svc->stateless)
				return BOLE_END;
		} else if (pkt.type == BOLE_PKT_DATA && bole_pkt_word(pkt.line, "have", &rest)) {
			BOLE_TRY(take_have(&r, rest));
		} else if (pkt.type == BOLE_PKT_DATA && bole_pkt_is(pkt.line, "done")) {
			if (f->haves.count == 0)
				bole_pkt_text(f->s->svc->out, "NAK\n");
			else if (f->acks != BOLE_ACK_SINGLE)
				send_ack(f, &r.last, "");
			return BOLE_OK;
		} else {
			return refuse_line(f, "have or done", &pkt);
		}
	}
}

static enum bole_status serve(struct bole_fetch *f)
{
	enum bole_status rc = read_wants(f);

	f->s->svc->ended = rc == BOLE_END || (rc == BOLE_OK && f->wants.count == 0);
	if (f->s->svc->ended)
		return BOLE_OK; /* it only wanted the list */
	if (rc == BOLE_OK)
		rc = bole_fetch_check_wants(f);
	if (rc == BOLE_OK)
		rc = bole_fetch_deepen(f);
	if (rc == BOLE_OK && bole_shallow_deepens(&f->shallow)) {
		bole_pkt_flush(f->s->svc->out);
		rc = bole_session_flush(f->s);
	}
	if (rc == BOLE_OK)
		rc = negotiate(f);
	if (rc == BOLE_OK)
		rc = bole_fetch_send(f);
	return rc == BOLE_END ? BOLE_OK : rc;
}

enum bole_status bole_upload_pack_v0(struct bole_session *s)
{
	struct bole_fetch f;

	if (s->svc->advertise || !s->svc->stateless) {
		char caps[BOLE_REF_NAME_MAX + 512];
		format_caps(s, caps, sizeof caps);
		BOLE_TRY(bole_advertise_refs(s, caps, true));
	}
	if (s->svc->advertise)
		return BOLE_OK;
	bole_fetch_init(&f, s);
	enum bole_status rc = serve(&f);
	bole_fetch_release(&f);
	return rc;
}
