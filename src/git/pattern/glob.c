/* SPDX-License-Identifier: ISC */
#include "git/pattern/glob.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

enum kind {
	PART_BYTE,
	PART_ANY,   /* one byte that is not '/' */
	PART_SET,   /* one byte of a set */
	PART_STAR,  /* any number of bytes that are not '/' */
	PART_STARS, /* any number of bytes */
	PART_DIRS,  /* here a number of folders, each with its '/', may begin */
	PART_INSIDE /* one of them, up to its '/' */
};

struct bole_glob_part {
	uint8_t kind;
	uint8_t byte;
	const uint64_t *set; /* a bit for each byte */
};

enum { STATES_WORDS = (BOLE_GLOB_BYTES_MAX + 2 + 63) / 64, SET_WORDS = 256 / 64 };

struct compiling {
	struct bole_arena *arena;
	struct bole_bytes pattern;
	size_t at;
	struct bole_glob_part *parts;
	uint32_t count;
	bool never;
};

static bool is_special(uint8_t ch)
{
	return ch == '*' || ch == '?' || ch == '[' || ch == '\\';
}

size_t bole_glob_plain(struct bole_bytes pattern)
{
	size_t len = 0;

	while (len < pattern.len && !is_special(pattern.ptr[len]))
		len++;
	return len;
}

/* The byte at an offset from where the parser is; 0 behind the end, as patterns hold no zero. */
static uint8_t peek(const struct compiling *c, size_t ahead)
{
	return ahead < c->pattern.len - c->at ? c->pattern.ptr[c->at + ahead] : 0;
}

static void add_part(struct compiling *c, enum kind kind, uint8_t byte)
{
	c->parts[c->count++] = (struct bole_glob_part){.kind = (uint8_t)kind, .byte = byte};
}

/* -- Sets -- */

static void set_add(uint64_t *set, unsigned first, unsigned last)
{
	for (unsigned ch = first; ch <= last; ch++)
		set[ch / 64] |= UINT64_C(1) << ch % 64;
}

static bool set_has(const uint64_t *set, uint8_t ch)
{
	return (set[ch / 64] >> ch % 64 & 1) != 0;
}

/* The classes of POSIX as Git counts them, as ranges. */
static bool set_add_class(uint64_t *set, struct bole_bytes name)
{
	static const struct {
		const char *name;
		const char *ranges;
	} classes[] = {
	        {"alnum", "09AZaz"},   {"alpha", "AZaz"},
	        {"blank", "\t\t  "},   {"cntrl", "\1\37\177\177"},
	        {"digit", "09"},       {"graph", "!~"},
	        {"lower", "az"},       {"print", " ~"},
	        {"punct", "!/:@[`{~"}, {"space", "\t\n\r\r  "},
	        {"upper", "AZ"},       {"xdigit", "09AFaf"},
	};

	for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
		if (!bole_bytes_equal(name, bole_bytes_z(classes[i].name)))
			continue;
		for (const char *range = classes[i].ranges; *range != '\0'; range += 2)
			set_add(set, (uint8_t)range[0], (uint8_t)range[1]);
		return true;
	}
	return false;
}

/* At "[:". Returns false where the whole pattern is malformed. *plain: it is no class, and its '['
 * stands for itself. */
static bool take_class(struct compiling *c, uint64_t *set, bool *plain)
{
	size_t end = 2;

	while (peek(c, end) != 0 && peek(c, end) != ']')
		end++;
	if (peek(c, end) == 0)
		return false;
	*plain = end == 2 || peek(c, end - 1) != ':';
	if (*plain) {
		set_add(set, '[', '[');
		c->at++;
		return true;
	}
	struct bole_bytes name = bole_bytes_of(c->pattern.ptr + c->at + 2, end - 3);
	c->at += end + 1;
	return set_add_class(set, name);
}

/* One member of a set, or a range. *before: what a '-' that follows begins with; 0 = none. */
static bool take_member(struct compiling *c, uint64_t *set, uint8_t *before)
{
	uint8_t ch = peek(c, 0);
	bool plain;

	if (ch == 0)
		return false;
	if (ch == '[' && peek(c, 1) == ':') {
		bool fine = take_class(c, set, &plain);

		*before = plain ? '[' : 0;
		return fine;
	}
	c->at++;
	if (ch == '-' && *before != 0 && peek(c, 0) != 0 && peek(c, 0) != ']') {
		if (peek(c, 0) == '\\')
			c->at++;
		uint8_t last = peek(c, 0);

		if (last == 0)
			return false;
		set_add(set, *before, last);
		c->at++;
		*before = 0;
		return true;
	}
	if (ch == '\\') {
		ch = peek(c, 0);
		if (ch == 0)
			return false;
		c->at++;
	}
	set_add(set, ch, ch);
	*before = ch;
	return true;
}

/* Behind '['. A ']' that comes first is a member. */
static enum bole_status take_set(struct compiling *c)
{
	uint64_t *set = bole_arena_alloc(c->arena, SET_WORDS, sizeof *set);
	bool negated = peek(c, 0) == '!' || peek(c, 0) == '^';
	uint8_t before = 0;

