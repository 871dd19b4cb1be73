/* SPDX-License-Identifier: ISC */
/* The delta phase: every delta is resolved once, from its base downwards.
 *
 * A family is a tree: an object that is whole (in the pack) or stored already (a thin pack's base),
 * and all deltas on it, on those, and so on. It is walked depth first with a stack of frames. A
 * frame keeps its content while children wait for it; when the contents outgrow their share of
 * memory, the one nearest to the root gives way and is inflated again if it is needed. The child
 * with the largest family comes last, after which its base is not needed any more: so a long
 * chain, however it branches, keeps few contents.
 *
 * Blobs go first and commits last, so that what trees and commits name is mostly known by then.
 *
 * Nothing here can run in a circle: an object is known only after its base, lookups find the first
 * known copy, and stores find the oldest. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/delta.h"
#include "git/pack/intake.h"

enum {
	FRAMES_FIRST = 64,
	HELD_BYTES_MIN = 256 * 1024,
	/* Of memory, for each delta that is left: the table of ids that are known and, unless they
	 * are blobs, the set of links may grow. */
	KNOWN_RESERVE_BYTES = 20,
	NEED_RESERVE_BYTES = 28,
	OUTSIDE_CACHE_BYTES = 1 << 20,
	REBUILT_FREE = 256 << 20,
	HASH_SLICE = 64 * 1024,
};

struct intake_frame {
	uint32_t row;   /* BOLE_OID_NONE: the base outside the pack */
	uint32_t next;  /* child to resolve next */
	uint32_t heavy; /* the last child */
	uint32_t depth; /* deltas below this object, in the pack and outside */
	uint32_t by_id; /* the same for who names it by id; BOLE_OID_NONE = not looked up yet */
	bool loaded;
	uint8_t *bytes;
	size_t len;
};

/* -- Contents -- */

static void frame_unload(struct intake *it, struct intake_frame *frame)
{
	if (!frame->loaded)
		return;
	bole_intake_content_free(it, frame->bytes, frame->len);
	frame->bytes = NULL;
	frame->loaded = false;
}

enum bole_status bole_intake_content(struct intake *it, uint64_t len, size_t keep, uint8_t **out)
{
	*out = bole_intake_content_try(it, len);
	if (*out != NULL)
		return BOLE_OK;
	/* What only waits for its id; then frames. Others may have taken what this ingestion was
	 * promised. */
	BOLE_TRY(bole_intake_flush(it));
	for (size_t gone = 0; gone <= keep; gone++) {
		*out = bole_intake_content_try(it, len);
		if (*out != NULL)
			return BOLE_OK;
		if (gone < keep)
			frame_unload(it, &it->frames[gone]);
	}
	if (len <= it->held_max && it->held <= it->held_max - (size_t)len)
		return BOLE_E_NO_MEMORY;
	return bole_intake_fail(it, BOLE_E_LIMIT,
	                        "resolving a delta of %llu bytes needs more than the %zu bytes "
	                        "of memory left",
	                        (unsigned long long)len, it->held_max);
}

/* -- Entries of the pack -- */

enum bole_status bole_intake_head(struct intake *it, uint32_t row, struct bole_entry_head *head)
{
	const struct bole_extent_row *r = &it->rows[row];
	size_t len = r->stored_bytes < BOLE_ENTRY_HEAD_MAX ? (size_t)r->stored_bytes
	                                                   : BOLE_ENTRY_HEAD_MAX;
	struct bole_bytes shown;

	BOLE_TRY(bole_pack_source_view(&it->source, r->offset, len, &shown));
	if (bole_entry_head_parse(shown, it->algo, head) != BOLE_OK)
		return bole_intake_fail(it, BOLE_E_IO, "the store gave back other bytes");
	return BOLE_OK;
}

static enum bole_status changed(struct intake *it)
{
	return bole_intake_fail(it, BOLE_E_IO, "the store gave back other bytes than it was given");
}

/* Inflates the entry of a row, of which the first pass has seen that it is head->inflated_bytes
 * long, into dst. */
