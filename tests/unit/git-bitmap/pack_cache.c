/* SPDX-License-Identifier: ISC */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "git/fetch/filter.h"
#include "git/negotiate.h"
#include "git/pack/cache.h"
#include "support/platform.h"

static struct test_platform test;
static struct bole_pack_cache *cache;
static uint32_t changes; /* as it was when what is kept was begun */

static void keep(const uint8_t *key, size_t len)
{
	struct bole_buffer bytes;

	bole_buffer_init(&bytes, &test.alloc, SIZE_MAX);
	cr_assert_not_null(bole_buffer_reserve(&bytes, len));
	memset(bytes.ptr, key[0], len);
	bytes.len = len;
	bole_pack_cache_keep(cache, key[0], changes, key, 1, &bytes);
	bole_buffer_release(&bytes);
}

static void *wait_for_it(void *key)
{
	return bole_pack_cache_get(cache, key);
}

Test(pack_cache, who_comes_second_gets_what_the_first_made)
{
	uint8_t key[PACK_CACHE_KEY_BYTES] = {7};
	pthread_t thread;
	void *got;

	test_platform_init(&test, 1);
	cr_assert_eq(bole_pack_cache_open(&test.base, &test.alloc, 1 << 20, &cache), BOLE_OK);
	cr_assert_null(bole_pack_cache_get(cache, key));
	pthread_create(&thread, NULL, wait_for_it, key);
	keep(key, 1000);
	pthread_join(thread, &got);
	struct bole_cached_pack *pack = got;
	cr_assert_not_null(pack);
	cr_assert_eq(pack->bytes.len, 1000);
	cr_assert_eq(pack->bytes.ptr[999], 7);
	bole_cached_pack_release(cache, pack);
	/* One that is not made in time is not waited for. */
	key[0] = 8;
	cr_assert_null(bole_pack_cache_get(cache, key));
	cr_assert_null(bole_pack_cache_get(cache, key));
	bole_pack_cache_forget(cache, key);
	bole_pack_cache_close(cache);
	test_platform_release(&test);
}

Test(pack_cache, it_stays_within_its_bytes)
{
	uint8_t key[PACK_CACHE_KEY_BYTES] = {0};
	unsigned kept = 0;

	test_platform_init(&test, 1);
	cr_assert_eq(bole_pack_cache_open(&test.base, &test.alloc, 1 << 20, &cache), BOLE_OK);
	for (unsigned i = 0; i < 200; i++) {
		key[0] = (uint8_t)i;
		keep(key, 60000);
		cr_assert_leq(test.bytes, (1 << 20) + 200000);
	}
	for (unsigned i = 0; i < 200; i++) {
		key[0] = (uint8_t)i;
		struct bole_cached_pack *pack = bole_pack_cache_get(cache, key);
		kept += pack != NULL;
		if (pack != NULL)
			cr_assert_eq(pack->bytes.ptr[0], (uint8_t)i);
		else
			bole_pack_cache_forget(cache, key);
		bole_cached_pack_release(cache, pack);
	}
	cr_assert_geq(kept, 10);
	cr_assert_leq(kept, 18);
	bole_pack_cache_close(cache);
	test_platform_release(&test);
}

/* Goal: tags that came along with what was sent are not sent again once they are deleted. */
Test(pack_cache, packs_go_when_references_of_their_repository_change)
{
	uint8_t one[PACK_CACHE_KEY_BYTES] = {1};
	uint8_t two[PACK_CACHE_KEY_BYTES] = {2};

	test_platform_init(&test, 1);
	cr_assert_eq(bole_pack_cache_open(&test.base, &test.alloc, 1 << 20, &cache), BOLE_OK);
	keep(one, 1000);
	keep(two, 1000);
	bole_pack_cache_changed(cache, 1);
	cr_assert_null(bole_pack_cache_get(cache, one));
	bole_pack_cache_forget(cache, one);
	struct bole_cached_pack *pack = bole_pack_cache_get(cache, two);
	cr_assert_not_null(pack);
	bole_pack_cache_changed(cache, 2);
	cr_assert_eq(pack->bytes.ptr[0], 2); /* who has it may still send it */
	bole_cached_pack_release(cache, pack);
	keep(two, 1000); /* made of what there was before */
	cr_assert_null(bole_pack_cache_get(cache, two));
	changes = bole_pack_cache_changes(cache, 2);
	keep(two, 1000);
	pack = bole_pack_cache_get(cache, two);
	cr_assert_not_null(pack);
	bole_cached_pack_release(cache, pack);
	bole_pack_cache_close(cache);
	test_platform_release(&test);
}

/* Goal: whatever changes the pack changes the key. */
Test(pack_cache, requests_that_differ_have_keys_that_differ)
{
	struct bole_snapshot snapshot = {.repo = {.algo = test_algo()}};
	struct bole_oid ids[3] = {{.algo = test_algo(), .bytes = {1}},
	                          {.algo = test_algo(), .bytes = {2}},
	                          {.algo = test_algo(), .bytes = {3}}};
	struct bole_id_list grafts = {.ids = ids, .count = 1};
	struct bole_filter none, blobless, shallow;
	uint8_t keys[12][PACK_CACHE_KEY_BYTES];
	size_t count = 0;

	bole_filter_init(&none);
	blobless = none;
	blobless.types = 1 << BOLE_OBJECT_TREE;
	shallow = none;
	shallow.tree_depth = 1;
	struct bole_reach jobs[] = {
	        {.want_count = 1},
	        {.want_count = 2},
	        {.want_count = 1, .have_count = 1},
	        {.want_count = 1, .thin = true},
	        {.want_count = 1, .ofs_delta = true},
	        {.want_count = 1, .include_tags = true},
	        {.want_count = 1, .grafts = &grafts},
	        {.want_count = 1, .filter = &none},
	        {.want_count = 1, .filter = &blobless},
	        {.want_count = 1, .filter = &shallow},
	};
	for (size_t i = 0; i < sizeof jobs / sizeof jobs[0]; i++) {
		jobs[i].snapshot = &snapshot;
		jobs[i].wants = ids;
		jobs[i].haves = ids + 2;
		cr_assert(bole_pack_cache_key(&jobs[i], 1, keys[count++]));
	}
	cr_assert(bole_pack_cache_key(&jobs[0], 2, keys[count++]));
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < i; k++)
			cr_assert_neq(memcmp(keys[i], keys[k], sizeof keys[i]), 0, "%zu %zu", i, k);
	blobless.sparse_len = 3;
	cr_assert_not(bole_pack_cache_key(&jobs[8], 1, keys[0]));
}
