/* SPDX-License-Identifier: ISC */
/* Smart HTTP (gitprotocol-http(5)). Only the first request follows redirects, as git does; to what
 * it was led the later ones go. Credentials go to the URL's own origin and nowhere else. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/deflate.h"
#include "git/service/service_impl.h"
#include "node/client/client.h"

enum {
	CHUNK_HEAD = 20,
	AUTH_LINE = 2 * CLIENT_AUTH_MAX,
	PACKED_MIN = 1024, /* of a body that is worth it, as git thinks */
	PACKED_LEVEL = 6,
	ZLIB_HEAD = 2,
	ZLIB_TAIL = 4,
};

static struct client_http *http_of(struct bole_transport *transport)
{
	return (struct client_http *)(void *)transport;
}

enum bole_status bole_client_http_fail(struct client_http *h, enum bole_status rc,
                                       const char *format, ...)
{
	va_list args;

	if (h->transport.why[0] == '\0') {
		va_start(args, format);
		vsnprintf(h->transport.why, sizeof h->transport.why, format, args);
		va_end(args);
	}
	return rc;
}

static enum bole_status send(struct client_http *h, const struct bole_bytes *pieces, size_t count)
{
	enum bole_status rc =
	        h->broken ? BOLE_E_CLOSED : bole_client_wire_write(&h->wire, pieces, count);

	h->broken = rc != BOLE_OK;
	return rc;
}

/* -- Credentials -- */

/* A whole field, or nothing. */
static void authorization(const struct client_http *h, char *dst, size_t cap)
{
	char coded[AUTH_LINE];
	const char *auth = h->options->credentials;

	dst[0] = '\0';
	if (auth == NULL)
		auth = h->first->auth;
	if (auth[0] == '\0' || strlen(auth) > CLIENT_AUTH_MAX ||
	    !bole_client_url_same_origin(h->first, &h->url))
		return;
	if (strncmp(auth, "Bearer ", 7) == 0) {
		snprintf(dst, cap, "Authorization: %s\r\n", auth);
		return;
	}
	bole_client_base64(auth, coded);
	snprintf(dst, cap, "Authorization: Basic %s\r\n", coded);
}

/* -- Requests -- */

static enum bole_status send_head(struct client_http *h, const char *method, const char *tail,
                                  const char *fields)
{
	char host[CLIENT_HOST_MAX + 16];
	char auth[AUTH_LINE + 40];
	char proxy[AUTH_LINE + 40] = "";
	char version[40] = "";
	struct bole_buffer head;

	bole_client_url_host(&h->url, host, sizeof host);
	authorization(h, auth, sizeof auth);
	if (h->version > 0)
		snprintf(version, sizeof version, "Git-Protocol: version=%d\r\n", h->version);
	if (h->wire.proxied)
		bole_client_proxy_field(&h->wire.proxy, proxy, sizeof proxy);
	bole_buffer_init(&head, h->alloc, CLIENT_HEAD_MAX);
	bole_buffer_format(&head,
	                   "%s %s%s%s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: git/" BOLE_GIT_AGENT
	                   "\r\n%s%s%s%s\r\n",
	                   method, h->wire.proxied ? "http://" : "", h->wire.proxied ? host : "",
	                   h->url.path, tail, host, version, proxy, auth, fields);
	struct bole_bytes piece = bole_bytes_of(head.ptr, head.len);
	enum bole_status rc = head.rc != BOLE_OK ? head.rc : send(h, &piece, 1);
	bole_buffer_release(&head);
	return rc;
}

static enum bole_status connect_if_needed(struct client_http *h)
{
	struct bole_stream *stream = h->wire.stream;

	h->transport.why[0] = '\0';
	h->broken = false;
	if (stream != NULL && h->ended && !h->answer.close && h->in_pos == h->in_len &&
	    !stream->ops->hung_up(stream))
		return BOLE_OK;
	h->in_pos = h->in_len = 0;
	return bole_client_wire_open(&h->wire, &h->url, h->transport.why, sizeof h->transport.why);
}

/* -- What the server answered -- */

static enum bole_status refused(struct client_http *h)
{
	const char *host = h->url.host;
	char after[40];

