/* SPDX-License-Identifier: ISC */
/* Going through runs in order, one or several at a time. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/index/filter.h"
#include "flash/index/page.h"
#include "flash/index/run_private.h"

enum { CURSOR_YIELD_ROWS = 4096 };

void bole_flash_run_cursor_init(struct flash_run_cursor *c, struct flash_run *run, uint32_t ahead)
{
	bool small = run->v->budget.limit != SIZE_MAX;

	if (ahead == 0)
		ahead = small ? RUN_AHEAD_SMALL : RUN_AHEAD_PAGES;
	*c = (struct flash_run_cursor){.run = run, .ahead = ahead};
}

void bole_flash_run_cursor_close(struct flash_run_cursor *c)
{
	if (c->run != NULL)
		bole_alloc_free(c->run->v->alloc, c->buf, c->cap, c->run->v->page_bytes);
	c->buf = NULL;
	c->cap = 0;
	c->pages = 0;
}

static uint8_t *row_at(const struct flash_run_cursor *c, uint32_t row)
{
	uint32_t page = row / c->run->page_rows - c->first;

	return c->buf + (size_t)page * c->run->v->page_bytes + PAGE_HEAD_BYTES +
	       (size_t)(row % c->run->page_rows) * c->run->shape.width;
}

static enum bole_status make_room(struct flash_run_cursor *c)
{
	struct flash_volume *v = c->run->v;
	uint32_t cap = c->ahead < c->run->row_pages ? c->ahead : c->run->row_pages;

	while (c->buf == NULL) {
		c->buf = bole_alloc_array(v->alloc, cap, v->page_bytes);
		c->cap = c->buf == NULL ? 0 : cap;
		if (c->buf == NULL && cap == 1)
			return BOLE_E_NO_MEMORY;
		cap = (cap + 1) / 2;
	}
	return BOLE_OK;
}

/* The rows in the buffer, and the one before it if it goes on there, are in order. */
static bool in_order(const struct flash_run_cursor *c, bool goes_on)
{
	const struct flash_run *run = c->run;
	uint32_t from = c->first * run->page_rows;
	uint64_t end = (uint64_t)from + (uint64_t)c->pages * run->page_rows;
	const uint8_t *before = goes_on ? c->last : NULL;

	if (end > run->rows)
		end = run->rows;
	for (uint32_t row = from; row < end; row++) {
		const uint8_t *now = row_at(c, row);
		if (before != NULL && memcmp(before, now, run->shape.key_len) > 0)
			return false;
		before = now;
	}
	return true;
}

static enum bole_status load(struct flash_run_cursor *c, uint32_t page)
{
	struct flash_run *run = c->run;
	bool goes_on = c->pages != 0 && c->first + c->pages == page;

	BOLE_TRY(make_room(c));
	if (goes_on)
		memcpy(c->last, row_at(c, page * run->page_rows - 1), run->shape.width);
	uint32_t left = run->row_pages - page;
	uint32_t got = 0;
	c->pages = 0;
	BOLE_TRY(bole_flash_pages_read(run, page, left < c->cap ? left : c->cap, c->buf, &got));
	c->first = page;
	c->pages = got;
	if (in_order(c, goes_on))
		return BOLE_OK;
	c->pages = 0;
	bole_log(run->v->platform, BOLE_LOG_ERROR, "%s: run %llu is not in order near page %u",
	         run->v->dev->info.name, (unsigned long long)run->id, page);
	return BOLE_E_CORRUPT;
}

enum bole_status bole_flash_run_next(struct flash_run_cursor *c, const uint8_t **row)
{
	if (c->next >= c->run->rows)
		return BOLE_END;
	uint32_t page = c->next / c->run->page_rows;
	if (page < c->first || page - c->first >= c->pages)
		BOLE_TRY(load(c, page));
	*row = row_at(c, c->next++);
	return BOLE_OK;
}

/* -- Checks -- */

/* The fences and the filter answer for each row. */
static enum bole_status verify_rows(struct flash_run *run, const uint32_t *fence,
                                    const uint8_t *filter)
{
	const struct flash_run_shape *s = &run->shape;
	struct flash_run_cursor c;
	const uint8_t *row;
	enum bole_status rc;

	bole_flash_run_cursor_init(&c, run, 0);
	while ((rc = bole_flash_run_next(&c, &row)) == BOLE_OK) {
		uint32_t at = c.next - 1;
		bool fine = true;
		for (uint32_t i = 0; i < s->zeros; i++)
			fine = fine && row[i] == 0;
		if (fence != NULL && at % run->page_rows == 0)
			fine = fine && fence[at / run->page_rows] == bole_flash_fence_of(s, row);
		if (filter != NULL)
			fine = fine && bole_flash_filter_has(
			                       filter, run->blocks,
			                       bole_flash_run_hash(run->v, row, s->search_len));
		if (!fine) {
			rc = BOLE_E_CORRUPT;
			break;
		}
		if (at % CURSOR_YIELD_ROWS == 0)
			bole_flash_yield(run->v);
	}
	bole_flash_run_cursor_close(&c);
	return rc == BOLE_END ? BOLE_OK : rc;
}

