/* SPDX-License-Identifier: ISC */
#include "git/files/pack_file.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/deflate.h"
#include "base/memory.h"
#include "base/sort.h"

enum { ROWS_FIRST = 1024, PATH_BYTES = 256 };

/* Bytes of entries, in order, for the checksums of the rows. */
static void feed(struct bole_pack_file *file, const uint8_t *src, size_t len)
{
	while (len > 0 && file->count > 0) {
		size_t part = len;

		if (file->at < file->rows[0].offset) {
			uint64_t skip = file->rows[0].offset - file->at;

			part = skip < part ? (size_t)skip : part;
		} else {
			uint64_t left = UINT64_MAX;

			if (file->row + 1 < file->count)
				left = file->rows[file->row + 1].offset - file->at;
			if (left == 0) {
				file->row++;
				continue;
			}
			struct bole_pack_row *row = &file->rows[file->row];
			part = left < part ? (size_t)left : part;
			row->crc = bole_crc32(row->crc, bole_bytes_of(src, part));
		}
		src += part;
		len -= part;
		file->at += part;
	}
	file->at += len;
}

/* Everything but the last bytes, which may turn out to be the trailer, is fed. */
static enum bole_status file_write(struct bole_writer *self, const void *src, size_t len)
{
	struct bole_pack_file *file = (struct bole_pack_file *)self;
	size_t hash = bole_hash_bytes(file->algo);
	const uint8_t *from = src;
	size_t rest = len;

	BOLE_TRY(file->rc);
	if (rest >= hash) {
		feed(file, file->tail, file->tail_len);
		feed(file, from, rest - hash);
		memcpy(file->tail, from + rest - hash, hash);
		file->tail_len = hash;
	} else {
		size_t out = file->tail_len + rest > hash ? file->tail_len + rest - hash : 0;

		feed(file, file->tail, out);
		memmove(file->tail, file->tail + out, file->tail_len - out);
		file->tail_len -= out;
		if (rest > 0)
			memcpy(file->tail + file->tail_len, from, rest);
		file->tail_len += rest;
	}
	file->bytes += len;
	file->rc = file->next->write(file->next, src, len);
	return file->rc;
}

static enum bole_status file_flush(struct bole_writer *self)
{
	struct bole_pack_file *file = (struct bole_pack_file *)self;

	return file->rc == BOLE_OK ? file->next->flush(file->next) : file->rc;
}

void bole_pack_file_init(struct bole_pack_file *file, struct bole_alloc *alloc, uint8_t algo,
                         struct bole_writer *next)
{
	*file = (struct bole_pack_file){.writer = {.write = file_write, .flush = file_flush},
	                                .next = next,
	                                .alloc = alloc,
	                                .algo = algo};
}

void bole_pack_file_release(struct bole_pack_file *file)
{
	bole_alloc_free(file->alloc, file->rows, file->cap, sizeof *file->rows);
	file->rows = NULL;
	file->count = 0;
	file->cap = 0;
}

void bole_pack_file_placed(void *ctx, const struct bole_oid *oid, uint64_t offset)
{
	struct bole_pack_file *file = ctx;

	if (file->rc != BOLE_OK)
		return;
	if (file->count == file->cap) {
		size_t cap = file->cap == 0 ? ROWS_FIRST : file->cap * 2;
		struct bole_pack_row *rows =
		        bole_alloc_resize(file->alloc, file->rows, file->cap, cap, sizeof *rows);

		if (rows == NULL) {
			file->rc = BOLE_E_NO_MEMORY; /* the next write says so */
			return;
		}
		file->rows = rows;
		file->cap = cap;
	}
	file->rows[file->count++] = (struct bole_pack_row){.oid = *oid, .offset = offset};
}

/* -- Index files -- */

struct position {
	uint64_t offset;
	uint32_t at;
};

