/* SPDX-License-Identifier: ISC */
#include "git/repack/delta_encode.h"

#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

enum {
	BLOCK = 16,         /* bytes of the base that one entry stands for, and that roll along */
	SHORT_BLOCK = 8,    /* the same, of a short base: what is equal is short, too */
	SHORT_BASE = 1024,  /* in these a block begins at every byte */
	MIDDLE_BASE = 8192, /* in these at every fourth */
	MIDDLE_STRIDE = 4,
	TRIES_MAX = 24,     /* blocks with the same hash that are compared */
	GOOD_ENOUGH = 4096, /* a copy of this length ends the search for a longer one */
	INSERT_MAX = 127,
	COPY_MAX = 0xffff, /* of one instruction: longer ones need pack version 3 */
	COPY_BYTES_MAX = 7,
	COPY_BYTES_USUAL = 4, /* of an instruction: shorter copies are not worth one */
	SIZE_BYTES_MAX = 10,
	BUCKET_BITS_MIN = 4,
};
#define FACTOR UINT32_C(0x01000193) /* odd, so that every byte of a block counts */

struct block {
	uint32_t hash;
	uint32_t next; /* in its bucket: number + 1 */
};

struct bole_delta_index {
	struct bole_alloc *alloc;
	struct bole_bytes base;
	uint32_t blocks;
	uint32_t stride; /* from one to the next */
	uint32_t width;  /* of each, in bytes */
	unsigned bits;
	uint32_t *bucket; /* 1 << bits: number of a block + 1 */
	struct block *block;
};

/* -- Hashes -- */

static uint32_t block_hash(const uint8_t *p, unsigned width)
{
	uint32_t h = 0;

	for (unsigned i = 0; i < width; i++)
		h = h * FACTOR + p[i];
	return h;
}

static uint32_t factor_to(unsigned power)
{
	uint32_t f = 1;

	while (power-- > 0)
		f *= FACTOR;
	return f;
}

/* What undoes a multiplication by FACTOR: each step doubles the bits that are right. */
static uint32_t factor_inverse(void)
{
	uint32_t inverse = FACTOR;

	for (int bits = 3; bits < 32; bits *= 2)
		inverse *= 2 - FACTOR * inverse;
	return inverse;
}

static uint32_t bucket_of(uint32_t hash, unsigned bits)
{
	return (hash * UINT32_C(0x9e3779b1)) >> (32 - bits);
}

/* -- The index -- */

static unsigned bucket_bits(uint32_t blocks)
{
	unsigned bits = BUCKET_BITS_MIN;

	while ((UINT32_C(1) << bits) < 2 * blocks)
		bits++;
	return bits;
}

static uint32_t stride_of(size_t base_len)
{
	return base_len <= SHORT_BASE ? 1 : base_len <= MIDDLE_BASE ? MIDDLE_STRIDE : BLOCK;
}

static uint32_t width_of(size_t base_len)
{
	return base_len <= SHORT_BASE ? SHORT_BLOCK : BLOCK;
}

static uint32_t blocks_of(size_t base_len)
{
	uint32_t width = width_of(base_len);

	return base_len < width ? 0 : (uint32_t)((base_len - width) / stride_of(base_len) + 1);
}

size_t bole_delta_index_bytes(size_t base_len)
{
	uint32_t blocks = blocks_of(base_len);

	return sizeof(struct bole_delta_index) + blocks * sizeof(struct block) +
	       ((size_t)1 << bucket_bits(blocks)) * sizeof(uint32_t);
}

/* From the last block to the first, so that a bucket shows the first ones first. */
static void fill(struct bole_delta_index *index)
{
	const uint8_t *base = index->base.ptr;
	const uint32_t inverse = factor_inverse();
	const uint32_t first = factor_to(index->width - 1);
	uint32_t last = 0;

	for (uint32_t i = index->blocks; i-- > 0;) {
		const uint8_t *p = base + (size_t)i * index->stride;
		uint32_t hash = index->stride == 1 && i + 1 < index->blocks
		                        ? (last - p[index->width]) * inverse + p[0] * first
		                        : block_hash(p, index->width);

		/* Of a run of equal blocks the first one is the best, and there may be many. */
		if (i + 1 < index->blocks && hash == last) {
			uint32_t *at = &index->bucket[bucket_of(hash, index->bits)];

			if (*at == i + 2)
				*at = index->block[i + 1].next;
		}
		uint32_t *at = &index->bucket[bucket_of(hash, index->bits)];
		index->block[i] = (struct block){hash, *at};
		*at = i + 1;
		last = hash;
	}
}

