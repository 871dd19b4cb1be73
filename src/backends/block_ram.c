/* SPDX-License-Identifier: ISC */
/* A block device in memory: tests, "mem:" volumes, RAM disks of images. */
#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "bole/devices.h"

enum { RAM_QUEUE_DEPTH = 16 };

struct ram_block {
	struct bole_block block;
	struct bole_alloc *alloc;
	uint8_t *bytes;
};

static struct ram_block *ram_of(struct bole_block *block)
{
	return (struct ram_block *)block;
}

static enum bole_status ram_read(struct bole_block *block, uint64_t off, void *dst, size_t len)
{
	memcpy(dst, ram_of(block)->bytes + off, len);
	return BOLE_OK;
}

static enum bole_status ram_programv(struct bole_block *block, uint64_t off,
                                     const struct bole_bytes *pieces, size_t count)
{
	uint8_t *dst = ram_of(block)->bytes + off;

	for (size_t i = 0; i < count; i++) {
		if (pieces[i].len != 0)
			memcpy(dst, pieces[i].ptr, pieces[i].len);
		dst += pieces[i].len;
	}
	return BOLE_OK;
}

static enum bole_status ram_discard(struct bole_block *block, uint64_t off, uint64_t len)
{
	memset(ram_of(block)->bytes + off, 0, (size_t)len);
	return BOLE_OK;
}

static enum bole_status ram_flush(struct bole_block *block)
{
	(void)block;
	return BOLE_OK;
}

static void ram_close(struct bole_block *block)
{
	struct ram_block *ram = ram_of(block);

	bole_alloc_free(ram->alloc, ram->bytes, (size_t)block->info.size_bytes, 1);
	bole_alloc_free(ram->alloc, ram, 1, sizeof *ram);
}

static const struct bole_block_ops ram_ops = {
        .read = ram_read,
        .read_ready = ram_read,
        .programv = ram_programv,
        .discard = ram_discard,
        .flush = ram_flush,
        .close = ram_close,
};

enum bole_status bole_block_ram_open(struct bole_alloc *alloc, uint64_t size, uint32_t sector,
                                     struct bole_block **out)
{
	if (sector == 0 || (sector & (sector - 1)) != 0 || size == 0 || size % sector != 0 ||
	    size > SIZE_MAX)
		return BOLE_E_INVALID;
	struct ram_block *ram = bole_alloc_zeroed(alloc, 1, sizeof *ram);
	if (ram == NULL)
		return BOLE_E_NO_MEMORY;
	ram->alloc = alloc;
	ram->bytes = bole_alloc_zeroed(alloc, (size_t)size, 1);
	if (ram->bytes == NULL) {
		bole_alloc_free(alloc, ram, 1, sizeof *ram);
		return BOLE_E_NO_MEMORY;
	}
	ram->block.ops = &ram_ops;
	ram->block.info = (struct bole_block_info){
	        .name = "ram",
	        .kind = BOLE_BLOCK_MANAGED,
	        .durability = BOLE_DURABLE_HOST,
	        .size_bytes = size,
	        .read_unit = sector,
	        .program_unit = sector,
	        .atomic_unit = sector,
	        .damage_unit = sector,
	        .queue_depth = RAM_QUEUE_DEPTH,
	        .can_discard = true,
	};
	*out = &ram->block;
	return BOLE_OK;
}
