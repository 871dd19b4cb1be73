/* SPDX-License-Identifier: ISC */
/* Which objects become deltas of which. Those of one type are sorted by path, and each is compared
 * with the few before it (technical/pack-heuristics of Git's documentation). Versions of what is
 * short go from old to new: what a client fetches next is then a delta of what it has. Versions of
 * longer files go from the longest to the shortest, because taking away costs less than adding:
 * what was added deflates better in one whole object than by pieces. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "base/sort.h"
#include "git/repack/delta_encode.h"
#include "git/repack/repack.h"

enum {
	SHORTEST = 48,        /* of what is worth comparing */
	HOPELESS_PART = 32,   /* a base that is so many times as long */
	FOREIGN_PART = 2,     /* of an object, that a delta of another path may take */
	SHORT_BYTES = 4096,   /* of files whose versions go from old to new */
	DELTA_HEAD_BYTES = 8, /* about, that a delta costs beside its instructions */
	COMPARE_WORK = 4,     /* of a byte */
};

struct candidate {
	uint64_t size;
	uint32_t number;
	uint32_t name;
	uint32_t rank;
	uint8_t type;
};

/* An object that later ones are compared with. */
struct slot {
	uint32_t number;
	uint8_t *content;
	size_t len;
	struct bole_delta_index *index; /* made when first used */
};

struct room {
	uint8_t *ptr;
	size_t cap;
};

struct window {
	struct repack *r;
	struct slot *slots; /* a ring */
	unsigned size;
	unsigned first;
	unsigned count;
	size_t bytes;
	struct room delta; /* the shortest one so far */
	struct room spare;
	size_t delta_len;
	int32_t base;
};

static int by_size(const void *left, const void *right)
{
	const struct candidate *a = left;
	const struct candidate *b = right;

	if (a->size != b->size)
		return a->size > b->size ? -1 : 1;
	return a->number < b->number ? -1 : a->number > b->number;
}

static int by_path(const void *left, const void *right)
{
	const struct candidate *a = left;
	const struct candidate *b = right;

	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	if (a->name != b->name)
		return a->name < b->name ? -1 : 1;
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	return by_size(left, right);
}

/* -- The ring -- */

static void drop_index(struct window *w, struct slot *s)
{
	if (s->index != NULL)
		w->bytes -= bole_delta_index_bytes(s->len);
	bole_delta_index_close(s->index);
	s->index = NULL;
}

static void drop_first(struct window *w)
{
	struct slot *s = &w->slots[w->first];

	drop_index(w, s);
	bole_alloc_free(w->r->alloc, s->content, s->len, 1);
	w->bytes -= s->len;
	w->first = (w->first + 1) % w->size;
	w->count--;
}

static void empty(struct window *w)
{
	while (w->count > 0)
		drop_first(w);
}

static struct slot *slot_at(struct window *w, unsigned i)
{
	return &w->slots[(w->first + i) % w->size];
}

/* Half of the memory is for the window, half for deltas that wait. */
static bool fits(const struct window *w, size_t more)
{
	return more <= w->r->options.memory_bytes / 2 &&
	       w->bytes <= w->r->options.memory_bytes / 2 - more;
}

static enum bole_status enter(struct window *w, uint32_t number, struct bole_bytes content)
{
	while (w->count > 0 && (w->count == w->size || !fits(w, content.len)))
		drop_first(w);
	struct slot *s = slot_at(w, w->count);
	*s = (struct slot){.number = number, .len = content.len};
	s->content = bole_alloc_array(w->r->alloc, content.len, 1);
	if (s->content == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(s->content, content.ptr, content.len);
	w->bytes += content.len;
	w->count++;
	return BOLE_OK;
}

/* -- Comparing -- */

/* What the object would cost whole, about. */
static uint64_t whole_of(const struct repack_item *target)
{
	if (!target->delta)
		return target->stored;
	return target->type == BOLE_OBJECT_BLOB ? target->size / 2 : target->size / 4 * 3;
}

/* The most that a delta on this base may take to be better than what there is. A chain that is full
 * costs a whole object, so each of its links is worth its part of one. */
static size_t worth(const struct window *w, const struct repack_item *target,
                    const struct repack_item *base)
{
	unsigned limit = w->r->options.depth;
	uint64_t whole = whole_of(target);
	uint64_t most = target->size / 4 * 3;
	uint64_t depth = whole * (base->depth + 1u) / limit;

	if (!target->delta && target->stored * 2 < most)
		most = target->stored * 2; /* it deflates well by itself */
	if (w->base != REPACK_NONE)
		most = w->delta_len + whole * (w->r->items[w->base].depth + 1u) / limit;
	most = most > depth ? most - depth : 0;
	return most <= DELTA_HEAD_BYTES ? 0 : (size_t)most - DELTA_HEAD_BYTES;
}

static enum bole_status reserve(struct repack *r, struct room *room, size_t len)
{
	if (len <= room->cap)
		return BOLE_OK;
	bole_alloc_free(r->alloc, room->ptr, room->cap, 1);
	*room = (struct room){.ptr = bole_alloc_array(r->alloc, len, 1)};
	if (room->ptr == NULL)
		return BOLE_E_NO_MEMORY;
	room->cap = len;
	return BOLE_OK;
}

static enum bole_status compare_with(struct window *w, uint32_t number, struct bole_bytes content,
                                     struct slot *s)
{
	struct repack *r = w->r;
	const struct repack_item *target = &r->items[number];
	const struct repack_item *base = &r->items[s->number];
	size_t len;

