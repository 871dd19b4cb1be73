/* SPDX-License-Identifier: ISC */
/* Indexes that are made anew: every record and extent that is on the device says by itself whose it
 * is. The log tells what was dropped, in order; the cleaner's copies have no order, but a drop
 * names the place. What a collection removed is in no log: it comes back, where its bytes are
 * there. */
#include "flash/rebuild/rebuild.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/index/auxtable.h"
#include "flash/index/extent.h"
#include "flash/space/clean.h"

enum { DROPPED_HEAD = 9 };

static bool made_anew(const struct rebuild *rb, uint32_t domain)
{
	for (uint32_t i = 0; i < rb->domains; i++)
		if (rb->domain[i] == domain)
			return true;
	return false;
}

/* A prepared transaction has that very record. */
static bool is_prepared(const struct flash_volume *v, uint32_t domain, const uint8_t *key,
                        uint64_t place)
{
	uint32_t at;

	for (const struct flash_prepared *p = v->prepared; p != NULL; p = p->next) {
		if (p->repo->domain->id != domain || p->run == NULL ||
		    !bole_flash_rows_find(p->run, key, &at))
			continue;
		struct flash_home home = bole_flash_rows_home(p->run, at);
		if (bole_flash_place(home.segment, home.offset) == place)
			return true;
	}
	return false;
}

static enum bole_status add_row(struct rebuild *rb, struct flash_index *index, const uint8_t *key,
                                uint64_t place, uint32_t stored, uint8_t type)
{
	struct flash_volume *v = rb->v;
	uint32_t key_len = index->domain->key_len;
	uint64_t hash = bole_flash_key_hash(v, key, key_len);
	struct flash_fresh_row fresh;
	struct flash_mem_row row;
	uint32_t at;

	if (is_prepared(v, index->domain->id, key, place) ||
	    bole_flash_memory_row(v, &index->now, (struct bole_bytes){key, key_len}, &fresh) ||
	    (bole_flash_mem_get(index->now.mem, (struct bole_bytes){key, key_len}, &row) &&
	     row.has))
		return BOLE_OK;
	BOLE_TRY(bole_flash_index_put_fresh(v, index, key, hash, stored, type, &at));
	bole_flash_index_place(index, key, at, place);
	rb->records++;
	return BOLE_OK;
}

/* -- From the archive -- */

struct copying {
	struct rebuild *rb;
	struct flash_index *index;
};

static enum bole_status copy_row(void *ctx, const struct flash_walk_row *row)
{
	struct copying *c = ctx;

	if (bole_flash_rebuild_dead(c->rb, bole_flash_place_segment(row->place)) || row->type == 0)
		return BOLE_OK;
	return add_row(c->rb, c->index, row->key, row->place, row->stored, row->type);
}

static bool slot_taken(const struct flash_index *index, uint32_t slot)
{
	for (uint32_t i = 0; i < bole_flash_index_extents(index); i++)
		if (index->extents->extent[i]->slot == slot)
			return true;
	return false;
}

/* A pack as the log published it, if all of it is still there. */
static enum bole_status copy_extent(struct copying *c, const struct flash_extent *e)
{
	struct flash_volume *v = c->rb->v;
	struct flash_extent *mine;

	if (bole_flash_index_extent(c->index, e->id) != NULL)
		return BOLE_OK;
	size_t len = bole_flash_extent_body(e, NULL);
	uint8_t *body = bole_alloc_array(v->alloc, len, 1);
	if (body == NULL)
		return BOLE_E_NO_MEMORY;
	(void)bole_flash_extent_body(e, body);
	enum bole_status rc =
	        bole_flash_extent_load(v, e->domain, e->key_len, bole_bytes_of(body, len), &mine);
	bole_alloc_free(v->alloc, body, len, 1);
	if (rc != BOLE_OK)
		return rc == BOLE_E_CORRUPT ? BOLE_OK : rc;
	rc = bole_flash_extent_verify(v, mine);
	if (rc == BOLE_OK && slot_taken(c->index, mine->slot))
		mine->slot = bole_flash_slot_take(c->index->domain);
	if (rc == BOLE_OK)
		rc = bole_flash_index_add(v, c->index, &mine, 1);
	c->rb->copied += rc == BOLE_OK;
	bole_flash_extent_release(mine);
	return rc == BOLE_E_CORRUPT || rc == BOLE_E_IO ? BOLE_OK : rc;
}

/* -- Rows of extents that are dead -- */

