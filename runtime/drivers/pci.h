/* SPDX-License-Identifier: ISC */
/* PCI configuration space by mechanism 1 (ports cf8 and cfc): enough for the devices we drive. An
 * address is bus << 16 | device << 11 | function << 8. */
#ifndef BOLE_PCI_H
#define BOLE_PCI_H

#include <stdbool.h>
#include <stdint.h>

enum {
	PCI_VENDOR_ID = 0x00,
	PCI_DEVICE_ID = 0x02,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_HEADER_TYPE = 0x0e,
	PCI_BAR0 = 0x10,
	PCI_SECONDARY_BUS = 0x19,
	PCI_SUBSYSTEM_ID = 0x2e,
	PCI_CAPABILITIES = 0x34,
	PCI_INTERRUPT_LINE = 0x3c,

	PCI_CAP_VENDOR = 0x09,
	PCI_CAP_MSIX = 0x11,
};

uint8_t pci_get8(uint32_t address, uint32_t off);
uint16_t pci_get16(uint32_t address, uint32_t off);
uint32_t pci_get32(uint32_t address, uint32_t off);
void pci_put16(uint32_t address, uint32_t off, uint16_t value);
void pci_put32(uint32_t address, uint32_t off, uint32_t value);

/* Calls visit for every function of every bus that firmware numbered. */
void pci_visit(void (*visit)(void *ctx, uint32_t address), void *ctx);
/* Memory decoding and bus mastering on. */
void pci_enable(uint32_t address);
/* The next capability with this id after `after` (0 = the first); 0 = none. Ends on any list. */
uint8_t pci_capability(uint32_t address, uint8_t id, uint8_t after);
/* Maps [off, off + len) of a memory BAR. NULL: an I/O BAR, one that firmware left unset, or out of
 * its range. */
volatile uint8_t *pci_map_bar(uint32_t address, uint8_t bar, uint32_t off, uint32_t len);
/* Routes vector of the MSI-X table to this message, masks the others, and enables MSI-X. */
bool pci_msix_enable(uint32_t address, uint16_t vector, uint64_t message_address,
                     uint32_t message_data);
/* The interrupt line that firmware wrote; 0 = none. */
uint32_t pci_line(uint32_t address);

#endif /* BOLE_PCI_H */
