/* SPDX-License-Identifier: ISC */
#include "core/symbols.h"

#include <stddef.h>

struct image_symbol {
	uint32_t address;
	uint32_t name;
};

/* Absent in the first link, from which tools/image/symbols makes them. Sorted by address. */
extern const struct image_symbol image_symbols[] __attribute__((weak));
extern const uint32_t image_symbol_count __attribute__((weak));
extern const char image_symbol_names[] __attribute__((weak));

const char *symbol_at(uint64_t address, uint64_t *offset)
{
	uint32_t low = 0, high;

	if (&image_symbol_count == NULL)
		return NULL;
	high = image_symbol_count;
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;
		if (image_symbols[middle].address <= address)
			low = middle;
		else
			high = middle;
	}
	if (high == 0 || image_symbols[low].address > address)
		return NULL;
	*offset = address - image_symbols[low].address;
	return image_symbol_names + image_symbols[low].name;
}
