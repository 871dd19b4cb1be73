/* SPDX-License-Identifier: ISC */
/* A read cache before another block device, for stores whose small reads would each wait for the
 * device. Writes go through and drop what they touch; so a cut of power is the base's affair alone.
 *
 * The cache is sets of four lines of 16 KiB. A line is loaded without the lock; whoever wants it
 * meanwhile waits for it. A write marks lines under load as stale, before and after it touches the
 * device, and a stale line is dropped as soon as it is loaded. Long reads pass by.
 */
#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "bole/devices.h"
#include "bole/platform.h"

enum {
	LINE_BYTES = 16 * 1024,
	WAYS = 4,
	PASS_BY_BYTES = 2 * LINE_BYTES,
};

enum line_state { LINE_EMPTY, LINE_LOADING, LINE_VALID };

struct line {
	uint64_t number; /* offset / line_bytes; meaningless while empty */
	uint64_t used;   /* the cache's count of uses when it was last used */
	uint8_t *data;   /* NULL until first used */
	enum line_state state;
	bool stale; /* under load, and written meanwhile */
};

struct cache_block {
	struct bole_block block;
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	struct bole_block *base;
	struct bole_mutex lock;
	struct bole_cond loaded;
	struct line *lines;
	size_t sets;
	uint32_t line_bytes;
	uint64_t uses;
};

static struct cache_block *cache_of(struct bole_block *block)
{
	return (struct cache_block *)block;
}

static void lock(struct cache_block *c)
{
	c->platform->ops->mutex_lock(c->platform, &c->lock);
}

static void unlock(struct cache_block *c)
{
	c->platform->ops->mutex_unlock(c->platform, &c->lock);
}

static struct line *set_of(struct cache_block *c, uint64_t number)
{
	uint64_t mixed = number * UINT64_C(0x9e3779b97f4a7c15);

	return c->lines + (size_t)((mixed >> 32) % c->sets) * WAYS;
}

static struct line *find(struct cache_block *c, uint64_t number)
{
	struct line *set = set_of(c, number);

	for (unsigned i = 0; i < WAYS; i++)
		if (set[i].state != LINE_EMPTY && set[i].number == number)
			return &set[i];
	return NULL;
}

/* The line to load into: an empty one, else the one unused for longest. NULL: all are under load,
 * or there is no memory. */
static struct line *victim(struct cache_block *c, uint64_t number)
{
	struct line *set = set_of(c, number), *best = NULL;

	for (unsigned i = 0; i < WAYS; i++) {
		struct line *l = &set[i];
		if (l->state == LINE_LOADING)
			continue;
		if (best == NULL ||
		    (best->state == LINE_VALID && (l->state == LINE_EMPTY || l->used < best->used)))
			best = l;
	}
	if (best != NULL && best->data == NULL)
		best->data = bole_alloc_array(c->alloc, c->line_bytes, 1);
	return best == NULL || best->data == NULL ? NULL : best;
}

/* Loads a line; the lock is held before and after, not while the device works. */
static enum bole_status load(struct cache_block *c, struct line *l, uint64_t number)
{
	uint64_t off = number * c->line_bytes;
	uint64_t left = c->block.info.size_bytes - off;
	size_t len = left < c->line_bytes ? (size_t)left : c->line_bytes;
	enum bole_status rc;

	l->number = number;
	l->state = LINE_LOADING;
	l->stale = false;
	unlock(c);
	rc = bole_block_read(c->base, off, l->data, len);
	lock(c);
	l->state = rc == BOLE_OK && !l->stale ? LINE_VALID : LINE_EMPTY;
	c->platform->ops->cond_broadcast(c->platform, &c->loaded);
	return rc;
}

/* Copies [off, off + len), which lies in one line. */
static enum bole_status read_line(struct cache_block *c, uint64_t off, void *dst, size_t len)
{
	uint64_t number = off / c->line_bytes;
	size_t skip = (size_t)(off % c->line_bytes);
	enum bole_status rc = BOLE_E_IO;
	struct line *l;

	lock(c);
	while ((l = find(c, number)) != NULL && l->state == LINE_LOADING)
		(void)c->platform->ops->cond_wait(c->platform, &c->loaded, &c->lock, BOLE_NEVER);
	if (l != NULL) {
		rc = BOLE_OK;
	} else {
		l = victim(c, number);
		if (l != NULL)
			rc = load(c, l, number);
	}
	/* What was just loaded is good for this caller even if a write made it stale. */
	if (rc == BOLE_OK) {
		l->used = ++c->uses;
		memcpy(dst, l->data + skip, len);
	}
	unlock(c);
	/* No line, or one of its other bytes does not read: the device decides about these. */
	return rc == BOLE_OK ? BOLE_OK : bole_block_read(c->base, off, dst, len);
}

static enum bole_status cache_read(struct bole_block *block, uint64_t off, void *dst, size_t len)
{
	struct cache_block *c = cache_of(block);
	uint8_t *to = dst;

