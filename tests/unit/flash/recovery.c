/* SPDX-License-Identifier: ISC */
/* Mounts after an unclean stop that are short of something. */
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

static void setup(uint64_t size, uint32_t damage_unit)
{
	struct bole_block_sim_options o = {.kind = BOLE_BLOCK_MANAGED,
	                                   .size_bytes = size,
	                                   .read_unit = 512,
	                                   .program_unit = 512,
	                                   .damage_unit = damage_unit,
	                                   .volatile_cache = true};

	test_platform_init(&test, 1);
	test.quiet = getenv("VERBOSE") == NULL;
	OK(bole_block_sim_open(&test.alloc, &o, &device));
	OK(bole_flash_format(device, &test.base, NULL));
	OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
}

static void teardown(void)
{
	OK(bole_store_close(store));
	bole_block_close(device);
	test_platform_release(&test);
}

/* So many records of 4000 bytes in one transaction. */
static struct bole_tx *put_records(uint32_t repo, uint32_t number, unsigned count)
{
	static uint8_t body[4000];
	struct bole_bytes piece = {body, sizeof body};
	struct bole_oid oid = {.algo = BOLE_HASH_SHA1};
	struct bole_tx *tx;

	OK(bole_tx_begin(store, repo, &tx));
	for (uint32_t i = 0; i < count; i++) {
		memcpy(oid.bytes, &number, sizeof number);
		memcpy(oid.bytes + 4, &i, sizeof i);
		memset(body, (int)(number + i), sizeof body);
		OK(bole_tx_put(tx, &oid, BOLE_OBJECT_BLOB, &piece, 1));
	}
	return tx;
}

static void expect_records(struct bole_snapshot *snapshot, uint32_t number, unsigned count)
{
	struct bole_oid oid = {.algo = BOLE_HASH_SHA1};

	for (uint32_t i = 0; i < count; i++) {
		struct bole_entry e;
		struct bole_bytes bytes;
		memcpy(oid.bytes, &number, sizeof number);
		memcpy(oid.bytes + 4, &i, sizeof i);
		OK(bole_odb_find(snapshot, &oid, &e));
		OK(bole_odb_view(snapshot, &e, 0, &bytes));
		check_eq(bytes.ptr[0], (uint8_t)(number + i));
	}
}

/* The volume as it is now, without a clean stop, mounts and holds the records. */
static void expect_after_stop(uint32_t repo, uint32_t number, unsigned count)
{
	struct bole_snapshot *snapshot;
	struct bole_block *copy;
	struct bole_store *other;

	OK(bole_block_sim_clone(&test.alloc, device, &copy));
	for (int again = 0; again < 2; again++) {
		OK(bole_flash_open(copy, &test.base, &test.alloc, NULL, &other));
		OK(bole_snapshot_open(other, repo, &snapshot));
		expect_records(snapshot, number, count);
		bole_snapshot_close(snapshot);
		OK(bole_store_close(other));
	}
	bole_block_close(copy);
}

/* Goal: recovery repeats what a cut left in doubt only where there is room for it: a volume that
 * was filled to the brim mounts. Method: the last commit that fits is a large one, cut at every
 * operation. */
Test(flash_recovery, a_full_volume_mounts_after_a_cut)
{
	enum { RECORDS = 200 };
	bool over = false;

	for (uint64_t cut = 1; !over; cut++) {
		struct bole_store_stats stats;
		struct bole_repo repo;
		uint32_t n = 0;
		size_t failed;
		setup((8 << 20) + (128 << 10), 512);
		OK(bole_repo_create(store, "r", BOLE_HASH_SHA1, "refs/heads/a", &repo));
		do {
			OK(bole_tx_commit(put_records(repo.id, n++, 15), NULL, 0, &failed));
			OK(bole_store_stats(store, &stats));
		} while (stats.free_bytes > RECORDS * 4200 + (8 * 32 << 10));
		bole_block_sim_cut_at(device, cut, BOLE_SIM_TEAR_KEEP);
		enum bole_status rc =
		        bole_tx_commit(put_records(repo.id, n, RECORDS), NULL, 0, &failed);
		check(rc == BOLE_OK || rc == BOLE_E_IO);
		over = !bole_block_sim_is_off(device);
		(void)bole_store_close(store);
		bole_block_sim_power_on(device);
		OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
		OK(bole_repo_remove(store, repo.id));
		teardown();
	}
}

/* Goal: what recovery repeats in several batches is recognised as a repetition in each. Method: a
 * prepared transaction of many batches, cut again at every operation of the recovery. */
