/* SPDX-License-Identifier: ISC */
/* Indexes of packs: git's are read, git reads ours. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/io.h"
#include "git/files/multi_pack.h"
#include "git/files/pack_index.h"
#include "support/gitfiles.h"

static const uint8_t algos[] = {BOLE_HASH_SHA1, BOLE_HASH_SHA256};

static void drop(struct bole_bytes bytes)
{
	free((void *)(uintptr_t)bytes.ptr);
}

struct shown {
	struct bole_oid oid;
	uint64_t offset;
	uint32_t crc;
};

/* The lines of `git show-index`: "offset id (crc)". */
static size_t read_shown(struct gitfiles *f, const char *name, struct shown *out, size_t cap)
{
	struct bole_bytes file = gitfiles_read(f, name);
	struct bole_bytes rest = file;
	size_t count = 0;
	char *line;

	while ((line = gitfiles_line(&rest)) != NULL) {
		char *end;
		cr_assert_lt(count, cap);
		out[count].offset = strtoull(line, &end, 10);
		cr_assert_eq(bole_oid_parse(end + 1, 2 * bole_hash_bytes(f->algo), f->algo,
		                            &out[count].oid),
		             BOLE_OK);
		end = strchr(end, '(');
		out[count++].crc = end == NULL ? 0 : (uint32_t)strtoul(end + 1, NULL, 16);
	}
	drop(file);
	return count;
}

static void expect_index(struct gitfiles *f, const char *pattern, const char *shown_name,
                         unsigned version)
{
	static struct shown shown[20000];
	size_t count = read_shown(f, shown_name, shown, 20000);
	struct bole_bytes file = gitfiles_read(f, pattern);
	struct bole_pack_index index;
	uint64_t offset;
	uint32_t pos, crc;

	cr_assert_eq(bole_pack_index_open(file, f->algo, &index), BOLE_OK);
	cr_assert_eq(index.version, version);
	cr_assert_eq(index.count, count);
	cr_assert_eq(bole_pack_index_verify(&index), BOLE_OK);
	for (size_t i = 0; i < count; i++) {
		cr_assert(bole_pack_index_find(&index, shown[i].oid.bytes, &pos));
		cr_assert_eq(bole_pack_index_offset(&index, pos, &offset), BOLE_OK);
		cr_assert_eq(offset, shown[i].offset);
		if (bole_pack_index_crc(&index, pos, &crc))
			cr_assert_eq(crc, shown[i].crc);
		shown[i].oid.bytes[19] ^= 1;
		if (bole_pack_index_find(&index, shown[i].oid.bytes, &pos))
			cr_assert_eq(
			        memcmp(bole_pack_index_id(&index, pos), shown[i].oid.bytes, 20), 0);
	}
	/* Cut off or longer anywhere it is refused. */
	for (size_t len = 0; len < file.len; len += 1 + len / 8)
		cr_assert_neq(bole_pack_index_open(bole_bytes_of(file.ptr, len), f->algo, &index),
		              BOLE_OK);
	drop(file);
}

Test(indexes, of_versions_1_and_2_are_read_as_git_shows_them)
{
	for (size_t i = 0; i < 2; i++) {
		struct gitfiles f;

		gitfiles_open(&f, algos[i]);
		gitfiles_history(&f, 40);
		gitfiles_sh(&f, "cd w; git repack -adq; git show-index "
		                "<$(ls .git/objects/pack/*.idx) >../shown");
		expect_index(&f, "w/.git/objects/pack/*.idx", "shown", 2);
		gitfiles_sh(&f, "cd w; git -c pack.indexVersion=1 repack -adfq; git show-index "
		                "<$(ls .git/objects/pack/*.idx) >../shown");
		expect_index(&f, "w/.git/objects/pack/*.idx", "shown", 1);
		gitfiles_close(&f);
	}
}

/* Writes the index and the reverse index of what another index says. */
static void rewrite(struct gitfiles *f, struct bole_bytes file, struct bole_buffer *index_file,
                    struct bole_buffer *rev_file)
{
	struct bole_buffer_writer writer;
	struct bole_pack_index index;
	struct bole_oid pack;

