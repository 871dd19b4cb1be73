/* SPDX-License-Identifier: ISC */
#include "flash/log/drop.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/log/batch.h"

enum {
	DROPS_RECORD_BYTES = 4 << 10, /* of a list in one record: short enough for any segment */
	DROP_ROWS_MAX = 4096,         /* of one id that are noted beside the leader */
	STALE_MIN = 8,                /* lookups that others may wait for */
};

static uint32_t key_bytes(const struct flash_tx *tx)
{
	return tx->repo->domain->key_len;
}

/* -- Entries -- */

static void encode(struct bole_buffer *out, const struct flash_drop *d, uint32_t key_len)
{
	uint8_t head[DROP_LIST_HEAD_BYTES];
	uint8_t moved[DROP_LIST_MOVED_BYTES];

	head[DROP_LIST_TYPE_AT] = (uint8_t)(d->type | (d->extent ? INDEX_EXTENT_ROW : 0) |
	                                    (d->generation != 0 ? DROP_LIST_MOVED : 0));
	bole_flash_put_be40(head + DROP_LIST_PLACE_AT, d->place);
	for (int i = 0; i < 3; i++)
		head[DROP_LIST_LENGTH_AT + i] = (uint8_t)(d->length >> 8 * i);
	bole_buffer_append(out, head, sizeof head);
	if (key_len != 0)
		bole_buffer_append(out, d->key, key_len);
	if (d->generation == 0)
		return;
	bole_flash_put_be40(moved + DROP_LIST_BEFORE_AT, d->before);
	bole_put_le32(moved + DROP_LIST_GENERATION_AT, d->generation);
	bole_buffer_append(out, moved, sizeof moved);
}

bool bole_flash_drop_next(struct bole_bytes *list, uint32_t key_len, struct flash_drop *out)
{
	const uint8_t *p = list->ptr;
	size_t bytes = (size_t)DROP_LIST_HEAD_BYTES + key_len;

	if (list->len < bytes)
		return false;
	uint8_t type = p[DROP_LIST_TYPE_AT];
	*out = (struct flash_drop){
	        .key = p + DROP_LIST_HEAD_BYTES,
	        .place = bole_flash_get_be40(p + DROP_LIST_PLACE_AT),
	        .length = (uint32_t)p[DROP_LIST_LENGTH_AT] |
	                  (uint32_t)p[DROP_LIST_LENGTH_AT + 1] << 8 |
	                  (uint32_t)p[DROP_LIST_LENGTH_AT + 2] << 16,
	        .type = type & INDEX_TYPE_MASK,
	        .extent = (type & INDEX_EXTENT_ROW) != 0,
	};
	out->before = out->place;
	if ((type & DROP_LIST_MOVED) != 0) {
		if (list->len - bytes < DROP_LIST_MOVED_BYTES)
			return false;
		out->before = bole_flash_get_be40(p + bytes + DROP_LIST_BEFORE_AT);
		out->generation = bole_get_le32(p + bytes + DROP_LIST_GENERATION_AT);
		bytes += DROP_LIST_MOVED_BYTES;
	}
	list->ptr += bytes;
	list->len -= bytes;
	return true;
}

static struct flash_drop drop_of(const struct flash_found *f, const uint8_t *key, uint32_t key_len)
{
	bool extent = f->where == FOUND_EXTENT;

	return (struct flash_drop){
	        .key = key,
	        .place = f->place,
	        .before = f->moved ? f->from : f->place,
	        .generation = f->moved ? f->generation : 0,
	        .length =
	                extent ? 0 : (uint32_t)bole_flash_record_live(key_len, (uint32_t)f->stored),
	        .type = f->type,
	        .extent = extent,
	};
}

/* -- Beside the leader -- */

const struct flash_index *bole_flash_tx_seen(const struct flash_tx *tx)
{
	const struct flash_snapshot *s = tx->fresh != NULL ? tx->fresh : tx->view;

	return s->index;
}

/* Rows that are not in memory. */
struct note {
	struct bole_buffer value;
	uint32_t rows;
};

static enum bole_status note_row(void *ctx, const struct flash_found *found)
{
	struct note *n = ctx;

	if (found->where == FOUND_MEM || found->where == FOUND_FRESH)
		return BOLE_OK;
	if (n->rows++ == DROP_ROWS_MAX)
		return BOLE_E_LIMIT;
	struct flash_drop d = drop_of(found, NULL, 0);
	/* The id's length is added where it is known. */
	encode(&n->value, &d, 0);
	return n->value.rc;
}

