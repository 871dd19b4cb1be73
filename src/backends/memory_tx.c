/* SPDX-License-Identifier: ISC */
/* Transactions of the memory store. */
#include <string.h>

#include "backends/memory_store.h"
#include "base/bytes.h"
#include "base/check.h"

enum { EXTENT_FIRST_BYTES = 4096 };

static struct mem_tx *tx_of(struct bole_tx *tx)
{
	return (struct mem_tx *)tx;
}

void bole_mem_tx_rely(struct mem_store *store, struct mem_tx *tx, const struct bole_oid *oid)
{
	bole_mem_mark_note(store, tx->view.domain, oid);
	if (bole_mem_oids_grow(store, &tx->relied, tx->relied_count, &tx->relied_cap) == BOLE_OK)
		tx->relied[tx->relied_count++] = *oid;
	else
		tx->relied_lost = true;
}

static uint64_t drop_hash(const void *item)
{
	return bole_get_le64(((const struct mem_drop *)item)->oid.bytes);
}

static bool drop_same(const void *item, const void *other)
{
	return bole_oid_equal(&((const struct mem_drop *)item)->oid,
	                      &((const struct mem_drop *)other)->oid);
}

static const struct mem_map_kind by_drop = {drop_hash, drop_same};

static struct mem_drop *drop_find(const struct mem_tx *tx, const struct bole_oid *oid)
{
	struct mem_drop probe = {.oid = *oid};

	return bole_mem_map_find(&tx->drops, &by_drop, &probe);
}

bool bole_mem_tx_drops(const struct mem_tx *tx, const struct bole_oid *oid)
{
	const struct mem_drop *drop = drop_find(tx, oid);

	return drop != NULL && drop->on;
}

/* A put after a drop: the id stays. */
static void drop_off(struct mem_tx *tx, const struct bole_oid *oid)
{
	struct mem_drop *drop = drop_find(tx, oid);

	if (drop != NULL)
		drop->on = false;
}

static enum bole_status mem_begin(struct bole_store *base, uint32_t repo_id, struct bole_tx **out)
{
	struct mem_store *store = mem_store_of(base);
	struct mem_tx *tx = bole_alloc_zeroed(store->alloc, 1, sizeof *tx);

	if (tx == NULL)
		return BOLE_E_NO_MEMORY;
	bole_mem_lock(store);
	struct mem_repo *repo = bole_mem_repo_by_id(store, repo_id);
	if (repo != NULL) {
		tx->view.base.store = base;
		tx->view.base.repo = repo->info;
		tx->view.domain = repo->domain;
		tx->view.domain->holders++;
		tx->view.state = repo->state;
		tx->view.state->holders++;
		tx->view.tx = tx;
		tx->base.store = base;
		tx->base.view = &tx->view.base;
		tx->next_open = repo->domain->open;
		repo->domain->open = tx;
		*out = &tx->base;
	}
	bole_mem_unlock(store);
	if (repo != NULL)
		return BOLE_OK;
	bole_alloc_free(store->alloc, tx, 1, sizeof *tx);
	return BOLE_E_NOT_FOUND;
}

static struct mem_home *home_make(struct mem_store *store, size_t cap)
{
	struct mem_home *home = bole_alloc_zeroed(store->alloc, 1, sizeof *home);

	if (home == NULL)
		return NULL;
	home->holders = 1;
	home->bytes = bole_alloc_array(store->alloc, cap, 1);
	if (home->bytes == NULL) {
		bole_mem_home_free(store, home);
		return NULL;
	}
	home->cap = cap;
	bole_mem_lock(store);
	home->id = ++store->next_home;
	bole_mem_unlock(store);
	return home;
}

