/* SPDX-License-Identifier: ISC */
/* Damage that repair undoes without a guess, what fsck says of damage, and cuts in between. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "bole/block_sim.h"
#include "bole/store.h"
#include "flash/index/auxtable.h"
#include "flash/log/batch.h"
#include "flash/log/tx.h"
#include "support/platform.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

enum { OBJECTS = 30 };

static struct test_platform test;
static struct bole_block *device;
static struct bole_store *store;
static struct bole_repo repo;

static const char *const devices[] = {"sd", "nor4k"};

static void publish(uint64_t first, uint64_t count)
{
	struct store_suite suite = {.store = store, .platform = &test.base};

	for (uint64_t i = first; i < first + count; i++) {
		struct suite_blob blob;
		suite_blob_make(&blob, BOLE_HASH_SHA1, i);
		suite_publish(&suite, repo.id, &blob, "refs/heads/a");
	}
}

static void mount(struct bole_block *dev)
{
	OK(bole_flash_open(dev, &test.base, &test.alloc, NULL, &store));
	OK(bole_repo_find(store, "r", &repo));
}

static struct flash_volume *open_volume(struct bole_block *dev, bool read_only)
{
	const struct bole_flash_open_options options = {.read_only = read_only};
	struct flash_volume *v;

	OK(bole_flash_volume_open(dev, &test.base, &test.alloc, &options, &v));
	return v;
}

static void checkpoint(void)
{
	struct flash_volume *v = open_volume(device, false);

	OK(bole_flash_checkpoint(v));
	OK(bole_flash_volume_close(v));
}

/* Objects, a checkpoint, objects, a checkpoint, objects. */
static void setup(const char *name)
{
	struct bole_block_sim_options o;

	test_platform_init(&test, 1);
	test.quiet = getenv("LOUD") == NULL;
	OK(bole_block_sim_geometry(name, &o));
	o.factory_bad_ppm = 0;
	o.ecc_bits = 0;
	if (o.size_bytes > 16 << 20)
		o.size_bytes = 16 << 20;
	OK(bole_block_sim_open(&test.alloc, &o, &device));
	OK(bole_flash_format(device, &test.base, NULL));
	OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
	OK(bole_repo_create(store, "r", BOLE_HASH_SHA1, "refs/heads/a", &repo));
	for (uint64_t i = 0; i < 3; i++) {
		publish(1 + i * OBJECTS / 3, OBJECTS / 3);
		if (i == 2)
			break;
		OK(bole_store_close(store));
		checkpoint();
		mount(device);
	}
	OK(bole_store_close(store));
}

static void teardown(void)
{
	bole_block_close(device);
	test_platform_release(&test);
}

static void expect_all(struct bole_block *dev)
{
	struct bole_snapshot *s;

	mount(dev);
	OK(bole_snapshot_open(store, repo.id, &s));
	for (uint64_t i = 1; i <= OBJECTS; i++) {
		struct suite_blob blob;
		struct bole_entry e;
		struct bole_bytes bytes;
		suite_blob_make(&blob, BOLE_HASH_SHA1, i);
		OK(bole_odb_find(s, &blob.oid, &e));
		OK(bole_odb_view(s, &e, 0, &bytes));
	}
	bole_snapshot_close(s);
	publish(500, 3);
	OK(bole_store_close(store));
}

static uint32_t errors;
static char said[4096];

static void hear(void *ctx, bool error, const char *text)
{
	(void)ctx;
	errors += error;
	if (getenv("LOUD") != NULL)
		fprintf(stderr, "%s: %s\n", error ? "error" : "note", text);
	size_t len = strlen(said);
	(void)snprintf(said + len, sizeof said - len, "%s\n", text);
}

static const struct bole_flash_check_report report = {.finding = hear};

static uint64_t check_errors(struct bole_block *dev)
{
	struct bole_flash_check_result result;

	said[0] = '\0';
	errors = 0;
	OK(bole_flash_check(dev, &test.base, &test.alloc, &report, &result));
	check_eq(result.errors, errors);
	return result.errors;
}

static enum bole_status repair(struct bole_block *dev, struct bole_flash_check_result *result)
{
	said[0] = '\0';
	errors = 0;
	return bole_flash_repair(dev, &test.base, &test.alloc, &report, result);
}