static enum bole_status kill_extent_row(struct flash_volume *v, struct flash_index *index,
                                        const struct flash_extent *e, uint32_t number, uint8_t type,
                                        const uint8_t *key)
{
	struct flash_found found = {
	        .place = bole_flash_place(e->slot, number), .type = type, .where = FOUND_EXTENT};

	return bole_flash_index_kill(v, index, key, &found);
}

/* What the archive knows to be dropped: places of rows are for good. */
static enum bole_status copy_kills(struct copying *c, const struct flash_index *then)
{
	uint8_t key[BOLE_OID_BYTES_MAX];
	struct bole_bytes after = {NULL, 0};
	struct flash_mem_row row;

	for (const struct flash_item *item = bole_flash_table_next(then->now.mem, after, true);
	     item != NULL; item = bole_flash_table_next(then->now.mem, after, false)) {
		after = bole_flash_item_key(item);
		if (!bole_flash_mem_parse(bole_flash_item_value(item), &row))
			continue;
		for (uint32_t i = 0; i < row.kills; i++) {
			const uint8_t *kill = row.kill + (size_t)i * MEM_KILL_BYTES;
			uint64_t place = bole_flash_kill_place(kill);
			uint8_t type = bole_flash_kill_type(kill);
			for (uint32_t n = 0; n < bole_flash_index_extents(c->index); n++) {
				const struct flash_extent *e = c->index->extents->extent[n];
				uint32_t number = bole_flash_place_offset(place);
				if ((type & INDEX_EXTENT_ROW) != 0 &&
				    e->slot == bole_flash_place_segment(place) &&
				    number < e->rows &&
				    bole_flash_extent_key(e, number, key) == BOLE_OK &&
				    memcmp(key, after.ptr, after.len) == 0)
					BOLE_TRY(kill_extent_row(c->rb->v, c->index, e, number,
					                         type & INDEX_TYPE_MASK, key));
			}
		}
	}
	return BOLE_OK;
}

struct holes {
	struct flash_volume *v;
	struct flash_index *index;
	uint64_t killed;
	const struct flash_extent *extent;
	const struct flash_fragment *list;
	uint32_t count; /* of data */
};

static enum bole_status kill_in_hole(void *ctx, const struct flash_extent_row *row)
{
	struct holes *h = ctx;
	uint8_t key[BOLE_OID_BYTES_MAX];
	uint64_t end = row->offset + row->stored;

	for (uint32_t i = bole_flash_extent_fragment(h->extent, h->list, row->offset);
	     i < h->count && h->list[i].logical < end; i++) {
		if (h->list[i].segment != SEGMENT_NONE)
			continue;
		BOLE_TRY(bole_flash_extent_key(h->extent, row->number, key));
		h->killed++;
		return kill_extent_row(h->v, h->index, h->extent, row->number, row->type, key);
	}
	return BOLE_OK;
}

/* No living row needs what is in a hole. */
enum bole_status bole_flash_rebuild_holes(struct flash_volume *v, struct flash_index *index,
                                          const struct flash_extent *e, uint64_t *count)
{
	struct holes h = {.v = v, .index = index, .extent = e};
	bool any = false;

	*count = 0;
	if (bole_flash_extent_map(e, &h.list) != BOLE_OK)
		return BOLE_OK;
	h.count = bole_flash_extent_data(e);
	for (uint32_t i = 0; i < h.count; i++)
		any |= h.list[i].segment == SEGMENT_NONE;
	if (!any)
		return BOLE_OK;
	enum bole_status rc = bole_flash_extent_in_order(v, e, kill_in_hole, &h);
	*count = h.killed;
	return rc == BOLE_E_CORRUPT || rc == BOLE_E_IO ? BOLE_OK : rc;
}

static const struct flash_index *index_then(const struct rebuild *rb, uint32_t domain)
{
	const struct flash_domain *d = bole_flash_domain_find(rb->then, domain);

	return d == NULL ? NULL : d->index;
}

static enum bole_status begin_domain(struct rebuild *rb, uint32_t domain)
{
	struct flash_volume *v = rb->v;
	struct flash_apply a = {.v = v};
	struct copying c = {.rb = rb};
	uint64_t holes;

