/* SPDX-License-Identifier: ISC */
/* Marks of the memory store (mark.h), the oracle for those of others: begin freezes a version, and
 * end makes a new one that lacks whatever of the frozen one was not marked. */
#include "backends/memory_store.h"

#include "base/check.h"

enum { OIDS_FIRST = 16 };

static struct mem_mark *mark_of(struct bole_mark *mark)
{
	return (struct mem_mark *)mark;
}

enum bole_status bole_mem_oids_grow(struct mem_store *store, struct bole_oid **oids, size_t count,
                                    size_t *cap)
{
	if (count < *cap)
		return BOLE_OK;
	size_t more = *cap == 0 ? OIDS_FIRST : *cap * 2;
	struct bole_oid *moved = bole_alloc_resize(store->alloc, *oids, *cap, more, sizeof *moved);
	if (moved == NULL)
		return BOLE_E_NO_MEMORY;
	*oids = moved;
	*cap = more;
	return BOLE_OK;
}

void bole_mem_mark_note(struct mem_store *store, struct mem_domain *domain,
                        const struct bole_oid *oid)
{
	struct mem_mark *mark = domain->mark;

	if (mark == NULL)
		return;
	const struct mem_object *object = bole_mem_objects_find(&mark->frozen->objects, oid);
	if (object == NULL || object->marked)
		return;
	if (bole_mem_oids_grow(store, &mark->roots, mark->root_count, &mark->root_cap) == BOLE_OK)
		mark->roots[mark->root_count++] = *oid;
	else
		mark->lost = true;
}

static void mark_free(struct mem_store *store, struct mem_mark *mark)
{
	struct mem_domain *domain = mark->view.domain;

	if (domain->mark == mark)
		domain->mark = NULL;
	bole_mem_version_drop(store, mark->frozen);
	bole_mem_state_drop(store, mark->view.state);
	bole_mem_domain_drop(store, domain);
	bole_alloc_free(store->alloc, mark->roots, mark->root_cap, sizeof *mark->roots);
	bole_alloc_free(store->alloc, mark, 1, sizeof *mark);
}

/* Under the lock. */
static enum bole_status mark_open(struct mem_store *store, uint32_t repo_id, struct mem_mark *mark)
{
	struct mem_repo *repo = bole_mem_repo_by_id(store, repo_id);

	if (repo == NULL)
		return BOLE_E_NOT_FOUND;
	if (repo->domain->mark != NULL)
		return BOLE_E_BUSY;
	for (const struct mem_tx *tx = repo->domain->open; tx != NULL; tx = tx->next_open)
		if (tx->prepared)
			return BOLE_E_BUSY;
	BOLE_TRY(bole_mem_version_copy(store, repo->domain->now, NULL, NULL, &mark->frozen));
	for (size_t i = 0; i < mark->frozen->objects.count; i++)
		mark->frozen->objects.list[i]->marked = false;
	mark->view = (struct mem_snapshot){
	        .base = {.store = &store->base, .repo = repo->info},
	        .domain = repo->domain,
	        .version = mark->frozen,
	        .state = repo->state,
	};
	repo->domain->holders++;
	repo->state->holders++;
	mark->base = (struct bole_mark){&store->base, &mark->view.base};
	repo->domain->mark = mark;
	for (const struct mem_tx *tx = repo->domain->open; tx != NULL; tx = tx->next_open)
		for (size_t i = 0; i < tx->relied_count; i++)
			bole_mem_mark_note(store, repo->domain, &tx->relied[i]);
	return BOLE_OK;
}

static enum bole_status mem_mark_begin(struct bole_store *base, uint32_t repo_id,
                                       struct bole_mark **out)
{
	struct mem_store *store = mem_store_of(base);
	struct mem_mark *mark = bole_alloc_zeroed(store->alloc, 1, sizeof *mark);

	if (mark == NULL)
		return BOLE_E_NO_MEMORY;
	bole_mem_lock(store);
	enum bole_status rc = mark_open(store, repo_id, mark);
	bole_mem_unlock(store);
	if (rc == BOLE_OK)
		*out = &mark->base;
	else
		bole_alloc_free(store->alloc, mark, 1, sizeof *mark);
	return rc;
}

