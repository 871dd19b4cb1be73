/* SPDX-License-Identifier: ISC */
/* Patterns for paths, as gitignore(5) says: one without '/' is for the last part of a path, any
 * other for the whole from the folder on that the pattern belongs to; one that ends in '/' is for
 * folders only. */
#ifndef BOLE_GIT_PATH_PATTERN_H
#define BOLE_GIT_PATH_PATTERN_H

#include "git/pattern/glob.h"

struct bole_path_pattern {
	bool negative;          /* began with '!' */
	bool folders_only;      /* ended in '/' */
	bool last_part;         /* has no other '/' */
	bool suffix;            /* is '*' and text */
	struct bole_bytes text; /* compared as it is: before the glob, or after the '*' */
	struct bole_glob glob;
	bool globs;
};

/* text may be borrowed from it on. BOLE_E_LIMIT, BOLE_E_NO_MEMORY as bole_glob_compile. */
BOLE_MUST_USE enum bole_status bole_path_pattern_parse(struct bole_path_pattern *,
                                                       struct bole_arena *, struct bole_bytes text);
/* path: without a slash at its ends. *work as bole_glob_match. */
bool bole_path_pattern_match(const struct bole_path_pattern *, struct bole_bytes path, bool folder,
                             uint64_t *work);

/* The lines of a file like .gitignore; the last pattern that fits decides. */
enum {
	BOLE_PATTERNS_MAX = 4096,
	BOLE_PATTERNS_BYTES_MAX = 64 * 1024,
};
struct bole_path_patterns {
	struct bole_arena arena;
	struct bole_path_pattern *rows;
	size_t count;
};

enum bole_path_match {
	BOLE_PATH_UNDECIDED, /* no pattern fits */
	BOLE_PATH_MATCHED,
	BOLE_PATH_NOT_MATCHED, /* a negative one */
};

/* What it reads is copied. BOLE_E_LIMIT: above the limits. BOLE_E_NO_MEMORY. */
BOLE_MUST_USE enum bole_status
bole_path_patterns_parse(struct bole_path_patterns *, struct bole_alloc *, struct bole_bytes file);
/* Safe on a zeroed struct. */
void bole_path_patterns_release(struct bole_path_patterns *);
enum bole_path_match bole_path_patterns_match(const struct bole_path_patterns *,
                                              struct bole_bytes path, bool folder, uint64_t *work);

#endif /* BOLE_GIT_PATH_PATTERN_H */
