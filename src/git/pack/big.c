/* SPDX-License-Identifier: ISC */
/* Deltas that do not fit memory: the object is made in a stream and kept whole, deflated anew,
 * behind the pack in its extent. So readers need no more memory for it than for any large object,
 * and it can be the base of the next one. The delta itself loses its row, and with it its place in
 * the extent; deltas on it are kept whole too, because they say where their base lies.
 *
 * The base is seen through a window that slides over its inflated bytes. Deltas of large files copy
 * forward, mostly; one that goes back beyond the window costs the base once more, which is limited
 * as all that is inflated again.
 */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/delta.h"
#include "git/pack/intake.h"

enum {
	SLICE_BYTES = 64 * 1024,
	OUT_BYTES = 64 * 1024,
	LEVEL = 1,
	WHOLE_FIRST = 16,
	OP_BYTES = 128 + BOLE_DELTA_OP_MAX, /* an instruction with what it inserts */
};

struct big {
	struct intake *it;
	const struct intake_big *job;
	uint64_t base_len;
	uint64_t result_len;

	/* The window over the base. */
	const uint8_t *window;
	uint8_t *own; /* its memory, if the base is not in memory as a whole */
	size_t cap;
	size_t len;
	uint64_t start; /* where it is in the base */
	bool ended;
	struct bole_inflater *inflater;
	struct bole_entry entry;
	uint64_t head_bytes; /* of the entry that is inflated */
	uint64_t raw_at;     /* next byte of it */
	uint64_t raw_len;

	/* The instructions, in it->scratch. */
	uint64_t delta_at;
	uint64_t delta_end;
	struct bole_bytes ops;
	bool ops_ended;

	/* The object. */
	struct bole_deflater *deflater;
	uint8_t *out;
	size_t out_len;
	uint64_t made;
};

static enum bole_status does_not_fit(struct big *b)
{
	return bole_intake_fail(b->it, BOLE_E_INVALID,
	                        "the delta at offset %llu does not fit its base",
	                        (unsigned long long)b->it->rows[b->job->row].offset);
}

static enum bole_status changed(struct intake *it)
{
	return bole_intake_fail(it, BOLE_E_IO, "the store gave back other bytes than it was given");
}

/* Shows some of the pack's bytes in [at, end). */
static enum bole_status raw_view(struct intake *it, uint64_t at, uint64_t end,
                                 struct bole_bytes *out)
{
	uint64_t edge = PACK_SOURCE_CHUNK_BYTES - at % PACK_SOURCE_CHUNK_BYTES;

	return bole_pack_source_view(&it->source, at, (size_t)(end - at < edge ? end - at : edge),
	                             out);
}

/* -- The base -- */

static void base_rewind(struct big *b)
{
	b->start = 0;
	b->len = 0;
	b->ended = false;
	b->raw_at = b->head_bytes;
	bole_inflate_begin(b->inflater);
}

/* Inflates on; the window slides. */
static enum bole_status base_more(struct big *b)
{
	struct bole_bytes shown;

	if (b->ended || b->raw_at == b->raw_len)
		return changed(b->it);
	if (b->len == b->cap) {
		size_t dropped = b->cap - b->cap / 2;

		memmove(b->own, b->own + dropped, b->cap / 2);
		b->start += dropped;
		b->len = b->cap / 2;
	}
	if (b->job->base == BOLE_OID_NONE) {
		BOLE_TRY(bole_odb_view(b->it->job->tx->view, &b->entry, b->raw_at, &shown));
	} else {
		uint64_t offset = b->it->rows[b->job->base].offset;

		BOLE_TRY(raw_view(b->it, offset + b->raw_at, offset + b->raw_len, &shown));
	}
	size_t in_len = shown.len;
	size_t out_len = b->cap - b->len < SLICE_BYTES ? b->cap - b->len : SLICE_BYTES;
	enum bole_status rc =
	        bole_inflate_step(b->inflater, shown.ptr, &in_len, b->own + b->len, &out_len);

	if (rc == BOLE_E_NO_MEMORY)
		return rc;
	if (rc < 0 || (rc == BOLE_OK && in_len == 0 && out_len == 0))
		return changed(b->it);
	b->ended = rc == BOLE_END;
	b->raw_at += in_len;
	b->len += out_len;
	BOLE_TRY(bole_intake_rebuilt(b->it, out_len));
	return bole_intake_spend(b->it, in_len + out_len);
}

/* Shows at most len bytes of the base from offset on, at least one. */
static enum bole_status base_view(struct big *b, uint64_t offset, uint64_t len,
                                  struct bole_bytes *out)
{
	if (offset < b->start)
		base_rewind(b);
	while (offset - b->start >= b->len)
		BOLE_TRY(base_more(b));
	uint64_t part = b->len - (offset - b->start);

	part = part < len ? part : len;
	*out = bole_bytes_of(b->window + (offset - b->start),
	                     (size_t)(part < SLICE_BYTES ? part : SLICE_BYTES));
	return BOLE_OK;
}

