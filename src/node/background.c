/* SPDX-License-Identifier: ISC */
/* What the node does when nobody asks: the store's maintenance in small steps, collections of
 * garbage when deleted and moved references may have left enough of it, and repacks when pushes
 * have left many small packs. One fiber. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bole/gc.h"
#include "bole/repack.h"
#include "git/bitmap/cache.h"
#include "git/refs/cache.h"
#include "node/internal.h"

enum {
	SUSPECTS_MAX = 4096,     /* repositories that are kept in mind at a time */
	LOW_SPACE_PART = 8,      /* with less than this part free, collecting is due at once */
	CACHE_MIN = 256 * 1024,  /* of a collection */
	CACHE_MAX = 4 << 20,     /* the same */
	CACHE_PART = 32,         /* of node.memory */
	REPACK_PART = 8,         /* of node.memory, for deltas and what is compared */
	REPACK_MAX = 64 << 20,   /* the same */
	STEPS_MAX = 256,         /* of maintenance, before something else gets its turn */
	PAUSE_MAX_NS = 50000000, /* between two steps beside requests */
	PUSHED_MAX =
	        64, /* repositories that wait to be looked at; the others wait for the period */
	LISTED_MAX = 32, /* repositories whose references are listed at the start */
	KINDS = BOLE_MAINTAIN_SCRUB + 1,
};
#define LIST_NS     (2 * NODE_SECOND_NS)  /* after a push: they come in bursts */
#define IDLE_NS     NODE_SECOND_NS        /* between two looks */
#define RETRY_NS    (60 * NODE_SECOND_NS) /* after what failed */
#define REPORT_NS   (60 * NODE_SECOND_NS) /* between two lines about the store */
#define PROGRESS_NS (15 * NODE_SECOND_NS) /* between two lines about a repack */

/* A repository whose references were deleted or moved since it was last collected. */
struct node_suspect {
	struct node_suspect *next;
	uint32_t repo;
	bool deleted;      /* garbage for sure */
	uint64_t first_ns; /* the oldest of these changes */
	uint64_t last_ns;
	uint64_t not_before_ns; /* after a failure */
};

/* A repository that was pushed to. */
struct node_pushed {
	uint32_t repo; /* 0 = an empty slot */
	bool listed;   /* its references have been listed since */
	uint64_t last_ns;
};

struct node_background {
	struct bole_node *node;
	struct node_pushed pushed[PUSHED_MAX]; /* under node->lock */
	struct node_suspect *suspects;         /* under node->lock */
	unsigned suspect_count;
	uint64_t collected_bytes; /* the store's user_bytes at the last collection */
	uint64_t steps[KINDS];
	uint64_t bytes;
	uint64_t reported_ns;
	_Atomic uint64_t resume_ns; /* maintenance failed: not before */
	uint64_t paused_ns;         /* the collection's last pause ended */
	uint64_t waited_ns;         /* of it or a repack: all pauses */
	uint64_t told_ns;           /* the last line about a repack */
	uint32_t repacking;
	bool looked_back; /* at what was left behind before the start */
	unsigned listed;  /* repositories whose references were listed since the start */
	struct bole_repo last_listed;
	uint64_t repacked_ns; /* the last look for what is worth a repack ended */
};

/* -- What may be garbage -- */

/* Under node->lock. */
static struct node_suspect *suspect_of(struct node_background *b, uint32_t repo, uint64_t now)
{
	struct node_suspect *s = b->suspects;

	while (s != NULL && s->repo != repo)
		s = s->next;
	if (s != NULL || b->suspect_count == SUSPECTS_MAX)
		return s;
	s = bole_alloc_zeroed(b->node->platform->alloc, 1, sizeof *s);
	if (s == NULL)
		return NULL;
	*s = (struct node_suspect){.next = b->suspects, .repo = repo, .first_ns = now};
	b->suspects = s;
	b->suspect_count++;
	return s;
}

void bole_node_background_note(struct bole_node *node, uint32_t repo, bool deleted)
{
	struct bole_platform *platform = node->platform;
	struct node_background *b = node->background;

	if (b == NULL)
		return;
	uint64_t now = platform->ops->now_ns(platform);
	platform->ops->mutex_lock(platform, &node->lock);
	/* One that finds no room is found by the next change of its references. */
	struct node_suspect *s = suspect_of(b, repo, now);
	if (s != NULL) {
		s->deleted |= deleted;
		s->last_ns = now;
	}
	platform->ops->cond_signal(platform, &node->work);
	platform->ops->mutex_unlock(platform, &node->lock);
}

