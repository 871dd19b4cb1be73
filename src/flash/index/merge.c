/* SPDX-License-Identifier: ISC */
/* Merging runs: so many neighbours of similar size become one, a bounded step at a time, beside
 * commits. The result counts when it is installed; the next checkpoint names it. A cut in between
 * loses the work and nothing else. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/index/levels.h"
#include "flash/index/page.h"

enum {
	MERGE_AHEAD_SMALL = 2, /* pages read at once for each run, where memory is limited */
	MERGE_STEP_ROWS = 4096,
	LEVEL_RUNS_TIMES = 3, /* so many times the fan are merged whatever their sizes */
	SLOT_BITMAP_BYTES = INDEX_SLOTS / 8,
	EXTENT_KILLS_SHARE = 64, /* of the volume at most is held back for kills in extents */
};

struct flash_compaction {
	struct flash_domain *domain; /* held */
	struct flash_runs *inputs;   /* a list of our own */
	bool oldest;                 /* nothing is older than what is merged */
	uint64_t rows;               /* that are left, at most */
	struct flash_merge merge;
	struct flash_run_builder builder;
	struct flash_net net;
	uint8_t *slots; /* of extents that live */
};

static uint32_t fan(const struct flash_volume *v)
{
	return v->segment_bytes < LEVEL_SMALL_SEGMENT ? LEVEL_FAN_SMALL : LEVEL_FAN;
}

static uint32_t tier_of(const struct flash_volume *v, const struct flash_run *run)
{
	uint32_t tier = 0;
	uint64_t size = bole_flash_page_fit(v, FLASH_PAGE_ROWS, INDEX_ROW_BYTES) * (uint64_t)4;

	for (; size < run->rows; size *= fan(v))
		tier++;
	return tier;
}

/* Runs that lie where the device wants things moved are written again, with those newer. */
static uint32_t decayed_count(const struct flash_volume *v, const struct flash_runs *runs)
{
	uint32_t count = 0;

	for (uint32_t i = 0; v->decay.seen && i < runs->count; i++)
		for (uint32_t k = 0; k < runs->run[i]->chunks; k++)
			if (v->segment[runs->run[i]->chunk[k].segment].decaying)
				count = i + 1;
	return count;
}

/* How many of the newest runs should become one: 0 = none. */
static uint32_t due_count(const struct flash_volume *v, const struct flash_domain *domain)
{
	const struct flash_runs *runs = domain->index == NULL ? NULL : domain->index->runs;

	if (runs == NULL || domain->marking)
		return 0;
	uint32_t decayed = decayed_count(v, runs);
	if (decayed != 0 || runs->count < fan(v))
		return decayed;
	for (uint32_t tier = 0; tier < 64; tier++) {
		uint32_t n = 0;
		uint32_t same = 0;
		/* A large one is not written again for the sake of a few small ones. */
		for (; n < runs->count && tier_of(v, runs->run[n]) <= tier; n++)
			same += tier_of(v, runs->run[n]) == tier;
		if (same >= fan(v) || n >= LEVEL_RUNS_TIMES * fan(v))
			return n;
		if (n == runs->count)
			break;
	}
	return 0;
}

bool bole_flash_merge_due(const struct flash_volume *v)
{
	if (v->compaction != NULL)
		return true;
	for (uint32_t i = 0; i < v->repos; i++)
		if (due_count(v, v->repo[i]->domain) != 0)
			return true;
	return false;
}

static void compaction_free(struct flash_volume *v, struct flash_compaction *c)
{
	for (uint32_t i = 0; c->inputs != NULL && i < c->inputs->count; i++)
		bole_flash_run_release(c->inputs->run[i]);
	if (c->inputs != NULL)
		bole_alloc_free(v->alloc, c->inputs,
		                sizeof *c->inputs + c->inputs->count * sizeof c->inputs->run[0], 1);
	bole_alloc_free(v->alloc, c->slots, SLOT_BITMAP_BYTES, 1);
	bole_flash_domain_release(v, c->domain);
	bole_alloc_free(v->alloc, c, 1, sizeof *c);
}

/* Rows that a merge of the newest runs leaves, at most. Lock held. */
static uint64_t rows_left(const struct flash_index *index, uint32_t count)
{
	uint64_t rows = 0;
	uint64_t live = index->objects;

	for (uint32_t i = 0; i < count; i++)
		rows += index->runs->run[i]->rows;
	/* Kills of rows of extents stay. Those of others go, when nothing is older. */
	if (count != index->runs->count || bole_flash_index_extents(index) != 0)
		return rows;
	live += bole_flash_memory_rows(&index->now) + bole_flash_memory_rows(&index->frozen);
	return rows < live ? rows : live;
}

