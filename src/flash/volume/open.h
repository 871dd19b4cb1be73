/* SPDX-License-Identifier: ISC */
/* Segments that are being filled, by one writer each: how a writer gets one, and what becomes of
 * the room that is left. */
#ifndef BOLE_FLASH_OPEN_H
#define BOLE_FLASH_OPEN_H

#include "flash/volume/volume.h"

/* Takes a segment for open->kind: one from the pool, else a free one, which is erased. pos is then
 * where to go on; 0 = the segment head comes first. */
BOLE_MUST_USE enum bole_status bole_flash_open_take(struct flash_volume *, struct flash_open *,
                                                    enum flash_purpose);
/* The same, never from the pool. */
BOLE_MUST_USE enum bole_status bole_flash_open_new(struct flash_volume *, struct flash_open *,
                                                   enum flash_purpose);
/* Nothing more goes into it. SEGMENT_NONE is fine. */
void bole_flash_open_close(struct flash_volume *, struct flash_open *);
/* The same, but one that could still take something (useful) goes to the pool if there is a place
 * for it. */
void bole_flash_open_give(struct flash_volume *, struct flash_open *, bool useful);

#endif /* BOLE_FLASH_OPEN_H */
