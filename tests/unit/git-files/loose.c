/* SPDX-License-Identifier: ISC */
/* Loose objects and heads of bundles: to git and from git. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/io.h"
#include "git/files/bundle.h"
#include "git/files/loose.h"
#include "support/gitfiles.h"

static const uint8_t algos[] = {BOLE_HASH_SHA1, BOLE_HASH_SHA256};

static void drop(struct bole_bytes bytes)
{
	free((void *)(uintptr_t)bytes.ptr);
}

static struct bole_oid id_of(uint8_t algo, uint8_t type, struct bole_bytes data)
{
	struct bole_hash hash;
	struct bole_oid oid;
	char head[40];
	int len = snprintf(head, sizeof head, "%s %zu", bole_object_type_name(type), data.len);

	bole_hash_init(&hash, algo);
	bole_hash_update(&hash, head, (size_t)len + 1);
	bole_hash_update(&hash, data.ptr, data.len);
	bole_hash_final(&hash, &oid);
	return oid;
}

Test(loose, objects_that_we_write_git_reads)
{
	for (size_t i = 0; i < 2; i++) {
		struct bole_deflater *deflater;
		struct gitfiles f;

		gitfiles_open(&f, algos[i]);
		gitfiles_sh(&f, "git init -q w");
		cr_assert_eq(bole_deflater_open(&f.test.alloc, 6, &deflater), BOLE_OK);
		for (size_t size = 0; size < 300000; size = size * 3 + 1) {
			char path[200], name[BOLE_LOOSE_PATH_MAX], script[600],
			        hex[BOLE_OID_HEX_MAX + 1];
			struct bole_buffer file;
			uint8_t *data = malloc(size + 1);
			uint64_t seed = size;

			test_random_bytes(&seed, data, size);
			struct bole_bytes content = bole_bytes_of(data, size);
			struct bole_oid oid = id_of(f.algo, BOLE_OBJECT_BLOB, content);
			bole_buffer_init(&file, &f.test.alloc, SIZE_MAX / 2);
			cr_assert_eq(bole_loose_write(deflater, &f.test.alloc, BOLE_OBJECT_BLOB,
			                              content, &file),
			             BOLE_OK);
			snprintf(path, sizeof path, "w/.git/objects/%s",
			         bole_loose_path(&oid, name));
			snprintf(script, sizeof script, "mkdir -p $(dirname %s)", path);
			gitfiles_sh(&f, script);
			gitfiles_write(&f, path, bole_bytes_of(file.ptr, file.len));
			gitfiles_write(&f, "data", content);
			snprintf(script, sizeof script, "git -C w cat-file blob %s | cmp - data",
			         bole_oid_format(&oid, hex));
			gitfiles_sh(&f, script);
			bole_buffer_release(&file);
			free(data);
		}
		gitfiles_sh(&f, "git -C w fsck --strict --no-dangling 2>&1 | grep -v notice: | (! "
		                "grep .)");
		bole_deflater_close(deflater);
		gitfiles_close(&f);
	}
}

Test(loose, objects_of_git_are_read_and_damaged_ones_refused)
{
	struct bole_inflater *inflater;
	struct bole_buffer content;
	struct bole_bytes data;
	struct gitfiles f;
	uint8_t type;

	gitfiles_open(&f, BOLE_HASH_SHA256);
	gitfiles_sh(&f, "git init -q w; cd w; seq 30000 >f; git add f");
	struct bole_bytes file = gitfiles_read(&f, "w/.git/objects/[0-9a-f]*/*");
	cr_assert_eq(bole_inflater_open(&f.test.alloc, &inflater), BOLE_OK);
	bole_buffer_init(&content, &f.test.alloc, 1 << 20);
	cr_assert_eq(bole_loose_read(inflater, file, &content, &type, &data), BOLE_OK);
	cr_assert_eq(type, BOLE_OBJECT_BLOB);
	cr_assert_eq(data.len, 168894);
	for (size_t len = 0; len < file.len; len += 1 + len / 4)
		cr_assert_eq(bole_loose_read(inflater, bole_bytes_of(file.ptr, len), &content,
		                             &type, &data),
		             BOLE_E_CORRUPT);
	content.limit = 100000;
	content.len = 0;
	cr_assert_eq(bole_loose_read(inflater, file, &content, &type, &data), BOLE_E_LIMIT);
	bole_buffer_release(&content);
	bole_inflater_close(inflater);
	drop(file);
	gitfiles_close(&f);
}

