/* SPDX-License-Identifier: ISC */
#include "flash/index/mem.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

size_t bole_flash_mem_value_bytes(struct bole_bytes bytes)
{
	if (bytes.len < MEM_HEAD_BYTES)
		return 0;
	size_t head = (bytes.ptr[MEM_FLAGS_AT] & MEM_MOVED) != 0 ? MEM_MOVED_BYTES : MEM_HEAD_BYTES;
	size_t len = head + (size_t)bole_get_le16(bytes.ptr + MEM_KILLS_AT) * MEM_KILL_BYTES;
	return len > bytes.len ? 0 : len;
}

void bole_flash_mem_value(uint8_t *value, uint64_t place, uint32_t stored, uint8_t type)
{
	value[MEM_FLAGS_AT] = MEM_HAS;
	value[MEM_TYPE_AT] = type;
	bole_put_le16(value + MEM_KILLS_AT, 0);
	bole_put_le32(value + MEM_STORED_AT, stored);
	bole_flash_put_be40(value + MEM_PLACE_AT, place);
}

bool bole_flash_mem_parse(struct bole_bytes value, struct flash_mem_row *out)
{
	const uint8_t *p = value.ptr;

	if (value.len < MEM_HEAD_BYTES)
		return false;
	size_t head = (p[MEM_FLAGS_AT] & MEM_MOVED) != 0 ? MEM_MOVED_BYTES : MEM_HEAD_BYTES;
	*out = (struct flash_mem_row){
	        .place = bole_flash_get_be40(p + MEM_PLACE_AT),
	        .stored = bole_get_le32(p + MEM_STORED_AT),
	        .type = p[MEM_TYPE_AT],
	        .has = (p[MEM_FLAGS_AT] & MEM_HAS) != 0,
	        .moved = (p[MEM_FLAGS_AT] & MEM_MOVED) != 0,
	        .kills = bole_get_le16(p + MEM_KILLS_AT),
	};
	if (p[MEM_FLAGS_AT] > (MEM_HAS | MEM_MOVED) ||
	    value.len != head + (size_t)out->kills * MEM_KILL_BYTES)
		return false;
	if (out->moved) {
		out->from = bole_flash_get_be40(p + MEM_FROM_AT);
		out->generation = bole_get_le32(p + MEM_GENERATION_AT);
	}
	out->kill = p + head;
	return true;
}

bool bole_flash_mem_get(const struct flash_table *mem, struct bole_bytes key,
                        struct flash_mem_row *out)
{
	const struct flash_item *item = bole_flash_table_find(mem, key);

	if (item == NULL)
		return false;
	bool ok = bole_flash_mem_parse(bole_flash_item_value(item), out);
	BOLE_ASSERT(ok);
	return true;
}

/* The item for row, with one more kill when `kill` is given. */
static enum bole_status set(const struct flash_table_kind *kind, struct flash_table **mem,
                            struct bole_bytes key, const struct flash_mem_row *row,
                            const uint8_t *kill)
{
	uint8_t small[MEM_MOVED_BYTES + 16 * MEM_KILL_BYTES];
	size_t head = row->moved ? MEM_MOVED_BYTES : MEM_HEAD_BYTES;
	size_t kills = row->kills + (size_t)(kill != NULL);
	size_t len = head + kills * MEM_KILL_BYTES;
	uint8_t *p = small;

	if (kills > MEM_KILLS_MAX)
		return BOLE_E_LIMIT;
	if (kills == 0 && !row->has)
		return bole_flash_table_remove(kind, mem, key);
	if (len > sizeof small)
		p = bole_alloc_array(kind->alloc, len, 1);
	if (p == NULL)
		return BOLE_E_NO_MEMORY;
	p[MEM_FLAGS_AT] = (uint8_t)((row->has ? MEM_HAS : 0) | (row->moved ? MEM_MOVED : 0));
	p[MEM_TYPE_AT] = row->type;
	bole_put_le16(p + MEM_KILLS_AT, (uint16_t)kills);
	bole_put_le32(p + MEM_STORED_AT, row->stored);
	bole_flash_put_be40(p + MEM_PLACE_AT, row->place);
	if (row->moved) {
		bole_flash_put_be40(p + MEM_FROM_AT, row->from);
		bole_put_le32(p + MEM_GENERATION_AT, row->generation);
	}
	if (row->kills != 0)
		memcpy(p + head, row->kill, row->kills * (size_t)MEM_KILL_BYTES);
	if (kill != NULL)
		memcpy(p + len - MEM_KILL_BYTES, kill, MEM_KILL_BYTES);
	enum bole_status rc = bole_flash_table_set(kind, mem, key, bole_bytes_of(p, len));
	if (p != small)
		bole_alloc_free(kind->alloc, p, len, 1);
	return rc;
}

enum bole_status bole_flash_mem_put(const struct flash_table_kind *kind, struct flash_table **mem,
                                    struct bole_bytes key, uint64_t place, uint32_t stored,
                                    uint8_t type)
{
	struct flash_mem_row row = {.kills = 0};

	(void)bole_flash_mem_get(*mem, key, &row);
	row.has = true;
	row.moved = false;
	row.place = place;
	row.stored = stored;
	row.type = type;
	return set(kind, mem, key, &row, NULL);
}

void bole_flash_mem_set_place(struct flash_table *mem, struct bole_bytes key, uint64_t place)
{
	const struct flash_item *item = bole_flash_table_find(mem, key);

	BOLE_ASSERT(item != NULL);
	/* The item was made for this draft and nobody else has seen it. */
	uint8_t *value = (uint8_t *)(uintptr_t)bole_flash_item_value(item).ptr;
	bole_flash_put_be40(value + MEM_PLACE_AT, place);
}

enum bole_status bole_flash_mem_kill(const struct flash_table_kind *kind, struct flash_table **mem,
                                     struct bole_bytes key, uint64_t place, uint8_t type)
{
	struct flash_mem_row row = {.kills = 0};
	uint8_t kill[MEM_KILL_BYTES];

	(void)bole_flash_mem_get(*mem, key, &row);
	bole_flash_put_be40(kill, place);
	kill[5] = type;
	return set(kind, mem, key, &row, kill);
}

enum bole_status bole_flash_mem_unput(const struct flash_table_kind *kind, struct flash_table **mem,
                                      struct bole_bytes key, uint64_t place)
{
	struct flash_mem_row row;

	if (!bole_flash_mem_get(*mem, key, &row) || !row.has || row.place != place)
		return BOLE_OK;
	row.has = false;
	row.moved = false;
	row.place = 0;
	row.stored = 0;
	row.type = 0;
	return set(kind, mem, key, &row, NULL);
}

enum bole_status bole_flash_mem_move(const struct flash_table_kind *kind, struct flash_table **mem,
                                     struct bole_bytes key, uint64_t from, uint64_t to,
                                     uint32_t stored, uint8_t type, uint32_t generation, bool older)
{
	struct flash_mem_row row = {.kills = 0};
	uint8_t kill[MEM_KILL_BYTES];

	(void)bole_flash_mem_get(*mem, key, &row);
	row.has = true;
	/* Moved twice before an anchor says so: a cut goes back to the first place. */
	if (!row.moved || row.generation != generation)
		row.from = from;
	row.moved = true;
	row.generation = generation;
	row.place = to;
	row.stored = stored;
	row.type = type;
	bole_flash_put_be40(kill, from);
	kill[5] = type;
	return set(kind, mem, key, &row, older ? kill : NULL);
}
