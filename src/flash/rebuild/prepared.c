/* SPDX-License-Identifier: ISC */
/* Transactions that were prepared, where the part of the checkpoint that lists them is damaged. The
 * archive knows those whose preparation is still in the log; whether one was resolved since is
 * certain only where no batch behind it is gone. The log behind the checkpoint may resolve it: then
 * it was still there. Of the others nobody can tell, so what they brought is kept where nobody
 * misses it, and what they were to set is not set; the repair says so. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/checkpoint/checkpoint.h"
#include "flash/index/auxtable.h"
#include "flash/index/extent.h"
#include "flash/log/reader.h"
#include "flash/rebuild/rebuild.h"

static struct flash_prepared *find(const struct flash_volume *v, const struct bole_tx_token *token)
{
	for (struct flash_prepared *p = v->prepared; p != NULL; p = p->next)
		if (memcmp(p->token.bytes, token->bytes, FLASH_TOKEN_BYTES) == 0)
			return p;
	return NULL;
}

static void forget(struct flash_volume *v, struct flash_prepared *p)
{
	struct flash_prepared **at = &v->prepared;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	bole_flash_prepared_free(v, p, false);
}

void bole_flash_rebuild_prepare_again(struct flash_volume *v, const struct flash_record *r)
{
	struct bole_tx_token token;

	if (r->body.len != PREPARE_BYTES)
		return;
	memcpy(token.bytes, r->body.ptr + PREPARE_TOKEN_AT, FLASH_TOKEN_BYTES);
	struct flash_prepared *p = find(v, &token);
	if (p != NULL)
		forget(v, p);
}

static bool stamped(const struct rebuild *rb, enum flash_stamp stamp,
                    const struct flash_prepared *p, uint64_t *batch)
{
	return bole_flash_archive_stamp(&rb->archive, stamp, 0,
	                                bole_bytes_of(p->token.bytes, FLASH_TOKEN_BYTES), batch);
}

bool bole_flash_rebuild_is_prepared(const struct flash_volume *v, uint64_t extent)
{
	for (const struct flash_prepared *p = v->prepared; p != NULL; p = p->next)
		for (uint32_t i = 0; i < p->extents; i++)
			if (p->extent[i]->id == extent)
				return true;
	return false;
}

bool bole_flash_rebuild_is_prepared_aux(const struct flash_volume *v, uint32_t segment,
                                        uint32_t offset)
{
	for (const struct flash_prepared *p = v->prepared; p != NULL; p = p->next) {
		struct bole_bytes after = {NULL, 0};
		if (p->doubtful)
			continue;
		for (const struct flash_item *item = bole_flash_table_next(p->aux, after, true);
		     item != NULL; item = bole_flash_table_next(p->aux, after, false)) {
			struct bole_bytes value = bole_flash_item_value(item);
			after = bole_flash_item_key(item);
			for (uint32_t i = 0; i < bole_flash_aux_parts(value); i++) {
				struct flash_aux_part part = bole_flash_aux_part(value, i);
				if (part.bytes != 0 && part.segment == segment &&
				    part.offset == offset)
					return true;
			}
		}
	}
	return false;
}

/* -- From the archive -- */

struct copying {
	struct rebuild *rb;
	struct flash_apply apply;
	uint32_t domain;
	uint32_t repo;
};

static enum bole_status put(struct copying *c, uint8_t kind, struct bole_bytes key,
                            struct bole_bytes body)
{
	bool aux = kind == FLASH_RECORD_AUX_PLACE || kind == FLASH_RECORD_PREPARE;
	struct flash_record r = {.kind = kind,
	                         .flags = FLASH_FLAG_PREPARED,
	                         .owner = aux ? c->repo : c->domain,
	                         .key = key,
	                         .body = body};

	return bole_flash_chain_record(&c->apply, &r);
}

static enum bole_status put_extent(struct copying *c, const struct flash_extent *e)
{
	struct bole_bytes none = {NULL, 0};
	struct bole_alloc *alloc = c->rb->v->alloc;
	size_t len = bole_flash_extent_body(e, NULL);
	uint8_t *body = bole_alloc_array(alloc, len, 1);

	if (body == NULL)
		return BOLE_E_NO_MEMORY;
	(void)bole_flash_extent_body(e, body);
	enum bole_status rc = put(c, FLASH_RECORD_EXTENT, none, bole_bytes_of(body, len));
	bole_alloc_free(alloc, body, len, 1);
	return rc;
}

