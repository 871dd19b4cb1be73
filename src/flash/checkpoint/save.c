/* SPDX-License-Identifier: ISC */
/* The records of an element: everything for a base, differences for a delta. Versions share their
 * leaves, so finding the differences costs what they are. */
#include "flash/checkpoint/save.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

static const struct bole_bytes nothing = {NULL, 0};

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

/* -- Counters and segments -- */

static enum bole_status put_chain(struct flash_save *s)
{
	const struct flash_volume *v = s->v;
	const struct flash_element *last = &v->element[v->elements - 1];
	uint32_t first = last->fragments - last->named;
	uint8_t body[CHAIN_PLACES_AT + CHAIN_PLACES_MAX * PLACE_BYTES];

	BOLE_ASSERT(last->named <= CHAIN_PLACES_MAX);
	bole_put_le64(body + CHAIN_STREAM_AT, last->stream);
	bole_put_le64(body + CHAIN_BYTES_AT, last->bytes);
	bole_put_le64(body + CHAIN_DIGEST_AT, last->digest);
	bole_put_le32(body + CHAIN_DEPTH_AT, v->elements);
	bole_put_le32(body + CHAIN_COUNT_AT, last->named);
	for (uint32_t i = 0; i < last->named; i++)
		bole_flash_place_put(body + CHAIN_PLACES_AT + (size_t)i * PLACE_BYTES,
		                     &last->fragment[first + i]);
	size_t len = CHAIN_PLACES_AT + (size_t)last->named * PLACE_BYTES;
	return bole_flash_save_record(s, (struct flash_record){.kind = FLASH_RECORD_CHAIN},
	                              bole_bytes_of(body, len));
}

static enum bole_status put_counters(struct flash_save *s)
{
	uint8_t body[COUNTERS_BYTES];

	bole_put_le64(body + COUNTERS_EXTENT_AT, s->next_extent);
	bole_put_le32(body + COUNTERS_REPO_AT, s->next_repo);
	bole_put_le32(body + COUNTERS_DOMAIN_AT, s->next_domain);
	return bole_flash_save_record(s, (struct flash_record){.kind = FLASH_RECORD_COUNTERS},
	                              bole_bytes_of(body, COUNTERS_BYTES));
}

static void row_put(uint8_t *p, const struct flash_segment_row *row)
{
	bole_put_le64(p + SEGMENT_ROW_SEQUENCE_AT, row->sequence);
	bole_put_le32(p + SEGMENT_ROW_ERASES_AT, row->erases);
	bole_put_le32(p + SEGMENT_ROW_LIVE_AT, row->live);
	p[SEGMENT_ROW_FLAGS_AT] = row->flags;
}

/* Groups of rows for consecutive segments. */
static enum bole_status put_segments(struct flash_save *s)
{
	struct flash_record r = {.kind = FLASH_RECORD_SEGMENTS};
	uint8_t body[SAVE_CHUNK];
	size_t len = 0;

	for (uint32_t i = 0; i < s->rows;) {
		if (len + SEGMENTS_ROWS_AT + SEGMENT_ROW_BYTES > sizeof body) {
			BOLE_TRY(bole_flash_save_record(s, r, bole_bytes_of(body, len)));
			len = 0;
		}
		uint8_t *group = body + len;
		uint32_t first = s->row[i].segment;
		uint32_t n = 0;
		len += SEGMENTS_ROWS_AT;
		for (; i < s->rows && s->row[i].segment == first + n &&
		       len + SEGMENT_ROW_BYTES <= sizeof body;
		     i++, n++) {
			row_put(body + len, &s->row[i]);
			len += SEGMENT_ROW_BYTES;
		}
		bole_put_le32(group + SEGMENTS_FIRST_AT, first);
		bole_put_le32(group + SEGMENTS_COUNT_AT, n);
	}
	return len == 0 ? BOLE_OK : bole_flash_save_record(s, r, bole_bytes_of(body, len));
}

static enum bole_status row_for(struct flash_save *s, uint32_t segment,
                                struct flash_segment_row **out)
{
	struct flash_volume *v = s->v;
	uint32_t at = 0;
	uint32_t high = s->rows;

	while (at < high) {
		uint32_t mid = at + (high - at) / 2;
		if (s->row[mid].segment < segment)
			at = mid + 1;
		else
			high = mid;
	}
	if (at == s->rows || s->row[at].segment != segment) {
		if (s->rows == s->rows_cap) {
			uint32_t cap = s->rows_cap == 0 ? 16 : s->rows_cap * 2;
			void *list = bole_alloc_resize(v->alloc, s->row, s->rows_cap, cap,
			                               sizeof *s->row);
			if (list == NULL)
				return BOLE_E_NO_MEMORY;
			s->row = list;
			s->rows_cap = cap;
		}
		memmove(s->row + at + 1, s->row + at, (s->rows - at) * sizeof *s->row);
		s->rows++;
		/* Not among the changed ones: as the element before has it. */
		bole_flash_lock(v);
		s->row[at] = bole_flash_segment_row(v, segment);
		bole_flash_unlock(v);
	}
	*out = &s->row[at];
	return BOLE_OK;
}

