/* SPDX-License-Identifier: ISC */
/* Marking: what is reachable is told to us, row by row, and what transactions rely on meanwhile is
 * handed out as further roots. sweep.c removes the rest. */
#include "flash/space/mark.h"

#include "flash/index/run.h"
#include "flash/space/clean.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

static bool small(const struct flash_volume *v)
{
	return v->budget.limit != SIZE_MAX;
}

static bool get_bit(const uint8_t *bits, uint32_t at)
{
	return (bits[at / 8] & 1u << at % 8) != 0;
}

static size_t bit_bytes(uint32_t count)
{
	return count / 8 + 1;
}

/* -- Noting -- */

void bole_flash_tx_link(struct flash_tx *tx)
{
	struct flash_volume *v = tx->v;

	bole_buffer_init(&tx->relied, v->alloc,
	                 (size_t)(small(v) ? RELIED_SMALL : RELIED_MAX) * BOLE_OID_BYTES_MAX);
	bole_flash_lock(v);
	tx->marks = tx->repo->domain->marks;
	tx->next_open = v->open_txs;
	if (tx->next_open != NULL)
		tx->next_open->last_open = &tx->next_open;
	tx->last_open = &v->open_txs;
	v->open_txs = tx;
	bole_flash_unlock(v);
}

void bole_flash_tx_unlink(struct flash_tx *tx)
{
	bole_flash_lock(tx->v);
	/* What it may rely on is not known: a mark that began meanwhile cannot end well. */
	if (tx->relied.rc != BOLE_OK && tx->repo->domain->mark != NULL &&
	    tx->marks != tx->repo->domain->marks)
		tx->repo->domain->mark->lost = true;
	*tx->last_open = tx->next_open;
	if (tx->next_open != NULL)
		tx->next_open->last_open = tx->last_open;
	bole_flash_unlock(tx->v);
	bole_buffer_release(&tx->relied);
}

/* Lock held. */
static void note(struct flash_domain *domain, const uint8_t *key)
{
	struct flash_mark *m = domain->mark;

	if (m == NULL)
		return;
	bole_buffer_append(&m->roots, key, domain->key_len);
	m->lost |= m->roots.rc != BOLE_OK;
}

void bole_flash_mark_note(struct flash_volume *v, struct flash_domain *domain, const uint8_t *key)
{
	bole_flash_lock(v);
	note(domain, key);
	bole_flash_unlock(v);
}

void bole_flash_mark_relied(struct flash_tx *tx, const uint8_t *key)
{
	struct flash_domain *domain = tx->repo->domain;
	size_t len = tx->relied.len;

	bole_flash_lock(tx->v);
	/* Also during a mark that knows of it: the next one may begin before this ends. */
	if (len < domain->key_len ||
	    memcmp(tx->relied.ptr + len - domain->key_len, key, domain->key_len) != 0)
		bole_buffer_append(&tx->relied, key, domain->key_len);
	note(domain, key);
	bole_flash_unlock(tx->v);
}

/* Some row of the candidates starts like the id. */
static enum bole_status seen(void *ctx, const struct flash_found *found)
{
	(void)ctx;
	(void)found;
	return BOLE_END;
}

struct note_rows {
	struct flash_tx *tx;
	struct flash_index *index;
};

static enum bole_status note_row(void *ctx, uint32_t row, const uint8_t *key)
{
	struct note_rows *n = ctx;
	struct flash_volume *v = n->tx->v;

	(void)row;
	if (bole_flash_index_each(v, n->index, key, &n->tx->view->reader, true, seen, NULL) !=
	    BOLE_OK)
		bole_flash_mark_note(v, n->tx->repo->domain, key);
	return BOLE_OK;
}

void bole_flash_mark_extent(struct flash_tx *tx, const struct flash_extent *extent)
{
	struct flash_volume *v = tx->v;
	struct flash_domain *domain = tx->repo->domain;
	struct note_rows n = {.tx = tx};

	bole_flash_lock(v);
	bool marking = domain->mark != NULL;
	if (marking)
		n.index = bole_flash_index_retain(domain->mark->index);
	bole_flash_unlock(v);
	if (!marking)
		return;
	enum bole_status rc = bole_flash_extent_each(v, extent, note_row, &n);
	bole_flash_index_drop(v, n.index);
	if (rc == BOLE_OK)
		return;
	bole_flash_lock(v);
	if (domain->mark != NULL)
		domain->mark->lost = true;
	bole_flash_unlock(v);
}