static enum bole_status entry_inflate(struct intake *it, uint32_t row,
                                      const struct bole_entry_head *head, uint8_t *dst)
{
	uint64_t at = it->rows[row].offset + head->head_bytes;
	uint64_t rest = it->rows[row].stored_bytes - head->head_bytes;
	size_t size = (size_t)head->inflated_bytes;
	struct bole_bytes shown;
	size_t done = 0, used;

	if (rest <= PACK_SOURCE_CHUNK_BYTES && size <= INTAKE_SCRATCH_BYTES) {
		BOLE_TRY(bole_pack_source_view(&it->source, at, (size_t)rest, &shown));
		if (bole_inflate_whole(it->inflater, shown, dst, size, &used) == BOLE_OK)
			return BOLE_OK;
	}
	bole_inflate_begin(it->inflater);
	while (rest > 0) {
		uint64_t edge = PACK_SOURCE_CHUNK_BYTES - at % PACK_SOURCE_CHUNK_BYTES;
		size_t in_len = (size_t)(rest < edge ? rest : edge);
		/* A spare byte of room (bole_intake_content) lets the codec see its end. */
		size_t out_len = size + 1 - done;

		if (out_len > HASH_SLICE)
			out_len = HASH_SLICE;
		BOLE_TRY(bole_pack_source_view(&it->source, at, in_len, &shown));
		enum bole_status rc =
		        bole_inflate_step(it->inflater, shown.ptr, &in_len, dst + done, &out_len);

		at += in_len;
		rest -= in_len;
		done += out_len;
		if (rc == BOLE_END)
			return done == size ? BOLE_OK : changed(it);
		if (rc == BOLE_E_NO_MEMORY)
			return rc;
		if (rc != BOLE_OK || (in_len == 0 && out_len == 0))
			return changed(it);
		BOLE_TRY(bole_intake_spend(it, in_len + out_len));
	}
	return changed(it);
}

/* Applies the delta of row to base. *out is new content. */
static enum bole_status apply_delta(struct intake *it, uint32_t row, struct bole_bytes base,
                                    size_t keep, struct bole_bytes *out)
{
	struct bole_entry_head head;
	uint64_t base_len, result_len = 0;
	uint8_t *delta = it->scratch;
	uint8_t *result = NULL;

	BOLE_TRY(bole_intake_head(it, row, &head));
	size_t size = (size_t)head.inflated_bytes;
	bool own = head.inflated_bytes >= INTAKE_SCRATCH_BYTES;

	if (own)
		BOLE_TRY(bole_intake_content(it, head.inflated_bytes, keep, &delta));
	enum bole_status rc = entry_inflate(it, row, &head, delta);

	if (rc == BOLE_OK)
		rc = bole_delta_sizes(bole_bytes_of(delta, size), &base_len, &result_len);
	if (rc == BOLE_OK && base_len != base.len)
		rc = BOLE_E_INVALID;
	if (rc == BOLE_OK)
		rc = bole_intake_content(it, result_len, keep, &result);
	if (rc == BOLE_OK)
		rc = bole_delta_apply(base, bole_bytes_of(delta, size), result, (size_t)result_len);
	if (own)
		bole_intake_content_free(it, delta, size);
	if (rc != BOLE_OK && result != NULL)
		bole_intake_content_free(it, result, (size_t)result_len);
	if (rc == BOLE_E_INVALID)
		return bole_intake_fail(it, rc, "the delta at offset %llu does not fit its base",
		                        (unsigned long long)it->rows[row].offset);
	*out = bole_bytes_of(result, (size_t)result_len);
	return rc;
}

/* -- Frames -- */

static enum bole_status load_outside(struct intake *it, struct intake_frame *frame)
{
	struct bole_bytes shown;

	BOLE_TRY(bole_object_read(it->reader, &it->outside, NULL, &shown));
	BOLE_TRY(bole_intake_content(it, shown.len, 0, &frame->bytes));
	if (shown.len > 0)
		memcpy(frame->bytes, shown.ptr, shown.len);
	frame->len = shown.len;
	frame->loaded = true;
	return BOLE_OK;
}

static enum bole_status load_root(struct intake *it, struct intake_frame *frame)
{
	struct bole_entry_head head;

