/* SPDX-License-Identifier: ISC */
/* Any bytes as JSON, as a batch request, as a pointer, as an event in the queue: an end or a
 * refusal; what was read is within the input; skipping a value and reading it end in one place. */
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

static enum bole_status read_tokens(struct bole_bytes text)
{
	char decoded[64];
	struct bole_json_token t;
	struct bole_json j;
	enum bole_status rc;
	size_t count = 0;

	bole_json_init(&j, text);
	while ((rc = bole_json_next(&j, &t)) == BOLE_OK) {
		uint64_t number;
		size_t len;

		BOLE_ASSERT(++count <= text.len);
		BOLE_ASSERT(within(t.text, text));
		BOLE_ASSERT(j.depth <= BOLE_JSON_DEPTH_MAX);
		if (t.kind == BOLE_JSON_STRING || t.kind == BOLE_JSON_KEY) {
			rc = bole_json_text(&t, decoded, sizeof decoded, &len);
			BOLE_ASSERT(rc != BOLE_OK || strlen(decoded) == len);
			BOLE_ASSERT(rc != BOLE_OK || bole_json_is(&t, decoded));
		}
		(void)bole_json_u64(&t, &number);
	}
	BOLE_ASSERT(rc == BOLE_END || bole_json_next(&j, &t) == BOLE_E_INVALID);
	return rc;
}

static enum bole_status skip_all(struct bole_bytes text)
{
	struct bole_json_token t;
	struct bole_json j;

	bole_json_init(&j, text);
	BOLE_TRY(bole_json_next(&j, &t));
	BOLE_TRY(bole_json_skip(&j, &t));
	return bole_json_next(&j, &t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lfs_wanted wanted[CAP];
	struct lfs_batch batch = {.wanted = wanted, .cap = CAP};
	struct webhook_event event;
	struct bole_oid oid;
	uint64_t number;
	uint8_t *copy = malloc(size == 0 ? 1 : size);

	memcpy(copy, data, size);
	struct bole_bytes text = bole_bytes_of(copy, size);
	enum bole_status rc = read_tokens(text);
	BOLE_ASSERT(skip_all(text) == rc);
	enum bole_status parsed = bole_lfs_batch_parse(text, &batch);
	BOLE_ASSERT(parsed != BOLE_OK || rc == BOLE_END);
	BOLE_ASSERT(batch.count <= CAP);
	for (size_t i = 0; i < batch.count && parsed == BOLE_OK; i++)
		BOLE_ASSERT(within(wanted[i].id, text));
	(void)bole_lfs_pointer_parse(text, &oid, &number);
	if (bole_webhook_event_decode(text, &event) == BOLE_OK) {
		BOLE_ASSERT(within(event.url, text));
		BOLE_ASSERT(within(event.body, text));
	}
	free(copy);
	return 0;
}
