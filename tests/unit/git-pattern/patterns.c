/* SPDX-License-Identifier: ISC */
/* Files of patterns, their limits, and what matching costs. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/bytes.h"
#include "git/pattern/path_pattern.h"
#include "support/platform.h"

static enum bole_path_match match(struct test_platform *t, const char *file, const char *path,
                                  bool folder)
{
	struct bole_path_patterns all;
	uint64_t work = 0;

	cr_assert_eq(bole_path_patterns_parse(&all, &t->alloc, bole_bytes_z(file)), BOLE_OK);
	enum bole_path_match got =
	        bole_path_patterns_match(&all, bole_bytes_z(path), folder, &work);
	bole_path_patterns_release(&all);
	return got;
}

Test(patterns, the_last_line_that_fits_decides)
{
	struct test_platform t;

	test_platform_init(&t, 1);
	cr_assert_eq(match(&t, "*.c\n!x.c\n", "a/x.c", false), BOLE_PATH_NOT_MATCHED);
	cr_assert_eq(match(&t, "!x.c\n*.c\n", "a/x.c", false), BOLE_PATH_MATCHED);
	cr_assert_eq(match(&t, "!x.c\n*.c\n", "a/x.h", false), BOLE_PATH_UNDECIDED);
	cr_assert_eq(match(&t, "", "a", false), BOLE_PATH_UNDECIDED);
	cr_assert_eq(match(&t,
	                   "\xef\xbb\xbf"
	                   "a",
	                   "a", false),
	             BOLE_PATH_MATCHED);
	cr_assert_eq(match(&t, "#a\n\\#b\r\n", "#a", false), BOLE_PATH_UNDECIDED);
	cr_assert_eq(match(&t, "#a\n\\#b\r\n", "#b", false), BOLE_PATH_MATCHED);
	cr_assert_eq(match(&t, "a  \nb\\ \n", "a", false), BOLE_PATH_MATCHED);
	cr_assert_eq(match(&t, "a  \nb\\ \n", "b ", false), BOLE_PATH_MATCHED);
	cr_assert_eq(match(&t, "a  \nb\\ \n", "b", false), BOLE_PATH_UNDECIDED);
	cr_assert_eq(match(&t, "a/\n", "a", false), BOLE_PATH_UNDECIDED);
	cr_assert_eq(match(&t, "a/\n", "x/a", true), BOLE_PATH_MATCHED);
	/* The root: only patterns for last parts may speak of it. */
	cr_assert_eq(match(&t, "/*\n", "", true), BOLE_PATH_UNDECIDED);
	cr_assert_eq(match(&t, "*\n", "", true), BOLE_PATH_MATCHED);
	cr_assert_eq(t.blocks, 0);
	test_platform_release(&t);
}

Test(patterns, what_is_too_long_or_too_much_is_refused)
{
	static char text[BOLE_PATTERNS_BYTES_MAX + 2];
	struct bole_path_patterns all;
	struct test_platform t;

	test_platform_init(&t, 1);
	for (size_t i = 0; i <= BOLE_PATTERNS_MAX; i++)
		memcpy(text + 2 * i, "a\n", 2);
	size_t most = 2 * (size_t)BOLE_PATTERNS_MAX;
	cr_assert_eq(bole_path_patterns_parse(&all, &t.alloc, bole_bytes_of(text, most)), BOLE_OK);
	cr_assert_eq(all.count, BOLE_PATTERNS_MAX);
	bole_path_patterns_release(&all);
	cr_assert_eq(bole_path_patterns_parse(&all, &t.alloc, bole_bytes_of(text, most + 1)),
	             BOLE_E_LIMIT);
	memset(text, '*', sizeof text);
	cr_assert_eq(bole_path_patterns_parse(&all, &t.alloc, bole_bytes_of(text, sizeof text)),
	             BOLE_E_LIMIT);
	cr_assert_eq(bole_path_patterns_parse(&all, &t.alloc,
	                                      bole_bytes_of(text, BOLE_GLOB_BYTES_MAX + 1)),
	             BOLE_E_LIMIT);
	/* Every request for memory may fail. */
	for (size_t fail = 1;; fail++) {
		t.fail_at = t.grows + fail;
		enum bole_status rc =
		        bole_path_patterns_parse(&all, &t.alloc, bole_bytes_z("a*b\n[a-c]d\n"));
		t.fail_at = 0;
		bole_path_patterns_release(&all);
		cr_assert_eq(t.blocks, 0);
		if (rc == BOLE_OK)
			break;
		cr_assert_eq(rc, BOLE_E_NO_MEMORY);
	}
	test_platform_release(&t);
}

/* What a matcher that goes back and forth needs ages for. */
Test(patterns, no_pattern_costs_more_than_its_length_times_the_paths)
{
	struct bole_path_pattern p;
	struct bole_arena arena;
	struct test_platform t;
	char pattern[BOLE_GLOB_BYTES_MAX - 1], path[4000];
	uint64_t work = 0;

	test_platform_init(&t, 1);
	bole_arena_init(&arena, &t.alloc, 4096);
	for (size_t i = 0; i < sizeof pattern; i++)
		pattern[i] = "a*/**/"[i % 6];
	memset(path, 'a', sizeof path);
	for (size_t i = 9; i < sizeof path - 1; i += 10)
		path[i] = '/';
	memcpy(path + sizeof path - 2, "/b", 2);
	cr_assert_eq(bole_path_pattern_parse(&p, &arena, bole_bytes_of(pattern, sizeof pattern)),
	             BOLE_OK);
	cr_assert_not(bole_path_pattern_match(&p, bole_bytes_of(path, sizeof path), false, &work));
	cr_assert_leq(work, sizeof path * (sizeof pattern + sizeof pattern / 64 + 2));
	cr_assert_gt(work, sizeof path);
	bole_arena_release(&arena);
	cr_assert_eq(t.blocks, 0);
	test_platform_release(&t);
}
