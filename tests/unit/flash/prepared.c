/* SPDX-License-Identifier: ISC */
/* What is prepared in a repository that is removed: the transaction still has what it brought, and
 * nobody else has. The sanitizers see whether anything is used after it was given back. */
#include <criterion/criterion.h>

#include "bole/block_sim.h"
#include "bole/store.h"
#include "support/platform.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

enum { DISK_BYTES = 16 << 20, ROWS = 2000 };

static struct test_platform test;
static struct bole_block *disk;
static struct bole_store *store;

static void setup(void)
{
	const struct bole_block_sim_options o = {.kind = BOLE_BLOCK_MANAGED,
	                                         .size_bytes = DISK_BYTES,
	                                         .read_unit = 512,
	                                         .program_unit = 512};

	test_platform_init(&test, 1);
	test.quiet = true;
	OK(bole_block_sim_open(&test.alloc, &o, &disk));
	OK(bole_flash_format(disk, &test.base, NULL));
	OK(bole_flash_open(disk, &test.base, &test.alloc, NULL, &store));
}

static void read_own(struct bole_tx *tx, const struct bole_oid *oid)
{
	struct bole_entry entry;
	struct bole_bytes bytes;

	OK(bole_odb_find(tx->view, oid, &entry));
	OK(bole_odb_view(tx->view, &entry, 0, &bytes));
}

/* How the transaction ends, and whether it was prepared before the last mount. */
static void one(bool commit, bool resumed)
{
	struct store_suite suite = {.store = store, .platform = &test.base};
	struct bole_repo repo = suite_create(&suite, "main", BOLE_HASH_SHA1);
	struct bole_repo other = suite_create(&suite, "other", BOLE_HASH_SHA1);
	struct bole_tx_token token;
	struct suite_blob blob;
	struct suite_pack pack;
	struct bole_entry entry;
	struct bole_tx *tx;
	size_t failed;

	suite_blob_make(&blob, repo.algo, 1);
	suite_pack_make(&pack, repo.algo, 100, ROWS);
	OK(bole_tx_begin(store, repo.id, &tx));
	suite_put_blob(tx, &blob);
	(void)suite_pack_append(tx, &pack);
	OK(bole_tx_prepare(tx, &token));
	if (resumed) {
		OK(bole_store_close(store));
		OK(bole_flash_open(disk, &test.base, &test.alloc, NULL, &store));
		suite.store = store;
		OK(bole_tx_resume(store, &token, &tx));
	}
	read_own(tx, &blob.oid);
	OK(bole_repo_remove(store, repo.id));
	suite_publish(&suite, other.id, &blob, "refs/heads/a");
	read_own(tx, &blob.oid);
	read_own(tx, &pack.rows[ROWS - 1].oid);
	if (commit) {
		struct bole_ref_update update = suite_set("refs/heads/a", &blob.oid);
		check_eq(bole_tx_commit(tx, &update, 1, &failed), BOLE_E_NOT_FOUND);
	} else {
		bole_tx_abort(tx);
	}
	check_eq(bole_tx_resume(store, &token, &tx), BOLE_E_NOT_FOUND);
	check_eq(suite_find_now(&suite, other.id, &pack.rows[0].oid, &entry), BOLE_E_NOT_FOUND);
	OK(bole_repo_remove(store, other.id));
	suite_pack_free(&pack);
}

Test(flash_prepared, a_removed_repository_leaves_the_transaction_what_it_brought)
{
	setup();
	for (unsigned i = 0; i < 4; i++)
		one((i & 1) != 0, (i & 2) != 0);
	OK(bole_store_close(store));
	bole_block_close(disk);
	test_platform_release(&test);
}
