/* SPDX-License-Identifier: ISC */
/* Files that an archive changes. The input: a commit, a zero byte, a file. Invariants: the results
 * have their limits, line ends only add CRs, and memory comes back. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/fetch/pretty.h"
#include "git/fetch/work_file.h"
#include "support/platform.h"

enum { RESULT_MAX = 1 << 16 };

static enum bole_status on_digits(void *ctx, const struct bole_oid *oid, unsigned *out)
{
	(void)ctx;
	*out = 7 + oid->bytes[0] % 40;
	return BOLE_OK;
}

static enum bole_status on_names(void *ctx, struct bole_bytes *out)
{
	(void)ctx;
	*out = bole_bytes_z("HEAD -> main");
	return BOLE_OK;
}

static void check_ends(struct bole_bytes file, struct bole_buffer *out)
{
	for (int ends = BOLE_LINE_ENDS_KEPT; ends <= BOLE_LINE_ENDS_CRLF_AUTO; ends++) {
		size_t at = 0;

		out->len = 0;
		if (!bole_line_ends_apply((enum bole_line_ends)ends, file, out) ||
		    out->rc != BOLE_OK)
			continue;
		for (size_t i = 0; i < file.len; i++) {
			if (out->ptr[at] != file.ptr[i])
				BOLE_ASSERT(out->ptr[at++] == '\r');
			BOLE_ASSERT(out->ptr[at++] == file.ptr[i]);
		}
		BOLE_ASSERT(at == out->len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *zero = size == 0 ? NULL : memchr(data, 0, size);
	size_t len = zero == NULL ? size : (size_t)(zero - data);
	struct bole_pretty p = {.oid = {.algo = BOLE_HASH_SHA1},
	                        .data = bole_bytes_of(data, len),
	                        .now_s = 1700000000,
	                        .digits = on_digits,
	                        .names = on_names};
	struct bole_bytes file =
	        zero == NULL ? bole_bytes_of("", 0) : bole_bytes_of(zero + 1, size - len - 1);
	struct test_platform t;
	struct bole_buffer out;

	test_platform_init(&t, 1);
	bole_buffer_init(&out, &t.alloc, RESULT_MAX);
	if (bole_pretty_open(&p) == BOLE_OK) {
		enum bole_status rc = bole_pretty_file(&p, file, &out);
		BOLE_ASSERT(rc == BOLE_OK || rc == BOLE_E_LIMIT);
		BOLE_ASSERT(out.len <= RESULT_MAX);
	}
	out.len = 0;
	out.rc = BOLE_OK;
	bole_ident_apply(&p.oid, file, &out);
	out.rc = BOLE_OK;
	check_ends(file, &out);
	bole_buffer_release(&out);
	BOLE_ASSERT(t.blocks == 0);
	test_platform_release(&t);
	return 0;
}