	cr_assert_eq(bole_pack_index_open(file, f->algo, &index), BOLE_OK);
	struct bole_pack_row *rows = calloc(index.count, sizeof *rows);
	uint32_t *positions = calloc(index.count, sizeof *positions);
	for (uint32_t i = 0; i < index.count; i++) {
		bole_oid_from_raw(bole_pack_index_id(&index, i), f->algo, &rows[i].oid);
		cr_assert_eq(bole_pack_index_offset(&index, i, &rows[i].offset), BOLE_OK);
		cr_assert(bole_pack_index_crc(&index, i, &rows[i].crc));
	}
	bole_oid_from_raw(index.trailer, f->algo, &pack);
	bole_buffer_writer_init(&writer, index_file);
	cr_assert_eq(bole_pack_index_write(rows, index.count, &pack, &writer.writer), BOLE_OK);
	/* Ranks by counting: slow, and not what the code does. */
	for (uint32_t i = 0; i < index.count; i++) {
		size_t rank = 0;

		for (uint32_t j = 0; j < index.count; j++)
			rank += rows[j].offset < rows[i].offset;
		positions[rank] = i;
	}
	bole_buffer_writer_init(&writer, rev_file);
	cr_assert_eq(bole_pack_rev_write(positions, index.count, &pack, &writer.writer), BOLE_OK);
	free(rows);
	free(positions);
}

Test(indexes, and_reverse_indexes_that_we_write_are_gits_byte_for_byte)
{
	for (size_t i = 0; i < 2; i++) {
		struct bole_buffer index, rev;
		const uint8_t *positions;
		struct gitfiles f;

		gitfiles_open(&f, algos[i]);
		gitfiles_history(&f, 25);
		gitfiles_sh(&f, "cd w; git -c pack.writeReverseIndex=true repack -adq");
		struct bole_bytes theirs = gitfiles_read(&f, "w/.git/objects/pack/*.idx");
		struct bole_bytes their_rev = gitfiles_read(&f, "w/.git/objects/pack/*.rev");
		bole_buffer_init(&index, &f.test.alloc, SIZE_MAX / 2);
		bole_buffer_init(&rev, &f.test.alloc, SIZE_MAX / 2);
		rewrite(&f, theirs, &index, &rev);
		cr_assert(bole_bytes_equal(theirs, bole_bytes_of(index.ptr, index.len)));
		cr_assert(bole_bytes_equal(their_rev, bole_bytes_of(rev.ptr, rev.len)));
		uint32_t count = (uint32_t)((rev.len - 12) / 4 - 2 * bole_hash_bytes(f.algo) / 4);
		cr_assert_eq(bole_pack_rev_open(their_rev, f.algo, count, &positions), BOLE_OK);
		cr_assert_eq(bole_pack_rev_open(their_rev, f.algo, count - 1, &positions),
		             BOLE_E_INVALID);
		rev.ptr[20] ^= 1;
		cr_assert_eq(bole_pack_rev_open(bole_bytes_of(rev.ptr, rev.len), f.algo, count,
		                                &positions),
		             BOLE_E_INVALID);
		drop(theirs);
		drop(their_rev);
		bole_buffer_release(&index);
		bole_buffer_release(&rev);
		gitfiles_close(&f);
	}
}

Test(indexes, have_a_table_for_offsets_past_two_gigabytes)
{
	struct bole_pack_row rows[3] = {
	        {.offset = 12}, {.offset = 0x7fffffff}, {.offset = UINT64_C(0x123456789a)}};
	struct bole_oid pack = {.algo = BOLE_HASH_SHA1};
	struct bole_buffer_writer writer;
	struct bole_pack_index index;
	struct bole_buffer file;
	struct gitfiles f;
	uint64_t offset;

	gitfiles_open(&f, BOLE_HASH_SHA1);
	for (uint8_t i = 0; i < 3; i++) {
		rows[i].oid.algo = BOLE_HASH_SHA1;
		rows[i].oid.bytes[0] = i;
	}
	bole_buffer_init(&file, &f.test.alloc, SIZE_MAX / 2);
	bole_buffer_writer_init(&writer, &file);
	cr_assert_eq(bole_pack_index_write(rows, 3, &pack, &writer.writer), BOLE_OK);
	cr_assert_eq(bole_pack_index_open(bole_bytes_of(file.ptr, file.len), f.algo, &index),
	             BOLE_OK);
	cr_assert_eq(bole_pack_index_verify(&index), BOLE_OK);
	for (uint32_t i = 0; i < 3; i++) {
		cr_assert_eq(bole_pack_index_offset(&index, i, &offset), BOLE_OK);
		cr_assert_eq(offset, rows[i].offset);
	}
	gitfiles_write(&f, "x.idx", bole_bytes_of(file.ptr, file.len));
	gitfiles_sh(&f, "git show-index <x.idx | grep -q ^78187493530");
	/* A place outside the table is no offset. */
	file.ptr[8 + 1024 + 3 * 20 + 3 * 4 + 2 * 4 + 3] = 9;
	cr_assert_eq(bole_pack_index_offset(&index, 2, &offset), BOLE_E_INVALID);
	bole_buffer_release(&file);
	gitfiles_close(&f);
}

