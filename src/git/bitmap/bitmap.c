/* SPDX-License-Identifier: ISC */
#include "git/bitmap/bitmap.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bole/store.h"

enum {
	ROWS_AT_ONCE = 1024,
	BASES_MAX = 1 << 20, /* of a set, one behind the other */
	POSITIONS_MAX = 1 << 30,
	BYTES_MAX = 1 << 30,
};

static const uint8_t *id_key(const void *items, uint32_t item)
{
	const struct bole_bitmap *b = items;

	return b->ids.ptr + (size_t)item * b->key_bytes;
}

static const uint8_t *commit_key(const void *items, uint32_t item)
{
	const struct bole_bitmap *b = items;

	return b->sets[item].commit;
}

struct bole_bitmap *bole_bitmap_new(struct bole_platform *platform, struct bole_alloc *alloc,
                                    uint8_t algo)
{
	struct bole_bitmap *b = bole_alloc_zeroed(alloc, 1, sizeof *b);

	if (b == NULL)
		return NULL;
	atomic_init(&b->refs, 1);
	atomic_init(&b->saved, 0);
	atomic_init(&b->generation, 0);
	atomic_init(&b->verbatim, 0);
	atomic_init(&b->sum_state, BITMAP_SUM_NONE);
	atomic_init(&b->sum_saved, false);
	b->platform = platform;
	b->alloc = alloc;
	b->algo = algo;
	b->key_bytes = bole_hash_bytes(algo);
	b->all.base = BITMAP_NONE;
	bole_buffer_init(&b->ids, alloc, BYTES_MAX);
	bole_buffer_init(&b->runs, alloc, BYTES_MAX);
	bole_buffer_init(&b->tips, alloc, BYTES_MAX);
	bole_buffer_init(&b->closure_runs, alloc, BYTES_MAX);
	bole_oid_index_init(&b->by_id, platform, alloc, algo, id_key, b);
	bole_oid_index_init(&b->by_commit, platform, alloc, algo, commit_key, b);
	return b;
}

struct bole_bitmap *bole_bitmap_retain(struct bole_bitmap *b)
{
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return b;
}

void bole_bitmap_release(struct bole_bitmap *b)
{
	if (b == NULL || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
		return;
	bole_alloc_free(b->alloc, b->segments, b->segment_cap, sizeof *b->segments);
	bole_alloc_free(b->alloc, b->offsets, b->offset_cap, sizeof *b->offsets);
	bole_alloc_free(b->alloc, b->blobs, b->type_words, 2 * sizeof *b->blobs);
	bole_alloc_free(b->alloc, b->names, b->name_cap, sizeof *b->names);
	bole_alloc_free(b->alloc, b->sets, b->set_cap, sizeof *b->sets);
	bole_oid_index_release(&b->by_id);
	bole_oid_index_release(&b->by_commit);
	bole_buffer_release(&b->ids);
	bole_buffer_release(&b->runs);
	bole_buffer_release(&b->tips);
	bole_buffer_release(&b->closure_runs);
	bole_alloc_free(b->alloc, b, 1, sizeof *b);
}

size_t bole_bitmap_bytes(const struct bole_bitmap *b)
{
	return sizeof *b + b->segment_cap * sizeof *b->segments +
	       b->type_words * 2 * sizeof *b->blobs + b->offset_cap * sizeof *b->offsets +
	       b->name_cap * sizeof *b->names + b->set_cap * sizeof *b->sets + b->ids.cap +
	       b->runs.cap + b->tips.cap + b->closure_runs.cap +
	       (b->by_id.slot_count + b->by_commit.slot_count) * BOLE_OID_SLOT_BYTES;
}

/* -- Positions -- */

const struct bitmap_segment *bole_bitmap_segment(const struct bole_bitmap *b, uint32_t position)
{
	uint32_t low = 0;
	uint32_t high = b->segment_count;

	BOLE_ASSERT(position < b->positions);
	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;

		if (b->segments[mid].first <= position)
			low = mid;
		else
			high = mid;
	}
	return &b->segments[low];
}

