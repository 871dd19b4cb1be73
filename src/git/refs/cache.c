/* SPDX-License-Identifier: ISC */
#include "git/refs/cache.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/memory.h"
#include "git/refs/tips.h"

enum {
	KEY_BYTES = 32,
	SLOTS = 128,
	PART_MAX = 4, /* of the cache that one listing may take */
};
#define WAIT_NS  UINT64_C(200000000)   /* for one that somebody else makes */
#define RETRY_NS UINT64_C(60000000000) /* after one that was too long */

struct slot {
	uint8_t key[KEY_BYTES];
	bool taken;
	bool making; /* the first one, which others wait for */
	struct bole_ref_listing *listing;
	struct bole_ref_tips *tips; /* of it, or of one before */
	uint64_t used;              /* the cache's clock */
	uint64_t retry_ns;          /* too long before */
};

struct bole_ref_cache {
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	size_t bytes_max;
	struct bole_mutex lock;
	struct bole_cond made;
	uint64_t clock;
	struct slot slots[SLOTS];
};

/* What a slot held. It is released without the lock: that may free much. */
struct gone {
	struct bole_ref_listing *listing;
	struct bole_ref_tips *tips;
};

static void let_go(const struct gone *gone)
{
	bole_ref_listing_release(gone->listing);
	bole_ref_tips_release(gone->tips);
}

enum bole_status bole_ref_cache_open(struct bole_platform *platform, struct bole_alloc *alloc,
                                     size_t bytes_max, struct bole_ref_cache **out)
{
	struct bole_ref_cache *cache = bole_alloc_zeroed(alloc, 1, sizeof *cache);

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

void bole_ref_cache_close(struct bole_ref_cache *cache)
{
	if (cache == NULL)
		return;
	for (size_t i = 0; i < SLOTS; i++)
		let_go(&(struct gone){cache->slots[i].listing, cache->slots[i].tips});
	cache->platform->ops->cond_destroy(cache->platform, &cache->made);
	cache->platform->ops->mutex_destroy(cache->platform, &cache->lock);
	bole_alloc_free(cache->alloc, cache, 1, sizeof *cache);
}

/* Everything that the lines depend on, but for the references. */
static void key_of(const struct bole_session *s, const struct bole_ref_format *format,
                   uint8_t key[KEY_BYTES])
{
	const struct bole_ref_view *view = &s->refs;
	const char *space = view->space == NULL ? "" : view->space;
	struct bole_hash hash;
	struct bole_oid sum;
	uint8_t head[8] = {(uint8_t)format->style, format->peel, format->symrefs, format->unborn};

	bole_put_le32(head + 4, s->snapshot->repo.id);
	bole_hash_init(&hash, BOLE_HASH_SHA256);
	bole_hash_update(&hash, head, sizeof head);
	bole_hash_update(&hash, space, strlen(space) + 1);
	for (size_t i = 0; i < view->hide_count; i++)
		bole_hash_update(&hash, view->hide[i], strlen(view->hide[i]) + 1);
	bole_hash_final(&hash, &sum);
	memcpy(key, sum.bytes, KEY_BYTES);
}

/* -- With the lock held -- */

static struct bole_ref_listing *retain(struct bole_ref_listing *listing)
{
	if (listing != NULL)
		atomic_fetch_add_explicit(&listing->holders, 1, memory_order_relaxed);
	return listing;
}

static struct slot *find(struct bole_ref_cache *cache, const uint8_t *key)
{
	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *s = &cache->slots[i];
		if (s->taken && memcmp(s->key, key, KEY_BYTES) == 0) {
			s->used = ++cache->clock;
			return s;
		}
	}
	return NULL;
}

/* A slot for a new key; NULL: all are being filled. What it held is the caller's to release. */
static struct slot *claim(struct bole_ref_cache *cache, const uint8_t *key, struct gone *gone)
{
	struct slot *oldest = NULL;

	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *s = &cache->slots[i];
		if (!s->making && (oldest == NULL || s->used < oldest->used))
			oldest = s;
	}
	if (oldest == NULL)
		return NULL;
	*gone = (struct gone){oldest->listing, oldest->tips};
	*oldest = (struct slot){.taken = true, .making = true, .used = ++cache->clock};
	memcpy(oldest->key, key, KEY_BYTES);
	return oldest;
}

