/* SPDX-License-Identifier: ISC */
/* Interrupt and exception entries, the fiber switch and the idle wait. */

#include "arch/x86_64/layout.h"

	.text
	/* One stub of 16 bytes a vector: push an error code where the CPU does not, and the vector. */
	.balign 16
	.globl arch_vector_stubs
arch_vector_stubs:
	.set vector, 0
	.rept ARCH_VECTORS
	.balign 16
	.if (vector != 8) && ((vector < 10) || (vector > 14)) && (vector != 17) && (vector != 21) \
		&& (vector != 29) && (vector != 30)
	push $0
	.endif
	push $vector
	jmp trap_common
	.set vector, vector + 1
	.endr

	/* Builds struct arch_frame (trap.c). Interrupts come only inside arch_idle, where no
	 * floating-point state is live, so only the integer registers are kept. */
	.balign 16
trap_common:
	push %r15
	push %r14
	push %r13
	push %r12
	push %r11
	push %r10
	push %r9
	push %r8
	push %rbp
	push %rdi
	push %rsi
	push %rdx
	push %rcx
	push %rbx
	push %rax
	cld
	mov %rsp, %rdi
	mov %rsp, %rbx
	and $-16, %rsp
	call arch_trap
	mov %rbx, %rsp
	pop %rax
	pop %rbx
	pop %rcx
	pop %rdx
	pop %rsi
	pop %rdi
	pop %rbp
	pop %r8
	pop %r9
	pop %r10
	pop %r11
	pop %r12
	pop %r13
	pop %r14
	pop %r15
	add $16, %rsp
	iretq

	/* void arch_switch(void **save_sp, void *load_sp): keeps what a callee must keep. The x87
	 * control word and MXCSR never change in the image, so they are not part of a fiber. */
	.balign 16
	.globl arch_switch
	.type arch_switch, @function
arch_switch:
	push %rbp
	push %rbx
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, (%rdi)
	mov %rsi, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbx
	pop %rbp
	ret

	/* A new fiber's first return lands here: r12 = function, r13 = argument. */
	.balign 16
	.globl arch_fiber_entry
	.type arch_fiber_entry, @function
arch_fiber_entry:
	xor %ebp, %ebp
	mov %r13, %rdi
	call *%r12
	ud2

	/* void arch_idle(void): takes whatever interrupts are pending or come next, once. The shadow
	 * of sti keeps an interrupt from slipping in between the caller's last check and hlt. */
	.balign 16
	.globl arch_idle
	.type arch_idle, @function
arch_idle:
	push %rbp
	mov %rsp, %rbp
	sti
	hlt
	cli
	pop %rbp
	ret

	.bss
	.balign 4096
	.globl arch_trap_stack_guard
arch_trap_stack_guard:
	.skip 4096
	.skip ARCH_TRAP_STACK
	.globl arch_trap_stack_top
arch_trap_stack_top:

	.section .note.GNU-stack, "", @progbits
