/* SPDX-License-Identifier: ISC */
/* Split virtqueues and the handshake with a device (virtio 1.2, sections 2.7 and 3.1).
 *
 * The rings live in pages of their own, read and written with single 16 and 32 bit accesses. What
 * the device writes (used index, ids, lengths) is read once, checked, and then only the copy is
 * used. Everything runs on one processor; the fences order our stores against the device's view.
 */

#include <stdatomic.h>
#include <string.h>

#include "core/core.h"
#include "drivers/virtio/virtio.h"

enum {
	DESC_NEXT = 1,
	DESC_WRITE = 2,
	DESC_INDIRECT = 4,
	AVAIL_NO_INTERRUPT = 1,
	USED_NO_NOTIFY = 1,
	END = 0xffff, /* end of the free list; queue sizes stay below it */
};

enum bole_status virtio_begin(struct virtio_device *device, uint64_t wanted)
{
	const struct virtio_transport_ops *ops = device->ops;
	unsigned spins = 0;

	ops->set_status(device, 0);
	while (ops->status(device) != 0 && ++spins < 1000000)
		;
	ops->set_status(device, VIRTIO_STATUS_ACKNOWLEDGE);
	ops->set_status(device, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	uint64_t offered = ops->features(device);
	if ((offered & VIRTIO_F_VERSION_1) == 0) {
		virtio_fail(device);
		return BOLE_E_UNSUPPORTED;
	}
	device->features = offered & (wanted | VIRTIO_F_VERSION_1);
	ops->accept_features(device, device->features);
	ops->set_status(device, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
	                                VIRTIO_STATUS_FEATURES_OK);
	if ((ops->status(device) & VIRTIO_STATUS_FEATURES_OK) == 0) {
		virtio_fail(device);
		return BOLE_E_UNSUPPORTED;
	}
	return BOLE_OK;
}

void virtio_start(struct virtio_device *device)
{
	device->ops->set_status(device, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
	                                        VIRTIO_STATUS_FEATURES_OK |
	                                        VIRTIO_STATUS_DRIVER_OK);
}

void virtio_stop(struct virtio_device *device)
{
	unsigned spins = 0;

	device->ops->set_status(device, 0);
	while (device->ops->status(device) != 0 && ++spins < 1000000)
		;
}

void virtio_fail(struct virtio_device *device)
{
	virtio_stop(device);
	device->ops->set_status(device, VIRTIO_STATUS_FAILED);
}

/* Places of the words around the rings. */
static volatile uint16_t *used_event(struct virtio_queue *queue)
{
	return &queue->avail[2 + queue->size];
}
static volatile uint16_t *avail_event(struct virtio_queue *queue)
{
	return &queue->used[2 + 4 * queue->size];
}

static uint16_t size_for(uint16_t allowed, uint16_t wanted)
{
	uint16_t size = 1;

	while (size * 2 <= allowed && size * 2 <= wanted && size * 2 <= VIRTIO_QUEUE_SIZE_MAX)
		size = (uint16_t)(size * 2);
	return size;
}

enum bole_status virtio_queue_open(struct virtio_queue *queue, struct virtio_device *device,
                                   uint16_t index, uint16_t size_wanted)
{
	uint16_t allowed = device->ops->queue_size_max(device, index);
	uint16_t size = size_for(allowed, size_wanted);
	size_t desc_bytes = size * sizeof(struct virtio_desc);
	size_t avail_bytes = (6 + 2u * size + 15) & ~(size_t)15;
	size_t used_bytes = (6 + 8u * size + 15) & ~(size_t)15;
	size_t total =
	        desc_bytes + avail_bytes + used_bytes + size * (sizeof(void *) + sizeof(uint32_t));

	memset(queue, 0, sizeof *queue);
	if (allowed == 0)
		return BOLE_E_UNSUPPORTED;
	uint8_t *memory = core_pages_alloc((total + CORE_PAGE_SIZE - 1) / CORE_PAGE_SIZE);
	if (memory == NULL)
		return BOLE_E_NO_MEMORY;
	memset(memory, 0, total);
	queue->device = device;
	queue->index = index;
	queue->size = size;
	queue->desc = (void *)memory;
	queue->avail = (void *)(memory + desc_bytes);
	queue->used = (void *)(memory + desc_bytes + avail_bytes);
	queue->tokens = (void *)(memory + desc_bytes + avail_bytes + used_bytes);
	queue->writable = (void *)(queue->tokens + size);
	queue->event_idx = (device->features & VIRTIO_F_EVENT_IDX) != 0;
	queue->indirect = (device->features & VIRTIO_F_INDIRECT_DESC) != 0;
	for (uint16_t i = 0; i < size; i++)
		queue->desc[i].next = i + 1 < size ? (uint16_t)(i + 1) : END;
	queue->free_count = size;
	queue->notify = device->ops->queue_enable(device, index, size, core_phys(memory),
	                                          core_phys(memory + desc_bytes),
	                                          core_phys(memory + desc_bytes + avail_bytes));
	return queue->notify == NULL ? BOLE_E_UNSUPPORTED : BOLE_OK;
}

static void desc_set(struct virtio_desc *desc, const struct virtio_piece *piece, bool write,
                     bool more)
{
	desc->address = core_phys(piece->ptr);
	desc->len = piece->len;
	desc->flags = (uint16_t)((write ? DESC_WRITE : 0) | (more ? DESC_NEXT : 0));
}

static uint16_t take_free(struct virtio_queue *queue)
{
	uint16_t i = queue->free_head;

	queue->free_head = queue->desc[i].next;
	queue->free_count--;
	return i;
}

/* One descriptor in the ring that points at the table. */
static uint16_t add_indirect(struct virtio_queue *queue, const struct virtio_piece *pieces,
                             size_t out, size_t count, struct virtio_desc *table)
{
	for (size_t i = 0; i < count; i++) {
		desc_set(&table[i], &pieces[i], i >= out, i + 1 < count);
		table[i].next = i + 1 < count ? (uint16_t)(i + 1) : 0;
	}
	uint16_t head = take_free(queue);
	queue->desc[head].address = core_phys(table);
	queue->desc[head].len = (uint32_t)(count * sizeof *table);
	queue->desc[head].flags = DESC_INDIRECT;
	queue->desc[head].next = END;
	return head;
}

static uint16_t add_direct(struct virtio_queue *queue, const struct virtio_piece *pieces,
                           size_t out, size_t count)
{
	uint16_t head = queue->free_head;

	for (size_t i = 0; i < count; i++) {
		/* The free list is the chain already: next stays as it is. */
		uint16_t at = take_free(queue);
		desc_set(&queue->desc[at], &pieces[i], i >= out, i + 1 < count);
	}
	return head;
}

enum bole_status virtio_queue_add(struct virtio_queue *queue, const struct virtio_piece *pieces,
                                  size_t out, size_t in, struct virtio_desc *table, void *token)
{
	size_t count = out + in;
	uint64_t writable = 0;
	bool indirect = queue->indirect && table != NULL && count > 1;

	if (queue->broken)
		return BOLE_E_IO;
	if (queue->free_count < (indirect ? 1 : count))
		return BOLE_AGAIN;
	for (size_t i = out; i < count; i++)
		writable += pieces[i].len;
	uint16_t head = indirect ? add_indirect(queue, pieces, out, count, table)
	                         : add_direct(queue, pieces, out, count);
	queue->tokens[head] = token;
	queue->writable[head] = writable > UINT32_MAX ? UINT32_MAX : (uint32_t)writable;
	queue->avail[2 + (queue->avail_next & (queue->size - 1))] = head;
	queue->avail_next++;
	/* The entry must be visible before the index that announces it. */
	atomic_thread_fence(memory_order_release);
	queue->avail[1] = queue->avail_next;
	return BOLE_OK;
}

void virtio_queue_kick(struct virtio_queue *queue)
{
	uint16_t added = (uint16_t)(queue->avail_next - queue->avail_known);

	if (added == 0 || queue->broken)
		return;
	/* Our index must be out before we read what the device last asked for, else both sides
	 * may believe that the other will act. */
	atomic_thread_fence(memory_order_seq_cst);
	bool wanted;
	if (queue->event_idx) {
		uint16_t event = *avail_event(queue);
		wanted = (uint16_t)(queue->avail_next - event - 1) < added;
	} else {
		wanted = (queue->used[0] & USED_NO_NOTIFY) == 0;
	}
	queue->avail_known = queue->avail_next;
	if (!wanted)
		return;
	queue->notified++;
	queue->device->ops->notify(queue->device, queue->notify, queue->index);
}

/* Gives the descriptors of a chain back. Only fields that we wrote are read. */
static void release(struct virtio_queue *queue, uint16_t head)
{
	uint16_t last = head;

	queue->free_count++;
	while (queue->desc[last].flags & DESC_NEXT) {
		last = queue->desc[last].next;
		queue->free_count++;
	}
	queue->desc[last].next = queue->free_head;
	queue->free_head = head;
	queue->tokens[head] = NULL;
}

void *virtio_queue_get(struct virtio_queue *queue, uint32_t *len)
{
	if (queue->broken || queue->used[1] == queue->used_next)
		return NULL;
	atomic_thread_fence(memory_order_acquire);
	uint16_t waiting = (uint16_t)(queue->used[1] - queue->used_next);
	volatile uint32_t *entry = (volatile uint32_t *)(volatile void *)&queue
	                                   ->used[2 + 4 * (queue->used_next & (queue->size - 1))];
	uint32_t id = entry[0];
	uint32_t wrote = entry[1];

	if (waiting > queue->size || id >= queue->size || queue->tokens[id] == NULL) {
		queue->broken = true;
		return NULL;
	}
	void *token = queue->tokens[id];
	/* The caller indexes with it. */
	*len = wrote < queue->writable[id] ? wrote : queue->writable[id];
	release(queue, (uint16_t)id);
	queue->used_next++;
	return token;
}

void *virtio_queue_drain(struct virtio_queue *queue)
{
	for (uint16_t i = 0; i < queue->size; i++) {
		void *token = queue->tokens[i];
		if (token != NULL) {
			queue->tokens[i] = NULL;
			return token;
		}
	}
	return NULL;
}

bool virtio_queue_interrupts(struct virtio_queue *queue, bool wanted)
{
	if (queue->event_idx)
		/* Far behind is never reached within one turn of the ring. */
		*used_event(queue) = (uint16_t)(queue->used_next + (wanted ? 0 : 0x8000));
	else
		queue->avail[0] = wanted ? 0 : AVAIL_NO_INTERRUPT;
	atomic_thread_fence(memory_order_seq_cst);
	return queue->used[1] != queue->used_next;
}
