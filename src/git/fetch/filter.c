/* SPDX-License-Identifier: ISC */
#include "git/fetch/filter.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

enum {
	TEXT_CHUNK_BYTES = 1024,
	ALL_TYPES = 1 << BOLE_OBJECT_COMMIT | 1 << BOLE_OBJECT_TREE | 1 << BOLE_OBJECT_BLOB |
	            1 << BOLE_OBJECT_TAG,
};

/* One specification that waits to be looked at. */
struct part {
	struct bole_bytes text;
	unsigned nesting;
};

struct parsing {
	struct bole_filter *filter;
	struct bole_arena text; /* of the parts, decoded */
	struct part *parts;
	size_t waiting;
	size_t seen;
	const char *why;
};

void bole_filter_init(struct bole_filter *filter)
{
	*filter = (struct bole_filter){
	        .types = ALL_TYPES, .blob_limit = UINT64_MAX, .tree_depth = UINT32_MAX};
}

bool bole_filter_may_drop(const struct bole_filter *filter, uint8_t type)
{
	if (!filter->active)
		return false;
	if ((filter->types & 1U << type) == 0)
		return true;
	if (type == BOLE_OBJECT_BLOB)
		return filter->blob_limit != UINT64_MAX || filter->tree_depth != UINT32_MAX ||
		       filter->sparse_len > 0;
	return type == BOLE_OBJECT_TREE && filter->tree_depth != UINT32_MAX;
}

