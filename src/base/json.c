/* SPDX-License-Identifier: ISC */
#include "base/json.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

/* What may come next. */
enum {
	STATE_VALUE,     /* a value */
	STATE_FIRST_KEY, /* a key or '}' */
	STATE_FIRST,     /* a value or ']' */
	STATE_AFTER,     /* ',' or the end of what is open */
	STATE_DONE,      /* nothing */
	STATE_BAD,
};

void bole_json_init(struct bole_json *j, struct bole_bytes text)
{
	*j = (struct bole_json){.rest = text, .state = STATE_VALUE};
}

static enum bole_status fail(struct bole_json *j, enum bole_status rc)
{
	j->state = STATE_BAD;
	return rc;
}

static void take(struct bole_json *j, size_t n)
{
	j->rest.ptr += n;
	j->rest.len -= n;
}

static int peek(struct bole_json *j)
{
	while (j->rest.len > 0 && (*j->rest.ptr == ' ' || *j->rest.ptr == '\t' ||
	                           *j->rest.ptr == '\n' || *j->rest.ptr == '\r'))
		take(j, 1);
	return j->rest.len == 0 ? -1 : *j->rest.ptr;
}

static bool in_object(const struct bole_json *j)
{
	return (j->objects >> (j->depth - 1) & 1) != 0;
}

/* -- strings -- */

