/* SPDX-License-Identifier: ISC */
/* Packs that must be refused, each with a reason, and nothing kept. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/memory.h"
#include "support/packworld.h"

enum { LEN = 200 };

static uint8_t blob[LEN];
static struct bole_oid blob_oid;

/* A pack with one blob (at offset 12), to be spoilt by what follows. */
static void begin(struct packmaker *maker)
{
	memset(blob, 'x', sizeof(blob));
	packmaker_init(maker, test_algo());
	packmaker_object(maker, 3, blob, LEN, &blob_oid);
}

/* Pushes, as records and as an extent; the reason must hold `why`. */
static void refused(struct packmaker *maker, enum bole_status expected, const char *why)
{
	for (size_t extent = 0; extent < 2; extent++) {
		struct packworld world;

		packworld_open(&world, maker->algo, 1);
		if (extent)
			world.store->info.extent_bytes_min = 1;
		enum bole_status rc =
		        packworld_push(&world, maker->out.ptr, maker->out.len, NULL, NULL);

		cr_assert_eq(rc, expected, "%s is %s: %s", why, bole_status_text(rc),
		             world.report.error);
		cr_assert(strstr(world.report.error, why) != NULL, "not \"%s\": %s", why,
		          world.report.error);
		cr_assert_eq(packworld_verify(&world), 0);
		packworld_close(&world);
	}
	packmaker_release(maker);
}

static void invalid(struct packmaker *maker, const char *why)
{
	refused(maker, BOLE_E_INVALID, why);
}

Test(hostile, headers_and_trailers)
{
	/* Where an object is missing the trailer is read as one; that of SHA-256 here happens to
	 * begin like a long commit. */
	enum bole_status beyond = test_algo() == BOLE_HASH_SHA1 ? BOLE_E_INVALID : BOLE_E_LIMIT;
	struct packmaker maker;

	begin(&maker);
	packmaker_finish(&maker);
	maker.out.ptr[0] = 'Q';
	invalid(&maker, "no pack");
	for (uint32_t version = 0; version < 6; version++) {
		if (version == 2 || version == 3)
			continue;
		begin(&maker);
		packmaker_finish_count(&maker, version, 1);
		invalid(&maker, "no pack");
	}
	begin(&maker);
	packmaker_finish(&maker);
	maker.out.ptr[maker.out.len - 1] ^= 1;
	invalid(&maker, "checksum");
	begin(&maker);
	packmaker_finish_count(&maker, 2, 0);
	invalid(&maker, "checksum");
	begin(&maker);
	packmaker_finish_count(&maker, 2, 2);
	refused(&maker, beyond, "");
	begin(&maker);
	packmaker_finish_count(&maker, 2, UINT32_MAX);
	refused(&maker, BOLE_E_LIMIT, "objects");
	/* Inside the object limit, but not in memory: refused before anything is allocated. */
	begin(&maker);
	packmaker_finish_count(&maker, 2, 9000000);
	refused(&maker, BOLE_E_LIMIT, "memory");
	/* Believable, but not there. */
	begin(&maker);
	packmaker_finish_count(&maker, 2, 300000);
	invalid(&maker, "");
}

Test(hostile, sizes_that_lie)
{
	static const uint64_t sizes[] = {0, 1, LEN - 1, LEN + 1, 100000, 3000000};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct packmaker maker;

		packmaker_init(&maker, test_algo());
		packmaker_entry(&maker, 3, sizes[i], 0, NULL, blob, LEN);
		packmaker_finish(&maker);
		invalid(&maker, sizes[i] < LEN ? "longer" : "shorter");
	}
	for (unsigned bits = 40; bits < 64; bits += 23) {
		struct packmaker maker;

		packmaker_init(&maker, test_algo());
		packmaker_entry(&maker, 3, (uint64_t)1 << bits, 0, NULL, blob, LEN);
		packmaker_finish(&maker);
		refused(&maker, BOLE_E_LIMIT, "limit");
	}
}

