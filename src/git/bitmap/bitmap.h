/* SPDX-License-Identifier: ISC */
/* Which objects a commit reaches, as sets of positions, so that a fetch need not walk.
 *   bitmap.c   an index: positions, sets, what they hold
 *   walk.c     adding what an object reaches to a set
 *   build.c    making one, or a new one from an old one and what came since
 *   closure.c  what lies under the trees of single commits
 *   pick.c     wants and haves as sets: what is sent
 *   store.c    an index in the store and back
 *   cache.c    the indexes of a node's repositories, in memory and in the store
 *
 * Every object of a repository's domain gets a position. An extent's entries have consecutive ones
 * in the order of their offsets; objects that lie elsewhere follow in the order in which they were
 * met. Positions are only ever added, and an object keeps its own wherever the store moves it. What
 * a commit reaches never changes either, so an index is never wrong; it is only behind. What came
 * after it is walked, and a snapshot that lacks one of its extents does without it. Only what was
 * collected may come back elsewhere: a collection ends an index (bole_bitmap_forget).
 *
 * The sets belong to selected commits. Each names another one as its base, which is an ancestor, so
 * its set is that of the base and some more: runs of positions, as pairs of gap and length.
 *
 * A closure is a commit and all that its tree holds, without its parents: what a clone of depth 1
 * gets. There are some, of tips and of what lately were tips. */
#ifndef BOLE_GIT_BITMAP_H
#define BOLE_GIT_BITMAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "bole/odb.h"
#include "bole/platform.h"
#include "git/object/oid_map.h"

#define BITMAP_NONE UINT32_MAX
enum { BITMAP_NAME_ROOT = 1 }; /* of the trees of commits */

enum { BITMAP_CLOSURES_MAX = 32 };

/* Consecutive positions: an extent's, or of objects that are known by their ids (extent 0). */
struct bitmap_segment {
	uint64_t extent;
	uint32_t first;
	uint32_t count;
	uint32_t at;      /* its first in offsets, or in ids */
	uint32_t end_low; /* of the last entry of the extent */
};

struct bitmap_set {
	uint8_t commit[BOLE_OID_BYTES_MAX];
	uint32_t base; /* number of another set before it, or BITMAP_NONE */
	uint32_t at;   /* in runs */
	uint32_t len;
	uint32_t objects;
};

/* Immutable once it is built; shared. */
struct bole_bitmap {
	_Atomic uint32_t refs;
	struct bole_platform *platform;
	struct bole_alloc *alloc;
	uint8_t algo;
	size_t key_bytes;
	uint32_t positions;
	uint32_t objects; /* of the largest set */
	struct bitmap_segment *segments;
	uint32_t segment_count;
	uint32_t segment_cap;
	uint32_t *offsets; /* of entries of extents */
	uint32_t offset_count;
	uint32_t offset_cap;
	uint64_t *blobs; /* a bit for each position */
	uint64_t *trees; /* the same */
	size_t type_words;
	uint32_t *names; /* of each position: hash of a path that leads to it, 0 = unknown */
	uint32_t name_cap;
	struct bole_buffer ids; /* raw, of objects in no extent */
	struct bole_oid_index by_id;
	struct bitmap_set *sets;
	uint32_t set_count;
	uint32_t set_cap;
	struct bole_oid_index by_commit;
	struct bole_buffer runs;
	/* One more set: everything that branches and tags reach; and the ids that they name. */
	struct bitmap_set all;
	struct bole_buffer tips;                         /* raw ids, sorted, each once */
	struct bitmap_set closures[BITMAP_CLOSURES_MAX]; /* tips first; base: none */
	uint32_t closure_count;
	struct bole_buffer closure_runs;
	/* Found out by whoever sends first: an extent that goes out as it is when all of it does,
	 * and the hash of the pack that it then is by itself. */
	_Atomic uint32_t saved;      /* positions of the one in the store that it was made from */
	_Atomic uint64_t generation; /* of that one; 0 = there is none (wholes.h) */
	_Atomic uint64_t verbatim;
	_Atomic uint32_t sum_state; /* enum bitmap_sum_state */
	_Atomic bool sum_saved;     /* in the store, too */
	uint64_t sum_extent;
	uint8_t sum[BOLE_OID_BYTES_MAX];
};

