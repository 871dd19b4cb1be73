/* SPDX-License-Identifier: ISC */
/* Checks a repository the Git way: every object is what its id says, and nothing is missing. */
#ifndef BOLE_VERIFY_H
#define BOLE_VERIFY_H

#include <stdint.h>

#include "bole/alloc.h"
#include "bole/odb.h"
#include "bole/platform.h"
#include "bole/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bole_verify_report {
	/* One finding, one line; each is an error. May be NULL. */
	void (*finding)(void *ctx, const char *text);
	/* Objects so far; total 0 = not known. May be NULL. */
	void (*progress)(void *ctx, uint64_t done, uint64_t total);
	void *ctx;
};

struct bole_verify_result {
	uint64_t commits;
	uint64_t trees;
	uint64_t blobs;
	uint64_t tags;
	uint64_t refs;
	uint64_t ends;     /* commits on the shallow boundary; of these ... */
	uint64_t cut;      /* ... so many have a parent that is not here */
	uint64_t promised; /* objects that are linked to, not here, and kept by the origin */
	uint64_t inflated_bytes;
	uint64_t errors;
};

/* Reads every object of the snapshot's domain and verifies that it hashes to its id, that it
 * parses, and that everything it links to is there with the type that the link implies (submodules
 * aside, parents of commits on the shallow boundary, and what is promised); then that every
 * reference names an object. So every reference's closure is complete. BOLE_OK when it ran to its
 * end, whatever it found; BOLE_E_NO_MEMORY, BOLE_E_IO, BOLE_E_GONE. */
BOLE_MUST_USE enum bole_status bole_verify(struct bole_platform *, struct bole_snapshot *,
                                           struct bole_alloc *, const struct bole_verify_report *,
                                           struct bole_verify_result *out);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_VERIFY_H */