Test(hostile, size_that_overflows_its_varint)
{
	struct packmaker maker;

	packmaker_init(&maker, test_algo());
	uint8_t head[24];

	memset(head, 0xff, sizeof(head));
	head[0] = 0xb0;
	head[sizeof(head) - 1] = 0x7f;
	maker_append(&maker.out, head, sizeof(head));
	maker.count++;
	packmaker_finish(&maker);
	invalid(&maker, "");
}

Test(hostile, zlib_data)
{
	struct packmaker maker;

	/* Truncated: the next entry is taken for its rest. */
	begin(&maker);
	size_t cut = maker.out.len - 6;

	maker.out.len = cut;
	packmaker_object(&maker, 3, "y", 1, NULL);
	packmaker_finish(&maker);
	invalid(&maker, "");
	/* Bytes behind the end of the stream. */
	begin(&maker);
	maker_append(&maker.out, "\x00\x00\x00", 3);
	packmaker_finish(&maker);
	invalid(&maker, "");
	begin(&maker);
	maker_append(&maker.out, "\x00\x00\x00", 3);
	packmaker_object(&maker, 3, "y", 1, NULL);
	packmaker_finish(&maker);
	invalid(&maker, "");
	/* No zlib at all, and a preset dictionary. */
	packmaker_init(&maker, test_algo());
	packmaker_head(&maker, 3, 4, 0, NULL);
	maker_append(&maker.out, "abcdefgh", 8);
	packmaker_finish(&maker);
	invalid(&maker, "zlib");
	packmaker_init(&maker, test_algo());
	packmaker_head(&maker, 3, 4, 0, NULL);
	maker_append(&maker.out, "\x78\xbb\0\0\0\1\3\0", 8);
	packmaker_finish(&maker);
	invalid(&maker, "zlib");
	/* A wrong Adler-32. */
	packmaker_init(&maker, test_algo());
	packmaker_object(&maker, 3, blob, LEN, NULL);
	maker.out.ptr[maker.out.len - 1] ^= 1;
	packmaker_finish(&maker);
	invalid(&maker, "zlib");
}

Test(hostile, entry_types_that_do_not_exist)
{
	for (unsigned type = 0; type < 8; type += 5) {
		struct packmaker maker;

		packmaker_init(&maker, test_algo());
		packmaker_entry(&maker, (uint8_t)type, LEN, 0, NULL, blob, LEN);
		packmaker_finish(&maker);
		invalid(&maker, "");
	}
}

static void same(struct maker_bytes *delta)
{
	delta_begin(delta, LEN, LEN);
	delta_copy(delta, 0, LEN);
}

Test(hostile, offset_deltas_to_nowhere)
{
	struct maker_bytes delta = {0};
	struct packmaker maker;

	/* To itself, into the header, before the start, far before it, into the middle. */
	for (int i = 0; i < 6; i++) {
		begin(&maker);
		same(&delta);
		uint64_t here = maker.out.len;
		const uint64_t distance[] = {0,        here - 11,         here,
		                             here + 1, (uint64_t)1 << 60, here - 13};

		packmaker_entry(&maker, 6, delta.len, distance[i], NULL, delta.ptr, delta.len);
		packmaker_finish(&maker);
		invalid(&maker, "");
	}
	/* A distance that overflows 64 bits. */
	begin(&maker);
	maker_append(&maker.out, "\x65", 1);
	for (int i = 0; i < 12; i++)
		maker_append(&maker.out, "\xff", 1);
	maker_append(&maker.out, "\x7f", 1);
	maker.count++;
	packmaker_finish(&maker);
	invalid(&maker, "");
	maker_release(&delta);
}

