/* SPDX-License-Identifier: ISC */
/* A sort for lists whose length a peer chooses: stable, n log n for any input, and it yields. */
#ifndef BOLE_BASE_SORT_H
#define BOLE_BASE_SORT_H

#include <stddef.h>

#include "bole/alloc.h"
#include "bole/platform.h"
#include "bole/types.h"

/* Needs as much memory again while it runs. BOLE_E_NO_MEMORY: items are as they were. */
BOLE_MUST_USE enum bole_status bole_sort(struct bole_platform *, struct bole_alloc *, void *items,
                                         size_t count, size_t width,
                                         int (*compare)(const void *, const void *));

#endif /* BOLE_BASE_SORT_H */