/* Decimal, with k, m or g. */
static bool parse_number(struct bole_bytes text, uint64_t *out)
{
	uint64_t value = 0;
	unsigned shift = 0;
	size_t i = 0;

	for (; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9'; i++) {
		uint64_t digit = (uint64_t)(text.ptr[i] - '0');
		if (value > (UINT64_MAX - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	if (i == 0 || text.len - i > 1)
		return false;
	if (i < text.len) {
		switch (text.ptr[i] | 0x20) {
		case 'k': shift = 10; break;
		case 'm': shift = 20; break;
		case 'g': shift = 30; break;
		default: return false;
		}
	}
	if (value > UINT64_MAX >> shift)
		return false;
	*out = value << shift;
	return true;
}

static enum bole_status refuse(struct parsing *p, enum bole_status rc, const char *why)
{
	p->why = why;
	return rc;
}

static int hex_digit(uint8_t ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	ch |= 0x20;
	return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* Undoes the percent-encoding of one filter of a combination. */
static enum bole_status decode(struct parsing *p, struct bole_bytes text, struct bole_bytes *out)
{
	size_t len = 0;
	uint8_t *copy = bole_arena_alloc(&p->text, text.len + 1, 1);

	if (copy == NULL)
		return BOLE_E_NO_MEMORY;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] != '%') {
			copy[len++] = text.ptr[i];
			continue;
		}
		int high = text.len - i > 2 ? hex_digit(text.ptr[i + 1]) : -1;
		int low = text.len - i > 2 ? hex_digit(text.ptr[i + 2]) : -1;
		if (high < 0 || low < 0)
			return refuse(p, BOLE_E_INVALID, "a '%' without two hex digits");
		copy[len++] = (uint8_t)(high << 4 | low);
		i += 2;
	}
	*out = bole_bytes_of(copy, len);
	return BOLE_OK;
}

static enum bole_status take_combine(struct parsing *p, struct bole_bytes rest, unsigned nesting)
{
	if (nesting == BOLE_FILTER_NESTING_MAX)
		return refuse(p, BOLE_E_LIMIT, "too many combinations in combinations");
	p->filter->kinds |= BOLE_FILTER_COMBINE;
	for (;;) {
		const uint8_t *plus = rest.len == 0 ? NULL : memchr(rest.ptr, '+', rest.len);
		size_t len = plus == NULL ? rest.len : (size_t)(plus - rest.ptr);
		struct bole_bytes text;

		if (len == 0)
			return refuse(p, BOLE_E_INVALID, "an empty filter in a combination");
		if (++p->seen > BOLE_FILTER_PARTS_MAX)
			return refuse(p, BOLE_E_LIMIT, "too many filters in a combination");
		BOLE_TRY(decode(p, bole_bytes_of(rest.ptr, len), &text));
		p->parts[p->waiting++] = (struct part){text, nesting + 1};
		if (plus == NULL)
			return BOLE_OK;
		rest = bole_bytes_of(rest.ptr + len + 1, rest.len - len - 1);
	}
}

static enum bole_status take_type(struct parsing *p, struct bole_bytes name)
{
	p->filter->kinds |= BOLE_FILTER_OBJECT_TYPE;
	for (uint8_t type = BOLE_OBJECT_COMMIT; type <= BOLE_OBJECT_TAG; type++) {
		if (!bole_bytes_equal(name, bole_bytes_z(bole_object_type_name(type))))
			continue;
		p->filter->types &= (uint8_t)(1U << type);
		return BOLE_OK;
	}
	return refuse(p, BOLE_E_INVALID, "not the name of an object type");
}

static enum bole_status take_sparse(struct parsing *p, struct bole_bytes name)
{
	struct bole_filter *filter = p->filter;

	if (name.len == 0 || name.len > BOLE_FILTER_SPARSE_MAX)
		return refuse(p, BOLE_E_INVALID, "sparse:oid without the name of a blob");
	if (filter->sparse_len > 0)
		return refuse(p, BOLE_E_UNSUPPORTED, "more than one sparse:oid");
	filter->kinds |= BOLE_FILTER_SPARSE;
	memcpy(filter->sparse, name.ptr, name.len);
	filter->sparse[name.len] = '\0';
	filter->sparse_len = name.len;
	return BOLE_OK;
}

static bool cut(struct bole_bytes text, const char *word, struct bole_bytes *rest)
{
	size_t len = strlen(word);

	if (!bole_bytes_start(text, bole_bytes_of(word, len)))
		return false;
	*rest = bole_bytes_of(text.ptr + len, text.len - len);
	return true;
}

static enum bole_status take_part(struct parsing *p, const struct part *part)
{
	struct bole_filter *filter = p->filter;
	struct bole_bytes rest;
	uint64_t number = 0;

	if (bole_bytes_equal(part->text, bole_bytes_z("blob:none"))) {
		filter->kinds |= BOLE_FILTER_BLOB_NONE;
		filter->blob_limit = 0;
		return BOLE_OK;
	}
	if (cut(part->text, "blob:limit=", &rest)) {
		filter->kinds |= BOLE_FILTER_BLOB_LIMIT;
		if (!parse_number(rest, &number))
			return refuse(p, BOLE_E_INVALID, "blob:limit without a number of bytes");
		if (number < filter->blob_limit)
			filter->blob_limit = number;
		return BOLE_OK;
	}
	if (cut(part->text, "tree:", &rest)) {
		filter->kinds |= BOLE_FILTER_TREE;
		if (!parse_number(rest, &number))
			return refuse(p, BOLE_E_INVALID, "tree: without a depth");
		if (number < filter->tree_depth)
			filter->tree_depth = (uint32_t)number;
		return BOLE_OK;
	}
	if (cut(part->text, "object:type=", &rest))
		return take_type(p, rest);
	if (cut(part->text, "sparse:oid=", &rest))
		return take_sparse(p, rest);
	if (cut(part->text, "combine:", &rest))
		return take_combine(p, rest, part->nesting);
	return refuse(p, BOLE_E_UNSUPPORTED, "no such filter");
}

enum bole_status bole_filter_parse(struct bole_filter *filter, struct bole_alloc *alloc,
                                   struct bole_bytes spec, const char **why)
{
	struct bole_filter fresh;
	struct parsing p = {.filter = &fresh};
	enum bole_status rc = BOLE_OK;

	bole_filter_init(&fresh);
	fresh.active = true;
	bole_arena_init(&p.text, alloc, TEXT_CHUNK_BYTES);
	p.parts = bole_alloc_array(alloc, BOLE_FILTER_PARTS_MAX + 1, sizeof *p.parts);
	if (p.parts == NULL)
		return BOLE_E_NO_MEMORY;
	p.parts[p.waiting++] = (struct part){spec, 0};
	while (rc == BOLE_OK && p.waiting > 0) {
		struct part part = p.parts[--p.waiting];
		rc = take_part(&p, &part);
	}
	bole_alloc_free(alloc, p.parts, BOLE_FILTER_PARTS_MAX + 1, sizeof *p.parts);
	bole_arena_release(&p.text);
	if (rc == BOLE_OK)
		*filter = fresh;
	*why = p.why;
	return rc;
}
