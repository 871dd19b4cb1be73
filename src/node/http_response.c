/* SPDX-License-Identifier: ISC */
/* Answers. A body that stays small goes out in one write with its length; a long one is chunked. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "node/internal.h"

enum {
	HEAD_BYTES = 1536,
	ORIGIN_MAX = 256,
	SIZE_LINE = 20,
	HOW_BYTES = 48,
};
#define SECONDS_MAX INT64_C(253402300799) /* the end of the year 9999 */
/* A flush sooner after the first byte waits for the rest: most answers are short and go at once. */
#define HOLD_NS (NODE_SECOND_NS / 10)

static const char *reason(unsigned status)
{
	static const struct {
		unsigned status;
		const char *text;
	} reasons[] = {
	        {200, "OK"},
	        {201, "Created"},
	        {206, "Partial Content"},
	        {400, "Bad Request"},
	        {401, "Unauthorized"},
	        {403, "Forbidden"},
	        {404, "Not Found"},
	        {405, "Method Not Allowed"},
	        {408, "Request Timeout"},
	        {409, "Conflict"},
	        {410, "Gone"},
	        {411, "Length Required"},
	        {413, "Content Too Large"},
	        {414, "URI Too Long"},
	        {415, "Unsupported Media Type"},
	        {416, "Range Not Satisfiable"},
	        {417, "Expectation Failed"},
	        {422, "Unprocessable Content"},
	        {429, "Too Many Requests"},
	        {431, "Request Header Fields Too Large"},
	        {500, "Internal Server Error"},
	        {501, "Not Implemented"},
	        {503, "Service Unavailable"},
	        {505, "HTTP Version Not Supported"},
	        {507, "Insufficient Storage"},
	};

	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
		if (reasons[i].status == status)
			return reasons[i].text;
	}
	return "Error";
}

/* Days since 1970-01-01 as year, month, day (proleptic Gregorian, years from March). */
static void civil(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
	int64_t z = days + 719468;
	int64_t era = z / 146097;
	int64_t of_era = z - era * 146097;
	int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
	int64_t m = (5 * of_year + 2) / 153;

	*day = (unsigned)(of_year - (153 * m + 2) / 5 + 1);
	*month = (unsigned)(m < 10 ? m + 3 : m - 9);
	*year = y + era * 400 + (*month <= 2 ? 1 : 0);
}

/* "Date: …\r\n" where a clock is known (RFC 9110, 6.6.1), else "". */
static void format_date(struct bole_platform *platform, char *dst, size_t cap)
{
	static const char days[] = "ThuFriSatSunMonTueWed";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	int64_t now = 0;
	int64_t year = 0;
	unsigned month = 0;
	unsigned day = 0;

	dst[0] = '\0';
	if (platform->ops->wall_s(platform, &now) != BOLE_OK || now < 0)
		return;
	civil(now / 86400, &year, &month, &day);
	unsigned second = (unsigned)(now % 86400);
	snprintf(dst, cap, "Date: %.3s, %02u %.3s %04" PRId64 " %02u:%02u:%02u GMT\r\n",
	         days + now / 86400 % 7 * 3, day, months + (size_t)(month - 1) * 3, year,
	         second / 3600, second / 60 % 60, second % 60);
}

void bole_node_format_time(int64_t seconds, char *dst, size_t cap)
{
	int64_t year = 0;
	unsigned month = 0;
	unsigned day = 0;

	seconds = seconds < 0 || seconds > SECONDS_MAX ? 0 : seconds;
	civil(seconds / 86400, &year, &month, &day);
	unsigned second = (unsigned)(seconds % 86400);
	snprintf(dst, cap, "%04" PRId64 "-%02u-%02uT%02u:%02u:%02uZ", year, month, day,
	         second / 3600, second / 60 % 60, second % 60);
}

/* What lets a page of another origin read the answer (the Fetch standard, "CORS protocol"). */
static void format_cors(const struct node_response *r, char *dst, size_t cap)
{
	struct bole_bytes origin = r->request == NULL ? bole_bytes_of(NULL, 0) : r->request->origin;
	const struct bole_config *config = r->connection->node->config;
	const char *allowed;

	dst[0] = '\0';
	if (origin.len == 0 || origin.len > ORIGIN_MAX)
		return;
	for (size_t at = 0;
	     (allowed = bole_config_next_value(config, "http.allowOrigin", &at)) != NULL;) {
		bool any = strcmp(allowed, "*") == 0;

		if (!any && !bole_bytes_equal(origin, bole_bytes_z(allowed)))
			continue;
		snprintf(dst, cap,
		         "Access-Control-Allow-Origin: %s\r\n"
		         "Access-Control-Expose-Headers: Content-Type, Retry-After, "
		         "WWW-Authenticate\r\n%s",
		         allowed, any ? "" : "Vary: Origin\r\n");
		return;
	}
}

/* how: "Content-Length: n\r\n", "Transfer-Encoding: chunked\r\n" or "". */
static struct bole_bytes format_head(const struct node_response *r, const char *how,
                                     char head[HEAD_BYTES])
{
	char date[48];
	char cors[ORIGIN_MAX + 160];

	format_date(r->connection->node->platform, date, sizeof date);
	format_cors(r, cors, sizeof cors);
	int len = snprintf(head, HEAD_BYTES,
	                   "HTTP/1.1 %u %s\r\nServer: bole\r\n%sContent-Type: %s\r\n%s%s%s%s\r\n",
	                   r->status, reason(r->status), date, r->content_type,
	                   r->extra == NULL ? "" : r->extra, cors, how,
	                   r->close ? "Connection: close\r\n" : "");
	BOLE_ASSERT(len > 0);
	BOLE_ASSERT(len < HEAD_BYTES);
	return bole_bytes_of(head, (size_t)len);
}