enum bole_status bole_delta_index_open(struct bole_alloc *alloc, struct bole_bytes base,
                                       struct bole_delta_index **out)
{
	*out = NULL;
	if (base.len > BOLE_DELTA_BYTES_MAX)
		return BOLE_E_LIMIT;
	struct bole_delta_index *index = bole_alloc_zeroed(alloc, 1, sizeof *index);
	if (index == NULL)
		return BOLE_E_NO_MEMORY;
	index->alloc = alloc;
	index->base = base;
	index->blocks = blocks_of(base.len);
	index->stride = stride_of(base.len);
	index->width = width_of(base.len);
	index->bits = bucket_bits(index->blocks);
	index->bucket = bole_alloc_zeroed(alloc, (size_t)1 << index->bits, sizeof *index->bucket);
	if (index->blocks != 0)
		index->block = bole_alloc_array(alloc, index->blocks, sizeof *index->block);
	if (index->bucket == NULL || (index->blocks != 0 && index->block == NULL)) {
		bole_delta_index_close(index);
		return BOLE_E_NO_MEMORY;
	}
	fill(index);
	*out = index;
	return BOLE_OK;
}

void bole_delta_index_close(struct bole_delta_index *index)
{
	if (index == NULL)
		return;
	bole_alloc_free(index->alloc, index->bucket, (size_t)1 << index->bits,
	                sizeof *index->bucket);
	bole_alloc_free(index->alloc, index->block, index->block == NULL ? 0 : index->blocks,
	                sizeof *index->block);
	bole_alloc_free(index->alloc, index, 1, sizeof *index);
}

/* -- Instructions -- */

struct encoder {
	const struct bole_delta_index *index;
	struct bole_bytes target;
	uint8_t *dst;
	size_t cap;
	size_t len;
	size_t done;   /* of the target: instructions make it */
	size_t copied; /* of the base, behind the last copy: what is behind `done` in both may go on
	                */
	bool full;
};

