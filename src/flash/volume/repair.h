/* SPDX-License-Identifier: ISC */
/* Repairing a volume: what mounting and checking do for it. */
#ifndef BOLE_FLASH_REPAIR_H
#define BOLE_FLASH_REPAIR_H

#include "flash/log/tx.h"

/* Mount from older; write as the successor of newest. Its maps are borrowed. */
struct flash_repair {
	struct flash_anchor older;
	struct flash_anchor newest;
	bool salvage; /* take what is left, where the log does not lead from one to the other */
};
/* While mounting: something that was durable cannot be shown. */
void bole_flash_lost(struct flash_volume *, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
/* While mounting what damage has left, for writing: what lives, by what names it. */
BOLE_MUST_USE enum bole_status bole_flash_salvage_count(struct flash_volume *);
/* Mounts a volume that is damaged, from the anchor that loses least. For reading, unless write:
 * then what is left is what counts from now on. */
BOLE_MUST_USE enum bole_status bole_flash_salvage(struct bole_block *, struct bole_platform *,
                                                  struct bole_alloc *,
                                                  const struct bole_flash_open_options *,
                                                  bool write, struct flash_volume **out);
BOLE_MUST_USE enum bole_status
bole_flash_volume_open_older(struct bole_block *, struct bole_platform *, struct bole_alloc *,
                             const struct bole_flash_open_options *, const struct flash_repair *,
                             struct flash_volume **out);
/* While mounting, before anything is written. */
BOLE_MUST_USE enum bole_status bole_flash_repair_spare(struct flash_volume *);
/* Adds up what names things, by segment (check.c). *known: no damage hides any of it. */
BOLE_MUST_USE enum bole_status bole_flash_count_live(struct flash_volume *, uint64_t *live,
                                                     bool *known);

#endif /* BOLE_FLASH_REPAIR_H */
