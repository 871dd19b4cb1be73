/* SPDX-License-Identifier: ISC */
/* Drops that are staged long before their transaction commits, while the index changes under them:
 * rows move, die, come back, become runs, are merged; packs bring the same ids. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "bole/block_sim.h"
#include "support/platform.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

enum {
	IDS = 500,
	LEN_MAX = 300,
	ROUNDS = 30,
	STAGED = 60, /* at most, by one transaction */
	BETWEEN = 8, /* other transactions meanwhile, at most */
	ROWS = 40,   /* of a pack */
};

static struct test_platform test;
static struct bole_block *device;
static struct bole_store *store;
static struct bole_repo repo;
static bool present[IDS];

static const struct bole_block_sim_options nor = {
        .kind = BOLE_BLOCK_NOR,
        .size_bytes = 4 << 20,
        .read_unit = 16,
        .program_unit = 16,
        .erase_unit = 4096,
};

static void open_on(struct bole_block *block)
{
	const struct bole_flash_open_options options = {.no_background = true};

	OK(bole_flash_open(block, &test.base, &test.alloc, &options, &store));
}

static struct bole_oid oid_of(uint32_t id)
{
	struct bole_oid oid = {.algo = BOLE_HASH_SHA1};
	uint64_t state = id;

	test_random_bytes(&state, oid.bytes, 20);
	/* Some ids start alike. */
	if (id % 8 == 1) {
		struct bole_oid other = oid_of(id - 1);
		memcpy(oid.bytes, other.bytes, 6);
	}
	return oid;
}

static size_t bytes_of(uint32_t id, uint8_t *dst)
{
	uint64_t state = ~(uint64_t)id;
	size_t len = 50 + test_random(&state) % (LEN_MAX - 50);

	test_random_bytes(&state, dst, len);
	return len;
}

static void put(struct bole_tx *tx, uint32_t id)
{
	static uint8_t bytes[LEN_MAX];
	struct bole_oid oid = oid_of(id);
	struct bole_bytes piece = {bytes, bytes_of(id, bytes)};

	OK(bole_tx_put(tx, &oid, BOLE_OBJECT_BLOB, &piece, 1));
}

static void drop(struct bole_tx *tx, uint32_t id)
{
	struct bole_oid oid = oid_of(id);

	OK(bole_tx_drop(tx, &oid));
}

static void commit(struct bole_tx *tx)
{
	size_t failed;

	OK(bole_tx_commit(tx, NULL, 0, &failed));
}

static uint32_t any(uint64_t *state)
{
	return (uint32_t)(test_random(state) % IDS);
}

/* A pack that brings ids which are there and ids which are not. */
static void pack(struct bole_tx *tx, uint64_t *state, bool *brought)
{
	static uint8_t bytes[LEN_MAX];
	struct bole_extent_row rows[ROWS];
	uint64_t at = 12;
	uint32_t first = any(state);
	uint64_t extent;

	OK(bole_tx_extent_begin(tx, &extent));
	OK(bole_tx_extent_append(tx, bole_bytes_of("PACK........", 12)));
	for (uint32_t i = 0; i < ROWS; i++) {
		uint32_t id = (first + i * 3) % IDS;
		size_t len = bytes_of(id, bytes);
		rows[i] = (struct bole_extent_row){oid_of(id), BOLE_OBJECT_BLOB, at, len};
		at += len;
		OK(bole_tx_extent_append(tx, (struct bole_bytes){bytes, len}));
		brought[id] = true;
	}
	OK(bole_tx_extent_finish(tx, rows, ROWS));
}

static void verify(void)
{
	static uint8_t bytes[LEN_MAX];
	struct bole_snapshot *snapshot;
	struct bole_entry entry;
	struct bole_bytes seen;

	OK(bole_snapshot_open(store, repo.id, &snapshot));
	for (uint32_t id = 0; id < IDS; id++) {
		struct bole_oid oid = oid_of(id);
		enum bole_status rc = bole_odb_find(snapshot, &oid, &entry);
		cr_assert_eq(rc, present[id] ? BOLE_OK : BOLE_E_NOT_FOUND, "id %u: status %d", id,
		             (int)rc);
		if (rc != BOLE_OK)
			continue;
		OK(bole_odb_view(snapshot, &entry, 0, &seen));
		check_eq(seen.len, bytes_of(id, bytes));
		check_eq(memcmp(seen.ptr, bytes, seen.len), 0);
	}
	bole_snapshot_close(snapshot);
}

