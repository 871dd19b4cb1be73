/* SPDX-License-Identifier: ISC */
/* Holding a state of the catalog: every version in it is immutable. */
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "flash/checkpoint/checkpoint.h"
#include "flash/index/levels.h"

void bole_flash_state_release(struct flash_volume *v, struct flash_state *s)
{
	for (uint32_t i = 0; i < s->repos; i++) {
		struct flash_state_repo *p = &s->repo[i];
		bole_flash_index_drop(v, p->index);
		bole_flash_table_release(&v->plain, p->refs);
		bole_flash_table_release(&v->aux, p->aux);
		bole_flash_repo_release(v, p->repo);
	}
	for (uint32_t i = 0; i < s->prepareds; i++) {
		struct flash_state_prepared *p = &s->prepared[i];
		if (p->repo == NULL)
			continue;
		bole_flash_rows_release(v->alloc, p->run);
		for (uint32_t n = 0; n < p->extents; n++)
			bole_flash_extent_release(p->extent[n]);
		bole_alloc_free(v->alloc, p->extent, p->extents, sizeof *p->extent);
		bole_flash_table_release(&v->aux, p->aux);
		bole_flash_table_release(&v->plain, p->drops);
		bole_flash_repo_release(v, p->repo);
	}
	bole_alloc_free(v->alloc, s->repo, s->repos_cap, sizeof *s->repo);
	bole_alloc_free(v->alloc, s->prepared, s->prepareds, sizeof *s->prepared);
	*s = (struct flash_state){.repo = NULL};
}

static enum bole_status take_prepared(struct flash_volume *v, struct flash_state *s)
{
	uint32_t at = 0;

	for (const struct flash_prepared *p = v->prepared; p != NULL; p = p->next) {
		struct flash_state_prepared *to = &s->prepared[at++];
		if (p->extents != 0) {
			to->extent = bole_alloc_zeroed(v->alloc, p->extents, sizeof *to->extent);
			if (to->extent == NULL)
				return BOLE_E_NO_MEMORY;
		}
		to->token = p->token;
		to->extents = p->extents;
		for (uint32_t i = 0; i < p->extents; i++) {
			to->extent[i] = p->extent[i];
			atomic_fetch_add(&p->extent[i]->refs, 1);
		}
		to->run = p->run;
		if (p->run != NULL)
			atomic_fetch_add(&p->run->refs, 1);
		to->aux = bole_flash_table_retain(p->aux);
		to->drops = bole_flash_table_retain(p->drops);
		to->repo = p->repo;
		atomic_fetch_add(&p->repo->refs, 1);
	}
	return BOLE_OK;
}

static enum bole_status take_repos(struct flash_volume *v, struct flash_state *s, bool fork)
{
	for (uint32_t i = 0; i < v->repos; i++) {
		struct flash_repo *repo = v->repo[i];
		if (repo->hidden)
			continue;
		if (!fork)
			bole_flash_index_freeze(v, repo->domain);
		atomic_fetch_add(&repo->refs, 1);
		struct flash_state_repo *to = &s->repo[s->repos++];
		*to = (struct flash_state_repo){
		        .repo = repo,
		        .refs = bole_flash_table_retain(repo->reftable),
		        .aux = bole_flash_table_retain(repo->auxtable),
		};
		memcpy(to->name, repo->name, sizeof repo->name);
		if (!fork)
			to->index = bole_flash_index_retain(repo->domain->index);
		else if (repo->domain->index != NULL)
			BOLE_TRY(bole_flash_index_fork(v, repo->domain, repo->domain->index,
			                               &to->index));
	}
	return BOLE_OK;
}

enum bole_status bole_flash_state_take(struct flash_volume *v, struct flash_state *s, bool fork)
{
	uint32_t prepareds = 0;

	*s = (struct flash_state){.repo = NULL};
	v->unlogged = false;
	for (const struct flash_prepared *p = v->prepared; p != NULL; p = p->next)
		prepareds++;
	if (v->repos != 0) {
		s->repo = bole_alloc_zeroed(v->alloc, v->repos, sizeof *s->repo);
		if (s->repo == NULL)
			return BOLE_E_NO_MEMORY;
		s->repos_cap = v->repos;
	}
	if (prepareds != 0) {
		s->prepared = bole_alloc_zeroed(v->alloc, prepareds, sizeof *s->prepared);
		if (s->prepared == NULL)
			return BOLE_E_NO_MEMORY;
		s->prepareds = prepareds;
	}
	BOLE_TRY(take_prepared(v, s));
	return take_repos(v, s, fork);
}

static bool same(const struct flash_state_prepared *a, const struct flash_state_prepared *b)
{
	if (memcmp(a->token.bytes, b->token.bytes, sizeof a->token.bytes) != 0 ||
	    a->run != b->run || a->aux != b->aux || a->drops != b->drops ||
	    a->extents != b->extents)
		return false;
	for (uint32_t i = 0; i < a->extents; i++)
		if (a->extent[i] != b->extent[i])
			return false;
	return true;
}

bool bole_flash_state_same_prepared(const struct flash_state *a, const struct flash_state *b)
{
	bool equal = a->prepareds == b->prepareds;

	for (uint32_t i = 0; equal && i < a->prepareds; i++)
		equal = same(&a->prepared[i], &b->prepared[i]);
	return equal;
}
