/* SPDX-License-Identifier: ISC */
#include "base/bytes.h"
#include "base/check.h"
#include "flash/volume/volume.h"

enum {
	HOST_FULL_TRIES = 50,
	HOST_FULL_WAIT_NS = 100000000,
};

static void count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

void bole_flash_lock(struct flash_volume *v)
{
	v->platform->ops->mutex_lock(v->platform, &v->lock);
}

void bole_flash_unlock(struct flash_volume *v)
{
	v->platform->ops->mutex_unlock(v->platform, &v->lock);
}

void bole_flash_yield(void *volume)
{
	struct flash_volume *v = volume;

	v->platform->ops->yield(v->platform);
}

void bole_flash_fail(struct flash_volume *v, const char *what)
{
	if (!atomic_exchange(&v->failed, true))
		bole_log(v->platform, BOLE_LOG_ERROR,
		         "%s: %s failed: the volume is read-only until it is opened again",
		         v->dev->info.name, what);
}

uint64_t bole_flash_position(const struct flash_volume *v, uint32_t segment, uint32_t offset)
{
	BOLE_ASSERT(segment < v->segments);
	return v->geometry.area + (uint64_t)segment * v->segment_bytes + offset;
}

enum bole_status bole_flash_read(struct flash_volume *v, uint32_t segment, uint32_t offset,
                                 size_t len, uint8_t *buf, const uint8_t **out)
{
	uint64_t unit = v->dev->info.read_unit;
	uint64_t start = bole_flash_position(v, segment, offset);
	uint64_t from = start & ~(unit - 1);
	uint64_t end = bole_round_up(start + len, unit);

	BOLE_ASSERT(bole_in_bounds(offset, len, v->segment_bytes));
	enum bole_status rc = bole_block_read(v->dev, from, buf, (size_t)(end - from));
	count(&v->counters.reads, 1);
	count(&v->counters.read, end - from);
	*out = buf + (start - from);
	if (rc != BOLE_OK)
		bole_log(v->platform, BOLE_LOG_ERROR, "%s: reading %zu bytes at %llu: %s",
		         v->dev->info.name, len, (unsigned long long)start, bole_status_text(rc));
	return rc;
}

/* An image may be a sparse file on a host that is full: no block is bad then, and the same bytes
 * may go to the same place once somebody has made room. Such a device needs no erase. */
static enum bole_status program(struct flash_volume *v, uint64_t at, const uint8_t *src, size_t len)
{
	const struct bole_platform_ops *ops = v->platform->ops;
	enum bole_status rc = bole_block_program(v->dev, at, src, len);

	if (rc != BOLE_E_NO_SPACE || v->dev->info.needs_erase)
		return rc;
	bole_log(v->platform, BOLE_LOG_WARN, "%s: the host has no room for it: writing waits",
	         v->dev->info.name);
	for (uint32_t n = 0; n < HOST_FULL_TRIES && rc == BOLE_E_NO_SPACE; n++) {
		ops->sleep_until(v->platform, ops->now_ns(v->platform) + HOST_FULL_WAIT_NS);
		rc = bole_block_program(v->dev, at, src, len);
	}
	if (rc == BOLE_E_NO_SPACE)
		bole_flash_fail(v, "the host has no room for it: writing");
	return rc;
}

enum bole_status bole_flash_program(struct flash_volume *v, uint32_t segment, uint32_t offset,
                                    const uint8_t *src, size_t len)
{
	BOLE_ASSERT(offset % v->unit == 0);
	BOLE_ASSERT(len % v->unit == 0);
	BOLE_ASSERT(bole_in_bounds(offset, len, v->segment_bytes));
	if (atomic_load(&v->failed))
		return BOLE_E_READ_ONLY;
	enum bole_status rc = program(v, bole_flash_position(v, segment, offset), src, len);
	count(&v->counters.programmed, len);
	count(&v->counters.programs, 1);
	if (rc == BOLE_E_NO_SPACE && atomic_load(&v->failed))
		return rc;
	if (rc != BOLE_OK) {
		bole_flash_program_failed(v, segment);
		return BOLE_E_IO;
	}
	bole_flash_lock(v);
	v->failures = 0;
	v->segment[segment].written = offset + (uint32_t)len;
	v->segment[segment].erased = 0;
	bole_flash_unlock(v);
	return BOLE_OK;
}

enum bole_status bole_flash_flush(struct flash_volume *v)
{
	if (atomic_load(&v->failed))
		return BOLE_E_IO;
	enum bole_status rc = bole_block_flush(v->dev);
	count(&v->counters.flushes, 1);
	if (rc != BOLE_OK)
		bole_flash_fail(v, "a flush");
	return rc;
}

void bole_flash_discard(struct flash_volume *v, uint32_t segment)
{
	if (v->dev->info.needs_erase || !v->dev->info.can_discard || atomic_load(&v->failed))
		return;
	/* A hint: the next checkpoint does not depend on it. */
	enum bole_status hint =
	        bole_block_discard(v->dev, bole_flash_position(v, segment, 0), v->segment_bytes);
	(void)hint;
	count(&v->counters.erased, v->segment_bytes);
	count(&v->counters.erases, 1);
}
