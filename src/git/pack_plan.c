/* SPDX-License-Identifier: ISC */
/* From a walk to the list of what is sent. */
#include "base/check.h"
#include "base/memory.h"
#include "git/reach.h"

static bool before(const struct bole_pack_plan *plan, uint32_t a, uint32_t b)
{
	const struct reach_value *x = reach_value(plan, a);
	const struct reach_value *y = reach_value(plan, b);
	uint64_t x_extent = reach_get64(x->extent), y_extent = reach_get64(y->extent);

	if (x_extent != y_extent)
		return x_extent < y_extent;
	return reach_get64(x->offset) < reach_get64(y->offset);
}

static enum bole_status merge(struct bole_pack_plan *plan, const uint32_t *from, size_t low,
                              size_t middle, size_t high, uint32_t *to)
{
	size_t left = low, right = middle;

	/* Halves that are in order already are common: packs are written near walk order. */
	bool sorted = middle >= high || !before(plan, from[middle], from[middle - 1]);

	for (size_t i = low; i < high; i++) {
		bool take_left = left < middle && (sorted || right >= high ||
		                                   !before(plan, from[right], from[left]));

		to[i] = take_left ? from[left++] : from[right++];
		if ((i & 1023) == 1023)
			BOLE_TRY(bole_reach_spend(plan, 16 * 1024));
	}
	return BOLE_OK;
}

/* Merge sort, bottom up; qsort has no context and no place to yield. */
static enum bole_status sort_order(struct bole_pack_plan *plan)
{
	size_t n = plan->order_count;
	uint32_t *other = bole_alloc_array(plan->job.alloc, n, sizeof(*other));
	uint32_t *from = plan->order, *to = other;
	enum bole_status rc = BOLE_OK;

	if (other == NULL)
		return BOLE_E_NO_MEMORY;
	for (size_t width = 1; width < n && rc == BOLE_OK; width *= 2) {
		for (size_t low = 0; low < n && rc == BOLE_OK; low += 2 * width) {
			size_t middle = n - low < width ? n : low + width;
			size_t high = n - low < 2 * width ? n : low + 2 * width;

			rc = merge(plan, from, low, middle, high, to);
		}
		uint32_t *swap = from;

		from = to;
		to = swap;
	}
	plan->order = from;
	bole_alloc_free(plan->job.alloc, to, n, sizeof(*to));
	return rc;
}

static enum bole_status choose(struct bole_pack_plan *plan)
{
	uint32_t met = plan->map.count;
	size_t count = 0;

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
		BOLE_TRY(bole_reach_find(plan, i));
		plan->order[plan->order_count++] = i;
		BOLE_TRY(bole_reach_spend(plan, 0));
	}
	BOLE_ASSERT(plan->order_count == count);
	return sort_order(plan);
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
	list_release(plan, &plan->sent);
	list_release(plan, &plan->roots);
	list_release(plan, &plan->stack);
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

enum bole_status bole_pack_plan_open(const struct bole_reach *job, struct bole_pack_plan **out)
{
	struct bole_pack_plan *plan = bole_alloc_zeroed(job->alloc, 1, sizeof(*plan));

	*out = NULL;
	if (plan == NULL)
		return BOLE_E_NO_MEMORY;
	plan->job = *job;
	plan->algo = job->snapshot->repo.algo;
	bole_oid_map_init(&plan->map, job->platform, job->alloc, plan->algo,
	                  sizeof(struct reach_value));
	enum bole_status rc = plan_walk(plan);

	walk_release(plan);
	if (rc != BOLE_OK) {
		bole_pack_plan_close(plan);
		return rc;
	}
	*out = plan;
	return BOLE_OK;
}

void bole_pack_plan_close(struct bole_pack_plan *plan)
{
	if (plan == NULL)
		return;
	struct bole_alloc *alloc = plan->job.alloc;

	walk_release(plan);
	bole_alloc_free(alloc, plan->order, plan->order_cap, sizeof(*plan->order));
	bole_oid_map_release(&plan->map);
	bole_object_reader_close(plan->reader);
	bole_alloc_free(alloc, plan, 1, sizeof(*plan));
}

uint64_t bole_pack_plan_objects(const struct bole_pack_plan *plan)
{
	return plan->order_count;
}
