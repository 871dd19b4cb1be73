/* SPDX-License-Identifier: ISC */
/* Writing anchors. Each area is a ring of slots; on raw flash of erase blocks of slots, where a
 * block is erased when the ring comes to it and one that fails is passed over. Both areas get every
 * anchor: whatever happens to one of them, the other has the newest. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/checkpoint/anchor.h"
#include "flash/volume/flash_format.h"

struct writer {
	struct bole_block *dev;
	const struct flash_geometry *g;
	struct flash_anchor_place *place;
	const uint8_t *slot;
};

static uint32_t block_slots(const struct writer *w)
{
	return w->dev->info.erase_unit / w->g->slot_bytes;
}

static enum bole_status program(struct writer *w, uint32_t area, uint32_t slot)
{
	enum bole_status rc = bole_block_program(w->dev, bole_flash_anchor_at(w->g, area, slot),
	                                         w->slot, w->g->slot_bytes);

	w->place->programmed += w->g->slot_bytes;
	if (rc == BOLE_OK)
		w->place->at[area] = slot;
	return rc;
}

/* Begins the block at first; a block that cannot be erased or takes no anchor is not used again.
 * BOLE_END: this one will not do. */
static enum bole_status begin_block(struct writer *w, uint32_t area, uint32_t first)
{
	uint64_t off = bole_flash_anchor_at(w->g, area, first);
	bool bad = false;

	if (bole_block_is_bad(w->dev, off, &bad) != BOLE_OK || bad)
		return BOLE_END;
	enum bole_status rc = bole_block_erase(w->dev, off, w->dev->info.erase_unit);
	w->place->erased += w->dev->info.erase_unit;
	if (rc == BOLE_OK)
		rc = program(w, area, first);
	if (rc == BOLE_OK)
		return BOLE_OK;
	/* A device that cannot remember it will fail the same way again. */
	enum bole_status hint = bole_block_mark_bad(w->dev, off);
	(void)hint;
	return BOLE_END;
}

static enum bole_status write_raw(struct writer *w, uint32_t area)
{
	struct flash_anchor_place *p = w->place;
	uint32_t per = block_slots(w);
	uint32_t blocks = w->g->slots / per;
	uint32_t block = p->at[area] / per;

	if (!p->stale[area] && (p->at[area] + 1) % per != 0 &&
	    program(w, area, p->at[area] + 1) == BOLE_OK)
		return BOLE_OK;
	/* The block that holds this area's newest comes last, and only if the other area has it
	 * too. */
	for (uint32_t i = 1; i <= blocks; i++) {
		if (i == blocks && p->dead[1 - area])
			break;
		enum bole_status rc = begin_block(w, area, (block + i) % blocks * per);
		if (rc != BOLE_END) {
			p->stale[area] = false;
			return rc;
		}
	}
	return BOLE_E_IO;
}

static enum bole_status write_one(struct writer *w, uint32_t area)
{
	struct flash_anchor_place *p = w->place;
	/* The only slot that is left is not overwritten. */
	bool last = w->g->slots == 1 && p->dead[1 - area];
	enum bole_status rc = p->dead[area] || last ? BOLE_E_IO : BOLE_OK;

	if (rc == BOLE_OK)
		rc = w->dev->info.needs_erase ? write_raw(w, area)
		                              : program(w, area, (p->at[area] + 1) % w->g->slots);
	/* One slot is all there is: the other copy may not be in question at the same time. */
	if (rc == BOLE_OK && w->g->slots == 1)
		rc = bole_block_flush(w->dev);
	return rc;
}

enum bole_status bole_flash_anchor_store(struct bole_block *dev, struct bole_platform *platform,
                                         struct bole_alloc *alloc, const struct flash_anchor *a,
                                         struct flash_anchor_place *place)
{
	const struct flash_geometry *g = &a->geometry;
	uint8_t *slot = bole_alloc_zeroed(alloc, g->slot_bytes, 1);
	struct writer w = {.dev = dev, .g = g, .place = place, .slot = slot};
	uint32_t good = 0;
	enum bole_status rc = BOLE_OK;

