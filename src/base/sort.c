/* SPDX-License-Identifier: ISC */
/* A merge sort, bottom up. */
#include "base/sort.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/memory.h"

enum { STEPS_YIELD = 1024 };

struct sorting {
	struct bole_platform *platform;
	size_t width;
	int (*compare)(const void *, const void *);
	size_t steps;
};

/* Merges [low, middle) and [middle, high) of from into to. */
static void merge(struct sorting *s, const uint8_t *from, size_t low, size_t middle, size_t high,
                  uint8_t *to)
{
	size_t left = low;
	size_t right = middle;

	for (size_t i = low; i < high; i++) {
		const uint8_t *l = from + left * s->width;
		const uint8_t *r = from + right * s->width;
		bool take_left = right == high || (left < middle && s->compare(l, r) <= 0);

		memcpy(to + i * s->width, take_left ? l : r, s->width);
		if (take_left)
			left++;
		else
			right++;
		if (++s->steps % STEPS_YIELD == 0)
			s->platform->ops->yield(s->platform);
	}
}

enum bole_status bole_sort(struct bole_platform *platform, struct bole_alloc *alloc, void *items,
                           size_t count, size_t width, int (*compare)(const void *, const void *))
{
	struct sorting s = {.platform = platform, .width = width, .compare = compare};

	if (count < 2)
		return BOLE_OK;
	uint8_t *spare = bole_alloc_array(alloc, count, width);
	if (spare == NULL)
		return BOLE_E_NO_MEMORY;
	uint8_t *from = items;
	uint8_t *to = spare;
	for (size_t run = 1; run < count; run *= 2) {
		for (size_t low = 0; low < count; low += 2 * run) {
			size_t middle = count - low < run ? count : low + run;
			size_t high = count - low < 2 * run ? count : low + 2 * run;

			merge(&s, from, low, middle, high, to);
		}
		uint8_t *swap = from;
		from = to;
		to = swap;
	}
	if (from != items)
		memcpy(items, from, count * width);
	bole_alloc_free(alloc, spare, count, width);
	return BOLE_OK;
}
