/* SPDX-License-Identifier: ISC */
/* Group commit. Whoever submits first leads: it takes what is queued, encodes it into the log,
 * flushes once, publishes, and wakes the others. Requests that arrive meanwhile form the next
 * group, so concurrent committers share a flush. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/index/levels.h"
#include "flash/log/batch.h"
#include "flash/log/tx.h"

enum { GROUP_MAX = 256, SPACE_TRIES = 64, PREPARED_ROW_BYTES = 64 };

static bool alone(const struct flash_request *req)
{
	return req->kind == FLASH_REQUEST_CREATE || req->kind == FLASH_REQUEST_RENAME ||
	       req->kind == FLASH_REQUEST_REMOVE;
}

/* Cuts the next group off the queue. Lock held. */
static struct flash_request *take_group(struct flash_volume *v)
{
	struct flash_request *first = v->queue;
	struct flash_request *last = first;

	for (int n = 1; n < GROUP_MAX && last->next != NULL && !alone(first); n++) {
		if (alone(last->next))
			break;
		last = last->next;
	}
	v->queue = last->next;
	if (v->queue == NULL)
		v->queue_end = &v->queue;
	last->next = NULL;
	return first;
}

static enum bole_status allowed(struct flash_volume *v, const struct flash_request *req)
{
	if (atomic_load(&v->failed))
		return BOLE_E_READ_ONLY;
	if (req->tx == NULL)
		return BOLE_OK;
	bole_flash_lock(v);
	bool removed = req->tx->repo->removed;
	bole_flash_unlock(v);
	return removed ? BOLE_E_NOT_FOUND : BOLE_OK;
}

static enum bole_status encode(struct flash_volume *v, struct flash_request *req)
{
	enum bole_status rc = allowed(v, req);

	if (rc == BOLE_OK)
		rc = bole_flash_encode(v, req);
	/* Half a request is in the batch: it must never be completed. */
	if (rc != BOLE_OK && req->written && !v->log.broken)
		bole_flash_fail(v, "encoding a transaction");
	return rc;
}

/* -- Publishing -- */

static void mark_published(struct flash_volume *v, struct flash_extent *const *list, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		bole_flash_extent_change(list[i], FLASH_HELD_PUBLISHED, true);
		v->growth += (uint64_t)bole_flash_extent_body(list[i], NULL) + RECORD_HEAD_BYTES;
	}
}

static void publish_versions(struct flash_volume *v, struct flash_request *req)
{
	struct flash_repo *repo = req->tx->repo;
	struct flash_domain *domain = repo->domain;

	if (repo->draft_refs != NULL) {
		req->old_refs = repo->reftable;
		repo->reftable = repo->draft_refs;
		repo->draft_refs = NULL;
	}
	if (repo->draft_aux != NULL) {
		req->old_aux = repo->auxtable;
		repo->auxtable = repo->draft_aux;
		repo->draft_aux = NULL;
	}
	if (domain->draft != NULL) {
		req->old_index = domain->index;
		domain->index = domain->draft;
		bole_flash_mem_count(v, req->old_index, domain->index);
		domain->draft = NULL;
	}
}

static void unlink_prepared(struct flash_volume *v, struct flash_prepared *p)
{
	struct flash_prepared **at = &v->prepared;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	p->next = NULL;
}

/* An upper bound of what the request adds to the next checkpoint. */
static uint64_t growth_of(const struct flash_request *req)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < req->count; i++)
		bytes += bole_flash_ref_encoded(&req->updates[i]);
	for (uint32_t i = 0; i < req->tx->auxwrites; i++)
		bytes += req->tx->auxwrite[i].key_len + (uint64_t)RECORD_HEAD_BYTES + 64;
	/* Rows of what is published are counted in memory. */
	uint64_t drops = req->tx->drops == NULL ? 0 : req->tx->drops->items;
	if (req->kind == FLASH_REQUEST_PREPARE)
		bytes += (req->tx->puts + drops) * PREPARED_ROW_BYTES;
	return bytes;
}

/* What the transaction's user wrote; spilled puts are an extent too. */
static uint64_t user_bytes(const struct flash_tx *tx)
{
	uint64_t bytes = tx->data.len;

	for (uint32_t i = 0; i < tx->extents; i++)
		bytes += tx->extent[i]->data_bytes;
	return bytes;
}

/* Lock held. */
static void publish(struct flash_volume *v, struct flash_request *req)
{
	struct flash_prepared *p = req->prepared;

	switch (req->kind) {
	case FLASH_REQUEST_COMMIT:
		publish_versions(v, req);
		v->growth += growth_of(req);
		if (p != NULL) {
			unlink_prepared(v, p);
		} else {
			mark_published(v, req->tx->extent, req->tx->extents);
			atomic_fetch_add(&v->counters.user_bytes, user_bytes(req->tx));
		}
		atomic_fetch_add(&v->counters.commits, 1);
		break;
	case FLASH_REQUEST_PREPARE:
		mark_published(v, p->extent, p->extents);
		v->growth += growth_of(req);
		p->next = v->prepared;
		v->prepared = p;
		p->tx = req->tx;
		req->tx->prepared = p;
		req->tx->given = true;
		req->tx->run = p->run;
		if (p->run != NULL)
			atomic_fetch_add(&p->run->refs, 1);
		break;
	case FLASH_REQUEST_DROP: unlink_prepared(v, p); break;
	case FLASH_REQUEST_CREATE:
	case FLASH_REQUEST_RENAME:
	case FLASH_REQUEST_REMOVE:
		v->growth += REF_HEAD_BYTES + 2 * (uint64_t)BOLE_REF_NAME_MAX;
		bole_flash_publish_repo(v, req);
		break;
	}
}

