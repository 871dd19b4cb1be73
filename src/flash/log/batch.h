/* SPDX-License-Identifier: ISC */
/* The head of the log: batches of records, each ending in a trailer that is chained to the one
 * before. Only the leader calls these. */
#ifndef BOLE_FLASH_BATCH_H
#define BOLE_FLASH_BATCH_H

#include "flash/log/record.h"
#include "flash/volume/volume.h"

/* Memory and segments for records of so many bytes in all, the longest of longest bytes, so that
 * the calls below fail for nothing but the device. BOLE_E_NO_MEMORY, BOLE_E_NO_SPACE. */
BOLE_MUST_USE enum bole_status bole_flash_batch_reserve(struct flash_volume *, uint64_t bytes,
                                                        uint32_t longest, enum flash_purpose);
/* Memory for a batch of so many bytes. BOLE_E_NO_MEMORY. */
BOLE_MUST_USE enum bole_status bole_flash_batch_room(struct flash_volume *, uint64_t bytes);
/* Adds a record whose body is the concatenation of pieces. *segment, *offset (may be NULL): where.
 * A batch that is full goes out with "the next one belongs to it". */
BOLE_MUST_USE enum bole_status bole_flash_batch_add(struct flash_volume *,
                                                    const struct flash_record *,
                                                    const struct bole_bytes *pieces, size_t count,
                                                    uint32_t *segment, uint32_t *offset);
/* Ends the group and programs it (not flushed). Does nothing when no record was added, unless
 * flags. Where the device fails, here or above, the whole group is as if it had not been begun, and
 * the log is broken until it is mended. */
BOLE_MUST_USE enum bole_status bole_flash_batch_end(struct flash_volume *, uint32_t flags);
/* Gives memory beyond a small buffer back. */
void bole_flash_batch_rest(struct flash_volume *);
void bole_flash_batch_close(struct flash_volume *);
/* Where a trailer lies when the records end at pos. */
uint32_t bole_flash_trailer_at(uint32_t unit, uint32_t pos);
/* The log goes on in a segment that no head names: nothing in it counts before a checkpoint does.
 */
BOLE_MUST_USE enum bole_status bole_flash_log_jump(struct flash_volume *);
/* The next segment is blank afterwards: a clean stop is believed only then. */
BOLE_MUST_USE enum bole_status bole_flash_log_blank(struct flash_volume *);
/* Leaves the current segment, whatever room it has. */
BOLE_MUST_USE enum bole_status bole_flash_log_advance(struct flash_volume *);
/* Before a group: a log that broke goes on elsewhere, and a checkpoint says where. For the leader,
 * outside the lock. */
BOLE_MUST_USE enum bole_status bole_flash_log_mend(struct flash_volume *);

#endif /* BOLE_FLASH_BATCH_H */
