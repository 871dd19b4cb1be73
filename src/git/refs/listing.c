/* SPDX-License-Identifier: ISC */
#include "git/refs/listing.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

enum {
	PIECES_FIRST = 16,
	/* A listing in more pieces than so many times what they would fill is made anew. */
	RAGGED_FACTOR = 4,
	RAGGED_MIN = 64,
};

/* -- Pieces -- */

static size_t piece_bytes(const struct bole_ref_piece *piece)
{
	return sizeof *piece + piece->bound_bytes + piece->text_bytes;
}

void bole_ref_piece_release(struct bole_alloc *alloc, struct bole_ref_piece *piece)
{
	if (atomic_fetch_sub_explicit(&piece->holders, 1, memory_order_acq_rel) == 1)
		bole_alloc_free(alloc, piece, piece_bytes(piece), 1);
}

void bole_ref_listing_release(struct bole_ref_listing *l)
{
	if (l == NULL || atomic_fetch_sub_explicit(&l->holders, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < l->count; i++)
		bole_ref_piece_release(l->alloc, l->pieces[i]);
	l->store->refs->version_release(l->store, l->version);
	bole_alloc_free(l->alloc, l->pieces, l->cap, sizeof *l->pieces);
	bole_alloc_free(l->alloc, l, 1, sizeof *l);
}

/* -- Making -- */

struct maker {
	struct bole_session *s;
	const struct bole_ref_format *format;
	struct bole_ref_listing *out;
	size_t bytes_max;
	struct bole_buffer text; /* of the piece in the making */
	uint32_t lines;
	bool symbolic;
	uint32_t bound_bytes;
	uint8_t bound[BOLE_REF_NAME_MAX];
};

/* The piece belongs to the listing, or is gone. */
static enum bole_status add_piece(struct maker *m, struct bole_ref_piece *piece)
{
	struct bole_ref_listing *l = m->out;
	enum bole_status rc = BOLE_OK;

	if (l->count == l->cap) {
		size_t cap = l->cap == 0 ? PIECES_FIRST : 2 * l->cap;
		struct bole_ref_piece **grown =
		        bole_alloc_resize(l->alloc, l->pieces, l->cap, cap, sizeof *grown);
		if (grown != NULL) {
			l->bytes += (cap - l->cap) * sizeof *grown;
			l->pieces = grown;
			l->cap = cap;
		} else {
			rc = BOLE_E_NO_MEMORY;
		}
	}
	if (rc == BOLE_OK &&
	    (l->bytes > m->bytes_max || piece_bytes(piece) > m->bytes_max - l->bytes))
		rc = BOLE_E_LIMIT;
	if (rc != BOLE_OK) {
		bole_ref_piece_release(l->alloc, piece);
		return rc;
	}
	l->bytes += piece_bytes(piece);
	l->pieces[l->count++] = piece;
	return BOLE_OK;
}

static enum bole_status end_piece(struct maker *m)
{
	size_t bytes = sizeof(struct bole_ref_piece) + m->bound_bytes + m->text.len;

	if (m->lines == 0)
		return BOLE_OK;
	struct bole_ref_piece *piece = bole_alloc_array(m->out->alloc, bytes, 1);
	if (piece == NULL)
		return BOLE_E_NO_MEMORY;
	*piece = (struct bole_ref_piece){.bound_bytes = m->bound_bytes,
	                                 .text_bytes = (uint32_t)m->text.len,
	                                 .symbolic = m->symbolic};
	atomic_init(&piece->holders, 1);
	memcpy(piece->bytes, m->bound, m->bound_bytes);
	if (m->text.len > 0)
		memcpy(piece->bytes + m->bound_bytes, m->text.ptr, m->text.len);
	m->lines = 0;
	m->text.len = 0;
	m->symbolic = false;
	return add_piece(m, piece);
}

static enum bole_status add_ref(struct maker *m, const struct bole_ref *ref)
{
	size_t len = 0;

	if (m->lines == BOLE_REF_PIECE_LINES || m->text.len >= BOLE_REF_PIECE_BYTES)
		BOLE_TRY(end_piece(m));
	uint8_t *end = bole_buffer_reserve(&m->text, BOLE_REF_LINES_BYTES);
	if (end == NULL)
		return m->text.rc;
	BOLE_TRY(bole_ref_lines(m->s, m->format, ref, end, &len));
	if (m->lines == 0 && m->text.len == 0) {
		m->bound_bytes = (uint32_t)ref->name.len;
		memcpy(m->bound, ref->name.ptr, ref->name.len);
	}
	/* A symbolic reference that leads nowhere now has its piece, too: it may lead somewhere. */
	m->symbolic |= ref->symbolic;
	m->lines++;
	m->text.len += len;
	return BOLE_OK;
}

/* References from `from` on, and below `until` unless that is empty. */
static enum bole_status add_range(struct maker *m, struct bole_bytes from, struct bole_bytes until)
{
	struct bole_session *s = m->s;
	struct bole_bytes all = bole_bytes_of("", 0);
	struct bole_ref ref;
	enum bole_status rc = BOLE_E_NOT_FOUND;

	if (from.len > 0)
		rc = bole_ref_view_get(&s->refs, s->snapshot, from, &ref);
	if (rc == BOLE_E_NOT_FOUND)
		rc = bole_ref_view_next(&s->refs, s->snapshot, all, from, &ref);
	while (rc == BOLE_OK && (until.len == 0 || bole_bytes_compare(ref.name, until) < 0)) {
		BOLE_TRY(add_ref(m, &ref));
		BOLE_TRY(bole_session_tick(s));
		rc = bole_ref_view_next(&s->refs, s->snapshot, all, ref.name, &ref);
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

/* -- From one version to another -- */

/* The next name that changed; false: there is none. Those outside of the namespace show through
 * symbolic references at most, which `any` stands for. */
static bool next_change(struct maker *m, const struct bole_ref_listing *old,
                        struct bole_ref_cursor *cursor, struct bole_bytes *name, bool *any)
{
	const char *space = m->s->refs.space == NULL ? "" : m->s->refs.space;
	struct bole_bytes inside = bole_bytes_z(space);

	while (m->out->store->refs->version_next(m->s->snapshot, old->version, cursor, name) ==
	       BOLE_OK) {
		*any = true;
		if (!bole_bytes_start(*name, inside))
			continue;
		*name = bole_bytes_of(name->ptr + inside.len, name->len - inside.len);
		return true;
	}
	return false;
}

static enum bole_status patch(struct maker *m, const struct bole_ref_listing *old)
{
	struct bole_bytes none = bole_bytes_of("", 0);
	struct bole_ref_cursor cursor = {.opaque = {0}};
	struct bole_bytes name = none;
	bool any = false;
	bool more = next_change(m, old, &cursor, &name, &any);

	for (size_t i = 0; i < old->count; i++) {
		struct bole_ref_piece *piece = old->pieces[i];
		bool last = i + 1 == old->count;
		struct bole_bytes until = last ? none : bole_ref_piece_bound(old->pieces[i + 1]);
		bool dirty = piece->symbolic && any;

		while (more && (last || bole_bytes_compare(name, until) < 0)) {
			dirty = true;
			more = next_change(m, old, &cursor, &name, &any);
		}
		if (dirty) {
			BOLE_TRY(add_range(m, i == 0 ? none : bole_ref_piece_bound(piece), until));
			continue;
		}
		BOLE_TRY(end_piece(m));
		atomic_fetch_add_explicit(&piece->holders, 1, memory_order_relaxed);
		BOLE_TRY(add_piece(m, piece));
	}
	return end_piece(m);
}

/* Much was removed: a few lines a piece. */
static bool ragged(const struct bole_ref_listing *l)
{
	return l->count > RAGGED_MIN &&
	       l->bytes / l->count < BOLE_REF_PIECE_BYTES / RAGGED_FACTOR / RAGGED_FACTOR;
}

static enum bole_status make(struct maker *m, const struct bole_ref_listing *old)
{
	struct bole_bytes none = bole_bytes_of("", 0);

	if (old != NULL && old->count > 0 && !ragged(old))
		return patch(m, old);
	BOLE_TRY(add_range(m, none, none));
	return end_piece(m);
}

enum bole_status bole_ref_listing_make(struct bole_session *s, const struct bole_ref_format *format,
                                       struct bole_alloc *alloc, size_t bytes_max,
                                       const struct bole_ref_listing *old,
                                       struct bole_ref_listing **out)
{
	struct bole_ref_listing *l = bole_alloc_zeroed(alloc, 1, sizeof *l);
	struct maker *m = bole_alloc_array(s->svc->alloc, 1, sizeof *m);
	enum bole_status rc = BOLE_E_NO_MEMORY;

	*out = NULL;
	if (l != NULL && m != NULL) {
		atomic_init(&l->holders, 1);
		l->alloc = alloc;
		l->store = s->svc->store;
		l->version = l->store->refs->version_hold(s->snapshot);
		l->bytes = sizeof *l;
		memset(m, 0, offsetof(struct maker, bound));
		m->s = s;
		m->format = format;
		m->out = l;
		m->bytes_max = bytes_max;
		bole_buffer_init(&m->text, s->svc->alloc, 2 * BOLE_REF_PIECE_BYTES);
		s->unpeeled = false;
		rc = make(m, old);
		l->vague = s->unpeeled;
		bole_buffer_release(&m->text);
	}
	bole_alloc_free(s->svc->alloc, m, 1, sizeof *m);
	if (rc == BOLE_OK) {
		*out = l;
		return BOLE_OK;
	}
	if (l != NULL && l->store == NULL)
		bole_alloc_free(alloc, l, 1, sizeof *l);
	else
		bole_ref_listing_release(l);
	return rc;
}

/* -- Reading -- */

void bole_ref_listing_seek(const struct bole_ref_listing *l, struct bole_bytes name, size_t *piece,
                           size_t *at)
{
	size_t low = 0;
	size_t high = l->count;

	/* The last piece whose bound is not above the name, or the first. */
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		if (bole_bytes_compare(bole_ref_piece_bound(l->pieces[middle]), name) <= 0)
			low = middle;
		else
			high = middle;
	}
	*piece = low;
	*at = 0;
	if (name.len == 0 || l->count == 0)
		return;
	struct bole_bytes text = bole_ref_piece_text(l->pieces[low]);
	while (*at < text.len) {
		struct bole_bytes line = bole_bytes_of(text.ptr + *at, text.len - *at);
		if (bole_bytes_compare(bole_ref_line_name(line), name) >= 0)
			return;
		*at += bole_ref_line_bytes(line.ptr);
	}
	*piece = low + 1;
	*at = 0;
}