/* Rows of what was prepared that lost against somebody else's. */
static void drop_duplicates(struct flash_volume *v, const struct flash_prepared *p,
                            const struct flash_index *index)
{
	struct flash_found found;

	for (uint32_t i = 0; p->run != NULL && i < p->run->count; i++) {
		struct flash_home mine = bole_flash_rows_home(p->run, i);
		if (bole_flash_index_find(v, index, bole_flash_rows_key(p->run, i), &v->reader,
		                          &found) == BOLE_OK &&
		    found.extent == NULL &&
		    found.place == bole_flash_place(mine.segment, mine.offset))
			continue;
		bole_flash_lock(v);
		bole_flash_live_sub(v, mine.segment,
		                    bole_flash_record_live(p->run->key_len, mine.stored));
		bole_flash_unlock(v);
	}
}

/* Removing a repository takes along what was prepared in it. */
static void drop_orphans(struct flash_volume *v, const struct flash_repo *repo)
{
	for (;;) {
		struct flash_prepared *p;
		bole_flash_lock(v);
		for (p = v->prepared; p != NULL && p->repo != repo; p = p->next)
			;
		if (p != NULL) {
			unlink_prepared(v, p);
			if (p->tx != NULL)
				p->tx->prepared = NULL;
		}
		bole_flash_unlock(v);
		if (p == NULL)
			return;
		bole_flash_prepared_free(v, p, true);
	}
}

/* Outside the lock: what publishing replaced. */
static void clean_up(struct flash_volume *v, struct flash_request *req)
{
	bole_flash_index_drop(v, req->old_index);
	bole_flash_table_release(&v->plain, req->old_refs);
	bole_flash_table_release(&v->aux, req->old_aux);
	bole_flash_table_release(&v->plain, req->old_names);
	if (req->prepared != NULL && req->kind != FLASH_REQUEST_PREPARE) {
		req->tx->prepared = NULL;
		if (req->kind == FLASH_REQUEST_COMMIT)
			drop_duplicates(v, req->prepared, req->tx->repo->domain->index);
		bole_flash_prepared_free(v, req->prepared, req->kind == FLASH_REQUEST_DROP);
	}
	if (req->old_repo != NULL) {
		drop_orphans(v, req->old_repo);
		bole_flash_repo_forget(v, req->old_repo);
		bole_flash_repo_release(v, req->old_repo);
	}
}

static void drop_drafts(struct flash_volume *v, struct flash_request *req)
{
	if (req->tx == NULL)
		return;
	struct flash_repo *repo = req->tx->repo;
	bole_flash_table_release(&v->plain, repo->draft_refs);
	bole_flash_table_release(&v->aux, repo->draft_aux);
	bole_flash_index_drop(v, repo->domain->draft);
	repo->draft_refs = NULL;
	repo->draft_aux = NULL;
	repo->domain->draft = NULL;
}

/* The group did not become durable: nothing of it is shown. */
static void give_up(struct flash_volume *v, struct flash_request *group, enum bole_status why)
{
	bole_flash_live_forget(v);
	for (struct flash_request *req = group; req != NULL; req = req->next) {
		if (!req->written)
			continue;
		req->rc = why;
		req->written = false;
		drop_drafts(v, req);
		if (req->kind == FLASH_REQUEST_PREPARE)
			bole_flash_prepared_free(v, req->prepared, false);
		req->prepared = NULL;
		if (req->kind == FLASH_REQUEST_CREATE)
			bole_flash_forget_create(v, req);
		bole_flash_table_release(&v->plain, req->old_refs);
		bole_flash_table_release(&v->plain, req->old_names);
		req->old_refs = NULL;
		req->old_names = NULL;
	}
}

static void finish_group(struct flash_volume *v, struct flash_request *group)
{
	bool any = false;

	for (struct flash_request *req = group; req != NULL; req = req->next)
		any |= req->written;
	if (!any)
		return;
	enum bole_status rc =
	        atomic_load(&v->failed) || v->log.broken ? BOLE_E_IO : bole_flash_batch_end(v, 0);
	if (rc == BOLE_OK)
		rc = bole_flash_flush(v);
	if (rc != BOLE_OK) {
		v->batch.open = false;
		give_up(v, group, BOLE_E_IO);
		return;
	}
	v->log.durable = v->log.batch - 1;
	bole_flash_lock(v);
	bole_flash_live_publish(v);
	for (struct flash_request *req = group; req != NULL; req = req->next)
		if (req->written)
			publish(v, req);
	v->epoch = v->stamp;
	bole_flash_unlock(v);
	for (struct flash_request *req = group; req != NULL; req = req->next) {
		if (!req->written)
			continue;
		clean_up(v, req);
	}
	bole_flash_batch_rest(v);
}

