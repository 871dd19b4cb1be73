/* SPDX-License-Identifier: ISC */
/* A block device in memory that loses power, lies, wears and fails on demand: for tests and benches
 * of whatever stands on block.h. Everything that it decides comes from a seed.
 *
 * Memory is spent on what was written only, and erasing or discarding gives it back. A clone shares
 * everything with its original until one of them writes: it costs microseconds.
 *
 * With a volatile cache, writes that were not flushed are only held: at a cut each one is kept,
 * dropped, or torn, whatever the others did. Without one a finished program is durable and only the
 * interrupted one is in question. Raw kinds (needs_erase) refuse what the hardware would not do,
 * with BOLE_E_IO, and count it as a violation: a test that does not look at the violations may take
 * them for a bad block.
 *
 * Calls on one device may come from several threads. Clones are independent of each other.
 */
#ifndef BOLE_BLOCK_SIM_H
#define BOLE_BLOCK_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/block.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What an operation costs in device time: its steps x the fixed part + its bytes x the rest. A step
 * is a page touched (read_step, program_step) or, where that is 0, the call. Raw pages carry their
 * out-of-band bytes over the bus. */
struct bole_block_sim_times {
	uint64_t read_ns;
	uint64_t program_ns;
	uint64_t erase_ns; /* an erase block */
	uint64_t flush_ns;
	uint64_t discard_ns;
	uint32_t read_step;
	uint32_t program_step;
	uint32_t read_byte_ps;
	uint32_t program_byte_ps;
};

/* How a read of more wrong bits than the code corrects ends. */
enum bole_block_sim_uncorrectable {
	BOLE_SIM_WRONG_BYTES = 0, /* it is not noticed */
	BOLE_SIM_READ_FAILS = 1,  /* BOLE_E_IO */
};

/* Zero in a member from `oob_bytes` on means: not modelled. */
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

	bool strict_order;       /* raw: a block is programmed without gaps (zones) */
	bool panic_on_violation; /* else it is only counted and refused */
	uint32_t oob_bytes;      /* out-of-band bytes of a program unit */
	uint32_t ecc_bits;       /* correctable in 512 bytes; 0 = no code: flips read as they are */
	enum bole_block_sim_uncorrectable uncorrectable;
	uint32_t endurance;       /* erases that a block survives, give or take */
	uint32_t factory_bad_ppm; /* of the blocks behind the first, which is good */
	uint32_t disturb_reads;   /* of a block between erases: beyond, its bits flip; next_decaying
	                             reports it at half of that */
	struct bole_block_sim_times times;
};

/* Named devices, with the rules and times of typical data sheets: "nor4k", "nor64k", "slcnand",
 * "nand4k", "sd", "virtio", "virtio4k", "zoned". Sizes are small and may be changed, as may all
 * else. The NANDs have 2 % of factory-bad blocks. BOLE_E_NOT_FOUND. */
BOLE_MUST_USE enum bole_status bole_block_sim_geometry(const char *name,
                                                       struct bole_block_sim_options *out);
/* The names in turn; NULL behind the last. */
const char *bole_block_sim_geometry_name(size_t index);

BOLE_MUST_USE enum bole_status bole_block_sim_open(struct bole_alloc *,
                                                   const struct bole_block_sim_options *,
                                                   struct bole_block **out);
/* A second device with the same content, wear and seed, powered, without pending faults, cuts and
 * hook; counters and time start at 0. Unflushed writes of the first are plain content of the
 * second. */
BOLE_MUST_USE enum bole_status bole_block_sim_clone(struct bole_alloc *, struct bole_block *,
                                                    struct bole_block **out);
/* An exact twin: unflushed writes stay unflushed; faults and cuts pend as in the first; only the
 * hook is not copied. */
BOLE_MUST_USE enum bole_status bole_block_sim_fork(struct bole_alloc *, struct bole_block *,
                                                   struct bole_block **out);

/* -- Power -- */

/* What a cut does to the operation that it interrupts (the first three also say what becomes of
 * unflushed writes). An interrupted unit must be erased before it is programmed again, whatever it
 * looks like: else it is a violation. A program that is several pages long is interrupted in one of
 * them. */