/* The listing that was not used for longest, when together they are too long. */
static bool trim(struct bole_ref_cache *cache, const struct slot *keep, struct gone *gone)
{
	struct slot *oldest = NULL;
	size_t bytes = 0;

	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *s = &cache->slots[i];
		if (s->listing == NULL && s->tips == NULL)
			continue;
		bytes += s->listing == NULL ? 0 : s->listing->bytes;
		bytes += s->tips == NULL ? 0 : s->tips->bytes;
		if (s != keep && (oldest == NULL || s->used < oldest->used))
			oldest = s;
	}
	*gone = (struct gone){NULL, NULL};
	if (bytes <= cache->bytes_max || oldest == NULL)
		return false;
	*gone = (struct gone){oldest->listing, oldest->tips};
	oldest->listing = NULL;
	oldest->tips = NULL;
	oldest->taken = oldest->making;
	return true;
}

/* -- */

/* What there is to begin with: *old, or NULL and *maker says whether others wait for us. False: too
 * long to be made now. */
static bool look(struct bole_ref_cache *cache, const uint8_t *key, struct bole_ref_listing **old,
                 bool *maker)
{
	struct bole_platform *platform = cache->platform;
	struct gone gone = {NULL, NULL};
	uint64_t now = platform->ops->now_ns(platform);
	struct slot *s;

	platform->ops->mutex_lock(platform, &cache->lock);
	while ((s = find(cache, key)) != NULL && s->making &&
	       platform->ops->cond_wait(platform, &cache->made, &cache->lock, now + WAIT_NS) ==
	               BOLE_OK)
		;
	*old = s == NULL ? NULL : retain(s->listing);
	bool worth = s == NULL || s->retry_ns <= now;
	*maker = s == NULL && claim(cache, key, &gone) != NULL;
	platform->ops->mutex_unlock(platform, &cache->lock);
	let_go(&gone);
	return worth;
}

static void trim_all(struct bole_ref_cache *cache, const uint8_t *keep)
{
	struct bole_platform *platform = cache->platform;
	struct gone gone;
	bool more;

	do {
		platform->ops->mutex_lock(platform, &cache->lock);
		more = trim(cache, find(cache, keep), &gone);
		platform->ops->mutex_unlock(platform, &cache->lock);
		let_go(&gone);
	} while (more);
}

/* made: NULL on failure, long: since it was too long. */
static void settle(struct bole_ref_cache *cache, const uint8_t *key, struct bole_ref_listing *made,
                   bool maker, bool too_long)
{
	struct bole_platform *platform = cache->platform;
	struct gone gone = {NULL, NULL};

	platform->ops->mutex_lock(platform, &cache->lock);
	struct slot *s = find(cache, key);
	if (s != NULL && maker)
		s->making = false;
	if (s != NULL && too_long)
		s->retry_ns = platform->ops->now_ns(platform) + RETRY_NS;
	if (s != NULL && (made != NULL || too_long)) {
		gone.listing = s->listing;
		s->listing = retain(made);
	}
	if (s != NULL && too_long) {
		gone.tips = s->tips;
		s->tips = NULL;
	}
	if (s != NULL && made != NULL)
		s->retry_ns = 0;
	if (s != NULL && s->listing == NULL && !s->making && s->retry_ns == 0)
		s->taken = false;
	platform->ops->cond_broadcast(platform, &cache->made);
	platform->ops->mutex_unlock(platform, &cache->lock);
	let_go(&gone);
	trim_all(cache, key);
}

/* The listing shows just what the session's snapshot holds. */
static bool fits(const struct bole_ref_listing *listing, struct bole_session *session)
{
	const struct bole_refs_ops *refs = session->svc->store->refs;
	struct bole_ref_version *now = refs->version_hold(session->snapshot);
	bool same = listing->version == now;

	refs->version_release(session->svc->store, now);
	return same;
}

enum bole_status bole_ref_cache_get(struct bole_session *session,
                                    const struct bole_ref_format *format,
                                    struct bole_ref_listing **out)
{
	struct bole_ref_cache *cache = session->svc->lists;
	struct bole_ref_listing *old = NULL;
	uint8_t key[KEY_BYTES];
	bool maker = false;

	*out = NULL;
	if (cache == NULL || session->snapshot == NULL || session->snapshot->repo.id == 0 ||
	    session->svc->store->refs->version_hold == NULL)
		return BOLE_OK;
	key_of(session, format, key);
	if (!look(cache, key, &old, &maker))
		return BOLE_OK;
	if (old != NULL && fits(old, session)) {
		*out = old;
		return BOLE_OK;
	}
	enum bole_status rc = bole_ref_listing_make(session, format, cache->alloc,
	                                            cache->bytes_max / PART_MAX, old, out);
	settle(cache, key, *out == NULL || (*out)->vague ? NULL : *out, maker, rc == BOLE_E_LIMIT);
	bole_ref_listing_release(old);
	return rc == BOLE_E_NO_MEMORY || rc == BOLE_E_LIMIT ? BOLE_OK : rc;
}

