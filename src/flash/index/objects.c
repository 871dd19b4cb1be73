/* SPDX-License-Identifier: ISC */
/* Records lie one after the other in blocks; the oldest block is emptied when room is needed, and
 * what was asked for since it came there stays: half a block at most, so that there is room for
 * sure. Buckets, one line of a processor's cache each, say where records are: a record that is not
 * here is not looked for elsewhere. A full bucket forgets one. Parts have a lock each. */
#include "flash/index/objects.h"

#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

enum {
	OBJECTS_PARTS = 8,              /* where there is much room; else one */
	OBJECTS_PART_BYTES = 512 << 10, /* less is not worth a part */
	OBJECTS_BLOCK_MAX = 64 << 10,
	OBJECTS_BLOCK_MIN = 8 << 10,
	OBJECTS_BLOCKS = 4,    /* of a part, at least */
	OBJECTS_SLABS = 4,     /* of a part, if it has slabs of large pages at all */
	OBJECTS_TYPICAL = 100, /* bytes a record at least, about: how many buckets there are */
	OBJECTS_BUCKET = 8,    /* records */
	OBJECTS_LINE = 64,
	OBJECTS_ADMIT = 4, /* when others must go for it, one in so many comes in */
	OBJECTS_ALIGN = 8,
};
#define OBJECTS_NONE UINT32_MAX

struct entry {
	uint32_t tag;
	uint32_t position; /* / OBJECTS_ALIGN, or OBJECTS_NONE */
};

struct bucket {
	struct entry entry[OBJECTS_BUCKET];
};

_Static_assert(sizeof(struct bucket) == OBJECTS_LINE, "a bucket is a line");

/* Before each record. */
struct item {
	uint64_t sequence;
	uint32_t offset;
	uint16_t len;
	bool used;
};

struct part {
	struct bole_mutex lock;
	struct bucket *bucket; /* 2^bits, NULL until something is put */
	uint32_t bits;
	uint32_t blocks; /* at most */
	uint32_t count;
	uint32_t slab;  /* blocks that are allocated at once */
	uint32_t now;   /* block that is being filled */
	uint32_t turn;  /* counts those that wanted in */
	uint32_t *fill; /* bytes in each block */
	uint8_t **block;
	uint64_t hits;
	uint64_t misses;
};

struct flash_objects {
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	uint32_t block_bytes;
	uint32_t parts; /* a power of two */
	struct part part[];
};

static uint64_t mix(uint64_t sequence, uint32_t offset)
{
	uint64_t h = (sequence ^ (uint64_t)offset << 24) * UINT64_C(0x9e3779b97f4a7c15);

	return h ^ h >> 29;
}

static struct part *part_of(struct flash_objects *o, uint64_t hash)
{
	return &o->part[(hash >> 56) & (o->parts - 1)];
}

static struct bucket *bucket_of(const struct part *p, uint64_t hash)
{
	return &p->bucket[hash & ((UINT64_C(1) << p->bits) - 1)];
}

static uint32_t tag_of(uint64_t hash)
{
	return (uint32_t)(hash >> 24);
}

static size_t bucket_bytes(const struct part *p)
{
	return sizeof(struct bucket) << p->bits;
}

static struct item *item_at(const struct flash_objects *o, const struct part *p, uint32_t position)
{
	uint64_t at = (uint64_t)position * OBJECTS_ALIGN;

	return (struct item *)(void *)(p->block[at / o->block_bytes] + at % o->block_bytes);
}

static uint32_t position_of(const struct flash_objects *o, uint32_t block, uint32_t at)
{
	return (uint32_t)(((uint64_t)block * o->block_bytes + at) / OBJECTS_ALIGN);
}

static uint32_t item_bytes(size_t len)
{
	return (uint32_t)bole_round_up(sizeof(struct item) + len, OBJECTS_ALIGN);
}

