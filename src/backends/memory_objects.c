/* SPDX-License-Identifier: ISC */
/* Objects of the memory store: homes, the maps over them, and the reading half of odb.h. */
#include "backends/memory_store.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

static uint64_t object_hash(const void *item)
{
	/* An id is a hash already. */
	return bole_get_le64(((const struct mem_object *)item)->oid.bytes);
}

static bool object_same(const void *item, const void *other)
{
	return bole_oid_equal(&((const struct mem_object *)item)->oid,
	                      &((const struct mem_object *)other)->oid);
}

static uint64_t home_hash(const void *item)
{
	return ((const struct mem_home *)item)->id * 0x9e3779b97f4a7c15u >> 20;
}

static bool home_same(const void *item, const void *other)
{
	return ((const struct mem_home *)item)->id == ((const struct mem_home *)other)->id;
}

static const struct mem_map_kind by_oid = {object_hash, object_same};
static const struct mem_map_kind by_home = {home_hash, home_same};

void bole_mem_home_free(struct mem_store *store, struct mem_home *home)
{
	if (home == NULL || --home->holders > 0)
		return;
	bole_alloc_free(store->alloc, home->bytes, home->cap, 1);
	bole_alloc_free(store->alloc, home->rows, home->row_count, sizeof *home->rows);
	bole_alloc_free(store->alloc, home, 1, sizeof *home);
}

static void object_drop(struct mem_store *store, struct mem_object *object)
{
	if (--object->holders == 0)
		bole_alloc_free(store->alloc, object, 1, sizeof *object);
}

struct mem_object *bole_mem_objects_find(const struct mem_objects *objects,
                                         const struct bole_oid *oid)
{
	struct mem_object probe = {.oid = *oid};

	return bole_mem_map_find(&objects->by_oid, &by_oid, &probe);
}

const struct mem_home *bole_mem_objects_home(const struct mem_objects *objects, uint64_t id)
{
	struct mem_home probe = {.id = id};

	return bole_mem_map_find(&objects->by_home, &by_home, &probe);
}

static enum bole_status objects_grow(struct mem_store *store, struct mem_objects *objects,
                                     size_t more, size_t more_homes)
{
	BOLE_TRY(bole_mem_map_reserve(&objects->by_oid, &by_oid, store->alloc, more));
	BOLE_TRY(bole_mem_map_reserve(&objects->by_home, &by_home, store->alloc, more_homes));
	if (objects->cap - objects->count >= more)
		return BOLE_OK;
	size_t cap =
	        objects->cap * 2 > objects->count + more ? objects->cap * 2 : objects->count + more;
	struct mem_object **list =
	        bole_alloc_resize(store->alloc, objects->list, objects->cap, cap, sizeof *list);
	if (list == NULL)
		return BOLE_E_NO_MEMORY;
	objects->list = list;
	objects->cap = cap;
	return BOLE_OK;
}

static void objects_append(struct mem_objects *objects, struct mem_object *object)
{
	bole_mem_map_add(&objects->by_oid, &by_oid, object);
	objects->list[objects->count++] = object;
}

enum bole_status bole_mem_objects_add(struct mem_store *store, struct mem_tx *tx,
                                      struct mem_home *home)
{
	const struct mem_objects *published = &tx->view.domain->now->objects;
	struct mem_objects *objects = &tx->added;
	size_t before = objects->count;
	enum bole_status rc = objects_grow(store, objects, home->row_count, 1);

	/* First all the memory, kept behind the list's end; then what cannot fail. */
	size_t made = 0;
	for (; rc == BOLE_OK && made < home->row_count; made++) {
		struct mem_object *object = bole_alloc_zeroed(store->alloc, 1, sizeof *object);

		if (object == NULL) {
			rc = BOLE_E_NO_MEMORY;
			break;
		}
		objects->list[before + made] = object;
	}
	if (rc != BOLE_OK) {
		while (made > 0)
			bole_alloc_free(store->alloc, objects->list[before + --made], 1,
			                sizeof(struct mem_object));
		return rc;
	}
	for (size_t i = 0; i < home->row_count; i++) {
		const struct bole_extent_row *row = &home->rows[i];
		struct mem_object *object = objects->list[before + i];

		*object = (struct mem_object){
		        .holders = 1,
		        .oid = row->oid,
		        .entry = {home->id, row->offset, row->stored_bytes, row->type},
		        .home = home,
		};
		bool there = bole_mem_objects_find(published, &row->oid) != NULL;

		if (there)
			bole_mem_tx_rely(store, tx, &row->oid);
		if (there || bole_mem_objects_find(objects, &row->oid) != NULL)
			object_drop(store, object);
		else
			objects_append(objects, object);
	}
	bole_mem_map_add(&objects->by_home, &by_home, home);
	return BOLE_OK;
}

