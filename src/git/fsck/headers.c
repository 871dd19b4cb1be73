/* SPDX-License-Identifier: ISC */
/* Commits and tags: their header lines and the identities in them. */
#include <string.h>

#include "base/bytes.h"
#include "git/fsck/fsck.h"
#include "git/object/object.h"

enum { TIME_DIGITS_MAX = 23 };

/* The headers end in an empty line, or at least in a line's end. */
static bool headers_end(struct bole_fsck *f, struct bole_bytes data)
{
	for (size_t i = 0; i < data.len; i++) {
		if (data.ptr[i] == 0) {
			(void)bole_fsck_report(f, BOLE_FSCK_NUL_IN_HEADER,
			                       "unterminated header: a NUL in it");
			return false;
		}
		if (data.ptr[i] == '\n' && i + 1 < data.len && data.ptr[i + 1] == '\n')
			return true;
	}
	if (data.len > 0 && data.ptr[data.len - 1] == '\n')
		return true;
	(void)bole_fsck_report(f, BOLE_FSCK_UNTERMINATED_HEADER, "unterminated header");
	return false;
}

static void skip(struct bole_bytes *rest, size_t n)
{
	rest->ptr += n;
	rest->len -= n;
}

static bool take_word(struct bole_bytes *rest, const char *word)
{
	if (!bole_bytes_start(*rest, bole_bytes_z(word)))
		return false;
	skip(rest, strlen(word));
	return true;
}

/* The rest of the line without its end, which is taken too; false: the line has no end. */
static bool take_line(struct bole_bytes *rest, struct bole_bytes *line)
{
	const uint8_t *end = rest->len == 0 ? NULL : memchr(rest->ptr, '\n', rest->len);

	if (end == NULL)
		return false;
	*line = bole_bytes_of(rest->ptr, (size_t)(end - rest->ptr));
	skip(rest, line->len + 1);
	return true;
}

/* An id that ends its line. True: go on. */
static bool take_oid(struct bole_fsck *f, struct bole_bytes *rest, enum bole_fsck_id id,
                     const char *text)
{
	struct bole_bytes line = {NULL, 0};
	struct bole_oid oid;
	bool whole = take_line(rest, &line);

	if (whole && bole_oid_parse((const char *)line.ptr, line.len, f->algo, &oid) == BOLE_OK)
		return true;
	return !bole_fsck_report(f, id, text) && whole;
}

/* -- Identities: "Name <mail> seconds zone" -- */

