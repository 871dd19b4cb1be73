/* SPDX-License-Identifier: ISC */
/* The objects that are taken, in the order of the log, and which of them stay deltas. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "git/repack/repack.h"

enum { ITEMS_FIRST = 1024, SHORT_BYTES = 512, GOOD_PART = 4 };

struct bole_entry bole_repack_entry(const struct repack_item *item)
{
	return (struct bole_entry){
	        .extent = item->extent,
	        .offset = item->offset,
	        .stored_bytes = item->stored,
	        .type = item->type,
	};
}

static enum bole_status add(struct repack *r, const struct bole_oid *oid,
                            const struct bole_entry *entry)
{
	uint32_t number;
	bool added;

	BOLE_TRY(bole_oid_map_put(&r->map, oid->bytes, &number, &added));
	if (!added)
		return BOLE_E_CORRUPT;
	if (number > INT32_MAX)
		return BOLE_E_LIMIT;
	if (number == r->item_cap) {
		uint32_t cap = r->item_cap == 0 ? ITEMS_FIRST : r->item_cap * 2;
		void *items =
		        bole_alloc_resize(r->alloc, r->items, r->item_cap, cap, sizeof *r->items);

		if (items == NULL)
			return BOLE_E_NO_MEMORY;
		r->items = items;
		r->item_cap = cap;
	}
	r->items[number] = (struct repack_item){
	        .extent = entry->extent,
	        .offset = entry->offset,
	        .stored = entry->stored_bytes,
	        .type = entry->type,
	        .base = REPACK_NONE,
	        .was = REPACK_NONE,
	        .row = REPACK_NONE,
	};
	return BOLE_OK;
}

static enum bole_status gather(struct repack *r)
{
	struct bole_entry entry;
	struct bole_oid oid;
	uint64_t cursor = 0;
	enum bole_status rc;

	while ((rc = bole_odb_next(r->snapshot, &cursor, &oid, &entry)) == BOLE_OK) {
		bool record = !bole_repack_is_pack(r, entry.extent);

		BOLE_TRY(bole_repack_spend(r, 64));
		if (!record && !bole_repack_is_taken(r, entry.extent))
			continue;
		BOLE_TRY(add(r, &oid, &entry));
		r->result->records += record;
		if (record)
			r->result->bytes_before += entry.stored_bytes;
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

static enum bole_status read_head(struct repack *r, const struct bole_entry *entry,
                                  struct bole_entry_head *head)
{
	uint8_t start[BOLE_ENTRY_HEAD_MAX];
	struct bole_bytes shown;
	size_t len = 0;

	while (len < sizeof start && len < entry->stored_bytes) {
		BOLE_TRY(bole_odb_view(r->snapshot, entry, len, &shown));
		size_t n = shown.len < sizeof start - len ? shown.len : sizeof start - len;
		memcpy(start + len, shown.ptr, n);
		len += n;
	}
	return bole_entry_head_parse(bole_bytes_of(start, len), r->algo, head) == BOLE_OK
	               ? BOLE_OK
	               : BOLE_E_CORRUPT;
}

/* The item of a delta's base. What is at the base's offset may be a copy that no lookup returns:
 * the item of that id is as good. */
static enum bole_status base_of(struct repack *r, const struct bole_entry *entry,
                                const struct bole_entry_head *head, int32_t *base)
{
	struct bole_oid oid = head->base;
	struct bole_entry there;

	if (head->type == BOLE_ENTRY_OFS_DELTA) {
		if (head->base_distance > entry->offset)
			return BOLE_E_CORRUPT;
		BOLE_TRY(bole_odb_entry_at(r->snapshot, entry->extent,
		                           entry->offset - head->base_distance, &oid, &there));
	}
	uint32_t number = bole_oid_map_find(&r->map, oid.bytes);
	*base = number == BOLE_OID_NONE ? REPACK_NONE : (int32_t)number;
	return BOLE_OK;
}

/* Of a delta the object's length is known from its instructions alone. */
static enum bole_status measure(struct repack *r, uint32_t number)
{
	struct bole_oid oid;
	uint8_t type;

	bole_oid_from_raw(bole_oid_map_key(&r->map, number), r->algo, &oid);
	return bole_object_size(r->reader, &oid, &type, &r->items[number].size);
}

/* Not about as long as the object itself, deflated, would be. */
static bool is_good(const struct repack_item *item)
{
	return item->stored <= SHORT_BYTES || item->stored <= item->size / GOOD_PART;
}

