/* SPDX-License-Identifier: ISC */
/* The ids that the lines of a listing name, as a set: whether something may be wanted is asked of
 * it, not of every reference. It is made of one listing and serves those that come after it as
 * well: what differs is told by the pieces that they do not share. */
#ifndef BOLE_GIT_REFS_TIPS_H
#define BOLE_GIT_REFS_TIPS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "git/negotiate.h"
#include "git/object/oid_map.h"
#include "git/refs/listing.h"

enum { BOLE_REF_TIPS_PIECES_MIN = 4 }; /* a shorter listing is as soon gone through */

struct bole_ref_tips {
	_Atomic uint32_t holders;
	struct bole_alloc *alloc;
	struct bole_ref_piece **pieces; /* held, in the order of the listing */
	size_t count;
	struct bole_oid_map ids; /* each with the first piece that names it */
	size_t bytes;            /* of memory, with all pieces, which nobody else may hold later */
};

BOLE_MUST_USE enum bole_status bole_ref_tips_make(struct bole_session *, struct bole_alloc *,
                                                  const struct bole_ref_listing *,
                                                  struct bole_ref_tips **out);
struct bole_ref_tips *bole_ref_tips_retain(struct bole_ref_tips *);
/* NULL is fine. */
void bole_ref_tips_release(struct bole_ref_tips *);
/* The listing has enough of the pieces that they were made of. */
bool bole_ref_tips_near(const struct bole_ref_tips *, const struct bole_ref_listing *);
/* Sets found[i] to 1 for ids that a line of the listing names, which is of the same view and format
 * as that which the tips were made of. *sure: it names no other of them. */
BOLE_MUST_USE enum bole_status bole_ref_tips_find(struct bole_session *,
                                                  const struct bole_ref_tips *,
                                                  const struct bole_ref_listing *,
                                                  const struct bole_id_list *ids, uint8_t *found,
                                                  bool *sure);

#endif /* BOLE_GIT_REFS_TIPS_H */
