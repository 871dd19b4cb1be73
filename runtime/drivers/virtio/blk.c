/* SPDX-License-Identifier: ISC */
/* virtio-blk (virtio 1.2, section 5.2) as a struct bole_block.
 *
 * A call is a transfer on the caller's stack; it is cut into requests (slots) by the device's
 * limits, all of them are offered, and the caller parks until the last one is back. Requests of
 * many fibers share the queue; a fiber that finds no free slot waits its turn.
 */
#include <stdio.h>
#include <string.h>

#include "core/core.h"
#include "drivers/virtio/drivers.h"

enum {
	SECTOR = 512,  /* the unit of every position on the wire */
	SLOTS = 64,    /* requests in flight */
	SEGMENTS = 62, /* data segments of one request; with header and status a table of 1 KiB */
	REQUEST_BYTES_MAX = 1 << 20,
	RING_SIZE = 256,
	SECTOR_SIZE_MAX = 64 * 1024, /* a larger logical block is refused */
	STATUS_PENDING = 0xff,

	TYPE_IN = 0,
	TYPE_OUT = 1,
	TYPE_FLUSH = 4,
	TYPE_DISCARD = 11,
	STATUS_OK = 0,

	CONFIG_CAPACITY = 0,
	CONFIG_SIZE_MAX = 8,
	CONFIG_SEG_MAX = 12,
	CONFIG_BLK_SIZE = 20,
	CONFIG_PHYSICAL_EXPONENT = 24,
	CONFIG_DISCARD_SECTORS = 36,
	CONFIG_DISCARD_ALIGNMENT = 44,
};

#define F_SIZE_MAX (UINT64_C(1) << 1)
#define F_SEG_MAX  (UINT64_C(1) << 2)
#define F_RO       (UINT64_C(1) << 5)
#define F_BLK_SIZE (UINT64_C(1) << 6)
#define F_FLUSH    (UINT64_C(1) << 9)
#define F_TOPOLOGY (UINT64_C(1) << 10)
#define F_DISCARD  (UINT64_C(1) << 13)

struct header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

struct discard_range {
	uint64_t sector;
	uint32_t sectors;
	uint32_t flags;
};

/* One call of the block interface. */
struct transfer {
	struct core_fiber *fiber;
	unsigned pending;
	enum bole_status rc;
};

struct slot {
	struct header header;
	struct discard_range range;
	struct virtio_desc table[SEGMENTS + 2];
	struct transfer *transfer;
	struct slot *next_free;
	uint8_t *bounce; /* not NULL: pages to free when done */
	volatile uint8_t status;
};

struct blk {
	struct bole_block base;
	struct virtio_device *device;
	struct virtio_queue queue;
	struct core_poller poller;
	struct core_wait_queue waiting; /* for a slot or ring descriptors */
	struct slot *free;
	struct slot *slots;
	uint32_t segments;      /* of one request */
	uint32_t segment_bytes; /* of one segment */
	uint32_t discard_sectors;
	uint32_t discard_alignment; /* sectors */
	bool stopped;
	struct virtio_blk_stats stats;
};

static struct blk *blk_of(struct bole_block *base)
{
	return (struct blk *)(void *)base;
}

/* -- Completion -- */

static void finish(struct blk *blk, struct slot *slot, enum bole_status rc)
{
	struct transfer *transfer = slot->transfer;

	if (slot->bounce != NULL)
		core_pages_free(slot->bounce, SECTOR_SIZE_MAX / CORE_PAGE_SIZE);
	slot->bounce = NULL;
	slot->transfer = NULL;
	slot->next_free = blk->free;
	blk->free = slot;
	blk->stats.in_flight--;
	if (rc != BOLE_OK) {
		blk->stats.errors++;
		core_log(BOLE_LOG_ERROR, "%s: request type %u at sector %llu failed (status %u)",
		         blk->base.info.name, slot->header.type,
		         (unsigned long long)slot->header.sector, slot->status);
		transfer->rc = rc;
	}
	if (--transfer->pending == 0)
		core_wake(transfer->fiber);
}

