/* SPDX-License-Identifier: ISC */
/* Space comes back: what is dropped is cleaned away, what lives is moved and stays readable. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "bole/aux.h"
#include "bole/block_sim.h"
#include "bole/devices.h"
#include "support/platform.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

static struct test_platform test;
static struct bole_block *device;
static struct bole_store *store;
static struct bole_repo repo;

enum { KEYS_MAX = 40000, LEN_MIN = 100, LEN_MAX = 1000 };
static uint32_t version[KEYS_MAX]; /* 0 = not there */
static uint32_t keys;

static void open_store(void)
{
	struct bole_flash_open_options options = {.no_background = true};

	OK(bole_flash_open(device, &test.base, &test.alloc, &options, &store));
}

static void setup(const struct bole_block_sim_options *disk)
{
	test_platform_init(&test, 1);
	test.quiet = getenv("VERBOSE") == NULL;
	OK(bole_block_sim_open(&test.alloc, disk, &device));
	OK(bole_flash_format(device, &test.base, NULL));
	open_store();
	OK(bole_repo_create(store, "one", BOLE_HASH_SHA1, "refs/heads/a", &repo));
	memset(version, 0, sizeof version);
	keys = 0;
}

static void teardown(void)
{
	OK(bole_store_close(store));
	bole_block_close(device);
	test_platform_release(&test);
}

static struct bole_oid oid_of(uint32_t key, uint32_t v)
{
	struct bole_oid oid = {.algo = BOLE_HASH_SHA1};
	uint64_t state = (uint64_t)key << 32 | v;

	test_random_bytes(&state, oid.bytes, 20);
	return oid;
}

static size_t entry_of(uint32_t key, uint32_t v, uint8_t *dst)
{
	uint64_t state = (uint64_t)key << 32 | v;
	size_t len = LEN_MIN + test_random(&state) % (LEN_MAX - LEN_MIN);

	test_random_bytes(&state, dst, len);
	return len;
}

/* A new version of a key, the old one dropped. */
static enum bole_status update(uint32_t key)
{
	static uint8_t bytes[LEN_MAX];
	struct bole_bytes piece = {bytes, entry_of(key, version[key] + 1, bytes)};
	struct bole_oid oid = oid_of(key, version[key] + 1);
	struct bole_tx *tx;
	size_t failed;

	enum bole_status rc = bole_tx_begin(store, repo.id, &tx);
	if (rc != BOLE_OK)
		return rc;
	rc = bole_tx_put(tx, &oid, BOLE_OBJECT_BLOB, &piece, 1);
	oid = oid_of(key, version[key]);
	if (rc == BOLE_OK && version[key] != 0)
		rc = bole_tx_drop(tx, &oid);
	if (rc != BOLE_OK) {
		bole_tx_abort(tx);
		return rc;
	}
	rc = bole_tx_commit(tx, NULL, 0, &failed);
	version[key] += rc == BOLE_OK;
	return rc;
}

static void verify(void)
{
	static uint8_t bytes[LEN_MAX];
	struct bole_snapshot *snapshot;
	struct bole_entry entry;
	struct bole_bytes seen;

	OK(bole_snapshot_open(store, repo.id, &snapshot));
	for (uint32_t key = 0; key < keys; key++) {
		struct bole_oid oid = oid_of(key, version[key]);
		size_t len = entry_of(key, version[key], bytes);
		OK(bole_odb_find(snapshot, &oid, &entry));
		check_eq(entry.stored_bytes, len);
		OK(bole_odb_view(snapshot, &entry, 0, &seen));
		check_eq(seen.len, len);
		check_eq(memcmp(seen.ptr, bytes, len), 0);
		oid = oid_of(key, version[key] - 1);
		if (version[key] > 1)
			check_eq(bole_odb_find(snapshot, &oid, &entry), BOLE_E_NOT_FOUND);
	}
	bole_snapshot_close(snapshot);
}

static struct bole_store_stats stats_now(void)
{
	struct bole_store_stats stats;

	OK(bole_store_stats(store, &stats));
	return stats;
}

static void update_well(uint32_t key)
{
	enum bole_status rc = update(key);

	if (rc == BOLE_OK)
		return;
	struct bole_store_stats s = stats_now();
	(void)fprintf(stderr, "%s: %u keys, live %llu of %llu, free %u of %u\n",
	              bole_status_text(rc), keys, (unsigned long long)s.live_bytes,
	              (unsigned long long)s.capacity_bytes, s.segments_free, s.segments);
	OK(rc);
}

