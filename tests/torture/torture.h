/* SPDX-License-Identifier: ISC */
/* The torture regime: programs that cut power, damage bytes and refuse memory under a flash store,
 * and compare what is left with an oracle that shares no code with it. Every program is a row of
 * torture_programs (programs.c) and a file of its own. A program is a sequence of numbered units,
 * each decided by (seed, number) alone; units run in parallel processes and in any order.
 *
 * Findings are lines on standard output with everything that repeats them (--repro). */
#ifndef BOLE_TORTURE_H
#define BOLE_TORTURE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/block_sim.h"
#include "bole/store.h"

/* -- A platform for one thread: quick, and the same every time (lean.c) -- */

struct lean {
	struct bole_platform base;
	struct bole_alloc alloc;
	uint64_t bytes;
	uint64_t blocks;
	uint64_t grows;   /* allocations and enlargements so far */
	uint64_t fail_at; /* that one fails, once; 0 = none */
	uint64_t clock;
	uint64_t random;
	bool loud; /* prints the log */
	char last_error[160];
};
void lean_init(struct lean *, uint64_t seed);
/* What was allocated is given back, or a finding. */
uint64_t torture_random(uint64_t *state);
uint64_t torture_mix(uint64_t a, uint64_t b);

/* -- Geometries (geometry.c) -- */

struct torture_geometry {
	const char *name; /* the simulator's */
	uint64_t size_bytes;
	bool no_discard; /* which leaves garbage */
};
extern const struct torture_geometry torture_geometries[];
extern const unsigned torture_geometry_count;
/* Of a unit: they take turns. */
const struct torture_geometry *torture_geometry_of(uint64_t number);
struct bole_block *torture_device(struct lean *memory, const struct torture_geometry *,
                                  uint64_t seed);
/* The same device once more, with what is not flushed, sharing its memory. */
struct bole_block *torture_twin(struct lean *memory, struct bole_block *device);

/* -- The oracle (model.c): plain tables of what must be readable -- */

enum {
	MODEL_REPOS = 4,
	MODEL_OBJECTS = 96, /* of each hash algorithm */
	MODEL_REFS = 8,
	MODEL_AUXES = 4,
	MODEL_PREPARED = 2,
	MODEL_NONE = 0xff,
};

struct model_aux {
	uint32_t seed; /* 0 = absent */
	uint32_t len;
};

/* Compared with memcmp: no padding that is not zero. */
struct model_repo {
	uint8_t algo; /* 0 = there is no such repository */
	uint8_t head; /* number of the reference that HEAD points to */
	uint8_t ref[MODEL_REFS];
	uint8_t pad[6];
	uint8_t present[MODEL_OBJECTS];
	struct model_aux aux[MODEL_AUXES];
};
struct model_state {
	struct model_repo repo[MODEL_REPOS];
};

/* Prepared transactions: not visible, but to be found again. */
struct model_prepared {
	bool there;
	uint8_t repo;
	struct bole_tx_token token;
	uint8_t present[MODEL_OBJECTS];
	uint8_t aux_key;
	struct model_aux aux;
};

struct model_object {
	struct bole_oid oid;
	struct bole_bytes entry[2]; /* as a record; as it lies in packs */
};
/* Made once, before the workers start. */
void model_universe(void);
const struct model_object *model_object(uint8_t algo, unsigned number);
void model_repo_name(unsigned slot, char *name);
const char *model_ref_name(unsigned ref);
void model_aux_value(const struct model_aux *, uint8_t *dst);
enum { MODEL_AUX_BYTES_MAX = 24000 };

/* Reads everything that a store shows into *out and checks each byte of it. BOLE_E_CORRUPT with
 * `why` set: a wrong byte, an unknown id, a find that disagrees with the list; other errors are
 * the store's. `thorough`: finds every id of the universe, too. */
