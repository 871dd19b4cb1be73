/* SPDX-License-Identifier: ISC */
#include "node/gunzip.h"

#include <stdbool.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"
#include "base/memory.h"

enum {
	HEAD_BYTES_MAX = 1024, /* with name and comment */
	HEAD_FIXED = 10,
	TRAILER_BYTES = 8,
	SIZE_HEAD = 16, /* zlib frees without a size, so each of its blocks carries one */
	FLAG_CRC = 2,
	FLAG_EXTRA = 4,
	FLAG_NAME = 8,
	FLAG_COMMENT = 16,
	FLAGS_RESERVED = 0xe0,
};

enum gunzip_state {
	GUNZIP_FIXED,
	GUNZIP_EXTRA_LEN,
	GUNZIP_EXTRA,
	GUNZIP_NAME,
	GUNZIP_COMMENT,
	GUNZIP_HEAD_CRC,
	GUNZIP_DATA,
	GUNZIP_TRAILER,
	GUNZIP_DONE,
	GUNZIP_FAILED,
};

struct bole_gunzip {
	struct bole_alloc *alloc;
	z_stream z;
	enum gunzip_state state;
	uint8_t flags;
	unsigned head_bytes;
	unsigned count; /* bytes of this state so far */
	unsigned extra_len;
	uint8_t trailer[TRAILER_BYTES];
	uint32_t crc;
	uint32_t len; /* modulo 2^32 */
};

static void *zlib_alloc(void *ctx, unsigned count, unsigned size)
{
	size_t bytes = 0;

	if (__builtin_mul_overflow((size_t)count, (size_t)size, &bytes) ||
	    __builtin_add_overflow(bytes, (size_t)SIZE_HEAD, &bytes))
		return NULL;
	uint8_t *ptr = bole_alloc_zeroed(ctx, bytes, 1);
	if (ptr == NULL)
		return NULL;
	memcpy(ptr, &bytes, sizeof bytes);
	return ptr + SIZE_HEAD;
}

static void zlib_free(void *ctx, void *ptr)
{
	size_t bytes = 0;

	if (ptr == NULL)
		return;
	uint8_t *head = (uint8_t *)ptr - SIZE_HEAD;
	memcpy(&bytes, head, sizeof bytes);
	bole_alloc_free(ctx, head, bytes, 1);
}

enum bole_status bole_gunzip_open(struct bole_alloc *alloc, struct bole_gunzip **out)
{
	struct bole_gunzip *g = bole_alloc_zeroed(alloc, 1, sizeof *g);

	*out = g;
	if (g == NULL)
		return BOLE_E_NO_MEMORY;
	g->alloc = alloc;
	g->z.zalloc = zlib_alloc;
	g->z.zfree = zlib_free;
	g->z.opaque = alloc;
	g->crc = (uint32_t)crc32(0, NULL, 0);
	if (inflateInit2(&g->z, -MAX_WBITS) == Z_OK)
		return BOLE_OK;
	bole_alloc_free(alloc, g, 1, sizeof *g);
	*out = NULL;
	return BOLE_E_NO_MEMORY;
}

void bole_gunzip_close(struct bole_gunzip *g)
{
	if (g == NULL)
		return;
	inflateEnd(&g->z);
	bole_alloc_free(g->alloc, g, 1, sizeof *g);
}

/* The next state that the flags ask for after `after`. */
static void next_part(struct bole_gunzip *g, enum gunzip_state after)
{
	g->count = 0;
	if (after < GUNZIP_EXTRA_LEN && (g->flags & FLAG_EXTRA) != 0)
		g->state = GUNZIP_EXTRA_LEN;
	else if (after < GUNZIP_NAME && (g->flags & FLAG_NAME) != 0)
		g->state = GUNZIP_NAME;
	else if (after < GUNZIP_COMMENT && (g->flags & FLAG_COMMENT) != 0)
		g->state = GUNZIP_COMMENT;
	else if (after < GUNZIP_HEAD_CRC && (g->flags & FLAG_CRC) != 0)
		g->state = GUNZIP_HEAD_CRC;
	else
		g->state = GUNZIP_DATA;
}

static enum bole_status fixed_byte(struct bole_gunzip *g, uint8_t ch)
{
	static const uint8_t magic[] = {0x1f, 0x8b, 8};
	unsigned at = g->count++;

