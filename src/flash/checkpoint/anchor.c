/* SPDX-License-Identifier: ISC */
#include "flash/checkpoint/anchor.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/volume/flash_format.h"

void bole_flash_place_put(uint8_t *p, const struct flash_fragment *f)
{
	bole_put_le32(p + PLACE_SEGMENT_AT, f->segment);
	bole_put_le32(p + PLACE_OFFSET_AT, f->offset);
	bole_put_le64(p + PLACE_SEQUENCE_AT, f->sequence);
	bole_put_le32(p + PLACE_LENGTH_AT, f->length);
	bole_put_le32(p + PLACE_STREAM_AT, f->stream);
	bole_put_le64(p + PLACE_CHECKSUM_AT, f->checksum);
}

void bole_flash_place_get(const uint8_t *p, struct flash_fragment *out)
{
	*out = (struct flash_fragment){
	        .segment = bole_get_le32(p + PLACE_SEGMENT_AT),
	        .offset = bole_get_le32(p + PLACE_OFFSET_AT),
	        .sequence = bole_get_le64(p + PLACE_SEQUENCE_AT),
	        .length = bole_get_le32(p + PLACE_LENGTH_AT),
	        .stream = bole_get_le32(p + PLACE_STREAM_AT),
	        .checksum = bole_get_le64(p + PLACE_CHECKSUM_AT),
	};
}

static uint64_t slot_sum(const uint8_t *slot, uint32_t bytes)
{
	struct flash_sum sum;

	bole_flash_sum_begin(&sum, 0);
	bole_flash_sum_add(&sum, slot, ANCHOR_CHECKSUM_AT);
	bole_flash_sum_add(&sum, slot + ANCHOR_GENERATION_AT, bytes - ANCHOR_GENERATION_AT);
	return bole_flash_sum_end(&sum);
}

void bole_flash_anchor_encode(const struct flash_anchor *a, uint8_t *slot)
{
	const struct flash_geometry *g = &a->geometry;

	BOLE_ASSERT(a->map_count <= bole_flash_anchor_map_max(g));
	memcpy(slot + ANCHOR_MAGIC_AT, FLASH_ANCHOR_MAGIC, 8);
	bole_put_le32(slot + ANCHOR_VERSION_AT, FLASH_VERSION);
	bole_put_le32(slot + ANCHOR_BYTES_AT, g->slot_bytes);
	bole_put_le64(slot + ANCHOR_GENERATION_AT, a->generation);
	bole_put_le64(slot + ANCHOR_COMPAT_AT, a->compat);
	bole_put_le64(slot + ANCHOR_RO_COMPAT_AT, a->ro_compat);
	bole_put_le64(slot + ANCHOR_INCOMPAT_AT, a->incompat);
	memcpy(slot + ANCHOR_VOLUME_AT, a->volume, ANCHOR_ID_BYTES);
	memcpy(slot + ANCHOR_KEY_AT, a->key, FLASH_KEY_BYTES);
	memcpy(slot + ANCHOR_LABEL_AT, a->label, ANCHOR_LABEL_BYTES);
	bole_put_le32(slot + ANCHOR_KIND_AT, g->kind);
	bole_put_le32(slot + ANCHOR_UNIT_AT, g->unit);
	bole_put_le64(slot + ANCHOR_SEGMENT_BYTES_AT, g->segment_bytes);
	bole_put_le32(slot + ANCHOR_SEGMENTS_AT, g->segments);
	bole_put_le32(slot + ANCHOR_SLOTS_AT, g->slots);
	bole_put_le64(slot + ANCHOR_AREA_AT, g->area);
	bole_put_le64(slot + ANCHOR_FIRST_AT, g->first);
	bole_put_le64(slot + ANCHOR_SECOND_AT, g->second);
	bole_put_le64(slot + ANCHOR_DEVICE_BYTES_AT, g->device_bytes);
	bole_put_le32(slot + ANCHOR_LOG_SEGMENT_AT, a->log_segment);
	bole_put_le32(slot + ANCHOR_LOG_OFFSET_AT, a->log_offset);
	bole_put_le64(slot + ANCHOR_LOG_SEQUENCE_AT, a->log_sequence);
	bole_put_le32(slot + ANCHOR_LOG_NEXT_AT, a->log_next);
	bole_put_le64(slot + ANCHOR_LOG_NEXT_SEQUENCE_AT, a->log_next_sequence);
	bole_put_le32(slot + ANCHOR_CHECKPOINT_AT, a->checkpoint);
	bole_put_le64(slot + ANCHOR_BATCH_AT, a->batch);
	bole_put_le64(slot + ANCHOR_LINK_AT, a->link);
	bole_put_le32(slot + ANCHOR_OPENED_AT, a->opened);
	bole_put_le32(slot + ANCHOR_MAP_COUNT_AT, a->map_count);
	bole_put_le64(slot + ANCHOR_STREAM_AT, a->stream);
	bole_put_le64(slot + ANCHOR_STREAM_BYTES_AT, a->stream_bytes);
	bole_put_le64(slot + ANCHOR_STREAM_DIGEST_AT, a->stream_digest);
	for (uint32_t i = 0; i < a->map_count; i++)
		bole_flash_place_put(slot + ANCHOR_MAP_AT + (size_t)i * PLACE_BYTES, &a->map[i]);
	bole_put_le64(slot + ANCHOR_CHECKSUM_AT, slot_sum(slot, g->slot_bytes));
}

