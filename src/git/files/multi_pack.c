/* SPDX-License-Identifier: ISC */
#include "git/files/multi_pack.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "base/sort.h"
#include "git/files/checked.h"
#include "git/files/chunk_file.h"

enum {
	HEAD_BYTES = 12,
	VERSION = 1,
	FANOUT_BYTES = 256 * 4,
	PACKS_MAX = 1 << 20,
	OFFSET_LARGE_FLAG = 31,
};
#define OFFSET_LARGE ((uint32_t)1 << OFFSET_LARGE_FLAG)

/* -- Reading -- */

struct bole_bytes bole_multi_pack_name(struct bole_bytes *names)
{
	const uint8_t *end = names->len == 0 ? NULL : memchr(names->ptr, '\0', names->len);
	size_t len = end == NULL ? names->len : (size_t)(end - names->ptr);
	struct bole_bytes name = bole_bytes_of(names->ptr, len);

	names->ptr += len + (end != NULL);
	names->len -= len + (end != NULL);
	return name;
}

/* As many names as promised, none empty, none with a folder in it. */
static bool names_valid(struct bole_bytes names, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct bole_bytes name = bole_multi_pack_name(&names);

		if (name.len == 0 || memchr(name.ptr, '/', name.len) != NULL)
			return false;
	}
	return true;
}

enum bole_status bole_multi_pack_open(struct bole_bytes file, uint8_t algo,
                                      struct bole_multi_pack *out)
{
	size_t hash = bole_hash_bytes(algo);
	struct bole_chunk_file chunks;
	struct bole_bytes part;

	*out = (struct bole_multi_pack){.algo = algo, .file = file};
	if (file.len < HEAD_BYTES + hash || memcmp(file.ptr, "MIDX", 4) != 0)
		return BOLE_E_INVALID;
	if (file.ptr[4] != VERSION || file.ptr[5] != algo || file.ptr[7] != 0)
		return BOLE_E_UNSUPPORTED;
	BOLE_TRY(bole_chunk_file_open(file, HEAD_BYTES, file.ptr[6], hash, &chunks));
	out->pack_count = bole_get_be32(file.ptr + 8);
	if (out->pack_count == 0 || out->pack_count > PACKS_MAX ||
	    !bole_chunk_find(&chunks, "PNAM", &out->pack_names) ||
	    !names_valid(out->pack_names, out->pack_count))
		return BOLE_E_INVALID;
	if (!bole_chunk_find(&chunks, "OIDF", &part) || part.len != FANOUT_BYTES)
		return BOLE_E_INVALID;
	out->fanout = part.ptr;
	out->count = bole_get_be32(part.ptr + FANOUT_BYTES - 4);
	if (!bole_fanout_valid(out->fanout, out->count) ||
	    !bole_chunk_find(&chunks, "OIDL", &part) || part.len / hash != out->count ||
	    part.len % hash != 0)
		return BOLE_E_INVALID;
	out->ids = part.ptr;
	if (!bole_chunk_find(&chunks, "OOFF", &part) || part.len / 8 != out->count ||
	    part.len % 8 != 0)
		return BOLE_E_INVALID;
	out->places = part.ptr;
	if (bole_chunk_find(&chunks, "LOFF", &part)) {
		out->large = part.ptr;
		out->large_count = part.len / 8;
	}
	return BOLE_OK;
}

bool bole_multi_pack_find(const struct bole_multi_pack *midx, const uint8_t *id, uint32_t *pos)
{
	size_t hash = bole_hash_bytes(midx->algo);

	return bole_sorted_find(midx->fanout, midx->ids, hash, hash, id, pos);
}

enum bole_status bole_multi_pack_place(const struct bole_multi_pack *midx, uint32_t pos,
                                       uint32_t *pack, uint64_t *offset)
{
	BOLE_ASSERT(pos < midx->count);
	const uint8_t *place = midx->places + (size_t)pos * 8;
	uint32_t low = bole_get_be32(place + 4);

	*pack = bole_get_be32(place);
	*offset = low;
	if (*pack >= midx->pack_count)
		return BOLE_E_INVALID;
	/* Without a table of large offsets all 32 bits are the offset. */
	if (midx->large == NULL || (low & OFFSET_LARGE) == 0)
		return BOLE_OK;
	low &= ~OFFSET_LARGE;
	if (low >= midx->large_count)
		return BOLE_E_INVALID;
	*offset = bole_get_be64(midx->large + (size_t)low * 8);
	return BOLE_OK;
}

enum bole_status bole_multi_pack_verify(const struct bole_multi_pack *midx)
{
	size_t hash = bole_hash_bytes(midx->algo);
	uint64_t offset;
	uint32_t pack;

	if (!bole_checked_valid(midx->file, midx->algo))
		return BOLE_E_CORRUPT;
	for (uint32_t i = 0; i < midx->count; i++) {
		const uint8_t *id = midx->ids + i * hash;
		uint32_t low, high;

		bole_fanout_range(midx->fanout, id[0], &low, &high);
		if (i < low || i >= high || (i > 0 && memcmp(id - hash, id, hash) >= 0))
			return BOLE_E_CORRUPT;
		BOLE_TRY(bole_multi_pack_place(midx, i, &pack, &offset));
	}
	return BOLE_OK;
}

/* -- Writing -- */

