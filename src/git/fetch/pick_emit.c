/* SPDX-License-Identifier: ISC */
/* The entries of a pick, in the order of their positions. Where most of an extent is sent, what
 * lies together goes out together, as it is stored: only the heads of offset deltas are looked at,
 * and one is written anew when its base did not keep its distance. Elsewhere entries go one by one.
 * A base whose position comes after that of its delta is written early, before the delta: Git reads
 * bases in any order, but not every client does. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bole/store.h"
#include "git/bitmap/wholes.h"
#include "git/fetch/pack_emit_impl.h"
#include "git/fetch/send_delta.h"
#include "git/negotiate.h"

enum {
	REGIONS_FIRST = 64,
	PACK_HEAD_BYTES = 12,
	DENSE_PART = 2,  /* of an extent's entries */
	STRETCH_MIN = 4, /* entries that go out together where not most of them do */
	BASES_MAX = 64,  /* of a chain that are written early; a longer one names its base by id */
	EARLY_FIRST = 256,
};

/* From this position on (of those that are sent) an entry lies in the pack at its offset in its
 * extent plus shift; an entry of no extent at shift. */
struct region {
	uint32_t position;
	uint64_t shift;
};

/* An entry that was written before its turn. */
struct early {
	uint64_t emitted; /* 0 = an empty slot */
	uint32_t position;
};

struct waiting {
	struct bole_oid oid;
	uint32_t position;
};

struct pick_emission {
	struct emission *em;
	struct bole_pick *pick;
	struct bole_snapshot *snapshot;
	struct send_deltas *deltas; /* NULL: none are made */
	const struct bitmap_segment *segment;
	const uint32_t *offsets; /* of its entries */
	struct region *regions;
	size_t region_count;
	size_t region_cap;
	struct bole_bytes chunk; /* of the extent, borrowed */
	uint64_t chunk_at;
	uint64_t run_from; /* bytes of the extent that go out as they are, not written yet */
	uint64_t run_to;
	uint64_t alone;   /* entries that went out one by one */
	uint32_t current; /* all that is sent below this position has been written */
	struct bole_wholes_reader wholes;
	bool wholes_first;   /* without a look at how an object is stored */
	struct early *early; /* open addressing, at most half full */
	size_t early_count;
	size_t early_cap;
};

/* -- Where entries are in the pack -- */

static uint64_t own_offset(const struct pick_emission *pe, uint32_t position)
{
	const struct bole_bitmap *b = pe->pick->bitmap;

	if (position >= b->positions)
		return 0;
	const struct bitmap_segment *s =
	        pe->segment != NULL && position - pe->segment->first < pe->segment->count
	                ? pe->segment
	                : bole_bitmap_segment(b, position);
	return s->extent == 0 ? 0 : b->offsets[s->at + (position - s->first)];
}

static struct early *early_slot(struct early *slots, size_t cap, uint32_t position)
{
	size_t at = (position * UINT32_C(2654435761)) & (cap - 1);

	while (slots[at].emitted != 0 && slots[at].position != position)
		at = (at + 1) & (cap - 1);
	return &slots[at];
}

/* Where an entry was written before its turn, or 0. */
static uint64_t early_at(const struct pick_emission *pe, uint32_t position)
{
	return pe->early_count == 0 ? 0 : early_slot(pe->early, pe->early_cap, position)->emitted;
}

static enum bole_status note_early(struct pick_emission *pe, uint32_t position, uint64_t emitted)
{
	struct bole_alloc *alloc = pe->em->plan->job.alloc;

	if (pe->early_count * 2 >= pe->early_cap) {
		size_t cap = pe->early_cap == 0 ? EARLY_FIRST : pe->early_cap * 2;
		struct early *slots = bole_alloc_array(alloc, cap, sizeof *slots);

		if (slots == NULL)
			return BOLE_E_NO_MEMORY;
		memset(slots, 0, cap * sizeof *slots);
		for (size_t i = 0; i < pe->early_cap; i++)
			if (pe->early[i].emitted != 0)
				*early_slot(slots, cap, pe->early[i].position) = pe->early[i];
		bole_alloc_free(alloc, pe->early, pe->early_cap, sizeof *pe->early);
		pe->early = slots;
		pe->early_cap = cap;
	}
	*early_slot(pe->early, pe->early_cap, position) = (struct early){emitted, position};
	pe->early_count++;
	return BOLE_OK;
}

