/* SPDX-License-Identifier: ISC */
/* Commits are met newest first. What a have reaches is painted REACH_HAVE, and the paint follows to
 * commits that were met before it came. The walk ends when no wanted commit waits and the queue has
 * gone past the oldest wanted one; clocks that ran backwards can at worst make the pack larger. */
#include "git/fetch/reach.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "bole/store.h"
#include "git/negotiate.h"

enum {
	WORK_YIELD = 32 * 1024, /* about a million instructions */
	WORK_OBJECT = 128,
	PROGRESS_NS = 250 * 1000 * 1000,
	SLOP = 8, /* commits to go on with after the walk seems done, for clocks that are wrong */
	LIST_FIRST = 256,
};

enum bole_status bole_reach_spend(struct bole_pack_plan *plan, size_t bytes)
{
	const struct bole_reach *job = &plan->job;

	plan->work += bytes + WORK_OBJECT;
	if (plan->work < WORK_YIELD)
		return BOLE_OK;
	plan->work = 0;
	job->platform->ops->yield(job->platform);
	if (job->cancelled != NULL && job->cancelled(job->cancelled_ctx))
		return BOLE_E_CLOSED;
	if (job->progress == NULL)
		return BOLE_OK;
	uint64_t now = job->platform->ops->now_ns(job->platform);

	if (now - plan->tick_ns >= PROGRESS_NS) {
		plan->tick_ns = now;
		job->progress(job->progress_ctx, plan->phase, plan->done, plan->total);
	}
	return BOLE_OK;
}

enum bole_status bole_reach_list_add(struct bole_pack_plan *plan, struct reach_list *list,
                                     uint32_t item)
{
	if (list->count == list->cap) {
		size_t cap = list->cap == 0 ? LIST_FIRST : list->cap * 2;
		uint32_t *items = bole_alloc_resize(plan->job.alloc, list->items, list->cap, cap,
		                                    sizeof(*items));

		if (items == NULL)
			return BOLE_E_NO_MEMORY;
		list->items = items;
		list->cap = cap;
	}
	list->items[list->count++] = item;
	return BOLE_OK;
}

/* -- Items -- */

void bole_reach_entry(const struct bole_pack_plan *plan, uint32_t item, struct bole_entry *out)
{
	const struct reach_value *value = reach_value(plan, item);

	*out = (struct bole_entry){.extent = reach_get64(value->extent),
	                           .offset = reach_get64(value->offset),
	                           .stored_bytes =
	                                   (uint64_t)value->stored_high << 32 | value->stored_low,
	                           .type = value->type};
}

static enum bole_status complain(struct bole_pack_plan *plan, uint32_t item, const char *what)
{
	char hex[BOLE_OID_HEX_MAX + 1];
	struct bole_oid oid;

	bole_oid_from_raw(bole_oid_map_key(&plan->map, item), plan->algo, &oid);
	bole_log(plan->job.platform, BOLE_LOG_ERROR, "repository %s: object %s %s",
	         plan->job.snapshot->repo.name, bole_oid_format(&oid, hex), what);
	return BOLE_E_CORRUPT;
}

enum bole_status bole_reach_meet(struct bole_pack_plan *plan, const struct bole_oid *oid,
                                 uint8_t type, uint32_t *item)
{
	bool added;

	BOLE_TRY(bole_oid_map_put(&plan->map, oid->bytes, item, &added));
	struct reach_value *value = reach_value(plan, *item);

	if (value->type == 0)
		value->type = type;
	else if (type != 0 && value->type != type)
		return complain(plan, *item, "is named as two types");
	return BOLE_OK;
}

enum bole_status bole_reach_find(struct bole_pack_plan *plan, uint32_t item)
{
	struct reach_value *value = reach_value(plan, item);
	struct bole_entry entry;
	struct bole_oid oid;

	if ((value->flags & REACH_FOUND) != 0)
		return BOLE_OK;
	bole_oid_from_raw(bole_oid_map_key(&plan->map, item), plan->algo, &oid);
	enum bole_status rc = bole_odb_find(plan->job.snapshot, &oid, &entry);

	if (rc == BOLE_E_NOT_FOUND) {
		rc = bole_promises_find(&plan->promises, &oid, value->type);
		if (rc == BOLE_E_NOT_FOUND)
			return complain(plan, item, "is missing");
		return rc == BOLE_OK ? BOLE_E_PROMISED : rc;
	}
	BOLE_TRY(rc);
	if (value->type != 0 && value->type != entry.type)
		return complain(plan, item, "is of another type than its link says");
	if (entry.stored_bytes >> 48 != 0)
		return BOLE_E_LIMIT;
	reach_set64(value->extent, entry.extent);
	reach_set64(value->offset, entry.offset);
	value->stored_low = (uint32_t)entry.stored_bytes;
	value->stored_high = (uint16_t)(entry.stored_bytes >> 32);
	value->type = entry.type;
	value->flags |= REACH_FOUND;
	return BOLE_OK;
}

