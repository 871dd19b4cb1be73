/* SPDX-License-Identifier: ISC */
/* An empty volume of one of several geometries, and runs of rows that are also kept in memory. */
#ifndef BOLE_TESTS_FLASH_RUN_WORLD_H
#define BOLE_TESTS_FLASH_RUN_WORLD_H

#include "bole/block_sim.h"
#include "flash/index/cache.h"
#include "flash/index/page.h"
#include "flash/index/run.h"
#include "flash/log/tx.h"
#include "support/platform.h"
#include "support/suite_help.h"

struct world {
	struct test_platform test;
	struct test_platform outside; /* whose memory the device is in */
	struct bole_block *device;
	struct flash_volume *v;
};

enum { WORLD_GEOMETRIES = 5 };
extern const char *const world_names[WORLD_GEOMETRIES];

/* options may be NULL. */
void world_open(struct world *, unsigned geometry, const struct bole_flash_open_options *);
void world_close(struct world *);

/* Rows in memory: the oracle. */
struct rows {
	struct flash_run_shape shape;
	uint32_t count;
	uint8_t *row;
};

/* Sorted rows with random keys of which `spread` values are possible at the most (0 = all). */
void rows_make(struct rows *, const struct flash_run_shape *, uint32_t count, uint64_t spread,
               uint64_t *random);
void rows_free(struct rows *);
static inline const uint8_t *row_of(const struct rows *r, uint32_t at)
{
	return r->row + (size_t)at * r->shape.width;
}
/* The first row that is not below key. */
uint32_t rows_lower(const struct rows *, const uint8_t *key, uint32_t len);
/* Writes them as a run. */
enum bole_status rows_write(struct world *, const struct rows *, bool filter,
                            struct flash_run **out);
/* Gives back the device and the memory. */
void run_drop(struct flash_run *);
/* find, seek and row agree with the oracle for a key. */
void check_key(struct flash_run *, const struct rows *, const uint8_t *key);
/* A cursor shows exactly these rows. */
void check_order(struct flash_run *, const struct rows *, uint32_t ahead);

extern const struct flash_run_shape shape_index;
extern const struct flash_run_shape shape_table;
extern const struct flash_run_shape shape_order;

#endif /* BOLE_TESTS_FLASH_RUN_WORLD_H */
