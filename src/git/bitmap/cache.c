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
	SAVE_FIRST = 1 << 17, /* positions: so many are saved before anything else is done */
	RETRIES_DOUBLE = 6,
	PREPARED_MAX = 32, /* repositories that are made ready at the start */
	WHOLES_PART = 2,   /* of the bytes that are kept in memory, for what is made whole */
};
#define FIRST_NS UINT64_C(500000000)   /* without an index everybody walks */
#define QUIET_NS UINT64_C(5000000000)  /* changes come in bursts; what they bring is walked */
#define RETRY_NS UINT64_C(60000000000) /* after a failure, doubled for each one more */
#define WAIT_NS  UINT64_C(1000000000)  /* while another one reads it from the store */

struct slot {
	uint32_t repo; /* 0 = free */
	struct bole_bitmap *bitmap;
	uint64_t used;      /* the cache's clock */
	uint64_t due_ns;    /* not before; 0 = it is not due */
	uint64_t rested_ns; /* no work before */
	bool tried;         /* the store was asked */
	bool loading;       /* it is being asked */
	unsigned failures;  /* to make one, since one was made */
	unsigned collected; /* how often */
};

struct bole_git_cache {
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	struct bole_mutex lock;
	struct bole_cond loaded;
	size_t bytes_max;
	unsigned prepared; /* repositories; PREPARED_MAX: no more */
	struct bole_repo last_prepared;
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
	platform->ops->cond_init(platform, &cache->loaded);
	return BOLE_OK;
}

void bole_git_cache_close(struct bole_git_cache *cache)
{
	if (cache == NULL)
		return;
	for (size_t i = 0; i < SLOTS; i++)
		bole_bitmap_release(cache->slots[i].bitmap);
	cache->platform->ops->cond_destroy(cache->platform, &cache->loaded);
	cache->platform->ops->mutex_destroy(cache->platform, &cache->lock);
	bole_alloc_free(cache->alloc, cache, 1, sizeof *cache);
}

/* Lock held. The slot of a repository; the one that was not used for longest gives way. NULL: all
 * are being filled. */
static struct slot *slot_of(struct bole_git_cache *cache, uint32_t repo)
{
	struct slot *oldest = NULL;

	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *s = &cache->slots[i];

		if (s->repo == repo) {
			s->used = ++cache->clock;
			return s;
		}
		if (!s->loading && (oldest == NULL || s->used < oldest->used))
			oldest = s;
	}
	if (oldest == NULL)
		return NULL;
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

/* The first index since the start, from the store as it is now: the snapshot that asks may be from
 * before a collection. */
