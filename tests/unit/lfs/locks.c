/* SPDX-License-Identifier: ISC */
/* Locks, and what a pointer is. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "bole/lfs.h"
#include "support/platform.h"

static struct test_platform test;
static struct bole_store *store;
static struct bole_repo repo;
static struct bole_lfs_lock lock;

static void open_all(void)
{
	test_platform_init(&test, 1);
	test.wall = 1700000000;
	cr_assert_eq(bole_memory_store_open(&test.base, &test.alloc, &store), BOLE_OK);
	cr_assert_eq(bole_repo_create(store, "r", BOLE_HASH_SHA1, "refs/heads/main", &repo),
	             BOLE_OK);
}

static void close_all(void)
{
	cr_assert_eq(bole_store_close(store), BOLE_OK);
	test_platform_release(&test);
}

static enum bole_status take(const char *path, const char *owner)
{
	memset(&lock, 0, sizeof lock);
	snprintf(lock.path, sizeof lock.path, "%s", path);
	snprintf(lock.owner, sizeof lock.owner, "%s", owner);
	return bole_lfs_lock_create(&test.base, &test.alloc, store, repo.id, &lock);
}

static enum bole_status drop(const char *id)
{
	return bole_lfs_lock_remove(store, repo.id, &test.alloc, id);
}

Test(lfs_locks, a_path_has_one_lock_and_its_id_opens_no_other)
{
	struct bole_lfs_lock seen;
	char id[BOLE_LFS_LOCK_ID_MAX];

	open_all();
	cr_assert_eq(take("a/b.bin", "alice"), BOLE_OK);
	cr_assert_eq(lock.locked_s, 1700000000);
	memcpy(id, lock.id, sizeof id);
	cr_assert_eq(take("a/b.bin", "bob"), BOLE_E_EXISTS);
	cr_assert_str_eq(lock.owner, "alice");
	cr_assert_str_eq(lock.id, id);
	cr_assert_eq(bole_lfs_lock_by_id(store, repo.id, &test.alloc, id, &seen), BOLE_OK);
	cr_assert_str_eq(seen.path, "a/b.bin");
	cr_assert_eq(bole_lfs_lock_by_path(store, repo.id, &test.alloc, "a/b.bin", &seen), BOLE_OK);
	cr_assert_str_eq(seen.id, id);
	cr_assert_eq(bole_lfs_lock_by_path(store, repo.id, &test.alloc, "a/b", &seen),
	             BOLE_E_NOT_FOUND);
	cr_assert_eq(drop(id), BOLE_OK);
	cr_assert_eq(drop(id), BOLE_E_NOT_FOUND);
	cr_assert_eq(take("a/b.bin", "bob"), BOLE_OK);
	cr_assert_str_neq(lock.id, id);
	cr_assert_eq(drop(id), BOLE_E_NOT_FOUND, "an old id");
	cr_assert_eq(bole_lfs_lock_by_id(store, repo.id, &test.alloc, id, &seen), BOLE_E_NOT_FOUND);
	cr_assert_eq(drop(""), BOLE_E_NOT_FOUND);
	cr_assert_eq(drop("zz"), BOLE_E_NOT_FOUND);
	cr_assert_eq(take("", "bob"), BOLE_E_INVALID);
	close_all();
}

Test(lfs_locks, all_locks_are_listed_once_from_any_of_them_on)
{
	char last[BOLE_LFS_LOCK_ID_MAX] = "";
	unsigned count = 0;

	open_all();
	for (unsigned i = 0; i < 100; i++) {
		char path[32];

		snprintf(path, sizeof path, "file %u", i);
		cr_assert_eq(take(path, i % 3 == 0 ? "alice" : "bob"), BOLE_OK);
	}
	for (enum bole_status rc;
	     (rc = bole_lfs_lock_next(store, repo.id, &test.alloc, last, &lock)) != BOLE_END;) {
		cr_assert_eq(rc, BOLE_OK);
		cr_assert_lt(strcmp(last, lock.id), 0);
		memcpy(last, lock.id, sizeof last);
		count++;
	}
	cr_assert_eq(count, 100);
	cr_assert_eq(bole_lfs_lock_next(store, repo.id, &test.alloc, "no id", &lock),
	             BOLE_E_INVALID);
	close_all();
}

Test(lfs_locks, the_longest_path_and_name_fit)
{
	static char path[BOLE_LFS_PATH_MAX + 1];
	char owner[BOLE_LFS_OWNER_MAX];
	struct bole_lfs_lock seen;

	open_all();
	memset(path, 'p', sizeof path - 1);
	memset(owner, 'o', sizeof owner - 1);
	owner[sizeof owner - 1] = '\0';
	cr_assert_eq(take(path, owner), BOLE_OK);
	cr_assert_eq(bole_lfs_lock_by_path(store, repo.id, &test.alloc, path, &seen), BOLE_OK);
	cr_assert_str_eq(seen.path, path);
	cr_assert_str_eq(seen.owner, owner);
	close_all();
}

#define ID "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"

Test(lfs_pointer, a_pointer_is_recognised_and_little_else)
{
	static const struct {
		const char *text;
		bool is;
	} rows[] = {
	        {"version https://git-lfs.github.com/spec/v1\noid sha256:" ID "\nsize 12345\n",
	         true},
	        {"version https://git-lfs.github.com/spec/v1\next-0-foo sha256:" ID
	         "\noid sha256:" ID "\nsize 12345\n",
	         true},
	        {"version http://git-media.io/v/2\noid sha256:" ID "\nsize 12345\n", true},
	        {"version https://git-lfs.github.com/spec/v9\noid sha256:" ID "\nsize 1\n", false},
	        {"version https://git-lfs.github.com/spec/v1\noid sha256:" ID "\nsize 1", false},
	        {"version https://git-lfs.github.com/spec/v1\noid sha256:" ID "\n", false},
	        {"version https://git-lfs.github.com/spec/v1\nsize 5\n", false},
	        {"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 5\n", false},
	        {"version https://git-lfs.github.com/spec/v1\noid sha256:" ID "\nsize -5\n", false},
	        {"version https://git-lfs.github.com/spec/v1\noid sha256:" ID
	         "\nsize 99999999999999999999\n",
	         false},
	        {"oid sha256:" ID "\nsize 5\nversion https://git-lfs.github.com/spec/v1\n", false},
	        {"", false},
	        {"hello\n", false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct bole_oid oid;
		uint64_t size = 0;

		cr_assert_eq(bole_lfs_pointer_parse(bole_bytes_z(rows[i].text), &oid, &size),
		             rows[i].is, "row %zu", i);
		if (rows[i].is)
			cr_assert_eq(size, 12345);
	}
}
