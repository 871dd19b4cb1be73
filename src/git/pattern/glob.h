/* SPDX-License-Identifier: ISC */
/* Git's glob patterns (gitignore(5), gitattributes(5), fnmatch of POSIX with "**"): `*`, `?`,
 * `[…]` with classes, `\`. A pattern becomes a small machine that is run with all its states at
 * once (Thompson, "Regular expression search algorithm", 1968), so that no pattern costs more than
 * its length times that of the text. Patterns come from whoever may push. */
#ifndef BOLE_GIT_GLOB_H
#define BOLE_GIT_GLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "bole/types.h"

enum { BOLE_GLOB_BYTES_MAX = 1023 };

struct bole_glob_part;

struct bole_glob {
	const struct bole_glob_part *parts; /* of the arena */
	uint32_t count;
	bool never; /* malformed: Git lets such a pattern match nothing */
};

/* `*`, `?` and `[…]` leave '/' alone, and only a "**" between slashes goes across. The pattern
 * holds no zero byte. BOLE_E_LIMIT: longer than BOLE_GLOB_BYTES_MAX. BOLE_E_NO_MEMORY. */
BOLE_MUST_USE enum bole_status bole_glob_compile(struct bole_glob *, struct bole_arena *,
                                                 struct bole_bytes pattern);
/* The whole text matches. *work grows by what it cost: words of states looked at. */
bool bole_glob_match(const struct bole_glob *, struct bole_bytes text, uint64_t *work);

/* How many bytes of a pattern stand for themselves, from its first byte on. */
size_t bole_glob_plain(struct bole_bytes pattern);

#endif /* BOLE_GIT_GLOB_H */