/* Gives a home its table and adds it to what the transaction has. Takes the home over. */
static enum bole_status home_finish(struct mem_tx *tx, struct mem_home *home,
                                    const struct bole_extent_row *rows, size_t count)
{
	struct mem_store *store = mem_store_of(tx->base.store);
	enum bole_status rc = BOLE_OK;

	if (count > 0) {
		home->rows = bole_alloc_array(store->alloc, count, sizeof *rows);
		if (home->rows == NULL) {
			bole_mem_home_free(store, home);
			return BOLE_E_NO_MEMORY;
		}
		memcpy(home->rows, rows, count * sizeof *rows);
		home->row_count = count;
	}
	bole_mem_lock(store);
	for (size_t i = 0; i < count; i++)
		drop_off(tx, &rows[i].oid);
	rc = bole_mem_objects_add(store, tx, home);
	bole_mem_unlock(store);
	if (rc != BOLE_OK)
		bole_mem_home_free(store, home);
	else
		tx->user_bytes += home->len;
	return rc;
}

static enum bole_status mem_put(struct bole_tx *base, const struct bole_oid *oid, uint8_t type,
                                const struct bole_bytes *pieces, size_t count)
{
	struct mem_tx *tx = tx_of(base);
	struct mem_store *store = mem_store_of(base->store);
	struct bole_entry there;
	size_t len = 0;

	BOLE_ASSERT(!tx->prepared);
	drop_off(tx, oid);
	enum bole_status rc = bole_odb_find(base->view, oid, &there);
	if (rc != BOLE_E_NOT_FOUND)
		return rc;
	for (size_t i = 0; i < count; i++)
		len += pieces[i].len;
	struct mem_home *home = home_make(store, len);
	if (home == NULL)
		return BOLE_E_NO_MEMORY;
	for (size_t i = 0; i < count; i++) {
		if (pieces[i].len > 0)
			memcpy(home->bytes + home->len, pieces[i].ptr, pieces[i].len);
		home->len += pieces[i].len;
	}
	struct bole_extent_row row = {.oid = *oid, .stored_bytes = len, .type = type};
	return home_finish(tx, home, &row, 1);
}

static enum bole_status mem_tx_drop(struct bole_tx *base, const struct bole_oid *oid)
{
	struct mem_tx *tx = tx_of(base);
	struct mem_store *store = mem_store_of(base->store);
	struct mem_drop *drop = drop_find(tx, oid);

	BOLE_ASSERT(!tx->prepared);
	if (drop != NULL) {
		drop->on = true;
		return BOLE_OK;
	}
	BOLE_TRY(bole_mem_map_reserve(&tx->drops, &by_drop, store->alloc, 1));
	drop = bole_alloc_zeroed(store->alloc, 1, sizeof *drop);
	if (drop == NULL)
		return BOLE_E_NO_MEMORY;
	*drop = (struct mem_drop){.oid = *oid, .on = true};
	bole_mem_map_add(&tx->drops, &by_drop, drop);
	return BOLE_OK;
}

static enum bole_status mem_extent_begin(struct bole_tx *base, uint64_t *extent)
{
	struct mem_tx *tx = tx_of(base);

	BOLE_ASSERT(!tx->prepared);
	BOLE_ASSERT(tx->pending == NULL);
	tx->pending = home_make(mem_store_of(base->store), EXTENT_FIRST_BYTES);
	if (tx->pending == NULL)
		return BOLE_E_NO_MEMORY;
	tx->pending->extent = true;
	*extent = tx->pending->id;
	return BOLE_OK;
}

static enum bole_status mem_extent_append(struct bole_tx *base, struct bole_bytes bytes)
{
	struct mem_home *home = tx_of(base)->pending;

	BOLE_ASSERT(home != NULL);
	if (bytes.len > home->cap - home->len) {
		size_t cap = home->cap * 2 - home->len > bytes.len ? home->cap * 2
		                                                   : home->len + bytes.len;
		uint8_t *moved = bole_alloc_resize(mem_store_of(base->store)->alloc, home->bytes,
		                                   home->cap, cap, 1);
		if (moved == NULL)
			return BOLE_E_NO_MEMORY;
		home->bytes = moved;
		home->cap = cap;
	}
	memcpy(home->bytes + home->len, bytes.ptr, bytes.len);
	home->len += bytes.len;
	return BOLE_OK;
}

