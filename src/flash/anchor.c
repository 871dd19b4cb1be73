/* SPDX-License-Identifier: ISC */
#include "flash/anchor.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/flash_format.h"

enum { ANCHOR_READ_BYTES = FLASH_UNIT_MAX };

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
	if (g->segments < FLASH_SEGMENTS_MIN || g->segments > FLASH_SEGMENTS_MAX)
		return false;
	if (g->slots == 0 || g->slots > FLASH_UNIT_MAX || g->slot_bytes % g->unit != 0 ||
	    g->slot_bytes < ANCHOR_SLOT_RAW_MIN || g->slot_bytes > ANCHOR_READ_BYTES)
		return false;
	anchors = (uint64_t)g->slots * g->slot_bytes;
	if (g->area % g->unit != 0 || g->first % g->unit != 0 || g->second % g->unit != 0 ||
	    g->area > UINT64_MAX / 4)
		return false;
	end = g->area + g->segments * g->segment_bytes;
	return end <= g->device_bytes && bole_in_bounds(g->first, anchors, g->area) &&
	       bole_in_bounds(g->second, anchors, g->device_bytes) &&
	       (g->second >= end || (g->second + anchors <= g->area && g->first != g->second));
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

/* -- Finding the newest one -- */

struct anchor_search {
	struct bole_block *dev;
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	uint8_t *buf;
	struct flash_anchor *best;
	uint32_t place;
	bool found;
	bool damaged;   /* our magic, wrong checksum */
	bool zero;      /* nothing but zeroes or erased bytes so far */
	uint32_t newer; /* a version that we do not know */
};

static bool blank(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != 0 && p[i] != 0xff)
			return false;
	return true;
}

/* Looks at one slot; errors of the device count as damage: the other anchor may be fine. */
static enum bole_status look(struct anchor_search *s, uint64_t off)
{
	struct flash_anchor a;
	uint64_t size = s->dev->info.size_bytes;
	uint32_t version = 0;

	if (off >= size)
		return BOLE_OK;
	size_t len = size - off < ANCHOR_READ_BYTES ? (size_t)(size - off) : ANCHOR_READ_BYTES;
	len -= len % s->dev->info.read_unit;
	if (len < ANCHOR_SLOT_RAW_MIN)
		return BOLE_OK;
	if (bole_block_read(s->dev, off, s->buf, len) != BOLE_OK) {
		memset(s->buf, 0, ANCHOR_READ_BYTES);
		s->damaged = true;
		return BOLE_OK;
	}
	if (!blank(s->buf, ANCHOR_SLOT_RAW_MIN))
		s->zero = false;
	enum bole_status rc =
	        bole_flash_anchor_decode(s->buf, (uint32_t)len, s->alloc, &a, &version);
	if (rc == BOLE_E_NO_MEMORY)
		return rc;
	if (rc == BOLE_E_CORRUPT)
		s->damaged = true;
	if (rc == BOLE_E_UNSUPPORTED)
		s->newer = version;
	if (rc != BOLE_OK)
		return BOLE_OK;
	const struct flash_geometry *g = &a.geometry;
	uint64_t base = off >= g->second ? g->second : g->first;
	uint64_t index = (off - base) / g->slot_bytes;
	if ((off != g->first && off < g->first) || index >= g->slots ||
	    (s->found && a.generation <= s->best->generation)) {
		bole_flash_anchor_release(s->alloc, &a);
		return BOLE_OK;
	}
	if (s->found)
		bole_flash_anchor_release(s->alloc, s->best);
	*s->best = a;
	s->found = true;
	s->place = (base == g->second ? g->slots : 0) + (uint32_t)index;
	return BOLE_OK;
}

static enum bole_status search_managed(struct anchor_search *s)
{
	const struct bole_block_info *info = &s->dev->info;

