/* SPDX-License-Identifier: ISC */
/* Ids as hexadecimal digits, four bytes at a time: a listing has tens of thousands of them. */
#ifndef BOLE_BASE_HEX_H
#define BOLE_BASE_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

#define BOLE_HEX_EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Eight values below 16, a byte each, as digits in lower case. */
static inline uint64_t bole_hex_digits(uint64_t values)
{
	/* Those above 9 have a carry when 6 is added. */
	uint64_t letters = (values + BOLE_HEX_EACH(6)) >> 4 & BOLE_HEX_EACH(1);

	return values + BOLE_HEX_EACH('0') + letters * ('a' - '0' - 10);
}

/* Writes 2 * bytes digits in lower case; bytes is a multiple of four. */
static inline void bole_hex_encode(uint8_t *dst, const uint8_t *src, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 4) {
		uint64_t x = bole_get_be32(src + i);

		x = (x | x << 16) & UINT64_C(0x0000ffff0000ffff);
		x = (x | x << 8) & UINT64_C(0x00ff00ff00ff00ff);
		x = (x | x << 4) & BOLE_HEX_EACH(15);
		bole_put_be64(dst + 2 * i, bole_hex_digits(x));
	}
}

typedef int8_t bole_hex_16 __attribute__((vector_size(16)));
typedef uint16_t bole_hex_8 __attribute__((vector_size(16)));
typedef uint8_t bole_hex_half __attribute__((vector_size(8)));

/* Eight bytes of sixteen digits. False as below. For little-endian processors alone. */
static inline __attribute__((always_inline)) bool bole_hex_decode_8(uint8_t *dst,
                                                                    const uint8_t *src)
{
	bole_hex_16 digits, x, wrong;
	uint64_t parts[2];

	memcpy(&digits, src, sizeof digits);
	/* As below; what a comparison gives is 0 or -1. A byte above 127 is wrong either way. */
	bole_hex_16 letters = digits > '9';
	x = (digits & 15) + (letters & 9);
	wrong = (x & -16) | ((x + '0' + ((x > 9) & ('a' - '0' - 10))) ^ (digits | (letters & 32)));
	bole_hex_8 pairs = (bole_hex_8)x;
	bole_hex_half bytes = __builtin_convertvector(pairs << 4 | pairs >> 8, bole_hex_half);
	memcpy(dst, &bytes, sizeof bytes);
	memcpy(parts, &wrong, sizeof parts);
	return (parts[0] | parts[1]) == 0;
}

/* The other way, in either case. False: there is something else; dst is spoilt then. */
static inline __attribute__((always_inline)) bool bole_hex_decode(uint8_t *dst, const uint8_t *src,
                                                                  size_t bytes)
{
	uint64_t wrong = 0;
	size_t i = 0;

	for (; __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && i + 8 <= bytes; i += 8)
		wrong |= !bole_hex_decode_8(dst + i, src + 2 * i);
	for (; i < bytes; i += 4) {
		uint64_t digits = bole_get_be64(src + 2 * i);
		uint64_t letters = digits >> 6 & BOLE_HEX_EACH(1);
		uint64_t x = (digits & BOLE_HEX_EACH(15)) + letters * 9;

		/* A value that is one, and whose digit is what is there, is right. */
		wrong |= (x & BOLE_HEX_EACH(0xf0)) | (bole_hex_digits(x) ^ (digits | letters << 5));
		x = (x | x >> 4) & UINT64_C(0x00ff00ff00ff00ff);
		x = (x | x >> 8) & UINT64_C(0x0000ffff0000ffff);
		bole_put_be32(dst + i, (uint32_t)(x | x >> 16));
	}
	return wrong == 0;
}

#endif /* BOLE_BASE_HEX_H */
