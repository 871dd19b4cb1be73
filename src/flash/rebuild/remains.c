/* SPDX-License-Identifier: ISC */
/* What verifies of a damaged checkpoint. A fragment verifies by itself, so what is gone is whole
 * fragments; records have no checksum of their own here, so behind a hole the first place counts
 * from which on records follow each other to the end of the fragment. Records come in a fixed
 * order, names in that of their bytes: the ones before and behind a hole say what may have been in
 * it. */
#include "flash/rebuild/rebuild.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/checkpoint/checkpoint.h"
#include "flash/index/auxtable.h"
#include "flash/log/stream.h"

enum { REMAINS_HOLES = 64, REMAINS_RECORD_MAX = 64 << 20 };

struct element {
	uint64_t stream;
	uint64_t bytes; /* 0 = not known */
	uint32_t first; /* of its pieces */
	uint32_t count;
};

struct remains {
	struct rebuild *rb;
	struct flash_apply apply;
	struct bole_buffer bytes; /* not taken yet */
	uint8_t *buf;
	size_t room;
	struct element element[CHECKPOINT_ELEMENTS]; /* newest first */
	uint32_t elements;
	uint32_t repos;  /* that were there when holes were filled last */
	uint32_t unsure; /* of the newest ones, nobody knows whether they are bases */
	uint32_t base;   /* the newest that must be one, as it lists anew what older ones list */
	struct flash_table *listed; /* repository -> number of the element */
	uint32_t now;               /* the element under work */
	bool ended;
	bool astray; /* behind a hole, no record found yet */
	struct rebuild_mark last;
	struct rebuild_hole hole[REMAINS_HOLES];
	uint32_t holes;
};

/* -- Which elements -- */

static void find_pieces(const struct rebuild *rb, struct element *e)
{
	uint32_t at = 0;

	while (at < rb->pieces && rb->piece[at].stream < e->stream)
		at++;
	e->first = at;
	e->count = 0;
	while (at < rb->pieces && rb->piece[at].stream == e->stream) {
		at++;
		e->count++;
	}
}

static enum bole_status read_piece(struct remains *m, const struct rebuild_piece *p,
                                   const uint8_t **out)
{
	return bole_flash_fragment_read(m->rb->v, p->stream, &p->f, m->buf, out);
}

/* The element before, if the first record says so; 0 = this is a base. UINT64_MAX: that is gone.
 * *depth: elements before. */
static enum bole_status before(struct remains *m, const struct element *e, uint64_t *stream,
                               uint64_t *bytes, uint32_t *depth)
{
	const struct rebuild_piece *piece = &m->rb->piece[e->first];
	const uint8_t *p;

	*stream = UINT64_MAX;
	*bytes = 0;
	if (e->count == 0 || piece->f.logical != 0 ||
	    piece->f.length < RECORD_HEAD_BYTES + CHAIN_COUNT_AT)
		return BOLE_OK;
	enum bole_status rc = read_piece(m, piece, &p);
	if (rc != BOLE_OK)
		return rc == BOLE_E_NO_MEMORY ? rc : BOLE_OK;
	*stream = 0;
	*depth = 0;
	if (p[RECORD_KIND_AT] != FLASH_RECORD_CHAIN)
		return BOLE_OK;
	*depth = bole_get_le32(p + RECORD_HEAD_BYTES + CHAIN_DEPTH_AT);
	*stream = bole_get_le64(p + RECORD_HEAD_BYTES + CHAIN_STREAM_AT);
	*bytes = bole_get_le64(p + RECORD_HEAD_BYTES + CHAIN_BYTES_AT);
	return BOLE_OK;
}

/* The name of the element before is gone: an older anchor may know it, else it is the newest that
 * is there. */
static uint64_t guess_before(const struct rebuild *rb, uint64_t stream)
{
	const struct flash_repair *r = rb->v->repair;
	uint64_t best = 0;

	for (uint32_t i = 0; i < r->anchors; i++)
		if (r->anchor[i].stream < stream && r->anchor[i].stream > best)
			best = r->anchor[i].stream;
	for (uint32_t i = 0; i < rb->pieces && best == 0; i++)
		if (rb->piece[i].stream < stream && rb->piece[i].f.logical == 0)
			best = rb->piece[i].stream;
	return best;
}