	if (slot == NULL)
		return BOLE_E_NO_MEMORY;
	bole_flash_anchor_encode(a, slot);
	/* The second one first: a volume that has grown has it in a new place, and until the first
	 * is written nobody looks there. */
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t area = 1 - i;
		enum bole_status one = write_one(&w, area);
		if (one == BOLE_OK) {
			place->missing[area] = false;
			good++;
			continue;
		}
		rc = one;
		if (!place->dead[area])
			bole_log(platform, BOLE_LOG_WARN,
			         "%s: anchor area %u takes no more writes: %s", dev->info.name,
			         area, bole_status_text(one));
		place->dead[area] = true;
	}
	if (good != 0)
		rc = bole_block_flush(dev);
	if (rc == BOLE_OK)
		place->doubt = false;
	bole_alloc_free(alloc, slot, g->slot_bytes, 1);
	return rc;
}

/* -- Settling --
 *
 * A write that a cut interrupted may leave an anchor that verifies at one time and not at another.
 * While nothing but anchors is written it does not matter which one a mount finds: what each names
 * is there. Before anything else is written all of them must be gone that could be taken for newer
 * than the one that was found, and it must be there for sure:
 *
 * - Managed devices: every slot of both rings is written again, one of them first.
 * - Raw flash: such a slot is either behind the last one of some block, where a session ended; then
 *   its number is at most one more than the one found, and the new one beats it. Or it is the first
 *   of a block that a mount began and that another mount did not see. Each mount begins the block
 *   behind the newest one that it sees, so those blocks follow each other, and all that follow the
 *   one that is begun now are erased, up to the first one that holds older anchors. */

/* Writes the slot behind the newest one, or all the others. False: some of it failed. */
static bool settle_area(struct writer *w, struct flash_anchor *a, uint32_t area, uint8_t *slots,
                        bool others)
{
	const struct flash_geometry *g = w->g;
	uint32_t at = w->place->at[area];
	uint32_t next = (at + 1) % g->slots;
	uint32_t from[2] = {others ? 0 : next, next + 1};
	uint32_t to[2] = {others ? next : next + 1, others ? g->slots : 0};
	uint64_t found = a->generation;
	bool ok = true;

	memset(slots, 0, (size_t)g->slots * g->slot_bytes);
	for (uint32_t i = 0; i < g->slots; i++) {
		a->generation = found + 1 + (i + g->slots - next) % g->slots;
		bole_flash_anchor_encode(a, slots + (size_t)i * g->slot_bytes);
	}
	a->generation = found;
	for (uint32_t i = 0; i < 2; i++) {
		size_t bytes = from[i] < to[i] ? (size_t)(to[i] - from[i]) * g->slot_bytes : 0;
		if (bytes == 0)
			continue;
		w->place->programmed += bytes;
		ok &= bole_block_program(w->dev, bole_flash_anchor_at(g, area, from[i]),
		                         slots + (size_t)from[i] * g->slot_bytes, bytes) == BOLE_OK;
	}
	return ok;
}

/* The rings are written round once: the slot that holds the newest now holds it afterwards. One
 * slot first, which is then safe: what was found may hover, too. */
static enum bole_status settle_managed(struct writer *w, struct bole_platform *platform,
                                       struct flash_anchor *a, uint8_t *slots)
{
	struct flash_anchor_place *p = w->place;
	enum bole_status rc = BOLE_OK;

	for (uint32_t i = 0; i < 4 && rc == BOLE_OK; i++) {
		uint32_t area = 1 - i % 2;
		/* The only slot that is left is not overwritten. */
		if (p->dead[area] || (w->g->slots == 1 && p->dead[1 - area]))
			continue;
		if (settle_area(w, a, area, slots, i >= 2)) {
			p->missing[area] = false;
		} else {
			bole_log(platform, BOLE_LOG_WARN, "%s: anchor area %u takes no more writes",
			         w->dev->info.name, area);
			p->dead[area] = true;
		}
		if (area == 0 || w->g->slots == 1 || p->dead[0])
			rc = bole_block_flush(w->dev);
	}
	a->generation += w->g->slots;
	return rc == BOLE_OK && p->dead[0] && p->dead[1] ? BOLE_E_IO : rc;
}

/* The block begins with an anchor of this volume that is older. */
static bool holds_older(struct writer *w, struct bole_alloc *alloc, const struct flash_anchor *a,
                        uint64_t off, uint8_t *buf, size_t len)
{
	struct flash_anchor old;
	uint32_t version;

	if (bole_block_read(w->dev, off, buf, len) != BOLE_OK ||
	    bole_flash_anchor_decode(buf, (uint32_t)len, alloc, &old, &version) != BOLE_OK)
		return false;
	bool older = memcmp(old.volume, a->volume, sizeof old.volume) == 0 &&
	             old.generation < a->generation;
	bole_flash_anchor_release(alloc, &old);
	return older;
}

