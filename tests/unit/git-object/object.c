/* SPDX-License-Identifier: ISC */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "bole/limits.h"
#include "git/object/object.h"
#include "support/platform.h"

#define HEX   "0123456789abcdef0123456789abcdef01234567"
#define WHO   "A U Thor <a@example.org> 1700000123 +0100"
#define RAW20 "\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20\21\22\23\24"

static struct bole_bytes text(const char *s)
{
	return bole_bytes_z(s);
}

Test(tree, gives_its_entries_and_then_ends)
{
	static const uint8_t raw[] = "100644 a\0" RAW20 "40000 dir\0" RAW20 "160000 sub\0" RAW20;
	struct bole_bytes rest = {raw, sizeof raw - 1};
	struct bole_tree_entry entry;

	cr_assert_eq(bole_tree_next(&rest, BOLE_HASH_SHA1, &entry), BOLE_OK);
	cr_assert_eq(entry.mode, BOLE_MODE_FILE);
	cr_assert(bole_bytes_equal(entry.name, text("a")));
	cr_assert_eq(entry.oid.bytes[19], 20);
	cr_assert_eq(bole_tree_next(&rest, BOLE_HASH_SHA1, &entry), BOLE_OK);
	cr_assert_eq(entry.mode, BOLE_MODE_TREE);
	cr_assert_eq(bole_tree_next(&rest, BOLE_HASH_SHA1, &entry), BOLE_OK);
	cr_assert_eq(entry.mode, BOLE_MODE_SUBMODULE);
	cr_assert_eq(bole_tree_next(&rest, BOLE_HASH_SHA1, &entry), BOLE_END);
	/* No prefix of one entry is an entry. */
	for (size_t cut = 1; cut < 29; cut++) {
		rest = bole_bytes_of(raw, cut);
		cr_assert_eq(bole_tree_next(&rest, BOLE_HASH_SHA1, &entry), BOLE_E_INVALID);
	}
}

Test(tree, malformed_entries_are_refused)
{
	static const struct {
		const char *raw;
		size_t len;
	} bad[] = {
	        {"644 \0" RAW20, 25},          {" a\0" RAW20, 23},       {"10064x a\0" RAW20, 29},
	        {"100648 a\0" RAW20, 29},      {"777777 a\0" RAW20, 29}, {"00100644 a\0" RAW20, 31},
	        {"100644 a/b\0" RAW20, 31},    {"100644a\0" RAW20, 28},  {"-100644 a\0" RAW20, 30},
	        {"77777777777 a\0" RAW20, 34},
	};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct bole_bytes rest = bole_bytes_of(bad[i].raw, bad[i].len);
		struct bole_tree_entry entry;

		cr_assert_eq(bole_tree_next(&rest, BOLE_HASH_SHA1, &entry), BOLE_E_INVALID, "%zu",
		             i);
	}
}

Test(tree, directories_sort_as_if_they_ended_in_a_slash)
{
	static const struct {
		const char *a;
		uint32_t a_mode;
		const char *b;
		uint32_t b_mode;
		int order;
	} rows[] = {
	        {"a", BOLE_MODE_FILE, "b", BOLE_MODE_FILE, -1},
	        {"a", BOLE_MODE_FILE, "a.c", BOLE_MODE_FILE, -1},
	        {"a", BOLE_MODE_TREE, "a.c", BOLE_MODE_FILE, 1},
	        {"a", BOLE_MODE_TREE, "a-b", BOLE_MODE_FILE, 1},
	        {"a", BOLE_MODE_TREE, "a0", BOLE_MODE_FILE, -1},
	        {"a", BOLE_MODE_SUBMODULE, "a.c", BOLE_MODE_FILE, -1},
	        {"a", BOLE_MODE_TREE, "a", BOLE_MODE_TREE, 0},
	        {"a", BOLE_MODE_FILE, "a", BOLE_MODE_TREE, -1},
	        {"\xff", BOLE_MODE_FILE, "a", BOLE_MODE_FILE, 1},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct bole_tree_entry a = {.mode = rows[i].a_mode, .name = text(rows[i].a)};
		struct bole_tree_entry b = {.mode = rows[i].b_mode, .name = text(rows[i].b)};
		int order = bole_tree_entry_compare(&a, &b);
		int back = bole_tree_entry_compare(&b, &a);

		cr_assert_eq((order > 0) - (order < 0), rows[i].order, "%zu", i);
		cr_assert_eq((back > 0) - (back < 0), -rows[i].order, "%zu", i);
	}
}

