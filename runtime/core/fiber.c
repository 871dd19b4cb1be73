/* SPDX-License-Identifier: ISC */
/* Fibers and the scheduler. A fiber's record lies at the top of its own stack block; the block's
 * lowest page is unmapped. The scheduler keeps the boot stack: fibers switch to it and it switches
 * to the next, so pollers and timers never run on a small stack. */

#include <stdio.h>
#include <string.h>

#include "core/arch.h"
#include "core/sched.h"

#define NAME_BYTES     16
#define POOL_PAGES_MAX 512 /* idle stacks that are kept: 2 MiB */
#define SLICE_NS       2000000u
#define STACK_MAX      (1024u * 1024)

enum fiber_state { FIBER_READY, FIBER_RUNNING, FIBER_PARKED, FIBER_DONE };

struct core_fiber {
	void *sp;
	struct core_fiber *next; /* run queue, or pool of stacks */
	enum fiber_state state;
	bool woken; /* a wake came while not parked */
	bool timed_out;
	char name[NAME_BYTES];
	void (*fn)(void *arg);
	void *arg;
	struct core_timer timer;
	char *block; /* lowest address: the guard page */
	size_t pages;
};

static struct core_fiber *current, *ready_head, *ready_tail, *pool;
static size_t pooled_pages;
static void *scheduler_sp;
static uint64_t switched_ns;
static struct core_poller *pollers;
static struct sched_longest longest;

/* Gives idle stacks back to the page allocator; true if there were any. */
bool fiber_pool_drop(void)
{
	bool any = pool != NULL;

	while (pool != NULL) {
		struct core_fiber *f = pool;
		pool = f->next;
		if (!arch_protect(core_phys(f->block), CORE_PAGE_SIZE, ARCH_READ_WRITE))
			core_panic("cannot map a guard page back");
		core_pages_free(f->block, f->pages);
	}
	pooled_pages = 0;
	return any;
}

/* A block of this many pages whose lowest is a guard; NULL without memory. */
static char *stack_new(size_t pages)
{
	char *block;

	for (struct core_fiber **at = &pool; *at != NULL; at = &(*at)->next) {
		struct core_fiber *f = *at;
		if (f->pages != pages)
			continue;
		*at = f->next;
		pooled_pages -= pages;
		return f->block;
	}
	block = core_pages_alloc(pages);
	if (block != NULL && !arch_protect(core_phys(block), CORE_PAGE_SIZE, ARCH_NONE)) {
		core_pages_free(block, pages);
		return NULL;
	}
	return block;
}

static void stack_free(struct core_fiber *f)
{
	f->next = pool;
	pool = f;
	pooled_pages += f->pages;
	if (pooled_pages > POOL_PAGES_MAX)
		fiber_pool_drop();
}

static void make_ready(struct core_fiber *f)
{
	f->state = FIBER_READY;
	f->next = NULL;
	if (ready_tail != NULL)
		ready_tail->next = f;
	else
		ready_head = f;
	ready_tail = f;
}

static void leave(enum fiber_state state)
{
	struct core_fiber *f = current;

	f->state = state;
	arch_switch(&f->sp, scheduler_sp);
}

static void fiber_main(void *arg)
{
	struct core_fiber *f = arg;

	f->fn(f->arg);
	leave(FIBER_DONE);
}

static void on_timeout(void *ctx)
{
	struct core_fiber *f = ctx;

	f->timed_out = true;
	core_wake(f);
}

struct core_fiber *core_fiber_start(const char *name, void (*fn)(void *arg), void *arg,
                                    size_t stack_bytes)
{
	struct core_fiber *f;
	size_t pages;
	char *block;

	if (stack_bytes == 0)
		stack_bytes = CORE_STACK_DEFAULT;
	if (stack_bytes > STACK_MAX)
		return NULL;
	pages = (stack_bytes + CORE_PAGE_SIZE - 1) / CORE_PAGE_SIZE + 1;
	block = stack_new(pages);
	if (block == NULL)
		return NULL;
	f = (struct core_fiber *)(uintptr_t)(block + pages * CORE_PAGE_SIZE - sizeof *f -
	                                     sizeof *f % 16);
	memset(f, 0, sizeof *f);
	f->block = block;
	f->pages = pages;
	snprintf(f->name, NAME_BYTES, "%s", name);
	f->fn = fn;
	f->arg = arg;
	f->timer.fn = on_timeout;
	f->timer.ctx = f;
	f->sp = arch_fiber_prepare(f, fiber_main, f);
	make_ready(f);
	return f;
}

struct core_fiber *core_fiber_self(void)
{
	return current;
}

const char *core_fiber_name(const struct core_fiber *f)
{
	return f->name;
}

bool core_guard_hit(uint64_t address)
{
	return current != NULL && address - core_phys(current->block) < CORE_PAGE_SIZE;
}

void core_park(void)
{
	if (current == NULL)
		core_panic("park outside a fiber");
	if (!current->woken)
		leave(FIBER_PARKED);
	current->woken = false;
}

bool core_park_until(uint64_t deadline_ns)
{
	struct core_fiber *f = current;

	if (f == NULL)
		core_panic("park outside a fiber");
	if (deadline_ns == CORE_NEVER) {
		core_park();
		return true;
	}
	if (!f->woken && arch_now_ns() >= deadline_ns)
		return false;
	f->timed_out = false;
	core_timer_set(&f->timer, deadline_ns);
	core_park();
	core_timer_cancel(&f->timer);
	return !f->timed_out;
}

void core_wake(struct core_fiber *f)
{
	if (f->state == FIBER_PARKED)
		make_ready(f);
	f->woken = true;
}

void core_yield(void)
{
	if (current == NULL)
		return;
	make_ready(current);
	arch_switch(&current->sp, scheduler_sp);
}

void core_sleep_until(uint64_t deadline_ns)
{
	while (arch_now_ns() < deadline_ns)
		core_park_until(deadline_ns);
}

bool core_slice_over(void)
{
	return arch_now_ns() - switched_ns > SLICE_NS;
}

struct sched_longest sched_longest(void)
{
	struct sched_longest was = longest;

	longest.ns = 0;
	return was;
}

void core_poller_register(struct core_poller *p)
{
	p->next = pollers;
	pollers = p;
}

static void run_ready(void)
{
	struct core_fiber *f = ready_head;

	/* Those made ready meanwhile wait for the next round, after the pollers. */
	ready_head = ready_tail = NULL;
	while (f != NULL) {
		struct core_fiber *next = f->next;
		f->state = FIBER_RUNNING;
		current = f;
		switched_ns = arch_now_ns();
		arch_switch(&scheduler_sp, f->sp);
		current = NULL;
		if (arch_now_ns() - switched_ns > longest.ns) {
			longest.ns = arch_now_ns() - switched_ns;
			memcpy(longest.name, f->name, NAME_BYTES);
		}
		if (f->state == FIBER_DONE)
			stack_free(f);
		f = next;
	}
}

static bool idle_allowed(void)
{
	for (struct core_poller *p = pollers; p != NULL; p = p->next)
		if (p->before_idle != NULL && p->before_idle(p->ctx))
			return false;
	return ready_head == NULL;
}

void sched_run(void)
{
	for (;;) {
		bool busy = false;

		run_ready();
		for (struct core_poller *p = pollers; p != NULL; p = p->next)
			busy |= p->poll(p->ctx);
		busy |= timers_run(arch_now_ns());
		if (!busy && ready_head == NULL && idle_allowed())
			arch_idle_until(timers_next());
	}
}
