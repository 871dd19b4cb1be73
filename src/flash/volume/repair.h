/* SPDX-License-Identifier: ISC */
/* Repairing a volume: what mounting and checking do for it. */
#ifndef BOLE_FLASH_REPAIR_H
#define BOLE_FLASH_REPAIR_H

#include "flash/log/tx.h"

struct flash_archive;
/* Mount from older; write as the successor of newest. Its maps are borrowed. */
struct flash_repair {
	struct flash_anchor older;
	struct flash_anchor newest;
	bool salvage; /* take what is left, where the log does not lead from one to the other */
	bool whole;   /* only if all that is named is there */
	bool rebuild; /* put together what the checkpoint said (flash/rebuild/rebuild.h) */
	struct flash_archive *archive; /* of old batches: this is not the volume, but its past */
	const struct flash_anchor *anchor; /* all that there are, newest first */
	uint32_t anchors;
};
/* While mounting: something that was durable cannot be shown. */
void bole_flash_lost(struct flash_volume *, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
/* While mounting what damage has left, for writing: what lives, by what names it. */
BOLE_MUST_USE enum bole_status bole_flash_salvage_count(struct flash_volume *);
/* How far a mount of a damaged volume goes. */
enum flash_salvage {
	FLASH_SALVAGE_READ,    /* what a mount may show */
	FLASH_SALVAGE_REBUILD, /* for reading: what a repair would go on with */
	FLASH_SALVAGE_WRITE,   /* the same, and from now on it is what counts */
};
/* Mounts a volume that is damaged, from the anchor that loses least. */
BOLE_MUST_USE enum bole_status bole_flash_salvage(struct bole_block *, struct bole_platform *,
                                                  struct bole_alloc *,
                                                  const struct bole_flash_open_options *,
                                                  enum flash_salvage, struct flash_volume **out);
BOLE_MUST_USE enum bole_status
bole_flash_volume_open_older(struct bole_block *, struct bole_platform *, struct bole_alloc *,
                             const struct bole_flash_open_options *, const struct flash_repair *,
                             struct flash_volume **out);
/* While mounting, before anything is written. */
BOLE_MUST_USE enum bole_status bole_flash_repair_spare(struct flash_volume *);
/* Adds up what names things, by segment, as far as it is seen (check.c). *known: no damage hides
 * any of it. */
BOLE_MUST_USE enum bole_status bole_flash_count_live(struct flash_volume *, uint64_t *live,
                                                     bool *known);

#endif /* BOLE_FLASH_REPAIR_H */
