/* SPDX-License-Identifier: ISC */
/* What all LFS requests share: configuration, paths, who may, errors as JSON. */
#include "node/lfs.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/json.h"
#include "base/memory.h"

static const char marker[] = "/info/lfs/";

/* -- configuration -- */

enum bole_status bole_node_lfs_open(struct bole_node *node)
{
	struct bole_platform *platform = node->platform;
	struct node_lfs *lfs = bole_alloc_zeroed(platform->alloc, 1, sizeof *lfs);
	uint64_t removed = 0;
	bool enabled;

	if (lfs == NULL)
		return BOLE_E_NO_MEMORY;
	node->lfs = lfs;
	platform->ops->cond_init(platform, &lfs->turn);
	lfs->url = bole_config_get(node->config, "lfs.url");
	if (bole_config_u64(node->config, "lfs.maxObjectSize", UINT64_C(16) << 30,
	                    &lfs->object_bytes_max) != BOLE_OK ||
	    bole_config_bool(node->config, "lfs.enable", true, &enabled) != BOLE_OK) {
		bole_log(platform, BOLE_LOG_ERROR,
		         "config: lfs.maxObjectSize must be a number, lfs.enable true or false");
		return BOLE_E_INVALID;
	}
	if (node->store->info.read_only)
		return BOLE_OK;
	/* Nothing is being uploaded yet. */
	enum bole_status rc = bole_lfs_sweep(node->store, platform->alloc, &removed);
	if (rc != BOLE_OK)
		bole_log(platform, BOLE_LOG_WARN, "lfs: unfinished uploads stay: %s",
		         bole_status_text(rc));
	else if (removed > 0)
		bole_log(platform, BOLE_LOG_INFO,
		         "lfs: removed %" PRIu64 " chunks of unfinished uploads", removed);
	return BOLE_OK;
}

void bole_node_lfs_close(struct bole_node *node)
{
	if (node->lfs == NULL)
		return;
	node->platform->ops->cond_destroy(node->platform, &node->lfs->turn);
	bole_alloc_free(node->platform->alloc, node->lfs, 1, sizeof *node->lfs);
}

void bole_lfs_gate_enter(struct bole_node *node)
{
	struct bole_platform *platform = node->platform;

	platform->ops->mutex_lock(platform, &node->lock);
	while (node->lfs->busy)
		(void)platform->ops->cond_wait(platform, &node->lfs->turn, &node->lock, BOLE_NEVER);
	node->lfs->busy = true;
	platform->ops->mutex_unlock(platform, &node->lock);
}

void bole_lfs_gate_leave(struct bole_node *node)
{
	struct bole_platform *platform = node->platform;

	platform->ops->mutex_lock(platform, &node->lock);
	node->lfs->busy = false;
	platform->ops->cond_signal(platform, &node->lfs->turn);
	platform->ops->mutex_unlock(platform, &node->lock);
}

/* -- paths -- */

/* The last one: a repository may be called "info/lfs/x". */
static const char *find_marker(const char *path)
{
	const char *found = NULL;

	for (const char *p = path; (p = strstr(p, marker)) != NULL; p++)
		found = p;
	return found;
}

bool bole_node_lfs_is(const char *path)
{
	return find_marker(path) != NULL;
}

/* So many hex digits + tail. */
static bool cut_id(struct lfs_call *call, const char *text, size_t digits, const char *tail)
{
	size_t len = strlen(text);
	size_t tail_len = strlen(tail);

	if (len != digits + tail_len || strcmp(text + digits, tail) != 0 ||
	    strspn(text, "0123456789abcdef") < digits)
		return false;
	memcpy(call->id, text, digits);
	call->id[digits] = '\0';
	return true;
}

static enum lfs_route find_route(struct lfs_call *call, const char *rest)
{
	enum { OID = BOLE_OID_HEX_MAX, LOCK = BOLE_LFS_LOCK_ID_MAX - 1 };

