/* SPDX-License-Identifier: ISC */
/* virtio over PCI, the modern interface only (virtio 1.2, section 4.1): the structures that the
 * vendor capabilities point at. Transitional devices (1000-103f) have them too. */
#include "drivers/pci.h"

#include <stdio.h>
#include <string.h>

#include "core/core.h"
#include "drivers/virtio/virtio.h"

enum {
	VENDOR = 0x1af4,
	TRANSITIONAL_FIRST = 0x1000,
	MODERN_FIRST = 0x1040,
	MODERN_LAST = 0x107f,

	CAP_COMMON = 1, /* cfg_type of a vendor capability */
	CAP_NOTIFY = 2,
	CAP_ISR = 3,
	CAP_DEVICE = 4,

	/* Common configuration structure. */
	COMMON_DEVICE_FEATURE_SELECT = 0x00,
	COMMON_DEVICE_FEATURE = 0x04,
	COMMON_DRIVER_FEATURE_SELECT = 0x08,
	COMMON_DRIVER_FEATURE = 0x0c,
	COMMON_CONFIG_MSIX = 0x10,
	COMMON_STATUS = 0x14,
	COMMON_GENERATION = 0x15,
	COMMON_QUEUE_SELECT = 0x16,
	COMMON_QUEUE_SIZE = 0x18,
	COMMON_QUEUE_MSIX = 0x1a,
	COMMON_QUEUE_ENABLE = 0x1c,
	COMMON_QUEUE_NOTIFY_OFF = 0x1e,
	COMMON_QUEUE_DESC = 0x20,
	COMMON_QUEUE_AVAIL = 0x28,
	COMMON_QUEUE_USED = 0x30,
	COMMON_LEN = 0x38,

	NO_VECTOR = 0xffff,
	GENERATION_TRIES = 16,
};

static volatile uint8_t *reg8(struct virtio_device *device, uint32_t reg)
{
	return device->common + reg;
}
static volatile uint16_t *reg16(struct virtio_device *device, uint32_t reg)
{
	return (volatile uint16_t *)(volatile void *)(device->common + reg);
}
static volatile uint32_t *reg32(struct virtio_device *device, uint32_t reg)
{
	return (volatile uint32_t *)(volatile void *)(device->common + reg);
}

static uint64_t pci_features(struct virtio_device *device)
{
	*reg32(device, COMMON_DEVICE_FEATURE_SELECT) = 0;
	uint64_t low = *reg32(device, COMMON_DEVICE_FEATURE);
	*reg32(device, COMMON_DEVICE_FEATURE_SELECT) = 1;
	return low | (uint64_t)*reg32(device, COMMON_DEVICE_FEATURE) << 32;
}

static void pci_accept_features(struct virtio_device *device, uint64_t features)
{
	*reg32(device, COMMON_DRIVER_FEATURE_SELECT) = 0;
	*reg32(device, COMMON_DRIVER_FEATURE) = (uint32_t)features;
	*reg32(device, COMMON_DRIVER_FEATURE_SELECT) = 1;
	*reg32(device, COMMON_DRIVER_FEATURE) = (uint32_t)(features >> 32);
}

static uint8_t pci_status(struct virtio_device *device)
{
	return *reg8(device, COMMON_STATUS);
}

static void pci_set_status(struct virtio_device *device, uint8_t status)
{
	*reg8(device, COMMON_STATUS) = status;
}

static void pci_config_read(struct virtio_device *device, uint32_t off, void *dst, size_t len)
{
	uint8_t *out = dst;

	memset(dst, 0, len);
	if (device->config == NULL || off > device->config_len || len > device->config_len - off)
		return;
	for (int tries = 0; tries < GENERATION_TRIES; tries++) {
		uint8_t before = *reg8(device, COMMON_GENERATION);
		for (size_t i = 0; i < len; i++)
			out[i] = device->config[off + i];
		if (*reg8(device, COMMON_GENERATION) == before)
			return;
	}
}

static uint16_t pci_queue_size_max(struct virtio_device *device, uint16_t index)
{
	*reg16(device, COMMON_QUEUE_SELECT) = index;
	if (*reg16(device, COMMON_QUEUE_ENABLE) != 0)
		return 0;
	uint16_t max = *reg16(device, COMMON_QUEUE_SIZE);
	return max > 0x8000 ? 0x8000 : max;
}

static void put64(struct virtio_device *device, uint32_t reg, uint64_t value)
{
	*reg32(device, reg) = (uint32_t)value;
	*reg32(device, reg + 4) = (uint32_t)(value >> 32);
}

