/* SPDX-License-Identifier: ISC */
/* The log and the anchors, looked at from inside: what is accepted, what is corruption, what is a
 * torn tail, and what is not ours at all. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/bytes.h"
#include "bole/block_sim.h"
#include "bole/store.h"
#include "flash/log/batch.h"
#include "flash/log/tx.h"
#include "support/platform.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

enum { DISK_BYTES = (4 << 20) + (128 << 10), UNIT = 4096, ANCHORS = 8 * UNIT };

static struct test_platform test;
static struct bole_block *disk;
static struct bole_store *store;
static struct bole_repo repo;

static void open_disk(uint64_t size)
{
	const struct bole_block_sim_options o = {
	        .kind = BOLE_BLOCK_MANAGED,
	        .size_bytes = size,
	        .read_unit = 512,
	        .program_unit = 512,
	        .damage_unit = UNIT,
	        .volatile_cache = true,
	};

	test_platform_init(&test, 1);
	test.quiet = true;
	OK(bole_block_sim_open(&test.alloc, &o, &disk));
}

static void setup(void)
{
	open_disk(DISK_BYTES);
	OK(bole_flash_format(disk, &test.base, NULL));
	OK(bole_flash_open(disk, &test.base, &test.alloc, NULL, &store));
	OK(bole_repo_create(store, "r", BOLE_HASH_SHA1, "refs/heads/a", &repo));
}

static void teardown(void)
{
	bole_block_close(disk);
	test_platform_release(&test);
}

static void publish(uint64_t number)
{
	struct store_suite suite = {.store = store, .platform = &test.base};
	struct suite_blob blob;

	suite_blob_make(&blob, BOLE_HASH_SHA1, number);
	suite_publish(&suite, repo.id, &blob, "refs/heads/a");
}

/* The number that refs/heads/a stands at. */
static bool stands_at(uint64_t number)
{
	struct bole_snapshot *s;
	struct suite_blob blob;
	struct bole_ref ref;

	suite_blob_make(&blob, BOLE_HASH_SHA1, number);
	OK(bole_snapshot_open(store, repo.id, &s));
	bool same = bole_ref_get(s, bole_bytes_z("refs/heads/a"), &ref) == BOLE_OK &&
	            bole_oid_equal(&ref.oid, &blob.oid);
	bole_snapshot_close(s);
	return same;
}

/* The volume stops as if the power went, with everything written. */
static void stop(void)
{
	bole_block_sim_cut_now(disk, BOLE_SIM_TEAR_KEEP);
	(void)bole_store_close(store);
	bole_block_sim_power_on(disk);
}

static enum bole_status mount(void)
{
	return bole_flash_open(disk, &test.base, &test.alloc, NULL, &store);
}

/* Mounted, but something that was durable is missing: so it says, and takes no writes. */
static void mount_damaged(void)
{
	struct bole_store_stats stats;
	struct bole_repo made;

	OK(mount());
	OK(bole_store_stats(store, &stats));
	check(stats.lost != 0);
	check(store->info.read_only);
	check_eq(bole_repo_create(store, "new", BOLE_HASH_SHA1, "refs/heads/a", &made),
	         BOLE_E_READ_ONLY);
}

/* The offset on the device of the last batch's end, by the volume's own word. */
static uint64_t log_end(void)
{
	struct flash_volume *v;
	struct bole_flash_open_options options = {.read_only = true};

	OK(bole_flash_volume_open(disk, &test.base, &test.alloc, &options, &v));
	uint64_t end = bole_flash_position(v, v->log.segment, v->log.pos);
	(void)bole_flash_volume_close(v);
	return end;
}

Test(flash_log, a_bad_last_batch_is_a_torn_tail)
{
	setup();
	publish(1);
	publish(2);
	stop();
	bole_block_sim_flip(disk, log_end() - UNIT + 100, 1);
	OK(mount());
	check(stands_at(1));
	publish(3);
	OK(bole_store_close(store));
	OK(mount());
	check(stands_at(3));
	OK(bole_store_close(store));
	teardown();
}

