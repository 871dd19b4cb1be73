/* SPDX-License-Identifier: ISC */
/* A window of another block device: a partition, or a volume behind a boot area. */
#include "base/bytes.h"
#include "base/memory.h"
#include "bole/devices.h"

struct window_block {
	struct bole_block block;
	struct bole_alloc *alloc;
	struct bole_block *base;
	uint64_t start;
};

static struct window_block *window_of(struct bole_block *block)
{
	return (struct window_block *)block;
}

static enum bole_status window_read(struct bole_block *block, uint64_t off, void *dst, size_t len)
{
	struct window_block *w = window_of(block);

	return bole_block_read(w->base, w->start + off, dst, len);
}

static enum bole_status window_programv(struct bole_block *block, uint64_t off,
                                        const struct bole_bytes *pieces, size_t count)
{
	struct window_block *w = window_of(block);

	return bole_block_programv(w->base, w->start + off, pieces, count);
}

static enum bole_status window_erase(struct bole_block *block, uint64_t off, uint64_t len)
{
	struct window_block *w = window_of(block);

	return bole_block_erase(w->base, w->start + off, len);
}

static enum bole_status window_discard(struct bole_block *block, uint64_t off, uint64_t len)
{
	struct window_block *w = window_of(block);

	return bole_block_discard(w->base, w->start + off, len);
}

static enum bole_status window_flush(struct bole_block *block)
{
	return bole_block_flush(window_of(block)->base);
}

static enum bole_status window_is_bad(struct bole_block *block, uint64_t off, bool *bad)
{
	struct window_block *w = window_of(block);

	return bole_block_is_bad(w->base, w->start + off, bad);
}

static enum bole_status window_mark_bad(struct bole_block *block, uint64_t off)
{
	struct window_block *w = window_of(block);

	return bole_block_mark_bad(w->base, w->start + off);
}

static void window_close(struct bole_block *block)
{
	struct window_block *w = window_of(block);

	bole_alloc_free(w->alloc, w, 1, sizeof *w);
}

static const struct bole_block_ops window_ops = {
        .read = window_read,
        .programv = window_programv,
        .erase = window_erase,
        .discard = window_discard,
        .flush = window_flush,
        .is_bad = window_is_bad,
        .mark_bad = window_mark_bad,
        .close = window_close,
};

enum bole_status bole_block_window_open(struct bole_alloc *alloc, struct bole_block *base,
                                        uint64_t off, uint64_t len, struct bole_block **out)
{
	const struct bole_block_info *info = &base->info;
	uint32_t unit = info->needs_erase ? info->erase_unit : info->program_unit;

	if (len == 0 || off % unit != 0 || len % unit != 0 ||
	    !bole_in_bounds(off, len, info->size_bytes))
		return BOLE_E_INVALID;
	struct window_block *w = bole_alloc_zeroed(alloc, 1, sizeof *w);
	if (w == NULL)
		return BOLE_E_NO_MEMORY;
	*w = (struct window_block){{&window_ops, *info}, alloc, base, off};
	w->block.info.size_bytes = len;
	*out = &w->block;
	return BOLE_OK;
}
