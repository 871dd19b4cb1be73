/* SPDX-License-Identifier: ISC */
/* Planted: a segment in which nothing lives any more is free at once, although the durable
 * checkpoint still names it. */
#include "flash/tx.h"

enum bole_status __real_bole_flash_segment_take(struct flash_volume *, enum flash_purpose,
                                                uint32_t *out);
enum bole_status __wrap_bole_flash_segment_take(struct flash_volume *, enum flash_purpose,
                                                uint32_t *out);

enum bole_status __wrap_bole_flash_segment_take(struct flash_volume *v, enum flash_purpose purpose,
                                                uint32_t *out)
{
	for (uint32_t i = 0; i < v->segments; i++) {
		if (v->segment[i].state != SEGMENT_FREED)
			continue;
		v->freed--;
		bole_flash_segment_release(v, i);
	}
	return __real_bole_flash_segment_take(v, purpose, out);
}
