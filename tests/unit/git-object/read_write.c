/* SPDX-License-Identifier: ISC */
/* Objects written and read back through a store; delta chains made by hand. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/memory.h"
#include "bole/limits.h"
#include "bole/store.h"
#include "git/delta.h"
#include "git/object/object.h"
#include "git/object/read.h"
#include "git/object/write.h"
#include "support/platform.h"

static struct test_platform test;
static struct bole_store *store;
static struct bole_repo repo;
static struct bole_tx *tx;

static void open_all(uint8_t algo)
{
	test_platform_init(&test, 1);
	cr_assert_eq(bole_memory_store_open(&test.base, &test.alloc, &store), BOLE_OK);
	cr_assert_eq(bole_repo_create(store, "main", algo, "refs/heads/main", &repo), BOLE_OK);
	cr_assert_eq(bole_tx_begin(store, repo.id, &tx), BOLE_OK);
}

static void close_all(void)
{
	bole_tx_abort(tx);
	cr_assert_eq(bole_store_close(store), BOLE_OK);
	test_platform_release(&test);
}

static struct bole_object_reader *reader_open(size_t cache_bytes, uint64_t object_bytes_max)
{
	struct bole_object_reader_options options = {cache_bytes, object_bytes_max};
	struct bole_object_reader *reader;

	cr_assert_eq(bole_object_reader_open(tx->view, &test.alloc, &options, &reader), BOLE_OK);
	return reader;
}

static void expect_object(struct bole_object_reader *reader, const struct bole_oid *oid,
                          uint8_t type, struct bole_bytes want)
{
	struct bole_buffer buffer;
	struct bole_buffer_writer writer;
	struct bole_bytes seen;
	uint8_t seen_type;
	uint64_t len;

	cr_assert_eq(bole_object_read(reader, oid, &seen_type, &seen), BOLE_OK);
	cr_assert_eq(seen_type, type);
	cr_assert(bole_bytes_equal(seen, want));
	cr_assert_eq(bole_object_size(reader, oid, &seen_type, &len), BOLE_OK);
	cr_assert_eq(len, want.len);
	bole_buffer_init(&buffer, &test.alloc, SIZE_MAX);
	bole_buffer_writer_init(&writer, &buffer);
	cr_assert_eq(bole_object_stream(reader, oid, &writer.writer, &seen_type, &len), BOLE_OK);
	cr_assert_eq(len, want.len);
	cr_assert(bole_bytes_equal(bole_bytes_of(buffer.ptr, buffer.len), want));
	bole_buffer_release(&buffer);
}

Test(object, what_is_written_is_read_back_at_every_size_and_level)
{
	static const size_t lens[] = {0, 1, 15, 16, 4096, 65536, 300000, (1 << 20) + 1, 5 << 20};
	uint64_t seed = test_seed(4);
	uint8_t *data = malloc(5 << 20);

	test_random_bytes(&seed, data, 5 << 20);
	for (uint8_t algo = 1; algo <= 2; algo++) {
		for (int level = 0; level <= 6; level += 3) {
			struct bole_object_writer *writer;
			struct bole_oid oid[sizeof lens / sizeof lens[0]];
			struct bole_oid again;

			open_all(algo);
			cr_assert_eq(bole_object_writer_open(tx, &test.alloc, level, &writer),
			             BOLE_OK);
			for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
				struct bole_bytes bytes = {data, lens[i]};
				cr_assert_eq(
				        bole_object_write(writer, BOLE_OBJECT_BLOB, bytes, &oid[i]),
				        BOLE_OK);
				cr_assert_eq(
				        bole_object_write(writer, BOLE_OBJECT_BLOB, bytes, &again),
				        BOLE_OK);
				cr_assert(bole_oid_equal(&oid[i], &again));
			}
			bole_object_writer_close(writer);
			struct bole_object_reader *reader = reader_open(0, 0);
			for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++)
				expect_object(reader, &oid[i], BOLE_OBJECT_BLOB,
				              bole_bytes_of(data, lens[i]));
			bole_object_reader_close(reader);
			close_all();
		}
	}
	free(data);
}

/* -- Chains -- */

