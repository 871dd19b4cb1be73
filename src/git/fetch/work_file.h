/* SPDX-License-Identifier: ISC */
/* A file as a work tree has it: line ends and "$Id$" (gitattributes(5), "text", "eol", "ident"). */
#ifndef BOLE_GIT_WORK_FILE_H
#define BOLE_GIT_WORK_FILE_H

#include "base/memory.h"
#include "bole/oid.h"
#include "git/pattern/attributes.h"

enum bole_line_ends {
	BOLE_LINE_ENDS_KEPT,
	BOLE_LINE_ENDS_CRLF,      /* each LF becomes CRLF */
	BOLE_LINE_ENDS_CRLF_AUTO, /* in what looks like text and has no CR */
};

/* What the attributes of a path ask for. The line ends of this platform are LF. */
BOLE_MUST_USE enum bole_status bole_line_ends_of(struct bole_attributes *, struct bole_bytes path,
                                                 enum bole_line_ends *out);
/* Appends the file with other line ends; false: there is nothing to change, and nothing appended.
 */
bool bole_line_ends_apply(enum bole_line_ends, struct bole_bytes file, struct bole_buffer *);
/* Appends the file with the id of its blob in every "$Id$". */
void bole_ident_apply(const struct bole_oid *, struct bole_bytes file, struct bole_buffer *);

#endif /* BOLE_GIT_WORK_FILE_H */