	if (frame->row == BOLE_OID_NONE)
		return load_outside(it, frame);
	BOLE_TRY(bole_intake_head(it, frame->row, &head));
	BOLE_TRY(bole_intake_content(it, head.inflated_bytes, 0, &frame->bytes));
	frame->len = (size_t)head.inflated_bytes;
	frame->loaded = true;
	BOLE_TRY(bole_intake_spend(it, frame->len));
	return entry_inflate(it, frame->row, &head, frame->bytes);
}

static bool has_children_left(const struct intake_frame *frame)
{
	return frame->next != BOLE_OID_NONE || frame->heavy != BOLE_OID_NONE;
}

enum bole_status bole_intake_rebuilt(struct intake *it, uint64_t bytes)
{
	it->rebuilt += bytes;
	if (it->rebuilt <= it->report->inflated_bytes + REBUILT_FREE)
		return BOLE_OK;
	return bole_intake_fail(it, BOLE_E_LIMIT,
	                        "the delta chains need more memory to be resolved");
}

/* Content that gave way is made again from the nearest frame above that has its own. */
static enum bole_status frame_load(struct intake *it, size_t which)
{
	size_t from = which;
	struct bole_bytes content;

	while (from > 0 && !it->frames[from].loaded)
		from--;
	if (!it->frames[from].loaded)
		BOLE_TRY(load_root(it, &it->frames[from]));
	for (; from < which; from++) {
		struct intake_frame *base = &it->frames[from];
		struct intake_frame *frame = &it->frames[from + 1];

		BOLE_TRY(apply_delta(it, frame->row, bole_bytes_of(base->bytes, base->len), from,
		                     &content));
		memcpy(&frame->bytes, &content.ptr, sizeof(frame->bytes));
		frame->len = content.len;
		frame->loaded = true;
		if (!has_children_left(base))
			frame_unload(it, base);
		BOLE_TRY(bole_intake_rebuilt(it, content.len));
		BOLE_TRY(bole_intake_spend(it, content.len));
	}
	return BOLE_OK;
}

static enum bole_status frame_push(struct intake *it, uint32_t row, uint32_t first, uint32_t depth,
                                   struct bole_bytes content, bool loaded)
{
	if (it->frame_count == it->frame_cap) {
		size_t cap = it->frame_cap == 0 ? FRAMES_FIRST : it->frame_cap * 2;
		struct intake_frame *frames = bole_alloc_resize(
		        it->alloc, it->frames, it->frame_cap, cap, sizeof(*frames));
		if (frames == NULL)
			return BOLE_E_NO_MEMORY;
		it->frames = frames;
		it->frame_cap = cap;
	}
	struct intake_frame *frame = &it->frames[it->frame_count++];

	*frame = (struct intake_frame){.row = row, .heavy = first, .loaded = loaded};
	frame->depth = depth;
	frame->by_id = BOLE_OID_NONE;
	frame->next = it->link[first];
	memcpy(&frame->bytes, &content.ptr, sizeof(frame->bytes));
	frame->len = content.len;
	return BOLE_OK;
}

static uint32_t frame_child(struct intake *it, struct intake_frame *frame)
{
	uint32_t child = frame->next;

	if (child != BOLE_OID_NONE) {
		frame->next = it->link[child];
		return child;
	}
	child = frame->heavy;
	frame->heavy = BOLE_OID_NONE;
	return child;
}

/* -- Depth -- */

/* How many deltas an object of the domain stands on. */
static enum bole_status outside_depth(struct intake *it, struct bole_entry entry, uint32_t *depth)
{
	struct bole_snapshot *view = it->job->tx->view;
	struct bole_entry_head head;
	struct bole_bytes shown;
	struct bole_oid oid;

	for (*depth = 0; *depth <= it->limits.delta_depth_max; ++*depth) {
		uint8_t start[BOLE_ENTRY_HEAD_MAX];
		size_t len = 0;

		while (len < sizeof(start) && len < entry.stored_bytes) {
			BOLE_TRY(bole_odb_view(view, &entry, len, &shown));
			size_t part = sizeof(start) - len;

			part = shown.len < part ? shown.len : part;
			memcpy(start + len, shown.ptr, part);
			len += part;
		}
		if (bole_entry_head_parse(bole_bytes_of(start, len), it->algo, &head) != BOLE_OK)
			return BOLE_E_CORRUPT;
		BOLE_TRY(bole_intake_spend(it, len));
		if (head.type == BOLE_ENTRY_REF_DELTA)
			BOLE_TRY(bole_odb_find(view, &head.base, &entry));
		else if (head.type == BOLE_ENTRY_OFS_DELTA)
			BOLE_TRY(bole_odb_entry_at(view, entry.extent,
			                           entry.offset - head.base_distance, &oid,
			                           &entry));
		else
			return BOLE_OK;
	}
	return BOLE_OK; /* the caller sees that it is too deep */
}

