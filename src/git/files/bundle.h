/* SPDX-License-Identifier: ISC */
/* The head of a bundle, versions 2 and 3 (gitformat-bundle(5)); a pack follows it. */
#ifndef BOLE_GIT_FILES_BUNDLE_H
#define BOLE_GIT_FILES_BUNDLE_H

#include <stdbool.h>

#include "base/io.h"
#include "base/memory.h"
#include "bole/oid.h"
#include "bole/types.h"

struct bole_bundle_ref {
	struct bole_oid oid;
	struct bole_bytes name;
};

/* zero-init is valid; release frees. */
struct bole_bundle_head {
	struct bole_alloc *alloc;
	unsigned version;
	uint8_t algo;
	bool filtered; /* objects are missing on purpose */
	struct bole_oid *prerequisites;
	size_t prerequisite_count;
	size_t prerequisite_cap;
	struct bole_bundle_ref *refs;
	size_t ref_count;
	size_t ref_cap;
	struct bole_arena text;
};
/* Takes the head from in, up to the first byte of the pack. Names are valid references or HEAD.
 * BOLE_E_INVALID, BOLE_E_UNSUPPORTED (another version, a capability that is not known),
 * BOLE_E_LIMIT, BOLE_E_NO_MEMORY, what reading returned. Release in any case. */
BOLE_MUST_USE enum bole_status bole_bundle_head_read(struct bole_input *, struct bole_alloc *,
                                                     struct bole_bundle_head *);
void bole_bundle_head_release(struct bole_bundle_head *);

/* Version 2 for SHA-1, 3 for SHA-256: first the signature, then prerequisites (comment: a line of
 * text), then references, then end. */
void bole_bundle_write_begin(struct bole_output *, uint8_t algo);
void bole_bundle_write_prerequisite(struct bole_output *, const struct bole_oid *,
                                    struct bole_bytes comment);
void bole_bundle_write_ref(struct bole_output *, const struct bole_oid *, struct bole_bytes name);
void bole_bundle_write_end(struct bole_output *);

#endif /* BOLE_GIT_FILES_BUNDLE_H */
