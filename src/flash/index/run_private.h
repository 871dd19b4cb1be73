/* SPDX-License-Identifier: ISC */
/* What the files of runs share. */
#ifndef BOLE_FLASH_RUN_PRIVATE_H
#define BOLE_FLASH_RUN_PRIVATE_H

#include "base/bytes.h"
#include "flash/index/run.h"

bool bole_flash_run_shape_ok(const struct flash_run_shape *);
/* An empty run. NULL = no memory. */
struct flash_run *bole_flash_run_open(struct flash_volume *, const struct flash_run_shape *);
/* Sets the numbers of pages from those of rows and blocks. False: too many. */
bool bole_flash_run_count(struct flash_run *);

/* What the fence of a page holds of its first key. */
static inline uint32_t bole_flash_fence_of(const struct flash_run_shape *s, const uint8_t *key)
{
	return bole_get_be32(key + s->zeros);
}

/* The fences or the filter, loaded if that is possible now; NULL: do without (run_keep.c). */
const uint32_t *bole_flash_run_fences(struct flash_run *);
const uint8_t *bole_flash_run_filter(struct flash_run *);

#endif /* BOLE_FLASH_RUN_PRIVATE_H */
