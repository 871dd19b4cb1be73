/* SPDX-License-Identifier: ISC */
/* Files of chunks with a table of contents (gitformat-chunk(5)): multi-pack indexes and commit
 * graphs. */
#ifndef BOLE_GIT_FILES_CHUNK_FILE_H
#define BOLE_GIT_FILES_CHUNK_FILE_H

#include "bole/types.h"

enum { BOLE_CHUNK_ROW_BYTES = 12, BOLE_CHUNKS_MAX = 32 };

struct bole_chunk_file {
	struct bole_bytes file;
	size_t toc; /* offset of the table */
	unsigned count;
};
/* The table begins at toc; chunks lie in order between it and the last tail bytes (a checksum), no
 * id occurs twice. BOLE_E_INVALID. */
BOLE_MUST_USE enum bole_status bole_chunk_file_open(struct bole_bytes file, size_t toc,
                                                    unsigned count, size_t tail,
                                                    struct bole_chunk_file *out);
/* False: there is no such chunk. id: four characters. */
bool bole_chunk_find(const struct bole_chunk_file *, const char *id, struct bole_bytes *out);

/* A chunk to be written. */
struct bole_chunk {
	char id[5];
	uint64_t bytes;
};
struct bole_checked;
/* Writes the table; toc is where it begins. */
void bole_chunk_toc_write(struct bole_checked *, size_t toc, const struct bole_chunk *,
                          unsigned count);

#endif /* BOLE_GIT_FILES_CHUNK_FILE_H */
