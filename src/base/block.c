/* SPDX-License-Identifier: ISC */
/* The wrappers that assert the contract of block.h on every call. */
#include "bole/block.h"

#include "base/bytes.h"
#include "base/check.h"

static void assert_range(const struct bole_block *block, uint64_t off, uint64_t len, uint32_t unit)
{
	BOLE_ASSERT(unit != 0);
	BOLE_ASSERT(off % unit == 0);
	BOLE_ASSERT(len % unit == 0);
	BOLE_ASSERT(bole_in_bounds(off, len, block->info.size_bytes));
}

enum bole_status bole_block_read(struct bole_block *block, uint64_t off, void *dst, size_t len)
{
	assert_range(block, off, len, block->info.read_unit);
	if (len == 0)
		return BOLE_OK;
	return block->ops->read(block, off, dst, len);
}

enum bole_status bole_block_read_ready(struct bole_block *b, uint64_t off, void *dst, size_t len)
{
	assert_range(b, off, len, b->info.read_unit);
	if (len == 0)
		return BOLE_OK;
	return b->ops->read_ready == NULL ? BOLE_AGAIN : b->ops->read_ready(b, off, dst, len);
}

enum bole_status bole_block_program(struct bole_block *block, uint64_t off, const void *src,
                                    size_t len)
{
	struct bole_bytes piece = bole_bytes_of(src, len);

	return bole_block_programv(block, off, &piece, 1);
}

enum bole_status bole_block_programv(struct bole_block *block, uint64_t off,
                                     const struct bole_bytes *pieces, size_t count)
{
	uint64_t len = 0;

	for (size_t i = 0; i < count; i++)
		BOLE_ASSERT(!__builtin_add_overflow(len, pieces[i].len, &len));
	assert_range(block, off, len, block->info.program_unit);
	if (block->info.read_only)
		return BOLE_E_READ_ONLY;
	if (len == 0)
		return BOLE_OK;
	return block->ops->programv(block, off, pieces, count);
}

enum bole_status bole_block_erase(struct bole_block *block, uint64_t off, uint64_t len)
{
	BOLE_ASSERT(block->info.needs_erase);
	assert_range(block, off, len, block->info.erase_unit);
	if (block->info.read_only)
		return BOLE_E_READ_ONLY;
	if (len == 0)
		return BOLE_OK;
	return block->ops->erase(block, off, len);
}

enum bole_status bole_block_discard(struct bole_block *block, uint64_t off, uint64_t len)
{
	assert_range(block, off, len, block->info.program_unit);
	if (block->info.read_only)
		return BOLE_E_READ_ONLY;
	if (len == 0 || !block->info.can_discard || block->ops->discard == NULL)
		return BOLE_OK;
	return block->ops->discard(block, off, len);
}

enum bole_status bole_block_flush(struct bole_block *block)
{
	if (block->info.read_only)
		return BOLE_OK;
	return block->ops->flush(block);
}

enum bole_status bole_block_is_bad(struct bole_block *block, uint64_t off, bool *bad)
{
	*bad = false;
	BOLE_ASSERT(off < block->info.size_bytes);
	if (block->ops->is_bad == NULL)
		return BOLE_OK;
	return block->ops->is_bad(block, off, bad);
}

enum bole_status bole_block_mark_bad(struct bole_block *block, uint64_t off)
{
	BOLE_ASSERT(off < block->info.size_bytes);
	if (block->ops->mark_bad == NULL)
		return BOLE_E_UNSUPPORTED;
	return block->ops->mark_bad(block, off);
}

enum bole_status bole_block_next_decaying(struct bole_block *block, uint64_t *off)
{
	return block->ops->next_decaying == NULL ? BOLE_END : block->ops->next_decaying(block, off);
}

void bole_block_close(struct bole_block *block)
{
	if (block != NULL)
		block->ops->close(block);
}
