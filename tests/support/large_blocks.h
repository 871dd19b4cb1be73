/* SPDX-License-Identifier: ISC */
/* Large blocks of the test platforms of a program, kept for the next one of the same size: under
 * ASan each is a mapping of its own, whose pages cost a fuzz target more than what it tests. While
 * kept they are poisoned, and the one freed first is handed out first. */
#ifndef BOLE_TESTS_LARGE_BLOCKS_H
#define BOLE_TESTS_LARGE_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>

/* From now on, in all test platforms; from the only thread there is. */
void large_blocks_keep(void);
/* NULL = none is kept. Its bytes are what they were. */
void *large_blocks_take(size_t size, size_t align);
/* False = not wanted, to be freed. */
bool large_blocks_give(void *ptr, size_t size, size_t align);

#endif /* BOLE_TESTS_LARGE_BLOCKS_H */
