/* SPDX-License-Identifier: ISC */
/* Sorted runs under ThreadSanitizer: readers look up and go through runs while others write new
 * ones and give up old ones; all share a cache of a few pages, fences and filters that load when
 * they are first needed, and a few KiB of records. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bole/devices.h"
#include "flash/index/cache.h"
#include "flash/index/objects.h"
#include "flash/index/run.h"
#include "flash/log/tx.h"
#include "support/platform.h"
#include "support/suite_help.h"

enum { WRITERS = 2, READERS = 4, ROUNDS = 40, ROWS = 3000, ASKS = 300, WIDTH = 12 };

static const struct flash_run_shape shape = {.width = WIDTH, .key_len = 11, .search_len = 6};
static struct test_platform test;
static struct bole_block *device;
static struct flash_volume *v;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct flash_run *now[WRITERS];
static uint64_t now_seed[WRITERS];
static _Atomic unsigned writers_left = WRITERS;

/* Rows of a seed: their prefixes count up, the rest is made of both. */
static void row_of(uint64_t seed, uint32_t i, uint8_t *row)
{
	uint64_t state = seed * 1000003 + i;

	test_random_bytes(&state, row, WIDTH);
	memset(row, 0, 2);
	for (int b = 0; b < 4; b++)
		row[2 + b] = (uint8_t)(i * 3 >> (24 - 8 * b));
}

static struct flash_run *make(uint64_t seed)
{
	struct flash_run_builder b;
	struct flash_run *run;
	uint8_t row[WIDTH];

	OK(bole_flash_run_begin(&b, v, &shape, ROWS, seed % 2 == 0, FLASH_FOR_CHECKPOINT));
	for (uint32_t i = 0; i < ROWS; i++) {
		row_of(seed, i, row);
		OK(bole_flash_run_append(&b, row, 1));
	}
	OK(bole_flash_run_finish(&b, &run));
	if (seed % 3 == 0)
		return run;
	/* As after a mount: nothing is loaded. */
	size_t len = bole_flash_run_encoded(run);
	uint8_t *buf = malloc(len);
	bole_flash_run_encode(run, buf);
	bole_flash_run_release(run);
	OK(bole_flash_run_decode(v, (struct bole_bytes){buf, len}, &run, &len));
	free(buf);
	return run;
}

static void *write_runs(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;

	for (uint64_t round = 1; round <= ROUNDS; round++) {
		uint64_t seed = round * WRITERS + me;
		struct flash_run *run = make(seed);
		pthread_mutex_lock(&lock);
		struct flash_run *old = now[me];
		now[me] = run;
		now_seed[me] = seed;
		pthread_mutex_unlock(&lock);
		if (old != NULL)
			bole_flash_run_release(old);
	}
	writers_left--;
	return NULL;
}

static void ask(struct flash_run *run, uint64_t seed, uint32_t i)
{
	struct flash_run_match m;
	uint8_t row[WIDTH];
	uint32_t at;

	row_of(seed, i, row);
	uint64_t hash = bole_flash_run_hash(v, row, 6);
	OK(bole_flash_run_find(run, row, hash, &m));
	check_eq(m.row, i);
	check(memcmp(m.rows, row, WIDTH) == 0);
	row[5] ^= 1; /* threes are never neighbours */
	hash = bole_flash_run_hash(v, row, 6);
	check_eq(bole_flash_run_find(run, row, hash, &m), BOLE_E_NOT_FOUND);
	OK(bole_flash_run_seek(run, row, 6, &at));
	check(at == i || at == i + 1);
}

static void records(uint64_t n)
{
	uint8_t record[200];
	uint8_t got[200];
	size_t len = 20 + n % 180;

	memset(record, (int)(n % 251), len);
	if (bole_flash_objects_get(v->objects, n, (uint32_t)n, got, len))
		check(memcmp(record, got, len) == 0);
	else
		bole_flash_objects_put(v->objects, n, (uint32_t)n, record, len, n % 2 == 0);
}

static void *read_runs(void *arg)
{
	uint64_t random = (uint64_t)(uintptr_t)arg;

	while (atomic_load(&writers_left) != 0) {
		unsigned which = (unsigned)(test_random(&random) % WRITERS);
		pthread_mutex_lock(&lock);
		struct flash_run *run = now[which];
		uint64_t seed = now_seed[which];
		if (run != NULL)
			bole_flash_run_retain(run);
		pthread_mutex_unlock(&lock);
		if (run == NULL)
			continue;
		for (int i = 0; i < ASKS; i++) {
			ask(run, seed, (uint32_t)(test_random(&random) % ROWS));
			records(test_random(&random) % 300);
		}
		struct flash_run_cursor c;
		const uint8_t *row;
		uint8_t want[WIDTH];
		bole_flash_run_cursor_init(&c, run, 2);
		for (uint32_t i = 0; i < ROWS; i++) {
			OK(bole_flash_run_next(&c, &row));
			row_of(seed, i, want);
			check(memcmp(row, want, WIDTH) == 0);
		}
		bole_flash_run_cursor_close(&c);
		bole_flash_run_release(run);
	}
	return NULL;
}

int main(void)
{
	const struct bole_flash_open_options few = {.cache_bytes = 48 << 10,
	                                            .filter_bytes_max = 5000};
	pthread_t thread[WRITERS + READERS];

	test_platform_init(&test, 1);
	OK(bole_block_ram_open(&test.alloc, 64 << 20, 4096, &device));
	OK(bole_flash_volume_format(device, &test.base, NULL));
	OK(bole_flash_volume_open(device, &test.base, &test.alloc, &few, &v));
	for (unsigned i = 0; i < WRITERS + READERS; i++)
		check_eq(pthread_create(&thread[i], NULL, i < WRITERS ? write_runs : read_runs,
		                        (void *)(uintptr_t)i),
		         0);
	for (unsigned i = 0; i < WRITERS + READERS; i++)
		pthread_join(thread[i], NULL);
	for (unsigned i = 0; i < WRITERS; i++)
		bole_flash_run_release(now[i]);
	OK(bole_flash_volume_close(v));
	bole_block_close(device);
	test_platform_release(&test);
	return 0;
}