/* Sets the word and the rows of an id; without the rows when they cannot be told. */
static enum bole_status look(struct flash_tx *tx, struct flash_snapshot *s, struct bole_bytes key,
                             uint8_t word, struct flash_table **drops)
{
	struct flash_volume *v = tx->v;
	struct note n = {.rows = 0};
	uint8_t first = word | TX_DROP_LOOKED_UP;

	bole_buffer_init(&n.value, v->alloc, (size_t)DROP_ROWS_MAX * DROP_LIST_HEAD_BYTES * 4);
	bole_buffer_append(&n.value, &first, 1);
	bool ok = n.value.rc == BOLE_OK && !bole_flash_pin_gone(&s->pin) &&
	          bole_flash_index_each(v, s->index, key.ptr, &s->reader, false, note_row, &n) ==
	                  BOLE_OK &&
	          !bole_flash_pin_gone(&s->pin);
	struct bole_bytes value = {&word, 1};
	if (ok)
		value = (struct bole_bytes){n.value.ptr, n.value.len};
	tx->unseen |= !ok;
	enum bole_status rc = bole_flash_table_set(&v->plain, drops, key, value);
	bole_buffer_release(&n.value);
	return rc;
}

enum bole_status bole_flash_drop_stage(struct flash_tx *tx, const uint8_t *key)
{
	struct bole_bytes k = {key, key_bytes(tx)};
	const struct flash_item *item = bole_flash_table_find(tx->drops, k);

	if (item == NULL)
		return look(tx, tx->view, k, TX_DROP_FINAL, &tx->drops);
	bole_flash_drop_word(item, TX_DROP_FINAL);
	return BOLE_OK;
}

void bole_flash_drop_word(const struct flash_item *item, uint8_t word)
{
	/* The table is the transaction's alone. */
	uint8_t *value = (uint8_t *)(uintptr_t)bole_flash_item_value(item).ptr;
	value[0] = (uint8_t)((value[0] & ~TX_DROP_WORDS) | word);
}

static bool same_extents(const struct flash_extents *a, const struct flash_extents *b)
{
	if (a == b)
		return true;
	if (a == NULL || b == NULL || a->count != b->count)
		return false;
	for (uint32_t i = 0; i < a->count; i++)
		if (a->by_id[i]->id != b->by_id[i]->id)
			return false;
	return true;
}

/* What is not in memory is the same: rows that were found there are there, but for those that rows
 * in memory kill, and what was not found is not. */
static bool same_below(const struct flash_index *a, const struct flash_index *b)
{
	static const struct flash_index none;

	a = a == NULL ? &none : a;
	b = b == NULL ? &none : b;
	return a->frozen.mem == b->frozen.mem && a->frozen.fresh == b->frozen.fresh &&
	       a->runs == b->runs && same_extents(a->extents, b->extents);
}

static uint64_t lookups(const struct flash_tx *tx)
{
	uint64_t n = tx->drops == NULL ? 0 : tx->drops->items;

	for (uint32_t i = 0; i < tx->puts; i++)
		n += tx->put[i].absent && !tx->put[i].dropped;
	return n;
}

bool bole_flash_tx_is_stale(const struct flash_tx *tx, const struct flash_index *now)
{
	return lookups(tx) > STALE_MIN && !same_below(bole_flash_tx_seen(tx), now);
}

static enum bole_status look_again(struct flash_tx *tx, struct flash_snapshot *s)
{
	struct flash_volume *v = tx->v;
	struct flash_table *drops = NULL;
	struct bole_bytes after = {NULL, 0};
	enum bole_status rc = BOLE_OK;

	for (const struct flash_item *item = bole_flash_table_next(tx->drops, after, true);
	     item != NULL && rc == BOLE_OK; item = bole_flash_table_next(tx->drops, after, false)) {
		after = bole_flash_item_key(item);
		uint8_t word = bole_flash_item_value(item).ptr[0] & TX_DROP_WORDS;
		rc = look(tx, s, after, word, &drops);
	}
	if (rc != BOLE_OK) {
		bole_flash_table_release(&v->plain, drops);
		return rc;
	}
	bole_flash_table_release(&v->plain, tx->drops);
	tx->drops = drops;
	for (uint32_t i = 0; i < tx->puts; i++) {
		struct flash_put *put = &tx->put[i];
		struct flash_found found;
		if (put->absent && !put->dropped && bole_flash_tx_drops(tx, put->key) == 0)
			put->absent = bole_flash_index_find(v, s->index, put->key, &s->reader,
			                                    &found) == BOLE_E_NOT_FOUND;
	}
	return bole_flash_pin_gone(&s->pin) ? BOLE_E_GONE : BOLE_OK;
}

