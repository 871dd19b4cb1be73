/* SPDX-License-Identifier: ISC */
/* Slots hold 8 bits of the hash and the number of a row plus 1, in linear probing, at most half
 * full. Rows lie in chunks, each twice as long as the one before, so that they never move. */
#include "flash/index/fresh.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

enum {
	FRESH_CHUNK_ROWS = 64, /* of the first chunk */
	FRESH_CHUNKS = 18,
	FRESH_NUMBER_BITS = 24,
	FRESH_LOAD = 2, /* slots a row, at least */
	FRESH_FIRST_SLOTS = 256,
	ROW_PLACE_AT = 0,  /* u64: place, type in the top byte */
	ROW_STORED_AT = 8, /* u32 */
	ROW_HASH_AT = 12,  /* u32 */
	ROW_KEY_AT = 16,
	ROW_TYPE_SHIFT = 56,
	ROW_ALIGN = 8,
};
#define FRESH_NUMBER_MASK ((UINT32_C(1) << FRESH_NUMBER_BITS) - 1)

struct fresh_slots {
	struct fresh_slots *before; /* the array that it replaced */
	uint32_t mask;
	_Atomic uint32_t slot[];
};

struct flash_fresh {
	_Atomic uint32_t refs;
	struct bole_alloc *alloc;
	uint32_t key_len;
	uint32_t width;
	uint32_t rows; /* the leader's */
	_Atomic(struct fresh_slots *) slots;
	uint8_t *chunk[FRESH_CHUNKS];
};

/* -- Rows -- */

/* Chunk number, rows before it: FRESH_CHUNK_ROWS * (2^n - 1). */
static uint32_t chunk_of(uint32_t row)
{
	return (uint32_t)(__builtin_clz(FRESH_CHUNK_ROWS) - __builtin_clz(row + FRESH_CHUNK_ROWS));
}

static uint32_t chunk_rows(uint32_t chunk)
{
	return (uint32_t)FRESH_CHUNK_ROWS << chunk;
}

static uint8_t *row_at(const struct flash_fresh *f, uint32_t row)
{
	uint32_t chunk = chunk_of(row);
	uint32_t at = row + FRESH_CHUNK_ROWS - chunk_rows(chunk);

	return f->chunk[chunk] + (size_t)at * f->width;
}

static uint64_t word_at(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof word);
	return word;
}

static uint32_t hash_at(const uint8_t *row)
{
	uint32_t hash;

	memcpy(&hash, row + ROW_HASH_AT, sizeof hash);
	return hash;
}

struct flash_fresh_row bole_flash_fresh_row(const struct flash_fresh *f, uint32_t row)
{
	const uint8_t *p = row_at(f, row);
	uint64_t word = word_at(p + ROW_PLACE_AT);
	struct flash_fresh_row out = {
	        .place = word & ((UINT64_C(1) << ROW_TYPE_SHIFT) - 1),
	        .type = (uint8_t)(word >> ROW_TYPE_SHIFT),
	        .key = p + ROW_KEY_AT,
	};

	memcpy(&out.stored, p + ROW_STORED_AT, sizeof out.stored);
	return out;
}

void bole_flash_fresh_place(struct flash_fresh *f, uint32_t row, uint64_t place)
{
	uint8_t *p = row_at(f, row);
	uint64_t word = word_at(p + ROW_PLACE_AT) >> ROW_TYPE_SHIFT << ROW_TYPE_SHIFT | place;

	memcpy(p + ROW_PLACE_AT, &word, sizeof word);
}

/* -- Slots -- */

static size_t slots_bytes(uint32_t slots)
{
	return sizeof(struct fresh_slots) + (size_t)slots * sizeof(uint32_t);
}

static struct fresh_slots *slots_new(struct bole_alloc *alloc, uint32_t slots)
{
	struct fresh_slots *s = bole_alloc_large(alloc, slots_bytes(slots));

	if (s == NULL)
		return NULL;
	memset(s, 0, slots_bytes(slots));
	s->mask = slots - 1;
	return s;
}

static uint32_t entry_of(uint32_t hash, uint32_t row)
{
	return hash >> FRESH_NUMBER_BITS << FRESH_NUMBER_BITS | (row + 1);
}

static void slot_add(struct fresh_slots *s, uint32_t hash, uint32_t row)
{
	uint32_t i = hash & s->mask;

	while (atomic_load_explicit(&s->slot[i], memory_order_relaxed) != 0)
		i = (i + 1) & s->mask;
	/* Readers find the row's bytes by the version that shows it. */
	atomic_store_explicit(&s->slot[i], entry_of(hash, row), memory_order_relaxed);
}

/* The row that was added last: nothing was put behind it, so nothing is searched across it. */
static void slot_remove(struct fresh_slots *s, uint32_t hash, uint32_t row)
{
	uint32_t i = hash & s->mask;

	while (atomic_load_explicit(&s->slot[i], memory_order_relaxed) != entry_of(hash, row))
		i = (i + 1) & s->mask;
	atomic_store_explicit(&s->slot[i], 0, memory_order_relaxed);
}

static struct fresh_slots *slots_of(const struct flash_fresh *f)
{
	return atomic_load_explicit(&f->slots, memory_order_acquire);
}

static enum bole_status grow_slots(struct flash_fresh *f)
{
	struct fresh_slots *old = slots_of(f);

