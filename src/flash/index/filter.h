/* SPDX-License-Identifier: ISC */
/* Filters of runs: blocked Bloom filters, a byte a key. A key that is in never answers no. */
#ifndef BOLE_FLASH_FILTER_H
#define BOLE_FLASH_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "flash/volume/flash_format.h"

/* Blocks for so many keys; 0 for none, or for more than can be. */
uint32_t bole_flash_filter_blocks(uint64_t keys);
void bole_flash_filter_add(uint8_t *filter, uint32_t blocks, uint64_t hash);
void bole_flash_filter_prefetch(const uint8_t *filter, uint32_t blocks, uint64_t hash);
bool bole_flash_filter_has(const uint8_t *filter, uint32_t blocks, uint64_t hash);

#endif /* BOLE_FLASH_FILTER_H */
