/* SPDX-License-Identifier: ISC */
/* Repositories and references. */
#include "support/store_suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "support/platform.h"
#include "support/suite_help.h"

/* -- Repositories -- */

void store_suite_repositories(struct store_suite *suite)
{
	static const char *const bad[] = {"", ".", "a/../b", "x.git", "/a", "a//b", "a b"};
	struct bole_repo repo;
	struct bole_repo other;

	check_eq(bole_repo_next(suite->store, "", &repo), BOLE_END);
	check_eq(bole_repo_find(suite->store, "main", &repo), BOLE_E_NOT_FOUND);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		check_eq(bole_repo_create(suite->store, bad[i], test_algo(), "refs/heads/main",
		                          &repo),
		         BOLE_E_INVALID);
	struct bole_repo b = suite_create(suite, "b", test_algo());
	struct bole_repo a = suite_create(suite, "a/deep", BOLE_HASH_SHA256);
	check_neq(a.id, b.id);
	check_neq(a.domain, b.domain);
	check_eq(bole_repo_create(suite->store, "b", test_algo(), "refs/heads/x", &repo),
	         BOLE_E_EXISTS);
	suite_reopen(suite);
	OK(bole_repo_find(suite->store, "a/deep", &repo));
	check_eq(repo.id, a.id);
	check_eq(repo.algo, BOLE_HASH_SHA256);
	check_text(repo.name, "a/deep");
	OK(bole_repo_next(suite->store, "", &repo));
	check_eq(repo.id, a.id);
	OK(bole_repo_next(suite->store, repo.name, &repo));
	check_eq(repo.id, b.id);
	check_eq(bole_repo_next(suite->store, repo.name, &other), BOLE_END);

	check_eq(bole_repo_rename(suite->store, a.id, "b"), BOLE_E_EXISTS);
	OK(bole_repo_rename(suite->store, a.id, "c"));
	check_eq(bole_repo_find(suite->store, "a/deep", &repo), BOLE_E_NOT_FOUND);
	OK(bole_repo_find(suite->store, "c", &repo));
	check_eq(repo.id, a.id);
	OK(bole_repo_remove(suite->store, b.id));
	check_eq(bole_repo_remove(suite->store, b.id), BOLE_E_NOT_FOUND);
	check_eq(bole_repo_rename(suite->store, b.id, "z"), BOLE_E_NOT_FOUND);
	struct bole_repo again = suite_create(suite, "b", test_algo());
	check_neq(again.id, b.id, "numbers are never reused");
	check_neq(again.domain, b.domain);
	suite_reopen(suite);
	check_eq(bole_repo_find(suite->store, "a/deep", &repo), BOLE_E_NOT_FOUND);
	OK(bole_repo_find(suite->store, "c", &repo));
	OK(bole_repo_find(suite->store, "b", &repo));
	check_eq(repo.id, again.id);
}

/* -- References -- */

static void expect_listing(struct store_suite *suite, uint32_t repo, const char *prefix,
                           const char *const *names, size_t count)
{
	struct bole_snapshot *snapshot;
	struct bole_ref ref = {.name = {NULL, 0}};

	OK(bole_snapshot_open(suite->store, repo, &snapshot));
	for (size_t i = 0; i < count; i++) {
		OK(bole_ref_next(snapshot, bole_bytes_z(prefix), ref.name, &ref));
		check(bole_bytes_equal(ref.name, bole_bytes_z(names[i])), "%s", names[i]);
	}
	check_eq(bole_ref_next(snapshot, bole_bytes_z(prefix), ref.name, &ref), BOLE_END);
	bole_snapshot_close(snapshot);
}

static void expect_head(struct store_suite *suite, uint32_t repo, const char *target)
{
	struct bole_snapshot *snapshot;
	struct bole_ref ref;

	OK(bole_snapshot_open(suite->store, repo, &snapshot));
	OK(bole_ref_get(snapshot, bole_bytes_z("HEAD"), &ref));
	check(ref.symbolic);
	check(bole_bytes_equal(ref.target, bole_bytes_z(target)));
	bole_snapshot_close(snapshot);
}

