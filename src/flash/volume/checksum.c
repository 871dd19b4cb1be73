/* SPDX-License-Identifier: ISC */
#include "flash/volume/checksum.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/bytes.h"

_Static_assert(sizeof(XXH3_state_t) <= sizeof(struct flash_sum), "the state must fit");
_Static_assert(_Alignof(XXH3_state_t) <= _Alignof(struct flash_sum), "and be aligned");

uint64_t bole_flash_sum(const void *src, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(src, len, seed);
}

uint64_t bole_flash_seed(const uint8_t *key, uint32_t segment, uint64_t sequence, uint32_t offset)
{
	uint8_t place[FLASH_KEY_BYTES + 16];

	memcpy(place, key, FLASH_KEY_BYTES);
	bole_put_le32(place + FLASH_KEY_BYTES, segment);
	bole_put_le64(place + FLASH_KEY_BYTES + 4, sequence);
	bole_put_le32(place + FLASH_KEY_BYTES + 12, offset);
	return XXH3_64bits(place, sizeof place);
}

static XXH3_state_t *state_of(struct flash_sum *sum)
{
	return (XXH3_state_t *)(void *)sum->opaque;
}

void bole_flash_sum_begin(struct flash_sum *sum, uint64_t seed)
{
	XXH3_INITSTATE(state_of(sum));
	(void)XXH3_64bits_reset_withSeed(state_of(sum), seed);
}

void bole_flash_sum_add(struct flash_sum *sum, const void *src, size_t len)
{
	if (len != 0)
		(void)XXH3_64bits_update(state_of(sum), src, len);
}

uint64_t bole_flash_sum_end(struct flash_sum *sum)
{
	return XXH3_64bits_digest(state_of(sum));
}