static enum bole_status note_place(struct pick_emission *pe, uint32_t position, uint64_t emitted)
{
	struct bole_alloc *alloc = pe->em->plan->job.alloc;
	uint64_t shift = emitted - own_offset(pe, position);

	if (pe->region_count > 0 && pe->regions[pe->region_count - 1].shift == shift &&
	    position < pe->pick->bitmap->positions)
		return BOLE_OK;
	if (pe->region_count == pe->region_cap) {
		size_t cap = pe->region_cap == 0 ? REGIONS_FIRST : pe->region_cap * 2;
		struct region *regions =
		        bole_alloc_resize(alloc, pe->regions, pe->region_cap, cap, sizeof *regions);
		if (regions == NULL)
			return BOLE_E_NO_MEMORY;
		pe->regions = regions;
		pe->region_cap = cap;
	}
	pe->regions[pe->region_count++] = (struct region){position, shift};
	return BOLE_OK;
}

/* Of an entry that has been written. */
static uint64_t emitted_at(const struct pick_emission *pe, uint32_t position)
{
	uint64_t early = early_at(pe, position);
	size_t low = 0;
	size_t high = pe->region_count;

	if (early != 0)
		return early;
	BOLE_ASSERT(high > 0);
	/* Bases are near. */
	for (size_t step = 1; step < high; step *= 4) {
		if (pe->regions[high - step].position <= position) {
			low = high - step;
			break;
		}
		high -= step;
	}
	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (pe->regions[mid].position <= position)
			low = mid;
		else
			high = mid;
	}
	return own_offset(pe, position) + pe->regions[low].shift;
}

static bool is_sent(const struct pick_emission *pe, uint32_t position)
{
	return position != BITMAP_NONE && bitmap_has(&pe->pick->send, position);
}

static bool is_written(const struct pick_emission *pe, uint32_t position)
{
	return position < pe->current || early_at(pe, position) != 0;
}

/* -- Bases -- */

/* The entry of the segment's extent that starts at an offset before number `from`, or BITMAP_NONE.
 */
static uint32_t row_before(const struct pick_emission *pe, uint32_t from, uint64_t offset)
{
	uint32_t low = 0;
	uint32_t high = from;

	for (uint32_t step = 8; step < high; step *= 4) {
		if (pe->offsets[high - step] <= offset) {
			low = high - step;
			break;
		}
		high -= step;
	}
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (pe->offsets[mid] < offset)
			low = mid + 1;
		else
			high = mid;
	}
	return low < from && pe->offsets[low] == offset ? low : BITMAP_NONE;
}

/* The base of a delta: its id, where it is needed, and its position or BITMAP_NONE. */
static enum bole_status base_of(struct pick_emission *pe, const struct bole_entry *entry,
                                uint32_t position, const struct bole_entry_head *head,
                                struct bole_oid *oid, uint32_t *base)
{
	const struct bitmap_segment *s = pe->segment;
	struct bole_entry unused;

	*oid = head->base;
	*base = BITMAP_NONE;
	pe->chunk.len = 0;
	if (head->type == BOLE_ENTRY_REF_DELTA)
		return bole_pick_position(pe->pick, oid, base);
	if (head->base_distance > entry->offset)
		return BOLE_E_CORRUPT;
	uint64_t offset = entry->offset - head->base_distance;

	if (s != NULL && s->extent == entry->extent && position - s->first < s->count) {
		uint32_t row = row_before(pe, position - s->first, offset);

		if (row != BITMAP_NONE) {
			*base = s->first + row;
			/* Its id is of no interest where it is not named. */
			if (is_sent(pe, *base) ? is_written(pe, *base)
			                       : !bitmap_has(&pe->pick->have, *base))
				return BOLE_OK;
		}
	}
	BOLE_TRY(bole_odb_entry_at(pe->snapshot, entry->extent, offset, oid, &unused));
	return bole_pick_position(pe->pick, oid, base);
}

