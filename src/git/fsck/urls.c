/* SPDX-License-Identifier: ISC */
/* Names and addresses of submodules, as a client will use them. */
#include <string.h>

#include "base/bytes.h"
#include "git/fsck/modules.h"

enum { PORT_MAX = 65535 };

static uint8_t at(struct bole_bytes s, size_t i)
{
	return i < s.len ? s.ptr[i] : 0;
}

static bool separates(uint8_t c)
{
	return c == '/' || c == '\\';
}

bool bole_submodule_name_safe(struct bole_bytes name)
{
	if (name.len == 0)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		if (i > 0 && !separates(name.ptr[i - 1]))
			continue;
		bool ends = i + 2 == name.len || separates(at(name, i + 2));

		if (name.ptr[i] == '.' && at(name, i + 1) == '.' && i + 2 <= name.len && ends)
			return false;
	}
	/* Beyond Git's rule: it becomes a key of a configuration file. */
	return memchr(name.ptr, '\r', name.len) == NULL && memchr(name.ptr, '\n', name.len) == NULL;
}

static int hex(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* After decoding, from its first colon on, it has a line's end. */
static bool decodes_to_line_end(struct bole_bytes url)
{
	const uint8_t *colon = url.len == 0 ? NULL : memchr(url.ptr, ':', url.len);
	size_t i = colon == NULL || colon == url.ptr ? 0 : (size_t)(colon - url.ptr);

	for (size_t k = 0; k < i; k++)
		if (url.ptr[k] == '\n')
			return true;
	for (; i < url.len; i++) {
		int value = url.ptr[i];

		if (value == '%' && hex(at(url, i + 1)) >= 0 && hex(at(url, i + 2)) >= 0)
			value = hex(at(url, i + 1)) << 4 | hex(at(url, i + 2));
		if (value == '\n')
			return true;
	}
	return false;
}

static bool take(struct bole_bytes *s, const char *prefix)
{
	if (!bole_bytes_start(*s, bole_bytes_z(prefix)))
		return false;
	*s = bole_bytes_of(s->ptr + strlen(prefix), s->len - strlen(prefix));
	return true;
}

static bool is_relative(struct bole_bytes url)
{
	return bole_bytes_start(url, bole_bytes_z("./")) ||
	       bole_bytes_start(url, bole_bytes_z("../"));
}

/* "../" that eats up to the host of what it is relative to. */
static bool escapes(struct bole_bytes url)
{
	bool up = false;

	for (;;) {
		if (take(&url, "../"))
			up = true;
		else if (!take(&url, "./"))
			break;
	}
	return up && (at(url, 0) == ':' || at(url, 0) == '/');
}

/* -- Addresses that libcurl gets -- */

static bool percents_valid(struct bole_bytes s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] == '%' && (hex(at(s, i + 1)) < 0 || hex(at(s, i + 2)) < 0))
			return false;
	return true;
}

static bool host_byte(uint8_t c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '.' ||
	       c == '-' || c == '_' || c == '[' || c == ']' || c == ':';
}

static bool port_valid(struct bole_bytes port)
{
	unsigned value = 0;

	for (size_t i = 0; i < port.len; i++) {
		if (port.ptr[i] < '0' || port.ptr[i] > '9')
			return false;
		value = value * 10 + (unsigned)(port.ptr[i] - '0');
		if (value > PORT_MAX)
			return false;
	}
	return port.len == 0 || value > 0;
}

static bool host_valid(struct bole_bytes host)
{
	size_t colon = host.len;

	for (size_t i = 0; i < host.len; i++) {
		if (!host_byte(host.ptr[i]))
			return false;
		if (host.ptr[i] == ':')
			colon = i;
		if (host.ptr[i] == ']')
			colon = host.len;
	}
	if (colon == 0 || host.len == 0)
		return false;
	return colon == host.len ||
	       port_valid(bole_bytes_of(host.ptr + colon + 1, host.len - colon - 1));
}

/* Segments ".." never lead above the root. */
static bool path_valid(struct bole_bytes path)
{
	size_t depth = 0;

	for (size_t i = 0; i < path.len && path.ptr[i] != '?' && path.ptr[i] != '#';) {
		size_t end = ++i; /* behind a '/' */

		while (end < path.len && path.ptr[end] != '/' && path.ptr[end] != '?' &&
		       path.ptr[end] != '#')
			end++;
		struct bole_bytes part = bole_bytes_of(path.ptr + i, end - i);
		if (bole_bytes_equal(part, bole_bytes_z(".."))) {
			if (depth == 0)
				return false;
			depth--;
		} else if (!bole_bytes_equal(part, bole_bytes_z("."))) {
			depth++;
		}
		i = end;
	}
	return true;
}

static bool curl_url_valid(struct bole_bytes url)
{
	static const char *const schemes[] = {"http://", "https://", "ftp://", "ftps://"};
	size_t host = 0;
	bool known = false;

	for (size_t i = 0; i < sizeof schemes / sizeof schemes[0] && !known; i++)
		known = take(&url, schemes[i]);
	if (!known || !percents_valid(url) || decodes_to_line_end(url))
		return false;
	while (host < url.len && strchr("/?#", url.ptr[host]) == NULL)
		host++;
	struct bole_bytes authority = bole_bytes_of(url.ptr, host);
	for (size_t i = host; i > 0; i--) {
		if (authority.ptr[i - 1] != '@')
			continue;
		authority = bole_bytes_of(authority.ptr + i, host - i);
		break;
	}
	return host_valid(authority) && path_valid(bole_bytes_of(url.ptr + host, url.len - host));
}

bool bole_submodule_url_safe(struct bole_bytes url)
{
	static const char *const helpers[] = {"http::", "https::", "ftp::", "ftps::"};
	static const char *const schemes[] = {"http://", "https://", "ftp://", "ftps://"};
	struct bole_bytes rest = url;

	if (at(url, 0) == '-')
		return false;
	if (is_relative(url) || bole_bytes_start(url, bole_bytes_z("git://")))
		return !decodes_to_line_end(url) && !escapes(url);
	for (size_t i = 0; i < 4; i++)
		if (take(&rest, helpers[i]))
			return curl_url_valid(rest);
	for (size_t i = 0; i < 4; i++)
		if (bole_bytes_start(url, bole_bytes_z(schemes[i])))
			return curl_url_valid(url);
	return true;
}
