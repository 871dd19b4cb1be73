/* SPDX-License-Identifier: ISC */
/* Checkpoints: everything that a mount needs, as one stream of records, so that replay starts
 * behind it. The content is pinned (published versions are immutable), then written while commits
 * go on; the anchor makes it the one that counts. Only then is what it no longer names free.
 *
 * One is due when the log has grown by some segments and by twice the size of the last checkpoint,
 * so the cost stays a constant share of what is written. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/batch.h"
#include "flash/save.h"
#include "flash/tx.h"

enum {
	CHECKPOINT_SEGMENTS = 8,
	CHECKPOINT_TIMES = 2,
};

/* One repository as it was at the pin. */
struct pin_repo {
	struct flash_repo *repo;
	struct flash_index *index;
	struct flash_table *refs;
	struct flash_table *aux;
	char name[BOLE_REPO_NAME_MAX + 1];
};

/* A prepared transaction: its parts cannot change, but it may be freed meanwhile. */
struct pin_prepared {
	struct bole_tx_token token;
	struct flash_repo *repo;
	struct flash_rows *run;
	struct flash_extent **extent;
	uint32_t extents;
	struct flash_table *aux;
};

struct checkpoint {
	struct flash_volume *v;
	struct flash_anchor anchor; /* the next one */
	struct pin_repo *repo;
	uint32_t repos;
	struct pin_prepared *prepared;
	uint32_t prepareds;
	uint64_t *sequence; /* of each segment */
	uint32_t *erases;
	uint32_t next_repo;
	uint32_t next_domain;
	uint64_t next_extent;
	uint64_t growth; /* before */
	uint64_t tail;
	struct flash_save save;
	uint32_t old_cap;
};

bool bole_flash_checkpoint_due(const struct flash_volume *v)
{
	uint64_t last = v->anchor.stream_bytes * CHECKPOINT_TIMES;
	uint64_t least = (uint64_t)v->segment_bytes * CHECKPOINT_SEGMENTS;

	return !v->checkpointing && !v->read_only && v->tail_bytes > (last > least ? last : least);
}

/* -- The pin -- */

static void release_pin(struct checkpoint *c)
{
	struct flash_volume *v = c->v;

	for (uint32_t i = 0; i < c->repos; i++) {
		struct pin_repo *p = &c->repo[i];
		if (p->repo == NULL)
			continue;
		bole_flash_index_drop(v, p->index);
		bole_flash_table_release(&v->plain, p->refs);
		bole_flash_table_release(&v->aux, p->aux);
		bole_flash_repo_release(v, p->repo);
	}
	for (uint32_t i = 0; i < c->prepareds; i++) {
		struct pin_prepared *p = &c->prepared[i];
		if (p->repo == NULL)
			continue;
		bole_flash_rows_release(v->alloc, p->run);
		for (uint32_t n = 0; n < p->extents; n++)
			bole_flash_extent_release(p->extent[n]);
		bole_alloc_free(v->alloc, p->extent, p->extents, sizeof *p->extent);
		bole_flash_table_release(&v->aux, p->aux);
		bole_flash_repo_release(v, p->repo);
	}
	bole_alloc_free(v->alloc, c->repo, c->repos, sizeof *c->repo);
	bole_alloc_free(v->alloc, c->prepared, c->prepareds, sizeof *c->prepared);
	bole_alloc_free(v->alloc, c->sequence, v->segments, sizeof *c->sequence);
	bole_alloc_free(v->alloc, c->erases, v->segments, sizeof *c->erases);
}

static enum bole_status pin_memory(struct checkpoint *c)
{
	struct flash_volume *v = c->v;
	uint32_t prepareds = 0;

