/* SPDX-License-Identifier: ISC */
/* A checkpoint of which nothing is left, and no older one: what it said is put together again. */
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

enum { OBJECTS = 24, PACKED = 40, PACKED_FROM = 1000, CUT_STEP = 5, SAID = 64 << 10 };

static struct test_platform test;
static struct bole_store *store;
static struct bole_repo repo;
static char said[SAID];

static void hear(void *ctx, bool error, const char *text)
{
	(void)ctx;
	if (getenv("LOUD") != NULL)
		fprintf(stderr, "%s: %s\n", error ? "error" : "note", text);
	size_t len = strlen(said);
	(void)snprintf(said + len, sizeof said - len, "%s\n", text);
}
static const struct bole_flash_check_report report = {.finding = hear};

static void mount(struct bole_block *dev)
{
	OK(bole_flash_open(dev, &test.base, &test.alloc, NULL, &store));
	OK(bole_repo_find(store, "r", &repo));
}

/* The batch that comes next. */
static uint64_t checkpoint(struct bole_block *dev)
{
	struct flash_volume *v;

	OK(bole_store_close(store));
	OK(bole_flash_volume_open(dev, &test.base, &test.alloc, NULL, &v));
	OK(bole_flash_checkpoint(v));
	uint64_t batch = v->log.batch;
	OK(bole_flash_volume_close(v));
	mount(dev);
	return batch;
}

/* Objects with a reference each, a pack, checkpoints in between. */
static struct bole_block *make(const char *name)
{
	struct store_suite suite = {.platform = &test.base};
	struct bole_block_sim_options o;
	struct bole_block *dev;
	struct suite_pack pack;
	struct bole_tx *tx;
	char ref[32];

	test_platform_init(&test, 1);
	test.quiet = getenv("LOUD") == NULL;
	OK(bole_block_sim_geometry(name, &o));
	o.factory_bad_ppm = 0;
	o.ecc_bits = 0;
	if (o.size_bytes > 16 << 20)
		o.size_bytes = 16 << 20;
	OK(bole_block_sim_open(&test.alloc, &o, &dev));
	OK(bole_flash_format(dev, &test.base, NULL));
	OK(bole_flash_open(dev, &test.base, &test.alloc, NULL, &store));
	OK(bole_repo_create(store, "r", BOLE_HASH_SHA1, "refs/heads/a", &repo));
	for (uint64_t i = 1; i <= OBJECTS; i++) {
		struct suite_blob blob;
		suite_blob_make(&blob, BOLE_HASH_SHA1, i);
		(void)snprintf(ref, sizeof ref, "refs/heads/%u", (unsigned)i);
		suite.store = store;
		suite_publish(&suite, repo.id, &blob, ref);
		if (i % (OBJECTS / 3) == 0)
			(void)checkpoint(dev);
	}
	suite_pack_make(&pack, BOLE_HASH_SHA1, PACKED_FROM, PACKED);
	OK(bole_tx_begin(store, repo.id, &tx));
	(void)suite_pack_append(tx, &pack);
	suite_commit(tx, NULL, 0);
	suite_pack_free(&pack);
	(void)checkpoint(dev);
	OK(bole_store_close(store));
	return dev;
}

static void spoil(struct bole_block *dev, uint64_t at)
{
	uint8_t byte;

	bole_block_sim_peek(dev, at, &byte, 1);
	byte ^= 0x10;
	bole_block_sim_poke(dev, at, &byte, 1);
}

/* None but the newest leads anywhere. */
static void lose_anchors(struct bole_block *dev)
{
	static uint8_t slot[FLASH_UNIT_MAX];
	struct flash_anchor_place place;
	struct flash_anchor newest;
	struct flash_anchor a;
	uint32_t version;

	OK(bole_flash_anchor_load(dev, NULL, &test.alloc, &newest, &place));
	for (uint32_t i = 0; i < 2 * newest.geometry.slots; i++) {
		uint64_t at = bole_flash_anchor_at(&newest.geometry, i % 2, i / 2);
		uint32_t bytes = newest.geometry.slot_bytes;
		bole_block_sim_peek(dev, at, slot, bytes);
		if (bole_flash_anchor_decode(slot, bytes, &test.alloc, &a, &version) != BOLE_OK)
			continue;
		if (a.generation < newest.generation) {
			a.stream_digest ^= 1;
			a.batch = UINT64_C(1) << 40;
			memset(slot, 0, bytes);
			bole_flash_anchor_encode(&a, slot);
			bole_block_sim_poke(dev, at, slot, bytes);
		}
		bole_flash_anchor_release(&test.alloc, &a);
	}
	bole_flash_anchor_release(&test.alloc, &newest);
}

