/* SPDX-License-Identifier: ISC */
/* What is read as JSON, against RFC 8259; its limits; and the writer of strings against it. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/memory.h"
#include "support/platform.h"

static struct test_platform test;

static void open_platform(void)
{
	test_platform_init(&test, 1);
}

static void close_platform(void)
{
	test_platform_release(&test);
}

TestSuite(json, .init = open_platform, .fini = close_platform);

/* From a block of its own, so that a byte beyond it is found out. */
static enum bole_status read_bytes(const void *text, size_t len, struct yyjson_doc **doc)
{
	uint8_t *copy = malloc(len == 0 ? 1 : len);

	memcpy(copy, text, len);
	enum bole_status rc = bole_json_read(&test.alloc, bole_bytes_of(copy, len), doc);
	free(copy);
	cr_assert_eq(rc == BOLE_OK, *doc != NULL);
	if (rc != BOLE_OK)
		cr_assert_eq(test.blocks, 0);
	return rc;
}

static enum bole_status read_text(const char *text, struct yyjson_doc **doc)
{
	return read_bytes(text, strlen(text), doc);
}

static const struct {
	const char *text;
	size_t values; /* keys too; 0: it is refused */
} texts[] = {
        {"{}", 1},
        {" [ ] ", 1},
        {"0", 1},
        {"-0.5e+10", 1},
        {"1E5", 1},
        {"\"\"", 1},
        {"true", 1},
        {"[true,false,null]", 4},
        {"{\"a\":1,\"b\":[{}]}\r\n\t ", 6},
        {"\"\\u00e9\\ud83d\\ude00\\n\\/\"", 1},
        {"\"\xc3\xa9\xf0\x9f\x98\x80\"", 1},
        {"", 0},
        {" ", 0},
        {"{", 0},
        {"}", 0},
        {"[1", 0},
        {"[1,]", 0},
        {"[,1]", 0},
        {"[1 2]", 0},
        {"{\"a\"}", 0},
        {"{\"a\":}", 0},
        {"{\"a\":1,}", 0},
        {"{a:1}", 0},
        {"{1:1}", 0},
        {"{\"a\":1 \"b\":2}", 0},
        {"[}", 0},
        {"{]", 0},
        {"1 1", 0},
        {"{} {}", 0},
        {"[]]", 0},
        {"01", 0},
        {"-", 0},
        {"+1", 0},
        {".5", 0},
        {"1.", 0},
        {"1e", 0},
        {"1e+", 0},
        {"0x1", 0},
        {"NaN", 0},
        {"tru", 0},
        {"True", 0},
        {"nulll", 0},
        {"\"", 0},
        {"\"a", 0},
        {"\"\\\"", 0},
        {"\"\\x\"", 0},
        {"\"\\u12\"", 0},
        {"\"\\u12g4\"", 0},
        {"\"\\ud800\"", 0},
        {"\"\\udc00\"", 0},
        {"\"\\ud800\\u0041\"", 0},
        {"\"\n\"", 0},
        {"\"\x80\"", 0},
        {"\"\xc0\x80\"", 0},
        {"\"\xed\xa0\x80\"", 0},
        {"\"\xf4\x90\x80\x80\"", 0},
        {"\"\xe2\x82\"", 0},
        {"'a'", 0},
        {"// x\n1", 0},
        {"\xef\xbb\xbf{}", 0},
        {"Infinity", 0},
        {"-Infinity", 0},
        {"/* x */1", 0},
};

Test(json, what_the_standard_says_is_taken_and_nothing_else)
{
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct yyjson_doc *doc;
		enum bole_status rc = read_text(texts[i].text, &doc);

		cr_assert_eq(rc, texts[i].values == 0 ? BOLE_E_INVALID : BOLE_OK, "row %zu: %s", i,
		             texts[i].text);
		cr_assert_eq(yyjson_doc_get_val_count(doc), texts[i].values, "row %zu", i);
		yyjson_doc_free(doc);
		cr_assert_eq(test.blocks, 0);
	}
}

