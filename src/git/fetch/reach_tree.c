/* SPDX-License-Identifier: ISC */
/* Trees: each distinct one is read once, and only after the map has said that it is new. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/fetch/reach.h"
#include "git/negotiate.h"
#include "git/refs/ref_view.h"

uint8_t bole_reach_link_type(uint32_t mode)
{
	if (mode == BOLE_MODE_TREE)
		return BOLE_OBJECT_TREE;
	return mode == BOLE_MODE_SUBMODULE ? 0 : BOLE_OBJECT_BLOB;
}

static struct reach_seen *seen_slot(const struct bole_pack_plan *plan, const struct bole_oid *oid)
{
	return &plan->seen[bole_get_le32(oid->bytes) & (REACH_SEEN - 1)];
}

static bool seen_with(const struct reach_seen *seen, const struct bole_oid *oid, uint8_t type,
                      uint8_t flags)
{
	return seen->type == type && (seen->flags & flags) != 0 &&
	       memcmp(seen->oid, oid->bytes, sizeof(seen->oid)) == 0;
}

/* Gives flag to everything below tree that has neither it nor REACH_HAVE. */
static enum bole_status spread(struct bole_pack_plan *plan, uint32_t tree, uint8_t flag)
{
	struct reach_list *stack = &plan->stack;
	struct reach_value *value = reach_value(plan, tree);
	bool without_blobs = plan->filter.blob_limit == 0; /* it keeps all of them out anyway */

	if ((value->flags & (flag | REACH_HAVE)) != 0)
		return BOLE_OK;
	value->flags |= flag;
	BOLE_TRY(bole_reach_list_add(plan, stack, tree));
	while (stack->count > 0) {
		struct bole_tree_entry entry;
		struct bole_bytes rest;
		enum bole_status rc;

		rc = bole_reach_read(plan, stack->items[--stack->count], &rest);
		/* What the receiver has need not be known; what it is promised it does not get. */
		if (rc == BOLE_E_PROMISED && (flag == REACH_HAVE || plan->job.leave_promised))
			continue;
		BOLE_TRY(rc);
		while ((rc = bole_tree_next(&rest, plan->algo, &entry)) == BOLE_OK) {
			uint8_t type = bole_reach_link_type(entry.mode);
			struct reach_seen *seen = seen_slot(plan, &entry.oid);
			uint32_t item;

			if (type == 0 || (type == BOLE_OBJECT_BLOB && without_blobs) ||
			    seen_with(seen, &entry.oid, type, flag | REACH_HAVE))
				continue;
			BOLE_TRY(bole_reach_meet(plan, &entry.oid, type, &item));
			value = reach_value(plan, item);
			memcpy(seen->oid, entry.oid.bytes, sizeof(seen->oid));
			seen->type = type;
			seen->flags = value->flags | flag;
			if ((value->flags & (flag | REACH_HAVE)) != 0)
				continue;
			value->flags |= flag;
			plan->done++;
			if (type == BOLE_OBJECT_TREE)
				BOLE_TRY(bole_reach_list_add(plan, stack, item));
		}
		if (rc != BOLE_END)
			return BOLE_E_CORRUPT;
	}
	return BOLE_OK;
}

enum bole_status bole_reach_tree_have(struct bole_pack_plan *plan, uint32_t tree)
{
	return spread(plan, tree, REACH_HAVE);
}

static enum bole_status edge_tree(struct bole_pack_plan *plan, uint32_t item)
{
	struct bole_bytes content;
	struct bole_commit commit;
	uint32_t tree;

	BOLE_TRY(bole_reach_read(plan, item, &content));
	if (bole_commit_parse(content, plan->algo, &commit) != BOLE_OK)
		return BOLE_E_CORRUPT;
	BOLE_TRY(bole_reach_meet(plan, &commit.tree, BOLE_OBJECT_TREE, &tree));
	return bole_reach_tree_have(plan, tree);
}

/* The trees of the commits where the histories part: what they hold is not sent again. Where
 * parents are hidden no commit leads from what is sent to what the receiver has; then the commits
 * that it named are the edge. */
static enum bole_status edge_trees(struct bole_pack_plan *plan)
{
	uint32_t met = plan->map.count;

