/* SPDX-License-Identifier: ISC */
/* Concurrent committers share a flush. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>

#include "bole/devices.h"
#include "bole/store.h"
#include "support/platform.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

enum { WRITERS = 8, COMMITS = 20, FLUSH_NS = 2000000 };

static struct test_platform test;
static struct bole_store *store;
static uint32_t repo_id;
static _Atomic unsigned left;

/* A RAM device whose flush takes its time. */
struct slow_block {
	struct bole_block block;
	struct bole_block *ram;
};

static enum bole_status slow_read(struct bole_block *b, uint64_t off, void *dst, size_t len)
{
	return bole_block_read(((struct slow_block *)b)->ram, off, dst, len);
}

static enum bole_status slow_programv(struct bole_block *b, uint64_t off,
                                      const struct bole_bytes *pieces, size_t count)
{
	return bole_block_programv(((struct slow_block *)b)->ram, off, pieces, count);
}

static enum bole_status slow_flush(struct bole_block *b)
{
	(void)b;
	test.base.ops->sleep_until(&test.base, test.base.ops->now_ns(&test.base) + FLUSH_NS);
	return BOLE_OK;
}

static const struct bole_block_ops slow_ops = {
        .read = slow_read, .programv = slow_programv, .flush = slow_flush};

static void write_some(void *arg)
{
	struct store_suite suite = {.store = store, .platform = &test.base};
	unsigned writer = (unsigned)(uintptr_t)arg;
	char name[40];

	(void)snprintf(name, sizeof name, "refs/heads/w%u", writer);
	for (unsigned i = 0; i < COMMITS; i++) {
		struct suite_blob blob;
		suite_blob_make(&blob, BOLE_HASH_SHA1, writer * 1000 + i);
		suite_publish(&suite, repo_id, &blob, name);
	}
	atomic_fetch_sub(&left, 1);
}

Test(flash_group, concurrent_commits_share_a_flush)
{
	struct slow_block slow = {.block.ops = &slow_ops};
	struct bole_store_stats before;
	struct bole_store_stats after;
	struct bole_repo repo;

	test_platform_init(&test, 1);
	OK(bole_block_ram_open(&test.alloc, 8 << 20, 4096, &slow.ram));
	slow.block.info = slow.ram->info;
	slow.block.info.can_discard = false;
	OK(bole_flash_format(&slow.block, &test.base, NULL));
	OK(bole_flash_open(&slow.block, &test.base, &test.alloc, NULL, &store));
	OK(bole_repo_create(store, "r", BOLE_HASH_SHA1, "refs/heads/a", &repo));
	repo_id = repo.id;
	atomic_store(&left, WRITERS);
	OK(bole_store_stats(store, &before));
	for (uintptr_t i = 0; i < WRITERS; i++)
		OK(test.base.ops->fiber_start(&test.base, "writer", write_some, (void *)i, 0));
	while (atomic_load(&left) != 0)
		test.base.ops->sleep_until(&test.base,
		                           test.base.ops->now_ns(&test.base) + FLUSH_NS);
	OK(bole_store_stats(store, &after));
	printf("%llu commits, %llu flushes\n", (unsigned long long)(after.commits - before.commits),
	       (unsigned long long)(after.flushes - before.flushes));
	check_eq(after.commits - before.commits, WRITERS * COMMITS);
	cr_assert_lt(after.flushes - before.flushes, WRITERS * COMMITS / 2);
	OK(bole_store_close(store));
	bole_block_close(slow.ram);
	test_platform_release(&test);
}
