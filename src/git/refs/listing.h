/* SPDX-License-Identifier: ISC */
/* The references that a client sees, as the lines that go to it, made once: pieces of text that
 * versions of a listing share, so that one more reference costs a piece. */
#ifndef BOLE_GIT_REFS_LISTING_H
#define BOLE_GIT_REFS_LISTING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/limits.h"
#include "bole/refs.h"
#include "git/service/service_impl.h"

enum {
	BOLE_REF_LINES_BYTES = 2 * (2 * BOLE_REF_NAME_MAX + 2 * BOLE_OID_HEX_MAX + 64),
	BOLE_REF_PIECE_LINES = 128,     /* references of a piece */
	BOLE_REF_PIECE_BYTES = 1 << 14, /* of its text, a reference more or less */
};

enum bole_ref_style {
	BOLE_REF_STYLE_UPLOAD,  /* versions 0 and 1, with peeled tags */
	BOLE_REF_STYLE_RECEIVE, /* the same without, and without HEAD */
	BOLE_REF_STYLE_LS,      /* version 2 */
};

/* What lines look like. The switches are of version 2. */
struct bole_ref_format {
	enum bole_ref_style style;
	bool peel;
	bool symrefs;
	bool unborn;
};

/* The packets of one reference; *len 0: it is not listed. */
BOLE_MUST_USE enum bole_status bole_ref_lines(struct bole_session *, const struct bole_ref_format *,
                                              const struct bole_ref *,
                                              uint8_t dst[BOLE_REF_LINES_BYTES], size_t *len);
/* The name in such a packet, and the length of the packet. */
struct bole_bytes bole_ref_line_name(struct bole_bytes line);
size_t bole_ref_line_bytes(const uint8_t *line);
/* The ids in it, of what is named and what that peels to; their number. */
size_t bole_ref_line_ids(struct bole_bytes line, uint8_t algo, struct bole_oid ids[2]);

/* The references from the bound on, up to that of the next piece; the first begins with all. */
struct bole_ref_piece {
	_Atomic uint32_t holders;
	uint32_t bound_bytes;
	uint32_t text_bytes;
	bool symbolic; /* what some of them show depends on others */
	uint8_t bytes[];
};

void bole_ref_piece_release(struct bole_alloc *, struct bole_ref_piece *);
static inline struct bole_bytes bole_ref_piece_bound(const struct bole_ref_piece *piece)
{
	return (struct bole_bytes){piece->bytes, piece->bound_bytes};
}
static inline struct bole_bytes bole_ref_piece_text(const struct bole_ref_piece *piece)
{
	return (struct bole_bytes){piece->bytes + piece->bound_bytes, piece->text_bytes};
}

struct bole_ref_listing {
	_Atomic uint32_t holders;
	struct bole_alloc *alloc;
	struct bole_store *store;
	struct bole_ref_version *version; /* held */
	struct bole_ref_piece **pieces;
	size_t count;
	size_t cap;
	size_t bytes; /* of memory */
	bool vague;   /* something could not be read: not for others */
};

/* The listing of the session's snapshot. old: one of the same view and format to take pieces from,
 * or NULL. BOLE_E_LIMIT: more than bytes_max. */
BOLE_MUST_USE enum bole_status bole_ref_listing_make(struct bole_session *,
                                                     const struct bole_ref_format *,
                                                     struct bole_alloc *, size_t bytes_max,
                                                     const struct bole_ref_listing *old,
                                                     struct bole_ref_listing **out);
/* NULL is fine. */
void bole_ref_listing_release(struct bole_ref_listing *);
/* Where the lines begin whose names are not below `name`: a piece and a position in its text. */
void bole_ref_listing_seek(const struct bole_ref_listing *, struct bole_bytes name, size_t *piece,
                           size_t *at);

/* Writes the lines of the references that the client sees and whose names start with one of the
 * prefixes, which are sorted and do not overlap. caps: for the first line of them, else NULL; *any:
 * there was one. Takes them from the service's cache where it has one. */
BOLE_MUST_USE enum bole_status bole_refs_show(struct bole_session *, const struct bole_ref_format *,
                                              const struct bole_bytes *prefixes, size_t count,
                                              const char *caps, bool *any);

#endif /* BOLE_GIT_REFS_LISTING_H */
