/* SPDX-License-Identifier: ISC */
/* What a node keeps between requests, for all of its repositories: the sets of what commits reach.
 * Any fiber or thread. */
#ifndef BOLE_GIT_BITMAP_CACHE_H
#define BOLE_GIT_BITMAP_CACHE_H

#include "bole/store.h"
#include "git/bitmap/bitmap.h"

struct bole_git_cache;

/* bytes_max: of all indexes that are kept. */
BOLE_MUST_USE enum bole_status bole_git_cache_open(struct bole_platform *, struct bole_alloc *,
                                                   size_t bytes_max, struct bole_git_cache **out);
/* NULL is fine. Nobody uses it any more. */
void bole_git_cache_close(struct bole_git_cache *);

/* The index of a snapshot's repository, retained, read from the store if it is not at hand; or
 * NULL, then it is due. cache may be NULL. */
struct bole_bitmap *bole_git_cache_bitmap(struct bole_git_cache *, struct bole_snapshot *);
/* The repository has changed. cache may be NULL. */
void bole_git_cache_changed(struct bole_git_cache *, uint32_t repo);
/* Something of the repository was collected: an index from before is of no use, because what is
 * gone may come back elsewhere. cache may be NULL. */
void bole_git_cache_collected(struct bole_git_cache *, uint32_t repo);
/* Makes the index that is due for longest, once it has been due for a moment. tick: asked now and
 * then, an error ends the work. BOLE_END: nothing is due. */
BOLE_MUST_USE enum bole_status bole_git_cache_work(struct bole_git_cache *, struct bole_store *,
                                                   enum bole_status (*tick)(void *ctx), void *ctx);
/* After a start: reads the index of the next repository, or makes it due, so that the first client
 * after an import need not walk. BOLE_END: the first ones are done, or there is no room for more.
 * One fiber. */
BOLE_MUST_USE enum bole_status bole_git_cache_prepare(struct bole_git_cache *, struct bole_store *);

#endif /* BOLE_GIT_BITMAP_CACHE_H */
