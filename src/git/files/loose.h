/* SPDX-License-Identifier: ISC */
/* Loose objects: a zlib stream of "<type> <size>", NUL and the content (gitrepository-layout(5),
 * "objects/[0-9a-f][0-9a-f]"). */
#ifndef BOLE_GIT_FILES_LOOSE_H
#define BOLE_GIT_FILES_LOOSE_H

#include "base/deflate.h"
#include "base/memory.h"
#include "bole/oid.h"
#include "bole/types.h"

enum {
	BOLE_LOOSE_HEAD_MAX = 32,                   /* "commit 18446744073709551615" and NUL */
	BOLE_LOOSE_PATH_MAX = BOLE_OID_HEX_MAX + 2, /* "12/3456…" with its NUL */
};

/* The head of inflated bytes. *head_bytes: where the content begins. BOLE_AGAIN: it is not whole
 * yet (never with BOLE_LOOSE_HEAD_MAX bytes); BOLE_E_INVALID. */
BOLE_MUST_USE enum bole_status bole_loose_head_parse(struct bole_bytes data, uint8_t *type,
                                                     uint64_t *size, size_t *head_bytes);
/* Inflates a whole file into content, which keeps the head in front: *data is what follows it.
 * BOLE_E_CORRUPT, BOLE_E_LIMIT (content's limit), BOLE_E_NO_MEMORY. */
BOLE_MUST_USE enum bole_status bole_loose_read(struct bole_inflater *, struct bole_bytes file,
                                               struct bole_buffer *content, uint8_t *type,
                                               struct bole_bytes *data);
/* Appends the file of an object. */
BOLE_MUST_USE enum bole_status bole_loose_write(struct bole_deflater *, struct bole_alloc *,
                                                uint8_t type, struct bole_bytes data,
                                                struct bole_buffer *file);
/* "12/3456…"; path has room for BOLE_LOOSE_PATH_MAX. */
char *bole_loose_path(const struct bole_oid *, char *path);

#endif /* BOLE_GIT_FILES_LOOSE_H */
