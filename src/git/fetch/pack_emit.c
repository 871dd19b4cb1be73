/* SPDX-License-Identifier: ISC */
/* A plan as a pack stream. Entries go out as they are stored; only the head of a delta may change,
 * when its base lies elsewhere in this pack or is not in it. A delta whose base the receiver will
 * not have is sent as a whole object. */
#include "git/fetch/pack_emit.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/deflate.h"
#include "base/hash.h"
#include "base/memory.h"
#include "bole/limits.h"
#include "git/fetch/pack_emit_impl.h"
#include "git/fetch/reach.h"

enum {
	OUTPUT_BYTES = 16 * 1024, /* what is longer goes on as it lies, uncopied */
	DEFLATE_LEVEL = 1,
	DEFLATE_STEP_BYTES = 32 * 1024,
	HEADER_BYTES = 12,
	BASES_MAX = 64, /* of a chain that are written early; a longer one names its base by id */
};

static enum bole_status hashing_write(struct bole_writer *self, const void *src, size_t len)
{
	struct hashing_writer *writer = (struct hashing_writer *)self;

	if (!writer->idle)
		bole_hash_update(&writer->hash, src, len);
	return writer->next->write(writer->next, src, len);
}

static enum bole_status hashing_flush(struct bole_writer *self)
{
	struct hashing_writer *writer = (struct hashing_writer *)self;

	return writer->next->flush(writer->next);
}

/* -- Where a base is -- */

/* -1, 0, 1: the chosen item with this number lies before, at or behind a place. */
static int compare_place(const struct bole_pack_plan *plan, size_t number, uint64_t extent,
                         uint64_t offset)
{
	const struct reach_value *value = reach_value(plan, plan->order[number]);
	uint64_t e = reach_get64(value->extent), o = reach_get64(value->offset);

	if (e != extent)
		return e < extent ? -1 : 1;
	return o == offset ? 0 : o < offset ? -1 : 1;
}

/* The item chosen before number `from` that lies at a place, or BOLE_OID_NONE. Bases tend to be
 * near, so the search goes back in growing steps. */