/* Every id of the packs is at its place. */
static void expect_midx(struct gitfiles *f, struct bole_bytes file)
{
	static struct shown shown[20000];
	size_t count = read_shown(f, "shown", shown, 20000);
	struct bole_multi_pack midx;
	uint32_t pos, pack;
	uint64_t offset;

	cr_assert_eq(bole_multi_pack_open(file, f->algo, &midx), BOLE_OK);
	cr_assert_eq(bole_multi_pack_verify(&midx), BOLE_OK);
	cr_assert_eq(midx.pack_count, 3);
	for (size_t i = 0; i < count; i++) {
		cr_assert(bole_multi_pack_find(&midx, shown[i].oid.bytes, &pos));
		cr_assert_eq(bole_multi_pack_place(&midx, pos, &pack, &offset), BOLE_OK);
		cr_assert_lt(pack, 3);
	}
	for (size_t len = 0; len < file.len; len += 1 + len / 8)
		cr_assert_neq(bole_multi_pack_open(bole_bytes_of(file.ptr, len), f->algo, &midx),
		              BOLE_OK);
}

static void write_midx(struct gitfiles *f, struct bole_buffer *out)
{
	struct bole_multi_pack_source sources[3];
	struct bole_bytes names = gitfiles_read(f, "names"), rest = names;
	struct bole_buffer_writer writer;
	struct bole_bytes files[3];

	for (size_t i = 0; i < 3; i++) {
		char path[256];

		sources[i].name = gitfiles_line(&rest);
		snprintf(path, sizeof path, "w/.git/objects/pack/%s", sources[i].name);
		files[i] = gitfiles_read(f, path);
		cr_assert_eq(bole_pack_index_open(files[i], f->algo, &sources[i].index), BOLE_OK);
	}
	bole_buffer_writer_init(&writer, out);
	cr_assert_eq(bole_multi_pack_write(&f->test.base, &f->test.alloc, sources, 3, f->algo,
	                                   &writer.writer),
	             BOLE_OK);
	for (size_t i = 0; i < 3; i++)
		drop(files[i]);
	drop(names);
}

Test(indexes, over_several_packs_go_both_ways)
{
	for (size_t i = 0; i < 2; i++) {
		struct bole_buffer ours;
		struct gitfiles f;

		gitfiles_open(&f, algos[i]);
		gitfiles_history(&f, 40);
		gitfiles_sh(&f, "cd w; git repack -adq; for n in 20 30; do git rev-list --objects "
		                "--no-object-names main~$n | git pack-objects -q "
		                ".git/objects/pack/pack >/dev/null; done; cd .git/objects/pack; "
		                "ls *.idx >../../../../names; git multi-pack-index write; "
		                "for x in *.idx; do git show-index <$x; done >../../../../shown");
		struct bole_bytes theirs =
		        gitfiles_read(&f, "w/.git/objects/pack/multi-pack-index");
		expect_midx(&f, theirs);
		bole_buffer_init(&ours, &f.test.alloc, SIZE_MAX / 2);
		write_midx(&f, &ours);
		expect_midx(&f, bole_bytes_of(ours.ptr, ours.len));
		gitfiles_write(&f, "w/.git/objects/pack/multi-pack-index",
		               bole_bytes_of(ours.ptr, ours.len));
		gitfiles_sh(
		        &f,
		        "cd w; git multi-pack-index verify; rm -f .git/objects/[0-9a-f]*/*; git "
		        "fsck --full --strict 2>&1 | grep -v notice | (! grep .)");
		drop(theirs);
		bole_buffer_release(&ours);
		gitfiles_close(&f);
	}
}
