/* SPDX-License-Identifier: ISC */
#include "drivers/pci.h"

#include <stddef.h>

#include "arch/x86_64/pci.h"
#include "core/core.h"

enum {
	COMMAND_MEMORY = 0x0002,
	COMMAND_MASTER = 0x0004,
	STATUS_CAPABILITIES = 0x0010,
	HEADER_MULTIFUNCTION = 0x80,
	BAR_COUNT = 6,
	BAR_IO = 1,
	BAR_TYPE = 6,
	BAR_TYPE_64 = 4,
	BUSES = 256,
	DEVICES = 32,
	FUNCTIONS = 8,
	CAPABILITIES_MAX = 48, /* what fits into 192 bytes: the bound of the walk */

	MSIX_CONTROL = 2,
	MSIX_TABLE = 4,
	MSIX_ENABLE = 0x8000,
	MSIX_MASK_ALL = 0x4000,
	MSIX_SIZE = 0x07ff,
	MSIX_ENTRY = 16,
};

static uint8_t bus_of(uint32_t address)
{
	return (uint8_t)(address >> 16);
}
static uint8_t device_of(uint32_t address)
{
	return address >> 11 & 31;
}
static uint8_t function_of(uint32_t address)
{
	return address >> 8 & 7;
}

uint8_t pci_get8(uint32_t address, uint32_t off)
{
	return pci_read8(bus_of(address), device_of(address), function_of(address), (uint8_t)off);
}

uint16_t pci_get16(uint32_t address, uint32_t off)
{
	return pci_read16(bus_of(address), device_of(address), function_of(address), (uint8_t)off);
}

uint32_t pci_get32(uint32_t address, uint32_t off)
{
	return pci_read32(bus_of(address), device_of(address), function_of(address), (uint8_t)off);
}

void pci_put16(uint32_t address, uint32_t off, uint16_t value)
{
	pci_write16(bus_of(address), device_of(address), function_of(address), (uint8_t)off, value);
}

void pci_put32(uint32_t address, uint32_t off, uint32_t value)
{
	pci_write32(bus_of(address), device_of(address), function_of(address), (uint8_t)off, value);
}

void pci_visit(void (*visit)(void *ctx, uint32_t address), void *ctx)
{
	for (uint32_t bus = 0; bus < BUSES; bus++) {
		bool found = false;

		for (uint32_t device = 0; device < DEVICES; device++) {
			uint32_t address = bus << 16 | device << 11;
			if (pci_get16(address, PCI_VENDOR_ID) == 0xffff)
				continue;
			found = true;
			uint8_t header = pci_get8(address, PCI_HEADER_TYPE);
			uint32_t functions = header & HEADER_MULTIFUNCTION ? FUNCTIONS : 1;
			for (uint32_t f = 0; f < functions; f++)
				if (pci_get16(address | f << 8, PCI_VENDOR_ID) != 0xffff)
					visit(ctx, address | f << 8);
		}
		/* Each probe is an exit; numbered buses follow each other. */
		if (!found)
			break;
	}
}

void pci_enable(uint32_t address)
{
	uint16_t command = pci_get16(address, PCI_COMMAND);

	pci_put16(address, PCI_COMMAND, (uint16_t)(command | COMMAND_MEMORY | COMMAND_MASTER));
}

uint8_t pci_capability(uint32_t address, uint8_t id, uint8_t after)
{
	if ((pci_get16(address, PCI_STATUS) & STATUS_CAPABILITIES) == 0)
		return 0;
	uint8_t at = pci_get8(address, after == 0 ? PCI_CAPABILITIES : after + 1u) & 0xfc;
	for (int i = 0; i < CAPABILITIES_MAX && at >= 0x40; i++) {
		if (pci_get8(address, at) == id)
			return at;
		at = pci_get8(address, at + 1u) & 0xfc;
	}
	return 0;
}

/* Bytes that the BAR decodes: write ones, read which bits stuck. */
static uint32_t bar_size(uint32_t address, uint32_t reg)
{
	uint16_t command = pci_get16(address, PCI_COMMAND);
	uint32_t old = pci_get32(address, reg);

	pci_put16(address, PCI_COMMAND, command & (uint16_t)~COMMAND_MEMORY);
	pci_put32(address, reg, UINT32_MAX);
	uint32_t mask = pci_get32(address, reg) & ~UINT32_C(15);
	pci_put32(address, reg, old);
	pci_put16(address, PCI_COMMAND, command);
	return ~mask + 1; /* a 64-bit BAR of 4 GiB and more gives 0: no device of ours */
}

volatile uint8_t *pci_map_bar(uint32_t address, uint8_t bar, uint32_t off, uint32_t len)
{
	if (bar >= BAR_COUNT)
		return NULL;
	uint32_t reg = PCI_BAR0 + 4u * bar;
	uint32_t low = pci_get32(address, reg);
	uint64_t base = low & ~UINT32_C(15);
	if ((low & BAR_IO) != 0)
		return NULL;
	if ((low & BAR_TYPE) == BAR_TYPE_64) {
		if (bar + 1 >= BAR_COUNT)
			return NULL;
		base |= (uint64_t)pci_get32(address, reg + 4) << 32;
	}
	uint32_t size = bar_size(address, reg);
	if (base == 0 || off > size || len > size - off || len == 0)
		return NULL;
	return core_map_mmio(base + off, len);
}

bool pci_msix_enable(uint32_t address, uint16_t vector, uint64_t message_address,
                     uint32_t message_data)
{
	uint8_t cap = pci_capability(address, PCI_CAP_MSIX, 0);

	if (cap == 0)
		return false;
	uint16_t control = pci_get16(address, cap + (uint32_t)MSIX_CONTROL);
	uint32_t table = pci_get32(address, cap + (uint32_t)MSIX_TABLE);
	uint32_t count = (control & MSIX_SIZE) + 1u;
	if (vector >= count)
		return false;
	volatile uint8_t *entries =
	        pci_map_bar(address, table & 7, table & ~UINT32_C(7), count * MSIX_ENTRY);
	if (entries == NULL)
		return false;
	pci_put16(address, cap + (uint32_t)MSIX_CONTROL,
	          (uint16_t)(control | MSIX_ENABLE | MSIX_MASK_ALL));
	for (uint32_t i = 0; i < count; i++) {
		volatile uint32_t *entry =
		        (volatile uint32_t *)(volatile void *)(entries + i * MSIX_ENTRY);
		bool ours = i == vector;
		entry[0] = ours ? (uint32_t)message_address : 0;
		entry[1] = ours ? (uint32_t)(message_address >> 32) : 0;
		entry[2] = ours ? message_data : 0;
		entry[3] = ours ? 0 : 1; /* the mask bit */
	}
	pci_put16(address, cap + (uint32_t)MSIX_CONTROL,
	          (uint16_t)((control | MSIX_ENABLE) & ~MSIX_MASK_ALL));
	return true;
}

uint32_t pci_line(uint32_t address)
{
	uint8_t line = pci_get8(address, PCI_INTERRUPT_LINE);

	return line == 0xff ? 0 : line;
}
