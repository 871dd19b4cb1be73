/* SPDX-License-Identifier: ISC */
/* The high half of a hash chooses the block, a product of all of it the bits: so many from the top,
 * nine at a time. */
#include "flash/index/filter.h"

#include <stddef.h>

enum { FILTER_BIT_BITS = 9 };

_Static_assert(1 << FILTER_BIT_BITS == FILTER_BLOCK_BYTES * 8, "nine bits name a bit of a block");

#define FILTER_FACTOR UINT64_C(0xd6e8feb86659fd93)

uint32_t bole_flash_filter_blocks(uint64_t keys)
{
	uint64_t blocks = keys / FILTER_BLOCK_KEYS + (keys % FILTER_BLOCK_KEYS != 0);

	return blocks > UINT32_MAX ? 0 : (uint32_t)blocks;
}

static size_t block_at(uint32_t blocks, uint64_t hash)
{
	return (size_t)((hash >> 32) * blocks >> 32) * FILTER_BLOCK_BYTES;
}

void bole_flash_filter_add(uint8_t *filter, uint32_t blocks, uint64_t hash)
{
	uint8_t *block = filter + block_at(blocks, hash);
	uint64_t bits = hash * FILTER_FACTOR;

	for (int i = 0; i < FILTER_BITS; i++) {
		uint32_t bit = (uint32_t)(bits >> (64 - FILTER_BIT_BITS));
		block[bit >> 3] |= (uint8_t)(1u << (bit & 7));
		bits <<= FILTER_BIT_BITS;
	}
}

void bole_flash_filter_prefetch(const uint8_t *filter, uint32_t blocks, uint64_t hash)
{
	__builtin_prefetch(filter + block_at(blocks, hash));
}

bool bole_flash_filter_has(const uint8_t *filter, uint32_t blocks, uint64_t hash)
{
	const uint8_t *block = filter + block_at(blocks, hash);
	uint64_t bits = hash * FILTER_FACTOR;

	for (int i = 0; i < FILTER_BITS; i++) {
		uint32_t bit = (uint32_t)(bits >> (64 - FILTER_BIT_BITS));
		if ((block[bit >> 3] >> (bit & 7) & 1) == 0)
			return false;
		bits <<= FILTER_BIT_BITS;
	}
	return true;
}
