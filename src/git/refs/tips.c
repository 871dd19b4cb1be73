/* SPDX-License-Identifier: ISC */
#include "git/refs/tips.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

enum { FRESH_PART = 8 }; /* of a listing, that may be gone through beside the tips */

void bole_ref_tips_release(struct bole_ref_tips *t)
{
	if (t == NULL || atomic_fetch_sub_explicit(&t->holders, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < t->count; i++)
		bole_ref_piece_release(t->alloc, t->pieces[i]);
	bole_oid_map_release(&t->ids);
	bole_alloc_free(t->alloc, t->pieces, t->count, sizeof(struct bole_ref_piece *));
	bole_alloc_free(t->alloc, t, 1, sizeof *t);
}

struct bole_ref_tips *bole_ref_tips_retain(struct bole_ref_tips *t)
{
	if (t != NULL)
		atomic_fetch_add_explicit(&t->holders, 1, memory_order_relaxed);
	return t;
}

/* -- Lines -- */

/* Calls take for each id in the lines of a piece. */
static enum bole_status each_id(struct bole_session *s, const struct bole_ref_piece *piece,
                                enum bole_status (*take)(void *ctx, const struct bole_oid *),
                                void *ctx)
{
	struct bole_bytes text = bole_ref_piece_text(piece);
	uint8_t algo = s->svc->repo.algo;
	struct bole_oid ids[2];

	for (size_t at = 0; at < text.len;) {
		size_t len = bole_ref_line_bytes(text.ptr + at);
		size_t count = bole_ref_line_ids(bole_bytes_of(text.ptr + at, len), algo, ids);

		for (size_t i = 0; i < count; i++)
			BOLE_TRY(take(ctx, &ids[i]));
		at += len;
	}
	return bole_session_yield(s);
}

/* -- Making -- */

struct adding {
	struct bole_ref_tips *tips;
	uint32_t piece;
};

static enum bole_status add(void *ctx, const struct bole_oid *oid)
{
	struct adding *a = ctx;
	uint32_t item;
	bool added;

	BOLE_TRY(bole_oid_map_put(&a->tips->ids, oid->bytes, &item, &added));
	if (added)
		memcpy(bole_oid_map_value(&a->tips->ids, item), &a->piece, sizeof a->piece);
	return BOLE_OK;
}

enum bole_status bole_ref_tips_make(struct bole_session *s, struct bole_alloc *alloc,
                                    const struct bole_ref_listing *l, struct bole_ref_tips **out)
{
	struct bole_ref_tips *t = bole_alloc_zeroed(alloc, 1, sizeof *t);
	enum bole_status rc = BOLE_OK;

	*out = NULL;
	if (t == NULL)
		return BOLE_E_NO_MEMORY;
	atomic_init(&t->holders, 1);
	t->alloc = alloc;
	bole_oid_map_init(&t->ids, s->svc->platform, alloc, s->svc->repo.algo, sizeof(uint32_t));
	t->pieces = bole_alloc_array(alloc, l->count, sizeof *t->pieces);
	if (t->pieces == NULL)
		rc = BOLE_E_NO_MEMORY;
	for (size_t i = 0; i < l->count && rc == BOLE_OK; i++) {
		struct adding adding = {t, (uint32_t)i};

		atomic_fetch_add_explicit(&l->pieces[i]->holders, 1, memory_order_relaxed);
		t->pieces[i] = l->pieces[i];
		t->count++;
		rc = each_id(s, l->pieces[i], add, &adding);
	}
	t->bytes = sizeof *t + l->bytes + bole_oid_map_bytes(&t->ids);
	if (rc == BOLE_OK) {
		*out = t;
		return BOLE_OK;
	}
	/* The array is freed by its whole length. */
	for (size_t i = t->count; i < l->count && t->pieces != NULL; i++) {
		atomic_fetch_add_explicit(&l->pieces[i]->holders, 1, memory_order_relaxed);
		t->pieces[t->count++] = l->pieces[i];
	}
	bole_ref_tips_release(t);
	return rc;
}

/* -- Beside a listing -- */

/* Both hold pieces in the order of their names, so what they share is in the same order. Calls:
 * alive for a piece of the tips that the listing has, fresh for one of the listing that they lack.
 */
struct pairing {
	const struct bole_ref_tips *tips;
	const struct bole_ref_listing *listing;
	size_t i; /* of the tips */
	size_t k; /* of the listing */
};

enum side { BOTH, TIPS_ALONE, LISTING_ALONE, NONE };

/* The next piece or two, and whose they are; i and k are behind them afterwards. */
static enum side next(struct pairing *p)
{
	bool old = p->i < p->tips->count;
	bool now = p->k < p->listing->count;

	if (old && now && p->tips->pieces[p->i] == p->listing->pieces[p->k]) {
		p->i++;
		p->k++;
		return BOTH;
	}
	if (old &&
	    (!now || bole_bytes_compare(bole_ref_piece_bound(p->tips->pieces[p->i]),
	                                bole_ref_piece_bound(p->listing->pieces[p->k])) <= 0)) {
		p->i++;
		return TIPS_ALONE;
	}
	p->k += now;
	return now ? LISTING_ALONE : NONE;
}

bool bole_ref_tips_near(const struct bole_ref_tips *tips, const struct bole_ref_listing *listing)
{
	struct pairing p = {.tips = tips, .listing = listing};
	size_t fresh = 0;

	for (enum side side = next(&p); side != NONE; side = next(&p))
		fresh += side == LISTING_ALONE;
	return fresh <= 1 + listing->count / FRESH_PART &&
	       tips->count <= 2 * listing->count + FRESH_PART;
}

struct finding {
	const struct bole_id_list *ids;
	uint8_t *found;
};

static enum bole_status note(void *ctx, const struct bole_oid *oid)
{
	struct finding *f = ctx;
	uint32_t at = bole_id_list_find(f->ids, oid);

	if (at != BOLE_OID_NONE)
		f->found[at] = 1;
	return BOLE_OK;
}

/* With the pieces of the tips that the listing has. */
static enum bole_status find(struct bole_session *s, const struct bole_ref_tips *tips,
                             const struct bole_id_list *ids, const uint8_t *alive, uint8_t *found,
                             bool *sure)
{
	*sure = true;
	for (size_t i = 0; i < ids->count; i++) {
		uint32_t item = bole_oid_map_find(&tips->ids, ids->ids[i].bytes);
		uint32_t piece;

		BOLE_TRY(bole_session_tick(s));
		if (item == BOLE_OID_NONE || found[i] != 0)
			continue;
		memcpy(&piece, bole_oid_map_value(&tips->ids, item), sizeof piece);
		if (alive[piece] != 0)
			found[i] = 1;
		else
			*sure = false; /* others may name it, too */
	}
	return BOLE_OK;
}

enum bole_status bole_ref_tips_find(struct bole_session *s, const struct bole_ref_tips *tips,
                                    const struct bole_ref_listing *listing,
                                    const struct bole_id_list *ids, uint8_t *found, bool *sure)
{
	struct bole_alloc *alloc = s->svc->alloc;
	struct pairing p = {.tips = tips, .listing = listing};
	struct finding finding = {ids, found};
	uint8_t *alive = bole_alloc_zeroed(alloc, tips->count, 1);
	enum bole_status rc = BOLE_OK;

	if (alive == NULL)
		return BOLE_E_NO_MEMORY;
	for (enum side side = next(&p); side != NONE && rc == BOLE_OK; side = next(&p)) {
		if (side == BOTH)
			alive[p.i - 1] = 1;
		else if (side == LISTING_ALONE)
			rc = each_id(s, listing->pieces[p.k - 1], note, &finding);
	}
	if (rc == BOLE_OK)
		rc = find(s, tips, ids, alive, found, sure);
	bole_alloc_free(alloc, alive, tips->count, 1);
	return rc;
}
