/* SPDX-License-Identifier: ISC */
/* Trees. The grammar is Git's reader's: what it cannot read is a bad tree. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/fsck/fsck.h"
#include "git/fsck/names.h"
#include "git/object/object.h"

enum { MODE_TYPE = 0170000, MODE_GROUP_WRITABLE = 0100664, WORD_BITS = 64 };

struct entry {
	uint32_t mode;
	bool padded;
	struct bole_bytes name;
	struct bole_oid oid;
};

/* A tree may not hold a file "x" and a directory "x". They are not neighbours in its order: names
 * that go on after "x" with a byte below '/' lie between. So a bit is kept for the length of each
 * file whose name is a prefix of every name since: as prefixes of one name, their lengths say all.
 */
struct prefixes {
	uint64_t bits[BOLE_FSCK_PATH_BYTES_MAX / WORD_BITS + 1];
	size_t top; /* no bit is set beyond */
	struct bole_bytes last;
};

struct tree {
	struct prefixes seen;
	struct entry previous;
	bool first;
	/* What the whole is found guilty of, reported once each. */
	bool found[BOLE_FSCK_IDS];
};

static bool entry_next(struct bole_bytes *rest, uint8_t algo, struct entry *out)
{
	size_t hash = bole_hash_bytes(algo);
	const uint8_t *p = rest->ptr;
	size_t left = rest->len;
	size_t digits = 0;

	/* The last entry ends like any other. */
	if (left < hash + 3 || p[left - hash - 1] != 0)
		return false;
	out->padded = p[0] == '0';
	out->mode = 0;
	for (; digits < left && p[digits] != ' '; digits++) {
		if (p[digits] < '0' || p[digits] > '7' || out->mode >> 29 != 0)
			return false;
		out->mode = out->mode << 3 | (uint32_t)(p[digits] - '0');
	}
	if (digits == 0 || digits == left)
		return false;
	p += digits + 1;
	left -= digits + 1;
	const uint8_t *nul = left == 0 ? NULL : memchr(p, 0, left);
	if (nul == NULL || nul == p || (size_t)(nul + 1 - p) > left - hash)
		return false;
	out->name = bole_bytes_of(p, (size_t)(nul - p));
	bole_oid_from_raw(nul + 1, algo, &out->oid);
	*rest = bole_bytes_of(nul + 1 + hash, left - out->name.len - 1 - hash);
	return true;
}

static void keep_prefixes(struct prefixes *seen, struct bole_bytes name)
{
	size_t common = 0;

	while (common < name.len && common < seen->last.len &&
	       name.ptr[common] == seen->last.ptr[common])
		common++;
	for (; seen->top > common; seen->top--)
		seen->bits[seen->top / WORD_BITS] &= ~(UINT64_C(1) << seen->top % WORD_BITS);
	seen->last = name;
}

/* The entry is a directory whose name a file has already. */
static bool clashes(struct prefixes *seen, const struct entry *e)
{
	size_t len = e->name.len;

	keep_prefixes(seen, e->name);
	if (len > BOLE_FSCK_PATH_BYTES_MAX)
		return false; /* guilty of that */
	if ((e->mode & MODE_TYPE) == BOLE_MODE_TREE)
		return (seen->bits[len / WORD_BITS] >> len % WORD_BITS & 1) != 0;
	seen->bits[len / WORD_BITS] |= UINT64_C(1) << len % WORD_BITS;
	seen->top = len;
	return false;
}

static void check_order(struct tree *t, const struct entry *e)
{
	struct bole_tree_entry a = {.mode = t->previous.mode, .name = t->previous.name};
	struct bole_tree_entry b = {.mode = e->mode, .name = e->name};

	if (clashes(&t->seen, e))
		t->found[BOLE_FSCK_DUPLICATE_ENTRIES] = true;
	if (t->first)
		return;
	if (bole_bytes_equal(a.name, b.name))
		t->found[BOLE_FSCK_DUPLICATE_ENTRIES] = true;
	else if (bole_tree_entry_compare(&a, &b) >= 0)
		t->found[BOLE_FSCK_TREE_NOT_SORTED] = true;
}

static bool mode_known(uint32_t mode, bool strict)
{
	return mode == BOLE_MODE_EXECUTABLE || mode == BOLE_MODE_FILE ||
	       mode == BOLE_MODE_SYMLINK || mode == BOLE_MODE_TREE || mode == BOLE_MODE_SUBMODULE ||
	       (mode == MODE_GROUP_WRITABLE && !strict);
}

static enum bole_status modules(struct bole_fsck *f, const struct entry *e)
{
	if ((e->mode & MODE_TYPE) == BOLE_MODE_SYMLINK)
		(void)bole_fsck_report(f, BOLE_FSCK_GITMODULES_SYMLINK,
		                       ".gitmodules is a symbolic link");
	else if (f->special != NULL)
		return f->special(f->ctx, &e->oid, BOLE_FSCK_MODULES);
	return BOLE_OK;
}

static bool is_dot(struct bole_bytes name, enum bole_dot_name which)
{
	return bole_hfs_dot(name, which) || bole_ntfs_dot(name, which);
}

/* Files that Git reads out of a work tree. */
static enum bole_status check_special(struct bole_fsck *f, const struct entry *e)
{
	bool link = (e->mode & MODE_TYPE) == BOLE_MODE_SYMLINK;

