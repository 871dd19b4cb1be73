/* SPDX-License-Identifier: ISC */
/* What a refused push leaves behind: nothing, neither findable nor on the device; and what its
 * checks can be told to let pass. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/hash.h"
#include "bole/block.h"
#include "bole/devices.h"
#include "support/packworld.h"

enum { DEVICE_BYTES = 64 << 20, BLOB_BYTES = 3 << 20 };

static void mount(struct packworld *world, struct bole_block *device)
{
	struct bole_flash_open_options options = {.read_only = false};

	cr_assert_eq(bole_flash_open(device, &world->platform.base, &world->platform.alloc,
	                             &options, &world->store),
	             BOLE_OK);
}

static uint64_t free_bytes(struct packworld *world)
{
	struct bole_store_stats stats;

	cr_assert_eq(bole_store_stats(world->store, &stats), BOLE_OK);
	cr_assert_eq(stats.objects, 0u);
	return stats.free_bytes;
}

/* Two blobs that nothing makes smaller, and at the end something wrong. */
static void bad_pack(struct packmaker *maker, unsigned kind, uint64_t seed)
{
	static uint8_t noise[BLOB_BYTES];

	packmaker_init(maker, test_algo());
	for (int i = 0; i < 2; i++) {
		test_random_bytes(&seed, noise, sizeof noise);
		packmaker_object(maker, 3, noise, sizeof noise, NULL);
	}
	if (kind == 0)
		packmaker_object(maker, 2, "rubbish", 7, NULL);
	packmaker_finish(maker);
	if (kind == 1)
		maker->out.ptr[maker->out.len - 1] ^= 1;
	if (kind == 2)
		maker->out.len -= 1000;
}

/* Goal: six times the device in refused packs, and there is as much room as before. */
Test(quarantine, refused_packs_leave_no_bytes_behind)
{
	struct bole_flash_format_options format = {.segment_bytes = 0};
	struct packworld world = {.limits = {0}};
	struct bole_block *device;
	struct packmaker maker;

	test_platform_init(&world.platform, 1);
	world.platform.quiet = true;
	cr_assert_eq(bole_block_ram_open(&world.platform.alloc, DEVICE_BYTES, 512, &device),
	             BOLE_OK);
	cr_assert_eq(bole_flash_format(device, &world.platform.base, &format), BOLE_OK);
	mount(&world, device);
	cr_assert_eq(
	        bole_repo_create(world.store, "main", test_algo(), "refs/heads/main", &world.repo),
	        BOLE_OK);
	uint64_t before = free_bytes(&world);
	for (unsigned i = 0; i < 60; i++) {
		bad_pack(&maker, i % 3, i);
		cr_assert_eq(packworld_push(&world, maker.out.ptr, maker.out.len, NULL, NULL),
		             BOLE_E_INVALID, "%u: %s", i, world.report.error);
		packmaker_release(&maker);
	}
	cr_assert_geq(free_bytes(&world), before - before / 20);
	bad_pack(&maker, 3, 1);
	cr_assert_eq(packworld_push(&world, maker.out.ptr, maker.out.len, NULL, NULL), BOLE_OK,
	             "%s", world.report.error);
	packmaker_release(&maker);
	cr_assert_eq(packworld_verify(&world), 2u);
	cr_assert_eq(bole_store_close(world.store), BOLE_OK);
	bole_block_close(device);
	test_platform_release(&world.platform);
}

Test(quarantine, a_push_that_takes_too_long_is_refused)
{
	struct packworld world;
	struct packmaker maker;

	packworld_open(&world, test_algo(), 1);
	bad_pack(&maker, 3, 1);
	world.limits.time_ns_max = 1;
	cr_assert_eq(packworld_push(&world, maker.out.ptr, maker.out.len, NULL, NULL),
	             BOLE_E_LIMIT);
	cr_assert_not_null(strstr(world.report.error, "takes longer"), "%s", world.report.error);
	cr_assert_eq(packworld_verify(&world), 0u);
	packmaker_release(&maker);
	packworld_close(&world);
}

/* A tree with a .gitmodules that comes before its tree, after it, or as a delta. */
static void modules_pack(struct packmaker *maker, unsigned order, struct bole_oid *blob)
{
	static const char text[] = "[submodule \"a\"]\n\turl = -x\n";
	struct maker_bytes tree = {0}, delta = {0};
	uint64_t at;

	packmaker_init(maker, test_algo());
	cr_assert_eq(bole_object_id(test_algo(), 3,
	                            (struct bole_bytes){(const uint8_t *)text, sizeof text - 1},
	                            false, blob),
	             BOLE_OK);
	tree_entry(&tree, "100644", ".gitmodules", blob);
	if (order == 0)
		packmaker_object(maker, 3, text, sizeof text - 1, NULL);
	packmaker_object(maker, 2, tree.ptr, tree.len, NULL);
	if (order == 1)
		packmaker_object(maker, 3, text, sizeof text - 1, NULL);
	if (order == 2) {
		at = packmaker_object(maker, 3, "x", 1, NULL);
		delta_begin(&delta, 1, sizeof text - 1);
		delta_insert(&delta, text, sizeof text - 1);
		packmaker_ofs(maker, at, &delta);
	}
	packmaker_finish(maker);
	maker_release(&tree);
	maker_release(&delta);
}

Test(quarantine, gitmodules_are_read_wherever_they_come_and_can_be_let_pass)
{
	for (unsigned i = 0; i < 3 * 2 * 4; i++) {
		unsigned order = i % 3, extent = i / 3 % 2, pass = i / 6;
		struct bole_fsck_options options;
		struct packworld world;
		struct packmaker maker;
		struct bole_oid blob;

		packworld_open(&world, test_algo(), 1);
		if (extent != 0)
			world.store->info.extent_bytes_min = 1;
		modules_pack(&maker, order, &blob);
		bole_fsck_options_init(&options, BOLE_FSCK_STRICT);
		if (pass == 1)
			options.severity[BOLE_FSCK_GITMODULES_URL] = BOLE_FSCK_WARN;
		options.skip = &blob;
		options.skip_count = pass == 2;
		world.fsck = pass == 3 ? NULL : &options;
		enum bole_status rc =
		        packworld_push(&world, maker.out.ptr, maker.out.len, NULL, NULL);
		cr_assert_eq(rc, pass > 0 ? BOLE_OK : BOLE_E_INVALID, "%u: %s", i,
		             world.report.error);
		cr_assert_eq(strstr(world.report.error, "gitmodulesUrl") != NULL, pass == 0);
		cr_assert_eq(packworld_verify(&world), pass > 0 ? maker.count : 0u);
		packmaker_release(&maker);
		packworld_close(&world);
	}
}
