/* SPDX-License-Identifier: ISC */
/* scheme://[user[:password]@]host[:port]/path (RFC 3986, what Git takes of it). */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "node/client/client.h"

static const struct {
	const char *prefix;
	enum client_scheme scheme;
	uint16_t port;
} schemes[] = {{"git://", CLIENT_GIT, 9418},
               {"http://", CLIENT_HTTP, 80},
               {"https://", CLIENT_HTTPS, 443}};

enum {
	SCHEMES = sizeof schemes / sizeof schemes[0],
	CODED_BYTES = 3, /* %xx */
};

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes %xx; no control byte may come of it. */
static bool decode(const char *src, size_t len, char *dst, size_t cap)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)src[i];

		if (c == '%') {
			if (len - i < 3 || hex_value(src[i + 1]) < 0 || hex_value(src[i + 2]) < 0)
				return false;
			c = (unsigned char)(hex_value(src[i + 1]) << 4 | hex_value(src[i + 2]));
			i += 2;
		}
		if (c < 0x20 || c == 0x7f || n + 1 >= cap)
			return false;
		dst[n++] = (char)c;
	}
	dst[n] = '\0';
	return true;
}

static bool host_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c == '-' || c == '.' || c == '_';
}

static bool parse_port(const char *text, size_t len, uint16_t *out)
{
	unsigned value = 0;

	if (len == 0 || len > 5)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (unsigned)(text[i] - '0');
	}
	*out = (uint16_t)value;
	return value > 0 && value <= 65535;
}

/* "host", "host:port", "[v6]", "[v6]:port" */
static bool parse_host(const char *text, size_t len, struct client_url *out)
{
	const char *end = text + len;
	const char *host = text;
	const char *stop;
	bool brackets = len > 0 && text[0] == '[';

	if (brackets) {
		host++;
		stop = memchr(host, ']', len - 1);
		if (stop == NULL)
			return false;
	} else {
		stop = memchr(text, ':', len);
		stop = stop == NULL ? end : stop;
	}
	size_t host_len = (size_t)(stop - host);
	if (host_len == 0 || host_len > CLIENT_HOST_MAX || host[0] == '-')
		return false;
	for (size_t i = 0; i < host_len; i++)
		if (!host_char(host[i]) && !(brackets && host[i] == ':'))
			return false;
	memcpy(out->host, host, host_len);
	out->host[host_len] = '\0';
	stop += brackets;
	if (stop == end)
		return true;
	return stop[0] == ':' && parse_port(stop + 1, (size_t)(end - stop) - 1, &out->port);
}

static bool parse_path(const char *text, bool file, struct client_url *out)
{
	size_t len = strlen(text);

	while (!file && len > 1 && text[len - 1] == '/')
		len--;
	if (len < 2 || len > CLIENT_PATH_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c <= 0x20 || c == 0x7f ||
		    (out->scheme != CLIENT_GIT && (c == '#' || (c == '?' && !file))))
			return false;
	}
	if (out->scheme == CLIENT_GIT)
		return decode(text, len, out->path, sizeof out->path);
	memcpy(out->path, text, len);
	out->path[len] = '\0';
	return true;
}

static const char *other_scheme(const char *text)
{
	if (strstr(text, "://") == NULL)
		return "it is no URL: git://, http:// or https://; a Git folder is read by: bole "
		       "import";
	if (strncmp(text, "ssh://", 6) == 0)
		return "ssh is not spoken here: git://, http:// or https://";
	return "only git://, http:// and https:// are known";
}

static enum bole_status parse(const char *text, bool file, struct client_url *out, const char **why)
{
	size_t at = 0;

	*out = (struct client_url){.port = 0};
	while (at < SCHEMES && strncmp(text, schemes[at].prefix, strlen(schemes[at].prefix)) != 0)
		at++;
	if (at == SCHEMES) {
		*why = other_scheme(text);
		return strstr(text, "://") == NULL ? BOLE_E_INVALID : BOLE_E_UNSUPPORTED;
	}
	out->scheme = schemes[at].scheme;
	out->port = schemes[at].port;
	text += strlen(schemes[at].prefix);
	const char *path = strchr(text, '/');
	*why = file ? "a path is missing in it" : "it names no repository: a path is missing";
	if (path == NULL)
		return BOLE_E_INVALID;
	/* The last @ before the path: a password may hold others. */
	const char *host = text;
	for (const char *c = text; c < path; c++)
		if (*c == '@')
			host = c + 1;
	*why = "its user or password is malformed";
	if (host > text && (out->scheme == CLIENT_GIT ||
	                    !decode(text, (size_t)(host - text) - 1, out->auth, sizeof out->auth)))
		return BOLE_E_INVALID;
	*why = "its host or port is malformed";
	if (!parse_host(host, (size_t)(path - host), out))
		return BOLE_E_INVALID;
	*why = "its path is malformed";
	return parse_path(path, file, out) ? BOLE_OK : BOLE_E_INVALID;
}

enum bole_status bole_client_url_parse(const char *text, struct client_url *out, const char **why)
{
	return parse(text, false, out, why);
}

enum bole_status bole_client_url_parse_file(const char *text, struct client_url *out,
                                            const char **why)
{
	BOLE_TRY(parse(text, true, out, why));
	*why = "only http:// and https:// are known";
	return out->scheme == CLIENT_GIT ? BOLE_E_UNSUPPORTED : BOLE_OK;
}

uint16_t bole_client_url_usual_port(const struct client_url *url)
{
	for (size_t i = 0; i < SCHEMES; i++)
		if (schemes[i].scheme == url->scheme)
			return schemes[i].port;
	return 0;
}

void bole_client_url_host(const struct client_url *url, char *dst, size_t cap)
{
	bool v6 = strchr(url->host, ':') != NULL;

	if (url->port == bole_client_url_usual_port(url))
		snprintf(dst, cap, "%s%s%s", v6 ? "[" : "", url->host, v6 ? "]" : "");
	else
		snprintf(dst, cap, "%s%s%s:%u", v6 ? "[" : "", url->host, v6 ? "]" : "",
		         (unsigned)url->port);
}

void bole_client_url_format(const struct client_url *url, char *dst, size_t cap)
{
	char host[CLIENT_HOST_MAX + 16];
	const char *prefix = "";

	for (size_t i = 0; i < SCHEMES; i++)
		if (schemes[i].scheme == url->scheme)
			prefix = schemes[i].prefix;
	bole_client_url_host(url, host, sizeof host);
	snprintf(dst, cap, "%s%s", prefix, host);
	size_t n = strlen(dst);
	/* A path that was decoded is to be read again. */
	for (const char *c = url->path; *c != '\0' && cap - n > CODED_BYTES; c++) {
		bool coded = url->scheme == CLIENT_GIT && (*c == ' ' || *c == '%');

		n += (size_t)snprintf(dst + n, cap - n, coded ? "%%%02x" : "%c", (uint8_t)*c);
	}
}

static bool same_word(const char *a, const char *b)
{
	size_t i = 0;

	for (; a[i] != '\0' && b[i] != '\0'; i++) {
		int x = a[i] >= 'A' && a[i] <= 'Z' ? a[i] | 0x20 : a[i];
		int y = b[i] >= 'A' && b[i] <= 'Z' ? b[i] | 0x20 : b[i];

		if (x != y)
			return false;
	}
	return a[i] == b[i];
}

bool bole_client_url_same_origin(const struct client_url *a, const struct client_url *b)
{
	return a->scheme == b->scheme && a->port == b->port && same_word(a->host, b->host);
}
