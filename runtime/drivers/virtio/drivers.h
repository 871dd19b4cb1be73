/* SPDX-License-Identifier: ISC */
/* The virtio drivers, and the list of devices that start-up found. */
#ifndef BOLE_VIRTIO_DRIVERS_H
#define BOLE_VIRTIO_DRIVERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/block.h"
#include "drivers/virtio/virtio.h"

/* What a block device did since it was opened. */
struct virtio_blk_stats {
	uint64_t reads;
	uint64_t writes;
	uint64_t flushes;
	uint64_t discards;
	uint64_t errors;
	uint32_t in_flight;
	uint32_t in_flight_max; /* the deepest the queue ever was */
};

/* Opens a block device: name "virtio-blk<number>". It and its memory live until the machine ends;
 * bole_block_close only stops it. Calls park the calling fiber. BOLE_E_UNSUPPORTED, BOLE_E_IO (odd
 * geometry), BOLE_E_NO_MEMORY. */
BOLE_MUST_USE enum bole_status virtio_blk_open(struct virtio_device *, unsigned number,
                                               struct bole_block **out);
void virtio_blk_stats(const struct bole_block *, struct virtio_blk_stats *out);

/* Feeds core_entropy_add at once and again every few minutes. BOLE_E_TIMEOUT: the host gave nothing
 * yet; it is still asked. */
BOLE_MUST_USE enum bole_status virtio_rng_open(struct virtio_device *);

/* A network device below the TCP/IP port. Frames are Ethernet without checksum trailer. */
struct virtio_net;
struct virtio_net_info {
	uint8_t mac[6];
	uint16_t mtu; /* of IP packets */
};
/* A received frame, lent to the receiver until virtio_net_return. */
struct virtio_net_frame {
	uint8_t *bytes;
	size_t len;
	void *owner; /* the driver's */
};
struct virtio_net_stats {
	uint64_t rx_frames;
	uint64_t rx_bytes;
	uint64_t rx_dropped; /* malformed, or the receiver had no room */
	uint64_t tx_frames;
	uint64_t tx_bytes;
	uint64_t tx_full;  /* send found the ring full */
	uint64_t notified; /* exits to tell the device about either ring */
};
BOLE_MUST_USE enum bole_status virtio_net_open(struct virtio_device *, struct virtio_net **out);
const struct virtio_net_info *virtio_net_info(const struct virtio_net *);
void virtio_net_stats(const struct virtio_net *, struct virtio_net_stats *out);
/* The next received frame; false: none. */
bool virtio_net_receive(struct virtio_net *, struct virtio_net_frame *out);
/* Gives a frame's memory back to the receive ring. */
void virtio_net_return(struct virtio_net *, const struct virtio_net_frame *);
/* Frames that the ring can still receive into: those not lent out. */
unsigned virtio_net_receive_room(const struct virtio_net *);
/* Queues a frame made of pieces (count up to VIRTIO_NET_PIECES_MAX); done(token) is called from a
 * later virtio_net_reclaim or send when the device has read it. BOLE_AGAIN: the ring is full.
 * BOLE_E_IO: the device is broken. The device sees it after virtio_net_kick. */
enum {
	VIRTIO_NET_PIECES_MAX = 16,
	VIRTIO_NET_HEADER_BYTES = 12,
};
/* headed: the first piece begins with VIRTIO_NET_HEADER_BYTES zero bytes that are no part of the
 * frame; it saves a descriptor. */
BOLE_MUST_USE enum bole_status virtio_net_send(struct virtio_net *,
                                               const struct virtio_piece *pieces, size_t count,
                                               bool headed, void *token);
void virtio_net_on_sent(struct virtio_net *, void (*done)(void *token));
void virtio_net_kick(struct virtio_net *);
/* Works off the frames that were sent; true if there were any. */
bool virtio_net_reclaim(struct virtio_net *);
/* Interrupts for received and for sent frames on or off; true: some are waiting. */
bool virtio_net_interrupts(struct virtio_net *, bool received, bool sent);

/* Every virtio device of the machine, found once. */
struct virtio_device *virtio_devices(size_t *count);
/* The i-th device with this id, or NULL. */
struct virtio_device *virtio_find(enum virtio_id id, size_t i);
/* "net", "block", "entropy" or "device N", for the banner. */
const char *virtio_id_text(uint32_t id);

#endif /* BOLE_VIRTIO_DRIVERS_H */
