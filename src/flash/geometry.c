/* SPDX-License-Identifier: ISC */
/* How a device is divided. Managed devices: anchor 0 at the start, segments from FLASH_AREA_ALIGN
 * on, anchor 1 at the end; segments of 1 MiB, doubled until there are at most
 * FLASH_SEGMENTS_MAX and halved until there are at least FLASH_SEGMENTS_MIN, because the reserve
 * that keeps deletes working is a number of segments. Raw flash: the anchor areas are the first two
 * good erase blocks, segments are erase blocks, several together where they are small. */
#include "base/bytes.h"
#include "base/check.h"
#include "flash/anchor.h"
#include "flash/flash_format.h"

static uint32_t larger(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

/* Room for segments of size s, with anchors before and after. */
static uint64_t managed_count(uint64_t size, uint64_t s)
{
	uint64_t around = (uint64_t)FLASH_AREA_ALIGN + ANCHOR_SLOT_MANAGED;

	return size < around ? 0 : (size - around) / s;
}

static enum bole_status choose(uint64_t size, uint64_t wanted, uint64_t smallest,
                               uint64_t (*count)(uint64_t, uint64_t), uint64_t start, uint64_t *out)
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
	if (count(size, s) < FLASH_SEGMENTS_MIN)
		return BOLE_E_NO_SPACE;
	*out = s;
	return BOLE_OK;
}

static enum bole_status managed(const struct bole_block_info *info, uint64_t wanted,
                                struct flash_geometry *g)
{
	uint64_t size = info->size_bytes - info->size_bytes % FLASH_UNIT_MANAGED;
	uint64_t smallest = larger(FLASH_SEGMENT_BYTES_MIN, 4 * g->unit);

	g->unit = larger(g->unit, FLASH_UNIT_MANAGED);
	BOLE_TRY(choose(size, wanted, smallest, managed_count, FLASH_SEGMENT_BYTES_MANAGED,
	                &g->segment_bytes));
	uint64_t n = managed_count(size, g->segment_bytes);
	g->segments = n > FLASH_SEGMENTS_MAX ? FLASH_SEGMENTS_MAX : (uint32_t)n;
	g->slots = 1;
	g->slot_bytes = larger(ANCHOR_SLOT_MANAGED, g->unit);
	g->area = FLASH_AREA_ALIGN;
	g->first = 0;
	g->second = g->area + g->segments * g->segment_bytes;
	if (info->size_bytes < g->second + g->slot_bytes)
		return BOLE_E_NO_SPACE;
	/* As far back as it goes: damage tends to stay in one part of a device. */
	g->second = (info->size_bytes - g->slot_bytes) / g->unit * g->unit;
	g->device_bytes = g->second + g->slot_bytes;
	return BOLE_OK;
}

/* Raw flash is counted without the blocks that may hold anchors. */
static uint64_t raw_count(uint64_t size, uint64_t s)
{
	return size / s;
}

static enum bole_status raw(struct bole_block *dev, uint64_t wanted, struct flash_geometry *g)
{
	const struct bole_block_info *info = &dev->info;
	uint64_t blocks = info->size_bytes / info->erase_unit;
	uint32_t good[2];
	uint32_t found = 0;

	for (uint32_t i = 0; i < FLASH_ANCHOR_BLOCKS && i < blocks && found < 2; i++) {
		bool bad;
		BOLE_TRY(bole_block_is_bad(dev, (uint64_t)i * info->erase_unit, &bad));
		if (!bad)
			good[found++] = i;
	}
	if (found < 2)
		return BOLE_E_NO_SPACE;
	uint64_t smallest = larger(FLASH_SEGMENT_BYTES_MIN, info->erase_unit);
	g->area = bole_round_up((uint64_t)(good[1] + 1) * info->erase_unit, smallest);
	if (g->area >= info->size_bytes)
		return BOLE_E_NO_SPACE;
	BOLE_TRY(choose(info->size_bytes - g->area, wanted, smallest, raw_count, smallest,
	                &g->segment_bytes));
	uint64_t n = raw_count(info->size_bytes - g->area, g->segment_bytes);
	g->segments = n > FLASH_SEGMENTS_MAX ? FLASH_SEGMENTS_MAX : (uint32_t)n;
	g->slot_bytes = larger(ANCHOR_SLOT_RAW_MIN, g->unit);
	g->slots = info->erase_unit / g->slot_bytes;
	g->first = (uint64_t)good[0] * info->erase_unit;
	g->second = (uint64_t)good[1] * info->erase_unit;
	g->device_bytes = g->area + g->segments * g->segment_bytes;
	return g->slots == 0 ? BOLE_E_UNSUPPORTED : BOLE_OK;
}

enum bole_status bole_flash_geometry(struct bole_block *dev, uint64_t segment_bytes,
                                     struct flash_geometry *out)
{
	const struct bole_block_info *info = &dev->info;

	*out = (struct flash_geometry){.kind = (uint32_t)info->kind};
	out->unit = larger(info->program_unit, info->damage_unit);
	out->unit = larger(out->unit, larger(info->read_unit, FLASH_UNIT_RAW_MIN));
	if (out->unit > FLASH_UNIT_MAX)
		return BOLE_E_UNSUPPORTED;
	return info->needs_erase ? raw(dev, segment_bytes, out) : managed(info, segment_bytes, out);
}

uint32_t bole_flash_anchor_map_max(const struct flash_geometry *g)
{
	return (g->slot_bytes - ANCHOR_MAP_AT) / PLACE_BYTES;
}
