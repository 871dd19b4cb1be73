/* SPDX-License-Identifier: ISC */
/* An HTTP answer (RFC 9110, RFC 9112), read as strictly as requests are: only CRLF ends a line, no
 * folding, one Content-Length or "chunked" and never both. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "node/client/client.h"

static struct bole_bytes trim(struct bole_bytes text)
{
	while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t')) {
		text.ptr++;
		text.len--;
	}
	while (text.len > 0 && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t'))
		text.len--;
	return text;
}

/* Cuts a line off; false: none is left, or it holds what no line may. */
static bool next_line(struct bole_bytes *rest, struct bole_bytes *line)
{
	const uint8_t *end = rest->len == 0 ? NULL : memchr(rest->ptr, '\n', rest->len);

	if (end == NULL || end == rest->ptr || end[-1] != '\r')
		return false;
	*line = bole_bytes_of(rest->ptr, (size_t)(end - rest->ptr) - 1);
	for (size_t i = 0; i < line->len; i++)
		if ((line->ptr[i] < 0x20 && line->ptr[i] != '\t') || line->ptr[i] == 0x7f)
			return false;
	rest->ptr = end + 1;
	rest->len -= line->len + 2;
	return true;
}

/* "HTTP/1.1 200 OK" */
static bool parse_status(struct bole_bytes line, struct client_answer *out)
{
	const uint8_t *p = line.ptr;

	if (line.len < 12 || memcmp(p, "HTTP/1.", 7) != 0 || (p[7] != '0' && p[7] != '1') ||
	    p[8] != ' ' || (line.len > 12 && p[12] != ' '))
		return false;
	out->minor = (unsigned)(p[7] - '0');
	for (size_t i = 9; i < 12; i++) {
		if (p[i] < '0' || p[i] > '9')
			return false;
		out->status = out->status * 10 + (unsigned)(p[i] - '0');
	}
	return out->status >= 100;
}

static bool parse_length(struct bole_bytes value, struct client_answer *out)
{
	uint64_t length = 0;

	if (value.len == 0 || value.len > 18 || out->has_length)
		return false;
	for (size_t i = 0; i < value.len; i++) {
		if (value.ptr[i] < '0' || value.ptr[i] > '9')
			return false;
		length = length * 10 + (uint64_t)(value.ptr[i] - '0');
	}
	out->length = length;
	out->has_length = true;
	return true;
}

static bool list_has(struct bole_bytes list, const char *word)
{
	while (list.len > 0) {
		const uint8_t *comma = memchr(list.ptr, ',', list.len);
		size_t len = comma == NULL ? list.len : (size_t)(comma - list.ptr);

		if (bole_http_is(trim(bole_bytes_of(list.ptr, len)), word))
			return true;
		list.ptr += comma == NULL ? len : len + 1;
		list.len -= comma == NULL ? len : len + 1;
	}
	return false;
}

static bool parse_field(struct bole_bytes line, struct client_answer *out)
{
	const uint8_t *colon = memchr(line.ptr, ':', line.len);

	if (colon == NULL || colon == line.ptr || colon[-1] == ' ' || colon[-1] == '\t' ||
	    line.ptr[0] == ' ' || line.ptr[0] == '\t')
		return false;
	struct bole_bytes name = bole_bytes_of(line.ptr, (size_t)(colon - line.ptr));
	struct bole_bytes value = trim(bole_bytes_of(colon + 1, line.len - name.len - 1));
	if (bole_http_is(name, "content-length"))
		return parse_length(value, out);
	if (bole_http_is(name, "transfer-encoding")) {
		bool right = !out->chunked && bole_http_is(value, "chunked");

		out->chunked = true;
		return right;
	}
	if (bole_http_is(name, "content-type")) {
		const uint8_t *end = memchr(value.ptr, ';', value.len);

		out->type = end == NULL ? value
		                        : trim(bole_bytes_of(value.ptr, (size_t)(end - value.ptr)));
	} else if (bole_http_is(name, "content-encoding")) {
		out->coded = !bole_http_is(value, "identity");
	} else if (bole_http_is(name, "location")) {
		out->location = value;
	} else if (bole_http_is(name, "retry-after")) {
		out->retry_after = value;
	} else if (bole_http_is(name, "etag")) {
		out->etag = value;
	} else if (bole_http_is(name, "content-range")) {
		out->range = value;
	} else if (bole_http_is(name, "connection")) {
		out->close = out->close || list_has(value, "close");
	}
	return true;
}

enum bole_status bole_client_answer_parse(struct bole_bytes head, struct client_answer *out,
                                          const char **why)
{
	struct bole_bytes line;
	unsigned fields = 0;

	*out = (struct client_answer){.status = 0};
	*why = "the answer is no HTTP";
	if (!next_line(&head, &line) || !parse_status(line, out))
		return BOLE_E_INVALID;
	*why = "the head of the answer is malformed";
	out->close = out->minor == 0;
	for (;;) {
		if (!next_line(&head, &line) || ++fields > BOLE_HTTP_FIELDS_MAX)
			return BOLE_E_INVALID;
		if (line.len == 0)
			break;
		if (!parse_field(line, out))
			return BOLE_E_INVALID;
	}
	*why = "the answer has two lengths";
	return out->chunked && out->has_length ? BOLE_E_INVALID : BOLE_OK;
}

