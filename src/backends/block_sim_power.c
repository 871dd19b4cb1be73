/* SPDX-License-Identifier: ISC */
/* Power cuts of a simulated device. A write that a cut may undo is held as the pages before and
 * after it, which are shared with the content and so cost nothing until they are written again. At
 * a cut everything held goes back to what was, then each write comes by its own luck. */
#include <string.h>

#include "backends/block_sim.h"
#include "base/check.h"
#include "base/memory.h"

enum { FIRST_HELD = 16, GARBAGE_IN = 4, SUBSET_MAX = 64 };

/* -- Held writes -- */

static void drop_refs(struct sim_block *s, struct sim_held *h)
{
	const struct sim_image *image = &s->image;

	for (size_t i = 0; i < 2 * h->count; i++)
		bole_sim_page_unref(h->old[i], image->page_bytes, image->unit);
	bole_alloc_free(s->alloc, h->old, 2 * h->count, sizeof(struct sim_page *));
}

static bool make_room(struct sim_block *s)
{
	if (s->helds < s->helds_cap)
		return true;
	size_t cap = s->helds_cap == 0 ? FIRST_HELD : s->helds_cap * 2;
	void *list = bole_alloc_resize(s->alloc, s->held, s->helds_cap, cap, sizeof *s->held);
	if (list == NULL)
		return false;
	s->held = list;
	s->helds_cap = cap;
	return true;
}

bool bole_sim_hold(struct sim_block *s, enum bole_block_sim_kind kind, uint64_t off, uint64_t len)
{
	uint32_t page = s->image.page_bytes;
	struct sim_held h = {.kind = kind, .off = off, .len = len, .first = off / page};

	h.count = (size_t)((off + len - 1) / page - h.first + 1);
	if (!make_room(s))
		return false;
	h.old = bole_alloc_zeroed(s->alloc, 2 * h.count, sizeof(struct sim_page *));
	if (h.old == NULL)
		return false;
	h.new = h.old + h.count;
	for (size_t i = 0; i < h.count; i++) {
		h.old[i] = bole_sim_page(&s->image, h.first + i);
		bole_sim_page_ref(h.old[i]);
	}
	s->held[s->helds++] = h;
	return true;
}

void bole_sim_held_done(struct sim_block *s)
{
	struct sim_held *h = &s->held[s->helds - 1];

	for (size_t i = 0; i < h->count; i++) {
		h->new[i] = bole_sim_page(&s->image, h->first + i);
		bole_sim_page_ref(h->new[i]);
	}
}

void bole_sim_held_drop(struct sim_block *s)
{
	drop_refs(s, &s->held[--s->helds]);
}

void bole_sim_forget_held(struct sim_block *s)
{
	while (s->helds != 0)
		bole_sim_held_drop(s);
}

bool bole_sim_copy_held(struct sim_block *to, const struct sim_block *from)
{
	for (size_t i = 0; i < from->helds; i++) {
		struct sim_held h = from->held[i];
		if (!make_room(to))
			return false;
		h.old = bole_alloc_array(to->alloc, 2 * h.count, sizeof(struct sim_page *));
		if (h.old == NULL)
			return false;
		memcpy(h.old, from->held[i].old, 2 * h.count * sizeof(struct sim_page *));
		h.new = h.old + h.count;
		for (size_t k = 0; k < 2 * h.count; k++)
			bole_sim_page_ref(h.old[k]);
		to->held[to->helds++] = h;
	}
	return true;
}

/* -- A range of one page on its way from old to new -- */

/* Part of a write that lies in one page. */
struct part {
	struct sim_page *page;      /* as it is: old */
	const struct sim_page *new; /* NULL = blank */
	uint64_t at;                /* of the page, on the device */
	size_t lo;
	size_t hi;
};

typedef void change(struct sim_block *, const struct part *);

static bool is_raw(const struct sim_block *s)
{
	return s->image.block_bytes != 0;
}

static uint8_t new_byte(const struct sim_block *s, const struct part *p, size_t i)
{
	return p->new == NULL ? s->image.blank : p->new->bytes[i];
}

static void set_states(struct sim_block *s, const struct part *p, enum sim_state state)
{
	uint32_t unit = s->image.unit;

	for (size_t u = p->lo / unit; u < (p->hi + unit - 1) / unit; u++)
		p->page->state[u] = (uint8_t)state;
	if (state >= SIM_UNSTABLE_PROGRAM)
		p->page->odd = true;
}

static void take_new(struct sim_block *s, const struct part *p)
{
	uint32_t unit = s->image.unit;

	for (size_t i = p->lo; i < p->hi; i++)
		p->page->bytes[i] = new_byte(s, p, i);
	for (size_t u = p->lo / unit; u < (p->hi + unit - 1) / unit; u++)
		p->page->state[u] = p->new == NULL ? SIM_ERASED : p->new->state[u];
	if (p->new != NULL && p->new->odd)
		p->page->odd = true;
	if (p->page->rot != NULL && (p->new == NULL || p->new->rot == NULL))
		memset(p->page->rot + p->lo, 0, p->hi - p->lo);
}