void bole_flash_mark_moved(struct flash_mark *m, const uint8_t *key, uint64_t from, uint64_t to)
{
	struct flash_volume *v = m->v;
	struct bole_bytes k = {key, m->domain->key_len};
	const struct flash_item *item = bole_flash_table_find(m->moves, k);
	uint8_t value[10];

	bole_flash_sweep_moved(m, key, from, to);
	bole_flash_put_be40(value, from);
	bole_flash_put_be40(value + 5, to);
	/* Moved again: where it was at the start stays. */
	if (item != NULL && bole_flash_get_be40(bole_flash_item_value(item).ptr + 5) == from)
		memcpy(value, bole_flash_item_value(item).ptr, 5);
	if ((small(v) && m->moves != NULL && m->moves->items >= MARK_ROOTS_SMALL) ||
	    bole_flash_table_set(&v->plain, &m->moves, k, bole_bytes_of(value, sizeof value)) !=
	            BOLE_OK)
		m->lost = true;
}

/* -- Beginning -- */

enum bole_status bole_flash_mark_replace(struct flash_mark *m, uint64_t keep,
                                         const uint64_t *extents, size_t count)
{
	const struct flash_extents *list = m->index == NULL ? NULL : m->index->extents;
	const struct flash_extent *by = bole_flash_index_extent(m->index, keep);

	if (by == NULL || m->live != 0 || m->keep != NULL)
		return BOLE_E_INVALID;
	m->replaced = bole_alloc_zeroed(m->v->alloc, bit_bytes(list->count), 1);
	if (m->replaced == NULL)
		return BOLE_E_NO_MEMORY;
	m->keep = by;
	for (uint32_t i = 0; i < list->count; i++)
		for (size_t n = 0; n < count; n++)
			if (list->extent[i]->id == extents[n] && list->extent[i] != by)
				m->replaced[i / 8] |= (uint8_t)(1u << i % 8);
	return BOLE_OK;
}

static void free_bits(struct flash_mark *m)
{
	struct bole_alloc *alloc = m->v->alloc;
	const struct flash_runs *runs = m->index == NULL ? NULL : m->index->runs;
	uint32_t extents = bole_flash_index_extents(m->index);

	bole_alloc_free(alloc, m->replaced, m->replaced == NULL ? 0 : bit_bytes(extents), 1);
	for (uint32_t i = 0; m->run != NULL && i < runs->count; i++)
		bole_alloc_free(alloc, m->run[i], bit_bytes(runs->run[i]->rows), 1);
	if (m->run != NULL)
		bole_alloc_free(alloc, m->run, runs->count, sizeof *m->run);
	for (uint32_t i = 0; m->extent != NULL && i < extents; i++)
		bole_alloc_free(alloc, m->extent[i], bit_bytes(m->index->extents->extent[i]->rows),
		                1);
	if (m->extent != NULL)
		bole_alloc_free(alloc, m->extent, extents, sizeof *m->extent);
}

static enum bole_status make_bits(struct flash_mark *m)
{
	struct bole_alloc *alloc = m->v->alloc;
	const struct flash_runs *runs = m->index == NULL ? NULL : m->index->runs;
	uint32_t extents = bole_flash_index_extents(m->index);

	if (runs != NULL) {
		m->run = bole_alloc_zeroed(alloc, runs->count, sizeof *m->run);
		if (m->run == NULL)
			return BOLE_E_NO_MEMORY;
	}
	for (uint32_t i = 0; runs != NULL && i < runs->count; i++) {
		m->run[i] = bole_alloc_zeroed(alloc, bit_bytes(runs->run[i]->rows), 1);
		if (m->run[i] == NULL)
			return BOLE_E_NO_MEMORY;
	}
	if (extents == 0)
		return BOLE_OK;
	m->extent = bole_alloc_zeroed(alloc, extents, sizeof *m->extent);
	if (m->extent == NULL)
		return BOLE_E_NO_MEMORY;
	for (uint32_t i = 0; i < extents; i++) {
		m->extent[i] =
		        bole_alloc_zeroed(alloc, bit_bytes(m->index->extents->extent[i]->rows), 1);
		if (m->extent[i] == NULL)
			return BOLE_E_NO_MEMORY;
	}
	return BOLE_OK;
}