enum bole_status bole_mem_objects_reserve(struct mem_store *store, struct mem_objects *into,
                                          const struct mem_objects *from)
{
	return objects_grow(store, into, from->count, from->by_home.count);
}

void bole_mem_objects_move(struct mem_store *store, struct mem_objects *into, struct mem_tx *tx)
{
	struct mem_objects *from = &tx->added;

	for (size_t i = 0; i < from->count; i++) {
		struct mem_object *object = from->list[i];
		bool there = bole_mem_objects_find(into, &object->oid) != NULL;

		if (there)
			bole_mem_mark_note(store, tx->view.domain, &object->oid);
		if (there || bole_mem_tx_drops(tx, &object->oid))
			object_drop(store, object);
		else
			objects_append(into, object);
	}
	for (size_t i = 0; i < from->by_home.cap; i++)
		if (from->by_home.slots[i] != NULL)
			bole_mem_map_add(&into->by_home, &by_home, from->by_home.slots[i]);
	bole_alloc_free(store->alloc, from->list, from->cap, sizeof(struct mem_object *));
	bole_mem_map_release(&from->by_oid, store->alloc);
	bole_mem_map_release(&from->by_home, store->alloc);
	*from = (struct mem_objects){0};
}

void bole_mem_objects_release(struct mem_store *store, struct mem_objects *objects)
{
	for (size_t i = 0; i < objects->count; i++)
		object_drop(store, objects->list[i]);
	for (size_t i = 0; i < objects->by_home.cap; i++)
		bole_mem_home_free(store, objects->by_home.slots[i]);
	bole_alloc_free(store->alloc, objects->list, objects->cap, sizeof(struct mem_object *));
	bole_mem_map_release(&objects->by_oid, store->alloc);
	bole_mem_map_release(&objects->by_home, store->alloc);
	*objects = (struct mem_objects){0};
}

void bole_mem_domain_drop(struct mem_store *store, struct mem_domain *domain)
{
	BOLE_ASSERT(domain->holders > 0);
	if (--domain->holders > 0)
		return;
	if (domain->now != NULL)
		bole_mem_version_drop(store, domain->now);
	bole_alloc_free(store->alloc, domain, 1, sizeof *domain);
}

/* -- Versions -- */

void bole_mem_version_drop(struct mem_store *store, struct mem_version *version)
{
	if (--version->holders > 0)
		return;
	bole_mem_objects_release(store, &version->objects);
	bole_alloc_free(store->alloc, version, 1, sizeof *version);
}

/* A home is of use while an id of it is findable: what offset deltas are based on may be a
 * duplicate that no lookup returns. */
static bool home_needed(const struct mem_home *home, const struct mem_objects *objects)
{
	for (size_t i = 0; i < home->row_count; i++)
		if (bole_mem_objects_find(objects, &home->rows[i].oid) != NULL)
			return true;
	return false;
}

enum bole_status bole_mem_version_copy(struct mem_store *store, const struct mem_version *from,
                                       bool (*keep)(const struct mem_object *, const void *ctx),
                                       const void *ctx, struct mem_version **out)
{
	struct mem_version *version = bole_alloc_zeroed(store->alloc, 1, sizeof *version);

	*out = NULL;
	if (version == NULL)
		return BOLE_E_NO_MEMORY;
	version->holders = 1;
	enum bole_status rc = bole_mem_objects_reserve(store, &version->objects, &from->objects);
	if (rc != BOLE_OK) {
		bole_mem_version_drop(store, version);
		return rc;
	}
	for (size_t i = 0; i < from->objects.count; i++) {
		struct mem_object *object = from->objects.list[i];

		if (keep != NULL && !keep(object, ctx))
			continue;
		object->holders++;
		objects_append(&version->objects, object);
	}
	for (size_t i = 0; i < from->objects.by_home.cap; i++) {
		struct mem_home *home = from->objects.by_home.slots[i];

		if (home == NULL || !home_needed(home, &version->objects))
			continue;
		home->holders++;
		bole_mem_map_add(&version->objects.by_home, &by_home, home);
	}
	*out = version;
	return BOLE_OK;
}

/* -- Snapshots -- */

static struct mem_snapshot *snapshot_of(struct bole_snapshot *snapshot)
{
	return (struct mem_snapshot *)snapshot;
}

static enum bole_status mem_snapshot_open(struct bole_store *base, uint32_t repo_id,
                                          struct bole_snapshot **out)
{
	struct mem_store *store = mem_store_of(base);
	struct mem_snapshot *snapshot = bole_alloc_zeroed(store->alloc, 1, sizeof *snapshot);

