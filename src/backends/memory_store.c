/* SPDX-License-Identifier: ISC */
/* A store in memory: its life, its repositories, its figures. See memory_store.h. */
#include "backends/memory_store.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

enum { EXTENT_BYTES_MIN = 256 * 1024, RECORD_BYTES_MAX = 1 << 20, ARRAY_FIRST = 8 };

void bole_mem_lock(struct mem_store *store)
{
	store->platform->ops->mutex_lock(store->platform, &store->lock);
}

void bole_mem_unlock(struct mem_store *store)
{
	store->platform->ops->mutex_unlock(store->platform, &store->lock);
}

enum bole_status bole_mem_array_grow(struct bole_alloc *alloc, void ***items, size_t count,
                                     size_t *cap)
{
	if (count < *cap)
		return BOLE_OK;
	size_t more = *cap < ARRAY_FIRST ? ARRAY_FIRST : *cap * 2;
	void **moved = bole_alloc_resize(alloc, *items, *cap, more, sizeof **items);
	if (moved == NULL)
		return BOLE_E_NO_MEMORY;
	*items = moved;
	*cap = more;
	return BOLE_OK;
}

/* -- Repositories -- */

struct mem_repo *bole_mem_repo_by_id(struct mem_store *store, uint32_t id)
{
	for (size_t i = 0; i < store->repo_count; i++)
		if (store->repos[i]->info.id == id)
			return store->repos[i];
	return NULL;
}

static struct mem_repo *repo_by_name(struct mem_store *store, const char *name)
{
	for (size_t i = 0; i < store->repo_count; i++)
		if (strcmp(store->repos[i]->info.name, name) == 0)
			return store->repos[i];
	return NULL;
}

static void repo_free(struct mem_store *store, struct mem_repo *repo)
{
	if (repo->state != NULL)
		bole_mem_state_drop(store, repo->state);
	if (repo->domain != NULL)
		bole_mem_domain_drop(store, repo->domain);
	bole_alloc_free(store->alloc, repo, 1, sizeof *repo);
}

/* An empty domain and a state with only HEAD. */
static enum bole_status repo_fill(struct mem_store *store, struct mem_repo *repo, const char *head)
{
	struct bole_ref_update update = {
	        .name = bole_bytes_z("HEAD"),
	        .action = BOLE_REF_SYMBOLIC,
	        .target = bole_bytes_z(head),
	};
	size_t failed;

	repo->domain = bole_alloc_zeroed(store->alloc, 1, sizeof *repo->domain);
	if (repo->domain == NULL)
		return BOLE_E_NO_MEMORY;
	repo->domain->holders = 1;
	repo->domain->now = bole_alloc_zeroed(store->alloc, 1, sizeof *repo->domain->now);
	if (repo->domain->now == NULL)
		return BOLE_E_NO_MEMORY;
	repo->domain->now->holders = 1;
	repo->state = bole_alloc_zeroed(store->alloc, 1, sizeof *repo->state);
	if (repo->state == NULL)
		return BOLE_E_NO_MEMORY;
	repo->state->holders = 1;
	return bole_mem_state_update(store, repo->state, &update, 1, &failed);
}

