/* SPDX-License-Identifier: ISC */
#include <criterion/criterion.h>
#include <string.h>

#include "base/bytes.h"
#include "base/io.h"
#include "base/memory.h"
#include "bole/repos.h"
#include "support/platform.h"

/* Gives 1..7 bytes a call, then ends in `last`. */
struct drip {
	struct bole_reader reader;
	struct bole_bytes rest;
	uint64_t seed;
	enum bole_status last;
};

static enum bole_status drip_read(struct bole_reader *self, void *dst, size_t cap, size_t *got)
{
	struct drip *drip = (struct drip *)self;
	size_t n = 1 + test_random(&drip->seed) % 7;

	*got = 0;
	if (drip->rest.len == 0)
		return drip->last;
	n = n < cap ? n : cap;
	n = n < drip->rest.len ? n : drip->rest.len;
	memcpy(dst, drip->rest.ptr, n);
	drip->rest.ptr += n;
	drip->rest.len -= n;
	*got = n;
	return BOLE_OK;
}

Test(io, input_gives_every_byte_once_in_order)
{
	uint64_t seed = test_seed(3);
	uint8_t data[1000];
	uint8_t seen[1000];
	uint8_t buf[32];

	test_random_bytes(&seed, data, sizeof data);
	for (unsigned round = 0; round < 100; round++) {
		struct drip drip = {{drip_read}, bole_bytes_of(data, sizeof data), seed, BOLE_END};
		struct bole_input in;
		struct bole_bytes shown;
		size_t at = 0;

		bole_input_init(&in, &drip.reader, buf, sizeof buf);
		while (at < sizeof data) {
			size_t want = 1 + test_random(&seed) % 40;

			want = want < sizeof data - at ? want : sizeof data - at;
			if (want > sizeof buf || test_random(&seed) % 2 == 0) {
				cr_assert_eq(bole_input_read(&in, seen + at, want), BOLE_OK);
			} else {
				cr_assert_eq(bole_input_need(&in, want, &shown), BOLE_OK);
				cr_assert_geq(shown.len, want);
				memcpy(seen + at, shown.ptr, want);
				bole_input_take(&in, want);
			}
			at += want;
			cr_assert_eq(in.consumed, at);
		}
		cr_assert_arr_eq(seen, data, sizeof data);
		cr_assert_eq(bole_input_peek(&in, &shown), BOLE_END);
		cr_assert_eq(bole_input_need(&in, 1, &shown), BOLE_END);
		cr_assert_eq(bole_input_read(&in, seen, 1), BOLE_E_INVALID);
	}
}

Test(io, input_keeps_an_error_and_what_came_before_it)
{
	uint8_t buf[16];
	struct drip drip = {{drip_read}, bole_bytes_z("abc"), 1, BOLE_E_TIMEOUT};
	struct bole_input in;
	struct bole_bytes shown;

	bole_input_init(&in, &drip.reader, buf, sizeof buf);
	cr_assert_eq(bole_input_need(&in, 4, &shown), BOLE_E_TIMEOUT);
	cr_assert_eq(bole_input_need(&in, 3, &shown), BOLE_OK);
	bole_input_take(&in, 3);
	cr_assert_eq(bole_input_peek(&in, &shown), BOLE_E_TIMEOUT);
	cr_assert_eq(bole_input_read(&in, buf, 1), BOLE_E_TIMEOUT);
}