/* The depth of a child of a frame. Readers find the oldest entry of an id, which may lie outside
 * the pack on a longer chain than the copy in it. */
static enum bole_status child_depth(struct intake *it, struct intake_frame *frame, uint32_t child,
                                    uint32_t *depth)
{
	bool by_id = it->rows[child].type == BOLE_ENTRY_REF_DELTA || !it->source.in_extent;
	struct bole_entry entry;

	if (by_id && frame->by_id == BOLE_OID_NONE) {
		frame->by_id = frame->depth;
		enum bole_status rc = BOLE_E_NOT_FOUND;

		BOLE_TRY(bole_intake_flush(it));
		if (frame->row != BOLE_OID_NONE)
			rc = bole_odb_find(it->job->tx->view, &it->rows[frame->row].oid, &entry);
		if (rc == BOLE_OK)
			rc = outside_depth(it, entry, &frame->by_id);
		if (rc != BOLE_OK && rc != BOLE_E_NOT_FOUND)
			return rc;
		if (frame->by_id < frame->depth)
			frame->by_id = frame->depth;
	}
	*depth = (by_id ? frame->by_id : frame->depth) + 1;
	if (*depth > it->limits.delta_depth_max)
		return bole_intake_fail(it, BOLE_E_LIMIT, "a delta chain is longer than %lu",
		                        (unsigned long)it->limits.delta_depth_max);
	return BOLE_OK;
}

/* -- Families -- */

/* The id deltas that waited for this object become children of its row, behind the first. */
static void adopt_waiting(struct intake *it, uint32_t row)
{
	const uint8_t *key = it->rows[row].oid.bytes;
	uint32_t head = bole_oid_index_find(&it->waiting, key);

	if (head == BOLE_OID_NONE || (it->rows[row].type & INTAKE_DUPLICATE) != 0)
		return;
	bole_oid_index_remove(&it->waiting, key);
	uint32_t first = it->first_child[row];

	if (first == BOLE_OID_NONE) {
		it->first_child[row] = head;
		return;
	}
	uint32_t tail = head;

	while (it->link[tail] != BOLE_OID_NONE)
		tail = it->link[tail];
	it->link[tail] = it->link[first];
	it->link[first] = head;
}

enum bole_status bole_intake_resolved(struct intake *it, const struct intake_object *o)
{
	uint32_t row = o->row;
	bool by_offset = it->rows[row].type == BOLE_ENTRY_OFS_DELTA;

	BOLE_TRY(bole_intake_known(it, o));
	/* The row of the copy will be dropped (store.c), and this delta needs it. */
	if (by_offset && it->source.in_extent && (it->rows[o->base].type & INTAKE_DUPLICATE) != 0 &&
	    (it->rows[row].type & INTAKE_DUPLICATE) == 0)
		return bole_intake_fail(
		        it, BOLE_E_INVALID,
		        "the delta at offset %llu is based on a second copy of an object",
		        (unsigned long long)it->rows[row].offset);
	it->resolved++;
	adopt_waiting(it, row);
	return BOLE_OK;
}

static bool is_whole(const struct intake *it, uint32_t row)
{
	return row == BOLE_OID_NONE || (it->rows[row].type & INTAKE_DELTA) == 0 ||
	       (it->rows[row].type & INTAKE_WHOLE) != 0;
}

/* A delta that does not fit memory, or whose base was one: its entry is not where the delta says.
 */
static enum bole_status resolve_big(struct intake *it, size_t which, uint32_t child, uint8_t type)
{
	struct bole_bytes none = {0};
	struct intake_object object = {.row = child, .base = BOLE_OID_NONE, .type = type};

