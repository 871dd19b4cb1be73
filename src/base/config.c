/* SPDX-License-Identifier: ISC */
/* Configuration in git-config syntax, from git-config(1). Differences: there are no includes (a
 * partition has no other files), and a NUL byte is an error.
 *
 * An entry is one allocation: "section.subsection.key" with section and key in lower case, NUL, the
 * value, NUL. The list keeps the order of the text. Entries whose keys fall on the same place of an
 * index are a chain, newest first, so the last one wins; a request looks up dozens of keys. */
#include "bole/config.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

enum {
	CONFIG_TEXT_MAX = 1 << 20,
	CONFIG_ENTRIES_MIN = 16,
	CONFIG_ENTRIES_MAX = 16384,
	CONFIG_KEY_MAX = 512,
	CONFIG_VALUE_MAX = 32768,
	CONFIG_WORD_MAX = 1024, /* of a command line */
};

struct config_entry {
	char *key;
	char *value;
	size_t bytes; /* of the allocation, which starts at key */
	size_t key_len;
	uint32_t hash;   /* of the whole key, blind to case */
	uint32_t before; /* the next of its chain: its index + 1, or 0 */
};

struct bole_config {
	struct bole_alloc *alloc;
	struct config_entry *entries;
	uint32_t *heads; /* of the chains: index + 1, or 0; as many as there is room for entries */
	size_t count;
	size_t cap;        /* a power of two, or 0 */
	uint64_t sections; /* a bit for the hash of each that was added */
};

enum bole_status bole_config_open(struct bole_alloc *alloc, struct bole_config **out)
{
	struct bole_config *c = bole_alloc_zeroed(alloc, 1, sizeof *c);

	*out = c;
	if (c == NULL)
		return BOLE_E_NO_MEMORY;
	c->alloc = alloc;
	return BOLE_OK;
}

static char lower(char ch)
{
	return ch >= 'A' && ch <= 'Z' ? (char)(ch - 'A' + 'a') : ch;
}

/* -- the index -- */

static uint32_t hash_of(struct bole_bytes key)
{
	uint32_t hash = 2166136261U; /* FNV-1a; whoever writes the configuration is trusted */

	for (size_t i = 0; i < key.len; i++)
		hash = (hash ^ (key.ptr[i] | 0x20)) * 16777619U;
	return hash;
}

static uint32_t *head_of(struct bole_config *c, uint32_t hash)
{
	return &c->heads[hash & (c->cap - 1)];
}

static void link_entry(struct bole_config *c, size_t i)
{
	uint32_t *head = head_of(c, c->entries[i].hash);

	c->entries[i].before = *head;
	*head = (uint32_t)i + 1;
}

static enum bole_status grow(struct bole_config *c)
{
	size_t cap = c->cap == 0 ? CONFIG_ENTRIES_MIN : c->cap * 2;
	uint32_t *heads = bole_alloc_zeroed(c->alloc, cap, sizeof *heads);
	struct config_entry *grown = NULL;

	if (heads != NULL)
		grown = bole_alloc_resize(c->alloc, c->entries, c->cap, cap, sizeof *grown);
	if (grown == NULL) {
		bole_alloc_free(c->alloc, heads, heads == NULL ? 0 : cap, sizeof *heads);
		return BOLE_E_NO_MEMORY;
	}
	bole_alloc_free(c->alloc, c->heads, c->cap, sizeof *c->heads);
	c->entries = grown;
	c->heads = heads;
	c->cap = cap;
	for (size_t i = 0; i < c->count; i++)
		link_entry(c, i);
	return BOLE_OK;
}

/* -- */

static uint64_t section_bit(const char *key, size_t len)
{
	const char *dot = memchr(key, '.', len);

	return UINT64_C(1) << hash_of(bole_bytes_of(key, dot == NULL ? len : (size_t)(dot - key))) %
	                              64;
}

bool bole_config_section(const struct bole_config *c, const char *section)
{
	return c != NULL && (c->sections & section_bit(section, strlen(section))) != 0;
}

