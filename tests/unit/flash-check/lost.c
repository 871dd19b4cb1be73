/* SPDX-License-Identifier: ISC */
/* Anchors that were durable and are gone, and places for anchors that are all worn out. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "bole/block_sim.h"
#include "bole/store.h"
#include "flash/log/tx.h"
#include "support/platform.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

static struct test_platform test;
static struct bole_block *device;
static struct bole_store *store;
static struct bole_repo repo;

static void setup(const char *name)
{
	struct bole_block_sim_options o;

	test_platform_init(&test, 1);
	test.quiet = getenv("LOUD") == NULL;
	OK(bole_block_sim_geometry(name, &o));
	o.factory_bad_ppm = 0;
	if (o.size_bytes > 16 << 20)
		o.size_bytes = 16 << 20;
	OK(bole_block_sim_open(&test.alloc, &o, &device));
	OK(bole_flash_format(device, &test.base, NULL));
	OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
	OK(bole_repo_create(store, "r", BOLE_HASH_SHA1, "refs/heads/a", &repo));
}

static void teardown(void)
{
	bole_block_close(device);
	test_platform_release(&test);
}

static void publish(uint64_t first, uint64_t count)
{
	struct store_suite suite = {.store = store, .platform = &test.base};

	for (uint64_t i = first; i < first + count; i++) {
		struct suite_blob blob;
		suite_blob_make(&blob, BOLE_HASH_SHA1, i);
		suite_publish(&suite, repo.id, &blob, "refs/heads/a");
	}
}

static void expect(uint64_t first, uint64_t count)
{
	struct bole_snapshot *s;

	OK(bole_snapshot_open(store, repo.id, &s));
	for (uint64_t i = first; i < first + count; i++) {
		struct suite_blob blob;
		struct bole_entry e;
		struct bole_bytes bytes;
		suite_blob_make(&blob, BOLE_HASH_SHA1, i);
		OK(bole_odb_find(s, &blob.oid, &e));
		OK(bole_odb_view(s, &e, 0, &bytes));
	}
	bole_snapshot_close(s);
}

/* Both copies of the newest anchor. */
static void lose_newest(void)
{
	static const uint8_t noise[FLASH_UNIT_MAX] = {1, 2, 3};
	struct flash_anchor_place place;
	struct flash_anchor a;

	OK(bole_flash_anchor_load(device, NULL, &test.alloc, &a, &place));
	for (uint32_t i = 0; i < 2; i++)
		bole_block_sim_poke(device, bole_flash_anchor_at(&a.geometry, i, place.at[i]),
		                    noise, a.geometry.slot_bytes);
	bole_flash_anchor_release(&test.alloc, &a);
}

static enum bole_status mount(bool read_only)
{
	const struct bole_flash_open_options options = {.read_only = read_only};

	return bole_flash_open(device, &test.base, &test.alloc, &options, &store);
}

/* Something that was durable is missing: so it says, and takes no writes. */
static void mount_damaged(void)
{
	struct bole_store_stats stats;

	OK(mount(false));
	OK(bole_store_stats(store, &stats));
	check(stats.lost != 0);
	check(store->info.read_only);
}

static void hear(void *ctx, bool error, const char *text)
{
	(void)ctx;
	if (getenv("LOUD") != NULL)
		(void)fprintf(stderr, "%s: %s\n", error ? "error" : "note", text);
}
static const struct bole_flash_check_report report = {.finding = hear};

/* Leaves the store open, and writable. */
static uint64_t repair(void)
{
	struct bole_flash_check_result result;
	struct bole_store_stats stats;

	OK(bole_flash_repair(device, &test.base, &test.alloc, &report, &result));
	check(result.repaired != 0);
	OK(mount(false));
	OK(bole_store_stats(store, &stats));
	check_eq(stats.lost, 0);
	check(!store->info.read_only);
	return result.errors;
}

static void check_sound(void)
{
	struct bole_flash_check_result result;

	OK(bole_flash_check(device, &test.base, &test.alloc, &report, &result));
	check_eq(result.errors, 0);
}

/* Goal: a state that is older than what was durable is never shown for the newest. Method: what a
 * misdirected write does to one copy of an anchor that never reached the other. */
