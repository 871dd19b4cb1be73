/* SPDX-License-Identifier: ISC */
/* Deltas whose objects are larger than the memory of an ingestion. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "git/object/object.h"
#include "support/packworld.h"

enum {
	BYTES = 4 << 20,
	MEMORY = 3 << 20,
	BLOB = BOLE_OBJECT_BLOB,
	EDITS = 40,
};

/* A blob beside the instructions that make it. */
struct version {
	uint8_t *bytes;
	size_t len;
	struct bole_oid oid;
	struct maker_bytes delta;
};

static struct packworld world;
static struct packmaker maker;

static void open_world(uint8_t algo)
{
	packworld_open(&world, algo, 1);
	world.store->info.extent_bytes_min = 128 * 1024;
	world.limits.memory_bytes_max = MEMORY;
	packmaker_init(&maker, algo);
}

static enum bole_status push(const char *ref, const struct bole_oid *oid)
{
	packmaker_finish(&maker);
	enum bole_status rc = packworld_push(&world, maker.out.ptr, maker.out.len, ref, oid);
	uint8_t algo = maker.algo;

	packmaker_release(&maker);
	packmaker_init(&maker, algo);
	return rc;
}

static void push_ok(const char *ref, const struct bole_oid *oid)
{
	cr_assert_eq(push(ref, oid), BOLE_OK, "%s", world.report.error);
}

static void close_world(void)
{
	packmaker_release(&maker);
	packworld_close(&world);
}

static void version_first(struct version *v, uint64_t *seed, size_t len)
{
	*v = (struct version){.bytes = malloc(len), .len = len};
	test_random_bytes(seed, v->bytes, len);
	memset(v->bytes + len / 2, 'x', len / 4);
	cr_assert_eq(bole_object_id(maker.algo, BLOB, bole_bytes_of(v->bytes, len), false, &v->oid),
	             BOLE_OK);
}

static void version_release(struct version *v)
{
	free(v->bytes);
	maker_release(&v->delta);
}

/* Appends to the version being made. */
static void add(struct version *v, const struct version *base, bool copy, size_t at, size_t len)
{
	if (copy) {
		memcpy(v->bytes + v->len, base->bytes + at, len);
		for (size_t part; len > 0; at += part, len -= part, v->len += part) {
			part = len < 0xff0000 ? len : 0xff0000;
			delta_copy(&v->delta, (uint32_t)at, (uint32_t)part);
		}
		return;
	}
	for (size_t i = 0; i < len; i++)
		v->bytes[v->len + i] = (uint8_t)(at + i * 7);
	delta_insert(&v->delta, v->bytes + v->len, (uint8_t)len);
	v->len += len;
}

/* len bytes of the base from at on with edits in between. backwards: its second half comes first.
 */
static void version_next(struct version *v, const struct version *base, size_t at, size_t len,
                         bool backwards)
{
	*v = (struct version){.bytes = malloc(len + EDITS * 100)};
	struct maker_bytes none = {0};
	size_t piece = len / EDITS;

	v->delta = none;
	delta_begin(&v->delta, base->len, piece * EDITS + EDITS * 100);
	for (size_t i = 0; i < EDITS; i++) {
		size_t from = backwards ? (i + EDITS / 2) % EDITS : i;

		add(v, base, true, at + from * piece, piece);
		add(v, base, false, i + at, 100);
	}
	cr_assert_eq(
	        bole_object_id(maker.algo, BLOB, bole_bytes_of(v->bytes, v->len), false, &v->oid),
	        BOLE_OK);
}

/* A commit of all versions, onto the pack. */
static struct bole_oid commit_all(const struct version *v, size_t count)
{
	struct maker_bytes tree = {0};
	struct maker_bytes text = {0};
	struct bole_oid oid;

	for (size_t i = 0; i < count; i++) {
		char name[2] = {(char)('a' + i), '\0'};

		tree_entry(&tree, "100644", name, &v[i].oid);
	}
	packmaker_object(&maker, BOLE_OBJECT_TREE, tree.ptr, tree.len, &oid);
	commit_text(&text, &oid, NULL, 1, "big");
	packmaker_object(&maker, BOLE_OBJECT_COMMIT, text.ptr, text.len, &oid);
	maker_release(&tree);
	maker_release(&text);
	return oid;
}

