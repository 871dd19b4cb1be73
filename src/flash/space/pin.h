/* SPDX-License-Identifier: ISC */
/* Who may still read what is no longer published. Every group of commits makes a new state with
 * the next number, its epoch; a pin holds the state that was published when it was set. A segment
 * in which nothing lives keeps the epoch that ended it: pins older than that keep it from being
 * written again. When space runs out the oldest pin is revoked: its owner reads no further. */
#ifndef BOLE_FLASH_PIN_H
#define BOLE_FLASH_PIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct flash_volume;

struct flash_pin {
	struct flash_pin *older;
	struct flash_pin *newer;
	uint64_t epoch; /* 0 = not set */
	bool leaving;   /* its owner commits: it will hardly read any more */
	bool firm;      /* never revoked: its owner is of the engine and ends soon */
	_Atomic bool gone;
};

struct flash_pins {
	struct flash_pin *oldest;
	struct flash_pin *newest;
};

/* Pins what is published now. Lock held. */
void bole_flash_pin_set(struct flash_volume *, struct flash_pin *);
/* Nothing happens to one that is not set. Takes the lock. */
void bole_flash_pin_end(struct flash_volume *, struct flash_pin *);
/* Bytes that were read after this was false are the ones that were pinned, if it is false still. */
static inline bool bole_flash_pin_gone(const struct flash_pin *pin)
{
	return atomic_load(&pin->gone);
}
/* The same with the lock held. */
void bole_flash_pin_rest(struct flash_volume *, struct flash_pin *);
/* Some pin is older than the end of what was in the segment. Lock held. */
bool bole_flash_pinned(const struct flash_volume *, uint32_t segment);
/* Revokes the oldest pin that keeps a segment from being used again; false: there is none. Lock
 * held. */
bool bole_flash_pin_revoke(struct flash_volume *);

#endif /* BOLE_FLASH_PIN_H */
