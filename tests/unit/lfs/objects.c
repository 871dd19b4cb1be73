/* SPDX-License-Identifier: ISC */
/* Large files in a store: what is acknowledged is there, what is not is not, over failures, power
 * cuts and restarts. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/memory.h"
#include "bole/block_sim.h"
#include "bole/lfs.h"
#include "support/platform.h"

enum { CHUNK = BOLE_LFS_CHUNK_BYTES };

struct scene {
	struct test_platform test;
	struct bole_block *device; /* NULL: in memory */
	struct bole_store *store;
	struct bole_repo repo;
};

static void mount(struct scene *s)
{
	struct bole_flash_open_options options = {.no_background = true};

	cr_assert_eq(bole_flash_open(s->device, &s->test.base, &s->test.alloc, &options, &s->store),
	             BOLE_OK);
}

static void unmount(struct scene *s)
{
	(void)bole_store_close(s->store);
	s->store = NULL;
}

/* geometry NULL: a store in memory. */
static void scene_open(struct scene *s, const char *geometry, uint64_t size)
{
	memset(s, 0, sizeof *s);
	test_platform_init(&s->test, 1);
	s->test.quiet = true;
	if (geometry == NULL) {
		cr_assert_eq(bole_memory_store_open(&s->test.base, &s->test.alloc, &s->store),
		             BOLE_OK);
	} else {
		struct bole_flash_format_options format = {.label = "lfs"};
		struct bole_block_sim_options options;

		cr_assert_eq(bole_block_sim_geometry(geometry, &options), BOLE_OK);
		options.size_bytes = size;
		options.seed = 5;
		cr_assert_eq(bole_block_sim_open(&s->test.alloc, &options, &s->device), BOLE_OK);
		cr_assert_eq(bole_flash_format(s->device, &s->test.base, &format), BOLE_OK);
		mount(s);
	}
	cr_assert_eq(bole_repo_create(s->store, "r", BOLE_HASH_SHA1, "refs/heads/main", &s->repo),
	             BOLE_OK);
}

static void scene_close(struct scene *s)
{
	unmount(s);
	bole_block_close(s->device);
	test_platform_release(&s->test);
}

static uint8_t content[3 * CHUNK];

static void fill_content(uint64_t seed)
{
	test_random_bytes(&seed, content, sizeof content);
}

static struct bole_oid id_of(size_t len)
{
	struct bole_hash hash;
	struct bole_oid oid;

	bole_hash_init(&hash, BOLE_HASH_SHA256);
	bole_hash_update(&hash, content, len);
	bole_hash_final(&hash, &oid);
	return oid;
}

static enum bole_status upload(struct scene *s, const struct bole_oid *oid, size_t len, size_t step)
{
	struct bole_lfs_upload *up;
	enum bole_status rc =
	        bole_lfs_upload_open(&s->test.base, &s->test.alloc, s->store, s->repo.id, oid, &up);

	if (rc != BOLE_OK)
		return rc;
	for (size_t at = 0; at < len && rc == BOLE_OK; at += step)
		rc = bole_lfs_upload_write(up, content + at, len - at < step ? len - at : step);
	if (rc == BOLE_OK)
		return bole_lfs_upload_finish(up);
	bole_lfs_upload_abort(up);
	return rc;
}

static enum bole_status find(struct scene *s, const struct bole_oid *oid,
                             struct bole_lfs_object *out)
{
	return bole_lfs_find(s->store, s->repo.id, &s->test.alloc, oid, out);
}

