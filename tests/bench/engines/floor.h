/* SPDX-License-Identifier: ISC */
/* The floor under an engine: records appended to a file, one write and one fdatasync a commit, an
 * index in memory. Nothing is checked and nothing can be removed. Taken in turn with the engine,
 * because the speed of a shared disk moves by the second; and an engine of its own. */
#ifndef BOLE_TESTS_BENCH_FLOOR_H
#define BOLE_TESTS_BENCH_FLOOR_H

#include <stdbool.h>
#include <stdint.h>

/* In dir. bytes: of all records that will come. With FLOOR_FILE=written (see prewrite.h) the
 * blocks of the file are there already. */
void floor_open(const char *dir, bool fresh, uint64_t bytes);
void floor_put(const uint8_t *key, const uint8_t *value);
void floor_commit(void);
bool floor_get(const uint8_t *key, uint8_t *value);
void floor_close(void);

#endif /* BOLE_TESTS_BENCH_FLOOR_H */
