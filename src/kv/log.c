/* SPDX-License-Identifier: ISC */
/* History: a heap of the commits that are known but not shown, newest first. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/boundary.h"
#include "git/object/oid_map.h"
#include "kv/kv.h"

struct waiting {
	struct bole_oid oid;
	int64_t time;
	uint64_t number; /* in order of discovery: breaks ties the way Git does */
};

struct bole_kv_log {
	struct bole_kv_view *view;
	struct bole_alloc *alloc;
	bool first_parent;
	struct bole_boundary boundary;
	struct bole_oid_map seen;
	struct waiting *heap;
	size_t count;
	size_t cap;
	uint64_t next_number;
};

static bool before(const struct waiting *a, const struct waiting *b)
{
	return a->time != b->time ? a->time > b->time : a->number < b->number;
}

static enum bole_status heap_push(struct bole_kv_log *log, struct waiting item)
{
	if (log->count == log->cap) {
		size_t cap = log->cap == 0 ? 16 : log->cap * 2;
		struct waiting *heap =
		        bole_alloc_resize(log->alloc, log->heap, log->cap, cap, sizeof *heap);

		if (heap == NULL)
			return BOLE_E_NO_MEMORY;
		log->heap = heap;
		log->cap = cap;
	}
	size_t at = log->count++;
	for (; at > 0 && before(&item, &log->heap[(at - 1) / 2]); at = (at - 1) / 2)
		log->heap[at] = log->heap[(at - 1) / 2];
	log->heap[at] = item;
	return BOLE_OK;
}

static struct waiting heap_pop(struct bole_kv_log *log)
{
	struct waiting top = log->heap[0];
	struct waiting last = log->heap[--log->count];
	size_t at = 0;

	for (size_t child = 1; child < log->count; child = 2 * at + 1) {
		if (child + 1 < log->count && before(&log->heap[child + 1], &log->heap[child]))
			child++;
		if (!before(&log->heap[child], &last))
			break;
		log->heap[at] = log->heap[child];
		at = child;
	}
	if (log->count > 0)
		log->heap[at] = last;
	return top;
}

static enum bole_status commit_read(struct bole_kv_log *log, const struct bole_oid *oid,
                                    struct bole_commit *out)
{
	struct bole_bytes data;
	uint8_t type;

	enum bole_status rc = bole_object_read(log->view->reader, oid, &type, &data);
	if (rc == BOLE_OK && (type != BOLE_OBJECT_COMMIT ||
	                      bole_commit_parse(data, log->view->kv->repo.algo, out) != BOLE_OK))
		rc = BOLE_E_CORRUPT;
	if (rc == BOLE_OK)
		bole_boundary_cut(&log->boundary.ends, oid, out);
	return rc == BOLE_E_NOT_FOUND ? BOLE_E_CORRUPT : rc;
}

/* Enters a commit that was not seen yet. */
static enum bole_status discover(struct bole_kv_log *log, const struct bole_oid *oid)
{
	struct bole_commit commit;
	uint32_t item;
	bool added = true;

	if (!log->first_parent)
		BOLE_TRY(bole_oid_map_put(&log->seen, oid->bytes, &item, &added));
	if (!added)
		return BOLE_OK;
	BOLE_TRY(commit_read(log, oid, &commit));
	return heap_push(log, (struct waiting){*oid, commit.commit_time, log->next_number++});
}

enum bole_status bole_kv_log_open(struct bole_kv_view *view, bool first_parent,
                                  struct bole_kv_log **out)
{
	struct bole_alloc *alloc = view->kv->alloc;
	struct bole_kv_log *log = bole_alloc_zeroed(alloc, 1, sizeof *log);
	enum bole_status rc = BOLE_OK;

	*out = NULL;
	if (log == NULL)
		return BOLE_E_NO_MEMORY;
	log->view = view;
	log->alloc = alloc;
	log->first_parent = first_parent;
	bole_oid_map_init(&log->seen, view->kv->platform, alloc, view->kv->repo.algo, 4);
	bole_boundary_init(&log->boundary, view->kv->platform, alloc, view->kv->repo.algo);
	if (view->has_commit)
		rc = bole_boundary_load(&log->boundary, view->snapshot);
	if (rc == BOLE_OK && view->has_commit)
		rc = discover(log, &view->commit);
	if (rc != BOLE_OK) {
		bole_kv_log_close(log);
		return rc;
	}
	*out = log;
	return BOLE_OK;
}

void bole_kv_log_close(struct bole_kv_log *log)
{
	if (log == NULL)
		return;
	bole_boundary_release(&log->boundary);
	bole_oid_map_release(&log->seen);
	bole_alloc_free(log->alloc, log->heap, log->cap, sizeof *log->heap);
	bole_alloc_free(log->alloc, log, 1, sizeof *log);
}

enum bole_status bole_kv_log_next(struct bole_kv_log *log, struct bole_kv_commit *out)
{
	uint8_t algo = log->view->kv->repo.algo;
	struct bole_commit commit;
	struct bole_oid parent;

	if (log->count == 0)
		return BOLE_END;
	struct waiting now = heap_pop(log);
	size_t follow = 1;
	for (size_t i = 0; i < follow; i++) {
		/* Read again each time: discovering a parent moves the reader on. */
		BOLE_TRY(commit_read(log, &now.oid, &commit));
		if (!log->first_parent)
			follow = commit.parent_count;
		if (i >= commit.parent_count)
			break;
		bole_commit_parent(&commit, algo, i, &parent);
		BOLE_TRY(discover(log, &parent));
	}
	BOLE_TRY(commit_read(log, &now.oid, &commit));
	*out = (struct bole_kv_commit){
	        .oid = now.oid,
	        .tree = commit.tree,
	        .parent_count = commit.parent_count,
	        .author = commit.author,
	        .committer = commit.committer,
	        .time = commit.commit_time,
	        .message = commit.message,
	};
	return BOLE_OK;
}