/* All of it is there, from every position asked for. */
static void check_content(struct scene *s, const struct bole_oid *oid, size_t len)
{
	struct bole_lfs_object object;

	cr_assert_eq(find(s, oid, &object), BOLE_OK);
	cr_assert_eq(object.size_bytes, len);
	cr_assert_not(object.removed);
	for (size_t at = 0; at < len;) {
		struct bole_bytes piece;
		uint8_t *block;
		size_t block_len;

		cr_assert_eq(bole_lfs_read(s->store, s->repo.id, &s->test.alloc, &object, at,
		                           &piece, &block, &block_len),
		             BOLE_OK);
		cr_assert_gt(piece.len, 0);
		cr_assert_leq(piece.len, len - at);
		cr_assert_arr_eq(piece.ptr, content + at, piece.len);
		at += piece.len > 7 && at == 0 ? 7 : piece.len; /* once from within */
		bole_alloc_free(&s->test.alloc, block, block_len, 1);
	}
}

static uint64_t sweep(struct scene *s)
{
	uint64_t removed;

	cr_assert_eq(bole_lfs_sweep(s->store, &s->test.alloc, &removed), BOLE_OK);
	return removed;
}

static void check_sizes(struct scene *s)
{
	static const size_t sizes[] = {0,         1,         CHUNK - 1,     CHUNK,
	                               CHUNK + 1, 2 * CHUNK, sizeof content};

	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct bole_oid oid = id_of(sizes[i]);

		cr_assert_eq(upload(s, &oid, sizes[i], 100000), BOLE_OK, "size %zu", sizes[i]);
		check_content(s, &oid, sizes[i]);
		cr_assert_eq(upload(s, &oid, sizes[i], CHUNK), BOLE_OK); /* again */
	}
	cr_assert_eq(sweep(s), 0);
	if (s->device != NULL) {
		unmount(s);
		mount(s);
	}
	struct bole_oid at;
	struct bole_lfs_object object;
	size_t count = 0;
	for (enum bole_status rc;
	     (rc = bole_lfs_next(s->store, s->repo.id, &s->test.alloc, count == 0 ? NULL : &at,
	                         &object)) != BOLE_END;) {
		cr_assert_eq(rc, BOLE_OK);
		cr_assert(count == 0 || bole_oid_compare(&at, &object.oid) < 0);
		at = object.oid;
		count++;
		check_content(s, &object.oid, (size_t)object.size_bytes);
	}
	cr_assert_eq(count, sizeof sizes / sizeof sizes[0]);
}

Test(lfs_objects, any_size_comes_back_as_it_went_in)
{
	static const char *const geometries[] = {NULL, "virtio", "nor4k", "slcnand"};
	struct scene s;

	fill_content(1);
	for (size_t i = 0; i < sizeof geometries / sizeof geometries[0]; i++) {
		scene_open(&s, geometries[i], 32 << 20);
		check_sizes(&s);
		scene_close(&s);
	}
}

Test(lfs_objects, another_content_is_refused_and_leaves_nothing)
{
	struct bole_lfs_object object;
	struct bole_lfs_upload *up;
	struct scene s;

	scene_open(&s, NULL, 0);
	fill_content(2);
	struct bole_oid oid = id_of(2 * CHUNK + 5);
	cr_assert_eq(upload(&s, &oid, 2 * CHUNK + 4, 65536), BOLE_E_INVALID);
	cr_assert_eq(upload(&s, &oid, 2 * CHUNK + 6, 65536), BOLE_E_INVALID);
	cr_assert_eq(upload(&s, &oid, 0, 65536), BOLE_E_INVALID);
	cr_assert_eq(find(&s, &oid, &object), BOLE_E_NOT_FOUND);
	cr_assert_eq(
	        bole_lfs_upload_open(&s.test.base, &s.test.alloc, s.store, s.repo.id, &oid, &up),
	        BOLE_OK);
	cr_assert_eq(bole_lfs_upload_write(up, content, 2 * CHUNK + 1), BOLE_OK);
	bole_lfs_upload_abort(up);
	cr_assert_eq(sweep(&s), 0);
	scene_close(&s);
}

