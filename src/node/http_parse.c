/* SPDX-License-Identifier: ISC */
/* Heads and targets. Chunked bodies are in http_chunks.c. */
#include "node/http_parse.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

static const char token_marks[] = "!#$%&'*+-.^_`|~";

static uint8_t lower(uint8_t ch)
{
	return ch >= 'A' && ch <= 'Z' ? (uint8_t)(ch + 32) : ch;
}

static bool is_digit(uint8_t ch)
{
	return ch >= '0' && ch <= '9';
}

static bool is_token_char(uint8_t ch)
{
	return is_digit(ch) || (lower(ch) >= 'a' && lower(ch) <= 'z') ||
	       (ch != 0 && strchr(token_marks, ch) != NULL);
}

static enum bole_status refuse(struct bole_http_refusal *refusal, unsigned status, const char *why)
{
	*refusal = (struct bole_http_refusal){status, why};
	return BOLE_E_INVALID;
}

bool bole_http_is(struct bole_bytes a, const char *word)
{
	size_t len = strlen(word);

	if (a.len != len)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (lower(a.ptr[i]) != lower((uint8_t)word[i]))
			return false;
	}
	return true;
}

size_t bole_http_head_end(struct bole_bytes data, size_t *scanned)
{
	size_t start = 0;

	/* Empty lines before the request line belong to the head. */
	while (start + 1 < data.len && memcmp(data.ptr + start, "\r\n", 2) == 0)
		start += 2;
	for (size_t i = *scanned > start ? *scanned : start; i < data.len;) {
		const uint8_t *lf = memchr(data.ptr + i, '\n', data.len - i);
		if (lf == NULL)
			break;
		size_t at = (size_t)(lf - data.ptr);
		if (at >= start + 3 && memcmp(lf - 3, "\r\n\r\n", 4) == 0)
			return at + 1;
		i = at + 1;
	}
	*scanned = data.len;
	return 0;
}

/* Cuts the next line off *rest, without its CRLF. */
static bool next_line(struct bole_bytes *rest, struct bole_bytes *line)
{
	const uint8_t *lf = rest->len == 0 ? NULL : memchr(rest->ptr, '\n', rest->len);

	if (lf == NULL || lf == rest->ptr || lf[-1] != '\r')
		return false;
	size_t len = (size_t)(lf - rest->ptr) - 1;
	*line = bole_bytes_of(rest->ptr, len);
	rest->ptr += len + 2;
	rest->len -= len + 2;
	return len == 0 || memchr(line->ptr, '\r', len) == NULL;
}

/* -- the request line -- */

static enum bole_status parse_method(struct bole_bytes word, struct bole_http_request *r,
                                     struct bole_http_refusal *refusal)
{
	static const char *const others[] = {"DELETE", "TRACE", "CONNECT", "PATCH"};

	if (word.len == 0)
		return refuse(refusal, 400, "the request line has no method");
	for (size_t i = 0; i < word.len; i++) {
		if (!is_token_char(word.ptr[i]))
			return refuse(refusal, 400, "the request line is malformed");
	}
	if (bole_bytes_equal(word, bole_bytes_z("GET")))
		r->method = BOLE_HTTP_GET;
	else if (bole_bytes_equal(word, bole_bytes_z("HEAD")))
		r->method = BOLE_HTTP_HEAD;
	else if (bole_bytes_equal(word, bole_bytes_z("POST")))
		r->method = BOLE_HTTP_POST;
	else if (bole_bytes_equal(word, bole_bytes_z("PUT")))
		r->method = BOLE_HTTP_PUT;
	else if (bole_bytes_equal(word, bole_bytes_z("OPTIONS")))
		r->method = BOLE_HTTP_OPTIONS;
	else {
		for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
			if (bole_bytes_equal(word, bole_bytes_z(others[i])))
				return refuse(refusal, 405, "only GET, HEAD and POST are served");
		}
		return refuse(refusal, 501, "this method is not known");
	}
	return BOLE_OK;
}

static enum bole_status parse_version(struct bole_bytes text, struct bole_http_request *r,
                                      struct bole_http_refusal *refusal)
{
	if (text.len != 8 || memcmp(text.ptr, "HTTP/", 5) != 0 || !is_digit(text.ptr[5]) ||
	    text.ptr[6] != '.' || !is_digit(text.ptr[7]))
		return refuse(refusal, 400, "the request line does not end in an HTTP version");
	if (text.ptr[5] != '1')
		return refuse(refusal, 505, "only HTTP/1.0 and HTTP/1.1 are served");
	r->minor = text.ptr[7] == '0' ? 0 : 1;
	r->close = r->minor == 0;
	return BOLE_OK;
}

