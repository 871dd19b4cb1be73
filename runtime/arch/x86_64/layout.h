/* SPDX-License-Identifier: ISC */
/* Numbers that assembly and C share. */
#ifndef ARCH_LAYOUT_H
#define ARCH_LAYOUT_H

#define ARCH_CODE_SELECTOR 0x08
#define ARCH_DATA_SELECTOR 0x10
#define ARCH_TSS_SELECTOR  0x18

#define ARCH_BOOT_STACK 32768 /* the scheduler's: pollers and the network's input run on it */
#define ARCH_TRAP_STACK 16384

/* Vectors: 0-31 exceptions, then device interrupts, then the local APIC's own. */
#define ARCH_VECTOR_DEVICE   32
#define ARCH_DEVICE_VECTORS  64
#define ARCH_VECTOR_TIMER    96
#define ARCH_VECTOR_SPURIOUS 111
#define ARCH_VECTORS         112

#endif /* ARCH_LAYOUT_H */
