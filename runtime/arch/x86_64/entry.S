/* SPDX-License-Identifier: ISC */
/* From the loader's 32-bit protected mode to C in long mode. Two loaders come here: PVH (EBX = start
 * info) and multiboot 1 (EAX = 0x2badb002, EBX = its info); which one it was is told by the magic
 * number behind EBX, since QEMU's microvm leaves the multiboot value in EAX under PVH too. The
 * loader has zeroed .bss, as both contracts demand. The tables built here map the first GiB
 * writable and executable; paging.c replaces them at once. */

#include "arch/x86_64/layout.h"

	.section .note.pvh, "a", @note
	.balign 4
	.long 4, 4, 18 /* name and descriptor size, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long arch_entry

	.section .multiboot, "a"
	.globl arch_multiboot_header
	.balign 4
arch_multiboot_header:
	.long 0x1badb002
	.long 0x00000003 /* page-aligned modules, memory map */
	.long -(0x1badb002 + 0x00000003)

	.section .text.entry, "ax"
	.code32
	.globl arch_entry
	.type arch_entry, @function
arch_entry:
	cli
	cld
	rdtsc
	mov %eax, arch_entry_tsc
	mov %edx, arch_entry_tsc + 4
	mov $arch_boot_stack_top, %esp

	/* 512 pages of 2 MiB: present, writable, accessed, dirty, large. */
	mov $boot_pd, %edi
	mov $0xe3, %eax
	xor %ecx, %ecx
1:	mov %eax, (%edi, %ecx, 8)
	movl $0, 4(%edi, %ecx, 8)
	add $0x200000, %eax
	inc %ecx
	cmp $512, %ecx
	jne 1b
	movl $boot_pd + 3, boot_pdpt
	movl $0, boot_pdpt + 4
	movl $boot_pdpt + 3, boot_pml4
	movl $0, boot_pml4 + 4

	mov $0x620, %eax /* PAE, OSFXSR, OSXMMEXCPT */
	mov %eax, %cr4
	mov $boot_pml4, %eax
	mov %eax, %cr3
	mov $0xc0000080, %ecx /* EFER: LME, NXE */
	rdmsr
	or $0x900, %eax
	wrmsr
	mov %cr0, %eax
	and $~0x6000000c, %eax /* no CD, NW, TS, EM */
	or $0x80010022, %eax   /* PG, WP, NE, MP */
	mov %eax, %cr0
	lgdt boot_gdt_pointer
	ljmp $ARCH_CODE_SELECTOR, $1f

	.code64
1:	mov $ARCH_DATA_SELECTOR, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	fninit
	mov %ebx, %edi
	xor %ebp, %ebp
	call arch_start
	ud2

	.section .rodata.gdt, "a"
	.balign 8
boot_gdt:
	.quad 0
	.quad 0x00af9b000000ffff /* code, 64 bit */
	.quad 0x00cf93000000ffff /* data */
boot_gdt_end:
boot_gdt_pointer:
	.word boot_gdt_end - boot_gdt - 1
	.long boot_gdt
	.long 0

	.section .data.entry, "aw"
	.balign 8
	.globl arch_entry_tsc
arch_entry_tsc:
	.quad 0

	.section .bss.boot_tables, "aw", @nobits
	.balign 4096
boot_pml4:
	.skip 4096
boot_pdpt:
	.skip 4096
boot_pd:
	.skip 4096

	/* The scheduler's stack; the page below it is unmapped by paging.c. */
	.section .bss.boot_stack, "aw", @nobits
	.balign 4096
	.globl arch_boot_stack_guard
arch_boot_stack_guard:
	.skip 4096
	.skip ARCH_BOOT_STACK
	.globl arch_boot_stack_top
arch_boot_stack_top:

	.section .note.GNU-stack, "", @progbits
