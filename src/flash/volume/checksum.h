/* SPDX-License-Identifier: ISC */
/* XXH3-64 with seeds. What is written in a segment is seeded with its place, so bytes that are
 * stale, misdirected, or copied from another volume never verify. */
#ifndef BOLE_FLASH_CHECKSUM_H
#define BOLE_FLASH_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

enum { FLASH_KEY_BYTES = 16, FLASH_SUM_STATE_WORDS = 80 };

uint64_t bole_flash_sum(const void *src, size_t len, uint64_t seed);
/* Seed of what starts at offset in a segment that was opened with sequence. */
uint64_t bole_flash_seed(const uint8_t *key, uint32_t segment, uint64_t sequence, uint32_t offset);

/* The same sum in steps. */
struct flash_sum {
	_Alignas(64) uint64_t opaque[FLASH_SUM_STATE_WORDS];
};
void bole_flash_sum_begin(struct flash_sum *, uint64_t seed);
void bole_flash_sum_add(struct flash_sum *, const void *src, size_t len);
uint64_t bole_flash_sum_end(struct flash_sum *);

#endif /* BOLE_FLASH_CHECKSUM_H */
