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

static enum bole_status read_object(struct yyjson_val *value, struct lfs_wanted *out)
{
	struct yyjson_obj_iter i;
	struct yyjson_val *key;
	bool have_oid = false;
	bool have_size = false;

	*out = (struct lfs_wanted){.fine = true};
	yyjson_obj_iter_init(value, &i);
	while ((key = yyjson_obj_iter_next(&i)) != NULL) {
		struct yyjson_val *v = yyjson_obj_iter_get_val(key);

		if (yyjson_equals_str(key, "oid")) {
			if (!yyjson_is_str(v))
				return BOLE_E_INVALID;
			out->id = bole_bytes_of(yyjson_get_str(v), yyjson_get_len(v));
			have_oid = true;
		} else if (yyjson_equals_str(key, "size")) {
			if (!yyjson_is_num(v) && !yyjson_is_raw(v))
				return BOLE_E_INVALID;
			have_size = true;
			if (bole_json_u64(v, &out->size_bytes) != BOLE_OK)
				out->fine = false;
		}
	}
	if (!have_oid || !have_size)
		return BOLE_E_INVALID;
	/* Lower case only, as git-lfs has it: what is written in two ways is not the same. */
	for (size_t n = 0; n < out->id.len; n++)
		out->fine &= out->id.ptr[n] < 'A' || out->id.ptr[n] > 'F';
	if (bole_oid_parse((const char *)out->id.ptr, out->id.len, BOLE_HASH_SHA256, &out->oid) !=
	    BOLE_OK)
		out->fine = false;
	return BOLE_OK;
}

static enum bole_status read_objects(struct yyjson_val *value, struct lfs_batch *b)
{
	struct yyjson_arr_iter i;
	struct yyjson_val *v;

	if (!yyjson_is_arr(value))
		return BOLE_E_INVALID;
	b->count = 0;
	yyjson_arr_iter_init(value, &i);
	while ((v = yyjson_arr_iter_next(&i)) != NULL) {
		if (!yyjson_is_obj(v))
			return BOLE_E_INVALID;
		if (b->count == b->cap)
			return BOLE_E_LIMIT;
		BOLE_TRY(read_object(v, &b->wanted[b->count]));
		b->count++;
	}
	return BOLE_OK;
}

static enum bole_status read_transfers(struct yyjson_val *value, struct lfs_batch *b)
{
	struct yyjson_arr_iter i;
	struct yyjson_val *v;

	if (yyjson_is_null(value))
		return BOLE_OK;
	if (!yyjson_is_arr(value))
		return BOLE_E_INVALID;
	yyjson_arr_iter_init(value, &i);
	while ((v = yyjson_arr_iter_next(&i)) != NULL) {
		if (!yyjson_is_str(v))
			return BOLE_E_INVALID;
		b->basic |= yyjson_equals_str(v, "basic");
	}
	b->other_only = yyjson_arr_size(value) > 0 && !b->basic;
	return BOLE_OK;
}

static enum bole_status read_ref(struct yyjson_val *value, struct lfs_batch *b)
{
	struct yyjson_obj_iter i;
	struct yyjson_val *key;

	if (yyjson_is_null(value))
		return BOLE_OK;
	if (!yyjson_is_obj(value))
		return BOLE_E_INVALID;
	yyjson_obj_iter_init(value, &i);
	while ((key = yyjson_obj_iter_next(&i)) != NULL) {
		struct yyjson_val *v = yyjson_obj_iter_get_val(key);

		if (yyjson_equals_str(key, "name") && yyjson_is_str(v))
			BOLE_TRY(bole_json_text(v, b->ref, sizeof b->ref));
	}
	return BOLE_OK;
}

static enum bole_status read_member(struct yyjson_val *key, struct yyjson_val *v,
                                    struct lfs_batch *b)
{
	if (yyjson_equals_str(key, "objects"))
		return read_objects(v, b);
	if (yyjson_equals_str(key, "transfers"))
		return read_transfers(v, b);
	if (yyjson_equals_str(key, "ref"))
		return read_ref(v, b);
	if (yyjson_equals_str(key, "operation")) {
		b->download = yyjson_equals_str(v, "download");
		b->upload = yyjson_equals_str(v, "upload");
	} else if (yyjson_equals_str(key, "hash_algo")) {
		b->other_hash = !yyjson_equals_str(v, "sha256");
		return yyjson_is_str(v) ? BOLE_OK : BOLE_E_INVALID;
	}
	return BOLE_OK;
}

enum bole_status bole_lfs_batch_parse(struct bole_alloc *alloc, struct bole_bytes text,
                                      struct lfs_batch *b)
{
	struct yyjson_obj_iter i;
	struct yyjson_val *key;

	BOLE_TRY(bole_json_read(alloc, text, &b->doc));
	if (!yyjson_is_obj(yyjson_doc_get_root(b->doc)))
		return BOLE_E_INVALID;
	yyjson_obj_iter_init(yyjson_doc_get_root(b->doc), &i);
	while ((key = yyjson_obj_iter_next(&i)) != NULL)
		BOLE_TRY(read_member(key, yyjson_obj_iter_get_val(key), b));
	return BOLE_OK;
}

/* -- answering -- */

static void put_id(struct bole_buffer *out, const struct lfs_wanted *w)
{
	size_t len = w->id.len > ID_SHOWN_MAX ? 0 : w->id.len;

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
	if (rc == BOLE_E_NO_MEMORY)
		bole_lfs_failed(call, rc);
	else if (rc == BOLE_E_LIMIT)
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
		enum bole_status rc =
		        bole_lfs_batch_parse(call->alloc, bole_bytes_of(text, len), b);
		bole_alloc_free(call->alloc, text, len, 1);
		if (batch_fits(call, rc, b))
			answer_batch(call, b);
		yyjson_doc_free(b->doc);
	}
	bole_alloc_free(call->alloc, b->wanted, b->wanted == NULL ? 0 : b->cap, sizeof *b->wanted);
	bole_alloc_free(call->alloc, b, 1, sizeof *b);
}

/* -- after an upload -- */

/* The object that the request names and whose path it came by. */
static enum bole_status read_named(struct lfs_call *call, struct bole_bytes text,
                                   struct lfs_wanted *out)
{
	struct yyjson_doc *doc;

	BOLE_TRY(bole_json_read(call->alloc, text, &doc));
	enum bole_status rc = read_object(yyjson_doc_get_root(doc), out);
	if (rc == BOLE_OK && (!out->fine || !bole_bytes_equal(out->id, bole_bytes_z(call->id))))
		rc = BOLE_E_INVALID;
	yyjson_doc_free(doc);
	return rc;
}

static void check_stored(struct lfs_call *call, struct bole_bytes text)
{
	struct bole_lfs_object object;
	struct lfs_wanted w;

	enum bole_status rc = read_named(call, text, &w);
	if (rc != BOLE_OK) {
		if (rc == BOLE_E_NO_MEMORY)
			bole_lfs_failed(call, rc);
		else
			bole_lfs_error(call, 422,
			               "the request does not name this object and its size");
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
