/* SPDX-License-Identifier: ISC */
/* PCI configuration space by mechanism 1 (ports 0xcf8 and 0xcfc): the first 256 bytes of every
 * function, which is where virtio keeps its capabilities and MSI-X its control word. */
#ifndef ARCH_PCI_H
#define ARCH_PCI_H

#include <stdint.h>

#include "arch/x86_64/port.h"

#define PCI_PORT_ADDRESS 0xcf8
#define PCI_PORT_DATA    0xcfc

static inline void pci_select(uint8_t bus, uint8_t dev, uint8_t fn, uint8_t reg)
{
	port_out32(PCI_PORT_ADDRESS, UINT32_C(0x80000000) | (uint32_t)bus << 16 |
	                                     ((uint32_t)dev & 31) << 11 | ((uint32_t)fn & 7) << 8 |
	                                     (reg & 0xfcu));
}
static inline uint32_t pci_read32(uint8_t bus, uint8_t dev, uint8_t fn, uint8_t reg)
{
	pci_select(bus, dev, fn, reg);
	return port_in32(PCI_PORT_DATA);
}
static inline uint16_t pci_read16(uint8_t bus, uint8_t dev, uint8_t fn, uint8_t reg)
{
	pci_select(bus, dev, fn, reg);
	return port_in16((uint16_t)(PCI_PORT_DATA + (reg & 2)));
}
static inline uint8_t pci_read8(uint8_t bus, uint8_t dev, uint8_t fn, uint8_t reg)
{
	pci_select(bus, dev, fn, reg);
	return port_in8((uint16_t)(PCI_PORT_DATA + (reg & 3)));
}
static inline void pci_write32(uint8_t bus, uint8_t dev, uint8_t fn, uint8_t reg, uint32_t v)
{
	pci_select(bus, dev, fn, reg);
	port_out32(PCI_PORT_DATA, v);
}
static inline void pci_write16(uint8_t bus, uint8_t dev, uint8_t fn, uint8_t reg, uint16_t v)
{
	pci_select(bus, dev, fn, reg);
	port_out16((uint16_t)(PCI_PORT_DATA + (reg & 2)), v);
}
static inline void pci_write8(uint8_t bus, uint8_t dev, uint8_t fn, uint8_t reg, uint8_t v)
{
	pci_select(bus, dev, fn, reg);
	port_out8((uint16_t)(PCI_PORT_DATA + (reg & 3)), v);
}

#endif /* ARCH_PCI_H */
