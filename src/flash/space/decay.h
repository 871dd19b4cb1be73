/* SPDX-License-Identifier: ISC */
#ifndef BOLE_FLASH_DECAY_H
#define BOLE_FLASH_DECAY_H

#include "flash/log/tx.h"

/* Takes in what the device reports. */
void bole_flash_decay_note(struct flash_volume *);
/* Once for what was noted since the last time: closes what is being filled there, and writes a
 * checkpoint if that moves it or lets it be moved. True: something was done. Not for the leader. */
bool bole_flash_decay_step(struct flash_volume *);
/* An element of the checkpoint decays: the next one is a base. Lock held, or checkpointing. */
bool bole_flash_decay_elements(const struct flash_volume *);

#endif /* BOLE_FLASH_DECAY_H */
