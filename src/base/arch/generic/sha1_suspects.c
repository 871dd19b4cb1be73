/* SPDX-License-Identifier: ISC */
/* Four lanes: what every processor of these architectures has (SSE2, NEON). */
#include "base/sha.h"

#define LANES 4
#define TARGET
#define NAME(part) sha1_four##part
#include "base/arch/sha1_suspects.inc"

enum { FOUR = 4 };

uint32_t bole_sha1_suspects_generic(const uint8_t *const *blocks, size_t count, uint32_t *masks)
{
	uint32_t suspects = 0;

	for (size_t at = 0; at < count; at += FOUR) {
		size_t n = count - at < FOUR ? count - at : FOUR;

		sha1_four_masks(blocks + at, n, masks + at);
		for (size_t i = 0; i < n; i++)
			suspects |= (uint32_t)(masks[at + i] != 0) << (at + i);
	}
	return suspects;
}

const struct bole_sha1_detector bole_sha1_detector_generic = {
        .suspects = bole_sha1_suspects_generic,
        .attack = sha1_four_attack,
        .lanes = FOUR,
};
