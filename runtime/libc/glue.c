/* SPDX-License-Identifier: ISC */
/* What musl's subset asks of its surroundings: pages for the allocator, errno, locks that one
 * thread does not need, and the ends that a library calls when it is at its own. */

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/core.h"

void *heap_pages_map(size_t bytes);
void heap_pages_unmap(void *pages, size_t bytes);
uint64_t heap_secret(void);
_Noreturn void heap_corrupt(void);
int *__errno_location(void);
int *___errno_location(void);
void __lock(volatile int *);
void __unlock(volatile int *);
int __lockfile(void *);
void __unlockfile(void *);
void __stdio_exit_needed(void);
void *__libc_malloc(size_t);
void *__libc_malloc_impl(size_t);
_Noreturn void __assert_fail(const char *what, const char *file, int line, const char *function);

/* Pages of the allocator must come zeroed, to the end of the last: calloc and its records rely on
 * it. */
void *heap_pages_map(size_t bytes)
{
	size_t pages = bytes / CORE_PAGE_SIZE + (bytes % CORE_PAGE_SIZE != 0);
	void *p = core_pages_alloc(pages);

	return p == NULL ? MAP_FAILED : memset(p, 0, pages * CORE_PAGE_SIZE);
}

void heap_pages_unmap(void *pages, size_t bytes)
{
	core_pages_free(pages, (bytes + CORE_PAGE_SIZE - 1) / CORE_PAGE_SIZE);
}

/* Guards the allocator's own records against stray writes, not against an attacker who can read
 * memory; the pool may not be filled yet when the first block is asked for. */
uint64_t heap_secret(void)
{
	return core_early_random();
}

void heap_corrupt(void)
{
	core_panic("the heap is corrupt");
}

void *__libc_malloc(size_t n)
{
	return __libc_malloc_impl(n);
}

void *malloc(size_t n)
{
	return __libc_malloc_impl(n);
}

/* calloc need not clear what the allocator knows to be zero. */
extern int __malloc_replaced;
int __malloc_replaced;
static int error_number;

int *__errno_location(void)
{
	return &error_number;
}

int *___errno_location(void)
{
	return &error_number;
}

void __lock(volatile int *l)
{
	(void)l;
}

void __unlock(volatile int *l)
{
	(void)l;
}

int __lockfile(void *f)
{
	(void)f;
	return 0;
}

void __unlockfile(void *f)
{
	(void)f;
}

void __stdio_exit_needed(void) {}

void abort(void)
{
	core_panic("abort");
}

void __assert_fail(const char *what, const char *file, int line, const char *function)
{
	core_panic("%s:%d: %s: %s", file, line, function, what);
}

/* The one time zone, for struct tm. */
extern const char __utc[];
const char __utc[] = "UTC";

/* errno never leaves the library, so neither do its texts. */
char *strerror(int number)
{
	static char text[] = "error";

	(void)number;
	return text;
}
