/* SPDX-License-Identifier: ISC */
#include "git/files/pack_index.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/files/checked.h"

enum {
	FANOUT_BYTES = 256 * 4,
	V2_HEAD_BYTES = 8,
	V2_VERSION = 2,
	REV_HEAD_BYTES = 12,
	REV_VERSION = 1,
	OFFSET_LARGE_FLAG = 31, /* bit: the rest is a place in the table of large offsets */
};
static const uint8_t v2_magic[4] = {0xff, 't', 'O', 'c'};
#define OFFSET_LARGE ((uint32_t)1 << OFFSET_LARGE_FLAG)

/* -- Sorted ids -- */

void bole_fanout_range(const uint8_t *fanout, uint8_t first, uint32_t *low, uint32_t *high)
{
	*low = first == 0 ? 0 : bole_get_be32(fanout + 4 * ((size_t)first - 1));
	*high = bole_get_be32(fanout + 4 * (size_t)first);
}

bool bole_fanout_valid(const uint8_t *fanout, uint32_t count)
{
	uint32_t before = 0;

	for (size_t i = 0; i < 256; i++) {
		uint32_t at = bole_get_be32(fanout + 4 * i);

		if (at < before)
			return false;
		before = at;
	}
	return before == count;
}

bool bole_sorted_find(const uint8_t *fanout, const uint8_t *ids, size_t stride, size_t hash,
                      const uint8_t *id, uint32_t *pos)
{
	uint32_t low, high;

	bole_fanout_range(fanout, id[0], &low, &high);
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = memcmp(ids + (size_t)middle * stride, id, hash);

		if (order == 0) {
			*pos = middle;
			return true;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/* -- Reading -- */

static enum bole_status open_v1(struct bole_bytes file, struct bole_pack_index *out)
{
	size_t hash = bole_hash_bytes(out->algo);

	if (file.len < FANOUT_BYTES + 2 * hash)
		return BOLE_E_INVALID;
	out->version = 1;
	out->fanout = file.ptr;
	out->count = bole_get_be32(out->fanout + FANOUT_BYTES - 4);
	if ((file.len - FANOUT_BYTES - 2 * hash) / (4 + hash) != out->count ||
	    (file.len - FANOUT_BYTES - 2 * hash) % (4 + hash) != 0)
		return BOLE_E_INVALID;
	out->offsets = file.ptr + FANOUT_BYTES;
	out->ids = out->offsets + 4;
	return BOLE_OK;
}

static enum bole_status open_v2(struct bole_bytes file, struct bole_pack_index *out)
{
	size_t hash = bole_hash_bytes(out->algo);
	size_t fixed = V2_HEAD_BYTES + FANOUT_BYTES + 2 * hash;

	if (bole_get_be32(file.ptr + 4) != V2_VERSION)
		return BOLE_E_UNSUPPORTED;
	if (file.len < fixed)
		return BOLE_E_INVALID;
	out->version = 2;
	out->fanout = file.ptr + V2_HEAD_BYTES;
	out->count = bole_get_be32(out->fanout + FANOUT_BYTES - 4);
	size_t rows = (file.len - fixed) / (hash + 8);
	if (rows < out->count)
		return BOLE_E_INVALID;
	size_t rest = file.len - fixed - out->count * (hash + 8);
	if (rest % 8 != 0 || rest / 8 > out->count)
		return BOLE_E_INVALID;
	out->ids = out->fanout + FANOUT_BYTES;
	out->crcs = out->ids + out->count * hash;
	out->offsets = out->crcs + (size_t)out->count * 4;
	out->large = out->offsets + (size_t)out->count * 4;
	out->large_count = rest / 8;
	return BOLE_OK;
}

enum bole_status bole_pack_index_open(struct bole_bytes file, uint8_t algo,
                                      struct bole_pack_index *out)
{
	size_t hash = bole_hash_bytes(algo);

	memset(out, 0, sizeof *out);
	out->algo = algo;
	if (file.len < V2_HEAD_BYTES)
		return BOLE_E_INVALID;
	if (memcmp(file.ptr, v2_magic, sizeof v2_magic) == 0)
		BOLE_TRY(open_v2(file, out));
	else
		BOLE_TRY(open_v1(file, out));
	if (!bole_fanout_valid(out->fanout, out->count))
		return BOLE_E_INVALID;
	out->trailer = file.ptr + file.len - 2 * hash;
	out->body_bytes = file.len - hash;
	return BOLE_OK;
}

static size_t id_stride(const struct bole_pack_index *index)
{
	return bole_hash_bytes(index->algo) + (index->version == 1 ? 4 : 0);
}

const uint8_t *bole_pack_index_id(const struct bole_pack_index *index, uint32_t pos)
{
	BOLE_ASSERT(pos < index->count);
	return index->ids + pos * id_stride(index);
}

enum bole_status bole_pack_index_offset(const struct bole_pack_index *index, uint32_t pos,
                                        uint64_t *out)
{
	BOLE_ASSERT(pos < index->count);
	if (index->version == 1) {
		*out = bole_get_be32(index->offsets + pos * id_stride(index));
		return BOLE_OK;
	}
	uint32_t offset = bole_get_be32(index->offsets + (size_t)pos * 4);
	*out = offset;
	if ((offset & OFFSET_LARGE) == 0)
		return BOLE_OK;
	offset &= ~OFFSET_LARGE;
	if (offset >= index->large_count)
		return BOLE_E_INVALID;
	*out = bole_get_be64(index->large + (size_t)offset * 8);
	return BOLE_OK;
}

bool bole_pack_index_crc(const struct bole_pack_index *index, uint32_t pos, uint32_t *out)
{
	BOLE_ASSERT(pos < index->count);
	if (index->version == 1)
		return false;
	*out = bole_get_be32(index->crcs + (size_t)pos * 4);
	return true;
}

bool bole_pack_index_find(const struct bole_pack_index *index, const uint8_t *id, uint32_t *pos)
{
	return bole_sorted_find(index->fanout, index->ids, id_stride(index),
	                        bole_hash_bytes(index->algo), id, pos);
}

enum bole_status bole_pack_index_verify(const struct bole_pack_index *index)
{
	size_t hash = bole_hash_bytes(index->algo);
	const uint8_t *start = index->version == 1 ? index->fanout : index->fanout - V2_HEAD_BYTES;
	uint64_t offset;

	if (!bole_checked_valid(bole_bytes_of(start, index->body_bytes + hash), index->algo))
		return BOLE_E_CORRUPT;
	for (uint32_t i = 0; i < index->count; i++) {
		const uint8_t *id = bole_pack_index_id(index, i);
		uint32_t low, high;

		bole_fanout_range(index->fanout, id[0], &low, &high);
		if (i < low || i >= high)
			return BOLE_E_CORRUPT;
		/* Equal ids do occur: a pack may hold an object twice. */
		if (i > 0 && memcmp(bole_pack_index_id(index, i - 1), id, hash) > 0)
			return BOLE_E_CORRUPT;
		BOLE_TRY(bole_pack_index_offset(index, i, &offset));
	}
	return BOLE_OK;
}

enum bole_status bole_pack_rev_open(struct bole_bytes file, uint8_t algo, uint32_t count,
                                    const uint8_t **out)
{
	size_t hash = bole_hash_bytes(algo);
	size_t fixed = REV_HEAD_BYTES + 2 * hash;

	*out = NULL;
	if (file.len < fixed || memcmp(file.ptr, "RIDX", 4) != 0 ||
	    bole_get_be32(file.ptr + 4) != REV_VERSION || bole_get_be32(file.ptr + 8) != algo ||
	    (file.len - fixed) / 4 != count || (file.len - fixed) % 4 != 0)
		return BOLE_E_INVALID;
	for (uint32_t i = 0; i < count; i++)
		if (bole_get_be32(file.ptr + REV_HEAD_BYTES + (size_t)i * 4) >= count)
			return BOLE_E_INVALID;
	if (!bole_checked_valid(file, algo))
		return BOLE_E_INVALID;
	*out = file.ptr + REV_HEAD_BYTES;
	return BOLE_OK;
}

/* -- Writing -- */

int bole_pack_row_compare(const void *a, const void *b)
{
	const struct bole_pack_row *x = a, *y = b;
	int order = bole_oid_compare(&x->oid, &y->oid);

	return order != 0 ? order : bole_pack_row_offset_compare(a, b);
}

int bole_pack_row_offset_compare(const void *a, const void *b)
{
	const struct bole_pack_row *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static void write_fanout(struct bole_checked *c, const struct bole_pack_row *rows, size_t count)
{
	size_t at = 0;

	for (unsigned first = 0; first < 256; first++) {
		while (at < count && rows[at].oid.bytes[0] <= first)
			at++;
		bole_checked_be32(c, (uint32_t)at);
	}
}

enum bole_status bole_pack_index_write(const struct bole_pack_row *rows, size_t count,
                                       const struct bole_oid *pack, struct bole_writer *writer)
{
	size_t hash = bole_hash_bytes(pack->algo);
	struct bole_checked c;
	uint32_t large = 0;

	if (count > UINT32_MAX)
		return BOLE_E_LIMIT;
	bole_checked_init(&c, pack->algo, writer);
	bole_checked_write(&c, v2_magic, sizeof v2_magic);
	bole_checked_be32(&c, V2_VERSION);
	write_fanout(&c, rows, count);
	for (size_t i = 0; i < count; i++)
		bole_checked_write(&c, rows[i].oid.bytes, hash);
	for (size_t i = 0; i < count; i++)
		bole_checked_be32(&c, rows[i].crc);
	for (size_t i = 0; i < count; i++)
		bole_checked_be32(&c, rows[i].offset < OFFSET_LARGE ? (uint32_t)rows[i].offset
		                                                    : OFFSET_LARGE | large++);
	for (size_t i = 0; i < count; i++)
		if (rows[i].offset >= OFFSET_LARGE)
			bole_checked_be64(&c, rows[i].offset);
	bole_checked_write(&c, pack->bytes, hash);
	return bole_checked_end(&c);
}

enum bole_status bole_pack_rev_write(const uint32_t *positions, size_t count,
                                     const struct bole_oid *pack, struct bole_writer *writer)
{
	struct bole_checked c;

	bole_checked_init(&c, pack->algo, writer);
	bole_checked_write(&c, "RIDX", 4);
	bole_checked_be32(&c, REV_VERSION);
	bole_checked_be32(&c, pack->algo);
	for (size_t i = 0; i < count; i++)
		bole_checked_be32(&c, positions[i]);
	bole_checked_write(&c, pack->bytes, bole_hash_bytes(pack->algo));
	return bole_checked_end(&c);
}
