/* SPDX-License-Identifier: ISC */
#include "git/bitmap/cache.h"

#include <inttypes.h>

#include "base/check.h"
#include "bole/store.h"
#include "git/bitmap/bitmap.h"
#include "git/bitmap/rehearse.h"
#include "git/bitmap/wholes.h"

enum {
	SLOTS = 64,
	/* Of the time since an index was made, the part that the next may take. */
	REST_FACTOR = 16,
	SAVE_MIN = 4096, /* positions: fewer are soon found again */
	SAVE_PART = 8,
	WHOLES_PART = 2, /* of the bytes that are kept in memory, for what is made whole */
};
#define FIRST_NS UINT64_C(500000000)   /* without an index everybody walks */
#define QUIET_NS UINT64_C(2000000000)  /* changes come in bursts */
#define RETRY_NS UINT64_C(60000000000) /* after a failure */

struct slot {
	uint32_t repo; /* 0 = free */
	struct bole_bitmap *bitmap;
	uint64_t used;      /* the cache's clock */
	uint64_t due_ns;    /* not before; 0 = it is not due */
	uint64_t rested_ns; /* no work before */
	bool tried;         /* the store was asked */
};

struct bole_git_cache {
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	struct bole_mutex lock;
	size_t bytes_max;
	uint64_t clock;
	struct slot slots[SLOTS];
};

enum bole_status bole_git_cache_open(struct bole_platform *platform, struct bole_alloc *alloc,
                                     size_t bytes_max, struct bole_git_cache **out)
{
	struct bole_git_cache *cache = bole_alloc_zeroed(alloc, 1, sizeof *cache);

	*out = cache;
	if (cache == NULL)
		return BOLE_E_NO_MEMORY;
	cache->platform = platform;
	cache->alloc = alloc;
	cache->bytes_max = bytes_max;
	platform->ops->mutex_init(platform, &cache->lock);
	return BOLE_OK;
}

void bole_git_cache_close(struct bole_git_cache *cache)
{
	if (cache == NULL)
		return;
	for (size_t i = 0; i < SLOTS; i++)
		bole_bitmap_release(cache->slots[i].bitmap);
	cache->platform->ops->mutex_destroy(cache->platform, &cache->lock);
	bole_alloc_free(cache->alloc, cache, 1, sizeof *cache);
}

/* Lock held. The slot of a repository; the one that was not used for longest gives way. */
static struct slot *slot_of(struct bole_git_cache *cache, uint32_t repo)
{
	struct slot *oldest = &cache->slots[0];

	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *s = &cache->slots[i];

		if (s->repo == repo) {
			s->used = ++cache->clock;
			return s;
		}
		if (s->used < oldest->used)
			oldest = s;
	}
	bole_bitmap_release(oldest->bitmap);
	*oldest = (struct slot){.repo = repo, .used = ++cache->clock};
	return oldest;
}

static void make_due(const struct bole_git_cache *cache, struct slot *s)
{
	uint64_t now = cache->platform->ops->now_ns(cache->platform);
	uint64_t due = now + (s->bitmap == NULL ? FIRST_NS : QUIET_NS);

	if (s->due_ns == 0)
		s->due_ns = due > s->rested_ns ? due : s->rested_ns;
}

/* The first index since the start, from the store. */
static struct bole_bitmap *load(struct bole_git_cache *cache, struct bole_snapshot *snapshot)
{
	struct bole_bitmap *loaded;
	enum bole_status rc = bole_bitmap_load(cache->platform, cache->alloc, snapshot, &loaded);

	if (rc == BOLE_OK) {
		atomic_store(&loaded->saved, loaded->positions);
		return loaded;
	}
	if (rc != BOLE_E_NOT_FOUND)
		bole_log(cache->platform, BOLE_LOG_WARN,
		         "bitmaps: repository %" PRIu32 ": those in the store cannot be used: %s",
		         snapshot->repo.id, bole_status_text(rc));
	return NULL;
}

static void keep(struct bole_git_cache *cache, uint32_t repo, struct bole_bitmap *bitmap,
                 uint64_t rested_ns);