struct entry {
	uint8_t bytes[1024];
	size_t len;
};

static void entry_make(struct entry *entry, const struct bole_entry_head *head,
                       struct bole_bytes data)
{
	uLongf room;

	entry->len = bole_entry_head_format(head, repo.algo, entry->bytes);
	room = sizeof entry->bytes - entry->len;
	cr_assert_eq(compress2(entry->bytes + entry->len, &room, data.ptr, data.len, 1), Z_OK);
	entry->len += room;
}

/* A delta that keeps all of a base of base_len bytes and appends one byte. */
static size_t delta_make(uint8_t *delta, size_t base_len, uint8_t byte)
{
	size_t len = 0;

	for (size_t size = base_len, round = 0; round < 2; round++, size = base_len + 1) {
		for (; size >= 0x80; size >>= 7)
			delta[len++] = (uint8_t)(size | 0x80);
		delta[len++] = (uint8_t)size;
	}
	delta[len++] = 0xb0;
	delta[len++] = base_len & 0xff;
	delta[len++] = (uint8_t)(base_len >> 8);
	delta[len++] = 1;
	delta[len++] = byte;
	return len;
}

static void put_entry(const struct bole_oid *oid, const struct entry *entry)
{
	struct bole_bytes piece = {entry->bytes, entry->len};

	cr_assert_eq(bole_tx_put(tx, oid, BOLE_OBJECT_BLOB, &piece, 1), BOLE_OK);
}

/* A chain of `depth` deltas by id on a blob "x"; the content of link i is x and i bytes. */
static void chain_make(size_t depth, uint8_t *content, struct bole_oid *oids)
{
	uint8_t delta[64];
	struct entry entry;

	content[0] = 'x';
	for (size_t i = 0; i <= depth; i++) {
		struct bole_bytes now = {content, i + 1};

		content[i] = i == 0 ? 'x' : (uint8_t)i;
		cr_assert_eq(bole_object_id(repo.algo, BOLE_OBJECT_BLOB, now, false, &oids[i]),
		             BOLE_OK);
		struct bole_entry_head head = {.type = BOLE_OBJECT_BLOB, .inflated_bytes = 1};
		struct bole_bytes bytes = now;
		if (i > 0) {
			size_t len = delta_make(delta, i, (uint8_t)i);

			head = (struct bole_entry_head){.type = BOLE_ENTRY_REF_DELTA,
			                                .inflated_bytes = len,
			                                .base = oids[i - 1]};
			bytes = bole_bytes_of(delta, len);
		}
		entry_make(&entry, &head, bytes);
		put_entry(&oids[i], &entry);
	}
}

Test(chain, the_deepest_accepted_chain_resolves_with_any_cache)
{
	static struct bole_oid oids[BOLE_DELTA_DEPTH_MAX + 1];
	static uint8_t content[BOLE_DELTA_DEPTH_MAX + 1];
	static const size_t caches[] = {1, 4096, 1 << 20};

	open_all(test_algo());
	chain_make(BOLE_DELTA_DEPTH_MAX, content, oids);
	for (size_t i = 0; i < 3; i++) {
		struct bole_object_reader *reader = reader_open(caches[i], 0);

		expect_object(reader, &oids[BOLE_DELTA_DEPTH_MAX], BOLE_OBJECT_BLOB,
		              bole_bytes_of(content, sizeof content));
		expect_object(reader, &oids[7], BOLE_OBJECT_BLOB, bole_bytes_of(content, 8));
		bole_object_reader_close(reader);
	}
	close_all();
}

