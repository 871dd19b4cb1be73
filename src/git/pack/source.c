/* SPDX-License-Identifier: ISC */
#include "git/pack/source.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bole/store.h"

/* An offset delta that becomes a record has a longer head than in the pack. */
enum { RECORD_HEAD_GROWTH = 64 };

enum bole_status bole_pack_source_init(struct pack_source *source, struct bole_tx *tx,
                                       struct bole_alloc *alloc, uint8_t algo)
{
	uint64_t min = tx->store->info.extent_bytes_min;

	*source = (struct pack_source){.tx = tx, .alloc = alloc};
	source->extent_bytes_min = min > RECORD_HEAD_GROWTH ? min - RECORD_HEAD_GROWTH : 0;
	bole_hash_init(&source->hash, algo);
	bole_buffer_init(&source->kept, alloc, SIZE_MAX);
	source->staging = bole_alloc_array(alloc, PACK_SOURCE_STAGE_BYTES, 1);
	return source->staging != NULL ? BOLE_OK : BOLE_E_NO_MEMORY;
}

void bole_pack_source_release(struct pack_source *source)
{
	if (source->alloc == NULL)
		return;
	for (size_t i = 0; i < PACK_SOURCE_CHUNKS; i++)
		bole_alloc_free(source->alloc, source->chunks[i].bytes, PACK_SOURCE_CHUNK_BYTES, 1);
	bole_alloc_free(source->alloc, source->joined, PACK_SOURCE_CHUNK_BYTES, 1);
	bole_alloc_free(source->alloc, source->staging, PACK_SOURCE_STAGE_BYTES, 1);
	bole_buffer_release(&source->kept);
	*source = (struct pack_source){0};
}

static enum bole_status spill(struct pack_source *source)
{
	uint64_t extent;

	BOLE_TRY(bole_tx_extent_begin(source->tx, &extent));
	source->in_extent = true;
	if (source->kept.len > 0)
		BOLE_TRY(bole_tx_extent_append(source->tx,
		                               bole_bytes_of(source->kept.ptr, source->kept.len)));
	bole_buffer_release(&source->kept);
	bole_buffer_init(&source->kept, source->alloc, SIZE_MAX);
	return BOLE_OK;
}

static enum bole_status put_away(struct pack_source *source)
{
	if (source->staged == 0)
		return BOLE_OK;
	bole_hash_update(&source->hash, source->staging, source->staged);
	if (!source->in_extent && source->len >= source->extent_bytes_min)
		BOLE_TRY(spill(source));
	struct bole_bytes piece = bole_bytes_of(source->staging, source->staged);

	source->staged = 0;
	if (source->in_extent)
		return bole_tx_extent_append(source->tx, piece);
	bole_buffer_append(&source->kept, piece.ptr, piece.len);
	return source->kept.rc;
}

enum bole_status bole_pack_source_take(struct pack_source *source, const void *src, size_t len)
{
	const uint8_t *from = src;

	while (len > 0) {
		size_t room = PACK_SOURCE_STAGE_BYTES - source->staged;
		size_t part = len < room ? len : room;

		memcpy(source->staging + source->staged, from, part);
		source->staged += part;
		source->len += part;
		from += part;
		len -= part;
		if (source->staged == PACK_SOURCE_STAGE_BYTES)
			BOLE_TRY(put_away(source));
	}
	return BOLE_OK;
}

enum bole_status bole_pack_source_seal(struct pack_source *source, struct bole_oid *sum)
{
	BOLE_TRY(put_away(source));
	bole_hash_final(&source->hash, sum);
	bole_alloc_free(source->alloc, source->staging, PACK_SOURCE_STAGE_BYTES, 1);
	source->staging = NULL;
	return BOLE_OK;
}

enum bole_status bole_pack_source_to_extent(struct pack_source *source)
{
	BOLE_ASSERT(source->staging == NULL);
	return source->in_extent ? BOLE_OK : spill(source);
}

enum bole_status bole_pack_source_append(struct pack_source *source, struct bole_bytes bytes)
{
	uint64_t last = source->len / PACK_SOURCE_CHUNK_BYTES;

	BOLE_ASSERT(source->in_extent && source->staging == NULL);
	/* The last piece was read when it was shorter. */
	for (size_t i = 0; i < PACK_SOURCE_CHUNKS; i++)
		if (source->chunks[i].number == last)
			source->chunks[i].stamp = 0;
	BOLE_TRY(bole_tx_extent_append(source->tx, bytes));
	source->len += bytes.len;
	return BOLE_OK;
}

/* The chunk with this number, read if it is not held; the one least recently used gives way. */
static enum bole_status chunk_get(struct pack_source *source, uint64_t number,
                                  const uint8_t **bytes)
{
	struct pack_chunk *oldest = &source->chunks[0];
	uint64_t at = number * PACK_SOURCE_CHUNK_BYTES;
	uint64_t rest = source->len - at;

	for (size_t i = 0; i < PACK_SOURCE_CHUNKS; i++) {
		struct pack_chunk *chunk = &source->chunks[i];

		if (chunk->stamp != 0 && chunk->number == number) {
			chunk->stamp = ++source->clock;
			*bytes = chunk->bytes;
			return BOLE_OK;
		}
		if (chunk->stamp < oldest->stamp)
			oldest = chunk;
	}
	if (oldest->bytes == NULL)
		oldest->bytes = bole_alloc_array(source->alloc, PACK_SOURCE_CHUNK_BYTES, 1);
	if (oldest->bytes == NULL)
		return BOLE_E_NO_MEMORY;
	oldest->stamp = 0;
	BOLE_TRY(bole_tx_extent_read(source->tx, at, oldest->bytes,
	                             rest < PACK_SOURCE_CHUNK_BYTES ? (size_t)rest
	                                                            : PACK_SOURCE_CHUNK_BYTES));
	oldest->number = number;
	oldest->stamp = ++source->clock;
	*bytes = oldest->bytes;
	return BOLE_OK;
}

enum bole_status bole_pack_source_view(struct pack_source *source, uint64_t offset, size_t len,
                                       struct bole_bytes *out)
{
	const uint8_t *bytes;
	uint64_t number = offset / PACK_SOURCE_CHUNK_BYTES;
	size_t skip = (size_t)(offset % PACK_SOURCE_CHUNK_BYTES);
	size_t first = PACK_SOURCE_CHUNK_BYTES - skip;

	BOLE_ASSERT(len <= PACK_SOURCE_CHUNK_BYTES);
	BOLE_ASSERT(bole_in_bounds(offset, len, source->len));
	if (!source->in_extent) {
		*out = bole_bytes_of(source->kept.ptr + offset, len);
		return BOLE_OK;
	}
	BOLE_TRY(chunk_get(source, number, &bytes));
	if (len <= first) {
		*out = bole_bytes_of(bytes + skip, len);
		return BOLE_OK;
	}
	if (source->joined == NULL)
		source->joined = bole_alloc_array(source->alloc, PACK_SOURCE_CHUNK_BYTES, 1);
	if (source->joined == NULL)
		return BOLE_E_NO_MEMORY;
	memcpy(source->joined, bytes + skip, first);
	BOLE_TRY(chunk_get(source, number + 1, &bytes));
	memcpy(source->joined + first, bytes, len - first);
	*out = bole_bytes_of(source->joined, len);
	return BOLE_OK;
}
