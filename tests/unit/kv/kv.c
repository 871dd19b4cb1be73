/* SPDX-License-Identifier: ISC */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "bole/kv.h"
#include "bole/limits.h"
#include "bole/verify.h"
#include "support/platform.h"

static struct test_platform test;
static struct bole_store *store;
static struct bole_kv *kv;

static struct bole_bytes z(const char *text)
{
	return bole_bytes_z(text);
}

static void setup(uint8_t algo)
{
	struct bole_kv_options options = {.create = true, .algo = algo};

	test_platform_init(&test, 1);
	test.quiet = true;
	cr_assert_eq(bole_memory_store_open(&test.base, &test.alloc, &store), BOLE_OK);
	cr_assert_eq(bole_kv_open(&test.base, &test.alloc, store, &options, &kv), BOLE_OK);
}

static void on_finding(void *ctx, const char *text)
{
	(void)ctx;
	cr_log_error("%s", text);
}

static void verify_all(void)
{
	struct bole_verify_report report = {.finding = on_finding};
	struct bole_verify_result result;
	struct bole_snapshot *snapshot;

	cr_assert_eq(bole_snapshot_open(store, bole_kv_repo(kv)->id, &snapshot), BOLE_OK);
	cr_assert_eq(bole_verify(&test.base, snapshot, &test.alloc, &report, &result), BOLE_OK);
	cr_assert_eq(result.errors, 0);
	bole_snapshot_close(snapshot);
}

static void teardown(void)
{
	verify_all();
	bole_kv_close(kv);
	cr_assert_eq(bole_store_close(store), BOLE_OK);
	test_platform_release(&test);
}

static struct bole_kv_view *view_open(const char *at)
{
	struct bole_kv_view *view;

	cr_assert_eq(bole_kv_view_open(kv, at, &view), BOLE_OK, "%s", at);
	return view;
}

/* value NULL = there is no such key. */
static void expect_at(const char *at, const char *key, const char *value)
{
	struct bole_kv_view *view = view_open(at);
	struct bole_bytes seen;
	enum bole_status rc = bole_kv_get(view, z(key), &seen);

	cr_assert_eq(rc, value == NULL ? BOLE_E_NOT_FOUND : BOLE_OK, "%s: %d", key, rc);
	if (value != NULL)
		cr_assert(bole_bytes_equal(seen, z(value)), "%s", key);
	bole_kv_view_close(view);
}

static void set(const char *key, const char *value)
{
	cr_assert_eq(bole_kv_set(kv, z(key), z(value), NULL, NULL), BOLE_OK, "%s", key);
}

Test(kv, a_value_that_was_set_is_there_until_it_is_removed)
{
	struct bole_oid first;
	struct bole_oid second;

	for (uint8_t algo = 1; algo <= 2; algo++) {
		setup(algo);
		expect_at(NULL, "a", NULL);
		cr_assert_eq(bole_kv_set(kv, z("a"), z("1"), NULL, &first), BOLE_OK);
		cr_assert_eq(bole_kv_set(kv, z("dir/sub/b"), z("2"), NULL, NULL), BOLE_OK);
		expect_at(NULL, "a", "1");
		expect_at(NULL, "dir/sub/b", "2");
		expect_at(NULL, "dir", NULL);
		expect_at(NULL, "dir/sub/b/c", NULL);
		/* The same again is no new commit. */
		struct bole_kv_view *view = view_open(NULL);
		cr_assert(bole_kv_view_commit(view, &first));
		bole_kv_view_close(view);
		cr_assert_eq(bole_kv_set(kv, z("a"), z("1"), NULL, &second), BOLE_OK);
		cr_assert(bole_oid_equal(&first, &second));
		cr_assert_eq(bole_kv_remove(kv, z("dir/sub/b"), NULL, NULL), BOLE_OK);
		cr_assert_eq(bole_kv_remove(kv, z("dir/sub/b"), NULL, NULL), BOLE_E_NOT_FOUND);
		cr_assert_eq(bole_kv_remove(kv, z("dir"), NULL, NULL), BOLE_E_NOT_FOUND);
		expect_at(NULL, "dir/sub/b", NULL);
		expect_at("main", "a", "1");
		cr_assert_eq(bole_kv_remove(kv, z("a"), NULL, NULL), BOLE_OK);
		expect_at(NULL, "a", NULL);
		teardown();
	}
}

