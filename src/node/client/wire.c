/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "node/client/client.h"

#define CONNECT_NS (UINT64_C(30) * 1000000000)
#define SILENCE_NS (UINT64_C(300) * 1000000000)

const char *bole_client_wire_text(enum bole_status rc)
{
	if (rc == BOLE_E_TIMEOUT)
		return "the server is silent for too long";
	if (rc == BOLE_E_CLOSED || rc == BOLE_END)
		return "the server hung up";
	return bole_status_text(rc);
}

static uint64_t deadline(const struct client_wire *w, uint64_t asked, uint64_t usual)
{
	uint64_t now = w->platform->ops->now_ns(w->platform);
	uint64_t span = asked == 0 ? usual : asked;

	return span < BOLE_NEVER - now ? now + span : BOLE_NEVER;
}

static enum bole_status connect_to(struct client_wire *w, const struct client_url *url, char *why,
                                   size_t why_cap)
{
	char address[CLIENT_HOST_MAX + 16];
	struct bole_platform *platform = w->platform;
	bool v6 = strchr(url->host, ':') != NULL;

	snprintf(address, sizeof address, "%s%s%s:%u", v6 ? "[" : "", url->host, v6 ? "]" : "",
	         (unsigned)url->port);
	enum bole_status rc = platform->ops->connect(
	        platform, address, deadline(w, w->options->connect_ns_max, CONNECT_NS), &w->stream);
	if (rc == BOLE_OK)
		return rc;
	w->stream = NULL;
	snprintf(why, why_cap, "%s%s cannot be reached: %s", url == &w->proxy ? "the proxy " : "",
	         address,
	         rc == BOLE_E_INVALID ? "no such host"
	         : rc == BOLE_E_IO    ? "nobody listens there, or no way leads there"
	                              : bole_status_text(rc));
	return rc == BOLE_E_INVALID ? BOLE_E_IO : rc;
}

enum bole_status bole_client_wire_open(struct client_wire *w, const struct client_url *url,
                                       char *why, size_t why_cap)
{
	bool proxy;

	bole_client_wire_close(w);
	if (url->scheme == CLIENT_HTTPS && w->options->secure == NULL) {
		snprintf(why, why_cap, "https:// needs TLS, which this build does not have");
		return BOLE_E_UNSUPPORTED;
	}
	if (w->platform->ops->connect == NULL) {
		snprintf(why, why_cap, "there is no network");
		return BOLE_E_UNSUPPORTED;
	}
	BOLE_TRY(bole_client_proxy_find(w->options, url, &w->proxy, &proxy, why, why_cap));
	w->proxied = proxy && url->scheme == CLIENT_HTTP;
	BOLE_TRY(connect_to(w, proxy ? &w->proxy : url, why, why_cap));
	if (url->scheme != CLIENT_HTTPS)
		return BOLE_OK;
	if (proxy) {
		enum bole_status rc = bole_client_proxy_tunnel(w, &w->proxy, url, why, why_cap);
		if (rc != BOLE_OK) {
			bole_client_wire_close(w);
			return rc;
		}
	}
	uint64_t until = deadline(w, w->options->connect_ns_max, CONNECT_NS);
	w->stream->ops->set_deadline(w->stream, until, until);
	struct bole_stream *plain = w->stream;
	w->stream = NULL;
	return w->options->secure(w->options->secure_ctx, plain, url->host, &w->stream, why,
	                          why_cap);
}

void bole_client_wire_close(struct client_wire *w)
{
	if (w->stream != NULL)
		w->stream->ops->close(w->stream);
	w->stream = NULL;
}

enum bole_status bole_client_wire_read(struct client_wire *w, void *dst, size_t cap, size_t *got)
{
	uint64_t until = deadline(w, w->options->silence_ns_max, SILENCE_NS);

	*got = 0;
	if (w->stream == NULL)
		return BOLE_E_CLOSED;
	w->stream->ops->set_deadline(w->stream, until, until);
	return w->stream->ops->read(w->stream, dst, cap, got);
}

enum bole_status bole_client_wire_write(struct client_wire *w, const struct bole_bytes *pieces,
                                        size_t count)
{
	uint64_t until = deadline(w, w->options->silence_ns_max, SILENCE_NS);

	if (w->stream == NULL)
		return BOLE_E_CLOSED;
	w->stream->ops->set_deadline(w->stream, until, until);
	return w->stream->ops->writev(w->stream, pieces, count);
}