/* Raw cells that a cut was at are to be erased first, whatever they hold. */
static void take_nothing(struct sim_block *s, const struct part *p)
{
	uint32_t unit = s->image.unit;

	for (size_t u = p->lo / unit; is_raw(s) && u < (p->hi + unit - 1) / unit; u++)
		if (p->page->state[u] < SIM_INTERRUPTED)
			p->page->state[u] = SIM_INTERRUPTED;
}

static void mark_changed(struct sim_block *s, const struct part *p)
{
	set_states(s, p, is_raw(s) ? SIM_INTERRUPTED : SIM_PROGRAMMED);
}

static void take_bits(struct sim_block *s, const struct part *p)
{
	uint64_t r = 0;

	for (size_t i = p->lo; i < p->hi; i++) {
		r = (i - p->lo) % 8 == 0 ? bole_sim_draw(s) : r >> 8;
		p->page->bytes[i] ^= (uint8_t)((p->page->bytes[i] ^ new_byte(s, p, i)) & r);
	}
	mark_changed(s, p);
}

static void take_garbage(struct sim_block *s, const struct part *p)
{
	uint64_t r = 0;

	for (size_t i = p->lo; i < p->hi; i++) {
		r = (i - p->lo) % 8 == 0 ? bole_sim_draw(s) : r >> 8;
		p->page->bytes[i] = (uint8_t)r;
	}
	mark_changed(s, p);
}

/* Old, new or garbage by pieces of 512 bytes. */
static void take_sectors(struct sim_block *s, const struct part *p)
{
	size_t sector = s->image.unit < SIM_CODEWORD ? s->image.unit : SIM_CODEWORD;

	for (size_t lo = p->lo; lo < p->hi; lo += sector) {
		struct part q = *p;
		q.lo = lo;
		q.hi = lo + sector < p->hi ? lo + sector : p->hi;
		if (bole_sim_draw(s) % GARBAGE_IN == 0)
			take_garbage(s, &q);
		else if (bole_sim_draw(s) % 2 == 0)
			take_new(s, &q);
	}
	mark_changed(s, p);
}

/* The bytes of a unit that is unstable are those that it hovers about. */
static void leave_programming(struct sim_block *s, const struct part *p)
{
	if (p->new != NULL) /* of an erase that hardly began the old bytes */
		for (size_t i = p->lo; i < p->hi; i++)
			p->page->bytes[i] = p->new->bytes[i];
	set_states(s, p, SIM_UNSTABLE_PROGRAM);
}

static void leave_erasing(struct sim_block *s, const struct part *p)
{
	if (p->new != NULL && is_raw(s))
		for (size_t i = p->lo; i < p->hi; i++)
			p->page->bytes[i] = p->new->bytes[i];
	set_states(s, p, SIM_UNSTABLE_ERASE);
}

/* By whole units, each with even odds: the luck of a write that was in the cache. */
static void take_some_units(struct sim_block *s, const struct part *p)
{
	uint32_t unit = s->image.unit;

	for (size_t lo = p->lo; lo < p->hi; lo += unit) {
		struct part q = *p;
		q.lo = lo;
		q.hi = lo + unit;
		if (bole_sim_draw(s) % 2 == 0)
			take_new(s, &q);
	}
}

static void take_some_torn(struct sim_block *s, const struct part *p)
{
	uint32_t unit = s->image.unit;

	for (size_t lo = p->lo; lo < p->hi; lo += unit) {
		struct part q = *p;
		q.lo = lo;
		q.hi = lo + unit;
		if (bole_sim_draw(s) % GARBAGE_IN == 0)
			take_garbage(s, &q);
		else if (bole_sim_draw(s) % 2 == 0)
			take_new(s, &q);
	}
	take_nothing(s, p);
}

/* Applies a change to what lies in [from, to) of a held write. */
static void each_part(struct sim_block *s, const struct sim_held *h, uint64_t from, uint64_t to,
                      change *fn)
{
	uint32_t bytes = s->image.page_bytes;

	for (size_t i = 0; i < h->count; i++) {
		uint64_t at = (h->first + i) * bytes;
		if (at + bytes <= from || at >= to)
			continue;
		struct part p = {.new = h->new[i],
		                 .at = at,
		                 .lo = from > at ? (size_t)(from - at) : 0,
		                 .hi = to < at + bytes ? (size_t)(to - at) : bytes};
		if (fn == take_new && p.lo == 0 && p.hi == bytes) {
			bole_sim_page_ref(h->new[i]);
			BOLE_ASSERT(bole_sim_page_set(&s->image, h->first + i, h->new[i]));
			continue;
		}
		p.page = bole_sim_page_own(&s->image, h->first + i);
		BOLE_ASSERT(p.page != NULL);
		fn(s, &p);
	}
}