/* The length of the UTF-8 sequence at the start of text; 0: there is none (RFC 3629). */
static size_t utf8_length(struct bole_bytes text)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint8_t first = text.ptr[0];
	size_t len = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	uint32_t code = len < 2 ? first : first & (0x7fU >> len);

	if (len == 0 || first > 0xf4 || len > text.len)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((text.ptr[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (text.ptr[i] & 0x3fU);
	}
	bool fine = code >= least[len] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
	return fine ? len : 0;
}

static size_t utf8_write(uint32_t code, uint8_t out[4])
{
	static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
	size_t len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

	for (size_t i = len - 1; i > 0; i--) {
		out[i] = (uint8_t)(0x80 | (code & 0x3f));
		code >>= 6;
	}
	out[0] = (uint8_t)(lead[len] | code);
	return len;
}

/* Four hex digits; -1: there are none. */
static int32_t hex4(struct bole_bytes text)
{
	int32_t value = 0;

	if (text.len < 4)
		return -1;
	for (size_t i = 0; i < 4; i++) {
		uint8_t c = text.ptr[i];
		int digit = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;

		if (digit < 0 || digit > 15 || ((c < '0' || c > '9') && (c | 0x20) < 'a'))
			return -1;
		value = value << 4 | digit;
	}
	return value;
}

/* "\uXXXX", with its second half where it is the first one of a pair; -1: not well-formed. */
static int32_t unicode_escape(struct bole_bytes text, size_t *taken)
{
	int32_t code = hex4(bole_bytes_of(text.ptr + 2, text.len - 2));

	*taken = 6;
	if (code < 0xd800 || code > 0xdfff)
		return code;
	if (code > 0xdbff || text.len < 12 || text.ptr[6] != '\\' || text.ptr[7] != 'u')
		return -1;
	int32_t low = hex4(bole_bytes_of(text.ptr + 8, text.len - 8));
	if (low < 0xdc00 || low > 0xdfff)
		return -1;
	*taken = 12;
	return 0x10000 + (code - 0xd800) * 0x400 + (low - 0xdc00);
}

/* One character of a string's inside: its bytes, and how many of text it took. 0: malformed. */
static size_t next_char(struct bole_bytes text, uint8_t out[4], size_t *taken)
{
	static const char names[] = "\"\\/bfnrt";
	static const char values[] = "\"\\/\b\f\n\r\t";

	if (text.ptr[0] != '\\') {
		size_t len = text.ptr[0] < ' ' ? 0 : utf8_length(text);
		memcpy(out, text.ptr, len);
		*taken = len;
		return len;
	}
	if (text.len < 2)
		return 0;
	if (text.ptr[1] == 'u') {
		int32_t code = unicode_escape(text, taken);
		return code < 0 ? 0 : utf8_write((uint32_t)code, out);
	}
	const char *at = text.ptr[1] == 0 ? NULL : strchr(names, text.ptr[1]);
	if (at == NULL)
		return 0;
	out[0] = (uint8_t)values[at - names];
	*taken = 2;
	return 1;
}

/* At the opening quote: takes the string. False: malformed. */
static bool take_string(struct bole_json *j, struct bole_bytes *out)
{
	size_t taken = 0;
	uint8_t bytes[4];

	take(j, 1);
	*out = bole_bytes_of(j->rest.ptr, 0);
	while (j->rest.len > 0 && *j->rest.ptr != '"') {
		if (next_char(j->rest, bytes, &taken) == 0)
			return false;
		take(j, taken);
		out->len += taken;
	}
	if (j->rest.len == 0)
		return false;
	take(j, 1);
	return true;
}

enum bole_status bole_json_text(const struct bole_json_token *t, char *dst, size_t cap, size_t *len)
{
	struct bole_bytes rest = t->text;
	uint8_t bytes[4];
	size_t taken = 0;

	*len = 0;
	while (rest.len > 0) {
		size_t n = next_char(rest, bytes, &taken);
		if (n == 0 || bytes[0] == 0)
			return BOLE_E_INVALID;
		if (n >= cap - *len)
			return BOLE_E_LIMIT;
		memcpy(dst + *len, bytes, n);
		*len += n;
		rest = bole_bytes_of(rest.ptr + taken, rest.len - taken);
	}
	dst[*len] = '\0';
	return BOLE_OK;
}

bool bole_json_is(const struct bole_json_token *t, const char *text)
{
	struct bole_bytes rest = t->text;
	uint8_t bytes[4];
	size_t taken = 0;

	if (t->kind != BOLE_JSON_STRING && t->kind != BOLE_JSON_KEY)
		return false;
	while (rest.len > 0) {
		size_t n = next_char(rest, bytes, &taken);
		if (n == 0 || strlen(text) < n || memcmp(text, bytes, n) != 0)
			return false;
		text += n;
		rest = bole_bytes_of(rest.ptr + taken, rest.len - taken);
	}
	return *text == '\0';
}

/* -- numbers and words -- */

static size_t digits(struct bole_bytes text)
{
	size_t n = 0;

	while (n < text.len && text.ptr[n] >= '0' && text.ptr[n] <= '9')
		n++;
	return n;
}

static bool take_digits(struct bole_json *j)
{
	size_t n = digits(j->rest);

	take(j, n);
	return n > 0;
}

static bool take_number(struct bole_json *j, struct bole_bytes *out)
{
	const uint8_t *start = j->rest.ptr;

	if (*j->rest.ptr == '-')
		take(j, 1);
	size_t whole = digits(j->rest);
	if (whole == 0 || (whole > 1 && *j->rest.ptr == '0'))
		return false;
	take(j, whole);
	if (j->rest.len > 0 && *j->rest.ptr == '.') {
		take(j, 1);
		if (!take_digits(j))
			return false;
	}
	if (j->rest.len > 0 && (*j->rest.ptr | 0x20) == 'e') {
		take(j, 1);
		if (j->rest.len > 0 && (*j->rest.ptr == '+' || *j->rest.ptr == '-'))
			take(j, 1);
		if (!take_digits(j))
			return false;
	}
	*out = bole_bytes_of(start, (size_t)(j->rest.ptr - start));
	return true;
}

enum bole_status bole_json_u64(const struct bole_json_token *t, uint64_t *out)
{
	if (t->kind != BOLE_JSON_NUMBER || digits(t->text) != t->text.len)
		return BOLE_E_INVALID;
	*out = 0;
	for (size_t i = 0; i < t->text.len; i++) {
		if (__builtin_mul_overflow(*out, (uint64_t)10, out) ||
		    __builtin_add_overflow(*out, (uint64_t)(t->text.ptr[i] - '0'), out))
			return BOLE_E_LIMIT;
	}
	return BOLE_OK;
}

static bool take_word(struct bole_json *j, struct bole_json_token *t)
{
	static const struct {
		const char *word;
		enum bole_json_kind kind;
	} words[] = {
	        {"true", BOLE_JSON_TRUE},
	        {"false", BOLE_JSON_FALSE},
	        {"null", BOLE_JSON_NULL},
	};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (!bole_bytes_start(j->rest, bole_bytes_z(words[i].word)))
			continue;
		take(j, strlen(words[i].word));
		t->kind = words[i].kind;
		return true;
	}
	return false;
}