/* Makes a delta's head right for this pack, where it will start at `start`. False: the receiver
 * will not have the base. */
static bool place_base(const struct pick_emission *pe, uint64_t start, const struct bole_oid *oid,
                       uint32_t base, struct bole_entry_head *head)
{
	const struct bole_reach *job = &pe->em->plan->job;

	if (is_sent(pe, base) && is_written(pe, base)) {
		head->type = BOLE_ENTRY_OFS_DELTA;
		head->base_distance = start - emitted_at(pe, base);
		return true;
	}
	if (base == BITMAP_NONE ||
	    (!is_sent(pe, base) && (!job->thin || !bitmap_has(&pe->pick->have, base))))
		return false;
	head->type = BOLE_ENTRY_REF_DELTA;
	head->base = *oid;
	return true;
}

/* -- Bytes of an extent -- */

static enum bole_status show(struct pick_emission *pe, uint64_t at)
{
	if (pe->chunk.len > 0 && at >= pe->chunk_at && at - pe->chunk_at < pe->chunk.len)
		return BOLE_OK;
	pe->chunk.len = 0;
	BOLE_TRY(bole_extent_view(pe->snapshot, pe->segment->extent, at, &pe->chunk));
	pe->chunk_at = at;
	return BOLE_OK;
}

/* Writes what waits to go out as it is. */
static enum bole_status flush_run(struct pick_emission *pe)
{
	struct emission *em = pe->em;

	while (pe->run_from < pe->run_to) {
		BOLE_TRY(show(pe, pe->run_from));
		size_t skip = (size_t)(pe->run_from - pe->chunk_at);
		uint64_t left = pe->run_to - pe->run_from;
		size_t n = pe->chunk.len - skip < left ? pe->chunk.len - skip : (size_t)left;

		bole_output_write(&em->out, pe->chunk.ptr + skip, n);
		BOLE_TRY(em->out.rc);
		BOLE_TRY(bole_reach_spend(em->plan, n / 4));
		pe->run_from += n;
	}
	return BOLE_OK;
}

/* -- One by one -- */

/* An entry that is about to be written. */
struct coming {
	struct bole_entry entry;
	struct bole_entry_head head;
	struct bole_bytes all;  /* borrowed, or empty */
	struct bole_oid base;   /* of a delta */
	uint32_t base_position; /* BITMAP_NONE: it is no delta, or of something that nobody knows */
};

static enum bole_status look(struct pick_emission *pe, uint32_t position, struct coming *c)
{
	c->base_position = BITMAP_NONE;
	pe->chunk.len = 0;
	BOLE_TRY(bole_emit_read_head(pe->em, &c->entry, &c->head, &c->all));
	if (c->head.type != BOLE_ENTRY_OFS_DELTA && c->head.type != BOLE_ENTRY_REF_DELTA)
		return BOLE_OK;
	c->all.len = 0; /* finding the base ends what is borrowed */
	return base_of(pe, &c->entry, position, &c->head, &c->base, &c->base_position);
}

/* A delta without its base: somebody may have made it whole before. */
static enum bole_status emit_whole(struct pick_emission *pe, struct coming *c, uint32_t position)
{
	struct bole_wholes *keep = pe->em->plan->job.keep;
	struct bole_bytes content;
	struct bole_bytes entry;
	struct bole_oid oid;

	if (bole_wholes_find(&pe->wholes, position, &entry)) {
		if (keep != NULL)
			BOLE_TRY(bole_wholes_keep(keep, position, entry));
		bole_output_write(&pe->em->out, entry.ptr, entry.len);
		return pe->em->out.rc;
	}
	if (c->entry.type == 0)
		BOLE_TRY(bole_odb_entry_at(pe->snapshot, c->entry.extent, c->entry.offset, &oid,
		                           &c->entry));
	if (keep != NULL && !bole_wholes_has(keep, position)) {
		BOLE_TRY(bole_object_read_entry(pe->em->reader, &c->entry, &content));
		BOLE_TRY(bole_wholes_make(keep, position, c->entry.type, content));
	}
	return bole_emit_whole(pe->em, &c->entry);
}

