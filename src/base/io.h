/* SPDX-License-Identifier: ISC */
/* Buffered input and output over bole_reader / bole_writer. Every protocol parser works on these,
 * so that it may look ahead without taking bytes that belong to whoever comes next. */
#ifndef BOLE_BASE_IO_H
#define BOLE_BASE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/types.h"

struct bole_input {
	struct bole_reader *reader;
	uint8_t *buf; /* caller's memory */
	size_t cap;
	size_t pos;
	size_t len;
	size_t fill_max;     /* of one read; cap, unless widened */
	uint64_t consumed;   /* bytes taken since init */
	enum bole_status rc; /* sticky */
};
void bole_input_init(struct bole_input *, struct bole_reader *, uint8_t *buf, size_t cap);
/* Shows 1.. buffered bytes, reading when there are none. BOLE_END at the end. */
BOLE_MUST_USE enum bole_status bole_input_peek(struct bole_input *, struct bole_bytes *out);
/* Shows at least need bytes (need <= cap); BOLE_END when the stream ends before them. */
BOLE_MUST_USE enum bole_status bole_input_need(struct bole_input *, size_t need,
                                               struct bole_bytes *out);
/* Takes n bytes that were shown. */
void bole_input_take(struct bole_input *, size_t n);
/* Exactly len bytes. BOLE_E_INVALID when the stream ends early. */
BOLE_MUST_USE enum bole_status bole_input_read(struct bole_input *, void *dst, size_t len);

/* Lends a larger buffer until narrow, which gives the old one back with what was not taken. That
 * has room if, before each read, all that was buffered belonged to what has been taken since; else
 * the end of it is lost, which only matters to a stream that goes on. */
struct bole_input_lent {
	uint8_t *buf;
	size_t cap;
};
void bole_input_widen(struct bole_input *, uint8_t *buf, size_t cap, struct bole_input_lent *);
/* That many bytes will be taken for sure beyond those that the next read makes complete: reads may
 * be so much larger, and still all that is left fits the buffer that comes back. */
void bole_input_expect(struct bole_input *, const struct bole_input_lent *, uint64_t sure);
void bole_input_narrow(struct bole_input *, const struct bole_input_lent *);

/* Coalesces writes; sticky error in rc, so an encoder is straight-line code checked at the end. */
struct bole_output {
	struct bole_writer *writer;
	uint8_t *buf; /* caller's memory */
	size_t cap;
	size_t len;
	uint64_t written; /* bytes accepted since init */
	enum bole_status rc;
};
void bole_output_init(struct bole_output *, struct bole_writer *, uint8_t *buf, size_t cap);
void bole_output_write(struct bole_output *, const void *src, size_t len);
/* Hands over what is buffered and flushes the writer. Returns rc. */
enum bole_status bole_output_flush(struct bole_output *);

/* A reader over bytes in memory, and a writer into a bole_buffer. */
struct bole_bytes_reader {
	struct bole_reader reader;
	struct bole_bytes rest;
};
void bole_bytes_reader_init(struct bole_bytes_reader *, struct bole_bytes);
struct bole_buffer;
struct bole_buffer_writer {
	struct bole_writer writer;
	struct bole_buffer *buffer;
};
void bole_buffer_writer_init(struct bole_buffer_writer *, struct bole_buffer *);

#endif /* BOLE_BASE_IO_H */
