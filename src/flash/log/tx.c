/* SPDX-License-Identifier: ISC */
/* Transactions: what is collected in memory before the commit. */
#include "flash/log/drop.h"
#include "flash/space/mark.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

enum {
	TX_DATA_BYTES = 1 << 20, /* puts held in memory; more are spilled to an extent */
	TX_FIRST_PUTS = 16,
	ROOM_PUTS = 8192,
	ROOM_SPARSE = 4,
	TX_TRIES = 4, /* to commit with what was looked up beside the leader */
};

/* -- Room for puts, kept for the next transaction where memory is not limited -- */

static void room_free(struct flash_volume *v, struct flash_room *room)
{
	bole_alloc_free(v->alloc, room->put, room->puts_cap, sizeof *room->put);
	bole_alloc_free(v->alloc, room->slot, room->slots, sizeof *room->slot);
	bole_buffer_release(&room->data);
}

static void room_take(struct flash_tx *tx)
{
	struct flash_volume *v = tx->v;

	bole_flash_lock(v);
	struct flash_room room = v->room;
	v->room = (struct flash_room){.slots = 0};
	bole_flash_unlock(v);
	if (room.put == NULL)
		return;
	tx->data = room.data;
	tx->put = room.put;
	tx->puts_cap = room.puts_cap;
	tx->slot = room.slot;
	tx->slots = room.slots;
}

/* All slots become zero again; few puts pay for few. What follows a slot without a gap goes with
 * it, so that a put which is no longer reached from where it begins is gone, too. */
static void slots_clear(struct flash_tx *tx)
{
	if (tx->puts > tx->puts_cap / ROOM_SPARSE) {
		memset(tx->slot, 0, tx->slots * sizeof *tx->slot);
		return;
	}
	for (uint32_t i = 0; i < tx->puts; i++)
		for (uint64_t at = tx->put[i].hash; tx->slot[at & (tx->slots - 1)] != 0; at++)
			tx->slot[at & (tx->slots - 1)] = 0;
}

static void room_give(struct flash_tx *tx)
{
	struct flash_volume *v = tx->v;

	bool keep = tx->put != NULL && v->budget.limit == SIZE_MAX && tx->puts_cap <= ROOM_PUTS &&
	            tx->data.cap <= TX_DATA_BYTES;
	if (keep)
		slots_clear(tx);
	tx->data.len = 0;
	tx->data.rc = BOLE_OK;
	struct flash_room room = {tx->data, tx->put, tx->puts_cap, tx->slot, tx->slots};
	if (keep) {
		bole_flash_lock(v);
		struct flash_room other = v->room;
		v->room = room;
		bole_flash_unlock(v);
		room = other;
	}
	room_free(v, &room);
}

void bole_flash_room_close(struct flash_volume *v)
{
	room_free(v, &v->room);
	v->room = (struct flash_room){.slots = 0};
}

enum bole_status bole_flash_tx_begin(struct flash_volume *v, uint32_t repo, struct flash_tx **out)
{
	if (!bole_flash_writable(v))
		return BOLE_E_READ_ONLY;
	struct flash_tx *tx = bole_alloc_zeroed(v->alloc, 1, sizeof *tx);
	if (tx == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = bole_flash_snapshot_open(v, repo, &tx->view);
	if (rc != BOLE_OK) {
		bole_alloc_free(v->alloc, tx, 1, sizeof *tx);
		return rc;
	}
	tx->v = v;
	tx->repo = tx->view->repo;
	tx->view->tx = tx;
	tx->pub.view = &tx->view->pub;
	bole_buffer_init(&tx->data, v->alloc, 2 * (size_t)TX_DATA_BYTES);
	room_take(tx);
	bole_flash_tx_link(tx);
	*out = tx;
	return BOLE_OK;
}

/* -- Puts -- */

static bool find_any(const struct flash_tx *tx, const uint8_t *key, uint64_t hash, uint32_t *at)
{
	if (tx->slots == 0)
		return false;
	for (uint64_t i = hash;; i++) {
		uint32_t slot = tx->slot[i & (tx->slots - 1)];
		if (slot == 0)
			return false;
		const struct flash_put *put = &tx->put[slot - 1];
		if (put->hash == hash && memcmp(put->key, key, tx->repo->domain->key_len) == 0) {
			*at = slot - 1;
			return true;
		}
	}
}

static uint64_t hash_of(const struct flash_tx *tx, const uint8_t *key)
{
	return bole_flash_key_hash(tx->v, key, tx->repo->domain->key_len);
}

bool bole_flash_tx_find_put(const struct flash_tx *tx, const uint8_t *key, uint64_t hash,
                            uint32_t *at)
{
	return find_any(tx, key, hash, at) && !tx->put[*at].dropped;
}

static void hash_put(struct flash_tx *tx, uint32_t at)
{
	uint64_t i = tx->put[at].hash;

	while (tx->slot[i & (tx->slots - 1)] != 0)
		i++;
	tx->slot[i & (tx->slots - 1)] = at + 1;
}

static enum bole_status room_for_put(struct flash_tx *tx)
{
	struct bole_alloc *alloc = tx->v->alloc;