struct bole_bitmap *bole_git_cache_bitmap(struct bole_git_cache *cache,
                                          struct bole_snapshot *snapshot)
{
	struct bole_bitmap *bitmap = NULL;
	uint32_t repo = snapshot->repo.id;

	if (cache == NULL || repo == 0)
		return NULL;
	cache->platform->ops->mutex_lock(cache->platform, &cache->lock);
	struct slot *s = slot_of(cache, repo);
	bool first = !s->tried;
	s->tried = true;
	if (s->bitmap != NULL)
		bitmap = bole_bitmap_retain(s->bitmap);
	else if (!first)
		make_due(cache, s);
	cache->platform->ops->mutex_unlock(cache->platform, &cache->lock);
	if (bitmap != NULL || !first)
		return bitmap;
	bitmap = load(cache, snapshot);
	if (bitmap != NULL)
		keep(cache, repo, bole_bitmap_retain(bitmap), 0);
	/* What is in the store may be behind. */
	bole_git_cache_changed(cache, repo);
	return bitmap;
}

void bole_git_cache_changed(struct bole_git_cache *cache, uint32_t repo)
{
	if (cache == NULL || repo == 0)
		return;
	cache->platform->ops->mutex_lock(cache->platform, &cache->lock);
	make_due(cache, slot_of(cache, repo));
	cache->platform->ops->mutex_unlock(cache->platform, &cache->lock);
}

/* Lock held. What was not used for longest goes until there is room. */
static void trim(struct bole_git_cache *cache, const struct slot *keep)
{
	for (;;) {
		struct slot *oldest = NULL;
		size_t bytes = 0;

		for (size_t i = 0; i < SLOTS; i++) {
			struct slot *s = &cache->slots[i];

			if (s->bitmap == NULL)
				continue;
			bytes += bole_bitmap_bytes(s->bitmap);
			if (s != keep && (oldest == NULL || s->used < oldest->used))
				oldest = s;
		}
		if (bytes <= cache->bytes_max || oldest == NULL)
			return;
		bole_bitmap_release(oldest->bitmap);
		oldest->bitmap = NULL;
	}
}

static void keep(struct bole_git_cache *cache, uint32_t repo, struct bole_bitmap *bitmap,
                 uint64_t rested_ns)
{
	cache->platform->ops->mutex_lock(cache->platform, &cache->lock);
	struct slot *s = slot_of(cache, repo);
	s->rested_ns = rested_ns;
	if (bitmap != NULL) {
		bole_bitmap_release(s->bitmap);
		s->bitmap = bitmap;
		trim(cache, s);
	}
	cache->platform->ops->mutex_unlock(cache->platform, &cache->lock);
}

/* Takes a repository that is due; 0 = none is. */
static uint32_t take_due(struct bole_git_cache *cache, struct bole_bitmap **old)
{
	uint64_t now = cache->platform->ops->now_ns(cache->platform);
	struct slot *first = NULL;
	uint32_t repo = 0;

	*old = NULL;
	cache->platform->ops->mutex_lock(cache->platform, &cache->lock);
	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *s = &cache->slots[i];

		if (s->repo != 0 && s->due_ns != 0 && s->due_ns <= now &&
		    (first == NULL || s->due_ns < first->due_ns))
			first = s;
	}
	if (first != NULL) {
		repo = first->repo;
		first->due_ns = 0;
		if (first->bitmap != NULL)
			*old = bole_bitmap_retain(first->bitmap);
	}
	cache->platform->ops->mutex_unlock(cache->platform, &cache->lock);
	return repo;
}

/* Rewritten when it has grown by a part, so that what is written stays a part of what is pushed. */
static bool is_worth_saving(const struct bole_store *store, const struct bole_bitmap *b,
                            const struct bole_wholes *wholes)
{
	uint32_t saved = atomic_load(&b->saved);

	if (store->info.read_only || b->positions < SAVE_MIN)
		return false;
	return saved == 0 || b->positions - saved >= saved / SAVE_PART ||
	       wholes->made > wholes->bytes.len / SAVE_PART;
}

static void save(struct bole_git_cache *cache, const struct bole_bitmap_job *job,
                 struct bole_bitmap *made, struct bole_store *store, uint32_t repo)
{
	struct bole_wholes wholes;
	size_t bytes_max = cache->bytes_max / WHOLES_PART;

