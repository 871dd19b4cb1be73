/* SPDX-License-Identifier: ISC */
/* Memory on top of struct bole_alloc: checked helpers, a byte budget, a growable buffer, an arena.
 */
#ifndef BOLE_BASE_MEMORY_H
#define BOLE_BASE_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/types.h"

/* count * size bytes, checked for overflow, zeroed, aligned for any type. NULL = no memory. */
void *bole_alloc_zeroed(struct bole_alloc *, size_t count, size_t size);
/* The same without zeroing. */
void *bole_alloc_array(struct bole_alloc *, size_t count, size_t size);
/* Grows or shrinks what the two above gave. NULL = no memory, the old block stays. */
void *bole_alloc_resize(struct bole_alloc *, void *ptr, size_t old_count, size_t new_count,
                        size_t size);
/* ptr may be NULL; count and size as allocated. */
void bole_alloc_free(struct bole_alloc *, void *ptr, size_t count, size_t size);

/* For what is read all over: from this length on a platform may use large pages (alloc.h). Not
 * zeroed; NULL = no memory. */
#define BOLE_LARGE_BYTES ((size_t)2 << 20)
void *bole_alloc_large(struct bole_alloc *, size_t bytes);
/* ptr may be NULL. */
void bole_alloc_large_free(struct bole_alloc *, void *ptr, size_t bytes);

/* An allocator that refuses (NULL) beyond limit bytes and counts; thread-safe. Everything from it
 * is given back before the budget goes away; used is then 0. */
struct bole_budget {
	struct bole_alloc alloc;
	struct bole_alloc *parent;
	size_t limit; /* SIZE_MAX = only count */
	_Atomic size_t used;
	_Atomic size_t peak;
};
void bole_budget_init(struct bole_budget *, struct bole_alloc *parent, size_t limit);

/* A growable byte array with a limit and a sticky error; zero-init plus alloc and limit is valid.
 */
struct bole_buffer {
	struct bole_alloc *alloc;
	uint8_t *ptr;
	size_t len;
	size_t cap;
	size_t limit;
	enum bole_status rc; /* first failure: BOLE_E_NO_MEMORY or BOLE_E_LIMIT */
};
void bole_buffer_init(struct bole_buffer *, struct bole_alloc *, size_t limit);
void bole_buffer_release(struct bole_buffer *);
void bole_buffer_append(struct bole_buffer *, const void *src, size_t len);
void bole_buffer_byte(struct bole_buffer *, uint8_t value);
void bole_buffer_text(struct bole_buffer *, const char *text);
void bole_buffer_format(struct bole_buffer *, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
/* Room for len more bytes at ptr + len; the caller then adds to len. NULL on failure. */
uint8_t *bole_buffer_reserve(struct bole_buffer *, size_t len);

/* Bump allocation in chunks of chunk_bytes; everything is freed at once. */
struct bole_arena {
	struct bole_alloc *alloc;
	struct bole_arena_chunk *chunks;
	size_t chunk_bytes;
	uint8_t *next;
	uint8_t *end;
};
void bole_arena_init(struct bole_arena *, struct bole_alloc *, size_t chunk_bytes);
void bole_arena_release(struct bole_arena *);
/* Zeroed, aligned to 16. NULL = no memory. */
void *bole_arena_alloc(struct bole_arena *, size_t count, size_t size);

#endif /* BOLE_BASE_MEMORY_H */
