/* SPDX-License-Identifier: ISC */
#include "git/fsck/modules.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/fsck/fsck.h"

enum { END = -1 };

void bole_modules_init(struct bole_modules *m, struct bole_alloc *alloc, struct bole_bytes text)
{
	static const char mark[] = "\xef\xbb\xbf";

	*m = (struct bole_modules){.rest = text};
	if (bole_bytes_start(text, bole_bytes_z(mark)))
		m->rest = bole_bytes_of(text.ptr + 3, text.len - 3);
	bole_buffer_init(&m->section, alloc, text.len + 2);
	bole_buffer_init(&m->key, alloc, text.len + 2);
	bole_buffer_init(&m->value, alloc, text.len + 2);
}

void bole_modules_release(struct bole_modules *m)
{
	bole_buffer_release(&m->section);
	bole_buffer_release(&m->key);
	bole_buffer_release(&m->value);
}

/* The next character; CR before LF is nothing. */
static int next(struct bole_modules *m)
{
	if (m->rest.len > 1 && m->rest.ptr[0] == '\r' && m->rest.ptr[1] == '\n') {
		m->rest.ptr++;
		m->rest.len--;
	}
	if (m->rest.len == 0)
		return END;
	m->rest.len--;
	return *m->rest.ptr++;
}

static bool is_space(int c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_alpha(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_key_char(int c)
{
	return is_alpha(c) || (c >= '0' && c <= '9') || c == '-';
}

static uint8_t lower(int c)
{
	return (uint8_t)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* From the blank after the section's name to the ']'. */
static bool subsection(struct bole_modules *m, int c)
{
	while (is_space(c)) {
		if (c == '\n')
			return false;
		c = next(m);
	}
	if (c != '"')
		return false;
	m->section_len = m->section.len;
	m->has_subsection = true;
	bole_buffer_byte(&m->section, '.');
	for (;;) {
		c = next(m);
		if (c == '\n' || c == END)
			return false;
		if (c == '"')
			return next(m) == ']';
		if (c == '\\') {
			c = next(m);
			if (c == '\n' || c == END)
				return false;
		}
		bole_buffer_byte(&m->section, (uint8_t)c);
	}
}

static bool section(struct bole_modules *m)
{
	m->section.len = 0;
	m->has_subsection = false;
	for (;;) {
		int c = next(m);

		if (c == END)
			return false;
		if (c == ']')
			break;
		if (is_space(c))
			return subsection(m, c);
		if (!is_key_char(c) && c != '.')
			return false;
		bole_buffer_byte(&m->section, lower(c));
	}
	/* "[a.b]" is an old way to write a subsection, in lower case. */
	const uint8_t *dot =
	        m->section.len == 0 ? NULL : memchr(m->section.ptr, '.', m->section.len);
	m->has_subsection = dot != NULL;
	m->section_len = dot == NULL ? m->section.len : (size_t)(dot - m->section.ptr);
	return m->section.len > 0;
}

/* What a backslash and c stand for; END: nothing. */
static int escaped(int c)
{
	switch (c) {
	case 't': return '\t';
	case 'b': return '\b';
	case 'n': return '\n';
	case '\\':
	case '"': return c;
	default: return END;
	}
}

static bool value(struct bole_modules *m)
{
	bool quoted = false;
	bool comment = false;
	size_t trim = 0;
	bool trims = false;

	for (;;) {
		int c = next(m);

		if (c == '\n' || c == END) {
			m->value.len = trims ? trim : m->value.len;
			return !quoted;
		}
		if (comment)
			continue;
		if (is_space(c) && !quoted) {
			trim = trims ? trim : m->value.len;
			trims = true;
			if (m->value.len > 0)
				bole_buffer_byte(&m->value, (uint8_t)c);
			continue;
		}
		if (!quoted && (c == ';' || c == '#')) {
			comment = true;
			continue;
		}
		trims = false;
		if (c == '\\') {
			c = next(m);
			if (c == '\n')
				continue;
			c = escaped(c);
			if (c == END)
				return false;
		} else if (c == '"') {
			quoted = !quoted;
			continue;
		}
		bole_buffer_byte(&m->value, (uint8_t)c);
	}
}

static bool variable(struct bole_modules *m, int c)
{
	m->key.len = m->value.len = 0;
	m->has_value = false;
	for (; is_key_char(c); c = next(m))
		bole_buffer_byte(&m->key, lower(c));
	while (c == ' ' || c == '\t')
		c = next(m);
	if (c == '\n' || c == END)
		return true;
	m->has_value = true;
	return c == '=' && value(m);
}

static enum bole_status memory(const struct bole_modules *m)
{
	BOLE_TRY(m->section.rc);
	BOLE_TRY(m->key.rc);
	return m->value.rc;
}

enum bole_status bole_modules_next(struct bole_modules *m)
{
	bool comment = false;

	for (;;) {
		int c = next(m);

		BOLE_TRY(memory(m));
		if (c == END)
			return BOLE_END;
		if (c == '\n')
			comment = false;
		if (comment || is_space(c))
			continue;
		if (c == '#' || c == ';') {
			comment = true;
			continue;
		}
		if (c == '[') {
			if (!section(m))
				return BOLE_E_INVALID;
			continue;
		}
		if (!is_alpha(c) || !variable(m, c))
			return BOLE_E_INVALID;
		return memory(m);
	}
}

/* -- The checks -- */

static struct bole_bytes to_nul(const struct bole_buffer *b)
{
	const uint8_t *nul = b->len == 0 ? NULL : memchr(b->ptr, 0, b->len);

	return bole_bytes_of(b->ptr, nul == NULL ? b->len : (size_t)(nul - b->ptr));
}

static bool key_is(const struct bole_modules *m, const char *key)
{
	return bole_bytes_equal(bole_bytes_of(m->key.ptr, m->key.len), bole_bytes_z(key));
}

static void check(struct bole_fsck *f, struct bole_modules *m)
{
	struct bole_bytes first = bole_bytes_of(m->section.ptr, m->section_len);
	struct bole_bytes text = to_nul(&m->value);

	if (!m->has_subsection || !bole_bytes_equal(first, bole_bytes_z("submodule")))
		return;
	size_t skip = m->section_len + 1;
	struct bole_buffer name = {.ptr = m->section.ptr + skip, .len = m->section.len - skip};
	if (!bole_submodule_name_safe(to_nul(&name)))
		(void)bole_fsck_report(f, BOLE_FSCK_GITMODULES_NAME, "disallowed submodule name");
	if (!m->has_value)
		return;
	bool option = text.len > 0 && text.ptr[0] == '-';
	/* Beyond Git's rule: what ends in CR was read back without it by clients, as another path.
	 */
	bool control = text.len > 0 && (memchr(text.ptr, '\r', text.len) != NULL ||
	                                memchr(text.ptr, '\n', text.len) != NULL);
	if (key_is(m, "url") && !bole_submodule_url_safe(text))
		(void)bole_fsck_report(f, BOLE_FSCK_GITMODULES_URL, "disallowed submodule url");
	if (key_is(m, "path") && (option || control))
		(void)bole_fsck_report(f, BOLE_FSCK_GITMODULES_PATH, "disallowed submodule path");
	if (key_is(m, "update") && text.len > 0 && text.ptr[0] == '!')
		(void)bole_fsck_report(f, BOLE_FSCK_GITMODULES_UPDATE,
		                       "disallowed submodule update setting");
}

enum bole_status bole_fsck_modules(struct bole_fsck *f, const struct bole_oid *oid,
                                   struct bole_bytes content)
{
	struct bole_modules m;
	enum bole_status rc;

	bole_fsck_begin(f, oid);
	bole_modules_init(&m, f->alloc, content);
	while ((rc = bole_modules_next(&m)) == BOLE_OK)
		check(f, &m);
	bole_modules_release(&m);
	if (rc == BOLE_E_INVALID)
		(void)bole_fsck_report(f, BOLE_FSCK_GITMODULES_PARSE,
		                       "could not parse gitmodules blob");
	else if (rc != BOLE_END)
		return rc;
	return f->failed ? BOLE_E_INVALID : BOLE_OK;
}