/* As an element of a checkpoint would list it. */
static enum bole_status put_all(struct copying *c, const struct flash_prepared *p)
{
	const struct bole_bytes none = {NULL, 0};
	struct bole_bytes after = none;
	uint8_t body[PREPARE_BYTES] = {0};

	memcpy(body + PREPARE_TOKEN_AT, p->token.bytes, FLASH_TOKEN_BYTES);
	BOLE_TRY(put(c, FLASH_RECORD_PREPARE, none, bole_bytes_of(body, sizeof body)));
	if (p->run != NULL)
		BOLE_TRY(
		        put(c, FLASH_RECORD_ROWS, none,
		            bole_bytes_of(p->run->rows,
		                          p->run->count * bole_flash_rows_width(p->run->key_len))));
	for (uint32_t i = 0; i < p->extents; i++)
		BOLE_TRY(put_extent(c, p->extent[i]));
	for (const struct flash_item *item = bole_flash_table_next(p->aux, after, true);
	     item != NULL; item = bole_flash_table_next(p->aux, after, false)) {
		after = bole_flash_item_key(item);
		BOLE_TRY(put(c, FLASH_RECORD_AUX_PLACE, after, bole_flash_item_value(item)));
	}
	after = none;
	for (const struct flash_item *item = bole_flash_table_next(p->drops, after, true);
	     item != NULL; item = bole_flash_table_next(p->drops, after, false)) {
		after = bole_flash_item_key(item);
		BOLE_TRY(put(c, FLASH_RECORD_DROP, after,
		             bole_bytes_of(bole_flash_item_value(item).ptr, 1)));
	}
	return BOLE_OK;
}

bool bole_flash_rebuild_resolves(struct flash_volume *v, const struct flash_record *r)
{
	const struct flash_repo *repo = bole_flash_repo_find_any(v, r->owner);
	struct bole_tx_token token;

	if (v->packs == NULL || r->body.len != PREPARE_BYTES)
		return true;
	memcpy(token.bytes, r->body.ptr + PREPARE_TOKEN_AT, FLASH_TOKEN_BYTES);
	if (find(v, &token) != NULL)
		return true;
	if (r->body.ptr[RESOLVE_COMMIT_AT] != 0)
		bole_flash_lost(v,
		                "%s: aux records that a prepared transaction set when it was "
		                "committed are as they were before: what it prepared is gone",
		                repo == NULL ? "?" : repo->name);
	return false;
}

/* A pack that is not where it was: it was resolved, and is found by its pieces. */
static enum bole_status keep_whole(struct flash_volume *v, struct flash_prepared *p)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < p->extents; i++) {
		enum bole_status rc = bole_flash_extent_verify(v, p->extent[i]);
		if (rc == BOLE_E_NO_MEMORY)
			return rc;
		struct flash_extent *e = p->extent[i];
		p->extent[i] = p->extent[n];
		p->extent[n] = e;
		n += rc != BOLE_E_CORRUPT;
	}
	if (n == p->extents)
		return BOLE_OK;
	struct flash_extent **list = n == 0 ? NULL : bole_alloc_array(v->alloc, n, sizeof *list);
	if (n != 0 && list == NULL)
		return BOLE_E_NO_MEMORY;
	if (n != 0)
		memcpy(list, p->extent, n * sizeof *list);
	for (uint32_t i = n; i < p->extents; i++)
		bole_flash_extent_release(p->extent[i]);
	bole_alloc_free(v->alloc, p->extent, p->extents, sizeof *p->extent);
	p->extent = list;
	p->extents = n;
	return BOLE_OK;
}

static enum bole_status copy(struct rebuild *rb, const struct flash_prepared *p)
{
	struct copying c = {.rb = rb, .domain = p->repo->domain->id, .repo = p->repo->id};

	bole_flash_apply_init(&c.apply, rb->v);
	c.apply.checkpoint = true;
	enum bole_status rc = put_all(&c, p);
	bole_flash_apply_release(&c.apply);
	struct flash_prepared *mine = find(rb->v, &p->token);
	if (mine != NULL)
		mine->doubtful = true;
	if (rc == BOLE_E_CORRUPT && mine != NULL)
		forget(rb->v, mine);
	else if (rc == BOLE_OK)
		rc = keep_whole(rb->v, mine);
	return rc == BOLE_E_CORRUPT ? BOLE_OK : rc;
}