	for (const struct flash_prepared *p = v->prepared; p != NULL; p = p->next)
		prepareds++;
	c->sequence = bole_alloc_array(v->alloc, v->segments, sizeof *c->sequence);
	c->erases = bole_alloc_array(v->alloc, v->segments, sizeof *c->erases);
	if (c->sequence == NULL || c->erases == NULL)
		return BOLE_E_NO_MEMORY;
	if (v->repos != 0)
		c->repo = bole_alloc_zeroed(v->alloc, v->repos, sizeof *c->repo);
	if (prepareds != 0)
		c->prepared = bole_alloc_zeroed(v->alloc, prepareds, sizeof *c->prepared);
	if (c->repo != NULL)
		c->repos = v->repos;
	if (c->prepared != NULL)
		c->prepareds = prepareds;
	return c->repos == v->repos && c->prepareds == prepareds ? BOLE_OK : BOLE_E_NO_MEMORY;
}

static enum bole_status pin_prepared(struct checkpoint *c)
{
	struct flash_volume *v = c->v;
	uint32_t at = 0;

	for (const struct flash_prepared *p = v->prepared; p != NULL; p = p->next) {
		struct pin_prepared *to = &c->prepared[at++];
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
		to->repo = p->repo;
		atomic_fetch_add(&p->repo->refs, 1);
	}
	return BOLE_OK;
}

static void pin_repos(struct checkpoint *c)
{
	struct flash_volume *v = c->v;

	for (uint32_t i = 0; i < v->repos; i++) {
		struct flash_repo *repo = v->repo[i];
		if (repo->hidden)
			continue;
		atomic_fetch_add(&repo->refs, 1);
		c->repo[i] = (struct pin_repo){
		        .repo = repo,
		        .index = bole_flash_index_retain(repo->domain->index),
		        .refs = bole_flash_table_retain(repo->reftable),
		        .aux = bole_flash_table_retain(repo->auxtable),
		};
		memcpy(c->repo[i].name, repo->name, sizeof repo->name);
	}
}

/* What is dead now is dead for the new checkpoint; what of the log it covers is data like any
 * other. Nothing of it is free before the anchor is written. */
static void pin_segments(struct checkpoint *c)
{
	struct flash_volume *v = c->v;

	for (uint32_t i = 0; i < v->segments; i++) {
		struct flash_segment *s = &v->segment[i];
		c->sequence[i] = s->sequence;
		c->erases[i] = s->erases;
		if (s->state == SEGMENT_TAIL && i != v->log.segment) {
			s->state = SEGMENT_USED;
			s->published = true;
			bole_flash_segment_settle(v, i);
		}
		if (s->state == SEGMENT_FREED) {
			s->state = SEGMENT_FREEING;
			v->freed--;
		}
	}
}

/* The leader calls it between groups: the published versions are the log up to its head. */
static enum bole_status pin(struct checkpoint *c)
{
	struct flash_volume *v = c->v;

	BOLE_ASSERT(!v->batch.open);
	BOLE_TRY(pin_memory(c));
	BOLE_TRY(pin_prepared(c));
	pin_repos(c);
	pin_segments(c);
	c->anchor = v->anchor;
	c->anchor.map = NULL;
	c->anchor.map_count = 0;
	c->anchor.generation++;
	c->anchor.log_segment = v->log.segment;
	c->anchor.log_offset = v->log.pos;
	c->anchor.log_sequence = v->log.sequence;
	c->anchor.log_next = v->log.next;
	c->anchor.log_next_sequence = v->log.next_sequence;
	c->anchor.batch = v->log.batch;
	c->anchor.link = v->log.link;
	c->next_repo = v->next_repo;
	c->next_domain = v->next_domain;
	c->growth = v->growth;
	c->tail = v->tail_bytes;
	c->anchor.stream = v->next_extent++;
	c->next_extent = v->next_extent;
	return BOLE_OK;
}

/* -- Writing -- */

static enum bole_status put(struct flash_save *s, const void *src, size_t len)
{
	bole_flash_sum_add(&s->sum, src, len);
	s->bytes += len;
	return bole_flash_stream_append(&s->stream, src, len);
}

enum bole_status bole_flash_save_record(struct flash_save *s, struct flash_record r,
                                        struct bole_bytes body)
{
	uint8_t head[RECORD_HEAD_BYTES];

	r.body = body;
	bole_flash_record_head(head, &r);
	BOLE_TRY(put(s, head, sizeof head));
	BOLE_TRY(put(s, r.key.ptr, r.key.len));
	return put(s, body.ptr, body.len);
}

