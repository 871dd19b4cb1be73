/* SPDX-License-Identifier: ISC */
/* Delta instructions. The first byte is the length of the base, which follows; the rest is the
 * delta. Whatever it says, only its own declared result is written. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/delta.h"

enum { RESULT_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0 || data[0] > size - 1)
		return 0;
	struct bole_bytes base = {data + 1, data[0]};
	struct bole_bytes delta = {data + 1 + data[0], size - 1 - data[0]};
	uint64_t base_len;
	uint64_t len;
	enum bole_status rc = bole_delta_sizes(delta, &base_len, &len);
	BOLE_ASSERT(rc == BOLE_OK || rc == BOLE_E_INVALID);
	if (rc != BOLE_OK || len > RESULT_MAX)
		return 0;
	/* Exactly the result, so that one byte more is caught. */
	uint8_t *result = malloc(len == 0 ? 1 : (size_t)len);
	rc = bole_delta_apply(base, delta, result, (size_t)len);
	BOLE_ASSERT(rc == BOLE_OK || rc == BOLE_E_INVALID);
	BOLE_ASSERT(rc != BOLE_OK || base_len == base.len);
	free(result);
	return 0;
}
