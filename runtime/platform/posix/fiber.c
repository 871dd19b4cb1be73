/* SPDX-License-Identifier: ISC */
/* Fibers: stacks with a guard page, start, switch, park. The sanitizers are told of each switch. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

#if POSIX_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif
#if POSIX_TSAN
#include <sanitizer/tsan_interface.h>
#endif

enum {
	/* A yield sooner after the last switch goes on at once: hot loops may yield often. */
	YIELD_SLICE_NS = 500 * 1000,
};

static _Thread_local struct posix_fiber *current;

struct posix_fiber *posix_fiber_current(void)
{
	return current;
}

struct posix_fiber *posix_fiber_of(const struct posix *p)
{
	struct posix_fiber *f = current;

	return f != NULL && f->loop->platform == p ? f : NULL;
}

/* -- stacks -- */

static bool stack_map(struct posix_stack *s, size_t usable)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	s->usable = (usable + page - 1) / page * page;
	s->mapped = s->usable + page;
	void *base = mmap(NULL, s->mapped, PROT_READ | PROT_WRITE,
	                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (base == MAP_FAILED)
		return false;
	if (mprotect(base, page, PROT_NONE) != 0) {
		munmap(base, s->mapped);
		return false;
	}
	s->base = base;
	return true;
}

#if POSIX_ASAN
static uint8_t *stack_low(const struct posix_stack *s)
{
	return s->base + (s->mapped - s->usable);
}
#endif

static bool stack_take(struct posix_loop *loop, struct posix_stack *s, size_t usable)
{
	bool found = false;

	pthread_mutex_lock(&loop->lock);
	for (size_t i = loop->stack_count; i > 0 && !found; i--) {
		if (loop->stacks[i - 1].usable != usable)
			continue;
		*s = loop->stacks[i - 1];
		loop->stacks[i - 1] = loop->stacks[--loop->stack_count];
		found = true;
	}
	pthread_mutex_unlock(&loop->lock);
	if (!found && !stack_map(s, usable))
		return false;
#if POSIX_ASAN
	__asan_unpoison_memory_region(stack_low(s), s->usable);
	__lsan_register_root_region(stack_low(s), s->usable);
#endif
	return true;
}

static void stack_give(struct posix_loop *loop, struct posix_stack *s)
{
	bool kept = false;

#if POSIX_ASAN
	__lsan_unregister_root_region(stack_low(s), s->usable);
	__asan_unpoison_memory_region(stack_low(s), s->usable);
#endif
	pthread_mutex_lock(&loop->lock);
	if (loop->stack_count < POSIX_STACKS_KEPT) {
		loop->stacks[loop->stack_count++] = *s;
		kept = true;
	}
	pthread_mutex_unlock(&loop->lock);
	if (!kept)
		munmap(s->base, s->mapped);
}

void posix_stacks_release(struct posix_loop *loop)
{
	while (loop->stack_count > 0) {
		struct posix_stack *s = &loop->stacks[--loop->stack_count];
		munmap(s->base, s->mapped);
	}
}

/* -- switching -- */

static void switch_to_loop(struct posix_fiber *self)
{
	struct posix_loop *loop = self->loop;

#if POSIX_ASAN
	__sanitizer_start_switch_fiber(self->dead ? NULL : &self->asan_fake_stack, loop->asan_stack,
	                               loop->asan_stack_bytes);
#endif
#if POSIX_TSAN
	__tsan_switch_to_fiber(loop->tsan_fiber, 0);
#endif
	posix_switch(&self->sp, loop->sp);
#if POSIX_ASAN
	__sanitizer_finish_switch_fiber(self->asan_fake_stack, NULL, NULL);
#endif
}

static void fiber_entry(void)
{
	struct posix_fiber *self = current;

#if POSIX_ASAN
	__sanitizer_finish_switch_fiber(NULL, &self->loop->asan_stack,
	                                &self->loop->asan_stack_bytes);
#endif
	self->fn(self->arg);
	self->dead = true;
	switch_to_loop(self);
	posix_fatal("a dead fiber was resumed", 0);
}

void posix_fiber_resume(struct posix_loop *loop, struct posix_fiber *f)
{
	loop->slice_start_ns = posix_now_ns();
	current = f;
#if POSIX_ASAN
	__sanitizer_start_switch_fiber(&loop->asan_fake_stack, stack_low(&f->stack),
	                               f->stack.usable);
#endif
#if POSIX_TSAN
	__tsan_switch_to_fiber(f->tsan_fiber, 0);
#endif
	posix_switch(&loop->sp, f->sp);
#if POSIX_ASAN
	__sanitizer_finish_switch_fiber(loop->asan_fake_stack, NULL, NULL);
#endif
	current = NULL;
}

void posix_fiber_park(struct posix_fiber *self, uint64_t deadline_ns)
{
	self->deadline_ns = deadline_ns;
	if (deadline_ns != BOLE_NEVER)
		posix_timer_add(self->loop, self);
	switch_to_loop(self);
	posix_timer_remove(self->loop, self);
}

void posix_fiber_wake(struct posix_fiber *f)
{
	if (!atomic_exchange(&f->ready, true))
		posix_loop_enqueue(f->loop, f);
}

