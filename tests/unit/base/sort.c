/* SPDX-License-Identifier: ISC */
#include "base/sort.h"

#include <criterion/criterion.h>

#include "support/platform.h"

enum { ITEMS_MAX = 5000 };

struct item {
	uint32_t key;
	uint32_t number;
};

static int compare(const void *a, const void *b)
{
	const struct item *x = a;
	const struct item *y = b;

	return x->key < y->key ? -1 : x->key > y->key;
}

Test(sort, any_list_comes_out_in_order_and_equal_items_as_they_were)
{
	static const size_t counts[] = {0, 1, 2, 3, 4, 7, 64, 65, 1023, ITEMS_MAX};
	static const uint32_t keys[] = {1, 2, 100, UINT32_MAX};
	static struct item items[ITEMS_MAX];
	struct test_platform test;
	uint64_t state = test_seed(7);

	test_platform_init(&test, 1);
	for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
		for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
			uint64_t sum = 0;

			for (uint32_t i = 0; i < counts[c]; i++)
				items[i] =
				        (struct item){(uint32_t)(test_random(&state) % keys[k]), i};
			cr_assert(bole_sort(&test.base, &test.alloc, items, counts[c],
			                    sizeof items[0], compare) == BOLE_OK);
			for (size_t i = 0; i < counts[c]; i++) {
				sum += items[i].number;
				if (i == 0)
					continue;
				cr_assert(items[i - 1].key < items[i].key ||
				          (items[i - 1].key == items[i].key &&
				           items[i - 1].number < items[i].number));
			}
			cr_assert(counts[c] == 0 || sum == counts[c] * (counts[c] - 1) / 2);
		}
	}
	test_platform_release(&test);
}
