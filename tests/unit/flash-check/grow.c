/* SPDX-License-Identifier: ISC */
/* Growing a volume to its device, with cuts everywhere; scrubbing. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "bole/block_sim.h"
#include "bole/store.h"
#include "flash/volume/flash_format.h"
#include "support/platform.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

enum { CHUNK = 4096, OBJECTS = 40 };

static struct test_platform test;
static struct bole_block *device;
static struct bole_store *store;
static struct bole_repo repo;

static void open_sim(uint64_t size, struct bole_block **out)
{
	const struct bole_block_sim_options o = {
	        .kind = BOLE_BLOCK_MANAGED,
	        .size_bytes = size,
	        .read_unit = 512,
	        .program_unit = 512,
	        .volatile_cache = true,
	        .can_discard = true,
	};

	OK(bole_block_sim_open(&test.alloc, &o, out));
}

static void publish(uint64_t number)
{
	struct store_suite suite = {.store = store, .platform = &test.base};
	struct suite_blob blob;

	suite_blob_make(&blob, BOLE_HASH_SHA1, number);
	suite_publish(&suite, repo.id, &blob, "refs/heads/a");
}

static void expect_all(uint64_t count)
{
	struct bole_snapshot *s;

	OK(bole_snapshot_open(store, repo.id, &s));
	for (uint64_t i = 1; i <= count; i++) {
		struct suite_blob blob;
		struct bole_entry e;
		suite_blob_make(&blob, BOLE_HASH_SHA1, i);
		OK(bole_odb_find(s, &blob.oid, &e));
	}
	bole_snapshot_close(s);
}

static void mount(struct bole_block *dev)
{
	OK(bole_flash_open(dev, &test.base, &test.alloc, NULL, &store));
	OK(bole_repo_find(store, "r", &repo));
}

static void setup(uint64_t size)
{
	test_platform_init(&test, 1);
	test.quiet = getenv("LOUD") == NULL;
	open_sim(size, &device);
	OK(bole_flash_format(device, &test.base, NULL));
	OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
	OK(bole_repo_create(store, "r", BOLE_HASH_SHA1, "refs/heads/a", &repo));
	for (uint64_t i = 1; i <= OBJECTS; i++)
		publish(i);
	OK(bole_store_close(store));
}

static void teardown(void)
{
	bole_block_close(device);
	test_platform_release(&test);
}

/* The same bytes on a longer device. */
static struct bole_block *longer(uint64_t size)
{
	uint8_t buf[CHUNK];
	struct bole_block *to;

	open_sim(size, &to);
	for (uint64_t at = 0; at + CHUNK <= device->info.size_bytes; at += CHUNK) {
		bole_block_sim_peek(device, at, buf, CHUNK);
		OK(bole_block_program(to, at, buf, CHUNK));
	}
	OK(bole_block_flush(to));
	return to;
}

static uint32_t segments(void)
{
	struct bole_store_stats stats;

	OK(bole_store_stats(store, &stats));
	return stats.segments;
}

static void expect_clean(struct bole_block *dev)
{
	struct bole_flash_check_result result;

	OK(bole_flash_check(dev, &test.base, &test.alloc, NULL, &result));
	check_eq(result.errors, 0);
}

/* Fills the volume; returns the puts that fitted. */
static uint64_t fill(void)
{
	static uint8_t body[3000];
	uint64_t n = 0;

	for (enum bole_status rc = BOLE_OK; rc == BOLE_OK; n += rc == BOLE_OK) {
		struct bole_oid oid = {.algo = BOLE_HASH_SHA1, .bytes = {0xfe}};
		struct bole_bytes piece = bole_bytes_of(body, sizeof body);
		struct bole_tx *tx;
		size_t failed;
		memcpy(oid.bytes + 1, &n, sizeof n);
		OK(bole_tx_begin(store, repo.id, &tx));
		rc = bole_tx_put(tx, &oid, BOLE_OBJECT_BLOB, &piece, 1);
		if (rc != BOLE_OK) {
			bole_tx_abort(tx);
			continue;
		}
		rc = bole_tx_commit(tx, NULL, 0, &failed);
	}
	return n;
}