Test(flash_log, a_bad_batch_that_was_durable_is_corruption)
{
	struct bole_flash_check_result result;

	setup();
	publish(1);
	publish(2);
	publish(3);
	stop();
	/* The trailer of the third says that the second was flushed. */
	bole_block_sim_flip(disk, log_end() - 2 * UNIT + 100, 1);
	mount_damaged();
	check(stands_at(3));
	OK(bole_store_close(store));
	OK(bole_flash_check(disk, &test.base, &test.alloc, NULL, &result));
	cr_assert_gt(result.errors, 0);
	OK(bole_flash_repair(disk, &test.base, &test.alloc, NULL, &result));
	cr_assert_gt(result.repaired, 0);
	OK(mount());
	check(stands_at(3));
	publish(4);
	OK(bole_store_close(store));
	OK(mount());
	check(stands_at(4));
	OK(bole_store_close(store));
	teardown();
}

Test(flash_log, after_a_clean_stop_every_batch_counts_as_durable)
{
	setup();
	publish(1);
	publish(2);
	OK(bole_store_close(store));
	/* The seal is the last unit, the second publication the one before. */
	bole_block_sim_flip(disk, log_end() - 2 * UNIT + 100, 1);
	mount_damaged();
	OK(bole_store_close(store));
	teardown();
}

/* Planted: a batch in which one thing of the chain is wrong. Its own checksums are right. */
enum defect { WRONG_LINK, WRONG_NUMBER, WRONG_DURABLE, NO_DEFECT };

static void plant(enum defect defect)
{
	struct flash_volume *v;
	struct flash_record r = {.kind = FLASH_RECORD_REMOVE, .owner = repo.id};
	struct bole_bytes none = {NULL, 0};

	OK(bole_flash_volume_open(disk, &test.base, &test.alloc, NULL, &v));
	OK(bole_flash_batch_reserve(v, 100, 100, FLASH_FOR_REFS));
	OK(bole_flash_batch_add(v, &r, &none, 1, NULL, NULL));
	v->log.link ^= defect == WRONG_LINK;
	v->log.batch += defect == WRONG_NUMBER;
	if (defect == WRONG_DURABLE)
		v->log.durable = v->log.batch;
	OK(bole_flash_batch_end(v, 0));
	OK(bole_flash_flush(v));
	v->dirty = false;
	OK(bole_flash_volume_close(v));
}

Test(flash_log, a_batch_outside_the_chain_is_not_accepted)
{
	for (enum defect d = WRONG_LINK; d <= NO_DEFECT; d++) {
		setup();
		publish(1);
		OK(bole_store_close(store));
		plant(d);
		if (d == WRONG_DURABLE) {
			/* It claims that itself was flushed before it was written. */
			mount_damaged();
			check(stands_at(1));
			OK(bole_store_close(store));
			teardown();
			continue;
		}
		OK(mount());
		struct bole_repo found;
		check_eq(bole_repo_find(store, "r", &found),
		         d == NO_DEFECT ? BOLE_E_NOT_FOUND : BOLE_OK);
		if (d != NO_DEFECT)
			check(stands_at(1));
		OK(bole_store_close(store));
		teardown();
	}
}

/* Goal: batches that a cut threw away never come back. Method: the tail is dropped, other work
 * takes its place, and the device still holds the old bytes. */
Test(flash_log, a_dropped_tail_never_comes_back)
{
	setup();
	publish(1);
	publish(2);
	publish(3);
	stop();
	uint64_t end = log_end();
	static const uint8_t zero[2 * UNIT];
	uint8_t saved[2 * UNIT];
	bole_block_sim_peek(disk, end - sizeof saved, saved, sizeof saved);
	bole_block_sim_poke(disk, end - sizeof saved, zero, sizeof zero);
	OK(mount());
	check(stands_at(1));
	publish(9);
	stop();
	/* What was lost turns up again, as from a disk's cache. */
	bole_block_sim_poke(disk, end - sizeof saved, saved, sizeof saved);
	OK(mount());
	check(stands_at(9));
	OK(bole_store_close(store));
	teardown();
}