/* As a delta that is made for this request, if that is worth it. */
static enum bole_status emit_made(struct pick_emission *pe, struct coming *c, uint32_t position,
                                  uint64_t bytes, bool *done)
{
	struct bole_output *out = &pe->em->out;
	struct send_delta made;

	*done = false;
	if (!bole_send_delta_pays(pe->deltas, position, bytes))
		return BOLE_OK;
	c->all.len = 0;
	pe->chunk.len = 0;
	if (c->entry.type == 0)
		BOLE_TRY(bole_odb_entry_at(pe->snapshot, c->entry.extent, c->entry.offset,
		                           &made.oid, &c->entry));
	BOLE_TRY(bole_send_delta(pe->deltas, &c->entry, position, bytes, &made));
	if (made.deflated.len == 0)
		return BOLE_OK;
	struct bole_entry_head head = {
	        .type = BOLE_ENTRY_REF_DELTA, .inflated_bytes = made.len, .base = made.oid};
	bole_emit_head(pe->em, &head);
	bole_output_write(out, made.deflated.ptr, made.deflated.len);
	*done = true;
	return out->rc;
}

static enum bole_status emit_coming(struct pick_emission *pe, struct coming *c, uint32_t position)
{
	struct emission *em = pe->em;
	size_t skip = 0;
	bool done;

	if (c->head.type == BOLE_ENTRY_OFS_DELTA || c->head.type == BOLE_ENTRY_REF_DELTA) {
		skip = c->head.head_bytes;
		if (!place_base(pe, em->out.written, &c->base, c->base_position, &c->head)) {
			BOLE_TRY(emit_made(pe, c, position, 0, &done));
			return done ? BOLE_OK : emit_whole(pe, c, position);
		}
		bole_emit_head(em, &c->head);
	} else {
		BOLE_TRY(emit_made(pe, c, position, c->entry.stored_bytes, &done));
		if (done)
			return BOLE_OK;
	}
	if (c->all.len != 0) {
		bole_output_write(&em->out, c->all.ptr + skip, c->all.len - skip);
		BOLE_TRY(bole_reach_spend(em->plan, c->all.len / 4));
	} else {
		BOLE_TRY(bole_emit_rest(em, &c->entry, skip));
	}
	return em->out.rc;
}

static bool is_early(const struct pick_emission *pe, const struct coming *c)
{
	return is_sent(pe, c->base_position) && !is_written(pe, c->base_position);
}

/* Writes the base of a delta, and before it what that is a delta of, and so on. */
static enum bole_status write_early(struct pick_emission *pe, const struct coming *delta)
{
	struct waiting chain[BASES_MAX];
	struct coming c = *delta;
	size_t n = 0;

	do {
		chain[n++] = (struct waiting){c.base, c.base_position};
		BOLE_TRY(bole_odb_find(pe->snapshot, &c.base, &c.entry));
		BOLE_TRY(look(pe, c.base_position, &c));
	} while (n < BASES_MAX && is_early(pe, &c));
	while (n-- > 0) {
		uint64_t start = pe->em->out.written;

		if (is_written(pe, chain[n].position))
			continue;
		BOLE_TRY(bole_odb_find(pe->snapshot, &chain[n].oid, &c.entry));
		BOLE_TRY(look(pe, chain[n].position, &c));
		BOLE_TRY(emit_coming(pe, &c, chain[n].position));
		BOLE_TRY(note_early(pe, chain[n].position, start));
	}
	return BOLE_OK;
}

