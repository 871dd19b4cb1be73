/* SPDX-License-Identifier: ISC */
#include <inttypes.h>

#include "core/core.h"
#include "drivers/virtio/drivers.h"
#include "net/net.h"
#include "platform/qemu/image.h"

/* How long start-up waits for an address; the node serves later ones too. */
#define ADDRESS_WAIT_NS UINT64_C(10000000000)

static void open_entropy(void)
{
	struct virtio_device *device;

	for (size_t i = 0; (device = virtio_find(VIRTIO_ID_RNG, i)) != NULL; i++) {
		enum bole_status rc = virtio_rng_open(device);
		if (rc != BOLE_OK)
			core_log(BOLE_LOG_WARN, "virtio-rng (%s): %s", device->where,
			         bole_status_text(rc));
	}
}

static void open_disk(struct image_devices *devices)
{
	struct virtio_device *device = virtio_find(VIRTIO_ID_BLOCK, 0);

	if (device != NULL && virtio_blk_open(device, 0, &devices->disk) != BOLE_OK)
		devices->disk = NULL; /* logged where it failed */
}

static enum bole_status open_network(struct image_devices *devices, const struct bole_config *cfg)
{
	struct virtio_device *device = virtio_find(VIRTIO_ID_NET, 0);
	struct virtio_net *net = NULL;
	uint64_t memory = 0;
	struct net_options options = {
	        .address = bole_config_get(cfg, "net.address"),
	        .gateway = bole_config_get(cfg, "net.gateway"),
	        .dns = bole_config_get(cfg, "net.dns"),
	        .address6 = bole_config_get(cfg, "net.address6"),
	        .hostname = bole_config_get(cfg, "net.hostname"),
	};
	enum bole_status rc = bole_config_bool(cfg, "net.dhcp", true, &options.dhcp);

	if (rc == BOLE_OK)
		rc = bole_config_u64(cfg, "net.memory", 0, &memory);
	if (rc != BOLE_OK) {
		core_log(BOLE_LOG_ERROR, "net.dhcp or net.memory: not a value it takes");
		return rc;
	}
	options.memory_bytes = memory;
	if (device != NULL && virtio_net_open(device, &net) != BOLE_OK)
		net = NULL;
	rc = net_start(net, &options);
	devices->network = rc == BOLE_OK && net != NULL;
	if (rc == BOLE_OK && net != NULL && (options.dhcp || options.address != NULL)) {
		devices->addressed = net_wait_address(core_now_ns() + ADDRESS_WAIT_NS) == BOLE_OK;
		if (!devices->addressed)
			core_log(BOLE_LOG_WARN, "no DHCP server answered; going on without an "
			                        "IPv4 address (net.address=A/BITS sets one)");
	}
	return rc;
}

enum bole_status image_devices_open(struct image_devices *devices, const struct bole_config *cfg)
{
	*devices = (struct image_devices){0};
	open_entropy();
	open_disk(devices);
	return open_network(devices, cfg);
}

void image_devices_report(const struct image_devices *devices)
{
	size_t count;
	const struct virtio_device *all = virtio_devices(&count);
	char text[48], gateway[16];

	for (size_t i = 0; i < count; i++)
		core_printf("  %-12s %s\r\n", virtio_id_text(all[i].id), all[i].where);
	if (devices->disk != NULL) {
		const struct bole_block_info *info = &devices->disk->info;
		core_printf("  disk         %s, %" PRIu64 " MiB, block %u, cache %s%s%s\r\n",
		            info->name, info->size_bytes >> 20, info->program_unit,
		            info->volatile_cache ? "flushed" : "of the host",
		            info->can_discard ? ", discard" : "",
		            info->read_only ? ", read-only" : "");
	}
	if (devices->network) {
		net_address_text(text, sizeof text);
		net_gateway_text(gateway, sizeof gateway);
		core_printf("  address      %s, gateway %s\r\n", text, gateway);
	}
	for (unsigned i = 0; net_address6_text(i, text, sizeof text); i++)
		core_printf("  address      %s\r\n", text);
}