enum bole_block_sim_tear {
	BOLE_SIM_TEAR_RANDOM = 0, /* each one kept, dropped or torn */
	BOLE_SIM_TEAR_DROP = 1,   /* all are lost; the interrupted one as RANDOM */
	BOLE_SIM_TEAR_KEEP = 2,   /* all arrived; the interrupted one as RANDOM */
	/* From here on only the interrupted one. */
	BOLE_SIM_TEAR_NONE = 3,    /* had not begun */
	BOLE_SIM_TEAR_DONE = 4,    /* was complete, only nobody heard */
	BOLE_SIM_TEAR_PREFIX = 5,  /* up to some byte */
	BOLE_SIM_TEAR_BITS = 6,    /* each bit that was to change did or not */
	BOLE_SIM_TEAR_SECTORS = 7, /* each 512 bytes (or unit) old, new, or garbage */
	/* Every read gives other bits, until it is erased (managed: written) again: nearly as
	 * after a program, or nearly as after an erase. */
	BOLE_SIM_TEAR_UNSTABLE_PROGRAM = 8,
	BOLE_SIM_TEAR_UNSTABLE_ERASE = 9,
	BOLE_SIM_TEARS = 10,
};

/* What a cut does to writes that were not flushed (the interrupted one is not among them). */
enum bole_block_sim_unflushed {
	BOLE_SIM_UNFLUSHED_RANDOM = 0, /* each one kept, dropped or torn */
	BOLE_SIM_UNFLUSHED_DROP = 1,
	BOLE_SIM_UNFLUSHED_KEEP = 2,
	BOLE_SIM_UNFLUSHED_SUBSET = 3,      /* those of the mask kept, the others dropped */
	BOLE_SIM_UNFLUSHED_SUBSET_TORN = 4, /* those of the mask kept, the others torn */
};

struct bole_block_sim_cut {
	enum bole_block_sim_tear tear;
	enum bole_block_sim_unflushed unflushed; /* read where tear is NONE or more */
	uint64_t survivors;                      /* SUBSET: bit i = the i-th oldest; the 65th and
	                                            later ones are dropped (torn) */
};

/* Power goes during the n-th operation from now (1 = the next; 0 = never). From then on every call
 * fails with BOLE_E_IO until power_on. */
void bole_block_sim_cut_at(struct bole_block *, uint64_t n, enum bole_block_sim_tear);
void bole_block_sim_plan_cut(struct bole_block *, uint64_t n, const struct bole_block_sim_cut *);
/* Power goes now, between two operations. */
void bole_block_sim_cut_now(struct bole_block *, enum bole_block_sim_tear);
bool bole_block_sim_is_off(const struct bole_block *);
void bole_block_sim_power_on(struct bole_block *);
/* Writes that a cut now could lose. */
size_t bole_block_sim_unflushed(const struct bole_block *);

/* An operation about to begin. */
enum bole_block_sim_kind {
	BOLE_SIM_PROGRAM = 0,
	BOLE_SIM_ERASE = 1,
	BOLE_SIM_DISCARD = 2,
	BOLE_SIM_FLUSH = 3,
};
struct bole_block_sim_operation {
	enum bole_block_sim_kind kind;
	uint64_t number; /* from 1; as the counter `operations` will be */
	uint64_t off;
	uint64_t len;
	const struct bole_bytes *pieces; /* PROGRAM */
	size_t count;
};
/* Called before each operation that a cut could interrupt, for exploring: it may fork the device,
 * interrupt the fork and look what became of it, plan a cut of the device, read counters; nothing
 * else. NULL = none. */
typedef void bole_block_sim_hook(void *ctx, struct bole_block *,
                                 const struct bole_block_sim_operation *);
void bole_block_sim_set_hook(struct bole_block *, bole_block_sim_hook *, void *ctx);
/* Power goes on this device (a fork) during the operation; NULL = now, between two. */
void bole_block_sim_interrupt(struct bole_block *, const struct bole_block_sim_operation *,
                              const struct bole_block_sim_cut *);

/* Another seed for what comes. */
void bole_block_sim_seed(struct bole_block *, uint64_t seed);

/* -- Faults -- */

enum bole_block_sim_fault {
	BOLE_SIM_READ_ERROR = 0,    /* BOLE_E_IO, once, and nothing done; so the next three */
	BOLE_SIM_PROGRAM_ERROR = 1, /* not counted as an operation */
	BOLE_SIM_ERASE_ERROR = 2,
	BOLE_SIM_FLUSH_ERROR = 3,
	BOLE_SIM_READ_FLIP = 4,           /* one wrong bit, this time */
	BOLE_SIM_READ_MISDIRECTED = 5,    /* bytes of another place */
	BOLE_SIM_READ_STALE = 6,          /* bytes as they were when remembered */
	BOLE_SIM_PROGRAM_LOST = 7,        /* says done, does nothing */
	BOLE_SIM_PROGRAM_MISDIRECTED = 8, /* says done, hits another place, whatever is there */
	BOLE_SIM_PROGRAM_KILLS = 9, /* fails and leaves garbage; the block is bad from now on */
	BOLE_SIM_ERASE_KILLS = 10,  /* fails and does nothing; the same */
	BOLE_SIM_FAULTS = 11,
};
/* The n-th read, program, erase or flush from now suffers it; 0 = none. One of each kind may be
 * pending. where: the other place of what is misdirected, UINT64_MAX = drawn. */
