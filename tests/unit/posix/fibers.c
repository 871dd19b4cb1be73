/* SPDX-License-Identifier: ISC */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "bole/posix.h"

static struct bole_platform *platform_open(unsigned loops)
{
	struct bole_posix_options options = {.loops = loops, .log_level = BOLE_LOG_ERROR + 1};
	struct bole_platform *p = NULL;

	cr_assert_eq(bole_posix_open(&options, &p), BOLE_OK);
	return p;
}

struct shared {
	struct bole_platform *p;
	struct bole_mutex lock;
	struct bole_cond changed;
	unsigned turn;
	unsigned ended;
	atomic_uint sum;
};

static void shared_init(struct shared *s, struct bole_platform *p)
{
	*s = (struct shared){.p = p};
	p->ops->mutex_init(p, &s->lock);
	p->ops->cond_init(p, &s->changed);
}

/* Waits until the fibers have counted sum up to its end; each does so as its last act. */
static void shared_release(struct shared *s, unsigned sum)
{
	while (atomic_load(&s->sum) < sum)
		s->p->ops->sleep_until(s->p, s->p->ops->now_ns(s->p) + 1000000);
	s->p->ops->cond_destroy(s->p, &s->changed);
	s->p->ops->mutex_destroy(s->p, &s->lock);
}

static void add_and_sleep(void *arg)
{
	struct shared *s = arg;

	for (int i = 0; i < 3; i++) {
		s->p->ops->sleep_until(s->p, s->p->ops->now_ns(s->p) + 1000000);
		s->p->ops->yield(s->p);
		atomic_fetch_add(&s->sum, 1);
	}
}

Test(posix_fibers, a_thousand_fibers_sleep_and_end)
{
	struct bole_platform *p = platform_open(3);
	struct shared s;

	shared_init(&s, p);
	for (int i = 0; i < 1000; i++)
		cr_assert_eq(p->ops->fiber_start(p, "sleeper", add_and_sleep, &s, 16384), BOLE_OK);
	shared_release(&s, 3000);
	bole_posix_close(p);
	cr_assert_eq(atomic_load(&s.sum), 3000);
}

struct player {
	struct shared *s;
	unsigned number;
};

enum { PLAYERS = 4, ROUNDS = 2000 };

static void play(void *arg)
{
	struct player *me = arg;
	struct shared *s = me->s;
	struct bole_platform *p = s->p;

	for (int i = 0; i < ROUNDS; i++) {
		p->ops->mutex_lock(p, &s->lock);
		while (s->turn % PLAYERS != me->number)
			cr_assert_eq(p->ops->cond_wait(p, &s->changed, &s->lock, BOLE_NEVER),
			             BOLE_OK);
		s->turn++;
		p->ops->cond_broadcast(p, &s->changed);
		p->ops->mutex_unlock(p, &s->lock);
	}
	p->ops->mutex_lock(p, &s->lock);
	s->ended++;
	p->ops->cond_broadcast(p, &s->changed);
	p->ops->mutex_unlock(p, &s->lock);
}

Test(posix_fibers, fibers_and_a_thread_take_turns_through_one_condition)
{
	struct bole_platform *p = platform_open(2);
	struct player players[PLAYERS];
	struct shared s;

	shared_init(&s, p);
	for (unsigned i = 0; i < PLAYERS; i++)
		players[i] = (struct player){&s, i};
	for (unsigned i = 1; i < PLAYERS; i++)
		cr_assert_eq(p->ops->fiber_start(p, "player", play, &players[i], 0), BOLE_OK);
	play(&players[0]); /* this thread is a player too */
	p->ops->mutex_lock(p, &s.lock);
	while (s.ended < PLAYERS)
		cr_assert_eq(p->ops->cond_wait(p, &s.changed, &s.lock, BOLE_NEVER), BOLE_OK);
	p->ops->mutex_unlock(p, &s.lock);
	cr_assert_eq(s.turn, PLAYERS * ROUNDS);
	shared_release(&s, 0);
	bole_posix_close(p);
}

static void wait_in_vain(void *arg)
{
	struct shared *s = arg;
	struct bole_platform *p = s->p;
	uint64_t start = p->ops->now_ns(p);

	p->ops->mutex_lock(p, &s->lock);
	enum bole_status rc = p->ops->cond_wait(p, &s->changed, &s->lock, start + 20000000);
	p->ops->mutex_unlock(p, &s->lock);
	cr_assert_eq(rc, BOLE_E_TIMEOUT);
	cr_assert_geq(p->ops->now_ns(p) - start, 20000000u);
	atomic_fetch_add(&s->sum, 1);
}

Test(posix_fibers, a_wait_ends_at_its_deadline_on_fibers_and_threads)
{
	struct bole_platform *p = platform_open(1);
	struct shared s;

	shared_init(&s, p);
	for (int i = 0; i < 20; i++)
		cr_assert_eq(p->ops->fiber_start(p, "waiter", wait_in_vain, &s, 0), BOLE_OK);
	wait_in_vain(&s);
	shared_release(&s, 21);
	bole_posix_close(p);
}