	if (((uint64_t)f->rows + 1) * FRESH_LOAD <= (uint64_t)old->mask + 1)
		return BOLE_OK;
	struct fresh_slots *s = slots_new(f->alloc, (old->mask + 1) * 2);
	if (s == NULL)
		return BOLE_E_NO_MEMORY;
	for (uint32_t row = 0; row < f->rows; row++)
		slot_add(s, hash_at(row_at(f, row)), row);
	s->before = old;
	atomic_store_explicit(&f->slots, s, memory_order_release);
	return BOLE_OK;
}

/* -- The table -- */

enum bole_status bole_flash_fresh_open(struct bole_alloc *alloc, uint32_t key_len, uint32_t rows,
                                       struct flash_fresh **out)
{
	struct flash_fresh *f = bole_alloc_zeroed(alloc, 1, sizeof *f);
	uint32_t slots = FRESH_FIRST_SLOTS;

	if (f == NULL)
		return BOLE_E_NO_MEMORY;
	while (slots / FRESH_LOAD < rows && slots / FRESH_LOAD < FRESH_ROWS_MAX)
		slots *= 2;
	struct fresh_slots *s = slots_new(alloc, slots);
	if (s == NULL) {
		bole_alloc_free(alloc, f, 1, sizeof *f);
		return BOLE_E_NO_MEMORY;
	}
	atomic_init(&f->refs, 1);
	atomic_init(&f->slots, s);
	f->alloc = alloc;
	f->key_len = key_len;
	f->width = (uint32_t)bole_round_up(ROW_KEY_AT + (uint64_t)key_len, ROW_ALIGN);
	*out = f;
	return BOLE_OK;
}

struct flash_fresh *bole_flash_fresh_retain(struct flash_fresh *f)
{
	if (f != NULL)
		atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
	return f;
}

void bole_flash_fresh_release(struct flash_fresh *f)
{
	if (f == NULL || atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (struct fresh_slots *s = slots_of(f); s != NULL;) {
		struct fresh_slots *before = s->before;
		bole_alloc_large_free(f->alloc, s, slots_bytes(s->mask + 1));
		s = before;
	}
	for (uint32_t i = 0; i < FRESH_CHUNKS; i++)
		bole_alloc_large_free(f->alloc, f->chunk[i], (size_t)chunk_rows(i) * f->width);
	bole_alloc_free(f->alloc, f, 1, sizeof *f);
}

void bole_flash_fresh_prefetch(const struct flash_fresh *f, uint64_t hash)
{
	const struct fresh_slots *s = slots_of(f);

	__builtin_prefetch(&s->slot[(uint32_t)(hash >> 32) & s->mask]);
}

void bole_flash_fresh_row_prefetch(const struct flash_fresh *f, uint32_t row)
{
	__builtin_prefetch(row_at(f, row));
}

uint32_t bole_flash_fresh_find(const struct flash_fresh *f, uint32_t from, uint32_t rows,
                               const uint8_t *key, uint64_t hash)
{
	const struct fresh_slots *s = slots_of(f);
	uint32_t h = (uint32_t)(hash >> 32);

	for (uint32_t i = h & s->mask;; i = (i + 1) & s->mask) {
		uint32_t entry = atomic_load_explicit(&s->slot[i], memory_order_relaxed);
		if (entry == 0)
			return FRESH_NONE;
		uint32_t row = (entry & FRESH_NUMBER_MASK) - 1;
		if (entry >> FRESH_NUMBER_BITS != h >> FRESH_NUMBER_BITS || row >= rows)
			continue;
		if (memcmp(row_at(f, row) + ROW_KEY_AT, key, f->key_len) == 0)
			return row >= from ? row : FRESH_NONE;
	}
}

enum bole_status bole_flash_fresh_add(struct flash_fresh *f, uint32_t rows, const uint8_t *key,
                                      uint64_t hash, uint32_t stored, uint8_t type)
{
	uint32_t h = (uint32_t)(hash >> 32);
	uint64_t word = (uint64_t)type << ROW_TYPE_SHIFT;

	BOLE_ASSERT(rows <= f->rows);
	while (f->rows > rows) {
		f->rows--;
		slot_remove(slots_of(f), hash_at(row_at(f, f->rows)), f->rows);
	}
	if (rows >= FRESH_ROWS_MAX)
		return BOLE_E_LIMIT;
	BOLE_TRY(grow_slots(f));
	uint32_t chunk = chunk_of(rows);
	if (f->chunk[chunk] == NULL)
		f->chunk[chunk] = bole_alloc_large(f->alloc, (size_t)chunk_rows(chunk) * f->width);
	if (f->chunk[chunk] == NULL)
		return BOLE_E_NO_MEMORY;
	uint8_t *p = row_at(f, rows);
	memcpy(p + ROW_PLACE_AT, &word, sizeof word);
	memcpy(p + ROW_STORED_AT, &stored, sizeof stored);
	memcpy(p + ROW_HASH_AT, &h, sizeof h);
	memcpy(p + ROW_KEY_AT, key, f->key_len);
	slot_add(slots_of(f), h, rows);
	f->rows++;
	return BOLE_OK;
}

void bole_flash_fresh_sort(const struct flash_fresh *f, uint32_t rows,
                           struct flash_sort_item *items, struct flash_sort_item *spare,
                           void (*yield)(void *), void *ctx)
{
	for (uint32_t i = 0; i < rows; i++) {
		items[i] = (struct flash_sort_item){bole_get_be64(row_at(f, i) + ROW_KEY_AT), i};
		if (i % SORT_YIELD_ROWS == SORT_YIELD_ROWS - 1)
			yield(ctx);
	}
	if (rows > 1)
		bole_flash_sort(items, spare, rows, yield, ctx);
}
