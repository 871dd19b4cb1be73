/* SPDX-License-Identifier: ISC */
#include "git/files/chunk_file.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/files/checked.h"

static const uint8_t *row_at(const struct bole_chunk_file *chunks, unsigned i)
{
	return chunks->file.ptr + chunks->toc + (size_t)i * BOLE_CHUNK_ROW_BYTES;
}

enum bole_status bole_chunk_file_open(struct bole_bytes file, size_t toc, unsigned count,
                                      size_t tail, struct bole_chunk_file *out)
{
	size_t toc_bytes = ((size_t)count + 1) * BOLE_CHUNK_ROW_BYTES;

	*out = (struct bole_chunk_file){.file = file, .toc = toc, .count = count};
	if (count > BOLE_CHUNKS_MAX || file.len < tail || toc > file.len - tail ||
	    toc_bytes > file.len - tail - toc)
		return BOLE_E_INVALID;
	uint64_t before = toc + toc_bytes;
	for (unsigned i = 0; i <= count; i++) {
		uint64_t offset = bole_get_be64(row_at(out, i) + 4);
		bool last = bole_get_be32(row_at(out, i)) == 0;

		if (offset < before || offset > file.len - tail || last != (i == count))
			return BOLE_E_INVALID;
		before = offset;
		for (unsigned j = 0; j < i; j++)
			if (memcmp(row_at(out, i), row_at(out, j), 4) == 0)
				return BOLE_E_INVALID;
	}
	return BOLE_OK;
}

bool bole_chunk_find(const struct bole_chunk_file *chunks, const char *id, struct bole_bytes *out)
{
	for (unsigned i = 0; i < chunks->count; i++) {
		uint64_t start = bole_get_be64(row_at(chunks, i) + 4);
		uint64_t end = bole_get_be64(row_at(chunks, i + 1) + 4);

		if (memcmp(row_at(chunks, i), id, 4) != 0)
			continue;
		*out = bole_bytes_of(chunks->file.ptr + start, (size_t)(end - start));
		return true;
	}
	*out = (struct bole_bytes){NULL, 0};
	return false;
}

void bole_chunk_toc_write(struct bole_checked *c, size_t toc, const struct bole_chunk *chunks,
                          unsigned count)
{
	uint64_t at = toc + ((uint64_t)count + 1) * BOLE_CHUNK_ROW_BYTES;

	for (unsigned i = 0; i < count; i++) {
		bole_checked_write(c, chunks[i].id, 4);
		bole_checked_be64(c, at);
		at += chunks[i].bytes;
	}
	bole_checked_be32(c, 0);
	bole_checked_be64(c, at);
}
