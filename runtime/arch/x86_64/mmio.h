/* SPDX-License-Identifier: ISC */
/* Device registers in memory, and the barriers for rings shared with a device. x86 keeps loads and
 * stores of ordinary memory in order but for store-then-load, so most barriers only stop the
 * compiler. */
#ifndef ARCH_MMIO_H
#define ARCH_MMIO_H

#include <stdint.h>

static inline uint8_t mmio_read8(const volatile void *p)
{
	return *(const volatile uint8_t *)p;
}
static inline uint16_t mmio_read16(const volatile void *p)
{
	return *(const volatile uint16_t *)p;
}
static inline uint32_t mmio_read32(const volatile void *p)
{
	return *(const volatile uint32_t *)p;
}
static inline void mmio_write8(volatile void *p, uint8_t v)
{
	*(volatile uint8_t *)p = v;
}
static inline void mmio_write16(volatile void *p, uint16_t v)
{
	*(volatile uint16_t *)p = v;
}
static inline void mmio_write32(volatile void *p, uint32_t v)
{
	*(volatile uint32_t *)p = v;
}

/* Writes to memory before it are seen by the device before writes after it. */
static inline void mmio_write_barrier(void)
{
	__asm__ volatile("" : : : "memory");
}
/* Reads of memory before it happen before reads after it. */
static inline void mmio_read_barrier(void)
{
	__asm__ volatile("" : : : "memory");
}
/* Writes before it are seen before any read after it (ring index published, then flags read). */
static inline void mmio_full_barrier(void)
{
	__asm__ volatile("lock; addl $0, (%%rsp)" : : : "memory", "cc");
}

#endif /* ARCH_MMIO_H */