enum bitmap_sum_state { BITMAP_SUM_NONE, BITMAP_SUM_BEING_SET, BITMAP_SUM_SET };

/* A set in memory: a bit for each position. */
struct bitmap_bits {
	uint64_t *words;
	size_t count; /* of words */
};

static inline bool bitmap_has(const struct bitmap_bits *bits, uint32_t position)
{
	return (bits->words[position / 64] >> position % 64 & 1) != 0;
}

static inline void bitmap_add(struct bitmap_bits *bits, uint32_t position)
{
	bits->words[position / 64] |= UINT64_C(1) << position % 64;
}

/* The compiler's own may be a call into its library, which an image does not have. */
static inline uint32_t bitmap_ones(uint64_t word)
{
	word -= word >> 1 & 0x5555555555555555;
	word = (word & 0x3333333333333333) + (word >> 2 & 0x3333333333333333);
	word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0f;
	return (uint32_t)(word * 0x0101010101010101 >> 56);
}

/* The bits of the word at / 64 from `at` on and below `end`, which is above it. */
static inline uint64_t bitmap_mask(uint32_t at, uint32_t end)
{
	uint64_t mask = UINT64_MAX << at % 64;

	return end / 64 > at / 64 ? mask : mask & ~(UINT64_MAX << end % 64);
}

/* How many positions from `at` on and below `end` are in the set. */
static inline uint32_t bitmap_count(const struct bitmap_bits *bits, uint32_t at, uint32_t end)
{
	uint32_t count = 0;

	for (; at < end; at += 64 - at % 64)
		count += bitmap_ones(bits->words[at / 64] & bitmap_mask(at, end));
	return count;
}

/* The first position from `at` on that is (not) in the set, or `end`. */
static inline uint32_t bitmap_next(const struct bitmap_bits *bits, uint32_t at, uint32_t end,
                                   bool in)
{
	while (at < end) {
		uint64_t word = (bits->words[at / 64] ^ (in ? 0 : UINT64_MAX)) >> at % 64;

		if (word != 0) {
			at += (uint32_t)__builtin_ctzll(word);
			break;
		}
		at += 64 - at % 64;
	}
	return at < end ? at : end;
}

struct bole_bitmap *bole_bitmap_retain(struct bole_bitmap *);
/* NULL is fine. */
void bole_bitmap_release(struct bole_bitmap *);

/* The segment of a position (< positions). */
const struct bitmap_segment *bole_bitmap_segment(const struct bole_bitmap *, uint32_t position);
/* The position of an object, as an entry found in a snapshot, or BITMAP_NONE: it came later. */
BOLE_MUST_USE enum bole_status bole_bitmap_position(const struct bole_bitmap *,
                                                    struct bole_snapshot *, const struct bole_oid *,
                                                    const struct bole_entry *, uint32_t *out);
/* The set of a commit, or NULL. */
const struct bitmap_set *bole_bitmap_find(const struct bole_bitmap *, const struct bole_oid *);
/* Adds what a set holds. BOLE_E_CORRUPT. */
BOLE_MUST_USE enum bole_status bole_bitmap_unite(const struct bole_bitmap *,
                                                 const struct bitmap_set *, struct bitmap_bits *);
/* The closure of a commit, or NULL. */
const struct bitmap_set *bole_bitmap_closure(const struct bole_bitmap *, const struct bole_oid *);
BOLE_MUST_USE enum bole_status bole_bitmap_unite_closure(const struct bole_bitmap *,
                                                         const struct bitmap_set *,
                                                         struct bitmap_bits *);
/* The hash of a pack of one whole extent; NULL = nobody knows it yet. */
const uint8_t *bole_bitmap_sum(const struct bole_bitmap *, uint64_t extent);
void bole_bitmap_set_sum(struct bole_bitmap *, uint64_t extent, const struct bole_oid *);
/* Every extent of the index is in the snapshot as it was. */
bool bole_bitmap_fits(const struct bole_bitmap *, struct bole_snapshot *);
size_t bole_bitmap_bytes(const struct bole_bitmap *);