/* -- tokens -- */

static void after_value(struct bole_json *j)
{
	j->state = j->depth == 0 ? STATE_DONE : STATE_AFTER;
}

static enum bole_status open(struct bole_json *j, struct bole_json_token *t, bool object)
{
	if (j->depth == BOLE_JSON_DEPTH_MAX)
		return fail(j, BOLE_E_LIMIT);
	take(j, 1);
	j->objects &= ~(UINT32_C(1) << j->depth);
	j->objects |= (uint32_t)object << j->depth;
	j->depth++;
	j->state = object ? STATE_FIRST_KEY : STATE_FIRST;
	t->kind = object ? BOLE_JSON_OBJECT : BOLE_JSON_ARRAY;
	return BOLE_OK;
}

static enum bole_status close(struct bole_json *j, struct bole_json_token *t)
{
	t->kind = in_object(j) ? BOLE_JSON_OBJECT_END : BOLE_JSON_ARRAY_END;
	take(j, 1);
	j->depth--;
	after_value(j);
	return BOLE_OK;
}

static enum bole_status read_key(struct bole_json *j, struct bole_json_token *t)
{
	if (peek(j) != '"' || !take_string(j, &t->text) || peek(j) != ':')
		return fail(j, BOLE_E_INVALID);
	take(j, 1);
	t->kind = BOLE_JSON_KEY;
	j->state = STATE_VALUE;
	return BOLE_OK;
}

static enum bole_status read_value(struct bole_json *j, struct bole_json_token *t)
{
	int c = peek(j);
	bool fine;

	if (c == '{' || c == '[')
		return open(j, t, c == '{');
	if (c == '"') {
		t->kind = BOLE_JSON_STRING;
		fine = take_string(j, &t->text);
	} else if (c == '-' || (c >= '0' && c <= '9')) {
		t->kind = BOLE_JSON_NUMBER;
		fine = take_number(j, &t->text);
	} else {
		fine = c >= 0 && take_word(j, t);
	}
	if (!fine)
		return fail(j, BOLE_E_INVALID);
	after_value(j);
	return BOLE_OK;
}

enum bole_status bole_json_next(struct bole_json *j, struct bole_json_token *t)
{
	t->text = bole_bytes_of(NULL, 0);
	switch (j->state) {
	case STATE_VALUE: return read_value(j, t);
	case STATE_FIRST: return peek(j) == ']' ? close(j, t) : read_value(j, t);
	case STATE_FIRST_KEY: return peek(j) == '}' ? close(j, t) : read_key(j, t);
	case STATE_AFTER: break;
	case STATE_DONE: return peek(j) < 0 ? BOLE_END : fail(j, BOLE_E_INVALID);
	default: return BOLE_E_INVALID;
	}
	int c = peek(j);
	if (c == (in_object(j) ? '}' : ']'))
		return close(j, t);
	if (c != ',')
		return fail(j, BOLE_E_INVALID);
	take(j, 1);
	return in_object(j) ? read_key(j, t) : read_value(j, t);
}

enum bole_status bole_json_skip(struct bole_json *j, const struct bole_json_token *first)
{
	unsigned depth = j->depth;
	struct bole_json_token t;

	if (first->kind != BOLE_JSON_OBJECT && first->kind != BOLE_JSON_ARRAY)
		return BOLE_OK;
	while (j->depth >= depth)
		BOLE_TRY(bole_json_next(j, &t));
	return BOLE_OK;
}

/* -- writing -- */

void bole_json_put(struct bole_buffer *out, struct bole_bytes text)
{
	static const char replacement[] = "\xef\xbf\xbd";

	bole_buffer_byte(out, '"');
	while (text.len > 0) {
		uint8_t c = text.ptr[0];
		size_t len = utf8_length(text);

		if (c == '"' || c == '\\')
			bole_buffer_format(out, "\\%c", c);
		else if (c < ' ' || c == 0x7f)
			bole_buffer_format(out, "\\u%04x", c);
		else if (len == 0)
			bole_buffer_text(out, replacement);
		else
			bole_buffer_append(out, text.ptr, len);
		len = len == 0 ? 1 : len;
		text = bole_bytes_of(text.ptr + len, text.len - len);
	}
	bole_buffer_byte(out, '"');
}
