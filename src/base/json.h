/* SPDX-License-Identifier: ISC */
/* JSON (RFC 8259) as it comes from a peer: a pull parser over bytes in memory. No recursion and no
 * allocation; nesting is limited. Strict: nothing before or after the one value, no trailing
 * commas, no bytes that are no UTF-8, no lone surrogates. And the writing of strings. */
#ifndef BOLE_BASE_JSON_H
#define BOLE_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/types.h"

enum { BOLE_JSON_DEPTH_MAX = 32 };

enum bole_json_kind {
	BOLE_JSON_OBJECT,
	BOLE_JSON_OBJECT_END,
	BOLE_JSON_ARRAY,
	BOLE_JSON_ARRAY_END,
	BOLE_JSON_KEY, /* of the member whose value comes next */
	BOLE_JSON_STRING,
	BOLE_JSON_NUMBER,
	BOLE_JSON_TRUE,
	BOLE_JSON_FALSE,
	BOLE_JSON_NULL,
};

/* text: what stands between the quotes, still escaped, or the number; borrowed from the input. */
struct bole_json_token {
	enum bole_json_kind kind;
	struct bole_bytes text;
};

struct bole_json {
	struct bole_bytes rest;
	uint32_t objects; /* bit n: level n is an object */
	unsigned depth;
	unsigned state;
};

void bole_json_init(struct bole_json *, struct bole_bytes text);
/* The next token. BOLE_END: the value is complete and nothing follows; BOLE_E_INVALID;
 * BOLE_E_LIMIT: nested too deep. After an error every call returns BOLE_E_INVALID. */
BOLE_MUST_USE enum bole_status bole_json_next(struct bole_json *, struct bole_json_token *);
/* Reads past the rest of the value that begins with this token. */
BOLE_MUST_USE enum bole_status bole_json_skip(struct bole_json *, const struct bole_json_token *);
/* The text of a string or key, decoded, with a NUL. BOLE_E_LIMIT: longer than cap - 1 bytes;
 * BOLE_E_INVALID: it holds a NUL itself. */
BOLE_MUST_USE enum bole_status bole_json_text(const struct bole_json_token *, char *dst, size_t cap,
                                              size_t *len);
/* Is it the string or key that reads `text`? */
bool bole_json_is(const struct bole_json_token *, const char *text);
/* A number without sign, fraction and exponent. BOLE_E_INVALID: another one; BOLE_E_LIMIT. */
BOLE_MUST_USE enum bole_status bole_json_u64(const struct bole_json_token *, uint64_t *out);

struct bole_buffer;
/* Appends text as a JSON string with its quotes. Bytes that are no UTF-8 become U+FFFD. */
void bole_json_put(struct bole_buffer *, struct bole_bytes text);

#endif /* BOLE_BASE_JSON_H */