/* The entry of a base that is whole but not in memory. */
static enum bole_status base_entry(struct big *b, struct bole_entry_head *head)
{
	struct intake *it = b->it;
	struct bole_bytes shown;

	if (b->job->base != BOLE_OID_NONE) {
		b->raw_len = it->rows[b->job->base].stored_bytes;
		return bole_intake_head(it, b->job->base, head);
	}
	BOLE_TRY(bole_odb_find(it->job->tx->view, &it->outside, &b->entry));
	b->raw_len = b->entry.stored_bytes;
	BOLE_TRY(bole_odb_view(it->job->tx->view, &b->entry, 0, &shown));
	if (bole_entry_head_parse(shown, it->algo, head) != BOLE_OK)
		return BOLE_E_CORRUPT;
	if (head->type != b->entry.type)
		return bole_intake_fail(it, BOLE_E_LIMIT,
		                        "a delta of %llu bytes has a stored delta as its base",
		                        (unsigned long long)b->result_len);
	return BOLE_OK;
}

static enum bole_status base_open(struct big *b)
{
	struct intake *it = b->it;
	struct bole_entry_head head;

	if (b->job->content != NULL) {
		b->window = b->job->content;
		b->len = (size_t)b->job->content_len;
		b->ended = true;
		return b->len == b->base_len ? BOLE_OK : does_not_fit(b);
	}
	BOLE_TRY(base_entry(b, &head));
	if (head.inflated_bytes != b->base_len)
		return does_not_fit(b);
	b->head_bytes = head.head_bytes;
	size_t cap = it->held_max / 2;

	b->cap = b->base_len < cap ? (size_t)b->base_len + 1 : cap;
	BOLE_TRY(bole_intake_content(it, b->cap, b->job->keep, &b->own));
	b->window = b->own;
	BOLE_TRY(bole_inflater_open(it->alloc, &b->inflater));
	base_rewind(b);
	return BOLE_OK;
}

/* -- The instructions -- */

static enum bole_status ops_begin(struct intake *it, uint32_t row, uint64_t *at, uint64_t *end)
{
	struct bole_entry_head head;

	BOLE_TRY(bole_intake_head(it, row, &head));
	*at = it->rows[row].offset + head.head_bytes;
	*end = it->rows[row].offset + it->rows[row].stored_bytes;
	bole_inflate_begin(it->inflater);
	return BOLE_OK;
}

/* Shows OP_BYTES of them, or all that are left. */
static enum bole_status ops_need(struct big *b)
{
	struct intake *it = b->it;
	struct bole_bytes shown;

	if (b->ops.len >= OP_BYTES || b->ops_ended)
		return BOLE_OK;
	if (b->ops.len > 0)
		memmove(it->scratch, b->ops.ptr, b->ops.len);
	b->ops.ptr = it->scratch;
	while (b->ops.len < OP_BYTES && !b->ops_ended) {
		size_t out_len = SLICE_BYTES;

		if (b->delta_at == b->delta_end)
			return changed(it);
		BOLE_TRY(raw_view(it, b->delta_at, b->delta_end, &shown));
		size_t in_len = shown.len;
		enum bole_status rc = bole_inflate_step(it->inflater, shown.ptr, &in_len,
		                                        it->scratch + b->ops.len, &out_len);

		if (rc == BOLE_E_NO_MEMORY)
			return rc;
		if (rc < 0 || (rc == BOLE_OK && in_len == 0 && out_len == 0))
			return changed(it);
		b->ops_ended = rc == BOLE_END;
		b->delta_at += in_len;
		b->ops.len += out_len;
		BOLE_TRY(bole_intake_spend(it, in_len + out_len));
	}
	return BOLE_OK;
}

enum bole_status bole_intake_is_big(struct intake *it, uint32_t row, bool *big)
{
	struct intake_big job = {.row = row};
	struct big b = {.it = it, .job = &job};
	struct bole_entry_head head;
	uint64_t need;

	BOLE_TRY(bole_intake_head(it, row, &head));
	BOLE_TRY(ops_begin(it, row, &b.delta_at, &b.delta_end));
	BOLE_TRY(ops_need(&b));
	if (bole_delta_begin(&b.ops, &b.base_len, &b.result_len) != BOLE_OK)
		return changed(it);
	*big = __builtin_add_overflow(head.inflated_bytes, b.base_len, &need) ||
	       __builtin_add_overflow(need, b.result_len, &need) || need > it->held_max;
	return BOLE_OK;
}

/* -- The object -- */

static enum bole_status out_flush(struct big *b)
{
	if (b->out_len == 0)
		return BOLE_OK;
	enum bole_status rc =
	        bole_pack_source_append(&b->it->source, bole_bytes_of(b->out, b->out_len));

	b->it->rows[b->job->row].stored_bytes += b->out_len;
	b->out_len = 0;
	return rc;
}

static enum bole_status out_deflate(struct big *b, struct bole_bytes bytes, bool finish)
{
	enum bole_status rc = BOLE_OK;

