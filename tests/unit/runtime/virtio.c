/* SPDX-License-Identifier: ISC */
/* The virtqueue and the block driver against a device written here, which works on the rings as the
 * driver laid them out. It finishes requests in any order, fails some, and in its hostile moods
 * breaks the protocol. The core's scheduler is played by one thread: to park is to let the device
 * and the pollers run. */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"
#include "drivers/virtio/drivers.h"
#include "tests/support/platform.h"

enum { DISK_BYTES = 1 << 20, PARKS_MAX = 10000, DEPTH_MAX = 256 };

enum mood {
	HONEST,
	FAILS_SOME,  /* status "I/O error" now and then */
	WRONG_ID,    /* returns an id beyond the ring */
	STRAY_ID,    /* returns an id that is not in flight */
	TWICE,       /* returns a chain twice */
	JUMPS,       /* moves the used index further than the ring is long */
	LONG_LENGTH, /* claims to have written more than it may: harmless */
	MOODS,
};

struct fake {
	struct virtio_device device; /* first */
	uint64_t offered;
	uint32_t segments;
	uint32_t segment_bytes;
	uint32_t block;
	uint16_t ring;
	enum mood mood;
	uint8_t status;
	uint16_t size;
	struct virtio_desc *desc;
	volatile uint16_t *avail;
	volatile uint16_t *used;
	uint16_t seen;
	uint16_t heads[DEPTH_MAX]; /* taken from the ring, not finished */
	size_t head_count;
	uint8_t *disk;
	unsigned requests;
	unsigned flushes;
	unsigned failed;
	uint64_t random;
};

static struct fake *the_fake;
static struct core_poller *pollers;
static unsigned parks;

static uint32_t draw(struct fake *fake)
{
	fake->random = fake->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t)(fake->random >> 33);
}

/* -- The device -- */

static uint64_t fake_features(struct virtio_device *device)
{
	return ((struct fake *)(void *)device)->offered;
}
static void fake_accept(struct virtio_device *device, uint64_t features)
{
	cr_assert_eq(features & ~((struct fake *)(void *)device)->offered, 0);
}
static uint8_t fake_status(struct virtio_device *device)
{
	return ((struct fake *)(void *)device)->status;
}
static void fake_set_status(struct virtio_device *device, uint8_t status)
{
	struct fake *fake = (struct fake *)(void *)device;

	fake->status = status;
	if (status == 0)
		fake->head_count = 0;
}
static void fake_config(struct virtio_device *device, uint32_t off, void *dst, size_t len)
{
	struct fake *fake = (struct fake *)(void *)device;
	uint8_t config[60] = {0};
	uint64_t sectors = DISK_BYTES / 512;
	uint32_t discard = 64, alignment = 2;

	memcpy(config, &sectors, 8);
	memcpy(config + 8, &fake->segment_bytes, 4);
	memcpy(config + 12, &fake->segments, 4);
	memcpy(config + 20, &fake->block, 4);
	memcpy(config + 36, &discard, 4);
	memcpy(config + 44, &alignment, 4);
	memcpy(dst, config + off, len);
}
static uint16_t fake_queue_size(struct virtio_device *device, uint16_t index)
{
	return index == 0 ? ((struct fake *)(void *)device)->ring : 0;
}
static volatile void *fake_enable(struct virtio_device *device, uint16_t index, uint16_t size,
                                  uint64_t desc, uint64_t avail, uint64_t used)
{
	struct fake *fake = (struct fake *)(void *)device;

	cr_assert_eq(index, 0);
	fake->size = size;
	fake->desc = (struct virtio_desc *)(uintptr_t)desc;
	fake->avail = (volatile uint16_t *)(uintptr_t)avail;
	fake->used = (volatile uint16_t *)(uintptr_t)used;
	return &fake->ring;
}
static void fake_notify(struct virtio_device *device, volatile void *reg, uint16_t index)
{
	(void)device;
	(void)reg;
	(void)index;
}
static bool fake_interrupts(struct virtio_device *device)
{
	(void)device;
	return true;
}
static const struct virtio_transport_ops fake_ops = {
        .features = fake_features,
        .accept_features = fake_accept,
        .status = fake_status,
        .set_status = fake_set_status,
        .config_read = fake_config,
        .queue_size_max = fake_queue_size,
        .queue_enable = fake_enable,
        .notify = fake_notify,
        .interrupts = fake_interrupts,
};

static void push_used(struct fake *fake, uint32_t id, uint32_t len)
{
	volatile uint32_t *entry = (volatile uint32_t *)(volatile void *)&fake
	                                   ->used[2 + 4 * (fake->used[1] & (fake->size - 1))];

	entry[0] = id;
	entry[1] = len;
	fake->used[1]++;
}