Test(hostile, missing_bases_and_circles)
{
	struct maker_bytes delta = {0};
	struct packmaker maker;
	struct bole_oid a, b;

	begin(&maker);
	same(&delta);
	memset(&a, 0x41, sizeof(a));
	a.algo = test_algo();
	packmaker_ref(&maker, &a, &delta);
	packmaker_finish(&maker);
	invalid(&maker, "4141414141414141414141414141414141414141");

	/* Two blobs, each a delta on the other; and one on itself. */
	memset(blob, 'x', sizeof(blob));
	blob[0] = 1;
	cr_assert_eq(bole_object_id(test_algo(), 3, bole_bytes_of(blob, LEN), false, &a), BOLE_OK);
	blob[0] = 2;
	cr_assert_eq(bole_object_id(test_algo(), 3, bole_bytes_of(blob, LEN), false, &b), BOLE_OK);
	packmaker_init(&maker, test_algo());
	for (uint8_t i = 1; i <= 2; i++) {
		delta_begin(&delta, LEN, LEN);
		delta_insert(&delta, &i, 1);
		delta_copy(&delta, 1, LEN - 1);
		packmaker_ref(&maker, i == 1 ? &b : &a, &delta);
	}
	packmaker_finish(&maker);
	invalid(&maker, "circle");
	packmaker_init(&maker, test_algo());
	same(&delta);
	uint64_t at = packmaker_ref(&maker, &a, &delta);

	packmaker_ofs(&maker, at, &delta);
	packmaker_finish(&maker);
	invalid(&maker, "circle");
	maker_release(&delta);
}

Test(hostile, delta_instructions)
{
	struct maker_bytes delta = {0};

	for (int i = 0; i < 12; i++) {
		struct packmaker maker;

		begin(&maker);
		same(&delta);
		switch (i) {
		case 0: /* copy from behind the base */
			delta_begin(&delta, LEN, 10);
			delta_copy(&delta, LEN - 5, 10);
			break;
		case 1:
			delta_begin(&delta, LEN, 10);
			delta_copy(&delta, UINT32_MAX, 10);
			break;
		case 2: /* the reserved instruction */
			delta_begin(&delta, LEN, 10);
			maker_append(&delta, "\0", 1);
			delta_copy(&delta, 0, 10);
			break;
		case 3: /* more than promised, less than promised */
			delta_begin(&delta, LEN, LEN - 1);
			delta_copy(&delta, 0, LEN);
			break;
		case 4:
			delta_begin(&delta, LEN, LEN + 1);
			delta_copy(&delta, 0, LEN);
			break;
		case 5: /* another base */
			delta_begin(&delta, LEN - 1, LEN - 1);
			delta_copy(&delta, 0, LEN - 1);
			break;
		case 6: /* cut within an instruction, within a size, nothing at all */
			delta_begin(&delta, LEN, LEN);
			maker_append(&delta, "\xff\x00", 2);
			break;
		case 7:
			delta.len = 1;
			delta.ptr[0] = 0xff;
			break;
		case 8: delta.len = 0; break;
		case 9: /* insert behind the end of the delta */
			delta_begin(&delta, LEN, 100);
			maker_append(&delta, "\x64only", 5);
			break;
		case 10: /* only sizes */ delta_begin(&delta, LEN, LEN); break;
		default: /* sizes of 2^70 */
			delta.len = 0;
			for (int k = 0; k < 2; k++)
				maker_append(&delta, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
				             11);
			break;
		}
		packmaker_ofs(&maker, 12, &delta);
		packmaker_finish(&maker);
		invalid(&maker, "delta");
	}
	maker_release(&delta);
}

/* Goal: a deep chain is refused without a deep stack. Method: 100,000 deltas, each on the last. */
Test(hostile, a_chain_of_a_hundred_thousand_deltas)
{
	struct maker_bytes delta = {0};
	struct packmaker maker;
	uint64_t at = 12;

	begin(&maker);
	for (uint32_t i = 0; i < 100000; i++) {
		delta_begin(&delta, LEN, LEN);
		delta_insert(&delta, &i, 4);
		delta_copy(&delta, 4, LEN - 4);
		at = packmaker_ofs(&maker, at, &delta);
	}
	packmaker_finish(&maker);
	refused(&maker, BOLE_E_LIMIT, "chain");
	maker_release(&delta);
}

/* Goal: the depth counts what is below a thin pack's base too. Method: chains of 50 pushed one on
 * the other until it is refused. */
