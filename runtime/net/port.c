/* SPDX-License-Identifier: ISC */
/* What lwIP asks of a platform: time, random numbers, memory under a budget, checksums. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/core.h"
#include "lwip/sys.h"
#include "net/hooks.h"
#include "net/internal.h"

enum { HEAP_HEAD = 16 }; /* the size, in front of each block, keeping its alignment */

struct heap {
	size_t limit;
	size_t used;
	size_t peak;
};
static struct heap heap;

void net_heap_limit(size_t bytes)
{
	heap.limit = bytes;
}

size_t net_heap_room(void)
{
	return heap.used < heap.limit ? heap.limit - heap.used : 0;
}

void net_heap_stats(struct net_stats *out)
{
	out->heap_used = heap.used;
	out->heap_peak = heap.peak;
	out->heap_limit = heap.limit;
}

void *net_heap_alloc(size_t size)
{
	struct bole_alloc *alloc = core_alloc();

	if (size > SIZE_MAX - HEAP_HEAD || size + HEAP_HEAD > net_heap_room())
		return NULL;
	size += HEAP_HEAD;
	uint8_t *block = alloc->resize(alloc->ctx, NULL, 0, size, HEAP_HEAD);
	if (block == NULL)
		return NULL;
	memcpy(block, &size, sizeof size);
	heap.used += size;
	if (heap.used > heap.peak)
		heap.peak = heap.used;
	return block + HEAP_HEAD;
}

void *net_heap_calloc(size_t count, size_t size)
{
	if (size != 0 && count > SIZE_MAX / size)
		return NULL;
	void *p = net_heap_alloc(count * size);
	if (p != NULL)
		memset(p, 0, count * size);
	return p;
}

void net_heap_free(void *ptr)
{
	struct bole_alloc *alloc = core_alloc();
	size_t size;

	if (ptr == NULL)
		return;
	uint8_t *block = (uint8_t *)ptr - HEAP_HEAD;
	memcpy(&size, block, sizeof size);
	heap.used -= size;
	alloc->resize(alloc->ctx, block, size, 0, HEAP_HEAD);
}

u32_t sys_now(void)
{
	return (u32_t)(core_now_ns() / 1000000);
}

uint32_t net_random32(void)
{
	uint32_t value;

	core_random(&value, sizeof value);
	return value;
}

u32_t net_initial_sequence(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote,
                           u16_t remote_port)
{
	(void)local;
	(void)local_port;
	(void)remote;
	(void)remote_port;
	return net_random32();
}

/* The Internet checksum's sum, folded to 16 bits, in memory order. Eight bytes a step; the carries
 * gather in the upper half. */
uint16_t net_checksum(const void *data, int len)
{
	const uint8_t *p = data;
	uint64_t sum = 0;
	uint64_t word;

	for (; len >= 32; len -= 32, p += 32) {
		uint32_t w[8];
		memcpy(w, p, sizeof w);
		sum += (uint64_t)w[0] + w[1] + w[2] + w[3];
		sum += (uint64_t)w[4] + w[5] + w[6] + w[7];
	}
	for (; len >= 4; len -= 4, p += 4) {
		uint32_t w;
		memcpy(&w, p, sizeof w);
		sum += w;
	}
	word = 0;
	memcpy(&word, p, len > 0 ? (size_t)len : 0); /* little end first: the rest is zero */
	sum += word;
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

void net_print(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	core_vlog(BOLE_LOG_DEBUG, format, args);
	va_end(args);
}

_Noreturn void net_assert_failed(const char *what, const char *file, int line)
{
	core_panic("lwIP: %s (%s:%d)", what, file, line);
}

enum bole_status net_status(err_t err)
{
	switch (err) {
	case ERR_OK: return BOLE_OK;
	case ERR_MEM:
	case ERR_BUF: return BOLE_E_NO_MEMORY;
	case ERR_TIMEOUT: return BOLE_E_TIMEOUT;
	case ERR_VAL:
	case ERR_ARG: return BOLE_E_INVALID;
	case ERR_USE: return BOLE_E_BUSY;
	case ERR_ABRT:
	case ERR_RST:
	case ERR_CLSD:
	case ERR_CONN: return BOLE_E_CLOSED;
	default: return BOLE_E_IO;
	}
}
