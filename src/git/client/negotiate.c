/* SPDX-License-Identifier: ISC */
/* Wants and haves. Version 2 and stateless version 0 repeat in each request what is known to be
 * common; stateful version 0 is a conversation (gitprotocol-pack(5), "Packfile Negotiation";
 * gitprotocol-v2(5), "fetch"). */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/client/remote.h"
#include "git/service/service_impl.h"

enum {
	HAVES_FIRST = 16,
	HAVES_STATEFUL_MAX = 32, /* what a pipe holds while both sides write */
	HAVES_MAX = 16 * 1024,   /* of one request */
	DEEPEN_ALL = 0x7fffffff, /* "give me all" on the wire */
	IN_VAIN_MAX = 256,       /* named without an answer, once something is common */
};

struct course {
	struct bole_negotiation *n;
	struct bole_remote *r;
	size_t batch;
	size_t in_vain;
	bool any_common;
	bool exhausted; /* there is nothing left to name */
	bool ready;     /* the server knows enough */
	bool plain;     /* version 0 without multi_ack */
	bool done_sent;
};

static void send_id(struct course *c, const char *word, const struct bole_oid *oid)
{
	struct bole_pkt_line line;

	bole_pkt_line_init(&line);
	bole_pkt_line_text(&line, word);
	bole_pkt_line_oid(&line, oid);
	bole_pkt_line_text(&line, "\n");
	bole_pkt_line_write(&line, &c->r->out);
}

/* Names up to a batch of commits. */
static enum bole_status send_haves(struct course *c)
{
	struct bole_oid oid;
	size_t sent = 0;

	while (sent < c->batch && !c->exhausted) {
		enum bole_status rc = bole_skipper_next(c->n->skipper, &oid);

		if (rc == BOLE_END) {
			c->exhausted = true;
			break;
		}
		BOLE_TRY(rc);
		send_id(c, "have ", &oid);
		sent++;
	}
	c->n->haves += sent;
	c->in_vain += sent;
	if (c->any_common && c->in_vain >= IN_VAIN_MAX)
		c->exhausted = true;
	size_t max =
	        c->r->version == 2 || c->r->transport->stateless ? HAVES_MAX : HAVES_STATEFUL_MAX;
	c->batch = c->batch * 2 < max ? c->batch * 2 : max;
	return BOLE_OK;
}

static enum bole_status out_of_place(struct course *c, const struct bole_pkt *pkt)
{
	char shown[80];

	return bole_remote_fail(c->r, BOLE_E_INVALID, "the server answers '%s', out of place",
	                        bole_printable(shown, sizeof shown, pkt->line));
}

static enum bole_status too_many(struct course *c, uint32_t *lines)
{
	return ++*lines <= BOLE_REQUEST_LINES_MAX
	               ? BOLE_OK
	               : bole_remote_fail(c->r, BOLE_E_LIMIT, "the server's answer has no end");
}

/* -- Where history ends -- */

static void send_number(struct course *c, const char *word, uint64_t number)
{
	struct bole_pkt_line line;
	char digits[24];

	snprintf(digits, sizeof digits, "%llu\n", (unsigned long long)number);
	bole_pkt_line_init(&line);
	bole_pkt_line_text(&line, word);
	bole_pkt_line_text(&line, digits);
	bole_pkt_line_write(&line, &c->r->out);
}

/* The same lines in all versions, but for deepen-relative, a capability in version 0. */
static void send_deepen(struct course *c)
{
	const struct bole_client_deepen *d = c->n->deepen;

	for (size_t i = 0; i < c->n->ends->count; i++)
		send_id(c, "shallow ", &c->n->ends->ids[i]);
	if (d == NULL)
		return;
	if (d->depth > 0 || d->deepen > 0 || d->unshallow)
		send_number(c, "deepen ",
		            d->unshallow   ? DEEPEN_ALL
		            : d->depth > 0 ? d->depth
		                           : d->deepen);
	if (d->deepen > 0 && c->r->version == 2)
		bole_pkt_text(&c->r->out, "deepen-relative\n");
	if (d->since_s > 0)
		send_number(c, "deepen-since ", (uint64_t)d->since_s);
	for (size_t i = 0; i < d->exclude_count; i++) {
		struct bole_pkt_line line;

		bole_pkt_line_init(&line);
		bole_pkt_line_text(&line, "deepen-not ");
		bole_pkt_line_text(&line, d->excludes[i]);
		bole_pkt_line_text(&line, "\n");
		bole_pkt_line_write(&line, &c->r->out);
	}
}

/* "shallow <id>" or "unshallow <id>": of each id once, and only commits of our own boundary get
 * their parents back. What they are worth is judged when the pack is here. */