Test(loose, heads_are_exactly_one_type_and_one_size)
{
	static const struct {
		const char *text;
		size_t len;
		enum bole_status rc;
	} heads[] = {
	        {"blob 0\0", 7, BOLE_OK},
	        {"commit 18446744073709551615\0", 28, BOLE_OK},
	        {"commit 18446744073709551616\0", 28, BOLE_E_INVALID},
	        {"blob \0", 6, BOLE_E_INVALID},
	        {"blob 01\0", 8, BOLE_E_INVALID},
	        {"blob -1\0", 8, BOLE_E_INVALID},
	        {"blob 1 \0", 8, BOLE_E_INVALID},
	        {"BLOB 1\0", 7, BOLE_AGAIN},
	        {"thing 12\0", 9, BOLE_E_INVALID},
	        {"tree 12", 7, BOLE_AGAIN},
	        {"", 0, BOLE_AGAIN},
	};

	for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
		size_t at;
		uint64_t size;
		uint8_t type;

		cr_assert_eq(bole_loose_head_parse(bole_bytes_of(heads[i].text, heads[i].len),
		                                   &type, &size, &at),
		             heads[i].rc, "%s", heads[i].text);
	}
}

static enum bole_status read_head(struct gitfiles *f, struct bole_bytes file, size_t cap,
                                  struct bole_bundle_head *head, uint64_t *used)
{
	struct bole_bytes_reader reader;
	struct bole_input in;
	uint8_t *buf = malloc(cap);

	bole_bytes_reader_init(&reader, file);
	bole_input_init(&in, &reader.reader, buf, cap);
	enum bole_status rc = bole_bundle_head_read(&in, &f->test.alloc, head);
	*used = in.consumed;
	free(buf);
	return rc;
}

Test(bundles, of_git_have_heads_that_are_read_through_any_buffer)
{
	for (size_t i = 0; i < 2; i++) {
		struct bole_bundle_head head;
		struct gitfiles f;
		uint64_t used;

		gitfiles_open(&f, algos[i]);
		gitfiles_history(&f, 30);
		gitfiles_sh(&f, "cd w; git bundle create -q ../x main v1 b2 ^main~5");
		struct bole_bytes file = gitfiles_read(&f, "x");
		for (size_t cap = 64; cap < 5000; cap = cap * 3 / 2) {
			cr_assert_eq(read_head(&f, file, cap, &head, &used), BOLE_OK);
			cr_assert_eq(head.version, i == 0 ? 2 : 3);
			cr_assert_eq(head.algo, f.algo);
			cr_assert_eq(head.ref_count, 3);
			cr_assert_geq(head.prerequisite_count, 1);
			cr_assert_eq(memcmp(file.ptr + used, "PACK", 4), 0);
			bole_bundle_head_release(&head);
		}
		for (size_t len = 0; len < used; len += 1 + len / 16) {
			cr_assert_eq(read_head(&f, bole_bytes_of(file.ptr, len), 512, &head, &used),
			             BOLE_E_INVALID);
			bole_bundle_head_release(&head);
		}
		drop(file);
		gitfiles_close(&f);
	}
}

Test(bundles, with_strange_heads_are_refused)
{
	static const char *const bad[] = {
	        "# v4 git bundle\n\n",
	        "# v2 git bundle\n@object-format=sha1\n\n",
	        "# v3 git bundle\n@object-format=md5\n\n",
	        "# v3 git bundle\n@unknown\n\n",
	        "# v2 git bundle\n-1234\n\n",
	        "# v2 git bundle\n1234567890123456789012345678901234567890 ../x\n\n",
	        "# v2 git bundle\n1234567890123456789012345678901234567890\n\n",
	        "# v3 git bundle\n1234567890123456789012345678901234567890 HEAD\n"
	        "@object-format=sha1\n\n",
	        "not a bundle at all, but long enough",
	};
	struct bole_bundle_head head;
	struct gitfiles f;
	uint64_t used;

	gitfiles_open(&f, BOLE_HASH_SHA1);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		enum bole_status rc = read_head(&f, bole_bytes_z(bad[i]), 64, &head, &used);

		cr_assert(rc == BOLE_E_INVALID || rc == BOLE_E_UNSUPPORTED, "%s", bad[i]);
		bole_bundle_head_release(&head);
	}
	cr_assert_eq(read_head(&f, bole_bytes_z("# v3 git bundle\n@filter=blob:none\n\n"), 64,
	                       &head, &used),
	             BOLE_OK);
	cr_assert(head.filtered);
	bole_bundle_head_release(&head);
	gitfiles_close(&f);
}
