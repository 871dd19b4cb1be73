/* SPDX-License-Identifier: ISC */
/* Small records in memory, verified: what is got often needs no device. A record is named by the
 * sequence of its segment, which is never used twice, and its place in it. Nothing here fails. */
#ifndef BOLE_FLASH_OBJECTS_H
#define BOLE_FLASH_OBJECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/platform.h"
#include "bole/status.h"

enum { OBJECTS_RECORD_MAX = 4096 }; /* longer ones are not kept */

struct flash_objects;

struct flash_objects_stats {
	uint64_t hits;
	uint64_t misses;
	size_t bytes;
};

/* At most about bytes; memory is taken as it fills. */
BOLE_MUST_USE enum bole_status bole_flash_objects_open(struct bole_platform *, struct bole_alloc *,
                                                       size_t bytes, struct flash_objects **out);
/* NULL is fine. */
void bole_flash_objects_close(struct flash_objects *);
/* Copies the record of len bytes to dst. False: it is not here. */
bool bole_flash_objects_get(struct flash_objects *, uint64_t sequence, uint32_t offset,
                            uint8_t *dst, size_t len);
/* evict: others may go for it. */
void bole_flash_objects_put(struct flash_objects *, uint64_t sequence, uint32_t offset,
                            const uint8_t *record, size_t len, bool evict);
void bole_flash_objects_stats(struct flash_objects *, struct flash_objects_stats *out);

#endif /* BOLE_FLASH_OBJECTS_H */
