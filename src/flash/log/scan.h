/* SPDX-License-Identifier: ISC */
/* Steps of a scan of the log (scan.c), for who picks up what damage has left of one (salvage.c). */
#ifndef BOLE_FLASH_SCAN_H
#define BOLE_FLASH_SCAN_H

#include "flash/volume/mount.h"

struct flash_trailer {
	uint32_t flags;
	uint32_t bytes;
	uint32_t records;
	uint64_t sequence;
	uint64_t durable;
	uint64_t chain;
	uint64_t digest;
	uint64_t link;
};
struct flash_log_head {
	uint64_t sequence;
	uint64_t next_sequence;
	uint64_t batch;
	uint64_t link;
	uint32_t next;
	bool ok;
};

/* Shows a segment from offset on: at least `least` bytes unless it ends before. */
BOLE_MUST_USE enum bole_status bole_flash_scan_show(struct flash_log_scan *, uint32_t segment,
                                                    uint32_t offset, uint32_t least,
                                                    struct bole_bytes *out);
/* A trailer that verifies by itself. */
bool bole_flash_scan_trailer(const struct flash_volume *, uint32_t segment, uint64_t sequence,
                             uint32_t at, const uint8_t *p, struct flash_trailer *out);
/* The head of a segment, if it is one of a log. */
BOLE_MUST_USE enum bole_status bole_flash_scan_head(struct flash_log_scan *, uint32_t segment,
                                                    struct flash_log_head *);
/* Takes the batch at the position; its bytes may be borrowed. */
BOLE_MUST_USE enum bole_status
bole_flash_scan_keep(struct flash_log_scan *, const struct flash_trailer *, const uint8_t *bytes);
/* Accepts the batches from the position on, to the first one that is not next. */
BOLE_MUST_USE enum bole_status bole_flash_scan_follow(struct flash_log_scan *);
/* The same, on through the segments that come next. */
BOLE_MUST_USE enum bole_status bole_flash_scan_walk(struct flash_log_scan *);
/* Goes on in a segment if its head continues the log there; else the scan stays where it is. */
BOLE_MUST_USE enum bole_status bole_flash_scan_enter(struct flash_log_scan *, uint32_t segment,
                                                     bool *entered);
/* The log came to the segment after the anchor's place. Its number may be lower than the anchor
 * says: it was planned, or opened, while the checkpoint was written. */
bool bole_flash_scan_later(const struct flash_volume *, const struct flash_log_head *);
/* Looks at the trailers in every segment of log that comes after the anchor. */
BOLE_MUST_USE enum bole_status bole_flash_scan_heads(struct flash_log_scan *);

/* A scan that found damage: takes up the log behind each hole, as far as it was durable. What is
 * missing is said (bole_flash_lost) here and by the replay (salvage.c). */
BOLE_MUST_USE enum bole_status bole_flash_log_salvage(struct flash_log_scan *);
/* Applies what verifies of a batch that does not as a whole, and names the rest. */
BOLE_MUST_USE enum bole_status bole_flash_batch_salvage(struct flash_log_scan *,
                                                        struct flash_apply *,
                                                        const struct flash_batch_at *);

#endif /* BOLE_FLASH_SCAN_H */
