/* SPDX-License-Identifier: ISC */
/* The choice of haves. A walk over our commits, newest first, names only some of them: after each
 * that is named, its ancestors are passed over for a stride that grows by half with every commit of
 * theirs that is named. What turns out to be common takes its ancestors with it. So a history of n
 * commits costs about log n names, for a pack that may be some commits too long. */
#include "base/check.h"
#include "base/memory.h"
#include "git/client/remote.h"

enum { SEEN = 1, POPPED = 2, COMMON = 4, SHARED = 8, CAP_FIRST = 256 };

struct bole_skip_state {
	uint32_t stride; /* of its line, when it was last named */
	uint32_t left;   /* commits to pass over still, this one included */
	uint8_t flags;
};

void bole_skipper_init(struct bole_skipper *s, struct bole_history *history,
                       struct bole_alloc *alloc)
{
	*s = (struct bole_skipper){.history = history, .alloc = alloc};
}

void bole_skipper_release(struct bole_skipper *s)
{
	bole_alloc_free(s->alloc, s->states, s->state_cap, sizeof *s->states);
	bole_alloc_free(s->alloc, s->heap, s->heap_cap, sizeof *s->heap);
	bole_alloc_free(s->alloc, s->stack, s->stack_cap, sizeof *s->stack);
	*s = (struct bole_skipper){.alloc = s->alloc};
}

static enum bole_status list_room(struct bole_alloc *alloc, uint32_t **list, size_t *cap,
                                  size_t count)
{
	if (count < *cap)
		return BOLE_OK;
	size_t want = *cap == 0 ? CAP_FIRST : *cap * 2;
	uint32_t *grown = bole_alloc_resize(alloc, *list, *cap, want, sizeof **list);
	if (grown == NULL)
		return BOLE_E_NO_MEMORY;
	*list = grown;
	*cap = want;
	return BOLE_OK;
}

/* The node of a commit, with a state. */
static enum bole_status meet(struct bole_skipper *s, const struct bole_oid *oid, uint32_t *at)
{
	BOLE_TRY(bole_history_meet(s->history, oid, at));
	size_t need = s->history->node_count;
	if (need <= s->state_cap)
		return BOLE_OK;
	size_t cap = s->state_cap == 0 ? CAP_FIRST : s->state_cap;
	while (cap < need)
		cap *= 2;
	struct bole_skip_state *grown =
	        bole_alloc_resize(s->alloc, s->states, s->state_cap, cap, sizeof *grown);
	if (grown == NULL)
		return BOLE_E_NO_MEMORY;
	for (size_t i = s->state_cap; i < cap; i++)
		grown[i] = (struct bole_skip_state){.flags = 0};
	s->states = grown;
	s->state_cap = cap;
	return BOLE_OK;
}

/* -- A heap, newest first -- */

static bool newer(const struct bole_skipper *s, size_t a, size_t b)
{
	const struct bole_history_node *nodes = s->history->nodes;

	return nodes[s->heap[a]].date > nodes[s->heap[b]].date;
}

static void swap(struct bole_skipper *s, size_t a, size_t b)
{
	uint32_t kept = s->heap[a];

	s->heap[a] = s->heap[b];
	s->heap[b] = kept;
}

static enum bole_status heap_push(struct bole_skipper *s, uint32_t at)
{
	BOLE_TRY(list_room(s->alloc, &s->heap, &s->heap_cap, s->heap_count));
	s->heap[s->heap_count++] = at;
	for (size_t i = s->heap_count - 1; i > 0 && newer(s, i, (i - 1) / 2); i = (i - 1) / 2)
		swap(s, i, (i - 1) / 2);
	return BOLE_OK;
}

static uint32_t heap_pop(struct bole_skipper *s)
{
	uint32_t top = s->heap[0];

	s->heap[0] = s->heap[--s->heap_count];
	for (size_t i = 0;;) {
		size_t best = i;

		for (size_t child = 2 * i + 1; child <= 2 * i + 2; child++)
			if (child < s->heap_count && newer(s, child, best))
				best = child;
		if (best == i)
			return top;
		swap(s, i, best);
		i = best;
	}
}

/* -- The walk -- */

static enum bole_status enqueue(struct bole_skipper *s, uint32_t at)
{
	struct bole_skip_state *state = &s->states[at];

