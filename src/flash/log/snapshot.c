/* SPDX-License-Identifier: ISC */
/* Snapshots: what they hold, and finding entries in them. read.c shows the bytes. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/log/tx.h"
#include "flash/space/mark.h"

enum {
	ORDERS_MAX = 1 << 20, /* places of records that next holds, where memory is not limited */
	ORDERS_SHARE = 32,    /* of a limit that they may take */
};

struct flash_order {
	uint64_t place;
	uint32_t stored;
};

enum bole_status bole_flash_snapshot_open(struct flash_volume *v, uint32_t repo,
                                          struct flash_snapshot **out)
{
	struct flash_snapshot *s = bole_alloc_zeroed(v->alloc, 1, sizeof *s);

	if (s == NULL)
		return BOLE_E_NO_MEMORY;
	bole_flash_lock(v);
	struct flash_repo *r = bole_flash_repo_find(v, repo);
	if (r == NULL) {
		bole_flash_unlock(v);
		bole_alloc_free(v->alloc, s, 1, sizeof *s);
		return BOLE_E_NOT_FOUND;
	}
	atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	s->v = v;
	s->repo = r;
	s->index = bole_flash_index_retain(r->domain->index);
	s->refs = bole_flash_table_retain(r->reftable);
	s->aux = bole_flash_table_retain(r->auxtable);
	s->pub.repo.id = r->id;
	s->pub.repo.domain = r->domain->id;
	s->pub.repo.algo = r->domain->algo;
	memcpy(s->pub.repo.name, r->name, sizeof r->name);
	bole_flash_pin_set(v, &s->pin);
	bole_flash_unlock(v);
	*out = s;
	return BOLE_OK;
}

void bole_flash_snapshot_close(struct flash_snapshot *s)
{
	struct flash_volume *v = s->v;

	bole_flash_pin_end(v, &s->pin);
	bole_flash_index_drop(v, s->index);
	bole_flash_table_release(&v->plain, s->refs);
	bole_flash_table_release(&v->aux, s->aux);
	bole_flash_repo_release(v, s->repo);
	bole_flash_reader_close(v, &s->reader);
	bole_alloc_free(v->alloc, s->scratch, s->scratch_cap, 1);
	bole_alloc_free(v->alloc, s->order, (size_t)s->orders_cap, sizeof *s->order);
	bole_alloc_free(v->alloc, s, 1, sizeof *s);
}

static void row_entry(const struct flash_extent *extent, const struct flash_extent_row *row,
                      struct bole_entry *out)
{
	memset(out, 0, sizeof *out);
	*out = (struct bole_entry){
	        .extent = extent->id,
	        .offset = row->offset,
	        .stored_bytes = row->stored,
	        .type = row->type,
	};
}

static void home_entry(const struct flash_home *home, struct bole_entry *out)
{
	*out = (struct bole_entry){
	        .extent = bole_flash_home_of(home->segment, home->offset),
	        .stored_bytes = home->stored,
	        .type = home->type,
	};
}

static void found_entry(const struct flash_found *found, struct bole_entry *out)
{
	memset(out, 0, sizeof *out);
	*out = (struct bole_entry){
	        .extent = found->extent != NULL
	                          ? found->extent->id
	                          : bole_flash_home_of(bole_flash_place_segment(found->place),
	                                               bole_flash_place_offset(found->place)),
	        .offset = found->offset,
	        .stored_bytes = found->stored,
	        .type = found->type,
	};
}

/* What the transaction itself brought. */
static enum bole_status find_own(const struct flash_tx *tx, const uint8_t *key, uint64_t hash,
                                 struct bole_entry *out)
{
	uint32_t at;

	if (bole_flash_tx_find_put(tx, key, hash, &at)) {
		*out = (struct bole_entry){
		        .extent = FLASH_HOME_PUT | (tx->first_put + at),
		        .stored_bytes = tx->put[at].stored,
		        .type = tx->put[at].type,
		};
		return BOLE_OK;
	}
	if (bole_flash_tx_drops(tx, key) == TX_DROP_FINAL)
		return BOLE_E_NOT_FOUND;
	if (tx->run != NULL && bole_flash_rows_find(tx->run, key, &at)) {
		struct flash_home home = bole_flash_rows_home(tx->run, at);
		home_entry(&home, out);
		return BOLE_OK;
	}
	for (uint32_t i = 0; i < tx->extents; i++) {
		struct flash_extent_row row;
		if (bole_flash_extent_find(tx->extent[i], key, 0, &row) == BOLE_OK) {
			row_entry(tx->extent[i], &row, out);
			return BOLE_OK;
		}
	}
	return BOLE_E_NOT_FOUND;
}