bool bole_flash_mark_give_up(struct flash_volume *v)
{
	bool any = false;

	for (uint32_t i = 0; i < v->repos; i++) {
		struct flash_domain *domain = v->repo[i]->domain;
		if (!domain->marking)
			continue;
		domain->mark->lost = true;
		domain->marking = false;
		any = true;
	}
	return any;
}

/* Frees what the mark holds; its domain takes others again. */
static void mark_free(struct flash_mark *m)
{
	struct flash_volume *v = m->v;

	bole_flash_lock(v);
	if (m->domain->mark == m) {
		m->domain->mark = NULL;
		m->domain->marking = false;
	}
	bole_flash_unlock(v);
	free_bits(m);
	bole_flash_index_drop(v, m->index);
	bole_flash_table_release(&v->plain, m->mem);
	bole_flash_table_release(&v->plain, m->moves);
	bole_flash_reader_close(v, &m->reader);
	bole_buffer_release(&m->roots);
	if (m->view != NULL)
		bole_flash_snapshot_close(m->view);
	bole_flash_domain_release(v, m->domain);
	bole_alloc_free(v->alloc, m, 1, sizeof *m);
}

/* What open transactions found so far, and the extents that they have. Lock held. */
static void take_over(struct flash_mark *m)
{
	uint32_t key_len = m->domain->key_len;

	for (struct flash_tx *tx = m->v->open_txs; tx != NULL; tx = tx->next_open) {
		if (tx->repo->domain != m->domain)
			continue;
		for (size_t at = 0; at + key_len <= tx->relied.len; at += key_len)
			note(m->domain, tx->relied.ptr + at);
	}
}

/* The version that the mark is about. From now on its runs stay as they are. */
static enum bole_status start(struct flash_mark *m)
{
	struct flash_volume *v = m->v;
	enum bole_status rc = BOLE_OK;

	bole_flash_lead_begin(v);
	bole_flash_lock(v);
	bool prepared = false;
	for (const struct flash_prepared *p = v->prepared; p != NULL; p = p->next)
		prepared |= p->repo->domain == m->domain;
	if (m->domain->mark != NULL || prepared)
		rc = BOLE_E_BUSY;
	else if (m->view->repo->removed)
		rc = BOLE_E_NOT_FOUND;
	if (rc == BOLE_OK) {
		m->domain->mark = m;
		m->domain->marking = true;
		m->domain->marks++;
		m->index = bole_flash_index_retain(m->domain->index);
		take_over(m);
	}
	bole_flash_unlock(v);
	bole_flash_lead_end(v);
	return rc;
}

static uint64_t rows_in_memory(struct flash_volume *v, const struct flash_domain *domain)
{
	bole_flash_lock(v);
	const struct flash_index *index = domain->index;
	uint64_t rows = index == NULL ? 0
	                              : bole_flash_memory_rows(&index->now) +
	                                        bole_flash_memory_rows(&index->frozen);
	bole_flash_unlock(v);
	return rows;
}

enum bole_status bole_flash_mark_begin(struct flash_volume *v, uint32_t repo,
                                       struct flash_mark **out)
{
	struct flash_snapshot *first;

	if (!bole_flash_writable(v))
		return BOLE_E_READ_ONLY;
	BOLE_TRY(bole_flash_snapshot_open(v, repo, &first));
	struct flash_mark *m = bole_alloc_zeroed(v->alloc, 1, sizeof *m);
	if (m == NULL) {
		bole_flash_snapshot_close(first);
		return BOLE_E_NO_MEMORY;
	}
	/* Rows in memory are candidates too, but marks of them cost more: let them be few. Those
	 * that die there are never written. */
	if (rows_in_memory(v, first->repo->domain) > MARK_ROWS_FEW)
		(void)bole_flash_checkpoint(v);
	m->v = v;
	m->domain = first->repo->domain;
	atomic_fetch_add_explicit(&m->domain->refs, 1, memory_order_relaxed);
	m->view = first;
	bole_buffer_init(&m->roots, v->alloc,
	                 (size_t)(small(v) ? MARK_ROOTS_SMALL : MARK_ROOTS_MAX) *
	                         m->domain->key_len);
	enum bole_status rc = start(m);
	/* Opened now, the view sees what the mark does. */
	m->view = NULL;
	bole_flash_snapshot_close(first);
	if (rc == BOLE_OK)
		rc = bole_flash_snapshot_open(v, repo, &m->view);
	if (rc == BOLE_OK)
		rc = make_bits(m);
	if (rc != BOLE_OK) {
		mark_free(m);
		return rc;
	}
	m->pub.view = &m->view->pub;
	*out = m;
	return BOLE_OK;
}

