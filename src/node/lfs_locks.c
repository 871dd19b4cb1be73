/* SPDX-License-Identifier: ISC */
/* The locking API. A lock holds for a path in the whole repository: the reference that a request
 * names only says where its sender means to push. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/json.h"
#include "base/memory.h"
#include "node/lfs_batch.h"

/* What a request about locks may say, in its body or its query. */
struct lock_request {
	char path[BOLE_LFS_PATH_MAX + 1];
	char id[BOLE_LFS_LOCK_ID_MAX];
	char cursor[BOLE_LFS_LOCK_ID_MAX];
	char ref[BOLE_REF_NAME_MAX + 1];
	uint64_t limit;
	bool has_path;
	bool has_id;
	bool force;
	struct bole_lfs_lock lock;
};

/* -- bodies -- */

static enum bole_status read_text(struct yyjson_val *v, char *dst, size_t cap)
{
	return yyjson_is_null(v) ? BOLE_OK : bole_json_text(v, dst, cap);
}

static enum bole_status read_ref(struct yyjson_val *value, struct lock_request *q)
{
	struct yyjson_obj_iter i;
	struct yyjson_val *key;

	if (!yyjson_is_obj(value))
		return yyjson_is_null(value) ? BOLE_OK : BOLE_E_INVALID;
	yyjson_obj_iter_init(value, &i);
	while ((key = yyjson_obj_iter_next(&i)) != NULL)
		if (yyjson_equals_str(key, "name"))
			BOLE_TRY(read_text(yyjson_obj_iter_get_val(key), q->ref, sizeof q->ref));
	return BOLE_OK;
}

static enum bole_status read_member(struct yyjson_val *key, struct yyjson_val *v,
                                    struct lock_request *q)
{
	if (yyjson_equals_str(key, "path")) {
		q->has_path = true;
		return read_text(v, q->path, sizeof q->path);
	}
	if (yyjson_equals_str(key, "cursor"))
		return read_text(v, q->cursor, sizeof q->cursor);
	if (yyjson_equals_str(key, "limit"))
		return yyjson_is_null(v) ? BOLE_OK : bole_json_u64(v, &q->limit);
	if (yyjson_equals_str(key, "ref"))
		return read_ref(v, q);
	if (yyjson_equals_str(key, "force"))
		q->force = yyjson_is_true(v);
	return BOLE_OK;
}

static enum bole_status read_request(struct yyjson_val *root, struct lock_request *q)
{
	struct yyjson_obj_iter i;
	struct yyjson_val *key;

	if (!yyjson_is_obj(root))
		return BOLE_E_INVALID;
	yyjson_obj_iter_init(root, &i);
	while ((key = yyjson_obj_iter_next(&i)) != NULL)
		BOLE_TRY(read_member(key, yyjson_obj_iter_get_val(key), q));
	return BOLE_OK;
}

static enum bole_status parse(struct bole_alloc *alloc, struct bole_bytes text,
                              struct lock_request *q)
{
	struct yyjson_doc *doc;

	BOLE_TRY(bole_json_read(alloc, text, &doc));
	enum bole_status rc = read_request(yyjson_doc_get_root(doc), q);
	yyjson_doc_free(doc);
	return rc;
}

/* The request of a POST, or NULL: it has been answered. */
static struct lock_request *open_request(struct lfs_call *call, bool body)
{
	struct lock_request *q = bole_alloc_zeroed(call->alloc, 1, sizeof *q);
	uint8_t *text = NULL;
	size_t len = 0;

