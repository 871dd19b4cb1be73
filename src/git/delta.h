/* SPDX-License-Identifier: ISC */
/* Delta instructions (gitformat-pack(5), "Deltified representation"). */
#ifndef BOLE_GIT_DELTA_H
#define BOLE_GIT_DELTA_H

#include <stddef.h>
#include <stdint.h>

#include "bole/types.h"

/* The two sizes at the start of a delta. BOLE_E_INVALID. */
BOLE_MUST_USE enum bole_status bole_delta_sizes(struct bole_bytes delta, uint64_t *base_len,
                                                uint64_t *result_len);
/* Applies delta to base into dst, exactly dst_len = result_len bytes. BOLE_E_INVALID. */
BOLE_MUST_USE enum bole_status bole_delta_apply(struct bole_bytes base, struct bole_bytes delta,
                                                uint8_t *dst, size_t dst_len);

#endif /* BOLE_GIT_DELTA_H */
