/* SPDX-License-Identifier: ISC */
/* The walk behind a pack plan: which objects are reachable from the wants and not from the haves.
 *   reach.c        items, commits: painted in the order of their dates
 *   reach_tree.c   trees, and annotated tags that come along
 *   reach_filter.c trees under a filter
 *   reach_sparse.c trees under patterns for paths
 *   pack_plan.c    the whole; what is sent, in the order of the log
 *   pack_emit.c    the pack stream
 * Every object that the walk meets is one item of a map: about 60 bytes (SHA-1). */
#ifndef BOLE_GIT_REACH_H
#define BOLE_GIT_REACH_H

#include "git/fetch/filter.h"
#include "git/fetch/pack_emit.h"
#include "git/object/object.h"
#include "git/object/oid_map.h"
#include "git/promise.h"

enum {
	REACH_HAVE = 1,   /* the receiver has it */
	REACH_SEND = 2,   /* chosen; sent unless it turns out to be REACH_HAVE */
	REACH_QUEUED = 4, /* a commit in the queue */
	REACH_WALKED = 8, /* a commit whose parents were met */
	REACH_EDGE = 16,  /* the parent of a commit that is sent */
	REACH_FOUND = 32, /* the entry is filled in */
	REACH_WANT = 64,  /* wanted by its id: no filter keeps it out */
};

/* The value of an item; words, so that it packs behind an id of 20 bytes. */
struct reach_value {
	uint32_t extent[2];
	uint32_t offset[2];
	uint32_t emitted[2]; /* offset in the pack that is written, 0 = not yet; before, under a
	                      * filter, the first word tells how deep a tree was met */
	uint32_t stored_low;
	uint16_t stored_high;
	uint8_t type;
	uint8_t flags;
};

struct reach_queued {
	int64_t date;
	uint32_t item;
};

/* A growable array of items. */
struct reach_list {
	uint32_t *items;
	size_t count;
	size_t cap;
};

/* A link that was followed lately: the trees of a history name the same things again and again, and
 * this is near where the map is not. Kept by a part of the id, so whatever comes later replaces it.
 */
struct reach_seen {
	uint8_t oid[BOLE_OID_BYTES_MAX];
	uint8_t type; /* 0 = empty */
	uint8_t flags;
};

enum {
	REACH_SEEN = 4096,
	BOLE_SPARSE_FOLDERS_MAX = 1 << 21, /* trees, each counted at each of its paths */
};
#define BOLE_SPARSE_WORK_MAX (UINT64_C(1) << 31) /* steps of patterns over paths: seconds */

struct bole_pick;

struct bole_pack_plan {
	struct bole_reach job;
	bool behind;            /* the job's bitmap did not serve */
	struct bole_pick *pick; /* instead of the walk and its order */
	uint8_t algo;
	struct bole_filter filter;
	struct bole_object_reader *reader;
	struct bole_oid_map map;
	struct bole_promises promises;

	struct reach_queued *queue; /* a heap, newest first */
	size_t queue_count;
	size_t queue_cap;
	size_t queue_wanted;     /* queued and not REACH_HAVE */
	struct reach_list sent;  /* commits that were wanted when met, newest first */
	struct reach_list roots; /* of each of them its tree */
	struct reach_list trees; /* that are wanted by their ids */
	struct reach_list stack;
	struct reach_list blobs; /* under a filter: of a tree, to be judged */
	struct reach_sparse *sparse;
	struct reach_seen *seen; /* REACH_SEEN of them, while the trees are walked */
	int64_t oldest_wanted;

	uint32_t *order; /* items to send, in the order of the log */
	size_t order_count;
	size_t order_cap;

	uint64_t work;
	uint64_t tick_ns;
	const char *phase;
	uint64_t done;
	uint64_t total;
};

static inline uint64_t reach_get64(const uint32_t *words)
{
	return (uint64_t)words[1] << 32 | words[0];
}

static inline void reach_set64(uint32_t *words, uint64_t value)
{
	words[0] = (uint32_t)value;
	words[1] = (uint32_t)(value >> 32);
}

static inline struct reach_value *reach_value(const struct bole_pack_plan *plan, uint32_t item)
{
	return bole_oid_map_value(&plan->map, item);
}

/* The entry of an item that is REACH_FOUND. */
void bole_reach_entry(const struct bole_pack_plan *, uint32_t item, struct bole_entry *out);
/* Yields, reports, and sees whether the client is still there (BOLE_E_CLOSED). */
BOLE_MUST_USE enum bole_status bole_reach_spend(struct bole_pack_plan *, size_t bytes);
/* The item of an object; it must be of that type (0 = any) if that is known. */
BOLE_MUST_USE enum bole_status bole_reach_meet(struct bole_pack_plan *, const struct bole_oid *,
                                               uint8_t type, uint32_t *item);
/* Fills in the entry of an item and checks its type. BOLE_E_CORRUPT: a link leads nowhere;
 * BOLE_E_PROMISED: the origin of a partial repository keeps it. */
BOLE_MUST_USE enum bole_status bole_reach_find(struct bole_pack_plan *, uint32_t item);
/* The content of an item, borrowed until the next call. */
BOLE_MUST_USE enum bole_status bole_reach_read(struct bole_pack_plan *, uint32_t item,
                                               struct bole_bytes *out);
BOLE_MUST_USE enum bole_status bole_reach_list_add(struct bole_pack_plan *, struct reach_list *,
                                                   uint32_t item);

BOLE_MUST_USE enum bole_status bole_reach_commits(struct bole_pack_plan *);
BOLE_MUST_USE enum bole_status bole_reach_trees(struct bole_pack_plan *);
uint8_t bole_reach_link_type(uint32_t mode);
/* Chooses what the filter lets through of a tree and what is in it. */
BOLE_MUST_USE enum bole_status bole_reach_filtered(struct bole_pack_plan *, uint32_t tree);
/* The parts of it: a tree that was met so deep is chosen where the filter lets it through; returns
 * whether what is in it matters. Then the depth of that; a blob there, and at the end of each tree
 * the blobs that were met. */
bool bole_reach_choose_tree(struct bole_pack_plan *, uint32_t item, uint32_t mark);
uint32_t bole_reach_mark_below(const struct bole_pack_plan *, uint32_t mark);
BOLE_MUST_USE enum bole_status bole_reach_filtered_blob(struct bole_pack_plan *,
                                                        const struct bole_oid *, uint32_t mark);
BOLE_MUST_USE enum bole_status bole_reach_judge_blobs(struct bole_pack_plan *);
/* The same under the filter's patterns. BOLE_E_LIMIT: too many folders, too much work. */
BOLE_MUST_USE enum bole_status bole_reach_sparse(struct bole_pack_plan *, uint32_t tree,
                                                 uint32_t mark);
void bole_reach_sparse_end(struct bole_pack_plan *);
/* Gives the words back that the filter borrowed. */
void bole_reach_filter_end(struct bole_pack_plan *);
/* The receiver has this tree and everything in it. */
BOLE_MUST_USE enum bole_status bole_reach_tree_have(struct bole_pack_plan *, uint32_t tree);
BOLE_MUST_USE enum bole_status bole_reach_tags(struct bole_pack_plan *);

#endif /* BOLE_GIT_REACH_H */