static enum bole_status emit_entry(struct pick_emission *pe, const struct bole_entry *entry,
                                   uint32_t position)
{
	struct coming c = {.entry = *entry};

	pe->alone++;
	if (pe->wholes_first) {
		uint64_t start = pe->em->out.written;
		struct bole_bytes whole;

		pe->chunk.len = 0;
		if (bole_wholes_find(&pe->wholes, position, &whole)) {
			bole_output_write(&pe->em->out, whole.ptr, whole.len);
			BOLE_TRY(note_place(pe, position, start));
			return bole_reach_spend(pe->em->plan, whole.len / 4);
		}
	}
	BOLE_TRY(look(pe, position, &c));
	if (is_early(pe, &c))
		BOLE_TRY(write_early(pe, &c));
	/* Only a chain that closes into a ring leads to itself. */
	if (early_at(pe, position) != 0)
		return BOLE_E_CORRUPT;
	uint64_t start = pe->em->out.written;

	BOLE_TRY(emit_coming(pe, &c, position));
	return note_place(pe, position, start);
}

static uint64_t end_of(const struct pick_emission *pe, uint32_t row)
{
	return row + 1 < pe->segment->count ? pe->offsets[row + 1] : pe->segment->end_low;
}

/* An entry of an extent by itself; where it was collected, the object is somewhere else. */
static enum bole_status emit_row(struct pick_emission *pe, uint32_t row)
{
	uint32_t position = pe->segment->first + row;
	struct bole_entry entry = {
	        .extent = pe->segment->extent,
	        .offset = pe->offsets[row],
	        .stored_bytes = end_of(pe, row) - pe->offsets[row],
	};
	enum bole_status rc = flush_run(pe);
	struct bole_oid oid;

	if (rc != BOLE_OK)
		return rc == BOLE_E_NOT_FOUND ? BOLE_E_CORRUPT : rc; /* a part of it is out */
	uint64_t start = pe->em->out.written;

	rc = emit_entry(pe, &entry, position);

	if (rc != BOLE_E_NOT_FOUND)
		return rc;
	if (pe->em->out.written != start)
		return BOLE_E_CORRUPT; /* a part of it is out */
	BOLE_TRY(bole_odb_entry_at(pe->snapshot, pe->segment->extent, pe->offsets[row], &oid,
	                           &entry));
	BOLE_TRY(bole_odb_find(pe->snapshot, &oid, &entry));
	return emit_entry(pe, &entry, position);
}

static enum bole_status emit_id(struct pick_emission *pe, const struct bole_oid *oid,
                                uint32_t position)
{
	struct bole_entry entry;

	BOLE_TRY(bole_odb_find(pe->snapshot, oid, &entry));
	return emit_entry(pe, &entry, position);
}

/* -- Together -- */

/* The first bytes of an entry, from the chunk or, where it ends, by themselves. */
static enum bole_status row_head(struct pick_emission *pe, const struct bole_entry *entry,
                                 struct bole_entry_head *head)
{
	size_t need = entry->stored_bytes < BOLE_ENTRY_HEAD_MAX ? (size_t)entry->stored_bytes
	                                                        : BOLE_ENTRY_HEAD_MAX;
	struct bole_bytes all;

	if (pe->chunk.len == 0 || entry->offset < pe->chunk_at ||
	    entry->offset - pe->chunk_at >= pe->chunk.len) {
		BOLE_TRY(flush_run(pe));
		BOLE_TRY(show(pe, entry->offset));
	}
	const uint8_t *p = pe->chunk.ptr + (entry->offset - pe->chunk_at);
	size_t room = pe->chunk.len - (size_t)(entry->offset - pe->chunk_at);

	/* Most entries are no deltas, or their heads are whole. */
	head->type = p[0] >> 4 & 7;
	if (head->type != BOLE_ENTRY_OFS_DELTA && head->type != BOLE_ENTRY_REF_DELTA)
		return BOLE_OK;
	if (room >= need)
		return bole_entry_head_parse(bole_bytes_of(p, need), pe->em->plan->algo, head) ==
		                       BOLE_OK
		               ? BOLE_OK
		               : BOLE_E_CORRUPT;
	BOLE_TRY(flush_run(pe));
	pe->chunk.len = 0;
	return bole_emit_read_head(pe->em, entry, head, &all);
}