	if (q == NULL)
		bole_lfs_failed(call, BOLE_E_NO_MEMORY);
	if (q == NULL || !body)
		return q;
	enum bole_status rc = BOLE_E_INVALID;
	bool read = bole_lfs_read_body(call, &text, &len);
	if (read)
		rc = parse(call->alloc, bole_bytes_of(text, len), q);
	bole_alloc_free(call->alloc, text, len, 1);
	if (read && rc == BOLE_E_NO_MEMORY)
		bole_lfs_failed(call, rc);
	else if (read && rc != BOLE_OK)
		bole_lfs_error(call, rc == BOLE_E_LIMIT ? 413 : 422,
		               "the request is malformed, or something in it is too long");
	else if (read && q->ref[0] != '\0' && !bole_lfs_may_write_ref(call, q->ref))
		bole_lfs_error(call, 403, "this user may not write to this reference");
	else if (read)
		return q;
	bole_alloc_free(call->alloc, q, 1, sizeof *q);
	return NULL;
}

static void close_request(struct lfs_call *call, struct lock_request *q)
{
	bole_alloc_free(call->alloc, q, 1, sizeof *q);
}

/* -- queries -- */

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A value of a query, as a form writes it. False: malformed, or too long. */
static bool decode_value(struct bole_bytes value, char *dst, size_t cap)
{
	size_t len = 0;

	for (size_t i = 0; i < value.len; i++) {
		int c = value.ptr[i] == '+' ? ' ' : value.ptr[i];

		if (c == '%') {
			if (value.len - i < 3)
				return false;
			int high = hex_value(value.ptr[i + 1]);
			int low = hex_value(value.ptr[i + 2]);
			c = high < 0 || low < 0 ? 0 : high * 16 + low;
			i += 2;
		}
		if (c == 0 || len + 1 >= cap)
			return false;
		dst[len++] = (char)c;
	}
	dst[len] = '\0';
	return true;
}

static bool parse_limit(struct bole_bytes value, uint64_t *out)
{
	*out = 0;
	for (size_t i = 0; i < value.len; i++) {
		if (value.ptr[i] < '0' || value.ptr[i] > '9' ||
		    __builtin_mul_overflow(*out, (uint64_t)10, out) ||
		    __builtin_add_overflow(*out, (uint64_t)(value.ptr[i] - '0'), out))
			return false;
	}
	return value.len > 0;
}

static bool parse_query(struct bole_bytes query, struct lock_request *q)
{
	struct bole_bytes v;

	if (bole_http_query_get(query, "path", &v)) {
		q->has_path = true;
		if (!decode_value(v, q->path, sizeof q->path))
			return false;
	}
	if (bole_http_query_get(query, "id", &v)) {
		q->has_id = true;
		if (!decode_value(v, q->id, sizeof q->id))
			q->id[0] = '\0'; /* no lock is called that */
	}
	if (bole_http_query_get(query, "cursor", &v) &&
	    !decode_value(v, q->cursor, sizeof q->cursor))
		return false;
	return !bole_http_query_get(query, "limit", &v) || parse_limit(v, &q->limit);
}

/* -- answers -- */

static void put_lock(struct bole_buffer *out, const struct bole_lfs_lock *lock)
{
	char time[32];

	bole_node_format_time(lock->locked_s, time, sizeof time);
	bole_buffer_format(out, "{\"id\":\"%s\",\"path\":", lock->id);
	bole_json_put(out, bole_bytes_z(lock->path));
	bole_buffer_format(out, ",\"locked_at\":\"%s\",\"owner\":{\"name\":", time);
	bole_json_put(out, bole_bytes_z(lock->owner));
	bole_buffer_text(out, "}}");
}

static void answer_lock(struct lfs_call *call, unsigned status, const struct bole_lfs_lock *lock,
                        const char *message)
{
	struct bole_buffer *out = &call->text;

	call->response.status = status;
	bole_buffer_text(out, "{\"lock\":");
	put_lock(out, lock);
	if (message != NULL)
		bole_buffer_format(out, ",\"message\":\"%s\"", message);
	bole_buffer_text(out, "}\n");
}

static const char *owner_of(const struct lfs_call *call)
{
	return call->who == NULL ? "anonymous" : call->who;
}

/* -- lists -- */

/* Locks from q->cursor on, as one page; each goes where `which` says, of which there are two. */
struct page {
	struct bole_buffer part[2];
	char last[BOLE_LFS_LOCK_ID_MAX]; /* "" = that was all */
};

