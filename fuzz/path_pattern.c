/* SPDX-License-Identifier: ISC */
/* Patterns for paths. The input: a file of patterns, a zero byte, paths one a line ("/" at the end:
 * a folder). Invariants: no pattern costs more than its length times that of the path, the answer
 * of the file is that of its last pattern that fits, and memory comes back. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/pattern/path_pattern.h"
#include "support/platform.h"

static void try_path(const struct bole_path_patterns *all, struct bole_bytes path)
{
	bool folder = path.len > 0 && path.ptr[path.len - 1] == '/';
	enum bole_path_match expected = BOLE_PATH_UNDECIDED;
	uint64_t whole = 0;

	path.len -= folder;
	for (size_t i = 0; i < all->count; i++) {
		const struct bole_path_pattern *p = &all->rows[i];
		uint64_t states = p->globs ? p->glob.count + p->glob.count / 64 + 2 : 0;
		uint64_t work = 0;

		if (bole_path_pattern_match(p, path, folder, &work))
			expected = p->negative ? BOLE_PATH_NOT_MATCHED : BOLE_PATH_MATCHED;
		BOLE_ASSERT(work <= 1 + path.len * states);
	}
	BOLE_ASSERT(bole_path_patterns_match(all, path, folder, &whole) == expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *zero = size == 0 ? NULL : memchr(data, 0, size);
	size_t len = zero == NULL ? size : (size_t)(zero - data);
	struct bole_bytes rest = bole_bytes_of(data + len, size - len);
	struct bole_path_patterns all;
	struct test_platform t;

	test_platform_init(&t, 1);
	enum bole_status rc = bole_path_patterns_parse(&all, &t.alloc, bole_bytes_of(data, len));

	BOLE_ASSERT(rc == BOLE_OK || rc == BOLE_E_LIMIT);
	while (rc == BOLE_OK && rest.len > 1) {
		rest = bole_bytes_of(rest.ptr + 1, rest.len - 1);
		const uint8_t *end = memchr(rest.ptr, '\n', rest.len);
		size_t path = end == NULL ? rest.len : (size_t)(end - rest.ptr);

		try_path(&all, bole_bytes_of(rest.ptr, path));
		rest = bole_bytes_of(rest.ptr + path, rest.len - path);
	}
	bole_path_patterns_release(&all);
	BOLE_ASSERT(t.blocks == 0);
	test_platform_release(&t);
	return 0;
}
