/* SPDX-License-Identifier: ISC */
/* Files that an archive changes on their way. tests/interop/archive.sh compares with git; here is
 * what git does not say the same way twice, and what is hostile. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/bytes.h"
#include "git/fetch/pretty.h"
#include "git/fetch/work_file.h"
#include "support/platform.h"

#define TREE "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"

static const char plain[] = TREE "author A U <a@b> 1700000000 +0000\n"
                                 "committer C <c@d> 1700000000 -0130\n"
                                 "encoding KOI8-R\n"
                                 "gpgsig one\n two\n\n"
                                 "subject\nmore\n\nbody\n";

static enum bole_status on_digits(void *ctx, const struct bole_oid *oid, unsigned *out)
{
	(void)ctx;
	(void)oid;
	*out = 9;
	return BOLE_OK;
}

static enum bole_status on_names(void *ctx, struct bole_bytes *out)
{
	*out = bole_bytes_z(ctx);
	return BOLE_OK;
}

static struct bole_pretty open_pretty(const char *commit)
{
	struct bole_pretty p = {.oid = {.algo = BOLE_HASH_SHA1},
	                        .data = bole_bytes_z(commit),
	                        .now_s = 1700000000,
	                        .digits = on_digits,
	                        .names = on_names,
	                        .ctx = (void *)(uintptr_t) "HEAD -> main, tag: v1"};

	cr_assert_eq(bole_pretty_open(&p), BOLE_OK);
	return p;
}

static void expands(const char *commit, const char *file, const char *expected)
{
	struct bole_pretty p = open_pretty(commit);
	struct test_platform test;
	struct bole_buffer out;

	test_platform_init(&test, 1);
	bole_buffer_init(&out, &test.alloc, 1 << 16);
	cr_assert_eq(bole_pretty_file(&p, bole_bytes_z(file), &out), BOLE_OK);
	bole_buffer_byte(&out, 0);
	cr_assert_str_eq((const char *)out.ptr, expected);
	bole_buffer_release(&out);
	test_platform_release(&test);
}

Test(archive_files, placeholders_say_what_the_commit_says)
{
	expands(plain, "a $Format:%h %d|%D|%e|%G?$ b",
	        "a 000000000  (HEAD -> main, tag: v1)|HEAD -> main, tag: v1|KOI8-R|E b");
	expands(plain, "$Format:%aI %cI %ar$",
	        "2023-11-14T22:13:20Z 2023-11-14T20:43:20-01:30 0 seconds ago");
	expands(plain, "$Format:%s|%b|%f$", "subject more|body\n|subject");
	/* What is left as it is: widths, trailers, a format that does not end. */
	expands(plain, "$Format:%<(20)%w(1,2,3)%(trailers)$", "%<(20)%w(1,2,3)%(trailers)");
	expands(plain, "$Format:%H", "$Format:%H");
	expands(plain, "$Format:%", "$Format:%");
	expands(plain, "$Format:%$$Format:$", "%");
}

Test(archive_files, dates_far_away_are_dates)
{
	static const struct {
		const char *person;
		const char *expected;
	} cases[] = {
	        {"A <a> 0 +0000", "Thu Jan 1 00:00:00 1970 +0000"},
	        {"A <a> 0 -1200", "Wed Dec 31 12:00:00 1969 -1200"},
	        {"A <a> 951782400 +0000", "Tue Feb 29 00:00:00 2000 +0000"},
	        {"A <a> 253402300799 +0000", "Fri Dec 31 23:59:59 9999 +0000"},
	        {"A <a> 99999999999999999999999999 +0000", "Thu Jan 1 00:00:00 1970 +0000"},
	        {"A <a> 0 +99999999999999", "Thu Jan 1 00:00:00 1970 +0000"},
	        {"A <a> 1", ""},
	        {"A <a>", ""},
	        {"A a> 1 +0000", ""},
	        {"><", ""},
	};
	struct test_platform test;
	struct bole_buffer out;

	test_platform_init(&test, 1);
	bole_buffer_init(&out, &test.alloc, 1 << 16);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		out.len = 0;
		cr_assert(bole_pretty_person(bole_bytes_z(cases[i].person), 'd', 0, &out));
		bole_buffer_byte(&out, 0);
		cr_assert_str_eq((const char *)out.ptr, cases[i].expected);
	}
	bole_buffer_release(&out);
	test_platform_release(&test);
}

Test(archive_files, a_file_does_not_grow_without_end)
{
	/* Goal: a long message many times is an error, not memory. */
	static char commit[1 << 16], file[1 << 16];
	struct test_platform test;
	struct bole_buffer out;
	size_t at = sizeof plain - 1;

	memcpy(commit, plain, at);
	memset(commit + at, 'x', sizeof commit - at - 1);
	for (at = 0; at + 20 < sizeof file; at += 11)
		memcpy(file + at, "$Format:%B$", 11);
	struct bole_pretty p = open_pretty(commit);
	test_platform_init(&test, 1);
	bole_buffer_init(&out, &test.alloc, 1 << 20);
	cr_assert_eq(bole_pretty_file(&p, bole_bytes_z(file), &out), BOLE_E_LIMIT);
	cr_assert_leq(out.len, 1u << 20);
	bole_buffer_release(&out);
	test_platform_release(&test);
}

Test(archive_files, ids_end_where_they_end)
{
	static const struct {
		const char *file;
		const char *expected;
	} cases[] = {
	        {"$Id:$", "$Id: 0000000000000000000000000000000000000000 $"},
	        {"$Id$$Id$", "$Id: 0000000000000000000000000000000000000000 $"
	                     "$Id: 0000000000000000000000000000000000000000 $"},
	        {"$Id: x y $", "$Id: x y $"},
	        {"$Id: x\n$", "$Id: x\n$"},
	        {"$Id:", "$Id:"},
	        {"$Id", "$Id"},
	        {"$I", "$I"},
	        {"$", "$"},
	};
	struct bole_oid oid = {.algo = BOLE_HASH_SHA1};
	struct test_platform test;
	struct bole_buffer out;

	test_platform_init(&test, 1);
	bole_buffer_init(&out, &test.alloc, 1 << 16);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		/* On the heap, to its last byte. */
		size_t len = strlen(cases[i].file);
		uint8_t *exact = bole_alloc_array(&test.alloc, len, 1);
		memcpy(exact, cases[i].file, len);
		out.len = 0;
		bole_ident_apply(&oid, bole_bytes_of(exact, len), &out);
		bole_buffer_byte(&out, 0);
		cr_assert_str_eq((const char *)out.ptr, cases[i].expected);
		bole_alloc_free(&test.alloc, exact, len, 1);
	}
	bole_buffer_release(&out);
	test_platform_release(&test);
}
