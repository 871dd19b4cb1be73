/* SPDX-License-Identifier: ISC */
/* The parts of the POSIX platform.
 *
 * A fiber belongs to one loop for life, so thread-local state never moves under it. Only the loop's
 * thread runs, parks and frees its fibers; any thread may wake one.
 *
 * Waking is a hint: fiber_park may return early, and whoever parks loops on its own condition. The
 * rule that keeps a late wake off a dead fiber: a waker calls fiber_wake while it holds the lock
 * under which the sleeper looks whether it was woken, so the sleeper cannot be gone yet.
 */
#ifndef BOLE_RUNTIME_POSIX_INTERNAL_H
#define BOLE_RUNTIME_POSIX_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "bole/posix.h"

#if defined(__SANITIZE_ADDRESS__)
#define POSIX_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POSIX_ASAN 1
#endif
#endif
#ifndef POSIX_ASAN
#define POSIX_ASAN 0
#endif
#if defined(__SANITIZE_THREAD__)
#define POSIX_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define POSIX_TSAN 1
#endif
#endif
#ifndef POSIX_TSAN
#define POSIX_TSAN 0
#endif

enum {
	POSIX_LOOPS_MAX = 64,
	POSIX_IO_WORKERS_MAX = 64,
	POSIX_IO_WORKERS = 8,
	POSIX_FIBERS_MAX = 16384,
	POSIX_STACK_BYTES = 256 * 1024,
	POSIX_STACK_BYTES_MIN = 16 * 1024,
	/* Sanitizers grow frames: stacks are this many times what was asked for. */
	POSIX_STACK_FACTOR = POSIX_ASAN || POSIX_TSAN ? 4 : 1,
	POSIX_STACKS_KEPT = 16, /* free stacks kept for reuse, a loop */
	POSIX_BACKLOG = 4096,   /* the kernel cuts it to net.core.somaxconn */
	POSIX_EVENTS = 64,      /* epoll events taken at once */
	POSIX_PIECES = 16,      /* iovec of one sendmsg */
	POSIX_LOG_BYTES = 1024,
};

struct posix;
struct posix_loop;
struct posix_stream;

/* -- fibers (fiber.c, switch.c) -- */

struct posix_stack {
	uint8_t *base; /* of the mapping: one guard page, then the stack */
	size_t mapped;
	size_t usable;
};

struct posix_fiber {
	struct posix_loop *loop;
	void (*fn)(void *arg);
	void *arg;
	struct posix_stack stack;
	void *sp;                 /* saved stack pointer while not running */
	struct posix_fiber *next; /* in a ready list */
	atomic_bool ready;        /* is in a ready list, or about to be */
	bool dead;
	bool guest;           /* a fiber started it */
	uint64_t deadline_ns; /* while parked */
	size_t heap_index;    /* in the loop's timers; SIZE_MAX = not there */
	void *asan_fake_stack;
	void *tsan_fiber;
	char name[24];
};

/* The fiber that runs on this thread, or NULL. */
struct posix_fiber *posix_fiber_current(void);
/* NULL unless this thread runs a fiber of that platform. */
struct posix_fiber *posix_fiber_of(const struct posix *);
enum bole_status posix_fiber_start(struct bole_platform *, const char *name, void (*fn)(void *),
                                   void *arg, size_t stack_bytes);
enum bole_status posix_fiber_start_near(struct bole_platform *, const char *name,
                                        void (*fn)(void *), void *arg, size_t stack_bytes);
void posix_fiber_free(struct posix_fiber *);
/* Runs f on the loop's thread until it parks, yields or ends. */
void posix_fiber_resume(struct posix_loop *, struct posix_fiber *f);
/* Waits for a wake or the deadline, or nothing at all. */
void posix_fiber_park(struct posix_fiber *self, uint64_t deadline_ns);
void posix_fiber_wake(struct posix_fiber *);
void posix_yield(struct bole_platform *);
void posix_sleep_until(struct bole_platform *, uint64_t deadline_ns);
/* Saves the callee-saved registers on the stack, its pointer in *from, and goes on at to. */
void posix_switch(void **from, void *to);
/* The first saved frame of a new stack: posix_switch to it calls entry(). */
void *posix_switch_prepare(void *stack_top, void (*entry)(void));
void posix_stacks_release(struct posix_loop *);

/* -- loops (loop.c) -- */

struct posix_loop {
	struct posix *platform;
	pthread_t thread;
	int epoll_fd;
	int wake_fd;

	pthread_mutex_t lock; /* guards the next four */
	struct posix_fiber *ready_first;
	struct posix_fiber *ready_last;
	struct posix_stream *closed; /* streams to free after this batch of events */
	bool stop;
	atomic_bool asleep; /* in epoll_wait or about to be: a waker must write wake_fd */

	struct posix_fiber *running;
	void *sp; /* of the loop's own stack */
	uint64_t slice_start_ns;
	struct posix_fiber **timers; /* binary heap by deadline */
	size_t timer_count;
	size_t timer_cap; /* > number of fibers here, so that parking needs no memory */
	size_t guests;    /* under the platform's lock */
	struct posix_stack stacks[POSIX_STACKS_KEPT];
	size_t stack_count;
	void *asan_fake_stack;
	const void *asan_stack;
	size_t asan_stack_bytes;
	void *tsan_fiber;
};