/* -- Reading it -- */

static enum bole_status fill(struct client_http *h)
{
	size_t got = 0;

	if (h->in_pos == h->in_len)
		h->in_pos = h->in_len = 0;
	enum bole_status rc =
	        bole_client_wire_read(&h->wire, h->in + h->in_len, sizeof h->in - h->in_len, &got);
	h->in_len += got;
	return rc;
}

static enum bole_status read_one_head(struct client_http *h)
{
	size_t scanned = 0;
	const char *why;
	size_t len;

	memmove(h->in, h->in + h->in_pos, h->in_len - h->in_pos);
	h->in_len -= h->in_pos;
	h->in_pos = 0;
	while ((len = bole_http_head_end(bole_bytes_of(h->in, h->in_len), &scanned)) == 0) {
		if (h->in_len == sizeof h->in)
			return bole_client_http_fail(h, BOLE_E_LIMIT,
			                             "the head of the answer is too long");
		enum bole_status rc = fill(h);
		if (rc != BOLE_OK)
			return bole_client_http_fail(h, rc == BOLE_END ? BOLE_E_CLOSED : rc, "%s",
			                             bole_client_wire_text(rc));
	}
	if (bole_client_answer_parse(bole_bytes_of(h->in, len), &h->answer, &why) != BOLE_OK)
		return bole_client_http_fail(h, BOLE_E_INVALID, "%s", why);
	h->in_pos = len;
	return BOLE_OK;
}

enum bole_status bole_client_http_read_head(struct client_http *h)
{
	for (unsigned i = 0; i < CLIENT_INTERIM_MAX; i++) {
		BOLE_TRY(read_one_head(h));
		if (h->answer.status >= 200) {
			h->chunks = (struct bole_http_chunks){.left = 0};
			h->left = h->answer.length;
			h->ended = !h->answer.chunked && h->answer.has_length && h->left == 0;
			h->rc = BOLE_OK;
			return BOLE_OK;
		}
	}
	return bole_client_http_fail(h, BOLE_E_LIMIT, "the server never comes to its answer");
}

static enum bole_status cut(struct client_http *h, enum bole_status rc)
{
	if (rc == BOLE_END)
		return bole_client_http_fail(h, BOLE_E_CLOSED, "the answer is cut short");
	return bole_client_http_fail(h, rc, "%s", bole_client_wire_text(rc));
}

static enum bole_status read_chunked(struct client_http *h, void *dst, size_t cap, size_t *got)
{
	for (;;) {
		struct bole_bytes in = bole_bytes_of(h->in + h->in_pos, h->in_len - h->in_pos);
		struct bole_bytes data;

		/* No more of a chunk than there is room for. */
		if (in.len > cap && h->chunks.state == BOLE_CHUNK_DATA)
			in.len = cap;
		enum bole_status rc = bole_http_chunks_next(&h->chunks, &in, &data);
		if (rc == BOLE_OK && data.len > cap) {
			/* The size line was in the same piece: give back what is too much. */
			size_t over = data.len - cap;

			data.len = cap;
			in.ptr -= over;
			if (h->chunks.state == BOLE_CHUNK_DATA_CR)
				h->chunks.state = BOLE_CHUNK_DATA;
			h->chunks.left += over;
		}
		h->in_pos = (size_t)(in.ptr - h->in);
		if (rc == BOLE_OK) {
			memcpy(dst, data.ptr, data.len);
			*got = data.len;
			return BOLE_OK;
		}
		if (rc == BOLE_END)
			h->ended = true;
		if (rc == BOLE_END || rc < 0)
			return rc == BOLE_END ? rc
			                      : bole_client_http_fail(
			                                h, BOLE_E_INVALID,
			                                "a chunk of the answer is malformed");
		rc = fill(h);
		if (rc != BOLE_OK)
			return cut(h, rc);
	}
}

enum bole_status bole_client_http_read_body(struct client_http *h, void *dst, size_t cap,
                                            size_t *got)
{
	*got = 0;
	if (h->rc != BOLE_OK || h->ended)
		return h->rc != BOLE_OK ? h->rc : BOLE_END;
	if (h->answer.chunked) {
		h->rc = read_chunked(h, dst, cap, got);
		return h->rc;
	}
	if (h->answer.has_length && cap > h->left)
		cap = (size_t)h->left;
	if (h->in_pos == h->in_len) {
		enum bole_status rc = fill(h);

		if (rc == BOLE_END && !h->answer.has_length)
			h->ended = true; /* the end of the stream is that of the answer */
		else if (rc != BOLE_OK)
			rc = cut(h, rc);
		h->rc = rc;
		if (rc != BOLE_OK)
			return rc;
	}
	size_t n = h->in_len - h->in_pos < cap ? h->in_len - h->in_pos : cap;
	memcpy(dst, h->in + h->in_pos, n);
	h->in_pos += n;
	h->left -= h->answer.has_length ? n : 0;
	h->ended = h->answer.has_length && h->left == 0;
	*got = n;
	return BOLE_OK;
}
