/* SPDX-License-Identifier: ISC */
/* Inflating a zlib stream that lies whole in memory; used by base/deflate.h alone. */
#ifndef BOLE_BASE_INFLATE_H
#define BOLE_BASE_INFLATE_H

#include <stddef.h>
#include <stdint.h>

#include "bole/types.h"

struct bole_inflate_tables; /* of bole_inflate_tables_bytes, aligned for uint32_t */

size_t bole_inflate_tables_bytes(void);
void bole_inflate_tables_init(struct bole_inflate_tables *);

/* Inflates exactly dst_len bytes from the stream at the beginning of in; *used = its length.
 * Whatever it says yes to, zlib inflates to the same. BOLE_AGAIN: the stream goes on after in.
 * BOLE_E_CORRUPT: damaged, of another length, or valid but so unusual that it is not handled here.
 * dst may have been written to in any case. */
BOLE_MUST_USE enum bole_status bole_inflate_buffer(struct bole_inflate_tables *,
                                                   struct bole_bytes in, uint8_t *dst,
                                                   size_t dst_len, size_t *used);

#endif /* BOLE_BASE_INFLATE_H */