	switch (h->answer.status) {
	case 401:
		return bole_client_http_fail(h, BOLE_E_DENIED, "%s wants credentials%s (401)", host,
		                             h->options->credentials != NULL ||
		                                             h->first->auth[0] != '\0'
		                                     ? ", and not these"
		                                     : "");
	case 403:
		return bole_client_http_fail(h, BOLE_E_DENIED, "%s does not allow it (403)", host);
	case 404:
	case 410:
		return bole_client_http_fail(h, BOLE_E_NOT_FOUND,
		                             "there is no such repository on %s (%u)", host,
		                             h->answer.status);
	case 407:
		return bole_client_http_fail(
		        h, BOLE_E_DENIED, "the proxy %s wants credentials%s (407)",
		        h->wire.proxied ? h->wire.proxy.host : host,
		        h->wire.proxied && h->wire.proxy.auth[0] != '\0' ? ", and not these" : "");
	case 413:
		return bole_client_http_fail(h, BOLE_E_LIMIT, "%s takes no request so long (413)",
		                             host);
	case 429:
	case 503:
		bole_printable(after, sizeof after, h->answer.retry_after);
		return bole_client_http_fail(h, BOLE_E_BUSY, "%s is busy (%u)%s%s", host,
		                             h->answer.status,
		                             after[0] == '\0' ? "" : ", retry after ", after);
	default:
		return bole_client_http_fail(h, BOLE_E_IO, "%s answers %u", host, h->answer.status);
	}
}

static enum bole_status check_type(struct client_http *h, const char *suffix)
{
	char want[80];
	char shown[80];

	if (h->answer.coded)
		return bole_client_http_fail(h, BOLE_E_INVALID,
		                             "the answer is coded in a way that was not asked for");
	snprintf(want, sizeof want, "application/x-%s-%s", h->service, suffix);
	if (bole_http_is(h->answer.type, want))
		return BOLE_OK;
	return bole_client_http_fail(
	        h, BOLE_E_INVALID, "%s is no Git server of smart HTTP: its answer is '%s', not %s",
	        h->url.host, bole_printable(shown, sizeof shown, h->answer.type), want);
}

/* -- Redirects -- */

/* The URL that a redirect of the listing means, without the part that we added. */
enum bole_status bole_client_http_redirect(struct client_http *h, const char *tail,
                                           struct client_url *out)
{
	char text[CLIENT_PATH_MAX + CLIENT_HOST_MAX + 64];
	char base[CLIENT_HOST_MAX + 32];
	struct bole_bytes location = h->answer.location;
	struct client_url origin = h->url;
	const char *why = "it has no target";

	origin.path[0] = '\0';
	bole_client_url_format(&origin, base, sizeof base);
	if (location.len == 0 || location.len + strlen(base) + 1 > sizeof text)
		return bole_client_http_fail(h, BOLE_E_INVALID, "a redirect cannot be followed: %s",
		                             why);
	bool absolute = location.ptr[0] != '/';
	snprintf(text, sizeof text, "%s%.*s", absolute ? "" : base, (int)location.len,
	         (const char *)location.ptr);
	size_t len = strlen(text);
	size_t cut = strlen(tail);
	if (len <= cut || strcmp(text + len - cut, tail) != 0)
		return bole_client_http_fail(h, BOLE_E_INVALID,
		                             "a redirect leads away from the repository");
	text[len - cut] = '\0';
	enum bole_status rc = h->file ? bole_client_url_parse_file(text, out, &why)
	                              : bole_client_url_parse(text, out, &why);
	if (rc != BOLE_OK || out->scheme == CLIENT_GIT || out->auth[0] != '\0')
		return bole_client_http_fail(h, BOLE_E_INVALID, "a redirect cannot be followed: %s",
		                             why);
	if (h->url.scheme == CLIENT_HTTPS && out->scheme != CLIENT_HTTPS)
		return bole_client_http_fail(h, BOLE_E_DENIED,
		                             "a redirect leads from https:// to http://");
	return BOLE_OK;
}