	enum bole_status rc = bole_flash_apply_index(&a, domain, &c.index);
	if (rc != BOLE_OK)
		return rc == BOLE_E_CORRUPT ? BOLE_OK : rc;
	/* What is left of it may hide what was moved since, and show what is gone. */
	bole_flash_memory_release(v, &c.index->now);
	if (c.index->runs != NULL)
		BOLE_TRY(bole_flash_index_runs(v, c.index, 0, c.index->runs->count, NULL));
	c.index->objects = 0;
	for (uint32_t i = 0; i < bole_flash_index_extents(c.index); i++)
		c.index->objects += c.index->extents->extent[i]->rows;
	for (uint32_t i = 0; i < bole_flash_index_extents(c.index); i++)
		BOLE_TRY(bole_flash_rebuild_holes(v, c.index, c.index->extents->extent[i], &holes));
	const struct flash_index *then = index_then(rb, domain);
	if (then == NULL)
		return BOLE_OK;
	for (uint32_t i = 0; i < bole_flash_index_extents(then); i++)
		BOLE_TRY(copy_extent(&c, then->extents->extent[i]));
	BOLE_TRY(copy_kills(&c, then));
	return bole_flash_index_walk(rb->then, then, copy_row, &c);
}

/* -- From the segments -- */

/* A drop in the log named this very place, when what is there now was there. */
static bool was_dropped(const struct rebuild *rb, const struct flash_record *r, uint64_t place,
                        uint64_t sequence)
{
	uint8_t key[DROPPED_HEAD + BOLE_OID_BYTES_MAX];

	bole_put_be32(key, r->owner);
	bole_flash_put_be40(key + 4, place);
	memcpy(key + DROPPED_HEAD, r->key.ptr, r->key.len);
	const struct flash_item *item = bole_flash_table_find(
	        rb->archive.dropped, bole_bytes_of(key, DROPPED_HEAD + r->key.len));
	return item != NULL &&
	       bole_get_le64(bole_flash_item_value(item).ptr) >> 32 >= sequence >> 32;
}

/* The log itself says what became of it. */
static bool known_then(const struct rebuild *rb, const struct flash_record *r)
{
	const struct flash_index *then = index_then(rb, r->owner);
	struct flash_fresh_row fresh;

	return then != NULL && r->key.len == then->domain->key_len &&
	       (bole_flash_table_find(then->now.mem, r->key) != NULL ||
	        bole_flash_memory_row(rb->then, &then->now, r->key, &fresh));
}

static enum bole_status found_object(struct rebuild *rb, const struct flash_record *r,
                                     const struct flash_walk *w, uint32_t offset)
{
	struct flash_domain *domain = bole_flash_domain_find(rb->v, r->owner);
	uint64_t place = bole_flash_place(w->segment, offset);

	if (domain != NULL && made_anew(rb, r->owner))
		BOLE_TRY(bole_flash_rebuild_fit(rb->v, NULL, r));
	if (domain == NULL || domain->index == NULL || !made_anew(rb, r->owner) ||
	    r->key.len != domain->key_len || r->body.len == 0 || r->body.len > rb->v->record_max)
		return BOLE_OK;
	/* What was prepared may have lost against a row that a collection has taken since. */
	bool shown = w->kind == FLASH_SEGMENT_LOG && (r->flags & FLASH_FLAG_PREPARED) == 0;
	if (shown ? known_then(rb, r) : was_dropped(rb, r, place, w->sequence))
		return BOLE_OK;
	return add_row(rb, domain->index, r->key.ptr, place, (uint32_t)r->body.len, r->type);
}

enum bole_status bole_flash_rebuild_piece_of(struct rebuild_packs *p, const struct flash_record *r,
                                             const struct flash_walk *w, uint32_t offset)
{
	struct flash_fragment f = {
	        .logical = bole_get_le64(r->body.ptr + FRAGMENT_LOGICAL_AT),
	        .sequence = w->sequence,
	        .checksum = r->checksum,
	        .segment = w->segment,
	        .offset = offset,
	        .length = (uint32_t)(r->body.len - FRAGMENT_HEAD_BYTES),
	        .stream = r->kind,
	};

	return bole_flash_packs_piece(p, bole_get_le64(r->body.ptr + FRAGMENT_EXTENT_AT), &f);
}

enum bole_status bole_flash_rebuild_piece(struct rebuild *rb, const struct flash_record *r,
                                          const struct flash_walk *w, uint32_t offset)
{
	if (r->body.len <= FRAGMENT_HEAD_BYTES)
		return BOLE_OK;
	uint64_t extent = bole_get_le64(r->body.ptr + FRAGMENT_EXTENT_AT);
	if (extent > rb->extent_max && extent >> 60 == 0)
		rb->extent_max = extent;
	if (r->kind != FLASH_FRAGMENT_DATA)
		return BOLE_OK;
	struct flash_domain *d = bole_flash_domain_find(rb->v, r->owner);
	if (d != NULL && made_anew(rb, r->owner) &&
	    bole_flash_index_extent(d->index, extent) == NULL &&
	    !bole_flash_rebuild_is_prepared(rb->v, extent))
		BOLE_TRY(bole_flash_packs_want(rb->packs, r->owner, extent, NULL));
	return bole_flash_rebuild_piece_of(rb->packs, r, w, offset);
}