static uint32_t chosen_at(const struct bole_pack_plan *plan, size_t from, uint64_t extent,
                          uint64_t offset)
{
	size_t low = 0, high = from;

	for (size_t step = 8; step < high; step *= 4) {
		int order = compare_place(plan, high - step, extent, offset);

		if (order <= 0) {
			low = high - step;
			break;
		}
		high -= step;
	}
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare_place(plan, middle, extent, offset);

		if (order == 0)
			return plan->order[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return BOLE_OID_NONE;
}

/* The item of a delta's base, or BOLE_OID_NONE when the walk has not met it. The entry at an offset
 * may be a copy; its id may be sent from another place, so what counts is the item. */
static enum bole_status base_item(struct emission *em, const struct bole_entry *entry,
                                  const struct bole_entry_head *head, uint32_t *item,
                                  struct bole_bytes *shown)
{
	struct bole_pack_plan *plan = em->plan;
	struct bole_oid oid = head->base;
	struct bole_entry base;

	if (head->type == BOLE_ENTRY_OFS_DELTA) {
		if (head->base_distance > entry->offset)
			return BOLE_E_CORRUPT;
		uint64_t offset = entry->offset - head->base_distance;

		*item = chosen_at(plan, (size_t)plan->done, entry->extent, offset);
		if (*item != BOLE_OID_NONE)
			return BOLE_OK;
		*shown = (struct bole_bytes){0}; /* the call ends what was borrowed */
		BOLE_TRY(bole_odb_entry_at(plan->job.snapshot, entry->extent, offset, &oid, &base));
	}
	*item = bole_oid_map_find(&plan->map, oid.bytes);
	return BOLE_OK;
}

/* Rewrites the head of a delta for this pack. False: the receiver will not have the base. */
static bool place_base(struct emission *em, uint32_t base, struct bole_entry_head *head)
{
	const struct bole_pack_plan *plan = em->plan;

	if (base == BOLE_OID_NONE)
		return false;
	const struct reach_value *value = reach_value(plan, base);
	bool have = (value->flags & REACH_HAVE) != 0;

	if (have && (!plan->job.thin || bole_filter_may_drop(&plan->filter, value->type)))
		return false;
	if (!have && (value->flags & REACH_SEND) == 0)
		return false;
	uint64_t emitted = reach_get64(value->emitted);

	if (emitted != 0 && plan->job.ofs_delta) {
		head->type = BOLE_ENTRY_OFS_DELTA;
		head->base_distance = em->out.written - emitted;
		return true;
	}
	head->type = BOLE_ENTRY_REF_DELTA;
	bole_oid_from_raw(bole_oid_map_key(&plan->map, base), plan->algo, &head->base);
	return true;
}

/* -- Entries -- */

void bole_emit_head(struct emission *em, const struct bole_entry_head *head)
{
	uint8_t bytes[BOLE_ENTRY_HEAD_MAX];

	bole_output_write(&em->out, bytes, bole_entry_head_format(head, em->plan->algo, bytes));
}

enum bole_status bole_emit_rest(struct emission *em, const struct bole_entry *entry, uint64_t pos)
{
	struct bole_bytes shown;

	while (pos < entry->stored_bytes) {
		BOLE_TRY(bole_odb_view(em->plan->job.snapshot, entry, pos, &shown));
		bole_output_write(&em->out, shown.ptr, shown.len);
		pos += shown.len;
		BOLE_TRY(em->out.rc);
		BOLE_TRY(bole_reach_spend(em->plan, shown.len / 4));
	}
	return BOLE_OK;
}

enum bole_status bole_emit_open_deflater(struct emission *em)
{
	if (em->deflater == NULL)
		BOLE_TRY(bole_deflater_open(em->plan->job.alloc, DEFLATE_LEVEL, &em->deflater));
	if (em->deflated == NULL)
		em->deflated = bole_alloc_array(em->plan->job.alloc, DEFLATE_STEP_BYTES, 1);
	return em->deflated != NULL ? BOLE_OK : BOLE_E_NO_MEMORY;
}

enum bole_status bole_emit_whole(struct emission *em, const struct bole_entry *entry)
{
	struct bole_entry_head head = {.type = entry->type};
	enum bole_status rc = BOLE_OK;
	struct bole_bytes content;
	size_t done = 0;

	BOLE_TRY(bole_emit_open_deflater(em));
	BOLE_TRY(bole_object_read_entry(em->reader, entry, &content));
	head.inflated_bytes = content.len;
	bole_emit_head(em, &head);
	if (bole_deflate_bound(content.len) <= DEFLATE_STEP_BYTES) {
		size_t len =
		        bole_deflate_whole(em->deflater, content, em->deflated, DEFLATE_STEP_BYTES);

		if (len == 0)
			return BOLE_E_NO_MEMORY;
		bole_output_write(&em->out, em->deflated, len);
		return bole_reach_spend(em->plan, content.len * 4);
	}
	bole_deflate_begin(em->deflater);
	while (rc == BOLE_OK) {
		size_t in_len = content.len - done;
		size_t out_len = DEFLATE_STEP_BYTES;
		bool last = in_len <= DEFLATE_STEP_BYTES;

		if (!last)
			in_len = DEFLATE_STEP_BYTES;
		rc = bole_deflate_step(em->deflater, content.ptr + done, &in_len, em->deflated,
		                       &out_len, last);
		if (rc < 0)
			return rc;
		done += in_len;
		bole_output_write(&em->out, em->deflated, out_len);
		BOLE_TRY(bole_reach_spend(em->plan, in_len * 4));
	}
	return BOLE_OK;
}

enum bole_status bole_emit_read_head(struct emission *em, const struct bole_entry *entry,
                                     struct bole_entry_head *head, struct bole_bytes *all)
{
	struct bole_snapshot *snapshot = em->plan->job.snapshot;
	uint8_t start[BOLE_ENTRY_HEAD_MAX];
	struct bole_bytes shown;
	size_t len = 0;

	*all = (struct bole_bytes){0};
	BOLE_TRY(bole_odb_view(snapshot, entry, 0, &shown));
	if (shown.len == entry->stored_bytes) {
		*all = shown;
	} else {
		while (len < sizeof(start) && len < entry->stored_bytes) {
			size_t part = sizeof(start) - len;

			BOLE_TRY(bole_odb_view(snapshot, entry, len, &shown));
			part = shown.len < part ? shown.len : part;
			memcpy(start + len, shown.ptr, part);
			len += part;
		}
		shown = bole_bytes_of(start, len);
	}
	return bole_entry_head_parse(shown, em->plan->algo, head) == BOLE_OK ? BOLE_OK
	                                                                     : BOLE_E_CORRUPT;
}

static bool is_delta(const struct bole_entry_head *head)
{
	return head->type == BOLE_ENTRY_OFS_DELTA || head->type == BOLE_ENTRY_REF_DELTA;
}

/* Sent, and not yet written. */
static bool is_later(const struct bole_pack_plan *plan, uint32_t item)
{
	if (item == BOLE_OID_NONE)
		return false;
	const struct reach_value *value = reach_value(plan, item);

	return (value->flags & (REACH_SEND | REACH_HAVE)) == REACH_SEND &&
	       reach_get64(value->emitted) == 0;
}

/* An entry that is about to be written. */
struct coming {
	struct bole_entry entry;
	struct bole_entry_head head;
	struct bole_bytes all; /* borrowed, or empty */
	uint32_t base;         /* BOLE_OID_NONE: it is no delta, or of something that nobody met */
};

static enum bole_status look(struct emission *em, uint32_t item, struct coming *c)
{
	c->base = BOLE_OID_NONE;
	bole_reach_entry(em->plan, item, &c->entry);
	BOLE_TRY(bole_emit_read_head(em, &c->entry, &c->head, &c->all));
	if (!is_delta(&c->head))
		return BOLE_OK;
	return base_item(em, &c->entry, &c->head, &c->base, &c->all);
}

static enum bole_status write_coming(struct emission *em, uint32_t item, struct coming *c)
{
	struct bole_pack_plan *plan = em->plan;
	uint64_t start = em->out.written;
	size_t skip = 0;

	if (plan->job.placed != NULL) {
		struct bole_oid oid;

		bole_oid_from_raw(bole_oid_map_key(&plan->map, item), plan->algo, &oid);
		plan->job.placed(plan->job.placed_ctx, &oid, start);
	}
	if (is_delta(&c->head)) {
		skip = c->head.head_bytes;
		if (!place_base(em, c->base, &c->head)) {
			BOLE_TRY(bole_emit_whole(em, &c->entry));
			reach_set64(reach_value(plan, item)->emitted, start);
			return em->out.rc;
		}
		bole_emit_head(em, &c->head);
	}
	if (c->all.len != 0) {
		bole_output_write(&em->out, c->all.ptr + skip, c->all.len - skip);
		BOLE_TRY(bole_reach_spend(plan, c->all.len / 4));
	} else {
		BOLE_TRY(bole_emit_rest(em, &c->entry, skip));
	}
	reach_set64(reach_value(plan, item)->emitted, start);
	return em->out.rc;
}

/* Writes the base of a delta, and before it what that is a delta of, and so on: Git reads bases in
 * any order, but not every client does. */
static enum bole_status write_early(struct emission *em, uint32_t base)
{
	uint32_t chain[BASES_MAX];
	struct coming c = {.base = base};
	size_t n = 0;

	while (n < BASES_MAX && is_later(em->plan, c.base)) {
		chain[n++] = c.base;
		BOLE_TRY(look(em, c.base, &c));
	}
	while (n-- > 0) {
		if (!is_later(em->plan, chain[n]))
			continue;
		BOLE_TRY(look(em, chain[n], &c));
		BOLE_TRY(write_coming(em, chain[n], &c));
	}
	return BOLE_OK;
}

static enum bole_status write_entry(struct emission *em, uint32_t item)
{
	struct coming c;

	if (!is_later(em->plan, item))
		return BOLE_OK;
	BOLE_TRY(look(em, item, &c));
	if (is_later(em->plan, c.base)) {
		BOLE_TRY(write_early(em, c.base));
		/* Only a chain that closes into a ring leads to itself. */
		if (!is_later(em->plan, item))
			return BOLE_E_CORRUPT;
		c.all.len = 0;
	}
	return write_coming(em, item, &c);
}

/* -- The pack -- */

static enum bole_status write_pack(struct emission *em)
{
	struct bole_pack_plan *plan = em->plan;
	uint8_t header[HEADER_BYTES] = {'P', 'A', 'C', 'K', 0, 0, 0, 2};
	struct bole_writer *next = em->hashing.next;
	struct bole_oid sum;

	uint64_t count = bole_pack_plan_objects(plan);

	if (count > UINT32_MAX)
		return BOLE_E_LIMIT;
	uint64_t extent = plan->pick == NULL ? 0 : bole_emit_pick_extent(plan->pick);

	em->hashing.idle = extent != 0 && bole_bitmap_sum(plan->pick->bitmap, extent) != NULL;
	bole_put_be32(header + 8, (uint32_t)count);
	bole_output_write(&em->out, header, sizeof(header));
	plan->phase = "Writing objects";
	plan->total = count;
	if (plan->pick != NULL)
		BOLE_TRY(bole_emit_pick(em, plan->pick));
	for (size_t i = 0; i < plan->order_count; i++) {
		plan->done = i;
		BOLE_TRY(write_entry(em, plan->order[i]));
	}
	plan->done = plan->total;
	BOLE_TRY(bole_output_flush(&em->out));
	if (em->hashing.idle)
		bole_oid_from_raw(bole_bitmap_sum(plan->pick->bitmap, extent), plan->algo, &sum);
	else
		bole_hash_final(&em->hashing.hash, &sum);
	/* Only now it may be known that the extent went out as it is. */
	if (plan->pick != NULL && !em->hashing.idle) {
		extent = bole_emit_pick_extent(plan->pick);
		if (extent != 0)
			bole_bitmap_set_sum(plan->pick->bitmap, extent, &sum);
	}
	BOLE_TRY(next->write(next, sum.bytes, bole_hash_bytes(plan->algo)));
	return next->flush(next);
}

enum bole_status bole_pack_emit(struct bole_pack_plan *plan, struct bole_writer *writer)
{
	struct emission em = {.plan = plan, .reader = plan->reader};

	struct bole_alloc *alloc = plan->job.alloc;

	em.hashing.writer = (struct bole_writer){.write = hashing_write, .flush = hashing_flush};
	em.hashing.next = writer;
	bole_hash_init(&em.hashing.hash, plan->algo);
	em.buffer = bole_alloc_array(alloc, OUTPUT_BYTES, 1);
	if (em.buffer == NULL)
		return BOLE_E_NO_MEMORY;
	bole_output_init(&em.out, &em.hashing.writer, em.buffer, OUTPUT_BYTES);
	enum bole_status rc = write_pack(&em);

	bole_deflater_close(em.deflater);
	bole_alloc_free(alloc, em.deflated, DEFLATE_STEP_BYTES, 1);
	bole_alloc_free(alloc, em.buffer, OUTPUT_BYTES, 1);
	return rc;
}