/* -- Making (build.c) -- */

struct bole_bitmap_job {
	struct bole_platform *platform;
	struct bole_alloc *alloc; /* lives as long as the index */
	struct bole_snapshot *snapshot;
	struct bole_bitmap *old;             /* borrowed; NULL = from nothing */
	enum bole_status (*tick)(void *ctx); /* asked now and then; an error ends it; may be NULL */
	void *tick_ctx;
};
/* From old and what the snapshot has. Yields. *out may be old itself, retained, when nothing is
 * new.
 */
BOLE_MUST_USE enum bole_status bole_bitmap_build(const struct bole_bitmap_job *,
                                                 struct bole_bitmap **out);

/* -- In the store (store.c) -- */

/* As auxiliary records of the repository, in a transaction of its own. wholes may be NULL. */
struct bole_wholes;
BOLE_MUST_USE enum bole_status bole_bitmap_save(struct bole_bitmap *, struct bole_wholes *,
                                                struct bole_store *, uint32_t repo);
/* The hash of a pack of one extent, by itself, in the same way. */
BOLE_MUST_USE enum bole_status bole_bitmap_save_sum(const struct bole_bitmap *, struct bole_store *,
                                                    uint32_t repo);
/* A collection: what it removes may come back elsewhere, at other positions than the sets have it
 * at. Before it removes anything, it sets aside what was saved: from then on there is nothing to
 * load, whatever fails. *value, *len: owned by the caller; NULL = nothing that could be put back.
 * Afterwards it forgets the rest, or puts back what is as good as before. Nobody saves meanwhile.
 */
BOLE_MUST_USE enum bole_status bole_bitmap_set_aside(struct bole_store *, uint32_t repo,
                                                     struct bole_alloc *, uint8_t **value,
                                                     size_t *len);
BOLE_MUST_USE enum bole_status bole_bitmap_put_back(struct bole_store *, uint32_t repo,
                                                    struct bole_bytes value);
BOLE_MUST_USE enum bole_status bole_bitmap_forget(struct bole_store *, uint32_t repo);
/* BOLE_E_NOT_FOUND: there is none, or an extent of it is gone; BOLE_E_CORRUPT. */
BOLE_MUST_USE enum bole_status bole_bitmap_load(struct bole_platform *, struct bole_alloc *,
                                                struct bole_snapshot *, struct bole_bitmap **out);

/* -- Inside -- */

struct bole_bitmap *bole_bitmap_new(struct bole_platform *, struct bole_alloc *, uint8_t algo);
BOLE_MUST_USE enum bole_status bole_bitmap_add_extent(struct bole_bitmap *, struct bole_snapshot *,
                                                      const struct bole_extent_info *);
BOLE_MUST_USE enum bole_status bole_bitmap_add_id(struct bole_bitmap *, const struct bole_oid *,
                                                  uint8_t type, uint32_t *position);
/* commit NULL: the set of everything. bits: what is new. */
BOLE_MUST_USE enum bole_status bole_bitmap_add_set(struct bole_bitmap *, const struct bole_oid *,
                                                   uint32_t base, const struct bitmap_bits *bits);
/* There is room for it. */
BOLE_MUST_USE enum bole_status bole_bitmap_add_closure(struct bole_bitmap *,
                                                       const struct bole_oid *,
                                                       const struct bitmap_bits *bits);
/* Room for another extent and its entries. */
BOLE_MUST_USE enum bole_status bole_bitmap_reserve(struct bole_bitmap *, uint32_t rows);
/* Numbers in 7-bit groups, the lowest first. False: there is no whole one. */
void bole_bitmap_put_number(struct bole_buffer *, uint32_t);
bool bole_bitmap_get_number(const uint8_t **p, size_t *left, uint32_t *out);
void bole_bitmap_note_type(struct bole_bitmap *, uint32_t position, uint8_t type);

#endif /* BOLE_GIT_BITMAP_H */
