/* SPDX-License-Identifier: ISC */
/* The graph of commits behind negotiation and fast-forward checks. Nodes are loaded once and kept,
 * so that every further question of a session walks memory only. */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/memory.h"
#include "git/negotiate.h"
#include "git/object/object.h"
#include "git/service/service_impl.h"

enum {
	ARRAY_CAP_MIN = 256,
	NODES_MAX = 64 << 20,
	VISITS_MAX = 8 << 20, /* steps of all questions of a session */
	VISITS_PER_YIELD = 4096,
	SELECT_SLOP = 8, /* commits to go on with after a selection seems done, for wrong clocks */
};

/* Flags of the depth-first search. */
enum { ON_PATH = 1, LEADS = 2, DEAD_END = 4 };
/* Flags of the painting. */
enum { FROM_NEWER = 1, FROM_OLDER = 2, STALE = 4, QUEUED = 8 };

static const uint8_t *node_key(const void *items, uint32_t item)
{
	const struct bole_history *h = items;

	return h->nodes[item].oid.bytes;
}

void bole_history_init(struct bole_history *h, struct bole_session *session,
                       struct bole_snapshot *view)
{
	*h = (struct bole_history){.session = session, .view = view};
	bole_oid_index_init(&h->index, session->svc->platform, session->svc->alloc,
	                    session->svc->repo.algo, node_key, h);
}

void bole_history_release(struct bole_history *h)
{
	struct bole_alloc *alloc = h->index.alloc;

	bole_alloc_free(alloc, h->nodes, h->node_cap, sizeof *h->nodes);
	bole_alloc_free(alloc, h->links, h->link_cap, sizeof *h->links);
	bole_alloc_free(alloc, h->queue, h->queue_cap, sizeof *h->queue);
	bole_oid_index_release(&h->index);
	h->nodes = NULL;
	h->links = NULL;
	h->queue = NULL;
	h->node_count = h->node_cap = h->link_count = h->link_cap = 0;
	h->queue_count = h->queue_cap = 0;
}

/* Room for `more` elements behind `count`. */
static enum bole_status room(struct bole_history *h, void **array, size_t *cap, size_t count,
                             size_t more, size_t size)
{
	size_t want = *cap == 0 ? ARRAY_CAP_MIN : *cap;

	if (more <= *cap - count)
		return BOLE_OK;
	while (want - count < more)
		want *= 2;
	void *grown = bole_alloc_resize(h->index.alloc, *array, *cap, want, size);
	if (grown == NULL)
		return BOLE_E_NO_MEMORY;
	*array = grown;
	*cap = want;
	return BOLE_OK;
}

static enum bole_status intern(struct bole_history *h, const struct bole_oid *oid, uint32_t *out)
{
	*out = bole_oid_index_find(&h->index, oid->bytes);
	if (*out != BOLE_OID_NONE)
		return BOLE_OK;
	if (h->node_count == NODES_MAX)
		return BOLE_E_LIMIT;
	void *nodes = h->nodes;
	enum bole_status rc = room(h, &nodes, &h->node_cap, h->node_count, 1, sizeof *h->nodes);
	h->nodes = nodes;
	if (rc != BOLE_OK)
		return rc;
	*out = (uint32_t)h->node_count;
	h->nodes[h->node_count++] = (struct bole_history_node){.oid = *oid};
	rc = bole_oid_index_add(&h->index, *out);
	if (rc != BOLE_OK)
		h->node_count--;
	return rc;
}

static enum bole_status add_parents(struct bole_history *h, uint32_t at,
                                    const struct bole_commit *c)
{
	uint8_t algo = h->session->svc->repo.algo;
	void *links = h->links;
	enum bole_status rc =
	        room(h, &links, &h->link_cap, h->link_count, c->parent_count, sizeof *h->links);

	h->links = links;
	if (rc != BOLE_OK)
		return rc;
	uint32_t first = (uint32_t)h->link_count;
	for (size_t i = 0; i < c->parent_count; i++) {
		struct bole_oid parent;
		bole_commit_parent(c, algo, i, &parent);
		BOLE_TRY(intern(h, &parent, &h->links[first + i]));
	}
	h->link_count += c->parent_count;
	h->nodes[at].parents = first;
	h->nodes[at].parent_count = (uint32_t)c->parent_count;
	h->nodes[at].date = c->commit_time;
	return BOLE_OK;
}

