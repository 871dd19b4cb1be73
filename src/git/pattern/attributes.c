/* SPDX-License-Identifier: ISC */
#include "git/pattern/attributes.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

enum { ARENA_CHUNK = 4096, FRAMES_FIRST = 16, NAMES_SLOTS = 2 * BOLE_ATTRIBUTES_NAMES_MAX };

struct assignment {
	uint16_t name;
	struct bole_attribute what;
};

/* A line: what it assigns to the paths that fit, or what a macro stands for. */
struct line {
	bool macro;
	uint16_t name; /* of the macro */
	struct bole_path_pattern pattern;
	const struct assignment *assigned;
	size_t count;
};

struct file {
	struct bole_arena arena;
	struct line *lines;
	size_t count;
	size_t folder_len;
};

struct applying {
	const struct line *line;
	size_t left; /* assignments; the last one comes first */
};

struct bole_attributes {
	struct bole_alloc *alloc;
	struct file builtin; /* Git's own macros */
	struct bole_arena names_arena;
	struct bole_bytes names[BOLE_ATTRIBUTES_NAMES_MAX];
	uint16_t slots[NAMES_SLOTS]; /* name + 1; 0 = empty */
	uint16_t name_count;
	struct file *files;
	size_t depth;
	size_t cap;
	uint64_t work;
	bool decided[BOLE_ATTRIBUTES_NAMES_MAX]; /* of one question */
	/* Lines that are being applied: one, and the macros inside it. Each name is decided once,
	 * so each macro comes once. */
	struct applying open[BOLE_ATTRIBUTES_NAMES_MAX + 1];
};

/* -- Names -- */

static bool is_blank(uint8_t ch)
{
	return ch == ' ' || ch == '\t' || ch == '\r';
}

static bool is_name(struct bole_bytes name)
{
	if (name.len == 0 || name.ptr[0] == '-')
		return false;
	for (size_t i = 0; i < name.len; i++) {
		uint8_t ch = name.ptr[i], letter = ch | 0x20;

		if (ch != '-' && ch != '.' && ch != '_' && (ch < '0' || ch > '9') &&
		    (letter < 'a' || letter > 'z'))
			return false;
	}
	return !bole_bytes_start(name, bole_bytes_z("builtin_"));
}

/* The slot of a name: its own, or the empty one where it belongs. */
static uint16_t *slot_of(struct bole_attributes *a, struct bole_bytes name)
{
	uint32_t hash = 2166136261U; /* FNV-1a; crowds are bounded by the number of names */

	for (size_t i = 0; i < name.len; i++)
		hash = (hash ^ name.ptr[i]) * 16777619U;
	for (uint32_t at = hash % NAMES_SLOTS;; at = (at + 1) % NAMES_SLOTS)
		if (a->slots[at] == 0 || bole_bytes_equal(a->names[a->slots[at] - 1], name))
			return &a->slots[at];
}

static enum bole_status intern(struct bole_attributes *a, struct bole_bytes name, uint16_t *out)
{
	uint16_t *slot = slot_of(a, name);

	if (*slot == 0) {
		if (a->name_count == BOLE_ATTRIBUTES_NAMES_MAX)
			return BOLE_E_LIMIT;
		uint8_t *copy = bole_arena_alloc(&a->names_arena, name.len, 1);
		if (copy == NULL)
			return BOLE_E_NO_MEMORY;
		memcpy(copy, name.ptr, name.len);
		a->names[a->name_count] = bole_bytes_of(copy, name.len);
		*slot = ++a->name_count;
	}
	*out = (uint16_t)(*slot - 1);
	return BOLE_OK;
}

/* -- Lines -- */

static struct bole_bytes skip(struct bole_bytes text, size_t len)
{
	return bole_bytes_of(text.ptr + len, text.len - len);
}

static struct bole_bytes next_word(struct bole_bytes *rest)
{
	size_t from = 0, to;

