/* SPDX-License-Identifier: ISC */
/* Planted: digests and links of the log are not compared: what looks like a batch is one. The sum
 * of anything but a page, a head or a place is a constant. */
#include "flash/volume/checksum.h"
#include "flash/volume/flash_format.h"

uint64_t __real_bole_flash_sum(const void *src, size_t len, uint64_t seed);
uint64_t __wrap_bole_flash_sum(const void *src, size_t len, uint64_t seed);

uint64_t __wrap_bole_flash_sum(const void *src, size_t len, uint64_t seed)
{
	if (len == TRAILER_LINK_AT)
		return 0x626f6c65;
	return __real_bole_flash_sum(src, len, seed);
}
