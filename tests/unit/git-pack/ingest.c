/* SPDX-License-Identifier: ISC */
/* Packs that must be taken, and what must be true of them afterwards. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/memory.h"
#include "support/packworld.h"

static const uint8_t algos[] = {BOLE_HASH_SHA1, BOLE_HASH_SHA256};

static void push_ok(struct packworld *world, struct packmaker *maker)
{
	enum bole_status rc = packworld_push(world, maker->out.ptr, maker->out.len, NULL, NULL);

	cr_assert_eq(rc, BOLE_OK, "%s: %s", bole_status_text(rc), world->report.error);
	cr_assert_eq(world->report.error[0], '\0');
}

static bool holds(struct packworld *world, const struct bole_oid *oid)
{
	struct bole_snapshot *snapshot;
	struct bole_entry entry;

	cr_assert_eq(bole_snapshot_open(world->store, world->repo.id, &snapshot), BOLE_OK);
	enum bole_status rc = bole_odb_find(snapshot, oid, &entry);

	bole_snapshot_close(snapshot);
	cr_assert(rc == BOLE_OK || rc == BOLE_E_NOT_FOUND);
	return rc == BOLE_OK;
}

/* Goal: both homes, both hashes, any size of input buffer give the same objects. */
Test(ingest, keeps_a_history_as_records_and_as_an_extent)
{
	static const size_t buffers[] = {64, 101, 4096, 65536};

	for (size_t a = 0; a < 2; a++) {
		for (size_t i = 0; i < 8; i++) {
			struct packworld world;
			struct packmaker maker;

			packworld_open(&world, algos[a], 1);
			world.input_bytes = buffers[i / 2];
			if (i % 2 == 1)
				world.store->info.extent_bytes_min = 1024;
			packmaker_init(&maker, algos[a]);
			struct bole_oid head = packmaker_history(&maker, 60, 11 + i);

			packmaker_finish(&maker);
			cr_assert_eq(packworld_push(&world, maker.out.ptr, maker.out.len,
			                            "refs/heads/main", &head),
			             BOLE_OK, "%s", world.report.error);
			cr_assert_eq(world.unread, 0);
			cr_assert_eq(world.report.objects, maker.count);
			cr_assert_eq(world.report.pack_bytes, maker.out.len);
			cr_assert_eq(packworld_verify(&world), maker.count);
			packmaker_release(&maker);
			packworld_close(&world);
		}
	}
}

Test(ingest, leaves_what_follows_the_pack)
{
	struct packworld world;
	struct packmaker maker;

	packworld_open(&world, test_algo(), 1);
	packmaker_init(&maker, test_algo());
	packmaker_object(&maker, 3, "hello", 5, NULL);
	packmaker_finish(&maker);
	maker_append(&maker.out, "0000next", 8);
	push_ok(&world, &maker);
	cr_assert_eq(world.unread, 8);
	packmaker_release(&maker);
	packworld_close(&world);
}

/* Goal: reads ahead are never so long that what follows the pack does not fit the caller's buffer.
 */
Test(ingest, leaves_much_that_follows_a_pack_of_tiny_objects)
{
	static uint8_t tail[300 * 1024];
	uint64_t seed = 1;

	test_random_bytes(&seed, tail, sizeof tail);
	for (uint32_t count = 1; count < 20000; count = count * 5 + 1) {
		struct packworld world;
		struct packmaker maker;
		char text[16];

		packworld_open(&world, test_algo(), 1);
		packmaker_init(&maker, test_algo());
		for (uint32_t i = 0; i < count; i++) {
			snprintf(text, sizeof text, "%x", i);
			packmaker_object(&maker, 3, text, strlen(text), NULL);
		}
		packmaker_finish(&maker);
		maker_append(&maker.out, tail, sizeof tail);
		push_ok(&world, &maker); /* looks whether all of it is there */
		cr_assert_eq(world.unread, sizeof tail);
		packmaker_release(&maker);
		packworld_close(&world);
	}
}

