/* SPDX-License-Identifier: ISC */
#include "git/pack/cache.h"

#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "git/fetch/filter.h"
#include "git/negotiate.h"

enum {
	MAKING_MAX = 64, /* packs under way that others may wait for */
	PART_MAX = 4,    /* of the cache that one pack may take */
	COUNTERS = 256,  /* of changes; repositories share them */
};
#define WAIT_NS UINT64_C(300000000)

struct bole_pack_cache {
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	size_t bytes_max;
	struct bole_mutex lock;
	struct bole_cond made;
	struct bole_cached_pack *packs;
	size_t bytes;
	uint64_t clock;
	uint32_t changes[COUNTERS];
	uint8_t making[MAKING_MAX][PACK_CACHE_KEY_BYTES];
	size_t making_count;
};

enum bole_status bole_pack_cache_open(struct bole_platform *platform, struct bole_alloc *alloc,
                                      size_t bytes_max, struct bole_pack_cache **out)
{
	struct bole_pack_cache *cache = bole_alloc_zeroed(alloc, 1, sizeof *cache);

	*out = cache;
	if (cache == NULL)
		return BOLE_E_NO_MEMORY;
	cache->platform = platform;
	cache->alloc = alloc;
	cache->bytes_max = bytes_max;
	platform->ops->mutex_init(platform, &cache->lock);
	platform->ops->cond_init(platform, &cache->made);
	return BOLE_OK;
}

void bole_cached_pack_release(struct bole_pack_cache *cache, struct bole_cached_pack *pack)
{
	if (pack == NULL || atomic_fetch_sub_explicit(&pack->refs, 1, memory_order_acq_rel) != 1)
		return;
	bole_buffer_release(&pack->bytes);
	bole_alloc_free(cache->alloc, pack, 1, sizeof *pack);
}

void bole_pack_cache_close(struct bole_pack_cache *cache)
{
	if (cache == NULL)
		return;
	while (cache->packs != NULL) {
		struct bole_cached_pack *pack = cache->packs;

		cache->packs = pack->next;
		bole_cached_pack_release(cache, pack);
	}
	cache->platform->ops->cond_destroy(cache->platform, &cache->made);
	cache->platform->ops->mutex_destroy(cache->platform, &cache->lock);
	bole_alloc_free(cache->alloc, cache, 1, sizeof *cache);
}

/* -- Keys -- */

static void hash_number(struct bole_hash *hash, uint64_t value)
{
	uint8_t bytes[8];

	bole_put_le64(bytes, value);
	bole_hash_update(hash, bytes, sizeof bytes);
}

static void hash_ids(struct bole_hash *hash, const struct bole_oid *ids, size_t count)
{
	hash_number(hash, count);
	for (size_t i = 0; i < count; i++)
		bole_hash_update(hash, ids[i].bytes, bole_hash_bytes(ids[i].algo));
}

bool bole_pack_cache_key(const struct bole_reach *job, uint32_t repo, uint8_t *key)
{
	const struct bole_filter *filter = job->filter;
	struct bole_hash hash;
	struct bole_oid sum;

	/* Which patterns a name stands for may change. */
	if (filter != NULL && filter->sparse_len > 0)
		return false;
	bole_hash_init(&hash, BOLE_HASH_SHA256);
	hash_number(&hash, repo);
	hash_number(&hash, job->snapshot->repo.algo);
	hash_ids(&hash, job->wants, job->want_count);
	hash_ids(&hash, job->haves, job->have_count);
	hash_ids(&hash, job->grafts == NULL ? NULL : job->grafts->ids,
	         job->grafts == NULL ? 0 : job->grafts->count);
	hash_number(&hash, (uint64_t)(job->include_tags | job->thin << 1 | job->ofs_delta << 2));
	hash_number(&hash, filter != NULL);
	if (filter != NULL) {
		hash_number(&hash, filter->types);
		hash_number(&hash, filter->blob_limit);
		hash_number(&hash, filter->tree_depth);
	}
	bole_hash_final(&hash, &sum);
	memcpy(key, sum.bytes, PACK_CACHE_KEY_BYTES);
	return true;
}

/* -- Packs -- */

/* Lock held. */
static struct bole_cached_pack *find(struct bole_pack_cache *cache, const uint8_t *key)
{
	struct bole_cached_pack *pack = cache->packs;

	while (pack != NULL && memcmp(pack->key, key, sizeof pack->key) != 0)
		pack = pack->next;
	if (pack == NULL)
		return NULL;
	pack->used = ++cache->clock;
	atomic_fetch_add_explicit(&pack->refs, 1, memory_order_relaxed);
	return pack;
}

/* Lock held. */
static size_t find_making(const struct bole_pack_cache *cache, const uint8_t *key)
{
	size_t i = 0;

	while (i < cache->making_count && memcmp(cache->making[i], key, PACK_CACHE_KEY_BYTES) != 0)
		i++;
	return i;
}

struct bole_cached_pack *bole_pack_cache_get(struct bole_pack_cache *cache, const uint8_t *key)
{
	struct bole_cached_pack *pack;

	if (cache == NULL)
		return NULL;
	struct bole_platform *platform = cache->platform;
	uint64_t until = platform->ops->now_ns(platform) + WAIT_NS;