static enum bole_status repo_add(struct mem_store *store, const char *name, uint8_t algo,
                                 const char *head, struct bole_repo *out)
{
	void **repos = (void **)store->repos;

	if (repo_by_name(store, name) != NULL)
		return BOLE_E_EXISTS;
	BOLE_TRY(bole_mem_array_grow(store->alloc, &repos, store->repo_count, &store->repo_cap));
	store->repos = (struct mem_repo **)repos;
	struct mem_repo *repo = bole_alloc_zeroed(store->alloc, 1, sizeof *repo);
	if (repo == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = repo_fill(store, repo, head);
	if (rc != BOLE_OK) {
		repo_free(store, repo);
		return rc;
	}
	repo->domain->id = ++store->next_domain;
	repo->info = (struct bole_repo){++store->next_repo, repo->domain->id, algo, ""};
	memcpy(repo->info.name, name, strlen(name) + 1);
	store->repos[store->repo_count++] = repo;
	*out = repo->info;
	return BOLE_OK;
}

static enum bole_status mem_repo_create(struct bole_store *base, const char *name, uint8_t algo,
                                        const char *head, struct bole_repo *out)
{
	struct mem_store *store = mem_store_of(base);

	bole_mem_lock(store);
	enum bole_status rc = repo_add(store, name, algo, head, out);
	bole_mem_unlock(store);
	return rc;
}

static enum bole_status mem_repo_find(struct bole_store *base, const char *name,
                                      struct bole_repo *out)
{
	struct mem_store *store = mem_store_of(base);

	bole_mem_lock(store);
	const struct mem_repo *repo = repo_by_name(store, name);
	if (repo != NULL)
		*out = repo->info;
	bole_mem_unlock(store);
	return repo == NULL ? BOLE_E_NOT_FOUND : BOLE_OK;
}

static enum bole_status mem_repo_next(struct bole_store *base, const char *after,
                                      struct bole_repo *out)
{
	struct mem_store *store = mem_store_of(base);
	const struct mem_repo *best = NULL;

	bole_mem_lock(store);
	for (size_t i = 0; i < store->repo_count; i++) {
		const struct mem_repo *repo = store->repos[i];

		if (strcmp(repo->info.name, after) > 0 &&
		    (best == NULL || strcmp(repo->info.name, best->info.name) < 0))
			best = repo;
	}
	if (best != NULL)
		*out = best->info;
	bole_mem_unlock(store);
	return best == NULL ? BOLE_END : BOLE_OK;
}

static enum bole_status mem_repo_rename(struct bole_store *base, uint32_t id, const char *name)
{
	struct mem_store *store = mem_store_of(base);
	enum bole_status rc = BOLE_OK;

	bole_mem_lock(store);
	struct mem_repo *repo = bole_mem_repo_by_id(store, id);
	struct mem_repo *other = repo_by_name(store, name);
	if (repo == NULL)
		rc = BOLE_E_NOT_FOUND;
	else if (other != NULL && other != repo)
		rc = BOLE_E_EXISTS;
	else
		memcpy(repo->info.name, name, strlen(name) + 1);
	bole_mem_unlock(store);
	return rc;
}

static enum bole_status mem_repo_remove(struct bole_store *base, uint32_t id)
{
	struct mem_store *store = mem_store_of(base);
	enum bole_status rc = BOLE_E_NOT_FOUND;

	bole_mem_lock(store);
	for (size_t i = 0; i < store->repo_count; i++) {
		if (store->repos[i]->info.id != id)
			continue;
		repo_free(store, store->repos[i]);
		store->repos[i] = store->repos[--store->repo_count];
		rc = BOLE_OK;
		break;
	}
	bole_mem_unlock(store);
	return rc;
}

/* -- The store -- */

static enum bole_status mem_stats(struct bole_store *base, struct bole_store_stats *out)
{
	struct mem_store *store = mem_store_of(base);

	bole_mem_lock(store);
	*out = store->stats;
	out->repos = store->repo_count;
	for (size_t i = 0; i < store->repo_count; i++)
		out->objects += store->repos[i]->domain->now->objects.count;
	bole_mem_unlock(store);
	out->memory_bytes = atomic_load(&store->budget.used);
	out->used_bytes = out->memory_bytes;
	return BOLE_OK;
}

static enum bole_status mem_close(struct bole_store *base)
{
	struct mem_store *store = mem_store_of(base);
	struct bole_alloc *parent = store->budget.parent;

	/* Prepared transactions would survive a restart of another store. */
	while (store->prepared != NULL)
		bole_tx_abort(&store->prepared->base);
	while (store->repo_count > 0)
		repo_free(store, store->repos[--store->repo_count]);
	bole_alloc_free(store->alloc, store->repos, store->repo_cap, sizeof *store->repos);
	store->platform->ops->mutex_destroy(store->platform, &store->lock);
	BOLE_ASSERT(store->budget.used == 0);
	bole_alloc_free(parent, store, 1, sizeof *store);
	return BOLE_OK;
}

static const struct bole_store_ops mem_store_ops = {.stats = mem_stats, .close = mem_close};
static const struct bole_repos_ops mem_repos_ops = {
        .create = mem_repo_create,
        .find = mem_repo_find,
        .next = mem_repo_next,
        .rename = mem_repo_rename,
        .remove = mem_repo_remove,
};

enum bole_status bole_memory_store_open(struct bole_platform *platform, struct bole_alloc *alloc,
                                        struct bole_store **out)
{
	struct mem_store *store = bole_alloc_zeroed(alloc, 1, sizeof *store);

	*out = NULL;
	if (store == NULL)
		return BOLE_E_NO_MEMORY;
	store->base = (struct bole_store){
	        .ops = &mem_store_ops,
	        .repos = &mem_repos_ops,
	        .odb = &bole_mem_odb_ops,
	        .tx = &bole_mem_tx_ops,
	        .refs = &bole_mem_refs_ops,
	        .aux = &bole_mem_aux_ops,
	        .mark = &bole_mem_mark_ops,
	        .info = {.kind = "memory",
	                 .durability = BOLE_DURABLE_HOST,
	                 .extent_bytes_min = EXTENT_BYTES_MIN,
	                 .record_bytes_max = RECORD_BYTES_MAX},
	};
	store->platform = platform;
	bole_budget_init(&store->budget, alloc, SIZE_MAX);
	store->alloc = &store->budget.alloc;
	platform->ops->mutex_init(platform, &store->lock);
	*out = &store->base;
	return BOLE_OK;
}