enum bole_status bole_flash_objects_open(struct bole_platform *platform, struct bole_alloc *alloc,
                                         size_t bytes, struct flash_objects **out)
{
	uint32_t parts = bytes >= (size_t)OBJECTS_PARTS * OBJECTS_PART_BYTES ? OBJECTS_PARTS : 1;
	size_t share = bytes / parts;
	uint32_t block = OBJECTS_BLOCK_MAX;
	struct flash_objects *o =
	        bole_alloc_zeroed(alloc, sizeof *o + parts * sizeof(struct part), 1);

	if (o == NULL)
		return BOLE_E_NO_MEMORY;
	while (block > OBJECTS_BLOCK_MIN && share / block < OBJECTS_BLOCKS)
		block /= 2;
	/* Positions are 32 bits. */
	if (share / OBJECTS_ALIGN >= UINT32_MAX - block)
		share = (size_t)(UINT32_MAX - block) * OBJECTS_ALIGN;
	o->platform = platform;
	o->alloc = alloc;
	o->block_bytes = block;
	o->parts = parts;
	for (uint32_t i = 0; i < parts; i++) {
		struct part *p = &o->part[i];
		while (p->bits < 31 && share / OBJECTS_TYPICAL / OBJECTS_BUCKET >> p->bits > 1)
			p->bits++;
		p->blocks =
		        share < bucket_bytes(p) ? 0 : (uint32_t)((share - bucket_bytes(p)) / block);
		p->slab = p->blocks / OBJECTS_SLABS < BOLE_LARGE_BYTES / block
		                  ? 1
		                  : (uint32_t)(BOLE_LARGE_BYTES / block);
		p->blocks -= p->blocks % p->slab;
		platform->ops->mutex_init(platform, &p->lock);
	}
	*out = o;
	return BOLE_OK;
}

static void close_part(struct flash_objects *o, struct part *p)
{
	for (uint32_t i = 0; i < p->count; i += p->slab)
		bole_alloc_large_free(o->alloc, p->block[i], (size_t)p->slab * o->block_bytes);
	bole_alloc_free(o->alloc, p->block, p->blocks, sizeof *p->block);
	bole_alloc_free(o->alloc, p->fill, p->blocks, sizeof *p->fill);
	if (p->bucket != NULL)
		(void)o->alloc->resize(o->alloc->ctx, p->bucket, bucket_bytes(p), 0, OBJECTS_LINE);
	o->platform->ops->mutex_destroy(o->platform, &p->lock);
}

void bole_flash_objects_close(struct flash_objects *o)
{
	if (o == NULL)
		return;
	for (uint32_t i = 0; i < o->parts; i++)
		close_part(o, &o->part[i]);
	bole_alloc_free(o->alloc, o, sizeof *o + o->parts * sizeof(struct part), 1);
}

static struct item *look(const struct flash_objects *o, const struct part *p, uint64_t hash,
                         uint64_t sequence, uint32_t offset)
{
	if (p->bucket == NULL)
		return NULL;
	const struct bucket *b = bucket_of(p, hash);
	for (size_t i = 0; i < OBJECTS_BUCKET; i++) {
		if (b->entry[i].tag != tag_of(hash) || b->entry[i].position == OBJECTS_NONE)
			continue;
		struct item *item = item_at(o, p, b->entry[i].position);
		if (item->sequence == sequence && item->offset == offset)
			return item;
	}
	return NULL;
}

bool bole_flash_objects_get(struct flash_objects *o, uint64_t sequence, uint32_t offset,
                            uint8_t *dst, size_t len)
{
	uint64_t hash = mix(sequence, offset);
	struct part *p = part_of(o, hash);

	o->platform->ops->mutex_lock(o->platform, &p->lock);
	struct item *item = look(o, p, hash, sequence, offset);
	bool found = item != NULL && item->len == len;
	if (found) {
		if (!item->used)
			item->used = true;
		memcpy(dst, item + 1, len);
		p->hits++;
	} else {
		p->misses++;
	}
	o->platform->ops->mutex_unlock(o->platform, &p->lock);
	return found;
}

/* -- Room -- */

static bool make_tables(struct flash_objects *o, struct part *p)
{
	if (p->bucket != NULL)
		return true;
	struct bucket *bucket =
	        o->alloc->resize(o->alloc->ctx, NULL, 0, bucket_bytes(p), OBJECTS_LINE);
	uint32_t *fill = bole_alloc_zeroed(o->alloc, p->blocks, sizeof *fill);
	uint8_t **block = bole_alloc_zeroed(o->alloc, p->blocks, sizeof *block);
	if (bucket == NULL || fill == NULL || block == NULL) {
		if (bucket != NULL)
			(void)o->alloc->resize(o->alloc->ctx, bucket, bucket_bytes(p), 0,
			                       OBJECTS_LINE);
		bole_alloc_free(o->alloc, fill, p->blocks, sizeof *fill);
		bole_alloc_free(o->alloc, block, p->blocks, sizeof *block);
		return false;
	}
	memset(bucket, 0xff, bucket_bytes(p));
	p->bucket = bucket;
	p->fill = fill;
	p->block = block;
	return true;
}