/* Drops the entries from count on. */
static void cut_back(struct bole_config *c, size_t count)
{
	while (c->count > count) {
		struct config_entry *e = &c->entries[--c->count];
		*head_of(c, e->hash) = e->before;
		bole_alloc_free(c->alloc, e->key, e->bytes, 1);
	}
}

void bole_config_close(struct bole_config *c)
{
	if (c == NULL)
		return;
	cut_back(c, 0);
	bole_alloc_free(c->alloc, c->entries, c->cap, sizeof *c->entries);
	bole_alloc_free(c->alloc, c->heads, c->cap, sizeof *c->heads);
	bole_alloc_free(c->alloc, c, 1, sizeof *c);
}

static enum bole_status add(struct bole_config *c, struct bole_bytes key, struct bole_bytes value)
{
	if (c->count >= CONFIG_ENTRIES_MAX || key.len > CONFIG_KEY_MAX ||
	    value.len > CONFIG_VALUE_MAX)
		return BOLE_E_LIMIT;
	if (c->count == c->cap)
		BOLE_TRY(grow(c));
	size_t bytes = key.len + value.len + 2;
	char *text = bole_alloc_zeroed(c->alloc, bytes, 1);
	if (text == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(text, key.ptr, key.len);
	if (value.len > 0)
		memcpy(text + key.len + 1, value.ptr, value.len);
	c->entries[c->count] = (struct config_entry){
	        .key = text,
	        .value = text + key.len + 1,
	        .bytes = bytes,
	        .key_len = key.len,
	        .hash = hash_of(key),
	};
	link_entry(c, c->count++);
	c->sections |= section_bit(text, key.len);
	return BOLE_OK;
}

/* -- characters -- */

static bool is_alpha(char ch)
{
	return lower(ch) >= 'a' && lower(ch) <= 'z';
}

static bool is_key_char(char ch)
{
	return is_alpha(ch) || (ch >= '0' && ch <= '9') || ch == '-';
}

static bool is_blank(char ch)
{
	return ch == ' ' || ch == '\t' || ch == '\r' || ch == '\f' || ch == '\v';
}

/* -- the text of a file -- */

struct parser {
	struct bole_config *config;
	const char *at;
	const char *end;
	unsigned line;
	size_t section_len; /* of key: "section." or "section.subsection." */
	struct bole_buffer key;
	struct bole_buffer value;
};

/* The next character, '\n' at the end of a line and of the text (peek), never '\r' before '\n'. */
static char peek(struct parser *p)
{
	if (p->at == p->end)
		return '\n';
	if (*p->at == '\r' && p->at + 1 < p->end && p->at[1] == '\n')
		p->at++;
	return *p->at;
}

static void take(struct parser *p)
{
	if (p->at == p->end)
		return;
	if (*p->at == '\n')
		p->line++;
	p->at++;
}

static void skip_blanks(struct parser *p)
{
	while (is_blank(peek(p)))
		take(p);
}

static void skip_line(struct parser *p)
{
	while (peek(p) != '\n')
		take(p);
}

/* After [section and blanks: "subsection" with \" and \\ . */
static enum bole_status parse_subsection(struct parser *p)
{
	bole_buffer_byte(&p->key, '.');
	take(p);
	for (char ch; (ch = peek(p)) != '"'; take(p)) {
		if (ch == '\\') {
			take(p);
			ch = peek(p);
		}
		if (ch == '\n')
			return BOLE_E_INVALID;
		bole_buffer_byte(&p->key, (uint8_t)ch);
	}
	take(p);
	return p->key.rc;
}

/* [section], [section "subsection"], [section.subsection] (old: all of it is lower case). */
static enum bole_status parse_section(struct parser *p)
{
	p->key.len = 0;
	take(p);
	while (is_key_char(peek(p)) || peek(p) == '.') {
		bole_buffer_byte(&p->key, (uint8_t)lower(peek(p)));
		take(p);
	}
	if (p->key.rc != BOLE_OK)
		return p->key.rc;
	if (p->key.len == 0 || p->key.ptr[0] == '.')
		return BOLE_E_INVALID;
	if (is_blank(peek(p))) {
		skip_blanks(p);
		if (peek(p) != '"')
			return BOLE_E_INVALID;
		BOLE_TRY(parse_subsection(p));
	}
	if (peek(p) != ']')
		return BOLE_E_INVALID;
	take(p);
	bole_buffer_byte(&p->key, '.');
	p->section_len = p->key.len;
	return p->key.rc;
}

/* After a backslash in a value. */
static enum bole_status parse_escape(struct parser *p)
{
	static const char names[] = "nbt\"\\";
	static const char values[] = "\n\b\t\"\\";

