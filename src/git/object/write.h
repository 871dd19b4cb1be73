/* SPDX-License-Identifier: ISC */
/* Objects of our own making into a transaction: hash, encode as a pack entry, put. */
#ifndef BOLE_GIT_OBJECT_WRITE_H
#define BOLE_GIT_OBJECT_WRITE_H

#include "bole/alloc.h"
#include "bole/odb.h"
#include "bole/types.h"

struct bole_object_writer;
/* level: zlib's; 0 stores (the hot path of committing keys), others deflate. */
BOLE_MUST_USE enum bole_status bole_object_writer_open(struct bole_tx *, struct bole_alloc *,
                                                       int level, struct bole_object_writer **out);
void bole_object_writer_close(struct bole_object_writer *);
/* *oid is set on BOLE_OK. An object larger than a record goes into an extent of its own. */
BOLE_MUST_USE enum bole_status bole_object_write(struct bole_object_writer *, uint8_t type,
                                                 struct bole_bytes data, struct bole_oid *oid);

#endif /* BOLE_GIT_OBJECT_WRITE_H */
