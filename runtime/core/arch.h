/* SPDX-License-Identifier: ISC */
/* What the core asks of the processor's folder (arch/x86_64, later arch/aarch64), and the few calls
 * the other way. Order of start-up: arch_start (entered from assembly) fills the boot information,
 * then calls core_start, which calls the arch_*_init functions as it goes. */
#ifndef CORE_ARCH_H
#define CORE_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/core.h"

/* ---- from the processor's folder to the core ---- */

/* Runs the whole image on the boot stack; boot is already filled. */
_Noreturn void core_start(void);
struct core_boot *core_boot_mutable(void);
/* Copies a command line, taking out the virtio_mmio.device= words into the boot information. */
void core_boot_command_line(const char *text);
/* Bytes wait at the console. */
void core_console_input(void);
/* True if an address lies in the guard page below the current stack. */
bool core_guard_hit(uint64_t address);

/* ---- what the processor's folder supplies ---- */

/* Maps RAM with its final rights and unmaps the guards of the boot and trap stacks. Takes page
 * tables from *free, which moves up; it starts at the first page after the image. */
void arch_paging_init(uint64_t *free);
void arch_traps_init(void);
/* Finds and programs the interrupt controllers; reads the ACPI tables. */
void arch_irq_init(void);
void arch_clock_init(void);

/* Rights of pages that are mapped already; a page table page may be needed: false without memory.
 */
enum arch_rights { ARCH_NONE, ARCH_READ_ONLY, ARCH_READ_WRITE };
bool arch_protect(uint64_t base, uint64_t len, enum arch_rights);

uint64_t arch_now_ns(void);
bool arch_wall_s(int64_t *s);
/* Halts until an interrupt or about until the deadline. */
void arch_idle_until(uint64_t deadline_ns);

/* Saves this context in *save and continues in load. */
void arch_switch(void **save, void *load);
/* Prepares a stack whose first switch calls fn(arg). Returns what to load. */
void *arch_fiber_prepare(void *stack_top, void (*fn)(void *), void *arg);

/* A hardware random number, if the processor has an instruction for it. */
bool arch_random64(uint64_t *out);

void arch_serial_init(void);
void arch_serial_write(const char *text, size_t len);
/* The next received byte or -1. */
int arch_serial_read(void);
void arch_serial_irq_init(void);
/* True once the machine's power button was pressed. */
bool arch_power_button(void);
_Noreturn void arch_power_off(void);
/* After a failure: tells the host a status where it can, else resets the machine. */
_Noreturn void arch_abort(int status);
/* Prints return addresses from a frame pointer on. */
void arch_backtrace(uint64_t frame);

#endif /* CORE_ARCH_H */
