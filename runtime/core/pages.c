/* SPDX-License-Identifier: ISC */
/* Physical pages: a buddy allocator. One byte a page says of which order a free block starts there;
 * the free blocks are linked through their own first bytes, so nothing else is touched at start and
 * a machine with much memory starts as fast as one with little. A request that is no power of two
 * gives its tail back at once. */

#include <string.h>

#include "core/arch.h"
#include "core/pages.h"

#define ORDERS     21 /* up to 4 GiB in one block */
#define NOT_FREE   0xff
#define PAGE_SHIFT 12

extern char image_start[], image_end[];

struct block {
	struct block *next, *prev;
};

static struct block *lists[ORDERS];
static uint8_t *orders; /* per page frame: order of the free block that starts here, or NOT_FREE */
static uint64_t frames; /* number of entries in orders */
static struct core_memory_stats stats;

static struct block *block_of(uint64_t frame)
{
	return (struct block *)(uintptr_t)(frame << PAGE_SHIFT);
}

static void list_add(uint64_t frame, unsigned order)
{
	struct block *b = block_of(frame);

	b->prev = NULL;
	b->next = lists[order];
	if (b->next != NULL)
		b->next->prev = b;
	lists[order] = b;
	orders[frame] = (uint8_t)order;
}

static void list_remove(uint64_t frame, unsigned order)
{
	struct block *b = block_of(frame);

	if (b->prev != NULL)
		b->prev->next = b->next;
	else
		lists[order] = b->next;
	if (b->next != NULL)
		b->next->prev = b->prev;
	orders[frame] = NOT_FREE;
}

static void free_block(uint64_t frame, unsigned order)
{
	while (order + 1 < ORDERS) {
		uint64_t buddy = frame ^ (UINT64_C(1) << order);
		if (buddy >= frames || orders[buddy] != order)
			break;
		list_remove(buddy, order);
		frame &= ~(UINT64_C(1) << order);
		order++;
	}
	list_add(frame, order);
}

/* Frees [frame, end) as the largest aligned blocks it is made of. */
static void free_range(uint64_t frame, uint64_t end)
{
	while (frame < end) {
		unsigned order = 0;
		while (order + 1 < ORDERS && (frame & ((UINT64_C(2) << order) - 1)) == 0 &&
		       frame + (UINT64_C(2) << order) <= end)
			order++;
		free_block(frame, order);
		frame += UINT64_C(1) << order;
	}
}

void pages_init(uint64_t first_free)
{
	const struct core_boot *boot = core_boot();
	uint64_t top = 0;

	for (size_t i = 0; i < boot->memory_count; i++)
		if (boot->memory[i].kind == CORE_MEMORY_RAM &&
		    boot->memory[i].base + boot->memory[i].size > top)
			top = boot->memory[i].base + boot->memory[i].size;
	frames = top >> PAGE_SHIFT;
	orders = (uint8_t *)(uintptr_t)first_free;
	memset(orders, NOT_FREE, frames);
	first_free += (frames + CORE_PAGE_SIZE - 1) & ~(uint64_t)(CORE_PAGE_SIZE - 1);
	for (size_t i = 0; i < boot->memory_count; i++) {
		const struct core_memory_range *m = &boot->memory[i];
		uint64_t base = m->base < first_free ? first_free : m->base;
		uint64_t end = m->base + m->size;
		if (m->kind != CORE_MEMORY_RAM || base >= end)
			continue;
		base = (base + CORE_PAGE_SIZE - 1) >> PAGE_SHIFT;
		end >>= PAGE_SHIFT;
		if (base < end) {
			free_range(base, end);
			stats.pages_total += end - base;
		}
	}
}

void *core_pages_alloc(size_t count)
{
	unsigned want = 0, order;
	uint64_t frame;

	if (count == 0 || count > (size_t)1 << (ORDERS - 1))
		return NULL;
	while ((size_t)1 << want < count)
		want++;
	for (order = want; order < ORDERS && lists[order] == NULL; order++)
		;
	if (order == ORDERS)
		return NULL;
	frame = (uint64_t)(uintptr_t)lists[order] >> PAGE_SHIFT;
	list_remove(frame, order);
	free_range(frame + count, frame + (UINT64_C(1) << order));
	stats.pages_used += count;
	if (stats.pages_used > stats.pages_peak)
		stats.pages_peak = stats.pages_used;
	return block_of(frame);
}

void core_pages_free(void *pages, size_t count)
{
	uint64_t frame = (uint64_t)(uintptr_t)pages >> PAGE_SHIFT;

	if (pages == NULL || count == 0)
		return;
	if (frame + count > frames || orders[frame] != NOT_FREE)
		core_panic("bad free of %zu pages at %p", count, pages);
	stats.pages_used -= count;
	free_range(frame, frame + count);
}

void core_memory_stats(struct core_memory_stats *out)
{
	*out = stats;
	out->image_bytes = (size_t)(image_end - image_start);
}
