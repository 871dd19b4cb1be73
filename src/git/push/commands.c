/* SPDX-License-Identifier: ISC */
/* What comes before the pack: shallow commits, commands (plain or in a certificate), options. */
#include "base/bytes.h"
#include "base/check.h"
#include "git/push/push.h"

enum {
	COMMAND_CAP_MIN = 16,
	COMMAND_NAME_MAX = 2 * BOLE_REF_NAME_MAX, /* longer ones cannot even be reported */
};

/* From here on refusals go where the client listens: a client that asked for the side-band takes an
 * ERR packet for a broken band. */
enum bole_status bole_push_open_band(struct bole_push *p)
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

static void take_cap(struct bole_push *p, struct bole_bytes word, bool *foreign)
{
	struct bole_bytes value;

	if (bole_pkt_is(word, "report-status"))
		p->report_status = true;
	else if (bole_pkt_is(word, "report-status-v2"))
		p->report_status = p->report_v2 = true;
	else if (bole_pkt_is(word, "side-band-64k"))
		p->side_band = true;
	else if (bole_pkt_is(word, "quiet"))
		p->quiet = true;
	else if (bole_pkt_is(word, "atomic"))
		p->atomic = true;
	else if (bole_pkt_is(word, "push-options"))
		p->wants_options = true;
	else if (bole_caps_value(word, "object-format", &value))
		*foreign = !bole_pkt_is(value, bole_hash_name(p->s->svc->repo.algo));
	else if (bole_caps_value(word, "agent", &value))
		bole_printable(p->agent, sizeof p->agent, value);
	else if (bole_caps_value(word, "session-id", &value))
		bole_printable(p->session, sizeof p->session, value);
}

static enum bole_status take_caps(struct bole_push *p, struct bole_bytes rest)
{
	struct bole_session *s = p->s;
	struct bole_bytes word;
	bool foreign = false;

	p->any_cap = true;
	while (bole_caps_next(&rest, &word))
		take_cap(p, word, &foreign);
	BOLE_TRY(bole_push_open_band(p));
	if (p->wants_options && p->policy->no_options)
		return bole_session_refuse(s, BOLE_E_UNSUPPORTED,
		                           "receive-pack: push options are not accepted here");
	if (foreign)
		return bole_session_refuse(s, BOLE_E_UNSUPPORTED,
		                           "receive-pack: this repository's object format is %s",
		                           bole_hash_name(s->svc->repo.algo));
	return BOLE_OK;
}

enum bole_status bole_push_name(struct bole_push *p, struct bole_bytes name,
                                struct bole_bytes *shown, struct bole_bytes *stored)
{
	struct bole_bytes space = bole_ref_view_space(&p->s->refs);
	uint8_t *copy = bole_arena_alloc(&p->text, space.len + name.len, 1);

	if (copy == NULL)
		return BOLE_E_NO_MEMORY;
	if (space.len > 0)
		memcpy(copy, space.ptr, space.len);
	memcpy(copy + space.len, name.ptr, name.len);
	*stored = bole_bytes_of(copy, space.len + name.len);
	*shown = bole_bytes_of(copy + space.len, name.len);
	return BOLE_OK;
}

static enum bole_status add_command(struct bole_push *p, const struct bole_command *c)
{
	if (p->count == BOLE_PUSH_REFS_MAX)
		return bole_session_refuse(p->s, BOLE_E_LIMIT,
		                           "receive-pack: more than %d reference updates in one "
		                           "push",
		                           (int)BOLE_PUSH_REFS_MAX);
	if (p->count == p->cap) {
		size_t cap = p->cap == 0 ? COMMAND_CAP_MIN : p->cap * 2;
		struct bole_command *grown = bole_alloc_resize(p->s->svc->alloc, p->commands,
		                                               p->cap, cap, sizeof *grown);
		if (grown == NULL)
			return BOLE_E_NO_MEMORY;
		p->commands = grown;
		p->cap = cap;
	}
	struct bole_command *kept = &p->commands[p->count];
	*kept = *c;
	BOLE_TRY(bole_push_name(p, c->name, &kept->name, &kept->stored));
	p->count++;
	return BOLE_OK;
}

/* "<old> <new> <name>" */
enum bole_status bole_push_take_command(struct bole_push *p, struct bole_bytes line)
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

static enum bole_status take_shallow(struct bole_push *p, struct bole_bytes hex)
{
	struct bole_oid oid;