static enum bole_status load(struct bole_history *h, uint32_t at)
{
	struct bole_object_reader *reader;
	struct bole_entry entry;
	struct bole_bytes data;
	struct bole_commit commit;

	if (h->nodes[at].loaded)
		return BOLE_OK;
	BOLE_TRY(bole_session_tick(h->session));
	BOLE_TRY(bole_session_reader(h->session, h->view, &reader));
	BOLE_TRY(bole_odb_find(h->view, &h->nodes[at].oid, &entry));
	if (entry.type == BOLE_OBJECT_COMMIT) {
		BOLE_TRY(bole_object_read_entry(reader, &entry, &data));
		BOLE_TRY(bole_commit_parse(data, h->session->svc->repo.algo, &commit));
		if (h->grafts != NULL)
			bole_boundary_cut(h->grafts, &h->nodes[at].oid, &commit);
		if (h->session->boundary.platform != NULL)
			bole_boundary_cut(&h->session->boundary.ends, &h->nodes[at].oid, &commit);
		BOLE_TRY(add_parents(h, at, &commit));
		h->nodes[at].is_commit = true;
	}
	h->nodes[at].loaded = true;
	return BOLE_OK;
}

enum bole_status bole_history_meet(struct bole_history *h, const struct bole_oid *oid, uint32_t *at)
{
	BOLE_TRY(intern(h, oid, at));
	return load(h, *at);
}

enum bole_status bole_history_common(struct bole_history *h, const struct bole_oid *oid,
                                     bool *fresh)
{
	uint32_t at;

	*fresh = false;
	BOLE_TRY(intern(h, oid, &at));
	if (h->nodes[at].common)
		return BOLE_OK;
	BOLE_TRY(load(h, at));
	h->nodes[at].common = true;
	h->changed = true;
	*fresh = true;
	if (!h->nodes[at].is_commit)
		return BOLE_OK;
	if (!h->any_common || h->nodes[at].date < h->oldest_common)
		h->oldest_common = h->nodes[at].date;
	h->any_common = true;
	return BOLE_OK;
}

static uint8_t flags_of(const struct bole_history *h, uint32_t at)
{
	return h->nodes[at].epoch == h->epoch ? h->nodes[at].flags : 0;
}

static void set_flags(struct bole_history *h, uint32_t at, unsigned flags)
{
	h->nodes[at].epoch = h->epoch;
	h->nodes[at].flags = (uint8_t)flags;
}

static enum bole_status push(struct bole_history *h, uint32_t value)
{
	void *queue = h->queue;
	enum bole_status rc = room(h, &queue, &h->queue_cap, h->queue_count, 1, sizeof *h->queue);

	h->queue = queue;
	if (rc == BOLE_OK)
		h->queue[h->queue_count++] = value;
	return rc;
}

/* -- Enough common commits? -- */

/* The path of the search is the queue: pairs of (node, next parent to look at). */
static enum bole_status path_push(struct bole_history *h, uint32_t at)
{
	set_flags(h, at, ON_PATH);
	BOLE_TRY(push(h, at));
	return push(h, 0);
}

static void path_settle(struct bole_history *h, uint8_t flag)
{
	for (size_t i = 0; i < h->queue_count; i += 2)
		set_flags(h, h->queue[i], flag);
	h->queue_count = 0;
}

/* One step of the search. BOLE_END: settled, the path is empty. */
static enum bole_status path_step(struct bole_history *h)
{
	uint32_t at = h->queue[h->queue_count - 2];
	uint32_t *next = &h->queue[h->queue_count - 1];

	if (++h->visits > VISITS_MAX)
		return BOLE_E_LIMIT;
	if (h->visits % VISITS_PER_YIELD == 0)
		BOLE_TRY(bole_session_yield(h->session));
	BOLE_TRY(load(h, at));
	const struct bole_history_node *node = &h->nodes[at];
	if (node->common) {
		path_settle(h, LEADS);
		return BOLE_END;
	}
	bool too_old = node->date < h->oldest_common;
	if (too_old || *next == node->parent_count) {
		set_flags(h, at, DEAD_END);
		h->queue_count -= 2;
		return h->queue_count == 0 ? BOLE_END : BOLE_OK;
	}
	uint32_t parent = h->links[node->parents + (*next)++];
	if (flags_of(h, parent) == LEADS) {
		path_settle(h, LEADS);
		return BOLE_END;
	}
	/* A node on the path cannot come again: history has no cycles. */
	return flags_of(h, parent) == 0 ? path_push(h, parent) : BOLE_OK;
}