static size_t size_put(uint64_t value, uint8_t *p)
{
	size_t len = 0;

	while (value >= 0x80) {
		p[len++] = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	p[len++] = (uint8_t)value;
	return len;
}

static void append(struct encoder *e, const uint8_t *src, size_t len)
{
	if (len > e->cap - e->len) {
		e->full = true;
		return;
	}
	memcpy(e->dst + e->len, src, len);
	e->len += len;
}

/* What lies between the last instruction and `upto`. */
static void insert(struct encoder *e, size_t upto)
{
	while (e->done < upto && !e->full) {
		size_t n = upto - e->done < INSERT_MAX ? upto - e->done : INSERT_MAX;
		uint8_t op = (uint8_t)n;

		append(e, &op, 1);
		append(e, e->target.ptr + e->done, n);
		e->done += n;
	}
}

static void copy_one(struct encoder *e, uint32_t off, uint32_t len)
{
	uint8_t op[COPY_BYTES_MAX] = {0x80};
	size_t n = 1;

	for (unsigned i = 0; i < 4; i++) {
		uint8_t byte = (uint8_t)(off >> 8 * i);

		if (byte == 0)
			continue;
		op[0] |= (uint8_t)(1u << i);
		op[n++] = byte;
	}
	for (unsigned i = 0; i < 2; i++) {
		uint8_t byte = (uint8_t)(len >> 8 * i);

		if (byte == 0)
			continue;
		op[0] |= (uint8_t)(0x10u << i);
		op[n++] = byte;
	}
	append(e, op, n);
}

static void copy(struct encoder *e, size_t off, size_t len)
{
	e->done += len;
	e->copied = off + len;
	while (len > 0 && !e->full) {
		size_t n = len < COPY_MAX ? len : COPY_MAX;

		copy_one(e, (uint32_t)off, (uint32_t)n);
		off += n;
		len -= n;
	}
}

/* -- Matches -- */

static size_t equal_ahead(const uint8_t *a, const uint8_t *b, size_t most)
{
	size_t n = 0;

	while (most - n >= 8) {
		uint64_t differ = bole_get_le64(a + n) ^ bole_get_le64(b + n);

		if (differ != 0)
			return n + (size_t)__builtin_ctzll(differ) / 8;
		n += 8;
	}
	while (n < most && a[n] == b[n])
		n++;
	return n;
}

static size_t equal_behind(const uint8_t *a, const uint8_t *b, size_t most)
{
	size_t n = 0;

	while (n < most && a[-1 - (ptrdiff_t)n] == b[-1 - (ptrdiff_t)n])
		n++;
	return n;
}

struct match {
	size_t base;
	size_t target;
	size_t len;
};

static struct match extended(const struct encoder *e, size_t from, size_t at)
{
	struct bole_bytes base = e->index->base;
	size_t most = base.len - from < e->target.len - at ? base.len - from : e->target.len - at;
	size_t len = equal_ahead(base.ptr + from, e->target.ptr + at, most);
	size_t room = at - e->done < from ? at - e->done : from;
	size_t back = len == 0 ? 0 : equal_behind(base.ptr + from, e->target.ptr + at, room);

	return (struct match){from - back, at - back, len + back};
}

/* What lies as far behind the last copy in the base as in the target: both changed at one place, by
 * as many bytes. */
static bool goes_on(const struct encoder *e, size_t at)
{
	size_t from = e->copied + (at - e->done);

	return e->copied != 0 && from + SHORT_BLOCK <= e->index->base.len &&
	       at + SHORT_BLOCK <= e->target.len &&
	       bole_get_le64(e->index->base.ptr + from) == bole_get_le64(e->target.ptr + at);
}

/* The longest of the first few matches of the block at `at`, also what is equal before it and not
 * written yet. */
static struct match longest(const struct encoder *e, size_t at, uint32_t hash)
{
	const struct bole_delta_index *index = e->index;
	struct match best = {.len = 0};
	uint32_t block = index->bucket[bucket_of(hash, index->bits)];

	if (goes_on(e, at))
		best = extended(e, e->copied + (at - e->done), at);
	for (unsigned i = 0; block != 0 && i < TRIES_MAX; i++) {
		const struct block *b = &index->block[block - 1];
		size_t from = (size_t)(block - 1) * index->stride;

		block = b->next;
		if (b->hash != hash)
			continue;
		struct match m = extended(e, from, at);
		if (m.len < index->width || m.len <= best.len)
			continue;
		best = m;
		if (best.len >= GOOD_ENOUGH)
			break;
	}
	return best;
}

/* Both begin alike, very often. */
static size_t copy_start(struct encoder *e)
{
	struct bole_bytes base = e->index->base;
	size_t most = base.len < e->target.len ? base.len : e->target.len;
	size_t n = equal_ahead(base.ptr, e->target.ptr, most);

	if (n < COPY_BYTES_USUAL)
		return 0;
	copy(e, 0, n);
	return n;
}

static void scan(struct encoder *e)
{
	const struct bole_delta_index *index = e->index;
	const uint8_t *t = e->target.ptr;
	const uint32_t width = index->width;
	const uint32_t out = factor_to(width);
	size_t at = copy_start(e);

	while (!e->full && e->target.len - at >= width && index->blocks != 0) {
		uint32_t hash = block_hash(t + at, width);
		struct match m = {.len = 0};

		for (;;) {
			if (index->bucket[bucket_of(hash, index->bits)] != 0 || goes_on(e, at))
				m = longest(e, at, hash);
			if (m.len != 0 || e->target.len - at == width)
				break;
			hash = hash * FACTOR + t[at + width] - out * t[at];
			at++;
			/* So much would be inserted that it is too long already. */
			if (at - e->done > e->cap - e->len) {
				e->full = true;
				return;
			}
		}
		if (m.len == 0)
			break;
		insert(e, m.target);
		copy(e, m.base, m.len);
		at = m.target + m.len;
	}
	insert(e, e->target.len);
}

enum bole_status bole_delta_encode(const struct bole_delta_index *index, struct bole_bytes target,
                                   uint8_t *dst, size_t cap, size_t *len)
{
	struct encoder e = {.index = index, .target = target, .dst = dst, .cap = cap};
	uint8_t size[SIZE_BYTES_MAX];

	*len = 0;
	if (target.len > BOLE_DELTA_BYTES_MAX)
		return BOLE_E_LIMIT;
	append(&e, size, size_put(index->base.len, size));
	append(&e, size, size_put(target.len, size));
	scan(&e);
	if (e.full)
		return BOLE_E_LIMIT;
	BOLE_ASSERT(e.done == target.len);
	*len = e.len;
	return BOLE_OK;
}