static bool power_of_two(uint64_t v)
{
	return v != 0 && (v & (v - 1)) == 0;
}

/* A valid checksum does not make a sane geometry: the image may have been made by anybody. */
static bool geometry_ok(const struct flash_geometry *g)
{
	uint64_t end;
	uint64_t anchors;

	if (!power_of_two(g->unit) || g->unit < FLASH_UNIT_RAW_MIN || g->unit > FLASH_UNIT_MAX)
		return false;
	if (!power_of_two(g->segment_bytes) || g->segment_bytes < FLASH_SEGMENT_BYTES_MIN ||
	    g->segment_bytes > FLASH_SEGMENT_BYTES_MAX || g->segment_bytes < 4 * (uint64_t)g->unit)
		return false;
	if (g->segments < FLASH_SEGMENTS_RAW_MIN || g->segments > FLASH_SEGMENTS_MAX)
		return false;
	if (g->slots == 0 || g->slots > FLASH_ANCHOR_SLOTS_MAX || g->slot_bytes % g->unit != 0 ||
	    g->slot_bytes < ANCHOR_SLOT_RAW_MIN || g->slot_bytes > FLASH_UNIT_MAX)
		return false;
	anchors = (uint64_t)g->slots * g->slot_bytes;
	if (g->area % g->unit != 0 || g->first % g->unit != 0 || g->second % g->unit != 0 ||
	    g->area > UINT64_MAX / 4)
		return false;
	end = g->area + g->segments * g->segment_bytes;
	return end <= g->device_bytes && bole_in_bounds(g->first, anchors, g->area) &&
	       bole_in_bounds(g->second, anchors, g->device_bytes) &&
	       (g->second >= end ||
	        (g->second + anchors <= g->area && bole_in_bounds(g->first, anchors, g->second)));
}