static bool without_body(const struct node_response *r)
{
	return r->request != NULL && r->request->method == BOLE_HTTP_HEAD;
}

/* Sends the head if it has not gone, and what is held and data as one chunk. */
static enum bole_status send_piece(struct node_response *r, struct bole_bytes data)
{
	bool chunked = r->request->minor > 0 && !r->sized;
	char head[HEAD_BYTES];
	char how[HOW_BYTES] = "";
	char size[SIZE_LINE];
	struct bole_bytes pieces[5];
	size_t count = 0;
	size_t len = r->held.len + data.len;

	if (!r->started && !chunked && !r->sized)
		r->close = true; /* the end of the body is the end of the connection */
	if (chunked)
		snprintf(how, sizeof how, "Transfer-Encoding: chunked\r\n");
	else if (r->sized)
		snprintf(how, sizeof how, "Content-Length: %" PRIu64 "\r\n", r->length);
	if (!r->started)
		pieces[count++] = format_head(r, how, head);
	r->started = true;
	if (len > 0 && !without_body(r)) {
		if (chunked) {
			snprintf(size, sizeof size, "%zx\r\n", len);
			pieces[count++] = bole_bytes_z(size);
		}
		if (r->held.len > 0)
			pieces[count++] = bole_bytes_of(r->held.ptr, r->held.len);
		if (data.len > 0)
			pieces[count++] = data;
		if (chunked)
			pieces[count++] = bole_bytes_z("\r\n");
	}
	r->rc = bole_node_connection_send(r->connection, pieces, count);
	bole_buffer_release(&r->held);
	return r->rc;
}

static enum bole_status response_write(struct bole_writer *self, const void *src, size_t len)
{
	struct node_response *r = (struct node_response *)(void *)self;
	struct bole_platform *platform = r->connection->node->platform;

	if (r->rc != BOLE_OK || len == 0)
		return r->rc;
	if (r->started || len > NODE_OUTPUT_BYTES - r->held.len)
		return send_piece(r, bole_bytes_of(src, len));
	if (r->held.len == 0)
		r->since_ns = platform->ops->now_ns(platform);
	bole_buffer_append(&r->held, src, len);
	r->rc = r->held.rc;
	return r->rc;
}

static enum bole_status response_flush(struct bole_writer *self)
{
	struct node_response *r = (struct node_response *)(void *)self;
	struct bole_platform *platform = r->connection->node->platform;

	if (r->rc != BOLE_OK || r->held.len == 0 ||
	    platform->ops->now_ns(platform) - r->since_ns < HOLD_NS)
		return r->rc;
	return send_piece(r, bole_bytes_of(NULL, 0));
}

void bole_node_response_init(struct node_response *r, struct node_connection *c,
                             const struct bole_http_request *request, struct bole_alloc *alloc)
{
	*r = (struct node_response){
	        .writer = {.write = response_write, .flush = response_flush},
	        .connection = c,
	        .request = request,
	        .status = 200,
	        .content_type = "text/plain; charset=utf-8",
	        .close = request->close,
	};
	bole_buffer_init(&r->held, alloc, NODE_OUTPUT_BYTES);
}

enum bole_status bole_node_response_finish(struct node_response *r)
{
	char head[HEAD_BYTES];
	char how[HOW_BYTES];

	if (r->rc == BOLE_OK && !r->started) {
		struct bole_bytes pieces[2];
		uint64_t length = r->sized ? r->length : r->held.len;
		snprintf(how, sizeof how, "Content-Length: %" PRIu64 "\r\n", length);
		pieces[0] = format_head(r, how, head);
		pieces[1] = bole_bytes_of(r->held.ptr, r->held.len);
		r->started = true;
		bool body = r->held.len > 0 && !without_body(r);
		r->rc = bole_node_connection_send(r->connection, pieces, body ? 2 : 1);
	} else if (r->rc == BOLE_OK && r->request->minor > 0 && !r->sized && !without_body(r)) {
		struct bole_bytes last = bole_bytes_z("0\r\n\r\n");
		r->rc = bole_node_connection_send(r->connection, &last, 1);
	}
	bole_buffer_release(&r->held);
	return r->rc;
}

enum bole_status bole_node_respond_text(struct node_connection *c,
                                        const struct bole_http_request *request, unsigned status,
                                        const char *extra, bool close, const char *text)
{
	struct node_response r = {
	        .connection = c,
	        .request = request,
	        .status = status,
	        .content_type = "text/plain; charset=utf-8",
	        .extra = extra,
	        .close = close,
	};
	char head[HEAD_BYTES];
	char how[HOW_BYTES];
	struct bole_bytes pieces[3];

	snprintf(how, sizeof how, "Content-Length: %zu\r\n", strlen(text) + 1);
	pieces[0] = format_head(&r, how, head);
	pieces[1] = bole_bytes_z(text);
	pieces[2] = bole_bytes_z("\n");
	return bole_node_connection_send(c, pieces, without_body(&r) ? 1 : 3);
}