static int compare_positions(const void *a, const void *b)
{
	const struct position *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static enum bole_status write_rev(struct bole_platform *platform, struct bole_pack_file *file,
                                  const struct bole_oid *sum, struct bole_writer *writer)
{
	struct bole_alloc *alloc = file->alloc;
	struct position *by_offset = bole_alloc_array(alloc, file->count, sizeof *by_offset);
	uint32_t *positions = bole_alloc_array(alloc, file->count, sizeof *positions);
	enum bole_status rc = by_offset == NULL || positions == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;

	for (size_t i = 0; i < file->count && rc == BOLE_OK; i++)
		by_offset[i] = (struct position){file->rows[i].offset, (uint32_t)i};
	if (rc == BOLE_OK)
		rc = bole_sort(platform, alloc, by_offset, file->count, sizeof *by_offset,
		               compare_positions);
	for (size_t i = 0; i < file->count && rc == BOLE_OK; i++)
		positions[i] = by_offset[i].at;
	if (rc == BOLE_OK)
		rc = bole_pack_rev_write(positions, file->count, sum, writer);
	bole_alloc_free(alloc, by_offset, file->count, sizeof *by_offset);
	bole_alloc_free(alloc, positions, file->count, sizeof *positions);
	return rc;
}

static enum bole_status write_side(struct bole_platform *platform, struct bole_folder *folder,
                                   const char *base, const char *end, struct bole_pack_file *file,
                                   const struct bole_oid *sum)
{
	char path[PATH_BYTES], hex[BOLE_OID_HEX_MAX + 1];
	struct bole_new_file *side;

	snprintf(path, sizeof path, "%s-%s.%s", base, bole_oid_format(sum, hex), end);
	BOLE_TRY(folder->ops->create(folder, &side));
	enum bole_status rc =
	        end[0] == 'r' ? write_rev(platform, file, sum, &side->writer)
	                      : bole_pack_index_write(file->rows, file->count, sum, &side->writer);
	enum bole_status ended = side->end(side, rc == BOLE_OK ? path : NULL);
	return rc == BOLE_OK ? ended : rc;
}

/* The pack itself is complete; what is left are its names. */
static enum bole_status finish(struct bole_platform *platform, struct bole_folder *folder,
                               const char *base, struct bole_pack_file *file,
                               struct bole_new_file *pack)
{
	char path[PATH_BYTES], hex[BOLE_OID_HEX_MAX + 1];
	struct bole_oid sum;

	bole_oid_from_raw(file->tail, file->algo, &sum);
	snprintf(path, sizeof path, "%s-%s.pack", base, bole_oid_format(&sum, hex));
	BOLE_TRY(pack->end(pack, path));
	BOLE_TRY(bole_sort(platform, file->alloc, file->rows, file->count, sizeof *file->rows,
	                   bole_pack_row_compare));
	BOLE_TRY(write_side(platform, folder, base, "rev", file, &sum));
	return write_side(platform, folder, base, "idx", file, &sum);
}

enum bole_status bole_pack_file_save(struct bole_reach *job, struct bole_folder *folder,
                                     const char *base, struct bole_pack_file *file,
                                     uint64_t *objects)
{
	struct bole_pack_plan *plan;
	struct bole_new_file *pack = NULL;

	job->ofs_delta = true;
	job->placed = bole_pack_file_placed;
	job->placed_ctx = file;
	bole_pack_file_init(file, job->alloc, job->snapshot->repo.algo, NULL);
	BOLE_TRY(bole_pack_plan_open(job, &plan));
	*objects = bole_pack_plan_objects(plan);
	enum bole_status rc = *objects == 0 ? BOLE_OK : folder->ops->create(folder, &pack);
	if (pack != NULL) {
		file->next = &pack->writer;
		rc = bole_pack_emit(plan, &file->writer);
		if (rc == BOLE_OK)
			rc = file->rc;
		if (rc == BOLE_OK &&
		    (file->count != *objects || file->tail_len != bole_hash_bytes(file->algo)))
			rc = BOLE_E_CORRUPT;
	}
	bole_pack_plan_close(plan);
	if (pack == NULL)
		return rc;
	if (rc != BOLE_OK) {
		(void)pack->end(pack, NULL);
		return rc;
	}
	return finish(job->platform, folder, base, file, pack);
}
