/* SPDX-License-Identifier: ISC */
/* Looking for rows in a run: the fences narrow the search to a page or two; without them, and among
 * pages whose fences are equal, pages are read to find the one. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/index/filter.h"
#include "flash/index/page.h"
#include "flash/index/run_private.h"
#include "flash/volume/checksum.h"

enum {
	FIND_GUESSES = 4, /* probes of pages by interpolation before plain halving */
	FIND_NEAR = 8,    /* rows that a guess is off, about */
};

uint64_t bole_flash_run_hash(const struct flash_volume *v, const uint8_t *key, uint32_t search_len)
{
	return bole_flash_sum(key, search_len, bole_get_le64(v->key));
}

static uint32_t rows_in(const struct flash_run *run, uint32_t page)
{
	return page + 1 < run->row_pages ? run->page_rows : run->rows - page * run->page_rows;
}

static const uint8_t *row_at(const struct flash_run *run, const uint8_t *page, uint32_t at)
{
	return page + PAGE_HEAD_BYTES + (size_t)at * run->shape.width;
}

/* Keys are spread evenly as a rule: where value would be among count items, from the fence of the
 * first to what follows the last. */
static uint32_t guess(uint32_t count, uint32_t from, uint32_t to, uint32_t value)
{
	if (value <= from)
		return 0;
	if (value >= to)
		return count;
	return (uint32_t)((uint64_t)(value - from) * count / (to - from));
}

/* The first of count items that is not below what is searched for, in steps that double from a
 * guess on: where the guess is good little memory is touched, where it is not it costs twice a
 * halving. */