/* -- What is not a volume -- */

static void expect_line(enum bole_status rc, enum bole_status want, const char *part)
{
	check_eq(rc, want);
	cr_assert(strstr(test.last_line, part) != NULL, "\"%s\" does not say \"%s\"",
	          test.last_line, part);
}

Test(flash_log, blank_foreign_and_truncated_devices_are_told_apart)
{
	open_disk(DISK_BYTES);
	expect_line(mount(), BOLE_E_NOT_FOUND, "blank");
	bole_block_sim_flip(disk, 3, 7);
	expect_line(mount(), BOLE_E_NOT_FOUND, "other data");
	OK(bole_flash_format(disk, &test.base, NULL));
	OK(mount());
	OK(bole_store_close(store));
	bole_block_sim_flip(disk, 100, 1);
	OK(mount()); /* the second anchor */
	OK(bole_store_close(store));
	uint8_t bytes[ANCHORS] = {0};
	bole_block_sim_poke(disk, 0, bytes, ANCHORS);
	memset(bytes, 0xee, sizeof bytes);
	for (uint32_t i = 0; i < ANCHORS; i += UNIT)
		bole_block_sim_poke(disk, DISK_BYTES - ANCHORS + i + 200, bytes, 50);
	expect_line(mount(), BOLE_E_CORRUPT, "damaged");
	teardown();

	open_disk(3 << 20);
	expect_line(bole_flash_format(disk, &test.base, NULL), BOLE_E_NO_SPACE, "too few");
	teardown();
}

static void change_anchors(uint32_t at, uint64_t value, uint32_t bytes)
{
	uint8_t slot[UNIT];
	struct flash_sum sum;

	bole_block_sim_peek(disk, 0, slot, sizeof slot);
	for (uint32_t i = 0; i < bytes; i++)
		slot[at + i] = (uint8_t)(value >> 8 * i);
	bole_flash_sum_begin(&sum, 0);
	bole_flash_sum_add(&sum, slot, ANCHOR_CHECKSUM_AT);
	bole_flash_sum_add(&sum, slot + ANCHOR_GENERATION_AT, UNIT - ANCHOR_GENERATION_AT);
	bole_put_le64(slot + ANCHOR_CHECKSUM_AT, bole_flash_sum_end(&sum));
	bole_block_sim_poke(disk, 0, slot, sizeof slot);
	bole_block_sim_poke(disk, DISK_BYTES - ANCHORS, slot, sizeof slot);
}

Test(flash_log, newer_formats_are_refused_by_their_number)
{
	open_disk(DISK_BYTES);
	OK(bole_flash_format(disk, &test.base, NULL));
	change_anchors(ANCHOR_COMPAT_AT, 0xff, 8);
	OK(mount());
	OK(bole_store_close(store));
	OK(bole_flash_format(disk, &test.base, NULL));
	change_anchors(ANCHOR_RO_COMPAT_AT, 4, 8);
	OK(mount());
	check(store->info.read_only);
	check_eq(bole_repo_create(store, "x", BOLE_HASH_SHA1, "refs/heads/a", &repo),
	         BOLE_E_READ_ONLY);
	OK(bole_store_close(store));
	change_anchors(ANCHOR_INCOMPAT_AT, 16, 8);
	expect_line(mount(), BOLE_E_UNSUPPORTED, "0x10");
	change_anchors(ANCHOR_VERSION_AT, 77, 4);
	expect_line(mount(), BOLE_E_UNSUPPORTED, "format 77");
	change_anchors(ANCHOR_VERSION_AT, FLASH_VERSION, 4);
	change_anchors(ANCHOR_INCOMPAT_AT, 0, 8);
	change_anchors(ANCHOR_RO_COMPAT_AT, 0, 8);
	change_anchors(ANCHOR_DEVICE_BYTES_AT, DISK_BYTES + UNIT, 8);
	expect_line(mount(), BOLE_OK, "truncated");
	OK(bole_store_close(store));
	OK(bole_flash_format(disk, &test.base, NULL));
	OK(mount());
	OK(bole_store_close(store));
	teardown();
}
