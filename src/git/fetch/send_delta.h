/* SPDX-License-Identifier: ISC */
/* Deltas made for one request: what would go out whole goes as a delta of the version that the
 * receiver has at the same path. The sets know paths by their hashes, so that no tree is read. */
#ifndef BOLE_GIT_SEND_DELTA_H
#define BOLE_GIT_SEND_DELTA_H

#include "git/fetch/pack_emit_impl.h"

struct send_deltas;

/* *out may be NULL: none would pay. BOLE_E_CLOSED, BOLE_E_NO_MEMORY. */
BOLE_MUST_USE enum bole_status bole_send_deltas_open(struct emission *, struct bole_pick *,
                                                     struct send_deltas **out);
/* NULL is fine. */
void bole_send_deltas_close(struct send_deltas *);
/* It is worth a look whether the object at a position, which would take so many bytes in the pack
 * (0 = nobody knows), has a base. sd may be NULL. */
bool bole_send_delta_pays(const struct send_deltas *sd, uint32_t position, uint64_t bytes);

struct send_delta {
	uint32_t base; /* its position */
	struct bole_oid oid;
	size_t len; /* inflated */
	struct bole_bytes
	        deflated; /* borrowed until the next call; empty = the object goes another way */
};
/* Makes the delta of an object. Ends what is borrowed from the snapshot. BOLE_E_CLOSED,
 * BOLE_E_GONE: whatever else is wrong with a base is not the receiver's concern. */
BOLE_MUST_USE enum bole_status bole_send_delta(struct send_deltas *, const struct bole_entry *,
                                               uint32_t position, uint64_t bytes,
                                               struct send_delta *out);

#endif /* BOLE_GIT_SEND_DELTA_H */
