/* SPDX-License-Identifier: ISC */
/* Ending the machine, and the power button. */

#include "arch/x86_64/cpu.h"
#include "arch/x86_64/internal.h"
#include "arch/x86_64/port.h"
#include "core/arch.h"

#define PORT_DEBUG_EXIT 0x501 /* QEMU's isa-debug-exit: the process ends with 2 * value + 1 */
#define PORT_KEYBOARD   0x64
#define PORT_RESET      0xcf9
#define KEYBOARD_RESET  0xfe

#define PM1_POWER_BUTTON  0x0100u
#define PM1_SLEEP_ENABLE  0x2000u
#define SLEEP_ENABLE_REG  0x20u
#define GED_FROM_SLEEP    0x200u /* microvm: the event register lies this far below */
#define GED_POWER_BUTTON  0x2u
#define WAIT_POWER_OFF_NS 100000000u

static bool button;

static _Noreturn void triple_fault(void)
{
	const struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} none = {0, 0};

	__asm__ volatile("lidt %0; int3" : : "m"(none));
	for (;;)
		__asm__ volatile("cli; hlt");
}

void arch_power_off(void)
{
	const struct acpi_facts *a = acpi_facts();

	if (a->sleep_control != 0) {
		volatile uint8_t *reg = core_map_mmio(a->sleep_control, 1);
		if (reg != NULL)
			*reg = (uint8_t)(SLEEP_ENABLE_REG | (unsigned)a->s5 << 2);
		core_spin_ns(WAIT_POWER_OFF_NS);
	} else if (a->pm1a_control != 0) {
		port_out16(a->pm1a_control, (uint16_t)(PM1_SLEEP_ENABLE | (unsigned)a->s5 << 10));
		core_spin_ns(WAIT_POWER_OFF_NS);
	}
	port_out8(PORT_DEBUG_EXIT, 0);
	port_out8(PORT_KEYBOARD, KEYBOARD_RESET);
	triple_fault();
}

void arch_abort(int status)
{
	port_out8(PORT_DEBUG_EXIT, (uint8_t)status);
	if (core_boot()->has_pci) {
		port_out8(PORT_RESET, 2);
		port_out8(PORT_RESET, 6);
	}
	port_out8(PORT_KEYBOARD, KEYBOARD_RESET);
	triple_fault();
}

bool arch_power_button(void)
{
	return button;
}

static void on_button(void *ctx)
{
	const struct acpi_facts *a = acpi_facts();

	(void)ctx;
	if (a->pm1a_event != 0) {
		uint16_t seen = port_in16(a->pm1a_event);
		port_out16(a->pm1a_event, seen);
		if ((seen & PM1_POWER_BUTTON) != 0)
			button = true;
	} else if (a->sleep_control != 0) {
		volatile uint32_t *event = core_map_mmio(a->sleep_control - GED_FROM_SLEEP, 4);
		if (event != NULL && (*event & GED_POWER_BUTTON) != 0)
			button = true;
	}
	if (button)
		core_stop();
}

void arch_power_init(void)
{
	const struct acpi_facts *a = acpi_facts();

	if (a->pm1a_event != 0) {
		if (a->smi_command != 0 && a->acpi_enable != 0 && a->pm1a_control != 0 &&
		    (port_in16(a->pm1a_control) & 1) == 0)
			port_out8(a->smi_command, a->acpi_enable);
		port_out16(a->pm1a_event, 0xffff);
		port_out16((uint16_t)(a->pm1a_event + 2), PM1_POWER_BUTTON);
		core_irq_register(a->sci < 16 ? a->isa_gsi[a->sci] : a->sci, CORE_IRQ_LEVEL,
		                  on_button, NULL);
	} else if (a->hardware_reduced && a->sleep_control != 0) {
		core_irq_register(a->isa_gsi[9], 0, on_button, NULL);
	}
}