enum bole_status posix_loops_start(struct posix *);
void posix_loops_stop(struct posix *);
void posix_loop_enqueue(struct posix_loop *, struct posix_fiber *);
/* Makes epoll_wait return. */
void posix_loop_kick(struct posix_loop *);
void posix_timer_add(struct posix_loop *, struct posix_fiber *);
void posix_timer_remove(struct posix_loop *, struct posix_fiber *);

/* -- streams (stream.c, listener.c, address.c) -- */

/* A socket in one loop's epoll set, edge-triggered. */
struct posix_stream {
	struct bole_stream stream;
	struct posix *platform;
	int fd;
	_Atomic bool unanswered; /* something was read since the last write */
	bool failed_read;        /* sticky errors, of the one reader and the one writer */
	bool failed_write;
	socklen_t peer_bytes; /* 0: to be asked for */
	struct sockaddr_storage peer;
	pthread_mutex_t lock;    /* guards the rest */
	struct posix_loop *loop; /* whose epoll set has fd; NULL before the first wait */
	struct posix_fiber *reader;
	struct posix_fiber *writer;
	bool readable; /* an edge came since the last look */
	bool writable;
	uint64_t read_deadline_ns;
	uint64_t write_deadline_ns;
	struct posix_stream *next_closed;
};

enum bole_status posix_stream_open(struct posix *, int fd, struct posix_stream **out);
/* Called by the loop for an epoll event. */
void posix_stream_event(struct posix_stream *, uint32_t events);
void posix_stream_free(struct posix_stream *);
/* Waits until fd may be readable (or writable); BOLE_E_TIMEOUT past the stream's deadline. */
enum bole_status posix_stream_wait(struct posix_stream *, bool write);
enum bole_status posix_listen(struct bole_platform *, const char *address,
                              struct bole_listener **out);
enum bole_status posix_connect(struct bole_platform *, const char *address, uint64_t deadline_ns,
                               struct bole_stream **out);
struct addrinfo;
/* Resolves "host:port", "[v6]:port", ":port"; blocks the thread. Free with freeaddrinfo. */
enum bole_status posix_resolve(const char *address, bool passive, struct addrinfo **out);

/* -- locks (sync.c) -- */

void posix_mutex_init(struct bole_platform *, struct bole_mutex *);
void posix_mutex_destroy(struct bole_platform *, struct bole_mutex *);
void posix_mutex_lock(struct bole_platform *, struct bole_mutex *);
void posix_mutex_unlock(struct bole_platform *, struct bole_mutex *);
void posix_cond_init(struct bole_platform *, struct bole_cond *);
void posix_cond_destroy(struct bole_platform *, struct bole_cond *);
enum bole_status posix_cond_wait(struct bole_platform *, struct bole_cond *, struct bole_mutex *,
                                 uint64_t deadline_ns);
void posix_cond_signal(struct bole_platform *, struct bole_cond *);
void posix_cond_broadcast(struct bole_platform *, struct bole_cond *);
/* pthread_cond_timedwait by the monotonic clock; false past the deadline. */
bool posix_thread_wait(pthread_cond_t *, pthread_mutex_t *, uint64_t deadline_ns);
void posix_thread_cond_init(pthread_cond_t *);

/* -- I/O workers (pool.c) -- */

struct posix_job {
	void (*run)(struct posix_job *);
	struct posix_job *next;
	struct bole_mutex lock;
	struct bole_cond ended;
	bool done;
};
/* Runs job->run on a worker while the calling fiber waits; outside a fiber runs it at once. */
void posix_offload(struct posix *, struct posix_job *);
enum bole_status posix_pool_start(struct posix *);
void posix_pool_stop(struct posix *);

/* -- the platform (posix.c) -- */

struct posix {
	struct bole_platform platform;
	struct bole_alloc alloc;
	unsigned loop_limit;
	unsigned loop_default;
	unsigned worker_limit;
	size_t stack_bytes;
	size_t fibers_max;
	int log_level;
	int log_fd;

	pthread_mutex_t lock; /* guards the next four */
	pthread_cond_t idle;  /* no fiber is left */
	size_t fiber_count;
	unsigned next_loop;

	atomic_bool started; /* loops and workers run; set under lock */
	struct posix_loop loops[POSIX_LOOPS_MAX];
	unsigned loop_count;

	pthread_mutex_t pool_lock; /* guards the next four */
	pthread_cond_t pool_work;
	struct posix_job *job_first;
	struct posix_job *job_last;
	bool pool_stop;
	pthread_t workers[POSIX_IO_WORKERS_MAX];
	unsigned worker_count;

	pthread_t stop_thread;
	bool stop_thread_runs;
	atomic_bool stop_thread_end;
	void (*stop_fn)(void *ctx, unsigned n);
	void *stop_ctx;
};

#define POSIX_TRY(expr)                            \
	do {                                       \
		enum bole_status try_rc_ = (expr); \
		if (try_rc_ != BOLE_OK)            \
			return try_rc_;            \
	} while (0)

uint64_t posix_now_ns(void);
/* Reports an impossible failure of the system and ends. */
_Noreturn void posix_fatal(const char *what, int error);

#endif /* BOLE_RUNTIME_POSIX_INTERNAL_H */
