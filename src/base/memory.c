/* SPDX-License-Identifier: ISC */
#include "base/memory.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

enum { ALIGN_ANY = 16, ALIGN_PAGE = 4096, BUFFER_FIRST_BYTES = 64 };

_Static_assert(alignof(max_align_t) <= ALIGN_ANY, "blocks must fit any type");

static bool array_bytes(size_t count, size_t size, size_t *bytes)
{
	return !__builtin_mul_overflow(count, size, bytes);
}

void *bole_alloc_array(struct bole_alloc *alloc, size_t count, size_t size)
{
	return bole_alloc_resize(alloc, NULL, 0, count, size);
}

void *bole_alloc_zeroed(struct bole_alloc *alloc, size_t count, size_t size)
{
	void *ptr = bole_alloc_array(alloc, count, size);

	if (ptr != NULL)
		memset(ptr, 0, count * size);
	return ptr;
}

void *bole_alloc_resize(struct bole_alloc *alloc, void *ptr, size_t old_count, size_t new_count,
                        size_t size)
{
	size_t old_bytes;
	size_t new_bytes;

	BOLE_ASSERT(size != 0);
	BOLE_ASSERT(array_bytes(old_count, size, &old_bytes));
	BOLE_ASSERT((ptr == NULL) == (old_bytes == 0));
	/* A block of no bytes would be indistinguishable from "no memory". */
	BOLE_ASSERT(new_count != 0);
	if (!array_bytes(new_count, size, &new_bytes) || new_bytes > PTRDIFF_MAX)
		return NULL;
	return alloc->resize(alloc->ctx, ptr, old_bytes, new_bytes, ALIGN_ANY);
}

void bole_alloc_free(struct bole_alloc *alloc, void *ptr, size_t count, size_t size)
{
	if (ptr != NULL)
		alloc->resize(alloc->ctx, ptr, count * size, 0, ALIGN_ANY);
}

static size_t large_align(size_t bytes)
{
	return bytes >= BOLE_LARGE_BYTES ? ALIGN_PAGE : ALIGN_ANY;
}

void *bole_alloc_large(struct bole_alloc *alloc, size_t bytes)
{
	BOLE_ASSERT(bytes != 0);
	return bytes > PTRDIFF_MAX ? NULL
	                           : alloc->resize(alloc->ctx, NULL, 0, bytes, large_align(bytes));
}

void bole_alloc_large_free(struct bole_alloc *alloc, void *ptr, size_t bytes)
{
	if (ptr != NULL)
		alloc->resize(alloc->ctx, ptr, bytes, 0, large_align(bytes));
}

/* -- Budget -- */

static bool budget_charge(struct bole_budget *budget, size_t bytes)
{
	size_t used = atomic_load_explicit(&budget->used, memory_order_relaxed);

	do {
		if (bytes > budget->limit || used > budget->limit - bytes)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
	        &budget->used, &used, used + bytes, memory_order_relaxed, memory_order_relaxed));
	size_t now = used + bytes;
	size_t peak = atomic_load_explicit(&budget->peak, memory_order_relaxed);
	while (now > peak &&
	       !atomic_compare_exchange_weak_explicit(&budget->peak, &peak, now,
	                                              memory_order_relaxed, memory_order_relaxed))
		;
	return true;
}

static void budget_return(struct bole_budget *budget, size_t bytes)
{
	size_t before = atomic_fetch_sub_explicit(&budget->used, bytes, memory_order_relaxed);

	BOLE_ASSERT(before >= bytes);
}

static void *budget_resize(void *ctx, void *ptr, size_t old_size, size_t new_size, size_t align)
{
	struct bole_budget *budget = ctx;

	/* Charged before, returned after: a grow that races with others never overshoots. */
	if (new_size > old_size && !budget_charge(budget, new_size - old_size))
		return NULL;
	void *moved = budget->parent->resize(budget->parent->ctx, ptr, old_size, new_size, align);
	if (new_size != 0 && moved == NULL) {
		if (new_size > old_size)
			budget_return(budget, new_size - old_size);
		return NULL;
	}
	if (new_size < old_size)
		budget_return(budget, old_size - new_size);
	return moved;
}

void bole_budget_init(struct bole_budget *budget, struct bole_alloc *parent, size_t limit)
{
	budget->alloc = (struct bole_alloc){budget_resize, budget};
	budget->parent = parent;
	budget->limit = limit;
	atomic_init(&budget->used, 0);
	atomic_init(&budget->peak, 0);
}

/* -- Buffer -- */

void bole_buffer_init(struct bole_buffer *buffer, struct bole_alloc *alloc, size_t limit)
{
	*buffer = (struct bole_buffer){.alloc = alloc, .limit = limit};
}