	while (rc == BOLE_OK && (bytes.len > 0 || finish)) {
		size_t in_len = bytes.len;
		size_t room = OUT_BYTES - b->out_len;

		rc = bole_deflate_step(b->deflater, bytes.ptr, &in_len, b->out + b->out_len, &room,
		                       finish);
		bytes.ptr += in_len;
		bytes.len -= in_len;
		b->out_len += room;
		if (rc >= 0 && b->out_len == OUT_BYTES)
			BOLE_TRY(out_flush(b));
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}

static enum bole_status out_bytes(struct big *b, struct bole_bytes bytes)
{
	if (bytes.len > b->result_len - b->made)
		return does_not_fit(b);
	b->made += bytes.len;
	bole_identity_update(&b->it->identity, bytes.ptr, bytes.len);
	BOLE_TRY(out_deflate(b, bytes, false));
	return bole_intake_spend(b->it, bytes.len);
}

/* The row is where the object will be from now on. */
static enum bole_status out_open(struct big *b)
{
	struct intake *it = b->it;
	struct bole_entry_head head = {.type = b->job->type, .inflated_bytes = b->result_len};

	b->out = bole_alloc_array(it->alloc, OUT_BYTES, 1);
	if (b->out == NULL)
		return BOLE_E_NO_MEMORY;
	BOLE_TRY(bole_deflater_open(it->alloc, LEVEL, &b->deflater));
	bole_deflate_begin(b->deflater);
	bole_intake_identity_start(it, b->job->type, b->result_len);
	b->out_len = bole_entry_head_format(&head, it->algo, b->out);
	it->rows[b->job->row].offset = it->source.len;
	it->rows[b->job->row].stored_bytes = 0;
	return BOLE_OK;
}

static enum bole_status make(struct big *b)
{
	struct bole_delta_op op;
	struct bole_bytes part;

	for (;;) {
		BOLE_TRY(ops_need(b));
		if (b->ops.len == 0)
			break;
		if (bole_delta_op(&b->ops, &op) != BOLE_OK)
			return does_not_fit(b);
		if (!op.copy) {
			if (op.len > b->ops.len)
				return does_not_fit(b);
			BOLE_TRY(out_bytes(b, bole_bytes_of(b->ops.ptr, op.len)));
			b->ops.ptr += op.len;
			b->ops.len -= op.len;
			continue;
		}
		if (!bole_in_bounds(op.offset, op.len, b->base_len))
			return does_not_fit(b);
		for (uint64_t at = op.offset; op.len > 0; at += part.len) {
			BOLE_TRY(base_view(b, at, op.len, &part));
			BOLE_TRY(out_bytes(b, part));
			op.len -= (uint32_t)part.len;
		}
	}
	if (b->made != b->result_len)
		return does_not_fit(b);
	BOLE_TRY(out_deflate(b, bole_bytes_of("", 0), true));
	return out_flush(b);
}

static enum bole_status note_whole(struct intake *it, uint32_t row)
{
	if (it->whole_count == it->whole_cap) {
		uint32_t cap = it->whole_cap == 0 ? WHOLE_FIRST : it->whole_cap * 2;
		uint32_t *whole =
		        bole_alloc_resize(it->alloc, it->whole, it->whole_cap, cap, sizeof(*whole));

		if (whole == NULL)
			return BOLE_E_NO_MEMORY;
		it->whole = whole;
		it->whole_cap = cap;
	}
	it->whole[it->whole_count++] = row;
	return BOLE_OK;
}

static enum bole_status run(struct big *b)
{
	struct intake *it = b->it;

	BOLE_TRY(ops_begin(it, b->job->row, &b->delta_at, &b->delta_end));
	BOLE_TRY(ops_need(b));
	if (bole_delta_begin(&b->ops, &b->base_len, &b->result_len) != BOLE_OK)
		return changed(it);
	BOLE_TRY(base_open(b));
	BOLE_TRY(out_open(b));
	return make(b);
}

enum bole_status bole_intake_big(struct intake *it, const struct intake_big *job,
                                 struct bole_oid *oid)
{
	struct big b = {.it = it, .job = job};
	uint64_t offset = it->rows[job->row].offset;

	if (job->type != BOLE_OBJECT_BLOB)
		return bole_intake_fail(
		        it, BOLE_E_LIMIT, "a %s at offset %llu is too long to check",
		        bole_object_type_name(job->type), (unsigned long long)offset);
	enum bole_status rc = run(&b);

	if (b.own != NULL)
		bole_intake_content_free(it, b.own, b.cap);
	bole_inflater_close(b.inflater);
	bole_deflater_close(b.deflater);
	bole_alloc_free(it->alloc, b.out, b.out == NULL ? 0 : OUT_BYTES, 1);
	BOLE_TRY(rc);
	rc = bole_identity_final(&it->identity, oid);
	if (rc != BOLE_OK)
		return bole_intake_fail(it, rc,
		                        "the object at offset %llu is part of a collision attack",
		                        (unsigned long long)offset);
	return note_whole(it, job->row);
}