static enum bole_status parse_request_line(struct bole_bytes line, struct bole_http_request *r,
                                           struct bole_http_refusal *refusal)
{
	const uint8_t *first = line.len == 0 ? NULL : memchr(line.ptr, ' ', line.len);

	if (first == NULL)
		return refuse(refusal, 400, "the request line is malformed");
	size_t method_len = (size_t)(first - line.ptr);
	struct bole_bytes rest = bole_bytes_of(first + 1, line.len - method_len - 1);
	const uint8_t *second = rest.len == 0 ? NULL : memchr(rest.ptr, ' ', rest.len);
	if (second == NULL)
		return refuse(refusal, 400, "the request line is malformed");
	r->target = bole_bytes_of(rest.ptr, (size_t)(second - rest.ptr));
	struct bole_bytes version = bole_bytes_of(second + 1, rest.len - r->target.len - 1);
	if (parse_version(version, r, refusal) != BOLE_OK)
		return BOLE_E_INVALID;
	if (parse_method(bole_bytes_of(line.ptr, method_len), r, refusal) != BOLE_OK)
		return BOLE_E_INVALID;
	if (r->target.len > BOLE_HTTP_TARGET_MAX)
		return refuse(refusal, 414, "the request target is too long");
	for (size_t i = 0; i < r->target.len; i++) {
		if (r->target.ptr[i] <= ' ' || r->target.ptr[i] >= 0x7f)
			return refuse(refusal, 400, "the request target holds a forbidden byte");
	}
	return BOLE_OK;
}

/* -- fields -- */

struct field {
	struct bole_bytes name;
	struct bole_bytes value;
};

static enum bole_status parse_field(struct bole_bytes line, struct field *f,
                                    struct bole_http_refusal *refusal)
{
	size_t colon = 0;

	if (line.ptr[0] == ' ' || line.ptr[0] == '\t')
		return refuse(refusal, 400, "folded header lines are not accepted");
	while (colon < line.len && is_token_char(line.ptr[colon]))
		colon++;
	if (colon == 0 || colon == line.len || line.ptr[colon] != ':')
		return refuse(refusal, 400, "a header line is malformed");
	f->name = bole_bytes_of(line.ptr, colon);
	size_t start = colon + 1;
	size_t end = line.len;
	while (start < end && (line.ptr[start] == ' ' || line.ptr[start] == '\t'))
		start++;
	while (end > start && (line.ptr[end - 1] == ' ' || line.ptr[end - 1] == '\t'))
		end--;
	f->value = bole_bytes_of(line.ptr + start, end - start);
	for (size_t i = start; i < end; i++) {
		uint8_t ch = line.ptr[i];
		if ((ch < ' ' && ch != '\t') || ch == 0x7f)
			return refuse(refusal, 400, "a header value holds a forbidden byte");
	}
	return BOLE_OK;
}

static enum bole_status take_length(struct bole_http_request *r, struct bole_bytes value,
                                    struct bole_http_refusal *refusal)
{
	if (r->has_length)
		return refuse(refusal, 400, "more than one Content-Length");
	if (value.len == 0)
		return refuse(refusal, 400, "Content-Length is not a number");
	for (size_t i = 0; i < value.len; i++) {
		if (!is_digit(value.ptr[i]))
			return refuse(refusal, 400, "Content-Length is not a number");
		if (__builtin_mul_overflow(r->content_length, (uint64_t)10, &r->content_length) ||
		    __builtin_add_overflow(r->content_length, (uint64_t)(value.ptr[i] - '0'),
		                           &r->content_length))
			return refuse(refusal, 413, "Content-Length is too large");
	}
	r->has_length = true;
	return BOLE_OK;
}

static enum bole_status take_encoding(struct bole_http_request *r, struct bole_bytes value,
                                      struct bole_http_refusal *refusal)
{
	if (r->chunked)
		return refuse(refusal, 400, "more than one Transfer-Encoding");
	if (!bole_http_is(value, "chunked"))
		return refuse(refusal, 501, "only the transfer encoding \"chunked\" is known");
	r->chunked = true;
	return BOLE_OK;
}

/* Is word one of the comma-separated words of value? */
static bool list_has(struct bole_bytes value, const char *word)
{
	size_t start = 0;

	for (size_t i = 0; i <= value.len; i++) {
		if (i < value.len && value.ptr[i] != ',')
			continue;
		size_t end = i;
		while (start < end && (value.ptr[start] == ' ' || value.ptr[start] == '\t'))
			start++;
		while (end > start && (value.ptr[end - 1] == ' ' || value.ptr[end - 1] == '\t'))
			end--;
		if (bole_http_is(bole_bytes_of(value.ptr + start, end - start), word))
			return true;
		start = i + 1;
	}
	return false;
}

static struct bole_bytes without_parameters(struct bole_bytes value)
{
	size_t len = 0;

