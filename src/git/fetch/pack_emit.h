/* SPDX-License-Identifier: ISC */
/* Sets of objects, the walk that fills them, and a pack stream out of one.
 *
 * Memory: about 62 bytes an object that the walk meets (20 of id, 32 of place, 5..11 of table, 4 of
 * order; 12 more with SHA-256), and the object reader's cache of 8 MiB during the walk. */
#ifndef BOLE_GIT_PACK_EMIT_H
#define BOLE_GIT_PACK_EMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/io.h"
#include "bole/alloc.h"
#include "bole/odb.h"
#include "bole/platform.h"
#include "git/object/read.h"

struct bole_filter;
struct bole_id_list;
struct bole_ref_view;

/* A blob that the receiver gets from elsewhere. */
struct bole_packfile_uri {
	struct bole_oid oid;
	struct bole_bytes pack; /* its checksum in hex */
	struct bole_bytes uri;
	bool left_out; /* it would have been sent */
};

/* What to send: everything reachable from wants, less everything reachable from haves, less what
 * the filter keeps out of what is not wanted by its id. */
struct bole_reach {
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	struct bole_snapshot *snapshot;
	const struct bole_oid *wants;
	size_t want_count;
	const struct bole_oid *haves; /* all findable in the snapshot */
	size_t have_count;
	/* Commits whose parents the receiver does not see, on neither side; or NULL. */
	const struct bole_id_list *grafts;
	const struct bole_filter *filter; /* or NULL */
	const struct bole_ref_view *refs; /* whose tags may be added; NULL = all */
	bool include_tags;          /* add annotated tags (refs/tags/…) whose target is sent */
	bool thin;                  /* the receiver has the haves: delta bases may be left out */
	bool ofs_delta;             /* the receiver understands offset deltas */
	bool leave_promised;        /* the receiver keeps what is promised here */
	struct bole_bitmap *bitmap; /* borrowed; NULL = walk */
	/* Left out of what is sent, and marked; only a plan without a bitmap does it. */
	struct bole_packfile_uri *elsewhere;
	size_t elsewhere_count;
	struct bole_wholes *keep; /* gets what must be made whole; NULL = nobody asks */
	void (*progress)(void *ctx, const char *phase, uint64_t done, uint64_t total);
	void *progress_ctx;
	/* Every entry of the pack as it begins, in order, before its first byte is written: for an
	 * index of it. May be NULL. */
	void (*placed)(void *ctx, const struct bole_oid *, uint64_t offset);
	void *placed_ctx;
	/* True = the client is gone, stop. May be NULL. */
	bool (*cancelled)(void *ctx);
	void *cancelled_ctx;
};

struct bole_pack_plan; /* the chosen entries in the order of the log */

BOLE_MUST_USE enum bole_status bole_pack_plan_open(const struct bole_reach *,
                                                   struct bole_pack_plan **out);
void bole_pack_plan_close(struct bole_pack_plan *);
uint64_t bole_pack_plan_objects(const struct bole_pack_plan *);
/* The bitmap of the job should have served, and did not. */
bool bole_pack_plan_behind(const struct bole_pack_plan *);
/* Writes the pack: header, entries as stored (bases rewritten where they moved), trailer. */
BOLE_MUST_USE enum bole_status bole_pack_emit(struct bole_pack_plan *, struct bole_writer *);

#endif /* BOLE_GIT_PACK_EMIT_H */