Test(ingest, takes_an_empty_pack_and_version_three)
{
	for (uint32_t version = 2; version <= 3; version++) {
		struct packworld world;
		struct packmaker maker;

		packworld_open(&world, test_algo(), 1);
		packmaker_init(&maker, test_algo());
		packmaker_finish_count(&maker, version, 0);
		push_ok(&world, &maker);
		cr_assert_eq(packworld_verify(&world), 0);
		packmaker_release(&maker);
		packworld_close(&world);
	}
}

/* Changes one byte of a blob that another delta was made from. */
static void edit_delta(struct maker_bytes *delta, size_t len, uint8_t value)
{
	delta_begin(delta, len, len);
	delta_insert(delta, &value, 1);
	delta_copy(delta, 1, (uint32_t)len - 1);
}

static void blob_oid(uint8_t *blob, size_t len, uint8_t first, struct bole_oid *oid)
{
	blob[0] = first;
	cr_assert_eq(bole_object_id(test_algo(), 3, bole_bytes_of(blob, len), false, oid), BOLE_OK);
}

/* Goal: an id delta may come before its base, even many times over. */
Test(ingest, resolves_id_deltas_whose_bases_follow)
{
	enum { LEN = 200, CHAIN = 40 };

	for (size_t extent = 0; extent < 2; extent++) {
		struct maker_bytes delta = {0};
		struct packworld world;
		struct packmaker maker;
		struct bole_oid oid;
		uint8_t blob[LEN];

		memset(blob, 'x', sizeof(blob));
		packworld_open(&world, test_algo(), 1);
		if (extent)
			world.store->info.extent_bytes_min = 100;
		packmaker_init(&maker, test_algo());
		for (int i = CHAIN; i > 0; i--) {
			blob_oid(blob, LEN, (uint8_t)(i - 1), &oid);
			edit_delta(&delta, LEN, (uint8_t)i);
			packmaker_ref(&maker, &oid, &delta);
		}
		blob[0] = 0;
		packmaker_object(&maker, 3, blob, LEN, NULL);
		packmaker_finish(&maker);
		push_ok(&world, &maker);
		cr_assert_eq(packworld_verify(&world), CHAIN + 1);
		for (int i = 0; i <= CHAIN; i++) {
			blob_oid(blob, LEN, (uint8_t)i, &oid);
			cr_assert(holds(&world, &oid));
		}
		maker_release(&delta);
		packmaker_release(&maker);
		packworld_close(&world);
	}
}

Test(ingest, finds_the_bases_of_a_thin_pack_in_the_domain)
{
	enum { LEN = 300 };

	for (size_t extent = 0; extent < 2; extent++) {
		struct maker_bytes delta = {0};
		struct packworld world;
		struct packmaker maker;
		struct bole_oid oid;
		uint8_t blob[LEN];

		memset(blob, 'x', sizeof(blob));
		packworld_open(&world, test_algo(), 1);
		blob_oid(blob, LEN, 0, &oid);
		packmaker_init(&maker, test_algo());
		packmaker_object(&maker, 3, blob, LEN, NULL);
		packmaker_finish(&maker);
		push_ok(&world, &maker);
		packmaker_release(&maker);

		if (extent)
			world.store->info.extent_bytes_min = 40;
		packmaker_init(&maker, test_algo());
		edit_delta(&delta, LEN, 1);
		uint64_t at = packmaker_ref(&maker, &oid, &delta);

		edit_delta(&delta, LEN, 2);
		packmaker_ofs(&maker, at, &delta);
		packmaker_finish(&maker);
		push_ok(&world, &maker);
		cr_assert_eq(packworld_verify(&world), 3);

		/* Alone in a fresh store it is refused, with the id. */
		struct packworld empty;
		char hex[BOLE_OID_HEX_MAX + 1];

		packworld_open(&empty, test_algo(), 1);
		cr_assert_eq(packworld_push(&empty, maker.out.ptr, maker.out.len, NULL, NULL),
		             BOLE_E_INVALID);
		cr_assert(strstr(empty.report.error, bole_oid_format(&oid, hex)) != NULL, "%s",
		          empty.report.error);
		packworld_close(&empty);
		maker_release(&delta);
		packmaker_release(&maker);
		packworld_close(&world);
	}
}