void posix_yield(struct bole_platform *platform)
{
	struct posix_fiber *self = posix_fiber_of((struct posix *)platform);

	if (self == NULL || posix_now_ns() - self->loop->slice_start_ns < YIELD_SLICE_NS)
		return;
	posix_fiber_wake(self);
	posix_fiber_park(self, BOLE_NEVER);
}

void posix_sleep_until(struct bole_platform *platform, uint64_t deadline_ns)
{
	struct posix_fiber *self = posix_fiber_of((struct posix *)platform);

	for (uint64_t now; (now = posix_now_ns()) < deadline_ns;) {
		if (self != NULL) {
			posix_fiber_park(self, deadline_ns);
			continue;
		}
		uint64_t left = deadline_ns - now;
		uint64_t step = left < 3600000000000u ? left : 3600000000000u;
		struct timespec t = {(time_t)(step / 1000000000u), (long)(step % 1000000000u)};
		nanosleep(&t, NULL);
	}
}

/* -- start and end -- */

/* With p->lock held. A fiber that starts another hands it to the loop that has the fewest of those,
 * its own if none has fewer: then nobody has to be woken. What threads start they do in turns. */
static struct posix_loop *pick_loop(struct posix *p, const struct posix_fiber *self)
{
	if (self == NULL)
		return &p->loops[p->next_loop++ % p->loop_count];
	struct posix_loop *best = self->loop;

	for (unsigned i = 0; i < p->loop_count; i++) {
		struct posix_loop *loop = &p->loops[(p->next_loop + i) % p->loop_count];
		if (loop->guests < best->guests)
			best = loop;
	}
	p->next_loop += best != self->loop;
	return best;
}

/* Counts the fiber in. It goes to a loop near or, NULL, to one that is picked. */
static enum bole_status fiber_admit(struct posix *p, struct posix_loop *near, struct posix_fiber *f)
{
	const struct posix_fiber *self = posix_fiber_of(p);
	enum bole_status rc = BOLE_OK;

	pthread_mutex_lock(&p->lock);
	if (!atomic_load(&p->started))
		rc = posix_loops_start(p);
	if (rc == BOLE_OK && p->fiber_count >= p->fibers_max)
		rc = BOLE_E_LIMIT;
	if (rc == BOLE_OK) {
		p->fiber_count++;
		f->loop = near != NULL ? near : pick_loop(p, self);
		f->guest = self != NULL;
		f->loop->guests += f->guest;
	}
	pthread_mutex_unlock(&p->lock);
	return rc;
}

static void fiber_dismiss(struct posix *p, struct posix_fiber *f)
{
	pthread_mutex_lock(&p->lock);
	f->loop->guests -= f->guest;
	free(f);
	if (--p->fiber_count == 0)
		pthread_cond_broadcast(&p->idle);
	pthread_mutex_unlock(&p->lock);
}

/* near: NULL = any loop. */
static enum bole_status fiber_start(struct posix *p, struct posix_loop *near, const char *name,
                                    void (*fn)(void *), void *arg, size_t stack_bytes)
{
	size_t usable = stack_bytes == 0 ? p->stack_bytes : stack_bytes;

	if (usable < POSIX_STACK_BYTES_MIN)
		usable = POSIX_STACK_BYTES_MIN;
	struct posix_fiber *f = calloc(1, sizeof *f);
	if (f == NULL)
		return BOLE_E_NO_MEMORY;
	enum bole_status rc = fiber_admit(p, near, f);
	if (rc != BOLE_OK) {
		free(f);
		return rc;
	}
	if (!stack_take(f->loop, &f->stack, usable * POSIX_STACK_FACTOR)) {
		fiber_dismiss(p, f);
		return BOLE_E_NO_MEMORY;
	}
	f->fn = fn;
	f->arg = arg;
	f->heap_index = SIZE_MAX;
	f->sp = posix_switch_prepare(f->stack.base + f->stack.mapped, fiber_entry);
	snprintf(f->name, sizeof f->name, "%s", name);
#if POSIX_TSAN
	f->tsan_fiber = __tsan_create_fiber(0);
	__tsan_set_fiber_name(f->tsan_fiber, f->name);
#endif
	posix_fiber_wake(f);
	return BOLE_OK;
}

enum bole_status posix_fiber_start(struct bole_platform *platform, const char *name,
                                   void (*fn)(void *), void *arg, size_t stack_bytes)
{
	return fiber_start((struct posix *)platform, NULL, name, fn, arg, stack_bytes);
}

enum bole_status posix_fiber_start_near(struct bole_platform *platform, const char *name,
                                        void (*fn)(void *), void *arg, size_t stack_bytes)
{
	struct posix *p = (struct posix *)platform;
	const struct posix_fiber *self = posix_fiber_of(p);

	return fiber_start(p, self == NULL ? NULL : self->loop, name, fn, arg, stack_bytes);
}

void posix_fiber_free(struct posix_fiber *f)
{
	struct posix *p = f->loop->platform;

#if POSIX_TSAN
	__tsan_destroy_fiber(f->tsan_fiber);
#endif
	stack_give(f->loop, &f->stack);
	fiber_dismiss(p, f);
}