	if (bole_oid_parse((const char *)hex.ptr, hex.len, p->s->svc->repo.algo, &oid) != BOLE_OK)
		return bole_session_refuse(p->s, BOLE_E_INVALID,
		                           "receive-pack: 'shallow' is not followed by an id");
	enum bole_status rc = bole_id_list_add_once(&p->shallow, &oid, BOLE_PUSH_SHALLOW_MAX);
	if (rc == BOLE_E_LIMIT)
		return bole_session_refuse(p->s, rc, "receive-pack: more than %d shallow commits",
		                           (int)BOLE_PUSH_SHALLOW_MAX);
	return bole_session_check(p->s, rc, "receive-pack: cannot take a shallow line");
}

static enum bole_status take_line(struct bole_push *p, const struct bole_pkt *pkt)
{
	struct bole_bytes line = pkt->line;
	struct bole_bytes rest;

	if (pkt->type != BOLE_PKT_DATA)
		return bole_session_refuse(p->s, BOLE_E_INVALID,
		                           "protocol error: unexpected special packet");
	if (bole_pkt_word(line, "shallow", &rest))
		return take_shallow(p, rest);
	const uint8_t *nul = line.len == 0 ? NULL : memchr(line.ptr, 0, line.len);
	if (nul != NULL) {
		size_t len = (size_t)(nul - line.ptr);

		if (p->any_cap || p->count > 0)
			return bole_session_refuse(
			        p->s, BOLE_E_INVALID,
			        "receive-pack: capabilities after the first command");
		BOLE_TRY(take_caps(p, bole_bytes_of(nul + 1, line.len - len - 1)));
		line.len = len;
	}
	if (!bole_pkt_is(line, "push-cert"))
		return bole_push_take_command(p, line);
	if (p->policy->cert_seed == NULL)
		return bole_session_refuse(p->s, BOLE_E_UNSUPPORTED,
		                           "receive-pack: signed pushes are not accepted here");
	if (p->signed_push || p->count > 0)
		return bole_session_refuse(p->s, BOLE_E_INVALID,
		                           "receive-pack: a certificate among other commands");
	return bole_push_read_cert(p);
}

static enum bole_status read_lines(struct bole_push *p)
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

static enum bole_status take_option(struct bole_push *p, struct bole_bytes line)
{
	size_t len = line.len;

	if (p->option_count == BOLE_PUSH_OPTIONS_MAX ||
	    len > BOLE_PUSH_OPTION_BYTES_MAX - p->option_bytes)
		return bole_session_refuse(p->s, BOLE_E_LIMIT,
		                           "receive-pack: more than %d push options, or %d bytes "
		                           "of them",
		                           (int)BOLE_PUSH_OPTIONS_MAX,
		                           (int)BOLE_PUSH_OPTION_BYTES_MAX);
	if (len > 0 && memchr(line.ptr, 0, len) != NULL)
		return bole_session_refuse(p->s, BOLE_E_INVALID,
		                           "receive-pack: a push option holds a NUL");
	if (p->options == NULL)
		p->options = bole_alloc_array(p->s->svc->alloc, BOLE_PUSH_OPTIONS_MAX,
		                              sizeof *p->options);
	uint8_t *copy = bole_arena_alloc(&p->text, len + 1, 1);
	if (p->options == NULL || copy == NULL)
		return bole_session_check(p->s, BOLE_E_NO_MEMORY, "receive-pack");
	if (len > 0)
		memcpy(copy, line.ptr, len);
	p->options[p->option_count++] = bole_bytes_of(copy, len);
	p->option_bytes += len;
	return BOLE_OK;
}

static enum bole_status read_options(struct bole_push *p)
{
	for (;;) {
		struct bole_pkt pkt;
		enum bole_status rc = bole_session_read(p->s, &pkt);

		if (rc == BOLE_END)
			return BOLE_E_CLOSED;
		BOLE_TRY(rc);
		if (pkt.type == BOLE_PKT_FLUSH)
			return BOLE_OK;
		if (pkt.type != BOLE_PKT_DATA)
			return bole_session_refuse(p->s, BOLE_E_INVALID,
			                           "protocol error: unexpected special packet");
		BOLE_TRY(take_option(p, pkt.line));
	}
}

enum bole_status bole_push_read(struct bole_push *p)
{
	BOLE_TRY(read_lines(p));
	if (p->count == 0)
		return BOLE_END;
	if (p->atomic && p->count > BOLE_REF_UPDATES_MAX)
		return bole_session_refuse(p->s, BOLE_E_LIMIT,
		                           "receive-pack: more than %d reference updates in one "
		                           "atomic push",
		                           (int)BOLE_REF_UPDATES_MAX);
	if (p->wants_options)
		BOLE_TRY(read_options(p));
	return p->signed_push ? bole_push_check_cert(p) : BOLE_OK;
}
