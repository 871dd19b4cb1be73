/* SPDX-License-Identifier: ISC */
/* Making deltas (gitformat-pack(5), "Deltified representation"). A base is indexed once by the
 * hashes of its blocks, and any number of targets is compared with it: a rolling hash over the
 * target finds a block of the base, and what is equal around it becomes a copy. */
#ifndef BOLE_GIT_DELTA_ENCODE_H
#define BOLE_GIT_DELTA_ENCODE_H

#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/types.h"

/* Longer ones are neither a base nor a target: the offset of a copy has 32 bits. */
#define BOLE_DELTA_BYTES_MAX ((size_t)1 << 31)

struct bole_delta_index;

/* The base is borrowed until close. BOLE_E_LIMIT, BOLE_E_NO_MEMORY. */
BOLE_MUST_USE enum bole_status bole_delta_index_open(struct bole_alloc *, struct bole_bytes base,
                                                     struct bole_delta_index **out);
/* NULL is fine. */
void bole_delta_index_close(struct bole_delta_index *);
/* What the index of a base of so many bytes takes. */
size_t bole_delta_index_bytes(size_t base_len);
/* Writes the delta that makes target of the base. BOLE_E_LIMIT: it would be longer than cap bytes,
 * and the work ended as soon as that was clear. */
BOLE_MUST_USE enum bole_status bole_delta_encode(const struct bole_delta_index *,
                                                 struct bole_bytes target, uint8_t *dst, size_t cap,
                                                 size_t *len);

#endif /* BOLE_GIT_DELTA_ENCODE_H */
