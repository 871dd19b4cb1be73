/* SPDX-License-Identifier: ISC */
/* The state of one ingestion, shared by its parts:
 *   ingest.c    limits, header, first pass over the stream, trailer
 *   source.c    the bytes of the pack, kept and read back
 *   links.c     links of trees, commits and tags; the closure check
 *   fsck.c      whether objects are sound, beyond their links
 *   resolve.c   the delta phase
 *   ahead.c, ahead_job.c  deltas made ahead of it, beside it
 *   big.c       deltas that do not fit memory
 *   trees.c     trees that differ little from a sound one
 *   batch.c     contents in memory; objects whose ids are made together
 *   later.c     what other packs of the transaction are to bring
 *   prefix.c    what came whole of a pack that was cut off
 *   store.c     the table into the store: rows of an extent, or records
 */
#ifndef BOLE_GIT_PACK_INTAKE_H
#define BOLE_GIT_PACK_INTAKE_H

#include "base/deflate.h"
#include "base/hash.h"
#include "base/memory.h"
#include "git/negotiate.h"
#include "git/object/object.h"
#include "git/object/oid_map.h"
#include "git/object/read.h"
#include "git/pack/ahead.h"
#include "git/pack/ingest.h"
#include "git/pack/source.h"
#include "git/promise.h"

enum {
	INTAKE_SCRATCH_BYTES = 256 * 1024,
	INTAKE_INPUT_BYTES = 256 * 1024, /* most entries lie whole in it */
	INTAKE_BATCH = 16,               /* objects that are hashed together */
	INTAKE_BATCH_BYTES = 2 * 1024 * 1024,
	INTAKE_HASH_BYTES = 16 * 1024, /* at a time */
	/* In row.type until the table is handed over. */
	INTAKE_DUPLICATE = 0x80, /* a later copy of an object of this pack */
	INTAKE_DELTA = 0x40,     /* was resolved */
	INTAKE_SOUND = 0x10,     /* a tree about which nothing was found */
	INTAKE_WHOLE = 0x20,     /* and is kept whole, behind the pack (big.c) */
	INTAKE_TYPE_MASK = 0x07,
};

/* What the needed map keeps of a link whose target has not been seen. */
struct intake_need {
	uint32_t referrer; /* row */
	uint32_t type;
};

/* A parent of a commit at which the sender's history ends. */
struct intake_parent {
	uint32_t row; /* of the commit */
	struct bole_oid oid;
};

struct intake_frame; /* resolve.c */

/* What hashes objects together; a few kilobytes. */
struct intake_hasher {
	struct bole_hash_many many;
	struct bole_message messages[INTAKE_BATCH];
};

/* An object whose id is known now. */
struct intake_object {
	uint32_t row;
	uint32_t base; /* row, of a delta; BOLE_OID_NONE: outside the pack */
	uint8_t type;
	struct bole_oid oid;
	struct bole_bytes content;            /* ignored for blobs */
	const struct intake_changes *changes; /* of a tree, from its base; may be NULL */
};

/* Objects whose contents are here, but not yet their ids. */
struct intake_batch {
	struct intake_hasher hasher;
	struct intake_waiting {
		uint32_t row;
		uint32_t base; /* row, of a delta; BOLE_OID_NONE: outside the pack */
		uint8_t type;
		uint8_t *bytes;
		size_t len;
		struct intake_changes changes; /* of a delta that is a tree */
	} list[INTAKE_BATCH];
	uint32_t count;
	size_t bytes;
};

struct intake {
	const struct bole_ingest *job;
	struct bole_ingest_report *report;
	struct bole_ingest_limits limits; /* with defaults filled in */
	bool inflated_by_ratio;           /* limits.inflated_bytes_max grows with the pack */
	struct bole_budget budget;
	struct bole_alloc *alloc; /* of the budget */
	uint8_t algo;
	size_t hash_bytes;
	struct bole_input *in;
	struct pack_source source;
	struct bole_inflater *inflater;
	uint8_t *scratch;
	struct bole_hashing hashing;
	struct bole_identity identity;
	struct intake_batch *batch;

	/* The table. type is 1..4 (and flags) once the object is known, else 6 or 7; the oid of an
	 * unresolved id delta is its base's. link is the base's row of an offset delta in the first
	 * pass, then the next sibling in the base's list of children. */
	struct bole_extent_row *rows;
	uint32_t *link;
	uint32_t row_count;
	uint32_t row_cap;
	uint32_t link_cap;
	uint32_t declared;
	struct bole_oid_index known;   /* id -> row, of the first copy of each known object */
	struct bole_oid_index waiting; /* base id -> first of the id deltas that wait for it */
	struct bole_oid_map needed;
	struct intake_parent *doubtful; /* links that a shallow sender may leave open */
	uint32_t doubtful_count;
	uint32_t doubtful_cap;
	struct bole_promises promises;
	struct bole_id_list missing[2]; /* trees and blobs that are promised, and linked to */
	struct bole_oid_map special; /* blobs that are read at the end -> BOLE_FSCK_MODULES, ... */
	struct bole_oid_map special_missing; /* or when they come */

	struct bole_fsck_options fsck_default;
	struct bole_fsck fsck;
	unsigned warnings;
	bool ended; /* the stream did, before the pack */
	uint64_t findings;

	uint32_t *first_child;
	struct intake_frame *frames;
	size_t frame_cap;
	size_t frame_count;
	struct ahead *ahead;               /* what makes deltas ahead; may be NULL */
	struct bole_object_reader *reader; /* bases outside the pack */
	struct bole_oid outside;           /* the base of the family at hand, if it is outside */
	size_t held;                       /* bytes of contents in memory */
	size_t held_max;
	uint64_t rebuilt;    /* bytes inflated again because their content had to give way */
	uint64_t delta_need; /* the most that base, instructions and result of a delta need */
	uint32_t *whole;     /* rows with INTAKE_WHOLE, by offset */
	uint32_t whole_count;
	uint32_t whole_cap;
	uint64_t resolved; /* deltas */

