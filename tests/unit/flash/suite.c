/* SPDX-License-Identifier: ISC */
/* The contract of every store, on a flash volume in memory. */
#include <criterion/criterion.h>

#include "bole/devices.h"
#include "support/platform.h"
#include "support/store_suite.h"

enum { SUITE_DEVICE_BYTES = 8 << 20, SUITE_SECTOR = 512 };

static struct test_platform test;
static struct store_suite suite;
static struct bole_block *device;

static void reopen(struct store_suite *s)
{
	cr_assert_eq(bole_store_close(s->store), BOLE_OK);
	cr_assert_eq(bole_flash_open(device, &test.base, &test.alloc, NULL, &s->store), BOLE_OK);
}

static void setup(void)
{
	test_platform_init(&test, 1);
	cr_assert_eq(bole_block_ram_open(&test.alloc, SUITE_DEVICE_BYTES, SUITE_SECTOR, &device),
	             BOLE_OK);
	cr_assert_eq(bole_flash_format(device, &test.base, NULL), BOLE_OK);
	cr_assert_eq(bole_flash_open(device, &test.base, &test.alloc, NULL, &suite.store), BOLE_OK);
	suite.platform = &test.base;
	suite.reopen = reopen;
}

static void teardown(void)
{
	cr_assert_eq(bole_store_close(suite.store), BOLE_OK);
	bole_block_close(device);
	test_platform_release(&test);
}

#define SUITE(function, sentence)               \
	Test(flash_store, sentence)             \
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

Test(flash_store, random_drops_and_marks_agree_with_a_model)
{
	setup();
	store_suite_liveness_random(&suite, test_seed(42), 400);
	teardown();
}

Test(flash_store, random_work_agrees_with_a_model)
{
	setup();
	store_suite_random(&suite, test_seed(42), 400);
	teardown();
}