	while (from < rest->len && is_blank(rest->ptr[from]))
		from++;
	for (to = from; to < rest->len && !is_blank(rest->ptr[to]);)
		to++;
	struct bole_bytes word = bole_bytes_of(rest->ptr + from, to - from);

	*rest = skip(*rest, to);
	return word;
}

/* What stands behind a backslash. Returns how many bytes it takes, 0: it is none of C's. */
static size_t unescape(struct bole_bytes rest, uint8_t *out)
{
	static const char letters[] = "abfnrtv\\\"", bytes[] = "\a\b\f\n\r\t\v\\\"";
	unsigned value = 0;

	if (rest.len == 0)
		return 0;
	const char *letter = rest.ptr[0] == 0 ? NULL : strchr(letters, rest.ptr[0]);
	if (letter != NULL) {
		*out = (uint8_t)bytes[letter - letters];
		return 1;
	}
	if (rest.len < 3 || rest.ptr[0] > '3')
		return 0;
	for (size_t i = 0; i < 3; i++) {
		if (rest.ptr[i] < '0' || rest.ptr[i] > '7')
			return 0;
		value = value * 8 + (unsigned)(rest.ptr[i] - '0');
	}
	*out = (uint8_t)value;
	return 3;
}

/* A pattern in quotes, as C writes strings. *rest begins with the quote. *fine: it is well formed;
 * else the quote is an ordinary byte of the pattern. */
static enum bole_status take_quoted(struct file *f, struct bole_bytes *rest, struct bole_bytes *out,
                                    bool *fine)
{
	uint8_t *text = bole_arena_alloc(&f->arena, rest->len, 1);
	size_t len = 0, at = 1;

	*fine = false;
	if (text == NULL)
		return BOLE_E_NO_MEMORY;
	while (at < rest->len && rest->ptr[at] != '"') {
		if (rest->ptr[at] != '\\') {
			text[len++] = rest->ptr[at++];
			continue;
		}
		size_t used = unescape(skip(*rest, at + 1), &text[len++]);
		if (used == 0)
			return BOLE_OK;
		at += 1 + used;
	}
	*fine = at < rest->len;
	if (!*fine)
		return BOLE_OK;
	*out = bole_bytes_of(text, len);
	*rest = skip(*rest, at + 1);
	return BOLE_OK;
}

/* "name", "-name", "!name", "name=value". *fine: the name is one. */
static enum bole_status take_assignment(struct bole_attributes *a, struct bole_bytes word,
                                        struct assignment *out, bool *fine)
{
	const uint8_t *equals = memchr(word.ptr, '=', word.len);
	uint8_t first = word.ptr[0];

	*out = (struct assignment){.what.state = BOLE_ATTRIBUTE_SET};
	if (first == '-' || first == '!') {
		out->what.state = first == '-' ? BOLE_ATTRIBUTE_UNSET : BOLE_ATTRIBUTE_UNSPECIFIED;
		word = skip(word, 1);
	} else if (equals != NULL) {
		out->what.state = BOLE_ATTRIBUTE_VALUE;
		out->what.value = skip(word, (size_t)(equals - word.ptr) + 1);
	}
	if (equals != NULL)
		word.len = (size_t)(equals - word.ptr);
	*fine = is_name(word);
	return *fine ? intern(a, word, &out->name) : BOLE_OK;
}

/* A name that is none makes Git leave out the whole line. */
static enum bole_status take_assignments(struct bole_attributes *a, struct file *f,
                                         struct bole_bytes rest, struct line *line, bool *fine)
{
	struct assignment *list = NULL;
	struct bole_bytes words = rest;

	*fine = true;
	while (next_word(&words).len > 0)
		line->count++;
	if (line->count == 0)
		return BOLE_OK;
	list = bole_arena_alloc(&f->arena, line->count, sizeof *list);
	if (list == NULL)
		return BOLE_E_NO_MEMORY;
	for (size_t i = 0; i < line->count && *fine; i++)
		BOLE_TRY(take_assignment(a, next_word(&rest), &list[i], fine));
	line->assigned = list;
	return BOLE_OK;
}

