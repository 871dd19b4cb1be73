/* SPDX-License-Identifier: ISC */
/* The summary that closes a segment: what is in it, sorted by the start of the key. A summary may
 * be missing; nothing but repair and, later, the index on the device reads it. */
#ifndef BOLE_FLASH_SUMMARY_H
#define BOLE_FLASH_SUMMARY_H

#include "flash/volume.h"

/* Bytes to hold back at the end of a segment for so many entries. */
uint32_t bole_flash_summary_reserve(const struct flash_volume *, uint32_t entries);
/* Memory for so many more entries. */
BOLE_MUST_USE enum bole_status bole_flash_summary_room(struct flash_volume *,
                                                       struct flash_summary *, uint32_t more);
void bole_flash_summary_add(struct flash_summary *, const uint8_t *key, uint32_t offset,
                            uint8_t kind, uint8_t type);
/* Writes it behind pos if there is room; unflushed. */
enum bole_status bole_flash_summary_write(struct flash_volume *, struct flash_summary *,
                                          uint32_t segment, uint64_t sequence, uint32_t pos);
void bole_flash_summary_release(struct flash_volume *, struct flash_summary *);

#endif /* BOLE_FLASH_SUMMARY_H */
