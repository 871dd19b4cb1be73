/* SPDX-License-Identifier: ISC */
/* Start-up of the page allocator: everything from first_free up that the memory map calls RAM. */
#ifndef CORE_PAGES_H
#define CORE_PAGES_H

#include <stdint.h>

void pages_init(uint64_t first_free);

#endif /* CORE_PAGES_H */