void bole_node_background_wake(struct bole_node *node)
{
	struct bole_platform *platform = node->platform;

	platform->ops->mutex_lock(platform, &node->lock);
	if (node->background != NULL)
		atomic_store(&node->background->resume_ns, 0);
	for (struct node_suspect *s = node->background == NULL ? NULL : node->background->suspects;
	     s != NULL; s = s->next)
		s->not_before_ns = 0;
	platform->ops->cond_signal(platform, &node->work);
	platform->ops->mutex_unlock(platform, &node->lock);
}

static bool due(const struct node_background *b, const struct node_suspect *s,
                const struct bole_store_stats *stats, uint64_t now)
{
	const struct node_options *options = &b->node->options;
	uint64_t written = stats->user_bytes - b->collected_bytes;
	bool low = stats->free_bytes < stats->capacity_bytes / LOW_SPACE_PART;

	if (now < s->not_before_ns)
		return false;
	if (s->deleted && now - s->first_ns >= options->gc_period_ns)
		return true;
	if (now - s->last_ns <
	    (low && options->gc_delay_ns > IDLE_NS ? IDLE_NS : options->gc_delay_ns))
		return false;
	return low || written >= stats->live_bytes / 100 * options->gc_share;
}

/* Takes one that is due off the list. */
static bool take_due(struct node_background *b, struct node_suspect *out)
{
	struct bole_platform *platform = b->node->platform;
	struct bole_store_stats stats;
	bool taken = false;

	if (bole_store_stats(b->node->store, &stats) != BOLE_OK)
		return false;
	uint64_t now = platform->ops->now_ns(platform);
	platform->ops->mutex_lock(platform, &b->node->lock);
	struct node_suspect **at = &b->suspects;
	while (*at != NULL && !due(b, *at, &stats, now))
		at = &(*at)->next;
	struct node_suspect *s = *at;
	if (s != NULL) {
		*at = s->next;
		b->suspect_count--;
		*out = *s;
		taken = true;
	}
	platform->ops->mutex_unlock(platform, &b->node->lock);
	bole_alloc_free(platform->alloc, s, s == NULL ? 0 : 1, sizeof *s);
	return taken;
}

/* Nobody remembers what was deleted before the start: every repository is suspected once. */
static void look_back(struct node_background *b)
{
	struct bole_node *node = b->node;
	struct bole_repo repo = {.name = ""};
	uint64_t now = node->platform->ops->now_ns(node->platform);

	if (b->looked_back || now - node->started_ns < node->options.gc_period_ns)
		return;
	b->looked_back = true;
	while (bole_repo_next(node->store, repo.name, &repo) == BOLE_OK)
		bole_node_background_note(node, repo.id, true);
}

/* It is tried again later. */
static void put_back(struct node_background *b, const struct node_suspect *tried, uint64_t wait_ns)
{
	struct bole_platform *platform = b->node->platform;
	uint64_t now = platform->ops->now_ns(platform);

	platform->ops->mutex_lock(platform, &b->node->lock);
	struct node_suspect *s = suspect_of(b, tried->repo, now);
	if (s != NULL) {
		s->deleted |= tried->deleted;
		s->first_ns = tried->first_ns;
		s->last_ns = s->last_ns > tried->last_ns ? s->last_ns : tried->last_ns;
		s->not_before_ns = now + wait_ns;
	}
	platform->ops->mutex_unlock(platform, &b->node->lock);
}

/* -- Collecting -- */

/* Beside requests half of the time is theirs; since: when the last pause ended. */
static uint64_t pause_for_requests(struct bole_node *node, uint64_t since)
{
	struct bole_platform *platform = node->platform;
	uint64_t now = platform->ops->now_ns(platform);
	uint64_t pause = now - since < PAUSE_MAX_NS ? now - since : PAUSE_MAX_NS;

	if (atomic_load(&node->request_count) == 0)
		return 0;
	platform->ops->sleep_until(platform, now + pause);
	return pause;
}

