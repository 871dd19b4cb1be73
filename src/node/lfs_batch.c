/* SPDX-License-Identifier: ISC */
/* The batch API: which objects are where, and the verification of an upload. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/json.h"
#include "base/memory.h"
#include "node/lfs_batch.h"

enum { ID_SHOWN_MAX = 128, URL_MAX = 2048 };

/* -- reading -- */

/* A value that is a string, or a refusal. */
static enum bole_status want(const struct bole_json_token *t, enum bole_json_kind kind)
{
	return t->kind == kind ? BOLE_OK : BOLE_E_INVALID;
}

static enum bole_status read_object(struct bole_json *j, struct lfs_wanted *out)
{
	struct bole_json_token key;
	struct bole_json_token t;
	bool have_oid = false;
	bool have_size = false;

	*out = (struct lfs_wanted){.fine = true};
	for (;;) {
		BOLE_TRY(bole_json_next(j, &key));
		if (key.kind == BOLE_JSON_OBJECT_END)
			break;
		BOLE_TRY(bole_json_next(j, &t));
		if (bole_json_is(&key, "oid")) {
			BOLE_TRY(want(&t, BOLE_JSON_STRING));
			out->id = t.text;
			have_oid = true;
		} else if (bole_json_is(&key, "size")) {
			BOLE_TRY(want(&t, BOLE_JSON_NUMBER));
			have_size = true;
			if (bole_json_u64(&t, &out->size_bytes) != BOLE_OK)
				out->fine = false;
		} else {
			BOLE_TRY(bole_json_skip(j, &t));
		}
	}
	if (!have_oid || !have_size)
		return BOLE_E_INVALID;
	/* Lower case only, as git-lfs has it: what is written in two ways is not the same. */
	for (size_t i = 0; i < out->id.len; i++)
		out->fine &= out->id.ptr[i] < 'A' || out->id.ptr[i] > 'F';
	if (bole_oid_parse((const char *)out->id.ptr, out->id.len, BOLE_HASH_SHA256, &out->oid) !=
	    BOLE_OK)
		out->fine = false;
	return BOLE_OK;
}

static enum bole_status read_objects(struct bole_json *j, struct lfs_batch *b)
{
	struct bole_json_token t;

	BOLE_TRY(bole_json_next(j, &t));
	BOLE_TRY(want(&t, BOLE_JSON_ARRAY));
	b->count = 0;
	for (;;) {
		BOLE_TRY(bole_json_next(j, &t));
		if (t.kind == BOLE_JSON_ARRAY_END)
			return BOLE_OK;
		BOLE_TRY(want(&t, BOLE_JSON_OBJECT));
		if (b->count == b->cap)
			return BOLE_E_LIMIT;
		BOLE_TRY(read_object(j, &b->wanted[b->count]));
		b->count++;
	}
}

static enum bole_status read_transfers(struct bole_json *j, struct lfs_batch *b)
{
	struct bole_json_token t;

	BOLE_TRY(bole_json_next(j, &t));
	if (t.kind == BOLE_JSON_NULL)
		return BOLE_OK;
	BOLE_TRY(want(&t, BOLE_JSON_ARRAY));
	bool any = false;
	for (;;) {
		BOLE_TRY(bole_json_next(j, &t));
		if (t.kind == BOLE_JSON_ARRAY_END)
			break;
		BOLE_TRY(want(&t, BOLE_JSON_STRING));
		any = true;
		b->basic |= bole_json_is(&t, "basic");
	}
	b->other_only = any && !b->basic;
	return BOLE_OK;
}

static enum bole_status read_ref(struct bole_json *j, struct lfs_batch *b)
{
	struct bole_json_token key;
	struct bole_json_token t;

	BOLE_TRY(bole_json_next(j, &t));
	if (t.kind == BOLE_JSON_NULL)
		return BOLE_OK;
	BOLE_TRY(want(&t, BOLE_JSON_OBJECT));
	for (;;) {
		BOLE_TRY(bole_json_next(j, &key));
		if (key.kind == BOLE_JSON_OBJECT_END)
			return BOLE_OK;
		BOLE_TRY(bole_json_next(j, &t));
		if (bole_json_is(&key, "name") && t.kind == BOLE_JSON_STRING) {
			size_t len;
			BOLE_TRY(bole_json_text(&t, b->ref, sizeof b->ref, &len));
		} else {
			BOLE_TRY(bole_json_skip(j, &t));
		}
	}
}

static enum bole_status read_member(struct bole_json *j, const struct bole_json_token *key,
                                    struct lfs_batch *b)
{
	struct bole_json_token t;

	if (bole_json_is(key, "objects"))
		return read_objects(j, b);
	if (bole_json_is(key, "transfers"))
		return read_transfers(j, b);
	if (bole_json_is(key, "ref"))
		return read_ref(j, b);
	BOLE_TRY(bole_json_next(j, &t));
	if (bole_json_is(key, "operation")) {
		b->download = bole_json_is(&t, "download");
		b->upload = bole_json_is(&t, "upload");
		return BOLE_OK;
	}
	if (bole_json_is(key, "hash_algo")) {
		b->other_hash = !bole_json_is(&t, "sha256");
		return want(&t, BOLE_JSON_STRING);
	}
	return bole_json_skip(j, &t);
}