void bole_flash_rebuild_doubt_prepared(struct flash_volume *v)
{
	for (struct flash_prepared *p = v->prepared; p != NULL; p = p->next)
		p->doubtful = true;
}

enum bole_status bole_flash_rebuild_judge_prepared(struct rebuild *rb)
{
	struct flash_volume *v = rb->v;
	struct flash_prepared *next;
	uint64_t batch;

	for (struct flash_prepared *p = v->prepared; p != NULL; p = next) {
		next = p->next;
		if (!p->doubtful)
			continue;
		if (stamped(rb, FLASH_STAMP_COMMITTED, p, &batch) ||
		    stamped(rb, FLASH_STAMP_ABORTED, p, &batch))
			forget(v, p);
		else
			BOLE_TRY(keep_whole(v, p));
	}
	for (const struct flash_prepared *p = rb->then->prepared; p != NULL; p = p->next) {
		struct flash_prepared *mine = find(v, &p->token);
		if (mine != NULL && stamped(rb, FLASH_STAMP_PREPARED, p, &batch) &&
		    batch > rb->archive.last_missing)
			mine->doubtful = false;
	}
	return BOLE_OK;
}

enum bole_status bole_flash_rebuild_prepared(struct rebuild *rb, const struct rebuild_hole *hole)
{
	struct flash_volume *v = rb->v;

	if (hole->from.rank > RANK_PREPARED || hole->to.rank < RANK_PREPARED)
		return BOLE_OK;
	bole_flash_rebuild_doubt_prepared(v);
	for (const struct flash_prepared *p = rb->then->prepared; p != NULL; p = p->next)
		if (find(v, &p->token) == NULL && bole_flash_repo_find_any(v, p->repo->id) != NULL)
			BOLE_TRY(copy(rb, p));
	BOLE_TRY(bole_flash_rebuild_judge_prepared(rb));
	if (rb->archive.last_missing == 0)
		return BOLE_OK;
	if (!rb->said_prepared)
		bole_flash_lost(v, "which transactions were prepared lay in a damaged part of the "
		                   "checkpoint: those that the log does not show are gone");
	rb->said_prepared = true;
	/* The log behind the checkpoint may commit one of which nothing else tells. */
	for (uint32_t i = 0; i < v->repos; i++)
		BOLE_TRY(bole_flash_rebuild_anew(rb, v->repo[i]->domain->id));
	return BOLE_OK;
}

/* -- What they were to set -- */

enum { LISTED_HEAD = FLASH_TOKEN_BYTES + 4, LISTED_KEY = LISTED_HEAD + AUX_KEY_HEAD + AUX_KEY_MAX };

enum bole_status bole_flash_rebuild_listed(struct rebuild *rb, const struct flash_prepared *p,
                                           const struct flash_record *r)
{
	uint8_t key[LISTED_KEY];

	if (p == NULL || r->key.len > sizeof key - LISTED_HEAD)
		return BOLE_OK;
	memcpy(key, p->token.bytes, FLASH_TOKEN_BYTES);
	bole_put_be32(key + FLASH_TOKEN_BYTES, r->owner);
	memcpy(key + LISTED_HEAD, r->key.ptr, r->key.len);
	return bole_flash_table_set(&rb->v->plain, &rb->listed,
	                            bole_bytes_of(key, LISTED_HEAD + r->key.len), r->body);
}

bool bole_flash_rebuild_is_listed(const struct rebuild *rb, uint32_t repo, struct bole_bytes key,
                                  uint32_t total)
{
	struct bole_bytes after = {NULL, 0};

	for (const struct flash_item *item = bole_flash_table_next(rb->listed, after, true);
	     item != NULL; item = bole_flash_table_next(rb->listed, after, false)) {
		after = bole_flash_item_key(item);
		struct bole_bytes k = {after.ptr + LISTED_HEAD, after.len - LISTED_HEAD};
		if (bole_get_be32(after.ptr + FLASH_TOKEN_BYTES) == repo &&
		    bole_bytes_equal(k, key) &&
		    bole_get_le32(bole_flash_item_value(item).ptr + AUX_VALUE_TOTAL_AT) == total)
			return true;
	}
	return false;
}

