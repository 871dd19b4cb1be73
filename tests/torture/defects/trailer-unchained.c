/* SPDX-License-Identifier: ISC */
/* Planted: a trailer does not chain to the one before: the link that it should carry on is 0. */
#include "flash/log/batch.h"

enum bole_status __real_bole_flash_batch_end(struct flash_volume *, uint32_t flags);
enum bole_status __wrap_bole_flash_batch_end(struct flash_volume *, uint32_t flags);

enum bole_status __wrap_bole_flash_batch_end(struct flash_volume *v, uint32_t flags)
{
	enum bole_status rc = __real_bole_flash_batch_end(v, flags);

	v->log.link = 0;
	return rc;
}