/* Goal: a volume takes in what its device has grown by, by little and by much, again and again. */
Test(flash_grow, a_volume_grows_to_its_device)
{
	setup((4 << 20) + (128 << 10));
	for (uint64_t size = (4 << 20) + (140 << 10); size < 80 << 20; size += size / 3) {
		size -= size % 512;
		struct bole_block *to = longer(size);
		mount(to);
		uint32_t was = segments();
		enum bole_status rc = bole_store_grow(store);
		check(rc == BOLE_OK || rc == BOLE_END);
		check(rc == BOLE_OK ? segments() > was : segments() == was);
		check_eq(bole_store_grow(store), BOLE_END);
		publish(OBJECTS);
		expect_all(OBJECTS);
		OK(bole_store_close(store));
		mount(to);
		check(rc == BOLE_END || segments() > was);
		expect_all(OBJECTS);
		OK(bole_store_close(store));
		expect_clean(to);
		bole_block_close(device);
		device = to;
	}
	mount(device);
	uint64_t fitted = fill();
	cr_assert_gt(fitted * 3000, device->info.size_bytes / 10 * 6, "%llu puts",
	             (unsigned long long)fitted);
	OK(bole_store_close(store));
	expect_clean(device);
	teardown();
}

/* Goal: cut at any operation, growth has happened or not, and can be done again. */
Test(flash_grow, cuts_while_growing)
{
	uint64_t cuts = 0;

	setup((4 << 20) + (128 << 10));
	for (int little = 0; little < 2; little++) {
		struct bole_block *to =
		        longer(little ? (4 << 20) + (148 << 10) : (6 << 20) + (4 << 10));
		for (uint64_t at = 1;; at++) {
			for (int tear = 0; tear < BOLE_SIM_TEARS; tear++) {
				struct bole_block *copy;
				OK(bole_block_sim_clone(&test.alloc, to, &copy));
				bole_block_sim_seed(copy, at * 100 + (uint64_t)tear);
				mount(copy);
				bole_block_sim_cut_at(copy, at, (enum bole_block_sim_tear)tear);
				enum bole_status rc = bole_store_grow(store);
				enum bole_status closed = bole_store_close(store);
				check(rc == BOLE_OK || closed != BOLE_OK || rc == BOLE_E_IO);
				bole_block_sim_cut_at(copy, 0, BOLE_SIM_TEAR_RANDOM);
				bole_block_sim_power_on(copy);
				mount(copy);
				expect_all(OBJECTS);
				enum bole_status again = bole_store_grow(store);
				check(again == BOLE_OK || again == BOLE_END);
				publish(7);
				OK(bole_store_close(store));
				mount(copy);
				expect_all(OBJECTS);
				check(segments() > 256);
				OK(bole_store_close(store));
				bole_block_close(copy);
				cuts++;
				if (rc == BOLE_OK && tear == BOLE_SIM_TEARS - 1)
					goto next;
			}
		}
	next:
		bole_block_close(to);
	}
	printf("%llu cuts\n", (unsigned long long)cuts);
	teardown();
}

/* -- Scrub -- */

static uint32_t heard;
static void hear(void *ctx, const char *text)
{
	(void)ctx;
	if (getenv("LOUD") != NULL)
		fprintf(stderr, "%s\n", text);
	heard++;
}

static uint64_t scrub(void)
{
	struct bole_scrub_report report = {.finding = hear};
	enum bole_status rc;

	heard = 0;
	while ((rc = bole_store_scrub(store, &report)) == BOLE_OK)
		;
	check_eq(rc, BOLE_END);
	check_eq(report.damaged, heard);
	check(report.bytes_read > 0);
	return report.damaged;
}

/* Goal: scrub finds nothing on a sound volume, and a flipped byte in anything that the volume
 * names. Method: flip bytes of log, fragments and checkpoint one by one under a mounted volume. */
Test(flash_grow, scrub_finds_what_is_damaged)
{
	setup((4 << 20) + (128 << 10));
	mount(device);
	struct suite_blob blob;
	suite_blob_make(&blob, BOLE_HASH_SHA1, 3);
	check_eq(scrub(), 0);
	uint64_t found = 0;
	uint64_t tried = 0;
	/* The first segment is the anchor's, which was never opened. */
	for (uint64_t at = FLASH_AREA_ALIGN + 16384; at < FLASH_AREA_ALIGN + 2 * 16384 + 4096;
	     at += 61) {
		uint8_t byte;
		bole_block_sim_peek(device, at, &byte, 1);
		if (byte == 0)
			continue; /* padding, or nothing */
		bole_block_sim_flip(device, at, 4);
		bool seen = scrub() != 0;
		if (!seen)
			fprintf(stderr, "not found: %llu byte %u\n", (unsigned long long)at, byte);
		found += seen;
		tried++;
		bole_block_sim_flip(device, at, 4);
	}
	printf("%llu of %llu flips found\n", (unsigned long long)found, (unsigned long long)tried);
	check(tried > 10);
	check_eq(found, tried);
	check_eq(scrub(), 0);
	OK(bole_store_close(store));
	teardown();
}
