/* SPDX-License-Identifier: ISC */
/* Looking an id up: from the newest part of the index to the oldest, collecting what is killed on
 * the way. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/index/extent.h"
#include "flash/index/objects.h"
#include "flash/index/run.h"
#include "flash/log/reader.h"
#include "flash/log/record.h"
#include "flash/volume/volume.h"

enum {
	PROBE_KILLS = 16,                       /* without memory of their own */
	PROBE_WHOLE_BYTES = OBJECTS_RECORD_MAX, /* a record that is read at once */
};
#define KILL_OF_EXTENT (UINT64_C(1) << FLASH_PLACE_BITS)
#define PROBE_ANY      UINT64_MAX

/* One lookup. */
struct probe {
	struct flash_volume *v;
	const struct flash_index *index;
	const uint8_t *key;
	struct flash_reader *reader;
	enum bole_status (*row)(void *ctx, const struct flash_found *);
	void *ctx;
	uint64_t hash; /* of the key; only when hashed */
	bool hashed;
	uint64_t run_hash; /* of its prefix */
	uint64_t only;     /* ask for the row with this place: no record is read */
	bool trust;        /* a row that starts like the id is its row */
	uint32_t run;      /* the one that is asked */
	uint64_t *kill;    /* places, KILL_OF_EXTENT for those of extents */
	size_t kills;
	size_t cap;
	uint64_t *few;
};

static enum bole_status add_kill(struct probe *p, uint64_t place, uint8_t type)
{
	if (p->kills == p->cap) {
		size_t cap = p->cap * 2;
		uint64_t *more = bole_alloc_array(p->v->alloc, cap, sizeof *more);
		if (more == NULL)
			return BOLE_E_NO_MEMORY;
		memcpy(more, p->kill, p->kills * sizeof *more);
		if (p->kill != p->few)
			bole_alloc_free(p->v->alloc, p->kill, p->cap, sizeof *more);
		p->kill = more;
		p->cap = cap;
	}
	p->kill[p->kills++] = place | ((type & INDEX_EXTENT_ROW) != 0 ? KILL_OF_EXTENT : 0);
	return BOLE_OK;
}

static bool killed(const struct probe *p, uint64_t place)
{
	for (size_t i = 0; i < p->kills; i++)
		if (p->kill[i] == place)
			return true;
	return false;
}

static enum bole_status ask_mem(struct probe *p, const struct flash_table *mem,
                                enum flash_found_where where)
{
	struct bole_bytes key = {p->key, p->index->domain->key_len};
	struct flash_mem_row row;

	if (!bole_flash_mem_get(mem, key, &row))
		return BOLE_OK;
	if (row.has && !killed(p, row.place) && (p->only == PROBE_ANY || p->only == row.place)) {
		struct flash_found found = {
		        .place = row.place,
		        .stored = row.stored,
		        .type = row.type,
		        .moved = row.moved,
		        .from = row.from,
		        .generation = row.generation,
		        .where = where,
		};
		BOLE_TRY(p->row(p->ctx, &found));
	}
	for (uint32_t i = 0; i < row.kills; i++) {
		const uint8_t *kill = row.kill + (size_t)i * MEM_KILL_BYTES;
		BOLE_TRY(add_kill(p, bole_flash_kill_place(kill), bole_flash_kill_type(kill)));
	}
	return BOLE_OK;
}

/* Rows [from, rows). */
static enum bole_status ask_fresh(struct probe *p, const struct flash_memory *m, uint32_t from,
                                  uint32_t rows, enum flash_found_where where)
{
	uint32_t key_len = p->index->domain->key_len;

	if (rows <= from)
		return BOLE_OK;
	if (!p->hashed)
		p->hash = bole_flash_key_hash(p->v, p->key, key_len);
	p->hashed = true;
	uint32_t at = bole_flash_fresh_find(m->fresh, from, rows, p->key, p->hash);
	if (at == FRESH_NONE)
		return BOLE_OK;
	struct flash_fresh_row row = bole_flash_fresh_row(m->fresh, at);
	if (killed(p, row.place) || (p->only != PROBE_ANY && p->only != row.place))
		return BOLE_OK;
	struct flash_found found = {
	        .place = row.place,
	        .stored = row.stored,
	        .type = row.type,
	        .where = where,
	};
	return p->row(p->ctx, &found);
}

