/* SPDX-License-Identifier: ISC */
/* Filters and views of references: what is let through, and what is refused. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "git/fetch/filter.h"
#include "git/refs/ref_view.h"
#include "support/platform.h"

static enum bole_status parse(struct test_platform *t, const char *spec, struct bole_filter *f,
                              const char **why)
{
	bole_filter_init(f);
	return bole_filter_parse(f, &t->alloc, bole_bytes_z(spec), why);
}

Test(filter, a_combination_is_the_narrowest_of_its_parts)
{
	struct test_platform t;
	struct bole_filter f;
	const char *why;

	test_platform_init(&t, 1);
	cr_assert_eq(parse(&t, "blob:none", &f, &why), BOLE_OK);
	cr_assert(f.active && f.blob_limit == 0 && f.tree_depth == UINT32_MAX);
	cr_assert_eq(parse(&t, "blob:limit=2k", &f, &why), BOLE_OK);
	cr_assert_eq(f.blob_limit, 2048);
	cr_assert_eq(parse(&t,
	                   "combine:blob:limit=9+tree:7+combine%3Atree%253A3%2Bblob%3Alimit%3D12",
	                   &f, &why),
	             BOLE_OK);
	cr_assert_eq(f.blob_limit, 9);
	cr_assert_eq(f.tree_depth, 3);
	cr_assert_eq(parse(&t, "combine:object:type=tree+object:type=blob", &f, &why), BOLE_OK);
	cr_assert_eq(f.types, 0);
	cr_assert_eq(t.blocks, 0);
	test_platform_release(&t);
}

Test(filter, what_is_malformed_or_endless_is_refused_by_a_reason)
{
	static const char *const bad[] = {
	        "",
	        "blob",
	        "blob:limit=",
	        "blob:limit=-1",
	        "blob:limit=1q",
	        "tree:",
	        "tree:x",
	        "object:type=cat",
	        "combine:",
	        "combine:tree:1+",
	        "combine:+",
	        "combine:tree:1%2",
	        "combine:%zz",
	        "sparse:oid=",
	        "sparse:path=x",
	        "combine:sparse:oid=a+sparse:oid=b",
	        "blob:limit=99999999999999999999g",
	};
	struct test_platform t;
	struct bole_filter f;
	const char *why;
	char text[8192];

	test_platform_init(&t, 1);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		why = NULL;
		cr_assert_lt(parse(&t, bad[i], &f, &why), 0, "%s", bad[i]);
		cr_assert_not_null(why, "%s", bad[i]);
		cr_assert_not(f.active);
	}
	size_t at = (size_t)snprintf(text, sizeof text, "combine:tree:1");
	for (size_t i = 0; i < 300; i++)
		at += (size_t)snprintf(text + at, sizeof text - at, "+tree:1");
	cr_assert_eq(parse(&t, text, &f, &why), BOLE_E_LIMIT);
	at = 0;
	for (size_t i = 0; i < 100; i++)
		at += (size_t)snprintf(text + at, sizeof text - at, "combine:");
	snprintf(text + at, sizeof text - at, "tree:1");
	cr_assert_eq(parse(&t, text, &f, &why), BOLE_E_LIMIT);
	cr_assert_eq(t.blocks, 0);
	test_platform_release(&t);
}

static bool hidden(const struct bole_ref_view *view, const char *name)
{
	return bole_ref_hidden(view, bole_bytes_z(name));
}

Test(ref_view, the_last_pattern_that_fits_counts)
{
	static const char *const hide[] = {"refs/secret/", "refs/heads/x", "!refs/secret/known",
	                                   "^refs/namespaces/a/refs/tags"};
	const struct bole_ref_view view = {
	        .space = "refs/namespaces/a/", .hide = hide, .hide_count = 4};

	cr_assert(hidden(&view, "refs/secret/one"));
	cr_assert(hidden(&view, "refs/secret"));
	cr_assert_not(hidden(&view, "refs/secrets"));
	cr_assert_not(hidden(&view, "refs/secret/known/y"));
	cr_assert(hidden(&view, "refs/heads/x"));
	cr_assert_not(hidden(&view, "refs/heads/xy"));
	cr_assert(hidden(&view, "refs/tags/v1"));
	cr_assert_not(hidden(&view, "HEAD"));
}

Test(ref_view, namespaces_nest_and_stay_valid_names)
{
	char space[BOLE_NAMESPACE_MAX + 1];
	char text[2000];

	cr_assert(bole_namespace_prefix("a//b/", space));
	cr_assert_str_eq(space, "refs/namespaces/a/refs/namespaces/b/");
	cr_assert(bole_namespace_prefix("", space));
	cr_assert_str_eq(space, "");
	cr_assert_not(bole_namespace_prefix("a/../b", space));
	cr_assert_not(bole_namespace_prefix("a b", space));
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	cr_assert_not(bole_namespace_prefix(text, space));
}
