/* SPDX-License-Identifier: ISC */
/* Proxies, named as curl names them: "[http://][user:password@]host[:port]". Plain HTTP asks the
 * proxy with the whole URL, TLS goes through a tunnel (CONNECT, RFC 9110 section 9.3.6). */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/service/service_impl.h"
#include "node/client/client.h"

enum { PROXY_PORT = 1080 }; /* as curl has it */

void bole_client_base64(const char *src, char *dst)
{
	static const char digits[] =
	        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t len = strlen(src);
	size_t n = 0;

	for (size_t i = 0; i < len; i += 3) {
		uint32_t v = (uint32_t)(uint8_t)src[i] << 16;

		v |= i + 1 < len ? (uint32_t)(uint8_t)src[i + 1] << 8 : 0;
		v |= i + 2 < len ? (uint32_t)(uint8_t)src[i + 2] : 0;
		dst[n++] = digits[v >> 18 & 63];
		dst[n++] = digits[v >> 12 & 63];
		dst[n++] = i + 1 < len ? digits[v >> 6 & 63] : '=';
		dst[n++] = i + 2 < len ? digits[v & 63] : '=';
	}
	dst[n] = '\0';
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* The host is the entry, or below it. */
static bool fits(const char *host, const char *entry, size_t len)
{
	size_t host_len = strlen(host);

	if (len > 0 && entry[0] == '.') {
		entry++;
		len--;
	}
	if (len > 1 && entry[0] == '[' && entry[len - 1] == ']') {
		entry++;
		len -= 2;
	}
	while (len > 0 && entry[len - 1] == '.')
		len--;
	if (len == 0 || len > host_len)
		return false;
	const char *tail = host + host_len - len;
	for (size_t i = 0; i < len; i++)
		if (lower(tail[i]) != lower(entry[i]))
			return false;
	return len == host_len || tail[-1] == '.';
}

bool bole_client_no_proxy(const char *list, const char *host)
{
	if (list == NULL)
		return false;
	while (*list != '\0') {
		size_t len = strcspn(list, ", \t");

		if ((len == 1 && list[0] == '*') || fits(host, list, len))
			return true;
		list += len;
		list += strspn(list, ", \t");
	}
	return false;
}

enum bole_status bole_client_proxy_parse(const char *text, struct client_url *out, const char **why)
{
	char url[CLIENT_HOST_MAX + CLIENT_AUTH_MAX + 64];
	const char *scheme = strstr(text, "://");
	const char *rest = scheme == NULL ? text : scheme + 3;
	size_t len = strcspn(rest, "/");

	*why = "only http:// proxies are known";
	if (scheme != NULL && ((size_t)(scheme - text) != 4 || strncmp(text, "http", 4) != 0))
		return BOLE_E_UNSUPPORTED;
	*why = "it is no URL of a proxy";
	int n = snprintf(url, sizeof url, "http://%.*s/proxy", (int)len, rest);
	if (n < 0 || (size_t)n >= sizeof url || bole_client_url_parse(url, out, why) != BOLE_OK)
		return BOLE_E_INVALID;
	/* Whether a port was given: behind the host, and that behind the last @. */
	const char *host = rest;
	for (size_t i = 0; i < len; i++)
		if (rest[i] == '@')
			host = rest + i + 1;
	const char *close = memchr(host, ']', (size_t)(rest + len - host));
	host = close == NULL ? host : close;
	if (memchr(host, ':', (size_t)(rest + len - host)) == NULL)
		out->port = PROXY_PORT;
	return BOLE_OK;
}

enum bole_status bole_client_proxy_find(const struct bole_client_options *options,
                                        const struct client_url *url, struct client_url *out,
                                        bool *any, char *why, size_t why_cap)
{
	const char *text = url->scheme == CLIENT_HTTP    ? options->http_proxy
	                   : url->scheme == CLIENT_HTTPS ? options->https_proxy
	                                                 : NULL;
	const char *reason = "";

	*any = text != NULL && text[0] != '\0' &&
	       !bole_client_no_proxy(options->no_proxy, url->host);
	if (!*any)
		return BOLE_OK;
	enum bole_status rc = bole_client_proxy_parse(text, out, &reason);
	if (rc != BOLE_OK)
		snprintf(why, why_cap, "the proxy cannot be used: %s", reason);
	return rc;
}

void bole_client_proxy_field(const struct client_url *proxy, char *dst, size_t cap)
{
	char coded[2 * CLIENT_AUTH_MAX];

	dst[0] = '\0';
	if (proxy->auth[0] == '\0')
		return;
	bole_client_base64(proxy->auth, coded);
	snprintf(dst, cap, "Proxy-Authorization: Basic %s\r\n", coded);
}

/* -- The tunnel -- */

static enum bole_status refused(const struct client_url *proxy, unsigned status, char *why,
                                size_t why_cap)
{
	if (status == 407)
		snprintf(why, why_cap, "the proxy %s wants credentials%s (407)", proxy->host,
		         proxy->auth[0] != '\0' ? ", and not these" : "");
	else
		snprintf(why, why_cap, "the proxy %s makes no way to the server (%u)", proxy->host,
		         status);
	return status == 407 || status == 403 ? BOLE_E_DENIED : BOLE_E_IO;
}

/* Not a byte behind the head: that is the server's, which does not speak first. */
static enum bole_status read_head(struct client_wire *w, uint8_t *head, size_t cap, size_t *len)
{
	size_t scanned = 0;
	size_t got = 0;

	for (*len = 0; bole_http_head_end(bole_bytes_of(head, *len), &scanned) == 0; *len += got) {
		if (*len == cap)
			return BOLE_E_LIMIT;
		enum bole_status rc = bole_client_wire_read(w, head + *len, 1, &got);
		if (rc != BOLE_OK)
			return rc == BOLE_END ? BOLE_E_CLOSED : rc;
	}
	return BOLE_OK;
}

enum bole_status bole_client_proxy_tunnel(struct client_wire *w, const struct client_url *proxy,
                                          const struct client_url *url, char *why, size_t why_cap)
{
	char request[CLIENT_HOST_MAX * 2 + CLIENT_AUTH_MAX * 2 + 300];
	char field[2 * CLIENT_AUTH_MAX + 40];
	uint8_t head[CLIENT_PROXY_HEAD_MAX];
	struct client_answer answer;
	const char *reason = "";
	bool v6 = strchr(url->host, ':') != NULL;
	size_t len;

	bole_client_proxy_field(proxy, field, sizeof field);
	int n = snprintf(request, sizeof request,
	                 "CONNECT %s%s%s:%u HTTP/1.1\r\nHost: %s%s%s:%u\r\nUser-Agent: "
	                 "git/" BOLE_GIT_AGENT "\r\n%s\r\n",
	                 v6 ? "[" : "", url->host, v6 ? "]" : "", (unsigned)url->port,
	                 v6 ? "[" : "", url->host, v6 ? "]" : "", (unsigned)url->port, field);
	struct bole_bytes piece = bole_bytes_of(request, (size_t)n);
	enum bole_status rc = bole_client_wire_write(w, &piece, 1);
	if (rc == BOLE_OK)
		rc = read_head(w, head, sizeof head, &len);
	if (rc == BOLE_OK)
		rc = bole_client_answer_parse(bole_bytes_of(head, len), &answer, &reason);
	if (rc != BOLE_OK) {
		snprintf(why, why_cap, "the proxy %s: %s", proxy->host,
		         reason[0] != '\0' ? reason : bole_client_wire_text(rc));
		return rc;
	}
	return answer.status / 100 == 2 ? BOLE_OK : refused(proxy, answer.status, why, why_cap);
}