static void check_whole(const struct bole_oid *oid)
{
	struct bole_snapshot *snapshot;
	struct bole_entry_head head;
	struct bole_entry entry;
	struct bole_bytes shown;

	cr_assert_eq(bole_snapshot_open(world.store, world.repo.id, &snapshot), BOLE_OK);
	cr_assert_eq(bole_odb_find(snapshot, oid, &entry), BOLE_OK);
	cr_assert_eq(bole_odb_view(snapshot, &entry, 0, &shown), BOLE_OK);
	cr_assert_eq(bole_entry_head_parse(shown, maker.algo, &head), BOLE_OK);
	cr_assert_eq(head.type, BLOB);
	bole_snapshot_close(snapshot);
}

/* What was taken can be fetched and taken again, with plenty of memory. */
static void check_fetch(const struct bole_oid *tip, uint64_t objects)
{
	struct maker_bytes pack = {0};
	struct packworld other;

	cr_assert_eq(packworld_fetch(&world, tip, 1, NULL, 0, &pack), BOLE_OK);
	packworld_open(&other, maker.algo, 2);
	cr_assert_eq(packworld_push(&other, pack.ptr, pack.len, "refs/heads/main", tip), BOLE_OK,
	             "%s", other.report.error);
	cr_assert_eq(packworld_verify(&other), objects);
	packworld_close(&other);
	maker_release(&pack);
}

/* Goal: a family of objects, each larger than the memory there is, comes as offset and as id deltas
 * on each other, small ones among them, copied forwards and backwards; then one more as a thin pack
 * so short that it would have been records. */
Test(big, takes_deltas_of_objects_that_do_not_fit_memory)
{
	static const uint8_t algos[] = {BOLE_HASH_SHA1, BOLE_HASH_SHA256};
	struct version v[8];

	for (size_t a = 0; a < 2; a++) {
		uint64_t seed = 5 + a, at, first;

		open_world(algos[a]);
		version_first(&v[0], &seed, BYTES);
		first = packmaker_object(&maker, BLOB, v[0].bytes, v[0].len, NULL);
		version_next(&v[1], &v[0], 1000, BYTES - 5000, false);
		at = packmaker_ofs(&maker, first, &v[1].delta);
		version_next(&v[2], &v[1], 0, v[1].len, true);
		packmaker_ofs(&maker, at, &v[2].delta);
		version_next(&v[3], &v[1], v[1].len - 50000, 40000, false);
		at = packmaker_ofs(&maker, at, &v[3].delta);
		version_next(&v[4], &v[3], 10, 30000, true);
		packmaker_ofs(&maker, at, &v[4].delta);
		version_next(&v[5], &v[2], 5, BYTES / 2, false);
		packmaker_ref(&maker, &v[2].oid, &v[5].delta);
		version_next(&v[6], &v[0], 3, 9000, false);
		packmaker_ofs(&maker, first, &v[6].delta);
		struct bole_oid tip = commit_all(v, 7);

		push_ok("refs/heads/main", &tip);
		cr_assert_eq(packworld_verify(&world), 9);
		for (size_t i = 0; i < 6; i++)
			check_whole(&v[i].oid);
		check_fetch(&tip, 9);

		version_next(&v[7], &v[5], 100, v[5].len - 200, false);
		packmaker_ref(&maker, &v[5].oid, &v[7].delta);
		tip = commit_all(v, 8);
		push_ok("refs/heads/next", &tip);
		cr_assert_lt(world.report.pack_bytes, 10000);
		check_whole(&v[7].oid);
		cr_assert_eq(packworld_verify(&world), 12);
		check_fetch(&tip, 10);
		for (size_t i = 0; i < 8; i++)
			version_release(&v[i]);
		close_world();
	}
}

/* Goal: lies that a stream meets late are refused as those in memory are, and leave nothing. */
Test(big, refuses_instructions_that_do_not_fit)
{
	uint64_t seed = 9;
	struct version base;

	open_world(test_algo());
	version_first(&base, &seed, BYTES);
	for (size_t lie = 0; lie < 6; lie++) {
		struct maker_bytes delta = {0};
		static const uint8_t zero[2] = {0, 0};
		static const uint8_t half[2] = {100, 1};

		uint64_t at = packmaker_object(&maker, BLOB, base.bytes, base.len, NULL);
		delta_begin(&delta, lie == 0 ? BYTES - 1 : BYTES, BYTES);
		delta_copy(&delta, 0, BYTES / 2);
		switch (lie) {
		case 1: delta_copy(&delta, BYTES / 2 + 1, BYTES / 2); break;
		case 2: delta_copy(&delta, 0, BYTES / 2 + 1); break;
		case 3: delta_copy(&delta, 0, BYTES / 2 - 1); break;
		case 4: maker_append(&delta, zero, sizeof zero); break;
		case 5: maker_append(&delta, half, sizeof half); break;
		default: delta_copy(&delta, 0, BYTES / 2); break;
		}
		packmaker_ofs(&maker, at, &delta);
		cr_assert_eq(push(NULL, NULL), BOLE_E_INVALID, "%zu", lie);
		cr_assert_not_null(strstr(world.report.error, "does not fit its base"), "%s",
		                   world.report.error);
		cr_assert_eq(packworld_verify(&world), 0);
		maker_release(&delta);
	}
	version_release(&base);
	close_world();
}

