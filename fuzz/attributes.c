/* SPDX-License-Identifier: ISC */
/* Attributes of paths. The input, in parts with a zero byte between: the root's file, the file of
 * the folder "d", a path in it. Invariants: an answer or a limit, and memory comes back. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/pattern/attributes.h"
#include "support/platform.h"

static struct bole_bytes next_part(struct bole_bytes *rest)
{
	const uint8_t *zero = rest->len == 0 ? NULL : memchr(rest->ptr, 0, rest->len);
	size_t len = zero == NULL ? rest->len : (size_t)(zero - rest->ptr);
	size_t used = zero == NULL ? len : len + 1;
	struct bole_bytes part = bole_bytes_of(rest->ptr, len);

	*rest = bole_bytes_of(rest->ptr + used, rest->len - used);
	return part;
}

static enum bole_status ask(struct bole_attributes *a, struct bole_bytes rest)
{
	static const char *const names[] = {"x", "m", "text", "export-ignore"};
	char path[256] = "d/";

	BOLE_TRY(bole_attributes_enter(a, 0, next_part(&rest)));
	BOLE_TRY(bole_attributes_enter(a, 1, next_part(&rest)));
	size_t len = rest.len < sizeof path - 2 ? rest.len : sizeof path - 2;

	if (len > 0)
		memcpy(path + 2, rest.ptr, len);
	for (size_t i = 0; i < 2 * sizeof names / sizeof names[0]; i++) {
		struct bole_attribute got;

		BOLE_TRY(bole_attributes_get(a, bole_bytes_of(path, len + 2), i % 2 == 1,
		                             names[i / 2], &got));
		BOLE_ASSERT(got.state == BOLE_ATTRIBUTE_VALUE || got.value.len == 0);
	}
	return BOLE_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bole_attributes *a;
	struct test_platform t;

	test_platform_init(&t, 1);
	BOLE_ASSERT(bole_attributes_open(&t.alloc, &a) == BOLE_OK);
	enum bole_status rc = ask(a, bole_bytes_of(data, size));

	BOLE_ASSERT(rc == BOLE_OK || rc == BOLE_E_LIMIT);
	bole_attributes_close(a);
	BOLE_ASSERT(t.blocks == 0);
	test_platform_release(&t);
	return 0;
}