/* Every fragment of every element. */
static void lose_checkpoint(struct bole_block *dev)
{
	const struct bole_flash_open_options options = {.read_only = true};
	struct flash_volume *v;

	OK(bole_flash_volume_open(dev, &test.base, &test.alloc, &options, &v));
	for (uint32_t i = 0; i < v->elements; i++)
		for (uint32_t n = 0; n < v->element[i].fragments; n++) {
			const struct flash_fragment *f = &v->element[i].fragment[n];
			spoil(dev, bole_flash_position(v, f->segment, f->offset) + 40);
		}
	OK(bole_flash_volume_close(v));
	lose_anchors(dev);
}

static bool in_checkpoint(const struct flash_volume *v, uint64_t at)
{
	for (uint32_t i = 0; i < v->elements; i++)
		for (uint32_t n = 0; n < v->element[i].fragments; n++) {
			const struct flash_fragment *f = &v->element[i].fragment[n];
			uint64_t from = bole_flash_position(v, f->segment, f->offset);
			if (at >= from && at < from + RECORD_HEAD_BYTES + f->length)
				return true;
		}
	return false;
}

/* Whatever names the object, and itself; a checkpoint's word only if told. */
static uint32_t lose_id(struct bole_block *dev, uint64_t number, bool checkpoint_too)
{
	const struct bole_flash_open_options options = {.read_only = true};
	uint8_t *bytes = malloc(dev->info.size_bytes);
	struct suite_blob blob;
	struct flash_volume *v;
	uint32_t count = 0;

	suite_blob_make(&blob, BOLE_HASH_SHA1, number);
	OK(bole_flash_volume_open(dev, &test.base, &test.alloc, &options, &v));
	check(v->elements > 1);
	bole_block_sim_peek(dev, 0, bytes, dev->info.size_bytes);
	for (uint64_t at = 0; at + 20 <= dev->info.size_bytes; at++)
		if (memcmp(bytes + at, blob.oid.bytes, 20) == 0 &&
		    (checkpoint_too || !in_checkpoint(v, at))) {
			spoil(dev, at);
			count++;
		}
	OK(bole_flash_volume_close(v));
	free(bytes);
	return count;
}

static void expect(struct bole_snapshot *s, uint64_t number)
{
	struct suite_blob blob;
	struct bole_entry e;
	struct bole_bytes bytes;

	suite_blob_make(&blob, BOLE_HASH_SHA1, number);
	OK(bole_odb_find(s, &blob.oid, &e));
	OK(bole_odb_view(s, &e, 0, &bytes));
}

static void expect_all(struct bole_block *dev)
{
	struct bole_flash_check_result result;
	struct bole_snapshot *s;
	struct suite_blob blob;
	char ref[32];

	mount(dev);
	check(!store->info.read_only);
	OK(bole_snapshot_open(store, repo.id, &s));
	for (uint64_t i = 1; i <= OBJECTS; i++) {
		expect(s, i);
		suite_blob_make(&blob, BOLE_HASH_SHA1, i);
		(void)snprintf(ref, sizeof ref, "refs/heads/%u", (unsigned)i);
		suite_expect_ref(s, ref, &blob.oid);
	}
	for (uint64_t i = 0; i < PACKED; i++)
		expect(s, PACKED_FROM + i);
	bole_snapshot_close(s);
	OK(bole_store_close(store));
	OK(bole_flash_check(dev, &test.base, &test.alloc, NULL, &result));
	check_eq(result.errors, 0);
}

static uint8_t *bytes_of(struct bole_block *dev)
{
	uint8_t *bytes = malloc(dev->info.size_bytes);

	bole_block_sim_peek(dev, 0, bytes, dev->info.size_bytes);
	return bytes;
}