enum bole_status bole_lfs_batch_parse(struct bole_bytes text, struct lfs_batch *b)
{
	struct bole_json_token t;
	struct bole_json j;

	bole_json_init(&j, text);
	BOLE_TRY(bole_json_next(&j, &t));
	BOLE_TRY(want(&t, BOLE_JSON_OBJECT));
	for (;;) {
		BOLE_TRY(bole_json_next(&j, &t));
		if (t.kind == BOLE_JSON_OBJECT_END)
			break;
		BOLE_TRY(read_member(&j, &t, b));
	}
	enum bole_status rc = bole_json_next(&j, &t);
	return rc == BOLE_END ? BOLE_OK : rc == BOLE_OK ? BOLE_E_INVALID : rc;
}

/* -- answering -- */

static void put_id(struct bole_buffer *out, const struct lfs_wanted *w)
{
	/* Still escaped as it came; what is too long to be one is cut where nothing is escaped. */
	size_t len = w->id.len;

	if (len > ID_SHOWN_MAX || memchr(w->id.ptr, '\\', len) != NULL)
		len = 0;
	bole_buffer_text(out, "{\"oid\":");
	bole_json_put(out, bole_bytes_of(w->id.ptr, len));
	bole_buffer_format(out, ",\"size\":%" PRIu64, w->size_bytes);
}

static void put_error(struct bole_buffer *out, unsigned code, const char *message)
{
	bole_buffer_format(out, ",\"error\":{\"code\":%u,\"message\":", code);
	bole_json_put(out, bole_bytes_z(message));
	bole_buffer_byte(out, '}');
}

/* The credentials of this request are good for the next one as well. */
static void put_action(struct lfs_call *call, const char *name, const char *url)
{
	struct bole_buffer *out = &call->text;

	bole_buffer_format(out, "\"%s\":{\"href\":", name);
	bole_json_put(out, bole_bytes_z(url));
	if (call->who != NULL) {
		bole_buffer_text(out, ",\"header\":{\"Authorization\":");
		bole_json_put(out, call->http->authorization);
		bole_buffer_byte(out, '}');
	}
	bole_buffer_byte(out, '}');
}

static enum bole_status find(struct lfs_call *call, const struct lfs_wanted *w,
                             struct bole_lfs_object *object)
{
	if (call->repo.id == 0)
		return BOLE_E_NOT_FOUND;
	return bole_lfs_find(call->node->store, call->repo.id, call->alloc, &w->oid, object);
}

static void answer_download(struct lfs_call *call, const struct lfs_wanted *w, const char *url)
{
	struct bole_buffer *out = &call->text;
	struct bole_lfs_object object;
	enum bole_status rc = find(call, w, &object);

	if (rc == BOLE_E_NOT_FOUND)
		put_error(out, 404, "no such object");
	else if (rc != BOLE_OK)
		put_error(out, 500, "the store failed; its log says why");
	else if (object.removed)
		put_error(out, 410, "this object was removed");
	else if (object.size_bytes != w->size_bytes)
		put_error(out, 422, "this object has another size");
	if (rc != BOLE_OK || object.removed || object.size_bytes != w->size_bytes)
		return;
	bole_buffer_text(out, ",\"authenticated\":true,\"actions\":{");
	put_action(call, "download", url);
	bole_buffer_byte(out, '}');
}

static void answer_upload(struct lfs_call *call, const struct lfs_wanted *w, const char *url)
{
	struct bole_buffer *out = &call->text;
	struct bole_lfs_object object;
	char verify[URL_MAX + 8];
	enum bole_status rc = find(call, w, &object);
	bool there = rc == BOLE_OK && !object.removed;

	if (there && object.size_bytes != w->size_bytes) {
		put_error(out, 422, "this object has another size");
	} else if (w->size_bytes > call->node->lfs->object_bytes_max) {
		put_error(out, 422, "this object is larger than lfs.maxObjectSize allows");
	} else if (rc != BOLE_OK && rc != BOLE_E_NOT_FOUND) {
		put_error(out, 500, "the store failed; its log says why");
	} else if (!there) {
		bole_buffer_text(out, ",\"authenticated\":true,\"actions\":{");
		put_action(call, "upload", url);
		bole_buffer_byte(out, ',');
		snprintf(verify, sizeof verify, "%s/verify", url);
		put_action(call, "verify", verify);
		bole_buffer_byte(out, '}');
	}
}

