/* SPDX-License-Identifier: ISC */
/* Collects garbage the Git way: marks what references reach, and lets the store remove the rest in
 * one step (mark.h). Pushes, fetches and commits go on meanwhile.
 *
 * Marked are: every object reachable from a reference (HEAD and symbolic ones through what they
 * name, tags and what they name); what transactions rely on while the walk goes on; every delta
 * base of what is marked, and what that reaches in turn, so that the domain stays closed under
 * reachability. Commits of submodules live elsewhere and are not followed. Aux records of the kinds
 * known today name no objects.
 *
 * The space itself comes back as the store cleans (bole_store_maintain).
 *
 * What transactions rely on is taken up during the walk, so that the store need not keep much.
 *
 * Memory: the store keeps the marks (a bit a row). The walk keeps a stack of ids that are marked
 * but not looked into: each object is on it once at most, so it is never longer than objects x
 * (1 + hash bytes) - 21 MB for 10^6 objects of SHA-1 if every one of them waited - and is a few KiB
 * for real histories; 72 KiB for a batch of blobs (twice that while it is sorted); cache_bytes and
 * the largest tree or commit. */
#ifndef BOLE_GC_H
#define BOLE_GC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/mark.h"
#include "bole/platform.h"
#include "bole/status.h"
#include "bole/store.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Zeroed = the defaults. */
struct bole_gc_options {
	/* phase: "marking", "removing"; done: objects marked so far. Now and then, may be NULL. */
	void (*progress)(void *ctx, const char *phase, uint64_t done, uint64_t total);
	/* True ends the collection: BOLE_E_CLOSED, nothing was removed. May be NULL. */
	bool (*cancelled)(void *ctx);
	void *ctx;
	size_t cache_bytes; /* of inflated objects; 0 = 4 MiB */
	/* How long to wait for transactions that hold the end up; 0 = 10 s. */
	uint64_t wait_ns;
};

struct bole_gc_result {
	struct bole_mark_result store; /* what the store removed */
	uint64_t commits;              /* walked, as trees, blobs and tags */
	uint64_t trees;
	uint64_t blobs;
	uint64_t tags;
	uint64_t roots;  /* references, and what came up during the walk */
	char error[256]; /* why it failed, one line; "" when BOLE_OK */
};

/* Collects the garbage of one repository's domain. BOLE_OK: what was garbage at the start is gone.
 * Anything else removed nothing: BOLE_E_CORRUPT (a link leads nowhere, or what it leads to cannot
 * be read: run fsck), BOLE_E_BUSY (another collection, a prepared transaction, or transactions that
 * did not end in time: try later), BOLE_E_GONE (the store needed the space of the walk's snapshot),
 * BOLE_E_NOT_FOUND (no such repository), BOLE_E_UNSUPPORTED (a store that keeps everything),
 * BOLE_E_READ_ONLY, BOLE_E_NO_SPACE, BOLE_E_NO_MEMORY, BOLE_E_IO, BOLE_E_CLOSED. options may be
 * NULL. */
BOLE_MUST_USE enum bole_status bole_gc(struct bole_platform *, struct bole_alloc *,
                                       struct bole_store *, uint32_t repo,
                                       const struct bole_gc_options *, struct bole_gc_result *out);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_GC_H */