/* Of the newest runs of a domain. Lock held. NULL: no memory. */
static struct flash_compaction *compaction_open(struct flash_volume *v, struct flash_domain *domain,
                                                uint32_t count)
{
	struct flash_compaction *c = bole_alloc_zeroed(v->alloc, 1, sizeof *c);
	if (c == NULL)
		return NULL;
	atomic_fetch_add_explicit(&domain->refs, 1, memory_order_relaxed);
	c->domain = domain;
	c->slots = bole_alloc_zeroed(v->alloc, SLOT_BITMAP_BYTES, 1);
	c->inputs = bole_alloc_zeroed(v->alloc,
	                              sizeof *c->inputs + count * sizeof c->inputs->run[0], 1);
	if (c->inputs != NULL)
		c->inputs->count = count;
	if (c->slots == NULL || c->inputs == NULL) {
		compaction_free(v, c);
		return NULL;
	}
	for (uint32_t i = 0; i < count; i++)
		c->inputs->run[i] = bole_flash_run_retain(domain->index->runs->run[i]);
	c->oldest = count == domain->index->runs->count;
	c->rows = rows_left(domain->index, count);
	for (uint32_t i = 0; i < bole_flash_index_extents(domain->index); i++) {
		uint32_t slot = domain->index->extents->extent[i]->slot;
		c->slots[slot / 8] |= (uint8_t)(1u << slot % 8);
	}
	return c;
}

/* Chooses what to merge. Lock held. */
static struct flash_compaction *choose(struct flash_volume *v)
{
	struct flash_domain *domain = NULL;
	uint32_t count = 0;

	for (uint32_t i = 0; i < v->repos && count == 0; i++) {
		domain = v->repo[i]->domain;
		count = due_count(v, domain);
	}
	return count == 0 ? NULL : compaction_open(v, domain, count);
}

/* -- For want of space -- */

/* Pages that the newest runs have more than what a merge of them leaves. Lock held. */
static uint64_t pages_gained(const struct flash_volume *v, const struct flash_index *index,
                             uint32_t count, uint64_t *left)
{
	uint64_t pages = 0;

	for (uint32_t i = 0; i < count; i++)
		pages += bole_flash_run_pages(index->runs->run[i]);
	*left = bole_flash_run_pages_for(v, rows_left(index, count));
	return pages > *left ? pages - *left : 0;
}

static uint32_t segment_pages(const struct flash_volume *v)
{
	return v->segment_bytes / v->page_bytes - 1;
}

uint64_t bole_flash_merge_gain(const struct flash_volume *v)
{
	uint64_t pages = 0;
	uint64_t left;

	for (uint32_t i = 0; i < v->repos; i++) {
		const struct flash_index *index = v->repo[i]->domain->index;
		if (index != NULL && index->runs != NULL && !v->repo[i]->domain->marking)
			pages += pages_gained(v, index, index->runs->count, &left);
	}
	return pages * v->page_bytes;
}

/* Rows of runs that a merge of all that a domain has can leave, or a sweep and the merge behind it
 * write; those that a sweep may have to kill in extents are few, or it is an extent that goes. */
static uint64_t rows_to_merge(const struct flash_volume *v, const struct flash_index *index)
{
	uint64_t extents = 0;
	uint64_t most = (uint64_t)v->segments / EXTENT_KILLS_SHARE * v->segment_bytes;

	for (uint32_t i = 0; i < bole_flash_index_extents(index); i++)
		extents += index->extents->extent[i]->rows;
	uint64_t rows = index->objects > extents ? index->objects - extents : 0;
	return rows + (extents < most / INDEX_ROW_BYTES ? extents : most / INDEX_ROW_BYTES);
}

uint32_t bole_flash_merge_room(const struct flash_volume *v)
{
	uint64_t most = 0;

	for (uint32_t i = 0; i < v->repos; i++) {
		const struct flash_index *index = v->repo[i]->domain->index;
		uint64_t pages =
		        index == NULL ? 0 : bole_flash_run_pages_for(v, rows_to_merge(v, index));
		most = pages > most ? pages : most;
	}
	/* The last one is not full, nor may be the first. */
	return (uint32_t)(most / segment_pages(v)) + 2;
}

/* As many of the newest runs as there is room to merge, where the most is gained. Lock held. */
static struct flash_compaction *choose_for_space(struct flash_volume *v, uint32_t percent)
{
	uint32_t floor = bole_flash_floor(v, FLASH_FOR_MERGING);
	uint64_t room =
	        v->free > floor + 1 ? (uint64_t)(v->free - floor - 1) * segment_pages(v) : 0;
	struct flash_domain *domain = NULL;
	uint32_t count = 0;
	uint64_t most = 0;

