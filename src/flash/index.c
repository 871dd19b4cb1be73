/* SPDX-License-Identifier: ISC */
/* Versions of a domain's index. */
#include "flash/index.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"

static void retain(_Atomic uint32_t *refs)
{
	atomic_fetch_add_explicit(refs, 1, memory_order_relaxed);
}

/* A version with room; arrays follow the struct in one block. */
static struct flash_index *index_new(struct bole_alloc *alloc, struct flash_domain *domain,
                                     uint32_t runs, uint32_t extents)
{
	size_t bytes = sizeof(struct flash_index) + (size_t)runs * sizeof(struct flash_rows *) +
	               2 * (size_t)extents * sizeof(struct flash_extent *);
	struct flash_index *index = bole_alloc_zeroed(alloc, bytes, 1);

	if (index == NULL)
		return NULL;
	atomic_init(&index->refs, 1);
	index->domain = domain;
	index->memory_bytes = bytes;
	index->extent = (struct flash_extent **)(void *)(index + 1);
	index->extent_by_id = index->extent + extents;
	index->run = (struct flash_rows **)(void *)(index->extent_by_id + extents);
	return index;
}

static void add_run(struct flash_index *index, struct flash_rows *run)
{
	index->run[index->runs++] = run;
	index->rows += run->count;
}

static void add_extent(struct flash_index *index, struct flash_extent *extent)
{
	uint32_t at = index->extents;

	index->extent[index->extents++] = extent;
	for (; at > 0 && index->extent_by_id[at - 1]->id > extent->id; at--)
		index->extent_by_id[at] = index->extent_by_id[at - 1];
	index->extent_by_id[at] = extent;
	index->rows += extent->rows;
}

enum bole_status bole_flash_index_extend(struct bole_alloc *alloc, struct flash_domain *domain,
                                         const struct flash_index *base, struct flash_rows *run,
                                         struct flash_extent *const *extents, uint32_t count,
                                         struct flash_index **out)
{
	uint32_t runs = base == NULL ? 0 : base->runs;
	uint32_t olds = base == NULL ? 0 : base->extents;
	struct flash_index *index = index_new(alloc, domain, runs + 1, olds + count);

	if (index == NULL)
		return BOLE_E_NO_MEMORY;
	for (uint32_t i = 0; i < runs; i++) {
		retain(&base->run[i]->refs);
		add_run(index, base->run[i]);
	}
	for (uint32_t i = 0; i < olds; i++) {
		retain(&base->extent[i]->refs);
		add_extent(index, base->extent[i]);
	}
	if (run != NULL)
		add_run(index, run);
	for (uint32_t i = 0; i < count; i++)
		add_extent(index, extents[i]);
	*out = index;
	return BOLE_OK;
}

/* The tier to merge, or UINT32_MAX. */
static uint32_t full_tier(const struct flash_index *index)
{
	for (uint32_t tier = 0; tier < 32; tier++) {
		uint32_t same = 0;
		for (uint32_t i = 0; i < index->runs; i++)
			same += index->run[i]->tier == tier;
		if (same >= INDEX_TIER_RUNS)
			return tier;
	}
	return UINT32_MAX;
}

struct merge {
	struct flash_rows *in[INDEX_TIER_RUNS];
	uint32_t at[INDEX_TIER_RUNS];
	uint32_t count;
};

enum { MERGE_YIELD_ROWS = 8192 };

static void merge_rows(struct merge *m, struct flash_rows *out, void (*yield)(void *), void *ctx)
{
	for (uint32_t n = 0; n < out->count; n++) {
		uint32_t best = UINT32_MAX;
		const uint8_t *best_key = NULL;
		for (uint32_t i = 0; i < m->count; i++) {
			if (m->at[i] == m->in[i]->count)
				continue;
			const uint8_t *key = bole_flash_rows_key(m->in[i], m->at[i]);
			if (best == UINT32_MAX || memcmp(key, best_key, out->key_len) < 0) {
				best = i;
				best_key = key;
			}
		}
		BOLE_ASSERT(best != UINT32_MAX);
		m->at[best]++;
		memcpy(out->rows + n * bole_flash_rows_width(out->key_len), best_key,
		       bole_flash_rows_width(out->key_len));
		if (n % MERGE_YIELD_ROWS == MERGE_YIELD_ROWS - 1)
			yield(ctx);
	}
}