static enum bole_status tip_leads(struct bole_history *h, const struct bole_oid *tip, bool *out)
{
	uint32_t at;

	BOLE_TRY(intern(h, tip, &at));
	if (flags_of(h, at) == 0) {
		h->queue_count = 0;
		enum bole_status rc = path_push(h, at);
		while (rc == BOLE_OK)
			rc = path_step(h);
		if (rc != BOLE_END)
			return rc;
	}
	*out = flags_of(h, at) == LEADS;
	return BOLE_OK;
}

enum bole_status bole_history_enough(struct bole_history *h, const struct bole_oid *tips,
                                     size_t count, bool *out)
{
	enum bole_status rc = BOLE_OK;
	bool leads = h->any_common;

	*out = h->enough;
	if (h->enough || !h->changed)
		return BOLE_OK;
	h->changed = false;
	h->epoch++;
	for (size_t i = 0; i < count && leads && rc == BOLE_OK; i++)
		rc = tip_leads(h, &tips[i], &leads);
	/* A question that costs too much is answered "not yet"; the client goes on. */
	if (rc == BOLE_E_LIMIT || rc == BOLE_E_NO_MEMORY)
		return BOLE_OK;
	h->enough = rc == BOLE_OK && leads;
	*out = h->enough;
	return rc;
}

/* -- Fast-forward? -- */

static bool newer_than(const struct bole_history *h, size_t a, size_t b)
{
	return h->nodes[h->queue[a]].date > h->nodes[h->queue[b]].date;
}

static void heap_swap(struct bole_history *h, size_t a, size_t b)
{
	uint32_t kept = h->queue[a];

	h->queue[a] = h->queue[b];
	h->queue[b] = kept;
}

static enum bole_status heap_push(struct bole_history *h, uint32_t at)
{
	BOLE_TRY(push(h, at));
	for (size_t i = h->queue_count - 1; i > 0 && newer_than(h, i, (i - 1) / 2); i = (i - 1) / 2)
		heap_swap(h, i, (i - 1) / 2);
	return BOLE_OK;
}

static uint32_t heap_pop(struct bole_history *h)
{
	uint32_t top = h->queue[0];

	h->queue[0] = h->queue[--h->queue_count];
	for (size_t i = 0;;) {
		size_t best = i;
		for (size_t child = 2 * i + 1; child <= 2 * i + 2; child++)
			if (child < h->queue_count && newer_than(h, child, best))
				best = child;
		if (best == i)
			return top;
		heap_swap(h, i, best);
		i = best;
	}
}

/* Adds colours to a commit; fresh counts queued commits that are not stale. */
static enum bole_status paint(struct bole_history *h, uint32_t at, unsigned colours, size_t *fresh)
{
	unsigned before = flags_of(h, at);
	unsigned after = before | colours;

	if (after == before)
		return BOLE_OK;
	BOLE_TRY(load(h, at));
	set_flags(h, at, after | QUEUED);
	if ((before & QUEUED) == 0) {
		*fresh += (after & STALE) == 0;
		return heap_push(h, at);
	}
	*fresh -= (before & STALE) == 0 && (after & STALE) != 0;
	return BOLE_OK;
}

/* Colours flow from both commits to their ancestors, newest first. What both reach is stale; when
 * only stale commits wait, nothing new can be learnt. */