static void maintain(uint64_t steps, unsigned eagerness)
{
	const struct bole_maintain_options o = {.eagerness = eagerness};

	for (uint64_t i = 0; i < steps; i++)
		if (bole_store_maintain(store, &o, NULL) != BOLE_OK)
			return;
}

/* Somebody else's transaction, or work of the store. */
static void other(uint64_t *state)
{
	struct bole_tx *tx;

	if (test_random(state) % 3 == 0) {
		maintain(1 + test_random(state) % 200, 2);
		return;
	}
	OK(bole_tx_begin(store, repo.id, &tx));
	for (uint64_t n = test_random(state) % 12; n > 0; n--) {
		uint32_t id = any(state);
		bool drops = test_random(state) % 2 == 0;
		if (drops)
			drop(tx, id);
		else
			put(tx, id);
		present[id] = !drops;
	}
	if (test_random(state) % 6 == 0)
		pack(tx, state, present);
	commit(tx);
}

/* Drops, and puts of ids that are dropped or were never there, in any order; a pack now and then.
 */
static void stage(struct bole_tx *tx, uint64_t *state, bool *drops, bool *brings)
{
	for (uint64_t n = test_random(state) % STAGED; n > 0; n--) {
		uint32_t id = any(state);
		bool absent = !present[id];
		if (test_random(state) % 4 != 0) {
			drop(tx, id);
			drops[id] = true;
			brings[id] = false;
		} else if (absent || drops[id]) {
			put(tx, id);
			brings[id] = true;
		}
	}
	if (test_random(state) % 4 == 0)
		pack(tx, state, brings);
	for (uint64_t n = test_random(state) % 6; n > 0; n--) {
		uint32_t id = any(state);
		drop(tx, id);
		drops[id] = true;
		brings[id] = false;
	}
}

static void one_round(uint64_t *state)
{
	bool drops[IDS] = {false};
	bool brings[IDS] = {false};
	struct bole_tx_token token;
	struct bole_tx *tx;

	OK(bole_tx_begin(store, repo.id, &tx));
	stage(tx, state, drops, brings);
	bool prepared = test_random(state) % 4 == 0;
	if (prepared)
		OK(bole_tx_prepare(tx, &token));
	for (uint64_t n = test_random(state) % (BETWEEN + 1); n > 0; n--)
		other(state);
	if (prepared && test_random(state) % 2 == 0) {
		/* Closing frees the handle. */
		OK(bole_store_close(store));
		open_on(device);
		OK(bole_tx_resume(store, &token, &tx));
	}
	commit(tx);
	for (uint32_t id = 0; id < IDS; id++)
		present[id] = brings[id] || (present[id] && !drops[id]);
}

/* What a mount makes of the log, when nothing was stopped. */
static void verify_after_cut(void)
{
	struct bole_store *running = store;
	struct bole_block *clone;

	OK(bole_block_sim_clone(&test.alloc, device, &clone));
	open_on(clone);
	verify();
	OK(bole_store_close(store));
	struct bole_flash_check_result result;
	OK(bole_flash_check(clone, &test.base, &test.alloc, NULL, &result));
	check_eq(result.errors + result.warnings, 0);
	bole_block_close(clone);
	store = running;
}

/* Goal: a commit drops what its ids name then, whatever happened since they were staged, and a
 * mount says the same. Method: an oracle of which ids are there; other transactions, moves, merges
 * and checkpoints between staging and commit; a mount of a copy and its check after each. */
Test(flash_space_drops, drops_that_wait_find_what_there_is_when_they_are_published)
{
	const char *given = getenv("SEED");
	uint64_t seed = given == NULL ? 5 : strtoull(given, NULL, 0);
	uint64_t state = seed;

	(void)fprintf(stderr, "SEED=%llu\n", (unsigned long long)seed);
	test_platform_init(&test, 1);
	test.quiet = getenv("VERBOSE") == NULL;
	OK(bole_block_sim_open(&test.alloc, &nor, &device));
	OK(bole_flash_format(device, &test.base, NULL));
	open_on(device);
	OK(bole_repo_create(store, "repo", BOLE_HASH_SHA1, "refs/heads/a", &repo));
	for (unsigned i = 0; i < ROUNDS; i++) {
		one_round(&state);
		verify();
		verify_after_cut();
	}
	OK(bole_store_close(store));
	open_on(device);
	verify();
	OK(bole_store_close(store));
	bole_block_close(device);
	test_platform_release(&test);
}