	if (snapshot == NULL)
		return BOLE_E_NO_MEMORY;
	bole_mem_lock(store);
	struct mem_repo *repo = bole_mem_repo_by_id(store, repo_id);
	if (repo != NULL) {
		snapshot->base.store = base;
		snapshot->base.repo = repo->info;
		snapshot->domain = repo->domain;
		snapshot->domain->holders++;
		snapshot->version = repo->domain->now;
		snapshot->version->holders++;
		snapshot->state = repo->state;
		snapshot->state->holders++;
		*out = &snapshot->base;
	}
	bole_mem_unlock(store);
	if (repo != NULL)
		return BOLE_OK;
	bole_alloc_free(store->alloc, snapshot, 1, sizeof *snapshot);
	return BOLE_E_NOT_FOUND;
}

static void mem_snapshot_close(struct bole_snapshot *base)
{
	struct mem_snapshot *snapshot = snapshot_of(base);
	struct mem_store *store = mem_store_of(base->store);

	/* A transaction's view ends with it. */
	BOLE_ASSERT(snapshot->tx == NULL);
	bole_mem_lock(store);
	bole_mem_state_drop(store, snapshot->state);
	bole_mem_version_drop(store, snapshot->version);
	bole_mem_domain_drop(store, snapshot->domain);
	bole_mem_unlock(store);
	bole_alloc_free(store->alloc, snapshot, 1, sizeof *snapshot);
}

static enum bole_status mem_find(struct bole_snapshot *base, const struct bole_oid *oid,
                                 struct bole_entry *out)
{
	struct mem_snapshot *snapshot = snapshot_of(base);
	struct mem_store *store = mem_store_of(base->store);

	bole_mem_lock(store);
	const struct mem_object *object =
	        bole_mem_objects_find(bole_mem_view_objects(snapshot), oid);
	if (object != NULL && snapshot->tx != NULL)
		bole_mem_tx_rely(store, snapshot->tx, oid);
	if (object == NULL && snapshot->tx != NULL)
		object = bole_mem_objects_find(&snapshot->tx->added, oid);
	if (snapshot->tx != NULL && bole_mem_tx_drops(snapshot->tx, oid))
		object = NULL;
	if (object != NULL)
		*out = object->entry;
	bole_mem_unlock(store);
	return object == NULL ? BOLE_E_NOT_FOUND : BOLE_OK;
}

static const struct mem_home *home_find(struct mem_snapshot *snapshot, uint64_t id)
{
	struct mem_store *store = mem_store_of(snapshot->base.store);

	bole_mem_lock(store);
	const struct mem_home *home = bole_mem_objects_home(bole_mem_view_objects(snapshot), id);
	if (home == NULL && snapshot->tx != NULL)
		home = bole_mem_objects_home(&snapshot->tx->added, id);
	bole_mem_unlock(store);
	return home;
}

static enum bole_status mem_entry_at(struct bole_snapshot *base, uint64_t extent, uint64_t offset,
                                     struct bole_oid *oid, struct bole_entry *out)
{
	const struct mem_home *home = home_find(snapshot_of(base), extent);
	size_t low = 0;
	size_t high = home == NULL ? 0 : home->row_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct bole_extent_row *row = &home->rows[middle];

		if (row->offset == offset) {
			if (oid != NULL)
				*oid = row->oid;
			*out = (struct bole_entry){extent, offset, row->stored_bytes, row->type};
			return BOLE_OK;
		}
		if (row->offset < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return BOLE_E_NOT_FOUND;
}

static enum bole_status mem_view(struct bole_snapshot *base, const struct bole_entry *entry,
                                 uint64_t pos, struct bole_bytes *out)
{
	const struct mem_home *home = home_find(snapshot_of(base), entry->extent);

	if (home == NULL)
		return BOLE_E_NOT_FOUND;
	BOLE_ASSERT(bole_in_bounds(entry->offset, entry->stored_bytes, home->len));
	*out = bole_bytes_of(home->bytes + entry->offset + pos,
	                     (size_t)(entry->stored_bytes - pos));
	return BOLE_OK;
}

static enum bole_status mem_next(struct bole_snapshot *base, uint64_t *cursor, struct bole_oid *oid,
                                 struct bole_entry *out)
{
	struct mem_snapshot *snapshot = snapshot_of(base);
	struct mem_store *store = mem_store_of(base->store);
	enum bole_status rc = BOLE_END;

	bole_mem_lock(store);
	const struct mem_objects *objects = bole_mem_view_objects(snapshot);
	if (*cursor < objects->count) {
		const struct mem_object *object = objects->list[(*cursor)++];

		*oid = object->oid;
		*out = object->entry;
		rc = BOLE_OK;
	}
	bole_mem_unlock(store);
	return rc;
}

const struct bole_odb_ops bole_mem_odb_ops = {
        .snapshot_open = mem_snapshot_open,
        .snapshot_close = mem_snapshot_close,
        .find = mem_find,
        .entry_at = mem_entry_at,
        .view = mem_view,
        .next = mem_next,
};