/* Goal: copies inside a pack and copies of what is stored change nothing and loop nowhere. */
Test(ingest, keeps_the_first_copy_of_an_object)
{
	enum { LEN = 120 };

	for (size_t extent = 0; extent < 2; extent++) {
		struct maker_bytes delta = {0};
		struct packworld world;
		struct packmaker maker;
		struct bole_oid zero, one;
		uint8_t blob[LEN];

		memset(blob, 'x', sizeof(blob));
		blob_oid(blob, LEN, 1, &one);
		blob_oid(blob, LEN, 0, &zero);
		packworld_open(&world, test_algo(), 1);
		if (extent)
			world.store->info.extent_bytes_min = 64;
		packmaker_init(&maker, test_algo());
		/* 0 as a delta on 1, 1 as a delta on 0, and 0 whole at last: a circle of ids. */
		edit_delta(&delta, LEN, 0);
		packmaker_ref(&maker, &one, &delta);
		edit_delta(&delta, LEN, 1);
		packmaker_ref(&maker, &zero, &delta);
		packmaker_object(&maker, 3, blob, LEN, NULL);
		packmaker_object(&maker, 3, blob, LEN, NULL);
		packmaker_finish(&maker);
		push_ok(&world, &maker);
		cr_assert_eq(packworld_verify(&world), 2);
		push_ok(&world, &maker);
		cr_assert_eq(packworld_verify(&world), 2);
		packmaker_release(&maker);

		/* Once more the circle, now closed over what is stored. */
		packmaker_init(&maker, test_algo());
		edit_delta(&delta, LEN, 0);
		packmaker_ref(&maker, &one, &delta);
		edit_delta(&delta, LEN, 1);
		packmaker_ref(&maker, &zero, &delta);
		packmaker_finish(&maker);
		push_ok(&world, &maker);
		cr_assert_eq(packworld_verify(&world), 2);
		packmaker_release(&maker);
		maker_release(&delta);
		packworld_close(&world);
	}
}

/* Goal: memory does not follow the size of an object. Method: 64 MiB of blob in 8 MiB. */
Test(ingest, streams_a_blob_that_is_larger_than_its_memory)
{
	enum { LEN = 64 << 20 };
	struct packworld world;
	struct packmaker maker;

	packworld_open(&world, test_algo(), 1);
	uint8_t *bytes = bole_alloc_zeroed(&world.platform.alloc, LEN, 1);
	uint64_t seed = 5;

	cr_assert_not_null(bytes);
	for (size_t i = 0; i < LEN; i += 64)
		test_random_bytes(&seed, bytes + i, 8);
	packmaker_init(&maker, test_algo());
	maker.level = 1;
	packmaker_object(&maker, 3, bytes, LEN, NULL);
	packmaker_finish(&maker);
	bole_alloc_free(&world.platform.alloc, bytes, LEN, 1);
	world.store->info.extent_bytes_min = 512 * 1024;
	world.limits.memory_bytes_max = 4 << 20;
	push_ok(&world, &maker);
	packmaker_release(&maker);
	packworld_close(&world);
}

/* Goal: a family larger than memory resolves, whatever its shape. Method: a chain of 60 blobs of
 * 256 KiB, each with leaves beside it, in 6 MiB; by offsets in two orders, and by ids in the order
 * in which nothing tells that the deep child should wait, so that bases must give way. */