static enum bole_status read_item(struct repack *r, uint32_t number)
{
	struct repack_item *item = &r->items[number];
	struct bole_entry entry = bole_repack_entry(item);
	struct bole_entry_head head;

	BOLE_TRY(read_head(r, &entry, &head));
	item->head_bytes = (uint8_t)head.head_bytes;
	item->payload = head.inflated_bytes;
	item->size = head.inflated_bytes;
	item->delta = head.type == BOLE_ENTRY_OFS_DELTA || head.type == BOLE_ENTRY_REF_DELTA;
	if (!item->delta)
		return item->type == head.type ? BOLE_OK : BOLE_E_CORRUPT;
	BOLE_TRY(measure(r, number));
	BOLE_TRY(base_of(r, &entry, &head, &item->was));
	if (!r->options.fresh && is_good(item))
		item->base = item->was;
	item->kept = item->base != REPACK_NONE;
	return BOLE_OK;
}

/* -- Chains -- */

enum { NEW, ON_PATH, SETTLED };

static void cut(struct repack_item *item)
{
	item->base = REPACK_NONE;
	item->kept = false;
	item->depth = 0;
}

/* Depths of an item and of all that it is based on. A chain that closes into a ring is cut where it
 * meets itself, one that is too long where it is as long as may be. path has room for all. */
static void settle(struct repack *r, uint32_t top, uint32_t *path)
{
	struct repack_item *items = r->items;
	uint32_t at = top;
	size_t n = 0;

	while (items[at].state == NEW) {
		items[at].state = ON_PATH;
		path[n++] = at;
		if (items[at].base == REPACK_NONE)
			break;
		at = (uint32_t)items[at].base;
	}
	if (n > 0 && items[path[n - 1]].base == (int32_t)at && items[at].state == ON_PATH)
		cut(&items[path[n - 1]]);
	while (n > 0) {
		struct repack_item *item = &items[path[--n]];

		item->state = SETTLED;
		if (item->base == REPACK_NONE)
			continue;
		if (items[item->base].depth >= r->options.depth)
			cut(item);
		else
			item->depth = (uint8_t)(items[item->base].depth + 1);
	}
}

static void raise_bases(struct repack *r, uint32_t number)
{
	struct repack_item *items = r->items;
	uint8_t height = items[number].height;

	for (int32_t at = items[number].base; at != REPACK_NONE; at = items[at].base) {
		height++;
		if (items[at].height >= height)
			return;
		items[at].height = height;
	}
}

static enum bole_status settle_all(struct repack *r)
{
	uint32_t count = r->map.count;
	uint32_t *path = bole_alloc_array(r->alloc, count, sizeof *path);

	if (path == NULL)
		return BOLE_E_NO_MEMORY;
	for (uint32_t i = 0; i < count; i++)
		settle(r, i, path);
	bole_alloc_free(r->alloc, path, count, sizeof *path);
	for (uint32_t i = 0; i < count; i++) {
		raise_bases(r, i);
		r->result->kept += r->items[i].kept;
	}
	return BOLE_OK;
}

void bole_repack_items_anew(struct repack *r)
{
	for (uint32_t i = 0; i < r->map.count; i++) {
		cut(&r->items[i]);
		r->items[i].height = 0;
	}
	r->result->kept = 0;
}

enum bole_status bole_repack_items(struct repack *r)
{
	bole_oid_map_init(&r->map, r->platform, r->alloc, r->algo, 0);
	bole_repack_phase(r, "reading", 0);
	BOLE_TRY(gather(r));
	if (r->map.count == 0)
		return BOLE_END;
	r->total = r->map.count;
	for (uint32_t i = 0; i < r->map.count; i++) {
		r->done = i;
		BOLE_TRY(read_item(r, i));
		BOLE_TRY(bole_repack_spend(r, 256));
	}
	BOLE_TRY(settle_all(r));
	r->result->objects = r->map.count;
	return BOLE_OK;
}

void bole_repack_items_release(struct repack *r)
{
	for (uint32_t i = 0; r->items != NULL && i < r->map.count; i++)
		bole_alloc_free(r->alloc, r->items[i].deflated, r->items[i].deflated_len, 1);
	bole_alloc_free(r->alloc, r->items, r->item_cap, sizeof *r->items);
	bole_oid_map_release(&r->map);
	r->items = NULL;
	r->item_cap = 0;
}