static enum bole_status found(struct rebuild *rb, const struct flash_record *r,
                              const struct flash_walk *w, uint32_t offset)
{
	if (r->kind == FLASH_RECORD_OBJECT)
		return found_object(rb, r, w, offset);
	if (r->kind == FLASH_RECORD_AUX)
		return bole_flash_rebuild_aux_found(rb, r, w, offset);
	return r->kind >= FLASH_FRAGMENT_DATA ? bole_flash_rebuild_piece(rb, r, w, offset)
	                                      : BOLE_OK;
}

bool bole_flash_rebuild_in_tail(const struct rebuild *rb, const struct flash_walk *w,
                                uint32_t offset)
{
	const struct flash_anchor *a = &rb->v->repair->newest;

	if (w->kind != FLASH_SEGMENT_LOG || !rb->segment[w->segment].head)
		return false;
	if (w->segment == a->log_segment && w->sequence == a->log_sequence && a->log_offset != 0)
		return offset >= a->log_offset;
	return w->batch >= a->batch;
}

static enum bole_status walk(struct rebuild *rb, uint32_t segment, bool all,
                             enum bole_status (*show)(struct rebuild *, const struct flash_record *,
                                                      const struct flash_walk *, uint32_t))
{
	struct flash_volume *v = rb->v;
	struct flash_record r;
	struct flash_walk w;
	const uint8_t *bytes;
	uint32_t offset;

	enum bole_status rc = bole_flash_walk_begin(&w, v, segment);
	w.all = all;
	while (rc == BOLE_OK) {
		rc = bole_flash_walk_next(&w, &r, &bytes, &offset);
		if (rc == BOLE_OK && (all || !bole_flash_rebuild_in_tail(rb, &w, offset)))
			rc = show(rb, &r, &w, offset);
	}
	bole_flash_walk_rest(&w);
	/* What cannot be read is damaged, and shows nothing. */
	return rc == BOLE_END || rc == BOLE_E_NOT_FOUND || rc == BOLE_E_IO || rc == BOLE_E_CORRUPT
	               ? BOLE_OK
	               : rc;
}

static bool may_live(const struct rebuild *rb, uint32_t segment)
{
	const struct flash_segment *s = &rb->v->segment[segment];

	return s->state != SEGMENT_BAD && s->sequence != 0 && !bole_flash_rebuild_dead(rb, segment);
}

enum bole_status
bole_flash_rebuild_walk(struct rebuild *rb, bool all,
                        enum bole_status (*show)(struct rebuild *, const struct flash_record *,
                                                 const struct flash_walk *, uint32_t))
{
	for (uint32_t i = 0; i < rb->v->segments; i++) {
		uint32_t kind = rb->segment[i].kind;
		if (!may_live(rb, i) || (rb->segment[i].head && kind != FLASH_SEGMENT_LOG &&
		                         kind != FLASH_SEGMENT_DATA))
			continue;
		BOLE_TRY(walk(rb, i, all, show));
		bole_flash_yield(rb->v);
	}
	return BOLE_OK;
}

/* -- Owners -- */

/* The log of old knows its own; the one behind the checkpoint makes its own, when it is replayed.
 */
static bool shows_owner(const struct rebuild *rb, const struct flash_record *r, bool tail)
{
	uint8_t key[4];

	if (!tail)
		return r->kind == FLASH_RECORD_OBJECT || r->kind == FLASH_RECORD_AUX ||
		       r->kind >= FLASH_FRAGMENT_DATA;
	bole_put_be32(key, r->owner);
	return r->kind != FLASH_RECORD_REPO && r->kind != FLASH_RECORD_REMOVE &&
	       bole_flash_table_find(rb->made, bole_bytes_of(key, sizeof key)) == NULL;
}

