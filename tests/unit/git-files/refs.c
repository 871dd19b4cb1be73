/* SPDX-License-Identifier: ISC */
/* References as files, and reftables: JGit's and some made by hand. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/deflate.h"
#include "base/io.h"
#include "git/files/ref_files.h"
#include "git/files/reftable.h"
#include "support/gitfiles.h"

static const uint8_t algos[] = {BOLE_HASH_SHA1, BOLE_HASH_SHA256};

static void drop(struct bole_bytes bytes)
{
	free((void *)(uintptr_t)bytes.ptr);
}

Test(ref_files, that_git_packed_are_written_again_byte_for_byte)
{
	for (size_t i = 0; i < 2; i++) {
		struct bole_buffer_writer writer;
		struct bole_packed_refs packed;
		struct bole_buffer ours;
		struct bole_output out;
		enum bole_status rc;
		struct gitfiles f;
		struct bole_ref ref;
		uint8_t buf[64];
		size_t count = 0, peeled = 0;

		gitfiles_open(&f, algos[i]);
		gitfiles_history(&f, 30);
		gitfiles_sh(&f, "cd w; git pack-refs --all");
		struct bole_bytes file = gitfiles_read(&f, "w/.git/packed-refs");
		bole_buffer_init(&ours, &f.test.alloc, SIZE_MAX / 2);
		bole_buffer_writer_init(&writer, &ours);
		bole_output_init(&out, &writer.writer, buf, sizeof buf);
		cr_assert_eq(bole_packed_refs_open(file, f.algo, &packed), BOLE_OK);
		cr_assert(packed.sorted && packed.fully_peeled && packed.peeled);
		bole_packed_refs_write_head(&out);
		while ((rc = bole_packed_refs_next(&packed, &ref)) == BOLE_OK) {
			bole_packed_refs_write(&out, &ref);
			count++;
			peeled += ref.has_peeled;
		}
		cr_assert_eq(rc, BOLE_END);
		cr_assert_eq(count, 7); /* main, b0..b2, three tags */
		cr_assert_eq(peeled, 2);
		cr_assert_eq(bole_output_flush(&out), BOLE_OK);
		cr_assert(bole_bytes_equal(file, bole_bytes_of(ours.ptr, ours.len)));
		drop(file);
		bole_buffer_release(&ours);
		gitfiles_close(&f);
	}
}