static enum bole_status find_elements(struct remains *m)
{
	const struct flash_anchor *a = &m->rb->v->repair->newest;
	uint64_t stream = a->stream;
	uint64_t bytes = a->stream_bytes;
	uint32_t depth = UINT32_MAX; /* not known */

	while (stream != 0 && m->elements < CHECKPOINT_ELEMENTS) {
		struct element *e = &m->element[m->elements++];
		uint32_t deep = depth;
		*e = (struct element){.stream = stream, .bytes = bytes};
		find_pieces(m->rb, e);
		BOLE_TRY(before(m, e, &stream, &bytes, &deep));
		depth = deep;
		if (depth == 0)
			break;
		if (stream == UINT64_MAX) {
			if (depth == UINT32_MAX)
				m->unsure = m->elements;
			stream = guess_before(m->rb, e->stream);
			bytes = 0;
		} else if (stream >= e->stream) {
			break;
		}
		depth -= depth != UINT32_MAX;
	}
	return BOLE_OK;
}

/* -- Records -- */

static void mark_of(const struct rebuild *rb, const struct flash_record *r,
                    struct rebuild_mark *out)
{
	*out = (struct rebuild_mark){.rank = RANK_REPO, .owner = r->owner, .part = PART_INDEX};
	switch (r->kind) {
	case FLASH_RECORD_CHAIN:
	case FLASH_RECORD_COUNTERS: out->rank = RANK_BEGIN; return;
	case FLASH_RECORD_SEGMENTS: out->rank = RANK_SEGMENTS; return;
	case FLASH_RECORD_REMOVE:
	case FLASH_RECORD_RENAME: out->rank = RANK_CATALOG; return;
	case FLASH_RECORD_END: out->rank = RANK_END; return;
	default: break;
	}
	if ((r->flags & FLASH_FLAG_PREPARED) != 0 || r->kind == FLASH_RECORD_PREPARE) {
		out->rank = RANK_PREPARED;
	} else if (r->kind == FLASH_RECORD_REPO) {
		out->part = PART_REPO;
	} else if (r->kind == FLASH_RECORD_REFS) {
		out->part = PART_REFS;
	} else if (r->kind == FLASH_RECORD_AUX_PLACE) {
		out->part = PART_AUX;
		out->len = r->key.len < REBUILD_KEY_MAX ? (uint32_t)r->key.len : 0;
		memcpy(out->key, r->key.ptr, out->len);
	} else {
		out->len = r->kind == FLASH_RECORD_RUN; /* the last one of an index */
		for (uint32_t i = 0; i < rb->v->repos; i++)
			if (rb->v->repo[i]->domain->id == r->owner)
				out->owner = rb->v->repo[i]->id;
	}
}

/* The first or the last name in a record of references. */
static void name_mark(const struct flash_record *r, bool last, struct rebuild_mark *out)
{
	struct bole_bytes body = r->body;

	while (r->kind == FLASH_RECORD_REFS && body.len >= REF_HEAD_BYTES) {
		size_t name = bole_get_le16(body.ptr + REF_NAME_BYTES_AT);
		size_t bytes =
		        REF_HEAD_BYTES + name + bole_get_le16(body.ptr + REF_TARGET_BYTES_AT);
		if (bytes > body.len)
			return;
		out->len = name < REBUILD_KEY_MAX ? (uint32_t)name : 0;
		memcpy(out->key, body.ptr + REF_HEAD_BYTES, out->len);
		if (!last)
			return;
		body.ptr += bytes;
		body.len -= bytes;
	}
}