Test(chain, a_cycle_a_missing_base_and_too_large_a_result_are_errors)
{
	struct bole_oid a = {.algo = test_algo(), .bytes = {1}};
	struct bole_oid b = {.algo = test_algo(), .bytes = {2}};
	struct bole_oid lost = {.algo = test_algo(), .bytes = {3}};
	struct bole_oid orphan = {.algo = test_algo(), .bytes = {4}};
	struct bole_bytes seen;
	struct entry entry;
	uint8_t delta[64];

	open_all(test_algo());
	size_t len = delta_make(delta, 1, 'y');
	struct bole_entry_head head = {
	        .type = BOLE_ENTRY_REF_DELTA, .inflated_bytes = len, .base = b};
	entry_make(&entry, &head, bole_bytes_of(delta, len));
	put_entry(&a, &entry);
	head.base = a;
	entry_make(&entry, &head, bole_bytes_of(delta, len));
	put_entry(&b, &entry);
	head.base = lost;
	entry_make(&entry, &head, bole_bytes_of(delta, len));
	put_entry(&orphan, &entry);
	struct bole_object_reader *reader = reader_open(0, 100);
	cr_assert_eq(bole_object_read(reader, &a, NULL, &seen), BOLE_E_LIMIT);
	cr_assert_eq(bole_object_read(reader, &orphan, NULL, &seen), BOLE_E_CORRUPT);
	cr_assert_eq(bole_object_read(reader, &lost, NULL, &seen), BOLE_E_NOT_FOUND);
	/* A declared size beyond the limit is refused before memory is asked for. */
	struct bole_oid big = {.algo = test_algo(), .bytes = {5}};
	head = (struct bole_entry_head){.type = BOLE_OBJECT_BLOB, .inflated_bytes = 1ull << 40};
	entry_make(&entry, &head, bole_bytes_of("x", 1));
	put_entry(&big, &entry);
	cr_assert_eq(bole_object_read(reader, &big, NULL, &seen), BOLE_E_LIMIT);
	bole_object_reader_close(reader);
	close_all();
}

Test(chain, an_offset_delta_finds_its_base_in_the_extent)
{
	uint8_t delta[64];
	struct entry first;
	struct entry second;
	struct bole_extent_row rows[2] = {{.type = BOLE_OBJECT_BLOB}, {.type = BOLE_OBJECT_BLOB}};
	uint64_t extent;

	open_all(BOLE_HASH_SHA256);
	struct bole_entry_head head = {.type = BOLE_OBJECT_BLOB, .inflated_bytes = 5};
	entry_make(&first, &head, bole_bytes_z("hello"));
	size_t len = delta_make(delta, 5, '!');
	head = (struct bole_entry_head){
	        .type = BOLE_ENTRY_OFS_DELTA, .inflated_bytes = len, .base_distance = first.len};
	entry_make(&second, &head, bole_bytes_of(delta, len));
	cr_assert_eq(bole_object_id(repo.algo, 3, bole_bytes_z("hello"), false, &rows[0].oid),
	             BOLE_OK);
	cr_assert_eq(bole_object_id(repo.algo, 3, bole_bytes_z("hello!"), false, &rows[1].oid),
	             BOLE_OK);
	rows[0].offset = 12;
	rows[0].stored_bytes = first.len;
	rows[1].offset = 12 + first.len;
	rows[1].stored_bytes = second.len;
	cr_assert_eq(bole_tx_extent_begin(tx, &extent), BOLE_OK);
	cr_assert_eq(bole_tx_extent_append(tx, bole_bytes_of("PACK\0\0\0\2\0\0\0\2", 12)), BOLE_OK);
	cr_assert_eq(bole_tx_extent_append(tx, bole_bytes_of(first.bytes, first.len)), BOLE_OK);
	cr_assert_eq(bole_tx_extent_append(tx, bole_bytes_of(second.bytes, second.len)), BOLE_OK);
	cr_assert_eq(bole_tx_extent_finish(tx, rows, 2), BOLE_OK);
	struct bole_object_reader *reader = reader_open(0, 0);
	expect_object(reader, &rows[1].oid, BOLE_OBJECT_BLOB, bole_bytes_z("hello!"));
	bole_object_reader_close(reader);
	close_all();
}

