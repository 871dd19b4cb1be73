/* SPDX-License-Identifier: ISC */
/* The chunked transfer coding (RFC 9112, 7.1), byte by byte except for the data. */
#include "base/bytes.h"
#include "node/http_parse.h"

enum { SIZE_DIGITS_MAX = 16 };

static int hex_value(uint8_t ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	if (ch >= 'a' && ch <= 'f')
		return ch - 'a' + 10;
	return ch >= 'A' && ch <= 'F' ? ch - 'A' + 10 : -1;
}

static enum bole_status step_size(struct bole_http_chunks *c, uint8_t ch)
{
	int value = hex_value(ch);

	if (value >= 0) {
		if (c->digits++ == SIZE_DIGITS_MAX || c->left >> 60 != 0)
			return BOLE_E_INVALID;
		c->left = c->left << 4 | (uint64_t)value;
		return BOLE_OK;
	}
	if (c->digits == 0)
		return BOLE_E_INVALID;
	if (ch == '\r')
		c->state = BOLE_CHUNK_SIZE_LF;
	else if (ch == ';' || ch == ' ' || ch == '\t')
		c->state = BOLE_CHUNK_EXTENSION;
	else
		return BOLE_E_INVALID;
	return BOLE_OK;
}

static enum bole_status step_extension(struct bole_http_chunks *c, uint8_t ch)
{
	if (++c->line_bytes > BOLE_HTTP_CHUNK_LINE_MAX)
		return BOLE_E_LIMIT;
	if (ch == '\r')
		c->state = BOLE_CHUNK_SIZE_LF;
	else if ((ch < ' ' && ch != '\t') || ch == 0x7f)
		return BOLE_E_INVALID;
	return BOLE_OK;
}

static enum bole_status step_trailer(struct bole_http_chunks *c, uint8_t ch)
{
	if (++c->trailer_bytes > BOLE_HTTP_TRAILERS_MAX)
		return BOLE_E_LIMIT;
	if (ch == '\r')
		c->state = BOLE_CHUNK_TRAILER_LF;
	else if ((ch < ' ' && ch != '\t') || ch == 0x7f)
		return BOLE_E_INVALID;
	else
		c->line_bytes++;
	return BOLE_OK;
}

/* The byte that must be ch; then on to next. */
static enum bole_status step_exact(struct bole_http_chunks *c, bool right, unsigned next)
{
	if (!right)
		return BOLE_E_INVALID;
	c->state = next;
	c->line_bytes = 0;
	c->digits = 0;
	return BOLE_OK;
}

static enum bole_status step(struct bole_http_chunks *c, uint8_t ch)
{
	switch (c->state) {
	case BOLE_CHUNK_SIZE: return step_size(c, ch);
	case BOLE_CHUNK_EXTENSION: return step_extension(c, ch);
	case BOLE_CHUNK_SIZE_LF:
		return step_exact(c, ch == '\n',
		                  c->left == 0 ? BOLE_CHUNK_TRAILER : BOLE_CHUNK_DATA);
	case BOLE_CHUNK_DATA_CR: return step_exact(c, ch == '\r', BOLE_CHUNK_DATA_LF);
	case BOLE_CHUNK_DATA_LF: return step_exact(c, ch == '\n', BOLE_CHUNK_SIZE);
	case BOLE_CHUNK_TRAILER: return step_trailer(c, ch);
	case BOLE_CHUNK_TRAILER_LF:
		return step_exact(c, ch == '\n',
		                  c->line_bytes == 0 ? BOLE_CHUNK_DONE : BOLE_CHUNK_TRAILER);
	case BOLE_CHUNK_DATA:
	case BOLE_CHUNK_DONE: break;
	}
	return BOLE_E_INVALID;
}

enum bole_status bole_http_chunks_next(struct bole_http_chunks *c, struct bole_bytes *in,
                                       struct bole_bytes *data)
{
	*data = (struct bole_bytes){NULL, 0};
	while (c->state != BOLE_CHUNK_DONE) {
		if (in->len == 0)
			return BOLE_AGAIN;
		if (c->state == BOLE_CHUNK_DATA) {
			size_t n = in->len < c->left ? in->len : (size_t)c->left;
			*data = bole_bytes_of(in->ptr, n);
			in->ptr += n;
			in->len -= n;
			c->left -= n;
			if (c->left == 0)
				c->state = BOLE_CHUNK_DATA_CR;
			return BOLE_OK;
		}
		enum bole_status rc = step(c, *in->ptr);
		if (rc != BOLE_OK)
			return rc;
		in->ptr++;
		in->len--;
	}
	return BOLE_END;
}
