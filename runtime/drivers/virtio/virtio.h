/* SPDX-License-Identifier: ISC */
/* virtio 1.x: what a transport (mmio.c, pci.c) offers and what the drivers (blk.c, net.c, rng.c)
 * stand on (queue.c).
 *
 * Order for a driver: virtio_begin (reset, features), virtio_queue_open for each queue,
 * virtio_start (DRIVER_OK). The device is not trusted: ids and lengths that it returns are checked,
 * and a queue that breaks the protocol is marked broken and never touched again.
 */
#ifndef BOLE_VIRTIO_H
#define BOLE_VIRTIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/status.h"

enum virtio_id {
	VIRTIO_ID_NET = 1,
	VIRTIO_ID_BLOCK = 2,
	VIRTIO_ID_RNG = 4,
};

/* Feature bits that are no device's own (virtio 1.2, section 6). */
#define VIRTIO_F_INDIRECT_DESC (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX     (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1     (UINT64_C(1) << 32)

/* Bits of the status register. */
enum virtio_status_bits {
	VIRTIO_STATUS_ACKNOWLEDGE = 1,
	VIRTIO_STATUS_DRIVER = 2,
	VIRTIO_STATUS_DRIVER_OK = 4,
	VIRTIO_STATUS_FEATURES_OK = 8,
	VIRTIO_STATUS_NEEDS_RESET = 64,
	VIRTIO_STATUS_FAILED = 128,
};

enum {
	VIRTIO_DEVICES_MAX = 32,    /* devices that one boot uses */
	VIRTIO_QUEUE_SIZE_MAX = 256 /* descriptors of a ring that we set up */
};

struct virtio_device;

/* The registers of one device. Positions in config are bytes; config_read copies a whole field,
 * retrying while the generation changes. */
struct virtio_transport_ops {
	uint64_t (*features)(struct virtio_device *);
	void (*accept_features)(struct virtio_device *, uint64_t features);
	uint8_t (*status)(struct virtio_device *);
	void (*set_status)(struct virtio_device *, uint8_t status);
	void (*config_read)(struct virtio_device *, uint32_t off, void *dst, size_t len);
	/* Descriptors the device allows in queue index; 0 = no such queue. */
	uint16_t (*queue_size_max)(struct virtio_device *, uint16_t index);
	/* Tells the device the rings and enables the queue; the notify register or NULL. */
	volatile void *(*queue_enable)(struct virtio_device *, uint16_t index, uint16_t size,
	                               uint64_t desc, uint64_t avail, uint64_t used);
	/* register is what queue_enable gave. */
	void (*notify)(struct virtio_device *, volatile void *reg, uint16_t index);
	/* Makes an interrupt of the device end the idle wait; before any queue_enable. False: the
	 * platform has no line left, the device must be polled. */
	bool (*interrupts)(struct virtio_device *);
};

struct virtio_device {
	const struct virtio_transport_ops *ops;
	uint32_t id;    /* enum virtio_id, or a device that we do not drive */
	char where[24]; /* for the log: "mmio@feb00e00", "pci 00:02.0" */
	uint64_t features;
	bool has_interrupts;
	bool has_msix; /* pci: vector 0 is ours */
	/* Transport registers. */
	volatile uint8_t *common; /* mmio: the whole window; pci: common configuration */
	volatile uint8_t *config;
	volatile uint8_t *isr;
	volatile uint8_t *notify;
	uint32_t config_len;
	uint32_t notify_len;
	uint32_t notify_multiplier;
	uint32_t gsi;         /* mmio, or pci without MSI-X */
	uint32_t pci_address; /* bus, device and function as configuration mechanism 1 wants them */
};

/* Resets the device and negotiates: wanted & offered, VERSION_1 always. BOLE_E_UNSUPPORTED: a
 * legacy device, or it refused the set. device->features holds the result. */
BOLE_MUST_USE enum bole_status virtio_begin(struct virtio_device *, uint64_t wanted);
void virtio_start(struct virtio_device *);
/* Resets the device: it stops touching our memory. */
void virtio_stop(struct virtio_device *);
/* Gives up: the device is told, and stops touching our memory. */
void virtio_fail(struct virtio_device *);

/* -- Split virtqueues (queue.c) -- */

struct virtio_desc {
	uint64_t address;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

/* A piece of memory for the device; pieces that it reads come before those that it writes. */
struct virtio_piece {
	const void *ptr;
	uint32_t len;
};

struct virtio_queue {
	struct virtio_device *device;
	struct virtio_desc *desc;
	volatile uint16_t *avail; /* flags, index, ring[size], used_event */
	volatile uint16_t *used;  /* flags, index, {id32, len32}[size], avail_event */
	volatile void *notify;
	void **tokens;      /* by head descriptor: what add was given; NULL = not in flight */
	uint32_t *writable; /* by head descriptor: bytes the device may write */
	uint16_t index;
	uint16_t size;
	uint16_t free_head;
	uint16_t free_count;
	uint16_t avail_next;  /* index of the next entry we offer */
	uint16_t avail_known; /* index at the last kick */
	uint16_t used_next;   /* index of the next entry we take */
	uint64_t notified;    /* times that the device was told; each is an exit of the machine */
	bool event_idx;
	bool indirect;
	bool broken; /* the device broke the protocol; every call fails */
};

/* size_wanted is cut to what the device allows. BOLE_E_UNSUPPORTED, BOLE_E_NO_MEMORY. */
BOLE_MUST_USE enum bole_status virtio_queue_open(struct virtio_queue *, struct virtio_device *,
                                                 uint16_t index, uint16_t size_wanted);
/* Offers out pieces to be read and then in pieces to be written, as one chain that get gives back
 * as token (not NULL). table (room for out + in descriptors, alive until then) makes it one
 * indirect descriptor where the device can; NULL uses ring descriptors. The device sees it after
 * kick. BOLE_AGAIN: the ring is full. BOLE_E_IO: broken. */
BOLE_MUST_USE enum bole_status virtio_queue_add(struct virtio_queue *, const struct virtio_piece *,
                                                size_t out, size_t in, struct virtio_desc *table,
                                                void *token);
/* Tells the device about what was added, if it wants to be told. */
void virtio_queue_kick(struct virtio_queue *);
/* Takes one finished chain: its token, and in *len how many bytes the device says it wrote (never
 * more than it may). NULL: none. */
void *virtio_queue_get(struct virtio_queue *, uint32_t *len);
/* Takes back chains that a broken device will never return: the next token in flight or NULL. */
void *virtio_queue_drain(struct virtio_queue *);
/* Asks for an interrupt at the next finished chain (or not). True when chains are waiting already,
 * so the caller looks again before it sleeps. */
bool virtio_queue_interrupts(struct virtio_queue *, bool wanted);

/* -- Discovery -- */

/* Finds every device on this platform's buses and fills devices[0..max). */
size_t virtio_mmio_discover(struct virtio_device *devices, size_t max);
size_t virtio_pci_discover(struct virtio_device *devices, size_t max);

#endif /* BOLE_VIRTIO_H */