	if (tx->puts < tx->puts_cap)
		return BOLE_OK;
	uint32_t cap = tx->puts_cap == 0 ? TX_FIRST_PUTS : tx->puts_cap * 2;
	uint32_t *slot = bole_alloc_zeroed(alloc, (size_t)cap * 2, sizeof *slot);
	void *put = slot == NULL
	                    ? NULL
	                    : bole_alloc_resize(alloc, tx->put, tx->puts_cap, cap, sizeof *tx->put);
	if (put == NULL) {
		bole_alloc_free(alloc, slot, (size_t)cap * 2, sizeof *slot);
		return BOLE_E_NO_MEMORY;
	}
	bole_alloc_free(alloc, tx->slot, tx->slots, sizeof *tx->slot);
	tx->slot = slot;
	tx->slots = cap * 2;
	tx->put = put;
	tx->puts_cap = cap;
	for (uint32_t i = 0; i < tx->puts; i++)
		hash_put(tx, i);
	return BOLE_OK;
}

/* -- Drops -- */

/* What was dropped comes back. */
static void again(struct flash_tx *tx, const uint8_t *key)
{
	const struct flash_item *item = bole_flash_table_find(
	        tx->drops, (struct bole_bytes){key, tx->repo->domain->key_len});

	if (item != NULL)
		bole_flash_drop_word(item, TX_DROP_AGAIN);
}

enum bole_status bole_flash_tx_again(struct flash_tx *tx, const struct flash_extent *extent)
{
	struct bole_bytes after = {NULL, 0};
	struct flash_extent_row row;

	for (const struct flash_item *item = bole_flash_table_next(tx->drops, after, true);
	     item != NULL; item = bole_flash_table_next(tx->drops, after, false)) {
		after = bole_flash_item_key(item);
		enum bole_status rc = bole_flash_extent_find(extent, after.ptr, 0, &row);
		if (rc == BOLE_E_NOT_FOUND)
			continue;
		BOLE_TRY(rc);
		bole_flash_drop_word(item, TX_DROP_AGAIN);
	}
	return BOLE_OK;
}

uint8_t bole_flash_tx_drops(const struct flash_tx *tx, const uint8_t *key)
{
	struct bole_bytes k = {key, tx->repo->domain->key_len};
	const struct flash_item *item = bole_flash_table_find(tx->drops, k);

	return item == NULL ? 0 : bole_flash_item_value(item).ptr[0] & TX_DROP_WORDS;
}

enum bole_status bole_flash_tx_put(struct flash_tx *tx, const struct bole_oid *oid, uint8_t type,
                                   const struct bole_bytes *pieces, size_t count)
{
	struct bole_entry found;
	size_t len = 0;
	uint32_t at;

	if (tx->given)
		return BOLE_E_INVALID;
	BOLE_TRY(tx->broken);
	for (size_t i = 0; i < count; i++)
		if (__builtin_add_overflow(len, pieces[i].len, &len))
			return BOLE_E_LIMIT;
	if (len == 0)
		return BOLE_E_INVALID;
	if (len > tx->v->record_max)
		return BOLE_E_LIMIT;
	uint64_t hash = hash_of(tx, oid->bytes);
	enum bole_status rc = bole_flash_find_hashed(tx->view, oid, hash, &found);
	if (rc == BOLE_OK || rc == BOLE_E_GONE)
		return rc; /* nothing of what is staged to be dropped is found */
	again(tx, oid->bytes);
	if (tx->drops != NULL && find_any(tx, oid->bytes, hash, &at)) {
		tx->put[at].dropped = false;
		return BOLE_OK;
	}
	if (tx->data.len + len > TX_DATA_BYTES)
		BOLE_TRY(bole_flash_tx_spill(tx));
	BOLE_TRY(room_for_put(tx));
	uint8_t *dst = bole_buffer_reserve(&tx->data, len);
	if (dst == NULL) {
		tx->data.rc = BOLE_OK; /* this put failed, not the transaction */
		return BOLE_E_NO_MEMORY;
	}
	struct flash_put *put = &tx->put[tx->puts];
	*put = (struct flash_put){.type = type,
	                          .absent = rc == BOLE_E_NOT_FOUND,
	                          .at = (uint32_t)tx->data.len,
	                          .stored = (uint32_t)len,
	                          .hash = hash};
	memcpy(put->key, oid->bytes, sizeof put->key);
	for (size_t i = 0; i < count; i++) {
		if (pieces[i].len != 0)
			memcpy(dst, pieces[i].ptr, pieces[i].len);
		dst += pieces[i].len;
	}
	tx->data.len += len;
	hash_put(tx, tx->puts++);
	return BOLE_OK;
}

enum bole_status bole_flash_tx_drop(struct flash_tx *tx, const struct bole_oid *oid)
{
	uint32_t at;