static void add_to_page(struct page *page, unsigned which, const struct bole_lfs_lock *lock)
{
	struct bole_buffer *out = &page->part[which];

	bole_buffer_text(out, out->len == 0 ? "" : ",");
	put_lock(out, lock);
}

static enum bole_status fill_page(struct lfs_call *call, struct lock_request *q, struct page *page,
                                  const char *mine)
{
	uint64_t limit = q->limit == 0 ? LFS_PAGE_DEFAULT : q->limit;
	struct bole_lfs_lock *lock = &q->lock;

	if (limit > LFS_PAGE_MAX)
		limit = LFS_PAGE_MAX;
	page->last[0] = '\0';
	for (uint64_t i = 0; call->repo.id != 0; i++) {
		enum bole_status rc = bole_lfs_lock_next(call->node->store, call->repo.id,
		                                         call->alloc, q->cursor, lock);
		if (rc == BOLE_END)
			return BOLE_OK;
		BOLE_TRY(rc);
		if (i == limit || page->part[0].len + page->part[1].len > LFS_TEXT_MAX / 2) {
			memcpy(page->last, q->cursor, sizeof page->last);
			return BOLE_OK;
		}
		memcpy(q->cursor, lock->id, sizeof q->cursor);
		add_to_page(page, mine != NULL && strcmp(lock->owner, mine) != 0, lock);
	}
	return BOLE_OK;
}

static void answer_page(struct lfs_call *call, const struct page *page, bool both)
{
	struct bole_buffer *out = &call->text;

	bole_buffer_text(out, both ? "{\"ours\":[" : "{\"locks\":[");
	bole_lfs_flush(call);
	bole_buffer_append(out, page->part[0].ptr, page->part[0].len);
	bole_lfs_flush(call);
	bole_buffer_text(out, both ? "],\"theirs\":[" : "]");
	if (both) {
		bole_buffer_append(out, page->part[1].ptr, page->part[1].len);
		bole_buffer_byte(out, ']');
	}
	if (page->last[0] != '\0')
		bole_buffer_format(out, ",\"next_cursor\":\"%s\"", page->last);
	bole_buffer_text(out, "}\n");
}

static void list(struct lfs_call *call, struct lock_request *q, bool both)
{
	struct page page;

	bole_buffer_init(&page.part[0], call->alloc, LFS_TEXT_MAX);
	bole_buffer_init(&page.part[1], call->alloc, LFS_TEXT_MAX);
	enum bole_status rc = fill_page(call, q, &page, both ? owner_of(call) : NULL);
	if (rc == BOLE_OK)
		rc = page.part[0].rc != BOLE_OK ? page.part[0].rc : page.part[1].rc;
	if (rc == BOLE_E_INVALID)
		bole_lfs_error(call, 422, "the cursor is none");
	else if (rc != BOLE_OK)
		bole_lfs_failed(call, rc);
	else
		answer_page(call, &page, both);
	bole_buffer_release(&page.part[0]);
	bole_buffer_release(&page.part[1]);
}

/* The one lock that a path or an id names, if both that are given do. */
static void list_one(struct lfs_call *call, struct lock_request *q)
{
	struct bole_store *store = call->node->store;
	enum bole_status rc = BOLE_E_NOT_FOUND;

	if (call->repo.id != 0 && q->has_id)
		rc = bole_lfs_lock_by_id(store, call->repo.id, call->alloc, q->id, &q->lock);
	else if (call->repo.id != 0)
		rc = bole_lfs_lock_by_path(store, call->repo.id, call->alloc, q->path, &q->lock);
	if (rc == BOLE_OK && q->has_path && strcmp(q->lock.path, q->path) != 0)
		rc = BOLE_E_NOT_FOUND;
	if (rc != BOLE_OK && rc != BOLE_E_NOT_FOUND) {
		bole_lfs_failed(call, rc);
		return;
	}
	bole_buffer_text(&call->text, "{\"locks\":[");
	if (rc == BOLE_OK)
		put_lock(&call->text, &q->lock);
	bole_buffer_text(&call->text, "]}\n");
}