enum bole_status bole_flash_index_merge(struct bole_alloc *alloc, const struct flash_index *base,
                                        void (*yield)(void *), void *ctx, struct flash_index **out)
{
	struct merge m = {.count = 0};
	uint64_t total = 0;
	uint32_t tier = full_tier(base);

	*out = NULL;
	if (tier == UINT32_MAX)
		return BOLE_OK;
	struct flash_index *index = index_new(alloc, base->domain, base->runs, base->extents);
	if (index == NULL)
		return BOLE_E_NO_MEMORY;
	for (uint32_t i = 0; i < base->runs; i++) {
		struct flash_rows *run = base->run[i];
		if (run->tier == tier && m.count < INDEX_TIER_RUNS) {
			m.in[m.count++] = run;
			total += run->count;
			continue;
		}
		retain(&run->refs);
		add_run(index, run);
	}
	for (uint32_t i = 0; i < base->extents; i++) {
		retain(&base->extent[i]->refs);
		add_extent(index, base->extent[i]);
	}
	struct flash_rows *merged =
	        total > UINT32_MAX ? NULL
	                           : bole_flash_rows_open(alloc, m.in[0]->key_len, (uint32_t)total);
	if (merged == NULL) {
		(void)bole_flash_index_release(alloc, index);
		return BOLE_E_NO_MEMORY;
	}
	merge_rows(&m, merged, yield, ctx);
	bole_flash_fan_fill(&merged->fan, merged->rows, bole_flash_rows_width(merged->key_len),
	                    merged->count);
	if (merged->tier <= tier)
		merged->tier = tier + 1;
	add_run(index, merged);
	*out = index;
	return BOLE_OK;
}

struct flash_index *bole_flash_index_retain(struct flash_index *index)
{
	if (index != NULL)
		retain(&index->refs);
	return index;
}

bool bole_flash_index_release(struct bole_alloc *alloc, struct flash_index *index)
{
	if (index == NULL || atomic_fetch_sub_explicit(&index->refs, 1, memory_order_acq_rel) != 1)
		return false;
	for (uint32_t i = 0; i < index->runs; i++)
		bole_flash_rows_release(alloc, index->run[i]);
	for (uint32_t i = 0; i < index->extents; i++)
		bole_flash_extent_release(index->extent[i]);
	bole_alloc_free(alloc, index, index->memory_bytes, 1);
	return true;
}

enum bole_status bole_flash_index_find(const struct flash_index *index, const uint8_t *key,
                                       struct flash_home *home, struct flash_extent **extent,
                                       uint32_t *row)
{
	bool damaged = false;
	uint32_t at;

	*extent = NULL;
	if (index == NULL)
		return BOLE_E_NOT_FOUND;
	for (uint32_t i = index->runs; i > 0; i--) {
		if (bole_flash_rows_find(index->run[i - 1], key, &at)) {
			*home = bole_flash_rows_home(index->run[i - 1], at);
			return BOLE_OK;
		}
	}
	for (uint32_t i = 0; i < index->extents; i++) {
		damaged |= index->extent[i]->damaged;
		if (!index->extent[i]->damaged &&
		    bole_flash_extent_find(index->extent[i], key, row)) {
			*extent = index->extent[i];
			return BOLE_OK;
		}
	}
	return damaged ? BOLE_E_CORRUPT : BOLE_E_NOT_FOUND;
}

struct flash_extent *bole_flash_index_extent(const struct flash_index *index, uint64_t id)
{
	uint32_t low = 0;
	uint32_t high = index == NULL ? 0 : index->extents;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (index->extent_by_id[mid]->id == id)
			return index->extent_by_id[mid];
		if (index->extent_by_id[mid]->id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}
