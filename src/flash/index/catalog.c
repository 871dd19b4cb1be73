/* SPDX-License-Identifier: ISC */
/* Repositories and their domains in memory. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/index/extent.h"
#include "flash/index/levels.h"
#include "flash/volume/volume.h"

enum { CATALOG_FIRST = 8 };

struct domain_end {
	struct flash_volume *v;
	uint32_t key_len;
};

/* The place of id, or where it would be. */
static uint32_t place_of(const struct flash_volume *v, uint32_t id)
{
	uint32_t low = 0;
	uint32_t high = v->repos;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (v->repo[mid]->id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct flash_repo *bole_flash_repo_find_any(struct flash_volume *v, uint32_t id)
{
	uint32_t at = place_of(v, id);

	return at < v->repos && v->repo[at]->id == id ? v->repo[at] : NULL;
}

struct flash_repo *bole_flash_repo_find(struct flash_volume *v, uint32_t id)
{
	struct flash_repo *repo = bole_flash_repo_find_any(v, id);

	return repo == NULL || repo->hidden ? NULL : repo;
}

static struct flash_domain *domain_new(struct flash_volume *v, uint32_t id, uint8_t algo)
{
	struct flash_domain *domain = bole_alloc_zeroed(v->alloc, 1, sizeof *domain);

	if (domain == NULL)
		return NULL;
	atomic_init(&domain->refs, 1);
	domain->id = id;
	domain->algo = algo;
	domain->key_len = (uint32_t)bole_hash_bytes(algo);
	return domain;
}

enum bole_status bole_flash_repo_add(struct flash_volume *v, uint32_t id, uint32_t domain,
                                     uint8_t algo, struct bole_bytes name, struct flash_repo **out)
{
	uint8_t number[4];

	if (v->repos == v->repos_cap) {
		uint32_t cap = v->repos_cap == 0 ? CATALOG_FIRST : v->repos_cap * 2;
		void *list =
		        bole_alloc_resize(v->alloc, v->repo, v->repos_cap, cap, sizeof *v->repo);
		if (list == NULL)
			return BOLE_E_NO_MEMORY;
		v->repo = list;
		v->repos_cap = cap;
	}
	struct flash_repo *repo = bole_alloc_zeroed(v->alloc, 1, sizeof *repo);
	if (repo == NULL)
		return BOLE_E_NO_MEMORY;
	repo->domain = domain_new(v, domain, algo);
	bole_put_le32(number, id);
	if (repo->domain == NULL ||
	    bole_flash_table_set(&v->plain, &v->names, name, bole_bytes_of(number, 4)) != BOLE_OK) {
		bole_alloc_free(v->alloc, repo->domain, 1, sizeof *repo->domain);
		bole_alloc_free(v->alloc, repo, 1, sizeof *repo);
		return BOLE_E_NO_MEMORY;
	}
	atomic_init(&repo->refs, 1);
	repo->id = id;
	memcpy(repo->name, name.ptr, name.len);
	uint32_t at = place_of(v, id);
	memmove(v->repo + at + 1, v->repo + at, (v->repos - at) * sizeof *v->repo);
	v->repo[at] = repo;
	v->repos++;
	if (id >= v->next_repo)
		v->next_repo = id + 1;
	if (domain >= v->next_domain)
		v->next_domain = domain + 1;
	*out = repo;
	return BOLE_OK;
}

static enum bole_status row_dies(void *ctx, const struct flash_walk_row *row)
{
	struct domain_end *end = ctx;

	bole_flash_lock(end->v);
	bole_flash_live_sub(end->v, bole_flash_place_segment(row->place),
	                    bole_flash_record_live(end->key_len, row->stored));
	bole_flash_unlock(end->v);
	return BOLE_OK;
}

void bole_flash_repo_forget(struct flash_volume *v, struct flash_repo *repo)
{
	struct flash_index *index = repo->domain->index;
	struct domain_end end = {v, repo->domain->key_len};

	bole_flash_aux_dropped(v, repo->auxtable);
	bole_flash_runs_forget(repo->domain);
	for (uint32_t i = 0; i < bole_flash_index_extents(index); i++) {
		const struct flash_extent *e = index->extents->extent[i];
		bole_flash_extent_change(e, FLASH_LIVE_DROPPED, false);
	}
	enum bole_status rc = bole_flash_index_walk(v, index, row_dies, &end);
	if (rc != BOLE_OK)
		bole_log(v->platform, BOLE_LOG_WARN, "%s: a removed index cannot be read: %s",
		         v->dev->info.name, bole_status_text(rc));
}

void bole_flash_domain_release(struct flash_volume *v, struct flash_domain *domain)
{
	if (domain == NULL ||
	    atomic_fetch_sub_explicit(&domain->refs, 1, memory_order_acq_rel) != 1)
		return;
	bole_flash_index_drop(v, domain->index);
	bole_flash_run_release(domain->level0);
	bole_alloc_free(v->alloc, domain, 1, sizeof *domain);
}

void bole_flash_repo_release(struct flash_volume *v, struct flash_repo *repo)
{
	if (repo == NULL || atomic_fetch_sub_explicit(&repo->refs, 1, memory_order_acq_rel) != 1)
		return;
	bole_flash_table_release(&v->plain, repo->reftable);
	bole_flash_table_release(&v->aux, repo->auxtable);
	bole_flash_domain_release(v, repo->domain);
	bole_alloc_free(v->alloc, repo, 1, sizeof *repo);
}

struct flash_repo *bole_flash_repo_take(struct flash_volume *v, uint32_t id)
{
	uint32_t at = place_of(v, id);

	BOLE_ASSERT(at < v->repos && v->repo[at]->id == id);
	struct flash_repo *repo = v->repo[at];
	v->repos--;
	memmove(v->repo + at, v->repo + at + 1, (v->repos - at) * sizeof *v->repo);
	return repo;
}

void bole_flash_catalog_close(struct flash_volume *v)
{
	for (uint32_t i = 0; i < v->repos; i++) {
		struct flash_repo *repo = v->repo[i];
		bole_flash_repo_release(v, repo);
	}
	bole_alloc_free(v->alloc, v->repo, v->repos_cap, sizeof *v->repo);
	v->repo = NULL;
	v->repos = 0;
	bole_flash_table_release(&v->plain, v->names);
	v->names = NULL;
}