Test(chain, every_damaged_byte_of_an_entry_is_noticed)
{
	uint64_t seed = test_seed(6);
	uint8_t data[200];
	struct entry good;
	struct bole_bytes seen;
	struct bole_oid id;

	test_random_bytes(&seed, data, sizeof data);
	open_all(test_algo());
	struct bole_entry_head head = {.type = BOLE_OBJECT_BLOB, .inflated_bytes = sizeof data};
	entry_make(&good, &head, bole_bytes_of(data, sizeof data));
	struct bole_object_reader *reader = reader_open(0, 1000);
	uint32_t number = 0;
	for (size_t i = 0; i < good.len; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			struct entry bad = good;

			memset(&id, 0, sizeof id);
			id.algo = test_algo();
			bole_put_be32(id.bytes, ++number);
			bad.bytes[i] ^= (uint8_t)(1u << bit);
			put_entry(&id, &bad);
			enum bole_status rc = bole_object_read(reader, &id, NULL, &seen);
			cr_assert(rc == BOLE_E_CORRUPT || rc == BOLE_E_LIMIT ||
			          (rc == BOLE_OK && seen.len == sizeof data &&
			           memcmp(seen.ptr, data, seen.len) == 0));
		}
	}
	bole_object_reader_close(reader);
	close_all();
}

Test(chain, every_failed_allocation_is_reported_and_nothing_leaks)
{
	static struct bole_oid oids[31];
	static uint8_t content[31];
	bool done = false;

	open_all(test_algo());
	chain_make(30, content, oids);
	for (uint64_t n = 1; !done; n++) {
		struct bole_object_reader_options options = {4096, 0};
		struct bole_object_reader *reader = NULL;
		struct bole_bytes seen;

		test.fail_after = true;
		test.fail_at = test.grows + n;
		enum bole_status rc =
		        bole_object_reader_open(tx->view, &test.alloc, &options, &reader);
		if (rc == BOLE_OK)
			rc = bole_object_read(reader, &oids[30], NULL, &seen);
		cr_assert(rc == BOLE_OK || rc == BOLE_E_NO_MEMORY);
		done = rc == BOLE_OK;
		test.fail_at = 0;
		if (done)
			cr_assert(bole_bytes_equal(seen, bole_bytes_of(content, 31)));
		bole_object_reader_close(reader);
	}
	close_all();
}

Test(delta, applies_copies_and_inserts_and_refuses_every_lie)
{
	struct bole_bytes base = bole_bytes_z("abcdefghij");
	uint8_t dst[70000];
	static const struct {
		const char *delta;
		size_t len;
		const char *want; /* NULL = refused */
	} rows[] = {
	        {"\x0a\x03\x90\x03", 4, "abc"},
	        {"\x0a\x05\x91\x08\x02\x03xyz", 9, "ijxyz"},
	        {"\x0a\x00", 2, ""},
	        {"\x0a", 1, NULL},
	        {"\x0a\x03", 2, NULL},
	        {"\x0b\x03\x90\x03", 4, NULL},
	        {"\x0a\x04\x90\x03", 4, NULL},
	        {"\x0a\x02\x90\x03", 4, NULL},
	        {"\x0a\x03\x91\x08\x03", 5, NULL},
	        {"\x0a\x03\x90", 3, NULL},
	        {"\x0a\x03\x03xy", 5, NULL},
	        {"\x0a\x01\x00", 3, NULL},
	        {"\x0a\x03\x9f\xff\xff\xff\xff\x03", 8, NULL},
	        {"\x0a\x80\x80\x04\x80", 5, NULL},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct bole_bytes delta = bole_bytes_of(rows[i].delta, rows[i].len);
		uint64_t base_len;
		uint64_t len = 0;
		enum bole_status rc = bole_delta_sizes(delta, &base_len, &len);

		if (rc == BOLE_OK)
			rc = bole_delta_apply(base, delta, dst, (size_t)len);
		cr_assert_eq(rc, rows[i].want == NULL ? BOLE_E_INVALID : BOLE_OK, "%zu", i);
		if (rc == BOLE_OK)
			cr_assert(bole_bytes_equal(bole_bytes_of(dst, (size_t)len),
			                           bole_bytes_z(rows[i].want)));
	}
	/* A size of zero copies 64 KiB. */
	uint8_t *big = calloc(0x10000, 1);
	cr_assert_eq(bole_delta_apply(bole_bytes_of(big, 0x10000),
	                              bole_bytes_of("\x80\x80\x04\x80\x80\x04\x80", 7), dst,
	                              0x10000),
	             BOLE_OK);
	free(big);
}