	for (uint32_t i = 0; i < v->repos; i++) {
		struct flash_domain *d = v->repo[i]->domain;
		if (d->index == NULL || d->index->runs == NULL || d->marking || d->draft != NULL)
			continue;
		for (uint32_t n = d->index->runs->count; n > 1; n--) {
			uint64_t left;
			uint64_t gained = pages_gained(v, d->index, n, &left);
			if (left > room || gained <= most || gained * 100 < left * percent)
				continue;
			most = gained;
			domain = d;
			count = n;
		}
	}
	return domain == NULL ? NULL : compaction_open(v, domain, count);
}

static enum bole_status open_merge(struct flash_volume *v, struct flash_compaction *c)
{
	BOLE_TRY(bole_flash_run_begin(&c->builder, v, &bole_flash_index_shape, c->rows, true,
	                              FLASH_FOR_MERGING));
	enum bole_status rc =
	        bole_flash_merge_open(&c->merge, v, c->inputs->run, c->inputs->count,
	                              v->budget.limit == SIZE_MAX ? 0 : MERGE_AHEAD_SMALL);
	if (rc != BOLE_OK)
		bole_flash_run_abort(&c->builder);
	return rc;
}

/* Takes the lead of the work, or begins one: made, or what is due. Lock held. NULL: nothing to do.
 */
static enum bole_status take(struct flash_volume *v, struct flash_compaction *made,
                             struct flash_compaction **out)
{
	bool fresh = v->compaction == NULL;

	*out = NULL;
	if (fresh)
		v->compaction = made;
	if (v->compaction == NULL)
		return BOLE_OK;
	v->compacting = true;
	struct flash_compaction *c = v->compaction;
	if (fresh) {
		bole_flash_unlock(v);
		enum bole_status rc = open_merge(v, c);
		bole_flash_lock(v);
		if (rc != BOLE_OK) {
			v->compaction = NULL;
			v->compacting = false;
			v->platform->ops->cond_broadcast(v->platform, &v->cond);
			bole_flash_unlock(v);
			compaction_free(v, c);
			bole_flash_lock(v);
			return rc;
		}
	}
	*out = c;
	return BOLE_OK;
}

/* Writes what remains of one key. */
static enum bole_status put_net(struct flash_compaction *c)
{
	const struct flash_net *n = &c->net;
	uint32_t slot = bole_flash_place_segment(bole_flash_get_be40(n->key + INDEX_PLACE_AT));

	if (n->has)
		BOLE_TRY(bole_flash_run_append(&c->builder, n->row, 1));
	if (n->kills && !c->oldest)
		BOLE_TRY(bole_flash_run_append(&c->builder, n->kill, 1));
	/* Extents are older than any run: a kill stays as long as its extent. */
	if (n->kills_extent && (c->slots[slot / 8] & 1u << slot % 8) != 0)
		BOLE_TRY(bole_flash_run_append(&c->builder, n->kill_extent, 1));
	return BOLE_OK;
}

static enum bole_status merge_some(struct flash_compaction *c, uint32_t rows)
{
	const uint8_t *row;
	uint32_t which;

	for (uint32_t i = 0; i < rows; i++) {
		enum bole_status rc = bole_flash_merge_next(&c->merge, &row, &which);
		if (rc == BOLE_END && c->net.any) {
			BOLE_TRY(put_net(c));
			c->net.any = false;
		}
		BOLE_TRY(rc);
		if (bole_flash_net_add(&c->net, row))
			continue;
		BOLE_TRY(put_net(c));
		c->net.any = false;
		(void)bole_flash_net_add(&c->net, row);
	}
	return BOLE_OK;
}

/* Where the inputs are in the published list now. Lock held. */
static bool find_inputs(const struct flash_volume *v, const struct flash_compaction *c,
                        uint32_t *at)
{
	const struct flash_index *index = c->domain->index;
	const struct flash_runs *runs = index == NULL ? NULL : index->runs;

	if (runs == NULL || c->domain->marking)
		return false;
	bool there = false;
	for (uint32_t i = 0; i < v->repos; i++)
		there |= v->repo[i]->domain == c->domain;
	for (*at = 0; there && *at + c->inputs->count <= runs->count; ++*at)
		if (memcmp(runs->run + *at, c->inputs->run,
		           c->inputs->count * sizeof runs->run[0]) == 0)
			return true;
	return false;
}

/* Lock held; nobody leads, or whoever does waits for us. */
static enum bole_status install(struct flash_volume *v, struct flash_compaction *c,
                                struct flash_run *run, struct flash_index **old)
{
	struct flash_index *index;
	uint32_t at;

