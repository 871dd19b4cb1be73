/* SPDX-License-Identifier: ISC */
/* References as files: packed-refs (git-pack-refs(1)) and the files below refs/
 * (gitrepository-layout(5)). The bytes are hostile. */
#ifndef BOLE_GIT_FILES_REF_FILES_H
#define BOLE_GIT_FILES_REF_FILES_H

#include "base/io.h"
#include "bole/refs.h"
#include "bole/types.h"

struct bole_packed_refs {
	struct bole_bytes rest;
	uint8_t algo;
	bool peeled;       /* every tag that is not followed by "^" peels to itself */
	bool fully_peeled; /* every reference is */
	bool sorted;
};
/* Reads the header line, if there is one. BOLE_E_INVALID. */
BOLE_MUST_USE enum bole_status bole_packed_refs_open(struct bole_bytes file, uint8_t algo,
                                                     struct bole_packed_refs *out);
/* The next reference; its name is borrowed from the file and is valid. BOLE_END, BOLE_E_INVALID. */
BOLE_MUST_USE enum bole_status bole_packed_refs_next(struct bole_packed_refs *,
                                                     struct bole_ref *out);
void bole_packed_refs_write_head(struct bole_output *);
/* In byte order of names; symbolic ones have no place there. */
void bole_packed_refs_write(struct bole_output *, const struct bole_ref *);

/* The content of one file: an id, or "ref: name". The target is borrowed. BOLE_E_INVALID. */
BOLE_MUST_USE enum bole_status bole_loose_ref_parse(struct bole_bytes file, uint8_t algo,
                                                    struct bole_ref *out);

#endif /* BOLE_GIT_FILES_REF_FILES_H */