/* A byte of the newest element. */
static uint64_t newest_element(void)
{
	struct flash_volume *v = open_volume(device, true);

	check(v->elements > 1);
	const struct flash_fragment *f = &v->element[v->elements - 1].fragment[0];
	uint64_t at = bole_flash_position(v, f->segment, f->offset) + RECORD_HEAD_BYTES + 30;
	OK(bole_flash_volume_close(v));
	return at;
}

/* Goal: nothing to repair, nothing is changed but what a mount changes. */
Test(flash_repair, a_sound_volume_is_left_as_it_is)
{
	struct bole_flash_check_result result;

	setup("sd");
	OK(repair(device, &result));
	check_eq(result.errors, 0);
	check_eq(result.repaired, 0);
	expect_all(device);
	teardown();
}

/* Goal: a damaged newest delta costs nothing while the log from the one before is there. Method:
 * flip a byte of it; cut the repair at every operation and repair again. */
Test(flash_repair, a_damaged_newest_checkpoint_gives_way_to_the_one_before)
{
	for (size_t d = 0; d < sizeof devices / sizeof devices[0]; d++) {
		struct bole_flash_check_result result;
		uint64_t cuts = 0;
		setup(devices[d]);
		bole_block_sim_flip(device, newest_element(), 0x10);
		struct bole_store_stats stats;
		mount(device);
		OK(bole_store_stats(store, &stats));
		check(store->info.read_only && stats.lost != 0);
		OK(bole_store_close(store));
		check(check_errors(device) > 0);
		for (uint64_t at = 1;; at++) {
			struct bole_block *copy;
			OK(bole_block_sim_clone(&test.alloc, device, &copy));
			bole_block_sim_cut_at(copy, at, (enum bole_block_sim_tear)(at % 10));
			enum bole_status rc = repair(copy, &result);
			bool whole = rc == BOLE_OK && !bole_block_sim_is_off(copy);
			bole_block_sim_cut_at(copy, 0, BOLE_SIM_TEAR_RANDOM);
			bole_block_sim_power_on(copy);
			if (!whole)
				OK(repair(copy, &result));
			check_eq(result.errors, 0);
			check_eq(check_errors(copy), 0);
			expect_all(copy);
			bole_block_close(copy);
			cuts++;
			if (whole)
				break;
		}
		printf("%s: %llu cuts\n", devices[d], (unsigned long long)cuts);
		check(cuts > 3);
		teardown();
	}
}

/* Goal: a damaged base costs nothing either while the log from before it is there. */
Test(flash_repair, a_damaged_base_gives_way_to_the_log)
{
	struct bole_flash_check_result result;

	setup("sd");
	struct flash_volume *v = open_volume(device, true);
	const struct flash_fragment *f = &v->element[0].fragment[0];
	uint64_t at = bole_flash_position(v, f->segment, f->offset) + RECORD_HEAD_BYTES + 30;
	OK(bole_flash_volume_close(v));
	bole_block_sim_flip(device, at, 0x10);
	check(check_errors(device) > 0);
	OK(repair(device, &result));
	check_eq(result.errors, 0);
	check(result.repaired != 0);
	expect_all(device);
	check_eq(check_errors(device), 0);
	teardown();
}

/* Goal: counts of live bytes that are wrong are found and set right. */
Test(flash_repair, wrong_counts_are_found_and_set_right)
{
	struct bole_flash_check_result result;
	uint32_t tampered = 0;

	setup("nor4k");
	struct flash_volume *v = open_volume(device, false);
	for (uint32_t i = 0; i < v->segments && tampered < 3; i++) {
		if (v->segment[i].live < 300)
			continue;
		v->segment[i].live += tampered == 1 ? 77 : (uint32_t)-33;
		v->segment[i].changed = true;
		tampered++;
	}
	OK(bole_flash_checkpoint(v));
	OK(bole_flash_volume_close(v));
	check(tampered > 0);
	check_eq(check_errors(device), tampered);
	cr_assert(strstr(said, "are said to live") != NULL);
	OK(repair(device, &result));
	check_eq(result.errors, 0);
	check(result.repaired > 0);
	check_eq(check_errors(device), 0);
	expect_all(device);
	teardown();
}

