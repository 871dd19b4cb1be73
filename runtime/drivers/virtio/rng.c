/* SPDX-License-Identifier: ISC */
/* virtio-rng (virtio 1.2, section 5.4): asks the host for seed bytes at start and every few
 * minutes. */
#include <string.h>

#include "core/core.h"
#include "drivers/virtio/drivers.h"

enum {
	SEED_BYTES = 64,
	BITS_PER_BYTE = 8,
};
#define FIRST_WAIT_NS  UINT64_C(500000000)
#define RESEED_WAIT_NS UINT64_C(300000000000)

struct rng {
	struct virtio_device *device;
	struct virtio_queue queue;
	struct core_poller poller;
	struct core_timer timer;
	struct core_wait_queue first;
	bool asked;
	bool seeded;
	uint8_t seed[SEED_BYTES];
};

static void ask(void *ctx)
{
	struct rng *rng = ctx;
	struct virtio_piece piece = {rng->seed, SEED_BYTES};

	if (rng->asked || virtio_queue_add(&rng->queue, &piece, 0, 1, NULL, rng->seed) != BOLE_OK)
		return;
	rng->asked = true;
	virtio_queue_kick(&rng->queue);
}

static bool rng_poll(void *ctx)
{
	struct rng *rng = ctx;
	uint32_t wrote;

	if (!rng->asked || virtio_queue_get(&rng->queue, &wrote) == NULL)
		return false;
	rng->asked = false;
	virtio_queue_interrupts(&rng->queue, false);
	core_entropy_add(rng->seed, wrote, wrote * BITS_PER_BYTE);
	memset(rng->seed, 0, sizeof rng->seed);
	rng->seeded = rng->seeded || wrote > 0;
	core_wait_wake_all(&rng->first);
	core_timer_set(&rng->timer, core_now_ns() + RESEED_WAIT_NS);
	return true;
}

static bool rng_before_idle(void *ctx)
{
	struct rng *rng = ctx;

	if (!rng->asked || rng->queue.broken)
		return false;
	return virtio_queue_interrupts(&rng->queue, true);
}

static enum bole_status start(struct rng *rng)
{
	struct virtio_device *device = rng->device;
	enum bole_status rc = virtio_begin(device, VIRTIO_F_EVENT_IDX);

	if (rc != BOLE_OK)
		return rc;
	if (!device->ops->interrupts(device))
		return BOLE_E_UNSUPPORTED;
	rc = virtio_queue_open(&rng->queue, device, 0, 8);
	if (rc != BOLE_OK) {
		virtio_fail(device);
		return rc;
	}
	virtio_start(device);
	return BOLE_OK;
}

enum bole_status virtio_rng_open(struct virtio_device *device)
{
	struct rng *rng = core_pages_alloc(1);

	_Static_assert(sizeof *rng <= CORE_PAGE_SIZE, "one page");
	if (rng == NULL)
		return BOLE_E_NO_MEMORY;
	memset(rng, 0, sizeof *rng);
	rng->device = device;
	enum bole_status rc = start(rng);
	if (rc != BOLE_OK) {
		core_pages_free(rng, 1);
		return rc;
	}
	rng->timer = (struct core_timer){.fn = ask, .ctx = rng};
	rng->poller =
	        (struct core_poller){.poll = rng_poll, .before_idle = rng_before_idle, .ctx = rng};
	core_poller_register(&rng->poller);
	ask(rng);
	if (!rng->seeded)
		core_wait(&rng->first, core_now_ns() + FIRST_WAIT_NS);
	return rng->seeded ? BOLE_OK : BOLE_E_TIMEOUT;
}
