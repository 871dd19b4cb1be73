/* SPDX-License-Identifier: ISC */
/* Files on other servers, named by a server or by the user: bundles, lists of them, packs. A
 * connection that is cut is taken up where it was (RFC 9110, section 14), a few times. Credentials
 * go to the origin of the repository's own URL, or to that of a URL that has them in it. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "node/client/client.h"

static struct client_download *download_of(struct bole_download *d)
{
	return (struct client_download *)(void *)d;
}

static enum bole_status failed(struct client_download *d, enum bole_status rc, const char *why)
{
	snprintf(d->download.why, sizeof d->download.why, "%s",
	         why[0] != '\0' ? why : bole_status_text(rc));
	return rc;
}

/* From the byte at which it is, following redirects. */
static enum bole_status get(struct client_download *d)
{
	char fields[CLIENT_ETAG_MAX + 120] = "Accept: */*\r\n";
	struct client_http *h = &d->http;
	struct client_url next;

	if (d->at > 0)
		snprintf(fields, sizeof fields, "Accept: */*\r\nRange: bytes=%llu-\r\n%s%s%s",
		         (unsigned long long)d->at, d->etag[0] != '\0' ? "If-Range: " : "", d->etag,
		         d->etag[0] != '\0' ? "\r\n" : "");
	for (unsigned i = 0;; i++) {
		BOLE_TRY(bole_client_http_get(h, "", fields));
		if (!bole_client_http_redirects(h))
			return BOLE_OK;
		if (i == CLIENT_REDIRECTS_MAX)
			return bole_client_http_fail(h, BOLE_E_LIMIT, "redirects without end");
		BOLE_TRY(bole_client_http_redirect(h, "", &next));
		bole_client_wire_close(&h->wire);
		h->url = next;
	}
}

/* "bytes <at>-<last>/<total>" with the last byte of all. */
static bool goes_on(const struct client_download *d)
{
	char want[100];
	struct bole_bytes range = d->http.answer.range;

	snprintf(want, sizeof want, "bytes %llu-%llu/%llu", (unsigned long long)d->at,
	         (unsigned long long)d->total - 1, (unsigned long long)d->total);
	return d->http.answer.status == 206 && bole_bytes_equal(range, bole_bytes_z(want));
}

/* The rest, after a cut. rc: of the cut. */
static enum bole_status resume(struct client_download *d, enum bole_status rc)
{
	while (d->tries < CLIENT_RESUMES_MAX && d->total > d->at &&
	       (rc == BOLE_E_CLOSED || rc == BOLE_E_TIMEOUT || rc == BOLE_E_IO)) {
		d->tries++;
		bole_client_wire_close(&d->http.wire);
		d->http.transport.why[0] = '\0';
		rc = get(d);
		if (rc != BOLE_OK)
			continue;
		return goes_on(d) && !d->http.answer.coded
		               ? BOLE_OK
		               : bole_client_http_fail(&d->http, BOLE_E_IO,
		                                       "it was cut, and does not go on there");
	}
	return rc;
}

static enum bole_status download_read(struct bole_reader *self, void *dst, size_t cap, size_t *got)
{
	struct client_download *d =
	        (struct client_download *)(void *)((uint8_t *)self -
	                                           offsetof(struct client_download, reader));

	*got = 0;
	while (d->rc == BOLE_OK) {
		d->rc = bole_client_http_read_body(&d->http, dst, cap, got);
		if (d->rc == BOLE_OK) {
			d->at += *got;
			return BOLE_OK;
		}
		if (d->rc < 0) {
			d->rc = resume(d, d->rc);
			if (d->rc < 0)
				(void)failed(d, d->rc, d->http.transport.why);
		}
	}
	return d->rc;
}

static enum bole_status check_answer(struct client_download *d)
{
	struct client_http *h = &d->http;
	const struct client_answer *answer = &h->answer;

	if (answer->status != 200)
		return bole_client_http_fail(h,
		                             answer->status == 404 || answer->status == 410
		                                     ? BOLE_E_NOT_FOUND
		                                     : BOLE_E_IO,
		                             "%s answers %u", h->url.host, answer->status);
	if (answer->coded)
		return bole_client_http_fail(h, BOLE_E_INVALID, "it is coded");
	d->total = answer->has_length ? answer->length : 0;
	/* A weak one says nothing of bytes. */
	if (answer->etag.len > 0 && answer->etag.len < sizeof d->etag && answer->etag.ptr[0] == '"')
		snprintf(d->etag, sizeof d->etag, "%.*s", (int)answer->etag.len,
		         (const char *)answer->etag.ptr);
	return BOLE_OK;
}

static enum bole_status choose_url(struct client_download *d, const char *text, unsigned flags,
                                   struct client_url *url)
{
	const char *why = "";

	enum bole_status rc = bole_client_url_parse_file(text, url, &why);
	if (rc == BOLE_OK && url->scheme == CLIENT_GIT)
		rc = BOLE_E_UNSUPPORTED;
	if (rc != BOLE_OK)
		return failed(d, rc, why[0] != '\0' ? why : "only http:// and https:// are known");
	if ((flags & BOLE_DOWNLOAD_GIVEN) == 0 && url->auth[0] != '\0')
		return failed(d, BOLE_E_DENIED, "its URL has a password in it");
	if ((flags & BOLE_DOWNLOAD_SECURE) != 0 && url->scheme != CLIENT_HTTPS)
		return failed(d, BOLE_E_DENIED, "it leads from https:// to http://");
	return BOLE_OK;
}

static enum bole_status download_open(struct bole_download *self, const char *text, unsigned flags,
                                      struct bole_reader **in)
{
	struct client_download *d = download_of(self);
	struct client_url url;

	self->ops->close(self);
	self->why[0] = '\0';
	BOLE_TRY(choose_url(d, text, flags, &url));
	d->options = *d->of_repository;
	d->first = url;
	if (url.auth[0] == '\0' && bole_client_url_same_origin(&url, d->repository))
		d->first = *d->repository;
	else
		d->options.credentials = NULL;
	bole_client_http_init(&d->http, d->platform, d->alloc, &d->first, &d->options);
	d->http.url = url;
	d->http.file = true;
	d->at = d->total = d->tries = 0;
	d->etag[0] = '\0';
	d->rc = get(d);
	if (d->rc == BOLE_OK)
		d->rc = check_answer(d);
	if (d->rc != BOLE_OK)
		return failed(d, d->rc, d->http.transport.why);
	*in = &d->reader;
	return BOLE_OK;
}

static void download_close(struct bole_download *self)
{
	struct client_download *d = download_of(self);

	if (d->http.transport.ops != NULL)
		d->http.transport.ops->end(&d->http.transport);
}

static bool download_secure(struct bole_download *self)
{
	return download_of(self)->repository->scheme == CLIENT_HTTPS;
}

void bole_client_download_init(struct client_download *d, struct bole_platform *platform,
                               struct bole_alloc *alloc, const struct client_url *repository,
                               const struct bole_client_options *options)
{
	static const struct bole_download_ops ops = {
	        .open = download_open, .close = download_close, .secure = download_secure};

	*d = (struct client_download){.download = {.ops = &ops},
	                              .reader = {download_read},
	                              .platform = platform,
	                              .alloc = alloc,
	                              .of_repository = options,
	                              .repository = repository};
}
