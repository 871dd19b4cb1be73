/* SPDX-License-Identifier: ISC */
/* Records: head, key, body, under a checksum that is seeded with their place. */
#ifndef BOLE_FLASH_RECORD_H
#define BOLE_FLASH_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "bole/types.h"
#include "flash/volume/flash_format.h"

struct flash_record {
	uint64_t checksum;
	uint8_t kind;
	uint8_t type;
	uint8_t flags;
	uint32_t owner;
	struct bole_bytes key;
	struct bole_bytes body;
	uint32_t bytes; /* of the whole record */
};

/* Writes the head (with key length and body length; the key follows at RECORD_HEAD_BYTES). */
void bole_flash_record_head(uint8_t *p, const struct flash_record *);
/* Fills in the checksum of a record of len bytes at p. Returns it. */
uint64_t bole_flash_record_seal(uint8_t *p, size_t len, uint64_t seed);
/* Takes apart what starts at bytes; false when it does not fit into them or its numbers cannot be.
 * Does not look at the checksum. */
bool bole_flash_record_parse(struct bole_bytes bytes, struct flash_record *out);
bool bole_flash_record_verify(const uint8_t *p, const struct flash_record *, uint64_t seed);

#endif /* BOLE_FLASH_RECORD_H */
