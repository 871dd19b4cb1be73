/* SPDX-License-Identifier: ISC */
/* The read cache before a device: never an old byte, few calls to the device, and faults of the
 * device only for those who asked for the bytes at fault. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "bole/devices.h"
#include "tests/support/platform.h"

enum {
	UNIT = 512,
	SIZE = 300 * 1024 + UNIT, /* ends within a line */
	CACHE = 64 * 1024,
	TURNS = 20000,
	THREADS = 6,
};

/* A disk that counts reads and fails those that touch one unit. */
struct disk {
	struct bole_block block;
	pthread_mutex_t lock;
	atomic_uint reads;
	uint64_t bad; /* offset, or UINT64_MAX */
	unsigned delay_us;
	uint8_t bytes[SIZE];
};

static enum bole_status disk_read(struct bole_block *block, uint64_t off, void *dst, size_t len)
{
	struct disk *d = (struct disk *)(void *)block;

	atomic_fetch_add(&d->reads, 1);
	if (d->bad != UINT64_MAX && off <= d->bad && d->bad < off + len)
		return BOLE_E_IO;
	pthread_mutex_lock(&d->lock);
	memcpy(dst, d->bytes + off, len);
	pthread_mutex_unlock(&d->lock);
	if (d->delay_us != 0)
		usleep(d->delay_us);
	return BOLE_OK;
}

static enum bole_status disk_programv(struct bole_block *block, uint64_t off,
                                      const struct bole_bytes *pieces, size_t count)
{
	struct disk *d = (struct disk *)(void *)block;

	if (d->delay_us != 0)
		usleep(d->delay_us);
	pthread_mutex_lock(&d->lock);
	for (size_t i = 0; i < count; i++) {
		memcpy(d->bytes + off, pieces[i].ptr, pieces[i].len);
		off += pieces[i].len;
	}
	pthread_mutex_unlock(&d->lock);
	return BOLE_OK;
}

static enum bole_status disk_discard(struct bole_block *block, uint64_t off, uint64_t len)
{
	struct disk *d = (struct disk *)(void *)block;

	pthread_mutex_lock(&d->lock);
	memset(d->bytes + off, 0, (size_t)len);
	pthread_mutex_unlock(&d->lock);
	return BOLE_OK;
}

static enum bole_status disk_flush(struct bole_block *block)
{
	(void)block;
	return BOLE_OK;
}

static const struct bole_block_ops disk_ops = {
        .read = disk_read,
        .programv = disk_programv,
        .discard = disk_discard,
        .flush = disk_flush,
};

static struct test_platform platform;
static struct disk disk;
static struct bole_block *cache;

static void setup(void)
{
	uint64_t state = 1;

	test_platform_init(&platform, 1);
	disk.block.ops = &disk_ops;
	disk.block.info = (struct bole_block_info){.name = "disk",
	                                           .kind = BOLE_BLOCK_MANAGED,
	                                           .size_bytes = SIZE,
	                                           .read_unit = UNIT,
	                                           .program_unit = UNIT,
	                                           .damage_unit = UNIT,
	                                           .queue_depth = 4,
	                                           .can_discard = true};
	pthread_mutex_init(&disk.lock, NULL);
	disk.bad = UINT64_MAX;
	test_random_bytes(&state, disk.bytes, SIZE);
	cr_assert_eq(
	        bole_block_cache_open(&platform.base, &platform.alloc, &disk.block, CACHE, &cache),
	        BOLE_OK);
}

static void release(void)
{
	bole_block_close(cache);
	test_platform_release(&platform);
}

TestSuite(block_cache, .init = setup, .fini = release);

Test(block_cache, reads_what_the_device_holds_through_random_writes_and_discards)
{
	uint64_t state = test_seed(7);
	static uint8_t buffer[80 * 1024];

	for (unsigned i = 0; i < TURNS; i++) {
		uint64_t units = test_random(&state) % 8 == 0 ? 1 + test_random(&state) % 150
		                                              : 1 + test_random(&state) % 5;
		uint64_t len = units * UNIT;
		uint64_t off = test_random(&state) % ((SIZE - len) / UNIT + 1) * UNIT;
		switch (test_random(&state) % 10) {
		case 0:
			test_random_bytes(&state, buffer, (size_t)len);
			cr_assert_eq(bole_block_program(cache, off, buffer, (size_t)len), BOLE_OK);
			break;
		case 1: cr_assert_eq(bole_block_discard(cache, off, len), BOLE_OK); break;
		default:
			cr_assert_eq(bole_block_read(cache, off, buffer, (size_t)len), BOLE_OK);
			cr_assert_arr_eq(buffer, disk.bytes + off, len);
		}
	}
	cr_assert_leq(platform.bytes, 2 * CACHE);
}

Test(block_cache, asks_the_device_once_for_a_line_that_is_read_in_pieces)
{
	uint8_t buffer[UNIT];

	for (uint64_t off = 0; off < 64 * 1024; off += UNIT)
		cr_assert_eq(bole_block_read(cache, off, buffer, UNIT), BOLE_OK);
	cr_assert_eq(disk.reads, 4);
}

Test(block_cache, fails_only_the_read_of_the_bytes_at_fault)
{
	uint8_t buffer[UNIT];

	disk.bad = 5 * UNIT;
	cr_assert_eq(bole_block_read(cache, 4 * UNIT, buffer, UNIT), BOLE_OK);
	cr_assert_arr_eq(buffer, disk.bytes + 4 * UNIT, UNIT);
	cr_assert_eq(bole_block_read(cache, 5 * UNIT, buffer, UNIT), BOLE_E_IO);
	disk.bad = UINT64_MAX;
	cr_assert_eq(bole_block_read(cache, 5 * UNIT, buffer, UNIT), BOLE_OK);
	cr_assert_arr_eq(buffer, disk.bytes + 5 * UNIT, UNIT);
}

Test(block_cache, reads_past_the_cache_when_there_is_no_memory)
{
	uint8_t buffer[UNIT];

	platform.fail_at = platform.grows + 1;
	platform.fail_after = true;
	for (uint64_t off = 0; off < SIZE; off += UNIT) {
		cr_assert_eq(bole_block_read(cache, off, buffer, UNIT), BOLE_OK);
		cr_assert_arr_eq(buffer, disk.bytes + off, UNIT);
	}
}

/* Each thread owns every sixth unit and must always read back what it wrote there last, while its
 * neighbours write into the same lines. */
static void *owner(void *arg)
{
	uint64_t me = (uint64_t)(uintptr_t)arg, state = me + 1;
	static _Thread_local uint8_t last[SIZE / UNIT];
	uint8_t buffer[UNIT], wanted[UNIT];

	for (unsigned i = 0; i < 1500; i++) {
		uint64_t unit = test_random(&state) % (SIZE / UNIT / THREADS) * THREADS + me;
		if (last[unit] == 0 || test_random(&state) % 3 == 0) {
			last[unit] = (uint8_t)(1 + test_random(&state) % 255);
			memset(buffer, last[unit], UNIT);
			cr_assert_eq(bole_block_program(cache, unit * UNIT, buffer, UNIT), BOLE_OK);
		}
		memset(wanted, last[unit], UNIT);
		cr_assert_eq(bole_block_read(cache, unit * UNIT, buffer, UNIT), BOLE_OK);
		cr_assert_arr_eq(buffer, wanted, UNIT);
	}
	return NULL;
}

Test(block_cache, never_shows_an_old_byte_to_concurrent_users)
{
	pthread_t threads[THREADS];

	disk.delay_us = 20;
	for (uintptr_t i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, owner, (void *)i), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}
