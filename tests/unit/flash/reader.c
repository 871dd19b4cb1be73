/* SPDX-License-Identifier: ISC */
/* What readers keep in memory, and when it no longer counts. */
#include <criterion/criterion.h>

#include "bole/devices.h"
#include "flash/log/reader.h"
#include "flash/log/tx.h"
#include "support/platform.h"
#include "support/store_suite.h"
#include "support/suite_help.h"

enum { SMALL = 100, LARGE = 8192, OWNER = 7, AGAIN = 1, BETWEEN = 5 };

static void fetch(struct flash_volume *v, struct flash_reader *r, uint32_t segment, size_t len)
{
	const uint8_t *bytes;

	OK(bole_flash_fetch(v, r, segment, 0, len, &bytes));
}

/* Goal: bytes of a segment's earlier life, found to be sound, say nothing about those of the next.
 * Method: two windows have them when the segment is written anew, and a third reads them. */
Test(flash_reader, what_was_verified_in_a_segments_earlier_life_is_so_no_more)
{
	struct flash_reader r = {.clock = 0};
	struct test_platform test;
	struct bole_block *dev;
	struct flash_volume *v;

	test_platform_init(&test, 1);
	OK(bole_block_ram_open(&test.alloc, 8 << 20, 4096, &dev));
	OK(bole_flash_format(dev, &test.base, NULL));
	OK(bole_flash_volume_open(dev, &test.base, &test.alloc, NULL, &v));
	for (uint32_t i = 0; i < READER_WINDOWS; i++)
		fetch(v, &r, i, SMALL);
	fetch(v, &r, AGAIN, SMALL);
	bole_flash_reader_note(&r, AGAIN, 0, SMALL, OWNER);
	cr_assert(bole_flash_reader_knows(&r, AGAIN, 0, SMALL, OWNER));
	fetch(v, &r, BETWEEN, SMALL);
	fetch(v, &r, AGAIN, LARGE);
	v->segment[AGAIN].sequence++;
	fetch(v, &r, AGAIN, SMALL);
	cr_assert_not(bole_flash_reader_knows(&r, AGAIN, 0, SMALL, OWNER));
	v->segment[AGAIN].sequence--;
	bole_flash_reader_close(v, &r);
	OK(bole_flash_volume_close(v));
	bole_block_close(dev);
	test_platform_release(&test);
}