	BOLE_TRY(bole_intake_flush(it));
	if (!is_whole(it, it->frames[which].row))
		BOLE_TRY(frame_load(it, which));
	struct intake_frame *frame = &it->frames[which];
	struct intake_big big = {.row = child,
	                         .type = type,
	                         .base = frame->row,
	                         .content = frame->loaded ? frame->bytes : NULL,
	                         .content_len = frame->len,
	                         .keep = which};

	BOLE_TRY(bole_intake_big(it, &big, &object.oid));
	if (!has_children_left(frame))
		frame_unload(it, frame);
	BOLE_TRY(bole_intake_known(it, &object));
	it->rows[child].type |= INTAKE_WHOLE;
	it->resolved++;
	adopt_waiting(it, child);
	uint32_t first = it->first_child[child];

	return first == BOLE_OID_NONE ? BOLE_OK : frame_push(it, child, first, 0, none, false);
}

/* Takes a child that was made ahead. Its content stays with who made it: should deltas below it not
 * be there, it is made again. */
static enum bole_status resolve_made(struct intake *it, size_t which, uint32_t child, uint8_t type,
                                     uint32_t depth, const struct ahead_row *made)
{
	struct intake_frame *frame = &it->frames[which];
	struct bole_bytes none = {0};

	if (!has_children_left(frame))
		frame_unload(it, frame);
	BOLE_TRY(bole_intake_flush(it));
	struct intake_object object = {
	        .row = child, .base = frame->row, .type = type, .oid = made->oid};

	if (type != BOLE_OBJECT_BLOB)
		object.content = bole_bytes_of(made->bytes, made->size);
	if (type == BOLE_OBJECT_TREE)
		object.changes = &made->changes;
	BOLE_TRY(bole_intake_resolved(it, &object));
	BOLE_TRY(bole_intake_spend(it, type == BOLE_OBJECT_BLOB ? 0 : made->size));
	bole_ahead_done(it->ahead);
	uint32_t first = it->first_child[child];

	return first == BOLE_OID_NONE ? BOLE_OK : frame_push(it, child, first, depth, none, false);
}

/* The object of a child is made. It may wait for its id where nothing depends on that. */
static enum bole_status resolve_content(struct intake *it, const struct intake_waiting *waiting,
                                        uint32_t depth)
{
	uint32_t child = waiting->row;
	struct bole_bytes content = bole_bytes_of(waiting->bytes, waiting->len);

	bole_intake_content_hold(waiting->bytes);
	enum bole_status rc = bole_intake_put(it, waiting);

	/* Id deltas may be on it; and what is planned ahead looks at the rows. */
	if (rc == BOLE_OK && (it->waiting.used > 0 || it->ahead != NULL))
		rc = bole_intake_flush(it);
	uint32_t first = it->first_child[child];

	if (rc == BOLE_OK && first != BOLE_OID_NONE)
		rc = frame_push(it, child, first, depth, content, true);
	else
		first = BOLE_OID_NONE;
	if (rc != BOLE_OK || first == BOLE_OID_NONE)
		bole_intake_content_free(it, waiting->bytes, waiting->len);
	return rc;
}

static enum bole_status resolve_child(struct intake *it, size_t which, uint32_t child, uint8_t type)
{
	const struct ahead_row *made = NULL;
	uint32_t base_row = it->frames[which].row;
	bool big = base_row != BOLE_OID_NONE && (it->rows[base_row].type & INTAKE_WHOLE) != 0;
	struct bole_bytes content;
	uint32_t depth;

	BOLE_TRY(child_depth(it, &it->frames[which], child, &depth));
	if (it->ahead != NULL)
		BOLE_TRY(bole_ahead_take(it->ahead, child, &made));
	if (made != NULL)
		return resolve_made(it, which, child, type, depth, made);
	if (!big && it->delta_need > it->held_max)
		BOLE_TRY(bole_intake_is_big(it, child, &big));
	if (big)
		return resolve_big(it, which, child, type);
	BOLE_TRY(frame_load(it, which));
	struct intake_frame *frame = &it->frames[which];
	struct intake_waiting waiting = {.row = child, .base = frame->row, .type = type};

