/* SPDX-License-Identifier: ISC */
/* The context switch: saves what the C ABI lets a callee keep, changes stacks, restores.
 * x86_64: System V ABI (rbx, rbp, r12-r15, mxcsr, x87 control word). aarch64: AAPCS64 (x19-x30,
 * d8-d15). The frame that posix_switch_prepare builds mirrors the restoring half. */
#include <string.h>

#include "internal.h"

#if defined(__x86_64__)
__asm__(".text\n"
        ".globl posix_switch\n"
        ".type posix_switch, @function\n"
        "posix_switch:\n"
        "	pushq %rbp\n"
        "	pushq %rbx\n"
        "	pushq %r12\n"
        "	pushq %r13\n"
        "	pushq %r14\n"
        "	pushq %r15\n"
        "	subq $8, %rsp\n"
        "	stmxcsr (%rsp)\n"
        "	fnstcw 4(%rsp)\n"
        "	movq %rsp, (%rdi)\n"
        "	movq %rsi, %rsp\n"
        "	ldmxcsr (%rsp)\n"
        "	fldcw 4(%rsp)\n"
        "	addq $8, %rsp\n"
        "	popq %r15\n"
        "	popq %r14\n"
        "	popq %r13\n"
        "	popq %r12\n"
        "	popq %rbx\n"
        "	popq %rbp\n"
        "	ret\n"
        ".size posix_switch, .-posix_switch\n");

enum { FRAME_WORDS = 9, FRAME_RETURN = 7 };

void *posix_switch_prepare(void *stack_top, void (*entry)(void))
{
	/* control words, r15 r14 r13 r12 rbx rbp, return address, a null caller: the stack
	 * pointer is 16n + 8 at entry, as after a call. */
	uint64_t frame[FRAME_WORDS] = {0};
	uint32_t mxcsr = 0;
	uint16_t fpu = 0;

	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	__asm__ volatile("fnstcw %0" : "=m"(fpu));
	frame[0] = (uint64_t)fpu << 32 | mxcsr;
	frame[FRAME_RETURN] = (uint64_t)(uintptr_t)entry;
	uint8_t *top = (uint8_t *)((uintptr_t)stack_top & ~(uintptr_t)15);
	return memcpy(top - sizeof frame, frame, sizeof frame);
}
#elif defined(__aarch64__)
__asm__(".text\n"
        ".globl posix_switch\n"
        ".type posix_switch, %function\n"
        "posix_switch:\n"
        "	sub sp, sp, #160\n"
        "	stp x19, x20, [sp, #0]\n"
        "	stp x21, x22, [sp, #16]\n"
        "	stp x23, x24, [sp, #32]\n"
        "	stp x25, x26, [sp, #48]\n"
        "	stp x27, x28, [sp, #64]\n"
        "	stp x29, x30, [sp, #80]\n"
        "	stp d8, d9, [sp, #96]\n"
        "	stp d10, d11, [sp, #112]\n"
        "	stp d12, d13, [sp, #128]\n"
        "	stp d14, d15, [sp, #144]\n"
        "	mov x9, sp\n"
        "	str x9, [x0]\n"
        "	mov sp, x1\n"
        "	ldp x19, x20, [sp, #0]\n"
        "	ldp x21, x22, [sp, #16]\n"
        "	ldp x23, x24, [sp, #32]\n"
        "	ldp x25, x26, [sp, #48]\n"
        "	ldp x27, x28, [sp, #64]\n"
        "	ldp x29, x30, [sp, #80]\n"
        "	ldp d8, d9, [sp, #96]\n"
        "	ldp d10, d11, [sp, #112]\n"
        "	ldp d12, d13, [sp, #128]\n"
        "	ldp d14, d15, [sp, #144]\n"
        "	add sp, sp, #160\n"
        "	ret\n"
        ".size posix_switch, .-posix_switch\n");

enum { FRAME_WORDS = 20, FRAME_RETURN = 11 };

void *posix_switch_prepare(void *stack_top, void (*entry)(void))
{
	uint64_t frame[FRAME_WORDS] = {0};

	frame[FRAME_RETURN] = (uint64_t)(uintptr_t)entry;
	uint8_t *top = (uint8_t *)((uintptr_t)stack_top & ~(uintptr_t)15);
	return memcpy(top - sizeof frame, frame, sizeof frame);
}
#else
#error "no context switch for this processor: add one here"
#endif