void bole_flash_tx_refresh(struct flash_tx *tx)
{
	struct flash_volume *v = tx->v;
	struct flash_snapshot *s;

	if (lookups(tx) <= STALE_MIN || bole_flash_snapshot_open(v, tx->repo->id, &s) != BOLE_OK)
		return;
	bole_flash_lock(v);
	s->pin.leaving = true;
	bole_flash_unlock(v);
	bool same = !tx->unseen && same_below(bole_flash_tx_seen(tx), s->index);
	if (same || look_again(tx, s) != BOLE_OK) {
		bole_flash_snapshot_close(s);
		return;
	}
	if (tx->fresh != NULL)
		bole_flash_snapshot_close(tx->fresh);
	tx->fresh = s;
}

/* -- The leader -- */

/* The rows of one id. */
struct rows {
	struct flash_found *list;
	uint32_t count;
	uint32_t cap;
	struct bole_alloc *alloc;
};

static enum bole_status add_row(void *ctx, const struct flash_found *found)
{
	struct rows *r = ctx;

	if (r->count == r->cap) {
		uint32_t cap = r->cap == 0 ? 4 : r->cap * 2;
		void *list = bole_alloc_resize(r->alloc, r->list, r->cap, cap, sizeof *r->list);
		if (list == NULL)
			return BOLE_E_NO_MEMORY;
		r->list = list;
		r->cap = cap;
	}
	r->list[r->count++] = *found;
	return BOLE_OK;
}

static bool kills(const struct flash_mem_row *row, const struct flash_drop *d)
{
	for (uint32_t i = 0; i < row->kills; i++) {
		const uint8_t *kill = row->kill + (size_t)i * MEM_KILL_BYTES;
		bool extent = (bole_flash_kill_type(kill) & INDEX_EXTENT_ROW) != 0;
		if (bole_flash_kill_place(kill) == d->place && extent == d->extent)
			return true;
	}
	return false;
}

static enum bole_status row_of_fresh(const struct flash_volume *v, const struct flash_memory *m,
                                     struct bole_bytes key, struct rows *r)
{
	struct flash_fresh_row row;

	if (!bole_flash_memory_row(v, m, key, &row) ||
	    bole_flash_mem_kills_row(m->mem, key, row.place))
		return BOLE_OK;
	struct flash_found found = {
	        .place = row.place, .stored = row.stored, .type = row.type, .where = FOUND_FRESH};
	return add_row(r, &found);
}

/* From memory as it is now, and from what was found below it, which is the same still. */
static enum bole_status rows_known(const struct flash_volume *v, const struct flash_index *index,
                                   struct bole_bytes key, struct bole_bytes below, struct rows *r)
{
	struct flash_mem_row row = {.kills = 0};
	struct flash_drop d;

	(void)bole_flash_mem_get(index->now.mem, key, &row);
	if (row.has) {
		struct flash_found found = {.place = row.place,
		                            .stored = row.stored,
		                            .type = row.type,
		                            .moved = row.moved,
		                            .from = row.from,
		                            .generation = row.generation,
		                            .where = FOUND_MEM};
		BOLE_TRY(add_row(r, &found));
	}
	BOLE_TRY(row_of_fresh(v, &index->now, key, r));
	while (below.len != 0) {
		bool ok = bole_flash_drop_next(&below, 0, &d);
		BOLE_ASSERT(ok);
		if (kills(&row, &d))
			continue;
		struct flash_found found = {
		        .place = d.place,
		        .stored = d.extent ? 0 : d.length - bole_flash_record_live(0, 0),
		        .type = d.type,
		        .moved = d.generation != 0,
		        .from = d.before,
		        .generation = d.generation,
		        .where = d.extent ? FOUND_EXTENT : FOUND_RUN,
		};
		BOLE_TRY(add_row(r, &found));
	}
	return BOLE_OK;
}

static enum bole_status kill_rows(struct flash_volume *v, struct flash_index *draft,
                                  const uint8_t *key, const struct rows *r, struct bole_buffer *out)
{
	uint32_t key_len = draft->domain->key_len;

	for (uint32_t i = 0; i < r->count; i++) {
		struct flash_drop d = drop_of(&r->list[i], key, key_len);
		encode(out, &d, key_len);
		BOLE_TRY(bole_flash_index_kill(v, draft, key, &r->list[i]));
	}
	return out->rc;
}

enum bole_status bole_flash_drops_draft(struct flash_volume *v, const struct flash_tx *tx,
                                        struct flash_index *draft, struct bole_buffer *out)
{
	bool same = same_below(bole_flash_tx_seen(tx), draft);
	struct bole_bytes after = {NULL, 0};
	struct rows r = {.alloc = v->alloc};
	enum bole_status rc = BOLE_OK;

