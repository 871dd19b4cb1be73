/* SPDX-License-Identifier: ISC */
/* Deltas made ahead of the one who resolves them, by fibers that run beside it.
 *
 * The resolver goes through the deltas in one order, and decides alone: which copy of an object
 * counts, what is refused and why, what is stored. What is made ahead is only what needs no
 * decision: the entries of a stretch of this order are copied into a job; whoever has time
 * inflates, applies and hashes them, from nothing but the job. The resolver takes the ids (and,
 * where it looks into them, the contents) as it comes by. What a job could not make (too little
 * memory, a delta that does not fit, a collision attack) is not there, and the resolver does it
 * itself and finds what is wrong: so result and errors are the same with any number of fibers.
 *
 * Memory: a half of what contents may take, in equal shares for the jobs. */
#ifndef BOLE_GIT_PACK_AHEAD_H
#define BOLE_GIT_PACK_AHEAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deflate.h"
#include "base/hash.h"
#include "bole/alloc.h"
#include "bole/oid.h"
#include "bole/platform.h"

enum {
	AHEAD_ROWS = 512,               /* of a job */
	AHEAD_ENTRY_BYTES = 512 * 1024, /* of a job, deflated */
	AHEAD_SHARE_MIN = 1024 * 1024,  /* memory of a job */
	AHEAD_SHARE_MAX = 8 * 1024 * 1024,
	AHEAD_FIBERS_MAX = 16,
};

/* Where entries begin in a tree that have another id than in its base; the rest is the same.
 * None: nothing is known, so that what nobody looked at is checked whole. */
enum { INTAKE_CHANGES_MAX = 7 };
struct intake_changes {
	uint8_t count;
	uint32_t at[INTAKE_CHANGES_MAX];
};

struct ahead_row {
	uint32_t row;    /* of the intake */
	uint32_t parent; /* in the job; BOLE_OID_NONE: whole */
	uint32_t at;     /* its zlib data in entries */
	uint32_t len;
	uint32_t inflated;
	bool again; /* its id is known: it is made for what stands on it */
	bool made;
	_Atomic uint32_t refs; /* who still needs the content: deltas in this job, the resolver */
	uint8_t *bytes;
	size_t size;
	struct bole_oid oid;
	struct intake_changes changes; /* of a tree */
};

enum ahead_state { AHEAD_FREE, AHEAD_READY, AHEAD_TAKEN };

struct ahead_job {
	enum ahead_state state; /* under the lock */
	struct ahead_row *rows;
	uint8_t *entries;
	uint32_t count;
	size_t entry_bytes;
	bool kept; /* the resolver wants contents */
	uint8_t type;
	_Atomic uint32_t done;  /* rows */
	_Atomic uint32_t taken; /* rows that the resolver has gone past */
	_Atomic size_t held;    /* bytes of contents */
};

struct intake_hasher;

/* Who runs jobs: a fiber, or the resolver. */
struct ahead_worker {
	struct bole_inflater *inflater;
	uint8_t *delta; /* INTAKE_SCRATCH_BYTES */
	struct intake_hasher *hasher;
};

/* What jobs and those who run them share. */
struct ahead_shared {
	struct bole_platform *platform;
	struct bole_alloc *alloc; /* of a budget: safe from any thread */
	struct bole_hashing hashing;
	uint8_t algo;
	size_t held_max; /* contents of a job */
	_Atomic bool closing;
};

/* Makes row `at` of a job, the next one, and some that follow; returns how many. 0: not yet, the
 * resolver must take contents first. Once the last row is made the job may be the resolver's, who
 * plans it anew. */
uint32_t bole_ahead_step(const struct ahead_shared *, struct ahead_worker *, struct ahead_job *,
                         uint32_t at);
/* One who needed the content of a row needs it no more. */
void bole_ahead_unref(const struct ahead_shared *, struct ahead_job *, struct ahead_row *);

/* -- The resolver's end -- */

struct intake;
struct ahead;

/* Begins on the deltas of a type; half of it->held_max goes to the jobs. Nothing happens (*out is
 * NULL) where there is one processor or little memory or work. */
void bole_ahead_open(struct intake *, uint8_t type, struct ahead **out);
/* Ends all work within a few milliseconds. NULL is fine. */
void bole_ahead_close(struct ahead *);
/* The row of a child, if it was made: oid and, unless it is a blob, content. After use, and before
 * the next one, done. *out is NULL where the resolver is on its own. */
BOLE_MUST_USE enum bole_status bole_ahead_take(struct ahead *, uint32_t child,
                                               const struct ahead_row **out);
void bole_ahead_done(struct ahead *);

#endif /* BOLE_GIT_PACK_AHEAD_H */