Test(lfs_objects, what_was_removed_says_so_and_may_come_again)
{
	struct bole_lfs_object object;
	struct scene s;

	scene_open(&s, NULL, 0);
	fill_content(3);
	struct bole_oid oid = id_of(CHUNK + 9);
	cr_assert_eq(bole_lfs_remove(s.store, s.repo.id, &s.test.alloc, &oid, true),
	             BOLE_E_NOT_FOUND);
	for (int round = 0; round < 3; round++) {
		cr_assert_eq(upload(&s, &oid, CHUNK + 9, CHUNK), BOLE_OK);
		check_content(&s, &oid, CHUNK + 9);
		cr_assert_eq(bole_lfs_remove(s.store, s.repo.id, &s.test.alloc, &oid, true),
		             BOLE_OK);
		cr_assert_eq(find(&s, &oid, &object), BOLE_OK);
		cr_assert(object.removed);
		cr_assert_eq(sweep(&s), 0);
	}
	cr_assert_eq(bole_lfs_remove(s.store, s.repo.id, &s.test.alloc, &oid, true),
	             BOLE_E_NOT_FOUND);
	cr_assert_eq(bole_lfs_remove(s.store, s.repo.id, &s.test.alloc, &oid, false), BOLE_OK);
	cr_assert_eq(find(&s, &oid, &object), BOLE_E_NOT_FOUND);
	scene_close(&s);
}

Test(lfs_objects, repositories_share_nothing_and_take_theirs_with_them)
{
	struct bole_lfs_object object;
	struct bole_repo other;
	struct scene s;

	scene_open(&s, "virtio", 32 << 20);
	fill_content(4);
	struct bole_oid oid = id_of(CHUNK);
	cr_assert_eq(upload(&s, &oid, CHUNK, CHUNK), BOLE_OK);
	cr_assert_eq(bole_repo_create(s.store, "o", BOLE_HASH_SHA256, "refs/heads/main", &other),
	             BOLE_OK);
	cr_assert_eq(bole_lfs_find(s.store, other.id, &s.test.alloc, &oid, &object),
	             BOLE_E_NOT_FOUND);
	cr_assert_eq(bole_repo_rename(s.store, s.repo.id, "renamed"), BOLE_OK);
	check_content(&s, &oid, CHUNK);
	cr_assert_eq(bole_repo_remove(s.store, s.repo.id), BOLE_OK);
	cr_assert_eq(bole_repo_create(s.store, "r", BOLE_HASH_SHA1, "refs/heads/main", &s.repo),
	             BOLE_OK);
	cr_assert_eq(find(&s, &oid, &object), BOLE_E_NOT_FOUND);
	scene_close(&s);
}

/* Goal: power may go at any operation of an upload, or of a removal: afterwards the object is whole
 * or not there, and it is there if that was said; after a sweep nothing else is left. */
Test(lfs_objects, a_power_cut_at_any_operation_leaves_all_or_nothing)
{
	static const size_t len = 2 * CHUNK + 100;
	struct scene base;
	bool more = true;

	scene_open(&base, "virtio", 16 << 20);
	fill_content(5);
	struct bole_oid oid = id_of(len);
	unmount(&base);
	for (uint64_t n = 1; more; n++) {
		struct bole_lfs_object object;
		struct scene s = base;

		cr_assert_eq(bole_block_sim_clone(&base.test.alloc, base.device, &s.device),
		             BOLE_OK);
		bole_block_sim_seed(s.device, n);
		s.test.base.alloc = &s.test.alloc;
		test_platform_init(&s.test, n);
		s.test.quiet = true;
		mount(&s);
		bole_block_sim_cut_at(s.device, n, (enum bole_block_sim_tear)(n % 3));
		enum bole_status rc = upload(&s, &oid, len, CHUNK);
		enum bole_status gone = BOLE_E_IO;
		if (rc == BOLE_OK)
			gone = bole_lfs_remove(s.store, s.repo.id, &s.test.alloc, &oid, false);
		unmount(&s);
		more = bole_block_sim_is_off(s.device);
		bole_block_sim_cut_at(s.device, 0, BOLE_SIM_TEAR_RANDOM);
		bole_block_sim_power_on(s.device);
		mount(&s);
		(void)sweep(&s);
		cr_assert_eq(sweep(&s), 0);
		enum bole_status found = find(&s, &oid, &object);
		cr_assert(found == BOLE_OK || found == BOLE_E_NOT_FOUND);
		if (found == BOLE_OK)
			check_content(&s, &oid, len);
		if (gone == BOLE_OK)
			cr_assert_eq(found, BOLE_E_NOT_FOUND, "cut %lu", (unsigned long)n);
		cr_assert_eq(upload(&s, &oid, len, CHUNK), BOLE_OK);
		check_content(&s, &oid, len);
		unmount(&s);
		bole_block_close(s.device);
		test_platform_release(&s.test);
	}
	bole_block_close(base.device);
	test_platform_release(&base.test);
}