	platform->ops->mutex_lock(platform, &cache->lock);
	/* Whoever makes it may have a slow client: nobody waits for long. */
	while ((pack = find(cache, key)) == NULL && find_making(cache, key) < cache->making_count &&
	       platform->ops->cond_wait(platform, &cache->made, &cache->lock, until) == BOLE_OK)
		;
	if (pack == NULL && find_making(cache, key) == cache->making_count &&
	    cache->making_count < MAKING_MAX)
		memcpy(cache->making[cache->making_count++], key, PACK_CACHE_KEY_BYTES);
	platform->ops->mutex_unlock(platform, &cache->lock);
	return pack;
}

/* Lock held. */
static void made(struct bole_pack_cache *cache, const uint8_t *key)
{
	size_t at = find_making(cache, key);

	if (at < cache->making_count)
		memmove(cache->making[at], cache->making[--cache->making_count],
		        PACK_CACHE_KEY_BYTES);
	cache->platform->ops->cond_broadcast(cache->platform, &cache->made);
}

void bole_pack_cache_forget(struct bole_pack_cache *cache, const uint8_t *key)
{
	if (cache == NULL)
		return;
	cache->platform->ops->mutex_lock(cache->platform, &cache->lock);
	made(cache, key);
	cache->platform->ops->mutex_unlock(cache->platform, &cache->lock);
}

/* Lock held. Those not used for longest go. */
static void trim(struct bole_pack_cache *cache)
{
	while (cache->bytes > cache->bytes_max) {
		struct bole_cached_pack **oldest = &cache->packs;

		for (struct bole_cached_pack **at = &cache->packs; *at != NULL; at = &(*at)->next)
			if ((*at)->used < (*oldest)->used)
				oldest = at;
		struct bole_cached_pack *pack = *oldest;

		*oldest = pack->next;
		cache->bytes -= pack->bytes.cap;
		bole_cached_pack_release(cache, pack);
	}
}

void bole_pack_cache_keep(struct bole_pack_cache *cache, uint32_t repo, uint32_t changes,
                          const uint8_t *key, uint64_t objects, struct bole_buffer *bytes)
{
	struct bole_cached_pack *pack = bole_alloc_zeroed(cache->alloc, 1, sizeof *pack);

	if (pack == NULL) {
		bole_pack_cache_forget(cache, key);
		return;
	}
	atomic_init(&pack->refs, 1);
	memcpy(pack->key, key, sizeof pack->key);
	pack->repo = repo;
	pack->objects = objects;
	pack->bytes = *bytes;
	bole_buffer_init(bytes, cache->alloc, 0);
	cache->platform->ops->mutex_lock(cache->platform, &cache->lock);
	struct bole_cached_pack *other = find(cache, key);
	if (other == NULL && cache->changes[repo % COUNTERS] == changes) {
		pack->used = ++cache->clock;
		pack->next = cache->packs;
		cache->packs = pack;
		cache->bytes += pack->bytes.cap;
		pack = NULL;
		trim(cache);
	}
	made(cache, key);
	cache->platform->ops->mutex_unlock(cache->platform, &cache->lock);
	bole_cached_pack_release(cache, other);
	bole_cached_pack_release(cache, pack);
}

void bole_pack_cache_changed(struct bole_pack_cache *cache, uint32_t repo)
{
	if (cache == NULL)
		return;
	cache->platform->ops->mutex_lock(cache->platform, &cache->lock);
	cache->changes[repo % COUNTERS]++;
	for (struct bole_cached_pack **at = &cache->packs; *at != NULL;) {
		struct bole_cached_pack *pack = *at;

		if (pack->repo != repo) {
			at = &pack->next;
			continue;
		}
		*at = pack->next;
		cache->bytes -= pack->bytes.cap;
		bole_cached_pack_release(cache, pack);
	}
	cache->platform->ops->mutex_unlock(cache->platform, &cache->lock);
}

uint32_t bole_pack_cache_changes(struct bole_pack_cache *cache, uint32_t repo)
{
	if (cache == NULL)
		return 0;
	cache->platform->ops->mutex_lock(cache->platform, &cache->lock);
	uint32_t changes = cache->changes[repo % COUNTERS];
	cache->platform->ops->mutex_unlock(cache->platform, &cache->lock);
	return changes;
}

/* -- The tee -- */

static enum bole_status tee_write(struct bole_writer *self, const void *src, size_t len)
{
	struct bole_pack_tee *tee = (struct bole_pack_tee *)self;

	if (!tee->lost) {
		bole_buffer_append(&tee->kept, src, len);
		tee->lost = tee->kept.rc != BOLE_OK;
		if (tee->lost) {
			bole_buffer_release(&tee->kept);
			bole_buffer_init(&tee->kept, tee->kept.alloc, 0);
		}
	}
	return tee->next->write(tee->next, src, len);
}

static enum bole_status tee_flush(struct bole_writer *self)
{
	struct bole_pack_tee *tee = (struct bole_pack_tee *)self;

	return tee->next->flush(tee->next);
}

void bole_pack_tee_init(struct bole_pack_tee *tee, struct bole_pack_cache *cache,
                        struct bole_writer *next)
{
	*tee = (struct bole_pack_tee){.writer = {.write = tee_write, .flush = tee_flush},
	                              .next = next};
	bole_buffer_init(&tee->kept, cache->alloc, cache->bytes_max / PART_MAX);
}
