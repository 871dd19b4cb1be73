/* SPDX-License-Identifier: ISC */
/* Small value types that every interface shares. */
#ifndef BOLE_TYPES_H
#define BOLE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/status.h"

/* Borrowed bytes: never NUL-terminated, never owned. */
struct bole_bytes {
	const uint8_t *ptr;
	size_t len;
};

/* Reads up to cap bytes. BOLE_OK: *got is in 1..cap. BOLE_END: no more, *got is 0.
 * Error: *got is 0 and every later call fails too. May block. Embedded as the first member of a
 * concrete reader. */
struct bole_reader {
	enum bole_status (*read)(struct bole_reader *self, void *dst, size_t cap, size_t *got);
};

/* Writes all len bytes or fails; after a failure every later call fails too. May block.
 * flush pushes what is buffered towards the peer (not durability). */
struct bole_writer {
	enum bole_status (*write)(struct bole_writer *self, const void *src, size_t len);
	enum bole_status (*flush)(struct bole_writer *self);
	/* Several pieces as one write; may be NULL. */
	enum bole_status (*gather)(struct bole_writer *self, const struct bole_bytes *pieces,
	                           size_t count);
};

#endif /* BOLE_TYPES_H */