/* -- Runs -- */

static void row_of(const uint8_t *p, struct flash_found *out)
{
	*out = (struct flash_found){
	        .place = bole_flash_get_be40(p + INDEX_PLACE_AT),
	        .stored = (uint64_t)p[INDEX_STORED_AT] | (uint64_t)p[INDEX_STORED_AT + 1] << 8 |
	                  (uint64_t)p[INDEX_STORED_AT + 2] << 16,
	        .type = p[INDEX_TYPE_AT] & INDEX_TYPE_MASK,
	        .where = FOUND_RUN,
	};
}

/* The record that a row names: is it the id's? Another id may start alike, but only a record that
 * verifies may say so. */
static enum bole_status compare(struct probe *p, const struct flash_found *found, bool *same)
{
	struct flash_volume *v = p->v;
	const struct flash_domain *domain = p->index->domain;
	uint32_t segment = bole_flash_place_segment(found->place);
	uint32_t offset = bole_flash_place_offset(found->place);
	uint64_t whole = bole_flash_record_live(domain->key_len, (uint32_t)found->stored);
	size_t head = (size_t)RECORD_HEAD_BYTES + domain->key_len;
	struct flash_record r;
	const uint8_t *at;

	if (segment >= v->segments || !bole_in_bounds(offset, whole, v->segment_bytes))
		return BOLE_E_CORRUPT;
	if (whole > PROBE_WHOLE_BYTES) {
		/* Whoever views a long one verifies it. */
		BOLE_TRY(bole_flash_fetch(v, p->reader, segment, offset, head, &at));
		*same = at[RECORD_KIND_AT] == FLASH_RECORD_OBJECT &&
		        at[RECORD_KEY_BYTES_AT] == domain->key_len &&
		        bole_get_le32(at + RECORD_OWNER_AT) == domain->id &&
		        memcmp(at + RECORD_HEAD_BYTES, p->key, domain->key_len) == 0;
		if (*same)
			return BOLE_OK;
	}
	BOLE_TRY(bole_flash_fetch_record(v, p->reader, segment, offset, (size_t)whole, &r));
	if (r.kind != FLASH_RECORD_OBJECT || r.key.len != domain->key_len ||
	    r.owner != domain->id || memcmp(r.key.ptr, p->key, INDEX_PREFIX_BYTES) != 0)
		return BOLE_E_CORRUPT;
	*same = memcmp(r.key.ptr, p->key, domain->key_len) == 0;
	return BOLE_OK;
}

static enum bole_status ask_row(struct probe *p, const uint8_t *row, uint32_t number)
{
	struct flash_found found;
	bool same = true;

	if ((row[INDEX_TYPE_AT] & INDEX_KILL) != 0)
		return BOLE_OK;
	row_of(row, &found);
	found.row = number;
	found.run = p->run;
	if (killed(p, found.place) || (p->only != PROBE_ANY && p->only != found.place))
		return BOLE_OK;
	if (p->only == PROBE_ANY && !p->trust)
		BOLE_TRY(compare(p, &found, &same));
	return same ? p->row(p->ctx, &found) : BOLE_OK;
}

/* Kills of a run concern older parts only: they count once its rows were asked. */
static enum bole_status kill_row(struct probe *p, const uint8_t *row, uint32_t number)
{
	(void)number;
	if ((row[INDEX_TYPE_AT] & INDEX_KILL) == 0)
		return BOLE_OK;
	return add_kill(p, bole_flash_get_be40(row + INDEX_PLACE_AT), row[INDEX_TYPE_AT]);
}

/* Shows every row of the run with the prefix. */
static enum bole_status
each_match(struct probe *p, struct flash_run *run, const struct flash_run_match *match,
           enum bole_status (*show)(struct probe *, const uint8_t *, uint32_t))
{
	uint8_t row[RUN_WIDTH_MAX];

	for (uint32_t i = 0; i < match->count; i++)
		BOLE_TRY(show(p, match->rows + (size_t)i * INDEX_ROW_BYTES, match->row + i));
	for (uint32_t at = match->row + match->count; match->more && at < run->rows; at++) {
		BOLE_TRY(bole_flash_run_row(run, at, row));
		if (memcmp(row, p->key, INDEX_PREFIX_BYTES) != 0)
			break;
		BOLE_TRY(show(p, row, at));
	}
	return BOLE_OK;
}