enum bole_status bole_reach_read(struct bole_pack_plan *plan, uint32_t item, struct bole_bytes *out)
{
	struct bole_entry entry;

	BOLE_TRY(bole_reach_find(plan, item));
	bole_reach_entry(plan, item, &entry);
	BOLE_TRY(bole_object_read_entry(plan->reader, &entry, out));
	return bole_reach_spend(plan, out->len);
}

/* -- The queue -- */

static bool newer(const struct reach_queued *a, const struct reach_queued *b)
{
	return a->date != b->date ? a->date > b->date : a->item < b->item;
}

static enum bole_status queue_push(struct bole_pack_plan *plan, struct reach_queued queued)
{
	if (plan->queue_count == plan->queue_cap) {
		size_t cap = plan->queue_cap == 0 ? LIST_FIRST : plan->queue_cap * 2;
		struct reach_queued *queue = bole_alloc_resize(
		        plan->job.alloc, plan->queue, plan->queue_cap, cap, sizeof(*queue));
		if (queue == NULL)
			return BOLE_E_NO_MEMORY;
		plan->queue = queue;
		plan->queue_cap = cap;
	}
	size_t at = plan->queue_count++;

	while (at > 0 && newer(&queued, &plan->queue[(at - 1) / 2])) {
		plan->queue[at] = plan->queue[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	plan->queue[at] = queued;
	return BOLE_OK;
}

static struct reach_queued queue_pop(struct bole_pack_plan *plan)
{
	struct reach_queued top = plan->queue[0];
	struct reach_queued last = plan->queue[--plan->queue_count];
	size_t at = 0;

	for (;;) {
		size_t child = at * 2 + 1;

		if (child >= plan->queue_count)
			break;
		if (child + 1 < plan->queue_count &&
		    newer(&plan->queue[child + 1], &plan->queue[child]))
			child++;
		if (!newer(&plan->queue[child], &last))
			break;
		plan->queue[at] = plan->queue[child];
		at = child;
	}
	plan->queue[at] = last;
	return top;
}

/* -- Painting -- */

static enum bole_status read_commit(struct bole_pack_plan *plan, uint32_t item,
                                    struct bole_commit *commit)
{
	struct bole_bytes content;

	BOLE_TRY(bole_reach_read(plan, item, &content));
	if (bole_commit_parse(content, plan->algo, commit) != BOLE_OK)
		return complain(plan, item, "is no commit that can be read");
	if (plan->job.grafts != NULL && plan->job.grafts->count > 0) {
		struct bole_oid oid;

		bole_oid_from_raw(bole_oid_map_key(&plan->map, item), plan->algo, &oid);
		if (bole_id_list_find(plan->job.grafts, &oid) != BOLE_OID_NONE)
			commit->parent_count = 0;
	}
	return BOLE_OK;
}

static enum bole_status enqueue(struct bole_pack_plan *plan, uint32_t item)
{
	struct reach_value *value = reach_value(plan, item);
	struct bole_commit commit;

	if ((value->flags & (REACH_QUEUED | REACH_WALKED)) != 0)
		return BOLE_OK;
	BOLE_TRY(read_commit(plan, item, &commit));
	BOLE_TRY(queue_push(plan, (struct reach_queued){commit.commit_time, item}));
	value->flags |= REACH_QUEUED;
	if ((value->flags & REACH_HAVE) == 0)
		plan->queue_wanted++;
	return BOLE_OK;
}

/* Paints a commit, and everything behind it that was met already. */
static enum bole_status paint_have(struct bole_pack_plan *plan, uint32_t start)
{
	struct bole_commit commit;
	struct bole_oid parent;
	uint32_t item;

	BOLE_TRY(bole_reach_list_add(plan, &plan->stack, start));
	while (plan->stack.count > 0) {
		uint32_t at = plan->stack.items[--plan->stack.count];
		struct reach_value *value = reach_value(plan, at);

		if ((value->flags & REACH_HAVE) != 0)
			continue;
		value->flags |= REACH_HAVE;
		if ((value->flags & REACH_QUEUED) != 0)
			plan->queue_wanted--;
		if ((value->flags & REACH_WALKED) == 0)
			continue;
		BOLE_TRY(read_commit(plan, at, &commit));
		for (size_t i = 0; i < commit.parent_count; i++) {
			bole_commit_parent(&commit, plan->algo, i, &parent);
			BOLE_TRY(bole_reach_meet(plan, &parent, BOLE_OBJECT_COMMIT, &item));
			BOLE_TRY(bole_reach_list_add(plan, &plan->stack, item));
		}
	}
	return BOLE_OK;
}

static enum bole_status walk_commit(struct bole_pack_plan *plan, struct reach_queued queued)
{
	struct reach_value *value = reach_value(plan, queued.item);
	bool have = (value->flags & REACH_HAVE) != 0;
	struct bole_commit commit;
	struct bole_oid parent;
	uint32_t item;

	value->flags = (uint8_t)((value->flags & ~REACH_QUEUED) | REACH_WALKED);
	BOLE_TRY(read_commit(plan, queued.item, &commit));
	if (!have) {
		plan->queue_wanted--;
		plan->done++;
		if (queued.date < plan->oldest_wanted)
			plan->oldest_wanted = queued.date;
		BOLE_TRY(bole_reach_meet(plan, &commit.tree, BOLE_OBJECT_TREE, &item));
		BOLE_TRY(bole_reach_list_add(plan, &plan->sent, queued.item));
		BOLE_TRY(bole_reach_list_add(plan, &plan->roots, item));
	}
	for (size_t i = 0; i < commit.parent_count; i++) {
		/* enqueue reads the parent, which ends the loan of this commit's bytes. */
		if (i > 0)
			BOLE_TRY(read_commit(plan, queued.item, &commit));
		bole_commit_parent(&commit, plan->algo, i, &parent);
		BOLE_TRY(bole_reach_meet(plan, &parent, BOLE_OBJECT_COMMIT, &item));
		if (have)
			BOLE_TRY(paint_have(plan, item));
		else
			reach_value(plan, item)->flags |= REACH_EDGE;
		BOLE_TRY(enqueue(plan, item));
	}
	return BOLE_OK;
}

/* -- The tips -- */

static enum bole_status note_tip(struct bole_pack_plan *plan, uint32_t item, bool have)
{
	struct reach_value *value = reach_value(plan, item);

	if (!have)
		value->flags |= REACH_WANT;
	switch (value->type) {
	case BOLE_OBJECT_COMMIT:
		if (have)
			BOLE_TRY(paint_have(plan, item));
		return enqueue(plan, item);
	case BOLE_OBJECT_TREE:
		return have ? bole_reach_tree_have(plan, item)
		            : bole_reach_list_add(plan, &plan->trees, item);
	default: value->flags |= have ? REACH_HAVE : REACH_SEND; return BOLE_OK;
	}
}

/* A want or a have, and what it names if it is a tag. */
static enum bole_status add_tip(struct bole_pack_plan *plan, const struct bole_oid *oid, bool have)
{
	struct bole_oid target = *oid;
	uint8_t type = 0;

	for (;;) {
		struct bole_bytes content;
		struct bole_entry entry;
		struct bole_tag tag;
		uint32_t item;

		if (type == 0) /* named by the caller: may be unknown, which is no damage */
			BOLE_TRY(bole_odb_find(plan->job.snapshot, &target, &entry));
		BOLE_TRY(bole_reach_meet(plan, &target, type, &item));
		BOLE_TRY(bole_reach_find(plan, item));
		BOLE_TRY(note_tip(plan, item, have));
		if (reach_value(plan, item)->type != BOLE_OBJECT_TAG)
			return BOLE_OK;
		BOLE_TRY(bole_reach_read(plan, item, &content));
		if (bole_tag_parse(content, plan->algo, &tag) != BOLE_OK)
			return complain(plan, item, "is no tag that can be read");
		target = tag.target;
		type = tag.target_type;
	}
}

enum bole_status bole_reach_commits(struct bole_pack_plan *plan)
{
	int slop = SLOP;

	plan->oldest_wanted = INT64_MAX;
	for (size_t i = 0; i < plan->job.have_count; i++)
		BOLE_TRY(add_tip(plan, &plan->job.haves[i], true));
	for (size_t i = 0; i < plan->job.want_count; i++)
		BOLE_TRY(add_tip(plan, &plan->job.wants[i], false));
	while (plan->queue_count > 0) {
		if (plan->queue_wanted == 0 && plan->queue[0].date < plan->oldest_wanted) {
			if (slop-- == 0)
				break;
		} else {
			slop = SLOP;
		}
		BOLE_TRY(walk_commit(plan, queue_pop(plan)));
	}
	return BOLE_OK;
}
