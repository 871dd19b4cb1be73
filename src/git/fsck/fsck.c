/* SPDX-License-Identifier: ISC */
/* The table of ids, severities, and the way in. */
#include "git/fsck/fsck.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

enum kind { KIND_FATAL, KIND_ERROR, KIND_WARN, KIND_INFO, KIND_IGNORE };

static const struct {
	const char *name;
	enum kind kind;
} ids[] = {
#define ROW(id, name, kind) {name, KIND_##kind},
        BOLE_FSCK_TABLE(ROW)
#undef ROW
};
_Static_assert(sizeof ids / sizeof ids[0] == BOLE_FSCK_IDS, "one row an id");

static uint8_t severity_of(enum kind kind, bool strict)
{
	switch (kind) {
	case KIND_FATAL:
	case KIND_ERROR: return BOLE_FSCK_ERROR;
	case KIND_WARN: return strict ? BOLE_FSCK_ERROR : BOLE_FSCK_WARN;
	case KIND_INFO: return BOLE_FSCK_WARN;
	case KIND_IGNORE: return BOLE_FSCK_IGNORE;
	}
	BOLE_UNREACHABLE();
}

void bole_fsck_options_init(struct bole_fsck_options *o, enum bole_fsck_preset preset)
{
	static const uint8_t structure[] = {
	        BOLE_FSCK_BAD_TREE,   BOLE_FSCK_DUPLICATE_ENTRIES, BOLE_FSCK_TREE_NOT_SORTED,
	        BOLE_FSCK_EMPTY_NAME, BOLE_FSCK_FULL_PATHNAME,     BOLE_FSCK_HAS_DOT,
	        BOLE_FSCK_HAS_DOTDOT, BOLE_FSCK_HAS_DOTGIT,        BOLE_FSCK_NULL_SHA1,
	};

	/* What early tools wrote into histories that are still pushed every day (redis, rails);
	 * large hosts let them pass too. */
	static const uint8_t old[] = {
	        BOLE_FSCK_BAD_TIMEZONE,
	        BOLE_FSCK_MISSING_SPACE_BEFORE_DATE,
	        BOLE_FSCK_ZERO_PADDED_FILEMODE,
	};

	*o = (struct bole_fsck_options){.strict = preset == BOLE_FSCK_STRICT ||
	                                          preset == BOLE_FSCK_PUSH};
	if (preset == BOLE_FSCK_STRUCTURE)
		for (size_t i = 0; i < sizeof structure; i++)
			o->severity[structure[i]] = BOLE_FSCK_ERROR;
	if (o->strict || preset == BOLE_FSCK_LENIENT)
		for (size_t i = 0; i < BOLE_FSCK_IDS; i++)
			o->severity[i] = severity_of(ids[i].kind, o->strict);
	for (size_t i = 0; i < sizeof old && preset == BOLE_FSCK_PUSH; i++)
		o->severity[old[i]] = BOLE_FSCK_WARN;
}

const char *bole_fsck_name(enum bole_fsck_id id)
{
	return ids[id].name;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool same_name(struct bole_bytes a, const char *name)
{
	if (a.len != strlen(name))
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (lower((char)a.ptr[i]) != lower(name[i]))
			return false;
	return true;
}

enum bole_status bole_fsck_set(struct bole_fsck_options *o, struct bole_bytes name,
                               struct bole_bytes severity)
{
	static const char *const words[] = {"ignore", "warn", "error"};
	uint8_t value = 0;
	size_t id = 0;

	while (value < 3 && !bole_bytes_equal(severity, bole_bytes_z(words[value])))
		value++;
	while (id < BOLE_FSCK_IDS && !same_name(name, ids[id].name))
		id++;
	if (value == 3 || id == BOLE_FSCK_IDS)
		return BOLE_E_INVALID;
	if (ids[id].kind == KIND_FATAL && value != BOLE_FSCK_ERROR)
		return BOLE_E_INVALID;
	o->severity[id] = value;
	return BOLE_OK;
}

static int compare_ids(const void *a, const void *b)
{
	return bole_oid_compare(a, b);
}

static bool is_skipped(const struct bole_fsck_options *o, const struct bole_oid *oid)
{
	return o->skip_count != 0 &&
	       bsearch(oid, o->skip, o->skip_count, sizeof *oid, compare_ids) != NULL;
}

void bole_fsck_begin(struct bole_fsck *f, const struct bole_oid *oid)
{
	f->oid = oid;
	f->failed = false;
	f->skip = is_skipped(f->options, oid);
}

bool bole_fsck_report(struct bole_fsck *f, enum bole_fsck_id id, const char *text)
{
	enum bole_fsck_severity severity = (enum bole_fsck_severity)f->options->severity[id];

	if (severity == BOLE_FSCK_IGNORE || f->skip)
		return false;
	if (f->finding != NULL)
		f->finding(f->ctx, f->oid, id, severity, text);
	f->failed |= severity == BOLE_FSCK_ERROR;
	return severity == BOLE_FSCK_ERROR;
}

enum bole_status bole_fsck_object(struct bole_fsck *f, const struct bole_oid *oid, uint8_t type,
                                  struct bole_bytes content)
{
	enum bole_status rc = BOLE_OK;

	bole_fsck_begin(f, oid);
	switch (type) {
	case BOLE_OBJECT_TREE: rc = bole_fsck_tree(f, content); break;
	case BOLE_OBJECT_COMMIT: bole_fsck_commit(f, content); break;
	case BOLE_OBJECT_TAG: bole_fsck_tag(f, content); break;
	case BOLE_OBJECT_BLOB: break;
	default: (void)bole_fsck_report(f, BOLE_FSCK_UNKNOWN_TYPE, "unknown type"); break;
	}
	if (rc != BOLE_OK)
		return rc;
	return f->failed ? BOLE_E_INVALID : BOLE_OK;
}

enum bole_status bole_fsck_note(struct bole_fsck *f, const struct bole_oid *oid,
                                enum bole_fsck_id id, const char *text)
{
	bole_fsck_begin(f, oid);
	return bole_fsck_report(f, id, text) ? BOLE_E_INVALID : BOLE_OK;
}

enum bole_status bole_fsck_attributes(struct bole_fsck *f, const struct bole_oid *oid,
                                      struct bole_bytes content)
{
	bole_fsck_begin(f, oid);
	for (size_t at = 0, line = 0; at <= content.len; at++) {
		if (at < content.len && content.ptr[at] != '\n' && content.ptr[at] != '\0') {
			line++;
			continue;
		}
		if (line >= BOLE_FSCK_ATTRIBUTES_LINE_MAX) {
			(void)bole_fsck_report(f, BOLE_FSCK_GITATTRIBUTES_LINE_LENGTH,
			                       ".gitattributes has too long lines to parse");
			break;
		}
		if (at < content.len && content.ptr[at] == '\0')
			break; /* nobody reads on after it */
		line = 0;
	}
	return f->failed ? BOLE_E_INVALID : BOLE_OK;
}
