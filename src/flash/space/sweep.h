/* SPDX-License-Identifier: ISC */
/* The parts of a sweep (mark.h). */
#ifndef BOLE_FLASH_SWEEP_H
#define BOLE_FLASH_SWEEP_H

#include "base/memory.h"
#include "flash/index/run.h"
#include "flash/space/mark.h"

/* A candidate without a mark that is in no run of the mark's version: it was in memory then, or the
 * cleaner moved it since. */
struct sweep_row {
	uint8_t key[BOLE_OID_BYTES_MAX];
	uint64_t place;
	uint32_t stored; /* when done */
	bool done;       /* it is in a run now, and dies by the run of kills */
};

/* A record that was dropped or moved while the sweep was drafted. */
struct sweep_event {
	uint8_t key[BOLE_OID_BYTES_MAX];
	uint64_t from;
	uint64_t to;
	uint32_t stored;
	bool moved;
	bool in_run; /* at from is a candidate without a mark, of a run of the mark's version */
	bool ours;   /* what is at from dies by the sweep */
};

struct flash_sweep {
	struct flash_mark *m;
	struct flash_index *then;  /* the version that it is drafted on */
	struct flash_table *moves; /* what the mark knew of then */
	struct flash_index *index; /* the leader's: the new version, then the old one */
	uint32_t *dead;            /* bytes of each segment */
	struct bole_mark_result result;
	bool published;

	/* Runs (sweep_runs.c). */
	struct flash_run *run;   /* NULL = nothing is left, nothing to kill */
	uint32_t top;            /* so many of the newest runs of `then` it takes the place of */
	uint32_t newer;          /* runs of `then` that the mark's version has not */
	uint32_t at;             /* the first of top in the version before */
	struct sweep_row *other; /* by prefix and place */
	uint32_t others;
	uint32_t others_cap;

	/* Extents. */
	struct flash_run **kills;
	uint32_t runs;
	uint8_t *row; /* kills of extents' rows */
	uint32_t rows;
	uint32_t rows_cap;
	uint8_t **killed;          /* a bit for each row of each extent: dead before */
	uint32_t slot;             /* of the extent whose rows are gone through */
	uint32_t number;           /* of it */
	struct flash_extent **old; /* versions that others take the place of; held */
	struct flash_extent **made;
	uint32_t mades;
	struct flash_extent **gone; /* held */
	uint32_t gones;
	uint32_t gone_cap;

	/* What happened meanwhile (sweep_meanwhile.c). */
	struct bole_buffer noted; /* (L) by leaders */
	struct sweep_event *event;
	uint32_t events;
};

/* A record dies; counted. */
void bole_flash_sweep_dies(struct flash_sweep *, uint64_t place, uint64_t stored);
/* Kills the record of the id at the place in s->index, if it is there. */
BOLE_MUST_USE enum bole_status bole_flash_sweep_kill(struct flash_sweep *, const uint8_t *key,
                                                     uint64_t place);
/* Writes s->run, and tells which rows of extents are dead already. */
BOLE_MUST_USE enum bole_status bole_flash_sweep_runs(struct flash_sweep *);
/* NULL: there is no such row. */
struct sweep_row *bole_flash_sweep_other(const struct flash_sweep *, const uint8_t *prefix,
                                         uint64_t place);
/* A candidate at that place of a run of the mark's version has no mark: BOLE_OK, and the bytes of
 * the entry. BOLE_E_NOT_FOUND. */
BOLE_MUST_USE enum bole_status bole_flash_sweep_unmarked(struct flash_sweep *, const uint8_t *key,
                                                         uint64_t place, bool any_part,
                                                         uint32_t *stored);
/* From now on leaders tell what they drop and move. For the leader. */
void bole_flash_sweep_watch(struct flash_sweep *);
/* What they told is taken into account in s->index and the counts. For the leader. */
BOLE_MUST_USE enum bole_status bole_flash_sweep_meanwhile(struct flash_sweep *);

#endif /* BOLE_FLASH_SWEEP_H */