	if (len > PASS_BY_BYTES)
		return bole_block_read(c->base, off, dst, len);
	while (len > 0) {
		size_t room = c->line_bytes - (size_t)(off % c->line_bytes);
		size_t part = len < room ? len : room;
		enum bole_status rc = read_line(c, off, to, part);
		if (rc != BOLE_OK)
			return rc;
		off += part;
		to += part;
		len -= part;
	}
	return BOLE_OK;
}

static void drop_line(struct line *l)
{
	if (l->state == LINE_LOADING)
		l->stale = true;
	else
		l->state = LINE_EMPTY;
}

static void drop(struct cache_block *c, uint64_t off, uint64_t len)
{
	uint64_t first = off / c->line_bytes, last = (off + len - 1) / c->line_bytes;

	lock(c);
	if (last - first >= c->sets * WAYS) {
		for (size_t i = 0; i < c->sets * WAYS; i++)
			if (c->lines[i].number >= first && c->lines[i].number <= last)
				drop_line(&c->lines[i]);
	} else {
		for (uint64_t n = first; n <= last; n++) {
			struct line *l = find(c, n);
			if (l != NULL)
				drop_line(l);
		}
	}
	unlock(c);
}

static enum bole_status cache_programv(struct bole_block *block, uint64_t off,
                                       const struct bole_bytes *pieces, size_t count)
{
	struct cache_block *c = cache_of(block);
	enum bole_status rc;
	uint64_t len = 0;

	for (size_t i = 0; i < count; i++)
		len += pieces[i].len;
	drop(c, off, len);
	rc = bole_block_programv(c->base, off, pieces, count);
	drop(c, off, len);
	return rc;
}

static enum bole_status cache_erase(struct bole_block *block, uint64_t off, uint64_t len)
{
	struct cache_block *c = cache_of(block);
	enum bole_status rc;

	drop(c, off, len);
	rc = bole_block_erase(c->base, off, len);
	drop(c, off, len);
	return rc;
}

static enum bole_status cache_discard(struct bole_block *block, uint64_t off, uint64_t len)
{
	struct cache_block *c = cache_of(block);
	enum bole_status rc;

	drop(c, off, len);
	rc = bole_block_discard(c->base, off, len);
	drop(c, off, len);
	return rc;
}

static enum bole_status cache_flush(struct bole_block *block)
{
	return bole_block_flush(cache_of(block)->base);
}

static enum bole_status cache_is_bad(struct bole_block *block, uint64_t off, bool *bad)
{
	return bole_block_is_bad(cache_of(block)->base, off, bad);
}

static enum bole_status cache_mark_bad(struct bole_block *block, uint64_t off)
{
	return bole_block_mark_bad(cache_of(block)->base, off);
}

static void cache_close(struct bole_block *block)
{
	struct cache_block *c = cache_of(block);

	for (size_t i = 0; i < c->sets * WAYS; i++)
		bole_alloc_free(c->alloc, c->lines[i].data, c->line_bytes, 1);
	bole_alloc_free(c->alloc, c->lines, c->sets * WAYS, sizeof *c->lines);
	c->platform->ops->cond_destroy(c->platform, &c->loaded);
	c->platform->ops->mutex_destroy(c->platform, &c->lock);
	bole_alloc_free(c->alloc, c, 1, sizeof *c);
}

static const struct bole_block_ops cache_ops = {
        .read = cache_read,
        .programv = cache_programv,
        .erase = cache_erase,
        .discard = cache_discard,
        .flush = cache_flush,
        .is_bad = cache_is_bad,
        .mark_bad = cache_mark_bad,
        .close = cache_close,
};

enum bole_status bole_block_cache_open(struct bole_platform *platform, struct bole_alloc *alloc,
                                       struct bole_block *base, size_t bytes,
                                       struct bole_block **out)
{
	const struct bole_block_info *info = &base->info;
	uint32_t line_bytes = info->read_unit > LINE_BYTES ? info->read_unit : LINE_BYTES;
	struct cache_block *c = bole_alloc_zeroed(alloc, 1, sizeof *c);

	if (c == NULL)
		return BOLE_E_NO_MEMORY;
	*c = (struct cache_block){.block = {&cache_ops, *info},
	                          .platform = platform,
	                          .alloc = alloc,
	                          .base = base,
	                          .line_bytes = line_bytes};
	c->sets = bytes / line_bytes / WAYS;
	if (c->sets == 0)
		c->sets = 1;
	c->lines = bole_alloc_zeroed(alloc, c->sets * WAYS, sizeof *c->lines);
	if (c->lines == NULL) {
		bole_alloc_free(alloc, c, 1, sizeof *c);
		return BOLE_E_NO_MEMORY;
	}
	platform->ops->mutex_init(platform, &c->lock);
	platform->ops->cond_init(platform, &c->loaded);
	*out = &c->block;
	return BOLE_OK;
}
