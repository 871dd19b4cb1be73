/* SPDX-License-Identifier: ISC */
/* The first pass: the pack as a stream. Everything declared in it is compared with a limit before
 * memory is taken for it. */
#include "git/pack/ingest.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bole/limits.h"
#include "bole/store.h"
#include "git/delta.h"
#include "git/pack/intake.h"

#define DEFAULT_PACK_BYTES_MAX   ((uint64_t)64 << 30)
#define DEFAULT_OBJECT_BYTES_MAX ((uint64_t)4 << 30)
/* Unless a limit is given, a pack may inflate to this much plus a multiple of its length. Histories
 * of large flat trees reach ratios near a hundred; bombs start near a thousand. */
#define DEFAULT_INFLATED_FREE  ((uint64_t)128 << 20)
#define DEFAULT_INFLATED_RATIO 256u
#define DEFAULT_TIME_NS        ((uint64_t)2 * 3600 * 1000 * 1000 * 1000)

enum {
	DEFAULT_OBJECTS_MAX = 10 * 1000 * 1000,
	DEFAULT_MEMORY_BYTES_MAX = 48 << 20,
	PACK_MAGIC = 0x5041434b, /* "PACK" */
	PACK_HEADER_BYTES = 12,
	ENTRY_BYTES_MIN = 9, /* a head of one byte, a zlib stream of nothing */
	ROWS_FIRST = 256,
	/* What the tables take for an object at least: its row, two links, a slot. */
	ROWS_PART = 16, /* of what was declared: who sent so much means it */
	OBJECT_BYTES = sizeof(struct bole_extent_row) + 14,
	WORK_YIELD_BYTES = 16 * 1024, /* about a million instructions with collision detection */
	WORK_OBJECT_BYTES = 192,      /* what one object costs beyond its bytes */
	DELTA_PREFIX_BYTES = 32,      /* holds both sizes */
	RECEIVED_BYTES_MAX = 2 * INTAKE_SCRATCH_BYTES, /* that wait for their ids */
	PROGRESS_NS = 250 * 1000 * 1000,
};

enum bole_status bole_intake_fail(struct intake *it, enum bole_status rc, const char *format, ...)
{
	va_list args;

	if (it->report->error[0] != '\0')
		return rc;
	va_start(args, format);
	vsnprintf(it->report->error, sizeof(it->report->error), format, args);
	va_end(args);
	return rc;
}

enum bole_status bole_intake_spend(struct intake *it, size_t bytes)
{
	const struct bole_ingest *job = it->job;

	it->work += bytes + WORK_OBJECT_BYTES;
	if (it->work < WORK_YIELD_BYTES)
		return BOLE_OK;
	it->work = 0;
	job->platform->ops->yield(job->platform);
	if (job->cancelled != NULL && job->cancelled(job->cancelled_ctx))
		return bole_intake_fail(it, BOLE_E_CLOSED, "the client hung up");
	uint64_t now = job->platform->ops->now_ns(job->platform);

	if (now - it->start_ns > it->limits.time_ns_max)
		return bole_intake_fail(it, BOLE_E_LIMIT, "the push takes longer than %llu seconds",
		                        (unsigned long long)(it->limits.time_ns_max / 1000000000));
	if (job->progress == NULL)
		return BOLE_OK;
	if (now - it->tick_ns < PROGRESS_NS)
		return BOLE_OK;
	it->tick_ns = now;
	if (it->first_child == NULL)
		job->progress(job->progress_ctx, "Receiving objects", it->row_count, it->declared);
	else
		job->progress(job->progress_ctx, "Resolving deltas", it->resolved,
		              it->report->deltas);
	return BOLE_OK;
}

static enum bole_status inflated_check(struct intake *it)
{
	uint64_t max = it->limits.inflated_bytes_max;

	if (it->inflated_by_ratio)
		max = DEFAULT_INFLATED_FREE + DEFAULT_INFLATED_RATIO * it->source.len;
	if (it->report->inflated_bytes <= max)
		return BOLE_OK;
	return bole_intake_fail(it, BOLE_E_LIMIT,
	                        "the pack inflates to more than the limit of %llu bytes",
	                        (unsigned long long)max);
}

