/* SPDX-License-Identifier: ISC */
/* What became of a push: the report of gitprotocol-pack(5), "Report Status", and the log. */
#include <stdio.h>

#include "base/bytes.h"
#include "git/push/push.h"

enum { REPORT_BYTES = 4096, LOGGED_MAX = 8 };

static void add_option(struct bole_output *out, const char *name, struct bole_bytes value)
{
	struct bole_pkt_line line;

	bole_pkt_line_init(&line);
	bole_pkt_line_text(&line, "option ");
	bole_pkt_line_text(&line, name);
	bole_pkt_line_text(&line, value.len == 0 ? "" : " ");
	bole_pkt_line_bytes(&line, value);
	bole_pkt_line_text(&line, "\n");
	bole_pkt_line_write(&line, out);
}

/* Another reference than the one that was asked for was set. */
static void options_of(const struct bole_push *p, const struct bole_command *c,
                       struct bole_output *out)
{
	char hex[BOLE_OID_HEX_MAX + 1];

	if (!p->report_v2 || !c->proc || c->error != NULL)
		return;
	add_option(out, "refname", c->target);
	add_option(out, "old-oid", bole_bytes_z(bole_oid_format(&c->old_oid, hex)));
	add_option(out, "new-oid", bole_bytes_z(bole_oid_format(&c->new_oid, hex)));
	if (c->forced)
		add_option(out, "forced-update", bole_bytes_of(NULL, 0));
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
		options_of(p, c, out);
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
		bole_sideband_say(&p->s->band, text);
	}
	for (size_t i = 0; i < p->count; i++) {
		const struct bole_command *c = &p->commands[i];
		if (c->error == NULL)
			continue;
		snprintf(text, sizeof text, "error: %s: %s\n",
		         bole_printable(shown, sizeof shown, c->name), c->error);
		bole_sideband_say(&p->s->band, text);
	}
}

enum bole_status bole_push_report(struct bole_push *p)
{
	struct bole_service *svc = p->s->svc;
	struct bole_sideband *band = &p->s->band;
	uint8_t buf[REPORT_BYTES];
	struct bole_output nested;

	if (p->report_status) {
		bole_output_init(&nested, &band->writer, buf, sizeof buf);
		report_lines(p, &nested);
		enum bole_status rc = bole_output_flush(&nested);
		if (rc != BOLE_OK)
			return rc;
	} else {
		tell_errors(p);
	}
	if (p->side_band)
		bole_pkt_flush(svc->out);
	return bole_session_flush(p->s);
}

/* -- The log -- */

static const char *who(const struct bole_push *p)
{
	return p->policy->user == NULL ? "anonymous" : p->policy->user;
}

/* One line: a push may name ten thousand references. */
static void log_errors(struct bole_push *p, size_t errors, const struct bole_command *first)
{
	struct bole_service *svc = p->s->svc;
	char shown[80];

	bole_log(svc->platform, BOLE_LOG_WARN,
	         "git: %s: %s: push by %s refused for %zu of %zu references: unpack %s; %s: %s",
	         svc->peer == NULL ? "-" : svc->peer, svc->repo.name, who(p), errors, p->count,
	         p->unpack, bole_printable(shown, sizeof shown, first->name), first->error);
}

/* What a hook on another machine would be told. */
static void log_ref(struct bole_push *p, const struct bole_command *c)
{
	struct bole_service *svc = p->s->svc;
	char from[BOLE_OID_HEX_MAX + 1];
	char to[BOLE_OID_HEX_MAX + 1];
	char shown[160];

	bole_log(svc->platform, BOLE_LOG_INFO, "git: %s: %s: push by %s: %s %s..%s",
	         svc->peer == NULL ? "-" : svc->peer, svc->repo.name, who(p),
	         bole_printable(shown, sizeof shown, c->stored), bole_oid_format(&c->old_oid, from),
	         bole_oid_format(&c->new_oid, to));
}

static void log_cert(struct bole_push *p)
{
	static const char *const nonces[] = {"missing", "bad", "ok", "slop", "unsolicited"};
	static const char *const states[] = {"not verified", "good", "bad", "of an unknown key"};
	struct bole_service *svc = p->s->svc;
	char hex[BOLE_OID_HEX_MAX + 1];
	char pusher[120];

	bole_log(svc->platform, BOLE_LOG_INFO,
	         "git: %s: %s: push signed by '%s': certificate %s, nonce %s, signature %s",
	         svc->peer == NULL ? "-" : svc->peer, svc->repo.name,
	         bole_printable(pusher, sizeof pusher, p->cert.pusher),
	         bole_oid_format(&p->cert.oid, hex), nonces[p->cert.nonce_state],
	         states[p->cert.state]);
}

void bole_push_log(struct bole_push *p)
{
	const struct bole_command *first = NULL;
	size_t errors = 0;
	size_t logged = 0;

	if (p->signed_push)
		log_cert(p);
	for (size_t i = 0; i < p->count; i++) {
		const struct bole_command *c = &p->commands[i];

		if (c->error != NULL) {
			first = first == NULL ? c : first;
			errors++;
		} else if (logged++ < LOGGED_MAX) {
			log_ref(p, c);
		}
	}
	if (logged > LOGGED_MAX)
		bole_log(p->s->svc->platform, BOLE_LOG_INFO,
		         "git: %s: %s: push by %s: and %zu more references",
		         p->s->svc->peer == NULL ? "-" : p->s->svc->peer, p->s->svc->repo.name,
		         who(p), logged - LOGGED_MAX);
	if (errors > 0)
		log_errors(p, errors, first);
}
