/* SPDX-License-Identifier: ISC */
/* What the processes of one run share (main.c, frame.c). */
#ifndef BOLE_TORTURE_FRAME_H
#define BOLE_TORTURE_FRAME_H

#include <stdatomic.h>
#include <sys/types.h>

#include "torture/torture.h"

enum { FRAME_WORKERS_MAX = 64, FRAME_PROGRAMS_MAX = 32, FRAME_PANIC = 70 };

struct frame_options {
	uint64_t seconds;
	uint64_t seed;
	uint64_t units;   /* of each program at most, for a quick look; 0 = no limit */
	uint64_t stop_at; /* so many findings end the run; 0 = none do */
	unsigned jobs;
	uint32_t programs; /* bits */
	const char *state; /* file, or NULL */
	const char *repro;
	bool verbose;
	bool fresh; /* starts the units of this seed again */
};

struct frame_program {
	_Atomic uint64_t next;
	_Atomic uint64_t charged; /* time, with guesses for what is going on */
	_Atomic uint64_t ns;
	_Atomic uint64_t units;
	_Atomic uint64_t cuts;
	_Atomic uint64_t trials;
	_Atomic uint64_t failures;
	_Atomic uint64_t extra[TORTURE_EXTRAS];
	_Atomic uint64_t redo; /* the first unit that was not done to its end */
	uint64_t first;        /* unit that this run began with */
};

struct frame_worker {
	pid_t pid;
	_Atomic bool busy;
	bool stuck;
	_Atomic uint64_t beat;
	uint64_t seen;
	uint64_t seen_at;
	struct torture_unit unit;
	char geometry[16];
	char where[160];
	char panic[200];
};

struct frame {
	uint64_t started;
	uint64_t deadline;
	_Atomic uint64_t failures;
	_Atomic uint64_t first_failure_ns;
	_Atomic uint64_t done[WORK_OPS];
	_Atomic uint64_t skipped[WORK_OPS];
	struct frame_program program[FRAME_PROGRAMS_MAX];
	struct frame_worker worker[FRAME_WORKERS_MAX];
	/* From the state file: all runs before this one. */
	uint64_t before_cuts;
	uint64_t before_trials;
	uint64_t before_failures;
	uint64_t before_runs;
};

uint64_t frame_now(void);
void frame_parse(int argc, char **argv, struct frame_options *);
void frame_load(struct frame *, const struct frame_options *);
void frame_save(struct frame *, const struct frame_options *);
/* Prints the summary; the exit status. */
int frame_report(struct frame *, const struct frame_options *);

#endif /* BOLE_TORTURE_FRAME_H */