static bool stopping(void *ctx)
{
	struct node_background *b = ctx;
	struct bole_platform *platform = b->node->platform;

	b->waited_ns += pause_for_requests(b->node, b->paused_ns);
	b->paused_ns = platform->ops->now_ns(platform);
	return atomic_load(&b->node->stopping);
}

static void log_collection(struct bole_node *node, uint32_t repo, enum bole_status rc,
                           const struct bole_gc_result *result, uint64_t ms)
{
	if (rc != BOLE_OK) {
		bole_log(node->platform, rc == BOLE_E_BUSY ? BOLE_LOG_INFO : BOLE_LOG_WARN,
		         "gc: repository %" PRIu32 ": nothing was removed: %s", repo,
		         result->error);
		return;
	}
	bole_log(node->platform, BOLE_LOG_INFO,
	         "gc: repository %" PRIu32 ": %" PRIu64 " objects of %" PRIu64 " removed, %" PRIu64
	         " KiB, in %" PRIu64 " ms",
	         repo, result->store.objects_dropped,
	         result->store.objects_dropped + result->store.objects_live,
	         result->store.bytes_dropped >> 10, ms);
}

static void collect(struct node_background *b, const struct node_suspect *s)
{
	struct bole_node *node = b->node;
	struct bole_platform *platform = node->platform;
	size_t cache = (size_t)(node->options.memory_max / CACHE_PART);
	struct bole_gc_options options = {
	        .cancelled = stopping,
	        .ctx = b,
	        .wait_ns = RETRY_NS, /* a long push is no reason to walk again */
	        .cache_bytes = cache < CACHE_MIN   ? CACHE_MIN
	                       : cache > CACHE_MAX ? CACHE_MAX
	                                           : cache,
	};
	struct bole_store_stats stats;
	struct bole_gc_result result;

	bool known = bole_store_stats(node->store, &stats) == BOLE_OK;
	uint64_t start = platform->ops->now_ns(platform);
	b->paused_ns = start;
	enum bole_status rc =
	        bole_gc(platform, &node->budget.alloc, node->store, s->repo, &options, &result);
	uint64_t ms = (platform->ops->now_ns(platform) - start) / 1000000;
	if (rc == BOLE_E_CLOSED || rc == BOLE_E_NOT_FOUND || rc == BOLE_E_UNSUPPORTED)
		return;
	log_collection(node, s->repo, rc, &result, ms);
	if (rc == BOLE_OK && result.store.objects_dropped > 0)
		bole_git_cache_collected(node->cache, s->repo);
	if (rc == BOLE_OK && known)
		b->collected_bytes = stats.user_bytes;
	else if (rc != BOLE_OK)
		put_back(b, s, rc == BOLE_E_CORRUPT ? node->options.gc_period_ns : RETRY_NS);
}

/* -- Repacking -- */

void bole_node_background_pushed(struct bole_node *node, uint32_t repo)
{
	struct bole_platform *platform = node->platform;
	struct node_background *b = node->background;

	if (b == NULL)
		return;
	uint64_t now = platform->ops->now_ns(platform);
	platform->ops->mutex_lock(platform, &node->lock);
	struct node_pushed *slot = NULL;
	for (size_t i = 0; i < PUSHED_MAX; i++) {
		struct node_pushed *p = &b->pushed[i];

		if (p->repo == repo) {
			slot = p;
			break;
		}
		if (p->repo == 0 && slot == NULL)
			slot = p;
	}
	if (slot != NULL)
		*slot = (struct node_pushed){.repo = repo, .last_ns = now};
	platform->ops->mutex_unlock(platform, &node->lock);
}

/* One that has rested since its last push; 0 = none has. */
static uint32_t take_pushed(struct node_background *b)
{
	struct bole_platform *platform = b->node->platform;
	uint64_t now = platform->ops->now_ns(platform);
	uint32_t repo = 0;

	platform->ops->mutex_lock(platform, &b->node->lock);
	for (size_t i = 0; i < PUSHED_MAX && repo == 0; i++) {
		struct node_pushed *p = &b->pushed[i];

		if (p->repo == 0 || !p->listed ||
		    now - p->last_ns < b->node->options.repack_delay_ns)
			continue;
		repo = p->repo;
		p->repo = 0;
	}
	platform->ops->mutex_unlock(platform, &b->node->lock);
	return repo;
}

