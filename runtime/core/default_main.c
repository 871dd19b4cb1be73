/* SPDX-License-Identifier: ISC */
/* What the image does when nothing else is linked in: says so and stops. */

#include "core/core.h"

__attribute__((weak)) int core_main(void)
{
	struct core_memory_stats s;

	core_memory_stats(&s);
	core_printf("Bole runtime on %s, %zu KiB RAM, image %zu KiB, ready after %lu us\r\n",
	            core_boot()->machine, s.pages_total * 4, s.image_bytes / 1024,
	            (unsigned long)(core_now_ns() / 1000));
	return 0;
}
