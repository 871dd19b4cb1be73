/* SPDX-License-Identifier: ISC */
/* Pack index files: version 1 and 2 read, version 2 and the reverse index written
 * (gitformat-pack(5), "pack-*.idx files have the following format", "pack-*.rev files have the
 * format"). The bytes are hostile; what open accepted is never read past its end. */
#ifndef BOLE_GIT_FILES_PACK_INDEX_H
#define BOLE_GIT_FILES_PACK_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/oid.h"
#include "bole/types.h"

/* Borrows the bytes of the file. */
struct bole_pack_index {
	uint8_t algo;
	unsigned version;
	uint32_t count;
	const uint8_t *fanout;
	const uint8_t *ids; /* version 1: rows of offset and id */
	const uint8_t *crcs;
	const uint8_t *offsets;
	const uint8_t *large;
	size_t large_count;
	const uint8_t *trailer; /* the pack's checksum, then the index's own */
	size_t body_bytes;      /* before the index's own checksum */
};

/* The lengths must add up and the fanout must rise; ids are not looked at. BOLE_E_INVALID,
 * BOLE_E_UNSUPPORTED (another version). */
BOLE_MUST_USE enum bole_status bole_pack_index_open(struct bole_bytes file, uint8_t algo,
                                                    struct bole_pack_index *out);
/* The checksum is right, ids rise, and every offset is one: for files that are to be believed. */
BOLE_MUST_USE enum bole_status bole_pack_index_verify(const struct bole_pack_index *);
/* pos < count. */
const uint8_t *bole_pack_index_id(const struct bole_pack_index *, uint32_t pos);
/* BOLE_E_INVALID: it points outside the table of large offsets. */
BOLE_MUST_USE enum bole_status bole_pack_index_offset(const struct bole_pack_index *, uint32_t pos,
                                                      uint64_t *out);
/* False in version 1, which has none. */
bool bole_pack_index_crc(const struct bole_pack_index *, uint32_t pos, uint32_t *out);
bool bole_pack_index_find(const struct bole_pack_index *, const uint8_t *id, uint32_t *pos);

/* The part [*low, *high) of a sorted table that a fanout (256 big-endian counts) leaves for ids
 * that begin with a byte. */
void bole_fanout_range(const uint8_t *fanout, uint8_t first, uint32_t *low, uint32_t *high);
/* 256 counts that never fall and end at count. */
bool bole_fanout_valid(const uint8_t *fanout, uint32_t count);
/* Finds an id in sorted ids of `stride` bytes. */
bool bole_sorted_find(const uint8_t *fanout, const uint8_t *ids, size_t stride, size_t hash,
                      const uint8_t *id, uint32_t *pos);

/* An object of a pack that is indexed. */
struct bole_pack_row {
	struct bole_oid oid;
	uint64_t offset;
	uint32_t crc; /* of the entry's bytes */
};
int bole_pack_row_compare(const void *a, const void *b);        /* by id */
int bole_pack_row_offset_compare(const void *a, const void *b); /* by offset */

/* Version 2, of rows sorted by id. pack: the pack's checksum. */
BOLE_MUST_USE enum bole_status bole_pack_index_write(const struct bole_pack_row *rows, size_t count,
                                                     const struct bole_oid *pack,
                                                     struct bole_writer *);
/* The positions in order of offsets, as a .rev file. */
BOLE_MUST_USE enum bole_status bole_pack_rev_write(const uint32_t *positions, size_t count,
                                                   const struct bole_oid *pack,
                                                   struct bole_writer *);
/* Shows the positions (big-endian, count of them) of a .rev file; its checksum and every position
 * are right. BOLE_E_INVALID. */
BOLE_MUST_USE enum bole_status bole_pack_rev_open(struct bole_bytes file, uint8_t algo,
                                                  uint32_t count, const uint8_t **out);

#endif /* BOLE_GIT_FILES_PACK_INDEX_H */
