/* SPDX-License-Identifier: ISC */
/* What an object says about others: the grammar of trees, commits and tags, and the promise that
 * everything they name is here. A link is looked at while the object's content is at hand; what is
 * not known yet goes into a set, and whatever is left in it at the end must be in the domain. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/pack_intake.h"

enum {
	MODE_FORMAT = 0170000,
	MODE_REGULAR = 0100000,
	PREFIXES_MAX = 128, /* file names of one tree that are prefixes of each other */
};

static enum bole_status bad(struct intake *it, uint32_t row, const char *what)
{
	char hex[BOLE_OID_HEX_MAX + 1];
	const struct bole_extent_row *r = &it->rows[row];

	return bole_intake_fail(it, BOLE_E_INVALID, "%s %s: %s",
	                        bole_object_type_name(r->type & INTAKE_TYPE_MASK),
	                        bole_oid_format(&r->oid, hex), what);
}

static enum bole_status link_wrong(struct intake *it, uint32_t row, const struct bole_oid *target,
                                   unsigned found, unsigned expected)
{
	char hex[BOLE_OID_HEX_MAX + 1];
	char from[BOLE_OID_HEX_MAX + 1];

	return bole_intake_fail(it, BOLE_E_INVALID, "%s is a %s, but %s names it as a %s",
	                        bole_oid_format(target, hex), bole_object_type_name(found),
	                        bole_oid_format(&it->rows[row].oid, from),
	                        bole_object_type_name(expected));
}

static enum bole_status link_to(struct intake *it, uint32_t row, const struct bole_oid *target,
                                uint8_t expected)
{
	uint32_t item = bole_oid_index_find(&it->known, target->bytes);
	bool added;

	if (item != BOLE_OID_NONE) {
		uint8_t found = it->rows[item].type & INTAKE_TYPE_MASK;

		return found == expected ? BOLE_OK : link_wrong(it, row, target, found, expected);
	}
	if (bole_oid_is_null(target))
		return bad(it, row, "names the null id");
	BOLE_TRY(bole_oid_map_put(&it->needed, target->bytes, &item, &added));
	struct intake_need *need = bole_oid_map_value(&it->needed, item);

	if (added)
		*need = (struct intake_need){.referrer = row, .type = expected};
	else if (need->type != expected)
		return link_wrong(it, row, target, need->type, expected);
	return BOLE_OK;
}

/* -- Trees -- */

static bool name_refused(struct bole_bytes name)
{
	static const char git[] = ".git";

	if (name.len == 0 || memchr(name.ptr, '/', name.len) != NULL)
		return true;
	if (name.ptr[0] != '.')
		return false;
	if (name.len == 1 || (name.len == 2 && name.ptr[1] == '.'))
		return true;
	if (name.len != sizeof(git) - 1)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		if ((name.ptr[i] | 0x20) != (git[i] | 0x20))
			return false;
	}
	return true;
}

/* The type that a mode promises, 0 = another repository's commit, -1 = no mode of Git's. */
static int mode_type(uint32_t mode)
{
	if (mode == BOLE_MODE_TREE)
		return BOLE_OBJECT_TREE;
	if (mode == BOLE_MODE_SUBMODULE)
		return 0;
	if ((mode & MODE_FORMAT) == MODE_REGULAR || mode == BOLE_MODE_SYMLINK)
		return BOLE_OBJECT_BLOB;
	return -1;
}

/* A tree may not hold a file "x" and a directory "x". They are not neighbours in its order: names
 * that go on after "x" with a byte below '/' lie between. So the files are kept whose name is a
 * prefix of every name since; as prefixes of one name, their lengths say all. */
struct prefixes {
	uint32_t len[PREFIXES_MAX];
	size_t count;
	struct bole_bytes last;
};

