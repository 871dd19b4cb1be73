/* SPDX-License-Identifier: ISC */
/* HTTP connections: one request after the other, each within its limits. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "node/internal.h"

enum { REQUESTS_PER_CONNECTION_MAX = 10000 };

static uint64_t now_of(const struct node_connection *c)
{
	return c->node->platform->ops->now_ns(c->node->platform);
}

/* Waits for the first byte of a request. False: there will be none. */
static bool wait_request(struct node_connection *c, uint64_t wait_ns)
{
	if (!bole_node_connection_idle(c, true))
		return false;
	return c->input_pos < c->input_len ||
	       bole_node_connection_fill(c, now_of(c) + wait_ns) == BOLE_OK;
}

/* Reads until the head is whole. On BOLE_E_INVALID *refusal says what to answer. */
static enum bole_status read_head(struct node_connection *c, struct bole_bytes *head,
                                  struct bole_http_refusal *refusal)
{
	uint64_t deadline = now_of(c) + c->node->options.head_ns;
	size_t scanned = 0;

	for (;;) {
		struct bole_bytes have =
		        bole_bytes_of(c->input + c->input_pos, c->input_len - c->input_pos);
		size_t end = bole_http_head_end(have, &scanned);
		if (end != 0) {
			*head = bole_bytes_of(have.ptr, end);
			return BOLE_OK;
		}
		enum bole_status rc = bole_node_connection_fill(c, deadline);
		if (rc == BOLE_E_TIMEOUT && atomic_load(&c->evicted))
			return BOLE_E_CLOSED;
		if (rc == BOLE_E_LIMIT)
			*refusal = (struct bole_http_refusal){431, "the request head is too large"};
		else if (rc == BOLE_E_TIMEOUT)
			*refusal =
			        (struct bole_http_refusal){408, "the request did not come in time"};
		if (rc == BOLE_E_LIMIT || rc == BOLE_E_TIMEOUT)
			return BOLE_E_INVALID;
		if (rc != BOLE_OK)
			return rc;
	}
}

static void log_refusal(struct node_connection *c, const struct bole_http_refusal *refusal)
{
	atomic_fetch_add(&c->node->refused_total, 1);
	bole_log(c->node->platform, BOLE_LOG_WARN, "http %s: %u %s", c->peer, refusal->status,
	         refusal->why);
}

/* The plain pages. False: there is no such page. */
static bool serve_page(struct node_connection *c, const struct bole_http_request *r,
                       const char *path, bool *keep)
{
	bool page = strcmp(path, "/") == 0;
	bool health = strcmp(path, "/healthz") == 0;
	bool close = r->close || r->has_length || r->chunked; /* a body would have to be read */

	if (!page && !health)
		return false;
	enum bole_status rc = BOLE_OK;
	if (r->method == BOLE_HTTP_POST)
		rc = bole_node_respond_text(c, r, 405, "Allow: GET, HEAD\r\n", close,
		                            "this page cannot be posted to");
	else if (page)
		rc = bole_node_http_page(c, r, close);
	else
		rc = bole_node_respond_text(c, r, 200, "Cache-Control: no-store\r\n", close, "ok");
	*keep = rc == BOLE_OK && !close;
	return true;
}

/* A browser asks before it sends what a form could not. */
static bool serve_options(struct node_connection *c, const struct bole_http_request *r)
{
	static const char allow[] = "Allow: GET, HEAD, POST\r\n";
	static const char cors[] =
	        "Access-Control-Allow-Methods: GET, HEAD, POST, PUT\r\n"
	        "Access-Control-Allow-Headers: Authorization, Content-Type, Git-Protocol\r\n"
	        "Access-Control-Max-Age: 86400\r\n";
	bool close = r->close || r->has_length || r->chunked;
	bool asked = r->origin.len > 0 && bole_config_get(c->node->config, "http.allowOrigin");

	return bole_node_respond_text(c, r, asked ? 200 : 405, asked ? cors : allow, close,
	                              asked ? "ok" : "only GET, HEAD and POST are served") ==
	               BOLE_OK &&
	       !close;
}

/* A PUT to what is no file of its own. */
static bool serve_nothing(struct node_connection *c, const struct bole_http_request *r)
{
	(void)bole_node_respond_text(c, r, 405, "Allow: GET, HEAD, POST\r\n", true,
	                             "nothing can be put here");
	return false;
}

static bool serve_one(struct node_connection *c)
{
	struct bole_http_request request = {0};
	struct bole_http_refusal refusal = {0, NULL};
	struct bole_bytes head = {NULL, 0};
	struct bole_bytes query = {NULL, 0};
	char path[BOLE_HTTP_PATH_MAX];
	bool keep = false;

	bole_node_connection_reset(c);
	enum bole_status rc = read_head(c, &head, &refusal);
	if (!bole_node_connection_idle(c, false))
		return false;
	if (rc == BOLE_OK) {
		atomic_fetch_add(&c->node->requests_total, 1);
		c->input_pos += head.len;
		rc = bole_http_parse_head(head, &request, &refusal);
	}
	if (rc == BOLE_OK)
		rc = bole_http_parse_target(request.target, path, &query, &refusal);
	if (rc == BOLE_E_INVALID) {
		log_refusal(c, &refusal);
		const char *allow = refusal.status == 405 ? "Allow: GET, HEAD, POST\r\n" : NULL;
		if (bole_node_respond_text(c, NULL, refusal.status, allow, true, refusal.why) ==
		    BOLE_OK)
			bole_node_connection_linger(c);
		return false;
	}
	if (rc != BOLE_OK)
		return false;
	if (request.method == BOLE_HTTP_OPTIONS)
		keep = serve_options(c, &request);
	else if (bole_node_lfs_is(path))
		keep = bole_node_lfs(c, &request, path, query);
	else if (request.method == BOLE_HTTP_PUT)
		keep = serve_nothing(c, &request);
	else if (!serve_page(c, &request, path, &keep))
		keep = bole_node_http_git(c, &request, path, query);
	if (!keep)
		bole_node_connection_linger(c);
	return keep;
}

void bole_node_http_serve(struct node_connection *c)
{
	uint64_t wait_ns = c->node->options.head_ns;

	for (unsigned i = 0; i < REQUESTS_PER_CONNECTION_MAX; i++) {
		if (!wait_request(c, wait_ns) || !serve_one(c))
			return;
		wait_ns = c->node->options.idle_ns;
	}
}
