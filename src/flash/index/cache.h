/* SPDX-License-Identifier: ISC */
/* Verified pages of runs in memory, as many as fit; and how much memory lookups may keep for
 * fences and filters.
 *
 * A page is named by the sequence of its segment, which is never used twice, and its place in it: a
 * page that was freed is never taken for what came after it. Nothing here fails: when there is no
 * memory a page is not kept. Locks are held for moments, never across I/O. */
#ifndef BOLE_FLASH_CACHE_H
#define BOLE_FLASH_CACHE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/platform.h"
#include "bole/status.h"

struct flash_cache;

/* One page. data may be written between claim and keep, and read while it is pinned. */
struct flash_slot {
	uint8_t *data;
	uint64_t sequence;
	uint32_t page;
	_Atomic uint32_t pins;
	bool used;               /* since the hand of the clock came by */
	bool kept;               /* in the table */
	struct flash_slot *next; /* in its chain */
	struct flash_slot *ring; /* the next one */
	bool member; /* of the ring; else it belongs to one caller and goes with its pin */
};

struct flash_cache_stats {
	uint64_t hits;
	uint64_t misses;
	size_t bytes;
};

/* bytes: for pages (at least one is kept); keep_max: for fences and filters. */
BOLE_MUST_USE enum bole_status bole_flash_cache_open(struct bole_platform *, struct bole_alloc *,
                                                     uint32_t page_bytes, size_t bytes,
                                                     size_t keep_max, struct flash_cache **out);
/* NULL is fine. Nothing is pinned. */
void bole_flash_cache_close(struct flash_cache *);

/* The page, pinned, or NULL. */
struct flash_slot *bole_flash_cache_get(struct flash_cache *, uint64_t sequence, uint32_t page);
/* Room for a page that the caller will read and verify; nobody else sees it. NULL: no memory. */
struct flash_slot *bole_flash_cache_claim(struct flash_cache *, uint64_t sequence, uint32_t page);
/* Makes a verified page visible. Returns the slot to use, pinned: another one, if somebody else was
 * faster. */
struct flash_slot *bole_flash_cache_keep(struct flash_cache *, struct flash_slot *);
/* Gives back a pin, or a claimed slot whose page did not verify. */
void bole_flash_cache_unpin(struct flash_cache *, struct flash_slot *);
/* Pages that it has room for. */
uint32_t bole_flash_cache_slots(const struct flash_cache *);
/* Forgets pages that nobody will ask for again. */
void bole_flash_cache_drop(struct flash_cache *, uint64_t sequence, uint32_t first, uint32_t count);
void bole_flash_cache_stats(struct flash_cache *, struct flash_cache_stats *out);

/* Memory for what lookups would like to keep: NULL when the budget has no room. */
void *bole_flash_cache_reserve(struct flash_cache *, size_t bytes);
void bole_flash_cache_return(struct flash_cache *, void *ptr, size_t bytes);
/* Changes whenever something was returned: then it is worth trying again. Never 0. */
uint32_t bole_flash_cache_returns(const struct flash_cache *);

#endif /* BOLE_FLASH_CACHE_H */
