/* SPDX-License-Identifier: ISC */
/* Bytes, not casts: endian-free loads and stores, bounds, small helpers. */
#ifndef BOLE_BASE_BYTES_H
#define BOLE_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bole/types.h"

static inline void bole_put_be16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline uint16_t bole_get_be16(const uint8_t *p)
{
	return (uint16_t)((unsigned)p[0] << 8 | (unsigned)p[1]);
}

static inline uint32_t bole_get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static inline uint64_t bole_get_be64(const uint8_t *p)
{
	return (uint64_t)bole_get_be32(p) << 32 | bole_get_be32(p + 4);
}

static inline uint16_t bole_get_le16(const uint8_t *p)
{
	return (uint16_t)((unsigned)p[1] << 8 | (unsigned)p[0]);
}

static inline uint32_t bole_get_le32(const uint8_t *p)
{
	return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | (uint32_t)p[0];
}

static inline uint64_t bole_get_le64(const uint8_t *p)
{
	return (uint64_t)bole_get_le32(p + 4) << 32 | bole_get_le32(p);
}

static inline void bole_put_be32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

static inline void bole_put_be64(uint8_t *p, uint64_t v)
{
	bole_put_be32(p, (uint32_t)(v >> 32));
	bole_put_be32(p + 4, (uint32_t)v);
}

static inline void bole_put_le16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline void bole_put_le32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
	p[3] = (uint8_t)(v >> 24);
}

static inline void bole_put_le64(uint8_t *p, uint64_t v)
{
	bole_put_le32(p, (uint32_t)v);
	bole_put_le32(p + 4, (uint32_t)(v >> 32));
}

/* [off, off + len) lies within size, without overflow. */
static inline bool bole_in_bounds(uint64_t off, uint64_t len, uint64_t size)
{
	return len <= size && off <= size - len;
}

static inline struct bole_bytes bole_bytes_of(const void *ptr, size_t len)
{
	return (struct bole_bytes){(const uint8_t *)ptr, len};
}

/* Of a C string, without its NUL. */
static inline struct bole_bytes bole_bytes_z(const char *text)
{
	return (struct bole_bytes){(const uint8_t *)text, strlen(text)};
}

static inline bool bole_bytes_equal(struct bole_bytes a, struct bole_bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool bole_bytes_start(struct bole_bytes whole, struct bole_bytes prefix)
{
	return whole.len >= prefix.len &&
	       (prefix.len == 0 || memcmp(whole.ptr, prefix.ptr, prefix.len) == 0);
}

/* Byte order, shorter first on a tie: <0, 0, >0. */
static inline int bole_bytes_compare(struct bole_bytes a, struct bole_bytes b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int order = n == 0 ? 0 : memcmp(a.ptr, b.ptr, n);

	if (order != 0)
		return order;
	return a.len < b.len ? -1 : a.len > b.len;
}

static inline uint64_t bole_round_up(uint64_t value, uint64_t power_of_two)
{
	return (value + power_of_two - 1) & ~(power_of_two - 1);
}

#endif /* BOLE_BASE_BYTES_H */
