/* SPDX-License-Identifier: ISC */
/* HTTP/1.1 as steps over bytes (RFC 9110, RFC 9112): heads, paths, chunked bodies. No I/O and no
 * allocation, so that it can be fuzzed. Strict where leniency lets two parsers disagree: only CRLF
 * ends a line, no folding, one Content-Length or "chunked" and never both. */
#ifndef BOLE_NODE_HTTP_PARSE_H
#define BOLE_NODE_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/limits.h"
#include "bole/types.h"

enum {
	BOLE_HTTP_HEAD_MAX = 16 * 1024, /* request line and fields; 431 beyond */
	BOLE_HTTP_TARGET_MAX = 4096,    /* 414 beyond */
	BOLE_HTTP_FIELDS_MAX = 100,     /* 431 beyond */
	BOLE_HTTP_BLANK_LINES_MAX = 4,  /* skipped before a request line */
	BOLE_HTTP_PATH_MAX = 1024,      /* of a decoded path; 414 beyond */
	BOLE_HTTP_CHUNK_LINE_MAX = 256, /* size and extensions */
	BOLE_HTTP_TRAILERS_MAX = 4096,
};

enum bole_http_method {
	BOLE_HTTP_GET,
	BOLE_HTTP_HEAD,
	BOLE_HTTP_POST,
	BOLE_HTTP_PUT,
	BOLE_HTTP_OPTIONS,
};

/* What a head says; all text is borrowed from it, empty where absent. */
struct bole_http_request {
	enum bole_http_method method;
	unsigned minor; /* HTTP/1.minor, 0 or 1 */
	struct bole_bytes target;
	struct bole_bytes host;
	struct bole_bytes content_type; /* without parameters */
	struct bole_bytes content_encoding;
	struct bole_bytes git_protocol;
	struct bole_bytes user_agent;
	struct bole_bytes authorization;
	struct bole_bytes origin;
	struct bole_bytes range;
	uint64_t content_length;
	bool has_length;
	bool chunked;
	bool expect_continue;
	bool close; /* Connection: close, or HTTP/1.0 */
};

/* Why a request is refused: an HTTP status and a line for the client. */
struct bole_http_refusal {
	unsigned status;
	const char *why;
};

/* The length of the first head in data, up to and with its empty line; 0 while there is none.
 * *scanned starts at 0 and keeps what needs no second look as data grows. */
size_t bole_http_head_end(struct bole_bytes data, size_t *scanned);
/* head as bole_http_head_end cut it. BOLE_E_INVALID: *refusal says why. */
BOLE_MUST_USE enum bole_status bole_http_parse_head(struct bole_bytes head,
                                                    struct bole_http_request *out,
                                                    struct bole_http_refusal *refusal);
/* The path of a target, decoded, with its leading '/', and NUL; and its query, raw. Refuses
 * whatever could name something else after decoding: "." and ".." and empty segments, NUL and
 * control bytes, backslashes, encoded slashes. */
BOLE_MUST_USE enum bole_status bole_http_parse_target(struct bole_bytes target,
                                                      char path[BOLE_HTTP_PATH_MAX],
                                                      struct bole_bytes *query,
                                                      struct bole_http_refusal *refusal);
/* The value of name in a query ("a=b&c=d"), raw; false if it is not there. */
bool bole_http_query_get(struct bole_bytes query, const char *name, struct bole_bytes *out);
/* A Range of one span of `size` bytes (RFC 9110, 14.1.2): BOLE_OK with what of them is meant,
 * BOLE_E_LIMIT when none is there (416), BOLE_E_INVALID when it is to be ignored: another unit,
 * several spans, malformed. */
BOLE_MUST_USE enum bole_status bole_http_parse_range(struct bole_bytes range, uint64_t size,
                                                     uint64_t *first, uint64_t *len);
/* a is word, whatever the case. */
bool bole_http_is(struct bole_bytes a, const char *word);

/* A chunked body. */
struct bole_http_chunks {
	enum {
		BOLE_CHUNK_SIZE,
		BOLE_CHUNK_EXTENSION,
		BOLE_CHUNK_SIZE_LF,
		BOLE_CHUNK_DATA,
		BOLE_CHUNK_DATA_CR,
		BOLE_CHUNK_DATA_LF,
		BOLE_CHUNK_TRAILER,
		BOLE_CHUNK_TRAILER_LF,
		BOLE_CHUNK_DONE,
	} state;
	uint64_t left; /* of the chunk */
	unsigned digits;
	unsigned line_bytes;
	unsigned trailer_bytes;
};
/* Zeroed struct = start. Takes bytes off *in. BOLE_OK: *data (borrowed from in) is 1.. bytes of the
 * body; BOLE_AGAIN: all of in was taken, more is needed; BOLE_END: the body is complete, what is
 * left in *in comes after it; BOLE_E_INVALID; BOLE_E_LIMIT. */
BOLE_MUST_USE enum bole_status
bole_http_chunks_next(struct bole_http_chunks *, struct bole_bytes *in, struct bole_bytes *data);

#endif /* BOLE_NODE_HTTP_PARSE_H */