	if (tx->given)
		return BOLE_E_INVALID;
	BOLE_TRY(tx->broken);
	BOLE_TRY(bole_flash_drop_stage(tx, oid->bytes));
	if (find_any(tx, oid->bytes, hash_of(tx, oid->bytes), &at))
		tx->put[at].dropped = true;
	return BOLE_OK;
}

static int order_rows(const void *a, const void *b, uint32_t key_len)
{
	return memcmp(a, b, key_len);
}

/* Puts are distinct, so the order of keys is total. A heap sort: rows have a width that qsort's
 * callback cannot be told. */
static void sift(uint8_t *rows, size_t width, uint32_t key_len, uint32_t root, uint32_t n)
{
	uint8_t swap[BOLE_OID_BYTES_MAX + ROW_BYTES];

	for (;;) {
		uint64_t child = 2 * (uint64_t)root + 1;
		if (child >= n)
			return;
		if (child + 1 < n &&
		    order_rows(rows + child * width, rows + (child + 1) * width, key_len) < 0)
			child++;
		if (order_rows(rows + root * width, rows + child * width, key_len) >= 0)
			return;
		memcpy(swap, rows + root * width, width);
		memcpy(rows + root * width, rows + child * width, width);
		memcpy(rows + child * width, swap, width);
		root = (uint32_t)child;
	}
}

static void sort_rows(uint8_t *rows, size_t width, uint32_t key_len, uint32_t n)
{
	uint8_t swap[BOLE_OID_BYTES_MAX + ROW_BYTES];

	for (uint32_t i = n / 2; i > 0; i--)
		sift(rows, width, key_len, i - 1, n);
	for (uint32_t end = n; end > 1; end--) {
		memcpy(swap, rows, width);
		memcpy(rows, rows + (end - 1) * width, width);
		memcpy(rows + (end - 1) * width, swap, width);
		sift(rows, width, key_len, 0, end - 1);
	}
}

/* Writes the puts so far as an extent of our own: data in the order of the puts. */
static enum bole_status spill_out(struct flash_tx *tx, struct flash_stream *s)
{
	uint32_t key_len = tx->repo->domain->key_len;
	size_t width = (size_t)key_len + ROW_BYTES;

	BOLE_TRY(bole_flash_stream_select(s, FLASH_FRAGMENT_DATA));
	BOLE_TRY(bole_flash_stream_append(s, tx->data.ptr, tx->data.len));
	uint8_t *table = bole_alloc_array(tx->v->alloc, tx->puts, width);
	if (table == NULL)
		return BOLE_E_NO_MEMORY;
	for (uint32_t i = 0; i < tx->puts; i++) {
		const struct flash_put *put = &tx->put[i];
		uint8_t *row = table + i * width;
		memcpy(row, put->key, key_len);
		bole_flash_row_put(
		        row, key_len, put->at, put->stored, put->type,
		        (uint32_t)bole_flash_sum(tx->data.ptr + put->at, put->stored, s->extent));
	}
	sort_rows(table, width, key_len, tx->puts);
	enum bole_status rc = bole_flash_extent_seal(tx, s, tx->data.len, table, tx->puts);
	bole_alloc_free(tx->v->alloc, table, tx->puts, width);
	return rc;
}

enum bole_status bole_flash_tx_spill(struct flash_tx *tx)
{
	struct flash_volume *v = tx->v;
	struct flash_stream s;