	if (made->positions < SAVE_MIN)
		return;
	enum bole_status rc =
	        bole_wholes_open(&wholes, made, job->alloc,
	                         bytes_max < WHOLES_BYTES_MAX ? bytes_max : WHOLES_BYTES_MAX);
	if (rc == BOLE_OK)
		rc = bole_bitmap_rehearse_near(job, made, &wholes);
	if (rc == BOLE_OK && is_worth_saving(store, made, &wholes)) {
		rc = bole_bitmap_save(made, &wholes, store, repo);
		if (rc == BOLE_OK)
			atomic_store(&made->saved, made->positions);
	}
	bole_wholes_close(&wholes);
	if (rc != BOLE_OK && rc != BOLE_E_CLOSED)
		bole_log(cache->platform, BOLE_LOG_WARN,
		         "bitmaps: repository %" PRIu32 ": not kept in the store: %s", repo,
		         bole_status_text(rc));
}

/* What the first clone found out is for those after the next start, too. */
static void save_sum(struct bole_git_cache *cache, struct bole_store *store, uint32_t repo,
                     struct bole_bitmap *b)
{
	if (store->info.read_only || atomic_load(&b->saved) == 0 ||
	    atomic_load(&b->sum_state) != BITMAP_SUM_SET || atomic_load(&b->sum_saved))
		return;
	atomic_store(&b->sum_saved, true);
	enum bole_status rc = bole_bitmap_save_sum(b, store, repo);
	if (rc != BOLE_OK)
		bole_log(cache->platform, BOLE_LOG_WARN,
		         "bitmaps: repository %" PRIu32 ": its hash is not kept in the store: %s",
		         repo, bole_status_text(rc));
}

enum bole_status bole_git_cache_work(struct bole_git_cache *cache, struct bole_store *store,
                                     enum bole_status (*tick)(void *ctx), void *ctx)
{
	struct bole_platform *platform = cache->platform;
	struct bole_bitmap *old;
	struct bole_bitmap *made = NULL;
	struct bole_snapshot *snapshot;
	uint32_t repo = take_due(cache, &old);

	if (repo == 0)
		return BOLE_END;
	uint64_t start = platform->ops->now_ns(platform);
	enum bole_status rc = bole_snapshot_open(store, repo, &snapshot);
	if (rc == BOLE_OK && old == NULL)
		old = bole_git_cache_bitmap(cache, snapshot);
	if (rc == BOLE_OK) {
		struct bole_bitmap_job job = {.platform = platform,
		                              .alloc = cache->alloc,
		                              .snapshot = snapshot,
		                              .old = old,
		                              .tick = tick,
		                              .tick_ctx = ctx};
		rc = bole_bitmap_build(&job, &made);
		if (rc == BOLE_OK)
			bole_bitmap_rehearse(&job, made);
		if (rc == BOLE_OK && made != old) {
			atomic_store(&made->saved, old == NULL ? 0 : atomic_load(&old->saved));
			save(cache, &job, made, store, repo);
		}
		bole_snapshot_close(snapshot);
	}
	uint64_t now = platform->ops->now_ns(platform);
	if (rc == BOLE_OK && made != old)
		bole_log(platform, BOLE_LOG_INFO,
		         "bitmaps: repository %" PRIu32 ": %" PRIu32 " sets over %" PRIu32
		         " objects, %zu KiB, in %" PRIu64 " ms",
		         repo, made->set_count + 1, made->positions, bole_bitmap_bytes(made) >> 10,
		         (now - start) / 1000000);
	else if (rc != BOLE_OK && rc != BOLE_E_CLOSED && rc != BOLE_E_NOT_FOUND)
		bole_log(platform, BOLE_LOG_WARN, "bitmaps: repository %" PRIu32 ": %s", repo,
		         bole_status_text(rc));
	if (rc == BOLE_OK)
		save_sum(cache, store, repo, made);
	keep(cache, repo, made, rc == BOLE_OK ? now + (now - start) * REST_FACTOR : now + RETRY_NS);
	bole_bitmap_release(old);
	return rc == BOLE_E_CLOSED ? rc : BOLE_OK;
}
