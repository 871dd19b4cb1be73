/* SPDX-License-Identifier: ISC */
#include "support/platform.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/large_blocks.h"

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(struct bole_mutex), "bole_mutex is too small");
_Static_assert(sizeof(pthread_cond_t) <= sizeof(struct bole_cond), "bole_cond is too small");

static struct test_platform *self_of(struct bole_platform *platform)
{
	return (struct test_platform *)platform;
}

void bole_panic(const char *file, int line, const char *what)
{
	fprintf(stderr, "panic: %s:%d: %s\n", file, line, what);
	abort();
}

/* -- Memory -- */

static void block_free(void *ptr, size_t size, size_t align)
{
	if (ptr != NULL && !large_blocks_give(ptr, size, align))
		free(ptr);
}

static void *test_resize(void *ctx, void *ptr, size_t old_size, size_t new_size, size_t align)
{
	struct test_platform *self = ctx;

	assert((ptr == NULL) == (old_size == 0));
	assert(align != 0 && (align & (align - 1)) == 0 && align <= 4096);
	if (new_size == 0) {
		block_free(ptr, old_size, align);
		if (ptr != NULL) {
			self->bytes -= old_size;
			self->blocks--;
		}
		return NULL;
	}
	if (new_size > old_size) {
		uint64_t number = ++self->grows;
		uint64_t fail_at = self->fail_at;

		if (fail_at != 0 && (number == fail_at || (self->fail_after && number > fail_at)))
			return NULL;
	}
	/* Always a new block: whoever keeps a pointer to the old one is caught by ASan. */
	void *moved = large_blocks_take(new_size, align);
	if (moved == NULL &&
	    posix_memalign(&moved, align < sizeof(void *) ? sizeof(void *) : align, new_size) != 0)
		return NULL;
	memset(moved, 0xa5, new_size);
	if (ptr != NULL)
		memcpy(moved, ptr, old_size < new_size ? old_size : new_size);
	block_free(ptr, old_size, align);
	self->bytes += new_size;
	self->bytes -= old_size;
	self->blocks += ptr == NULL;
	return moved;
}

/* -- Time, entropy, log -- */

static uint64_t test_now(struct bole_platform *platform)
{
	struct test_platform *self = self_of(platform);
	struct timespec now;

	if (self->manual_clock)
		return atomic_fetch_add(&self->now, 1000) + 1000;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static enum bole_status test_wall(struct bole_platform *platform, int64_t *out)
{
	*out = self_of(platform)->wall;
	return *out < 0 ? BOLE_E_UNSUPPORTED : BOLE_OK;
}

uint64_t test_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

void test_random_bytes(uint64_t *state, void *dst, size_t len)
{
	uint8_t *to = dst;

	for (size_t i = 0; i < len; i++)
		to[i] = (uint8_t)test_random(state);
}

static void test_platform_random(struct bole_platform *platform, void *dst, size_t len)
{
	struct test_platform *self = self_of(platform);

	pthread_mutex_lock(&self->lock);
	test_random_bytes(&self->random_state, dst, len);
	pthread_mutex_unlock(&self->lock);
}

uint8_t test_algo(void)
{
	const char *name = getenv("GIT_DEFAULT_HASH");

	return name != NULL && strcmp(name, "sha256") == 0 ? BOLE_HASH_SHA256 : BOLE_HASH_SHA1;
}

int test_hex(void)
{
	return 2 * (int)bole_hash_bytes(test_algo());
}

uint64_t test_seed(uint64_t otherwise)
{
	const char *text = getenv("SEED");
	uint64_t seed = text == NULL ? otherwise : strtoull(text, NULL, 0);

	fprintf(stderr, "SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

static void test_log(struct bole_platform *platform, enum bole_log_level level, const char *line)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	struct test_platform *self = self_of(platform);

	pthread_mutex_lock(&self->lock);
	snprintf(self->last_line, sizeof self->last_line, "%s", line);
	pthread_mutex_unlock(&self->lock);
	self->lines++;
	if (!self->quiet)
		fprintf(stderr, "[%s] %s\n", names[level], line);
}

/* -- Fibers are threads -- */

struct start {
	void (*fn)(void *arg);
	void *arg;
};

static void *fiber_main(void *arg)
{
	struct start start = *(struct start *)arg;

	free(arg);
	start.fn(start.arg);
	return NULL;
}

static enum bole_status test_fiber_start(struct bole_platform *platform, const char *name,
                                         void (*fn)(void *arg), void *arg, size_t stack_bytes)
{
	struct test_platform *self = self_of(platform);
	enum bole_status rc = BOLE_E_LIMIT;

	(void)name;
	(void)stack_bytes;
	pthread_mutex_lock(&self->lock);
	if (self->fiber_count < TEST_FIBERS_MAX) {
		struct start *start = malloc(sizeof *start);

		*start = (struct start){fn, arg};
		int failed =
		        pthread_create(&self->fibers[self->fiber_count], NULL, fiber_main, start);
		assert(failed == 0);
		(void)failed;
		self->fiber_count++;
		rc = BOLE_OK;
	}
	pthread_mutex_unlock(&self->lock);
	return rc;
}

static void test_yield(struct bole_platform *platform)
{
	(void)platform;
	sched_yield();
}

static struct timespec timespec_of(uint64_t ns)
{
	return (struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
}

static void test_sleep_until(struct bole_platform *platform, uint64_t deadline_ns)
{
	struct test_platform *self = self_of(platform);
	struct timespec deadline = timespec_of(deadline_ns);

	if (self->manual_clock) {
		if (self->now < deadline_ns)
			self->now = deadline_ns;
		sched_yield();
		return;
	}
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, NULL) == EINTR)
		;
}

/* -- Locks -- */

static pthread_mutex_t *mutex_of(struct bole_mutex *mutex)
{
	return (pthread_mutex_t *)(void *)mutex->opaque;
}

static pthread_cond_t *cond_of(struct bole_cond *cond)
{
	return (pthread_cond_t *)(void *)cond->opaque;
}

static void test_mutex_init(struct bole_platform *platform, struct bole_mutex *mutex)
{
	pthread_mutexattr_t attr;

	(void)platform;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutex_init(mutex_of(mutex), &attr);
	pthread_mutexattr_destroy(&attr);
}

static void must(int result, const char *what)
{
	if (result != 0)
		bole_panic(what, result, "misuse of a lock");
}

static void test_mutex_destroy(struct bole_platform *platform, struct bole_mutex *mutex)
{
	(void)platform;
	must(pthread_mutex_destroy(mutex_of(mutex)), "mutex_destroy");
}

static void test_mutex_lock(struct bole_platform *platform, struct bole_mutex *mutex)
{
	(void)platform;
	must(pthread_mutex_lock(mutex_of(mutex)), "mutex_lock");
}

static void test_mutex_unlock(struct bole_platform *platform, struct bole_mutex *mutex)
{
	(void)platform;
	must(pthread_mutex_unlock(mutex_of(mutex)), "mutex_unlock");
}

static void test_cond_init(struct bole_platform *platform, struct bole_cond *cond)
{
	pthread_condattr_t attr;

	(void)platform;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond_of(cond), &attr);
	pthread_condattr_destroy(&attr);
}

