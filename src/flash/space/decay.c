/* SPDX-License-Identifier: ISC */
/* What a device wants moved before it can no longer be read: everything that a volume holds has a
 * way to another place. Records are cleaned, runs are merged, a checkpoint is written again as a
 * base, anchors begin another block. What is still being filled is closed first: nothing may come
 * that would do it. */
#include "flash/space/decay.h"

#include "flash/checkpoint/anchor.h"
#include "flash/log/batch.h"
#include "flash/space/clean.h"
#include "flash/volume/open.h"

/* Lock held. Which anchor area it is in, if any; that one begins another block next time. */
static void note_anchor(struct flash_volume *v, uint64_t off)
{
	const struct flash_geometry *g = &v->geometry;
	uint64_t bytes = (uint64_t)g->slots * g->slot_bytes;

	for (uint32_t area = 0; area < 2; area++) {
		uint64_t from = bole_flash_anchor_at(g, area, 0);
		if (off >= from && off - from < bytes)
			v->decay.anchor[area] = true;
	}
}

void bole_flash_decay_note(struct flash_volume *v)
{
	uint64_t off;

	while (bole_block_next_decaying(v->dev, &off) == BOLE_OK) {
		uint64_t n = off < v->geometry.area ? UINT64_MAX
		                                    : (off - v->geometry.area) / v->segment_bytes;
		bole_flash_lock(v);
		if (n < v->segments)
			v->segment[n].decaying = true;
		else
			note_anchor(v, off);
		v->decay.seen = true;
		v->decay.fresh = true;
		bole_flash_unlock(v);
	}
}

/* -- A checkpoint -- */

bool bole_flash_decay_elements(const struct flash_volume *v)
{
	for (uint32_t i = 0; v->decay.seen && i < v->elements; i++)
		for (uint32_t n = 0; n < v->element[i].fragments; n++)
			if (v->segment[v->element[i].fragment[n].segment].decaying)
				return true;
	return false;
}

/* Lock held. Only with a checkpoint can it be moved, or is it moved by it. */
static bool helps(const struct flash_volume *v)
{
	if (v->decay.anchor[0] || v->decay.anchor[1] || bole_flash_decay_elements(v))
		return true;
	for (uint32_t i = 0; i < v->segments; i++) {
		const struct flash_segment *s = &v->segment[i];
		if (s->decaying && (s->state == SEGMENT_TAIL || s->moved > v->anchor.checkpoint))
			return true;
	}
	return false;
}

/* -- What is being filled -- */

static void close_pool(struct flash_volume *v)
{
	for (uint32_t i = 0; i < VOLUME_POOL; i++) {
		struct flash_open open = {.segment = SEGMENT_NONE};
		bole_flash_lock(v);
		if (v->pool[i].segment != SEGMENT_NONE && v->segment[v->pool[i].segment].decaying) {
			open = v->pool[i];
			v->pool[i] = (struct flash_open){.segment = SEGMENT_NONE};
		}
		bole_flash_unlock(v);
		bole_flash_open_close(v, &open);
	}
}

/* For the leader. */
static enum bole_status leave_log(struct flash_volume *v)
{
	bole_flash_lock(v);
	bool go = v->log.pos != 0 && v->segment[v->log.segment].decaying;
	bole_flash_unlock(v);
	return go ? bole_flash_log_advance(v) : BOLE_OK;
}

bool bole_flash_decay_step(struct flash_volume *v)
{
	bole_flash_lock(v);
	bool fresh = v->decay.fresh;
	v->decay.fresh = false;
	bole_flash_unlock(v);
	if (!fresh)
		return false;
	close_pool(v);
	bole_flash_lead_begin(v);
	enum bole_status rc = leave_log(v);
	bole_flash_lead_end(v);
	bole_flash_lock(v);
	bool wanted = rc == BOLE_OK && helps(v);
	bole_flash_unlock(v);
	return wanted && bole_flash_checkpoint(v) == BOLE_OK;
}
