/* SPDX-License-Identifier: ISC */
/* The simulated devices of block_sim.h with their counters in the form that benches want. Device
 * time is by typical data sheets: only ratios of times mean something. */
#ifndef BOLE_TESTS_BENCH_FLASHDEV_H
#define BOLE_TESTS_BENCH_FLASHDEV_H

#include "bole/alloc.h"
#include "bole/block.h"

struct flashdev_counters {
	uint64_t reads;
	uint64_t read_bytes;
	uint64_t programs;
	uint64_t programmed;
	uint64_t erases;
	uint64_t erased; /* bytes */
	uint64_t discarded;
	uint64_t flushes;
	uint64_t ns;
};

struct flashdev;

/* A device of bole_block_sim_geometry; size 0 = its own. perfect: without the bad blocks of the
 * factory, for who does not look for them. Ends the program when it fails. */
struct flashdev *flashdev_open(const char *name, uint64_t size, bool perfect);
/* The same device as it is now, with what was not flushed; writes to one do not change the other.
 */
struct flashdev *flashdev_clone(const struct flashdev *);
void flashdev_close(struct flashdev *);
struct bole_block *flashdev_block(struct flashdev *);
bool flashdev_is_raw(const struct flashdev *);
void flashdev_counters(const struct flashdev *, struct flashdev_counters *out);
struct flashdev_counters flashdev_since(const struct flashdev *,
                                        const struct flashdev_counters *before);
/* Erases of the good erase blocks; zero when managed. */
struct flashdev_wear {
	double max;
	double mean;
	double min;
};
void flashdev_wear(const struct flashdev *, struct flashdev_wear *out);
/* The device's erase block time, for bars that name it. */
double flashdev_erase_ms(const struct flashdev *);

#endif /* BOLE_TESTS_BENCH_FLASHDEV_H */
