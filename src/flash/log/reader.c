/* SPDX-License-Identifier: ISC */
#include "flash/log/reader.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "flash/index/objects.h"
#include "flash/log/record.h"
#include "flash/volume/volume.h"

enum {
	AHEAD_FIRST = 32 << 10,
	AHEAD_MAX = 256 << 10,
	AHEAD_SKIP = 64 << 10, /* a gap that still counts as going on */
	NEAR_BYTES = 32 << 10, /* read around a request in the neighbourhood of others */
};

static bool covers(const struct flash_window *w, uint32_t segment, uint32_t offset, size_t len)
{
	return w->len != 0 && w->segment == segment && offset >= w->offset &&
	       bole_in_bounds(offset - w->offset, len, w->len);
}

/* The request goes on where the window ends, perhaps at the start of another segment. */
static bool goes_on(const struct flash_window *w, const struct flash_volume *v, uint32_t segment,
                    uint32_t offset)
{
	uint32_t end = w->offset + w->len;

	if (w->len == 0)
		return false;
	if (w->segment == segment)
		return offset >= w->offset && offset <= end + AHEAD_SKIP;
	return w->ahead != 0 && offset <= v->unit + SEGMENT_HEAD_BYTES &&
	       v->segment_bytes - end <= AHEAD_SKIP;
}

/* Near a window, but no scan: a walk that resolves deltas goes back and forth like that. */
static bool is_near(const struct flash_window *w, uint32_t segment, uint32_t offset)
{
	uint32_t end = w->offset + w->len;

	return w->len != 0 && w->segment == segment && offset + AHEAD_SKIP >= w->offset &&
	       offset <= end + AHEAD_SKIP;
}

static struct flash_window *choose(const struct flash_volume *v, struct flash_reader *r,
                                   uint32_t segment, uint32_t offset, bool *around)
{
	struct flash_window *best = &r->window[0];

	for (size_t i = 0; i < READER_WINDOWS; i++) {
		struct flash_window *w = &r->window[i];
		*around |= is_near(w, segment, offset);
		if (w->used == r->clock - 1 && goes_on(w, v, segment, offset)) {
			w->ahead = w->ahead == 0 ? AHEAD_FIRST : w->ahead * 2;
			if (w->ahead > AHEAD_MAX)
				w->ahead = AHEAD_MAX;
			return w;
		}
		if (w->used < best->used)
			best = w;
	}
	best->ahead = 0;
	return best;
}

/* The window that has the bytes already, or NULL. */
static struct flash_window *at_hand(struct flash_reader *r, uint32_t segment, uint32_t offset,
                                    size_t len)
{
	for (size_t i = 0; i < READER_WINDOWS; i++)
		if (covers(&r->window[i], segment, offset, len))
			return &r->window[i];
	return NULL;
}

enum bole_status bole_flash_fetch(struct flash_volume *v, struct flash_reader *r, uint32_t segment,
                                  uint32_t offset, size_t len, const uint8_t **out)
{
	const uint8_t *p;

	BOLE_ASSERT(bole_in_bounds(offset, len, v->segment_bytes));
	bole_flash_lock(v);
	uint64_t sequence = v->segment[segment].sequence;
	uint64_t end = v->segment[segment].written;
	bole_flash_unlock(v);
	r->clock++;
	struct flash_window *w;
	/* Those of an earlier life of the segment go. */
	while ((w = at_hand(r, segment, offset, len)) != NULL && w->sequence != sequence)
		w->len = w->sound_len = 0;
	if (w != NULL) {
		w->used = r->clock;
		*out = w->buf + (offset - w->offset);
		return BOLE_OK;
	}
	bool around = false;
	w = choose(v, r, segment, offset, &around);
	size_t want = len > w->ahead ? len : w->ahead;
	uint32_t start = offset;
	if (w->ahead == 0 && around) {
		start -= offset % NEAR_BYTES;
		want = offset - start + len;
		want = want < NEAR_BYTES ? NEAR_BYTES : want;
	}
	/* Nothing beyond what is asked for is read where somebody may be writing. */
	if (end < offset + len)
		end = offset + len;
	if (want > end - start)
		want = (size_t)(end - start);
	size_t cap = want + bole_flash_read_slack(v);
	w->len = 0;
	w->sound_len = 0;
	w->used = r->clock;
	/* Grown for a scan, a window shrinks again: there are many, and memory is for one. */
	if (w->cap < cap || w->cap - cap > AHEAD_FIRST) {
		uint8_t *buf = bole_alloc_resize(v->alloc, w->buf, w->cap, cap, 1);
		if (buf == NULL && w->cap < cap)
			return BOLE_E_NO_MEMORY;
		if (buf != NULL) {
			w->buf = buf;
			w->cap = cap;
		}
	}
	BOLE_TRY(bole_flash_read(v, segment, start, want, w->buf, &p));
	if (p != w->buf)
		memmove(w->buf, p, want);
	w->segment = segment;
	w->sequence = sequence;
	w->offset = start;
	w->len = (uint32_t)want;
	*out = w->buf + (offset - start);
	return BOLE_OK;
}