static void know_rows(struct rebuild *rb, struct bole_bytes body)
{
	while (body.len >= SEGMENTS_ROWS_AT) {
		uint64_t first = bole_get_le32(body.ptr + SEGMENTS_FIRST_AT);
		uint64_t n = bole_get_le32(body.ptr + SEGMENTS_COUNT_AT);
		uint64_t bytes = SEGMENTS_ROWS_AT + n * SEGMENT_ROW_BYTES;
		if (first + n > rb->v->segments || bytes > body.len)
			return;
		for (uint64_t i = 0; i < n; i++) {
			struct rebuild_segment *s = &rb->segment[first + i];
			s->known = true;
			s->fresh = true;
			/* A later row may be gone; the head is what it is. */
			if (s->head)
				rb->v->segment[first + i].sequence = s->sequence;
		}
		body.ptr += bytes;
		body.len -= (size_t)bytes;
	}
}

/* A hole ends where this record begins. */
static void end_hole(struct remains *m, const struct rebuild_mark *to)
{
	if (m->holes < REMAINS_HOLES) {
		m->hole[m->holes].from = m->last;
		m->hole[m->holes++].to = *to;
	} else {
		m->hole[m->holes - 1].to = *to;
	}
	m->rb->holes++;
	m->astray = false;
}

/* What older holes held of somebody who is known only now comes before what is newer. */
static enum bole_status meet(struct remains *m)
{
	if (m->repos == m->rb->v->repos)
		return BOLE_OK;
	m->repos = m->rb->v->repos;
	return bole_flash_rebuild_fill_late(m->rb);
}

/* A delta lists repositories that are new, a base all of them. */
static enum bole_status list(struct remains *m, uint32_t repo)
{
	const struct flash_table_kind *kind = &m->rb->v->plain;
	uint8_t key[4];
	uint8_t number[4];

	bole_put_be32(key, repo);
	bole_put_le32(number, m->now);
	struct bole_bytes k = {key, sizeof key};
	const struct flash_item *item = bole_flash_table_find(m->listed, k);
	if (item != NULL && bole_get_le32(bole_flash_item_value(item).ptr) != m->now)
		m->base = m->now;
	return bole_flash_table_set(kind, &m->listed, k, bole_bytes_of(number, sizeof number));
}

static enum bole_status apply(struct remains *m, const struct flash_record *r)
{
	struct rebuild *rb = m->rb;

	if (r->kind == FLASH_RECORD_REFS && (r->flags & FLASH_FLAG_PREPARED) == 0)
		BOLE_TRY(bole_flash_rebuild_sure_all(rb->v, r->owner, r->body));
	if (r->kind == FLASH_RECORD_PREPARE)
		bole_flash_rebuild_prepare_again(rb->v, r);
	enum bole_status rc = bole_flash_chain_record(&m->apply, r);
	if (rc == BOLE_OK && r->kind == FLASH_RECORD_AUX_PLACE && r->flags != 0)
		rc = bole_flash_rebuild_listed(rb, m->apply.prepared, r);
	if (r->kind == FLASH_RECORD_REMOVE)
		m->repos = UINT32_MAX;
	return rc;
}

static enum bole_status take(struct remains *m, const struct flash_record *r)
{
	struct rebuild *rb = m->rb;
	struct rebuild_mark mark;

	if (r->kind == FLASH_RECORD_END) {
		m->ended = true;
		mark_of(rb, r, &mark);
		if (m->astray)
			end_hole(m, &mark);
		m->last = mark;
		return BOLE_OK;
	}
	enum bole_status rc = r->owner == 0 || r->kind == FLASH_RECORD_SEGMENTS
	                              ? BOLE_OK
	                              : bole_flash_rebuild_fit(rb->v, rb->then, r);
	mark_of(rb, r, &mark);
	name_mark(r, false, &mark);
	if (m->astray)
		end_hole(m, &mark);
	BOLE_TRY(meet(m));
	if (rc == BOLE_OK)
		rc = apply(m, r);
	if (r->kind == FLASH_RECORD_SEGMENTS)
		know_rows(rb, r->body);
	m->last = mark;
	name_mark(r, true, &m->last);
	if (r->kind == FLASH_RECORD_REPO)
		BOLE_TRY(list(m, r->owner));
	/* What does not fit is made up for with what is gone. */
	return rc == BOLE_E_CORRUPT || rc == BOLE_E_EXISTS ? BOLE_OK : rc;
}