static enum bole_status extend_run(struct pick_emission *pe, const struct bole_entry *entry,
                                   uint32_t position, uint64_t start)
{
	if (pe->run_from == pe->run_to || pe->run_to != entry->offset) {
		BOLE_TRY(flush_run(pe));
		pe->run_from = entry->offset;
	}
	pe->run_to = entry->offset + entry->stored_bytes;
	return note_place(pe, position, start);
}

static enum bole_status emit_in_run(struct pick_emission *pe, uint32_t row)
{
	uint32_t position = pe->segment->first + row;
	struct bole_entry entry = {
	        .extent = pe->segment->extent,
	        .offset = pe->offsets[row],
	        .stored_bytes = end_of(pe, row) - pe->offsets[row],
	};
	struct bole_entry_head head;

	BOLE_TRY(row_head(pe, &entry, &head));
	uint64_t start = pe->em->out.written + (pe->run_to - pe->run_from);

	if (head.type == BOLE_ENTRY_OFS_DELTA && head.base_distance <= entry.offset) {
		uint32_t base = row_before(pe, row, entry.offset - head.base_distance);

		if (base != BITMAP_NONE && is_sent(pe, pe->segment->first + base) &&
		    emitted_at(pe, pe->segment->first + base) == start - head.base_distance)
			return extend_run(pe, &entry, position, start);
	} else if (head.type != BOLE_ENTRY_REF_DELTA &&
	           !bole_send_delta_pays(pe->deltas, position, entry.stored_bytes)) {
		return extend_run(pe, &entry, position, start);
	}
	BOLE_TRY(flush_run(pe));
	return emit_entry(pe, &entry, position);
}

/* -- Segments -- */

/* All of an extent of which it is known that nothing needs to change. */
static enum bole_status emit_verbatim(struct pick_emission *pe)
{
	const struct bitmap_segment *s = pe->segment;

	BOLE_TRY(note_place(pe, s->first, pe->em->out.written));
	pe->run_from = pe->offsets[0];
	pe->run_to = s->end_low;
	pe->em->plan->done += s->count;
	enum bole_status rc = flush_run(pe);
	pe->chunk.len = 0;
	return rc == BOLE_E_NOT_FOUND ? BOLE_E_CORRUPT : rc; /* a part of it is out */
}

/* The entry follows what waits to go out, or begins a stretch without gaps. */
static bool goes_on(const struct pick_emission *pe, uint32_t at, uint32_t end)
{
	const struct bitmap_bits *send = &pe->pick->send;
	uint32_t n = 0;

	if (pe->run_from != pe->run_to && pe->run_to == pe->offsets[at - pe->segment->first])
		return true;
	while (n < STRETCH_MIN && at + n < end && bitmap_has(send, at + n))
		n++;
	return n == STRETCH_MIN;
}

static enum bole_status emit_extent(struct pick_emission *pe)
{
	const struct bitmap_segment *s = pe->segment;
	const struct bitmap_bits *send = &pe->pick->send;
	uint32_t end = s->first + s->count;
	uint32_t count = bitmap_count(send, s->first, end);
	bool dense = count >= s->count / DENSE_PART;
	bool whole = true;
	uint64_t alone = pe->alone;
	enum bole_status rc = BOLE_OK;

	if (count == s->count && pe->early_count == 0 &&
	    atomic_load(&pe->pick->bitmap->verbatim) == s->extent)
		return emit_verbatim(pe);
	for (uint32_t at = bitmap_next(send, s->first, end, true); at < end && rc == BOLE_OK;
	     at = bitmap_next(send, at + 1, end, true)) {
		pe->em->plan->done++;
		pe->current = at;
		if (early_at(pe, at) != 0) {
			pe->alone++;
			continue;
		}
		bool together = whole && (dense || goes_on(pe, at, end));
		rc = together ? emit_in_run(pe, at - s->first) : emit_row(pe, at - s->first);
		if (rc != BOLE_E_NOT_FOUND || !together)
			continue;
		/* A part of the extent was collected: what waits is there, the rest one by one. */
		whole = false;
		if (pe->run_from != pe->run_to)
			return BOLE_E_CORRUPT;
		rc = emit_row(pe, at - s->first);
	}
	if (rc == BOLE_OK)
		rc = flush_run(pe);
	pe->chunk.len = 0;
	/* One is remembered: that of the first, large pack. */
	if (rc == BOLE_OK && count == s->count && pe->alone == alone &&
	    atomic_load(&pe->pick->bitmap->verbatim) == 0)
		atomic_store(&pe->pick->bitmap->verbatim, s->extent);
	return rc;
}

