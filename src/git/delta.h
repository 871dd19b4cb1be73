/* SPDX-License-Identifier: ISC */
/* Delta instructions (gitformat-pack(5), "Deltified representation"). */
#ifndef BOLE_GIT_DELTA_H
#define BOLE_GIT_DELTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/types.h"

/* The two sizes at the start of a delta. BOLE_E_INVALID. */
BOLE_MUST_USE enum bole_status bole_delta_sizes(struct bole_bytes delta, uint64_t *base_len,
                                                uint64_t *result_len);
/* For who applies one in pieces. begin cuts the sizes off *rest, op one instruction: a copy of len
 * bytes of the base from offset, or len bytes that follow in the delta. BOLE_E_INVALID, also where
 * *rest ends too early (with BOLE_DELTA_OP_MAX bytes it does not). */
enum { BOLE_DELTA_OP_MAX = 8, BOLE_DELTA_SIZES_MAX = 20 };
struct bole_delta_op {
	bool copy;
	uint32_t offset;
	uint32_t len;
};
BOLE_MUST_USE enum bole_status bole_delta_begin(struct bole_bytes *rest, uint64_t *base_len,
                                                uint64_t *result_len);
BOLE_MUST_USE enum bole_status bole_delta_op(struct bole_bytes *rest, struct bole_delta_op *);
/* Applies delta to base into dst, exactly dst_len = result_len bytes. BOLE_E_INVALID. */
BOLE_MUST_USE enum bole_status bole_delta_apply(struct bole_bytes base, struct bole_bytes delta,
                                                uint8_t *dst, size_t dst_len);

#endif /* BOLE_GIT_DELTA_H */
