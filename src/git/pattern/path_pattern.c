/* SPDX-License-Identifier: ISC */
#include "git/pattern/path_pattern.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

enum { ARENA_CHUNK = 4096 };

static struct bole_bytes skip(struct bole_bytes text, size_t len)
{
	return bole_bytes_of(text.ptr + len, text.len - len);
}

enum bole_status bole_path_pattern_parse(struct bole_path_pattern *out, struct bole_arena *arena,
                                         struct bole_bytes text)
{
	struct bole_path_pattern p = {0};

	if (text.len > 0 && text.ptr[0] == '!') {
		p.negative = true;
		text = skip(text, 1);
	}
	if (text.len > 0 && text.ptr[text.len - 1] == '/') {
		p.folders_only = true;
		text.len--;
	}
	p.last_part = text.len == 0 || memchr(text.ptr, '/', text.len) == NULL;
	size_t plain = bole_glob_plain(text);
	bool star = text.len > 0 && text.ptr[0] == '*';

	if (p.last_part && star && bole_glob_plain(skip(text, 1)) == text.len - 1) {
		p.suffix = true;
		p.text = skip(text, 1);
	} else if (p.last_part && plain < text.len) {
		p.globs = true;
		BOLE_TRY(bole_glob_compile(&p.glob, arena, text));
	} else {
		p.text = bole_bytes_of(text.ptr, plain);
		p.globs = plain < text.len;
		if (p.globs)
			BOLE_TRY(bole_glob_compile(&p.glob, arena, skip(text, plain)));
		/* A slash in front only says where the pattern begins. */
		if (!p.last_part && plain > 0 && text.ptr[0] == '/')
			p.text = skip(p.text, 1);
	}
	*out = p;
	return BOLE_OK;
}

static struct bole_bytes last_part(struct bole_bytes path)
{
	size_t at = path.len;

	while (at > 0 && path.ptr[at - 1] != '/')
		at--;
	return skip(path, at);
}

bool bole_path_pattern_match(const struct bole_path_pattern *p, struct bole_bytes path, bool folder,
                             uint64_t *work)
{
	*work += 1;
	if (p->folders_only && !folder)
		return false;
	if (p->last_part)
		path = last_part(path);
	else if (path.len == 0)
		return false; /* the root has no name that a path could lead to */
	if (p->suffix)
		return path.len >= p->text.len &&
		       bole_bytes_equal(skip(path, path.len - p->text.len), p->text);
	if (!bole_bytes_start(path, p->text))
		return false;
	path = skip(path, p->text.len);
	if (!p->globs)
		return path.len == 0;
	return bole_glob_match(&p->glob, path, work);
}

/* -- Files of them -- */

/* Spaces at the end do not count unless the last has a backslash before it. */
static struct bole_bytes trim(struct bole_bytes line)
{
	size_t end = 0;

	for (size_t i = 0; i < line.len; i++) {
		if (line.ptr[i] == '\\')
			i++;
		else if (line.ptr[i] == ' ')
			continue;
		end = i + 1 < line.len ? i + 1 : line.len;
	}
	return bole_bytes_of(line.ptr, end);
}

static bool next_line(struct bole_bytes *rest, struct bole_bytes *line)
{
	if (rest->len == 0)
		return false;
	const uint8_t *end = memchr(rest->ptr, '\n', rest->len);
	size_t len = end == NULL ? rest->len : (size_t)(end - rest->ptr);
	size_t used = end == NULL ? len : len + 1;

	*line = bole_bytes_of(rest->ptr, len);
	*rest = skip(*rest, used);
	if (line->len > 0 && line->ptr[line->len - 1] == '\r')
		line->len--;
	const uint8_t *zero = line->len == 0 ? NULL : memchr(line->ptr, 0, line->len);
	if (zero != NULL)
		line->len = (size_t)(zero - line->ptr);
	return true;
}

static enum bole_status parse_lines(struct bole_path_patterns *all, struct bole_bytes rest)
{
	struct bole_bytes line;

	if (bole_bytes_start(rest, bole_bytes_z("\xef\xbb\xbf")))
		rest = skip(rest, 3);
	while (next_line(&rest, &line)) {
		if (line.len == 0 || line.ptr[0] == '#')
			continue;
		line = trim(line);
		if (line.len == 0)
			continue;
		if (all->count == BOLE_PATTERNS_MAX)
			return BOLE_E_LIMIT;
		BOLE_TRY(bole_path_pattern_parse(&all->rows[all->count], &all->arena, line));
		all->count++;
	}
	return BOLE_OK;
}

enum bole_status bole_path_patterns_parse(struct bole_path_patterns *all, struct bole_alloc *alloc,
                                          struct bole_bytes file)
{
	size_t lines = 1;

	*all = (struct bole_path_patterns){0};
	if (file.len > BOLE_PATTERNS_BYTES_MAX)
		return BOLE_E_LIMIT;
	bole_arena_init(&all->arena, alloc, ARENA_CHUNK);
	for (size_t i = 0; i < file.len && lines < BOLE_PATTERNS_MAX; i++)
		lines += file.ptr[i] == '\n';
	uint8_t *copy = bole_arena_alloc(&all->arena, file.len + 1, 1);
	all->rows = bole_arena_alloc(&all->arena, lines, sizeof *all->rows);
	enum bole_status rc = copy == NULL || all->rows == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;

	if (rc == BOLE_OK) {
		if (file.len > 0)
			memcpy(copy, file.ptr, file.len);
		rc = parse_lines(all, bole_bytes_of(copy, file.len));
	}
	if (rc != BOLE_OK)
		bole_path_patterns_release(all);
	return rc;
}

void bole_path_patterns_release(struct bole_path_patterns *all)
{
	if (all->arena.alloc != NULL)
		bole_arena_release(&all->arena);
	*all = (struct bole_path_patterns){0};
}

enum bole_path_match bole_path_patterns_match(const struct bole_path_patterns *all,
                                              struct bole_bytes path, bool folder, uint64_t *work)
{
	for (size_t i = all->count; i > 0; i--) {
		const struct bole_path_pattern *p = &all->rows[i - 1];

		if (bole_path_pattern_match(p, path, folder, work))
			return p->negative ? BOLE_PATH_NOT_MATCHED : BOLE_PATH_MATCHED;
	}
	return BOLE_PATH_UNDECIDED;
}
