/* SPDX-License-Identifier: ISC */
#include "git/wire/pkt_line.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"

void bole_pkt_reader_init(struct bole_pkt_reader *r, struct bole_input *in,
                          struct bole_alloc *alloc)
{
	*r = (struct bole_pkt_reader){.in = in, .alloc = alloc, .why = ""};
}

void bole_pkt_reader_release(struct bole_pkt_reader *r)
{
	bole_alloc_free(r->alloc, r->buf, r->cap, 1);
	r->buf = NULL;
	r->cap = 0;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static enum bole_status invalid(struct bole_pkt_reader *r, const char *why)
{
	r->why = why;
	return BOLE_E_INVALID;
}

/* Byte by byte where they come so, because the buffer of the input may be tiny and the peer slow.
 */
static enum bole_status read_head(struct bole_pkt_reader *r, unsigned *out)
{
	unsigned value = 0;

	if (r->in->len - r->in->pos >= BOLE_PKT_HEAD_BYTES) {
		const uint8_t *head = r->in->buf + r->in->pos;
		int a = hex_digit(head[0]), b = hex_digit(head[1]);
		int c = hex_digit(head[2]), d = hex_digit(head[3]);
		if ((a | b | c | d) >= 0) {
			*out = (unsigned)(a << 12 | b << 8 | c << 4 | d);
			bole_input_take(r->in, BOLE_PKT_HEAD_BYTES);
			return BOLE_OK;
		}
	}

	for (unsigned i = 0; i < BOLE_PKT_HEAD_BYTES; i++) {
		struct bole_bytes have;
		enum bole_status rc = bole_input_peek(r->in, &have);
		if (rc == BOLE_END && i > 0)
			return invalid(r, "the stream ends within a packet length");
		if (rc != BOLE_OK)
			return rc;
		int digit = hex_digit(have.ptr[0]);
		if (digit < 0)
			return invalid(r, "a packet length is not four hex digits");
		value = value << 4 | (unsigned)digit;
		bole_input_take(r->in, 1);
	}
	*out = value;
	return BOLE_OK;
}

static enum bole_status gather(struct bole_pkt_reader *r, size_t len)
{
	if (len > r->cap) {
		uint8_t *grown = bole_alloc_resize(r->alloc, r->buf, r->cap, len, 1);
		if (grown == NULL)
			return BOLE_E_NO_MEMORY;
		r->buf = grown;
		r->cap = len;
	}
	return bole_input_read(r->in, r->buf, len);
}

static enum bole_status read_data(struct bole_pkt_reader *r, size_t len, struct bole_bytes *out)
{
	enum bole_status rc;

	*out = bole_bytes_of("", 0);
	if (len == 0)
		return BOLE_OK;
	if (len <= r->in->cap) {
		/* Taking leaves the bytes where they are until the input is asked again. */
		rc = bole_input_need(r->in, len, out);
		if (rc == BOLE_OK) {
			out->len = len;
			bole_input_take(r->in, len);
		}
	} else {
		rc = gather(r, len);
		*out = bole_bytes_of(r->buf, len);
	}
	if (rc == BOLE_END || rc == BOLE_E_INVALID)
		return invalid(r, "the stream ends within a packet");
	return rc;
}

enum bole_status bole_pkt_read(struct bole_pkt_reader *r, struct bole_pkt *out)
{
	unsigned len = 0;

	*out = (struct bole_pkt){.type = BOLE_PKT_FLUSH};
	BOLE_TRY(read_head(r, &len));
	if (len == 3 || len > BOLE_PKT_BYTES_MAX)
		return invalid(r, "a packet length is out of range");
	if (len < BOLE_PKT_HEAD_BYTES) {
		out->type = len == 0   ? BOLE_PKT_FLUSH
		            : len == 1 ? BOLE_PKT_DELIM
		                       : BOLE_PKT_RESPONSE_END;
		return BOLE_OK;
	}
	out->type = BOLE_PKT_DATA;
	BOLE_TRY(read_data(r, len - BOLE_PKT_HEAD_BYTES, &out->data));
	out->line = out->data;
	if (out->line.len > 0 && out->line.ptr[out->line.len - 1] == '\n')
		out->line.len--;
	return BOLE_OK;
}

bool bole_pkt_is(struct bole_bytes line, const char *text)
{
	return bole_bytes_equal(line, bole_bytes_z(text));
}

void bole_pkt_head(uint8_t head[4], size_t data_len)
{
	static const char digits[] = "0123456789abcdef";
	size_t len = data_len + BOLE_PKT_HEAD_BYTES;

	BOLE_ASSERT(data_len <= BOLE_PKT_DATA_MAX);
	for (unsigned i = 0; i < BOLE_PKT_HEAD_BYTES; i++)
		head[i] = (uint8_t)digits[len >> (12 - 4 * i) & 15];
}

void bole_pkt_write(struct bole_output *out, struct bole_bytes data)
{
	uint8_t head[BOLE_PKT_HEAD_BYTES];

	bole_pkt_head(head, data.len);
	bole_output_write(out, head, sizeof head);
	bole_output_write(out, data.ptr, data.len);
}

void bole_pkt_text(struct bole_output *out, const char *text)
{
	bole_pkt_write(out, bole_bytes_z(text));
}

void bole_pkt_flush(struct bole_output *out)
{
	bole_output_write(out, "0000", BOLE_PKT_HEAD_BYTES);
}

void bole_pkt_delim(struct bole_output *out)
{
	bole_output_write(out, "0001", BOLE_PKT_HEAD_BYTES);
}

void bole_pkt_line_init(struct bole_pkt_line *line)
{
	line->len = BOLE_PKT_HEAD_BYTES;
}

void bole_pkt_line_bytes(struct bole_pkt_line *line, struct bole_bytes more)
{
	size_t room = sizeof line->bytes - line->len;
	size_t len = more.len < room ? more.len : room;

	if (len > 0)
		memcpy(line->bytes + line->len, more.ptr, len);
	line->len += len;
}

void bole_pkt_line_text(struct bole_pkt_line *line, const char *text)
{
	bole_pkt_line_bytes(line, bole_bytes_z(text));
}

void bole_pkt_line_oid(struct bole_pkt_line *line, const struct bole_oid *oid)
{
	char hex[BOLE_OID_HEX_MAX + 1];

	bole_pkt_line_text(line, bole_oid_format(oid, hex));
}

void bole_pkt_line_write(struct bole_pkt_line *line, struct bole_output *out)
{
	bole_pkt_head(line->bytes, line->len - BOLE_PKT_HEAD_BYTES);
	bole_output_write(out, line->bytes, line->len);
}
