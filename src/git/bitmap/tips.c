/* SPDX-License-Identifier: ISC */
/* The tips of an index: what branches and tags name, sorted, each once. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "base/sort.h"
#include "git/bitmap/walk.h"

enum { BUCKETS_PART = 8, BUCKETS_MAX = 1 << 16, FEW = 24, YIELD_EVERY = 4096 };

static enum bole_status gather(struct bole_bitmap *b, struct bole_snapshot *snapshot)
{
	static const char *const prefixes[] = {"refs/heads/", "refs/tags/"};
	uint32_t seen = 0;

	for (size_t i = 0; i < 2; i++) {
		struct bole_bytes prefix = bole_bytes_z(prefixes[i]);
		struct bole_ref ref = {.name = bole_bytes_of("", 0)};
		enum bole_status rc;

		while ((rc = bole_ref_next(snapshot, prefix, ref.name, &ref)) == BOLE_OK) {
			if (!ref.symbolic)
				bole_buffer_append(&b->tips, ref.oid.bytes, b->key_bytes);
			if (++seen % YIELD_EVERY == 0)
				b->platform->ops->yield(b->platform);
		}
		if (rc != BOLE_END)
			return rc;
	}
	return b->tips.rc;
}

static int by_id_20(const void *a, const void *b)
{
	return memcmp(a, b, 20);
}

static int by_id_32(const void *a, const void *b)
{
	return memcmp(a, b, 32);
}

/* The first bytes tell nearly all. */
static inline bool behind(const uint8_t *a, const uint8_t *b, size_t width)
{
	uint64_t x = bole_get_be64(a);
	uint64_t y = bole_get_be64(b);

	return x != y ? x > y : memcmp(a, b, width) > 0;
}

static void sort_few(uint8_t *ids, size_t count, size_t width)
{
	uint8_t id[BOLE_OID_BYTES_MAX];

	for (size_t i = 1; i < count; i++) {
		size_t at = i;
		while (at > 0 && behind(ids + (at - 1) * width, ids + i * width, width))
			at--;
		if (at == i)
			continue;
		memcpy(id, ids + i * width, width);
		memmove(ids + (at + 1) * width, ids + at * width, (i - at) * width);
		memcpy(ids + at * width, id, width);
	}
}

/* Ids are as good as random: by their first bits nearly all of them fall into their places. Where
 * somebody has seen to it that they do not, the rest is sorted as anything is. */
static enum bole_status sort_buckets(struct bole_bitmap *b, uint8_t *to, uint32_t *end,
                                     unsigned bits)
{
	const uint8_t *from = b->tips.ptr;
	size_t width = b->key_bytes;
	size_t count = b->tips.len / width;
	uint32_t buckets = 1U << bits;

	memset(end, 0, buckets * sizeof *end);
	for (size_t i = 0; i < count; i++)
		end[bole_get_be32(from + i * width) >> (32 - bits)]++;
	for (uint32_t i = 0, sum = 0; i < buckets; i++) {
		uint32_t here = end[i];
		end[i] = sum;
		sum += here;
	}
	for (size_t i = 0; i < count; i++)
		memcpy(to + end[bole_get_be32(from + i * width) >> (32 - bits)]++ * width,
		       from + i * width, width);
	for (uint32_t i = 0, start = 0; i < buckets; start = end[i++]) {
		size_t here = end[i] - start;
		if (here <= FEW)
			sort_few(to + start * width, here, width);
		else
			BOLE_TRY(bole_sort(b->platform, b->alloc, to + start * width, here, width,
			                   width == 20 ? by_id_20 : by_id_32));
		if (i % YIELD_EVERY == 0)
			b->platform->ops->yield(b->platform);
	}
	return BOLE_OK;
}

static enum bole_status sort(struct bole_bitmap *b)
{
	size_t count = b->tips.len / b->key_bytes;
	unsigned bits = 1;

	while (1U << bits < BUCKETS_MAX && (1U << bits) * (size_t)BUCKETS_PART < count)
		bits++;
	uint32_t *end = bole_alloc_array(b->alloc, 1U << bits, sizeof *end);
	uint8_t *to = bole_alloc_array(b->alloc, count, b->key_bytes);
	enum bole_status rc = BOLE_E_NO_MEMORY;
	if (end != NULL && to != NULL)
		rc = sort_buckets(b, to, end, bits);
	if (rc == BOLE_OK)
		memcpy(b->tips.ptr, to, b->tips.len);
	bole_alloc_free(b->alloc, end, 1U << bits, sizeof *end);
	bole_alloc_free(b->alloc, to, count, b->key_bytes);
	return rc;
}

enum bole_status bole_bitmap_list_tips(struct bole_bitmap *b, struct bole_snapshot *snapshot)
{
	size_t width = b->key_bytes;

	b->tips.len = 0;
	BOLE_TRY(gather(b, snapshot));
	if (b->tips.len == 0)
		return BOLE_OK;
	BOLE_TRY(sort(b));
	size_t kept = width;
	for (size_t at = width; at < b->tips.len; at += width) {
		if (memcmp(b->tips.ptr + at, b->tips.ptr + kept - width, width) == 0)
			continue;
		memmove(b->tips.ptr + kept, b->tips.ptr + at, width);
		kept += width;
	}
	b->tips.len = kept;
	return BOLE_OK;
}