Test(kv, an_emptied_directory_vanishes_and_equal_contents_have_equal_trees)
{
	struct bole_kv_commit commit;
	struct bole_kv_log *log;
	struct bole_oid trees[3];

	setup(test_algo());
	set("a", "1");
	set("d/e/f", "2");
	cr_assert_eq(bole_kv_remove(kv, z("d/e/f"), NULL, NULL), BOLE_OK);
	struct bole_kv_view *view = view_open(NULL);
	cr_assert_eq(bole_kv_log_open(view, true, &log), BOLE_OK);
	for (size_t i = 0; i < 3; i++) {
		cr_assert_eq(bole_kv_log_next(log, &commit), BOLE_OK);
		trees[i] = commit.tree;
	}
	cr_assert_eq(bole_kv_log_next(log, &commit), BOLE_END);
	cr_assert(bole_oid_equal(&trees[0], &trees[2]));
	cr_assert_not(bole_oid_equal(&trees[0], &trees[1]));
	bole_kv_log_close(log);
	bole_kv_view_close(view);
	teardown();
}

Test(kv, bad_keys_are_refused)
{
	static const char *const bad[] = {"",
	                                  "/",
	                                  "/a",
	                                  "a/",
	                                  "a//b",
	                                  ".",
	                                  "a/..",
	                                  "../a",
	                                  ".git/x",
	                                  "a/.GIT",
	                                  "git~1",
	                                  "a\\.git",
	                                  "a/.g\xe2\x80\x8cit",
	                                  ".git.",
	                                  "a/./b"};
	char many[BOLE_PATH_BYTES_MAX + 2];
	struct bole_kv_view *view;
	struct bole_bytes value;

	setup(test_algo());
	view = view_open(NULL);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		cr_assert_not(bole_kv_key_valid(z(bad[i])), "%s", bad[i]);
		cr_assert_eq(bole_kv_set(kv, z(bad[i]), z("x"), NULL, NULL), BOLE_E_INVALID);
		cr_assert_eq(bole_kv_get(view, z(bad[i]), &value), BOLE_E_INVALID);
	}
	bole_kv_view_close(view);
	cr_assert_not(bole_kv_key_valid(bole_bytes_of("a\0b", 3)));
	memset(many, 'k', sizeof many);
	cr_assert_not(bole_kv_key_valid(bole_bytes_of(many, BOLE_PATH_BYTES_MAX + 1)));
	/* The longest and the deepest. */
	cr_assert_eq(
	        bole_kv_set(kv, bole_bytes_of(many, BOLE_PATH_BYTES_MAX), z("long"), NULL, NULL),
	        BOLE_OK);
	for (size_t i = 1; i < BOLE_PATH_BYTES_MAX; i += 2)
		many[i] = '/';
	cr_assert_eq(bole_kv_set(kv, bole_bytes_of(many, BOLE_PATH_BYTES_MAX - 1), z("deep"), NULL,
	                         NULL),
	             BOLE_OK);
	view = view_open(NULL);
	cr_assert_eq(bole_kv_get(view, bole_bytes_of(many, BOLE_PATH_BYTES_MAX - 1), &value),
	             BOLE_OK);
	cr_assert(bole_bytes_equal(value, z("deep")));
	bole_kv_view_close(view);
	cr_assert_eq(bole_kv_remove(kv, bole_bytes_of(many, BOLE_PATH_BYTES_MAX - 1), NULL, NULL),
	             BOLE_OK);
	teardown();
}

