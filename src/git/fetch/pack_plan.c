/* SPDX-License-Identifier: ISC */
/* From a walk to the list of what is sent. */
#include "base/check.h"
#include "base/memory.h"
#include "git/bitmap/pick.h"
#include "git/fetch/filter.h"
#include "git/fetch/reach.h"
#include "git/negotiate.h"
#include "git/refs/ref_view.h"

enum {
	DIGITS = 256,
	PLACE_DIGITS = 16,
	SORT_WORK = 4 * 1024, /* of a thousand items */
	CLOSE_OBJECTS = 1024, /* forgotten between two yields */
};

/* A digit of where an item lies: byte 0 is the least significant of its offset, byte 8 of the
 * number of its extent. */
static uint8_t place_digit(const struct bole_pack_plan *plan, uint32_t item, unsigned digit)
{
	const struct reach_value *value = reach_value(plan, item);
	uint64_t part = reach_get64(digit < 8 ? value->offset : value->extent);

	return (uint8_t)(part >> 8 * (digit % 8));
}

/* Which bits are not the same in all places. */
static enum bole_status places_differ(struct bole_pack_plan *plan, uint64_t *extent,
                                      uint64_t *offset)
{
	const struct reach_value *first = reach_value(plan, plan->order[0]);
	uint64_t extent_first = reach_get64(first->extent);
	uint64_t offset_first = reach_get64(first->offset);

	*extent = 0;
	*offset = 0;
	for (size_t i = 0; i < plan->order_count; i++) {
		const struct reach_value *value = reach_value(plan, plan->order[i]);

		*extent |= reach_get64(value->extent) ^ extent_first;
		*offset |= reach_get64(value->offset) ^ offset_first;
		if ((i & 1023) == 1023)
			BOLE_TRY(bole_reach_spend(plan, SORT_WORK));
	}
	return BOLE_OK;
}

static enum bole_status sort_digit(struct bole_pack_plan *plan, unsigned digit,
                                   const uint32_t *from, uint32_t *to)
{
	uint32_t at[DIGITS] = {0};
	uint32_t sum = 0;

	for (size_t i = 0; i < plan->order_count; i++) {
		at[place_digit(plan, from[i], digit)]++;
		if ((i & 1023) == 1023)
			BOLE_TRY(bole_reach_spend(plan, SORT_WORK));
	}
	for (size_t i = 0; i < DIGITS; i++) {
		uint32_t n = at[i];

		at[i] = sum;
		sum += n;
	}
	for (size_t i = 0; i < plan->order_count; i++) {
		to[at[place_digit(plan, from[i], digit)]++] = from[i];
		if ((i & 1023) == 1023)
			BOLE_TRY(bole_reach_spend(plan, SORT_WORK));
	}
	return BOLE_OK;
}

/* A radix sort of the places, over the digits in which they differ: three or four, mostly. */
static enum bole_status sort_order(struct bole_pack_plan *plan)
{
	size_t n = plan->order_count;
	uint64_t extent, offset;

	BOLE_TRY(places_differ(plan, &extent, &offset));
	uint32_t *spare = bole_alloc_array(plan->job.alloc, n, sizeof(*spare));
	enum bole_status rc = spare == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;

	for (unsigned digit = 0; digit < PLACE_DIGITS && rc == BOLE_OK; digit++) {
		uint64_t differs = digit < 8 ? offset : extent;

		if ((differs >> 8 * (digit % 8) & (DIGITS - 1)) == 0)
			continue;
		rc = sort_digit(plan, digit, plan->order, spare);
		uint32_t *swap = plan->order;

		plan->order = spare;
		spare = swap;
	}
	bole_alloc_free(plan->job.alloc, spare, n, sizeof(*spare));
	return rc;
}

/* Blobs that come from elsewhere. They are no bases either: nobody knows when they are there. */
static enum bole_status leave_out(struct bole_pack_plan *plan)
{
	for (size_t i = 0; i < plan->job.elsewhere_count; i++) {
		struct bole_packfile_uri *row = &plan->job.elsewhere[i];
		uint32_t item = bole_oid_map_find(&plan->map, row->oid.bytes);

		if (item == BOLE_OID_NONE)
			continue;
		uint8_t flags = reach_value(plan, item)->flags;

		if ((flags & (REACH_SEND | REACH_HAVE)) != REACH_SEND)
			continue;
		BOLE_TRY(bole_reach_find(plan, item));
		if (reach_value(plan, item)->type != BOLE_OBJECT_BLOB)
			continue;
		reach_value(plan, item)->flags &= (uint8_t)~REACH_SEND;
		row->left_out = true;
	}
	return BOLE_OK;
}

