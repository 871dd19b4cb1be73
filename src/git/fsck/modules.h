/* SPDX-License-Identifier: ISC */
/* A small reader of git-config(1) text, as Git reads .gitmodules: sections with a quoted
 * subsection, and their values, unescaped. */
#ifndef BOLE_GIT_FSCK_MODULES_H
#define BOLE_GIT_FSCK_MODULES_H

#include <stdbool.h>

#include "base/memory.h"
#include "bole/types.h"

struct bole_modules {
	struct bole_bytes rest;
	struct bole_buffer section; /* in lower case; with a dot and the subsection as it is */
	struct bole_buffer key;     /* in lower case */
	struct bole_buffer value;
	bool has_subsection;
	size_t section_len; /* of the part before the dot */
	bool has_value;
};
void bole_modules_init(struct bole_modules *, struct bole_alloc *, struct bole_bytes text);
void bole_modules_release(struct bole_modules *);
/* The next key. BOLE_OK, BOLE_END, BOLE_E_INVALID (Git would stop here too), BOLE_E_NO_MEMORY. */
BOLE_MUST_USE enum bole_status bole_modules_next(struct bole_modules *);

/* False: a name, address, … that a client might act on in ways its user did not ask for. */
bool bole_submodule_name_safe(struct bole_bytes name);
bool bole_submodule_url_safe(struct bole_bytes url);

#endif /* BOLE_GIT_FSCK_MODULES_H */
