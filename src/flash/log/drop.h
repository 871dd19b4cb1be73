/* SPDX-License-Identifier: ISC */
/* Drops: which rows of the index die with a transaction.
 *
 * Looking an id up reads the device, so it is done where nobody waits: when the drop is staged, and
 * once more before the commit when runs, extents or frozen rows are others by then. Rows in memory
 * change all the time, but cost nothing: the leader asks for them, and for what they kill. */
#ifndef BOLE_FLASH_DROP_H
#define BOLE_FLASH_DROP_H

#include "flash/log/tx.h"

/* One row that dies, as the log says it. */
struct flash_drop {
	const uint8_t *key;
	uint64_t place;
	uint64_t before;     /* where it was before it was moved */
	uint32_t generation; /* of the checkpoint that makes the move durable; 0 = not moved */
	uint32_t length;     /* bytes that lived there; 0 for a row of an extent */
	uint8_t type;
	bool extent;
};

/* Takes the first entry of a list off; false: it cannot be one. */
bool bole_flash_drop_next(struct bole_bytes *list, uint32_t key_len, struct flash_drop *out);

/* -- Beside the leader -- */

/* Stages a drop, with the rows that what the transaction looks at has. */
BOLE_MUST_USE enum bole_status bole_flash_drop_stage(struct flash_tx *, const uint8_t *key);
/* Another word on an id that was staged; the rows stay. */
void bole_flash_drop_word(const struct flash_item *, uint8_t word);
/* Looks once more, at what is published now, unless that is the same. What fails is left to the
 * leader. */
void bole_flash_tx_refresh(struct flash_tx *);
/* The version that the transaction looked at last, or NULL. */
const struct flash_index *bole_flash_tx_seen(const struct flash_tx *);

/* -- The leader -- */

/* So much is to be looked up again that others should not wait for it. */
bool bole_flash_tx_is_stale(const struct flash_tx *, const struct flash_index *now);
/* Kills the rows of all ids that the transaction drops in the draft, and appends what the log must
 * say to out. */
BOLE_MUST_USE enum bole_status bole_flash_drops_draft(struct flash_volume *,
                                                      const struct flash_tx *,
                                                      struct flash_index *draft,
                                                      struct bole_buffer *out);
/* The same for rows of its own extents, whose ids it dropped afterwards. */
BOLE_MUST_USE enum bole_status bole_flash_drops_late(struct flash_volume *, const struct flash_tx *,
                                                     struct flash_index *draft,
                                                     struct bole_buffer *out);
/* What such a list takes in the log, at most, and of it the longest record. */
uint64_t bole_flash_drops_bytes(const struct bole_buffer *, uint32_t *longest);
BOLE_MUST_USE enum bole_status bole_flash_drops_write(struct flash_volume *,
                                                      const struct flash_domain *,
                                                      const struct bole_buffer *);
/* What the rows occupied dies when the commit is published. */
void bole_flash_drops_die(struct flash_volume *, const struct flash_domain *,
                          const struct bole_buffer *);

#endif /* BOLE_FLASH_DROP_H */