static enum bole_status take_end(struct course *c, struct bole_bytes line)
{
	struct bole_id_list *list = c->n->shallow;
	struct bole_bytes hex;
	struct bole_oid oid;
	char shown[80];

	bool known = bole_pkt_word(line, "shallow", &hex);
	if (!known && bole_pkt_word(line, "unshallow", &hex)) {
		known = true;
		list = c->n->unshallow;
	}
	if (!known || bole_oid_parse((const char *)hex.ptr, hex.len, c->r->algo, &oid) != BOLE_OK)
		return bole_remote_fail(c->r, BOLE_E_INVALID,
		                        "the server says where history ends, and '%s'",
		                        bole_printable(shown, sizeof shown, line));
	if (list == c->n->unshallow && bole_id_list_find(c->n->ends, &oid) == BOLE_OID_NONE)
		return bole_remote_fail(c->r, BOLE_E_INVALID,
		                        "the server ends what is no end of history here: '%s'",
		                        bole_printable(shown, sizeof shown, line));
	enum bole_status rc = bole_id_list_add_once(list, &oid, BOLE_REMOTE_SHALLOWS_MAX);
	return rc == BOLE_E_LIMIT ? bole_remote_fail(c->r, rc, "too many ends of history") : rc;
}

/* Such lines up to a packet that ends them. */
static enum bole_status read_ends(struct course *c, enum bole_pkt_type end)
{
	uint32_t lines = 0;
	struct bole_pkt pkt;

	for (;;) {
		BOLE_TRY(bole_remote_read(c->r, &pkt));
		BOLE_TRY(too_many(c, &lines));
		if (pkt.type == end)
			break;
		if (pkt.type != BOLE_PKT_DATA)
			return out_of_place(c, &pkt);
		BOLE_TRY(take_end(c, pkt.line));
	}
	for (size_t i = 0; i < c->n->unshallow->count; i++)
		if (bole_id_list_find(c->n->shallow, &c->n->unshallow->ids[i]) != BOLE_OID_NONE)
			return bole_remote_fail(c->r, BOLE_E_INVALID,
			                        "the server ends history where it goes on");
	return BOLE_OK;
}

static void send_commons(struct course *c)
{
	for (size_t i = 0; i < c->n->common.count; i++)
		send_id(c, "have ", &c->n->common.ids[i]);
}

/* "ACK <id>[ common| ready| continue]"; only ids that were named. */
static enum bole_status take_ack(struct course *c, struct bole_bytes line, bool *final)
{
	struct bole_bytes rest;
	struct bole_bytes id;
	struct bole_bytes word = {NULL, 0};
	struct bole_oid oid;
	char shown[80];
	bool fresh = false;
	enum bole_status rc = BOLE_E_INVALID;

	if (bole_pkt_word(line, "ACK", &rest) && bole_caps_next(&rest, &id) &&
	    bole_oid_parse((const char *)id.ptr, id.len, c->r->algo, &oid) == BOLE_OK)
		rc = bole_skipper_common(c->n->skipper, &oid, &fresh);
	if (rc == BOLE_E_INVALID)
		return bole_remote_fail(c->r, rc,
		                        "the server acknowledges what was not named: '%s'",
		                        bole_printable(shown, sizeof shown, line));
	BOLE_TRY(rc);
	*final = !bole_caps_next(&rest, &word);
	if (bole_pkt_is(word, "ready"))
		c->ready = true;
	BOLE_TRY(bole_id_list_add_once(&c->n->common, &oid, BOLE_HAVES_MAX));
	if (fresh)
		c->in_vain = 0;
	c->any_common = true;
	return BOLE_OK;
}

/* -- Version 2 -- */

static void send_v2_head(struct course *c)
{
	struct bole_remote *r = c->r;

	bole_remote_command(r, "fetch");
	if (c->n->thin)
		bole_pkt_text(&r->out, "thin-pack\n");
	if (c->n->include_tag)
		bole_pkt_text(&r->out, "include-tag\n");
	bole_pkt_text(&r->out, "ofs-delta\n");
	if (r->options->remote_text == NULL)
		bole_pkt_text(&r->out, "no-progress\n");
	for (size_t i = 0; i < c->n->wants->count; i++)
		send_id(c, "want ", &c->n->wants->ids[i]);
	bole_wanted_send(r);
	bole_uris_send(r);
	send_deepen(c);
	if (c->n->filter != NULL) {
		struct bole_pkt_line line;

		bole_pkt_line_init(&line);
		bole_pkt_line_text(&line, "filter ");
		bole_pkt_line_text(&line, c->n->filter);
		bole_pkt_line_text(&line, "\n");
		bole_pkt_line_write(&line, &r->out);
	}
	send_commons(c);
}

/* The acknowledgments, up to the delimiter or the flush. */
static enum bole_status read_v2_acks(struct course *c)
{
	uint32_t lines = 0;
	struct bole_pkt pkt;
	bool final;