	if (strcmp(rest, "objects/batch") == 0)
		return LFS_BATCH;
	if (strcmp(rest, "locks") == 0)
		return LFS_LOCKS;
	if (strcmp(rest, "locks/verify") == 0)
		return LFS_LOCKS_VERIFY;
	if (strncmp(rest, "locks/", 6) == 0 && cut_id(call, rest + 6, LOCK, "/unlock"))
		return LFS_UNLOCK;
	if (strncmp(rest, "objects/", 8) == 0 && cut_id(call, rest + 8, OID, ""))
		return LFS_OBJECT;
	if (strncmp(rest, "objects/", 8) == 0 && cut_id(call, rest + 8, OID, "/verify"))
		return LFS_VERIFY;
	return LFS_NOWHERE;
}

static void parse_path(struct lfs_call *call, const char *path)
{
	const char *at = find_marker(path);
	size_t len = (size_t)(at - path);

	call->route = LFS_NOWHERE;
	if (len < 2)
		return;
	path++;
	len--;
	if (len > 4 && memcmp(path + len - 4, ".git", 4) == 0)
		len -= 4;
	if (len > BOLE_REPO_NAME_MAX || !bole_repo_name_valid(path, len))
		return;
	memcpy(call->name, path, len);
	call->name[len] = '\0';
	call->route = find_route(call, at + sizeof marker - 1);
}

static const char *methods_of(enum lfs_route route)
{
	if (route == LFS_OBJECT)
		return "GET, HEAD, PUT";
	return route == LFS_LOCKS ? "GET, HEAD, POST" : "POST";
}

static bool method_fits(const struct lfs_call *call)
{
	switch (call->http->method) {
	case BOLE_HTTP_GET:
	case BOLE_HTTP_HEAD: return call->route == LFS_OBJECT || call->route == LFS_LOCKS;
	case BOLE_HTTP_PUT: return call->route == LFS_OBJECT;
	case BOLE_HTTP_POST: return call->route != LFS_OBJECT;
	case BOLE_HTTP_OPTIONS: break;
	}
	return false;
}

static bool host_fits(struct bole_bytes host)
{
	static const char marks[] = ".-_:[]";

	if (host.len == 0 || host.len > BOLE_REPO_NAME_MAX)
		return false;
	for (size_t i = 0; i < host.len; i++) {
		uint8_t c = host.ptr[i];
		bool letter =
		        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		if (c == 0 || (!letter && strchr(marks, c) == NULL))
			return false;
	}
	return true;
}

bool bole_lfs_base_url(const struct lfs_call *call, char *dst, size_t cap)
{
	const char *url = call->node->lfs->url;
	struct bole_bytes host = call->http->host;
	int len;

	if (url != NULL) {
		size_t end = strlen(url);
		while (end > 0 && url[end - 1] == '/')
			end--;
		len = snprintf(dst, cap, "%.*s/%s.git/info/lfs", (int)end, url, call->name);
	} else if (host_fits(host)) {
		len = snprintf(dst, cap, "http://%.*s/%s.git/info/lfs", (int)host.len,
		               (const char *)host.ptr, call->name);
	} else {
		return false;
	}
	return len > 0 && (size_t)len < cap;
}

/* -- answers -- */

void bole_lfs_flush(struct lfs_call *call)
{
	struct bole_writer *writer = &call->response.writer;

	if (call->text.rc != BOLE_OK && call->response.rc == BOLE_OK)
		call->response.rc = call->text.rc;
	if (call->text.len > 0)
		(void)writer->write(writer, call->text.ptr, call->text.len);
	call->text.len = 0;
}

