/* SPDX-License-Identifier: ISC */
/* Physical pages: a buddy allocator. One byte a page says of which order a free block starts there;
 * the free blocks are linked through a table beside it. Free memory itself is never touched, so a
 * machine with much memory starts as fast as one with little, and memory that was never used stays
 * with the host. A request that is no power of two gives its tail back at once. */

#include <string.h>

#include "core/arch.h"
#include "core/pages.h"
#include "core/sched.h"

#define ORDERS     21 /* up to 4 GiB in one block */
#define NOT_FREE   0xff
#define PAGE_SHIFT 12

extern char image_start[], image_end[];

/* Frame 0 is never free, so 0 ends a list. */
struct links {
	uint32_t next, prev;
};

static uint32_t lists[ORDERS];
static uint8_t *orders; /* per page frame: order of the free block that starts here, or NOT_FREE */
static struct links *links; /* per page frame: valid where a free block starts */
static uint64_t frames;     /* number of entries in both */
static struct core_memory_stats stats;

static void list_add(uint64_t frame, unsigned order)
{
	links[frame] = (struct links){lists[order], 0};
	if (lists[order] != 0)
		links[lists[order]].prev = (uint32_t)frame;
	lists[order] = (uint32_t)frame;
	orders[frame] = (uint8_t)order;
}

static void list_remove(uint64_t frame, unsigned order)
{
	struct links l = links[frame];

	if (l.prev != 0)
		links[l.prev].next = l.next;
	else
		lists[order] = l.next;
	if (l.next != 0)
		links[l.next].prev = l.prev;
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
	if (frames > UINT32_MAX)
		frames = UINT32_MAX;
	links = (struct links *)(uintptr_t)first_free;
	orders = (uint8_t *)(links + frames);
	memset(orders, NOT_FREE, frames);
	first_free = (uint64_t)(uintptr_t)(orders + frames);
	for (size_t i = 0; i < boot->memory_count; i++) {
		const struct core_memory_range *m = &boot->memory[i];
		uint64_t base = m->base < first_free ? first_free : m->base;
		uint64_t end = m->base + m->size;
		if (m->kind != CORE_MEMORY_RAM || base >= end)
			continue;
		base = (base + CORE_PAGE_SIZE - 1) >> PAGE_SHIFT;
		end = end >> PAGE_SHIFT < frames ? end >> PAGE_SHIFT : frames;
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
	do {
		for (order = want; order < ORDERS && lists[order] == 0; order++)
			;
	} while (order == ORDERS && fiber_pool_drop());
	if (order == ORDERS)
		return NULL;
	frame = lists[order];
	list_remove(frame, order);
	free_range(frame + count, frame + (UINT64_C(1) << order));
	stats.pages_used += count;
	if (stats.pages_used > stats.pages_peak)
		stats.pages_peak = stats.pages_used;
	return (void *)(uintptr_t)(frame << PAGE_SHIFT);
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
