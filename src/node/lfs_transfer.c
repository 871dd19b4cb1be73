/* SPDX-License-Identifier: ISC */
/* The basic transfer: content by GET and PUT. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "node/lfs.h"

enum {
	PIECE_BYTES = 64 * 1024,
	SPACE_SLACK = 1 << 20, /* beside the content, for what is written of it */
};

static void object_id(const struct lfs_call *call, struct bole_oid *out)
{
	/* The path was looked at. */
	enum bole_status rc = bole_oid_parse(call->id, strlen(call->id), BOLE_HASH_SHA256, out);
	BOLE_ASSERT(rc == BOLE_OK);
}

/* -- GET -- */

/* What of it is asked for; false: it has been answered. */
static bool choose_range(struct lfs_call *call, uint64_t size, uint64_t *first, uint64_t *len)
{
	struct node_response *response = &call->response;
	struct bole_bytes range = call->http->range;

	*first = 0;
	*len = size;
	enum bole_status rc = BOLE_E_INVALID;
	if (range.len > 0)
		rc = bole_http_parse_range(range, size, first, len);
	if (rc == BOLE_E_LIMIT) {
		snprintf(call->extra, sizeof call->extra, "Content-Range: bytes */%" PRIu64 "\r\n",
		         size);
		bole_lfs_error(call, 416, "this range is not there");
		return false;
	}
	if (rc == BOLE_OK) {
		response->status = 206;
		snprintf(call->extra, sizeof call->extra,
		         "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n", *first,
		         *first + *len - 1, size);
	} else { /* what is malformed is ignored (RFC 9110, 14.2) */
		*first = 0;
		*len = size;
		snprintf(call->extra, sizeof call->extra, "Accept-Ranges: bytes\r\n");
	}
	return true;
}

static enum bole_status send_piece(struct lfs_call *call, const struct bole_lfs_object *object,
                                   uint64_t *pos, uint64_t *left)
{
	struct bole_writer *writer = &call->response.writer;
	struct bole_bytes piece;
	uint8_t *block = NULL;
	size_t block_len = 0;

	BOLE_TRY(bole_lfs_read(call->node->store, call->repo.id, call->alloc, object, *pos, &piece,
	                       &block, &block_len));
	if (piece.len > *left)
		piece.len = (size_t)*left;
	enum bole_status rc = BOLE_OK;
	for (size_t at = 0; at < piece.len && rc == BOLE_OK; at += PIECE_BYTES) {
		size_t n = piece.len - at < PIECE_BYTES ? piece.len - at : PIECE_BYTES;
		rc = writer->write(writer, piece.ptr + at, n);
	}
	bole_alloc_free(call->alloc, block, block_len, 1);
	*pos += piece.len;
	*left -= piece.len;
	return rc;
}

void bole_lfs_get(struct lfs_call *call)
{
	struct node_response *response = &call->response;
	struct bole_lfs_object object;
	struct bole_oid oid;
	uint64_t first;
	uint64_t len;

	object_id(call, &oid);
	enum bole_status rc =
	        bole_lfs_find(call->node->store, call->repo.id, call->alloc, &oid, &object);
	if (call->repo.id == 0 || rc == BOLE_E_NOT_FOUND) {
		bole_lfs_error(call, 404, "no such object");
		return;
	}
	if (rc == BOLE_OK && object.removed) {
		bole_lfs_error(call, 410, "this object was removed");
		return;
	}
	if (rc != BOLE_OK) {
		bole_lfs_failed(call, rc);
		return;
	}
	if (!choose_range(call, object.size_bytes, &first, &len))
		return;
	response->content_type = "application/octet-stream";
	response->extra = call->extra;
	response->sized = true;
	response->length = len;
	if (call->http->method == BOLE_HTTP_HEAD)
		return;
	while (rc == BOLE_OK && len > 0)
		rc = send_piece(call, &object, &first, &len);
	if (rc != BOLE_OK)
		bole_lfs_failed(call, rc);
}

/* -- PUT -- */

/* The repository that the push to come would make. */
static enum bole_status make_repo(struct lfs_call *call)
{
	struct bole_node *node = call->node;

