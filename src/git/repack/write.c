/* SPDX-License-Identifier: ISC */
/* The new pack: entries in the order of the log, each behind its base. What is kept is copied as it
 * is stored, still deflated; only heads of deltas are new. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "base/sort.h"
#include "git/repack/delta_encode.h"
#include "git/repack/repack.h"

enum {
	STEP_BYTES = 64 * 1024,
	PACK_VERSION = 2,
	WHOLE_MAX = 4 << 20,
	LEVEL_WORK = 16,
	AGE_RANKS = 32768
};

static enum bole_status append(struct repack *r, struct bole_bytes bytes)
{
	r->written += bytes.len;
	BOLE_TRY(bole_tx_extent_append(r->tx, bytes));
	return bole_repack_spend(r, bytes.len);
}

static enum bole_status append_head(struct repack *r, const struct bole_entry_head *head)
{
	uint8_t bytes[BOLE_ENTRY_HEAD_MAX];

	return append(r, bole_bytes_of(bytes, bole_entry_head_format(head, r->algo, bytes)));
}

/* The deflated bytes of an entry, as they are stored. */
static enum bole_status append_stored(struct repack *r, const struct repack_item *item)
{
	struct bole_entry entry = bole_repack_entry(item);
	struct bole_bytes shown;

	for (uint64_t pos = item->head_bytes; pos < item->stored; pos += shown.len) {
		BOLE_TRY(bole_odb_view(r->snapshot, &entry, pos, &shown));
		BOLE_TRY(append(r, shown));
	}
	return BOLE_OK;
}

static enum bole_status append_deflated(struct repack *r, struct bole_bytes content)
{
	uint8_t *out = bole_alloc_array(r->alloc, STEP_BYTES, 1);
	enum bole_status rc = out == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;

	bole_deflate_begin(r->deflater);
	while (rc == BOLE_OK) {
		size_t took = content.len < STEP_BYTES ? content.len : STEP_BYTES;
		size_t made = STEP_BYTES;
		bool last = took == content.len;

		rc = bole_deflate_step(r->deflater, content.ptr, &took, out, &made, last);
		if (rc < 0)
			break;
		content.ptr += took;
		content.len -= took;
		enum bole_status more = append(r, bole_bytes_of(out, made));
		if (more == BOLE_OK)
			more = bole_repack_spend(r, took * LEVEL_WORK);
		rc = more != BOLE_OK ? more : rc;
	}
	bole_alloc_free(r->alloc, out, out == NULL ? 0 : STEP_BYTES, 1);
	return rc == BOLE_END ? BOLE_OK : rc;
}