/* Goal: a volume without any checkpoint is rebuilt when told, whatever cut comes between, and
 * looking changes nothing. */
Test(flash_rebuild, what_a_checkpoint_said_is_put_together_again)
{
	static const char *const names[] = {"sd", "nor4k"};

	for (size_t d = 0; d < 2; d++) {
		struct bole_flash_check_result result;
		struct bole_block *dev = make(names[d]);
		bool whole = false;
		lose_checkpoint(dev);
		uint8_t *before = bytes_of(dev);
		said[0] = '\0';
		OK(bole_flash_check(dev, &test.base, &test.alloc, &report, &result));
		check(result.errors != 0);
		cr_assert(strstr(said, "kept: r: refs/heads/7 is ") != NULL, "%s", said);
		uint8_t *after = bytes_of(dev);
		check_eq(memcmp(before, after, dev->info.size_bytes), 0);
		free(before);
		free(after);
		for (uint64_t at = 1; !whole; at += CUT_STEP) {
			struct bole_block *copy;
			OK(bole_block_sim_clone(&test.alloc, dev, &copy));
			bole_block_sim_cut_at(copy, at, (enum bole_block_sim_tear)(at % 10));
			whole = bole_flash_repair(copy, &test.base, &test.alloc, &report,
			                          &result) == BOLE_OK &&
			        !bole_block_sim_is_off(copy);
			bole_block_sim_cut_at(copy, 0, BOLE_SIM_TEAR_RANDOM);
			bole_block_sim_power_on(copy);
			if (!whole)
				OK(bole_flash_repair(copy, &test.base, &test.alloc, &report,
				                     &result));
			check_eq(result.errors, 0);
			expect_all(copy);
			bole_block_close(copy);
		}
		bole_block_close(dev);
		test_platform_release(&test);
	}
}

/* Many references, so that the next checkpoints are deltas. */
static void grow_base(struct bole_block *dev)
{
	enum { MANY = 400 };
	static char name[MANY][64];
	static struct bole_ref_update update[MANY];
	struct suite_blob blob;
	struct bole_tx *tx;

	suite_blob_make(&blob, BOLE_HASH_SHA1, 2);
	for (unsigned i = 0; i < MANY; i++) {
		(void)snprintf(name[i], sizeof name[i], "refs/tags/one-of-many-%u", i);
		update[i] = (struct bole_ref_update){
		        .name = bole_bytes_z(name[i]), .action = BOLE_REF_SET, .oid = blob.oid};
	}
	OK(bole_tx_begin(store, repo.id, &tx));
	suite_commit(tx, update, MANY);
	(void)checkpoint(dev);
	struct flash_volume *v;
	OK(bole_store_close(store));
	OK(bole_flash_volume_open(dev, &test.base, &test.alloc, NULL, &v));
	v->base_wanted = true;
	OK(bole_flash_checkpoint(v));
	OK(bole_flash_volume_close(v));
	mount(dev);
}

/* A page of a pack's table that is not the only one. */
static void lose_page(struct bole_block *dev)
{
	const struct bole_flash_open_options options = {.read_only = true};
	struct flash_volume *v;
	uint32_t count = 0;

	OK(bole_flash_volume_open(dev, &test.base, &test.alloc, &options, &v));
	for (uint64_t at = 0; at < dev->info.size_bytes; at += v->page_bytes) {
		uint8_t head[PAGE_HEAD_BYTES];
		bole_block_sim_peek(dev, at, head, sizeof head);
		if (head[PAGE_PART_AT] != FLASH_PAGE_ROWS ||
		    bole_get_le32(head + PAGE_NUMBER_AT) != 0 ||
		    bole_get_le16(head + PAGE_COUNT_AT) !=
		            (v->page_bytes - PAGE_HEAD_BYTES) / (20 + ROW_BYTES))
			continue;
		spoil(dev, at + PAGE_HEAD_BYTES);
		count++;
	}
	OK(bole_flash_volume_close(v));
	check(count != 0);
}

enum { NEWER = 9999 };
enum old_way {
	OLD_GONE,    /* what the reference of old named is nowhere */
	OLD_UNSURE,  /* the same, where a pack cannot be read */
	OLD_DROPPED, /* the log behind the checkpoint drops it */
};

