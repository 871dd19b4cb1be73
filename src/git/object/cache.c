/* SPDX-License-Identifier: ISC */
#include "git/object/cache.h"

#include "base/check.h"
#include "base/memory.h"

enum {
	BUCKETS_FIRST = 256,
	CHANCES_MAX = 16, /* used objects that are spared while one looks for room */
};

static size_t bucket_of(const struct object_cache *cache, uint64_t extent, uint64_t offset)
{
	uint64_t h = (extent ^ offset << 20) * 0x9e3779b97f4a7c15u + offset * 0xc2b2ae3d27d4eb4fu;

	return (size_t)(h >> 32) & (cache->bucket_count - 1);
}

/* More buckets, so that a cache of many small objects keeps its chains short. Without memory for
 * them the chains grow; false: there are none at all. */
static bool buckets_grow(struct object_cache *cache)
{
	struct object_cache old = *cache;
	size_t count = old.bucket_count == 0 ? BUCKETS_FIRST : old.bucket_count * 2;
	struct cached_object **buckets = bole_alloc_zeroed(cache->alloc, count, sizeof *buckets);

	if (buckets == NULL)
		return old.bucket_count != 0;
	cache->buckets = buckets;
	cache->bucket_count = count;
	for (size_t i = 0; i < old.bucket_count; i++) {
		while (old.buckets[i] != NULL) {
			struct cached_object *object = old.buckets[i];
			size_t bucket = bucket_of(cache, object->extent, object->offset);

			old.buckets[i] = object->chain;
			object->chain = buckets[bucket];
			buckets[bucket] = object;
		}
	}
	bole_alloc_free(cache->alloc, old.buckets, old.bucket_count, sizeof *old.buckets);
	return true;
}

static size_t cost(const struct cached_object *object)
{
	return sizeof *object + object->len;
}

void bole_object_cache_init(struct object_cache *cache, struct bole_alloc *alloc, size_t limit)
{
	*cache = (struct object_cache){.alloc = alloc, .limit = limit};
}

static void object_free(struct object_cache *cache, struct cached_object *object)
{
	bole_alloc_free(cache->alloc, object, cost(object), 1);
}

static void list_remove(struct object_cache *cache, struct cached_object *object)
{
	if (object->newer != NULL)
		object->newer->older = object->older;
	else
		cache->newest = object->older;
	if (object->older != NULL)
		object->older->newer = object->newer;
	else
		cache->oldest = object->newer;
}

static void list_push(struct object_cache *cache, struct cached_object *object)
{
	object->newer = NULL;
	object->older = cache->newest;
	if (cache->newest != NULL)
		cache->newest->newer = object;
	else
		cache->oldest = object;
	cache->newest = object;
}

static void evict(struct object_cache *cache, struct cached_object *object)
{
	struct cached_object **at =
	        &cache->buckets[bucket_of(cache, object->extent, object->offset)];

	while (*at != object)
		at = &(*at)->chain;
	*at = object->chain;
	list_remove(cache, object);
	cache->count--;
	cache->bytes -= cost(object);
	object->cached = false;
	if (object->holders == 0)
		object_free(cache, object);
}

/* The oldest object that was not used since it was last looked at here, mostly. Moving it when it
 * is used would touch its neighbours in memory, again and again. */
static struct cached_object *victim(struct object_cache *cache)
{
	struct cached_object *object = cache->oldest;

	for (unsigned i = 0; object->used && i < CHANCES_MAX; i++) {
		object->used = false;
		list_remove(cache, object);
		list_push(cache, object);
		object = cache->oldest;
	}
	return object;
}

bool bole_object_cache_shrink(struct object_cache *cache)
{
	for (struct cached_object *object = cache->oldest; object != NULL; object = object->newer) {
		if (object->holders == 0) {
			evict(cache, object);
			return true;
		}
	}
	return false;
}

void bole_object_cache_release(struct object_cache *cache)
{
	while (cache->oldest != NULL) {
		BOLE_ASSERT(cache->oldest->holders == 0);
		evict(cache, cache->oldest);
	}
	BOLE_ASSERT(cache->bytes == 0);
	bole_alloc_free(cache->alloc, cache->buckets, cache->bucket_count, sizeof *cache->buckets);
	cache->buckets = NULL;
	cache->bucket_count = 0;
}

struct cached_object *bole_object_cache_find(struct object_cache *cache, uint64_t extent,
                                             uint64_t offset)
{
	if (cache->bucket_count == 0)
		return NULL;
	struct cached_object *object = cache->buckets[bucket_of(cache, extent, offset)];

	while (object != NULL && (object->extent != extent || object->offset != offset))
		object = object->chain;
	if (object == NULL)
		return NULL;
	object->used = true;
	object->holders++;
	return object;
}

struct cached_object *bole_object_cache_make(struct object_cache *cache, uint64_t extent,
                                             uint64_t offset, size_t len)
{
	struct cached_object *object;

	if (len > SIZE_MAX - sizeof *object)
		return NULL;
	do {
		object = bole_alloc_array(cache->alloc, sizeof *object + len, 1);
	} while (object == NULL && bole_object_cache_shrink(cache));
	if (object != NULL)
		*object = (struct cached_object){
		        .extent = extent,
		        .offset = offset,
		        .data = (uint8_t *)(object + 1),
		        .len = len,
		        .holders = 1,
		};
	return object;
}

void bole_object_cache_add(struct object_cache *cache, struct cached_object *object)
{
	BOLE_ASSERT(object->holders > 0);
	/* One giant must not push everything else out. */
	if (object->cached || cost(object) > cache->limit / 2)
		return;
	while (cache->bytes > cache->limit - cost(object))
		evict(cache, victim(cache));
	if (cache->count >= cache->bucket_count && !buckets_grow(cache))
		return;
	size_t bucket = bucket_of(cache, object->extent, object->offset);

	object->chain = cache->buckets[bucket];
	cache->buckets[bucket] = object;
	list_push(cache, object);
	object->cached = true;
	cache->count++;
	cache->bytes += cost(object);
}

void bole_object_cache_drop(struct object_cache *cache, struct cached_object *object)
{
	if (object == NULL)
		return;
	BOLE_ASSERT(object->holders > 0);
	if (--object->holders == 0 && !object->cached)
		object_free(cache, object);
}
