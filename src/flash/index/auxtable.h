/* SPDX-License-Identifier: ISC */
/* Keys and values of the table of auxiliary records. */
#ifndef BOLE_FLASH_AUXTABLE_H
#define BOLE_FLASH_AUXTABLE_H

#include "flash/volume/volume.h"

enum {
	AUX_KEY_HEAD = 3,
	AUX_KEY_MAX = 255,
	AUX_VALUE_TOTAL_AT = 0, /* u32 */
	AUX_VALUE_PARTS_AT = 4, /* u16 */
	AUX_VALUE_HEAD = 8,
	AUX_VALUE_PART = 12, /* segment, offset, bytes of the record */
	AUX_PARTS_MAX = 512,
};

struct flash_aux_part {
	uint32_t segment;
	uint32_t offset;
	uint32_t bytes;
};

/* What a program must know to write where records of this kind are. */
uint64_t bole_flash_aux_features(uint16_t kind);
uint32_t bole_flash_aux_parts(struct bole_bytes value);
struct flash_aux_part bole_flash_aux_part(struct bole_bytes value, uint32_t i);
/* Writes a value without places; returns its length. */
size_t bole_flash_aux_value(uint8_t *dst, uint32_t total, uint32_t parts);
void bole_flash_aux_set_part(uint8_t *value, uint32_t i, const struct flash_aux_part *);

#endif /* BOLE_FLASH_AUXTABLE_H */
