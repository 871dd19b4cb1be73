/* SPDX-License-Identifier: ISC */
#include "git/fetch/work_file.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

static struct bole_bytes skip(struct bole_bytes text, size_t len)
{
	return bole_bytes_of(text.ptr + len, text.len - len);
}

/* -- Line ends -- */

enum text_kind { UNDECIDED, TEXT, TEXT_AUTO, TEXT_INPUT, BINARY };

static bool value_is(const struct bole_attribute *a, const char *value)
{
	return a->state == BOLE_ATTRIBUTE_VALUE && bole_bytes_equal(a->value, bole_bytes_z(value));
}

static enum text_kind kind_of(const struct bole_attribute *a)
{
	if (a->state == BOLE_ATTRIBUTE_SET)
		return TEXT;
	if (a->state == BOLE_ATTRIBUTE_UNSET)
		return BINARY;
	if (value_is(a, "auto"))
		return TEXT_AUTO;
	return value_is(a, "input") ? TEXT_INPUT : UNDECIDED;
}

enum bole_status bole_line_ends_of(struct bole_attributes *attributes, struct bole_bytes path,
                                   enum bole_line_ends *out)
{
	struct bole_attribute text, eol;

	*out = BOLE_LINE_ENDS_KEPT;
	BOLE_TRY(bole_attributes_get(attributes, path, false, "eol", &eol));
	if (!value_is(&eol, "crlf"))
		return BOLE_OK;
	BOLE_TRY(bole_attributes_get(attributes, path, false, "text", &text));
	if (kind_of(&text) == UNDECIDED) /* its name before Git 1.7 */
		BOLE_TRY(bole_attributes_get(attributes, path, false, "crlf", &text));
	if (kind_of(&text) != BINARY)
		*out = kind_of(&text) == TEXT_AUTO ? BOLE_LINE_ENDS_CRLF_AUTO : BOLE_LINE_ENDS_CRLF;
	return BOLE_OK;
}

struct census {
	size_t alone; /* LF without a CR before it */
	size_t returns;
	size_t odd; /* bytes that text does not have */
	size_t plain;
	bool nul;
};

static void count(struct bole_bytes file, struct census *c)
{
	for (size_t i = 0; i < file.len; i++) {
		uint8_t ch = file.ptr[i];

		if (ch == '\n')
			c->alone += i == 0 || file.ptr[i - 1] != '\r';
		else if (ch == '\r')
			c->returns++;
		else if (ch == 127 || (ch < 32 && (ch == 0 || strchr("\b\t\033\f", ch) == NULL)))
			c->odd++;
		else
			c->plain++;
		c->nul |= ch == 0;
	}
	/* The mark that ended files on CP/M. */
	if (file.len > 0 && file.ptr[file.len - 1] == '\032')
		c->odd--;
}

bool bole_line_ends_apply(enum bole_line_ends ends, struct bole_bytes file, struct bole_buffer *out)
{
	struct census c = {.nul = false};
	bool after_return = false;

	if (ends == BOLE_LINE_ENDS_KEPT)
		return false;
	count(file, &c);
	if (c.alone == 0)
		return false;
	if (ends == BOLE_LINE_ENDS_CRLF_AUTO && (c.returns > 0 || c.nul || c.plain / 128 < c.odd))
		return false;
	uint8_t *to = bole_buffer_reserve(out, file.len + c.alone);
	if (to == NULL)
		return true; /* the buffer knows */
	for (size_t i = 0; i < file.len; i++) {
		if (file.ptr[i] == '\n' && !after_return)
			*to++ = '\r';
		*to++ = file.ptr[i];
		after_return = file.ptr[i] == '\r';
	}
	out->len += file.len + c.alone;
	return true;
}

/* -- Ids -- */

/* The length of what "$Id$" or "$Id: ...$" takes behind its first '$'; 0: it is none. A line's end,
 * or a space that does not end it, belongs to another system's. *open: nothing that follows can be
 * one. */
static size_t ident_bytes(struct bole_bytes rest, bool *open)
{
	if (rest.len < 3 || rest.ptr[0] != 'I' || rest.ptr[1] != 'd')
		return 0;
	if (rest.ptr[2] == '$')
		return 3;
	if (rest.ptr[2] != ':')
		return 0;
	const uint8_t *end = rest.len == 3 ? NULL : memchr(rest.ptr + 3, '$', rest.len - 3);
	*open = end == NULL;
	if (end == NULL)
		return 0;
	size_t len = (size_t)(end - rest.ptr);
	if (memchr(rest.ptr + 3, '\n', len - 3) != NULL)
		return 0;
	const uint8_t *space = len <= 4 ? NULL : memchr(rest.ptr + 4, ' ', len - 4);
	return space != NULL && space < end - 1 ? 0 : len + 1;
}

void bole_ident_apply(const struct bole_oid *oid, struct bole_bytes file, struct bole_buffer *out)
{
	char hex[BOLE_OID_HEX_MAX + 1];
	bool open = false;

	bole_oid_format(oid, hex);
	while (!open && out->rc == BOLE_OK) {
		const uint8_t *dollar = file.len == 0 ? NULL : memchr(file.ptr, '$', file.len);

		if (dollar == NULL)
			break;
		size_t before = (size_t)(dollar - file.ptr) + 1;
		bole_buffer_append(out, file.ptr, before);
		file = skip(file, before);
		size_t len = ident_bytes(file, &open);
		if (len > 0)
			bole_buffer_format(out, "Id: %s $", hex);
		file = skip(file, len);
	}
	if (file.len > 0)
		bole_buffer_append(out, file.ptr, file.len);
}