static bool work_off(struct blk *blk)
{
	bool any = false;
	struct slot *slot;
	uint32_t wrote;

	while ((slot = virtio_queue_get(&blk->queue, &wrote)) != NULL) {
		finish(blk, slot, slot->status == STATUS_OK ? BOLE_OK : BOLE_E_IO);
		any = true;
	}
	if (blk->queue.broken && !blk->stopped) {
		core_log(BOLE_LOG_ERROR, "%s: the device broke the protocol; stopped",
		         blk->base.info.name);
		blk->stopped = true;
		/* After the reset it cannot touch buffers that we give back. */
		virtio_stop(blk->device);
		while ((slot = virtio_queue_drain(&blk->queue)) != NULL)
			finish(blk, slot, BOLE_E_IO);
		any = true;
	}
	if (any) {
		virtio_queue_interrupts(&blk->queue, false);
		core_wait_wake_all(&blk->waiting);
	}
	return any;
}

static bool blk_poll(void *ctx)
{
	struct blk *blk = ctx;

	if (blk->stats.in_flight == 0)
		return false;
	return work_off(blk);
}

static bool blk_before_idle(void *ctx)
{
	struct blk *blk = ctx;

	if (blk->stats.in_flight == 0)
		return false;
	return virtio_queue_interrupts(&blk->queue, true);
}

/* -- Submission -- */

/* A free slot, counted as pending on the transfer; waits for one. NULL: the device is stopped. */
static struct slot *take_slot(struct blk *blk, struct transfer *transfer, uint32_t type,
                              uint64_t sector)
{
	while (blk->free == NULL && !blk->stopped) {
		virtio_queue_kick(&blk->queue);
		core_wait(&blk->waiting, CORE_NEVER);
	}
	if (blk->stopped)
		return NULL;
	struct slot *slot = blk->free;
	blk->free = slot->next_free;
	slot->header = (struct header){.type = type, .sector = sector};
	slot->transfer = transfer;
	slot->status = STATUS_PENDING;
	transfer->pending++;
	if (++blk->stats.in_flight > blk->stats.in_flight_max)
		blk->stats.in_flight_max = blk->stats.in_flight;
	return slot;
}

/* Offers a slot with its data. pieces has room before and after the data for header and status:
 * data is pieces[1..count]. */
static void offer(struct blk *blk, struct slot *slot, struct virtio_piece *pieces, size_t count,
                  bool device_writes)
{
	size_t out = 1 + (device_writes ? 0 : count);
	size_t in = 1 + (device_writes ? count : 0);
	enum bole_status rc;

	pieces[0] = (struct virtio_piece){&slot->header, sizeof slot->header};
	pieces[count + 1] = (struct virtio_piece){(const void *)(uintptr_t)&slot->status, 1};
	while ((rc = virtio_queue_add(&blk->queue, pieces, out, in, slot->table, slot)) ==
	       BOLE_AGAIN) {
		virtio_queue_kick(&blk->queue);
		core_wait(&blk->waiting, CORE_NEVER);
	}
	if (rc != BOLE_OK)
		finish(blk, slot, BOLE_E_IO);
}

/* Waits for all requests of the transfer. */
static enum bole_status complete(struct blk *blk, struct transfer *transfer)
{
	virtio_queue_kick(&blk->queue);
	while (transfer->pending != 0)
		core_park();
	return transfer->rc;
}

/* Position in the list of pieces of a call. */
struct cursor {
	const struct bole_bytes *pieces;
	size_t count;
	size_t index;
	size_t off;
	size_t left; /* bytes until the end of the list */
};

/* The longest run of memory at the cursor, at most max bytes; moves past it. */
static struct virtio_piece next_run(struct cursor *cursor, size_t max)
{
	while (cursor->off == cursor->pieces[cursor->index].len) {
		cursor->index++;
		cursor->off = 0;
	}
	const struct bole_bytes *piece = &cursor->pieces[cursor->index];
	size_t len = piece->len - cursor->off;
	if (len > max)
		len = max;
	struct virtio_piece run = {piece->ptr + cursor->off, (uint32_t)len};
	cursor->off += len;
	cursor->left -= len;
	return run;
}

/* Copies one logical block out of many small pieces: used where a request's segments would not
 * add up to a whole block. */
