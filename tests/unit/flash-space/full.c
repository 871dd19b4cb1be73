/* SPDX-License-Identifier: ISC */
/* Why a full volume can always free space (docs/ARCHITECTURE.md), checked after every step: a
 * checkpoint can be written, and a merge of the largest index. So references, deletes, marks and
 * removals of repositories work at once, however many repositories there are and however small
 * their objects. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bole/block_sim.h"
#include "flash/index/levels.h"
#include "flash/log/tx.h"
#include "flash/space/mark.h"
#include "support/platform.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

enum { REPOS_MAX = 64, OBJECTS_MAX = 1 << 18, TX_OBJECTS = 64, LEN_MAX = 8000, ROUNDS = 4 };
/* What the last checkpoint took more than it gave. */
enum { SLACK = 2 };

/* Objects are numbered over all repositories; repo 0 = none has it. */
static struct {
	struct test_platform test;
	struct bole_block *device;
	struct flash_volume *v;
	struct bole_repo repo[REPOS_MAX];
	uint32_t repos;
	uint8_t where[OBJECTS_MAX]; /* number of its repository + 1 */
	uint32_t objects;           /* numbers so far */
	uint32_t len_max;
	uint64_t random;
	char step[80];
} full;

static uint32_t draw(uint32_t below)
{
	return (uint32_t)(test_random(&full.random) % below);
}

/* What the text says; the log's tail counts as what a checkpoint makes of it. */
static void check_reserve(void)
{
	struct flash_volume *v = full.v;

	bole_flash_lock(v);
	uint32_t checkpoint = bole_flash_floor(v, FLASH_FOR_MERGING);
	uint32_t merge = bole_flash_floor(v, FLASH_FOR_CLEANING);
	uint32_t there = v->free;
	for (uint32_t i = 0; i < v->segments; i++)
		there += bole_flash_segment_dead(v, i) && !bole_flash_pinned(v, i);
	uint32_t free = v->free;
	bole_flash_unlock(v);
	cr_assert_geq(free, checkpoint, "%s: %u free, a checkpoint wants %u", full.step, free,
	              checkpoint);
	cr_assert_geq(there + SLACK, merge, "%s: %u free or dead, checkpoint and merge want %u",
	              full.step, there, merge);
}

static struct bole_oid oid_of(uint32_t number)
{
	struct bole_oid oid = {.algo = BOLE_HASH_SHA1};
	uint64_t state = number + UINT64_C(1000003);

	test_random_bytes(&state, oid.bytes, 20);
	return oid;
}

static enum bole_status put(struct flash_tx *tx, uint32_t number)
{
	static uint8_t bytes[LEN_MAX];
	uint64_t state = number;
	struct bole_bytes piece = {bytes, 1 + test_random(&state) % full.len_max};
	struct bole_oid oid = oid_of(number);

	test_random_bytes(&state, bytes, piece.len);
	return bole_flash_tx_put(tx, &oid, BOLE_OBJECT_BLOB, &piece, 1);
}

/* Puts so many and drops so many in one transaction, and sets the reference. */
static enum bole_status change(uint32_t repo, uint32_t puts, uint32_t drops)
{
	uint32_t dropped[TX_OBJECTS];
	uint32_t done = 0;
	struct flash_tx *tx;
	size_t failed;
	struct bole_oid oid = oid_of(full.objects);
	struct bole_ref_update update = suite_set("refs/heads/a", &oid);

	enum bole_status rc = bole_flash_tx_begin(full.v, full.repo[repo].id, &tx);
	for (uint32_t i = 0; i < puts && rc == BOLE_OK; i++)
		rc = put(tx, full.objects + i);
	uint32_t start = full.objects == 0 ? 0 : draw(full.objects);
	for (uint32_t i = 0; i < full.objects && done < drops && rc == BOLE_OK; i++) {
		uint32_t n = (start + i) % full.objects;
		if (full.where[n] != repo + 1)
			continue;
		oid = oid_of(n);
		rc = bole_flash_tx_drop(tx, &oid);
		dropped[done++] = n;
	}
	oid = oid_of(full.objects);
	if (rc != BOLE_OK) {
		bole_flash_tx_abort(tx);
		return rc;
	}
	rc = bole_flash_tx_commit(tx, &update, 1, &failed);
	if (rc != BOLE_OK)
		return rc;
	memset(full.where + full.objects, (int)repo + 1, puts);
	full.objects += puts;
	for (uint32_t i = 0; i < done; i++)
		full.where[dropped[i]] = 0;
	return BOLE_OK;
}

static enum bole_status catalog(enum flash_request_kind kind, uint32_t repo)
{
	char name[32];
	struct flash_request request = {.kind = kind,
	                                .name = name,
	                                .algo = BOLE_HASH_SHA1,
	                                .head = "refs/heads/a",
	                                .repo = full.repo[repo].id};

	(void)snprintf(name, sizeof name, "r%u", repo);
	enum bole_status rc = bole_flash_submit(full.v, &request);
	if (rc == BOLE_OK && kind == FLASH_REQUEST_CREATE)
		full.repo[repo] = request.created;
	return rc;
}

static void must(enum bole_status rc, const char *what, uint32_t repo)
{
	(void)snprintf(full.step, sizeof full.step, "%s in repository %u, %u objects", what, repo,
	               full.objects);
	cr_assert_eq(rc, BOLE_OK, "%s: %s", full.step, bole_status_text(rc));
	check_reserve();
}