	if (!s->history->nodes[at].is_commit || (state->flags & SEEN) != 0)
		return BOLE_OK;
	state->flags |= SEEN;
	s->live += (state->flags & COMMON) == 0;
	return heap_push(s, at);
}

/* Common too is whatever a common commit reaches, as far as the walk has come. */
static enum bole_status mark_common(struct bole_skipper *s, uint32_t at)
{
	size_t depth = 0;

	BOLE_TRY(list_room(s->alloc, &s->stack, &s->stack_cap, depth));
	s->stack[depth++] = at;
	while (depth > 0) {
		at = s->stack[--depth];
		/* Nodes that were only named as parents have no state yet, and none is needed. */
		if (at >= s->state_cap)
			continue;
		struct bole_skip_state *state = &s->states[at];
		const struct bole_history_node *node = &s->history->nodes[at];

		if ((state->flags & COMMON) != 0)
			continue;
		s->live -= (state->flags & (SEEN | POPPED)) == SEEN;
		state->flags |= COMMON;
		for (uint32_t i = 0; (state->flags & SEEN) != 0 && i < node->parent_count; i++) {
			BOLE_TRY(list_room(s->alloc, &s->stack, &s->stack_cap, depth));
			s->stack[depth++] = s->history->links[node->parents + i];
		}
	}
	return BOLE_OK;
}

enum bole_status bole_skipper_tip(struct bole_skipper *s, const struct bole_oid *oid, bool shared)
{
	uint32_t at;

	BOLE_TRY(meet(s, oid, &at));
	if (shared)
		s->states[at].flags |= SHARED;
	return enqueue(s, at);
}

/* *fresh: nothing had led to the parent before. */
static enum bole_status pass_on(struct bole_skipper *s, uint32_t from, uint32_t link, bool *fresh)
{
	struct bole_oid oid = s->history->nodes[s->history->links[link]].oid;
	uint32_t at;

	BOLE_TRY(meet(s, &oid, &at));
	const struct bole_skip_state above = s->states[from];
	struct bole_skip_state *state = &s->states[at];
	*fresh = (state->flags & SEEN) == 0;
	if ((above.flags & (COMMON | SHARED)) != 0) {
		BOLE_TRY(enqueue(s, at));
		return mark_common(s, at);
	}
	uint32_t stride = above.left > 0 ? above.stride : above.stride + above.stride / 2 + 1;
	if (state->stride < stride) {
		state->stride = stride;
		state->left = above.left > 0 ? above.left - 1 : stride;
	}
	return enqueue(s, at);
}

static enum bole_status step(struct bole_skipper *s, struct bole_oid *out, bool *found)
{
	uint32_t at = heap_pop(s);
	bool common = (s->states[at].flags & COMMON) != 0;
	bool named = s->states[at].left == 0;
	bool onward = false;
	bool fresh;

	s->states[at].flags |= POPPED;
	s->live -= !common;
	uint32_t first = s->history->nodes[at].parents;
	uint32_t count = s->history->nodes[at].parent_count;
	for (uint32_t i = 0; i < count; i++) {
		BOLE_TRY(pass_on(s, at, first + i, &fresh));
		onward = onward || fresh;
	}
	/* Where a line ends its last commit is named whatever the stride. */
	*found = !common && (named || !onward);
	*out = s->history->nodes[at].oid;
	return BOLE_OK;
}

enum bole_status bole_skipper_next(struct bole_skipper *s, struct bole_oid *out)
{
	bool found = false;

	while (!found) {
		if (s->live == 0)
			return BOLE_END;
		BOLE_TRY(step(s, out, &found));
	}
	return BOLE_OK;
}

enum bole_status bole_skipper_common(struct bole_skipper *s, const struct bole_oid *oid,
                                     bool *fresh)
{
	uint32_t at = bole_oid_index_find(&s->history->index, oid->bytes);

	*fresh = false;
	/* Only what was named may be acknowledged. */
	if (at == BOLE_OID_NONE || at >= s->state_cap || (s->states[at].flags & SEEN) == 0)
		return BOLE_E_INVALID;
	*fresh = (s->states[at].flags & COMMON) == 0;
	return mark_common(s, at);
}