/* The chain behind head as a flat list. */
static size_t chain(struct fake *fake, uint16_t head, struct virtio_desc *out)
{
	struct virtio_desc *table = fake->desc;
	size_t count = 0, limit = fake->size;
	uint16_t at = head;

	if (table[head].flags & 4) {
		limit = table[head].len / sizeof *table;
		table = (struct virtio_desc *)(uintptr_t)table[head].address;
		at = 0;
	}
	for (;;) {
		cr_assert_lt(at, limit, "a descriptor beyond its table");
		cr_assert_lt(count, DEPTH_MAX, "an endless chain");
		out[count] = table[at];
		cr_assert(count == 0 || (out[count].flags & 2) >= (out[count - 1].flags & 2),
		          "read pieces come first");
		if (!(table[at].flags & 1))
			return count + 1;
		at = table[at].next;
		count++;
	}
}

static uint8_t carry_out(struct fake *fake, struct virtio_desc *d, size_t count, uint32_t *wrote)
{
	uint32_t type;
	uint64_t sector;
	const uint8_t *head = (const uint8_t *)(uintptr_t)d[0].address;

	cr_assert_eq(d[0].len, 16);
	memcpy(&type, head, 4);
	memcpy(&sector, head + 8, 8);
	cr_assert_leq(count - 2, fake->segments);
	uint64_t off = sector * 512, total = 0;
	for (size_t i = 1; i + 1 < count; i++) {
		uint8_t *piece = (uint8_t *)(uintptr_t)d[i].address;
		cr_assert(type == 11 || d[i].len <= fake->segment_bytes);
		cr_assert_gt(d[i].len, 0);
		if (type <= 1)
			cr_assert_leq(off + d[i].len, DISK_BYTES);
		if (type == 0)
			memcpy(piece, fake->disk + off, d[i].len);
		else if (type == 1)
			memcpy(fake->disk + off, piece, d[i].len);
		off += d[i].len;
		total += d[i].len;
	}
	if (type <= 1)
		cr_assert_eq(total % fake->block, 0, "a request of part of a block");
	if (type == 11) {
		const uint32_t *range = (const uint32_t *)(uintptr_t)d[1].address;
		uint64_t first;
		memcpy(&first, range, 8);
		cr_assert(first % 2 == 0 && range[2] % 2 == 0 && range[2] <= 64);
		memset(fake->disk + first * 512, 0, range[2] * 512);
	}
	fake->flushes += type == 4;
	*wrote = (type == 0 ? (uint32_t)total : 0) + 1;
	return 0;
}

static void finish_one(struct fake *fake)
{
	struct virtio_desc d[DEPTH_MAX];
	size_t pick = draw(fake) % fake->head_count;
	uint16_t head = fake->heads[pick];
	size_t count = chain(fake, head, d);
	uint32_t wrote = 0;
	uint8_t status = carry_out(fake, d, count, &wrote);
	bool odd = draw(fake) % 8 == 0;

	fake->requests++;
	fake->heads[pick] = fake->heads[--fake->head_count];
	if (fake->mood == FAILS_SOME && odd) {
		status = 1;
		fake->failed++;
	}
	*(uint8_t *)(uintptr_t)d[count - 1].address = status;
	if (fake->mood == WRONG_ID && odd)
		push_used(fake, fake->size + draw(fake) % 1000u, wrote);
	else if (fake->mood == STRAY_ID && odd)
		push_used(fake, (head + 1u) % fake->size, wrote);
	else
		push_used(fake, head, fake->mood == LONG_LENGTH ? UINT32_MAX : wrote);
	if (fake->mood == TWICE && odd)
		push_used(fake, head, wrote);
	if (fake->mood == JUMPS && odd)
		fake->used[1] = (uint16_t)(fake->used[1] + fake->size + 1);
}

static void device_runs(struct fake *fake)
{
	if (!(fake->status & VIRTIO_STATUS_DRIVER_OK))
		return;
	while (fake->seen != fake->avail[1]) {
		cr_assert_lt(fake->head_count, DEPTH_MAX);
		fake->heads[fake->head_count++] = fake->avail[2 + (fake->seen & (fake->size - 1))];
		fake->seen++;
	}
	size_t some = fake->head_count == 0 ? 0 : 1 + draw(fake) % fake->head_count;
	while (some-- > 0 && fake->head_count > 0)
		finish_one(fake);
}

/* -- The core, as far as the driver needs it -- */