enum bole_status bole_flash_find(struct flash_snapshot *s, const struct bole_oid *oid,
                                 struct bole_entry *out)
{
	uint64_t hash = bole_flash_key_hash(s->v, oid->bytes, s->repo->domain->key_len);

	return bole_flash_find_hashed(s, oid, hash, out);
}

enum bole_status bole_flash_find_hashed(struct flash_snapshot *s, const struct bole_oid *oid,
                                        uint64_t hash, struct bole_entry *out)
{
	struct flash_found found;
	enum bole_status rc = BOLE_E_NOT_FOUND;

	if (bole_flash_pin_gone(&s->pin))
		return BOLE_E_GONE;
	if (s->tx == NULL || bole_flash_tx_drops(s->tx, oid->bytes) == 0)
		rc = bole_flash_index_find_hashed(s->v, s->index, oid->bytes, hash, &s->reader,
		                                  &found);
	/* Revoked meanwhile: what was read may be somebody else's. */
	if (bole_flash_pin_gone(&s->pin))
		return BOLE_E_GONE;
	if (rc != BOLE_OK)
		return s->tx != NULL && find_own(s->tx, oid->bytes, hash, out) == BOLE_OK ? BOLE_OK
		                                                                          : rc;
	if (s->tx != NULL)
		bole_flash_mark_relied(s->tx, oid->bytes);
	found_entry(&found, out);
	if (found.extent != NULL) {
		s->found = found.extent;
		s->found_row = (struct flash_extent_row){
		        .offset = found.offset,
		        .stored = found.stored,
		        .number = found.row,
		        .checksum = found.checksum,
		        .type = found.type,
		};
	}
	return BOLE_OK;
}

struct flash_extent *bole_flash_snapshot_extent(const struct flash_snapshot *s, uint64_t id)
{
	struct flash_extent *extent = bole_flash_index_extent(s->index, id);
	const struct flash_tx *tx = s->tx;

	if (extent != NULL || tx == NULL)
		return extent;
	for (uint32_t i = 0; i < tx->extents; i++)
		if (tx->extent[i]->id == id)
			return tx->extent[i];
	return NULL;
}

enum bole_status bole_flash_entry_at(struct flash_snapshot *s, uint64_t id, uint64_t offset,
                                     struct bole_oid *oid, struct bole_entry *out)
{
	const struct flash_extent *extent = bole_flash_snapshot_extent(s, id);
	struct flash_extent_row row;
	uint8_t key[BOLE_OID_BYTES_MAX];
	uint32_t order;

	if (bole_flash_pin_gone(&s->pin))
		return BOLE_E_GONE;
	if (extent == NULL)
		return BOLE_E_NOT_FOUND;
	enum bole_status rc = bole_flash_extent_at(extent, offset, &row, &order);
	if (rc == BOLE_OK && oid != NULL)
		rc = bole_flash_extent_key(extent, row.number, key);
	/* Revoked meanwhile: what was read may be somebody else's. */
	if (bole_flash_pin_gone(&s->pin))
		return BOLE_E_GONE;
	BOLE_TRY(rc);
	if (oid != NULL)
		bole_oid_from_raw(key, s->pub.repo.algo, oid);
	row_entry(extent, &row, out);
	return BOLE_OK;
}

/* -- Iteration -- */

static int order_places(const void *a, const void *b)
{
	const struct flash_order *x = a;
	const struct flash_order *y = b;

	return x->place < y->place ? -1 : x->place > y->place;
}

/* The largest place goes to the top of the heap. */
static void sink(struct flash_order *heap, uint64_t count)
{
	for (uint64_t at = 0;;) {
		uint64_t most = at;
		for (uint64_t child = 2 * at + 1; child <= 2 * at + 2 && child < count; child++)
			if (heap[child].place > heap[most].place)
				most = child;
		if (most == at)
			return;
		struct flash_order swap = heap[at];
		heap[at] = heap[most];
		heap[most] = swap;
		at = most;
	}
}

static void rise(struct flash_order *heap, uint64_t at)
{
	while (at > 0 && heap[(at - 1) / 2].place < heap[at].place) {
		struct flash_order swap = heap[at];
		heap[at] = heap[(at - 1) / 2];
		heap[(at - 1) / 2] = swap;
		at = (at - 1) / 2;
	}
}

/* Keeps the smallest places behind the last one that was shown. */
static enum bole_status take_row(void *ctx, const struct flash_walk_row *row)
{
	struct flash_snapshot *s = ctx;
	struct flash_order o = {row->place, row->stored};

	if (s->orders_before != 0 && row->place <= s->order_last)
		return BOLE_OK;
	if (s->orders < s->orders_cap) {
		s->order[s->orders] = o;
		rise(s->order, s->orders++);
	} else if (row->place < s->order[0].place) {
		s->order[0] = o;
		sink(s->order, s->orders);
	}
	return BOLE_OK;
}