Test(hostile, a_chain_built_by_many_pushes)
{
	struct maker_bytes delta = {0};
	struct packworld world;
	struct packmaker maker;
	struct bole_oid tip;
	enum bole_status rc;
	unsigned depth = 0;

	begin(&maker);
	tip = blob_oid;
	packmaker_finish(&maker);
	packworld_open(&world, test_algo(), 1);
	world.limits.delta_depth_max = 120;
	while ((rc = packworld_push(&world, maker.out.ptr, maker.out.len, NULL, NULL)) == BOLE_OK) {
		packmaker_release(&maker);
		packmaker_init(&maker, test_algo());
		uint64_t at = 0;

		for (uint32_t i = 0; i < 50; i++) {
			depth++;
			delta_begin(&delta, LEN, LEN);
			delta_insert(&delta, &depth, 4);
			delta_copy(&delta, 4, LEN - 4);
			at = i == 0 ? packmaker_ref(&maker, &tip, &delta)
			            : packmaker_ofs(&maker, at, &delta);
		}
		memcpy(blob, &depth, 4);
		cr_assert_eq(bole_object_id(test_algo(), 3, bole_bytes_of(blob, LEN), false, &tip),
		             BOLE_OK);
		packmaker_finish(&maker);
		cr_assert_lt(depth, 1000);
	}
	cr_assert_eq(rc, BOLE_E_LIMIT);
	cr_assert_eq(depth, 150);
	cr_assert_eq(packworld_verify(&world), 101);
	packmaker_release(&maker);
	maker_release(&delta);
	packworld_close(&world);
}

/* Goal: a base that is sent again does not hide the chain that it stands on in the domain. Method:
 * a chain up to the limit, then its tip whole with an id delta on it. */
Test(hostile, a_chain_behind_a_base_that_is_sent_again)
{
	enum { DEPTH = 30 };

	for (size_t extent = 0; extent < 4; extent++) {
		struct maker_bytes delta = {0};
		struct packworld world;
		struct packmaker maker;
		struct bole_oid tip;
		uint64_t at = 12;

		packworld_open(&world, test_algo(), 1);
		world.limits.delta_depth_max = DEPTH;
		begin(&maker);
		for (uint32_t i = 0; i < DEPTH; i++) {
			memcpy(blob, &i, 4);
			delta_begin(&delta, LEN, LEN);
			delta_insert(&delta, &i, 4);
			delta_copy(&delta, 4, LEN - 4);
			at = packmaker_ofs(&maker, at, &delta);
		}
		packmaker_finish(&maker);
		cr_assert_eq(packworld_push(&world, maker.out.ptr, maker.out.len, NULL, NULL),
		             BOLE_OK, "%s", world.report.error);
		packmaker_release(&maker);
		if (extent / 2 == 1)
			world.store->info.extent_bytes_min = 1;
		packmaker_init(&maker, test_algo());
		at = packmaker_object(&maker, 3, blob, LEN, &tip);
		delta_begin(&delta, LEN, LEN);
		delta_insert(&delta, "next", 4);
		delta_copy(&delta, 4, LEN - 4);
		if (extent % 2 == 0)
			packmaker_ref(&maker, &tip, &delta);
		else
			packmaker_ofs(&maker, at, &delta);
		packmaker_finish(&maker);
		/* Only an offset in an extent leads to the new copy. */
		cr_assert_eq(packworld_push(&world, maker.out.ptr, maker.out.len, NULL, NULL),
		             extent == 3 ? BOLE_OK : BOLE_E_LIMIT, "%zu: %s", extent,
		             world.report.error);
		cr_assert_eq(packworld_verify(&world), DEPTH + (extent == 3 ? 2 : 1));
		packmaker_release(&maker);
		maker_release(&delta);
		packworld_close(&world);
	}
}

/* Goal: bombs are refused by what they declare, quickly and in bounded memory. */
Test(hostile, delta_and_zlib_bombs)
{
	enum { BASE = 64 * 1024, TIMES = 16 };
	struct maker_bytes delta = {0};
	struct packmaker maker;
	uint8_t *zeros = calloc(1, 16 << 20);
	uint64_t len = BASE, at;

	cr_assert_not_null(zeros);
	/* Five entries: 64 KiB, then four times sixteen copies of the last: 4 GiB. */
	packmaker_init(&maker, test_algo());
	at = packmaker_object(&maker, 3, zeros, BASE, NULL);
	for (int i = 0; i < 4; i++) {
		delta_begin(&delta, len, len * TIMES);
		for (uint64_t done = 0; done < len * TIMES; done += BASE)
			delta_copy(&delta, 0, BASE);
		at = packmaker_ofs(&maker, at, &delta);
		len *= TIMES;
	}
	packmaker_finish(&maker);
	refused(&maker, BOLE_E_LIMIT, "limit");

	/* 1 GiB of zeros in about 1 MB: 64 blobs of 16 MiB. */
	packmaker_init(&maker, test_algo());
	for (uint32_t i = 0; i < 64; i++) {
		memcpy(zeros, &i, 4);
		packmaker_object(&maker, 3, zeros, 16 << 20, NULL);
	}
	packmaker_finish(&maker);
	refused(&maker, BOLE_E_LIMIT, "inflates");
	free(zeros);
	maker_release(&delta);
}

