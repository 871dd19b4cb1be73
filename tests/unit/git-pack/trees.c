/* SPDX-License-Identifier: ISC */
/* Trees that come as deltas, of which only what changed is looked at: what is found is the same as
 * in trees that come whole. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "git/fsck/fsck.h"
#include "git/pack/intake.h"
#include "support/packworld.h"

enum { BLOBS = 6, ENTRIES_MAX = 30, VERSIONS = 4, MANY = 70 };

struct version {
	struct maker_bytes bytes;
	size_t ids[ENTRIES_MAX]; /* where the id of each entry is */
};

struct rooted {
	struct bole_oid blobs[BLOBS];
	struct bole_oid folder; /* a tree in the pack */
	struct version versions[VERSIONS];
	size_t entries;
};

static uint64_t below(uint64_t *random, uint64_t n)
{
	return test_random(random) % n;
}

static void some_id(const struct rooted *r, uint64_t *random, bool honest, struct bole_oid *oid)
{
	uint64_t kind = honest ? 0 : below(random, 12);

	*oid = r->blobs[below(random, BLOBS)];
	if (kind == 1)
		*oid = r->folder; /* not a file */
	if (kind == 2)
		memset(oid->bytes, 0, sizeof oid->bytes);
	if (kind == 3)
		oid->bytes[0] ^= 1; /* not there */
}

static void first_version(struct rooted *r, uint64_t *random)
{
	static const char *const odd[] = {".gitattributes", ".gitignore", ".gitmodules"};
	struct version *v = &r->versions[0];
	size_t hash = bole_hash_bytes(r->folder.algo);

	r->entries = 1 + (size_t)below(random, ENTRIES_MAX - 4);
	for (size_t i = 0; i < 3; i++)
		r->entries -= r->entries > 3 && below(random, 2) == 0;
	size_t count = 0;

	for (size_t i = 0; i < 3 && count < r->entries; i++) {
		if (below(random, 2) != 0)
			continue;
		tree_entry(&v->bytes, "100644", odd[i], &r->blobs[1]);
		v->ids[count++] = v->bytes.len - hash;
	}
	for (; count < r->entries; count++) {
		char name[48];

		snprintf(name, sizeof name, "name%02zu%.*s", count, (int)below(random, 9),
		         "abcdefgh");
		bool folder = below(random, 5) == 0;
		bool bad_mode = below(random, 30) == 0;
		struct bole_oid oid = folder ? r->folder : r->blobs[below(random, BLOBS)];

		tree_entry(&v->bytes,
		           folder     ? "40000"
		           : bad_mode ? "100664"
		                      : "100644",
		           name, &oid);
		v->ids[count] = v->bytes.len - hash;
	}
}

static void next_version(struct rooted *r, size_t n, uint64_t *random)
{
	const struct version *before = &r->versions[n - 1];
	struct version *v = &r->versions[n];
	size_t changes = 1 + (size_t)below(random, below(random, 4) == 0 ? 12 : 3);
	struct bole_oid oid;

	maker_append(&v->bytes, before->bytes.ptr, before->bytes.len);
	memcpy(v->ids, before->ids, sizeof v->ids);
	for (size_t i = 0; i < changes; i++) {
		size_t which = (size_t)below(random, r->entries);

		some_id(r, random, below(random, 6) != 0, &oid);
		memcpy(v->bytes.ptr + v->ids[which], oid.bytes, bole_hash_bytes(oid.algo));
	}
	if (below(random, 20) == 0)
		v->bytes.ptr[below(random, v->bytes.len)] ^= (uint8_t)(1 << below(random, 8));
}

/* So many trees that are deltas that fibers make them ahead, where there are processors. */
static void many_deltas(struct packmaker *maker, const struct bole_oid *folder)
{
	uint64_t base = 0;

	for (unsigned i = 0; i <= MANY; i++) {
		struct maker_bytes tree = {0};
		struct maker_bytes delta = {0};
		char name[16];

		snprintf(name, sizeof name, "many%02u", i);
		tree_entry(&tree, "40000", name, folder);
		if (i == 0) {
			base = packmaker_object(maker, BOLE_OBJECT_TREE, tree.ptr, tree.len, NULL);
		} else {
			delta_begin(&delta, tree.len, tree.len);
			delta_insert(&delta, tree.ptr, (uint8_t)tree.len);
			packmaker_ofs(maker, base, &delta);
		}
		maker_release(&delta);
		maker_release(&tree);
	}
}

static void make_pack(struct rooted *r, struct packmaker *maker, bool deltas)
{
	static const char *const texts[BLOBS] = {
	        "[submodule \"../up\"]\n\tpath = x\n\turl = https://example.org\n",
	        "[submodule \"a\"]\n\tpath = x\n\turl = https://example.org\n",
	        "one",
	        "two",
	        "three",
	        "four"};
	uint64_t base = 0;

	packmaker_init(maker, test_algo());
	for (size_t i = 0; i < BLOBS; i++)
		packmaker_object(maker, BOLE_OBJECT_BLOB, texts[i], strlen(texts[i]), &r->blobs[i]);
	packmaker_object(maker, BOLE_OBJECT_TREE, "", 0, &r->folder);
	many_deltas(maker, &r->folder);
	for (size_t i = 0; i < VERSIONS; i++) {
		struct maker_bytes *bytes = &r->versions[i].bytes;
		struct maker_bytes delta = {0};

		if (bytes->len == 0)
			return; /* only the ids were wanted */
		if (!deltas || i == 0) {
			base = packmaker_object(maker, BOLE_OBJECT_TREE, bytes->ptr, bytes->len,
			                        NULL);
			continue;
		}
		delta_begin(&delta, r->versions[i - 1].bytes.len, bytes->len);
		for (size_t at = 0; at < bytes->len; at += 100) {
			size_t part = bytes->len - at < 100 ? bytes->len - at : 100;

			delta_insert(&delta, bytes->ptr + at, (uint8_t)part);
		}
		base = packmaker_ofs(maker, base, &delta);
		maker_release(&delta);
	}
	packmaker_finish(maker);
}