static void fill(void)
{
	enum bole_status rc = BOLE_OK;

	while (rc == BOLE_OK) {
		cr_assert_lt(full.objects + TX_OBJECTS, OBJECTS_MAX);
		rc = change(draw(full.repos), 1 + draw(TX_OBJECTS - 1), 0);
		(void)snprintf(full.step, sizeof full.step, "filling, %u objects", full.objects);
		check_reserve();
	}
	check_eq(rc, BOLE_E_NO_SPACE);
	for (uint32_t i = 0; i < 30; i++)
		(void)change(draw(full.repos), 1, 0);
	check_reserve();
}

static uint32_t count(uint32_t repo)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < full.objects; i++)
		n += full.where[i] == repo + 1;
	return n;
}

/* Two of three stay. */
static void mark(uint32_t repo)
{
	struct bole_mark_result result;
	struct flash_mark *m;
	struct bole_oid oid;
	bool fresh;

	must(bole_flash_mark_begin(full.v, full.repo[repo].id, &m), "a mark", repo);
	for (uint32_t i = 0; i < full.objects; i++) {
		oid = oid_of(i);
		if (full.where[i] != repo + 1)
			continue;
		if (i % 3 == 0)
			full.where[i] = 0;
		else
			must(bole_flash_mark_object(m, &oid, &fresh), "marking", repo);
	}
	check_eq(bole_flash_mark_root(m, &oid), BOLE_END);
	must(bole_flash_mark_end(m, &result), "a sweep", repo);
}

static void empty(uint32_t round)
{
	for (uint32_t i = 0; i < full.repos; i++)
		must(change(i, 0, 0), "a reference", i);
	for (uint32_t i = 0; i < full.repos; i++) {
		if (i % 4 == round % 4) {
			mark(i);
			continue;
		}
		uint32_t n = count(i) / 3;
		for (; n > TX_OBJECTS; n -= TX_OBJECTS)
			must(change(i, 0, TX_OBJECTS), "a delete", i);
		must(change(i, 0, n), "a delete", i);
	}
	uint32_t gone = round % full.repos;
	must(catalog(FLASH_REQUEST_REMOVE, gone), "a removal", gone);
	for (uint32_t i = 0; i < full.objects; i++)
		full.where[i] = full.where[i] == gone + 1 ? 0 : full.where[i];
	must(catalog(FLASH_REQUEST_CREATE, gone), "a new one", gone);
	for (uint32_t i = 0; i < full.repos; i++)
		for (uint32_t n = count(i) / 8; n > 0; n -= n < 16 ? n : 16)
			must(change(i, n < 16 ? n : 16, 0), "a push", i);
}

static void verify(void)
{
	struct flash_snapshot *s[REPOS_MAX];

	for (uint32_t i = 0; i < full.repos; i++)
		OK(bole_flash_snapshot_open(full.v, full.repo[i].id, &s[i]));
	for (uint32_t i = 0; i < full.objects; i++) {
		struct bole_oid oid = oid_of(i);
		struct bole_entry e;
		if (full.where[i] != 0)
			OK(bole_flash_find(s[full.where[i] - 1], &oid, &e));
	}
	for (uint32_t i = 0; i < full.repos; i++)
		bole_flash_snapshot_close(s[i]);
}

static void reopen(void)
{
	const struct bole_flash_open_options options = {.no_background = true};

	if (full.v != NULL)
		OK(bole_flash_volume_close(full.v));
	OK(bole_flash_volume_open(full.device, &full.test.base, &full.test.alloc, &options,
	                          &full.v));
}

static void run(const char *geometry, uint64_t size, uint32_t repos, uint32_t len_max)
{
	struct bole_block_sim_options disk;
	const char *seed = getenv("SEED");

	memset(&full, 0, sizeof full);
	full.repos = repos;
	full.len_max = len_max;
	full.random = seed == NULL ? 7 : strtoull(seed, NULL, 10);
	test_platform_init(&full.test, 1);
	full.test.quiet = getenv("VERBOSE") == NULL;
	OK(bole_block_sim_geometry(geometry, &disk));
	disk.size_bytes = size;
	OK(bole_block_sim_open(&full.test.alloc, &disk, &full.device));
	OK(bole_flash_format(full.device, &full.test.base, NULL));
	reopen();
	for (uint32_t i = 0; i < repos; i++)
		OK(catalog(FLASH_REQUEST_CREATE, i));
	for (uint32_t i = 0; i < ROUNDS; i++) {
		fill();
		empty(i);
		reopen();
		verify();
	}
	OK(bole_flash_volume_close(full.v));
	bole_block_close(full.device);
	test_platform_release(&full.test);
}

static const char *const geometries[] = {"virtio", "sd", "nor4k"};
enum { SIZE = 4 << 20 | 128 << 10 };

Test(flash_space_full, many_repositories_of_small_objects)
{
	for (size_t i = 0; i < 3; i++)
		run(geometries[i], SIZE, 40, 700);
}

Test(flash_space_full, one_repository_of_small_objects)
{
	for (size_t i = 0; i < 3; i++)
		run(geometries[i], SIZE, 1, 200);
}

Test(flash_space_full, objects_as_long_as_a_record_may_be)
{
	for (size_t i = 0; i < 3; i++)
		run(geometries[i], SIZE, 5, LEN_MAX);
}
