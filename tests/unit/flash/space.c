/* SPDX-License-Identifier: ISC */
/* Full volumes. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bole/block_sim.h"
#include "bole/devices.h"
#include "support/platform.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

static struct test_platform test;
static struct bole_block *device;
static struct bole_store *store;

static void setup(uint64_t size)
{
	test_platform_init(&test, 1);
	test.quiet = true;
	OK(bole_block_ram_open(&test.alloc, size, 4096, &device));
	OK(bole_flash_format(device, &test.base, NULL));
	OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
}

static void teardown(void)
{
	OK(bole_store_close(store));
	bole_block_close(device);
	test_platform_release(&test);
}

static void reopen(void)
{
	OK(bole_store_close(store));
	OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
}

enum { CHUNK = 4000 };

/* A transaction that stores an extent of so many chunks; one row. */
static enum bole_status push(uint32_t repo, uint64_t number, unsigned chunks, bool abort)
{
	static uint8_t chunk[CHUNK];
	struct bole_extent_row row = {.offset = 12, .type = BOLE_OBJECT_BLOB};
	struct bole_tx *tx;
	uint64_t extent;
	size_t failed;

	row.oid.algo = BOLE_HASH_SHA1;
	memcpy(row.oid.bytes, &number, sizeof number);
	row.stored_bytes = (uint64_t)chunks * CHUNK - 12;
	enum bole_status rc = bole_tx_begin(store, repo, &tx);
	if (rc != BOLE_OK)
		return rc;
	rc = bole_tx_extent_begin(tx, &extent);
	for (unsigned i = 0; i < chunks && rc == BOLE_OK; i++) {
		memset(chunk, (int)(number + i), sizeof chunk);
		rc = bole_tx_extent_append(tx, (struct bole_bytes){chunk, sizeof chunk});
	}
	if (rc == BOLE_OK)
		rc = bole_tx_extent_finish(tx, &row, 1);
	if (rc != BOLE_OK || abort) {
		bole_tx_abort(tx);
		return rc;
	}
	return bole_tx_commit(tx, NULL, 0, &failed);
}

static enum bole_status set_ref(uint32_t repo, const char *name, uint64_t number, bool delete)
{
	struct bole_oid oid = {.algo = BOLE_HASH_SHA1};
	struct bole_tx *tx;
	size_t failed;

	memcpy(oid.bytes, &number, sizeof number);
	struct bole_ref_update u = delete ? suite_delete(name) : suite_set(name, &oid);
	enum bole_status rc = bole_tx_begin(store, repo, &tx);
	return rc != BOLE_OK ? rc : bole_tx_commit(tx, &u, 1, &failed);
}

Test(flash_space, a_full_volume_says_so_and_takes_deletes_and_reference_updates)
{
	struct bole_repo small;
	struct bole_repo big;
	enum bole_status rc = BOLE_OK;
	uint64_t pushes = 0;

	setup(8 << 20);
	OK(bole_repo_create(store, "small", BOLE_HASH_SHA1, "refs/heads/a", &small));
	OK(bole_repo_create(store, "big", BOLE_HASH_SHA1, "refs/heads/a", &big));
	OK(push(small.id, 1, 20, false));
	while (rc == BOLE_OK) {
		rc = push(big.id, 100 + pushes, 30, false);
		pushes += rc == BOLE_OK;
	}
	check_eq(rc, BOLE_E_NO_SPACE);
	cr_assert_gt(pushes * 30 * CHUNK, (8 << 20) / 10 * 7, "%llu pushes",
	             (unsigned long long)pushes);
	struct suite_blob blob;
	suite_blob_make(&blob, BOLE_HASH_SHA1, 5);
	for (uint64_t i = 0; i < 3000; i++) {
		OK(set_ref(small.id, "refs/heads/a", i, false));
		if (i % 3 == 2)
			OK(set_ref(small.id, "refs/heads/a", 0, true));
		if (i % 1000 == 999)
			reopen();
	}
	check_eq(push(small.id, 7, 200, false), BOLE_E_NO_SPACE);
	OK(bole_repo_remove(store, big.id));
	/* As many again, but for what the other references and the last victims take. */
	for (uint64_t i = 0; i < pushes - pushes / 20; i++)
		OK(push(small.id, 1000 + i, 30, false));
	reopen();
	OK(bole_repo_remove(store, small.id));
	teardown();
}

/* Goal: recovery needs space too, and a full volume has it. Method: fill a volume, then lose power
 * again and again, during reference updates and during mounts. */
