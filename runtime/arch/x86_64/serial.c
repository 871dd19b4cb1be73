/* SPDX-License-Identifier: ISC */
/* The first serial port, a 16550. Output is polled: a transmitter that reports itself empty takes a
 * whole FIFO. A host that does not read must not stop the node, so waiting is bounded and the rest
 * is dropped. */

#include "arch/x86_64/cpu.h"
#include "arch/x86_64/internal.h"
#include "arch/x86_64/port.h"
#include "core/arch.h"

#define COM1           0x3f8
#define REG_DATA       (COM1 + 0)
#define REG_IRQ_ENABLE (COM1 + 1)
#define REG_FIFO       (COM1 + 2)
#define REG_LINE       (COM1 + 3)
#define REG_MODEM      (COM1 + 4)
#define REG_STATUS     (COM1 + 5)
#define REG_SCRATCH    (COM1 + 7)

#define STATUS_RECEIVED 0x01
#define STATUS_EMPTY    0x20
#define FIFO_BYTES      16
#define WAIT_TURNS      200000 /* each a port read: some tens of milliseconds */
#define ISA_IRQ         4

static bool present;

void arch_serial_init(void)
{
	port_out8(REG_SCRATCH, 0x5a);
	present = port_in8(REG_SCRATCH) == 0x5a;
	if (!present)
		return;
	port_out8(REG_IRQ_ENABLE, 0);
	port_out8(REG_LINE, 0x80);
	port_out8(REG_DATA, 1); /* divisor 1: 115200 */
	port_out8(REG_IRQ_ENABLE, 0);
	port_out8(REG_LINE, 0x03); /* 8n1 */
	port_out8(REG_FIFO, 0x07); /* on, cleared, interrupt at the first byte */
	port_out8(REG_MODEM, 0x0b);
}

void arch_serial_write(const char *text, size_t len)
{
	unsigned room = 0;

	for (size_t i = 0; present && i < len; i++) {
		if (room == 0) {
			unsigned turns = 0;
			while ((port_in8(REG_STATUS) & STATUS_EMPTY) == 0) {
				if (++turns > WAIT_TURNS)
					return;
				cpu_pause();
			}
			room = FIFO_BYTES;
		}
		port_out8(REG_DATA, (uint8_t)text[i]);
		room--;
	}
}

int arch_serial_read(void)
{
	if (!present || (port_in8(REG_STATUS) & STATUS_RECEIVED) == 0)
		return -1;
	return port_in8(REG_DATA);
}

static void on_interrupt(void *ctx)
{
	(void)ctx;
	core_console_input();
}

void arch_serial_irq_init(void)
{
	if (!present)
		return;
	if (core_irq_register(acpi_facts()->isa_gsi[ISA_IRQ], 0, on_interrupt, NULL))
		port_out8(REG_IRQ_ENABLE, 1);
}