static size_t gather(struct blk *blk, struct slot *slot, struct cursor *cursor,
                     struct virtio_piece *out)
{
	size_t unit = blk->base.info.program_unit;
	size_t len = cursor->left < SECTOR_SIZE_MAX ? cursor->left : SECTOR_SIZE_MAX;

	if (blk->segment_bytes < len)
		len = unit > blk->segment_bytes ? unit : blk->segment_bytes / unit * unit;
	slot->bounce = core_pages_alloc(SECTOR_SIZE_MAX / CORE_PAGE_SIZE);
	if (slot->bounce == NULL)
		return 0;
	for (size_t at = 0; at < len;) {
		struct virtio_piece run = next_run(cursor, len - at);
		memcpy(slot->bounce + at, run.ptr, run.len);
		at += run.len;
	}
	size_t count = 0;
	for (size_t at = 0; at < len; count++) {
		size_t part = len - at < blk->segment_bytes ? len - at : blk->segment_bytes;
		out[count] = (struct virtio_piece){slot->bounce + at, (uint32_t)part};
		at += part;
	}
	return count;
}

/* Fills segments for the next request from the cursor: a whole number of blocks. The number of
 * segments; *bytes is their sum. 0: no memory for a copy. */
static size_t fill(struct blk *blk, struct slot *slot, struct cursor *cursor,
                   struct virtio_piece *out, size_t *bytes)
{
	size_t unit = blk->base.info.program_unit;
	struct cursor start = *cursor;
	struct cursor whole = *cursor; /* behind the last whole block */
	size_t count = 0;
	size_t whole_count = 0;
	size_t sum = 0;

	while (cursor->left > 0 && count < blk->segments && sum < REQUEST_BYTES_MAX) {
		size_t max = REQUEST_BYTES_MAX - sum;
		if (max > blk->segment_bytes)
			max = blk->segment_bytes;
		struct cursor before = *cursor;
		struct virtio_piece run = next_run(cursor, max);
		/* Cut the run where it fills the last whole block. */
		size_t end = (sum + run.len) / unit * unit;
		if (end > sum) {
			whole = before;
			(void)next_run(&whole, end - sum);
			whole_count = count + 1;
			*bytes = end;
		}
		out[count++] = run;
		sum += run.len;
	}
	if (whole_count == 0) {
		*cursor = start;
		size_t left = cursor->left;
		count = gather(blk, slot, cursor, out);
		*bytes = left - cursor->left;
		return count;
	}
	size_t kept = 0;
	for (size_t i = 0; i + 1 < whole_count; i++)
		kept += out[i].len;
	out[whole_count - 1].len = (uint32_t)(*bytes - kept);
	*cursor = whole;
	return whole_count;
}

static enum bole_status move(struct blk *blk, uint32_t type, uint64_t off, struct cursor *cursor)
{
	struct transfer transfer = {.fiber = core_fiber_self()};
	struct virtio_piece pieces[SEGMENTS + 2];

	while (cursor->left > 0 && transfer.rc == BOLE_OK) {
		struct slot *slot = take_slot(blk, &transfer, type, off / SECTOR);
		if (slot == NULL) {
			transfer.rc = BOLE_E_IO;
			break;
		}
		size_t bytes = 0;
		size_t count = fill(blk, slot, cursor, pieces + 1, &bytes);
		if (count == 0) {
			transfer.pending++; /* finish must not wake us */
			finish(blk, slot, BOLE_E_NO_MEMORY);
			transfer.pending--;
			break;
		}
		offer(blk, slot, pieces, count, type == TYPE_IN);
		off += bytes;
	}
	return complete(blk, &transfer);
}

static enum bole_status blk_read(struct bole_block *base, uint64_t off, void *dst, size_t len)
{
	struct blk *blk = blk_of(base);
	struct bole_bytes piece = {dst, len};
	struct cursor cursor = {.pieces = &piece, .count = 1, .left = len};

	blk->stats.reads++;
	return move(blk, TYPE_IN, off, &cursor);
}