static void clear_behind(struct writer *w, struct bole_alloc *alloc, const struct flash_anchor *a,
                         uint32_t area, uint8_t *buf, size_t len)
{
	uint32_t per = block_slots(w);
	uint32_t blocks = w->g->slots / per;
	uint32_t block = w->place->at[area] / per;

	for (uint32_t i = 1; i < blocks; i++) {
		uint64_t off = bole_flash_anchor_at(w->g, area, (block + i) % blocks * per);
		bool bad = false;
		if (bole_block_is_bad(w->dev, off, &bad) != BOLE_OK || bad)
			continue;
		if (holds_older(w, alloc, a, off, buf, len))
			return;
		w->place->erased += w->dev->info.erase_unit;
		if (bole_block_erase(w->dev, off, w->dev->info.erase_unit) == BOLE_OK)
			continue;
		enum bole_status hint = bole_block_mark_bad(w->dev, off);
		(void)hint;
	}
}

static enum bole_status settle_raw(struct writer *w, struct bole_platform *platform,
                                   struct bole_alloc *alloc, struct flash_anchor *a, uint8_t *buf,
                                   size_t len)
{
	a->generation += 2;
	w->place->stale[0] = w->place->stale[1] = true;
	BOLE_TRY(bole_flash_anchor_store(w->dev, platform, alloc, a, w->place));
	for (uint32_t area = 0; area < 2; area++)
		if (!w->place->dead[area])
			clear_behind(w, alloc, a, area, buf, len);
	return bole_block_flush(w->dev);
}

enum bole_status bole_flash_anchor_settle(struct bole_block *dev, struct bole_platform *platform,
                                          struct bole_alloc *alloc, struct flash_anchor *a,
                                          struct flash_anchor_place *place)
{
	const struct flash_geometry *g = &a->geometry;
	struct writer w = {.dev = dev, .g = g, .place = place};
	size_t len = dev->info.needs_erase
	                     ? (size_t)bole_round_up(g->slot_bytes, dev->info.read_unit)
	                     : (size_t)g->slots * g->slot_bytes;
	uint8_t *buf = bole_alloc_array(alloc, len, 1);

	if (buf == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = dev->info.needs_erase ? settle_raw(&w, platform, alloc, a, buf, len)
	                                            : settle_managed(&w, platform, a, buf);
	if (rc == BOLE_OK)
		place->doubt = false;
	bole_alloc_free(alloc, buf, len, 1);
	return rc;
}

/* -- A new volume -- */

enum bole_status bole_flash_anchor_first(struct bole_block *dev, struct bole_platform *platform,
                                         struct bole_alloc *alloc, const struct flash_anchor *a)
{
	uint32_t last = a->geometry.slots - 1;
	struct flash_anchor_place place = {.at = {last, last}, .stale = {true, true}};
	uint32_t per = dev->info.needs_erase ? dev->info.erase_unit / a->geometry.slot_bytes : 0;
	uint32_t blocks = per == 0 ? 1 : a->geometry.slots / per;