	if (base->type != target->type || base->depth + target->height >= r->options.depth)
		return BOLE_OK;
	size_t cap = worth(w, target, base);
	size_t longer = content.len > s->len ? content.len - s->len : 0;
	if (cap <= longer || content.len < s->len / HOPELESS_PART)
		return BOLE_OK;
	if (s->index == NULL) {
		if (!fits(w, bole_delta_index_bytes(s->len)))
			return BOLE_OK;
		BOLE_TRY(bole_delta_index_open(r->alloc, bole_bytes_of(s->content, s->len),
		                               &s->index));
		w->bytes += bole_delta_index_bytes(s->len);
		BOLE_TRY(bole_repack_spend(r, s->len * COMPARE_WORK));
	}
	BOLE_TRY(reserve(r, &w->spare, cap));
	r->result->compared++;
	enum bole_status rc = bole_delta_encode(s->index, content, w->spare.ptr, cap, &len);
	BOLE_TRY(bole_repack_spend(r, content.len * COMPARE_WORK));
	if (rc != BOLE_OK)
		return rc == BOLE_E_LIMIT ? BOLE_OK : rc;
	struct room swap = w->delta;
	w->delta = w->spare;
	w->spare = swap;
	w->delta_len = len;
	w->base = (int32_t)s->number;
	return BOLE_OK;
}

/* Keeps the delta deflated while there is memory; else it is made once more when it is written. */
static enum bole_status keep(struct window *w, uint32_t number)
{
	struct repack *r = w->r;
	struct repack_item *item = &r->items[number];
	size_t bound = bole_deflate_bound(w->delta_len);
	uint8_t *dst = bole_alloc_array(r->alloc, bound, 1);

	if (dst == NULL)
		return BOLE_E_NO_MEMORY;
	size_t len = bole_deflate_whole(r->deflater, bole_bytes_of(w->delta.ptr, w->delta_len), dst,
	                                bound);
	if (len == 0 || (!item->delta && len + DELTA_HEAD_BYTES >= item->stored)) {
		bole_alloc_free(r->alloc, dst, bound, 1);
		return len == 0 ? BOLE_E_NO_MEMORY : BOLE_OK;
	}
	item->base = w->base;
	item->depth = (uint8_t)(r->items[w->base].depth + 1);
	item->delta_len = (uint32_t)w->delta_len;
	r->result->made++;
	for (int32_t at = w->base, height = item->height + 1; at != REPACK_NONE;
	     at = r->items[at].base, height++)
		if (r->items[at].height < height)
			r->items[at].height = (uint8_t)height;
	uint8_t *tight = r->cached + len > r->options.memory_bytes / 2
	                         ? NULL
	                         : bole_alloc_resize(r->alloc, dst, bound, len, 1);
	if (tight == NULL) {
		bole_alloc_free(r->alloc, dst, bound, 1);
		return BOLE_OK;
	}
	item->deflated = tight;
	item->deflated_len = (uint32_t)len;
	r->cached += len;
	return BOLE_OK;
}

static bool is_candidate(const struct repack *r, const struct repack_item *item)
{
	return !item->kept && item->size >= SHORTEST && item->size <= r->options.big_bytes &&
	       item->size <= r->options.memory_bytes / 4;
}

/* The delta that is stored can stay: all below it is settled, does not lead back, and is not too
 * long.
 */
static bool may_stay(const struct repack *r, uint32_t number)
{
	const struct repack_item *item = &r->items[number];
	unsigned depth = 0;

	for (int32_t at = item->was; at != REPACK_NONE; at = r->items[at].base) {
		depth++;
		if (at == (int32_t)number || depth + item->height > r->options.depth ||
		    !(r->items[at].judged || r->items[at].kept || !is_candidate(r, &r->items[at])))
			return false;
	}
	return depth > 0;
}

/* What was there and is as short as what was found. */
static void stay(struct repack *r, uint32_t number)
{
	struct repack_item *item = &r->items[number];
	int height = item->height + 1;

	item->base = item->was;
	item->kept = true;
	item->depth = 0;
	for (int32_t at = item->base; at != REPACK_NONE; at = r->items[at].base, height++) {
		item->depth++;
		if (r->items[at].height < height)
			r->items[at].height = (uint8_t)height;
	}
	r->result->kept++;
}

/* What is stored is a delta of the same path, or one that is much shorter than the object. Others
 * cost about as much as the object itself would, and only whole it can be a delta of what a client
 * has. */
static bool is_kin(const struct repack *r, const struct repack_item *item)
{
	return item->was != REPACK_NONE && (r->items[item->was].name == item->name ||
	                                    item->payload <= item->size / FOREIGN_PART);
}

static enum bole_status consider(struct window *w, const struct candidate *c)
{
	struct repack *r = w->r;
	struct bole_entry entry = bole_repack_entry(&r->items[c->number]);
	struct bole_bytes content;

