/* SPDX-License-Identifier: ISC */
/* Checkpoints: a base, which holds everything, and deltas, each of which holds what changed since
 * the element before. The anchor names the newest element, each delta the one before it. */
#ifndef BOLE_FLASH_CHECKPOINT_H
#define BOLE_FLASH_CHECKPOINT_H

#include "flash/log/tx.h"

/* One repository as it was. */
struct flash_state_repo {
	struct flash_repo *repo;
	struct flash_index *index;
	struct flash_table *refs;
	struct flash_table *aux;
	char name[BOLE_REPO_NAME_MAX + 1];
};

/* A prepared transaction: its parts cannot change, but it may be freed meanwhile. */
struct flash_state_prepared {
	struct bole_tx_token token;
	struct flash_repo *repo;
	struct flash_rows *run;
	struct flash_extent **extent;
	uint32_t extents;
	struct flash_table *aux;
	struct flash_table *drops;
};

/* The published state, or what an element of the checkpoint holds: versions, so it costs little. */
struct flash_state {
	struct flash_state_repo *repo; /* sorted by number */
	uint32_t repos;
	uint32_t repos_cap;
	struct flash_state_prepared *prepared;
	uint32_t prepareds;
};

/* Lock held; nobody leads, or the caller does. Release what was taken whatever is returned.
 * fork: versions of indexes are still changed in place, while mounting. */
BOLE_MUST_USE enum bole_status bole_flash_state_take(struct flash_volume *, struct flash_state *,
                                                     bool fork);
/* Outside the lock. */
void bole_flash_state_release(struct flash_volume *, struct flash_state *);
/* Both hold the same prepared transactions. */
bool bole_flash_state_same_prepared(const struct flash_state *, const struct flash_state *);

/* Row of a segment as an element holds it. bole_flash_segment_row: as it is now, lock held. */
struct flash_segment_row {
	uint64_t sequence;
	uint32_t segment;
	uint32_t erases;
	uint32_t live;
	uint8_t flags;
};
struct flash_segment_row bole_flash_segment_row(const struct flash_volume *, uint32_t segment);

/* Finds the chain that the anchor names and applies it; leaves v->element and v->saved (chain.c).
 * BOLE_E_CORRUPT. */
BOLE_MUST_USE enum bole_status bole_flash_chain_load(struct flash_volume *);
/* An anchor could not be written: the end of life, when no place for one is left. */
void bole_flash_anchors_check(struct flash_volume *);
/* Frees an element's list; what it occupies stays. */
void bole_flash_element_release(struct flash_volume *, struct flash_element *);

#endif /* BOLE_FLASH_CHECKPOINT_H */