/* Goal: an upload that was acknowledged survives a cut right after it. */
Test(lfs_objects, what_was_acknowledged_survives_a_cut)
{
	struct scene s;

	scene_open(&s, "sd", 32 << 20);
	fill_content(6);
	for (size_t i = 0; i < 8; i++) {
		size_t len = i * 150000 + 1;
		struct bole_oid oid = id_of(len);

		cr_assert_eq(upload(&s, &oid, len, CHUNK), BOLE_OK);
		bole_block_sim_cut_now(s.device, BOLE_SIM_TEAR_DROP);
		unmount(&s);
		bole_block_sim_power_on(s.device);
		mount(&s);
		check_content(&s, &oid, len);
	}
	scene_close(&s);
}

Test(lfs_objects, no_memory_is_an_answer_and_leaves_nothing)
{
	struct bole_lfs_object object;
	struct scene s;
	bool done = false;

	scene_open(&s, NULL, 0);
	fill_content(7);
	struct bole_oid oid = id_of(CHUNK + 1);
	for (uint64_t n = 1; !done; n++) {
		s.test.fail_at = atomic_load(&s.test.grows) + n;
		enum bole_status rc = upload(&s, &oid, CHUNK + 1, CHUNK);
		done = atomic_load(&s.test.grows) < s.test.fail_at;
		s.test.fail_at = 0;
		cr_assert(rc == BOLE_OK || rc == BOLE_E_NO_MEMORY);
		if (rc == BOLE_OK) {
			check_content(&s, &oid, CHUNK + 1);
			cr_assert_eq(
			        bole_lfs_remove(s.store, s.repo.id, &s.test.alloc, &oid, false),
			        BOLE_OK);
		} else {
			cr_assert_eq(find(&s, &oid, &object), BOLE_E_NOT_FOUND);
		}
		(void)sweep(&s);
	}
	scene_close(&s);
}

Test(lfs_objects, a_full_volume_refuses_and_still_removes)
{
	struct bole_store_stats stats;
	struct bole_lfs_object object;
	enum bole_status rc = BOLE_OK;
	struct bole_oid last;
	struct scene s;
	unsigned count = 0;

	scene_open(&s, "virtio", 16 << 20);
	while (rc == BOLE_OK) {
		fill_content(100 + count);
		struct bole_oid oid = id_of(sizeof content);

		rc = upload(&s, &oid, sizeof content, CHUNK);
		if (rc == BOLE_OK) {
			last = oid;
			count++;
		} else {
			cr_assert_eq(find(&s, &oid, &object), BOLE_E_NOT_FOUND);
		}
		cr_assert_lt(count, 12);
	}
	cr_assert_eq(rc, BOLE_E_NO_SPACE);
	cr_assert_gt(count, 3);
	cr_assert_eq(sweep(&s), 0);
	fill_content(100 + count - 1);
	check_content(&s, &last, sizeof content);
	cr_assert_eq(bole_lfs_remove(s.store, s.repo.id, &s.test.alloc, &last, false), BOLE_OK);
	cr_assert_eq(bole_store_stats(s.store, &stats), BOLE_OK);
	cr_assert_eq(upload(&s, &last, sizeof content, CHUNK), BOLE_OK);
	scene_close(&s);
}