static enum bole_status blk_programv(struct bole_block *base, uint64_t off,
                                     const struct bole_bytes *pieces, size_t count)
{
	struct blk *blk = blk_of(base);
	struct cursor cursor = {.pieces = pieces, .count = count};

	if (base->info.read_only)
		return BOLE_E_READ_ONLY;
	for (size_t i = 0; i < count; i++)
		cursor.left += pieces[i].len;
	blk->stats.writes++;
	return move(blk, TYPE_OUT, off, &cursor);
}

static enum bole_status blk_flush(struct bole_block *base)
{
	struct blk *blk = blk_of(base);
	struct transfer transfer = {.fiber = core_fiber_self()};
	struct virtio_piece pieces[2];

	if (!base->info.volatile_cache)
		return BOLE_OK;
	blk->stats.flushes++;
	/* Writes that came back before this call are covered; nothing orders the others. */
	struct slot *slot = take_slot(blk, &transfer, TYPE_FLUSH, 0);
	if (slot == NULL)
		return BOLE_E_IO;
	offer(blk, slot, pieces, 0, false);
	return complete(blk, &transfer);
}

static enum bole_status blk_discard(struct bole_block *base, uint64_t off, uint64_t len)
{
	struct blk *blk = blk_of(base);
	struct transfer transfer = {.fiber = core_fiber_self()};
	uint64_t unit = blk->discard_alignment;
	uint64_t first = (off / SECTOR + unit - 1) / unit * unit;
	uint64_t end = (off + len) / SECTOR / unit * unit;

	if (base->info.read_only)
		return BOLE_E_READ_ONLY;
	if (!base->info.can_discard)
		return BOLE_OK;
	blk->stats.discards++;
	while (first < end && transfer.rc == BOLE_OK) {
		struct virtio_piece pieces[3];
		uint64_t count = end - first;
		if (count > blk->discard_sectors)
			count = blk->discard_sectors;
		struct slot *slot = take_slot(blk, &transfer, TYPE_DISCARD, 0);
		if (slot == NULL) {
			transfer.rc = BOLE_E_IO;
			break;
		}
		slot->range = (struct discard_range){first, (uint32_t)count, 0};
		pieces[1] = (struct virtio_piece){&slot->range, sizeof slot->range};
		offer(blk, slot, pieces, 1, false);
		first += count;
	}
	return complete(blk, &transfer);
}

/* Stops the device; its memory stays, since pollers are registered for ever. */
static void blk_close(struct bole_block *base)
{
	struct blk *blk = blk_of(base);

	if (!blk->stopped)
		virtio_stop(blk->device);
	blk->stopped = true;
}

static const struct bole_block_ops blk_ops = {
        .read = blk_read,
        .programv = blk_programv,
        .discard = blk_discard,
        .flush = blk_flush,
        .close = blk_close,
};

/* -- Opening -- */

static uint32_t config32(struct virtio_device *device, uint32_t off)
{
	uint32_t value;

	device->ops->config_read(device, off, &value, sizeof value);
	return value;
}