static enum bole_status mem_extent_read(struct bole_tx *base, uint64_t offset, void *dst,
                                        size_t len)
{
	struct mem_home *home = tx_of(base)->pending;

	BOLE_ASSERT(home != NULL);
	BOLE_ASSERT(bole_in_bounds(offset, len, home->len));
	memcpy(dst, home->bytes + offset, len);
	return BOLE_OK;
}

static enum bole_status mem_extent_finish(struct bole_tx *base, const struct bole_extent_row *rows,
                                          size_t count)
{
	struct mem_tx *tx = tx_of(base);
	struct mem_home *home = tx->pending;

	BOLE_ASSERT(home != NULL);
	for (size_t i = 0; i < count; i++)
		BOLE_ASSERT(bole_in_bounds(rows[i].offset, rows[i].stored_bytes, home->len));
	tx->pending = NULL;
	return home_finish(tx, home, rows, count);
}

/* -- Ends -- */

static void prepared_remove(struct mem_store *store, struct mem_tx *tx)
{
	struct mem_tx **at = &store->prepared;

	while (*at != NULL && *at != tx)
		at = &(*at)->next_prepared;
	if (*at != NULL)
		*at = tx->next_prepared;
}

static void open_remove(struct mem_domain *domain, struct mem_tx *tx)
{
	struct mem_tx **at = &domain->open;

	while (*at != tx)
		at = &(*at)->next_open;
	*at = tx->next_open;
}

static void tx_free(struct mem_store *store, struct mem_tx *tx)
{
	bole_mem_lock(store);
	prepared_remove(store, tx);
	open_remove(tx->view.domain, tx);
	for (size_t i = 0; i < tx->drops.cap; i++)
		if (tx->drops.slots[i] != NULL)
			bole_alloc_free(store->alloc, tx->drops.slots[i], 1,
			                sizeof(struct mem_drop));
	bole_mem_map_release(&tx->drops, store->alloc);
	bole_alloc_free(store->alloc, tx->relied, tx->relied_cap, sizeof *tx->relied);
	bole_mem_objects_release(store, &tx->added);
	for (size_t i = 0; i < tx->aux_count; i++)
		bole_mem_aux_drop(store, tx->aux[i]);
	bole_mem_state_drop(store, tx->view.state);
	bole_mem_domain_drop(store, tx->view.domain);
	bole_mem_unlock(store);
	bole_alloc_free(store->alloc, tx->aux, tx->aux_cap, sizeof *tx->aux);
	bole_mem_home_free(store, tx->pending);
	bole_alloc_free(store->alloc, tx, 1, sizeof *tx);
}

static void mem_abort(struct bole_tx *base)
{
	tx_free(mem_store_of(base->store), tx_of(base));
}

/* After a restart nobody has the old handle; within one process it is this very transaction. */
static enum bole_status mem_resume(struct bole_store *base, const struct bole_tx_token *token,
                                   struct bole_tx **out)
{
	struct mem_store *store = mem_store_of(base);

	bole_mem_lock(store);
	struct mem_tx *tx = store->prepared;
	while (tx != NULL && memcmp(&tx->token, token, sizeof *token) != 0)
		tx = tx->next_prepared;
	bole_mem_unlock(store);
	if (tx == NULL)
		return BOLE_E_NOT_FOUND;
	*out = &tx->base;
	return BOLE_OK;
}

static enum bole_status mem_prepare(struct bole_tx *base, struct bole_tx_token *out)
{
	struct mem_tx *tx = tx_of(base);
	struct mem_store *store = mem_store_of(base->store);

	BOLE_ASSERT(!tx->prepared);
	BOLE_ASSERT(tx->pending == NULL);
	store->platform->ops->random(store->platform, &tx->token, sizeof tx->token);
	*out = tx->token;
	bole_mem_lock(store);
	tx->prepared = true;
	tx->next_prepared = store->prepared;
	store->prepared = tx;
	bole_mem_unlock(store);
	return BOLE_OK;
}