	while (len < value.len && value.ptr[len] != ';')
		len++;
	while (len > 0 && (value.ptr[len - 1] == ' ' || value.ptr[len - 1] == '\t'))
		len--;
	return bole_bytes_of(value.ptr, len);
}

/* A field that may come once only. */
static enum bole_status take_once(struct bole_bytes *place, struct bole_bytes value,
                                  const char *again, struct bole_http_refusal *refusal)
{
	if (place->ptr != NULL)
		return refuse(refusal, 400, again);
	*place = value;
	return BOLE_OK;
}

static enum bole_status take_field(struct bole_http_request *r, const struct field *f,
                                   struct bole_http_refusal *refusal)
{
	if (bole_http_is(f->name, "content-length"))
		return take_length(r, f->value, refusal);
	if (bole_http_is(f->name, "transfer-encoding"))
		return take_encoding(r, f->value, refusal);
	if (bole_http_is(f->name, "host"))
		return take_once(&r->host, f->value, "more than one Host", refusal);
	if (bole_http_is(f->name, "content-type"))
		return take_once(&r->content_type, without_parameters(f->value),
		                 "more than one Content-Type", refusal);
	if (bole_http_is(f->name, "content-encoding"))
		return take_once(&r->content_encoding, f->value, "more than one Content-Encoding",
		                 refusal);
	if (bole_http_is(f->name, "git-protocol"))
		return take_once(&r->git_protocol, f->value, "more than one Git-Protocol", refusal);
	if (bole_http_is(f->name, "authorization"))
		return take_once(&r->authorization, f->value, "more than one Authorization",
		                 refusal);
	if (bole_http_is(f->name, "origin"))
		return take_once(&r->origin, f->value, "more than one Origin", refusal);
	if (bole_http_is(f->name, "range"))
		return take_once(&r->range, f->value, "more than one Range", refusal);
	if (bole_http_is(f->name, "user-agent"))
		r->user_agent = f->value;
	if (bole_http_is(f->name, "connection") && list_has(f->value, "close"))
		r->close = true;
	if (bole_http_is(f->name, "expect")) {
		if (!bole_http_is(f->value, "100-continue"))
			return refuse(refusal, 417, "only \"Expect: 100-continue\" is known");
		r->expect_continue = r->minor > 0;
	}
	return BOLE_OK;
}

static enum bole_status check_together(const struct bole_http_request *r,
                                       struct bole_http_refusal *refusal)
{
	if (r->chunked && r->has_length)
		return refuse(refusal, 400, "both Content-Length and Transfer-Encoding");
	if (r->chunked && r->minor == 0)
		return refuse(refusal, 400, "Transfer-Encoding in HTTP/1.0");
	if (r->minor > 0 && r->host.ptr == NULL)
		return refuse(refusal, 400, "no Host header");
	bool body = r->method == BOLE_HTTP_POST || r->method == BOLE_HTTP_PUT;
	if (body && !r->chunked && !r->has_length)
		return refuse(refusal, 411, "this needs Content-Length or chunked encoding");
	return BOLE_OK;
}

enum bole_status bole_http_parse_head(struct bole_bytes head, struct bole_http_request *out,
                                      struct bole_http_refusal *refusal)
{
	struct bole_bytes line = {NULL, 0};
	struct field field = {{NULL, 0}, {NULL, 0}};
	unsigned blank = 0;

	*out = (struct bole_http_request){.close = true};
	do {
		if (!next_line(&head, &line) || blank++ > BOLE_HTTP_BLANK_LINES_MAX)
			return refuse(refusal, 400, "the request line is malformed");
	} while (line.len == 0);
	BOLE_TRY(parse_request_line(line, out, refusal));
	for (unsigned count = 0;; count++) {
		if (!next_line(&head, &line))
			return refuse(refusal, 400, "a header line is malformed");
		if (line.len == 0)
			break;
		if (count == BOLE_HTTP_FIELDS_MAX)
			return refuse(refusal, 431, "too many header lines");
		BOLE_TRY(parse_field(line, &field, refusal));
		BOLE_TRY(take_field(out, &field, refusal));
	}
	return check_together(out, refusal);
}

/* -- targets -- */

