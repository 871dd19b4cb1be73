/* SPDX-License-Identifier: ISC */
/* Two threads that share one simulated device in its virtual time: a foreground that arrives at
 * given times, and a background that works whenever the device is not wanted. One operation of the
 * device at a time; an operation that was begun is finished first. So what a commit waits for is
 * counted as it would be on the device, whatever this machine is doing.
 *
 * When the foreground waits for a lock that the background holds, the background goes on (after a
 * moment of real time), and the time it takes is the foreground's loss. */
#ifndef BOLE_TESTS_BENCH_TURNS_H
#define BOLE_TESTS_BENCH_TURNS_H

#include "bole/block.h"

struct turns;

struct turns *turns_open(struct bole_block *simulated);
void turns_close(struct turns *);
/* The device to put a store on. */
struct bole_block *turns_block(struct turns *);
uint64_t turns_now_ns(struct turns *);
/* Foreground: nothing to do until `at`; returns then, or when the operation in flight ends. */
void turns_idle_until(struct turns *, uint64_t at);
/* Background, on its own thread: fn does some work and says whether there is more. It is called
 * again while the foreground is idle. Stopped by turns_stop. */
void turns_background(struct turns *, bool (*fn)(void *ctx), void *ctx);
void turns_stop(struct turns *);

#endif /* BOLE_TESTS_BENCH_TURNS_H */