/* -- Tips -- */

static void keep_tips(struct bole_ref_cache *cache, const uint8_t *key, struct bole_ref_tips *tips)
{
	struct bole_platform *platform = cache->platform;
	struct gone gone = {NULL, NULL};

	platform->ops->mutex_lock(platform, &cache->lock);
	struct slot *s = find(cache, key);
	if (s != NULL && s->listing != NULL) {
		gone.tips = s->tips;
		s->tips = bole_ref_tips_retain(tips);
	}
	platform->ops->mutex_unlock(platform, &cache->lock);
	let_go(&gone);
	trim_all(cache, key);
}

/* Those of the listing, or of one before that is much like it. */
static enum bole_status tips_of(struct bole_session *session, const struct bole_ref_format *format,
                                const struct bole_ref_listing *listing, struct bole_ref_tips **out)
{
	struct bole_ref_cache *cache = session->svc->lists;
	struct bole_platform *platform = cache->platform;
	uint8_t key[KEY_BYTES];

	key_of(session, format, key);
	platform->ops->mutex_lock(platform, &cache->lock);
	struct slot *s = find(cache, key);
	*out = s == NULL ? NULL : bole_ref_tips_retain(s->tips);
	platform->ops->mutex_unlock(platform, &cache->lock);
	if (*out != NULL && bole_ref_tips_near(*out, listing))
		return BOLE_OK;
	bole_ref_tips_release(*out);
	BOLE_TRY(bole_ref_tips_make(session, cache->alloc, listing, out));
	keep_tips(cache, key, *out);
	return BOLE_OK;
}

enum bole_status bole_ref_cache_tips(struct bole_session *session, const struct bole_id_list *ids,
                                     uint8_t *found, bool *sure)
{
	bool ls = session->svc->version == 2;
	const struct bole_ref_format format = {
	        .style = ls ? BOLE_REF_STYLE_LS : BOLE_REF_STYLE_UPLOAD, .peel = ls, .symrefs = ls};
	struct bole_ref_listing *listing;
	struct bole_ref_tips *tips;

	*sure = false;
	BOLE_TRY(bole_ref_cache_get(session, &format, &listing));
	if (listing == NULL)
		return BOLE_OK;
	enum bole_status rc = BOLE_OK;
	if (listing->count >= BOLE_REF_TIPS_PIECES_MIN && !listing->vague) {
		rc = tips_of(session, &format, listing, &tips);
		if (rc == BOLE_OK) {
			rc = bole_ref_tips_find(session, tips, listing, ids, found, sure);
			bole_ref_tips_release(tips);
		}
	}
	bole_ref_listing_release(listing);
	return rc == BOLE_E_NO_MEMORY ? BOLE_OK : rc;
}

static enum bole_status warm_tips(struct bole_session *s)
{
	struct bole_id_list none;
	uint8_t found = 0;
	bool sure;

	bole_id_list_init(&none, s->svc->platform, s->svc->alloc, s->svc->repo.algo);
	enum bole_status rc = bole_ref_cache_tips(s, &none, &found, &sure);
	bole_id_list_release(&none);
	return rc;
}

enum bole_status bole_ref_cache_warm(struct bole_service *svc, bool push)
{
	static const struct bole_ref_format formats[] = {
	        {.style = BOLE_REF_STYLE_LS, .peel = true, .symrefs = true},
	        {.style = BOLE_REF_STYLE_UPLOAD},
	        {.style = BOLE_REF_STYLE_RECEIVE},
	};
	struct bole_session s = {.svc = svc, .refs = svc->policy->fetch.refs};
	struct bole_ref_listing *listing;

	BOLE_TRY(bole_snapshot_open(svc->store, svc->repo.id, &s.snapshot));
	enum bole_status rc = BOLE_OK;
	for (size_t i = 0; i < sizeof formats / sizeof formats[0] && rc == BOLE_OK; i++) {
		if ((formats[i].style == BOLE_REF_STYLE_RECEIVE) != push)
			continue;
		rc = bole_ref_cache_get(&s, &formats[i], &listing);
		bole_ref_listing_release(listing);
	}
	if (rc == BOLE_OK && !push)
		rc = warm_tips(&s);
	bole_session_drop_reader(&s);
	bole_snapshot_close(s.snapshot);
	return rc;
}