static bool is_redirect(unsigned status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool bole_client_http_redirects(const struct client_http *h)
{
	return is_redirect(h->answer.status);
}

enum bole_status bole_client_http_get(struct client_http *h, const char *tail, const char *fields)
{
	BOLE_TRY(connect_if_needed(h));
	enum bole_status rc = send_head(h, "GET", tail, fields);
	if (rc != BOLE_OK)
		return bole_client_http_fail(h, rc, "%s", bole_client_wire_text(rc));
	h->ended = false;
	return bole_client_http_read_head(h);
}

static enum bole_status http_open(struct bole_transport *self, const char *service, int version,
                                  struct bole_reader **in)
{
	struct client_http *h = http_of(self);
	struct client_url next;
	char tail[80];

	h->url = *h->first;
	h->service = service;
	h->version = version;
	snprintf(tail, sizeof tail, "/info/refs?service=%s", service);
	for (unsigned i = 0;; i++) {
		BOLE_TRY(bole_client_http_get(h, tail, "Accept: */*\r\nPragma: no-cache\r\n"));
		if (!is_redirect(h->answer.status))
			break;
		if (i == CLIENT_REDIRECTS_MAX)
			return bole_client_http_fail(h, BOLE_E_LIMIT, "redirects without end");
		BOLE_TRY(bole_client_http_redirect(h, tail, &next));
		bole_client_wire_close(&h->wire);
		h->url = next;
	}
	if (h->answer.status != 200)
		return refused(h);
	BOLE_TRY(check_type(h, "advertisement"));
	*in = &h->reader;
	return BOLE_OK;
}

static enum bole_status http_read(struct bole_reader *self, void *dst, size_t cap, size_t *got)
{
	struct client_http *h =
	        (struct client_http *)(void *)((uint8_t *)self -
	                                       offsetof(struct client_http, reader));

	return bole_client_http_read_body(h, dst, cap, got);
}

/* -- The body of a request -- */

static enum bole_status post_head(struct client_http *h, const char *length)
{
	char fields[300];
	char tail[40];

	snprintf(tail, sizeof tail, "/%s", h->service);
	snprintf(fields, sizeof fields,
	         "Content-Type: application/x-%s-request\r\nAccept: application/x-%s-result\r\n%s",
	         h->service, h->service, length);
	return send_head(h, "POST", tail, fields);
}

static enum bole_status send_chunk(struct client_http *h, const void *src, size_t len)
{
	char head[CHUNK_HEAD];

	if (len == 0)
		return BOLE_OK;
	int n = snprintf(head, sizeof head, "%zx\r\n", len);
	const struct bole_bytes pieces[] = {bole_bytes_of(head, (size_t)n), bole_bytes_of(src, len),
	                                    bole_bytes_of("\r\n", 2)};
	return send(h, pieces, 3);
}

static enum bole_status start_stream(struct client_http *h)
{
	h->streaming = true;
	enum bole_status rc = post_head(h, "Transfer-Encoding: chunked\r\n");
	if (rc == BOLE_OK)
		rc = send_chunk(h, h->body.ptr, h->body.len);
	bole_buffer_release(&h->body);
	return rc;
}

static enum bole_status http_write(struct bole_writer *self, const void *src, size_t len)
{
	struct client_http *h =
	        (struct client_http *)(void *)((uint8_t *)self -
	                                       offsetof(struct client_http, writer));

	if (!h->streaming && len <= CLIENT_BODY_HELD - h->body.len) {
		bole_buffer_append(&h->body, src, len);
		return h->body.rc;
	}
	if (!h->streaming)
		BOLE_TRY(start_stream(h));
	return send_chunk(h, src, len);
}

static enum bole_status http_flush(struct bole_writer *self)
{
	(void)self;
	return BOLE_OK;
}

static enum bole_status http_request(struct bole_transport *self, struct bole_writer **out)
{
	struct client_http *h = http_of(self);

	BOLE_TRY(connect_if_needed(h));
	bole_buffer_release(&h->body);
	bole_buffer_init(&h->body, h->alloc, CLIENT_BODY_HELD);
	h->streaming = false;
	*out = &h->writer;
	return BOLE_OK;
}

/* As one member of gzip, where that makes it shorter; only what fetches ask: packs do not shrink.
 * *packed has no bytes if it stays as it is. */
static enum bole_status pack_body(struct client_http *h, struct bole_buffer *packed)
{
	static const uint8_t head[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3};
	struct bole_bytes body = bole_bytes_of(h->body.ptr, h->body.len);
	size_t bound = bole_deflate_bound(body.len);
	struct bole_deflater *deflater = NULL;
	uint8_t tail[8];

	bole_buffer_init(packed, h->alloc, 2 * CLIENT_BODY_HELD);
	if (body.len < PACKED_MIN || strcmp(h->service, "git-upload-pack") != 0)
		return BOLE_OK;
	BOLE_TRY(bole_deflater_open(h->alloc, PACKED_LEVEL, &deflater));
	bole_buffer_append(packed, head, sizeof head);
	/* Of zlib's frame only what is within counts; its head makes place for ours. */
	packed->len -= ZLIB_HEAD;
	uint8_t *to = bole_buffer_reserve(packed, bound);
	size_t len = to == NULL ? 0 : bole_deflate_whole(deflater, body, to, bound);
	bole_deflater_close(deflater);
	if (len <= ZLIB_HEAD + ZLIB_TAIL || len + sizeof head >= body.len) {
		packed->len = 0;
		return packed->rc;
	}
	memcpy(packed->ptr, head, sizeof head);
	packed->len += len - ZLIB_TAIL;
	bole_put_le32(tail, bole_crc32(0, body));
	bole_put_le32(tail + 4, (uint32_t)body.len);
	bole_buffer_append(packed, tail, sizeof tail);
	return packed->rc;
}

static enum bole_status finish_body(struct client_http *h)
{
	char length[100];
	struct bole_buffer packed;
	struct bole_bytes last = bole_bytes_z("0\r\n\r\n");
	struct bole_bytes body = bole_bytes_of(h->body.ptr, h->body.len);

	if (h->streaming)
		return send(h, &last, 1);
	enum bole_status rc = pack_body(h, &packed);
	if (rc == BOLE_OK && packed.len > 0)
		body = bole_bytes_of(packed.ptr, packed.len);
	snprintf(length, sizeof length, "%sContent-Length: %zu\r\n",
	         packed.len > 0 ? "Content-Encoding: gzip\r\n" : "", body.len);
	if (rc == BOLE_OK)
		rc = post_head(h, length);
	if (rc == BOLE_OK)
		rc = send(h, &body, 1);
	bole_buffer_release(&packed);
	bole_buffer_release(&h->body);
	return rc;
}

static enum bole_status http_answer(struct bole_transport *self, struct bole_reader **in)
{
	struct client_http *h = http_of(self);

	enum bole_status rc = finish_body(h);
	/* A server that refuses a long request may have hung up on it, after it said why. */
	if (rc != BOLE_OK && rc != BOLE_E_CLOSED)
		return bole_client_http_fail(h, rc, "%s", bole_client_wire_text(rc));
	h->ended = false;
	BOLE_TRY(bole_client_http_read_head(h));
	if (is_redirect(h->answer.status))
		return bole_client_http_fail(h, BOLE_E_INVALID,
		                             "a redirect in the middle of the conversation (%u)",
		                             h->answer.status);
	if (h->answer.status != 200)
		return refused(h);
	BOLE_TRY(check_type(h, "result"));
	if (rc != BOLE_OK)
		return bole_client_http_fail(h, rc, "%s", bole_client_wire_text(rc));
	*in = &h->reader;
	return BOLE_OK;
}

static void http_end(struct bole_transport *self)
{
	struct client_http *h = http_of(self);

	bole_client_wire_close(&h->wire);
	bole_buffer_release(&h->body);
	h->in_pos = h->in_len = 0;
}

void bole_client_http_init(struct client_http *h, struct bole_platform *platform,
                           struct bole_alloc *alloc, const struct client_url *url,
                           const struct bole_client_options *options)
{
	static const struct bole_transport_ops ops = {
	        .open = http_open, .request = http_request, .answer = http_answer, .end = http_end};

	*h = (struct client_http){.transport = {.ops = &ops, .stateless = true},
	                          .reader = {http_read},
	                          .writer = {.write = http_write, .flush = http_flush},
	                          .wire = {.platform = platform, .options = options},
	                          .alloc = alloc,
	                          .options = options,
	                          .first = url,
	                          .url = *url};
	bole_buffer_init(&h->body, alloc, CLIENT_BODY_HELD);
}
