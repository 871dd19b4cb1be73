/* SPDX-License-Identifier: ISC */
#include "git/object/write.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/deflate.h"
#include "base/hash.h"
#include "base/memory.h"
#include "bole/store.h"
#include "git/object/object.h"

enum {
	PACK_HEAD_BYTES = 12, /* "PACK", version, count: gitformat-pack(5) */
	PACK_VERSION = 2,
	WHOLE_MAX = 1 << 20, /* larger objects are deflated in steps */
	PIECE_BYTES = 64 * 1024,
};

struct bole_object_writer {
	struct bole_tx *tx;
	struct bole_alloc *alloc;
	struct bole_deflater *deflater;
	uint8_t *scratch; /* the deflated bytes */
	size_t scratch_cap;
};

enum bole_status bole_object_writer_open(struct bole_tx *tx, struct bole_alloc *alloc, int level,
                                         struct bole_object_writer **out)
{
	struct bole_object_writer *writer = bole_alloc_zeroed(alloc, 1, sizeof *writer);

	*out = NULL;
	if (writer == NULL)
		return BOLE_E_NO_MEMORY;
	writer->tx = tx;
	writer->alloc = alloc;
	enum bole_status rc = bole_deflater_open(alloc, level, &writer->deflater);
	if (rc != BOLE_OK) {
		bole_object_writer_close(writer);
		return rc;
	}
	*out = writer;
	return BOLE_OK;
}

void bole_object_writer_close(struct bole_object_writer *writer)
{
	if (writer == NULL)
		return;
	bole_deflater_close(writer->deflater);
	bole_alloc_free(writer->alloc, writer->scratch, writer->scratch_cap, 1);
	bole_alloc_free(writer->alloc, writer, 1, sizeof *writer);
}

static enum bole_status scratch_reserve(struct bole_object_writer *writer, size_t len)
{
	if (len <= writer->scratch_cap)
		return BOLE_OK;
	uint8_t *scratch =
	        bole_alloc_resize(writer->alloc, writer->scratch, writer->scratch_cap, len, 1);
	if (scratch == NULL)
		return BOLE_E_NO_MEMORY;
	writer->scratch = scratch;
	writer->scratch_cap = len;
	return BOLE_OK;
}

static enum bole_status extent_start(struct bole_tx *tx)
{
	uint8_t head[PACK_HEAD_BYTES];
	uint64_t extent;

	memcpy(head, "PACK", 4);
	bole_put_be32(head + 4, PACK_VERSION);
	bole_put_be32(head + 8, 1);
	BOLE_TRY(bole_tx_extent_begin(tx, &extent));
	return bole_tx_extent_append(tx, bole_bytes_of(head, sizeof head));
}

static enum bole_status extent_end(struct bole_tx *tx, const struct bole_oid *oid, uint8_t type,
                                   uint64_t stored_bytes)
{
	struct bole_extent_row row = {
	        .oid = *oid,
	        .offset = PACK_HEAD_BYTES,
	        .stored_bytes = stored_bytes,
	        .type = type,
	};

	return bole_tx_extent_finish(tx, &row, 1);
}

/* Deflates into the scratch buffer at once. */
static enum bole_status write_whole(struct bole_object_writer *writer, uint8_t type,
                                    struct bole_bytes head, struct bole_bytes data,
                                    const struct bole_oid *oid)
{
	size_t bound = bole_deflate_bound(data.len);

	BOLE_TRY(scratch_reserve(writer, bound));
	size_t len = bole_deflate_whole(writer->deflater, data, writer->scratch, bound);
	if (len == 0)
		return BOLE_E_NO_MEMORY;
	struct bole_bytes pieces[2] = {head, bole_bytes_of(writer->scratch, len)};
	uint64_t total = head.len + len;
	if (total <= writer->tx->store->info.record_bytes_max)
		return bole_tx_put(writer->tx, oid, type, pieces, 2);
	BOLE_TRY(extent_start(writer->tx));
	BOLE_TRY(bole_tx_extent_append(writer->tx, pieces[0]));
	BOLE_TRY(bole_tx_extent_append(writer->tx, pieces[1]));
	return extent_end(writer->tx, oid, type, total);
}

/* Deflates piece by piece into an extent. */
static enum bole_status write_steps(struct bole_object_writer *writer, uint8_t type,
                                    struct bole_bytes head, struct bole_bytes data,
                                    const struct bole_oid *oid)
{
	uint64_t total = head.len;
	enum bole_status rc = BOLE_OK;

	BOLE_TRY(scratch_reserve(writer, PIECE_BYTES));
	BOLE_TRY(extent_start(writer->tx));
	BOLE_TRY(bole_tx_extent_append(writer->tx, head));
	bole_deflate_begin(writer->deflater);
	while (rc == BOLE_OK) {
		size_t took = data.len;
		size_t made = PIECE_BYTES;

		rc = bole_deflate_step(writer->deflater, data.ptr, &took, writer->scratch, &made,
		                       true);
		if (rc != BOLE_OK && rc != BOLE_END)
			return rc;
		data.ptr += took;
		data.len -= took;
		total += made;
		BOLE_TRY(bole_tx_extent_append(writer->tx, bole_bytes_of(writer->scratch, made)));
	}
	return extent_end(writer->tx, oid, type, total);
}

enum bole_status bole_object_write(struct bole_object_writer *writer, uint8_t type,
                                   struct bole_bytes data, struct bole_oid *oid)
{
	uint8_t algo = writer->tx->view->repo.algo;
	struct bole_entry_head head = {.type = type, .inflated_bytes = data.len};
	uint8_t head_bytes[BOLE_ENTRY_HEAD_MAX];
	struct bole_entry there;

	/* Values may be chosen by others: their identity is checked like anything received. */
	BOLE_TRY(bole_object_id(algo, type, data, true, oid));
	enum bole_status rc = bole_odb_find(writer->tx->view, oid, &there);
	if (rc != BOLE_E_NOT_FOUND)
		return rc;
	size_t head_len = bole_entry_head_format(&head, algo, head_bytes);
	if (data.len <= WHOLE_MAX)
		return write_whole(writer, type, bole_bytes_of(head_bytes, head_len), data, oid);
	return write_steps(writer, type, bole_bytes_of(head_bytes, head_len), data, oid);
}
