/* SPDX-License-Identifier: ISC */
/* Linked over bole_block_flush (--wrap) into an image of its own: a machine that never asks its
 * disk to flush. The power-cut test must find it guilty. */
#include "bole/block.h"

enum bole_status __wrap_bole_block_flush(struct bole_block *);
enum bole_status __wrap_bole_block_flush(struct bole_block *block)
{
	(void)block;
	return BOLE_OK;
}
