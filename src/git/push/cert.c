/* SPDX-License-Identifier: ISC */
/* Signed pushes (gitprotocol-pack(5), "Push Certificate"). The nonce proves that the certificate
 * was made for this server, this repository and this time: a keyed hash of both, so that nothing
 * has to be remembered between the advertisement and the push of a stateless transport. Whether the
 * signature is good is for the embedding program to say: keys are its affair. */
#include <inttypes.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hmac.h"
#include "base/secret.h"
#include "git/object/write.h"
#include "git/push/push.h"

enum { CERT_DEFLATE_LEVEL = 6, SECONDS_DIGITS_MAX = 18 };

static void nonce_at(const struct bole_push *p, int64_t seconds, char out[BOLE_NONCE_BYTES_MAX])
{
	char text[BOLE_REPO_NAME_MAX + 32];
	char hex[BOLE_OID_HEX_MAX + 1];
	struct bole_oid mac;

	int len = snprintf(text, sizeof text, "%s:%" PRId64, p->s->svc->repo.name, seconds);
	bole_hmac_sha256(bole_bytes_z(p->policy->cert_seed), bole_bytes_of(text, (size_t)len),
	                 &mac);
	snprintf(out, BOLE_NONCE_BYTES_MAX, "%" PRId64 "-%s", seconds, bole_oid_format(&mac, hex));
}

void bole_push_nonce(struct bole_push *p)
{
	struct bole_platform *platform = p->s->svc->platform;
	int64_t now;

	if (p->policy->cert_seed != NULL && platform->ops->wall_s(platform, &now) == BOLE_OK)
		nonce_at(p, now, p->nonce);
}

/* -- Reading it -- */

static bool line_next(struct bole_bytes *rest, struct bole_bytes *line)
{
	const uint8_t *end = rest->len == 0 ? NULL : memchr(rest->ptr, '\n', rest->len);

	if (end == NULL)
		return false;
	*line = bole_bytes_of(rest->ptr, (size_t)(end - rest->ptr));
	*rest = bole_bytes_of(end + 1, rest->len - line->len - 1);
	return true;
}

/* A line that begins a signature, of whatever kind Git makes. */
static bool begins_signature(struct bole_bytes line)
{
	static const char *const begins[] = {
	        "-----BEGIN PGP SIGNATURE-----",
	        "-----BEGIN PGP MESSAGE-----",
	        "-----BEGIN SIGNED MESSAGE-----",
	        "-----BEGIN SSH SIGNATURE-----",
	};

	for (size_t i = 0; i < sizeof begins / sizeof begins[0]; i++)
		if (bole_bytes_start(line, bole_bytes_z(begins[i])))
			return true;
	return false;
}

static void take_header(struct bole_push_cert *cert, struct bole_bytes line)
{
	struct bole_bytes value;

	if (bole_pkt_word(line, "pusher", &value))
		cert->pusher = value;
	else if (bole_pkt_word(line, "pushee", &value))
		cert->pushee = value;
	else if (bole_pkt_word(line, "nonce", &value))
		cert->nonce = value;
}

/* Headers up to an empty line, commands, a signature. */
static enum bole_status parse(struct bole_push *p)
{
	struct bole_push_cert *cert = &p->cert;
	struct bole_bytes whole = bole_bytes_of(p->cert_text.ptr, p->cert_text.len);
	struct bole_bytes rest = whole;
	struct bole_bytes line;
	bool headers = true;

	cert->text = whole;
	if (!line_next(&rest, &line) || !bole_pkt_is(line, "certificate version 0.1"))
		return bole_session_refuse(p->s, BOLE_E_UNSUPPORTED,
		                           "receive-pack: this is no certificate of version 0.1");
	while (line_next(&rest, &line)) {
		if (begins_signature(line)) {
			size_t at = (size_t)(line.ptr - whole.ptr);
			cert->text.len = at;
			cert->signature = bole_bytes_of(line.ptr, whole.len - at);
			break;
		}
		if (headers && line.len > 0)
			take_header(cert, line);
		else if (headers)
			headers = false;
		else
			BOLE_TRY(bole_push_take_command(p, line));
	}
	if (headers || cert->signature.len == 0)
		return bole_session_refuse(p->s, BOLE_E_INVALID,
		                           "receive-pack: the certificate has no commands, or no "
		                           "signature");
	return BOLE_OK;
}