Test(tree, names_that_some_client_takes_for_dot_git_are_unsafe)
{
	static const char *const unsafe[] = {
	        "",
	        ".",
	        "..",
	        ".git",
	        ".GIT",
	        ".GiT",
	        ".git.",
	        ".git ",
	        ".git . .",
	        "git~1",
	        "GIT~1",
	        "git~1. ",
	        ".git::$INDEX_ALLOCATION",
	        ".g\xe2\x80\x8cit",
	        "\xe2\x80\x8e.git",
	        ".git\xef\xbb\xbf",
	        "\xe2\x81\xaa.GIT",
	        "a\\.git",
	        ".git\\x",
	        ".git:x",
	        "a/b",
	        ".\xe2\x80\x8c.",
	};
	static const char *const safe[] = {
	        "a",     ".gitignore", ".gitmodules", "git",      "git~2", "...",      ".gi",
	        "x.git", "a\\b",       ".git-x",      "\xe2\x80", "a b",   "\xc3\xa9", ".gitx"};

	for (size_t i = 0; i < sizeof unsafe / sizeof unsafe[0]; i++)
		cr_assert_not(bole_tree_name_safe(text(unsafe[i])), "%s", unsafe[i]);
	for (size_t i = 0; i < sizeof safe / sizeof safe[0]; i++)
		cr_assert(bole_tree_name_safe(text(safe[i])), "%s", safe[i]);
	cr_assert_not(bole_tree_name_safe(bole_bytes_of("a\0b", 3)));
}

Test(commit, headers_extra_headers_and_message_are_told_apart)
{
	const char *raw =
	        "tree " HEX "\nparent " HEX "\nparent " HEX "\nauthor " WHO "\ncommitter " WHO
	        "\nencoding latin1\ngpgsig one\n two\n\nsubject\n\nx\n";
	struct bole_commit commit;
	struct bole_oid parent;
	char hex[BOLE_OID_HEX_MAX + 1];

	cr_assert_eq(bole_commit_parse(text(raw), BOLE_HASH_SHA1, &commit), BOLE_OK);
	cr_assert_eq(commit.parent_count, 2);
	bole_commit_parent(&commit, BOLE_HASH_SHA1, 1, &parent);
	cr_assert_str_eq(bole_oid_format(&parent, hex), HEX);
	cr_assert(bole_bytes_equal(commit.author, text(WHO)));
	cr_assert(bole_bytes_equal(commit.committer, text(WHO)));
	cr_assert_eq(commit.commit_time, 1700000123);
	cr_assert(bole_bytes_equal(commit.extra, text("encoding latin1\ngpgsig one\n two\n")));
	cr_assert(bole_bytes_equal(commit.message, text("subject\n\nx\n")));
	cr_assert_eq(bole_commit_parse(text(raw), BOLE_HASH_SHA256, &commit), BOLE_E_INVALID);
}

Test(commit, what_lacks_a_header_is_refused)
{
	static const char *const bad[] = {
	        "",
	        "tree " HEX,
	        "tree " HEX "\n",
	        "tree 0123\nauthor " WHO "\ncommitter " WHO "\n\nx",
	        "parent " HEX "\ntree " HEX "\nauthor " WHO "\ncommitter " WHO "\n\nx",
	        "tree " HEX "\nparent 01\nauthor " WHO "\ncommitter " WHO "\n\nx",
	        "tree " HEX "\nauthor " WHO "\n\nx",
	        "tree " HEX "\ncommitter " WHO "\n\nx",
	};
	struct bole_commit commit;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert_eq(bole_commit_parse(text(bad[i]), BOLE_HASH_SHA1, &commit),
		             BOLE_E_INVALID, "%zu", i);
}

Test(commit, an_unreadable_time_is_zero)
{
	static const struct {
		const char *who;
		int64_t time;
	} rows[] = {{"x", 0},
	            {"x <y>", 0},
	            {"x <y> ", 0},
	            {"x <y> z +0000", 0},
	            {"x <y> -5 +0000", 0},
	            {"x <y> 99999999999999999999 +0000", 0},
	            {"x <y> <z> 77 +0000", 77},
	            {"x <y> 5", 5}};
	char raw[300];
	struct bole_commit commit;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		snprintf(raw, sizeof raw, "tree " HEX "\nauthor a\ncommitter %s\n\nm", rows[i].who);
		cr_assert_eq(bole_commit_parse(text(raw), BOLE_HASH_SHA1, &commit), BOLE_OK);
		cr_assert_eq(commit.commit_time, rows[i].time, "%s", rows[i].who);
	}
}

Test(tag, names_its_target_and_may_lack_a_tagger)
{
	struct bole_tag tag;

	cr_assert_eq(bole_tag_parse(text("object " HEX "\ntype commit\ntag v1\ntagger " WHO
	                                 "\n\nmessage\n"),
	                            BOLE_HASH_SHA1, &tag),
	             BOLE_OK);
	cr_assert_eq(tag.target_type, BOLE_OBJECT_COMMIT);
	cr_assert(bole_bytes_equal(tag.name, text("v1")));
	cr_assert(bole_bytes_equal(tag.tagger, text(WHO)));
	cr_assert(bole_bytes_equal(tag.message, text("message\n")));
	cr_assert_eq(bole_tag_parse(text("object " HEX "\ntype tree\ntag old\n\nm"), BOLE_HASH_SHA1,
	                            &tag),
	             BOLE_OK);
	cr_assert_eq(tag.tagger.len, 0);
	cr_assert_eq(bole_tag_parse(text("object " HEX "\ntype thing\ntag x\n\nm"), BOLE_HASH_SHA1,
	                            &tag),
	             BOLE_E_INVALID);
	cr_assert_eq(bole_tag_parse(text("type commit\nobject " HEX "\ntag x\n\nm"), BOLE_HASH_SHA1,
	                            &tag),
	             BOLE_E_INVALID);
}