static void log_repack(struct bole_node *node, uint32_t repo, enum bole_status rc,
                       const struct bole_repack_result *result, uint64_t ms, uint64_t waited_ms)
{
	if (rc != BOLE_OK) {
		bole_log(node->platform, rc == BOLE_E_CORRUPT ? BOLE_LOG_WARN : BOLE_LOG_INFO,
		         "repack: repository %" PRIu32 ": everything stays as it was: %s", repo,
		         result->error);
		return;
	}
	bole_log(node->platform, BOLE_LOG_INFO,
	         "repack: repository %" PRIu32 ": %" PRIu64 " packs and %" PRIu64
	         " records with %" PRIu64 " objects, %" PRIu64 " KiB, are one pack of %" PRIu64
	         " KiB; %" PRIu64 " deltas kept, %" PRIu64 " made, in %" PRIu64
	         " ms, of these %" PRIu64 " left to requests",
	         repo, result->packs, result->records, result->objects, result->bytes_before >> 10,
	         result->bytes_after >> 10, result->kept, result->made, ms, waited_ms);
}

static void tell(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	struct node_background *b = ctx;
	struct bole_platform *platform = b->node->platform;
	uint64_t now = platform->ops->now_ns(platform);

	if (now - b->told_ns < PROGRESS_NS)
		return;
	b->told_ns = now;
	bole_log(platform, BOLE_LOG_INFO,
	         "repack: repository %" PRIu32 ": %s, %" PRIu64 " of %" PRIu64, b->repacking, phase,
	         done, total);
}

/* When it is due. */
static enum bole_status repack(struct node_background *b, uint32_t repo)
{
	struct bole_node *node = b->node;
	struct bole_platform *platform = node->platform;
	size_t memory = (size_t)(node->options.memory_max / REPACK_PART);
	size_t cache = (size_t)(node->options.memory_max / CACHE_PART);
	struct bole_repack_options options = {
	        .cancelled = stopping,
	        .progress = tell,
	        .ctx = b,
	        .packs_min = (unsigned)node->options.repack_packs,
	        .raw_max = node->options.repack_raw_bytes,
	        .memory_bytes = memory < REPACK_MAX ? memory : REPACK_MAX,
	        .big_bytes = memory / REPACK_PART,
	        .cache_bytes = cache < CACHE_MIN ? CACHE_MIN : cache,
	        .wait_ns = RETRY_NS,
	};
	struct bole_repack_result result;
	unsigned packs;

	enum bole_status rc =
	        bole_repack_due(&node->budget.alloc, node->store, repo, &options, &packs);
	if (rc != BOLE_OK || packs == 0)
		return rc;
	uint64_t start = platform->ops->now_ns(platform);
	b->paused_ns = start;
	b->told_ns = start;
	b->waited_ns = 0;
	b->repacking = repo;
	rc = bole_repack(platform, &node->budget.alloc, node->store, repo, &options, &result);
	if (rc == BOLE_END || rc == BOLE_E_CLOSED || rc == BOLE_E_NOT_FOUND)
		return BOLE_OK;
	log_repack(node, repo, rc, &result, (platform->ops->now_ns(platform) - start) / 1000000,
	           b->waited_ns / 1000000);
	/* The sets are of packs that are gone. */
	if (rc == BOLE_OK)
		bole_git_cache_collected(node->cache, repo);
	return BOLE_OK;
}

static void look_for_repacks(struct node_background *b)
{
	struct bole_node *node = b->node;
	struct bole_platform *platform = node->platform;
	struct bole_repo repo = {.name = ""};

	if (!node->options.repack_auto || atomic_load(&node->stopping))
		return;
	uint32_t pushed = take_pushed(b);
	if (pushed != 0)
		(void)!repack(b, pushed);
	if (platform->ops->now_ns(platform) - b->repacked_ns < node->options.repack_period_ns)
		return;
	while (!atomic_load(&node->stopping) &&
	       bole_repo_next(node->store, repo.name, &repo) == BOLE_OK)
		if (repack(b, repo.id) == BOLE_E_UNSUPPORTED)
			break;
	b->repacked_ns = platform->ops->now_ns(platform);
}

