/* SPDX-License-Identifier: ISC */
/* The JSON parser against RFC 8259, and the writer of strings against the parser. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/memory.h"
#include "support/platform.h"

/* The status that ends a text. */
static enum bole_status read_all(const char *text, unsigned *tokens)
{
	struct bole_json_token t;
	struct bole_json j;
	enum bole_status rc;

	*tokens = 0;
	bole_json_init(&j, bole_bytes_z(text));
	while ((rc = bole_json_next(&j, &t)) == BOLE_OK)
		(*tokens)++;
	if (rc != BOLE_END)
		cr_assert_eq(bole_json_next(&j, &t), BOLE_E_INVALID);
	return rc;
}

static const struct {
	const char *text;
	unsigned tokens; /* 0: it is refused */
} texts[] = {
        {"{}", 2},
        {" [ ] ", 2},
        {"0", 1},
        {"-0.5e+10", 1},
        {"1E5", 1},
        {"\"\"", 1},
        {"true", 1},
        {"[true,false,null]", 5},
        {"{\"a\":1,\"b\":[{}]}\r\n\t ", 9},
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
};

Test(json, what_the_standard_says_is_taken_and_nothing_else)
{
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		unsigned tokens;
		enum bole_status rc = read_all(texts[i].text, &tokens);

		cr_assert_eq(rc, texts[i].tokens == 0 ? BOLE_E_INVALID : BOLE_END, "row %zu: %s", i,
		             texts[i].text);
		if (texts[i].tokens > 0)
			cr_assert_eq(tokens, texts[i].tokens, "row %zu", i);
	}
}

Test(json, nesting_has_a_limit)
{
	char text[2 * BOLE_JSON_DEPTH_MAX + 3] = "";
	unsigned tokens;

	memset(text, '[', BOLE_JSON_DEPTH_MAX);
	memset(text + BOLE_JSON_DEPTH_MAX, ']', BOLE_JSON_DEPTH_MAX);
	cr_assert_eq(read_all(text, &tokens), BOLE_END);
	memset(text, '[', BOLE_JSON_DEPTH_MAX + 1);
	memset(text + BOLE_JSON_DEPTH_MAX + 1, ']', BOLE_JSON_DEPTH_MAX + 1);
	cr_assert_eq(read_all(text, &tokens), BOLE_E_LIMIT);
}

Test(json, strings_are_decoded_within_their_room)
{
	static const char text[] = "\"a\\u0062\\ud83d\\ude00\\\"\"";
	struct bole_json_token t;
	struct bole_json j;
	char out[16];
	size_t len;

	bole_json_init(&j, bole_bytes_z(text));
	cr_assert_eq(bole_json_next(&j, &t), BOLE_OK);
	cr_assert_eq(bole_json_text(&t, out, sizeof out, &len), BOLE_OK);
	cr_assert_str_eq(out, "ab\xf0\x9f\x98\x80\"");
	cr_assert_eq(len, 7);
	cr_assert_eq(bole_json_text(&t, out, 8, &len), BOLE_OK);
	cr_assert_eq(bole_json_text(&t, out, 7, &len), BOLE_E_LIMIT);
	cr_assert(bole_json_is(&t, "ab\xf0\x9f\x98\x80\""));
	cr_assert_not(bole_json_is(&t, "ab"));
	cr_assert_not(bole_json_is(&t, "ab\xf0\x9f\x98\x80\"x"));
	bole_json_init(&j, bole_bytes_z("\"a\\u0000b\""));
	cr_assert_eq(bole_json_next(&j, &t), BOLE_OK);
	cr_assert_eq(bole_json_text(&t, out, sizeof out, &len), BOLE_E_INVALID);
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
	        {"1.0", BOLE_E_INVALID, 0},
	        {"1e3", BOLE_E_INVALID, 0},
	        {"\"1\"", BOLE_E_INVALID, 0},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct bole_json_token t;
		struct bole_json j;
		uint64_t value = 0;

		bole_json_init(&j, bole_bytes_z(rows[i].text));
		cr_assert_eq(bole_json_next(&j, &t), BOLE_OK);
		cr_assert_eq(bole_json_u64(&t, &value), rows[i].rc, "row %zu", i);
		if (rows[i].rc == BOLE_OK)
			cr_assert_eq(value, rows[i].value);
	}
}

Test(json, what_is_skipped_is_read_to_its_end)
{
	struct bole_json_token t;
	struct bole_json j;

	bole_json_init(&j, bole_bytes_z("{\"a\":{\"b\":[1,{}]},\"c\":[[]],\"d\":5}"));
	cr_assert_eq(bole_json_next(&j, &t), BOLE_OK);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(bole_json_next(&j, &t), BOLE_OK);
		cr_assert_eq(t.kind, BOLE_JSON_KEY);
		cr_assert_eq(bole_json_next(&j, &t), BOLE_OK);
		cr_assert_eq(bole_json_skip(&j, &t), BOLE_OK);
	}
	cr_assert_eq(bole_json_next(&j, &t), BOLE_OK);
	cr_assert_eq(t.kind, BOLE_JSON_OBJECT_END);
	cr_assert_eq(bole_json_next(&j, &t), BOLE_END);
	bole_json_init(&j, bole_bytes_z("[[1,2"));
	cr_assert_eq(bole_json_next(&j, &t), BOLE_OK);
	cr_assert_eq(bole_json_next(&j, &t), BOLE_OK);
	cr_assert_eq(bole_json_skip(&j, &t), BOLE_E_INVALID);
}

/* Goal: whatever bytes are written as a string, the parser reads a string, and the same one if the
 * bytes were UTF-8. */
Test(json, any_bytes_are_written_as_a_string)
{
	uint64_t seed = test_seed(3);
	struct test_platform test;
	struct bole_buffer buffer;

	test_platform_init(&test, seed);
	bole_buffer_init(&buffer, &test.alloc, 4096);
	for (unsigned round = 0; round < 20000; round++) {
		uint8_t bytes[12];
		char back[64];
		size_t len = test_random(&seed) % sizeof bytes;
		struct bole_json_token t;
		struct bole_json j;
		size_t back_len;
		bool ascii = true;

		for (size_t i = 0; i < len; i++) {
			bytes[i] = (uint8_t)test_random(&seed);
			if (round % 2 == 0)
				bytes[i] = (uint8_t)(1 + bytes[i] % 127);
			ascii &= bytes[i] > 0 && bytes[i] < 0x80;
		}
		buffer.len = 0;
		bole_json_put(&buffer, bole_bytes_of(bytes, len));
		cr_assert_eq(buffer.rc, BOLE_OK);
		bole_json_init(&j, bole_bytes_of(buffer.ptr, buffer.len));
		cr_assert_eq(bole_json_next(&j, &t), BOLE_OK, "round %u", round);
		cr_assert_eq(t.kind, BOLE_JSON_STRING);
		if (ascii) {
			cr_assert_eq(bole_json_text(&t, back, sizeof back, &back_len), BOLE_OK);
			cr_assert_eq(back_len, len);
			cr_assert(len == 0 || memcmp(back, bytes, len) == 0);
		}
		cr_assert_eq(bole_json_next(&j, &t), BOLE_END);
	}
	bole_buffer_release(&buffer);
	test_platform_release(&test);
}
