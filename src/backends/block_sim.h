/* SPDX-License-Identifier: ISC */
/* Insides of the simulated block device. block_sim.c: the device; block_sim_rules.c: what raw flash
 * allows, and what calls change; block_sim_image.c: the sparse, shared content; block_sim_power.c:
 * cuts; block_sim_fault.c: what goes wrong without one; block_sim_geometry.c: named devices. */
#ifndef BOLE_BACKENDS_BLOCK_SIM_H
#define BOLE_BACKENDS_BLOCK_SIM_H

#include <stdatomic.h>

#include "bole/block_sim.h"

enum { SIM_CODEWORD = 512 };

/* -- Content -- */

enum sim_state {
	SIM_ERASED = 0, /* managed: never written */
	SIM_PROGRAMMED,
	SIM_INTERRUPTED,      /* a cut was here; the bytes are what they are */
	SIM_UNSTABLE_PROGRAM, /* reads differ, mostly near the bytes */
	SIM_UNSTABLE_ERASE,   /* reads differ, mostly near blank */
	SIM_DISCARDED,        /* noise */
};

/* Immutable while shared. */
struct sim_page {
	struct bole_alloc *alloc;
	atomic_uint refs;
	bool odd;     /* holds units that are unstable or discarded */
	uint8_t *rot; /* bits that read wrong, NULL = none */
	uint8_t *state;
	uint8_t bytes[];
};

enum {
	SIM_BLOCK_FACTORY_BAD = 1,
	SIM_BLOCK_MARKED = 2, /* the marker can be read */
	SIM_BLOCK_DEAD = 4,
	SIM_BLOCK_DECAYING = 8,
	SIM_BLOCK_REPORTED = 16,
};

struct sim_erase_block {
	uint32_t erases;
	uint32_t reads; /* since the last erase */
	uint32_t next;  /* units up to here were programmed */
	uint32_t flags;
};

struct sim_node {
	struct bole_alloc *alloc;
	atomic_uint refs;
	struct sim_erase_block *block;
	struct sim_page *page[];
};

struct sim_image {
	struct bole_alloc *alloc;
	uint8_t blank;
	uint32_t unit;
	uint32_t page_bytes;
	uint32_t block_bytes; /* 0 = managed */
	uint32_t node_pages;
	uint32_t node_blocks;
	struct sim_node **node; /* NULL = nothing there */
	size_t nodes;
	struct sim_page *discarded; /* one for all pages that were discarded whole */
};

bool bole_sim_image_init(struct sim_image *, struct bole_alloc *,
                         const struct bole_block_sim_options *);
bool bole_sim_image_share(struct sim_image *to, struct bole_alloc *, const struct sim_image *from);
void bole_sim_image_release(struct sim_image *);
void bole_sim_page_ref(struct sim_page *); /* NULL is fine */
void bole_sim_page_unref(struct sim_page *, uint32_t page_bytes, uint32_t unit);
/* NULL = blank. */
struct sim_page *bole_sim_page(const struct sim_image *, uint64_t index);
/* To be written: not shared; NULL = no memory. */
struct sim_page *bole_sim_page_own(struct sim_image *, uint64_t index);
/* Takes over the caller's reference; page may be NULL. */
bool bole_sim_page_set(struct sim_image *, uint64_t index, struct sim_page *page);
bool bole_sim_page_discard(struct sim_image *, uint64_t index);
/* Of raw kinds. */
struct sim_erase_block bole_sim_block(const struct sim_image *, uint64_t index);
struct sim_erase_block *bole_sim_block_own(struct sim_image *, uint64_t index);
/* Bytes as stored. */
void bole_sim_image_get(const struct sim_image *, uint64_t off, uint8_t *dst, size_t len);
/* Bytes of memory, shared ones included. */
uint64_t bole_sim_image_memory(const struct sim_image *);
/* 8 bytes that depend on nothing but the two. */
uint64_t bole_sim_noise(uint64_t seed, uint64_t at);

/* -- The device -- */

/* A write that a cut may undo: the pages before and after it. */
struct sim_held {
	enum bole_block_sim_kind kind;
	uint64_t off;
	uint64_t len;
	uint64_t first;
	size_t count;
	struct sim_page **old;
	struct sim_page **new; /* the second half of the same array */
};

struct sim_pending {
	uint64_t countdown; /* 0 = none */
	uint64_t where;
};

struct sim_block {
	struct bole_block block;
	struct bole_alloc *alloc;
	atomic_flag busy;
	struct bole_block_sim_options options;
	struct sim_image image;
	struct sim_image remembered;
	struct sim_held *held;
	size_t helds;
	size_t helds_cap;
	uint64_t random;
	uint64_t birth;  /* the seed that the blocks' endurance comes from */
	uint64_t cut_at; /* operation number, 0 = never */
	struct bole_block_sim_cut cut;
	bool off;
	bool ignore_flush;
	struct sim_pending fault[BOLE_SIM_FAULTS];
	uint32_t decaying; /* blocks to be reported, at most */
	bool decayed;      /* some block is or was to be reported */
	bole_block_sim_hook *hook;
	void *hook_ctx;
	struct bole_block_sim_counters count;
};

uint64_t bole_sim_draw(struct sim_block *);
/* True when the fault is to happen now. */
bool bole_sim_due(struct sim_block *, enum bole_block_sim_fault);

/* block_sim_power.c */
/* Notes what is there before a write; false = no memory. */
bool bole_sim_hold(struct sim_block *, enum bole_block_sim_kind, uint64_t off, uint64_t len);
/* The write is done: notes what is there now, or forgets the note. */
void bole_sim_held_done(struct sim_block *);
void bole_sim_held_drop(struct sim_block *);
void bole_sim_forget_held(struct sim_block *);
bool bole_sim_copy_held(struct sim_block *to, const struct sim_block *from);
/* during_write: the last one held is under way. */
void bole_sim_lose_power(struct sim_block *, bool during_write);

/* block_sim_fault.c */
/* The bytes as the device would answer; BOLE_E_IO. Sees to the codes and to read disturb. */
enum bole_status bole_sim_sense(struct sim_block *, uint64_t off, uint8_t *dst, size_t len);
uint64_t bole_sim_other_place(struct sim_block *, enum bole_block_sim_fault, uint64_t len);
void bole_sim_forget_reports(struct sim_block *);
void bole_sim_factory(struct sim_block *);
/* The erases that a block survives. */
uint32_t bole_sim_endures(const struct sim_block *, uint64_t index);
void bole_sim_kill(struct sim_block *, uint64_t index);
enum bole_status bole_sim_is_bad(struct bole_block *, uint64_t off, bool *bad);
enum bole_status bole_sim_mark_bad(struct bole_block *, uint64_t off);
enum bole_status bole_sim_next_decaying(struct bole_block *, uint64_t *off);

/* block_sim_rules.c */
enum bole_status bole_sim_check_program(struct sim_block *, uint64_t off, const uint8_t *src,
                                        size_t len);
/* A worn block dies here. */
enum bole_status bole_sim_check_erase(struct sim_block *, uint64_t off, uint64_t len);
/* What a program (in one piece), an erase or a discard does to the content; false = no memory. */
bool bole_sim_apply(struct sim_block *, const struct bole_block_sim_operation *);

/* block_sim.c */
void bole_sim_lock(struct sim_block *);
void bole_sim_unlock(struct sim_block *);

static inline struct sim_block *bole_sim_of(struct bole_block *block)
{
	return (struct sim_block *)block;
}

#endif /* BOLE_BACKENDS_BLOCK_SIM_H */
