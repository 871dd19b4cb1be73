/* SPDX-License-Identifier: ISC */
/* Trees under patterns for paths ("sparse:oid"). The same tree may lie at many paths and the
 * patterns judge each, so what is remembered is a tree at a path: a hash over both. That is one
 * step for every folder that a commit changed, not for every folder of every commit. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "bole/limits.h"
#include "git/fetch/reach.h"
#include "git/pattern/path_pattern.h"

enum {
	WAITING_PATHS_MAX = 16 << 20, /* bytes, of folders that wait to be read */
	FOLDERS_FIRST = 64,
};

/* A tree that waits; its path lies on the stack of paths. */
struct folder {
	uint32_t item;
	uint32_t mark;
	uint32_t path_len;
	bool matched; /* what no pattern decides inside it comes along */
};

struct reach_sparse {
	struct bole_oid_map seen;
	struct folder *folders;
	size_t count;
	size_t cap;
	struct bole_buffer paths;
	uint8_t path[BOLE_PATH_BYTES_MAX];
	uint64_t work;
};

static enum bole_status sparse_of(struct bole_pack_plan *plan, struct reach_sparse **out)
{
	struct bole_alloc *alloc = plan->job.alloc;

	if (plan->sparse == NULL) {
		struct reach_sparse *s = bole_alloc_zeroed(alloc, 1, sizeof *s);
		if (s == NULL)
			return BOLE_E_NO_MEMORY;
		bole_oid_map_init(&s->seen, plan->job.platform, alloc, plan->algo, 0);
		bole_buffer_init(&s->paths, alloc, WAITING_PATHS_MAX);
		plan->sparse = s;
	}
	*out = plan->sparse;
	return BOLE_OK;
}

void bole_reach_sparse_end(struct bole_pack_plan *plan)
{
	struct reach_sparse *s = plan->sparse;

	if (s == NULL)
		return;
	bole_oid_map_release(&s->seen);
	bole_buffer_release(&s->paths);
	bole_alloc_free(plan->job.alloc, s->folders, s->cap, sizeof *s->folders);
	bole_alloc_free(plan->job.alloc, s, 1, sizeof *s);
	plan->sparse = NULL;
}

/* *fresh: this tree was not at this path before. */
static enum bole_status remember(struct bole_pack_plan *plan, const struct folder *f, bool *fresh)
{
	struct reach_sparse *s = plan->sparse;
	struct bole_hash hash;
	struct bole_oid sum;
	uint8_t mark[4];
	uint32_t item;

	bole_put_le32(mark, f->mark);
	bole_hash_init(&hash, plan->algo);
	bole_hash_update(&hash, mark, sizeof mark);
	bole_hash_update(&hash, bole_oid_map_key(&plan->map, f->item), bole_hash_bytes(plan->algo));
	bole_hash_update(&hash, s->path, f->path_len);
	bole_hash_final(&hash, &sum);
	if (s->seen.count == BOLE_SPARSE_FOLDERS_MAX)
		return BOLE_E_LIMIT;
	return bole_oid_map_put(&s->seen, sum.bytes, &item, fresh);
}

static enum bole_status push(struct bole_pack_plan *plan, const struct folder *f)
{
	struct reach_sparse *s = plan->sparse;

	if (s->count == s->cap) {
		size_t cap = s->cap == 0 ? FOLDERS_FIRST : 2 * s->cap;
		struct folder *grown =
		        bole_alloc_resize(plan->job.alloc, s->folders, s->cap, cap, sizeof *grown);
		if (grown == NULL)
			return BOLE_E_NO_MEMORY;
		s->folders = grown;
		s->cap = cap;
	}
	bole_buffer_append(&s->paths, s->path, f->path_len);
	BOLE_TRY(s->paths.rc);
	s->folders[s->count++] = *f;
	return BOLE_OK;
}

/* A tree whose path is the first f->path_len bytes of the buffer. */
static enum bole_status meet_folder(struct bole_pack_plan *plan, const struct folder *f)
{
	bool fresh;

	if ((reach_value(plan, f->item)->flags & REACH_HAVE) != 0)
		return BOLE_OK;
	if (!bole_reach_choose_tree(plan, f->item, f->mark))
		return BOLE_OK;
	BOLE_TRY(remember(plan, f, &fresh));
	return fresh ? push(plan, f) : BOLE_OK;
}

/* Whether an entry at a path comes along. */
static enum bole_status decide(struct bole_pack_plan *plan, const struct folder *above,
                               size_t path_len, bool folder, bool *out)
{
	struct reach_sparse *s = plan->sparse;
	uint64_t before = s->work;
	enum bole_path_match match = bole_path_patterns_match(
	        plan->filter.patterns, bole_bytes_of(s->path, path_len), folder, &s->work);

	*out = match == BOLE_PATH_UNDECIDED ? above->matched : match == BOLE_PATH_MATCHED;
	if (s->work > BOLE_SPARSE_WORK_MAX)
		return BOLE_E_LIMIT;
	return bole_reach_spend(plan, (size_t)(s->work - before));
}

static enum bole_status meet_entry(struct bole_pack_plan *plan, const struct folder *above,
                                   const struct bole_tree_entry *entry)
{
	struct reach_sparse *s = plan->sparse;
	uint8_t type = bole_reach_link_type(entry->mode);
	size_t at = above->path_len;
	bool matched;

	if (type == 0)
		return BOLE_OK;
	if (entry->name.len > sizeof s->path - 1 - at)
		return BOLE_E_LIMIT;
	if (at > 0)
		s->path[at++] = '/';
	memcpy(s->path + at, entry->name.ptr, entry->name.len);
	at += entry->name.len;
	BOLE_TRY(decide(plan, above, at, type == BOLE_OBJECT_TREE, &matched));
	if (type == BOLE_OBJECT_BLOB)
		return matched ? bole_reach_filtered_blob(plan, &entry->oid, above->mark) : BOLE_OK;
	struct folder inner = {.mark = above->mark, .path_len = (uint32_t)at, .matched = matched};
	BOLE_TRY(bole_reach_meet(plan, &entry->oid, type, &inner.item));
	return meet_folder(plan, &inner);
}

static enum bole_status look_into(struct bole_pack_plan *plan)
{
	struct reach_sparse *s = plan->sparse;
	struct folder f = s->folders[--s->count];
	struct bole_tree_entry entry;
	struct bole_bytes rest;
	enum bole_status rc;

	s->paths.len -= f.path_len;
	if (f.path_len > 0)
		memcpy(s->path, s->paths.ptr + s->paths.len, f.path_len);
	f.mark = bole_reach_mark_below(plan, f.mark);
	BOLE_TRY(bole_reach_read(plan, f.item, &rest));
	while ((rc = bole_tree_next(&rest, plan->algo, &entry)) == BOLE_OK)
		BOLE_TRY(meet_entry(plan, &f, &entry));
	return rc == BOLE_END ? bole_reach_judge_blobs(plan) : BOLE_E_CORRUPT;
}

enum bole_status bole_reach_sparse(struct bole_pack_plan *plan, uint32_t tree, uint32_t mark)
{
	const struct folder nothing = {.matched = false};
	struct folder root = {.item = tree, .mark = mark};
	struct reach_sparse *s;

	BOLE_TRY(sparse_of(plan, &s));
	BOLE_TRY(decide(plan, &nothing, 0, true, &root.matched));
	BOLE_TRY(meet_folder(plan, &root));
	while (s->count > 0)
		BOLE_TRY(look_into(plan));
	return BOLE_OK;
}