	uint64_t work;
	uint64_t tick_ns;
	uint64_t start_ns;
};

/* Notes why (once, for the client) and returns rc. */
enum bole_status bole_intake_fail(struct intake *, enum bole_status rc, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
/* Accounts for work of about that many bytes: yields, reports progress, sees that nobody hung up.
 */
BOLE_MUST_USE enum bole_status bole_intake_spend(struct intake *, size_t bytes);
/* Adds to the inflated total and compares it with the limit. */
BOLE_MUST_USE enum bole_status bole_intake_inflated(struct intake *, uint64_t bytes);
/* The object of a row is known: enters it, or marks it as a later copy, and checks its links. */
BOLE_MUST_USE enum bole_status bole_intake_known(struct intake *, const struct intake_object *);
/* Begins the identity of an object that is hashed in pieces. */
void bole_intake_identity_start(struct intake *, uint8_t type, uint64_t size);
/* The row of the entry that starts at offset, or BOLE_OID_NONE. */
uint32_t bole_intake_row_at(const struct intake *, uint64_t offset);

/* links.c */
BOLE_MUST_USE enum bole_status bole_intake_links(struct intake *, uint32_t row, uint8_t type,
                                                 struct bole_bytes content);
/* The link of the first entry of what is left of a tree. */
BOLE_MUST_USE enum bole_status bole_intake_entry_link(struct intake *, uint32_t row,
                                                      struct bole_bytes rest);
BOLE_MUST_USE enum bole_status bole_intake_closure(struct intake *);

/* later.c: notes a link that leads nowhere yet. */
BOLE_MUST_USE enum bole_status bole_intake_later(struct intake *, const struct bole_oid *,
                                                 uint32_t type);
/* The same for what a tree gave a meaning; false: it was not noted. */
bool bole_intake_later_kinds(struct intake *, const struct bole_oid *, uint32_t kinds);

/* trees.c */
void bole_intake_changes(uint8_t algo, struct bole_bytes base, struct bole_bytes content,
                         struct intake_changes *);
/* Checks an object whose base is a sound tree with INTAKE_SOUND. */
BOLE_MUST_USE enum bole_status bole_intake_changed_tree(struct intake *,
                                                        const struct intake_object *);

/* fsck.c */
void bole_intake_fsck_init(struct intake *);
BOLE_MUST_USE enum bole_status bole_intake_fsck(struct intake *, uint32_t row, uint8_t type,
                                                struct bole_bytes content);
/* Reads what trees gave a meaning, once everything is findable. */
BOLE_MUST_USE enum bole_status bole_intake_special(struct intake *);
/* Before: what trees of earlier packs gave a meaning and this one brings, too; and a promised blob
 * is left to a later one. */
BOLE_MUST_USE enum bole_status bole_intake_special_due(struct intake *);
BOLE_MUST_USE enum bole_status bole_intake_special_later(struct intake *, const struct bole_oid *);

/* resolve.c */
BOLE_MUST_USE enum bole_status bole_intake_head(struct intake *, uint32_t row,
                                                struct bole_entry_head *);
BOLE_MUST_USE enum bole_status bole_intake_resolve(struct intake *);
void bole_intake_resolve_release(struct intake *);

/* Memory for contents, which gives way to others; frames from keep on stay. One byte more than len
 * is there. */
BOLE_MUST_USE enum bole_status bole_intake_content(struct intake *, uint64_t len, size_t keep,
                                                   uint8_t **out);
/* A delta became an object that is known: what follows from it. */
BOLE_MUST_USE enum bole_status bole_intake_resolved(struct intake *, const struct intake_object *);
/* Accounts for bytes that were inflated again. */
BOLE_MUST_USE enum bole_status bole_intake_rebuilt(struct intake *, uint64_t bytes);

/* batch.c */
/* Content without asking anybody to give way; NULL if there is no room. Each hold is freed. */
uint8_t *bole_intake_content_try(struct intake *, uint64_t len);
void bole_intake_content_hold(uint8_t *bytes);
void bole_intake_content_free(struct intake *, uint8_t *bytes, size_t len);
/* Hands over an object and a hold on its content; its id follows by the next flush. */
BOLE_MUST_USE enum bole_status bole_intake_put(struct intake *, const struct intake_waiting *);
BOLE_MUST_USE enum bole_status bole_intake_flush(struct intake *);
/* Drops what is waiting. */
void bole_intake_batch_release(struct intake *);

/* big.c */
struct intake_big {
	uint32_t row;           /* a delta */
	uint8_t type;           /* of the object */
	uint32_t base;          /* row of a whole object; BOLE_OID_NONE: it->outside */
	const uint8_t *content; /* of the base, if it is in memory */
	uint64_t content_len;
	size_t keep; /* frames that are in use, see bole_intake_content */
};
/* Whether a delta needs more memory than there is at most. */
BOLE_MUST_USE enum bole_status bole_intake_is_big(struct intake *, uint32_t row, bool *big);
/* Puts the object whole behind the pack, where the row then says it is. */
BOLE_MUST_USE enum bole_status bole_intake_big(struct intake *, const struct intake_big *,
                                               struct bole_oid *);

/* prefix.c: shows it to the job. */
void bole_intake_cut_off(struct intake *);

/* store.c */
BOLE_MUST_USE enum bole_status bole_intake_store(struct intake *);

#endif /* BOLE_GIT_PACK_INTAKE_H */
