/* SPDX-License-Identifier: ISC */
/* Smart HTTP (gitprotocol-http(5)): the advertisement by GET, the services by POST. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "node/internal.h"

/* Answers are of one moment and one client: nothing may keep them. */
static const char no_cache[] = "Expires: Fri, 01 Jan 1980 00:00:00 GMT\r\n"
                               "Pragma: no-cache\r\n"
                               "Cache-Control: no-cache, max-age=0, must-revalidate\r\n";

/* What a path asks for. */
struct git_target {
	enum { TARGET_NONE, TARGET_REFS, TARGET_SERVICE } kind;
	enum node_service service;
	char name[BOLE_REPO_NAME_MAX + 1];
	char user[NODE_USER_MAX];
	const char *who; /* user, or NULL: anonymous */
};

/* Takes the repository out of "/name.git" + tail. */
static bool cut_name(const char *path, const char *tail, char name[BOLE_REPO_NAME_MAX + 1])
{
	size_t len = strlen(path);
	size_t tail_len = strlen(tail);

	if (len <= tail_len + 1 || strcmp(path + len - tail_len, tail) != 0)
		return false;
	len -= tail_len + 1;
	path++;
	if (len > 4 && memcmp(path + len - 4, ".git", 4) == 0)
		len -= 4;
	if (len > BOLE_REPO_NAME_MAX || !bole_repo_name_valid(path, len))
		return false;
	memcpy(name, path, len);
	name[len] = '\0';
	return true;
}

static void parse_path(const char *path, struct git_target *t)
{
	*t = (struct git_target){.kind = TARGET_NONE};
	if (cut_name(path, "/info/refs", t->name)) {
		t->kind = TARGET_REFS;
	} else if (cut_name(path, "/git-upload-pack", t->name)) {
		t->kind = TARGET_SERVICE;
		t->service = NODE_UPLOAD_PACK;
	} else if (cut_name(path, "/git-receive-pack", t->name)) {
		t->kind = TARGET_SERVICE;
		t->service = NODE_RECEIVE_PACK;
	}
}

/* -- refusals -- */

static bool answer(struct node_connection *c, const struct bole_http_request *r, unsigned status,
                   const char *extra, const char *text)
{
	bool close = r->close || r->has_length || r->chunked; /* the body was not read */

	atomic_fetch_add(&c->node->refused_total, 1);
	bole_log(c->node->platform, BOLE_LOG_INFO, "http %s: %u %s", c->peer, status, text);
	return bole_node_respond_text(c, r, status, extra, close, text) == BOLE_OK && !close;
}

static bool answer_busy(struct node_connection *c, const struct bole_http_request *r)
{
	return answer(c, r, 503, "Retry-After: 5\r\n", "the server is busy; try again shortly");
}

static bool answer_wait(struct node_connection *c, const struct bole_http_request *r,
                        unsigned seconds)
{
	char extra[40];

	snprintf(extra, sizeof extra, "Retry-After: %u\r\n", seconds);
	return answer(c, r, 429, extra, "too many requests; try again in a while");
}

static bool answer_unknown(struct node_connection *c, const struct bole_http_request *r)
{
	return answer(c, r, 401, "WWW-Authenticate: Basic realm=\"bole\", charset=\"UTF-8\"\r\n",
	              "a name and a token are needed");
}

static bool answer_verdict(struct node_connection *c, const struct bole_http_request *r,
                           enum bole_node_verdict verdict, const char *name)
{
	char text[BOLE_REPO_NAME_MAX + 64];

	if (verdict == NODE_UNKNOWN)
		return answer_unknown(c, r);
	if (verdict == NODE_FORBIDDEN)
		return answer(c, r, 403, NULL, "this user may not push here");
	if (verdict == NODE_READ_ONLY)
		return answer(c, r, 403, NULL, "pushing is not enabled here (receive.enable)");
	if (verdict == NODE_FAILED)
		return answer(c, r, 500, NULL, "the store failed; its log says why");
	snprintf(text, sizeof text, "no such repository: %s", name);
	return answer(c, r, 404, NULL, text);
}

/* -- who asks -- */

unsigned bole_node_http_who(struct node_connection *c, const struct bole_http_request *r,
                            const char *name, char user[NODE_USER_MAX], const char **who,
                            unsigned *wait)
{
	struct bole_node *node = c->node;
	struct bole_bytes address = bole_node_address(c);
	enum node_identity identity = NODE_ANONYMOUS;

	*wait = 0;
	if (r->authorization.len > 0)
		*wait = bole_node_rates_look(node->rates, NODE_RATE_FAILED, address);
	if (*wait > 0)
		return 429;
	if (bole_node_access_has_users(node->access))
		identity = bole_node_access_identify(node->access, r->authorization, user);
	if (identity == NODE_WRONG) {
		(void)bole_node_rates_take(node->rates, NODE_RATE_FAILED, address);
		return 401;
	}
	*who = identity == NODE_USER ? user : NULL;
	*wait = bole_node_throttle(c, *who, name);
	return *wait > 0 ? 429 : 0;
}

