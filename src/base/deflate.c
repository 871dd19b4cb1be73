/* SPDX-License-Identifier: ISC */
#include "base/deflate.h"

#include <libdeflate.h>
#include <stdbool.h>
#include <string.h>
#include <zlib.h>

#include "base/check.h"
#include "base/memory.h"

/* zlib frees without a size, so each of its blocks carries one in front. */
enum { SIZE_HEAD = 16 };

static void *zlib_alloc(void *ctx, unsigned count, unsigned size)
{
	size_t bytes;

	if (__builtin_mul_overflow((size_t)count, (size_t)size, &bytes) ||
	    __builtin_add_overflow(bytes, (size_t)SIZE_HEAD, &bytes))
		return NULL;
	/* Zeroed: zlib 1.2.13's deflate looks at window bytes before it writes them. */
	uint8_t *ptr = bole_alloc_zeroed(ctx, bytes, 1);
	if (ptr == NULL)
		return NULL;
	memcpy(ptr, &bytes, sizeof bytes);
	return ptr + SIZE_HEAD;
}

static void zlib_free(void *ctx, void *ptr)
{
	size_t bytes;

	if (ptr == NULL)
		return;
	uint8_t *head = (uint8_t *)ptr - SIZE_HEAD;
	memcpy(&bytes, head, sizeof bytes);
	bole_alloc_free(ctx, head, bytes, 1);
}

/* zlib counts in unsigned int; a longer buffer is simply not all used in one step. */
static unsigned zlib_len(size_t len)
{
	return len < UINT32_MAX ? (unsigned)len : UINT32_MAX;
}

/* -- Inflate -- */

struct bole_inflater {
	struct bole_alloc *alloc;
	struct libdeflate_decompressor *whole; /* made when first used */
	z_stream steps;
	bool steps_open;
	bool begun;
};

enum bole_status bole_inflater_open(struct bole_alloc *alloc, struct bole_inflater **out)
{
	struct bole_inflater *inflater = bole_alloc_zeroed(alloc, 1, sizeof *inflater);

	*out = inflater;
	if (inflater == NULL)
		return BOLE_E_NO_MEMORY;
	inflater->alloc = alloc;
	inflater->steps.zalloc = zlib_alloc;
	inflater->steps.zfree = zlib_free;
	inflater->steps.opaque = alloc;
	return BOLE_OK;
}

void bole_inflater_close(struct bole_inflater *inflater)
{
	if (inflater == NULL)
		return;
	if (inflater->steps_open)
		inflateEnd(&inflater->steps);
	libdeflate_free_decompressor(inflater->whole);
	bole_alloc_free(inflater->alloc, inflater, 1, sizeof *inflater);
}

/* libdeflate, patched to take only what zlib takes as well (tools/patches/libdeflate.patch). */
static enum bole_status inflate_fast(struct bole_inflater *inflater, struct bole_bytes in,
                                     void *dst, size_t dst_len, size_t *used)
{
	if (inflater->whole == NULL)
		inflater->whole = libdeflate_alloc_decompressor();
	if (inflater->whole == NULL)
		return BOLE_E_NO_MEMORY;
	/* Without a place for the actual size it insists on dst_len bytes exactly. */
	enum libdeflate_result result = libdeflate_zlib_decompress_ex(
	        inflater->whole, in.ptr, in.len, dst, dst_len, used, NULL);
	return result == LIBDEFLATE_SUCCESS ? BOLE_OK : BOLE_E_CORRUPT;
}

static enum bole_status inflate_judged(struct bole_inflater *inflater, struct bole_bytes in,
                                       void *dst, size_t dst_len, size_t *used)
{
	z_stream *steps = &inflater->steps;

	if (!inflater->steps_open) {
		if (inflateInit(steps) != Z_OK)
			return BOLE_E_NO_MEMORY;
		inflater->steps_open = true;
	} else {
		inflateReset(steps);
	}
	inflater->begun = false;
	steps->next_in = (z_const Bytef *)(uintptr_t)(const void *)in.ptr;
	steps->avail_in = zlib_len(in.len);
	steps->next_out = dst;
	steps->avail_out = (unsigned)dst_len;
	int result = inflate(steps, Z_FINISH);
	size_t took = zlib_len(in.len) - steps->avail_in;
	bool full = steps->avail_out == 0;
	steps->next_in = NULL;
	steps->next_out = NULL;
	if (result == Z_MEM_ERROR)
		return BOLE_E_NO_MEMORY;
	if ((result == Z_OK || result == Z_BUF_ERROR) && took == in.len && !full)
		return BOLE_AGAIN;
	if (result != Z_STREAM_END || !full)
		return BOLE_E_CORRUPT;
	*used = took;
	return BOLE_OK;
}

enum bole_status bole_inflate_strict(struct bole_inflater *inflater, struct bole_bytes in,
                                     void *dst, size_t dst_len, size_t *used)
{
	uint8_t none;

	*used = 0;
	if (in.len == 0)
		return BOLE_AGAIN;
	dst = dst_len == 0 ? &none : dst;
	enum bole_status rc = inflate_fast(inflater, in, dst, dst_len, used);

	if (rc != BOLE_E_CORRUPT || dst_len > UINT32_MAX)
		return rc;
	*used = 0;
	return inflate_judged(inflater, in, dst, dst_len, used);
}

