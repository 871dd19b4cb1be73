/* SPDX-License-Identifier: ISC */
/* Anchors: the superblock in two places. Decoding validates everything. */
#ifndef BOLE_FLASH_ANCHOR_H
#define BOLE_FLASH_ANCHOR_H

#include <stdbool.h>
#include <stdint.h>

#include "bole/block.h"
#include "bole/platform.h"
#include "flash/index/index.h"
#include "flash/volume/checksum.h"
#include "flash/volume/flash_format.h"

enum {
	ANCHOR_LABEL_BYTES = 32,
	ANCHOR_ID_BYTES = 16,
	ANCHOR_FEATURES_KNOWN = FLASH_INCOMPAT_SHORT_RUNS,
	ANCHOR_RO_FEATURES_KNOWN = FLASH_RO_COMPAT_BINDING | FLASH_RO_COMPAT_PARTIAL,
};

/* Where the volume's parts are; fixed by format. */
struct flash_geometry {
	uint32_t kind;
	uint32_t unit;
	uint32_t slots; /* in each anchor area, whole erase blocks on raw flash */
	uint32_t slot_bytes;
	uint32_t segments;
	uint64_t segment_bytes;
	uint64_t area;  /* of segment 0 */
	uint64_t first; /* anchor areas */
	uint64_t second;
	uint64_t device_bytes;
};

struct flash_anchor {
	struct flash_geometry geometry;
	uint64_t generation; /* grows with each anchor that is written */
	uint64_t compat;
	uint64_t ro_compat;
	uint64_t incompat;
	uint8_t volume[ANCHOR_ID_BYTES];
	uint8_t key[FLASH_KEY_BYTES];
	char label[ANCHOR_LABEL_BYTES];
	/* Where replay starts. */
	uint32_t log_segment;
	uint32_t log_offset;
	uint64_t log_sequence;
	uint32_t log_next;
	uint64_t log_next_sequence;
	uint64_t batch;
	uint64_t link;
	uint32_t opened;
	/* The checkpoint; stream 0 = none. Its number stays when an anchor is written again; one
	 * that failed used its number up. */
	uint32_t checkpoint;
	uint64_t stream;
	uint64_t stream_bytes;
	uint64_t stream_digest;
	uint32_t map_count;
	struct flash_fragment *map; /* owned by whoever decoded it */
};

/* Chooses the layout. BOLE_E_NO_SPACE: too small; BOLE_E_INVALID: a segment size that cannot be. */
BOLE_MUST_USE enum bole_status bole_flash_geometry(struct bole_block *, uint64_t segment_bytes,
                                                   struct flash_geometry *out);
/* What a device is programmed in, and the slot of an anchor on raw flash. */
uint32_t bole_flash_unit(const struct bole_block_info *);
uint32_t bole_flash_slot_raw(uint32_t unit);
uint32_t bole_flash_anchor_map_max(const struct flash_geometry *);
/* Encodes into a zeroed slot. */
void bole_flash_anchor_encode(const struct flash_anchor *, uint8_t *slot);
/* BOLE_E_NOT_FOUND: no magic; BOLE_E_CORRUPT; BOLE_E_UNSUPPORTED: *version is its number. */
BOLE_MUST_USE enum bole_status bole_flash_anchor_decode(const uint8_t *slot, uint32_t cap,
                                                        struct bole_alloc *,
                                                        struct flash_anchor *out,
                                                        uint32_t *version);
void bole_flash_anchor_release(struct bole_alloc *, struct flash_anchor *);
/* Where a slot lies. */
uint64_t bole_flash_anchor_at(const struct flash_geometry *, uint32_t area, uint32_t slot);
/* Zeroed or erased. */
bool bole_flash_anchor_blank(const uint8_t *, size_t len);

/* Both areas are logs of slots that hold the same anchors: the newest one of each. */
struct flash_anchor_place {
	uint32_t at[2]; /* the slot last written */
	/* Raw flash: the rest of its erase block is not to be trusted; the next anchor begins
	 * another block. */
	bool stale[2];
	bool dead[2];    /* the area takes no more writes */
	bool missing[2]; /* nothing valid was found there */
	/* The newest one is in one area only, or something behind it is torn: a cut may have left
	 * what reads otherwise the next time. It is written again before anything relies on it. */
	bool doubt;
	bool unread;         /* the device did not give some of them: there may be a newer one */
	uint64_t programmed; /* bytes so far */
	uint64_t erased;
};

/* Finds the newest valid anchor of a device; logs why there is none (anchor_find.c). */
BOLE_MUST_USE enum bole_status bole_flash_anchor_load(struct bole_block *, struct bole_platform *,
                                                      struct bole_alloc *, struct flash_anchor *out,
                                                      struct flash_anchor_place *);
/* Every valid anchor of the volume, newest first; at most max. For repair. */
BOLE_MUST_USE enum bole_status bole_flash_anchor_all(struct bole_block *, struct bole_alloc *,
                                                     uint32_t max, struct flash_anchor *out,
                                                     uint32_t *count);
/* Writes the anchor as the newest one into both areas and flushes. BOLE_OK when at least one copy
 * is durable (anchor_store.c). */
BOLE_MUST_USE enum bole_status bole_flash_anchor_store(struct bole_block *, struct bole_platform *,
                                                       struct bole_alloc *,
                                                       const struct flash_anchor *,
                                                       struct flash_anchor_place *);
/* The same for the one that was found after a cut, as numbers above the one it has (which it gets):
 * no other anchor that the cut may have left is ever found instead. Until it returns BOLE_OK
 * nothing but anchors may be written. */
BOLE_MUST_USE enum bole_status bole_flash_anchor_settle(struct bole_block *, struct bole_platform *,
                                                        struct bole_alloc *, struct flash_anchor *,
                                                        struct flash_anchor_place *);
/* The first one of a new volume, whose areas are wiped. */
BOLE_MUST_USE enum bole_status bole_flash_anchor_first(struct bole_block *, struct bole_platform *,
                                                       struct bole_alloc *,
                                                       const struct flash_anchor *);
/* Before a format: no anchor of an older volume is found afterwards, and none but its newest until
 * then. */
BOLE_MUST_USE enum bole_status bole_flash_anchor_wipe(struct bole_block *, struct bole_alloc *,
                                                      const struct flash_geometry *);

void bole_flash_place_put(uint8_t *p, const struct flash_fragment *);
void bole_flash_place_get(const uint8_t *p, struct flash_fragment *out);

#endif /* BOLE_FLASH_ANCHOR_H */
