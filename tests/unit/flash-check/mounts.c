/* SPDX-License-Identifier: ISC */
/* What a mount costs, whatever the number of objects. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "bole/block_sim.h"
#include "bole/store.h"
#include "support/platform.h"
#include "support/suite_help.h"

enum { GROUP = 200, ENTRY = 300 };

static struct test_platform test;
static struct bole_block *device;
static struct bole_store *store;
static struct bole_repo repo;
static uint64_t seed;

static void put(uint64_t count)
{
	static uint8_t body[ENTRY] = {BOLE_OBJECT_BLOB << 4 | 5};
	struct bole_bytes piece = bole_bytes_of(body, sizeof body);
	struct bole_tx *tx;
	size_t failed;

	while (count != 0) {
		OK(bole_tx_begin(store, repo.id, &tx));
		for (uint64_t i = 0; i < GROUP && count != 0; i++, count--) {
			struct bole_oid oid = {.algo = BOLE_HASH_SHA1};
			test_random_bytes(&seed, oid.bytes, 20);
			OK(bole_tx_put(tx, &oid, BOLE_OBJECT_BLOB, &piece, 1));
		}
		OK(bole_tx_commit(tx, NULL, 0, &failed));
	}
}

static void open_nand(uint64_t bytes)
{
	struct bole_block_sim_options o;

	test_platform_init(&test, 1);
	test.quiet = true;
	seed = test_seed(5);
	OK(bole_block_sim_geometry("slcnand", &o));
	o.size_bytes = bytes;
	OK(bole_block_sim_open(&test.alloc, &o, &device));
	OK(bole_flash_format(device, &test.base, NULL));
}

static uint64_t mount(struct bole_block *dev)
{
	const struct bole_flash_open_options options = {.memory_bytes_max = 2 << 20};
	struct bole_block_sim_counters before;
	struct bole_block_sim_counters after;

	bole_block_sim_counters(dev, &before);
	OK(bole_flash_open(dev, &test.base, &test.alloc, &options, &store));
	bole_block_sim_counters(dev, &after);
	return after.read_steps - before.read_steps;
}

/* Goal: a mount of 1 GiB of NAND reads at most 700 pages, clean or cut, and as many for three times
 * the objects; the first write after it costs no erase and less than 5 ms of device time. */
Test(flash_mounts, reads_do_not_grow_with_the_objects)
{
	uint64_t reads[2] = {0, 0};

	for (int large = 0; large < 2; large++) {
		struct bole_block_sim_counters before;
		struct bole_block_sim_counters after;
		struct bole_block *cut;
		uint32_t alone = 0;
		open_nand(1 << 30);
		(void)mount(device);
		OK(bole_repo_create(store, "r", BOLE_HASH_SHA1, "refs/heads/a", &repo));
		put(large ? 60000 : 20000);
		OK(bole_block_sim_clone(&test.alloc, device, &cut));
		OK(bole_store_close(store));
		for (int i = 0; i < 4; i++) {
			reads[large] = mount(device);
			check(reads[large] <= 700);
			bole_block_sim_counters(device, &before);
			put(1);
			bole_block_sim_counters(device, &after);
			/* More than one program: runs were merged, which waits for nobody else
			 * here. */
			if (after.programs - before.programs == 1) {
				check_eq(after.erases - before.erases, 0);
				cr_assert_lt(after.device_ns - before.device_ns, 5000000);
				alone++;
			}
			OK(bole_store_close(store));
		}
		check(alone > 0);
		uint64_t unclean = mount(cut);
		printf("%llu page reads, %llu after a cut\n", (unsigned long long)reads[large],
		       (unsigned long long)unclean);
		check(unclean <= 700);
		OK(bole_store_close(store));
		bole_block_close(cut);
		bole_block_close(device);
		test_platform_release(&test);
	}
	check(reads[1] <= reads[0] + reads[0] / 4 && reads[0] <= reads[1] + reads[1] / 4);
}