static const struct bitmap_segment *extent_segment(const struct bole_bitmap *b, uint64_t extent)
{
	for (uint32_t i = b->segment_count; i-- > 0;)
		if (b->segments[i].extent == extent)
			return &b->segments[i];
	return NULL;
}

/* The number of the entry of an extent at an offset, or BITMAP_NONE. */
static uint32_t row_at(const struct bole_bitmap *b, const struct bitmap_segment *s, uint64_t offset)
{
	const uint32_t *offsets = b->offsets + s->at;
	uint32_t low = 0;
	uint32_t high = s->count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (offsets[mid] < offset)
			low = mid + 1;
		else
			high = mid;
	}
	return low < s->count && offsets[low] == offset ? low : BITMAP_NONE;
}

enum bole_status bole_bitmap_position(const struct bole_bitmap *b, struct bole_snapshot *snapshot,
                                      const struct bole_oid *oid, const struct bole_entry *entry,
                                      uint32_t *out)
{
	const struct bitmap_segment *s = extent_segment(b, entry->extent);

	(void)snapshot;
	*out = BITMAP_NONE;
	if (s != NULL) {
		uint32_t row = row_at(b, s, entry->offset);

		if (row != BITMAP_NONE)
			*out = s->first + row;
		return BOLE_OK;
	}
	uint32_t number = bole_oid_index_find(&b->by_id, oid->bytes);

	for (uint32_t i = 0; number != BOLE_OID_NONE && i < b->segment_count; i++) {
		s = &b->segments[i];
		if (s->extent == 0 && number - s->at < s->count)
			*out = s->first + (number - s->at);
	}
	return BOLE_OK;
}

/* Room for the types and names of count more positions. */
static enum bole_status more_positions(struct bole_bitmap *b, uint32_t count)
{
	size_t words = ((size_t)b->positions + count + 63) / 64;

	if (words * 64 <= b->name_cap)
		return BOLE_OK;
	words += words / 8 + 16;
	/* One piece of memory for both. */
	uint64_t *blobs = bole_alloc_zeroed(b->alloc, words, 2 * sizeof *blobs);
	if (blobs == NULL)
		return BOLE_E_NO_MEMORY;
	if (b->type_words > 0) {
		memcpy(blobs, b->blobs, b->type_words * sizeof *blobs);
		memcpy(blobs + words, b->trees, b->type_words * sizeof *blobs);
	}
	bole_alloc_free(b->alloc, b->blobs, b->type_words, 2 * sizeof *blobs);
	b->blobs = blobs;
	b->trees = blobs + words;
	b->type_words = words;
	uint32_t cap = (uint32_t)words * 64;
	uint32_t *names = bole_alloc_resize(b->alloc, b->names, b->name_cap, cap, sizeof *names);
	if (names == NULL)
		return BOLE_E_NO_MEMORY;
	memset(names + b->name_cap, 0, (cap - b->name_cap) * sizeof *names);
	b->names = names;
	b->name_cap = cap;
	return BOLE_OK;
}

void bole_bitmap_note_type(struct bole_bitmap *b, uint32_t position, uint8_t type)
{
	uint64_t bit = UINT64_C(1) << position % 64;

	/* An extent that was not taken after all may have left its own. */
	b->blobs[position / 64] &= ~bit;
	b->trees[position / 64] &= ~bit;
	if (type == BOLE_OBJECT_BLOB)
		b->blobs[position / 64] |= bit;
	else if (type == BOLE_OBJECT_TREE)
		b->trees[position / 64] |= bit;
}

static enum bole_status more_segments(struct bole_bitmap *b)
{
	uint32_t cap = b->segment_cap == 0 ? 8 : b->segment_cap * 2;

