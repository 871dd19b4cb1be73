/* SPDX-License-Identifier: ISC */
#include "support/large_blocks.h"

#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <stdlib.h>

enum { KEPT_MAX = 64, BYTES_MIN = 16 << 10, BYTES_MAX = 1 << 20 };

static struct kept {
	void *ptr;
	size_t size, align;
} kept[KEPT_MAX];
static size_t oldest; /* a ring, with holes */
static bool keeping;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void large_blocks_keep(void)
{
	keeping = true;
}

void *large_blocks_take(size_t size, size_t align)
{
	void *found = NULL;

	if (!keeping || size < BYTES_MIN || size > BYTES_MAX)
		return NULL;
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < KEPT_MAX && found == NULL; i++) {
		struct kept *k = &kept[(oldest + i) % KEPT_MAX];

		if (k->ptr == NULL || k->size != size || k->align != align)
			continue;
		found = k->ptr;
		k->ptr = NULL;
	}
	pthread_mutex_unlock(&lock);
	if (found != NULL)
		ASAN_UNPOISON_MEMORY_REGION(found, size);
	return found;
}

bool large_blocks_give(void *ptr, size_t size, size_t align)
{
	if (!keeping || size < BYTES_MIN || size > BYTES_MAX)
		return false;
	ASAN_POISON_MEMORY_REGION(ptr, size);
	pthread_mutex_lock(&lock);
	struct kept out = kept[oldest];

	kept[oldest] = (struct kept){ptr, size, align};
	oldest = (oldest + 1) % KEPT_MAX;
	pthread_mutex_unlock(&lock);
	if (out.ptr != NULL) {
		ASAN_UNPOISON_MEMORY_REGION(out.ptr, out.size);
		free(out.ptr);
	}
	return true;
}
