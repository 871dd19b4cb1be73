/* SPDX-License-Identifier: ISC */
/* Stands in for the glue header of musl's allocator: its pages come from the core's page allocator
 * and there is one thread. Included before the allocator's sources, whose own glue it keeps out. */
#ifndef MALLOC_GLUE_H
#define MALLOC_GLUE_H

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "atomic.h"
#include "features.h"

#define size_classes __malloc_size_classes
#define ctx          __malloc_context
#define alloc_meta   __malloc_alloc_meta
#define is_allzero   __malloc_allzerop
#define dump_heap    __dump_heap

#define malloc  __libc_malloc_impl
#define realloc __libc_realloc
#define free    __libc_free

void *heap_pages_map(size_t bytes);
void heap_pages_unmap(void *pages, size_t bytes);
uint64_t heap_secret(void);
_Noreturn void heap_corrupt(void);

#undef assert
#define assert(x)                       \
	do {                            \
		if (!(x))               \
			heap_corrupt(); \
	} while (0)

#define USE_MADV_FREE          0
#define PAGESIZE               4096
#define DISABLE_ALIGNED_ALLOC  0
#define RDLOCK_IS_EXCLUSIVE    1
#define MT                     0
#define LOCK_OBJ_DEF           extern int heap_no_lock
#define brk(p)                 ((uintptr_t)-1)
#define mmap(a, n, p, f, d, o) heap_pages_map(n)
#define munmap(p, n)           (heap_pages_unmap(p, n), 0)
#define mprotect(p, n, r)      0
#define madvise(p, n, a)       (-1)
#define mremap(p, o, n, f)     MAP_FAILED

static inline uint64_t get_random_secret()
{
	return heap_secret();
}
static inline void rdlock() {}
static inline void wrlock() {}
static inline void unlock() {}
static inline void upgradelock() {}

#endif