	for (const struct flash_item *item = bole_flash_table_next(tx->drops, after, true);
	     item != NULL && rc == BOLE_OK; item = bole_flash_table_next(tx->drops, after, false)) {
		struct bole_bytes value = bole_flash_item_value(item);
		after = bole_flash_item_key(item);
		r.count = 0;
		if (same && (value.ptr[0] & TX_DROP_LOOKED_UP) != 0)
			rc = rows_known(v, draft, after,
			                bole_bytes_of(value.ptr + 1, value.len - 1), &r);
		else
			rc = bole_flash_index_each(v, draft, after.ptr, &v->reader, false, add_row,
			                           &r);
		if (rc == BOLE_OK)
			rc = kill_rows(v, draft, after.ptr, &r, out);
	}
	bole_alloc_free(v->alloc, r.list, r.cap, sizeof *r.list);
	return rc;
}

/* The rows that one extent has of an id. */
static enum bole_status rows_of_extent(struct flash_extent *e, const uint8_t *key, struct rows *r)
{
	struct flash_extent_row row;

	for (uint32_t nth = 0;; nth++) {
		enum bole_status rc = bole_flash_extent_find(e, key, nth, &row);
		if (rc != BOLE_OK)
			return rc == BOLE_E_NOT_FOUND ? BOLE_OK : rc;
		struct flash_found found = {
		        .extent = e,
		        .place = bole_flash_place(e->slot, row.number),
		        .type = row.type,
		        .where = FOUND_EXTENT,
		};
		BOLE_TRY(add_row(r, &found));
	}
}

enum bole_status bole_flash_drops_late(struct flash_volume *v, const struct flash_tx *tx,
                                       struct flash_index *draft, struct bole_buffer *out)
{
	struct bole_bytes after = {NULL, 0};
	struct rows r = {.alloc = v->alloc};
	enum bole_status rc = BOLE_OK;

	if (tx->extents == 0)
		return BOLE_OK;
	for (const struct flash_item *item = bole_flash_table_next(tx->drops, after, true);
	     item != NULL && rc == BOLE_OK; item = bole_flash_table_next(tx->drops, after, false)) {
		after = bole_flash_item_key(item);
		if ((bole_flash_item_value(item).ptr[0] & TX_DROP_FINAL) == 0)
			continue;
		r.count = 0;
		for (uint32_t i = 0; i < tx->extents && rc == BOLE_OK; i++)
			rc = rows_of_extent(tx->extent[i], after.ptr, &r);
		if (rc == BOLE_OK)
			rc = kill_rows(v, draft, after.ptr, &r, out);
	}
	bole_alloc_free(v->alloc, r.list, r.cap, sizeof *r.list);
	return rc;
}

/* -- In the log -- */

uint64_t bole_flash_drops_bytes(const struct bole_buffer *list, uint32_t *longest)
{
	enum {
		LEAST = DROPS_RECORD_BYTES - DROP_LIST_HEAD_BYTES - BOLE_OID_BYTES_MAX -
		        DROP_LIST_MOVED_BYTES
	};

	*longest = 0;
	if (list->len == 0)
		return 0;
	*longest = RECORD_HEAD_BYTES +
	           (list->len < DROPS_RECORD_BYTES ? (uint32_t)list->len : DROPS_RECORD_BYTES);
	return list->len + (list->len / LEAST + 1) * (uint64_t)RECORD_HEAD_BYTES;
}

enum bole_status bole_flash_drops_write(struct flash_volume *v, const struct flash_domain *domain,
                                        const struct bole_buffer *list)
{
	struct flash_record r = {.kind = FLASH_RECORD_DROP, .owner = domain->id};
	struct bole_bytes rest = {list->ptr, list->len};
	struct bole_bytes piece = {list->ptr, 0};
	struct flash_drop d;

	while (rest.len != 0) {
		size_t before = rest.len;
		bool ok = bole_flash_drop_next(&rest, domain->key_len, &d);
		BOLE_ASSERT(ok);
		size_t bytes = before - rest.len;
		if (piece.len + bytes > DROPS_RECORD_BYTES) {
			BOLE_TRY(bole_flash_batch_add(v, &r, &piece, 1, NULL, NULL));
			piece = (struct bole_bytes){piece.ptr + piece.len, 0};
		}
		piece.len += bytes;
	}
	return piece.len == 0 ? BOLE_OK : bole_flash_batch_add(v, &r, &piece, 1, NULL, NULL);
}

void bole_flash_drops_die(struct flash_volume *v, const struct flash_domain *domain,
                          const struct bole_buffer *list)
{
	struct bole_bytes rest = {list->ptr, list->len};
	struct flash_drop d;

	while (rest.len != 0 && bole_flash_drop_next(&rest, domain->key_len, &d))
		if (d.length != 0)
			bole_flash_live_draft(v, bole_flash_place_segment(d.place), 0, d.length);
}
