/* SPDX-License-Identifier: ISC */
#include "flash/summary.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

enum { SUMMARY_FIRST = 64, SUMMARY_UNITS_MIN = 64 };

uint32_t bole_flash_summary_reserve(const struct flash_volume *v, uint32_t entries)
{
	/* In small segments a summary would cost too much: there it takes what room is left. */
	if (v->segment_bytes / v->unit < SUMMARY_UNITS_MIN)
		return 0;
	return (uint32_t)bole_round_up((uint64_t)entries * SUMMARY_ENTRY_BYTES + FOOTER_BYTES,
	                               v->unit);
}

enum bole_status bole_flash_summary_room(struct flash_volume *v, struct flash_summary *s,
                                         uint32_t more)
{
	if (s->cap - s->count >= more)
		return BOLE_OK;
	uint32_t cap = s->cap == 0 ? SUMMARY_FIRST : s->cap;
	while (cap - s->count < more)
		cap *= 2;
	uint8_t *entry = bole_alloc_resize(v->alloc, s->entry, s->cap, cap, SUMMARY_ENTRY_BYTES);
	if (entry == NULL)
		return BOLE_E_NO_MEMORY;
	s->entry = entry;
	s->cap = cap;
	return BOLE_OK;
}

void bole_flash_summary_add(struct flash_summary *s, const uint8_t *key, uint32_t offset,
                            uint8_t kind, uint8_t type)
{
	if (s->count == s->cap)
		return; /* there was no memory for it; a summary may be incomplete */
	uint8_t *p = s->entry + (size_t)s->count++ * SUMMARY_ENTRY_BYTES;
	memcpy(p + SUMMARY_KEY_AT, key, SUMMARY_KEY_BYTES);
	bole_put_le32(p + SUMMARY_OFFSET_AT, offset);
	p[SUMMARY_KIND_AT] = kind;
	p[SUMMARY_TYPE_AT] = type;
}

static int order(const void *a, const void *b)
{
	return memcmp(a, b, SUMMARY_ENTRY_BYTES);
}

enum bole_status bole_flash_summary_write(struct flash_volume *v, struct flash_summary *s,
                                          uint32_t segment, uint64_t sequence, uint32_t pos)
{
	uint32_t bytes = s->count * SUMMARY_ENTRY_BYTES + FOOTER_BYTES;
	uint32_t total = (uint32_t)bole_round_up(bytes, v->unit);
	uint32_t start = v->segment_bytes - total;

	if (s->count == 0 || pos == 0 || pos > start)
		return BOLE_OK;
	uint8_t *buf = bole_alloc_zeroed(v->alloc, total, 1);
	if (buf == NULL)
		return BOLE_OK; /* nothing depends on it */
	uint32_t first = total - bytes;
	uint8_t *footer = buf + total - FOOTER_BYTES;
	qsort(s->entry, s->count, SUMMARY_ENTRY_BYTES, order);
	memcpy(buf + first, s->entry, (size_t)s->count * SUMMARY_ENTRY_BYTES);
	bole_put_le32(footer + FOOTER_MAGIC_AT, FOOTER_MAGIC);
	bole_put_le32(footer + FOOTER_COUNT_AT, s->count);
	bole_put_le32(footer + FOOTER_START_AT, start + first);
	bole_put_le64(footer + FOOTER_CHECKSUM_AT,
	              bole_flash_sum(buf + first, bytes - (FOOTER_BYTES - FOOTER_CHECKSUM_AT),
	                             bole_flash_seed(v->key, segment, sequence, start + first)));
	enum bole_status rc = bole_flash_program(v, segment, start, buf, total);
	bole_alloc_free(v->alloc, buf, total, 1);
	return rc;
}

void bole_flash_summary_release(struct flash_volume *v, struct flash_summary *s)
{
	bole_alloc_free(v->alloc, s->entry, s->cap, SUMMARY_ENTRY_BYTES);
	*s = (struct flash_summary){.entry = NULL};
}
