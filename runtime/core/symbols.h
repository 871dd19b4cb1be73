/* SPDX-License-Identifier: ISC */
/* Names for the addresses of a backtrace, from the table that the second link adds. */
#ifndef CORE_SYMBOLS_H
#define CORE_SYMBOLS_H

#include <stdint.h>

/* The function that an address lies in and the offset into it; NULL if there is no table. */
const char *symbol_at(uint64_t address, uint64_t *offset);

#endif /* CORE_SYMBOLS_H */
