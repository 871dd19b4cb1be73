/* SPDX-License-Identifier: ISC */
#include "git/fetch/pretty.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

#define ABSENT SIZE_MAX /* no such placeholder */

static struct bole_bytes skip(struct bole_bytes text, size_t len)
{
	return bole_bytes_of(text.ptr + len, text.len - len);
}

static void add(struct bole_buffer *out, struct bole_bytes text)
{
	if (text.len > 0)
		bole_buffer_append(out, text.ptr, text.len);
}

static bool is_space(uint8_t ch)
{
	return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r' || ch == '\v' || ch == '\f';
}

/* -- The commit -- */

static struct bole_bytes header(struct bole_bytes lines, const char *name)
{
	size_t len = strlen(name);

	while (lines.len > 0) {
		const uint8_t *end = memchr(lines.ptr, '\n', lines.len);
		size_t line = end == NULL ? lines.len : (size_t)(end - lines.ptr);

		if (line > len && lines.ptr[len] == ' ' && memcmp(lines.ptr, name, len) == 0)
			return bole_bytes_of(lines.ptr + len + 1, line - len - 1);
		lines = skip(lines, end == NULL ? line : line + 1);
	}
	return bole_bytes_of(NULL, 0);
}

/* Git ends a commit at a NUL. */
static void cut_at_nul(struct bole_bytes *text)
{
	const uint8_t *nul = text->len == 0 ? NULL : memchr(text->ptr, 0, text->len);

	if (nul != NULL)
		text->len = (size_t)(nul - text->ptr);
}

enum bole_status bole_pretty_open(struct bole_pretty *p)
{
	if (p->data.len > BOLE_PRETTY_COMMIT_MAX)
		return BOLE_E_LIMIT;
	BOLE_TRY(bole_commit_parse(p->data, p->oid.algo, &p->commit));
	p->encoding = header(p->commit.extra, "encoding");
	p->is_signed = header(p->commit.extra, "gpgsig").len > 0 ||
	               header(p->commit.extra, "gpgsig-sha256").len > 0;
	cut_at_nul(&p->commit.message);
	return BOLE_OK;
}

/* -- The message -- */

/* Cuts a line off, without its end and the spaces before it. False: nothing is left. */
static bool next_line(struct bole_bytes *rest, struct bole_bytes *line)
{
	if (rest->len == 0)
		return false;
	const uint8_t *end = memchr(rest->ptr, '\n', rest->len);
	size_t len = end == NULL ? rest->len : (size_t)(end - rest->ptr);

	*line = bole_bytes_of(rest->ptr, len);
	*rest = skip(*rest, end == NULL ? len : len + 1);
	while (line->len > 0 && is_space(line->ptr[line->len - 1]))
		line->len--;
	return true;
}

static struct bole_bytes skip_blank(struct bole_bytes text)
{
	struct bole_bytes rest = text, line;

	while (next_line(&rest, &line) && line.len == 0)
		text = rest;
	return text;
}

/* The first paragraph in one line; out NULL: only skipped. Returns what follows it. */
static struct bole_bytes subject(struct bole_bytes text, struct bole_buffer *out)
{
	struct bole_bytes line;

	for (bool first = true; next_line(&text, &line) && line.len > 0; first = false) {
		if (out == NULL)
			continue;
		if (!first)
			bole_buffer_byte(out, ' ');
		add(out, line);
	}
	return text;
}

static bool is_title(uint8_t ch)
{
	uint8_t letter = ch | 0x20;

	return (letter >= 'a' && letter <= 'z') || (ch >= '0' && ch <= '9') || ch == '.' ||
	       ch == '_';
}

/* The subject's first line as part of a file's name. */
static void sanitized(struct bole_bytes text, struct bole_buffer *out)
{
	const uint8_t *end = text.len == 0 ? NULL : memchr(text.ptr, '\n', text.len);
	size_t len = end == NULL ? text.len : (size_t)(end - text.ptr);
	size_t from = out->len;
	bool gap = false;

	for (size_t i = 0; i < len; i++) {
		if (!is_title(text.ptr[i])) {
			gap = true;
			continue;
		}
		if (gap && out->len > from)
			bole_buffer_byte(out, '-');
		gap = false;
		bole_buffer_byte(out, text.ptr[i]);
		while (text.ptr[i] == '.' && i + 1 < len && text.ptr[i + 1] == '.')
			i++;
	}
	while (out->len > from && (out->ptr[out->len - 1] == '.' || out->ptr[out->len - 1] == '-'))
		out->len--;
}

/* -- Placeholders. Each returns how many bytes it takes behind the '%', or ABSENT. -- */

static enum bole_status add_id(const struct bole_pretty *p, const struct bole_oid *oid, bool whole,
                               struct bole_buffer *out)
{
	char hex[BOLE_OID_HEX_MAX + 1];
	unsigned digits = BOLE_OID_HEX_MAX;

