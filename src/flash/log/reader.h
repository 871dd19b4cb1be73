/* SPDX-License-Identifier: ISC */
/* Windows over the device for one reader at a time: a get reads what it needs and no more, a scan
 * reads ahead. */
#ifndef BOLE_FLASH_READER_H
#define BOLE_FLASH_READER_H

#include "bole/status.h"
#include "flash/index/index.h"

struct flash_window {
	uint8_t *buf;
	size_t cap;
	uint64_t sequence;
	uint32_t segment; /* what buf holds: [offset, offset + len) of it */
	uint32_t offset;
	uint32_t len;
	uint32_t ahead; /* bytes of the last read-ahead, 0 = a single get */
	uint64_t used;  /* when it was used last */
	uint64_t owner; /* of the bytes of it that were verified last: [sound, sound + sound_len) */
	uint32_t sound;
	uint32_t sound_len;
};

enum { READER_WINDOWS = 12 }; /* a scan, and a walk beside it */

struct flash_reader {
	struct flash_window window[READER_WINDOWS];
	uint64_t clock;
	uint8_t *record; /* the small one that was read last, verified */
	uint64_t record_sequence;
	uint32_t record_offset;
	uint32_t record_len;
};

/* Device bytes of a segment, unverified; valid until the next call. */
BOLE_MUST_USE enum bole_status bole_flash_fetch(struct flash_volume *, struct flash_reader *,
                                                uint32_t segment, uint32_t offset, size_t len,
                                                const uint8_t **out);
/* These bytes are of an owner and were verified; that holds as long as they stay in memory. */
void bole_flash_reader_note(struct flash_reader *, uint32_t segment, uint32_t offset, size_t len,
                            uint64_t owner);
bool bole_flash_reader_knows(struct flash_reader *, uint32_t segment, uint32_t offset, size_t len,
                             uint64_t owner);
struct flash_record;
/* The record of len bytes at a place, verified; out points into memory that is valid until the next
 * call. Small ones come from memory, if they are there. BOLE_E_CORRUPT: there is no such record;
 * nothing is logged. */
BOLE_MUST_USE enum bole_status bole_flash_fetch_record(struct flash_volume *, struct flash_reader *,
                                                       uint32_t segment, uint32_t offset,
                                                       size_t len, struct flash_record *out);
/* Forgets what was read; the memory stays. */
void bole_flash_reader_reset(struct flash_reader *);
void bole_flash_reader_close(struct flash_volume *, struct flash_reader *);

#endif /* BOLE_FLASH_READER_H */
