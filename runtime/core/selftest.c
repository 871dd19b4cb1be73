/* SPDX-License-Identifier: ISC */
/* See selftest.h. Each check prints nothing when it holds, and its line when it does not. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/arch.h"
#include "core/selftest.h"

#define MS UINT64_C(1000000)

static unsigned failures;

#define CHECK(what)                                                                \
	do {                                                                       \
		if (!(what)) {                                                     \
			core_printf("selftest: line %d: %s\r\n", __LINE__, #what); \
			failures++;                                                \
		}                                                                  \
	} while (0)

static uint64_t random_state = 88172645463325252u;

static uint64_t rnd(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* ---- memory ---- */

#define BLOCKS 128

static void test_pages(void)
{
	struct core_memory_stats before, after;
	char *block[BLOCKS];
	size_t count[BLOCKS];

	core_memory_stats(&before);
	for (unsigned i = 0; i < BLOCKS; i++) {
		count[i] = 1 + rnd() % 37;
		block[i] = core_pages_alloc(count[i]);
		CHECK(block[i] != NULL);
		memset(block[i], (int)i, count[i] * CORE_PAGE_SIZE);
	}
	for (unsigned i = 0; i < BLOCKS; i++) {
		CHECK(block[i][0] == (char)i);
		CHECK(block[i][count[i] * CORE_PAGE_SIZE - 1] == (char)i);
	}
	for (unsigned i = 0; i < BLOCKS; i++) {
		unsigned k = i * 37 % BLOCKS;
		core_pages_free(block[k], count[k]);
	}
	core_memory_stats(&after);
	CHECK(before.pages_used == after.pages_used);
	char *large = core_pages_alloc(512);
	CHECK(large != NULL && core_phys(large) % (512 * CORE_PAGE_SIZE) == 0);
	core_pages_free(large, 512);
}

#define TAKEN_MAX 2048

/* All memory can be taken, running out is NULL, and all of it comes back. None of it is touched:
 * the host need not have it. */
static void test_out_of_memory(void)
{
	struct core_memory_stats before, after;
	struct bole_alloc *a = core_alloc();
	void **all = core_pages_alloc(TAKEN_MAX * sizeof *all / CORE_PAGE_SIZE);
	size_t count = 0, unit = 16;

	CHECK(all != NULL);
	core_memory_stats(&before);
	while (unit < before.pages_total / 1024)
		unit *= 2;
	while (count < TAKEN_MAX && (all[count] = core_pages_alloc(unit)) != NULL)
		count++;
	core_memory_stats(&after);
	CHECK(after.pages_used == before.pages_used + count * unit);
	CHECK(after.pages_total - after.pages_used < unit * 64);
	CHECK(a->resize(a->ctx, NULL, 0, 2 * unit * CORE_PAGE_SIZE, 8) == NULL);
	while (count > 0)
		core_pages_free(all[--count], unit);
	core_memory_stats(&after);
	CHECK(after.pages_used == before.pages_used);
	core_pages_free(all, TAKEN_MAX * sizeof *all / CORE_PAGE_SIZE);
}

static void test_heap(void)
{
	struct bole_alloc *a = core_alloc();
	unsigned char *block[BLOCKS] = {NULL};
	size_t size[BLOCKS] = {0}, align[BLOCKS];

	for (unsigned i = 0; i < BLOCKS; i++)
		align[i] = (size_t)1 << i % 9;
	for (unsigned turn = 0; turn < 4000; turn++) {
		unsigned i = (unsigned)(rnd() % BLOCKS);
		size_t new_size =
		        rnd() % 8 == 0 ? 0 : (size_t)(rnd() % (i % 16 == 0 ? 200000 : 900));
		size_t kept = size[i] < new_size ? size[i] : new_size;
		unsigned char *p = a->resize(a->ctx, block[i], size[i], new_size, align[i]);
		CHECK((p == NULL) == (new_size == 0));
		CHECK((uintptr_t)p % align[i] == 0);
		if (kept > 0)
			CHECK(p[0] == i && p[kept - 1] == i);
		if (p != NULL)
			memset(p, (int)i, new_size);
		block[i] = p;
		size[i] = new_size;
	}
	for (unsigned i = 0; i < BLOCKS; i++)
		a->resize(a->ctx, block[i], size[i], 0, align[i]);
	char *zero = calloc(1, 300000);
	CHECK(zero != NULL && zero[0] == 0 && zero[299999] == 0);
	free(zero);
}

