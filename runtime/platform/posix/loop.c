/* SPDX-License-Identifier: ISC */
/* Event loops: a ready list that any thread may add to, timers, epoll. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "internal.h"

#if POSIX_TSAN
#include <sanitizer/tsan_interface.h>
#endif

enum {
	LOOP_STACK_BYTES = 256 * 1024 * POSIX_STACK_FACTOR,
	POLL_EVERY_NS = 50 * 1000, /* while fibers are ready */
};

/* -- the ready list -- */

void posix_loop_kick(struct posix_loop *loop)
{
	while (eventfd_write(loop->wake_fd, 1) != 0 && errno == EINTR)
		;
}

void posix_loop_enqueue(struct posix_loop *loop, struct posix_fiber *f)
{
	pthread_mutex_lock(&loop->lock);
	f->next = NULL;
	if (loop->ready_last == NULL)
		loop->ready_first = f;
	else
		loop->ready_last->next = f;
	loop->ready_last = f;
	/* One write wakes the loop; it clears the flag itself before it looks at the list. */
	bool write_fd = atomic_exchange(&loop->asleep, false);
	pthread_mutex_unlock(&loop->lock);
	if (write_fd)
		posix_loop_kick(loop);
}

static struct posix_fiber *ready_take_all(struct posix_loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	struct posix_fiber *first = loop->ready_first;
	loop->ready_first = NULL;
	loop->ready_last = NULL;
	pthread_mutex_unlock(&loop->lock);
	return first;
}

/* -- timers: a binary heap; every fiber knows its place in it -- */

static void timer_put(struct posix_loop *loop, size_t i, struct posix_fiber *f)
{
	loop->timers[i] = f;
	f->heap_index = i;
}

