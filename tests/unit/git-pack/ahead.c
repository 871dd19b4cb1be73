/* SPDX-License-Identifier: ISC */
/* Deltas made by several fibers: what is stored and what is refused is the same as with one. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "support/families.h"
#include "support/packworld.h"

struct outcome {
	enum bole_status rc;
	struct bole_ingest_report report;
	struct maker_bytes fetched;
};

static void open_world(struct packworld *world, unsigned processors, size_t memory, uint8_t algo)
{
	packworld_open(world, algo, 1);
	world->platform.processors = processors;
	world->store->info.extent_bytes_min = 64 * 1024;
	world->limits.memory_bytes_max = memory;
}

static void push(const struct families *f, unsigned processors, size_t memory, struct outcome *out)
{
	struct packworld world;
	struct bole_oid *wants = calloc(f->count, sizeof *wants);

	memset(out, 0, sizeof *out);
	open_world(&world, processors, memory, f->maker.algo);
	out->rc = packworld_push(&world, f->maker.out.ptr, f->maker.out.len, NULL, NULL);
	out->report = world.report;
	for (size_t i = 0; i < f->count; i++)
		wants[i] = f->nodes[i].oid;
	if (out->rc == BOLE_OK) {
		cr_assert_gt(packworld_verify(&world), 0);
		cr_assert_eq(packworld_fetch(&world, wants, f->count, NULL, 0, &out->fetched),
		             BOLE_OK);
	}
	free(wants);
	packworld_close(&world);
}

/* Returns whether the pack was taken. */
static bool compare(const struct families *f, unsigned processors, size_t memory)
{
	struct outcome one, many;

	push(f, 1, memory, &one);
	push(f, processors, memory, &many);
	cr_assert_eq(one.rc, many.rc, "%s, %s", one.report.error, many.report.error);
	cr_assert_str_eq(one.report.error, many.report.error);
	cr_assert_eq(one.report.objects, many.report.objects);
	cr_assert_eq(one.report.inflated_bytes, many.report.inflated_bytes);
	cr_assert_eq(one.fetched.len, many.fetched.len);
	if (one.fetched.len > 0)
		cr_assert_arr_eq(one.fetched.ptr, many.fetched.ptr, one.fetched.len);
	maker_release(&one.fetched);
	maker_release(&many.fetched);
	return one.rc == BOLE_OK;
}

Test(ahead, several_fibers_store_and_refuse_what_one_does)
{
	uint64_t seed = test_seed(1);
	struct families f;
	unsigned taken = 0;

	for (unsigned round = 0; round < 12; round++) {
		struct families_options o = {.algo = test_algo(),
		                             .families = 10 + round * 4,
		                             .blob_bytes = round % 4 == 3 ? 60000 : 3000,
		                             .deltas = round % 3 == 2 ? 300 / (round + 1) : 30,
		                             .wrong = round % 3 == 1};

		families_make(&f, &o, test_random(&seed));
		taken += compare(&f, 2 + round % 4, round % 2 == 0 ? 0 : 12 << 20);
		families_release(&f);
	}
	cr_assert(taken >= 4 && taken <= 8, "%u of 12 packs were taken", taken);
}

static bool gone(void *ctx)
{
	unsigned *left = ctx;

	return *left == 0 || --*left == 0;
}

Test(ahead, stops_when_the_client_has_gone_and_when_memory_ends)
{
	struct families_options o = {
	        .algo = test_algo(), .families = 60, .blob_bytes = 8000, .deltas = 40};
	uint64_t seed = test_seed(2);
	struct families f;

	families_make(&f, &o, test_random(&seed));
	for (unsigned round = 0; round < 12; round++) {
		struct packworld world;
		unsigned looks = 1 + (unsigned)(test_random(&seed) % 1000);

		open_world(&world, 4, 0, test_algo());
		if (round % 2 == 0) {
			world.cancelled = gone;
			world.cancelled_ctx = &looks;
		} else {
			world.platform.fail_at =
			        world.platform.grows + 1 + test_random(&seed) % 3000;
			world.platform.fail_after = round % 4 == 1;
		}
		enum bole_status rc =
		        packworld_push(&world, f.maker.out.ptr, f.maker.out.len, NULL, NULL);

		cr_assert(rc == BOLE_OK ||
		                  rc == (round % 2 == 0 ? BOLE_E_CLOSED : BOLE_E_NO_MEMORY),
		          "%d %s", rc, world.report.error);
		world.platform.fail_at = 0;
		packworld_close(&world);
	}
	families_release(&f);
}

/* As many versions of a tree as are worth fibers, each a delta; the last names a blob that is
 * nowhere. */
Test(ahead, a_tree_that_several_fibers_made_is_looked_into)
{
	enum { VERSIONS = 200 };
	struct maker_bytes tree = {0}, delta = {0};
	struct bole_oid blob, nowhere;
	struct packworld world;
	struct packmaker maker;
	uint64_t base;

	packmaker_init(&maker, test_algo());
	packmaker_object(&maker, BOLE_OBJECT_BLOB, "x", 1, &blob);
	tree_entry(&tree, "100644", "file", &blob);
	base = packmaker_object(&maker, BOLE_OBJECT_TREE, tree.ptr, tree.len, NULL);
	for (unsigned i = 0; i < VERSIONS; i++) {
		char text[16];
		int len = snprintf(text, sizeof text, "%u", i);

		if (i + 1 < VERSIONS)
			packmaker_object(&maker, BOLE_OBJECT_BLOB, text, (size_t)len, &nowhere);
		else
			memset(nowhere.bytes, 0x77, sizeof nowhere.bytes);
		size_t before = tree.len;
		maker_release(&tree);
		tree = (struct maker_bytes){0};
		tree_entry(&tree, "100644", "file", &nowhere);
		delta_begin(&delta, before, tree.len);
		delta_insert(&delta, tree.ptr, (uint8_t)tree.len);
		(void)packmaker_ofs(&maker, base, &delta);
		maker_release(&delta);
		delta = (struct maker_bytes){0};
	}
	packmaker_finish(&maker);
	open_world(&world, 4, 0, test_algo());
	cr_assert_eq(packworld_push(&world, maker.out.ptr, maker.out.len, NULL, NULL),
	             BOLE_E_INVALID);
	cr_assert_not_null(strstr(world.report.error, "missing blob 7777"), "%s",
	                   world.report.error);
	packworld_close(&world);
	packmaker_release(&maker);
	maker_release(&tree);
}