	char ch = peek(p);
	take(p);
	if (ch == '\n') /* the value goes on in the next line */
		return BOLE_OK;
	const char *found = ch == '\0' ? NULL : strchr(names, ch);
	if (found == NULL)
		return BOLE_E_INVALID;
	bole_buffer_byte(&p->value, (uint8_t)values[found - names]);
	return BOLE_OK;
}

/* Leading and trailing blanks outside quotes go; a comment ends the value. */
static enum bole_status parse_value(struct parser *p)
{
	bool quoted = false;
	size_t keep = 0; /* trailing blanks beyond this length are dropped */

	p->value.len = 0;
	skip_blanks(p);
	for (char ch; (ch = peek(p)) != '\n' || quoted;) {
		if (ch == '\n')
			return BOLE_E_INVALID;
		if (!quoted && (ch == '#' || ch == ';'))
			break;
		take(p);
		if (ch == '"') {
			quoted = !quoted;
			keep = p->value.len;
		} else if (ch == '\\') {
			BOLE_TRY(parse_escape(p));
			keep = p->value.len; /* blanks before a continued line stay, too */
		} else if (quoted || !is_blank(ch)) {
			bole_buffer_byte(&p->value, (uint8_t)ch);
			keep = p->value.len;
		} else if (p->value.len > 0) {
			bole_buffer_byte(&p->value, (uint8_t)ch);
		}
		if (p->value.rc != BOLE_OK)
			return p->value.rc;
	}
	p->value.len = keep;
	skip_line(p);
	return BOLE_OK;
}

static enum bole_status parse_variable(struct parser *p)
{
	struct bole_bytes value = bole_bytes_z("true"); /* a key alone */

	if (p->section_len == 0 || !is_alpha(peek(p)))
		return BOLE_E_INVALID;
	p->key.len = p->section_len;
	for (; is_key_char(peek(p)); take(p))
		bole_buffer_byte(&p->key, (uint8_t)lower(peek(p)));
	skip_blanks(p);
	if (peek(p) == '=') {
		take(p);
		BOLE_TRY(parse_value(p));
		value = bole_bytes_of(p->value.ptr, p->value.len);
	} else if (peek(p) != '\n') { /* not even a comment: Git refuses it */
		return BOLE_E_INVALID;
	}
	BOLE_TRY(p->key.rc);
	return add(p->config, bole_bytes_of(p->key.ptr, p->key.len), value);
}

static enum bole_status parse_all(struct parser *p)
{
	enum bole_status rc = BOLE_OK;

	while (rc == BOLE_OK && p->at < p->end) {
		unsigned line = p->line;
		char ch = peek(p);
		if (ch == '\n' || is_blank(ch))
			take(p);
		else if (ch == '#' || ch == ';')
			skip_line(p);
		else if (ch == '[')
			rc = parse_section(p);
		else
			rc = parse_variable(p);
		if (rc != BOLE_OK)
			p->line = line;
	}
	return rc;
}

enum bole_status bole_config_parse(struct bole_config *c, struct bole_bytes text, unsigned *line)
{
	static const char bom[] = "\xef\xbb\xbf";
	size_t before = c->count;

