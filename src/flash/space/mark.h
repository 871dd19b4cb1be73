/* SPDX-License-Identifier: ISC */
/* Marks (bole/mark.h) of a flash volume: which rows of a version of the index are reachable. */
#ifndef BOLE_FLASH_MARK_H
#define BOLE_FLASH_MARK_H

#include "bole/mark.h"
#include "flash/log/tx.h"

enum {
	MARK_ROOTS_MAX = 1 << 20, /* that wait, where memory is not limited */
	MARK_ROOTS_SMALL = 4096,
	RELIED_MAX = 1 << 16, /* ids that one transaction looked up */
	RELIED_SMALL = 512,
	MARK_ROWS_FEW = 512, /* in memory: they can stay there */
	SWEEPS_BESIDE = 2,   /* are drafted beside commits, before these wait for one */
};

struct flash_mark {
	struct bole_mark pub;
	struct flash_volume *v;
	struct flash_domain *domain; /* held */
	struct flash_snapshot *view;
	struct flash_index *index;       /* the candidates: rows of this version */
	uint8_t **run;                   /* a bit for each row of each run */
	uint8_t **extent;                /* and of each extent */
	struct flash_table *mem;         /* ids of rows in memory that are marked */
	const struct flash_extent *keep; /* its rows take the place of others; or NULL */
	uint8_t *replaced;               /* a bit for each extent */
	uint64_t live;
	struct bole_buffer roots;  /* (L) ids, one after another */
	struct flash_table *moves; /* (W) id -> place at the start (5), place now (5) */
	bool lost;                 /* (L) something could not be noted */
	struct flash_sweep *sweep; /* (W) that is drafted */
	uint32_t sweeps;           /* that were */
	struct flash_reader reader;
};

BOLE_MUST_USE enum bole_status bole_flash_mark_begin(struct flash_volume *, uint32_t repo,
                                                     struct flash_mark **out);
BOLE_MUST_USE enum bole_status bole_flash_mark_object(struct flash_mark *, const struct bole_oid *,
                                                      bool *fresh);
BOLE_MUST_USE enum bole_status bole_flash_mark_replace(struct flash_mark *, uint64_t keep,
                                                       const uint64_t *extents, size_t count);
BOLE_MUST_USE enum bole_status bole_flash_mark_root(struct flash_mark *, struct bole_oid *out);
BOLE_MUST_USE enum bole_status bole_flash_mark_end(struct flash_mark *,
                                                   struct bole_mark_result *out);
void bole_flash_mark_abort(struct flash_mark *);
/* Runs may be merged again, for want of space: marks under way come to nothing. False: there is
 * none. Lock held. */
bool bole_flash_mark_give_up(struct flash_volume *);

/* -- The sweep (sweep.c) -- */

struct flash_sweep;
/* A candidate row of a run, or of an extent, of the mark's version is marked. */
bool bole_flash_mark_has(const struct flash_mark *, uint32_t run, uint32_t row);
bool bole_flash_mark_has_row(const struct flash_mark *, uint32_t extent, uint32_t row);
/* The version that is published now is what it is drafted on. For the leader. Whatever is returned,
 * free what came out. */
BOLE_MUST_USE enum bole_status bole_flash_sweep_begin(struct flash_mark *,
                                                      struct flash_sweep **out);
/* All that takes long: reads the index, writes runs and maps. */
BOLE_MUST_USE enum bole_status bole_flash_sweep_draft(struct flash_sweep *);
/* Looks at what leaders did meanwhile, so that little is left for install. BOLE_AGAIN: it was too
 * much, begin again. */
BOLE_MUST_USE enum bole_status bole_flash_sweep_catch_up(struct flash_sweep *);
/* Removes from the published version what is unmarked, at once. For the leader. BOLE_AGAIN as
 * above. */
BOLE_MUST_USE enum bole_status bole_flash_sweep_install(struct flash_sweep *,
                                                        struct bole_mark_result *);
/* Outside of the lead. */
void bole_flash_sweep_free(struct flash_volume *, struct flash_sweep *);

/* -- What goes on meanwhile -- */

/* A transaction relies on an id that it found. */
void bole_flash_mark_relied(struct flash_tx *, const uint8_t *key);
/* An id of a new reference, or of a row that is about to be published. Takes the lock. */
void bole_flash_mark_note(struct flash_volume *, struct flash_domain *, const uint8_t *key);
/* Rows of an extent of a transaction: those that are candidates are noted. */
void bole_flash_mark_extent(struct flash_tx *, const struct flash_extent *);
/* The leader moves a record. */
void bole_flash_mark_moved(struct flash_mark *, const uint8_t *key, uint64_t from, uint64_t to);
/* It drops one; what it drops and moves while a sweep is drafted is noted. */
void bole_flash_mark_killed(struct flash_mark *, const uint8_t *key, uint64_t place);
void bole_flash_sweep_moved(struct flash_mark *, const uint8_t *key, uint64_t from, uint64_t to);
/* Transactions that are open, for marks that begin. Take the lock. */
void bole_flash_tx_link(struct flash_tx *);
void bole_flash_tx_unlink(struct flash_tx *);

#endif /* BOLE_FLASH_MARK_H */