void bole_buffer_release(struct bole_buffer *buffer)
{
	bole_alloc_free(buffer->alloc, buffer->ptr, buffer->cap, 1);
	buffer->ptr = NULL;
	buffer->len = 0;
	buffer->cap = 0;
	buffer->rc = BOLE_OK;
}

uint8_t *bole_buffer_reserve(struct bole_buffer *buffer, size_t len)
{
	if (buffer->rc != BOLE_OK)
		return NULL;
	if (len > buffer->limit || buffer->len > buffer->limit - len) {
		buffer->rc = BOLE_E_LIMIT;
		return NULL;
	}
	if (buffer->ptr != NULL && len <= buffer->cap - buffer->len)
		return buffer->ptr + buffer->len;

	size_t want = buffer->len + len;
	size_t cap = buffer->cap < BUFFER_FIRST_BYTES / 2 ? BUFFER_FIRST_BYTES : buffer->cap;
	if (cap < want)
		cap = cap > SIZE_MAX / 2 || cap * 2 < want ? want : cap * 2;
	if (cap > buffer->limit && want <= buffer->limit)
		cap = want == 0 ? 1 : want;
	uint8_t *moved = bole_alloc_resize(buffer->alloc, buffer->ptr, buffer->cap, cap, 1);
	if (moved == NULL) {
		buffer->rc = BOLE_E_NO_MEMORY;
		return NULL;
	}
	buffer->ptr = moved;
	buffer->cap = cap;
	return moved + buffer->len;
}

void bole_buffer_append(struct bole_buffer *buffer, const void *src, size_t len)
{
	if (len == 0)
		return;
	uint8_t *dst = bole_buffer_reserve(buffer, len);
	if (dst == NULL)
		return;
	memcpy(dst, src, len);
	buffer->len += len;
}

void bole_buffer_byte(struct bole_buffer *buffer, uint8_t value)
{
	bole_buffer_append(buffer, &value, 1);
}

void bole_buffer_text(struct bole_buffer *buffer, const char *text)
{
	bole_buffer_append(buffer, text, strlen(text));
}

void bole_buffer_format(struct bole_buffer *buffer, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	BOLE_ASSERT(len >= 0);
	uint8_t *dst = bole_buffer_reserve(buffer, (size_t)len + 1);
	if (dst == NULL)
		return;
	va_start(args, format);
	vsnprintf((char *)dst, (size_t)len + 1, format, args);
	va_end(args);
	buffer->len += (size_t)len;
}

/* -- Arena -- */

struct bole_arena_chunk {
	struct bole_arena_chunk *previous;
	size_t bytes;
};

enum { CHUNK_HEAD = (sizeof(struct bole_arena_chunk) + ALIGN_ANY - 1) / ALIGN_ANY * ALIGN_ANY };

void bole_arena_init(struct bole_arena *arena, struct bole_alloc *alloc, size_t chunk_bytes)
{
	*arena = (struct bole_arena){.alloc = alloc, .chunk_bytes = chunk_bytes};
}

void bole_arena_release(struct bole_arena *arena)
{
	while (arena->chunks != NULL) {
		struct bole_arena_chunk *chunk = arena->chunks;

		arena->chunks = chunk->previous;
		bole_alloc_free(arena->alloc, chunk, chunk->bytes, 1);
	}
	arena->next = NULL;
	arena->end = NULL;
}

void *bole_arena_alloc(struct bole_arena *arena, size_t count, size_t size)
{
	size_t bytes;

	BOLE_ASSERT(size != 0);
	BOLE_ASSERT(count != 0);
	if (!array_bytes(count, size, &bytes) || bytes > PTRDIFF_MAX - 2 * CHUNK_HEAD)
		return NULL;
	bytes = (bytes + ALIGN_ANY - 1) & ~(size_t)(ALIGN_ANY - 1);
	if (arena->next == NULL || bytes > (size_t)(arena->end - arena->next)) {
		size_t chunk_bytes = CHUNK_HEAD + bytes;

		if (chunk_bytes < arena->chunk_bytes)
			chunk_bytes = arena->chunk_bytes;
		struct bole_arena_chunk *chunk = bole_alloc_array(arena->alloc, chunk_bytes, 1);
		if (chunk == NULL)
			return NULL;
		chunk->previous = arena->chunks;
		chunk->bytes = chunk_bytes;
		arena->chunks = chunk;
		arena->next = (uint8_t *)chunk + CHUNK_HEAD;
		arena->end = (uint8_t *)chunk + chunk_bytes;
	}
	uint8_t *ptr = arena->next;
	arena->next += bytes;
	return memset(ptr, 0, bytes);
}
