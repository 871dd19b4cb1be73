/* SPDX-License-Identifier: ISC */
/* A change of a repository on a volume, with the power cut at each operation of the device, torn in
 * each way: what was answered with success is there, and something is there in the end. */
#ifndef BOLE_TESTS_POWER_CUTS_H
#define BOLE_TESTS_POWER_CUTS_H

#include <stdbool.h>
#include <stdint.h>

#include "bole/store.h"
#include "support/platform.h"

struct power_cuts {
	struct test_platform *test; /* not initialized: each volume has its own */
	enum bole_status (*before)(struct bole_store *, uint32_t repo); /* NULL = nothing */
	enum bole_status (*change)(struct bole_store *, uint32_t repo);
	/* With power again: has it happened? All else is checked there. ro_compat: what a program
	 * that knows less reads in the volume's anchor. */
	bool (*happened)(struct bole_store *, uint32_t repo, uint64_t ro_compat);
	unsigned cuts;  /* these two are added to */
	unsigned after; /* cuts after which it has happened */
};
void power_cuts_run(struct power_cuts *, const char *geometry);

#endif /* BOLE_TESTS_POWER_CUTS_H */