/* -- Behind a hole -- */

static bool segments_fit(const struct flash_volume *v, struct bole_bytes body)
{
	while (body.len >= SEGMENTS_ROWS_AT) {
		uint64_t first = bole_get_le32(body.ptr + SEGMENTS_FIRST_AT);
		uint64_t n = bole_get_le32(body.ptr + SEGMENTS_COUNT_AT);
		if (n == 0 || first + n > v->segments ||
		    SEGMENTS_ROWS_AT + n * SEGMENT_ROW_BYTES > body.len)
			return false;
		body.ptr += SEGMENTS_ROWS_AT + n * SEGMENT_ROW_BYTES;
		body.len -= (size_t)(SEGMENTS_ROWS_AT + n * SEGMENT_ROW_BYTES);
	}
	return body.len == 0;
}

/* Could the head of a record be here? Its body may go on in the next fragment. */
static bool plausible(const struct flash_volume *v, const uint8_t *p, size_t len, size_t *bytes)
{
	if (len < RECORD_HEAD_BYTES || bole_get_le64(p + RECORD_CHECKSUM_AT) != 0)
		return false;
	uint8_t kind = p[RECORD_KIND_AT];
	uint32_t key = p[RECORD_KEY_BYTES_AT];
	uint32_t body = bole_get_le32(p + RECORD_BODY_BYTES_AT);
	uint32_t owner = bole_get_le32(p + RECORD_OWNER_AT);
	bool whole = body <= len - RECORD_HEAD_BYTES;
	*bytes = (size_t)RECORD_HEAD_BYTES + key + body;
	if (p[RECORD_TYPE_AT] != 0 || p[RECORD_FLAGS_AT] > FLASH_FLAG_PREPARED ||
	    body > REMAINS_RECORD_MAX)
		return false;
	switch (kind) {
	case FLASH_RECORD_COUNTERS: return key == 0 && owner == 0 && body == COUNTERS_BYTES;
	case FLASH_RECORD_END: return key == 0 && owner == 0 && body == 0 && len == *bytes;
	case FLASH_RECORD_SEGMENTS:
		return key == 0 && owner == 0 && body > SEGMENTS_ROWS_AT &&
		       (!whole ||
		        segments_fit(v, (struct bole_bytes){p + RECORD_HEAD_BYTES, body}));
	case FLASH_RECORD_REMOVE: return key == 0 && owner != 0 && body == 0;
	case FLASH_RECORD_RENAME: return key == 0 && owner != 0 && body <= BOLE_REPO_NAME_MAX;
	case FLASH_RECORD_REPO:
		return key == 0 && owner != 0 && body > REPO_HEAD_BYTES &&
		       body <= REPO_HEAD_BYTES + BOLE_REPO_NAME_MAX;
	case FLASH_RECORD_REFS: return key == 0 && owner != 0 && body > REF_HEAD_BYTES;
	case FLASH_RECORD_AUX_PLACE: return key >= AUX_KEY_HEAD && owner != 0;
	case FLASH_RECORD_EXTENT: return key == 0 && owner != 0 && body > EXTENT_MAP_AT;
	case FLASH_RECORD_EXTENT_GONE: return key == 0 && owner != 0 && body == 8;
	case FLASH_RECORD_RUN: return key == 0 && owner != 0 && body >= RUNS_HEAD_BYTES;
	case FLASH_RECORD_ROWS: return key == 0 && owner != 0;
	case FLASH_RECORD_PREPARE: return key == 0 && (body == 0 || body == PREPARE_BYTES);
	case FLASH_RECORD_DROP: return key != 0 && owner != 0 && body == 1;
	default: return false;
	}
}

/* Where records begin again in what came behind a hole; false: nowhere. */
static bool find_record(const struct flash_volume *v, struct bole_bytes bytes, size_t *at)
{
	for (*at = 0; *at + RECORD_HEAD_BYTES <= bytes.len; ++*at) {
		size_t p = *at;
		size_t n;
		while (p + RECORD_HEAD_BYTES <= bytes.len &&
		       plausible(v, bytes.ptr + p, bytes.len - p, &n))
			p += n;
		/* The last head may be cut by the end of the fragment. */
		if (p > *at && p + RECORD_HEAD_BYTES > bytes.len)
			return true;
	}
	return false;
}

