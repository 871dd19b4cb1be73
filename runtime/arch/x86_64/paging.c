/* SPDX-License-Identifier: ISC */
/* Page tables. RAM is mapped at virtual = physical in 2 MiB pages where nothing finer is needed;
 * writable is never executable: text alone is executable and read-only. Page 0, the guards under
 * every stack and all that is not RAM stay unmapped until a driver asks for its registers. */

#include <string.h>

#include "arch/x86_64/cpu.h"
#include "arch/x86_64/internal.h"
#include "core/arch.h"

#define PRESENT  UINT64_C(1)
#define WRITABLE UINT64_C(2)
#define UNCACHED UINT64_C(0x18) /* write-through and cache-disable: strong uncached */
#define SEEN     UINT64_C(0x60) /* accessed and dirty, so that the CPU need not write them */
#define LARGE    UINT64_C(0x80)
#define NO_EXEC  (UINT64_C(1) << 63)
#define ADDRESS  UINT64_C(0x000ffffffffff000)

#define PAGE        UINT64_C(4096)
#define LARGE_PAGE  (UINT64_C(2) << 20)
#define TABLE_COUNT 512u

extern char image_start[], image_text_end[], image_rodata_end[], image_end[];
extern char arch_boot_stack_guard[], arch_trap_stack_guard[];

static uint64_t *root;
static uint64_t *early_free; /* while start-up runs: where page tables come from */

static uint64_t *table_new(void)
{
	void *page;

	if (early_free != NULL) {
		page = (void *)(uintptr_t)*early_free;
		*early_free += PAGE;
	} else {
		page = core_pages_alloc(1);
		if (page == NULL)
			return NULL;
	}
	return memset(page, 0, PAGE);
}

static uint64_t *table_of(uint64_t entry)
{
	return (uint64_t *)(uintptr_t)(entry & ADDRESS);
}

/* The table below an entry, made if it is missing; a large page is split into equal small ones. */
static uint64_t *table_below(uint64_t *entry)
{
	uint64_t *table;

	if ((*entry & PRESENT) != 0 && (*entry & LARGE) == 0)
		return table_of(*entry);
	table = table_new();
	if (table == NULL)
		return NULL;
	if ((*entry & PRESENT) != 0) {
		uint64_t small = *entry & ~LARGE;
		for (unsigned i = 0; i < TABLE_COUNT; i++)
			table[i] = small + i * PAGE;
	}
	*entry = (uint64_t)(uintptr_t)table | PRESENT | WRITABLE;
	return table;
}

static uint64_t *directory_entry(uint64_t address)
{
	uint64_t *table = table_below(&root[address >> 39 & 511]);

	if (table != NULL)
		table = table_below(&table[address >> 30 & 511]);
	return table == NULL ? NULL : &table[address >> 21 & 511];
}

/* The processor keeps no entry that was absent, and none of tables that are not in use yet. */
static void set_entry(uint64_t *entry, uint64_t value, uint64_t at)
{
	bool known = (*entry & PRESENT) != 0 && early_free == NULL;

	*entry = value;
	if (known)
		cpu_tlb_drop(at);
}

/* Sets [base, end) to physical = virtual with these flags; 0 unmaps. */
static bool map(uint64_t base, uint64_t end, uint64_t flags)
{
	uint64_t at = base & ~(PAGE - 1);

	while (at < end) {
		uint64_t *entry = directory_entry(at);
		if (entry == NULL)
			return false;
		if (at % LARGE_PAGE == 0 && end - at >= LARGE_PAGE && flags != 0 &&
		    ((*entry & PRESENT) == 0 || (*entry & LARGE) != 0)) {
			set_entry(entry, at | flags | LARGE, at);
			at += LARGE_PAGE;
			continue;
		}
		entry = table_below(entry);
		if (entry == NULL)
			return false;
		set_entry(&entry[at >> 12 & 511], flags == 0 ? 0 : at | flags, at);
		at += PAGE;
	}
	return true;
}

