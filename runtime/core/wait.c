/* SPDX-License-Identifier: ISC */
/* Queues of waiting fibers. A waiter lies on its fiber's stack while it waits. */

#include "core/core.h"

struct core_waiter {
	struct core_waiter *next, *prev;
	struct core_fiber *fiber;
	bool woken;
};

static void unlink_waiter(struct core_wait_queue *q, struct core_waiter *w)
{
	if (w->prev != NULL)
		w->prev->next = w->next;
	else
		q->head = w->next;
	if (w->next != NULL)
		w->next->prev = w->prev;
	else
		q->tail = w->prev;
}

bool core_wait(struct core_wait_queue *q, uint64_t deadline_ns)
{
	struct core_waiter w = {.prev = q->tail, .fiber = core_fiber_self()};

	if (w.prev != NULL)
		w.prev->next = &w;
	else
		q->head = &w;
	q->tail = &w;
	while (!w.woken) {
		if (!core_park_until(deadline_ns) && !w.woken) {
			unlink_waiter(q, &w);
			return false;
		}
	}
	return true;
}

bool core_wait_wake_one(struct core_wait_queue *q)
{
	struct core_waiter *w = q->head;

	if (w == NULL)
		return false;
	unlink_waiter(q, w);
	w->woken = true;
	core_wake(w->fiber);
	return true;
}

bool core_wait_wake_all(struct core_wait_queue *q)
{
	bool any = false;

	while (core_wait_wake_one(q))
		any = true;
	return any;
}