/* Collects the next records in the order of their places: as many as memory is for. */
static enum bole_status collect(struct flash_snapshot *s)
{
	const struct flash_volume *v = s->v;
	/* A number from the device: it may be anything. */
	uint64_t rows = s->index->objects < ORDERS_MAX ? s->index->objects + 1 : ORDERS_MAX;

	if (s->order == NULL) {
		uint64_t cap = v->budget.limit == SIZE_MAX
		                       ? ORDERS_MAX
		                       : v->budget.limit / ORDERS_SHARE / sizeof *s->order;
		s->orders_cap = cap < rows ? cap : rows;
		s->order = bole_alloc_array(v->alloc, (size_t)s->orders_cap, sizeof *s->order);
		if (s->order == NULL)
			return BOLE_E_NO_MEMORY;
	}
	if (s->orders != 0)
		s->order_last = s->order[s->orders - 1].place;
	s->orders_before += s->orders;
	s->orders = 0;
	BOLE_TRY(bole_flash_index_walk(s->v, s->index, take_row, s));
	if (s->orders != 0)
		qsort(s->order, (size_t)s->orders, sizeof *s->order, order_places);
	return BOLE_OK;
}

/* The row is the one that find returns, not a duplicate. */
static enum bole_status findable(struct flash_snapshot *s, const struct flash_extent *extent,
                                 const uint8_t *key, uint32_t row, bool *yes)
{
	struct flash_found found;
	enum bole_status rc = bole_flash_index_find(s->v, s->index, key, &s->reader, &found);

	*yes = rc == BOLE_OK && found.extent == extent && found.row == row;
	return rc == BOLE_E_NOT_FOUND ? BOLE_OK : rc;
}

/* The next entry of an extent from *at on, in the order of offsets. BOLE_END. */
static enum bole_status next_row(struct flash_snapshot *s, const struct flash_extent *extent,
                                 uint64_t *at, struct bole_oid *oid, struct bole_entry *out)
{
	struct flash_extent_row row;
	uint8_t key[BOLE_OID_BYTES_MAX];
	bool yes;

	while (*at < extent->rows) {
		BOLE_TRY(bole_flash_extent_nth(extent, (uint32_t)*at, &row));
		BOLE_TRY(bole_flash_extent_key(extent, row.number, key));
		++*at;
		BOLE_TRY(findable(s, extent, key, row.number, &yes));
		if (!yes)
			continue;
		bole_oid_from_raw(key, s->pub.repo.algo, oid);
		row_entry(extent, &row, out);
		return BOLE_OK;
	}
	return BOLE_END;
}

/* The record itself says whose it is. */
static enum bole_status next_record(struct flash_snapshot *s, uint64_t at, struct bole_oid *oid,
                                    struct bole_entry *out)
{
	struct bole_bytes key;

	if (s->order == NULL || at < s->orders_before) {
		s->orders = 0;
		s->orders_before = 0;
		BOLE_TRY(collect(s));
	}
	while (s->orders != 0 && at >= s->orders_before + s->orders)
		BOLE_TRY(collect(s));
	if (s->orders == 0)
		return BOLE_END;
	const struct flash_order *o = &s->order[at - s->orders_before];
	*out = (struct bole_entry){
	        .extent = bole_flash_home_of(bole_flash_place_segment(o->place),
	                                     bole_flash_place_offset(o->place)),
	        .stored_bytes = o->stored,
	};
	BOLE_TRY(bole_flash_record_of(s, out, &key, &out->type));
	bole_oid_from_raw(key.ptr, s->pub.repo.algo, oid);
	return BOLE_OK;
}

/* Extents first: their numbers are the smaller ones. */
enum bole_status bole_flash_next(struct flash_snapshot *s, uint64_t *cursor, struct bole_oid *oid,
                                 struct bole_entry *out)
{
	uint64_t at = *cursor;

	if (bole_flash_pin_gone(&s->pin))
		return BOLE_E_GONE;
	if (s->index == NULL)
		return BOLE_END;
	for (uint32_t i = 0; i < bole_flash_index_extents(s->index); i++) {
		const struct flash_extent *extent = s->index->extents->by_id[i];
		if (at >= extent->rows) {
			at -= extent->rows;
			continue;
		}
		uint64_t from = at;
		enum bole_status got = next_row(s, extent, &at, oid, out);
		*cursor += at - from;
		if (bole_flash_pin_gone(&s->pin))
			return BOLE_E_GONE;
		if (got != BOLE_END)
			return got;
		at = 0;
	}
	enum bole_status rc = next_record(s, at, oid, out);
	if (rc == BOLE_OK)
		++*cursor;
	return rc;
}