/* -- Listing -- */

/* One that has rested for a moment since its last push; 0 = none has. */
static uint32_t take_unlisted(struct node_background *b)
{
	struct bole_platform *platform = b->node->platform;
	uint64_t now = platform->ops->now_ns(platform);
	uint32_t repo = 0;

	platform->ops->mutex_lock(platform, &b->node->lock);
	for (size_t i = 0; i < PUSHED_MAX && repo == 0; i++) {
		struct node_pushed *p = &b->pushed[i];

		if (p->repo == 0 || p->listed || now - p->last_ns < LIST_NS)
			continue;
		repo = p->repo;
		p->listed = true;
		if (!b->node->options.repack_auto)
			p->repo = 0;
	}
	platform->ops->mutex_unlock(platform, &b->node->lock);
	return repo;
}

/* What clients will ask for first, so that the first of them need not wait for it. */
static void list(struct node_background *b, const struct bole_repo *repo)
{
	struct bole_node *node = b->node;
	struct bole_service_policy policy = {0};
	struct node_fetch_config config;
	struct bole_service svc = {
	        .platform = node->platform,
	        .alloc = &node->budget.alloc,
	        .store = node->store,
	        .repo = *repo,
	        .lists = node->lists,
	        .policy = &policy,
	        .version = 2,
	        .cancelled = stopping,
	        .cancelled_ctx = b,
	};

	b->paused_ns = node->platform->ops->now_ns(node->platform);
	for (int push = 0; push < 2; push++) {
		enum bole_status rc = bole_node_fetch_config_open(
		        &config, &node->budget.alloc, node->config, repo->name, push == 1);

		policy.fetch = config.policy;
		if (rc == BOLE_OK)
			rc = bole_ref_cache_warm(&svc, push == 1);
		bole_node_fetch_config_close(&config);
		if (rc != BOLE_OK) /* requests say what is wrong */
			return;
	}
}

/* One repository. True: there may be another. */
static bool look_for_lists(struct node_background *b)
{
	struct bole_node *node = b->node;
	struct bole_snapshot *snapshot;
	uint32_t pushed = take_unlisted(b);

	if (pushed != 0 && bole_snapshot_open(node->store, pushed, &snapshot) == BOLE_OK) {
		list(b, &snapshot->repo);
		bole_snapshot_close(snapshot);
		return true;
	}
	if (b->listed == LISTED_MAX || atomic_load(&node->request_count) > 0)
		return false;
	if (bole_repo_next(node->store, b->last_listed.name, &b->last_listed) != BOLE_OK) {
		b->listed = LISTED_MAX;
		return false;
	}
	b->listed++;
	list(b, &b->last_listed);
	return true;
}

/* -- Maintenance -- */

static void report(struct node_background *b)
{
	struct bole_node *node = b->node;
	uint64_t now = node->platform->ops->now_ns(node->platform);
	struct bole_store_stats s;
	uint64_t steps = 0;

	for (size_t i = 0; i < KINDS; i++)
		steps += b->steps[i];
	if (steps == 0 || (b->reported_ns != 0 && now - b->reported_ns < REPORT_NS) ||
	    bole_store_stats(node->store, &s) != BOLE_OK)
		return;
	uint64_t user = s.user_bytes == 0 ? 1 : s.user_bytes;
	bole_log(node->platform, BOLE_LOG_INFO,
	         "store: %" PRIu64 " checkpoints, %" PRIu64 " merges, %" PRIu64
	         " cleanings, %" PRIu64 " for wear, %" PRIu64 " for decay, %" PRIu64
	         " KiB; %" PRIu64 " of %" PRIu64 " MiB free, %" PRIu64 " live; %" PRIu64
	         ".%02" PRIu64 " bytes written for each; worst step %" PRIu64 " us",
	         b->steps[BOLE_MAINTAIN_CHECKPOINT], b->steps[BOLE_MAINTAIN_MERGE],
	         b->steps[BOLE_MAINTAIN_CLEAN], b->steps[BOLE_MAINTAIN_LEVEL],
	         b->steps[BOLE_MAINTAIN_SCRUB], b->bytes >> 10, s.free_bytes >> 20,
	         s.capacity_bytes >> 20, s.live_bytes >> 20, s.programmed_bytes / user,
	         s.programmed_bytes % user * 100 / user, s.operation_ns_max / 1000);
	memset(b->steps, 0, sizeof b->steps);
	b->bytes = 0;
	b->reported_ns = now;
}