static int self;
struct core_fiber *core_fiber_self(void)
{
	return (struct core_fiber *)(void *)&self;
}
void core_park(void)
{
	cr_assert_lt(++parks, PARKS_MAX, "the driver waits for ever");
	device_runs(the_fake);
	for (struct core_poller *p = pollers; p != NULL; p = p->next)
		(void)p->poll(p->ctx);
}
bool core_wait(struct core_wait_queue *queue, uint64_t deadline_ns)
{
	(void)queue;
	(void)deadline_ns;
	core_park();
	return true;
}
bool core_wait_wake_all(struct core_wait_queue *queue)
{
	(void)queue;
	return false;
}
void core_wake(struct core_fiber *fiber)
{
	(void)fiber;
}
void core_poller_register(struct core_poller *poller)
{
	poller->next = pollers;
	pollers = poller;
}
void *core_pages_alloc(size_t count)
{
	return aligned_alloc(CORE_PAGE_SIZE, count * CORE_PAGE_SIZE);
}
void core_pages_free(void *pages, size_t count)
{
	(void)count;
	free(pages);
}
void core_log(enum bole_log_level level, const char *format, ...)
{
	(void)level;
	(void)format;
}

/* -- Tests -- */

static struct bole_block *open_fake(struct fake *fake, uint64_t seed)
{
	struct bole_block *disk = NULL;

	memset(fake, 0, sizeof *fake);
	fake->random = seed;
	fake->device.ops = &fake_ops;
	fake->block = draw(fake) % 3 == 0 ? 4096 : 512;
	fake->segments = 1 + draw(fake) % 70;
	fake->segment_bytes = 4096u << draw(fake) % 5;
	fake->ring = (uint16_t)(4u << draw(fake) % 7);
	fake->mood = draw(fake) % MOODS;
	fake->offered = VIRTIO_F_VERSION_1 | 1u << 1 | 1u << 2 | 1u << 6 | 1u << 9 | 1u << 13;
	if (draw(fake) % 2)
		fake->offered |= VIRTIO_F_INDIRECT_DESC;
	if (draw(fake) % 2)
		fake->offered |= VIRTIO_F_EVENT_IDX;
	fake->disk = calloc(1, DISK_BYTES);
	the_fake = fake;
	pollers = NULL;
	parks = 0;
	cr_assert_eq(virtio_blk_open(&fake->device, 7, &disk), BOLE_OK);
	cr_assert_str_eq(disk->info.name, "virtio-blk7");
	cr_assert(disk->info.volatile_cache && disk->info.durability == BOLE_DURABLE_DEVICE);
	cr_assert_eq(disk->info.program_unit, fake->block);
	return disk;
}

static void close_fake(struct fake *fake, struct bole_block *disk)
{
	bole_block_close(disk);
	cr_assert_eq(fake->status & VIRTIO_STATUS_DRIVER_OK, 0);
	free(fake->desc);
	free(disk);
	free(fake->disk);
}

/* Writes random bytes in random pieces, and into the model. */
static enum bole_status random_write(struct fake *fake, struct bole_block *disk, uint8_t *model)
{
	static uint8_t bytes[200 * 1024];
	struct bole_bytes pieces[4096];
	uint64_t blocks = 1 + draw(fake) % (sizeof bytes / fake->block);
	uint64_t off = draw(fake) % (DISK_BYTES / fake->block - blocks) * fake->block;
	size_t len = (size_t)(blocks * fake->block), at = 0, count = 0;
	size_t most = 1 + draw(fake) % (draw(fake) % 4 == 0 ? 40 : 20000);

	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)draw(fake);
	while (at < len && count < 4095) {
		size_t part = draw(fake) % most; /* empty ones too */
		part = part < len - at ? part : len - at;
		pieces[count++] = (struct bole_bytes){bytes + at, part};
		at += part;
	}
	pieces[count++] = (struct bole_bytes){bytes + at, len - at};
	enum bole_status rc = bole_block_programv(disk, off, pieces, count);
	if (rc == BOLE_OK)
		memcpy(model + off, bytes, len);
	return rc;
}

static enum bole_status one_step(struct fake *fake, struct bole_block *disk, uint8_t *model)
{
	static uint8_t bytes[256 * 1024];
	uint64_t blocks = 1 + draw(fake) % (sizeof bytes / fake->block);
	uint64_t off = draw(fake) % (DISK_BYTES / fake->block - blocks) * fake->block;
	size_t len = (size_t)(blocks * fake->block);
	enum bole_status rc;