static enum bole_status put_record(struct checkpoint *c, struct flash_record r,
                                   struct bole_bytes body)
{
	return bole_flash_save_record(&c->save, r, body);
}

static enum bole_status put_head(struct checkpoint *c)
{
	struct flash_volume *v = c->v;
	uint8_t body[SAVE_CHUNK];

	bole_put_le64(body + COUNTERS_EXTENT_AT, c->next_extent);
	bole_put_le32(body + COUNTERS_REPO_AT, c->next_repo);
	bole_put_le32(body + COUNTERS_DOMAIN_AT, c->next_domain);
	BOLE_TRY(put_record(c, (struct flash_record){.kind = FLASH_RECORD_COUNTERS},
	                    bole_bytes_of(body, COUNTERS_BYTES)));
	for (uint32_t i = 0; i < v->segments;) {
		size_t len = SEGMENTS_ROWS_AT;
		bole_put_le32(body + SEGMENTS_FIRST_AT, i);
		for (; i < v->segments && len + SEGMENT_ROW_BYTES <= sizeof body; i++) {
			bole_put_le64(body + len + SEGMENT_ROW_SEQUENCE_AT, c->sequence[i]);
			bole_put_le32(body + len + SEGMENT_ROW_ERASES_AT, c->erases[i]);
			len += SEGMENT_ROW_BYTES;
		}
		BOLE_TRY(put_record(c, (struct flash_record){.kind = FLASH_RECORD_SEGMENTS},
		                    bole_bytes_of(body, len)));
	}
	return BOLE_OK;
}

static enum bole_status put_refs(struct checkpoint *c, const struct pin_repo *p)
{
	uint8_t body[SAVE_CHUNK];
	struct flash_record r = {.kind = FLASH_RECORD_REFS, .owner = p->repo->id};
	struct flash_snapshot view = {.refs = p->refs, .pub.repo.algo = p->repo->domain->algo};
	struct bole_bytes none = {NULL, 0};
	struct bole_bytes after = none;
	struct bole_ref ref;
	size_t len = 0;

	while (bole_flash_ref_next(&view, none, after, &ref) == BOLE_OK) {
		struct bole_ref_update u = {
		        .name = ref.name,
		        .action = ref.symbolic ? BOLE_REF_SYMBOLIC : BOLE_REF_SET,
		        .oid = ref.oid,
		        .peeled = ref.peeled,
		        .has_peeled = ref.has_peeled,
		        .target = ref.target,
		};
		if (len + bole_flash_ref_encoded(&u) > sizeof body) {
			BOLE_TRY(put_record(c, r, bole_bytes_of(body, len)));
			len = 0;
		}
		len += bole_flash_ref_encode(&u, NULL, ref.oid.algo, body + len);
		after = ref.name;
	}
	return len == 0 ? BOLE_OK : put_record(c, r, bole_bytes_of(body, len));
}

static enum bole_status put_aux(struct checkpoint *c, const struct flash_table *table,
                                uint32_t repo, uint8_t flags)
{
	struct flash_record r = {.kind = FLASH_RECORD_AUX_PLACE, .flags = flags, .owner = repo};
	struct bole_bytes after = {NULL, 0};

	for (const struct flash_item *item = bole_flash_table_next(table, after, true);
	     item != NULL; item = bole_flash_table_next(table, after, false)) {
		after = bole_flash_item_key(item);
		r.key = after;
		BOLE_TRY(put_record(c, r, bole_flash_item_value(item)));
	}
	return BOLE_OK;
}

static enum bole_status put_repo(struct checkpoint *c, const struct pin_repo *p)
{
	uint8_t body[REPO_HEAD_BYTES + BOLE_REPO_NAME_MAX] = {0};
	size_t name = strlen(p->name);
	uint32_t domain = p->repo->domain->id;

	bole_put_le32(body + REPO_DOMAIN_AT, domain);
	body[REPO_ALGO_AT] = p->repo->domain->algo;
	memcpy(body + REPO_HEAD_BYTES, p->name, name);
	BOLE_TRY(put_record(c,
	                    (struct flash_record){.kind = FLASH_RECORD_REPO, .owner = p->repo->id},
	                    bole_bytes_of(body, REPO_HEAD_BYTES + name)));
	BOLE_TRY(put_refs(c, p));
	BOLE_TRY(put_aux(c, p->aux, p->repo->id, 0));
	return bole_flash_index_save(&c->save, p->repo->domain, p->index, NULL);
}