static void test_cond_destroy(struct bole_platform *platform, struct bole_cond *cond)
{
	(void)platform;
	must(pthread_cond_destroy(cond_of(cond)), "cond_destroy");
}

static enum bole_status test_cond_wait(struct bole_platform *platform, struct bole_cond *cond,
                                       struct bole_mutex *mutex, uint64_t deadline_ns)
{
	struct test_platform *self = self_of(platform);
	struct timespec deadline = timespec_of(deadline_ns);

	if (deadline_ns == BOLE_NEVER) {
		must(pthread_cond_wait(cond_of(cond), mutex_of(mutex)), "cond_wait");
		return BOLE_OK;
	}
	if (self->manual_clock) {
		/* Nobody else moves the clock: give the others 1 ms, then time has passed. */
		struct timespec now;

		clock_gettime(CLOCK_MONOTONIC, &now);
		deadline = timespec_of((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec +
		                       1000000u);
	}
	int result = pthread_cond_timedwait(cond_of(cond), mutex_of(mutex), &deadline);
	if (result != ETIMEDOUT) {
		must(result, "cond_wait");
		return BOLE_OK;
	}
	if (self->manual_clock && self->now < deadline_ns)
		self->now = deadline_ns;
	return BOLE_E_TIMEOUT;
}

static void test_cond_signal(struct bole_platform *platform, struct bole_cond *cond)
{
	(void)platform;
	must(pthread_cond_signal(cond_of(cond)), "cond_signal");
}

static void test_cond_broadcast(struct bole_platform *platform, struct bole_cond *cond)
{
	(void)platform;
	must(pthread_cond_broadcast(cond_of(cond)), "cond_broadcast");
}

static unsigned test_processors(struct bole_platform *platform)
{
	unsigned processors = self_of(platform)->processors;

	return processors == 0 ? 1 : processors;
}

static const struct bole_platform_ops test_ops = {
        .now_ns = test_now,
        .wall_s = test_wall,
        .random = test_platform_random,
        .log = test_log,
        .fiber_start = test_fiber_start,
        .processors = test_processors,
        .yield = test_yield,
        .sleep_until = test_sleep_until,
        .mutex_init = test_mutex_init,
        .mutex_destroy = test_mutex_destroy,
        .mutex_lock = test_mutex_lock,
        .mutex_unlock = test_mutex_unlock,
        .cond_init = test_cond_init,
        .cond_destroy = test_cond_destroy,
        .cond_wait = test_cond_wait,
        .cond_signal = test_cond_signal,
        .cond_broadcast = test_cond_broadcast,
};

void test_platform_init(struct test_platform *self, uint64_t seed)
{
	memset(self, 0, sizeof *self);
	self->base.ops = &test_ops;
	self->base.alloc = &self->alloc;
	self->alloc = (struct bole_alloc){test_resize, self};
	self->random_state = seed;
	self->wall = 1700000000;
	pthread_mutex_init(&self->lock, NULL);
}

void test_platform_join(struct test_platform *self)
{
	for (size_t i = 0; i < self->fiber_count; i++)
		pthread_join(self->fibers[i], NULL);
	self->fiber_count = 0;
}

void test_platform_release(struct test_platform *self)
{
	test_platform_join(self);
	pthread_mutex_destroy(&self->lock);
	if (self->blocks != 0 || self->bytes != 0) {
		fprintf(stderr, "leak: %zu bytes in %zu blocks\n", (size_t)self->bytes,
		        (size_t)self->blocks);
		abort();
	}
}