static enum bole_status ask_runs(struct probe *p)
{
	const struct flash_runs *runs = p->index->runs;
	struct flash_run_match match;

	if (runs == NULL)
		return BOLE_OK;
	for (uint32_t i = 0; i < runs->count; i++) {
		enum bole_status rc =
		        bole_flash_run_find(runs->run[i], p->key, p->run_hash, &match);
		if (rc == BOLE_E_NOT_FOUND)
			continue;
		BOLE_TRY(rc);
		p->run = i;
		BOLE_TRY(each_match(p, runs->run[i], &match, ask_row));
		BOLE_TRY(each_match(p, runs->run[i], &match, kill_row));
	}
	return BOLE_OK;
}

/* -- Extents -- */

/* All rows of the id in one extent, by offset. */
static enum bole_status ask_extent(struct probe *p, struct flash_extent *e)
{
	struct flash_extent_row row;

	for (uint32_t nth = 0;; nth++) {
		enum bole_status rc = bole_flash_extent_find(e, p->key, nth, &row);
		if (rc != BOLE_OK)
			return rc == BOLE_E_NOT_FOUND ? BOLE_OK : rc;
		struct flash_found found = {
		        .extent = e,
		        .place = bole_flash_place(e->slot, row.number),
		        .offset = row.offset,
		        .stored = row.stored,
		        .row = row.number,
		        .checksum = row.checksum,
		        .type = row.type,
		        .where = FOUND_EXTENT,
		};
		if (!killed(p, found.place | KILL_OF_EXTENT))
			BOLE_TRY(p->row(p->ctx, &found));
	}
}

/* Brings near what will be asked: one wait for memory instead of one a part. */
static void prefetch(struct probe *p)
{
	const struct flash_index *index = p->index;
	const struct flash_runs *runs = index->runs;

	if (!p->hashed)
		p->hash = bole_flash_key_hash(p->v, p->key, index->domain->key_len);
	p->hashed = true;
	if (index->now.rows != 0)
		bole_flash_fresh_prefetch(index->now.fresh, p->hash);
	if (index->frozen.rows != 0)
		bole_flash_fresh_prefetch(index->frozen.fresh, p->hash);
	if (runs == NULL)
		return;
	p->run_hash = bole_flash_run_hash(p->v, p->key, INDEX_PREFIX_BYTES);
	for (uint32_t i = 0; i < runs->count; i++)
		bole_flash_run_prefetch(runs->run[i], p->run_hash);
}

static enum bole_status ask_all(struct probe *p)
{
	enum bole_status damaged = BOLE_OK;

	prefetch(p);
	BOLE_TRY(ask_mem(p, p->index->now.mem, FOUND_MEM));
	BOLE_TRY(ask_fresh(p, &p->index->now, 0, p->index->now.rows, FOUND_FRESH));
	BOLE_TRY(ask_mem(p, p->index->frozen.mem, FOUND_FROZEN));
	BOLE_TRY(ask_fresh(p, &p->index->frozen, 0, p->index->frozen.rows, FOUND_FROZEN));
	BOLE_TRY(ask_runs(p));
	if (p->only != PROBE_ANY)
		return BOLE_OK;
	for (uint32_t i = 0; i < bole_flash_index_extents(p->index); i++) {
		enum bole_status rc = ask_extent(p, p->index->extents->extent[i]);
		/* Another may have it. What could not be read may be sound. */
		if (rc == BOLE_E_CORRUPT || rc == BOLE_E_IO)
			damaged = damaged == BOLE_E_IO ? BOLE_E_IO : rc;
		else
			BOLE_TRY(rc);
	}
	return damaged;
}

static enum bole_status probe(struct probe *p)
{
	uint64_t few[PROBE_KILLS];

	p->few = few;
	p->kill = few;
	p->kills = 0;
	p->cap = PROBE_KILLS;
	enum bole_status rc = ask_all(p);
	if (p->kill != p->few)
		bole_alloc_free(p->v->alloc, p->kill, p->cap, sizeof *p->kill);
	return rc;
}

