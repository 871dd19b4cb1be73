/* SPDX-License-Identifier: ISC */
/* A list of objects names each of them once, whatever state the log is replayed over. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bole/block_sim.h"
#include "bole/store.h"
#include "flash/log/tx.h"
#include "support/platform.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

enum { AGAIN = 2, MANY = 3000 };

static struct test_platform test;
static struct bole_store *store;
static struct bole_repo repo;

static void mount(struct bole_block *dev)
{
	OK(bole_flash_open(dev, &test.base, &test.alloc, NULL, &store));
	OK(bole_repo_find(store, "r", &repo));
}

static void put(uint64_t first, uint64_t count)
{
	struct bole_tx *tx;

	OK(bole_tx_begin(store, repo.id, &tx));
	for (uint64_t i = first; i < first + count; i++) {
		struct suite_blob blob;
		suite_blob_make(&blob, BOLE_HASH_SHA1, i);
		suite_put_blob(tx, &blob);
	}
	suite_commit(tx, NULL, 0);
}

/* Of the first objects one goes. */
static void sweep(uint64_t count, uint64_t gone)
{
	struct bole_mark_result result;
	struct bole_mark *mark;
	bool fresh;

	OK(bole_mark_begin(store, repo.id, &mark));
	for (uint64_t i = 1; i <= count; i++) {
		struct suite_blob blob;
		if (i == gone)
			continue;
		suite_blob_make(&blob, BOLE_HASH_SHA1, i);
		OK(bole_mark_object(mark, &blob.oid, &fresh));
	}
	OK(bole_mark_end(mark, &result));
}

static void damage_newest_element(struct bole_block *dev)
{
	const struct bole_flash_open_options options = {.read_only = true};
	struct flash_volume *v;

	OK(bole_flash_volume_open(dev, &test.base, &test.alloc, &options, &v));
	check(v->elements != 0);
	const struct flash_fragment *f = &v->element[v->elements - 1].fragment[0];
	uint64_t at = bole_flash_position(v, f->segment, f->offset) + RECORD_HEAD_BYTES + 30;
	OK(bole_flash_volume_close(v));
	bole_block_sim_flip(dev, at, 0x10);
}

/* How often the list names the object. */
static unsigned listed(uint64_t number)
{
	struct bole_snapshot *s;
	struct suite_blob blob;
	struct bole_entry e;
	struct bole_oid oid;
	uint64_t cursor = 0;
	unsigned n = 0;
	enum bole_status rc;

	suite_blob_make(&blob, BOLE_HASH_SHA1, number);
	OK(bole_snapshot_open(store, repo.id, &s));
	while ((rc = bole_odb_next(s, &cursor, &oid, &e)) == BOLE_OK)
		n += memcmp(oid.bytes, blob.oid.bytes, 20) == 0;
	cr_assert(rc == BOLE_END, "%s", bole_status_text(rc));
	bole_snapshot_close(s);
	return n;
}

static struct bole_block *make(const char *name, uint64_t count)
{
	struct bole_block_sim_options o;
	struct bole_block *device;

	test_platform_init(&test, 1);
	test.quiet = getenv("LOUD") == NULL;
	OK(bole_block_sim_geometry(name, &o));
	o.factory_bad_ppm = 0;
	if (o.size_bytes > 32 << 20)
		o.size_bytes = 32 << 20;
	OK(bole_block_sim_open(&test.alloc, &o, &device));
	OK(bole_flash_format(device, &test.base, NULL));
	OK(bole_flash_open(device, &test.base, &test.alloc, NULL, &store));
	OK(bole_repo_create(store, "r", BOLE_HASH_SHA1, "refs/heads/a", &repo));
	put(1, count);
	OK(bole_store_close(store));
	struct flash_volume *v;
	OK(bole_flash_volume_open(device, &test.base, &test.alloc, NULL, &v));
	OK(bole_flash_checkpoint(v));
	OK(bole_flash_volume_close(v));
	return device;
}

/* Goal: an object that was removed by a collection, or dropped, and put again has one row, although
 * the checkpoint that knew of its removal is damaged. Method: rows in memory and in runs; the log
 * goes on from the checkpoint before. */
Test(flash_twice, what_was_put_again_is_listed_once)
{
	static const char *const names[] = {"sd", "nor4k"};

	for (unsigned round = 0; round < 4; round++) {
		struct bole_flash_check_result result;
		struct bole_store_stats stats;
		struct bole_block *copy;
		uint64_t count = round % 2 == 0 ? 4 : MANY;
		struct bole_block *device = make(names[round / 2], count);
		mount(device);
		sweep(count, AGAIN);
		put(AGAIN, 1);
		OK(bole_block_sim_clone(&test.alloc, device, &copy));
		OK(bole_store_close(store));
		damage_newest_element(copy);
		mount(copy);
		OK(bole_store_stats(store, &stats));
		check(stats.lost != 0 && store->info.read_only);
		check_eq(listed(AGAIN), 1);
		check_eq(listed(1), 1);
		OK(bole_store_close(store));
		OK(bole_flash_repair(copy, &test.base, &test.alloc, NULL, &result));
		check_eq(result.errors, 0);
		mount(copy);
		check_eq(listed(AGAIN), 1);
		OK(bole_store_close(store));
		bole_block_close(copy);
		bole_block_close(device);
		test_platform_release(&test);
	}
}