static struct bole_bitmap *load(struct bole_git_cache *cache, struct bole_store *store,
                                uint32_t repo)
{
	struct bole_snapshot *snapshot;
	struct bole_bitmap *loaded = NULL;
	enum bole_status rc = bole_snapshot_open(store, repo, &snapshot);

	if (rc == BOLE_OK) {
		rc = bole_bitmap_load(cache->platform, cache->alloc, snapshot, &loaded);
		bole_snapshot_close(snapshot);
	}
	if (rc == BOLE_OK) {
		atomic_store(&loaded->saved, loaded->positions);
		return loaded;
	}
	if (rc != BOLE_E_NOT_FOUND)
		bole_log(cache->platform, BOLE_LOG_WARN,
		         "bitmaps: repository %" PRIu32 ": those in the store cannot be used: %s",
		         repo, bole_status_text(rc));
	return NULL;
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

/* Lock held. Waits for whoever reads the index of a repository. False: this one is to read it. */
static bool wait_for_slot(struct bole_git_cache *cache, uint32_t repo, struct bole_bitmap **out)
{
	const struct bole_platform_ops *ops = cache->platform->ops;
	uint64_t until = ops->now_ns(cache->platform) + WAIT_NS;
	struct slot *s = slot_of(cache, repo);

	*out = NULL;
	while (s != NULL && s->loading &&
	       ops->cond_wait(cache->platform, &cache->loaded, &cache->lock, until) == BOLE_OK)
		s = slot_of(cache, repo);
	if (s == NULL || s->loading)
		return true;
	if (s->bitmap != NULL)
		*out = bole_bitmap_retain(s->bitmap);
	else if (s->tried)
		make_due(cache, s);
	if (s->bitmap != NULL || s->tried)
		return true;
	s->tried = true;
	s->loading = true;
	return false;
}

struct bole_bitmap *bole_git_cache_bitmap(struct bole_git_cache *cache,
                                          struct bole_snapshot *snapshot)
{
	struct bole_bitmap *bitmap;
	uint32_t repo = snapshot->repo.id;

	if (cache == NULL || repo == 0)
		return NULL;
	const struct bole_platform_ops *ops = cache->platform->ops;
	ops->mutex_lock(cache->platform, &cache->lock);
	bool done = wait_for_slot(cache, repo, &bitmap);
	unsigned collected = done ? 0 : slot_of(cache, repo)->collected;
	ops->mutex_unlock(cache->platform, &cache->lock);
	if (done)
		return bitmap;
	bitmap = load(cache, snapshot->store, repo);
	ops->mutex_lock(cache->platform, &cache->lock);
	struct slot *s = slot_of(cache, repo);
	BOLE_ASSERT(s != NULL && s->loading);
	s->loading = false;
	/* Something may have been collected since. */
	if (bitmap != NULL && s->collected == collected) {
		s->bitmap = bole_bitmap_retain(bitmap);
		trim(cache, s);
	}
	/* What is in the store may be behind. */
	make_due(cache, s);
	ops->cond_broadcast(cache->platform, &cache->loaded);
	ops->mutex_unlock(cache->platform, &cache->lock);
	return bitmap;
}

void bole_git_cache_changed(struct bole_git_cache *cache, uint32_t repo)
{
	if (cache == NULL || repo == 0)
		return;
	cache->platform->ops->mutex_lock(cache->platform, &cache->lock);
	struct slot *s = slot_of(cache, repo);
	if (s != NULL)
		make_due(cache, s);
	cache->platform->ops->mutex_unlock(cache->platform, &cache->lock);
}

void bole_git_cache_collected(struct bole_git_cache *cache, uint32_t repo)
{
	if (cache == NULL || repo == 0)
		return;
	cache->platform->ops->mutex_lock(cache->platform, &cache->lock);
	struct slot *s = slot_of(cache, repo);
	struct bole_bitmap *bitmap = s == NULL ? NULL : s->bitmap;
	if (s != NULL) {
		s->bitmap = NULL;
		s->tried = true; /* what older snapshots see in the store is no better */
		s->collected++;
		/* Everybody walks until there is another one: no rest before it. */
		s->rested_ns = 0;
		s->due_ns = 0;
		make_due(cache, s);
	}
	cache->platform->ops->mutex_unlock(cache->platform, &cache->lock);
	bole_bitmap_release(bitmap);
}

/* Lock held. */
static void put(struct bole_git_cache *cache, struct slot *s, struct bole_bitmap *bitmap)
{
	s->failures = 0;
	bole_bitmap_release(s->bitmap);
	s->bitmap = bole_bitmap_retain(bitmap);
	trim(cache, s);
}

/* After work: what was made, or NULL. */
static void keep(struct bole_git_cache *cache, uint32_t repo, struct bole_bitmap *bitmap,
                 uint64_t work_ns)
{
	cache->platform->ops->mutex_lock(cache->platform, &cache->lock);
	uint64_t now = cache->platform->ops->now_ns(cache->platform);
	struct slot *s = slot_of(cache, repo);
	if (s != NULL)
		s->rested_ns = now + work_ns * REST_FACTOR;
	if (s != NULL && bitmap != NULL)
		put(cache, s, bitmap);
	cache->platform->ops->mutex_unlock(cache->platform, &cache->lock);
}

/* It is tried again. */
static void fail(struct bole_git_cache *cache, uint32_t repo)
{
	cache->platform->ops->mutex_lock(cache->platform, &cache->lock);
	struct slot *s = slot_of(cache, repo);
	if (s != NULL) {
		s->rested_ns =
		        cache->platform->ops->now_ns(cache->platform) + (RETRY_NS << s->failures);
		s->failures += s->failures < RETRIES_DOUBLE;
		make_due(cache, s);
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
	/* What took long is not to be lost by a stop while the rest is made. */
	if (!store->info.read_only && atomic_load(&made->saved) == 0 &&
	    made->positions >= SAVE_FIRST && bole_bitmap_save(made, NULL, store, repo) == BOLE_OK)
		atomic_store(&made->saved, made->positions);
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

static void log_work(struct bole_git_cache *cache, uint32_t repo, enum bole_status rc,
                     const struct bole_bitmap *made, uint64_t ms)
{
	if (rc == BOLE_OK)
		bole_log(cache->platform, BOLE_LOG_INFO,
		         "bitmaps: repository %" PRIu32 ": %" PRIu32 " sets over %" PRIu32
		         " objects, %zu KiB, in %" PRIu64 " ms",
		         repo, made->set_count + 1, made->positions, bole_bitmap_bytes(made) >> 10,
		         ms);
	else if (rc != BOLE_E_CLOSED)
		bole_log(cache->platform, BOLE_LOG_WARN,
		         "bitmaps: repository %" PRIu32 ": cannot be made, clients wait for the "
		         "walk: %s",
		         repo, bole_status_text(rc));
}

/* It is there for requests before what they could find out themselves is found out. */
static enum bole_status work_on(struct bole_git_cache *cache, const struct bole_bitmap_job *job,
                                struct bole_store *store, uint32_t repo)
{
	const struct bole_platform_ops *ops = cache->platform->ops;
	uint64_t start = ops->now_ns(cache->platform);
	struct bole_bitmap *made = NULL;

	enum bole_status rc = bole_bitmap_build(job, &made);
	uint64_t built = ops->now_ns(cache->platform);
	if (rc == BOLE_OK)
		atomic_store(&made->saved, job->old == NULL ? 0 : atomic_load(&job->old->saved));
	if (rc == BOLE_E_NOT_FOUND)
		return rc; /* a shallow repository has none */
	if (rc != BOLE_OK || made != job->old)
		log_work(cache, repo, rc, made, (built - start) / 1000000);
	if (rc != BOLE_OK) {
		fail(cache, repo);
		return rc;
	}
	keep(cache, repo, made, built - start);
	if (made != job->old ||
	    (atomic_load(&made->saved) != 0 && atomic_load(&made->generation) == 0))
		save(cache, job, made, store, repo);
	bole_bitmap_rehearse(job, made);
	save_sum(cache, store, repo, made);
	/* The rest that it takes is as long as all of the work asks for. */
	keep(cache, repo, NULL, ops->now_ns(cache->platform) - start);
	bole_bitmap_release(made);
	return BOLE_OK;
}

enum bole_status bole_git_cache_work(struct bole_git_cache *cache, struct bole_store *store,
                                     enum bole_status (*tick)(void *ctx), void *ctx)
{
	struct bole_bitmap *old;
	struct bole_snapshot *snapshot;
	uint32_t repo = take_due(cache, &old);

	if (repo == 0)
		return BOLE_END;
	enum bole_status rc = bole_snapshot_open(store, repo, &snapshot);
	if (rc == BOLE_OK && old == NULL &&
	    (old = bole_git_cache_bitmap(cache, snapshot)) != NULL) {
		/* One of before the start will do for a while. */
		bole_git_cache_changed(cache, repo);
		bole_bitmap_release(old);
		bole_snapshot_close(snapshot);
		return BOLE_OK;
	}
	if (rc == BOLE_OK) {
		struct bole_bitmap_job job = {.platform = cache->platform,
		                              .alloc = cache->alloc,
		                              .snapshot = snapshot,
		                              .old = old,
		                              .tick = tick,
		                              .tick_ctx = ctx};
		rc = work_on(cache, &job, store, repo);
		bole_snapshot_close(snapshot);
	} else if (rc != BOLE_E_NOT_FOUND) {
		log_work(cache, repo, rc, NULL, 0);
		fail(cache, repo);
	}
	bole_bitmap_release(old);
	return rc == BOLE_E_CLOSED ? rc : BOLE_OK;
}

/* Lock held. */
static bool has_room(const struct bole_git_cache *cache)
{
	size_t bytes = 0;
	unsigned used = 0;

	for (size_t i = 0; i < SLOTS; i++) {
		used += cache->slots[i].repo != 0;
		if (cache->slots[i].bitmap != NULL)
			bytes += bole_bitmap_bytes(cache->slots[i].bitmap);
	}
	return used < SLOTS / 2 && bytes < cache->bytes_max / 2;
}

enum bole_status bole_git_cache_prepare(struct bole_git_cache *cache, struct bole_store *store)
{
	struct bole_platform *platform = cache->platform;
	struct bole_snapshot *snapshot;

	if (cache->prepared == PREPARED_MAX)
		return BOLE_END;
	platform->ops->mutex_lock(platform, &cache->lock);
	bool room = has_room(cache);
	platform->ops->mutex_unlock(platform, &cache->lock);
	if (!room ||
	    bole_repo_next(store, cache->last_prepared.name, &cache->last_prepared) != BOLE_OK) {
		cache->prepared = PREPARED_MAX;
		return BOLE_END;
	}
	cache->prepared++;
	if (bole_snapshot_open(store, cache->last_prepared.id, &snapshot) == BOLE_OK) {
		bole_bitmap_release(bole_git_cache_bitmap(cache, snapshot));
		bole_snapshot_close(snapshot);
	}
	return BOLE_OK;
}