Test(flash_recovery, a_prepared_transaction_of_many_batches_survives_a_cut_recovery)
{
	enum { RECORDS = 40 };
	struct bole_repo repo;
	struct bole_tx_token token;
	bool over = false;
	size_t failed;

	setup((8 << 20) + (128 << 10), 512);
	OK(bole_repo_create(store, "r", BOLE_HASH_SHA1, "refs/heads/a", &repo));
	OK(bole_tx_prepare(put_records(repo.id, 1, RECORDS), &token));
	for (uint64_t cut = 1; !over; cut++) {
		struct bole_block *copy;
		struct bole_store *other;
		struct bole_tx *tx;
		OK(bole_block_sim_clone(&test.alloc, device, &copy));
		bole_block_sim_cut_at(copy, cut, BOLE_SIM_TEAR_KEEP);
		over = bole_flash_open(copy, &test.base, &test.alloc, NULL, &other) == BOLE_OK;
		if (over)
			(void)bole_store_close(other);
		bole_block_sim_power_on(copy);
		for (int again = 0; again < 2; again++) {
			OK(bole_flash_open(copy, &test.base, &test.alloc, NULL, &other));
			if (again == 0)
				OK(bole_store_close(other));
		}
		OK(bole_tx_resume(other, &token, &tx));
		OK(bole_tx_commit(tx, NULL, 0, &failed));
		struct bole_block *was_device = device;
		device = copy;
		expect_after_stop(repo.id, 1, RECORDS);
		device = was_device;
		OK(bole_repo_remove(other, repo.id));
		OK(bole_store_close(other));
		bole_block_close(copy);
	}
	teardown();
}

/* Goal: an image of one flash chip on another is refused rather than erased across its borders. */
Test(flash_recovery, a_volume_of_smaller_erase_blocks_is_refused)
{
	struct bole_block_sim_options o = {.kind = BOLE_BLOCK_NOR,
	                                   .size_bytes = 8 << 20,
	                                   .read_unit = 16,
	                                   .program_unit = 16,
	                                   .erase_unit = 4096};
	struct bole_block *other;

	test_platform_init(&test, 1);
	test.quiet = getenv("VERBOSE") == NULL;
	OK(bole_block_sim_open(&test.alloc, &o, &device));
	OK(bole_flash_format(device, &test.base, NULL));
	o.erase_unit = 64 << 10;
	OK(bole_block_sim_open(&test.alloc, &o, &other));
	for (uint64_t at = 0; at < o.size_bytes; at += 4096) {
		uint8_t bytes[4096];
		bole_block_sim_peek(device, at, bytes, sizeof bytes);
		bole_block_sim_poke(other, at, bytes, sizeof bytes);
	}
	check_eq(bole_flash_open(other, &test.base, &test.alloc, NULL, &store), BOLE_E_UNSUPPORTED);
	bole_block_close(other);
	bole_block_close(device);
	test_platform_release(&test);
}

/* Goal: either anchor is enough, whatever the device's damage unit and wherever the device ends
 * now. Method: the first anchor is destroyed. */
Test(flash_recovery, the_second_anchor_is_found_whatever_the_damage_unit)
{
	uint8_t bytes[512];

	for (uint32_t unit = 512; unit <= 16384; unit *= 2) {
		setup((20 << 20) + (60 << 10), unit);
		OK(bole_store_close(store));
		memset(bytes, 0x5a, sizeof bytes);
		bole_block_sim_poke(device, 0, bytes, sizeof bytes);
		OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
		teardown();
	}
}

static void setup_named(const char *name, uint64_t size)
{
	struct bole_block_sim_options o;

	test_platform_init(&test, 1);
	test.quiet = getenv("VERBOSE") == NULL;
	OK(bole_block_sim_geometry(name, &o));
	o.size_bytes = size;
	OK(bole_block_sim_open(&test.alloc, &o, &device));
	OK(bole_flash_format(device, &test.base, NULL));
	OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
}

enum { PER_COMMIT = 60 };

/* Records of up to so many bytes, of which every third of an earlier commit is dropped again. */
static enum bole_status change(uint32_t repo, uint32_t number, unsigned puts, uint32_t drops,
                               uint32_t bytes)
{
	static uint8_t body[8000];
	struct bole_oid oid = {.algo = BOLE_HASH_SHA1};
	struct bole_tx *tx;
	size_t failed;
	enum bole_status rc = bole_tx_begin(store, repo, &tx);

	for (uint32_t i = 0; i < puts && rc == BOLE_OK; i++) {
		struct bole_bytes piece = {body, bytes / 8 + (number * 3701 + i * 1013) % bytes};
		memcpy(oid.bytes, &number, sizeof number);
		memcpy(oid.bytes + 4, &i, sizeof i);
		rc = bole_tx_put(tx, &oid, BOLE_OBJECT_BLOB, &piece, 1);
	}
	for (uint32_t i = 0; i < PER_COMMIT && drops != UINT32_MAX && rc == BOLE_OK; i += 3) {
		memcpy(oid.bytes, &drops, sizeof drops);
		memcpy(oid.bytes + 4, &i, sizeof i);
		rc = bole_tx_drop(tx, &oid);
	}
	if (rc == BOLE_OK)
		return bole_tx_commit(tx, NULL, 0, &failed);
	bole_tx_abort(tx);
	return rc;
}

/* Commits until the volume says "no space". Returns the number of the next commit. */
static uint32_t fill(uint32_t repo, uint32_t number, uint32_t bytes)
{
	enum bole_status rc = BOLE_OK;

	for (unsigned count = PER_COMMIT; count > 0; count /= 2)
		do
			rc = change(repo, number++, count, UINT32_MAX, bytes);
		while (rc == BOLE_OK);
	check(rc == BOLE_E_NO_SPACE);
	return number;
}