Test(io, output_coalesces_and_keeps_order)
{
	struct test_platform test;
	struct bole_buffer sink;
	struct bole_buffer_writer writer;
	struct bole_output out;
	uint64_t seed = test_seed(5);
	uint8_t data[2000];
	uint8_t buf[64];

	test_platform_init(&test, 1);
	test_random_bytes(&seed, data, sizeof data);
	bole_buffer_init(&sink, &test.alloc, sizeof data);
	bole_buffer_writer_init(&writer, &sink);
	bole_output_init(&out, &writer.writer, buf, sizeof buf);
	for (size_t at = 0, n; at < sizeof data; at += n) {
		n = test_random(&seed) % 150;
		n = n < sizeof data - at ? n : sizeof data - at;
		bole_output_write(&out, data + at, n);
	}
	cr_assert_eq(bole_output_flush(&out), BOLE_OK);
	cr_assert_eq(out.written, sizeof data);
	cr_assert_eq(sink.len, sizeof data);
	cr_assert_arr_eq(sink.ptr, data, sizeof data);
	bole_output_write(&out, data, 1);
	cr_assert_eq(bole_output_flush(&out), BOLE_E_LIMIT);
	bole_output_write(&out, data, 1);
	cr_assert_eq(bole_output_flush(&out), BOLE_E_LIMIT);
	bole_buffer_release(&sink);
	test_platform_release(&test);
}

Test(log, a_line_is_cut_and_cannot_smuggle_control_bytes)
{
	struct test_platform test;
	char many[1000];

	test_platform_init(&test, 1);
	test.quiet = true;
	bole_log(&test.base, BOLE_LOG_WARN, "peer said %s", "a\nb\033[2Jc");
	cr_assert_str_eq(test.last_line, "peer said a?b?[2Jc");
	memset(many, 'x', sizeof many - 1);
	many[sizeof many - 1] = '\0';
	bole_log(&test.base, BOLE_LOG_WARN, "%s", many);
	cr_assert_eq(strlen(test.last_line), 511);
	test_platform_release(&test);
}

Test(repo_name, accepts_paths_of_plain_components_only)
{
	static const char *const good[] = {"a", "main", "a/b/c", "A-1_x.y", "x.gitx", "git"};
	static const char *const bad[] = {"",    "/",      "a/",  "/a",       "a//b",  ".",
	                                  "..",  "a/../b", ".a",  "a/.b",     "x.git", "x.git/y",
	                                  "a b", "a\\b",   "a%b", "\xc3\xa9", "a\n",   "a:b"};
	char many[BOLE_REPO_NAME_MAX + 2];

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		cr_assert(bole_repo_name_valid(good[i], strlen(good[i])), "%s", good[i]);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert_not(bole_repo_name_valid(bad[i], strlen(bad[i])), "%s", bad[i]);
	cr_assert_not(bole_repo_name_valid("a\0b", 3));
	memset(many, 'a', sizeof many);
	cr_assert(bole_repo_name_valid(many, BOLE_REPO_NAME_MAX));
	cr_assert_not(bole_repo_name_valid(many, BOLE_REPO_NAME_MAX + 1));
}

/* Goal: a larger buffer lent for a while loses nothing and shows no byte twice. */
Test(io, a_lent_buffer_keeps_the_place_in_the_stream)
{
	static uint8_t bytes[5000];
	uint8_t small[64];
	uint8_t large[1024];
	struct bole_bytes_reader reader;
	struct bole_input in;
	struct bole_input_lent lent;
	struct bole_bytes shown;
	size_t at = 0;

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 256);
	bole_bytes_reader_init(&reader, bole_bytes_of(bytes, sizeof bytes));
	bole_input_init(&in, &reader.reader, small, sizeof small);
	for (size_t round = 0; at < 4000; round++) {
		cr_assert_eq(bole_input_need(&in, 50, &shown), BOLE_OK);
		bole_input_take(&in, 10 + round);
		at += 10 + round;
		bole_input_widen(&in, large, sizeof large, &lent);
		cr_assert_eq(bole_input_need(&in, 300 + round, &shown), BOLE_OK);
		cr_assert_arr_eq(shown.ptr, bytes + at, shown.len);
		cr_assert_lt(shown.len, 300 + round + sizeof small);
		bole_input_take(&in, 300 + round);
		at += 300 + round;
		bole_input_narrow(&in, &lent);
		cr_assert_eq(in.consumed, at);
	}
	cr_assert_eq(bole_input_peek(&in, &shown), BOLE_OK);
	cr_assert_arr_eq(shown.ptr, bytes + at, shown.len);
}
