/* SPDX-License-Identifier: ISC */
/* What an object finally names: tags are followed. */
#ifndef BOLE_GIT_PEEL_H
#define BOLE_GIT_PEEL_H

#include "git/object/read.h"

enum { BOLE_PEEL_MAX = 32 };
/* *type: of *out. BOLE_E_LIMIT: a chain too deep; or as bole_object_read. */
BOLE_MUST_USE enum bole_status bole_object_peel(struct bole_object_reader *, uint8_t algo,
                                                const struct bole_oid *, struct bole_oid *out,
                                                uint8_t *type);

#endif /* BOLE_GIT_PEEL_H */
