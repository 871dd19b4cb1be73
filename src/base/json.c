/* SPDX-License-Identifier: ISC */
#include "base/json.h"

#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"

/* -- reading -- */

/* yyjson frees without a size, so each of its blocks carries one in front. */
enum { SIZE_HEAD = 16 };

static void *sized_resize(void *ctx, void *ptr, size_t unused, size_t size)
{
	uint8_t *head = ptr == NULL ? NULL : (uint8_t *)ptr - SIZE_HEAD;
	size_t old_bytes = 0;
	size_t bytes;

	(void)unused; /* what yyjson believes: the same, less the head */
	if (head != NULL)
		memcpy(&old_bytes, head, sizeof old_bytes);
	if (__builtin_add_overflow(size, (size_t)SIZE_HEAD, &bytes))
		return NULL;
	head = bole_alloc_resize(ctx, head, old_bytes, bytes, 1);
	if (head == NULL)
		return NULL;
	memcpy(head, &bytes, sizeof bytes);
	return head + SIZE_HEAD;
}

static void *sized_alloc(void *ctx, size_t size)
{
	return sized_resize(ctx, NULL, 0, size);
}

static void sized_free(void *ctx, void *ptr)
{
	size_t bytes;

	if (ptr == NULL)
		return;
	uint8_t *head = (uint8_t *)ptr - SIZE_HEAD;
	memcpy(&bytes, head, sizeof bytes);
	bole_alloc_free(ctx, head, bytes, 1);
}

/* Before anything is allocated for it: yyjson itself has no limit. Of what is no JSON, any answer
 * will do. */
static bool too_deep(struct bole_bytes text)
{
	bool in_string = false;
	size_t depth = 0;

	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.ptr[i];

		if (c == '"')
			in_string = !in_string;
		else if (in_string)
			i += c == '\\';
		else if ((c == '{' || c == '[') && ++depth > BOLE_JSON_DEPTH_MAX)
			return true;
		else if ((c == '}' || c == ']') && depth > 0)
			depth--;
	}
	return false;
}

enum bole_status bole_json_read(struct bole_alloc *alloc, struct bole_bytes text,
                                struct yyjson_doc **out)
{
	yyjson_alc memory = {sized_alloc, sized_resize, sized_free, alloc};
	yyjson_read_err err = {0};

	*out = NULL;
	if (too_deep(text))
		return BOLE_E_LIMIT;
	/* Numbers beyond its types stay text: they are JSON, whatever their use. text is only read:
	 * a parse in place is another option. */
	*out = yyjson_read_opts((char *)(uintptr_t)text.ptr, text.len, YYJSON_READ_BIGNUM_AS_RAW,
	                        &memory, &err);
	if (*out != NULL)
		return BOLE_OK;
	return err.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION ? BOLE_E_NO_MEMORY : BOLE_E_INVALID;
}

enum bole_status bole_json_text(struct yyjson_val *value, char *dst, size_t cap)
{
	const char *text = yyjson_get_str(value);
	size_t len = yyjson_get_len(value);

	if (text == NULL || memchr(text, '\0', len) != NULL)
		return BOLE_E_INVALID;
	if (len >= cap)
		return BOLE_E_LIMIT;
	memcpy(dst, text, len);
	dst[len] = '\0';
	return BOLE_OK;
}

enum bole_status bole_json_u64(struct yyjson_val *value, uint64_t *out)
{
	if (yyjson_is_raw(value)) {
		const char *text = yyjson_get_raw(value);
		size_t len = yyjson_get_len(value);

		return strspn(text, "0123456789") == len ? BOLE_E_LIMIT : BOLE_E_INVALID;
	}
	if (!yyjson_is_uint(value))
		return BOLE_E_INVALID;
	*out = yyjson_get_uint(value);
	return BOLE_OK;
}

/* -- writing -- */

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