enum bole_status bole_inflate_whole(struct bole_inflater *inflater, struct bole_bytes in, void *dst,
                                    size_t dst_len, size_t *used)
{
	enum bole_status rc = bole_inflate_strict(inflater, in, dst, dst_len, used);

	return rc == BOLE_AGAIN ? BOLE_E_CORRUPT : rc;
}

void bole_inflate_begin(struct bole_inflater *inflater)
{
	if (inflater->steps_open)
		inflateReset(&inflater->steps);
	inflater->begun = true;
}

enum bole_status bole_inflate_step(struct bole_inflater *inflater, const uint8_t *in,
                                   size_t *in_len, uint8_t *out, size_t *out_len)
{
	z_stream *steps = &inflater->steps;
	unsigned in_now = zlib_len(*in_len);
	unsigned out_now = zlib_len(*out_len);
	uint8_t none;

	BOLE_ASSERT(inflater->begun);
	*in_len = 0;
	*out_len = 0;
	if (!inflater->steps_open) {
		if (inflateInit(steps) != Z_OK)
			return BOLE_E_NO_MEMORY;
		inflater->steps_open = true;
	}
	/* zlib's type has no const, but it only reads; and it refuses NULL with room 0. */
	steps->next_in = (z_const Bytef *)(uintptr_t)(const void *)in;
	steps->avail_in = in_now;
	steps->next_out = out_now == 0 ? &none : out;
	steps->avail_out = out_now;
	int result = inflate(steps, Z_NO_FLUSH);
	*in_len = in_now - steps->avail_in;
	*out_len = out_now - steps->avail_out;
	steps->next_in = NULL;
	steps->next_out = NULL;
	switch (result) {
	case Z_OK:
	case Z_BUF_ERROR: return BOLE_OK;
	case Z_STREAM_END: inflater->begun = false; return BOLE_END;
	case Z_MEM_ERROR: return BOLE_E_NO_MEMORY;
	default: return BOLE_E_CORRUPT;
	}
}

/* -- Deflate -- */

struct bole_deflater {
	struct bole_alloc *alloc;
	struct libdeflate_compressor *whole; /* made when first used */
	z_stream steps;
	int level;
	bool steps_open;
	bool begun;
};

enum bole_status bole_deflater_open(struct bole_alloc *alloc, int level, struct bole_deflater **out)
{
	BOLE_ASSERT(level >= 0);
	BOLE_ASSERT(level <= 9);
	struct bole_deflater *deflater = bole_alloc_zeroed(alloc, 1, sizeof *deflater);
	*out = deflater;
	if (deflater == NULL)
		return BOLE_E_NO_MEMORY;
	deflater->alloc = alloc;
	deflater->level = level;
	deflater->steps.zalloc = zlib_alloc;
	deflater->steps.zfree = zlib_free;
	deflater->steps.opaque = alloc;
	return BOLE_OK;
}

void bole_deflater_close(struct bole_deflater *deflater)
{
	if (deflater == NULL)
		return;
	if (deflater->steps_open)
		deflateEnd(&deflater->steps);
	libdeflate_free_compressor(deflater->whole);
	bole_alloc_free(deflater->alloc, deflater, 1, sizeof *deflater);
}

size_t bole_deflate_bound(size_t len)
{
	/* libdeflate's own bound for any compressor. */
	return libdeflate_zlib_compress_bound(NULL, len);
}

size_t bole_deflate_whole(struct bole_deflater *deflater, struct bole_bytes in, void *dst,
                          size_t cap)
{
	static const uint8_t none;

	if (deflater->whole == NULL)
		deflater->whole = libdeflate_alloc_compressor(deflater->level);
	if (deflater->whole == NULL)
		return 0;
	return libdeflate_zlib_compress(deflater->whole, in.len == 0 ? &none : in.ptr, in.len, dst,
	                                cap);
}

void bole_deflate_begin(struct bole_deflater *deflater)
{
	if (deflater->steps_open)
		deflateReset(&deflater->steps);
	deflater->begun = true;
}

enum bole_status bole_deflate_step(struct bole_deflater *deflater, const uint8_t *in,
                                   size_t *in_len, uint8_t *out, size_t *out_len, bool finish)
{
	z_stream *steps = &deflater->steps;
	unsigned in_now = zlib_len(*in_len);
	unsigned out_now = zlib_len(*out_len);
	/* More than zlib can count is left over: then this is not yet the end. */
	bool last = finish && in_now == *in_len;

	BOLE_ASSERT(deflater->begun);
	*in_len = 0;
	*out_len = 0;
	if (out_now == 0)
		return BOLE_OK;
	if (!deflater->steps_open) {
		if (deflateInit(steps, deflater->level) != Z_OK)
			return BOLE_E_NO_MEMORY;
		deflater->steps_open = true;
	}
	steps->next_in = (z_const Bytef *)(uintptr_t)(const void *)in;
	steps->avail_in = in_now;
	steps->next_out = out;
	steps->avail_out = out_now;
	int result = deflate(steps, last ? Z_FINISH : Z_NO_FLUSH);
	*in_len = in_now - steps->avail_in;
	*out_len = out_now - steps->avail_out;
	steps->next_in = NULL;
	steps->next_out = NULL;
	BOLE_ASSERT(result != Z_STREAM_ERROR);
	if (result == Z_STREAM_END) {
		deflater->begun = false;
		return BOLE_END;
	}
	return BOLE_OK;
}

/* -- CRC-32 -- */

uint32_t bole_crc32(uint32_t crc, struct bole_bytes data)
{
	return data.len == 0 ? crc : libdeflate_crc32(crc, data.ptr, data.len);
}
