/* SPDX-License-Identifier: ISC */
/* Which packs are written anew: the smallest ones that are not in a geometric progression with
 * those behind them, so that a byte is rewritten about as often as the logarithm of the whole. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "git/repack/repack.h"

enum {
	PACKS_FIRST = 16,
	ROWS_AT_ONCE = 256,
	MADE_KIND = 16,
	MADE_MAGIC = 0x314d5042, /* "BPM1" */
	MADE_HEAD_BYTES = 4,     /* magic; then extents, 8 bytes each */
	MADE_MAX = 64,           /* of these that are remembered */
	RAW_MIN = 1 << 20,
	OBJECT_BYTES = 256, /* of memory, that an object takes */
	MEMORY_FACTOR = 4,  /* of memory_bytes, that they may take */
};

static enum bole_status add_pack(struct repack *r, const struct bole_extent_info *info)
{
	if (r->pack_count == r->pack_cap) {
		size_t cap = r->pack_cap == 0 ? PACKS_FIRST : r->pack_cap * 2;
		void *packs =
		        bole_alloc_resize(r->alloc, r->packs, r->pack_cap, cap, sizeof *r->packs);

		if (packs == NULL)
			return BOLE_E_NO_MEMORY;
		r->packs = packs;
		r->pack_cap = cap;
	}
	r->packs[r->pack_count++] = *info;
	return BOLE_OK;
}

static enum bole_status list_packs(struct repack *r)
{
	struct bole_extent_info info = {.extent = 0};
	enum bole_status rc;

	while ((rc = bole_extent_next(r->snapshot, info.extent, &info)) == BOLE_OK)
		BOLE_TRY(add_pack(r, &info));
	if (rc == BOLE_E_NOT_FOUND)
		return BOLE_E_UNSUPPORTED;
	return rc == BOLE_END ? BOLE_OK : rc;
}