static enum bole_status take_all(struct remains *m)
{
	struct flash_record r;
	size_t at = 0;

	if (m->astray &&
	    !find_record(m->rb->v, (struct bole_bytes){m->bytes.ptr, m->bytes.len}, &at))
		at = m->bytes.len;
	while (!m->ended &&
	       bole_flash_record_parse((struct bole_bytes){m->bytes.ptr + at, m->bytes.len - at},
	                               &r)) {
		BOLE_TRY(take(m, &r));
		at += r.bytes;
	}
	if (at != 0)
		memmove(m->bytes.ptr, m->bytes.ptr + at, m->bytes.len - at);
	m->bytes.len -= at;
	return BOLE_OK;
}

static void lose_track(struct remains *m)
{
	/* There may have been more of it, and another one. */
	bole_flash_apply_cut(&m->apply);
	m->bytes.len = 0;
	m->astray = true;
}

static enum bole_status load_element(struct remains *m, const struct element *e)
{
	struct rebuild *rb = m->rb;
	uint64_t pos = 0;
	const uint8_t *p;

	m->ended = false;
	m->astray = false;
	m->apply.prepared = NULL;
	m->holes = 0;
	m->bytes.len = 0;
	m->last = (struct rebuild_mark){.rank = RANK_BEGIN};
	for (uint32_t i = 0; i < e->count && !m->ended; i++) {
		const struct rebuild_piece *piece = &rb->piece[e->first + i];
		rb->segment[piece->f.segment].spare = true;
		if (piece->f.logical < pos)
			continue; /* written twice */
		enum bole_status rc = read_piece(m, piece, &p);
		if (rc == BOLE_E_NO_MEMORY)
			return rc;
		if (rc != BOLE_OK)
			continue;
		if (piece->f.logical > pos)
			lose_track(m);
		pos = piece->f.logical + piece->f.length;
		bole_buffer_append(&m->bytes, p, piece->f.length);
		BOLE_TRY(m->bytes.rc);
		BOLE_TRY(take_all(m));
		bole_flash_yield(rb->v);
	}
	if (!m->ended) {
		struct rebuild_mark end = {.rank = RANK_END};
		lose_track(m);
		end_hole(m, &end);
	}
	return BOLE_OK;
}

/* Where the archive begins to be newer than what was loaded before this element. */
static void set_since(struct remains *m, uint32_t at)
{
	const struct flash_repair *r = m->rb->v->repair;
	struct rebuild *rb = m->rb;

	rb->exact = at + 1 == m->elements;
	rb->since = rb->exact ? 0 : r->newest.batch;
	for (uint32_t i = 0; i < r->anchors && at + 1 < m->elements; i++) {
		const struct flash_anchor *a = &r->anchor[i];
		if (a->stream < m->element[at + 1].stream || a->batch > rb->since)
			continue;
		rb->since = a->batch;
		rb->exact = a->stream == m->element[at + 1].stream;
	}
}

/* Rows of segments that changed are gone: those before may be wrong. */
static void forget_rows(struct remains *m)
{
	bool gone = false;

	for (uint32_t i = 0; i < m->holes; i++)
		gone |= m->hole[i].from.rank <= RANK_SEGMENTS &&
		        m->hole[i].to.rank >= RANK_SEGMENTS;
	for (uint32_t i = 0; i < m->rb->v->segments && gone; i++)
		m->rb->segment[i].known &= m->rb->segment[i].fresh;
}

static enum bole_status load_elements(struct remains *m)
{
	struct rebuild *rb = m->rb;

