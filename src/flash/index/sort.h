/* SPDX-License-Identifier: ISC */
/* Sorting tables of many rows by numbers, in linear time and with a yield now and then. */
#ifndef BOLE_FLASH_SORT_H
#define BOLE_FLASH_SORT_H

#include "base/memory.h"

struct flash_sort_item {
	uint64_t key;
	uint32_t row;
};

/* Rows between two yields of a loop that does little for each. */
enum { SORT_YIELD_ROWS = 4096 };

/* Sorts items by key; equal ones keep their order. spare has room for as many. */
void bole_flash_sort(struct flash_sort_item *items, struct flash_sort_item *spare, uint32_t count,
                     void (*yield)(void *), void *ctx);

/* Sorts rows of width bytes by their first key_len (>= 8) bytes; equal ones keep their order. */
BOLE_MUST_USE enum bole_status bole_flash_sort_rows(struct bole_alloc *, uint8_t *rows,
                                                    uint32_t count, size_t width, uint32_t key_len,
                                                    void (*yield)(void *), void *ctx);

#endif /* BOLE_FLASH_SORT_H */