	if (b->segment_count < b->segment_cap)
		return BOLE_OK;
	struct bitmap_segment *s =
	        bole_alloc_resize(b->alloc, b->segments, b->segment_cap, cap, sizeof *s);
	if (s == NULL)
		return BOLE_E_NO_MEMORY;
	b->segments = s;
	b->segment_cap = cap;
	return BOLE_OK;
}

/* Rows of an extent, as offsets; *end: of the last one. BOLE_E_UNSUPPORTED: there are gaps between
 * its entries. */
static enum bole_status take_rows(struct bole_bitmap *b, struct bole_snapshot *snapshot,
                                  const struct bole_extent_info *info, uint64_t *end)
{
	struct bole_extent_place *rows = bole_alloc_array(b->alloc, ROWS_AT_ONCE, sizeof *rows);
	uint32_t *offsets = b->offsets + b->offset_count;
	enum bole_status rc = rows == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;

	for (uint32_t done = 0; done < info->rows && rc == BOLE_OK;) {
		size_t n = ROWS_AT_ONCE;

		rc = bole_extent_rows(snapshot, info->extent, done, rows, &n);
		if (rc == BOLE_OK && n == 0)
			rc = BOLE_E_CORRUPT;
		for (size_t i = 0; i < n && rc == BOLE_OK; i++) {
			if (done + i != 0 && rows[i].offset != *end)
				rc = BOLE_E_UNSUPPORTED;
			offsets[done + i] = (uint32_t)rows[i].offset;
			bole_bitmap_note_type(b, b->positions + done + (uint32_t)i, rows[i].type);
			*end = rows[i].offset + rows[i].stored_bytes;
		}
		done += (uint32_t)n;
		b->platform->ops->yield(b->platform);
	}
	bole_alloc_free(b->alloc, rows, ROWS_AT_ONCE, sizeof *rows);
	return rc;
}

enum bole_status bole_bitmap_reserve(struct bole_bitmap *b, uint32_t rows)
{
	if (rows > POSITIONS_MAX - b->positions)
		return BOLE_E_LIMIT;
	BOLE_TRY(more_segments(b));
	if (b->offset_cap - b->offset_count < rows) {
		uint32_t cap = b->offset_count + rows;
		uint32_t *offsets = bole_alloc_resize(b->alloc, b->offsets, b->offset_cap, cap,
		                                      sizeof *offsets);
		if (offsets == NULL)
			return BOLE_E_NO_MEMORY;
		b->offsets = offsets;
		b->offset_cap = cap;
	}
	return more_positions(b, rows);
}

enum bole_status bole_bitmap_add_extent(struct bole_bitmap *b, struct bole_snapshot *snapshot,
                                        const struct bole_extent_info *info)
{
	uint64_t end = 0;

	if (info->rows == 0 || info->data_bytes > UINT32_MAX)
		return BOLE_OK; /* its objects are known by their ids */
	BOLE_TRY(bole_bitmap_reserve(b, info->rows));
	enum bole_status rc = take_rows(b, snapshot, info, &end);
	if (rc == BOLE_E_UNSUPPORTED)
		return BOLE_OK;
	BOLE_TRY(rc);
	b->segments[b->segment_count++] = (struct bitmap_segment){
	        .extent = info->extent,
	        .first = b->positions,
	        .count = info->rows,
	        .at = b->offset_count,
	        .end_low = (uint32_t)end,
	};
	b->offset_count += info->rows;
	b->positions += info->rows;
	return BOLE_OK;
}