enum bole_status bole_flash_save_written(struct flash_save *s, uint32_t segment, uint64_t sequence,
                                         uint64_t bytes)
{
	struct flash_segment_row *row;
	struct flash_volume *v = s->v;

	BOLE_TRY(row_for(s, segment, &row));
	if (row->sequence != sequence) {
		/* Opened after the pin, for this: nothing else of it is in the element. */
		row->live = 0;
		bole_flash_lock(v);
		row->erases = v->segment[segment].erases;
		bole_flash_unlock(v);
	}
	row->sequence = sequence;
	row->live += (uint32_t)bytes;
	return BOLE_OK;
}

/* -- References and aux -- */

struct ref_writer {
	struct flash_save *s;
	struct flash_record r;
	uint8_t algo;
	size_t len;
	uint8_t body[SAVE_CHUNK];
};

static enum bole_status flush_refs(struct ref_writer *w)
{
	size_t len = w->len;

	w->len = 0;
	return len == 0 ? BOLE_OK : bole_flash_save_record(w->s, w->r, bole_bytes_of(w->body, len));
}

static enum bole_status put_ref(struct ref_writer *w, const struct flash_item *before,
                                const struct flash_item *after)
{
	struct bole_ref_update u = {.action = BOLE_REF_DELETE};
	struct bole_ref ref;

	if (after == NULL) {
		u.name = bole_flash_item_key(before);
	} else {
		bole_flash_ref_decode(after, w->algo, &ref);
		u = (struct bole_ref_update){
		        .name = ref.name,
		        .action = ref.symbolic ? BOLE_REF_SYMBOLIC : BOLE_REF_SET,
		        .oid = ref.oid,
		        .peeled = ref.peeled,
		        .has_peeled = ref.has_peeled,
		        .target = ref.target,
		};
	}
	if (w->len + bole_flash_ref_encoded(&u) > sizeof w->body)
		BOLE_TRY(flush_refs(w));
	w->len += bole_flash_ref_encode(&u, NULL, w->algo, w->body + w->len);
	return BOLE_OK;
}

static enum bole_status put_refs(struct flash_save *s, const struct flash_state_repo *p,
                                 const struct flash_table *before)
{
	struct ref_writer w = {
	        .s = s,
	        .r = {.kind = FLASH_RECORD_REFS, .owner = p->repo->id},
	        .algo = p->repo->domain->algo,
	};
	struct flash_table_diff diff = {.before = before, .after = p->refs};
	const struct flash_item *was;
	const struct flash_item *is;

	while (bole_flash_table_diff(&diff, &was, &is))
		BOLE_TRY(put_ref(&w, was, is));
	return flush_refs(&w);
}

/* A place, or none: the key is gone. */
static enum bole_status put_aux(struct flash_save *s, const struct flash_table *before,
                                const struct flash_table *after, uint32_t repo, uint8_t flags)
{
	struct flash_record r = {.kind = FLASH_RECORD_AUX_PLACE, .flags = flags, .owner = repo};
	struct flash_table_diff diff = {.before = before, .after = after};
	const struct flash_item *was;
	const struct flash_item *is;

	while (bole_flash_table_diff(&diff, &was, &is)) {
		r.key = bole_flash_item_key(is == NULL ? was : is);
		BOLE_TRY(bole_flash_save_record(s, r,
		                                is == NULL ? nothing : bole_flash_item_value(is)));
	}
	return BOLE_OK;
}

/* -- Repositories -- */

static enum bole_status put_repo(struct flash_save *s, const struct flash_state_repo *p,
                                 const struct flash_state_repo *before)
{
	uint8_t body[REPO_HEAD_BYTES + BOLE_REPO_NAME_MAX] = {0};
	size_t name = strlen(p->name);

	if (before == NULL) {
		struct flash_record r = {.kind = FLASH_RECORD_REPO, .owner = p->repo->id};
		bole_put_le32(body + REPO_DOMAIN_AT, p->repo->domain->id);
		body[REPO_ALGO_AT] = p->repo->domain->algo;
		memcpy(body + REPO_HEAD_BYTES, p->name, name);
		BOLE_TRY(bole_flash_save_record(s, r, bole_bytes_of(body, REPO_HEAD_BYTES + name)));
	}
	BOLE_TRY(put_refs(s, p, before == NULL ? NULL : before->refs));
	BOLE_TRY(put_aux(s, before == NULL ? NULL : before->aux, p->aux, p->repo->id, 0));
	return bole_flash_index_save(s, p->repo->domain, p->index,
	                             before == NULL ? NULL : before->index);
}

