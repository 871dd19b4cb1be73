/* SPDX-License-Identifier: ISC */
/* Reftables, read: the references of one file of a stack, versions 1 and 2 (the reftable format in
 * Git's technical documentation). Object and log blocks are not looked at. The bytes are hostile.
 */
#ifndef BOLE_GIT_FILES_REFTABLE_H
#define BOLE_GIT_FILES_REFTABLE_H

#include <stdbool.h>

#include "bole/limits.h"
#include "bole/refs.h"
#include "bole/types.h"

/* Borrows the bytes of the file. */
struct bole_reftable {
	struct bole_bytes file;
	uint8_t algo;
	size_t head_bytes;
	size_t body_end; /* where the footer begins */
	uint32_t block_bytes;
	uint64_t index; /* offset of the root of the index of references, 0 = none */
	uint64_t update_min;
	uint64_t update_max;
};
/* Footer and header agree and the footer's checksum is right. BOLE_E_INVALID, BOLE_E_UNSUPPORTED
 * (another version or hash). */
BOLE_MUST_USE enum bole_status bole_reftable_open(struct bole_bytes file, uint8_t algo,
                                                  struct bole_reftable *out);

/* A walk over the records of references, in byte order of names. */
struct bole_reftable_walk {
	const struct bole_reftable *table;
	size_t at;      /* the next record */
	size_t records; /* where the records of this block end; 0 = a block begins at `at` */
	size_t next;    /* the next block */
	uint8_t name[BOLE_REF_NAME_MAX];
	size_t name_len;
};
void bole_reftable_walk(const struct bole_reftable *, struct bole_reftable_walk *);
/* Goes on with the block that may hold a name, by the index if there is one. */
BOLE_MUST_USE enum bole_status bole_reftable_seek(struct bole_reftable_walk *,
                                                  struct bole_bytes name);
/* The next record; name is borrowed until the next call. *deleted: it hides the name in older
 * tables, nothing else is set. BOLE_END, BOLE_E_INVALID. */
BOLE_MUST_USE enum bole_status bole_reftable_next(struct bole_reftable_walk *, struct bole_ref *out,
                                                  bool *deleted);
/* One name. BOLE_E_NOT_FOUND. *out is borrowed from the walk. */
BOLE_MUST_USE enum bole_status bole_reftable_find(struct bole_reftable_walk *,
                                                  struct bole_bytes name, struct bole_ref *out,
                                                  bool *deleted);

#endif /* BOLE_GIT_FILES_REFTABLE_H */