	m->base = UINT32_MAX;
	for (uint32_t i = m->elements; i > 0; i--) {
		for (uint32_t n = 0; n < rb->v->segments; n++)
			rb->segment[n].fresh = false;
		m->now = i - 1;
		m->repos = UINT32_MAX;
		if (i == m->unsure) {
			BOLE_TRY(bole_flash_rebuild_doubt_everything(rb));
			bole_flash_rebuild_doubt_prepared(rb->v);
		}
		BOLE_TRY(load_element(m, &m->element[i - 1]));
		forget_rows(m);
		set_since(m, i - 1);
		for (uint32_t n = 0; n < m->holes; n++)
			BOLE_TRY(bole_flash_rebuild_fill(rb, &m->hole[n], i == m->elements));
		BOLE_TRY(bole_flash_rebuild_judge_prepared(rb));
	}
	return BOLE_OK;
}

static enum bole_status begin_again(struct remains *m)
{
	struct flash_volume *v = m->rb->v;

	BOLE_TRY(bole_flash_apply_forget(&m->apply));
	bole_flash_catalog_close(v);
	v->repos_cap = 0;
	v->losses.len = 0;
	v->lost = 0;
	bole_alloc_free(v->alloc, m->rb->domain, m->rb->domains, sizeof *m->rb->domain);
	m->rb->domain = NULL;
	m->rb->domains = 0;
	bole_flash_table_release(&v->plain, m->rb->filled);
	m->rb->filled = NULL;
	bole_flash_table_release(&v->plain, m->rb->removed);
	m->rb->removed = NULL;
	m->rb->said_prepared = false;
	bole_flash_table_release(&v->plain, v->packs->doubt);
	v->packs->doubt = NULL;
	bole_alloc_free(v->alloc, m->rb->hole, m->rb->hole_count, sizeof *m->rb->hole);
	m->rb->hole = NULL;
	m->rb->hole_count = 0;
	for (uint32_t i = 0; i < v->segments; i++) {
		struct flash_segment *s = &v->segment[i];
		m->rb->segment[i].known = false;
		v->live -= s->live;
		*s = (struct flash_segment){
		        .sequence = s->sequence, .erases = s->erases, .state = s->state};
	}
	bole_flash_table_release(&v->plain, m->listed);
	m->listed = NULL;
	m->elements = m->base + 1;
	m->unsure = m->base;
	return BOLE_OK;
}

/* If the newest element was a base, the ones before it said what does not count any more. */
static enum bole_status doubt_all(struct remains *m)
{
	struct flash_volume *v = m->rb->v;

	bole_flash_lost(v, "where the newest checkpoint begins cannot be told: references and aux "
	                   "records that were removed since the one before may be back");
	for (uint32_t i = 0; i < v->repos; i++)
		BOLE_TRY(bole_flash_rebuild_anew(m->rb, v->repo[i]->domain->id));
	return BOLE_OK;
}

enum bole_status bole_flash_rebuild_remains(struct rebuild *rb)
{
	struct flash_volume *v = rb->v;
	struct remains *m = bole_alloc_zeroed(v->alloc, 1, sizeof *m);

	if (m == NULL)
		return BOLE_E_NO_MEMORY;
	m->rb = rb;
	m->room = bole_flash_fragment_room(v);
	bole_flash_apply_init(&m->apply, v);
	m->apply.checkpoint = true;
	bole_buffer_init(&m->bytes, v->alloc,
	                 REMAINS_RECORD_MAX + 2 * (size_t)FLASH_FRAGMENT_BYTES);
	m->buf = bole_alloc_array(v->alloc, m->room, 1);
	enum bole_status rc = m->buf == NULL ? BOLE_E_NO_MEMORY : find_elements(m);
	if (rc == BOLE_OK)
		rc = load_elements(m);
	/* One was a base, whose first record is gone: what is before it does not count. */
	if (rc == BOLE_OK && m->base < m->unsure) {
		rc = begin_again(m);
		if (rc == BOLE_OK)
			rc = load_elements(m);
	}
	if (rc == BOLE_OK && m->unsure != 0)
		rc = doubt_all(m);
	bole_flash_table_release(&v->plain, m->listed);
	bole_alloc_free(v->alloc, m->buf, m->room, 1);
	bole_buffer_release(&m->bytes);
	bole_flash_apply_release(&m->apply);
	bole_alloc_free(v->alloc, m, 1, sizeof *m);
	return rc;
}