	switch (draw(fake) % 8) {
	case 0: return bole_block_flush(disk);
	case 1:
		rc = bole_block_discard(disk, off, len);
		off = (off + 1023) / 1024 * 1024;
		if (rc == BOLE_OK && off < DISK_BYTES)
			memcpy(model + off, fake->disk + off, len > 1024 ? len - 1024 : 0);
		if (rc == BOLE_OK)
			memcpy(model, fake->disk, DISK_BYTES); /* contents are undefined */
		return rc;
	case 2:
	case 3:
	case 4:
		rc = bole_block_read(disk, off, bytes, len);
		if (rc == BOLE_OK && fake->failed == 0)
			cr_assert_arr_eq(bytes, model + off, len);
		return rc;
	default: return random_write(fake, disk, model);
	}
}

Test(virtio, a_disk_of_any_shape_and_mood_is_right_or_says_so)
{
	/* Goal: with an honest device every byte is where it belongs, whatever the limits of device
	 * and ring; with any other each call ends, in BOLE_OK or BOLE_E_IO, and nothing is touched
	 * that is not ours. Method: random devices and calls against a model, under ASan. */
	uint64_t seed = test_seed(UINT64_C(0x5eed));
	uint8_t *model = malloc(DISK_BYTES);
	unsigned broken = 0;

	for (uint64_t run = 0; run < 150; run++) {
		struct fake fake;
		struct bole_block *disk = open_fake(&fake, seed + run * 7919);
		unsigned errors = 0;

		memset(model, 0, DISK_BYTES);
		for (int i = 0; i < 40; i++) {
			parks = 0;
			enum bole_status rc = one_step(&fake, disk, model);
			cr_assert(rc == BOLE_OK || rc == BOLE_E_IO, "run %u: %d", (unsigned)run,
			          rc);
			errors += rc != BOLE_OK;
		}
		if (fake.mood == HONEST || fake.mood == LONG_LENGTH) {
			cr_assert_eq(errors, 0);
			cr_assert_arr_eq(fake.disk, model, DISK_BYTES);
		} else if (fake.requests > 100) {
			cr_assert_gt(errors, 0, "run %u: mood %d went unseen", (unsigned)run,
			             fake.mood);
		}
		broken += errors > 0;
		close_fake(&fake, disk);
	}
	cr_assert_gt(broken, 20);
	free(model);
}

Test(virtio, a_ring_gives_back_every_descriptor)
{
	/* Goal: chains of any length return all their descriptors, in any order of completion. */
	struct fake fake = {.offered = VIRTIO_F_VERSION_1, .ring = 64, .block = 512};
	struct virtio_queue queue;
	static uint8_t bytes[64];
	unsigned in_flight = 0;

	fake.device.ops = &fake_ops;
	fake.random = test_seed(7);
	cr_assert_eq(virtio_begin(&fake.device, 0), BOLE_OK);
	cr_assert_eq(virtio_queue_open(&queue, &fake.device, 0, 256), BOLE_OK);
	cr_assert_eq(queue.size, 64);
	cr_assert_eq(virtio_queue_open(&(struct virtio_queue){0}, &fake.device, 1, 256),
	             BOLE_E_UNSUPPORTED);
	for (int i = 0; i < 100000; i++) {
		struct virtio_piece pieces[8];
		size_t count = 1 + draw(&fake) % 8;
		uint32_t len;

		for (size_t k = 0; k < count; k++)
			pieces[k] = (struct virtio_piece){bytes, 1 + draw(&fake) % 64};
		uint16_t head = queue.free_head;
		bool fits = queue.free_count >= count;
		enum bole_status rc = virtio_queue_add(&queue, pieces, count - 1, 1, NULL, bytes);
		cr_assert_eq(rc, fits ? BOLE_OK : BOLE_AGAIN);
		if (rc == BOLE_OK) {
			fake.heads[in_flight++] = head;
			fake.seen++;
		}
		while (in_flight > 0 && (rc == BOLE_AGAIN || draw(&fake) % 3 == 0)) {
			unsigned pick = draw(&fake) % in_flight;
			push_used(&fake, fake.heads[pick], UINT32_MAX);
			fake.heads[pick] = fake.heads[--in_flight];
			cr_assert_eq(virtio_queue_get(&queue, &len), bytes);
			cr_assert_leq(len, 64, "longer than the device may write");
			rc = BOLE_OK;
		}
	}
	for (uint32_t len; in_flight > 0;) {
		push_used(&fake, fake.heads[--in_flight], 0);
		cr_assert_not_null(virtio_queue_get(&queue, &len));
	}
	cr_assert_eq(queue.free_count, queue.size);
	cr_assert_null(virtio_queue_drain(&queue));
	free(queue.desc);
}

/* The code under test, compiled here: the runtime is not part of any library. */
#include "drivers/virtio/blk.c"
#undef END
#include "drivers/virtio/queue.c"