/* -- One write at a cut -- */

/* What else lies in the damage unit around an interrupted write. */
static void spoil(struct sim_block *s, uint64_t from, uint64_t to)
{
	uint32_t bytes = s->image.page_bytes;

	while (from < to) {
		size_t lo = (size_t)(from % bytes);
		size_t n = bytes - lo < to - from ? bytes - lo : (size_t)(to - from);
		struct part p = {
		        .page = bole_sim_page_own(&s->image, from / bytes), .lo = lo, .hi = lo + n};
		BOLE_ASSERT(p.page != NULL);
		take_garbage(s, &p);
		from += n;
	}
}

static void spoil_around(struct sim_block *s, uint64_t from, uint64_t to)
{
	uint32_t unit = s->block.info.damage_unit;
	uint64_t lo = from - from % unit;
	uint64_t hi = (to + unit - 1) / unit * unit;

	if (unit <= s->image.unit || bole_sim_draw(s) % 2 == 0)
		return;
	if (hi > s->block.info.size_bytes)
		hi = s->block.info.size_bytes;
	spoil(s, lo, from);
	spoil(s, to, hi);
}

/* What is done in one go: a page, an erase block; sectors come in any order. */
static uint64_t window_bytes(const struct sim_block *s, const struct sim_held *h, bool any_order)
{
	uint64_t page = s->options.times.program_step;

	if (h->kind == BOLE_SIM_ERASE)
		return s->image.block_bytes;
	if (h->kind == BOLE_SIM_DISCARD || (any_order && !is_raw(s)))
		return UINT64_MAX;
	if (page < s->block.info.damage_unit)
		page = s->block.info.damage_unit;
	return page < s->image.unit ? s->image.unit : page;
}

/* Windows before the interrupted one are done, those behind it not begun. */
static void tear_window(struct sim_block *s, const struct sim_held *h, bool any_order, change *fn)
{
	uint64_t size = window_bytes(s, h, any_order);
	uint64_t end = h->off + h->len;
	uint64_t first = h->off / size;
	uint64_t which = first + bole_sim_draw(s) % ((end - 1) / size - first + 1);
	uint64_t from = which * size > h->off ? which * size : h->off;
	uint64_t to = end - from > size - from % size ? from + (size - from % size) : end;

	each_part(s, h, h->off, from, take_new);
	each_part(s, h, from, to, fn);
	each_part(s, h, to, end, take_nothing);
	if (h->kind == BOLE_SIM_PROGRAM)
		spoil_around(s, from, to);
}

static void tear(struct sim_block *s, const struct sim_held *h, enum bole_block_sim_tear how)
{
	uint64_t end = h->off + h->len;
	uint64_t stop = h->off + bole_sim_draw(s) % h->len;
	/* A block is erased again whole. */
	uint64_t again = h->kind == BOLE_SIM_ERASE ? s->image.block_bytes : s->image.unit;

	switch (how) {
	case BOLE_SIM_TEAR_NONE:
		/* An erase that had not begun left everything as it was. */
		if (h->kind == BOLE_SIM_PROGRAM)
			each_part(s, h, h->off, end, take_nothing);
		break;
	case BOLE_SIM_TEAR_DONE: each_part(s, h, h->off, end, take_new); break;
	case BOLE_SIM_TEAR_PREFIX:
		each_part(s, h, h->off, stop, take_new);
		each_part(s, h, stop - stop % again, end, take_nothing);
		break;
	case BOLE_SIM_TEAR_BITS: tear_window(s, h, false, take_bits); break;
	case BOLE_SIM_TEAR_SECTORS: tear_window(s, h, true, take_sectors); break;
	case BOLE_SIM_TEAR_UNSTABLE_PROGRAM: tear_window(s, h, false, leave_programming); break;
	case BOLE_SIM_TEAR_UNSTABLE_ERASE: tear_window(s, h, false, leave_erasing); break;
	case BOLE_SIM_TEAR_RANDOM:
	case BOLE_SIM_TEAR_DROP:
	case BOLE_SIM_TEAR_KEEP:
	case BOLE_SIM_TEARS: {
		uint64_t choice = bole_sim_draw(s) % 3;
		each_part(s, h, h->off, end,
		          choice == 0   ? take_nothing
		          : choice == 1 ? take_new
		                        : take_some_torn);
	} break;
	}
}

