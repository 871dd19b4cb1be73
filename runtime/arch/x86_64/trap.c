/* SPDX-License-Identifier: ISC */
/* Exceptions and the interrupt entry. An exception is always our bug (or a failing machine): print
 * what was in the registers and who called whom, and end. All exceptions run on a stack of their
 * own, since the usual one is a fiber that ran into its guard page. */

#include "arch/x86_64/cpu.h"
#include "arch/x86_64/internal.h"
#include "arch/x86_64/layout.h"
#include "core/arch.h"
#include "core/symbols.h"

#define BACKTRACE_MAX 32
#define STATUS_TRAP   16

struct arch_frame {
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};
void arch_trap(struct arch_frame *);

struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_middle;
	uint32_t offset_high, zero;
};
struct tss {
	uint32_t reserved0;
	uint32_t words[25]; /* stack pointers as halves: ist1 is words 8 and 9 */
};
struct __attribute__((packed)) descriptor_pointer {
	uint16_t limit;
	uint64_t base;
};

extern const char arch_vector_stubs[], arch_trap_stack_top[], image_start[], image_text_end[];

static struct gate idt[ARCH_VECTORS];
static struct tss tss;
static uint64_t gdt[5];
static bool trapped;

static const char *const names[] = {
        "divide error",
        "debug",
        "non-maskable interrupt",
        "breakpoint",
        "overflow",
        "bound range",
        "invalid opcode",
        "no coprocessor",
        "double fault",
        "coprocessor overrun",
        "invalid TSS",
        "segment not present",
        "stack fault",
        "general protection",
        "page fault",
        "reserved",
        "x87 error",
        "alignment check",
        "machine check",
        "SIMD error",
};

void arch_traps_init(void)
{
	struct descriptor_pointer p;
	uint64_t base = (uint64_t)(uintptr_t)&tss;
	uint64_t stack = (uint64_t)(uintptr_t)arch_trap_stack_top;

	tss.words[8] = (uint32_t)stack;
	tss.words[9] = (uint32_t)(stack >> 32);
	tss.words[24] = (uint32_t)sizeof tss << 16; /* no I/O permission bitmap */
	gdt[1] = UINT64_C(0x00af9b000000ffff);
	gdt[2] = UINT64_C(0x00cf93000000ffff);
	gdt[3] = (sizeof tss - 1) | (base & 0xffffff) << 16 | UINT64_C(0x89) << 40 |
	         (base >> 24 & 0xff) << 56;
	gdt[4] = base >> 32;
	p = (struct descriptor_pointer){sizeof gdt - 1, (uint64_t)(uintptr_t)gdt};
	__asm__ volatile("lgdt %0" : : "m"(p));
	for (unsigned i = 0; i < ARCH_VECTORS; i++) {
		uint64_t at = (uint64_t)(uintptr_t)arch_vector_stubs + 16u * i;
		idt[i] = (struct gate){.offset_low = (uint16_t)at,
		                       .selector = ARCH_CODE_SELECTOR,
		                       .ist = i < ARCH_VECTOR_DEVICE ? 1 : 0,
		                       .type = 0x8e,
		                       .offset_middle = (uint16_t)(at >> 16),
		                       .offset_high = (uint32_t)(at >> 32)};
	}
	p = (struct descriptor_pointer){sizeof idt - 1, (uint64_t)(uintptr_t)idt};
	__asm__ volatile("lidt %0" : : "m"(p));
	__asm__ volatile("ltr %w0" : : "r"(ARCH_TSS_SELECTOR));
}

static bool readable(uint64_t address)
{
	return (address & 7) == 0 && arch_mapped(address) && arch_mapped(address + 15);
}

static void print_place(const char *how, uint64_t address)
{
	uint64_t offset = 0;
	const char *name = symbol_at(address, &offset);

	if (name == NULL || address >= (uint64_t)(uintptr_t)image_text_end)
		core_printf("  %s %#lx\n", how, (unsigned long)address);
	else
		core_printf("  %s %#lx %s+%#lx\n", how, (unsigned long)address, name,
		            (unsigned long)offset);
}

/* A recursion that overflowed a stack is one line and a count. */
void arch_backtrace(uint64_t frame)
{
	uint64_t last = 0;
	unsigned lines = 0, repeated = 0;

	while (lines < BACKTRACE_MAX && frame != 0 && readable(frame)) {
		const uint64_t *f = (const uint64_t *)(uintptr_t)frame;
		if (f[1] < (uint64_t)(uintptr_t)image_start ||
		    f[1] >= (uint64_t)(uintptr_t)image_text_end)
			break;
		if (f[1] == last) {
			repeated++;
		} else {
			if (repeated > 0)
				core_printf("  %u times more\n", repeated);
			print_place("called from", f[1] - 1);
			repeated = 0;
			lines++;
		}
		last = f[1];
		if (f[0] <= frame)
			break;
		frame = f[0];
	}
}

static const char *page_fault_text(uint64_t error, uint64_t address)
{
	if (address < CORE_PAGE_SIZE)
		return "null pointer";
	if ((error & 16) != 0)
		return "execution of data";
	if ((error & 1) == 0)
		return core_guard_hit(address) ? "stack overflow" : "unmapped address";
	return (error & 2) != 0 ? "write to a read-only page" : "access refused";
}

static _Noreturn void exception(const struct arch_frame *f)
{
	const struct core_fiber *fiber = core_fiber_self();

	if (trapped)
		arch_abort(STATUS_TRAP);
	trapped = true;
	core_printf("\nTRAP %lu: %s", (unsigned long)f->vector,
	            f->vector < sizeof names / sizeof *names ? names[f->vector] : "reserved");
	if (f->vector == 14)
		core_printf(", %s, at address %#lx", page_fault_text(f->error, cpu_cr2()),
		            (unsigned long)cpu_cr2());
	core_printf("\n  in %s, error %#lx, flags %#lx\n",
	            fiber == NULL ? "the scheduler" : core_fiber_name(fiber),
	            (unsigned long)f->error, (unsigned long)f->rflags);
#define SHOW(a, b, c, d)                                                              \
	core_printf("  " #a " %016lx  " #b " %016lx  " #c " %016lx  " #d " %016lx\n", \
	            (unsigned long)f->a, (unsigned long)f->b, (unsigned long)f->c,    \
	            (unsigned long)f->d)
	SHOW(rip, rsp, rbp, rax);
	SHOW(rbx, rcx, rdx, rsi);
	SHOW(rdi, r8, r9, r10);
	SHOW(r11, r12, r13, r14);
#undef SHOW
	core_printf("  r15 %016lx  cr3 %016lx  cr4 %016lx\n", (unsigned long)f->r15,
	            (unsigned long)cpu_cr3(), (unsigned long)cpu_cr4());
	print_place("at", f->rip);
	arch_backtrace(f->rbp);
	arch_abort(STATUS_TRAP);
}

void arch_trap(struct arch_frame *f)
{
	if (f->vector < ARCH_VECTOR_DEVICE)
		exception(f);
	apic_dispatch((unsigned)f->vector);
}