/* Somebody whom neither the checkpoint nor the log of old knows any more. */
static enum bole_status see_owner(struct rebuild *rb, const struct flash_record *r,
                                  const struct flash_walk *w, uint32_t offset)
{
	const struct bole_bytes none = {NULL, 0};
	struct flash_record fit = *r;
	bool hidden = false;
	uint64_t batch;

	if (r->owner == 0 || (r->kind >= FLASH_FRAGMENT_DATA && r->kind > FLASH_FRAGMENT_MAP) ||
	    !shows_owner(rb, r, bole_flash_rebuild_in_tail(rb, w, offset)) ||
	    bole_flash_repo_find_any(rb->v, r->owner) != NULL ||
	    bole_flash_domain_find(rb->v, r->owner) != NULL ||
	    (bole_flash_archive_stamp(&rb->archive, FLASH_STAMP_REPO, r->owner, none, &batch) &&
	     bole_flash_repo_find_any(rb->then, r->owner) == NULL))
		return BOLE_OK; /* known, or removed */
	for (uint32_t i = 0; i < rb->hole_count; i++)
		hidden |= bole_flash_rebuild_in_hole(&rb->hole[i], r->owner, PART_REPO, none);
	if (!hidden)
		return BOLE_OK;
	if (r->kind != FLASH_RECORD_OBJECT) {
		fit.kind = FLASH_RECORD_REFS;
		fit.body.len = 0;
	}
	enum bole_status rc = bole_flash_rebuild_fit(rb->v, rb->then, &fit);
	return rc == BOLE_E_EXISTS || rc == BOLE_E_CORRUPT ? BOLE_OK : rc;
}

enum bole_status bole_flash_rebuild_owners(struct rebuild *rb)
{
	return rb->hole_count == 0 ? BOLE_OK : bole_flash_rebuild_walk(rb, true, see_owner);
}

/* -- Packs -- */

enum bole_status bole_flash_rebuild_want(struct rebuild *rb)
{
	struct flash_volume *v = rb->v;

	for (uint32_t i = 0; i < v->repos; i++) {
		const struct flash_domain *d = v->repo[i]->domain;
		for (uint32_t n = 0; n < bole_flash_index_extents(d->index); n++) {
			struct flash_extent *e = d->index->extents->extent[n];
			enum bole_status rc = bole_flash_extent_verify(v, e);
			if (rc == BOLE_E_CORRUPT)
				rc = bole_flash_packs_want(rb->packs, d->id, e->id, e);
			if (rc != BOLE_OK && rc != BOLE_E_IO)
				return rc;
		}
	}
	return BOLE_OK;
}

bool bole_flash_rebuild_has_pages(void *ctx, uint32_t segment)
{
	const struct rebuild *rb = ctx;

	return may_live(rb, segment) &&
	       (!rb->segment[segment].head || rb->segment[segment].kind == FLASH_SEGMENT_INDEX);
}

static const char *name_of(const struct flash_volume *v, uint32_t domain)
{
	for (uint32_t i = 0; i < v->repos; i++)
		if (v->repo[i]->domain->id == domain)
			return v->repo[i]->name;
	return "?";
}

/* Nothing of it is there. */
static enum bole_status leave_out(struct flash_volume *v, const struct rebuild_pack *p)
{
	const struct flash_domain *d = bole_flash_domain_find(v, p->domain);

	bole_flash_lost(v,
	                "%s: pack %llu of %u entries is not there any more: it was collected, or "
	                "is lost",
	                name_of(v, p->domain), (unsigned long long)p->id, p->old->rows);
	return d == NULL || d->index == NULL ? BOLE_OK
	                                     : bole_flash_index_remove(v, d->index, p->id);
}

enum bole_status bole_flash_rebuild_packs(struct rebuild *rb)
{
	struct flash_volume *v = rb->v;

	BOLE_TRY(bole_flash_packs_search(rb->packs, bole_flash_rebuild_has_pages, rb));
	bole_flash_packs_spare(rb->packs);
	for (uint32_t i = 0; i < rb->packs->count; i++) {
		const struct rebuild_pack *p = &rb->packs->pack[i];
		if (bole_flash_pack_found(p))
			bole_flash_lost(v,
			                "%s: pack %llu is put together from %u pieces, %u entries; "
			                "what collections removed may be among them",
			                name_of(v, p->domain), (unsigned long long)p->id, p->pieces,
			                p->whole_table ? p->old->rows : p->rows);
		else if (p->old != NULL)
			BOLE_TRY(leave_out(v, p));
	}
	return BOLE_OK;
}

enum bole_status bole_flash_rebuild_records(struct rebuild *rb)
{
	for (uint32_t i = 0; i < rb->domains; i++)
		BOLE_TRY(begin_domain(rb, rb->domain[i]));
	BOLE_TRY(bole_flash_rebuild_want(rb));
	BOLE_TRY(bole_flash_rebuild_walk(rb, false, found));
	BOLE_TRY(bole_flash_rebuild_aux(rb));
	return bole_flash_rebuild_packs(rb);
}
