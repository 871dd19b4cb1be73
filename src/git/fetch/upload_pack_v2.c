/* SPDX-License-Identifier: ISC */
/* upload-pack in protocol version 2 (gitprotocol-v2(5)): capabilities, then commands. */
#include <stdio.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/fetch/upload_pack_impl.h"

enum command {
	COMMAND_NONE,
	COMMAND_LS_REFS,
	COMMAND_FETCH,
	COMMAND_OBJECT_INFO,
	COMMAND_BUNDLE_URI,
};

struct request {
	enum command command;
	bool format_given;
	bool args_follow; /* a delimiter ended the capabilities */
};

static enum bole_status advertise(struct bole_session *s)
{
	const struct bole_fetch_policy *policy = &s->svc->policy->fetch;
	char line[200];

	bole_pkt_text(s->svc->out, "version 2\n");
	bole_pkt_text(s->svc->out, "agent=" BOLE_GIT_AGENT "\n");
	bole_pkt_text(s->svc->out, "ls-refs=unborn\n");
	snprintf(line, sizeof line, "fetch=shallow wait-for-done%s%s%s%s\n",
	         policy->allow_filter ? " filter" : "", policy->ref_in_want ? " ref-in-want" : "",
	         policy->sideband_all ? " sideband-all" : "",
	         policy->packfile_uri_count > 0 ? " packfile-uris" : "");
	bole_pkt_text(s->svc->out, line);
	bole_pkt_text(s->svc->out, "server-option\n");
	snprintf(line, sizeof line, "object-format=%s\n", bole_hash_name(s->svc->repo.algo));
	bole_pkt_text(s->svc->out, line);
	if (policy->object_info)
		bole_pkt_text(s->svc->out, "object-info\n");
	if (policy->bundle_uri_count > 0)
		bole_pkt_text(s->svc->out, "bundle-uri\n");
	if (policy->session_id) {
		char id[BOLE_SESSION_ID_MAX + 1];
		snprintf(line, sizeof line, "%s\n", bole_session_id(s, "session-id=", id));
		bole_pkt_text(s->svc->out, line);
	}
	bole_pkt_flush(s->svc->out);
	return bole_session_flush(s);
}

static enum bole_status take_command(struct bole_session *s, struct request *req,
                                     struct bole_bytes name)
{
	char shown[60];

	if (req->command != COMMAND_NONE)
		return bole_session_refuse(s, BOLE_E_INVALID, "two commands in one request");
	if (bole_pkt_is(name, "ls-refs"))
		req->command = COMMAND_LS_REFS;
	else if (bole_pkt_is(name, "fetch"))
		req->command = COMMAND_FETCH;
	else if (s->svc->policy->fetch.object_info && bole_pkt_is(name, "object-info"))
		req->command = COMMAND_OBJECT_INFO;
	else if (s->svc->policy->fetch.bundle_uri_count > 0 && bole_pkt_is(name, "bundle-uri"))
		req->command = COMMAND_BUNDLE_URI;
	else
		return bole_session_refuse(s, BOLE_E_UNSUPPORTED, "unknown command '%s'",
		                           bole_printable(shown, sizeof shown, name));
	return BOLE_OK;
}

static enum bole_status take_capability(struct bole_session *s, struct request *req,
                                        struct bole_bytes line)
{
	struct bole_bytes value;
	char shown[60];

	if (bole_caps_value(line, "command", &value))
		return take_command(s, req, value);
	if (bole_caps_value(line, "agent", &value) || bole_caps_value(line, "session-id", &value) ||
	    bole_caps_value(line, "server-option", &value))
		return BOLE_OK;
	if (!bole_caps_value(line, "object-format", &value))
		return bole_session_refuse(s, BOLE_E_UNSUPPORTED, "unknown capability '%s'",
		                           bole_printable(shown, sizeof shown, line));
	req->format_given = true;
	if (!bole_pkt_is(value, bole_hash_name(s->svc->repo.algo)))
		return bole_session_refuse(s, BOLE_E_UNSUPPORTED,
		                           "object format '%s' is not this repository's (%s)",
		                           bole_printable(shown, sizeof shown, value),
		                           bole_hash_name(s->svc->repo.algo));
	return BOLE_OK;
}

/* The command and its capabilities. BOLE_END: the client is done. */
static enum bole_status read_request(struct bole_session *s, struct request *req)
{
	struct bole_pkt pkt;
	enum bole_status rc;