	for (;;) {
		BOLE_TRY(bole_remote_read(c->r, &pkt));
		BOLE_TRY(too_many(c, &lines));
		if (pkt.type == BOLE_PKT_FLUSH)
			return c->ready ? out_of_place(c, &pkt) : BOLE_OK;
		if (pkt.type == BOLE_PKT_DELIM)
			return c->ready ? BOLE_OK : out_of_place(c, &pkt);
		if (pkt.type != BOLE_PKT_DATA)
			return out_of_place(c, &pkt);
		if (bole_pkt_is(pkt.line, "ready"))
			c->ready = true;
		else if (!bole_pkt_is(pkt.line, "NAK"))
			BOLE_TRY(take_ack(c, pkt.line, &final));
	}
}

/* Sections up to the pack's. BOLE_AGAIN: there is no pack in this answer. */
static enum bole_status read_v2(struct course *c)
{
	struct bole_pkt pkt;

	BOLE_TRY(bole_remote_read(c->r, &pkt));
	if (pkt.type == BOLE_PKT_DATA && bole_pkt_is(pkt.line, "acknowledgments")) {
		BOLE_TRY(read_v2_acks(c));
		if (!c->ready)
			return BOLE_AGAIN;
		BOLE_TRY(bole_remote_read(c->r, &pkt));
	}
	if (pkt.type == BOLE_PKT_DATA && bole_pkt_is(pkt.line, "shallow-info")) {
		BOLE_TRY(read_ends(c, BOLE_PKT_DELIM));
		BOLE_TRY(bole_remote_read(c->r, &pkt));
	}
	if (pkt.type == BOLE_PKT_DATA && bole_pkt_is(pkt.line, "wanted-refs")) {
		BOLE_TRY(bole_wanted_read(c->r));
		BOLE_TRY(bole_remote_read(c->r, &pkt));
	}
	if (pkt.type == BOLE_PKT_DATA && bole_pkt_is(pkt.line, "packfile-uris")) {
		BOLE_TRY(bole_uris_read(c->r));
		BOLE_TRY(bole_remote_read(c->r, &pkt));
	}
	if (pkt.type != BOLE_PKT_DATA || !bole_pkt_is(pkt.line, "packfile"))
		return out_of_place(c, &pkt);
	BOLE_TRY(bole_wanted_check(c->r));
	c->n->band = true;
	c->r->banded = false; /* the pack's reader takes the bands off */
	return BOLE_OK;
}

static enum bole_status run_v2(struct course *c)
{
	for (;;) {
		c->n->rounds++;
		BOLE_TRY(bole_remote_request(c->r));
		send_v2_head(c);
		BOLE_TRY(send_haves(c));
		bool done = c->exhausted;
		if (done)
			bole_pkt_text(&c->r->out, "done\n");
		bole_pkt_flush(&c->r->out);
		BOLE_TRY(bole_remote_answer(c->r));
		enum bole_status rc = read_v2(c);
		if (rc != BOLE_AGAIN)
			return rc;
		if (done)
			return bole_remote_fail(c->r, BOLE_E_INVALID,
			                        "the server sends no pack although it was asked");
	}
}

/* -- Versions 0 and 1 -- */

/* The pack may follow the word that enough is known: one request less. */
static bool no_done(const struct course *c)
{
	return c->r->caps.no_done && c->r->caps.multi_ack_detailed && c->r->transport->stateless;
}

static void send_v0_head(struct course *c)
{
	const struct bole_remote_caps *caps = &c->r->caps;
	struct bole_output *out = &c->r->out;
	struct bole_pkt_line line;

	for (size_t i = 0; i < c->n->wants->count; i++) {
		bole_pkt_line_init(&line);
		bole_pkt_line_text(&line, "want ");
		bole_pkt_line_oid(&line, &c->n->wants->ids[i]);
		if (i == 0) {
			bole_pkt_line_text(&line, caps->multi_ack_detailed ? " multi_ack_detailed"
			                          : caps->multi_ack        ? " multi_ack"
			                                                   : "");
			bole_pkt_line_text(&line, caps->side_band_64k ? " side-band-64k"
			                          : caps->side_band   ? " side-band"
			                                              : "");
			if (c->n->thin && caps->thin_pack)
				bole_pkt_line_text(&line, " thin-pack");
			if (caps->ofs_delta)
				bole_pkt_line_text(&line, " ofs-delta");
			if (c->n->include_tag && caps->include_tag)
				bole_pkt_line_text(&line, " include-tag");
			if (no_done(c))
				bole_pkt_line_text(&line, " no-done");
			if (c->n->deepen != NULL && c->n->deepen->deepen > 0)
				bole_pkt_line_text(&line, " deepen-relative");
			if (caps->no_progress && c->r->options->remote_text == NULL)
				bole_pkt_line_text(&line, " no-progress");
			if (caps->object_format)
				bole_pkt_line_text(&line, c->r->algo == BOLE_HASH_SHA256
				                                  ? " object-format=sha256"
				                                  : " object-format=sha1");
			if (caps->agent)
				bole_pkt_line_text(&line, " agent=" BOLE_GIT_AGENT);
		}
		bole_pkt_line_text(&line, "\n");
		bole_pkt_line_write(&line, out);
	}
	send_deepen(c);
	bole_pkt_flush(out);
}