static void make_old(struct bole_block *dev, enum old_way way)
{
	struct store_suite suite = {.platform = &test.base};
	struct suite_blob blob;
	struct bole_tx *tx;

	mount(dev);
	grow_base(dev);
	suite.store = store;
	suite_blob_make(&blob, BOLE_HASH_SHA1, NEWER);
	suite_publish(&suite, repo.id, &blob, "refs/heads/1");
	(void)checkpoint(dev);
	suite_blob_make(&blob, BOLE_HASH_SHA1, 1);
	OK(bole_tx_begin(store, repo.id, &tx));
	if (way == OLD_DROPPED)
		OK(bole_tx_drop(tx, &blob.oid));
	suite_commit(tx, NULL, 0);
	OK(bole_store_close(store));
	if (way == OLD_UNSURE)
		lose_page(dev);
	if (way != OLD_DROPPED)
		check(lose_id(dev, 1, false) >= 2); /* the object, and the log's word */
	check(lose_id(dev, NEWER, true) >= 3);
	lose_anchors(dev);
}

/* Goal: a reference whose newer value is gone, and whose old one names what is nowhere, is left out
 * and said; it is neither shown nor an error for ever. */
Test(flash_rebuild, a_reference_of_old_that_names_nothing_is_left_out)
{
	for (int way = OLD_GONE; way <= OLD_DROPPED; way++) {
		struct bole_flash_check_result result;
		struct bole_block *dev = make(way == OLD_UNSURE ? "nor4k" : "sd");
		struct bole_snapshot *s;
		struct suite_blob blob;
		struct bole_ref ref;

		make_old(dev, (enum old_way)way);
		said[0] = '\0';
		OK(bole_flash_repair(dev, &test.base, &test.alloc, &report, &result));
		cr_assert(strstr(said, "r: reference refs/heads/1 is left out: it is of old") !=
		                  NULL,
		          "%d %s", way, said);
		check_eq(result.errors, 0);
		mount(dev);
		OK(bole_snapshot_open(store, repo.id, &s));
		check_eq(bole_ref_get(s, bole_bytes_z("refs/heads/1"), &ref), BOLE_E_NOT_FOUND);
		for (uint64_t i = 2; i <= OBJECTS; i++) {
			char name[32];
			suite_blob_make(&blob, BOLE_HASH_SHA1, i);
			(void)snprintf(name, sizeof name, "refs/heads/%u", (unsigned)i);
			suite_expect_ref(s, name, &blob.oid);
			expect(s, i);
		}
		bole_snapshot_close(s);
		OK(bole_store_close(store));
		bole_block_close(dev);
		test_platform_release(&test);
	}
}

/* -- Hashes of repositories of which little is left -- */

enum { MOVED_ON = 3000, LAST = 7777, ALONE = 3 };

static bool log_head(struct bole_block *dev, const struct flash_volume *v, uint32_t segment,
                     uint64_t *batch)
{
	uint8_t head[SEGMENT_HEAD_BYTES];

	bole_block_sim_peek(dev, bole_flash_position(v, segment, 0), head, sizeof head);
	*batch = bole_get_le64(head + SEGMENT_BATCH_AT);
	return bole_get_le32(head + SEGMENT_MAGIC_AT) == SEGMENT_MAGIC &&
	       bole_get_le32(head + SEGMENT_KIND_AT) == FLASH_SEGMENT_LOG;
}

/* All segments of log whose batches are older. */
static uint32_t lose_log(struct bole_block *dev, uint64_t since)
{
	const struct bole_flash_open_options options = {.read_only = true};
	struct flash_volume *v;
	uint64_t last = 0;
	uint64_t batch;
	uint32_t count = 0;

	OK(bole_flash_volume_open(dev, &test.base, &test.alloc, &options, &v));
	for (uint32_t i = 0; i < v->segments; i++)
		if (log_head(dev, v, i, &batch) && batch <= since && batch > last)
			last = batch;
	for (uint32_t i = 0; i < v->segments; i++) {
		if (!log_head(dev, v, i, &batch) || batch >= last)
			continue;
		for (uint32_t n = 0; n < v->segment_bytes; n += 16)
			spoil(dev, bole_flash_position(v, i, n));
		count++;
	}
	OK(bole_flash_volume_close(v));
	return count;
}