static void timer_up(struct posix_loop *loop, size_t i, struct posix_fiber *f)
{
	while (i > 0 && loop->timers[(i - 1) / 2]->deadline_ns > f->deadline_ns) {
		timer_put(loop, i, loop->timers[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	timer_put(loop, i, f);
}

static void timer_down(struct posix_loop *loop, size_t i, struct posix_fiber *f)
{
	for (size_t child; (child = 2 * i + 1) < loop->timer_count; i = child) {
		if (child + 1 < loop->timer_count &&
		    loop->timers[child + 1]->deadline_ns < loop->timers[child]->deadline_ns)
			child++;
		if (loop->timers[child]->deadline_ns >= f->deadline_ns)
			break;
		timer_put(loop, i, loop->timers[child]);
	}
	timer_put(loop, i, f);
}

void posix_timer_add(struct posix_loop *loop, struct posix_fiber *f)
{
	timer_up(loop, loop->timer_count++, f);
}

void posix_timer_remove(struct posix_loop *loop, struct posix_fiber *f)
{
	size_t i = f->heap_index;

	if (i == SIZE_MAX)
		return;
	f->heap_index = SIZE_MAX;
	struct posix_fiber *last = loop->timers[--loop->timer_count];
	if (last == f)
		return;
	timer_down(loop, i, last);
	timer_up(loop, last->heap_index, last);
}

static void timers_run(struct posix_loop *loop)
{
	uint64_t now = posix_now_ns();

	while (loop->timer_count > 0 && loop->timers[0]->deadline_ns <= now) {
		struct posix_fiber *f = loop->timers[0];
		posix_timer_remove(loop, f);
		posix_fiber_wake(f);
	}
}

/* Milliseconds to the next timer, rounded up: waking early would only spin. */
static int timers_wait_ms(const struct posix_loop *loop)
{
	enum { LONGEST_MS = 60 * 1000 };

	if (loop->timer_count == 0)
		return -1;
	uint64_t now = posix_now_ns();
	uint64_t at = loop->timers[0]->deadline_ns;
	if (at <= now)
		return 0;
	uint64_t ms = (at - now) / 1000000 + 1;
	return ms < LONGEST_MS ? (int)ms : LONGEST_MS;
}

/* Runs the fibers that were ready when it was called. */
static void run_ready(struct posix_loop *loop)
{
	struct posix_fiber *next = NULL;

	for (struct posix_fiber *f = ready_take_all(loop); f != NULL; f = next) {
		next = f->next;
		atomic_store(&f->ready, false);
		if (!f->dead)
			posix_fiber_resume(loop, f);
		/* A wake that came late has put it into the list again: then it goes next time. */
		if (f->dead && !atomic_exchange(&f->ready, true))
			posix_fiber_free(f);
	}
}

static void poll_events(struct posix_loop *loop, int wait_ms)
{
	struct epoll_event events[POSIX_EVENTS];
	int count = epoll_wait(loop->epoll_fd, events, POSIX_EVENTS, wait_ms);

	atomic_store(&loop->asleep, false);
	if (count < 0 && errno != EINTR)
		posix_fatal("epoll_wait", errno);
	for (int i = 0; i < count; i++) {
		if (events[i].data.ptr != NULL)
			posix_stream_event(events[i].data.ptr, events[i].events);
	}
	pthread_mutex_lock(&loop->lock);
	struct posix_stream *closed = loop->closed;
	loop->closed = NULL;
	pthread_mutex_unlock(&loop->lock);
	while (closed != NULL) {
		struct posix_stream *next = closed->next_closed;
		posix_stream_free(closed);
		closed = next;
	}
}

/* May the loop sleep? Tells wakers so under the lock that they take. *idle: no fiber is ready. */
static bool go_to_sleep(struct posix_loop *loop, bool *idle, bool *stop)
{
	pthread_mutex_lock(&loop->lock);
	*idle = loop->ready_first == NULL;
	*stop = loop->stop && *idle;
	bool sleep = *idle && loop->closed == NULL && !loop->stop;
	if (sleep)
		atomic_store(&loop->asleep, true);
	pthread_mutex_unlock(&loop->lock);
	return sleep;
}

static void *loop_main(void *arg)
{
	struct posix_loop *loop = arg;
	uint64_t polled_ns = 0;
	bool idle = true;
	bool stop = false;

#if POSIX_TSAN
	loop->tsan_fiber = __tsan_get_current_fiber();
#endif
	while (!stop) {
		bool sleep = go_to_sleep(loop, &idle, &stop);
		/* Fibers that wake each other need no look at the sockets in between. */
		if (idle || posix_now_ns() - polled_ns >= POLL_EVERY_NS) {
			poll_events(loop, sleep ? timers_wait_ms(loop) : 0);
			polled_ns = posix_now_ns();
		}
		/* After the events: what came while the loop was held up did come in time. */
		timers_run(loop);
		run_ready(loop);
	}
	return NULL;
}

/* -- start and stop -- */

static enum bole_status loop_open(struct posix *p, struct posix_loop *loop)
{
	/* By edges: it is written, never read. */
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	pthread_attr_t attr;

	loop->platform = p;
	/* Every fiber could land here: room for all, once, instead of growing under a lock. */
	loop->timer_cap = p->fibers_max + 1;
	loop->timers = calloc(loop->timer_cap, sizeof *loop->timers);
	if (loop->timers == NULL)
		return BOLE_E_NO_MEMORY;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->epoll_fd < 0 || loop->wake_fd < 0 ||
	    epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) != 0)
		return BOLE_E_IO;
	pthread_mutex_init(&loop->lock, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, LOOP_STACK_BYTES);
	int failed = pthread_create(&loop->thread, &attr, loop_main, loop);
	pthread_attr_destroy(&attr);
	return failed == 0 ? BOLE_OK : BOLE_E_NO_MEMORY;
}

static void loop_release(struct posix_loop *loop)
{
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	if (loop->wake_fd >= 0)
		close(loop->wake_fd);
	posix_stacks_release(loop);
	free(loop->timers);
	loop->timers = NULL;
}

enum bole_status posix_loops_start(struct posix *p)
{
	enum bole_status rc = posix_pool_start(p);

	while (rc == BOLE_OK && p->loop_count < p->loop_limit) {
		struct posix_loop *loop = &p->loops[p->loop_count];
		*loop = (struct posix_loop){.epoll_fd = -1, .wake_fd = -1};
		rc = loop_open(p, loop);
		if (rc != BOLE_OK)
			loop_release(loop);
		else
			p->loop_count++;
	}
	if (p->loop_count > 0) /* fewer loops than asked for still serve */
		rc = BOLE_OK;
	atomic_store(&p->started, rc == BOLE_OK);
	return rc;
}

void posix_loops_stop(struct posix *p)
{
	for (unsigned i = 0; i < p->loop_count; i++) {
		struct posix_loop *loop = &p->loops[i];
		pthread_mutex_lock(&loop->lock);
		loop->stop = true;
		pthread_mutex_unlock(&loop->lock);
		posix_loop_kick(loop);
		pthread_join(loop->thread, NULL);
		pthread_mutex_destroy(&loop->lock);
		loop_release(loop);
	}
	p->loop_count = 0;
	posix_pool_stop(p);
}
