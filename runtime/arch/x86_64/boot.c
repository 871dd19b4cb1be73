/* SPDX-License-Identifier: ISC */
/* Reads what the loader left (PVH start info or multiboot 1 info) into struct core_boot. It lies in
 * memory that is free for use afterwards, so everything is copied. */

#include <string.h>

#include "arch/x86_64/cpu.h"
#include "arch/x86_64/internal.h"
#include "arch/x86_64/pci.h"
#include "core/arch.h"

#define PVH_MAGIC         0x336ec578u
#define MULTIBOOT_CMDLINE (1u << 2)
#define MULTIBOOT_MAP     (1u << 6)
#define FIRST_GIB         (UINT64_C(1) << 30)
#define BIOS_AREA         UINT64_C(0xe0000)
#define BIOS_AREA_END     UINT64_C(0x100000)

#define MICROVM_SLOT_BASE  UINT64_C(0xfeb00000)
#define MICROVM_SLOT_BYTES UINT64_C(0x200)

#define CPUID_XSAVE      (UINT32_C(1) << 26)
#define CPUID_AVX        (UINT32_C(1) << 28)
#define CR4_OSXSAVE      (UINT64_C(1) << 18)
#define XCR0_X87_SSE_AVX 7

struct pvh_info {
	uint32_t magic, version, flags, modules;
	uint64_t module_list, command_line, rsdp, map;
	uint32_t map_entries, reserved;
};
struct pvh_range {
	uint64_t base, size;
	uint32_t type, reserved;
};
struct multiboot_info {
	uint32_t flags, lower, upper, device, command_line, modules, module_list;
	uint32_t symbols[4];
	uint32_t map_bytes, map;
};
/* Unaligned: the first field does not count itself. */
struct __attribute__((packed)) multiboot_range {
	uint32_t bytes;
	uint64_t base, size;
	uint32_t type;
};

/* The loader's memory below 1 GiB, or NULL: all that the boot tables map. */
static const void *loader(uint64_t phys, uint64_t bytes)
{
	if (phys == 0 || phys >= FIRST_GIB || bytes > FIRST_GIB - phys)
		return NULL;
	return (const void *)(uintptr_t)phys;
}

static void add_range(uint64_t base, uint64_t size, uint32_t type)
{
	struct core_boot *b = core_boot_mutable();

	if (b->memory_count == CORE_MEMORY_RANGES_MAX || size == 0 || size > UINT64_MAX - base)
		return;
	b->memory[b->memory_count++] = (struct core_memory_range){base, size, type};
}

static void read_pvh(const struct pvh_info *info)
{
	const struct pvh_range *map = loader(info->map, info->map_entries * sizeof *map);
	const char *text = loader(info->command_line, CORE_COMMAND_LINE_MAX);

	core_boot_mutable()->rsdp = info->rsdp;
	for (uint32_t i = 0; info->version >= 1 && map != NULL && i < info->map_entries; i++)
		add_range(map[i].base, map[i].size, map[i].type);
	if (text != NULL)
		core_boot_command_line(text);
}

static void read_multiboot(const struct multiboot_info *info)
{
	const char *text = loader(info->command_line, CORE_COMMAND_LINE_MAX);
	uint32_t at = 0;

	while ((info->flags & MULTIBOOT_MAP) != 0 && at < info->map_bytes) {
		const struct multiboot_range *r = loader(info->map + at, sizeof *r);
		if (r == NULL)
			break;
		add_range(r->base, r->size, r->type);
		at += r->bytes + 4;
	}
	if ((info->flags & MULTIBOOT_CMDLINE) != 0 && text != NULL)
		core_boot_command_line(text);
}

static uint64_t find_rsdp(void)
{
	for (uint64_t at = BIOS_AREA; at < BIOS_AREA_END; at += 16)
		if (memcmp(loader(at, 16), "RSD PTR ", 8) == 0)
			return at;
	return 0;
}

static void find_machine(void)
{
	struct core_boot *b = core_boot_mutable();

	port_out32(PCI_PORT_ADDRESS, UINT32_C(0x80000000));
	b->has_pci = port_in32(PCI_PORT_ADDRESS) == UINT32_C(0x80000000);
	b->machine = "unknown machine";
	if (b->has_pci) {
		uint32_t bridge = pci_read32(0, 0, 0, 0);
		if (bridge == UINT32_C(0x29c08086))
			b->machine = "q35";
		else if (bridge == UINT32_C(0x12378086))
			b->machine = "pc";
		b->has_pci = bridge != UINT32_MAX;
	} else if (b->virtio_mmio_count > 0 &&
	           b->virtio_mmio[0].base - MICROVM_SLOT_BASE < 32 * MICROVM_SLOT_BYTES) {
		b->machine = "microvm";
	}
}

/* QEMU's microvm with ACPI announces its slots only in AML; its fixed layout serves as well. */
void boot_find_microvm_slots(void)
{
	struct core_boot *b = core_boot_mutable();
	const struct acpi_facts *a = acpi_facts();
	unsigned slots = a->ioapics > 1 ? 24 : 8, first_gsi = a->ioapics > 1 ? 24 : 16;

	if (b->has_pci || b->virtio_mmio_count > 0 || !a->hardware_reduced)
		return;
	b->machine = "microvm";
	for (unsigned i = 0; i < slots; i++)
		b->virtio_mmio[b->virtio_mmio_count++] =
		        (struct core_virtio_mmio){MICROVM_SLOT_BASE + i * MICROVM_SLOT_BYTES,
		                                  MICROVM_SLOT_BYTES, first_gsi + i};
}

/* AVX needs no saving: its registers belong to the caller at a fiber switch, and interrupts come
 * only in the idle wait. */
static void enable_avx(void)
{
	if ((~cpu_id(1).c & (CPUID_XSAVE | CPUID_AVX)) != 0)
		return;
	cpu_cr4_set(cpu_cr4() | CR4_OSXSAVE);
	__asm__ volatile("xsetbv" : : "c"(0), "a"(XCR0_X87_SSE_AVX), "d"(0));
}

void arch_start(uint64_t info)
{
	const uint32_t *magic = loader(info, sizeof(struct pvh_info));

	arch_serial_init();
	arch_traps_init();
	enable_avx();
	if (magic == NULL)
		core_panic("the loader left no boot information");
	if (*magic == PVH_MAGIC)
		read_pvh((const struct pvh_info *)magic);
	else
		read_multiboot((const struct multiboot_info *)magic);
	if (core_boot()->rsdp == 0 && core_boot()->virtio_mmio_count == 0)
		core_boot_mutable()->rsdp = find_rsdp();
	find_machine();
	core_start();
}