enum bole_status bole_push_read_cert(struct bole_push *p)
{
	struct bole_buffer *text = &p->cert_text;

	p->signed_push = true;
	for (;;) {
		struct bole_pkt pkt;
		enum bole_status rc = bole_session_read(p->s, &pkt);

		if (rc == BOLE_END)
			return BOLE_E_CLOSED;
		BOLE_TRY(rc);
		if (pkt.type != BOLE_PKT_DATA)
			return bole_session_refuse(p->s, BOLE_E_INVALID,
			                           "receive-pack: the certificate is incomplete");
		if (bole_pkt_is(pkt.line, "push-cert-end"))
			break;
		bole_buffer_append(text, pkt.data.ptr, pkt.data.len);
		if (text->rc != BOLE_OK)
			return bole_session_refuse(p->s, text->rc,
			                           "receive-pack: the certificate is longer than "
			                           "%d bytes",
			                           (int)BOLE_PUSH_CERT_BYTES_MAX);
	}
	return parse(p);
}

/* -- Judging it -- */

static bool nonce_seconds(struct bole_bytes nonce, int64_t *out)
{
	int64_t value = 0;
	size_t i = 0;

	for (; i < nonce.len && nonce.ptr[i] >= '0' && nonce.ptr[i] <= '9'; i++) {
		if (i == SECONDS_DIGITS_MAX)
			return false;
		value = value * 10 + (nonce.ptr[i] - '0');
	}
	*out = value;
	return i > 0 && i < nonce.len && nonce.ptr[i] == '-';
}

static enum bole_cert_nonce judge_nonce(struct bole_push *p)
{
	struct bole_platform *platform = p->s->svc->platform;
	struct bole_bytes nonce = p->cert.nonce;
	char expected[BOLE_NONCE_BYTES_MAX];
	int64_t made;
	int64_t now;

	if (nonce.len == 0)
		return BOLE_NONCE_MISSING;
	if (!p->s->svc->stateless) {
		if (p->nonce[0] == '\0')
			return BOLE_NONCE_UNSOLICITED;
		return bole_secret_equal(nonce, bole_bytes_z(p->nonce)) ? BOLE_NONCE_OK
		                                                        : BOLE_NONCE_BAD;
	}
	if (!nonce_seconds(nonce, &made) || platform->ops->wall_s(platform, &now) != BOLE_OK)
		return BOLE_NONCE_BAD;
	nonce_at(p, made, expected);
	if (!bole_secret_equal(nonce, bole_bytes_z(expected)))
		return BOLE_NONCE_BAD;
	p->cert.slop_s = now - made;
	return p->cert.slop_s >= -(int64_t)p->policy->cert_slop_s &&
	                       p->cert.slop_s <= (int64_t)p->policy->cert_slop_s
	               ? BOLE_NONCE_OK
	               : BOLE_NONCE_SLOP;
}

/* The options are in the headers of the certificate too, in the same order. */
static bool options_agree(const struct bole_push *p)
{
	struct bole_bytes rest = p->cert.text;
	struct bole_bytes line;
	struct bole_bytes value;
	size_t i = 0;

	while (line_next(&rest, &line) && line.len > 0) {
		if (!bole_pkt_word(line, "push-option", &value))
			continue;
		if (i == p->option_count || !bole_bytes_equal(value, p->options[i++]))
			return false;
	}
	return i == p->option_count;
}

enum bole_status bole_push_check_cert(struct bole_push *p)
{
	if (!options_agree(p))
		return bole_session_refuse(p->s, BOLE_E_INVALID,
		                           "receive-pack: inconsistent push options");
	p->cert.nonce_state = judge_nonce(p);
	return BOLE_OK;
}

enum bole_status bole_push_keep_cert(struct bole_push *p)
{
	struct bole_service *svc = p->s->svc;
	const struct bole_hooks *hooks = p->policy->hooks;
	struct bole_object_writer *writer;

	BOLE_TRY(bole_object_writer_open(p->tx, svc->alloc, CERT_DEFLATE_LEVEL, &writer));
	enum bole_status rc =
	        bole_object_write(writer, BOLE_OBJECT_BLOB,
	                          bole_bytes_of(p->cert_text.ptr, p->cert_text.len), &p->cert.oid);
	bole_object_writer_close(writer);
	if (rc == BOLE_OK && hooks != NULL && hooks->verify_cert != NULL)
		hooks->verify_cert(hooks->ctx, &p->cert);
	return rc;
}
