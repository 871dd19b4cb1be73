/* SPDX-License-Identifier: ISC */
/* What is encoded is what is decoded. The first byte says how much of the rest is the base; the
 * second, which pieces of the base the target is made of beside what follows. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "git/delta.h"
#include "git/repack/delta_encode.h"
#include "support/platform.h"

enum { PIECES = 8, TARGET_MAX = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(struct bole_alloc *alloc, struct bole_bytes base, struct bole_bytes target)
{
	struct bole_delta_index *index;
	size_t cap = target.len + target.len / 64 + 64;
	uint8_t *delta = malloc(cap);
	uint8_t *result = malloc(target.len + 1);
	size_t len;

	enum bole_status rc = bole_delta_index_open(alloc, base, &index);
	BOLE_ASSERT(rc == BOLE_OK);
	rc = bole_delta_encode(index, target, delta, cap, &len);
	BOLE_ASSERT(rc == BOLE_OK);
	rc = bole_delta_apply(base, bole_bytes_of(delta, len), result, target.len);
	BOLE_ASSERT(rc == BOLE_OK);
	BOLE_ASSERT(target.len == 0 || memcmp(result, target.ptr, target.len) == 0);
	/* A byte less is too little, and nothing else. */
	uint8_t *tight = malloc(len);
	size_t again;
	rc = bole_delta_encode(index, target, tight, len, &again);
	BOLE_ASSERT(rc == BOLE_E_LIMIT || (rc == BOLE_OK && again == len));
	rc = bole_delta_encode(index, target, tight, len - 1, &again);
	BOLE_ASSERT(rc == BOLE_E_LIMIT);
	bole_delta_index_close(index);
	free(tight);
	free(result);
	free(delta);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct test_platform test;

	if (test.base.ops == NULL)
		test_platform_init(&test, 1);
	struct bole_alloc *alloc = test.base.alloc;

	if (size < 2 + 2 * PIECES)
		return 0;
	size_t rest = size - 2 - 2 * PIECES;
	size_t base_len = rest * data[0] / 255;
	const uint8_t *base = data + 2 + 2 * PIECES;
	uint8_t *target = malloc(TARGET_MAX);
	size_t len = 0;

	for (size_t i = 0; i < PIECES; i++) {
		size_t from = base_len * data[2 + 2 * i] / 256;
		size_t n = (base_len - from) * data[3 + 2 * i] / 255;

		if ((data[1] & 1u << i) == 0 || n > TARGET_MAX - len)
			continue;
		memcpy(target + len, base + from, n);
		len += n;
	}
	if (rest - base_len <= TARGET_MAX - len) {
		memcpy(target + len, base + base_len, rest - base_len);
		len += rest - base_len;
	}
	round_trip(alloc, bole_bytes_of(base, base_len), bole_bytes_of(target, len));
	free(target);
	return 0;
}