static uint32_t free_now(struct flash_volume *v)
{
	bole_flash_lock(v);
	uint32_t n = v->free;
	bole_flash_unlock(v);
	return n;
}

/* How much space a request wants is known to the attempt alone. */
static void encode_with_help(struct flash_volume *v, struct flash_request *req)
{
	for (uint32_t n = 0; n < SPACE_TRIES; n++) {
		uint32_t before = free_now(v);
		req->rc = encode(v, req);
		if (req->rc != BOLE_E_NO_SPACE || req->written || v->refused_full)
			return;
		bole_flash_lock(v);
		bool more = bole_flash_make_space(v, v->purpose, before + 1, true) == BOLE_OK;
		bole_flash_unlock(v);
		if (!more)
			return;
		/* What it has read may be somewhere else now. */
		bole_flash_reader_reset(&v->reader);
	}
	bole_flash_lock(v);
	bole_flash_check_end(v, true);
	bole_flash_unlock(v);
}

/* Encodes requests until one finds no space behind others: that one waits for the next group, when
 * a checkpoint can be made. Returns what is left over. */
static struct flash_request *encode_group(struct flash_volume *v, struct flash_request *group)
{
	struct flash_request *before = NULL;
	bool drafted = false;

	for (struct flash_request *req = group; req != NULL; before = req, req = req->next) {
		drafted |= before != NULL && before->written;
		req->rc = encode(v, req);
		if (v->log.broken)
			return NULL; /* all of them once more */
		if (req->rc != BOLE_E_NO_SPACE || req->written)
			continue;
		if (drafted) {
			before->next = NULL;
			return req;
		}
		encode_with_help(v, req);
	}
	return NULL;
}

static struct flash_request *join(struct flash_request *list, struct flash_request *behind)
{
	struct flash_request **end = &list;

	while (*end != NULL)
		end = &(*end)->next;
	*end = behind;
	return list;
}

/* Writes the group; what is left over is for the next one. When the log breaks, nothing of the
 * group is anywhere that counts: it is encoded again, from its requests, for the new place. */
static struct flash_request *write_group(struct flash_volume *v, struct flash_request *group)
{
	struct flash_request *rest = NULL;

	do {
		enum bole_status rc = bole_flash_log_mend(v);
		if (rc != BOLE_OK) {
			for (struct flash_request *req = group; req != NULL; req = req->next)
				req->rc = atomic_load(&v->failed) ? BOLE_E_IO : rc;
			break;
		}
		bole_flash_reader_reset(&v->reader);
		rest = join(encode_group(v, group), rest);
		finish_group(v, group);
	} while (v->log.broken && !atomic_load(&v->failed));
	return rest;
}

/* Leads until its own request is done. Lock held on entry and exit. */
static void lead(struct flash_volume *v)
{
	struct flash_request *group = take_group(v);

	v->leading = true;
	v->stamp = v->epoch + 1;
	bole_flash_unlock(v);
	struct flash_request *rest = write_group(v, group);
	bole_flash_lock(v);
	while (group != NULL) {
		/* The request lives on its submitter's stack. */
		struct flash_request *next = group->next;
		group->done = true;
		group = next;
	}
	if (rest != NULL) {
		struct flash_request *last = rest;
		while (last->next != NULL)
			last = last->next;
		last->next = v->queue;
		if (v->queue == NULL)
			v->queue_end = &last->next;
		v->queue = rest;
	}
	if (!v->checkpointing)
		bole_flash_levels_settle(v);
	v->leading = false;
	v->stamp = v->epoch;
	v->platform->ops->cond_broadcast(v->platform, &v->cond);
}

static void note_time(struct flash_volume *v, uint64_t since)
{
	uint64_t ns = v->platform->ops->now_ns(v->platform) - since;
	uint64_t worst = atomic_load(&v->counters.commit_ns_max);

	while (ns > worst && !atomic_compare_exchange_weak(&v->counters.commit_ns_max, &worst, ns))
		;
}

enum bole_status bole_flash_submit(struct flash_volume *v, struct flash_request *req)
{
	uint64_t since = v->platform->ops->now_ns(v->platform);

	if (!bole_flash_writable(v))
		return BOLE_E_READ_ONLY;
	req->next = NULL;
	req->done = false;
	bole_flash_lock(v);
	*v->queue_end = req;
	v->queue_end = &req->next;
	while (!req->done) {
		if (!v->leading)
			lead(v);
		else
			(void)v->platform->ops->cond_wait(v->platform, &v->cond, &v->lock,
			                                  BOLE_NEVER);
	}
	bole_flash_unlock(v);
	note_time(v, since);
	/* A commit has a view to close first. */
	if (req->kind != FLASH_REQUEST_COMMIT)
		bole_flash_after(v, 0);
	return req->rc;
}