	BOLE_TRY(apply_delta(it, child, bole_bytes_of(frame->bytes, frame->len), which, &content));
	waiting.changes.count = 0;
	if (type == BOLE_OBJECT_TREE)
		bole_intake_changes(it->algo, bole_bytes_of(frame->bytes, frame->len), content,
		                    &waiting.changes);
	if (!has_children_left(frame))
		frame_unload(it, frame);
	memcpy(&waiting.bytes, &content.ptr, sizeof waiting.bytes);
	waiting.len = content.len;
	return resolve_content(it, &waiting, depth);
}

/* Resolves everything that descends from a base: row (BOLE_OID_NONE: it->outside), whose list of
 * children begins with first. */
static enum bole_status resolve_family(struct intake *it, uint32_t row, uint32_t first,
                                       uint8_t type, uint32_t depth)
{
	struct bole_bytes none = {0};

	BOLE_ASSERT(it->frame_count == 0);
	BOLE_TRY(frame_push(it, row, first, depth, none, false));
	while (it->frame_count > 0) {
		size_t top = it->frame_count - 1;
		uint32_t child = frame_child(it, &it->frames[top]);

		if (child == BOLE_OID_NONE) {
			frame_unload(it, &it->frames[top]);
			it->frame_count--;
			continue;
		}
		BOLE_TRY(resolve_child(it, top, child, type));
	}
	return it->waiting.used > 0 ? bole_intake_flush(it) : BOLE_OK;
}

/* -- Order -- */

/* Lists children by base. The one with the largest family is the head of its list. */
static enum bole_status link_children(struct intake *it)
{
	uint32_t n = it->row_count;
	uint32_t *weight = bole_alloc_zeroed(it->alloc, n, sizeof(*weight));
	enum bole_status rc = BOLE_OK;

	if (weight == NULL)
		return BOLE_E_NO_MEMORY;
	memset(it->first_child, 0xff, n * sizeof(*it->first_child));
	/* Backwards: all offset deltas on an entry come after it, so its weight is complete. */
	for (uint32_t i = n; i-- > 0 && rc == BOLE_OK;) {
		uint32_t base = it->link[i];
		uint32_t head;

		if (it->rows[i].type == BOLE_ENTRY_OFS_DELTA) {
			weight[base] += weight[i] + 1;
			head = it->first_child[base];
		} else if (it->rows[i].type == BOLE_ENTRY_REF_DELTA) {
			head = bole_oid_index_find(&it->waiting, it->rows[i].oid.bytes);
		} else {
			continue;
		}
		if (head != BOLE_OID_NONE && weight[head] > weight[i]) {
			it->link[i] = it->link[head];
			it->link[head] = i;
			continue;
		}
		it->link[i] = head;
		if (it->rows[i].type == BOLE_ENTRY_OFS_DELTA)
			it->first_child[base] = i;
		else if (head != BOLE_OID_NONE)
			bole_oid_index_replace(&it->waiting, it->rows[i].oid.bytes, i);
		else
			rc = bole_oid_index_add(&it->waiting, i);
		if (rc == BOLE_OK && (i & 1023) == 0)
			rc = bole_intake_spend(it, HASH_SLICE);
	}
	bole_alloc_free(it->alloc, weight, n, sizeof(*weight));
	return rc;
}

static enum bole_status resolve_type(struct intake *it, uint8_t type)
{
	for (uint32_t i = 0; i < it->row_count; i++) {
		/* Rows that were resolved on the way have had their family. */
		if ((it->rows[i].type & ~(INTAKE_DUPLICATE | INTAKE_SOUND)) != type)
			continue;
		adopt_waiting(it, i);
		if ((i & 255) == 255)
			BOLE_TRY(bole_intake_spend(it, 0));
		if (it->first_child[i] != BOLE_OID_NONE)
			BOLE_TRY(resolve_family(it, i, it->first_child[i], type, 0));
	}
	return bole_intake_flush(it);
}

static enum bole_status resolve_outside(struct intake *it)
{
	struct bole_object_reader_options options = {.cache_bytes = OUTSIDE_CACHE_BYTES,
	                                             .object_bytes_max = it->held_max};
	struct bole_entry entry;
	uint32_t depth;