Test(json, every_piece_and_every_change_of_a_text_ends)
{
	static const char text[] = "{\"a\":[1,-2.5e3,\"\\u00e9\\ud83d\\ude00\xc3\xa9\",true,null],"
	                           "\"b\":{\"c\":18446744073709551616},\"a\":false}";
	uint64_t seed = test_seed(5);
	struct yyjson_doc *doc;

	cr_assert_eq(read_text(text, &doc), BOLE_OK);
	yyjson_doc_free(doc);
	for (size_t len = 0; len < sizeof text - 1; len++)
		cr_assert_eq(read_bytes(text, len, &doc), BOLE_E_INVALID, "%zu bytes", len);
	cr_assert_eq(read_bytes(text, sizeof text, &doc), BOLE_E_INVALID, "a NUL behind it");
	for (unsigned round = 0; round < 20000; round++) {
		char bad[sizeof text];

		memcpy(bad, text, sizeof text);
		for (uint64_t n = 1 + test_random(&seed) % 3; n > 0; n--)
			bad[test_random(&seed) % (sizeof text - 1)] = (char)test_random(&seed);
		(void)read_bytes(bad, sizeof bad - 1, &doc);
		yyjson_doc_free(doc);
		cr_assert_eq(test.blocks, 0);
	}
}

Test(json, nesting_has_a_limit)
{
	char text[2 * BOLE_JSON_DEPTH_MAX + 3] = "";
	static char many[512 * 1024];
	struct yyjson_doc *doc;

	memset(text, '[', BOLE_JSON_DEPTH_MAX);
	memset(text + BOLE_JSON_DEPTH_MAX, ']', BOLE_JSON_DEPTH_MAX);
	cr_assert_eq(read_text(text, &doc), BOLE_OK);
	yyjson_doc_free(doc);
	memset(text, '[', BOLE_JSON_DEPTH_MAX + 1);
	memset(text + BOLE_JSON_DEPTH_MAX + 1, ']', BOLE_JSON_DEPTH_MAX + 1);
	cr_assert_eq(read_text(text, &doc), BOLE_E_LIMIT);
	memset(many, '[', sizeof many);
	uint64_t grows = test.grows;
	cr_assert_eq(read_bytes(many, sizeof many, &doc), BOLE_E_LIMIT);
	cr_assert_eq(test.grows, grows, "and nothing was allocated for it");
	/* Brackets are no nesting in a string, behind a quote that is part of it as well. */
	memset(many, '{', sizeof many);
	memcpy(many, "[\"\\\\\\\"", 6);
	memcpy(many + sizeof many - 2, "\"]", 2);
	cr_assert_eq(read_bytes(many, sizeof many, &doc), BOLE_OK);
	yyjson_doc_free(doc);
	/* Nor is one beside another. */
	for (size_t i = 0; i < sizeof many; i++)
		many[i] = "[],"[i % 3];
	many[0] = many[1] = ' ';
	many[2] = '[';
	many[sizeof many - 2] = ' ';
	many[sizeof many - 1] = ']';
	cr_assert_eq(read_bytes(many, sizeof many, &doc), BOLE_E_INVALID, "a comma too many");
	many[sizeof many - 3] = ' ';
	(void)read_bytes(many, sizeof many, &doc);
	yyjson_doc_free(doc);
}

Test(json, memory_runs_out_at_every_allocation)
{
	char text[4000] = "[";

	for (size_t i = 1; i + 2 < sizeof text; i += 2)
		memcpy(text + i, "0,", 2);
	memcpy(text + sizeof text - 3, "0]", 3);
	for (uint64_t n = 1;; n++) {
		struct yyjson_doc *doc;

		test.fail_at = test.grows + n;
		enum bole_status rc = read_text(text, &doc);
		bool failed = test.grows >= test.fail_at;
		test.fail_at = 0;
		cr_assert_eq(rc, failed ? BOLE_E_NO_MEMORY : BOLE_OK, "allocation %d", (int)n);
		yyjson_doc_free(doc);
		cr_assert_eq(test.blocks, 0);
		if (failed)
			continue;
		cr_assert_geq(n, 4, "it grew on the way");
		return;
	}
}

/* Goal: what a request may make of its bytes is bounded. */
Test(json, memory_is_in_proportion_to_the_text)
{
	static const char *const pieces[] = {"0,",        "\"\",",   "[],",
	                                     "{\"\":0},", "0 \n\n,", "  \n0,"};
	static char text[512 * 1024];
	struct yyjson_doc *doc;

	for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
		size_t step = strlen(pieces[p]);
		struct bole_budget budget;
		size_t len = 1;

		text[0] = '[';
		if (p == 4) { /* looks like pretty-printed text, which has a reader of its own */
			memset(text + 1, ' ', 2);
			len = 3;
		}
		for (; len + step < sizeof text; len += step)
			memcpy(text + len, pieces[p], step);
		text[len - 1] = ']';
		bole_budget_init(&budget, &test.alloc, SIZE_MAX);
		cr_assert_eq(bole_json_read(&budget.alloc, bole_bytes_of(text, len), &doc), BOLE_OK,
		             "%s", pieces[p]);
		cr_assert_leq(budget.peak, 12 * len, "%s: %zu", pieces[p], (size_t)budget.peak);
		yyjson_doc_free(doc);
		cr_assert_eq(budget.used, 0);
	}
}