Test(kv, a_key_is_never_a_value_and_a_directory)
{
	struct bole_kv_tx *tx;

	setup(test_algo());
	set("a/b", "1");
	set("v", "2");
	cr_assert_eq(bole_kv_set(kv, z("a"), z("x"), NULL, NULL), BOLE_E_EXISTS);
	cr_assert_eq(bole_kv_set(kv, z("a/b/c"), z("x"), NULL, NULL), BOLE_E_EXISTS);
	cr_assert_eq(bole_kv_set(kv, z("v/w/x"), z("x"), NULL, NULL), BOLE_E_EXISTS);
	/* Within one transaction, found by its commit. */
	cr_assert_eq(bole_kv_begin(kv, NULL, &tx), BOLE_OK);
	cr_assert_eq(bole_kv_tx_set(tx, z("n"), z("1")), BOLE_OK);
	cr_assert_eq(bole_kv_tx_set(tx, z("n-m"), z("1")), BOLE_OK);
	cr_assert_eq(bole_kv_tx_set(tx, z("n/m"), z("1")), BOLE_OK);
	cr_assert_eq(bole_kv_tx_commit(tx, NULL, NULL), BOLE_E_EXISTS);
	expect_at(NULL, "n", NULL);
	/* A removal makes room, either way round. */
	cr_assert_eq(bole_kv_begin(kv, NULL, &tx), BOLE_OK);
	cr_assert_eq(bole_kv_tx_remove(tx, z("a/b")), BOLE_OK);
	cr_assert_eq(bole_kv_tx_set(tx, z("a"), z("now a value")), BOLE_OK);
	cr_assert_eq(bole_kv_tx_remove(tx, z("v")), BOLE_OK);
	cr_assert_eq(bole_kv_tx_set(tx, z("v/w"), z("now below")), BOLE_OK);
	cr_assert_eq(bole_kv_tx_commit(tx, NULL, NULL), BOLE_OK);
	expect_at(NULL, "a", "now a value");
	expect_at(NULL, "v/w", "now below");
	/* But not when something else stays in the directory. */
	set("d/1", "1");
	set("d/2", "2");
	cr_assert_eq(bole_kv_begin(kv, NULL, &tx), BOLE_OK);
	cr_assert_eq(bole_kv_tx_remove(tx, z("d/1")), BOLE_OK);
	cr_assert_eq(bole_kv_tx_set(tx, z("d"), z("x")), BOLE_OK);
	cr_assert_eq(bole_kv_tx_commit(tx, NULL, NULL), BOLE_E_EXISTS);
	cr_assert_eq(bole_kv_begin(kv, NULL, &tx), BOLE_OK);
	cr_assert_eq(bole_kv_tx_remove(tx, z("a")), BOLE_OK);
	cr_assert_eq(bole_kv_tx_set(tx, z("d"), z("x")), BOLE_OK);
	cr_assert_eq(bole_kv_tx_commit(tx, NULL, NULL), BOLE_E_EXISTS);
	cr_assert_eq(bole_kv_begin(kv, NULL, &tx), BOLE_OK);
	cr_assert_eq(bole_kv_tx_remove(tx, z("v/w")), BOLE_OK);
	cr_assert_eq(bole_kv_tx_set(tx, z("a/x"), z("x")), BOLE_OK);
	cr_assert_eq(bole_kv_tx_commit(tx, NULL, NULL), BOLE_E_EXISTS);
	expect_at(NULL, "a", "now a value");
	teardown();
}

Test(kv, transactions_that_touch_different_keys_both_succeed)
{
	struct bole_kv_tx *one;
	struct bole_kv_tx *two;
	struct bole_bytes value;

	setup(test_algo());
	set("x", "0");
	set("y", "0");
	cr_assert_eq(bole_kv_begin(kv, NULL, &one), BOLE_OK);
	cr_assert_eq(bole_kv_begin(kv, NULL, &two), BOLE_OK);
	cr_assert_eq(bole_kv_tx_get(one, z("x"), &value), BOLE_OK);
	cr_assert_eq(bole_kv_tx_set(one, z("x"), z("1")), BOLE_OK);
	cr_assert_eq(bole_kv_tx_get(one, z("x"), &value), BOLE_OK);
	cr_assert(bole_bytes_equal(value, z("1")));
	cr_assert_eq(bole_kv_tx_get(two, z("x/none"), &value), BOLE_E_NOT_FOUND);
	cr_assert_eq(bole_kv_tx_set(two, z("y"), z("2")), BOLE_OK);
	cr_assert_eq(bole_kv_tx_set(two, z("dir/new"), z("3")), BOLE_OK);
	cr_assert_eq(bole_kv_tx_remove(two, z("dir/new")), BOLE_OK);
	cr_assert_eq(bole_kv_tx_get(two, z("dir/new"), &value), BOLE_E_NOT_FOUND);
	cr_assert_eq(bole_kv_tx_commit(one, NULL, NULL), BOLE_OK);
	expect_at(NULL, "y", "0");
	cr_assert_eq(bole_kv_tx_commit(two, NULL, NULL), BOLE_OK);
	expect_at(NULL, "x", "1");
	expect_at(NULL, "y", "2");
	expect_at(NULL, "dir/new", NULL);
	teardown();
}

