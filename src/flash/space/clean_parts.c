/* SPDX-License-Identifier: ISC */
/* Extents and runs that have something in the victim: a version without it is made beside commits
 * and takes the old one's place if that is still the one that counts. */
#include "base/bytes.h"
#include "base/check.h"
#include "flash/index/extent.h"
#include "flash/index/levels.h"
#include "flash/space/clean.h"
#include "flash/volume/mount.h"

/* The published index of a domain, retained. */
static struct flash_index *index_of(struct flash_volume *v, uint32_t domain)
{
	bole_flash_lock(v);
	struct flash_domain *d = bole_flash_domain_find(v, domain);
	struct flash_index *index = d == NULL ? NULL : bole_flash_index_retain(d->index);
	bole_flash_unlock(v);
	return index;
}

/* A version that the leader may change; NULL: the domain is gone. */
static enum bole_status begin_draft(struct flash_volume *v, uint32_t domain,
                                    struct flash_index **out)
{
	*out = NULL;
	bole_flash_lock(v);
	struct flash_domain *d = bole_flash_domain_find(v, domain);
	bole_flash_unlock(v);
	if (d == NULL || d->index == NULL || d->draft != NULL)
		return BOLE_OK;
	return bole_flash_index_fork(v, d, d->index, out);
}

static void publish(struct flash_volume *v, struct flash_index **draft)
{
	*draft = bole_flash_index_swap(v, (*draft)->domain, *draft);
	v->epoch = v->stamp;
	v->unlogged = true;
}

/* -- Extents -- */

/* The leader: made takes the place of old. */
static enum bole_status install_extent(struct flash_volume *v, const struct flash_extent *old,
                                       struct flash_extent *made, bool *done)
{
	struct flash_index *draft;

	BOLE_TRY(begin_draft(v, old->domain, &draft));
	if (draft == NULL)
		return BOLE_OK;
	enum bole_status rc = BOLE_OK;
	if (bole_flash_index_extent(draft, old->id) == old) {
		rc = bole_flash_index_replace(v, draft, old, made);
		*done = rc == BOLE_OK;
	}
	if (*done) {
		bole_flash_lock(v);
		publish(v, &draft);
		bole_flash_extent_moved(old, made, FLASH_HELD_PUBLISHED);
		bole_flash_unlock(v);
	}
	bole_flash_index_drop(v, draft);
	return rc;
}

static enum bole_status move_extent(struct flash_volume *v, struct flash_clean *c,
                                    struct flash_extent *old, uint32_t segment, bool leading,
                                    bool *lost)
{
	struct flash_extent *made;
	bool done = false;

	uint64_t before = atomic_load(&v->counters.programmed);

	BOLE_TRY(bole_flash_extent_remake(old, segment, NULL, FLASH_FOR_CLEANING, &made));
	c->programmed += atomic_load(&v->counters.programmed) - before;
	enum bole_status rc = BOLE_OK;
	*lost = !bole_flash_clean_lead(v, c, leading);
	if (!*lost) {
		rc = install_extent(v, old, made, &done);
		bole_flash_clean_follow(v, leading);
	}
	if (!done) {
		bole_flash_lock(v);
		bole_flash_extent_moved(old, made, FLASH_HELD_DROPPED);
		bole_flash_unlock(v);
	}
	bole_flash_extent_release(made);
	return rc;
}

/* The version that counts has something at this place. */
static bool names(const struct flash_extent *e, const struct flash_fragment *list,
                  const struct flash_record *r, uint32_t segment, uint32_t offset)
{
	uint64_t logical = bole_get_le64(r->body.ptr + FRAGMENT_LOGICAL_AT);
	const struct flash_fragment *f = list;

	if (r->kind == FLASH_FRAGMENT_MAP) {
		for (uint32_t i = 0; i < e->map_fragments; i++)
			if (e->map[i].segment == segment && e->map[i].offset == offset)
				return true;
		return false;
	}
	if (bole_flash_extent_data(e) == 0 || logical >= e->data_bytes)
		return false;
	f += bole_flash_extent_fragment(e, list, logical);
	return f->segment == segment && f->offset == offset;
}

