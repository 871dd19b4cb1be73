/* SPDX-License-Identifier: ISC */
/* Random work on a store, and what it must look like after each step. The oracle is the memory
 * store, which shares no code with the flash store: the same steps on it give the digests. */
#ifndef BOLE_TESTS_MODEL_H
#define BOLE_TESTS_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "bole/block_sim.h"
#include "bole/store.h"
#include "support/platform.h"

enum { MODEL_STEPS_MAX = 256 };

struct model {
	struct test_platform test;
	struct test_platform disk; /* the device's memory: it never fails */
	uint64_t seed;
	unsigned steps;
	bool small;                           /* short steps: for cuts at every operation */
	uint64_t digest[MODEL_STEPS_MAX + 1]; /* [i]: before step i */
	enum bole_status rc[MODEL_STEPS_MAX]; /* what step i returned */
};

void model_open(struct model *, uint64_t seed, unsigned steps, bool small);
void model_close(struct model *);

/* Does step i. BOLE_E_IO and BOLE_E_READ_ONLY: the device failed; anything else is the result of
 * the step, to be compared with rc[i]. */
enum bole_status model_step(const struct model *, struct bole_store *, unsigned i);
/* Everything that a reader can see, independent of order: repositories, references, objects with
 * their stored bytes, aux. rc: the first error of reading. */
enum bole_status model_digest(struct bole_store *, struct bole_alloc *, uint64_t *out);

/* A flash volume on a simulated device. */
struct model_volume {
	struct bole_block *device;
	struct bole_store *store;
};
extern const struct bole_block_sim_options model_disk;
/* Opens (formats first when fresh). */
enum bole_status model_mount(struct model *, struct model_volume *);
/* The result of a check: errors found, or UINT64_MAX when it could not run. */
uint64_t model_check(struct model *, struct bole_block *device);

/* Runs the work with power going at operation n (after the format) and again checks what must hold.
 * Returns false when the work was over before. Ends the program on a violation, unless `violated`
 * is given: then it is set instead. */
struct model_cut {
	struct bole_block_sim_options disk;
	uint64_t cut;
	uint64_t cut_again; /* 0 = none; operation of the mount after the first cut */
	enum bole_block_sim_tear tear;
	unsigned clean_stop; /* the volume is closed and opened before this step, then the cut
	                        counts */
	bool no_flush;
	bool *violated;
	uint64_t torn_seed;
};
bool model_run_cut(struct model *, const struct model_cut *);

#endif /* BOLE_TESTS_MODEL_H */
