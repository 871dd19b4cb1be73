/* SPDX-License-Identifier: ISC */
/* Heads of pack entries: what parses is written back and parses to the same. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/object/object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bole_entry_head head;
	struct bole_entry_head again;
	uint8_t formatted[BOLE_ENTRY_HEAD_MAX];

	if (size == 0)
		return 0;
	uint8_t algo = data[0] & 1 ? BOLE_HASH_SHA256 : BOLE_HASH_SHA1;
	struct bole_bytes rest = {data + 1, size - 1};
	enum bole_status rc = bole_entry_head_parse(rest, algo, &head);
	BOLE_ASSERT(rc == BOLE_OK || rc == BOLE_E_INVALID || rc == BOLE_AGAIN);
	BOLE_ASSERT(rc != BOLE_AGAIN || rest.len < BOLE_ENTRY_HEAD_MAX);
	if (rc != BOLE_OK)
		return 0;
	BOLE_ASSERT(head.head_bytes <= rest.len);
	size_t len = bole_entry_head_format(&head, algo, formatted);
	BOLE_ASSERT(len <= head.head_bytes);
	rc = bole_entry_head_parse(bole_bytes_of(formatted, len), algo, &again);
	BOLE_ASSERT(rc == BOLE_OK);
	BOLE_ASSERT(again.head_bytes == len);
	BOLE_ASSERT(again.type == head.type && again.inflated_bytes == head.inflated_bytes);
	BOLE_ASSERT(again.base_distance == head.base_distance);
	BOLE_ASSERT(bole_oid_equal(&again.base, &head.base));
	return 0;
}