/* Finds out the user, how often this peer may ask, and whether it may have this. True: go on; else
 * it has been answered, and *keep says whether the connection goes on. */
static bool admit(struct node_connection *c, const struct bole_http_request *r,
                  struct git_target *t, bool *keep)
{
	unsigned wait = 0;
	unsigned status = bole_node_http_who(c, r, t->name, t->user, &t->who, &wait);

	if (status != 0) {
		*keep = status == 429 ? answer_wait(c, r, wait) : answer_unknown(c, r);
		return false;
	}
	enum bole_node_verdict verdict = bole_node_verdict(c->node, t->service, t->who, t->name);
	if (verdict != NODE_GRANTED && verdict != NODE_ABSENT) {
		*keep = answer_verdict(c, r, verdict, t->name);
		return false;
	}
	if (!bole_node_enter(c)) {
		*keep = answer_busy(c, r);
		return false;
	}
	return true;
}

/* -- GET …/info/refs?service=… -- */

static void write_banner(struct node_response *response, enum node_service service)
{
	char line[64];
	const char *name = bole_node_service_name(service);

	snprintf(line, sizeof line, "%04zx# service=git-%s\n0000", strlen(name) + 19, name);
	(void)response->writer.write(&response->writer, line, strlen(line));
}

static bool serve_file(struct node_connection *c, const struct bole_http_request *r,
                       const struct node_file *f)
{
	struct git_target t = {.service = f->service};
	bool keep = false;

	if (r->method == BOLE_HTTP_POST)
		return answer(c, r, 405, "Allow: GET, HEAD\r\n", "this is read by GET");
	memcpy(t.name, f->name, sizeof t.name);
	if (!admit(c, r, &t, &keep))
		return keep;
	keep = bole_node_file_serve(c, r, f, t.who);
	bole_node_leave(c);
	return keep;
}

/* Without a service, as clients of the dumb protocol ask. */
static bool serve_dumb_refs(struct node_connection *c, const struct bole_http_request *r,
                            const struct git_target *t)
{
	struct node_file f = {.service = NODE_DUMB,
	                      .path = bole_bytes_z("info/refs"),
	                      .type = "text/plain; charset=utf-8"};

	memcpy(f.name, t->name, sizeof f.name);
	return serve_file(c, r, &f);
}

static bool serve_refs(struct node_connection *c, const struct bole_http_request *r,
                       struct git_target *t, struct bole_bytes query)
{
	struct bole_bytes wanted = {NULL, 0};
	struct node_response response;
	struct bole_bytes_reader nothing;
	char type[64];
	bool keep = false;

	if (r->method == BOLE_HTTP_POST)
		return answer(c, r, 405, "Allow: GET, HEAD\r\n", "info/refs is read by GET");
	if (!bole_http_query_get(query, "service", &wanted))
		return serve_dumb_refs(c, r, t);
	if (bole_bytes_equal(wanted, bole_bytes_z("git-upload-pack")))
		t->service = NODE_UPLOAD_PACK;
	else if (bole_bytes_equal(wanted, bole_bytes_z("git-receive-pack")))
		t->service = NODE_RECEIVE_PACK;
	else
		return answer(c, r, 403, NULL, "this service is not offered");
	if (!admit(c, r, t, &keep))
		return keep;

	bole_node_response_init(&response, c, r, &c->node->budget.alloc);
	snprintf(type, sizeof type, "application/x-git-%s-advertisement",
	         bole_node_service_name(t->service));
	response.content_type = type;
	response.extra = no_cache;
	response.close = r->close || r->has_length || r->chunked;
	bole_bytes_reader_init(&nothing, bole_bytes_of(NULL, 0));
	struct node_request request = {
	        .connection = c,
	        .service = t->service,
	        .name = t->name,
	        .user = t->who,
	        .version = bole_node_protocol_version(r->git_protocol),
	        .stateless = true,
	        .advertise = true,
	        .reader = &nothing.reader,
	        .writer = &response.writer,
	};
	if (request.version < 2 || t->service == NODE_RECEIVE_PACK)
		write_banner(&response, t->service);
	bole_node_request_run(&request);
	bole_node_leave(c);
	return bole_node_response_finish(&response) == BOLE_OK && !response.close;
}