	if (tx->puts == 0)
		return BOLE_OK;
	void *list = tx->spills == 0 ? bole_alloc_array(v->alloc, 1, sizeof *tx->spill)
	                             : bole_alloc_resize(v->alloc, tx->spill, tx->spills,
	                                                 tx->spills + 1, sizeof *tx->spill);
	if (list == NULL)
		return BOLE_E_NO_MEMORY;
	tx->spill = list;
	tx->spill[tx->spills++] = (struct flash_spill){tx->first_put, NULL};
	bole_flash_lock(v);
	uint64_t id = v->next_extent++;
	bole_flash_unlock(v);
	bole_flash_stream_init(&s, v, id, tx->repo->domain->id, FLASH_SEGMENT_DATA, FLASH_FOR_DATA);
	enum bole_status rc = spill_out(tx, &s);
	bole_flash_stream_release(&s, rc == BOLE_OK);
	if (rc != BOLE_OK) {
		/* The list keeps its length for the allocator; nothing points at the entry. */
		tx->spill[tx->spills - 1].first = UINT64_MAX;
		tx->broken = rc;
		return rc;
	}
	tx->spill[tx->spills - 1].extent = tx->extent[tx->extents - 1];
	tx->first_put += tx->puts;
	tx->puts = 0;
	tx->data.len = 0;
	memset(tx->slot, 0, tx->slots * sizeof *tx->slot);
	return BOLE_OK;
}

/* -- Ends -- */

static void free_lists(struct flash_tx *tx)
{
	struct bole_alloc *alloc = tx->v->alloc;

	room_give(tx);
	bole_alloc_free(alloc, tx->spill, tx->spills, sizeof *tx->spill);
	for (uint32_t i = 0; i < tx->extents; i++)
		bole_flash_extent_release(tx->extent[i]);
	bole_alloc_free(alloc, tx->extent, tx->extents, sizeof *tx->extent);
	for (uint32_t i = 0; i < tx->auxwrites; i++)
		bole_alloc_free(alloc, tx->auxwrite[i].bytes,
		                (size_t)tx->auxwrite[i].key_len + tx->auxwrite[i].value_len, 1);
	bole_alloc_free(alloc, tx->auxwrite, tx->auxwrites_cap, sizeof *tx->auxwrite);
	bole_flash_rows_release(alloc, tx->run);
	bole_flash_table_release(&tx->v->plain, tx->drops);
	bole_alloc_free(alloc, tx->window, tx->v->fragment_bytes + bole_flash_read_slack(tx->v), 1);
}

void bole_flash_tx_free(struct flash_tx *tx)
{
	bole_flash_tx_unlink(tx);
	if (tx->streaming)
		bole_flash_stream_release(&tx->stream, false);
	/* Whoever removes the repository takes what is prepared along. */
	bole_flash_lock(tx->v);
	if (tx->prepared != NULL)
		tx->prepared->tx = NULL;
	bole_flash_unlock(tx->v);
	free_lists(tx);
	if (tx->fresh != NULL)
		bole_flash_snapshot_close(tx->fresh);
	bole_flash_snapshot_close(tx->view);
	bole_alloc_free(tx->v->alloc, tx, 1, sizeof *tx);
}

/* What was written for the transaction and nobody will ever see. */
static void drop_extents(struct flash_tx *tx)
{
	for (uint32_t i = 0; i < tx->extents && !tx->given; i++)
		bole_flash_extent_change(tx->extent[i], FLASH_HELD_DROPPED, false);
}

void bole_flash_tx_abort(struct flash_tx *tx)
{
	if (tx->prepared != NULL) {
		struct flash_request request = {.kind = FLASH_REQUEST_DROP, .tx = tx};
		/* If the device refuses, the prepared transaction is found at the next mount. */
		(void)bole_flash_submit(tx->v, &request);
	} else {
		drop_extents(tx);
	}
	bole_flash_tx_free(tx);
}

/* Looking things up again is no work for the leader, for whom others wait; but it must end. */
static enum bole_status publish(struct flash_tx *tx, struct flash_request *request)
{
	enum bole_status rc;