Test(kv, a_change_of_what_was_read_or_written_is_a_conflict)
{
	/* What the loser does first, what the winner does meanwhile. */
	static const struct {
		const char *reads;
		const char *writes;
		const char *other;
		enum bole_status rc;
	} rows[] = {
	        {"k", "else", "k", BOLE_E_CONFLICT},       {NULL, "k", "k", BOLE_E_CONFLICT},
	        {"none", "else", "none", BOLE_E_CONFLICT}, {"d", "else", "d/x", BOLE_E_CONFLICT},
	        {NULL, "new/k", "new", BOLE_E_CONFLICT},   {NULL, "new", "new/k", BOLE_E_CONFLICT},
	        {"k", "else", "other", BOLE_OK},           {NULL, "a/b/1", "a/b/2", BOLE_OK},
	        {NULL, "else", "else-", BOLE_OK},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct bole_kv_tx *tx;
		struct bole_bytes value;

		setup(test_algo());
		set("k", "0");
		cr_assert_eq(bole_kv_begin(kv, NULL, &tx), BOLE_OK);
		if (rows[i].reads != NULL)
			(void)!bole_kv_tx_get(tx, z(rows[i].reads), &value);
		cr_assert_eq(bole_kv_tx_set(tx, z(rows[i].writes), z("mine")), BOLE_OK);
		set(rows[i].other, "theirs");
		cr_assert_eq(bole_kv_tx_commit(tx, NULL, NULL), rows[i].rc, "%zu", i);
		expect_at(NULL, rows[i].other, "theirs");
		if (rows[i].rc == BOLE_OK)
			expect_at(NULL, rows[i].writes, "mine");
		teardown();
	}
}

Test(kv, commits_carry_their_message_author_and_zone)
{
	struct bole_kv_info info = {.message = "why",
	                            .name = "A U Thor",
	                            .mail = "a@example.org",
	                            .time = 1234567890,
	                            .zone_minutes = -210};
	struct bole_kv_commit commit;
	struct bole_kv_log *log;

	setup(test_algo());
	cr_assert_eq(bole_kv_set(kv, z("k"), z("v"), &info, NULL), BOLE_OK);
	test.wall = -1; /* no clock: one second after the parent */
	set("k", "w");
	struct bole_kv_view *view = view_open("HEAD");
	cr_assert_eq(bole_kv_log_open(view, false, &log), BOLE_OK);
	cr_assert_eq(bole_kv_log_next(log, &commit), BOLE_OK);
	cr_assert_eq(commit.time, 1234567891);
	cr_assert(bole_bytes_equal(commit.author, z("bole <bole@localhost> 1234567891 +0000")));
	cr_assert_eq(bole_kv_log_next(log, &commit), BOLE_OK);
	cr_assert(bole_bytes_equal(commit.author, z("A U Thor <a@example.org> 1234567890 -0330")));
	cr_assert(bole_bytes_equal(commit.message, z("why\n")));
	cr_assert_eq(commit.parent_count, 0);
	cr_assert_eq(bole_kv_log_next(log, &commit), BOLE_END);
	bole_kv_log_close(log);
	bole_kv_view_close(view);
	static const char *const bad[] = {"", "a<b", "a>b", "a\nb"};
	for (size_t i = 0; i < 4; i++) {
		info.name = bad[i];
		cr_assert_eq(bole_kv_set(kv, z("z"), z("v"), &info, NULL), BOLE_E_INVALID);
	}
	info.name = "ok";
	info.zone_minutes = 15 * 60;
	cr_assert_eq(bole_kv_set(kv, z("z"), z("v"), &info, NULL), BOLE_E_INVALID);
	expect_at(NULL, "z", NULL);
	teardown();
}

Test(kv, branches_are_created_listed_deleted_and_independent)
{
	struct bole_bytes name = {NULL, 0};
	struct bole_kv_view *view;
	struct bole_kv_tx *tx;
	struct bole_oid oid;
	char hex[BOLE_OID_HEX_MAX + 1];

	setup(test_algo());
	cr_assert_eq(bole_kv_branch_create(kv, "side", NULL), BOLE_E_NOT_FOUND);
	cr_assert_eq(bole_kv_set(kv, z("k"), z("1"), NULL, &oid), BOLE_OK);
	bole_oid_format(&oid, hex);
	cr_assert_eq(bole_kv_branch_create(kv, "side", NULL), BOLE_OK);
	cr_assert_eq(bole_kv_branch_create(kv, "side", NULL), BOLE_E_EXISTS);
	cr_assert_eq(bole_kv_branch_create(kv, "side/way", NULL), BOLE_E_CONFLICT);
	cr_assert_eq(bole_kv_branch_create(kv, "bad..name", NULL), BOLE_E_INVALID);
	cr_assert_eq(bole_kv_branch_create(kv, "x", "nowhere"), BOLE_E_NOT_FOUND);
	set("k", "2");
	cr_assert_eq(bole_kv_branch_create(kv, "by-id", hex), BOLE_OK);
	cr_assert_eq(bole_kv_begin(kv, "side", &tx), BOLE_OK);
	cr_assert_eq(bole_kv_tx_set(tx, z("only"), z("here")), BOLE_OK);
	cr_assert_eq(bole_kv_tx_commit(tx, NULL, NULL), BOLE_OK);
	/* A branch may begin with a commit of its own. */
	cr_assert_eq(bole_kv_begin(kv, "fresh", &tx), BOLE_OK);
	cr_assert_eq(bole_kv_tx_set(tx, z("f"), z("1")), BOLE_OK);
	cr_assert_eq(bole_kv_tx_commit(tx, NULL, NULL), BOLE_OK);
	expect_at("side", "k", "1");
	expect_at("side", "only", "here");
	expect_at("refs/heads/by-id", "k", "1");
	expect_at(hex, "k", "1");
	expect_at(NULL, "k", "2");
	expect_at(NULL, "only", NULL);
	expect_at("fresh", "k", NULL);
	view = view_open(NULL);
	static const char *const names[] = {"by-id", "fresh", "main", "side"};
	for (size_t i = 0; i < 4; i++) {
		cr_assert_eq(bole_kv_branch_next(view, name, &name, &oid), BOLE_OK);
		cr_assert(bole_bytes_equal(name, z(names[i])));
	}
	cr_assert_eq(bole_kv_branch_next(view, name, &name, &oid), BOLE_END);
	bole_kv_view_close(view);
	cr_assert_eq(bole_kv_branch_delete(kv, "main"), BOLE_E_DENIED);
	cr_assert_eq(bole_kv_branch_delete(kv, "side"), BOLE_OK);
	cr_assert_eq(bole_kv_branch_delete(kv, "side"), BOLE_E_NOT_FOUND);
	cr_assert_eq(bole_kv_view_open(kv, "side", &view), BOLE_E_NOT_FOUND);
	teardown();
}

