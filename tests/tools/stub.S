/* SPDX-License-Identifier: ISC */
/* The smallest machine: a PVH guest that prints one line on the serial port and halts. What it takes
 * to get here is the emulator's own start, the floor under every boot time. */
	.section .note.pvh, "a", @note
	.align 4
	.long 4, 4, 18
	.ascii "Xen\0"
	.long start

	.section .text
	.code32
	.globl start
start:
	mov	$0x3f8, %edx
	mov	$text, %esi
1:	lodsb
	test	%al, %al
	jz	2f
	outb	%al, %dx
	jmp	1b
2:	cli
	hlt
	jmp	2b
text:	.asciz "ready\n"
