/* SPDX-License-Identifier: ISC */
/* What an object says about others, and the promise that everything it names is here. A link is
 * looked at while the object's content is at hand; what is not known yet goes into a set, and
 * whatever is left in it at the end must be in the domain. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/negotiate.h"
#include "git/pack/intake.h"

enum {
	MODE_FORMAT = 0170000,
	MODE_REGULAR = 0100000,
	DOUBTFUL_FIRST = 32,
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

static enum bole_status entry_link(struct intake *it, uint32_t row,
                                   const struct bole_tree_entry *entry)
{
	int type = mode_type(entry->mode);

	if (type < 0)
		return bad(it, row, "an entry has an unknown mode");
	return type == 0 ? BOLE_OK : link_to(it, row, &entry->oid, (uint8_t)type);
}

enum bole_status bole_intake_entry_link(struct intake *it, uint32_t row, struct bole_bytes rest)
{
	struct bole_tree_entry entry;

	if (bole_tree_next(&rest, it->algo, &entry) != BOLE_OK)
		return bad(it, row, "malformed");
	return entry_link(it, row, &entry);
}

/* Order, names and odd modes are the business of fsck.c. */
static enum bole_status tree_links(struct intake *it, uint32_t row, struct bole_bytes rest)
{
	struct bole_tree_entry entry;
	enum bole_status rc;

	while ((rc = bole_tree_next(&rest, it->algo, &entry)) == BOLE_OK)
		BOLE_TRY(entry_link(it, row, &entry));
	return rc == BOLE_END ? BOLE_OK : bad(it, row, "malformed");
}

/* -- Where history ends -- */

static bool is_on(const struct bole_id_list *list, const struct bole_oid *oid)
{
	return list != NULL && list->count > 0 && bole_id_list_find(list, oid) != BOLE_OID_NONE;
}

static enum bole_status doubt(struct intake *it, uint32_t row, const struct bole_oid *parent)
{
	if (it->doubtful_count == it->doubtful_cap) {
		uint32_t cap = it->doubtful_cap == 0 ? DOUBTFUL_FIRST : it->doubtful_cap * 2;
		void *grown = cap <= it->doubtful_cap
		                      ? NULL
		                      : bole_alloc_resize(it->alloc, it->doubtful, it->doubtful_cap,
		                                          cap, sizeof *it->doubtful);

		if (grown == NULL)
			return BOLE_E_NO_MEMORY;
		it->doubtful = grown;
		it->doubtful_cap = cap;
	}
	it->doubtful[it->doubtful_count++] = (struct intake_parent){row, *parent};
	return BOLE_OK;
}

/* Parents that the sender need not have sent: what of them is here says which commits are cut. */
static enum bole_status settle_doubts(struct intake *it)
{
	uint32_t last = BOLE_OID_NONE;
	struct bole_entry entry;

	for (uint32_t i = 0; i < it->doubtful_count; i++) {
		const struct intake_parent *p = &it->doubtful[i];
		uint32_t item = bole_oid_index_find(&it->known, p->oid.bytes);
		enum bole_status rc = BOLE_OK;

		if (item != BOLE_OID_NONE)
			entry.type = it->rows[item].type & INTAKE_TYPE_MASK;
		else
			rc = bole_odb_find(it->job->tx->view, &p->oid, &entry);
		if (rc == BOLE_OK && entry.type != BOLE_OBJECT_COMMIT)
			return link_wrong(it, p->row, &p->oid, entry.type, BOLE_OBJECT_COMMIT);
		if (rc == BOLE_E_NOT_FOUND && p->row != last) {
			last = p->row;
			it->report->cut++;
			rc = it->job->cut == NULL
			             ? BOLE_OK
			             : bole_id_list_add_once(it->job->cut, &it->rows[last].oid,
			                                     SIZE_MAX);
		}
		if (rc != BOLE_E_NOT_FOUND)
			BOLE_TRY(rc);
		BOLE_TRY(bole_intake_spend(it, 0));
	}
	return BOLE_OK;
}

