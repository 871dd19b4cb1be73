/* SPDX-License-Identifier: ISC */
/* zlib streams (RFC 1950), inflated and deflated: libdeflate on whole small buffers, zlib in steps.
 */
#ifndef BOLE_BASE_DEFLATE_H
#define BOLE_BASE_DEFLATE_H

#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/types.h"

struct bole_inflater; /* reusable; holds zlib's window and libdeflate's tables */

BOLE_MUST_USE enum bole_status bole_inflater_open(struct bole_alloc *, struct bole_inflater **out);
void bole_inflater_close(struct bole_inflater *);

/* Whole stream in `in` (which may have bytes after its end): inflates exactly dst_len (< 4 GiB)
 * bytes. *used = bytes of in that the stream took. zlib, which Git's clients use, says what a
 * stream is: what passes here passes there, with the same bytes. (libdeflate reads what both agree
 * on, it refuses the rest, and of that zlib has the last word.) BOLE_AGAIN: the stream goes on
 * after in; where that is in doubt, BOLE_E_CORRUPT, as for bad data and for another length. */
BOLE_MUST_USE enum bole_status bole_inflate_strict(struct bole_inflater *, struct bole_bytes in,
                                                   void *dst, size_t dst_len, size_t *used);
/* The same, where all of the stream must be there: short data is BOLE_E_CORRUPT, too. */
BOLE_MUST_USE enum bole_status bole_inflate_whole(struct bole_inflater *, struct bole_bytes in,
                                                  void *dst, size_t dst_len, size_t *used);

/* In steps: begin, then step until BOLE_END. As strict. step takes *in_len bytes at most, writes
 * *out_len at most, and sets both to what it took and wrote. BOLE_OK: call again with more input or
 * room; BOLE_END: the stream is complete and its checksum is right; BOLE_E_CORRUPT. */
void bole_inflate_begin(struct bole_inflater *);
BOLE_MUST_USE enum bole_status bole_inflate_step(struct bole_inflater *, const uint8_t *in,
                                                 size_t *in_len, uint8_t *out, size_t *out_len);

struct bole_deflater;
/* level 0..9 as zlib's. */
BOLE_MUST_USE enum bole_status bole_deflater_open(struct bole_alloc *, int level,
                                                  struct bole_deflater **out);
void bole_deflater_close(struct bole_deflater *);
/* Upper bound of bole_deflate_whole's output for len bytes. */
size_t bole_deflate_bound(size_t len);
/* Returns the bytes written into dst (cap >= bound), 0 on failure. */
size_t bole_deflate_whole(struct bole_deflater *, struct bole_bytes in, void *dst, size_t cap);
/* In steps; finish = no more input follows. BOLE_END when the stream is complete. */
void bole_deflate_begin(struct bole_deflater *);
BOLE_MUST_USE enum bole_status bole_deflate_step(struct bole_deflater *, const uint8_t *in,
                                                 size_t *in_len, uint8_t *out, size_t *out_len,
                                                 bool finish);

/* CRC-32 of gzip, zip and Git's pack indexes; begin with 0. */
uint32_t bole_crc32(uint32_t crc, struct bole_bytes);

#endif /* BOLE_BASE_DEFLATE_H */
