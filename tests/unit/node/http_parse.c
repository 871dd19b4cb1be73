/* SPDX-License-Identifier: ISC */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "node/http_parse.h"

static enum bole_status parse(const char *text, struct bole_http_request *r, unsigned *status)
{
	struct bole_http_refusal refusal = {0, ""};
	size_t scanned = 0;
	size_t end = bole_http_head_end(bole_bytes_z(text), &scanned);

	cr_assert_neq(end, 0, "%s", text);
	enum bole_status rc = bole_http_parse_head(bole_bytes_of(text, end), r, &refusal);
	*status = refusal.status;
	return rc;
}

Test(http_parse, a_push_of_git_is_understood)
{
	struct bole_http_request r;
	unsigned status = 0;

	cr_assert_eq(parse("POST /a.git/git-receive-pack HTTP/1.1\r\n"
	                   "hOST:  x:80 \r\nContent-Type: a/b ; c=d\r\nContent-Encoding: gzip\r\n"
	                   "Transfer-Encoding: Chunked\r\nExpect: 100-Continue\r\n"
	                   "Git-Protocol: version=2\r\nUser-Agent: git/2\r\n\r\nrest",
	                   &r, &status),
	             BOLE_OK);
	cr_assert_eq(r.method, BOLE_HTTP_POST);
	cr_assert_eq(r.minor, 1);
	cr_assert(r.chunked && !r.has_length && r.expect_continue && !r.close);
	cr_assert(bole_bytes_equal(r.host, bole_bytes_z("x:80")));
	cr_assert(bole_bytes_equal(r.content_type, bole_bytes_z("a/b")));
	cr_assert(bole_bytes_equal(r.git_protocol, bole_bytes_z("version=2")));
	cr_assert(bole_bytes_equal(r.target, bole_bytes_z("/a.git/git-receive-pack")));
}

#define H "Host: h\r\n"

