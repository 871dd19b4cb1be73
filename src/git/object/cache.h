/* SPDX-License-Identifier: ISC */
/* Inflated objects by place, those not used for long out first; a byte limit. Internal to the
 * object reader. An object lives while it is in the cache or somebody holds it. */
#ifndef BOLE_GIT_OBJECT_CACHE_H
#define BOLE_GIT_OBJECT_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/types.h"

struct cached_object {
	uint64_t extent;
	uint64_t offset;
	uint8_t *data; /* right behind this struct */
	size_t len;
	uint8_t type;
	bool cached;
	bool used; /* since the cache last looked for room */
	unsigned holders;
	struct cached_object *chain; /* of its bucket */
	struct cached_object *newer;
	struct cached_object *older;
};

struct object_cache {
	struct bole_alloc *alloc;
	size_t limit;
	size_t bytes;
	struct cached_object *newest;
	struct cached_object *oldest;
	struct cached_object **buckets; /* about as many as there are objects */
	size_t bucket_count;            /* a power of two, or 0 */
	size_t count;
};

void bole_object_cache_init(struct object_cache *, struct bole_alloc *, size_t limit);
/* Nobody may hold an object any more. */
void bole_object_cache_release(struct object_cache *);
/* NULL, or the object, held. */
struct cached_object *bole_object_cache_find(struct object_cache *, uint64_t extent,
                                             uint64_t offset);
/* A new object of len bytes, held, not yet in the cache. NULL: no memory even after the cache was
 * emptied. */
struct cached_object *bole_object_cache_make(struct object_cache *, uint64_t extent,
                                             uint64_t offset, size_t len);
/* Offers a complete object to the cache; it may decline. */
void bole_object_cache_add(struct object_cache *, struct cached_object *);
/* NULL is fine. */
void bole_object_cache_drop(struct object_cache *, struct cached_object *);
/* Gives memory back that nobody holds. Returns false when there was none. */
bool bole_object_cache_shrink(struct object_cache *);

#endif /* BOLE_GIT_OBJECT_CACHE_H */