static void fill_to(double share)
{
	struct bole_store_stats stats = stats_now();

	for (;;) {
		if (keys % 100 == 0)
			stats = stats_now();
		if ((double)stats.live_bytes >= share * (double)stats.capacity_bytes)
			return;
		update_well(keys++);
	}
}

static void note(const char *what, const struct bole_store_stats *from)
{
	struct bole_store_stats to = stats_now();
	double user = (double)(to.user_bytes - from->user_bytes);

	printf("%s: %u keys, user %.0f, programmed %.2f, erased %.2f, moved %.2f, wear %u..%u mean "
	       "%.1f, free %u of %u\n",
	       what, keys, user, (double)(to.programmed_bytes - from->programmed_bytes) / user,
	       (double)(to.erased_bytes - from->erased_bytes) / user,
	       (double)(to.moved_bytes - from->moved_bytes) / user, to.wear_min, to.wear_max,
	       (double)to.wear_sum / to.segments, to.segments_free, to.segments);
}

static void churn(const struct bole_block_sim_options *disk, double share, unsigned updates)
{
	uint64_t state = test_seed(5);

	setup(disk);
	fill_to(share);
	struct bole_store_stats before = stats_now();
	for (unsigned i = 0; i < updates; i++) {
		uint32_t hot = test_random(&state) % 5 != 0 ? 40 : keys;
		update_well((uint32_t)(test_random(&state) % hot));
		if (i % 2000 == 1999)
			verify();
	}
	note("churn", &before);
	verify();
	uint64_t live = stats_now().live_bytes;
	OK(bole_store_close(store));
	open_store();
	/* Runs that were merged since the last checkpoint are back. */
	uint64_t now = stats_now().live_bytes;
	cr_assert_lt(now, live + live / 5, "%llu, %llu", (unsigned long long)now,
	             (unsigned long long)live);
	cr_assert_gt(now, live - live / 5, "%llu, %llu", (unsigned long long)now,
	             (unsigned long long)live);
	verify();
	for (unsigned i = 0; i < 1000; i++)
		update_well((uint32_t)(test_random(&state) % keys));
	verify();
	teardown();
}

static const struct bole_block_sim_options nor = {
        .kind = BOLE_BLOCK_NOR,
        .size_bytes = 8 << 20,
        .read_unit = 16,
        .program_unit = 16,
        .erase_unit = 4096,
};
static const struct bole_block_sim_options card = {
        .kind = BOLE_BLOCK_MANAGED,
        .size_bytes = 16 << 20,
        .read_unit = 512,
        .program_unit = 512,
};

Test(flash_space_clean, updates_go_on_for_ever_on_raw_flash_that_is_nearly_full)
{
	churn(&nor, 0.8, 10000);
}

Test(flash_space_clean, worn_out_flash_is_read_only_for_good_and_says_so)
{
	struct bole_block_sim_options disk = nor;
	uint64_t state = test_seed(5);
	enum bole_status rc = BOLE_OK;

	disk.size_bytes = 4 << 20;
	disk.endurance = 25;
	disk.seed = 7;
	setup(&disk);
	fill_to(0.5);
	cr_assert(!stats_now().end_of_life);
	for (unsigned i = 0; i < 1000000 && rc == BOLE_OK; i++)
		rc = update((uint32_t)(test_random(&state) % keys));
	cr_assert(rc == BOLE_E_NO_SPACE || rc == BOLE_E_READ_ONLY, "%s", bole_status_text(rc));
	struct bole_store_stats stats = stats_now();
	printf("%s: %u of %u segments bad, %u free, %llu live\n", bole_status_text(rc),
	       stats.segments_bad, stats.segments, stats.segments_free,
	       (unsigned long long)(stats.live_bytes / stats.segment_bytes));
	cr_assert(stats.end_of_life);
	cr_assert_gt(stats.segments_bad, 10);
	check_eq(update(0), BOLE_E_READ_ONLY);
	verify();
	OK(bole_store_close(store));
	open_store();
	/* Where little is missing, a mount finds out when it is asked for more. */
	rc = BOLE_OK;
	for (unsigned i = 0; i < 10000 && rc == BOLE_OK; i++)
		rc = update((uint32_t)(test_random(&state) % keys));
	cr_assert(stats_now().end_of_life);
	check_eq(update(0), BOLE_E_READ_ONLY);
	verify();
	teardown();
}

Test(flash_space_clean, updates_go_on_for_ever_on_a_card_that_is_nearly_full)
{
	churn(&card, 0.8, 4000);
}

/* -- Cuts -- */

enum { CUT_UPDATES = 60, CUT_ROUNDS = 10 };