/* ---- fibers and time ---- */

#define PING_TURNS 2000

struct ping {
	struct core_fiber *waiter;
	unsigned turns;
	bool done;
};

static void ping_main(void *arg)
{
	struct ping *p = arg;

	while (p->turns < PING_TURNS) {
		p->turns++;
		core_wake(p->waiter);
		core_yield();
	}
	p->done = true;
	core_wake(p->waiter);
}

static void test_switching(void)
{
	struct ping p = {.waiter = core_fiber_self()};
	struct core_memory_stats before, after;

	CHECK(core_fiber_start("ping", ping_main, &p, 0) != NULL);
	while (!p.done)
		core_park();
	CHECK(p.turns == PING_TURNS);
	/* Stacks come back: many fibers one after the other need no more memory than a few. */
	core_memory_stats(&before);
	for (unsigned i = 0; i < 500; i++) {
		p.done = false;
		CHECK(core_fiber_start("ping", ping_main, &p, 0) != NULL);
		while (!p.done)
			core_park();
	}
	core_memory_stats(&after);
	CHECK(after.pages_used < before.pages_used + 64);
}

struct sleeper {
	uint64_t until, woke;
	unsigned *left;
};

static void sleeper_main(void *arg)
{
	struct sleeper *s = arg;

	core_sleep_until(s->until);
	s->woke = core_now_ns();
	--*s->left;
}

#define SLEEPERS 40

static void test_sleeping(void)
{
	static struct sleeper s[SLEEPERS];
	unsigned left = SLEEPERS;
	uint64_t start = core_now_ns();

	for (unsigned i = 0; i < SLEEPERS; i++) {
		s[i].until = start + (1 + rnd() % 60) * MS;
		s[i].left = &left;
		CHECK(core_fiber_start("sleeper", sleeper_main, &s[i], 16 * 1024) != NULL);
	}
	while (left > 0)
		core_sleep_until(core_now_ns() + MS);
	for (unsigned i = 0; i < SLEEPERS; i++)
		CHECK(s[i].woke >= s[i].until);
	CHECK(core_now_ns() - start < 2000 * MS);
}

static struct core_timer timers[64];
static unsigned fired[64], fired_count;

static void on_timer(void *ctx)
{
	fired[fired_count++] = (unsigned)((struct core_timer *)ctx - timers);
}

static void test_timers(void)
{
	uint64_t base = core_now_ns() + 5 * MS, last = 0;
	unsigned cancelled = 0;

	for (unsigned i = 0; i < 64; i++) {
		timers[i].fn = on_timer;
		timers[i].ctx = &timers[i];
		core_timer_set(&timers[i], base + rnd() % (10 * MS));
	}
	for (unsigned i = 0; i < 64; i += 3) {
		core_timer_cancel(&timers[i]);
		core_timer_cancel(&timers[i]);
		cancelled++;
	}
	for (unsigned i = 1; i < 64; i += 6)
		if (timers[i].set)
			core_timer_set(&timers[i], base + rnd() % (10 * MS));
	core_sleep_until(base + 20 * MS);
	CHECK(fired_count == 64 - cancelled);
	for (unsigned i = 0; i < fired_count; i++) {
		CHECK(timers[fired[i]].deadline_ns >= last);
		CHECK(fired[i] % 3 != 0);
		last = timers[fired[i]].deadline_ns;
	}
}

struct shared {
	struct bole_platform *p;
	struct bole_mutex m;
	struct bole_cond c;
	unsigned value, done;
};

static void incrementer(void *arg)
{
	struct shared *s = arg;
	const struct bole_platform_ops *ops = s->p->ops;

	for (unsigned i = 0; i < 50; i++) {
		ops->mutex_lock(s->p, &s->m);
		unsigned v = s->value;
		ops->yield(s->p);
		s->value = v + 1;
		ops->mutex_unlock(s->p, &s->m);
	}
	ops->mutex_lock(s->p, &s->m);
	s->done++;
	ops->cond_signal(s->p, &s->c);
	ops->mutex_unlock(s->p, &s->m);
}

