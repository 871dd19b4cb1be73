/* SPDX-License-Identifier: ISC */
/* Whole objects out of stored entries: inflates, resolves delta chains iteratively, keeps a bounded
 * cache of recently inflated objects (bases above all). One reader per fiber and snapshot. */
#ifndef BOLE_GIT_OBJECT_READ_H
#define BOLE_GIT_OBJECT_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/odb.h"
#include "bole/types.h"

struct bole_object_reader;

struct bole_object_reader_options {
	size_t cache_bytes;        /* of inflated objects; 0 = 8 MiB */
	uint64_t object_bytes_max; /* larger objects: BOLE_E_LIMIT; 0 = 512 MiB */
};

BOLE_MUST_USE enum bole_status bole_object_reader_open(struct bole_snapshot *, struct bole_alloc *,
                                                       const struct bole_object_reader_options *,
                                                       struct bole_object_reader **out);
/* The last object that was asked for and is promised only; false: there was none. */
bool bole_object_reader_missing(const struct bole_object_reader *, struct bole_oid *out);
void bole_object_reader_close(struct bole_object_reader *);
/* Forgets up to count cached objects; false when there is none left that could be. Closing a reader
 * with tens of thousands takes its time: whoever may not hold up others calls this before, and
 * yields between. What was read before is no longer lent. */
bool bole_object_reader_shrink(struct bole_object_reader *, size_t count);

/* The inflated bytes, borrowed until the next call on this reader. type may be NULL.
 * BOLE_E_NOT_FOUND, BOLE_E_CORRUPT, BOLE_E_LIMIT, BOLE_E_NO_MEMORY, BOLE_E_IO. */
BOLE_MUST_USE enum bole_status bole_object_read(struct bole_object_reader *,
                                                const struct bole_oid *, uint8_t *type,
                                                struct bole_bytes *out);
/* The same by entry (saves the lookup). */
BOLE_MUST_USE enum bole_status bole_object_read_entry(struct bole_object_reader *,
                                                      const struct bole_entry *,
                                                      struct bole_bytes *out);
/* The inflated size without inflating more than a delta's head. */
BOLE_MUST_USE enum bole_status bole_object_size(struct bole_object_reader *,
                                                const struct bole_oid *, uint8_t *type,
                                                uint64_t *out);
/* Streams a whole object of any size that is not a delta, or a delta whose result fits the limits.
 */
BOLE_MUST_USE enum bole_status bole_object_stream(struct bole_object_reader *,
                                                  const struct bole_oid *, struct bole_writer *,
                                                  uint8_t *type, uint64_t *len);

#endif /* BOLE_GIT_OBJECT_READ_H */
