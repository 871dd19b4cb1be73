/* SPDX-License-Identifier: ISC */
/* virtio-net (virtio 1.2, section 5.1): one receive and one transmit queue, no offloads. The
 * receive ring owns fixed buffers that are lent to the stack frame by frame; what is sent stays the
 * stack's and is only pointed at. */
#include <string.h>

#include "core/core.h"
#include "drivers/virtio/drivers.h"

enum {
	QUEUE_RECEIVE = 0,
	QUEUE_TRANSMIT = 1,
	RING_SIZE = 256,
	BUFFER_BYTES = 2048,                    /* header and the longest frame */
	HEADER_BYTES = VIRTIO_NET_HEADER_BYTES, /* virtio_net_hdr of version 1 */
	ETHERNET_BYTES = 14,
	MTU_DEFAULT = 1500,
	MTU_MIN = 1280, /* IPv6 wants this much */
	MTU_MAX = 1500,

	CONFIG_MAC = 0,
	CONFIG_MTU = 10,
};

#define F_MTU (UINT64_C(1) << 3)
#define F_MAC (UINT64_C(1) << 5)

struct virtio_net {
	struct virtio_device *device;
	struct virtio_queue receive;
	struct virtio_queue transmit;
	struct virtio_net_info info;
	struct virtio_net_stats stats;
	void (*on_sent)(void *token);
	unsigned lent;
	bool reported;
	uint8_t header[HEADER_BYTES]; /* all zero: no checksum or segmentation for the device */
};

static void offer_buffer(struct virtio_net *net, void *buffer)
{
	struct virtio_piece piece = {buffer, BUFFER_BYTES};

	/* A broken queue keeps nothing: the buffer is simply out of use then. */
	if (virtio_queue_add(&net->receive, &piece, 0, 1, NULL, buffer) != BOLE_OK)
		net->stats.rx_dropped++;
}

static void report_broken(struct virtio_net *net)
{
	if (net->reported || (!net->receive.broken && !net->transmit.broken))
		return;
	net->reported = true;
	virtio_stop(net->device);
	core_log(BOLE_LOG_ERROR, "virtio-net (%s): the device broke the protocol; stopped",
	         net->device->where);
}

bool virtio_net_receive(struct virtio_net *net, struct virtio_net_frame *out)
{
	uint32_t wrote;
	uint8_t *buffer;

	while ((buffer = virtio_queue_get(&net->receive, &wrote)) != NULL) {
		if (wrote >= HEADER_BYTES + ETHERNET_BYTES) {
			out->bytes = buffer + HEADER_BYTES;
			out->len = wrote - HEADER_BYTES;
			out->owner = buffer;
			net->lent++;
			net->stats.rx_frames++;
			net->stats.rx_bytes += out->len;
			return true;
		}
		net->stats.rx_dropped++;
		offer_buffer(net, buffer);
	}
	report_broken(net);
	return false;
}

void virtio_net_return(struct virtio_net *net, const struct virtio_net_frame *frame)
{
	net->lent--;
	offer_buffer(net, frame->owner);
}

unsigned virtio_net_receive_room(const struct virtio_net *net)
{
	return net->receive.size - net->lent;
}

bool virtio_net_reclaim(struct virtio_net *net)
{
	bool any = false;
	uint32_t wrote;
	void *token;

	while ((token = virtio_queue_get(&net->transmit, &wrote)) != NULL) {
		net->on_sent(token);
		any = true;
	}
	report_broken(net);
	return any;
}

enum bole_status virtio_net_send(struct virtio_net *net, const struct virtio_piece *pieces,
                                 size_t count, bool headed, void *token)
{
	struct virtio_piece all[1 + VIRTIO_NET_PIECES_MAX];
	size_t own = headed ? 0 : 1;
	size_t len = 0;

	if (count > VIRTIO_NET_PIECES_MAX)
		return BOLE_E_LIMIT;
	all[0] = (struct virtio_piece){net->header, HEADER_BYTES};
	for (size_t i = 0; i < count; i++) {
		all[own + i] = pieces[i];
		len += pieces[i].len;
	}
	if (net->transmit.free_count < count + own)
		virtio_net_reclaim(net);
	enum bole_status rc = virtio_queue_add(&net->transmit, all, count + own, 0, NULL, token);
	if (rc == BOLE_OK) {
		net->stats.tx_frames++;
		net->stats.tx_bytes += len;
	} else if (rc == BOLE_AGAIN) {
		net->stats.tx_full++;
	}
	return rc;
}