Test(json, strings_are_decoded_within_their_room)
{
	struct yyjson_doc *doc;
	char out[16];

	cr_assert_eq(read_text("\"a\\u0062\\ud83d\\ude00\\\"\"", &doc), BOLE_OK);
	struct yyjson_val *v = yyjson_doc_get_root(doc);
	cr_assert_eq(bole_json_text(v, out, sizeof out), BOLE_OK);
	cr_assert_str_eq(out, "ab\xf0\x9f\x98\x80\"");
	cr_assert_eq(bole_json_text(v, out, 8), BOLE_OK);
	cr_assert_eq(bole_json_text(v, out, 7), BOLE_E_LIMIT);
	yyjson_doc_free(doc);
	cr_assert_eq(read_text("\"a\\u0000b\"", &doc), BOLE_OK);
	cr_assert_eq(bole_json_text(yyjson_doc_get_root(doc), out, sizeof out), BOLE_E_INVALID);
	yyjson_doc_free(doc);
	cr_assert_eq(read_text("[]", &doc), BOLE_OK);
	cr_assert_eq(bole_json_text(yyjson_doc_get_root(doc), out, sizeof out), BOLE_E_INVALID);
	yyjson_doc_free(doc);
}

Test(json, numbers_are_whole_and_fit)
{
	static const struct {
		const char *text;
		enum bole_status rc;
		uint64_t value;
	} rows[] = {
	        {"0", BOLE_OK, 0},
	        {"18446744073709551615", BOLE_OK, UINT64_MAX},
	        {"18446744073709551616", BOLE_E_LIMIT, 0},
	        {"99999999999999999999999", BOLE_E_LIMIT, 0},
	        {"-1", BOLE_E_INVALID, 0},
	        {"-0", BOLE_E_INVALID, 0},
	        {"-99999999999999999999999", BOLE_E_INVALID, 0},
	        {"1.0", BOLE_E_INVALID, 0},
	        {"1e3", BOLE_E_INVALID, 0},
	        {"1e999", BOLE_E_INVALID, 0},
	        {"-1e999", BOLE_E_INVALID, 0},
	        {"\"1\"", BOLE_E_INVALID, 0},
	        {"[1]", BOLE_E_INVALID, 0},
	        {"true", BOLE_E_INVALID, 0},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct yyjson_doc *doc;
		uint64_t value = 0;

		cr_assert_eq(read_text(rows[i].text, &doc), BOLE_OK, "row %zu", i);
		cr_assert_eq(bole_json_u64(yyjson_doc_get_root(doc), &value), rows[i].rc, "row %zu",
		             i);
		cr_assert_eq(value, rows[i].value);
		yyjson_doc_free(doc);
	}
}

/* Goal: whatever bytes are written as a string, a string is read, and the same one if the bytes
 * were UTF-8. */
Test(json, any_bytes_are_written_as_a_string)
{
	uint64_t seed = test_seed(3);
	struct bole_buffer buffer;

	bole_buffer_init(&buffer, &test.alloc, 4096);
	for (unsigned round = 0; round < 20000; round++) {
		struct yyjson_doc *doc;
		uint8_t bytes[12];
		size_t len = test_random(&seed) % sizeof bytes;
		bool ascii = true;

		for (size_t i = 0; i < len; i++) {
			bytes[i] = (uint8_t)test_random(&seed);
			if (round % 2 == 0)
				bytes[i] = (uint8_t)(bytes[i] % 128);
			ascii &= bytes[i] < 0x80;
		}
		buffer.len = 0;
		bole_json_put(&buffer, bole_bytes_of(bytes, len));
		cr_assert_eq(buffer.rc, BOLE_OK);
		cr_assert_eq(
		        bole_json_read(&test.alloc, bole_bytes_of(buffer.ptr, buffer.len), &doc),
		        BOLE_OK, "round %u", round);
		struct yyjson_val *v = yyjson_doc_get_root(doc);
		cr_assert(yyjson_is_str(v));
		if (ascii) {
			cr_assert_eq(yyjson_get_len(v), len);
			cr_assert(len == 0 || memcmp(yyjson_get_str(v), bytes, len) == 0);
		}
		yyjson_doc_free(doc);
	}
	bole_buffer_release(&buffer);
}