Test(flash_lost, an_anchor_that_was_durable_is_missed)
{
	static const char *const names[] = {"sd", "nor4k"};

	for (size_t d = 0; d < 2; d++) {
		setup(names[d]);
		publish(1, 20);
		struct flash_volume *v;
		OK(bole_store_close(store));
		OK(bole_flash_volume_open(device, &test.base, &test.alloc, NULL, &v));
		OK(bole_flash_checkpoint(v));
		OK(bole_flash_volume_close(v));
		OK(mount(false));
		publish(21, 1);
		OK(bole_store_close(store));
		OK(mount(true));
		OK(bole_store_close(store));
		lose_newest();
		mount_damaged();
		expect(1, 21);
		OK(bole_store_close(store));
		repair();
		expect(1, 21);
		publish(22, 1);
		OK(bole_store_close(store));
		OK(mount(false));
		expect(1, 22);
		OK(bole_store_close(store));
		check_sound();
		teardown();
	}
}

/* Goal: when no block takes an anchor any more, everything can still be read, and that it is the
 * end is said. Method: every block of the areas dies but the one that holds the newest anchor. */
Test(flash_lost, without_a_place_for_anchors_everything_stays_readable)
{
	static const char *const names[] = {"nor4k", "nor64k", "slcnand"};

	for (size_t d = 0; d < 3; d++) {
		for (int clean = 0; clean < 2; clean++) {
			struct bole_store_stats stats;
			struct flash_anchor_place place;
			struct flash_anchor a;
			setup(names[d]);
			publish(1, 20);
			if (clean == 0)
				bole_block_sim_cut_now(device, BOLE_SIM_TEAR_NONE);
			check_eq(bole_store_close(store) == BOLE_OK, clean != 0);
			bole_block_sim_power_on(device);
			OK(bole_flash_anchor_load(device, NULL, &test.alloc, &a, &place));
			bole_flash_anchor_release(&test.alloc, &a);
			for (uint64_t at = 0; at < a.geometry.area; at += device->info.erase_unit)
				bole_block_sim_kill_block(device, at);
			OK(mount(false));
			expect(1, 20);
			if (clean != 0) {
				publish(21, 1);
				check(bole_store_maintain(store, NULL, NULL) >= 0);
				expect(1, 21);
			}
			OK(bole_store_stats(store, &stats));
			cr_assert(clean != 0 || stats.end_of_life);
			(void)bole_store_close(store);
			OK(mount(true));
			expect(1, 20);
			OK(bole_store_close(store));
			teardown();
		}
	}
}

/* The segment of log where the newest anchor says that it goes on, or the one after it, has no head
 * any more. */
static void behead(bool next)
{
	struct flash_anchor_place place;
	struct flash_anchor a;
	uint8_t name[4];

	OK(bole_flash_anchor_load(device, NULL, &test.alloc, &a, &place));
	check_eq(a.log_offset, 0);
	uint64_t at = a.geometry.area + a.log_segment * a.geometry.segment_bytes;
	bole_block_sim_peek(device, at + SEGMENT_NEXT_AT, name, sizeof name);
	if (next)
		at = a.geometry.area + bole_get_le32(name) * a.geometry.segment_bytes;
	bole_block_sim_flip(device, at, 1);
	bole_flash_anchor_release(&test.alloc, &a);
}

/* Goal: a damaged head of a segment of log does not hide the segments after it. Method: a new
 * volume plans both segments before its first checkpoint; a mount leaves the first one; the second
 * holds so many commits, sealed or cut off. */
Test(flash_lost, behind_a_damaged_head_the_log_is_found)
{
	static const char *const names[] = {"nor4k", "nor64k"};

	for (size_t d = 0; d < 2; d++) {
		for (uint64_t more = 0; more < 4; more++) {
			for (int clean = 0; clean < 2; clean++) {
				struct bole_store_stats stats;
				setup(names[d]);
				publish(1, 3);
				OK(bole_store_close(store));
				OK(mount(false));
				publish(4, more);
				if (clean == 0)
					bole_block_sim_cut_now(device, BOLE_SIM_TEAR_NONE);
				(void)bole_store_close(store);
				bole_block_sim_power_on(device);
				behead(false);
				OK(mount(false));
				OK(bole_store_stats(store, &stats));
				check(store->info.read_only);
				/* Only where there was nothing more is it said that there may be.
				 */
				check_eq(stats.lost, more == 0);
				expect(1, 3 + more);
				OK(bole_store_close(store));
				repair();
				expect(1, 3 + more);
				OK(bole_store_close(store));
				check_sound();
				teardown();
			}
		}
	}
}

