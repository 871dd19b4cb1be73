/* SPDX-License-Identifier: ISC */
/* Any bytes as a connection's input: head, target, chunked body. What is accepted must be what a
 * strict reader would make of it, and cutting the input elsewhere must not change the outcome. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "node/gunzip.h"
#include "node/http_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BODY_MAX = 1 << 16 };

struct outcome {
	enum bole_status rc;
	size_t taken;
	size_t len;
	uint8_t body[BODY_MAX];
};

/* Decodes in pieces of `step` bytes, each in a block of its own so that ASan sees its ends. */
static void decode_chunks(struct bole_bytes in, size_t step, struct outcome *out)
{
	struct bole_http_chunks chunks = {0};

	*out = (struct outcome){.rc = BOLE_AGAIN};
	while (out->rc == BOLE_AGAIN && out->taken < in.len) {
		size_t n = in.len - out->taken < step ? in.len - out->taken : step;
		uint8_t *copy = malloc(n);
		memcpy(copy, in.ptr + out->taken, n);
		struct bole_bytes piece = {copy, n};
		struct bole_bytes data;
		while ((out->rc = bole_http_chunks_next(&chunks, &piece, &data)) == BOLE_OK) {
			BOLE_ASSERT(data.len > 0);
			for (size_t i = 0; i < data.len && out->len < BODY_MAX; i++)
				out->body[out->len++] = data.ptr[i];
		}
		out->taken += n - piece.len;
		free(copy);
	}
}

static void check_chunks(struct bole_bytes in)
{
	static struct outcome whole;
	static struct outcome pieces;

	decode_chunks(in, in.len == 0 ? 1 : in.len, &whole);
	decode_chunks(in, 3, &pieces);
	BOLE_ASSERT(whole.rc == pieces.rc);
	BOLE_ASSERT(whole.taken == pieces.taken);
	BOLE_ASSERT(whole.len == pieces.len);
	BOLE_ASSERT(memcmp(whole.body, pieces.body, whole.len) == 0);
}

static void check_target(struct bole_bytes target)
{
	char path[BOLE_HTTP_PATH_MAX];
	struct bole_bytes query;
	struct bole_bytes value;
	struct bole_http_refusal refusal = {0, NULL};

	if (bole_http_parse_target(target, path, &query, &refusal) != BOLE_OK) {
		BOLE_ASSERT(refusal.status >= 400 && refusal.status < 500);
		return;
	}
	BOLE_ASSERT(path[0] == '/');
	BOLE_ASSERT(strstr(path, "//") == NULL);
	BOLE_ASSERT(strstr(path, "/../") == NULL);
	BOLE_ASSERT(strstr(path, "/./") == NULL);
	BOLE_ASSERT(strchr(path, '\\') == NULL);
	(void)bole_http_query_get(query, "service", &value);
}

static void check_head(struct bole_bytes head)
{
	struct bole_http_request r;
	struct bole_http_refusal refusal = {0, NULL};

	if (bole_http_parse_head(head, &r, &refusal) != BOLE_OK) {
		BOLE_ASSERT(refusal.status >= 400 && refusal.status < 600);
		BOLE_ASSERT(refusal.why != NULL);
		return;
	}
	BOLE_ASSERT(!(r.chunked && r.has_length));
	BOLE_ASSERT(memchr(head.ptr, 0, head.len) == NULL);
	check_target(r.target);
}

static void *heap_resize(void *ctx, void *ptr, size_t old_size, size_t new_size, size_t align)
{
	(void)ctx;
	(void)old_size;
	(void)align;
	if (new_size == 0) {
		free(ptr);
		return NULL;
	}
	return realloc(ptr, new_size);
}

/* A packed body, in small pieces: ends, waits for more or is refused; never spins. */
static void check_gunzip(struct bole_bytes in)
{
	struct bole_alloc heap = {.resize = heap_resize};
	struct bole_gunzip *g = NULL;
	enum bole_status rc = BOLE_OK;
	uint8_t out[97];

	BOLE_ASSERT(bole_gunzip_open(&heap, &g) == BOLE_OK);
	while (rc == BOLE_OK) {
		size_t in_len = in.len < 13 ? in.len : 13;
		size_t out_len = sizeof out;
		rc = bole_gunzip_step(g, in.ptr, &in_len, out, &out_len);
		in.ptr += in_len;
		in.len -= in_len;
		if (in_len == 0 && out_len == 0)
			break;
	}
	bole_gunzip_close(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bole_bytes all = {data, size};
	size_t scanned = 0;
	size_t byte_by_byte = 0;
	size_t found = 0;

	if (size > BOLE_HTTP_HEAD_MAX)
		return 0;
	size_t end = bole_http_head_end(all, &scanned);
	for (size_t n = 0; n <= size && found == 0; n++)
		found = bole_http_head_end(bole_bytes_of(data, n), &byte_by_byte);
	BOLE_ASSERT(found == end);
	check_chunks(all);
	check_gunzip(all);
	check_target(all);
	if (end == 0)
		return 0;
	uint8_t *copy = malloc(end);
	memcpy(copy, data, end);
	check_head(bole_bytes_of(copy, end));
	free(copy);
	check_chunks(bole_bytes_of(data + end, size - end));
	return 0;
}
