/* SPDX-License-Identifier: ISC */
/* Timers in a pairing heap that lives in the timers themselves: setting one never allocates. */

#include "core/core.h"
#include "core/sched.h"

static struct core_timer *root;

static struct core_timer *meld(struct core_timer *a, struct core_timer *b)
{
	if (a == NULL)
		return b;
	if (b == NULL)
		return a;
	if (b->deadline_ns < a->deadline_ns) {
		struct core_timer *t = a;
		a = b;
		b = t;
	}
	b->back = a;
	b->sibling = a->child;
	if (b->sibling != NULL)
		b->sibling->back = b;
	a->child = b;
	return a;
}

/* Melds a list of siblings: pairs from the left, then the pairs from the right. */
static struct core_timer *meld_siblings(struct core_timer *first)
{
	struct core_timer *pairs = NULL, *result = NULL;

	while (first != NULL) {
		struct core_timer *a = first, *b = a->sibling;
		first = b == NULL ? NULL : b->sibling;
		a->sibling = a->back = NULL;
		if (b != NULL)
			b->sibling = b->back = NULL;
		a = meld(a, b);
		a->sibling = pairs;
		pairs = a;
	}
	while (pairs != NULL) {
		struct core_timer *next = pairs->sibling;
		pairs->sibling = NULL;
		result = meld(result, pairs);
		pairs = next;
	}
	return result;
}

void core_timer_set(struct core_timer *t, uint64_t deadline_ns)
{
	core_timer_cancel(t);
	t->deadline_ns = deadline_ns;
	t->child = t->sibling = t->back = NULL;
	t->set = true;
	root = meld(root, t);
}

void core_timer_cancel(struct core_timer *t)
{
	if (!t->set)
		return;
	t->set = false;
	if (t == root) {
		root = meld_siblings(t->child);
	} else {
		/* back is the parent for a first child, else the sibling before. */
		if (t->back->child == t)
			t->back->child = t->sibling;
		else
			t->back->sibling = t->sibling;
		if (t->sibling != NULL)
			t->sibling->back = t->back;
		root = meld(root, meld_siblings(t->child));
	}
	t->child = t->sibling = t->back = NULL;
}

uint64_t timers_next(void)
{
	return root == NULL ? CORE_NEVER : root->deadline_ns;
}

bool timers_run(uint64_t now_ns)
{
	bool any = false;

	while (root != NULL && root->deadline_ns <= now_ns) {
		struct core_timer *t = root;
		core_timer_cancel(t);
		t->fn(t->ctx);
		any = true;
	}
	return any;
}
