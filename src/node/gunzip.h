/* SPDX-License-Identifier: ISC */
/* gzip bodies (RFC 1952) in steps. The framing is our own: an image's zlib knows raw deflate only.
 */
#ifndef BOLE_NODE_GUNZIP_H
#define BOLE_NODE_GUNZIP_H

#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/types.h"

struct bole_gunzip;

BOLE_MUST_USE enum bole_status bole_gunzip_open(struct bole_alloc *, struct bole_gunzip **out);
void bole_gunzip_close(struct bole_gunzip *);
/* Takes *in_len bytes at most, writes *out_len at most, sets both to what it took and wrote.
 * BOLE_OK: call again with more input or room; BOLE_END: one whole member, its checksum and length
 * are right; BOLE_E_INVALID; BOLE_E_LIMIT: an absurd header. */
BOLE_MUST_USE enum bole_status bole_gunzip_step(struct bole_gunzip *, const uint8_t *in,
                                                size_t *in_len, uint8_t *out, size_t *out_len);

#endif /* BOLE_NODE_GUNZIP_H */