/* A write that the cache held. */
static void settle(struct sim_block *s, const struct sim_held *h, size_t index)
{
	static const enum bole_block_sim_unflushed old[] = {
	        BOLE_SIM_UNFLUSHED_RANDOM, BOLE_SIM_UNFLUSHED_DROP, BOLE_SIM_UNFLUSHED_KEEP};
	enum bole_block_sim_unflushed how =
	        s->cut.tear <= BOLE_SIM_TEAR_KEEP ? old[s->cut.tear] : s->cut.unflushed;
	bool chosen = index < SUBSET_MAX && (s->cut.survivors >> index & 1) != 0;
	uint64_t choice = how == BOLE_SIM_UNFLUSHED_RANDOM ? bole_sim_draw(s) % 3 : 0;
	bool subset = how == BOLE_SIM_UNFLUSHED_SUBSET || how == BOLE_SIM_UNFLUSHED_SUBSET_TORN;

	if (how == BOLE_SIM_UNFLUSHED_KEEP || choice == 1 || (subset && chosen))
		each_part(s, h, h->off, h->off + h->len, take_new);
	else if (choice == 2 || how == BOLE_SIM_UNFLUSHED_SUBSET_TORN)
		each_part(s, h, h->off, h->off + h->len, take_some_units);
}

/* Up to where the blocks of a raw write were programmed, when all is said. */
static void recount(struct sim_block *s, const struct sim_held *h)
{
	uint64_t units = s->image.block_bytes / s->image.unit;
	uint64_t first = h->off / s->image.block_bytes;

	for (uint64_t b = first; b <= (h->off + h->len - 1) / s->image.block_bytes; b++) {
		struct sim_erase_block *block = bole_sim_block_own(&s->image, b);
		BOLE_ASSERT(block != NULL);
		block->next = 0;
		for (uint64_t u = units; u > 0 && block->next == 0; u--) {
			uint64_t at = b * s->image.block_bytes + (u - 1) * s->image.unit;
			const struct sim_page *page =
			        bole_sim_page(&s->image, at / s->image.page_bytes);
			if (page != NULL &&
			    page->state[at % s->image.page_bytes / s->image.unit] != SIM_ERASED)
				block->next = (uint32_t)u;
		}
	}
}

void bole_sim_lose_power(struct sim_block *s, bool during_write)
{
	for (size_t i = s->helds; i > 0; i--) {
		const struct sim_held *h = &s->held[i - 1];
		for (size_t k = 0; k < h->count; k++) {
			bole_sim_page_ref(h->old[k]);
			BOLE_ASSERT(bole_sim_page_set(&s->image, h->first + k, h->old[k]));
		}
	}
	for (size_t i = 0; i < s->helds; i++) {
		if (during_write && i + 1 == s->helds)
			tear(s, &s->held[i], s->cut.tear);
		else
			settle(s, &s->held[i], i);
	}
	if (is_raw(s))
		for (size_t i = 0; i < s->helds; i++)
			recount(s, &s->held[i]);
	bole_sim_forget_held(s);
	s->off = true;
	s->cut_at = 0;
}

void bole_block_sim_plan_cut(struct bole_block *block, uint64_t n,
                             const struct bole_block_sim_cut *cut)
{
	struct sim_block *s = bole_sim_of(block);

	s->cut_at = n == 0 ? 0 : s->count.operations + n;
	s->cut = *cut;
}

void bole_block_sim_cut_at(struct bole_block *block, uint64_t n, enum bole_block_sim_tear how)
{
	struct bole_block_sim_cut cut = {.tear = how};

	bole_block_sim_plan_cut(block, n, &cut);
}

void bole_block_sim_cut_now(struct bole_block *block, enum bole_block_sim_tear how)
{
	struct bole_block_sim_cut cut = {.tear = how};

	bole_block_sim_interrupt(block, NULL, &cut);
}

void bole_block_sim_interrupt(struct bole_block *block, const struct bole_block_sim_operation *op,
                              const struct bole_block_sim_cut *cut)
{
	struct sim_block *s = bole_sim_of(block);
	bool write = op != NULL && op->kind != BOLE_SIM_FLUSH;

	bole_sim_lock(s);
	s->cut = *cut;
	if (write) {
		BOLE_ASSERT(bole_sim_hold(s, op->kind, op->off, op->len));
		BOLE_ASSERT(bole_sim_apply(s, op));
		bole_sim_held_done(s);
	}
	bole_sim_lose_power(s, write);
	bole_sim_unlock(s);
}

bool bole_block_sim_is_off(const struct bole_block *block)
{
	return ((const struct sim_block *)block)->off;
}

void bole_block_sim_power_on(struct bole_block *block)
{
	bole_sim_of(block)->off = false;
	bole_sim_forget_reports(bole_sim_of(block));
}

size_t bole_block_sim_unflushed(const struct bole_block *block)
{
	return ((const struct sim_block *)block)->helds;
}
