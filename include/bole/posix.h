/* SPDX-License-Identifier: ISC */
/* The POSIX platform: Bole as a process on a Linux host. Event loops (one thread each) run the
 * fibers; a pool of workers runs what would block a loop. A program that uses no fiber starts no
 * thread: every call then blocks its caller. */
#ifndef BOLE_POSIX_H
#define BOLE_POSIX_H

#include <stddef.h>
#include <stdint.h>

#include "bole/block.h"
#include "bole/platform.h"
#include "bole/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* 0 (BOLE_LOG_ERROR for the level is -1) = the default. */
struct bole_posix_options {
	unsigned loops;      /* event loop threads; one a core, at most 64 */
	unsigned io_workers; /* threads for block devices and name lookups; 8 */
	unsigned fibers_max; /* BOLE_E_LIMIT beyond; 16384 */
	size_t stack_bytes;  /* of a fiber that names no size; 256 KiB */
	int log_level;       /* enum bole_log_level + 1; BOLE_LOG_INFO */
	int log_fd;          /* standard error */
};

/* options may be NULL. BOLE_E_NO_MEMORY, BOLE_E_IO. Threads start with the first fiber. */
BOLE_MUST_USE enum bole_status bole_posix_open(const struct bole_posix_options *options,
                                               struct bole_platform **out);
/* Sets options.loops, as long as no fiber has been started. */
void bole_posix_set_loops(struct bole_platform *, unsigned loops);
/* Lets this process open as many files and connections as the system allows without privileges
 * (RLIMIT_NOFILE up to its hard limit). Returns how many that is. */
uint64_t bole_posix_raise_files(void);
/* Waits until every fiber has ended, stops the threads, frees. NULL is fine. Not from a fiber. */
void bole_posix_close(struct bole_platform *);

/* Wraps a device so that each call made on a fiber runs on an I/O worker while the fiber waits;
 * outside a fiber the call goes straight through. base is borrowed and must outlive *out; closing
 * *out does not close base. */
BOLE_MUST_USE enum bole_status
bole_posix_offload_block(struct bole_platform *, struct bole_block *base, struct bole_block **out);

/* Calls fn(ctx, n) on a thread of its own at the n-th SIGINT or SIGTERM (n from 1). Both signals
 * are then blocked in the calling thread and those started later, so call it before the first
 * fiber. Once a platform. */
BOLE_MUST_USE enum bole_status bole_posix_on_stop(struct bole_platform *,
                                                  void (*fn)(void *ctx, unsigned n), void *ctx);

/* Ends what on_stop began; fn is not called afterwards. The signals stay blocked. */
void bole_posix_off_stop(struct bole_platform *);

/* A stream over two descriptors of any kind (pipes, files, a terminal), for a service on stdin and
 * stdout. Blocks the thread: not for fibers. close leaves the descriptors open. */
BOLE_MUST_USE enum bole_status bole_posix_pipe_stream(struct bole_platform *, int in_fd, int out_fd,
                                                      struct bole_stream **out);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_POSIX_H */