static void decode_fixed(const uint8_t *slot, struct flash_anchor *a)
{
	struct flash_geometry *g = &a->geometry;

	a->generation = bole_get_le64(slot + ANCHOR_GENERATION_AT);
	a->compat = bole_get_le64(slot + ANCHOR_COMPAT_AT);
	a->ro_compat = bole_get_le64(slot + ANCHOR_RO_COMPAT_AT);
	a->incompat = bole_get_le64(slot + ANCHOR_INCOMPAT_AT);
	memcpy(a->volume, slot + ANCHOR_VOLUME_AT, ANCHOR_ID_BYTES);
	memcpy(a->key, slot + ANCHOR_KEY_AT, FLASH_KEY_BYTES);
	memcpy(a->label, slot + ANCHOR_LABEL_AT, ANCHOR_LABEL_BYTES);
	a->label[ANCHOR_LABEL_BYTES - 1] = '\0';
	g->kind = bole_get_le32(slot + ANCHOR_KIND_AT);
	g->unit = bole_get_le32(slot + ANCHOR_UNIT_AT);
	g->slot_bytes = bole_get_le32(slot + ANCHOR_BYTES_AT);
	g->segment_bytes = bole_get_le64(slot + ANCHOR_SEGMENT_BYTES_AT);
	g->segments = bole_get_le32(slot + ANCHOR_SEGMENTS_AT);
	g->slots = bole_get_le32(slot + ANCHOR_SLOTS_AT);
	g->area = bole_get_le64(slot + ANCHOR_AREA_AT);
	g->first = bole_get_le64(slot + ANCHOR_FIRST_AT);
	g->second = bole_get_le64(slot + ANCHOR_SECOND_AT);
	g->device_bytes = bole_get_le64(slot + ANCHOR_DEVICE_BYTES_AT);
	a->log_segment = bole_get_le32(slot + ANCHOR_LOG_SEGMENT_AT);
	a->log_offset = bole_get_le32(slot + ANCHOR_LOG_OFFSET_AT);
	a->log_sequence = bole_get_le64(slot + ANCHOR_LOG_SEQUENCE_AT);
	a->log_next = bole_get_le32(slot + ANCHOR_LOG_NEXT_AT);
	a->log_next_sequence = bole_get_le64(slot + ANCHOR_LOG_NEXT_SEQUENCE_AT);
	a->checkpoint = bole_get_le32(slot + ANCHOR_CHECKPOINT_AT);
	a->batch = bole_get_le64(slot + ANCHOR_BATCH_AT);
	a->link = bole_get_le64(slot + ANCHOR_LINK_AT);
	a->opened = bole_get_le32(slot + ANCHOR_OPENED_AT);
	a->map_count = bole_get_le32(slot + ANCHOR_MAP_COUNT_AT);
	a->stream = bole_get_le64(slot + ANCHOR_STREAM_AT);
	a->stream_bytes = bole_get_le64(slot + ANCHOR_STREAM_BYTES_AT);
	a->stream_digest = bole_get_le64(slot + ANCHOR_STREAM_DIGEST_AT);
}

enum bole_status bole_flash_anchor_decode(const uint8_t *slot, uint32_t cap,
                                          struct bole_alloc *alloc, struct flash_anchor *out,
                                          uint32_t *version)
{
	uint32_t bytes = bole_get_le32(slot + ANCHOR_BYTES_AT);

	BOLE_ASSERT(cap >= ANCHOR_SLOT_RAW_MIN);
	*out = (struct flash_anchor){.generation = 0};
	if (memcmp(slot + ANCHOR_MAGIC_AT, FLASH_ANCHOR_MAGIC, 8) != 0)
		return BOLE_E_NOT_FOUND;
	if (bytes < ANCHOR_SLOT_RAW_MIN || bytes > cap ||
	    bole_get_le64(slot + ANCHOR_CHECKSUM_AT) != slot_sum(slot, bytes))
		return BOLE_E_CORRUPT;
	*version = bole_get_le32(slot + ANCHOR_VERSION_AT);
	if (*version != FLASH_VERSION)
		return BOLE_E_UNSUPPORTED;
	decode_fixed(slot, out);
	const struct flash_geometry *g = &out->geometry;
	if (!geometry_ok(g) || out->map_count > bole_flash_anchor_map_max(g) ||
	    out->log_segment >= g->segments || out->log_next >= g->segments ||
	    out->log_offset > g->segment_bytes || out->log_offset % g->unit != 0)
		return BOLE_E_CORRUPT;
	if (out->map_count == 0)
		return BOLE_OK;
	out->map = bole_alloc_zeroed(alloc, out->map_count, sizeof *out->map);
	if (out->map == NULL)
		return BOLE_E_NO_MEMORY;
	for (uint32_t i = 0; i < out->map_count; i++)
		bole_flash_place_get(slot + ANCHOR_MAP_AT + (size_t)i * PLACE_BYTES, &out->map[i]);
	return BOLE_OK;
}

void bole_flash_anchor_release(struct bole_alloc *alloc, struct flash_anchor *a)
{
	bole_alloc_free(alloc, a->map, a->map_count, sizeof *a->map);
	a->map = NULL;
	a->map_count = 0;
}

uint64_t bole_flash_anchor_at(const struct flash_geometry *g, uint32_t area, uint32_t slot)
{
	BOLE_ASSERT(slot < g->slots);
	return (area == 0 ? g->first : g->second) + (uint64_t)slot * g->slot_bytes;
}

bool bole_flash_anchor_blank(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != 0 && p[i] != 0xff)
			return false;
	return true;
}