/* Goal: the same where no trailer of the segment says that anything there was durable. Method: one
 * commit fills some segments, a batch in each; what follows tells that it was flushed. */
Test(flash_lost, a_damaged_head_is_no_torn_tail)
{
	static const char *const names[] = {"nor4k", "nor64k"};
	enum { MANY = 2000 };

	for (size_t d = 0; d < 2; d++) {
		struct bole_store_stats stats;
		struct suite_blob blob;
		struct bole_tx *tx;
		setup(names[d]);
		OK(bole_tx_begin(store, repo.id, &tx));
		for (uint64_t i = 1; i <= MANY; i++) {
			suite_blob_make(&blob, BOLE_HASH_SHA1, i);
			suite_put_blob(tx, &blob);
		}
		suite_commit(tx, NULL, 0);
		publish(MANY + 1, 1);
		bole_block_sim_cut_now(device, BOLE_SIM_TEAR_NONE);
		(void)bole_store_close(store);
		bole_block_sim_power_on(device);
		behead(true);
		OK(mount(false));
		OK(bole_store_stats(store, &stats));
		check(store->info.read_only);
		check_eq(stats.lost, 0);
		expect(1, MANY + 1);
		OK(bole_store_close(store));
		repair();
		expect(1, MANY + 1);
		OK(bole_store_close(store));
		check_sound();
		teardown();
	}
}

enum { LONG_VALUE = 12000 };

static void put_long(uint8_t fill)
{
	static uint8_t value[LONG_VALUE];
	struct bole_aux_key key = {BOLE_AUX_DURABLE, 7, {(const uint8_t *)"k", 1}};
	struct bole_tx *tx;

	memset(value, fill, sizeof value);
	OK(bole_tx_begin(store, repo.id, &tx));
	OK(store->aux->put(tx, &key, bole_bytes_of(value, sizeof value)));
	suite_commit(tx, NULL, 0);
}

/* Spoils the record with the first part of the value that was filled so. */
static void lose_first_part(uint8_t fill)
{
	uint8_t *bytes = malloc(device->info.size_bytes);
	uint8_t want[AUX_HEAD_BYTES + 3] = {[AUX_CLASS_AT] = BOLE_AUX_DURABLE,
	                                    [AUX_KEY_BYTES_AT] = 1,
	                                    [AUX_KIND_AT] = 7,
	                                    [AUX_HEAD_BYTES] = 'k',
	                                    [AUX_HEAD_BYTES + 1] = fill,
	                                    [AUX_HEAD_BYTES + 2] = fill};
	uint32_t count = 0;

	bole_put_le32(want + AUX_TOTAL_AT, LONG_VALUE);
	bole_block_sim_peek(device, 0, bytes, device->info.size_bytes);
	for (uint64_t at = 0; at + sizeof want <= device->info.size_bytes; at++) {
		memcpy(want + AUX_PARTS_AT, bytes + at + AUX_PARTS_AT, 2);
		if (memcmp(bytes + at, want, sizeof want) != 0)
			continue;
		uint8_t other = fill ^ 1;
		bole_block_sim_poke(device, at + AUX_HEAD_BYTES + 2, &other, 1);
		count++;
	}
	free(bytes);
	check(count != 0);
}

/* Goal: where the first part of a value is damaged in the log, the others are not taken for parts
 * of the value before. */
Test(flash_lost, parts_of_two_values_never_become_one)
{
	struct bole_aux_key key = {BOLE_AUX_DURABLE, 7, {(const uint8_t *)"k", 1}};
	struct bole_snapshot *s;
	uint8_t *value;
	size_t len;

	setup("nor4k");
	put_long('a');
	put_long('b');
	publish(1, 2);
	bole_block_sim_cut_now(device, BOLE_SIM_TEAR_NONE);
	(void)bole_store_close(store);
	bole_block_sim_power_on(device);
	lose_first_part('b');
	mount_damaged();
	OK(bole_snapshot_open(store, repo.id, &s));
	if (store->aux->get(s, &key, &test.alloc, &value, &len) == BOLE_OK) {
		check_eq(len, LONG_VALUE);
		for (size_t i = 0; i < len; i++)
			check_eq(value[i], value[0]);
		test.alloc.resize(test.alloc.ctx, value, len, 0, 1);
	}
	bole_snapshot_close(s);
	expect(1, 2);
	OK(bole_store_close(store));
	teardown();
}
