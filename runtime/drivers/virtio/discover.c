/* SPDX-License-Identifier: ISC */
#include "drivers/virtio/drivers.h"

struct found {
	struct virtio_device devices[VIRTIO_DEVICES_MAX];
	size_t count;
	bool searched;
};
static struct found found;

struct virtio_device *virtio_devices(size_t *count)
{
	if (!found.searched) {
		found.searched = true;
		found.count = virtio_mmio_discover(found.devices, VIRTIO_DEVICES_MAX);
		found.count += virtio_pci_discover(found.devices + found.count,
		                                   VIRTIO_DEVICES_MAX - found.count);
	}
	*count = found.count;
	return found.devices;
}

struct virtio_device *virtio_find(enum virtio_id id, size_t i)
{
	size_t count;
	struct virtio_device *devices = virtio_devices(&count);

	for (size_t k = 0; k < count; k++)
		if (devices[k].id == (uint32_t)id && i-- == 0)
			return &devices[k];
	return NULL;
}

const char *virtio_id_text(uint32_t id)
{
	switch (id) {
	case VIRTIO_ID_NET: return "virtio-net";
	case VIRTIO_ID_BLOCK: return "virtio-blk";
	case VIRTIO_ID_RNG: return "virtio-rng";
	default: return "virtio device without driver";
	}
}
