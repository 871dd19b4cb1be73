/* SPDX-License-Identifier: ISC */
/* Planted: a segment in which nothing lives any more is used again at once, although the durable
 * checkpoint still names it. */
#include "flash/log/tx.h"

enum bole_status __real_bole_flash_segment_get(struct flash_volume *, enum flash_purpose,
                                               enum flash_heat, uint32_t *out, uint64_t *sequence);
enum bole_status __wrap_bole_flash_segment_get(struct flash_volume *, enum flash_purpose,
                                               enum flash_heat, uint32_t *out, uint64_t *sequence);

enum bole_status __wrap_bole_flash_segment_get(struct flash_volume *v, enum flash_purpose purpose,
                                               enum flash_heat heat, uint32_t *out,
                                               uint64_t *sequence)
{
	for (uint32_t i = 0; i < v->segments; i++) {
		struct flash_segment *s = &v->segment[i];
		if (s->state != SEGMENT_FREED)
			continue;
		bole_flash_lock(v);
		v->freed--;
		s->state = SEGMENT_USED;
		s->published = false;
		s->open = true;
		s->erased = 0;
		*out = i;
		*sequence = bole_flash_segment_open(v, i);
		bole_flash_unlock(v);
		return bole_flash_erase(v, i);
	}
	return __real_bole_flash_segment_get(v, purpose, heat, out, sequence);
}
