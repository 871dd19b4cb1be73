/* SPDX-License-Identifier: ISC */
/* Packs that were sent lately, for the next who asks for the same: what is sent follows from the
 * ids that are wanted and had, and these never mean anything else. Only the tags that come along
 * are those of the moment, so a repository's packs go when its references change. Who may have a
 * pack is decided before. Any fiber or thread. */
#ifndef BOLE_GIT_PACK_CACHE_H
#define BOLE_GIT_PACK_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "bole/platform.h"
#include "git/fetch/pack_emit.h"

enum { PACK_CACHE_KEY_BYTES = 32 };

struct bole_pack_cache;

/* A pack, shared. */
struct bole_cached_pack {
	_Atomic uint32_t refs;
	uint8_t key[PACK_CACHE_KEY_BYTES];
	uint32_t repo;
	uint64_t objects;
	uint64_t used;
	struct bole_buffer bytes;
	struct bole_cached_pack *next;
};

BOLE_MUST_USE enum bole_status bole_pack_cache_open(struct bole_platform *, struct bole_alloc *,
                                                    size_t bytes_max, struct bole_pack_cache **out);
/* NULL is fine. Nobody uses it any more. */
void bole_pack_cache_close(struct bole_pack_cache *);

/* The key of a request; false: its answer is not kept. */
bool bole_pack_cache_key(const struct bole_reach *, uint32_t repo, uint8_t *key);
/* The pack, retained, or NULL: then the caller makes it, and says so by keep or forget; others who
 * come for the same meanwhile wait for a moment. cache may be NULL. */
struct bole_cached_pack *bole_pack_cache_get(struct bole_pack_cache *, const uint8_t *key);
/* A pack that was made of a snapshot; takes over what the buffer holds. changes: asked before that
 * was opened. What has changed since is kept for nobody. */
void bole_pack_cache_keep(struct bole_pack_cache *, uint32_t repo, uint32_t changes,
                          const uint8_t *key, uint64_t objects, struct bole_buffer *);
/* References of a repository were deleted or set to something else, and who opens a snapshot now
 * sees it. cache may be NULL. */
void bole_pack_cache_changed(struct bole_pack_cache *, uint32_t repo);
/* How often, about. cache may be NULL. */
uint32_t bole_pack_cache_changes(struct bole_pack_cache *, uint32_t repo);
/* It was not made after all. cache may be NULL. */
void bole_pack_cache_forget(struct bole_pack_cache *, const uint8_t *key);
void bole_cached_pack_release(struct bole_pack_cache *, struct bole_cached_pack *);

/* Passes a pack on and keeps what passed, as long as it is not too long. */
struct bole_pack_tee {
	struct bole_writer writer;
	struct bole_writer *next;
	struct bole_buffer kept;
	bool lost;
};
void bole_pack_tee_init(struct bole_pack_tee *, struct bole_pack_cache *, struct bole_writer *next);

#endif /* BOLE_GIT_PACK_CACHE_H */
