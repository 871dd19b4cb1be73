/* SPDX-License-Identifier: ISC */
/* What lives is counted when something is published, superseded or removed; who reads what is no
 * longer published pins it, until there is no other space. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/bytes.h"
#include "bole/aux.h"
#include "bole/devices.h"
#include "support/platform.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

static struct test_platform test;
static struct bole_block *device;
static struct bole_store *store;

enum { DEVICE_BYTES = 8 << 20, CHUNK = 4000, CHUNKS = 30 };

static void setup(void)
{
	test_platform_init(&test, 1);
	test.quiet = true;
	OK(bole_block_ram_open(&test.alloc, DEVICE_BYTES, 4096, &device));
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

static uint64_t live(void)
{
	struct bole_store_stats stats;

	OK(bole_store_stats(store, &stats));
	return stats.live_bytes;
}

static struct bole_oid oid_of(uint64_t number)
{
	struct bole_oid oid = {.algo = BOLE_HASH_SHA1};

	memcpy(oid.bytes, &number, sizeof number);
	return oid;
}

/* A transaction that stores an extent of one row. */
static enum bole_status push(uint32_t repo, uint64_t number)
{
	static uint8_t chunk[CHUNK];
	struct bole_extent_row row = {.oid = oid_of(number),
	                              .offset = 12,
	                              .stored_bytes = (uint64_t)CHUNKS * CHUNK - 12,
	                              .type = BOLE_OBJECT_BLOB};
	struct bole_tx *tx;
	uint64_t extent;
	size_t failed;

	OK(bole_tx_begin(store, repo, &tx));
	enum bole_status rc = bole_tx_extent_begin(tx, &extent);
	for (unsigned i = 0; i < CHUNKS && rc == BOLE_OK; i++) {
		memset(chunk, (int)(number + i), sizeof chunk);
		rc = bole_tx_extent_append(tx, (struct bole_bytes){chunk, sizeof chunk});
	}
	if (rc == BOLE_OK)
		rc = bole_tx_extent_finish(tx, &row, 1);
	if (rc != BOLE_OK) {
		bole_tx_abort(tx);
		return rc;
	}
	return bole_tx_commit(tx, NULL, 0, &failed);
}

static void fill(uint32_t repo, uint64_t first)
{
	enum bole_status rc = BOLE_OK;

	while (rc == BOLE_OK)
		rc = push(repo, first++);
	check_eq(rc, BOLE_E_NO_SPACE);
}

static void put_aux(uint32_t repo, uint8_t fill_byte, size_t len)
{
	static uint8_t value[20000];
	struct bole_aux_key key = {BOLE_AUX_DURABLE, 7, bole_bytes_z("key")};
	struct bole_tx *tx;
	size_t failed;

	memset(value, fill_byte, sizeof value);
	OK(bole_tx_begin(store, repo, &tx));
	OK(store->aux->put(tx, &key, (struct bole_bytes){len == 0 ? NULL : value, len}));
	OK(bole_tx_commit(tx, NULL, 0, &failed));
}

Test(flash_space_pins, counts_change_when_things_are_published_and_a_mount_finds_the_same)
{
	struct bole_repo one;
	struct bole_repo two;

	setup();
	OK(bole_repo_create(store, "one", BOLE_HASH_SHA1, "refs/heads/a", &one));
	OK(bole_repo_create(store, "two", BOLE_HASH_SHA1, "refs/heads/a", &two));
	check_eq(live(), 0);
	put_aux(one.id, 1, 15000);
	uint64_t some = live();
	cr_assert_gt(some, 15000);
	struct bole_snapshot *snapshot;
	OK(bole_snapshot_open(store, one.id, &snapshot));
	for (uint8_t i = 0; i < 20; i++)
		put_aux(one.id, i, 15000);
	check_eq(live(), some);
	OK(push(two.id, 5));
	uint64_t more = live();
	cr_assert_geq(more, some + (uint64_t)CHUNK * CHUNKS);
	put_aux(one.id, 0, 0);
	cr_assert_lt(live(), more - 15000, "a removal counts although a snapshot is open");
	bole_snapshot_close(snapshot);
	put_aux(one.id, 1, 99);
	uint64_t before = live();
	reopen();
	check_eq(live(), before);
	OK(bole_snapshot_open(store, two.id, &snapshot));
	OK(bole_repo_remove(store, two.id));
	cr_assert_lt(live(), some);
	bole_snapshot_close(snapshot);
	before = live();
	reopen();
	check_eq(live(), before);
	teardown();
}