	if (at < sizeof magic && ch != magic[at])
		return BOLE_E_INVALID;
	if (at == 3) {
		if ((ch & FLAGS_RESERVED) != 0)
			return BOLE_E_INVALID;
		g->flags = ch;
	}
	if (g->count == HEAD_FIXED)
		next_part(g, GUNZIP_FIXED);
	return BOLE_OK;
}

static enum bole_status head_byte(struct bole_gunzip *g, uint8_t ch)
{
	if (++g->head_bytes > HEAD_BYTES_MAX)
		return BOLE_E_LIMIT;
	if (g->state == GUNZIP_FIXED)
		return fixed_byte(g, ch);
	if (g->state == GUNZIP_EXTRA_LEN) {
		g->extra_len |= (unsigned)ch << 8 * g->count;
		if (++g->count == 2) {
			g->count = 0;
			g->state = GUNZIP_EXTRA;
			if (g->extra_len == 0)
				next_part(g, GUNZIP_EXTRA);
		}
	} else if (g->state == GUNZIP_EXTRA) {
		if (++g->count == g->extra_len)
			next_part(g, GUNZIP_EXTRA);
	} else if (g->state == GUNZIP_HEAD_CRC) {
		if (++g->count == 2)
			next_part(g, GUNZIP_HEAD_CRC);
	} else if (ch == 0) {
		next_part(g, g->state);
	}
	return BOLE_OK;
}

static enum bole_status trailer_byte(struct bole_gunzip *g, uint8_t ch)
{
	g->trailer[g->count++] = ch;
	if (g->count < TRAILER_BYTES)
		return BOLE_OK;
	if (bole_get_le32(g->trailer) != g->crc || bole_get_le32(g->trailer + 4) != g->len)
		return BOLE_E_INVALID;
	g->state = GUNZIP_DONE;
	return BOLE_OK;
}

static unsigned zlib_len(size_t len)
{
	return len < UINT32_MAX ? (unsigned)len : UINT32_MAX;
}

/* One call of inflate; adds to *taken and *written. */
static enum bole_status data_step(struct bole_gunzip *g, const uint8_t *in, size_t in_len,
                                  uint8_t *out, size_t out_len, size_t *taken, size_t *written)
{
	g->z.next_in = (Bytef *)(uintptr_t)in;
	g->z.avail_in = zlib_len(in_len);
	g->z.next_out = out;
	g->z.avail_out = zlib_len(out_len);
	int rc = inflate(&g->z, Z_NO_FLUSH);
	size_t used = (size_t)(g->z.next_in - in);
	size_t made = (size_t)(g->z.next_out - out);
	g->crc = (uint32_t)crc32(g->crc, out, (unsigned)made);
	g->len += (uint32_t)made;
	*taken += used;
	*written += made;
	if (rc == Z_STREAM_END) {
		g->state = GUNZIP_TRAILER;
		g->count = 0;
		return BOLE_OK;
	}
	if (rc == Z_MEM_ERROR)
		return BOLE_E_NO_MEMORY;
	return rc == Z_OK || rc == Z_BUF_ERROR ? BOLE_OK : BOLE_E_INVALID;
}

enum bole_status bole_gunzip_step(struct bole_gunzip *g, const uint8_t *in, size_t *in_len,
                                  uint8_t *out, size_t *out_len)
{
	size_t taken = 0;
	size_t written = 0;
	enum bole_status rc = g->state == GUNZIP_FAILED ? BOLE_E_INVALID : BOLE_OK;

	while (rc == BOLE_OK && g->state < GUNZIP_DATA && taken < *in_len)
		rc = head_byte(g, in[taken++]);
	if (rc == BOLE_OK && g->state == GUNZIP_DATA)
		rc = data_step(g, in + taken, *in_len - taken, out, *out_len, &taken, &written);
	while (rc == BOLE_OK && g->state == GUNZIP_TRAILER && taken < *in_len)
		rc = trailer_byte(g, in[taken++]);
	*in_len = taken;
	*out_len = written;
	if (rc != BOLE_OK)
		g->state = GUNZIP_FAILED;
	return rc == BOLE_OK && g->state == GUNZIP_DONE ? BOLE_END : rc;
}
