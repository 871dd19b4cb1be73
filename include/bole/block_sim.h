/* SPDX-License-Identifier: ISC */
/* A block device in memory that loses power, lies, and fails on demand: for tests of whatever
 * stands on block.h. Everything that it decides comes from a seed.
 *
 * With a volatile cache, writes that were not flushed are only held: at a cut each one is kept,
 * dropped, or torn sector by sector, whatever the others did. Without one a finished program is
 * durable and only the interrupted one is in question. Raw kinds (needs_erase) refuse what the
 * hardware would not do (programming what is not erased) and count it as a violation. */
#ifndef BOLE_BLOCK_SIM_H
#define BOLE_BLOCK_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/block.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bole_block_sim_options {
	enum bole_block_kind kind;
	uint64_t size_bytes;
	uint32_t read_unit;
	uint32_t program_unit;
	uint32_t erase_unit;  /* raw kinds */
	uint32_t damage_unit; /* 0 = program_unit */
	bool volatile_cache;
	bool can_discard; /* what was discarded reads as garbage */
	uint64_t seed;
};

/* What a cut does to a write that was not flushed. */
enum bole_block_sim_tear {
	BOLE_SIM_TEAR_RANDOM = 0, /* each one kept, dropped or torn */
	BOLE_SIM_TEAR_DROP = 1,   /* all are lost */
	BOLE_SIM_TEAR_KEEP = 2,   /* all arrived; the interrupted one as RANDOM */
};

struct bole_block_sim_counters {
	uint64_t operations; /* program, erase, discard, flush: what cuts are counted in */
	uint64_t reads;
	uint64_t read_bytes;
	uint64_t programs;
	uint64_t programmed_bytes;
	uint64_t erases;
	uint64_t flushes;
	uint64_t discards;
	uint64_t violations;
};

BOLE_MUST_USE enum bole_status bole_block_sim_open(struct bole_alloc *,
                                                   const struct bole_block_sim_options *,
                                                   struct bole_block **out);
/* A second device with the same content and seed, powered, without pending faults. Unflushed
 * writes of the first are plain content of the second. */
BOLE_MUST_USE enum bole_status bole_block_sim_clone(struct bole_alloc *, struct bole_block *,
                                                    struct bole_block **out);
/* Power goes during the n-th operation from now (1 = the next; 0 = never). From then on every call
 * fails with BOLE_E_IO until power_on. */
void bole_block_sim_cut_at(struct bole_block *, uint64_t n, enum bole_block_sim_tear);
/* Power goes now, between two operations. */
void bole_block_sim_cut_now(struct bole_block *, enum bole_block_sim_tear);
bool bole_block_sim_is_off(const struct bole_block *);
void bole_block_sim_power_on(struct bole_block *);
/* Another seed for what comes. */
void bole_block_sim_seed(struct bole_block *, uint64_t seed);
/* The n-th read, program or flush from now fails once with BOLE_E_IO and does nothing; 0 = none. */
void bole_block_sim_fail_read(struct bole_block *, uint64_t n);
void bole_block_sim_fail_program(struct bole_block *, uint64_t n);
void bole_block_sim_fail_flush(struct bole_block *, uint64_t n);
/* A device that says "flushed" and did nothing. */
void bole_block_sim_ignore_flush(struct bole_block *, bool ignore);
/* Flips bits of one byte, silently. */
void bole_block_sim_flip(struct bole_block *, uint64_t off, uint8_t mask);
/* The bytes as a reader would see them now. */
uint8_t *bole_block_sim_bytes(struct bole_block *);
void bole_block_sim_counters(const struct bole_block *, struct bole_block_sim_counters *out);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_BLOCK_SIM_H */