enum bole_status bole_intake_inflated(struct intake *it, uint64_t bytes)
{
	uint64_t *total = &it->report->inflated_bytes;

	*total = bytes > UINT64_MAX - *total ? UINT64_MAX : *total + bytes;
	return inflated_check(it);
}

static const uint8_t *row_key(const void *items, uint32_t item)
{
	const struct intake *it = items;

	return it->rows[item].oid.bytes;
}

uint32_t bole_intake_row_at(const struct intake *it, uint64_t offset)
{
	uint32_t low = 0;
	uint32_t high = it->row_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (it->rows[middle].offset < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low < it->row_count && it->rows[low].offset == offset ? low : BOLE_OID_NONE;
}

static enum bole_status type_as_needed(struct intake *it, const struct bole_oid *oid, uint8_t type)
{
	char hex[BOLE_OID_HEX_MAX + 1];
	uint32_t need = bole_oid_map_find(&it->needed, oid->bytes);

	if (need == BOLE_OID_NONE)
		return BOLE_OK;
	const struct intake_need *value = bole_oid_map_value(&it->needed, need);

	if (value->type != type)
		return bole_intake_fail(it, BOLE_E_INVALID, "object %s is a %s, not a %s",
		                        bole_oid_format(oid, hex), bole_object_type_name(type),
		                        bole_object_type_name(value->type));
	bole_oid_map_remove(&it->needed, need);
	return BOLE_OK;
}

static bool is_changed_tree(const struct intake *it, const struct intake_object *o)
{
	return o->changes != NULL && o->changes->count > 0 && o->base != BOLE_OID_NONE &&
	       (it->rows[o->base].type & INTAKE_SOUND) != 0;
}

enum bole_status bole_intake_known(struct intake *it, const struct intake_object *o)
{
	struct bole_extent_row *row = &it->rows[o->row];
	uint8_t flags = row->type == o->type ? 0 : INTAKE_DELTA;
	uint32_t first;

	row->oid = o->oid;
	BOLE_TRY(bole_oid_index_put(&it->known, o->row, &first));
	if (first != BOLE_OID_NONE)
		flags |= INTAKE_DUPLICATE;
	row->type = o->type | flags;
	if (first != BOLE_OID_NONE)
		return BOLE_OK;
	BOLE_TRY(type_as_needed(it, &o->oid, o->type));
	if (!is_changed_tree(it, o)) {
		BOLE_TRY(bole_intake_fsck(it, o->row, o->type, o->content));
		return bole_intake_links(it, o->row, o->type, o->content);
	}
	uint64_t findings = it->findings;

	BOLE_TRY(bole_intake_changed_tree(it, o));
	if (it->findings == findings && !it->fsck.skip)
		row->type |= INTAKE_SOUND;
	return BOLE_OK;
}

/* -- Reading the stream -- */

static enum bole_status ended(struct intake *it, enum bole_status rc)
{
	it->ended = rc != BOLE_E_NO_MEMORY;
	if (rc == BOLE_END || rc == BOLE_E_INVALID)
		return bole_intake_fail(it, BOLE_E_INVALID, "the pack ends early, after %llu bytes",
		                        (unsigned long long)it->source.len);
	return bole_intake_fail(it, rc, "reading the pack: %s", bole_status_text(rc));
}

/* Takes bytes that were shown. */
static enum bole_status take(struct intake *it, const uint8_t *shown, size_t len)
{
	if (len > it->limits.pack_bytes_max - it->source.len)
		return bole_intake_fail(it, BOLE_E_LIMIT, "the pack is longer than %llu bytes",
		                        (unsigned long long)it->limits.pack_bytes_max);
	BOLE_TRY(bole_pack_source_take(&it->source, shown, len));
	bole_input_take(it->in, len);
	return BOLE_OK;
}

/* Where the inflated bytes of an entry go in the first pass. */
struct first_pass {
	struct intake *it;
	bool hashed; /* a whole object */
	bool kept;   /* its content is parsed: tree, commit, tag */
	struct bole_buffer content;
	uint8_t prefix[DELTA_PREFIX_BYTES]; /* of a delta */
	size_t prefix_len;
};

static void first_pass_bytes(struct first_pass *pass, const uint8_t *bytes, size_t len)
{
	if (pass->hashed)
		bole_identity_update(&pass->it->identity, bytes, len);
	if (pass->kept)
		bole_buffer_append(&pass->content, bytes, len);
	if (!pass->hashed) {
		size_t room = sizeof(pass->prefix) - pass->prefix_len;
		size_t part = len < room ? len : room;

		memcpy(pass->prefix + pass->prefix_len, bytes, part);
		pass->prefix_len += part;
	}
}

/* Inflates the entry at hand in steps. */
static enum bole_status inflate_steps(struct intake *it, uint64_t size, struct first_pass *pass)
{
	uint64_t total = 0;
	enum bole_status rc = BOLE_OK;
	struct bole_bytes shown;

	bole_inflate_begin(it->inflater);
	while (rc == BOLE_OK) {
		enum bole_status got = bole_input_peek(it->in, &shown);

		if (got != BOLE_OK)
			return ended(it, got);
		size_t in_len = shown.len;
		size_t out_len = INTAKE_SCRATCH_BYTES;

		rc = bole_inflate_step(it->inflater, shown.ptr, &in_len, it->scratch, &out_len);
		if (rc == BOLE_E_NO_MEMORY)
			return rc;
		if (rc < 0 || (rc == BOLE_OK && in_len == 0 && out_len == 0))
			return bole_intake_fail(it, BOLE_E_INVALID,
			                        "damaged zlib data in the pack");
		if (out_len > size - total)
			return bole_intake_fail(it, BOLE_E_INVALID,
			                        "an entry is longer than it declares");
		total += out_len;
		BOLE_TRY(take(it, shown.ptr, in_len));
		BOLE_TRY(bole_intake_inflated(it, out_len));
		first_pass_bytes(pass, it->scratch, out_len);
		BOLE_TRY(pass->content.rc);
		BOLE_TRY(bole_intake_spend(it, in_len + out_len));
	}
	if (total != size)
		return bole_intake_fail(it, BOLE_E_INVALID, "an entry is shorter than it declares");
	return BOLE_OK;
}

/* The usual small entry lies whole in the input's buffer. BOLE_AGAIN: it does not (or is damaged,
 * which the steps will find out). */
static enum bole_status inflate_at_once(struct intake *it, uint64_t size, uint8_t *dst)
{
	struct bole_bytes shown;
	size_t used;

	if (size > INTAKE_SCRATCH_BYTES)
		return BOLE_AGAIN;
	enum bole_status rc = bole_input_peek(it->in, &shown);

	if (rc != BOLE_OK)
		return ended(it, rc);
	/* Strict: what Git's zlib would refuse must not get in, it would spoil every clone. */
	rc = bole_inflate_strict(it->inflater, shown, dst, (size_t)size, &used);
	if (rc == BOLE_AGAIN && shown.len < INTAKE_INPUT_BYTES) {
		/* Cut off by the end of the buffer. Once only: a sender may come with a few bytes
		 * at a time. */
		rc = bole_input_need(it->in, shown.len + 1, &shown);
		if (rc != BOLE_OK)
			return ended(it, rc);
		rc = bole_inflate_strict(it->inflater, shown, dst, (size_t)size, &used);
	}
	if (rc != BOLE_OK)
		return rc == BOLE_E_NO_MEMORY ? rc : BOLE_AGAIN;
	BOLE_TRY(take(it, shown.ptr, used));
	BOLE_TRY(bole_intake_inflated(it, size));
	return bole_intake_spend(it, used);
}

void bole_intake_identity_start(struct intake *it, uint8_t type, uint64_t size)
{
	char head[48];
	int len = snprintf(head, sizeof(head), "%s %llu", bole_object_type_name(type),
	                   (unsigned long long)size);

	bole_identity_init_with(&it->identity, it->algo, &it->hashing);
	bole_identity_update(&it->identity, head, (size_t)len + 1);
}

static enum bole_status collision(struct intake *it, enum bole_status rc, uint64_t offset)
{
	return bole_intake_fail(it, rc, "the object at offset %llu is part of a collision attack",
	                        (unsigned long long)offset);
}

static enum bole_status receive_long(struct intake *it, uint32_t row, uint8_t type, uint64_t size)
{
	struct first_pass pass = {.it = it, .hashed = true, .kept = type != BOLE_OBJECT_BLOB};
	struct bole_oid oid;

	if (pass.kept && size > it->limits.memory_bytes_max / 4)
		return bole_intake_fail(it, BOLE_E_LIMIT, "a %s of %llu bytes is too long to check",
		                        bole_object_type_name(type), (unsigned long long)size);
	bole_buffer_init(&pass.content, it->alloc, (size_t)it->limits.memory_bytes_max);
	bole_intake_identity_start(it, type, size);
	enum bole_status rc = inflate_steps(it, size, &pass);

	if (rc == BOLE_OK) {
		rc = bole_identity_final(&it->identity, &oid);
		if (rc != BOLE_OK)
			rc = collision(it, rc, it->rows[row].offset);
	}
	if (rc == BOLE_OK) {
		struct intake_object object = {
		        .row = row,
		        .base = BOLE_OID_NONE,
		        .type = type,
		        .oid = oid,
		        .content = bole_bytes_of(pass.content.ptr, pass.content.len)};

		rc = bole_intake_known(it, &object);
	}
	bole_buffer_release(&pass.content);
	return rc;
}

static enum bole_status receive_whole(struct intake *it, uint32_t row, uint8_t type, uint64_t size)
{
	struct intake_waiting waiting = {.row = row, .type = type, .len = (size_t)size};

	if (size <= INTAKE_SCRATCH_BYTES) {
		waiting.bytes = bole_intake_content_try(it, size);
		if (waiting.bytes == NULL) {
			BOLE_TRY(bole_intake_flush(it));
			waiting.bytes = bole_intake_content_try(it, size);
		}
	}
	enum bole_status rc =
	        waiting.bytes == NULL ? BOLE_AGAIN : inflate_at_once(it, size, waiting.bytes);

	if (rc == BOLE_OK)
		return bole_intake_put(it, &waiting);
	if (waiting.bytes != NULL)
		bole_intake_content_free(it, waiting.bytes, waiting.len);
	if (rc != BOLE_AGAIN)
		return rc;
	BOLE_TRY(bole_intake_flush(it));
	return receive_long(it, row, type, size);
}

static enum bole_status receive_delta(struct intake *it, uint64_t size)
{
	struct first_pass pass = {.it = it};
	struct bole_bytes start;
	uint64_t base_len, result_len;
	enum bole_status rc = inflate_at_once(it, size, it->scratch);

	if (rc == BOLE_AGAIN) {
		BOLE_TRY(inflate_steps(it, size, &pass));
		start = bole_bytes_of(pass.prefix, pass.prefix_len);
	} else {
		BOLE_TRY(rc);
		start = bole_bytes_of(it->scratch, (size_t)size);
	}
	if (bole_delta_sizes(start, &base_len, &result_len) != BOLE_OK)
		return bole_intake_fail(it, BOLE_E_INVALID,
		                        "a delta does not begin with two sizes");
	if (result_len > it->limits.object_bytes_max)
		return bole_intake_fail(it, BOLE_E_LIMIT,
		                        "an object of %llu bytes exceeds the limit of %llu",
		                        (unsigned long long)result_len,
		                        (unsigned long long)it->limits.object_bytes_max);
	it->report->deltas++;
	uint64_t need;
	if (__builtin_add_overflow(base_len, result_len, &need) ||
	    __builtin_add_overflow(need, size, &need))
		need = UINT64_MAX;
	if (need > it->delta_need)
		it->delta_need = need;
	/* Counted now, inflated later: a bomb is refused by what it declares. */
	if (it->inflated_by_ratio) {
		uint64_t *total = &it->report->inflated_bytes;

		*total = result_len > UINT64_MAX - *total ? UINT64_MAX : *total + result_len;
		return BOLE_OK;
	}
	return bole_intake_inflated(it, result_len);
}

/* -- Entries -- */

static enum bole_status read_head(struct intake *it, struct bole_entry_head *head)
{
	struct bole_bytes shown;
	enum bole_status rc = bole_input_peek(it->in, &shown);

	for (;;) {
		if (rc != BOLE_OK)
			return ended(it, rc);
		rc = bole_entry_head_parse(shown, it->algo, head);
		if (rc != BOLE_AGAIN)
			break;
		rc = bole_input_need(it->in, shown.len + 1, &shown);
	}
	if (rc != BOLE_OK)
		return bole_intake_fail(it, BOLE_E_INVALID, "no entry begins at offset %llu",
		                        (unsigned long long)it->source.len);
	return take(it, shown.ptr, head->head_bytes);
}

static enum bole_status add_row(struct intake *it, uint32_t *row)
{
	/* Never more than was declared, nor much more than has come; but a large table is not
	 * copied again and again, which would need twice its memory. */
	uint32_t cap = it->row_count < ROWS_FIRST ? ROWS_FIRST : it->row_count * 2;

	if (cap > it->declared || it->row_count > it->declared / ROWS_PART)
		cap = it->declared;
	if (it->row_count == it->row_cap) {
		struct bole_extent_row *rows =
		        bole_alloc_resize(it->alloc, it->rows, it->row_cap, cap, sizeof(*rows));
		if (rows == NULL)
			return BOLE_E_NO_MEMORY;
		it->rows = rows;
		it->row_cap = cap;
	}
	if (it->row_count == it->link_cap) {
		uint32_t *link =
		        bole_alloc_resize(it->alloc, it->link, it->link_cap, cap, sizeof(*link));
		if (link == NULL)
			return BOLE_E_NO_MEMORY;
		it->link = link;
		it->link_cap = cap;
	}
	*row = it->row_count++;
	it->rows[*row] = (struct bole_extent_row){.offset = it->source.len};
	it->link[*row] = BOLE_OID_NONE;
	return BOLE_OK;
}

static enum bole_status find_base(struct intake *it, uint32_t row,
                                  const struct bole_entry_head *head)
{
	uint64_t offset = it->rows[row].offset;

	if (head->base_distance <= offset)
		it->link[row] = bole_intake_row_at(it, offset - head->base_distance);
	if (it->link[row] == BOLE_OID_NONE || it->link[row] >= row)
		return bole_intake_fail(
		        it, BOLE_E_INVALID,
		        "no entry begins where the delta at offset %llu has its base",
		        (unsigned long long)offset);
	return BOLE_OK;
}

static enum bole_status receive_entry(struct intake *it)
{
	struct bole_entry_head head;
	uint32_t row;

	BOLE_TRY(add_row(it, &row));
	BOLE_TRY(read_head(it, &head));
	if (head.inflated_bytes > it->limits.object_bytes_max)
		return bole_intake_fail(it, BOLE_E_LIMIT,
		                        "an object of %llu bytes exceeds the limit of %llu",
		                        (unsigned long long)head.inflated_bytes,
		                        (unsigned long long)it->limits.object_bytes_max);
	if (!it->inflated_by_ratio &&
	    head.inflated_bytes > it->limits.inflated_bytes_max - it->report->inflated_bytes)
		return bole_intake_inflated(it, head.inflated_bytes);
	it->rows[row].type = head.type;
	switch (head.type) {
	case BOLE_OBJECT_COMMIT:
	case BOLE_OBJECT_TREE:
	case BOLE_OBJECT_BLOB:
	case BOLE_OBJECT_TAG:
		BOLE_TRY(receive_whole(it, row, head.type, head.inflated_bytes));
		break;
	case BOLE_ENTRY_OFS_DELTA:
		BOLE_TRY(find_base(it, row, &head));
		BOLE_TRY(receive_delta(it, head.inflated_bytes));
		break;
	case BOLE_ENTRY_REF_DELTA:
		it->rows[row].oid = head.base;
		BOLE_TRY(receive_delta(it, head.inflated_bytes));
		break;
	default: return bole_intake_fail(it, BOLE_E_INVALID, "an entry of type %u", head.type);
	}
	it->rows[row].stored_bytes = it->source.len - it->rows[row].offset;
	return BOLE_OK;
}

static enum bole_status receive_header(struct intake *it)
{
	struct bole_bytes shown;
	enum bole_status rc = bole_input_need(it->in, PACK_HEADER_BYTES, &shown);

	if (rc != BOLE_OK)
		return ended(it, rc);
	uint32_t version = bole_get_be32(shown.ptr + 4);

	it->declared = bole_get_be32(shown.ptr + 8);
	if (bole_get_be32(shown.ptr) != PACK_MAGIC || (version != 2 && version != 3))
		return bole_intake_fail(it, BOLE_E_INVALID, "this is no pack of version 2 or 3");
	if (it->declared > it->limits.objects_max)
		return bole_intake_fail(
		        it, BOLE_E_LIMIT, "the pack has %lu objects, the limit is %llu",
		        (unsigned long)it->declared, (unsigned long long)it->limits.objects_max);
	if (it->declared > it->limits.memory_bytes_max / OBJECT_BYTES)
		return bole_intake_fail(it, BOLE_E_LIMIT,
		                        "a pack of %lu objects needs more than %zu bytes of memory",
		                        (unsigned long)it->declared, it->limits.memory_bytes_max);
	return take(it, shown.ptr, PACK_HEADER_BYTES);
}

static enum bole_status receive_trailer(struct intake *it)
{
	uint8_t sum[BOLE_OID_BYTES_MAX];
	struct bole_oid oid;

	BOLE_TRY(bole_pack_source_seal(&it->source, &oid));
	enum bole_status rc = bole_input_read(it->in, sum, it->hash_bytes);

	if (rc != BOLE_OK)
		return ended(it, rc);
	if (memcmp(sum, oid.bytes, it->hash_bytes) != 0)
		return bole_intake_fail(it, BOLE_E_INVALID, "the checksum of the pack is wrong");
	it->report->pack_bytes = it->source.len + it->hash_bytes;
	it->report->checksum = oid;
	return BOLE_OK;
}

/* lent: NULL unless the input was widened. */
static enum bole_status receive_pack(struct intake *it, const struct bole_input_lent *lent)
{
	BOLE_TRY(receive_header(it));
	while (it->row_count < it->declared) {
		if (lent != NULL)
			bole_input_expect(it->in, lent,
			                  (uint64_t)(it->declared - it->row_count - 1) *
			                          ENTRY_BYTES_MIN);
		BOLE_TRY(receive_entry(it));
	}
	BOLE_TRY(bole_intake_flush(it));
	BOLE_TRY(receive_trailer(it));
	return inflated_check(it);
}

static enum bole_status receive(struct intake *it)
{
	struct bole_input_lent narrow;
	uint8_t *wide;

	if (it->in->cap >= INTAKE_INPUT_BYTES)
		return receive_pack(it, NULL);
	wide = bole_alloc_array(it->alloc, INTAKE_INPUT_BYTES, 1);
	if (wide == NULL)
		return BOLE_E_NO_MEMORY;
	bole_input_widen(it->in, wide, INTAKE_INPUT_BYTES, &narrow);
	enum bole_status rc = receive_pack(it, &narrow);

	bole_input_narrow(it->in, &narrow);
	bole_alloc_free(it->alloc, wide, INTAKE_INPUT_BYTES, 1);
	return rc;
}

/* -- The whole -- */

static void fill_limits(struct intake *it)
{
	struct bole_ingest_limits *limits = &it->limits;

	*limits = it->job->limits;
	it->inflated_by_ratio = limits->inflated_bytes_max == 0;
	if (limits->pack_bytes_max == 0)
		limits->pack_bytes_max = DEFAULT_PACK_BYTES_MAX;
	if (limits->object_bytes_max == 0)
		limits->object_bytes_max = DEFAULT_OBJECT_BYTES_MAX;
	if (limits->objects_max == 0)
		limits->objects_max = DEFAULT_OBJECTS_MAX;
	if (limits->delta_depth_max == 0)
		limits->delta_depth_max = BOLE_DELTA_DEPTH_MAX;
	if (limits->memory_bytes_max == 0)
		limits->memory_bytes_max = DEFAULT_MEMORY_BYTES_MAX;
	if (limits->time_ns_max == 0)
		limits->time_ns_max = DEFAULT_TIME_NS;
}

static enum bole_status intake_open(struct intake *it)
{
	const struct bole_ingest *job = it->job;

	fill_limits(it);
	it->start_ns = job->platform->ops->now_ns(job->platform);
	bole_budget_init(&it->budget, job->alloc, it->limits.memory_bytes_max);
	it->alloc = &it->budget.alloc;
	it->algo = job->tx->view->repo.algo;
	bole_hashing_probe(&it->hashing);
	it->hash_bytes = bole_hash_bytes(it->algo);
	BOLE_ASSERT(it->hash_bytes != 0);
	bole_oid_index_init(&it->known, job->platform, it->alloc, it->algo, row_key, it);
	bole_oid_index_init(&it->waiting, job->platform, it->alloc, it->algo, row_key, it);
	bole_oid_map_init(&it->needed, job->platform, it->alloc, it->algo,
	                  sizeof(struct intake_need));
	bole_oid_map_init(&it->special, job->platform, it->alloc, it->algo, sizeof(uint32_t));
	bole_oid_map_init(&it->special_missing, job->platform, it->alloc, it->algo,
	                  sizeof(uint32_t));
	bole_promises_init(&it->promises, job->platform, it->alloc, job->tx->view);
	for (size_t i = 0; i < 2; i++)
		bole_id_list_init(&it->missing[i], job->platform, it->alloc, it->algo);
	bole_intake_fsck_init(it);
	BOLE_TRY(bole_pack_source_init(&it->source, job->tx, it->alloc, it->algo));
	it->scratch = bole_alloc_array(it->alloc, INTAKE_SCRATCH_BYTES, 1);
	it->batch = bole_alloc_zeroed(it->alloc, 1, sizeof *it->batch);
	if (it->scratch == NULL || it->batch == NULL)
		return BOLE_E_NO_MEMORY;
	it->held_max = RECEIVED_BYTES_MAX;
	return bole_inflater_open(it->alloc, &it->inflater);
}

static void intake_close(struct intake *it)
{
	bole_intake_resolve_release(it);
	bole_intake_batch_release(it);
	bole_oid_index_release(&it->known);
	bole_oid_index_release(&it->waiting);
	bole_oid_map_release(&it->needed);
	bole_alloc_free(it->alloc, it->doubtful, it->doubtful_cap, sizeof *it->doubtful);
	bole_promises_release(&it->promises);
	for (size_t i = 0; i < 2; i++)
		bole_id_list_release(&it->missing[i]);
	bole_oid_map_release(&it->special);
	bole_oid_map_release(&it->special_missing);
	bole_alloc_free(it->alloc, it->rows, it->row_cap, sizeof(*it->rows));
	bole_alloc_free(it->alloc, it->link, it->link_cap, sizeof(*it->link));
	bole_alloc_free(it->alloc, it->whole, it->whole_cap, sizeof(*it->whole));
	bole_alloc_free(it->alloc, it->scratch, INTAKE_SCRATCH_BYTES, 1);
	bole_inflater_close(it->inflater);
	bole_pack_source_release(&it->source);
	BOLE_ASSERT(it->budget.used == 0);
}

enum bole_status bole_pack_ingest(const struct bole_ingest *job, struct bole_input *in,
                                  struct bole_ingest_report *report)
{
	struct intake *it = bole_alloc_zeroed(job->alloc, 1, sizeof(*it));

	*report = (struct bole_ingest_report){0};
	if (it == NULL)
		return BOLE_E_NO_MEMORY;
	it->job = job;
	it->report = report;
	it->in = in;
	enum bole_status rc = intake_open(it);

	if (rc == BOLE_OK)
		rc = receive(it);
	if (it->ended && job->cut_off != NULL)
		bole_intake_cut_off(it);
	if (rc == BOLE_OK)
		rc = bole_intake_resolve(it);
	if (rc == BOLE_OK)
		rc = bole_intake_special_due(it);
	if (rc == BOLE_OK)
		rc = bole_intake_closure(it);
	if (rc == BOLE_OK)
		rc = bole_intake_store(it);
	if (rc == BOLE_OK)
		rc = bole_intake_special(it);
	report->objects = it->row_count;
	if (rc != BOLE_OK)
		bole_intake_fail(it, rc, "%s", bole_status_text(rc));
	intake_close(it);
	bole_alloc_free(job->alloc, it, 1, sizeof(*it));
	return rc;
}