static enum bole_status take_line(struct bole_attributes *a, struct file *f, struct bole_bytes rest)
{
	struct bole_bytes macro = bole_bytes_z("[attr]");
	struct line line = {.macro = false};
	struct bole_bytes text;
	bool fine = false;

	while (rest.len > 0 && is_blank(rest.ptr[0]))
		rest = skip(rest, 1);
	if (rest.len == 0 || rest.ptr[0] == '#' || rest.len >= BOLE_ATTRIBUTES_LINE_MAX)
		return BOLE_OK;
	if (rest.ptr[0] == '"')
		BOLE_TRY(take_quoted(f, &rest, &text, &fine));
	if (!fine)
		text = next_word(&rest);
	if (text.len > macro.len && bole_bytes_start(text, macro)) {
		text = skip(text, macro.len);
		if (f->folder_len > 0 || !is_name(text))
			return BOLE_OK;
		line.macro = true;
		BOLE_TRY(intern(a, text, &line.name));
	} else {
		if (text.len > 0 && text.ptr[0] == '!')
			return BOLE_OK; /* "Negative patterns are ignored" */
		BOLE_TRY(bole_path_pattern_parse(&line.pattern, &f->arena, text));
	}
	BOLE_TRY(take_assignments(a, f, rest, &line, &fine));
	if (!fine || line.count == 0)
		return BOLE_OK;
	if (f->count == BOLE_ATTRIBUTES_LINES_MAX)
		return BOLE_E_LIMIT;
	f->lines[f->count++] = line;
	return BOLE_OK;
}

static enum bole_status take_file(struct bole_attributes *a, struct file *f, struct bole_bytes text)
{
	size_t lines = 1;

	for (size_t i = 0; i < text.len && lines < BOLE_ATTRIBUTES_LINES_MAX; i++)
		lines += text.ptr[i] == '\n';
	uint8_t *copy = bole_arena_alloc(&f->arena, text.len, 1);
	f->lines = bole_arena_alloc(&f->arena, lines, sizeof *f->lines);
	if (copy == NULL || f->lines == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(copy, text.ptr, text.len);
	text = bole_bytes_of(copy, text.len);
	if (bole_bytes_start(text, bole_bytes_z("\xef\xbb\xbf")))
		text = skip(text, 3);
	while (text.len > 0) {
		const uint8_t *end = memchr(text.ptr, '\n', text.len);
		size_t len = end == NULL ? text.len : (size_t)(end - text.ptr);
		const uint8_t *zero = memchr(text.ptr, 0, len);

		BOLE_TRY(take_line(
		        a, f,
		        bole_bytes_of(text.ptr, zero == NULL ? len : (size_t)(zero - text.ptr))));
		text = skip(text, end == NULL ? len : len + 1);
	}
	return BOLE_OK;
}

/* -- Folders -- */

enum bole_status bole_attributes_open(struct bole_alloc *alloc, struct bole_attributes **out)
{
	struct bole_attributes *a = bole_alloc_zeroed(alloc, 1, sizeof *a);

	*out = a;
	if (a == NULL)
		return BOLE_E_NO_MEMORY;
	a->alloc = alloc;
	bole_arena_init(&a->names_arena, alloc, ARENA_CHUNK);
	bole_arena_init(&a->builtin.arena, alloc, ARENA_CHUNK);
	enum bole_status rc =
	        take_file(a, &a->builtin, bole_bytes_z("[attr]binary -diff -merge -text\n"));
	if (rc != BOLE_OK) {
		bole_attributes_close(a);
		*out = NULL;
	}
	return rc;
}

void bole_attributes_close(struct bole_attributes *a)
{
	if (a == NULL)
		return;
	while (a->depth > 0)
		bole_attributes_leave(a);
	bole_arena_release(&a->builtin.arena);
	bole_arena_release(&a->names_arena);
	bole_alloc_free(a->alloc, a->files, a->cap, sizeof *a->files);
	bole_alloc_free(a->alloc, a, 1, sizeof *a);
}

enum bole_status bole_attributes_enter(struct bole_attributes *a, size_t folder_len,
                                       struct bole_bytes text)
{
	if (text.len > BOLE_ATTRIBUTES_BYTES_MAX)
		return BOLE_E_LIMIT;
	if (a->depth == a->cap) {
		size_t cap = a->cap == 0 ? FRAMES_FIRST : 2 * a->cap;
		struct file *grown =
		        bole_alloc_resize(a->alloc, a->files, a->cap, cap, sizeof *grown);
		if (grown == NULL)
			return BOLE_E_NO_MEMORY;
		a->files = grown;
		a->cap = cap;
	}
	struct file *f = &a->files[a->depth++];

