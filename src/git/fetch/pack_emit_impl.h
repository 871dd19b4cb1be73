/* SPDX-License-Identifier: ISC */
/* A pack under way: what the two ways of writing one share. */
#ifndef BOLE_GIT_PACK_EMIT_IMPL_H
#define BOLE_GIT_PACK_EMIT_IMPL_H

#include "base/deflate.h"
#include "base/hash.h"
#include "base/io.h"
#include "git/bitmap/pick.h"
#include "git/fetch/reach.h"

/* Hashes what passes in large pieces. */
struct hashing_writer {
	struct bole_writer writer;
	struct bole_writer *next;
	struct bole_hash hash;
	bool idle; /* the hash is known */
};

struct emission {
	struct bole_pack_plan *plan;
	struct bole_object_reader *reader;
	struct hashing_writer hashing;
	struct bole_output out;
	uint8_t *buffer;
	uint8_t *deflated;
	struct bole_deflater *deflater;
};

BOLE_MUST_USE enum bole_status bole_emit_open_deflater(struct emission *);
/* Writes the head of an entry. */
void bole_emit_head(struct emission *, const struct bole_entry_head *);
/* Copies the stored bytes of an entry from pos on. */
BOLE_MUST_USE enum bole_status bole_emit_rest(struct emission *, const struct bole_entry *,
                                              uint64_t pos);
/* Writes the object of an entry as one that is no delta. */
BOLE_MUST_USE enum bole_status bole_emit_whole(struct emission *, const struct bole_entry *);
/* Parses the head of an entry; *all is the entry when one view showed it whole, else empty. */
BOLE_MUST_USE enum bole_status bole_emit_read_head(struct emission *, const struct bole_entry *,
                                                   struct bole_entry_head *,
                                                   struct bole_bytes *all);
/* The extent that is all of the pick and goes out as it is, so that the pack is known by its
 * number; 0 = it is not so simple, or nobody knows yet. */
uint64_t bole_emit_pick_extent(const struct bole_pick *);
/* Every entry of a pick (pick_emit.c). */
BOLE_MUST_USE enum bole_status bole_emit_pick(struct emission *, struct bole_pick *);

#endif /* BOLE_GIT_PACK_EMIT_IMPL_H */
