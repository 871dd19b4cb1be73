/* SPDX-License-Identifier: ISC */
/* The pages are spread over a few parts, each with a lock of its own, a table of chains, and a ring
 * that the hand of a clock goes round. A slot in the ring stays there until the cache is closed; it
 * is vacant, claimed by one caller, or in the table. */
#include "flash/index/cache.h"

#include <string.h>

#include "base/check.h"
#include "base/memory.h"

enum {
	CACHE_PARTS_MAX = 8,
	CACHE_PART_SLOTS = 64, /* fewer than these are not worth a part */
	CACHE_CHAIN = 1,       /* slots a chain, about */
	CACHE_SLABS = 4,       /* of a part, if it has slabs of large pages at all */
};

struct part {
	struct bole_mutex lock;
	struct flash_slot **chain; /* 2^bits of them */
	uint32_t bits;
	uint32_t cap;
	uint32_t count;
	uint32_t slab_slots;     /* that are allocated at once */
	uint8_t **slab;          /* NULL where that is one */
	struct flash_slot *hand; /* in the ring, or NULL */
	uint64_t hits;
	uint64_t misses;
};

struct flash_cache {
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	uint32_t page_bytes;
	uint32_t parts; /* a power of two */
	size_t keep_max;
	_Atomic size_t kept;
	_Atomic uint32_t returns;
	struct part part[];
};

static uint64_t mix(uint64_t sequence, uint32_t page)
{
	uint64_t h = (sequence ^ (uint64_t)page << 20 ^ page) * UINT64_C(0x9e3779b97f4a7c15);

	return h ^ h >> 32;
}

static struct part *part_of(struct flash_cache *c, uint64_t hash)
{
	return &c->part[(hash >> 24) & (c->parts - 1)];
}

static struct flash_slot **chain_of(const struct part *p, uint64_t hash)
{
	return &p->chain[hash & ((UINT64_C(1) << p->bits) - 1)];
}

static void lock(const struct flash_cache *c, struct part *p)
{
	c->platform->ops->mutex_lock(c->platform, &p->lock);
}

static void unlock(const struct flash_cache *c, struct part *p)
{
	c->platform->ops->mutex_unlock(c->platform, &p->lock);
}

static size_t slot_bytes(const struct flash_cache *c)
{
	return sizeof(struct flash_slot) + c->page_bytes;
}

static enum bole_status open_part(struct flash_cache *c, struct part *p, uint32_t cap)
{
	uint32_t bits = 0;

	while (bits < 31 && cap / CACHE_CHAIN >> bits > 1)
		bits++;
	p->chain = bole_alloc_zeroed(c->alloc, (size_t)1 << bits, sizeof(struct flash_slot *));
	if (p->chain == NULL)
		return BOLE_E_NO_MEMORY;
	p->bits = bits;
	p->cap = cap;
	p->slab_slots = (uint32_t)(BOLE_LARGE_BYTES / slot_bytes(c));
	if (p->slab_slots == 0 || cap / CACHE_SLABS < p->slab_slots)
		p->slab_slots = 1;
	p->cap -= cap % p->slab_slots;
	if (p->slab_slots > 1)
		p->slab = bole_alloc_zeroed(c->alloc, p->cap / p->slab_slots, sizeof *p->slab);
	if (p->slab_slots > 1 && p->slab == NULL) {
		bole_alloc_free(c->alloc, p->chain, (size_t)1 << bits, sizeof(struct flash_slot *));
		p->chain = NULL;
		return BOLE_E_NO_MEMORY;
	}
	c->platform->ops->mutex_init(c->platform, &p->lock);
	return BOLE_OK;
}

enum bole_status bole_flash_cache_open(struct bole_platform *platform, struct bole_alloc *alloc,
                                       uint32_t page_bytes, size_t bytes, size_t keep_max,
                                       struct flash_cache **out)
{
	size_t slots = bytes / (sizeof(struct flash_slot) + page_bytes);
	uint32_t parts = 1;

