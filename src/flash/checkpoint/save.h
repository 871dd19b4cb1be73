/* SPDX-License-Identifier: ISC */
/* Writing the stream of one element of a checkpoint: what its parts share. */
#ifndef BOLE_FLASH_SAVE_H
#define BOLE_FLASH_SAVE_H

#include "flash/checkpoint/checkpoint.h"
#include "flash/log/record.h"

enum { SAVE_CHUNK = 4 << 10 }; /* bytes of rows or updates in one record, about */

struct flash_save {
	struct flash_volume *v;
	struct flash_stream stream;
	struct flash_sum sum;
	uint64_t bytes;                   /* of the stream so far */
	const struct flash_state *state;  /* pinned */
	const struct flash_state *before; /* what the element before holds; NULL: this is a base */
	struct flash_segment_row *row;    /* those that changed, sorted by segment */
	uint32_t rows;
	uint32_t rows_cap;
	uint64_t next_extent;
	uint32_t next_repo;
	uint32_t next_domain;
};

/* Writes all records of the element (not its map). */
BOLE_MUST_USE enum bole_status bole_flash_save_all(struct flash_save *);
/* Appends a record with that body. */
BOLE_MUST_USE enum bole_status bole_flash_save_record(struct flash_save *, struct flash_record,
                                                      struct bole_bytes body);
/* Something that this element names, beside records and extents, was written after the pin:
 * bytes more of the segment live, under that sequence. Called before any record is written. */
BOLE_MUST_USE enum bole_status bole_flash_save_written(struct flash_save *, uint32_t segment,
                                                       uint64_t sequence, uint64_t bytes);

/* -- The index of a domain (index_save.c) -- */

/* Before any record is written, for each domain: writes what belongs to the device first, such as
 * sorted runs, and says so with bole_flash_save_written. */
BOLE_MUST_USE enum bole_status bole_flash_index_write(struct flash_save *, struct flash_domain *,
                                                      struct flash_index *index);
/* Writes the records for what the pinned index holds and, when before is not NULL, the version in
 * the element before did not. Called without locks; commits go on meanwhile. */
BOLE_MUST_USE enum bole_status bole_flash_index_save(struct flash_save *,
                                                     const struct flash_domain *,
                                                     const struct flash_index *index,
                                                     const struct flash_index *before);
/* The same for what a prepared transaction holds, behind its PREPARE record. */
BOLE_MUST_USE enum bole_status bole_flash_index_save_prepared(struct flash_save *,
                                                              const struct flash_domain *,
                                                              const struct flash_rows *,
                                                              struct flash_extent *const *extent,
                                                              uint32_t extents);
/* The element is durable, or (ok false) will never be. index is the pinned version, which the
 * caller goes on holding as the `before` of the next element. */
void bole_flash_index_saved(struct flash_volume *, struct flash_domain *,
                            struct flash_index **index, bool ok);

#endif /* BOLE_FLASH_SAVE_H */