static uint8_t at(struct bole_bytes line, size_t i)
{
	return i < line.len ? line.ptr[i] : '\n';
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* Git's times are signed where it runs on 64 bits, and it wants to say so of larger ones. */
static bool time_overflows(struct bole_bytes digits)
{
	uint64_t value = 0;

	if (digits.len > TIME_DIGITS_MAX)
		return true;
	for (size_t i = 0; i < digits.len; i++) {
		unsigned digit = (unsigned)(digits.ptr[i] - '0');

		if (value > (UINT64_MAX - digit) / 10)
			return true;
		value = value * 10 + digit;
	}
	return value > INT64_MAX;
}

static bool bad(struct bole_fsck *f, enum bole_fsck_id id, const char *text)
{
	return !bole_fsck_report(f, id, text);
}

static bool check_date(struct bole_fsck *f, struct bole_bytes line, size_t i)
{
	while (at(line, i) == ' ' || at(line, i) == '\t')
		i++;
	if (!is_digit(at(line, i)))
		return bad(f, BOLE_FSCK_BAD_DATE, "invalid author/committer line - bad date");
	if (at(line, i) == '0' && at(line, i + 1) != ' ')
		return bad(f, BOLE_FSCK_ZERO_PADDED_DATE,
		           "invalid author/committer line - zero-padded date");
	size_t start = i;
	while (is_digit(at(line, i)))
		i++;
	if (time_overflows(bole_bytes_of(line.ptr + start, i - start)))
		return bad(f, BOLE_FSCK_BAD_DATE_OVERFLOW,
		           "invalid author/committer line - date causes integer overflow");
	if (at(line, i) != ' ')
		return bad(f, BOLE_FSCK_BAD_DATE, "invalid author/committer line - bad date");
	i++;
	bool sign = at(line, i) == '+' || at(line, i) == '-';
	if (!sign || line.len - i != 5 || !is_digit(at(line, i + 1)) ||
	    !is_digit(at(line, i + 2)) || !is_digit(at(line, i + 3)) || !is_digit(at(line, i + 4)))
		return bad(f, BOLE_FSCK_BAD_TIMEZONE,
		           "invalid author/committer line - bad time zone");
	return true;
}

/* True: go on. */
static bool check_identity(struct bole_fsck *f, struct bole_bytes line)
{
	size_t i = 0;

	if (at(line, 0) == '<')
		return bad(f, BOLE_FSCK_MISSING_NAME_BEFORE_EMAIL,
		           "invalid author/committer line - missing space before email");
	while (i < line.len && line.ptr[i] != '<' && line.ptr[i] != '>')
		i++;
	if (i == line.len)
		return bad(f, BOLE_FSCK_MISSING_EMAIL,
		           "invalid author/committer line - missing email");
	if (line.ptr[i] == '>')
		return bad(f, BOLE_FSCK_BAD_NAME, "invalid author/committer line - bad name");
	if (line.ptr[i - 1] != ' ')
		return bad(f, BOLE_FSCK_MISSING_SPACE_BEFORE_EMAIL,
		           "invalid author/committer line - missing space before email");
	for (i++; i < line.len && line.ptr[i] != '>'; i++)
		if (line.ptr[i] == '<')
			break;
	if (at(line, i) != '>')
		return bad(f, BOLE_FSCK_BAD_EMAIL, "invalid author/committer line - bad email");
	if (at(line, i + 1) != ' ')
		return bad(f, BOLE_FSCK_MISSING_SPACE_BEFORE_DATE,
		           "invalid author/committer line - missing space before date");
	return check_date(f, line, i + 2);
}

static bool take_identity(struct bole_fsck *f, struct bole_bytes *rest)
{
	struct bole_bytes line;

	return take_line(rest, &line) && check_identity(f, line);
}

/* -- Commits -- */

static bool check_authors(struct bole_fsck *f, struct bole_bytes *rest)
{
	unsigned authors = 0;

	while (take_word(rest, "author ")) {
		authors = authors < 2 ? authors + 1 : 2;
		if (!take_identity(f, rest))
			return false;
	}
	if (authors == 0)
		return bad(f, BOLE_FSCK_MISSING_AUTHOR, "invalid format - expected 'author' line");
	if (authors > 1)
		return bad(f, BOLE_FSCK_MULTIPLE_AUTHORS,
		           "invalid format - multiple 'author' lines");
	return true;
}

void bole_fsck_commit(struct bole_fsck *f, struct bole_bytes data)
{
	struct bole_bytes rest = data;

	if (!headers_end(f, data))
		return;
	if (!take_word(&rest, "tree ")) {
		(void)bad(f, BOLE_FSCK_MISSING_TREE, "invalid format - expected 'tree' line");
		return;
	}
	if (!take_oid(f, &rest, BOLE_FSCK_BAD_TREE_SHA1, "invalid 'tree' line format - bad sha1"))
		return;
	while (take_word(&rest, "parent "))
		if (!take_oid(f, &rest, BOLE_FSCK_BAD_PARENT_SHA1,
		              "invalid 'parent' line format - bad sha1"))
			return;
	if (!check_authors(f, &rest))
		return;
	if (!take_word(&rest, "committer ")) {
		(void)bad(f, BOLE_FSCK_MISSING_COMMITTER,
		          "invalid format - expected 'committer' line");
		return;
	}
	if (!take_identity(f, &rest))
		return;
	if (memchr(data.ptr, 0, data.len) != NULL)
		(void)bad(f, BOLE_FSCK_NUL_IN_COMMIT, "NUL byte in the commit object body");
}

/* -- Tags -- */

static bool check_tag_name(struct bole_fsck *f, struct bole_bytes name)
{
	static const char prefix[] = "refs/tags/";
	uint8_t full[sizeof prefix + 1024];
	size_t len = sizeof prefix - 1;
	bool valid = false;

	if (name.len <= sizeof full - len) {
		memcpy(full, prefix, len);
		if (name.len > 0)
			memcpy(full + len, name.ptr, name.len);
		valid = bole_ref_name_valid(bole_bytes_of(full, len + name.len));
	}
	return valid || bad(f, BOLE_FSCK_BAD_TAG_NAME, "invalid 'tag' name");
}

/* object, type and tag, in this order. True: go on. */
static bool check_tag_head(struct bole_fsck *f, struct bole_bytes *rest)
{
	struct bole_bytes line;
	bool known = false;

	if (!take_word(rest, "object ")) {
		(void)bad(f, BOLE_FSCK_MISSING_OBJECT, "invalid format - expected 'object' line");
		return false;
	}
	if (!take_oid(f, rest, BOLE_FSCK_BAD_OBJECT_SHA1,
	              "invalid 'object' line format - bad sha1"))
		return false;
	if (!take_word(rest, "type ")) {
		(void)bad(f, BOLE_FSCK_MISSING_TYPE_ENTRY, "invalid format - expected 'type' line");
		return false;
	}
	if (!take_line(rest, &line)) {
		(void)bad(f, BOLE_FSCK_MISSING_TYPE,
		          "invalid format - unexpected end after 'type' line");
		return false;
	}
	for (unsigned i = BOLE_OBJECT_COMMIT; i <= BOLE_OBJECT_TAG; i++)
		known |= bole_bytes_equal(line, bole_bytes_z(bole_object_type_name(i)));
	if (!known && !bad(f, BOLE_FSCK_BAD_TYPE, "invalid 'type' value"))
		return false;
	if (!take_word(rest, "tag ")) {
		(void)bad(f, BOLE_FSCK_MISSING_TAG_ENTRY, "invalid format - expected 'tag' line");
		return false;
	}
	if (!take_line(rest, &line)) {
		(void)bad(f, BOLE_FSCK_MISSING_TAG,
		          "invalid format - unexpected end after 'tag' line");
		return false;
	}
	return check_tag_name(f, line);
}

static bool check_signature(struct bole_fsck *f, struct bole_bytes *rest)
{
	struct bole_bytes line;

	if (!take_word(rest, "gpgsig ") && !take_word(rest, "gpgsig-sha256 "))
		return true;
	if (!take_line(rest, &line)) {
		(void)bad(f, BOLE_FSCK_BAD_GPGSIG,
		          "invalid format - unexpected end after 'gpgsig' line");
		return false;
	}
	while (rest->len > 0 && rest->ptr[0] == ' ') {
		if (take_line(rest, &line))
			continue;
		(void)bad(f, BOLE_FSCK_BAD_HEADER_CONTINUATION,
		          "invalid format - unexpected end in a 'gpgsig' continuation line");
		return false;
	}
	return true;
}

void bole_fsck_tag(struct bole_fsck *f, struct bole_bytes data)
{
	struct bole_bytes rest = data;

	if (!headers_end(f, data) || !check_tag_head(f, &rest))
		return;
	if (take_word(&rest, "tagger ")) {
		(void)take_identity(f, &rest);
	} else if (!bad(f, BOLE_FSCK_MISSING_TAGGER_ENTRY,
	                "invalid format - expected 'tagger' line")) {
		return;
	}
	if (check_signature(f, &rest) && rest.len > 0 && rest.ptr[0] != '\n')
		(void)bad(f, BOLE_FSCK_EXTRA_HEADER_ENTRY,
		          "invalid format - extra header(s) after 'tagger'");
}