enum bole_status bole_bitmap_add_id(struct bole_bitmap *b, const struct bole_oid *oid, uint8_t type,
                                    uint32_t *position)
{
	uint32_t number = (uint32_t)(b->ids.len / b->key_bytes);

	if (b->positions == POSITIONS_MAX)
		return BOLE_E_LIMIT;
	BOLE_TRY(more_segments(b));
	BOLE_TRY(more_positions(b, 1));
	bole_bitmap_note_type(b, b->positions, type);
	bole_buffer_append(&b->ids, oid->bytes, b->key_bytes);
	BOLE_TRY(b->ids.rc);
	BOLE_TRY(bole_oid_index_add(&b->by_id, number));
	if (b->segment_count == 0 || b->segments[b->segment_count - 1].extent != 0)
		b->segments[b->segment_count++] =
		        (struct bitmap_segment){.first = b->positions, .at = number};
	b->segments[b->segment_count - 1].count++;
	*position = b->positions++;
	return BOLE_OK;
}

bool bole_bitmap_fits(const struct bole_bitmap *b, struct bole_snapshot *snapshot)
{
	struct bole_extent_info info;

	for (uint32_t i = 0; i < b->segment_count; i++) {
		const struct bitmap_segment *s = &b->segments[i];

		if (s->extent == 0)
			continue;
		if (bole_extent_next(snapshot, s->extent - 1, &info) != BOLE_OK ||
		    info.extent != s->extent || info.rows != s->count)
			return false;
	}
	return true;
}

const uint8_t *bole_bitmap_sum(const struct bole_bitmap *b, uint64_t extent)
{
	return atomic_load_explicit(&b->sum_state, memory_order_acquire) == BITMAP_SUM_SET &&
	                       b->sum_extent == extent
	               ? b->sum
	               : NULL;
}

void bole_bitmap_set_sum(struct bole_bitmap *b, uint64_t extent, const struct bole_oid *sum)
{
	uint32_t none = BITMAP_SUM_NONE;

	if (!atomic_compare_exchange_strong(&b->sum_state, &none, BITMAP_SUM_BEING_SET))
		return; /* once */
	b->sum_extent = extent;
	memcpy(b->sum, sum->bytes, b->key_bytes);
	atomic_store_explicit(&b->sum_state, BITMAP_SUM_SET, memory_order_release);
}

/* -- Sets -- */

const struct bitmap_set *bole_bitmap_find(const struct bole_bitmap *b, const struct bole_oid *oid)
{
	uint32_t number = bole_oid_index_find(&b->by_commit, oid->bytes);

	return number == BOLE_OID_NONE ? NULL : &b->sets[number];
}

static void fill(struct bitmap_bits *bits, uint32_t first, uint32_t count)
{
	uint32_t end = first + count;

	for (; first < end; first += 64 - first % 64)
		bits->words[first / 64] |= bitmap_mask(first, end);
}

static bool get_number(const uint8_t **p, const uint8_t *end, uint32_t *out)
{
	uint32_t value = 0;

	for (unsigned shift = 0; shift < 35 && *p < end; shift += 7) {
		uint8_t byte = *(*p)++;

		value |= (uint32_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*out = value;
			return true;
		}
	}
	return false;
}

bool bole_bitmap_get_number(const uint8_t **p, size_t *left, uint32_t *value)
{
	const uint8_t *from = *p;

	if (!get_number(p, from + *left, value))
		return false;
	*left -= (size_t)(*p - from);
	return true;
}

void bole_bitmap_put_number(struct bole_buffer *out, uint32_t value)
{
	for (; value >= 0x80; value >>= 7)
		bole_buffer_byte(out, (uint8_t)(value | 0x80));
	bole_buffer_byte(out, (uint8_t)value);
}

static enum bole_status add_runs(const struct bole_bitmap *b, const struct bole_buffer *runs,
                                 const struct bitmap_set *set, struct bitmap_bits *bits)
{
	if (set->len == 0)
		return BOLE_OK; /* there may be no runs at all */
	const uint8_t *p = runs->ptr + set->at;
	const uint8_t *end = p + set->len;
	uint32_t at = 0;
	uint32_t gap, count;

	while (p < end) {
		if (!get_number(&p, end, &gap) || !get_number(&p, end, &count) ||
		    gap > b->positions - at || count > b->positions - at - gap)
			return BOLE_E_CORRUPT;
		at += gap;
		fill(bits, at, count);
		at += count;
	}
	return BOLE_OK;
}

