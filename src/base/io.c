/* SPDX-License-Identifier: ISC */
#include "base/io.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

void bole_input_init(struct bole_input *in, struct bole_reader *reader, uint8_t *buf, size_t cap)
{
	BOLE_ASSERT(cap > 0);
	*in = (struct bole_input){.reader = reader, .buf = buf, .cap = cap, .fill_max = cap};
}

/* One read into the free end of the buffer; the result sticks. */
static enum bole_status input_fill(struct bole_input *in)
{
	size_t got = 0;

	if (in->rc != BOLE_OK)
		return in->rc;
	if (in->pos == in->len) {
		in->pos = 0;
		in->len = 0;
	}
	BOLE_ASSERT(in->len < in->cap);
	size_t room = in->cap - in->len < in->fill_max ? in->cap - in->len : in->fill_max;
	in->rc = in->reader->read(in->reader, in->buf + in->len, room, &got);
	BOLE_ASSERT(got <= room);
	BOLE_ASSERT((in->rc == BOLE_OK) == (got > 0));
	in->len += got;
	return in->rc;
}

enum bole_status bole_input_peek(struct bole_input *in, struct bole_bytes *out)
{
	*out = (struct bole_bytes){NULL, 0};
	if (in->pos == in->len)
		BOLE_TRY(input_fill(in));
	*out = bole_bytes_of(in->buf + in->pos, in->len - in->pos);
	return BOLE_OK;
}

enum bole_status bole_input_need(struct bole_input *in, size_t need, struct bole_bytes *out)
{
	BOLE_ASSERT(need <= in->cap);
	*out = (struct bole_bytes){NULL, 0};
	while (in->len - in->pos < need) {
		if (need > in->cap - in->pos) {
			memmove(in->buf, in->buf + in->pos, in->len - in->pos);
			in->len -= in->pos;
			in->pos = 0;
		}
		BOLE_TRY(input_fill(in));
	}
	*out = bole_bytes_of(in->buf + in->pos, in->len - in->pos);
	return BOLE_OK;
}

void bole_input_take(struct bole_input *in, size_t n)
{
	BOLE_ASSERT(n <= in->len - in->pos);
	in->pos += n;
	in->consumed += n;
}

enum bole_status bole_input_read(struct bole_input *in, void *dst, size_t len)
{
	uint8_t *to = dst;

	while (len > 0) {
		size_t n = in->len - in->pos;

		if (n > 0) {
			n = n < len ? n : len;
			memcpy(to, in->buf + in->pos, n);
			bole_input_take(in, n);
		} else if (in->rc == BOLE_OK && len >= in->cap) {
			/* A long read need not go through the buffer. */
			in->rc = in->reader->read(in->reader, to, len, &n);
			BOLE_ASSERT(n <= len);
			in->consumed += n;
		} else if (in->rc == BOLE_OK) {
			(void)input_fill(in);
		}
		if (n == 0 && in->rc != BOLE_OK)
			return in->rc == BOLE_END ? BOLE_E_INVALID : in->rc;
		to += n;
		len -= n;
	}
	return BOLE_OK;
}

/* The bytes that were not taken move into another buffer. */
static void input_move(struct bole_input *in, uint8_t *buf, size_t cap)
{
	size_t rest = in->len - in->pos < cap ? in->len - in->pos : cap;

	memcpy(buf, in->buf + in->pos, rest);
	in->buf = buf;
	in->cap = cap;
	in->pos = 0;
	in->len = rest;
}

void bole_input_widen(struct bole_input *in, uint8_t *buf, size_t cap, struct bole_input_lent *lent)
{
	BOLE_ASSERT(cap >= in->cap);
	*lent = (struct bole_input_lent){in->buf, in->cap};
	in->fill_max = in->cap;
	input_move(in, buf, cap);
}

void bole_input_expect(struct bole_input *in, const struct bole_input_lent *lent, uint64_t sure)
{
	in->fill_max = sure < in->cap / 2 ? lent->cap + (size_t)sure : in->cap / 2;
}

void bole_input_narrow(struct bole_input *in, const struct bole_input_lent *lent)
{
	input_move(in, lent->buf, lent->cap);
	in->fill_max = in->cap;
}

void bole_output_init(struct bole_output *out, struct bole_writer *writer, uint8_t *buf, size_t cap)
{
	*out = (struct bole_output){.writer = writer, .buf = buf, .cap = cap};
}

static void output_drain(struct bole_output *out)
{
	if (out->rc == BOLE_OK && out->len > 0)
		out->rc = out->writer->write(out->writer, out->buf, out->len);
	out->len = 0;
}

void bole_output_write(struct bole_output *out, const void *src, size_t len)
{
	if (out->rc != BOLE_OK || len == 0)
		return;
	out->written += len;
	if (len >= out->cap && out->len > 0 && out->writer->gather != NULL) {
		/* A packet and its head in one call of the system. */
		struct bole_bytes pieces[] = {bole_bytes_of(out->buf, out->len),
		                              bole_bytes_of(src, len)};

		out->len = 0;
		out->rc = out->writer->gather(out->writer, pieces, 2);
		return;
	}
	if (len > out->cap - out->len)
		output_drain(out);
	if (out->rc != BOLE_OK)
		return;
	if (len >= out->cap) {
		out->rc = out->writer->write(out->writer, src, len);
		return;
	}
	memcpy(out->buf + out->len, src, len);
	out->len += len;
}

enum bole_status bole_output_flush(struct bole_output *out)
{
	output_drain(out);
	if (out->rc == BOLE_OK)
		out->rc = out->writer->flush(out->writer);
	return out->rc;
}

static enum bole_status bytes_reader_read(struct bole_reader *self, void *dst, size_t cap,
                                          size_t *got)
{
	struct bole_bytes_reader *reader = (struct bole_bytes_reader *)self;
	size_t n = reader->rest.len < cap ? reader->rest.len : cap;

	*got = n;
	if (n == 0)
		return BOLE_END;
	memcpy(dst, reader->rest.ptr, n);
	reader->rest.ptr += n;
	reader->rest.len -= n;
	return BOLE_OK;
}

void bole_bytes_reader_init(struct bole_bytes_reader *reader, struct bole_bytes bytes)
{
	reader->reader.read = bytes_reader_read;
	reader->rest = bytes;
}

static enum bole_status buffer_writer_write(struct bole_writer *self, const void *src, size_t len)
{
	struct bole_buffer_writer *writer = (struct bole_buffer_writer *)self;

	bole_buffer_append(writer->buffer, src, len);
	return writer->buffer->rc;
}

static enum bole_status buffer_writer_flush(struct bole_writer *self)
{
	return ((struct bole_buffer_writer *)self)->buffer->rc;
}

void bole_buffer_writer_init(struct bole_buffer_writer *writer, struct bole_buffer *buffer)
{
	writer->writer =
	        (struct bole_writer){.write = buffer_writer_write, .flush = buffer_writer_flush};
	writer->buffer = buffer;
}