enum bole_status bole_history_ancestor(struct bole_history *h, const struct bole_oid *older,
                                       const struct bole_oid *newer, bool *out)
{
	uint32_t low;
	uint32_t high;
	size_t fresh = 0;

	*out = false;
	h->epoch++;
	h->queue_count = 0;
	BOLE_TRY(intern(h, older, &low));
	BOLE_TRY(intern(h, newer, &high));
	BOLE_TRY(paint(h, high, FROM_NEWER, &fresh));
	BOLE_TRY(paint(h, low, FROM_OLDER, &fresh));
	while (fresh > 0 && (flags_of(h, low) & FROM_NEWER) == 0) {
		if (++h->visits > VISITS_MAX)
			return BOLE_E_LIMIT;
		uint32_t at = heap_pop(h);
		unsigned flags = flags_of(h, at) & ~(unsigned)QUEUED;
		fresh -= (flags & STALE) == 0;
		set_flags(h, at, flags);
		if ((flags & (FROM_NEWER | FROM_OLDER)) == (FROM_NEWER | FROM_OLDER))
			flags |= STALE;
		for (uint32_t i = 0; i < h->nodes[at].parent_count; i++)
			BOLE_TRY(paint(h, h->links[h->nodes[at].parents + i], flags, &fresh));
		BOLE_TRY(bole_session_tick(h->session));
	}
	*out = (flags_of(h, low) & FROM_NEWER) != 0;
	return BOLE_OK;
}

/* -- Reachable? -- */

enum bole_status bole_history_reach(struct bole_history *h, const struct bole_id_list *starts,
                                    const struct bole_id_list *targets, uint8_t *found,
                                    size_t commits_max)
{
	size_t fresh = 0;
	size_t seen = 0;
	uint32_t at;

	h->epoch++;
	h->queue_count = 0;
	for (size_t i = 0; i < starts->count && i < commits_max; i++) {
		BOLE_TRY(intern(h, &starts->ids[i], &at));
		BOLE_TRY(paint(h, at, FROM_NEWER, &fresh));
	}
	for (; h->queue_count > 0 && seen < commits_max; seen++) {
		at = heap_pop(h);
		uint32_t target = bole_id_list_find(targets, &h->nodes[at].oid);
		if (target != BOLE_OID_NONE && h->nodes[at].is_commit)
			found[target] = 1;
		for (uint32_t i = 0; i < h->nodes[at].parent_count; i++)
			BOLE_TRY(paint(h, h->links[h->nodes[at].parents + i], FROM_NEWER, &fresh));
		BOLE_TRY(bole_session_tick(h->session));
	}
	return BOLE_OK;
}

/* -- Selected? -- */

bool bole_history_selected(const struct bole_history *h, uint32_t at)
{
	return (flags_of(h, at) & (FROM_NEWER | STALE)) == FROM_NEWER;
}

static enum bole_status paint_commits(struct bole_history *h, const struct bole_id_list *ids,
                                      unsigned colours, size_t *fresh)
{
	uint32_t at;

	for (size_t i = 0; i < ids->count; i++) {
		BOLE_TRY(bole_history_meet(h, &ids->ids[i], &at));
		if (h->nodes[at].is_commit)
			BOLE_TRY(paint(h, at, colours, fresh));
	}
	return BOLE_OK;
}

enum bole_status bole_history_select(struct bole_history *h, const struct bole_id_list *wants,
                                     const struct bole_id_list *excluded, int64_t since_s)
{
	int64_t oldest = INT64_MAX;
	size_t fresh = 0;
	int slop = SELECT_SLOP;

	h->epoch++;
	h->queue_count = 0;
	BOLE_TRY(paint_commits(h, wants, FROM_NEWER, &fresh));
	BOLE_TRY(paint_commits(h, excluded, FROM_OLDER | STALE, &fresh));
	while (h->queue_count > 0) {
		if (fresh > 0 || h->nodes[h->queue[0]].date >= oldest)
			slop = SELECT_SLOP;
		else if (slop-- == 0)
			break;
		if (++h->visits > VISITS_MAX)
			return BOLE_E_LIMIT;
		uint32_t at = heap_pop(h);
		unsigned flags = flags_of(h, at) & ~(unsigned)QUEUED;
		fresh -= (flags & STALE) == 0;
		if (h->nodes[at].date < since_s)
			flags |= STALE;
		set_flags(h, at, flags);
		if ((flags & STALE) == 0 && h->nodes[at].date < oldest)
			oldest = h->nodes[at].date;
		for (uint32_t i = 0; i < h->nodes[at].parent_count; i++)
			BOLE_TRY(paint(h, h->links[h->nodes[at].parents + i], flags, &fresh));
		BOLE_TRY(bole_session_tick(h->session));
	}
	return BOLE_OK;
}
