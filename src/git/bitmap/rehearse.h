/* SPDX-License-Identifier: ISC */
/* Clones for nobody: what the first client would have to find out. */
#ifndef BOLE_GIT_BITMAP_REHEARSE_H
#define BOLE_GIT_BITMAP_REHEARSE_H

#include "git/bitmap/wholes.h"

/* Of everything: which extent goes out as it is, and its hash. What fails is found out by the first
 * client. */
void bole_bitmap_rehearse(const struct bole_bitmap_job *, struct bole_bitmap *);
/* Of depth 1, of each closure: what must be made whole. */
BOLE_MUST_USE enum bole_status bole_bitmap_rehearse_near(const struct bole_bitmap_job *,
                                                         struct bole_bitmap *,
                                                         struct bole_wholes *);

#endif /* BOLE_GIT_BITMAP_REHEARSE_H */
