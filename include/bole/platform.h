/* SPDX-License-Identifier: ISC */
/* What a platform supplies: time, entropy, log, fibers, locks, network. Nothing in src/ asks the
 * world for anything except through this table, so a whole cluster can run in one process from one
 * seed. Implementations: runtime/ (image), runtime/platform/posix (hosts), test doubles.
 *
 * Fibers are cooperative with their own stacks. Rules for code that runs on them:
 *  - a bole_mutex guards memory only and is never held across a call that may block (block device,
 *    stream, sleep, another lock's wait); bole_cond_wait on that same mutex is the one exception;
 *  - no fiber computes for more than 2 ms without calling yield.
 * Outside a fiber (a plain thread of a host program) every call works and blocks the thread.
 */
#ifndef BOLE_PLATFORM_H
#define BOLE_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/status.h"
#include "bole/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum bole_log_level {
	BOLE_LOG_ERROR = 0,
	BOLE_LOG_WARN = 1,
	BOLE_LOG_INFO = 2,
	BOLE_LOG_DEBUG = 3,
};

/* A deadline is a time of now_ns; BOLE_NEVER waits for ever. */
#define BOLE_NEVER UINT64_MAX

struct bole_platform;

/* Storage for a lock or condition; the platform checks at compile time that its own fits. */
struct bole_mutex {
	uint64_t opaque[8];
};
struct bole_cond {
	uint64_t opaque[16];
};

/* A connected byte stream (TCP, a pipe, a test double). One reader and one writer fiber at a time.
 * read: BOLE_OK with *got in 1..cap; BOLE_END when the peer closed its side; BOLE_E_TIMEOUT past
 * the deadline; BOLE_E_CLOSED after a reset. writev writes all or fails likewise. set_deadline
 * applies to calls in progress and later ones. peer writes a printable address. close frees. */
struct bole_stream;
struct bole_stream_ops {
	enum bole_status (*read)(struct bole_stream *, void *dst, size_t cap, size_t *got);
	enum bole_status (*writev)(struct bole_stream *, const struct bole_bytes *pieces,
	                           size_t count);
	void (*set_deadline)(struct bole_stream *, uint64_t read_ns, uint64_t write_ns);
	/* True once the peer has reset or closed the connection; never blocks. */
	bool (*hung_up)(struct bole_stream *);
	void (*peer)(struct bole_stream *, char *dst, size_t cap);
	/* Ends our sending side in order; close without it may reset. */
	enum bole_status (*shutdown)(struct bole_stream *);
	void (*close)(struct bole_stream *);
};
struct bole_stream {
	const struct bole_stream_ops *ops;
};

struct bole_listener;
struct bole_listener_ops {
	/* Blocks for the next connection; BOLE_E_CLOSED after close was called elsewhere. */
	enum bole_status (*accept)(struct bole_listener *, struct bole_stream **out);
	/* The port bound (for port 0). */
	uint16_t (*port)(struct bole_listener *);
	/* Makes accept return BOLE_E_CLOSED, now and later; safe from another fiber. */
	void (*shutdown)(struct bole_listener *);
	void (*close)(struct bole_listener *);
};
struct bole_listener {
	const struct bole_listener_ops *ops;
};

struct bole_platform_ops {
	/* Monotonic nanoseconds since an arbitrary start. */
	uint64_t (*now_ns)(struct bole_platform *);
	/* Seconds since 1970-01-01 UTC; BOLE_E_UNSUPPORTED where no wall clock is known. */
	enum bole_status (*wall_s)(struct bole_platform *, int64_t *out);
	/* Fills dst from a CSPRNG; never fails once the platform is up. */
	void (*random)(struct bole_platform *, void *dst, size_t len);
	/* One line without newline. Never blocks on the caller's locks. */
	void (*log)(struct bole_platform *, enum bole_log_level level, const char *line);

	/* Starts fn(arg) on a new fiber, on any loop. stack_bytes 0 = the platform's default.
	 * BOLE_E_NO_MEMORY, BOLE_E_LIMIT (too many fibers). */
	enum bole_status (*fiber_start)(struct bole_platform *, const char *name,
	                                void (*fn)(void *arg), void *arg, size_t stack_bytes);
	void (*yield)(struct bole_platform *);
	void (*sleep_until)(struct bole_platform *, uint64_t deadline_ns);

	void (*mutex_init)(struct bole_platform *, struct bole_mutex *);
	void (*mutex_destroy)(struct bole_platform *, struct bole_mutex *);
	void (*mutex_lock)(struct bole_platform *, struct bole_mutex *);
	void (*mutex_unlock)(struct bole_platform *, struct bole_mutex *);
	void (*cond_init)(struct bole_platform *, struct bole_cond *);
	void (*cond_destroy)(struct bole_platform *, struct bole_cond *);
	/* BOLE_OK when woken (maybe spuriously), BOLE_E_TIMEOUT past the deadline. */
	enum bole_status (*cond_wait)(struct bole_platform *, struct bole_cond *,
	                              struct bole_mutex *, uint64_t deadline_ns);
	void (*cond_signal)(struct bole_platform *, struct bole_cond *);
	void (*cond_broadcast)(struct bole_platform *, struct bole_cond *);

	/* address is "host:port", "[v6]:port" or ":port" (all addresses). NULL where there is no
	 * network. BOLE_E_INVALID (bad address), BOLE_E_BUSY (port taken), BOLE_E_IO. */
	enum bole_status (*listen)(struct bole_platform *, const char *address,
	                           struct bole_listener **out);
	enum bole_status (*connect)(struct bole_platform *, const char *address,
	                            uint64_t deadline_ns, struct bole_stream **out);

	/* As fiber_start, on the loop of the calling fiber: for what the caller waits for at once.
	 * NULL: use fiber_start. */
	enum bole_status (*fiber_start_near)(struct bole_platform *, const char *name,
	                                     void (*fn)(void *arg), void *arg, size_t stack_bytes);
	/* How many fibers can compute at the same time, at least 1. NULL: one. */
	unsigned (*processors)(struct bole_platform *);
};

/* alloc is the platform's root allocator (wrap it in a budget, base/memory.h). */
struct bole_platform {
	const struct bole_platform_ops *ops;
	struct bole_alloc *alloc;
};

/* printf-style convenience over ops->log; the line is cut at 512 bytes. */
void bole_log(struct bole_platform *, enum bole_log_level level, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* Our own bug was found (BOLE_ASSERT). Supplied by each platform at link time; prints and ends. */
__attribute__((noreturn)) void bole_panic(const char *file, int line, const char *what);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_PLATFORM_H */