/* The log committed it, and says nothing newer of the key. */
static bool was_set(const struct rebuild *rb, struct bole_bytes token, uint32_t repo,
                    struct bole_bytes key, uint64_t *batch)
{
	uint64_t later;

	return bole_flash_archive_stamp(&rb->archive, FLASH_STAMP_COMMITTED, 0, token, batch) &&
	       !(bole_flash_archive_stamp(&rb->archive, FLASH_STAMP_AUX, repo, key, &later) &&
	         later >= *batch);
}

enum bole_status bole_flash_rebuild_each_set(struct rebuild *rb, uint32_t repo,
                                             enum bole_status (*show)(void *, struct bole_bytes key,
                                                                      struct bole_bytes value,
                                                                      uint64_t batch),
                                             void *ctx)
{
	struct bole_bytes after = {NULL, 0};
	uint64_t batch;

	for (const struct flash_item *item = bole_flash_table_next(rb->listed, after, true);
	     item != NULL; item = bole_flash_table_next(rb->listed, after, false)) {
		after = bole_flash_item_key(item);
		struct bole_bytes key = {after.ptr + LISTED_HEAD, after.len - LISTED_HEAD};
		if (bole_get_be32(after.ptr + FLASH_TOKEN_BYTES) == repo &&
		    was_set(rb, bole_bytes_of(after.ptr, FLASH_TOKEN_BYTES), repo, key, &batch))
			BOLE_TRY(show(ctx, key, bole_flash_item_value(item), batch));
	}
	return BOLE_OK;
}

/* -- The log behind the checkpoint is replayed -- */

static bool record_there(struct flash_volume *v, const struct flash_domain *d, const uint8_t *key,
                         const struct flash_home *home)
{
	struct flash_record r;

	return home->segment < v->segments &&
	       bole_flash_fetch_record(v, &v->reader, home->segment, home->offset,
	                               (size_t)bole_flash_record_live(d->key_len, home->stored),
	                               &r) == BOLE_OK &&
	       r.kind == FLASH_RECORD_OBJECT && r.owner == d->id && r.key.len == d->key_len &&
	       memcmp(r.key.ptr, key, d->key_len) == 0;
}

static enum bole_status keep_rows(struct flash_volume *v, const struct flash_prepared *p,
                                  struct flash_index *index)
{
	for (uint32_t i = 0; p->run != NULL && i < p->run->count; i++) {
		const uint8_t *key = bole_flash_rows_key(p->run, i);
		struct flash_home home = bole_flash_rows_home(p->run, i);
		struct flash_found found;
		enum bole_status rc = bole_flash_index_find(v, index, key, &v->reader, &found);
		if (rc == BOLE_E_NO_MEMORY)
			return rc;
		if (rc == BOLE_OK || !record_there(v, index->domain, key, &home))
			continue;
		BOLE_TRY(bole_flash_index_put(v, index, key,
		                              bole_flash_place(home.segment, home.offset),
		                              home.stored, home.type));
	}
	return BOLE_OK;
}

static enum bole_status keep_extents(struct flash_volume *v, const struct flash_prepared *p,
                                     struct flash_index *index)
{
	for (uint32_t i = 0; i < p->extents; i++) {
		struct flash_extent *e = p->extent[i];
		if (bole_flash_index_extent(index, e->id) != NULL)
			continue;
		e->slot = bole_flash_slot_take(index->domain);
		if (e->slot == INDEX_SLOTS)
			return BOLE_E_LIMIT;
		BOLE_TRY(bole_flash_index_add(v, index, &p->extent[i], 1));
	}
	return BOLE_OK;
}

enum bole_status bole_flash_rebuild_prepared_end(struct flash_volume *v)
{
	struct flash_apply a = {.v = v};
	struct flash_prepared *next;

	for (struct flash_prepared *p = v->prepared; p != NULL; p = next) {
		struct flash_index *index;
		next = p->next;
		if (!p->doubtful)
			continue;
		bole_flash_lost(
		        v,
		        "%s: a prepared transaction is gone: nobody can tell whether it was "
		        "committed; its objects are kept, what it was to set is not set",
		        p->repo->name);
		BOLE_TRY(bole_flash_apply_index(&a, p->repo->domain->id, &index));
		BOLE_TRY(keep_rows(v, p, index));
		BOLE_TRY(keep_extents(v, p, index));
		forget(v, p);
	}
	return BOLE_OK;
}