	*req = (struct request){.command = COMMAND_NONE};
	s->lines = 0;
	for (bool first = true;; first = false) {
		rc = bole_session_read(s, &pkt);
		if (rc == BOLE_END && !first)
			return bole_session_refuse(s, BOLE_E_INVALID,
			                           "protocol error: the request is cut short");
		if (rc != BOLE_OK)
			return rc;
		if (pkt.type == BOLE_PKT_FLUSH && first)
			return BOLE_END;
		if (pkt.type == BOLE_PKT_RESPONSE_END)
			return bole_session_refuse(s, BOLE_E_INVALID,
			                           "protocol error: unexpected special packet");
		if (pkt.type != BOLE_PKT_DATA)
			break;
		BOLE_TRY(take_capability(s, req, pkt.line));
	}
	req->args_follow = pkt.type == BOLE_PKT_DELIM;
	if (req->command == COMMAND_NONE)
		return bole_session_refuse(s, BOLE_E_INVALID, "no command in the request");
	if (!req->format_given && s->svc->repo.algo != BOLE_HASH_SHA1)
		return bole_session_refuse(s, BOLE_E_UNSUPPORTED,
		                           "this repository's object format is %s, say so",
		                           bole_hash_name(s->svc->repo.algo));
	return BOLE_OK;
}

static bool take_flag(struct bole_fetch *f, struct bole_bytes line)
{
	const struct {
		const char *name;
		bool *flag;
	} flags[] = {
	        {"done", &f->done},
	        {"thin-pack", &f->thin},
	        {"ofs-delta", &f->ofs_delta},
	        {"include-tag", &f->include_tag},
	        {"no-progress", &f->no_progress},
	        {"wait-for-done", &f->wait_for_done},
	};

	for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
		if (!bole_pkt_is(line, flags[i].name))
			continue;
		*flags[i].flag = true;
		return true;
	}
	return false;
}

static enum bole_status take_argument(struct bole_session *s, void *ctx, struct bole_bytes line)
{
	struct bole_fetch *f = ctx;
	const struct bole_fetch_policy *policy = &s->svc->policy->fetch;
	struct bole_bytes rest;
	struct bole_oid oid;
	char shown[80];
	bool known;

	if (bole_pkt_word(line, "want", &rest))
		return bole_fetch_want(f, rest);
	if (bole_pkt_word(line, "have", &rest)) {
		f->have_seen = true;
		return bole_fetch_have(f, rest, &oid, &known);
	}
	if (take_flag(f, line))
		return BOLE_OK;
	if (policy->allow_filter && bole_pkt_word(line, "filter", &rest))
		return bole_fetch_filter(f, rest);
	if (policy->ref_in_want && bole_pkt_word(line, "want-ref", &rest))
		return bole_fetch_want_ref(f, rest);
	if (policy->sideband_all && bole_pkt_is(line, "sideband-all")) {
		s->band_all = true;
		return BOLE_OK;
	}
	if (policy->packfile_uri_count > 0 && bole_pkt_word(line, "packfile-uris", &rest))
		return bole_fetch_uri_protocols(f, rest);
	BOLE_TRY(bole_shallow_take(&f->shallow, line, &known));
	if (known)
		return BOLE_OK;
	return bole_session_refuse(s, BOLE_E_UNSUPPORTED,
	                           "upload-pack: unknown argument of fetch: '%s'",
	                           bole_printable(shown, sizeof shown, line));
}

enum bole_status bole_v2_arguments(struct bole_session *s, void *ctx,
                                   enum bole_status (*take)(struct bole_session *, void *ctx,
                                                            struct bole_bytes line))
{
	for (;;) {
		struct bole_pkt pkt;
		enum bole_status rc = bole_session_read(s, &pkt);
		if (rc == BOLE_END)
			return bole_session_refuse(s, BOLE_E_INVALID,
			                           "protocol error: the request is cut short");
		if (rc != BOLE_OK)
			return rc;
		if (pkt.type == BOLE_PKT_FLUSH)
			return BOLE_OK;
		if (pkt.type != BOLE_PKT_DATA)
			return bole_session_refuse(s, BOLE_E_INVALID,
			                           "protocol error: unexpected special packet");
		BOLE_TRY(take(s, ctx, pkt.line));
	}
}

/* The whole request has been read, as the document asks: the haves that are common are known.
 * *ready: the pack follows in the same answer. */
static enum bole_status send_acknowledgments(struct bole_fetch *f, bool *ready)
{
	struct bole_output *out = f->s->svc->out;

	*ready = false;
	bole_session_text(f->s, "acknowledgments\n");
	if (f->haves.count == 0)
		bole_session_text(f->s, "NAK\n");
	for (size_t i = 0; i < f->haves.count; i++) {
		struct bole_pkt_line line;
		bole_session_line(f->s, &line);
		bole_pkt_line_text(&line, "ACK ");
		bole_pkt_line_oid(&line, &f->haves.ids[i]);
		bole_pkt_line_text(&line, "\n");
		bole_pkt_line_write(&line, out);
	}
	if (!f->wait_for_done)
		BOLE_TRY(bole_fetch_enough(f, ready));
	if (*ready) {
		bole_session_text(f->s, "ready\n");
		bole_pkt_delim(out);
		return BOLE_OK;
	}
	bole_pkt_flush(out);
	return bole_session_flush(f->s);
}

