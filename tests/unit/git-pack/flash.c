/* SPDX-License-Identifier: ISC */
/* Packs through the store that images use: in, over a restart, out again. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/bytes.h"
#include "base/deflate.h"
#include "base/hash.h"
#include "bole/block.h"
#include "bole/devices.h"
#include "git/object/object.h"
#include "support/packworld.h"

enum { DEVICE_BYTES = 64 << 20 };

static void mount(struct packworld *world, struct bole_block *device)
{
	struct bole_flash_open_options options = {.read_only = false};

	cr_assert_eq(bole_flash_open(device, &world->platform.base, &world->platform.alloc,
	                             &options, &world->store),
	             BOLE_OK);
}

Test(flash, packs_survive_a_restart_and_come_out_whole)
{
	/* Records only, one extent, an extent of several fragments. */
	static const uint32_t commits[] = {20, 1800, 9000};

	for (size_t i = 0; i < 3; i++) {
		struct bole_flash_format_options format = {.segment_bytes = 0};
		struct maker_bytes pack = {0};
		struct packworld world = {.limits = {0}}, other;
		struct bole_block *device;
		struct packmaker maker;

		test_platform_init(&world.platform, 1);
		world.platform.quiet = true;
		cr_assert_eq(bole_block_ram_open(&world.platform.alloc, DEVICE_BYTES, 512, &device),
		             BOLE_OK);
		cr_assert_eq(bole_flash_format(device, &world.platform.base, &format), BOLE_OK);
		mount(&world, device);
		cr_assert_eq(bole_repo_create(world.store, "main", test_algo(), "refs/heads/main",
		                              &world.repo),
		             BOLE_OK);
		packmaker_init(&maker, test_algo());
		struct bole_oid head = packmaker_history(&maker, commits[i], 5);

		packmaker_finish(&maker);
		cr_assert_eq(packworld_push(&world, maker.out.ptr, maker.out.len, "refs/heads/main",
		                            &head),
		             BOLE_OK, "%s", world.report.error);
		cr_assert_eq(bole_store_close(world.store), BOLE_OK);
		mount(&world, device);
		cr_assert_eq(packworld_verify(&world), maker.count);
		cr_assert_eq(packworld_fetch(&world, &head, 1, NULL, 0, &pack), BOLE_OK);
		packworld_open(&other, test_algo(), 2);
		cr_assert_eq(packworld_push(&other, pack.ptr, pack.len, NULL, NULL), BOLE_OK, "%s",
		             other.report.error);
		cr_assert_eq(packworld_verify(&other), maker.count - 1);
		packworld_close(&other);
		maker_release(&pack);
		packmaker_release(&maker);
		cr_assert_eq(bole_store_close(world.store), BOLE_OK);
		bole_block_close(device);
		test_platform_release(&world.platform);
	}
}

/* A blob as a record, whose place comes behind all extents, and an extent with a delta of it. */
static struct bole_oid push_base_behind(struct packworld *world)
{
	enum { LEN = 600 };
	struct maker_bytes delta = {0}, tree = {0}, text = {0};
	struct bole_oid base, shown, root, commit;
	struct packmaker maker;
	uint8_t blob[LEN];
	uint64_t seed = 7;

	test_random_bytes(&seed, blob, LEN);
	packmaker_init(&maker, test_algo());
	packmaker_object(&maker, BOLE_OBJECT_BLOB, blob, LEN, &base);
	packmaker_finish(&maker);
	cr_assert_eq(packworld_push(world, maker.out.ptr, maker.out.len, NULL, NULL), BOLE_OK);
	packmaker_release(&maker);
	packmaker_init(&maker, test_algo());
	delta_begin(&delta, LEN, LEN);
	delta_insert(&delta, "new", 3);
	delta_copy(&delta, 3, LEN - 3);
	packmaker_ref(&maker, &base, &delta);
	memcpy(blob, "new", 3);
	cr_assert_eq(bole_object_id(test_algo(), BOLE_OBJECT_BLOB, bole_bytes_of(blob, LEN), false,
	                            &shown),
	             BOLE_OK);
	tree_entry(&tree, "100644", "a", &shown);
	tree_entry(&tree, "100644", "b", &base);
	packmaker_object(&maker, BOLE_OBJECT_TREE, tree.ptr, tree.len, &root);
	struct bole_oid parent = packmaker_history(&maker, 1800, 5);
	commit_text(&text, &root, &parent, 1, "m");
	packmaker_object(&maker, BOLE_OBJECT_COMMIT, text.ptr, text.len, &commit);
	packmaker_finish(&maker);
	cr_assert_eq(
	        packworld_push(world, maker.out.ptr, maker.out.len, "refs/heads/main", &commit),
	        BOLE_OK, "%s", world->report.error);
	packmaker_release(&maker);
	maker_release(&delta);
	maker_release(&tree);
	maker_release(&text);
	return commit;
}

/* Goal: no delta comes before its base. Method: to who knows offset deltas all of them are. */
Test(flash, a_base_that_lies_behind_its_delta_is_sent_before_it)
{
	struct packworld world = {.limits = {0}}, other;
	struct maker_bytes pack = {0};
	struct bole_inflater *inflater;
	struct bole_block *device;
	size_t at = 12, used;

	test_platform_init(&world.platform, 1);
	world.platform.quiet = true;
	cr_assert_eq(bole_block_ram_open(&world.platform.alloc, DEVICE_BYTES, 512, &device),
	             BOLE_OK);
	cr_assert_eq(bole_flash_format(device, &world.platform.base, NULL), BOLE_OK);
	mount(&world, device);
	cr_assert_eq(
	        bole_repo_create(world.store, "main", test_algo(), "refs/heads/main", &world.repo),
	        BOLE_OK);
	struct bole_oid head = push_base_behind(&world);
	cr_assert_eq(packworld_fetch(&world, &head, 1, NULL, 0, &pack), BOLE_OK);
	cr_assert_eq(bole_inflater_open(&world.platform.alloc, &inflater), BOLE_OK);
	while (at < pack.len - bole_hash_bytes(test_algo())) {
		struct bole_bytes rest = bole_bytes_of(pack.ptr + at, pack.len - at);
		struct bole_entry_head entry;
		uint8_t out[4096];

		cr_assert_eq(bole_entry_head_parse(rest, test_algo(), &entry), BOLE_OK);
		cr_assert_neq(entry.type, BOLE_ENTRY_REF_DELTA);
		rest.ptr += entry.head_bytes;
		rest.len -= entry.head_bytes;
		cr_assert_eq(bole_inflate_whole(inflater, rest, out, (size_t)entry.inflated_bytes,
		                                &used),
		             BOLE_OK);
		at += entry.head_bytes + used;
	}
	bole_inflater_close(inflater);
	packworld_open(&other, test_algo(), 2);
	cr_assert_eq(packworld_push(&other, pack.ptr, pack.len, NULL, NULL), BOLE_OK, "%s",
	             other.report.error);
	packworld_close(&other);
	maker_release(&pack);
	cr_assert_eq(bole_store_close(world.store), BOLE_OK);
	bole_block_close(device);
	test_platform_release(&world.platform);
}