static enum bole_status choose(struct bole_pack_plan *plan)
{
	uint32_t met = plan->map.count;
	size_t count = 0;

	BOLE_TRY(leave_out(plan));
	for (uint32_t i = 0; i < met; i++) {
		uint8_t flags = reach_value(plan, i)->flags;

		count += (flags & (REACH_SEND | REACH_HAVE)) == REACH_SEND;
	}
	if (count == 0)
		return BOLE_OK;
	plan->order = bole_alloc_array(plan->job.alloc, count, sizeof(*plan->order));
	if (plan->order == NULL)
		return BOLE_E_NO_MEMORY;
	plan->order_cap = count;
	for (uint32_t i = 0; i < met; i++) {
		uint8_t flags = reach_value(plan, i)->flags;

		if ((flags & (REACH_SEND | REACH_HAVE)) != REACH_SEND)
			continue;
		enum bole_status rc = bole_reach_find(plan, i);
		if (rc == BOLE_E_PROMISED && plan->job.leave_promised) {
			reach_value(plan, i)->flags &= (uint8_t)~REACH_SEND;
			continue;
		}
		BOLE_TRY(rc);
		plan->order[plan->order_count++] = i;
		BOLE_TRY(bole_reach_spend(plan, 0));
	}
	BOLE_ASSERT(plan->order_count <= count);
	return plan->order_count == 0 ? BOLE_OK : sort_order(plan);
}

static void list_release(struct bole_pack_plan *plan, struct reach_list *list)
{
	bole_alloc_free(plan->job.alloc, list->items, list->cap, sizeof(*list->items));
	*list = (struct reach_list){0};
}

/* What only the walk needs goes before the pack is written. */
static void walk_release(struct bole_pack_plan *plan)
{
	bole_alloc_free(plan->job.alloc, plan->queue, plan->queue_cap, sizeof(*plan->queue));
	plan->queue = NULL;
	plan->queue_cap = 0;
	bole_alloc_free(plan->job.alloc, plan->seen, REACH_SEEN, sizeof(*plan->seen));
	plan->seen = NULL;
	bole_reach_sparse_end(plan);
	list_release(plan, &plan->sent);
	list_release(plan, &plan->roots);
	list_release(plan, &plan->trees);
	list_release(plan, &plan->stack);
	list_release(plan, &plan->blobs);
}

static enum bole_status plan_walk(struct bole_pack_plan *plan)
{
	BOLE_TRY(bole_object_reader_open(plan->job.snapshot, plan->job.alloc, NULL, &plan->reader));
	plan->phase = "Counting objects";
	BOLE_TRY(bole_reach_commits(plan));
	BOLE_TRY(bole_reach_trees(plan));
	if (plan->job.include_tags)
		BOLE_TRY(bole_reach_tags(plan));
	return choose(plan);
}

static enum bole_status open_walk(const struct bole_reach *job, struct bole_pack_plan **out)
{
	struct bole_pack_plan *plan = bole_alloc_zeroed(job->alloc, 1, sizeof(*plan));

	*out = NULL;
	if (plan == NULL)
		return BOLE_E_NO_MEMORY;
	plan->job = *job;
	plan->algo = job->snapshot->repo.algo;
	if (job->filter != NULL)
		plan->filter = *job->filter;
	else
		bole_filter_init(&plan->filter);
	bole_oid_map_init(&plan->map, job->platform, job->alloc, plan->algo,
	                  sizeof(struct reach_value));
	bole_promises_init(&plan->promises, job->platform, job->alloc, job->snapshot);
	plan->seen = bole_alloc_zeroed(job->alloc, REACH_SEEN, sizeof(*plan->seen));
	enum bole_status rc = plan->seen == NULL ? BOLE_E_NO_MEMORY : plan_walk(plan);

	walk_release(plan);
	if (rc != BOLE_OK) {
		bole_pack_plan_close(plan);
		return rc;
	}
	*out = plan;
	return BOLE_OK;
}

static enum bole_status pick_tick(void *ctx)
{
	const struct bole_reach *job = ctx;