	if (!find_inputs(v, c, &at) || c->domain->draft != NULL)
		return BOLE_E_GONE;
	BOLE_TRY(bole_flash_index_fork(v, c->domain, c->domain->index, &index));
	enum bole_status rc = bole_flash_index_runs(v, index, at, c->inputs->count, run);
	if (rc != BOLE_OK) {
		bole_flash_index_drop(v, index);
		return rc;
	}
	*old = bole_flash_index_swap(v, c->domain, index);
	v->epoch++;
	v->stamp = v->epoch;
	v->unlogged = true;
	if (run != NULL)
		bole_flash_run_change(run, FLASH_HELD_PUBLISHED, true);
	for (uint32_t i = 0; i < c->inputs->count; i++)
		bole_flash_run_change(c->inputs->run[i], FLASH_LIVE_DROPPED, true);
	return BOLE_OK;
}

static enum bole_status complete(struct flash_volume *v, struct flash_compaction *c, bool leading)
{
	struct flash_index *old = NULL;
	struct flash_run *run;

	BOLE_TRY(bole_flash_run_finish(&c->builder, &run));
	bole_flash_lock(v);
	while (v->leading && !leading && !v->lead_waits)
		(void)v->platform->ops->cond_wait(v->platform, &v->cond, &v->lock, BOLE_NEVER);
	enum bole_status rc = install(v, c, run, &old);
	/* Beside the commits that come after in the leader's turn. */
	if (v->leading)
		v->stamp = v->epoch + 1;
	if (rc != BOLE_OK && run != NULL)
		bole_flash_run_change(run, FLASH_HELD_DROPPED, true);
	bole_flash_unlock(v);
	bole_flash_index_drop(v, old);
	bole_flash_run_release(run);
	return rc;
}

static void release(struct flash_volume *v, struct flash_compaction *c)
{
	bole_flash_lock(v);
	v->compaction = NULL;
	v->compacting = false;
	v->merge_written = 0;
	v->platform->ops->cond_broadcast(v->platform, &v->cond);
	bole_flash_unlock(v);
	compaction_free(v, c);
}

/* Goes on with it for so many rows. BOLE_AGAIN: it is not at its end. */
static enum bole_status go_on(struct flash_volume *v, struct flash_compaction *c, uint32_t rows,
                              bool leading)
{
	uint32_t at;

	bole_flash_lock(v);
	bool there = find_inputs(v, c, &at);
	bole_flash_unlock(v);
	enum bole_status rc = there ? merge_some(c, rows) : BOLE_E_GONE;
	if (rc == BOLE_OK) {
		bole_flash_lock(v);
		v->merge_written = c->builder.pages / segment_pages(v);
		bole_flash_unlock(v);
		return BOLE_AGAIN;
	}
	bole_flash_merge_close(&c->merge);
	if (rc == BOLE_END)
		rc = complete(v, c, leading);
	else
		bole_flash_run_abort(&c->builder);
	release(v, c);
	return rc == BOLE_E_GONE ? BOLE_OK : rc;
}

enum bole_status bole_flash_merge_step(struct flash_volume *v, uint32_t rows, bool *did)
{
	struct flash_compaction *c = NULL;
	enum bole_status rc = BOLE_OK;

	bole_flash_lock(v);
	if (!v->compacting && bole_flash_writable(v))
		rc = take(v, v->compaction == NULL ? choose(v) : NULL, &c);
	bole_flash_unlock(v);
	*did = c != NULL;
	if (rc != BOLE_OK || c == NULL)
		return rc;
	rc = go_on(v, c, rows == 0 ? MERGE_STEP_ROWS : rows, false);
	if (rc != BOLE_AGAIN)
		return rc;
	bole_flash_lock(v);
	v->compacting = false;
	v->platform->ops->cond_broadcast(v->platform, &v->cond);
	bole_flash_unlock(v);
	return BOLE_OK;
}

enum bole_status bole_flash_merge_now(struct flash_volume *v, uint32_t percent, bool leading)
{
	struct flash_compaction *c;

	bole_flash_lock(v);
	while (v->compacting) {
		if (leading) {
			v->lead_waits = true;
			v->platform->ops->cond_broadcast(v->platform, &v->cond);
		}
		(void)v->platform->ops->cond_wait(v->platform, &v->cond, &v->lock, BOLE_NEVER);
		if (leading)
			v->lead_waits = false;
	}
	if ((leading || !v->leading) && !v->checkpointing)
		bole_flash_levels_settle(v);
	enum bole_status rc =
	        take(v, v->compaction == NULL ? choose_for_space(v, percent) : NULL, &c);
	bole_flash_unlock(v);
	if (rc != BOLE_OK || c == NULL)
		return rc == BOLE_OK ? BOLE_END : rc;
	do {
		rc = go_on(v, c, MERGE_STEP_ROWS, leading);
	} while (rc == BOLE_AGAIN);
	return rc;
}

void bole_flash_merge_end(struct flash_volume *v)
{
	struct flash_compaction *c = v->compaction;

	if (c == NULL)
		return;
	BOLE_ASSERT(!v->compacting);
	bole_flash_merge_close(&c->merge);
	bole_flash_run_abort(&c->builder);
	release(v, c);
}