	for (uint32_t i = 0; i < met; i++) {
		const struct reach_value *value = reach_value(plan, i);

		if ((value->flags & (REACH_EDGE | REACH_HAVE)) == (REACH_EDGE | REACH_HAVE))
			BOLE_TRY(edge_tree(plan, i));
	}
	if (plan->job.grafts == NULL || plan->job.grafts->count == 0)
		return BOLE_OK;
	for (size_t i = 0; i < plan->job.have_count; i++) {
		uint32_t item = bole_oid_map_find(&plan->map, plan->job.haves[i].bytes);

		if (item != BOLE_OID_NONE && reach_value(plan, item)->type == BOLE_OBJECT_COMMIT)
			BOLE_TRY(edge_tree(plan, item));
	}
	return BOLE_OK;
}

static enum bole_status choose_tree(struct bole_pack_plan *plan, uint32_t tree)
{
	return plan->filter.active ? bole_reach_filtered(plan, tree)
	                           : spread(plan, tree, REACH_SEND);
}

enum bole_status bole_reach_trees(struct bole_pack_plan *plan)
{
	bool commits = (plan->filter.types & 1U << BOLE_OBJECT_COMMIT) != 0;

	BOLE_TRY(edge_trees(plan));
	BOLE_ASSERT(plan->roots.count == plan->sent.count);
	for (size_t i = 0; i < plan->roots.count; i++) {
		struct reach_value *value = reach_value(plan, plan->sent.items[i]);

		/* A commit may have been painted after it was met. */
		if ((value->flags & REACH_HAVE) != 0)
			continue;
		if (commits || (value->flags & REACH_WANT) != 0)
			value->flags |= REACH_SEND;
		BOLE_TRY(choose_tree(plan, plan->roots.items[i]));
	}
	for (size_t i = 0; i < plan->trees.count; i++)
		BOLE_TRY(choose_tree(plan, plan->trees.items[i]));
	if (plan->filter.active)
		bole_reach_filter_end(plan);
	return BOLE_OK;
}

/* -- Tags -- */

static bool is_sent(const struct bole_pack_plan *plan, const struct bole_oid *oid)
{
	uint32_t item = bole_oid_map_find(&plan->map, oid->bytes);

	return item != BOLE_OID_NONE &&
	       (reach_value(plan, item)->flags & (REACH_SEND | REACH_HAVE)) == REACH_SEND;
}

/* Walks from a tag to what it finally names. With add, the tags on the way are chosen. */
static enum bole_status follow_tag(struct bole_pack_plan *plan, struct bole_oid *oid, bool add)
{
	struct bole_bytes content;
	struct bole_tag tag;
	uint8_t type;
	uint32_t item;

	for (;;) {
		BOLE_TRY(bole_object_read(plan->reader, oid, &type, &content));
		BOLE_TRY(bole_reach_spend(plan, content.len));
		if (type != BOLE_OBJECT_TAG)
			return BOLE_OK;
		if (bole_tag_parse(content, plan->algo, &tag) != BOLE_OK)
			return BOLE_E_CORRUPT;
		if (add) {
			BOLE_TRY(bole_reach_meet(plan, oid, BOLE_OBJECT_TAG, &item));
			reach_value(plan, item)->flags |= REACH_SEND;
		}
		*oid = tag.target;
		if (tag.target_type != BOLE_OBJECT_TAG)
			return BOLE_OK;
	}
}

enum bole_status bole_reach_tags(struct bole_pack_plan *plan)
{
	const struct bole_ref_view everything = {0};
	const struct bole_ref_view *view = plan->job.refs != NULL ? plan->job.refs : &everything;
	struct bole_bytes prefix = bole_bytes_z("refs/tags/");
	struct bole_ref ref = {0};
	enum bole_status rc;

	while ((rc = bole_ref_view_next(view, plan->job.snapshot, prefix, ref.name, &ref)) ==
	       BOLE_OK) {
		struct bole_oid target = ref.peeled;
		struct bole_entry entry;

		if (ref.symbolic)
			continue;
		if (!ref.has_peeled) {
			BOLE_TRY(bole_odb_find(plan->job.snapshot, &ref.oid, &entry));
			if (entry.type != BOLE_OBJECT_TAG)
				continue;
			target = ref.oid;
			BOLE_TRY(follow_tag(plan, &target, false));
		}
		if (!is_sent(plan, &target))
			continue;
		target = ref.oid;
		BOLE_TRY(follow_tag(plan, &target, true));
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}
