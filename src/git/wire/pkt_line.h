/* SPDX-License-Identifier: ISC */
/* pkt-lines (gitprotocol-common(5)): four hex digits of length, then the data. The reader takes
 * hostile bytes; the writer is straight-line code over a bole_output with its sticky error. */
#ifndef BOLE_GIT_PKT_LINE_H
#define BOLE_GIT_PKT_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/io.h"
#include "bole/alloc.h"
#include "bole/limits.h"
#include "bole/oid.h"
#include "bole/types.h"

enum {
	BOLE_PKT_HEAD_BYTES = 4,
	BOLE_PKT_DATA_MAX = BOLE_PKT_BYTES_MAX - BOLE_PKT_HEAD_BYTES,
	BOLE_PKT_LINE_MAX = 4096, /* what bole_pkt_line builds: two names and two ids fit */
};
_Static_assert(BOLE_PKT_LINE_MAX >= 2 * BOLE_REF_NAME_MAX + 2 * BOLE_OID_HEX_MAX + 256,
               "a reference with its target and attributes fits one built line");

enum bole_pkt_type {
	BOLE_PKT_DATA,
	BOLE_PKT_FLUSH,        /* 0000 */
	BOLE_PKT_DELIM,        /* 0001, version 2 only */
	BOLE_PKT_RESPONSE_END, /* 0002, version 2 only, never sent to a server */
};

/* Borrowed until the next read. line is data without one trailing LF. */
struct bole_pkt {
	enum bole_pkt_type type;
	struct bole_bytes data;
	struct bole_bytes line;
};

/* Never takes a byte beyond the packet that it returns, so a pack may follow. A packet longer than
 * the input's buffer is gathered in memory from alloc. */
struct bole_pkt_reader {
	struct bole_input *in;
	struct bole_alloc *alloc;
	uint8_t *buf;
	size_t cap;
	const char *why; /* static text: what was wrong, after BOLE_E_INVALID */
};
void bole_pkt_reader_init(struct bole_pkt_reader *, struct bole_input *, struct bole_alloc *);
void bole_pkt_reader_release(struct bole_pkt_reader *);
/* BOLE_OK; BOLE_END at the end of the stream between two packets; BOLE_E_INVALID (why says what is
 * wrong); BOLE_E_NO_MEMORY; what reading returned. */
BOLE_MUST_USE enum bole_status bole_pkt_read(struct bole_pkt_reader *, struct bole_pkt *out);
/* The line is `word` followed by a space: then *rest is what follows. */
static inline bool bole_pkt_word(struct bole_bytes line, const char *word, struct bole_bytes *rest)
{
	size_t len = strlen(word); /* mostly a constant */

	if (line.len <= len || memcmp(line.ptr, word, len) != 0 || line.ptr[len] != ' ')
		return false;
	*rest = (struct bole_bytes){line.ptr + len + 1, line.len - len - 1};
	return true;
}
bool bole_pkt_is(struct bole_bytes line, const char *text);

/* data.len <= BOLE_PKT_DATA_MAX. */
void bole_pkt_write(struct bole_output *, struct bole_bytes data);
void bole_pkt_text(struct bole_output *, const char *text);
void bole_pkt_flush(struct bole_output *);
void bole_pkt_delim(struct bole_output *);
/* Four lower-case hex digits of a packet of data_len bytes of data. */
void bole_pkt_head(uint8_t head[4], size_t data_len);

/* One packet in the making. What does not fit is cut: callers bound what they add. */
struct bole_pkt_line {
	size_t len; /* of bytes, head included */
	uint8_t bytes[BOLE_PKT_LINE_MAX];
};
void bole_pkt_line_init(struct bole_pkt_line *);
void bole_pkt_line_bytes(struct bole_pkt_line *, struct bole_bytes);
void bole_pkt_line_text(struct bole_pkt_line *, const char *);
void bole_pkt_line_oid(struct bole_pkt_line *, const struct bole_oid *);
/* Sets the head and writes the packet. */
void bole_pkt_line_write(struct bole_pkt_line *, struct bole_output *);

#endif /* BOLE_GIT_PKT_LINE_H */