/* Nobody finds what is at a position any more; it may have been forgotten before. */
static bool take_out(struct part *p, const struct item *item, uint32_t position)
{
	struct bucket *b = bucket_of(p, mix(item->sequence, item->offset));

	for (size_t i = 0; i < OBJECTS_BUCKET; i++) {
		if (b->entry[i].position != position)
			continue;
		b->entry[i].position = OBJECTS_NONE;
		return true;
	}
	return false;
}

static void put_in(struct part *p, const struct item *item, uint32_t position)
{
	uint64_t hash = mix(item->sequence, item->offset);
	struct bucket *b = bucket_of(p, hash);
	size_t at = position % OBJECTS_BUCKET; /* who goes when all are taken */

	for (size_t i = 0; i < OBJECTS_BUCKET; i++)
		if (b->entry[i].position == OBJECTS_NONE)
			at = i;
	b->entry[at] = (struct entry){tag_of(hash), position};
}

/* Empties a block but for what was used, which moves to its start. */
static void empty(const struct flash_objects *o, struct part *p, uint32_t block)
{
	uint32_t end = p->fill[block];
	uint32_t kept = 0;

	for (uint32_t at = 0; at < end;) {
		struct item *item = item_at(o, p, position_of(o, block, at));
		uint32_t bytes = item_bytes(item->len);
		bool known = take_out(p, item, position_of(o, block, at));
		at += bytes;
		if (!known || !item->used || kept + bytes > o->block_bytes / 2)
			continue;
		item->used = false;
		struct item *to = item_at(o, p, position_of(o, block, kept));
		memmove(to, item, bytes);
		put_in(p, to, position_of(o, block, kept));
		kept += bytes;
	}
	p->fill[block] = kept;
}

/* A block with room for so many bytes becomes the one that is filled. */
static bool make_room(struct flash_objects *o, struct part *p, uint32_t bytes, bool evict)
{
	if (p->count != 0 && o->block_bytes - p->fill[p->now] >= bytes)
		return true;
	if (p->count < p->blocks) {
		if (p->count % p->slab == 0)
			p->block[p->count] =
			        bole_alloc_large(o->alloc, (size_t)p->slab * o->block_bytes);
		else
			p->block[p->count] = p->block[p->count - 1] + o->block_bytes;
		if (p->block[p->count] != NULL) {
			p->now = p->count++;
			return true;
		}
	}
	/* Where all are asked for alike it is not worth the trouble; who is asked for often gets
	 * his turn soon. */
	if (p->count == 0 || !evict || ++p->turn % OBJECTS_ADMIT != 0)
		return false;
	p->now = (p->now + 1) % p->count;
	empty(o, p, p->now);
	return o->block_bytes - p->fill[p->now] >= bytes;
}

void bole_flash_objects_put(struct flash_objects *o, uint64_t sequence, uint32_t offset,
                            const uint8_t *record, size_t len, bool evict)
{
	uint64_t hash = mix(sequence, offset);
	struct part *p = part_of(o, hash);
	uint32_t bytes = item_bytes(len);

	if (len > OBJECTS_RECORD_MAX || bytes > o->block_bytes / 2 || p->blocks == 0)
		return;
	o->platform->ops->mutex_lock(o->platform, &p->lock);
	if (look(o, p, hash, sequence, offset) == NULL && make_tables(o, p) &&
	    make_room(o, p, bytes, evict)) {
		uint32_t position = position_of(o, p->now, p->fill[p->now]);
		struct item *item = item_at(o, p, position);
		*item = (struct item){.sequence = sequence, .offset = offset, .len = (uint16_t)len};
		memcpy(item + 1, record, len);
		put_in(p, item, position);
		p->fill[p->now] += bytes;
	}
	o->platform->ops->mutex_unlock(o->platform, &p->lock);
}

void bole_flash_objects_stats(struct flash_objects *o, struct flash_objects_stats *out)
{
	*out = (struct flash_objects_stats){.hits = 0};
	for (uint32_t i = 0; i < o->parts; i++) {
		struct part *p = &o->part[i];
		o->platform->ops->mutex_lock(o->platform, &p->lock);
		out->hits += p->hits;
		out->misses += p->misses;
		out->bytes += (size_t)p->count * o->block_bytes;
		if (p->bucket != NULL)
			out->bytes += bucket_bytes(p);
		o->platform->ops->mutex_unlock(o->platform, &p->lock);
	}
}
