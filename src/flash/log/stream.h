/* SPDX-License-Identifier: ISC */
/* Streams of bytes that go out in fragments, unflushed, into segments of their own kind: packs,
 * their tables and maps, checkpoints. A stream writes into one segment at a time, which nobody else
 * writes into; what room is left goes to a pool for the next stream. */
#ifndef BOLE_FLASH_STREAM_H
#define BOLE_FLASH_STREAM_H

#include "flash/volume/volume.h"

struct flash_stream {
	struct flash_volume *v;
	uint64_t extent;
	uint32_t owner;
	enum flash_purpose purpose;
	uint32_t kind;    /* of the current fragments: FLASH_FRAGMENT_... */
	uint64_t logical; /* bytes before buf in the current kind */
	struct flash_open open;
	uint8_t *buf; /* segment head, record head, fragment head, payload */
	uint32_t cap; /* payload that the current fragment can take; 0 = none begun */
	uint32_t len;
	struct flash_fragment *fragment; /* all written so far */
	uint32_t fragments;
	uint32_t fragments_cap;
};

/* Acquires nothing; extent is the stream's number. */
void bole_flash_stream_init(struct flash_stream *, struct flash_volume *, uint64_t extent,
                            uint32_t owner, enum flash_segment_kind, enum flash_purpose);
/* Ends the fragment in progress and goes on with another kind from logical position 0. */
BOLE_MUST_USE enum bole_status bole_flash_stream_select(struct flash_stream *, uint32_t kind);
BOLE_MUST_USE enum bole_status bole_flash_stream_append(struct flash_stream *, const void *src,
                                                        size_t len);
/* Writes out what is buffered. */
BOLE_MUST_USE enum bole_status bole_flash_stream_end(struct flash_stream *);
/* Gives the segment back to the pool and frees the buffer; the fragments stay listed. */
void bole_flash_stream_close(struct flash_stream *);
/* Closes, and frees what the fragments occupy unless keep. */
void bole_flash_stream_release(struct flash_stream *, bool keep);

/* What a fragment of so many payload bytes occupies. */
uint64_t bole_flash_fragment_live(uint32_t length);
/* Bytes that read needs room for. */
size_t bole_flash_fragment_room(const struct flash_volume *);
/* Reads and verifies one fragment; *payload points into buf. BOLE_E_CORRUPT. */
BOLE_MUST_USE enum bole_status bole_flash_fragment_read(struct flash_volume *, uint64_t extent,
                                                        const struct flash_fragment *, uint8_t *buf,
                                                        const uint8_t **payload);
/* The same over device bytes that are in memory already: record points at the record head. */
bool bole_flash_fragment_verify(const struct flash_volume *, uint64_t extent,
                                const struct flash_fragment *, const uint8_t *record);

#endif /* BOLE_FLASH_STREAM_H */
