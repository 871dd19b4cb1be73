/* SPDX-License-Identifier: ISC */
/* JSON (RFC 8259) as it comes from a peer, read by yyjson, whose values and iterators a caller uses
 * as they are; none of what is used here or there recurses. Strict: nothing before or after the one
 * value, no trailing commas, no bytes that are no UTF-8, no lone surrogates. And the writing of
 * strings. */
#ifndef BOLE_BASE_JSON_H
#define BOLE_BASE_JSON_H

#include <stddef.h>
#include <stdint.h>
#include <yyjson.h>

#include "bole/alloc.h"
#include "bole/types.h"

enum { BOLE_JSON_DEPTH_MAX = 32 };

/* The value that text is, with everything in it; it does not borrow from text. The caller gives it
 * to yyjson_doc_free (which takes NULL) before alloc goes away. Takes up to about 12 bytes for each
 * byte of text. BOLE_E_INVALID; BOLE_E_LIMIT: nested too deep; BOLE_E_NO_MEMORY; then *out is
 * NULL. Members of the same name are all there, in their order. */
BOLE_MUST_USE enum bole_status bole_json_read(struct bole_alloc *, struct bole_bytes text,
                                              struct yyjson_doc **out);
/* A string, with a NUL. BOLE_E_LIMIT: longer than cap - 1 bytes; BOLE_E_INVALID: it is no string,
 * or holds a NUL itself. */
BOLE_MUST_USE enum bole_status bole_json_text(struct yyjson_val *, char *dst, size_t cap);
/* A number without sign, fraction and exponent. BOLE_E_INVALID: none, or another one;
 * BOLE_E_LIMIT. */
BOLE_MUST_USE enum bole_status bole_json_u64(struct yyjson_val *, uint64_t *out);

struct bole_buffer;
/* Appends text as a JSON string with its quotes. Bytes that are no UTF-8 become U+FFFD. */
void bole_json_put(struct bole_buffer *, struct bole_bytes text);

#endif /* BOLE_BASE_JSON_H */