/* Goal: what a checkpoint says is free and is not is not written over by the repair that finds it,
 * be it free or what the log has next. */
Test(flash_repair, segments_that_are_called_free_and_hold_something_are_kept)
{
	for (unsigned round = 0; round < 2; round++) {
		struct bole_flash_check_result result;
		uint32_t tampered = 0;
		setup("sd");
		mount(device);
		publish(100, 200);
		OK(bole_store_close(store));
		checkpoint();
		struct flash_volume *v = open_volume(device, false);
		for (uint32_t i = 0; i < v->segments; i++) {
			struct flash_segment *s = &v->segment[i];
			if (s->live == 0 || i == v->log.segment)
				continue;
			s->live = 0;
			s->changed = true;
			if (tampered++ == 0 && round == 1)
				v->log.next = i;
		}
		OK(bole_flash_checkpoint(v));
		OK(bole_flash_volume_close(v));
		check(tampered > 0);
		check_eq(check_errors(device), tampered);
		OK(repair(device, &result));
		check_eq(result.errors, 0);
		check(result.repaired > 0);
		check_eq(check_errors(device), 0);
		expect_all(device);
		check_eq(check_errors(device), 0);
		teardown();
	}
}

/* Goal: the log never goes on in a segment that holds something, whatever the anchor says: after a
 * clean stop and after a cut. */
Test(flash_repair, a_log_whose_next_segment_is_in_use_goes_on_elsewhere)
{
	for (unsigned round = 0; round < 4; round++) {
		struct bole_block *copy;
		struct flash_anchor_place place;
		struct flash_anchor a;
		setup("sd");
		mount(device);
		publish(100, 3);
		OK(bole_store_close(store));
		checkpoint();
		mount(device);
		if (round % 2 != 0)
			publish(200, 1);
		OK(bole_block_sim_clone(&test.alloc, device, &copy));
		OK(bole_store_close(store));
		OK(bole_flash_anchor_load(copy, NULL, &test.alloc, &a, &place));
		check(a.log_offset != 0 && a.map_count != 0);
		a.log_next = round < 2 ? a.map[0].segment : a.log_segment;
		a.generation++;
		OK(bole_flash_anchor_store(copy, &test.base, &test.alloc, &a, &place));
		bole_flash_anchor_release(&test.alloc, &a);
		struct flash_volume *v = open_volume(copy, false);
		const struct flash_segment *next = &v->segment[v->log.next];
		check_eq(next->state, SEGMENT_RESERVED);
		check(next->live == 0 && next->held == 0 && v->log.next != v->log.segment);
		OK(bole_flash_checkpoint(v));
		OK(bole_flash_checkpoint(v));
		OK(bole_flash_volume_close(v));
		check_eq(check_errors(copy), 0);
		expect_all(copy);
		check_eq(check_errors(copy), 0);
		bole_block_close(copy);
		teardown();
	}
}

/* Goal: the same for a segment that is bad: it is not entered, and bad ones stay counted. */
Test(flash_repair, a_log_whose_next_segment_is_bad_goes_on_elsewhere)
{
	for (unsigned round = 0; round < 4; round++) {
		struct flash_anchor_place place;
		struct flash_anchor a;
		uint32_t bad = 0;
		setup(round < 2 ? "sd" : "nor4k");
		mount(device);
		publish(100, 3);
		OK(bole_store_close(store));
		struct flash_volume *v = open_volume(device, false);
		while (v->segment[bad].state != SEGMENT_FREE)
			bad++;
		v->segment[bad].state = SEGMENT_BAD;
		v->segment[bad].changed = true;
		v->free--;
		v->bad++;
		OK(bole_flash_checkpoint(v));
		/* After a clean stop and as after a cut. */
		v->dirty = round % 2 == 0;
		OK(bole_flash_volume_close(v));
		OK(bole_flash_anchor_load(device, NULL, &test.alloc, &a, &place));
		a.log_next = bad;
		a.generation++;
		OK(bole_flash_anchor_store(device, &test.base, &test.alloc, &a, &place));
		bole_flash_anchor_release(&test.alloc, &a);
		for (unsigned again = 0; again < 2; again++) {
			uint32_t count = 0;
			v = open_volume(device, false);
			check(v->log.next != bad && v->log.segment != bad);
			for (uint32_t i = 0; i < v->segments; i++)
				count += v->segment[i].state == SEGMENT_BAD;
			check_eq(count, 1);
			check_eq(v->bad, 1);
			check_eq(v->segment[bad].state, SEGMENT_BAD);
			for (unsigned i = 0; i < 3; i++) {
				OK(bole_flash_log_advance(v));
			}
			check_eq(v->bad, 1);
			OK(bole_flash_volume_close(v));
		}
		expect_all(device);
		check_eq(check_errors(device), 0);
		teardown();
	}
}