	for (int tries = 1;; tries++) {
		bole_flash_tx_refresh(tx);
		request->insists = tries == TX_TRIES;
		rc = bole_flash_submit(tx->v, request);
		if (rc != BOLE_AGAIN)
			return rc;
	}
}

enum bole_status bole_flash_tx_commit(struct flash_tx *tx, const struct bole_ref_update *updates,
                                      size_t count, size_t *failed)
{
	struct flash_request request = {
	        .kind = FLASH_REQUEST_COMMIT, .tx = tx, .updates = updates, .count = count};
	enum bole_status rc = tx->broken;

	if (tx->streaming)
		rc = BOLE_E_INVALID;
	if (count > BOLE_REF_UPDATES_MAX)
		rc = BOLE_E_LIMIT;
	bole_flash_lock(tx->v);
	tx->view->pin.leaving = true;
	bole_flash_unlock(tx->v);
	if (rc == BOLE_OK)
		rc = publish(tx, &request);
	if (rc == BOLE_E_CONFLICT) {
		*failed = request.failed;
		return rc;
	}
	/* After an I/O error nobody knows what is on the device: it stays occupied. */
	if (rc != BOLE_OK && !request.written && tx->prepared == NULL)
		drop_extents(tx);
	struct flash_volume *v = tx->v;
	uint64_t bytes = tx->data.len;
	bole_flash_tx_free(tx);
	bole_flash_after(v, bytes);
	return rc;
}

enum bole_status bole_flash_tx_prepare(struct flash_tx *tx, struct bole_tx_token *out)
{
	struct flash_request request = {.kind = FLASH_REQUEST_PREPARE, .tx = tx};

	if (tx->streaming || tx->given)
		return BOLE_E_INVALID;
	BOLE_TRY(tx->broken);
	BOLE_TRY(bole_flash_submit(tx->v, &request));
	*out = request.token;
	return BOLE_OK;
}

/* What waits under a token and nobody has resumed. Lock held. */
static struct flash_prepared *prepared_find(struct flash_volume *v,
                                            const struct bole_tx_token *token)
{
	struct flash_prepared *p = v->prepared;

	while (p != NULL &&
	       (p->tx != NULL || memcmp(p->token.bytes, token->bytes, sizeof token->bytes) != 0))
		p = p->next;
	return p;
}

void bole_flash_prepared_free(struct flash_volume *v, struct flash_prepared *p, bool drop)
{
	if (p == NULL)
		return;
	for (uint32_t i = 0; drop && p->run != NULL && i < p->run->count; i++) {
		struct flash_home home = bole_flash_rows_home(p->run, i);
		bole_flash_lock(v);
		bole_flash_live_sub(v, home.segment,
		                    bole_flash_record_live(p->run->key_len, home.stored));
		bole_flash_unlock(v);
	}
	for (uint32_t i = 0; i < p->extents; i++) {
		if (drop)
			bole_flash_extent_change(p->extent[i], FLASH_LIVE_DROPPED, false);
		bole_flash_extent_release(p->extent[i]);
	}
	if (drop)
		bole_flash_aux_dropped(v, p->aux);
	bole_alloc_free(v->alloc, p->extent, p->extents, sizeof *p->extent);
	bole_flash_rows_release(v->alloc, p->run);
	bole_flash_table_release(&v->aux, p->aux);
	bole_flash_table_release(&v->plain, p->drops);
	bole_flash_repo_release(v, p->repo);
	bole_alloc_free(v->alloc, p, 1, sizeof *p);
}

/* The view of a transaction has references of its own to what was prepared, which goes when its
 * repository is removed. Lock held. */
static enum bole_status hold(struct flash_tx *tx, const struct flash_prepared *p)
{
	if (p->extents != 0) {
		tx->extent = bole_alloc_array(tx->v->alloc, p->extents, sizeof *tx->extent);
		if (tx->extent == NULL)
			return BOLE_E_NO_MEMORY;
	}
	for (; tx->extents < p->extents; tx->extents++) {
		tx->extent[tx->extents] = p->extent[tx->extents];
		atomic_fetch_add(&p->extent[tx->extents]->refs, 1);
	}
	tx->run = p->run;
	if (p->run != NULL)
		atomic_fetch_add(&p->run->refs, 1);
	tx->drops = bole_flash_table_retain(p->drops);
	tx->unseen = true;
	tx->given = true;
	return BOLE_OK;
}

enum bole_status bole_flash_tx_resume(struct flash_volume *v, const struct bole_tx_token *token,
                                      struct flash_tx **out)
{
	struct flash_tx *tx;

	bole_flash_lock(v);
	struct flash_prepared *p = prepared_find(v, token);
	uint32_t repo = p == NULL ? 0 : p->repo->id;
	bole_flash_unlock(v);
	if (p == NULL)
		return BOLE_E_NOT_FOUND;
	BOLE_TRY(bole_flash_tx_begin(v, repo, &tx));
	bole_flash_lock(v);
	p = prepared_find(v, token);
	enum bole_status rc = BOLE_E_NOT_FOUND;
	if (p != NULL) {
		rc = hold(tx, p);
		p->tx = tx;
		tx->prepared = p;
	}
	bole_flash_unlock(v);
	if (rc != BOLE_OK) {
		bole_flash_tx_free(tx);
		return rc;
	}
	*out = tx;
	return BOLE_OK;
}