	BOLE_TRY(look(s, 0));
	if (s->found && s->best->geometry.second != 0)
		return look(s, s->best->geometry.second);
	/* A torn anchor still tells where the other one is, which must verify by itself; the end of
	 * the device tells too, unless the device has grown. */
	uint64_t hint = bole_get_le64(s->buf + ANCHOR_SECOND_AT);
	if (!s->found && hint % info->read_unit == 0)
		BOLE_TRY(look(s, hint));
	for (uint32_t unit = FLASH_UNIT_MANAGED; unit <= FLASH_UNIT_MAX && !s->found; unit *= 2)
		if (unit % info->read_unit == 0 && info->size_bytes >= 2 * (uint64_t)unit)
			BOLE_TRY(look(s, (info->size_bytes - unit) / unit * unit));
	return BOLE_OK;
}

/* Looks where anchors can be before the geometry is known. */
static enum bole_status search(struct anchor_search *s)
{
	const struct bole_block_info *info = &s->dev->info;

	if (!info->needs_erase)
		return search_managed(s);
	uint32_t step =
	        info->program_unit < ANCHOR_SLOT_RAW_MIN ? ANCHOR_SLOT_RAW_MIN : info->program_unit;
	uint64_t end = (uint64_t)FLASH_ANCHOR_BLOCKS * info->erase_unit;
	uint32_t areas = 0;
	for (uint64_t off = 0; off < end && off < info->size_bytes && areas < 2;
	     off += info->erase_unit) {
		bool bad;
		BOLE_TRY(bole_block_is_bad(s->dev, off, &bad));
		if (bad)
			continue;
		areas++;
		for (uint64_t at = off; at < off + info->erase_unit; at += step)
			BOLE_TRY(look(s, at));
	}
	return BOLE_OK;
}

static enum bole_status explain(const struct anchor_search *s)
{
	const char *name = s->dev->info.name;

	if (s->newer != 0) {
		bole_log(s->platform, BOLE_LOG_ERROR,
		         "%s: the volume has format %u, this build knows up to %u", name, s->newer,
		         (unsigned)FLASH_VERSION);
		return BOLE_E_UNSUPPORTED;
	}
	if (s->damaged) {
		bole_log(s->platform, BOLE_LOG_ERROR,
		         "%s: a Bole volume whose anchors are both damaged", name);
		return BOLE_E_CORRUPT;
	}
	bole_log(s->platform, BOLE_LOG_ERROR,
	         s->zero ? "%s: the device is blank: format it first (bole init)"
	                 : "%s: this is not a Bole volume: it holds other data",
	         name);
	return BOLE_E_NOT_FOUND;
}

/* Every erase that the volume will ask for is one that the device can do. */
static bool erases_fit(const struct flash_geometry *g, const struct bole_block_info *info)
{
	uint32_t unit = info->erase_unit;

	return !info->needs_erase ||
	       (g->segment_bytes % unit == 0 && g->area % unit == 0 && g->first % unit == 0 &&
	        g->second % unit == 0 && (uint64_t)g->slots * g->slot_bytes <= unit);
}

static enum bole_status accept(const struct anchor_search *s)
{
	const struct flash_anchor *a = s->best;
	const struct bole_block_info *info = &s->dev->info;

	if ((a->incompat & ~(uint64_t)ANCHOR_FEATURES_KNOWN) != 0) {
		bole_log(s->platform, BOLE_LOG_ERROR,
		         "%s: the volume needs features %#llx that this build does not know",
		         info->name, (unsigned long long)a->incompat);
		return BOLE_E_UNSUPPORTED;
	}
	if (a->geometry.device_bytes > info->size_bytes) {
		bole_log(s->platform, BOLE_LOG_ERROR,
		         "%s: the volume needs %llu bytes, the device has only %llu: truncated?",
		         info->name, (unsigned long long)a->geometry.device_bytes,
		         (unsigned long long)info->size_bytes);
		return BOLE_E_CORRUPT;
	}
	if (a->geometry.unit % info->program_unit != 0 || a->geometry.unit % info->read_unit != 0) {
		bole_log(s->platform, BOLE_LOG_ERROR,
		         "%s: the volume is written in units of %u, the device needs %u",
		         info->name, a->geometry.unit, info->program_unit);
		return BOLE_E_UNSUPPORTED;
	}
	if (!erases_fit(&a->geometry, info)) {
		bole_log(s->platform, BOLE_LOG_ERROR,
		         "%s: the volume was made for other erase blocks than %u bytes", info->name,
		         info->erase_unit);
		return BOLE_E_UNSUPPORTED;
	}
	return BOLE_OK;
}

