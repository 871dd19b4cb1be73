/* SPDX-License-Identifier: ISC */
/* How a device is divided. Managed devices: anchors at the start, segments from FLASH_AREA_ALIGN
 * on, anchors at the end; segments of 1 MiB, doubled until there are at most FLASH_SEGMENTS_MAX and
 * halved until there are at least FLASH_SEGMENTS_MIN, because the reserve that keeps deletes
 * working is a number of segments. Raw flash: the anchor areas are the first erase blocks, then
 * segments, which are erase blocks, several together where they are small. */
#include "base/bytes.h"
#include "base/check.h"
#include "flash/checkpoint/anchor.h"
#include "flash/volume/flash_format.h"

enum {
	ANCHOR_LOG_SEGMENTS = 4,
	ANCHOR_BLOCKS_MIN = 3, /* of an area may fail all but one */
};

static uint32_t larger(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

/* Room for segments of size s, with anchors before and after. */
static uint64_t managed_count(uint64_t size, uint64_t s)
{
	return size < FLASH_AREA_ALIGN ? 0 : (size - FLASH_AREA_ALIGN) / s;
}

static enum bole_status choose(uint64_t size, uint64_t wanted, uint64_t smallest,
                               uint64_t (*count)(uint64_t, uint64_t), uint64_t start,
                               uint32_t least, uint64_t *out)
{
	uint64_t s = wanted != 0 ? wanted : start;

	if ((s & (s - 1)) != 0 || s < smallest || s > FLASH_SEGMENT_BYTES_MAX)
		return BOLE_E_INVALID;
	if (wanted == 0) {
		while (s > smallest && count(size, s) < FLASH_SEGMENTS_MIN)
			s /= 2;
		while (s < FLASH_SEGMENT_BYTES_MAX && count(size, s) > FLASH_SEGMENTS_MAX)
			s *= 2;
	}
	if (count(size, s) < least)
		return BOLE_E_NO_SPACE;
	*out = s;
	return BOLE_OK;
}

static enum bole_status managed(const struct bole_block_info *info, uint64_t wanted,
                                struct flash_geometry *g)
{
	g->unit = larger(g->unit, FLASH_UNIT_MANAGED);
	uint64_t smallest = larger(FLASH_SEGMENT_BYTES_MIN, 4 * g->unit);
	g->slot_bytes = larger(ANCHOR_SLOT_MANAGED, g->unit);
	g->slots = FLASH_AREA_ALIGN / g->slot_bytes;
	if (g->slots > ANCHOR_SLOTS_MANAGED)
		g->slots = ANCHOR_SLOTS_MANAGED;
	uint64_t anchors = (uint64_t)g->slots * g->slot_bytes;
	uint64_t size = info->size_bytes - info->size_bytes % g->unit;
	if (size < anchors)
		return BOLE_E_NO_SPACE;
	/* As far back as it goes: damage tends to stay in one part of a device. */
	g->second = (size - anchors) / g->slot_bytes * g->slot_bytes;
	BOLE_TRY(choose(g->second, wanted, smallest, managed_count, FLASH_SEGMENT_BYTES_MANAGED,
	                FLASH_SEGMENTS_MIN, &g->segment_bytes));
	uint64_t n = managed_count(g->second, g->segment_bytes);
	g->segments = n > FLASH_SEGMENTS_MAX ? FLASH_SEGMENTS_MAX : (uint32_t)n;
	g->area = FLASH_AREA_ALIGN;
	g->first = 0;
	g->device_bytes = g->second + anchors;
	return BOLE_OK;
}

/* Raw flash is counted without the blocks that may hold anchors. */
static uint64_t raw_count(uint64_t size, uint64_t s)
{
	return size / s;
}

static enum bole_status good_blocks(struct bole_block *dev, uint64_t from, uint32_t span,
                                    uint32_t *out)
{
	*out = 0;
	for (uint32_t i = 0; i < span; i++) {
		bool bad;
		BOLE_TRY(bole_block_is_bad(dev, from + (uint64_t)i * dev->info.erase_unit, &bad));
		*out += !bad;
	}
	return BOLE_OK;
}

/* Both areas, one behind the other, with at least `least` good blocks each. */
static enum bole_status place_areas(struct bole_block *dev, uint32_t least,
                                    struct flash_geometry *g)
{
	const struct bole_block_info *info = &dev->info;
	uint64_t blocks = info->size_bytes / info->erase_unit;
	uint32_t first = 0;
	uint32_t good[2] = {0, 0};
	bool bad = true;

	for (uint32_t i = 0; i < FLASH_ANCHOR_BLOCKS && i < blocks && bad; i++) {
		BOLE_TRY(bole_block_is_bad(dev, (uint64_t)i * info->erase_unit, &bad));
		first = i;
	}
	if (bad)
		return BOLE_E_NO_SPACE;
	g->first = (uint64_t)first * info->erase_unit;
	for (uint32_t span = least; first + 2 * (uint64_t)span <= blocks; span++) {
		uint64_t bytes = (uint64_t)span * info->erase_unit;
		BOLE_TRY(good_blocks(dev, g->first, span, &good[0]));
		BOLE_TRY(good_blocks(dev, g->first + bytes, span, &good[1]));
		if (good[0] < least || good[1] < least)
			continue;
		g->second = g->first + bytes;
		g->slots = span * (info->erase_unit / g->slot_bytes);
		return g->slots <= FLASH_ANCHOR_SLOTS_MAX ? BOLE_OK : BOLE_E_UNSUPPORTED;
	}
	return BOLE_E_NO_SPACE;
}

static enum bole_status raw(struct bole_block *dev, uint64_t wanted, struct flash_geometry *g)
{
	const struct bole_block_info *info = &dev->info;
	uint64_t smallest = larger(FLASH_SEGMENT_BYTES_MIN, info->erase_unit);

	g->slot_bytes = bole_flash_slot_raw(g->unit);
	if (info->erase_unit % g->slot_bytes != 0)
		return BOLE_E_UNSUPPORTED;
	/* An area's blocks are erased once for its slots, one a checkpoint, which comes after
	 * ANCHOR_LOG_SEGMENTS segments of log: so they wear less than the mean. */
	uint64_t segment = wanted > smallest ? wanted : smallest;
	uint64_t slots = info->size_bytes / segment / ANCHOR_LOG_SEGMENTS + 1;
	uint64_t per = info->erase_unit / g->slot_bytes;
	uint64_t least = (slots + per - 1) / per;
	if (least > FLASH_ANCHOR_SLOTS_MAX / per)
		least = FLASH_ANCHOR_SLOTS_MAX / per;
	if (least < ANCHOR_BLOCKS_MIN)
		least = ANCHOR_BLOCKS_MIN;
	BOLE_TRY(place_areas(dev, (uint32_t)least, g));
	g->area = bole_round_up(g->second + (g->second - g->first), smallest);
	if (g->area >= info->size_bytes)
		return BOLE_E_NO_SPACE;
	BOLE_TRY(choose(info->size_bytes - g->area, wanted, smallest, raw_count, smallest,
	                FLASH_SEGMENTS_RAW_MIN, &g->segment_bytes));
	uint64_t n = raw_count(info->size_bytes - g->area, g->segment_bytes);
	g->segments = n > FLASH_SEGMENTS_MAX ? FLASH_SEGMENTS_MAX : (uint32_t)n;
	g->device_bytes = g->area + g->segments * g->segment_bytes;
	return BOLE_OK;
}

uint32_t bole_flash_unit(const struct bole_block_info *info)
{
	uint32_t unit = larger(info->program_unit, info->damage_unit);

	return larger(unit, larger(info->read_unit, FLASH_UNIT_RAW_MIN));
}

uint32_t bole_flash_slot_raw(uint32_t unit)
{
	return larger(ANCHOR_SLOT_RAW_MIN, unit);
}

enum bole_status bole_flash_geometry(struct bole_block *dev, uint64_t segment_bytes,
                                     struct flash_geometry *out)
{
	const struct bole_block_info *info = &dev->info;

	*out = (struct flash_geometry){.kind = (uint32_t)info->kind};
	out->unit = bole_flash_unit(info);
	if (out->unit > FLASH_UNIT_MAX)
		return BOLE_E_UNSUPPORTED;
	return info->needs_erase ? raw(dev, segment_bytes, out) : managed(info, segment_bytes, out);
}

uint32_t bole_flash_anchor_map_max(const struct flash_geometry *g)
{
	return (g->slot_bytes - ANCHOR_MAP_AT) / PLACE_BYTES;
}
