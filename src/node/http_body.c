/* SPDX-License-Identifier: ISC */
/* Request bodies: Content-Length or chunked, then perhaps gzip, within limits. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "node/gunzip.h"
#include "node/internal.h"

enum {
	PACKED_BYTES = 8192,
	FINISH_BYTES_MAX = 64 * 1024, /* of a body nobody wanted that is read away */
	/* Text of a request packs 2 to 1, repeated lines perhaps 30 to 1; a bomb 1000 to 1. */
	RATIO_MAX = 200,
	RATIO_FREE_BYTES = 1 << 20,
};

static enum bole_status read_chunked(struct node_body *b, uint8_t *dst, size_t cap, size_t *got)
{
	struct node_connection *c = b->connection;

	for (;;) {
		if (c->input_pos == c->input_len) {
			enum bole_status rc = bole_node_connection_fill(c, 0);
			if (rc != BOLE_OK)
				return rc == BOLE_END ? BOLE_E_CLOSED : rc;
		}
		size_t have = c->input_len - c->input_pos;
		struct bole_bytes in =
		        bole_bytes_of(c->input + c->input_pos, have < cap ? have : cap);
		struct bole_bytes data;
		size_t before = in.len;
		enum bole_status rc = bole_http_chunks_next(&b->chunks, &in, &data);
		c->input_pos += before - in.len;
		if (rc == BOLE_AGAIN)
			continue;
		if (rc == BOLE_OK) {
			memcpy(dst, data.ptr, data.len);
			*got = data.len;
		}
		return rc;
	}
}

static enum bole_status read_length(struct node_body *b, uint8_t *dst, size_t cap, size_t *got)
{
	struct bole_reader *reader = &b->connection->reader;

	if (b->left == 0)
		return BOLE_END;
	enum bole_status rc = reader->read(reader, dst, cap < b->left ? cap : (size_t)b->left, got);
	b->left -= *got;
	return rc == BOLE_END ? BOLE_E_CLOSED : rc;
}

/* The body without its transfer coding. */
static enum bole_status read_coded(struct node_body *b, uint8_t *dst, size_t cap, size_t *got)
{
	*got = 0;
	if (b->ended)
		return BOLE_END;
	enum bole_status rc = b->request->chunked ? read_chunked(b, dst, cap, got)
	                                          : read_length(b, dst, cap, got);
	b->ended = rc == BOLE_END;
	b->taken += *got;
	return rc;
}

/* The member is complete: nothing may follow. */
static enum bole_status gunzip_end(struct node_body *b)
{
	size_t got = 0;

	if (b->packed_pos < b->packed_len)
		return BOLE_E_INVALID;
	enum bole_status rc = read_coded(b, b->packed, PACKED_BYTES, &got);
	return rc == BOLE_OK ? BOLE_E_INVALID : rc;
}

static enum bole_status read_gzip(struct node_body *b, uint8_t *dst, size_t cap, size_t *got)
{
	for (;;) {
		size_t in_len = b->packed_len - b->packed_pos;
		size_t out_len = cap;
		enum bole_status rc = bole_gunzip_step(b->gunzip, b->packed + b->packed_pos,
		                                       &in_len, dst, &out_len);
		b->packed_pos += in_len;
		*got = out_len;
		if (rc != BOLE_OK && rc != BOLE_END)
			return rc;
		if (out_len > 0)
			return BOLE_OK;
		if (rc == BOLE_END)
			return gunzip_end(b);
		b->packed_pos = 0;
		rc = read_coded(b, b->packed, PACKED_BYTES, &b->packed_len);
		if (rc != BOLE_OK)
			return rc == BOLE_END ? BOLE_E_INVALID : rc;
	}
}

static enum bole_status check_limits(const struct node_body *b)
{
	if (b->produced > b->limit)
		return BOLE_E_LIMIT;
	if (b->gunzip != NULL && b->produced > RATIO_FREE_BYTES &&
	    b->produced / RATIO_MAX > b->taken)
		return BOLE_E_LIMIT;
	return BOLE_OK;
}

static enum bole_status body_read(struct bole_reader *self, void *dst, size_t cap, size_t *got)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct node_body *b = (struct node_body *)(void *)self;

	*got = 0;
	if (b->continue_due) {
		struct bole_bytes text = bole_bytes_z(go_on);
		b->continue_due = false;
		b->rc = bole_node_connection_send(b->connection, &text, 1);
	}
	if (b->rc == BOLE_OK)
		b->rc = b->gunzip != NULL ? read_gzip(b, dst, cap, got)
		                          : read_coded(b, dst, cap, got);
	if (b->rc == BOLE_OK) {
		b->produced += *got;
		b->rc = check_limits(b);
	}
	if (b->rc != BOLE_OK)
		*got = 0;
	return b->rc;
}

enum bole_status bole_node_body_open(struct node_body *b, struct node_connection *c,
                                     const struct bole_http_request *r, struct bole_alloc *alloc,
                                     uint64_t limit)
{
	struct bole_bytes coding = r->content_encoding;

	*b = (struct node_body){
	        .reader = {body_read},
	        .connection = c,
	        .request = r,
	        .alloc = alloc,
	        .left = r->content_length,
	        .limit = limit,
	        .continue_due = r->expect_continue,
	};
	if (coding.len == 0 || bole_http_is(coding, "identity"))
		return BOLE_OK;
	if (!bole_http_is(coding, "gzip") && !bole_http_is(coding, "x-gzip"))
		return BOLE_E_UNSUPPORTED;
	b->packed = bole_alloc_array(alloc, PACKED_BYTES, 1);
	if (b->packed == NULL)
		return BOLE_E_NO_MEMORY;
	return bole_gunzip_open(alloc, &b->gunzip);
}

bool bole_node_body_finish(struct node_body *b)
{
	uint8_t sink[512];
	size_t got = 0;

	if (b->continue_due) /* the peer may send the body or not: nobody can tell */
		return !b->request->chunked && b->request->content_length == 0;
	for (size_t total = 0; total < FINISH_BYTES_MAX; total += got) {
		enum bole_status rc = read_coded(b, sink, sizeof sink, &got);
		if (rc != BOLE_OK)
			return rc == BOLE_END;
	}
	return false;
}

void bole_node_body_close(struct node_body *b)
{
	bole_gunzip_close(b->gunzip);
	bole_alloc_free(b->alloc, b->packed, PACKED_BYTES, 1);
	b->gunzip = NULL;
	b->packed = NULL;
}
