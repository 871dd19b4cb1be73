/* SPDX-License-Identifier: ISC */
/* zlib's stream without its two bytes of head and four of checksum is what gzip and zip hold. */
#include "base/bytes.h"
#include "base/check.h"
#include "git/fetch/archive.h"

enum { STEP_BYTES = 8192, ZLIB_HEAD_BYTES = 2 };

/* Passes on all but the last four bytes. */
static void pass(struct bole_archive_deflate *d, const uint8_t *p, size_t len)
{
	while (len > 0 && d->head_left > 0) {
		d->head_left--;
		p++;
		len--;
	}
	size_t keep = sizeof d->held;
	uint8_t *held = d->held;
	size_t out = d->held_len + len > keep ? d->held_len + len - keep : 0;
	size_t from_held = out < d->held_len ? out : d->held_len;

	bole_output_write(d->out, held, from_held);
	memmove(held, held + from_held, d->held_len - from_held);
	d->held_len -= from_held;
	size_t direct = out - from_held;

	bole_output_write(d->out, p, direct);
	d->written += out;
	if (len > direct)
		memcpy(held + d->held_len, p + direct, len - direct);
	d->held_len += len - direct;
}

static enum bole_status step(struct bole_archive_deflate *d, const uint8_t *p, size_t len,
                             bool last)
{
	uint8_t out[STEP_BYTES];
	enum bole_status rc = BOLE_OK;

	while (len > 0 || (last && rc != BOLE_END)) {
		size_t in_len = len;
		size_t out_len = sizeof out;

		rc = bole_deflate_step(d->deflater, p, &in_len, out, &out_len, last);
		if (rc < 0)
			return rc;
		p += in_len;
		len -= in_len;
		pass(d, out, out_len);
		BOLE_TRY(d->out->rc);
	}
	return BOLE_OK;
}

static enum bole_status deflate_write(struct bole_writer *self, const void *src, size_t len)
{
	struct bole_archive_deflate *d = (struct bole_archive_deflate *)(void *)self;

	d->crc = bole_crc32(d->crc, bole_bytes_of(src, len));
	d->taken += len;
	return step(d, src, len, false);
}

static enum bole_status deflate_flush(struct bole_writer *self)
{
	(void)self;
	return BOLE_OK;
}

void bole_archive_deflate_begin(struct bole_archive_deflate *d, struct bole_deflater *deflater,
                                struct bole_output *out)
{
	*d = (struct bole_archive_deflate){
	        .writer = {.write = deflate_write, .flush = deflate_flush},
	        .out = out,
	        .deflater = deflater,
	        .head_left = ZLIB_HEAD_BYTES};
	bole_deflate_begin(deflater);
}

enum bole_status bole_archive_deflate_end(struct bole_archive_deflate *d)
{
	static const uint8_t nothing[1];

	return step(d, nothing, 0, true);
}