static void answer_batch(struct lfs_call *call, const struct lfs_batch *b)
{
	struct bole_buffer *out = &call->text;
	char hex[BOLE_OID_HEX_MAX + 1];
	char url[URL_MAX];

	if (!bole_lfs_base_url(call, url, sizeof url - sizeof hex - 16)) {
		bole_lfs_error(call, 400, "the Host header names no host");
		return;
	}
	size_t base = strlen(url);
	bole_buffer_text(out, "{\"transfer\":\"basic\",\"hash_algo\":\"sha256\",\"objects\":[");
	for (size_t i = 0; i < b->count && call->response.rc == BOLE_OK; i++) {
		const struct lfs_wanted *w = &b->wanted[i];

		bole_buffer_text(out, i == 0 ? "" : ",");
		put_id(out, w);
		if (w->fine) {
			snprintf(url + base, sizeof url - base, "/objects/%s",
			         bole_oid_format(&w->oid, hex));
			if (b->upload)
				answer_upload(call, w, url);
			else
				answer_download(call, w, url);
		} else {
			put_error(out, 422, "the oid or the size is malformed");
		}
		bole_buffer_byte(out, '}');
		if (out->len > LFS_TEXT_FLUSH)
			bole_lfs_flush(call);
	}
	bole_buffer_text(out, "]}\n");
}

/* Everything that speaks against the batch as a whole. */
static bool batch_fits(struct lfs_call *call, enum bole_status rc, const struct lfs_batch *b)
{
	if (rc == BOLE_E_LIMIT)
		bole_lfs_error(call, 413, "too many objects in one batch, or nested too deep");
	else if (rc != BOLE_OK)
		bole_lfs_error(call, 422, "the request is no batch");
	else if (!b->download && !b->upload)
		bole_lfs_error(call, 422, "the operation is neither download nor upload");
	else if (b->other_hash)
		bole_lfs_error(call, 409, "the only hash_algo is sha256");
	else if (b->other_only)
		bole_lfs_error(call, 422, "the only transfer is basic");
	else if (b->upload && !bole_lfs_may_write(call))
		return false;
	else if (b->upload && b->ref[0] != '\0' && !bole_lfs_may_write_ref(call, b->ref))
		bole_lfs_error(call, 403, "this user may not write to this reference");
	else if (b->download && call->repo.id == 0)
		bole_lfs_error(call, 404, "no such repository");
	else
		return true;
	return false;
}

bool bole_lfs_may_write_ref(struct lfs_call *call, const char *ref)
{
	const struct node_access *access = call->node->access;
	struct bole_bytes name = bole_bytes_z(ref);

	return bole_node_access_ref(access, call->who, call->name, name, NODE_UPDATE) ||
	       bole_node_access_ref(access, call->who, call->name, name, NODE_CREATE);
}

void bole_lfs_batch(struct lfs_call *call)
{
	struct lfs_batch *b = bole_alloc_zeroed(call->alloc, 1, sizeof *b);
	uint8_t *text = NULL;
	size_t len = 0;

	if (b == NULL) {
		bole_lfs_failed(call, BOLE_E_NO_MEMORY);
		return;
	}
	b->cap = LFS_BATCH_MAX;
	b->wanted = bole_alloc_array(call->alloc, b->cap, sizeof *b->wanted);
	if (b->wanted == NULL) {
		bole_lfs_failed(call, BOLE_E_NO_MEMORY);
	} else if (bole_lfs_read_body(call, &text, &len)) {
		enum bole_status rc = bole_lfs_batch_parse(bole_bytes_of(text, len), b);
		if (batch_fits(call, rc, b))
			answer_batch(call, b);
		bole_alloc_free(call->alloc, text, len, 1);
	}
	bole_alloc_free(call->alloc, b->wanted, b->wanted == NULL ? 0 : b->cap, sizeof *b->wanted);
	bole_alloc_free(call->alloc, b, 1, sizeof *b);
}

/* -- after an upload -- */

static void check_stored(struct lfs_call *call, struct bole_bytes text)
{
	struct bole_lfs_object object;
	struct bole_json_token t;
	struct lfs_wanted w;
	struct bole_json j;

	bole_json_init(&j, text);
	enum bole_status rc = bole_json_next(&j, &t);
	if (rc == BOLE_OK)
		rc = want(&t, BOLE_JSON_OBJECT);
	if (rc == BOLE_OK)
		rc = read_object(&j, &w);
	if (rc != BOLE_OK || !w.fine || !bole_bytes_equal(w.id, bole_bytes_z(call->id))) {
		bole_lfs_error(call, 422, "the request does not name this object and its size");
		return;
	}
	rc = find(call, &w, &object);
	if (rc == BOLE_OK && object.removed)
		rc = BOLE_E_NOT_FOUND;
	if (rc != BOLE_OK)
		bole_lfs_failed(call, rc);
	else if (object.size_bytes != w.size_bytes)
		bole_lfs_error(call, 422, "this object has another size");
	else
		bole_buffer_text(&call->text, "{}\n");
}

void bole_lfs_verify(struct lfs_call *call)
{
	uint8_t *text = NULL;
	size_t len = 0;

	if (!bole_lfs_may_write(call) || !bole_lfs_read_body(call, &text, &len))
		return;
	check_stored(call, bole_bytes_of(text, len));
	bole_alloc_free(call->alloc, text, len, 1);
}