/* -- Links and grammar -- */

/* A pack of a blob and a tree with one entry. */
static void bad_entry(const char *mode, const char *name, const char *why)
{
	struct maker_bytes tree = {0};
	struct packmaker maker;

	begin(&maker);
	tree_entry(&tree, mode, name, &blob_oid);
	packmaker_object(&maker, 2, tree.ptr, tree.len, NULL);
	packmaker_finish(&maker);
	invalid(&maker, why);
	maker_release(&tree);
}

Test(hostile, names_and_modes_in_trees)
{
	static const char *const names[][2] = {
	        {"", "badTree"},
	        {".", "hasDot"},
	        {"..", "hasDotdot"},
	        {".git", "hasDotgit"},
	        {".GIT", "hasDotgit"},
	        {".gIt", "hasDotgit"},
	        {"git~1", "hasDotgit"},
	        {".git ", "hasDotgit"},
	        {".git::$INDEX_ALLOCATION", "hasDotgit"},
	        {"a/b", "fullPathname"},
	        {"/", "fullPathname"},
	        {"a/", "fullPathname"},
	};
	static const char *const modes[][2] = {
	        {"777777", "malformed"},   {"0", "unknown mode"}, {"60000", "unknown mode"},
	        {"20644", "unknown mode"}, {"1", "unknown mode"}, {"9", "badTree"},
	        {"", "badTree"},           {"x", "badTree"},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		bad_entry("100644", names[i][0], names[i][1]);
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		bad_entry(modes[i][0], "a", modes[i][1]);
	bad_entry("40000", "a", "is a blob");
}

static void bad_pair(const char *mode, const char *first, const char *mode2, const char *second,
                     const char *why)
{
	struct maker_bytes tree = {0};
	struct packmaker maker;
	struct bole_oid empty;

	begin(&maker);
	packmaker_object(&maker, 2, "", 0, &empty);
	tree_entry(&tree, mode, first, mode[0] == '4' ? &empty : &blob_oid);
	tree_entry(&tree, "100644", "b-b", &blob_oid);
	tree_entry(&tree, mode2, second, mode2[0] == '4' ? &empty : &blob_oid);
	packmaker_object(&maker, 2, tree.ptr, tree.len, NULL);
	packmaker_finish(&maker);
	invalid(&maker, why);
	maker_release(&tree);
}

Test(hostile, order_and_doubles_in_trees)
{
	bad_pair("100644", "c", "100644", "d", "treeNotSorted");
	bad_pair("100644", "a", "100644", "a", "treeNotSorted");
	bad_pair("100644", "a", "100644", "b-b", "duplicateEntries");
	bad_pair("100644", "b-b", "100644", "c", "duplicateEntries");
	bad_pair("100644", "b", "40000", "b",
	         "duplicateEntries"); /* b, b-b, b/: in order, and twice */
	bad_pair("40000", "b", "100644", "c", "treeNotSorted");
}

/* Goal: the memory of prefixes is bounded. Method: names a, aa, aaa, ... */
/* However many files there are whose names are prefixes of each other, a directory of one of these
 * names is found. */
Test(hostile, names_that_are_all_prefixes_of_each_other)
{
	for (size_t count = 100; count <= 4000; count += 1300) {
		struct maker_bytes tree = {0};
		struct packmaker maker;
		struct packworld world;
		struct bole_oid oid;
		char name[4100] = "";

		begin(&maker);
		for (size_t i = 0; i < count; i++) {
			name[i] = '-';
			maker_append(&tree, "100644 ", 7);
			maker_append(&tree, name, i + 2);
			maker_append(&tree, blob_oid.bytes, bole_hash_bytes(test_algo()));
		}
		packmaker_object(&maker, 2, tree.ptr, tree.len, NULL);
		packmaker_finish(&maker);
		packworld_open(&world, test_algo(), 1);
		cr_assert_eq(packworld_push(&world, maker.out.ptr, maker.out.len, NULL, NULL),
		             BOLE_OK, "%s", world.report.error);
		packmaker_release(&maker);
		packworld_close(&world);
		begin(&maker);
		packmaker_object(&maker, 2, "", 0, &oid);
		tree_entry(&tree, "40000", "---", &oid);
		packmaker_object(&maker, 2, tree.ptr, tree.len, NULL);
		packmaker_finish(&maker);
		invalid(&maker, "duplicateEntries");
		maker_release(&tree);
	}
}

Test(hostile, links_to_nothing_or_to_another_type)
{
	struct maker_bytes text = {0};
	struct packmaker maker;
	struct bole_oid other, tree;
	char hex[BOLE_OID_HEX_MAX + 1];

	memset(&other, 0x42, sizeof(other));
	other.algo = test_algo();
	memset(other.bytes + 20, 0, 12);
	/* A tree entry, a commit's tree, a commit's parent, a tag's object. */
	for (int i = 0; i < 5; i++) {
		begin(&maker);
		packmaker_object(&maker, 2, "", 0, &tree);
		text.len = 0;
		if (i == 0)
			tree_entry(&text, "100644", "a", &other);
		else if (i == 1)
			tree_entry(&text, "40000", "a", &other);
		else if (i == 2)
			commit_text(&text, &other, NULL, 1, "m");
		else if (i == 3)
			commit_text(&text, &tree, &other, 1, "m");
		else
			maker_text(&text,
			           "object %s\ntype commit\ntag t\ntagger N <n> 1 +0000\n\nm\n",
			           bole_oid_format(&other, hex));
		packmaker_object(&maker, i < 2 ? 2 : i < 4 ? 1 : 4, text.ptr, text.len, NULL);
		packmaker_finish(&maker);
		invalid(&maker, "missing");
	}
	/* The wrong type, met before and after the link. */
	for (int i = 0; i < 8; i++) {
		begin(&maker);
		if (i % 2 == 1)
			maker.out.len = 12, maker.count = 0;
		else
			packmaker_object(&maker, 2, "", 0, &tree);
		text.len = 0;
		if (i / 2 == 0)
			commit_text(&text, &blob_oid, NULL, 1, "m");
		else if (i / 2 == 1)
			commit_text(&text, &tree, &tree, 1, "m");
		else if (i / 2 == 2)
			tree_entry(&text, "100644", "a", &tree);
		else
			maker_text(&text,
			           "object %s\ntype commit\ntag t\ntagger N <n> 1 +0000\n\nm\n",
			           bole_oid_format(&tree, hex));
		packmaker_object(&maker,
		                 i / 2 == 2  ? 2
		                 : i / 2 < 2 ? 1
		                             : 4,
		                 text.ptr, text.len, NULL);
		if (i % 2 == 1) {
			packmaker_object(&maker, 3, blob, LEN, NULL);
			packmaker_object(&maker, 2, "", 0, NULL);
		}
		packmaker_finish(&maker);
		invalid(&maker, i / 2 == 1 ? "" : "is a");
	}
	maker_release(&text);
}

Test(hostile, malformed_commits_tags_and_trees)
{
	static const char *const commits[] = {"", "tree\n", "tree 1234\n\n", "author x\n\n"};
	struct packmaker maker;

	for (size_t i = 0; i < 4; i++) {
		for (uint8_t type = 1; type <= 4; type++) {
			if (type == 3 || (type == 2 && commits[i][0] == '\0'))
				continue;
			begin(&maker);
			packmaker_object(&maker, type, commits[i], strlen(commits[i]), NULL);
			packmaker_finish(&maker);
			invalid(&maker, type == 2 ? "badTree" : "malformed");
		}
	}
}

/* -- Damage -- */

Test(hostile, truncation_at_every_byte)
{
	struct packmaker maker;

	packmaker_init(&maker, test_algo());
	packmaker_history(&maker, 4, 3);
	packmaker_finish(&maker);
	for (size_t extent = 0; extent < 2; extent++) {
		struct packworld world;

		packworld_open(&world, test_algo(), 1);
		if (extent)
			world.store->info.extent_bytes_min = 200;
		for (size_t len = 0; len < maker.out.len; len++) {
			cr_assert_eq(packworld_push(&world, maker.out.ptr, len, NULL, NULL),
			             BOLE_E_INVALID, "cut at %zu: %s", len, world.report.error);
			cr_assert_neq(world.report.error[0], '\0');
		}
		cr_assert_eq(packworld_verify(&world), 0);
		cr_assert_eq(packworld_push(&world, maker.out.ptr, maker.out.len, NULL, NULL),
		             BOLE_OK);
		packworld_close(&world);
	}
	packmaker_release(&maker);
}

/* Goal: damage is never stored as something else. Method: flip each bit in turn, with the checksum
 * left as it was (refused) and made right again (refused, or every object fits its id). */
Test(hostile, flipped_bits)
{
	struct packmaker maker;
	size_t taken = 0;

	packmaker_init(&maker, test_algo());
	packmaker_history(&maker, 2, 3);
	packmaker_finish(&maker);
	for (size_t bit = 0; bit < maker.out.len * 8; bit += bit < 400 ? 1 : 5) {
		struct packworld world;

		packworld_open(&world, test_algo(), 1);
		world.store->info.extent_bytes_min = bit % 2 == 0 ? 200 : 1 << 20;
		maker.out.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
		enum bole_status rc =
		        packworld_push(&world, maker.out.ptr, maker.out.len, NULL, NULL);

		cr_assert(rc == BOLE_E_INVALID || rc == BOLE_E_LIMIT, "bit %zu: %d", bit, (int)rc);
		if (bit < (maker.out.len - 20) * 8) {
			struct maker_bytes again = {0};
			struct bole_hash hash;
			struct bole_oid sum;

			maker_append(&again, maker.out.ptr, maker.out.len - 20);
			bole_hash_init(&hash, test_algo());
			bole_hash_update(&hash, again.ptr, again.len);
			bole_hash_final(&hash, &sum);
			maker_append(&again, sum.bytes, 20);
			rc = packworld_push(&world, again.ptr, again.len, NULL, NULL);
			cr_assert(rc == BOLE_OK || rc == BOLE_E_INVALID || rc == BOLE_E_LIMIT);
			taken += rc == BOLE_OK;
			packworld_verify(&world);
			maker_release(&again);
		}
		maker.out.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
		packworld_close(&world);
	}
	/* Only bits that mean nothing may pass (a zlib level, a padding bit): few. */
	cr_assert_lt(taken, 60, "%zu", taken);
	packmaker_release(&maker);
}

Test(hostile, limits_that_are_given)
{
	for (int i = 0; i < 6; i++) {
		struct packworld world;
		struct packmaker maker;

		packworld_open(&world, test_algo(), 1);
		packmaker_init(&maker, test_algo());
		packmaker_history(&maker, 20, 3);
		packmaker_finish(&maker);
		switch (i) {
		case 0: world.limits.pack_bytes_max = maker.out.len / 2; break;
		case 1: world.limits.object_bytes_max = 500; break;
		case 2: world.limits.inflated_bytes_max = 5000; break;
		case 3: world.limits.objects_max = maker.count - 1; break;
		case 4: world.limits.delta_depth_max = 1; break;
		default: world.limits.memory_bytes_max = 100000; break;
		}
		enum bole_status rc =
		        packworld_push(&world, maker.out.ptr, maker.out.len, NULL, NULL);

		cr_assert_eq(rc, i == 5 ? BOLE_E_NO_MEMORY : BOLE_E_LIMIT, "%d: %d %s", i, (int)rc,
		             world.report.error);
		cr_assert_eq(packworld_verify(&world), 0);
		packmaker_release(&maker);
		packworld_close(&world);
	}
}