Test(ref_files, that_are_malformed_are_refused)
{
	static const char id[] = "1234567890123456789012345678901234567890";
	static const char *const bad[] = {
	        "# something else\n",
	        "%s",
	        "%s \n",
	        "%s refs/heads/..\n",
	        "%s  refs/heads/a\n",
	        "%.39s refs/heads/a\n",
	        "%s1 refs/heads/a\n",
	        "%s refs/heads/a\n^%.20s\n",
	        "%s refs/heads/a\n^%s1\n",
	        "\n",
	        "%s ../../x\n",
	        "^%s\n",
	};
	struct bole_packed_refs packed;
	struct bole_ref ref;
	char text[400];

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		/* Every format takes at most two texts. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
		snprintf(text, sizeof text, bad[i], id, id);
#pragma GCC diagnostic pop
		enum bole_status rc =
		        bole_packed_refs_open(bole_bytes_z(text), BOLE_HASH_SHA1, &packed);
		while (rc == BOLE_OK)
			rc = bole_packed_refs_next(&packed, &ref);
		cr_assert_eq(rc, BOLE_E_INVALID, "%s", text);
	}
}

Test(ref_files, hold_an_id_or_a_name)
{
	static const struct {
		const char *text;
		bool fine;
	} files[] = {
	        {"1234567890123456789012345678901234567890\n", true},
	        {"1234567890123456789012345678901234567890", true},
	        {"ref: refs/heads/main\n", true},
	        {"ref:\trefs/heads/main", true},
	        {"ref: refs/heads/a b\n", false},
	        {"ref: \n", false},
	        {"", false},
	        {"123456789012345678901234567890123456789\n", false},
	        {"12345678901234567890123456789012345678901\n", false},
	};
	struct bole_ref ref;

	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		enum bole_status rc =
		        bole_loose_ref_parse(bole_bytes_z(files[i].text), BOLE_HASH_SHA1, &ref);

		cr_assert_eq(rc, files[i].fine ? BOLE_OK : BOLE_E_INVALID, "%s", files[i].text);
		if (rc == BOLE_OK && ref.symbolic)
			cr_assert(bole_bytes_equal(ref.target, bole_bytes_z("refs/heads/main")));
	}
}

/* -- Reftables -- */

/* What was put into JGit's two tables: main, 400 branches, a tag. */
static void expect_jgit(const char *path)
{
	struct bole_reftable_walk walk;
	struct bole_reftable table;
	struct gitfiles f = {.folder = "."};
	struct bole_ref ref;
	enum bole_status rc;
	bool deleted;
	size_t count = 0;
	char before[64] = "", name[64];

	struct bole_bytes file = gitfiles_read(&f, path);
	cr_assert_eq(bole_reftable_open(file, BOLE_HASH_SHA1, &table), BOLE_OK);
	cr_assert_neq(table.index, 0);
	bole_reftable_walk(&table, &walk);
	while ((rc = bole_reftable_next(&walk, &ref, &deleted)) == BOLE_OK) {
		snprintf(name, sizeof name, "%.*s", (int)ref.name.len, (const char *)ref.name.ptr);
		cr_assert_lt(strcmp(before, name), 0);
		memcpy(before, name, sizeof before);
		cr_assert_not(deleted);
		cr_assert_eq(ref.has_peeled, strcmp(name, "refs/tags/v1") == 0);
		count++;
	}
	cr_assert_eq(rc, BOLE_END);
	cr_assert_eq(count, 402);
	for (unsigned i = 0; i <= 401; i++) {
		snprintf(name, sizeof name, "refs/heads/many/%u", i);
		rc = bole_reftable_find(&walk, bole_bytes_z(name), &ref, &deleted);
		cr_assert_eq(rc, i == 0 || i == 401 ? BOLE_E_NOT_FOUND : BOLE_OK, "%s", name);
	}
	cr_assert_eq(bole_reftable_find(&walk, bole_bytes_z("A"), &ref, &deleted),
	             BOLE_E_NOT_FOUND);
	cr_assert_eq(bole_reftable_find(&walk, bole_bytes_z("zzz"), &ref, &deleted),
	             BOLE_E_NOT_FOUND);
	/* Another byte anywhere in header or footer is noticed. */
	for (size_t at = file.len - 68; at < file.len; at++) {
		uint8_t *bytes = (uint8_t *)(uintptr_t)file.ptr;

		bytes[at] ^= 0x40;
		cr_assert_neq(bole_reftable_open(file, BOLE_HASH_SHA1, &table), BOLE_OK);
		bytes[at] ^= 0x40;
	}
	drop(file);
}

Test(reftables, of_jgit_are_read_through_one_and_three_levels_of_index)
{
	expect_jgit("fuzz/corpus/reftable/jgit-blocks-of-1024");
	expect_jgit("fuzz/corpus/reftable/jgit-three-levels");
}

/* A table of one unaligned block, by hand. */
static struct bole_bytes make_table(struct bole_buffer *out, uint8_t algo, const uint8_t *records,
                                    size_t len)
{
	uint8_t head[28] = {'R', 'E', 'F', 'T', algo == BOLE_HASH_SHA1 ? 1 : 2};
	size_t head_len = algo == BOLE_HASH_SHA1 ? 24 : 28;
	size_t block = head_len + 4 + len + 3 + 2;
	uint8_t number[4];

	memcpy(head + 24, "s256", 4);
	out->len = 0;
	bole_buffer_append(out, head, head_len);
	bole_put_be32(number, (uint32_t)block);
	number[0] = 'r';
	bole_buffer_append(out, number, 4);
	bole_buffer_append(out, records, len);
	bole_put_be32(number, (uint32_t)head_len + 4);
	bole_buffer_append(out, number + 1, 3);
	bole_buffer_append(out, "\0\1", 2);
	size_t foot = out->len;
	bole_buffer_append(out, head, head_len);
	for (unsigned i = 0; i < 40; i++)
		bole_buffer_byte(out, 0);
	bole_put_be32(number, bole_crc32(0, bole_bytes_of(out->ptr + foot, out->len - foot)));
	bole_buffer_append(out, number, 4);
	return bole_bytes_of(out->ptr, out->len);
}

Test(reftables, have_symbolic_and_deleted_and_peeled_references_of_both_formats)
{
	for (size_t i = 0; i < 2; i++) {
		size_t hash = bole_hash_bytes(algos[i]);
		struct bole_reftable_walk walk;
		struct bole_reftable table;
		struct gitfiles f;
		struct bole_buffer bytes;
		struct bole_ref ref;
		uint8_t r[200];
		size_t n = 0;
		bool deleted;

		gitfiles_open(&f, algos[i]);
		bole_buffer_init(&bytes, &f.test.alloc, SIZE_MAX / 2);
		memcpy(r, "\0\x23HEAD\0\x0frefs/heads/main", 23); /* suffix 4, type 3, target 15 */
		n = 23;
		memcpy(r + n, "\0\x60refs/heads/a\0", 15); /* suffix 12, deleted */
		n += 15;
		memcpy(r + n,
		       "\x0b\x0a"
		       "b\0",
		       4); /* 11 of "refs/heads/a" and "b", type 2 */
		n += 4;
		memset(r + n, 1, hash);
		memset(r + n + hash, 2, hash);
		n += 2 * hash;
		struct bole_bytes file = make_table(&bytes, f.algo, r, n);
		cr_assert_eq(bole_reftable_open(file, f.algo, &table), BOLE_OK);
		cr_assert_eq(
		        bole_reftable_open(file, algos[1 - i], &(struct bole_reftable){.algo = 0}),
		        BOLE_E_UNSUPPORTED);
		bole_reftable_walk(&table, &walk);
		cr_assert_eq(bole_reftable_next(&walk, &ref, &deleted), BOLE_OK);
		cr_assert(ref.symbolic && !deleted);
		cr_assert(bole_bytes_equal(ref.target, bole_bytes_z("refs/heads/main")));
		cr_assert_eq(bole_reftable_next(&walk, &ref, &deleted), BOLE_OK);
		cr_assert(deleted && bole_bytes_equal(ref.name, bole_bytes_z("refs/heads/a")));
		cr_assert_eq(bole_reftable_next(&walk, &ref, &deleted), BOLE_OK);
		cr_assert(ref.has_peeled && ref.oid.bytes[hash - 1] == 1 &&
		          ref.peeled.bytes[hash - 1] == 2);
		cr_assert(bole_bytes_equal(ref.name, bole_bytes_z("refs/heads/b")));
		cr_assert_eq(bole_reftable_next(&walk, &ref, &deleted), BOLE_END);
		/* Cut short within a record. */
		file = make_table(&bytes, f.algo, r, n - 1);
		cr_assert_eq(bole_reftable_open(file, f.algo, &table), BOLE_OK);
		bole_reftable_walk(&table, &walk);
		cr_assert_eq(bole_reftable_next(&walk, &ref, &deleted), BOLE_OK);
		cr_assert_eq(bole_reftable_next(&walk, &ref, &deleted), BOLE_OK);
		cr_assert_eq(bole_reftable_next(&walk, &ref, &deleted), BOLE_E_INVALID);
		bole_buffer_release(&bytes);
		gitfiles_close(&f);
	}
}
