/* SPDX-License-Identifier: ISC */
/* Packs through the store that images use: in, over a restart, out again. */
#include <criterion/criterion.h>
#include <string.h>

#include "bole/block.h"
#include "bole/devices.h"
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