/* -- Marking -- */

struct marking {
	struct flash_mark *m;
	struct bole_bytes key;
	uint32_t rows;
	uint32_t unmarked;
	bool set;
	bool in_keep;    /* the extent that replaces others has the id */
	bool first_kept; /* the row that a lookup returns stays */
	bool any;
};

static uint32_t extent_number(const struct flash_mark *m, const struct flash_extent *e)
{
	for (uint32_t i = 0; i < bole_flash_index_extents(m->index); i++)
		if (m->index->extents->extent[i] == e)
			return i;
	BOLE_UNREACHABLE();
}

/* The row is of an extent that is replaced, or a record, if records are. */
static bool is_replaced(const struct flash_mark *m, const struct flash_found *found, bool records)
{
	if (found->extent == NULL)
		return records;
	return get_bit(m->replaced, extent_number(m, found->extent));
}

static enum bole_status judge_row(void *ctx, const struct flash_found *found)
{
	struct marking *k = ctx;

	k->in_keep |= found->extent == k->m->keep;
	if (!k->any)
		k->first_kept = !is_replaced(k->m, found, false);
	k->any = true;
	return BOLE_OK;
}

/* Which of the rows of an id may go although it lives. */
static enum bole_status judge(struct marking *k)
{
	struct flash_mark *m = k->m;

	return m->keep == NULL ? BOLE_OK
	                       : bole_flash_index_each(m->v, m->index, k->key.ptr, &m->reader,
	                                               false, judge_row, k);
}

/* Not the only one of its id: what stays is what lookups return from then on. */
static bool may_go(const struct marking *k, const struct flash_found *found)
{
	return k->m->keep != NULL && (k->in_keep || k->first_kept) &&
	       is_replaced(k->m, found, k->in_keep);
}

static uint8_t *bits_of(struct flash_mark *m, const struct flash_found *found)
{
	if (found->where == FOUND_RUN)
		return m->run[found->run];
	return m->extent[extent_number(m, found->extent)];
}

static enum bole_status mark_row(void *ctx, const struct flash_found *found)
{
	struct marking *k = ctx;
	struct flash_mark *m = k->m;

	if (may_go(k, found))
		return BOLE_OK;
	k->rows++;
	if (found->where == FOUND_MEM || found->where == FOUND_FRESH ||
	    found->where == FOUND_FROZEN) {
		if (bole_flash_table_find(m->mem, k->key) != NULL)
			return BOLE_OK;
		k->unmarked++;
		return !k->set ? BOLE_OK
		               : bole_flash_table_set(&m->v->plain, &m->mem, k->key,
		                                      (struct bole_bytes){NULL, 0});
	}
	uint8_t *bits = bits_of(m, found);
	if (get_bit(bits, found->row))
		return BOLE_OK;
	k->unmarked++;
	if (k->set)
		bits[found->row / 8] |= (uint8_t)(1u << found->row % 8);
	return BOLE_OK;
}

/* BOLE_E_NOT_FOUND: the id is no candidate. */
static enum bole_status mark_key(struct flash_mark *m, const uint8_t *key, bool *fresh)
{
	struct marking k = {.m = m, .key = {key, m->domain->key_len}};

	*fresh = false;
	BOLE_TRY(judge(&k));
	/* Most are marked already, and rows that start like the id are nearly always its own. */
	BOLE_TRY(bole_flash_index_each(m->v, m->index, key, &m->reader, true, mark_row, &k));
	if (k.rows == 0)
		return BOLE_E_NOT_FOUND;
	if (k.unmarked == 0 && k.rows == 1)
		return BOLE_OK;
	k.rows = 0;
	k.unmarked = 0;
	k.set = true;
	BOLE_TRY(bole_flash_index_each(m->v, m->index, key, &m->reader, false, mark_row, &k));
	*fresh = k.unmarked != 0 && k.unmarked == k.rows;
	m->live += *fresh;
	return k.rows == 0 ? BOLE_E_NOT_FOUND : BOLE_OK;
}