	if (call->repo.id != 0)
		return BOLE_OK;
	enum bole_status rc = bole_repo_create(node->store, call->name,
	                                       bole_node_default_format(node, call->name),
	                                       NODE_DEFAULT_HEAD, &call->repo);
	if (rc == BOLE_E_EXISTS) /* somebody else was quicker */
		rc = bole_repo_find(node->store, call->name, &call->repo);
	return rc;
}

/* Before the first byte, where the length is known. */
static enum bole_status check_space(struct lfs_call *call)
{
	struct bole_store_stats stats;

	BOLE_TRY(bole_store_stats(call->node->store, &stats));
	if (call->http->has_length && call->http->content_length > SPACE_SLACK &&
	    call->http->content_length - SPACE_SLACK > stats.free_bytes)
		return BOLE_E_NO_SPACE;
	return BOLE_OK;
}

static void refuse_put(struct lfs_call *call, enum bole_status rc, bool from_body)
{
	call->response.close = true; /* whatever is left of the body is not read */
	if (from_body && rc == BOLE_E_LIMIT)
		bole_lfs_error(call, 413, "this object is larger than lfs.maxObjectSize allows");
	else if (from_body && rc == BOLE_E_TIMEOUT)
		bole_lfs_error(call, 408, "the content did not come in time");
	else if (from_body && rc == BOLE_E_INVALID)
		bole_lfs_error(call, 400, "the request body is malformed");
	else if (from_body)
		call->response.rc = BOLE_E_CLOSED;
	else
		bole_lfs_failed(call, rc);
}

/* The body into an upload, or nowhere where the object is here already (up NULL): many clients do
 * not read an answer before they have sent everything. False: it has been answered. */
static bool take_body(struct lfs_call *call, struct bole_lfs_upload *up)
{
	struct bole_reader *reader = &call->body.reader;
	uint8_t *piece = bole_alloc_array(call->alloc, PIECE_BYTES, 1);
	enum bole_status rc = piece == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
	bool from_body = false;

	while (rc == BOLE_OK) {
		size_t got = 0;

		rc = reader->read(reader, piece, PIECE_BYTES, &got);
		from_body = rc != BOLE_OK;
		if (rc == BOLE_OK && up != NULL)
			rc = bole_lfs_upload_write(up, piece, got);
	}
	bole_alloc_free(call->alloc, piece, piece == NULL ? 0 : PIECE_BYTES, 1);
	if (rc == BOLE_END)
		return true;
	refuse_put(call, rc, from_body);
	return false;
}

static void store_body(struct lfs_call *call, const struct bole_oid *oid)
{
	struct bole_node *node = call->node;
	struct bole_lfs_upload *up = NULL;
	enum bole_status rc = check_space(call);

	if (rc == BOLE_OK)
		rc = make_repo(call);
	if (rc == BOLE_OK)
		rc = bole_lfs_upload_open(node->platform, call->alloc, node->store, call->repo.id,
		                          oid, &up);
	if (rc != BOLE_OK) {
		refuse_put(call, rc, false);
		return;
	}
	if (!take_body(call, up)) {
		bole_lfs_upload_abort(up);
		return;
	}
	rc = bole_lfs_upload_finish(up);
	if (rc == BOLE_E_INVALID)
		bole_lfs_error(call, 422, "the content does not have this id");
	else if (rc != BOLE_OK)
		bole_lfs_failed(call, rc);
	if (rc == BOLE_E_NO_SPACE)
		bole_node_background_wake(node);
}

void bole_lfs_put(struct lfs_call *call)
{
	struct bole_lfs_object object;
	struct bole_oid oid;
	enum bole_status rc = BOLE_E_NOT_FOUND;

	if (!bole_lfs_may_write(call)) {
		call->response.close = true;
		return;
	}
	object_id(call, &oid);
	if (call->repo.id != 0)
		rc = bole_lfs_find(call->node->store, call->repo.id, call->alloc, &oid, &object);
	if (rc == BOLE_OK && !object.removed)
		(void)take_body(call, NULL);
	else if (rc == BOLE_OK || rc == BOLE_E_NOT_FOUND)
		store_body(call, &oid);
	else
		refuse_put(call, rc, false);
}