enum bole_status bole_flash_clean_fragment(struct flash_volume *v, struct flash_clean *c,
                                           const struct flash_record *r, uint32_t offset,
                                           bool leading, bool *moved, bool *lost)
{
	uint32_t segment = c->walk.segment;
	const struct flash_fragment *list;

	*moved = false;
	if ((r->kind != FLASH_FRAGMENT_DATA && r->kind != FLASH_FRAGMENT_MAP) ||
	    r->body.len < FRAGMENT_HEAD_BYTES)
		return BOLE_OK;
	uint64_t id = bole_get_le64(r->body.ptr + FRAGMENT_EXTENT_AT);
	struct flash_index *index = index_of(v, r->owner);
	struct flash_extent *e = bole_flash_index_extent(index, id);
	enum bole_status rc = BOLE_OK;
	if (e != NULL && !e->damaged && bole_flash_extent_map(e, &list) == BOLE_OK &&
	    names(e, list, r, segment, offset)) {
		rc = move_extent(v, c, e, segment, leading, lost);
		*moved = rc == BOLE_OK;
	}
	bole_flash_index_drop(v, index);
	return rc;
}

/* -- Runs -- */

static bool has_page(const struct flash_run *run, uint32_t segment)
{
	for (uint32_t i = 0; run != NULL && i < run->chunks; i++)
		if (run->chunk[i].segment == segment)
			return true;
	return false;
}

/* The leader: made takes the place of old. */
static enum bole_status install_run(struct flash_volume *v, uint32_t domain,
                                    const struct flash_run *old, struct flash_run *made, bool *done)
{
	struct flash_index *draft;

	BOLE_TRY(begin_draft(v, domain, &draft));
	if (draft == NULL)
		return BOLE_OK;
	enum bole_status rc = BOLE_OK;
	for (uint32_t i = 0; draft->runs != NULL && i < draft->runs->count; i++) {
		if (draft->runs->run[i] != old)
			continue;
		rc = bole_flash_index_runs(v, draft, i, 1, made);
		*done = rc == BOLE_OK;
		break;
	}
	if (*done) {
		bole_flash_lock(v);
		publish(v, &draft);
		bole_flash_run_moved(old, made, FLASH_HELD_PUBLISHED);
		bole_flash_unlock(v);
	}
	bole_flash_index_drop(v, draft);
	return rc;
}

static enum bole_status move_run(struct flash_volume *v, struct flash_clean *c, uint32_t domain,
                                 const struct flash_run *old, uint32_t segment, bool leading,
                                 bool *lost)
{
	struct flash_run *made;
	bool done = false;

	uint64_t before = atomic_load(&v->counters.programmed);

	BOLE_TRY(bole_flash_run_evacuate(old, segment, FLASH_FOR_CLEANING, &made));
	c->programmed += atomic_load(&v->counters.programmed) - before;
	enum bole_status rc = BOLE_OK;
	*lost = !bole_flash_clean_lead(v, c, leading);
	if (!*lost) {
		rc = install_run(v, domain, old, made, &done);
		bole_flash_clean_follow(v, leading);
	}
	if (!done) {
		bole_flash_lock(v);
		bole_flash_run_moved(old, made, FLASH_HELD_DROPPED);
		bole_flash_unlock(v);
	}
	bole_flash_run_release(made);
	return rc;
}

/* One run or extent of the domain that has pages there. *moved says whether there was one. */
static enum bole_status clean_domain(struct flash_volume *v, struct flash_clean *c,
                                     const struct flash_index *index, bool leading, bool *moved,
                                     bool *lost)
{
	uint32_t segment = c->walk.segment;
	uint32_t domain = index->domain->id;

	for (uint32_t i = 0; index->runs != NULL && i < index->runs->count; i++) {
		if (!has_page(index->runs->run[i], segment))
			continue;
		*moved = true;
		return move_run(v, c, domain, index->runs->run[i], segment, leading, lost);
	}
	for (uint32_t i = 0; i < bole_flash_index_extents(index); i++) {
		struct flash_extent *e = index->extents->extent[i];
		if (!has_page(e->table, segment) && !has_page(e->order, segment))
			continue;
		*moved = true;
		return move_extent(v, c, e, segment, leading, lost);
	}
	return BOLE_OK;
}

enum bole_status bole_flash_clean_pages(struct flash_volume *v, struct flash_clean *c, bool leading,
                                        bool *moved, bool *lost)
{
	enum bole_status rc = BOLE_OK;

	*moved = false;
	for (uint32_t i = 0; rc == BOLE_OK && !*moved; i++) {
		bole_flash_lock(v);
		bool end = i >= v->repos;
		struct flash_index *index =
		        end ? NULL : bole_flash_index_retain(v->repo[i]->domain->index);
		bole_flash_unlock(v);
		if (end)
			break;
		if (index != NULL)
			rc = clean_domain(v, c, index, leading, moved, lost);
		bole_flash_index_drop(v, index);
	}
	return rc;
}
