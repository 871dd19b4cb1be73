/* SPDX-License-Identifier: ISC */
/* Local APIC, I/O APICs, and who gets which vector. */

#include "arch/x86_64/cpu.h"
#include "arch/x86_64/internal.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/mmio.h"
#include "arch/x86_64/port.h"
#include "core/arch.h"

#define MSR_APIC_BASE    0x1b
#define APIC_ENABLE      (UINT64_C(1) << 11)
#define APIC_DEFAULT     UINT64_C(0xfee00000)
#define LAPIC_ID         0x20
#define LAPIC_TASK       0x80
#define LAPIC_EOI        0xb0
#define LAPIC_SPURIOUS   0xf0
#define LAPIC_LVT_TIMER  0x320
#define LAPIC_LVT_LINT0  0x350
#define LAPIC_TIMER_INIT 0x380
#define LAPIC_TIMER_NOW  0x390
#define LAPIC_TIMER_DIV  0x3e0
#define LVT_MASKED       0x10000u
#define DIVIDE_BY_1      0xbu

#define IOAPIC_SELECT  0x00
#define IOAPIC_WINDOW  0x10
#define IOAPIC_VERSION 1
#define IOAPIC_ENTRY   0x10
#define ENTRY_LOW      0x2000u /* active low */
#define ENTRY_LEVEL    0x8000u
#define ENTRY_MASKED   0x10000u

#define HANDLERS_MAX 64
#define NO_GSI       UINT32_MAX

struct handler {
	void (*fn)(void *ctx);
	void *ctx;
	struct handler *next;
};
struct ioapic {
	volatile uint8_t *regs;
	uint32_t gsi_base;
	uint32_t lines;
};

static volatile uint8_t *lapic;
static struct ioapic ioapics[ACPI_IOAPICS_MAX];
static unsigned ioapic_count;
static struct handler handlers[HANDLERS_MAX];
static unsigned handler_count;
static struct {
	struct handler *first;
	uint32_t gsi;
} vectors[ARCH_DEVICE_VECTORS];
static unsigned vector_count;
/* QEMU and KVM both count the local APIC timer at 1 GHz; clock.c measures it elsewhere. */
uint64_t apic_timer_hz = 1000000000;

static uint32_t ioapic_read(const struct ioapic *io, uint32_t reg)
{
	mmio_write32(io->regs + IOAPIC_SELECT, reg);
	return mmio_read32(io->regs + IOAPIC_WINDOW);
}

static void ioapic_write(const struct ioapic *io, uint32_t reg, uint32_t v)
{
	mmio_write32(io->regs + IOAPIC_SELECT, reg);
	mmio_write32(io->regs + IOAPIC_WINDOW, v);
}

static void lapic_init(void)
{
	uint64_t base = cpu_msr_read(MSR_APIC_BASE);

	if ((base & APIC_ENABLE) == 0)
		cpu_msr_write(MSR_APIC_BASE, base | APIC_ENABLE);
	base &= UINT64_C(0xffffff000);
	lapic = core_map_mmio(base == 0 ? APIC_DEFAULT : base, CORE_PAGE_SIZE);
	if (lapic == NULL)
		core_panic("cannot map the local APIC");
	mmio_write32(lapic + LAPIC_SPURIOUS, 0x100 | ARCH_VECTOR_SPURIOUS);
	mmio_write32(lapic + LAPIC_TASK, 0);
	mmio_write32(lapic + LAPIC_LVT_LINT0, LVT_MASKED);
	mmio_write32(lapic + LAPIC_TIMER_DIV, DIVIDE_BY_1);
	mmio_write32(lapic + LAPIC_LVT_TIMER, ARCH_VECTOR_TIMER);
}

static void ioapics_init(void)
{
	const struct acpi_facts *a = acpi_facts();

	for (unsigned i = 0; i < a->ioapics; i++) {
		struct ioapic *io = &ioapics[ioapic_count];
		io->regs = core_map_mmio(a->ioapic[i].base, 0x20);
		if (io->regs == NULL)
			continue;
		uint32_t version = ioapic_read(io, IOAPIC_VERSION);
		if (version == UINT32_MAX)
			continue;
		io->gsi_base = a->ioapic[i].gsi_base;
		io->lines = (version >> 16 & 0xff) + 1;
		ioapic_count++;
	}
}

void arch_irq_init(void)
{
	/* Both 8259s, if there, stay silent. */
	port_out8(0x21, 0xff);
	port_out8(0xa1, 0xff);
	acpi_init();
	boot_find_microvm_slots();
	lapic_init();
	ioapics_init();
	arch_power_init();
}

static unsigned vector_for(uint32_t gsi)
{
	if (gsi != NO_GSI)
		for (unsigned i = 0; i < vector_count; i++)
			if (vectors[i].gsi == gsi)
				return i;
	if (vector_count == ARCH_DEVICE_VECTORS)
		return ARCH_DEVICE_VECTORS;
	vectors[vector_count].gsi = gsi;
	return vector_count++;
}

static bool handler_add(unsigned vector, void (*fn)(void *ctx), void *ctx)
{
	struct handler *h = &handlers[handler_count];

	if (vector == ARCH_DEVICE_VECTORS || handler_count == HANDLERS_MAX)
		return false;
	handler_count++;
	*h = (struct handler){fn, ctx, vectors[vector].first};
	vectors[vector].first = h;
	return true;
}

bool core_irq_register(unsigned gsi, unsigned flags, void (*fn)(void *ctx), void *ctx)
{
	for (unsigned i = 0; i < ioapic_count; i++) {
		const struct ioapic *io = &ioapics[i];
		if (gsi < io->gsi_base || gsi - io->gsi_base >= io->lines)
			continue;
		unsigned vector = vector_for(gsi);
		if (!handler_add(vector, fn, ctx))
			return false;
		uint32_t entry = ARCH_VECTOR_DEVICE + vector;
		if ((flags & CORE_IRQ_LEVEL) != 0)
			entry |= ENTRY_LEVEL;
		if ((flags & CORE_IRQ_ACTIVE_LOW) != 0)
			entry |= ENTRY_LOW;
		uint32_t reg = IOAPIC_ENTRY + 2 * (gsi - io->gsi_base);
		ioapic_write(io, reg, ENTRY_MASKED);
		ioapic_write(io, reg + 1, mmio_read32(lapic + LAPIC_ID) & 0xff000000);
		ioapic_write(io, reg, entry);
		return true;
	}
	return false;
}

bool core_msi_register(void (*fn)(void *ctx), void *ctx, struct core_msi *out)
{
	unsigned vector = vector_for(NO_GSI);

	if (!handler_add(vector, fn, ctx))
		return false;
	out->address = APIC_DEFAULT | (mmio_read32(lapic + LAPIC_ID) >> 24) << 12;
	out->data = ARCH_VECTOR_DEVICE + vector;
	return true;
}

void apic_dispatch(unsigned vector)
{
	if (vector == ARCH_VECTOR_SPURIOUS)
		return;
	if (vector == ARCH_VECTOR_TIMER)
		apic_timer_fired();
	else if (vector - ARCH_VECTOR_DEVICE < vector_count)
		for (struct handler *h = vectors[vector - ARCH_VECTOR_DEVICE].first; h != NULL;
		     h = h->next)
			if (h->fn != NULL)
				h->fn(h->ctx);
	mmio_write32(lapic + LAPIC_EOI, 0);
}

void apic_timer_start(uint32_t count)
{
	mmio_write32(lapic + LAPIC_TIMER_INIT, count);
}

uint32_t apic_timer_count(void)
{
	return mmio_read32(lapic + LAPIC_TIMER_NOW);
}