bool bole_repack_is_taken(const struct repack *r, uint64_t extent)
{
	size_t low = 0;
	size_t high = r->taken_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (r->taken[mid] == extent)
			return true;
		if (r->taken[mid] < extent)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

void bole_repack_take(struct repack *r, uint64_t extent)
{
	size_t at = r->taken_count;

	BOLE_ASSERT(at < r->pack_count);
	for (; at > 0 && r->taken[at - 1] > extent; at--)
		r->taken[at] = r->taken[at - 1];
	r->taken[at] = extent;
	r->taken_count++;
}

static int by_length(const void *left, const void *right)
{
	const struct bole_extent_info *a = left;
	const struct bole_extent_info *b = right;

	if (a->data_bytes != b->data_bytes)
		return a->data_bytes < b->data_bytes ? -1 : 1;
	return a->extent < b->extent ? -1 : a->extent > b->extent;
}

static int by_number(const void *left, const void *right)
{
	uint64_t a = ((const struct bole_extent_info *)left)->extent;
	uint64_t b = ((const struct bole_extent_info *)right)->extent;

	return a < b ? -1 : a > b;
}

bool bole_repack_is_pack(const struct repack *r, uint64_t extent)
{
	struct bole_extent_info key = {.extent = extent};

	return r->pack_count != 0 &&
	       bsearch(&key, r->packs, r->pack_count, sizeof key, by_number) != NULL;
}

/* How many of the packs, which are in the order of their lengths, are taken. */
static size_t split(const struct repack *r)
{
	uint64_t sum = 0;
	size_t count = 0;

	if (r->options.all)
		return r->pack_count;
	for (size_t i = 0; i < r->pack_count; i++) {
		if (r->packs[i].data_bytes / r->options.factor < sum)
			count = i + 1;
		sum += r->packs[i].data_bytes;
	}
	return count;
}

/* -- What a repack has made -- */

static struct bole_aux_key made_key(void)
{
	static const uint8_t key = 0;

	return (struct bole_aux_key){BOLE_AUX_DERIVED, MADE_KIND, {&key, 1}};
}

/* The extents that repacks have made, of those there are; returns how many. */
static size_t list_made(const struct repack *r, uint64_t made[MADE_MAX])
{
	struct bole_aux_key key = made_key();
	size_t count = 0;
	uint8_t *value;
	size_t len;

	if (r->snapshot->store->aux->get(r->snapshot, &key, r->alloc, &value, &len) != BOLE_OK)
		return 0;
	bool known = len >= MADE_HEAD_BYTES && bole_get_le32(value) == MADE_MAGIC;
	for (size_t at = MADE_HEAD_BYTES; known && len - at >= 8 && count < MADE_MAX; at += 8) {
		uint64_t extent = bole_get_le64(value + at);

		if (bole_repack_is_pack(r, extent))
			made[count++] = extent;
	}
	bole_alloc_free(r->alloc, value, len, 1);
	return count;
}

enum bole_status bole_repack_note_made(struct repack *r)
{
	uint8_t value[MADE_HEAD_BYTES + MADE_MAX * 8];
	struct bole_aux_key key = made_key();
	uint64_t made[MADE_MAX];
	size_t len = MADE_HEAD_BYTES;
	struct bole_tx *tx;
	size_t failed;

	size_t count = list_made(r, made);
	bole_put_le32(value, MADE_MAGIC);
	bole_put_le64(value + len, r->extent);
	len += 8;
	for (size_t i = 0; i < count && i + 1 < MADE_MAX; i++) {
		if (bole_repack_is_taken(r, made[i]))
			continue;
		bole_put_le64(value + len, made[i]);
		len += 8;
	}
	BOLE_TRY(bole_tx_begin(r->store, r->repo, &tx));
	enum bole_status rc = r->store->aux->put(tx, &key, bole_bytes_of(value, len));
	if (rc != BOLE_OK) {
		bole_tx_abort(tx);
		return rc;
	}
	return bole_tx_commit(tx, NULL, 0, &failed);
}

/* Most of what there is was packed by others. */
static bool is_raw(const struct repack *r)
{
	uint64_t made[MADE_MAX];
	uint64_t rows = 0;
	uint64_t raw = 0;
	uint64_t ours = 0;

	size_t count = list_made(r, made);
	for (size_t i = 0; i < r->pack_count; i++) {
		bool known = false;

		for (size_t k = 0; k < count && !known; k++)
			known = made[k] == r->packs[i].extent;
		*(known ? &ours : &raw) += r->packs[i].data_bytes;
		rows += r->packs[i].rows;
	}
	return raw >= RAW_MIN && raw >= ours && raw <= r->options.raw_max &&
	       ours <= r->options.raw_max - raw &&
	       rows <= r->options.memory_bytes / OBJECT_BYTES * MEMORY_FACTOR;
}

enum bole_status bole_repack_choose(struct repack *r)
{
	BOLE_TRY(list_packs(r));
	if (r->pack_count == 0)
		return r->options.all ? BOLE_OK : BOLE_END;
	if (r->options.raw_max != 0 && is_raw(r))
		r->options.all = true;
	r->taken = bole_alloc_array(r->alloc, r->pack_count, sizeof *r->taken);
	if (r->taken == NULL)
		return BOLE_E_NO_MEMORY;
	qsort(r->packs, r->pack_count, sizeof *r->packs, by_length);
	size_t count = split(r);
	if (!r->options.all && count < r->options.packs_min)
		return BOLE_END;
	for (size_t i = 0; i < count; i++)
		bole_repack_take(r, r->packs[i].extent);
	qsort(r->packs, r->pack_count, sizeof *r->packs, by_number);
	return BOLE_OK;
}

static enum bole_status has_shared(struct repack *r, struct bole_snapshot *snapshot,
                                   uint64_t extent, bool *shared)
{
	struct bole_extent_place places[ROWS_AT_ONCE];
	struct bole_entry entry;
	struct bole_oid oid;
	uint32_t first = 0;

	for (;;) {
		size_t count = ROWS_AT_ONCE;

		enum bole_status rc = bole_extent_rows(snapshot, extent, first, places, &count);
		if (rc == BOLE_E_NOT_FOUND || (rc == BOLE_OK && count == 0))
			return BOLE_OK; /* gone meanwhile, or at its end */
		BOLE_TRY(rc);
		for (size_t i = 0; i < count; i++) {
			BOLE_TRY(bole_odb_entry_at(snapshot, extent, places[i].offset, &oid,
			                           &entry));
			*shared = bole_oid_map_find(&r->map, oid.bytes) != BOLE_OID_NONE;
			if (*shared)
				return BOLE_OK;
			BOLE_TRY(bole_repack_spend(r, 64));
		}
		first += (uint32_t)count;
	}
}

enum bole_status bole_repack_shared(struct repack *r, struct bole_snapshot *snapshot,
                                    uint64_t *extent)
{
	struct bole_extent_info info = {.extent = 0};
	enum bole_status rc;
	bool shared = false;

	*extent = 0;
	while ((rc = bole_extent_next(snapshot, info.extent, &info)) == BOLE_OK) {
		if (info.extent == r->extent || bole_repack_is_taken(r, info.extent))
			continue;
		BOLE_TRY(has_shared(r, snapshot, info.extent, &shared));
		if (!shared)
			continue;
		*extent = info.extent;
		return BOLE_OK;
	}
	return rc == BOLE_END ? BOLE_OK : rc;
}
