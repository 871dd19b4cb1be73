/* SPDX-License-Identifier: ISC */
/* Devices and allocators that fail, bits that flip. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/suite_help.h"
#include "unit/flash-model/model.h"

static struct model m;

static void fresh_disk(struct model_volume *v, bool discard)
{
	v->store = NULL;
	struct bole_block_sim_options disk = model_disk;

	/* What was discarded reads as garbage: too many bytes that nobody wants. */
	disk.can_discard = discard;
	OK(bole_block_sim_open(&m.disk.alloc, &disk, &v->device));
	OK(bole_flash_format(v->device, &m.test.base, NULL));
	OK(model_mount(&m, v));
}

static void fresh(struct model_volume *v)
{
	fresh_disk(v, true);
}

static bool refused(enum bole_status rc)
{
	return rc == BOLE_E_IO || rc == BOLE_E_READ_ONLY;
}

static void expect_before_or_after(struct model_volume *v, unsigned step)
{
	uint64_t digest;

	OK(model_digest(v->store, &m.test.alloc, &digest));
	if (digest != m.digest[step] && (step == m.steps || digest != m.digest[step + 1])) {
		(void)fprintf(stderr, "seed %llu step %u: neither before nor after\n",
		              (unsigned long long)m.seed, step);
		check(false);
	}
	check_eq(model_check(&m, v->device), 0);
}

/* One call of the device fails, the power stays. */
static bool run_fault(void (*fail)(struct bole_block *, uint64_t), uint64_t n)
{
	struct model_volume v;
	unsigned i;
	enum bole_status rc = BOLE_OK;

	fresh(&v);
	fail(v.device, n);
	for (i = 0; i < m.steps; i++) {
		rc = model_step(&m, v.store, i);
		if (refused(rc))
			break;
		check_eq(rc, m.rc[i]);
	}
	enum bole_status closed = bole_store_close(v.store);
	fail(v.device, 0);
	OK(model_mount(&m, &v));
	expect_before_or_after(&v, i);
	OK(bole_store_close(v.store));
	bole_block_close(v.device);
	return i < m.steps || closed != BOLE_OK;
}

Test(flash_faults, a_failed_call_of_the_device_is_an_error_and_loses_nothing)
{
	uint64_t seed = test_seed(5);
	uint64_t n;

	model_open(&m, seed, 14, true);
	/* A failed program is often no failure at all: the bytes go elsewhere. */
	for (n = 1; n < 60; n++)
		(void)run_fault(bole_block_sim_fail_program, n);
	for (n = 1; run_fault(bole_block_sim_fail_flush, n); n++)
		;
	cr_assert_gt(n, 5);
	for (n = 1; n < 60; n++)
		(void)run_fault(bole_block_sim_fail_read, n);
	model_close(&m);
}

Test(flash_faults, after_a_failed_flush_the_volume_takes_no_writes_until_reopened)
{
	struct model_volume v;
	struct bole_repo repo;

	model_open(&m, 6, 1, true);
	fresh(&v);
	OK(bole_repo_create(v.store, "a", BOLE_HASH_SHA1, "refs/heads/x", &repo));
	bole_block_sim_fail_flush(v.device, 1);
	check_eq(bole_repo_create(v.store, "b", BOLE_HASH_SHA1, "refs/heads/x", &repo), BOLE_E_IO);
	check_eq(bole_repo_create(v.store, "c", BOLE_HASH_SHA1, "refs/heads/x", &repo),
	         BOLE_E_READ_ONLY);
	OK(bole_repo_find(v.store, "a", &repo));
	check_eq(bole_repo_find(v.store, "b", &repo), BOLE_E_NOT_FOUND);
	check_eq(bole_store_close(v.store), BOLE_E_IO);
	OK(model_mount(&m, &v));
	OK(bole_repo_create(v.store, "c", BOLE_HASH_SHA1, "refs/heads/x", &repo));
	OK(bole_store_close(v.store));
	bole_block_close(v.device);
	model_close(&m);
}

/* Goal: no allocation may fail in vain. Method: fail the n-th of the whole work, for every n; the
 * step that it hits is refused whole, done again it succeeds. */