void virtio_net_kick(struct virtio_net *net)
{
	virtio_queue_kick(&net->transmit);
	virtio_queue_kick(&net->receive);
}

bool virtio_net_interrupts(struct virtio_net *net, bool received, bool sent)
{
	bool waiting = virtio_queue_interrupts(&net->receive, received) && received;
	bool freed = virtio_queue_interrupts(&net->transmit, sent) && sent;

	return (waiting && !net->receive.broken) || (freed && !net->transmit.broken);
}

void virtio_net_on_sent(struct virtio_net *net, void (*done)(void *token))
{
	net->on_sent = done;
}

const struct virtio_net_info *virtio_net_info(const struct virtio_net *net)
{
	return &net->info;
}

void virtio_net_stats(const struct virtio_net *net, struct virtio_net_stats *out)
{
	*out = net->stats;
	out->notified = net->transmit.notified + net->receive.notified;
}

static void read_info(struct virtio_net *net)
{
	struct virtio_device *device = net->device;
	uint16_t mtu = MTU_DEFAULT;

	if (device->features & F_MAC) {
		device->ops->config_read(device, CONFIG_MAC, net->info.mac, sizeof net->info.mac);
		net->info.mac[0] &= 0xfe; /* never a group address */
	} else {
		core_random(net->info.mac, sizeof net->info.mac);
		net->info.mac[0] = (uint8_t)((net->info.mac[0] & 0xfc) | 0x02);
	}
	if (device->features & F_MTU)
		device->ops->config_read(device, CONFIG_MTU, &mtu, sizeof mtu);
	if (mtu < MTU_MIN || mtu > MTU_MAX)
		mtu = MTU_DEFAULT;
	net->info.mtu = mtu;
}

static enum bole_status fill_ring(struct virtio_net *net)
{
	size_t per_page = CORE_PAGE_SIZE / BUFFER_BYTES;

	for (size_t i = 0; i < net->receive.size; i += per_page) {
		uint8_t *page = core_pages_alloc(1);
		if (page == NULL)
			return BOLE_E_NO_MEMORY;
		memset(page, 0, CORE_PAGE_SIZE);
		for (size_t k = 0; k < per_page && i + k < net->receive.size; k++)
			offer_buffer(net, page + k * BUFFER_BYTES);
	}
	return BOLE_OK;
}

static enum bole_status start(struct virtio_net *net)
{
	struct virtio_device *device = net->device;
	enum bole_status rc = virtio_begin(device, F_MTU | F_MAC | VIRTIO_F_EVENT_IDX);

	if (rc != BOLE_OK)
		return rc;
	if (!device->ops->interrupts(device))
		return BOLE_E_UNSUPPORTED;
	rc = virtio_queue_open(&net->receive, device, QUEUE_RECEIVE, RING_SIZE);
	if (rc == BOLE_OK)
		rc = virtio_queue_open(&net->transmit, device, QUEUE_TRANSMIT, RING_SIZE);
	if (rc == BOLE_OK && net->transmit.size < 1 + VIRTIO_NET_PIECES_MAX)
		rc = BOLE_E_UNSUPPORTED;
	if (rc == BOLE_OK) {
		read_info(net);
		rc = fill_ring(net);
	}
	if (rc != BOLE_OK) {
		virtio_fail(device);
		return rc;
	}
	virtio_queue_interrupts(&net->transmit, false);
	virtio_queue_interrupts(&net->receive, false);
	virtio_start(device);
	virtio_queue_kick(&net->receive);
	return BOLE_OK;
}

enum bole_status virtio_net_open(struct virtio_device *device, struct virtio_net **out)
{
	struct virtio_net *net = core_pages_alloc(1);

	_Static_assert(sizeof *net <= CORE_PAGE_SIZE, "one page");
	if (net == NULL)
		return BOLE_E_NO_MEMORY;
	memset(net, 0, sizeof *net);
	net->device = device;
	enum bole_status rc = start(net);
	if (rc != BOLE_OK) {
		core_log(BOLE_LOG_ERROR, "virtio-net (%s): %s", device->where,
		         bole_status_text(rc));
		core_pages_free(net, 1);
		return rc;
	}
	*out = net;
	return BOLE_OK;
}
