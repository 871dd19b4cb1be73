/* SPDX-License-Identifier: ISC */
#include <criterion/criterion.h>
#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "support/platform.h"

Test(memory, a_budget_refuses_beyond_its_limit_and_counts_back_to_zero)
{
	struct test_platform test;
	struct bole_budget budget;

	test_platform_init(&test, 1);
	bole_budget_init(&budget, &test.alloc, 1000);
	void *a = bole_alloc_array(&budget.alloc, 600, 1);
	cr_assert_not_null(a);
	cr_assert_null(bole_alloc_array(&budget.alloc, 401, 1));
	cr_assert_null(bole_alloc_array(&budget.alloc, SIZE_MAX / 2, 4));
	a = bole_alloc_resize(&budget.alloc, a, 600, 1000, 1);
	cr_assert_not_null(a);
	cr_assert_null(bole_alloc_resize(&budget.alloc, a, 1000, 1001, 1));
	a = bole_alloc_resize(&budget.alloc, a, 1000, 10, 1);
	cr_assert_eq(budget.used, 10);
	cr_assert_eq(budget.peak, 1000);
	/* A parent that fails must not stay charged. */
	test.fail_at = test.grows + 1;
	cr_assert_null(bole_alloc_array(&budget.alloc, 5, 1));
	cr_assert_eq(budget.used, 10);
	bole_alloc_free(&budget.alloc, a, 10, 1);
	cr_assert_eq(budget.used, 0);
	test_platform_release(&test);
}

Test(memory, a_buffer_grows_to_its_limit_and_keeps_its_first_error)
{
	struct test_platform test;
	struct bole_buffer buffer;

	test_platform_init(&test, 1);
	bole_buffer_init(&buffer, &test.alloc, 100);
	bole_buffer_text(&buffer, "hello ");
	bole_buffer_format(&buffer, "%d-%s", 42, "x");
	bole_buffer_byte(&buffer, '!');
	cr_assert(bole_bytes_equal(bole_bytes_of(buffer.ptr, buffer.len),
	                           bole_bytes_z("hello 42-x!")));
	uint8_t many[100] = {0};
	bole_buffer_append(&buffer, many, 89);
	cr_assert_eq(buffer.rc, BOLE_OK);
	cr_assert_eq(buffer.len, 100);
	bole_buffer_byte(&buffer, 0);
	cr_assert_eq(buffer.rc, BOLE_E_LIMIT);
	cr_assert_eq(buffer.len, 100);
	bole_buffer_release(&buffer);
	cr_assert_eq(buffer.rc, BOLE_OK);
	test.fail_at = test.grows + 1;
	bole_buffer_byte(&buffer, 0);
	cr_assert_eq(buffer.rc, BOLE_E_NO_MEMORY);
	bole_buffer_release(&buffer);
	test_platform_release(&test);
}

Test(memory, an_arena_gives_zeroed_aligned_blocks_and_returns_all)
{
	struct test_platform test;
	struct bole_arena arena;

	test_platform_init(&test, 1);
	bole_arena_init(&arena, &test.alloc, 256);
	for (size_t size = 1; size < 700; size += 7) {
		uint8_t *ptr = bole_arena_alloc(&arena, 1, size);

		cr_assert_not_null(ptr);
		cr_assert_eq((uintptr_t)ptr % 16, 0);
		for (size_t i = 0; i < size; i++)
			cr_assert_eq(ptr[i], 0);
		memset(ptr, 0xff, size);
	}
	cr_assert_null(bole_arena_alloc(&arena, SIZE_MAX, 2));
	bole_arena_release(&arena);
	test_platform_release(&test);
}