/* A delta that there was no memory to keep is made once more. */
static enum bole_status encode_again(struct repack *r, const struct repack_item *item,
                                     uint8_t *delta)
{
	struct bole_entry entry = bole_repack_entry(&r->items[item->base]);
	struct bole_delta_index *index;
	struct bole_bytes content;
	size_t len;

	BOLE_TRY(bole_object_read_entry(r->reader, &entry, &content));
	uint8_t *base = bole_alloc_array(r->alloc, content.len, 1);
	if (base == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(base, content.ptr, content.len);
	size_t base_len = content.len;
	enum bole_status rc =
	        bole_delta_index_open(r->alloc, bole_bytes_of(base, base_len), &index);
	entry = bole_repack_entry(item);
	if (rc == BOLE_OK)
		rc = bole_object_read_entry(r->reader, &entry, &content);
	if (rc == BOLE_OK)
		rc = bole_delta_encode(index, content, delta, item->delta_len, &len);
	if (rc == BOLE_E_LIMIT || (rc == BOLE_OK && len != item->delta_len))
		rc = BOLE_E_CORRUPT; /* it was made of the same bytes */
	bole_delta_index_close(index);
	bole_alloc_free(r->alloc, base, base_len, 1);
	return rc;
}

static enum bole_status append_made(struct repack *r, struct repack_item *item)
{
	if (item->deflated != NULL) {
		enum bole_status rc = append(r, bole_bytes_of(item->deflated, item->deflated_len));

		bole_alloc_free(r->alloc, item->deflated, item->deflated_len, 1);
		item->deflated = NULL;
		return rc;
	}
	uint8_t *delta = bole_alloc_array(r->alloc, item->delta_len, 1);
	if (delta == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = encode_again(r, item, delta);
	if (rc == BOLE_OK)
		rc = append_deflated(r, bole_bytes_of(delta, item->delta_len));
	bole_alloc_free(r->alloc, delta, item->delta_len, 1);
	return rc;
}

/* A delta whose base is not in this pack, and that no other base suits. */
static enum bole_status append_whole(struct repack *r, const struct repack_item *item)
{
	struct bole_entry entry = bole_repack_entry(item);
	struct bole_bytes content;

	BOLE_TRY(bole_object_read_entry(r->reader, &entry, &content));
	struct bole_entry_head head = {.type = item->type, .inflated_bytes = content.len};
	BOLE_TRY(append_head(r, &head));
	return append_deflated(r, content);
}

static enum bole_status write_item(struct repack *r, uint32_t number)
{
	struct repack_item *item = &r->items[number];
	struct bole_extent_row *row = &r->rows[r->row_count];
	struct bole_entry_head head = {.type = item->type, .inflated_bytes = item->payload};

	*row = (struct bole_extent_row){.offset = r->written, .type = item->type};
	bole_oid_from_raw(bole_oid_map_key(&r->map, number), r->algo, &row->oid);
	if (item->base == REPACK_NONE && item->delta) {
		BOLE_TRY(append_whole(r, item));
	} else if (item->base == REPACK_NONE) {
		BOLE_TRY(append_head(r, &head));
		BOLE_TRY(append_stored(r, item));
	} else {
		head.type = BOLE_ENTRY_OFS_DELTA;
		head.base_distance = row->offset - r->rows[r->items[item->base].row].offset;
		if (!item->kept)
			head.inflated_bytes = item->delta_len;
		BOLE_TRY(append_head(r, &head));
		BOLE_TRY(item->kept ? append_stored(r, item) : append_made(r, item));
	}
	row->stored_bytes = r->written - row->offset;
	item->row = (int32_t)r->row_count++;
	r->done++;
	return BOLE_OK;
}

/* An object behind everything that it is based on. */
static enum bole_status write_chain(struct repack *r, uint32_t number, uint32_t *path)
{
	size_t n = 0;

	for (int32_t at = (int32_t)number; at != REPACK_NONE && r->items[at].row == REPACK_NONE;
	     at = r->items[at].base) {
		BOLE_ASSERT(n <= r->options.depth);
		path[n++] = (uint32_t)at;
	}
	while (n > 0)
		BOLE_TRY(write_item(r, path[--n]));
	return BOLE_OK;
}

struct place {
	uint32_t item;
	uint32_t rank;
	uint32_t name;
	uint8_t type;
	bool turned;
};

/* What is in no other order goes from old to new, so that what a client fetches next lies together,
 * behind its bases; in each stretch of AGE_RANKS the versions of a path lie together, so that a
 * chain is read from few places. Bases of what is turned are newer. */
static int by_age(const void *left, const void *right)
{
	const struct place *a = left;
	const struct place *b = right;

	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	if (a->turned != b->turned)
		return b->turned ? -1 : 1;
	if (a->rank / AGE_RANKS != b->rank / AGE_RANKS && !a->turned)
		return a->rank < b->rank ? -1 : 1;
	if (a->name != b->name && !a->turned)
		return a->name < b->name ? -1 : 1;
	if (a->rank != b->rank)
		return (a->rank < b->rank) == a->turned ? 1 : -1;
	return a->item < b->item ? -1 : a->item > b->item;
}

static enum bole_status write_in_order(struct repack *r, struct place *places, uint32_t *path)
{
	bool known = false;

	for (uint32_t i = 0; i < r->map.count; i++) {
		const struct repack_item *item = &r->items[i];

		places[i] = (struct place){i, item->rank, item->name, item->type, item->turned};
		known |= item->rank != 0;
	}
	if (known)
		BOLE_TRY(bole_sort(r->platform, r->alloc, places, r->map.count, sizeof *places,
		                   by_age));
	for (uint32_t i = 0; i < r->map.count; i++)
		BOLE_TRY(write_chain(r, places[i].item, path));
	return BOLE_OK;
}

static enum bole_status write_all(struct repack *r, uint32_t *path)
{
	uint8_t head[REPACK_PACK_HEAD_BYTES] = {'P', 'A', 'C', 'K'};

	bole_put_be32(head + 4, PACK_VERSION);
	bole_put_be32(head + 8, r->map.count);
	BOLE_TRY(bole_tx_extent_begin(r->tx, &r->extent));
	BOLE_TRY(append(r, bole_bytes_of(head, sizeof head)));
	struct place *places = bole_alloc_array(r->alloc, r->map.count, sizeof *places);
	if (places == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = write_in_order(r, places, path);
	bole_alloc_free(r->alloc, places, r->map.count, sizeof *places);
	BOLE_TRY(rc);
	BOLE_ASSERT(r->row_count == r->map.count);
	return bole_tx_extent_finish(r->tx, r->rows, r->row_count);
}

enum bole_status bole_repack_write(struct repack *r)
{
	size_t depth = r->options.depth + 1;
	size_t failed;

	bole_repack_phase(r, "writing", r->map.count);
	BOLE_TRY(bole_tx_begin(r->store, r->repo, &r->tx));
	r->rows = bole_alloc_array(r->alloc, r->map.count, sizeof *r->rows);
	uint32_t *path = bole_alloc_array(r->alloc, depth, sizeof *path);
	enum bole_status rc =
	        r->rows == NULL || path == NULL ? BOLE_E_NO_MEMORY : write_all(r, path);
	bole_alloc_free(r->alloc, path, path == NULL ? 0 : depth, sizeof *path);
	if (rc != BOLE_OK) {
		bole_tx_abort(r->tx);
		return rc;
	}
	r->result->bytes_after = r->written;
	/* Beside the old entries, which are found as before. */
	return bole_tx_commit(r->tx, NULL, 0, &failed);
}