enum bole_status bole_flash_mark_object(struct flash_mark *m, const struct bole_oid *oid,
                                        bool *fresh)
{
	struct flash_volume *v = m->v;
	struct flash_found found;

	*fresh = false;
	if (bole_flash_pin_gone(&m->view->pin))
		return BOLE_E_GONE;
	enum bole_status rc = mark_key(m, oid->bytes, fresh);
	if (rc != BOLE_E_NOT_FOUND)
		return rc;
	bole_flash_lock(v);
	struct flash_index *now = bole_flash_index_retain(m->domain->index);
	bole_flash_unlock(v);
	rc = bole_flash_index_find(v, now, oid->bytes, &m->reader, &found);
	bole_flash_index_drop(v, now);
	return rc;
}

bool bole_flash_mark_has(const struct flash_mark *m, uint32_t run, uint32_t row)
{
	return get_bit(m->run[run], row);
}

bool bole_flash_mark_has_row(const struct flash_mark *m, uint32_t extent, uint32_t row)
{
	return get_bit(m->extent[extent], row);
}

/* -- Roots -- */

/* The next noted id that is a candidate without a mark. */
enum bole_status bole_flash_mark_root(struct flash_mark *m, struct bole_oid *out)
{
	struct flash_volume *v = m->v;
	uint32_t key_len = m->domain->key_len;

	for (;;) {
		struct marking k = {.m = m};
		uint8_t key[BOLE_OID_BYTES_MAX];
		bole_flash_lock(v);
		bool any = m->roots.len >= key_len;
		if (any) {
			m->roots.len -= key_len;
			memcpy(key, m->roots.ptr + m->roots.len, key_len);
		}
		bole_flash_unlock(v);
		if (!any)
			return BOLE_END;
		k.key = bole_bytes_of(key, key_len);
		BOLE_TRY(judge(&k));
		BOLE_TRY(bole_flash_index_each(v, m->index, key, &m->reader, false, mark_row, &k));
		if (k.unmarked == 0)
			continue;
		bole_oid_from_raw(key, m->domain->algo, out);
		return BOLE_OK;
	}
}

/* True when a transaction is open that is older than the mark. Lock held. */
static bool older_open(const struct flash_mark *m)
{
	for (const struct flash_tx *tx = m->v->open_txs; tx != NULL; tx = tx->next_open)
		if (tx->repo->domain == m->domain && tx->marks != m->domain->marks)
			return true;
	return false;
}

/* BOLE_AGAIN: something came up. It lasts while the caller leads. */
static enum bole_status ready(struct flash_mark *m)
{
	struct flash_volume *v = m->v;
	struct bole_oid oid;

	bole_flash_lock(v);
	enum bole_status rc = m->lost || bole_flash_pin_gone(&m->view->pin)    ? BOLE_E_GONE
	                      : m->domain->mark != m || m->view->repo->removed ? BOLE_E_NOT_FOUND
	                      : older_open(m)                                  ? BOLE_AGAIN
	                                                                       : BOLE_OK;
	bole_flash_unlock(v);
	BOLE_TRY(rc);
	rc = bole_flash_mark_root(m, &oid);
	if (rc != BOLE_OK)
		return rc == BOLE_END ? BOLE_OK : rc;
	bole_flash_mark_note(v, m->domain, oid.bytes);
	return BOLE_AGAIN;
}

enum bole_status bole_flash_checkpoint_next(struct flash_volume *v)
{
	uint64_t generation;
	enum bole_status rc = BOLE_OK;

	/* One under way may have been pinned before: the next one is ours. */
	bole_flash_lock(v);
	while (v->checkpointing)
		(void)v->platform->ops->cond_wait(v->platform, &v->cond, &v->lock, BOLE_NEVER);
	generation = v->anchor.generation;
	bole_flash_unlock(v);
	for (int tries = 0; tries < 3 && rc == BOLE_OK; tries++) {
		rc = bole_flash_checkpoint(v);
		bole_flash_lock(v);
		while (v->checkpointing)
			(void)v->platform->ops->cond_wait(v->platform, &v->cond, &v->lock,
			                                  BOLE_NEVER);
		bool done = v->anchor.generation > generation;
		bole_flash_unlock(v);
		if (done)
			return BOLE_OK;
	}
	/* A volume that failed makes none, and says nothing. */
	return rc == BOLE_OK && atomic_load(&v->failed) ? BOLE_E_IO : rc;
}

