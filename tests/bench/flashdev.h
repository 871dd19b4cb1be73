/* SPDX-License-Identifier: ISC */
/* Simulated devices of named geometry, and a meter before them: bytes, calls, wear and device time
 * by the data sheets' typical figures. Only ratios of times mean something. */
#ifndef BOLE_TESTS_BENCH_FLASHDEV_H
#define BOLE_TESTS_BENCH_FLASHDEV_H

#include "bole/alloc.h"
#include "bole/block.h"

struct flashdev_counters {
	uint64_t reads;
	uint64_t read_bytes;
	uint64_t read_units; /* pages on NAND, sectors on managed devices, bytes on NOR */
	uint64_t programs;
	uint64_t programmed;
	uint64_t erases;
	uint64_t erased; /* bytes */
	uint64_t discarded;
	uint64_t flushes;
	uint64_t ns;
};

struct flashdev;

/* nor4k, nor64k, slcnand, sd, virtio; size 0 = the size that the figures use. Ends the program when
 * it fails. */
struct flashdev *flashdev_open(const char *name, uint64_t size);
void flashdev_close(struct flashdev *);
struct bole_block *flashdev_block(struct flashdev *);
bool flashdev_is_raw(const struct flashdev *);
void flashdev_counters(const struct flashdev *, struct flashdev_counters *out);
struct flashdev_counters flashdev_since(const struct flashdev *,
                                        const struct flashdev_counters *before);
/* Erases of each erase block since the device was opened or wear_reset; zero when managed. */
struct flashdev_wear {
	double max;
	double mean;
	double min;
};
void flashdev_wear(const struct flashdev *, struct flashdev_wear *out);
void flashdev_wear_reset(struct flashdev *);
/* Called before each operation of the device with the virtual time; may be NULL. */
void flashdev_hook(struct flashdev *, void (*before)(void *ctx), void *ctx);
/* The device's erase block time, for bars that name it. */
double flashdev_erase_ms(const struct flashdev *);

#endif /* BOLE_TESTS_BENCH_FLASHDEV_H */