static enum bole_status put_prepared(struct checkpoint *c, const struct pin_prepared *p)
{
	uint8_t body[PREPARE_BYTES] = {0};
	struct flash_record r = {.kind = FLASH_RECORD_PREPARE, .owner = p->repo->id};

	memcpy(body + PREPARE_TOKEN_AT, p->token.bytes, FLASH_TOKEN_BYTES);
	BOLE_TRY(put_record(c, r, bole_bytes_of(body, sizeof body)));
	BOLE_TRY(bole_flash_index_save_prepared(&c->save, p->repo->domain, p->run, p->extent,
	                                        p->extents));
	return put_aux(c, p->aux, p->repo->id, FLASH_FLAG_PREPARED);
}

static enum bole_status put_map(struct checkpoint *c)
{
	struct flash_stream *s = &c->save.stream;
	uint8_t place[PLACE_BYTES];
	uint32_t count;

	BOLE_TRY(bole_flash_stream_end(s));
	count = s->fragments;
	BOLE_TRY(bole_flash_stream_select(s, FLASH_FRAGMENT_MAP));
	for (uint32_t i = 0; i < count; i++) {
		bole_flash_place_put(place, &s->fragment[i]);
		BOLE_TRY(bole_flash_stream_append(s, place, sizeof place));
	}
	BOLE_TRY(bole_flash_stream_end(s));
	uint32_t map = s->fragments - count;
	if (map > bole_flash_anchor_map_max(&c->v->geometry))
		return BOLE_E_LIMIT;
	c->anchor.map = s->fragment + count; /* borrowed while the anchor is written */
	c->anchor.map_count = map;
	return BOLE_OK;
}

static enum bole_status write_all(struct checkpoint *c)
{
	struct flash_volume *v = c->v;

	c->save.v = v;
	bole_flash_stream_init(&c->save.stream, v, c->anchor.stream, 0, FLASH_SEGMENT_CHECKPOINT,
	                       FLASH_FOR_CHECKPOINT);
	bole_flash_sum_begin(&c->save.sum, c->anchor.stream);
	BOLE_TRY(bole_flash_stream_select(&c->save.stream, FLASH_FRAGMENT_CHECKPOINT));
	BOLE_TRY(put_head(c));
	for (uint32_t i = 0; i < c->repos; i++)
		if (c->repo[i].repo != NULL)
			BOLE_TRY(put_repo(c, &c->repo[i]));
	for (uint32_t i = 0; i < c->prepareds; i++)
		BOLE_TRY(put_prepared(c, &c->prepared[i]));
	BOLE_TRY(put_record(c, (struct flash_record){.kind = FLASH_RECORD_END},
	                    (struct bole_bytes){NULL, 0}));
	BOLE_TRY(put_map(c));
	c->anchor.stream_bytes = c->save.bytes;
	c->anchor.stream_digest = bole_flash_sum_end(&c->save.sum);
	return bole_flash_flush(v);
}

/* -- The end -- */

/* The anchor is durable: what the old checkpoint alone named is free. */
static void settle(struct checkpoint *c, bool ok)
{
	struct flash_volume *v = c->v;
	struct flash_fragment *old = ok ? v->checkpoint : NULL;
	uint32_t olds = ok ? v->checkpoint_fragments : 0;

	if (ok) {
		v->checkpoint = c->save.stream.fragment;
		v->checkpoint_fragments = c->save.stream.fragments;
		/* Listed to its capacity, which freeing needs. */
		v->checkpoint_cap = c->save.stream.fragments_cap;
	}
	for (uint32_t i = 0; i < v->segments; i++) {
		bole_flash_lock(v);
		bool free = v->segment[i].state == SEGMENT_FREEING;
		bole_flash_unlock(v);
		if (!free)
			continue;
		if (ok)
			bole_flash_discard(v, i);
		bole_flash_lock(v);
		if (ok) {
			bole_flash_segment_release(v, i);
		} else {
			v->segment[i].state = SEGMENT_FREED;
			v->freed++;
		}
		bole_flash_unlock(v);
	}
	/* The old checkpoint itself: nothing durable names it any more. */
	for (uint32_t i = 0; i < olds; i++) {
		bole_flash_lock(v);
		v->segment[old[i].segment].published = false;
		bole_flash_hold_end(v, old[i].segment, bole_flash_fragment_live(old[i].length));
		bole_flash_unlock(v);
	}
	bole_alloc_free(v->alloc, old, c->old_cap, sizeof *old);
}