void bole_flash_reader_note(struct flash_reader *r, uint32_t segment, uint32_t offset, size_t len,
                            uint64_t owner)
{
	struct flash_window *w = at_hand(r, segment, offset, len);

	if (w == NULL)
		return;
	w->owner = owner;
	w->sound = offset;
	w->sound_len = (uint32_t)len;
}

bool bole_flash_reader_knows(struct flash_reader *r, uint32_t segment, uint32_t offset, size_t len,
                             uint64_t owner)
{
	const struct flash_window *w = at_hand(r, segment, offset, len);

	return w != NULL && w->sound_len == len && w->sound == offset && w->owner == owner;
}

/* -- Records -- */

static bool parse(const uint8_t *p, size_t len, struct flash_record *out)
{
	return bole_flash_record_parse((struct bole_bytes){p, len}, out) && out->bytes == len;
}

/* Nothing was read but these bytes: no scan, no neighbours. */
static bool alone(struct flash_reader *r, uint32_t segment, uint32_t offset, size_t len)
{
	const struct flash_window *w = at_hand(r, segment, offset, len);

	return w != NULL && w->len == len;
}

/* A verified small record stays: for who views what was found, and for those who come later. Who
 * goes through everything only fills room that is free. */
static void remember(struct flash_volume *v, struct flash_reader *r, uint64_t sequence,
                     uint32_t offset, const uint8_t *record, size_t len, bool single)
{
	bole_flash_objects_put(v->objects, sequence, offset, record, len, single);
	if (r->record == NULL)
		return;
	memcpy(r->record, record, len);
	r->record_sequence = sequence;
	r->record_offset = offset;
	r->record_len = (uint32_t)len;
}

/* The record is in memory already: here, or among those that somebody read before. */
static bool remembered(struct flash_volume *v, struct flash_reader *r, uint64_t sequence,
                       uint32_t segment, uint32_t offset, size_t len)
{
	if (r->record_sequence == sequence && r->record_offset == offset && r->record_len == len)
		return true;
	if (r->record == NULL)
		r->record = bole_alloc_array(v->alloc, OBJECTS_RECORD_MAX, 1);
	r->record_len = 0;
	if (r->record == NULL || at_hand(r, segment, offset, len) != NULL ||
	    !bole_flash_objects_get(v->objects, sequence, offset, r->record, len))
		return false;
	r->record_sequence = sequence;
	r->record_offset = offset;
	r->record_len = (uint32_t)len;
	return true;
}

enum bole_status bole_flash_fetch_record(struct flash_volume *v, struct flash_reader *r,
                                         uint32_t segment, uint32_t offset, size_t len,
                                         struct flash_record *out)
{
	bool small = len <= OBJECTS_RECORD_MAX;
	const uint8_t *p;

	bole_flash_lock(v);
	uint64_t sequence = v->segment[segment].sequence;
	bole_flash_unlock(v);
	if (small && remembered(v, r, sequence, segment, offset, len))
		return parse(r->record, len, out) ? BOLE_OK : BOLE_E_CORRUPT;
	BOLE_TRY(bole_flash_fetch(v, r, segment, offset, len, &p));
	if (!parse(p, len, out) ||
	    !bole_flash_record_verify(p, out, bole_flash_seed(v->key, segment, sequence, offset)))
		return BOLE_E_CORRUPT;
	if (small)
		remember(v, r, sequence, offset, p, len, alone(r, segment, offset, len));
	return BOLE_OK;
}

void bole_flash_reader_reset(struct flash_reader *r)
{
	for (size_t i = 0; i < READER_WINDOWS; i++)
		r->window[i].len = r->window[i].sound_len = 0;
	r->record_len = 0;
}

void bole_flash_reader_close(struct flash_volume *v, struct flash_reader *r)
{
	for (size_t i = 0; i < READER_WINDOWS; i++)
		bole_alloc_free(v->alloc, r->window[i].buf, r->window[i].cap, 1);
	if (r->record != NULL)
		bole_alloc_free(v->alloc, r->record, OBJECTS_RECORD_MAX, 1);
	*r = (struct flash_reader){.clock = 0};
}