static enum bole_status push(const struct packmaker *maker, const struct bole_fsck_options *fsck,
                             unsigned processors, char *error, size_t cap)
{
	struct packworld world;

	packworld_open(&world, maker->algo, 1);
	world.fsck = fsck;
	world.platform.processors = processors;
	world.store->info.extent_bytes_min = 1;
	enum bole_status rc = packworld_push(&world, maker->out.ptr, maker->out.len, NULL, NULL);

	snprintf(error, cap, "%s", world.report.error);
	packworld_close(&world);
	return rc;
}

/* One of the versions may be passed over, and a finding be worth anything. */
static void some_options(const struct rooted *r, uint64_t *random, struct bole_fsck_options *o,
                         struct bole_oid *skip)
{
	const struct maker_bytes *version = &r->versions[below(random, VERSIONS - 1)].bytes;

	bole_fsck_options_init(o, BOLE_FSCK_STRICT);
	if (below(random, 2) == 0) {
		cr_assert_eq(bole_object_id(test_algo(), BOLE_OBJECT_TREE,
		                            bole_bytes_of(version->ptr, version->len), false, skip),
		             BOLE_OK);
		o->skip = skip;
		o->skip_count = 1;
	}
	o->severity[BOLE_FSCK_BAD_FILEMODE] = (uint8_t)below(random, BOLE_FSCK_ERROR + 1);
}

static bool same_as_whole(struct rooted *r, uint64_t *random)
{
	struct bole_fsck_options options;
	struct packmaker whole, deltas;
	struct bole_oid skip;
	char a[256], b[256];

	some_options(r, random, &options, &skip);
	make_pack(r, &whole, false);
	make_pack(r, &deltas, true);
	const struct bole_fsck_options *fsck = below(random, 3) == 0 ? NULL : &options;
	enum bole_status rc = push(&whole, fsck, 1, a, sizeof a);

	cr_assert_eq(push(&deltas, fsck, 1 + (unsigned)below(random, 2), b, sizeof b), rc,
	             "%s, not %s", b, a);
	cr_assert_str_eq(a, b);
	packmaker_release(&whole);
	packmaker_release(&deltas);
	return rc == BOLE_OK;
}

/* A second copy may not be a base. */
static bool all_differ(const struct rooted *r)
{
	for (size_t i = 1; i < VERSIONS; i++)
		for (size_t k = 0; k < i; k++)
			if (memcmp(r->versions[i].bytes.ptr, r->versions[k].bytes.ptr,
			           r->versions[i].bytes.len) == 0)
				return false;
	return true;
}

Test(trees, versions_of_a_tree_are_judged_as_if_they_came_whole)
{
	uint64_t random = test_seed(60);
	unsigned taken = 0;

	for (unsigned round = 0; round < 600; round++) {
		struct rooted r = {.entries = 0};
		struct packmaker ids;

		make_pack(&r, &ids, false);
		packmaker_release(&ids);
		first_version(&r, &random);
		for (size_t i = 1; i < VERSIONS; i++)
			next_version(&r, i, &random);
		taken += all_differ(&r) && same_as_whole(&r, &random);
		for (size_t i = 0; i < VERSIONS; i++)
			maker_release(&r.versions[i].bytes);
	}
	cr_assert(taken > 60 && taken < 540, "%u of 600 were taken", taken);
}

Test(trees, changes_are_entries_whose_ids_differ)
{
	uint64_t random = test_seed(61);
	unsigned known = 0;

	for (unsigned round = 0; round < 3000; round++) {
		struct rooted r = {.entries = 0};
		struct packmaker ids;
		struct intake_changes changes;

		make_pack(&r, &ids, false);
		packmaker_release(&ids);
		first_version(&r, &random);
		next_version(&r, 1, &random);
		const struct maker_bytes *a = &r.versions[0].bytes;
		const struct maker_bytes *b = &r.versions[1].bytes;
		size_t hash = bole_hash_bytes(test_algo());
		size_t at = 0, count = 0;

		bole_intake_changes(test_algo(), bole_bytes_of(a->ptr, a->len),
		                    bole_bytes_of(b->ptr, b->len), &changes);
		known += changes.count > 0;
		for (size_t i = 0; i < r.entries; i++) {
			size_t id = r.versions[0].ids[i];
			bool name = memcmp(a->ptr + at, b->ptr + at, id - at) == 0;
			bool same = memcmp(a->ptr + id, b->ptr + id, hash) == 0;

			if (changes.count > 0) {
				cr_assert(name);
				cr_assert(same || changes.at[count] == at);
			}
			count += !same || !name;
			at = id + hash;
		}
		cr_assert(changes.count == count || changes.count == 0);
		for (size_t i = 0; i < VERSIONS; i++)
			maker_release(&r.versions[i].bytes);
	}
	cr_assert_gt(known, 2000);
}