/* Steps until there is nothing to do, or others should have a turn. True: call again soon. */
static bool maintain(struct node_background *b)
{
	struct bole_node *node = b->node;
	struct bole_platform *platform = node->platform;
	const struct bole_maintain_options options = {.eagerness = 1};
	struct bole_maintain_report step;

	if (platform->ops->now_ns(platform) < atomic_load(&b->resume_ns))
		return false;
	for (unsigned i = 0; i < STEPS_MAX && !atomic_load(&node->stopping); i++) {
		uint64_t start = platform->ops->now_ns(platform);
		enum bole_status rc = bole_store_maintain(node->store, &options, &step);

		if (rc == BOLE_END)
			return false;
		uint64_t now = platform->ops->now_ns(platform);
		if (rc != BOLE_OK) {
			bole_log(platform, BOLE_LOG_WARN, "store: maintenance: %s",
			         bole_status_text(rc));
			atomic_store(&b->resume_ns, now + RETRY_NS);
			return false;
		}
		if ((size_t)step.did < KINDS)
			b->steps[step.did]++;
		b->bytes += step.bytes;
		(void)pause_for_requests(node, start);
		platform->ops->yield(platform);
	}
	return true;
}

static enum bole_status tick(void *ctx)
{
	return stopping(ctx) ? BOLE_E_CLOSED : BOLE_OK;
}

/* -- The fiber -- */

static void wait_for_work(struct bole_node *node)
{
	struct bole_platform *platform = node->platform;
	uint64_t until = platform->ops->now_ns(platform) + IDLE_NS;

	platform->ops->mutex_lock(platform, &node->lock);
	if (!node->closing)
		(void)platform->ops->cond_wait(platform, &node->work, &node->lock, until);
	platform->ops->mutex_unlock(platform, &node->lock);
}

static void background_main(void *arg)
{
	struct node_background *b = arg;
	struct bole_node *node = b->node;
	struct bole_platform *platform = node->platform;
	struct node_suspect suspect;

	while (!atomic_load(&node->stopping)) {
		bool more = maintain(b);

		look_back(b);
		if (node->options.gc_auto && !atomic_load(&node->stopping) &&
		    take_due(b, &suspect)) {
			collect(b, &suspect);
			more = true;
		}
		more |= look_for_lists(b);
		look_for_repacks(b);
		report(b);
		if (atomic_load(&node->request_count) == 0 &&
		    bole_git_cache_prepare(node->cache, node->store) == BOLE_OK)
			more = true;
		if (bole_git_cache_work(node->cache, node->store, tick, b) == BOLE_OK)
			more = true;
		if (!more)
			wait_for_work(node);
	}
	platform->ops->mutex_lock(platform, &node->lock);
	node->background_runs = false;
	platform->ops->cond_broadcast(platform, &node->changed);
	platform->ops->mutex_unlock(platform, &node->lock);
}

enum bole_status bole_node_background_start(struct bole_node *node)
{
	struct bole_platform *platform = node->platform;

	if (node->store->info.read_only)
		return BOLE_OK;
	struct node_background *b = bole_alloc_zeroed(platform->alloc, 1, sizeof *b);
	if (b == NULL)
		return BOLE_E_NO_MEMORY;
	b->node = node;
	b->repacked_ns = platform->ops->now_ns(platform);
	node->background = b;
	node->background_runs = true;
	enum bole_status rc = platform->ops->fiber_start(platform, "background", background_main, b,
	                                                 NODE_SERVICE_STACK);
	if (rc != BOLE_OK)
		node->background_runs = false;
	return rc;
}

void bole_node_background_free(struct bole_node *node)
{
	struct bole_platform *platform = node->platform;
	struct node_background *b = node->background;

	if (b == NULL)
		return;
	while (b->suspects != NULL) {
		struct node_suspect *s = b->suspects;

		b->suspects = s->next;
		bole_alloc_free(platform->alloc, s, 1, sizeof *s);
	}
	bole_alloc_free(platform->alloc, b, 1, sizeof *b);
	node->background = NULL;
}
