/* SPDX-License-Identifier: ISC */
/* Records become the catalog, while mounting. Nobody else sees the volume yet. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/index/auxtable.h"
#include "flash/log/drop.h"
#include "flash/rebuild/rebuild.h"

void bole_flash_apply_init(struct flash_apply *a, struct flash_volume *v)
{
	*a = (struct flash_apply){.v = v};
}

void bole_flash_apply_release(struct flash_apply *a)
{
	bole_flash_reader_close(a->v, &a->reader);
}

/* What lives is counted as the leader counted it. A checkpoint says it in numbers. */
void bole_flash_apply_lives(struct flash_apply *a, uint32_t segment, uint64_t bytes)
{
	if (a->checkpoint)
		return;
	bole_flash_lock(a->v);
	bole_flash_live_add(a->v, segment, bytes);
	bole_flash_unlock(a->v);
}

static void dies(struct flash_apply *a, uint32_t segment, uint64_t bytes)
{
	if (a->checkpoint)
		return;
	bole_flash_lock(a->v);
	bole_flash_live_sub(a->v, segment, bytes);
	bole_flash_unlock(a->v);
}

struct flash_domain *bole_flash_domain_find(struct flash_volume *v, uint32_t id)
{
	/* One repository a domain so far, and their numbers grow together. */
	uint32_t low = 0;
	uint32_t high = v->repos;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (v->repo[mid]->domain->id == id)
			return v->repo[mid]->domain;
		if (v->repo[mid]->domain->id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

enum bole_status bole_flash_apply_index(struct flash_apply *a, uint32_t id,
                                        struct flash_index **out)
{
	struct flash_domain *domain = bole_flash_domain_find(a->v, id);

	if (domain == NULL)
		return BOLE_E_CORRUPT;
	/* Nobody else sees it yet, so it is changed in place. */
	if (domain->index == NULL)
		BOLE_TRY(bole_flash_index_fork(a->v, domain, NULL, &domain->index));
	*out = domain->index;
	return BOLE_OK;
}

/* Rows of the prepared transaction become its run at once: there are few such records. */
static enum bole_status prepared_rows(struct flash_volume *v, struct flash_prepared *p,
                                      const uint8_t *rows, uint32_t count)
{
	uint32_t old = p->run == NULL ? 0 : p->run->count;
	uint32_t key_len = p->repo->domain->key_len;
	struct flash_rows *run = bole_flash_rows_open(v->alloc, key_len, old + count);

	if (run == NULL)
		return BOLE_E_NO_MEMORY;
	if (old != 0)
		memcpy(run->rows, p->run->rows, old * bole_flash_rows_width(key_len));
	memcpy(run->rows + old * bole_flash_rows_width(key_len), rows,
	       count * bole_flash_rows_width(key_len));
	bole_flash_rows_finish(run);
	bole_flash_rows_release(v->alloc, p->run);
	p->run = run;
	/* An id that is twice in it would be given back twice. */
	for (uint32_t i = 1; i < run->count; i++)
		if (memcmp(bole_flash_rows_key(run, i - 1), bole_flash_rows_key(run, i),
		           run->key_len) == 0)
			return BOLE_E_CORRUPT;
	return BOLE_OK;
}

static void prepared_replace(struct flash_apply *a, const uint8_t *key, const struct flash_home *to)
{
	struct flash_volume *v = a->v;
	uint32_t at;

	for (struct flash_prepared *p = v->prepared; p != NULL; p = p->next) {
		if (p->run == NULL || !bole_flash_rows_find(p->run, key, &at))
			continue;
		struct flash_home was = bole_flash_rows_home(p->run, at);
		dies(a, was.segment, bole_flash_record_live(p->run->key_len, was.stored));
		bole_flash_apply_lives(a, to->segment,
		                       bole_flash_record_live(p->run->key_len, to->stored));
		bole_flash_rows_set(p->run, at, key, to);
		return;
	}
}

enum bole_status bole_flash_apply_prepared(struct flash_apply *a, uint32_t domain,
                                           const uint8_t *rows, uint32_t count)
{
	if (a->prepared == NULL || a->prepared->repo->domain->id != domain)
		return BOLE_E_CORRUPT;
	return prepared_rows(a->v, a->prepared, rows, count);
}

static enum bole_status prepared_object(struct flash_apply *a, const struct flash_record *r,
                                        const struct flash_home *home)
{
	uint8_t row[BOLE_OID_BYTES_MAX + ROWS_HOME_BYTES];

	if (a->again) {
		prepared_replace(a, r->key.ptr, home);
		return BOLE_OK; /* else it was resolved meanwhile */
	}
	memcpy(row, r->key.ptr, r->key.len);
	uint8_t *p = row + r->key.len;
	bole_put_le32(p + ROWS_SEGMENT_AT, home->segment);
	bole_put_le32(p + ROWS_OFFSET_AT, home->offset);
	bole_put_le32(p + ROWS_STORED_AT, home->stored);
	p[ROWS_TYPE_AT] = home->type;
	bole_flash_apply_lives(a, home->segment, r->bytes);
	return bole_flash_apply_prepared(a, r->owner, row, 1);
}

struct flash_row_now bole_flash_row_now(const struct flash_memory *m, struct bole_bytes key,
                                        uint64_t hash)
{
	struct flash_row_now now = {.fresh = FRESH_NONE};
	struct flash_mem_row row;

	if (bole_flash_mem_get(m->mem, key, &row) && row.has) {
		now = (struct flash_row_now){true, row.type, row.place, row.stored, FRESH_NONE};
		return now;
	}
	uint32_t at = m->rows == 0 ? FRESH_NONE
	                           : bole_flash_fresh_find(m->fresh, 0, m->rows, key.ptr, hash);
	if (at == FRESH_NONE)
		return now;
	struct flash_fresh_row fresh = bole_flash_fresh_row(m->fresh, at);
	if (!bole_flash_mem_kills_row(m->mem, key, fresh.place))
		now = (struct flash_row_now){true, fresh.type, fresh.place, fresh.stored, at};
	return now;
}

/* The leader looked the id up before it wrote the record: none of this needs a lookup elsewhere. */
static enum bole_status apply_object(struct flash_apply *a, const struct flash_record *r,
                                     uint32_t segment, uint32_t offset)
{
	struct flash_home home = {segment, offset, (uint32_t)r->body.len, r->type};
	uint64_t place = bole_flash_place(segment, offset);
	struct flash_index *index;

	BOLE_TRY(bole_flash_apply_index(a, r->owner, &index));
	if (r->key.len != index->domain->key_len || r->body.len == 0 ||
	    r->body.len > a->v->record_max)
		return BOLE_E_CORRUPT;
	if ((r->flags & FLASH_FLAG_PREPARED) != 0)
		return prepared_object(a, r, &home);
	if (!a->again)
		BOLE_TRY(bole_flash_apply_supersede(a, index, r->key.ptr, false));
	uint64_t hash = bole_flash_key_hash(a->v, r->key.ptr, (uint32_t)r->key.len);
	struct flash_row_now row = bole_flash_row_now(&index->now, r->key, hash);
	/* Without a row it was dropped again within the batches in doubt. */
	if (a->again && !row.has)
		return BOLE_OK;
	bole_flash_apply_lives(a, segment, r->bytes);
	if (a->again) {
		dies(a, bole_flash_place_segment(row.place),
		     bole_flash_record_live(index->domain->key_len, row.stored));
		/* Nobody else sees it yet. */
		if (row.fresh != FRESH_NONE && row.stored == home.stored) {
			bole_flash_fresh_place(index->now.fresh, row.fresh, place);
			return BOLE_OK;
		}
		if (row.fresh != FRESH_NONE)
			return BOLE_E_CORRUPT;
		return bole_flash_mem_put(&a->v->plain, &index->now.mem, r->key, place, home.stored,
		                          r->type);
	}
	if (row.has)
		return BOLE_E_CORRUPT;
	uint32_t at;
	BOLE_TRY(bole_flash_index_put_fresh(a->v, index, r->key.ptr, hash, home.stored, r->type,
	                                    &at));
	bole_flash_index_place(index, r->key.ptr, at, place);
	return BOLE_OK;
}

/* One row that was dropped, wherever the record is in what was recovered. */
static enum bole_status drop_row(struct flash_apply *a, struct flash_index *index,
                                 const struct flash_drop *d)
{
	/* The move that put it there may be lost with the checkpoint that was to keep it. */
	uint64_t place = d->generation > a->v->anchor.checkpoint ? d->before : d->place;
	struct bole_bytes key = {d->key, index->domain->key_len};
	struct flash_found found = {.type = d->type, .place = place, .where = FOUND_RUN};
	struct flash_mem_row row;

	if (!d->extent && bole_flash_place_segment(place) >= a->v->segments)
		return BOLE_E_CORRUPT;
	if (d->length != 0 && !d->extent)
		dies(a, bole_flash_place_segment(place), d->length);
	if (d->extent)
		found.where = FOUND_EXTENT;
	else if (bole_flash_mem_get(index->now.mem, key, &row) && row.has && row.place == place)
		found.where = FOUND_MEM;
	BOLE_TRY(bole_flash_index_kill(a->v, index, d->key, &found));
	/* A drop names every row of the id. */
	return bole_flash_apply_supersede(a, index, d->key, true);
}

/* Rows of one id, as earlier builds wrote them. */
static enum bole_status drop_rows(struct flash_apply *a, struct flash_index *index,
                                  const struct flash_record *r)
{
	if (r->key.len != index->domain->key_len || r->body.len % DROP_BYTES != 0)
		return BOLE_E_CORRUPT;
	for (const uint8_t *p = r->body.ptr; p < r->body.ptr + r->body.len; p += DROP_BYTES) {
		struct flash_drop d = {
		        .key = r->key.ptr,
		        .place = bole_flash_get_be40(p + DROP_PLACE_AT),
		        .before = bole_flash_get_be40(p + DROP_BEFORE_AT),
		        .generation = bole_get_le32(p + DROP_GENERATION_AT),
		        .length = bole_get_le32(p + DROP_LENGTH_AT),
		        .type = p[DROP_TYPE_AT] & INDEX_TYPE_MASK,
		        .extent = (p[DROP_TYPE_AT] & INDEX_EXTENT_ROW) != 0,
		};
		BOLE_TRY(drop_row(a, index, &d));
	}
	return BOLE_OK;
}

static enum bole_status drop_list(struct flash_apply *a, struct flash_index *index,
                                  struct bole_bytes list)
{
	struct flash_drop d;

	while (list.len != 0) {
		if (!bole_flash_drop_next(&list, index->domain->key_len, &d))
			return BOLE_E_CORRUPT;
		BOLE_TRY(drop_row(a, index, &d));
	}
	return BOLE_OK;
}

static enum bole_status prepared_drop(struct flash_apply *a, const struct flash_index *index,
                                      const struct flash_record *r)
{
	if (a->prepared == NULL || a->prepared->repo->domain != index->domain ||
	    r->key.len != index->domain->key_len || r->body.len != 1)
		return BOLE_E_CORRUPT;
	uint8_t word = r->body.ptr[0] & TX_DROP_WORDS;
	return bole_flash_table_set(&a->v->plain, &a->prepared->drops, r->key,
	                            bole_bytes_of(&word, 1));
}

static enum bole_status apply_drop(struct flash_apply *a, const struct flash_record *r)
{
	struct flash_index *index;

	BOLE_TRY(bole_flash_apply_index(a, r->owner, &index));
	if ((r->flags & FLASH_FLAG_PREPARED) != 0)
		return prepared_drop(a, index, r);
	return r->key.len == 0 ? drop_list(a, index, r->body) : drop_rows(a, index, r);
}

/* -- Aux -- */

static enum bole_status aux_target(struct flash_apply *a, const struct flash_record *r,
                                   struct flash_table ***out)
{
	struct flash_repo *repo = bole_flash_repo_find(a->v, r->owner);

	if (repo == NULL)
		return BOLE_E_CORRUPT;
	if ((r->flags & FLASH_FLAG_PREPARED) == 0) {
		*out = &repo->auxtable;
		return BOLE_OK;
	}
	if (a->prepared == NULL || a->prepared->repo != repo)
		return BOLE_E_CORRUPT;
	*out = &a->prepared->aux;
	return BOLE_OK;
}

static void parts_die(struct flash_apply *a, const struct flash_item *item)
{
	if (!a->checkpoint)
		bole_flash_aux_superseded(a->v, item);
}

bool bole_flash_aux_decode(const struct flash_record *r, struct flash_aux_record *out)
{
	const uint8_t *p = r->body.ptr;

	if (r->body.len < AUX_HEAD_BYTES || p[AUX_KEY_BYTES_AT] > r->body.len - AUX_HEAD_BYTES)
		return false;
	out->part = bole_get_le16(p + AUX_PART_AT);
	out->parts = bole_get_le16(p + AUX_PARTS_AT);
	out->total = bole_get_le32(p + AUX_TOTAL_AT);
	out->key[0] = p[AUX_CLASS_AT];
	out->key[1] = p[AUX_KIND_AT + 1];
	out->key[2] = p[AUX_KIND_AT];
	out->key_len = AUX_KEY_HEAD + p[AUX_KEY_BYTES_AT];
	memcpy(out->key + AUX_KEY_HEAD, p + AUX_HEAD_BYTES, p[AUX_KEY_BYTES_AT]);
	return out->parts <= AUX_PARTS_MAX && (out->parts == 0 || out->part < out->parts) &&
	       out->total <= BOLE_AUX_BYTES_MAX;
}

/* The feature is there even if the anchor that is used is older than the record. */
static void note_binding(struct flash_apply *a, const uint8_t *key)
{
	a->v->ro_compat |= bole_flash_aux_features((uint16_t)(key[1] << 8));
}

bool bole_flash_aux_follows(const struct flash_apply *a, const struct flash_record *r,
                            const struct flash_aux_record *aux)
{
	const struct flash_aux_record *next = &a->value;

	return aux->part == 0 ||
	       (a->value_owner == r->owner && a->value_flags == r->flags &&
	        next->part == aux->part && next->parts == aux->parts && next->total == aux->total &&
	        next->key_len == aux->key_len && memcmp(next->key, aux->key, aux->key_len) == 0);
}

static void expect_next(struct flash_apply *a, const struct flash_record *r,
                        const struct flash_aux_record *aux)
{
	a->value = *aux;
	a->value.part++;
	a->value_owner = r->owner;
	a->value_flags = r->flags;
}

/* One part of a value: the first one makes the item, the others add their places. */
static enum bole_status apply_aux(struct flash_apply *a, const struct flash_record *r,
                                  uint32_t segment, uint32_t offset)
{
	uint8_t value[AUX_VALUE_HEAD + AUX_VALUE_PART * AUX_PARTS_MAX];
	struct flash_aux_record aux;
	struct flash_table **table;

	BOLE_TRY(aux_target(a, r, &table));
	if (!bole_flash_aux_decode(r, &aux))
		return BOLE_E_CORRUPT;
	if (!a->again && !bole_flash_aux_follows(a, r, &aux))
		return BOLE_E_CORRUPT;
	expect_next(a, r, &aux);
	note_binding(a, aux.key);
	uint32_t part = aux.part;
	bool remove = aux.parts == 0;
	struct bole_bytes k = {aux.key, aux.key_len};
	if (remove && (r->flags & FLASH_FLAG_PREPARED) == 0) {
		if (a->again)
			return BOLE_OK;
		parts_die(a, bole_flash_table_find(*table, k));
		return bole_flash_table_remove(&a->v->aux, table, k);
	}
	size_t len = bole_flash_aux_value(value, aux.total, remove ? 1 : aux.parts);
	const struct flash_item *item = bole_flash_table_find(*table, k);
	if (a->again && (item == NULL || bole_flash_item_value(item).len != len))
		return BOLE_OK; /* superseded within the batches in doubt */
	if (part != 0 || a->again) {
		if (item == NULL || bole_flash_item_value(item).len != len)
			return BOLE_E_CORRUPT;
		memcpy(value, bole_flash_item_value(item).ptr, len);
		struct flash_aux_part was = bole_flash_aux_part(bole_flash_item_value(item), part);
		if (was.bytes != 0)
			dies(a, was.segment, was.bytes);
	} else {
		parts_die(a, item);
	}
	struct flash_aux_part place = {segment, offset, r->bytes};
	if (!remove) {
		bole_flash_aux_set_part(value, part, &place);
		bole_flash_apply_lives(a, segment, r->bytes);
	}
	return bole_flash_table_set(&a->v->aux, table, k, bole_bytes_of(value, len));
}

/* From a checkpoint: the table's own key and value; without a value the key is gone. */
static enum bole_status apply_aux_place(struct flash_apply *a, const struct flash_record *r)
{
	struct flash_table **table;

	BOLE_TRY(aux_target(a, r, &table));
	if (r->body.len == 0 && r->flags == 0)
		return bole_flash_table_remove(&a->v->aux, table, r->key);
	if (r->key.len < AUX_KEY_HEAD || r->key.len > AUX_KEY_HEAD + AUX_KEY_MAX ||
	    r->body.len < AUX_VALUE_HEAD)
		return BOLE_E_CORRUPT;
	uint32_t parts = bole_flash_aux_parts(r->body);
	if (parts == 0 || r->body.len != AUX_VALUE_HEAD + (size_t)parts * AUX_VALUE_PART ||
	    bole_get_le32(r->body.ptr + AUX_VALUE_TOTAL_AT) > BOLE_AUX_BYTES_MAX)
		return BOLE_E_CORRUPT;
	for (uint32_t i = 0; i < parts; i++) {
		struct flash_aux_part part = bole_flash_aux_part(r->body, i);
		if (part.segment >= a->v->segments ||
		    !bole_in_bounds(part.offset, part.bytes, a->v->segment_bytes))
			return BOLE_E_CORRUPT;
		a->v->segment[part.segment].published = true;
	}
	note_binding(a, r->key.ptr);
	return bole_flash_table_set(&a->v->aux, table, r->key, r->body);
}

/* -- Repositories and prepared transactions -- */

static bool name_ok(struct bole_bytes name)
{
	return name.len <= BOLE_REPO_NAME_MAX && memchr(name.ptr, 0, name.len) == NULL &&
	       bole_repo_name_valid((const char *)name.ptr, name.len);
}

static enum bole_status apply_repo(struct flash_apply *a, const struct flash_record *r)
{
	struct flash_repo *repo;

	if (r->body.len <= REPO_HEAD_BYTES)
		return BOLE_E_CORRUPT;
	uint32_t domain = bole_get_le32(r->body.ptr + REPO_DOMAIN_AT);
	uint8_t algo = r->body.ptr[REPO_ALGO_AT];
	struct bole_bytes name = {r->body.ptr + REPO_HEAD_BYTES, r->body.len - REPO_HEAD_BYTES};
	if (bole_hash_bytes(algo) == 0 || !name_ok(name) || r->owner == UINT32_MAX ||
	    domain == UINT32_MAX || bole_flash_repo_find_any(a->v, r->owner) != NULL ||
	    bole_flash_domain_find(a->v, domain) != NULL ||
	    bole_flash_table_find(a->v->names, name) != NULL)
		return BOLE_E_CORRUPT;
	return bole_flash_repo_add(a->v, r->owner, domain, algo, name, &repo);
}

static enum bole_status apply_rename(struct flash_apply *a, const struct flash_record *r)
{
	struct flash_volume *v = a->v;
	struct flash_repo *repo = bole_flash_repo_find_any(v, r->owner);
	uint8_t number[4];

	/* A delta of a checkpoint takes names away before it gives new ones. */
	bool nameless = r->body.len == 0;
	if (repo == NULL || (!nameless && !name_ok(r->body)) ||
	    bole_flash_table_find(v->names, r->body) != NULL)
		return BOLE_E_CORRUPT;
	bole_put_le32(number, repo->id);
	BOLE_TRY(bole_flash_table_remove(&v->plain, &v->names, bole_bytes_z(repo->name)));
	memset(repo->name, 0, sizeof repo->name);
	if (nameless)
		return BOLE_OK;
	BOLE_TRY(bole_flash_table_set(&v->plain, &v->names, r->body, bole_bytes_of(number, 4)));
	memcpy(repo->name, r->body.ptr, r->body.len);
	return BOLE_OK;
}

static void drop_prepared(struct flash_volume *v, struct flash_prepared **at, bool drop)
{
	struct flash_prepared *p = *at;

	*at = p->next;
	bole_flash_prepared_free(v, p, drop);
}

static enum bole_status apply_remove(struct flash_apply *a, const struct flash_record *r)
{
	struct flash_volume *v = a->v;
	struct flash_repo *repo = bole_flash_repo_find_any(v, r->owner);

	if (repo == NULL)
		return BOLE_E_CORRUPT;
	a->prepared = NULL;
	for (struct flash_prepared **at = &v->prepared; *at != NULL;) {
		if ((*at)->repo == repo)
			drop_prepared(v, at, !a->checkpoint);
		else
			at = &(*at)->next;
	}
	BOLE_TRY(bole_flash_table_remove(&v->plain, &v->names, bole_bytes_z(repo->name)));
	repo = bole_flash_repo_take(v, r->owner);
	if (!a->checkpoint)
		bole_flash_repo_forget(v, repo);
	bole_flash_repo_release(v, repo);
	return BOLE_OK;
}

enum bole_status bole_flash_apply_forget(struct flash_apply *a)
{
	a->prepared = NULL;
	while (a->v->prepared != NULL)
		drop_prepared(a->v, &a->v->prepared, false);
	return BOLE_OK;
}

void bole_flash_apply_cut(struct flash_apply *a)
{
	struct flash_prepared **at = &a->v->prepared;

	while (*at != NULL && *at != a->prepared)
		at = &(*at)->next;
	if (*at != NULL && a->prepared != NULL)
		drop_prepared(a->v, at, false);
	a->prepared = NULL;
}

static enum bole_status apply_prepare(struct flash_apply *a, const struct flash_record *r)
{
	struct flash_volume *v = a->v;
	struct flash_repo *repo = bole_flash_repo_find_any(v, r->owner);

	if (repo == NULL || r->body.len != PREPARE_BYTES)
		return BOLE_E_CORRUPT;
	struct flash_prepared *p = bole_alloc_zeroed(v->alloc, 1, sizeof *p);
	if (p == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(p->token.bytes, r->body.ptr + PREPARE_TOKEN_AT, FLASH_TOKEN_BYTES);
	atomic_fetch_add(&repo->refs, 1);
	p->repo = repo;
	p->next = v->prepared;
	v->prepared = p;
	a->prepared = p;
	return BOLE_OK;
}

/* What the old table has for the keys of the new one. */
static void replaced_die(struct flash_apply *a, const struct flash_table *old,
                         const struct flash_table *new)
{
	struct bole_bytes after = {NULL, 0};

	for (const struct flash_item *item = bole_flash_table_next(new, after, true); item != NULL;
	     item = bole_flash_table_next(new, after, false)) {
		after = bole_flash_item_key(item);
		parts_die(a, bole_flash_table_find(old, after));
	}
}

/* Rows of what was prepared that lost against somebody else's. */
static enum bole_status losers_die(struct flash_apply *a, const struct flash_prepared *p,
                                   const struct flash_index *index)
{
	for (uint32_t i = 0; p->run != NULL && i < p->run->count; i++) {
		struct flash_home mine = bole_flash_rows_home(p->run, i);
		struct flash_found found;
		enum bole_status rc = bole_flash_index_find(
		        a->v, index, bole_flash_rows_key(p->run, i), &a->reader, &found);
		if (rc == BOLE_E_NO_MEMORY)
			return rc;
		if (rc != BOLE_OK || found.extent != NULL ||
		    found.place != bole_flash_place(mine.segment, mine.offset))
			dies(a, mine.segment, bole_flash_record_live(p->run->key_len, mine.stored));
	}
	return BOLE_OK;
}

static enum bole_status apply_resolve(struct flash_apply *a, const struct flash_record *r)
{
	struct flash_volume *v = a->v;
	struct flash_prepared **at = &v->prepared;
	struct flash_index *index;

	if (r->body.len != PREPARE_BYTES)
		return BOLE_E_CORRUPT;
	while (*at != NULL &&
	       memcmp((*at)->token.bytes, r->body.ptr + PREPARE_TOKEN_AT, FLASH_TOKEN_BYTES) != 0)
		at = &(*at)->next;
	if (*at == NULL)
		return BOLE_E_CORRUPT;
	if (r->body.ptr[RESOLVE_COMMIT_AT] != 0) {
		struct flash_repo *repo = (*at)->repo;
		BOLE_TRY(bole_flash_apply_index(a, repo->domain->id, &index));
		replaced_die(a, repo->auxtable, (*at)->aux);
		BOLE_TRY(bole_flash_prepared_publish(v, *at, index, &repo->auxtable, &a->reader));
		BOLE_TRY(losers_die(a, *at, index));
	}
	a->prepared = NULL;
	drop_prepared(v, at, r->body.ptr[RESOLVE_COMMIT_AT] == 0);
	return BOLE_OK;
}

static enum bole_status apply_refs(struct flash_apply *a, const struct flash_record *r)
{
	struct flash_repo *repo = bole_flash_repo_find_any(a->v, r->owner);

	if (repo == NULL)
		return BOLE_E_CORRUPT;
	return bole_flash_refs_replay(a->v, &repo->reftable, repo->domain->algo, r->body);
}

enum bole_status bole_flash_apply(struct flash_apply *a, const struct flash_record *r,
                                  uint32_t segment, uint32_t offset)
{
	if (a->again && r->kind != FLASH_RECORD_OBJECT && r->kind != FLASH_RECORD_AUX)
		return BOLE_E_CORRUPT;
	if (a->v->repair != NULL && a->v->repair->archive != NULL) {
		enum bole_status rc = bole_flash_archive_note(a, r, segment, offset);
		if (rc != BOLE_OK)
			return rc == BOLE_E_EXISTS ? BOLE_OK : rc;
	}
	if (a->v->repair != NULL && a->v->repair->rebuild && !a->checkpoint) {
		enum bole_status rc = bole_flash_rebuild_fit(a->v, NULL, r);
		if (rc == BOLE_OK && r->kind == FLASH_RECORD_REFS)
			rc = bole_flash_rebuild_sure_all(a->v, r->owner, r->body);
		if (rc != BOLE_OK)
			return rc == BOLE_E_EXISTS ? BOLE_OK : rc;
	}
	switch (r->kind) {
	case FLASH_RECORD_OBJECT: return apply_object(a, r, segment, offset);
	case FLASH_RECORD_DROP: return apply_drop(a, r);
	case FLASH_RECORD_EXTENT: return bole_flash_index_load(a, r);
	case FLASH_RECORD_REFS: return apply_refs(a, r);
	case FLASH_RECORD_AUX: return apply_aux(a, r, segment, offset);
	case FLASH_RECORD_REPO: return apply_repo(a, r);
	case FLASH_RECORD_RENAME: return apply_rename(a, r);
	case FLASH_RECORD_REMOVE: return apply_remove(a, r);
	case FLASH_RECORD_PREPARE: return apply_prepare(a, r);
	case FLASH_RECORD_RESOLVE: return apply_resolve(a, r);
	case FLASH_RECORD_AUX_PLACE: return apply_aux_place(a, r);
	default: return BOLE_E_CORRUPT;
	}
}