	for (uint32_t i = 0; i < it->row_count && it->waiting.used > 0; i++) {
		if (it->rows[i].type != BOLE_ENTRY_REF_DELTA)
			continue;
		it->outside = it->rows[i].oid;
		uint32_t first = bole_oid_index_find(&it->waiting, it->outside.bytes);

		if (first == BOLE_OID_NONE)
			continue;
		enum bole_status rc = bole_odb_find(it->job->tx->view, &it->outside, &entry);

		if (rc == BOLE_E_NOT_FOUND)
			continue;
		BOLE_TRY(rc);
		if (it->reader == NULL)
			BOLE_TRY(bole_object_reader_open(it->job->tx->view, it->alloc, &options,
			                                 &it->reader));
		BOLE_TRY(outside_depth(it, entry, &depth));
		bole_oid_index_remove(&it->waiting, it->outside.bytes);
		BOLE_TRY(resolve_family(it, BOLE_OID_NONE, first, entry.type, depth));
	}
	return bole_intake_flush(it);
}

static enum bole_status nothing_left(struct intake *it)
{
	char hex[BOLE_OID_HEX_MAX + 1];

	if (it->resolved == it->report->deltas)
		return BOLE_OK;
	for (uint32_t i = 0; i < it->row_count; i++) {
		if (it->rows[i].type != BOLE_ENTRY_REF_DELTA)
			continue;
		return bole_intake_fail(it, BOLE_E_INVALID,
		                        "missing delta base %s (not here, or deltas in a circle)",
		                        bole_oid_format(&it->rows[i].oid, hex));
	}
	BOLE_UNREACHABLE(); /* the root of an offset delta's chain is whole or an id delta */
}

/* What contents may take while deltas of a type (0 = any) are resolved: all that the tables leave.
 */
static enum bole_status measure_memory(struct intake *it, uint8_t type)
{
	size_t left = (size_t)(it->report->deltas - it->resolved);
	size_t each = KNOWN_RESERVE_BYTES + (type == BOLE_OBJECT_BLOB ? 0 : NEED_RESERVE_BYTES);
	size_t reserve = it->budget.used + left * each +
	                 (size_t)PACK_SOURCE_CHUNKS * PACK_SOURCE_CHUNK_BYTES + OUTSIDE_CACHE_BYTES;
	size_t max = it->limits.memory_bytes_max;

	BOLE_ASSERT(it->held == 0);
	it->held_max = max > reserve + HELD_BYTES_MIN ? max - reserve : HELD_BYTES_MIN;
	return it->delta_need > it->held_max ? bole_pack_source_to_extent(&it->source) : BOLE_OK;
}

enum bole_status bole_intake_resolve(struct intake *it)
{
	static const uint8_t order[] = {BOLE_OBJECT_BLOB, BOLE_OBJECT_TREE, BOLE_OBJECT_COMMIT,
	                                BOLE_OBJECT_TAG};

	if (it->report->deltas == 0)
		return BOLE_OK;
	it->first_child = bole_alloc_array(it->alloc, it->row_count, sizeof(*it->first_child));
	if (it->first_child == NULL)
		return BOLE_E_NO_MEMORY;
	BOLE_TRY(link_children(it));
	for (size_t i = 0; i < sizeof(order); i++) {
		BOLE_TRY(measure_memory(it, order[i]));
		bole_ahead_open(it, order[i], &it->ahead);
		BOLE_TRY(resolve_type(it, order[i]));
		bole_ahead_close(it->ahead);
		it->ahead = NULL;
	}
	BOLE_TRY(measure_memory(it, 0));
	BOLE_TRY(resolve_outside(it));
	return nothing_left(it);
}

void bole_intake_resolve_release(struct intake *it)
{
	bole_ahead_close(it->ahead);
	it->ahead = NULL;
	while (it->frame_count > 0)
		frame_unload(it, &it->frames[--it->frame_count]);
	bole_alloc_free(it->alloc, it->frames, it->frame_cap, sizeof(*it->frames));
	bole_alloc_free(it->alloc, it->first_child, it->first_child == NULL ? 0 : it->row_count,
	                sizeof(*it->first_child));
	bole_object_reader_close(it->reader);
	it->frames = NULL;
	it->first_child = NULL;
	it->frame_cap = 0;
	it->reader = NULL;
}
