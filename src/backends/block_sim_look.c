/* SPDX-License-Identifier: ISC */
/* Looking into a simulated device: stored bytes, counters, wear. */
#include <string.h>

#include "backends/block_sim.h"
#include "base/bytes.h"
#include "base/check.h"

void bole_block_sim_peek(struct bole_block *block, uint64_t off, void *dst, size_t len)
{
	struct sim_block *s = bole_sim_of(block);

	BOLE_ASSERT(bole_in_bounds(off, len, block->info.size_bytes));
	bole_sim_lock(s);
	bole_sim_image_get(&s->image, off, dst, len);
	bole_sim_unlock(s);
}

/* What is discarded, or was never written, becomes plain content by whole units. */
static void poke_page(struct sim_block *s, uint64_t off, const uint8_t *src, size_t len)
{
	struct sim_image *image = &s->image;
	size_t at = (size_t)(off % image->page_bytes);
	struct sim_page *page = bole_sim_page_own(image, off / image->page_bytes);

	BOLE_ASSERT(page != NULL);
	memcpy(page->bytes + at, src, len);
	for (size_t u = at / image->unit; u <= (at + len - 1) / image->unit; u++)
		if (page->state[u] == SIM_ERASED || page->state[u] == SIM_DISCARDED)
			page->state[u] = SIM_PROGRAMMED;
}

void bole_block_sim_poke(struct bole_block *block, uint64_t off, const void *src, size_t len)
{
	struct sim_block *s = bole_sim_of(block);
	const uint8_t *from = src;

	BOLE_ASSERT(bole_in_bounds(off, len, block->info.size_bytes));
	bole_sim_lock(s);
	while (len != 0) {
		size_t n = s->image.page_bytes - (size_t)(off % s->image.page_bytes);
		if (n > len)
			n = len;
		poke_page(s, off, from, n);
		off += n;
		from += n;
		len -= n;
	}
	bole_sim_unlock(s);
}

void bole_block_sim_counters(const struct bole_block *block, struct bole_block_sim_counters *out)
{
	*out = ((const struct sim_block *)block)->count;
}

uint64_t bole_block_sim_time_ns(const struct bole_block *block)
{
	return ((const struct sim_block *)block)->count.device_ns;
}

void bole_block_sim_reset_worst(struct bole_block *block)
{
	bole_sim_of(block)->count.worst_ns = 0;
}

void bole_block_sim_set_hook(struct bole_block *block, bole_block_sim_hook *hook, void *ctx)
{
	bole_sim_of(block)->hook = hook;
	bole_sim_of(block)->hook_ctx = ctx;
}

void bole_block_sim_seed(struct bole_block *block, uint64_t seed)
{
	bole_sim_of(block)->random = seed;
}

void bole_block_sim_wear(const struct bole_block *block, struct bole_block_sim_wear *out)
{
	const struct sim_block *s = (const struct sim_block *)block;
	uint64_t blocks =
	        s->image.block_bytes == 0 ? 0 : block->info.size_bytes / s->image.block_bytes;

	*out = (struct bole_block_sim_wear){.min = UINT32_MAX};
	for (uint64_t b = 0; b < blocks; b++) {
		struct sim_erase_block e = bole_sim_block(&s->image, b);
		if ((e.flags & (SIM_BLOCK_FACTORY_BAD | SIM_BLOCK_DEAD)) != 0)
			out->bad++;
		if ((e.flags & SIM_BLOCK_FACTORY_BAD) != 0)
			continue;
		out->blocks++;
		out->min = e.erases < out->min ? e.erases : out->min;
		out->max = e.erases > out->max ? e.erases : out->max;
		out->sum += e.erases;
		out->squares += (uint64_t)e.erases * e.erases;
	}
	if (out->blocks == 0)
		out->min = 0;
}

uint32_t bole_block_sim_erases(const struct bole_block *block, uint64_t off)
{
	const struct sim_block *s = (const struct sim_block *)block;

	BOLE_ASSERT(off < block->info.size_bytes && s->image.block_bytes != 0);
	return bole_sim_block(&s->image, off / s->image.block_bytes).erases;
}

uint64_t bole_block_sim_memory(const struct bole_block *block)
{
	const struct sim_block *s = (const struct sim_block *)block;

	return sizeof *s + bole_sim_image_memory(&s->image);
}