/* Every key has the version that was acknowledged; the last one may have the next. */
static bool verify_after_cut(uint32_t last)
{
	static uint8_t bytes[LEN_MAX];
	struct bole_snapshot *snapshot;
	struct bole_entry entry;
	struct bole_bytes seen;
	bool next = false;

	OK(bole_snapshot_open(store, repo.id, &snapshot));
	for (uint32_t key = 0; key < keys; key++) {
		uint32_t v = version[key];
		struct bole_oid oid = oid_of(key, v + 1);
		if (key == last && bole_odb_find(snapshot, &oid, &entry) == BOLE_OK) {
			v++;
			next = true;
		}
		oid = oid_of(key, v);
		size_t len = entry_of(key, v, bytes);
		OK(bole_odb_find(snapshot, &oid, &entry));
		check_eq(entry.stored_bytes, len);
		OK(bole_odb_view(snapshot, &entry, 0, &seen));
		check_eq(seen.len, len);
		check_eq(memcmp(seen.ptr, bytes, len), 0);
		oid = oid_of(key, v - 1);
		if (v > 1)
			check_eq(bole_odb_find(snapshot, &oid, &entry), BOLE_E_NOT_FOUND);
	}
	bole_snapshot_close(snapshot);
	return next;
}

/* Updates from a base state, losing power during the n-th operation. False: it came to its end. */
static bool cut_once(struct bole_block *base, uint64_t n, uint64_t seed)
{
	static uint32_t at_base[KEYS_MAX];
	uint64_t state = seed;
	uint32_t last = UINT32_MAX;

	memcpy(at_base, version, sizeof version);
	OK(bole_block_sim_clone(&test.alloc, base, &device));
	bole_block_sim_seed(device, seed ^ n << 8);
	open_store();
	bole_block_sim_cut_at(device, n, (enum bole_block_sim_tear)(n % BOLE_SIM_TEARS));
	for (unsigned i = 0; i < CUT_UPDATES; i++) {
		uint32_t hot = i % 4 != 0 ? 20 : keys;
		last = (uint32_t)(test_random(&state) % hot);
		if (update(last) != BOLE_OK)
			break;
		last = UINT32_MAX;
	}
	bool cut = bole_block_sim_is_off(device);
	(void)bole_store_close(store);
	if (cut) {
		bole_block_sim_power_on(device);
		open_store();
		version[last == UINT32_MAX ? 0 : last] += verify_after_cut(last);
		/* What was recovered goes on. */
		for (unsigned i = 0; i < 5; i++)
			OK(update((uint32_t)(test_random(&state) % keys)));
		verify();
		OK(bole_store_close(store));
	}
	bole_block_close(device);
	memcpy(version, at_base, sizeof version);
	return cut;
}

/* Goal: a cut loses nothing that was acknowledged, wherever the cleaner is. Method: a small device
 * that is nearly full, so that every few updates clean; power goes during any operation, in every
 * manner, and what the mount finds is compared. Environment: CUTS=1 cuts at all, else at some. */
Test(flash_space_clean, a_cut_during_cleaning_loses_nothing)
{
	static const struct bole_block_sim_options disk = {
	        .kind = BOLE_BLOCK_NOR,
	        .size_bytes = 2 << 20,
	        .read_unit = 16,
	        .program_unit = 16,
	        .erase_unit = 4096,
	};
	uint64_t seed = test_seed(11);
	uint64_t state = seed;
	uint64_t n = 1;

	setup(&disk);
	fill_to(0.75);
	for (unsigned i = 0; i < 1000; i++)
		update_well((uint32_t)(test_random(&state) % (i % 4 != 0 ? 20 : keys)));
	/* So many updates clean as a rule; a round in which they do not is followed by another. */
	struct bole_store_stats before = stats_now();
	for (unsigned i = 0; i < CUT_ROUNDS * CUT_UPDATES; i++) {
		if (i % CUT_UPDATES == 0 && stats_now().moved_bytes != before.moved_bytes)
			break;
		update_well((uint32_t)(test_random(&state) % keys));
	}
	cr_assert_gt(stats_now().moved_bytes, before.moved_bytes, "nothing would be cleaned");
	OK(bole_store_close(store));
	struct bole_block *base = device;
	uint64_t step = getenv("CUTS") != NULL ? 1 : 7;
	while (cut_once(base, n, seed))
		n += step;
	printf("%llu operations\n", (unsigned long long)n);
	cr_assert_gt(n, 2 * CUT_UPDATES);
	device = base;
	open_store();
	teardown();
}