void bole_lfs_error(struct lfs_call *call, unsigned status, const char *message)
{
	struct node_response *response = &call->response;
	struct bole_node *node = call->node;

	atomic_fetch_add(&node->refused_total, 1);
	if (response->started || response->rc != BOLE_OK) {
		if (response->rc == BOLE_OK)
			response->rc = BOLE_E_CLOSED; /* half an answer must not end like a whole */
		return;
	}
	bole_buffer_release(&response->held);
	call->text.len = 0;
	response->status = status;
	response->sized = false;
	response->content_type = LFS_TYPE;
	response->extra = NULL;
	if (status == 401)
		response->extra = "LFS-Authenticate: Basic realm=\"bole\"\r\n"
		                  "WWW-Authenticate: Basic realm=\"bole\", charset=\"UTF-8\"\r\n";
	else if (status == 503)
		response->extra = "Retry-After: 5\r\n";
	else if (call->extra[0] != '\0')
		response->extra = call->extra;
	bole_buffer_text(&call->text, "{\"message\":");
	bole_json_put(&call->text, bole_bytes_z(message));
	bole_buffer_format(&call->text, ",\"request_id\":\"%" PRIx64 "\"}\n",
	                   atomic_load(&node->requests_total));
	bole_lfs_flush(call);
}

void bole_lfs_failed(struct lfs_call *call, enum bole_status rc)
{
	if (rc == BOLE_E_NOT_FOUND)
		bole_lfs_error(call, 404, "there is nothing here");
	else if (rc == BOLE_E_NO_SPACE)
		bole_lfs_error(call, 507, "no space on the volume");
	else if (rc == BOLE_E_NO_MEMORY)
		bole_lfs_error(call, 503, "not enough memory for this request; try again later");
	else if (rc == BOLE_E_READ_ONLY)
		bole_lfs_error(call, 403, "the volume is read-only");
	else
		bole_lfs_error(call, 500, "the store failed; its log says why");
}

static void refuse(struct lfs_call *call, enum bole_node_verdict verdict)
{
	if (verdict == NODE_UNKNOWN)
		bole_lfs_error(call, 401, "a name and a token are needed");
	else if (verdict == NODE_FORBIDDEN)
		bole_lfs_error(call, 403, "this user may not write here");
	else if (verdict == NODE_READ_ONLY)
		bole_lfs_error(call, 403, "pushing is not enabled here (receive.enable)");
	else if (verdict == NODE_FAILED)
		bole_lfs_failed(call, BOLE_E_IO);
	else
		bole_lfs_error(call, 404, "no such repository");
}

bool bole_lfs_may_write(struct lfs_call *call)
{
	enum bole_node_verdict verdict =
	        bole_node_verdict(call->node, NODE_RECEIVE_PACK, call->who, call->name);

	if (verdict == NODE_GRANTED || verdict == NODE_ABSENT)
		return true;
	refuse(call, verdict);
	return false;
}

static bool may_read(struct lfs_call *call)
{
	enum bole_node_verdict verdict =
	        bole_node_verdict(call->node, NODE_UPLOAD_PACK, call->who, call->name);

	/* git-lfs uploads before the push that makes the repository. */
	if (verdict == NODE_NOT_FOUND)
		verdict = bole_node_verdict(call->node, NODE_RECEIVE_PACK, call->who, call->name);
	if (verdict == NODE_GRANTED || verdict == NODE_ABSENT)
		return true;
	refuse(call, verdict);
	return false;
}

/* -- bodies -- */

static void refuse_body(struct lfs_call *call, enum bole_status rc)
{
	if (rc == BOLE_E_LIMIT)
		bole_lfs_error(call, 413, "the request body is too large");
	else if (rc == BOLE_E_INVALID)
		bole_lfs_error(call, 400, "the request body is malformed");
	else if (rc == BOLE_E_TIMEOUT)
		bole_lfs_error(call, 408, "the request body did not come in time");
	else if (rc == BOLE_E_NO_MEMORY)
		bole_lfs_failed(call, rc);
	else
		call->response.rc = BOLE_E_CLOSED;
	call->response.close = true;
}