static void must(bool mapped)
{
	if (!mapped)
		core_panic("no memory for page tables");
}

void arch_paging_init(uint64_t *free)
{
	const struct core_boot *boot = core_boot();
	const uint64_t data = PRESENT | WRITABLE | SEEN | NO_EXEC;
	uint64_t text_at = (uint64_t)(uintptr_t)image_start;
	uint64_t text_end = (uint64_t)(uintptr_t)image_text_end;
	uint64_t rodata_end = (uint64_t)(uintptr_t)image_rodata_end;

	early_free = free;
	root = table_new();
	for (size_t i = 0; i < boot->memory_count; i++) {
		const struct core_memory_range *m = &boot->memory[i];
		uint64_t base = m->base < PAGE ? PAGE : (m->base + PAGE - 1) & ~(PAGE - 1);
		uint64_t end = (m->base + m->size) & ~(PAGE - 1);
		if (m->kind == CORE_MEMORY_RAM && base < end)
			must(map(base, end, data));
	}
	must(map(text_at, text_end, PRESENT | SEEN));
	must(map(text_end, rodata_end, PRESENT | SEEN | NO_EXEC));
	must(map((uint64_t)(uintptr_t)arch_boot_stack_guard,
	         (uint64_t)(uintptr_t)arch_boot_stack_guard + PAGE, 0));
	must(map((uint64_t)(uintptr_t)arch_trap_stack_guard,
	         (uint64_t)(uintptr_t)arch_trap_stack_guard + PAGE, 0));
	cpu_cr3_set((uint64_t)(uintptr_t)root);
	early_free = NULL;
}

bool arch_protect(uint64_t base, uint64_t len, enum arch_rights rights)
{
	switch (rights) {
	case ARCH_NONE: return map(base, base + len, 0);
	case ARCH_READ_ONLY: return map(base, base + len, PRESENT | SEEN | NO_EXEC);
	case ARCH_READ_WRITE: return map(base, base + len, PRESENT | WRITABLE | SEEN | NO_EXEC);
	}
	return false;
}

bool arch_mapped(uint64_t address)
{
	uint64_t entry = root == NULL ? 0 : root[address >> 39 & 511];

	if (root == NULL)
		return address < (UINT64_C(1) << 30);
	if ((entry & PRESENT) != 0)
		entry = table_of(entry)[address >> 30 & 511];
	if ((entry & PRESENT) != 0)
		entry = table_of(entry)[address >> 21 & 511];
	if ((entry & PRESENT) != 0 && (entry & LARGE) == 0)
		entry = table_of(entry)[address >> 12 & 511];
	return (entry & PRESENT) != 0;
}

static bool overlaps_ram(uint64_t base, uint64_t end)
{
	const struct core_boot *boot = core_boot();

	for (size_t i = 0; i < boot->memory_count; i++) {
		const struct core_memory_range *m = &boot->memory[i];
		if (m->kind == CORE_MEMORY_RAM && base < m->base + m->size && m->base < end)
			return true;
	}
	return false;
}

static bool range_valid(uint64_t phys, uint64_t len)
{
	return phys >= PAGE && len > 0 && phys < ADDRESS && len < ADDRESS - phys;
}

volatile void *core_map_mmio(uint64_t phys, uint64_t len)
{
	if (!range_valid(phys, len) || overlaps_ram(phys, phys + len) ||
	    !map(phys, phys + len, PRESENT | WRITABLE | SEEN | NO_EXEC | UNCACHED))
		return NULL;
	return (volatile void *)(uintptr_t)phys;
}

const void *core_map_firmware(uint64_t phys, uint64_t len)
{
	if (!range_valid(phys, len))
		return NULL;
	if (!overlaps_ram(phys, phys + len) && !map(phys, phys + len, PRESENT | SEEN | NO_EXEC))
		return NULL;
	return (const void *)(uintptr_t)phys;
}
