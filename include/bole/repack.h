/* SPDX-License-Identifier: ISC */
/* Writes objects of a repository anew, as one pack in one extent: pushes leave many small packs and
 * records behind, whose deltas are those that the clients happened to send.
 *
 * What is taken: packs whose sizes are not in a geometric progression (each at least `factor` times
 * as long as all smaller ones together), and all records; or everything. Deltas that are there are
 * kept, unless whole versions of the same files beside them, or deltas of other files, take a good
 * part of the space: then they stay only where nothing shorter is found. Objects without one are
 * compared with objects of the same type and a similar path, so that each is stored as the shortest
 * delta within the window. Bases come before their deltas.
 *
 * The new pack is written and published beside the old entries, then every object is read back from
 * it and hashed, and then a collection of garbage (gc.h) lets its entries take the place of the old
 * ones in one atomic step. Fetches and pushes go on meanwhile. Whatever ends a repack before that
 * step leaves everything as it was but for the new pack, which the next repack takes in.
 *
 * Memory: about 200 bytes an object, memory_bytes, and three of the largest objects that are
 * compared (big_bytes each). */
#ifndef BOLE_REPACK_H
#define BOLE_REPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/gc.h"
#include "bole/platform.h"
#include "bole/status.h"
#include "bole/store.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Zeroed = the defaults. */
struct bole_repack_options {
	/* phase: "reading", "naming", "comparing", "writing", "verifying", "marking", "removing".
	 * Now and then, may be NULL. */
	void (*progress)(void *ctx, const char *phase, uint64_t done, uint64_t total);
	/* True ends the repack: BOLE_E_CLOSED. May be NULL. */
	bool (*cancelled)(void *ctx);
	void *ctx;
	bool all;        /* every pack, whatever their sizes */
	bool fresh;      /* deltas that are there are not kept but looked for anew */
	unsigned window; /* objects that each is compared with; 0 = 10 */
	unsigned depth;  /* longest chain of deltas; 0 = 50 */
	unsigned factor; /* of the progression; 0 = 2 */
	/* Packs up to this length in all that no repack has made yet are taken, with all others,
	 * when they are most of the repository; 0 = not for that. */
	uint64_t raw_max;
	unsigned packs_min;  /* with fewer packs to take there is nothing to do; 0 = 2 */
	size_t memory_bytes; /* for what is compared and for deltas that wait; 0 = 64 MiB */
	uint64_t big_bytes;  /* longer objects are not compared; 0 = 16 MiB */
	size_t cache_bytes;  /* of inflated objects; 0 = 16 MiB */
	uint64_t wait_ns;    /* as in struct bole_gc_options */
};

struct bole_repack_result {
	uint64_t packs;    /* taken */
	uint64_t records;  /* taken */
	uint64_t objects;  /* in the new pack */
	uint64_t kept;     /* deltas that were there */
	uint64_t made;     /* deltas that are new */
	uint64_t compared; /* pairs */
	uint64_t
	        bytes_before; /* of what was taken: packs as long as they are, entries of records */
	uint64_t bytes_after;
	struct bole_gc_result gc;
	char error[256]; /* why it failed, one line; "" when BOLE_OK */
};

/* BOLE_OK; BOLE_END: there is nothing to do. Anything else changed nothing that a lookup shows: the
 * statuses of bole_gc, BOLE_E_CONFLICT (a push brought objects again that were being repacked: try
 * later), BOLE_E_UNSUPPORTED (a store without extents). options may be NULL. */
BOLE_MUST_USE enum bole_status bole_repack(struct bole_platform *, struct bole_alloc *,
                                           struct bole_store *, uint32_t repo,
                                           const struct bole_repack_options *,
                                           struct bole_repack_result *out);

/* How many packs a repack with these options would take now; 0 = nothing to do. Reads no objects.
 */
BOLE_MUST_USE enum bole_status bole_repack_due(struct bole_alloc *, struct bole_store *,
                                               uint32_t repo, const struct bole_repack_options *,
                                               unsigned *packs);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_REPACK_H */