struct model_reader {
	struct bole_alloc *alloc;
	bool thorough;
	/* An error of one object or value is counted and passed over. */
	bool tolerant;
	unsigned errors;
	unsigned things; /* objects that had any, and what else had */
	uint8_t bad[MODEL_REPOS][MODEL_OBJECTS];
	const char *at; /* what was being read */
	char why[160];
};
enum bole_status model_read(struct model_reader *, struct bole_store *, struct model_state *out);
/* What differs first, in words. */
void model_difference(const struct model_state *want, const struct model_state *seen, char *why,
                      size_t cap);

/* -- A device that tells before each write (tap.c) -- */

enum tap_kind { TAP_PROGRAM = 1, TAP_ERASE, TAP_DISCARD, TAP_FLUSH };
struct tap_op {
	enum tap_kind kind;
	uint64_t off;
	uint64_t len;
	const struct bole_bytes *pieces;
	size_t count;
};
struct tap {
	struct bole_block block;
	struct bole_block *under;
	uint64_t ops;
	void (*hook)(struct tap *, const struct tap_op *);
	void *ctx;
	bool in_hook;
	/* The n-th call from now fails once, with BOLE_E_IO, and does nothing; 0 = none. */
	uint64_t fail_read;
	uint64_t fail_write; /* programs and erases */
	uint64_t fail_flush;
	uint64_t short_read; /* the n-th read brings its first half, then zeros */
	uint64_t full_from;  /* writes that reach this place fail; 0 = none */
};
/* Forwards to under, which stays the caller's. */
void tap_init(struct tap *, struct bole_block *under);
enum bole_status tap_issue(struct bole_block *, const struct tap_op *);

/* -- One cut (geometry.c) -- */

/* In a manner (mode), or with exactly these of the writes that were not flushed. */
struct torture_cut {
	unsigned mode;
	bool subset;
	bool torn; /* the others are torn instead of lost */
	uint64_t survivors;
};
extern const unsigned torture_mode_count;
const char *torture_mode_name(unsigned mode);
/* The mode makes a difference for this operation on this device. */
bool torture_mode_applies(const struct bole_block *device, unsigned mode, enum tap_kind);
/* A twin of the device on which power went within the operation, and is back. */
struct bole_block *torture_interrupt(struct lean *memory, struct bole_block *device,
                                     const struct tap_op *, const struct torture_cut *,
                                     uint64_t seed);

/* -- Work (work.c): operations on a store and on the oracle at once -- */

enum work_op {
	WORK_PUT,
	WORK_PACK,
	WORK_REF,
	WORK_REFS, /* several in one transaction */
	WORK_REF_DELETE,
	WORK_DROP,
	WORK_GC,
	WORK_MAINTAIN,
	WORK_CHECKPOINT, /* maintain until there is nothing to do */
	WORK_AUX,
	WORK_PREPARE,
	WORK_RESUME, /* commits or aborts what is prepared */
	WORK_ABORT,
	WORK_REPO, /* create, rename, remove */
	WORK_REOPEN,
	WORK_CONFLICT,
	WORK_OPS,
};
extern const char *const work_names[WORK_OPS];

struct world {
	struct lean lean;
	struct bole_block *device; /* borrowed: what the store is opened on */
	struct bole_store *store;
	uint64_t random;
	bool small;             /* few objects a transaction */
	bool damaged;           /* the device lies or has lost something: damage is expected */
	uint64_t lost;          /* that the store said when it was opened */
	unsigned maintain_most; /* steps of maintain a call of the op */
	/* Acknowledged; and what the operation in flight makes of it. */
	struct model_state now;
	struct model_state next;
	/* Before the last sweep, which may come undone at a stop when memory or room was short. */
	struct model_state unswept;
	struct model_prepared prepared[MODEL_PREPARED];
	struct bole_tx *tx[MODEL_PREPARED]; /* their handles; NULL after a stop */
	uint64_t skipped[WORK_OPS];
	uint64_t done[WORK_OPS];
	enum bole_status status; /* as the store gave it, of the last operation */
	char why[200];           /* of a result that is not what the oracle says */
};
void world_init(struct world *, struct bole_block *device, uint64_t seed);
/* A store that says that it has lost something is as good as none, unless damage is expected: then
 * lost says how much. */