bool bole_lfs_read_body(struct lfs_call *call, uint8_t **text, size_t *len)
{
	struct bole_reader *reader = &call->body.reader;
	struct bole_buffer all;
	enum bole_status rc = BOLE_OK;

	bole_buffer_init(&all, call->alloc, LFS_BODY_MAX);
	while (rc == BOLE_OK) {
		enum { PIECE = 4096 };
		size_t got = 0;
		uint8_t *to = bole_buffer_reserve(&all, PIECE);

		rc = to == NULL ? all.rc : reader->read(reader, to, PIECE, &got);
		all.len += got;
	}
	if (rc == BOLE_END) {
		*text = all.len == 0 ? NULL : bole_alloc_array(call->alloc, all.len, 1);
		*len = all.len;
		rc = *text == NULL && all.len > 0 ? BOLE_E_NO_MEMORY : BOLE_OK;
		if (rc == BOLE_OK && all.len > 0)
			memcpy(*text, all.ptr, all.len);
	}
	bole_buffer_release(&all);
	if (rc == BOLE_OK)
		return true;
	refuse_body(call, rc);
	return false;
}

/* -- the call -- */

static void dispatch(struct lfs_call *call)
{
	bool posted = call->http->method == BOLE_HTTP_POST;

	switch (call->route) {
	case LFS_BATCH: bole_lfs_batch(call); break;
	case LFS_OBJECT:
		if (call->http->method == BOLE_HTTP_PUT)
			bole_lfs_put(call);
		else
			bole_lfs_get(call);
		break;
	case LFS_VERIFY: bole_lfs_verify(call); break;
	case LFS_LOCKS:
		if (posted)
			bole_lfs_locks_create(call);
		else
			bole_lfs_locks_list(call);
		break;
	case LFS_LOCKS_VERIFY: bole_lfs_locks_verify(call); break;
	case LFS_UNLOCK: bole_lfs_unlock(call); break;
	case LFS_NOWHERE: break;
	}
}

static void run(struct node_request *request)
{
	struct lfs_call *call = (struct lfs_call *)(void *)request;

	call->alloc = &request->budget.alloc;
	bole_buffer_init(&call->text, call->alloc, LFS_TEXT_MAX);
	enum bole_status rc = bole_repo_find(call->node->store, call->name, &call->repo);
	if (rc == BOLE_E_NOT_FOUND)
		call->repo = (struct bole_repo){0};
	if (rc == BOLE_OK || rc == BOLE_E_NOT_FOUND)
		dispatch(call);
	else
		bole_lfs_failed(call, rc);
	bole_lfs_flush(call);
	bole_buffer_release(&call->text);
	request->rc = call->response.rc;
}

static void serve(struct lfs_call *call)
{
	struct node_connection *c = call->request.connection;
	bool put = call->http->method == BOLE_HTTP_PUT;
	uint64_t limit = put ? call->node->lfs->object_bytes_max : LFS_BODY_MAX;

	if (call->http->content_length > limit) {
		bole_lfs_error(call, 413, "this is too large");
		return;
	}
	if (!bole_node_enter(c)) {
		bole_lfs_error(call, 503, "the server is busy; try again shortly");
		return;
	}
	enum bole_status rc =
	        bole_node_body_open(&call->body, c, call->http, &call->node->budget.alloc, limit);
	if (rc == BOLE_OK) {
		call->request.rc = BOLE_E_NO_MEMORY;
		bole_node_request_run(&call->request);
		if (call->request.rc == BOLE_E_NO_MEMORY && !call->response.started &&
		    call->response.held.len == 0)
			bole_lfs_failed(call, BOLE_E_NO_MEMORY);
		if (!call->response.started && !call->response.close)
			call->response.close = !bole_node_body_finish(&call->body);
	} else if (rc == BOLE_E_UNSUPPORTED) {
		bole_lfs_error(call, 415, "only the content coding gzip is known");
	} else {
		bole_lfs_failed(call, BOLE_E_NO_MEMORY);
	}
	bole_node_body_close(&call->body);
	bole_node_leave(c);
}