	*f = (struct file){.folder_len = folder_len};
	bole_arena_init(&f->arena, a->alloc, ARENA_CHUNK);
	enum bole_status rc = text.len == 0 ? BOLE_OK : take_file(a, f, text);
	if (rc != BOLE_OK)
		bole_attributes_leave(a);
	return rc;
}

void bole_attributes_leave(struct bole_attributes *a)
{
	bole_arena_release(&a->files[--a->depth].arena);
}

/* -- Questions -- */

static const struct line *macro_in(struct bole_attributes *a, const struct file *f, uint16_t name)
{
	a->work += f->count;
	for (size_t i = f->count; i > 0; i--)
		if (f->lines[i - 1].macro && f->lines[i - 1].name == name)
			return &f->lines[i - 1];
	return NULL;
}

/* What a line says of the name, with the macros that it sets. Whoever speaks first decides. */
static bool apply(struct bole_attributes *a, const struct line *line, uint16_t name,
                  struct bole_attribute *out)
{
	size_t depth = 0;

	a->open[depth++] = (struct applying){line, line->count};
	while (depth > 0) {
		struct applying *top = &a->open[depth - 1];

		if (top->left == 0) {
			depth--;
			continue;
		}
		const struct assignment *set = &top->line->assigned[--top->left];
		a->work++;
		if (a->decided[set->name])
			continue;
		a->decided[set->name] = true;
		if (set->name == name) {
			*out = set->what;
			return true;
		}
		if (set->what.state != BOLE_ATTRIBUTE_SET)
			continue;
		const struct line *macro = macro_in(a, &a->files[0], set->name);
		if (macro == NULL)
			macro = macro_in(a, &a->builtin, set->name);
		if (macro != NULL)
			a->open[depth++] = (struct applying){macro, macro->count};
	}
	return false;
}

static bool ask_file(struct bole_attributes *a, const struct file *f, struct bole_bytes path,
                     bool folder, uint16_t name, struct bole_attribute *out)
{
	for (size_t i = f->count; i > 0; i--) {
		const struct line *line = &f->lines[i - 1];

		if (!line->macro &&
		    bole_path_pattern_match(&line->pattern, path, folder, &a->work) &&
		    apply(a, line, name, out))
			return true;
	}
	return false;
}

enum bole_status bole_attributes_get(struct bole_attributes *a, struct bole_bytes path, bool folder,
                                     const char *name, struct bole_attribute *out)
{
	const uint16_t *slot = slot_of(a, bole_bytes_z(name));

	*out = (struct bole_attribute){.state = BOLE_ATTRIBUTE_UNSPECIFIED};
	if (*slot == 0)
		return BOLE_OK; /* no file speaks of it */
	memset(a->decided, 0, a->name_count * sizeof *a->decided);
	a->work += a->name_count / 64;
	for (size_t i = a->depth; i > 0; i--) {
		const struct file *f = &a->files[i - 1];
		size_t above = f->folder_len == 0 ? 0 : f->folder_len + 1;

		if (ask_file(a, f, skip(path, above), folder, (uint16_t)(*slot - 1), out))
			break;
		if (a->work > BOLE_ATTRIBUTES_WORK_MAX)
			return BOLE_E_LIMIT;
	}
	return BOLE_OK;
}
