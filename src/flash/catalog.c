/* SPDX-License-Identifier: ISC */
/* Repositories and their domains in memory. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/volume.h"

enum { CATALOG_FIRST = 8, CATALOG_STEP_ROWS = 8192 };

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

static void forget_rows(struct flash_volume *v, const struct flash_rows *rows)
{
	bole_flash_lock(v);
	for (uint32_t n = 0; n < rows->count; n++) {
		struct flash_home home = bole_flash_rows_home(rows, n);
		bole_flash_live_sub(v, home.segment,
		                    bole_flash_record_live(rows->key_len, home.stored));
		if (n % CATALOG_STEP_ROWS != CATALOG_STEP_ROWS - 1)
			continue;
		bole_flash_unlock(v);
		bole_flash_yield(v);
		bole_flash_lock(v);
	}
	bole_flash_unlock(v);
}

void bole_flash_repo_forget(struct flash_volume *v, struct flash_repo *repo)
{
	struct flash_index *index = repo->domain->index;

	bole_flash_aux_dropped(v, repo->auxtable);
	for (uint32_t i = 0; index != NULL && i < index->extents; i++)
		bole_flash_fragments_change(v, index->extent[i]->fragment,
		                            index->extent[i]->fragments, FLASH_LIVE_DROPPED, false);
	for (uint32_t i = 0; index != NULL && i < index->runs; i++)
		forget_rows(v, index->run[i]);
}

void bole_flash_domain_release(struct flash_volume *v, struct flash_domain *domain)
{
	if (domain == NULL ||
	    atomic_fetch_sub_explicit(&domain->refs, 1, memory_order_acq_rel) != 1)
		return;
	bole_flash_index_drop(v, domain->index);
	bole_alloc_free(v->alloc, domain, 1, sizeof *domain);
}

void bole_flash_index_drop(struct flash_volume *v, struct flash_index *index)
{
	(void)bole_flash_index_release(v->alloc, index);
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