static bool prefix_clash(struct prefixes *seen, const struct bole_tree_entry *entry, bool *full)
{
	struct bole_bytes name = entry->name;
	bool clash = false;

	while (seen->count > 0) {
		uint32_t len = seen->len[seen->count - 1];

		if (len <= name.len && memcmp(seen->last.ptr, name.ptr, len) == 0)
			break;
		seen->count--;
	}
	if (entry->mode == BOLE_MODE_TREE) {
		for (size_t i = 0; i < seen->count; i++)
			clash |= seen->len[i] == name.len;
	}
	*full = seen->count == PREFIXES_MAX;
	if (!*full && entry->mode != BOLE_MODE_TREE)
		seen->len[seen->count++] = (uint32_t)name.len;
	/* All lengths left are of prefixes of this name. */
	seen->last = name;
	return clash;
}

static enum bole_status tree_links(struct intake *it, uint32_t row, struct bole_bytes rest)
{
	struct bole_tree_entry entry, previous = {0};
	struct prefixes seen = {.count = 0};
	enum bole_status rc;
	bool full;

	while ((rc = bole_tree_next(&rest, it->algo, &entry)) == BOLE_OK) {
		int type = mode_type(entry.mode);

		if (type < 0)
			return bad(it, row, "an entry has an unknown mode");
		if (name_refused(entry.name))
			return bad(it, row, "an entry has a forbidden name");
		if (previous.name.ptr != NULL && bole_tree_entry_compare(&previous, &entry) >= 0)
			return bad(it, row, "entries are not in order");
		if (prefix_clash(&seen, &entry, &full) || full)
			return bad(it, row, "two entries have one name");
		if (bole_oid_is_null(&entry.oid))
			return bad(it, row, "an entry names the null id");
		if (type > 0)
			BOLE_TRY(link_to(it, row, &entry.oid, (uint8_t)type));
		previous = entry;
	}
	return rc == BOLE_END ? BOLE_OK : bad(it, row, "malformed");
}

static enum bole_status commit_links(struct intake *it, uint32_t row, struct bole_bytes content)
{
	struct bole_commit commit;
	struct bole_oid parent;

	if (bole_commit_parse(content, it->algo, &commit) != BOLE_OK)
		return bad(it, row, "malformed");
	BOLE_TRY(link_to(it, row, &commit.tree, BOLE_OBJECT_TREE));
	for (size_t i = 0; i < commit.parent_count; i++) {
		bole_commit_parent(&commit, it->algo, i, &parent);
		BOLE_TRY(link_to(it, row, &parent, BOLE_OBJECT_COMMIT));
	}
	return BOLE_OK;
}

enum bole_status bole_intake_links(struct intake *it, uint32_t row, uint8_t type,
                                   struct bole_bytes content)
{
	struct bole_tag tag;

	switch (type) {
	case BOLE_OBJECT_TREE: return tree_links(it, row, content);
	case BOLE_OBJECT_COMMIT: return commit_links(it, row, content);
	case BOLE_OBJECT_TAG:
		if (bole_tag_parse(content, it->algo, &tag) != BOLE_OK)
			return bad(it, row, "malformed");
		return link_to(it, row, &tag.target, tag.target_type);
	case BOLE_OBJECT_BLOB: return BOLE_OK;
	default: BOLE_UNREACHABLE();
	}
}

enum bole_status bole_intake_closure(struct intake *it)
{
	char hex[BOLE_OID_HEX_MAX + 1];
	char from[BOLE_OID_HEX_MAX + 1];
	struct bole_entry entry;
	struct bole_oid oid;

	for (uint32_t i = 0; i < it->needed.count; i++) {
		const struct intake_need *need = bole_oid_map_value(&it->needed, i);

		bole_oid_from_raw(bole_oid_map_key(&it->needed, i), it->algo, &oid);
		enum bole_status rc = bole_odb_find(it->job->tx->view, &oid, &entry);

		if (rc == BOLE_E_NOT_FOUND)
			return bole_intake_fail(
			        it, BOLE_E_INVALID, "missing %s %s referenced by %s",
			        bole_object_type_name(need->type), bole_oid_format(&oid, hex),
			        bole_oid_format(&it->rows[need->referrer].oid, from));
		BOLE_TRY(rc);
		if (entry.type != need->type)
			return link_wrong(it, need->referrer, &oid, entry.type, need->type);
		BOLE_TRY(bole_intake_spend(it, 0));
	}
	return BOLE_OK;
}