void bole_block_sim_plan_fault(struct bole_block *, enum bole_block_sim_fault, uint64_t n,
                               uint64_t where);
/* What READ_STALE answers from now on: the present content. */
BOLE_MUST_USE enum bole_status bole_block_sim_remember(struct bole_block *);
/* The n-th read, program or flush from now fails once with BOLE_E_IO and does nothing; 0 = none. */
void bole_block_sim_fail_read(struct bole_block *, uint64_t n);
void bole_block_sim_fail_program(struct bole_block *, uint64_t n);
void bole_block_sim_fail_flush(struct bole_block *, uint64_t n);
/* A device that says "flushed" and did nothing. */
void bole_block_sim_ignore_flush(struct bole_block *, bool ignore);
/* Flips bits of one byte, silently; with a code they are corrected as far as it goes, and the block
 * is reported by next_decaying once that was needed. Erasing (managed: writing) heals. */
void bole_block_sim_flip(struct bole_block *, uint64_t off, uint8_t mask);
/* Retention: of a million 512-byte pieces that hold something, so many get one more wrong bit. */
void bole_block_sim_age(struct bole_block *, uint32_t ppm);
/* A block was bad from the factory: before the first use. */
void bole_block_sim_factory_bad(struct bole_block *, uint64_t off);
/* A block dies now: programs and erases fail, reads still work. */
void bole_block_sim_kill_block(struct bole_block *, uint64_t off);

/* -- Looking in -- */

/* The stored bytes, beside all rules, faults and counters (of an unstable unit: those that it was
 * given last). */
void bole_block_sim_peek(struct bole_block *, uint64_t off, void *dst, size_t len);
/* Changes stored bytes likewise. */
void bole_block_sim_poke(struct bole_block *, uint64_t off, const void *src, size_t len);

/* Rules of raw flash. */
enum bole_block_sim_rule {
	BOLE_SIM_RULE_ERASED = 0,      /* NAND: a page once; NOR: bits are only cleared */
	BOLE_SIM_RULE_ORDER = 1,       /* NAND: ascending in the block (strict_order: no gap) */
	BOLE_SIM_RULE_INTERRUPTED = 2, /* what a cut interrupted is erased first */
	BOLE_SIM_RULE_BAD_BLOCK = 3, /* a factory-bad block is let alone: its marker is lost now */
	BOLE_SIM_RULES = 4,
};

struct bole_block_sim_counters {
	uint64_t operations; /* program, erase, discard, flush: what cuts are counted in */
	uint64_t reads;
	uint64_t read_bytes;
	uint64_t programs;
	uint64_t programmed_bytes;
	uint64_t erases; /* calls */
	uint64_t flushes;
	uint64_t discards;
	uint64_t violations;             /* all */
	uint64_t broken[BOLE_SIM_RULES]; /* by rule */
	uint64_t read_steps;             /* pages touched by reads; see struct times */
	uint64_t program_steps;
	uint64_t erased_bytes;
	uint64_t discarded_bytes;
	uint64_t corrected;      /* reads that needed the code */
	uint64_t uncorrectable;  /* reads beyond it, noticed or not */
	uint64_t unstable_reads; /* that touched what a cut left unstable */
	uint64_t dead_blocks;    /* that failed for good, so far */
	uint64_t device_ns;      /* of all operations and reads, one after the other */
	uint64_t read_ns;
	uint64_t program_ns;
	uint64_t erase_ns;
	uint64_t flush_ns;
	uint64_t worst_ns; /* the longest single call */
};
void bole_block_sim_counters(const struct bole_block *, struct bole_block_sim_counters *out);
/* Device time so far: latencies are differences of it. */
uint64_t bole_block_sim_time_ns(const struct bole_block *);
/* worst_ns starts anew. */
void bole_block_sim_reset_worst(struct bole_block *);

/* Erases of the blocks that are not factory-bad. */
struct bole_block_sim_wear {
	uint32_t blocks;
	uint32_t min;
	uint32_t max;
	uint64_t sum;
	uint64_t squares; /* sum of */
	uint32_t bad;     /* factory-bad and dead ones */
};
void bole_block_sim_wear(const struct bole_block *, struct bole_block_sim_wear *out);
/* Erases of one block. */
uint32_t bole_block_sim_erases(const struct bole_block *, uint64_t off);
/* Bytes of memory that the content takes, shared parts included. */
uint64_t bole_block_sim_memory(const struct bole_block *);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_BLOCK_SIM_H */