/* A repository of SHA-256 that has one pack and, if told so, an object in what is left of the log;
 * of its log nothing else is left. */
static struct bole_block *make_other(bool packed, bool object)
{
	struct bole_block *dev = make("nor4k");
	struct store_suite suite = {.platform = &test.base};
	struct bole_aux_key key = {BOLE_AUX_DURABLE, 7, {(const uint8_t *)"k", 1}};
	struct bole_repo other;
	struct suite_pack pack;
	struct suite_blob blob;
	struct bole_tx *tx;

	mount(dev);
	OK(bole_repo_create(store, "other", BOLE_HASH_SHA256, "refs/heads/a", &other));
	OK(bole_tx_begin(store, other.id, &tx));
	suite_pack_make(&pack, BOLE_HASH_SHA256, PACKED_FROM, ALONE);
	if (packed)
		(void)suite_pack_append(tx, &pack);
	suite_pack_free(&pack);
	suite_commit(tx, NULL, 0);
	for (uint64_t i = 0; i < 100; i++) {
		suite.store = store;
		suite_blob_make(&blob, BOLE_HASH_SHA1, MOVED_ON + i);
		suite_publish(&suite, repo.id, &blob, "refs/heads/moved");
	}
	uint64_t since = checkpoint(dev);
	OK(bole_tx_begin(store, other.id, &tx));
	suite_blob_make(&blob, BOLE_HASH_SHA256, LAST);
	if (object)
		suite_put_blob(tx, &blob);
	else
		OK(store->aux->put(tx, &key, bole_bytes_z("value")));
	suite_commit(tx, NULL, 0);
	(void)checkpoint(dev);
	OK(bole_store_close(store));
	check(lose_log(dev, since) != 0);
	lose_checkpoint(dev);
	said[0] = '\0';
	return dev;
}

static struct bole_repo find_other(uint8_t algo)
{
	struct bole_repo other = {.name = ""};

	while (bole_repo_next(store, other.name, &other) == BOLE_OK)
		if (strncmp(other.name, "lost-", 5) == 0 && other.id != repo.id)
			break;
	check(strncmp(other.name, "lost-", 5) == 0);
	check_eq(other.algo, algo);
	return other;
}

static void repair(struct bole_block *dev)
{
	struct bole_flash_check_result result;

	OK(bole_flash_repair(dev, &test.base, &test.alloc, &report, &result));
	check_eq(result.errors, 0);
	OK(bole_flash_open(dev, &test.base, &test.alloc, NULL, &store));
}

/* Goal: where neither a name nor a record tells which hash a repository has, the pages of its
 * packs' tables do; and a pack that is met before anything that tells is read rightly. */
Test(flash_rebuild, the_hash_of_a_repository_is_found_in_what_is_left_of_its_packs)
{
	for (int object = 0; object < 2; object++) {
		struct bole_block *dev = make_other(true, object != 0);
		struct bole_snapshot *s;
		struct suite_blob blob;
		struct bole_entry e;

		repair(dev);
		struct bole_repo other = find_other(BOLE_HASH_SHA256);
		OK(bole_snapshot_open(store, other.id, &s));
		for (uint64_t i = 0; i < ALONE; i++) {
			suite_blob_make(&blob, BOLE_HASH_SHA256, PACKED_FROM + i);
			OK(bole_odb_find(s, &blob.oid, &e));
		}
		suite_blob_make(&blob, BOLE_HASH_SHA256, LAST);
		check_eq(bole_odb_find(s, &blob.oid, &e), object != 0 ? BOLE_OK : BOLE_E_NOT_FOUND);
		bole_snapshot_close(s);
		cr_assert(strstr(said, "tells whether its hash is") == NULL, "%s", said);
		OK(bole_store_close(store));
		bole_block_close(dev);
		test_platform_release(&test);
	}
}