	if (slots == 0)
		slots = 1;
	if (slots > UINT32_MAX)
		slots = UINT32_MAX;
	while (parts < CACHE_PARTS_MAX && slots / parts > (size_t)2 * CACHE_PART_SLOTS)
		parts *= 2;
	size_t size = sizeof(struct flash_cache) + parts * sizeof(struct part);
	struct flash_cache *c = bole_alloc_zeroed(alloc, size, 1);
	if (c == NULL)
		return BOLE_E_NO_MEMORY;
	c->platform = platform;
	c->alloc = alloc;
	c->page_bytes = page_bytes;
	c->parts = parts;
	c->keep_max = keep_max;
	atomic_init(&c->returns, 1);
	enum bole_status rc = BOLE_OK;
	for (uint32_t i = 0; i < parts && rc == BOLE_OK; i++)
		rc = open_part(c, &c->part[i], (uint32_t)(slots / parts));
	if (rc != BOLE_OK) {
		bole_flash_cache_close(c);
		return rc;
	}
	*out = c;
	return BOLE_OK;
}

static void close_part(struct flash_cache *c, struct part *p)
{
	struct flash_slot *s = p->hand;

	if (p->chain == NULL)
		return;
	for (uint32_t i = 0; i < p->count; i++) {
		struct flash_slot *next = s->ring;
		BOLE_ASSERT(atomic_load(&s->pins) == 0);
		if (p->slab == NULL)
			bole_alloc_free(c->alloc, s, slot_bytes(c), 1);
		s = next;
	}
	for (uint32_t i = 0; p->slab != NULL && i < p->cap / p->slab_slots; i++)
		bole_alloc_large_free(c->alloc, p->slab[i], BOLE_LARGE_BYTES);
	bole_alloc_free(c->alloc, p->slab, p->cap / p->slab_slots, sizeof *p->slab);
	bole_alloc_free(c->alloc, p->chain, (size_t)1 << p->bits, sizeof(struct flash_slot *));
	c->platform->ops->mutex_destroy(c->platform, &p->lock);
}

void bole_flash_cache_close(struct flash_cache *c)
{
	if (c == NULL)
		return;
	BOLE_ASSERT(atomic_load(&c->kept) == 0);
	for (uint32_t i = 0; i < c->parts; i++)
		close_part(c, &c->part[i]);
	bole_alloc_free(c->alloc, c, sizeof *c + c->parts * sizeof(struct part), 1);
}

/* -- Pages -- */

static struct flash_slot *look(const struct part *p, uint64_t hash, uint64_t sequence,
                               uint32_t page)
{
	struct flash_slot *s = *chain_of(p, hash);

	while (s != NULL && (s->sequence != sequence || s->page != page))
		s = s->next;
	return s;
}

static void take_out(struct part *p, struct flash_slot *slot)
{
	struct flash_slot **at = chain_of(p, mix(slot->sequence, slot->page));

	while (*at != slot)
		at = &(*at)->next;
	*at = slot->next;
	slot->kept = false;
}

struct flash_slot *bole_flash_cache_get(struct flash_cache *c, uint64_t sequence, uint32_t page)
{
	uint64_t hash = mix(sequence, page);
	struct part *p = part_of(c, hash);

	lock(c, p);
	struct flash_slot *s = look(p, hash, sequence, page);
	if (s != NULL) {
		atomic_fetch_add_explicit(&s->pins, 1, memory_order_relaxed);
		s->used = true;
		p->hits++;
	} else {
		p->misses++;
	}
	unlock(c, p);
	return s;
}

/* A slot that nobody uses, taken out of the table. Two rounds suffice: the first one clears what
 * was used. Lock held. */
static struct flash_slot *evict(struct part *p)
{
	for (uint64_t i = 0; i < 2 * (uint64_t)p->count; i++) {
		struct flash_slot *s = p->hand;
		p->hand = s->ring;
		/* Pins are given back without the lock: see what was done under them. */
		if (atomic_load_explicit(&s->pins, memory_order_acquire) != 0)
			continue;
		if (s->used && s->kept) {
			s->used = false;
			continue;
		}
		if (s->kept)
			take_out(p, s);
		return s;
	}
	return NULL;
}

/* One more member, out of a slab. Lock held; NULL: no memory, or there are no slabs. */
static struct flash_slot *slab_slot(struct flash_cache *c, struct part *p)
{
	if (p->slab == NULL || p->count == p->cap)
		return NULL;
	uint8_t **slab = &p->slab[p->count / p->slab_slots];
	if (*slab == NULL)
		*slab = bole_alloc_large(c->alloc, BOLE_LARGE_BYTES);
	if (*slab == NULL)
		return NULL;
	struct flash_slot *s = (void *)(*slab + (size_t)(p->count % p->slab_slots) * slot_bytes(c));
	*s = (struct flash_slot){.data = (uint8_t *)(s + 1)};
	return s;
}

static struct flash_slot *new_slot(struct flash_cache *c)
{
	struct flash_slot *s = bole_alloc_array(c->alloc, slot_bytes(c), 1);