enum bole_status world_open(struct world *);
enum bole_status world_close(struct world *);
/* Damage has been found, a device has refused: what may be answered on one that was attacked. */
bool world_may_say(enum bole_status);
/* Is all that the store shows right, or an error? Without one nothing may be missing, unless that
 * is excused; sound: no fault is left, so there are no errors. *noticed: there was one. False: why.
 */
bool world_look(struct world *, bool sound, bool excused, bool *noticed, char *why, size_t room);
/* Does one operation. BOLE_OK: done or skipped, now == next. BOLE_E_CORRUPT with why: the store
 * answered wrongly. Anything else: the device or the memory failed within it. */
enum bole_status world_do(struct world *, enum work_op);
/* A seeded mix of one of WORK_FLAVOURS flavours. */
enum { WORK_FLAVOURS = 8 };
enum work_op world_draw(struct world *, unsigned flavour);

/* -- Units, findings, counts (main.c) -- */

struct torture_counts {
	uint64_t cuts;     /* power cuts, each with recovery and comparison */
	uint64_t trials;   /* other faults: flips, errors, refused allocations */
	uint64_t failures; /* findings */
	uint64_t skipped;  /* operations that the store does not support yet */
	uint64_t done;
};

enum { TORTURE_EXTRAS = 3 };
struct torture_unit {
	const struct torture_program *program;
	uint64_t seed;
	uint64_t number;
	const char *only; /* --repro: the path of cuts to go, or NULL */
	bool verbose;
	bool partial; /* time was up before its end: it will be done again */
	struct torture_counts count;
	uint64_t extra[TORTURE_EXTRAS]; /* what the program counts beside */
	uint64_t skipped[WORK_OPS];
	uint64_t done[WORK_OPS];
};

struct torture_program {
	const char *name; /* "p1" */
	const char *what;
	void (*run)(struct torture_unit *);
	unsigned share; /* of the time */
	uint64_t units; /* how many there are in all; 0 = no end */
	const char *extra[TORTURE_EXTRAS];
};
extern const struct torture_program torture_programs[];
extern const unsigned torture_program_count;

/* One finding: where is the path within the unit ("37@bits>2@prefix"). */
void torture_finding(struct torture_unit *, const char *geometry, const char *where,
                     const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Time is up: what is left of the unit is left out. */
bool torture_over(struct torture_unit *);
/* Tells the supervisor what is being done, for the case that it is never done. */
void torture_progress(struct torture_unit *, const char *geometry, const char *where);

/* -- Cuts (cut.c) -- */

/* How deep and how often a unit cuts. Chance: of each possible cut, in 1/1024. */
struct cut_run;
struct cut_plan {
	struct torture_unit *unit;
	const struct torture_geometry *geometry;
	unsigned depth;                  /* cuts in a row at most */
	unsigned chance[3];              /* of the first, second, third cut */
	bool every_mode;                 /* else one, drawn */
	bool subsets;                    /* at flushes, what survives is enumerated */
	unsigned go_on;                  /* operations after the recovery */
	unsigned check_every;            /* the device check after each n-th cut */
	uint64_t cuts_max;               /* the unit stops cutting after so many; 0 = no limit */
	void (*blank)(struct cut_run *); /* what is done to the device before the format */
};

/* Formats a device, opens a world on it that cuts at each operation by the plan. */
struct cut_run {
	struct cut_plan plan;
	struct world world;
	struct lean disk; /* memory of devices: never refused */
	struct bole_block *device;
	struct tap tap;
	char path[96];
	unsigned level;
	struct cut_run *outer; /* the run that was cut; NULL = the first */
	uint64_t seed;
};
/* False: a finding was made. */
bool cut_start(struct cut_run *, const struct cut_plan *, uint64_t seed);
bool cut_do(struct cut_run *, enum work_op);
void cut_end(struct cut_run *);

#endif /* BOLE_TORTURE_H */