static void test_locks(void)
{
	struct shared s = {.p = core_platform()};
	const struct bole_platform_ops *ops = s.p->ops;

	ops->mutex_init(s.p, &s.m);
	ops->cond_init(s.p, &s.c);
	for (unsigned i = 0; i < 4; i++)
		CHECK(ops->fiber_start(s.p, "inc", incrementer, &s, 0) == BOLE_OK);
	ops->mutex_lock(s.p, &s.m);
	while (s.done < 4)
		CHECK(ops->cond_wait(s.p, &s.c, &s.m, BOLE_NEVER) == BOLE_OK);
	CHECK(s.value == 200);
	CHECK(ops->cond_wait(s.p, &s.c, &s.m, ops->now_ns(s.p) + 3 * MS) == BOLE_E_TIMEOUT);
	ops->mutex_unlock(s.p, &s.m);
	ops->mutex_destroy(s.p, &s.m);
	ops->cond_destroy(s.p, &s.c);
}

static void test_rest(void)
{
	char text[64];
	uint8_t a[32], b[32];
	int64_t date;

	snprintf(text, sizeof text, "%s %5d %-4u| %#lx %.2f", "x", -42, 7u, 255ul, 2.5);
	CHECK(strcmp(text, "x   -42 7   | 0xff 2.50") == 0);
	CHECK(core_option("bole.selftest", text, sizeof text) && strcmp(text, "1") == 0);
	CHECK(!core_option("bole.self", text, sizeof text));
	core_random(a, sizeof a);
	core_random(b, sizeof b);
	CHECK(memcmp(a, b, sizeof a) != 0);
	if (core_wall_s(&date))
		CHECK(date > 1700000000 && date < INT64_C(4000000000));
}

/* ---- faults that must end in a trap ---- */

static __attribute__((noinline)) int overflow(volatile char *above, unsigned depth)
{
	volatile char here[1024];

	here[0] = above[0];
	return depth == 0 ? 0 : overflow(here, depth - 1) + here[0];
}

static void commit_fault(const char *what)
{
	volatile uintptr_t target;

	if (strcmp(what, "text") == 0) {
		target = (uintptr_t)selftest_if_asked;
		*(volatile char *)target = 0;
	} else if (strcmp(what, "constant") == 0) {
		target = (uintptr_t) "constant";
		*(volatile char *)target = 0;
	} else if (strcmp(what, "data") == 0) {
		static char code[] = {(char)0xc3}; /* ret */
		target = (uintptr_t)code;
		((void (*)(void))target)();
	} else if (strcmp(what, "overflow") == 0) {
		char first = 'x';
		overflow(&first, UINT32_MAX);
	} else if (strcmp(what, "null") == 0) {
		target = 16;
		*(volatile char *)target = 0;
	} else if (strcmp(what, "panic") == 0) {
		core_panic("asked for");
	} else if (strcmp(what, "heap") == 0) {
		char *volatile p = malloc(100);
		volatile char *head = p;
		for (int i = 1; i <= 8; i++)
			head[-i] = 0x55;
		free(p);
	}
	core_printf("selftest: %s was not caught\r\n", what);
	core_exit(0);
}

static void run(const char *name, void (*test)(void))
{
	unsigned before = failures;
	uint64_t start = core_now_ns();

	test();
	core_printf("selftest: %-14s %s (%lu us)\r\n", name, failures == before ? "ok" : "FAILED",
	            (unsigned long)((core_now_ns() - start) / 1000));
}

void selftest_if_asked(void)
{
	char what[32];

	if (!core_option("bole.selftest", what, sizeof what))
		return;
	if (strcmp(what, "stop") == 0) {
		core_printf("selftest: waiting to be stopped\r\n");
		core_stop_wait();
		core_printf("selftest: stopped\r\n");
		core_exit(0);
	}
	if (strcmp(what, "1") != 0)
		commit_fault(what);
	run("pages", test_pages);
	run("out of memory", test_out_of_memory);
	run("heap", test_heap);
	run("switching", test_switching);
	run("sleeping", test_sleeping);
	run("timers", test_timers);
	run("locks", test_locks);
	run("rest", test_rest);
	core_printf("selftest: %s\r\n", failures == 0 ? "passed" : "FAILED");
	core_exit(failures == 0 ? 0 : 1);
}