enum bole_status bole_flash_run_verify(struct flash_run *run)
{
	uint32_t pages = bole_flash_run_pages(run);
	uint8_t *page = bole_alloc_array(run->v->alloc, run->v->page_bytes, 1);
	enum bole_status rc = page == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
	uint32_t got;

	/* What is in memory already says nothing about the device. */
	for (uint32_t i = run->row_pages; i < pages && rc == BOLE_OK; i++)
		rc = bole_flash_pages_read(run, i, 1, page, &got);
	bole_alloc_free(run->v->alloc, page, run->v->page_bytes, 1);
	BOLE_TRY(rc);
	atomic_store_explicit(&run->asked, UINT32_MAX, memory_order_relaxed);
	return verify_rows(run, bole_flash_run_fences(run), bole_flash_run_filter(run));
}

/* -- Merges -- */

/* Run a's next row comes before run b's. */
static bool before(const struct flash_merge *m, uint32_t a, uint32_t b)
{
	int order = memcmp(m->row[a], m->row[b], m->key_len);

	return order != 0 ? order < 0 : a < b;
}

static void sift_down(struct flash_merge *m, uint32_t at)
{
	uint32_t *heap = m->heap;

	for (;;) {
		uint32_t least = at;
		for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < m->live; child++)
			if (before(m, heap[child], heap[least]))
				least = child;
		if (least == at)
			return;
		uint32_t run = heap[at];
		heap[at] = heap[least];
		heap[least] = run;
		at = least;
	}
}

void bole_flash_merge_close(struct flash_merge *m)
{
	for (uint32_t i = 0; m->cursor != NULL && i < m->runs; i++)
		bole_flash_run_cursor_close(&m->cursor[i]);
	bole_alloc_free(m->v->alloc, m->cursor, m->runs, sizeof *m->cursor);
	bole_alloc_free(m->v->alloc, m->row, m->runs, sizeof *m->row);
	bole_alloc_free(m->v->alloc, m->heap, m->runs, sizeof *m->heap);
	m->cursor = NULL;
	m->row = NULL;
	m->heap = NULL;
	m->live = 0;
}

enum bole_status bole_flash_merge_open(struct flash_merge *m, struct flash_volume *v,
                                       struct flash_run *const *runs, uint32_t count,
                                       uint32_t ahead)
{
	enum bole_status rc = BOLE_OK;

	*m = (struct flash_merge){.v = v, .runs = count};
	if (count == 0)
		return BOLE_OK;
	m->key_len = runs[0]->shape.key_len;
	m->cursor = bole_alloc_zeroed(v->alloc, count, sizeof *m->cursor);
	m->row = bole_alloc_zeroed(v->alloc, count, sizeof *m->row);
	m->heap = bole_alloc_zeroed(v->alloc, count, sizeof *m->heap);
	if (m->cursor == NULL || m->row == NULL || m->heap == NULL)
		rc = BOLE_E_NO_MEMORY;
	for (uint32_t i = 0; i < count && rc == BOLE_OK; i++) {
		bole_flash_run_cursor_init(&m->cursor[i], runs[i], ahead);
		rc = bole_flash_run_next(&m->cursor[i], &m->row[i]);
		if (rc == BOLE_OK)
			m->heap[m->live++] = i;
		else if (rc == BOLE_END)
			rc = BOLE_OK;
	}
	if (rc != BOLE_OK) {
		bole_flash_merge_close(m);
		return rc;
	}
	for (uint32_t i = m->live / 2; i-- > 0;)
		sift_down(m, i);
	return BOLE_OK;
}

enum bole_status bole_flash_merge_next(struct flash_merge *m, const uint8_t **row, uint32_t *which)
{
	if (m->moved) {
		uint32_t run = m->heap[0];
		enum bole_status rc = bole_flash_run_next(&m->cursor[run], &m->row[run]);
		if (rc == BOLE_END)
			m->heap[0] = m->heap[--m->live];
		else if (rc != BOLE_OK)
			return rc;
		m->moved = false;
		sift_down(m, 0);
	}
	if (m->live == 0)
		return BOLE_END;
	if (++m->steps % CURSOR_YIELD_ROWS == 0)
		bole_flash_yield(m->v);
	*which = m->heap[0];
	*row = m->row[*which];
	m->moved = true;
	return BOLE_OK;
}