/* Who was asked to deepen says first what becomes of the ends: once, or in every answer. */
static enum bole_status answer_v0(struct course *c)
{
	BOLE_TRY(bole_remote_answer(c->r));
	return c->n->deepen != NULL && c->r->transport->stateless ? read_ends(c, BOLE_PKT_FLUSH)
	                                                          : BOLE_OK;
}

/* Stateless: every request tells all. */
static enum bole_status begin_v0(struct course *c, bool first)
{
	if (!first && !c->r->transport->stateless)
		return bole_remote_request(c->r);
	BOLE_TRY(bole_remote_request(c->r));
	send_v0_head(c);
	if (!first)
		send_commons(c);
	if (!first || c->n->deepen == NULL || c->r->transport->stateless)
		return BOLE_OK;
	BOLE_TRY(bole_remote_answer(c->r));
	BOLE_TRY(read_ends(c, BOLE_PKT_FLUSH));
	return bole_remote_request(c->r);
}

/* The answer to a flush: acknowledgments up to NAK; the plain form says one thing only. */
static enum bole_status read_v0_acks(struct course *c)
{
	uint32_t lines = 0;
	struct bole_pkt pkt;
	bool final = false;

	for (;;) {
		BOLE_TRY(bole_remote_read(c->r, &pkt));
		BOLE_TRY(too_many(c, &lines));
		if (pkt.type != BOLE_PKT_DATA)
			return out_of_place(c, &pkt);
		if (bole_pkt_is(pkt.line, "NAK"))
			return BOLE_OK;
		BOLE_TRY(take_ack(c, pkt.line, &final));
		if (c->plain)
			c->ready = true;
		if (final)
			return c->plain ? BOLE_OK : out_of_place(c, &pkt);
	}
}

/* The answer to "done": the last acknowledgment, or NAK; then the pack. A stateless server repeats
 * itself first. */
static enum bole_status read_v0_last(struct course *c)
{
	uint32_t lines = 0;
	struct bole_pkt pkt;
	bool final = false;

	if (c->plain && c->ready && !c->r->transport->stateless)
		return BOLE_OK; /* it was said before */
	while (!final) {
		BOLE_TRY(bole_remote_read(c->r, &pkt));
		BOLE_TRY(too_many(c, &lines));
		if (pkt.type != BOLE_PKT_DATA)
			return out_of_place(c, &pkt);
		if (bole_pkt_is(pkt.line, "NAK"))
			return BOLE_OK;
		BOLE_TRY(take_ack(c, pkt.line, &final));
	}
	return BOLE_OK;
}

static enum bole_status run_v0(struct course *c)
{
	bool first = true;

	c->plain = !c->r->caps.multi_ack && !c->r->caps.multi_ack_detailed;
	while (!c->exhausted && !c->ready) {
		BOLE_TRY(begin_v0(c, first));
		BOLE_TRY(send_haves(c));
		if (c->exhausted)
			break; /* "done" goes along with the last of them */
		first = false;
		c->n->rounds++;
		bole_pkt_flush(&c->r->out);
		BOLE_TRY(answer_v0(c));
		BOLE_TRY(read_v0_acks(c));
	}
	if (c->exhausted || !no_done(c)) {
		if (!c->exhausted)
			BOLE_TRY(begin_v0(c, first));
		c->n->rounds++;
		bole_pkt_text(&c->r->out, "done\n");
		BOLE_TRY(answer_v0(c));
	}
	c->n->band = c->r->caps.side_band || c->r->caps.side_band_64k;
	return read_v0_last(c);
}

enum bole_status bole_negotiate(struct bole_negotiation *n)
{
	struct course c = {.n = n, .r = n->remote, .batch = HAVES_FIRST};

	bole_id_list_init(&n->common, n->remote->platform, n->remote->alloc, n->remote->algo);
	enum bole_status rc = n->remote->version == 2 ? run_v2(&c) : run_v0(&c);
	bole_id_list_release(&n->common);
	if (rc < 0)
		(void)bole_remote_fail(n->remote, rc, "the negotiation failed: %s",
		                       bole_status_text(rc));
	return rc;
}