/* refs/heads/a is at one: verify, delete and absence are compared too; HEAD is symbolic. */
static void suite_verify_and_delete(struct store_suite *suite, uint32_t repo,
                                    struct bole_ref_update cas, const struct suite_blob *one,
                                    const struct suite_blob *two)
{
	struct bole_ref_update verify = cas;
	verify.action = BOLE_REF_VERIFY;
	suite_commit_expect(suite, repo, verify, BOLE_E_CONFLICT);
	verify.expected = one->oid;
	suite_commit_expect(suite, repo, verify, BOLE_OK);
	struct bole_ref_update del = suite_delete("refs/heads/a");
	del.expect = BOLE_EXPECT_OID;
	del.expected = two->oid;
	suite_commit_expect(suite, repo, del, BOLE_E_CONFLICT);
	del.expected = one->oid;
	suite_commit_expect(suite, repo, del, BOLE_OK);
	suite_expect_ref_now(suite, repo, "refs/heads/a", NULL);
	del.expect = BOLE_EXPECT_OID;
	suite_commit_expect(suite, repo, del, BOLE_E_CONFLICT);
	verify.expect = BOLE_EXPECT_ABSENT;
	suite_commit_expect(suite, repo, verify, BOLE_OK);
	struct bole_ref_update head = {.name = bole_bytes_z("HEAD"),
	                               .action = BOLE_REF_SYMBOLIC,
	                               .target = bole_bytes_z("refs/heads/b")};
	suite_commit_expect(suite, repo, head, BOLE_OK);
	suite_reopen(suite);
	expect_head(suite, repo, "refs/heads/b");
	suite_expect_ref_now(suite, repo, "refs/heads/a", NULL);
	suite_expect_ref_now(suite, repo, "refs/heads/b", &one->oid);
}

void store_suite_refs(struct store_suite *suite)
{
	static const char *const all[] = {"HEAD", "refs/heads/a", "refs/heads/a-b", "refs/heads/b",
	                                  "refs/tags/v1"};
	struct bole_repo repo = suite_create(suite, "main", test_algo());
	struct suite_blob one;
	struct suite_blob two;

	suite_blob_make(&one, repo.algo, 1);
	suite_blob_make(&two, repo.algo, 2);
	expect_head(suite, repo.id, "refs/heads/main");
	suite_publish(suite, repo.id, &one, "refs/heads/b");
	suite_publish(suite, repo.id, &two, "refs/heads/a");

	struct bole_ref_update more[2] = {suite_set("refs/heads/a-b", &one.oid),
	                                  suite_set("refs/tags/v1", &two.oid)};
	more[1].has_peeled = true;
	more[1].peeled = one.oid;
	struct bole_tx *tx;
	OK(bole_tx_begin(suite->store, repo.id, &tx));
	suite_commit(tx, more, 2);
	suite_reopen(suite);
	expect_listing(suite, repo.id, "", all, 5);
	expect_listing(suite, repo.id, "refs/heads/", all + 1, 3);
	expect_listing(suite, repo.id, "refs/heads/a", all + 1, 2);
	expect_listing(suite, repo.id, "refs/notes/", NULL, 0);
	struct bole_snapshot *snapshot;
	struct bole_ref ref;
	OK(bole_snapshot_open(suite->store, repo.id, &snapshot));
	OK(bole_ref_get(snapshot, bole_bytes_z("refs/tags/v1"), &ref));
	check(ref.has_peeled);
	check(bole_oid_equal(&ref.peeled, &one.oid));

	/* Compare and set, and what a snapshot opened before it shows. */
	struct bole_ref_update cas = suite_set("refs/heads/a", &one.oid);
	cas.expect = BOLE_EXPECT_OID;
	cas.expected = one.oid;
	suite_commit_expect(suite, repo.id, cas, BOLE_E_CONFLICT);
	cas.expect = BOLE_EXPECT_ABSENT;
	suite_commit_expect(suite, repo.id, cas, BOLE_E_CONFLICT);
	cas.expect = BOLE_EXPECT_OID;
	cas.expected = two.oid;
	suite_commit_expect(suite, repo.id, cas, BOLE_OK);
	suite_expect_ref(snapshot, "refs/heads/a", &two.oid);
	bole_snapshot_close(snapshot);
	suite_expect_ref_now(suite, repo.id, "refs/heads/a", &one.oid);

	suite_verify_and_delete(suite, repo.id, cas, &one, &two);
}