static int hex_value(uint8_t ch)
{
	if (is_digit(ch))
		return ch - '0';
	ch = lower(ch);
	return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* Takes "http://host" off an absolute target (RFC 9112, 3.2.2). */
static struct bole_bytes strip_origin(struct bole_bytes target)
{
	static const char scheme[] = "http://";
	size_t len = sizeof scheme - 1;

	if (target.len < len || !bole_http_is(bole_bytes_of(target.ptr, len), scheme))
		return target;
	while (len < target.len && target.ptr[len] != '/' && target.ptr[len] != '?')
		len++;
	return bole_bytes_of(target.ptr + len, target.len - len);
}

/* Is the segment that ends at path[len] one that must not be? */
static bool segment_bad(const char *path, size_t len)
{
	size_t start = len;

	while (path[start - 1] != '/')
		start--;
	size_t n = len - start;
	return n == 0 || (n == 1 && path[start] == '.') ||
	       (n == 2 && path[start] == '.' && path[start + 1] == '.');
}

/* Decodes one byte of a path at *i. */
static int decode(struct bole_bytes target, size_t *i)
{
	uint8_t ch = target.ptr[(*i)++];

	if (ch != '%')
		return ch;
	if (*i + 2 > target.len)
		return -1;
	int high = hex_value(target.ptr[*i]);
	int low = hex_value(target.ptr[*i + 1]);
	*i += 2;
	if (high < 0 || low < 0 || high * 16 + low == '/')
		return -1;
	return high * 16 + low;
}

enum bole_status bole_http_parse_target(struct bole_bytes target, char path[BOLE_HTTP_PATH_MAX],
                                        struct bole_bytes *query, struct bole_http_refusal *refusal)
{
	size_t len = 0;
	size_t i = 0;

	target = strip_origin(target);
	*query = (struct bole_bytes){NULL, 0};
	if (target.len == 0 || target.ptr[0] != '/')
		return refuse(refusal, 400, "the request target is not a path");
	while (i < target.len && target.ptr[i] != '?') {
		bool slash = target.ptr[i] == '/';
		int ch = decode(target, &i);
		if (ch < ' ' || ch == 0x7f || ch == '\\' || ch == '#')
			return refuse(refusal, 400, "the path holds a forbidden byte");
		if (slash && len > 0 && segment_bad(path, len))
			return refuse(refusal, 400, "the path holds an empty, . or .. segment");
		if (len + 1 >= BOLE_HTTP_PATH_MAX)
			return refuse(refusal, 414, "the path is too long");
		path[len++] = (char)ch;
	}
	/* "/" alone and a trailing slash are fine; a last ".." is not. */
	if (path[len - 1] != '/' && segment_bad(path, len))
		return refuse(refusal, 400, "the path holds an empty, . or .. segment");
	path[len] = '\0';
	if (i < target.len)
		*query = bole_bytes_of(target.ptr + i + 1, target.len - i - 1);
	return BOLE_OK;
}

/* Digits at the start of *text; true if there are any. Beyond 2^64 counts as the most. */
static bool take_number(struct bole_bytes *text, uint64_t *out)
{
	size_t i = 0;

	*out = 0;
	for (; i < text->len && is_digit(text->ptr[i]); i++) {
		if (__builtin_mul_overflow(*out, (uint64_t)10, out) ||
		    __builtin_add_overflow(*out, (uint64_t)(text->ptr[i] - '0'), out))
			*out = UINT64_MAX;
	}
	text->ptr += i;
	text->len -= i;
	return i > 0;
}

enum bole_status bole_http_parse_range(struct bole_bytes range, uint64_t size, uint64_t *first,
                                       uint64_t *len)
{
	static const char unit[] = "bytes=";
	uint64_t last = UINT64_MAX;

	if (range.len < sizeof unit - 1 ||
	    !bole_http_is(bole_bytes_of(range.ptr, sizeof unit - 1), unit))
		return BOLE_E_INVALID;
	range = bole_bytes_of(range.ptr + sizeof unit - 1, range.len - (sizeof unit - 1));
	bool from = take_number(&range, first);
	if (range.len == 0 || range.ptr[0] != '-')
		return BOLE_E_INVALID;
	range = bole_bytes_of(range.ptr + 1, range.len - 1);
	bool to = take_number(&range, &last);
	if (range.len > 0 || (!from && !to) || (from && to && last < *first))
		return BOLE_E_INVALID;
	if (!from) { /* the last so many */
		*first = last < size ? size - last : 0;
	}
	if (!from || !to)
		last = UINT64_MAX;
	if (*first >= size)
		return BOLE_E_LIMIT;
	if (last >= size)
		last = size - 1;
	*len = last - *first + 1;
	return BOLE_OK;
}

bool bole_http_query_get(struct bole_bytes query, const char *name, struct bole_bytes *out)
{
	size_t name_len = strlen(name);

	while (query.len > 0) {
		const uint8_t *amp = memchr(query.ptr, '&', query.len);
		size_t len = amp == NULL ? query.len : (size_t)(amp - query.ptr);
		if (len > name_len && memcmp(query.ptr, name, name_len) == 0 &&
		    query.ptr[name_len] == '=') {
			*out = bole_bytes_of(query.ptr + name_len + 1, len - name_len - 1);
			return true;
		}
		size_t skip = amp == NULL ? len : len + 1;
		query.ptr += skip;
		query.len -= skip;
	}
	return false;
}