	if (w->count > 0 && r->items[slot_at(w, 0)->number].type != c->type)
		empty(w);
	BOLE_TRY(bole_object_read_entry(r->reader, &entry, &content));
	if (content.len != c->size)
		return BOLE_E_CORRUPT;
	w->base = REPACK_NONE;
	/* The ones that came last are the most alike. */
	for (unsigned i = w->count; i-- > 0;)
		BOLE_TRY(compare_with(w, c->number, content, slot_at(w, i)));
	const struct repack_item *item = &r->items[c->number];
	if ((w->base == REPACK_NONE || w->delta_len >= item->payload) && is_kin(r, item) &&
	    may_stay(r, c->number))
		stay(r, c->number);
	else if (w->base != REPACK_NONE)
		BOLE_TRY(keep(w, c->number));
	r->items[c->number].judged = true;
	return fits(w, content.len) || w->count > 0 ? enter(w, c->number, content) : BOLE_OK;
}

/* The versions of files that are longer than SHORT_BYTES. */
static enum bole_status turn_long(struct repack *r, struct candidate *list, size_t count)
{
	uint64_t longest = 0;
	size_t first = 0;

	for (size_t i = 0; i < count; i++) {
		longest = list[i].size > longest ? list[i].size : longest;
		if (i + 1 < count && list[i + 1].type == list[i].type &&
		    list[i + 1].name == list[i].name)
			continue;
		if (list[i].type == BOLE_OBJECT_BLOB && longest > SHORT_BYTES) {
			for (size_t k = first; k <= i; k++)
				r->items[list[k].number].turned = true;
			BOLE_TRY(bole_sort(r->platform, r->alloc, list + first, i + 1 - first,
			                   sizeof *list, by_size));
		}
		first = i + 1;
		longest = 0;
	}
	return BOLE_OK;
}

static enum bole_status choose(struct repack *r, struct candidate **out, size_t *cap, size_t *count)
{
	*count = 0;
	*cap = r->map.count;
	*out = bole_alloc_array(r->alloc, *cap, sizeof **out);
	if (*out == NULL)
		return BOLE_E_NO_MEMORY;
	for (uint32_t i = 0; i < r->map.count; i++) {
		const struct repack_item *item = &r->items[i];

		if (is_candidate(r, item))
			(*out)[(*count)++] = (struct candidate){item->size, i, item->name,
			                                        item->rank, item->type};
	}
	BOLE_TRY(bole_sort(r->platform, r->alloc, *out, *count, sizeof **out, by_path));
	return turn_long(r, *out, *count);
}

/* Nothing was found for these, and now nothing else changes. */
static enum bole_status stay_rest(struct repack *r)
{
	for (uint32_t i = 0; i < r->map.count; i++) {
		const struct repack_item *item = &r->items[i];

		if (item->delta && item->base == REPACK_NONE && is_kin(r, item) && may_stay(r, i))
			stay(r, i);
		BOLE_TRY(bole_repack_spend(r, 16));
	}
	return BOLE_OK;
}

enum bole_status bole_repack_deltas(struct repack *r)
{
	struct window w = {.r = r, .size = r->options.window, .base = REPACK_NONE};
	struct candidate *list = NULL;
	size_t cap = 0;
	size_t count = 0;

	w.slots = bole_alloc_zeroed(r->alloc, w.size, sizeof *w.slots);
	enum bole_status rc = w.slots == NULL ? BOLE_E_NO_MEMORY : choose(r, &list, &cap, &count);
	bole_repack_phase(r, "comparing", count);
	for (size_t i = 0; i < count && rc == BOLE_OK; i++) {
		r->done = i;
		rc = consider(&w, &list[i]);
	}
	if (rc == BOLE_OK)
		rc = stay_rest(r);
	empty(&w);
	bole_alloc_free(r->alloc, w.delta.ptr, w.delta.cap, 1);
	bole_alloc_free(r->alloc, w.spare.ptr, w.spare.cap, 1);
	bole_alloc_free(r->alloc, w.slots, w.slots == NULL ? 0 : w.size, sizeof *w.slots);
	bole_alloc_free(r->alloc, list, cap, sizeof *list);
	return rc;
}