/* Goal: jumping to and fro in the base does not inflate it for ever; a tree is not streamed. */
Test(big, limits_what_a_delta_costs)
{
	uint64_t seed = 10;
	struct version base;
	struct maker_bytes delta = {0};

	open_world(test_algo());
	version_first(&base, &seed, BYTES);
	uint64_t at = packmaker_object(&maker, BLOB, base.bytes, base.len, NULL);
	delta_begin(&delta, BYTES, 20000);
	for (size_t i = 0; i < 10000; i++) {
		delta_copy(&delta, 0, 1);
		delta_copy(&delta, BYTES - 1, 1);
	}
	packmaker_ofs(&maker, at, &delta);
	cr_assert_eq(push(NULL, NULL), BOLE_E_LIMIT);
	cr_assert_eq(packworld_verify(&world), 0);

	struct maker_bytes tree = {0};
	tree_entry(&tree, "100644", "a", &base.oid);
	at = packmaker_object(&maker, BOLE_OBJECT_TREE, tree.ptr, tree.len, NULL);
	maker_release(&delta);
	delta_begin(&delta, tree.len, BYTES);
	delta_copy(&delta, 0, (uint32_t)tree.len);
	packmaker_ofs(&maker, at, &delta);
	cr_assert_eq(push(NULL, NULL), BOLE_E_LIMIT);
	cr_assert_not_null(strstr(world.report.error, "too long to check"));
	version_release(&base);
	maker_release(&tree);
	maker_release(&delta);
	close_world();
}

/* Goal: after any failed allocation nothing leaks and nothing is published. */
Test(big, survives_failed_allocations)
{
	uint64_t seed = 11;
	struct version v[2];
	bool done = false;

	for (uint64_t n = 1; !done; n += n < 60 ? 1 : 7) {
		open_world(test_algo());
		version_first(&v[0], &seed, BYTES / 4);
		version_next(&v[1], &v[0], 0, BYTES / 4, false);
		uint64_t at = packmaker_object(&maker, BLOB, v[0].bytes, v[0].len, NULL);

		packmaker_ofs(&maker, at, &v[1].delta);
		world.platform.fail_at = world.platform.grows + n;
		enum bole_status rc = push(NULL, NULL);

		done = world.platform.grows < world.platform.fail_at;
		world.platform.fail_at = 0;
		cr_assert(rc == BOLE_OK || rc == BOLE_E_NO_MEMORY, "%d: %s", (int)rc,
		          world.report.error);
		cr_assert_eq(packworld_verify(&world), rc == BOLE_OK ? 2 : 0);
		version_release(&v[0]);
		version_release(&v[1]);
		close_world();
		cr_assert_lt(n, 5000);
	}
}

/* Goal: memory is measured by what is left to do, not by what the pack holds. Method: a delta that
 * needs 700 KiB behind 40,000 small objects; the pack stays as it came. */
Test(big, many_small_objects_leave_room_for_a_delta)
{
	enum { SMALL = 40000, LARGE = 300 * 1024 };
	struct version v[2];
	struct bole_entry entry;
	uint64_t seed = 8, at;
	struct bole_snapshot *view;

	open_world(test_algo());
	for (uint32_t i = 0; i < SMALL; i++)
		packmaker_object(&maker, BLOB, &i, sizeof i, NULL);
	version_first(&v[0], &seed, LARGE);
	at = packmaker_object(&maker, BLOB, v[0].bytes, v[0].len, NULL);
	version_next(&v[1], &v[0], 1000, LARGE - 5000, false);
	packmaker_ofs(&maker, at, &v[1].delta);
	struct bole_oid tip = commit_all(v, 2);

	world.limits.memory_bytes_max = 7200 * 1024;
	push_ok("refs/heads/main", &tip);
	cr_assert_eq(bole_snapshot_open(world.store, world.repo.id, &view), BOLE_OK);
	cr_assert_eq(bole_odb_find(view, &v[1].oid, &entry), BOLE_OK);
	cr_assert_lt(entry.stored_bytes, LARGE / 2);
	bole_snapshot_close(view);
	version_release(&v[0]);
	version_release(&v[1]);
	close_world();
}
