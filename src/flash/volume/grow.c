/* SPDX-License-Identifier: ISC */
/* Taking in what the device has grown by: the second anchor area moves to the new end, and what
 * lies between are segments. Only anchors are written: the durable checkpoint stays.
 *
 * In this order, so that a mount after a cut at any point finds the volume of before or the grown
 * one: the new anchor into the new second area, where nobody looks yet; the old second area is
 * overwritten, while the first one stands; the new anchor into the first area. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/checkpoint/checkpoint.h"
#include "flash/space/clean.h"

/* The same layout on the device as it is now. */
static bool larger(const struct flash_volume *v, struct flash_geometry *g)
{
	uint64_t size = v->dev->info.size_bytes - v->dev->info.size_bytes % v->unit;
	uint64_t anchors = (uint64_t)v->geometry.slots * v->geometry.slot_bytes;

	*g = v->geometry;
	if (v->dev->info.needs_erase || size <= g->device_bytes)
		return false;
	g->second = (size - anchors) / g->slot_bytes * g->slot_bytes;
	uint64_t n = (g->second - g->area) / g->segment_bytes;
	g->segments = n > FLASH_SEGMENTS_MAX ? FLASH_SEGMENTS_MAX : (uint32_t)n;
	g->device_bytes = g->second + anchors;
	return g->segments > v->geometry.segments;
}

/* Overwrites the old second area where the new one is not. */
static enum bole_status wipe(struct flash_volume *v, const struct flash_geometry *g)
{
	const struct flash_geometry *old = &v->geometry;
	uint64_t end = old->second + (uint64_t)old->slots * old->slot_bytes;
	uint8_t *zero = bole_alloc_zeroed(v->alloc, old->slot_bytes, 1);
	enum bole_status rc = zero == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;

	for (uint64_t at = old->second; at < end && at < g->second && rc == BOLE_OK;
	     at += old->slot_bytes) {
		size_t len = g->second - at < old->slot_bytes ? (size_t)(g->second - at)
		                                              : old->slot_bytes;
		rc = bole_block_program(v->dev, at, zero, len);
	}
	if (rc == BOLE_OK)
		rc = bole_flash_flush(v);
	bole_alloc_free(v->alloc, zero, old->slot_bytes, 1);
	return rc;
}

static enum bole_status write_anchors(struct flash_volume *v, const struct flash_geometry *g)
{
	struct flash_anchor a = v->anchor;
	struct flash_anchor_place place = {.at = {0, g->slots - 1}, .dead = {true, false}};

	a.geometry = *g;
	a.generation++;
	if (v->elements != 0) {
		const struct flash_element *e = &v->element[v->elements - 1];
		a.map = e->fragment + (e->fragments - e->named);
		a.map_count = e->named;
	}
	BOLE_TRY(bole_flash_anchor_store(v->dev, v->platform, v->alloc, &a, &place));
	BOLE_TRY(wipe(v, g));
	place.dead[0] = v->anchor_place.dead[0];
	place.at[0] = v->anchor_place.at[0];
	place.missing[0] = v->anchor_place.missing[0];
	BOLE_TRY(bole_flash_anchor_store(v->dev, v->platform, v->alloc, &a, &place));
	place.programmed += v->anchor_place.programmed;
	v->anchor_place = place;
	a.map = NULL;
	a.map_count = 0;
	bole_flash_lock(v);
	v->anchor = a;
	bole_flash_unlock(v);
	return BOLE_OK;
}

static enum bole_status extend(struct flash_volume *v, const struct flash_geometry *g)
{
	struct flash_segment *table = bole_alloc_zeroed(v->alloc, g->segments, sizeof *table);
	enum bole_status rc;

	if (table == NULL)
		return BOLE_E_NO_MEMORY;
	rc = write_anchors(v, g);
	if (rc != BOLE_OK) {
		bole_alloc_free(v->alloc, table, g->segments, sizeof *table);
		/* Which geometry a mount would find is unknown now. */
		if (rc != BOLE_E_NO_MEMORY)
			bole_flash_fail(v, "writing anchors of the grown volume");
		return rc;
	}
	bole_flash_lock(v);
	struct flash_segment *old = v->segment;
	uint32_t olds = v->segments;
	memcpy(table, old, olds * sizeof *table);
	v->segment = table;
	v->segments = g->segments;
	v->free += g->segments - olds;
	v->geometry = *g;
	bole_flash_unlock(v);
	bole_alloc_free(v->alloc, old, olds, sizeof *table);
	bole_log(v->platform, BOLE_LOG_INFO, "%s: the volume has grown from %u to %u segments",
	         v->dev->info.name, olds, g->segments);
	return BOLE_OK;
}

enum bole_status bole_flash_grow(struct flash_volume *v)
{
	struct flash_geometry g;

	if (v->read_only || atomic_load(&v->failed))
		return BOLE_E_READ_ONLY;
	/* The leader may count by segment; anchors belong to whoever checkpoints, who does not wait
	 * for a leader. */
	bole_flash_lead_begin(v);
	bole_flash_lock(v);
	while (v->checkpointing)
		(void)v->platform->ops->cond_wait(v->platform, &v->cond, &v->lock, BOLE_NEVER);
	v->checkpointing = true;
	bole_flash_unlock(v);
	enum bole_status rc = larger(v, &g) ? extend(v, &g) : BOLE_END;
	bole_flash_lock(v);
	v->checkpointing = false;
	v->platform->ops->cond_broadcast(v->platform, &v->cond);
	bole_flash_unlock(v);
	bole_flash_lead_end(v);
	return rc;
}
