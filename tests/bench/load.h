/* SPDX-License-Identifier: ISC */
/* What the benches put on a device, and what they print about it. */
#ifndef BOLE_TESTS_BENCH_LOAD_H
#define BOLE_TESTS_BENCH_LOAD_H

#include "bench/bench.h"
#include "bench/keyed.h"

/* What the model knows to be there. */
struct load {
	struct keyed_item *items;
	size_t count;
	size_t cap;
	uint64_t random;
	uint64_t bytes; /* keys and values */
	uint32_t len_min;
	uint32_t len_max;
};

void load_init(struct load *, uint64_t seed, uint32_t len_min, uint32_t len_max);
void load_free(struct load *);
/* A new item, not yet written. */
struct keyed_item *load_add(struct load *);
/* Writes n items of each transaction until count more are there, or, when fill is not 0, the system
 * says that it is full to that part. Cold ones are the peer's ballast. */
enum bole_status load_write(struct load *, const struct keyed_ops *, struct keyed *, bool cold,
                            size_t count, double fill, size_t batch);
/* Marks every item and drops the rest. */
enum bole_status load_mark(const struct load *const *loads, size_t count, struct keyed *,
                           struct bole_mark_result *out);

/* User bytes of an item: key and value. */
static inline uint64_t load_user(const struct keyed_item *item)
{
	return KEYED_KEY_BYTES + (uint64_t)item->len;
}

/* Everything about a phase, in one place. */
struct phase {
	struct flashdev_counters device;
	uint64_t user;
	uint64_t operations;
	double worst_ms;
};
struct phase_mark {
	struct flashdev_counters at;
};
void phase_begin(struct phase *, struct flashdev *, struct phase_mark *);
/* One operation of it is about to begin, has ended. */
void phase_step(struct flashdev *, struct phase_mark *);
void phase_stepped(struct phase *, struct flashdev *, const struct phase_mark *, uint64_t user);
void phase_end(struct phase *, struct flashdev *, const struct phase_mark *start);
/* One note: programmed and erased a user byte, wear, reads, worst operation, RAM, and where Bole's
 * bytes went. */
void phase_note(const struct phase *, const char *what, struct flashdev *, const struct keyed_ops *,
                struct keyed *);

#endif /* BOLE_TESTS_BENCH_LOAD_H */
