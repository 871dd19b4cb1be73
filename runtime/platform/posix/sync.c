/* SPDX-License-Identifier: ISC */
/* Locks. A mutex is a pthread mutex: it guards memory for a few instructions and no fiber parks
 * with one held. A condition parks fibers and blocks plain threads alike. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "internal.h"

struct waiter {
	struct waiter *next;
	struct waiter *prev;
	struct posix_fiber *fiber; /* NULL: a thread, which waits on wake */
	pthread_cond_t wake;
	bool queued;
};

struct condition {
	pthread_mutex_t lock; /* guards the list and its waiters; taken inside the user's mutex */
	struct waiter *first;
	struct waiter *last;
};

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(struct bole_mutex), "bole_mutex is too small");
_Static_assert(sizeof(struct condition) <= sizeof(struct bole_cond), "bole_cond is too small");

static pthread_mutex_t *mutex_of(struct bole_mutex *m)
{
	return (pthread_mutex_t *)(void *)m;
}

static struct condition *condition_of(struct bole_cond *c)
{
	return (struct condition *)(void *)c;
}

static void must(int error, const char *what)
{
	if (error != 0)
		posix_fatal(what, error);
}

void posix_mutex_init(struct bole_platform *platform, struct bole_mutex *m)
{
	(void)platform;
	must(pthread_mutex_init(mutex_of(m), NULL), "mutex init");
}

void posix_mutex_destroy(struct bole_platform *platform, struct bole_mutex *m)
{
	(void)platform;
	must(pthread_mutex_destroy(mutex_of(m)), "mutex destroy");
}

void posix_mutex_lock(struct bole_platform *platform, struct bole_mutex *m)
{
	(void)platform;
	must(pthread_mutex_lock(mutex_of(m)), "mutex lock");
}

void posix_mutex_unlock(struct bole_platform *platform, struct bole_mutex *m)
{
	(void)platform;
	must(pthread_mutex_unlock(mutex_of(m)), "mutex unlock");
}

void posix_thread_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	must(pthread_condattr_init(&attr), "condattr init");
	must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC), "condattr clock");
	must(pthread_cond_init(cond, &attr), "cond init");
	pthread_condattr_destroy(&attr);
}

bool posix_thread_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns)
{
	if (deadline_ns == BOLE_NEVER) {
		must(pthread_cond_wait(cond, lock), "cond wait");
		return true;
	}
	struct timespec at = {
	        .tv_sec = (time_t)(deadline_ns / 1000000000u),
	        .tv_nsec = (long)(deadline_ns % 1000000000u),
	};
	int error = pthread_cond_timedwait(cond, lock, &at);
	if (error != 0 && error != ETIMEDOUT)
		posix_fatal("cond timedwait", error);
	return error == 0;
}

void posix_cond_init(struct bole_platform *platform, struct bole_cond *c)
{
	(void)platform;
	struct condition *cond = condition_of(c);
	must(pthread_mutex_init(&cond->lock, NULL), "cond init");
	cond->first = NULL;
	cond->last = NULL;
}

void posix_cond_destroy(struct bole_platform *platform, struct bole_cond *c)
{
	(void)platform;
	struct condition *cond = condition_of(c);
	if (cond->first != NULL)
		posix_fatal("a condition with waiters was destroyed", 0);
	must(pthread_mutex_destroy(&cond->lock), "cond destroy");
}

static void list_add(struct condition *c, struct waiter *w)
{
	w->next = NULL;
	w->prev = c->last;
	if (c->last == NULL)
		c->first = w;
	else
		c->last->next = w;
	c->last = w;
	w->queued = true;
}

static void list_remove(struct condition *c, struct waiter *w)
{
	if (w->prev == NULL)
		c->first = w->next;
	else
		w->prev->next = w->next;
	if (w->next == NULL)
		c->last = w->prev;
	else
		w->next->prev = w->prev;
	w->queued = false;
}

enum bole_status posix_cond_wait(struct bole_platform *platform, struct bole_cond *cond,
                                 struct bole_mutex *mutex, uint64_t deadline_ns)
{
	struct condition *c = condition_of(cond);
	struct waiter w = {.fiber = posix_fiber_of((struct posix *)platform)};
	bool in_time = true;

	if (w.fiber == NULL)
		posix_thread_cond_init(&w.wake);
	must(pthread_mutex_lock(&c->lock), "cond lock");
	list_add(c, &w);
	must(pthread_mutex_unlock(mutex_of(mutex)), "mutex unlock");
	while (w.queued && in_time) {
		if (w.fiber == NULL) {
			in_time = posix_thread_wait(&w.wake, &c->lock, deadline_ns);
			continue;
		}
		must(pthread_mutex_unlock(&c->lock), "cond unlock");
		posix_fiber_park(w.fiber, deadline_ns);
		in_time = deadline_ns == BOLE_NEVER || posix_now_ns() < deadline_ns;
		must(pthread_mutex_lock(&c->lock), "cond lock");
	}
	enum bole_status rc = w.queued ? BOLE_E_TIMEOUT : BOLE_OK;
	if (w.queued)
		list_remove(c, &w);
	must(pthread_mutex_unlock(&c->lock), "cond unlock");
	if (w.fiber == NULL)
		pthread_cond_destroy(&w.wake);
	/* Last: the user's mutex comes before c->lock in the order of locks. */
	must(pthread_mutex_lock(mutex_of(mutex)), "mutex lock");
	return rc;
}

/* With c->lock held: so the waiter, which takes it before it returns, is still there. */
static void wake_first(struct condition *c)
{
	struct waiter *w = c->first;

	list_remove(c, w);
	if (w->fiber != NULL)
		posix_fiber_wake(w->fiber);
	else
		pthread_cond_signal(&w->wake);
}

void posix_cond_signal(struct bole_platform *platform, struct bole_cond *cond)
{
	(void)platform;
	struct condition *c = condition_of(cond);
	must(pthread_mutex_lock(&c->lock), "cond lock");
	if (c->first != NULL)
		wake_first(c);
	must(pthread_mutex_unlock(&c->lock), "cond unlock");
}

void posix_cond_broadcast(struct bole_platform *platform, struct bole_cond *cond)
{
	(void)platform;
	struct condition *c = condition_of(cond);
	must(pthread_mutex_lock(&c->lock), "cond lock");
	while (c->first != NULL)
		wake_first(c);
	must(pthread_mutex_unlock(&c->lock), "cond unlock");
}
