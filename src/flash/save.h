/* SPDX-License-Identifier: ISC */
/* Writing the stream of a checkpoint: what its parts share. */
#ifndef BOLE_FLASH_SAVE_H
#define BOLE_FLASH_SAVE_H

#include "flash/record.h"
#include "flash/tx.h"

enum { SAVE_CHUNK = 4 << 10 }; /* bytes of rows or updates in one record, about */

struct flash_save {
	struct flash_volume *v;
	struct flash_stream stream;
	struct flash_sum sum;
	uint64_t bytes; /* of the stream so far */
};

/* Appends a record with that body. */
BOLE_MUST_USE enum bole_status bole_flash_save_record(struct flash_save *, struct flash_record,
                                                      struct bole_bytes body);

/* -- The index of a domain (index_save.c) -- */

/* Writes what the pinned index holds and, when before is not NULL, the version in the element
 * before did not. Called without locks; commits go on meanwhile. */
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

#endif /* BOLE_FLASH_SAVE_H */