void store_suite_ref_clashes(struct store_suite *suite)
{
	struct bole_repo repo = suite_create(suite, "main", test_algo());
	struct suite_blob one;

	suite_blob_make(&one, repo.algo, 1);
	suite_publish(suite, repo.id, &one, "refs/heads/a/b");
	suite_commit_expect(suite, repo.id, suite_set("refs/heads/a-b", &one.oid), BOLE_OK);
	suite_commit_expect(suite, repo.id, suite_set("refs/heads/a", &one.oid), BOLE_E_CONFLICT);
	suite_commit_expect(suite, repo.id, suite_set("refs/heads/a/b/c", &one.oid),
	                    BOLE_E_CONFLICT);
	suite_commit_expect(suite, repo.id, suite_set("refs/heads/a/bc", &one.oid), BOLE_OK);
	/* Deleting in the same commit makes room. */
	struct bole_ref_update swap[3] = {suite_delete("refs/heads/a/b"),
	                                  suite_delete("refs/heads/a/bc"),
	                                  suite_set("refs/heads/a", &one.oid)};
	struct bole_tx *tx;
	OK(bole_tx_begin(suite->store, repo.id, &tx));
	suite_commit(tx, swap, 3);
	suite_expect_ref_now(suite, repo.id, "refs/heads/a", &one.oid);
	suite_expect_ref_now(suite, repo.id, "refs/heads/a/b", NULL);
	/* Two new names that clash with each other. */
	struct bole_ref_update both[2] = {suite_set("refs/tags/x", &one.oid),
	                                  suite_set("refs/tags/x/y", &one.oid)};
	size_t failed;
	OK(bole_tx_begin(suite->store, repo.id, &tx));
	check_eq(bole_tx_commit(tx, both, 2, &failed), BOLE_E_CONFLICT);
	check_lt(failed, 2);
	bole_tx_abort(tx);
	suite_expect_ref_now(suite, repo.id, "refs/tags/x", NULL);
}

void store_suite_conflict_keeps_the_transaction(struct store_suite *suite)
{
	struct bole_repo repo = suite_create(suite, "main", test_algo());
	struct suite_blob one;
	struct suite_blob two;
	struct bole_entry entry;
	struct bole_tx *tx;
	size_t failed;

	suite_blob_make(&one, repo.algo, 1);
	suite_blob_make(&two, repo.algo, 2);
	suite_publish(suite, repo.id, &one, "refs/heads/a");
	struct bole_ref_update updates[3] = {suite_set("refs/heads/b", &two.oid),
	                                     suite_set("refs/heads/a", &two.oid),
	                                     suite_set("refs/heads/c", &two.oid)};
	updates[1].expect = BOLE_EXPECT_ABSENT;
	OK(bole_tx_begin(suite->store, repo.id, &tx));
	suite_put_blob(tx, &two);
	check_eq(bole_tx_commit(tx, updates, 3, &failed), BOLE_E_CONFLICT);
	check_eq(failed, 1);
	/* Nothing of it is visible, everything of it is still there. */
	suite_expect_ref_now(suite, repo.id, "refs/heads/b", NULL);
	check_eq(suite_find_now(suite, repo.id, &two.oid, &entry), BOLE_E_NOT_FOUND);
	updates[1].expect = BOLE_EXPECT_OID;
	updates[1].expected = one.oid;
	suite_commit(tx, updates, 3);
	suite_reopen(suite);
	suite_expect_ref_now(suite, repo.id, "refs/heads/a", &two.oid);
	suite_expect_ref_now(suite, repo.id, "refs/heads/c", &two.oid);
	OK(suite_find_now(suite, repo.id, &two.oid, &entry));
}
