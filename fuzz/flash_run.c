/* SPDX-License-Identifier: ISC */
/* Descriptors and pages of runs that somebody made up, with right checksums: a byte of options, the
 * length of the descriptor (2), the descriptor, then what fills the pages that it names. Whatever
 * comes out: an error, or rows from those pages. Options: 1 = page heads are part of what fills
 * them, 2 = the checksums are left as they are. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bole/block_sim.h"
#include "flash/index/page.h"
#include "flash/index/run.h"
#include "flash/log/tx.h"
#include "support/platform.h"
#include "support/suite_help.h"

enum {
	FUZZ_PAGES_MAX = 40,
	FUZZ_ASKS = 24,
	FUZZ_SEGMENT_SEQUENCE = 77,
	FUZZ_RAW_HEADS = 1,
	FUZZ_NO_SUMS = 2,
};

static struct test_platform test;
static struct bole_block *device;
static struct flash_volume *v;

static void make_volume(void)
{
	const struct bole_block_sim_options o = {
	        .kind = BOLE_BLOCK_NOR,
	        .size_bytes = 8 << 20,
	        .read_unit = 1,
	        .program_unit = 16,
	        .erase_unit = 16 << 10,
	};
	const struct bole_flash_open_options few = {.cache_bytes = 4 << 10};

	test_platform_init(&test, 1);
	test.quiet = true;
	OK(bole_block_sim_open(&test.alloc, &o, &device));
	OK(bole_flash_volume_format(device, &test.base, NULL));
	OK(bole_flash_volume_open(device, &test.base, &test.alloc, &few, &v));
}

/* Each input has pages of its own: none is remembered from the one before. */
static void new_sequences(void)
{
	static uint64_t round;

	round++;
	for (uint32_t i = 0; i < v->segments; i++)
		if (v->segment[i].state == SEGMENT_FREE)
			v->segment[i].sequence = round << 32 | FUZZ_SEGMENT_SEQUENCE;
}

static void fill(const struct flash_run *run, int options, struct bole_bytes from)
{
	uint8_t page[4096] = {0};
	uint32_t pages = bole_flash_run_pages(run);

	for (uint32_t n = 0; n < pages && n < FUZZ_PAGES_MAX; n++) {
		struct flash_page_place place;
		uint32_t count;
		(void)bole_flash_run_place(run, n, &place);
		enum flash_page_part part = bole_flash_run_part(run, n, &count);
		size_t head = (options & FUZZ_RAW_HEADS) != 0 ? 0 : PAGE_HEAD_BYTES;
		size_t len = v->page_bytes - head < from.len ? v->page_bytes - head : from.len;
		memset(page, 0, sizeof page);
		if (len != 0)
			memcpy(page + head, from.ptr, len);
		from.ptr += len;
		from.len -= len;
		bole_put_le32(page + PAGE_NUMBER_AT, n);
		if (head != 0) {
			bole_put_le16(page + PAGE_COUNT_AT, (uint16_t)count);
			page[PAGE_PART_AT] = (uint8_t)part;
		}
		if ((options & FUZZ_NO_SUMS) == 0)
			bole_flash_page_seal(v, page, &place);
		bole_block_sim_poke(
		        device, bole_flash_position(v, place.segment, place.index * v->page_bytes),
		        page, v->page_bytes);
	}
}

static void ask(struct flash_run *run, struct bole_bytes keys)
{
	uint8_t key[RUN_WIDTH_MAX];
	uint8_t row[RUN_WIDTH_MAX];
	struct flash_run_match m;
	uint32_t len = run->shape.search_len;

	for (uint32_t i = 0; i < FUZZ_ASKS; i++) {
		memset(key, 0, sizeof key);
		size_t at = keys.len == 0 ? 0 : (size_t)i * run->shape.width % keys.len;
		size_t n = keys.len - at < len ? keys.len - at : len;
		if (n != 0)
			memcpy(key, keys.ptr + at, n);
		enum bole_status rc =
		        bole_flash_run_find(run, key, bole_flash_run_hash(v, key, len), &m);
		if (rc == BOLE_OK) {
			BOLE_ASSERT(m.count > 0 && m.count <= RUN_MATCH_ROWS);
			BOLE_ASSERT(m.row < run->rows && run->rows - m.row >= m.count);
			BOLE_ASSERT(memcmp(m.rows, key, len) == 0);
		}
		uint32_t at_row = 0;
		rc = bole_flash_run_seek(run, key, i % (run->shape.key_len + 1u), &at_row);
		BOLE_ASSERT(rc != BOLE_OK || at_row <= run->rows);
		if (rc == BOLE_OK && at_row < run->rows)
			(void)!bole_flash_run_row(run, at_row, row);
	}
}

static void go_through(struct flash_run *run)
{
	struct flash_run *const two[] = {run, run};
	uint8_t last[RUN_WIDTH_MAX] = {0};
	struct flash_merge m;
	const uint8_t *row;
	uint32_t which;

	(void)!bole_flash_run_verify(run);
	if (bole_flash_merge_open(&m, v, two, 2, 3) != BOLE_OK)
		return;
	for (int i = 0; i < 4096 && bole_flash_merge_next(&m, &row, &which) == BOLE_OK; i++) {
		BOLE_ASSERT(i == 0 || memcmp(last, row, run->shape.key_len) <= 0);
		memcpy(last, row, run->shape.width);
	}
	bole_flash_merge_close(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct flash_run *run;
	size_t used;

	if (v == NULL)
		make_volume();
	if (size < 3)
		return 0;
	size_t len = bole_get_le16(data + 1);
	if (len > size - 3)
		len = size - 3;
	struct bole_bytes rest = {data + 3 + len, size - 3 - len};
	new_sequences();
	if (bole_flash_run_decode(v, (struct bole_bytes){data + 3, len}, &run, &used) != BOLE_OK)
		return 0;
	BOLE_ASSERT(used <= len && used == bole_flash_run_encoded(run));
	uint8_t *copy = bole_alloc_array(&test.alloc, used, 1);
	bole_flash_run_encode(run, copy);
	BOLE_ASSERT(memcmp(copy, data + 3, used) == 0);
	bole_alloc_free(&test.alloc, copy, used, 1);
	fill(run, data[0], rest);
	ask(run, rest);
	go_through(run);
	ask(run, rest);
	bole_flash_run_release(run);
	return 0;
}
