/* SPDX-License-Identifier: ISC */
/* Files that end in a checksum of themselves. */
#ifndef BOLE_GIT_FILES_CHECKED_H
#define BOLE_GIT_FILES_CHECKED_H

#include "base/hash.h"
#include "base/io.h"
#include "bole/types.h"

enum { BOLE_CHECKED_BYTES = 16 * 1024 };

/* Buffers, hashes and passes on; the error of out sticks. */
struct bole_checked {
	struct bole_writer writer; /* between out and next */
	struct bole_writer *next;
	struct bole_hash hash;
	struct bole_output out;
	uint8_t algo;
	uint8_t buffer[BOLE_CHECKED_BYTES];
};
void bole_checked_init(struct bole_checked *, uint8_t algo, struct bole_writer *next);
void bole_checked_be32(struct bole_checked *, uint32_t value);
void bole_checked_be64(struct bole_checked *, uint64_t value);
static inline void bole_checked_write(struct bole_checked *c, const void *src, size_t len)
{
	bole_output_write(&c->out, src, len);
}
/* Writes the checksum and hands over everything. */
BOLE_MUST_USE enum bole_status bole_checked_end(struct bole_checked *);

/* The last bytes are the checksum of those before; an all-zero one counts as none (git writes that
 * where index.skipHash is set). */
bool bole_checked_valid(struct bole_bytes file, uint8_t algo);

#endif /* BOLE_GIT_FILES_CHECKED_H */