	*line = 1;
	if (text.len > CONFIG_TEXT_MAX)
		return BOLE_E_LIMIT;
	if (bole_bytes_start(text, bole_bytes_z(bom)))
		text = bole_bytes_of(text.ptr + 3, text.len - 3);
	if (text.len == 0)
		return BOLE_OK;
	const uint8_t *nul = memchr(text.ptr, 0, text.len);
	struct parser p = {
	        .config = c,
	        .at = (const char *)text.ptr,
	        .end = (const char *)(nul == NULL ? text.ptr + text.len : nul),
	        .line = 1,
	};
	bole_buffer_init(&p.key, c->alloc, CONFIG_KEY_MAX);
	bole_buffer_init(&p.value, c->alloc, CONFIG_VALUE_MAX);
	enum bole_status rc = parse_all(&p);
	if (rc == BOLE_OK && nul != NULL)
		rc = BOLE_E_INVALID;
	bole_buffer_release(&p.key);
	bole_buffer_release(&p.value);
	*line = p.line;
	if (rc != BOLE_OK)
		cut_back(c, before);
	return rc;
}

/* -- assignments -- */

/* Where the subsection of a full key starts and ends; false if it is no key. */
static bool split_key(struct bole_bytes key, size_t *first_dot, size_t *last_dot)
{
	size_t first = 0;
	size_t last = key.len;

	while (first < key.len && is_key_char((char)key.ptr[first]))
		first++;
	if (first == 0 || first == key.len || key.ptr[first] != '.')
		return false;
	while (key.ptr[last - 1] != '.')
		last--;
	if (last == key.len || !is_alpha((char)key.ptr[last]))
		return false;
	for (size_t i = last; i < key.len; i++) {
		if (!is_key_char((char)key.ptr[i]))
			return false;
	}
	*first_dot = first;
	*last_dot = last - 1;
	return memchr(key.ptr, '\n', key.len) == NULL;
}

static enum bole_status assign(struct bole_config *c, struct bole_bytes word)
{
	uint8_t key[CONFIG_KEY_MAX];
	struct bole_bytes value = bole_bytes_z("true");
	size_t first = 0;
	size_t last = 0;

	const uint8_t *equals = word.len == 0 ? NULL : memchr(word.ptr, '=', word.len);
	size_t len = equals == NULL ? word.len : (size_t)(equals - word.ptr);
	if (equals != NULL)
		value = bole_bytes_of(equals + 1, word.len - len - 1);
	if (len > sizeof key)
		return BOLE_E_LIMIT;
	if (!split_key(bole_bytes_of(word.ptr, len), &first, &last))
		return BOLE_E_INVALID;
	for (size_t i = 0; i < len; i++) {
		bool subsection = i > first && i < last;
		key[i] = subsection ? word.ptr[i] : (uint8_t)lower((char)word.ptr[i]);
	}
	return add(c, bole_bytes_of(key, len), value);
}

enum bole_status bole_config_set(struct bole_config *c, const char *assignment)
{
	return assign(c, bole_bytes_z(assignment));
}

enum bole_status bole_config_command_line(struct bole_config *c, const char *line)
{
	uint8_t word[CONFIG_WORD_MAX];
	size_t before = c->count;
	enum bole_status rc = BOLE_OK;

