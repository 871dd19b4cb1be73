/* SPDX-License-Identifier: ISC */
/* Between the core's scheduler, fibers and timers. */
#ifndef CORE_SCHED_H
#define CORE_SCHED_H

#include <stdbool.h>
#include <stdint.h>

/* The earliest set timer's deadline, or CORE_NEVER. */
uint64_t timers_next(void);
/* Runs what is due; true if anything was. */
bool timers_run(uint64_t now_ns);
/* Gives the stacks of ended fibers that are kept for reuse back; true if there were any. */
bool fiber_pool_drop(void);
/* The longest that a fiber ran without giving way since the last call, and whose it was. */
#define SCHED_NAME_BYTES 16
struct sched_longest {
	uint64_t ns;
	char name[SCHED_NAME_BYTES];
};
struct sched_longest sched_longest(void);
/* Runs fibers, pollers and timers until core_exit. */
_Noreturn void sched_run(void);

#endif /* CORE_SCHED_H */
