/* SPDX-License-Identifier: ISC */
/* Transactions that are too long for memory. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/bytes.h"
#include "bole/block_sim.h"
#include "support/platform.h"
#include "support/suite_help.h"

enum { PUTS = 700, ENTRY = 6007 };

static size_t make(unsigned number, uint8_t *entry, struct bole_oid *oid)
{
	uint64_t state = number;

	memset(oid, 0, sizeof *oid);
	oid->algo = BOLE_HASH_SHA1;
	test_random_bytes(&state, oid->bytes, 20);
	test_random_bytes(&state, entry, ENTRY);
	return ENTRY - number % 7;
}

/* Goal: what a long transaction put is all there after a stop. Method: more puts than are kept in
 * memory, no length a multiple of anything; every byte is compared. */
Test(flash_spill, a_transaction_longer_than_memory_keeps_every_byte)
{
	const struct bole_block_sim_options o = {.kind = BOLE_BLOCK_MANAGED,
	                                         .size_bytes = 64 << 20,
	                                         .read_unit = 512,
	                                         .program_unit = 512};
	struct test_platform test;
	struct bole_block *disk;
	struct bole_store *store;
	struct bole_repo repo;
	struct bole_tx *tx;
	struct bole_snapshot *s;
	static uint8_t entry[ENTRY];
	struct bole_oid oid;
	struct bole_entry e;

	test_platform_init(&test, 1);
	test.quiet = true;
	OK(bole_block_sim_open(&test.alloc, &o, &disk));
	OK(bole_flash_format(disk, &test.base, NULL));
	OK(bole_flash_open(disk, &test.base, &test.alloc, NULL, &store));
	OK(bole_repo_create(store, "r", BOLE_HASH_SHA1, "refs/heads/a", &repo));
	OK(bole_tx_begin(store, repo.id, &tx));
	for (unsigned i = 0; i < PUTS; i++) {
		struct bole_bytes piece = {entry, make(i, entry, &oid)};
		OK(bole_tx_put(tx, &oid, BOLE_OBJECT_BLOB, &piece, 1));
	}
	suite_commit(tx, NULL, 0);
	for (unsigned round = 0; round < 2; round++) {
		OK(bole_snapshot_open(store, repo.id, &s));
		for (unsigned i = 0; i < PUTS; i++) {
			size_t len = make(i, entry, &oid);
			OK(bole_odb_find(s, &oid, &e));
			suite_expect_stored(s, &e, bole_bytes_of(entry, len));
		}
		bole_snapshot_close(s);
		OK(bole_store_close(store));
		OK(bole_flash_open(disk, &test.base, &test.alloc, NULL, &store));
	}
	OK(bole_store_close(store));
	bole_block_close(disk);
	test_platform_release(&test);
}
