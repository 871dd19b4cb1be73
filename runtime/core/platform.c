/* SPDX-License-Identifier: ISC */
/* struct bole_platform over the core. There is one core and no preemption, so a mutex is an owner
 * and a queue; it still matters, because a holder may wait on a condition or yield. */

#include <string.h>

#include "core/core.h"

struct mutex {
	bool locked;
	const struct core_fiber *owner;
	struct core_wait_queue waiters;
};
struct cond {
	struct core_wait_queue waiters;
};
_Static_assert(sizeof(struct mutex) <= sizeof(struct bole_mutex), "a mutex must fit");
_Static_assert(sizeof(struct cond) <= sizeof(struct bole_cond), "a condition must fit");

static const struct core_net_ops *net;

static struct mutex *mutex_of(struct bole_mutex *m)
{
	return (struct mutex *)(void *)m;
}

static struct cond *cond_of(struct bole_cond *c)
{
	return (struct cond *)(void *)c;
}

static uint64_t now_ns(struct bole_platform *p)
{
	(void)p;
	return core_now_ns();
}

static enum bole_status wall_s(struct bole_platform *p, int64_t *out)
{
	(void)p;
	return core_wall_s(out) ? BOLE_OK : BOLE_E_UNSUPPORTED;
}

static void random_bytes(struct bole_platform *p, void *dst, size_t len)
{
	(void)p;
	core_random(dst, len);
}

static void log_line(struct bole_platform *p, enum bole_log_level level, const char *line)
{
	(void)p;
	core_log(level, "%s", line);
}

static enum bole_status fiber_start(struct bole_platform *p, const char *name, void (*fn)(void *),
                                    void *arg, size_t stack_bytes)
{
	(void)p;
	return core_fiber_start(name, fn, arg, stack_bytes) == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
}

static void yield(struct bole_platform *p)
{
	(void)p;
	core_yield();
}

static void sleep_until(struct bole_platform *p, uint64_t deadline_ns)
{
	(void)p;
	core_sleep_until(deadline_ns);
}

static void mutex_init(struct bole_platform *p, struct bole_mutex *m)
{
	(void)p;
	memset(m, 0, sizeof *m);
}

static void mutex_destroy(struct bole_platform *p, struct bole_mutex *m)
{
	(void)p;
	if (mutex_of(m)->locked)
		core_panic("a mutex is destroyed while it is locked");
}

static void mutex_lock(struct bole_platform *p, struct bole_mutex *opaque)
{
	struct mutex *m = mutex_of(opaque);
	const struct core_fiber *self = core_fiber_self();

	(void)p;
	if (m->locked && m->owner == self)
		core_panic("a fiber locks a mutex that it holds");
	while (m->locked)
		core_wait(&m->waiters, CORE_NEVER);
	m->locked = true;
	m->owner = self;
}

static void mutex_unlock(struct bole_platform *p, struct bole_mutex *opaque)
{
	struct mutex *m = mutex_of(opaque);

	(void)p;
	if (!m->locked || m->owner != core_fiber_self())
		core_panic("a fiber unlocks a mutex that it does not hold");
	m->locked = false;
	m->owner = NULL;
	core_wait_wake_one(&m->waiters);
}

static void cond_init(struct bole_platform *p, struct bole_cond *c)
{
	(void)p;
	memset(c, 0, sizeof *c);
}

static void cond_destroy(struct bole_platform *p, struct bole_cond *c)
{
	(void)p;
	if (cond_of(c)->waiters.head != NULL)
		core_panic("a condition is destroyed while a fiber waits on it");
}

static enum bole_status cond_wait(struct bole_platform *p, struct bole_cond *c,
                                  struct bole_mutex *m, uint64_t deadline_ns)
{
	bool woken;

	mutex_unlock(p, m);
	woken = core_wait(&cond_of(c)->waiters, deadline_ns);
	mutex_lock(p, m);
	return woken ? BOLE_OK : BOLE_E_TIMEOUT;
}

static void cond_signal(struct bole_platform *p, struct bole_cond *c)
{
	(void)p;
	core_wait_wake_one(&cond_of(c)->waiters);
}

static void cond_broadcast(struct bole_platform *p, struct bole_cond *c)
{
	(void)p;
	core_wait_wake_all(&cond_of(c)->waiters);
}

void core_net_set(const struct core_net_ops *ops)
{
	net = ops;
}

static enum bole_status listen_on(struct bole_platform *p, const char *address,
                                  struct bole_listener **out)
{
	return net == NULL ? BOLE_E_UNSUPPORTED : net->listen(p, address, out);
}

static enum bole_status connect_to(struct bole_platform *p, const char *address,
                                   uint64_t deadline_ns, struct bole_stream **out)
{
	return net == NULL ? BOLE_E_UNSUPPORTED : net->connect(p, address, deadline_ns, out);
}

struct bole_platform *core_platform(void)
{
	static const struct bole_platform_ops ops = {
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
	        .cond_init = cond_init,
	        .cond_destroy = cond_destroy,
	        .cond_wait = cond_wait,
	        .cond_signal = cond_signal,
	        .cond_broadcast = cond_broadcast,
	        .listen = listen_on,
	        .connect = connect_to,
	};
	static struct bole_platform platform = {.ops = &ops};

	platform.alloc = core_alloc();
	return &platform;
}
