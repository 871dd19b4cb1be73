/* SPDX-License-Identifier: ISC */
/* Listings of references that were shown lately, for whoever asks next: one for each repository,
 * view and format. When the references have changed since, the next request makes the pieces anew
 * that differ. Any fiber or thread. */
#ifndef BOLE_GIT_REFS_CACHE_H
#define BOLE_GIT_REFS_CACHE_H

#include <stddef.h>

#include "bole/platform.h"
#include "git/negotiate.h"
#include "git/refs/listing.h"

struct bole_ref_cache;

/* bytes_max: of all listings that are kept; one may take a quarter. */
BOLE_MUST_USE enum bole_status bole_ref_cache_open(struct bole_platform *, struct bole_alloc *,
                                                   size_t bytes_max, struct bole_ref_cache **out);
/* NULL is fine. Nobody uses it any more, and the store is still open. */
void bole_ref_cache_close(struct bole_ref_cache *);
/* The listing of the session's snapshot, retained, or NULL: then the caller goes through the
 * references himself. BOLE_E_CLOSED: the client hung up. */
BOLE_MUST_USE enum bole_status bole_ref_cache_get(struct bole_session *,
                                                  const struct bole_ref_format *,
                                                  struct bole_ref_listing **out);
/* Sets found[i] to 1 for ids that a reference of the session's view names or peels to, as far as
 * that is kept; *sure: there are no others of them. */
BOLE_MUST_USE enum bole_status bole_ref_cache_tips(struct bole_session *,
                                                   const struct bole_id_list *ids, uint8_t *found,
                                                   bool *sure);
/* Makes the listings that the next clients will ask for: of a fetch in each version, or of a push
 * (`push`), in the view of the service's policy, with the tips of its version. svc needs no
 * streams. BOLE_E_CLOSED: cancelled. */
BOLE_MUST_USE enum bole_status bole_ref_cache_warm(struct bole_service *, bool push);

#endif /* BOLE_GIT_REFS_CACHE_H */
