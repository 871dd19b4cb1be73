/* SPDX-License-Identifier: ISC */
#include "git/fsck/names.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static const struct {
	const char *word;   /* without its dot, in lower case */
	const char *short6; /* what NTFS makes of it when the plain short names are taken */
} dots[] = {
        [BOLE_DOT_MODULES] = {"gitmodules", "gi7eba"},
        [BOLE_DOT_IGNORE] = {"gitignore", "gi250a"},
        [BOLE_DOT_ATTRIBUTES] = {"gitattributes", "gi7d29"},
        [BOLE_DOT_MAILMAP] = {"mailmap", "maba30"},
};

/* The byte at i, 0 past the end: names hold no NUL. */
static uint8_t at(struct bole_bytes name, size_t i)
{
	return i < name.len ? name.ptr[i] : 0;
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

static bool starts(struct bole_bytes name, size_t from, const char *word, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (lower(at(name, from + i)) != (uint8_t)word[i])
			return false;
	return true;
}

/* -- HFS+ -- */

enum { MALFORMED = 0 };

static bool continues(struct bole_bytes name, size_t i, size_t n)
{
	for (size_t k = 1; k <= n; k++)
		if ((at(name, i + k) & 0xc0) != 0x80)
			return false;
	return true;
}

/* One code point of UTF-8 at *i; MALFORMED also where the name ends. */
static uint32_t code_point(struct bole_bytes name, size_t *i)
{
	uint8_t c = at(name, *i);
	size_t more;
	uint32_t point;
	uint32_t least;

	if (c < 0x80) {
		*i += c != 0;
		return c;
	}
	if ((c & 0xe0) == 0xc0) {
		more = 1;
		least = 0x80;
		point = c & 0x1f;
	} else if ((c & 0xf0) == 0xe0) {
		more = 2;
		least = 0x800;
		point = c & 0x0f;
	} else if ((c & 0xf8) == 0xf0) {
		more = 3;
		least = 0x10000;
		point = c & 0x07;
	} else {
		return MALFORMED;
	}
	if (!continues(name, *i, more))
		return MALFORMED;
	for (size_t k = 1; k <= more; k++)
		point = point << 6 | (at(name, *i + k) & 0x3f);
	if (point < least || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff) ||
	    point == 0xfffe || point == 0xffff)
		return MALFORMED;
	*i += more + 1;
	return point;
}

static uint32_t hfs_next(struct bole_bytes name, size_t *i)
{
	for (;;) {
		uint32_t point = code_point(name, i);
		bool ignored = (point >= 0x200c && point <= 0x200f) ||
		               (point >= 0x202a && point <= 0x202e) ||
		               (point >= 0x206a && point <= 0x206f) || point == 0xfeff;
		if (!ignored)
			return point;
	}
}

/* What follows the word must be the end, a separator, or bytes that are no UTF-8: such names become
 * something else on a Mac, and Git does not bet on what. */
static bool hfs_is(struct bole_bytes name, const char *word)
{
	size_t i = 0;

	if (hfs_next(name, &i) != '.')
		return false;
	for (; *word != '\0'; word++) {
		uint32_t point = hfs_next(name, &i);

		if (point > 127 || lower((uint8_t)point) != (uint8_t)*word)
			return false;
	}
	uint32_t end = hfs_next(name, &i);

	return end == MALFORMED || end == '/';
}

bool bole_hfs_dot_git(struct bole_bytes name)
{
	return hfs_is(name, "git");
}

bool bole_hfs_dot(struct bole_bytes name, enum bole_dot_name which)
{
	return hfs_is(name, dots[which].word);
}

/* -- NTFS -- */

bool bole_ntfs_dot_git(struct bole_bytes name)
{
	size_t i;

	if (starts(name, 0, ".git", 4))
		i = 4;
	else if (starts(name, 0, "git~1", 5))
		i = 5;
	else
		return false;
	for (;; i++) {
		uint8_t c = at(name, i);

		if (c == 0 || c == '/' || c == '\\' || c == ':')
			return true;
		if (c != '.' && c != ' ')
			return false;
	}
}

/* Only dots and spaces up to the end or a stream's name. */
static bool ntfs_tail(struct bole_bytes name, size_t i)
{
	while (at(name, i) == '.' || at(name, i) == ' ')
		i++;
	return at(name, i) == 0 || at(name, i) == ':';
}

/* A short name of eight characters made from a hash: letters of short6, '~', a number. */
static bool ntfs_hashed(struct bole_bytes name, const char *short6)
{
	bool tilde = false;

	for (size_t i = 0; i < 8; i++) {
		uint8_t c = at(name, i);

		if (c == 0)
			return false;
		if (tilde) {
			if (c < '0' || c > '9')
				return false;
		} else if (c == '~') {
			c = at(name, ++i);
			if (c < '1' || c > '9')
				return false;
			tilde = true;
		} else if (i >= 6 || c >= 0x80 || lower(c) != (uint8_t)short6[i]) {
			return false;
		}
	}
	return true;
}

bool bole_ntfs_dot(struct bole_bytes name, enum bole_dot_name which)
{
	const char *word = dots[which].word;
	size_t len = strlen(word);

	if (at(name, 0) == '.' && starts(name, 1, word, len))
		return ntfs_tail(name, len + 1);
	if (starts(name, 0, word, 6) && at(name, 6) == '~' && at(name, 7) >= '1' &&
	    at(name, 7) <= '4')
		return ntfs_tail(name, 8);
	/* A number that begins at the eighth character ends at the ninth. */
	size_t end = at(name, 7) == '~' ? 9 : 8;

	return ntfs_hashed(name, dots[which].short6) && ntfs_tail(name, end);
}