Test(entry_head, random_heads_survive_a_round_trip_and_ask_for_more_when_cut)
{
	uint64_t seed = test_seed(9);
	static const uint8_t types[] = {1, 2, 3, 4, BOLE_ENTRY_OFS_DELTA, BOLE_ENTRY_REF_DELTA};

	for (unsigned round = 0; round < 5000; round++) {
		struct bole_entry_head head = {.type = types[test_random(&seed) % 6]};
		struct bole_entry_head again;
		uint8_t algo = 1 + test_random(&seed) % 2;
		uint8_t raw[BOLE_ENTRY_HEAD_MAX];

		head.inflated_bytes = test_random(&seed) >> test_random(&seed) % 64;
		if (head.type == BOLE_ENTRY_OFS_DELTA)
			head.base_distance =
			        1 + (test_random(&seed) >> (1 + test_random(&seed) % 63));
		if (head.type == BOLE_ENTRY_REF_DELTA) {
			uint8_t id[32];

			test_random_bytes(&seed, id, sizeof id);
			bole_oid_from_raw(id, algo, &head.base);
		}
		size_t len = bole_entry_head_format(&head, algo, raw);
		for (size_t cut = 0; cut < len; cut++)
			cr_assert_eq(bole_entry_head_parse(bole_bytes_of(raw, cut), algo, &again),
			             BOLE_AGAIN);
		cr_assert_eq(bole_entry_head_parse(bole_bytes_of(raw, len), algo, &again), BOLE_OK);
		cr_assert_eq(again.head_bytes, len);
		cr_assert_eq(again.type, head.type);
		cr_assert_eq(again.inflated_bytes, head.inflated_bytes);
		cr_assert_eq(again.base_distance, head.base_distance);
		cr_assert(bole_oid_equal(&again.base, &head.base));
	}
}

Test(entry_head, overflow_unknown_types_and_distance_zero_are_refused)
{
	static const uint8_t bad[][24] = {
	        {0x05},                                                       /* type 0 */
	        {0x55},                                                       /* type 5 */
	        {0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f}, /* size > 2^64 */
	        {0xb1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01},
	        {0x61, 0x00}, /* to itself */
	        {0x61, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	};
	struct bole_entry_head head;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert_eq(bole_entry_head_parse(bole_bytes_of(bad[i], sizeof bad[i]),
		                                   BOLE_HASH_SHA1, &head),
		             BOLE_E_INVALID, "%zu", i);
}

Test(ref_name, follows_check_ref_format)
{
	static const char *const good[] = {
	        "HEAD",           "refs/heads/a",        "refs/heads/a/b-c",
	        "refs/tags/v1.0", "refs/heads/@",        "refs/heads/a@b",
	        "refs/x",         "refs/heads/\xc3\xa9", "refs/heads/a.lockx",
	        "refs/heads/-"};
	static const char *const bad[] = {"",
	                                  "head",
	                                  "refs",
	                                  "refs/",
	                                  "refs/heads/",
	                                  "refs//a",
	                                  "/refs/heads/a",
	                                  "refs/heads/.a",
	                                  "refs/heads/a..b",
	                                  "refs/heads/a.",
	                                  "refs/heads/a.lock",
	                                  "refs/heads/a.lock/b",
	                                  "refs/heads/a b",
	                                  "refs/heads/a~b",
	                                  "refs/heads/a^b",
	                                  "refs/heads/a:b",
	                                  "refs/heads/a?b",
	                                  "refs/heads/a*b",
	                                  "refs/heads/a[b",
	                                  "refs/heads/a\\b",
	                                  "refs/heads/a@{b",
	                                  "refs/heads/a\x7f",
	                                  "refs/heads/a\tb",
	                                  "heads/a",
	                                  "refs/heads/../a",
	                                  "@",
	                                  "FETCH_HEAD",
	                                  "refs/heads/a/."};
	char many[BOLE_REF_NAME_MAX + 2];

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		cr_assert(bole_ref_name_valid(text(good[i])), "%s", good[i]);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert_not(bole_ref_name_valid(text(bad[i])), "%s", bad[i]);
	cr_assert_not(bole_ref_name_valid(bole_bytes_of("refs/heads/a\0b", 14)));
	memset(many, 'a', sizeof many);
	memcpy(many, "refs/", 5);
	cr_assert(bole_ref_name_valid(bole_bytes_of(many, BOLE_REF_NAME_MAX)));
	cr_assert_not(bole_ref_name_valid(bole_bytes_of(many, BOLE_REF_NAME_MAX + 1)));
}