/* -- POST …/git-upload-pack, …/git-receive-pack -- */

/* The body or the budget failed before anything was sent: an HTTP status says it better than an
 * ERR packet in a 200. */
static unsigned status_of(const struct node_request *request, const struct node_body *body)
{
	if (body->rc == BOLE_E_LIMIT)
		return 413;
	if (body->rc == BOLE_E_INVALID)
		return 400;
	if (body->rc == BOLE_E_TIMEOUT)
		return 408;
	return request->rc == BOLE_E_NO_MEMORY ? 503 : 200;
}

static const char *text_of(unsigned status)
{
	if (status == 413)
		return "the request body is too large";
	if (status == 400)
		return "the request body is malformed";
	if (status == 408)
		return "the request body did not come in time";
	return "not enough memory for this request; try again later";
}

static bool finish_service(struct node_request *request, struct node_body *body,
                           struct node_response *response)
{
	struct node_connection *c = request->connection;
	unsigned status = status_of(request, body);

	if (status != 200 && !response->started && response->rc == BOLE_OK) {
		bole_buffer_release(&response->held);
		response->status = status;
		response->close = true;
		response->content_type = "text/plain; charset=utf-8";
		response->extra = status == 503 ? "Retry-After: 5\r\n" : NULL;
		const char *text = text_of(status);
		bole_log(c->node->platform, BOLE_LOG_WARN, "http %s: %u %s", c->peer, status, text);
		(void)response->writer.write(&response->writer, text, strlen(text));
		(void)response->writer.write(&response->writer, "\n", 1);
	}
	/* Before the head goes out: it says whether the connection stays. */
	if (!response->close && !bole_node_body_finish(body)) {
		if (!response->started)
			response->close = true;
		else
			body->rc = BOLE_E_CLOSED;
	}
	enum bole_status rc = bole_node_response_finish(response);
	return rc == BOLE_OK && !response->close && (body->rc == BOLE_OK || body->rc == BOLE_END);
}

static bool run_service(struct node_connection *c, const struct bole_http_request *r,
                        struct git_target *t, struct node_body *body)
{
	struct node_response response;
	char type[64];

	bole_node_response_init(&response, c, r, &c->node->budget.alloc);
	snprintf(type, sizeof type, "application/x-git-%s-result",
	         bole_node_service_name(t->service));
	response.content_type = type;
	response.extra = no_cache;
	struct node_request request = {
	        .connection = c,
	        .service = t->service,
	        .name = t->name,
	        .user = t->who,
	        .version = bole_node_protocol_version(r->git_protocol),
	        .stateless = true,
	        .reader = &body->reader,
	        .writer = &response.writer,
	};
	bole_node_request_run(&request);
	return finish_service(&request, body, &response);
}

static bool serve_service(struct node_connection *c, const struct bole_http_request *r,
                          struct git_target *t)
{
	struct node_body body;
	char type[64];
	bool fetch = t->service == NODE_UPLOAD_PACK;
	bool keep = false;
	uint64_t limit = fetch ? c->node->options.fetch_body_max : UINT64_MAX;

	if (r->method != BOLE_HTTP_POST)
		return answer(c, r, 405, "Allow: POST\r\n", "this service is used by POST");
	snprintf(type, sizeof type, "application/x-git-%s-request",
	         bole_node_service_name(t->service));
	if (!bole_http_is(r->content_type, type))
		return answer(c, r, 415, NULL, "the Content-Type is not this service's");
	if (r->content_length > limit)
		return answer(c, r, 413, NULL, "the request body is too large");
	if (!admit(c, r, t, &keep))
		return keep;

	keep = false;
	enum bole_status rc = bole_node_body_open(&body, c, r, &c->node->budget.alloc, limit);
	if (rc == BOLE_OK)
		keep = run_service(c, r, t, &body);
	else if (rc == BOLE_E_UNSUPPORTED)
		keep = answer(c, r, 415, "Accept-Encoding: gzip\r\n",
		              "only the content coding gzip is known");
	else
		keep = answer_busy(c, r);
	bole_node_body_close(&body);
	bole_node_leave(c);
	return keep;
}

bool bole_node_http_git(struct node_connection *c, const struct bole_http_request *r,
                        const char *path, struct bole_bytes query)
{
	struct git_target t;
	struct node_file f;

	parse_path(path, &t);
	switch (t.kind) {
	case TARGET_REFS: return serve_refs(c, r, &t, query);
	case TARGET_SERVICE: return serve_service(c, r, &t);
	case TARGET_NONE: break;
	}
	if (bole_node_file_parse(path, &f))
		return serve_file(c, r, &f);
	return answer(c, r, 404, NULL, "there is nothing here");
}