struct midx_row {
	const uint8_t *id;
	uint64_t offset;
	uint32_t pack;
	uint32_t hash;
};

static int compare_rows(const void *a, const void *b)
{
	const struct midx_row *x = a, *y = b;
	int order = memcmp(x->id, y->id, x->hash);

	if (order != 0)
		return order;
	return x->pack < y->pack ? -1 : x->pack > y->pack;
}

/* All rows of all packs in order, each id once. */
static enum bole_status gather(struct bole_platform *platform, struct bole_alloc *alloc,
                               const struct bole_multi_pack_source *sources, size_t count,
                               struct midx_row *rows, size_t *kept)
{
	size_t all = 0;
	size_t n = 0;

	for (size_t s = 0; s < count; s++) {
		const struct bole_pack_index *index = &sources[s].index;

		for (uint32_t i = 0; i < index->count; i++) {
			struct midx_row *row = &rows[all++];

			row->id = bole_pack_index_id(index, i);
			row->pack = (uint32_t)s;
			row->hash = (uint32_t)bole_hash_bytes(index->algo);
			BOLE_TRY(bole_pack_index_offset(index, i, &row->offset));
		}
	}
	BOLE_TRY(bole_sort(platform, alloc, rows, all, sizeof *rows, compare_rows));
	for (size_t i = 0; i < all; i++)
		if (n == 0 || memcmp(rows[n - 1].id, rows[i].id, rows[i].hash) != 0)
			rows[n++] = rows[i];
	*kept = n;
	return BOLE_OK;
}

static uint64_t names_bytes(const struct bole_multi_pack_source *sources, size_t count)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < count; i++)
		bytes += strlen(sources[i].name) + 1;
	return bytes;
}

/* Large offsets are used where one does not fit 32 bits; then from 31 bits on. */
static uint64_t large_rows(const struct midx_row *rows, size_t count)
{
	uint64_t large = 0;
	bool needed = false;

	for (size_t i = 0; i < count; i++) {
		large += rows[i].offset >= OFFSET_LARGE;
		needed |= rows[i].offset > UINT32_MAX;
	}
	return needed ? large : 0;
}

static void write_rows(struct bole_checked *c, const struct midx_row *rows, size_t count,
                       bool large, size_t hash)
{
	uint32_t next = 0;
	size_t at = 0;

	for (unsigned first = 0; first < 256; first++) {
		while (at < count && rows[at].id[0] <= first)
			at++;
		bole_checked_be32(c, (uint32_t)at);
	}
	for (size_t i = 0; i < count; i++)
		bole_checked_write(c, rows[i].id, hash);
	for (size_t i = 0; i < count; i++) {
		bole_checked_be32(c, rows[i].pack);
		bole_checked_be32(c, large && rows[i].offset >= OFFSET_LARGE
		                             ? OFFSET_LARGE | next++
		                             : (uint32_t)rows[i].offset);
	}
	for (size_t i = 0; i < count && large; i++)
		if (rows[i].offset >= OFFSET_LARGE)
			bole_checked_be64(c, rows[i].offset);
}

static enum bole_status write_file(const struct bole_multi_pack_source *sources, size_t count,
                                   uint8_t algo, const struct midx_row *rows, size_t kept,
                                   struct bole_writer *writer)
{
	static const uint8_t zeros[4];
	size_t hash = bole_hash_bytes(algo);
	uint64_t names = names_bytes(sources, count);
	uint64_t large = large_rows(rows, kept);
	uint8_t head[8] = {'M', 'I', 'D', 'X', VERSION, algo, large > 0 ? 5 : 4, 0};
	struct bole_chunk chunks[5] = {{"PNAM", (names + 3) / 4 * 4},
	                               {"OIDF", FANOUT_BYTES},
	                               {"OIDL", kept * hash},
	                               {"OOFF", kept * 8},
	                               {"LOFF", large * 8}};
	struct bole_checked c;

	bole_checked_init(&c, algo, writer);
	bole_checked_write(&c, head, sizeof head);
	bole_checked_be32(&c, (uint32_t)count);
	bole_chunk_toc_write(&c, HEAD_BYTES, chunks, head[6]);
	for (size_t i = 0; i < count; i++)
		bole_checked_write(&c, sources[i].name, strlen(sources[i].name) + 1);
	bole_checked_write(&c, zeros, (size_t)(chunks[0].bytes - names));
	write_rows(&c, rows, kept, large > 0, hash);
	return bole_checked_end(&c);
}

enum bole_status bole_multi_pack_write(struct bole_platform *platform, struct bole_alloc *alloc,
                                       const struct bole_multi_pack_source *sources, size_t count,
                                       uint8_t algo, struct bole_writer *writer)
{
	size_t all = 0;
	size_t kept = 0;

	for (size_t s = 0; s < count; s++)
		all += sources[s].index.count;
	if (count == 0 || count > PACKS_MAX || all > UINT32_MAX)
		return BOLE_E_LIMIT;
	size_t cap = all == 0 ? 1 : all;
	struct midx_row *rows = bole_alloc_array(alloc, cap, sizeof *rows);
	if (rows == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = gather(platform, alloc, sources, count, rows, &kept);
	if (rc == BOLE_OK)
		rc = write_file(sources, count, algo, rows, kept, writer);
	bole_alloc_free(alloc, rows, cap, sizeof *rows);
	return rc;
}