Test(flash_space_pins, an_abort_gives_back_what_was_never_published)
{
	struct bole_repo repo;
	struct bole_tx *tx;
	static uint8_t chunk[CHUNK];
	uint64_t extent;

	setup();
	OK(bole_repo_create(store, "one", BOLE_HASH_SHA1, "refs/heads/a", &repo));
	for (unsigned n = 0; n < 20; n++) {
		enum bole_status rc = BOLE_OK;
		OK(bole_tx_begin(store, repo.id, &tx));
		OK(bole_tx_extent_begin(tx, &extent));
		for (unsigned i = 0; i < 500 && rc == BOLE_OK; i++)
			OK(bole_tx_extent_append(tx, (struct bole_bytes){chunk, sizeof chunk}));
		check_eq(live(), 0);
		bole_tx_abort(tx);
	}
	teardown();
}

/* Goal: a reader may read what was removed while there is space, and is told when there is none.
 * Method: a snapshot of a full repository that is removed; then the space is wanted. */
Test(flash_space_pins, a_snapshot_is_revoked_when_nothing_else_makes_space)
{
	struct bole_repo old;
	struct bole_repo new;
	struct bole_snapshot *snapshot;
	struct bole_snapshot *young;
	struct bole_entry entry;
	struct bole_bytes bytes;
	uint64_t cursor = 0;
	struct bole_oid oid = oid_of(100);

	setup();
	OK(bole_repo_create(store, "new", BOLE_HASH_SHA1, "refs/heads/a", &new));
	OK(bole_repo_create(store, "old", BOLE_HASH_SHA1, "refs/heads/a", &old));
	fill(old.id, 100);
	OK(bole_snapshot_open(store, old.id, &snapshot));
	OK(bole_odb_find(snapshot, &oid, &entry));
	OK(bole_repo_remove(store, old.id));
	OK(bole_snapshot_open(store, new.id, &young));
	for (uint64_t pos = 0; pos < entry.stored_bytes; pos += bytes.len) {
		OK(bole_odb_view(snapshot, &entry, pos, &bytes));
		check_eq(bytes.ptr[0], (uint8_t)(100 + (pos + 12) / CHUNK));
	}
	fill(new.id, 1000);
	check_eq(bole_odb_view(snapshot, &entry, 0, &bytes), BOLE_E_GONE);
	check_eq(bole_odb_find(snapshot, &oid, &entry), BOLE_E_GONE);
	check_eq(bole_odb_next(snapshot, &cursor, &oid, &entry), BOLE_E_GONE);
	/* What pins nothing is left alone. */
	oid = oid_of(1000);
	check_eq(bole_odb_find(young, &oid, &entry), BOLE_E_NOT_FOUND);
	bole_snapshot_close(young);
	bole_snapshot_close(snapshot);
	OK(bole_snapshot_open(store, new.id, &snapshot));
	OK(bole_odb_find(snapshot, &oid, &entry));
	OK(bole_odb_view(snapshot, &entry, 0, &bytes));
	bole_snapshot_close(snapshot);
	teardown();
}

Test(flash_space_pins, closing_the_oldest_snapshot_frees_what_it_pinned)
{
	struct bole_repo repo;
	struct bole_snapshot *snapshot[2];
	struct bole_store_stats before;
	struct bole_store_stats after;

	setup();
	OK(bole_repo_create(store, "old", BOLE_HASH_SHA1, "refs/heads/a", &repo));
	for (uint64_t i = 0; i < 30; i++)
		OK(push(repo.id, i));
	for (int i = 0; i < 2; i++)
		OK(bole_snapshot_open(store, repo.id, &snapshot[i]));
	OK(bole_repo_remove(store, repo.id));
	OK(bole_repo_create(store, "new", BOLE_HASH_SHA1, "refs/heads/a", &repo));
	/* A few megabytes of aux bring a checkpoint. */
	for (uint8_t i = 0; i < 40; i++)
		put_aux(repo.id, i, 15000);
	OK(bole_store_stats(store, &before));
	bole_snapshot_close(snapshot[1]);
	OK(bole_store_stats(store, &after));
	check_eq(after.segments_free, before.segments_free);
	bole_snapshot_close(snapshot[0]);
	OK(bole_store_stats(store, &after));
	cr_assert_gt(after.segments_free, before.segments_free + before.segments / 3, "%u %u of %u",
	             before.segments_free, after.segments_free, after.segments);
	teardown();
}