/* True: go on; else it has been answered. */
static bool admit(struct lfs_call *call)
{
	struct bole_node *node = call->node;
	unsigned wait = 0;

	if (call->route == LFS_NOWHERE ||
	    !bole_node_repo_bool(node, call->name, "lfs.enable", true, false)) {
		bole_lfs_error(call, 404, "there is nothing here");
		return false;
	}
	if (!method_fits(call)) {
		snprintf(call->extra, sizeof call->extra, "Allow: %s\r\n", methods_of(call->route));
		bole_lfs_error(call, 405, "this method does nothing here");
		return false;
	}
	unsigned status = bole_node_http_who(call->request.connection, call->http, call->name,
	                                     call->user, &call->who, &wait);
	if (status == 401) {
		refuse(call, NODE_UNKNOWN);
		return false;
	}
	if (status == 429) {
		snprintf(call->extra, sizeof call->extra, "Retry-After: %u\r\n", wait);
		bole_lfs_error(call, 429, "too many requests; try again in a while");
		return false;
	}
	bool json = call->http->method == BOLE_HTTP_POST;
	if (json && !bole_http_is(call->http->content_type, LFS_TYPE)) {
		bole_lfs_error(call, 415, "the Content-Type is not " LFS_TYPE);
		return false;
	}
	return may_read(call);
}

static void log_call(const struct lfs_call *call, uint64_t start_ns)
{
	static const char *const names[] = {"batch",        "object", "verify", "locks",
	                                    "locks verify", "unlock", "?"};
	struct bole_platform *platform = call->node->platform;
	const struct node_connection *c = call->request.connection;
	enum bole_status rc = call->response.rc;

	bole_log(platform,
	         call->response.status < 500 && rc == BOLE_OK ? BOLE_LOG_INFO : BOLE_LOG_WARN,
	         "http %s: lfs %s %s: %u, in %" PRIu64 " out %" PRIu64 " bytes, %" PRIu64
	         " ms, %zu KiB: %s",
	         c->peer, names[call->route], call->name, call->response.status, c->bytes_in,
	         c->bytes_out, (platform->ops->now_ns(platform) - start_ns) / 1000000,
	         atomic_load(&call->request.budget.peak) / 1024,
	         rc == BOLE_OK ? "ok" : bole_status_text(rc));
}

bool bole_node_lfs(struct node_connection *c, const struct bole_http_request *r, const char *path,
                   struct bole_bytes query)
{
	struct bole_node *node = c->node;
	uint64_t start_ns = node->platform->ops->now_ns(node->platform);
	struct lfs_call *call = bole_alloc_zeroed(&node->budget.alloc, 1, sizeof *call);

	if (call == NULL) {
		(void)bole_node_respond_text(c, r, 503, "Retry-After: 5\r\n", true,
		                             "the server is busy; try again shortly");
		return false;
	}
	call->request = (struct node_request){
	        .connection = c,
	        .service = NODE_TASK,
	        .name = call->name,
	        .task = run,
	};
	call->node = node;
	call->http = r;
	call->query = query;
	call->alloc = &node->budget.alloc;
	bole_node_response_init(&call->response, c, r, call->alloc);
	call->response.content_type = LFS_TYPE;
	bole_buffer_init(&call->text, call->alloc, LFS_TEXT_MAX);
	parse_path(call, path);
	if (admit(call))
		serve(call);
	else
		call->response.close |= r->has_length || r->chunked; /* the body was not read */
	bole_lfs_flush(call);
	bole_buffer_release(&call->text);
	bool close = call->response.close;
	enum bole_status rc = bole_node_response_finish(&call->response);
	log_call(call, start_ns);
	bole_alloc_free(&node->budget.alloc, call, 1, sizeof *call);
	return rc == BOLE_OK && !close;
}
