/* SPDX-License-Identifier: ISC */
/* Reading what streams hold: maps and tables of extents. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "flash/volume/mount.h"

/* -- Maps -- */

struct map_reader {
	struct flash_volume *v;
	struct flash_fragment *list;
	uint32_t count;
	uint32_t at;
	uint64_t logical;
	uint32_t stream;
};

static bool map_row(struct map_reader *m, const uint8_t *p)
{
	struct flash_fragment f;
	const struct flash_volume *v = m->v;

	bole_flash_place_get(p, &f);
	if (f.stream != m->stream) {
		m->stream = f.stream;
		m->logical = 0;
	}
	f.logical = m->logical;
	if (f.segment == SEGMENT_NONE && f.stream == FLASH_FRAGMENT_DATA && f.length != 0 &&
	    f.length <= v->fragment_bytes && f.length <= UINT64_MAX - m->logical) {
		/* A hole: nothing in it lives. */
		m->logical += f.length;
		m->list[m->at++] = f;
		return true;
	}
	if (f.length == 0 || f.length > v->fragment_bytes || f.segment >= v->segments ||
	    !bole_in_bounds(f.offset, bole_flash_fragment_live(f.length), v->segment_bytes) ||
	    __builtin_add_overflow(m->logical, f.length, &m->logical))
		return false;
	m->list[m->at++] = f;
	return true;
}

/* Reads the map's own fragments one after another; rows do not straddle them by accident only. */
static enum bole_status read_map(struct map_reader *m, uint64_t extent,
                                 const struct flash_fragment *map, uint32_t map_count, uint8_t *buf)
{
	uint8_t row[PLACE_BYTES];
	size_t have = 0;

	for (uint32_t i = 0; i < map_count; i++) {
		const uint8_t *p;
		BOLE_TRY(bole_flash_fragment_read(m->v, extent, &map[i], buf, &p));
		for (size_t n = 0; n < map[i].length;) {
			size_t take = PLACE_BYTES - have;
			if (take > map[i].length - n)
				take = map[i].length - n;
			memcpy(row + have, p + n, take);
			have += take;
			n += take;
			if (have < PLACE_BYTES)
				break;
			have = 0;
			if (m->at == m->count - map_count || !map_row(m, row))
				return BOLE_E_CORRUPT;
		}
	}
	return m->at == m->count - map_count ? BOLE_OK : BOLE_E_CORRUPT;
}

enum bole_status bole_flash_map_load(struct flash_volume *v, uint64_t extent,
                                     const struct flash_fragment *map, uint32_t map_count,
                                     uint64_t map_bytes, struct flash_fragment **out,
                                     uint32_t *count)
{
	uint64_t total = 0;
	uint64_t rows = map_bytes / PLACE_BYTES;

	/* The numbers must fit together before memory is taken for them. */
	for (uint32_t i = 0; i < map_count; i++)
		total += map[i].length;
	if (total != map_bytes || map_bytes % PLACE_BYTES != 0 || rows + map_count == 0 ||
	    rows > (uint64_t)v->segments * (v->segment_bytes / v->unit))
		return BOLE_E_CORRUPT;
	struct map_reader m = {.v = v, .count = (uint32_t)rows + map_count};
	size_t room = bole_flash_fragment_room(v);
	uint8_t *buf = bole_alloc_array(v->alloc, room, 1);
	m.list = bole_alloc_zeroed(v->alloc, m.count, sizeof *m.list);
	enum bole_status rc = buf == NULL || m.list == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
	if (rc == BOLE_OK)
		rc = read_map(&m, extent, map, map_count, buf);
	bole_alloc_free(v->alloc, buf, room, 1);
	if (rc != BOLE_OK) {
		bole_alloc_free(v->alloc, m.list, m.count, sizeof *m.list);
		return rc;
	}
	memcpy(m.list + m.at, map, map_count * sizeof *map);
	*out = m.list;
	*count = m.count;
	return BOLE_OK;
}