static bool keep_undropped(const struct mem_object *object, const void *tx)
{
	return !bole_mem_tx_drops(tx, &object->oid);
}

/* The version that the transaction's objects go into, held: the newest, or a new one without what
 * the transaction drops. */
static enum bole_status version_open(struct mem_store *store, struct mem_tx *tx,
                                     struct mem_version **out)
{
	struct mem_version *now = tx->view.domain->now;

	*out = now;
	if (tx->drops.count > 0)
		BOLE_TRY(bole_mem_version_copy(store, now, keep_undropped, tx, out));
	else
		now->holders++;
	enum bole_status rc = bole_mem_objects_reserve(store, &(*out)->objects, &tx->added);
	if (rc != BOLE_OK)
		bole_mem_version_drop(store, *out);
	return rc;
}

static void refs_note(struct mem_store *store, struct mem_domain *domain,
                      const struct bole_ref_update *updates, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (updates[i].action == BOLE_REF_SET)
			bole_mem_mark_note(store, domain, &updates[i].oid);
}

/* Under the lock: all or nothing. */
static enum bole_status publish(struct mem_store *store, struct mem_tx *tx,
                                const struct bole_ref_update *updates, size_t count, size_t *failed)
{
	struct mem_repo *repo = bole_mem_repo_by_id(store, tx->view.base.repo.id);
	struct mem_domain *domain = tx->view.domain;
	struct mem_version *version = NULL;
	struct mem_state *state;

	if (repo == NULL)
		return BOLE_E_NOT_FOUND;
	BOLE_TRY(bole_mem_state_copy(store, repo->state, &state));
	enum bole_status rc = bole_mem_state_update(store, state, updates, count, failed);
	for (size_t i = 0; rc == BOLE_OK && i < tx->aux_count; i++)
		rc = bole_mem_state_aux(store, state, tx->aux[i]);
	if (rc == BOLE_OK)
		rc = version_open(store, tx, &version);
	if (rc != BOLE_OK) {
		bole_mem_state_drop(store, state);
		return rc;
	}
	bole_mem_objects_move(store, &version->objects, tx);
	bole_mem_version_drop(store, domain->now);
	domain->now = version;
	refs_note(store, domain, updates, count);
	if (domain->mark != NULL && tx->relied_lost)
		domain->mark->lost = true;
	bole_mem_state_drop(store, repo->state);
	repo->state = state;
	store->stats.commits++;
	store->stats.user_bytes += tx->user_bytes;
	return BOLE_OK;
}

static enum bole_status mem_commit(struct bole_tx *base, const struct bole_ref_update *updates,
                                   size_t count, size_t *failed)
{
	struct mem_tx *tx = tx_of(base);
	struct mem_store *store = mem_store_of(base->store);

	BOLE_ASSERT(tx->pending == NULL);
	uint64_t start = store->platform->ops->now_ns(store->platform);
	bole_mem_lock(store);
	enum bole_status rc = publish(store, tx, updates, count, failed);
	uint64_t took = store->platform->ops->now_ns(store->platform) - start;
	if (took > store->stats.commit_ns_max)
		store->stats.commit_ns_max = took;
	bole_mem_unlock(store);
	if (rc != BOLE_E_CONFLICT)
		tx_free(store, tx);
	return rc;
}

const struct bole_tx_ops bole_mem_tx_ops = {
        .begin = mem_begin,
        .put = mem_put,
        .drop = mem_tx_drop,
        .extent_begin = mem_extent_begin,
        .extent_append = mem_extent_append,
        .extent_read = mem_extent_read,
        .extent_finish = mem_extent_finish,
        .prepare = mem_prepare,
        .resume = mem_resume,
        .commit = mem_commit,
        .abort = mem_abort,
};
