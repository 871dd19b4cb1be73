/* SPDX-License-Identifier: ISC */
/* What a fetch sends, as a set: everything that the wants reach and the haves do not. */
#ifndef BOLE_GIT_BITMAP_PICK_H
#define BOLE_GIT_BITMAP_PICK_H

#include "git/bitmap/walk.h"

struct bole_id_list;

struct bole_pick_job {
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	struct bole_snapshot *snapshot;
	struct bole_bitmap *bitmap; /* borrowed */
	const struct bole_oid *wants;
	size_t want_count;
	const struct bole_oid *haves;
	size_t have_count;
	/* Commits whose parents the receiver does not see; NULL = it sees all. */
	const struct bole_id_list *ends;
	bool include_tags;
	/* Leaves blobs out, or trees as well; one among the wants is BOLE_E_UNSUPPORTED. */
	bool no_blobs;
	bool no_trees;
	enum bole_status (*tick)(void *ctx);
	void *tick_ctx;
};

struct bole_pick {
	struct bole_bitmap *bitmap;
	struct bitmap_walk walk; /* its extra objects, its reader */
	struct bitmap_bits send;
	struct bitmap_bits have;
	uint64_t count; /* of send */
};

/* BOLE_E_UNSUPPORTED, BOLE_E_LIMIT: sets do not answer this. BOLE_E_NOT_FOUND: a want or have is
 * not here, or the index does not fit the snapshot; other errors: of reading, of memory. Without a
 * result the walk is the way to go, and says more. */
BOLE_MUST_USE enum bole_status bole_pick_open(const struct bole_pick_job *, struct bole_pick **out);
/* NULL is fine. */
void bole_pick_close(struct bole_pick *);
/* The position of an object that the index or the walk knows, or BITMAP_NONE. */
BOLE_MUST_USE enum bole_status bole_pick_position(struct bole_pick *, const struct bole_oid *,
                                                  uint32_t *out);

#endif /* BOLE_GIT_BITMAP_PICK_H */