static enum bole_status emit_ids(struct pick_emission *pe)
{
	const struct bole_bitmap *b = pe->pick->bitmap;
	const struct bitmap_segment *s = pe->segment;
	const struct bitmap_bits *send = &pe->pick->send;
	uint32_t end = s->first + s->count;
	struct bole_oid oid;

	for (uint32_t at = bitmap_next(send, s->first, end, true); at < end;
	     at = bitmap_next(send, at + 1, end, true)) {
		pe->em->plan->done++;
		pe->current = at;
		if (early_at(pe, at) != 0)
			continue;
		bole_oid_from_raw(b->ids.ptr + (size_t)(s->at + (at - s->first)) * b->key_bytes,
		                  b->algo, &oid);
		BOLE_TRY(emit_id(pe, &oid, at));
	}
	return BOLE_OK;
}

static enum bole_status emit_all(struct pick_emission *pe)
{
	const struct bole_bitmap *b = pe->pick->bitmap;
	const struct bitmap_walk *walk = &pe->pick->walk;
	struct bole_oid oid;

	for (uint32_t i = 0; i < b->segment_count; i++) {
		pe->segment = &b->segments[i];
		pe->offsets = pe->segment->extent != 0 ? b->offsets + pe->segment->at : NULL;
		pe->run_from = pe->run_to = 0;
		BOLE_TRY(pe->segment->extent != 0 ? emit_extent(pe) : emit_ids(pe));
	}
	pe->segment = NULL;
	for (size_t i = 0; i < walk->extra_count; i++) {
		uint32_t position = b->positions + (uint32_t)i;

		if (!is_sent(pe, position))
			continue;
		pe->em->plan->done++;
		pe->current = position;
		if (early_at(pe, position) != 0)
			continue;
		bole_oid_from_raw(bole_oid_map_key(&walk->met, walk->extra[i]), b->algo, &oid);
		BOLE_TRY(emit_id(pe, &oid, position));
	}
	return BOLE_OK;
}

uint64_t bole_emit_pick_extent(const struct bole_pick *pick)
{
	const struct bole_bitmap *b = pick->bitmap;
	uint64_t extent = atomic_load(&b->verbatim);

	if (extent == 0)
		return 0;
	for (uint32_t i = 0; i < b->segment_count; i++) {
		const struct bitmap_segment *s = &b->segments[i];

		if (s->extent != extent)
			continue;
		bool whole = pick->count == s->count && b->offsets[s->at] == PACK_HEAD_BYTES &&
		             bitmap_count(&pick->send, s->first, s->first + s->count) == s->count;
		return whole ? extent : 0;
	}
	return 0;
}

enum bole_status bole_emit_pick(struct emission *em, struct bole_pick *pick)
{
	struct pick_emission pe = {.em = em, .pick = pick, .snapshot = pick->walk.snapshot};

	em->reader = pick->walk.reader;
	pe.wholes_first = em->plan->job.grafts != NULL && em->plan->job.grafts->count > 0 &&
	                  em->plan->job.have_count == 0 && em->plan->job.keep == NULL;
	BOLE_TRY(bole_send_deltas_open(em, pick, &pe.deltas));
	bole_wholes_reader_init(&pe.wholes, pick->bitmap, pe.snapshot, em->plan->job.alloc);
	enum bole_status rc = emit_all(&pe);
	bole_wholes_reader_close(&pe.wholes);
	bole_send_deltas_close(pe.deltas);
	bole_alloc_free(em->plan->job.alloc, pe.regions, pe.region_cap, sizeof *pe.regions);
	bole_alloc_free(em->plan->job.alloc, pe.early, pe.early_cap, sizeof *pe.early);
	return rc;
}