	if (set == NULL)
		return BOLE_E_NO_MEMORY;
	c->at += negated;
	do {
		if (!take_member(c, set, &before)) {
			c->never = true;
			return BOLE_OK;
		}
	} while (peek(c, 0) != ']');
	c->at++;
	for (size_t i = 0; negated && i < SET_WORDS; i++)
		set[i] = ~set[i];
	set['/' / 64] &= ~(UINT64_C(1) << '/' % 64);
	add_part(c, PART_SET, 0);
	c->parts[c->count - 1].set = set;
	return BOLE_OK;
}

/* -- Stars -- */

/* Behind the first of some stars. */
static void take_stars(struct compiling *c)
{
	bool first = c->at == 1 || c->pattern.ptr[c->at - 2] == '/';
	bool many = peek(c, 0) == '*';

	while (peek(c, 0) == '*')
		c->at++;
	uint8_t next = peek(c, 0);
	bool last = next == 0 || next == '/' || (next == '\\' && peek(c, 1) == '/');

	if (!many || !first || !last) {
		add_part(c, PART_STAR, 0);
	} else if (next == '/') {
		c->at++;
		add_part(c, PART_DIRS, 0);
		add_part(c, PART_INSIDE, 0);
	} else {
		add_part(c, PART_STARS, 0);
	}
}

static enum bole_status take_part(struct compiling *c)
{
	uint8_t ch = c->pattern.ptr[c->at++];

	if (ch == '*') {
		take_stars(c);
	} else if (ch == '?') {
		add_part(c, PART_ANY, 0);
	} else if (ch == '[') {
		return take_set(c);
	} else {
		if (ch == '\\') {
			ch = peek(c, 0);
			c->never = ch == 0;
			c->at += ch != 0;
		}
		add_part(c, PART_BYTE, ch);
	}
	return BOLE_OK;
}

enum bole_status bole_glob_compile(struct bole_glob *glob, struct bole_arena *arena,
                                   struct bole_bytes pattern)
{
	struct compiling c = {.arena = arena, .pattern = pattern};

	if (pattern.len > BOLE_GLOB_BYTES_MAX)
		return BOLE_E_LIMIT;
	c.parts = bole_arena_alloc(arena, pattern.len + 1, sizeof *c.parts);
	if (c.parts == NULL)
		return BOLE_E_NO_MEMORY;
	while (c.at < pattern.len && !c.never)
		BOLE_TRY(take_part(&c));
	BOLE_ASSERT(c.count <= pattern.len + 1);
	*glob = (struct bole_glob){.parts = c.parts, .count = c.count, .never = c.never};
	return BOLE_OK;
}

/* -- The machine -- */

struct machine {
	const struct bole_glob *glob;
	uint64_t states[2][STATES_WORDS];
	size_t words;
};

/* Adds a state and those that follow without a byte: stars may stand for nothing. */
static void enter(const struct machine *m, uint64_t *states, uint32_t state)
{
	for (;;) {
		states[state / 64] |= UINT64_C(1) << state % 64;
		if (state == m->glob->count)
			return;
		switch (m->glob->parts[state].kind) {
		case PART_DIRS:
			/* Not through the folder that follows: it ends with its '/'. */
			states[(state + 1) / 64] |= UINT64_C(1) << (state + 1) % 64;
			state += 2;
			break;
		case PART_STAR:
		case PART_STARS: state++; break;
		default: return;
		}
	}
}

static void step(const struct machine *m, uint64_t *to, uint32_t state, uint8_t ch)
{
	const struct bole_glob_part *part = &m->glob->parts[state];

	switch (part->kind) {
	case PART_BYTE:
		if (part->byte == ch)
			enter(m, to, state + 1);
		break;
	case PART_ANY:
		if (ch != '/')
			enter(m, to, state + 1);
		break;
	case PART_SET:
		if (set_has(part->set, ch))
			enter(m, to, state + 1);
		break;
	case PART_STAR:
		if (ch != '/')
			enter(m, to, state);
		break;
	case PART_STARS: enter(m, to, state); break;
	case PART_INSIDE:
		to[state / 64] |= UINT64_C(1) << state % 64;
		if (ch == '/')
			enter(m, to, state + 1);
		break;
	default: break;
	}
}

bool bole_glob_match(const struct bole_glob *glob, struct bole_bytes text, uint64_t *work)
{
	struct machine m = {.glob = glob, .words = glob->count / 64 + 1};
	uint64_t *now = m.states[0], *next = m.states[1];

	if (glob->never)
		return false;
	enter(&m, now, 0);
	for (size_t i = 0; i < text.len; i++) {
		bool alive = false;

		memset(next, 0, m.words * sizeof *next);
		for (size_t w = 0; w < m.words; w++) {
			uint64_t left = now[w];

			*work += 1;
			for (; left != 0; left &= left - 1) {
				uint32_t state =
				        (uint32_t)(w * 64) + (uint32_t)__builtin_ctzll(left);

				*work += 1;
				alive = true;
				if (state < glob->count)
					step(&m, next, state, text.ptr[i]);
			}
		}
		if (!alive)
			return false;
		uint64_t *swap = now;
		now = next;
		next = swap;
	}
	return (now[glob->count / 64] >> glob->count % 64 & 1) != 0;
}