	return job->cancelled != NULL && job->cancelled(job->cancelled_ctx) ? BOLE_E_CLOSED
	                                                                    : BOLE_OK;
}

static enum bole_status open_pick(const struct bole_reach *job, struct bole_pack_plan **out)
{
	struct bole_reach ticking = *job;
	struct bole_pick_job pick = {
	        .platform = job->platform,
	        .alloc = job->alloc,
	        .snapshot = job->snapshot,
	        .bitmap = job->bitmap,
	        .wants = job->wants,
	        .want_count = job->want_count,
	        .haves = job->haves,
	        .have_count = job->have_count,
	        .ends = job->grafts == NULL || job->grafts->count == 0 ? NULL : job->grafts,
	        .include_tags = job->include_tags,
	        .no_blobs = job->filter != NULL,
	        .no_trees = job->filter != NULL && job->filter->tree_depth == 0,
	        .tick = pick_tick,
	        .tick_ctx = &ticking,
	};
	struct bole_pack_plan *plan = bole_alloc_zeroed(job->alloc, 1, sizeof(*plan));

	if (plan == NULL)
		return BOLE_E_NO_MEMORY;
	plan->job = *job;
	plan->algo = job->snapshot->repo.algo;
	bole_oid_map_init(&plan->map, job->platform, job->alloc, plan->algo,
	                  sizeof(struct reach_value));
	enum bole_status rc = bole_pick_open(&pick, &plan->pick);

	if (rc != BOLE_OK) {
		bole_pack_plan_close(plan);
		return rc;
	}
	plan->pick->walk.tick = NULL; /* the job's own was for the plan */
	*out = plan;
	return BOLE_OK;
}

/* A clone without blobs, or without trees as well. Later fetches of such a clone may lack more than
 * the filter says. */
static bool is_by_type(const struct bole_reach *job)
{
	const struct bole_filter *f = job->filter;
	const unsigned history = 1U << BOLE_OBJECT_COMMIT | 1U << BOLE_OBJECT_TAG;

	if (job->have_count != 0 || f->sparse_len != 0 || (f->types & history) != history)
		return false;
	if (f->tree_depth == 0)
		return true;
	return f->tree_depth == UINT32_MAX && (f->types & 1U << BOLE_OBJECT_TREE) != 0 &&
	       (f->blob_limit == 0 || (f->types & 1U << BOLE_OBJECT_BLOB) == 0);
}

/* Sets know every tag. */
static bool may_pick(const struct bole_reach *job)
{
	const struct bole_ref_view *view = job->refs;

	return job->bitmap != NULL && job->elsewhere_count == 0 && job->ofs_delta &&
	       job->placed == NULL && (job->filter == NULL || is_by_type(job)) &&
	       (!job->include_tags || view == NULL ||
	        (view->space == NULL && view->hide_count == 0));
}

enum bole_status bole_pack_plan_open(const struct bole_reach *job, struct bole_pack_plan **out)
{
	bool behind = may_pick(job);

	*out = NULL;
	if (behind) {
		enum bole_status rc = open_pick(job, out);

		if (rc == BOLE_OK || rc == BOLE_E_CLOSED || rc == BOLE_E_GONE)
			return rc;
		behind = rc != BOLE_E_UNSUPPORTED && rc != BOLE_E_LIMIT;
	}
	BOLE_TRY(open_walk(job, out));
	(*out)->behind = behind;
	return BOLE_OK;
}

void bole_pack_plan_close(struct bole_pack_plan *plan)
{
	if (plan == NULL)
		return;
	struct bole_alloc *alloc = plan->job.alloc;

	walk_release(plan);
	bole_pick_close(plan->pick);
	while (plan->reader != NULL && bole_object_reader_shrink(plan->reader, CLOSE_OBJECTS))
		plan->job.platform->ops->yield(plan->job.platform);
	bole_alloc_free(alloc, plan->order, plan->order_cap, sizeof(*plan->order));
	bole_oid_map_release(&plan->map);
	bole_promises_release(&plan->promises);
	bole_object_reader_close(plan->reader);
	bole_alloc_free(alloc, plan, 1, sizeof(*plan));
}

bool bole_pack_plan_behind(const struct bole_pack_plan *plan)
{
	return plan->behind;
}

uint64_t bole_pack_plan_objects(const struct bole_pack_plan *plan)
{
	return plan->pick != NULL ? plan->pick->count : plan->order_count;
}