static enum bole_status mem_mark_object(struct bole_mark *base, const struct bole_oid *oid,
                                        bool *fresh)
{
	struct mem_mark *mark = mark_of(base);
	struct mem_store *store = mem_store_of(base->store);
	enum bole_status rc = BOLE_OK;

	bole_mem_lock(store);
	struct mem_object *object = bole_mem_objects_find(&mark->frozen->objects, oid);
	if (object != NULL) {
		*fresh = !object->marked;
		object->marked = true;
	} else if (bole_mem_objects_find(&mark->view.domain->now->objects, oid) == NULL) {
		rc = BOLE_E_NOT_FOUND;
	}
	bole_mem_unlock(store);
	return rc;
}

static enum bole_status mem_mark_root(struct bole_mark *base, struct bole_oid *out)
{
	struct mem_mark *mark = mark_of(base);
	struct mem_store *store = mem_store_of(base->store);
	enum bole_status rc = BOLE_END;

	bole_mem_lock(store);
	if (mark->root_count > 0) {
		*out = mark->roots[--mark->root_count];
		rc = BOLE_OK;
	}
	bole_mem_unlock(store);
	return rc;
}

static bool keep_marked(const struct mem_object *object, const void *ctx)
{
	const struct mem_mark *mark = ctx;

	/* An object of this id that is not the frozen one is younger. */
	return object->marked ||
	       bole_mem_objects_find(&mark->frozen->objects, &object->oid) != object;
}

/* Roots wait, or a transaction may rely on more than is known. */
static bool unfinished(const struct mem_mark *mark)
{
	for (const struct mem_tx *tx = mark->view.domain->open; tx != NULL; tx = tx->next_open)
		if (tx->relied_lost)
			return true;
	return mark->root_count > 0;
}

static void result_fill(const struct mem_mark *mark, const struct mem_version *before,
                        const struct mem_version *after, struct bole_mark_result *out)
{
	for (size_t i = 0; i < mark->frozen->objects.count; i++)
		out->objects_live += mark->frozen->objects.list[i]->marked;
	for (size_t i = 0; i < before->objects.count; i++) {
		if (keep_marked(before->objects.list[i], mark))
			continue;
		out->objects_dropped++;
		out->bytes_dropped += before->objects.list[i]->entry.stored_bytes;
	}
	for (size_t i = 0; i < before->objects.by_home.cap; i++) {
		const struct mem_home *home = before->objects.by_home.slots[i];

		if (home != NULL && home->extent &&
		    bole_mem_objects_home(&after->objects, home->id) == NULL)
			out->extents_dropped++;
	}
}

static enum bole_status mem_mark_end(struct bole_mark *base, struct bole_mark_result *out)
{
	struct mem_mark *mark = mark_of(base);
	struct mem_store *store = mem_store_of(base->store);
	struct mem_domain *domain = mark->view.domain;
	struct mem_version *after;

	bole_mem_lock(store);
	enum bole_status rc = mark->lost ? BOLE_E_GONE : BOLE_OK;
	if (rc == BOLE_OK && unfinished(mark))
		rc = BOLE_AGAIN;
	if (rc == BOLE_OK)
		rc = bole_mem_version_copy(store, domain->now, keep_marked, mark, &after);
	if (rc == BOLE_OK) {
		result_fill(mark, domain->now, after, out);
		bole_mem_version_drop(store, domain->now);
		domain->now = after;
	}
	if (rc != BOLE_AGAIN)
		mark_free(store, mark);
	bole_mem_unlock(store);
	return rc;
}

static void mem_mark_abort(struct bole_mark *base)
{
	struct mem_store *store = mem_store_of(base->store);

	bole_mem_lock(store);
	mark_free(store, mark_of(base));
	bole_mem_unlock(store);
}

const struct bole_mark_ops bole_mem_mark_ops = {
        .begin = mem_mark_begin,
        .object = mem_mark_object,
        .root = mem_mark_root,
        .end = mem_mark_end,
        .abort = mem_mark_abort,
};