static uint64_t place_of(bool aux)
{
	struct flash_volume *v = open_volume(device, true);
	struct flash_repo *r = v->repo[0];
	struct bole_bytes none = {NULL, 0};
	uint64_t at = 0;

	if (aux) {
		const struct flash_item *item = bole_flash_table_next(r->auxtable, none, true);
		struct flash_aux_part part = bole_flash_aux_part(bole_flash_item_value(item), 0);
		at = bole_flash_position(v, part.segment, part.offset) + part.bytes - 1;
	} else {
		struct suite_blob blob;
		struct flash_snapshot *s;
		struct bole_entry e;
		suite_blob_make(&blob, BOLE_HASH_SHA1, 1);
		OK(bole_flash_snapshot_open(v, r->id, &s));
		OK(bole_flash_find(s, &blob.oid, &e));
		at = bole_flash_position(v, (uint32_t)((e.extent & ~FLASH_HOME_RECORD) >> 32),
		                         (uint32_t)e.extent) +
		     RECORD_HEAD_BYTES + 25;
		bole_flash_snapshot_close(s);
	}
	OK(bole_flash_volume_close(v));
	return at;
}

/* Goal: a damaged derived record goes, a damaged object is named with its reference and stays. */
Test(flash_repair, derived_records_go_and_objects_are_named)
{
	struct bole_flash_check_result result;
	struct bole_aux_key key = {BOLE_AUX_DERIVED, 7, bole_bytes_z("cache")};
	struct suite_blob blob;
	struct bole_tx *tx;
	size_t failed;
	char hex[17];

	setup("sd");
	mount(device);
	OK(bole_tx_begin(store, repo.id, &tx));
	OK(store->aux->put(tx, &key, bole_bytes_z("something that can be made again")));
	OK(bole_tx_commit(tx, NULL, 0, &failed));
	OK(bole_store_close(store));
	checkpoint(); /* what replay needs is not forgiven */
	bole_block_sim_flip(device, place_of(true), 1);
	check_eq(check_errors(device), 1);
	cr_assert(strstr(said, "derived aux record of kind 7") != NULL, "%s", said);
	/* What the device does not give this time may be sound: nothing is removed for it. */
	for (uint64_t n = 1;; n++) {
		struct bole_block *copy;
		struct bole_block_sim_counters before;
		struct bole_block_sim_counters after;
		OK(bole_block_sim_clone(&test.alloc, device, &copy));
		bole_block_sim_flip(copy, place_of(true), 1); /* sound again */
		bole_block_sim_counters(copy, &before);
		bole_block_sim_fail_read(copy, n);
		enum bole_status rc = repair(copy, &result);
		bole_block_sim_counters(copy, &after);
		cr_assert(rc == BOLE_OK || rc == BOLE_E_IO, "%s", bole_status_text(rc));
		check_eq(result.repaired, 0);
		bool over = after.reads - before.reads < n;
		bole_block_sim_fail_read(copy, 0);
		check_eq(check_errors(copy), 0);
		bole_block_close(copy);
		if (over)
			break;
	}
	OK(repair(device, &result));
	check_eq(result.errors, 0);
	check_eq(result.repaired, 1);
	expect_all(device);
	bole_block_sim_flip(device, place_of(false), 1);
	check_eq(check_errors(device), 1);
	suite_blob_make(&blob, BOLE_HASH_SHA1, 1);
	for (int i = 0; i < 6; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", blob.oid.bytes[i]);
	cr_assert(strstr(said, hex) != NULL, "%s", said);
	OK(repair(device, &result));
	check_eq(result.errors, 1);
	check_eq(result.repaired, 0);
	teardown();
}