enum bole_status bole_flash_index_each(struct flash_volume *v, const struct flash_index *index,
                                       const uint8_t *key, struct flash_reader *reader, bool trust,
                                       enum bole_status (*row)(void *, const struct flash_found *),
                                       void *ctx)
{
	struct probe p = {.v = v,
	                  .index = index,
	                  .key = key,
	                  .reader = reader,
	                  .row = row,
	                  .ctx = ctx,
	                  .only = PROBE_ANY,
	                  .trust = trust};

	return index == NULL ? BOLE_OK : probe(&p);
}

static enum bole_status first_row(void *ctx, const struct flash_found *found)
{
	*(struct flash_found *)ctx = *found;
	return BOLE_END; /* enough */
}

/* The row of a record that was damaged when it was replayed has no type: it tells that the id is
 * not merely absent. */
static enum bole_status first_sound(void *ctx, const struct flash_found *found)
{
	return found->type == 0 ? BOLE_E_CORRUPT : first_row(ctx, found);
}

enum bole_status bole_flash_index_find(struct flash_volume *v, const struct flash_index *index,
                                       const uint8_t *key, struct flash_reader *reader,
                                       struct flash_found *out)
{
	enum bole_status rc = bole_flash_index_each(v, index, key, reader, false, first_sound, out);

	if (rc == BOLE_END)
		return BOLE_OK;
	return rc == BOLE_OK ? BOLE_E_NOT_FOUND : rc;
}

enum bole_status bole_flash_index_find_hashed(struct flash_volume *v,
                                              const struct flash_index *index, const uint8_t *key,
                                              uint64_t hash, struct flash_reader *reader,
                                              struct flash_found *out)
{
	struct probe p = {.v = v,
	                  .index = index,
	                  .key = key,
	                  .hash = hash,
	                  .hashed = true,
	                  .reader = reader,
	                  .row = first_sound,
	                  .ctx = out,
	                  .only = PROBE_ANY};

	if (index == NULL)
		return BOLE_E_NOT_FOUND;
	enum bole_status rc = probe(&p);
	return rc == BOLE_END ? BOLE_OK : rc == BOLE_OK ? BOLE_E_NOT_FOUND : rc;
}

enum bole_status bole_flash_index_find_since(struct flash_volume *v,
                                             const struct flash_index *index, uint32_t rows,
                                             const struct flash_index *then, const uint8_t *key,
                                             uint64_t hash, struct flash_reader *reader,
                                             struct flash_found *out)
{
	struct probe p = {.v = v,
	                  .index = index,
	                  .key = key,
	                  .hash = hash,
	                  .hashed = true,
	                  .row = first_sound,
	                  .ctx = out};

	if (then == NULL || index == NULL || index->frozen.mem != then->frozen.mem ||
	    index->frozen.fresh != then->frozen.fresh || index->runs != then->runs ||
	    index->extents != then->extents)
		return bole_flash_index_find(v, index, key, reader, out);
	uint32_t from = index->now.fresh == then->now.fresh ? then->now.rows : 0;
	if (index->now.mem == then->now.mem && rows <= from)
		return BOLE_E_NOT_FOUND;
	uint64_t few[PROBE_KILLS];
	p.only = PROBE_ANY;
	p.few = few;
	p.kill = few;
	p.cap = PROBE_KILLS;
	enum bole_status rc = ask_mem(&p, index->now.mem, FOUND_MEM);
	if (rc == BOLE_OK)
		rc = ask_fresh(&p, &index->now, from, rows, FOUND_FRESH);
	if (p.kill != p.few)
		bole_alloc_free(v->alloc, p.kill, p.cap, sizeof *p.kill);
	return rc == BOLE_END ? BOLE_OK : rc == BOLE_OK ? BOLE_E_NOT_FOUND : rc;
}

enum bole_status bole_flash_index_current(struct flash_volume *v, const struct flash_index *index,
                                          const uint8_t *key, uint64_t place,
                                          struct flash_found *out)
{
	struct probe p = {
	        .v = v, .index = index, .key = key, .row = first_row, .ctx = out, .only = place};

	if (index == NULL)
		return BOLE_E_NOT_FOUND;
	enum bole_status rc = probe(&p);
	return rc == BOLE_END ? BOLE_OK : rc == BOLE_OK ? BOLE_E_NOT_FOUND : rc;
}