	if (s == NULL)
		return NULL;
	*s = (struct flash_slot){.data = (uint8_t *)(s + 1)};
	return s;
}

struct flash_slot *bole_flash_cache_claim(struct flash_cache *c, uint64_t sequence, uint32_t page)
{
	struct part *p = part_of(c, mix(sequence, page));
	struct flash_slot *s = NULL;
	bool lone = false;

	lock(c, p);
	bool full = p->count >= p->cap;
	if (full)
		s = evict(p);
	else
		s = slab_slot(c, p);
	if (s == NULL && p->slab != NULL && !full)
		s = evict(p);
	if (s == NULL) {
		unlock(c, p);
		s = new_slot(c);
		lone = true;
		lock(c, p);
	}
	if (s == NULL) {
		s = evict(p);
	} else if (!s->member && p->count < p->cap && (p->slab == NULL || !lone)) {
		s->member = true;
		s->ring = p->hand == NULL ? s : p->hand->ring;
		if (p->hand == NULL)
			p->hand = s;
		p->hand->ring = s;
		p->count++;
	}
	if (s != NULL) {
		s->sequence = sequence;
		s->page = page;
		s->used = false;
		atomic_store_explicit(&s->pins, 1, memory_order_relaxed);
	}
	unlock(c, p);
	return s;
}

struct flash_slot *bole_flash_cache_keep(struct flash_cache *c, struct flash_slot *slot)
{
	uint64_t hash = mix(slot->sequence, slot->page);
	struct part *p = part_of(c, hash);

	if (!slot->member)
		return slot; /* there is no room: for this caller alone */
	lock(c, p);
	struct flash_slot *other = look(p, hash, slot->sequence, slot->page);
	if (other != NULL) {
		atomic_fetch_add_explicit(&other->pins, 1, memory_order_relaxed);
		atomic_store_explicit(&slot->pins, 0, memory_order_release);
		slot = other;
	} else {
		struct flash_slot **chain = chain_of(p, hash);
		slot->next = *chain;
		slot->kept = true;
		*chain = slot;
	}
	unlock(c, p);
	return slot;
}

void bole_flash_cache_unpin(struct flash_cache *c, struct flash_slot *slot)
{
	if (!slot->member)
		bole_alloc_free(c->alloc, slot, slot_bytes(c), 1);
	else
		atomic_fetch_sub_explicit(&slot->pins, 1, memory_order_release);
}

uint32_t bole_flash_cache_slots(const struct flash_cache *c)
{
	return c->parts * c->part[0].cap;
}

void bole_flash_cache_drop(struct flash_cache *c, uint64_t sequence, uint32_t first, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t hash = mix(sequence, first + i);
		struct part *p = part_of(c, hash);
		lock(c, p);
		struct flash_slot *s = look(p, hash, sequence, first + i);
		if (s != NULL)
			take_out(p, s);
		unlock(c, p);
	}
}

void bole_flash_cache_stats(struct flash_cache *c, struct flash_cache_stats *out)
{
	*out = (struct flash_cache_stats){.bytes = atomic_load(&c->kept)};
	for (uint32_t i = 0; i < c->parts; i++) {
		struct part *p = &c->part[i];
		lock(c, p);
		out->hits += p->hits;
		out->misses += p->misses;
		out->bytes += p->count * slot_bytes(c);
		unlock(c, p);
	}
}

/* -- Fences and filters -- */

void *bole_flash_cache_reserve(struct flash_cache *c, size_t bytes)
{
	size_t kept = atomic_load(&c->kept);

	do {
		if (bytes > c->keep_max || kept > c->keep_max - bytes)
			return NULL;
	} while (!atomic_compare_exchange_weak(&c->kept, &kept, kept + bytes));
	void *ptr = bole_alloc_array(c->alloc, bytes, 1);
	if (ptr == NULL)
		atomic_fetch_sub(&c->kept, bytes);
	return ptr;
}

void bole_flash_cache_return(struct flash_cache *c, void *ptr, size_t bytes)
{
	if (ptr == NULL)
		return;
	bole_alloc_free(c->alloc, ptr, bytes, 1);
	atomic_fetch_sub(&c->kept, bytes);
	/* Even numbers are no number of returns: 0 means "was not refused". */
	atomic_fetch_add(&c->returns, 2);
}

uint32_t bole_flash_cache_returns(const struct flash_cache *c)
{
	return atomic_load_explicit(&c->returns, memory_order_relaxed);
}