static inline __attribute__((always_inline)) uint32_t
search(uint32_t count, uint32_t at, bool (*below)(const void *ctx, uint32_t at), const void *ctx)
{
	uint32_t low = 0;
	uint32_t high = count;
	uint32_t step = FIND_NEAR;

	if (at < high && below(ctx, at)) {
		low = at + 1;
		while (high - low > step && below(ctx, low + step)) {
			low += step + 1;
			step *= 2;
		}
		if (high - low > step)
			high = low + step;
	} else {
		high = at < high ? at : high;
		while (high > step && !below(ctx, high - step)) {
			high -= step;
			step *= 2;
		}
		if (high > step)
			low = high - step + 1;
	}
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (below(ctx, mid))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct wanted {
	const uint8_t *rows;
	const uint8_t *key;
	size_t width;
	uint32_t len;
	const uint32_t *fence;
	uint32_t value;
};

static inline bool row_below(const void *ctx, uint32_t at)
{
	const struct wanted *w = ctx;

	return memcmp(w->rows + at * w->width, w->key, w->len) < 0;
}

static inline bool fence_below(const void *ctx, uint32_t at)
{
	const struct wanted *w = ctx;

	return w->fence[at] < w->value;
}

/* The first of a page's rows that is not below key. */
static uint32_t lower(const struct flash_run *run, const uint8_t *page, uint32_t number,
                      const uint8_t *key, uint32_t len)
{
	const uint32_t *fence = atomic_load_explicit(&run->fence, memory_order_acquire);
	uint32_t count = rows_in(run, number);
	struct wanted w = {row_at(run, page, 0), key, run->shape.width, len, NULL, 0};
	uint32_t from;
	uint32_t to = UINT32_MAX;

	if (fence != NULL) {
		from = fence[number];
		if (number + 1 < run->row_pages)
			to = fence[number + 1];
	} else {
		from = bole_flash_fence_of(&run->shape, w.rows);
		to = bole_flash_fence_of(&run->shape, row_at(run, page, count - 1));
	}
	w.value = bole_flash_fence_of(&run->shape, key);
	return search(count, guess(count, from, to, w.value), row_below, &w);
}

/* The first fence that is not below value. */
static uint32_t lower_fence(const struct flash_run *run, const uint32_t *fence, uint32_t value)
{
	struct wanted w = {.fence = fence, .value = value};

	return search(run->row_pages, guess(run->row_pages, 0, UINT32_MAX, value), fence_below, &w);
}

struct range {
	uint32_t low;  /* its first row is below the key, or it is the first page */
	uint32_t high; /* its first row is not, or there is none */
	uint32_t from; /* fences of both, if known */
	uint32_t to;
	bool proven; /* nothing from high on equals the key */
};

/* A page between two others: by where its fence would be, then by halves. */
static uint32_t middle(const struct range *r, int step, uint32_t value)
{
	uint32_t pages = r->high - r->low;

	if (step >= FIND_GUESSES || r->from >= r->to)
		return r->low + pages / 2;
	uint32_t at = guess(pages, r->from, r->to, value);
	if (at == 0)
		at = 1;
	return r->low + (at < pages ? at : pages - 1);
}

/* Narrows a range to one page by reading others. */
static enum bole_status narrow(struct flash_run *run, const uint8_t *key, uint32_t len,
                               struct range *r)
{
	uint32_t value = bole_flash_fence_of(&run->shape, key);

	for (int step = 0; r->high - r->low > 1; step++) {
		struct flash_slot *slot;
		uint32_t mid = middle(r, step, value);
		BOLE_TRY(bole_flash_page_get(run, mid, &slot));
		const uint8_t *first = row_at(run, slot->data, 0);
		const uint8_t *last = row_at(run, slot->data, rows_in(run, mid) - 1);
		int order = memcmp(first, key, len);
		int end = memcmp(last, key, len);
		uint32_t fence = bole_flash_fence_of(&run->shape, order < 0 ? last : first);
		bole_flash_cache_unpin(run->v->cache, slot);
		if (order < 0) {
			r->low = mid;
			r->from = fence;
			/* It ends in this very page. */
			if (end > 0) {
				r->high = mid + 1;
				r->proven = true;
			}
		} else {
			r->high = mid;
			r->to = fence;
			r->proven = order > 0;
		}
	}
	return BOLE_OK;
}

static bool all_zero(const uint8_t *p, uint32_t len)
{
	while (len > 0 && p[len - 1] == 0)
		len--;
	return len == 0;
}

/* The page that the first row not below key is in, or would be in at the end. */
static enum bole_status locate(struct flash_run *run, const uint8_t *key, uint32_t len,
                               struct range *r)
{
	const struct flash_run_shape *s = &run->shape;
	const uint32_t *fence = bole_flash_run_fences(run);

	*r = (struct range){.high = run->row_pages, .to = UINT32_MAX, .proven = true};
	if (fence != NULL && len >= (uint32_t)s->zeros + RUN_FENCE_BYTES) {
		uint32_t value = bole_flash_fence_of(s, key);
		uint32_t at = lower_fence(run, fence, value);
		r->low = at == 0 ? 0 : at - 1;
		while (at < run->row_pages && fence[at] == value && at - r->low < 2)
			at++;
		if (at < run->row_pages && fence[at] == value)
			at = value == UINT32_MAX ? run->row_pages
			                         : lower_fence(run, fence, value + 1);
		r->high = at;
		r->from = r->to = value;
	}
	return narrow(run, key, len, r);
}

enum bole_status bole_flash_run_seek(struct flash_run *run, const uint8_t *key, uint32_t len,
                                     uint32_t *row)
{
	struct flash_slot *slot;
	struct range r;
	uint8_t whole[RUN_WIDTH_MAX] = {0};

	BOLE_ASSERT(len <= run->shape.key_len);
	uint32_t zeros = len < run->shape.zeros ? len : run->shape.zeros;
	if (!all_zero(key, zeros)) {
		*row = run->rows;
		return BOLE_OK;
	}
	/* What is short is filled up with zeros, which no row is below. */
	memcpy(whole, key, len);
	BOLE_TRY(locate(run, whole, run->shape.key_len, &r));
	BOLE_TRY(bole_flash_page_get(run, r.low, &slot));
	*row = r.low * run->page_rows + lower(run, slot->data, r.low, whole, run->shape.key_len);
	bole_flash_cache_unpin(run->v->cache, slot);
	return BOLE_OK;
}

/* Copies rows of a page from at on as long as they match; false when one did not. */
static bool copy(const struct flash_run *run, const uint8_t *page, uint32_t at, uint32_t count,
                 const uint8_t *key, struct flash_run_match *m)
{
	size_t width = run->shape.width;

	for (; at < count; at++) {
		const uint8_t *row = row_at(run, page, at);
		if (memcmp(row, key, run->shape.search_len) != 0)
			return false;
		if (m->count == RUN_MATCH_ROWS) {
			m->more = true;
			return false;
		}
		memcpy(m->rows + m->count++ * width, row, width);
	}
	return true;
}

void bole_flash_run_prefetch(const struct flash_run *run, uint64_t hash)
{
	const uint8_t *filter = atomic_load_explicit(&run->filter, memory_order_acquire);

	if (filter != NULL)
		bole_flash_filter_prefetch(filter, run->blocks, hash);
}

enum bole_status bole_flash_run_find(struct flash_run *run, const uint8_t *key, uint64_t hash,
                                     struct flash_run_match *m)
{
	const uint8_t *filter = bole_flash_run_filter(run);
	struct flash_slot *slot;
	struct range r;

	if (filter != NULL && !bole_flash_filter_has(filter, run->blocks, hash))
		return BOLE_E_NOT_FOUND;
	if (!all_zero(key, run->shape.zeros))
		return BOLE_E_NOT_FOUND;
	BOLE_TRY(locate(run, key, run->shape.search_len, &r));
	m->count = 0;
	m->more = false;
	bool on = true;
	for (uint32_t page = r.low; on && page < run->row_pages; page++) {
		/* The row before it was below the key, and its own first row is above. */
		if (page == r.high && r.proven)
			break;
		BOLE_TRY(bole_flash_page_get(run, page, &slot));
		uint32_t count = rows_in(run, page);
		uint32_t at = 0;
		if (page == r.low)
			at = lower(run, slot->data, page, key, run->shape.search_len);
		if (m->count == 0)
			m->row = page * run->page_rows + at;
		on = copy(run, slot->data, at, count, key, m);
		bole_flash_cache_unpin(run->v->cache, slot);
	}
	return m->count == 0 ? BOLE_E_NOT_FOUND : BOLE_OK;
}

enum bole_status bole_flash_run_row(struct flash_run *run, uint32_t row, uint8_t *out)
{
	struct flash_slot *slot;

	BOLE_ASSERT(row < run->rows);
	BOLE_TRY(bole_flash_page_get(run, row / run->page_rows, &slot));
	memcpy(out, row_at(run, slot->data, row % run->page_rows), run->shape.width);
	bole_flash_cache_unpin(run->v->cache, slot);
	return BOLE_OK;
}
