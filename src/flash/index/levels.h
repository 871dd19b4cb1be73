/* SPDX-License-Identifier: ISC */
/* Sorted runs of an index: how rows get from memory to the device (level 0, written by
 * checkpoints), and how runs are merged. */
#ifndef BOLE_FLASH_LEVELS_H
#define BOLE_FLASH_LEVELS_H

#include "flash/index/run.h"

enum {
	LEVEL_FAN_SMALL = 4, /* runs of a tier that become one: where segments are small */
	LEVEL_FAN = 8,       /* and where they are not */
	LEVEL_SMALL_SEGMENT = 64 << 10,
};

extern const struct flash_run_shape bole_flash_index_shape;

/* What remains of all rows with one key (prefix and place), shown from the newest run to the
 * oldest. */
struct flash_net {
	uint8_t key[INDEX_KEY_BYTES];
	uint8_t row[INDEX_ROW_BYTES];
	uint8_t kill[INDEX_ROW_BYTES];
	uint8_t kill_extent[INDEX_ROW_BYTES];
	bool any;
	bool has;          /* row lives */
	bool kills;        /* a row with this place, older than all that were shown, is dead */
	bool kills_extent; /* a row of an extent is dead */
};
/* True when the row belongs to the same key, and is taken in; else the net must be emptied first.
 */
bool bole_flash_net_add(struct flash_net *, const uint8_t *row);

/* -- Level 0 (levels.c) -- */

/* At the pin of a checkpoint: what is in memory is to be written out by it. Lock held; nobody
 * leads, or the caller does. Without memory nothing happens: then it waits for the next one. */
void bole_flash_index_freeze(struct flash_volume *, struct flash_domain *);
/* The version of a domain changes outside a commit. Lock held; nobody leads, or the caller does.
 * Takes index over; the version before is the caller's. */
struct flash_index *bole_flash_index_swap(struct flash_volume *, struct flash_domain *,
                                          struct flash_index *);
/* Rows in memory are those of index instead of old (both may be NULL). Lock held. */
void bole_flash_mem_count(struct flash_volume *, const struct flash_index *old,
                          const struct flash_index *index);
/* Level 0 of a checkpoint that is durable becomes part of the published version, as soon as nobody
 * but the caller may be making another. Lock held. */
void bole_flash_index_settle(struct flash_volume *, struct flash_domain *);
void bole_flash_levels_settle(struct flash_volume *);
/* The domain was removed: its runs are dead. For the leader, outside the lock. */
void bole_flash_runs_forget(struct flash_domain *);

/* -- Merges (merge.c) -- */

/* One bounded step of a merge, of about so many rows; *did says whether there was anything to do.
 * Not for the leader. */
BOLE_MUST_USE enum bole_status bole_flash_merge_step(struct flash_volume *, uint32_t rows,
                                                     bool *did);
/* For want of space: merges all that there is room for, where the most is gained and that is at
 * least so many percent of the result; what was under way is ended first. leading: by the caller.
 * BOLE_END: there is nothing of the kind. */
BOLE_MUST_USE enum bole_status bole_flash_merge_now(struct flash_volume *, uint32_t percent,
                                                    bool leading);
/* Bytes of the device that runs have more than one run for each domain would, at least. Lock held.
 */
uint64_t bole_flash_merge_gain(const struct flash_volume *);
/* Segments that a run of everything in the largest domain takes. Lock held. */
uint32_t bole_flash_merge_room(const struct flash_volume *);
/* Some domain has runs to merge. Lock held. */
bool bole_flash_merge_due(const struct flash_volume *);
/* Gives up what is under way. */
void bole_flash_merge_end(struct flash_volume *);

#endif /* BOLE_FLASH_LEVELS_H */