static volatile void *pci_queue_enable(struct virtio_device *device, uint16_t index, uint16_t size,
                                       uint64_t desc, uint64_t avail, uint64_t used)
{
	*reg16(device, COMMON_QUEUE_SELECT) = index;
	*reg16(device, COMMON_QUEUE_SIZE) = size;
	uint16_t vector = device->has_msix ? 0 : NO_VECTOR;
	*reg16(device, COMMON_QUEUE_MSIX) = vector;
	if (*reg16(device, COMMON_QUEUE_MSIX) != vector)
		return NULL;
	put64(device, COMMON_QUEUE_DESC, desc);
	put64(device, COMMON_QUEUE_AVAIL, avail);
	put64(device, COMMON_QUEUE_USED, used);
	uint64_t off =
	        (uint64_t)*reg16(device, COMMON_QUEUE_NOTIFY_OFF) * device->notify_multiplier;
	if (off + 2 > device->notify_len)
		return NULL;
	*reg16(device, COMMON_QUEUE_ENABLE) = 1;
	return device->notify + off;
}

static void pci_notify(struct virtio_device *device, volatile void *reg, uint16_t index)
{
	(void)device;
	*(volatile uint16_t *)reg = index;
}

/* A legacy line: reading the cause clears it and lowers the line. */
static void acknowledge(void *ctx)
{
	struct virtio_device *device = ctx;

	(void)*device->isr;
}

/* The interrupt only has to end the idle wait; the drivers' pollers do the work. */
static void nothing(void *ctx)
{
	(void)ctx;
}

static bool pci_interrupts(struct virtio_device *device)
{
	struct core_msi msi;

	device->has_msix = false;
	if (core_msi_register(nothing, NULL, &msi))
		device->has_msix = pci_msix_enable(device->pci_address, 0, msi.address, msi.data);
	if (device->has_msix) {
		*reg16(device, COMMON_CONFIG_MSIX) = NO_VECTOR;
		device->has_interrupts = true;
	} else if (device->gsi != 0) {
		device->has_interrupts =
		        core_irq_register(device->gsi, CORE_IRQ_LEVEL, acknowledge, device);
	}
	return device->has_interrupts;
}

static const struct virtio_transport_ops pci_ops = {
        .features = pci_features,
        .accept_features = pci_accept_features,
        .status = pci_status,
        .set_status = pci_set_status,
        .config_read = pci_config_read,
        .queue_size_max = pci_queue_size_max,
        .queue_enable = pci_queue_enable,
        .notify = pci_notify,
        .interrupts = pci_interrupts,
};

/* Takes one vendor capability at cap into the device. */
static void take_capability(struct virtio_device *device, uint8_t cap)
{
	uint32_t address = device->pci_address;
	uint8_t type = pci_get8(address, cap + 3u);
	uint8_t bar = pci_get8(address, cap + 4u);
	uint32_t off = pci_get32(address, cap + 8u);
	uint32_t len = pci_get32(address, cap + 12u);

	if (type < CAP_COMMON || type > CAP_DEVICE)
		return;
	volatile uint8_t *window = pci_map_bar(address, bar, off, len);
	if (window == NULL)
		return;
	/* The first of each kind is the one the device prefers. */
	if (type == CAP_COMMON && device->common == NULL && len >= COMMON_LEN) {
		device->common = window;
	} else if (type == CAP_NOTIFY && device->notify == NULL) {
		device->notify = window;
		device->notify_len = len;
		device->notify_multiplier = pci_get32(address, cap + 16u);
	} else if (type == CAP_ISR && device->isr == NULL && len >= 1) {
		device->isr = window;
	} else if (type == CAP_DEVICE && device->config == NULL) {
		device->config = window;
		device->config_len = len;
	}
}

static bool probe(uint32_t address, struct virtio_device *device)
{
	uint16_t id = pci_get16(address, PCI_DEVICE_ID);

	memset(device, 0, sizeof *device);
	if (pci_get16(address, PCI_VENDOR_ID) != VENDOR || id < TRANSITIONAL_FIRST ||
	    id > MODERN_LAST)
		return false;
	device->ops = &pci_ops;
	device->pci_address = address;
	device->id = id >= MODERN_FIRST ? (uint32_t)id - MODERN_FIRST
	                                : pci_get16(address, PCI_SUBSYSTEM_ID);
	device->gsi = pci_line(address);
	snprintf(device->where, sizeof device->where, "pci %02x:%02x.%x", address >> 16 & 0xff,
	         address >> 11 & 0x1f, address >> 8 & 7);
	pci_enable(address);
	for (uint8_t cap = pci_capability(address, PCI_CAP_VENDOR, 0); cap != 0;
	     cap = pci_capability(address, PCI_CAP_VENDOR, cap))
		take_capability(device, cap);
	if (device->common == NULL || device->notify == NULL || device->isr == NULL) {
		core_log(BOLE_LOG_WARN, "virtio %s: no modern interface (disable-modern=off)",
		         device->where);
		return false;
	}
	return true;
}

struct search {
	struct virtio_device *devices;
	size_t max;
	size_t count;
};

static void visit(void *ctx, uint32_t address)
{
	struct search *search = ctx;

	if (search->count < search->max && probe(address, &search->devices[search->count]))
		search->count++;
}

size_t virtio_pci_discover(struct virtio_device *devices, size_t max)
{
	struct search search = {.devices = devices, .max = max};

	if (core_boot()->has_pci)
		pci_visit(visit, &search);
	return search.count;
}