/* Goal: a hash that nothing tells is not guessed in silence. */
Test(flash_rebuild, a_hash_that_nothing_tells_is_said_to_be_a_guess)
{
	struct bole_block *dev = make_other(false, false);

	repair(dev);
	(void)find_other(BOLE_HASH_SHA1);
	cr_assert(
	        strstr(said, ": nothing that is left tells whether its hash is SHA-1 or SHA-256") !=
	                NULL,
	        "%s", said);
	OK(bole_store_close(store));
	bole_block_close(dev);
	test_platform_release(&test);
}

/* Goal: what was prepared can be gone on with after a rebuild, where the log shows that nobody
 * resolved it; until then nobody sees it. Method: the same once more with a commit in the log that
 * follows the damaged checkpoint. */
Test(flash_rebuild, what_was_prepared_is_neither_lost_nor_shown)
{
	struct bole_aux_key key = {BOLE_AUX_DURABLE, 7, {(const uint8_t *)"k", 1}};

	for (int committed = 0; committed < 2; committed++) {
		struct bole_block *dev = make("sd");
		struct bole_tx_token token;
		struct bole_snapshot *s;
		struct suite_blob blob;
		struct bole_entry e;
		struct bole_tx *tx;
		uint8_t *value;
		size_t len;

		mount(dev);
		suite_blob_make(&blob, BOLE_HASH_SHA1, LAST);
		OK(bole_tx_begin(store, repo.id, &tx));
		suite_put_blob(tx, &blob);
		OK(store->aux->put(tx, &key, bole_bytes_z("value")));
		OK(bole_tx_prepare(tx, &token));
		(void)checkpoint(dev);
		if (committed != 0) {
			OK(bole_tx_resume(store, &token, &tx));
			suite_commit(tx, NULL, 0);
		}
		OK(bole_store_close(store));
		lose_checkpoint(dev);
		said[0] = '\0';
		repair(dev);
		cr_assert(strstr(said, "prepared") == NULL, "%s", said);
		OK(bole_snapshot_open(store, repo.id, &s));
		check_eq(bole_odb_find(s, &blob.oid, &e),
		         committed != 0 ? BOLE_OK : BOLE_E_NOT_FOUND);
		bole_snapshot_close(s);
		check_eq(bole_tx_resume(store, &token, &tx),
		         committed != 0 ? BOLE_E_NOT_FOUND : BOLE_OK);
		if (committed == 0)
			suite_commit(tx, NULL, 0);
		OK(bole_snapshot_open(store, repo.id, &s));
		OK(bole_odb_find(s, &blob.oid, &e));
		OK(store->aux->get(s, &key, &test.alloc, &value, &len));
		check_eq(len, 5);
		test.alloc.resize(test.alloc.ctx, value, len, 0, 1);
		bole_snapshot_close(s);
		OK(bole_store_close(store));
		bole_block_close(dev);
		test_platform_release(&test);
	}
}

/* Goal: a checkpoint keeps the row of an id of which only another row is dead, the way a rebuild
 * hides rows of packs with holes. */
Test(flash_rebuild, a_row_outlives_the_death_of_another_one_of_its_id)
{
	struct flash_found dead = {
	        .place = bole_flash_place(7, 3), .type = BOLE_OBJECT_BLOB, .where = FOUND_EXTENT};
	struct bole_block *dev = make("sd");
	struct bole_snapshot *s;
	struct suite_blob blob;
	struct flash_volume *v;
	struct flash_tx *t;
	size_t failed;

	OK(bole_flash_volume_open(dev, &test.base, &test.alloc, NULL, &v));
	suite_blob_make(&blob, BOLE_HASH_SHA1, LAST);
	OK(bole_flash_tx_begin(v, v->repo[0]->id, &t));
	struct bole_bytes entry = {blob.entry, blob.entry_len};
	OK(bole_flash_tx_put(t, &blob.oid, BOLE_OBJECT_BLOB, &entry, 1));
	OK(bole_flash_tx_commit(t, NULL, 0, &failed));
	OK(bole_flash_index_kill(v, v->repo[0]->domain->index, blob.oid.bytes, &dead));
	OK(bole_flash_checkpoint(v));
	OK(bole_flash_volume_close(v));
	mount(dev);
	OK(bole_snapshot_open(store, repo.id, &s));
	expect(s, LAST);
	bole_snapshot_close(s);
	OK(bole_store_close(store));
	bole_block_close(dev);
	test_platform_release(&test);
}
