/* SPDX-License-Identifier: ISC */
/* The allocator that everything in src/ is handed; there is no malloc by name. */
#ifndef BOLE_ALLOC_H
#define BOLE_ALLOC_H

#include <stddef.h>

/* One entry point for allocate, grow, shrink and free.
 *
 * resize: ptr NULL and old_size 0 allocates; new_size 0 frees and returns NULL; otherwise moves the
 * contents (the smaller of both sizes). align is a power of two, at least 1, and must be the same
 * in every call for one block. New bytes are not zeroed. Returns NULL when there is no memory; then
 * ptr is still valid. A long block with the alignment of a page (4096) is read all over: a platform
 * may map it in large pages. Safe to call from any thread or fiber of the platform. Never blocks on
 * I/O.
 */
struct bole_alloc {
	void *(*resize)(void *ctx, void *ptr, size_t old_size, size_t new_size, size_t align);
	void *ctx;
};

#endif /* BOLE_ALLOC_H */
