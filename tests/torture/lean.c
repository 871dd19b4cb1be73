/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "torture/torture.h"

static struct lean *lean_of(struct bole_platform *p)
{
	return (struct lean *)p;
}

uint64_t torture_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

uint64_t torture_mix(uint64_t a, uint64_t b)
{
	uint64_t state = a * 0x9e3779b97f4a7c15 ^ b;

	return torture_random(&state);
}

static void *resize(void *ctx, void *ptr, size_t old_size, size_t new_size, size_t align)
{
	struct lean *l = ctx;
	void *moved = NULL;

	if (new_size > old_size && ++l->grows == l->fail_at)
		return NULL;
	if (new_size == 0) {
		free(ptr);
		l->blocks -= ptr != NULL;
		l->bytes -= old_size;
		return NULL;
	}
	if (align <= 16)
		moved = realloc(ptr, new_size);
	else if (posix_memalign(&moved, align, new_size) != 0)
		moved = NULL;
	if (moved == NULL) {
		(void)fprintf(stderr, "torture: out of memory\n");
		abort();
	}
	if (align > 16 && ptr != NULL) {
		memcpy(moved, ptr, old_size < new_size ? old_size : new_size);
		free(ptr);
	}
	l->blocks += ptr == NULL;
	l->bytes += new_size - old_size;
	return moved;
}

static uint64_t now_ns(struct bole_platform *p)
{
	return lean_of(p)->clock += 1000;
}

static enum bole_status wall_s(struct bole_platform *p, int64_t *out)
{
	*out = (int64_t)(1700000000 + lean_of(p)->clock / 1000000000u);
	return BOLE_OK;
}

static void random_bytes(struct bole_platform *p, void *dst, size_t len)
{
	uint8_t *to = dst;

	for (size_t i = 0; i < len; i++)
		to[i] = (uint8_t)torture_random(&lean_of(p)->random);
}

static void log_line(struct bole_platform *p, enum bole_log_level level, const char *line)
{
	struct lean *l = lean_of(p);

	if (level <= BOLE_LOG_WARN)
		(void)snprintf(l->last_error, sizeof l->last_error, "%s", line);
	if (l->loud)
		(void)fprintf(stderr, "  log: %s\n", line);
}

static enum bole_status fiber_start(struct bole_platform *p, const char *name,
                                    void (*fn)(void *arg), void *arg, size_t stack_bytes)
{
	(void)p;
	(void)name;
	(void)fn;
	(void)arg;
	(void)stack_bytes;
	return BOLE_E_LIMIT;
}

static void yield(struct bole_platform *p)
{
	(void)p;
}

static void sleep_until(struct bole_platform *p, uint64_t deadline_ns)
{
	if (lean_of(p)->clock < deadline_ns)
		lean_of(p)->clock = deadline_ns;
}

/* -- Locks: there is one thread, so whoever would wait would wait for ever -- */

static void mutex_init(struct bole_platform *p, struct bole_mutex *m)
{
	(void)p;
	m->opaque[0] = 0;
}

static void mutex_destroy(struct bole_platform *p, struct bole_mutex *m)
{
	(void)p;
	if (m->opaque[0] != 0)
		bole_panic(__FILE__, __LINE__, "a lock is destroyed while it is held");
}

static void mutex_lock(struct bole_platform *p, struct bole_mutex *m)
{
	(void)p;
	if (m->opaque[0]++ != 0)
		bole_panic(__FILE__, __LINE__, "a lock is taken twice");
}

static void mutex_unlock(struct bole_platform *p, struct bole_mutex *m)
{
	(void)p;
	if (m->opaque[0]-- != 1)
		bole_panic(__FILE__, __LINE__, "a lock is given back twice");
}

static void cond_nothing(struct bole_platform *p, struct bole_cond *c)
{
	(void)p;
	(void)c;
}

static enum bole_status cond_wait(struct bole_platform *p, struct bole_cond *c,
                                  struct bole_mutex *m, uint64_t deadline_ns)
{
	(void)c;
	(void)m;
	if (deadline_ns == BOLE_NEVER)
		bole_panic(__FILE__, __LINE__, "the only thread waits for ever");
	sleep_until(p, deadline_ns);
	return BOLE_E_TIMEOUT;
}

static const struct bole_platform_ops lean_ops = {
        .now_ns = now_ns,
        .wall_s = wall_s,
        .random = random_bytes,
        .log = log_line,
        .fiber_start = fiber_start,
        .yield = yield,
        .sleep_until = sleep_until,
        .mutex_init = mutex_init,
        .mutex_destroy = mutex_destroy,
        .mutex_lock = mutex_lock,
        .mutex_unlock = mutex_unlock,
        .cond_init = cond_nothing,
        .cond_destroy = cond_nothing,
        .cond_wait = cond_wait,
        .cond_signal = cond_nothing,
        .cond_broadcast = cond_nothing,
};

void lean_init(struct lean *l, uint64_t seed)
{
	memset(l, 0, sizeof *l);
	l->base.ops = &lean_ops;
	l->base.alloc = &l->alloc;
	l->alloc = (struct bole_alloc){resize, l};
	l->random = seed;
}