static enum bole_status store(struct checkpoint *c)
{
	struct flash_volume *v = c->v;

	bole_flash_lock(v);
	c->anchor.opened = v->opened;
	bole_flash_unlock(v);
	struct flash_anchor_place *place = &v->anchor_place;
	uint64_t programmed = place->programmed;
	uint64_t erased = place->erased;
	enum bole_status rc =
	        bole_flash_anchor_store(v->dev, v->platform, v->alloc, &c->anchor, place);
	atomic_fetch_add(&v->counters.programmed, place->programmed - programmed);
	atomic_fetch_add(&v->counters.erased, place->erased - erased);
	atomic_fetch_add(&v->counters.flushes, 1);
	/* Which anchor a mount would find is unknown now. */
	if (rc != BOLE_OK && rc != BOLE_E_NO_MEMORY)
		bole_flash_fail(v, "writing an anchor");
	return rc;
}

/* Everything after the pin. */
static enum bole_status complete(struct checkpoint *c)
{
	struct flash_volume *v = c->v;
	enum bole_status rc = write_all(c);

	if (rc == BOLE_OK)
		rc = store(c);
	bole_flash_stream_close(&c->save.stream);
	c->old_cap = v->checkpoint_cap;
	settle(c, rc == BOLE_OK);
	if (rc == BOLE_OK) {
		bole_flash_lock(v);
		c->anchor.map = NULL;
		c->anchor.map_count = 0;
		v->anchor = c->anchor;
		v->tail_bytes -= c->tail;
		v->growth = c->save.bytes + (v->growth - c->growth);
		bole_flash_unlock(v);
	} else {
		bole_flash_stream_release(&c->save.stream, false);
		bole_log(v->platform, BOLE_LOG_WARN, "%s: no checkpoint: %s", v->dev->info.name,
		         bole_status_text(rc));
	}
	release_pin(c);
	return rc;
}

/* Pins and completes. Lock held on entry and exit; nobody leads, or the caller does. */
static enum bole_status run(struct flash_volume *v)
{
	struct checkpoint c = {.v = v};
	enum bole_status rc = pin(&c);

	v->checkpointing = rc == BOLE_OK;
	bole_flash_unlock(v);
	if (rc == BOLE_OK)
		rc = complete(&c);
	else
		release_pin(&c);
	bole_flash_lock(v);
	v->checkpointing = false;
	v->platform->ops->cond_broadcast(v->platform, &v->cond);
	return rc;
}

enum bole_status bole_flash_checkpoint_leading(struct flash_volume *v)
{
	bole_flash_lock(v);
	enum bole_status rc =
	        v->checkpointing || atomic_load(&v->failed) ? BOLE_E_READ_ONLY : run(v);
	bole_flash_unlock(v);
	return rc;
}

enum bole_status bole_flash_checkpoint(struct flash_volume *v)
{
	bole_flash_lock(v);
	while (v->leading)
		(void)v->platform->ops->cond_wait(v->platform, &v->cond, &v->lock, BOLE_NEVER);
	enum bole_status rc = v->checkpointing || atomic_load(&v->failed) ? BOLE_OK : run(v);
	bole_flash_unlock(v);
	return rc;
}

bool bole_flash_space_helps(const struct flash_volume *v)
{
	for (uint32_t i = 0; i < v->segments; i++)
		if (bole_flash_segment_dead(v, i) && !bole_flash_pinned(v, i))
			return true;
	return false;
}
