/* SPDX-License-Identifier: ISC */
/* The root allocator: struct bole_alloc over the image's malloc. */

#include <stdlib.h>
#include <string.h>

#include "core/core.h"

#define MALLOC_ALIGN 16

static void *resize(void *ctx, void *ptr, size_t old_size, size_t new_size, size_t align)
{
	void *p;

	(void)ctx;
	if (new_size == 0) {
		free(ptr);
		return NULL;
	}
	if (align <= MALLOC_ALIGN)
		return realloc(ptr, new_size);
	p = aligned_alloc(align, new_size);
	if (p != NULL && ptr != NULL) {
		memcpy(p, ptr, old_size < new_size ? old_size : new_size);
		free(ptr);
	}
	return p;
}

struct bole_alloc *core_alloc(void)
{
	static struct bole_alloc alloc = {resize, NULL};

	return &alloc;
}