static void spin_until_set(void *arg)
{
	struct shared *s = arg;

	while (atomic_load(&s->sum) == 0)
		s->p->ops->yield(s->p);
	atomic_fetch_add(&s->sum, 1);
}

static void set_sum(void *arg)
{
	struct shared *s = arg;

	atomic_fetch_add(&s->sum, 1);
}

Test(posix_fibers, yield_lets_another_fiber_of_the_same_loop_run)
{
	struct bole_platform *p = platform_open(1);
	struct shared s;

	shared_init(&s, p);
	cr_assert_eq(p->ops->fiber_start(p, "spinner", spin_until_set, &s, 0), BOLE_OK);
	cr_assert_eq(p->ops->fiber_start(p, "setter", set_sum, &s, 0), BOLE_OK);
	shared_release(&s, 2);
	bole_posix_close(p);
	cr_assert_eq(atomic_load(&s.sum), 2);
}

enum { NEIGHBOURS = 60 };

struct home {
	struct shared *s;
	pthread_t loop;
	atomic_uint strangers; /* that run on another loop than who started them */
	atomic_bool all;       /* were started */
};

static void note_loop(void *arg)
{
	struct home *home = arg;

	atomic_fetch_add(&home->strangers, pthread_equal(pthread_self(), home->loop) == 0);
	atomic_fetch_add(&home->s->sum, 1);
}

static void note_and_stay(void *arg)
{
	struct home *home = arg;

	while (!atomic_load(&home->all))
		home->s->p->ops->yield(home->s->p);
	note_loop(arg);
}

static void start_both(void *arg)
{
	struct home *home = arg;
	struct bole_platform *p = home->s->p;

	home->loop = pthread_self();
	for (int i = 0; i < NEIGHBOURS; i++)
		(void)p->ops->fiber_start_near(p, "near", note_loop, home, 16384);
	while (atomic_load(&home->s->sum) < NEIGHBOURS)
		p->ops->yield(p);
	/* One after another there is never a better loop than this one. */
	for (unsigned i = 0; i < NEIGHBOURS; i++) {
		(void)p->ops->fiber_start(p, "any", note_loop, home, 16384);
		while (atomic_load(&home->s->sum) < NEIGHBOURS + i + 1)
			p->ops->yield(p);
	}
	atomic_fetch_add(&home->s->sum, 1 + 1000 * atomic_load(&home->strangers));
	for (int i = 0; i < NEIGHBOURS; i++)
		(void)p->ops->fiber_start(p, "any", note_and_stay, home, 16384);
	atomic_store(&home->all, true);
}

Test(posix_fibers, fibers_stay_near_or_are_spread_over_all_loops)
{
	struct bole_platform *p = platform_open(3);
	struct home home = {.s = NULL};
	struct shared s;

	shared_init(&s, p);
	home.s = &s;
	cr_assert_eq(p->ops->fiber_start(p, "home", start_both, &home, 0), BOLE_OK);
	shared_release(&s, 3 * NEIGHBOURS + 1);
	bole_posix_close(p);
	cr_assert_eq(atomic_load(&s.sum), 3 * NEIGHBOURS + 1);
	cr_assert_eq(atomic_load(&home.strangers), NEIGHBOURS / 3 * 2);
	/* Without a fiber to be near to, any loop is right; and more than were asked for is not. */
	p = platform_open(5);
	bole_posix_set_loops(p, 2);
	shared_init(&s, p);
	home.strangers = 0;
	home.loop = pthread_self();
	cr_assert_eq(p->ops->fiber_start_near(p, "alone", note_loop, &home, 0), BOLE_OK);
	shared_release(&s, 1);
	bole_posix_close(p);
}

Test(posix_fibers, more_fibers_than_the_limit_are_refused)
{
	struct bole_posix_options options = {.loops = 1, .fibers_max = 2};
	struct bole_platform *p = NULL;
	struct shared s;

	cr_assert_eq(bole_posix_open(&options, &p), BOLE_OK);
	shared_init(&s, p);
	cr_assert_eq(p->ops->fiber_start(p, "a", spin_until_set, &s, 0), BOLE_OK);
	cr_assert_eq(p->ops->fiber_start(p, "b", spin_until_set, &s, 0), BOLE_OK);
	cr_assert_eq(p->ops->fiber_start(p, "c", spin_until_set, &s, 0), BOLE_E_LIMIT);
	atomic_fetch_add(&s.sum, 1);
	shared_release(&s, 3);
	bole_posix_close(p);
}

Test(posix_fibers, the_allocator_moves_contents_and_keeps_alignment)
{
	struct bole_platform *p = platform_open(1);

	for (size_t align = 1; align <= 4096; align *= 2) {
		uint8_t *a = p->alloc->resize(p->alloc->ctx, NULL, 0, 100, align);
		cr_assert_not_null(a);
		memset(a, 0x5a, 100);
		a = p->alloc->resize(p->alloc->ctx, a, 100, 9000, align);
		cr_assert_not_null(a);
		cr_assert_eq((uintptr_t)a % align, 0);
		for (int i = 0; i < 100; i++)
			cr_assert_eq(a[i], 0x5a);
		cr_assert_null(p->alloc->resize(p->alloc->ctx, a, 9000, 0, align));
	}
	bole_posix_close(p);
}