enum bole_status bole_bitmap_unite(const struct bole_bitmap *b, const struct bitmap_set *set,
                                   struct bitmap_bits *bits)
{
	BOLE_ASSERT(bits->count >= (b->positions + (size_t)63) / 64);
	for (;;) {
		BOLE_TRY(add_runs(b, &b->runs, set, bits));
		if (set->base == BITMAP_NONE)
			return BOLE_OK;
		/* Bases come before: no circle. */
		if (set->base >= b->set_count ||
		    (set != &b->all && set->base >= (uint32_t)(set - b->sets)))
			return BOLE_E_CORRUPT;
		set = &b->sets[set->base];
	}
}

/* Appends the runs of a set. */
static enum bole_status put_runs(const struct bole_bitmap *b, struct bole_buffer *runs,
                                 const struct bitmap_bits *bits, struct bitmap_set *set)
{
	uint32_t at = 0;

	set->at = (uint32_t)runs->len;
	for (;;) {
		uint32_t from = bitmap_next(bits, at, b->positions, true);
		if (from == b->positions)
			break;
		uint32_t to = bitmap_next(bits, from, b->positions, false);
		bole_bitmap_put_number(runs, from - at);
		bole_bitmap_put_number(runs, to - from);
		set->objects += to - from;
		at = to;
	}
	set->len = (uint32_t)runs->len - set->at;
	return runs->rc;
}

enum bole_status bole_bitmap_add_set(struct bole_bitmap *b, const struct bole_oid *commit,
                                     uint32_t base, const struct bitmap_bits *bits)
{
	struct bitmap_set set = {.base = base};

	BOLE_TRY(put_runs(b, &b->runs, bits, &set));
	if (base != BITMAP_NONE)
		set.objects += b->sets[base].objects;
	if (set.objects > b->objects)
		b->objects = set.objects;
	if (commit == NULL) {
		b->all = set;
		return BOLE_OK;
	}
	memcpy(set.commit, commit->bytes, b->key_bytes);
	if (b->set_count == b->set_cap) {
		uint32_t cap = b->set_cap == 0 ? 64 : b->set_cap * 2;
		struct bitmap_set *sets =
		        bole_alloc_resize(b->alloc, b->sets, b->set_cap, cap, sizeof *sets);
		if (sets == NULL)
			return BOLE_E_NO_MEMORY;
		b->sets = sets;
		b->set_cap = cap;
	}
	b->sets[b->set_count] = set;
	return bole_oid_index_add(&b->by_commit, b->set_count++);
}

/* -- Closures -- */

const struct bitmap_set *bole_bitmap_closure(const struct bole_bitmap *b,
                                             const struct bole_oid *commit)
{
	for (uint32_t i = 0; i < b->closure_count; i++)
		if (memcmp(b->closures[i].commit, commit->bytes, b->key_bytes) == 0)
			return &b->closures[i];
	return NULL;
}

enum bole_status bole_bitmap_unite_closure(const struct bole_bitmap *b,
                                           const struct bitmap_set *closure,
                                           struct bitmap_bits *bits)
{
	BOLE_ASSERT(bits->count >= (b->positions + (size_t)63) / 64);
	return add_runs(b, &b->closure_runs, closure, bits);
}

enum bole_status bole_bitmap_add_closure(struct bole_bitmap *b, const struct bole_oid *commit,
                                         const struct bitmap_bits *bits)
{
	struct bitmap_set set = {.base = BITMAP_NONE};

	BOLE_ASSERT(b->closure_count < BITMAP_CLOSURES_MAX);
	BOLE_TRY(put_runs(b, &b->closure_runs, bits, &set));
	memcpy(set.commit, commit->bytes, b->key_bytes);
	b->closures[b->closure_count++] = set;
	return BOLE_OK;
}