	while (rc == BOLE_OK && *line != '\0') {
		bool quoted = false;
		size_t len = 0;
		for (; *line != '\0' && (quoted || (*line != ' ' && *line != '\n')); line++) {
			if (*line == '"')
				quoted = !quoted;
			else if (len < sizeof word)
				word[len++] = (uint8_t)*line;
		}
		if (*line != '\0')
			line++;
		if (len == sizeof word)
			rc = BOLE_E_LIMIT;
		else if (quoted)
			rc = BOLE_E_INVALID;
		else if (len > 0)
			rc = assign(c, bole_bytes_of(word, len));
		/* Words for others ("console=ttyS0", "virtio_mmio.device=…") are no keys of ours.
		 */
		if (rc == BOLE_E_INVALID && !quoted)
			rc = BOLE_OK;
	}
	if (rc != BOLE_OK)
		cut_back(c, before);
	return rc;
}

/* -- reading -- */

static bool key_matches(const struct config_entry *e, struct bole_bytes key)
{
	const uint8_t *p = key.ptr;
	size_t first = 0;
	size_t last = key.len;

	while (first < key.len && p[first] != '.')
		first++;
	while (last > 0 && p[last - 1] != '.')
		last--;
	if (last == 0)
		return false;
	for (size_t i = 0; i < key.len; i++) {
		bool subsection = i > first && i < last;
		if (e->key[i] != (subsection ? (char)p[i] : lower((char)p[i])))
			return false;
	}
	return true;
}

static bool entry_is(const struct config_entry *e, struct bole_bytes key, uint32_t hash)
{
	return e->hash == hash && e->key_len == key.len && key_matches(e, key);
}

const char *bole_config_get(const struct bole_config *c, const char *key)
{
	struct bole_bytes wanted = bole_bytes_z(key);
	uint32_t hash = hash_of(wanted);
	uint32_t at = c->count == 0 ? 0 : c->heads[hash & (c->cap - 1)];

	for (; at != 0; at = c->entries[at - 1].before)
		if (entry_is(&c->entries[at - 1], wanted, hash))
			return c->entries[at - 1].value;
	return NULL;
}

const char *bole_config_next_value(const struct bole_config *c, const char *key, size_t *cursor)
{
	struct bole_bytes wanted = bole_bytes_z(key);
	uint32_t hash = hash_of(wanted);

	while (*cursor < c->count) {
		const struct config_entry *e = &c->entries[(*cursor)++];
		if (entry_is(e, wanted, hash))
			return e->value;
	}
	return NULL;
}

bool bole_config_next(const struct bole_config *c, size_t *cursor, const char **key,
                      const char **value)
{
	if (*cursor >= c->count)
		return false;
	*key = c->entries[*cursor].key;
	*value = c->entries[(*cursor)++].value;
	return true;
}

static bool word_is(const char *text, const char *word)
{
	size_t i = 0;

	for (; text[i] != '\0' && lower(text[i]) == word[i]; i++)
		;
	return text[i] == '\0' && word[i] == '\0';
}

enum bole_status bole_config_bool(const struct bole_config *c, const char *key, bool missing,
                                  bool *out)
{
	static const char *const yes[] = {"true", "yes", "on", "1"};
	static const char *const no[] = {"false", "no", "off", "0", ""};
	const char *text = bole_config_get(c, key);

	*out = missing;
	if (text == NULL)
		return BOLE_OK;
	for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
		if (word_is(text, yes[i])) {
			*out = true;
			return BOLE_OK;
		}
	}
	for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
		if (word_is(text, no[i])) {
			*out = false;
			return BOLE_OK;
		}
	}
	return BOLE_E_INVALID;
}

enum bole_status bole_config_u64(const struct bole_config *c, const char *key, uint64_t missing,
                                 uint64_t *out)
{
	const char *text = bole_config_get(c, key);
	uint64_t value = 0;
	uint64_t unit = 1;

	*out = missing;
	if (text == NULL)
		return BOLE_OK;
	if (*text < '0' || *text > '9')
		return BOLE_E_INVALID;
	for (; *text >= '0' && *text <= '9'; text++) {
		if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			return BOLE_E_INVALID;
	}
	if (lower(*text) == 'k')
		unit = 1024;
	else if (lower(*text) == 'm')
		unit = 1024 * 1024;
	else if (lower(*text) == 'g')
		unit = 1024 * 1024 * 1024;
	if (unit != 1)
		text++;
	if (*text != '\0' || __builtin_mul_overflow(value, unit, &value))
		return BOLE_E_INVALID;
	*out = value;
	return BOLE_OK;
}