enum bole_status bole_flash_anchor_load(struct bole_block *dev, struct bole_platform *platform,
                                        struct bole_alloc *alloc, struct flash_anchor *out,
                                        uint32_t *place)
{
	struct anchor_search s = {
	        .dev = dev, .platform = platform, .alloc = alloc, .best = out, .zero = true};

	*out = (struct flash_anchor){.generation = 0};
	s.buf = bole_alloc_array(alloc, ANCHOR_READ_BYTES, 1);
	if (s.buf == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = search(&s);
	if (rc == BOLE_OK)
		rc = s.found ? accept(&s) : explain(&s);
	bole_alloc_free(alloc, s.buf, ANCHOR_READ_BYTES, 1);
	*place = s.place;
	/* Raw flash: a cut may have reached the slots behind, even where they read as erased. The
	 * next anchor goes to the other area, which is erased first. */
	if (rc == BOLE_OK && dev->info.needs_erase)
		*place = s.place / out->geometry.slots * out->geometry.slots + out->geometry.slots -
		         1;
	if (rc != BOLE_OK)
		bole_flash_anchor_release(alloc, out);
	return rc;
}

static uint64_t slot_at(const struct flash_geometry *g, uint32_t place)
{
	return (place < g->slots ? g->first : g->second) +
	       (uint64_t)(place % g->slots) * g->slot_bytes;
}

/* Areas of several slots are logs: the next slot, or the first of the other area, which is erased
 * while this one keeps the newest. A slot that a cut left half programmed is never used again. */
static enum bole_status next_slot(struct bole_block *dev, const struct flash_geometry *g,
                                  uint32_t place, uint8_t *slot, uint32_t *out)
{
	uint32_t next = (place + 1) % (2 * g->slots);

	if (next % g->slots != 0) {
		BOLE_TRY(bole_block_read(dev, slot_at(g, next), slot, g->slot_bytes));
		if (!blank(slot, g->slot_bytes))
			next = next < g->slots ? g->slots : 0;
	}
	*out = next;
	if (next % g->slots != 0)
		return BOLE_OK;
	return bole_block_erase(dev, slot_at(g, next), dev->info.erase_unit);
}

enum bole_status bole_flash_anchor_store(struct bole_block *dev, struct bole_alloc *alloc,
                                         const struct flash_anchor *a, uint32_t *place)
{
	const struct flash_geometry *g = &a->geometry;
	uint32_t next = 1 - *place;
	uint8_t *slot = bole_alloc_zeroed(alloc, g->slot_bytes, 1);
	enum bole_status rc = BOLE_OK;

	if (slot == NULL)
		return BOLE_E_NO_MEMORY;
	if (dev->info.needs_erase)
		rc = next_slot(dev, g, *place, slot, &next);
	memset(slot, 0, g->slot_bytes);
	bole_flash_anchor_encode(a, slot);
	if (rc == BOLE_OK)
		rc = bole_block_program(dev, slot_at(g, next), slot, g->slot_bytes);
	if (rc == BOLE_OK)
		rc = bole_block_flush(dev);
	bole_alloc_free(alloc, slot, g->slot_bytes, 1);
	if (rc == BOLE_OK)
		*place = next;
	return rc;
}