/* Room for the rows that kill what is unmarked; a sweep that gets none fails. What is marked must
 * stay readable for it. */
static void make_room(struct flash_mark *m)
{
	struct flash_volume *v = m->v;
	uint32_t room = v->segment_bytes - v->page_bytes;

	bole_flash_lock(v);
	const struct flash_index *index = m->domain->index;
	uint64_t objects = index == NULL ? 0 : index->objects;
	uint64_t pages = bole_flash_run_pages_for(v, objects > m->live ? objects - m->live : 0);
	uint32_t wanted = bole_flash_floor(v, FLASH_FOR_MERGING) +
	                  (uint32_t)(pages * v->page_bytes / room) + 2;
	if (v->free < wanted) {
		m->view->pin.firm = true;
		enum bole_status hint = bole_flash_make_space(v, FLASH_FOR_CLEANING, wanted, false);
		(void)hint;
		m->view->pin.firm = false;
	}
	bole_flash_unlock(v);
}

/* The rows of a sweep may have taken what a merge of them wants. */
static void restore_room(struct flash_volume *v)
{
	bole_flash_lock(v);
	uint32_t wanted = bole_flash_floor(v, FLASH_FOR_REFS) + 1;
	if (v->free < wanted) {
		enum bole_status hint = bole_flash_make_space(v, FLASH_FOR_REFS, wanted, false);
		(void)hint;
	}
	bole_flash_unlock(v);
}

/* Drafts a sweep beside commits and installs it; or, when that came to nothing before, lets them
 * wait for all of it. */
static enum bole_status sweep(struct flash_mark *m, struct bole_mark_result *out)
{
	struct flash_volume *v = m->v;
	struct flash_sweep *s = NULL;
	bool beside = m->sweeps++ < SWEEPS_BESIDE;

	bole_flash_lead_begin(v);
	enum bole_status rc = ready(m);
	if (rc == BOLE_OK)
		rc = bole_flash_sweep_begin(m, &s);
	if (beside)
		bole_flash_lead_end(v);
	if (rc == BOLE_OK)
		rc = bole_flash_sweep_draft(s);
	if (rc == BOLE_OK)
		rc = bole_flash_sweep_catch_up(s);
	if (beside)
		bole_flash_lead_begin(v);
	if (rc == BOLE_OK)
		rc = ready(m);
	if (rc == BOLE_OK)
		rc = bole_flash_sweep_install(s, out);
	m->sweep = NULL;
	bole_flash_lead_end(v);
	bole_flash_sweep_free(v, s);
	/* What was revoked may be gone already. */
	return rc < 0 && bole_flash_pin_gone(&m->view->pin) ? BOLE_E_GONE : rc;
}

enum bole_status bole_flash_mark_end(struct flash_mark *m, struct bole_mark_result *out)
{
	struct flash_volume *v = m->v;

	memset(out, 0, sizeof *out);
	if (!bole_flash_writable(v)) {
		mark_free(m);
		return BOLE_E_READ_ONLY;
	}
	/* Runs that are written need not wait for what they would erase. */
	while (bole_flash_erase_ahead(v, UINT32_MAX))
		;
	make_room(m);
	/* Most of what came up is marked already: commits need not wait for a look at it. */
	enum bole_status rc = ready(m);
	if (rc == BOLE_OK)
		rc = sweep(m, out);
	if (rc == BOLE_AGAIN)
		return rc;
	out->objects_live = m->live;
	mark_free(m);
	BOLE_TRY(rc);
	rc = bole_flash_checkpoint_next(v);
	if (rc == BOLE_OK)
		restore_room(v);
	/* It is removed for whoever looks now; the next checkpoint makes it last. */
	return rc == BOLE_E_NO_SPACE || rc == BOLE_E_NO_MEMORY ? BOLE_OK : rc;
}

void bole_flash_mark_abort(struct flash_mark *m)
{
	if (m != NULL)
		mark_free(m);
}