static bool power_of_two(uint32_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

static enum bole_status read_limits(struct blk *blk)
{
	struct virtio_device *device = blk->device;

	blk->segments = SEGMENTS;
	blk->segment_bytes = REQUEST_BYTES_MAX;
	if (device->features & F_SEG_MAX) {
		uint32_t max = config32(device, CONFIG_SEG_MAX);
		if (max != 0 && max < blk->segments)
			blk->segments = max;
	} else {
		blk->segments = 1;
	}
	if (device->features & F_SIZE_MAX) {
		uint32_t max = config32(device, CONFIG_SIZE_MAX);
		if (max != 0 && max < blk->segment_bytes)
			blk->segment_bytes = max;
	}
	/* Without indirect tables a request must fit into the ring. */
	if ((device->features & VIRTIO_F_INDIRECT_DESC) == 0 &&
	    blk->segments + 2u > blk->queue.size) {
		if (blk->queue.size < 3)
			return BOLE_E_UNSUPPORTED;
		blk->segments = blk->queue.size - 2u;
	}
	/* The longest copy that gather makes has to fit. */
	if ((uint64_t)blk->segment_bytes * blk->segments < blk->base.info.program_unit)
		return BOLE_E_UNSUPPORTED;
	return BOLE_OK;
}

static enum bole_status read_info(struct blk *blk, unsigned number)
{
	struct virtio_device *device = blk->device;
	struct bole_block_info *info = &blk->base.info;
	uint64_t sectors;
	uint32_t block = SECTOR;
	uint8_t exponent = 0;

	device->ops->config_read(device, CONFIG_CAPACITY, &sectors, sizeof sectors);
	if (device->features & F_BLK_SIZE)
		block = config32(device, CONFIG_BLK_SIZE);
	if (!power_of_two(block) || block < SECTOR || block > SECTOR_SIZE_MAX ||
	    sectors > UINT64_MAX / SECTOR)
		return BOLE_E_IO;
	if (device->features & F_TOPOLOGY)
		device->ops->config_read(device, CONFIG_PHYSICAL_EXPONENT, &exponent, 1);
	uint64_t physical = exponent < 16 ? (uint64_t)block << exponent : block;
	snprintf(info->name, sizeof info->name, "virtio-blk%u", number);
	info->kind = BOLE_BLOCK_MANAGED;
	info->volatile_cache = (device->features & F_FLUSH) != 0;
	info->durability = info->volatile_cache ? BOLE_DURABLE_DEVICE : BOLE_DURABLE_HOST;
	info->size_bytes = sectors * SECTOR / block * block;
	info->read_unit = block;
	info->program_unit = block;
	info->damage_unit = (uint32_t)(physical > 4096 ? physical : 4096);
	info->queue_depth = SLOTS;
	info->read_only = (device->features & F_RO) != 0;
	info->can_discard = (device->features & F_DISCARD) != 0 && !info->read_only;
	if (info->can_discard) {
		blk->discard_sectors = config32(device, CONFIG_DISCARD_SECTORS);
		blk->discard_alignment = config32(device, CONFIG_DISCARD_ALIGNMENT);
		if (blk->discard_alignment == 0)
			blk->discard_alignment = 1;
		blk->discard_sectors -= blk->discard_sectors % blk->discard_alignment;
		info->can_discard = blk->discard_sectors != 0;
	}
	return BOLE_OK;
}

static enum bole_status start(struct blk *blk, unsigned number)
{
	struct virtio_device *device = blk->device;
	enum bole_status rc = virtio_begin(
	        device, F_SIZE_MAX | F_SEG_MAX | F_RO | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY |
	                        F_DISCARD | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX);
	if (rc != BOLE_OK)
		return rc;
	if (!device->ops->interrupts(device))
		return BOLE_E_UNSUPPORTED;
	rc = virtio_queue_open(&blk->queue, device, 0, RING_SIZE);
	if (rc == BOLE_OK)
		rc = read_info(blk, number);
	if (rc == BOLE_OK)
		rc = read_limits(blk);
	if (rc != BOLE_OK)
		virtio_fail(device);
	else
		virtio_start(device);
	return rc;
}

enum bole_status virtio_blk_open(struct virtio_device *device, unsigned number,
                                 struct bole_block **out)
{
	size_t bytes = sizeof(struct blk) + SLOTS * sizeof(struct slot);
	size_t pages = (bytes + CORE_PAGE_SIZE - 1) / CORE_PAGE_SIZE;
	struct blk *blk = core_pages_alloc(pages);

	if (blk == NULL)
		return BOLE_E_NO_MEMORY;
	memset(blk, 0, bytes);
	blk->base.ops = &blk_ops;
	blk->device = device;
	blk->slots = (void *)(blk + 1);
	for (size_t i = SLOTS; i-- > 0;) {
		blk->slots[i].next_free = blk->free;
		blk->free = &blk->slots[i];
	}
	enum bole_status rc = start(blk, number);
	if (rc != BOLE_OK) {
		core_log(BOLE_LOG_ERROR, "virtio-blk%u (%s): %s", number, device->where,
		         bole_status_text(rc));
		core_pages_free(blk, pages);
		return rc;
	}
	blk->poller =
	        (struct core_poller){.poll = blk_poll, .before_idle = blk_before_idle, .ctx = blk};
	core_poller_register(&blk->poller);
	*out = &blk->base;
	return BOLE_OK;
}

void virtio_blk_stats(const struct bole_block *base, struct virtio_blk_stats *out)
{
	*out = ((const struct blk *)(const void *)base)->stats;
}
