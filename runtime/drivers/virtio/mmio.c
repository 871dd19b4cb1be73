/* SPDX-License-Identifier: ISC */
/* virtio over memory-mapped registers, version 2 (virtio 1.2, section 4.2). */
#include <stdio.h>
#include <string.h>

#include "core/core.h"
#include "drivers/virtio/virtio.h"

enum {
	REG_MAGIC = 0x000,
	REG_VERSION = 0x004,
	REG_DEVICE_ID = 0x008,
	REG_DEVICE_FEATURES = 0x010,
	REG_DEVICE_FEATURES_SELECT = 0x014,
	REG_DRIVER_FEATURES = 0x020,
	REG_DRIVER_FEATURES_SELECT = 0x024,
	REG_QUEUE_SELECT = 0x030,
	REG_QUEUE_SIZE_MAX = 0x034,
	REG_QUEUE_SIZE = 0x038,
	REG_QUEUE_READY = 0x044,
	REG_QUEUE_NOTIFY = 0x050,
	REG_INTERRUPT_STATUS = 0x060,
	REG_INTERRUPT_ACK = 0x064,
	REG_STATUS = 0x070,
	REG_QUEUE_DESC = 0x080,
	REG_QUEUE_AVAIL = 0x090,
	REG_QUEUE_USED = 0x0a0,
	REG_GENERATION = 0x0fc,
	REG_CONFIG = 0x100,

	MAGIC = 0x74726976, /* "virt" */
	VERSION = 2,
	GENERATION_TRIES = 16,
};

static uint32_t get32(const struct virtio_device *device, uint32_t reg)
{
	return *(volatile uint32_t *)(volatile void *)(device->common + reg);
}

static void put32(struct virtio_device *device, uint32_t reg, uint32_t value)
{
	*(volatile uint32_t *)(volatile void *)(device->common + reg) = value;
}

static void put64(struct virtio_device *device, uint32_t reg, uint64_t value)
{
	put32(device, reg, (uint32_t)value);
	put32(device, reg + 4, (uint32_t)(value >> 32));
}

static uint64_t mmio_features(struct virtio_device *device)
{
	put32(device, REG_DEVICE_FEATURES_SELECT, 0);
	uint64_t low = get32(device, REG_DEVICE_FEATURES);
	put32(device, REG_DEVICE_FEATURES_SELECT, 1);
	return low | (uint64_t)get32(device, REG_DEVICE_FEATURES) << 32;
}

static void mmio_accept_features(struct virtio_device *device, uint64_t features)
{
	put32(device, REG_DRIVER_FEATURES_SELECT, 0);
	put32(device, REG_DRIVER_FEATURES, (uint32_t)features);
	put32(device, REG_DRIVER_FEATURES_SELECT, 1);
	put32(device, REG_DRIVER_FEATURES, (uint32_t)(features >> 32));
}

static uint8_t mmio_status(struct virtio_device *device)
{
	return (uint8_t)get32(device, REG_STATUS);
}

static void mmio_set_status(struct virtio_device *device, uint8_t status)
{
	put32(device, REG_STATUS, status);
}

static void mmio_config_read(struct virtio_device *device, uint32_t off, void *dst, size_t len)
{
	uint8_t *out = dst;

	for (int tries = 0; tries < GENERATION_TRIES; tries++) {
		uint32_t before = get32(device, REG_GENERATION);
		for (size_t i = 0; i < len; i++)
			out[i] = device->common[REG_CONFIG + off + i];
		if (get32(device, REG_GENERATION) == before)
			return;
	}
}

static uint16_t mmio_queue_size_max(struct virtio_device *device, uint16_t index)
{
	put32(device, REG_QUEUE_SELECT, index);
	if (get32(device, REG_QUEUE_READY) != 0)
		return 0;
	uint32_t max = get32(device, REG_QUEUE_SIZE_MAX);
	return max > 0x8000 ? 0x8000 : (uint16_t)max;
}

static volatile void *mmio_queue_enable(struct virtio_device *device, uint16_t index, uint16_t size,
                                        uint64_t desc, uint64_t avail, uint64_t used)
{
	put32(device, REG_QUEUE_SELECT, index);
	put32(device, REG_QUEUE_SIZE, size);
	put64(device, REG_QUEUE_DESC, desc);
	put64(device, REG_QUEUE_AVAIL, avail);
	put64(device, REG_QUEUE_USED, used);
	put32(device, REG_QUEUE_READY, 1);
	return device->common + REG_QUEUE_NOTIFY;
}

static void mmio_notify(struct virtio_device *device, volatile void *reg, uint16_t index)
{
	(void)device;
	*(volatile uint32_t *)reg = index;
}

/* The line stays up until it is acknowledged, so it is level-triggered for us. The rings are
 * looked at after the idle wait, by the drivers' pollers. */
static void acknowledge(void *ctx)
{
	struct virtio_device *device = ctx;
	uint32_t cause = get32(device, REG_INTERRUPT_STATUS);

	if (cause != 0)
		put32(device, REG_INTERRUPT_ACK, cause);
}

static bool mmio_interrupts(struct virtio_device *device)
{
	device->has_interrupts =
	        core_irq_register(device->gsi, CORE_IRQ_LEVEL, acknowledge, device);
	return device->has_interrupts;
}

static const struct virtio_transport_ops mmio_ops = {
        .features = mmio_features,
        .accept_features = mmio_accept_features,
        .status = mmio_status,
        .set_status = mmio_set_status,
        .config_read = mmio_config_read,
        .queue_size_max = mmio_queue_size_max,
        .queue_enable = mmio_queue_enable,
        .notify = mmio_notify,
        .interrupts = mmio_interrupts,
};

static bool probe(const struct core_virtio_mmio *slot, struct virtio_device *device)
{
	memset(device, 0, sizeof *device);
	device->ops = &mmio_ops;
	device->common = core_map_mmio(slot->base, slot->size);
	device->gsi = slot->gsi;
	if (device->common == NULL || slot->size < REG_CONFIG + 0x40)
		return false;
	if (get32(device, REG_MAGIC) != MAGIC)
		return false;
	device->id = get32(device, REG_DEVICE_ID);
	snprintf(device->where, sizeof device->where, "mmio@%llx", (unsigned long long)slot->base);
	if (device->id == 0)
		return false; /* an empty slot */
	if (get32(device, REG_VERSION) != VERSION) {
		core_log(BOLE_LOG_WARN,
		         "virtio %s: legacy interface; start QEMU with "
		         "-global virtio-mmio.force-legacy=false",
		         device->where);
		return false;
	}
	return true;
}

size_t virtio_mmio_discover(struct virtio_device *devices, size_t max)
{
	const struct core_boot *boot = core_boot();
	size_t count = 0;

	for (size_t i = 0; i < boot->virtio_mmio_count && count < max; i++)
		if (probe(&boot->virtio_mmio[i], &devices[count]))
			count++;
	return count;
}