static const struct flash_state_repo *state_find(const struct flash_state *s, uint32_t id)
{
	uint32_t low = 0;
	uint32_t high = s == NULL ? 0 : s->repos;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (s->repo[mid].repo->id == id)
			return &s->repo[mid];
		if (s->repo[mid].repo->id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/* What is gone, then renames in two steps, because names may change places: all old names go
 * before a new one comes. */
static enum bole_status put_catalog(struct flash_save *s)
{
	struct flash_record r = {.kind = FLASH_RECORD_REMOVE};

	for (uint32_t i = 0; s->before != NULL && i < s->before->repos; i++) {
		r.owner = s->before->repo[i].repo->id;
		if (state_find(s->state, r.owner) == NULL)
			BOLE_TRY(bole_flash_save_record(s, r, nothing));
	}
	r.kind = FLASH_RECORD_RENAME;
	for (int named = 0; named < 2 && s->before != NULL; named++) {
		for (uint32_t i = 0; i < s->state->repos; i++) {
			const struct flash_state_repo *p = &s->state->repo[i];
			const struct flash_state_repo *was = state_find(s->before, p->repo->id);
			r.owner = p->repo->id;
			if (was != NULL && strcmp(was->name, p->name) != 0)
				BOLE_TRY(bole_flash_save_record(
				        s, r, named ? bole_bytes_z(p->name) : nothing));
		}
	}
	return BOLE_OK;
}

/* -- Prepared transactions: the whole list, if it is another one -- */

static enum bole_status put_drops(struct flash_save *s, const struct flash_table *drops,
                                  uint32_t domain)
{
	struct bole_bytes after = {NULL, 0};

	for (const struct flash_item *item = bole_flash_table_next(drops, after, true);
	     item != NULL; item = bole_flash_table_next(drops, after, false)) {
		struct flash_record r = {.kind = FLASH_RECORD_DROP,
		                         .flags = FLASH_FLAG_PREPARED,
		                         .owner = domain,
		                         .key = bole_flash_item_key(item)};
		after = r.key;
		uint8_t word = bole_flash_item_value(item).ptr[0] & TX_DROP_WORDS;
		BOLE_TRY(bole_flash_save_record(s, r, bole_bytes_of(&word, 1)));
	}
	return BOLE_OK;
}

static enum bole_status put_prepared(struct flash_save *s, const struct flash_state_prepared *p)
{
	uint8_t body[PREPARE_BYTES] = {0};
	struct flash_record r = {.kind = FLASH_RECORD_PREPARE, .owner = p->repo->id};

	memcpy(body + PREPARE_TOKEN_AT, p->token.bytes, FLASH_TOKEN_BYTES);
	BOLE_TRY(bole_flash_save_record(s, r, bole_bytes_of(body, sizeof body)));
	BOLE_TRY(bole_flash_index_save_prepared(s, p->repo->domain, p->run, p->extent, p->extents));
	BOLE_TRY(put_drops(s, p->drops, p->repo->domain->id));
	return put_aux(s, NULL, p->aux, p->repo->id, FLASH_FLAG_PREPARED);
}

static enum bole_status put_list(struct flash_save *s)
{
	struct flash_record none = {.kind = FLASH_RECORD_PREPARE};

	if (s->before != NULL) {
		if (bole_flash_state_same_prepared(s->state, s->before))
			return BOLE_OK;
		BOLE_TRY(bole_flash_save_record(s, none, nothing));
	}
	/* Loading puts each one in front of those before. */
	for (uint32_t i = s->state->prepareds; i > 0; i--)
		BOLE_TRY(put_prepared(s, &s->state->prepared[i - 1]));
	return BOLE_OK;
}

enum bole_status bole_flash_save_all(struct flash_save *s)
{
	const struct flash_state *state = s->state;

	for (uint32_t i = 0; i < state->repos; i++)
		BOLE_TRY(bole_flash_index_write(s, state->repo[i].repo->domain,
		                                state->repo[i].index));
	if (s->before != NULL)
		BOLE_TRY(put_chain(s));
	BOLE_TRY(put_counters(s));
	BOLE_TRY(put_segments(s));
	BOLE_TRY(put_catalog(s));
	for (uint32_t i = 0; i < state->repos; i++)
		BOLE_TRY(put_repo(s, &state->repo[i],
		                  state_find(s->before, state->repo[i].repo->id)));
	BOLE_TRY(put_list(s));
	return bole_flash_save_record(s, (struct flash_record){.kind = FLASH_RECORD_END}, nothing);
}
