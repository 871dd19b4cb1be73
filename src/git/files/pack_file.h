/* SPDX-License-Identifier: ISC */
/* A pack that is written, with what its index needs. */
#ifndef BOLE_GIT_FILES_PACK_FILE_H
#define BOLE_GIT_FILES_PACK_FILE_H

#include "bole/folder.h"
#include "git/fetch/pack_emit.h"
#include "git/files/pack_index.h"

struct bole_pack_file {
	struct bole_writer writer; /* between the emission and next */
	struct bole_writer *next;
	struct bole_alloc *alloc;
	uint8_t algo;
	struct bole_pack_row *rows; /* by offset, until finish sorts them by id */
	size_t count;
	size_t cap;
	size_t row; /* whose bytes are passing */
	uint64_t at;
	uint64_t bytes;                   /* of the whole */
	uint8_t tail[BOLE_OID_BYTES_MAX]; /* the last bytes, which may be the trailer */
	size_t tail_len;
	enum bole_status rc;
};
void bole_pack_file_init(struct bole_pack_file *, struct bole_alloc *, uint8_t algo,
                         struct bole_writer *next);
void bole_pack_file_release(struct bole_pack_file *);
/* Hook of the emission: ctx is the pack file. */
void bole_pack_file_placed(void *ctx, const struct bole_oid *, uint64_t offset);
/* Plans, emits into a new file of the folder and writes "<base>-<checksum>.pack", .rev and .idx.
 * job: wants, haves and progress are the caller's. *objects 0: nothing was to be written. */
BOLE_MUST_USE enum bole_status bole_pack_file_save(struct bole_reach *job, struct bole_folder *,
                                                   const char *base, struct bole_pack_file *,
                                                   uint64_t *objects);

#endif /* BOLE_GIT_FILES_PACK_FILE_H */