static const struct {
	const char *name;
	uint64_t size;
	uint32_t bytes; /* of a record, about */
} full_devices[] = {{"nor4k", (4 << 20) + (128 << 10), 600},
                    {"nor64k", 8 << 20, 2000},
                    {"slcnand", 14 << 20, 4000},
                    {"sd", (4 << 20) + (128 << 10), 600},
                    {"virtio", (4 << 20) + (128 << 10), 3000}};
enum { FULL_DEVICES = sizeof full_devices / sizeof full_devices[0] };

/* Twins of the device, interrupted in one of its operations, are mounted. */
static struct {
	const char *name;
	uint64_t operations;
	uint64_t mounts;
	unsigned every;
} cuts;

static void cut_twin(void *ctx, struct bole_block *dev, const struct bole_block_sim_operation *op)
{
	uint64_t at = cuts.operations++;
	struct bole_block_sim_cut cut = {.tear = at % 2 == 0 ? BOLE_SIM_TEAR_DONE
	                                                     : BOLE_SIM_TEAR_UNSTABLE_PROGRAM};
	struct bole_store_stats stats;
	struct bole_store *other;
	struct bole_block *twin;

	(void)ctx;
	if (at % cuts.every != 0)
		return;
	OK(bole_block_sim_fork(&test.alloc, dev, &twin));
	bole_block_sim_interrupt(twin, op, &cut);
	bole_block_sim_power_on(twin);
	OK(bole_flash_open(twin, &test.base, &test.alloc, NULL, &other));
	OK(bole_store_stats(other, &stats));
	cr_assert_eq(stats.in_doubt, 0, "%s: operation %llu: %llu records stay", cuts.name,
	             (unsigned long long)at, (unsigned long long)stats.in_doubt);
	OK(bole_store_close(other));
	bole_block_close(twin);
	cuts.mounts++;
}

/* Goal: what the interrupted write may have left unstable is moved, however full the volume is.
 * Method: a volume is filled until nothing fits; from then on it is mounted as a cut in every n-th
 * operation leaves it, while records are dropped and others come. */
Test(flash_recovery, what_a_cut_left_in_doubt_is_moved_on_a_full_volume)
{
	enum { COMMITS = 12, EVERY = 41 };

	for (size_t d = 0; d < FULL_DEVICES; d++) {
		uint32_t bytes = full_devices[d].bytes;
		struct bole_repo repo;
		setup_named(full_devices[d].name, full_devices[d].size);
		OK(bole_repo_create(store, "r", BOLE_HASH_SHA1, "refs/heads/a", &repo));
		uint32_t number = fill(repo.id, 0, bytes);
		memset(&cuts, 0, sizeof cuts);
		cuts.name = full_devices[d].name;
		cuts.every = EVERY;
		bole_block_sim_set_hook(device, cut_twin, NULL);
		for (uint32_t i = 0; i < COMMITS; i++) {
			OK(change(repo.id, number, 0, i, bytes));
			/* What does not fit makes room as far as it goes; then some still fit
			 * singly. */
			for (unsigned n = 0; n < 6; n++) {
				enum bole_status rc = change(repo.id, number++, n < 2 ? 40 : 1,
				                             UINT32_MAX, bytes);
				check(rc == BOLE_OK || rc == BOLE_E_NO_SPACE);
			}
		}
		bole_block_sim_set_hook(device, NULL, NULL);
		printf("%s: %llu cuts\n", cuts.name, (unsigned long long)cuts.mounts);
		teardown();
	}
}

/* Goal: stops without a word, one after another, with a commit between them, use up no room: a
 * volume that is full can be mounted after as many as one likes. */
Test(flash_recovery, cuts_on_a_full_volume_use_up_no_room)
{
	enum { CUTS = 40, DEVICES = 2 };

	for (size_t d = 0; d < DEVICES; d++) {
		uint32_t bytes = full_devices[d].bytes;
		struct bole_repo repo;
		setup_named(full_devices[d].name, full_devices[d].size);
		OK(bole_repo_create(store, "r", BOLE_HASH_SHA1, "refs/heads/a", &repo));
		uint32_t number = fill(repo.id, 0, bytes);
		for (uint32_t i = 0; i < CUTS; i++) {
			OK(change(repo.id, number, 0, i, bytes));
			bole_block_sim_cut_at(device, 1 + i / 4,
			                      i % 2 == 0 ? BOLE_SIM_TEAR_DONE
			                                 : BOLE_SIM_TEAR_UNSTABLE_PROGRAM);
			(void)change(repo.id, number++, 3, UINT32_MAX, bytes);
			(void)bole_store_close(store);
			bole_block_sim_cut_at(device, 0, BOLE_SIM_TEAR_NONE);
			bole_block_sim_power_on(device);
			OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
			number = fill(repo.id, number, bytes);
		}
		teardown();
	}
}
