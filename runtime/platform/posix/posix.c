/* SPDX-License-Identifier: ISC */
/* The platform's table: time, entropy, log, memory, open and close. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

enum { SMALL_PAGE = 4096, LARGE_PAGE = 2 << 20 };

uint64_t posix_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void posix_fatal(const char *what, int error)
{
	fprintf(stderr, "bole: posix platform: %s: %s\n", what,
	        error == 0 ? "a bug" : strerror(error));
	abort();
}

static uint64_t platform_now_ns(struct bole_platform *platform)
{
	(void)platform;
	return posix_now_ns();
}

static enum bole_status platform_wall_s(struct bole_platform *platform, int64_t *out)
{
	struct timespec t;

	(void)platform;
	if (clock_gettime(CLOCK_REALTIME, &t) != 0)
		return BOLE_E_UNSUPPORTED;
	*out = (int64_t)t.tv_sec;
	return BOLE_OK;
}

static void platform_random(struct bole_platform *platform, void *dst, size_t len)
{
	uint8_t *p = dst;

	(void)platform;
	while (len > 0) {
		ssize_t n = getrandom(p, len, 0);
		if (n < 0 && errno != EINTR)
			posix_fatal("getrandom", errno);
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
}

/* One write a line, so that lines of several threads do not mix. Bytes that could move a terminal's
 * cursor or start a new line become '?': peers choose some of what is logged. */
static void platform_log(struct bole_platform *platform, enum bole_log_level level,
                         const char *line)
{
	static const char *const names[] = {"error", "warn ", "info ", "debug"};
	struct posix *p = (struct posix *)platform;
	char text[POSIX_LOG_BYTES];
	time_t now = time(NULL);
	struct tm tm;

	if ((int)level > p->log_level || (int)level < 0 || level > BOLE_LOG_DEBUG)
		return;
	gmtime_r(&now, &tm);
	size_t start = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ ", &tm);
	int n = snprintf(text + start, sizeof text - start, "%s %s", names[level], line);
	size_t len = start + (n < 0 ? 0 : (size_t)n);
	if (len > sizeof text - 1)
		len = sizeof text - 1;
	for (size_t i = start; i < len; i++) {
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			text[i] = '?';
	}
	text[len++] = '\n';
	while (write(p->log_fd, text, len) < 0 && errno == EINTR)
		;
}

static void *alloc_resize(void *ctx, void *ptr, size_t old_size, size_t new_size, size_t align)
{
	(void)ctx;
	if (new_size == 0) {
		free(ptr);
		return NULL;
	}
	if (align <= _Alignof(max_align_t))
		return realloc(ptr, new_size);
	void *moved = NULL;
	bool large = align == SMALL_PAGE && new_size >= LARGE_PAGE;
	if (large)
		align = LARGE_PAGE;
	if (posix_memalign(&moved, align, new_size) != 0)
		return NULL;
	/* Advice: without large pages it is as good as any other memory. */
	if (large)
		(void)madvise(moved, new_size, MADV_HUGEPAGE);
	if (ptr != NULL) {
		memcpy(moved, ptr, old_size < new_size ? old_size : new_size);
		free(ptr);
	}
	return moved;
}

/* Of the loops, which are threads; more than cores would only take turns. */
static unsigned platform_processors(struct bole_platform *platform)
{
	const struct posix *p = (const struct posix *)platform;

	return p->loop_limit < p->loop_default ? p->loop_limit : p->loop_default;
}

static const struct bole_platform_ops platform_ops = {
        .now_ns = platform_now_ns,
        .wall_s = platform_wall_s,
        .random = platform_random,
        .log = platform_log,
        .fiber_start = posix_fiber_start,
        .yield = posix_yield,
        .sleep_until = posix_sleep_until,
        .mutex_init = posix_mutex_init,
        .mutex_destroy = posix_mutex_destroy,
        .mutex_lock = posix_mutex_lock,
        .mutex_unlock = posix_mutex_unlock,
        .cond_init = posix_cond_init,
        .cond_destroy = posix_cond_destroy,
        .cond_wait = posix_cond_wait,
        .cond_signal = posix_cond_signal,
        .cond_broadcast = posix_cond_broadcast,
        .listen = posix_listen,
        .connect = posix_connect,
        .fiber_start_near = posix_fiber_start_near,
        .processors = platform_processors,
};

static unsigned choose(unsigned asked, unsigned missing, unsigned limit)
{
	unsigned value = asked == 0 ? missing : asked;

	return value < limit ? value : limit;
}

enum bole_status bole_posix_open(const struct bole_posix_options *options,
                                 struct bole_platform **out)
{
	static const struct bole_posix_options none = {0};
	const struct bole_posix_options *o = options == NULL ? &none : options;
	struct posix *p = calloc(1, sizeof *p);
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	*out = NULL;
	if (p == NULL)
		return BOLE_E_NO_MEMORY;
	p->alloc = (struct bole_alloc){.resize = alloc_resize};
	p->platform = (struct bole_platform){.ops = &platform_ops, .alloc = &p->alloc};
	p->loop_default = cores < 1 ? 1 : (unsigned)cores;
	p->loop_limit = choose(o->loops, p->loop_default, POSIX_LOOPS_MAX);
	p->worker_limit = choose(o->io_workers, POSIX_IO_WORKERS, POSIX_IO_WORKERS_MAX);
	p->fibers_max = o->fibers_max == 0 ? POSIX_FIBERS_MAX : o->fibers_max;
	p->stack_bytes = o->stack_bytes == 0 ? POSIX_STACK_BYTES : o->stack_bytes;
	p->log_level = o->log_level == 0 ? (int)BOLE_LOG_INFO : o->log_level - 1;
	p->log_fd = o->log_fd == 0 ? STDERR_FILENO : o->log_fd;
	pthread_mutex_init(&p->lock, NULL);
	posix_thread_cond_init(&p->idle);
	pthread_mutex_init(&p->pool_lock, NULL);
	pthread_cond_init(&p->pool_work, NULL);
	*out = &p->platform;
	return BOLE_OK;
}

void bole_posix_set_loops(struct bole_platform *platform, unsigned loops)
{
	struct posix *p = (struct posix *)platform;

	pthread_mutex_lock(&p->lock);
	if (!atomic_load(&p->started))
		p->loop_limit = choose(loops, p->loop_default, POSIX_LOOPS_MAX);
	pthread_mutex_unlock(&p->lock);
}

uint64_t bole_posix_raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 0;
	struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
	if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
		limit = raised;
	return limit.rlim_cur;
}

void bole_posix_close(struct bole_platform *platform)
{
	struct posix *p = (struct posix *)platform;

	if (p == NULL)
		return;
	pthread_mutex_lock(&p->lock);
	while (p->fiber_count > 0)
		pthread_cond_wait(&p->idle, &p->lock);
	pthread_mutex_unlock(&p->lock);
	posix_loops_stop(p);
	bole_posix_off_stop(platform);
	pthread_cond_destroy(&p->pool_work);
	pthread_mutex_destroy(&p->pool_lock);
	pthread_cond_destroy(&p->idle);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