Test(kv, large_values_stream)
{
	struct bole_buffer buffer;
	struct bole_kv_item item;
	uint64_t seed = test_seed(8);
	size_t len = 3 << 20;

	setup(test_algo());
	uint8_t *data = bole_alloc_array(&test.alloc, len, 1);
	test_random_bytes(&seed, data, len);
	cr_assert_eq(bole_kv_set(kv, z("big"), bole_bytes_of(data, len), NULL, NULL), BOLE_OK);
	struct bole_kv_view *view = view_open(NULL);
	bole_buffer_init(&buffer, &test.alloc, SIZE_MAX);
	struct bole_bytes seen;
	cr_assert_eq(bole_kv_stat(view, z("big"), &item), BOLE_OK);
	cr_assert_eq(item.mode, 0100644);
	cr_assert_eq(bole_kv_get(view, z("big"), &seen), BOLE_OK);
	cr_assert(bole_bytes_equal(seen, bole_bytes_of(data, len)));
	bole_kv_view_close(view);
	bole_buffer_release(&buffer);
	bole_alloc_free(&test.alloc, data, len, 1);
	teardown();
}

Test(kv, opening_names_what_is_wrong)
{
	struct bole_kv_options options = {.repo = "other"};
	struct bole_kv *other;

	setup(test_algo());
	cr_assert_eq(bole_kv_open(&test.base, &test.alloc, store, &options, &other),
	             BOLE_E_NOT_FOUND);
	options.create = true;
	options.branch = "bad name";
	cr_assert_eq(bole_kv_open(&test.base, &test.alloc, store, &options, &other),
	             BOLE_E_INVALID);
	options.branch = "trunk";
	cr_assert_eq(bole_kv_open(&test.base, &test.alloc, store, &options, &other), BOLE_OK);
	cr_assert_str_eq(bole_kv_branch(other), "trunk");
	cr_assert_eq(bole_kv_set(other, z("k"), z("v"), NULL, NULL), BOLE_OK);
	bole_kv_close(other);
	options = (struct bole_kv_options){.repo = "other"};
	cr_assert_eq(bole_kv_open(&test.base, &test.alloc, store, &options, &other), BOLE_OK);
	cr_assert_str_eq(bole_kv_branch(other), "trunk");
	bole_kv_close(other);
	expect_at(NULL, "k", NULL);
	teardown();
}

Test(kv, every_failed_allocation_is_an_answer_and_loses_nothing)
{
	bool done = false;

	for (uint64_t n = 1; !done; n += 1 + n / 16) {
		setup(test_algo());
		set("a/b", "0");
		test.fail_at = test.grows + n;
		enum bole_status rc = bole_kv_set(kv, z("a/c"), z("1"), NULL, NULL);
		done = test.grows < test.fail_at;
		test.fail_at = 0;
		cr_assert(rc == BOLE_OK || rc == BOLE_E_NO_MEMORY, "%d", rc);
		expect_at(NULL, "a/b", "0");
		expect_at(NULL, "a/c", rc == BOLE_OK ? "1" : NULL);
		teardown();
	}
}
