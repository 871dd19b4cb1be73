/* SPDX-License-Identifier: ISC */
#include <criterion/criterion.h>

#include "support/platform.h"
#include "support/store_suite.h"

static struct test_platform test;
static struct store_suite suite;

static void setup(void)
{
	test_platform_init(&test, 1);
	cr_assert_eq(bole_memory_store_open(&test.base, &test.alloc, &suite.store), BOLE_OK);
	suite.platform = &test.base;
}

/* Not a fixture: a leak must fail the test. */
static void teardown(void)
{
	cr_assert_eq(bole_store_close(suite.store), BOLE_OK);
	test_platform_release(&test);
}

#define SUITE(function, sentence)               \
	Test(memory_store, sentence)            \
	{                                       \
		setup();                        \
		store_suite_##function(&suite); \
		teardown();                     \
	}

SUITE(repositories, repositories_are_created_found_renamed_and_removed)
SUITE(refs, references_are_listed_in_order_and_compared_before_they_are_set)
SUITE(ref_clashes, a_reference_is_never_a_directory_of_another)
SUITE(conflict_keeps_the_transaction, a_conflict_leaves_the_transaction_open)
SUITE(isolation, a_transaction_is_seen_by_nobody_before_its_commit)
SUITE(records, records_are_found_as_they_were_stored)
SUITE(extents, extents_are_found_entry_by_entry)
SUITE(duplicates, the_oldest_entry_of_an_id_wins)
SUITE(domains, an_id_of_one_repository_is_not_findable_in_another)
SUITE(abort, an_abort_drops_everything)
SUITE(prepare, a_prepared_transaction_can_be_resumed)
SUITE(aux, aux_records_are_kept_by_class_kind_and_key)
SUITE(iterate, every_object_is_listed_once_in_the_order_of_the_log)
SUITE(drop, what_a_transaction_drops_is_gone_and_an_older_snapshot_still_sees_it)
SUITE(drop_and_put, the_last_of_drop_and_put_decides)
SUITE(drop_prepared, a_prepared_transaction_keeps_its_drops)
SUITE(mark, what_a_mark_did_not_reach_is_gone_in_one_step)
SUITE(mark_duplicates, a_mark_keeps_every_entry_of_an_id)
SUITE(mark_roots, what_is_relied_upon_during_a_mark_becomes_a_root)
SUITE(mark_waits, what_an_older_transaction_relies_on_outlives_a_mark)

Test(memory_store, random_drops_and_marks_agree_with_a_model)
{
	setup();
	store_suite_liveness_random(&suite, test_seed(42), 400);
	teardown();
}

Test(memory_store, random_work_agrees_with_a_model)
{
	setup();
	store_suite_random(&suite, test_seed(42), 400);
	teardown();
}

Test(memory_store, every_failed_allocation_is_an_error_and_leaves_the_store_whole)
{
	struct suite_blob blob;
	bool done = false;

	for (uint64_t n = 1; !done; n++) {
		struct bole_repo repo;
		struct bole_tx *tx = NULL;
		struct bole_entry entry;
		struct bole_snapshot *snapshot;
		size_t failed;

		setup();
		suite_blob_make(&blob, BOLE_HASH_SHA1, 1);
		cr_assert_eq(bole_repo_create(suite.store, "main", BOLE_HASH_SHA1, "refs/heads/m",
		                              &repo),
		             BOLE_OK);
		uint64_t before = test.grows;
		test.fail_at = before + n;
		struct bole_bytes piece = {blob.entry, blob.entry_len};
		struct bole_ref_update update = suite_set("refs/heads/a", &blob.oid);
		enum bole_status rc = bole_tx_begin(suite.store, repo.id, &tx);
		bool open = rc == BOLE_OK;
		if (rc == BOLE_OK)
			rc = bole_tx_put(tx, &blob.oid, BOLE_OBJECT_BLOB, &piece, 1);
		if (rc == BOLE_OK) {
			rc = bole_tx_commit(tx, &update, 1, &failed);
			open = false;
		}
		if (open)
			bole_tx_abort(tx);
		done = test.grows < before + n;
		test.fail_at = 0;
		cr_assert_eq(rc, done ? BOLE_OK : BOLE_E_NO_MEMORY);
		cr_assert_eq(bole_snapshot_open(suite.store, repo.id, &snapshot), BOLE_OK);
		cr_assert_eq(bole_odb_find(snapshot, &blob.oid, &entry),
		             done ? BOLE_OK : BOLE_E_NOT_FOUND);
		bole_snapshot_close(snapshot);
		teardown();
	}
}