void bole_lfs_locks_list(struct lfs_call *call)
{
	struct lock_request *q = open_request(call, false);

	if (q == NULL)
		return;
	if (!parse_query(call->query, q))
		bole_lfs_error(call, 422, "the query is malformed");
	else if (q->has_path || q->has_id)
		list_one(call, q);
	else
		list(call, q, false);
	close_request(call, q);
}

void bole_lfs_locks_verify(struct lfs_call *call)
{
	if (!bole_lfs_may_write(call))
		return;
	struct lock_request *q = open_request(call, true);
	if (q == NULL)
		return;
	list(call, q, true);
	close_request(call, q);
}

/* -- changes -- */

/* Would be the name of something outside of a work tree, or of nothing. */
static bool path_fits(const char *path)
{
	if (*path == '/' || *path == '\0')
		return false;
	for (const char *p = path; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return false;
	return true;
}

static void create(struct lfs_call *call, struct lock_request *q)
{
	struct bole_node *node = call->node;

	if (!path_fits(q->path)) {
		bole_lfs_error(call, 422, "the path is missing or malformed");
		return;
	}
	if (call->repo.id == 0) {
		bole_lfs_error(call, 404, "no such repository; push to it first");
		return;
	}
	snprintf(q->lock.owner, sizeof q->lock.owner, "%s", owner_of(call));
	memcpy(q->lock.path, q->path, sizeof q->lock.path);
	bole_lfs_gate_enter(node);
	enum bole_status rc = bole_lfs_lock_create(node->platform, call->alloc, node->store,
	                                           call->repo.id, &q->lock);
	bole_lfs_gate_leave(node);
	if (rc == BOLE_OK)
		answer_lock(call, 201, &q->lock, NULL);
	else if (rc == BOLE_E_EXISTS)
		answer_lock(call, 409, &q->lock, "this path is locked already");
	else if (rc == BOLE_E_LIMIT)
		bole_lfs_error(call, 422, "this repository has too many locks");
	else
		bole_lfs_failed(call, rc);
}

void bole_lfs_locks_create(struct lfs_call *call)
{
	if (!bole_lfs_may_write(call))
		return;
	struct lock_request *q = open_request(call, true);
	if (q == NULL)
		return;
	create(call, q);
	close_request(call, q);
}

static void unlock(struct lfs_call *call, struct lock_request *q)
{
	struct bole_node *node = call->node;
	enum bole_status rc = BOLE_E_NOT_FOUND;

	if (call->repo.id != 0)
		rc = bole_lfs_lock_by_id(node->store, call->repo.id, call->alloc, call->id,
		                         &q->lock);
	bool mine = rc == BOLE_OK && strcmp(q->lock.owner, owner_of(call)) == 0;
	if (rc == BOLE_OK && !mine && !q->force) {
		bole_lfs_error(call, 403, "this lock is somebody else's");
		return;
	}
	if (rc == BOLE_OK && !mine &&
	    !bole_node_access_repo(node->access, call->who, call->name, NODE_FORCE)) {
		bole_lfs_error(call, 403, "this user may not force anything here");
		return;
	}
	if (rc == BOLE_OK) {
		bole_lfs_gate_enter(node);
		rc = bole_lfs_lock_remove(node->store, call->repo.id, call->alloc, call->id);
		bole_lfs_gate_leave(node);
	}
	if (rc == BOLE_OK)
		answer_lock(call, 200, &q->lock, NULL);
	else if (rc == BOLE_E_NOT_FOUND)
		bole_lfs_error(call, 404, "no such lock");
	else
		bole_lfs_failed(call, rc);
}

void bole_lfs_unlock(struct lfs_call *call)
{
	if (!bole_lfs_may_write(call))
		return;
	struct lock_request *q = open_request(call, true);
	if (q == NULL)
		return;
	unlock(call, q);
	close_request(call, q);
}