	/* On raw flash into every block: none will look as if a cut had left it. */
	for (uint32_t i = 0; i < blocks; i++) {
		place.stale[0] = place.stale[1] = true;
		BOLE_TRY(bole_flash_anchor_store(dev, platform, alloc, a, &place));
	}
	return BOLE_OK;
}

/* -- Wiping -- */

/* Erases or overwrites one slot or block. */
static enum bole_status wipe_at(struct bole_block *dev, uint64_t off, const uint8_t *zero,
                                size_t len)
{
	bool bad = false;

	if (!dev->info.needs_erase)
		return bole_block_program(dev, off, zero, len);
	BOLE_TRY(bole_block_is_bad(dev, off, &bad));
	if (bad)
		return BOLE_OK;
	if (bole_block_erase(dev, off, dev->info.erase_unit) == BOLE_OK)
		return BOLE_OK;
	enum bole_status hint = bole_block_mark_bad(dev, off);
	(void)hint;
	return BOLE_OK;
}

static enum bole_status wipe_range(struct bole_block *dev, uint64_t from, uint64_t len,
                                   uint64_t spare, const uint8_t *zero, size_t step)
{
	uint64_t end = from + len;

	if (end > dev->info.size_bytes)
		end = dev->info.size_bytes;
	for (uint64_t off = from; off + step <= end; off += step)
		if (spare < off || spare >= off + step)
			BOLE_TRY(wipe_at(dev, off, zero, step));
	return BOLE_OK;
}

/* Two passes: everything but the places of the newest anchor, then those. */
static enum bole_status wipe_all(struct bole_block *dev, const struct flash_geometry *g,
                                 const uint64_t spare[2], const uint8_t *zero, size_t step)
{
	uint64_t bytes = (uint64_t)g->slots * g->slot_bytes;

	BOLE_TRY(wipe_range(dev, g->first, bytes, spare[0], zero, step));
	return wipe_range(dev, g->second, bytes, spare[1], zero, step);
}

/* Where a search begins: what an older volume left that is none of the new one's. */
static enum bole_status wipe_search(struct bole_block *dev, uint8_t *buf, size_t step)
{
	const struct bole_block_info *info = &dev->info;
	uint64_t end = (uint64_t)FLASH_ANCHOR_BLOCKS * step;

	if (!info->needs_erase) {
		uint64_t tail = info->size_bytes < 2 * (uint64_t)FLASH_ANCHOR_TAIL
		                        ? 0
		                        : (info->size_bytes - FLASH_ANCHOR_TAIL) / step * step;
		BOLE_TRY(wipe_range(dev, 0, FLASH_AREA_ALIGN, UINT64_MAX, buf, step));
		return wipe_range(dev, tail, info->size_bytes - tail, UINT64_MAX, buf, step);
	}
	for (uint64_t off = 0; off < end && off < info->size_bytes; off += step) {
		size_t len = info->read_unit > ANCHOR_SLOT_RAW_MIN ? info->read_unit
		                                                   : ANCHOR_SLOT_RAW_MIN;
		bool bad = false;
		BOLE_TRY(bole_block_is_bad(dev, off, &bad));
		if (bad || (bole_block_read(dev, off, buf, len) == BOLE_OK &&
		            memcmp(buf, FLASH_ANCHOR_MAGIC, 8) != 0))
			continue;
		BOLE_TRY(wipe_at(dev, off, NULL, step));
	}
	return BOLE_OK;
}

/* An older volume: everything but the places of its newest anchor, then those. */
static enum bole_status wipe_old(struct bole_block *dev, struct bole_alloc *alloc,
                                 const uint8_t *zero)
{
	uint64_t spare[2] = {UINT64_MAX, UINT64_MAX};
	const uint64_t none[2] = {UINT64_MAX, UINT64_MAX};
	struct flash_anchor_place place;
	struct flash_anchor old;

	if (bole_flash_anchor_load(dev, NULL, alloc, &old, &place) != BOLE_OK)
		return BOLE_OK;
	size_t step = dev->info.needs_erase ? dev->info.erase_unit : old.geometry.slot_bytes;
	for (uint32_t i = 0; i < 2; i++)
		if (!place.missing[i])
			spare[i] = bole_flash_anchor_at(&old.geometry, i, place.at[i]);
	enum bole_status rc = wipe_all(dev, &old.geometry, spare, zero, step);
	if (rc == BOLE_OK)
		rc = bole_block_flush(dev);
	if (rc == BOLE_OK)
		rc = wipe_all(dev, &old.geometry, none, zero, step);
	bole_flash_anchor_release(alloc, &old);
	return rc;
}

enum bole_status bole_flash_anchor_wipe(struct bole_block *dev, struct bole_alloc *alloc,
                                        const struct flash_geometry *g)
{
	const uint64_t none[2] = {UINT64_MAX, UINT64_MAX};
	size_t step = dev->info.needs_erase ? dev->info.erase_unit : g->slot_bytes;
	uint8_t *zero = bole_alloc_zeroed(alloc, FLASH_UNIT_MAX, 1);

	if (zero == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = wipe_old(dev, alloc, zero);
	if (rc == BOLE_OK)
		rc = wipe_all(dev, g, none, zero, step);
	if (rc == BOLE_OK)
		rc = wipe_search(dev, zero, step);
	if (rc == BOLE_OK)
		rc = bole_block_flush(dev);
	bole_alloc_free(alloc, zero, FLASH_UNIT_MAX, 1);
	return rc;
}
