/* SPDX-License-Identifier: ISC */
/* Attributes of paths (gitattributes(5)), as far as trees tell them: one file for each folder on
 * the way, the nearest first, the last line first; macros, which only the root's file may define.
 *
 * Files come from whoever may push (git's CVE-2022-23521 was in this parser): every count here has
 * a limit, and a line of more than 2,048 bytes does not count, as in Git. */
#ifndef BOLE_GIT_ATTRIBUTES_H
#define BOLE_GIT_ATTRIBUTES_H

#include "git/pattern/path_pattern.h"

enum {
	BOLE_ATTRIBUTES_BYTES_MAX = 1 << 20, /* of one file */
	BOLE_ATTRIBUTES_LINES_MAX = 16384,   /* that say something, of one file */
	BOLE_ATTRIBUTES_NAMES_MAX = 1024,    /* different ones, of all files */
	BOLE_ATTRIBUTES_LINE_MAX = 2048,
};
#define BOLE_ATTRIBUTES_WORK_MAX (UINT64_C(1) << 31) /* steps of all questions: seconds */

enum bole_attribute_state {
	BOLE_ATTRIBUTE_UNSPECIFIED, /* nothing said, or "!name" */
	BOLE_ATTRIBUTE_SET,
	BOLE_ATTRIBUTE_UNSET, /* "-name" */
	BOLE_ATTRIBUTE_VALUE, /* "name=value" */
};

struct bole_attribute {
	enum bole_attribute_state state;
	struct bole_bytes value; /* of the file, while it is there */
};

struct bole_attributes;

BOLE_MUST_USE enum bole_status bole_attributes_open(struct bole_alloc *,
                                                    struct bole_attributes **out);
/* NULL is fine. */
void bole_attributes_close(struct bole_attributes *);
/* Enters a folder with the content of its file (empty: it has none). folder_len: bytes of its path,
 * 0 for the root, which comes first. The file is copied. BOLE_E_LIMIT, BOLE_E_NO_MEMORY: as before.
 */
BOLE_MUST_USE enum bole_status bole_attributes_enter(struct bole_attributes *, size_t folder_len,
                                                     struct bole_bytes file);
/* Leaves the folder that was entered last. */
void bole_attributes_leave(struct bole_attributes *);
/* The attribute of a path from the root, which lies in the folder that was entered last. A folder's
 * own attributes are asked for in the folder above it. BOLE_E_LIMIT: too much work in all. */
BOLE_MUST_USE enum bole_status bole_attributes_get(struct bole_attributes *, struct bole_bytes path,
                                                   bool folder, const char *name,
                                                   struct bole_attribute *out);

#endif /* BOLE_GIT_ATTRIBUTES_H */
