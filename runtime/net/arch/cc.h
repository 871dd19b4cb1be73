/* SPDX-License-Identifier: ISC */
/* What lwIP asks of compiler and platform. */
#ifndef BOLE_LWIP_CC_H
#define BOLE_LWIP_CC_H

#include <stddef.h>
#include <stdint.h>

#define LWIP_NO_UNISTD_H 1
#define SSIZE_MAX        INTPTR_MAX
typedef intptr_t ssize_t;

#define LWIP_ERRNO_STDINCLUDE 1

uint32_t net_random32(void);
#define LWIP_RAND() net_random32()

void *net_heap_alloc(size_t size);
void *net_heap_calloc(size_t count, size_t size);
void net_heap_free(void *ptr);

uint16_t net_checksum(const void *data, int len);

void net_print(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void net_assert_failed(const char *what, const char *file, int line);
#define LWIP_PLATFORM_DIAG(x)      net_print x
#define LWIP_PLATFORM_ASSERT(what) net_assert_failed(what, __FILE__, __LINE__)

#endif /* BOLE_LWIP_CC_H */