Test(http_parse, each_bad_head_has_its_status)
{
	static const struct {
		const char *text;
		unsigned status; /* 0: accepted */
	} rows[] = {
	        {"GET / HTTP/1.1\r\n" H "\r\n", 0},
	        {"\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", 0},
	        {"GET / HTTP/1.0\r\n\r\n", 0},
	        {"GET http://h/x HTTP/1.1\r\n" H "\r\n", 0},
	        {"GET / HTTP/1.1\r\n\r\n", 400},
	        {"GET / HTTP/1.1\r\n" H H "\r\n", 400},
	        {"GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n", 400},
	        {"GET / HTTP/1.1\r\n" H "A : b\r\n\r\n", 400},
	        {"GET / HTTP/1.1\r\n" H "A\r\n\r\n", 400},
	        {"GET / HTTP/1.1\r\n" H ": b\r\n\r\n", 400},
	        {"GET / HTTP/1.1\r\n" H "A: b\x01\r\n\r\n", 400},
	        {"GET / HTTP/1.1\r\n" H "A: b\rc\r\n\r\n", 400},
	        {"GET / HTTP/1.1\n" H "\r\n\r\n", 400},
	        {"GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n", 400},
	        {"GET  / HTTP/1.1\r\n" H "\r\n", 400},
	        {"GET / HTTP/1.1 \r\n" H "\r\n", 400},
	        {"GET /\r\n" H "\r\n", 400},
	        {"GET / x HTTP/1.1\r\n" H "\r\n", 400},
	        {"GET /\x80 HTTP/1.1\r\n" H "\r\n", 400},
	        {"G(T / HTTP/1.1\r\n" H "\r\n", 400},
	        {"PRI * HTTP/2.0\r\n\r\n", 505},
	        {"DELETE / HTTP/1.1\r\n" H "\r\n", 405},
	        {"PUT / HTTP/1.1\r\n" H "\r\n", 411},
	        {"PUT / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", 0},
	        {"BREW / HTTP/1.1\r\n" H "\r\n", 501},
	        {"POST / HTTP/1.1\r\n" H "\r\n", 411},
	        {"POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", 0},
	        {"POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
	        {"POST / HTTP/1.1\r\n" H "Content-Length: 1, 1\r\n\r\n", 400},
	        {"POST / HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\n", 400},
	        {"POST / HTTP/1.1\r\n" H "Content-Length: +1\r\n\r\n", 400},
	        {"POST / HTTP/1.1\r\n" H "Content-Length: 0x1\r\n\r\n", 400},
	        {"POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", 400},
	        {"POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551615\r\n\r\n", 0},
	        {"POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551616\r\n\r\n", 413},
	        {"POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
	         400},
	        {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
	         400},
	        {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
	        {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n", 501},
	        {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: "
	         "chunked\r\n\r\n",
	         400},
	        {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
	        {"POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nExpect: a-miracle\r\n\r\n", 417},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct bole_http_request r;
		unsigned status = 0;
		enum bole_status rc = parse(rows[i].text, &r, &status);
		cr_assert_eq(status, rows[i].status, "row %zu: %u", i, status);
		cr_assert_eq(rc, status == 0 ? BOLE_OK : BOLE_E_INVALID, "row %zu", i);
	}
}

Test(http_parse, too_many_and_too_long_lines_are_refused)
{
	static char text[20000];
	struct bole_http_request r;
	unsigned status = 0;
	int len = snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" H);

	for (int i = 0; i < BOLE_HTTP_FIELDS_MAX; i++)
		len += snprintf(text + len, sizeof text - (size_t)len, "A: b\r\n");
	snprintf(text + len, sizeof text - (size_t)len, "\r\n");
	cr_assert_eq(parse(text, &r, &status), BOLE_E_INVALID);
	cr_assert_eq(status, 431);
	snprintf(text, sizeof text, "GET /%05000d HTTP/1.1\r\n" H "\r\n", 0);
	cr_assert_eq(parse(text, &r, &status), BOLE_E_INVALID);
	cr_assert_eq(status, 414);
}

Test(http_parse, connection_close_is_found_in_lists)
{
	struct bole_http_request r;
	unsigned status = 0;

	cr_assert_eq(parse("GET / HTTP/1.1\r\n" H "Connection: te, Close ,x\r\n\r\n", &r, &status),
	             BOLE_OK);
	cr_assert(r.close);
	cr_assert_eq(parse("GET / HTTP/1.1\r\n" H "Connection: closed\r\n\r\n", &r, &status),
	             BOLE_OK);
	cr_assert_not(r.close);
	cr_assert_eq(parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &r, &status),
	             BOLE_OK);
	cr_assert(r.close);
}

Test(http_parse, the_end_of_a_head_does_not_depend_on_how_it_arrives)
{
	static const char text[] = "\r\nGET / HTTP/1.1\r\nA: b\r\n\r\nGET / HTTP/1.1\r\n\r\n";
	size_t scanned = 0;
	size_t end = 0;
	size_t n = 0;

	while (end == 0)
		end = bole_http_head_end(bole_bytes_of(text, n++), &scanned);
	cr_assert_eq(end, 26);
	cr_assert_eq(n - 1, 26);
}

Test(http_parse, targets_decode_or_are_refused)
{
	static const struct {
		const char *target;
		const char *path; /* NULL: refused */
		const char *query;
	} rows[] = {
	        {"/", "/", ""},
	        {"/a/b.git/info/refs?service=x&y", "/a/b.git/info/refs", "service=x&y"},
	        {"/%62ole%2egit", "/bole.git", ""},
	        {"/a/", "/a/", ""},
	        {"/a..b", "/a..b", ""},
	        {"/...", "/...", ""},
	        {"http://h:1/x?q", "/x", "q"},
	        {"HTTP://h/x", "/x", ""},
	        {"http://h", NULL, NULL},
	        {"", NULL, NULL},
	        {"*", NULL, NULL},
	        {"a", NULL, NULL},
	        {"//a", NULL, NULL},
	        {"/a//b", NULL, NULL},
	        {"/a/../b", NULL, NULL},
	        {"/a/..", NULL, NULL},
	        {"/.", NULL, NULL},
	        {"/./a", NULL, NULL},
	        {"/%2e%2e/a", NULL, NULL},
	        {"/a%2fb", NULL, NULL},
	        {"/a%00b", NULL, NULL},
	        {"/a%0ab", NULL, NULL},
	        {"/a\\b", NULL, NULL},
	        {"/a%5cb", NULL, NULL},
	        {"/a%", NULL, NULL},
	        {"/a%4", NULL, NULL},
	        {"/a%zz", NULL, NULL},
	        {"/a%7f", NULL, NULL},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char path[BOLE_HTTP_PATH_MAX];
		struct bole_bytes query;
		struct bole_http_refusal refusal;
		enum bole_status rc = bole_http_parse_target(bole_bytes_z(rows[i].target), path,
		                                             &query, &refusal);
		cr_assert_eq(rc == BOLE_OK, rows[i].path != NULL, "%s", rows[i].target);
		if (rc != BOLE_OK)
			continue;
		cr_assert_str_eq(path, rows[i].path);
		cr_assert(bole_bytes_equal(query, bole_bytes_z(rows[i].query)));
	}
}

Test(http_parse, query_values_are_found_by_name)
{
	struct bole_bytes query = bole_bytes_z("xservice=no&service=git-upload-pack&a=");
	struct bole_bytes value;

	cr_assert(bole_http_query_get(query, "service", &value));
	cr_assert(bole_bytes_equal(value, bole_bytes_z("git-upload-pack")));
	cr_assert(bole_http_query_get(query, "a", &value));
	cr_assert_eq(value.len, 0);
	cr_assert_not(bole_http_query_get(query, "serv", &value));
	cr_assert_not(bole_http_query_get(bole_bytes_z("service"), "service", &value));
}

/* Feeds text in pieces of step bytes. */
static enum bole_status decode(const char *text, size_t step, char *out, size_t *left)
{
	struct bole_http_chunks chunks = {0};
	struct bole_bytes rest = bole_bytes_z(text);
	enum bole_status rc = BOLE_AGAIN;
	size_t len = 0;

	while (rc == BOLE_AGAIN && rest.len > 0) {
		size_t n = rest.len < step ? rest.len : step;
		struct bole_bytes piece = bole_bytes_of(rest.ptr, n);
		struct bole_bytes data;
		while ((rc = bole_http_chunks_next(&chunks, &piece, &data)) == BOLE_OK) {
			memcpy(out + len, data.ptr, data.len);
			len += data.len;
		}
		rest.ptr += n - piece.len;
		rest.len -= n - piece.len;
	}
	out[len] = '\0';
	*left = rest.len;
	return rc;
}

Test(http_parse, chunked_bodies_are_strict)
{
	static const struct {
		const char *text;
		enum bole_status rc;
		const char *body;
		size_t left;
	} rows[] = {
	        {"0\r\n\r\n", BOLE_END, "", 0},
	        {"5\r\nhello\r\n0\r\n\r\nGET", BOLE_END, "hello", 3},
	        {"5\r\nhello\r\n00a;x=\"y\"\r\n0123456789\r\n0\r\nT: x\r\nU: y\r\n\r\n", BOLE_END,
	         "hello0123456789", 0},
	        {"5 \r\nhello\r\n0\r\n\r\n", BOLE_END, "hello", 0},
	        {"5\r\nhello", BOLE_AGAIN, "hello", 0},
	        {"5\nhello\r\n0\r\n\r\n", BOLE_E_INVALID, "", 0},
	        {"5\r\nhelloX\r\n", BOLE_E_INVALID, "hello", 0},
	        {"5\r\nhello\n0\r\n\r\n", BOLE_E_INVALID, "hello", 0},
	        {"\r\n", BOLE_E_INVALID, "", 0},
	        {"-5\r\nhello\r\n", BOLE_E_INVALID, "", 0},
	        {"0x5\r\nhello\r\n", BOLE_E_INVALID, "", 0},
	        {"g\r\n", BOLE_E_INVALID, "", 0},
	        {"fffffffffffffffff\r\n", BOLE_E_INVALID, "", 0},
	        {"10000000000000005\r\nhello\r\n", BOLE_E_INVALID, "", 0},
	        {"00000000000000005\r\nhello\r\n", BOLE_E_INVALID, "", 0},
	        {"0\r\nA\x01: b\r\n\r\n", BOLE_E_INVALID, "", 0},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (size_t step = 1; step < 9; step++) {
			char out[64];
			size_t left = 0;
			cr_assert_eq(decode(rows[i].text, step, out, &left), rows[i].rc,
			             "row %zu step %zu", i, step);
			cr_assert_str_eq(out, rows[i].body, "row %zu step %zu", i, step);
			if (rows[i].rc == BOLE_END)
				cr_assert_eq(left, rows[i].left, "row %zu step %zu", i, step);
		}
	}
}

Test(http_parse, endless_extensions_and_trailers_are_refused)
{
	char text[BOLE_HTTP_TRAILERS_MAX + 100];
	char out[8];
	size_t left = 0;

	memset(text, 'x', sizeof text);
	memcpy(text, "5;", 2);
	text[sizeof text - 1] = '\0';
	cr_assert_eq(decode(text, 64, out, &left), BOLE_E_LIMIT);
	memcpy(text, "0\r\n", 3);
	cr_assert_eq(decode(text, 64, out, &left), BOLE_E_LIMIT);
}

Test(http_parse, ranges_are_one_span_or_ignored)
{
	static const struct {
		const char *text;
		uint64_t size;
		enum bole_status rc;
		uint64_t first;
		uint64_t len;
	} rows[] = {
	        {"bytes=0-0", 10, BOLE_OK, 0, 1},
	        {"bytes=2-5", 10, BOLE_OK, 2, 4},
	        {"Bytes=2-", 10, BOLE_OK, 2, 8},
	        {"bytes=2-100", 10, BOLE_OK, 2, 8},
	        {"bytes=-3", 10, BOLE_OK, 7, 3},
	        {"bytes=-30", 10, BOLE_OK, 0, 10},
	        {"bytes=9-99999999999999999999999", 10, BOLE_OK, 9, 1},
	        {"bytes=10-", 10, BOLE_E_LIMIT, 0, 0},
	        {"bytes=0-", 0, BOLE_E_LIMIT, 0, 0},
	        {"bytes=-0", 10, BOLE_E_LIMIT, 0, 0},
	        {"bytes=99999999999999999999999-", 10, BOLE_E_LIMIT, 0, 0},
	        {"bytes=5-2", 10, BOLE_E_INVALID, 0, 0},
	        {"bytes=-", 10, BOLE_E_INVALID, 0, 0},
	        {"bytes=1-2,4-5", 10, BOLE_E_INVALID, 0, 0},
	        {"bytes=1", 10, BOLE_E_INVALID, 0, 0},
	        {"bytes= 1-2", 10, BOLE_E_INVALID, 0, 0},
	        {"items=1-2", 10, BOLE_E_INVALID, 0, 0},
	        {"", 10, BOLE_E_INVALID, 0, 0},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint64_t first = 0;
		uint64_t len = 0;

		cr_assert_eq(bole_http_parse_range(bole_bytes_z(rows[i].text), rows[i].size, &first,
		                                   &len),
		             rows[i].rc, "row %zu", i);
		if (rows[i].rc != BOLE_OK)
			continue;
		cr_assert_eq(first, rows[i].first, "row %zu", i);
		cr_assert_eq(len, rows[i].len, "row %zu", i);
	}
}