static enum bole_status send_shallow_info(struct bole_fetch *f)
{
	if (!bole_shallow_deepens(&f->shallow) && f->shallow.client.count == 0 &&
	    f->s->boundary.ends.count == 0)
		return BOLE_OK;
	bole_session_text(f->s, "shallow-info\n");
	BOLE_TRY(bole_fetch_deepen(f));
	bole_pkt_delim(f->s->svc->out);
	return BOLE_OK;
}

static enum bole_status send_wanted_refs(struct bole_fetch *f)
{
	if (f->wanted_ref_count == 0)
		return BOLE_OK;
	bole_session_text(f->s, "wanted-refs\n");
	for (size_t i = 0; i < f->wanted_ref_count; i++) {
		struct bole_pkt_line line;
		bole_session_line(f->s, &line);
		bole_pkt_line_oid(&line, &f->wanted_refs[i].oid);
		bole_pkt_line_text(&line, " ");
		bole_pkt_line_bytes(&line, f->wanted_refs[i].name);
		bole_pkt_line_text(&line, "\n");
		bole_pkt_line_write(&line, f->s->svc->out);
		BOLE_TRY(bole_session_tick(f->s));
	}
	bole_pkt_delim(f->s->svc->out);
	return BOLE_OK;
}

static enum bole_status fetch(struct bole_fetch *f, bool args_follow)
{
	bool send = true;

	if (args_follow)
		BOLE_TRY(bole_v2_arguments(f->s, f, take_argument));
	BOLE_TRY(bole_fetch_check_wants(f));
	if (f->wants.count == 0 && !f->wait_for_done)
		return bole_session_refuse(f->s, BOLE_E_INVALID, "upload-pack: nothing is wanted");
	if (f->have_seen && !f->done)
		BOLE_TRY(send_acknowledgments(f, &send));
	if (!send)
		return BOLE_OK;
	if (f->wants.count == 0) {
		bole_pkt_flush(f->s->svc->out);
		return bole_session_flush(f->s);
	}
	BOLE_TRY(send_shallow_info(f));
	BOLE_TRY(send_wanted_refs(f));
	f->sections = true;
	f->band = BOLE_SIDEBAND_LARGE;
	return bole_fetch_send(f);
}

static enum bole_status serve_fetch(struct bole_session *s, bool args_follow)
{
	struct bole_fetch f;

	bole_fetch_init(&f, s);
	enum bole_status rc = fetch(&f, args_follow);
	bole_fetch_release(&f);
	s->band_all = false;
	return rc;
}

static enum bole_status serve(struct bole_session *s, const struct request *req)
{
	if (req->command == COMMAND_FETCH || req->command == COMMAND_OBJECT_INFO)
		BOLE_TRY(bole_session_ends(s));
	switch (req->command) {
	case COMMAND_LS_REFS: return bole_ls_refs(s, req->args_follow);
	case COMMAND_FETCH: return serve_fetch(s, req->args_follow);
	case COMMAND_OBJECT_INFO: return bole_object_info(s, req->args_follow);
	case COMMAND_BUNDLE_URI: return bole_bundle_uri(s, req->args_follow);
	case COMMAND_NONE: break;
	}
	return BOLE_E_INVALID;
}

/* The next command of a session has begun to come; false: none will be served. */
static bool wait_for_command(struct bole_session *s)
{
	struct bole_service *svc = s->svc;
	struct bole_bytes have;

	if (svc->stateless || svc->waiting == NULL)
		return true;
	if (!svc->waiting(svc->waiting_ctx, true))
		return false;
	enum bole_status rc = bole_input_peek(svc->in, &have);
	return svc->waiting(svc->waiting_ctx, false) || rc == BOLE_OK;
}

enum bole_status bole_upload_pack_v2(struct bole_session *s)
{
	struct request req;
	enum bole_status rc = BOLE_OK;

	if (s->svc->advertise || !s->svc->stateless)
		BOLE_TRY(advertise(s));
	if (s->svc->advertise)
		return BOLE_OK;
	do {
		if (!wait_for_command(s))
			return BOLE_OK;
		rc = read_request(s, &req);
		s->svc->ended = rc == BOLE_END;
		if (rc == BOLE_END)
			return BOLE_OK;
		if (rc != BOLE_OK)
			return rc;
		rc = serve(s, &req);
	} while (rc == BOLE_OK && !s->svc->stateless);
	return rc;
}