	if (is_dot(e->name, BOLE_DOT_MODULES))
		BOLE_TRY(modules(f, e));
	if (is_dot(e->name, BOLE_DOT_ATTRIBUTES)) {
		if (link)
			(void)bole_fsck_report(f, BOLE_FSCK_GITATTRIBUTES_SYMLINK,
			                       ".gitattributes is a symlink");
		else if (f->special != NULL)
			BOLE_TRY(f->special(f->ctx, &e->oid, BOLE_FSCK_ATTRIBUTES));
	}
	if (link && is_dot(e->name, BOLE_DOT_IGNORE))
		(void)bole_fsck_report(f, BOLE_FSCK_GITIGNORE_SYMLINK, ".gitignore is a symlink");
	if (link && is_dot(e->name, BOLE_DOT_MAILMAP))
		(void)bole_fsck_report(f, BOLE_FSCK_MAILMAP_SYMLINK, ".mailmap is a symlink");
	return BOLE_OK;
}

/* Windows splits names at backslashes. */
static enum bole_status check_parts(struct bole_fsck *f, bool *found, const struct entry *e)
{
	struct bole_bytes rest = e->name;
	const uint8_t *back;

	while (rest.len > 0 && (back = memchr(rest.ptr, '\\', rest.len)) != NULL) {
		rest = bole_bytes_of(back + 1, rest.len - (size_t)(back + 1 - rest.ptr));
		found[BOLE_FSCK_HAS_DOTGIT] |= bole_ntfs_dot_git(rest);
		if (bole_ntfs_dot(rest, BOLE_DOT_MODULES))
			BOLE_TRY(modules(f, e));
	}
	return BOLE_OK;
}

static enum bole_status check_entry(struct bole_fsck *f, bool *found, const struct entry *e)
{
	struct bole_bytes name = e->name;

	found[BOLE_FSCK_NULL_SHA1] |= bole_oid_is_null(&e->oid);
	found[BOLE_FSCK_FULL_PATHNAME] |= memchr(name.ptr, '/', name.len) != NULL;
	found[BOLE_FSCK_HAS_DOT] |= name.len == 1 && name.ptr[0] == '.';
	found[BOLE_FSCK_HAS_DOTDOT] |= name.len == 2 && memcmp(name.ptr, "..", 2) == 0;
	found[BOLE_FSCK_ZERO_PADDED_FILEMODE] |= e->padded;
	found[BOLE_FSCK_LARGE_PATHNAME] |= name.len > BOLE_FSCK_PATH_BYTES_MAX;
	found[BOLE_FSCK_BAD_FILEMODE] |= !mode_known(e->mode, f->options->strict);
	/* The names that matter begin with one of these, or with a byte that HFS+ ignores. */
	uint8_t c = name.ptr[0];
	if (c == '.' || c == 'g' || c == 'G' || c == 'm' || c == 'M' || c == '~' || c >= 0x80) {
		found[BOLE_FSCK_HAS_DOTGIT] |= bole_hfs_dot_git(name) || bole_ntfs_dot_git(name);
		BOLE_TRY(check_special(f, e));
	}
	return check_parts(f, found, e);
}

static void report_found(struct bole_fsck *f, const bool *found)
{
	static const struct {
		enum bole_fsck_id id;
		const char *text;
	} texts[] = {
	        {BOLE_FSCK_NULL_SHA1, "contains entries pointing to null sha1"},
	        {BOLE_FSCK_FULL_PATHNAME, "contains full pathnames"},
	        {BOLE_FSCK_EMPTY_NAME, "contains empty pathname"},
	        {BOLE_FSCK_HAS_DOT, "contains '.'"},
	        {BOLE_FSCK_HAS_DOTDOT, "contains '..'"},
	        {BOLE_FSCK_HAS_DOTGIT, "contains '.git'"},
	        {BOLE_FSCK_ZERO_PADDED_FILEMODE, "contains zero-padded file modes"},
	        {BOLE_FSCK_BAD_FILEMODE, "contains bad file modes"},
	        {BOLE_FSCK_DUPLICATE_ENTRIES, "contains duplicate file entries"},
	        {BOLE_FSCK_TREE_NOT_SORTED, "not properly sorted"},
	        {BOLE_FSCK_LARGE_PATHNAME, "contains excessively large pathname"},
	};

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (found[texts[i].id])
			(void)bole_fsck_report(f, texts[i].id, texts[i].text);
}

enum bole_status bole_fsck_tree(struct bole_fsck *f, struct bole_bytes content)
{
	struct tree t = {.first = true};
	struct bole_bytes rest = content;
	struct entry e;

	while (rest.len > 0) {
		if (!entry_next(&rest, f->algo, &e)) {
			(void)bole_fsck_report(f, BOLE_FSCK_BAD_TREE, "cannot be parsed as a tree");
			break;
		}
		check_order(&t, &e);
		BOLE_TRY(check_entry(f, t.found, &e));
		t.previous = e;
		t.first = false;
	}
	report_found(f, t.found);
	return BOLE_OK;
}

enum bole_status bole_fsck_tree_entry(struct bole_fsck *f, const struct bole_oid *oid,
                                      struct bole_bytes rest)
{
	bool found[BOLE_FSCK_IDS] = {0};
	struct entry e;

	bole_fsck_begin(f, oid);
	if (!entry_next(&rest, f->algo, &e))
		return bole_fsck_note(f, oid, BOLE_FSCK_BAD_TREE, "cannot be parsed as a tree");
	BOLE_TRY(check_entry(f, found, &e));
	report_found(f, found);
	return f->failed ? BOLE_E_INVALID : BOLE_OK;
}
