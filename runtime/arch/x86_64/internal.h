/* SPDX-License-Identifier: ISC */
/* Between the files of this folder. */
#ifndef ARCH_INTERNAL_H
#define ARCH_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

/* Entry from entry.S: the physical address of the PVH start info or the multiboot info. */
_Noreturn void arch_start(uint64_t info);

void arch_idle(void);
void arch_power_init(void);
void apic_timer_fired(void);
void boot_find_microvm_slots(void);

bool arch_mapped(uint64_t address);

/* The local APIC's one-shot timer, counted down once per nanosecond under QEMU and KVM. */
void apic_timer_start(uint32_t count);
uint32_t apic_timer_count(void);
/* Device interrupt by vector; called from the trap entry. */
void apic_dispatch(unsigned vector);
extern uint64_t apic_timer_hz;

struct acpi_ioapic {
	uint64_t base;
	uint32_t gsi_base;
};
#define ACPI_IOAPICS_MAX 4
struct acpi_facts {
	struct acpi_ioapic ioapic[ACPI_IOAPICS_MAX];
	unsigned ioapics;
	uint64_t lapic;        /* 0 = unknown */
	uint16_t pm1a_control; /* port, 0 = none */
	uint16_t pm1a_event;   /* port, 0 = none */
	uint16_t pm_timer;     /* port, 0 = none */
	uint16_t sci;          /* global system interrupt */
	uint16_t smi_command;  /* port, 0 = none */
	uint8_t acpi_enable;
	uint8_t s5;             /* sleep type of S5 for PM1a */
	uint64_t sleep_control; /* hardware-reduced: MMIO register, 0 = none */
	uint16_t isa_gsi[16];   /* where ISA interrupts arrive */
	bool isa_level[16];
	bool hardware_reduced;
};
const struct acpi_facts *acpi_facts(void);
void acpi_init(void);

#endif /* ARCH_INTERNAL_H */