Test(flash_space, a_full_volume_survives_cuts)
{
	const struct bole_block_sim_options o = {
	        .kind = BOLE_BLOCK_MANAGED,
	        .size_bytes = 6 << 20,
	        .read_unit = 512,
	        .program_unit = 512,
	        .volatile_cache = true,
	        .can_discard = true,
	};
	uint64_t random = test_seed(3);
	struct bole_repo repo;
	struct bole_flash_check_result result;

	test_platform_init(&test, 1);
	test.quiet = true;
	OK(bole_block_sim_open(&test.alloc, &o, &device));
	OK(bole_flash_format(device, &test.base, NULL));
	OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
	OK(bole_repo_create(store, "r", BOLE_HASH_SHA1, "refs/heads/a", &repo));
	for (uint64_t i = 0; push(repo.id, i, 20, false) == BOLE_OK; i++)
		;
	for (uint64_t i = 0; i < 150; i++) {
		bole_block_sim_cut_at(device, 1 + test_random(&random) % 40, BOLE_SIM_TEAR_RANDOM);
		enum bole_status rc = BOLE_OK;
		for (uint64_t n = 0; rc == BOLE_OK; n++)
			rc = set_ref(repo.id, "refs/heads/a", n, false);
		check(rc == BOLE_E_IO || rc == BOLE_E_READ_ONLY);
		(void)bole_store_close(store);
		bole_block_sim_power_on(device);
		if (i % 3 == 0) {
			bole_block_sim_cut_at(device, 1 + test_random(&random) % 8,
			                      BOLE_SIM_TEAR_RANDOM);
			if (bole_flash_open(device, &test.base, &test.alloc, NULL, &store) ==
			    BOLE_OK)
				(void)bole_store_close(store);
			bole_block_sim_power_on(device);
			bole_block_sim_cut_at(device, 0, BOLE_SIM_TEAR_RANDOM);
		}
		OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
	}
	OK(set_ref(repo.id, "refs/heads/a", 0, true));
	OK(bole_flash_check(device, &test.base, &test.alloc, NULL, &result));
	OK(bole_repo_remove(store, repo.id));
	OK(bole_repo_create(store, "r", BOLE_HASH_SHA1, "refs/heads/a", &repo));
	for (uint64_t i = 0; i < 30; i++)
		OK(push(repo.id, i, 20, false));
	teardown();
}

Test(flash_space, pushes_that_are_aborted_do_not_fill_the_volume)
{
	struct bole_repo repo;

	setup(8 << 20);
	OK(bole_repo_create(store, "r", BOLE_HASH_SHA1, "refs/heads/a", &repo));
	for (uint64_t i = 0; i < 60; i++)
		OK(push(repo.id, i, 250 + (unsigned)i, true));
	/* Repositories that come and go neither. */
	for (uint64_t i = 0; i < 30; i++) {
		struct bole_repo other;
		OK(bole_repo_create(store, "other", BOLE_HASH_SHA1, "refs/heads/a", &other));
		OK(push(other.id, i, 400, false));
		OK(bole_repo_remove(store, other.id));
		if (i % 10 == 9)
			reopen();
	}
	OK(push(repo.id, 99, 400, false));
	teardown();
}

Test(flash_space, a_snapshot_keeps_what_it_reads_after_its_repository_is_gone)
{
	struct bole_repo repo;
	struct bole_repo other;
	struct bole_snapshot *snapshot;
	struct bole_oid oid = {.algo = BOLE_HASH_SHA1, .bytes = {9}};
	struct bole_entry entry;
	struct bole_bytes bytes;

	setup(8 << 20);
	OK(bole_repo_create(store, "r", BOLE_HASH_SHA1, "refs/heads/a", &repo));
	OK(bole_repo_create(store, "o", BOLE_HASH_SHA1, "refs/heads/a", &other));
	OK(push(repo.id, 9, 300, false));
	OK(bole_snapshot_open(store, repo.id, &snapshot));
	OK(bole_repo_remove(store, repo.id));
	for (uint64_t i = 0; i < 20; i++)
		OK(push(other.id, i, 300, i % 2 != 0 || i > 6));
	OK(bole_odb_find(snapshot, &oid, &entry));
	for (uint64_t pos = 0; pos < entry.stored_bytes; pos += bytes.len) {
		OK(bole_odb_view(snapshot, &entry, pos, &bytes));
		check_eq(bytes.ptr[0], (uint8_t)(9 + (pos + 12) / CHUNK));
	}
	bole_snapshot_close(snapshot);
	teardown();
}