static enum bole_status commit_links(struct intake *it, uint32_t row, struct bole_bytes content)
{
	struct bole_commit commit;
	struct bole_oid parent;

	if (bole_commit_parse(content, it->algo, &commit) != BOLE_OK)
		return bad(it, row, "malformed");
	BOLE_TRY(link_to(it, row, &commit.tree, BOLE_OBJECT_TREE));
	if (is_on(it->job->ends, &it->rows[row].oid))
		return BOLE_OK;
	bool cut = is_on(it->job->shallow, &it->rows[row].oid);
	for (size_t i = 0; i < commit.parent_count; i++) {
		bole_commit_parent(&commit, it->algo, i, &parent);
		BOLE_TRY(cut ? doubt(it, row, &parent)
		             : link_to(it, row, &parent, BOLE_OBJECT_COMMIT));
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

/* -- What the origin keeps -- */

static enum bole_status is_missing(struct intake *it, const struct bole_oid *oid,
                                   const struct intake_need *need)
{
	char hex[BOLE_OID_HEX_MAX + 1];
	char from[BOLE_OID_HEX_MAX + 1];
	bool may = need->type == BOLE_OBJECT_TREE || need->type == BOLE_OBJECT_BLOB;
	enum bole_status rc = may ? bole_promises_find(&it->promises, oid, (uint8_t)need->type)
	                          : BOLE_E_NOT_FOUND;

	if (rc == BOLE_E_NOT_FOUND && may && it->job->promisor) {
		rc = bole_promises_find(&it->promises, oid, 0);
		if (rc == BOLE_OK)
			return bole_intake_fail(
			        it, BOLE_E_INVALID,
			        "%s names %s as a %s, and it was named as another",
			        bole_oid_format(&it->rows[need->referrer].oid, from),
			        bole_oid_format(oid, hex),
			        bole_object_type_name((uint8_t)need->type));
		rc = rc == BOLE_E_NOT_FOUND ? BOLE_OK : rc;
	}
	if (rc == BOLE_E_NOT_FOUND)
		return bole_intake_fail(it, BOLE_E_INVALID, "missing %s %s referenced by %s",
		                        bole_object_type_name(need->type),
		                        bole_oid_format(oid, hex),
		                        bole_oid_format(&it->rows[need->referrer].oid, from));
	BOLE_TRY(rc);
	BOLE_TRY(bole_intake_special_later(it, oid));
	return bole_id_list_add(&it->missing[need->type == BOLE_OBJECT_BLOB], oid);
}

static enum bole_status record_missing(struct intake *it)
{
	static const uint8_t types[] = {BOLE_OBJECT_TREE, BOLE_OBJECT_BLOB};

	for (size_t i = 0; i < sizeof types; i++) {
		it->report->promised += it->missing[i].count;
		BOLE_TRY(bole_promise_stage(it->job->tx, it->job->platform, it->alloc, types[i],
		                            it->missing[i].ids, it->missing[i].count));
	}
	return bole_promise_stage_special(it->job->tx, it->job->platform, it->alloc,
	                                  &it->special_missing);
}

enum bole_status bole_intake_closure(struct intake *it)
{
	struct bole_entry entry;
	struct bole_oid oid;

	for (uint32_t i = 0; i < it->needed.count; i++) {
		const struct intake_need *need = bole_oid_map_value(&it->needed, i);

		bole_oid_from_raw(bole_oid_map_key(&it->needed, i), it->algo, &oid);
		enum bole_status rc = bole_odb_find(it->job->tx->view, &oid, &entry);

		if (rc == BOLE_OK && entry.type != need->type)
			return link_wrong(it, need->referrer, &oid, entry.type, need->type);
		if (rc == BOLE_E_NOT_FOUND)
			rc = it->job->later != NULL ? bole_intake_later(it, &oid, need->type)
			                            : is_missing(it, &oid, need);
		BOLE_TRY(rc);
		BOLE_TRY(bole_intake_spend(it, 0));
	}
	BOLE_TRY(record_missing(it));
	return settle_doubts(it);
}
