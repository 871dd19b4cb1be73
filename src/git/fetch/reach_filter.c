/* SPDX-License-Identifier: ISC */
/* Trees under a filter. A tree counts by the least depth in which it is met, so one that comes
 * again nearer to a root is looked at again; without a bound of depth that never happens. */
#include "base/bytes.h"
#include "base/check.h"
#include "git/fetch/reach.h"

/* How deep an item was met is kept as depth + 2; a tree that is wanted by its id lies above the
 * depth 0 of those that commits name. */
enum { WANTED_MARK = 1, ROOT_MARK = 2 };

static bool lets_through(const struct bole_filter *filter, uint8_t type, uint32_t mark)
{
	if ((filter->types & 1U << type) == 0)
		return false;
	return filter->tree_depth == UINT32_MAX || mark < ROOT_MARK ||
	       mark - ROOT_MARK < filter->tree_depth;
}

/* Something below a tree at this depth may be let through. */
static bool worth_reading(const struct bole_filter *filter, uint32_t mark)
{
	const unsigned inner = 1U << BOLE_OBJECT_TREE | 1U << BOLE_OBJECT_BLOB;

	if ((filter->types & inner) == 0)
		return false;
	return filter->tree_depth == UINT32_MAX || mark + 1 - ROOT_MARK < filter->tree_depth;
}

/* What is promised is not here to be measured; where one blob:limit kept all of it out, it has at
 * least so many bytes. */
static enum bole_status too_long(struct bole_pack_plan *plan)
{
	struct bole_origin origin;
	struct bole_filter filter;
	const char *why;

	BOLE_TRY(bole_origin_load(plan->job.snapshot, plan->job.alloc, &origin));
	bole_filter_init(&filter);
	if (!origin.there || origin.mixed ||
	    bole_filter_parse(&filter, plan->job.alloc, bole_bytes_z(origin.filter), &why) !=
	            BOLE_OK ||
	    filter.kinds != BOLE_FILTER_BLOB_LIMIT || filter.blob_limit < plan->filter.blob_limit)
		return BOLE_E_PROMISED;
	return BOLE_OK;
}

static enum bole_status small_enough(struct bole_pack_plan *plan, uint32_t item, bool *out)
{
	struct bole_oid oid;
	uint64_t bytes = 0;

	*out = plan->filter.blob_limit == UINT64_MAX;
	if (*out || plan->filter.blob_limit == 0)
		return BOLE_OK;
	bole_oid_from_raw(bole_oid_map_key(&plan->map, item), plan->algo, &oid);
	enum bole_status rc = bole_object_size(plan->reader, &oid, NULL, &bytes);
	if (rc == BOLE_E_PROMISED)
		return too_long(plan);
	BOLE_TRY(rc);
	*out = bytes < plan->filter.blob_limit;
	return bole_reach_spend(plan, 0);
}

/* A blob is judged for its size once. Its bytes are looked up, which ends the loan of the tree's,
 * so that happens after the tree. */
enum bole_status bole_reach_filtered_blob(struct bole_pack_plan *plan, const struct bole_oid *oid,
                                          uint32_t mark)
{
	uint32_t item;

	if (plan->filter.blob_limit == 0 || !lets_through(&plan->filter, BOLE_OBJECT_BLOB, mark))
		return BOLE_OK;
	BOLE_TRY(bole_reach_meet(plan, oid, BOLE_OBJECT_BLOB, &item));
	struct reach_value *value = reach_value(plan, item);

	if ((value->flags & (REACH_HAVE | REACH_SEND)) != 0 || value->emitted[0] != 0)
		return BOLE_OK;
	value->emitted[0] = mark;
	return bole_reach_list_add(plan, &plan->blobs, item);
}

enum bole_status bole_reach_judge_blobs(struct bole_pack_plan *plan)
{
	bool fits;

	while (plan->blobs.count > 0) {
		uint32_t item = plan->blobs.items[--plan->blobs.count];

		BOLE_TRY(small_enough(plan, item, &fits));
		if (!fits)
			continue;
		reach_value(plan, item)->flags |= REACH_SEND;
		plan->done++;
	}
	return BOLE_OK;
}

bool bole_reach_choose_tree(struct bole_pack_plan *plan, uint32_t item, uint32_t mark)
{
	struct reach_value *value = reach_value(plan, item);

	if ((value->flags & REACH_SEND) == 0 &&
	    (mark == WANTED_MARK || lets_through(&plan->filter, BOLE_OBJECT_TREE, mark))) {
		value->flags |= REACH_SEND;
		plan->done++;
	}
	return worth_reading(&plan->filter, mark);
}

static enum bole_status meet_tree(struct bole_pack_plan *plan, uint32_t item, uint32_t mark)
{
	struct reach_value *value = reach_value(plan, item);

	if ((value->flags & REACH_HAVE) != 0)
		return BOLE_OK;
	if (value->emitted[0] != 0 && value->emitted[0] <= mark)
		return BOLE_OK;
	value->emitted[0] = mark;
	return bole_reach_choose_tree(plan, item, mark)
	               ? bole_reach_list_add(plan, &plan->stack, item)
	               : BOLE_OK;
}

uint32_t bole_reach_mark_below(const struct bole_pack_plan *plan, uint32_t mark)
{
	bool deep = plan->filter.tree_depth != UINT32_MAX;

	return deep || mark == WANTED_MARK ? mark + 1 : mark;
}

static enum bole_status look_into(struct bole_pack_plan *plan, uint32_t tree)
{
	uint32_t mark = bole_reach_mark_below(plan, reach_value(plan, tree)->emitted[0]);
	struct bole_tree_entry entry;
	struct bole_bytes rest;
	enum bole_status rc;
	uint32_t item;

	BOLE_TRY(bole_reach_read(plan, tree, &rest));
	while ((rc = bole_tree_next(&rest, plan->algo, &entry)) == BOLE_OK) {
		uint8_t type = bole_reach_link_type(entry.mode);

		if (type == BOLE_OBJECT_TREE) {
			BOLE_TRY(bole_reach_meet(plan, &entry.oid, type, &item));
			BOLE_TRY(meet_tree(plan, item, mark));
		} else if (type == BOLE_OBJECT_BLOB) {
			BOLE_TRY(bole_reach_filtered_blob(plan, &entry.oid, mark));
		}
	}
	return rc == BOLE_END ? bole_reach_judge_blobs(plan) : BOLE_E_CORRUPT;
}

enum bole_status bole_reach_filtered(struct bole_pack_plan *plan, uint32_t tree)
{
	bool wanted = (reach_value(plan, tree)->flags & REACH_WANT) != 0;
	uint32_t mark = wanted ? WANTED_MARK : ROOT_MARK;

	if (plan->filter.patterns != NULL)
		return bole_reach_sparse(plan, tree, mark);
	BOLE_TRY(meet_tree(plan, tree, mark));
	while (plan->stack.count > 0)
		BOLE_TRY(look_into(plan, plan->stack.items[--plan->stack.count]));
	return BOLE_OK;
}

void bole_reach_filter_end(struct bole_pack_plan *plan)
{
	for (uint32_t i = 0; i < plan->map.count; i++)
		reach_value(plan, i)->emitted[0] = 0;
}
