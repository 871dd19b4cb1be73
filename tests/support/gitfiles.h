/* SPDX-License-Identifier: ISC */
/* Files that git has made, or shall judge: a scratch folder with a shell in it. */
#ifndef BOLE_TESTS_GITFILES_H
#define BOLE_TESTS_GITFILES_H

#include "base/memory.h"
#include "bole/oid.h"
#include "support/platform.h"

struct gitfiles {
	struct test_platform test;
	char folder[64];
	uint8_t algo;
};
/* Git's default object format in the folder is algo. */
void gitfiles_open(struct gitfiles *, uint8_t algo);
void gitfiles_close(struct gitfiles *);
/* Runs a script there; returns its exit code. */
int gitfiles_try(struct gitfiles *, const char *script);
/* The same; it must succeed. */
void gitfiles_sh(struct gitfiles *, const char *script);
/* A file by its shell pattern, whole; free() it. */
struct bole_bytes gitfiles_read(struct gitfiles *, const char *pattern);
void gitfiles_write(struct gitfiles *, const char *name, struct bole_bytes);
/* The next line of a file that was read, without its LF and with a NUL instead of it; NULL at the
 * end. */
char *gitfiles_line(struct bole_bytes *rest);
/* A history with merges, an octopus, tags, dates that run backwards: folder "w", `commits` of it,
 * branches b0.. */
void gitfiles_history(struct gitfiles *, unsigned commits);

#endif /* BOLE_TESTS_GITFILES_H */