static bool run_no_memory(uint64_t n)
{
	struct model_volume v = {.store = NULL};
	uint64_t digest;
	bool hit = false;

	OK(bole_block_sim_open(&m.disk.alloc, &model_disk, &v.device));
	uint64_t from = m.test.grows;
	m.test.fail_at = from + n;
	enum bole_status rc = bole_flash_format(v.device, &m.test.base, NULL);
	if (rc == BOLE_E_NO_MEMORY)
		rc = bole_flash_format(v.device, &m.test.base, NULL);
	check_eq(rc, BOLE_OK);
	rc = model_mount(&m, &v);
	if (rc == BOLE_E_NO_MEMORY)
		rc = model_mount(&m, &v);
	check_eq(rc, BOLE_OK);
	for (unsigned i = 0; i < m.steps; i++) {
		rc = model_step(&m, v.store, i);
		if (refused(rc)) {
			m.test.fail_at = 0;
			(void)bole_store_close(v.store);
			OK(model_mount(&m, &v));
			expect_before_or_after(&v, i);
			hit = true;
			break;
		}
		if (rc == BOLE_E_NO_MEMORY && m.rc[i] != BOLE_E_NO_MEMORY) {
			OK(model_digest(v.store, &m.test.alloc, &digest));
			check_eq(digest, m.digest[i]);
			rc = model_step(&m, v.store, i);
		}
		check_eq(rc, m.rc[i]);
	}
	bool more = m.test.grows - from >= n;
	m.test.fail_at = 0;
	if (!hit) {
		OK(model_digest(v.store, &m.test.alloc, &digest));
		check_eq(digest, m.digest[m.steps]);
	}
	(void)bole_store_close(v.store);
	bole_block_close(v.device);
	return more;
}

Test(flash_faults, every_failed_allocation_is_an_error_and_leaves_the_store_whole)
{
	uint64_t seed = test_seed(8);
	const char *all = getenv("CUTS");
	uint64_t n = 1;

	model_open(&m, seed, 24, true);
	while (run_no_memory(n))
		n += all != NULL || n < 300 ? 1 : 3;
	(void)fprintf(stderr, "%llu allocations\n", (unsigned long long)n);
	model_close(&m);
}

/* Goal: damaged bytes are never served as good ones. Method: flip a bit in every byte of a small
 * closed volume that is in use; what can still be read must be what was written. */
Test(flash_faults, no_flipped_bit_changes_what_is_read)
{
	struct bole_flash_open_options options = {.read_only = true};
	uint64_t seed = test_seed(9);
	uint64_t errors = 0;
	uint64_t flips = 0;
	struct model_volume v;
	uint64_t size = model_disk.size_bytes;

	model_open(&m, seed, 10, true);
	fresh_disk(&v, false);
	for (unsigned i = 0; i < m.steps; i++)
		check_eq(model_step(&m, v.store, i), m.rc[i]);
	OK(bole_store_close(v.store));
	uint64_t stride = getenv("CUTS") != NULL ? 1 : 5;
	for (uint64_t at = seed % stride; at < size; at += stride) {
		static const uint8_t zero[64];
		uint64_t from = at / 64 * 64;
		uint8_t bytes[sizeof zero];
		bole_block_sim_peek(v.device, from, bytes, sizeof bytes);
		if (memcmp(bytes, zero, sizeof zero) == 0)
			continue; /* never written, or padding far from anything */
		bole_block_sim_flip(v.device, at, (uint8_t)(1u << at % 8));
		flips++;
		enum bole_status rc =
		        bole_flash_open(v.device, &m.test.base, &m.test.alloc, &options, &v.store);
		if (rc == BOLE_OK) {
			struct bole_store_stats stats;
			uint64_t digest;
			OK(bole_store_stats(v.store, &stats));
			rc = model_digest(v.store, &m.test.alloc, &digest);
			if (rc == BOLE_OK && stats.lost != 0)
				rc = BOLE_E_CORRUPT; /* so it said */
			if (rc == BOLE_OK && digest != m.digest[m.steps]) {
				(void)fprintf(stderr, "a flip at %llu changes what is read\n",
				              (unsigned long long)at);
				check(false);
			}
			(void)bole_store_close(v.store);
		}
		errors += rc != BOLE_OK;
		bole_block_sim_flip(v.device, at, (uint8_t)(1u << at % 8));
	}
	(void)fprintf(stderr, "%llu flips, %llu of them errors\n", (unsigned long long)flips,
	              (unsigned long long)errors);
	cr_assert_gt(errors, flips / 4);
	bole_block_close(v.device);
	model_close(&m);
}