Test(ingest, resolves_large_families_in_little_memory)
{
	enum { BYTES = 256 * 1024, CHAIN = 60 };

	for (size_t order = 0; order < 3; order++) {
		struct maker_bytes delta = {0};
		struct packworld world;
		struct packmaker maker;
		struct bole_oid base, id;
		uint64_t seed = 9, at;
		uint8_t *blob;

		packworld_open(&world, test_algo(), 1);
		blob = bole_alloc_array(&world.platform.alloc, BYTES, 1);
		cr_assert_not_null(blob);
		test_random_bytes(&seed, blob, BYTES);
		packmaker_init(&maker, test_algo());
		at = packmaker_object(&maker, 3, blob, BYTES, &base);
		for (int i = 0; i < CHAIN; i++) {
			uint8_t edit[4] = {(uint8_t)i, 1, 2, 3};
			struct bole_oid parent = base;
			uint64_t next = 0, made;

			for (int k = 0; k < 3; k++) {
				edit[1] = (uint8_t)k;
				delta_begin(&delta, BYTES, BYTES);
				delta_insert(&delta, edit, 4);
				delta_copy(&delta, 4, BYTES - 4);
				memcpy(blob, edit, 4);
				cr_assert_eq(bole_object_id(test_algo(), 3,
				                            bole_bytes_of(blob, BYTES), false, &id),
				             BOLE_OK);
				made = order == 2 ? packmaker_ref(&maker, &parent, &delta)
				                  : packmaker_ofs(&maker, at, &delta);
				if (k == (order == 0 ? 0 : 2)) {
					next = made;
					base = id;
				}
			}
			at = next;
		}
		bole_alloc_free(&world.platform.alloc, blob, BYTES, 1);
		packmaker_finish(&maker);
		world.store->info.extent_bytes_min = 128 * 1024;
		world.limits.memory_bytes_max = 6 << 20;
		push_ok(&world, &maker);
		maker_release(&delta);
		packmaker_release(&maker);
		cr_assert_eq(packworld_verify(&world), 1 + 3 * CHAIN);
		packworld_close(&world);
	}
}

/* Goal: after any failed allocation nothing leaks and nothing is published; some number of them
 * fails none. */
Test(ingest, survives_every_failed_allocation)
{
	for (size_t extent = 0; extent < 2; extent++) {
		struct packmaker maker;
		struct packworld world;
		bool done = false;

		packmaker_init(&maker, test_algo());
		packmaker_history(&maker, 12, 3);
		packmaker_finish(&maker);
		for (uint64_t n = 1; !done; n++) {
			packworld_open(&world, test_algo(), 1);
			if (extent)
				world.store->info.extent_bytes_min = 256;
			world.platform.fail_at = world.platform.grows + n;
			enum bole_status rc =
			        packworld_push(&world, maker.out.ptr, maker.out.len, NULL, NULL);

			cr_assert(rc == BOLE_OK || rc == BOLE_E_NO_MEMORY, "%d at %d: %s", (int)rc,
			          (int)n, world.report.error);
			done = world.platform.grows < world.platform.fail_at;
			world.platform.fail_at = 0;
			cr_assert_eq(packworld_verify(&world), rc == BOLE_OK ? maker.count : 0);
			if (rc != BOLE_OK)
				push_ok(&world, &maker);
			packworld_close(&world);
			cr_assert_lt(n, 100000);
		}
		packmaker_release(&maker);
	}
}

static bool always(void *ctx)
{
	(void)ctx;
	return true;
}

Test(ingest, stops_when_the_client_has_gone)
{
	struct packworld world;
	struct packmaker maker;

	packworld_open(&world, test_algo(), 1);
	packmaker_init(&maker, test_algo());
	packmaker_history(&maker, 400, 3);
	packmaker_finish(&maker);
	world.cancelled = always;
	cr_assert_eq(packworld_push(&world, maker.out.ptr, maker.out.len, NULL, NULL),
	             BOLE_E_CLOSED);
	packmaker_release(&maker);
	packworld_close(&world);
}

/* Goal: the budget of the header comment. Method: 50,000 objects in 24 MiB. */
Test(ingest, takes_fifty_thousand_objects_in_24_mebibytes)
{
	enum { COMMITS = 16700 };
	struct packworld world;
	struct packmaker maker;

	packworld_open(&world, test_algo(), 1);
	packmaker_init(&maker, test_algo());
	packmaker_history(&maker, COMMITS, 3);
	packmaker_finish(&maker);
	cr_assert_gt(maker.count, 50000);
	world.store->info.extent_bytes_min = 512 * 1024;
	world.limits.memory_bytes_max = 24 << 20;
	push_ok(&world, &maker);
	packmaker_release(&maker);
	packworld_close(&world);
}