	bole_oid_format(oid, hex);
	if (!whole)
		BOLE_TRY(p->digits(p->ctx, oid, &digits));
	if (digits < strlen(hex))
		hex[digits] = '\0';
	bole_buffer_text(out, hex);
	return out->rc;
}

static enum bole_status add_parents(const struct bole_pretty *p, bool whole,
                                    struct bole_buffer *out)
{
	for (size_t i = 0; i < p->commit.parent_count; i++) {
		struct bole_oid oid;

		bole_commit_parent(&p->commit, p->oid.algo, i, &oid);
		if (i > 0)
			bole_buffer_byte(out, ' ');
		BOLE_TRY(add_id(p, &oid, whole, out));
	}
	return BOLE_OK;
}

static enum bole_status add_names(const struct bole_pretty *p, bool bare, struct bole_buffer *out)
{
	struct bole_bytes names;

	BOLE_TRY(p->names(p->ctx, &names));
	if (!bare && names.len > 0)
		bole_buffer_text(out, " (");
	add(out, names);
	if (!bare && names.len > 0)
		bole_buffer_text(out, ")");
	return out->rc;
}

static int hex_digit(uint8_t ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	ch |= 0x20;
	return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* "x41" */
static size_t add_byte(struct bole_bytes rest, struct bole_buffer *out)
{
	if (rest.len < 3 || hex_digit(rest.ptr[1]) < 0 || hex_digit(rest.ptr[2]) < 0)
		return ABSENT;
	bole_buffer_byte(out, (uint8_t)(hex_digit(rest.ptr[1]) << 4 | hex_digit(rest.ptr[2])));
	return 3;
}

/* "C(...)", "Cred": files have no colours. */
static size_t skip_colour(struct bole_bytes rest)
{
	static const char *const names[] = {"red", "green", "blue", "reset"};
	struct bole_bytes name = skip(rest, 1);
	const uint8_t *close;

	if (name.len > 0 && name.ptr[0] == '(') {
		close = memchr(name.ptr, ')', name.len);
		return close == NULL ? ABSENT : (size_t)(close - rest.ptr) + 1;
	}
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (bole_bytes_start(name, bole_bytes_z(names[i])))
			return 1 + strlen(names[i]);
	return ABSENT;
}

/* "G?" and others: nobody here knows whose keys are good. */
static size_t add_signature(const struct bole_pretty *p, struct bole_bytes rest,
                            struct bole_buffer *out)
{
	uint8_t part = rest.len < 2 ? 0 : rest.ptr[1];

	if (part == '?')
		bole_buffer_byte(out, p->is_signed ? 'E' : 'N');
	else if (part == 'T')
		bole_buffer_text(out, "undefined");
	return part != 0 && strchr("?TGSKFP", part) != NULL ? 2 : ABSENT;
}

/* "(describe)", "(describe:tags,match=v*)" */
static enum bole_status add_description(const struct bole_pretty *p, struct bole_bytes rest,
                                        struct bole_buffer *out, size_t *taken)
{
	struct bole_bytes word = bole_bytes_z("(describe");
	size_t from = out->len;

	*taken = ABSENT;
	if (p->describe == NULL || !bole_bytes_start(rest, word))
		return BOLE_OK;
	struct bole_bytes options = skip(rest, word.len);
	const uint8_t *close = options.len == 0 ? NULL : memchr(options.ptr, ')', options.len);
	if (close == NULL || (options.ptr[0] != ':' && options.ptr[0] != ')'))
		return BOLE_OK;
	size_t len = (size_t)(close - options.ptr);
	options = len == 0 ? bole_bytes_of(NULL, 0) : bole_bytes_of(options.ptr + 1, len - 1);
	enum bole_status rc = p->describe(p->ctx, options, out);
	if (rc == BOLE_E_UNSUPPORTED) {
		out->len = from;
		return BOLE_OK;
	}
	*taken = word.len + len + 1;
	return rc;
}

static enum bole_status expand_message(const struct bole_pretty *p, uint8_t letter,
                                       struct bole_buffer *out, size_t *taken)
{
	struct bole_bytes message = p->commit.message, text = skip_blank(message);

	switch (letter) {
	case 'B': add(out, message); break;
	case 's': subject(text, out); break;
	case 'f': sanitized(text, out); break;
	case 'b': add(out, skip_blank(subject(text, NULL))); break;
	default: *taken = ABSENT;
	}
	return out->rc;
}

static enum bole_status expand_one(const struct bole_pretty *p, struct bole_bytes rest,
                                   struct bole_buffer *out, size_t *taken)
{
	uint8_t letter = rest.len == 0 ? 0 : rest.ptr[0];
	uint8_t second = rest.len < 2 ? 0 : rest.ptr[1];
	struct bole_bytes person = letter == 'a' ? p->commit.author : p->commit.committer;

	*taken = 1;
	switch (letter) {
	case 'n': bole_buffer_byte(out, '\n'); break;
	case 'x': *taken = add_byte(rest, out); break;
	case 'C': *taken = skip_colour(rest); break;
	case 'w': /* the width that it has already */
		*taken = bole_bytes_start(rest, bole_bytes_z("w()")) ? 3 : ABSENT;
		break;
	case 'H':
	case 'h': return add_id(p, &p->oid, letter == 'H', out);
	case 'T':
	case 't': return add_id(p, &p->commit.tree, letter == 'T', out);
	case 'P':
	case 'p': return add_parents(p, letter == 'P', out);
	case 'm': bole_buffer_byte(out, '>'); break;
	case 'd':
	case 'D': return add_names(p, letter == 'D', out);
	case 'g': /* no reference log led here */
		*taken = second != 0 && strchr("dDsnNeE", second) != NULL ? 2 : ABSENT;
		break;
	case 'G': *taken = add_signature(p, rest, out); break;
	case 'a':
	case 'c':
		*taken = bole_pretty_person(person, (char)second, p->now_s, out) ? 2 : ABSENT;
		break;
	case 'e': add(out, p->encoding); break;
	case '(': return add_description(p, rest, out, taken);
	default: return expand_message(p, letter, out, taken);
	}
	return out->rc;
}

static void insert(struct bole_buffer *out, size_t at, uint8_t ch)
{
	bole_buffer_byte(out, ch);
	if (out->rc != BOLE_OK)
		return;
	memmove(out->ptr + at + 1, out->ptr + at, out->len - at - 1);
	out->ptr[at] = ch;
}

/* "%+x", "%-x", "% x": what stands before it depends on whether it is empty. */
static enum bole_status expand_magic(const struct bole_pretty *p, struct bole_bytes rest,
                                     struct bole_buffer *out, size_t *taken)
{
	uint8_t magic = rest.len == 0 ? 0 : rest.ptr[0];
	size_t from = out->len;

	if (magic != '+' && magic != '-' && magic != ' ')
		return expand_one(p, rest, out, taken);
	rest = skip(rest, 1);
	if (rest.len > 0 && rest.ptr[0] == 'w') {
		*taken = ABSENT;
		return BOLE_OK;
	}
	BOLE_TRY(expand_one(p, rest, out, taken));
	*taken = *taken == ABSENT ? 1 : *taken + 1; /* as Git: an unknown one loses its "%+" */
	if (magic == '-' && out->len == from)
		while (out->len > 0 && out->ptr[out->len - 1] == '\n')
			out->len--;
	else if (magic != '-' && out->len > from)
		insert(out, from, magic == '+' ? '\n' : ' ');
	return out->rc;
}

enum bole_status bole_pretty_expand(const struct bole_pretty *p, struct bole_bytes format,
                                    struct bole_buffer *out)
{
	cut_at_nul(&format);
	while (format.len > 0) {
		const uint8_t *percent = memchr(format.ptr, '%', format.len);
		size_t len = percent == NULL ? format.len : (size_t)(percent - format.ptr);
		size_t taken;

		add(out, bole_bytes_of(format.ptr, len));
		if (percent == NULL)
			break;
		format = skip(format, len + 1);
		if (format.len > 0 && format.ptr[0] == '%') {
			bole_buffer_byte(out, '%');
			format = skip(format, 1);
			continue;
		}
		BOLE_TRY(expand_magic(p, format, out, &taken));
		if (taken == ABSENT)
			bole_buffer_byte(out, '%');
		else
			format = skip(format, taken);
	}
	return out->rc;
}

/* -- Files -- */

/* The next "$Format:", or NULL. */
static const uint8_t *next_mark(struct bole_bytes file)
{
	struct bole_bytes mark = bole_bytes_z("$Format:");

	while (file.len >= mark.len) {
		const uint8_t *at = memchr(file.ptr, '$', file.len - mark.len + 1);

		if (at == NULL || memcmp(at, mark.ptr, mark.len) == 0)
			return at;
		file = skip(file, (size_t)(at - file.ptr) + 1);
	}
	return NULL;
}

enum bole_status bole_pretty_file(const struct bole_pretty *p, struct bole_bytes file,
                                  struct bole_buffer *out)
{
	size_t mark_len = strlen("$Format:");
	const uint8_t *mark;

	while ((mark = next_mark(file)) != NULL) {
		size_t before = (size_t)(mark - file.ptr);
		struct bole_bytes format = skip(file, before + mark_len);
		const uint8_t *end = format.len == 0 ? NULL : memchr(format.ptr, '$', format.len);

		if (end == NULL)
			break;
		add(out, bole_bytes_of(file.ptr, before));
		format.len = (size_t)(end - format.ptr);
		BOLE_TRY(bole_pretty_expand(p, format, out));
		file = skip(file, before + mark_len + format.len + 1);
	}
	add(out, file);
	return out->rc;
}
