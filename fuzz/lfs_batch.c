/* SPDX-License-Identifier: ISC */
/* Any bytes as JSON, as a batch request, as a pointer, as an event in the queue: a value or a
 * refusal; what was read is all there, down to its last member, and no deeper than allowed. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/json.h"
#include "node/lfs_batch.h"
#include "node/webhook.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CAP = 8 };

static bool within(struct bole_bytes piece, struct bole_bytes whole)
{
	return piece.len == 0 ||
	       (piece.ptr >= whole.ptr && piece.ptr + piece.len <= whole.ptr + whole.len);
}

static void *resize(void *ctx, void *ptr, size_t old_size, size_t new_size, size_t align)
{
	(void)ctx;
	(void)old_size;
	(void)align;
	if (new_size != 0)
		return realloc(ptr, new_size);
	free(ptr);
	return NULL;
}

/* In the order of the text, down to the depth that is allowed. */
static void walk(struct yyjson_val *v, unsigned depth)
{
	struct yyjson_obj_iter members;
	struct yyjson_arr_iter elements;
	struct yyjson_val *next;
	char decoded[64];
	uint64_t number;

	BOLE_ASSERT(v != NULL && depth <= BOLE_JSON_DEPTH_MAX);
	if (bole_json_text(v, decoded, sizeof decoded) == BOLE_OK)
		BOLE_ASSERT(yyjson_equals_str(v, decoded));
	if (bole_json_u64(v, &number) == BOLE_OK)
		BOLE_ASSERT(yyjson_is_uint(v));
	if (yyjson_arr_iter_init(v, &elements))
		while ((next = yyjson_arr_iter_next(&elements)) != NULL)
			walk(next, depth + 1);
	if (yyjson_obj_iter_init(v, &members))
		while ((next = yyjson_obj_iter_next(&members)) != NULL) {
			BOLE_ASSERT(yyjson_is_str(next));
			walk(yyjson_obj_iter_get_val(next), depth + 1);
		}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lfs_wanted wanted[CAP];
	struct lfs_batch batch = {.wanted = wanted, .cap = CAP};
	struct bole_alloc alloc = {resize, NULL};
	struct webhook_event event;
	struct yyjson_doc *doc;
	struct bole_oid oid;
	uint64_t number;
	uint8_t *copy = malloc(size == 0 ? 1 : size);

	memcpy(copy, data, size);
	struct bole_bytes text = bole_bytes_of(copy, size);
	enum bole_status rc = bole_json_read(&alloc, text, &doc);
	if (rc == BOLE_OK)
		walk(yyjson_doc_get_root(doc), 0);
	yyjson_doc_free(doc);
	enum bole_status parsed = bole_lfs_batch_parse(&alloc, text, &batch);
	BOLE_ASSERT(parsed != BOLE_OK || rc == BOLE_OK);
	BOLE_ASSERT(batch.count <= CAP);
	for (size_t i = 0; i < batch.count && parsed == BOLE_OK; i++) {
		struct bole_bytes id = wanted[i].id;
		BOLE_ASSERT(memchr(id.ptr, '"', id.len) == NULL || !wanted[i].fine);
	}
	yyjson_doc_free(batch.doc);
	(void)bole_lfs_pointer_parse(text, &oid, &number);
	if (bole_webhook_event_decode(text, &event) == BOLE_OK) {
		BOLE_ASSERT(within(event.url, text));
		BOLE_ASSERT(within(event.body, text));
	}
	free(copy);
	return 0;
}
